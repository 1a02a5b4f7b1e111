"""Two processes on one CPU, started by torchrun, do what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from tests.engine import distributed_job
from uda.core.manifest import complete_manifest, verify

ROOT = Path(__file__).resolve().parents[2]
# `accelerate launch --cpu` starts several processes only through MPI; torchrun does it alone.
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m")
ALONE = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}


def launch(out: Path) -> str:
    command = [sys.executable, "-m", *TORCHRUN, "tests.engine.distributed_job", str(out)]
    variables = {**ALONE, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_two_processes_learn_what_one_learns_stop_together_and_go_on(tmp_path: Path) -> None:
    said = launch(tmp_path / "two/out")
    (tmp_path / "one").mkdir()
    distributed_job.main(tmp_path / "one/out")
    first, second = (torch.load(tmp_path / f"two/weights_{rank}.pt", weights_only=True) for rank in (0, 1))
    alone = torch.load(tmp_path / "one/weights_0.pt", weights_only=True)
    for name, weights in first.items():
        assert torch.equal(weights, second[name])
        # Half a batch has another variance, and what two go on with are the first process's statistics.
        rtol, atol = (0.2, 0.1) if name.startswith("norm.") else (1e-4, 1e-5)
        torch.testing.assert_close(weights, alone[name], rtol=rtol, atol=atol)

    # One process was asked to stop; both did, at the same step, and went on.
    assert "interrupted: game stopped at 12 of 24 images" in said
    assert "going on (interrupted run of the same settings found)" in said
    assert "game: going on at 12 of 24 images" in said
    # The first process alone speaks and writes.
    assert said.count("done in") == 1
    manifest = complete_manifest(tmp_path / "two/out")
    assert manifest.metrics["ranks"] == [0, 1]
    assert verify(tmp_path / "two/out", deep=True) == []
    assert manifest.outputs == complete_manifest(tmp_path / "one/out").outputs
