"""Sizes that a setting makes unlike: what is shown to a segmenter, and the translations that it learns from."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.loop_house import House
from uda import sizes
from uda.core import resources
from uda.core.config import Size
from uda.core.console import Console
from uda.core.errors import ConfigError
from uda.data.augment_config import AugmentConfig
from uda.own_data import STAGES
from uda.pipeline import Planned, Request, expand, plan


def planned(name: str, *assignments: str, tiny: bool = False, rounds: int = 2) -> list[Planned]:
    """The steps."""
    data = None if tiny or name.startswith("minicity") else Path("nowhere")
    request = Request(name, Path("nowhere/run"), rounds, data=data, assignments=assignments, tiny=tiny)
    return expand(request, Console(quiet=True))


def told(name: str, *assignments: str, tiny: bool = False, rounds: int = 2) -> list[str]:
    """What is said of sizes."""
    return sizes.unlike(planned(name, *assignments, tiny=tiny, rounds=rounds), assignments)


@pytest.mark.parametrize("name", resources.names("pipelines"))
@pytest.mark.parametrize("tiny", [False, True])
def test_shipped_pipelines_have_sizes_that_fit(name: str, tiny: bool) -> None:
    assert not told(name, tiny=tiny)
    assert not told(name, "source.config=prepare/gta5", tiny=tiny)  # all are looked at, as it might have set a size


def test_a_segmenter_of_another_size_is_told_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told("minicity", "segment.size=[192,256]")
    shown, rendered = lines
    assert shown == (
        "target images come to source_only_score, oracle_score, pseudo_label, evaluate at 128x256, and the segmenters "
        "there learn at 192x256 (source_only, oracle, adapt, segment); --set evaluate.size=[192,256] "
        "--set pseudo-label.size=[192,256] makes them alike"
    )
    assert rendered == (
        "images are rendered at 128x256 (translate), and segmenters learn from them at 192x256 (adapt, segment); "
        "--set translate.render_size=[192,256] makes them alike, and size in the place of render_size fits "
        "translators to it too"
    )
    mended = ("evaluate.size=[192,256]", "pseudo-label.size=[192,256]", "translate.size=[192,256]")
    assert not told("minicity", "segment.size=[192,256]", *mended)
    (forgotten,) = told("minicity", *mended)
    assert forgotten.endswith("; --set segment.size=[192,256] makes them alike")
    expand(Request("minicity", tmp_path / "run", assignments=("segment.size=[192,256]",)), Console())
    assert set(lines) <= set(capsys.readouterr().err.splitlines())


@pytest.mark.parametrize("name", resources.names("pipelines"))
def test_what_is_said_makes_all_sizes_alike(name: str) -> None:
    asked = ("segment.size=[192,256]", "segment.target_size=[192,384]")
    lines = told(name, *asked)
    mend = [text for line in lines for text in re.findall(r"--set (\S+=\[\d+,\d+\])", line)]
    assert lines and not told(name, *asked, *mend)


def test_one_steps_size_is_mended_where_it_is_shown() -> None:
    (line,) = told("minicity_full", "oracle.size=[64,128]")
    assert line.startswith(
        "target images come to oracle_score at 128x256, and the segmenters there learn at 64x128 (oracle); "
    )
    assert "; --set oracle_score.size=[64,128] makes" in line
    shown, _ = told("minicity_full", "segment@each.size=[192,256]")
    assert "; --set evaluate@each.size=[192,256] makes" in shown
    shown, _ = told("minicity_full", "segment@2.size=[192,256]", "adapt.size=[192,256]")
    assert "--set pseudo_label.size=[192,256] --set evaluate@2.size=[192,256] makes" in shown


def test_the_oracle_learns_from_the_target_as_its_source() -> None:
    (line,) = told("gta5_to_cityscapes", "oracle.size=[256,512]")
    assert "learn at 256x512 (oracle); --set oracle_score.size=[256,512]" in line
    assert not told("gta5_to_cityscapes", "source_only.size=[720,1280]")  # target images have a size of their own


def test_small_translations_are_told_and_large_ones_are_not() -> None:
    (line,) = told("gta5_to_cityscapes_labels", "translate.render_size=[256,512]")
    assert line.startswith(
        "images are rendered at 256x512 (translate), and segmenters learn from them at 512x1024 (segment); "
    )
    assert "; --set translate.render_size=[512,1024] makes" in line
    assert not told("gta5_to_cityscapes_labels", "translate.render_size=[1024,2048]")
    (line,) = told("gta5_to_cityscapes_labels", "translate.config=translate/oasis")  # without its overlay
    assert "; --set translate.render_size=[512,1024] makes" in line
    (line,) = told("minicity_full", "color_transfer.size=[64,128]")
    assert "(color_transfer), and" in line and "--set color_transfer.size=[128,256]" in line


def test_what_a_recipe_says_is_meant_and_ones_own_files_have_any_size(house: House) -> None:
    house.config("labels", {"strategy": house.method, "size": [32, 64]})
    planned = [*house.expand().values()]
    assert not sizes.unlike(planned, ["segment.fit.images=5", "label_space=idd7"])
    (line,) = sizes.unlike(planned, ["oracle.size=[64,128]"])  # evaluations take images as they are
    assert line.startswith("target images come to labels at 32x64") and "--set pseudo-label.size=[64,128]" in line
    house.step("labels")["inputs"]["segmenter"] = "{data}/segmenter"
    planned = [*house.expand(data=house.folder).values()]
    assert not sizes.unlike(planned, ["oracle.size=[64,128]"])


@pytest.mark.parametrize("name", resources.names("pipelines"))
@pytest.mark.parametrize("tiny", [False, True])
def test_one_size_is_all_steps(name: str, tiny: bool) -> None:
    steps = planned(name, "size=[256,320]", tiny=tiny)
    settings = {one.name: one.config.model_dump() for one in steps if one.stage.name not in STAGES}
    sized = {step: config for step, config in settings.items() if "size" in config}
    assert sized and {config["size"] for config in sized.values()} == {(256, 320)}
    assert {config.get("target_size") for config in sized.values()} == {None}
    assert {config.get("render_size") for config in sized.values()} <= {None, (256, 320)}
    crops = [config["augment"]["crop"] for config in sized.values() if config.get("augment")]
    assert all(high <= 256 and wide <= 320 for high, wide in filter(None, crops))
    assert not told(name, "size=[256,320]", tiny=tiny)
    before = {one.name: one.config for one in planned(name, tiny=tiny)}
    assert all(one.config == before[one.name] for one in steps if one.stage.name in STAGES)


@pytest.mark.parametrize("name", [one for one in resources.names("pipelines") if one.startswith("minicity")])
@pytest.mark.parametrize("size", ["[256,384]", "[128,128]"])
def test_all_that_make_their_data_can_be_planned_at_one_size(name: str, size: str) -> None:
    assert {decision.action for _, decision in plan(planned(name, f"size={size}"), force=False)} == {"run"}


def test_a_run_of_one_size_can_be_planned(house: House) -> None:
    steps = planned("minicity_full", "size=[288,384]", rounds=1)
    # Crops fit into the rows that are fitted on.
    assert {decision.action for _, decision in plan(steps, force=False)} == {"run"}
    narrower = planned("minicity_full", "size=[288,384]", "translate.augment.crop=[96,96]", "evaluate.size=[64,64]")
    configs = {one.name: one.config.model_dump() for one in narrower}
    assert configs["translate@1"]["size"] == (288, 384) and configs["translate@1"]["augment"]["crop"] == (96, 96)
    assert configs["evaluate@1"]["size"] == (64, 64)
    assert house.refused("size=288") == "--set size=288: size: Input should be a valid tuple"


@pytest.mark.parametrize(
    ("whole", "before", "crop"),
    [
        ((128, 256), (116, 64), [260, 96]),  # 116 is a multiple of 4, of 64 32 is enough
        ((288, 384), (250, 384), [250, 384]),
        ((512, 1024), (32, 452), [32, 168]),  # of 18 pixels, of 169.5
        ((576, 1920), (128, 64), [64, 64]),  # no smaller than discriminators take
    ],
)
def test_crops_are_as_great_a_part_of_images(whole: Size, before: Size, crop: list[int]) -> None:
    recipe = SimpleNamespace(size=whole, augment=AugmentConfig(crop=before))
    assert sizes.laid_over(recipe, (288, 384)) == {"size": [288, 384], "augment": {"crop": crop}}


def test_crops_fit_into_images_smaller_than_discriminators_take() -> None:
    recipe = SimpleNamespace(size=(128, 256), augment=AugmentConfig(crop=(116, 64)))
    assert sizes.laid_over(recipe, (48, 128)) == {"size": [48, 128], "augment": {"crop": [48, 64]}}


def test_a_size_takes_the_place_of_all_that_a_recipe_has() -> None:
    recipe = SimpleNamespace(size=(720, 1280), target_size=(512, 1024), render_size=(64, 64), augment=AugmentConfig())
    changed = {"size": [96, 128], "target_size": None, "render_size": [96, 128]}
    assert sizes.laid_over(recipe, (96, 128)) == changed
    assert sizes.laid_over(SimpleNamespace(size=None), (96, 128)) == {"size": [96, 128]}


def test_a_recipe_that_is_wrong_is_told_before_a_size_is_laid_over(house: House, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("segmenter: {name: fcn8s}\nsize: [64.0, 128.0]\naugment: {crop: [32.0, 32.0]}\n")
    (made,) = (one for one in planned("minicity", f"adapt.config={own}", "size=[96,128]") if one.name == "adapt@1")
    assert made.config.model_dump()["augment"]["crop"] == (32, 32)  # as great a part would be 48
    own.write_text("segmenter: {name: fcn8s}\nsize: [64, 128]\naugment: flip\n")
    with pytest.raises(ConfigError, match="augment: Input should be a valid dictionary"):
        planned("minicity", f"adapt.config={own}", "size=[96,128]")


def test_the_last_size_of_all_steps_counts() -> None:
    assert sizes.for_all(["segment.size=[1,2]", "rounds=1"]) is None
    assert sizes.for_all(["size=[96,128]", "size=[64,64]", "segment.size=[1,2]"]) == (64, 64)
    with pytest.raises(ConfigError, match=r"--set size=\[0,3\]: size.0: Input should be greater than or equal to 1"):
        sizes.for_all(["size=[0,3]"])
