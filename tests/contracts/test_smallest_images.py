"""How small images may be is told without building a network, and is what the networks can take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contracts.small_translators import CLASSES, build, small_guide, turn
from uda.core import registry
from uda.core.errors import ConfigError
from uda.data.batch import Batch, Context
from uda.stages._translate_checks import check_translate
from uda.stages.translate import TranslateConfig
from uda.translators.base import AbstractTranslator, Least

NAMES = registry.names("translators")
SETTINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {}) for name in NAMES),
    ("cyclegan", {"discriminator_layers": 5}),
    ("cyclegan", {"discriminator": "scales", "discriminator_scales": 4, "discriminator_details": 8.0}),
    ("cyclegan", {"blocks": 0, "discriminator_layers": 1, "noise": True, "skips": True, "residual": True}),
    ("munit", {"style_downsamplings": 4, "style": "reference"}),
    ("munit", {"style_downsamplings": 0, "discriminator_layers": 4}),
    ("oasis", {"norm": "instance"}),
    ("pix2pix", {"levels": 2, "patch": 70, "norm": "instance"}),
    ("pix2pix", {"patch": "full"}),
    ("pix2pix", {"levels": 2, "patch": 1}),
    ("sait", {"discriminator_layers": 4, "skips": True, "residual": True}),
    ("semgan", {"discriminator_layers": 4, "discriminator_norm": "none", "discriminator_details": 8.0}),
    ("semi_paired", {"unconditional_levels": 6}),
    ("sggan", {"discriminator_layers": 3}),
    ("sggan", {"discriminator_layers": 1}),
    ("spade", {"norm": "instance"}),
    ("spade", {"norm": "instance", "doublings": 6, "image_encoder": True}),
    ("spade", {"doublings": 6}),
    ("spade", {"discriminator_scales": 7}),
    ("unit", {"discriminator_scales": 5}),
    ("unit", {"residual_blocks": 0, "shared_blocks": 0, "discriminator_layers": 1, "discriminator_scales": 1}),
    ("usis", {"norm": "instance", "discriminator_levels": 1}),
)
"""What the check knows of, beside `tiny()`."""


def smallest(translator: AbstractTranslator, batch: int | None) -> tuple[Least, tuple[int, int]]:
    """What is said of the smallest images, and such a size, no higher than wide."""
    least, multiple = translator.smallest(translator.config, batch=batch), translator.multiple_of(translator.config)
    side = -(-least.side // multiple) * multiple
    return least, (side, max(side, -(-least.pixels // side // multiple) * multiple))


def smaller(translator: AbstractTranslator, batch: int | None) -> list[tuple[int, int]]:
    """Sizes one step smaller, which the strides divide."""
    least, (height, width) = smallest(translator, batch)
    step = translator.multiple_of(translator.config)
    made = [(height - step, width)] if height - step > 0 and least.side > height - step else []
    return [*made, *([(height, width - step)] if width > height else [])]


def images_of(size: tuple[int, int], count: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(count, 3, *size, generator=generator) * 2 - 1 for _ in range(2)]
    maps = [torch.randint(0, CLASSES, (count, *size), generator=generator) for _ in range(2)]
    return Batch(images[0], maps[0], images[1], maps[1])


def fit(translator: AbstractTranslator, size: tuple[int, int], count: int) -> None:
    context = Context(images_seen=0, total_images=100)
    for network in translator.networks.values():
        network.train()
    for player in translator.players():
        assert all(term.isfinite() for term in turn(translator, player, images_of(size, count), context).values())
    translator.after_step(context)
    translator.finalize([images_of(size, count)])


def render(translator: AbstractTranslator, size: tuple[int, int]) -> None:
    for network in translator.networks.values():
        network.eval()
    for direction in translator.directions:
        with torch.no_grad():
            made = translator.translate(images_of(size, 1), generator=torch.Generator(), direction=direction)
        assert made.images_BCHW.shape[-2:] == size and made.images_BCHW.isfinite().all()


def check(translator: AbstractTranslator, folder: Path, **settings: Any) -> None:
    """As `uda translate` does, before anything runs; labels of the classes that there are."""
    names = ("source", "guide", *(() if translator.needs in ("nothing", "unpaired") else ("pairs",)))
    config = TranslateConfig.model_validate({"translator": translator.config, **settings})
    check_translate(config, {name: folder / name for name in names})


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
@pytest.mark.parametrize("count", [1, 2])
def test_what_the_check_lets_through_can_be_fitted_and_rendered(
    name: str, settings: dict[str, Any], count: int, tmp_path: Path
) -> None:
    if name == "semi_paired" and count == 1:
        count = 4  # two of either kind
    translator = build(name, small_guide(), **settings)
    (_, size), (_, rendered) = smallest(translator, count), smallest(translator, None)
    larger = [max(one, other) for one, other in zip(size, rendered, strict=True)]
    fitted = translator.needs != "nothing"
    of_fit: dict[str, Any] = {"augment": {"crop": size}, "fit": {"batch": count}} if fitted else {}
    check(translator, tmp_path, size=larger, render_size=rendered, **of_fit)
    if fitted:
        fit(translator, size, count)
    render(translator, rendered)


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
@pytest.mark.parametrize("count", [1, 2])
def test_a_step_smaller_is_refused_by_the_setting_that_says_it(
    name: str, settings: dict[str, Any], count: int, tmp_path: Path
) -> None:
    translator = build(name, small_guide(), **settings)
    rest: dict[str, Any] = {"size": (256, 512), "fit": {"batch": count}}
    least, _ = smallest(translator, count)
    for size in smaller(translator, count) if translator.needs != "nothing" else ():
        with pytest.raises(ConfigError, match=rf"^augment.crop: .* is too small for translator {name} to be fitted to"):
            check(translator, tmp_path, **rest, augment={"crop": size})
        with pytest.raises(ConfigError, match=rf"^size: .* is too small for translator {name} to"):
            check(translator, tmp_path, **rest | {"size": size})
        if name != "spade" or min(size) >= least.side:  # its networks take a last scale of one row: it is of no use
            with pytest.raises((ConfigError, RuntimeError, ValueError)):
                fit(translator, size, count)
    for size in smaller(translator, None):
        with pytest.raises(ConfigError, match=rf"^render_size: .* is too small for translator {name} to render"):
            check(translator, tmp_path, **rest, render_size=size)


def test_the_methods_whose_networks_need_some_size_say_so() -> None:
    stated = {name for name, settings in SETTINGS if smaller(build(name, small_guide(), **settings), 1)}
    assert stated == {"cyclegan", "munit", "pix2pix", "sait", "semgan", "sggan", "spade", "unit"}
