"""Where on the body does the landmark network see its landmarks? Measure it on rendered bodies whose truth is known.

    python scripts/calibrate_landmarks.py --skins FOLDER --backgrounds FOLDER

Body and detector do not mean the same points by the same names: BlazePose marks shoulders and hips of clothed people
from outside, the body model's are where annotators of another set put theirs. A constant offset in the frame of the
bone, in statures, explains part of it. Written to weights/seen_landmarks.safetensors.
"""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import roma
import torch
from safetensors.torch import save_file
from torch import Tensor

from metrichmsr.bodies import load_body_model
from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.shape_prior import ShapePrior
from metrichmsr.geometry import intrinsics, project
from metrichmsr.hmr.fitting.seen_landmarks import BONES, WEIGHTS, mirror_of
from metrichmsr.hmr.pose_prior import PosePrior
from metrichmsr.people import Landmarker
from metrichmsr.rendering import rasterize, shade, vertex_normals

SIZE, FOCAL = 512, 900.0
SLEEVES, LEGS = ("upperarm", "shoulder", "clavicle"), ("upperleg", "pelvis", "root")


def dress(body: AnnyBody, skin: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Colour of each vertex, and how far cloth stands off the skin there (metres)."""
    corners, texels = body.faces.flatten().numpy(), body.face_uv.flatten().numpy()
    uv = np.zeros((body.num_vertices, 2), np.float32)
    uv[corners] = body.uv.numpy()[texels]
    size = skin.shape[0] - 1
    colour = skin[((1 - uv[:, 1]) * size).astype(int), (uv[:, 0] * size).astype(int)] / 255.0
    bone = [body.bone_names[i] for i in body.skin.argmax(0).tolist()]
    sleeves, trousers = rng.random() < 0.4, rng.random() < 0.6
    top, bottom, shoes = rng.random((3, 3)) ** 1.3
    cloth = np.zeros(len(bone), np.float32)
    for names, paint, thickness in (
        (("spine", *SLEEVES, *(("lowerarm",) if sleeves else ())), top, rng.uniform(0.004, 0.02)),
        ((*LEGS, *(("lowerleg",) if trousers else ())), bottom, rng.uniform(0.004, 0.02)),
        (("foot", "toe"), shoes, 0.008),
    ):
        chosen = np.array([b.startswith(names) for b in bone])
        colour[chosen], cloth[chosen] = paint, thickness
    return torch.from_numpy(colour.astype(np.float32)), torch.from_numpy(cloth)


def pictures(args: argparse.Namespace, body: AnnyBody, rng: np.random.Generator) -> Iterator[tuple]:
    """Yield (image, box, K, landmarks (33, 3), bone rotations, stature)."""
    generator = torch.Generator().manual_seed(args.seed)
    prior, shapes = PosePrior.load(), ShapePrior.load()
    skins = [cv2.imread(str(p))[..., ::-1] for p in sorted(args.skins.glob("*.webp"))]
    backgrounds = sorted(args.backgrounds.glob("*.webp"))
    K = intrinsics(FOCAL, FOCAL, SIZE / 2, SIZE / 2, dtype=torch.float32)
    level = torch.tensor([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    made = 0
    while made < args.pictures:
        coefficients, up = prior.sample(1, generator)
        if up[0, 2] < 0.8:
            continue
        made += 1
        yaw, pitch = float(rng.uniform(-math.pi, math.pi)), float(rng.normal(0, 0.2))
        root = (
            roma.rotvec_to_rotmat(torch.tensor([pitch, 0, 0]))
            @ level
            @ roma.rotvec_to_rotmat(torch.tensor([0, 0, yaw]))
        )
        driven = roma.rotvec_to_rotmat(prior.to_rotvecs(coefficients))
        pose = body.expand_pose(torch.cat([root[None, None], driven], 1))
        shape = shapes.sample(1, generator=generator)
        height = float(body.height(shape))
        if height < 1.2:
            continue
        place = torch.tensor([[0.0, 0.0, FOCAL * height / rng.uniform(0.5, 0.8) / SIZE]])
        out = body(pose, shape, place)
        colour, cloth = dress(body, skins[rng.integers(len(skins))], rng)
        skin = out.vertices_m + vertex_normals(out.vertices_m, body.faces) * cloth[:, None]
        fragments = rasterize(skin, body.faces, K, height=SIZE, width=SIZE)
        picture = shade(fragments, skin, body.faces, colour)[0].numpy() * rng.uniform(0.7, 1.3)
        background = cv2.imread(str(backgrounds[rng.integers(len(backgrounds))]))[..., ::-1]
        side = min(background.shape[:2])
        background = cv2.resize(background[:side, :side], (SIZE, SIZE)) / 255.0
        mask = cv2.GaussianBlur(fragments.mask[0].numpy().astype(np.float32), (0, 0), 0.7)[..., None]
        image = (picture.clip(0, 1) * mask + background * (1 - mask)) * 255 + rng.normal(0, 4, (SIZE, SIZE, 3))
        image = cv2.GaussianBlur(image.clip(0, 255).astype(np.uint8), (0, 0), 0.6)
        pixels = project(out.vertices_m, K)[0]
        box = torch.cat([pixels.amin(0), pixels.amax(0)]).numpy()
        yield image, box, K, out.landmarks33_m[0], out.bone_rotations[0], height


def solve(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, float, float]:
    """Robust least squares for one offset; returns it with the rms residual before and after (shares of stature)."""
    design, target = torch.cat([r[0] for r in rows]).double(), torch.cat([r[1] for r in rows]).double()
    offset = torch.zeros(3, dtype=torch.float64)
    for _ in range(10):
        residual = (target - design @ offset).view(-1, 2).norm(dim=1)
        scale = residual.median().clamp_min(1e-4) * 1.5
        weight = (1 / (1 + (residual / scale).square()).square()).repeat_interleave(2)
        ridge = 1e-3 * len(rows) * torch.eye(3, dtype=torch.float64)
        offset = torch.linalg.solve(design.T @ (weight[:, None] * design) + ridge, design.T @ (weight * target))
    left = (target - design @ offset).view(-1, 2).norm(dim=1).median()
    return offset.float(), float(target.view(-1, 2).norm(dim=1).median()), float(left)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skins", type=Path, required=True, help="textures on MakeHuman's UV layout")
    parser.add_argument("--backgrounds", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preview", type=Path, help="write a contact sheet of the first pictures here")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    body = load_body_model("anny")
    assert isinstance(body, AnnyBody)
    landmarker = Landmarker()
    bones = [body.bone_names.index(b) for b in BONES]
    rows: list[list[tuple[Tensor, Tensor]]] = [[] for _ in BONES]
    flip = torch.tensor([-1.0, 1.0, 1.0])
    used, shown = 0, []
    with torch.no_grad():
        for image, box, K, truth, rotations, height in pictures(args, body, rng):
            seen = landmarker(image, box[None])
            pixels = torch.from_numpy(seen.xy[0].astype(np.float32))
            expected = project(truth[None], K)[0]
            if len(shown) < 24:
                tile = image.copy()
                for dots, paint in ((expected, (255, 0, 0)), (pixels, (0, 255, 0))):
                    for u, v in dots.tolist():
                        cv2.circle(tile, (int(u), int(v)), 2, paint, -1)
                shown.append(tile)
            stature_px = FOCAL * height / float(truth[:, 2].mean())
            off = (pixels - expected).norm(dim=1) / stature_px
            if float(off[11:29].median()) > 0.06:  # another pose was seen: nothing to learn about places
                continue
            used += 1
            for i in range(33):
                if seen.confidence[0, i] < 0.6 or off[i] > 0.12:
                    continue
                x, y, z = truth[i].tolist()
                by_point = FOCAL / z * torch.tensor([[1, 0, -x / z], [0, 1, -y / z]])
                design = by_point @ rotations[bones[i]] * (height / stature_px)
                target = (pixels[i] - expected[i]) / stature_px
                rows[i].append((design, target))
                # What holds on the left holds, mirrored, on the right.
                rows[mirror_of(i)].append((design * flip, target))
    offsets = torch.zeros(33, 3)
    for i, bone in enumerate(BONES):
        offsets[i], before, after = solve(rows[i])
        print(f"{i:2d} {bone:14s} n {len(rows[i]):5d}  offset {(100 * offsets[i]).numpy().round(2)} % of stature, "
              f"median {100 * before:.2f} → {100 * after:.2f} %")  # fmt: skip
    print(f"{used} of {args.pictures} pictures used")
    save_file({"offsets": offsets}, args.out)
    print(args.out, "sha256", hashlib.sha256(args.out.read_bytes()).hexdigest())
    if args.preview is not None:
        grid = np.concatenate([np.concatenate(shown[i : i + 6], 1) for i in range(0, len(shown) - 5, 6)], 0)
        cv2.imwrite(str(args.preview), grid[..., ::-1])


if __name__ == "__main__":
    main()
