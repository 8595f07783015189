"""Things that stand about: coloured meshes of an asset folder in their true size, or plain boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from metrichmsr.synthetic.assets import AssetFolder
from metrichmsr.synthetic.splits import Split, of_split
from metrichmsr.synthetic.surfaces import PROP, Materials, Surfaces

_TO_WORLD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""Assets: z up, front −y. World: y up; a prop of heading 0 looks along +z."""


@dataclass(frozen=True)
class Prop:
    """One thing, its own origin on the floor below its middle."""

    name: str
    vertices_m: Float[np.ndarray, "3F 3"]
    """Corners of its faces, each face with its own, world axes."""
    normals: Float[np.ndarray, "3F 3"]
    color: Float[np.ndarray, "F 3"]
    """Linear albedo of each face."""

    @property
    def size_m(self) -> Float[np.ndarray, "3"]:
        """Extent along x, y (up), z."""
        return np.ptp(self.vertices_m, axis=0)

    @property
    def is_outdoor(self) -> bool:
        """Whether it belongs in a street or a field."""
        return "street" in self.name or "nature" in self.name


@dataclass(frozen=True)
class Placed:
    """A prop somewhere."""

    prop: Prop
    shot: int
    x: float
    z: float
    heading: float
    scale: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


def read_props(assets: AssetFolder | None, split: Split) -> list[Prop]:
    """Floor-standing props of a split; none without a furniture folder."""
    if assets is None or not assets.has("furniture"):
        return []
    data = assets.read_npz(assets.path / "furniture" / "furniture.npz")
    if data is None:
        return []
    names = [str(name) for name in data["name"]]
    props = []
    for i in of_split(range(len(names)), names, split):
        rows, faces = (
            slice(data["v0"][i], data["v0"][i] + data["nv"][i]),
            slice(data["f0"][i], data["f0"][i] + data["nf"][i]),
        )
        vertices = data["V"][rows].astype(np.float64) @ _TO_WORLD.T
        corners = data["F"][faces].astype(int)
        low, high = vertices.min(0), vertices.max(0)
        if len(corners) > 6000 or abs(low[1]) > 0.15 or (high - low).max() < 0.15 or (high - low)[[0, 2]].max() > 6:
            continue
        vertices = vertices - np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
        points = vertices[corners]
        normals = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9)
        colour = (data["color"][faces].astype(np.float64) / 255) ** 2.2
        props.append(Prop(names[i], points.reshape(-1, 3), normals.repeat(3, axis=0), colour))
    return props


def place_props(placed: list[Placed], device: torch.device | str) -> Surfaces:
    """Surfaces of placed props; there must be one at least."""
    vertices, normals, shots, colours, counts = [], [], [], [], []
    for item in placed:
        sin, cos = np.sin(item.heading), np.cos(item.heading)
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        vertices.append(item.scale * item.prop.vertices_m @ turn.T + np.array([item.x, 0, item.z]))
        normals.append(item.prop.normals @ turn.T)
        shots.append(np.full(len(item.prop.vertices_m), item.shot))
        colours.append(item.prop.color * np.array(item.tint))
        counts.append(len(item.prop.color))
    total = sum(counts)

    def tensor(values: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device, dtype)

    return Surfaces(
        vertices_m=tensor(np.concatenate(vertices)),
        normals=tensor(np.concatenate(normals)),
        uv=torch.zeros(1, 2, device=device),
        shot_of_vertex=tensor(np.concatenate(shots), torch.int64),
        faces=torch.arange(3 * total, device=device).view(-1, 3),
        face_uv=torch.zeros(total, 3, dtype=torch.int64, device=device),
        owner=torch.full((total,), PROP, device=device),
        material=torch.zeros(total, dtype=torch.int64, device=device),
        color=tensor(np.concatenate(colours)),
        two_sided=torch.ones(total, dtype=torch.bool, device=device),
        casts_shadow=torch.ones(total, dtype=torch.bool, device=device),
        materials=Materials(
            texture=torch.full((1,), -1, device=device),
            tint=torch.ones(1, 3, device=device),
            gray=torch.zeros(1, device=device),
            pattern=torch.full((1,), -1, device=device),
            pattern_scale=torch.ones(1, device=device),
            cutout=torch.zeros(1, dtype=torch.bool, device=device),
            shininess=torch.zeros(1, device=device),
        ),
    )
