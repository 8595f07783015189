"""Running BlazePose heavy over everybody in a picture, each crop turned the way that shows most of a body.

The network expects an upright person. A first look uses the detector's keypoints, or the box. Where the heat maps are
not high then, a look aligned by its result joins in; where they are low, four looks at the box turned by quarters as
well, and a look aligned by the result of each. The one with the highest heat maps wins (of ten a little agreement with
the detector's keypoints counts as well).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from metrichmsr.people.blazepose import CROP_SIZE, BlazePoseHeavy, BlazePoseOutput
from metrichmsr.people.crops import crop_from_image_matrices, extract_crops, transform_points
from metrichmsr.people.fusion import DETECTOR_TRUST, agreement, join_keypoints
from metrichmsr.people.heatmaps import refine, sigma_of_peak
from metrichmsr.people.landmarks import COCO17_OF_33, Landmarks
from metrichmsr.people.regions import region_from_alignment, region_from_box, region_from_keypoints
from metrichmsr.people.weight_files import WEIGHTS_DIR, load_into

BODY = slice(0, 33)
MID_HIP, CIRCLE_POINT = 33, 34
COCO = list(COCO17_OF_33)
SURE_SCORE, GOOD_SCORE = 0.82, 0.7
"""A first look with heat maps this high is kept as it is; one below the second gets the whole round."""
SMALLEST_AGAIN = 80.0
"""Regions smaller than this (image pixels) get no second look: there is nothing more to see."""
AGREEMENT_WEIGHT = 0.3
"""What agreement with the detector's keypoints counts, against the height of the heat maps."""
OUTSIDE_CONFIDENCE = 0.05
"""Factor on the confidence of landmarks outside the image."""
OUTSIDE_SIGMA = 3.0
"""Factor on their sigma."""
PEOPLE_AT_ONCE = 8


@dataclass(frozen=True)
class Looks:
    """What the network sees in some crops, in the image's continuous pixels."""

    region: Float[np.ndarray, "L 4"]
    aligned: Float[np.ndarray, "L 4"]
    """The region that BlazePose itself would look at next."""
    xy: Float[np.ndarray, "L 33 2"]
    peak: Float[np.ndarray, "L 33"]
    """Height of the heat maps."""
    inside: Bool[np.ndarray, "L 33"]
    """Whether a landmark is inside the image."""
    z: Float[np.ndarray, "L 33"]
    visibility: Float[np.ndarray, "L 33"]
    presence: Float[np.ndarray, "L 33"]
    world: Float[np.ndarray, "L 33 3"]
    mask_logits: Float[np.ndarray, "L 256 256"]
    features: Float[np.ndarray, "L 192 16 16"]
    grid32: Float[np.ndarray, "L 56 32 32"]

    def __getitem__(self, index: Int[np.ndarray, "M"] | list[int]) -> Looks:
        return Looks(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @staticmethod
    def concatenate(parts: list[Looks]) -> Looks:
        """All looks of several."""
        return Looks(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Looks)})

    def score(self) -> Float[np.ndarray, "L"]:
        """Mean height of the heat maps of those COCO-17 landmarks that are inside the image."""
        inside = self.inside[:, COCO]
        return (self.peak[:, COCO] * inside).sum(1) / np.maximum(inside.sum(1), 1)

    def found(self) -> Float[np.ndarray, "L"]:
        """The same over all 17, those outside counting nothing: a look that sees more of the body wins."""
        return (self.peak[:, COCO] * self.inside[:, COCO]).mean(1)


class Landmarker:
    """Landmarks, masks and features of all people of an image.

    Args:
        network: the network; by default the shipped weights on the CPU.
        batch_size: crops at once.
        thorough: whether people who are not seen well at first get more looks (one or nine more crops each).
    """

    def __init__(self, *, network: BlazePoseHeavy | None = None, batch_size: int = 8, thorough: bool = True) -> None:
        if network is None:
            with torch.device("meta"):
                network = BlazePoseHeavy()
            load_into(network, WEIGHTS_DIR / "blazepose_heavy.safetensors")
        self.network = network.eval().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.batch_size = batch_size
        self.thorough = thorough

    def __call__(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        boxes_xyxy: Float[np.ndarray, "N 4"],
        *,
        keypoints: Float[np.ndarray, "N 17 3"] | None = None,
    ) -> Landmarks:
        """Landmarks of the people in these boxes, in the same order.

        Args:
            image: upright RGB.
            boxes_xyxy: a box per person, continuous pixels.
            keypoints: the detector's COCO-17 keypoints (u, v, confidence), where it gives any.
        """
        boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
        looks = self.first_look(image, boxes, keypoints)
        if self.thorough:
            looks = self.look_again(image, boxes, keypoints, looks)
        return to_landmarks(looks, keypoints)

    def first_look(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        boxes_xyxy: Float[np.ndarray, "N 4"],
        keypoints: Float[np.ndarray, "N 17 3"] | None = None,
    ) -> Looks:
        """One crop a person: turned by the keypoints where there are any, upright otherwise."""
        if keypoints is None:
            return self.look_at(image, _stack([region_from_box(box) for box in boxes_xyxy]))
        pairs = zip(keypoints, boxes_xyxy, strict=True)
        return self.look_at(image, _stack([region_from_keypoints(points, box) for points, box in pairs]))

    def look_at_each(self, images: Sequence[UInt8[np.ndarray, "H W 3"]], regions: Float[np.ndarray, "L 4"]) -> Looks:
        """One region in each of several images, in batches over all: for going through many pictures of one person.

        Args:
            images: upright RGB, sizes may differ.
            regions: center_x, center_y, size, rotation of each (:mod:`metrichmsr.people.crops`).
        """
        crops = [
            extract_crops(image, region[None], crop_size=CROP_SIZE)
            for image, region in zip(images, regions, strict=True)
        ]
        sizes = np.array([image.shape[:2] for image in images]).reshape(-1, 2)
        return self._run(np.concatenate(crops), regions, sizes)

    def look_again(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        boxes_xyxy: Float[np.ndarray, "N 4"],
        keypoints: Float[np.ndarray, "N 17 3"] | None,
        looks: Looks,
    ) -> Looks:
        """The looks, replaced by better ones for people not seen well: the best of two, or of ten."""
        scores = looks.score()
        large = looks.region[:, 2] >= SMALLEST_AGAIN
        result, order = [looks], np.arange(len(scores))
        for turned, doubtful in ((False, (scores < SURE_SCORE) & (scores >= GOOD_SCORE)), (True, scores < GOOD_SCORE)):
            unsure = np.flatnonzero(doubtful & large)
            for start in range(0, len(unsure), PEOPLE_AT_ONCE):
                rows = unsure[start : start + PEOPLE_AT_ONCE]
                points = None if keypoints is None else keypoints[rows]
                order[rows] = sum(len(part.region) for part in result) + np.arange(len(rows))
                result.append(self._best_look(image, boxes_xyxy[rows], points, looks[rows], turned=turned))
        return Looks.concatenate(result)[order]

    def _best_look(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        boxes: Float[np.ndarray, "N 4"],
        keypoints: Float[np.ndarray, "N 17 3"] | None,
        first: Looks,
        *,
        turned: bool,
    ) -> Looks:
        """The best of the first look, with ``turned`` four at the box turned by quarters, and each of them aligned."""
        candidates = first
        if turned:
            upright = _stack([region_from_box(box) for box in boxes])
            quarters = (1, 2, 3) if keypoints is None else (0, 1, 2, 3)  # without keypoints the first look was upright
            regions = np.concatenate([upright + np.array([0, 0, 0, quarter * np.pi / 2]) for quarter in quarters])
            candidates = Looks.concatenate([first, self.look_at(image, regions)])
        candidates = Looks.concatenate([candidates, self.look_at(image, candidates.aligned)])
        value = candidates.found()
        # Looks that are upright all alike are told apart by their heat maps alone.
        if turned and keypoints is not None:
            reference = np.tile(keypoints, (len(value) // len(keypoints), 1, 1))
            value = value + AGREEMENT_WEIGHT * agreement(candidates.xy[:, COCO], reference, candidates.region[:, 2])
        best = value.reshape(-1, len(boxes)).argmax(0)  # candidates come in rounds over all people
        return candidates[best * len(boxes) + np.arange(len(boxes))]

    def look_at(self, image: UInt8[np.ndarray, "H W 3"], regions: Float[np.ndarray, "L 4"]) -> Looks:
        """The network on regions of one image, in batches.

        Args:
            image: upright RGB.
            regions: center_x, center_y, size, rotation of each (:mod:`metrichmsr.people.crops`).
        """
        sizes = np.tile(image.shape[:2], (len(regions), 1))
        return self._run(extract_crops(image, regions, crop_size=CROP_SIZE), regions, sizes)

    def _run(
        self,
        pixels: UInt8[np.ndarray, "L S S 3"],
        regions: Float[np.ndarray, "L 4"],
        sizes: Int[np.ndarray, "L 2"],
    ) -> Looks:
        """The network on crops of these regions of images of these sizes (rows, columns)."""
        crops = torch.from_numpy(pixels)
        device = next(self.network.parameters()).device
        outputs = []
        with torch.inference_mode():
            for batch in crops.split(self.batch_size) if len(crops) else [crops]:
                batch = batch.to(device).permute(0, 3, 1, 2).float().div(255)
                outputs.append(
                    self.network(batch.contiguous(memory_format=torch.channels_last), features=("r16", "grid32"))
                )
        parts = [slice(i * self.batch_size, (i + 1) * self.batch_size) for i in range(len(outputs))]
        return Looks.concatenate(
            [_in_image(output, regions[part], sizes[part]) for output, part in zip(outputs, parts, strict=True)]
        )


def _in_image(output: BlazePoseOutput, regions: Float[np.ndarray, "L 4"], sizes: Int[np.ndarray, "L 2"]) -> Looks:
    """From crop pixels to image pixels, from the crop's axes to the camera's."""
    refined = refine(output.landmarks[..., :2], output.heatmap_logits)
    image_from_crop = np.linalg.inv(crop_from_image_matrices(regions, crop_size=CROP_SIZE))
    xy = transform_points(image_from_crop, _numpy(refined.xy[:, BODY]))
    alignment = transform_points(image_from_crop, _numpy(output.landmarks[:, [MID_HIP, CIRCLE_POINT], :2]))
    cos, sin = np.cos(regions[:, 3]), np.sin(regions[:, 3])
    turn = np.zeros((len(regions), 3, 3))
    turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1], turn[:, 2, 2] = cos, -sin, sin, cos, 1
    assert output.mask_logits is not None
    return Looks(
        region=regions,
        aligned=_stack([region_from_alignment(*pair) for pair in alignment]),
        xy=xy,
        peak=_numpy(refined.peak[:, BODY]),
        inside=np.all((xy >= 0) & (xy <= sizes[:, None, ::-1]), axis=-1),
        z=_numpy(output.landmarks[:, BODY, 2]) * regions[:, 2, None] / CROP_SIZE,
        visibility=_numpy(output.visibility_logits[:, BODY].sigmoid()),
        presence=_numpy(output.presence_logits[:, BODY].sigmoid()),
        world=np.einsum("nij,npj->npi", turn, _numpy(output.world[:, BODY])),
        mask_logits=output.mask_logits.float().cpu().numpy(),
        features=output.features["r16"].float().cpu().numpy(),
        grid32=output.features["grid32"].float().cpu().numpy(),
    )


def to_landmarks(seen: Looks, keypoints: Float[np.ndarray, "N 17 3"] | None) -> Landmarks:
    """One look a person, with confidences and sigmas, and the detector's keypoints joined in."""
    pixels = seen.region[:, 2, None] / CROP_SIZE  # image pixels per crop pixel
    xy, confidence = seen.xy.copy(), seen.peak.copy()
    sigma = sigma_of_peak(seen.peak) * pixels
    agreed = np.full(len(xy), np.nan)
    if keypoints is not None and len(keypoints):
        agreed = agreement(xy[:, COCO], keypoints, seen.region[:, 2])
        theirs = sigma_of_peak(DETECTOR_TRUST * keypoints[..., 2]) * pixels
        joined = join_keypoints(xy[:, COCO], confidence[:, COCO], sigma[:, COCO], keypoints, theirs)
        xy[:, COCO], confidence[:, COCO], sigma[:, COCO] = joined
    return Landmarks(
        xy=xy,
        z=seen.z,
        confidence=confidence * np.where(seen.inside, 1, OUTSIDE_CONFIDENCE),
        sigma_px=sigma * np.where(seen.inside, 1, OUTSIDE_SIGMA),
        visibility=seen.visibility,
        presence=seen.presence,
        world=seen.world,
        score=seen.score(),
        agreement=agreed,
        mask_logits=seen.mask_logits,
        crop_from_image=crop_from_image_matrices(seen.region, crop_size=CROP_SIZE),
        features=seen.features,
        grid32=seen.grid32,
    )


def _stack(regions: list[Float[np.ndarray, "4"]]) -> Float[np.ndarray, "L 4"]:
    return np.array(regions, np.float64).reshape(-1, 4)


def _numpy(x: Tensor) -> Float[np.ndarray, "..."]:
    return x.double().cpu().numpy()
