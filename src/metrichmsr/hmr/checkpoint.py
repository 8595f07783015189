"""Networks on the disk: one safetensors file that carries its config, so that nothing else is needed to load it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from metrichmsr.errors import ModelFileError
from metrichmsr.hmr.config import NetworkConfig
from metrichmsr.hmr.network import MetricHMR, build

FORMAT = "metrichmsr-hmr/1"
"""Changes whenever older files could no longer be read."""
_BEFORE: dict[str, bool] = {"gravity": False, "stature_bins": False, "tuned": False}
"""What networks were that say nothing of these parts: older than they."""


def save_network(
    path: Path,
    network: MetricHMR,
    config: NetworkConfig,
    *,
    state: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float16,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a network.

    Args:
        path: file, ending in .safetensors.
        network: whose weights are written.
        config: what it was built from.
        state: weights to write instead of the network's own (a moving average).
        dtype: of the weights in the file.
        notes: more text for the file's header (data, calibration…).
    """
    weights = network.state_dict() if state is None else state
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in weights.items()}
    metadata = {"format": FORMAT, "config": json.dumps(asdict(config), sort_keys=True), **(notes or {})}
    metadata["digest"] = digest(tensors)
    save_file(tensors, path, metadata)


def load_network(path: Path, *, device: torch.device | str = "cpu") -> tuple[MetricHMR, NetworkConfig, dict[str, str]]:
    """Read a network, its config and its notes; weights become float32, evaluation mode.

    Raises:
        ModelFileError: the file is missing, damaged, of another version, or not a network of ours.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = dict(file.metadata() or {})
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path}: not a safetensors file, or damaged ({error})") from error
    written = metadata.pop("format", None)
    if written != FORMAT:
        raise ModelFileError(f"{path}: its format is {written or 'unknown'}, this version reads {FORMAT}")
    if metadata.pop("digest", None) != digest(stored):
        raise ModelFileError(f"{path}: damaged: its weights are not those of the hash in its header")
    config = _read_config(path, metadata.pop("config", "{}"))
    tensors = {name: tensor.float() for name, tensor in stored.items()}
    if broken := [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]:
        raise ModelFileError(f"{path}: {broken[0]} holds what is no number: its training diverged")
    network = build(config)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelFileError(f"{path}: weights do not fit its own config ({reason})") from error
    return network.to(device).eval(), config, metadata


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of weights, whatever their order."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def _read_config(path: Path, text: str) -> NetworkConfig:
    try:
        values = json.loads(text)
        known = {field.name for field in fields(NetworkConfig)}
        if unknown := set(values) - known:
            raise ModelFileError(f"{path}: made by a newer version (it knows {', '.join(sorted(unknown))})")
        return NetworkConfig(**{**_BEFORE, **values})
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{path}: its config cannot be read ({error})") from error
