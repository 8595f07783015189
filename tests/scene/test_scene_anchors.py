"""What the rendered people say about depth, and where they are trusted."""

from __future__ import annotations

import numpy as np

from metrichmsr.scene.anchors import CLOTHES_M, render_anchors, rim_px, without_rim


def masked(make_person, camera, id, pelvis, mask=None):
    return make_person(id=id, pelvis=pelvis, camera=camera, mask=mask, distance_std_m=0.4)


def test_depth_of_the_nearest_person_in_every_pixel(make_camera, make_person):
    camera = make_camera()
    near, far = (masked(make_person, camera, i, (0.1 * i, 0.0, z)) for i, z in enumerate((3.0, 5.0)))
    both = render_anchors([near, far], camera)
    alone = render_anchors([near], camera), render_anchors([far], camera)
    assert both.depth_m.shape == (camera.height, camera.width)
    overlap = np.isfinite(alone[0].depth_m) & np.isfinite(alone[1].depth_m)
    assert overlap.sum() > 100
    np.testing.assert_array_equal(both.person[overlap], 0)
    np.testing.assert_allclose(both.depth_m[overlap], alone[0].depth_m[overlap])
    assert not (both.mask & (both.person < 0)).any()
    # The front of an ellipsoid of 0.2 m, less what clothes put in front of it.
    assert abs(np.nanmin(alone[0].depth_m) - (3.0 - 0.2 - CLOTHES_M)) < 0.01
    np.testing.assert_allclose(both.relative_std, [0.4 / near.distance_m, 0.4 / far.distance_m], rtol=1e-6)


def test_what_stands_in_front_of_a_person_is_not_pulled_to_them(make_camera, make_person):
    camera = make_camera()
    whole = render_anchors([masked(make_person, camera, 0, (0.0, 0.0, 4.0))], camera)
    segmented = np.isfinite(whole.depth_m)
    table = np.zeros_like(segmented)
    table[camera.height // 2 :] = True
    hidden = render_anchors([masked(make_person, camera, 0, (0.0, 0.0, 4.0), segmented & ~table)], camera)
    assert hidden.mask.any()
    assert not (hidden.mask & table).any()
    assert np.isfinite(hidden.depth_m[table]).any(), "the body goes on behind the table"


def test_the_rim_is_left_out_but_not_at_the_border_of_the_picture(make_camera, make_person):
    camera = make_camera()
    body = np.isfinite(render_anchors([masked(make_person, camera, 0, (0.0, 0.0, 4.0))], camera).depth_m)
    inner = without_rim(body, rim_px(body))
    assert 0 < inner.sum() < body.sum()
    close = render_anchors([masked(make_person, camera, 0, (0.0, 0.9, 1.6))], camera)  # cut off below
    assert close.mask[-1].any()


def test_an_empty_mask_gives_no_anchor(make_camera, make_person):
    camera = make_camera()
    nothing = np.zeros((camera.height, camera.width), dtype=bool)
    anchors = render_anchors([masked(make_person, camera, 0, (0.0, 0.0, 4.0), nothing)], camera)
    assert not anchors.mask.any()
    assert np.isfinite(anchors.depth_m).any()


def test_large_pictures_are_rendered_small_and_enlarged(make_camera, make_person):
    small, large = make_camera(), make_camera(width=2400, height=1800)
    scale = np.diag([15.0, 15.0, 1.0])
    large = type(small)(K=scale @ small.K, width=2400, height=1800, source="given")
    parts = [render_anchors([masked(make_person, camera, 0, (0.0, 0.0, 4.0))], camera) for camera in (small, large)]
    assert parts[1].depth_m.shape == (1800, 2400)
    shares = [np.isfinite(part.depth_m).mean() for part in parts]
    assert abs(shares[0] - shares[1]) < 0.02
    assert abs(np.nanmedian(parts[0].depth_m) - np.nanmedian(parts[1].depth_m)) < 0.02
