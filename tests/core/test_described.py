from __future__ import annotations

from collections.abc import Mapping

import pytest
import yaml

from uda.core.config import Config
from uda.core.described import settings, settings_called
from uda.core.errors import ConfigError
from uda.core.training import OptimizerConfig


class _Weights(Config):
    gan: float = 1.0
    """Of the adversary's
    opinion."""
    cycle: float = 10.0


class _Stage(Config):
    seed: int = 3
    """Seed of everything."""
    size: tuple[int, int] | None = None
    name: str = "a-b"
    weights: _Weights = _Weights()
    """The group's own meaning, which stands nowhere."""
    optimizers: Mapping[str, OptimizerConfig] = {"generator": OptimizerConfig(lr=0.5)}
    others: Mapping[str, float] = {"a": 1.0}


def test_groups_are_opened_and_each_setting_keeps_its_meaning() -> None:
    found = {one.key: (one.value, one.meaning) for one in settings(_Stage(size=(2, 4)))}
    assert list(found)[:5] == ["seed", "size", "name", "weights.gan", "weights.cycle"]
    assert found["weights.gan"] == (1.0, "Of the adversary's opinion.") and found["weights.cycle"] == (10.0, "")
    assert found["size"] == ([2, 4], "") and found["others"] == ({"a": 1.0}, "")
    assert found["optimizers.generator.lr"][0] == 0.5


def test_what_is_listed_can_be_set_again() -> None:
    for one in settings(_Stage(size=(2, 4))):
        key, _, value = str(one).splitlines()[0].partition("=")
        assert (key, yaml.safe_load(value)) == (one.key, one.value)
    assert str(next(iter(settings(_Stage())))) == "seed=3\n    Seed of everything."


def test_a_part_is_a_name_or_a_group_at_any_depth() -> None:
    def keys(part: str | None) -> list[str]:
        return [one.key for one in settings_called(part, _Stage(), "here", {})]

    assert keys("weights") == ["weights.gan", "weights.cycle"]
    assert keys("generator.lr") == keys("lr") == ["optimizers.generator.lr"]
    assert len(keys(None)) > len(keys("optimizers")) > 1
    with pytest.raises(ConfigError, match=r"here: no setting is called 'weigths'; did you mean 'weights'\?"):
        keys("weigths")
    with pytest.raises(ConfigError, match="no setting is called 'ights'"):
        keys("ights")


def test_what_nothing_reads_is_left_out_and_asked_for_says_why() -> None:
    def keys(part: str | None) -> list[str]:
        idle = {"optimizers": "nothing is fitted", "weights.gan": "there is no adversary"}
        return [one.key for one in settings_called(part, _Stage(), "here", idle)]

    everything = [one.key for one in settings(_Stage())]
    gone = {one for one in everything if one.startswith("optimizers.")} | {"weights.gan"}
    assert len(gone) > 1 and keys(None) == [one for one in everything if one not in gone]
    assert keys("weights") == ["weights.cycle"]
    with pytest.raises(ConfigError, match="here: nothing reads 'lr': nothing is fitted; leave it out"):
        keys("lr")
    with pytest.raises(ConfigError, match="here: nothing reads 'gan': there is no adversary; leave it out"):
        keys("gan")
