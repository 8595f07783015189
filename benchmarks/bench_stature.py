"""What each cue is worth for people's statures and distances, on SynFocal scenes with several people.

    python benchmarks/bench_stature.py SCENES [--checkpoint FILE] [--count 150]

SCENES: folder that ``metrichmsr synth --kind scenes --long-side 640`` wrote, of a split that was not trained on. K is
given; people are found as ``metrichmsr recover`` finds them, and whoever is found is matched to the truth by box. Up is
estimated from the picture (``estimate_view``), or the truth, or withheld. Every row is over the same people.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from machine import describe_machine
from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.calibration import estimate_view
from metrichmsr.hmr.crop_evidence import Up, UpDirection, evidence_from_landmarks
from metrichmsr.hmr.face_cue import stature_likelihood
from metrichmsr.hmr.network import MetricBodies
from metrichmsr.hmr.regress import WEIGHTS, Regressor, ankles_seen
from metrichmsr.hmr.stature import as_photographed, distance_sigma, footing, fuse, summary
from metrichmsr.hmr.stature_grid import GROWN_UP_M
from metrichmsr.people import Landmarker, MoveNetDetector, People, find_people
from metrichmsr.people.detection import box_iou
from metrichmsr.people.faces import FaceReader, Faces
from metrichmsr.synthetic.shot_files import read_shots
from metrichmsr.synthetic.shots import Shot

_MIN_IOU, _LEAST_SEEN = 0.5, 0.3


@dataclass(frozen=True)
class Scene:
    """One picture: who was found, who that is, and which way is up."""

    shot: Shot
    people: People
    truth: list[int]
    """Row of the shot's people for each one found; −1 where it is nobody's box."""
    estimated: Up
    faces: Faces


@dataclass(frozen=True)
class Told:
    """Statures and distances of the people of one scene."""

    height_m: Float[Tensor, "N"]
    sigma_m: Float[Tensor, "N"]
    distance_m: Float[Tensor, "N"]
    distance_sigma: Float[Tensor, "N"]


def read_scenes(folder: Path, count: int) -> list[Scene]:
    """Scenes in which somebody is found."""
    detector, landmarker, faces = MoveNetDetector(), Landmarker(), FaceReader()
    scenes = []
    for shot in read_shots(folder, fields=("image", "depth", "person", "ground")):
        people = find_people(shot.image, detector=detector, landmarker=landmarker)
        rows = match(people.detections.boxes_xyxy, shot)
        if any(row >= 0 for row in rows):
            seen = faces(shot.image, people.landmarks)
            scenes.append(Scene(shot, people, rows, estimate_view(shot.image).up, seen))
        if len(scenes) == count:
            break
    return scenes


def match(boxes: Float[np.ndarray, "N 4"], shot: Shot) -> list[int]:
    """Row of the shot's people for each box, −1 where there is none."""
    rows: list[int] = []
    for iou in box_iou(boxes, shot.people.box_xyxy) * (shot.people.visible_share >= _LEAST_SEEN):
        best = int(iou.argmax())
        rows.append(best if iou[best] >= _MIN_IOU and best not in rows else -1)
    return rows


def methods(regressor: Regressor) -> dict[str, Callable[[Scene], Told]]:
    """Every combination of cues, by name."""

    def bodies(scene: Scene, up: Up | None) -> MetricBodies:
        evidence, K_crop = evidence_from_landmarks(
            scene.people.landmarks, scene.shot.K, ray_size=regressor.config.ray_size, up=up
        )
        return regressor.network.infer(evidence, K_crop, regressor.parameters)

    def told(out: MetricBodies, height: Tensor, sigma: Tensor) -> Told:
        # As of bodies that are seen whole; recover sets each where it was seen (metrichmsr.hmr.placing).
        distance, doubt = out.translation_m.norm(dim=-1) * height / out.body.height_m, out.distance_sigma
        if out.stature_logits is not None:
            doubt = distance_sigma(doubt, sigma, summary(out.stature_logits.softmax(-1))[1])
        return Told(height, sigma, distance, doubt)

    def constant(scene: Scene) -> Told:
        out = bodies(scene, None)
        return told(out, torch.full_like(out.body.height_m, 1.69), torch.full_like(out.body.height_m, 0.1))

    def number(up: Callable[[Scene], Up | None]) -> Callable[[Scene], Told]:
        def method(scene: Scene) -> Told:
            out = bodies(scene, up(scene))
            return Told(out.body.height_m, out.height_sigma_m, out.translation_m.norm(dim=-1), out.distance_sigma)

        return method

    def fused(
        up: Callable[[Scene], Up | None],
        *,
        rare_children: bool = True,
        faces: bool = True,
        ground: bool = False,
        company: bool = False,
        known: bool = False,
    ) -> Callable[[Scene], Told]:
        def method(scene: Scene) -> Told:
            seen = up(scene)
            out = bodies(scene, seen)
            assert out.stature_logits is not None
            person = out.stature_logits.softmax(-1)
            if rare_children:
                person = as_photographed(person)
            if faces:
                person = person * stature_likelihood(scene.faces)
                person = person / person.sum(-1, keepdim=True)
            stand, sigma = None, math.inf
            if ground and seen is not None:
                direction = torch.tensor(seen.direction, dtype=torch.float32)
                ankles = ankles_seen(scene.people.landmarks)
                stand = footing(out.body.vertices_m, out.body.height_m, direction, ankles)
                sigma = math.radians(seen.std_deg)
            if company:
                given = torch.full((len(person),), torch.nan)
                # The first who is known; a scene of one tells nothing then and is left as it is.
                if known and sum(row >= 0 for row in scene.truth) > 1:
                    first = next(i for i, row in enumerate(scene.truth) if row >= 0)
                    given[first] = float(scene.shot.people.height_m[scene.truth[first]])
                posterior = fuse(person, stand, up_sigma_rad=sigma, known_height_m=given)
            else:
                alone = [
                    fuse(
                        person[[i]],
                        None if stand is None else stand[torch.tensor([i])],
                        up_sigma_rad=sigma,
                    )
                    for i in range(len(person))
                ]
                posterior = torch.cat(alone)
            return told(out, *summary(posterior))

        return method

    estimated, true, none = (lambda s: s.estimated), (lambda s: UpDirection(-s.shot.gravity, 1.0)), (lambda s: None)
    rows: dict[str, Callable[[Scene], Told]] = {
        "everybody 1.69 m": constant,
        "network's number, up withheld": number(none),
        "network's number": number(estimated),
    }
    if regressor.network.heads.stature is not None:
        rows |= {
            "median of its distribution, up withheld": fused(none, rare_children=False, faces=False),
            "median of its distribution": fused(estimated, rare_children=False, faces=False),
            "… with children as rare as in photographs": fused(estimated, faces=False),
            "… and faces": fused(estimated),
            "… and the ground, each alone": fused(estimated, ground=True),
            "… and the ground, all together (what `recover` does)": fused(estimated, ground=True, company=True),
            "the same without faces": fused(estimated, faces=False, ground=True, company=True),
            "the same, true up": fused(true, ground=True, company=True),
            "the same, one stature given": fused(estimated, ground=True, company=True, known=True),
        }
    return rows


@torch.no_grad()
def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=WEIGHTS)
    parser.add_argument("--count", type=int, default=150)
    args = parser.parse_args()
    scenes = read_scenes(args.scenes, args.count)
    print(describe_machine(), f"{len(scenes)} scenes\n", sep="\n")
    regressor = Regressor.load(AnnyBody.load(), args.checkpoint)
    rows = [(scene, i, row) for scene in scenes for i, row in enumerate(scene.truth) if row >= 0]
    height = np.array([scene.shot.people.height_m[row] for scene, _, row in rows])
    distance = np.array([np.linalg.norm(scene.shot.people.translation_m[row]) for scene, _, row in rows])
    shared = np.array([sum(r >= 0 for r in scene.truth) > 1 for scene, _, _ in rows])
    adult = height >= GROWN_UP_M
    print(
        "| statures by | grown-ups cm | children cm | in company cm | distance, grown-ups % | children % | bias % |",
        end="",
    )
    print(" within 1 σ: stature, distance |\n| --- |" + " ---: |" * 7)
    for name, method in methods(regressor).items():
        said = {id(scene): method(scene) for scene in scenes}
        told = [(said[id(scene)], i) for scene, i, _ in rows]
        h, sigma = (np.array([float(getattr(t, f)[i]) for t, i in told]) for f in ("height_m", "sigma_m"))
        d, doubt = (np.array([float(getattr(t, f)[i]) for t, i in told]) for f in ("distance_m", "distance_sigma"))
        error, off = 100 * np.abs(h - height), 100 * (d / distance - 1)
        inside = (error < 100 * sigma).mean(), (np.abs(np.log(d / distance)) < doubt).mean()
        print(
            f"| {name} | {error[adult].mean():.1f} | {error[~adult].mean():.1f} | {error[shared].mean():.1f} | "
            f"{np.abs(off[adult]).mean():.1f} | {np.abs(off[~adult]).mean():.1f} | {off.mean():+.1f} | "
            f"{100 * inside[0]:.0f}, {100 * inside[1]:.0f} % |"
        )
    own = [100 * np.abs(height[group] - np.median(height[group])).mean() for group in (adult, ~adult)]
    print(
        f"\n{len(rows)} people, {adult.sum()} grown-ups (at their own median: {own[0]:.1f} cm), "
        f"{(~adult).sum()} children (at theirs: {own[1]:.1f} cm), {shared.sum()} in company."
    )


if __name__ == "__main__":
    main()
