"""Sizes that fit together: images are shown to a segmenter as large as those it learns from, translations too.

Only what is set is told: where a recipe alone has two sizes, it means them. One size of all steps is laid over recipes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uda.assignments import EACH, SIZE, sets_sizes
from uda.core import registry
from uda.core.config import Config, Layers, Size, validate

if TYPE_CHECKING:
    from uda.pipeline import Planned


_STEP = 32
"""Crops keep to multiples of as much of what their recipe's sides divide by: more than this, no network asks."""
_LEAST = 64
"""They get no smaller than this, which the small recipes' discriminators need, but where they are so or images are."""


class _ForAll(Config):
    """What all steps share."""

    size: Size
    """Height and width of images."""


def for_all(assignments: Sequence[str]) -> Size | None:
    """Height and width that `size=[H,W]` gives to all steps; None where it is not among the assignments.

    Raises:
        ConfigError: it is no size.
    """
    own = [text for text in assignments if text.startswith(SIZE)]
    return validate(_ForAll, Layers().add_assignments(own)).size if own else None


def laid_over(recipe: Any, size: Size) -> dict[str, Any]:
    """What one size of all images changes in a step's recipe: its sizes, and its crop in proportion.

    Args:
        recipe: its settings, of a stage that has a size.
        size: height and width.
    """
    changed: dict[str, Any] = {"size": list(size)}
    if getattr(recipe, "target_size", None) is not None:
        changed["target_size"] = None
    if getattr(recipe, "render_size", None) is not None:
        changed["render_size"] = list(size)
    crop: Size | None = getattr(getattr(recipe, "augment", None), "crop", None)
    if crop is not None and recipe.size is not None:
        changed["augment"] = {"crop": [_scaled(*sides) for sides in zip(crop, recipe.size, size, strict=True)]}
    return changed


def _scaled(part: int, whole: int, wanted: int) -> int:
    """A crop's side in images of another size: as great a part of them, a multiple of what its own is one of."""
    step = math.gcd(part, _STEP)
    return max(part * wanted // (whole * step) * step, min(part, wanted, _LEAST))


@dataclass(frozen=True)
class _Unlike:
    """A step whose images are of another size than a segmenter is trained at.

    Attributes:
        step: whose size can be set.
        key: its setting.
        has: height and width that it has.
        wanted: those of the segmenter.
        segmenter: the step that trains it.
    """

    step: Planned
    key: str
    has: Size
    wanted: Size
    segmenter: Planned


def unlike(planned: Sequence[Planned], assignments: Sequence[str]) -> list[str]:
    """A line for steps that show target images to a segmenter at another size, and one for translations that are small.

    Args:
        planned: all steps.
        assignments: what was set; where no size is among it, nothing is looked at.
    """
    if not sets_sizes(assignments):
        return []
    lines, typed = [], {text.partition(".")[0] for text in assignments}
    for steps in _alike(_shown(planned)):
        shown, learnt = ([getattr(one, part) for one in steps] for part in ("step", "segmenter"))
        what = f"target images come to {_names(shown)} at {_text(steps[0].has)}, and the segmenters there learn at"
        what += f" {_text(steps[0].wanted)} ({_names(learnt)})"
        sized = {text.partition(".")[0] for text in assignments if sets_sizes([text])}
        if _reached(shown, sized) and not _reached(learnt, sized):  # what was typed is meant
            fits = [one for one in planned if one.stage.name == "segment"]
            lines.append(f"{what}; {_mend(fits, planned, typed, 'size', steps[0].has)} makes them alike")
        else:
            lines.append(f"{what}; {_mend(shown, planned, typed, 'size', steps[0].wanted)} makes them alike")
    for steps in _alike(_rendered(planned)):
        made, key, wanted = [one.step for one in steps], steps[0].key, steps[0].wanted
        what = f"images are rendered at {_text(steps[0].has)} ({_names(made)}), and segmenters learn from them at"
        what += f" {_text(wanted)} ({_names([one.segmenter for one in steps])})"
        fitted = ", and size in the place of render_size fits translators to it too" if key == "render_size" else ""
        lines.append(f"{what}; {_mend(made, planned, typed, key, wanted)} makes them alike{fitted}")
    return lines


def _reached(steps: Sequence[Planned], heads: Collection[str]) -> bool:
    """Whether an assignment whose name begins so is of one of these steps, or of its stage."""
    return any(
        {one.stage.name, one.name.partition("@")[0]} & {head.partition("@")[0] for head in heads} for one in steps
    )


def _shown(planned: Sequence[Planned]) -> Iterator[_Unlike]:
    """Steps that show target images to a segmenter at another size than it learns from them, or from the source's."""
    makers = {one.name: one for one in planned if one.stage.name == "segment"}
    for one in planned:
        source, config = one.inputs.get("segmenter"), _config(one)
        if source is None or source.step not in makers or "target" not in one.inputs or config.size is None:
            continue
        made = makers[source.step]
        # The oracle's source is the target.
        is_oracle = made.reads_target_labels and not {"target", "pseudo"} & set(made.inputs)
        trained = _config(made).size if is_oracle else _config(made).target_size or _config(made).size
        if trained != config.size:
            yield _Unlike(one, "size", config.size, trained, made)


def _rendered(planned: Sequence[Planned]) -> Iterator[_Unlike]:
    """Translations that are smaller than what a segmenter that learns from them is trained at."""
    makers = {one.name: one for one in planned if one.stage.name == "translate"}
    for one in (one for one in planned if one.stage.name == "segment"):
        for source in (one.inputs[key] for key in ("source", "also") if key in one.inputs):
            if source.step not in makers:
                continue
            maker, size = makers[source.step], _config(one).size
            fitted = registry.load("translators", _config(maker).translator.name).needs != "nothing"
            key = "render_size" if fitted or _config(maker).render_size else "size"
            made: Size = _config(maker).render_size or _config(maker).size
            if any(side < wanted for side, wanted in zip(made, size, strict=True)):
                yield _Unlike(maker, key, made, size, one)


def _alike(found: Iterator[_Unlike]) -> list[list[_Unlike]]:
    """The steps of the same two sizes together."""
    groups: dict[tuple[str, Size, Size], list[_Unlike]] = {}
    for one in found:
        groups.setdefault((one.key, one.has, one.wanted), []).append(one)
    return [*groups.values()]


def _mend(steps: Sequence[Planned], planned: Sequence[Planned], typed: Collection[str], key: str, size: Size) -> str:
    """The assignments that give these steps a size.

    Args:
        steps: whose it is to be.
        planned: all steps; one assignment is enough where all steps of a stage are meant.
        typed: what stands before the dots of assignments: over a step's own, a stage's is nothing.
        key: the setting.
        size: height and width.
    """
    names = {one.name for one in steps}
    heads: list[str] = []
    for stage in dict.fromkeys(one.stage.name for one in steps):
        peers = [one for one in planned if one.stage.name == stage]
        called = {one.name.partition("@")[0] for one in peers}
        narrower = any(head != stage and head.partition("@")[0] in called for head in typed)
        if not narrower and all(one.name in names for one in peers):
            heads.append(stage)
            continue
        for one in (one for one in peers if one.name in names):
            name = one.name.partition("@")[0]
            in_all_rounds = all(peer.name in names for peer in peers if peer.name.partition("@")[0] == name)
            of_all_rounds = f"{name}@{EACH}" if name == stage else name  # the plain name is the stage's
            heads.append(of_all_rounds if in_all_rounds else one.name)
    return " ".join(f"--set {head}.{key}=[{size[0]},{size[1]}]" for head in dict.fromkeys(heads))


def _config(one: Planned) -> Any:
    return one.config


def _names(steps: Sequence[Planned]) -> str:
    """Names of steps, each once for all rounds."""
    return ", ".join(dict.fromkeys(one.name.partition("@")[0] for one in steps))


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
