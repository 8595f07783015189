"""GLB: read back by trimesh, and by a naive parser that checks the rules of the format."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
import trimesh
from PIL import Image

from metrichmsr.export.glb import GLTF_FROM_CAMERA, scene_glb, write_glb
from metrichmsr.export.gltf import GltfBuilder
from metrichmsr.export.palette import person_color


def parse(data: bytes) -> tuple[dict, bytes]:
    """Document and binary chunk, with the container's rules checked (glTF 2.0, §4.4)."""
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    chunks, at = {}, 12
    while at < length:
        size, kind = struct.unpack_from("<I4s", data, at)
        assert size % 4 == 0
        chunks[kind] = data[at + 8 : at + 8 + size]
        at += 8 + size
    return json.loads(chunks[b"JSON"]), chunks.get(b"BIN\0", b"")


def floats(document: dict, blob: bytes, accessor: int, width: int) -> np.ndarray:
    entry = document["accessors"][accessor]
    view = document["bufferViews"][entry["bufferView"]]
    return np.frombuffer(blob, "<f4", entry["count"] * width, view["byteOffset"]).reshape(-1, width)


def test_trimesh_reads_back_what_went_in(make_recovery, tmp_path):
    recovery = make_recovery(people=3)
    write_glb(recovery, tmp_path / "scene.glb")
    scene = trimesh.load_scene(tmp_path / "scene.glb", process=False)
    assert set(scene.graph.nodes_geometry) == {"person_0", "person_1", "person_2"}
    for person in recovery.people:
        world_from_node, geometry = scene.graph[f"person_{person.id}"]
        mesh = scene.geometry[geometry]
        vertices = trimesh.transform_points(mesh.vertices, world_from_node)
        np.testing.assert_allclose(vertices, person.vertices_m @ GLTF_FROM_CAMERA.T, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(mesh.faces, person.faces)
        assert mesh.volume > 0, "a rotation, not a mirroring"
        np.testing.assert_allclose(world_from_node[:3, 3], person.translation_m * (1, -1, -1), rtol=0, atol=1e-12)


def test_up_is_up_and_metres_are_metres(make_recovery, make_person):
    low, high = make_person(0, (0.0, 1.0, 5.0)), make_person(1, (0.0, -1.0, 5.0))
    document, _ = parse(scene_glb(make_recovery(people=(low, high))))
    nodes = {node["name"]: node for node in document["nodes"]}
    assert nodes["person_0"]["translation"] == [0.0, -1.0, -5.0], "below the axis, in front of a camera facing −z"
    assert nodes["person_1"]["translation"] == [0.0, 1.0, -5.0]
    accessor = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    size = np.subtract(accessor["max"], accessor["min"])
    np.testing.assert_allclose(size[1], 1.7, atol=1e-6)


def test_far_people_keep_micrometres(make_recovery, make_person):
    person = make_person(0, (300.0, 0.0, 900.0))
    document, blob = parse(scene_glb(make_recovery(people=(person,))))
    position = floats(document, blob, document["meshes"][0]["primitives"][0]["attributes"]["POSITION"], 3)
    world = position.astype(np.float64) + document["nodes"][0]["translation"]
    np.testing.assert_allclose(world, person.vertices_m * (1, -1, -1), rtol=0, atol=1e-6)


def test_the_camera_sees_what_the_photo_shows(make_recovery):
    recovery = make_recovery()
    document, _ = parse(scene_glb(recovery))
    node = next(node for node in document["nodes"] if node["name"] == "camera")
    assert "translation" not in node
    assert node["extras"]["K"] == recovery.camera.K.tolist()
    lens = document["cameras"][node["camera"]]["perspective"]
    half_height = np.tan(lens["yfov"] / 2)
    K, width, height = recovery.camera.K, recovery.camera.width, recovery.camera.height
    assert half_height == pytest.approx(height / 2 / K[1, 1])
    assert half_height * lens["aspectRatio"] == pytest.approx(width / 2 / K[0, 0])


def test_rules_of_the_format(make_recovery):
    document, blob = parse(scene_glb(make_recovery()))
    assert document["asset"]["version"] == "2.0"
    assert document["buffers"] == [{"byteLength": len(blob)}], "the blob's length is a multiple of four here"
    for accessor in document["accessors"]:
        view = document["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= len(blob)
    for mesh in document["meshes"]:
        (primitive,) = mesh["primitives"]
        position = document["accessors"][primitive["attributes"]["POSITION"]]
        values = floats(document, blob, primitive["attributes"]["POSITION"], 3)
        np.testing.assert_array_equal(position["min"], values.min(axis=0))
        np.testing.assert_array_equal(position["max"], values.max(axis=0))
        normals = floats(document, blob, primitive["attributes"]["NORMAL"], 3)
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    assert document["scenes"][document["scene"]]["nodes"] == list(range(len(document["nodes"])))


def test_each_person_has_a_colour_of_their_own(make_recovery):
    document, _ = parse(scene_glb(make_recovery(people=3)))
    factors = [material["pbrMetallicRoughness"]["baseColorFactor"] for material in document["materials"]]
    assert len({tuple(factor) for factor in factors}) == 3
    # Linear light back to sRGB, the naive way.
    srgb = [
        round(255 * (1.055 * c ** (1 / 2.4) - 0.055)) if c > 0.0031308 else round(255 * 12.92 * c)
        for c in factors[1][:3]
    ]
    assert tuple(srgb) == person_color(1)


def test_unknown_numbers_are_left_out(make_recovery, make_person):
    document, _ = parse(scene_glb(make_recovery(people=(make_person(height_std_m=float("nan")),))))
    assert "height_std_m" not in document["nodes"][0]["extras"]
    assert document["nodes"][0]["extras"]["height_m"] == 1.7


def test_nobody_is_a_scene_with_a_camera_only(make_recovery, tmp_path):
    document, blob = parse(scene_glb(make_recovery(people=0)))
    assert [node["name"] for node in document["nodes"]] == ["camera"]
    assert blob == b""
    assert "buffers" not in document


def test_builder_holds_a_skin():
    """A bar of two bones bends where its second bone turns: the builder carries all that takes."""
    builder = GltfBuilder(generator="test")
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 2, 0]], dtype=np.float32)
    joints = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]], dtype=np.uint8)
    weights = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0.5, 0.5, 0, 0], [1, 0, 0, 0]], dtype=np.float32)
    mesh = builder.mesh(
        "bar",
        {"POSITION": vertices, "JOINTS_0": joints, "WEIGHTS_0": weights},
        np.array([[0, 1, 2], [1, 3, 2]]),
    )
    tip = builder.add("nodes", {"name": "tip", "translation": [0, 1, 0]})
    root = builder.add("nodes", {"name": "root", "children": [tip]})
    inverse = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    inverse[1, 1, 3] = -1
    skin = builder.add("skins", {"joints": [root, tip], "inverseBindMatrices": builder.array(inverse)})
    body = builder.add("nodes", {"name": "bar", "mesh": mesh, "skin": skin})
    builder.document["scene"] = builder.add("scenes", {"nodes": [root, body]})
    document, blob = parse(builder.to_glb())
    entry = document["skins"][0]
    stored = floats(document, blob, entry["inverseBindMatrices"], 16).reshape(-1, 4, 4)
    np.testing.assert_array_equal(stored[1, 3], [0, -1, 0, 1], err_msg="columns come first in glTF")
    assert document["accessors"][entry["inverseBindMatrices"]]["type"] == "MAT4"
    scene = trimesh.load(io.BytesIO(builder.to_glb()), file_type="glb", process=False)
    assert "bar" in scene.geometry


def test_builder_holds_a_texture():
    picture = io.BytesIO()
    Image.new("RGB", (4, 4), (255, 0, 0)).save(picture, "PNG")
    builder = GltfBuilder(generator="test")
    texture = builder.add("textures", {"source": builder.image(picture.getvalue(), mime_type="image/png")})
    material = builder.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}})
    triangle = {
        "POSITION": np.eye(3, dtype=np.float32),
        "TEXCOORD_0": np.array([[0, 0], [1, 0], [0, 1]], dtype=np.float32),
    }
    mesh = builder.mesh("triangle", triangle, np.array([[0, 1, 2]]), material=material)
    builder.document["scene"] = builder.add("scenes", {"nodes": [builder.add("nodes", {"mesh": mesh})]})
    scene = trimesh.load(io.BytesIO(builder.to_glb()), file_type="glb", process=False)
    (geometry,) = scene.geometry.values()
    assert geometry.visual.material.baseColorTexture.getpixel((1, 1)) == (255, 0, 0)
