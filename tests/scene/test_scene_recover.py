"""The depth stage of ``recover`` on a real photo: people and surroundings in the same metres."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from metrichmsr.calibration import UpEstimate
from metrichmsr.errors import InputError, ModelFileError, UsageError
from metrichmsr.recover import Recoverer, RecoverOptions
from metrichmsr.scene import ground

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "street.jpg"
LONG_SIDE = 640


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    image = cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB)
    scale = LONG_SIDE / max(image.shape)
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def recoverer() -> Recoverer:
    return Recoverer(RecoverOptions(depth="embedded"))


def with_depth(recoverer: Recoverer, **options) -> Recoverer:
    """Another recoverer with the models that are loaded already."""
    other = Recoverer(RecoverOptions(**options))
    models = ("_anny", "fitter", "regressor", "_detector", "_landmarker")
    other.__dict__.update({name: recoverer.__dict__[name] for name in models if name in recoverer.__dict__})
    return other


@pytest.fixture(scope="module")
def street(recoverer, photo):
    return recoverer(photo)


def test_people_stand_in_the_depth(street):
    scene = street.scene
    assert scene is not None
    assert (scene.source, scene.refined, scene.refinement) == ("embedded", True, "network")
    assert scene.depth_m.shape == street.image.shape[:2]
    assert scene.depth_m.dtype == np.float32
    assert scene.residuals is not None
    assert scene.residuals.refined < 0.2
    for person in street.people:
        u, v = (street.camera.K @ person.translation_m)[:2] / person.translation_m[2]
        around = scene.depth_m[int(v) - 6 : int(v) + 7, int(u) - 6 : int(u) + 7]
        assert abs(np.nanmedian(around) / person.translation_m[2] - 1) < 0.35


def test_the_ground_is_told_what_the_picture_tells_of_up(recoverer, photo, monkeypatch):
    told, find = [], ground.find_ground

    def find_ground(*args, up=None, **options):
        told.append(up)
        return find(*args, up=up, **options)

    monkeypatch.setattr(ground, "find_ground", find_ground)
    recoverer(photo)
    assert [type(up) for up in told] == [UpEstimate]


def test_what_is_unknown_has_no_confidence(street):
    scene = street.scene
    unknown = ~np.isfinite(scene.depth_m)
    assert (scene.confidence[unknown] == 0).all()
    assert ((scene.confidence >= 0) & (scene.confidence <= 1)).all()


def test_the_ground_lies_below_the_camera_and_is_up_in_the_world(street):
    scene = street.scene
    assert scene.ground_normal is not None
    assert np.linalg.norm(scene.ground_normal) == pytest.approx(1)
    assert scene.ground_normal[1] < -0.7
    assert 0.3 < scene.ground_offset_m < 12
    world = scene.world_from_camera
    np.testing.assert_allclose(world[:3, :3] @ world[:3, :3].T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(world[:3, :3] @ scene.ground_normal, [0, 1, 0], atol=1e-5)
    foot = -scene.ground_offset_m * scene.ground_normal  # the point of the ground below the camera
    np.testing.assert_allclose(world @ np.append(foot, 1), [0, 0, 0, 1], atol=1e-5)
    assert set(scene.foot_clearance_m) == {person.id for person in street.people}


def test_the_stages_are_timed(street):
    assert {"anchors", "depth", "refine depth", "ground"} <= set(street.timings_ms)


def test_no_depth_on_request(recoverer, photo):
    assert with_depth(recoverer, depth="none")(photo).scene is None


def test_depth_of_the_users_own_in_any_scale(recoverer, photo, street, tmp_path):
    """The embedded depth as a file in other units: people bring back the metres."""
    path = tmp_path / "mine.npz"
    np.savez(path, depth=street.scene.depth_m * 40)
    relative = with_depth(recoverer, depth=f"file:{path}", depth_unit="relative", refine_depth="closed-form")(photo)
    scene = relative.scene
    assert scene is not None
    assert (scene.source, scene.refinement) == ("file", "closed form")
    both = np.isfinite(scene.depth_m) & np.isfinite(street.scene.depth_m)
    ratio = scene.depth_m[both] / street.scene.depth_m[both]
    assert 0.8 < np.median(ratio) < 1.25


def test_depth_as_it_came(recoverer, photo, street):
    raw = with_depth(recoverer, depth="embedded", refine_depth="none")(photo).scene
    assert not raw.refined
    assert raw.residuals is None
    np.testing.assert_array_equal(raw.depth_m, raw.initial_depth_m)


@pytest.mark.parametrize(
    ("depth", "cause"),
    [(np.full((10, 12), np.nan), "mine.npz"), (np.ones((10, 33)), "mine.npz")],
    ids=["all invalid", "another shape"],
)
def test_depth_that_cannot_be_used_names_its_file(recoverer, photo, tmp_path, depth, cause):
    path = tmp_path / "mine.npz"
    np.savez(path, depth=depth)
    with pytest.raises(InputError, match=cause):
        with_depth(recoverer, depth=f"file:{path}")(photo)


def test_nobody_leaves_the_depth_as_it_is_and_says_so(recoverer):
    image = np.full((120, 160, 3), 127, np.uint8)
    recovery = with_depth(recoverer, depth="embedded")(image)
    assert recovery.people == ()
    assert recovery.scene is not None
    assert not recovery.scene.refined
    assert any("not refined: nobody" in line for line in recovery.warnings)


def test_relative_depth_without_people_is_no_depth_in_metres(recoverer, tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, depth=np.full((120, 160), 0.4, np.float32))
    image = np.full((120, 160, 3), 127, np.uint8)
    recovery = with_depth(recoverer, depth=f"file:{path}", depth_unit="relative")(image)
    assert not np.isfinite(recovery.scene.depth_m).any()
    assert (recovery.scene.initial_depth_m == np.float32(0.4)).all()
    assert any("no metres" in line for line in recovery.warnings)


def test_a_model_that_is_missing_is_told_before_any_work(photo, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises((UsageError, ModelFileError), match="mapanything"):
        Recoverer(RecoverOptions(depth="mapanything"))(photo)
    with pytest.raises(UsageError, match="no such depth source"):
        Recoverer(RecoverOptions(depth="crystal-ball"))(photo)
