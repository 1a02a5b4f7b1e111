"""Equal budgets: what stands beside the rounds trains on as many images as the rounds' last step with its ancestors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from uda.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from uda.pipeline import Pipeline, Planned


def with_budgets(planned: Sequence[Planned], pipeline: Pipeline, own: Collection[str]) -> list[Planned]:
    """Give the steps that have a `budget_of` their images.

    Args:
        planned: all steps of all rounds.
        pipeline: where they come from.
        own: steps whose `fit.images` the user has set; they keep it.

    Raises:
        ConfigError: a `budget_of` names no step, or one that is not fitted.
    """
    by_name = {one.name: one for one in planned}
    last = max((one.round or 0 for one in planned), default=0)
    steps = {**pipeline.before, **pipeline.each_round}
    done = []
    for one in planned:
        name = one.name.partition("@")[0]
        wanted = steps[name].budget_of
        if wanted is not None and name not in own:
            config: Any = one.config
            images = _images(_last(wanted, pipeline, last, name), by_name, name)
            fit = _fit(one, name).model_copy(update={"images": images})
            done.append(replace(one, config=config.model_copy(update={"fit": fit})))
        else:
            done.append(one)
    return done


def _last(wanted: str, pipeline: Pipeline, rounds: int, of: str) -> str:
    """The last round's step; without rounds, what the first one would go on from."""
    if wanted not in pipeline.each_round:
        mend = nearest(wanted, pipeline.each_round)
        raise ConfigError(f"budget_of: no step '{wanted}' in the rounds", f"step {of}", mend)
    return f"{wanted}@{rounds}" if rounds else pipeline.start.get(wanted) or of


def _images(name: str, by_name: Mapping[str, Planned], of: str) -> int:
    """Images that a step and all that it started from (`init`) train on."""
    total, at = 0, by_name.get(name)
    while at is not None:
        total += _fit(at, of).images
        init = at.inputs.get("init")
        at = by_name.get(init.step) if init is not None and init.step is not None else None
    return total


def _fit(one: Planned, of: str) -> Any:
    fit = getattr(one.config, "fit", None)
    if fit is None:
        raise ConfigError(f"budget_of: step {one.name} is not fitted", f"step {of}", "name a segment step")
    return fit
