"""SynFocal: from a seed to pictures of people with exact truth.

    people ► cameras ► surroundings ► clothes ► render ► lens ► truth

A seed, the settings, the split and the assets decide a batch wholly; batches share nothing, so that any of them can be
made anywhere.
"""

from __future__ import annotations

import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.errors import UsageError
from metrichmsr.geometry import crop_from_image_matrix, pixel_centers
from metrichmsr.synthetic.assets import AssetFolder
from metrichmsr.synthetic.camera_sampler import CameraSampler, CameraSettings, padded_rows
from metrichmsr.synthetic.cameras import Cameras
from metrichmsr.synthetic.crop_sampler import CropJitter, crop_boxes
from metrichmsr.synthetic.crowd import Crowd
from metrichmsr.synthetic.crowd_sampler import CrowdSampler, CrowdSettings
from metrichmsr.synthetic.dressed import Dressed
from metrichmsr.synthetic.environment_sampler import EnvironmentSampler, EnvironmentSettings
from metrichmsr.synthetic.environments import Environments
from metrichmsr.synthetic.focal_twins import twins, twins_possible
from metrichmsr.synthetic.lens import LensEffects, LensSettings
from metrichmsr.synthetic.placement import rests
from metrichmsr.synthetic.render import render
from metrichmsr.synthetic.shots import Shot
from metrichmsr.synthetic.splits import Split
from metrichmsr.synthetic.surfaces import Surfaces
from metrichmsr.synthetic.textures import TexturePool
from metrichmsr.synthetic.truth import Pictures, collect
from metrichmsr.synthetic.wardrobe import Wardrobe, WardrobeSettings

Kind = Literal["crop", "scene"]

_TWIN_TRIES = 64
_SCENE_SHADOWS, _CROP_SHADOWS = 512, 192


@dataclass(frozen=True)
class SynthSettings:
    """What pictures are like."""

    crowd: CrowdSettings = field(default_factory=CrowdSettings)
    cameras: CameraSettings = field(default_factory=CameraSettings)
    crops: CropJitter = field(default_factory=CropJitter)
    surroundings: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    clothes: WardrobeSettings = field(default_factory=WardrobeSettings)
    lens: LensSettings = field(default_factory=LensSettings)
    crop_px: int = 256
    """Side of crops."""
    crop_people: tuple[float, ...] = (0.74, 0.18, 0.06, 0.02)
    """How likely one, two… people are in the picture that a crop is of."""
    scene_px: int = 640
    """Long side of full pictures; they are rendered at the size of their camera, scaled to this."""
    share_alike: bool = False
    """Whether poses under CC BY-SA (HDM05), and poses made from these, may be used."""
    fine: float = 0.2
    """Share of scenes and batches of crops that are anti-aliased finely, as focal twins always are."""


class SynFocal:
    """Makes shots. Build it with :meth:`load`."""

    def __init__(
        self,
        *,
        body: AnnyBody,
        crowds: CrowdSampler,
        wardrobe: Wardrobe,
        environments: EnvironmentSampler,
        pool: TexturePool,
        settings: SynthSettings,
        split: Split,
        assets: AssetFolder | None,
    ) -> None:
        self.body = body
        self.settings = settings
        self.split: Split = split
        self.assets = assets
        self._crowds = crowds
        self._cameras = CameraSampler(settings.cameras)
        self._wardrobe = wardrobe
        self._environments = environments
        self._pool = pool
        self._lens = LensEffects(settings.lens)
        self._device = body.template.device
        self.timings: dict[str, float] = defaultdict(float)
        """Seconds spent in each stage so far."""

    @classmethod
    def load(
        cls,
        assets: Path | None = None,
        *,
        split: Split = "train",
        device: torch.device | str = "cpu",
        settings: SynthSettings | None = None,
    ) -> SynFocal:
        """Read assets and body model.

        Args:
            assets: asset folder; the environment variable METRICHMSR_SYNTH_ASSETS if left out, else none.
            split: which share of the assets is used.
            device: where everything is made.
            settings: what pictures are like.

        Raises:
            InputError: the folder is missing or holds no assets.
        """
        settings = settings or SynthSettings()
        folder = AssetFolder.find(assets)
        body = AnnyBody.load().to(device)
        pool = TexturePool()
        path = None if folder is None else folder.path
        made = cls(
            body=body,
            crowds=CrowdSampler.load(
                path, body=body, split=split, settings=settings.crowd, share_alike=settings.share_alike
            ),
            wardrobe=Wardrobe.load(folder, pool, body=body, split=split, settings=settings.clothes),
            environments=EnvironmentSampler.load(
                folder, pool, split=split, device=device, settings=settings.surroundings
            ),
            pool=pool,
            settings=settings,
            split=split,
            assets=folder,
        )
        pool.freeze(device)
        return made

    @property
    def problems(self) -> list[str]:
        """Assets that could not be used, a line each."""
        return [] if self.assets is None else list(self.assets.problems)

    def attributions(self, shots: Sequence[Shot]) -> list[str]:
        """Name, author and licence of every asset in these shots."""
        if self.assets is None:
            return []
        names = {name for shot in shots for worn in shot.people.wears for name in worn}
        names |= {name for shot in shots for name in shot.environment.split("+")}
        names |= {source for shot in shots for source in shot.people.pose_source}
        return self.assets.attributions(sorted(names))

    @torch.no_grad()
    def crops(self, seed: int, *, batch: int = 16) -> list[Shot]:
        """Square crops around one person each, in the size that the network looks at.

        Args:
            seed: with the settings, the split and the size of the batch it decides everything.
            batch: shots.
        """
        generator = self._generator("crops", seed)
        with self._timed("people"):
            crowd = self._crowds.sample(batch, generator, people=self.settings.crop_people)
            points = self._crowds.points(crowd)
        with self._timed("cameras"):
            cameras = self._cameras.sample(crowd, points, generator)
            subjects = points[padded_rows(crowd)[0][:, 0]]
            boxes = crop_boxes(cameras, subjects, generator, jitter=self.settings.crops)
            size = self.settings.crop_px
            crop = crop_from_image_matrix(boxes, crop_height=size, crop_width=size)
        fine = bool(torch.rand((), generator=generator) < self.settings.fine)
        view = _View(cameras, crop, size, size, "crop", fine)
        set_ = self._set(crowd, points, cameras, generator, "crop")
        return self._shoot(set_, view, generator, [f"crop_{seed}_{i:03d}" for i in range(batch)])

    @torch.no_grad()
    def scene(self, seed: int, *, people: int | None = None) -> Shot:
        """One full picture.

        Args:
            seed: decides everything.
            people: how many; drawn if left out.
        """
        generator = self._generator("scene", seed)
        with self._timed("people"):
            crowd = self._crowds.sample(1, generator, people=people)
            points = self._crowds.points(crowd)
        with self._timed("cameras"):
            cameras = _resized(self._cameras.sample(crowd, points, generator), self.settings.scene_px)
        height, width = int(cameras.height[0]), int(cameras.width[0])
        whole = torch.eye(3, device=self._device)[None]
        fine = bool(torch.rand((), generator=generator) < self.settings.fine)
        set_ = self._set(crowd, points, cameras, generator, "scene")
        return self._shoot(set_, _View(cameras, whole, height, width, "scene", fine), generator, [f"scene_{seed}"])[0]

    @torch.no_grad()
    def twins(self, seed: int, *, fovs_deg: Sequence[float]) -> list[Shot]:
        """The same person framed alike at several focal lengths, as crops.

        Pose, clothes, surroundings, light, the place of the pelvis in the picture and its size there are the same in
        all; the camera stands elsewhere.

        Args:
            seed: decides everything.
            fovs_deg: horizontal fields of view of the full pictures.
        """
        count, size = len(fovs_deg), self.settings.crop_px
        wanted = torch.tensor(list(fovs_deg), dtype=torch.float32)
        sampler = CameraSampler(CameraSettings.for_twins(tuple(fovs_deg)))
        for attempt in range(_TWIN_TRIES):
            generator = self._generator(f"twins{attempt}", seed)
            with self._timed("people"):
                crowd = self._crowds.sample(1, generator, people=self.settings.crop_people)
                points = self._crowds.points(crowd)
            with self._timed("cameras"):
                one = sampler.sample(crowd, points, generator)
                cameras = twins(one, crowd.translation_m[:1], wanted)
                everybody = points.flatten(0, 1)[None].expand(count, -1, -1)
                if not bool(twins_possible(cameras, everybody).all()):
                    continue
                # One crop for all: what differs is perspective alone.
                boxes = crop_boxes(one, points[:1], generator, jitter=self.settings.crops).expand(count, -1)
                crop = crop_from_image_matrix(boxes, crop_height=size, crop_width=size)
            set_ = self._set(crowd, points, one, generator, "crop")
            state = generator.get_state()
            shots = []
            for k in range(count):
                # What the lens does is alike too.
                generator.set_state(state)
                view = _View(cameras.only(k), crop[k : k + 1], size, size, "crop")
                shots += self._shoot(set_, view, generator, [f"twin_{seed}_{k}"])
            return shots
        raise UsageError(f"seed {seed}: no camera has twins at {tuple(fovs_deg)} degrees; take a smaller range")

    def _set(
        self, crowd: Crowd, points: Float[Tensor, "P N 3"], cameras: Cameras, generator: torch.Generator, kind: Kind
    ) -> _Set:
        """Clothes and surroundings."""
        with self._timed("surroundings"):
            rested = rests(crowd, self.body, balls=self._crowds.balls)
            environments = self._environments.sample(crowd, cameras, points, generator, rests=rested, detail=kind)
        with self._timed("clothes"):
            dressed = self._wardrobe.dress(crowd, self.body, generator)
            surfaces = [dressed.surfaces]
            surfaces += [environments.surfaces] if environments.surfaces is not None else []
            return _Set(crowd, dressed, environments, Surfaces.concatenate(surfaces))

    def _shoot(self, set_: _Set, view: _View, generator: torch.Generator, keys: list[str]) -> list[Shot]:
        """Picture, lens, truth."""
        K = view.crop_from_full @ view.cameras.K
        with self._timed("render"):
            rendered = render(
                set_.surfaces,
                set_.environments,
                self._pool,
                K=K,
                camera_from_world=view.cameras.camera_from_world,
                height=view.height,
                width=view.width,
                shadow_size=_SCENE_SHADOWS if view.kind == "scene" else _CROP_SHADOWS,
                fine=view.fine,
            )
        with self._timed("lens"):
            # A crop of somebody small in the full picture holds no more than that picture does.
            source_px = view.width / view.crop_from_full[:, 0, 0]
            images, settings = self._lens.apply(
                rendered.linear_rgb, generator, depth_m=rendered.depth_m, kind=view.kind, source_px=source_px
            )
            inside = _inside(view)
            images = torch.where(inside[..., None], images, torch.zeros_like(images))
        with self._timed("truth"):
            pictures = Pictures(images, rendered, K, view.cameras, view.crop_from_full, inside)
            return collect(
                pictures,
                set_.crowd,
                set_.dressed.output,
                set_.surfaces,
                keys=keys,
                wears=set_.dressed.wears,
                environments=set_.environments.names,
                settings=settings,
            )

    def _generator(self, kind: str, seed: int) -> torch.Generator:
        """Of the CPU, whatever the device: a seed makes the same scene everywhere."""
        return torch.Generator().manual_seed(zlib.crc32(f"{self.split} {kind} {seed}".encode()) + (seed << 32))

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.timings[stage] += time.perf_counter() - start


@dataclass(frozen=True)
class _Set:
    """People and what is around them, ready to be photographed."""

    crowd: Crowd
    dressed: Dressed
    environments: Environments
    surfaces: Surfaces


@dataclass(frozen=True)
class _View:
    """What is rendered of the cameras' full pictures."""

    cameras: Cameras
    crop_from_full: Float[Tensor, "S 3 3"]
    height: int
    width: int
    kind: Kind
    fine: bool = True


def _inside(view: _View) -> Bool[Tensor, "S H W"]:
    """Pixels that the full picture has."""
    crop = view.crop_from_full
    centres = pixel_centers(view.height, view.width, device=crop.device)
    full = (centres - crop[:, None, None, :2, 2]) / torch.stack([crop[:, 0, 0], crop[:, 1, 1]], -1)[:, None, None]
    size = torch.stack([view.cameras.width, view.cameras.height], dim=-1)[:, None, None]
    return ((full >= 0) & (full <= size)).all(-1)


def _resized(cameras: Cameras, long_side: int) -> Cameras:
    """The same views in pictures of another size."""
    scale = long_side / torch.maximum(cameras.width, cameras.height)
    width, height = ((scale * size).round().clamp_min(16).long() for size in (cameras.width, cameras.height))
    K = cameras.K.clone()
    K[:, 0] *= (width / cameras.width)[:, None]
    K[:, 1] *= (height / cameras.height)[:, None]
    return replace(cameras, K=K, width=width, height=height)
