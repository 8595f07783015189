"""All files of one explained photo: pictures, ``explain.json``; put in place together."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metrichmsr.export.atomic import atomic_folder
from metrichmsr.export.onnx import file_hash
from metrichmsr.hmr.routing_maps import assignment

if TYPE_CHECKING:
    from PIL import Image

    from metrichmsr.explain import Explanation
    from metrichmsr.hmr.routing_maps import LayerTrace

SCHEMA = "metrichmsr-explain/1"

_OURS = ("explain.json", "explain_*.png")
_PNG_LEVEL = 3
_MOST_TOKENS = 5
_PICTURE_PX = 512
"""Side of the crop in pictures that stand alone."""


def write_explanation(explanation: Explanation, out_dir: Path, stem: str) -> tuple[Path, dict[str, Any]]:
    """Write ``out_dir/stem/`` with ``explain.json`` and the pictures; returns the folder and the document.

    For every person: ``explain_<id>.png``, the sheet; ``explain_<id>_rays.png``; ``explain_<id>_routed_1.png`` …,
    ``_shared.png``, ``_ray.png``; ``explain_<id>_assignment.png``. Other files in the folder are kept.

    Raises:
        OutputError: something else stands under the folder's name.
    """
    from metrichmsr.export.explain_pictures import PersonPictures, rays_picture
    from metrichmsr.export.explain_sheet import alone

    folder = out_dir / stem
    with atomic_folder(folder, is_ours=lambda name: any(fnmatch.fnmatchcase(name, p) for p in _OURS)) as partial:
        people = []
        for i in range(len(explanation.recovery.people)):
            drawn = PersonPictures(explanation, i, size=_PICTURE_PX)
            pictures: dict[str, Image.Image] = {
                "sheet": PersonPictures(explanation, i).sheet(),
                "rays": rays_picture(drawn),
            }
            pictures |= {name: alone(panel) for name, panel in drawn.expert_panels().items()}
            assigned = drawn.assignment_panel()
            if assigned is not None:
                pictures["assignment"] = alone(assigned)
            files = {}
            for name, picture in pictures.items():
                ending = "" if name == "sheet" else "_" + name.replace(" ", "_")
                files[name] = f"explain_{i}{ending}.png"
                picture.save(partial / files[name], compress_level=_PNG_LEVEL)
            people.append(_person(explanation, i, files))
        document = _document(explanation, people)
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        (partial / "explain.json").write_text(text + "\n", encoding="utf-8")
    return folder, document


def _document(explanation: Explanation, people: list[dict[str, Any]]) -> dict[str, Any]:
    recovery, checkpoint = explanation.recovery, explanation.checkpoint
    camera = recovery.camera
    return {
        "schema": SCHEMA,
        "image": {"path": str(recovery.image_path), "width": camera.width, "height": camera.height},
        "camera": {"K": camera.K.tolist(), "source": camera.source, "focal_std_px": camera.focal_std_px},
        "checkpoint": {"file": checkpoint.name, "sha256": file_hash(checkpoint)},
        "config": dataclasses.asdict(explanation.config),
        "notes": list(explanation.notes),
        "warnings": list(recovery.warnings),
        "people": people,
    }


def _person(explanation: Explanation, i: int, files: dict[str, str]) -> dict[str, Any]:
    from metrichmsr.export.explain_panels import ray_angles_deg
    from metrichmsr.export.explain_pictures import turn_deg

    person = explanation.recovery.people[i]
    landmarks = explanation.landmarks
    crop_from_image = landmarks.crop_from_image[i]
    in_crop = landmarks.xy[i] @ crop_from_image[:2, :2].T + crop_from_image[:2, 2]
    x_deg, y_deg = ray_angles_deg(explanation.K_crop[i], explanation.crop_size, explanation.crop_size)
    layout = explanation.layout
    return {
        "id": person.id,
        "box_xyxy": _rounded(person.box_xyxy, 2),
        "height_m": round(person.height_m, 4),
        "distance_m": round(person.distance_m, 4),
        "crop": {
            "size_px": explanation.crop_size,
            "crop_from_image": crop_from_image.tolist(),
            "turn_deg": round(turn_deg(crop_from_image), 3),
            "K": explanation.K_crop[i].tolist(),
            "ray_x_deg": [round(float(x_deg.min()), 3), round(float(x_deg.max()), 3)],
            "ray_y_deg": [round(float(y_deg.min()), 3), round(float(y_deg.max()), 3)],
        },
        "tokens": {
            "names": list(layout.names),
            "landmarks_crop_px": _rounded(in_crop, 2) if layout.landmarks else [],
            "cells": {"rows": layout.rows, "columns": layout.columns, "box_in_crops": list(layout.box)},
        },
        "layers": [_layer(explanation, layer, i) for layer in explanation.layers],
        "files": files,
    }


def _layer(explanation: Explanation, layer: LayerTrace, i: int) -> dict[str, Any]:
    """Routing weights and experts' parts in one layer."""
    count = next(iter(layer.added.values())).shape[1]
    names = tuple(f"query {k + 1}" for k in range(count)) if layer.kind == "global" else explanation.layout.names
    effects = {effect.expert: effect for effect in explanation.effects if effect.layer == layer.name}
    shares, experts = layer.shares(), []
    routing = layer.routing
    assigned = None if routing is None else assignment(routing)[i].numpy()
    for index, (name, added) in enumerate(layer.added.items()):
        effect = effects[name]
        said: dict[str, Any] = {
            "name": name,
            "mean_length_added": _finite(added[i].mean(), 4),
            "share_of_image_update": _finite(shares[name][i].mean(), 4) if name in shares else None,
            "without_it": {
                "joints_mm": _finite(effect.joints_mm[i], 2),
                "distance_percent": _finite(100 * effect.distance[i], 3),
                "height_mm": _finite(1000 * effect.height_m[i], 2),
            },
        }
        if routing is not None and assigned is not None and index < routing.combine.shape[-1]:
            weights = routing.combine[i, :, index].numpy()
            order = np.argsort(-weights)[:_MOST_TOKENS]
            said["weight"] = {
                "mean": _finite(weights.mean(), 4),
                "min": _finite(weights.min(), 4),
                "max": _finite(weights.max(), 4),
            }
            said["share_of_tokens_assigned"] = _finite((assigned == index).mean(), 4)
            said["most_read_by"] = [names[k] for k in order]
            taken = routing.dispatch[i, :, index].numpy()
            said["takes_most_from"] = [names[k] for k in np.argsort(-taken)[:_MOST_TOKENS]]
        experts.append(said)
    return {
        "name": layer.name,
        "kind": layer.kind,
        "tokens": "image tokens" if layer.kind == "patch" else "image-level tokens",
        "experts": experts,
        "weights": None if routing is None else _rounded(routing.combine[i].numpy(), 4),
        "assignment": None if assigned is None else [f"routed {k + 1}" for k in assigned],
    }


def _rounded(values: np.ndarray, digits: int) -> list[Any]:
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()


def _finite(value: Any, digits: int) -> float | None:
    number = float(value)
    return round(number, digits) if math.isfinite(number) else None
