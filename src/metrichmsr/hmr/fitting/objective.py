"""What a good fit is: the energy of a state and its Gauss–Newton approximation, term by term.

Every term is a robust or plain least-squares term; together they are the negative log posterior of the unknowns, up to
the balance of :class:`Weights`. Energies are in nats: a residual is a distance divided by its one sigma.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.bodies.shape_prior import BETWEEN, GENDER, ShapePrior
from metrichmsr.geometry.cameras import project
from metrichmsr.hmr.fitting.evidence import Evidence, sample_map
from metrichmsr.hmr.fitting.expected import LEFT_HIP, RIGHT_HIP, from_hips
from metrichmsr.hmr.fitting.state import BodyPoints, FitState, PosedBody, skew


@dataclass(frozen=True)
class Weights:
    """Balance of the terms. One means: as its sigma says; less, where residuals err together and would count twice."""

    landmarks: float = 1.0
    landmark_scale: float = 1.0
    """Multiplies all landmark sigmas: large at first, so that a wrong start can turn around."""
    landmark_outlier: float = 4.0
    """Geman–McClure width in sigmas: landmarks further off lose their say."""
    world: float = 0.3
    """The landmark network's own depths lean bodies towards the camera: they choose between starts, little more."""
    world_sigma_m: float = 0.12
    expected: float = 0.05
    """Of a network's joints where landmarks are seen well: errors of its joints go together, and landmarks are right
    more often than it is."""
    pose_prior: float = 1.0
    shape_prior: float = 1.0
    gender_sigma: float = 0.1
    """Landmarks do not tell women from men, though errors in them seem to: the fit stays near the middle of the two."""
    outside: float = 0.05
    outside_sigma: float = 0.02
    """Sigma of how far the body may leave its mask, in person sizes."""
    outline: float = 0.05
    outline_sigma: float = 0.02
    """Sigma between mask outline and body outline, in person sizes."""
    level_pitch: float = 0.2
    level_roll: float = 0.12
    """Sigmas (radians) of how far photographers tilt and roll their cameras."""


class Normal:
    """Sum of quadratic approximations: energy, gradient and Gauss–Newton Hessian, body by body."""

    def __init__(self, batch: int, size: int, like: Tensor) -> None:
        self.energy = like.new_zeros(batch)
        self.gradient = like.new_zeros(batch, size)
        self.hessian = like.new_zeros(batch, size, size)

    def add(
        self, residuals: Float[Tensor, "B R"], jacobian: Float[Tensor, "B R P"], weights: Float[Tensor, "B R"]
    ) -> None:
        """Add ½·Σ w·r². ``weights`` of a robust term are its IRLS weights; it adds its energy itself."""
        weighted = jacobian * weights[..., None]
        self.gradient += (residuals[:, None] @ weighted).squeeze(1)
        self.hessian += weighted.transpose(1, 2) @ jacobian


def geman_mcclure(squared: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """Robust energy ½·s/(1+s/w²) of a squared residual and its IRLS weight (Geman & McClure 1987)."""
    ratio = 1 + squared / width**2
    return 0.5 * squared / ratio, ratio.reciprocal().square()


def along_axis(axes: Float[Tensor, "B N 3"], vectors: Float[Tensor, "B N 3 P"]) -> Float[Tensor, "B N P"]:
    """Each vector's component along its axis, P of them at once; written out, for batches of tiny products are slow."""
    x, y, z = axes[..., None].unbind(2)
    return x * vectors[:, :, 0] + y * vectors[:, :, 1] + z * vectors[:, :, 2]


class Objective:
    """Energy of B bodies given their evidence.

    Args:
        body: what moves.
        shape_prior: over its shapes.
        evidence: of the same people.
        weights: of the terms.
        held_shape: shapes that do not move; their prior is left out.
    """

    def __init__(
        self,
        body: PosedBody,
        shape_prior: ShapePrior,
        evidence: Evidence,
        weights: Weights,
        *,
        held_shape: Float[Tensor, "B S"] | None = None,
    ) -> None:
        self.body = body
        self.shape_prior = shape_prior
        self.evidence = evidence
        self.weights = weights
        self.held = None if held_shape is None else body.body.shaped(held_shape)

    def normal(self, state: FitState) -> Normal:
        """Energy, gradient and Hessian at a state."""
        points = self.body.points(state, held=self.held)
        total = Normal(len(state.shape), self.body.layout.size, state.shape)
        self._landmarks(total, points)
        self._depth_order(total, points)
        self._expected(total, points)
        self._pose(total, state)
        if self.held is None:
            self._shape(total, state)
        self._level(total, state)
        self._mask(total, points)
        self._known(total, state, points)
        return total

    def _in_image(self, points: Float[Tensor, "B N 3"]) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N 2 3"]]:
        """Pixels of camera-frame points and their derivatives by the points."""
        K = self.evidence.K
        safe = torch.cat([points[..., :2], points[..., 2:].clamp_min(0.05)], dim=-1)
        pixels = project(safe, K)
        return pixels, (K[:, None, :2] - pixels[..., None] * K[:, None, 2:]) / safe[..., 2, None, None]

    def _landmarks(self, total: Normal, points: BodyPoints) -> None:
        """Distance between projected and detected landmarks in sigmas, robust against wrong ones (SMPLify E_J)."""
        e, w = self.evidence, self.weights
        pixels, by_point = self._in_image(points.landmarks_m)
        by = by_point @ points.landmarks_by
        inverse = 1 / (e.landmark_sigma_px * w.landmark_scale)
        residuals = (pixels - e.landmarks_px) * inverse[..., None]
        energy, irls = geman_mcclure(residuals.square().sum(-1), w.landmark_outlier)
        total.energy += w.landmarks * energy.sum(-1)
        total.add(
            residuals.flatten(1),
            (by * inverse[..., None, None]).flatten(1, 2),
            (w.landmarks * irls).repeat_interleave(2, dim=1),
        )

    def _depth_order(self, total: Normal, points: BodyPoints) -> None:
        """Which limb is in front: depths along the viewing ray against the landmark network's own 3D guess."""
        e, w = self.evidence, self.weights
        if w.world == 0:
            return
        hips = points.landmarks_m[:, [LEFT_HIP, RIGHT_HIP]].mean(1, keepdim=True)
        ray = torch.nn.functional.normalize(hips, dim=-1)
        relative = from_hips(points.landmarks_m)
        # The guess is in metres of a body of no particular size: bring it to this body's size first.
        scale = (relative.norm(dim=-1) * e.world_m.norm(dim=-1)).sum(-1) / e.world_m.square().sum((-1, -2)).clamp_min(
            1e-6
        )
        depth = (relative * ray).sum(-1)
        depth_by = along_axis(ray, from_hips(points.landmarks_by))
        residuals = (depth - scale.clamp(0.2, 2.0)[:, None] * e.world_m[..., 2]) / w.world_sigma_m
        seen = e.seen * e.score[:, None] * w.world
        energy, irls = geman_mcclure(residuals.square(), 2.0)
        total.energy += (seen * energy).sum(-1)
        total.add(residuals, depth_by / w.world_sigma_m, seen * irls)

    def _expected(self, total: Normal, points: BodyPoints) -> None:
        """Distance in 3D to where a network expects the landmarks, in its own sigmas."""
        e, w = self.evidence, self.weights
        if not e.expected_sigma_m.isfinite().any():
            return
        inverse = 1 / e.expected_sigma_m
        residuals = ((from_hips(points.landmarks_m) - e.expected_m) * inverse[..., None]).flatten(1)
        by = (from_hips(points.landmarks_by) * inverse[..., None, None]).flatten(1, 2)
        total.energy += 0.5 * w.expected * residuals.square().sum(-1)
        total.add(residuals, by, torch.full_like(residuals, w.expected))

    def _pose(self, total: Normal, state: FitState) -> None:
        """Pose prior, joint with the direction of gravity seen from the root."""
        at, w = self.body.layout, self.weights
        up_in_root = (state.root.transpose(1, 2) @ state.up[..., None]).squeeze(-1)
        prior = self.body.prior.residuals(state.coefficients, up_in_root)
        by = prior.residuals.new_zeros(*prior.residuals.shape, at.size)
        by_up = prior.jacobian[:, :, at.n_pose :] @ state.root.transpose(1, 2) @ skew(state.up)
        by[..., at.pose] = prior.jacobian[:, :, : at.n_pose]
        by[..., at.root] = by_up
        by[..., at.up] = -by_up
        total.energy += w.pose_prior * (0.5 * prior.residuals.square().sum(-1) + prior.constant)
        total.add(prior.residuals, by, torch.full_like(prior.residuals, w.pose_prior))

    def _shape(self, total: Normal, state: FitState) -> None:
        """Shape prior as a quadratic around the present shape."""
        at, w = self.body.layout, self.weights
        energy, gradient, hessian = self.shape_prior.quadratic(state.shape)
        total.energy += w.shape_prior * energy
        total.gradient[:, at.shape] += w.shape_prior * gradient
        total.hessian[:, at.shape, at.shape] += w.shape_prior * hessian
        between = (state.shape[:, GENDER] - BETWEEN) / w.gender_sigma
        gender = at.shape.start + GENDER
        total.energy += 0.5 * between.square()
        total.gradient[:, gender] += between / w.gender_sigma
        total.hessian[:, gender, gender] += w.gender_sigma**-2

    def _level(self, total: Normal, state: FitState) -> None:
        """Cameras are held roughly level: up is near −y, pitch is freer than roll."""
        at, w = self.body.layout, self.weights
        inverse = state.up.new_tensor([1 / w.level_roll, 1 / w.level_pitch])
        residuals = state.up[:, [0, 2]] * inverse
        by = residuals.new_zeros(*residuals.shape, at.size)
        by[..., at.up] = -skew(state.up)[:, [0, 2]] * inverse[:, None]
        energy, irls = geman_mcclure(residuals.square().sum(-1, keepdim=True), 3.0)
        # Upside down is as far from level as can be; without this the two residuals would vanish there as well.
        total.energy += energy.sum(-1) + 10 * (state.up[:, 1] > 0)
        total.add(residuals, by, irls.expand_as(residuals))

    def _mask(self, total: Normal, points: BodyPoints) -> None:
        """The body stays inside its mask, and reaches its outline."""
        e, w = self.evidence, self.weights
        if (w.outside == 0 and w.outline == 0) or not e.has_mask.any():
            return
        pixels, by_point = self._in_image(points.surface_m)
        usable = e.has_mask[:, None].to(pixels)

        homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], dim=-1)
        cells = (homogeneous @ e.map_from_image.transpose(1, 2))[..., :2]
        distance, gradient = sample_map(e.outside_map, cells)
        cell_px = e.map_from_image[:, :2, :2].det().abs().rsqrt()[:, None]
        sigma = w.outside_sigma * e.size_px[:, None]
        residuals = distance * cell_px / sigma
        along = (gradient @ e.map_from_image[:, :2, :2]) * (cell_px / sigma)[..., None]
        in_map = ((cells > 0) & (cells < e.outside_map.shape[-1])).all(-1)
        energy, irls = geman_mcclure(residuals.square(), 4.0)
        trust = w.outside * usable * in_map
        total.energy += (trust * energy).sum(-1)
        axis = (along[..., None, :] @ by_point).squeeze(-2)
        total.add(residuals, along_axis(axis, points.surface_by), trust * irls)

        if w.outline == 0:
            return
        # The body's outline point for a mask outline point: the vertex that lies furthest along the outline's normal
        # among those near it. Distances count along the normal only, so that it may slide.
        present = e.outline_px[..., 0].isfinite()
        target, normal = e.outline_px.nan_to_num(0.0), e.outline_normal.nan_to_num(0.0)
        offset = pixels[:, None] - target[:, :, None]
        along_normal = (offset * normal[:, :, None]).sum(-1)
        across = (offset.square().sum(-1) - along_normal.square()).clamp_min(0).sqrt()
        size = e.size_px[:, None, None]
        near = (across < 0.03 * size) & (along_normal.abs() < 0.10 * size)
        furthest, index = along_normal.masked_fill(~near, -torch.inf).max(-1)
        found = present & furthest.isfinite()
        residuals = torch.where(found, furthest, 0.0) / (w.outline_sigma * e.size_px[:, None])
        body = torch.arange(len(index))[:, None]
        axis = (normal[..., None, :] @ by_point[body, index]).squeeze(-2)
        derivative = along_axis(axis, points.surface_by[body, index]) / (w.outline_sigma * e.size_px[:, None, None])
        # A vertex that is missing costs as much as the widest residual: correspondences must not be lost for free.
        energy, irls = geman_mcclure(residuals.square(), 2.0)
        energy = torch.where(found, energy, torch.where(present, 2.0, 0.0))
        trust = w.outline * usable
        total.energy += (trust * energy).sum(-1)
        total.add(residuals, derivative, trust * irls * found)

    def _known(self, total: Normal, state: FitState, points: BodyPoints) -> None:
        """Lengths the user knows hold almost exactly."""
        e, at = self.evidence, self.body.layout
        for value, known, by, sigma in (
            (points.height_m, e.known_height_m, points.height_by, 0.002),
            (state.position[:, 2], e.known_depth_m.log(), None, 0.002),
        ):
            given = known.isfinite()
            if not given.any():
                continue
            residual = torch.where(given, (value - known) / sigma, 0.0)
            if by is None:
                by = residual.new_zeros(len(residual), at.size)
                by[:, at.position.stop - 1] = 1.0
            total.energy += 0.5 * residual.square()
            total.add(residual[:, None], by[:, None] / sigma, given[:, None].to(residual))
