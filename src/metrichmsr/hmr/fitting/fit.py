"""Fit bodies to one picture's people: several starts, a few Gauss–Newton stages, an answer with its doubt.

SMPLify's idea (Bogo et al., ECCV 2016) on a body of all ages, under the true perspective camera: the ray of every
landmark is known, so position in metres is part of the unknowns, and how far the shape prior lets stature vary is how
far the distance stays open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.protocol import BodyOutput
from metrichmsr.bodies.shape_prior import GENDER, ShapePrior
from metrichmsr.hmr.estimates import BodyEstimates
from metrichmsr.hmr.fitting.evidence import Evidence
from metrichmsr.hmr.fitting.expected import from_hips, sigma_of_landmarks
from metrichmsr.hmr.fitting.objective import Objective, Weights
from metrichmsr.hmr.fitting.seen_landmarks import SeenLandmarks
from metrichmsr.hmr.fitting.solver import minimise
from metrichmsr.hmr.fitting.starts import Starts
from metrichmsr.hmr.fitting.state import FitState, PosedBody, concatenate, encode_position
from metrichmsr.hmr.pose_prior import PosePrior

MODEL_SIGMA = 0.035
"""Relative sigma of a distance that Laplace's approximation does not see: limbs taken for shorter by tilting. With
landmark noise of 2 % of stature and stature known, simulated people come out with 3 % mean absolute error."""

PEOPLE_AT_ONCE = 8
"""People fitted in one batch; more would only cost memory."""


@dataclass(frozen=True)
class FitOptions:
    """How thorough a fit is."""

    starts: int = 6
    """Poses of the prior to start from; one more comes from the landmark network's 3D guess."""
    surface_points: int = 240
    """Vertices that feel the mask."""
    start_world: float = 1.0
    """Weight of the landmark network's 3D guess while starting."""
    start_iterations: int = 10
    """Evaluations from every start, landmarks blurred."""
    middle_iterations: int = 10
    """Evaluations of the two best, landmarks sharp."""
    final_iterations: int = 14
    """Evaluations of the best, with mask."""
    polish_iterations: int = 8
    """Evaluations with the pose freer, size and distance held."""
    polish_prior: float = 0.2
    """Weight of the pose prior while polishing."""
    refine_prior: float = 0.05
    """The same when another method's answer is polished."""
    refine_doubted: float = 20.0
    """Weight of that answer where landmarks are seen badly: it knows better than they. Where they are seen well its
    weight is :attr:`Weights.expected`."""
    seen_well: tuple[float, float] = (0.5, 0.72)
    """Score of the landmarks up to which they are seen badly, and from which on well."""
    refine_iterations: int = 9
    """Evaluations when another method's answer is polished; its shape is held, which makes them cheap."""
    refine_world: float = 0.1
    """Weight of the landmark network's 3D guess then: the answer knows better."""


@dataclass(frozen=True)
class FitResult:
    """B fitted people."""

    body: BodyOutput
    """The full body in the camera frame."""
    pose: Float[Tensor, "B J 3 3"]
    """Parent-relative rotations, root first (body to camera frame)."""
    state: FitState
    """The unknowns at the solution."""
    height_std_m: Float[Tensor, "B"]
    """One sigma of the stature."""
    log_depth_std: Float[Tensor, "B"]
    """One sigma of the distance as a fraction, intrinsics taken as exact."""
    energy: Float[Tensor, "B"]
    """Negative log posterior at the solution (nats)."""

    @property
    def estimates(self) -> BodyEstimates:
        """The bodies and their doubt."""
        return BodyEstimates(self.body, self.pose, self.state.shape, self.height_std_m, self.log_depth_std)


class Fitter:
    """Holds the models a fit needs; call it once per picture.

    Args:
        body: the full body model.
        pose_prior: prior over its poses.
        shape_prior: prior over its shapes.
        seen: where the landmark network sees landmarks on this body.
        options: thoroughness.
    """

    def __init__(
        self,
        *,
        body: AnnyBody,
        pose_prior: PosePrior,
        shape_prior: ShapePrior,
        seen: SeenLandmarks,
        options: FitOptions | None = None,
    ) -> None:
        self.body, self.shape_prior = body, shape_prior
        self.options = options or FitOptions()
        light = body.restricted_to(spread_vertices(body, self.options.surface_points))
        self.posed = PosedBody(light, pose_prior, seen)
        self.starts = Starts(self.posed, count=self.options.starts)

    @classmethod
    def load(cls, body: AnnyBody) -> Fitter:
        """With the priors that come with the package."""
        return cls(
            body=body,
            pose_prior=PosePrior.load(),
            shape_prior=ShapePrior.load(),
            seen=SeenLandmarks.load(body),
        )

    @torch.no_grad()
    def __call__(self, evidence: Evidence, weights: Weights | None = None) -> FitResult:
        """Fit everybody; people are independent of each other."""
        weights = weights or Weights()
        n = len(evidence.K)
        parts = [
            self._fit(evidence[torch.arange(i, min(i + PEOPLE_AT_ONCE, n))], weights)
            for i in range(0, n, PEOPLE_AT_ONCE)
        ]
        states, height_std, log_depth_std, energy = zip(*parts, strict=True)
        state = concatenate(list(states))
        pose = self.posed.pose_matrices(state)
        body = self.body(pose, state.shape, state.translation_m)
        return FitResult(body, pose, state, torch.cat(height_std), torch.cat(log_depth_std), torch.cat(energy))

    @torch.no_grad()
    def refine(self, evidence: Evidence, start: BodyEstimates, weights: Weights | None = None) -> BodyEstimates:
        """Polish bodies against landmarks and mask, their shape and depth held.

        Args:
            evidence: of the same people.
            start: bodies near the truth, as a network gives them; they are left no further than its joints' sigmas say.
            weights: of the terms.
        """
        options, prior = self.options, self.posed.prior
        weights = weights or Weights()
        bones = [self.body.bone_names.index(bone) for bone in prior.bone_names[1:]]
        state = FitState(
            coefficients=prior.to_coefficients(roma.rotmat_to_rotvec(start.pose[:, bones])),
            root=start.pose[:, 0],
            shape=start.shape,
            position=encode_position(start.body.joints_m[:, 0]),
            up=start.pose.new_tensor([0.0, -1.0, 0.0]).expand(len(start.pose), 3),
        )
        held = replace(evidence, known_depth_m=start.body.joints_m[:, 0, 2])
        if start.joint_std_m is not None:
            low, high = options.seen_well
            doubt = ((high - evidence.score) / (high - low)).clamp(0, 1)
            trust = (options.refine_doubted / weights.expected) ** (-0.5 * doubt)
            held = replace(
                held,
                expected_m=from_hips(self.posed.seen(start.body)),
                expected_sigma_m=sigma_of_landmarks(start.joint_std_m) * trust[:, None],
            )
        weak = replace(weights, pose_prior=options.refine_prior * weights.pose_prior, world=options.refine_world)
        parts = []
        for part in torch.arange(len(state.shape)).split(PEOPLE_AT_ONCE):
            objective = Objective(self.posed, self.shape_prior, held[part], weak, held_shape=state[part].shape)
            polished, _ = minimise(objective, state[part], iterations=options.refine_iterations)
            parts.append(polished)
        state = concatenate(parts)
        pose = self.posed.pose_matrices(state)
        body = self.body(pose, state.shape, state.translation_m)
        return replace(start, body=body, pose=pose, shape=state.shape)

    def _fit(self, evidence: Evidence, weights: Weights) -> tuple[FitState, Tensor, Tensor, Tensor]:
        people = len(evidence.K)
        options = self.options
        starts = self.starts(evidence)
        hypotheses = len(starts.shape) // people

        rough = replace(weights, landmark_scale=3.0, world=options.start_world, outside=0.0, outline=0.0)
        repeated = evidence[torch.arange(people).repeat_interleave(hypotheses)]
        state, _ = minimise(self._objective(repeated, rough), starts, iterations=options.start_iterations)

        sharp = replace(weights, outline=0.0)
        state = _near(state, starts, repeated)
        energy = self._objective(repeated, sharp).normal(state).energy.view(people, hypotheses)
        kept = min(2, hypotheses)
        best = energy.topk(kept, largest=False).indices + hypotheses * torch.arange(people)[:, None]
        repeated = evidence[torch.arange(people).repeat_interleave(kept)]
        before = state[best.flatten()]
        state, normal = minimise(self._objective(repeated, sharp), before, iterations=options.middle_iterations)
        state = _near(state, before, repeated)

        best = normal.energy.view(people, kept).argmin(-1) + kept * torch.arange(people)
        before = state[best]
        state, normal = minimise(self._objective(evidence, weights), before, iterations=options.final_iterations)
        state = _near(state, before, evidence)
        height_std, log_depth_std = self._doubt(state, normal.hessian, weights)

        # Limbs tilted in depth look shorter. A free pose explains noise by tilting, and then the body has to come
        # nearer to fill the picture (3 % for landmark noise of 2 % of stature): so size and distance are found under
        # the full prior, and only then the limbs may follow their landmarks more closely.
        held = replace(evidence, known_height_m=self.body.height(state.shape), known_depth_m=state.translation_m[:, 2])
        polish = replace(weights, pose_prior=options.polish_prior * weights.pose_prior)
        state, normal = minimise(self._objective(held, polish), state, iterations=options.polish_iterations)
        return state, height_std, log_depth_std, normal.energy

    def _objective(self, evidence: Evidence, weights: Weights) -> Objective:
        return Objective(self.posed, self.shape_prior, evidence, weights)

    def _doubt(self, state: FitState, hessian: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
        """Laplace's approximation: the inverse Hessian is the covariance of the unknowns."""
        at = self.posed.layout
        # A shape parameter cannot be more doubtful than "anywhere in its range", whose variance is range²/12.
        low, high = self.body.shape_limits()
        least = torch.full((at.size,), 1e-4).to(hessian)
        least[at.shape] = 12 / (high - low).square()
        # The fit keeps gender in the middle; the doubt about it is whole: one or the other, variance 1/4.
        least[at.shape.start + GENDER] = 4 - weights.gender_sigma**-2
        covariance = torch.linalg.inv((hessian + least.diag()).double()).to(hessian)
        with torch.enable_grad():
            shape = state.shape.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.body.height(shape).sum(), shape)
        block = covariance[:, at.shape, at.shape]
        height_std = torch.einsum("bi,bij,bj->b", gradient, block, gradient).clamp_min(0).sqrt()
        last = at.position.stop - 1
        spread = covariance[:, last, last].clamp_min(0).sqrt()
        return height_std, torch.hypot(spread, torch.full_like(spread, MODEL_SIGMA))


def _near(state: FitState, before: FitState, evidence: Evidence) -> FitState:
    """States as they are, but as they were ``before`` where the body has run away.

    Landmarks that contradict each other are outliers, whose cost is bounded: a body that shrinks to a point at infinity
    makes outliers of them all.
    """
    focal = evidence.K[:, 0, 0]
    farthest = _FARTHEST * focal * _TALL_M / evidence.size_px.clamp_min(1)
    away = ~(state.translation_m[:, 2] < farthest)
    if not bool(away.any()):
        return state

    def choose(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(away.view(-1, *[1] * (new.ndim - 1)), old, new)

    return FitState(**{f.name: choose(getattr(state, f.name), getattr(before, f.name)) for f in fields(FitState)})


_TALL_M = 2.0
_FARTHEST = 3.0
"""How many times farther than somebody of two metres who fills the landmarks' box a body may be."""


def spread_vertices(body: AnnyBody, count: int) -> Tensor:
    """Vertices spread evenly over the rest body: farthest-point sampling, deterministic."""
    vertices = body.rest(body.default_shape()[None]).vertices_m[0]
    # Eyes, teeth and tongue lie inside the head; the hull of the skin is what the picture shows. They are few, and a
    # vertex inside the body does no harm to a term that only asks points to be inside the mask.
    x, y, z = vertices.T.contiguous()
    chosen = [int(z.argmax())]
    squared = torch.full((len(vertices),), math.inf)
    for _ in range(count - 1):
        last = chosen[-1]
        squared = torch.minimum(squared, (x - x[last]).square() + (y - y[last]).square() + (z - z[last]).square())
        chosen.append(int(squared.argmax()))
    return torch.tensor(chosen)
