"""What one's own manifests change in a pipeline: the data's steps go, and what needs labels that are not there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uda.core.console import Console
from uda.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from uda.pipeline import Planned, Request

DATA = ("source", "target", "val")
"""Steps that manifests of these names take the place of."""
STAGES = ("minicity", "prepare")
"""Stages that make data. Their seed is a fact about the data: `--seed` leaves it alone, so that seeds share one set."""


def replaced(step: str, request: Request) -> bool:
    """Whether one's own manifest, or none, takes the place of a step."""
    return step in request.given or (bool(request.given) and step in DATA)


def without_unwanted(planned: list[Planned], request: Request, console: Console) -> list[Planned]:
    """Leave out data steps that one's own manifests replace, and what needs labels that are not there."""
    if not request.given:
        return planned
    for name in ("source", "target"):
        if name not in request.given:
            raise ConfigError(f"own data need --source and --target; --{name} is missing", "uda iterate")
    dropped = {name for name in DATA if any(one.name == name for one in planned)}
    if "val" not in request.given:
        console.say("no --val: nothing is scored, so the report has no IoU table")
    dropped |= _lacking_labels(planned, request.given["target"], console)
    kept = without(planned, dropped)
    if rounds_learn(planned) and not rounds_learn(kept):
        what = f"has no labels, from which the rounds of pipeline {request.pipeline} learn"
        raise DataError(what, request.given["target"], "name labels in some of its rows, or choose another --pipeline")
    if "val" not in request.given:
        kept = _without_bounds(planned, kept, console)
    _say_shared(kept, request, console)
    _say_part(kept, console)
    return without_idle_data(kept)


def without(planned: Sequence[Planned], dropped: Collection[str]) -> list[Planned]:
    """The steps but those of these names, and but those that take something from one that goes."""
    kept = [one for one in planned if one.name not in dropped]
    while True:
        names = {one.name for one in kept}
        fit = [
            one for one in kept if all(source.step is None or source.step in names for source in one.inputs.values())
        ]
        if len(fit) == len(kept):
            return kept
        kept = fit


def without_idle_data(planned: Sequence[Planned]) -> list[Planned]:
    """The steps but those that make data which no other one takes."""
    wanted = {source.step for one in planned for source in one.inputs.values()}
    return [one for one in planned if one.name in wanted or one.stage.name not in STAGES]


def without_spared(planned: Sequence[Planned], console: Console) -> list[Planned]:
    """The steps but those that only make what others' methods have no use for; says which, if not `on_demand`."""
    read = {source.step for one in planned for source in one.inputs.values()}
    gone = {name for one in planned for name in one.spared} - read
    if news := gone - {one.name for one in planned if one.on_demand}:
        names = ", ".join(sorted({name.partition("@")[0] for name in news}))
        console.say(f"no {names}: the methods of the steps that would read it have no use for it")
    return [one for one in planned if one.name not in gone]


def rounds_learn(planned: Sequence[Planned]) -> bool:
    """Whether a segmenter is trained in the rounds."""
    return any(one.round is not None and one.stage.name == "segment" for one in planned)


def check_manifests(planned: Sequence[Planned]) -> None:
    """See of manifests that no step makes that their images are there, and that their labels' specs know the classes.

    Raises:
        ConfigError: a dataset spec is missing or wrong.
        DataError: a manifest cannot be read, images are missing, or a spec has no class of the label space.
    """
    if not (own := _own_manifests(planned)):
        return
    from uda.data.label_space import load_space
    from uda.data.samples import load_specs, read_samples  # pandas, only when own data are given
    from uda.data.spec import require_common_class

    for manifest, spaces in own.items():
        samples = read_samples(manifest, check_files=True)
        specs = load_specs([one for one in samples if one.label is not None]) if spaces else {}
        for spec, space in ((spec, space) for spec in specs.values() for space in sorted(spaces)):
            require_common_class(spec, load_space(space))


def check_labels(planned: Sequence[Planned], console: Console) -> None:
    """Open the labels that these steps read of manifests which no step makes and `uda prepare` does not vouch for.

    Raises:
        DataError: as `uda.stages._labels.check_labels`.
    """
    from uda.data.label_space import load_space
    from uda.data.samples import read_samples
    from uda.data.supervision import choose_pairs
    from uda.stages import _labels

    for manifest, spaces in _own_manifests(planned).items():
        for space in sorted(spaces):
            samples = read_samples(manifest, check_files=True)
            _labels.check_labels("own data", manifest, samples, load_space(space), console)
    for manifest, space, part in sorted(_own_pairs(planned)):
        chosen = choose_pairs(read_samples(manifest, check_files=True), part)
        _labels.check_labels("own data", manifest, chosen, load_space(space), console, as_images=False)


def _own_pairs(planned: Sequence[Planned]) -> set[tuple[Path, str, float]]:
    """Manifests that no step makes whose rows are pairs, with the label space and the part of them that counts."""
    found = set()
    for one in planned:
        config: Any = one.config
        if (source := one.inputs.get("pairs")) is not None and source.step is None:
            found.add((source.path, str(config.label_space), float(config.supervision)))
    return found


def _own_manifests(planned: Sequence[Planned]) -> dict[Path, set[str]]:
    """Manifests that no step makes, each with the label spaces in which all of its labels are read."""
    found: dict[Path, set[str]] = {}
    for one in planned:
        config: Any = one.config
        for name, source in one.inputs.items():
            head = name.partition(".")[0]
            if source.step is None and head in one.stage.manifests:
                spaces = found.setdefault(source.path, set())
                if head in one.stage.labelled:
                    spaces.add(config.label_space)
    return found


def _without_bounds(planned: Sequence[Planned], kept: list[Planned], console: Console) -> list[Planned]:
    """What the rounds' results need: bounds and comparators are there to be scored, and nothing is."""
    results = [one for one in planned if one.row is not None and one.round is not None and not one.comparator]
    if not results:
        return kept
    needed: set[str | None] = set()
    more = {source.step for one in results for source in one.inputs.values()}
    while more - needed:
        needed |= more
        more = {source.step for one in kept if one.name in needed for source in one.inputs.values()}
    if idle := [one.name for one in kept if one.name not in needed and one.stage.name not in STAGES]:
        console.say(f"no --val: left out, as nothing would score them: {', '.join(idle)}")
    return [one for one in kept if one.name in needed]


def _say_shared(planned: Sequence[Planned], request: Request, console: Console) -> None:
    """Say that steps learn, by true labels or their own, from images that they are scored on."""
    pupils = [one for one in planned if one.reads_target_labels or one.stage.name == "pseudo-label"]
    if "val" not in request.given or not pupils:
        return
    from uda.data.samples import read_samples

    val, target = ([one.image.resolve() for one in read_samples(request.given[name])] for name in ("val", "target"))
    if shared := set(val) & set(target):
        names = ", ".join(dict.fromkeys(one.name.partition("@")[0] for one in pupils))
        first = next(image for image in val if image in shared)
        console.say(f"val and target share {len(shared)} images, first {first}: they teach {names}, and are scored")


def _say_part(planned: Sequence[Planned], console: Console) -> None:
    """Say which steps take a part of the true labels that they are given."""
    parts: dict[str, Any] = {one.name.partition("@")[0]: one.config for one in planned if "pairs" in one.inputs}
    for name, config in parts.items():
        if config.supervision < 1:
            mend = f"--set {name}.supervision=1 takes all"
            console.say(f"{name}: learns from {100 * config.supervision:g} % of the target's labelled rows; {mend}")


def _lacking_labels(planned: Sequence[Planned], target: Path, console: Console) -> set[str]:
    """Steps that read target labels and lack them: those whose `source` is the target want a label in every row."""
    from uda.data.samples import read_samples  # pandas, only when own data are given

    labels = [sample.label for sample in read_samples(target)]
    bare = labels.count(None)
    readers = {one.name: one for one in planned if one.reads_target_labels}
    if bare == len(labels):
        console.say("no oracle: the target manifest has no labels")
        return set(readers)
    sources = {name: one.inputs["source"] for name, one in readers.items() if "source" in one.inputs}
    whole = {name for name, source in sources.items() if source.step is None and source.path == target.absolute()}
    if bare and whole:
        console.say(f"no oracle: {bare} of the target manifest's {len(labels)} rows have no label")
    return whole if bare else set()
