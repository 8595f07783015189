"""People for a batch of shots: shapes, poses, hands, where they stand, sit, lie or fly, alone and in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.protocol import BodyOutput
from metrichmsr.bodies.shape_prior import AGE, ShapePrior
from metrichmsr.synthetic.arms import Arms
from metrichmsr.synthetic.contact import PARTS, BodyBalls, depth_into_each_other
from metrichmsr.synthetic.crowd import Crowd, Support
from metrichmsr.synthetic.embraces import EMBRACES, Embracer
from metrichmsr.synthetic.groups import GroupMix, Plan, draw_plan, place, up_rotation
from metrichmsr.synthetic.hands import HandNoise, HandPoser
from metrichmsr.synthetic.legs import Legs
from metrichmsr.synthetic.people_shapes import ShapeMix, age_years, draw_shapes
from metrichmsr.synthetic.placement import BODY_TO_WORLD
from metrichmsr.synthetic.pose_kinds import KINDS, UPRIGHT, PoseKind, PoseMix
from metrichmsr.synthetic.poses import PoseLibrary, PoseNoise, body_pose
from metrichmsr.synthetic.splits import Split

_MAX_OVERLAP_M = 0.035
_CORRECTIONS = 3
_SUPPORTS: tuple[Support, ...] = ("ground", "seat", "lying", "air")


@dataclass(frozen=True)
class CrowdSettings:
    """What people are like and what they do."""

    shapes: ShapeMix = field(default_factory=ShapeMix)
    poses: PoseMix = field(default_factory=PoseMix)
    noise: PoseNoise = field(default_factory=PoseNoise)
    hands: HandNoise = field(default_factory=HandNoise)
    groups: GroupMix = field(default_factory=GroupMix)
    jumps: float = 0.6
    """Share of poses that nothing carries which are put in mid-air, and a tenth of it of other dynamic ones."""
    jump_m: tuple[float, float] = (0.05, 0.6)
    raised: float = 0.4
    """Share of lying people who lie on something, and of small children whose seat is too high for their feet."""
    bed_m: tuple[float, float] = (0.4, 0.6)
    people: tuple[float, ...] = (0.55, 0.25, 0.1, 0.05, 0.03, 0.02)
    """How likely one, two… people are where the number is not given."""


class CrowdSampler:
    """Draws people.

    Args:
        body: Anny, unrestricted, on the device where people are wanted.
        library: poses of one split, on that device.
        settings: what is drawn.
    """

    def __init__(self, body: AnnyBody, library: PoseLibrary, *, settings: CrowdSettings | None = None) -> None:
        self.settings = settings or CrowdSettings()
        self.library = library
        self.balls = BodyBalls(body)
        self.body = body
        self.light = body.restricted_to(self.balls.vertex_ids)
        self._prior = ShapePrior.load()
        self._hands = HandPoser(body)
        self._arms = Arms(body, self.balls)
        self._legs = Legs(body, self.balls)
        self._embracer = Embracer(body, self._arms)
        parts = [PARTS[i] for i in self.balls.ball_part.tolist()]
        self._is_arm = torch.tensor([part.startswith(("arm", "hand")) for part in parts], device=self.balls.part.device)
        self._arm_of_ball = torch.tensor([int(part.endswith(".R")) for part in parts], device=self.balls.part.device)
        self._device = body.template.device
        self._to_world = torch.tensor(BODY_TO_WORLD, device=self._device)
        self._wrists = [body.bone_names.index(f"wrist.{side}") for side in "LR"]

    @classmethod
    def load(
        cls,
        folder: Path | None,
        *,
        body: AnnyBody,
        split: Split,
        settings: CrowdSettings | None = None,
        share_alike: bool = False,
    ) -> CrowdSampler:
        """Read poses of an asset folder (or take those of the shipped prior); the device is the body's.

        Raises:
            ModelFileError: the file of poses is missing or broken.
        """
        library = PoseLibrary.load(folder, body=body, split=split, device=body.template.device, share_alike=share_alike)
        return cls(body, library, settings=settings)

    @property
    def point_ids(self) -> Int64[Tensor, "N"]:
        """The vertices that stand for a body: outermost points of all its parts, about two thousand."""
        return self.balls.vertex_ids

    def points(self, crowd: Crowd) -> Float[Tensor, "P N 3"]:
        """These vertices in the world, metres."""
        return self.light(crowd.pose, crowd.shape, crowd.translation_m).vertices_m

    @torch.no_grad()
    def sample(
        self,
        n_shots: int,
        generator: torch.Generator,
        *,
        people: int | Sequence[int] | Sequence[float] | Int64[Tensor, "S"] | None = None,
    ) -> Crowd:
        """Draw the people of some shots.

        Args:
            n_shots: how many shots, at least one.
            generator: of the CPU; decides everything.
            people: how many in each shot, for all or for each; or, as numbers with a point, how likely one, two… are.
                The settings' distribution if left out.
        """
        settings = self.settings
        count = self._counts(n_shots, people, generator)
        total = int(count.sum())
        shot = torch.arange(n_shots).repeat_interleave(count)
        plan = draw_plan(count, generator, mix=settings.groups)
        carried = plan.doing("carry")
        carrying = torch.zeros_like(carried)
        carrying[plan.anchor[carried]] = True
        shape = draw_shapes(self._prior, total, generator, mix=settings.shapes, carried=carried, grown=carrying)
        plan = self._possible(plan, shape)
        weights = self._kind_weights(shape, shot, count, generator)
        weights[plan.embracing()] = torch.tensor([float(row in UPRIGHT) for row in range(len(KINDS))])
        weights[carried] = torch.tensor([float(kind == "sitting") for kind in KINDS])
        drawn = self.library.draw(weights, generator, noise=settings.noise)
        pose = body_pose(self.body, drawn.rotvec)
        pose[:, 0] = self._to_world @ pose[:, 0]
        shape = shape.to(self._device)
        plan = plan.to(self._device)
        out = self.light(pose, shape)
        stands = torch.isin(drawn.kind, torch.tensor(UPRIGHT, device=self._device))
        pose = self._legs.settled(self._arms.out_of_body(pose, out), out, stands)
        styles = self._hands.styles(self._resting_hands(out), generator)
        pose[:, self._hands.bones] = self._hands.rotations(styles, generator, noise=settings.hands)
        out = self.light(pose, shape)
        support, lift = self._supports(drawn.kind, drawn.unsupported, shape, generator)
        support[plan.embracing()] = _SUPPORTS.index("ground")
        lift = torch.where(plan.embracing(), torch.zeros_like(lift), lift)
        height = lift - out.vertices_m[..., 1].amin(1)
        # A child on the arm sits a little above its bearer's hips; where that fails it sits on something.
        held = plan.doing("carry")
        raised = torch.where(held, height[plan.anchor] + 0.13 * out.height_m[plan.anchor], height)
        support[held] = _SUPPORTS.index("seat")
        pose, translation, embraced = self._placed(pose, shape, out.vertices_m, (height, raised), plan, count)
        support[held & embraced] = _SUPPORTS.index("air")
        return Crowd(
            pose=pose,
            shape=shape,
            translation_m=translation,
            shot=shot.to(self._device),
            support=tuple(_SUPPORTS[i] for i in support.tolist()),
            pose_source=drawn.source,
            n_shots=n_shots,
        )

    def _counts(
        self,
        n_shots: int,
        people: int | Sequence[int] | Sequence[float] | Tensor | None,
        generator: torch.Generator,
    ) -> Int64[Tensor, "S"]:
        if n_shots < 1:
            raise ValueError(f"at least one shot, not {n_shots}")
        if people is None:
            people = self.settings.people
        if isinstance(people, int):
            count = torch.full((n_shots,), people)
        else:
            given = torch.as_tensor(people).cpu()
            if given.is_floating_point():
                count = 1 + torch.multinomial(given, n_shots, replacement=True, generator=generator)
            else:
                count = given.long()
        if len(count) != n_shots or int(count.min()) < 1:
            raise ValueError(f"{n_shots} shots need as many numbers of people, each at least 1, not {people}")
        return count

    def _kind_weights(
        self,
        shape: Float[Tensor, "P 6"],
        shot: Int64[Tensor, "P"],
        count: Int64[Tensor, "S"],
        generator: torch.Generator,
    ) -> Float[Tensor, "P 8"]:
        base = self.settings.poses.weights()
        weights = base.repeat(len(shape), 1)
        several = count[shot] > 1
        # In groups fewer turn cartwheels, and where all do the same it is what one of them would do.
        common = base * torch.tensor([_IN_GROUPS[kind] for kind in KINDS])
        weights[several] = common
        alike = (torch.rand(len(count), generator=generator) < self.settings.groups.alike) & (count > 1)
        sociable = base * torch.tensor([float(kind in _TOGETHER) for kind in KINDS])
        sociable = sociable if float(sociable.sum()) > 0 else base
        together = torch.multinomial(sociable, len(count), replacement=True, generator=generator)
        same = torch.nn.functional.one_hot(together[shot], len(KINDS)).float()
        weights = torch.where(alike[shot][:, None], same, weights)
        years = age_years(shape[:, AGE])[:, None]
        infant = base.new_tensor([_OF_INFANTS[kind] for kind in KINDS])
        crawling = base.new_tensor([_OF_CRAWLERS[kind] for kind in KINDS])
        toddler = weights * base.new_tensor([0.0 if kind == "acrobatic" else 1.0 for kind in KINDS])
        weights = torch.where(years < 4, toddler, weights)
        weights = torch.where(years < 1.2, crawling, weights)
        return torch.where(years < 0.6, infant, weights)

    def _possible(self, plan: Plan, shape: Float[Tensor, "P 6"]) -> Plan:
        """People of very different stature go hand in hand rather than arm in arm."""
        stature = self._prior.stature(shape)[0]
        ratio = stature / stature[plan.anchor]
        unlike = (ratio < 0.8) | (ratio > 1.25)
        embrace = plan.embrace.clone()
        embrace[unlike & plan.doing("arm_round")] = EMBRACES.index("hand_in_hand")
        embrace[unlike & plan.doing("hug")] = EMBRACES.index("none")
        return replace(plan, embrace=embrace)

    def _placed(
        self,
        pose: Float[Tensor, "P J 3 3"],
        shape: Float[Tensor, "P 6"],
        points: Float[Tensor, "P N 3"],
        heights: tuple[Float[Tensor, "P"], Float[Tensor, "P"]],
        plan: Plan,
        count: Int64[Tensor, "S"],
    ) -> tuple[Float[Tensor, "P J 3 3"], Float[Tensor, "P 3"], Bool[Tensor, "P"]]:
        """Poses turned to their headings with arms in embraces, where pelvises are, and where embraces succeeded.

        ``heights`` are those of the pelvis without and with embraces.
        """
        centers, radii = self.balls(points)
        up = centers.new_tensor([0.0, 1.0, 0.0])

        def stand(height: Tensor, room: Tensor) -> Tensor:
            flat = place(plan, count, centers + height[:, None, None] * up, room)
            return torch.stack([flat[:, 0], height, flat[:, 1]], dim=-1)

        apart = stand(heights[0], radii)
        pose = torch.cat([(up_rotation(plan.heading) @ pose[:, 0])[:, None], pose[:, 1:]], dim=1)
        comes = plan.embrace > 0
        if not bool(comes.any()):
            return pose, apart, comes
        # Come together as if the arms that will hold were away, then hold; where that ends in somebody's body, do not.
        close = stand(heights[1], torch.where(plan.busy_arms()[:, self._arm_of_ball] & self._is_arm, 0.0, radii))
        comer = comes.nonzero().squeeze(1)
        anchor, embrace = plan.anchor[comer], plan.embrace[comer]
        held = pose.clone()

        def bodies(rows: Tensor) -> BodyOutput:
            return self.light(held[rows], shape[rows], close[rows])

        for mine, other, is_comer in ((comer, anchor, True), (anchor, comer, False)):
            first, second = bodies(mine), bodies(other)
            which = torch.full_like(comer, is_comer, dtype=torch.bool)
            moved = self._embracer.moved(first, second, embrace, comes=which)
            held[mine] = self._embracer.hold(held[mine], first, second, embrace, comes=which)
            for _ in range(_CORRECTIONS):
                held[mine] = self._arms.out_of_other(held[mine], bodies(mine), second, moved)
        fits = self._fits(held, shape, close, plan, count)
        shot = torch.arange(len(count)).repeat_interleave(count).to(pose.device)
        good = torch.ones(len(count), dtype=torch.bool, device=pose.device)
        good[shot[~fits]] = False
        good = good[shot]
        return torch.where(good[:, None, None, None], held, pose), torch.where(good[:, None], close, apart), good

    def _fits(
        self,
        pose: Float[Tensor, "P J 3 3"],
        shape: Float[Tensor, "P 6"],
        world: Float[Tensor, "P 3"],
        plan: Plan,
        count: Int64[Tensor, "S"],
    ) -> Bool[Tensor, "P"]:
        """Who, of those in shots with an embrace, goes into nobody before them."""
        first = count.cumsum(0) - count
        shot = torch.arange(len(count)).repeat_interleave(count)
        busy = torch.zeros(len(count), dtype=torch.bool)
        busy[shot[(plan.embrace > 0).cpu()]] = True
        later, earlier = [], []
        for s in busy.nonzero().squeeze(1).tolist():
            rows = torch.arange(int(first[s]), int(first[s] + count[s]))
            pairs = torch.combinations(rows, 2)
            earlier.append(pairs[:, 0])
            later.append(pairs[:, 1])
        fits = torch.ones(len(pose), dtype=torch.bool, device=pose.device)
        a, b = torch.cat(earlier).to(pose.device), torch.cat(later).to(pose.device)
        used, back = torch.cat([a, b]).unique(return_inverse=True)
        centers, radii = self.balls(self.light(pose[used], shape[used], world[used]).vertices_m)
        i, j = back[: len(a)], back[len(a) :]
        depth = depth_into_each_other(centers[i], radii[i], centers[j], radii[j]).flatten(1).amax(1)
        fits[b[depth > _MAX_OVERLAP_M]] = False
        return fits

    def _resting_hands(self, out: BodyOutput) -> Float[Tensor, "P 2"]:
        """1 for hands that are among the lowest things of a body."""
        wrists = out.joints_m[:, self._wrists, 1]
        return (wrists - out.vertices_m[..., 1].amin(1, keepdim=True) < 0.13).float()

    def _supports(
        self,
        kind: Int64[Tensor, "P"],
        unsupported: Bool[Tensor, "P"],
        shape: Float[Tensor, "P 6"],
        generator: torch.Generator,
    ) -> tuple[Int64[Tensor, "P"], Float[Tensor, "P"]]:
        """What carries each person, and how high above the floor their lowest point is."""
        settings = self.settings
        u = torch.rand(3, len(kind), generator=generator).to(shape)
        support = torch.full_like(kind, _SUPPORTS.index("ground"))
        lift = torch.zeros_like(u[0])

        def of(*names: PoseKind) -> Tensor:
            return torch.isin(kind, kind.new_tensor([KINDS.index(name) for name in names]))

        def between(limits: tuple[float, float], share: Tensor) -> Tensor:
            return limits[0] + share * (limits[1] - limits[0])

        leaping = of("gesturing", "dynamic", "acrobatic")
        flying = (
            leaping & (u[0] < torch.where(unsupported, 1.0, 0.1) * settings.jumps) & ~(of("gesturing") & ~unsupported)
        )
        support[flying] = _SUPPORTS.index("air")
        # Most jumps are low.
        lift = torch.where(flying, between(settings.jump_m, u[1].square()), lift)
        support[of("sitting")] = _SUPPORTS.index("seat")
        small = age_years(shape[:, AGE]) < 9
        high = of("sitting") & small & (u[0] < settings.raised)
        lift = torch.where(high, between((0.05, 0.25), u[1]), lift)
        support[of("lying")] = _SUPPORTS.index("lying")
        lift = torch.where(of("lying") & (u[0] < settings.raised), between(settings.bed_m, u[1]), lift)
        return support, lift


_IN_GROUPS: dict[PoseKind, float] = {
    "standing": 1.3,
    "gesturing": 1.3,
    "dynamic": 0.8,
    "sitting": 1.0,
    "ground": 0.8,
    "kneeling": 0.8,
    "lying": 0.4,
    "acrobatic": 0.2,
}
_TOGETHER: tuple[PoseKind, ...] = ("standing", "gesturing", "dynamic", "sitting")
_OF_INFANTS: dict[PoseKind, float] = {
    "standing": 0.0,
    "gesturing": 0.0,
    "dynamic": 0.0,
    "sitting": 0.0,
    "ground": 0.0,
    "kneeling": 0.0,
    "lying": 0.9,
    "acrobatic": 0.0,
}
_OF_CRAWLERS: dict[PoseKind, float] = {
    "standing": 0.05,
    "gesturing": 0.05,
    "dynamic": 0.0,
    "sitting": 0.1,
    "ground": 0.45,
    "kneeling": 0.1,
    "lying": 0.25,
    "acrobatic": 0.0,
}
