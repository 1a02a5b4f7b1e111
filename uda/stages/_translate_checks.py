"""What `uda translate` refuses before anything runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from uda.core import registry, resources
from uda.core.config import away_from_default
from uda.core.errors import ConfigError, DataError
from uda.data.augment_config import AugmentConfig, rows_seen
from uda.data.label_space import LabelSpace, load_space
from uda.data.samples import require_weights
from uda.segmenters import _store as store
from uda.stages._labels import require_labels, require_some_labels
from uda.stages._unread import OF_FITS
from uda.stages.base import check_divisible, check_shared
from uda.translators.base import AbstractTranslator, Direction, Setting, TranslatorConfigBase

if TYPE_CHECKING:
    from uda.stages.translate import TranslateConfig

TARGET_WAYS: dict[Direction, tuple[str, str]] = {
    "target_to_source": ("render_target", "renders one way only"),
    "target_to_target": ("recreate_target", "has no discriminator that segments, to make target images anew"),
}
"""Ways to render the target set: the setting that asks for it, and what a translator is told that cannot."""


_MAPS = ("pairs", "pseudo")
"""Inputs that bring label maps of target images."""
_OF_A_FIT = (
    *("fit", "augment", "rows", "supervision", "rare_classes", "target_candidates", "guide_statistics", "guide_prior"),
    "translator.schedule",
)
"""Settings and groups that a fit alone reads; where a guide is asked, rendering reads its statistics too, and where it
tells tones the rows."""


def of_no_fit(name: str) -> dict[str, str]:
    """Settings that nothing reads of a translator of that name, each with why: those of a fit where it has none."""
    unfitted = registry.load("translators", name).needs == "nothing"
    return dict.fromkeys(_OF_A_FIT, f"{name} is not fitted") if unfitted else {}


def idle(config: TranslateConfig) -> dict[str, str]:
    """The same of the settings' translator; one that renders by a guide reads the guide's settings all the same."""
    found = of_no_fit(config.translator.name)
    if not (config.asks_guide() or config.asks_guide(fits=False)):
        return found
    return _without_the_guides(config, found)


def unread(config: TranslateConfig, inputs: Collection[str]) -> dict[str, str]:
    """Settings that the inputs make of no use: those of the fit where it has been, of the guide where none is asked."""
    name = config.translator.name
    method = registry.load("translators", name)
    untold = {} if config.class_tones else {"class_tones_of": "class_tones is 0"}
    if method.needs == "nothing":
        return untold | dict.fromkeys(OF_FITS, f"{name} is not fitted")
    fits = "translator" not in inputs
    found = untold | {f"translator.{key}": why for key, why in _settings(config).unread().items()}
    found |= {} if fits else dict.fromkeys((*_OF_A_FIT, *OF_FITS), "--translator only renders")
    if config.asks_guide(fits=fits):
        return _without_the_guides(config, found)
    asks_none = dict.fromkeys(("guide_statistics", "guide_prior"), f"{name} as configured asks no segmenter")
    return asks_none | found if "guide" in inputs else found


def _without_the_guides(config: TranslateConfig, found: Mapping[str, str]) -> dict[str, str]:
    """Those of the settings that no guide has to do with; it is shown the rows of a fit where tones are told."""
    read = {"rows"} if config.class_tones else set()
    return {key: why for key, why in found.items() if not key.startswith("guide_") and key not in read}


def spare(config: TranslateConfig) -> set[str]:
    """Inputs of no use: maps where a translator learns from none, a start where it is not fitted, tones if none are."""
    needs = registry.load("translators", config.translator.name).needs
    found = {"init", *_MAPS} if needs == "nothing" else set(_MAPS) if needs == "unpaired" else set()
    return found if config.class_tones else {*found, "tones"}


def _check_idle(config: TranslateConfig) -> None:
    """Refuse what nothing reads, wherever it is from: a recipe is one translator's."""
    if not (away := away_from_default(config, idle(config))):
        return
    name, keys = config.translator.name, [".".join(path) for path in away]
    own = f"translate/{name}"
    recipe = f", or take its own recipe at your images' size: --config {own}, size=[HEIGHT,WIDTH]"
    recipe += f" (of a pipeline's step: STEP.config={own}, STEP.size=[HEIGHT,WIDTH])"
    mend = f"leave {'it' if len(keys) == 1 else 'them'} out{recipe if own in resources.names('configs') else ''}"
    raise ConfigError(f"{name} is not fitted", ", ".join(keys), mend)


def unguided(space: LabelSpace) -> Setting:
    """What a translator without a guide is built for."""
    return Setting(space.num_classes, class_names=space.names)


def check_translate(config: TranslateConfig, inputs: Mapping[str, Path]) -> None:
    """Tell settings and inputs of `uda translate` that cannot work together.

    Raises:
        ConfigError: two settings, or a setting and the inputs, contradict one another; an input is missing.
        DataError: an input holds no labels or no translator.
    """
    method: type[AbstractTranslator] = registry.load("translators", config.translator.name)
    _check_idle(config)
    _check_sizes(config, method)
    for way in config.target_directions:
        if way not in method.directions:
            key, why = TARGET_WAYS[way]
            raise ConfigError(f"{config.translator.name} {why}", key, "set it to false")
    space = load_space(config.label_space)
    method.check_classes(config.translator, unguided(space))
    store.check_input(inputs, "guide", space.names)
    store.check_input(inputs, "tones", space.names)
    if config.samples > 1 and not method.varies(config.translator):
        raise ConfigError(f"{config.translator.name} as configured renders an image one way", "samples", "set it to 1")
    _check_guide(config, inputs)
    maps = sorted({"pairs", "pseudo"} & set(inputs))
    if maps and method.needs in ("nothing", "unpaired"):
        raise ConfigError(f"{config.translator.name} learns from no pairs", "translate", f"leave --{maps[0]} out")
    if maps and "translator" in inputs:
        raise ConfigError("nothing learns from pairs: --translator only renders", "translate", f"leave --{maps[0]} out")
    if "init" in inputs and ("translator" in inputs or method.needs == "nothing"):
        why = "--translator only renders" if "translator" in inputs else f"{config.translator.name} is not fitted"
        raise ConfigError(f"there is no fit to start: {why}", "translate", "leave --init out")
    if method.translates != "image":
        require_labels(inputs["source"], "to be drawn from" if method.translates == "label" else "to be translated")
    _check_maps(inputs)
    _check_colours(config.augment)
    for name in {"init", "translator"} & set(inputs):
        if inputs[name].exists():  # in a pipeline it may be made later
            _check_fitted(config, inputs[name])
    if "translator" not in inputs:
        _check_fit(config, inputs, method)


def _check_fit(config: TranslateConfig, inputs: Mapping[str, Path], method: type[AbstractTranslator]) -> None:
    """What counts where a translator is not only to render."""
    maps = {"pairs", "pseudo"} & set(inputs)
    if (config.supervision < 1 or config.rare_classes) and not maps:
        key = "supervision" if config.supervision < 1 else "rare_classes"
        if method.needs == "unpaired":
            raise ConfigError(f"{config.translator.name} learns from no pairs", key, "leave it out")
        raise ConfigError("there are no pairs to choose from", key, "give --pairs CSV or --pseudo CSV, or leave it out")
    if method.needs != "nothing" and not config.fit.images:
        raise ConfigError("nothing is learnt from 0 images", "fit.images", "give 1 or more, or --translator to render")
    drawn = [name for name in ("source", "target", *maps) if name in inputs and method.needs != "nothing"]
    for manifest in (inputs[name] for name in drawn):
        require_weights(manifest)
    weights = _settings(config).term_weights
    if weights and not any(weights.values()):
        raise ConfigError("all weights are 0: nothing would be learnt", "translator.weights", "give a term a weight")
    share = check_shared(config.fit.batch) if method.needs != "nothing" else 0
    if method.needs == "few_pairs" and share % 2:
        mend = f"use {2 * config.fit.batch}, or another multiple"
        raise ConfigError("pairs and unpaired images come in turn, as many of each", "fit.batch", mend)
    if method.needs != "nothing":
        crop = config.augment.crop
        _check_large_enough("augment.crop" if crop else "size", crop or config.size, config, method, batch=share)
        _check_crops(config, inputs, method, share)
    for key, file in method.files(config.translator).items():
        if not file.is_file():
            raise ConfigError("no such file", f"{key}: {file}", "mend the path")
    if method.needs == "target_maps":
        require_labels(inputs["source"])
    if method.needs == "target_maps" and not maps:
        raise ConfigError(f"{config.translator.name} needs label maps of target images", "translate", "give --pseudo")
    if method.needs in ("pairs", "few_pairs") and not maps:
        mend = "give --pairs CSV (image, label) or --pseudo CSV"
        raise ConfigError(f"{config.translator.name} needs pairs of target images and labels", "translate", mend)


def _settings(config: TranslateConfig) -> TranslatorConfigBase:
    """The translator's own settings."""
    settings = config.translator
    assert isinstance(settings, TranslatorConfigBase)
    return settings


def _check_sizes(config: TranslateConfig, method: type[AbstractTranslator]) -> None:
    """Whether the networks' strides divide all sizes, and images can be rendered at theirs."""
    who, multiple = f"translator {config.translator.name}", method.multiple_of(config.translator)
    sizes = {"size": config.size, "render_size": config.render_size, "augment.crop": config.augment.crop}
    for key, size in sizes.items():
        check_divisible(key, size or config.size, multiple, who)
    key = "render_size" if config.render_size else "size"
    _check_large_enough(key, config.render_size or config.size, config, method, batch=None)


def _check_large_enough(
    key: str, size: tuple[int, int], config: TranslateConfig, method: type[AbstractTranslator], *, batch: int | None
) -> None:
    """Refuse images that the networks cannot take.

    Args:
        key: the setting that gives the size.
        size: height and width.
        config: settings of the stage.
        method: the translator.
        batch: images that a process learns from in a step; None where they are rendered.
    """
    least, multiple = method.smallest(config.translator, batch=batch), method.multiple_of(config.translator)
    if min(size) < least.side:
        mend = f"take {-(-least.side // multiple) * multiple} pixels a side or more"
    elif size[0] * size[1] < least.pixels:
        mend = f"take {least.pixels} pixels (height times width) or more"
    else:
        return
    purpose = "to render" if batch is None else "to be fitted to"
    what = f"{list(size)} is too small for translator {config.translator.name} {purpose}"
    raise ConfigError(what, key, f"{mend}, or {least.instead}" if least.instead else mend)


def _check_maps(inputs: Mapping[str, Path]) -> None:
    """Refuse pairs and pseudo-labels that are none, or both."""
    if {"pairs", "pseudo"} <= set(inputs):
        raise ConfigError("takes --pairs or --pseudo, not both", "translate", "leave one out")
    for name in {"pairs", "pseudo"} & set(inputs):
        require_some_labels(inputs[name], "write labels with `uda pseudo-label`")


def _check_colours(augment: AugmentConfig) -> None:
    """Refuse colours that are changed at random: to a translator they are what the domains differ in."""
    plain = AugmentConfig()
    for key in ("class_colors", "color_jitter", "blur", "noise"):
        if getattr(augment, key) != getattr(plain, key):
            raise ConfigError("translators are fitted to images in their own colours", f"augment.{key}", "leave it out")


def _check_guide(config: TranslateConfig, inputs: Mapping[str, Path]) -> None:
    """Whether there is a guide where one is asked."""
    if config.guide_prior and not config.guide_statistics:
        raise ConfigError("no statistics are estimated", "guide_prior", "set guide_statistics, or this to 0")
    if config.class_tones:
        if not {"guide", "tones"} & set(inputs):
            mend = "give --tones SEGMENT_DIR, or --guide SEGMENT_DIR, or set it to 0"
            raise ConfigError("a segmenter must see which classes target images show", "class_tones", mend)
        require_some_labels(inputs["source"], "class_tones moves classes by their labels: set it to 0")
        for one in config.class_tones_of:
            unguided(load_space(config.label_space)).class_index(one, "class_tones_of")
    elif "tones" in inputs:
        raise ConfigError("no tones are told: class_tones is 0", "translate", "leave --tones out, or set class_tones")
    if "guide" in inputs:
        return
    fits, method = "translator" not in inputs, registry.load("translators", config.translator.name)
    if method.requires_guide(config.translator) if fits else method.renders_guided(config.translator):
        mend = "give --guide SEGMENT_DIR, or switch off in its settings what uses one"
        raise ConfigError(f"{config.translator.name} as configured needs a segmenter as guide", "translate", mend)
    if fits and config.guide_statistics and config.target_candidates == 1 and "tones" not in inputs:
        raise ConfigError("there is no guide to estimate them for", "guide_statistics", "give --guide, or set it to 0")


def _check_crops(
    config: TranslateConfig, inputs: Mapping[str, Path], method: type[AbstractTranslator], share: int
) -> None:
    """Whether the crops of a fit, so many in a process's step, can be taken as the settings say."""
    if config.target_candidates > 1:
        key = "target_candidates"
        if method.needs not in ("unpaired", "target_maps"):
            what = f"{config.translator.name} compares no target crop with a source crop"
            raise ConfigError(what, key, "set it to 1")
        if "guide" not in inputs:
            mend = "give --guide SEGMENT_DIR, or set it to 1"
            raise ConfigError("a segmenter must see which crops are alike", key, mend)
        require_some_labels(inputs["source"], "target_candidates compares with labels: set it to 1")
    _check_crop_size(config)
    if config.rows == (0.0, 1.0):
        return
    whole, height = config.size[0], (config.augment.crop or config.size)[0]
    seen = len(range(whole)[rows_seen(config.rows, whole)])
    if seen < height:
        multiple, least = method.multiple_of(config.translator), method.smallest(config.translator, batch=share).side
        fitting = seen // multiple * multiple
        mend = f"set augment.crop to {fitting} rows, or let it see more"
        mend = mend if fitting >= least else "let it see more: write [first, last] part of the height, [0, 1] for all"
        raise ConfigError(f"{seen} rows of {whole} are fewer than a crop's {height}", "rows", mend)


def _check_crop_size(config: TranslateConfig) -> None:
    """Refuse crops that no image fills: the border around it would be taken for a part of the domains' look."""
    crop, largest = config.augment.crop, [side * config.augment.scale[1] for side in config.size]
    if crop is None or all(side <= most for side, most in zip(crop, largest, strict=True)):
        return
    what = (
        f"crops of {crop[0]}x{crop[1]} are larger than the images, {largest[0]:.0f}x{largest[1]:.0f} (height x width)"
    )
    raise ConfigError(what, "augment.crop", "make them smaller, or size larger")


def _check_fitted(config: TranslateConfig, directory: Path) -> None:
    file = directory / "model.json"
    if not file.is_file():
        raise DataError("holds no translator (model.json)", directory, "give the directory of a finished translate")
    described = json.loads(file.read_text())
    name = described.get("translator", {}).get("name")
    if name is None:
        raise DataError("holds a segmenter, no translator", directory, "give the directory of a finished translate")
    if name != config.translator.name:
        mend = f"set translator.name={name}"
        raise ConfigError(f"holds a fitted '{name}', the settings name '{config.translator.name}'", directory, mend)
    classes = load_space(config.label_space).names
    if tuple(described.get("classes", classes)) != tuple(classes):  # older ones do not say
        mend = "use the label space that it was fitted with (its config.yaml)"
        raise ConfigError("was fitted for other classes", directory, mend)
