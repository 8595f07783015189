"""What the landmark network really does wrong on rendered people, to be dealt out to simulated ones.

Errors of a landmark network are neither independent nor Gaussian: limbs are lost together, sides change together, the
3D landmarks turn as a whole. So a simulated person takes over all errors, confidences and 3D errors of one rendered
person who lies alike in the crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.errors import InputError
from metrichmsr.hmr.body_parameters import SIZES, BodyParameters
from metrichmsr.hmr.crop_evidence import CROP_SIZE
from metrichmsr.hmr.fitting.seen_landmarks import SeenLandmarks
from metrichmsr.hmr.heads import camera_from_crop
from metrichmsr.training.samples import Samples, read_samples

_AT_ONCE = 250
_LEFT_HIP, _RIGHT_HIP = 23, 24
_PLACE_LIMIT = 3.0
_WORLD_LIMIT = 2.0


@dataclass(frozen=True)
class LandmarkErrors:
    """M rendered people: how they lie, and what the landmark network made of them."""

    layout: Float[Tensor, "M 165"]
    place: Float[Tensor, "M 33 2"]
    """Seen minus true, half crops."""
    certainty: Float[Tensor, "M 33 4"]
    """As the network is shown it: confidence, sigma, visibility, presence."""
    world: Float[Tensor, "M 33 3"]
    """3D landmarks, seen minus true, each of size 1, view frame."""
    size_m: Float[Tensor, "M"]
    """Size of the seen ones: the landmark network makes everybody about as large as a grown-up."""

    def __len__(self) -> int:
        return len(self.layout)

    @classmethod
    @torch.no_grad()
    def of(cls, samples: Samples, body: AnnyBody) -> LandmarkErrors:
        """Errors of rendered samples.

        Raises:
            InputError: they are photographs, of which the truth is not known.
        """
        if samples.keypoints is not None:
            raise InputError("errors of landmarks are learned from rendered samples, not from photographs")
        parameters, seen = BodyParameters(body, SIZES["anny"]), SeenLandmarks.load(body)
        parts = []
        for index in torch.arange(len(samples)).split(_AT_ONCE):
            part = samples[index]
            rotations = part.truth_rotations()
            output = body(parameters.expand(rotations), part.shape.float(), part.translation_m.float())
            place, world = true_landmarks(seen(output), part.K_crop.float())
            told = part.landmarks.float()
            shown = told[..., 6:]
            turned = shown / size_m(shown)[:, None, None] - world / size_m(world)[:, None, None]
            parts.append((layout(place, world), told[..., :2] - place, told[..., 2:6], turned, size_m(shown)))
        return cls(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

    @classmethod
    def read(cls, shards: Sequence[Path], body: AnnyBody) -> LandmarkErrors:
        """Errors of the rendered samples of some shards."""
        return cls.of(read_samples(shards, pictures=False), body)

    def lend(
        self,
        place: Float[Tensor, "B 33 2"],
        world_m: Float[Tensor, "B 33 3"],
        generator: torch.Generator,
        *,
        candidates: int = 2000,
        milder: float = 0.65,
    ) -> Float[Tensor, "B 33 9"]:
        """Landmarks of B people as the landmark network would tell them, each with one rendered person's errors.

        Args:
            place: true ones, half crops from the crop's middle.
            world_m: true ones, from the middle of the hips, view frame.
            generator: decides everything.
            candidates: of so many random rendered people the one who lies most alike is taken.
            milder: share of people whose errors are scaled down, by anything to 0.1: photographs are easier to read
                than renderings.
        """
        drawn = torch.randint(len(self), (min(candidates, len(self)),), generator=generator)
        row = drawn[self._nearest(layout(place, world_m), self.layout[drawn])]
        u = torch.rand(2, len(place), 1, 1, generator=generator)
        factor = torch.where(u[0] < milder, 0.1 + 0.9 * u[1], torch.ones(()))
        # True sizes must not show: what tells a child is not its 3D landmarks.
        shape = world_m / size_m(world_m)[:, None, None] + factor * self.world[row]
        world = shape * self.size_m[row][:, None, None]
        return torch.cat(
            [
                (place + factor * self.place[row]).clamp(-_PLACE_LIMIT, _PLACE_LIMIT),
                self.certainty[row],
                world.clamp(-_WORLD_LIMIT, _WORLD_LIMIT),
            ],
            dim=-1,
        )

    @staticmethod
    def _nearest(wanted: Float[Tensor, "B 165"], there: Float[Tensor, "C 165"]) -> Int64[Tensor, "B"]:
        return torch.cdist(wanted, there).argmin(1)


def true_landmarks(
    points_m: Float[Tensor, "B 33 3"], K_crop: Float[Tensor, "B 3 3"]
) -> tuple[Float[Tensor, "B 33 2"], Float[Tensor, "B 33 3"]]:
    """Places in half crops from the middle, and metres from the middle of the hips in the view frame.

    Args:
        points_m: landmarks in the camera frame.
        K_crop: intrinsics of the crops.
    """
    homogeneous = points_m @ K_crop.transpose(1, 2)
    place = homogeneous[..., :2] / homogeneous[..., 2:].clamp_min(0.1) * (2 / CROP_SIZE) - 1
    hips = 0.5 * (points_m[:, _LEFT_HIP] + points_m[:, _RIGHT_HIP])
    return place.clamp(-_PLACE_LIMIT, _PLACE_LIMIT), (points_m - hips[:, None]) @ camera_from_crop(K_crop, CROP_SIZE)


def layout(place: Float[Tensor, "B 33 2"], world_m: Float[Tensor, "B 33 3"]) -> Float[Tensor, "B 165"]:
    """How somebody lies in the crop: near is alike. Beyond the crop's edge it hardly matters how far."""
    return torch.cat([place.clamp(-1.5, 1.5), 0.5 * world_m / size_m(world_m)[:, None, None]], dim=-1).flatten(1)


def size_m(world_m: Float[Tensor, "B 33 3"]) -> Float[Tensor, "B"]:
    """Root mean square distance of landmarks from the middle of the hips."""
    return world_m.square().sum(-1).mean(-1).sqrt().clamp_min(0.05)
