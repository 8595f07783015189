"""How far in front of the bare body its clothes and hair are seen: what ``metrichmsr.scene.anchors.CLOTHES_M`` is.

    python scripts/measure_clothes.py SCENES

SCENES: folder that ``metrichmsr synth --kind scenes`` wrote. Each person's median over the pixels of the body that show
the person, a rim left out as anchors leave it out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import roma
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.rendering import rasterize_scene
from metrichmsr.scene.anchors import rim_px, without_rim
from metrichmsr.synthetic.shot_files import read_shots

_LEAST_PIXELS = 200


def main(folder: Path) -> None:
    """Print median and quartiles in millimetres."""
    body = AnnyBody.load()
    gaps = []
    for shot in read_shots(folder, fields=("depth", "person")):
        people = shot.people
        if not len(people.pose):
            continue
        posed = body(
            roma.rotvec_to_rotmat(torch.from_numpy(people.pose).float()),
            torch.from_numpy(people.shape).float(),
            torch.from_numpy(people.translation_m).float(),
        )
        height, width = shot.depth_m.shape
        meshes = [(vertices, body.faces) for vertices in posed.vertices_m]
        drawn = rasterize_scene(
            meshes, torch.from_numpy(shot.K).float(), height=height, width=width, cull_backfaces=True
        )
        bare, row = drawn.depth_m.numpy(), drawn.mesh_id.numpy()
        for person in range(len(people.pose)):
            shown = (row == person) & (shot.person_id == person)
            if shown.sum() < _LEAST_PIXELS:
                continue
            gap = (bare - shot.depth_m)[without_rim(shown, rim_px(shown))]
            gaps.append(np.nanmedian(gap))
    low, middle, high = 1000 * np.percentile(gaps, [25, 50, 75])
    print(f"{len(gaps)} people: median {middle:.1f} mm, quartiles {low:.1f} and {high:.1f} mm")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
