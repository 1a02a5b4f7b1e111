"""What every pseudo-label strategy of the registry has to keep; a new method's file is picked up by itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from uda.core import registry
from uda.pseudo_labels.base import AbstractPseudoLabeller

NAMES = registry.names("pseudo_labels")
CLASSES = 4


def build(name: str) -> AbstractPseudoLabeller:
    cls = registry.load("pseudo_labels", name)
    labeller: AbstractPseudoLabeller = cls(cls.Config.tiny(), CLASSES)
    return labeller


def make_probabilities(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(2, CLASSES, 12, 10, generator=generator)).softmax(1)


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_classes_or_ignored(name: str) -> None:
    labeller = build(name)
    for seed in range(3):
        labeller.observe(make_probabilities(seed))
    labels = labeller.label(make_probabilities(0))
    assert labels.shape == (2, 12, 10) and labels.dtype == torch.int64
    values = set(labels.unique().tolist())
    assert 255 in values and values & set(range(CLASSES)) and values <= {*range(CLASSES), 255}


@pytest.mark.parametrize("name", NAMES)
def test_surer_predictions_are_believed_more(name: str) -> None:
    labeller, maps = build(name), make_probabilities(0)
    labeller.observe(maps)
    sharp = maps.log().mul(3).softmax(1)
    kept = (labeller.label(maps) != 255).float().mean()
    assert kept < (labeller.label(sharp) != 255).float().mean()


@pytest.mark.parametrize("name", NAMES)
def test_thresholds_are_confidences(name: str) -> None:
    labeller = build(name)
    untouched = labeller.thresholds()
    labeller.observe(make_probabilities(0))
    for thresholds in (untouched, labeller.thresholds()):
        assert thresholds.shape == (CLASSES,) and thresholds.dtype == np.float64
        assert ((thresholds >= 0) & (thresholds <= 1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_images_changes_nothing(name: str) -> None:
    forward, backward = build(name), build(name)
    for seed in range(3):
        forward.observe(make_probabilities(seed))
        backward.observe(make_probabilities(2 - seed))
    assert forward.thresholds().tolist() == backward.thresholds().tolist()


@pytest.mark.parametrize("name", NAMES)
def test_observing_goes_on_after_labelling_and_in_inference_mode(name: str) -> None:
    one, other = build(name), build(name)
    with torch.inference_mode():
        one.observe(make_probabilities(0))
        one.label(make_probabilities(0))
    one.observe(make_probabilities(1))
    other.observe(torch.cat((make_probabilities(0), make_probabilities(1))))
    assert one.thresholds().tolist() == other.thresholds().tolist()


@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_grow_with_the_images(name: str) -> None:
    labeller = build(name)
    sizes = []
    for seed in range(4):
        labeller.observe(make_probabilities(seed))
        sizes.append(_bytes(labeller))
    assert len(set(sizes)) == 1


def _bytes(value: Any, seen: frozenset[int] = frozenset()) -> int:
    """Bytes of all arrays and tensors that an object holds."""
    if id(value) in seen:
        return 0
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, np.ndarray):
        return value.nbytes
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    held = list(inner) + list(vars(value).values() if hasattr(value, "__dict__") else ())
    return sum(_bytes(one, seen | {id(value)}) for one in held)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_probabilities_are_fine(name: str) -> None:
    labeller, maps = build(name), make_probabilities(0)
    labeller.observe(maps.bfloat16())
    labels = labeller.label(maps.bfloat16())
    believed = labels[labels != 255]
    assert labels.dtype == torch.int64 and len(believed)


def test_every_method_and_its_settings_load_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from uda.core import registry\n"
        "for name in registry.names('pseudo_labels'):\n"
        "    cls = registry.load('pseudo_labels', name)\n"
        "    config = cls.Config.tiny()\n"
        "    assert config.name == name == cls.Config(name=name).name, name\n"
        "    assert registry.summary('pseudo_labels', name), name\n"
        "    print(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == NAMES
