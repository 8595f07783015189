"""Checks that cannot lie: pictures, depth, masks, joints and planes say the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_scenes import SmallScene

from metrichmsr.geometry import crop_from_image_matrix, pixel_centers, project, unproject
from metrichmsr.rendering import rasterize
from metrichmsr.synthetic.render import NOTHING, Rendered, render
from metrichmsr.synthetic.shots import NOBODY, OCCLUDED, OUTSIDE, VISIBLE, Shot
from metrichmsr.synthetic.surfaces import GROUND
from metrichmsr.synthetic.textures import TexturePool
from metrichmsr.synthetic.truth import Pictures, collect


def take(
    scene: SmallScene, box: tuple[float, float, float, float] | None = None, size: tuple[int, int] = (240, 320)
) -> list[Shot]:
    """Both shots whole, or the same box of both as a crop of this size."""
    height, width = size
    crop = torch.eye(3).repeat(2, 1, 1)
    if box is not None:
        crop = crop_from_image_matrix(torch.tensor([box] * 2), crop_height=height, crop_width=width)
    K = crop @ scene.cameras.K
    rendered = render(
        scene.surfaces,
        scene.environments,
        TexturePool(),
        K=K,
        camera_from_world=scene.cameras.camera_from_world,
        height=height,
        width=width,
    )
    centres = (
        torch.linalg.inv(crop)[:, None, None]
        @ torch.cat([pixel_centers(height, width), torch.ones(height, width, 1)], -1)[None, ..., None]
    )
    u, v = centres[..., 0, 0], centres[..., 1, 0]
    inside = (u > 0) & (v > 0) & (u < 320) & (v < 240)
    images = (rendered.linear_rgb.clamp(0, 1).pow(1 / 2.2) * 255).byte()
    pictures = Pictures(images, rendered, K, scene.cameras, crop, inside)
    return collect(
        pictures,
        scene.crowd,
        scene.body,
        scene.surfaces,
        keys=("one", "two"),
        wears=((), (), ()),
        environments=scene.environments.names,
        settings=({}, {}),
    )


@pytest.fixture(scope="module")
def shots(small_scene: SmallScene) -> list[Shot]:
    return take(small_scene)


def in_camera(scene: SmallScene, shot: int, points: torch.Tensor) -> torch.Tensor:
    matrix = scene.cameras.camera_from_world[shot]
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def test_vertices_fall_on_the_mask(small_scene: SmallScene, shots: list[Shot]) -> None:
    vertices = in_camera(small_scene, 0, small_scene.body.vertices_m[0])
    pixels = project(vertices, small_scene.cameras.K[0]).floor().long().numpy()
    mask = np.pad(shots[0].person_id == 0, 1)
    near = mask[1:-1, 1:-1] | mask[:-2, 1:-1] | mask[2:, 1:-1] | mask[1:-1, :-2] | mask[1:-1, 2:]
    assert near[pixels[:, 1], pixels[:, 0]].mean() > 0.998
    assert (shots[0].person_id == 0).sum() > 3000


def test_depth_is_that_of_the_mesh_drawn_alone(small_scene: SmallScene, shots: list[Shot]) -> None:
    vertices = in_camera(small_scene, 0, small_scene.body.vertices_m[0])
    alone = rasterize(vertices[None], small_scene.faces, small_scene.cameras.K[0], height=240, width=320)
    mask = shots[0].person_id == 0
    floor_in_front = shots[0].ground & alone.mask[0].numpy()
    assert mask[~floor_in_front].tolist() == alone.mask[0].numpy()[~floor_in_front].tolist()
    assert np.abs(shots[0].depth_m[mask] - alone.depth_m[0].numpy()[mask]).max() < 1e-5


def test_a_second_renderer_agrees_on_depth(small_scene: SmallScene, shots: list[Shot]) -> None:
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("embreex")
    for i, shot in enumerate(shots):
        of_shot = small_scene.surfaces.shot_of_vertex[small_scene.surfaces.faces[:, 0]] == i
        vertices = in_camera(small_scene, i, small_scene.surfaces.vertices_m).double().numpy()
        mesh = trimesh.Trimesh(vertices, small_scene.surfaces.faces[of_shot].numpy(), process=False)
        rays = unproject(pixel_centers(240, 320).view(-1, 2), torch.ones(240 * 320), small_scene.cameras.K[i])
        rows = np.arange(0, 240 * 320, 7)
        hits, ray, _ = mesh.ray.intersects_location(
            np.zeros((len(rows), 3)), rays.double().numpy()[rows], multiple_hits=False
        )
        expected = np.full(len(rows), np.nan)
        expected[ray] = hits[:, 2]
        depth = shot.depth_m.reshape(-1)[rows]
        assert (np.isnan(depth) == np.isnan(expected)).mean() > 0.998
        both = ~np.isnan(depth) & ~np.isnan(expected)
        # On an edge the two may hit different surfaces; elsewhere they agree to a hundredth of a millimetre.
        assert np.quantile(np.abs(depth - expected)[both], 0.995) < 1e-4


def test_ground_unprojects_onto_its_plane(shots: list[Shot]) -> None:
    for shot in shots:
        points = unproject(pixel_centers(240, 320), torch.from_numpy(shot.depth_m), torch.from_numpy(shot.K)).numpy()
        normal, offset = shot.ground_plane
        distance = points[shot.ground] @ normal + offset
        assert shot.ground.sum() > 5000
        assert np.abs(distance).max() < 1e-3
        assert np.abs(shot.normals[shot.ground] / 127 - normal).max() < 0.01
        assert offset == pytest.approx(1.6 if shot.key == "one" else 1.9, abs=1e-4)
        assert shot.gravity @ normal == pytest.approx(-1, abs=1e-5)


def test_a_crop_sees_what_the_full_picture_sees(small_scene: SmallScene, shots: list[Shot]) -> None:
    # An integer box at its own scale: the same pixel centres, the same rays.
    crops = take(small_scene, (96, 20, 256, 220), (200, 160))
    for crop, full in zip(crops, shots, strict=True):
        window = (slice(20, 220), slice(96, 256))
        assert np.array_equal(crop.person_id, full.person_id[window])
        assert np.allclose(crop.depth_m, full.depth_m[window], atol=2e-5, equal_nan=True)
        assert np.abs(crop.image.astype(int) - full.image[window]).mean() < 0.5
        centres = pixel_centers(200, 160)
        ones = torch.ones(200, 160)
        through_crop = unproject(centres, ones, torch.from_numpy(crop.K))
        through_full = unproject(centres + torch.tensor([96.0, 20.0]), ones, torch.from_numpy(full.K))
        assert torch.allclose(through_crop, through_full, atol=1e-5)
        assert np.allclose(crop.full_K, full.K)
        assert np.allclose(crop.crop_from_full @ crop.full_K, crop.K, atol=1e-4)


def test_outside_the_full_picture_is_black_of_truth(small_scene: SmallScene) -> None:
    crops = take(small_scene, (100, -60, 300, 140), (200, 200))
    for crop in crops:
        assert np.isnan(crop.depth_m[:60]).all()
        assert (crop.person_id[:60] == NOBODY).all()
        assert not crop.normals[:60].any()
        assert not crop.ground[:60].any()
        assert (crop.people.box_xyxy[0, 1]) >= 60


def test_boxes_and_shares(small_scene: SmallScene, shots: list[Shot]) -> None:
    alone, two = shots[0].people, shots[1].people
    assert alone.visible_share[0] == 1
    assert two.visible_share[0] < 1, "a box stands before the first"
    assert two.visible_share[1] < 0.9, "the first stands before the second"
    for shot in shots:
        for i in range(len(shot.people)):
            rows, columns = np.nonzero(shot.person_id == i)
            expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert shot.people.box_xyxy[i].tolist() == expected
    vertices = in_camera(small_scene, 1, small_scene.body.vertices_m[2])
    places = project(vertices, small_scene.cameras.K[1]).numpy()
    assert np.allclose(two.amodal_box_xyxy[1], [*places.min(0), *places.max(0)], atol=1e-3)
    # Exactly what a raster of each alone says.
    for i, row in enumerate((1, 2)):
        vertices = in_camera(small_scene, 1, small_scene.body.vertices_m[row])
        all_of = rasterize(
            vertices[None], small_scene.faces, small_scene.cameras.K[1], height=240, width=320
        ).mask.sum()
        assert two.visible_share[i] == pytest.approx(float((shots[1].person_id == i).sum() / all_of), abs=0.06)


def test_visibility_of_joints(shots: list[Shot]) -> None:
    alone, two = shots[0].people, shots[1].people
    assert (alone.visibility[0] == VISIBLE).sum() >= 15, "seen from the front, only ears may be hidden"
    ankles = two.visibility[0, 15:]
    assert OCCLUDED in ankles, "the box hides a foot"
    assert (two.visibility[1] == OCCLUDED).sum() >= 3
    assert not (two.visibility == OUTSIDE).any()


def test_root_takes_the_body_frame_to_the_camera_frame(small_scene: SmallScene, shots: list[Shot]) -> None:
    import roma

    from metrichmsr.bodies.anny import AnnyBody

    model = AnnyBody.load()
    for shot in shots:
        people = shot.people
        pose = roma.rotvec_to_rotmat(torch.from_numpy(people.pose))
        again = model(pose, torch.from_numpy(people.shape), torch.from_numpy(people.translation_m))
        assert np.allclose(again.joints_m, people.joints_m, atol=1e-5)
        assert np.allclose(again.coco17_m, people.coco17_m, atol=1e-5)
        assert np.allclose(again.height_m, people.height_m, atol=1e-6)
        assert np.allclose(project(again.coco17_m, torch.from_numpy(shot.K)), people.coco17_px, atol=0.01)


def test_shadows_fall_away_from_the_sun(small_scene: SmallScene) -> None:
    dark = render_with_sun(small_scene, 2.5)
    even = render_with_sun(small_scene, 0.0)
    ground = dark.owner[0] == GROUND
    world = floor_points(small_scene, dark.depth_m)
    away = torch.tensor([-0.6, 0.0, -0.5])
    side = (world * away).sum(-1)
    brightness = dark.linear_rgb[0].mean(-1) / even.linear_rgb[0].mean(-1)
    beside = world.norm(dim=-1) < 1.2
    shadowed = ground & beside & (brightness < 0.5 * (brightness[ground].max() + brightness[ground].min()))
    assert shadowed.sum() > 200
    assert (side[shadowed] > -0.25).float().mean() > 0.95


def render_with_sun(scene: SmallScene, strength: float) -> Rendered:
    lights = replace(scene.environments.lights, sun_irradiance=torch.full((2, 3), strength))
    return render(
        scene.surfaces,
        replace(scene.environments, lights=lights),
        TexturePool(),
        K=scene.cameras.K,
        camera_from_world=scene.cameras.camera_from_world,
        height=240,
        width=320,
    )


def floor_points(scene: SmallScene, depth: torch.Tensor) -> torch.Tensor:
    points = unproject(pixel_centers(240, 320), depth[0].nan_to_num(0), scene.cameras.K[0])
    matrix = scene.cameras.camera_from_world[0]
    return (points - matrix[:3, 3]) @ matrix[:3, :3]


def test_catcher_shows_the_background(small_scene: SmallScene) -> None:
    rendered = render_with_sun(small_scene, 2.5)
    ground, nothing = rendered.owner[1] == GROUND, rendered.owner[1] == NOTHING
    colours = rendered.linear_rgb[1]
    # Beside other surfaces pixels are mixed.
    ground[1:-1, 1:-1] &= (rendered.owner[1].unfold(0, 3, 1).unfold(1, 3, 1) == GROUND).all(-1).all(-1)
    assert (colours[ground] <= 0.4 + 1e-4).all()
    assert (colours[ground] < 0.3).any(), "shadow"
    assert (colours[ground] > 0.39).float().mean() > 0.5, "and light"
    if nothing.any():
        assert colours[nothing].min() > 0.1
