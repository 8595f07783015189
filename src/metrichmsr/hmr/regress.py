"""Bodies of one picture's people by the network, as fitting gives them: an estimate with its doubt."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.protocol import BodyOutput
from metrichmsr.bodies.shape_prior import BETWEEN
from metrichmsr.errors import ModelFileError, UsageError
from metrichmsr.geometry import mirror_intrinsics
from metrichmsr.hmr.body_parameters import SIZES, BodyParameters
from metrichmsr.hmr.checkpoint import load_network
from metrichmsr.hmr.config import NetworkConfig
from metrichmsr.hmr.crop_evidence import Up, evidence_from_landmarks
from metrichmsr.hmr.estimates import BodyEstimates
from metrichmsr.hmr.face_cue import build, stature_likelihood
from metrichmsr.hmr.mirror import averaged, mirrored_up
from metrichmsr.hmr.network import MetricBodies, MetricHMR
from metrichmsr.hmr.placing import Projections, place
from metrichmsr.hmr.stature import (
    POSE_SIGMA,
    Who,
    among,
    as_photographed,
    as_seen,
    distance_sigma,
    footing,
    fuse,
    summary,
)
from metrichmsr.people.faces import Faces
from metrichmsr.people.landmarks import Landmarks

WEIGHTS = Path(__file__).parent.parent / "weights" / "hmr_small.safetensors"
_PEOPLE_AT_ONCE = 16
_ANKLES, _SEEN = [27, 28], 0.5
"""Landmarks, and the confidence from which on they are seen."""
_ROUNDS = 3
"""After so many the stature that belongs to a known distance is found to a thousandth."""
_CHILD = 0.5
"""Anny's age parameter of the oldest children: between a child's (1/3) and a young grown-up's (2/3)."""


class Regressor:
    """The network with its body model; call it once per picture.

    Args:
        network: trained.
        config: of the network.
        body: Anny.
    """

    def __init__(self, network: MetricHMR, config: NetworkConfig, body: AnnyBody) -> None:
        if config.image_encoder != "blazepose" or config.body != "anny":
            raise ModelFileError(
                f"this network reads {config.image_encoder} features and predicts {config.body}; "
                "recovery from landmarks needs blazepose and anny"
            )
        self.network = network.eval()
        self.config = config
        self.parameters = BodyParameters(body, SIZES["anny"])

    @classmethod
    def load(cls, body: AnnyBody, path: Path = WEIGHTS) -> Regressor:
        """Read the shipped network, or another checkpoint.

        Raises:
            ModelFileError: it is missing, damaged, or of another kind.
        """
        network, config, _ = load_network(path)
        return cls(network, config, body)

    @torch.no_grad()
    def __call__(
        self,
        landmarks: Landmarks,
        K: Float[np.ndarray, "3 3"],
        *,
        up: Up | None = None,
        mirrored: tuple[Landmarks, int] | None = None,
        known_height_m: Float[np.ndarray, "N"] | None = None,
        known_depth_m: Float[np.ndarray, "N"] | None = None,
        who: Who = "anybody",
        faces: Faces | None = None,
    ) -> BodyEstimates:
        """Bodies of everybody in a picture.

        Args:
            landmarks: what the landmark network saw.
            K: intrinsics of the picture.
            up: which way is up in it, as far as that is known.
            mirrored: what the landmark network saw of the same people in the mirrored picture, and the picture's width;
                both answers are averaged.
            known_height_m: statures that are known, NaN elsewhere: bodies and distances are scaled to them.
            known_depth_m: z-depths of pelvises that are known, NaN elsewhere: bodies go there and are scaled with it.
            who: adults or children, where the picture is known to show only such.
            faces: what the faces of these people tell; evidence of their statures and build.

        Raises:
            UsageError: the network has no distribution of statures to choose from.
        """
        if who != "anybody" and not self.config.stature_bins:
            raise UsageError(f"--people {who}: this checkpoint tells no distribution of statures; use another one")
        outputs = self._infer(landmarks, K, up)
        if mirrored is not None:
            reflected, width = mirrored
            turned = None if up is None else mirrored_up(up)
            twins = self._infer(reflected, mirror_intrinsics(torch.from_numpy(K), width).numpy(), turned)
            outputs = [averaged(one, two, self.parameters) for one, two in zip(outputs, twins, strict=True)]
        pose = torch.cat([o.pose for o in outputs])
        shape = torch.cat([o.shape for o in outputs])
        height_std = torch.cat([o.height_sigma_m for o in outputs])
        distance_std = torch.cat([o.distance_sigma for o in outputs])
        if outputs[0].stature_logits is not None:
            shape, height_std, distance_std = self._with_company(
                outputs, landmarks, up, known_height_m, who, faces, shape, distance_std
            )
        nothing = torch.full_like(height_std, torch.nan)
        height = nothing if known_height_m is None else torch.from_numpy(known_height_m).to(shape)
        depth = nothing if known_depth_m is None else torch.from_numpy(known_depth_m).to(shape)
        depth = torch.where(torch.isfinite(height), torch.nan, depth)
        shape = self._of_height(shape, height)
        seen = Projections.of(
            torch.cat([o.body.landmarks33_m for o in outputs]), torch.from_numpy(landmarks.confidence).to(shape)
        )
        away = torch.cat([o.translation_m / o.body.height_m[:, None] for o in outputs])
        shape, body = self._placed(pose, shape, seen, away, depth)
        # What is known of the stature is known of the distance: only the pose's part of the doubt is left.
        held = torch.isfinite(height) | torch.isfinite(depth)
        distance_std = torch.where(held, distance_std.clamp_max(POSE_SIGMA), distance_std)
        height_std = torch.where(torch.isfinite(height), 0.0, height_std)
        # A stature that follows from a distance shares its doubt.
        height_std = torch.where(torch.isfinite(depth), POSE_SIGMA * body.height_m, height_std)
        joint_std = torch.cat([o.joint_sigma_m for o in outputs])
        return BodyEstimates(body, pose, shape, height_std, distance_std, joint_std)

    def _infer(self, landmarks: Landmarks, K: Float[np.ndarray, "3 3"], up: Up | None) -> list[MetricBodies]:
        """The network's answers, some people at once."""
        evidence, K_crop = evidence_from_landmarks(landmarks, K, ray_size=self.config.ray_size, up=up)
        return [
            self.network.infer(evidence[part], K_crop[part], self.parameters)
            for part in torch.arange(len(K_crop)).split(_PEOPLE_AT_ONCE)
        ]

    def _with_company(
        self,
        outputs: list[MetricBodies],
        landmarks: Landmarks,
        up: Up | None,
        known_height_m: Float[np.ndarray, "N"] | None,
        who: Who,
        faces: Faces | None,
        shape: Float[Tensor, "N S"],
        distance_std: Float[Tensor, "N"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Shapes by all evidence of the picture (:mod:`~metrichmsr.hmr.stature`); sigmas of stature and distance."""
        alone = torch.cat([o.stature_logits for o in outputs if o.stature_logits is not None]).softmax(-1)
        person = as_seen(as_photographed(alone), torch.from_numpy(landmarks.score).to(alone))
        # A child whose face is read as a grown-up's would be made as tall as children can be.
        if faces is not None and who != "children":
            person = person * stature_likelihood(faces)
        person = among(person / person.sum(-1, keepdim=True), who)
        before = self.parameters.body.height(shape)
        ground = None
        if up is not None:
            vertices = torch.cat([o.body.vertices_m for o in outputs])
            direction = torch.tensor(up.direction, dtype=vertices.dtype)
            ground = footing(vertices, before, direction, ankles_seen(landmarks))
        known = None if known_height_m is None else torch.from_numpy(known_height_m).to(shape)
        posterior = fuse(
            person, ground, up_sigma_rad=math.inf if up is None else math.radians(up.std_deg), known_height_m=known
        )
        height, std = summary(posterior)
        distance_std = distance_sigma(distance_std, std, summary(alone)[1])
        oldest = _CHILD if who == "children" else 1.0
        # Landmarks do not tell women from men, though errors in them seem to: faces do, where they are seen.
        gender = torch.full_like(height, BETWEEN)
        if faces is not None:
            gender = build(gender, faces)
        return self._of_height(shape, height, oldest=oldest, gender=gender), std, distance_std

    def _placed(
        self,
        pose: Float[Tensor, "B J 3 3"],
        shape: Float[Tensor, "B S"],
        seen: Projections,
        away: Float[Tensor, "B 3"],
        depth_m: Float[Tensor, "B"],
    ) -> tuple[Float[Tensor, "B S"], BodyOutput]:
        """Bodies of these shapes where the network saw theirs, and their shapes.

        Args:
            pose: of all bones.
            shape: by now.
            seen: landmarks of the network's bodies.
            away: where those were, in their own statures.
            depth_m: z-depths of pelvises that are known, NaN elsewhere: bodies go there, as large as they then are.
        """

        def stand() -> BodyOutput:
            body = self.parameters.body(pose, shape)
            return body.moved(place(body.landmarks33_m, seen, away * body.height_m[:, None]))

        body = stand()
        known = torch.isfinite(depth_m)
        if not bool(known.any()):
            return shape, body
        for _ in range(_ROUNDS):
            shape = self._of_height(shape, body.height_m * depth_m / body.joints_m[:, 0, 2])
            body = stand()
        pelvis = body.joints_m[:, 0]
        left = torch.where(known, depth_m / pelvis[:, 2] - 1, 0.0)
        return shape, body.moved(left[:, None] * pelvis)

    def _of_height(
        self,
        shape: Float[Tensor, "B S"],
        known: Float[Tensor, "B"],
        *,
        oldest: float = 1.0,
        gender: Float[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B S"]:
        """Shapes of these statures: by the height parameter, and where that does not reach, by age as well.

        ``known``: statures, NaN where a shape stays; ``oldest``: Anny's age parameter at most; ``gender``: Anny's
        parameter to take instead of the shape's own.
        """
        body = self.parameters.body
        held = torch.isfinite(known)
        if not bool(held.any()):
            return shape
        wanted = torch.where(held, known, body.height(shape))
        names = list(body.shape_names)
        height, age = names.index("height"), names.index("age")
        # A ages for each of B people, all in one batch.
        years = torch.linspace(-1 / 3, oldest, 33).to(shape)
        stack = shape.expand(len(years), -1, -1).clone()  # A B S
        stack[:, :, age] = torch.where(held, years[:, None], shape[:, age])
        if gender is not None:
            stack[:, :, names.index("gender")] = gender

        def heights() -> Float[Tensor, "A B"]:
            return body.height(stack.flatten(0, 1)).view(stack.shape[:2])

        stack[:, :, height] = 0.0
        bottom = heights()
        stack[:, :, height] = 1.0
        top = heights()
        stack[:, :, height] = ((wanted - bottom) / (top - bottom)).clamp(0, 1)
        reached = heights()
        miss = (reached - wanted).abs() * 20 + (stack[:, :, age] - shape[:, age]).abs()
        best = miss.argmin(0)
        chosen = stack[best, torch.arange(len(shape))]
        return torch.where(held[:, None], chosen, shape)


def ankles_seen(landmarks: Landmarks) -> Bool[Tensor, "N"]:
    """Of whom an ankle is seen."""
    return torch.from_numpy(landmarks.confidence[:, _ANKLES].max(1) > _SEEN)
