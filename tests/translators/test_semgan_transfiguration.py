"""SemGAN that turns one class into another: labels, losses, and which two classes may be named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tests.translators.small_semgan import (
    CLASSES,
    NAMES,
    OFF,
    WAYS,
    context,
    cross_entropy,
    forward,
    images_of,
    make,
    make_batch,
)
from uda.core.errors import ConfigError
from uda.losses.semgan import objects_distance, transfigured, without
from uda.translators._maps import domain_maps, one_hot
from uda.translators.base import Setting
from uda.translators.semgan import Semgan, SemganConfig

# Labels and losses


@torch.no_grad()
def test_rendering_gives_the_new_labels_in_transfiguration_and_the_old_ones_in_adaptation() -> None:
    batch = make_batch()
    labels = batch.source_labels_BHW
    assert labels is not None
    kept = make().translate(batch, generator=torch.Generator())
    assert kept.labels_BHW is labels
    translator = make(mode="transfiguration", classes=(1, 2))
    made = translator.translate(batch, generator=torch.Generator())
    image, logits = forward(translator, "target", images_of(batch)["source"], one_hot(labels, CLASSES))
    assert torch.allclose(made.images_BCHW, image, atol=1e-6)
    assert made.labels_BHW is not None
    assert torch.equal(made.labels_BHW, transfigured(labels, logits.argmax(1), 1, 2))
    assert not torch.equal(made.labels_BHW, labels)


def test_transfiguration_goes_back_the_other_way() -> None:
    weights = {**OFF.model_dump(), "objects": 1.0}
    translator, batch = make(mode="transfiguration", classes=(1, 2), weights=weights), make_batch()
    x, y = images_of(batch), domain_maps(batch, "source", "target", method="semgan")
    wanted = torch.zeros(())
    for (a, b), (old, new) in zip(WAYS, ((1, 2), (2, 1)), strict=True):
        fake, logits = forward(translator, b, x[a], one_hot(y[a], CLASSES))
        after = transfigured(y[a], logits.argmax(1), old, new)
        wanted = wanted + objects_distance(fake, x[a], y[a], after, changed=False)
    assert torch.allclose(translator.losses("generator", batch, context())["objects"], wanted, rtol=1e-4)


def test_the_domain_loss_leaves_the_two_classes_free() -> None:
    weights = {**OFF.model_dump(), "domain": 1.0}
    translator, batch = make(mode="transfiguration", classes=(1, 2), weights=weights), make_batch()
    x, y = images_of(batch), domain_maps(batch, "source", "target", method="semgan")
    wanted = torch.zeros(())
    for a, b in WAYS:
        logits = forward(translator, b, x[a], one_hot(y[a], CLASSES))[1]
        wanted = wanted + cross_entropy(logits, without(y[a], (1, 2)))
    assert torch.allclose(translator.losses("generator", batch, context())["domain"], wanted, rtol=1e-4)


# What goes wrong is said in one line


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"classes": [1, 2]}, "classes are for transfiguration"),
        ({"mode": "transfiguration"}, r"two different classes: set classes to \[FROM, TO\]"),
        ({"mode": "transfiguration", "classes": [2, 2]}, "two different classes"),
        ({"mode": "transfiguration", "classes": [-1, 2]}, "greater than or equal to 0"),
    ],
)
def test_classes_must_fit_the_mode(settings: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ValidationError, match=wanted):
        SemganConfig.model_validate(settings)


def test_classes_must_be_of_the_label_space() -> None:
    with pytest.raises(ConfigError, match=r"translator\.classes: no class has index 4: the label space has 4; give"):
        make(mode="transfiguration", classes=(4, 1))


@pytest.mark.parametrize(
    ("classes", "wanted"),
    [
        (("horse", "zebre"), "no class 'zebre' in the label space; did you mean 'zebra'"),
        (("horse", 9), "no class has index 9: the label space has 4"),
        (("horse", 1), "horse and 1 are one class"),
        (("1", "2"), "no class '1' in the label space; known: grass, horse, sky, zebra"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest_one_before_anything_is_built(
    classes: tuple[Any, Any], wanted: str
) -> None:
    config = SemganConfig(mode="transfiguration", classes=classes)
    with pytest.raises(ConfigError, match=rf"translator\.classes: {wanted}"):
        Semgan.check_classes(config, Setting(CLASSES, class_names=NAMES))
    with pytest.raises(ConfigError, match=wanted):
        make(mode="transfiguration", classes=classes)


def test_right_classes_and_adaptation_pass_the_check() -> None:
    setting = Setting(CLASSES, class_names=NAMES)
    for classes in (("horse", "zebra"), (1, 2), ("horse", 2)):
        Semgan.check_classes(SemganConfig(mode="transfiguration", classes=classes), setting)
    Semgan.check_classes(SemganConfig(), setting)


@torch.no_grad()
@pytest.mark.parametrize("classes", [("horse", "zebra"), ("horse", 2)])
def test_names_mean_what_indices_mean(classes: tuple[Any, Any]) -> None:
    weights = {**OFF.model_dump(), "objects": 1.0, "domain": 1.0}
    made, terms = [], []
    for given in (classes, (1, 2), (2, 1)):
        translator = make(mode="transfiguration", classes=given, weights=weights)
        terms.append(translator.losses("generator", make_batch(), context()))
        labels = translator.translate(make_batch(), generator=torch.Generator()).labels_BHW
        assert labels is not None
        made.append(labels)
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    assert set(terms[0]) == {"objects", "domain"}
    assert all(torch.equal(terms[0][name], terms[1][name]) for name in terms[0])
