"""MS-SSIM and LPIPS between samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
from torchvision.models import alexnet

from uda.core.errors import DataError
from uda.metrics import diversity
from uda.metrics.diversity import Diversity, ms_ssim, ms_ssim_scales
from uda.metrics.weights import NotMeasurableError


def noise(count: int, size: tuple[int, int] = (24, 32), seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, *size), generator=generator, dtype=torch.uint8)


class Difference(nn.Module):
    """Stands for LPIPS: the mean absolute difference of images in [-1, 1]."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        assert -1 <= min(one.min(), other.min()) <= max(one.max(), other.max()) <= 1
        return (one - other).abs().mean((1, 2, 3), keepdim=True)


def flat(*greys: int) -> Tensor:
    return torch.stack([torch.full((3, 24, 32), grey, dtype=torch.uint8) for grey in greys])


def test_equal_samples_have_no_diversity() -> None:
    meter = Diversity(Difference())
    meter.update(noise(1).repeat(3, 1, 1, 1))
    assert (meter.inputs, meter.pairs) == (1, 3)
    assert meter.ms_ssim() == pytest.approx(1)
    assert meter.lpips() == 0


def test_the_mean_is_over_pairs_and_then_over_inputs() -> None:
    meter = Diversity(Difference())
    meter.update(flat(0, 51, 255))  # pairs differ by 0.4, 2 and 1.6 in [-1, 1]
    meter.update(flat(0, 51))
    assert (meter.inputs, meter.pairs) == (2, 4)
    assert meter.lpips() == pytest.approx((4 / 3 + 0.4) / 2, rel=1e-5)


def test_the_more_samples_differ_the_lower_is_their_similarity() -> None:
    base = noise(1)
    values = []
    for strength in (0, 40, 120):
        change = (noise(1, seed=1).float() / 255 - 0.5) * strength
        values.append(ms_ssim(base, (base.float() + change).clamp(0, 255).to(torch.uint8)))
    assert values[0] > values[1] > values[2]


def test_five_scales_are_the_published_measure() -> None:
    one = noise(1, (180, 180))
    other = (one.float() * 0.8 + noise(1, (180, 180), seed=1).float() * 0.2).to(torch.uint8)
    expected = multiscale_structural_similarity_index_measure(one / 255, other / 255, data_range=1.0)
    assert ms_ssim_scales(180, 180) == 5
    assert ms_ssim(one, other) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("side", "scales"), [(176, 5), (175, 4), (99, 4), (98, 3), (44, 3), (43, 2), (22, 2), (21, 1), (11, 1)]
)
def test_small_images_take_the_scales_that_fit(side: int, scales: int) -> None:
    assert ms_ssim_scales(side, 2 * side) == ms_ssim_scales(300, side) == scales
    images = noise(1, (side, side))
    assert ms_ssim(images, images) == pytest.approx(1)


def test_tiny_images_are_refused() -> None:
    with pytest.raises(NotMeasurableError, match="images of 10x40 are smaller than SSIM's window; set size larger"):
        ms_ssim_scales(10, 40)


def test_one_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="one sample has no diversity"):
        Diversity(None).update(noise(1))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torchvision's AlexNet with random weights."""
    file = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = alexnet(weights=None).features.state_dict()
    torch.save({f"features.{name}": tensor for name, tensor in tensors.items()}, file)
    return file


def test_lpips_takes_its_backbone_from_a_file(weights: Path) -> None:
    before = torch.get_rng_state()
    network = diversity.load_lpips(weights, download=False)
    assert torch.equal(torch.get_rng_state(), before)
    held = torch.load(weights, weights_only=True)
    mine = network.get_submodule("net").state_dict()
    assert len(mine) == 10
    for name, tensor in mine.items():
        assert torch.equal(tensor, held[f"features.{name.split('.', 1)[1]}"])
    one, other = (noise(1, (64, 64), seed).float() / 127.5 - 1 for seed in (0, 1))
    assert float(network(one, one)) == 0
    assert float(network(one, other)) > 0  # the linear layers are there, and weigh by no negative number
    assert not network.training and not any(one.requires_grad for one in network.parameters())


def test_alexnet_takes_what_the_check_lets_pass(weights: Path) -> None:
    network = diversity.load_lpips(weights, download=False)
    for size in ((31, 40), (40, 31)):
        diversity.check_lpips_size(*size)
        assert float(network(torch.zeros(1, 3, *size), torch.zeros(1, 3, *size))) == 0
    for size in ((30, 40), (40, 30)):
        with pytest.raises(NotMeasurableError, match=rf"of {size[0]}x{size[1]} .* AlexNet takes \(31x31\); set size l"):
            diversity.check_lpips_size(*size)
        with pytest.raises(RuntimeError, match="too small"):
            network(torch.zeros(1, 3, *size), torch.zeros(1, 3, *size))


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"other.pth: holds no AlexNet of torchvision \(10 tensors"):
        diversity.load_lpips(tmp_path / "other.pth", download=False)
