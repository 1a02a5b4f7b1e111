"""What translators ask of their guide: to be there, and to see the same in a translation as in its original."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uda.core.config import Config
from uda.core.errors import ConfigError
from uda.core.lazy import lazy_import
from uda.translators._domains import OTHER

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from uda.losses import consistency
    from uda.translators.base import AbstractTranslator, Setting
else:
    torch, consistency = lazy_import("torch"), lazy_import("uda.losses.consistency")


class GuidedWeightsBase(Config):
    """What weights hold of a method that may ask a guide though its authors ask none."""

    symmetric_ce: float = Field(default=0.0, ge=0)
    """Cross-entropy both ways of a guide's predictions before and after, as `sait` has it (not from the paper, which
    asks no segmenter); needs a guide."""


def check_guide(translator: AbstractTranslator, setting: Setting, remedy: str) -> None:
    """See that there is a guide where a method's settings ask for one.

    Args:
        translator: the method, with its settings.
        setting: what it is built for.
        remedy: what to set where there is no segmenter.

    Raises:
        ConfigError: there is none.
    """
    config = translator.config
    asked = translator.requires_guide(config) if setting.fits else translator.renders_guided(config)
    if asked and setting.guide is None:
        raise ConfigError("needs a segmenter as guide", f"translator {config.name}", f"give --guide, or set {remedy}")


def symmetric_ce(setting: Setting, domain: str, images_BCHW: Tensor, fake_BCHW: Tensor) -> Tensor:
    """`sait`'s symmetric cross-entropy, for methods that know of no guide by themselves; reaches the fakes alone.

    Args:
        setting: has a guide (`check_guide`).
        domain: of the images.
        images_BCHW: in [-1, 1].
        fake_BCHW: their translations to the other domain.
    """
    guide, guide_there = setting.guide_of(domain), setting.guide_of(OTHER[domain])
    assert guide is not None and guide_there is not None
    with torch.no_grad():
        logits = guide(images_BCHW)
    return consistency.symmetric_cross_entropy(logits, guide_there(fake_BCHW))
