"""What a comparison of translators compares: small recipes by name, or YAML files of one's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uda.assignments import is_idle, recipe_of
from uda.core import registry, resources
from uda.core.config import Layers, validate
from uda.core.errors import ConfigError, nearest
from uda.stages._report.translations import IDEAL, SOURCE
from uda.stages.translate import STAGE, TranslateConfig

MAIN = "sait"
"""The main translator: its small recipe is called after the data alone."""
_WITHOUT_MAPS = ("nothing", "unpaired")
"""What translators need that learn from no label map of a target image."""


@dataclass(frozen=True)
class Recipe:
    """How one translator is fitted.

    Attributes:
        name: in tables and directories.
        config: a shipped config or a YAML file.
        settings: what that says.
        method: the translator's class.
        true_labels: part of the target's true labels that it is fitted on, where it is named so.
    """

    name: str
    config: str
    settings: TranslateConfig
    method: type[Any]
    true_labels: float | None = None

    @property
    def maps(self) -> str | None:
        """The input that brings label maps of target images: `pairs` (few true ones), `pseudo`, or None."""
        if self.method.needs in _WITHOUT_MAPS:
            return None
        if self.true_labels is not None:
            return "pairs"
        # tcr takes no unpaired images and is yet a method for few pairs: its other maps are the source's.
        few = self.method.pairs_are_few
        return "pairs" if few or self.settings.supervision < 1 else "pseudo"

    def under(self, texts: Sequence[str], *, tiny: bool) -> TranslateConfig:
        """The settings under assignments to this translator and to all; as they are where an assignment is wrong."""
        layers = Layers().add_file(resources.find_yaml("configs", self.config), tiny=tiny)
        told = []
        for text in (one for one in texts if recipe_of(one) is None):
            head, _, rest = text.partition(".")
            if head == self.name or (head == STAGE.name and not is_idle(text, STAGE, self.settings)):
                told.append(rest)
        try:
            return validate(TranslateConfig, layers.add_assignments(told))
        except ConfigError:
            return self.settings  # what is wrong is told with its step's name


def recipe_names(kind: str) -> list[str]:
    """All translators that are not fitted or have a small recipe, in the order of the table."""
    names = registry.names("translators")
    free = [name for name in names if registry.load("translators", name).needs == "nothing"]
    known = resources.names("configs")
    fitted = {one.removeprefix(head) for head in _heads(kind) for one in known if one.startswith(head)}
    return [*free, MAIN, *sorted(fitted - {*free, MAIN})]


def _heads(kind: str) -> tuple[str, str]:
    """How names of small recipes start; mini-city's serve where the data have none of their own."""
    return f"translate/{kind}_", "translate/minicity_"


def find_recipe(text: str, kind: str, *, tiny: bool) -> Recipe:
    """The recipe that a name or a YAML file means; `NAME@PART` is fitted on that part of the target's true labels.

    Raises:
        ConfigError: there is none, its settings are wrong, or it learns from no labels of the target.
    """
    text, part = _true_labels(text)
    if text.endswith((".yaml", ".yml")):
        name, config = re.sub(r"\W", "_", Path(text).stem), text
        if name in (SOURCE, IDEAL):
            raise ConfigError(f"'{name}' is a row of its own", text, "call the file something else")
    elif text == MAIN:
        name, config = text, f"translate/{kind}"
    elif text in (known := recipe_names(kind)):
        own = (f"{head}{text}" for head in (*_heads(kind), "translate/"))
        name, config = text, next(one for one in own if one in resources.names("configs"))
    else:
        mend = f"give a YAML file or the name of a small recipe, {nearest(text, known)}"
        raise ConfigError(f"no small recipe '{text}'", "--translators", mend)
    settings = validate(TranslateConfig, Layers().add_file(resources.find_yaml("configs", config), tiny=tiny))
    method = registry.load("translators", settings.translator.name)
    if part is None:
        return Recipe(name, config, settings, method)
    if method.needs in _WITHOUT_MAPS:
        raise ConfigError(f"{name} learns from no labels of the target", f"{text}@{part:g}", f"write {text}")
    percent = f"{100 * part:g}".replace(".", "p")
    return Recipe(f"{name}_{percent}", config, settings, method, part)


def _true_labels(text: str) -> tuple[str, float | None]:
    """A translator's name and the part of the true labels behind its `@`, where there is one.

    Raises:
        ConfigError: the part is none.
    """
    name, at, number = text.rpartition("@")
    if not at or re.fullmatch(r"[\d.]+", number) is None:
        return text, None
    try:
        part = float(number)
    except ValueError:
        part = 0.0
    if not 0 < part <= 1:
        raise ConfigError(f"'{number}' is no part of the labels", text, "write one above 0, 1 at most: oasis@0.1")
    return name, part
