"""Data sets without labels: which steps a plan goes without, and which ones cannot learn or be scored.

Names tell, before anything is fitted: a `prepare` step's images and labels are paired as that stage pairs them, and no
file is opened. What the names do not tell (a label that cannot be read, say) is the stage's to tell.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uda import own_data
from uda.core import registry
from uda.core.console import Console
from uda.core.errors import DataError, UdaError
from uda.stages.prepare import labelled_by_name

if TYPE_CHECKING:
    from uda.pipeline import Planned, Request

_EVERY = {"segment": ("source", "also"), "evaluate": ("target",)}
"""Manifests of which a stage wants a label in every row."""
_SOME = {"segment": ("pseudo",), "translate": ("pairs", "pseudo")}
"""Manifests of which a stage wants a label in some rows."""


@dataclass(frozen=True)
class Lack:
    """Labels that are missing in what a `prepare` step leaves.

    Attributes:
        root: the data set's folder.
        what: said of it, up to what the labels are wanted for.
        mend: how there would be labels.
        whole: whether no image has one.
    """

    root: Path
    what: str
    mend: str
    whole: bool


class Labels:
    """Looks once at what each `prepare` step of a plan will find.

    Args:
        planned: all steps.
    """

    def __init__(self, planned: Sequence[Planned]) -> None:
        self._makers = {one.name: one for one in planned if one.stage.name == "prepare"}
        self._known: dict[str, Lack | None] = {}

    def missed(self, one: Planned, among: Collection[str] | None = None) -> Lack | None:
        """What the first input that is short of labels lacks; None where none is, as far as names tell.

        Args:
            one: a step.
            among: names of steps whose results are looked at; None: all.
        """
        every = _wants_every(one)
        for key in (*every, *_SOME.get(one.stage.name, ())):
            name = None if (source := one.inputs.get(key)) is None else source.step
            if name not in self._makers or (among is not None and name not in among):
                continue
            if (lack := self._of(name)) is not None and (lack.whole or key in every):
                return lack
        return None

    def check(self, one: Planned, running: Collection[str]) -> None:
        """Refuse a step that learns from, or is scored by, labels that will not be there.

        Args:
            one: the step.
            running: names of steps that will run; of the others the results are there to be looked at.

        Raises:
            DataError: the data set has none, or not enough.
        """
        if (lack := self.missed(one, running)) is not None:
            purpose = "to score against" if one.stage.name == "evaluate" else "to learn from"
            raise DataError(f"{lack.what} {purpose}", lack.root, lack.mend)

    def _of(self, name: str) -> Lack | None:
        if name not in self._known:
            self._known[name] = _look(self._makers[name])
        return self._known[name]


def _wants_every(one: Planned) -> tuple[str, ...]:
    if one.stage.name == "translate":
        config: Any = one.config
        method = registry.load("translators", config.translator.name)
        return ("source",) if method.translates != "image" or method.needs == "target_maps" else ()
    return _EVERY.get(one.stage.name, ())


def _look(maker: Planned) -> Lack | None:
    """What a `prepare` step will lack; None also where only the step itself can tell."""
    config: Any = maker.config
    source, name = maker.inputs["root"], maker.name.rpartition("/")[2]
    if not config.labels:
        return Lack(source.path, f"{name}.labels=false leaves no labels", "leave it out", whole=True)
    if source.step is not None:  # mini-city has a label for each image
        return None
    try:
        labelled = labelled_by_name(config, source.path)
    except UdaError:
        return None
    if not labelled or all(labelled):
        return None
    bare, mend = labelled.count(False), "put them there, or give manifests of your own"
    if bare < len(labelled):
        return Lack(source.path, f"{bare} of {len(labelled)} images have no labels", mend, whole=False)
    what = "has no labels" if config.split is None else f"split '{config.split}' has no labels"
    return Lack(source.path, what, mend, whole=True)


def without_oracle(planned: Sequence[Planned], request: Request, console: Console) -> list[Planned]:
    """Leave out the steps that learn from target labels, where these are not there, and what depends on them.

    Args:
        planned: all steps.
        request: what the user asked for.
        console: where it is said.

    Raises:
        DataError: the rounds themselves learn from labels that are not there.
    """
    labels = Labels(planned)
    bare = {one.name: lack for one in planned if one.reads_target_labels and (lack := labels.missed(one)) is not None}
    if not bare:
        return list(planned)
    kept = own_data.without(planned, bare)
    for lack in dict.fromkeys(bare.values()):
        if own_data.rounds_learn(planned) and not own_data.rounds_learn(kept):
            what = f"{lack.what}, from which the rounds of pipeline {request.pipeline} learn"
            raise DataError(what, lack.root, f"{lack.mend}, or choose another --pipeline")
        names = ", ".join(dict.fromkeys(name.partition("@")[0] for name, one in bare.items() if one == lack))
        console.say(f"no {names}: {lack.root}: {lack.what}")
    return own_data.without_idle_data(kept)
