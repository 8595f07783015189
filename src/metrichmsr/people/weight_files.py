"""Reading and writing the shipped weights: safetensors, in float16 or int8.

An int8 weight ``w`` has two float16 companions, ``w:rows`` with a scale per output channel and ``w:columns`` with one
per input channel (and kernel cell): ``w = int8 × rows × columns``. Everything becomes float32 once, at loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from metrichmsr.errors import ModelFileError

WEIGHTS_DIR = Path(__file__).resolve().parent.parent / "weights"
"""Where the checkpoints that come with the package lie."""
ROWS, COLUMNS = ":rows", ":columns"
"""Suffixes of the scales' names."""


@dataclass(frozen=True)
class Int8Weight:
    """A weight, output channels first and all else flattened, as int8 × rows × columns."""

    values: Int8[Tensor, "O I"]
    rows: Float[Tensor, "O"]
    columns: Float[Tensor, "I"]


def pack(state: Mapping[str, Tensor], int8: Mapping[str, Int8Weight]) -> dict[str, Tensor]:
    """A state dict as it is stored.

    Args:
        state: the weights.
        int8: those to store as int8; all others become float16.
    """
    packed = {}
    for name, value in state.items():
        if name in int8:
            packed[name] = int8[name].values.reshape(value.shape)
            packed[name + ROWS] = int8[name].rows.half()
            packed[name + COLUMNS] = int8[name].columns.half()
        else:
            packed[name] = value.half()
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "..."]]:
    """The float32 state dict of a stored one."""
    state = {}
    for name, value in packed.items():
        if name.endswith((ROWS, COLUMNS)):
            continue
        state[name] = value.float()
        if value.dtype == torch.int8:
            rows, columns = packed[name + ROWS].float(), packed[name + COLUMNS].float()
            state[name] = (state[name].flatten(1) * rows[:, None] * columns).reshape(value.shape)
    return state


def save_packed(path: Path, packed: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a stored state dict as safetensors."""
    save_file({name: value.contiguous() for name, value in packed.items()}, path, metadata)


def load_into(module: nn.Module, path: Path) -> None:
    """Fill a module from a stored state dict.

    The module takes the tensors as they are: it may have been made on the device ``meta``, which spares drawing random
    weights that nobody will see.

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
        module.load_state_dict(unpack(packed), assign=True)
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelFileError(f"{path}: not the weights of {type(module).__name__} ({reason})") from error
