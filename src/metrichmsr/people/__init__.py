"""Who is where in the picture: detection, 2D landmarks, masks and image features.

| module | concept |
| --- | --- |
| :mod:`~metrichmsr.people.find` | :func:`find_people`, the one door |
| :mod:`~metrichmsr.people.detection` | what a detector is and gives; similarity of finds |
| :mod:`~metrichmsr.people.movenet_detector` | the default detector: whole image, tiles for crowds |
| :mod:`~metrichmsr.people.transformers_detector` | RT-DETR or RF-DETR through ``transformers``, when installed |
| :mod:`~metrichmsr.people.boxes` | boxes from a user's file |
| :mod:`~metrichmsr.people.landmarks` | :class:`Landmarks`: what is known of each person |
| :mod:`~metrichmsr.people.landmarker` | :class:`Landmarker`: crops, network, which look to keep |
| :mod:`~metrichmsr.people.heatmaps`, :mod:`~metrichmsr.people.fusion` | confidence, uncertainty, joining two networks |
| :mod:`~metrichmsr.people.regions`, :mod:`~metrichmsr.people.crops` | where to crop, and sampling it |
| :mod:`~metrichmsr.people.blazepose`, :mod:`~metrichmsr.people.movenet` | the two networks |
| :mod:`~metrichmsr.people.weight_files` | how their weights are stored |
"""

from __future__ import annotations

import importlib

_HOME = {
    "BLAZEPOSE33": "landmarks",
    "COCO17_OF_33": "landmarks",
    "Detections": "detection",
    "Detector": "detection",
    "Landmarker": "landmarker",
    "Landmarks": "landmarks",
    "MoveNetDetector": "movenet_detector",
    "People": "find",
    "TransformersDetector": "transformers_detector",
    "find_people": "find",
    "read_boxes": "boxes",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
