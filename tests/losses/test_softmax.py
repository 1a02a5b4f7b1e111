from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from uda.losses.softmax import log_softmax, softmax

FORMATS = [torch.contiguous_format, torch.channels_last]


def _logits(memory_format: torch.memory_format) -> Tensor:
    logits = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    return logits.contiguous(memory_format=memory_format).requires_grad_()


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("ours", "reference"), [(softmax, torch.softmax), (log_softmax, torch.log_softmax)])
def test_values_are_torchs_and_the_memory_format_stays(
    ours: Callable[[Tensor], Tensor], reference: Callable[[Tensor, int], Tensor], memory_format: torch.memory_format
) -> None:
    logits = _logits(memory_format)
    made = ours(logits)
    assert torch.allclose(made, reference(logits.detach(), 1), atol=1e-6)
    assert made.is_contiguous(memory_format=memory_format)
    weights = torch.rand_like(made)
    (made * weights).sum().backward()
    plain = logits.detach().contiguous().requires_grad_()
    (reference(plain, 1) * weights).sum().backward()
    assert logits.grad is not None and plain.grad is not None
    assert torch.allclose(logits.grad, plain.grad, atol=1e-6)
    assert logits.grad.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("ours", [softmax, log_softmax])
def test_bfloat16_logits_are_computed_in_float32(ours: Callable[[Tensor], Tensor]) -> None:
    logits = _logits(torch.channels_last).detach().bfloat16()
    assert ours(logits).dtype == torch.float32
    assert torch.equal(ours(logits), ours(logits.float()))
