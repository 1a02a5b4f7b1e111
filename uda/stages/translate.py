"""`uda translate`: fit a translator and render the labelled set in the look of the unlabelled one."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from uda.core import registry
from uda.core.config import Size, TranslatorConfig
from uda.core.launch import is_first_process
from uda.core.lazy import lazy_import
from uda.core.manifest import write_atomically
from uda.core.training import FitConfig
from uda.data.augment_config import AugmentConfig, Probability
from uda.data.label_space import LabelSpace, load_space
from uda.data.read import Interpolation
from uda.data.samples import Sample, read_samples
from uda.stages._labels import check_labels
from uda.stages._translate_checks import TARGET_WAYS, check_translate, idle, spare, unread
from uda.stages.base import Job, Stage, StageConfig, wait_for_processes
from uda.translators.base import Direction, Setting

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from uda.data import dataset
    from uda.data import matching as matched
    from uda.engine import loop, matching, runtime, stream
    from uda.stages import _class_tones as class_tones
    from uda.stages import _guides as guides
    from uda.stages import _render as rendering
    from uda.stages import _translate_data as fit_data
    from uda.stages import _translate_task as task_module
else:
    class_tones = lazy_import("uda.stages._class_tones")
    guides = lazy_import("uda.stages._guides")
    dataset = lazy_import("uda.data.dataset")
    matched = lazy_import("uda.data.matching")
    loop = lazy_import("uda.engine.loop")
    matching = lazy_import("uda.engine.matching")
    fit_data = lazy_import("uda.stages._translate_data")
    rendering = lazy_import("uda.stages._render")
    runtime = lazy_import("uda.engine.runtime")
    stream = lazy_import("uda.engine.stream")
    task_module = lazy_import("uda.stages._translate_task")


_FITTED = "fit.json"
"""Last means of the fit's terms; written when the fit is over."""
_GAINS = "class_gains.csv"
"""What brings classes to their tones."""


class TranslateConfig(StageConfig):
    """Settings of `uda translate`."""

    runtime_only = frozenset({"render_batch"})

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
    """Images read, and where nothing is drawn at random rendered, at once; with less memory no other images come."""
    samples: int = Field(default=1, ge=1)
    """Renders of each source image (and with `recreate_target` of each target image), which differ in what the
    translator draws at random and in the target image drawn for each; the manifest's column `input` then says which
    belong together."""
    render_target: bool = False
    """Render the target set too, in the look of the source (`target_samples.csv`)."""
    recreate_target: bool = False
    """Make the target set anew too: segmented by the translator's own discriminator, and rendered from that in another
    look, with the label maps that it was made from (`recreated_samples.csv`). OASIS and its kin can."""
    grid_rows: int = Field(default=4, ge=1)
    """Rows of the sample picture `grid.png`."""
    interpolation: Interpolation = "bicubic"
    """How images are resized."""
    supervision: float = Field(default=1.0, gt=0, le=1)
    """Part of the rows with a label of --pairs (or --pseudo) that count as pairs: a fixed split, inside that of every
    larger part. A method that learns from few pairs takes the other rows' images as unpaired."""
    rare_classes: float = Field(default=0.0, ge=0, le=1)
    """First part of the fit in which pairs are drawn in proportion to their shares of the classes
    (`uda.data.rare_classes`; semi-paired paper: 0.5); then all alike."""
    target_candidates: int = Field(default=1, ge=1)
    """Target crops, each of another image, drawn for each source crop of the fit; the one whose classes lie most like
    the source's labels is read (matched crops, Richter et al. 2021). Where each class lies the guide says, once for
    every target image, before the fit, so that a candidate costs next to nothing. 1 takes what comes."""
    rows: tuple[Probability, Probability] = (0.0, 1.0)
    """First and last part of the images' height that the fit sees, of both domains, so that what hangs in front of the
    camera, a bonnet say, is not painted into every image; `augment.crop` must fit in. Rendered are whole images."""
    guide_statistics: int = Field(default=0, ge=0)
    """Images of each domain from which the guide's BatchNorm statistics are estimated anew (AdaBN, Li et al. 2016), so
    that source images are judged by the source's statistics and target images and translations by the target's; 0
    keeps those that it came with."""
    guide_prior: int = Field(default=0, ge=0)
    """How many target images the source images count for in the guide's statistics of the target: see
    `statistics_prior` of `uda segment`."""

    class_tones: int = Field(default=0, ge=0)
    """Images of each domain from which it is estimated how light and of what colour each class is, in translations by
    their labels and in target images by what a segmenter takes for it: `--tones`, or else the guide. Light on a class
    is then multiplied, by 2 or 1/2 at most, from the one to the other in all translations (`class_gains.csv`), if it
    takes a hundredth of the pixels in both. The segmenter should know classes by place and shape:
    `augment.class_colors` of `uda segment` (the run says so of another one). 0 leaves translations as they come."""
    class_tones_of: tuple[int | str, ...] = ()
    """Classes that are brought to their tones, by name or index, such as ground that the guide tells by its place; with
    none all are."""

    def asks_guide(self, *, fits: bool = True, tones: bool = False) -> bool:
        """Whether the guide is asked.

        Args:
            fits: by the fit, its choice of crops included, or else by rendering alone.
            tones: whether another segmenter (`--tones`) tells tones.
        """
        if self.class_tones and not tones:
            return True
        method = registry.load("translators", self.translator.name)
        if not fits:
            return bool(method.renders_guided(self.translator))
        return self.target_candidates > 1 or bool(method.requires_guide(self.translator))

    @property
    def target_directions(self) -> tuple[Direction, ...]:
        """Which ways the target set is rendered."""
        return tuple(way for way, (setting, _) in TARGET_WAYS.items() if getattr(self, setting))


def _run(job: Job) -> dict[str, Any]:
    config: TranslateConfig = job.config
    space = load_space(config.label_space)
    rt = runtime.make_runtime(config.runtime)
    if "translator" not in job.inputs:
        registry.load("translators", config.translator.name).check_files(config.translator)
    source = read_samples(job.inputs["source"], check_files=True)
    target = read_samples(job.inputs["target"], check_files=True)
    check_labels("translate", job.inputs["source"], source, space, job.console)
    setting = guides.ask(job, space, rt, source, target)
    task = task_module.TranslateTask(config, setting)
    metrics: dict[str, Any] = {}
    if (fitted := job.inputs.get("translator")) is not None:
        _load(job, task, fitted)
        for one in task.networks.values():
            rt.place(one)
    elif task.groups():
        metrics = _fit_once(job, task, space, rt, source, target)
    renderer = rendering.Renderer(job, task.translator, space, rt)
    if config.class_tones:
        renderer.gains = _gains(job, renderer, setting, space, rt, source, target)
    started = time.monotonic()
    count = renderer.render(source, target, direction="source_to_target")
    if count:
        metrics["rendered_per_second"] = count / (time.monotonic() - started)
    for way in config.target_directions:
        renderer.render(target, source, direction=way)
    wait_for_processes(config)
    if is_first_process():
        job.run.reread()
        renderer.write_samples(source, target)
        renderer.write_grid(source, target, setting.guide)
        if not job.run.scratch(_FITTED).is_file():
            _save(job, task, space)
    return metrics


def _gains(
    job: Job,
    renderer: rendering.Renderer,
    setting: Setting,
    space: LabelSpace,
    rt: runtime.Runtime,
    source: Sequence[Sample],
    target: Sequence[Sample],
) -> Tensor:
    """What brings classes to their tones in the target; an interrupted run goes on with what it began with."""
    if job.run.has(_GAINS):
        return class_tones.read_table(job.run.path(_GAINS))
    directory, guide = guides.tone_teller(job, space, rt, setting, source, target)
    if guides.goes_by_tones(directory):
        told = f"{directory} learnt classes in their own tones, and may know them by these"
        better = "one trained with --config overlays/class_colors tells tones better"
        job.console.say(f"translate: class_tones: {told}; {better}")
    gains = renderer.gains_to_target(source, target, guide)
    if chosen := job.config.class_tones_of:
        others = sorted(set(range(len(gains))) - {setting.class_index(one, "class_tones_of") for one in chosen})
        gains[others] = 1.0
    moved = int((gains != 1).any(dim=1).sum())
    job.console.say(f"translate: {moved} of {len(gains)} classes are moved to the target's tones ({_GAINS})")
    wait_for_processes(job.config)
    if is_first_process():
        job.run.write(_GAINS, class_tones.as_table(gains, setting.class_names))
    return gains


def _fit_once(
    job: Job,
    task: task_module.TranslateTask,
    space: LabelSpace,
    rt: runtime.Runtime,
    source: Sequence[Sample],
    target: Sequence[Sample],
) -> dict[str, Any]:
    """Fit, and keep what came out before rendering, so that all images are rendered by the same weights.

    A run that is interrupted while rendering would else fit its last minutes again, on a GPU with another outcome.
    """
    fitted = job.run.scratch(_FITTED)
    if fitted.is_file():
        task_module.load_translator(task.translator, job.run.partial)
        for one in task.networks.values():
            rt.place(one)
        kept: dict[str, Any] = json.loads(fitted.read_text())
        return kept
    metrics = _fit(job, task, space, rt, source, target)
    if is_first_process():
        _save(job, task, space)
        # No output: its speed would make results that are alike look changed to the steps that read them.
        write_atomically(fitted, json.dumps(metrics).encode())
    return metrics


def _load(job: Job, task: task_module.TranslateTask, directory: Path) -> None:
    """Load a fitted translator, and say where the settings are not those that it was fitted with."""
    task_module.load_translator(task.translator, directory)
    for key, (saved, given) in task_module.other_settings(task.translator, directory).items():
        job.console.say(f"translate: {directory} was fitted with translator.{key} {saved}, here it is {given}")


def _save(job: Job, task: task_module.TranslateTask, space: LabelSpace) -> None:
    directory, names = job.run.path("model.json").parent, ["translator.safetensors", "model.json"]
    if task_module.save_made_segmenter(task.translator, directory, space, job.config.label_space):
        names.append("segmenter.safetensors")
    task_module.save_translator(task.translator, directory, space.names)
    for name in names:
        job.run.add(name)


def _fit(
    job: Job,
    task: task_module.TranslateTask,
    space: LabelSpace,
    rt: runtime.Runtime,
    source_samples: Sequence[Sample],
    target_samples: Sequence[Sample],
) -> dict[str, Any]:
    config: TranslateConfig = job.config
    pairs = fit_data.read_pairs(job, space)
    if (init := job.inputs.get("init")) is not None:
        _load(job, task, init)
    source = fit_data.domain(config, space, source_samples, number=0, with_labels=True)
    unpaired = 0
    # The labels of --target stay closed; maps of the target come by --pairs or as predictions by --pseudo.
    if pairs is None:
        target = fit_data.domain(config, space, target_samples, number=1, with_labels=False)
    else:
        few = task.translator.needs == "few_pairs"
        target = fit_data.paired_domain(config, space, pairs, target_samples if few else None)
        unpaired = len(target.data) - len(pairs.samples)
        job.console.say(f"translate: {len(pairs.samples)} pairs" + (f" and {unpaired} images without" if few else ""))
    if config.target_candidates > 1:
        target = replace(target, candidates=_candidates(job, task.setting, target.data, rt))
    source, target = replace(source, rows=config.rows), replace(target, rows=config.rows)
    plan = translate_plan(config, task)
    batches = stream.batches(source, target, total=config.fit.images, batch=config.fit.batch, runtime=rt)
    metrics: dict[str, Any] = loop.fit(task, plan, batches, rt, job.run, job.console)
    task.finalize(batches(0))
    rt.average_statistics(task.networks.values())  # each process has estimated them from its own share
    return metrics if pairs is None else metrics | {"pairs": len(pairs.samples), "unpaired": unpaired}


def _candidates(
    job: Job, setting: Setting, data: dataset.SegmentationDataset, rt: runtime.Runtime
) -> matched.Candidates:
    """What the guide sees in the target images, for crops to be chosen by."""
    config: TranslateConfig = job.config
    guide = setting.guide_of("target")
    assert guide is not None
    with job.console.progress("translate: looking at target images", len(data)) as progress:
        seen = matching.see_classes(data, guide, rt, batch=config.render_batch, progress=progress.update)
    return matched.Candidates(seen, config.size, config.target_candidates)


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


STAGE = Stage(
    name="translate",
    version=3,  # 3: what is drawn at random is drawn for each image by itself
    config=TranslateConfig,
    run=_run,
    required=("source", "target"),
    optional=("guide", "tones", "translator", "init", "pairs", "pseudo"),
    manifests=("source", "target", "pairs", "pseudo"),
    labelled=("source",),
    makes=(
        *("samples.csv", "images", "labels", "target_samples.csv", "target_images"),
        *("recreated_samples.csv", "recreated_images", "recreated_labels"),
        *("translator.safetensors", "segmenter.safetensors", "model.json", _GAINS),
    ),
    resumes=True,
    check=check_translate,
    idle=idle,
    unread=unread,
    spare=spare,
)
