"""What people rest on: where a seat or a bed has to be."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.synthetic.contact import PARTS, BodyBalls
from metrichmsr.synthetic.crowd import Crowd

BODY_TO_WORLD = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))
"""Anny's z up to the world's y up: a body of heading 0 faces +z."""

MIN_RAISED_M = 0.1
"""People lying lower than this lie on the ground."""

_LEAST_SEAT_M = 0.12


@dataclass(frozen=True)
class Rests:
    """Oriented boxes from the floor up that carry K people who sit or lie above the ground.

    A box of at most this size touches the person from below and, where ``is_clear``, goes through nobody's legs.
    """

    person: Int64[Tensor, "K"]
    """Rows of the crowd."""
    is_seat: Bool[Tensor, "K"]
    """True where one sits on it, False where one lies on it."""
    top_m: Float[Tensor, "K"]
    """Height of its upper face."""
    center_m: Float[Tensor, "K 2"]
    """x and z of its middle."""
    forward: Float[Tensor, "K 2"]
    """Unit vector (x, z): where a sitting person looks, where the head of a lying one is."""
    half_m: Float[Tensor, "K 2"]
    """Half its size across and along ``forward``."""
    is_clear: Bool[Tensor, "K"]
    """False where feet are drawn back under a seat: a solid box would cut them, a thin seat on legs does not."""

    def __len__(self) -> int:
        return len(self.person)


def seat_height(crowd: Crowd, body: AnnyBody, *, balls: BodyBalls | None = None) -> Float[Tensor, "P"]:
    """Height of what each person rests on: a seat, a bed; 0 for all others. Metres.

    Args:
        crowd: people.
        body: Anny, unrestricted.
        balls: of this body; made if left out.
    """
    found = rests(crowd, body, balls=balls)
    height = torch.zeros(len(crowd), device=crowd.pose.device)
    height[found.person] = found.top_m
    return height


def rests(crowd: Crowd, body: AnnyBody, *, balls: BodyBalls | None = None) -> Rests:
    """Where seats, beds and couches have to be; arguments as of :func:`seat_height`."""
    balls = balls or BodyBalls(body)
    device = crowd.pose.device
    wanted = [i for i, support in enumerate(crowd.support) if support in ("seat", "lying")]
    person = torch.tensor(wanted, dtype=torch.long, device=device)
    if not wanted:
        none = torch.zeros(0, device=device)
        return Rests(person, none.bool(), none, none.view(0, 2), none.view(0, 2), none.view(0, 2), none.bool())
    light = body.restricted_to(balls.vertex_ids)
    out = light(crowd.pose[person], crowd.shape[person], crowd.translation_m[person])
    points = out.vertices_m
    is_seat = torch.tensor([crowd.support[i] == "seat" for i in wanted], device=device)
    names = body.bone_names
    hips = [names.index("upperleg01.L"), names.index("upperleg01.R")]
    knees = [names.index("lowerleg01.L"), names.index("lowerleg01.R")]
    hip, knee = out.joints_m[:, hips].mean(1), out.joints_m[:, knees].mean(1)
    head = out.joints_m[:, names.index("head")]
    # Where the thighs point; for one lying where the head is.
    forward = torch.where(is_seat[:, None], knee - hip, head - hip)[:, [0, 2]]
    forward = torch.nn.functional.normalize(forward, dim=-1)
    across = torch.stack([forward[:, 1], -forward[:, 0]], dim=-1)
    flat = points[..., [0, 2]]
    along_of, across_of = (flat * forward[:, None]).sum(-1), (flat * across[:, None]).sum(-1)
    bottom = balls.bottom
    # Seat: under the buttocks and the first half of the thighs, ending before shins and feet.
    seat_top = points[:, bottom, 1].amin(1)
    shins = (torch.tensor([p.startswith(("leg", "foot")) for p in PARTS], device=device)[balls.part]) & ~bottom
    low = points[..., 1] < (seat_top - 0.03)[:, None]
    inf = torch.tensor(float("inf"), device=device)
    back = along_of[:, bottom].amin(1) - 0.03
    before_legs = torch.where(low & shins, along_of, inf).amin(1) - 0.02
    middle_of_thigh = (0.4 * hip + 0.6 * knee)[:, [0, 2]]
    front = torch.minimum((middle_of_thigh * forward).sum(-1), before_legs)
    is_clear = ~is_seat | (front >= back + _LEAST_SEAT_M)
    front = torch.maximum(front, back + _LEAST_SEAT_M)
    half_width = 0.5 * (across_of[:, bottom].amax(1) - across_of[:, bottom].amin(1)).clamp_min(0.3) + 0.03
    # Hands that hang beside the seat stay beside it.
    aside = torch.tensor([p.startswith(("arm", "hand")) for p in PARTS], device=device)[balls.part] & low
    aside &= (along_of > back[:, None]) & (along_of < front[:, None])
    seat_across = 0.5 * (across_of[:, bottom].amax(1) + across_of[:, bottom].amin(1))
    beside = torch.where(aside, (across_of - seat_across[:, None]).abs(), inf).amin(1) - 0.015
    half_width = torch.minimum(half_width, beside).clamp_min(0.1)
    # Bed: under the whole body.
    inside = torch.where(is_seat, back, along_of.amin(1) - 0.05), torch.where(is_seat, front, along_of.amax(1) + 0.05)
    bed_across = 0.5 * (across_of.amin(1) + across_of.amax(1))
    bed_half = 0.5 * (across_of.amax(1) - across_of.amin(1)) + 0.05
    middle_across = torch.where(is_seat, seat_across, bed_across)
    half = torch.stack([torch.where(is_seat, half_width, bed_half), 0.5 * (inside[1] - inside[0])], dim=-1)
    center = forward * (0.5 * (inside[0] + inside[1]))[:, None] + across * middle_across[:, None]
    top = torch.where(is_seat, seat_top, points[..., 1].amin(1))
    keep = is_seat | (top > MIN_RAISED_M)
    return Rests(person[keep], is_seat[keep], top[keep], center[keep], forward[keep], half[keep], is_clear[keep])
