"""Reading and writing the shipped weights: safetensors, float16, or int8 per output channel with a float16 scale.

A weight ``w`` stored as int8 has a companion ``w:scale`` with one number per output channel; ``w = int8 × scale``.
Everything becomes float32 once, at loading.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from jaxtyping import Float, Int8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from metrichmsr.errors import ModelFileError

WEIGHTS_DIR = Path(__file__).resolve().parent.parent / "weights"
"""Where the checkpoints that come with the package lie."""
SCALE_SUFFIX = ":scale"


def quantize(
    weight: Float[Tensor, "O *rest"], *, candidates: int = 24
) -> tuple[Int8[Tensor, "O *rest"], Float[Tensor, "O"]]:
    """Symmetric int8 per output channel; of some clipping ranges the one with the least squared error.

    Args:
        weight: float weights, output channels first.
        candidates: how many clipping ranges to try, from the whole range down to 70 % of it.
    """
    flat = weight.flatten(1)
    peak = flat.abs().amax(1).clamp_min(1e-8)
    best_scale = best_error = None
    for fraction in torch.linspace(1.0, 0.7, candidates):
        scale = (peak * fraction / 127).half().float()
        rounded = (flat / scale[:, None]).round().clamp(-127, 127)
        error = ((rounded * scale[:, None] - flat) ** 2).sum(1)
        if best_scale is None or best_error is None:
            best_scale, best_error = scale, error
        else:
            better = error < best_error
            best_scale = torch.where(better, scale, best_scale)
            best_error = torch.where(better, error, best_error)
    assert best_scale is not None
    rounded = (flat / best_scale[:, None]).round().clamp(-127, 127)
    return rounded.to(torch.int8).reshape(weight.shape), best_scale


def pack(state: dict[str, Tensor], *, int8: Collection[str] = ()) -> dict[str, Tensor]:
    """A state dict as it is stored: the named weights in int8, all else in float16."""
    packed = {}
    for name, value in state.items():
        if name in int8:
            packed[name], scale = quantize(value.float())
            packed[name + SCALE_SUFFIX] = scale.half()
        else:
            packed[name] = value.half()
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Float[Tensor, "..."]]:
    """The float32 state dict of a stored one."""
    state = {}
    for name, value in packed.items():
        if name.endswith(SCALE_SUFFIX):
            continue
        value = value.float()
        if (scale := packed.get(name + SCALE_SUFFIX)) is not None:
            value = value * scale.float().reshape(-1, *[1] * (value.dim() - 1))
        state[name] = value
    return state


def save_packed(path: Path, packed: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a stored state dict as safetensors."""
    save_file({name: value.contiguous() for name, value in packed.items()}, path, metadata)


def load_into(module: nn.Module, path: Path) -> None:
    """Fill a module from a stored state dict.

    Raises:
        ModelFileError: the file is missing, not safetensors, or of another network.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: weights file not found; scripts/convert_person_networks.py makes it")
    try:
        with safe_open(path, framework="pt") as file:
            packed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ModelFileError(f"{path}: not a safetensors file ({error})") from error
    try:
        module.load_state_dict(unpack(packed))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelFileError(f"{path}: not the weights of {type(module).__name__} ({reason})") from error
