"""`uda translate`: fit a translator and render the labelled set in the look of the unlabelled one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from uda.core import registry
from uda.core.config import Size, TranslatorConfig
from uda.core.errors import ConfigError, DataError
from uda.core.lazy import lazy_import
from uda.core.training import FitConfig
from uda.data.augment_config import AugmentConfig
from uda.data.label_space import load_space
from uda.data.read import Interpolation
from uda.data.samples import Sample, read_samples
from uda.stages.base import Job, Stage, StageConfig, check_divisible, is_first_process, wait_for_processes

if TYPE_CHECKING:
    from uda.data import dataset
    from uda.engine import loop, runtime, stream
    from uda.nets import segmenter as segmenter_nets
    from uda.segmenters import _store as store
    from uda.stages import _render as rendering
    from uda.stages import _translate_task as task_module
else:
    dataset = lazy_import("uda.data.dataset")
    loop = lazy_import("uda.engine.loop")
    rendering = lazy_import("uda.stages._render")
    runtime = lazy_import("uda.engine.runtime")
    segmenter_nets = lazy_import("uda.nets.segmenter")
    store = lazy_import("uda.segmenters._store")
    stream = lazy_import("uda.engine.stream")
    task_module = lazy_import("uda.stages._translate_task")


_FITTED = "fit.json"
"""Last means of the fit's terms; written when the fit is over."""


class TranslateConfig(StageConfig):
    """Settings of `uda translate`."""

    label_space: str = "cityscapes19"
    """A shipped label space or a YAML file."""
    translator: TranslatorConfig
    """The translator, by name, with its settings."""
    size: Size
    """Height and width that images are resized to for fitting."""
    render_size: Size | None = None
    """Height and width that images are rendered at; None: as for fitting."""
    augment: AugmentConfig = AugmentConfig()
    """Geometry (crop, flip, scale) of the images it is fitted on; colours are left alone: they are the task."""
    fit: FitConfig = FitConfig()
    """Length and batch of the fit."""
    render_batch: int = Field(default=4, ge=1)
    """Images rendered at once (part of the result where a translator draws random styles)."""
    render_target: bool = False
    """Render the target set too, in the look of the source (`target_samples.csv`)."""
    grid_rows: int = Field(default=4, ge=1)
    """Rows of the sample picture `grid.png`."""
    interpolation: Interpolation = "bicubic"
    """How images are resized."""


def _run(job: Job) -> dict[str, Any]:
    config: TranslateConfig = job.config
    space = load_space(config.label_space)
    names = list(space.names)
    rt = runtime.make_runtime(config.runtime)
    guide = None
    if (directory := job.inputs.get("guide")) is not None:
        network = store.load_segmenter(directory, expected_classes=names).network
        guide = segmenter_nets.as_guide(rt.place(network))
    task = task_module.TranslateTask(config, len(names), guide)
    metrics: dict[str, Any] = {}
    if (fitted := job.inputs.get("translator")) is not None:
        task_module.load_translator(task.translator, fitted)
        for one in task.networks.values():
            rt.place(one)
    elif task.groups():
        metrics = _fit_once(job, task, space, rt)
    source = read_samples(job.inputs["source"], check_files=True)
    target = read_samples(job.inputs["target"], check_files=True)
    renderer = rendering.Renderer(job, task.translator, space, rt)
    renderer.render(source, target, direction="source_to_target")
    if config.render_target:
        renderer.render(target, source, direction="target_to_source")
    wait_for_processes(config)
    if is_first_process():
        job.run.reread()
        renderer.write_samples(source, target)
        renderer.write_grid(source, target, guide)
        if not job.run.has(_FITTED):
            _save(job, task)
    return metrics


def _fit_once(job: Job, task: task_module.TranslateTask, space: Any, rt: runtime.Runtime) -> dict[str, Any]:
    """Fit, and keep what came out before rendering, so that all images are rendered by the same weights.

    A run that is interrupted while rendering would else fit its last minutes again, on a GPU with another outcome.
    """
    if job.run.has(_FITTED):
        task_module.load_translator(task.translator, job.run.partial)
        for one in task.networks.values():
            rt.place(one)
        kept: dict[str, Any] = json.loads(job.run.path(_FITTED).read_text())
        return kept
    metrics = _fit(job, task, space, rt)
    if is_first_process():
        _save(job, task)
        job.run.write(_FITTED, (json.dumps(metrics, indent=2) + "\n").encode())
    return metrics


def _save(job: Job, task: task_module.TranslateTask) -> None:
    task_module.save_translator(task.translator, job.run.path("model.json").parent)
    for name in ("translator.safetensors", "model.json"):
        job.run.add(name)


def _fit(job: Job, task: task_module.TranslateTask, space: Any, rt: runtime.Runtime) -> dict[str, Any]:
    config: TranslateConfig = job.config
    maps = job.inputs.get("pairs") or job.inputs.get("pseudo")
    source = _domain(config, space, read_samples(job.inputs["source"], check_files=True), number=0, with_labels=True)
    # The labels of --target stay closed; maps of the target come by --pairs or as predictions by --pseudo.
    target_samples = read_samples(maps or job.inputs["target"], check_files=True)
    target = _domain(config, space, target_samples, number=1, with_labels=maps is not None)
    plan = translate_plan(config, task)
    batches = stream.batches(source, target, total=config.fit.images, batch=config.fit.batch, runtime=rt)
    metrics = loop.fit(task, plan, batches, rt, job.run, job.console)
    task.translator.finalize(batches(0))
    return metrics


def translate_plan(config: TranslateConfig, task: task_module.TranslateTask) -> loop.Plan:
    """How long, with which optimisers and weights a translator is fitted."""
    return loop.Plan(
        title=f"translate: fitting {config.translator.name}",
        seed=config.seed,
        images=config.fit.images,
        batch=config.fit.batch,
        optimizers=task.optimizers(),
        schedule=task.translator.config.schedule,
        weights=task.translator.config.term_weights,
    )


def _domain(
    config: TranslateConfig, space: Any, samples: Sequence[Sample], *, number: int, with_labels: bool
) -> stream.Domain:
    data = dataset.SegmentationDataset(
        samples, space, size=config.size, with_labels=with_labels, interpolation=config.interpolation
    )
    return stream.make_domain(data, config.augment, seed=config.seed, number=number)


def _check(config: TranslateConfig, inputs: Mapping[str, Path]) -> None:
    method = registry.load("translators", config.translator.name)
    sizes = {"size": config.size, "render_size": config.render_size, "augment.crop": config.augment.crop}
    for key, size in sizes.items():
        check_divisible(key, size or config.size, method.size_multiple, f"translator {config.translator.name}")
    if config.render_target and "target_to_source" not in method.directions:
        raise ConfigError(f"{config.translator.name} renders one way only", "render_target", "set it to false")
    if method.requires_guide(config.translator) and "guide" not in inputs:
        mend = "give --guide SEGMENT_DIR, or switch off in its settings what uses one"
        raise ConfigError(f"{config.translator.name} as configured needs a segmenter as guide", "translate", mend)
    if method.needs in ("nothing", "unpaired") and (maps := {"pairs", "pseudo"} & set(inputs)):
        raise ConfigError(f"{config.translator.name} learns from no pairs", "translate", f"leave --{maps.pop()} out")
    if "translator" in inputs:  # in a pipeline it may be made later
        if inputs["translator"].exists():
            _check_fitted(config, inputs["translator"])
    elif method.needs in ("target_maps",) and not {"pairs", "pseudo"} & set(inputs):
        raise ConfigError(f"{config.translator.name} needs label maps of target images", "translate", "give --pseudo")
    elif method.needs in ("pairs", "few_pairs") and not {"pairs", "pseudo"} & set(inputs):
        mend = "give --pairs CSV (image, label) or --pseudo CSV"
        raise ConfigError(f"{config.translator.name} needs pairs of target images and labels", "translate", mend)


def _check_fitted(config: TranslateConfig, directory: Path) -> None:
    file = directory / "model.json"
    if not file.is_file():
        raise DataError("holds no translator (model.json)", directory, "give the directory of a finished translate")
    name = json.loads(file.read_text()).get("translator", {}).get("name")
    if name != config.translator.name:
        mend = f"set translator.name={name}"
        raise ConfigError(f"holds a fitted '{name}', the settings name '{config.translator.name}'", directory, mend)


STAGE = Stage(
    name="translate",
    version=1,
    config=TranslateConfig,
    run=_run,
    required=("source", "target"),
    optional=("guide", "translator", "pairs", "pseudo"),
    check=_check,
)
