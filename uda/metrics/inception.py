"""FID (Heusel et al. 2017), KID (Binkowski et al. 2018) and Inception Score (Salimans et al. 2016), streaming.

torchmetrics computes FID from running sums. Its KID and Inception Score keep the features of all images; here KID
keeps a uniform sample of bounded size, and the Inception Score is had exactly from sums. The network is Inception v3 of
torch-fidelity, whose weights and resizing are those of the first publications' TensorFlow graph.
"""

from __future__ import annotations

import importlib
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from uda.core.errors import DataError
from uda.metrics.weights import NotMeasurableError, find_weights
from uda.nets.pretrained import read_tensors

FEATURES = 2048
"""Of the last pooling layer, which FID and KID compare."""
_NETWORK = "torch_fidelity.feature_extractor_inceptionv3"


def load_inception(given: Path | None, *, download: bool) -> nn.Module:
    """Inception v3, frozen: uint8 RGB images of any size -> (features_BD, logits_BK), D = 2048, K = 1008.

    Args:
        given: a file of torch-fidelity's weights; None: the download cache.
        download: fetch them where they are not there.

    Raises:
        DataError: the given file is missing, cannot be read or holds other weights.
        NotMeasurableError: no weights, or torch-fidelity is not installed.
    """
    try:
        module = importlib.import_module(_NETWORK)
    except ImportError as error:
        raise NotMeasurableError("torch-fidelity is not installed", None, "pip install torch-fidelity") from error
    file = find_weights(given, module.URL_INCEPTION_V3, setting="inception_weights", download=download)
    # torch-fidelity unpickles whatever a file holds; what it gets has been read as tensors alone before.
    buffer = io.BytesIO()
    torch.save(read_tensors(file), buffer)
    buffer.seek(0)
    try:
        network: nn.Module = module.FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=buffer
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"holds no Inception v3 of torch-fidelity ({reason})", file) from error
    return network


class _Features(nn.Module):
    """Hands on features that are computed already: FID and KID share one pass through the network."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features_BD: Tensor) -> Tensor:
        """The same."""
        return features_BD


class Reservoir:
    """A uniform sample of at most `size` rows of a stream of unknown length (algorithm R, Vitter 1985).

    Args:
        size: rows that are kept at most.
        seed: of the draws; they depend on a row's place in the stream, not on how the stream is cut into batches.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seen = size, 0
        self._rows: list[Tensor] = []
        self._random = np.random.default_rng(seed)

    def update(self, rows_BD: Tensor) -> None:
        """Add some rows; they are copied to the CPU."""
        for row in rows_BD.detach().cpu():
            self.seen += 1
            if len(self._rows) < self.size:
                self._rows.append(row.clone())
            elif (place := int(self._random.integers(self.seen))) < self.size:
                self._rows[place] = row.clone()

    def rows(self) -> Tensor:
        """What is kept, (rows, D)."""
        return torch.stack(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class InceptionDistances:
    """FID and KID of one set of images after another to the same real images.

    The state is two sums of D and two of D x D numbers, and at most `kept` features of each side.

    Args:
        num_features: D, of the network.
        kept: features of each side that KID is computed from at most; a uniform sample where there are more images.
        subsets: of KID.
        subset_size: images in each of KID's subsets; all where a set has fewer.
        seed: of what is kept and of KID's subsets.
        device: where the sums live and both distances are computed.
    """

    def __init__(
        self, num_features: int, *, kept: int, subsets: int, subset_size: int, seed: int, device: torch.device
    ) -> None:
        # One process measures; torchmetrics would wait for the others of a launch.
        fid = FrechetInceptionDistance(_Features(num_features), reset_real_features=False, sync_on_compute=False)
        self._fid = fid.to(device)
        self.num_features, self._device = num_features, device
        self._kept, self._subsets, self._subset_size, self._seed = kept, subsets, subset_size, seed
        self._real, self._made = Reservoir(kept, seed), Reservoir(kept, seed)

    def update(self, features_BD: Tensor, *, real: bool) -> None:
        """Add the features of some images."""
        self._fid.update(features_BD.double(), real=real)
        (self._real if real else self._made).update(features_BD)

    def reset(self) -> None:
        """Forget the images that are judged; the real ones stay."""
        self._fid.reset()
        self._made = Reservoir(self._kept, self._seed)

    def fid(self) -> float:
        """Squared Frechet distance of the two normal distributions of the features; 0 or more, lower is better.

        Raises:
            NotMeasurableError: a side has fewer than two images.
        """
        self._check_enough()
        return float(self._fid.compute())

    def kid(self) -> float:
        """Squared MMD with a cubic kernel, unbiased, mean over random subsets; about 0 for like sets, lower is better.

        Raises:
            NotMeasurableError: a side has fewer than two images.
        """
        self._check_enough()
        real, made = (side.rows().to(self._device) for side in (self._real, self._made))
        return kernel_distance(real, made, subsets=self._subsets, subset_size=self._subset_size, seed=self._seed)

    def _check_enough(self) -> None:
        fewest = min(self._real.seen, self._made.seen)
        if fewest < 2:
            raise NotMeasurableError(f"needs two images of each side, one has {fewest}", None, "give more images")


def kernel_distance(real_ND: Tensor, made_MD: Tensor, *, subsets: int, subset_size: int, seed: int) -> float:
    """KID: mean over random subsets of the unbiased squared MMD with the kernel (x.y / D + 1)^3.

    Args:
        real_ND: features, one row an image.
        made_MD: features, one row an image.
        subsets: how many.
        subset_size: rows drawn without replacement from each side; all of the smaller side where it has fewer.
        seed: of the draws.
    """
    size = min(subset_size, len(real_ND), len(made_MD))
    real, made = real_ND.double(), made_MD.double()
    if size == len(real) == len(made):
        return float(poly_mmd(real, made))  # every subset is the whole
    generator = torch.Generator().manual_seed(seed)
    distances = [
        poly_mmd(
            real[torch.randperm(len(real), generator=generator)[:size]],
            made[torch.randperm(len(made), generator=generator)[:size]],
        )
        for _ in range(subsets)
    ]
    return float(torch.stack(distances).mean())


class InceptionScore:
    """exp of the mean divergence of an image's class probabilities from the set's, mean over splits; from sums.

    The state is `splits` rows of K sums. Image i belongs to split i mod `splits`. From 1 (all alike) to K.

    Args:
        splits: parts of the set that are scored for themselves (the paper has 10).
    """

    def __init__(self, splits: int) -> None:
        self.splits, self.images = splits, 0
        self._probability_SK = torch.zeros(splits, 0, dtype=torch.float64)
        self._negentropy_S = torch.zeros(splits, dtype=torch.float64)
        self._images_S = torch.zeros(splits, dtype=torch.int64)

    def update(self, logits_BK: Tensor) -> None:
        """Add the class logits of some images."""
        probability_BK = logits_BK.detach().cpu().double().softmax(1)
        if not self.images:
            self._probability_SK = torch.zeros(self.splits, probability_BK.shape[1], dtype=torch.float64)
        split_B = torch.arange(self.images, self.images + len(logits_BK)) % self.splits
        self._probability_SK.index_add_(0, split_B, probability_BK)
        self._negentropy_S.index_add_(0, split_B, -torch.special.entr(probability_BK).sum(1))
        self._images_S.index_add_(0, split_B, torch.ones_like(split_B))
        self.images += len(logits_BK)

    def compute(self) -> float:
        """The score; higher is better.

        Raises:
            NotMeasurableError: fewer images than splits.
        """
        if self.images < self.splits:
            mend = "make inception_splits smaller"
            raise NotMeasurableError(f"{self.images} images cannot fill {self.splits} splits", None, mend)
        mean_SK = self._probability_SK / self._images_S[:, None]
        divergence_S = self._negentropy_S / self._images_S + torch.special.entr(mean_SK).sum(1)
        return float(divergence_S.exp().mean())
