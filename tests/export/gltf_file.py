"""A glTF file as a viewer takes it: evaluated from the file's own accessors, by the specification's formulas."""

from __future__ import annotations

import copy

import numpy as np
import pytest

pygltflib = pytest.importorskip("pygltflib")

_DTYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Gltf:
    """A file as pygltflib reads it, and what a viewer makes of it."""

    def __init__(self, data: bytes) -> None:
        self.file = pygltflib.GLTF2().load_from_bytes(data)
        self.nodes = self.file.nodes
        self.parent = {child: i for i, node in enumerate(self.nodes) for child in node.children or ()}

    def values(self, accessor: int) -> np.ndarray:
        entry = self.file.accessors[accessor]
        view = self.file.bufferViews[entry.bufferView]
        width = _WIDTHS[entry.type]
        values = np.frombuffer(
            self.file.binary_blob(), _DTYPES[entry.componentType], entry.count * width, view.byteOffset
        ).reshape(-1, width)
        return values.reshape(-1, 4, 4).swapaxes(1, 2) if width == 16 else values

    def weights(self, attributes) -> tuple[np.ndarray, np.ndarray]:
        """All sets side by side: weights and joints."""
        sets = range(1 if attributes.WEIGHTS_1 is None else 2)
        weights = [self.values(getattr(attributes, f"WEIGHTS_{n}")) for n in sets]
        joints = [self.values(getattr(attributes, f"JOINTS_{n}")) for n in sets]
        return np.hstack(weights), np.hstack(joints)

    def index(self, name: str) -> int:
        """The node that shows the mesh of this name."""
        (found,) = (i for i, node in enumerate(self.nodes) if node.name == name and node.mesh is not None)
        return found

    def at(self, time_s: float) -> Gltf:
        """The file with its nodes as its only animation has them at a time (§3.11)."""
        (animation,) = self.file.animations
        still = copy.copy(self)
        still.nodes = [copy.copy(node) for node in self.nodes]
        for channel in animation.channels:
            sampler = animation.samplers[channel.sampler]
            value = self._sample(sampler, channel.target.path, time_s)
            setattr(still.nodes[channel.target.node], channel.target.path, value)
        return still

    def _sample(self, sampler, path: str, time_s: float) -> np.ndarray:
        times = self.values(sampler.input)[:, 0]
        values = self.values(sampler.output).astype(float).reshape(len(times), -1)
        before = int(np.clip(np.searchsorted(times, time_s, side="right") - 1, 0, len(times) - 1))
        after = min(before + 1, len(times) - 1)
        if sampler.interpolation == "STEP" or after == before or time_s <= times[before]:
            return values[before]
        share = (time_s - times[before]) / (times[after] - times[before])
        if path == "rotation":
            return _slerp(values[before], values[after], share)
        return (1 - share) * values[before] + share * values[after]

    def world(self, node: int, turns: dict[int, np.ndarray] | None = None) -> np.ndarray:
        """Global matrix; ``turns`` rotates nodes further, in their own axes."""
        entry = self.nodes[node]
        local = np.eye(4) if entry.matrix is None else np.reshape(entry.matrix, (4, 4)).T.astype(float)
        if entry.rotation is not None:
            x, y, z, w = entry.rotation
            cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
            local[:3, :3] = np.eye(3) + 2 * w * cross + 2 * cross @ cross
        if entry.scale is not None:
            local[:3, :3] = local[:3, :3] * entry.scale
        if entry.translation is not None:
            local[:3, 3] = entry.translation
        if turns and node in turns:
            local[:3, :3] = local[:3, :3] @ turns[node]
        return self.world(self.parent[node], turns) @ local if node in self.parent else local

    def skinned(self, name: str, turns: dict[int, np.ndarray] | None = None) -> np.ndarray:
        """Vertices of a skinned mesh in the world: Σ w · joint · inverse bind · v (§3.7.3.3); its node counts not."""
        node = self.nodes[self.index(name)]
        skin = self.file.skins[node.skin]
        primitive = self.file.meshes[node.mesh].primitives[0]
        inverse = self.values(skin.inverseBindMatrices).astype(float)
        matrices = np.stack([self.world(j, turns) @ inverse[i] for i, j in enumerate(skin.joints)])
        weights, joints = self.weights(primitive.attributes)
        vertices = self.values(primitive.attributes.POSITION).astype(float)
        weights_of_targets = getattr(node, "weights", None)  # where an animation has set them
        if weights_of_targets is None:
            weights_of_targets = self.file.meshes[node.mesh].weights or ()
        for weight, target in zip(weights_of_targets, primitive.targets or (), strict=True):
            vertices = vertices + weight * self.values(target["POSITION"])
        points = np.column_stack([vertices, np.ones(len(weights))])
        return np.einsum("vk,vkab,vb->va", weights, matrices[joints], points)[:, :3]


def _slerp(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    along = float(a @ b)
    b, along = (-b, -along) if along < 0 else (b, along)
    angle = np.arccos(min(along, 1.0))
    if angle < 1e-6:
        return a
    return (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
