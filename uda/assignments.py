"""What `--set` says of a pipeline's steps: which steps an assignment reaches, and which of several wins.

`STAGE.key=value` reaches all steps of a stage, `STEP.key=value` one step in every round, `STEP@2.key=value` that of one
round. Where a step is called as its stage is, as in all pipelines that ship, the plain name is the stage's, and
`STEP@each.key=value` reaches the step alone. The narrower one wins, and of two alike the later one.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from uda.core.config import Layers, away_from_default, validate
from uda.core.errors import ConfigError, nearest
from uda.data.label_space import load_space

if TYPE_CHECKING:
    from uda.pipeline import Step
    from uda.stages.base import Stage, StageConfig

SPACE = "label_space="
"""An assignment of the classes of all steps, by this beginning."""
SIZE = "size="
"""An assignment of the size of images in all steps, by this beginning."""
EACH = "each"
"""In the place of a round: the step in every round, and no other step of its stage."""


def is_for_all(assignment: str) -> bool:
    """Whether an assignment is all steps', and names none."""
    return assignment.startswith((SPACE, SIZE))


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
        if is_for_all(text):
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


def reaching(settings: Mapping[str, Sequence[str]], stage: str, name: str, number: int | None) -> list[str]:
    """The assignments that reach a step, the narrower ones last.

    Args:
        settings: what `by_head` found.
        stage: the step's stage.
        name: the step, as the pipeline calls it.
        number: its round; None before the rounds.
    """
    rounds = () if number is None else (f"{name}@{EACH}", f"{name}@{number}")
    return [text for head in dict.fromkeys((stage, name, *rounds)) for text in settings.get(head, [])]


def settled(stage: Stage, layers: Layers, texts: Sequence[str]) -> tuple[StageConfig, dict[str, str]]:
    """A step's settings with the assignments that reach it, but for those of what nothing reads in this step.

    All steps of a stage may be told alike, those with nothing to fit too. What a step has from its configs stays.

    Args:
        stage: the step's stage.
        layers: its settings without them.
        texts: the assignments, the narrower ones last.

    Returns:
        The settings, and the assignments that are left out, each with why.

    Raises:
        ConfigError: settings are wrong.
    """
    config = validate(stage.config, _laid_over(layers, texts))
    whys = {} if stage.idle is None else stage.idle(config)
    away = away_from_default(config, whys)
    idle = {text: why for text in texts if (why := _why_idle(text, whys)) and any(_sets(text, path) for path in away)}
    if not idle:
        return config, {}
    return validate(stage.config, _laid_over(layers, [text for text in texts if text not in idle])), idle


def _laid_over(layers: Layers, texts: Sequence[str]) -> Layers:
    over = copy.deepcopy(layers)
    for text in texts:
        (own,) = Layers().add_assignments([text]).data.values()
        over.add(f"--set {text}", own)
    return over


def _key(text: str) -> tuple[str, ...]:
    """The setting that an assignment of a step or stage is of."""
    return tuple(text.partition("=")[0].split(".")[1:])


def _why_idle(text: str, whys: Mapping[str, str]) -> str | None:
    """Why nothing reads the setting of an assignment; None where something may."""
    key = ".".join(_key(text))
    return next((why for idle, why in whys.items() if f"{key}.".startswith(f"{idle}.")), None)


def _sets(text: str, path: tuple[str, ...]) -> bool:
    key = _key(text)
    return path[: len(key)] == key or key[: len(path)] == path


def is_idle(text: str, stage: Stage, config: StageConfig) -> bool:
    """Whether an assignment is of a setting that nothing reads as a step of that stage is configured."""
    return stage.idle is not None and _why_idle(text, stage.idle(config)) is not None


def check_read(told: Sequence[tuple[Collection[str], Mapping[str, str]]]) -> None:
    """Refuse assignments that no step reads which they reach.

    Args:
        told: of each step the assignments that reach it, and those of them that it does not read, each with why.

    Raises:
        ConfigError: there is one.
    """
    read = {text for texts, idle in told for text in texts if text not in idle}
    for _, idle in told:
        for text, why in idle.items():
            if text not in read:
                raise ConfigError(f"'{text}' changes nothing: {why}", "--set", "leave it out")


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
