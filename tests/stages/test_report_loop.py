"""What `uda iterate` leaves in report.json and report.html, without training anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.stages import report_fakes as fakes
from uda import iterate as loop
from uda import runner
from uda.core.console import Console
from uda.core.manifest import read_manifest
from uda.pipeline import Planned, Request, Source
from uda.runner import Ran
from uda.stages.base import Decision
from uda.stages.catalog import get_stage

REPORTS = ("report.json", "iou.csv", "report.html")


def planned(out: Path, rounds: int) -> list[Planned]:
    """The steps of `fakes.loop` over one's own manifests that a report asks about."""

    def step(name: str, stage: str, number: int | None = None, row: str | None = None, of: str = "") -> Planned:
        home = out if number is None else out / f"round_{number}"
        at = "" if number is None else f"@{number}"
        inputs = {"segmenter": Source(f"{of}{at}", home / of)} if of else {}
        kind = get_stage(stage)
        return Planned(f"{name}{at}", kind, kind.config.model_construct(), inputs, home / name, row, number)

    steps = [step("source_only", "segment"), step("oracle", "segment")]
    steps += [step(f"{of}_score", "evaluate", None, of.replace("_", " "), of) for of in ("source_only", "oracle")]
    for number in range(1, rounds + 1):
        steps += [step("translate", "translate", number), step("pseudo_label", "pseudo-label", number)]
        steps += [step("segment", "segment", number)]
        steps += [step("evaluate", "evaluate", number, f"round {number}", "segment")]
    return steps


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`iterate` on steps that are there; those called `anew` would run, and `stop` is where somebody stops it."""

    def run(request: Request, steps: list[Planned], anew: Sequence[str] = (), stop: str = "") -> None:
        def decide(*_: Any) -> list[list[loop.Decided]]:
            return [[(one, Decision("run" if one.name in anew else "skip", "as the test says")) for one in steps]]

        def pretend(todo: Sequence[Planned], *_: Any, on_done: Callable[[Planned, Ran], None], **__: Any) -> Ran:
            ran = Ran()
            for one in todo:
                if one.name == stop:
                    raise KeyboardInterrupt
                manifest = read_manifest(one.out)
                assert manifest is not None
                ran.done[one.name] = manifest
                on_done(one, ran)
            return ran

        with monkeypatch.context() as patch:
            patch.setattr(loop, "decide", decide)
            patch.setattr(loop, "say_cost", lambda *_, **__: None)
            patch.setattr(runner, "run", pretend)
            loop.iterate([request], Console(), dry_run=False, as_json=False)

    return run


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    fakes.loop(tmp_path / "run", summed_up=False)
    (tmp_path / "mine.csv").write_text("image,label,dataset\na.png,b.png,gta5\nc.png,,gta5\n")
    return Request("minicity", tmp_path / "run", given={"target": tmp_path / "mine.csv"})


def test_the_report_names_steps_segmenter_and_own_data(
    request_: Request, call: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    call(request_, planned(request_.out, 2))
    report = json.loads((request_.out / "report.json").read_text())
    assert report["steps"][:2] == ["source_only", "oracle"] and report["steps"][-1] == "round_2/evaluate"
    assert report["segmenter"] == "round_2/segment"
    assert report["data"] == {"target": {"path": str(request_.given["target"]), "images": 2, "labelled": 1}}
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(f"uda predict --segmenter {request_.out / 'round_2/segment'} IMAGES --out DIR")
    call(request_, planned(request_.out, 1))
    page = (request_.out / "report.html").read_text()
    assert "round_2/" not in page and "left out here: color_transfer, evaluate_color_transfer, round_2, source" in page


def test_without_scores_the_last_segmenter_is_the_result(request_: Request) -> None:
    steps = [one for one in planned(request_.out, 2) if one.stage.name != "evaluate"]
    last = loop._last_segmenter(steps)
    assert last is not None and last.name == "segment@2"
    assert loop._last_segmenter(planned(request_.out, 0)) is None


def test_an_older_report_is_gone_before_anything_runs(request_: Request, call: Callable[..., None]) -> None:
    steps, out = planned(request_.out, 2), request_.out
    call(request_, steps[:8])
    before = {name: (out / name).read_bytes() for name in REPORTS}
    call(request_, steps[:8])  # nothing runs: the same again
    assert {name: (out / name).read_bytes() for name in REPORTS} == before
    anew = [one.name for one in steps[4:]]
    with pytest.raises(KeyboardInterrupt):
        call(request_, steps, anew, "translate@1")
    assert not (out / "report.json").exists() and not (out / "iou.csv").exists()
    assert "round 1" not in (out / "report.html").read_text()
    with pytest.raises(KeyboardInterrupt):
        call(request_, steps, anew, "translate@2")
    page = (out / "report.html").read_text()
    assert "round 1 50.0 (+20.0 points)" in page and "round 2" not in page
    assert not (out / "report.json").exists()


def test_where_all_is_made_anew_no_page_stays(request_: Request, call: Callable[..., None]) -> None:
    steps = planned(request_.out, 1)
    call(request_, steps)
    with pytest.raises(KeyboardInterrupt):
        call(request_, steps, [one.name for one in steps], "source_only")
    assert not [name for name in REPORTS if (request_.out / name).exists()]


def test_a_page_about_seeds_is_gone_with_the_first_seed_that_runs(tmp_path: Path) -> None:
    requests = [Request("minicity", tmp_path / f"seed_{seed}", seed=seed) for seed in (0, 1)]
    plans = [
        [replace(one, name=f"{request.out.name}/{one.name}") for one in planned(request.out, 0)] for request in requests
    ]
    for folder in (tmp_path, *(request.out for request in requests)):
        folder.mkdir(exist_ok=True)
        for name in REPORTS:
            (folder / name).write_text("old")
    loop._drop_older(plans, requests, set(), Console())
    assert len(list(tmp_path.rglob("*.*"))) == 9
    loop._drop_older(plans, requests, {one.name for one in plans[1]}, Console())
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert left == {"report.json", "iou.csv", *(f"seed_0/{name}" for name in REPORTS)}
