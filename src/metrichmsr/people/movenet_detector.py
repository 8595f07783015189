"""The default detector: MoveNet MultiPose over several views of the picture.

One view of the whole picture finds the large people; larger views of it find smaller ones; views turned by quarters
find those who lie or stand on their hands; where people are small, overlapping tiles are looked at closely. Pictures
that are very wide or tall are looked at in parts too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from metrichmsr.people.detection import Detections, empty_detections, remove_duplicates
from metrichmsr.people.movenet import SIZE_MULTIPLE, MoveNetMultiPose, decode
from metrichmsr.people.weight_files import WEIGHTS_DIR, load_into

WHOLE_SIDES = (512, 384, 256)
"""Long side of the views of the whole picture, input pixels. Turned ones of the last one's side follow: those of one
shape run as one batch."""
TURNED_SIDE = 256
TILE_SIDE = 384
TILE_OVERLAP = 0.25
HALF, THIRD = 0.5, 0.3
"""Side of a tile over the picture's long side."""
WIDE, WIDEST = 2.0, 10.0
"""Pictures that are longer than the first many times their short side are looked at in parts of this shape as well: in
one view of a panorama people are too small to be found. Those longer than the second get no more parts for it."""
CUT_PENALTY = 0.6
"""Factor on the score of people who touch the edge of a tile: the neighbouring tile sees them better."""
SMALL, VERY_SMALL = 0.2, 0.12
"""Parts of the picture's long side: somebody smaller promises more people of that size."""
LARGEST_VIEW = TILE_SIDE / THIRD
"""No view needs the picture's long side larger than this, pixels."""


@dataclass(frozen=True)
class View:
    """A window of the picture, how many quarters it is turned counter-clockwise, and how large the network sees it."""

    window: tuple[int, int, int, int]
    side: int
    quarters: int = 0


class MoveNetDetector:
    """Finds people with 17 keypoints each.

    Args:
        network: the network; by default the shipped weights on the CPU.
        min_score: finds below are dropped. Low by default: :func:`~metrichmsr.people.find.find_people` judges again
            with the landmarks at hand.
        max_people: keep at most so many, best first.
    """

    def __init__(
        self, *, network: MoveNetMultiPose | None = None, min_score: float = 0.1, max_people: int = 100
    ) -> None:
        if network is None:
            with torch.device("meta"):
                network = MoveNetMultiPose()
            load_into(network, WEIGHTS_DIR / "movenet_multipose.safetensors")
        self.network = network.eval().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.min_score = min_score
        self.max_people = max_people

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Detections:
        """Find the people of an upright RGB image."""
        shrink = min(1.0, LARGEST_VIEW / max(image.shape[:2]))
        small = image
        if shrink < 1:
            size = (max(1, round(image.shape[1] * shrink)), max(1, round(image.shape[0] * shrink)))
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        height, width = small.shape[:2]
        whole = (0, 0, width, height)
        views = [View(whole, side) for side in WHOLE_SIDES]
        views += [View(whole, TURNED_SIDE, quarters) for quarters in (2, 1, 3)]
        longer = min(max(width, height) / min(width, height), WIDEST)
        if longer > WIDE:
            views += [View(part, WHOLE_SIDES[0]) for part in tile_windows(width, height, WIDE / longer)]
        found = remove_duplicates(self._find(small, views))
        for fraction in (HALF, THIRD):
            if not _needs_tiles(found, max(height, width), fraction):
                break
            tiles = [View(window, TILE_SIDE) for window in tile_windows(width, height, fraction)]
            found = remove_duplicates(Detections.concatenate([found, self._find(small, tiles)]))
        ratio = np.array([image.shape[1] / width, image.shape[0] / height])
        found = found[found.scores >= self.min_score][: self.max_people]
        keypoints = found.keypoints
        assert keypoints is not None
        keypoints = np.concatenate([keypoints[..., :2] * ratio, keypoints[..., 2:]], axis=-1)
        return Detections(found.boxes_xyxy * np.tile(ratio, 2), found.scores, keypoints)

    def _find(self, image: UInt8[np.ndarray, "H W 3"], views: Iterable[View]) -> Detections:
        """People in all views, in the image's pixels; double finds included."""
        found = [empty_detections(with_keypoints=True)]
        device = next(self.network.parameters()).device
        inputs = [(view, *_input(image, view)) for view in views]
        for _, group in groupby(inputs, key=lambda item: item[1].shape):
            same_size = list(group)
            batch = torch.from_numpy(np.stack([pixels for _, pixels, _ in same_size])).to(device)
            batch = batch.permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                maps = self.network(batch)
            for i, (view, _, input_size) in enumerate(same_size):
                people = decode({name: value[i].float() for name, value in maps.items()}, max_people=self.max_people)
                boxes, keypoints = people.boxes.double().cpu().numpy(), people.keypoints.double().cpu().numpy()
                scores = people.scores.double().cpu().numpy()
                keep = scores >= self.min_score
                found.append(_in_image(Detections(boxes, scores, keypoints)[keep], view, input_size, image.shape[:2]))
        return Detections.concatenate(found)


def tile_windows(width: int, height: int, fraction: float) -> Iterator[tuple[int, int, int, int]]:
    """Square windows (x0, y0, x1, y1) that cover the picture and overlap.

    Args:
        width: of the picture, pixels.
        height: of the picture, pixels.
        fraction: side of a window over the picture's long side.
    """
    side = max(1, round(fraction * max(width, height)))

    def starts(length: int) -> list[int]:
        if length <= side:
            return [0]
        count = int(np.ceil((length - side) / (side * (1 - TILE_OVERLAP)))) + 1
        return [round(i * (length - side) / (count - 1)) for i in range(count)]

    for y in starts(height):
        for x in starts(width):
            yield x, y, min(x + side, width), min(y + side, height)


def _needs_tiles(found: Detections, long_side: int, fraction: float) -> bool:
    """Whether tiles of this size promise more people. Large people do not, however many: one view shows them all."""
    likely = found[found.scores >= 0.15]
    size = (likely.boxes_xyxy[:, 2:] - likely.boxes_xyxy[:, :2]).max(-1, initial=0) / long_side
    if fraction == HALF:
        return bool((size < SMALL).any())
    return int((size < VERY_SMALL).sum()) >= 3


def _input(image: UInt8[np.ndarray, "H W 3"], view: View) -> tuple[UInt8[np.ndarray, "h w 3"], tuple[int, int]]:
    """The network's input for a view, padded to its size multiple, and (width, height) before padding."""
    x0, y0, x1, y1 = view.window
    patch = image[y0:y1, x0:x1]
    scale = view.side / max(patch.shape[:2])
    size = (max(1, round(patch.shape[1] * scale)), max(1, round(patch.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    # Turned when small: turning a large picture takes longer than shrinking it.
    patch = np.rot90(cv2.resize(patch, size, interpolation=method), view.quarters)
    height, width = patch.shape[:2]
    padding = ((0, -height % SIZE_MULTIPLE), (0, -width % SIZE_MULTIPLE), (0, 0))
    return np.pad(patch, padding), (width, height)


def _in_image(found: Detections, view: View, input_size: tuple[int, int], image_size: tuple[int, ...]) -> Detections:
    """Finds of one view, from input pixels to the image's; those that a tile's edge cuts lose some score."""
    x0, y0, x1, y1 = view.window
    width, height = x1 - x0, y1 - y0
    turned_size = (height, width) if view.quarters % 2 else (width, height)
    ratio = np.array(turned_size) / input_size

    def back(points: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "... 2"]:
        x, y = np.moveaxis(points * ratio, -1, 0)
        if view.quarters == 1:
            x, y = width - y, x
        elif view.quarters == 2:
            x, y = width - x, height - y
        elif view.quarters == 3:
            x, y = y, height - x
        return np.stack([x + x0, y + y0], axis=-1)

    assert found.keypoints is not None
    corners = back(found.boxes_xyxy.reshape(-1, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=-1)
    keypoints = np.concatenate([back(found.keypoints[..., :2]), found.keypoints[..., 2:]], axis=-1)
    near = 0.01 * max(width, height)
    cut = (boxes[:, 0] < x0 + near) & (x0 > 0) | (boxes[:, 2] > x1 - near) & (x1 < image_size[1])
    cut |= (boxes[:, 1] < y0 + near) & (y0 > 0) | (boxes[:, 3] > y1 - near) & (y1 < image_size[0])
    return Detections(boxes, found.scores * np.where(cut, CUT_PENALTY, 1.0), keypoints)
