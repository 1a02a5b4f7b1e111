"""Every loss's gradient against finite differences: one table, which a test holds against the package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from uda import losses
from uda.losses import (
    consistency,
    cross_entropy,
    gan,
    label_mix,
    logistic,
    multiscale,
    n_plus_one,
    perceptual,
    segmentation_cycle,
    semgan,
    sggan,
    softmax,
)
from uda.losses import transformation_consistency as transformation
from uda.translators import cyclegan, unit

NOT_LOSSES = {
    "label_mix.label_mix_mask": "coins",
    "n_plus_one.class_balance": "counts of labels",
    "semgan.transfigured": "labels",
    "semgan.without": "labels",
    "sggan.label_edges": "labels",
    "softmax.by_pixel": "the same memory in another order",
    "transformation_consistency.draw_moves": "drawn",
    "transformation_consistency.inside": "a mask",
    "transformation_consistency.move_labels": "labels",
    "transformation_consistency.sampling_grid": "places; nothing learns through them",
}
"""Public functions of `uda.losses` that pass no gradient on, and what they give instead."""


@dataclass(frozen=True)
class Row:
    """A function, what it is called with, and how; gradients are checked for inputs that require them."""

    function: Callable[..., Tensor]
    inputs: tuple[Any, ...]
    call: Callable[..., Tensor] = lambda function, *inputs: function(*inputs)

    @property
    def name(self) -> str:
        return f"{self.function.__module__.removeprefix('uda.losses.')}.{self.function.__name__}"


def fixed(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def given(*shape: int, seed: int = 0) -> Tensor:
    """An input whose gradient is checked."""
    return fixed(*shape, seed=seed).requires_grad_()


def apart(other: Tensor) -> Tensor:
    """An input that differs from another by half to one everywhere, either way: the corner of L1 is far."""
    signs = torch.ones_like(other).flatten()
    signs[::3] = -1
    steps = torch.linspace(0.5, 1, other.numel(), dtype=other.dtype)
    return (other.detach() + (signs * steps).view_as(other)).requires_grad_()


def channels_last(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous(memory_format=torch.channels_last).requires_grad_()


def two_scales(images: Tensor) -> list[Tensor]:
    """A discriminator without weights, so that its input's gradient shows the loss's."""
    return [images[:, :1], 2 * images[:, :1, ::2, ::2]]


LABELS = torch.tensor([[[0, 0, 0, 2], [0, 0, 255, 2]], [[0, 2, 2, 255], [0, 0, 0, 255]]])
"""Of three classes and more: none of 1, three unknown pixels."""
AFTER = torch.tensor([[[0, 1, 1, 2], [2, 0, 0, 2]], [[0, 2, 1, 0], [1, 0, 0, 1]]])
"""Labels of a translation: some pixels changed."""
WEIGHTS_N = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
MASK = torch.tensor([True, False, True, True]).view(1, 1, 1, 4)
RAW = torch.tensor([0.3, -0.6, 1.7, -2.2], dtype=torch.float64)
"""Raw outputs on either side of the hinge's margins, 1 and -1."""
EDGES = torch.tensor([[0.0, 1, 1, 0], [0, 1, 1, 0], [1, 1, 0, 0]], dtype=torch.float64).view(1, 1, 3, 4)
GRID = transformation.sampling_grid(torch.tensor([[[0.9, -0.2, 0.3], [0.2, 0.9, 0.1]]], dtype=torch.float64), (4, 4))
KINDS: tuple[gan.GanKind, ...] = ("lsgan", "bce", "hinge")


def rows_of_adversarial_losses() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for kind in KINDS:
        raw = RAW.clone().requires_grad_()
        for real in (True, False):
            rows[f"{kind}, {'real' if real else 'fake'}"] = Row(
                gan.discriminator_loss, (kind, raw, real), lambda loss, kind, raw, real: loss(kind, raw, real=real)
            )
        rows[f"{kind}, generator"] = Row(gan.generator_loss, (kind, raw))
    images, fakes = given(2, 3, 4, 4), fixed(1, 3, 4, 4, seed=1)
    return rows | {
        "scales, in one batch": Row(multiscale.multiscale_discriminator_loss, ("lsgan", two_scales, images, fakes)),
        "scales, two sizes": Row(
            multiscale.multiscale_discriminator_loss, ("bce", two_scales, images, fixed(1, 3, 2, 4))
        ),
        "scales, fakes through weights": Row(
            multiscale.multiscale_discriminator_loss,
            (given(1, 3, 2, 2), fixed(2, 3, 4, 4), fixed(1, 3, 4, 4, seed=1)),
            lambda loss, weight, real, fake: loss("bce", lambda x: [F.conv2d(x, weight)], real, fake),
        ),
        "scales, generator": Row(multiscale.multiscale_generator_loss, ("bce", two_scales, given(2, 3, 4, 4))),
        "r1, through weights": Row(
            logistic.r1_penalty,
            (given(2, 3, 3, 3), fixed(2, 3, 4, 4, seed=1)),
            lambda loss, weight, images: loss(lambda x: F.conv2d(x, weight).tanh().sum((1, 2, 3)), images),
        ),
        "known patches, real": Row(
            sggan.known_least_squares,
            (given(2, 1, 2, 3), torch.linspace(0, 1, 12, dtype=torch.float64).view(2, 1, 2, 3)),
            lambda loss, *inputs: loss(*inputs, real=True),
        ),
        "known patches, fake": Row(
            sggan.known_least_squares,
            (given(2, 1, 2, 3), torch.linspace(0, 1, 12, dtype=torch.float64).view(2, 1, 2, 3)),
            lambda loss, *inputs: loss(*inputs, real=False),
        ),
    }


def rows_of_losses_on_logits() -> dict[str, Row]:
    logits, more = given(2, 3, 2, 4), given(2, 5, 2, 4)
    return {
        "cross-entropy": Row(cross_entropy.cross_entropy, (logits, LABELS)),
        "cross-entropy, weighted": Row(
            cross_entropy.cross_entropy, (logits, LABELS, WEIGHTS_N, fixed(2, 2, 4, seed=1).abs())
        ),
        "cross-entropy, channels last": Row(
            cross_entropy.cross_entropy, (channels_last(logits), LABELS, WEIGHTS_N, fixed(2, 2, 4, seed=1).abs())
        ),
        "softmax": Row(softmax.softmax, (logits,)),
        "softmax, channels last": Row(softmax.softmax, (channels_last(logits),)),
        "log softmax": Row(softmax.log_softmax, (logits,)),
        "log softmax, channels last": Row(softmax.log_softmax, (channels_last(logits),)),
        "symmetric cross-entropy": Row(consistency.symmetric_cross_entropy, (fixed(2, 3, 2, 4, seed=1), logits)),
        "symmetric cross-entropy, floored": Row(
            consistency.symmetric_cross_entropy, (fixed(2, 3, 2, 4, seed=1), logits, 0.2)
        ),
        "n plus one, labelled": Row(n_plus_one.labelled_loss, (more, LABELS)),
        "n plus one, fake": Row(n_plus_one.fake_loss, (more,)),
        "segmentation cycle": Row(segmentation_cycle.cycle_loss, (more, LABELS)),
        "semantic distance": Row(cyclegan.semantic_distance, (logits, fixed(2, 3, 2, 4, seed=1))),
        "label mix": Row(label_mix.label_mix, (MASK, given(1, 2, 2, 4), given(1, 2, 2, 4, seed=1))),
        "label mix, consistency": Row(
            label_mix.label_mix_consistency, (MASK, *(given(1, 2, 2, 4, seed=seed) for seed in range(3)))
        ),
    }


def rows_of_losses_between_images() -> dict[str, Row]:
    images, scene = given(2, 3, 2, 4), given(1, 2, 3, 4)
    moved = given(1, 1, 4, 4)
    return {
        "l1": Row(consistency.l1, (images, apart(images))),
        "pair distance": Row(semgan.pair_distance, (apart(images), given(2, 3, 2, 4, seed=1), images, LABELS)),
        "objects, changed": Row(
            semgan.objects_distance,
            (apart(images), images.detach(), LABELS, AFTER),
            lambda loss, *inputs: loss(*inputs, changed=True),
        ),
        "objects, unchanged": Row(
            semgan.objects_distance,
            (apart(images), images.detach(), LABELS, AFTER),
            lambda loss, *inputs: loss(*inputs, changed=False),
        ),
        "image gradients": Row(sggan.image_gradients, (scene,)),
        "gradient-sensitive": Row(sggan.gradient_sensitive, (fixed(1, 2, 3, 4, seed=1), scene, EDGES, 0.1)),
        "moved images": Row(transformation.move_images, (moved, GRID)),
        "consistency": Row(transformation.consistency, (given(2, 3, 2, 4), apart(images), MASK.expand(2, 1, 2, 4))),
        "consistency, of moved images": Row(
            transformation.consistency,
            (moved, moved.detach() + 9),
            lambda loss, x, other: loss(other, transformation.move_images(x, GRID), transformation.inside(GRID)),
        ),
    }


def rows_of_losses_on_features_and_codes() -> dict[str, Row]:
    features, code = given(3, 4), given(2, 3)
    return {
        "feature matching": Row(
            perceptual.feature_matching,
            (features, apart(features).detach()),
            lambda loss, x, other: loss(
                [[x, 2 * x, x.sum()], [3 * x, x]], [[other, 2 * other, other], [3 * other, other]]
            ),
        ),
        "perceptual": Row(
            perceptual.perceptual,
            (features, apart(features).detach()),
            lambda loss, x, other: loss([x] * 5, [other] * 5),
        ),
        "divergence from the prior": Row(perceptual.kl_to_prior, (code, given(2, 3, seed=1))),
        "divergence of a code of unit variance": Row(unit.divergence, (given(1, 2, 2, 2),)),
    }


ROWS = (
    rows_of_adversarial_losses()
    | rows_of_losses_on_logits()
    | rows_of_losses_between_images()
    | rows_of_losses_on_features_and_codes()
)


def analytical(row: Row) -> tuple[Tensor, ...]:
    """The gradient by every input that requires one."""
    made = row.call(row.function, *row.inputs)
    # Weights of its own for each output: probabilities, say, add up to 1 whatever their logits are.
    weights = torch.linspace(1, 2, made.numel(), dtype=made.dtype).view_as(made)
    asked = [one for one in row.inputs if isinstance(one, Tensor) and one.requires_grad]
    return torch.autograd.grad((made * weights).sum(), asked)


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    # The losses compute in float32; gradcheck wants float64, so the cast is taken away.
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", ROWS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    row = ROWS[name]
    # Where a gradient is zero throughout, nothing was checked.
    assert all(gradient.abs().max() > 1e-3 for gradient in analytical(row))
    assert torch.autograd.gradcheck(lambda *inputs: row.call(row.function, *inputs), row.inputs)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", ROWS)
def test_a_gradient_of_half_the_size_would_be_told(name: str) -> None:
    row = ROWS[name]

    def wrong(*inputs: Any) -> Tensor:
        made = row.call(row.function, *inputs)
        return 0.5 * (made + made.detach())

    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(wrong, row.inputs)


def test_every_loss_of_the_package_is_in_the_table() -> None:
    modules = [importlib.import_module(f"uda.losses.{found.name}") for found in pkgutil.iter_modules(losses.__path__)]
    public = {
        f"{module.__name__.removeprefix('uda.losses.')}.{name}"
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    checked = {row.name for row in ROWS.values()}
    assert public - checked == set(NOT_LOSSES)
    assert checked - public == {"uda.translators.cyclegan.semantic_distance", "uda.translators.unit.divergence"}
