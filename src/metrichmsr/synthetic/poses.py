"""Poses: from a file of captured and made ones, or from the pose prior that comes with the package.

The file is ``poses/poses.npz`` in the asset folder (``scripts/import_poses.py`` writes it from other sources):

- ``rotvec`` (N, D, 3): rotation vectors, radians, of Anny's driven bones ``bones``, the root's with its heading (twist
  about the vertical) taken away;
- ``clip`` (N,), ``frame`` (N,): which clip of ``clip_names`` and which of its frames;
- ``clip_source`` and ``clip_desc``: for each clip where it comes from and what is done in it;
- ``kind`` (N,): 0 captured, 1 made; ``selfpen`` (N,): how deep the body goes into itself, metres.

Clips, not poses, are dealt to the splits: frames of one clip are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.protocol import mirrored_name
from metrichmsr.errors import ModelFileError
from metrichmsr.synthetic.assets import NO_CLEAR_LICENCE, SHARE_ALIKE
from metrichmsr.synthetic.pose_kinds import KINDS, UPRIGHT, PoseKind, PoseReader, PoseTraits
from metrichmsr.synthetic.pose_origin import origins
from metrichmsr.synthetic.quiet_stance import amounts, calmed
from metrichmsr.synthetic.splits import Split, split_of
from metrichmsr.synthetic.straight_legs import straightened

POSES = Path("poses") / "poses.npz"
"""Place in the asset folder."""

CREDITS = {
    "cmu": "Poses: mocap.cs.cmu.edu. The database was created with funding from NSF EIA-0196217.",
    "hdm05": "Poses: Mocap Database HDM05 (Müller et al. 2007, TR CG-2007-2), CC BY-SA 3.0.",
}
"""Attribution by how the name of a source begins."""

_MAX_SELF_PENETRATION_M = 0.04
_MAX_LEAN_M = 0.40
_AT_REST: tuple[PoseKind, ...] = ("standing", "ground", "kneeling", "lying")
_PRIOR_POSES = 6000
_PRIOR_SEED = {"train": 1, "val": 2, "test": 3}
# Poses made by rule are one clip of thousands: they are dealt in runs of neighbours.
_MADE_RUN = 20


@dataclass(frozen=True)
class DrawnPoses:
    """P poses, hands not yet posed, heading 0: upright bodies face −y, z is up."""

    rotvec: Float[Tensor, "P D 3"]
    """Rotation vectors of the driven bones, radians."""
    kind: Int64[Tensor, "P"]
    """Rows of ``KINDS``."""
    unsupported: Bool[Tensor, "P"]
    """See :class:`PoseTraits`."""
    source: tuple[str, ...]
    """Clip and frame (of a made pose its number, and ``of`` whose poses it is made) or ``prior``; ``mirrored`` and
    ``calmed`` (:mod:`~metrichmsr.synthetic.quiet_stance`) where it is."""


@dataclass(frozen=True)
class PoseNoise:
    """Standard deviations in radians of what is added to each bone's rotation."""

    trunk: float = 0.03
    neck: float = 0.06
    arms: float = 0.07
    legs: float = 0.025
    look: float = 0.22
    """Turn and nod of the head beside the pose's, spread over neck and head."""


class PoseLibrary:
    """Poses of one split, drawn by kind.

    Args:
        body: Anny.
        rotvec: rotation vectors of the driven bones, root heading removed.
        names: of every pose.
        made: kinds that are known by their origin (rows of ``KINDS``); −1 where the joints shall tell.
        device: where poses are wanted.
    """

    def __init__(
        self,
        body: AnnyBody,
        rotvec: Float[Tensor, "N D 3"],
        names: Sequence[str],
        *,
        made: Int64[Tensor, "N"] | None = None,
        sources: Sequence[str] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        rotvec = rotvec.cpu()
        traits = _traits(body, rotvec)
        told = torch.full_like(traits.kind, -1) if made is None else made
        kind = torch.where(told >= 0, told, traits.kind)
        # Somebody held on to something that is not there; what a seat carries is known to be missing.
        carried = torch.isin(kind, torch.tensor([KINDS.index("sitting"), KINDS.index("acrobatic")]))
        keep = (told >= 0) | carried | (traits.lean_m < _MAX_LEAN_M)
        keep &= (told >= 0) | ~traits.unsupported | ~torch.isin(kind, torch.tensor([KINDS.index(k) for k in _AT_REST]))
        rotvec, kind = rotvec[keep], kind[keep]
        names = [name for name, kept in zip(names, keep.tolist(), strict=True) if kept]
        self.names = tuple(names)
        self.sources = tuple(sorted(set(sources)))
        self.kind = kind
        self.rotvec = rotvec.half().to(device)
        self.unsupported = traits.unsupported[keep]
        order = kind.argsort(stable=True)
        self._order = order
        self._count = torch.bincount(kind, minlength=len(KINDS))
        self._start = self._count.cumsum(0) - self._count
        self._bones = tuple(body.driven_bones)
        place = {bone: i for i, bone in enumerate(body.driven_bones)}
        self._mirror = torch.tensor([place[mirrored_name(bone)] for bone in body.driven_bones], device=device)
        self._parts = _noise_parts(body.driven_bones).to(device)

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def load(
        cls,
        folder: Path | None,
        *,
        body: AnnyBody,
        split: Split,
        device: torch.device | str = "cpu",
        share_alike: bool = False,
        unclear_licence: bool = False,
    ) -> PoseLibrary:
        """Read ``poses/poses.npz`` of an asset folder; without a folder poses come from the shipped prior.

        Args:
            folder: the asset folder, or None.
            body: Anny, whose driven bones the poses are brought to.
            split: which clips to take.
            device: where poses are wanted.
            share_alike: also clips under a share-alike licence (HDM05), and poses made from them.
            unclear_licence: also clips whose licence is not stated (DeepMimic's), and poses made from them.

        Raises:
            ModelFileError: the file is missing or is something else.
        """
        if folder is None:
            return cls._of_prior(body, split, device)
        raw = _read(folder / POSES)
        clip_names = [str(name) for name in raw["clip_names"]]
        clip_source = [str(name) for name in raw["clip_source"]]
        dropped = (() if share_alike else SHARE_ALIKE) + (() if unclear_licence else NO_CLEAR_LICENCE)
        made_kind = {
            "sit": "sitting",
            "sit_cross": "sitting",
            "ground": "ground",
            "kneel": "kneeling",
            "lie": "lying",
        }
        made_row = [
            KINDS.index(made_kind[name.removeprefix("synthetic/")])
            if name.startswith("synthetic/") and name.removeprefix("synthetic/") in made_kind
            else -1
            for name in clip_names
        ]
        clip, frame = raw["clip"].astype(np.int64), raw["frame"].astype(np.int64)
        within = np.arange(len(clip)) - np.searchsorted(clip, clip) if np.all(np.diff(clip) >= 0) else _ranks(clip)
        is_made = raw["kind"] == 1
        number = np.where(is_made, within, frame)
        clip_split = [split_of(name) for name in clip_names]
        keep = np.array([clip_source[c] not in dropped and clip_split[c] == split for c in clip])
        runs: dict[tuple[int, int], bool] = {}
        for i in np.nonzero(is_made)[0]:
            run = (int(clip[i]), int(within[i]) // _MADE_RUN)
            if run not in runs:
                runs[run] = split_of(f"{clip_names[run[0]]}/{run[1]}") == split
            keep[i] = runs[run]
        origin = origins(raw["rotvec"], [str(bone) for bone in raw["bones"]], is_made, [clip_source[c] for c in clip])
        # A made pose of unknown origin may be of any clip in the file.
        doubt = frozenset(clip_source)
        keep &= np.array([(whose or doubt).isdisjoint(dropped) for whose in origin])
        keep &= raw["selfpen"] <= _MAX_SELF_PENETRATION_M
        rotvec = raw["rotvec"].astype(np.float32)
        keep &= np.isfinite(rotvec).all((1, 2))
        rows = np.nonzero(keep)[0]
        if len(rows) == 0:
            raise ModelFileError(f"{folder / POSES}: no pose is left for split {split}")
        driven = torch.zeros(len(rows), len(body.driven_bones), 3)
        bones = [str(bone) for bone in raw["bones"]]
        for i, bone in enumerate(body.driven_bones):
            if bone in bones:
                driven[:, i] = torch.from_numpy(rotvec[rows, bones.index(bone)])
        return cls(
            body,
            straightened(driven, body.driven_bones),
            [
                f"{clip_names[clip[i]]}:{number[i]}"
                + (f" of {' and '.join(sorted(origin[i]))}" if is_made[i] and origin[i] else "")
                for i in rows
            ],
            made=torch.tensor([made_row[clip[i]] for i in rows]),
            sources=sorted(frozenset().union(*(origin[i] for i in rows))),
            device=device,
        )

    @classmethod
    def _of_prior(cls, body: AnnyBody, split: Split, device: torch.device | str) -> PoseLibrary:
        # The prior belongs to recovery, which lies above this package: it is only reached for where it is needed.
        from metrichmsr.hmr.pose_prior import PosePrior

        prior = PosePrior.load()
        coefficients, up = prior.sample(_PRIOR_POSES, torch.Generator().manual_seed(_PRIOR_SEED[split]))
        others = prior.to_rotvecs(coefficients)
        # Keep what lies well inside: the tails of a mixture of Gaussians are not poses.
        energy = prior.energy(coefficients, up)
        keep = energy <= energy.quantile(0.85)
        root = roma.rotmat_to_rotvec(_root_from_up(up))
        driven = torch.zeros(len(others), len(body.driven_bones), 3)
        driven[:, 0] = root
        for i, bone in enumerate(prior.bone_names[1:] if len(prior.bone_names) > others.shape[1] else prior.bone_names):
            driven[:, body.driven_bones.index(bone)] = others[:, i]
        driven = straightened(driven[keep], body.driven_bones)
        return cls(body, driven, ["prior"] * len(driven), sources=["prior"], device=device)

    def credits(self) -> tuple[str, ...]:
        """Attribution that the poses in use ask for."""
        return tuple(
            text for start, text in CREDITS.items() if any(source.startswith(start) for source in self.sources)
        )

    def available(self) -> Bool[Tensor, "8"]:
        """Which of ``KINDS`` there are poses of."""
        return self._count > 0

    def draw(
        self,
        weights: Float[Tensor, "P 8"],
        generator: torch.Generator,
        *,
        noise: PoseNoise | None = None,
    ) -> DrawnPoses:
        """P poses: the kind by these weights, evenly among the poses of a kind, half of them mirrored, half of the
        upright ones calmed.

        Args:
            weights: for each person how likely each of ``KINDS`` is; kinds without poses are left out.
            generator: of the CPU.
            noise: what is added; none if left out.
        """
        count = len(weights)
        allowed = weights * self.available()
        allowed = torch.where(allowed.sum(1, keepdim=True) > 0, allowed, self._count.float().expand_as(allowed))
        kind = torch.multinomial(allowed, 1, generator=generator).squeeze(1)
        u = torch.rand(count, 2, generator=generator)
        row = self._order[self._start[kind] + (u[:, 0] * self._count[kind]).long().clamp_max(self._count[kind] - 1)]
        mirrored = u[:, 1] < 0.5
        device = self.rotvec.device
        rotvec = self.rotvec[row.to(device)].float()
        rotvec = torch.where(mirrored.to(device)[:, None, None], self.mirrored(rotvec), rotvec)
        quiet = amounts(torch.isin(kind, torch.tensor(UPRIGHT)), generator)
        rotvec = calmed(rotvec, quiet.to(device), self._bones)
        if noise is not None:
            rotvec = self._disturbed(rotvec, noise, generator)
        source = tuple(
            name + (" mirrored" if flip and name != "prior" else "") + (" calmed" if calm > 0 else "")
            for name, flip, calm in zip(
                (self.names[i] for i in row.tolist()), mirrored.tolist(), quiet.tolist(), strict=True
            )
        )
        return DrawnPoses(rotvec, self.kind[row].to(device), self.unsupported[row].to(device), source)

    def mirrored(self, rotvec: Float[Tensor, "P D 3"]) -> Float[Tensor, "P D 3"]:
        """The poses with left and right exchanged."""
        return rotvec[:, self._mirror] * rotvec.new_tensor([1.0, -1.0, -1.0])

    def _disturbed(
        self, rotvec: Float[Tensor, "P D 3"], noise: PoseNoise, generator: torch.Generator
    ) -> Float[Tensor, "P D 3"]:
        scale = rotvec.new_tensor([0.0, noise.trunk, noise.neck, noise.arms, noise.legs])[self._parts]
        drawn = torch.randn(*rotvec.shape, generator=generator).clamp_(-2, 2).to(rotvec)
        # How far people depart from the capture differs from person to person.
        amount = torch.rand(len(rotvec), 1, 1, generator=generator).to(rotvec) * 1.5
        added = drawn * scale[:, None] * amount
        look = torch.randn(len(rotvec), 3, generator=generator).clamp_(-2, 2).to(rotvec) * noise.look
        look = look * look.new_tensor([0.6, 0.25, 1.0])
        neck = self._parts == 2
        added[:, neck] += look[:, None] / neck.sum()
        return rotvec + added


def body_pose(body: AnnyBody, rotvec: Float[Tensor, "P D 3"]) -> Float[Tensor, "P J 3 3"]:
    """Rotations of all bones in the body's frame from those of the driven ones."""
    return body.expand_pose(roma.rotvec_to_rotmat(rotvec))


def kind_names(kind: Int64[Tensor, "P"]) -> tuple[PoseKind, ...]:
    """Names of rows of ``KINDS``."""
    return tuple(KINDS[i] for i in kind.tolist())


def _noise_parts(bones: Sequence[str]) -> Int64[Tensor, "D"]:
    """0 root, 1 trunk, 2 neck and head, 3 arms, 4 legs."""

    def part(bone: str) -> int:
        if bone == "root":
            return 0
        if bone.startswith("spine"):
            return 1
        if bone.startswith(("neck", "head")):
            return 2
        return 4 if bone.startswith(("upperleg", "lowerleg", "foot", "toe")) else 3

    return torch.tensor([part(bone) for bone in bones])


def _traits(body: AnnyBody, rotvec: Float[Tensor, "N D 3"]) -> PoseTraits:
    reader = PoseReader(body)
    parts = [reader.traits(roma.rotvec_to_rotmat(chunk)) for chunk in rotvec.split(4096)]
    return PoseTraits(
        *(torch.cat([getattr(part, field) for part in parts]) for field in ("kind", "lean_m", "unsupported"))
    )


def _root_from_up(up: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3 3"]:
    """The rotation without twist about z that takes this direction of the root's frame to z."""
    z = up.new_tensor([0.0, 0.0, 1.0]).expand_as(up)
    axis = torch.linalg.cross(up, z)
    sine, cosine = axis.norm(dim=-1), up[:, 2]
    angle = torch.atan2(sine, cosine)
    # Upside down any horizontal axis will do.
    x = up.new_tensor([1.0, 0.0, 0.0]).expand_as(up)
    axis = torch.where((sine > 1e-6)[:, None], axis / sine.clamp_min(1e-6)[:, None], x)
    return roma.rotvec_to_rotmat(axis * angle[:, None])


def _ranks(clip: np.ndarray) -> np.ndarray:
    """For each pose how many of its clip come before it."""
    order = np.argsort(clip, kind="stable")
    ordered = clip[order]
    ranks = np.empty(len(clip), dtype=np.int64)
    ranks[order] = np.arange(len(clip)) - np.searchsorted(ordered, ordered)
    return ranks


def _read(path: Path) -> dict[str, np.ndarray]:
    keys = ("rotvec", "bones", "clip", "frame", "kind", "selfpen", "clip_names", "clip_source")
    if not path.is_file():
        raise ModelFileError(f"{path}: poses are missing; metrichmsr synth --fetch-assets gets what is open")
    try:
        with np.load(path, allow_pickle=False) as raw:
            found = {key: raw[key] for key in keys}
    except (OSError, ValueError, KeyError) as error:
        raise ModelFileError(f"{path}: not a file of poses ({error})") from error
    rotvec = found["rotvec"]
    if rotvec.ndim != 3 or rotvec.shape[1:] != (len(found["bones"]), 3) or len(found["clip"]) != len(rotvec):
        raise ModelFileError(f"{path}: not a file of poses (rotvec is {rotvec.shape})")
    if len(found["clip"]) and not 0 <= int(found["clip"].min()) <= int(found["clip"].max()) < len(found["clip_names"]):
        raise ModelFileError(f"{path}: poses name clips that are not in clip_names")
    return found
