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
| :mod:`~metrichmsr.people.linking` | who is the same person in the frames of a sequence |
| :mod:`~metrichmsr.people.weight_files` | how their weights are stored |
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
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

if TYPE_CHECKING:
    from metrichmsr.people.boxes import read_boxes as read_boxes
    from metrichmsr.people.detection import Detections as Detections
    from metrichmsr.people.detection import Detector as Detector
    from metrichmsr.people.find import People as People
    from metrichmsr.people.find import find_people as find_people
    from metrichmsr.people.landmarker import Landmarker as Landmarker
    from metrichmsr.people.landmarks import COCO17_OF_33 as COCO17_OF_33
    from metrichmsr.people.landmarks import Landmarks as Landmarks
    from metrichmsr.people.movenet_detector import MoveNetDetector as MoveNetDetector
    from metrichmsr.people.transformers_detector import TransformersDetector as TransformersDetector


__all__ = [
    "COCO17_OF_33",
    "Detections",
    "Detector",
    "Landmarker",
    "Landmarks",
    "MoveNetDetector",
    "People",
    "TransformersDetector",
    "find_people",
    "read_boxes",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
