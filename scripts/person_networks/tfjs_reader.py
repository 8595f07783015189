"""Read the weights of a TensorFlow.js graph model (``model.json`` beside its ``.bin`` files) with json and NumPy."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np


def read_tfjs_weights(path: Path) -> dict[str, np.ndarray]:
    """Weights by name; float weights stored as float16 come back as float32.

    Args:
        path: the ``.json`` of the model.
    """
    manifest = json.loads(path.read_text())["weightsManifest"]
    weights = {}
    for group in manifest:
        buffer = b"".join((path.parent / name).read_bytes() for name in group["paths"])
        offset = 0
        for entry in group["weights"]:
            stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
            if stored not in ("float16", "float32", "int32"):
                raise ValueError(f"{path}: weight {entry['name']} is stored as {stored}, which is not read here")
            array = np.frombuffer(buffer, stored, math.prod(entry["shape"]), offset).reshape(entry["shape"])
            weights[entry["name"]] = array.astype(entry["dtype"])
            offset += array.nbytes
    return weights
