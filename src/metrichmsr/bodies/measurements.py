"""What a tailor would measure on a body: lengths, breadths and girths of the standing rest body, in metres.

Everything is read off the *rest body*, which belongs to the shape alone, so that pose, clothes and camera do not
matter. Heights come from the body's own joints and the crotch; girths are the perimeter of the convex hull of a plane
section (:mod:`metrichmsr.bodies.sections`) of the part in question: arms are left out by their skin weights. The
definitions, with a picture, are in ``docs/measurements.md``; they follow ISO 7250-1 and ISO 8559-1 as far as a mesh
without bones under its skin allows.

Convention: the frame of :func:`metrichmsr.bodies.anatomy.standing`: x to the body's left, y backwards, z up. Where a
body has two of something, the right one is measured, as anthropometrists do; the arm span takes both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from metrichmsr.bodies.anatomy import Anatomy, standing
from metrichmsr.bodies.protocol import BodyModel, RestBody
from metrichmsr.bodies.sections import MeshPart, hull_girth, hull_outline, plane_crossings

LENGTHS = ("stature", "arm_span", "sitting_height", "inseam", "arm_length", "shoulder_breadth")
GIRTHS = ("head", "neck", "chest", "waist", "hip", "thigh", "calf", "upper_arm")
MEASUREMENTS = (*LENGTHS, *(f"{part}_girth" for part in GIRTHS))
"""Names of the measurements, in the order of every array of them."""

_UP = np.array([0.0, 0.0, 1.0])

# Heights of the trunk's planes as shares of the way from the crotch to the shoulder joints. The waist's is where the
# navel is, which is also midway between the lowest rib and the iliac crest (both 0.60 of stature in ANSUR II); the
# chest's is that of the nipples.
_WAIST, _CHEST = 0.42, 0.79
_BUTTOCKS = (0.08, 0.12, 0.16, 0.20, 0.24, 0.28)
"""Heights that are searched for where the buttocks protrude most."""
_NECK = (0.2, 0.3, 0.4, 0.5)
"""Places between the lowest joint of the neck and the head's that are searched for the smallest girth."""
_CALF = (0.2, 0.25, 0.3, 0.35, 0.4)
"""Places between knee and ankle that are searched for the largest girth."""
_UPPER_ARM = 0.5
_THIGH_BELOW_CROTCH = 0.03
"""By how much of the crotch's height the plane of the thigh lies below it."""
_ABOVE_EARS = 0.22
"""Height of the head's plane between eyes and crown: over the brow, above the ears."""
_DELTOID = (0.05, 0.5)
"""Stretch of the upper arm on which the deltoid is looked for."""


@dataclass(frozen=True)
class Plane:
    """A plane to cut with, in the standing frame."""

    origin_m: Float[np.ndarray, "3"]
    normal: Float[np.ndarray, "3"]


@dataclass(frozen=True)
class _Standing:
    """One rest body, and what is read off it before anything is cut."""

    vertices_m: Float[np.ndarray, "N 3"]
    """Of the ruler's ``vertex_ids``."""
    joints_m: Float[np.ndarray, "J 3"]
    eyes_m: float
    """Height of the eyes; the next three are heights too."""
    floor_m: float
    crown_m: float
    crotch_m: float


class BodyRuler:
    """Measures the bodies of one model. Making one takes a moment; measuring takes about a millisecond a body.

    Args:
        model: any body model, showing all of its vertices.

    Raises:
        ModelFileError: the model lacks a bone that measuring needs.
    """

    vertex_ids: Int[np.ndarray, "N"]
    """Vertices of the mesh that measuring looks at, ascending."""

    def __init__(self, model: BodyModel) -> None:
        needed = model.points.vertex_ids().cpu()
        if model.num_vertices < model.skin.shape[1] or (len(needed) and int(needed.max()) >= model.num_vertices):
            raise ValueError("measuring needs a model that shows all of its vertices, not a restricted one")
        self.model = model
        self.anatomy = anatomy = Anatomy.of(model)
        faces = model.faces.cpu().numpy()
        rest = model.rest(model.default_shape()[None])
        x, _, z = standing(model, rest.vertices_m.cpu().numpy())[0].T
        joints = standing(model, rest.joints_m.cpu().numpy())[0]
        shoulder, hip, knee = (joints[anatomy.right[role]] for role in ("shoulder", "hip", "knee"))
        stature = z.max() - z.min()
        neck, head = (joints[anatomy.right[role], 2] for role in ("neck", "head"))
        eyes = model.points.index[1:3].cpu().numpy()
        self._eye_weights = model.points.weight[1:3].cpu().numpy()
        parts = {
            "head": anatomy.head & (np.abs(z - head - 0.45 * (z.max() - head)) < 0.25 * (z.max() - head)),
            "neck": ~anatomy.arms & (z > neck - 0.02 * stature) & (z < 0.5 * (neck + head) + 0.025 * stature),
            "trunk": ~anatomy.arms & ~anatomy.head & (z < shoulder[2]) & (z > hip[2] - 0.08 * stature),
            "thigh": anatomy.right_leg & (z > knee[2]),
            "calf": anatomy.right_lower_leg,
            "upper_arm": anatomy.right_upper_arm,
            "shoulder": ~anatomy.head & (z > hip[2]) & (np.abs(x - shoulder[0]) < 0.4 * abs(shoulder[0])),
        }
        # Whatever can be the lowest or the highest of a body.
        ends = (z < z.min() + 0.03 * stature) | (z > z.max() - 0.05 * stature)
        points = [part.vertex_ids for part in (MeshPart.of(faces, chosen) for chosen in parts.values())]
        self.vertex_ids = ids = np.unique(
            np.concatenate(
                [*points, np.flatnonzero(ends), anatomy.midline, *anatomy.fingertips, eyes[eyes < len(z)]],
            )
        )
        row = np.full(len(z), len(ids))
        row[ids] = np.arange(len(ids))
        kept = faces[(row[faces] < len(ids)).all(axis=1)]
        self._parts = {name: MeshPart.of(row[kept], chosen[ids]) for name, chosen in parts.items()}
        self._midline = row[anatomy.midline]
        self._fingertips = [row[tip] for tip in anatomy.fingertips]
        self._deltoid_ids = row[np.flatnonzero(anatomy.right_upper_arm & np.isin(np.arange(len(z)), ids))]
        self._eyes = np.where(eyes < len(z), row[np.minimum(eyes, len(z) - 1)], eyes - len(z) + len(ids))
        self._light = model.restricted_to(torch.from_numpy(ids))

    @torch.no_grad()
    def __call__(self, shape: Float[Tensor, "B S"], *, levels_of_first: bool = False) -> Float[np.ndarray, "B M"]:
        """Measurements of bodies of these shapes, metres, in the order of :data:`MEASUREMENTS`.

        Args:
            shape: shape parameters.
            levels_of_first: where planes are searched for (hip, neck, calf), search on the first body only: quicker,
                and the same to first order for bodies like it, since such a plane is where a girth is extreme.
        """
        return self._measured(self._bodies(self._light.rest(shape)), levels_of_first)

    def measure(self, rest: RestBody) -> Float[np.ndarray, "B M"]:
        """Measurements of rest bodies with all of their vertices, metres, in the order of :data:`MEASUREMENTS`."""
        ids = torch.from_numpy(self.vertex_ids).to(rest.vertices_m.device)
        return self._measured(self._bodies(RestBody(rest.vertices_m[:, ids], rest.joints_m)), False)

    @torch.no_grad()
    def outlines(self, shape: Float[Tensor, "S"]) -> dict[str, Float[np.ndarray, "P 3"]]:
        """Where the tape lies for each girth: corners of the hull in the standing frame, metres, by name."""
        (body,) = self._bodies(self._light.rest(shape[None]))
        found = {}
        for part in GIRTHS:
            plane, points = self._section(body, part, {})
            found[f"{part}_girth"] = hull_outline(points, plane.normal)
        return found

    def _measured(self, bodies: Iterable[_Standing], levels_of_first: bool) -> Float[np.ndarray, "B M"]:
        rows, levels = [], {}
        for body in bodies:
            levels = levels if levels_of_first else {}
            rows.append([*self._lengths(body), *self._girths(body, levels)])
        return np.array(rows, dtype=np.float64).reshape(-1, len(MEASUREMENTS))

    def _bodies(self, rest: RestBody) -> Iterator[_Standing]:
        vertices = standing(self.model, rest.vertices_m.detach().cpu().numpy().astype(np.float64))
        joints = standing(self.model, rest.joints_m.detach().cpu().numpy().astype(np.float64))
        for v, j in zip(vertices, joints, strict=True):
            z = v[:, 2]
            eyes = (np.concatenate([z, j[:, 2]])[self._eyes] * self._eye_weights).sum(-1).mean()
            yield _Standing(v, j, float(eyes), float(z.min()), float(z.max()), float(z[self._midline].min()))

    def _lengths(self, body: _Standing) -> tuple[float, ...]:
        anatomy = self.anatomy
        stature = body.crown_m - body.floor_m
        right, arm, _ = _arm(body, anatomy.right, anatomy.right_finger, self._fingertips[0])
        left, _, _ = _arm(body, anatomy.left, anatomy.left_finger, self._fingertips[1])
        shoulders = body.joints_m[[anatomy.right["shoulder"], anatomy.left["shoulder"]]]
        between = float(np.linalg.norm(shoulders[0] - shoulders[1]))
        top = self._shoulder_top(body) - shoulders[0, 2]
        return (
            stature,
            between + right + left,
            body.crown_m - body.crotch_m,
            body.crotch_m - body.floor_m,
            top + arm,
            between + 2 * self._deltoid(body),
        )

    def _shoulder_top(self, body: _Standing) -> float:
        """Height of the skin above the right shoulder joint."""
        joint = body.joints_m[self.anatomy.right["shoulder"]]
        points = self._crossings(body, "shoulder", Plane(joint, np.array([1.0, 0.0, 0.0])))
        return float(points[:, 2].max())

    def _deltoid(self, body: _Standing) -> float:
        """How far the deltoid lies beside the shoulder joint when the arm hangs: it turns about that joint."""
        right = self.anatomy.right
        shoulder = body.joints_m[right["shoulder"]]
        axis, length = _direction(shoulder, body.joints_m[right["elbow"]])
        # In the frontal plane, square to the arm, away from the trunk.
        outwards = np.array([axis[2], 0.0, -axis[0]])
        outwards /= np.linalg.norm(outwards)
        offset = body.vertices_m[self._deltoid_ids] - shoulder
        along = offset @ axis / length
        beside = (along > _DELTOID[0]) & (along < _DELTOID[1])
        return float((offset[beside] @ outwards).max())

    def _girths(self, body: _Standing, levels: dict[str, int]) -> list[float]:
        sections = (self._section(body, part, levels) for part in GIRTHS)
        return [hull_girth(points, plane.normal) for plane, points in sections]

    def _section(self, body: _Standing, part: str, levels: dict[str, int]) -> tuple[Plane, Float[np.ndarray, "P 3"]]:
        """The plane of a girth, and where it crosses the skin that belongs to it."""
        joint = {role: body.joints_m[bone] for role, bone in self.anatomy.right.items()}
        shoulder_z, crotch = joint["shoulder"][2], body.crotch_m

        def level(z: float) -> Plane:
            return Plane(np.array([0.0, 0.0, z]), _UP)

        def trunk(share: float) -> Plane:
            return level(crotch + share * (shoulder_z - crotch))

        def between(start: str, end: str, share: float) -> Plane:
            axis, length = _direction(joint[start], joint[end])
            return Plane(joint[start] + share * length * axis, axis)

        score: Callable[[Plane, Float[np.ndarray, "P 3"]], float] | None = None
        if part == "head":
            planes = [level(body.eyes_m + _ABOVE_EARS * (body.crown_m - body.eyes_m))]
        elif part == "neck":
            planes, score = [between("neck", "head", share) for share in _NECK], _smallest
        elif part == "chest":
            planes = [trunk(_CHEST)]
        elif part == "waist":
            planes = [trunk(_WAIST)]
        elif part == "hip":
            planes, score = [trunk(share) for share in _BUTTOCKS], _rearmost
        elif part == "thigh":
            planes = [level(crotch - _THIGH_BELOW_CROTCH * (crotch - body.floor_m))]
        elif part == "calf":
            planes, score = [between("knee", "ankle", share) for share in _CALF], _largest
        else:
            planes = [between("shoulder", "elbow", _UPPER_ARM)]
        skin = "trunk" if part in ("chest", "waist", "hip") else part
        if score is None or part in levels:
            plane = planes[levels.get(part, 0)]
            return plane, self._crossings(body, skin, plane)
        sections = [(plane, self._crossings(body, skin, plane)) for plane in planes]
        scores = [score(*section) for section in sections]
        levels[part] = int(np.argmax(scores))
        return sections[levels[part]]

    def _crossings(self, body: _Standing, part: str, plane: Plane) -> Float[np.ndarray, "P 3"]:
        mesh = self._parts[part]
        return plane_crossings(body.vertices_m[mesh.vertex_ids], mesh.edges, plane.origin_m, plane.normal)


def _largest(plane: Plane, points: Float[np.ndarray, "P 3"]) -> float:
    return hull_girth(points, plane.normal)


def _smallest(plane: Plane, points: Float[np.ndarray, "P 3"]) -> float:
    return -hull_girth(points, plane.normal)


def _rearmost(plane: Plane, points: Float[np.ndarray, "P 3"]) -> float:
    return float(points[:, 1].max())


def _arm(
    body: _Standing, bones: dict[str, int], finger: tuple[int, ...], fingertip: Int[np.ndarray, "N"]
) -> tuple[float, float, float]:
    """Length of the stretched arm from the shoulder joint to the fingertip and to the wrist, and of the hand."""
    chain = body.joints_m[[bones["shoulder"], bones["elbow"], bones["wrist"], *finger]]
    steps = np.linalg.norm(np.diff(chain, axis=0), axis=1)
    axis, _ = _direction(chain[-2], chain[-1])
    tip = float(((body.vertices_m[fingertip] - chain[-1]) @ axis).max())
    wrist = float(steps[:2].sum())
    hand = float(steps[2:].sum()) + tip
    return wrist + hand, wrist, hand


def _direction(start: Float[np.ndarray, "3"], end: Float[np.ndarray, "3"]) -> tuple[Float[np.ndarray, "3"], float]:
    length = float(np.linalg.norm(end - start))
    return (end - start) / length, length
