"""Methods that know of no guide by themselves, and ask one where their weights say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tests.contracts.small_translators import CLASSES, build, make_batch, small_guide
from uda.core import registry
from uda.core.errors import ConfigError
from uda.data.batch import Context
from uda.losses.consistency import symmetric_cross_entropy
from uda.translators.base import AbstractTranslator, Setting
from uda.translators.semgan import SemganConfig

Guide = Callable[[torch.Tensor], torch.Tensor]
METHODS = ("munit", "unit", "semgan", "sggan")
by_method = pytest.mark.parametrize("name", METHODS)


def alone(name: str, guide: Guide | None, target_guide: Guide | None = None) -> AbstractTranslator:
    """A method with no term but the symmetric cross-entropy."""
    torch.manual_seed(0)
    cls = registry.load("translators", name)
    tiny = cls.Config.tiny().model_dump()
    weights: dict[str, Any] = dict.fromkeys(tiny["weights"], 0.0)
    config = cls.Config.model_validate({**tiny, "weights": {**weights, "symmetric_ce": 1.0}})
    made: AbstractTranslator = cls(config, Setting(CLASSES, guide, target_guide))
    return made


@by_method
def test_the_term_is_saits_between_an_image_and_its_translation(name: str) -> None:
    guide, batch, here = small_guide(), make_batch(), Context(0, 10)
    terms = alone(name, guide).losses("generator", batch, here)
    wanted = torch.zeros(())
    for there, images in (("target", batch.source_images_BCHW), ("source", batch.target_images_BCHW)):
        assert images is not None
        fake = here.made[f"fake_{there}"][:, :3]
        assert not torch.allclose(fake, images, atol=1e-2)
        wanted = wanted + symmetric_cross_entropy(guide(images), guide(fake))
    assert set(terms) == {"symmetric_ce"}
    assert torch.allclose(terms["symmetric_ce"], wanted, rtol=1e-5)


@by_method
def test_each_guide_judges_what_looks_like_its_domain(name: str) -> None:
    network, batch, here = small_guide(), make_batch(), Context(0, 10)
    asked: dict[str, list[torch.Tensor]] = {"source": [], "target": []}

    def guide(domain: str) -> Guide:
        def answer(images: torch.Tensor) -> torch.Tensor:
            asked[domain].append(images.detach())
            answered: torch.Tensor = network(images)
            return answered

        return answer

    translator = alone(name, guide("source"), guide("target"))
    translator.losses("generator", batch, here)
    real = {"source": batch.source_images_BCHW, "target": batch.target_images_BCHW}
    for domain, images in real.items():
        assert images is not None and len(asked[domain]) == 2
        for wanted in (images, here.made[f"fake_{domain}"][:, :3]):
            assert any(torch.equal(wanted, one) for one in asked[domain])
    translator.losses("discriminator", batch, here)
    assert len(asked["source"]) == len(asked["target"]) == 2


@by_method
def test_it_teaches_the_generators_and_never_the_guide(name: str) -> None:
    guide = small_guide()
    translator = alone(name, guide)
    translator.losses("generator", make_batch(), Context(0, 10))["symmetric_ce"].backward()
    touched = {
        key
        for key, network in translator.networks.items()
        if any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
    }
    painters = {key for key in translator.networks if key.startswith(("decoder", "image_decoder", "generator"))}
    assert painters and painters <= touched
    assert not any(key.startswith("discriminator") for key in touched)
    assert all(p.grad is None for p in guide.parameters())


@by_method
def test_without_a_guide_it_says_what_to_set(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"translator {name}: .*--guide.*weights\.symmetric_ce 0"):
        alone(name, None)
    config = registry.load("translators", name).Config
    assert registry.load("translators", name).requires_guide(
        config.model_validate({**config.tiny().model_dump(), "weights": {"symmetric_ce": 0.1}})
    )


@by_method
def test_as_its_authors_have_it_no_guide_is_asked(name: str) -> None:
    def never(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("asked")

    config = registry.load("translators", name).Config
    translator = build(name, never, weights=config.model_validate({"name": name}).weights)
    assert not translator.requires_guide(translator.config)
    assert "symmetric_ce" not in translator.losses("generator", make_batch(), Context(0, 10))


def test_what_is_turned_into_another_class_cannot_stay_the_same() -> None:
    with pytest.raises(ValidationError, match=r"weights\.symmetric_ce keeps what transfiguration turns"):
        SemganConfig.model_validate({"mode": "transfiguration", "classes": (0, 1), "weights": {"symmetric_ce": 0.1}})


@by_method
def test_a_fitted_one_renders_without_a_guide(name: str) -> None:
    cls = registry.load("translators", name)
    fitted: AbstractTranslator = cls(cls.Config.tiny(), Setting(CLASSES, fits=False))
    assert cls.requires_guide(fitted.config) and not cls.renders_guided(fitted.config)
    made = fitted.translate(make_batch(), generator=torch.Generator()).images_BCHW
    assert torch.isfinite(made).all()


def test_sait_is_guided_when_it_renders_unless_its_guidance_is_off() -> None:
    cls = registry.load("translators", "sait")
    with pytest.raises(ConfigError, match="translator sait: needs a segmenter as guide"):
        cls(cls.Config.tiny(), Setting(CLASSES, fits=False))
    cls(cls.Config.tiny().model_copy(update={"guidance": False}), Setting(CLASSES, fits=False))
