"""Ramps of blurred depth around people are no surface; floors and what stands beside people are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from metrichmsr.scene.anchors import render_anchors
from metrichmsr.scene.outlines import ramps, surroundings_without
from metrichmsr.structures import Camera, Scene

W, H, F = 320, 240, 260.0


@pytest.fixture
def room(make_person, make_recovery):
    """A person before a wall at 6 m, on a floor 1 m below the camera; depth blurred over many pixels."""
    camera = Camera(K=np.array([[F, 0, W / 2], [0, F, H / 2], [0, 0, 1]]), width=W, height=H, source="given")
    person = make_person(pelvis=(0.0, 0.15, 3.0), camera=camera)
    anchors = render_anchors([person], camera)
    rows = np.arange(H)[:, None] + 0.5
    floor = np.where(rows > H / 2, F / np.maximum(rows - H / 2, 1e-3), np.inf) * np.ones((1, W))
    room = np.minimum(floor, 6.0).astype(np.float32)
    sharp = np.fmin(room, anchors.depth_m)
    normal = np.array([0.0, -1.0, 0.0])

    def make(depth, people=(person,)):
        scene = Scene(depth, "x", True, anchor_m=anchors.depth_m, ground_normal=normal, ground_offset_m=1.0)
        image = np.zeros((H, W, 3), np.uint8)
        return make_recovery(people=people, camera=camera, image=image, scene=scene)

    return make, sharp, np.isfinite(anchors.depth_m), floor < 5.9


def test_a_blurred_outline_is_cut(room):
    make, sharp, body, floor = room
    blurred = np.exp(cv2.GaussianBlur(np.log(sharp), (0, 0), 5)).astype(np.float32)
    recovery = make(blurred)
    cut = ramps(recovery.scene, body, recovery.camera)
    ramp = (blurred > 3.3) & (blurred < 5.0) & ~body & ~floor
    assert ramp.sum() > 200
    assert cut[ramp].mean() > 0.9
    far_away = cv2.dilate(body.astype(np.uint8), np.ones((61, 61))) == 0
    assert not (cut & far_away).any()
    assert surroundings_without(recovery)[ramp].mean() > 0.9


def test_the_floor_stays(room):
    make, sharp, body, floor = room
    recovery = make(sharp)
    cut = ramps(recovery.scene, body, recovery.camera)
    beside = floor & (cv2.dilate(body.astype(np.uint8), np.ones((15, 15))) > 0) & ~body
    # All but the few pixels whose neighbours are the body itself.
    assert cut[beside].mean() < 0.3
    inner = beside & (cv2.dilate(body.astype(np.uint8), np.ones((5, 5))) == 0)
    assert not cut[inner].any()


def test_a_wall_close_behind_is_no_ramp(room):
    make, sharp, body, _ = room
    recovery = make(np.minimum(sharp, 3.2).astype(np.float32))
    assert not ramps(recovery.scene, body, recovery.camera).any()


def test_nobody_no_ramp(room):
    make, sharp, body, _ = room
    recovery = make(sharp, people=())
    assert not ramps(recovery.scene, np.zeros_like(body), recovery.camera).any()
