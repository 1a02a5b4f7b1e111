"""Settings that nothing would read are refused, and told by their name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from uda.core import registry
from uda.core.errors import ConfigError
from uda.translators.base import Setting, TranslatorConfigBase
from uda.translators.fda import Fda, FdaConfig

NAMES = registry.names("translators")


def settings_of(name: str, /, **settings: Any) -> TranslatorConfigBase:
    config: TranslatorConfigBase = registry.load("translators", name).Config.model_validate(settings)
    return config


def refusal(name: str, /, **settings: Any) -> tuple[str, str]:
    """Where and why one setting is refused."""
    with pytest.raises(ValidationError) as caught:
        settings_of(name, **settings)
    (item,) = caught.value.errors()
    return ".".join(map(str, item["loc"])), item["msg"]


@pytest.mark.parametrize("name", NAMES)
def test_players_are_those_that_the_method_has(name: str) -> None:
    players = settings_of(name).optimizers
    where, why = refusal(name, optimizers={"generatr": {"lr": 0.1}})
    assert where == "optimizers.generatr"
    assert why == ("no such player, did you mean 'generator'?" if players else "there are no players, leave it out")
    for player in players:
        changed = settings_of(name, optimizers={player: {"lr": 0.125}}).optimizers
        assert {one: own.lr for one, own in changed.items()} == {
            one: 0.125 if one == player else own.lr for one, own in players.items()
        }
    assert settings_of(name, **registry.load("translators", name).Config.tiny().model_dump())


@pytest.mark.parametrize(
    ("name", "on", "idle"),
    [
        ("cyclegan", {"discriminator": "scales"}, {"discriminator_scales": 2}),
        ("spade", {"image_encoder": True}, {"style_length": 8}),
        ("spade", {"image_encoder": True}, {"start_grid": (2, 4)}),
        ("spade", {"image_encoder": True}, {"weights": {"kl": 1}}),
        ("spade", {"vgg": "vgg.pth", "weights": {"vgg": 10}}, {"vgg_frame": "imagenet"}),
        ("semi_paired", {"vgg": "vgg.pth", "weights": {"vgg": 10}}, {"vgg_frame": "imagenet"}),
        ("semgan", {"weights": {"objects": 1}}, {"objects_mask": "changed"}),
        ("semgan", {"mode": "transfiguration", "classes": (0, 1)}, {"objects_mask": "changed"}),
    ],
)
def test_what_belongs_to_a_part_that_is_off_is_refused(name: str, on: dict[str, Any], idle: dict[str, Any]) -> None:
    where, why = refusal(name, **idle)
    assert where.split(".")[0] in idle
    assert why.startswith("does nothing where ") and ": leave it out, or set it to " in why
    assert settings_of(name, **on, **idle)
    default = {key: getattr(settings_of(name), key) for key in idle if key != "weights"}
    assert settings_of(name, **default)


@pytest.mark.parametrize(
    ("name", "off", "idle", "why"),
    [
        ("sait", {"guidance": False}, {"cycle_guide": "translated"}, "guidance is false"),
        ("sait", {"guidance": False}, {"spade_spectral_norm": False}, "guidance is false"),
        ("sait", {"weights": {"symmetric_ce": 0}}, {"log_floor": 0.01}, "weights.symmetric_ce is 0"),
        *(
            (name, {"discriminator_scales": 1}, {"discriminator_details": 8}, "discriminator_scales is 1")
            for name in ("sait", "munit", "unit")
        ),
        (
            "cyclegan",
            {"discriminator": "scales", "discriminator_scales": 1},
            {"discriminator_details": 8},
            "discriminator_scales is 1",
        ),
        ("sggan", {"weights": {"gradient": 0}}, {"softness": 0.5}, "weights.gradient is 0"),
        ("usis", {"weights": {"r1": 0}}, {"r1_every": 8}, "weights.r1 is 0"),
        ("semi_paired", {"weights": {"r1": 0}}, {"r1_every": 8}, "weights.r1 is 0"),
    ],
)
def test_what_belongs_to_a_part_that_is_switched_off_is_refused(
    name: str, off: dict[str, Any], idle: dict[str, Any], why: str
) -> None:
    where, told = refusal(name, **off, **idle)
    assert where in idle and told.startswith(f"does nothing where {why}: leave it out, or set it to ")
    assert settings_of(name, **off) and settings_of(name, **idle)


def test_a_term_that_there_is_not_may_be_0() -> None:
    assert settings_of("spade", weights={"kl": 0})


def test_a_window_of_no_size_renders_one_way() -> None:
    assert Fda.varies(FdaConfig()) and not Fda.varies(FdaConfig(beta=0))


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_out_of_the_label_space_is_no_class(index: int) -> None:
    with pytest.raises(ConfigError, match=f"key: no class has index {index}: the label space has 3; give .* up to 2"):
        Setting(3).class_index(index, "key")
    assert [Setting(3).class_index(one, "key") for one in (0, 2)] == [0, 2]
