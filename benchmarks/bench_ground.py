"""How well the ground is found: camera height and which way is up, on SynFocal scenes, from depth and people of known
quality.

    python benchmarks/bench_ground.py SCENES [--count 100] [--recover]

SCENES: folder that ``metrichmsr synth --kind scenes`` wrote; of the split ``test``, to be fair. K is given.
``--recover`` adds what ``metrichmsr recover`` finds in the pictures, with the networks that come along. "Up told": with
the picture's own estimate of how the camera was held (:func:`metrichmsr.calibration.estimate_view`).

Degraded depth is the truth, blurred (sigma 0.6 % of the long side), times a common scale (log sigma 0.15), a smooth
field (0.08) and noise of every pixel (0.03), with a quarter of the picture unknown. Where there are people it is
brought to their scale in closed form before the ground is looked for, as ``metrichmsr recover`` does. Doubtful bodies
are the true ones, leant about the pelvis (sigma 5°) and scaled about the camera centre (5 %, what one picture does not
show), each person anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import roma
import torch
from jaxtyping import Float

from machine import describe_machine
from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.calibration import UpEstimate, estimate_view
from metrichmsr.scene.anchors import render_anchors
from metrichmsr.scene.depth.protocol import DepthEstimate
from metrichmsr.scene.ground import find_ground
from metrichmsr.scene.refine import DepthRefiner
from metrichmsr.structures import Camera, Person
from metrichmsr.synthetic.shot_files import read_shots
from metrichmsr.synthetic.shots import NOBODY, Shot

_BLUR, _SCALE, _FIELD, _NOISE, _HOLES = 0.006, 0.15, 0.08, 0.03, 0.25
_LEAN_DEG, _DISTANCE = 5.0, 0.05
# Hardly anything is known of somebody of whom less is seen.
_LEAST_SEEN = 0.1
_HABIT_M = 1.5
_MUCH_FLOOR = 0.05

CASES = (
    ("true", "true"),
    ("true", "nobody"),
    ("degraded", "doubtful"),
    ("degraded", "nobody"),
    ("none", "true"),
    ("none", "doubtful"),
)
"""Depth and people that the ground is found from; each also with up as the picture tells."""


@dataclass(frozen=True)
class Answer:
    """One plane; None where no ground was found."""

    up: Float[np.ndarray, "3"] | None
    height_m: float
    height_std_m: float
    milliseconds: float


def read_cases(folder: Path, count: int) -> list[tuple[Shot, Camera, list[Person]]]:
    """Scenes with their cameras and true bodies."""
    body = AnnyBody.load()
    cases = []
    for shot in read_shots(folder, fields=("image", "depth", "person", "ground")):
        height, width = shot.depth_m.shape
        camera = Camera(K=shot.K.astype(np.float64), width=width, height=height, source="given")
        cases.append((shot, camera, true_people(shot, body)))
        if len(cases) == count:
            break
    return cases


@torch.no_grad()
def true_people(shot: Shot, body: AnnyBody) -> list[Person]:
    """Everybody of whom at least a tenth is seen."""
    truth = shot.people
    posed = body(
        roma.rotvec_to_rotmat(torch.from_numpy(truth.pose).float()),
        torch.from_numpy(truth.shape).float(),
        torch.from_numpy(truth.translation_m).float(),
    )
    people = []
    for row in np.flatnonzero(truth.visible_share >= _LEAST_SEEN):
        pelvis = truth.translation_m[row].astype(np.float64)
        people.append(
            Person(
                id=int(row),
                score=1.0,
                box_xyxy=truth.box_xyxy[row].astype(np.float64),
                body_model="anny",
                translation_m=pelvis,
                pose=dict(zip(body.bone_names, truth.pose[row].astype(np.float64), strict=True)),
                shape={},
                height_m=float(truth.height_m[row]),
                height_std_m=0.02,
                distance_std_m=0.01 * float(np.linalg.norm(pelvis)),
                keypoints_2d_px=np.zeros((17, 3)),
                keypoints_3d_m=truth.coco17_m[row].astype(np.float64),
                vertices_m=posed.vertices_m[row].numpy().astype(np.float64),
                faces=body.faces.numpy(),
                joints_m=truth.joints_m[row].astype(np.float64),
                mask=shot.person_id == row,
            )
        )
    return people


def doubtful(people: Sequence[Person], rng: np.random.Generator) -> list[Person]:
    """The same people as a network could have recovered them."""
    moved = []
    for person in people:
        lean = torch.from_numpy(np.radians(_LEAN_DEG) * rng.normal() * _direction(rng))
        turn, scale = roma.rotvec_to_rotmat(lean).numpy(), np.exp(_DISTANCE * rng.normal())
        pelvis = person.translation_m
        places = {
            name: scale * ((getattr(person, name) - pelvis) @ turn.T + pelvis)
            for name in ("vertices_m", "joints_m", "keypoints_3d_m", "translation_m")
        }
        distance = float(np.linalg.norm(places["translation_m"]))
        moved.append(dataclasses.replace(person, **places, distance_std_m=_DISTANCE * distance))
    return moved


def degraded(depth: Float[np.ndarray, "H W"], rng: np.random.Generator) -> Float[np.ndarray, "H W"]:
    """The depth as a network could have estimated it."""
    height, width = depth.shape
    known = np.isfinite(depth)
    # Of the known surroundings only: blur must not mix in what is unknown.
    sigma = _BLUR * max(height, width)
    weight = cv2.GaussianBlur(known.astype(np.float32), (0, 0), sigma)
    blurred = cv2.GaussianBlur(np.where(known, depth, 0).astype(np.float32), (0, 0), sigma) / np.maximum(weight, 1e-6)
    wave = _smooth(height, width, 4, rng)
    error = _SCALE * rng.normal() + _FIELD * wave / wave.std() + _NOISE * rng.normal(size=depth.shape)
    holes = _smooth(height, width, 6, rng)
    known &= holes > np.quantile(holes, _HOLES)
    return np.where(known, blurred * np.exp(error), np.nan).astype(np.float32)


def aligned(
    shot: Shot, camera: Camera, depth: Float[np.ndarray, "H W"], people: Sequence[Person]
) -> Float[np.ndarray, "H W"]:
    """The depth in the scale of the people."""
    if not people:
        return depth
    estimate = DepthEstimate(depth_m=depth, metric=True)
    return DepthRefiner(None)(shot.image, camera, estimate, people, render_anchors(people, camera)).depth_m


def answers(
    cases: Sequence[tuple[Shot, Camera, list[Person]]],
    depth: str,
    bodies: str,
    ups: Sequence[UpEstimate | None],
) -> Iterator[Answer]:
    """Grounds from depth and people of the named quality, and what each picture tells of up."""
    for number, (shot, camera, true) in enumerate(cases):
        # Each with a generator of its own: the same depth with people and without.
        by_depth, by_people = (np.random.default_rng([7, number, part]) for part in range(2))
        people = [] if bodies == "nobody" else true if bodies == "true" else doubtful(true, by_people)
        z = None if depth == "none" else shot.depth_m
        if depth == "degraded":
            z = aligned(shot, camera, degraded(shot.depth_m, by_depth), people)
        start = time.perf_counter()
        ground = find_ground(z, camera, people, person_mask=shot.person_id != NOBODY, up=ups[number])
        spent = 1e3 * (time.perf_counter() - start)
        if ground is None:
            yield Answer(None, np.nan, np.nan, spent)
        else:
            yield Answer(ground.normal, ground.offset_m, ground.offset_std_m, spent)


def recovered(cases: Sequence[tuple[Shot, Camera, list[Person]]]) -> Iterator[Answer]:
    """Grounds of the whole way of an image."""
    from metrichmsr.recover import Recoverer, RecoverOptions

    recoverer = Recoverer(RecoverOptions(depth="embedded"))
    for shot, camera, _ in cases:
        recovery = recoverer(shot.image, camera=camera)
        scene, spent = recovery.scene, recovery.timings_ms.get("ground", np.nan)
        if scene is None or scene.ground_normal is None or scene.ground_offset_m is None:
            yield Answer(None, np.nan, np.nan, spent)
        else:
            std = np.nan if scene.ground_std_m is None else scene.ground_std_m
            yield Answer(scene.ground_normal, scene.ground_offset_m, std, spent)


def row(label: str, cases: Sequence[tuple[Shot, Camera, list[Person]]], found: Sequence[Answer]) -> str:
    """A line of the table."""
    degrees, percent, within, times = [], [], [], []
    for (shot, _, _), answer in zip(cases, found, strict=True):
        times.append(answer.milliseconds)
        if answer.up is None:
            continue
        up, height = (np.asarray(value, dtype=np.float64) for value in shot.ground_plane)
        degrees.append(np.degrees(np.arccos(np.clip(answer.up @ up / np.linalg.norm(up), -1, 1))))
        percent.append(100 * abs(answer.height_m / height - 1))
        within.append(abs(answer.height_m - height) <= answer.height_std_m)
    if not degrees:
        return f"| {label} | 0 of {len(cases)} | | | | | | |"
    stated = np.isfinite([answer.height_std_m for answer in found if answer.up is not None])
    honest = f"{100 * np.mean(np.array(within)[stated]):.0f} %" if stated.any() else "–"
    duration = f"{np.nanmedian(times):.0f}" if np.isfinite(times).any() else "–"
    (up_50, up_90), (height_50, height_90) = (np.quantile(values, (0.5, 0.9)) for values in (degrees, percent))
    return (
        f"| {label} | {len(degrees)} of {len(cases)} | {up_50:.1f} | {up_90:.1f} | {height_50:.1f} | {height_90:.1f} "
        f"| {honest} | {duration} |"
    )


def _direction(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    axis = rng.normal(size=3)
    return axis / np.linalg.norm(axis)


def _smooth(height: int, width: int, knots: int, rng: np.random.Generator) -> Float[np.ndarray, "H W"]:
    values = rng.normal(size=(knots, knots)).astype(np.float32)
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, help="folder of metrichmsr synth --kind scenes")
    parser.add_argument("--count", type=int, default=100, help="scenes at most")
    parser.add_argument("--recover", action="store_true", help="also by metrichmsr recover, from the pictures")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    cases = read_cases(args.scenes, args.count)
    seen = sum(len(people) for _, _, people in cases)
    print(f"{describe_machine()}\n\n{len(cases)} scenes, {seen} people of whom at least a tenth is seen.")
    told, untold = [estimate_view(shot.image).up for shot, _, _ in cases], [None] * len(cases)
    found = {f"{depth} | {bodies}": list(answers(cases, depth, bodies, untold)) for depth, bodies in CASES}
    found |= {f"{depth} | {bodies}, up told": list(answers(cases, depth, bodies, told)) for depth, bodies in CASES}
    if args.recover:
        found["embedded, refined | recovered"] = list(recovered(cases))
    habit = Answer(np.array([0.0, -1.0, 0.0]), _HABIT_M, np.nan, np.nan)
    found[f"(a level camera at {_HABIT_M} m) | –"] = [habit] * len(cases)
    found[f"(up told, {_HABIT_M} m) | –"] = [
        dataclasses.replace(habit, up=habit.up if up is None else up.direction) for up in told
    ]
    floor = np.array([(shot.ground & np.isfinite(shot.depth_m)).mean() >= _MUCH_FLOOR for shot, _, _ in cases])
    for title, chosen in (
        ("All scenes", np.ones(len(cases), dtype=bool)),
        (f"Floor in {100 * _MUCH_FLOOR:.0f} % of the picture and more", floor),
        ("Less floor or none", ~floor),
    ):
        print(f"\n{title}:\n")
        print("| depth | people | found | up, °: median | 90 % | camera height, %: median | 90 % | within 1 σ | ms |")
        print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        rows = np.flatnonzero(chosen)
        for label, given in found.items():
            print(row(label, [cases[i] for i in rows], [given[i] for i in rows]), flush=True)


if __name__ == "__main__":
    main()
