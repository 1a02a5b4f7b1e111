"""A verb's settings: of recipes, of an earlier fit, and of options, which must have an effect."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uda.cli_options import Common, console
from uda.core.console import Console
from uda.core.errors import ConfigError

if TYPE_CHECKING:
    from uda.core.config import Layers
    from uda.stages.predict import PredictConfig

_TRAINED = ("pseudo-label", "evaluate", "quality")
"""Verbs that show images to a segmenter, at its training's size and for its classes unless they are told others."""

OWN_RECIPE = {
    "translate": "translate/sait",
    "segment": "segment/deeplabv2",
    "pseudo-label": "pseudo_label/class_median",
    "evaluate": "evaluate/cityscapes",
    "quality": "quality/cityscapes",
    "minicity": "minicity/standard",
}
"""The recipe of a verb for which no config is named."""
_METHOD = {
    "translate": ("translator", "translators"),
    "segment": ("segmenter", "segmenters"),
    "pseudo-label": ("strategy", "pseudo_labels"),
}
"""The setting of a verb that chooses its method, and the methods' family."""


def settings_for(
    name: str,
    options: Common,
    arguments: Mapping[str, Any] | None = None,
    fitted: Path | None = None,
    *,
    inputs: Collection[str] | None = None,
) -> Any:
    """The stage and its settings.

    Args:
        name: the verb.
        options: configs and single settings; without a config the verb's own one, or `fitted`, is at the bottom.
        arguments: settings that other options of the verb stand for.
        fitted: the settings of the fit that the command goes on from.
        inputs: names of what the stage is given; None: it is not run.

    Raises:
        ConfigError: settings are wrong, or an option's would have no effect.
    """
    from uda.core.config import Layers, validate
    from uda.stages._unread import refuse_unread
    from uda.stages.catalog import get_stage

    stage = get_stage(name)
    layers = Layers()
    if fitted is not None:
        layers.add(str(fitted), without_machine(fitted))
    else:
        _add_recipes(layers, recipes(name, options, console()), options, f"uda {name}")
    layers.add(f"uda {name}", arguments or {})
    if options.seed is not None:
        layers.add("--seed", {"seed": options.seed})
    if options.device is not None:
        layers.add("--device", {"runtime": {"device": options.device}})
    config = validate(stage.config, layers.add_assignments(options.assignments))
    if inputs is not None:
        refuse_unread(stage, config, inputs, layers)
    return stage, config


def _add_recipes(layers: Layers, references: Collection[str], options: Common, command: str) -> None:
    """Add configs by name or path; with `--tiny` one of them must have an overlay, else all would be as large."""
    from uda.core.config import read_yaml
    from uda.core.resources import find_yaml

    files = [find_yaml("configs", reference) for reference in references]
    if options.tiny and not any(read_yaml(file).get("tiny") for file in files):
        mend = "write `tiny: {key: value}` into it, or leave --tiny out"
        raise ConfigError("there is no tiny overlay", ", ".join(map(str, references)) or command, mend)
    layers.add_files(files, tiny=options.tiny)


def shown_settings(name: str, options: Common) -> tuple[Any, Mapping[str, str]]:
    """The settings that `uda settings` lists, and those of them that nothing reads whatever is given, each with why."""
    from uda.stages._unread import NO_CACHE, NO_FIT

    if name == "predict":
        if options.configs or options.tiny:
            given = "--config" if options.configs else "--tiny"
            raise ConfigError("predict has no recipes", given, "leave it out")
        return predict_settings(options), {**NO_FIT, **NO_CACHE}
    stage, config = settings_for(name, options, {"dataset": "DATASET"} if name == "prepare" else None)
    inputs = {*stage.required, *stage.optional} - {"translator", "predictions"}  # they take the place of others
    unread = {} if stage.unread is None else stage.unread(config, inputs)
    return config, {**unread, **({} if stage.idle is None else stage.idle(config))}


def predict_settings(options: Common) -> PredictConfig:
    """The settings of `uda predict`.

    Raises:
        ConfigError: they are wrong, or an option's would have no effect.
    """
    from uda.core.config import Layers, validate
    from uda.stages._unread import NO_CACHE, NO_FIT, refuse_options
    from uda.stages.predict import PredictConfig

    layers = Layers()
    if options.device is not None:
        layers.add("--device", {"runtime": {"device": options.device}})
    config = validate(PredictConfig, layers.add_assignments(options.assignments))
    refuse_options(config, {**NO_FIT, **NO_CACHE}, layers)
    return config


def settings_of_training(name: str, options: Common, paths: Mapping[str, Path], speaker: Console) -> dict[str, Any]:
    """Size and label space that a given segmenter was trained with, where a command names neither config nor these."""
    from uda.segmenters._store import DESCRIPTION

    segmenter = paths.get("segmenter")
    if name not in _TRAINED or options.configs or segmenter is None or not (segmenter / DESCRIPTION).is_file():
        return {}  # the stage tells what is no segmenter
    return _trained_size(name, options, segmenter, speaker) | _trained_space(name, options, segmenter, speaker)


def settings_of_fit(name: str, options: Common, paths: Mapping[str, Path], speaker: Console) -> Path | None:
    """The settings that a given translator was fitted with, where a command names no config.

    Raises:
        ConfigError: `--tiny`, which they have no overlay for.
    """
    directory = paths.get("translator") or paths.get("init")
    file = None if directory is None else directory / "config.yaml"
    if name != "translate" or options.configs or file is None or not file.is_file():
        return None  # the stage tells what is no translator
    if "translator" not in without_machine(file):
        return None  # nor is that, though a stage left it
    if options.tiny:
        mend = "leave --tiny out, or name the --config that it was fitted with"
        raise ConfigError("its settings are as it was fitted, with no tiny overlay", file, mend)
    speaker.say(f"{name}: no --config: the settings are those of {file}")
    return file


def recipes(name: str, options: Common, speaker: Console) -> tuple[str, ...]:
    """The configs of a verb: those that are named, else its own recipe, or that of the method which `--set` chooses.

    Args:
        name: the verb.
        options: what was given.
        speaker: told where the recipe is not the verb's own.
    """
    from uda.core import registry, resources
    from uda.core.config import Layers

    if options.configs or name not in OWN_RECIPE:
        return options.configs
    recipe, (field, family) = OWN_RECIPE[name], _METHOD.get(name, ("", ""))
    chosen = Layers().add_assignments(options.assignments).data.get(field)
    chosen = chosen.get("name") if isinstance(chosen, dict) else chosen
    own = f"{recipe.partition('/')[0]}/{chosen}"
    if family and chosen not in registry.names(family):
        return (recipe,)
    if own == recipe or own not in resources.names("configs"):
        return (recipe,)
    speaker.say(f"{name}: no --config: the recipe is {own}, of the {field} that is chosen")
    return (own,)


def without_machine(file: Path) -> dict[str, Any]:
    """Settings of an earlier run, but for the machine that it had, and what nothing read, which may be refused now."""
    from uda.core.config import read_yaml
    from uda.stages._translate_checks import of_no_fit

    kept = {key: value for key, value in read_yaml(file).items() if key != "runtime"}
    method = kept.get("translator")
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        return kept  # what it is wrong in is told where it is read
    for key in of_no_fit(method["name"]):
        _drop(kept, key.split("."))
    while refused := _refused(method):  # those inside a group hide those of the whole
        for path in refused:
            _drop(method, path)
    return kept


def _refused(method: Mapping[str, Any]) -> list[list[str]]:
    """Settings of a translator that its validators refuse by name, and which are there."""
    from pydantic import ValidationError

    from uda.core import registry
    from uda.core.config import EXPLAINED

    try:
        registry.load("translators", method["name"]).Config.model_validate(method)
    except ValidationError as error:
        paths = ([str(part) for part in one["loc"]] for one in error.errors() if one["type"] == EXPLAINED)
        return [path for path in paths if _is_in(method, path)]
    return []


def _is_in(settings: Any, path: Sequence[str]) -> bool:
    for part in path:
        if not isinstance(settings, Mapping) or part not in settings:
            return False
        settings = settings[part]
    return True


def _drop(settings: dict[str, Any], path: Sequence[str]) -> None:
    *groups, last = path
    inner: Any = settings
    for group in groups:
        inner = inner.get(group) if isinstance(inner, dict) else None
    if isinstance(inner, dict):
        inner.pop(last, None)


def _trained_space(name: str, options: Common, segmenter: Path, speaker: Console) -> dict[str, Any]:
    from uda.core.inputs import is_yaml_path
    from uda.segmenters._store import describe
    from uda.stages.catalog import get_stage

    space = str(describe(segmenter)["label_space"])
    gone = is_yaml_path(space) and not Path(space).is_file()
    if gone or any(text.startswith("label_space=") for text in options.assignments):
        return {}
    if space != get_stage(name).config.model_fields["label_space"].default:
        speaker.say(f"{name}: no label space is named: the classes are those of {space}, as the segmenter was trained")
    return {"label_space": space}


def _trained_size(name: str, options: Common, segmenter: Path, speaker: Console) -> dict[str, Any]:
    if options.tiny or any(text.startswith("size=") for text in options.assignments):
        return {}
    from uda.stages._files import trained_size

    size = trained_size(segmenter)
    if size is None:
        speaker.say(f"{name}: the segmenter does not say what size it was trained at; --set size=[HEIGHT,WIDTH] does")
        return {}
    speaker.say(f"{name}: no --config and no size: images enter at {size[0]}x{size[1]}, as the segmenter was trained")
    return {"size": list(size)}
