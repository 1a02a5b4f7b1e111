"""The table of a comparison of translators, from directories made without training anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.stages import report_fakes as fakes
from uda.core.errors import DataError
from uda.core.manifest import MANIFEST
from uda.stages._report.reading import Run, read_runs
from uda.stages._report.translations import COLUMNS, markdown, read_measured, step

NO_WEIGHTS = "not measured: no weights, inception.pth is not in the download cache"
JUDGED = {  # colours, textures, alignment of each seed
    "source": ((20.0, 0.5, 0.6), (20.0, 0.5, 0.6)),
    "ideal": ((4.0, 0.1, 0.5), (4.0, 0.1, 0.5)),
    "fda": ((12.0, 0.5, 0.3), (12.0, 0.5, 0.3)),
    "sait": ((8.0, 0.2, 0.54), (10.0, 0.3, 0.6)),
}


def quality(lab: float, texture: float, alignment: float) -> dict[str, Any]:
    values = {"lab_emd": lab, "lbp_chi_square": texture, "miou": alignment, "sharpness_gap": 25.0}
    measures: dict[str, Any] = {key: {"value": value, "note": ""} for key, value in values.items()}
    return measures | {"fid": {"value": None, "note": NO_WEIGHTS}, "kid": {"value": None, "note": NO_WEIGHTS}}


def remember(out: Path, **recorded: Any) -> None:
    """Lay something over what a stage recorded."""
    file = out / MANIFEST
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps({**manifest, "recorded": {**manifest["recorded"], **recorded}}))


def translation(out: Path, name: str, seed: int, inputs: Mapping[str, Path], metrics: Mapping[str, float]) -> None:
    config = {"translator": {"name": name}, "fit": {"images": 3600}, "supervision": 0.1}
    made = fakes.stage(out / step("translate", seed, name), "translate", config=config, inputs=inputs, metrics=metrics)
    remember(made, peak_memory_mb=1500 + 100 * seed)


def comparison(out: Path, seeds: tuple[int, ...] = (0, 1)) -> Run:
    """Two translators, one of them fitted, on two seeds."""
    target = fakes.prepare(out / "target", "cityscapes") / "samples.csv"
    for seed in seeds:
        guide = fakes.segment(out / step("guide", seed), seed)
        rendered = {"rendered_per_second": 50.0}
        translation(out, "fda", seed, {"target": target}, rendered)
        fitted = {"images_per_second": 4.0 + 4 * seed, **rendered}
        translation(out, "sait", seed, {"target": target, "guide": guide}, fitted)
        for place, name in enumerate(JUDGED):
            config = {"fit": {"images": 800}}
            fakes.stage(out / step("segment", seed, name), "segment", config=config, settings={"of": name})
            scores = fakes.scores(0.2 + 0.05 * place + 0.02 * seed)
            fakes.stage(out / step("evaluate", seed, name), "evaluate", metrics=scores, settings={"of": name})
        rows = [{"name": "real", "role": "real", "images": 4, "measures": {}}]
        rows += [
            {"name": name, "role": "source" if name == "source" else "translation", "images": 4,
             "measures": quality(*values[seed])}
            for name, values in JUDGED.items()
        ]  # fmt: skip
        fakes.stage(out / step("quality", seed), "quality", metrics={"rows": rows})
    return read_runs([out])[0]


def cells(text: str) -> dict[str, dict[str, str]]:
    """Rows of the table by name, their cells by the keys of the columns."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert lines[0] == ["translator", "learns from", *(column.title for column in COLUMNS.values())]
    return {name: dict(zip(("given", *COLUMNS), rest, strict=True)) for name, *rest in lines[1:]}


def test_every_translator_has_a_line_between_the_two_references(tmp_path: Path) -> None:
    text = markdown(comparison(tmp_path / "run"), command="python tool --seeds 0,1")
    assert text.startswith("`python tool --seeds 0,1`\n\nSeeds 0, 1; Linux x86_64")
    found = cells(text)
    assert list(found) == ["source", "ideal", "fda", "sait"]
    # (8 - 4) / (20 - 4) and (10 - 4) / (20 - 4); (0.2 - 0.1) / 0.4 and (0.3 - 0.1) / 0.4; 0.54 / 0.6 and 0.6 / 0.6.
    assert {key: found["sait"][key] for key in ("lab_emd", "lab_emd_left", "lbp_chi_square_left", "kept", "miou")} == {
        "lab_emd": "9.00 ± 1.41", "lab_emd_left": "31.2 ± 8.8", "lbp_chi_square_left": "37.5 ± 17.7",
        "kept": "95.0 ± 7.1", "miou": "57.0 ± 4.2",
    }  # fmt: skip
    assert [found[name]["lab_emd_left"] for name in ("source", "ideal", "fda")] == ["100.0", "0.0", "50.0"]
    assert [found[name]["kept"] for name in ("source", "ideal", "fda")] == ["100.0", "83.3", "50.0"]
    assert [found[name]["score"] for name in ("source", "sait")] == ["21.0 ± 1.4", "36.0 ± 1.4"]


def test_time_and_memory_come_from_the_manifests(tmp_path: Path) -> None:
    found = cells(markdown(comparison(tmp_path / "run")))
    effort = ("given", "fit_images", "fit_seconds", "render_seconds", "memory")
    assert [found["fda"][key] for key in effort] == ["nothing", "-", "-", "20.0", "1550 ± 71"]
    # 1000 / 4 and 1000 / 8 seconds
    assert [found["sait"][key] for key in effort] == ["images, guide", "3600", "188 ± 88", "20.0", "1550 ± 71"]
    assert [found["source"][key] for key in effort] == ["-"] * len(effort)


@pytest.mark.parametrize(("name", "said"), [("pseudo", "pseudo-labels"), ("pairs", "10 % of the true labels")])
def test_it_is_said_what_maps_a_translator_had(tmp_path: Path, name: str, said: str) -> None:
    out = tmp_path / "run"
    maps = fakes.prepare(out / "target", "cityscapes") / "samples.csv"
    translation(out, "spade", 0, {"target": maps, name: maps}, {"images_per_second": 2.0, "rendered_per_second": 5.0})
    (only,) = read_measured(read_runs([out])[0])
    assert (only.name, only.seed, only.given) == ("spade", 0, said)
    assert only.values["fit_seconds"] == 500


@pytest.mark.parametrize(("fitted", "said"), [(True, "images, guide, tones"), (False, "nothing, tones")])
def test_it_is_said_which_segmenters_a_translator_asked(tmp_path: Path, fitted: bool, said: str) -> None:
    out = tmp_path / "run"
    inputs = {name: fakes.segment(out / step(name, 0), 0) for name in ("guide", "tones")}
    metrics = {"images_per_second": 2.0} if fitted else {}
    translation(out, "unit", 0, inputs, metrics | {"rendered_per_second": 5.0})
    (only,) = read_measured(read_runs([out])[0])
    assert only.given == said


def test_what_is_not_measured_is_empty_and_says_why_once(tmp_path: Path) -> None:
    text = markdown(comparison(tmp_path / "run"))
    found = cells(text)
    assert {found[name][key] for name in found for key in ("fid", "kid", "inception_score", "lpips")} == {"-"}
    assert f"* FID, KID: {NO_WEIGHTS}" in text.splitlines()
    assert "for 800 of these images" in text


def test_a_comparison_under_way_shows_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "run"
    comparison(out)
    translation(out, "sait", 2, {}, {"images_per_second": 4.0, "rendered_per_second": 50.0})
    (run,) = read_runs([out])
    found = cells(markdown(run))
    assert found["sait"]["score"] == "36.0 ± 1.4 (2 of 3)" and found["sait"]["memory"] == "1600 ± 100"
    assert list(cells(markdown(run, names=["sait", "munit"]))) == ["source", "ideal", "sait"]
    assert cells(markdown(run, seeds=[0]))["sait"]["lab_emd"] == "8.00"
    with pytest.raises(DataError, match="nothing is measured there yet"):
        markdown(run, seeds=[7])


def test_without_an_ideal_there_is_no_excess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(JUDGED, "ideal")
    found = cells(markdown(comparison(tmp_path / "run")))
    assert {found[name]["lab_emd_left"] for name in found} == {"-"} and found["sait"]["kept"] == "95.0 ± 7.1"


def test_pixel_accuracy_the_ideals_alignment_and_diversity_stand_in_the_table(tmp_path: Path) -> None:
    out = tmp_path / "run"
    comparison(out)
    for seed, value in enumerate((0.25, 0.35)):
        measures = {"ms_ssim": {"value": value, "note": ""}, "lpips": {"value": None, "note": NO_WEIGHTS}}
        rows = [{"name": "real", "role": "real", "images": 4, "measures": {}},
                {"name": "sait", "role": "translation", "images": 8, "measures": measures}]  # fmt: skip
        fakes.stage(out / step("diversity", seed), "quality", metrics={"rows": rows}, settings={"of": "diversity"})
    text = markdown(read_runs([out])[0])
    found = cells(text)
    assert found["sait"]["ms_ssim"] == "0.300 ± 0.071" and found["fda"]["ms_ssim"] == "-"
    assert [found[name]["of_ideal"] for name in ("source", "ideal", "fda")] == ["120.0", "100.0", "60.0"]
    assert found["fda"]["pixels"] != "-" and found["fda"]["pixels"] != found["fda"]["score"]
    assert f"* FID, KID, LPIPS of samples: {NO_WEIGHTS}" in text.splitlines()
