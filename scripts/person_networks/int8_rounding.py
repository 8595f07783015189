"""Rounding weights to int8 so that a layer's output, not the weight itself, changes least.

GPTQ (Frantar et al., *GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers*, 2023):
columns are rounded one after the other, and what a rounding does to the output is made up for by those not yet rounded,
given the second moments of the layer's inputs. Rows and columns are first scaled to equal size (Sinkhorn), for some
channels of a network with folded batch norms are a hundred times larger than others.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metrichmsr.people.weight_files import Int8Weight

LARGEST = 127
DAMPING = 0.01
BLOCK = 64
SAMPLES_PER_BATCH = 4096


def input_moments(network: nn.Module, names: Iterable[str], batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Sum of x·xᵀ over the inputs of the named convolutions (unfolded to patches where the kernel is larger than 1)."""
    moments: dict[str, Tensor] = {}
    generator = torch.Generator().manual_seed(0)

    def watch(name: str, conv: nn.Conv2d) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
            x = inputs[0]
            if conv.kernel_size != (1, 1):
                assert not isinstance(conv.padding, str)
                x = F.unfold(x, conv.kernel_size, stride=conv.stride, padding=conv.padding)[..., None]
            x = x.movedim(1, -1).flatten(0, -2)
            if len(x) > SAMPLES_PER_BATCH:
                x = x[torch.randperm(len(x), generator=generator)[:SAMPLES_PER_BATCH]]
            x = x.double()
            moments[name] = moments.get(name, torch.zeros(())) + x.T @ x

        return conv.register_forward_pre_hook(hook)

    handles = []
    for name in names:
        conv = network.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        handles.append(watch(name, conv))
    with torch.inference_mode():
        for batch in batches:
            network(batch)
    for handle in handles:
        handle.remove()
    return moments


def balance(weight: Tensor, *, rounds: int = 20) -> Tensor:
    """Column scales that, with row scales, give all rows and columns the same root mean square; geometric mean 1."""
    rows = torch.ones(len(weight), 1, dtype=weight.dtype)
    columns = torch.ones(weight.shape[1], dtype=weight.dtype)
    for _ in range(rounds):
        rows = rows * (weight / (rows * columns)).square().mean(1, keepdim=True).sqrt().clamp_min(1e-9)
        columns = columns * (weight / (rows * columns)).square().mean(0).sqrt().clamp_min(1e-9)
    return columns / columns.log().mean().exp()


def row_scales(weight: Tensor, importance: Tensor) -> Tensor:
    """Of some clipping ranges, for each row the one with the least error, weighted by each column's importance."""
    peak = weight.abs().amax(1).clamp_min(1e-7)
    candidates = torch.stack([(peak * part / LARGEST).half().double() for part in torch.linspace(1, 0.6, 17)])
    candidates = candidates.clamp_min(6e-8)
    rounded = (weight / candidates[..., None]).round().clamp(-LARGEST, LARGEST) * candidates[..., None]
    error = ((rounded - weight).square() * importance).sum(-1)
    return candidates.gather(0, error.argmin(0, keepdim=True))[0]


def round_to_int8(weight: Tensor, moments: Tensor) -> Int8Weight:
    """The int8 weight whose output differs least from the given one's, on inputs with these second moments."""
    flat = weight.flatten(1).double()
    columns = balance(flat).half().double()
    flat = flat / columns
    moments = moments * columns * columns[:, None]
    moments = moments + DAMPING * moments.diagonal().mean() * torch.eye(len(moments), dtype=moments.dtype)
    scale = row_scales(flat, moments.diagonal())

    order = moments.diagonal().argsort(descending=True)  # inputs that matter most are rounded first
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments[order][:, order]))
    spread = torch.linalg.cholesky(inverse, upper=True)
    left = flat[:, order].clone()
    values = torch.zeros_like(left)
    for start in range(0, left.shape[1], BLOCK):
        stop = min(start + BLOCK, left.shape[1])
        errors = torch.zeros(len(left), stop - start, dtype=left.dtype)
        for i in range(start, stop):
            values[:, i] = (left[:, i] / scale).round().clamp(-LARGEST, LARGEST)
            error = (left[:, i] - values[:, i] * scale) / spread[i, i]
            left[:, i + 1 : stop] -= error[:, None] * spread[i, i + 1 : stop]
            errors[:, i - start] = error
        left[:, stop:] -= errors @ spread[start:stop, stop:]
    unordered = torch.zeros_like(values)
    unordered[:, order] = values
    return Int8Weight(unordered.to(torch.int8), scale.float(), columns.float())
