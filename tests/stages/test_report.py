from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.stages import report_fakes as fakes
from uda.cli import cli
from uda.core.console import Console
from uda.core.errors import ConfigError, DataError, UdaError
from uda.core.manifest import MANIFEST
from uda.stages.report import format_table, run_report, write_iou_csv, write_report

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """A page as a strict reader sees it: every tag closed in order; texts, tables and references collected."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words.append(data)
        if self.rows and ({"td", "th"} & set(self.open)):
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] for _, attrs in self.tags if name in attrs]

    def row(self, first: str) -> list[str]:
        """The first table row whose first cell starts so."""
        return next(row for row in self.rows if row and row[0].startswith(first))


def page_of(*directories: Path) -> Page:
    out = write_report(list(directories), directories[0].parent / "page.html")
    return Page(out.read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.loop(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return page_of(run)


def test_the_page_stands_alone_and_is_well_formed(page: Page) -> None:
    names = [tag for tag, _ in page.tags]
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(names)
    assert all(source.startswith("data:image/") for source in page.attributes("src"))
    ids = page.attributes("id")
    assert len(set(ids)) == len(ids)
    assert page.attributes("href")
    assert all(target[0] == "#" and target[1:] in ids for target in page.attributes("href"))
    assert not [attrs for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert ("html", {"lang": "en"}) in page.tags
    assert {"charset": "utf-8"} in [attrs for tag, attrs in page.tags if tag == "meta"]


def test_the_style_asks_for_nothing_from_outside(run: Path) -> None:
    text = write_report([run], run.parent / "page.html").read_text()
    assert "http" not in re.sub(r"data:image/[^\"]*", "", text)
    assert "@import" not in text and "url(" not in text
    assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_the_head_says_what_was_run_and_what_came_out(page: Page) -> None:
    assert "mIoU: source only 30.0, round 2 60.0 (+30.0 points), oracle 70.0; 75.0 % of the gap closed" in page.text
    assert (
        "pipeline gta5_to_cityscapes seed 0 rounds 2 translator color_transfer, sait segmenter deeplabv2" in page.text
    )
    assert "source: gta5, 20 images; target: cityscapes, 20 images" in page.text
    assert "17 complete" in page.text and "One seed (0)" in page.text


def test_the_table_has_every_row_with_its_change_and_its_part(page: Page) -> None:
    road = 4  # row, mIoU, mIoU16, mIoU13, pixel accuracy, then classes
    assert page.row("row")[1:6] == ["mIoU", "mIoU16", "mIoU13", "pixel acc.", "road"]
    base, transfer, last, oracle = (page.row(name) for name in ("source only", "colour transfer", "round 2", "oracle"))
    assert [row[0] for row in (base, transfer, last, oracle)] == [
        "source only lower bound",
        "colour transfer comparator",
        "round 2 result",
        "oracle upper bound, learns from target labels",
    ]
    assert (base[road + 1], last[road + 1], transfer[1]) == ("20.0", "50.0 +30.0", "35.0 +5.0")
    assert page.row("round 1")[0] == "round 1"
    assert last[1 + road + fakes.SPACE.names.index(fakes.ABSENT)] == "-"
    assert len(last) == 5 + 19


def test_the_best_of_each_column_is_marked(page: Page) -> None:
    marked = [attrs for tag, attrs in page.tags if tag == "td" and "best" in attrs.get("class", "")]
    assert len(marked) == 4 + 18  # all in the last round; the absent class has none


def test_classes_have_their_colours_and_their_way(page: Page) -> None:
    assert page.attributes("style").count("background: #804080") >= 4  # road
    label = "sidewalk: source only 36.7, round 2 66.7, oracle 76.7"
    assert label in page.attributes("aria-label")
    assert "left: 36.67%; width: 30.0%" in page.attributes("style")


def pictures(page: Page, kind: str) -> list[bytes]:
    found = [one for one in page.attributes("src") if one.startswith(f"data:image/{kind};base64,")]
    return [base64.b64decode(one.partition(",")[2]) for one in found]


def test_translated_samples_come_with_captions(page: Page) -> None:
    grids = pictures(page, "png")
    assert [Image.open(io.BytesIO(data)).size for data in grids] == [(128, 32), (160, 32), (160, 32)]
    assert "source source labels translation a target image" in page.text
    assert "source source labels guide's prediction translation a target image" in page.text


def test_pseudo_labels_show_thresholds_and_coverage_by_round(page: Page) -> None:
    assert "round_1/pseudo_label round_2/pseudo_label" in page.text
    rows = [row for row in page.rows if row and row[0] == "road" and len(row) == 5]
    assert rows == [["road", "0.800", "50.0", "0.800", "50.0"]]
    assert ["train", "0.800", "-", "0.800", "-"] in page.rows
    assert page.row("all pixels")[2] == "51.2"


def test_the_confusion_matrix_is_the_last_rounds(page: Page) -> None:
    # Of 198 pixels of sidewalk 122 are right, 40 are called road, and 2 each of the other classes.
    assert "Confusion of round 2" in page.text and "Largest confusions: sidewalk as road 20 %." in page.text
    row = next(row for row in page.rows if row and row[0] == "sidewalk" and len(row) == 20)
    assert row[1:4] == ["20", "62", "1"]
    assert ["train", "does not occur"] in page.rows


def test_curves_are_pictures_of_every_term(page: Page) -> None:
    drawn = pictures(page, "svg+xml")
    assert len(drawn) == 2  # segmentation and pseudo
    for data in drawn:
        assert ElementTree.fromstring(data).tag.endswith("svg")
    assert b"segmentation" in drawn[0] and b"pseudo" in drawn[1]
    assert "segment oracle source_only round_1/segment round_2/segment" in page.text  # the legend


def test_timings_say_how_long_and_why(page: Page) -> None:
    assert ["round_2/segment", "1h 02m", "not made yet", "2024-05-01 11:00:00+0000"] in page.rows
    assert "2h 06m in all" in page.text


def test_the_trail_names_inputs_settings_and_machine(run: Path, page: Page) -> None:
    manifest = json.loads((run / "round_2/segment" / MANIFEST).read_text())
    assert f"round_2/segment segment, version 1, fingerprint {manifest['fingerprint'][:12]}" in page.text
    assert ["input source", "round_2/translate/samples.csv", manifest["inputs"]["source"]["digest"][:12]] in page.rows
    assert ["input guide", "round_1/segment"] in [row[:2] for row in page.rows]
    assert ["weights.adversarial", "0.0005"] in page.rows
    assert ["result images_per_second", "3.5"] in page.rows
    where = "Linux x86_64, Abacus 9, 2 processes, Python 3.12.1"
    assert f"Recorded on {where}, uda 0.1.0, torch 2.9.0, commit c0ffeec0ffee with changes" in page.text


def test_published_rows_stand_beside_the_run(page: Page) -> None:
    assert "numbers of others, none of them measured here" in page.text
    assert page.row("SAIT (Musto")[1:5] == ["50.4", "paper [6]", "91.2", "43.3"]
    assert page.row("HRDA")[1:3] == ["63.0", "not checked [8]"]
    assert page.row("first: round 2")[1:4] == ["60.0", "this run", "50.0"]
    order = [
        row[0] for row in page.rows if len(row) > 2 and row[2].split(" [")[0] in ("paper", "repository", "this run")
    ]
    assert order.index("ProDA") < order.index("first: round 2") < order.index("CPSL")


def test_the_same_input_gives_the_same_bytes_wherever_it_lies(run: Path, tmp_path: Path) -> None:
    first = write_report([run], tmp_path / "a.html").read_bytes()
    assert write_report([run], tmp_path / "b.html").read_bytes() == first
    moved = shutil.copytree(run, tmp_path / "elsewhere" / "first")
    assert write_report([moved], tmp_path / "c.html").read_bytes() == first


def test_names_are_never_markup(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>&\"'"
    out = fakes.loop(tmp_path / evil, rounds=1, pipeline=evil)
    report = json.loads((out / "report.json").read_text())
    report["rows"][1]["name"] = evil
    (out / "report.json").write_text(json.dumps(report))
    fakes.stage(out / evil, "translate", settings={evil: evil}, reason=evil, metrics={evil: 1})
    page = page_of(out)
    assert not [attrs for tag, attrs in page.tags if tag == "img" and not attrs["src"].startswith("data:")]
    assert not page.attributes("onerror")
    assert page.text.count(evil) >= 5
    assert [evil, evil] in page.rows  # the setting
    other = page_of(out, fakes.loop(tmp_path / "plain", rounds=1))
    assert not other.attributes("onerror")


def test_missing_scores_are_dashes(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1)
    text = (out / "report.json").read_text()
    report = json.loads(text)
    report["rows"][2] |= {"miou": float("nan"), "pixel_accuracy": None, "subsets": {"16": None}}
    report["rows"][2]["iou"] = {**report["rows"][2]["iou"], "road": None, "sky": float("nan")}
    report["gap_closed"] = None
    (out / "report.json").write_text(json.dumps(report))
    page = page_of(out)
    last = page.row("round 1")
    assert last[1:6] == ["-", "-", "-", "-", "-"]
    assert "source only 30.0, round 1 -, oracle 70.0" in page.text
    assert "report.json is older than the evaluations: round 1 cannot be found in them" in page.text
    assert not re.search(r"\b(nan|None|null|NaN)\b", page.text)


def test_an_unfinished_loop_is_shown_as_far_as_it_went(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1, summed_up=False)
    fakes.segment(out / "round_2/segment", complete=False)
    page = page_of(out)
    assert "Unfinished: round_2/segment" in page.text
    assert "The loop did not come to its end" in page.text
    assert "mIoU: source only 30.0, round 1 50.0 (+20.0 points), oracle 70.0" in page.text
    assert [row[0].split(" ")[0] for row in page.rows[1:5]] == ["source", "color", "round", "oracle"]
    assert "under way" in page.text  # its curves
    assert "gap closed" not in page.text.replace("the gap closed is not said", "")


@pytest.mark.parametrize("kind", ["segment", "translate", "evaluate", "pseudo-label", "prepare"])
def test_a_single_stage_is_a_report_too(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "single"
    made = {
        "segment": lambda: fakes.segment(out),
        "translate": lambda: fakes.translate(out),
        "evaluate": lambda: fakes.evaluate(out, 0.5),
        "pseudo-label": lambda: fakes.pseudo_label(out),
        "prepare": lambda: fakes.prepare(out, "gta5", 7, {"size": 2}),
    }[kind]()
    page = page_of(made)
    assert f"single {kind}, version 1" in page.text
    expected = {
        "segment": "Training curves",
        "translate": "Translated samples",
        "evaluate": "mIoU: single 50.0",
        "pseudo-label": "Pseudo-labels",
        "prepare": "images were left out for defects (2 size)",
    }
    assert expected[kind] in page.text
    assert ("nothing is scored" in page.text) == (kind != "evaluate")
    assert "One seed" not in page.text


def test_seeds_of_one_pipeline_give_mean_and_deviation(tmp_path: Path) -> None:
    runs = [
        fakes.loop(tmp_path / f"seed{seed}", seed=seed, lift=lift) for seed, lift in ((0, 0.0), (1, 0.03), (2, -0.06))
    ]
    page = page_of(*runs)
    mean = next(row for row in page.rows if row[:2] == ["mean of 3 runs", "round 2"])
    assert mean[2:6] == ["gta5_to_cityscapes", "0, 1, 2", "72.5 ± 11.5", "59.0 ± 4.6"]
    assert next(row for row in page.rows if row[:2] == ["seed1", "round 2"])[4:6] == ["82.5", "63.0"]
    assert "seed1: 0 differences but the seed" in page.text
    assert "One seed" not in page.text


def test_runs_of_other_settings_or_data_are_not_averaged(tmp_path: Path) -> None:
    first = fakes.loop(tmp_path / "first")
    data = fakes.loop(tmp_path / "data", seed=1, images=21)
    settings = fakes.loop(tmp_path / "settings", seed=2)
    fakes.translate(settings / "round_2/translate", "munit")
    page = page_of(first, data, settings)
    assert "mean of" not in page.text
    assert page.text.count("One seed (") == 3
    assert "source: other data" in page.text
    assert "round_2/translate: translator.name sait → munit" in page.text


def test_two_pipelines_stand_side_by_side(tmp_path: Path) -> None:
    first = fakes.loop(tmp_path / "a/run")
    other = fakes.loop(tmp_path / "b/run", rounds=1, pipeline="gta5_to_cityscapes_fcn8s", published="gta5_fcn8s")
    page = page_of(first, other)
    rows = [row[:4] for row in page.rows if row and row[0] in ("a/run", "b/run") and len(row) > 9]
    assert ["a/run", "round 2", "gta5_to_cityscapes", "0"] in rows
    assert ["b/run", "round 1", "gta5_to_cityscapes_fcn8s", "0"] in rows
    assert ["a/run", "round 1", "gta5_to_cityscapes", "0"] not in rows  # the last round is the result
    assert "without round_2/segment" in page.text
    assert "b/run: round 1" in page.text  # among the published rows of its own pipeline


def test_what_is_made_from_older_results_is_told(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1)
    fakes.translate(out / "round_1/translate", columns=6, inputs={"source": out / "source/samples.csv"})
    (out / "round_1/translate").joinpath("extra").write_text("x")
    assert (
        "Made from an input that has changed since: round_1/segment (round_1/translate/samples.csv)"
        in page_of(out).text
    )


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["report", *map(str, arguments)])


def test_the_verb_writes_beside_the_first_run_and_says_what_came_out(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    result = invoke(copy)
    assert result.exit_code == 0
    assert result.stdout == f"{copy / 'report.html'}\n"
    assert result.stderr.splitlines()[0].startswith("copy: mIoU: source only 30.0, round 2 60.0")
    assert result.stderr.splitlines()[1].startswith("copy: One seed (0)")
    elsewhere = tmp_path / "new/folder/page.html"
    assert invoke(copy, run, "--out", elsewhere).exit_code == 0
    assert "Side by side" in Page(elsewhere.read_text()).text
    assert [path.name for path in elsewhere.parent.iterdir()] == ["page.html"]


def broken(tmp_path: Path, how: str) -> Path:
    """A directory that cannot be reported."""
    out = tmp_path / "run"
    if how == "a file":
        out.write_text("x")
    elif how == "empty":
        out.mkdir()
    elif how == "only begun":
        fakes.segment(out / "segment", complete=False)
    elif how == "a folder of runs":
        fakes.loop(out / "first", rounds=0)
    elif how != "nowhere":
        fakes.loop(out, rounds=1)
        file, text = {
            "report": ("report.json", "{"),
            "other report": ("report.json", '{"rows": [{"name": "x"}], "classes": []}'),
            "manifest": ("oracle/manifest.json", "[]"),
            "picture": ("round_1/translate/grid.png", "x"),
            "matrix": ("round_1/evaluate/confusion.csv", "a,b\nroad,1,2\n"),
            "words": ("round_1/evaluate/confusion.csv", "a,b\nroad,many\n"),
        }[how]
        (out / file).write_text(text)
    return out


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("nowhere", "no such directory"),
        ("a file", "is no directory"),
        ("empty", r"holds no report\.json of `uda iterate` and no complete stage; give a directory"),
        ("only begun", r"no complete stage \(segment unfinished\)"),
        ("a folder of runs", "holds runs, it is none itself: first; name them one by one"),
        ("report", "is no JSON"),
        ("other report", r"is no report of this program \(KeyError: 'miou'\)"),
        ("manifest", "is no manifest of this program"),
        ("picture", "is no picture"),
        ("matrix", "is not square"),
        ("words", "is no confusion matrix"),
    ],
)
def test_wrong_directories_are_told_in_one_line(tmp_path: Path, how: str, what: str) -> None:
    result = invoke(broken(tmp_path, how), "--out", tmp_path / "page.html")
    assert isinstance(result.exception, DataError)
    assert re.search(what, str(result.exception))
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["manifest.json", "folder.html", "file/page.html"])
def test_a_place_that_is_none_for_a_page_is_refused(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError):
        write_report([run], tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.html"]


def test_an_older_page_stays_where_a_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1)
    old = write_report([out], out / "report.html").read_bytes()

    def full_disk(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(Path, "write_bytes", full_disk)
        write_report([out], out / "report.html")
    assert (out / "report.html").read_bytes() == old
    (out / "round_1/translate/grid.png").write_text("x")
    with pytest.raises(UdaError):
        write_report([out], out / "report.html")
    assert (out / "report.html").read_bytes() == old


def test_the_text_table_has_classes_as_lines() -> None:
    lines = format_table(fakes.report(rounds=1)).splitlines()
    assert re.split(" {2,}", lines[0]) == ["IoU [%]", "source only", "colour transfer", "round 1", "oracle"]
    assert lines[2].split() == ["road", "20.0", "25.0", "40.0", "60.0"]
    assert [line.split()[0] for line in lines[2:21]] == [name.split()[0] for name in fakes.SPACE.names]
    assert lines[18].split() == ["train", "-", "-", "-", "-"]
    assert lines[-5].split() == ["mIoU", "30.0", "35.0", "50.0", "70.0"]
    assert lines[-1] == "gap closed: 50.0 %"


@pytest.mark.parametrize("changes", [{"gap_closed": None}, {"rows": fakes.report(1)["rows"][:-1]}])
def test_no_gap_is_a_dash(changes: dict[str, Any]) -> None:
    assert format_table({**fakes.report(1), **changes}).splitlines()[-1] == "gap closed: -"


def test_an_oracle_below_source_only_leaves_no_gap(tmp_path: Path) -> None:
    content = fakes.report(1)
    content["rows"][-1]["miou"] = 0.2
    assert format_table(content).splitlines()[-1] == "gap closed: -"
    out = fakes.loop(tmp_path / "run", rounds=1)
    (out / "report.json").write_text(json.dumps(content))
    assert "there is no gap to close" in page_of(out).text


def test_the_csv_holds_fractions_and_empty_cells(tmp_path: Path) -> None:
    write_iou_csv(fakes.report(rounds=1), tmp_path / "iou.csv")
    head, *rows = [line.split(",") for line in (tmp_path / "iou.csv").read_text().splitlines()]
    assert head[:7] == ["row", "round", "miou", "miou_16", "miou_13", "pixel_accuracy", "road"]
    assert [row[:2] for row in rows] == [["source only", ""], ["colour transfer", ""], ["round 1", "1"], ["oracle", ""]]
    last = dict(zip(head, rows[2], strict=True))
    assert (last["road"], last["train"]) == ("0.4", "")
    assert float(last["miou"]) == pytest.approx(0.5)


@pytest.mark.parametrize("call", [format_table, lambda report: write_iou_csv(report, Path("never.csv"))])
def test_what_is_no_report_is_told(call: Any) -> None:
    with pytest.raises(DataError, match=r"report\.json: is no report of this program"):
        call({"rows": [], "classes": None})


def test_the_report_needs_no_torch(run: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\nfrom uda.stages.report import write_report\n"
        "write_report([Path(sys.argv[1])], Path(sys.argv[2]))\n"
    )
    out = tmp_path / "page.html"
    subprocess.run([sys.executable, "-c", code, str(run), str(out)], check=True)
    assert out.read_bytes() == write_report([run], tmp_path / "again.html").read_bytes()


def test_run_report_returns_the_page(run: Path, tmp_path: Path) -> None:
    assert run_report([run], tmp_path / "page.HTM", Console(quiet=True)) == tmp_path / "page.HTM"
    assert (tmp_path / "page.HTM").is_file()
