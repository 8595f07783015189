"""Landmarks as the landmark network would report them, without a picture: thousands of samples a second.

Bodies, poses and cameras are SynFocal's; the landmarks are the body's own, moved to where the network sees them
(:class:`~metrichmsr.hmr.fitting.seen_landmarks.SeenLandmarks`), with the errors that it made on rendered people
(:class:`~metrichmsr.training.landmark_errors.LandmarkErrors`). Where there are no renderings: with noise as large as
the confidence that goes with it says (:func:`metrichmsr.people.heatmaps.sigma_of_peak`), and guesses where the picture
does not reach, which is kinder than the real thing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.hmr.crop_evidence import CROP_SIZE, landmark_inputs
from metrichmsr.hmr.fitting.seen_landmarks import SeenLandmarks
from metrichmsr.hmr.heads import camera_from_crop
from metrichmsr.people.heatmaps import OVERCONFIDENCE, SIGMA_FLOOR, TARGET_SIGMA
from metrichmsr.people.landmarker import OUTSIDE_CONFIDENCE, OUTSIDE_SIGMA
from metrichmsr.people.landmarks import COCO17_OF_33
from metrichmsr.people.regions import MARGIN, REACH_BEYOND_KEYPOINTS
from metrichmsr.synthetic.camera_sampler import CameraSampler
from metrichmsr.synthetic.crowd_sampler import CrowdSampler
from metrichmsr.synthetic.splits import Split
from metrichmsr.training.landmark_errors import LandmarkErrors, true_landmarks
from metrichmsr.training.samples import Samples

_GROWN_UP_M = 1.65
_ARM = ("clavicle", "shoulder01", "upperarm", "lowerarm", "wrist")
_LEG = ("upperleg", "lowerleg", "foot", "toe")
_LEFT_SHOULDER, _RIGHT_SHOULDER, _LEFT_HIP, _RIGHT_HIP = 11, 12, 23, 24


@dataclass(frozen=True)
class LandmarkNoise:
    """How landmarks depart from the truth."""

    good: float = 0.8
    """Share of people who are seen well; the rest's heat maps are low all over."""
    guessed: float = 0.10
    """One sigma of landmarks outside the picture, as a share of the crop's side."""
    world_m: float = 0.04
    """One sigma of the network's 3D landmarks sideways…"""
    world_depth_m: float = 0.12
    """…and in depth."""
    region_middle: float = 0.04
    """One sigma of the crop's middle, as a share of its side…"""
    region_size: float = 0.11
    """…and of the log of that side."""
    turn_rad: float = 0.08
    """One sigma of the crop's turn."""
    box_share: float = 0.15
    """Share of crops taken upright around the box, as without keypoints."""


@dataclass(frozen=True)
class PoseVariety:
    """How poses are varied beyond those that were captured: nobody is rendered, so that they need not be tidy."""

    limbs: float = 0.12
    """Share of people who get somebody else's arm; the same of the other arm and of each leg."""
    bend_deg: float = 20.0
    """Largest one sigma of a turn of every bone."""
    tumbling: float = 0.08
    """Share of people who are turned as a whole, in any way."""
    untouched: float = 0.35
    """Share of people whose pose stays as it was drawn: who stands straight shall be among them."""


class SimulatedLandmarks:
    """Makes samples without pictures.

    Args:
        crowds: people.
        cameras: their cameras.
        noise: of landmarks.
        errors: what the landmark network did on rendered people; takes the place of noise.
        variety: of poses.
    """

    def __init__(
        self,
        crowds: CrowdSampler,
        cameras: CameraSampler | None = None,
        noise: LandmarkNoise | None = None,
        errors: LandmarkErrors | None = None,
        variety: PoseVariety | None = None,
    ) -> None:
        self.crowds = crowds
        self.errors = errors
        self.cameras = cameras or CameraSampler()
        self.noise = noise or LandmarkNoise()
        self.variety = variety or PoseVariety()
        self._seen = SeenLandmarks.load(crowds.body)
        self._driven = [crowds.body.bone_names.index(bone) for bone in crowds.body.driven_bones]
        self._limbs = [
            [
                number
                for number, bone in zip(self._driven, crowds.body.driven_bones, strict=True)
                if bone.startswith(parts) and bone.endswith(side)
            ]
            for parts in (_ARM, _LEG)
            for side in (".L", ".R")
        ]

    @classmethod
    def load(cls, assets: Path | None, *, split: Split = "train", rendered: Sequence[Path] = ()) -> SimulatedLandmarks:
        """With the poses of an asset folder or the shipped prior's, and the errors in shards of rendered samples."""
        body = AnnyBody.load()
        errors = LandmarkErrors.read(rendered, body) if rendered else None
        return cls(CrowdSampler.load(assets, body=body, split=split), errors=errors)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Samples:
        """Draw samples; the generator decides everything."""
        crowd = self.crowds.sample(count, generator, people=1)
        crowd = replace(crowd, pose=self._varied(crowd.pose, generator))
        light = self.crowds.light(crowd.pose, crowd.shape, crowd.translation_m)
        cameras = self.cameras.sample(crowd, light.vertices_m, generator)
        rotation, shift = cameras.camera_from_world[:, :3, :3], cameras.camera_from_world[:, :3, 3]
        seen = self._seen(light) @ rotation.transpose(1, 2) + shift[:, None]
        homogeneous = seen @ cameras.K.transpose(1, 2)
        front = seen[..., 2] > 0.1
        xy = homogeneous[..., :2] / homogeneous[..., 2:].clamp_min(0.1)
        size = torch.stack([cameras.width, cameras.height], dim=-1)[:, None].float()
        inside = ((xy >= 0) & (xy < size)).all(-1) & front
        crop_from_image = self._crops(xy, inside, size[:, 0], generator)
        K_crop = crop_from_image @ cameras.K
        if self.errors is None:
            landmarks = self._spoil(xy, seen, light.height_m, inside, crop_from_image, K_crop, generator)
        else:
            landmarks = self.errors.lend(*true_landmarks(seen, K_crop), generator)
        root = rotation @ crowd.pose[:, 0]
        pose = torch.cat([root[:, None], crowd.pose[:, self._driven[1:]]], dim=1)
        return Samples(
            features=None,
            mask=None,
            landmarks=landmarks,
            K_crop=K_crop,
            pose=roma.rotmat_to_rotvec(pose),
            shape=crowd.shape,
            translation_m=(rotation @ crowd.translation_m[..., None]).squeeze(-1) + shift,
            up=rotation[:, :, 1].contiguous(),
        )

    def _varied(self, pose: Float[Tensor, "B J 3 3"], generator: torch.Generator) -> Float[Tensor, "B J 3 3"]:
        """Limbs of others, joints bent otherwise, and people head over heels: athletes do what no clip holds."""
        count, variety = len(pose), self.variety
        drawn, pose = pose, pose.clone()
        for limb in self._limbs:
            swapped = torch.rand(count, generator=generator) < variety.limbs
            other = torch.randint(count, (count,), generator=generator)
            pose[:, limb] = torch.where(swapped[:, None, None, None], pose[other][:, limb], pose[:, limb])
        # Everybody is bent by an amount of their own, most by little.
        amount = math.radians(variety.bend_deg) * torch.rand(count, 1, 1, generator=generator).square()
        driven = self._driven[1:]
        bend = amount * torch.randn(count, len(driven), 3, generator=generator)
        pose[:, driven] = pose[:, driven] @ roma.rotvec_to_rotmat(bend)
        tumbling = torch.rand(count, generator=generator) < variety.tumbling
        axis = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
        turn = roma.rotvec_to_rotmat(axis * (math.pi * torch.rand(count, 1, generator=generator)))
        pose[:, 0] = torch.where(tumbling[:, None, None], turn @ pose[:, 0], pose[:, 0])
        untouched = torch.rand(count, generator=generator) < variety.untouched
        return torch.where(untouched[:, None, None, None], drawn, pose)

    def _crops(
        self,
        xy: Float[Tensor, "B 33 2"],
        inside: Bool[Tensor, "B 33"],
        size: Float[Tensor, "B 2"],
        generator: torch.Generator,
    ) -> Float[Tensor, "B 3 3"]:
        """As :mod:`metrichmsr.people.regions` cuts them, not quite."""
        noise, count = self.noise, len(xy)
        u, normal = torch.rand(count, generator=generator), torch.randn(4, count, generator=generator)
        clipped = torch.minimum(xy.clamp_min(0), size[:, None])
        coco = list(COCO17_OF_33)
        seen = inside[:, coco]
        low = torch.where(seen[..., None], clipped[:, coco], torch.inf).amin(1)
        high = torch.where(seen[..., None], clipped[:, coco], -torch.inf).amax(1)
        low, high = torch.where(torch.isfinite(low), low, 0.0), torch.where(torch.isfinite(high), high, size)
        trunk = inside[:, [_LEFT_SHOULDER, _RIGHT_SHOULDER, _LEFT_HIP, _RIGHT_HIP]].all(-1)
        hip = 0.5 * (xy[:, _LEFT_HIP] + xy[:, _RIGHT_HIP])
        up = 0.5 * (xy[:, _LEFT_SHOULDER] + xy[:, _RIGHT_SHOULDER]) - hip
        radius = torch.where(seen, (xy[:, coco] - hip[:, None]).norm(dim=-1), 0.0).amax(1) * REACH_BEYOND_KEYPOINTS
        by_box = ~trunk | (u < noise.box_share)
        center = torch.where(by_box[:, None], 0.5 * (low + high), hip)
        # Detectors' boxes hold the head's top and the feet's ends, keypoints do not.
        side = torch.where(by_box, 1.12 * (high - low).amax(-1), 2 * radius).clamp_min(16) * MARGIN
        side = side * (noise.region_size * normal[0]).exp()
        center = center + noise.region_middle * side[:, None] * normal[1:3].T
        turn = torch.where(by_box, 0.0, torch.atan2(up[:, 0], -up[:, 1])) + noise.turn_rad * normal[3] * ~by_box
        cos, sin = turn.cos() * CROP_SIZE / side, turn.sin() * CROP_SIZE / side
        matrix = torch.zeros(count, 3, 3)
        matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1], matrix[:, 2, 2] = cos, sin, -sin, cos, 1
        matrix[:, :2, 2] = CROP_SIZE / 2 - (matrix[:, :2, :2] @ center[..., None]).squeeze(-1)
        return matrix

    def _spoil(
        self,
        xy: Float[Tensor, "B 33 2"],
        seen_m: Float[Tensor, "B 33 3"],
        height_m: Float[Tensor, "B"],
        inside: Bool[Tensor, "B 33"],
        crop_from_image: Float[Tensor, "B 3 3"],
        K_crop: Float[Tensor, "B 3 3"],
        generator: torch.Generator,
    ) -> Float[Tensor, "B 33 9"]:
        noise, count = self.noise, len(xy)
        u = torch.rand(3, count, 33, generator=generator)
        well = torch.rand(count, 1, generator=generator) < noise.good
        # Heat maps are high where joints are plain to see, and anything elsewhere.
        peak = torch.where(well, 0.55 + 0.43 * u[0].sqrt(), 0.1 + 0.8 * u[0])
        peak = torch.where(u[1] < 0.08, 0.1 + 0.4 * u[2], peak)
        blur = TARGET_SIGMA * (1 / peak.clamp(0.02, 1) - 1).sqrt()
        sigma = ((OVERCONFIDENCE * blur).square() + SIGMA_FLOOR**2).sqrt()
        scale = torch.linalg.det(crop_from_image[:, :2, :2]).sqrt()[:, None]
        normal = torch.randn(count, 33, 2, generator=generator)
        heavy = torch.randn(count, 33, 1, generator=generator).abs().clamp_min(0.4)
        error = normal * (0.6 * sigma * heavy.squeeze(-1))[..., None]
        guess = normal * noise.guessed * CROP_SIZE
        places = xy + torch.where(inside[..., None], error, guess + error) / scale[..., None]
        view = camera_from_crop(K_crop, CROP_SIZE)
        hips = 0.5 * (seen_m[:, _LEFT_HIP] + seen_m[:, _RIGHT_HIP])
        world = (seen_m - hips[:, None]) @ view
        # The landmark network makes everybody about as large as a grown-up.
        world = world * (_GROWN_UP_M / height_m)[:, None, None]
        amount = world.new_tensor([noise.world_m, noise.world_m, noise.world_depth_m])
        shared = torch.randn(count, 1, 3, generator=generator) * 0.5
        world = world * (1 + 0.08 * torch.randn(count, 1, 1, generator=generator))
        world = world + amount * (
            torch.randn(count, 33, 3, generator=generator) + shared * world.norm(dim=-1, keepdim=True)
        )
        linear = crop_from_image[:, :2, :2] / scale[..., None]
        # The view is turned with the crop; landmark_inputs wants what is not.
        upright = torch.cat([world[..., :2] @ linear, world[..., 2:]], dim=-1)
        certain = torch.where(inside, 0.7 + 0.3 * u[2], 0.5 * u[2])
        return landmark_inputs(
            places,
            peak * torch.where(inside, 1.0, OUTSIDE_CONFIDENCE),
            sigma * torch.where(inside, 1.0, OUTSIDE_SIGMA) / scale,
            certain,
            torch.where(inside, 1 - 0.05 * u[1], math.sqrt(0.5) * u[1]),
            upright,
            crop_from_image,
        )
