"""The unknowns of a fit, how they move, and the points of the body they put into the camera frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody, ShapedAnny
from metrichmsr.bodies.protocol import BodyOutput
from metrichmsr.hmr.fitting.seen_landmarks import SeenLandmarks
from metrichmsr.hmr.pose_prior import PosePrior


@dataclass(frozen=True)
class FitState:
    """Unknowns of B bodies. All leading dimensions are the batch."""

    coefficients: Float[Tensor, "B D"]
    """Pose coefficients of the prior."""
    root: Float[Tensor, "B 3 3"]
    """Root rotation: body frame to camera frame."""
    shape: Float[Tensor, "B S"]
    """Shape parameters of the body."""
    position: Float[Tensor, "B 3"]
    """Pelvis as (x/z, y/z, log z): its ray and the logarithm of its depth, so that scale is one number."""
    up: Float[Tensor, "B 3"]
    """Unit vector against gravity, camera frame."""

    @property
    def translation_m(self) -> Float[Tensor, "B 3"]:
        """Pelvis position in the camera frame, metres."""
        return decode_position(self.position)

    def __getitem__(self, index: Tensor | slice) -> FitState:
        """Select bodies of the batch."""
        return FitState(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def where(self, condition: Tensor, other: FitState) -> FitState:
        """Itself where the condition holds, the other elsewhere, body by body."""

        def choose(a: Tensor, b: Tensor) -> Tensor:
            return torch.where(condition.view(-1, *[1] * (a.ndim - 1)), a, b)

        return FitState(**{f.name: choose(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)})


def concatenate(states: list[FitState]) -> FitState:
    """One batch out of several."""
    return FitState(**{f.name: torch.cat([getattr(s, f.name) for s in states]) for f in fields(FitState)})


def decode_position(position: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
    """(x/z, y/z, log z) to metres in the camera frame."""
    depth = position[..., 2:].exp()
    return torch.cat([position[..., :2] * depth, depth], dim=-1)


def encode_position(translation_m: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
    """Metres in the camera frame to (x/z, y/z, log z); depths below 5 cm are lifted there."""
    depth = translation_m[..., 2:].clamp_min(0.05)
    return torch.cat([translation_m[..., :2] / depth, depth.log()], dim=-1)


@dataclass(frozen=True)
class Layout:
    """Where each unknown sits in the vector of steps: pose, root turn, shape, position, gravity turn."""

    n_pose: int
    n_shape: int

    @property
    def pose(self) -> slice:
        """Pose coefficients."""
        return slice(0, self.n_pose)

    @property
    def root(self) -> slice:
        """Turn of the root in the camera frame (rotation vector)."""
        return slice(self.n_pose, self.n_pose + 3)

    @property
    def shape(self) -> slice:
        """Shape parameters."""
        return slice(self.n_pose + 3, self.n_pose + 3 + self.n_shape)

    @property
    def position(self) -> slice:
        """Ray and log depth of the pelvis."""
        return slice(self.shape.stop, self.shape.stop + 3)

    @property
    def up(self) -> slice:
        """Turn of the up vector in the camera frame (rotation vector)."""
        return slice(self.position.stop, self.position.stop + 3)

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.up.stop


@dataclass(frozen=True)
class BodyPoints:
    """Points of the posed bodies in the camera frame, with their derivatives by the unknowns."""

    landmarks_m: Float[Tensor, "B 33 3"]
    """BlazePose's 33 landmarks, where the network would mark them."""
    surface_m: Float[Tensor, "B M 3"]
    """Sampled surface vertices."""
    height_m: Float[Tensor, "B"]
    """Stature of the rest body."""
    landmarks_by: Float[Tensor, "B 33 3 P"]
    surface_by: Float[Tensor, "B M 3 P"]
    height_by: Float[Tensor, "B P"]


class PosedBody:
    """Evaluates the (restricted) body at a state, with its derivatives by all unknowns.

    Derivatives by pose are in closed form: turning a bone moves each point like a rigid part of it, times the share of
    the point that hangs on that bone. The shares are measured once, on the body itself, so any body model will do; what
    they leave out (the difference between blended and rigid skin near a bending joint) changes the direction of a step
    a little and the answer not at all. Derivatives by shape are differences.

    Args:
        body: evaluated at few vertices, for speed.
        prior: what pose coefficients mean.
        seen: where the landmark network sees landmarks on this body.
    """

    SHAPE_STEP = 1e-2

    def __init__(self, body: AnnyBody, prior: PosePrior, seen: SeenLandmarks) -> None:
        self.body = body
        self.prior = prior
        self.seen = seen
        self.layout = Layout(prior.n_coefficients, len(body.shape_names))
        index = {name: i for i, name in enumerate(body.bone_names)}
        self._bones = torch.tensor([index[name] for name in prior.bone_names[1:]])
        self._parents = torch.tensor(body.parents)[self._bones]
        self._low, self._high = body.shape_limits()
        self._shares = self._measure_shares()

    def pose_matrices(self, state: FitState) -> Float[Tensor, "B J 3 3"]:
        """All bones' parent-relative rotations, root first."""
        driven = roma.rotvec_to_rotmat(self.prior.to_rotvecs(state.coefficients))
        return self.body.expand_pose(torch.cat([state.root[:, None], driven], dim=1))

    def moved(self, state: FitState, step: Float[Tensor, "B P"]) -> FitState:
        """The state after a step; shape stays within the model's range."""
        at = self.layout
        shape = torch.minimum(torch.maximum(state.shape + step[:, at.shape], self._low), self._high)
        return FitState(
            coefficients=state.coefficients + step[:, at.pose],
            root=roma.rotvec_to_rotmat(step[:, at.root]) @ state.root,
            shape=shape,
            position=state.position + step[:, at.position],
            up=(roma.rotvec_to_rotmat(step[:, at.up]) @ state.up[..., None]).squeeze(-1),
        )

    def points(self, state: FitState, *, held: ShapedAnny | None = None) -> BodyPoints:
        """Points and their Jacobians at a state.

        Args:
            state: the unknowns.
            held: their shapes, settled, where those do not move: cheaper, and the columns of shape are zero.
        """
        at = self.layout
        pose = self.pose_matrices(state)
        shaped = self.body.shaped(state.shape) if held is None else held
        out = self.body.pose_with(self.body.skinning_of(pose, shaped))
        relative = self._seen_and_surface(out)

        translation = state.translation_m[:, None]
        points = relative + translation
        by = points.new_zeros(*points.shape, at.size)
        height_by = points.new_zeros(len(points), at.size)
        by[..., at.pose] = self._by_pose(state.coefficients, relative, out.joints_m, out.bone_rotations)
        by[..., at.root] = -skew(relative)
        depth = translation[..., 2]
        by[..., 0, at.position.start] = depth
        by[..., 1, at.position.start + 1] = depth
        by[..., at.position.stop - 1] = translation
        if held is None:
            by[..., at.shape], height_by[:, at.shape] = self._by_shape(pose, state.shape, relative, out.height_m)
        return BodyPoints(points[:, :33], points[:, 33:], out.height_m, by[:, :33], by[:, 33:], height_by)

    def _seen_and_surface(self, out: BodyOutput) -> Float[Tensor, "B N 3"]:
        """The 33 landmarks where the network would mark them, then the surface."""
        return torch.cat([self.seen(out), out.vertices_m], dim=1)

    def _by_shape(
        self,
        pose: Float[Tensor, "B J 3 3"],
        shape: Float[Tensor, "B S"],
        points: Float[Tensor, "B N 3"],
        height_m: Float[Tensor, "B"],
    ) -> tuple[Float[Tensor, "B N 3 S"], Float[Tensor, "B S"]]:
        """Derivatives of points and stature by shape: differences to bodies with one parameter changed."""
        n, n_shape = shape.shape
        step = torch.where(shape > self._high - self.SHAPE_STEP, -self.SHAPE_STEP, self.SHAPE_STEP)
        out = self.body(pose.repeat_interleave(n_shape, dim=0), (shape[:, None] + torch.diag_embed(step)).flatten(0, 1))
        moved = self._seen_and_surface(out).unflatten(0, (n, n_shape))
        by = (moved - points[:, None]) / step[..., None, None]
        return by.permute(0, 2, 3, 1), (out.height_m.view(n, n_shape) - height_m[:, None]) / step

    def _by_pose(
        self,
        coefficients: Float[Tensor, "B D"],
        points: Float[Tensor, "B N 3"],
        joints: Float[Tensor, "B J 3"],
        rotations: Float[Tensor, "B J 3 3"],
    ) -> Float[Tensor, "B N 3 D"]:
        """Derivative of points by the pose coefficients.

        A bone j that turns at the rate ω_j moves its share s of a point p by s·ω_j × (p − c_j), c_j being its head. The
        rates of all bones add up: Σ s·ω_j × p − Σ s·ω_j × c_j, two matrix products and one cross product.
        """
        # exp(r + dr) = exp(J·dr)·exp(r): in the camera frame the bone turns by its parent's rotation times J·dr.
        turns = rotations[:, self._parents] @ left_jacobian(self.prior.to_rotvecs(coefficients))
        rates = (turns @ self.prior.basis.view(-1, 3, coefficients.shape[1])).unbind(2)
        moments = _cross(rates, joints[:, self._bones, :, None].unbind(2))
        summed = self._shares @ torch.cat([*rates, *moments], dim=-1)
        x, y, z, *moments = summed.unflatten(-1, (6, -1)).unbind(2)
        moved = _cross((x, y, z), points[..., None].unbind(2))
        return torch.stack([a - b for a, b in zip(moved, moments, strict=True)], dim=2)

    def _measure_shares(self) -> Float[Tensor, "N b"]:
        """How much of each point hangs on each driven bone, by turning the bones one at a time."""
        n = len(self._bones)
        eps = 1e-2
        shape = self.body.default_shape()[None]
        rotvecs = self.prior.mean.view(1, n, 3).expand(1 + 3 * n, n, 3).clone()
        rotvecs[1:] += eps * torch.eye(3 * n).to(rotvecs).view(3 * n, n, 3)
        root = torch.eye(3).to(rotvecs).expand(1 + 3 * n, 1, 3, 3)
        pose = self.body.expand_pose(torch.cat([root, roma.rotvec_to_rotmat(rotvecs)], dim=1))
        with torch.no_grad():
            out = self.body(pose, shape.expand(len(pose), -1))
        points = self._seen_and_surface(out)
        moved = ((points[1:] - points[:1]) / eps).view(n, 3, -1, 3).permute(2, 0, 1, 3)
        turns = out.bone_rotations[0, self._parents] @ left_jacobian(rotvecs[0])
        arms = points[0, :, None] - out.joints_m[0, self._bones]
        rigid = torch.linalg.cross(turns.transpose(-1, -2)[None], arms[..., None, :].expand(*arms.shape[:2], 3, 3))
        share = (moved * rigid).sum((-1, -2)) / rigid.square().sum((-1, -2)).clamp_min(1e-9)
        return share.clamp(0.0, 1.0)


def _cross(a: Sequence[Tensor], b: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Cross product a × b with x, y and z apart: several times faster than on vectors of three."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def left_jacobian(rotvec: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """J with exp(r + dr) ≈ exp(J·dr)·exp(r) (left Jacobian of SO(3); Solà et al. 2018, eq. 145)."""
    angle = rotvec.norm(dim=-1)[..., None, None]
    small = angle < 1e-3
    safe = torch.where(small, torch.ones_like(angle), angle)
    a = torch.where(small, 0.5 - angle.square() / 24, (1 - safe.cos()) / safe.square())
    b = torch.where(small, 1 / 6 - angle.square() / 120, (safe - safe.sin()) / safe**3)
    cross = skew(rotvec)
    return torch.eye(3).to(rotvec) + a * cross + b * (cross @ cross)


def skew(v: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Cross-product matrix: ``skew(a) @ b = a × b``."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
