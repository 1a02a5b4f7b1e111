"""FID, KID and Inception Score on features made by hand: closed forms, torchmetrics' own, streaming, bounded states."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore as TorchmetricsScore
from torchmetrics.image.kid import KernelInceptionDistance

from uda.core.errors import DataError
from uda.metrics import inception
from uda.metrics.inception import InceptionDistances, InceptionScore, Reservoir, kernel_distance
from uda.metrics.weights import NotMeasurableError

D = 6


class Extractor(nn.Module):
    """A random-weights feature extractor of tiny images."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(2)
            self.layers = nn.Sequential(nn.Conv2d(3, D, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images_BCHW: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = self.layers(images_BCHW.float() / 255)
            return found


def images(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    top = 255 - 40 * seed
    return torch.randint(top, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)


def features(count: int, seed: int) -> Tensor:
    found: Tensor = Extractor()(images(count, seed))
    return found


def distances(**changes: Any) -> InceptionDistances:
    keys = {"kept": 1000, "subsets": 5, "subset_size": 1000, "seed": 0, "device": torch.device("cpu")}
    return InceptionDistances(D, **{**keys, **changes})


def of(real: Tensor, made: Tensor, **changes: Any) -> InceptionDistances:
    one = distances(**changes)
    one.update(real, real=True)
    one.update(made, real=False)
    return one


def test_fid_and_kid_on_a_random_network_are_torchmetrics_own() -> None:
    real, made = images(40, 0), images(40, 1)
    fid = FrechetInceptionDistance(Extractor(), input_img_size=(3, 8, 8))
    with warnings.catch_warnings(action="ignore"):  # it says that it keeps all features
        kid = KernelInceptionDistance(Extractor(), subsets=1, subset_size=40)
    for metric in (fid, kid):
        metric.update(real, real=True)
        metric.update(made, real=False)
    ours = of(Extractor()(real), Extractor()(made))
    assert ours.fid() == pytest.approx(float(fid.compute()), rel=1e-4)
    assert ours.kid() == pytest.approx(float(kid.compute()[0]), rel=1e-3)
    assert ours.fid() > 0.001


def gaussian(mean: list[float], scale: list[float]) -> Tensor:
    """Rows whose sample mean and covariance are exactly `mean` and diag(scale^2)."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(50, D, generator=generator, dtype=torch.float64)
    rows -= rows.mean(0)
    whitened: Tensor = torch.linalg.qr(rows).Q * 49**0.5
    return whitened * torch.tensor(scale) + torch.tensor(mean)


def test_fid_of_normal_distributions_in_closed_form() -> None:
    one = gaussian([0] * D, [1, 2, 3, 1, 1, 1])
    other = gaussian([3, 4, 0, 0, 0, 0], [2, 2, 1, 1, 1, 1])
    # |m1 - m2|^2 + sum (s1 - s2)^2 where the covariances are diagonal
    assert of(one, other).fid() == pytest.approx(25 + 1 + 4, rel=1e-5)


def test_fid_of_a_set_to_itself_is_zero() -> None:
    rows = features(30, 0)
    assert of(rows, rows.flip(0)).fid() == pytest.approx(0, abs=1e-4)


def test_kid_by_hand() -> None:
    real, made = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    # kernel (xy + 1)^3 of different images: within real 1, within made 27; between them 1, 1, 8, 27
    expected = 1 + 27 - 2 * (1 + 1 + 8 + 27) / 4
    assert kernel_distance(real, made, subsets=3, subset_size=9, seed=0) == pytest.approx(expected)


def test_kid_takes_subsets_and_repeats_itself() -> None:
    real, made = features(30, 0), features(50, 1)
    keys = {"subsets": 4, "subset_size": 10}
    first, again, other = (kernel_distance(real, made, seed=seed, **keys) for seed in (1, 1, 2))
    assert first == again != other
    whole = kernel_distance(real, made[:30], subsets=4, subset_size=1000, seed=0)
    assert whole == pytest.approx(kernel_distance(real, made, subsets=400, subset_size=20, seed=0), rel=0.3)


def test_batches_add_up_to_all_at_once() -> None:
    real, made = features(20, 0), features(23, 1)
    parts = distances(kept=10)
    for one in real.split(6):
        parts.update(one, real=True)
    for one in made.split(7):
        parts.update(one, real=False)
    whole = of(real, made, kept=10)
    assert parts.fid() == pytest.approx(whole.fid(), rel=1e-9)
    assert parts.kid() == pytest.approx(whole.kid(), rel=1e-9)


def test_one_set_after_another_is_held_against_the_same_real_images() -> None:
    real, first, second = features(20, 0), features(20, 1), features(25, 2)
    meter = of(real, first)
    before = meter.fid(), meter.kid()
    meter.reset()
    meter.update(second, real=False)
    alone = of(real, second)
    assert (meter.fid(), meter.kid()) == pytest.approx((alone.fid(), alone.kid()))
    assert before != pytest.approx((alone.fid(), alone.kid()))


def test_too_few_images_are_said() -> None:
    with pytest.raises(NotMeasurableError, match="needs two images of each side, one has 1"):
        of(features(5, 0), features(1, 1)).fid()
    with pytest.raises(NotMeasurableError, match="needs two images of each side, one has 0"):
        distances().kid()


def state_bytes(meter: Any) -> int:
    buffer = io.BytesIO()
    held = {key: value for key, value in vars(meter).items() if key != "_random"}
    torch.save(held.get("_fid", held), buffer)
    return len(buffer.getvalue())


def test_the_states_do_not_grow_with_the_images() -> None:
    few, many = distances(kept=8), distances(kept=8)
    scores = InceptionScore(3), InceptionScore(3)
    for meter, score, batches in ((few, scores[0], 2), (many, scores[1], 60)):
        for _ in range(batches):
            meter.update(features(8, 0), real=True)
            meter.update(features(8, 1), real=False)
            score.update(features(8, 0))
    assert state_bytes(few) == state_bytes(many)
    assert state_bytes(scores[0]) == state_bytes(scores[1])
    assert [len(one) for one in (many._real, many._made)] == [8, 8]
    assert (many._real.seen, few._real.seen) == (480, 16)


def test_a_reservoir_keeps_all_or_a_uniform_part() -> None:
    rows = torch.arange(12.0)[:, None]
    whole = Reservoir(20, 0)
    whole.update(rows)
    assert torch.equal(whole.rows(), rows)
    kept = np.zeros(12)
    for seed in range(600):
        part = Reservoir(3, seed)
        part.update(rows[:5])
        part.update(rows[5:])
        assert len(part) == 3
        kept[part.rows().flatten().int().numpy()] += 1
    # 150 expected, with a standard deviation of about 11
    assert kept.sum() == 1800 and np.abs(kept - 150).max() < 50


def test_what_a_reservoir_keeps_is_its_own() -> None:
    rows = torch.ones(2, 1)
    part = Reservoir(2, 0)
    part.update(rows)
    rows.zero_()
    assert part.rows().tolist() == [[1], [1]]


def scored(logits: Tensor, splits: int, batch: int = 100) -> float:
    one = InceptionScore(splits)
    for part in logits.split(batch):
        one.update(part)
    return one.compute()


def test_the_inception_score_in_closed_form() -> None:
    sure = torch.eye(4) * 200
    assert scored(sure, 1) == pytest.approx(4)  # each image sure, all classes alike: as many as classes
    assert scored(sure[:1].repeat(5, 1), 1) == pytest.approx(1)  # always the same class
    assert scored(torch.zeros(5, 4), 1) == pytest.approx(1)  # never sure
    # Two splits: images 0 and 2 say classes 0 and 1 (score 2), images 1 and 3 both say class 0 (score 1).
    assert scored(sure[[0, 0, 1, 0]], 2) == pytest.approx(1.5)


def test_the_inception_score_is_torchmetrics_own() -> None:
    shown = images(40, 0)
    with warnings.catch_warnings(action="ignore"):
        metric = TorchmetricsScore(nn.Sequential(Extractor(), Scaled()), splits=1)
        metric.update(shown)
        expected = float(metric.compute()[0])
    assert scored(Scaled()(Extractor()(shown)), 1) == pytest.approx(expected, rel=1e-4)
    assert expected > 1.05


class Scaled(nn.Module):
    """Makes the extractor's answers as different as logits are."""

    def forward(self, rows: Tensor) -> Tensor:
        return 100 * (rows - torch.tensor([-0.05, 0.1, 0.0, 0.05, -0.1, 0.0]))


def test_the_inception_score_streams() -> None:
    logits = 30 * features(21, 0)
    assert scored(logits, 4, batch=5) == pytest.approx(scored(logits, 4), rel=1e-12)


def test_fewer_images_than_splits_are_said() -> None:
    with pytest.raises(NotMeasurableError, match="3 images cannot fill 10 splits; make inception_splits smaller"):
        scored(torch.zeros(3, 4), 10)


def test_a_missing_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception, "_NETWORK", "torch_fidelity_that_is_not_there")
    with pytest.raises(NotMeasurableError, match="torch-fidelity is not installed; pip install torch-fidelity"):
        inception.load_inception(None, download=False)


@pytest.fixture
def library() -> Any:
    return pytest.importorskip(inception._NETWORK, reason="torch-fidelity is not installed")


def test_missing_weights_are_said(library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(NotMeasurableError, match=r"weights-inception-\S+ is not in the download cache; set inception_"):
        inception.load_inception(None, download=False)


def test_weights_of_another_network_are_refused(library: Any, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(DataError, match="holds no Inception v3 of torch-fidelity"):
        inception.load_inception(tmp_path / "other.pth", download=False)


def test_the_network_gives_features_and_logits(library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # the weights that it is built with, in the place of published ones
        patch.setattr(library, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(library.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            reference = library.FeatureExtractorInceptionV3("reference", ["2048", "logits_unbiased"])
    torch.save(reference.state_dict(), tmp_path / "inception.pth")
    network = inception.load_inception(tmp_path / "inception.pth", download=False)
    shown = torch.randint(256, (2, 3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rows, logits = network(shown)
    assert (rows.shape, logits.shape) == ((2, inception.FEATURES), (2, 1008))
    torch.testing.assert_close((rows, logits), reference(shown))
    assert not network.training and not any(one.requires_grad for one in network.parameters())
