"""Where a fit starts: poses of the prior, seen from all around, placed where they best explain the landmarks.

Two dimensions never tell which way a limb points in depth, and a fit does not cross from one answer to the other. So it
runs from several, and the energy decides at the end.
"""

from __future__ import annotations

import math

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.geometry.alignment import rigid_align
from metrichmsr.geometry.rotations import camera_from_view
from metrichmsr.hmr.fitting.evidence import Evidence
from metrichmsr.hmr.fitting.objective import geman_mcclure
from metrichmsr.hmr.fitting.state import FitState, PosedBody, encode_position

HEADINGS = 16
TORSO = (11, 12, 23, 24)


class Starts:
    """Proposes starting states. Built once: the candidates do not depend on the picture.

    Args:
        posed: the body.
        count: how many of the prior's components to keep for each person.
    """

    def __init__(self, posed: PosedBody, *, count: int) -> None:
        self.posed, self.count = posed, count
        prior = posed.prior
        self.coefficients = prior.means[:, : prior.n_coefficients]
        self.up = torch.nn.functional.normalize(prior.means[:, prior.n_coefficients :], dim=-1)
        self.cost = -prior.log_weights
        # Upright in a level camera, by the direction the component says is up; then turned through all headings.
        z_up_from_body = camera_from_view(self.up).mT
        camera_from_z_up = self.up.new_tensor([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
        level = camera_from_z_up @ z_up_from_body
        angles = torch.arange(HEADINGS) * (2 * math.pi / HEADINGS)
        headings = roma.rotvec_to_rotmat(torch.stack([0 * angles, angles, 0 * angles], dim=-1))
        self.roots = headings[None] @ level[:, None]
        with torch.no_grad():
            self.landmarks = self._landmarks(self.coefficients)

    def _landmarks(self, coefficients: Float[Tensor, "C D"]) -> Float[Tensor, "C 33 3"]:
        """Landmarks of average adults in these poses, in the body frame."""
        n = len(coefficients)
        like = coefficients.new_zeros(n, 3)
        shape = self.posed.body.default_shape().expand(n, -1)
        state = FitState(coefficients, torch.eye(3).to(like).expand(n, 3, 3), shape, like, like)
        return self.posed.seen(self.posed.body(self.posed.pose_matrices(state), shape))

    def __call__(self, evidence: Evidence) -> FitState:
        """Starting states of B people, people first: B · (count + 1)."""
        people = len(evidence.K)
        components, headings = self.roots.shape[:2]
        turned = torch.einsum("khij,knj->khni", self.roots, self.landmarks).flatten(0, 1)
        candidates = turned.expand(people, -1, -1, -1)
        translation = place_on_rays(candidates, evidence)
        misfit = self._misfit(candidates, translation, evidence).view(people, components, headings)
        misfit, heading = (misfit + self.cost[:, None]).min(-1)
        best = misfit.topk(self.count, largest=False).indices
        heading = heading.gather(1, best)
        coefficients, root = self.coefficients[best], self.roots[best, heading]
        translation = translation.view(people, components, headings, 3)[torch.arange(people)[:, None], best, heading]

        guess = self._from_world(evidence)
        coefficients = torch.cat([coefficients, torch.zeros_like(coefficients[:, :1])], dim=1).flatten(0, 1)
        root = torch.cat([root, guess[0]], dim=1).flatten(0, 1)
        translation = torch.cat([translation, guess[1]], dim=1).flatten(0, 1)
        n = len(coefficients)
        position = encode_position(translation)
        known = evidence.known_depth_m.log().repeat_interleave(n // people)
        position[:, 2] = torch.where(known.isfinite(), known, position[:, 2])
        return FitState(
            coefficients=coefficients,
            root=root,
            # All start as adults: tried, a child among the starts made children of adults who sit facing the camera.
            shape=self.posed.body.default_shape().to(root).expand(n, -1),
            position=position,
            up=root.new_tensor([0.0, -1.0, 0.0]).expand(n, 3),
        )

    def _misfit(
        self, candidates: Float[Tensor, "B C 33 3"], translation: Float[Tensor, "B C 3"], evidence: Evidence
    ) -> Float[Tensor, "B C"]:
        """Robust landmark misfit of placed candidates, on blurred landmarks, and disagreement in depth order."""
        e = evidence
        placed = candidates + translation[:, :, None]
        homogeneous = torch.einsum("bij,bcnj->bcni", e.K, placed)
        pixels = homogeneous[..., :2] / homogeneous[..., 2:].clamp_min(0.05)
        blurred = torch.hypot(e.landmark_sigma_px, 0.06 * e.size_px[:, None])
        squared = (pixels - e.landmarks_px[:, None]).square().sum(-1) / blurred[:, None].square()
        energy = geman_mcclure(squared, 4.0)[0].sum(-1)

        relative = candidates - candidates[:, :, 23:25].mean(2, keepdim=True)
        ray = torch.nn.functional.normalize(translation, dim=-1)
        depth = torch.einsum("bcni,bci->bcn", relative, ray)
        seen = e.seen * e.score[:, None]
        off = geman_mcclure(((depth - e.world_m[:, None, :, 2]) / 0.15).square(), 2.0)[0]
        return energy + (off * seen[:, None]).sum(-1)

    def _from_world(self, evidence: Evidence) -> tuple[Float[Tensor, "B 1 3 3"], Float[Tensor, "B 1 3"]]:
        """Mean pose, its torso turned as that of the landmark network's own 3D guess."""
        people = len(evidence.K)
        mean = self._landmarks(torch.zeros_like(self.coefficients[:1])).expand(people, -1, -1)
        torso = list(TORSO)
        homogeneous = torch.nn.functional.pad(evidence.landmarks_px[:, torso].mean(1), (0, 1), value=1.0)
        ray = torch.linalg.solve(evidence.K, homogeneous)
        view = rigid_align(mean[:, torso], evidence.world_m[:, torso]).rotation
        root = camera_from_view(torch.nn.functional.normalize(ray, dim=-1)) @ view
        turned = mean @ root.mT
        return root[:, None], place_on_rays(turned[:, None], evidence)


def place_on_rays(points: Float[Tensor, "B C 33 3"], evidence: Evidence) -> Float[Tensor, "B C 3"]:
    """Translation that brings the points of posed bodies nearest to the viewing rays of the landmarks (linear).

    Args:
        points: landmarks of C candidate bodies for each of B people, each with its pelvis at the origin.
        evidence: of the B people.
    """
    e = evidence
    rays = torch.nn.functional.pad(e.landmarks_px, (0, 1), value=1.0) @ torch.linalg.inv(e.K).mT
    x, y = rays[..., 0], rays[..., 1]
    weight = (e.size_px[:, None] / e.landmark_sigma_px).nan_to_num(0.0, posinf=0.0)
    # x·(Z + tz) = X + tx and the same for y: linear in t, with the same left side for all candidates.
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    design = torch.stack([torch.stack([one, zero, -x], -1), torch.stack([zero, one, -y], -1)], dim=2)
    A = (design * weight[..., None, None]).flatten(1, 2)
    target = rays[:, None, :, :2] * points[..., 2:] - points[..., :2]
    b = (target * weight[:, None, :, None]).flatten(2, 3)
    ridge = torch.eye(3).to(A) * (1e-6 * A.square().sum((1, 2)) + 1e-6)[:, None, None]
    t = torch.linalg.solve(A.mT @ A + ridge, A.mT @ b.mT).mT
    # A body that reaches behind the camera says that its pose is far off; a distance that fits its size is better.
    extent = (points.amax(2) - points.amin(2))[..., :2].norm(dim=-1)
    focal = 0.5 * (e.K[:, 0, 0] + e.K[:, 1, 1])
    depth = focal[:, None] * extent / e.size_px[:, None]
    center = (rays * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp_min(1e-6)
    nearest = t[..., 2] + points[..., 2].amin(-1)
    bad = ~(nearest > 0.2) | ~t.isfinite().all(-1)
    return torch.where(bad[..., None], center[:, None] * depth[..., None], t)
