"""What is rendered: the same images in batches of any size, each from draws of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.contracts.small_translators import build, small_guide
from tests.data import fakes
from uda.core import registry
from uda.core.console import Console
from uda.core.rundir import RunDirectory
from uda.core.training import RuntimeConfig
from uda.data.label_space import LabelSpace, load_space
from uda.data.samples import Sample
from uda.data.spec import write_index_spec
from uda.engine.runtime import make_runtime
from uda.stages._render import Renderer
from uda.stages.base import Job
from uda.stages.translate import TranslateConfig
from uda.translators.base import AbstractTranslator

SPACE = """\
name: four
classes:
  - {name: a, color: [0, 0, 0]}
  - {name: b, color: [9, 0, 0]}
  - {name: c, color: [0, 9, 0]}
  - {name: d, color: [0, 0, 9]}
"""


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images of 64x64 a domain, those of the source with maps of four classes."""
    root = tmp_path_factory.mktemp("streets")
    (root / "four.yaml").write_text(SPACE)
    write_index_spec(load_space(str(root / "four.yaml")), root / "dataset.yaml")
    for number in range(5):
        fakes.save(root / f"source/{number}.png", fakes.picture((64, 64), number))
        fakes.save(root / f"maps/{number}.png", fakes.blocks((64, 64), range(4), number))
        fakes.save(root / f"target/{number}.png", fakes.picture((64, 64), 10 + number))
    return root


def rendered(translator: AbstractTranslator, streets: Path, out: Path, batch: int) -> list[NDArray[np.uint8]]:
    """Two renders of each image, in batches of so many."""
    space: LabelSpace = load_space(str(streets / "four.yaml"))
    settings = {"translator": translator.config.model_dump(), "size": (64, 64), "render_batch": batch, "samples": 2}
    config = TranslateConfig.model_validate({**settings, "label_space": str(streets / "four.yaml"), "seed": 3})
    samples = [
        Sample(streets / f"source/{number}.png", streets / f"maps/{number}.png", "dataset.yaml", streets)
        for number in range(5)
    ]
    others = [Sample(streets / f"target/{number}.png", None, "dataset.yaml", streets) for number in range(5)]
    run = RunDirectory(out)
    run.begin("one", {}, fresh=True)
    job = Job(config, {}, run, Console(quiet=True))
    runtime = make_runtime(RuntimeConfig(device="cpu", precision="float32"))
    renderer = Renderer(job, translator, space, runtime)
    assert renderer.render(samples, others, direction="source_to_target") == 5
    return [np.asarray(Image.open(file)) for file in sorted((run.partial / "images").glob("*.png"))]


@pytest.mark.parametrize("name", registry.names("translators"))
def test_batches_change_nothing(name: str, streets: Path, tmp_path: Path) -> None:
    translator = build(name, small_guide())
    alone = rendered(translator, streets, tmp_path / "alone", 1)
    beside = rendered(translator, streets, tmp_path / "beside", 3)
    assert len(alone) == len(beside) == 10
    for one, other in zip(alone, beside, strict=True):
        # Sums of convolutions may differ in their last bits, and then a colour by one.
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
    different = any((alone[at] != alone[at + 1]).any() for at in range(0, 10, 2))
    assert different == translator.varies(translator.config)


@pytest.mark.parametrize("name", ["munit", "oasis"])
def test_images_have_draws_of_their_own(name: str, streets: Path, tmp_path: Path) -> None:
    """Five times the same street in one batch: five looks."""
    for number in range(1, 5):
        for kind in ("source", "maps"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / f"{number}.png").write_bytes((streets / kind / "0.png").read_bytes())
    for file in ("source/0.png", "maps/0.png", "four.yaml", "dataset.yaml", *(f"target/{at}.png" for at in range(5))):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes((streets / file).read_bytes())
    made = rendered(build(name, small_guide()), tmp_path, tmp_path / "out", 5)
    assert len({one.tobytes() for one in made}) == 10
