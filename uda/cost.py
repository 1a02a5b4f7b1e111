"""About how much disk and time a plan needs, said before anything runs.

Disk follows from counts and sizes. Time is measured: a few steps of each different fit run on random images on this
machine, at no more than a quarter megapixel, and are scaled to the images to be seen; images that are run through
whole, whatever the fit's crop, count by their pixels. What an interrupted run has done of a step that goes on is left
out. Where every fit is of a few steps (`--tiny`), nothing is measured: that would be a good part of the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uda import turns
from uda.core.config import digest, settings_that_matter
from uda.core.console import Console
from uda.core.errors import ConfigError, DataError, RunError, UdaError
from uda.core.lazy import lazy_import
from uda.core.rundir import CHECKPOINT, RunDirectory
from uda.pipeline import Planned, Source
from uda.stages.base import decide

if TYPE_CHECKING:
    import torch

    from uda.engine import runtime
else:
    torch = lazy_import("torch")
    runtime = lazy_import("uda.engine.runtime")

_IMAGE_BYTES_PER_PIXEL = 2.0
"""A PNG of a photograph: 3 bytes a pixel before, about two thirds of that after compression."""
_LABEL_BYTES_PER_PIXEL = 0.05
_MODEL_BYTES = 200e6
"""A ResNet-101 segmenter, or a translator, with its optimiser's state while it runs."""
_SMALL_MODEL_BYTES = 60e6
_TRIAL_PIXELS = 256 * 1024
_MINICITY_SECONDS = 0.04
"""Seconds to draw an image of mini-city, of any size and with any number of workers: assumed, not measured."""
_OTHER_SECONDS = 5.0
"""Seconds of a step that neither fits nor runs a network (prepare, quality): assumed, not measured."""
_FITS = ("segment", "translate")
_FEW_STEPS = 20
"""A run whose fits have no more than these needs no estimate: a trial makes four of each kind."""
_RENDERED_TARGET, _RECREATED_TARGET = "target_samples.csv", "recreated_samples.csv"
"""Manifests that a translation leaves of the target's images: in the source's look, and made anew in another look."""
_RENDERED_FOLDERS = ("images", "target_images", "recreated_images")
"""Folders of a translation that hold rendered images."""
_NO_MATTER_OF_SPEED = frozenset(
    (
        *("seed", "schedule", "interpolation", "target_statistics", "statistics_prior"),
        *("render_size", "render_batch", "samples", "render_target", "recreate_target", "grid_rows"),
        *("supervision", "rare_classes", "target_candidates", "rows", "guide_statistics", "guide_prior"),
    )
)
"""Settings of a fit that change nothing of the steps of a trial; nor does its length."""


@dataclass(frozen=True)
class Speed:
    """How long images take.

    Attributes:
        fit: seconds to learn from an image at the size of the fit (its crop's, where it has one), with all processes of
            the launch at work.
        forward: seconds a pixel to run an image through, in one process.
    """

    fit: float
    forward: float


@dataclass(frozen=True)
class Done:
    """What an interrupted run has done: images that it has fitted on, and rendered, and the bytes of these."""

    fitted: int = 0
    rendered: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Estimate:
    """What a plan needs.

    Attributes:
        bytes: on disk.
        seconds: None where nothing was measured, or nothing would take long.
        order: all steps in the order of preference by which that time was found; None as `seconds`.
    """

    bytes: float
    seconds: float | None
    order: Sequence[Planned] | None = None


def estimate(
    planned: Sequence[Planned],
    todo: Sequence[Planned],
    console: Console,
    *,
    measure: bool,
    force: bool = False,
    jobs: int = 1,
) -> Estimate:
    """What the steps to run need.

    Args:
        planned: all steps (their configs say how many images later ones get).
        todo: those that will run.
        console: told while speeds are measured.
        measure: run trial steps; else no time is given.
        force: steps are run by force, which goes on only with what force began.
        jobs: steps at a time. On a GPU that they share they are taken to wait for one another, which is the longest
            that it can take.
    """
    by_name = {one.name: one for one in planned}
    waiting = {one.name for one in todo}
    done = {one.name: _done(one, waiting, force=force) for one in todo}
    total = sum(max(0.0, _bytes(one, by_name) - done[one.name].bytes) for one in todo)
    fits = [one.config.fit for one in todo if one.stage.name in _FITS]  # type: ignore[attr-defined]  # theirs have one
    if not measure or (fits and all(fit.images <= _FEW_STEPS * fit.batch for fit in fits)):
        return Estimate(total, None)
    console.say("measuring this machine's speed on a few steps ...")
    speeds: dict[str, Speed] = {}
    try:
        with _threads(turns.threads_each(jobs)) as each:
            took = {one.name: _seconds(one, by_name, speeds, done[one.name]) for one in todo}
    finally:
        runtime.free_memory()
    lanes = _lanes(jobs, each, todo)
    order = turns.soonest_over(planned, took, lanes)
    return Estimate(total, turns.seconds_in_all(order, took, lanes), order)


@contextlib.contextmanager
def _threads(number: int) -> Iterator[int]:
    """So many threads for torch, as a step will have."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield number
    finally:
        torch.set_num_threads(before)


def _lanes(jobs: int, threads: int, todo: Sequence[Planned]) -> int:
    """Steps that run at a time, each about as fast as alone."""
    devices = {one.config.runtime.device for one in todo}
    if all(map(runtime.on_cpu, devices)):
        return max(1, min(jobs, (os.cpu_count() or 1) // threads))
    return min(jobs, max(torch.cuda.device_count() if device in ("auto", "cuda") else 1 for device in devices))


def _bytes(one: Planned, by_name: Mapping[str, Planned]) -> float:
    config: Any = one.config
    if one.stage.name == "minicity":
        return _minicity_images(config) * float(config.height * config.width) * (_IMAGE_BYTES_PER_PIXEL + 0.3)
    area = _pixels(config.size) if getattr(config, "size", None) else 0.0
    model = _MODEL_BYTES if area > _TRIAL_PIXELS else _SMALL_MODEL_BYTES
    if one.stage.name == "translate":
        images, labels = _rendered(one, by_name)
        each = images * _IMAGE_BYTES_PER_PIXEL + labels * _LABEL_BYTES_PER_PIXEL
        return each * _pixels(_rendering_size(config)) + model
    if one.stage.name == "pseudo-label":
        return _images(one.inputs["target"], by_name) * area * _LABEL_BYTES_PER_PIXEL
    return model if one.stage.name == "segment" else 1e5


def _pixels(size: tuple[int, int]) -> float:
    return float(size[0] * size[1])


def _rendering_size(config: Any) -> tuple[int, int]:
    """Height and width of all images and labels that a translation writes: they are never cropped."""
    size: tuple[int, int] = config.render_size or config.size
    return size


def _rendered(one: Planned, by_name: Mapping[str, Planned]) -> tuple[int, int]:
    """Images, and label maps, that a translation writes."""
    config: Any = one.config
    source, target = (_images(one.inputs[key], by_name) for key in ("source", "target"))
    labels = source + (target if config.recreate_target else 0)
    # Of what has a label there are several renders, which share it; of the target in the source's look there is one.
    return int(config.samples) * labels + (target if config.render_target else 0), labels


def _minicity_images(config: Any) -> int:
    twice = config.gta5 if config.ideal else 0
    return int(config.gta5 + twice + config.synthia + config.cityscapes_train + config.cityscapes_val)


def _images(source: Source, by_name: Mapping[str, Planned]) -> int:
    """Images in the manifest that an input stands for, before it is written."""
    if source.path.is_file():
        from uda.data.samples import read_samples

        return len(read_samples(source.path))
    if source.step is None:
        return 0
    one = by_name[source.step]
    config: Any = one.config
    if one.stage.name == "prepare":
        return _prepared(config, one.inputs["root"], by_name)
    manifest = source.path.name
    of_target = one.stage.name == "pseudo-label" or manifest in (_RENDERED_TARGET, _RECREATED_TARGET)
    key = "target" if of_target else "source"
    copies = int(config.samples) if one.stage.name == "translate" and manifest != _RENDERED_TARGET else 1
    return copies * _images(one.inputs[key], by_name) if key in one.inputs else 0


def _prepared(config: Any, root: Source, by_name: Mapping[str, Planned]) -> int:
    select = config.select
    limits: list[int] = [limit for limit in (select.first, select.last) if limit is not None]
    if root.step is not None and by_name[root.step].stage.name == "minicity":
        made: Any = by_name[root.step].config
        key = {"cityscapes": f"cityscapes_{config.split}", "ideal": "gta5"}.get(root.path.name, root.path.name)
        return min([int(getattr(made, key, 0)), *limits])
    from uda.data.index import index_dataset
    from uda.data.spec import load_spec

    pairs = index_dataset(root.path, load_spec(config.dataset), config.split).pairs
    chosen = [pair for pair in pairs if not select.groups or pair.group in select.groups]
    return min([len(chosen), *limits])


def _done(one: Planned, waiting: set[str], *, force: bool) -> Done:
    """What the step needs not do again: it goes on with an interrupted run, unless its inputs are made first."""
    if any(source.step in waiting for source in one.inputs.values()):
        return Done()
    paths = {name: source.path for name, source in one.inputs.items()}
    try:
        decision = decide(one.stage, one.config, paths, one.out, force=force)
    except UdaError:
        return Done()  # told by the stage itself
    folder = RunDirectory(one.out).interrupted(decision.fingerprint, forced=force)
    if decision.action != "resume" or folder is None:
        return Done()
    rendered = [file for name in _RENDERED_FOLDERS for file in (folder / name).glob("*.png")]
    return Done(_fitted(folder), len(rendered), sum(file.stat().st_size for file in rendered))


def _fitted(folder: Path) -> int:
    """Images that the fit in a partial directory has seen, by its log; 0 where it left nothing to go on from."""
    from uda.stages.translate import _FITTED

    log = folder / "log.jsonl"
    if not log.is_file() or not any((folder / name).is_file() for name in (CHECKPOINT, _FITTED)):
        return 0
    for line in reversed(log.read_text(errors="replace").splitlines()):
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a torn line
            return int(json.loads(line)["images"])
    return 0


def _seconds(one: Planned, by_name: Mapping[str, Planned], speeds: dict[str, Speed], done: Done) -> float:
    """Seconds of one step, from the speed of the fit it is or of the fit of the network that it runs."""
    if one.stage.name == "minicity":
        return _minicity_images(one.config) * _MINICITY_SECONDS
    if one.stage.name in _FITS:
        return _fit_seconds(one, by_name, speeds, done)
    if one.stage.name in ("evaluate", "pseudo-label") and "segmenter" in one.inputs:
        return _prediction_seconds(one, by_name, speeds)
    return _OTHER_SECONDS


def _fit_seconds(one: Planned, by_name: Mapping[str, Planned], speeds: dict[str, Speed], done: Done) -> float:
    """Seconds to fit and, for a translation, to render; the processes of a launch share the images of both."""
    config: Any = one.config
    speed = _speed(one, by_name, speeds)
    left = 0 if "translator" in one.inputs else max(0, config.fit.images - done.fitted)
    seconds = speed.fit * left
    if one.stage.name == "segment":
        return seconds
    images, _ = _rendered(one, by_name)
    through = speed.forward * max(0, images - done.rendered) * _pixels(_rendering_size(config))
    guide = _guide(one, by_name)
    if guide is not None and left and config.target_candidates > 1:  # it looks at every target image before the fit
        seen = _images(one.inputs["target"], by_name) * _pixels(config.size)
        through += _speed(guide, by_name, speeds).forward * seen
    return seconds + through / _processes()


def _prediction_seconds(one: Planned, by_name: Mapping[str, Planned], speeds: dict[str, Speed]) -> float:
    """Seconds to run a segmenter over the images of `evaluate` or `pseudo-label`."""
    network = by_name.get(one.inputs["segmenter"].step or "")
    if network is None:
        return 0.0
    config: Any = one.config
    trained: Any = network.config
    # Without a size of its own the images enter as they are, which is mostly what the segmenter was trained at.
    size = config.size or getattr(trained, "target_size", None) or trained.size
    each = _speed(network, by_name, speeds).forward * _pixels(size)
    # Scoring is the first process's alone, and each observes all images before it labels its share.
    passes = 1 + 1 / _processes() if one.stage.name == "pseudo-label" else 1
    return each * passes * _images(one.inputs["target"], by_name)


def _processes() -> int:
    """Processes of this launch."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _guide(one: Planned, by_name: Mapping[str, Planned]) -> Planned | None:
    """The step whose network guides a translator."""
    return by_name.get(one.inputs["guide"].step or "") if "guide" in one.inputs else None


def _speed(one: Planned, by_name: Mapping[str, Planned], speeds: dict[str, Speed]) -> Speed:
    guide = _guide(one, by_name)
    with_target = "target" in one.inputs or "pseudo" in one.inputs
    key = _speed_key(one, with_target, guide)
    if key not in speeds:
        try:
            speeds[key] = _trial(one.config, with_target, None if guide is None else guide.config)
        except (ConfigError, DataError) as error:  # settings that no check without torch could refuse
            raise one.named(error) from error
        except torch.OutOfMemoryError as error:  # at no more than the fit's size, which would not fit either
            what = f"out of memory in a trial of a few steps ({' '.join(str(error).split())[:120]})"
            raise RunError(what, one.name, "make fit.batch, size or augment.crop smaller") from error
        except (UdaError, RuntimeError):
            speeds[key] = Speed(0.0, 0.0)  # on random images a fit may go wrong that would not on true ones
    return speeds[key]


def _speed_key(one: Planned, with_target: bool, guide: Planned | None) -> str:
    """The same for steps of one speed, whatever their seeds and lengths, so that one trial is enough for them."""
    config: Any = one.config
    kept = {key: value for key, value in settings_that_matter(config).items() if key not in _NO_MATTER_OF_SPEED}
    network = None
    if guide is not None:  # of the guide its network counts alone, whichever stage fits it
        settings = settings_that_matter(guide.config)
        network = {key: settings[key] for key in ("segmenter", "translator") if key in settings}
    return digest([kept | {"fit": config.fit.batch}, config.runtime.device, with_target, network])


def _trial(config: Any, with_target: bool, guide_config: Any) -> Speed:
    """Speed on random images, after a first step that warms up."""
    from uda.data.label_space import load_space
    from uda.engine import loop
    from uda.stages import trial

    classes = len(load_space(config.label_space).names)
    rt = runtime.make_runtime(config.runtime)
    task, plan, size = trial.prepare(config, classes, guide_config, rt)
    shrink = max(1, round((size[0] * size[1] / _TRIAL_PIXELS) ** 0.5))
    small = (max(64, size[0] // shrink // 32 * 32), max(64, size[1] // shrink // 32 * 32))
    share = trial.drawn_at_once(plan, rt)
    batches = trial.random_batches(small, classes, share, with_target)
    if not plan.optimizers:  # nothing is learnt
        return Speed(0.0, trial.forward_seconds(task, next(batches(0)), rt) / _pixels(small))
    took = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for attempt in ("warm", "timed"):
            start = time.monotonic()
            loop.fit(task, plan, batches, rt, RunDirectory(Path(folder, attempt)), Console(quiet=True))
            took = time.monotonic() - start
    pixel = took / (plan.images // plan.batch) / share / _pixels(small)  # in one process, which draws a share of a step
    forward = trial.forward_seconds(task, next(batches(0)), rt) / _pixels(small)
    return Speed(pixel * _pixels(size) * share / plan.batch, forward)
