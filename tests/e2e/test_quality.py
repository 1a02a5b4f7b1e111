"""`uda quality` through the command line, on a tiny mini-city."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.e2e.conftest import SEGMENT, Answer, Trail, call, must
from uda.core.manifest import read_manifest
from uda.metrics import diversity, inception
from uda.stages._quality_table import MEASURES

QUALITY = ("quality", "--config", "quality/minicity", "--tiny")
ON_WEIGHTS = {"fid", "kid", "inception_score"}


@pytest.fixture(scope="module")
def made(city: Trail) -> Trail:
    """Two translations that need no fit, and a segmenter."""
    source, target = ("--source", city.csv("source")), ("--target", city.csv("train"))
    for name in ("identity", "color_transfer"):
        size = ("--set", "size=[64,128]")
        must("translate", "--config", f"translate/{name}", "--tiny", *size, *source, *target, "--out", city.root / name)
    must(
        "segment",
        *SEGMENT,
        "--set",
        "adversary=null",
        "--set",
        "target_statistics=0",
        *source,
        "--out",
        city.root / "aligner",
    )
    return city


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of this machine."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


class TinyInception(nn.Module):
    """Stands for Inception v3: a few features and as many logits of 8-bit images."""

    def __init__(self, features: int = 5) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, features, 5), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        assert images_BCHW.dtype == torch.uint8 and images_BCHW.shape[1:] == (3, 64, 128)
        features = self.layers(images_BCHW / 255)
        return features, 10 * features


@pytest.fixture
def tiny_inception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception, "load_inception", lambda given, *, download: TinyInception())


def given(city: Trail, *translators: str, real: str = "train") -> list[object]:
    images = [part for name in translators for part in ("--images", city.root / name / "samples.csv")]
    return [*QUALITY, *images, "--real", city.csv(real)]


def rows(out: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads((out / "quality.json").read_text())["rows"]}


def values(row: dict[str, Any]) -> dict[str, float | None]:
    return {key: one["value"] for key, one in row["measures"].items()}


def test_translators_stand_beside_the_source(made: Trail, tmp_path: Path, tiny_inception: None) -> None:
    out = tmp_path / "quality"
    answer = must(
        *given(made, "identity", "color_transfer"), "--source", made.csv("source"),
        "--segmenter", made.root / "aligner", "--out", out,
    )  # fmt: skip
    found = rows(out)
    assert [(name, row["role"], row["images"]) for name, row in found.items()] == [
        ("real", "real", 8), ("source", "source", 10), ("identity", "translation", 10),
        ("color_transfer", "translation", 10),
    ]  # fmt: skip
    for name in ("source", "identity", "color_transfer"):
        assert set(found[name]["measures"]) == set(MEASURES)
        for key, one in found[name]["measures"].items():
            assert one["direction"] == MEASURES[key].better
            if key not in ("ms_ssim", "lpips"):
                assert one["value"] is not None and np.isfinite(one["value"]) and one["count"] == 10
    # Nothing changed is measured as nothing changed, though one source image has another size than the rest; and
    # colours come nearer where they are transferred.
    assert values(found["identity"]) == pytest.approx(values(found["source"]))
    before = values(found["source"])["lab_emd"]
    assert before is not None and found["color_transfer"]["measures"]["lab_emd"]["value"] < before / 2
    assert set(values(found["real"])) == {"inception_score", "sharpness"}
    source, real = (values(found[name])["sharpness"] for name in ("source", "real"))
    gap = np.log(source / real)  # type: ignore[operator]  # both are there
    assert values(found["source"])["sharpness_gap"] == pytest.approx(abs(gap))
    _check_files(out, found, answer)


def _check_files(out: Path, found: dict[str, Any], answer: Answer) -> None:
    table = pd.read_csv(out / "quality.csv")
    assert len(table) == 3 * len(MEASURES) + 2
    line = table[(table.row == "color_transfer") & (table.measure == "lab_emd")].iloc[0]
    assert line.value == pytest.approx(values(found["color_transfer"])["lab_emd"])
    manifest = read_manifest(out)
    assert manifest is not None and manifest.metrics["rows"] == list(found.values())
    assert answer.out.splitlines()[-1] == str(out)
    for title in (*(one.title for one in MEASURES.values()), "color_transfer", "real", "source"):
        assert title in answer.out
    with Image.open(out / "grid.png") as grid:
        # input, labels, two translators, nearest; four rows under a line of names
        assert grid.size == (5 * 128, 4 * 64 + 14)
        pixels = np.asarray(grid)[14:]
    first, labels, identity, transferred, nearest = np.split(pixels, 5, axis=1)
    assert (first == identity).all() and (first != transferred).any()
    assert {tuple(colour) for colour in np.unique(labels.reshape(-1, 3), axis=0)} >= {(128, 64, 128)}  # roads
    assert nearest.std() > 1


def test_alignment_is_what_evaluate_says(made: Trail, tmp_path: Path) -> None:
    segmenter = ("--segmenter", made.root / "aligner")
    must(*given(made, "color_transfer"), *segmenter, "--out", tmp_path / "quality")
    must(
        "evaluate", "--config", "evaluate/minicity", "--tiny", *segmenter, "--target",
        made.root / "color_transfer" / "samples.csv", "--out", tmp_path / "score",
    )  # fmt: skip
    scored = json.loads((tmp_path / "score" / "report.json").read_text())
    found = values(rows(tmp_path / "quality")["color_transfer"])
    assert (found["miou"], found["pixel_accuracy"]) == pytest.approx((scored["miou"], scored["pixel_accuracy"]))


def test_a_set_held_against_itself_is_at_distance_zero(made: Trail, tmp_path: Path, tiny_inception: None) -> None:
    must(*QUALITY, "--images", made.csv("train"), "--real", made.csv("train"), "--out", tmp_path / "out")
    found = values(rows(tmp_path / "out")["train"])
    assert {key: found[key] for key in ("lab_emd", "lbp_chi_square", "sharpness_gap")} == {
        "lab_emd": 0, "lbp_chi_square": 0, "sharpness_gap": 0
    }  # fmt: skip
    assert found["fid"] == pytest.approx(0, abs=1e-5)


def test_the_batch_changes_nothing(made: Trail, tmp_path: Path, tiny_inception: None) -> None:
    for batch in (3, 100):
        must(*given(made, "color_transfer"), "--set", f"batch={batch}", "--out", tmp_path / str(batch))
    three, all_at_once = (values(rows(tmp_path / name)["color_transfer"]) for name in ("3", "100"))
    for key, value in three.items():  # convolutions of other batches add up in another order
        assert value == (None if all_at_once[key] is None else pytest.approx(all_at_once[key], rel=1e-3)), key


def test_a_fid_of_few_images_says_so(made: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for features, said in ((7, False), (8, True)):  # 8 real images, 10 translations
        network = TinyInception(features)
        monkeypatch.setattr(inception, "load_inception", lambda given, *, download, network=network: network)
        must(*given(made, "identity"), "--out", tmp_path / str(features))
        measures = rows(tmp_path / str(features))["identity"]["measures"]
        assert measures["fid"]["value"] is not None
        assert measures["fid"]["note"].startswith("fewer images than the 8 features") == said
        assert measures["kid"]["note"] == ""


def test_without_weights_and_segmenter_the_rest_is_measured(made: Trail, tmp_path: Path) -> None:
    answer = must(*given(made, "identity"), "--out", tmp_path / "out")
    measures = rows(tmp_path / "out")["identity"]["measures"]
    for key in ON_WEIGHTS:
        assert measures[key]["value"] is None and measures[key]["count"] == 0
        assert measures[key]["note"].startswith("not measured: ")
        assert "inception_weights=FILE" in measures[key]["note"] or "pip install" in measures[key]["note"]
    assert measures["miou"]["note"] == "not measured: no segmenter; give --segmenter DIR"
    assert "no input has several samples" in measures["lpips"]["note"]
    assert all(measures[key]["value"] is not None for key in ("lab_emd", "lbp_chi_square", "sharpness_gap"))
    assert answer.out.count("FID, KID, Inception Score") + answer.out.count("Inception Score, FID, KID") == 1
    assert all(len(line) < 250 for line in answer.err.splitlines())
    with Image.open(tmp_path / "out" / "grid.png") as grid:
        assert grid.width == 3 * 128  # labels, translation, nearest: no source, no input


def several(made: Trail, folder: Path, labels: bool = True) -> Path:
    """A manifest of two samples for each of five inputs, and of one for another."""
    parts = [pd.read_csv(made.root / name / "samples.csv", dtype=str) for name in ("identity", "color_transfer")]
    for name, part in zip(("identity", "color_transfer"), parts, strict=True):
        part["input"] = part["image"].map(lambda path: Path(path).stem)
        for column in ("image", "label", "dataset"):
            part[column] = part[column].map(lambda path, name=name: str(made.root / name / path))
    table = pd.concat([parts[0].iloc[:6], parts[1].iloc[:5]])
    if not labels:
        table["label"] = ""
    folder.mkdir()
    table.to_csv(folder / "samples.csv", index=False)
    return folder / "samples.csv"


class Difference(nn.Module):
    """Stands for LPIPS."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return (one - other).abs().mean((1, 2, 3), keepdim=True)


def test_samples_of_one_input_are_compared(made: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = several(made, tmp_path / "several", labels=False)
    command = (
        *QUALITY, "--images", manifest, "--real", made.csv("train"), "--segmenter", made.root / "aligner",
        "--source", made.csv("source"),
    )  # fmt: skip
    must(*command, "--out", tmp_path / "without")
    found = rows(tmp_path / "without")["several"]["measures"]
    assert 0 < found["ms_ssim"]["value"] < 0.999 and found["ms_ssim"]["count"] == 5
    assert found["ms_ssim"]["note"].startswith("3 of 5 scales")
    assert found["lpips"]["value"] is None and "lpips_weights=FILE" in found["lpips"]["note"]
    assert found["miou"]["note"] == "not measured: its manifest has no labels"
    with Image.open(tmp_path / "without" / "grid.png") as grid:
        pixels = np.asarray(grid)[14:]
    assert (pixels[:, :128] == pixels[:, 256:384]).all() and pixels[:64, :128].std() > 1  # inputs are found by name
    monkeypatch.setattr(diversity, "load_lpips", lambda given, *, download: Difference())
    must(*command, "--out", tmp_path / "with")
    again = rows(tmp_path / "with")["several"]["measures"]
    assert again["ms_ssim"] == found["ms_ssim"]
    table = pd.read_csv(manifest).groupby("input")["image"].apply(list)
    pairs = [[np.asarray(Image.open(path), np.float64) for path in pair] for pair in table if len(pair) == 2]
    expected = np.mean([np.abs(one - other).mean() / 127.5 for one, other in pairs])
    assert again["lpips"]["value"] == pytest.approx(expected, rel=1e-4)


def test_what_small_images_cannot_give_is_told_before_they_are_read(made: Trail, tmp_path: Path) -> None:
    manifest = several(made, tmp_path / "several", labels=False)
    command = (*QUALITY, "--images", manifest, "--real", made.csv("train"))
    mend = "set size larger"
    ssim, alexnet = "are smaller than SSIM's window", "are smaller than AlexNet takes (31x31)"
    for side, said, notes in (
        (3, f"MS-SSIM and LPIPS are not measured: images of 3x64 {ssim}; {mend}", {"ms_ssim": ssim, "lpips": ssim}),
        (30, f"LPIPS is not measured: images of 30x64 {alexnet}; {mend}", {"lpips": alexnet}),
        (31, None, {}),
    ):
        answer = must(*command, "--set", f"size=[{side},64]", "--out", tmp_path / f"{side}")
        lines = [line for line in answer.err.splitlines() if "not measured" in line]
        assert lines == ([f"quality: {said}"] if said else [])
        measures = rows(tmp_path / f"{side}")["several"]["measures"]
        assert measures["sharpness"]["value"] is not None and measures["lbp_chi_square"]["value"] is not None
        assert all(why in measures[key]["note"] and measures[key]["value"] is None for key, why in notes.items())
    assert "not measured" not in must(*given(made, "identity"), "--set", "size=[8,8]", "--out", tmp_path / "one").err
    for size in ("[2,2]", "[2,64]", "[64,1]"):
        for dry in ((), ("--dry-run",)):
            code, told_last = told(*command, "--set", f"size={size}", "--out", tmp_path / "none", *dry)
            assert code == 2 and f"--set size={size}: size: {size[1:-1].replace(',', 'x')} has no square" in told_last
            assert "make both sides 3 or more" in told_last and not list(tmp_path.glob("none*"))


def test_a_file_of_no_weights_is_told(made: Trail, tmp_path: Path) -> None:
    command = (*given(made, "identity"), "--set", f"inception_weights={made.csv('train')}", "--out", tmp_path / "out")
    code, line = told(*command)
    assert code == 3 and line.startswith(f"error: {made.csv('train')}: is no file of tensors (a state dict)")
    assert not (tmp_path / "out").exists()


def test_target_labels_stay_closed(made: Trail, tmp_path: Path) -> None:
    table = pd.read_csv(made.csv("train"), dtype=str)
    for column in ("image", "label"):
        table[column] = table[column].map(lambda path: str(made.root / path))
    table["label"] = str(tmp_path / "no_such_label.png")
    table.to_csv(tmp_path / "blind.csv", index=False)
    must(*given(made, "color_transfer"), "--out", tmp_path / "seen")
    command = given(made, "color_transfer")
    must(*command[:-1], tmp_path / "blind.csv", "--out", tmp_path / "blind")
    assert rows(tmp_path / "blind") == rows(tmp_path / "seen")


def test_a_second_run_is_skipped_and_a_new_row_is_not(made: Trail, tmp_path: Path) -> None:
    answer = must(*given(made, "identity"), "--out", tmp_path / "out")
    assert must(*given(made, "identity"), "--out", tmp_path / "out").out == answer.out
    assert "LBP chi-square" in answer.out and answer.out.endswith(f"{tmp_path / 'out'}\n")
    assert "would skip (complete" in must(*given(made, "identity"), "--out", tmp_path / "out", "--dry-run").out
    more = must(*given(made, "identity", "color_transfer"), "--out", tmp_path / "out", "--dry-run").out
    assert "input images.color_transfer added" in more


def told(*arguments: object) -> tuple[int, str]:
    answer = call(*arguments)
    assert "Traceback" not in answer.err
    return answer.code, answer.err.strip().splitlines()[-1]


def test_what_is_missing_or_empty_is_said(made: Trail, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    empty = tmp_path / "empty.csv"
    empty.write_text("image,label,dataset\n")
    gone = tmp_path / "gone.csv"
    gone.write_text("image,label,dataset\nnone.png,,cityscapes\n")
    real, images = ("--real", made.csv("train")), ("--images", made.root / "identity" / "samples.csv")
    cases: list[tuple[tuple[object, ...], int, str]] = [
        ((*images, "--real", empty), 3, "empty.csv: lists no images"),
        (("--images", empty, *real), 3, "empty.csv: lists no images"),
        (("--images", gone, *real), 3, "1 of 1 images are missing"),
        ((*images, "--real", gone), 3, "1 of 1 images are missing"),
        (("--images", tmp_path / "none.csv", *real), 3, "none.csv: no such file"),
        ((*images, *images, *real), 2, "samples.csv: is given twice"),
        ((*images, *real, "--set", "inception_weights=none.pth"), 2, "inception_weights: none.pth: no such weights"),
        ((*images, *real, "--set", "lpips_weights=none.pth"), 2, "lpips_weights: none.pth: no such weights"),
        ((*images, *real, "--segmenter", made.root / "identity"), 3, "segmenter"),
        (images, 2, "--real"),
        (real, 2, "--images"),
    ]
    for arguments, code, text in cases:
        found = told(*QUALITY, *arguments, *out)
        assert found[0] == code and text in found[1], (arguments, found)
        assert not (tmp_path / "out").exists()


def test_a_pipeline_may_give_one_manifest_without_a_name(made: Trail, tmp_path: Path) -> None:
    from uda.core.config import Layers, validate
    from uda.core.console import Console
    from uda.stages.base import execute
    from uda.stages.quality import STAGE

    config = validate(STAGE.config, Layers().add("test", {"size": [64, 128]}))
    inputs = {"images": made.root / "identity" / "samples.csv", "real": made.csv("train")}
    manifest = execute(STAGE, config, inputs, tmp_path / "out", Console(quiet=True))
    assert [row["name"] for row in manifest.metrics["rows"]] == ["real", "identity"]
