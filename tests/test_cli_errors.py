"""The command line's manners: quick, light, one line on stderr with the way out, and the exit codes of the page."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.cli_calls import Told, uda
from uda.cli import cli
from uda.core.listing import KINDS, entries, shipped_yaml
from uda.core.manifest import MANIFEST
from uda.core.rundir import RunDirectory


def loaded(*arguments: str) -> set[str]:
    """Top-level modules in memory after a command, run in a fresh process."""
    code = (
        "import sys\nfrom uda.cli import main\ntry:\n    main()\n"
        "except SystemExit as left:\n    assert not left.code, left.code\n"
        "finally:\n    print('|'.join({name.split('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split("|"))


def seconds(*command: str) -> float:
    """The processor's time, which others on the machine do not lengthen as they do the wall's."""

    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    times = []
    for _ in range(3):
        start = used()
        subprocess.run([sys.executable, *command], capture_output=True, check=True)
        times.append(used() - start)
    return statistics.median(times)


def test_the_command_lines_own_module_is_the_program_too() -> None:
    said = [
        subprocess.run([sys.executable, "-W", "error", "-m", module, "--version"], capture_output=True, text=True)
        for module in ("uda", "uda.cli")
    ]
    assert [done.returncode for done in said] == [0, 0]
    assert said[0].stdout == said[1].stdout and said[1].stdout.startswith("uda, version ") and not said[1].stderr


def test_help_answers_at_once() -> None:
    # 0.3 s beyond what starting Python with click costs on this machine.
    assert seconds("-m", "uda", "--help") < seconds("-c", "import click") + 0.3


@pytest.mark.parametrize("arguments", [("--help",), ("translate", "--help"), ("--version",)])
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not loaded(*arguments) & {"torch", "numpy", "pandas", "pydantic", "yaml", "cv2"}


HEAVY = {"torch", "torchvision", "timm", "kornia", "segmentation_models_pytorch", "accelerate", "matplotlib"}


@pytest.mark.parametrize(
    "arguments",
    [("list", "translators"), ("show", "minicity"), ("plan", "--out", "runs/x"), ("plan", "--tiny", "--out", "runs/x")],
)
def test_listing_showing_and_planning_load_no_torch(arguments: tuple[str, ...]) -> None:
    found = loaded(*arguments)
    assert "uda" in found
    assert not found & HEAVY


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_one_name_and_one_sentence_a_line(told: Told, kind: str) -> None:
    assert told("list", kind) == (0, "")
    found = entries(kind)
    lines = told.out.splitlines()
    assert [line.split()[0] for line in lines] == list(found)
    assert [line.split(maxsplit=1)[1] for line in lines] == list(found.values())
    assert told("list", kind, "--json") == (0, "")
    assert json.loads(told.out) == found


@pytest.mark.parametrize("verb", ["iterate", "plan"])
def test_help_offers_no_option_that_is_always_refused(told: Told, verb: str) -> None:
    assert told(verb, "--help")[0] == 0
    assert "--config" not in told.out and "--seeds" in told.out


def test_help_names_what_can_be_listed(told: Told) -> None:
    assert told("list", "--help")[0] == 0
    first = told.out.split("List ", 1)[1].split(".", 1)[0]
    named = {word.strip() for word in first.replace(" and ", ",").replace(" or ", ",").split(",")}
    assert {"translators", "segmenters", "pseudo_labels", "adversaries", "configs", "pipelines"} <= named
    assert named <= set(KINDS)


@pytest.mark.parametrize("name", ["translate/sait", "minicity", "gta5", "cityscapes19"])
def test_shown_yamls_are_the_shipped_files(told: Told, name: str) -> None:
    assert told("show", name) == (0, "")
    assert told.out.rstrip() == shipped_yaml(name).read_text().rstrip()


def test_mini_city_is_told_its_place_once_as_an_argument_or_by_out(told: Told, tmp_path: Path) -> None:
    place = str(tmp_path / "city")
    for given in ((place,), ("--out", place)):
        assert told("minicity", *given, "--dry-run")[0] == 0
        assert told.out == f"minicity -> {place}: would run (not made yet)\n"
    told_twice = told("minicity", place, "--out", place)
    assert told_twice == (2, "error: uda minicity: needs one place for its results; leave --out away")
    assert told("minicity") == (2, "error: uda minicity: needs one place for its results; write uda minicity OUT")


def test_every_verb_explains_itself(told: Told) -> None:
    for verb, command in cli.commands.items():
        assert told(verb, "--help") == (0, "")
        assert command.help
        assert all(option.help for option in command.params if isinstance(option, click.Option))


@pytest.mark.parametrize(
    ("arguments", "command", "said"),
    [
        (("transalte",), "uda", "No such command 'transalte'"),
        (("translate", "--ot", "x"), "uda translate", "No such option"),
        (("--foo",), "uda", "No such option"),
        (("translate", "--source", "x", "--target", "y"), "uda translate", "Missing option '--out'; see"),
        (("minicity", "--out", "x", "--seed", "-1"), "uda minicity", "--seed"),
        (("evaluate", "--target", "x", "--out", "y", "--coding", "z"), "uda evaluate", "'train-ids', 'label-ids'"),
        (("evaluate", "--coding"), "uda evaluate", "Option '--coding' requires an argument"),
        (("predict", "--segmenter", "x", "--out", "y"), "uda predict", "IMAGES"),
        (("show", "a", "b"), "uda show", "Got unexpected extra argument"),
    ],
)
def test_wrong_usage_is_told_in_one_line_with_code_2(
    told: Told, arguments: tuple[str, ...], command: str, said: str
) -> None:
    code, line = told(*arguments)
    assert code == 2
    assert line.startswith(f"error: {command}: ")
    assert said in line
    assert line.endswith(f"; see {command} --help")
    assert told.out == ""


def test_a_bare_command_shows_the_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert uda(monkeypatch) == 2
    assert capsys.readouterr().err.startswith("Usage: uda")


def test_a_wrong_setting_is_told_with_its_place_and_the_nearest_and_code_2(told: Told, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert told("minicity", "--out", out, "--set", "gta=3") == (
        2,
        "error: --set gta=3: gta: unknown key, did you mean 'gta5'?",
    )
    own = tmp_path / "own.yaml"
    own.write_text("gta5: -1\nsynthai: 3\n")
    code, line = told("minicity", "--out", out, "--config", own, "--set", "width=wide")
    assert code == 2
    assert f"{own}: gta5: " in line
    assert f"{own}: synthai: unknown key, did you mean 'synthia'?" in line
    assert "--set width=wide: width: " in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "translator"), "error: cannot list 'translator'; did you mean 'translators'?"),
        (("show", "minicty"), "error: no shipped YAML is called 'minicty'; did you mean 'minicity'?"),
        (("plan", "--pipeline", "minicty", "--out", "x"), "did you mean 'minicity'?"),
        (("minicity", "--config", "minicity/stanard", "--out", "x"), "did you mean 'minicity/standard'?"),
        (("minicity", "--set", "gta5", "--out", "x"), "write it as key.subkey=value"),
        (("minicity", "--config", "none.yaml", "--out", "x"), "none.yaml: no such config file"),
        (("iterate", "--config", "x", "--out", "x"), "a pipeline takes no --config"),
        (("plan", "--config", "x", "--out", "x"), "a pipeline takes no --config"),
        (("plan", "--source", "a.csv", "--out", "x"), "--target is missing"),
        (
            ("segment", "--source", "a.csv", "--out", "x", "--device", "gpu"),
            "'gpu' is no device, use auto, cpu, cuda or",
        ),
        (("segment", "--source", "a.csv", "--out", "x", "--set", "size=[0, 64]"), "size.0: Input should be greater"),
        (
            ("segment", "--source", "a.csv", "--out", "x", "--set", "target_size=[64, -1]"),
            "target_size.1: Input should",
        ),
        (("segment", "--source", "a.csv", "--out", "x", "--set", "seed=-1"), "--set seed=-1: seed: Input should be"),
        (("segment", "--source", "a.csv", "--out", "x", "--set", "optimizer.betas=[2, 0]"), "optimizer.betas.0: Input"),
        (
            ("segment", "--source", "a.csv", "--out", "x", "--set", "runtime.workers=-1"),
            "runtime.workers: Input should",
        ),
        (("prepare", "gta", ".", "--out", "x.csv"), "unknown dataset 'gta'; did you mean 'gta5'?"),
    ],
)
def test_what_is_unknown_is_told_in_one_line_with_code_2(told: Told, arguments: tuple[str, ...], said: str) -> None:
    code, line = told(*arguments)
    assert code == 2
    assert line.startswith("error: ")
    assert said in line


def test_unknown_methods_are_told_with_code_2(told: Told, tmp_path: Path) -> None:
    out, set_name = tmp_path / "out", "translator.name=siat"
    data = ("--source", tmp_path / "a.csv", "--target", tmp_path / "b.csv")
    code, line = told("translate", *data, "--out", out, "--set", set_name)
    assert code == 2
    assert "unknown method 'siat' in translators; did you mean 'sait'?" in line


def test_a_place_that_is_taken_is_told_with_code_2(told: Told, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert told("minicity", "--out", tmp_path) == (
        2,
        f"error: {tmp_path}: exists and was not made by this program; choose another --out",
    )


def test_a_place_where_another_command_writes_is_told_with_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = RunDirectory(tmp_path / "out")
    other.begin("f", {})
    assert uda(monkeypatch, "minicity", "--tiny", "--out", tmp_path / "out") == 2
    mend = "wait for it or stop it, or choose another --out"
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"error: {other.partial}: another command is writing there; {mend}"
    assert other.started_for() == "f"


def test_missing_data_are_told_with_code_3(told: Told, tmp_path: Path) -> None:
    none = tmp_path / "none.csv"
    data = ("--source", none, "--target", none)
    code, line = told("translate", *data, "--config", "translate/identity", "--out", tmp_path / "out")
    assert (code, line) == (3, f"error: {none}: no such file; check the path")
    code, line = told("verify", tmp_path)
    assert code == 3
    assert "holds no complete stage" in line
    code, line = told("prepare", "gta5", tmp_path / "nowhere", "--out", tmp_path / "x.csv")
    assert code == 3
    assert "nowhere" in line


def test_verify_tells_what_differs(told: Told, tmp_path: Path) -> None:
    from tests.core.test_manifest import manifest

    run = RunDirectory(tmp_path / "runs/one")
    run.begin("f", {})
    run.write("a.png", b"aaaa")
    run.complete(manifest(run.outputs_digest()))
    assert told("verify", tmp_path / "runs") == (0, "")
    assert told.out == "1 stages agree with their receipts\n"
    (run.out / "a.png").write_bytes(b"AAAA")
    assert told("verify", tmp_path / "runs")[0] == 0
    code, line = told("verify", tmp_path / "runs", "--deep")
    assert code == 3
    assert "1 differences from the receipts" in line
    assert told.out == f"{run.out / 'a.png'}: content changed (SHA-256 differs)\n"
    (run.out / MANIFEST).write_text("{")
    assert told("verify", run.out)[0] == 3


def test_verify_passes_over_what_no_stage_made(told: Told, tmp_path: Path) -> None:
    settings = ("gta5=1", "synthia=0", "cityscapes_train=0", "cityscapes_val=0", "height=64", "width=128")
    assert uda_quietly(told, "minicity", "--out", tmp_path / "city", *(f"--set={text}" for text in settings)) == 0
    (tmp_path / MANIFEST).write_text('{"name": "my web app"}')
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / MANIFEST).write_text("{\n{")
    assert told("verify", tmp_path) == (0, "")
    assert told.out == "1 stages agree with their receipts\n"


def uda_quietly(told: Told, *arguments: object) -> int:
    """A command whose notes do not matter."""
    command = [sys.executable, "-m", "uda", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False).returncode
