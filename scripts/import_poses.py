"""Bring motion capture (AMASS archives, BVH files) into the pose library that synthetic people are drawn from.

    python scripts/import_poses.py FOLDER --source my-mocap --licence "CC BY 4.0, by …" --out ASSETS/poses/poses.npz

All ``*.bvh`` and ``*.npz`` below FOLDER are clips, named by their path in it. Frames are thinned to ``--fps``, and of
those only such are kept as differ from the last one kept. An existing output file is added to; clips of the same source
in it are replaced. Files that cannot be read are named and skipped.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.errors import InputError
from metrichmsr.synthetic.contact import PARTS, BodyBalls, depth_into_each_other
from metrichmsr.synthetic.pose_kinds import PoseReader
from metrichmsr.synthetic.poses import body_pose
from pose_sources.amass import read_amass
from pose_sources.bvh import read_bvh
from pose_sources.motion import Motion
from pose_sources.retarget import Retargeter

_READERS = {".bvh": read_bvh, ".npz": read_amass}
_MAX_BEND_RAD = 2.9


def read_folder(folder: Path) -> Iterable[Motion]:
    """All clips below a folder; the bad ones are named on standard error."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _READERS and path.is_file())
    if not files:
        raise InputError(f"{folder}: no .bvh or .npz file in it")
    for path in files:
        try:
            motion = _READERS[path.suffix.lower()](path)
        except InputError as error:
            print(error, file=sys.stderr)
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        yield Motion(name, motion.rotations, motion.rest_m, motion.frame_rate)


def thinned(rotvec: Float[np.ndarray, "T D 3"], reader: PoseReader, *, spacing_m: float) -> Float[np.ndarray, "K"]:
    """Rows of poses whose joints lie at least so far (root mean square) from those of the last kept."""
    joints = reader.joints(roma.rotvec_to_rotmat(torch.from_numpy(rotvec).float())).numpy()
    kept = [0]
    for row in range(1, len(joints)):
        if np.sqrt(np.square(joints[row] - joints[kept[-1]]).sum(-1).mean()) >= spacing_m:
            kept.append(row)
    return np.array(kept)


def self_penetration(body: AnnyBody, balls: BodyBalls, rotvec: Float[np.ndarray, "N D 3"]) -> Float[np.ndarray, "N"]:
    """How deep forearms and hands go into trunk and legs, or legs into each other's shins, metres, average adult."""
    light = body.restricted_to(balls.vertex_ids)

    def part(*names: str) -> torch.Tensor:
        return torch.isin(balls.ball_part, torch.tensor([PARTS.index(name) for name in names]))

    pairs = [
        (part("hand.L", "hand.R"), part("trunk", "leg.L", "leg.R", "head")),
        (part("foot.L"), part("foot.R", "leg.R")),
        (part("foot.R"), part("leg.L")),
        (part("hand.L", "arm.L"), part("hand.R")),
    ]
    worst = []
    for chunk in torch.from_numpy(rotvec).float().split(64):
        points = light(body_pose(body, chunk), body.default_shape().expand(len(chunk), -1)).vertices_m
        centers, radii = balls(points)
        depth = [
            depth_into_each_other(centers[:, a], radii[:, a], centers[:, b], radii[:, b]).flatten(1).amax(1)
            for a, b in pairs
        ]
        worst.append(torch.stack(depth).amax(0).clamp_min(0))
    return torch.cat(worst).numpy()


def convert(
    motions: Iterable[Motion], body: AnnyBody, *, source: str, licence: str, fps: float, spacing_m: float
) -> dict[str, np.ndarray]:
    """The arrays of a pose library."""
    retargeter, reader, balls = Retargeter(body), PoseReader(body), BodyBalls(body)
    names, rotvecs, clips, frames = [], [], [], []
    for motion in motions:
        step = max(1, round(motion.frame_rate / fps))
        index = np.arange(0, len(motion), step)
        rotvec = retargeter.rotvecs(motion.frames(index))
        sane = np.isfinite(rotvec).all((1, 2)) & (np.linalg.norm(rotvec[:, 1:], axis=-1).max(1) < _MAX_BEND_RAD)
        rotvec, index = rotvec[sane], index[sane]
        if len(rotvec) == 0:
            print(f"{motion.name}: no frame within the limits of joints", file=sys.stderr)
            continue
        kept = thinned(rotvec, reader, spacing_m=spacing_m)
        clips += [len(names)] * len(kept)
        names.append(f"{source}/{motion.name}")
        rotvecs.append(rotvec[kept])
        frames.append(index[kept])
    if not names:
        raise InputError("no clip could be read")
    rotvec = np.concatenate(rotvecs)
    return {
        "rotvec": rotvec.astype(np.float16),
        "bones": np.array(body.driven_bones),
        "clip": np.array(clips, dtype=np.int32),
        "frame": np.concatenate(frames).astype(np.int32),
        "kind": np.zeros(len(rotvec), dtype=np.uint8),
        "selfpen": self_penetration(body, balls, rotvec).astype(np.float16),
        "spacing": np.full(len(rotvec), spacing_m, dtype=np.float16),
        "clip_names": np.array(names),
        "clip_source": np.array([source] * len(names)),
        "clip_desc": np.array([licence] * len(names)),
    }


def merged(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One library of two; clips of the new one's sources in the old one are left out."""
    if [str(bone) for bone in old["bones"]] != [str(bone) for bone in new["bones"]]:
        raise InputError("the existing library drives other bones")
    keep_clip = ~np.isin(old["clip_source"], new["clip_source"])
    keep = keep_clip[old["clip"]]
    place = np.cumsum(keep_clip) - 1
    clips = np.concatenate([place[old["clip"][keep]], new["clip"] + keep_clip.sum()]).astype(np.int32)
    poses = ("rotvec", "frame", "kind", "selfpen", "spacing")
    out = {key: np.concatenate([old[key][keep], new[key]]).astype(old[key].dtype) for key in poses}
    out |= {key: np.concatenate([old[key][keep_clip], new[key]]) for key in ("clip_names", "clip_source", "clip_desc")}
    return out | {"bones": new["bones"], "clip": clips}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--source", required=True, help="short name of where the clips come from")
    parser.add_argument("--licence", required=True, help="licence and author, kept beside every clip")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--spacing", type=float, default=0.06, help="least distance of poses kept, metres")
    args = parser.parse_args(arguments)
    try:
        arrays = convert(
            read_folder(args.folder),
            AnnyBody.load(),
            source=args.source,
            licence=args.licence,
            fps=args.fps,
            spacing_m=args.spacing,
        )
        if args.out.is_file():
            with np.load(args.out, allow_pickle=False) as old:
                arrays = merged(dict(old), arrays)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    args.out.parent.mkdir(parents=True, exist_ok=True)
    partial = args.out.with_name(args.out.name + ".part")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
    os.replace(partial, args.out)
    print(f"{args.out}: {len(arrays['rotvec'])} poses of {len(arrays['clip_names'])} clips")
    return 0


if __name__ == "__main__":
    sys.exit(main())
