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
