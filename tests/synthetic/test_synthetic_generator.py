"""The whole generator: a seed decides, crops and full pictures share their rays, twins differ in the camera alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from metrichmsr.geometry import project
from metrichmsr.synthetic.generator import SynFocal, SynthSettings
from metrichmsr.synthetic.shots import NOBODY, VISIBLE, Shot

ASSETS = Path(__file__).parents[3] / "shared" / "data"
FOVS = (25.0, 50.0, 80.0)


@pytest.fixture(scope="module", params=["plain", "assets"])
def source(request: pytest.FixtureRequest) -> SynFocal:
    if request.param == "assets" and not (ASSETS / "appearance").is_dir():
        pytest.skip("no asset folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("METRICHMSR_SYNTH_ASSETS", raising=False)
        return SynFocal.load(ASSETS if request.param == "assets" else None, settings=SynthSettings(scene_px=320))


@pytest.fixture(scope="module")
def crops(source: SynFocal) -> list[Shot]:
    return source.crops(3, batch=6)


def test_a_seed_decides_everything(source: SynFocal, crops: list[Shot]) -> None:
    again, other = source.crops(3, batch=6), source.crops(4, batch=6)
    for one, same, different in zip(crops, again, other, strict=True):
        assert np.array_equal(one.image, same.image)
        assert np.array_equal(one.depth_m, same.depth_m, equal_nan=True)
        assert np.array_equal(one.people.pose, same.people.pose)
        assert one.people.wears == same.people.wears
        assert one.settings == same.settings
        assert not np.array_equal(one.image, different.image)


def test_crops_share_the_rays_of_their_full_picture(crops: list[Shot]) -> None:
    for shot in crops:
        assert shot.image.shape == (256, 256, 3)
        assert np.allclose(shot.crop_from_full @ shot.full_K, shot.K, atol=1e-2)
        pixel = np.array([[10.0, 20], [200, 130]])
        in_full = (pixel - shot.crop_from_full[:2, 2]) / shot.crop_from_full[[0, 1], [0, 1]]

        def rays(K: np.ndarray, at: np.ndarray) -> np.ndarray:
            return np.concatenate([at, np.ones((2, 1))], 1) @ np.linalg.inv(K.astype(np.float64)).T

        assert np.allclose(rays(shot.K, pixel), rays(shot.full_K, in_full), atol=1e-4)
        assert 14 < shot.fov_x_deg < 125


def test_truth_fits_the_picture(crops: list[Shot]) -> None:
    for shot in crops:
        people = shot.people
        seen = shot.person_id == 0
        assert np.isfinite(shot.depth_m[seen]).all()
        for index in np.unique(shot.person_id[shot.person_id != NOBODY]):
            assert index < len(people)
        visible = people.visibility[0] == VISIBLE
        places = people.coco17_px[0, visible]
        # A visible joint lies on the person's own pixels.
        rows, columns = places[:, 1].astype(int), places[:, 0].astype(int)
        assert (shot.person_id[rows, columns] == 0).all()
        in_front = people.coco17_m[0, :, 2] > 0.1
        projected = project(torch.from_numpy(people.coco17_m[0]), torch.from_numpy(shot.K)).numpy()
        assert np.allclose(projected[in_front], people.coco17_px[0, in_front], atol=0.05, rtol=1e-4)
        up, height = shot.ground_plane
        position = -shot.camera_from_world[:3, :3].T @ shot.camera_from_world[:3, 3]
        assert height == pytest.approx(position[1], abs=1e-4)
        assert np.linalg.norm(up) == pytest.approx(1, abs=1e-5)


def test_the_truth_is_the_body_model_s(source: SynFocal, crops: list[Shot]) -> None:
    for shot in crops:
        people = shot.people
        pose = roma.rotvec_to_rotmat(torch.from_numpy(people.pose))
        body = source.body(pose, torch.from_numpy(people.shape), torch.from_numpy(people.translation_m))
        assert np.allclose(body.coco17_m, people.coco17_m, atol=2e-4)
        assert np.allclose(body.height_m, people.height_m, atol=1e-5)


def test_focal_twins_are_framed_alike(source: SynFocal) -> None:
    shots = source.twins(5, fovs_deg=FOVS)
    assert [round(shot.fov_x_deg, 3) for shot in shots] == list(FOVS)
    first = shots[0]
    scale = [shot.K[0, 0] / shot.people.translation_m[0, 2] for shot in shots]
    assert np.allclose(scale, scale[0], rtol=1e-4), "focal length over depth stays"
    pelvis = [project(torch.from_numpy(s.people.translation_m[:1]), torch.from_numpy(s.K)).numpy() for s in shots]
    for shot, place in zip(shots, pelvis, strict=True):
        assert np.allclose(place, pelvis[0], atol=0.05)
        assert np.allclose(shot.people.pose[:, 1:], first.people.pose[:, 1:], atol=1e-5)
        assert np.array_equal(shot.people.shape, first.people.shape)
        assert shot.people.wears == first.people.wears
        assert shot.environment == first.environment
        assert shot.settings == first.settings
        assert np.allclose(shot.camera_from_world[:3, :3], first.camera_from_world[:3, :3], atol=1e-6)
    depth = [float(shot.people.translation_m[0, 2]) for shot in shots]
    assert depth == sorted(depth, reverse=True), "a longer lens stands farther away"


def test_scenes_are_whole_pictures(source: SynFocal) -> None:
    shot = source.scene(2, people=3)
    assert max(shot.image.shape) == 320
    assert shot.full_size == shot.image.shape[1::-1]
    assert np.allclose(shot.K, shot.full_K)
    assert np.allclose(shot.crop_from_full, np.eye(3))
    assert len(shot.people) == 3


def test_stages_are_timed_and_assets_attributed(source: SynFocal, crops: list[Shot]) -> None:
    stages = {"people", "cameras", "surroundings", "clothes", "render", "lens", "truth"}
    assert stages <= set(source.timings)
    assert all(source.timings[stage] > 0 for stage in stages)
    lines = source.attributions(crops)
    assert (len(lines) > 3) == (source.assets is not None)
    assert source.problems == []
