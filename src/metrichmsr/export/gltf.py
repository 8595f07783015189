"""A small builder of binary glTF 2.0 files.

A glTF document is a set of lists (``nodes``, ``meshes``, ``skins``, ``animations``…) whose entries refer to each other
by index, and one block of bytes. :meth:`GltfBuilder.add` appends an entry to any of the lists,
:meth:`GltfBuilder.array` and :meth:`GltfBuilder.image` put bytes into the block; so a mesh with joints and weights, a
skin, an animation or a texture needs no new machinery.

Source: Khronos Group, glTF 2.0 specification (ISO/IEC 12113:2022), §3.6 (buffers), §3.7 (geometry), §4.4 (GLB layout).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

_COMPONENT_TYPES = {
    np.dtype(np.uint8): 5121,
    np.dtype(np.uint16): 5123,
    np.dtype(np.uint32): 5125,
    np.dtype(np.float32): 5126,
}
_ELEMENT_TYPES: dict[tuple[int, ...], str] = {
    (): "SCALAR",
    (2,): "VEC2",
    (3,): "VEC3",
    (4,): "VEC4",
    (4, 4): "MAT4",
}
_TARGETS = {"vertices": 34962, "indices": 34963}


class GltfBuilder:
    """Collects a glTF document and its bytes; :meth:`to_glb` puts them together."""

    def __init__(self, *, generator: str, extras: Mapping[str, Any] | None = None) -> None:
        asset: dict[str, Any] = {"version": "2.0", "generator": generator}
        if extras:
            asset["extras"] = dict(extras)
        self.document: dict[str, Any] = {"asset": asset}
        self._bytes = bytearray()

    def add(self, kind: str, entry: Mapping[str, Any]) -> int:
        """Append an entry to the list ``kind`` (``nodes``, ``materials``, ``skins``…); returns its index there."""
        entries: list[Any] = self.document.setdefault(kind, [])
        entries.append(dict(entry))
        return len(entries) - 1

    def array(
        self, values: np.ndarray, *, target: Literal["vertices", "indices"] | None = None, bounds: bool = False
    ) -> int:
        """Store an array; returns its accessor's index.

        Args:
            values: uint8, uint16, uint32 or float32; first axis counts the elements. Matrices are given row by row as
                usual and stored column by column as glTF wants them.
            target: What a graphics card will use it for: vertex attributes or triangle corners; None for anything
                else (inverse bind matrices, animation times).
            bounds: Store minimum and maximum too (required of POSITION and of animation times).
        """
        component_type = _COMPONENT_TYPES[values.dtype]
        accessor: dict[str, Any] = {
            "componentType": component_type,
            "count": len(values),
            "type": _ELEMENT_TYPES[values.shape[1:]],
        }
        if bounds:
            flat = values.reshape(len(values), -1)
            accessor["min"] = [value.item() for value in flat.min(axis=0)]
            accessor["max"] = [value.item() for value in flat.max(axis=0)]
        if values.ndim == 3:
            values = values.swapaxes(1, 2)
        little_endian = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        accessor["bufferView"] = self._view(little_endian.tobytes(), target)
        return self.add("accessors", accessor)

    def image(self, encoded: bytes, *, mime_type: Literal["image/png", "image/jpeg"]) -> int:
        """Store an encoded picture; returns its index in ``images``."""
        return self.add("images", {"bufferView": self._view(encoded, None), "mimeType": mime_type})

    def mesh(
        self,
        name: str,
        attributes: Mapping[str, np.ndarray],
        triangles: np.ndarray,
        *,
        material: int | None = None,
        targets: np.ndarray | None = None,
        target_weights: np.ndarray | None = None,
    ) -> int:
        """Store a mesh of one primitive; returns its index in ``meshes``.

        Args:
            name: Name shown by other programs.
            attributes: ``POSITION`` and any of glTF's others (``NORMAL``, ``TEXCOORD_0``, ``JOINTS_0``, ``WEIGHTS_0``),
                each with one row a vertex.
            triangles: F×3 vertex indices, counter-clockwise seen from outside.
            material: Index in ``materials``.
            targets: K×V×3 morph targets: what each adds to POSITION, float32.
            target_weights: K shares of them where nothing animates the mesh.
        """
        primitive: dict[str, Any] = {
            "attributes": {
                key: self.array(values, target="vertices", bounds=key == "POSITION")
                for key, values in attributes.items()
            },
            "indices": self.array(triangles.astype(np.uint32).ravel(), target="indices"),
        }
        if material is not None:
            primitive["material"] = material
        if targets is not None and len(targets):
            primitive["targets"] = [
                {"POSITION": self.array(target, target="vertices", bounds=True)} for target in targets
            ]
        entry: dict[str, Any] = {"name": name, "primitives": [primitive]}
        if target_weights is not None and len(target_weights):
            entry["weights"] = target_weights.tolist()
        return self.add("meshes", entry)

    def to_glb(self) -> bytes:
        """The finished file: header, JSON chunk, binary chunk."""
        document = dict(self.document)
        if self._bytes:
            document["buffers"] = [{"byteLength": len(self._bytes)}]
        text = json.dumps(document, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()
        chunks = [(b"JSON", text + b" " * (-len(text) % 4))]
        if self._bytes:
            chunks.append((b"BIN\0", bytes(self._bytes) + b"\0" * (-len(self._bytes) % 4)))
        body = b"".join(struct.pack("<I", len(data)) + kind + data for kind, data in chunks)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body

    def _view(self, data: bytes, target: Literal["vertices", "indices"] | None) -> int:
        self._bytes.extend(b"\0" * (-len(self._bytes) % 4))  # accessors start at multiples of their component size
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self._bytes), "byteLength": len(data)}
        if target is not None:
            view["target"] = _TARGETS[target]
        self._bytes.extend(data)
        return self.add("bufferViews", view)
