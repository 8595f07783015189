"""PLY: every number comes back, by trimesh and by a naive reader of the bytes."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from metrichmsr.export.normals import vertex_normals
from metrichmsr.export.ply import write_person_ply, write_ply


def test_trimesh_reads_back_what_went_in(make_person, tmp_path):
    person = make_person(pelvis=(1.5, -0.3, 87.0))
    write_person_ply(person, tmp_path / "person_0.ply")
    mesh = trimesh.load(tmp_path / "person_0.ply", process=False)
    np.testing.assert_allclose(mesh.vertices, person.vertices_m, rtol=0, atol=5e-6)
    np.testing.assert_array_equal(mesh.faces, person.faces)
    assert mesh.is_watertight
    assert mesh.volume > 0, "faces counter-clockwise seen from outside"
    outwards = np.einsum("vc,vc->v", mesh.vertex_normals, mesh.vertices - person.translation_m)
    assert (outwards > 0).all()


def test_bytes_and_header(make_person, tmp_path):
    person = make_person()
    write_person_ply(person, tmp_path / "p.ply")
    head, _, body = (tmp_path / "p.ply").read_bytes().partition(b"end_header\n")
    lines = head.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert "comment frame: camera, x right, y down, z forward" in lines
    assert "comment unit: metre" in lines
    rows = np.frombuffer(body, "<f4", len(person.vertices_m) * 6).reshape(-1, 6)
    np.testing.assert_allclose(rows[:, :3], person.vertices_m, rtol=0, atol=5e-7)
    np.testing.assert_allclose(np.linalg.norm(rows[:, 3:], axis=1), 1, rtol=0, atol=1e-6)
    assert len(body) == rows.nbytes + len(person.faces) * 13


def test_normals_agree_with_a_naive_sum(make_person):
    person = make_person()
    sums = np.zeros_like(person.vertices_m)
    for face in person.faces:
        a, b, c = person.vertices_m[face]
        for corner in face:
            sums[corner] += np.cross(b - a, c - a)
    expected = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    np.testing.assert_allclose(vertex_normals(person.vertices_m, person.faces), expected, rtol=0, atol=1e-12)


def test_normals_of_vertices_without_area():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5], [6, 5, 5]], dtype=np.float32)
    faces = np.array([[0, 1, 2], [3, 4, 4]])
    normals = vertex_normals(vertices, faces)
    np.testing.assert_array_equal(normals, np.tile([0.0, 0.0, 1.0], (5, 1)))


def test_a_mesh_without_faces_is_a_point_cloud(tmp_path):
    points = np.arange(12.0).reshape(4, 3)
    write_ply(tmp_path / "points.ply", points, np.zeros((0, 3), dtype=int))
    assert trimesh.load(tmp_path / "points.ply").vertices == pytest.approx(points)


def test_comments_cannot_break_the_header(tmp_path):
    write_ply(tmp_path / "x.ply", np.eye(3), np.array([[0, 1, 2]]), comments=["Größe\nelement vertex 9\n"])
    assert len(trimesh.load(tmp_path / "x.ply", process=False).vertices) == 3
