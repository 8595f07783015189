"""Cameras whose position follows from how the picture shall be framed, and not the other way round.

Drawn are a picture size, a field of view, which way the camera looks, and the rectangle of the picture that a person or
a group shall fill, which may reach beyond the picture. Where the camera stands follows exactly: with the camera's axes
fixed, "every point lies right of the rectangle's left edge" is linear in its position, and so are the other edges. So a
wide lens comes close and a long one goes far, as photographers do, and nobody ends up behind the camera. Of several
such draws a shot gets the first that keeps above the ground, outside people, and in view of the subject.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.synthetic.cameras import Cameras
from metrichmsr.synthetic.crowd import Crowd
from metrichmsr.synthetic.focal_twins import focal_of_fov, fov_possible

ASPECTS = (9 / 16, 2 / 3, 3 / 4, 4 / 5, 1.0, 5 / 4, 4 / 3, 3 / 2, 16 / 9)
_POINTS = 200
_HIGHEST_TWIN_M = 30.0
LONG_SIDES = (480, 640, 800, 1024, 1280, 1600, 1920)


@dataclass(frozen=True)
class CameraSettings:
    """Ranges of what is drawn."""

    fov_deg: tuple[float, float] = (15.0, 120.0)
    """Horizontal field of view."""
    usual_fov_deg: tuple[float, float] = (45.0, 75.0)
    """Where phones are; half the pictures."""
    max_fov_y_deg: float = 125.0
    pitch_deg: tuple[float, float] = (-60.0, 60.0)
    """Upwards is positive."""
    steep: float = 0.4
    """Share of pitches drawn evenly over their range; the rest is near level."""
    roll_deg: float = 20.0
    height_m: tuple[float, float] = (0.2, 6.0)
    size: tuple[int, int] | None = None
    """Width and height of all pictures; drawn if left out."""
    principal_point: float = 0.02
    """Standard deviation of its offset, as a share of the long side."""
    uncentred: float = 0.10
    """Share of pictures that are cut out of larger ones, with the principal point up to 40 % off."""
    group: float = 0.35
    """Share of pictures with several people that frame them all; the rest frames the subject."""
    cut: float = 0.26
    """Share that shows part of a person only: to the knees, to the waist, head and shoulders."""
    tiny: float = 0.06
    """Share in which people are small and far."""
    nearest_m: float = 0.25
    """Of anybody's skin to the camera."""
    near_limb: float = 0.04
    """Share in which limbs may come as near as 0.12 m."""
    candidates: int = 16
    twin_fovs_deg: tuple[float, ...] = ()
    """Focal twins that shall be possible too: above the ground, below 30 m, and not too near to anybody."""

    @classmethod
    def for_twins(cls, fovs_deg: tuple[float, ...]) -> CameraSettings:
        """Framings that still show the person when the camera goes near or far."""
        return cls(twin_fovs_deg=fovs_deg, cut=0.12, tiny=0.0, steep=0.15, near_limb=0.0, uncentred=0.05, group=0.15)


class CameraSampler:
    """Draws cameras for crowds.

    Args:
        settings: ranges.
    """

    def __init__(self, settings: CameraSettings | None = None) -> None:
        self.settings = settings or CameraSettings()

    @torch.no_grad()
    def sample(self, crowd: Crowd, points_m: Float[Tensor, "P N 3"], generator: torch.Generator) -> Cameras:
        """One camera for each shot.

        Args:
            crowd: people; the first of a shot is its subject.
            points_m: points of their skins in the world (a few hundred will do, the outermost among them).
            generator: of the CPU; decides everything.
        """
        settings = self.settings
        shots, tries = crowd.n_shots, settings.candidates
        device = points_m.device
        rows, present = padded_rows(crowd)
        # A few hundred points are enough to choose by.
        points = points_m[:, :: max(1, points_m.shape[1] // _POINTS)][rows]  # S m N 3
        drawn = _draw(settings, shots, tries, generator).to(device)
        subject = points[:, 0]
        several = present.sum(1) > 1
        group = several[:, None] & (drawn.u[:, :, 0] < settings.group)
        rotation = look_rotation(drawn.yaw, drawn.pitch, drawn.roll)
        # Points as seen with the camera's axes, relative to the subject's middle.
        middle = 0.5 * (subject.amin(1) + subject.amax(1))
        everyone = torch.where(present[..., None, None], points, subject[:, None]).flatten(1, 2) - middle[:, None]
        seen = everyone[:, None] @ rotation.transpose(-1, -2)  # S C mN 3
        n = points.shape[2]
        offset = _fit(seen[:, :, :n], drawn, settings)
        if bool(group.any()):
            offset = torch.where(group[..., None], _fit(seen, drawn, settings), offset)
        position = middle[:, None] - (offset[..., None, :] @ rotation).squeeze(-2)
        valid = self._valid(seen, offset, position, drawn, n)
        if settings.twin_fovs_deg:
            anchor = (rotation @ (crowd.translation_m[rows[:, 0]] - middle)[:, None, :, None]).squeeze(-1) + offset
            valid &= self._twins_valid(seen + offset[:, :, None], position, rotation, anchor[..., 2], drawn)
        valid[:, -1] = True
        choice = valid.float().argmax(1)
        shot = torch.arange(shots, device=device)
        matrix = torch.eye(4, device=device).repeat(shots, 1, 1)
        matrix[:, :3, :3] = rotation[shot, choice]
        matrix[:, :3, 3] = -(rotation[shot, choice] @ position[shot, choice, :, None]).squeeze(-1)
        K = torch.zeros(shots, 3, 3, device=device)
        focal = drawn.focal[shot, choice]
        K[:, 0, 0] = K[:, 1, 1] = focal
        K[:, :2, 2] = drawn.principal[shot, choice]
        K[:, 2, 2] = 1.0
        size = drawn.size[shot, choice]
        return Cameras(K=K, width=size[:, 0].long(), height=size[:, 1].long(), camera_from_world=matrix)

    def _valid(
        self,
        seen: Float[Tensor, "S C M 3"],
        offset: Float[Tensor, "S C 3"],
        position: Float[Tensor, "S C 3"],
        drawn: _Drawn,
        n: int,
    ) -> Bool[Tensor, "S C"]:
        settings = self.settings
        low, high = settings.height_m
        valid = (position[..., 1] >= low) & (position[..., 1] <= high)
        # None has the wanted field of view where a wide one meets a principal point beside the picture.
        valid &= drawn.focal > 0
        placed = seen + offset[:, :, None]
        nearest = torch.where(drawn.u[..., 1] < settings.near_limb, min(0.12, settings.nearest_m), settings.nearest_m)
        valid &= placed.square().sum(-1).amin(-1) >= nearest.square()
        depth = placed[..., 2]
        pixels = placed[..., :2] / depth.clamp_min(1e-3)[..., None] * drawn.focal[..., None, None]
        pixels = pixels + drawn.principal[:, :, None]
        inside = ((pixels > 0) & (pixels < drawn.size[:, :, None])).all(-1) & (depth > 0)
        share = inside[:, :, :n].float().mean(-1)
        valid &= share >= 0.25
        # Not hidden behind somebody: where another's picture lies over the subject's and is nearer.
        people = seen.shape[2] // n
        if people > 1:
            boxes = _boxes(pixels.unflatten(2, (people, n)))
            front = depth.unflatten(2, (people, n)).amin(-1)
            own, others = boxes[:, :, :1], boxes[:, :, 1:]
            wide = torch.minimum(own[..., 2:], others[..., 2:]) - torch.maximum(own[..., :2], others[..., :2])
            own_area = (own[..., 2:] - own[..., :2]).prod(-1)
            covered = wide.clamp_min(0).prod(-1) / own_area
            nearer = (front[:, :, 1:] < front[:, :, :1]) & (front[:, :, 1:] > -0.2)
            valid &= ~((covered > 0.75) & nearer).any(-1)
        extent = torch.where(inside[:, :, :n, None], pixels[:, :, :n], drawn.size[:, :, None] / 2)
        extent = (extent.amax(2) - extent.amin(2)).amax(-1)
        # Whoever is cut off still fills much of the picture.
        least = torch.where(drawn.fill > 1, 0.5 * drawn.size.amin(-1), 20.0)
        valid &= extent >= least
        return valid

    def _twins_valid(
        self,
        placed: Float[Tensor, "S C M 3"],
        position: Float[Tensor, "S C 3"],
        rotation: Float[Tensor, "S C 3 3"],
        anchor_depth: Float[Tensor, "S C"],
        drawn: _Drawn,
    ) -> Bool[Tensor, "S C"]:
        low, nearest = self.settings.height_m[0], self.settings.nearest_m
        valid = torch.ones_like(anchor_depth, dtype=torch.bool)
        lateral = placed[..., :2].square().sum(-1)
        for fov in self.settings.twin_fovs_deg:
            wanted = (torch.full_like(drawn.focal, fov), drawn.size[..., 0], drawn.principal[..., 0])
            focal = focal_of_fov(*wanted)
            valid &= fov_possible(*wanted)
            back = anchor_depth * (focal / drawn.focal - 1)
            height = position[..., 1] - back * rotation[..., 2, 1]
            valid &= (height >= low) & (height <= _HIGHEST_TWIN_M)
            distance = lateral + (placed[..., 2] + back[..., None]).square()
            valid &= distance.amin(-1) >= nearest**2
        return valid


@dataclass(frozen=True)
class _Drawn:
    """What is drawn for C candidates of S shots; the last candidate is one that is always possible."""

    size: Float[Tensor, "S C 2"]
    focal: Float[Tensor, "S C"]
    principal: Float[Tensor, "S C 2"]
    yaw: Float[Tensor, "S C"]
    pitch: Float[Tensor, "S C"]
    roll: Float[Tensor, "S C"]
    fill: Float[Tensor, "S C"]
    """How large people are in the picture, as a share of it; beyond 1 they reach out of it."""
    shift: Float[Tensor, "S C 2"]
    """Where in the room that is left: −1 left or top, 1 right or bottom; beyond that they are cut off."""
    slack: Float[Tensor, "S C"]
    u: Float[Tensor, "S C 2"]

    def to(self, device: torch.device) -> _Drawn:
        return _Drawn(**{name: value.to(device) for name, value in vars(self).items()})


def _draw(settings: CameraSettings, shots: int, tries: int, generator: torch.Generator) -> _Drawn:
    u = torch.rand(20, shots, tries, generator=generator)
    normal = torch.randn(8, shots, tries, generator=generator).clamp_(-2.5, 2.5)
    if settings.size is None:
        aspect = torch.tensor(ASPECTS)[(u[0] * len(ASPECTS)).long()]
        side = torch.tensor(LONG_SIDES, dtype=torch.float32)[(u[1] * len(LONG_SIDES)).long()]
        size = torch.stack([side * aspect.clamp_max(1), side / aspect.clamp_min(1)], dim=-1).round()
        # One picture, whichever view of it is taken.
        size = size[:, :1].expand(-1, tries, -1).clone()
    else:
        size = torch.tensor(settings.size, dtype=torch.float32).expand(shots, tries, 2).clone()
    low, high = settings.fov_deg
    usual_low, usual_high = (min(max(v, low), high) for v in settings.usual_fov_deg)
    wide = low * (high / low) ** u[3]
    fov = torch.where(u[2] < 0.5, usual_low + (usual_high - usual_low) * u[3], wide)[:, :1].expand(-1, tries)
    width, height = size.unbind(-1)
    tall = 2 * torch.atan(math.tan(math.radians(settings.max_fov_y_deg) / 2) * width / height) * (180 / math.pi)
    fov = torch.minimum(fov, tall.clamp_min(low))
    # Where the principal point is off centre the angles left and right of it add up to the field of view.
    off = normal[0:2] * settings.principal_point
    uncentred = u[4][:, :1] < settings.uncentred
    off = torch.where(uncentred, (u[5:7] * 2 - 1) * 0.4, off).movedim(0, -1)
    limit = torch.where(uncentred, 0.4, 0.1)[..., None]
    principal = size / 2 + torch.maximum(torch.minimum(off, limit), -limit) * size.amax(-1, keepdim=True)
    principal = torch.maximum(torch.minimum(principal, 1.2 * size), -0.2 * size)
    focal = focal_of_fov(fov, width, principal[..., 0])
    steep_low, steep_high = settings.pitch_deg
    level = torch.where(u[8] < 0.5, normal[2] * 6 - 3, normal[2] * 14 - 6)
    # Few steep views from below are possible: most draws of a shot try for the same pitch before another is taken.
    insist = torch.arange(tries) < 0.7 * tries
    steep_share, steep = torch.where(insist, u[7][:, :1], u[7]), torch.where(insist, u[9][:, :1], u[9])
    pitch = torch.where(steep_share < settings.steep, steep_low + (steep_high - steep_low) * steep, level)
    pitch = pitch.clamp(steep_low, steep_high)
    roll = torch.where(u[10] < 0.75, normal[3] * settings.roll_deg * 0.12, (u[11] * 2 - 1) * settings.roll_deg)
    roll = roll.clamp(-settings.roll_deg, settings.roll_deg)
    fill = 0.20 * (0.97 / 0.20) ** u[12]
    fill = torch.where(u[13] < settings.tiny, 0.08 + 0.2 * u[12], fill)
    cut = u[13] > 1 - settings.cut
    fill = torch.where(cut, 1.05 * 3.6 ** u[12], fill)
    shift = u[14:16].movedim(0, -1) * 2 - 1
    over = (u[16] < 0.12)[..., None]
    shift = torch.where(over, shift * 1.6, shift)
    # Who cuts people off cuts their legs off, mostly.
    top = torch.where(u[17] < 0.85, -0.92 - 0.10 * u[18], shift[..., 1])
    shift = torch.stack(
        [torch.where(cut, 0.4 * shift[..., 0], shift[..., 0]), torch.where(cut, -top, shift[..., 1])], -1
    )
    yaw = u[19] * 2 * math.pi
    # A view from slightly above that shows a whole person or group is possible everywhere.
    fallback_fov = torch.minimum(torch.tensor(55.0).clamp(low, high), tall[:, -1])
    pitch, roll, fill = pitch.clone(), roll.clone(), fill.clone()
    focal, principal, shift = focal.clone(), principal.clone(), shift.clone()
    pitch[:, -1] = max(-14.0, steep_low) if steep_low <= 0 else steep_low
    roll[:, -1] = 0.0
    fill[:, -1] = 0.45 if settings.twin_fovs_deg else 0.62
    principal[:, -1] = size[:, -1] / 2
    focal[:, -1] = focal_of_fov(fallback_fov, width[:, -1], width[:, -1] / 2)
    shift[:, -1] = 0.0
    angles = (torch.deg2rad(pitch), torch.deg2rad(roll))
    slack = u[6]
    return _Drawn(size, focal, principal, yaw, *angles, fill, shift, slack, u[[14, 15]].movedim(0, -1))


def look_rotation(
    yaw: Float[Tensor, "*B"], pitch: Float[Tensor, "*B"], roll: Float[Tensor, "*B"]
) -> Float[Tensor, "*B 3 3"]:
    """World (y up) to camera axes (y down) of a camera that looks along a heading, up by a pitch, turned by a roll.

    Args:
        yaw: heading of the view, radians; 0 looks along +z, π/2 along +x.
        pitch: radians, upwards positive.
        roll: radians; the camera's right side goes down for positive ones.
    """
    sy, cy, sp, cp = yaw.sin(), yaw.cos(), pitch.sin(), pitch.cos()
    zero = torch.zeros_like(yaw)
    forward = torch.stack([sy * cp, sp, cy * cp], dim=-1)
    right = torch.stack([-cy, zero, sy], dim=-1)
    down = torch.linalg.cross(forward, right)
    sr, cr = roll.sin()[..., None], roll.cos()[..., None]
    return torch.stack([right * cr + down * sr, down * cr - right * sr, forward], dim=-2)


def padded_rows(crowd: Crowd) -> tuple[Int64[Tensor, "S m"], Bool[Tensor, "S m"]]:
    """Rows of the people of each shot, as many columns as the largest has, and which of them are there.

    Absent ones repeat the shot's first.
    """
    count = torch.bincount(crowd.shot, minlength=crowd.n_shots)
    if int(count.min()) < 1:
        raise ValueError("every shot needs at least one person")
    first = count.cumsum(0) - count
    column = torch.arange(int(count.max()), device=count.device)
    present = column < count[:, None]
    return torch.where(present, first[:, None] + column, first[:, None]), present


def _fit(seen: Float[Tensor, "S C M 3"], drawn: _Drawn, settings: CameraSettings) -> Float[Tensor, "S C 3"]:
    """What to add to the points so that their picture just fits the wanted rectangle, and no point is too near."""
    room = 1 - drawn.fill[..., None]
    center = 0.5 + 0.5 * room.abs() * drawn.shift
    low = (center - drawn.fill[..., None] / 2) * drawn.size
    high = (center + drawn.fill[..., None] / 2) * drawn.size
    # Edges of the rectangle as x/z and y/z.
    a = (low - drawn.principal) / drawn.focal[..., None]
    b = (high - drawn.principal) / drawn.focal[..., None]
    lateral, depth = seen[..., :2], seen[..., 2:]
    # lateral + t ≥ a (depth + tz) and lateral + t ≤ b (depth + tz), for each of both directions.
    left = (a[:, :, None] * depth - lateral).amax(2)
    right = (lateral - b[:, :, None] * depth).amax(2)
    needed = ((left + right) / (b - a)).amax(-1)
    away = torch.maximum(needed, settings.nearest_m - depth.squeeze(-1).amin(-1))[..., None]
    shortest, longest = left + a * away, b * away - right
    slack = 0.5 + 0.35 * (drawn.slack[..., None] - 0.5)
    lateral_shift = shortest + slack * (longest - shortest)
    return torch.cat([lateral_shift, away], dim=-1)


def _boxes(pixels: Float[Tensor, "S C m N 2"]) -> Float[Tensor, "S C m 4"]:
    return torch.cat([pixels.amin(3), pixels.amax(3)], dim=-1)
