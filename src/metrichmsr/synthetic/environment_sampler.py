"""Draws where people are: rooms, streets, open ground and studios, with light to match."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.synthetic.assets import AssetFolder
from metrichmsr.synthetic.backgrounds import Backgrounds
from metrichmsr.synthetic.cameras import Cameras
from metrichmsr.synthetic.crowd import Crowd
from metrichmsr.synthetic.environments import Environments, Lights
from metrichmsr.synthetic.furniture import Placed, Prop, place_props, read_props
from metrichmsr.synthetic.lights import LightMaps, drawn_lights
from metrichmsr.synthetic.placement import Rests
from metrichmsr.synthetic.procedural_textures import backdrops, floors, walls
from metrichmsr.synthetic.quads import Quads
from metrichmsr.synthetic.rooms import People, RoomStyle, build_room, build_seats, build_street, scatter_props
from metrichmsr.synthetic.splits import Split, of_split
from metrichmsr.synthetic.surfaces import GROUND, Surfaces
from metrichmsr.synthetic.textures import TexturePool

_GROUND_M, _FLOOR_M = 12.0, 40.0
"""Half size of ground on which the background goes on, and of floors with a texture, whose end would be seen."""
_CATCHER = -2
_ROOM_REACH_M = 7.0
_PANORAMA_PX = 1024


@dataclass(frozen=True)
class EnvironmentSettings:
    """How likely surroundings are."""

    panorama: float = 0.8
    """Share of far backgrounds that are panoramas, where there are any; the rest is flat."""
    own_light: float = 0.8
    """Share of panoramas that light the people as well; in front of the others light is drawn."""
    room: float = 0.45
    """Share of scenes in a room…"""
    street: float = 0.2
    """…and in a street; the rest is open ground."""
    crop_ground: float = 0.8
    """Share of crops with a floor."""
    crop_wall: float = 0.25
    textured_floor: float = 0.4
    """Share of floors of crops and open ground with a texture of their own; on the others the background goes on."""
    crop_prop: float = 0.25
    """Share of crops with something standing near."""


class EnvironmentSampler:
    """Draws surroundings. Build it with :meth:`load`."""

    def __init__(
        self,
        *,
        far: TexturePool,
        panoramas: dict[str, int],
        flats: dict[str, int],
        maps: LightMaps | None,
        style: RoomStyle,
        props: list[Prop],
        device: torch.device | str,
        settings: EnvironmentSettings,
    ) -> None:
        self.settings = settings
        self._far, self._panoramas, self._flats, self._maps = far, panoramas, flats, maps
        self._style, self._props, self._device = style, props, device

    @classmethod
    def load(
        cls,
        assets: AssetFolder | None,
        pool: TexturePool,
        *,
        split: Split = "train",
        device: torch.device | str = "cpu",
        settings: EnvironmentSettings | None = None,
    ) -> EnvironmentSampler:
        """Read backgrounds, light and furniture of a split.

        Args:
            assets: the asset folder; None does with procedural ones.
            pool: where textures of floors and walls go.
            split: share of the assets.
            device: where crowds are.
            settings: how likely surroundings are.
        """
        generator = np.random.default_rng({"train": 11, "val": 12, "test": 13}[split])
        far = TexturePool(max_size=_PANORAMA_PX)
        panoramas: dict[str, int] = {}
        flats: dict[str, int] = {}
        maps: LightMaps | None = None
        near_floors, near_walls = floors(generator), walls(generator)
        floor_numbers = {name: pool.add(picture) for name, picture in near_floors.items()}
        wall_numbers = {name: pool.add(picture) for name, picture in near_walls.items()}
        if assets is not None and assets.has("backgrounds"):
            root = assets.path / "backgrounds"
            radiance = assets.read_npz(root / "lights.npz") or {}
            paths = sorted((root / "pano").glob("*.webp"))
            for path in of_split(paths, [path.stem for path in paths], split):
                picture = assets.read_picture(path) if path.stem in radiance else None
                if picture is not None:
                    panoramas[path.stem] = far.add(picture[..., :3])
            photos = sorted((root / "photos").glob("*.webp"))
            for path in of_split(photos, [path.stem for path in photos], split):
                picture = assets.read_picture(path)
                if picture is not None:
                    flats[path.stem] = far.add(picture[..., :3])
            if panoramas:
                maps = LightMaps.read({name: radiance[name] for name in panoramas})
        if assets is not None and assets.has("textures"):
            paths = sorted((assets.path / "textures").glob("*.webp"))
            for path in paths if split == "train" else []:
                picture = assets.read_picture(path)
                if picture is not None:
                    floor_numbers[path.stem] = pool.add(picture[..., :3])
        for i, picture in enumerate(backdrops(generator, 40 if not flats else 4)):
            flats[f"backdrop {i}"] = far.add(picture)
        far.freeze(device)
        style = RoomStyle(floor_numbers, wall_numbers, list(flats.values()))
        return cls(
            far=far,
            panoramas=panoramas,
            flats=flats,
            maps=maps,
            style=style,
            props=read_props(assets, split),
            device=device,
            settings=settings or EnvironmentSettings(),
        )

    @torch.no_grad()
    def sample(
        self,
        crowd: Crowd,
        cameras: Cameras,
        points_m: Float[Tensor, "P N 3"],
        generator: torch.Generator,
        *,
        rests: Rests,
        detail: Literal["crop", "scene"],
    ) -> Environments:
        """Surroundings of every shot.

        Args:
            crowd: people.
            cameras: of the shots.
            points_m: points of everybody's skin, world.
            generator: of the CPU.
            rests: what seats and beds have to carry.
            detail: crops get little, scenes whole rooms and streets.
        """
        shots = crowd.n_shots
        seed = int(torch.randint(2**31, (1,), generator=generator))
        u = np.random.default_rng(seed)
        people = People.of(crowd, cameras, points_m)
        names: list[list[str]] = [[] for _ in range(shots)]
        backgrounds, lights = self._far_and_light(cameras, generator, u, names, coarse=detail == "crop")
        quads, placed = Quads(), list[Placed]()
        resting = {
            shot
            for shot, support in zip(crowd.shot.tolist(), crowd.support, strict=True)
            if support in ("seat", "lying")
        }
        for shot in range(shots):
            own = np.random.default_rng((seed, shot))
            # From far away a room would be seen as a doll's house.
            near = people.distance(shot) < _ROOM_REACH_M
            inside = detail == "scene" and own.random() < self.settings.room and near
            street = detail == "scene" and not inside and own.random() < self.settings.street / (1 - self.settings.room)
            if inside:
                names[shot] += build_room(quads, placed, shot, people, self._style, self._indoor, own)
            elif street:
                names[shot] += build_street(quads, placed, shot, people, self._style, self._outdoor, own)
            else:
                self._open(quads, placed, shot, people, names[shot], own, detail, needs_ground=shot in resting)
        build_seats(quads, rests, crowd.shot, self._style, seed)
        parts = [quads.surfaces(self._device)] if len(quads) else []
        parts += [place_props(placed, self._device)] if placed else []
        for item in placed:
            names[item.shot].append(item.prop.name)
        return Environments(
            surfaces=Surfaces.concatenate(parts) if parts else None,
            background=backgrounds,
            lights=lights,
            names=tuple("+".join(dict.fromkeys(parts)) for parts in names),
        )

    @property
    def _indoor(self) -> list[Prop]:
        return [prop for prop in self._props if not prop.is_outdoor]

    @property
    def _outdoor(self) -> list[Prop]:
        return [prop for prop in self._props if prop.is_outdoor]

    def _far_and_light(
        self,
        cameras: Cameras,
        generator: torch.Generator,
        u: np.random.Generator,
        names: list[list[str]],
        *,
        coarse: bool,
    ) -> tuple[Backgrounds, Lights]:
        shots, device = len(names), self._device
        around = [self._maps is not None and u.random() < self.settings.panorama for _ in range(shots)]
        picture, yaw, which = (
            np.zeros(shots, dtype=np.int64),
            u.uniform(-math.pi, math.pi, shots),
            np.zeros(shots, np.int64),
        )
        scale, gain = np.ones((shots, 2)), np.ones((shots, 3))
        patch = cameras.camera_from_world[:, :3, :3].cpu().numpy().astype(np.float64)
        K, size = cameras.K.cpu().numpy(), np.stack([cameras.width.cpu(), cameras.height.cpu()], 1)
        known = list(self._maps.names) if self._maps is not None else []
        flat_names = list(self._flats)
        for i in range(shots):
            if around[i]:
                which[i] = int(u.integers(len(known)))
                names[i].append(known[which[i]])
                picture[i] = self._panoramas[known[which[i]]]
            else:
                name = flat_names[int(u.integers(len(flat_names)))]
                names[i].append(name)
                picture[i] = self._flats[name]
                # The picture covers the view, or a part of it does.
                wide = K[i, 0, 0] / size[i, 0] * u.uniform(0.35, 1.05)
                pixels = self._far.size(torch.tensor([picture[i]], device=device))[0].tolist()
                scale[i] = wide * (1 if u.random() < 0.5 else -1), wide * pixels[0] / pixels[1]
                tilt = np.deg2rad(u.normal(0, 4, 2))
                patch[i] = _small_turn(*tilt) @ patch[i]
                gain[i] = np.exp(u.normal(0, 0.25)) * np.exp(u.normal(0, 0.05, 3))

        def tensor(values: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device, dtype)

        is_panorama = torch.tensor(around)
        background = Backgrounds(
            pool=self._far,
            picture=tensor(picture, torch.int64),
            is_panorama=is_panorama,
            yaw=tensor(yaw),
            patch_from_world=tensor(patch),
            patch_scale=tensor(scale),
            gain=tensor(gain),
            coarse=coarse,
        )
        lights = drawn_lights(shots, generator, device)
        if self._maps is not None:
            of_maps = self._maps.lights(torch.from_numpy(which), torch.from_numpy(yaw).float(), generator, device)
            chosen = (is_panorama & (torch.rand(shots, generator=generator) < self.settings.own_light)).to(device)
            lights = Lights(
                irradiance_sh=torch.where(chosen[:, None, None], of_maps.irradiance_sh, lights.irradiance_sh),
                sun_direction=torch.where(chosen[:, None], of_maps.sun_direction, lights.sun_direction),
                sun_irradiance=torch.where(chosen[:, None], of_maps.sun_irradiance, lights.sun_irradiance),
                sun_radius=torch.where(chosen, of_maps.sun_radius, lights.sun_radius),
            )
        return background, lights

    def _open(
        self,
        quads: Quads,
        placed: list[Placed],
        shot: int,
        people: People,
        names: list[str],
        u: np.random.Generator,
        detail: str,
        *,
        needs_ground: bool,
    ) -> None:
        """Open ground, with a wall or a thing here and there."""
        settings, style = self.settings, self._style
        # Who sits or lies does so on something that stands somewhere.
        if detail == "crop" and not needs_ground and u.random() >= settings.crop_ground:
            return
        middle = people.middle(shot)
        if u.random() < settings.textured_floor:
            name, texture = style.floor(u)
            names.append(name)
            quads.add(
                shot, middle, *_reach(_FLOOR_M), owner=GROUND, texture=texture, tint=style.tint(u),
                repeats_per_m=style.repeats(u),
                shininess=0.5 * u.random() if u.random() < 0.2 else 0.0,
            )  # fmt: skip
        else:
            quads.add(shot, middle, *_reach(_GROUND_M), owner=GROUND, texture=_CATCHER)
        if u.random() < settings.crop_wall:
            names += style.wall_behind(quads, shot, people, u)
        if self._props and u.random() < (settings.crop_prop if detail == "crop" else 0.8):
            choices = self._props if detail == "crop" else self._outdoor or self._props
            scatter_props(placed, shot, people, choices, u, count=1 + int(u.integers(2 if detail == "crop" else 6)))


def _reach(half: float) -> tuple[np.ndarray, np.ndarray]:
    """Half edges of a level square whose front is up."""
    return np.array([half, 0.0, 0.0]), np.array([0.0, 0.0, -half])


def _small_turn(a: float, b: float) -> np.ndarray:
    ca, sa, cb, sb = math.cos(a), math.sin(a), math.cos(b), math.sin(b)
    return np.array([[ca, 0, sa], [0, 1, 0], [-sa, 0, ca]]) @ np.array([[1, 0, 0], [0, cb, -sb], [0, sb, cb]])
