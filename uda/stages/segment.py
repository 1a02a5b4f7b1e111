"""`uda segment`: fit a segmenter on (translated) source labels, pseudo-labels and an output-space adversary."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from uda.core import registry
from uda.core.config import AdversaryConfig, Config, SegmenterConfig, Size
from uda.core.errors import ConfigError
from uda.core.launch import is_first_process
from uda.core.lazy import lazy_import
from uda.core.training import FitConfig, OptimizerConfig, ScheduleConfig
from uda.data.augment_config import AugmentConfig
from uda.data.label_space import LabelSpace, load_space
from uda.data.read import Interpolation
from uda.data.samples import Sample, read_samples, require_weights
from uda.stages._graph_checks import wants_weights
from uda.stages._labels import check_labels, require_labels, require_some_labels
from uda.stages._unread import OF_FITS
from uda.stages.base import Job, Stage, StageConfig, check_divisible, check_shared

if TYPE_CHECKING:
    from uda.data import dataset
    from uda.engine import inference, loop, runtime, stream
    from uda.nets import frame_check
    from uda.segmenters import _store as store
    from uda.stages import _segment_task as task_module
else:
    dataset = lazy_import("uda.data.dataset")
    frame_check = lazy_import("uda.nets.frame_check")
    inference = lazy_import("uda.engine.inference")
    loop = lazy_import("uda.engine.loop")
    runtime = lazy_import("uda.engine.runtime")
    stream = lazy_import("uda.engine.stream")
    store = lazy_import("uda.segmenters._store")
    task_module = lazy_import("uda.stages._segment_task")


_LABELLED = ("source", "also")
"""Inputs that bring labelled images, every image of which is drawn by its own weight."""


class SegmentWeights(Config):
    """Weights of the terms; 0 switches one off."""

    segmentation: float = Field(default=1.0, ge=0)
    """Cross-entropy on the source's labels."""
    segmentation_aux: float = Field(default=0.1, ge=0)
    """The same for the auxiliary head (AdaptSegNet, multi-level: 0.1)."""
    pseudo: float = Field(default=1.0, ge=0)
    """Cross-entropy on the target's pseudo-labels (BDL: 1)."""
    pseudo_aux: float = Field(default=0.1, ge=0)
    """The same for the auxiliary head."""
    adversarial: float = Field(default=0.001, ge=0)
    """Push target outputs towards source (AdaptSegNet, BDL: 0.001 with BCE, 0.01 with least squares; AdaptSegNet with
    two heads, from PyTorch 0.4 on: 0.0005)."""
    adversarial_aux: float = Field(default=0.0002, ge=0)
    """The same for the auxiliary head (ADVENT: 0.0002; AdaptSegNet, from PyTorch 0.4 on: 0.00005)."""
    discriminator: float = Field(default=1.0, ge=0)
    """The discriminator's own loss."""
    discriminator_aux: float = Field(default=1.0, ge=0)
    """The auxiliary discriminator's own loss."""


class SegmentConfig(StageConfig):
    """Settings of `uda segment`."""

    label_space: str = "cityscapes19"
    """A shipped label space or a YAML file."""
    segmenter: SegmenterConfig
    """The network, by name, with its settings."""
    adversary: AdversaryConfig | None = None
    """Output-space adversary; None trains without. It needs `--target`."""
    size: Size
    """Height and width that source images are resized to, in pixels."""
    target_size: Size | None = None
    """The same for target images; None: as the source."""
    augment: AugmentConfig = AugmentConfig()
    """Augmentation of both domains."""
    fit: FitConfig = FitConfig()
    """Length and batch."""
    optimizer: OptimizerConfig = OptimizerConfig(name="sgd", lr=2.5e-4, momentum=0.9, weight_decay=5e-4)
    """The segmenter's optimiser."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Learning rates of segmenter and discriminator over the run."""
    weights: SegmentWeights = SegmentWeights()
    """Weights of the terms."""
    interpolation: Interpolation = "bicubic"
    """How images are resized: bicubic (the recipes), bilinear or area."""
    joint_batch: bool = False
    """Run source and target images through the network together, so that BatchNorm sees both domains at once."""
    target_statistics: int = Field(default=0, ge=0)
    """Target images from which BatchNorm's statistics are estimated at the end (AdaBN, Li et al. 2016); 0 keeps those
    of training, which are of both domains. It needs target images and `segmenter.norm` other than frozen."""
    statistics_prior: int = Field(default=0, ge=0)
    """How many target images the source images count for in these statistics (Schneider et al. 2020: N). 0: they are
    the target's alone, which go wrong where it has few images that show other things than the source."""


def _run(job: Job) -> dict[str, Any]:
    config: SegmentConfig = job.config
    space = load_space(config.label_space)
    labelled = _labelled(job, space)
    rt = runtime.make_runtime(config.runtime)
    task = task_module.SegmentTask(config, len(space.classes))
    if config.target_statistics:
        inference.require_statistics(task.network)
    started = _start(job, task, space)
    source = _domain(config, space, list(chain(*labelled)), config.size, number=0, with_labels=True)
    if len(labelled) > 1:
        source.order = _by_turns(labelled, config)
    target = None
    if samples := target_samples(job.inputs):
        size = config.target_size or config.size
        target = _domain(config, space, samples, size, number=1, with_labels="pseudo" in job.inputs)
    plan = segment_plan(config, task)
    # Target images that teach nothing are left out of the batches: their statistics are all that is wanted of them.
    learnt_from = target if config.adversary is not None or "pseudo" in job.inputs else None
    batches = stream.batches(source, learnt_from, total=config.fit.images, batch=config.fit.batch, runtime=rt)
    metrics = loop.fit(task, plan, batches, rt, job.run, job.console)
    if config.target_statistics and target is not None:
        inference.estimate_mixed_statistics(
            task.network,
            source.data,
            target.data,
            rt,
            batch=config.fit.batch,
            images=config.target_statistics,
            prior=config.statistics_prior,
        )
    if is_first_process():
        names = list(space.names)
        colors = [entry.color for entry in space.classes]
        store.save_segmenter(job.run.path("model.json").parent, task.segmenter, names, config.label_space, colors)
        for name in ("segmenter.safetensors", "model.json"):
            job.run.add(name)
    return {**metrics, **started}


def _start(job: Job, task: task_module.SegmentTask, space: LabelSpace) -> dict[str, Any]:
    """Load what the weights start from, say what came of it, and give it in words for the manifest.

    Returns:
        `weights`, and `warnings` where there are some.
    """
    init, started, warnings = job.inputs.get("init"), [], []
    if task.segmenter.loaded is not None or init is None:
        started.append(task.segmenter.start())
    if wants_weights(job.config, job.inputs):
        warnings.append("all weights started at random, in a recipe for pretrained ones")
    if init is not None:
        loaded = store.initialize(task.network, init, expected_classes=space.names)
        started.append(str(loaded))
        if (random := loaded.missing_heads) and not job.config.fit.images:
            what = f"leaves {len(random)} tensors of the heads at random ({random[0]}, ...), and nothing is trained"
            mend = "set the segmenter that the file is of (AdaptSegNet's: segmenter.aspp_branches=2), or fit.images"
            raise ConfigError(what, init, mend)
    if (doubt := _frame_doubt(task, init)) is not None:
        warnings.append(doubt)
    for line in (*started, *warnings):
        job.console.say(f"segment: {line}")
    return {"weights": "; ".join(started), **({"warnings": warnings} if warnings else {})}


def _frame_doubt(task: task_module.SegmentTask, init: Path | None) -> str | None:
    """What speaks against the image frame of what has been loaded, as one line for people."""
    if init is not None and init.is_dir():
        known, own = store.describe(init)["config"].get("frame"), task.network.frame
        if known in (None, own):
            return None
        return f"{init} was trained in frame {known}, here it is {own}: set segmenter.frame={known}"
    if init is None and task.segmenter.loaded is None:
        return None
    return frame_check.frame_doubt(task.network)


def _labelled(job: Job, space: LabelSpace) -> list[list[Sample]]:
    """The sets of images with true labels; all labels, pseudo-labels too, are seen to be readable."""
    found: list[list[Sample]] = []
    for name in (*_LABELLED, "pseudo"):
        if name in job.inputs:
            samples = read_samples(job.inputs[name], check_files=True)
            check_labels("segment", job.inputs[name], samples, space, job.console, as_images=name != "pseudo")
            found += [samples] if name != "pseudo" else []
    return found


def _by_turns(parts: Sequence[Sequence[Sample]], config: SegmentConfig) -> stream.ByTurns:
    """A batch of one set, then one of the other: looks that differ are normalised apart, as source and target are."""
    source, also = parts
    first = stream.Order([sample.weight for sample in source], config.seed, 0)
    rest = stream.Order([sample.weight for sample in also], config.seed, 2)  # 1: the target's
    return stream.ByTurns(first, rest, len(source), run=config.fit.batch)


def segment_plan(config: SegmentConfig, task: task_module.SegmentTask) -> loop.Plan:
    """How long, with which optimisers and weights a segmenter is trained."""
    return loop.Plan(
        title="segment",
        seed=config.seed,
        images=config.fit.images,
        batch=config.fit.batch,
        optimizers=task.optimizers(),
        schedule=config.schedule,
        weights=dict(config.weights),
    )


def target_samples(inputs: Mapping[str, Path]) -> list[Sample]:
    """The images of `--pseudo`, and after them those of `--target` that have no pseudo-label, without their labels."""
    pseudo = read_samples(inputs["pseudo"], check_files=True) if "pseudo" in inputs else []
    target = read_samples(inputs["target"], check_files=True) if "target" in inputs else []
    if not pseudo:
        return target
    known = {sample.image for sample in pseudo}
    # The labels of --target stay closed; those of --pseudo are predictions.
    first = pseudo[0]
    return pseudo + [
        replace(sample, label=None, dataset=first.dataset, spec_base=first.spec_base)
        for sample in target
        if sample.image not in known
    ]


def _domain(
    config: SegmentConfig,
    space: Any,
    samples: Sequence[Sample],
    size: tuple[int, int],
    *,
    number: int,
    with_labels: bool,
) -> stream.Domain:
    data = dataset.SegmentationDataset(
        samples,
        space,
        size=size,
        with_labels=with_labels,
        interpolation=config.interpolation,
        cache_mb=config.runtime.cache_mb,
    )
    return stream.make_domain(data, config.augment, seed=config.seed, number=number)


def _check_weights(config: SegmentConfig, inputs: Mapping[str, Path]) -> None:
    """Refuse a fit that no term, or no image of a manifest, would teach anything."""
    if not config.fit.images:
        return
    for manifest in (inputs[name] for name in (*_LABELLED, "target", "pseudo") if name in inputs):
        require_weights(manifest)
    heads = registry.load("segmenters", config.segmenter.name).heads(config.segmenter)
    there = {"segmentation": True, "pseudo": "pseudo" in inputs, "adversarial": config.adversary is not None}
    terms = [term for term, taught in there.items() if taught]
    terms += [f"{term}_aux" for term in terms if "aux" in heads]
    if not any(getattr(config.weights, term) for term in terms):
        told = "all weights are 0: nothing would be learnt"
        raise ConfigError(told, "weights", f"give {' or '.join(terms)} a weight")


def _check(config: SegmentConfig, inputs: Mapping[str, Path]) -> None:
    for manifest in (inputs[name] for name in _LABELLED if name in inputs):
        require_labels(manifest)
    if "pseudo" in inputs:
        require_some_labels(inputs["pseudo"], "write labels with `uda pseudo-label`, or give it as --target")
    if not config.fit.images and "init" not in inputs:
        mend = "give --init, whose weights are kept as they are, or 1 or more"
        raise ConfigError("nothing is learnt from 0 images", "fit.images", mend)
    _check_weights(config, inputs)
    if "init" in inputs:
        store.check_init(inputs["init"], load_space(config.label_space).names)
    has_target = "target" in inputs or "pseudo" in inputs
    if config.adversary is not None and not has_target:
        mend = "give --target, or set adversary to null"
        raise ConfigError("an adversary needs unlabelled target images", "segment", mend)
    if config.target_statistics and not has_target:
        mend = "give --target, or set it to 0"
        raise ConfigError("there are no target images to estimate statistics from", "target_statistics", mend)
    if config.statistics_prior and not config.target_statistics:
        raise ConfigError("no statistics are estimated", "statistics_prior", "set target_statistics, or this to 0")
    if "target" in inputs and "pseudo" not in inputs and config.adversary is None and not config.target_statistics:
        mend = "name an adversary, give --pseudo, set target_statistics, or leave --target out"
        raise ConfigError("target images without labels teach nothing here", "segment", mend)
    method = registry.load("segmenters", config.segmenter.name)
    file: Path | None = getattr(config.segmenter, "pretrained", None)
    if file is not None and not file.is_file():
        raise ConfigError("no such file", f"segmenter.pretrained: {file}", "mend the path")
    heads, multiple = method.heads(config.segmenter), method.size_multiple
    for level in config.adversary.levels if config.adversary is not None else ():  # type: ignore[attr-defined]  # base's
        if level not in heads:
            mend = "set segmenter.multi_level to true, or levels to [main]"
            raise ConfigError(
                f"the segmenter has no head '{level}' (it has {', '.join(heads)})", "adversary.levels", mend
            )
    check_shared(config.fit.batch, least=method.least_share(config.segmenter))
    check_divisible("size", config.size, multiple, f"segmenter {config.segmenter.name}")
    if config.target_size is not None:
        check_divisible("target_size", config.target_size, multiple, f"segmenter {config.segmenter.name}")
    if config.joint_batch and config.target_size not in (None, config.size):
        raise ConfigError("needs source and target images of one size", "joint_batch", "set target_size to null")


def _unread(config: SegmentConfig, inputs: Collection[str]) -> dict[str, str]:
    """Settings of what is not there: a fit, a second head, pseudo-labels, an adversary, target images."""
    if not config.fit.images:
        of_fit = ("optimizer", "schedule", "augment", "weights", "joint_batch", *OF_FITS)
        return dict.fromkeys(of_fit, "nothing is learnt from 0 images")
    heads = registry.load("segmenters", config.segmenter.name).heads(config.segmenter)
    levels: Sequence[str] = () if config.adversary is None else config.adversary.levels  # type: ignore[attr-defined]  # base's
    found = {} if "aux" in heads else dict.fromkeys(_aux("segmentation", "pseudo"), "the segmenter has one head")
    parts = [part for part in ("class_colors", "color_jitter", "blur") if not getattr(config.augment, part).probability]
    found |= {f"augment.{part}": f"augment.{part}.probability is 0" for part in parts}
    if "pseudo" not in inputs:
        found |= dict.fromkeys(("weights.pseudo", "weights.pseudo_aux"), "there are no pseudo-labels")
    if "aux" not in levels:
        found |= dict.fromkeys(_aux(*_OF_ADVERSARIES), "no adversary sees a second head")
    if config.adversary is None:
        keys = (*(f"weights.{term}" for term in _OF_ADVERSARIES), *_aux(*_OF_ADVERSARIES))
        found |= dict.fromkeys(keys, "there is no adversary")
    if config.adversary is None and "pseudo" not in inputs:
        found["joint_batch"] = "no target image is learnt from"
    if not {"target", "pseudo"} & set(inputs):
        found["target_size"] = "there are no target images"
    return found


_OF_ADVERSARIES = ("adversarial", "discriminator")
"""Terms of the game with an adversary."""


def _aux(*terms: str) -> list[str]:
    return [f"weights.{term}_aux" for term in terms]


STAGE = Stage(
    name="segment",
    version=2,  # 2: --also comes by turns
    config=SegmentConfig,
    run=_run,
    required=("source",),
    optional=("also", "target", "pseudo", "init"),
    manifests=("source", "also", "target", "pseudo"),
    labelled=("source", "also", "pseudo"),
    makes=("segmenter.safetensors", "model.json"),
    resumes=True,
    check=_check,
    unread=_unread,
)
