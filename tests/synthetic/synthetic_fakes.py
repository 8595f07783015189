"""A generator that makes small shots of nothing, consistent in themselves, for tests of what happens to shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrichmsr.errors import InputError
from metrichmsr.synthetic.shots import NOBODY, OCCLUDED, OUTSIDE, VISIBLE, Shot, ShotPeople

BONES = 5


def look_at(pitch: float, roll: float, height_m: float) -> np.ndarray:
    """World (y up) to camera, looking along −z of the world, raised by pitch and rolled to the right."""
    level = np.diag([1.0, -1.0, -1.0])
    c, s = np.cos(pitch), np.sin(pitch)
    tilt = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    c, s = np.cos(roll), np.sin(roll)
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ tilt @ level
    matrix[:3, 3] = -matrix[:3, :3] @ [0, height_m, 0]
    return matrix.astype(np.float32)


def make_shot(
    key: str = "shot", seed: int = 0, *, size: tuple[int, int] = (64, 48), people: int = 2, fov: float = 60.0
) -> Shot:
    """A gradient with rectangles for people, whose arrays fit together."""
    rng = np.random.default_rng(seed)
    width, height = size
    focal = 0.5 * width / np.tan(np.radians(fov) / 2)
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)
    depth = np.full((height, width), np.nan, np.float32)
    depth[height // 2 :] = np.linspace(9, 2, height - height // 2, dtype=np.float32)[:, None]
    ids = np.full((height, width), NOBODY, np.uint8)
    normals = np.zeros((height, width, 3), np.int8)
    normals[height // 2 :] = (0, -127, 0)
    ground = np.zeros((height, width), bool)
    ground[height // 2 :] = True
    roots = np.stack([rng.uniform(-0.5, 0.5, people), rng.uniform(-0.2, 0.2, people), rng.uniform(3, 5, people)], -1)
    joints = (roots[:, None] + rng.normal(0, 0.3, (people, BONES, 3)) * (np.arange(BONES)[:, None] > 0)).astype("f4")
    coco, landmarks = (roots[:, None] + rng.normal(0, 0.3, (people, n, 3)) for n in (17, 33))
    pixels = [((points @ K.T)[..., :2] / (points @ K.T)[..., 2:]).astype("f4") for points in (coco, landmarks)]
    inside = [((p >= 0) & (p < (width, height))).all(-1) for p in pixels]
    visibility = [np.where(i, np.where(rng.random(i.shape) < 0.3, OCCLUDED, VISIBLE), OUTSIDE) for i in inside]
    boxes = np.zeros((people, 4), np.float32)
    for person in range(people):
        left = 4 + person * (width - 8) // max(1, people)
        boxes[person] = left, height // 4, left + 12, height - 4
        region = np.s_[height // 4 : height - 4, left : left + 12]
        ids[region], depth[region], ground[region] = person, roots[person, 2] - 0.1, False
        normals[region] = (0, 0, -127)
    gradient = np.linspace(40, 200, width)[None, :, None] * np.array([1, 0.9, 0.7]) + rng.integers(0, 20)
    image = np.broadcast_to(gradient, (height, width, 3)).round().astype(np.uint8).copy()
    image[ids != NOBODY] = (180, 90, 60)
    return Shot(
        key=key,
        image=image,
        depth_m=depth,
        normals=normals,
        person_id=ids,
        ground=ground,
        K=K,
        camera_from_world=look_at(0.1, 0.05, 1.6),
        full_K=K,
        full_size=size,
        crop_from_full=np.eye(3, dtype=np.float32),
        people=ShotPeople(
            pose=rng.normal(0, 0.3, (people, BONES, 3)).astype("f4"),
            shape=rng.uniform(0.2, 0.8, (people, 6)).astype("f4"),
            translation_m=joints[:, 0],
            height_m=rng.uniform(1.2, 1.9, people).astype("f4"),
            joints_m=joints,
            coco17_m=coco.astype("f4"),
            landmarks33_m=landmarks.astype("f4"),
            coco17_px=pixels[0],
            landmarks33_px=pixels[1],
            visibility=visibility[0].astype(np.uint8),
            visibility33=visibility[1].astype(np.uint8),
            box_xyxy=boxes,
            amodal_box_xyxy=boxes + np.array([-1, -1, 1, 1], np.float32),
            visible_share=rng.uniform(0.4, 1, people).astype("f4"),
            support=("ground", "seat", "lying", "air")[:people],
            pose_source=tuple(f"cmu/02_0{i}:{i}" for i in range(people)),
            wears=tuple(("skin_a", f"shirt_{i}") for i in range(people)),
        ),
        environment=f"room_{seed % 3}",
        settings={"noise": float(rng.random()), "weather": "süß", "jpeg": 90},
    )


class FakeSynFocal:
    """Answers as SynFocal does."""

    problems: list[str]

    def __init__(self, split: str = "train") -> None:
        self.problems = ["hat_9: cannot be read"]
        self.split = split

    def crops(self, seed: int, *, batch: int = 16) -> list[Shot]:
        if seed % 1_000_000 == 13:
            raise ValueError("an unlucky number")
        return [make_shot(f"{self.split}_{seed}_{i:02d}", 100 * seed + i, people=1 + i % 2) for i in range(batch)]

    def scene(self, seed: int) -> Shot:
        if seed % 1_000_000 == 13:
            raise InputError("hat_9.npz: broken")
        return make_shot(f"{self.split}_{seed}", seed, people=3, size=(80, 60))

    def twins(self, seed: int, *, fovs_deg: Sequence[float]) -> list[Shot]:
        return [
            make_shot(f"{self.split}_{seed}_{fov:.0f}", seed, people=1, fov=fov, size=(256, 256)) for fov in fovs_deg
        ]

    def attributions(self, shots: Sequence[Shot]) -> list[str]:
        return sorted({f"{name}: by nobody, CC0" for s in shots for worn in s.people.wears for name in worn})


@dataclass(frozen=True)
class FakeSource:
    """Stands for writer.Source; survives pickling."""

    assets: None = None
    split: str = "train"
    device: str = "cpu"
    settings: Any = None
    wind: float = 1.0

    def load(self) -> FakeSynFocal:
        return FakeSynFocal(self.split)

    def describe(self) -> dict[str, Any]:
        return {"split": self.split, "assets": None, "version": "0", "generator": {"wind": self.wind}}
