"""Stage graphs: load a pipeline's YAML, expand its rounds, plan with reasons, run.

A pipeline says which stage comes after which and names their configs; it holds no hyper-parameters. Steps `before` the
rounds run once; steps of `each_round` once a round. An input is `STEP/FILE` or `STEP` (its directory): a step of the
same round, else one of `before`. `previous.STEP` is that step of the last round, and in round 1 what `start` says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from uda import budget, own_data, sizes, unlabelled
from uda.assignments import (
    SIZE,
    SPACE,
    by_head,
    check_read,
    check_space,
    is_for_all,
    reaching,
    recipe_of,
    settled,
    wider_than_meant,
)
from uda.core.config import Config, Layers, validate
from uda.core.console import Console
from uda.core.errors import ConfigError, DataError, UdaError, nearest
from uda.core.resources import find_yaml
from uda.data.label_space import load_space
from uda.stages._graph_checks import check_devices, check_made, check_out, together, wants_weights
from uda.stages.base import Decision, Stage, StageConfig, check_place, decide
from uda.stages.catalog import get_stage

_PREVIOUS = "previous."


class Step(Config):
    """One stage in a pipeline."""

    stage: str
    """Name of the stage."""
    config: str | tuple[str, ...] = ()
    """Shipped configs or YAML files, each laid over the one before; none: the stage's defaults."""
    inputs: Mapping[str, str] = {}
    """Input name -> where it comes from."""
    row: str | None = None
    """An evaluation's name in the report; `{round}` stands for the round."""
    comparator: bool = False
    """Says that the row is no round of the method but stands beside it (another translation, a loop without one)."""
    reads_target_labels: bool = False
    """Says that the step learns from target labels (an oracle, a translator's few pairs); left out where there are
    none, and where some are missing if they are its `source`."""
    budget_of: str | None = None
    """A step of the rounds: this one trains on as many images as its last with all that it went on from (`init`)."""
    on_demand: bool = False
    """Says that it is for other methods than the pipeline's own: that none reads it, and it is left out, is no news."""


class Pipeline(Config):
    """What a YAML in `pipelines/` holds."""

    label_space: str
    """Label space of all stages."""
    rounds: int = Field(default=1, ge=0)
    """Rounds unless `--rounds` says otherwise."""
    start: Mapping[str, str | None] = {}
    """What `previous.STEP` means in round 1; null: the input is left out there."""
    before: Mapping[str, Step]
    """Steps that run once, before the rounds."""
    each_round: Mapping[str, Step] = {}
    """Steps of every round."""
    published: str | None = None
    """Which published rows are comparable (a key of data_manifests/published.yaml)."""
    mean_over: str | None = None
    """The label space's subset whose mean counts, where the source lacks classes that an oracle can learn (SYNTHIA: 16
    or 13 of Cityscapes' 19); null: all classes."""


@dataclass(frozen=True)
class Source:
    """Where an input comes from: another planned step's directory, or a path given by hand; with a file below it."""

    step: str | None
    path: Path


@dataclass(frozen=True)
class Planned:
    """One step of the expanded graph.

    `assignments` are those that reach it; the `unread` ones, each with why, are none of its settings. Its method has no
    use for the work of the steps `spared`.
    """

    name: str
    stage: Stage
    config: StageConfig
    inputs: Mapping[str, Source]
    out: Path
    row: str | None = None
    round: int | None = None
    comparator: bool = False
    reads_target_labels: bool = False
    assignments: Sequence[str] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    spared: Sequence[str] = ()
    on_demand: bool = False

    def named(self, error: UdaError) -> UdaError:
        """An error of its stage, saying which step it is of."""
        return error.in_step(self.name, stage=self.stage.name, inputs=(*self.stage.required, *self.stage.optional))


@dataclass(frozen=True)
class Request:
    """What the user asked of `uda iterate`.

    Attributes:
        pipeline: shipped name or YAML file.
        out: directory of all steps.
        rounds: overrides the pipeline's.
        data: takes the place of `{data}` in inputs.
        given: one's own manifests by name (source, target, val).
        assignments: of single settings, see `uda.assignments`; `STEP.config=NAME` (or `[NAME, ...]`), which takes the
            place of the step's configs; `label_space=...` or `size=[H,W]`, which are all steps'.
        seed: of all stages but the data's.
        tiny: apply the `tiny` overlays.
        device: overrides every stage's device.
        force: run everything again.
    """

    pipeline: str
    out: Path
    rounds: int | None = None
    data: Path | None = None
    given: Mapping[str, Path] = field(default_factory=dict)
    assignments: Sequence[str] = ()
    seed: int | None = None
    tiny: bool = False
    device: str | None = None
    force: bool = False


def load_pipeline(request: Request) -> Pipeline:
    """Read and check the pipeline that a request names."""
    layers = Layers().add_file(find_yaml("pipelines", request.pipeline, "pipeline"), tiny=request.tiny)
    for text in request.assignments:
        if text.startswith(SPACE):
            layers.add_assignments([text])
        elif (step := recipe_of(text)) is not None:
            steps = {part: layers.data.get(part) or {} for part in ("before", "each_round")}
            for part in (part for part, names in steps.items() if step in names):
                layers.add(f"--set {text}", {part: Layers().add_assignments([text]).data})
    pipeline = validate(Pipeline, layers)
    if pipeline.mean_over is None:
        return pipeline
    space = load_space(pipeline.label_space)
    if pipeline.mean_over not in space.subsets and any(text.startswith(SPACE) for text in request.assignments):
        return pipeline.model_copy(update={"mean_over": None})  # it is the pipeline's own label space's
    space.subset_indices(pipeline.mean_over)  # says which there are
    return pipeline


def expand(request: Request, console: Console) -> list[Planned]:
    """All steps of the request in an order that respects their inputs.

    Raises:
        ConfigError: a reference or assignment that means nothing here, a missing or idle `--data`, wrong settings.
        DataError: one's own manifest cannot be read, or it or a data set lacks the labels that the rounds learn from.
    """
    pipeline = load_pipeline(request)
    planned = unlabelled.without_oracle(expand_graph(pipeline, request, console), request, console)
    _check_use(pipeline, planned, request)
    bare = dict.fromkeys(one.name.partition("@")[0] for one in planned if wants_weights(one.config, one.inputs))
    if bare and not request.tiny:
        mend = "--set segment.segmenter.pretrained=FILE gives them an encoder's"
        console.say(f"{', '.join(bare)}: all weights start at random, in a recipe for pretrained ones; {mend}")
    for line in sizes.unlike(planned, request.assignments):
        console.say(line)
    return planned


def expand_graph(pipeline: Pipeline, request: Request, console: Console) -> list[Planned]:
    """The same for a graph that comes from no file; messages call it by the request's `pipeline`.

    Raises:
        ConfigError: as `expand`.
    """
    check_out(request.out)
    rounds = pipeline.rounds if request.rounds is None else request.rounds
    steps = _steps_by_stage(pipeline)
    settings = by_head(request.assignments, pipeline.before, pipeline.each_round, steps, rounds)
    for line in wider_than_meant(settings, steps):
        console.say(line)
    planned = _plan_steps(request, pipeline, rounds, settings)
    check_read([(one.assignments, one.unread) for one in planned])
    _check_rows(planned, request)
    own = [
        head
        for head, texts in settings.items()
        if any(t.startswith((f"{head}.fit=", f"{head}.fit.images=")) for t in texts)
    ]
    planned = own_data.without_spared(budget.with_budgets(planned, pipeline, own), console)
    planned = _sorted(own_data.without_unwanted(planned, request, console))
    learning = [one for one in planned if one.stage.name not in own_data.STAGES]
    check_devices({one.name.partition("@")[0]: one.config.runtime.device for one in learning})
    return planned


def _steps_by_stage(pipeline: Pipeline) -> dict[str, list[str]]:
    """Names of the steps of each stage, those of the rounds as `NAME@each`."""
    found: dict[str, list[str]] = {}
    for name, step in pipeline.before.items():
        found.setdefault(step.stage, []).append(name)
    for name, step in pipeline.each_round.items():
        found.setdefault(step.stage, []).append(f"{name}@each")
    return found


def _check_rows(planned: Sequence[Planned], request: Request) -> None:
    """Refuse rows of steps that give no score, and two of one name, which the report would take for one."""
    makers: dict[str, str] = {}
    for one in planned:
        if one.row is not None and one.stage.name != "evaluate":
            raise ConfigError(f"{one.stage.name} scores nothing", f"step {one.name}: row", "leave it out")
        if one.row is not None and (other := makers.setdefault(one.row, one.name)) != one.name:
            what = f"row '{one.row}' is both {other}'s and {one.name}'s"
            raise ConfigError(
                what, f"pipeline {request.pipeline}", "write {round} in it, or call one of them otherwise"
            )


def _check_use(pipeline: Pipeline, planned: Sequence[Planned], request: Request) -> None:
    """Refuse what was given and changes nothing, since no step of this run takes it."""
    beside = " beside your own manifests" if request.given else ""
    names, stages = {one.name.partition("@")[0] for one in planned}, {one.stage.name for one in planned}
    for text in request.assignments:
        head = text.partition(".")[0].partition("@")[0]
        if not is_for_all(text) and head not in (names if recipe_of(text) else names | stages):
            raise ConfigError(f"'{text}' changes nothing: no step {head} runs{beside}", "--set", "leave it out")
    steps = {**pipeline.before, **pipeline.each_round}
    if request.data is not None and not any("{data}" in text for name in names for text in steps[name].inputs.values()):
        beside = beside or (" with --tiny" if request.tiny else "")
        raise ConfigError(f"no step of pipeline {request.pipeline} reads it{beside}", "--data", "leave it out")


def _plan_steps(request: Request, pipeline: Pipeline, rounds: int, settings: dict[str, list[str]]) -> list[Planned]:
    """The steps of all rounds; where some cannot be planned, the mistakes in all of them at once."""
    steps: list[tuple[int | None, str, Step]] = [(None, *one) for one in pipeline.before.items()]
    steps += [(number, *one) for number in range(1, rounds + 1) for one in pipeline.each_round.items()]
    planned: list[Planned] = []
    mistakes: dict[str, ConfigError] = {}
    for at, name, step in steps:
        if name in mistakes:  # made in every round
            continue
        try:
            planned.append(_plan_step(request, pipeline, name, step, at, settings))
        except ConfigError as error:
            mistakes[name] = error
    if mistakes:
        raise together([*mistakes.values()])
    return planned


def _plan_step(
    request: Request, pipeline: Pipeline, name: str, step: Step, number: int | None, settings: Mapping[str, list[str]]
) -> Planned:
    stage = get_stage(step.stage)
    names = (step.config,) if isinstance(step.config, str) else step.config
    layers = Layers().add_files([find_yaml("configs", one) for one in names], tiny=request.tiny)
    fields = stage.config.model_fields
    if "label_space" in fields:
        layers.add(f"pipeline {request.pipeline}", {"label_space": pipeline.label_space})
    size = sizes.for_all(request.assignments)
    if size is not None and "size" in fields and step.stage not in own_data.STAGES:
        layers.add(f"--set {SIZE}[{size[0]},{size[1]}]", sizes.laid_over(validate(stage.config, layers), size))
    if request.seed is not None and step.stage not in own_data.STAGES:
        layers.add("--seed", {"seed": request.seed})
    if request.device is not None:
        layers.add("--device", {"runtime": {"device": request.device}})
    texts = reaching(settings, step.stage, name, number)
    base = request.out if number is None else request.out / f"round_{number}"
    config: Any
    config, unread = settled(stage, layers, texts)
    if "label_space" in fields:
        check_space(settings, step, name, config.label_space, pipeline.label_space)
    sources = {key: _resolve(request, pipeline, text, number, name, key) for key, text in step.inputs.items()}
    spare = {key for key in (() if stage.spare is None else stage.spare(config)) if sources.get(key) is not None}
    return Planned(
        name=name if number is None else f"{name}@{number}",
        stage=stage,
        config=config,
        inputs={key: source for key, source in sources.items() if source is not None and key not in spare},
        out=base / name,
        row=None if step.row is None else step.row.replace("{round}", str(number)),
        round=number,
        comparator=step.comparator,
        reads_target_labels=step.reads_target_labels and "pairs" not in spare,
        assignments=texts,
        unread=unread,
        on_demand=step.on_demand,
        # What it could have started from is a result by itself.
        spared=tuple(source.step for key in sorted(spare - {"init"}) if (source := sources[key]) and source.step),
    )


def _resolve(request: Request, pipeline: Pipeline, text: str, number: int | None, of: str, key: str) -> Source | None:
    """What a step's input means, as a path and the step that makes it; None where round 1 is to go without."""
    if "{data}" in text:
        if request.data is None and not own_data.replaced(of, request):
            raise ConfigError("needs the data sets' folder", f"pipeline {request.pipeline}", "give --data ROOT")
        return Source(None, Path(text.replace("{data}", str(request.data))))
    if text.startswith(_PREVIOUS):
        head, _, rest = text.removeprefix(_PREVIOUS).partition("/")
        if number == 1 and head not in pipeline.start:
            mend = f"say `start: {{{head}: STEP}}`, or null to go without"
            raise ConfigError(f"'{text}' has no meaning in round 1", f"step {of}", mend)
        first = pipeline.start[head] if number == 1 else head
        if first is None:
            return None
        name, at = first, None if number == 1 else number and number - 1
    else:
        name, _, rest = text.partition("/")
        at = number if number is not None and name in pipeline.each_round else None
    if name in request.given:
        return Source(None, request.given[name].absolute())
    if name not in (pipeline.before if at is None else pipeline.each_round):
        what, known = f"input '{text}' names no step", {*pipeline.before, *pipeline.each_round}
        if number is None:
            what, known = f"{what} before the rounds", {*pipeline.before}
        raise ConfigError(what, f"step {of}", nearest(name, known))
    steps = {**pipeline.before, **pipeline.each_round}
    check_made(text, get_stage(steps[name].stage), get_stage(steps[of].stage), key, f"step {of}")
    base = request.out if at is None else request.out / f"round_{at}"
    return Source(name if at is None else f"{name}@{at}", base / name / rest if rest else base / name)


def _sorted(planned: list[Planned]) -> list[Planned]:
    done: set[str] = set()
    order: list[Planned] = []
    left = list(planned)
    while left:
        ready = [one for one in left if all(s.step is None or s.step in done for s in one.inputs.values())]
        if not ready:
            raise ConfigError("steps wait for each other", ", ".join(one.name for one in left), "mend their inputs")
        order.append(ready[0])
        done.add(ready[0].name)
        left.remove(ready[0])
    return order


def plan(planned: Sequence[Planned], *, force: bool) -> list[tuple[Planned, Decision]]:
    """Say for each step whether it would run, and why, once it is known that it can; nothing is run.

    Raises:
        ConfigError: of the first step whose settings cannot work, or whose place is another's.
        DataError: of the first step that lacks something which no other step makes.
    """
    own_data.check_manifests(planned)
    running: set[str] = set()
    found, labels = [], unlabelled.Labels(planned)
    for one in planned:
        try:
            labels.check(one, running)
            _check(one, running)
            decision = _decide(one, running, force=force)
        except UdaError as error:
            raise one.named(error) from error
        if decision.action != "skip":
            running.add(one.name)
        found.append((one, decision))
    return found


def _check(one: Planned, running: Collection[str]) -> None:
    """Look at a step's settings and inputs; what a step that will run leaves is not there yet, even if an older is."""
    if one.stage.check is None:
        return
    inputs = one.inputs.items()
    paths = {key: source.path / "later" if source.step in running else source.path for key, source in inputs}
    later = [paths[key] for key, source in inputs if source.step is not None and not paths[key].exists()]
    try:
        one.stage.check(one.config, paths)
    except DataError as error:
        if error.where not in later:
            raise


def _decide(one: Planned, running: Collection[str], *, force: bool) -> Decision:
    waits = [source.step for source in one.inputs.values() if source.step in running]
    if waits:
        check_place(one.stage, one.out, force=force)
        return Decision("run", f"its input {waits[0]} is made first")
    paths = {name: source.path for name, source in one.inputs.items()}
    return decide(one.stage, one.config, paths, one.out, force=force)
