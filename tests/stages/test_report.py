"""The page about one run."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.stages import report_fakes as fakes
from tests.stages.report_page import Page, page_of
from uda.core.manifest import MANIFEST
from uda.stages.report import write_report


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


def test_words_are_explained_where_they_come_first(page: Page, tmp_path: Path) -> None:
    text = page.text
    means = (
        "mIoU: mean over the classes of their IoU (intersection over union), in percent; mIoU16: over 16 of them; "
        "mIoU13: over 13 of them (subsets of the label space)."
    )
    assert text.index("source only 30.0") < text.index(means) < text.index("pipeline gta5_to_cityscapes")
    assert "Terms of the method's loss, as its settings name them" in text
    swapped = "Guidance of another image: the same source image translated again"
    assert swapped not in text
    fakes.segment(tmp_path / "guide")
    fakes.translate(tmp_path / "run/translate", columns=6, inputs={"guide": tmp_path / "guide"})
    assert swapped in page_of(tmp_path / "run").text


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
    own = next(name for name in order if name.startswith("first: round 2"))
    assert own.endswith("deeplabv2")  # with another network it is no fair comparison, and said so
    assert order.index("ProDA") < order.index(own) < order.index("CPSL")


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
