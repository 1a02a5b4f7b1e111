"""`uda evaluate`: confusion matrix at full label size, per-class IoU, mIoU over the label space and its subsets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from pydantic import Field

from uda.core.config import Size
from uda.core.errors import ConfigError, DataError
from uda.core.lazy import lazy_import
from uda.data.label_space import LabelSpace, load_space
from uda.data.read import Interpolation, LabelReader, Pixels, read_prediction, read_size
from uda.data.samples import Sample, read_samples
from uda.data.spec import index_spec, mapping_table
from uda.stages._files import image_stems, unique_names
from uda.stages._labels import check_labels, say_ignored_classes
from uda.stages._report.tables import percent, subset_title
from uda.stages._unread import NO_CACHE, NO_FIT
from uda.stages.base import Job, Stage, StageConfig, check_one_of

if TYPE_CHECKING:
    import numpy as np

    from uda.data import dataset
    from uda.engine import inference, runtime
    from uda.metrics import confusion
    from uda.segmenters import _store as store
else:
    np = lazy_import("numpy")
    confusion = lazy_import("uda.metrics.confusion")
    dataset = lazy_import("uda.data.dataset")
    inference = lazy_import("uda.engine.inference")
    runtime = lazy_import("uda.engine.runtime")
    store = lazy_import("uda.segmenters._store")

_ONE_OF = ("segmenter", "predictions")


class EvaluateConfig(StageConfig):
    """Settings of `uda evaluate`."""

    runtime_only = frozenset({"batch"})

    label_space: str = "cityscapes19"
    """A shipped label space or a YAML file."""
    size: Size | None = None
    """Height and width that images are resized to for the segmenter; None: as they are."""
    batch: int = Field(default=4, ge=1)
    """Images at once; one where they come as they are."""
    upsample: Literal["logits", "softmax"] = "logits"
    """What is brought to label size before the argmax (AdaptSegNet, ADVENT: logits; BDL: softmax). BDL takes
    DeepLabV2's softmax at stride 8, here it is taken at the images' size, where class borders are surer."""
    coding: Literal["train-ids", "label-ids"] = "train-ids"
    """Pixels of --predictions: class indices of the label space, or label values of the data set."""
    interpolation: Interpolation = "bicubic"
    """How images are resized."""


def _run(job: Job) -> dict[str, Any]:
    config: EvaluateConfig = job.config
    space = load_space(config.label_space)
    samples = read_samples(job.inputs["target"], check_files="segmenter" in job.inputs)
    if "segmenter" in job.inputs:
        check_labels("evaluate", job.inputs["target"], samples, space, job.console)
    else:
        say_ignored_classes("evaluate", job.inputs["target"], samples, space, job.console)
    labels = LabelReader(samples, space)
    matrix = confusion.ConfusionMatrix(len(space.classes))
    pairs = _predicted(job, samples, space) if "segmenter" in job.inputs else _given(job, samples, space)
    for prediction, sample in pairs:
        label = labels.read(sample)
        assert label is not None
        if prediction.shape != label.shape:
            what = f"prediction is {prediction.shape[::-1]}, its label {label.shape[::-1]} (width, height)"
            raise DataError(what, sample.image, "write predictions at the size of the labels")
        matrix.update(prediction, label)
    if not matrix.counts.any():
        what = f"no pixel of its labels is a class of {space.name}"
        raise DataError(what, job.inputs["target"], "give another label_space, or labels of its classes")
    report = summarize(matrix, space)
    job.run.write("report.json", (json.dumps(report, indent=2) + "\n").encode())
    job.run.write("iou.csv", _iou_table(matrix, space).to_csv(index=False).encode())
    names = list(space.names)
    table = pd.DataFrame(matrix.array, index=pd.Index(names, name="label \\ prediction"), columns=names)
    job.run.write("confusion.csv", table.to_csv().encode())
    job.console.say(f"evaluate: {_means(report)}, {len(samples)} images")
    return report


def _predicted(job: Job, samples: list[Sample], space: LabelSpace) -> Iterator[tuple[Pixels, Sample]]:
    """Predictions of a segmenter, each at its label's size."""
    config: EvaluateConfig = job.config
    rt = runtime.make_runtime(config.runtime)
    names = list(space.names)
    network = store.load_segmenter(job.inputs["segmenter"], expected_classes=names).network
    data = dataset.SegmentationDataset(
        samples, space, size=config.size, with_labels=False, interpolation=config.interpolation
    )
    batch = config.batch if config.size is not None else 1
    with job.console.progress("evaluate", len(samples)) as progress:
        for predicted in inference.predict(network, data, rt, batch=batch, everywhere=True):
            for index, logits_NHW in zip(predicted.indices, predicted.logits_BNHW, strict=True):
                label = samples[index].label
                assert label is not None
                yield (
                    inference.to_labels(logits_NHW, read_size(label), network.align_corners, config.upsample),
                    samples[index],
                )
            progress.update(progress.done + len(predicted.indices))


def _given(job: Job, samples: list[Sample], space: LabelSpace) -> Iterator[tuple[Pixels, Sample]]:
    """Predictions that somebody wrote as PNGs named after the images."""
    config: EvaluateConfig = job.config
    files = image_stems(job.inputs["predictions"])
    own, by_value = index_spec(space), LabelReader(samples, space)
    table = mapping_table(own, space)
    indices = f"write class indices of {space.name}, 0 to {space.num_classes - 1}, or 255 for none"
    indices += "; where they are the data set's label values, give --coding label-ids"
    images = Counter(image.stem for image in {sample.image for sample in samples})
    with job.console.progress("evaluate", len(samples)) as progress:
        for sample, name in zip(samples, unique_names(samples), strict=True):
            stem = sample.image.stem
            wanted = stem if images[stem] == 1 else name  # one prediction never stands for two images
            file = files.get(name) or files.get(wanted)
            if file is None:
                what = f"no prediction for {sample.image}"
                raise DataError(what, job.inputs["predictions"], f"write {wanted}.png")
            if config.coding == "train-ids":
                yield read_prediction(file, own, table, indices), sample
            else:
                yield by_value.read_prediction(sample, file), sample
            progress.update(progress.done + 1)


def summarize(matrix: confusion.ConfusionMatrix, space: LabelSpace) -> dict[str, Any]:
    """The scores of a confusion matrix, IoU as fractions and None for a class that occurs nowhere."""
    names = list(space.names)
    iou = [None if np.isnan(value) else float(value) for value in matrix.iou()]
    subsets = {name: matrix.mean_iou(space.subset_indices(name)) for name in space.subsets}
    return {
        "classes": names,
        "miou": float(matrix.mean_iou()),
        "pixel_accuracy": float(matrix.pixel_accuracy()),
        "class_accuracy": float(matrix.class_accuracy()),
        "iou": dict(zip(names, iou, strict=True)),
        "subsets": {name: None if np.isnan(value) else float(value) for name, value in subsets.items()},
    }


def _means(report: Mapping[str, Any]) -> str:
    """The means, each with the number of classes that it is over: those that occur in labels or predictions."""
    scored = sum(value is not None for value in report["iou"].values())
    subsets = [
        f"{subset_title(name)} {100 * value:.2f}" for name, value in report["subsets"].items() if value is not None
    ]
    return f"mIoU {100 * report['miou']:.2f} over {scored} classes" + (f" ({', '.join(subsets)})" if subsets else "")


def as_text(report: Mapping[str, Any]) -> str:
    """What `summarize` found, in percent: a line for each class, then the means."""
    found = [*report["iou"].items(), ("mIoU", report["miou"])]
    found += [(subset_title(name), value) for name, value in report["subsets"].items()]
    found += [("pixel accuracy", report["pixel_accuracy"]), ("class accuracy", report["class_accuracy"])]
    width = max(len(name) for name, _ in found)
    return "\n".join(["IoU [%]", *(f"{name:<{width}}  {percent(value):>5}" for name, value in found)])


def _iou_table(matrix: confusion.ConfusionMatrix, space: LabelSpace) -> pd.DataFrame:
    array = matrix.array
    return pd.DataFrame(
        {
            "class": list(space.names),
            "iou": matrix.iou(),
            "pixels": matrix.counts.sum(1),  # those predicted to be no class are labelled too
            "predicted_pixels": array.sum(0)[: len(space.classes)],
            "correct_pixels": np.diag(array),
        }
    )


def _check(config: EvaluateConfig, inputs: Mapping[str, Path]) -> None:
    check_one_of("evaluate", _ONE_OF, inputs)
    if "segmenter" in inputs and config.coding != "train-ids":
        raise ConfigError("says what --predictions hold, and there are none", "coding", "leave it out")
    store.check_input(inputs, "segmenter", load_space(config.label_space).names)
    if inputs["target"].is_file():  # in a pipeline it may be made later
        unlabelled = [sample.image for sample in read_samples(inputs["target"]) if sample.label is None]
        if unlabelled:
            raise DataError("has no label to score against", unlabelled[0], "give a manifest with labels")


def _unread(config: EvaluateConfig, inputs: Collection[str]) -> dict[str, str]:
    if "predictions" in inputs:
        network = ("size", "batch", "upsample", "interpolation", "runtime")
        return dict.fromkeys(network, "--predictions are scored as they are")
    alone = {} if config.size is not None else {"batch": "images of their own sizes come one by one"}
    return {**alone, **NO_FIT, **NO_CACHE}


STAGE = Stage(
    name="evaluate",
    version=1,
    config=EvaluateConfig,
    run=_run,
    required=("target",),
    optional=_ONE_OF,
    one_of=_ONE_OF,
    foreign=("predictions",),
    manifests=("target",),
    labelled=("target",),
    alone=True,
    check=_check,
    text=as_text,
    unread=_unread,
)
