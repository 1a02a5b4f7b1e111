from __future__ import annotations

import pytest

from uda.core.errors import ConfigError, DataError, RunError, UdaError, nearest


def test_the_line_says_where_what_and_mend() -> None:
    assert str(UdaError("is wrong", "a.yaml", "mend it")) == "a.yaml: is wrong; mend it"
    assert str(UdaError("is wrong")) == "is wrong"


@pytest.mark.parametrize(("kind", "code"), [(ConfigError, 2), (DataError, 3), (RunError, 4)])
def test_each_kind_has_its_exit_code(kind: type[UdaError], code: int) -> None:
    assert kind("x").exit_code == code


def test_the_nearest_known_word_or_all_of_them() -> None:
    assert nearest("widht", ["width", "height"]) == "did you mean 'width'?"
    assert nearest("zzz", ["width", "height"]) == "known: height, width"
    assert nearest("zzz", []) == "nothing is known here"


def test_in_a_graph_the_step_is_named_and_its_settings_and_inputs_take_the_place_of_options() -> None:
    error = ConfigError("needs pairs", "translate", "give --pairs CSV (image, label) or --pseudo CSV, or --set size=1")
    told = error.in_step("seed_1/render@2", stage="translate", inputs=("source", "pairs", "pseudo"))
    assert type(told) is ConfigError
    assert str(told) == (
        "step seed_1/render@2: needs pairs; give the input pairs (image, label) or the input pseudo, "
        "or --set render.size=1"
    )
    odd = DataError("is odd", "size", "leave --init out, --initial stays, --set label_space=own.yaml too")
    told_too = odd.in_step("oracle", stage="segment", inputs=("init",))
    assert str(told_too) == (
        "step oracle: size: is odd; leave the input init out, --initial stays, --set label_space=own.yaml too"
    )
    assert str(RunError("diverged").in_step("a", stage="b", inputs=())) == "step a: diverged"
