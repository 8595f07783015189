"""OBJ: read back by trimesh, and by a naive reader of its lines."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import trimesh
from PIL import Image

from metrichmsr.export.frames import y_up_from_camera
from metrichmsr.export.obj import MTL, OBJ, PHOTO, write_obj


def test_trimesh_reads_everybody_by_name(world, make_person, tmp_path):
    recovery = world(people=(make_person(0, (0.2, 0.0, 4.0)), make_person(1, (-0.5, 0.1, 5.0))))
    write_obj(recovery, tmp_path)
    scene = trimesh.load_scene(tmp_path / OBJ, process=False)
    assert set(scene.geometry) == {"person_0", "person_1", "surroundings"}
    matrix = y_up_from_camera(recovery)
    for person in recovery.people:
        mesh = scene.geometry[f"person_{person.id}"]
        expected = trimesh.transform_points(person.vertices_m, matrix)
        corners = mesh.vertices[mesh.faces]
        np.testing.assert_allclose(corners, expected[person.faces], rtol=0, atol=1e-6)
        assert mesh.volume > 0
    floor = scene.geometry["surroundings"]
    assert np.abs(floor.vertices[:, 1]).max() < 0.02, "the floor lies at y = 0"


def test_the_photo_lies_on_the_surroundings(world, tmp_path):
    recovery = world()
    image = recovery.image.copy()
    image[: image.shape[0] // 2] = (0, 0, 255)
    recovery = dataclasses.replace(recovery, image=image)
    write_obj(recovery, tmp_path)
    with Image.open(tmp_path / PHOTO) as photo:
        assert photo.size == (recovery.camera.width, recovery.camera.height)
    scene = trimesh.load_scene(tmp_path / OBJ, process=False)
    floor = scene.geometry["surroundings"]
    camera_from_y_up = np.linalg.inv(y_up_from_camera(recovery))
    points = trimesh.transform_points(floor.vertices, camera_from_y_up) @ recovery.camera.K.T
    pixels = points[:, :2] / points[:, 2:]
    expected = pixels / (recovery.camera.width, recovery.camera.height)
    np.testing.assert_allclose(floor.visual.uv, expected * (1, -1) + (0, 1), atol=2e-3)


def test_names_and_colours(make_recovery, tmp_path):
    write_obj(make_recovery(people=2), tmp_path)
    lines = (tmp_path / OBJ).read_text().splitlines()
    assert [line for line in lines if line[:2] in ("o ", "g ")] == [
        *("o person_0", "g person_0", "o person_1", "g person_1"),
    ]
    assert f"mtllib {MTL}" in lines
    materials = (tmp_path / MTL).read_text().split("newmtl ")[1:]
    assert [material.split()[0] for material in materials] == ["person_0", "person_1"]
    assert len({material.split("Kd ")[1].splitlines()[0] for material in materials}) == 2
    assert not (tmp_path / PHOTO).exists()


def test_nobody_is_an_empty_file(make_recovery, tmp_path):
    write_obj(make_recovery(people=0), tmp_path)
    assert "v " not in (tmp_path / OBJ).read_text()


@pytest.mark.parametrize("start", [0, 1])
def test_every_number_of_a_face_exists(make_recovery, tmp_path, start):
    write_obj(make_recovery(people=start + 1), tmp_path)
    lines = (tmp_path / OBJ).read_text().splitlines()
    vertices = sum(line.startswith("v ") for line in lines)
    normals = sum(line.startswith("vn ") for line in lines)
    numbers = {tuple(map(int, c.split("//"))) for line in lines if line[:2] == "f " for c in line.split()[1:]}
    assert {a for a, _ in numbers} == set(range(1, vertices + 1))
    assert all(a == b for a, b in numbers)
    assert normals == vertices
