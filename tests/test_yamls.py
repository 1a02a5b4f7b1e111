"""Every YAML that ships: counted, with a header, and what it says exists."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import click
import pytest

from uda.cli import cli
from uda.core import registry
from uda.core.config import Layers, settings_that_matter, validate
from uda.core.console import Console
from uda.core.resources import find_yaml, folder
from uda.data.label_space import load_space
from uda.data.spec import load_spec
from uda.pipeline import Request, expand, plan
from uda.stages.catalog import get_stage
from uda.stages.segment import SegmentConfig

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
PIPELINES = sorted((ROOT / "pipelines").rglob("*.yaml"))
DATA = sorted((ROOT / "data_manifests").rglob("*.yaml"))
COUNTS = {"configs": 92, "pipelines": 12, "data_manifests": 1}
"""Said by hand, so that a file that the globs miss is missed here too."""

STAGES = {
    "minicity": "minicity",
    "prepare": "prepare",
    "translate": "translate",
    "segment": "segment",
    "pseudo_label": "pseudo-label",
    "evaluate": "evaluate",
    "quality": "quality",
}


def test_all_are_found() -> None:
    assert {"configs": len(CONFIGS), "pipelines": len(PIPELINES), "data_manifests": len(DATA)} == COUNTS
    assert not [path for name in COUNTS for path in (ROOT / name).rglob("*.yml")]


SMALL = re.compile("minicity|pocket|demo|one_drive|camvid|few_pairs|no_target")
"""Recipes of the project's own, whose numbers no paper has."""


def without_an_origin(text: str) -> list[str]:
    """Lines of settings with a number that no comment explains: on the line, at its group, or for all the rest."""
    bare: list[str] = []
    above: list[tuple[int, bool]] = []
    if "as all without another origin" in text or "No number here is from a paper" in text:
        return []
    for line in text.partition("\ntiny:")[0].splitlines():
        setting, _, comment = line.partition("#")
        depth = len(setting) - len(setting.lstrip())
        above = [(at, said) for at, said in above if at < depth]
        said = bool(comment.strip()) or any(said for _, said in above)
        if re.search(r":.*?(?<![\w.])-?\d", setting) and not said:
            bare.append(line)
        if setting.strip():
            above.append((depth, said))
    return bare


PAPERS = [
    path
    for path in CONFIGS
    if path.parts[-2] in ("translate", "segment", "pseudo_label", "evaluate", "overlays")
    and not SMALL.search(path.stem)
]


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: f"{path.parts[-2]}/{path.stem}")
def test_every_number_of_a_papers_recipe_has_its_origin(path: Path) -> None:
    assert len(PAPERS) > 25
    assert without_an_origin(path.read_text()) == []


def test_a_number_without_an_origin_is_found() -> None:
    assert without_an_origin("a: 1  # paper\nb:  # paper\n  c: 2\n  d: {e: 3}\nf: name2\n") == []
    assert without_an_origin("# Head 1.\na: 1\nb:\n  c: [0.5, x]\n  d: 2  # code\ne: -1\ntiny: {a: 2}\n") == [
        "a: 1",
        "  c: [0.5, x]",
        "e: -1",
    ]


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*CONFIGS, *PIPELINES], ids=label)
def test_headers_say_what_it_is_how_it_is_run_and_what_comes_of_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    head = " ".join(line.removeprefix("#").strip() for line in lines[: _end(lines)])
    kind = path.relative_to(ROOT).parts[:2]
    commands = re.findall(r"Run: (\S+ \S+)(.*?)(?=Run: |Expected: |Paper row: |$)", head)
    assert commands and head.count("Run: ") == len(commands)
    for command, rest in commands:
        _exists(command, rest)
    if kind[1:] not in (("label_spaces",), ("datasets",)):
        assert "Paper row: " in head
        (expected,) = re.findall(r"Expected: (.{1,30})", head)
        assert re.match(r"\d|not yet measured|changes nothing but ", expected), expected
        assert kind[1] == "overlays" or not expected.startswith("changes")
    assert all(len(line) <= 144 for line in lines)


def _exists(command: str, rest: str) -> None:
    """See that a command of a header is there, and the pipeline and configs that it names."""
    program, first = command.split()
    if program == "python":
        assert (ROOT / first).is_file()
    elif program == "make":
        assert f"\n{first}:" in (ROOT / "Makefile").read_text()
    else:
        assert program == "uda" and isinstance(cli, click.Group) and first in cli.commands, command
        known = {option for parameter in cli.commands[first].params for option in parameter.opts}
        assert set(re.findall(r"(?<=\s)--[a-z-]+", rest)) <= known, rest
    for option, kind in (("pipeline", "pipelines"), ("config", "configs")):
        for name in re.findall(rf"--{option} ([a-z0-9_/]+)", rest):
            assert find_yaml(kind, name).is_file()


def _end(lines: list[str]) -> int:
    return next(index for index, line in enumerate(lines) if not line.startswith("#"))


@pytest.mark.parametrize("tiny", [False, True], ids=["full", "tiny"])
@pytest.mark.parametrize("path", [one for one in CONFIGS if one.parent.name in STAGES], ids=label)
def test_stage_configs_load_and_name_real_methods(path: Path, tiny: bool) -> None:
    stage = get_stage(STAGES[path.parent.name])
    config = validate(stage.config, Layers().add_file(path, tiny=tiny))
    for field, family in (("translator", "translators"), ("segmenter", "segmenters"), ("strategy", "pseudo_labels")):
        if hasattr(config, field):
            assert registry.load(family, getattr(config, field).name).Config is type(getattr(config, field))


@pytest.mark.parametrize("tiny", [False, True], ids=["full", "tiny"])
@pytest.mark.parametrize("path", [one for one in CONFIGS if one.parent.name == "translate"], ids=label)
def test_translators_can_be_fitted_as_their_configs_say(path: Path, tiny: bool, tmp_path: Path) -> None:
    stage = get_stage("translate")
    assert stage.check is not None
    config: Any = validate(stage.config, Layers().add_file(path, tiny=tiny))
    method = registry.load("translators", config.translator.name)
    inputs = ["source", *(["guide"] if config.asks_guide() else [])]
    inputs += ["pairs"] if method.needs in ("target_maps", "pairs", "few_pairs") else []
    given = {name: tmp_path / name for name in inputs}
    stage.check(config, given)  # sizes that the strides divide, among others
    for hint in re.findall(r"--set (render_size=\S+)", path.read_text()):
        stage.check(validate(stage.config, Layers().add_file(path, tiny=tiny).add_assignments([hint])), given)
    assert set(config.translator.optimizers) == set(method.Config().optimizers)  # no player that there is not
    assert method.needs != "few_pairs" or config.fit.batch % 2 == 0


@pytest.mark.parametrize("path", [one for one in CONFIGS if "workers: 4" in one.read_text()], ids=label)
def test_reading_processes_come_at_full_size_alone_and_make_nothing_stale(path: Path) -> None:
    stage = get_stage(STAGES[path.parent.name])
    full, tiny = (validate(stage.config, Layers().add_file(path, tiny=tiny)) for tiny in (False, True))
    assert (full.runtime.workers, tiny.runtime.workers) == (4, 0)
    alone = validate(stage.config, Layers().add_file(path).add_assignments(["runtime.workers=0"]))
    assert settings_that_matter(full) == settings_that_matter(alone)


@pytest.mark.parametrize("path", [one for one in CONFIGS if one.parent.name == "datasets"], ids=label)
def test_dataset_specs_load(path: Path) -> None:
    assert load_spec(path.stem).name == path.stem


@pytest.mark.parametrize("path", [one for one in CONFIGS if one.parent.name == "label_spaces"], ids=label)
def test_label_spaces_load(path: Path) -> None:
    assert load_space(path.stem).name == path.stem


@pytest.mark.parametrize("path", [one for one in CONFIGS if one.parent.name == "overlays"], ids=label)
def test_overlays_are_laid_over_something(path: Path) -> None:
    users = [*PIPELINES, ROOT / "uda" / "compare.py", ROOT / "README.md"]
    of_a_kind = path.stem.replace("minicity_", "{kind}_").replace("pocket_", "{kind}_")  # as the comparison names them
    assert any(f"overlays/{name}" in one.read_text() for one in users for name in (path.stem, of_a_kind))


@pytest.mark.parametrize("tiny", [False, True], ids=["full", "tiny"])
@pytest.mark.parametrize("name", ["advent", "class_balanced", "multi_level"])
def test_overlays_of_ones_own_choice_fit_the_config_that_their_command_names(
    name: str, tiny: bool, tmp_path: Path
) -> None:
    ((verb, rest),) = re.findall(r"Run: uda (\S+) (.*)", find_yaml("configs", f"overlays/{name}").read_text())
    names, stage = re.findall(r"--config (\S+)", rest), get_stage(verb)
    assert names[-1] == f"overlays/{name}"
    files = [find_yaml("configs", one) for one in names]
    config: Any = validate(stage.config, Layers().add_files(files, tiny=tiny))
    bare = validate(stage.config, Layers().add_files(files[:-1], tiny=tiny))
    assert config != bare
    if verb == "segment":
        assert stage.check is not None
        stage.check(config, {one: tmp_path / one for one in ("source", "target")})
        method = registry.load("segmenters", config.segmenter.name)
        assert config.adversary.levels == method.heads(config.segmenter) == ("main", "aux")  # none is left alone


@pytest.mark.parametrize("path", PIPELINES, ids=label)
def test_pipelines_expand_at_full_size(path: Path, tmp_path: Path) -> None:
    data = tmp_path if "{data}" in path.read_text() else None
    planned = expand(Request(pipeline=path.stem, out=tmp_path / "run", data=data), Console(quiet=True))
    assert {"source only", "oracle", "round 1"} <= {one.row for one in planned if one.row}
    shares = [one.config for one in planned if one.stage.name == "segment" and one.reads_target_labels]
    (source_only,) = [one.config for one in planned if one.name == "source_only"]
    # The bounds are trained alike: an oracle that sees more images would widen the gap.
    if path.stem.startswith(("minicity", "camvid")):
        assert [one.model_dump() for one in shares] == [source_only.model_dump()]
        assert not any(one.config.runtime.workers for one in planned)  # small images, on few cores


@pytest.mark.parametrize("path", [one for one in PIPELINES if "float32" in one.read_text()], ids=label)
def test_float32_is_had_as_the_header_says(path: Path, tmp_path: Path) -> None:
    (hint,) = re.findall(r"--set (\S+=float32)", path.read_text())
    request = Request(pipeline=path.stem, out=tmp_path / "run", data=tmp_path, assignments=(hint,))
    steps = [one for one in expand(request, Console(quiet=True)) if one.stage.name == "segment"]
    assert {one.config.runtime.precision for one in steps} == {"float32"}


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("path", [one for one in PIPELINES if one.stem.startswith(("minicity", "camvid"))], ids=label)
def test_bounds_train_as_long_as_the_last_round_and_its_ancestors(path: Path, rounds: int, tmp_path: Path) -> None:
    data = tmp_path if "{data}" in path.read_text() else None
    request = Request(pipeline=path.stem, out=tmp_path / "run", data=data, rounds=rounds)
    steps = expand(request, Console(quiet=True))
    images = {one.name: one.config.fit.images for one in steps if isinstance(one.config, SegmentConfig)}
    whole = images["start"] + rounds * (images["adapt@1"] + images["segment@1"])
    assert images["source_only"] == images["oracle"] == images.get("segment_color_transfer", whole) == whole


@pytest.mark.parametrize(
    ("pipeline", "config", "method"),
    [
        ("minicity_pseudo_pairs", "translate/minicity_pix2pix", "pix2pix"),
        ("minicity_pseudo_pairs", "translate/minicity_spade", "spade"),
        ("minicity_pseudo_pairs", "translate/minicity_semgan", "semgan"),
        ("minicity_pseudo_pairs", "translate/minicity_sggan", "sggan"),
        ("minicity_few_pairs", "[translate/minicity_tcr, overlays/few_pairs]", "tcr"),
        ("gta5_to_cityscapes_labels", "[translate/spade, overlays/render_paper_size]", "spade"),
    ],
)
@pytest.mark.parametrize("tiny", [False, True], ids=["full", "tiny"])
def test_a_pipeline_takes_the_translators_that_its_header_names(
    pipeline: str, config: str, method: str, tiny: bool, tmp_path: Path
) -> None:
    text = (ROOT / "pipelines" / f"{pipeline}.yaml").read_text()
    assert config in text
    for name in ("gta5", "cityscapes"):
        (tmp_path / name).mkdir()
    request = Request(pipeline, tmp_path / "run", data=tmp_path if "{data}" in text and not tiny else None, tiny=tiny)
    own = expand(request, Console(quiet=True))
    swapped = expand(dataclasses.replace(request, assignments=(f"translate.config={config}",)), Console(quiet=True))
    plan(own, force=False)
    plan(swapped, force=False)
    settings: list[Any] = [one.config for one in swapped if one.stage.name == "translate"]
    assert {one.translator.name for one in settings} == {method}
    assert {one.supervision for one in settings} == {0.1 if "few_pairs" in pipeline else 1}
    assert [one.config for one in own if one.stage.name != "translate"] == [
        one.config for one in swapped if one.stage.name != "translate"
    ]


def test_bdls_order_and_start_are_had_as_the_papers_pipeline_says(tmp_path: Path) -> None:
    text = (ROOT / "pipelines/gta5_to_cityscapes.yaml").read_text()
    bdl, adapt = (f"  {first}\n    {rest}\n" for first, rest in re.findall(r"^#   (\w+: .*)\n# +(.*)$", text, re.M))
    told = re.findall(r"--set ((?:bdl|adapt)\.\S+)", text)
    for old, new in (
        ("\nbefore:\n", f"\nbefore:\n{bdl}"),
        ("\neach_round:\n", f"\neach_round:\n{adapt}"),
        ("start: {segment: source_only}", "start: {segment: bdl}"),
        ("{segmenter: previous.segment, target", "{segmenter: adapt, target"),
        ("pseudo: pseudo_label/samples.csv}", "pseudo: pseudo_label/samples.csv, init: previous.segment}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "mine.yaml").write_text(text)
    request = Request(pipeline=str(tmp_path / "mine.yaml"), out=tmp_path / "run", data=tmp_path, assignments=told)
    planned = {one.name: one for one in expand(request, Console(quiet=True))}
    assert planned["segment@1"].inputs["init"].step == planned["translate@1"].inputs["guide"].step == "bdl"
    assert planned["pseudo_label@2"].inputs["segmenter"].step == "adapt@2"
    start: Any = planned["bdl"].config
    assert start.fit.images == 0 and planned["bdl"].inputs["init"].path == tmp_path / "BDL.pth"
    config: Any = planned["adapt@2"].config
    assert config.fit.images == 80_000 and config.size == (512, 1024) and config.adversary is not None
    assert config.schedule.span == pytest.approx(250_000 / 80_000)


def test_shipped_folders_are_found_without_an_install() -> None:
    assert folder("configs") == ROOT / "configs"
