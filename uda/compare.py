"""Comparisons of translators as graphs of ordinary stages: the same data, judge, budget and seeds for each of them.

Beside the translators stand the untranslated images (`source`) and, where the data have them, the same scenes in the
target's look (`ideal`). A segmenter of the source alone (`start`) guides translators for each seed, another that learnt
classes in random tones (`tones`) tells how light they are in the target, and from the first a segmenter goes on, for a
fixed budget, on every set of images. All sets are measured together; alignment with the labels is judged by a segmenter
that learnt both looks from labelled images of other scenes (`judge`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uda import pipeline
from uda.assignments import is_idle, recipe_of
from uda.compare_recipes import Recipe
from uda.core.console import Console
from uda.core.errors import ConfigError, nearest
from uda.pipeline import Pipeline, Planned, Request, Step
from uda.stages._report.translations import IDEAL, SOURCE, step
from uda.stages.translate import STAGE, TranslateConfig

TINY_SIZE = (64, 128)
"""Height and width in every config's tiny overlay."""
PAIRS = 0.1
"""Part of the target's true labels that methods for few pairs get, unless their name or recipe says otherwise."""


@dataclass(frozen=True)
class DataSet:
    """What is compared on.

    Attributes:
        kind: what the data's small configs are called (`segment/KIND`, `overlays/KIND_start`, ...).
        label_space: of all stages.
        size: height and width of all images.
        steps: `source`, `target`, `val` and `judge` with what they need; `ideal` where there is such a thing.
        settings: assignments for these steps.
        names: what its label space calls classes that small recipes name, where that is something else.
    """

    kind: str
    label_space: str
    size: tuple[int, int]
    steps: Mapping[str, Step]
    settings: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)


def _prepare(config: str, root: str) -> Step:
    return Step(stage="prepare", config=f"prepare/{config}", inputs={"root": root})


def _judge(kind: str, one_look: str, other_look: str, *, reads_target_labels: bool = False) -> Step:
    """A segmenter that learns both looks from labelled images; a batch holds as many of each."""
    return Step(
        stage="segment",
        config=(f"segment/{kind}", "overlays/no_target", f"overlays/{kind}_judge"),
        inputs={"source": f"{one_look}/samples.csv", "pseudo": f"{other_look}/samples.csv"},  # pseudo: true labels
        reads_target_labels=reads_target_labels,
    )


DATA: Mapping[str, DataSet] = {
    "minicity": DataSet(
        kind="minicity",
        label_space="cityscapes19",
        size=(128, 256),
        steps={
            "city": Step(stage="minicity", config="minicity/full"),
            "source": _prepare("gta5", "city/gta5"),
            "ideal": _prepare("gta5", "city/ideal"),
            "target": _prepare("cityscapes_train", "city/cityscapes"),
            "val": _prepare("cityscapes_val", "city/cityscapes"),
            "other_city": Step(stage="minicity", config="minicity/full"),
            "other_game": _prepare("gta5", "other_city/gta5"),
            "other_camera": _prepare("gta5", "other_city/ideal"),
            "judge": _judge("minicity", "other_game", "other_camera"),
        },
        settings=(
            "city.ideal=true",
            "other_city.seed=1",  # other streets than those of the data
            "other_city.ideal=true",
            "other_city.cityscapes_train=0",
            "other_city.cityscapes_val=0",
            "judge.joint_batch=true",  # one normalisation for both looks, as it judges both with one
        ),
    ),
    "camvid": DataSet(
        kind="pocket",
        label_space="camvid11",
        size=(192, 256),
        steps={
            "source": _prepare("camvid_day", "{data}"),
            "target": _prepare("camvid_dusk_first", "{data}"),
            "val": _prepare("camvid_dusk_last", "{data}"),
            "other_day": _prepare("camvid_day", "{data}"),
            "judge": _judge("pocket", "other_day", "val", reads_target_labels=True),
        },
        # The judge has the labelled frames that no translator sees: the day frames of val, and the last dusk frames.
        settings=(
            "source.split=train",
            "other_day.split=val",
            "other_day.select.groups=[0016E5]",
            "judge.joint_batch=true",
        ),
        names={"sidewalk": "pavement"},
    ),
}
"""Data sets to compare on; `{data}` is their folder."""


_FEW = "few"
"""Step of the few inputs of which several images are made."""
_INPUTS, _SAMPLES = 8, 4
"""How many inputs, and images of each (SPADE's and OASIS's figures of diversity are of several images of one map)."""


@dataclass(frozen=True)
class Wanted:
    """What is compared.

    Attributes:
        data: on what.
        recipes: the translators.
        seeds: of guides, fits and segmenters.
        fit_images: length of every fit; None: the recipes' own.
        segment_images: length of the training on each set of images; None: the config's own.
        tiny: apply the tiny overlays.
    """

    data: DataSet
    recipes: Sequence[Recipe]
    seeds: Sequence[int]
    fit_images: int | None = None
    segment_images: int | None = None
    tiny: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of all images."""
        return TINY_SIZE if self.tiny else self.data.size


def plan(
    wanted: Wanted, assignments: Sequence[str], out: Path, *, root: Path | None = None, device: str | None = None
) -> list[Planned]:
    """The steps of a comparison in order; whether they can run says `pipeline.plan`.

    Args:
        wanted: what is compared.
        assignments: `NAME.key=value` for a translator's fits, a step, or all steps of a stage.
        out: directory of all steps.
        root: folder of the data set, where it is somebody's files.
        device: of all steps; None: each config's own.

    Raises:
        ConfigError: settings are wrong, or the data set's folder is not given.
    """
    _refuse_recipes(assignments)
    changed = {one.name: one.under(assignments, tiny=wanted.tiny) for one in wanted.recipes}
    graph = _Graph(dict(wanted.data.steps), list(wanted.data.settings), changed)
    for seed in wanted.seeds:
        _add_seed(graph, wanted, seed)
    request = Request(
        pipeline="of the comparison",
        out=out.absolute(),
        data=None if root is None else root.absolute(),
        assignments=[*graph.settings, *_own_settings(assignments, graph, wanted)],
        tiny=wanted.tiny,
        device=device,
    )
    whole = Pipeline(label_space=wanted.data.label_space, rounds=0, before=graph.steps)
    return pipeline.expand_graph(whole, request, Console(quiet=True))


@dataclass
class _Graph:
    """Steps, and the assignments that complete their configs.

    Attributes:
        steps: by name.
        settings: assignments, each of one step.
        changed: what the translators' recipes say, with what the user's assignments change in it.
    """

    steps: dict[str, Step]
    settings: list[str]
    changed: Mapping[str, TranslateConfig]

    def add(self, name: str, one: Step, *settings: str) -> str:
        self.steps[name] = one
        self.settings += [f"{name}.{text}" for text in settings]
        return name


def _add_seed(graph: _Graph, wanted: Wanted, seed: int) -> None:
    kind = wanted.data.kind
    start = (f"segment/{kind}", "overlays/no_target", f"overlays/{kind}_start")
    inputs = {"source": f"{SOURCE}/samples.csv"}
    graph.add(step("start", seed), Step(stage="segment", config=start, inputs=inputs), f"seed={seed}")
    if any(settings.class_tones for settings in graph.changed.values()):
        # It tells how light classes are in the target, and so must not go by that.
        teller = Step(stage="segment", config=(*start, "overlays/class_colors"), inputs=inputs)
        graph.add(step("tones", seed), teller, f"seed={seed}")
    images = {name: f"{name}/samples.csv" for name in (SOURCE, IDEAL) if name in graph.steps}
    varied: dict[str, str] = {}
    for name, csv in images.items():
        _add_segmenter(graph, wanted, seed, name, csv)
    if any(recipe.maps == "pseudo" for recipe in wanted.recipes):
        # Not by the start itself: with the source's statistics it takes the target's roads for sidewalks.
        inputs = {"segmenter": step("segment", seed, SOURCE), "target": "target/samples.csv"}
        graph.add(step("pseudo", seed), Step(stage="pseudo-label", config=f"pseudo_label/{kind}", inputs=inputs))
    for recipe in wanted.recipes:
        images[recipe.name] = f"{_add_translation(graph, wanted, seed, recipe)}/samples.csv"
        _add_segmenter(graph, wanted, seed, recipe.name, images[recipe.name])
        if recipe.method.varies(graph.changed[recipe.name].translator):
            varied[recipe.name] = f"{_add_samples(graph, wanted, seed, recipe)}/samples.csv"
    inputs = {name if name == SOURCE else f"images.{name}": csv for name, csv in images.items()}
    inputs |= {"real": "target/samples.csv", "segmenter": "judge"}
    quality = Step(stage="quality", config="quality/minicity", inputs=inputs)
    graph.add(step("quality", seed), quality, f"size={list(wanted.size)}")
    if varied:
        inputs = {f"images.{name}": csv for name, csv in varied.items()} | {"real": "target/samples.csv"}
        diversity = Step(stage="quality", config="quality/minicity", inputs=inputs)
        graph.add(step("diversity", seed), diversity, f"size={list(wanted.size)}")


def _add_samples(graph: _Graph, wanted: Wanted, seed: int, recipe: Recipe) -> str:
    """Several images of a few inputs by a fitted translator, to see how unlike they are; gives the step's name."""
    if _FEW not in graph.steps:
        own = [text.removeprefix(f"{SOURCE}.") for text in graph.settings if text.startswith(f"{SOURCE}.")]
        graph.add(_FEW, graph.steps[SOURCE], *own, f"select.first={_INPUTS}")
    name = step("translate", seed, recipe.name)
    fitted = graph.steps[name]
    inputs = {**fitted.inputs, "source": f"{_FEW}/samples.csv"}
    if recipe.method.needs != "nothing":
        inputs["translator"] = name
    if recipe.maps is not None:
        del inputs[recipe.maps]  # only fits learn from maps
    settings = [text.removeprefix(f"{name}.") for text in graph.settings if text.startswith(f"{name}.")]
    made = fitted.model_copy(update={"inputs": inputs, "reads_target_labels": False})
    return graph.add(step("samples", seed, recipe.name), made, *settings, f"samples={_SAMPLES}")


def _add_translation(graph: _Graph, wanted: Wanted, seed: int, recipe: Recipe) -> str:
    """A fit, and its images of the whole source at the size that all are compared at; gives the step's name."""
    inputs = {"source": f"{SOURCE}/samples.csv", "target": "target/samples.csv"}
    if (changed := graph.changed[recipe.name]).class_tones:
        inputs["tones"] = step("tones", seed)
    if changed.asks_guide(tones=True):
        inputs["guide"] = step("start", seed)
    if recipe.maps is not None:
        inputs[recipe.maps] = "target/samples.csv" if recipe.maps == "pairs" else f"{step('pseudo', seed)}/samples.csv"
    settings = [f"seed={seed}"]
    if recipe.settings.size != wanted.size:
        # The rows that one camera's own car hides are another one's street.
        settings += [f"size={list(wanted.size)}", "rows=[0, 1]"]
    if wanted.data.names and (moved := recipe.settings.class_tones_of):
        settings.append(f"class_tones_of={[wanted.data.names.get(str(one), one) for one in moved]}")
    if recipe.settings.render_size not in (None, wanted.size):
        settings.append("render_size=null")
    if wanted.fit_images is not None and recipe.method.needs != "nothing":
        settings.append(f"fit.images={wanted.fit_images}")
    if recipe.true_labels is not None:
        settings.append(f"supervision={recipe.true_labels}")
    elif recipe.maps == "pairs" and recipe.settings.supervision == 1:
        settings.append(f"supervision={PAIRS}")
    made = Step(stage="translate", config=recipe.config, inputs=inputs, reads_target_labels=recipe.maps == "pairs")
    return graph.add(step("translate", seed, recipe.name), made, *settings)


def _add_segmenter(graph: _Graph, wanted: Wanted, seed: int, name: str, csv: str) -> None:
    """The same segmenter on every set of images: from one start, the target for its statistics alone; its score."""
    kind, settings = wanted.data.kind, [f"seed={seed}", "adversary=null"]
    if wanted.segment_images is not None:
        settings.append(f"fit.images={wanted.segment_images}")
    inputs = {"source": csv, "target": "target/samples.csv", "init": step("start", seed)}
    trained = Step(stage="segment", config=f"segment/{kind}", inputs=inputs)
    inputs = {"segmenter": graph.add(step("segment", seed, name), trained, *settings), "target": "val/samples.csv"}
    score = Step(stage="evaluate", config=f"evaluate/{kind}", inputs=inputs, row=f"{name}, seed {seed}")
    graph.add(step("evaluate", seed, name), score)


def _refuse_recipes(texts: Sequence[str]) -> None:
    """Refuse assignments by which a step would be another recipe's, or a translator another one."""
    for text in texts:
        key = text.partition(".")[2]
        if recipe_of(text) is not None or re.match(r"translator(\.name=|=.*\bname\b)", key):
            mend = "leave it out; --translators takes another name, or a YAML file of one's own"
            raise ConfigError("the steps of a comparison keep their recipes", f"--set {text}", mend)


def _own_settings(texts: Sequence[str], graph: _Graph, wanted: Wanted) -> list[str]:
    """Assignments by step, so that they come after the comparison's own."""
    recipes = {recipe.name for recipe in wanted.recipes}
    of_step = {
        step(kind, seed, one.name): one
        for kind in ("translate", "samples")
        for seed in wanted.seeds
        for one in wanted.recipes
    }
    found = []
    for text in texts:
        head, _, rest = text.partition(".")
        if head in recipes:
            steps = [step(kind, seed, head) for seed in wanted.seeds for kind in ("translate", "samples")]
            steps = [name for name in steps if name in graph.steps]
        else:
            steps = [name for name, one in graph.steps.items() if head in (name, one.stage)]
            # What is said of all translators is not said to those that have no fit.
            read = [name for name in steps if name not in of_step or not is_idle(text, STAGE, of_step[name].settings)]
            steps = read or steps
        if not steps or not rest:
            known = {*recipes, *graph.steps, *(one.stage for one in graph.steps.values())}
            mend = f"write it as NAME.key=value; {nearest(head.partition('=')[0], known)}"
            raise ConfigError(f"'{text}' names no translator, step or stage", "--set", mend)
        found += [f"{name}.{rest}" for name in steps]
    return found
