"""Train the pose prior (metrichmsr.hmr.pose_prior) on a pose library and write weights/pose_prior.safetensors.

    python scripts/train_pose_prior.py --poses POSES.npz

The library holds ``rotvec`` (N, J, 3): parent-relative rotation vectors of Anny's driven bones, the root heading-free
(z up); ``bones``; ``clip`` with ``clip_source``. Clips, not frames, are held out. Knees are straightened and half of
the upright poses calmed as in SynFocal: people in photographs stand straighter than in motion capture. scikit-learn is
needed here only.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import roma
import torch
from safetensors.torch import save_file
from scipy.spatial.transform import Rotation
from sklearn.mixture import GaussianMixture

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.hmr.pose_prior import WEIGHTS, PosePrior
from metrichmsr.synthetic.pose_kinds import UPRIGHT, PoseReader
from metrichmsr.synthetic.quiet_stance import amounts, calmed
from metrichmsr.synthetic.straight_legs import straightened


def mirror_index(bones: list[str]) -> list[int]:
    """Index of each bone's counterpart on the other side."""
    swap = {"L": "R", "R": "L"}
    return [bones.index(b[:-1] + swap[b[-1]] if b.endswith((".L", ".R")) else b) for b in bones]


def as_people_stand(rotvec: torch.Tensor, bones: list[str], seed: int) -> torch.Tensor:
    """Captured poses (N, J, 3) with straight knees, half of the upright ones calmed."""
    body = AnnyBody.load()
    rotvec = straightened(rotvec, bones)
    driven = torch.zeros(len(rotvec), len(body.driven_bones), 3)
    for i, bone in enumerate(body.driven_bones):
        if bone in bones:
            driven[:, i] = rotvec[:, bones.index(bone)]
    reader = PoseReader(body)
    kind = torch.cat([reader.traits(roma.rotvec_to_rotmat(part)).kind for part in driven.split(4096)])
    upright = torch.isin(kind, torch.tensor(UPRIGHT))
    amount = amounts(upright, torch.Generator().manual_seed(seed))
    print(f"upright {upright.float().mean():.0%} of poses, calmed {(amount > 0).float().mean():.0%}")
    return calmed(rotvec, amount, bones)


def load_poses(path: Path, exclude: list[str], seed: int) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Bones, rotation vectors (N, J−1, 3), up vectors in the root frame (N, 3), clip ids (N,)."""
    data = np.load(path, allow_pickle=False)
    bones = [str(b) for b in data["bones"]]
    keep = ~np.isin(data["clip_source"][data["clip"]], exclude)
    captured = torch.from_numpy(data["rotvec"][keep].astype(np.float32))
    rotvec = as_people_stand(captured, bones, seed).double().numpy()
    up = Rotation.from_rotvec(rotvec[:, 0]).as_matrix()[:, 2]  # third row of R = Rᵀ·e_z: world up seen from the root
    return bones, rotvec[:, 1:], up, data["clip"][keep]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=Path, required=True)
    parser.add_argument("--coefficients", type=int, default=48)
    parser.add_argument("--components", type=int, default=64)
    parser.add_argument("--floor-deg", type=float, default=2.5, help="noise added to each coefficient's variance")
    parser.add_argument("--exclude", nargs="*", default=["deepmimic"], help="sources left out, e.g. for their licence")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()

    bones, rotvec, up, clip = load_poses(args.poses, args.exclude, args.seed)
    other = mirror_index(bones)
    mirrored = (rotvec[:, np.array(other[1:]) - 1] * [1, -1, -1], up * [-1, 1, 1])
    held_out = clip % 10 == 0
    flat = np.concatenate([rotvec, mirrored[0]]).reshape(-1, rotvec.shape[1] * 3)
    up, held_out = np.concatenate([up, mirrored[1]]), np.concatenate([held_out, held_out])

    mean = flat[~held_out].mean(0)
    _, _, directions = np.linalg.svd(flat[~held_out] - mean, full_matrices=False)
    basis = directions[: args.coefficients].T
    samples = np.concatenate([(flat - mean) @ basis, up], axis=1)

    floor = np.radians(args.floor_deg) ** 2
    mixture = GaussianMixture(
        args.components, reg_covar=floor, random_state=args.seed, init_params="k-means++", max_iter=60, verbose=1
    ).fit(samples[~held_out])
    print(
        f"log density per sample: train {mixture.score(samples[~held_out]):.2f}, "
        f"held-out clips {mixture.score(samples[held_out]):.2f} nats"
    )
    single = GaussianMixture(1, reg_covar=floor).fit(samples[~held_out])
    print(f"one Gaussian: held-out clips {single.score(samples[held_out]):.2f} nats")

    cut = flat[held_out] - mean
    cut = np.linalg.norm((cut - cut @ basis @ basis.T).reshape(len(cut), -1, 3), axis=-1)
    print(
        f"rotation left out by {args.coefficients} coefficients: rms {np.degrees(np.sqrt((cut**2).mean())):.2f}°, "
        f"99 % below {np.degrees(np.percentile(cut, 99)):.2f}°"
    )

    tensors = {
        "mean": mean, "basis": basis, "weights": mixture.weights_, "means": mixture.means_,
        # scikit-learn keeps U with precision = U·Uᵀ; ours is W = Uᵀ with precision = Wᵀ·W.
        "whiten": mixture.precisions_cholesky_.transpose(0, 2, 1),
    }  # fmt: skip
    tensors = {k: torch.tensor(np.ascontiguousarray(v), dtype=torch.float32) for k, v in tensors.items()}
    save_file(tensors, args.out, metadata={"bone_names": ",".join(bones)})
    prior = PosePrior.load(args.out)
    check = torch.tensor(samples[held_out][:2000], dtype=torch.float32)
    print(f"written file scores {-prior.energy(check[:, :-3], check[:, -3:]).mean():.2f} on its first held-out poses")
    print(args.out, args.out.stat().st_size, "bytes, sha256", hashlib.sha256(args.out.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
