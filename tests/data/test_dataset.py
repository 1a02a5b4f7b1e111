from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.data import fakes
from uda.core.errors import DataError
from uda.data import read
from uda.data.dataset import SegmentationDataset
from uda.data.label_space import load_space
from uda.data.pairs import index_dataset
from uda.data.samples import Sample
from uda.data.spec import load_spec, mapping_table


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    pairs = index_dataset(fakes.gta5(tmp_path), load_spec("gta5")).pairs
    return [Sample(pair.image, pair.label, "gta5", tmp_path) for pair in pairs]


def test_an_item_is_the_resized_image_and_the_mapped_label(samples: list[Sample]) -> None:
    space, spec = load_space("cityscapes19"), load_spec("gta5")
    data = SegmentationDataset(samples, space, size=(6, 10))
    item = data[1]
    image = read.resize_image(read.read_image(samples[1].image), (6, 10), "bicubic")
    assert samples[1].label is not None
    label = read.resize_label(read.read_label(samples[1].label, spec, mapping_table(spec, space)), (6, 10))
    assert len(data) == 3 and item["index"] == 1
    assert item["image"].dtype == item["label"].dtype == torch.uint8
    assert np.array_equal(item["image"].numpy(), image.transpose(2, 0, 1))
    assert np.array_equal(item["label"].numpy(), label)


def test_without_labels_no_label_file_and_no_spec_is_opened(samples: list[Sample]) -> None:
    nowhere = [replace(one, label=one.image.parent / "missing.png", dataset="no such spec") for one in samples]
    data = SegmentationDataset(nowhere, None, size=(6, 10), with_labels=False)
    assert (data[0]["label"] == 255).all() and data[0]["label"].shape == (6, 10)
    for sample in samples:
        assert sample.label is not None
        sample.label.write_bytes(b"corrupt")
    blind = SegmentationDataset(samples, load_space("cityscapes19"), size=(6, 10), with_labels=False)
    assert torch.equal(
        blind[2]["image"], SegmentationDataset(nowhere, None, size=(6, 10), with_labels=False)[2]["image"]
    )
    with pytest.raises(DataError, match="cannot be decoded"):
        SegmentationDataset(samples, load_space("cityscapes19"), size=(6, 10))[0]
    with pytest.raises(ValueError, match="label space"):
        SegmentationDataset(samples, None, size=(6, 10))


def test_own_size_is_kept_and_a_label_of_another_size_follows_the_image(samples: list[Sample]) -> None:
    assert samples[0].label is not None
    fakes.save_palette(samples[0].label, fakes.blocks((24, 40), (7, 11), 0))
    data = SegmentationDataset(samples, load_space("cityscapes19"), size=None)
    assert data[0]["image"].shape == (3, *fakes.SIZE) and data[0]["label"].shape == fakes.SIZE


def test_the_cache_serves_what_fits_and_cannot_be_written_to(samples: list[Sample]) -> None:
    data = SegmentationDataset(samples, load_space("cityscapes19"), size=(10, 10), cache_mb=0.0009)
    fresh = [data[i] for i in range(3)]  # 400 bytes each: two fit into 900
    for i in (0, 1):
        samples[i].image.unlink()
        assert torch.equal(data[i]["image"], fresh[i]["image"]) and torch.equal(data[i]["label"], fresh[i]["label"])
    samples[2].image.unlink()
    with pytest.raises(DataError, match="no such file"):
        data[2]
    fresh[0]["image"].zero_()
    data[0]["label"].zero_()
    assert data[0]["image"].any() and torch.equal(data[0]["label"], fresh[0]["label"])
    with pytest.raises(ValueError, match="read-only"):
        data.sample_at(0)[0][:] = 0
    none = SegmentationDataset(samples[:0], None, size=(4, 4), with_labels=False, cache_mb=0)
    assert len(none) == 0


def test_it_goes_through_a_loader_and_to_other_processes(samples: list[Sample]) -> None:
    data = SegmentationDataset(samples, load_space("cityscapes19"), size=(6, 10))
    batch = next(iter(DataLoader(data, batch_size=3)))
    assert batch["image"].shape == (3, 3, 6, 10) and batch["label"].shape == (3, 6, 10)
    assert batch["index"].tolist() == [0, 1, 2]
    packed = pickle.dumps(data)
    assert torch.equal(pickle.loads(packed)[1]["image"], data[1]["image"])
    fresh = SegmentationDataset(samples, load_space("cityscapes19"), size=(6, 10))
    assert len(packed) == len(pickle.dumps(fresh))  # the filled cache stays behind
