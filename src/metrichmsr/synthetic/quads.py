"""Rectangles and boxes as surfaces, gathered one by one and made into tensors at once."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from metrichmsr.synthetic.surfaces import Materials, Surfaces

_SIDES = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)), ((-1, 0, 0), (0, 0, 1), (0, 1, 0)), ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    ((0, -1, 0), (1, 0, 0), (0, 0, 1)), ((0, 0, 1), (1, 0, 0), (0, 1, 0)), ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
)  # fmt: skip
"""Outward normal and two edges of a box' sides, with edge × edge = normal."""


class Quads:
    """Collects rectangles in world frames of shots."""

    def __init__(self) -> None:
        self._corners: list[np.ndarray] = []
        self._normals: list[np.ndarray] = []
        self._uv: list[np.ndarray] = []
        self._rows: list[tuple[int, int, bool, bool]] = []
        self._looks: list[tuple[int, tuple[float, float, float], float]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        shot: int,
        middle: Float[np.ndarray, "3"],
        a: Float[np.ndarray, "3"],
        b: Float[np.ndarray, "3"],
        *,
        owner: int,
        texture: int = -1,
        tint: tuple[float, float, float] = (0.6, 0.6, 0.6),
        repeats_per_m: float | None = None,
        turned: bool = False,
        two_sided: bool = True,
        casts: bool = False,
        shininess: float = 0.0,
    ) -> None:
        """A rectangle with half edges a and b; its front is where a × b points.

        Args:
            shot: its shot.
            middle: world, metres.
            a: half an edge.
            b: half the other edge.
            owner: constant of :mod:`metrichmsr.synthetic.surfaces`.
            texture: in the pool; −1 for none, −2 to show the background.
            tint: linear albedo factor.
            repeats_per_m: of the texture; None shows it once.
            turned: texture by a quarter.
            two_sided: seen from behind as well.
            casts: a shadow.
            shininess: of its highlight.
        """
        middle, a, b = (np.asarray(t, dtype=np.float64) for t in (middle, a, b))
        normal = np.cross(a, b)
        self._corners.append(np.stack([middle - a - b, middle + a - b, middle + a + b, middle - a + b]))
        self._normals.append(normal / np.linalg.norm(normal))
        uv = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
        if repeats_per_m is not None:
            uv = uv * 2 * np.array([np.linalg.norm(a), np.linalg.norm(b)]) * repeats_per_m
        self._uv.append(uv[:, ::-1] if turned else uv)
        self._rows.append((shot, owner, two_sided, casts))
        self._looks.append((texture, tint, shininess))

    def box(
        self,
        shot: int,
        middle: Float[np.ndarray, "3"],
        half: Float[np.ndarray, "3"],
        heading: float = 0.0,
        *,
        owner: int,
        texture: int = -1,
        tint: tuple[float, float, float] = (0.6, 0.6, 0.6),
        repeats_per_m: float | None = None,
        casts: bool = True,
        shininess: float = 0.0,
    ) -> None:
        """A box turned about the vertical: its z looks along the heading. Arguments as of :meth:`add`."""
        sin, cos = np.sin(heading), np.cos(heading)
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        for normal, a, b in _SIDES:
            place, first, second = (turn @ (np.array(t) * half) for t in (normal, a, b))
            self.add(
                shot,
                np.asarray(middle) + place,
                first,
                second,
                owner=owner,
                texture=texture,
                tint=tint,
                repeats_per_m=repeats_per_m,
                two_sided=False,
                casts=casts,
                shininess=shininess,
            )

    def surfaces(self, device: torch.device | str = "cpu") -> Surfaces:
        """All of them; there must be one at least."""
        count = len(self._rows)

        def tensor(values: object, dtype: torch.dtype) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device, dtype)

        first = 4 * np.arange(count)[:, None]
        faces = np.concatenate([first + [[0, 1, 2]], first + [[0, 2, 3]]], axis=1).reshape(-1, 3)
        rows = np.array(self._rows, dtype=np.int64)
        texture = np.array([look[0] for look in self._looks])
        per_face = rows.repeat(2, axis=0)
        index = tensor(faces, torch.int64)
        return Surfaces(
            vertices_m=tensor(np.concatenate(self._corners), torch.float32),
            normals=tensor(np.array(self._normals).repeat(4, axis=0), torch.float32),
            uv=tensor(np.concatenate(self._uv), torch.float32),
            shot_of_vertex=tensor(rows[:, 0].repeat(4), torch.int64),
            faces=index,
            face_uv=index,
            owner=tensor(per_face[:, 1], torch.int64),
            material=torch.arange(count, device=device).repeat_interleave(2),
            color=torch.ones(2 * count, 3, device=device),
            two_sided=tensor(per_face[:, 2], torch.bool),
            casts_shadow=tensor(per_face[:, 3], torch.bool),
            materials=Materials(
                texture=tensor(texture, torch.int64),
                tint=tensor(np.array([look[1] for look in self._looks]), torch.float32),
                gray=torch.zeros(count, device=device),
                pattern=torch.full((count,), -1, device=device),
                pattern_scale=torch.ones(count, device=device),
                cutout=torch.zeros(count, dtype=torch.bool, device=device),
                shininess=tensor(np.array([look[2] for look in self._looks]), torch.float32),
            ),
        )
