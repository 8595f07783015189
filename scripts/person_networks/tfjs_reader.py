"""Read the weights of a TensorFlow.js graph model (``model.json`` beside its ``.bin`` files) with json and NumPy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np


def read_tfjs_weights(path: Path) -> dict[str, np.ndarray]:
    """Weights by name; float weights stored as float16 or bytes come back as float32.

    Args:
        path: the ``.json`` of the model, or of its weights alone.
    """
    weights = {}
    for group in _manifest(path):
        buffer = b"".join((path.parent / name).read_bytes() for name in group["paths"])
        offset = 0
        for entry in group["weights"]:
            rule = entry.get("quantization", {})
            stored = rule.get("dtype", entry["dtype"])
            if stored not in ("float16", "float32", "int32", "uint8"):
                raise ValueError(f"{path}: weight {entry['name']} is stored as {stored}, which is not read here")
            array = np.frombuffer(buffer, stored, math.prod(entry["shape"]), offset).reshape(entry["shape"])
            offset += array.nbytes
            array = array.astype(entry["dtype"])
            weights[entry["name"]] = array * rule["scale"] + rule["min"] if stored == "uint8" else array
    return weights


def first_weight_file(path: Path) -> Path:
    """The file beside a model's ``.json`` that holds its first weights."""
    return path.parent / _manifest(path)[0]["paths"][0]


def _manifest(path: Path) -> list[dict[str, Any]]:
    document = json.loads(path.read_text())
    return document["weightsManifest"] if isinstance(document, dict) else document
