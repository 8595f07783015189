"""The scene's networks on the disk: one safetensors file that carries its config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from metrichmsr.errors import ModelFileError

Network = TypeVar("Network", bound=nn.Module)


def write_network(
    path: Path,
    network: nn.Module,
    written_format: str,
    config: str,
    *,
    state: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float16,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a network.

    Args:
        path: file, ending in .safetensors.
        network: whose weights are written.
        written_format: name and version of the format.
        config: as JSON.
        state: weights to write instead of the network's own (a moving average).
        dtype: of the weights in the file.
        notes: more text for the file's header.
    """
    weights = network.state_dict() if state is None else state
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in weights.items()}
    save_file(tensors, path, {"format": written_format, "config": config, **(notes or {})})


def read_network(path: Path, expected_format: str, make: Callable[[str], Network]) -> tuple[Network, dict[str, str]]:
    """Read a network and its notes.

    Args:
        path: the file.
        expected_format: name and version of the format.
        make: the network of a config (JSON).

    Raises:
        ModelFileError: the file is missing, damaged, of another format, or does not fit its own config.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path}: not a safetensors file, or damaged ({error})") from error
    found = notes.pop("format", None)
    if found != expected_format:
        raise ModelFileError(f"{path}: its format is {found or 'unknown'}, this version reads {expected_format}")
    try:
        network = make(notes.pop("config", ""))
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(f"{path}: its config cannot be read ({error})") from error
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelFileError(f"{path}: weights do not fit its own config ({reason})") from error
    return network, notes
