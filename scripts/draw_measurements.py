"""Draws ``docs/images/measurements.jpg``: where the tape lies on a body, seen from the front and from the right.

python scripts/draw_measurements.py docs/images/measurements.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.measurements import MEASUREMENTS, BodyRuler
from metrichmsr.rendering import rasterize, shade

HEIGHT, FRONT, SIDE = 860, 860, 380
AWAY_M = 12.0
PX_PER_M = 455.0
SKIN = (0.78, 0.74, 0.70)
GIRTH, LENGTH, TEXT = (176, 32, 40), (24, 84, 160), (40, 40, 44)
_OVER = 2
"""Drawn so many times as large, then made smaller: smooth lines."""


class View:
    """A body standing before a camera far away, so that planes look like lines."""

    def __init__(self, vertices: np.ndarray, faces: torch.Tensor, turn_deg: float, width: int) -> None:
        self.scale = PX_PER_M * _OVER
        self.size = (width * _OVER, HEIGHT * _OVER)
        angle = np.radians(turn_deg)
        # Standing frame (x to the body's left, y backwards, z up) to a camera that looks at the body's front.
        front = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
        about = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
        self.camera_from_standing = front @ about
        self.middle = np.array([0.0, 0.0, (vertices[:, 2].max() + vertices[:, 2].min()) / 2])
        focal = self.scale * AWAY_M
        self.K = np.array([[focal, 0, self.size[0] / 2], [0, focal, self.size[1] / 2], [0, 0, 1.0]])
        seen = torch.from_numpy(self.to_camera(vertices))[None].float()
        K = torch.from_numpy(self.K)
        fragments = rasterize(seen, faces, K, height=self.size[1], width=self.size[0], cull_backfaces=True)
        picture = shade(fragments, seen, faces, torch.tensor(SKIN))[0].numpy()
        self.depth_m = fragments.depth_m[0].numpy()
        picture[~fragments.mask[0].numpy()] = 1.0
        self.image = Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8))
        self.draw = ImageDraw.Draw(self.image)

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Points of the standing frame in the camera frame, metres."""
        return (points - self.middle) @ self.camera_from_standing.T + [0, 0, AWAY_M]

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and z-depths of points of the standing frame."""
        camera = self.to_camera(points)
        uvw = camera @ self.K.T
        return uvw[:, :2] / uvw[:, 2:], camera[:, 2]

    def tape(self, outline: np.ndarray) -> None:
        """A closed line, its far half left out."""
        dense = np.concatenate([np.linspace(a, b, 24) for a, b in zip(outline, np.roll(outline, -1, 0), strict=True)])
        pixels, depth = self.project(dense)
        near = depth < depth.mean()
        for (a, b), shown in zip(zip(pixels, np.roll(pixels, -1, 0), strict=True), near, strict=True):
            if shown:
                self.draw.line([tuple(a), tuple(b)], fill=GIRTH, width=3 * _OVER)

    def label(self, text: str, at: tuple[float, float], *, color: tuple[int, int, int], anchor: str = "lm") -> None:
        """A word at a pixel."""
        font = ImageFont.load_default(15 * _OVER)
        self.draw.text(at, text, fill=color, font=font, anchor=anchor)

    def lead(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A thin line from a measure to its name."""
        self.draw.line([start, end], fill=(150, 150, 155), width=_OVER)

    def ruler(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A straight measure with end strokes."""
        self.draw.line([start, end], fill=LENGTH, width=2 * _OVER)
        across = np.array([end[1] - start[1], start[0] - end[0]])
        across = 7 * _OVER * across / np.linalg.norm(across)
        for x, y in (start, end):
            self.draw.line([x - across[0], y - across[1], x + across[0], y + across[1]], fill=LENGTH, width=2 * _OVER)

    def done(self) -> Image.Image:
        """The picture."""
        return self.image.resize((self.size[0] // _OVER, self.size[1] // _OVER), Image.Resampling.LANCZOS)


def main(path: Path) -> None:
    model = AnnyBody.load()
    shape = model.shape_from({"gender": 1.0, "age": 0.72, "height": 0.45, "weight": 0.7})
    ruler = BodyRuler(model)
    rest = model.rest(shape[None])
    vertices, joints = (points[0].double().numpy() for points in (rest.vertices_m, rest.joints_m))
    row = dict(zip(MEASUREMENTS, ruler(shape[None])[0], strict=True))
    outlines = ruler.outlines(shape)
    floor, crown = vertices[:, 2].min(), vertices[:, 2].max()
    crotch = floor + row["inseam"]
    front = View(vertices, model.faces, 0.0, FRONT)
    side = View(vertices, model.faces, 90.0, SIDE)
    for view in (front, side):
        for name, outline in outlines.items():
            if view is front or name not in ("upper_arm_girth",):
                view.tape(outline)

    def at(x: float, z: float) -> tuple[float, float]:
        pixel, _ = front.project(np.array([[x, 0.0, z]]))
        return float(pixel[0, 0]), float(pixel[0, 1])

    edge = {name: outline[outline[:, 0].argmax()] for name, outline in outlines.items()}
    for name, column in (
        *(("head_girth", 0.3), ("neck_girth", 0.3), ("chest_girth", 0.62), ("waist_girth", 0.62)),
        *(("hip_girth", 0.62), ("thigh_girth", 0.62), ("calf_girth", 0.62)),
    ):
        z = outlines[name][:, 2].mean()
        up = 0.03 if name == "neck_girth" else 0.0
        front.lead(at(edge[name][0] + 0.01, z), at(column - 0.01, z + up))
        front.label(name.replace("_", " "), at(column, z + up), color=GIRTH)
    arm = outlines["upper_arm_girth"]
    lowest = arm[arm[:, 0].argmin()]
    front.lead(at(lowest[0] - 0.01, lowest[2]), at(-0.36, lowest[2] + 0.05))
    front.label("upper arm girth", at(-0.37, lowest[2] + 0.05), color=GIRTH, anchor="rm")
    names = list(model.bone_names)
    shoulder, elbow, wrist = (joints[names.index(f"{bone}.R")] for bone in ("upperarm01", "lowerarm01", "wrist"))
    front.ruler(at(-0.86, floor), at(-0.86, crown))
    front.label("stature", at(-0.86, crown + 0.045), color=LENGTH, anchor="mm")
    front.ruler(at(-0.74, crotch), at(-0.74, crown))
    front.label("sitting height", at(-0.72, crown - 0.16), color=LENGTH)
    front.ruler(at(-0.74, floor), at(-0.74, crotch))
    front.label("inseam", at(-0.72, (floor + crotch) / 2), color=LENGTH)
    half = row["shoulder_breadth"] / 2
    front.ruler(at(-half, shoulder[2] + 0.075), at(half, shoulder[2] + 0.075))
    front.label("shoulder breadth (arms hanging)", at(half + 0.03, shoulder[2] + 0.075), color=LENGTH)
    top = np.array([shoulder[0], 0, shoulder[2] + row["arm_length"] - np.linalg.norm(elbow - shoulder)
                    - np.linalg.norm(wrist - elbow)])  # fmt: skip
    chain = [at(point[0], point[2]) for point in (top, shoulder, elbow, wrist)]
    front.draw.line(chain, fill=LENGTH, width=2 * _OVER, joint="curve")
    front.label("arm length", (chain[-1][0] + 4 * _OVER, chain[-1][1] - 34 * _OVER), color=LENGTH, anchor="rm")
    sheet = Image.new("RGB", (FRONT + SIDE, HEIGHT), "white")
    sheet.paste(front.done(), (0, 0))
    sheet.paste(side.done(), (FRONT, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=88, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
