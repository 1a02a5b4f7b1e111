"""What `--set` says of a pipeline's steps: which steps an assignment reaches, and which of several wins.

`STAGE.key=value` reaches all steps of a stage, `STEP.key=value` one step in every round, `STEP@2.key=value` that of one
round. Where a step is called as its stage is, as in all pipelines that ship, the plain name is the stage's, and
`STEP@each.key=value` reaches the step alone. The narrower one wins, and of two alike the later one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from uda.core.config import Layers
from uda.core.errors import ConfigError, nearest
from uda.data.label_space import load_space

if TYPE_CHECKING:
    from uda.pipeline import Step

SPACE = "label_space="
"""An assignment that is all steps', by this beginning."""
EACH = "each"
"""In the place of a round: the step in every round, and no other step of its stage."""


def recipe_of(assignment: str) -> str | None:
    """The step whose configs an assignment `STEP.config=...` replaces; None of any other assignment."""
    head, _, rest = assignment.partition(".")
    return head if rest.startswith("config=") else None


def by_head(
    assignments: Sequence[str],
    before: Collection[str],
    each_round: Collection[str],
    stages: Collection[str],
    rounds: int,
) -> dict[str, list[str]]:
    """Assignments of single settings as they were typed, by what stands before their first dot.

    Args:
        assignments: all that was given.
        before: names of the steps before the rounds.
        each_round: names of the rounds' steps.
        stages: names of their stages.
        rounds: how many there are.

    Raises:
        ConfigError: one names no step, stage or round.
    """
    found: dict[str, list[str]] = {}
    names = {*before, *each_round}
    for text in assignments:
        head, dot, _ = text.partition(".")
        if text.startswith(SPACE):
            continue
        known = names if recipe_of(text) else names | {*stages}  # a recipe is one step's
        name, at, place = head.partition("@")
        if at and not recipe_of(text) and dot and name in each_round:
            _check_round(text, name, place, rounds)
        elif not dot or head not in known:
            mend = f"write STEP.key=value; {nearest(head.partition('=')[0], known)}"
            raise ConfigError(f"'{text}' names no step", "--set", mend)
        if not recipe_of(text):
            found.setdefault(head, []).append(text)
    return found


def _check_round(text: str, name: str, place: str, rounds: int) -> None:
    """Refuse what stands behind the `@` where it is no round."""
    if place != EACH and place not in {str(number) for number in range(1, rounds + 1)}:
        mend = f"write {name}@{EACH}, or {name}@ROUND with one of the {rounds} rounds"
        raise ConfigError(f"'{text}' names no round", "--set", mend)


def add_to(layers: Layers, settings: Mapping[str, Sequence[str]], stage: str, name: str, number: int | None) -> None:
    """Lay the assignments that reach a step over its settings, the narrower ones last.

    Args:
        layers: the step's settings.
        settings: what `by_head` found.
        stage: the step's stage.
        name: the step, as the pipeline calls it.
        number: its round; None before the rounds.
    """
    rounds = () if number is None else (f"{name}@{EACH}", f"{name}@{number}")
    for head in dict.fromkeys((stage, name, *rounds)):
        for text in settings.get(head, []):
            layers.add(f"--set {text}", Layers().add_assignments([text]).data[head])


def check_space(settings: Mapping[str, Sequence[str]], step: Step, name: str, own: str, shared: str) -> None:
    """Refuse a label space of one step that is not the one of all: what others learn of it are other classes.

    Args:
        settings: what `by_head` found.
        step: as it stands in the pipeline.
        name: how the pipeline calls it.
        own: its label space, once the assignments are laid over it.
        shared: the pipeline's.

    Raises:
        ConfigError: they are two, by what they say, and the step does more than count or measure.
    """
    if step.stage == "prepare" or (step.stage == "quality" and "segmenter" not in step.inputs):
        return
    if own == shared or load_space(own) == load_space(shared):
        return
    reach = [text for head, texts in settings.items() if head.partition("@")[0] in (step.stage, name) for text in texts]
    typed = next((text for text in reach if text.partition(".")[2] == f"{SPACE}{own}"), f"{name}.{SPACE}{own}")
    mend = f"write --set {SPACE}{own}, which all steps share"
    raise ConfigError(f"'{typed}' is not the label space of the other steps, {shared}", "--set", mend)


def sets_sizes(assignments: Sequence[str]) -> bool:
    """Whether one of them says how large images are, or may by a recipe."""
    keys = (text.partition("=")[0].rpartition(".")[2] for text in assignments)
    return any(key in ("size", "target_size", "render_size", "config") for key in keys)


def wider_than_meant(settings: Mapping[str, Sequence[str]], steps: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each assignment whose name is a stage's and a step's of the rounds: it reaches all steps of the stage.

    Args:
        settings: what `by_head` found.
        steps: by stage, the names of its steps, those of the rounds as `NAME@each`.
    """
    lines = []
    for head, texts in settings.items():
        reached = steps.get(head, ())
        if f"{head}@{EACH}" in reached and len(reached) > 1:
            all_of_them = ", ".join(one.removesuffix(f"@{EACH}") for one in reached)
            alone = f"write {head}@{EACH}.KEY=VALUE for the rounds' own {head}"
            lines += [f"--set {text} reaches all {head} steps ({all_of_them}); {alone}" for text in texts]
    return lines
