"""Rooms, streets and seats around people: plain shapes of true size, textured and furnished."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from metrichmsr.synthetic.cameras import Cameras
from metrichmsr.synthetic.crowd import Crowd
from metrichmsr.synthetic.furniture import Placed, Prop
from metrichmsr.synthetic.placement import Rests
from metrichmsr.synthetic.quads import Quads
from metrichmsr.synthetic.surfaces import GROUND, PROP, ROOM

_UP = np.array([0.0, 1, 0])
_CLEAR_M = 0.08
"""Between people and things."""


@dataclass(frozen=True)
class People:
    """Where people and cameras are, on the CPU."""

    low: list[Float[np.ndarray, "p 3"]]
    """Lower corners of the boxes around each shot's people, the subject first."""
    high: list[Float[np.ndarray, "p 3"]]
    eye: Float[np.ndarray, "S 3"]
    forward: Float[np.ndarray, "S 3"]

    @staticmethod
    def of(crowd: Crowd, cameras: Cameras, points_m: Float[Tensor, "P N 3"]) -> People:
        """From tensors."""
        low, high = points_m.amin(1).cpu().numpy(), points_m.amax(1).cpu().numpy()
        shot = crowd.shot.cpu().numpy()
        rows = [np.flatnonzero(shot == i) for i in range(crowd.n_shots)]
        forward = cameras.camera_from_world[:, 2, :3].cpu().numpy().astype(np.float64)
        eye = cameras.position_m.cpu().numpy().astype(np.float64)
        return People([low[row] for row in rows], [high[row] for row in rows], eye, forward)

    def middle(self, shot: int) -> Float[np.ndarray, "3"]:
        """Below the middle of the subject, on the floor."""
        place = 0.5 * (self.low[shot][0] + self.high[shot][0])
        return np.array([place[0], 0.0, place[2]], dtype=np.float64)

    def bounds(self, shot: int) -> tuple[np.ndarray, np.ndarray]:
        """Around everybody."""
        return self.low[shot].min(0).astype(np.float64), self.high[shot].max(0).astype(np.float64)

    def distance(self, shot: int) -> float:
        """Of the camera from the subject, level."""
        return float(np.hypot(*(self.eye[shot] - self.middle(shot))[[0, 2]]))

    def away(self, shot: int) -> Float[np.ndarray, "3"]:
        """Level direction from the camera past the subject."""
        away = self.middle(shot) - self.eye[shot]
        away[1] = 0
        if np.linalg.norm(away) < 0.2:
            away = self.forward[shot] * np.array([1, 0, 1])
        norm = np.linalg.norm(away)
        return away / norm if norm > 1e-6 else np.array([0.0, 0, 1])

    def is_free(self, shot: int, x: float, z: float, radius: float) -> bool:
        """Whether a disc on the floor keeps clear of everybody and of the camera."""
        for low, high in zip(self.low[shot], self.high[shot], strict=True):
            dx, dz = max(low[0] - x, x - high[0], 0), max(low[2] - z, z - high[2], 0)
            if np.hypot(dx, dz) < radius + _CLEAR_M:
                return False
        return float(np.hypot(x - self.eye[shot, 0], z - self.eye[shot, 2])) > radius + 0.35


@dataclass(frozen=True)
class RoomStyle:
    """Textures of floors and walls by name, and pictures for frames."""

    floors: dict[str, int]
    walls: dict[str, int]
    pictures: list[int]

    def floor(self, u: np.random.Generator) -> tuple[str, int]:
        """A floor and its texture."""
        names = list(self.floors)
        name = names[int(u.integers(len(names)))]
        return name, self.floors[name]

    def wall(self, u: np.random.Generator) -> tuple[str, int]:
        """A wall and its texture."""
        names = [name for name in self.walls if name != "wall_windows"]
        name = names[int(u.integers(len(names)))]
        return name, self.walls[name]

    @staticmethod
    def tint(u: np.random.Generator) -> tuple[float, float, float]:
        """A mild one."""
        a, b, c = np.clip(u.uniform(0.45, 1.05) * np.exp(u.normal(0, 0.12, 3)), 0.05, 1.1)
        return float(a), float(b), float(c)

    @staticmethod
    def repeats(u: np.random.Generator) -> float:
        """Of a texture per metre."""
        return float(np.exp(u.uniform(np.log(0.3), np.log(1.3))))

    def wall_behind(self, quads: Quads, shot: int, people: People, u: np.random.Generator) -> list[str]:
        """One wall some way behind everybody, seen from the camera's side."""
        away = people.away(shot)
        turn = u.normal(0, 0.35)
        normal = np.array(
            [away[0] * np.cos(turn) + away[2] * np.sin(turn), 0, away[2] * np.cos(turn) - away[0] * np.sin(turn)]
        )
        low, high = people.bounds(shot)
        corners = np.array([[x, 0, z] for x in (low[0], high[0]) for z in (low[2], high[2])])
        distance = (corners @ normal).max() + 0.1 + u.exponential(1.2)
        along = np.cross(_UP, -normal)
        middle = people.middle(shot)
        middle = middle + normal * (distance - middle @ normal) + _UP * 1.5
        name, texture = self.wall(u)
        # Edges with along × up = towards the camera.
        quads.add(
            shot, middle, along * 8.0, _UP * 1.5, owner=ROOM, texture=texture, tint=self.tint(u),
            repeats_per_m=self.repeats(u), two_sided=False,
        )  # fmt: skip
        return [name]


def build_room(
    quads: Quads,
    placed: list[Placed],
    shot: int,
    people: People,
    style: RoomStyle,
    props: list[Prop],
    u: np.random.Generator,
) -> list[str]:
    """Floor, four walls and a ceiling around everybody and, where it is not far, the camera; furniture; pictures."""
    low, high = people.bounds(shot)
    eye = people.eye[shot]
    low, high = np.minimum(low, eye - 0.4), np.maximum(high, eye + 0.4)
    more = 0.25 + u.exponential(0.9, 4)
    x0, x1, z0, z1 = low[0] - more[0], high[0] + more[1], low[2] - more[2], high[2] + more[3]
    height = max(float(u.uniform(2.3, 3.2)), high[1] + 0.1)
    if eye[1] > height - 0.1 and eye[1] < 4.5:
        height = eye[1] + 0.3
    middle = np.array([(x0 + x1) / 2, 0, (z0 + z1) / 2])
    half = np.array([(x1 - x0) / 2, height / 2, (z1 - z0) / 2])
    x, z = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
    floor_name, floor = style.floor(u)
    wall_name, wall = style.wall(u)
    quads.add(
        shot, middle, x * half[0], -z * half[2], owner=GROUND, texture=floor, tint=style.tint(u),
        repeats_per_m=style.repeats(u),
        shininess=float(u.random()) * 0.6 if u.random() < 0.3 else 0.0, two_sided=False,
    )  # fmt: skip
    ceiling = (0.85, 0.84, 0.82)
    quads.add(shot, middle + _UP * height, x * half[0], z * half[2], owner=ROOM, tint=ceiling, two_sided=False)
    tint, repeats = style.tint(u), style.repeats(u)
    for normal, along, depth, width in (
        (x, z, half[0], half[2]),
        (-x, -z, half[0], half[2]),
        (z, -x, half[2], half[0]),
        (-z, x, half[2], half[0]),
    ):
        # Seen from inside: along × up points against the outward normal.
        place = middle + normal * depth + _UP * half[1]
        quads.add(
            shot,
            place,
            along * width,
            _UP * half[1],
            owner=ROOM,
            texture=wall,
            tint=tint,
            repeats_per_m=repeats,
            two_sided=False,
        )
        _decorate(quads, shot, place - normal * 0.015, along, width, height, style, u)
        if props and u.random() < 0.85:
            _along_wall(placed, shot, people, middle + normal * depth, normal, along, width, props, u)
    if props:
        scatter_props(placed, shot, people, props, u, count=int(u.integers(0, 4)), inside=(x0, x1, z0, z1))
    return [floor_name, wall_name]


def _decorate(
    quads: Quads,
    shot: int,
    place: np.ndarray,
    along: np.ndarray,
    width: float,
    height: float,
    style: RoomStyle,
    u: np.random.Generator,
) -> None:
    """Windows, doors, pictures: rectangles on a wall."""
    for _ in range(int(u.integers(0, 4))):
        kind = u.random()
        if kind < 0.25:
            half, centre = np.array([0.45, 1.0]), 1.0
            look = {"tint": RoomStyle.tint(u), "texture": style.walls["wall_panels"]}
        elif kind < 0.55:
            half, centre = np.array([u.uniform(0.4, 0.9), 0.6]), 1.5
            look = {"tint": tuple(float(v) for v in u.uniform(0.9, 1.6, 3))}
        else:
            half, centre = u.uniform(0.15, 0.5, 2), u.uniform(1.3, 1.8)
            a, b, c = u.uniform(0.05, 0.8, 3)
            look = {"tint": (float(a), float(b), float(c))}
        if width < half[0] + 0.1:
            continue
        shift = u.uniform(-1, 1) * (width - half[0])
        at = place + along * shift + _UP * (centre - height / 2)
        quads.add(shot, at, along * half[0], _UP * half[1], owner=ROOM, two_sided=False, **look)  # pyright: ignore[reportArgumentType]


def _along_wall(
    placed: list[Placed],
    shot: int,
    people: People,
    foot: np.ndarray,
    normal: np.ndarray,
    along: np.ndarray,
    width: float,
    props: list[Prop],
    u: np.random.Generator,
) -> None:
    """Furniture with its back to a wall."""
    for _ in range(int(u.integers(1, 4))):
        prop = props[int(u.integers(len(props)))]
        size = prop.size_m
        if size[0] / 2 + 0.05 > width or size[1] > 2.4 or max(size[0], size[2]) > 3:
            continue
        # Its front (+z of its own) looks into the room.
        heading = float(np.arctan2(-normal[0], -normal[2]))
        place = foot - normal * (size[2] / 2 + 0.02) + along * u.uniform(-1, 1) * (width - size[0] / 2)
        radius = 0.5 * float(np.hypot(size[0], size[2]))
        if people.is_free(shot, place[0], place[2], radius) and _fits(placed, shot, place, radius):
            placed.append(Placed(prop, shot, float(place[0]), float(place[2]), heading, tint=RoomStyle.tint(u)))


def _fits(placed: list[Placed], shot: int, place: np.ndarray, radius: float) -> bool:
    return all(
        np.hypot(item.x - place[0], item.z - place[2]) > 0.75 * (radius + 0.5 * np.hypot(*item.prop.size_m[[0, 2]]))
        for item in placed
        if item.shot == shot
    )


def scatter_props(
    placed: list[Placed],
    shot: int,
    people: People,
    props: list[Prop],
    u: np.random.Generator,
    *,
    count: int,
    inside: tuple[float, float, float, float] | None = None,
) -> None:
    """Things about people, some of them between them and the camera, none of them hiding the subject wholly."""
    middle, eye, away = people.middle(shot), people.eye[shot], people.away(shot)
    side = np.cross(_UP, away)
    for _ in range(count):
        prop = props[int(u.integers(len(props)))]
        size = prop.size_m
        radius = 0.5 * float(np.hypot(size[0], size[2]))
        if size[1] > 6 or radius > 3:
            continue
        place = middle + away * u.normal(0.4, 1.3) + side * u.normal(0, 1.4)
        if inside is not None and not (
            inside[0] + radius < place[0] < inside[1] - radius and inside[2] + radius < place[2] < inside[3] - radius
        ):
            continue
        if not people.is_free(shot, place[0], place[2], radius) or not _fits(placed, shot, place, radius):
            continue
        # Before the subject: low enough, or off the line of sight, to leave most of them to be seen.
        toward = (place - eye) @ away
        depth = max((middle - eye) @ away, 0.1)
        if 0 < toward < depth:
            off = abs((place - eye) @ side - (middle - eye) @ side * toward / depth)
            top = size[1]
            body = people.high[shot][0][1]
            line = eye[1] + (0.45 * body - eye[1]) * toward / depth
            if off < radius + 0.15 and top > line:
                continue
        placed.append(
            Placed(
                prop, shot, float(place[0]), float(place[2]), float(u.uniform(-np.pi, np.pi)), tint=RoomStyle.tint(u)
            )
        )


def build_street(
    quads: Quads,
    placed: list[Placed],
    shot: int,
    people: People,
    style: RoomStyle,
    props: list[Prop],
    u: np.random.Generator,
) -> list[str]:
    """A street: asphalt or paving, kerbs, houses on one or both sides, things of the street."""
    away, middle = people.away(shot), people.middle(shot)
    turn = u.normal(0, 0.5)
    along = np.array(
        [away[0] * np.cos(turn) + away[2] * np.sin(turn), 0, away[2] * np.cos(turn) - away[0] * np.sin(turn)]
    )
    side = np.cross(_UP, along)
    heading = float(np.arctan2(along[0], along[2]))
    floor_name = ("floor_asphalt", "floor_concrete", "floor_small_tiles")[int(u.integers(3))]
    quads.add(
        shot, middle, np.array([40.0, 0, 0]), np.array([0, 0, -40.0]), owner=GROUND, texture=style.floors[floor_name],
        tint=style.tint(u), repeats_per_m=0.7,
    )  # fmt: skip
    low, high = people.bounds(shot)
    clear = 0.5 * float(np.hypot(*(high - low)[[0, 2]])) + 1.0
    names = [floor_name]
    for sign in (-1, 1):
        if u.random() < 0.25:
            continue
        distance = clear + u.exponential(4)
        distance = max(distance, sign * float((people.eye[shot] - middle) @ side) + 1.0)
        start = -20.0
        while start < 35:
            width, height, depth = u.uniform(5, 14), u.uniform(4, 16), 5.0
            place = middle + along * (start + width / 2) + side * sign * (distance + depth) + _UP * height / 2
            name = "wall_windows" if u.random() < 0.7 else "wall_bricks"
            scale = float(u.uniform(0.1, 0.18)) if name == "wall_windows" else 0.5
            quads.box(
                shot, place, np.array([depth, height / 2, width / 2]), heading, owner=ROOM, texture=style.walls[name],
                tint=style.tint(u), repeats_per_m=scale, casts=False,
            )  # fmt: skip
            names.append(name)
            start += width + (u.exponential(2) if u.random() < 0.3 else 0.0)
    if props:
        scatter_props(placed, shot, people, props, u, count=int(u.integers(1, 6)))
    return names


def build_seats(quads: Quads, rests: Rests, shot_of_person: Int64[Tensor, "P"], style: RoomStyle, seed: int) -> None:
    """Stools, chairs, benches, boxes, beds and couches that carry people who sit or lie above the ground."""
    person = rests.person.cpu().numpy()
    shots = shot_of_person.cpu().numpy()
    seats, tops, centres = (t.cpu().numpy() for t in (rests.is_seat, rests.top_m, rests.center_m))
    forwards, halves, clear = (t.cpu().numpy() for t in (rests.forward, rests.half_m, rests.is_clear))
    for k, row in enumerate(person):
        u = np.random.default_rng((seed, 7, int(row)))
        top = float(tops[k])
        if top < 0.05:
            continue
        forward = np.array([forwards[k, 0], 0, forwards[k, 1]], dtype=np.float64)
        side = np.cross(_UP, forward)
        heading = float(np.arctan2(forward[0], forward[2]))
        across, length = (max(float(h), 0.12) for h in halves[k])
        middle = np.array([centres[k, 0], 0, centres[k, 1]], dtype=np.float64)
        textures = [-1, *style.walls.values(), *style.floors.values()]
        look = {
            "owner": PROP,
            "texture": textures[int(u.integers(len(textures)))],
            "tint": style.tint(u),
            "repeats_per_m": 1.5,
        }
        shot = int(shots[row])
        if not seats[k]:
            # A bed or couch: a mattress on a frame.
            thick = min(0.18, 0.6 * top)
            quads.box(shot, middle + _UP * (top - thick / 2), np.array([across, thick / 2, length]), heading, **look)
            look |= {"tint": style.tint(u)}
            base = np.array([across - 0.03, (top - thick) / 2, length - 0.03])
            quads.box(shot, middle + _UP * (top - thick) / 2, base, heading, **look)
            continue
        if clear[k] and u.random() < 0.45:
            quads.box(shot, middle + _UP * top / 2, np.array([across, top / 2, length]), heading, **look)
        else:
            thick = min(0.05, 0.3 * top)
            quads.box(shot, middle + _UP * (top - thick / 2), np.array([across, thick / 2, length]), heading, **look)
            for a in (-1, 1):
                for b in (-1, 1) if clear[k] else (-1,):
                    leg = middle + side * a * (across - 0.03) + forward * b * (length - 0.03) + _UP * (top - thick) / 2
                    quads.box(shot, leg, np.array([0.02, (top - thick) / 2, 0.02]), heading, **look)
        if u.random() < 0.5:
            tall = u.uniform(0.25, 0.55)
            back = middle - forward * (length + 0.025) + _UP * (top + tall / 2 + 0.05)
            quads.box(shot, back, np.array([across, tall / 2, 0.02]), heading, **look)
