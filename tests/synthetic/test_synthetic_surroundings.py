"""Light is that of the panorama, panoramas are not mirrored, walls face inwards, seats carry people."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.geometry import crop_from_image_matrix
from metrichmsr.synthetic.backgrounds import Backgrounds
from metrichmsr.synthetic.camera_sampler import CameraSampler, look_rotation
from metrichmsr.synthetic.crowd_sampler import CrowdSampler
from metrichmsr.synthetic.environment_sampler import EnvironmentSampler, EnvironmentSettings
from metrichmsr.synthetic.lights import LightMaps, harmonics, irradiance_coefficients, map_directions
from metrichmsr.synthetic.placement import rests
from metrichmsr.synthetic.quads import Quads
from metrichmsr.synthetic.surfaces import GROUND, PROP, ROOM
from metrichmsr.synthetic.textures import TexturePool


def random_map(seed: int) -> torch.Tensor:
    coarse = torch.rand(1, 3, 4, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(64, 128), mode="bilinear")[0].permute(1, 2, 0) + 0.05


def test_irradiance_is_the_cosine_integral() -> None:
    radiance = random_map(0)
    directions, solid = map_directions(64, 128)
    assert float(solid.sum()) == pytest.approx(4 * math.pi, rel=1e-5)
    coefficients = irradiance_coefficients(radiance, directions, solid)
    normals = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(1)), dim=-1)
    cosine = torch.einsum("nc,hwc->nhw", normals, directions).clamp_min(0)
    exact = torch.einsum("nhw,hwc->nc", cosine * solid, radiance)
    assert torch.allclose(harmonics(normals) @ coefficients, exact, rtol=0.03, atol=0.02)


def test_an_even_sky_lights_all_sides_alike() -> None:
    directions, solid = map_directions(32, 64)
    coefficients = irradiance_coefficients(torch.ones(32, 64, 3), directions, solid)
    normals = torch.nn.functional.normalize(torch.randn(20, 3), dim=-1)
    assert torch.allclose(harmonics(normals) @ coefficients, torch.full((20, 3), math.pi), rtol=2e-3)


def sunny_map(row: int, column: int) -> np.ndarray:
    radiance = np.full((64, 128, 3), 0.2, dtype=np.float32)
    radiance[row : row + 2, column : column + 2] = 900.0
    return radiance


def test_the_sun_is_split_off_and_no_light_is_lost() -> None:
    maps = LightMaps.read({"sunny": sunny_map(14, 30), "dull": random_map(3).numpy()})
    assert maps.names == ("dull", "sunny")
    assert maps.sun_irradiance[0].sum() == 0
    directions, solid = map_directions(64, 128)
    whole = irradiance_coefficients(torch.from_numpy(sunny_map(14, 30)), directions, solid)
    coarse, coarse_solid = map_directions(*maps.around.shape[1:3])
    around = irradiance_coefficients(maps.around[1], coarse, coarse_solid)
    up = torch.tensor([0.0, 1.0, 0.0])
    parts = harmonics(up) @ around + maps.sun_irradiance[1] * maps.sun_direction[1] @ up
    exact = torch.einsum("hw,hwc->c", directions[..., 1].clamp_min(0) * solid, torch.from_numpy(sunny_map(14, 30)))
    assert torch.allclose(parts, exact, rtol=0.05)
    assert whole.shape == around.shape


def one_background(pool: TexturePool, number: int, *, panorama: bool, yaw: float = 0.0) -> Backgrounds:
    return Backgrounds(
        pool=pool,
        picture=torch.tensor([number]),
        is_panorama=torch.tensor([panorama]),
        yaw=torch.tensor([yaw]),
        patch_from_world=torch.diag(torch.tensor([-1.0, -1.0, 1.0]))[None],
        patch_scale=torch.tensor([[0.5, 0.6]]),
        gain=torch.ones(1, 3),
    )


def looking(direction: torch.Tensor) -> torch.Tensor:
    """Camera pose at the origin that looks along a direction, upright."""
    yaw, pitch = torch.atan2(direction[0], direction[2]), torch.asin(direction[1])
    matrix = torch.eye(4)
    matrix[:3, :3] = look_rotation(yaw, pitch, torch.zeros(()))
    return matrix[None]


def test_who_looks_at_the_sun_sees_it_in_the_middle() -> None:
    # The same bright spot in the light and in the picture, however both are turned.
    picture = np.zeros((256, 512, 3), dtype=np.uint8)
    picture[14 * 4 : 16 * 4, 30 * 4 : 32 * 4] = 255
    pool = TexturePool()
    number = pool.add(picture)
    maps = LightMaps.read({"sunny": sunny_map(14, 30)})
    K = torch.tensor([[[200.0, 0, 64], [0, 200, 64], [0, 0, 1]]])
    for yaw in (0.0, 1.3, -2.5):
        generator = torch.Generator().manual_seed(0)
        lights = maps.lights(torch.tensor([0]), torch.tensor([yaw]), generator, "cpu")
        seen = one_background(pool, number, panorama=True, yaw=yaw).render(
            K, looking(lights.sun_direction[0]), height=128, width=128
        )
        rows, columns = (seen[0, ..., 0] > 0.5).nonzero().float().mean(0)
        assert abs(float(rows) - 63.5) < 4
        assert abs(float(columns) - 63.5) < 4


def test_panoramas_are_not_mirrored() -> None:
    picture = np.zeros((128, 256, 3), dtype=np.uint8)
    picture[60:64, 140:144] = 255
    pool = TexturePool()
    background = one_background(pool, pool.add(picture), panorama=True, yaw=0.7)
    ahead = torch.tensor([math.sin(0.7), 0.0, math.cos(0.7)])
    K = torch.tensor([[[100.0, 0, 64], [0, 100, 64], [0, 0, 1]]])
    bright = (background.render(K, looking(ahead), height=128, width=128)[0, ..., 0] > 0.3).nonzero().float().mean(0)
    assert float(bright[1]) > 80, "right of the middle column is right"
    assert float(bright[0]) < 70, "above the horizon is up"


@pytest.mark.parametrize("panorama", [True, False])
def test_a_crop_shows_what_it_covers(panorama: bool) -> None:
    pool = TexturePool()
    smooth = random_map(5).numpy()
    number = pool.add((smooth / smooth.max() * 255).astype(np.uint8))
    background = one_background(pool, number, panorama=panorama)
    K = torch.tensor([[[150.0, 0, 100], [0, 150, 80], [0, 0, 1]]])
    pose = looking(torch.nn.functional.normalize(torch.tensor([0.3, 0.1, 1.0]), dim=-1))
    full = background.render(K, pose, height=160, width=200)
    crop = crop_from_image_matrix(torch.tensor([[60.0, 30, 140, 110]]), crop_height=80, crop_width=80)
    assert torch.allclose(background.render(crop @ K, pose, height=80, width=80), full[:, 30:110, 60:140], atol=2e-3)


def test_boxes_are_closed_and_face_outwards() -> None:
    quads = Quads()
    quads.box(0, np.array([1.0, 0.5, -2]), np.array([0.3, 0.5, 0.2]), 0.8, owner=PROP)
    surfaces = quads.surfaces()
    corners = surfaces.vertices_m[surfaces.faces]
    volume = (corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert float(volume) == pytest.approx(0.6 * 1.0 * 0.4, rel=1e-4)
    outwards = (corners.mean(1) - torch.tensor([1.0, 0.5, -2])) * surfaces.normals[surfaces.faces[:, 0]]
    assert (outwards.sum(-1) > 0).all()


@pytest.mark.parametrize("detail", ["crop", "scene"])
def test_people_stand_free_on_the_floor(detail: str) -> None:
    body = AnnyBody.load()
    crowds = CrowdSampler.load(None, body=body, split="train")
    sampler = EnvironmentSampler.load(None, TexturePool(), settings=EnvironmentSettings(room=0.7, crop_wall=0.7))
    generator = torch.Generator().manual_seed(2)
    crowd = crowds.sample(12, generator)
    points = crowds.points(crowd)
    cameras = CameraSampler().sample(crowd, points, generator)
    carried = rests(crowd, body, balls=crowds.balls)
    made = [
        sampler.sample(crowd, cameras, points, torch.Generator().manual_seed(9), rests=carried, detail=detail)  # pyright: ignore[reportArgumentType]
        for _ in range(2)
    ]
    surfaces = made[0].surfaces
    assert surfaces is not None
    assert made[1].surfaces is not None
    assert torch.equal(surfaces.vertices_m, made[1].surfaces.vertices_m), "a seed decides"
    assert made[0].names == made[1].names
    assert all(made[0].names)
    corners = surfaces.vertices_m[surfaces.faces]
    floor = corners[surfaces.owner == GROUND]
    assert floor[..., 1].abs().max() < 1e-6
    upwards = torch.linalg.cross(floor[:, 1] - floor[:, 0], floor[:, 2] - floor[:, 0])
    assert (upwards[:, 1] > 0).all()
    shot = surfaces.shot_of_vertex[surfaces.faces[:, 0]]
    walls = (surfaces.owner == ROOM) & ~surfaces.two_sided
    for row in range(len(crowd)):
        own = crowd.shot[row]
        for face in (walls & (shot == own)).nonzero().squeeze(1):
            normal = surfaces.normals[surfaces.faces[face, 0]]
            depth = (points[row] - surfaces.vertices_m[surfaces.faces[face, 0]]) @ normal
            inside_of_house = detail == "scene" and "windows" in made[0].names[int(own)]
            assert inside_of_house or float(depth.min()) > -0.05, "nobody reaches through a wall"
    for k, row in enumerate(carried.person.tolist()):
        if float(carried.top_m[k]) < 0.05:
            continue
        own = corners[(surfaces.owner == PROP) & (shot == crowd.shot[row])]
        level = (own[..., 1] - carried.top_m[k]).abs().amax(1) < 1e-4
        middle = own[level][..., [0, 2]].mean(1)
        assert level.any(), "something ends at the height of every seat"
        assert (middle - carried.center_m[k]).norm(dim=-1).min() < 0.8


def test_lights_without_a_sun_have_exactly_none() -> None:
    sampler = EnvironmentSampler.load(None, TexturePool())
    body = AnnyBody.load()
    crowds = CrowdSampler.load(None, body=body, split="train")
    generator = torch.Generator().manual_seed(0)
    crowd = crowds.sample(40, generator, people=1)
    points = crowds.points(crowd)
    cameras = CameraSampler().sample(crowd, points, generator)
    carried = rests(crowd, body, balls=crowds.balls)
    lights = sampler.sample(crowd, cameras, points, generator, rests=carried, detail="crop").lights
    dark = (lights.sun_irradiance == 0).all(-1)
    assert 5 < int(dark.sum()) < 35
    assert torch.allclose(lights.sun_direction.norm(dim=-1), torch.ones(40), atol=1e-5)
    up = harmonics(torch.tensor([0.0, 1.0, 0.0])) @ lights.irradiance_sh
    assert (up > 0.3).all()


@pytest.mark.skipif(not (Path(__file__).parents[3] / "shared/data/backgrounds").is_dir(), reason="no asset folder")
def test_splits_share_no_backgrounds_or_props() -> None:
    from metrichmsr.synthetic.assets import AssetFolder

    folder = AssetFolder.find(Path(__file__).parents[3] / "shared/data")
    seen: dict[str, set[str]] = {}
    for split in ("train", "val", "test"):
        sampler = EnvironmentSampler.load(folder, TexturePool(), split=split)
        names = set(sampler._panoramas) | {name for name in sampler._flats if not name.startswith("backdrop")}
        seen[split] = names | {prop.name for prop in sampler._props}
        assert len(seen[split]) > 5
    assert not seen["train"] & (seen["val"] | seen["test"])
    assert not seen["val"] & seen["test"]


def test_settings_reach_the_sampler() -> None:
    settings = replace(EnvironmentSettings(), crop_ground=0.0, crop_prop=0.0)
    sampler = EnvironmentSampler.load(None, TexturePool(), settings=settings)
    assert sampler.settings.crop_ground == 0
