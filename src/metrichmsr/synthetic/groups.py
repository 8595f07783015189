"""How people stand about each other: who faces whom, how near; and that nobody stands in anybody."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.synthetic.contact import way_out
from metrichmsr.synthetic.embraces import EMBRACES, Embrace, EmbraceMix

Formation = Literal["pair", "row", "queue", "circle", "scatter"]
"""pair: turned to each other; row: side by side; queue: behind each other; circle: around one; scatter: any way."""

FORMATIONS: tuple[Formation, ...] = get_args(Formation)


@dataclass(frozen=True)
class GroupMix:
    """How groups are drawn."""

    pair: float = 0.22
    row: float = 0.28
    queue: float = 0.10
    circle: float = 0.15
    scatter: float = 0.25
    touching: float = 0.3
    """Share of neighbours who touch."""
    embraces: EmbraceMix = field(default_factory=EmbraceMix)
    """What those who touch do."""
    near_m: float = 0.6
    """Median of the room between two people who do not touch."""
    far_m: float = 5.0
    """Largest room."""
    alike: float = 0.55
    """Share of groups in which all do the same: stand, sit, sit on the ground."""

    def weights(self) -> Float[Tensor, "5"]:
        """Of the formations, in the order of ``FORMATIONS``."""
        return torch.tensor([getattr(self, name) for name in FORMATIONS])


@dataclass(frozen=True)
class Plan:
    """What was drawn for P people before anybody is put anywhere; the first of a shot is where it begins."""

    anchor: Int64[Tensor, "P"]
    """For each person whom they are placed beside: an earlier row of the same shot; their own for the first."""
    bearing: Float[Tensor, "P"]
    """Direction from the anchor to the person, radians as headings are."""
    heading: Float[Tensor, "P"]
    """Radians about the vertical; 0 faces +z, π/2 faces +x."""
    gap_m: Float[Tensor, "P"]
    """Room between a person and those before; negative where they touch."""
    embrace: Int64[Tensor, "P"]
    """Rows of ``EMBRACES``: what a person and their anchor do."""

    def to(self, device: torch.device | str) -> Plan:
        """On another device."""
        return Plan(**{name: value.to(device) for name, value in vars(self).items()})

    def doing(self, *names: Embrace) -> Bool[Tensor, "P"]:
        """Who does one of these with their anchor."""
        return torch.isin(self.embrace, self.embrace.new_tensor([EMBRACES.index(name) for name in names]))

    def embracing(self) -> Bool[Tensor, "P"]:
        """Who has a part in an embrace, as the one who comes or as their anchor."""
        comes = self.embrace > 0
        part = comes.clone()
        part[self.anchor[comes]] = True
        return part

    def busy_arms(self) -> Bool[Tensor, "P 2"]:
        """Left and right arms that an embrace will move, and that need no room where they hang."""
        side = _side_of(self.heading, self.bearing + math.pi)
        busy = torch.zeros(len(side), 2, dtype=torch.bool, device=side.device)
        rows = torch.arange(len(side), device=side.device)
        one = self.doing("arm_round", "hand_in_hand")
        busy[rows[one], side[one]] = True
        hands = self.doing("hand_in_hand")
        busy[self.anchor[hands], _side_of(self.heading[self.anchor[hands]], self.bearing[hands])] = True
        hug, carry = self.doing("hug"), self.doing("carry")
        busy[hug] = True
        busy[self.anchor[hug | carry]] = True
        return busy


def draw_plan(count: Int64[Tensor, "S"], generator: torch.Generator, *, mix: GroupMix) -> Plan:
    """Draw formations for shots of so many people.

    Args:
        count: people of each shot, at least one (CPU).
        generator: of the CPU.
        mix: how often what.
    """
    shots, people = len(count), int(count.sum())
    shot = torch.arange(shots).repeat_interleave(count)
    first = (count.cumsum(0) - count)[shot]
    rank = torch.arange(people) - first
    n = count[shot]
    formation = torch.multinomial(mix.weights(), shots, replacement=True, generator=generator)[shot]
    base = (torch.rand(shots, generator=generator) * 2 * math.pi)[shot]
    pace = torch.rand(shots, generator=generator)[shot]
    turn_of_circle = (torch.rand(shots, generator=generator) * 2 * math.pi)[shot]
    side = torch.where(torch.rand(shots, generator=generator) < 0.5, 1.0, -1.0)[shot]
    u = torch.rand(5, people, generator=generator)
    wobble = torch.randn(2, people, generator=generator).clamp_(-2, 2)
    rows = torch.arange(people)

    def of(name: Formation) -> Tensor:
        return formation == FORMATIONS.index(name)

    previous = (rows - 1).clamp_min(0)
    any_earlier = first + (u[0] * rank).long().clamp_max((rank - 1).clamp_min(0))
    anchor = torch.where(of("row") | of("queue"), previous, torch.where(of("circle"), first, any_earlier))
    anchor = torch.where(rank == 0, rows, anchor)
    # Rows run to the side of where they look, queues backwards; in a pair the second stands before the first.
    bearing = u[1] * 2 * math.pi
    bearing = torch.where(of("row"), base + side * (math.pi / 2 + 0.15 * wobble[0]), bearing)
    bearing = torch.where(of("queue"), base + math.pi + 0.2 * wobble[0], bearing)
    bearing = torch.where(of("circle"), turn_of_circle + 2 * math.pi * rank / (n - 1).clamp_min(1), bearing)
    bearing = torch.where(of("pair") & (rank == 1), base + 0.2 * wobble[0], bearing)
    towards = bearing + math.pi
    heading = u[2] * 2 * math.pi
    heading = torch.where(of("row") | of("queue") | (rank == 0), base + 0.25 * wobble[1], heading)
    # Many of a scattered group look at the one they are with.
    looks = of("scatter") & (u[4] < 0.45) & (rank > 0)
    heading = torch.where(
        of("circle") & (rank > 0) | of("pair") & (rank > 0) | looks, towards + 0.3 * wobble[1], heading
    )
    touches = (u[3] < mix.touching) & (rank > 0) & ~of("queue")
    # Side by side each may hold the one before; face to face only two can.
    row_kind, pair_kind = (
        torch.multinomial(weights, people, replacement=True, generator=generator) for weights in mix.embraces.weights()
    )
    embrace = torch.where(touches & of("row"), row_kind, torch.zeros_like(row_kind))
    embrace = torch.where(touches & of("pair") & (rank == 1), pair_kind, embrace)
    holds = embrace > 0
    aligned = holds.clone()
    aligned[anchor[holds]] = True
    heading = torch.where(aligned & ((rank == 0) | of("row")), base + 0.05 * wobble[1], heading)
    bearing = torch.where(holds & of("row"), base + side * math.pi / 2, bearing)
    bearing = torch.where(holds & of("pair"), base, bearing)
    heading = torch.where(holds & of("pair"), base + math.pi, heading)
    room = mix.near_m * torch.exp(0.9 * (2 * pace - 1 + 0.6 * wobble[0]))
    gap = torch.where(touches, torch.full_like(room, -0.01), (room - 0.15).clamp(0.02, mix.far_m))
    gap = torch.where(embrace == EMBRACES.index("hand_in_hand"), 0.02 + 0.22 * u[4], gap)
    return Plan(anchor, bearing, heading, gap, embrace)


def place(
    plan: Plan,
    count: Int64[Tensor, "S"],
    centers: Float[Tensor, "P M 3"],
    radii: Float[Tensor, "P M"],
) -> Float[Tensor, "P 2"]:
    """Where people's pelvises are in x and z.

    People come one after the other beside those already there, as near as drawn, and never into them.

    Args:
        plan: who goes where.
        count: people of each shot (CPU).
        centers: balls of each person, pelvis at x = z = 0, heading 0, at their true height (metres, world).
        radii: of these balls; those of radius 0 need no room.
    """
    device = centers.device
    people = len(centers)
    first_row = count.cumsum(0) - count
    turned = rotate_about_up(centers, plan.heading)
    position = torch.zeros(people, 2, device=device)
    for k in range(1, int(count.max()) if len(count) else 0):
        shots = (count > k).nonzero().squeeze(1)
        row = (first_row[shots] + k).to(device)
        earlier = ((first_row[shots])[:, None] + torch.arange(k)).to(device)
        direction = torch.stack(
            [plan.bearing[row].sin(), torch.zeros_like(row, dtype=centers.dtype), plan.bearing[row].cos()], -1
        )
        start = position[plan.anchor[row]]
        there = turned[earlier] + _lift(position[earlier])[:, :, None]
        here = turned[row] + _lift(start)[:, None]
        way = way_out(here, radii[row], there.flatten(1, 2), radii[earlier].flatten(1), direction)
        way = way.clamp_min(0.0) + plan.gap_m[row]
        position[row] = start + direction[:, [0, 2]] * way[:, None]
    return position


def rotate_about_up(points: Float[Tensor, "P N 3"], heading: Float[Tensor, "P"]) -> Float[Tensor, "P N 3"]:
    """World points turned about y by each person's heading."""
    return points @ up_rotation(heading).transpose(1, 2)


def up_rotation(heading: Float[Tensor, "P"]) -> Float[Tensor, "P 3 3"]:
    """Rotation about y that takes +z to the heading."""
    sine, cosine = heading.sin(), heading.cos()
    zero, one = torch.zeros_like(sine), torch.ones_like(sine)
    rows = [cosine, zero, sine, zero, one, zero, -sine, zero, cosine]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def _lift(place: Float[Tensor, "*P 2"]) -> Float[Tensor, "*P 3"]:
    return torch.stack([place[..., 0], torch.zeros_like(place[..., 0]), place[..., 1]], dim=-1)


def _side_of(heading: Float[Tensor, "B"], bearing: Float[Tensor, "B"]) -> Int64[Tensor, "B"]:
    """On which side of people who look along a heading a bearing lies: 0 left, 1 right."""
    return torch.where((bearing - heading).sin() > 0, 0, 1)
