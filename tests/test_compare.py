"""Comparisons of translators: what is planned, from which configs and with which inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.data.fakes import shared_data
from uda import pipeline, runner
from uda.compare import DATA, PAIRS, Wanted, plan
from uda.compare_recipes import find_recipe, recipe_names
from uda.core import registry
from uda.core.console import Console
from uda.core.errors import ConfigError
from uda.core.resources import find_yaml
from uda.data.samples import read_samples
from uda.pipeline import Planned
from uda.stages.minicity import MinicityConfig
from uda.stages.segment import SegmentConfig


def recipe(name: str) -> Any:
    """The full-size recipe of a translator, at its tiny size: it need not have a small one."""
    return find_recipe(str(find_yaml("configs", f"translate/{name}")), "minicity", tiny=True)


def planned(tmp_path: Path, *names: str, seeds: Sequence[int] = (0,), **more: Any) -> dict[str, Planned]:
    assignments = more.pop("assignments", ())
    wanted = Wanted(DATA["minicity"], [recipe(name) for name in names], seeds, tiny=True, **more)
    return {one.name: one for one in plan(wanted, assignments, tmp_path / "run")}


def inputs(one: Planned, out: Path) -> dict[str, str]:
    return {name: source.path.relative_to(out).as_posix() for name, source in one.inputs.items()}


def test_all_are_trained_and_scored_alike(tmp_path: Path) -> None:
    steps = planned(tmp_path, "identity", "munit", seeds=(0, 3))
    trained = [steps[f"segment_{name}_3"] for name in ("source", "ideal", "identity", "munit")]
    assert len({one.config.model_dump_json() for one in trained}) == 1
    config: Any = trained[0].config
    assert config.adversary is None and config.target_statistics == 400 and config.seed == 3
    assert inputs(trained[3], tmp_path / "run") == {
        "source": "translate_munit_3/samples.csv", "target": "target/samples.csv", "init": "start_3"
    }  # fmt: skip
    assert steps["evaluate_munit_3"].row == "munit, seed 3"
    assert inputs(steps["quality_3"], tmp_path / "run") == {
        "source": "source/samples.csv", "real": "target/samples.csv", "segmenter": "judge",
        "images.ideal": "ideal/samples.csv", "images.identity": "translate_identity_3/samples.csv",
        "images.munit": "translate_munit_3/samples.csv",
    }  # fmt: skip
    seeds = {name: one.config.seed for name, one in steps.items() if name.startswith(("translate", "segment", "start"))}
    assert len(seeds) == 2 * (1 + 4 + 2) and all(seed == int(name[-1]) for name, seed in seeds.items())
    assert not {"pseudo_0", "tones_0"} & steps.keys()  # nobody wants any


def test_the_judge_learns_both_looks_of_other_streets(tmp_path: Path) -> None:
    steps = planned(tmp_path, "identity")
    own, other = (steps[name].config for name in ("city", "other_city"))
    assert isinstance(own, MinicityConfig) and isinstance(other, MinicityConfig)
    assert isinstance(own.seed, int) and own.seed != other.seed and own.ideal and other.ideal
    assert inputs(steps["judge"], tmp_path / "run") == {
        "source": "other_game/samples.csv", "pseudo": "other_camera/samples.csv"
    }  # fmt: skip
    roots = {name: inputs(steps[name], tmp_path / "run")["root"] for name in ("other_game", "other_camera", "ideal")}
    assert roots == {"other_game": "other_city/gta5", "other_camera": "other_city/ideal", "ideal": "city/ideal"}
    judge: Any = steps["judge"].config
    assert judge.joint_batch and judge.adversary is None and judge.target_statistics == 0


def test_classes_are_named_as_the_data_name_them(tmp_path: Path) -> None:
    for data, name in (("minicity", "sidewalk"), ("camvid", "pavement")):
        wanted = Wanted(DATA[data], [find_recipe("unit", DATA[data].kind, tiny=True)], (0,), tiny=True)
        steps = {one.name: one for one in plan(wanted, (), tmp_path / data, root=tmp_path)}
        config: Any = steps["translate_unit_0"].config
        assert config.class_tones_of == ("road", name)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("color_transfer", {}),
        ("munit", {}),
        ("usis", {}),
        ("cyclegan", {}),
        ("cyclegan_bdl", {"guide": "start_0"}),
        ("sait", {"guide": "start_0"}),
        ("semgan", {"pseudo": "pseudo_0/samples.csv"}),
        ("sggan", {"pseudo": "pseudo_0/samples.csv"}),
        ("pix2pix", {"pseudo": "pseudo_0/samples.csv"}),
        ("spade", {"pseudo": "pseudo_0/samples.csv"}),
        ("oasis", {"pseudo": "pseudo_0/samples.csv"}),
        ("semi_paired", {"pairs": "target/samples.csv"}),
        ("tcr", {"pairs": "target/samples.csv"}),
    ],
)
def test_each_method_is_given_what_it_needs(tmp_path: Path, name: str, wanted: dict[str, str]) -> None:
    steps = planned(tmp_path, name)
    made = steps[f"translate_{name}_0"]
    given = inputs(made, tmp_path / "run")
    assert given == {"source": "source/samples.csv", "target": "target/samples.csv", **wanted}
    assert made.reads_target_labels == ("pairs" in wanted)
    config: Any = made.config
    assert config.supervision == (PAIRS if "pairs" in wanted else 1)
    if "pseudo" in wanted:
        assert inputs(steps["pseudo_0"], tmp_path / "run")["segmenter"] == "segment_source_0"


def test_a_small_recipe_that_asks_a_segmenter_is_given_one(tmp_path: Path) -> None:
    recipes = [find_recipe(name, "minicity", tiny=True) for name in ("semgan", "pix2pix")]
    steps = {one.name: one for one in plan(Wanted(DATA["minicity"], recipes, (0,), tiny=True), (), tmp_path / "run")}
    maps = {"source": "source/samples.csv", "target": "target/samples.csv", "pseudo": "pseudo_0/samples.csv"}
    assert inputs(steps["translate_semgan_0"], tmp_path / "run") == {**maps, "guide": "start_0", "tones": "tones_0"}
    assert inputs(steps["translate_pix2pix_0"], tmp_path / "run") == maps
    start, teller = (steps[name].config for name in ("start_0", "tones_0"))
    assert isinstance(start, SegmentConfig) and isinstance(teller, SegmentConfig)
    assert (start.augment.class_colors.probability, teller.augment.class_colors.probability) == (0, 0.5)
    plain = teller.augment.model_copy(update={"class_colors": start.augment.class_colors})
    assert teller.model_copy(update={"augment": plain}) == start  # nothing else sets them apart


def test_a_part_of_the_true_labels_is_asked_for_by_name(tmp_path: Path) -> None:
    recipes = [
        find_recipe(name, "minicity", tiny=True) for name in ("oasis", "oasis@0.05", "semi_paired@0.2", "spade@1")
    ]
    assert [one.name for one in recipes] == ["oasis", "oasis_5", "semi_paired_20", "spade_100"]
    assert find_recipe("oasis@0.025", "minicity", tiny=True).name == "oasis_2p5"
    steps = {one.name: one for one in plan(Wanted(DATA["minicity"], recipes, (0,), tiny=True), (), tmp_path / "run")}
    configs: dict[str, Any] = {name: one.config for name, one in steps.items()}
    parts = {"oasis_5": 0.05, "semi_paired_20": 0.2, "spade_100": 1}
    assert {name: configs[f"translate_{name}_0"].supervision for name in parts} == parts
    for name in parts:
        made = steps[f"translate_{name}_0"]
        assert made.reads_target_labels
        assert inputs(made, tmp_path / "run")["pairs"] == "target/samples.csv"
    assert "pseudo" in steps["translate_oasis_0"].inputs and not steps["translate_oasis_0"].reads_target_labels
    with pytest.raises(ConfigError, match=r"munit learns from no labels of the target; write munit"):
        find_recipe("munit@0.1", "minicity", tiny=True)
    for text in ("oasis@0", "oasis@1.1", "oasis@1.2.3"):
        with pytest.raises(ConfigError, match="is no part of the labels"):
            find_recipe(text, "minicity", tiny=True)


def test_lengths_are_overridden_where_something_is_fitted(tmp_path: Path) -> None:
    steps = planned(tmp_path, "identity", "munit", fit_images=40, segment_images=24)
    images = {name: one.config.fit.images for name, one in steps.items() if hasattr(one.config, "fit")}
    assert images["translate_munit_0"] == 40 and images["translate_identity_0"] == 1000
    assert images["segment_source_0"] == images["segment_munit_0"] == 24
    assert (images["start_0"], images["judge"]) == (8, 12)


def test_settings_are_for_a_translator_a_step_or_a_stage(tmp_path: Path) -> None:
    own = (
        "munit.fit.images=6",
        "start_1.fit.images=16",
        "segment.fit.batch=2",
        "segment_munit_0.adversary=output_space",
    )
    steps = planned(tmp_path, "munit", seeds=(0, 1), assignments=own)
    configs: dict[str, Any] = {name: one.config for name, one in steps.items()}
    assert [configs[f"translate_munit_{seed}"].fit.images for seed in (0, 1)] == [6, 6]
    assert [configs[f"start_{seed}"].fit.images for seed in (0, 1)] == [8, 16]
    assert {configs[name].fit.batch for name in ("judge", "start_0", "segment_ideal_1")} == {2}
    assert configs["segment_munit_0"].adversary is not None  # one's own come after the comparison's
    for text in ("munt.fit.images=6", "munit", "label_space=idd7"):
        with pytest.raises(ConfigError, match="names no translator, step or stage"):
            planned(tmp_path, "munit", assignments=[text])


def test_what_all_translators_are_told_is_told_to_those_that_are_fitted(tmp_path: Path) -> None:
    told = ["translate.fit.images=6", "translate.seed=5"]
    steps = planned(tmp_path, "identity", "munit", assignments=told)
    configs: dict[str, Any] = {name: one.config for name, one in steps.items()}
    assert configs["translate_munit_0"].fit.images == configs["samples_munit_0"].fit.images == 6
    assert configs["translate_identity_0"].fit.images == 1000
    assert configs["translate_identity_0"].seed == configs["translate_munit_0"].seed == 5
    for text in ("identity.fit.images=6", "translate.fit.images=6"):
        with pytest.raises(ConfigError) as caught:
            planned(tmp_path, "identity", assignments=[text])
        said = "--set: 'translate_identity_0.fit.images=6' changes nothing: identity is not fitted; leave it out"
        assert str(caught.value) == said


def test_recipes_are_found_by_name_or_file(tmp_path: Path) -> None:
    names = recipe_names("minicity")
    assert {"identity", "color_transfer", "fda", "sait"} <= set(names) and len(set(names)) == len(names)
    assert find_recipe("sait", "pocket", tiny=False).config == "translate/pocket"
    assert find_recipe("fda", "pocket", tiny=False).config == "translate/fda"
    with pytest.raises(ConfigError, match="no small recipe 'fad'"):
        find_recipe("fad", "minicity", tiny=False)
    mine = tmp_path / "my.fda-2.yaml"
    mine.write_text("translator: {name: fda, beta: 0.05}\nsize: [128, 256]\n")
    found = find_recipe(str(mine), "minicity", tiny=False)
    assert found.name == "my_fda_2" and found.method is registry.load("translators", "fda")
    with pytest.raises(ConfigError, match="is a row of its own"):
        find_recipe(str(tmp_path / "ideal.yaml"), "minicity", tiny=False)


@pytest.mark.parametrize("data", sorted(DATA))
def test_every_small_recipe_fits_at_the_size_of_the_data(tmp_path: Path, data: str) -> None:
    chosen = DATA[data]
    recipes = [find_recipe(name, chosen.kind, tiny=False) for name in recipe_names(chosen.kind)]
    steps = {one.name: one for one in plan(Wanted(chosen, recipes, (0,)), (), tmp_path / "run", root=tmp_path)}
    for recipe in recipes:
        config: Any = steps[f"translate_{recipe.name}_0"].config
        assert config.size == chosen.size and config.render_size in (None, chosen.size)
        assert config.label_space == chosen.label_space
    quality: Any = steps["quality_0"].config
    assert quality.size == chosen.size
    assert ("ideal" in steps) == (data == "minicity")


def test_on_camvid_the_judge_has_frames_that_no_translator_sees(tmp_path: Path) -> None:
    wanted = Wanted(DATA["camvid"], [find_recipe("fda", "pocket", tiny=False)], (0,))
    steps = {one.name: one for one in plan(wanted, (), tmp_path / "run", root=tmp_path)}
    settings = {name: steps[name].config.model_dump(mode="json") for name in ("source", "other_day", "target", "val")}
    assert (settings["source"]["split"], settings["other_day"]["split"]) == ("train", "val")
    assert settings["other_day"]["select"]["groups"] == ["0016E5"]  # val has frames of this day drive alone
    assert (settings["target"]["select"]["first"], settings["val"]["select"]["last"]) == (40, 22)
    assert inputs(steps["judge"], tmp_path / "run") == {
        "source": "other_day/samples.csv", "pseudo": "val/samples.csv"
    }  # fmt: skip
    assert steps["judge"].reads_target_labels
    with pytest.raises(ConfigError, match="needs the data sets' folder"):
        plan(wanted, (), tmp_path / "run")


def test_on_the_real_camvid_the_judge_and_the_translators_share_no_frame(tmp_path: Path) -> None:
    root = shared_data("camvid")
    wanted = Wanted(DATA["camvid"], [find_recipe("fda", "pocket", tiny=False)], (0,))
    steps = {one.name: one for one in plan(wanted, (), tmp_path, root=root)}
    runner.run([steps[name] for name in ("source", "target", "val", "other_day")], Console(quiet=True))
    frames = {name: {one.image for one in read_samples(tmp_path / name / "samples.csv")} for name in
              ("source", "target", "val", "other_day")}  # fmt: skip
    assert {name: len(found) for name, found in frames.items()} == {
        "source": 305, "target": 40, "val": 22, "other_day": 101
    }  # fmt: skip
    assert not (frames["source"] | frames["target"]) & (frames["val"] | frames["other_day"])


def test_what_makes_a_translator_vary_or_ask_can_be_changed(tmp_path: Path) -> None:
    def steps(*assignments: str) -> dict[str, Planned]:
        recipes = [find_recipe(name, "minicity", tiny=True) for name in ("cyclegan", "usis", "fda")]
        made = plan(Wanted(DATA["minicity"], recipes, (0,), tiny=True), assignments, tmp_path / "run")
        pipeline.plan(made, force=False)
        return {one.name: one for one in made}

    as_is, still = steps(), steps("cyclegan.translator.noise=false")
    assert as_is.keys() - still.keys() == {"samples_cyclegan_0"}
    assert as_is["diversity_0"].inputs.keys() - still["diversity_0"].inputs.keys() == {"images.cyclegan"}
    assert "guide" not in as_is["translate_usis_0"].inputs
    for key in ("usis", "translate"):
        matched = steps(f"{key}.target_candidates=4")
        for name in ("translate_usis_0", "samples_usis_0"):
            assert matched[name].inputs["guide"].step == "start_0"
        assert "guide" not in matched["translate_fda_0"].inputs
    toned = steps("fda.class_tones=8")  # a segmenter that tells tones, and no guide
    assert toned["translate_fda_0"].inputs["tones"].step == "tones_0"
    assert toned["translate_cyclegan_0"].inputs.keys() == as_is["translate_cyclegan_0"].inputs.keys()
    assert "guide" not in toned["translate_fda_0"].inputs
    assert "tones_0" in as_is and "tones_0" not in steps("cyclegan.class_tones=0")


@pytest.mark.parametrize(
    "text",
    [
        *(f"{head}.config=translate/identity" for head in ("fda", "translate", "judge", "translate_fda_0")),
        *(f"{head}.translator.name=cyclegan" for head in ("fda", "translate", "translate_fda_0")),
        "fda.translator={name: cyclegan}",
    ],
)
def test_recipes_of_a_comparison_are_no_setting(tmp_path: Path, text: str) -> None:
    wanted = Wanted(DATA["minicity"], [find_recipe("fda", "minicity", tiny=True)], (0,), tiny=True)
    with pytest.raises(ConfigError) as caught:
        plan(wanted, [text], tmp_path / "run")
    assert str(caught.value).startswith(f"--set {text}: the steps of a comparison keep their recipes; ")


def test_those_that_vary_make_several_images_of_a_few_inputs(tmp_path: Path) -> None:
    steps = planned(tmp_path, "identity", "munit", "oasis", "color_transfer", seeds=(0, 1))
    out = tmp_path / "run"
    assert {name for name in steps if name.startswith("samples_")} == {
        f"samples_{name}_{seed}" for name in ("munit", "oasis", "color_transfer") for seed in (0, 1)
    }
    one, fitted = steps["samples_oasis_1"], steps["translate_oasis_1"]
    learnt = {key: path for key, path in inputs(fitted, out).items() if key != "pseudo"}
    assert inputs(one, out) == learnt | {"source": "few/samples.csv", "translator": "translate_oasis_1"}
    assert one.config.model_dump() == fitted.config.model_dump() | {"samples": 4}
    assert "translator" not in steps["samples_color_transfer_0"].inputs
    few: Any = steps["few"].config
    assert few.model_dump() == steps["source"].config.model_dump() | {"select": {**few.select.model_dump(), "first": 8}}
    assert inputs(steps["diversity_1"], out) == {
        f"images.{name}": f"samples_{name}_1/samples.csv" for name in ("munit", "oasis", "color_transfer")
    } | {"real": "target/samples.csv"}
    alone = planned(tmp_path, "identity")
    assert not {"few", "diversity_0"} & alone.keys()
    wide = planned(tmp_path, "munit", assignments=["munit.translator.style_length=5"])
    assert wide["samples_munit_0"].config.model_dump()["translator"]["style_length"] == 5
