"""The ground: found where it is under rolled and pitched cameras, through noise and holes, and not in walls."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from metrichmsr.calibration import UpEstimate
from metrichmsr.scene.ground import Ground, find_ground, foot_clearance
from metrichmsr.structures import COCO17, Camera, Person

W, H = 320, 240
K = np.array([[260.0, 0, 163.0], [0, 258.0, 118.0], [0, 0, 1]])
CAMERA = Camera(K=K, width=W, height=H, source="given")


class Room:
    """Horizontal and vertical rectangles around a camera, ray-cast; world y up, the camera over the origin."""

    def __init__(self, pitch_deg: float, roll_deg: float = 0.0, height_m: float = 1.5) -> None:
        p, r = np.radians([pitch_deg, roll_deg])
        # World axes x right, y up, z ahead; columns: the camera's right, down, forward.
        forward = np.array([0.0, np.sin(p), np.cos(p)])
        down = np.array([0.0, -np.cos(p), np.sin(p)])
        right = np.array([1.0, 0.0, 0.0])
        turned_right = np.cos(r) * right + np.sin(r) * down
        turned_down = np.cos(r) * down - np.sin(r) * right
        self.world_from_camera = np.stack([turned_right, turned_down, forward], axis=1)
        self.up = self.world_from_camera.T @ np.array([0.0, 1.0, 0.0])
        self.height_m = height_m

    def camera_points(self, world: np.ndarray) -> np.ndarray:
        return (world - (0, self.height_m, 0)) @ self.world_from_camera

    def depth(self, *surfaces: tuple[int, float, tuple[float, float], tuple[float, float]]) -> np.ndarray:
        """Surfaces are (axis, place on it, range on the next two axes)."""
        v, u = np.mgrid[:H, :W] + 0.5
        rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T @ self.world_from_camera.T
        eye = np.array([0.0, self.height_m, 0.0])
        depth = np.full((H, W), np.inf)
        for axis, place, *ranges in surfaces:
            with np.errstate(divide="ignore", invalid="ignore"):
                z = (place - eye[axis]) / rays[..., axis]
                hit = (z > 0.1) & (z < depth)
                others = [k for k in range(3) if k != axis]
                for k, (low, high) in zip(others, ranges, strict=True):
                    at = eye[k] + z * rays[..., k]
                    hit &= (at >= low) & (at <= high)
            depth[hit] = z[hit]
        return np.where(np.isfinite(depth), depth, np.nan).astype(np.float32)

    def person(self, id: int, at: tuple[float, float], *, lowest_m: float = 0.0, pose: str = "standing") -> Person:
        """A body of boxes at (x, z) on the floor."""
        high = {"standing": (0.09, 0.5, 0.93, 1.43), "seated": (0.09, 0.5, 0.5, 1.0)}
        if pose == "lying":
            along = {"ankle": -0.8, "knee": -0.4, "hip": 0.0, "shoulder": 0.5}
            places = {part: (x, 0.15, 0.0) for part, x in along.items()}
            corners = np.array([[x, y, z] for x in (-0.95, 0.75) for y in (0.0, 0.3) for z in (-0.25, 0.25)])
        else:
            ahead = 0.45 if pose == "seated" else 0.0
            places = {
                part: (0.0, y, -ahead * (part in ("ankle", "knee")))
                for part, y in zip(("ankle", "knee", "hip", "shoulder"), high[pose], strict=True)
            }
            top = 1.7 if pose == "standing" else 1.27
            corners = np.array([[x, y, z] for x in (-0.2, 0.2) for y in (0.0, top) for z in (-ahead - 0.1, 0.15)])
        offset = np.array([at[0], lowest_m, at[1]])
        keypoints = np.tile(np.array(places["shoulder"]), (17, 1))
        for part, place in places.items():
            for side, x in (("left", 0.1), ("right", -0.1)):
                shift = (0, 0, x) if pose == "lying" else (x, 0, 0)
                keypoints[COCO17.index(f"{side}_{part}")] = np.add(place, shift)
        keypoints, vertices = (self.camera_points(points + offset) for points in (keypoints, corners))
        pelvis = keypoints[[11, 12]].mean(0)
        return Person(
            id=id,
            score=0.9,
            box_xyxy=np.zeros(4),
            body_model="anny",
            translation_m=pelvis,
            pose={"root": np.zeros(3)},
            shape={},
            height_m=1.7,
            height_std_m=0.05,
            distance_std_m=0.04 * float(np.linalg.norm(pelvis)),
            keypoints_2d_px=np.zeros((17, 3)),
            keypoints_3d_m=keypoints,
            vertices_m=vertices,
            faces=np.zeros((0, 3), dtype=int),
            joints_m=pelvis[None],
        )


FLOOR = (1, 0.0, (-20.0, 20.0), (-20.0, 20.0))
WALL = (2, 5.0, (-20.0, 20.0), (0.0, 6.0))
SIDE = (0, -2.5, (0.0, 6.0), (-20.0, 20.0))


def error_deg(ground: Ground, room: Room) -> float:
    return float(np.degrees(np.arccos(np.clip(ground.normal @ room.up, -1, 1))))


def smooth_error(seed: int, share: float) -> np.ndarray:
    field = cv2.resize(np.random.default_rng(seed).normal(size=(4, 4)), (W, H), interpolation=cv2.INTER_CUBIC)
    return np.exp(share * field / field.std()).astype(np.float32)


@pytest.mark.parametrize("pitch", [-60.0, -30.0, -10.0, 0.0, 5.0])
@pytest.mark.parametrize("roll", [-20.0, 0.0, 20.0])
@pytest.mark.parametrize("somebody", [False, True])
def test_exact_depth_gives_the_exact_ground(pitch: float, roll: float, somebody: bool) -> None:
    room = Room(pitch, roll)
    # At 60° downwards people stand nearly below the camera.
    people = [room.person(0, (0.3, 1.2 if pitch < -40 else 3.0))] if somebody else []
    ground = find_ground(room.depth(FLOOR, WALL, SIDE), CAMERA, people)
    assert ground is not None
    assert ground.source == "ground"
    assert error_deg(ground, room) < max(0.7, ground.up_std_deg)
    assert ground.offset_m == pytest.approx(1.5, abs=max(0.03, ground.offset_std_m))
    if pitch < 0:  # much floor is seen
        assert ground.up_std_deg < 4
        assert error_deg(ground, room) < 0.7
    assert np.linalg.norm(ground.normal) == pytest.approx(1)


def estimate(pitch_deg: float, roll_deg: float = 0.0, std_deg: float = 4.0) -> UpEstimate:
    """Of the roll of :class:`Room`, which turns the camera clockwise: up leans to the left then."""
    return UpEstimate(pitch_deg=pitch_deg, roll_deg=-roll_deg, pitch_std_deg=std_deg, roll_std_deg=std_deg)


@pytest.mark.parametrize(("pitch", "roll"), [(-35.0, 0.0), (-20.0, 15.0), (10.0, -12.0)])
def test_what_the_picture_tells_of_up_helps_where_people_alone_do_not(pitch: float, roll: float) -> None:
    """Somebody who sits leans as they like, and says little of up."""
    room = Room(pitch, roll)
    people = [room.person(0, (0.3, 3.0), pose="seated")]
    told = find_ground(None, CAMERA, people, up=estimate(pitch, roll))
    untold = find_ground(None, CAMERA, people)
    assert told is not None
    assert told.source == "people"
    assert error_deg(told, room) < 4
    assert told.offset_m == pytest.approx(1.5, abs=0.3)
    assert untold is None or (error_deg(told, room), told.up_std_deg) < (error_deg(untold, room), untold.up_std_deg)


def test_what_the_picture_tells_of_up_does_not_outweigh_a_floor_that_is_seen() -> None:
    room = Room(-25.0, 5.0)
    ground = find_ground(room.depth(FLOOR, WALL, SIDE), CAMERA, [], up=estimate(-5.0, -10.0))
    assert ground is not None
    assert error_deg(ground, room) < 1


@pytest.mark.parametrize("pitch", [40.0, 60.0])
def test_a_camera_that_looks_up_knows_the_ground_by_the_people(pitch: float) -> None:
    room = Room(pitch, 5.0, height_m=0.5)
    people = [room.person(i, (x, z)) for i, (x, z) in enumerate([(-0.8, 1.2), (0.7, 1.5), (0.1, 2.5)])]
    ground = find_ground(room.depth(WALL, SIDE), CAMERA, people)
    assert ground is not None
    assert error_deg(ground, room) < 8
    assert ground.offset_m == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("seed", range(4))
def test_ten_percent_of_noise_and_large_holes(seed: int) -> None:
    """Smooth error, error of every pixel, half of the picture unknown, all at once."""
    room = Room(-15.0, 6.0)
    rng = np.random.default_rng(seed)
    depth = room.depth(FLOOR, WALL, SIDE) * smooth_error(seed, 0.07) * np.exp(0.07 * rng.normal(size=(H, W)))
    holes = cv2.resize(rng.normal(size=(6, 8)), (W, H), interpolation=cv2.INTER_CUBIC)
    depth[holes > np.median(holes)] = np.nan
    ground = find_ground(depth, CAMERA, [room.person(0, (0.4, 3.0)), room.person(1, (-0.8, 3.8))])
    assert ground is not None
    assert error_deg(ground, room) < 6
    assert ground.offset_m == pytest.approx(1.5, rel=0.2)


@pytest.mark.parametrize("somebody", [False, True])
def test_a_table_in_the_foreground_is_not_the_floor(somebody: bool) -> None:
    room = Room(-18.0)
    table = (1, 0.75, (-0.8, 0.7), (0.2, 2.2))
    depth = room.depth(FLOOR, WALL, table)
    on_floor = depth == room.depth(FLOOR)
    on_table = (depth != room.depth(FLOOR, WALL)) & ~on_floor
    assert on_table.mean() > 3 * on_floor.mean() > 0.1
    people = [room.person(0, (0.2, 3.3))] if somebody else []
    ground = find_ground(depth, CAMERA, people)
    assert ground is not None
    assert ground.offset_m == pytest.approx(1.5, abs=0.05)


def test_feet_say_where_a_hidden_floor_is() -> None:
    """All that is seen of horizontal surfaces is a table; whoever stands behind it has feet."""
    room = Room(-12.0)
    table = (1, 0.75, (-0.6, 0.9), (0.2, 1.8))
    people = [room.person(i, at) for i, at in enumerate([(0.2, 2.2), (-0.7, 2.6), (0.8, 3.4)])]
    ground = find_ground(room.depth(table, WALL), CAMERA, people)
    assert ground is not None
    assert ground.offset_m == pytest.approx(1.5, abs=0.25)
    assert error_deg(ground, room) < 8


@pytest.mark.parametrize("pose", ["seated", "lying"])
def test_people_who_do_not_stand_do_not_turn_the_floor(pose: str) -> None:
    room = Room(-14.0, -8.0)
    people = [room.person(i, (x, 2.8), pose=pose) for i, x in enumerate((-0.6, 0.9))]
    ground = find_ground(room.depth(FLOOR, WALL), CAMERA, people)
    assert ground is not None
    assert error_deg(ground, room) < 1.5
    assert ground.offset_m == pytest.approx(1.5, abs=0.05)


def test_people_alone() -> None:
    room = Room(-10.0, 4.0)
    people = [room.person(i, at) for i, at in enumerate([(-1.0, 2.5), (0.8, 3.0), (0.2, 5.0)])]
    ground = find_ground(None, CAMERA, people)
    assert ground is not None
    assert ground.source == "people"
    assert ground.inlier_share == 0
    assert error_deg(ground, room) < 4
    assert ground.offset_m == pytest.approx(1.5, abs=0.2)
    one = find_ground(None, CAMERA, people[:1])
    assert one is not None
    assert one.up_std_deg > ground.up_std_deg
    assert one.offset_std_m > ground.offset_std_m


@pytest.mark.parametrize("pitch", [-20.0, 0.0, 15.0])
def test_a_wall_is_no_ground(pitch: float) -> None:
    room = Room(pitch)
    wall = (2, 3.0, (-50.0, 50.0), (-50.0, 50.0))
    assert find_ground(room.depth(wall), CAMERA, []) is None
    assert find_ground(room.depth(wall) * smooth_error(1, 0.03), CAMERA, []) is None


def test_nothing_known_is_no_ground() -> None:
    unknown = np.full((H, W), np.nan, dtype=np.float32)
    assert find_ground(None, CAMERA, []) is None
    assert find_ground(unknown, CAMERA, []) is None
    assert find_ground(np.zeros_like(unknown), CAMERA, []) is None
    room = Room(-10.0)
    depth = room.depth(FLOOR)
    assert find_ground(depth, CAMERA, [], confidence=np.zeros_like(depth)) is None
    assert find_ground(depth, CAMERA, [], person_mask=np.ones((H, W), dtype=bool)) is None


def test_depth_of_people_and_of_no_confidence_is_left_out() -> None:
    room = Room(-12.0)
    depth = room.depth(FLOOR, WALL)
    spoilt, bad = depth.copy(), np.zeros((H, W), dtype=bool)
    bad[120:, 60:200] = True
    spoilt[bad] *= 0.6
    people = [room.person(0, (0.5, 3.0))]
    by_mask = find_ground(spoilt, CAMERA, people, person_mask=bad)
    by_own = find_ground(spoilt, CAMERA, [dataclasses.replace(people[0], mask=bad)])
    by_confidence = find_ground(spoilt, CAMERA, people, confidence=np.where(bad, 0.0, 0.9).astype(np.float32))
    for ground in (by_mask, by_own, by_confidence):
        assert ground is not None
        assert ground.offset_m == pytest.approx(1.5, abs=0.02)
        assert error_deg(ground, room) < 0.5


def test_the_same_input_gives_the_same_ground() -> None:
    room = Room(-10.0, 3.0)
    depth = room.depth(FLOOR, WALL, SIDE) * smooth_error(3, 0.1)
    first, second = (find_ground(depth, CAMERA, [room.person(0, (0.0, 3.0))]) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.normal == second.normal).all()
    assert first.offset_m == second.offset_m


def test_size_of_the_picture_hardly_matters() -> None:
    room = Room(-10.0, 3.0)
    depth = room.depth(FLOOR, WALL, SIDE)
    large = np.repeat(np.repeat(depth, 4, 0), 4, 1)
    K_large = K * np.array([[4.0], [4.0], [1.0]])
    ground = find_ground(large, Camera(K=K_large, width=4 * W, height=4 * H, source="given"), [])
    assert ground is not None
    assert error_deg(ground, room) < 0.7
    assert ground.offset_m == pytest.approx(1.5, abs=0.03)
    for width, height in ((W, 2), (1, 4000), (1, 1)):
        strip = Camera(K=K, width=width, height=height, source="given")
        assert find_ground(np.full((height, width), np.nan, dtype=np.float32), strip, []) is None


def test_odd_people_are_no_obstacle() -> None:
    room = Room(-10.0)
    good = room.person(0, (0.2, 3.0))
    nan = dataclasses.replace(good, id=1, vertices_m=np.full((4, 3), np.nan))
    blind = dataclasses.replace(good, id=2, keypoints_3d_m=np.full((17, 3), np.nan), distance_std_m=np.nan)
    ground = find_ground(room.depth(FLOOR, WALL), CAMERA, [good, nan, blind])
    assert ground is not None
    assert ground.offset_m == pytest.approx(1.5, abs=0.03)
    assert find_ground(None, CAMERA, [nan]) is None
    clearance = foot_clearance([good, nan, blind], ground)
    assert set(clearance) == {0, 1, 2}
    assert np.isnan(clearance[1])


def test_maps_of_another_size_are_refused() -> None:
    depth = Room(0.0).depth(FLOOR)
    with pytest.raises(ValueError, match="depth_m is"):
        find_ground(depth[:-1], CAMERA, [])
    with pytest.raises(ValueError, match="person_mask is"):
        find_ground(depth, CAMERA, [], person_mask=np.zeros((3, 3), dtype=bool))


@pytest.mark.parametrize("lowest_m", [-0.12, 0.0, 0.35])
def test_clearance_is_the_height_of_the_lowest_vertex(lowest_m: float) -> None:
    room = Room(-17.0, 9.0, height_m=1.8)
    people = [room.person(4, (0.5, 3.0), lowest_m=lowest_m), room.person(7, (-0.5, 4.0))]
    ground = Ground(room.up, 1.8, 0.05, 1.0, 0.5, "ground")
    clearance = foot_clearance(people, ground)
    assert clearance == pytest.approx({4: lowest_m, 7: 0.0}, abs=1e-9)
