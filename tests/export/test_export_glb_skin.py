"""Skinned people in GLB: evaluated from the file's own accessors, by the glTF specification's formula."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import trimesh
from export_people import posed_person
from gltf_file import Gltf

from metrichmsr.bodies.kinematics import KinematicTree, blend_skin
from metrichmsr.export.glb import GLTF_FROM_CAMERA, scene_glb
from metrichmsr.export.gltf_skin import skin_attributes
from metrichmsr.export.skeleton import Skeleton


@pytest.fixture(scope="module")
def two_people(anny):
    return posed_person(anny, 0, (0.2, 0.1, 4.0)), posed_person(anny, 1, (-40.0, 0.3, 300.0))


def spacing_m(person) -> float:
    """How far apart numbers of single precision are where a person stands."""
    return float(np.spacing(np.float32(np.abs(person.vertices_m).max())))


def test_the_skin_gives_the_recovered_mesh(make_recovery, two_people):
    gltf = Gltf(scene_glb(make_recovery(people=two_people)))
    for person in two_people:
        np.testing.assert_allclose(
            gltf.skinned(f"person_{person.id}"),
            person.vertices_m @ GLTF_FROM_CAMERA.T,
            rtol=0,
            atol=1e-6 + 2 * spacing_m(person),
        )


def test_skinned_meshes_are_roots_of_the_scene_and_hang_from_nothing(make_recovery, two_people):
    """glTF places them by their bones alone; whatever stood above would count for readers without skins only."""
    gltf = Gltf(scene_glb(make_recovery(people=two_people)))
    roots = gltf.file.scenes[gltf.file.scene].nodes
    for person in two_people:
        index = gltf.index(f"person_{person.id}")
        node = gltf.nodes[index]
        assert index in roots
        assert index not in gltf.parent
        assert node.translation is node.rotation is node.scale is node.matrix is None


def test_readers_without_skins_see_the_same(make_recovery, two_people):
    scene = trimesh.load(io.BytesIO(scene_glb(make_recovery(people=two_people))), file_type="glb", process=False)
    for person in two_people:
        matrix, geometry = scene.graph[f"person_{person.id}"]
        vertices = trimesh.transform_points(scene.geometry[geometry].vertices, matrix)
        expected = person.vertices_m @ GLTF_FROM_CAMERA.T
        np.testing.assert_allclose(vertices, expected, rtol=0, atol=1e-6 + spacing_m(person))


def test_bones_are_named_placed_and_in_order(anny, make_recovery, two_people):
    gltf = Gltf(scene_glb(make_recovery(people=two_people)))
    for person, skin in zip(two_people, gltf.file.skins, strict=True):
        assert tuple(gltf.nodes[j].name for j in skin.joints) == anny.bone_names
        parents = [gltf.parent[j] for j in skin.joints]
        rig = gltf.parent[skin.skeleton]
        assert parents[0] == rig
        assert (gltf.nodes[rig].name, gltf.nodes[rig].mesh) == (f"person_{person.id}_rig", None)
        # Blender's armature: anywhere else its rest position would lie apart from the mesh.
        np.testing.assert_array_equal(gltf.world(rig), np.eye(4))
        assert [skin.joints.index(p) for p in parents[1:]] == list(anny.parents[1:])
        heads = np.stack([gltf.world(j)[:3, 3] for j in skin.joints])
        np.testing.assert_allclose(heads, person.joints_m @ GLTF_FROM_CAMERA.T, rtol=0, atol=1e-6)


def test_bones_run_along_their_limbs(anny, make_recovery, two_people):
    gltf = Gltf(scene_glb(make_recovery(people=two_people)))
    joints = gltf.file.skins[0].joints
    for bone, child in (("upperleg02.L", "lowerleg01.L"), ("lowerarm01.R", "lowerarm02.R"), ("neck01", "neck02")):
        matrix, end = (gltf.world(joints[anny.bone_names.index(name)]) for name in (bone, child))
        step = end[:3, 3] - matrix[:3, 3]
        np.testing.assert_allclose(matrix[:3, 1], step / np.linalg.norm(step), atol=1e-6)


def test_weights_are_the_models_the_largest_first(anny, make_recovery, two_people):
    gltf = Gltf(scene_glb(make_recovery(people=two_people)))
    weights, joints = gltf.weights(gltf.file.meshes[0].primitives[0].attributes)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert (joints[weights == 0] == 0).all()
    assert joints.max() < anny.num_bones
    most = np.sort(anny.skin.numpy(), axis=0)[::-1][:8].T
    np.testing.assert_allclose(weights, most / most.sum(1, keepdims=True), atol=1e-6)


def test_a_turned_joint_moves_the_body_as_the_model_does(anny, make_recovery, two_people):
    """Where a vertex hangs on one bone, bending is the model's own; elsewhere blending starts from the bent body."""
    person, _ = two_people
    gltf = Gltf(scene_glb(make_recovery(people=two_people)))
    skeleton = Skeleton.of(person)
    bone = anny.bone_names.index("lowerarm01.L")
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    bent = gltf.skinned("person_0", {gltf.file.skins[0].joints[bone]: turn})
    axes = skeleton.bone_axes[bone]
    pose = skeleton.pose.copy()
    pose[bone] = pose[bone] @ axes @ turn @ axes.T
    shape = torch.tensor([list(person.shape.values())])
    place = torch.from_numpy(person.translation_m[None]).float()
    expected = anny(torch.from_numpy(pose[None]).float(), shape, place).vertices_m[0].numpy() @ GLTF_FROM_CAMERA.T
    alone = anny.skin.numpy().max(axis=0) > 0.9999
    assert alone.sum() > 1000
    np.testing.assert_allclose(bent[alone], expected[alone], rtol=0, atol=1e-4)
    moved = np.linalg.norm(bent - gltf.skinned("person_0"), axis=1)
    assert 0.1 < moved.max() < 0.8
    np.testing.assert_allclose(bent[moved < 1e-6], expected[moved < 1e-6], rtol=0, atol=1e-4)


def test_eight_bones_a_vertex_are_all_that_counts(anny, two_people):
    """What the file leaves out of the weights (two vertices have nine) moves nothing by a millimetre, in any pose."""
    person, _ = two_people
    attributes = skin_attributes(person.rig)
    kept = torch.zeros_like(anny.skin)
    vertices = torch.arange(anny.num_vertices)[:, None].expand(-1, 4)
    for n in (0, 1):
        joints, weights = (torch.from_numpy(attributes[f"{kind}_{n}"]) for kind in ("JOINTS", "WEIGHTS"))
        kept.index_put_((joints.long(), vertices), weights, accumulate=True)
    pose = torch.from_numpy(Skeleton.of(person).pose[None]).float()
    skinning = anny.skinning(pose, anny.default_shape()[None])
    full = blend_skin(skinning.rest_m, anny.skin, skinning.rotations, skinning.shifts_m)
    less = blend_skin(skinning.rest_m, kept, skinning.rotations, skinning.shifts_m)
    assert (full - less).norm(dim=-1).max() < 0.001


def test_offsets_and_pose_rebuild_the_joints(anny, two_people):
    for person in two_people:
        skeleton = Skeleton.of(person)
        tree = KinematicTree(skeleton.parents).double()
        rotations = tree.rotations(torch.from_numpy(skeleton.pose[None]))
        joints = tree.joints(rotations, torch.from_numpy(skeleton.offsets_m[None]))[0].numpy()
        np.testing.assert_allclose(joints + person.translation_m, person.joints_m, atol=1e-9)
        np.testing.assert_allclose(np.linalg.det(skeleton.bone_axes), 1, atol=1e-9)


def test_a_rig_of_another_body_is_refused(make_person, make_recovery, two_people):
    with pytest.raises(ValueError, match="104 bones, but 7 rotations"):
        scene_glb(make_recovery(people=(make_person(rig=two_people[0].rig),)))


def test_without_a_rig_only_the_mesh_is_written(make_recovery):
    gltf = Gltf(scene_glb(make_recovery()))
    assert not gltf.file.skins
    assert all(node.skin is None for node in gltf.nodes)
