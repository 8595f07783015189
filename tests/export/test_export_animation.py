"""``animation.glb``: frames written, converted and read back; bodies recomputed from the file's own accessors."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
import roma
import torch
import trimesh
from gltf_file import Gltf
from PIL import Image

from metrichmsr import cli
from metrichmsr.errors import InputError
from metrichmsr.export import read_result
from metrichmsr.export.frames import GLTF_FROM_CAMERA
from metrichmsr.export.gltf_animation import animation_glb
from metrichmsr.export.sequence import Motion, MotionSequence, frame_times, read_motions
from metrichmsr.export.write import write_recovery

FPS = 25.0


def place(who: int, frame: int) -> tuple[float, float, float]:
    return (0.2 + 0.03 * frame, 0.0, 4.0) if who == 0 else (-1.0, 0.1, 6.0 - 0.05 * frame)


@pytest.fixture
def frames(world, make_anny, tmp_path):
    """A folder of five results, six pictures apart but for one missing; the second person is away in the third frame,
    and the two change their ids."""

    def write(away=(2,), numbers=(3, 9, 15, 27, 33)):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "photos").mkdir(exist_ok=True)
        for frame, number in enumerate(numbers):
            seeds = (10 * frame, 10 * frame + 1)
            people = [make_anny(0, place(0, frame), seed=seeds[0])]
            if frame not in away:
                people.insert(1 - frame % 2, make_anny(1, place(1, frame), seed=seeds[1]))
            people = [
                dataclasses.replace(person, id=i, shape={**person.shape, "height": 0.4 + 0.02 * frame + 0.1 * (i % 2)})
                for i, person in enumerate(people)
            ]
            recovery = world(people=tuple(people), foot_clearance_m={})
            path = tmp_path / "photos" / f"walk_{number:03d}.png"
            Image.fromarray(recovery.image).save(path)
            recovery = dataclasses.replace(recovery, image_path=path)
            write_recovery(recovery, tmp_path / "out", path.stem, formats=("depth",))
        return tmp_path / "out"

    return write


def motions_of(folder, fps=FPS) -> MotionSequence:
    folders = sorted(path.parent for path in folder.glob("*/result.json"))
    documents = [(path, read_result(path / "result.json")) for path in folders]
    numbers = [int(path.name.split("_")[1]) for path in folders]
    return read_motions(documents, frame_times(numbers, fps, of_video=False))


def world_of(result) -> np.ndarray:
    return np.array(result["scene"]["world_from_camera"])


def bodies_of(motion: Motion, body) -> np.ndarray:
    """Vertices in the camera frame of every frame's pose with the person's one shape."""
    pose = roma.rotvec_to_rotmat(torch.from_numpy(motion.rotvecs)).float()
    shape = torch.from_numpy(motion.shape).float()[None]
    with torch.no_grad():
        vertices = body(pose, shape).vertices_m.numpy().astype(float)
    return vertices + motion.places_m[:, None]


def test_every_key_gives_the_body_of_that_frame(frames, anny, capsys):
    folder = frames()
    assert cli.main(["convert", str(folder), "--to", "glb", "--animation", "--fps", str(FPS)]) == 0
    out = capsys.readouterr().out
    assert "5 frames, 0.20 s at 25 frames a second (--fps)" in out
    assert "person 1: in 4 of 5 frames, from walk_003" in out
    gltf, sequence = Gltf((folder / "animation.glb").read_bytes()), motions_of(folder)
    np.testing.assert_allclose(sequence.times_s, [0, 1 / FPS, 2 / FPS, 4 / FPS, 5 / FPS])
    matrix = world_of(read_result(folder / "walk_003" / "result.json"))
    assert [motion.frames.tolist() for motion in sequence.motions] == [[0, 1, 2, 3, 4], [0, 1, 3, 4]]
    for motion in sequence.motions:
        for at, vertices in zip(motion.frames, bodies_of(motion, anny), strict=True):
            shown = gltf.at(sequence.times_s[at]).skinned(f"person_{motion.id}")
            expected = vertices @ matrix[:3, :3].T + matrix[:3, 3]
            assert np.linalg.norm(shown - expected, axis=1).max() < 1e-3
            assert np.linalg.norm(shown - expected, axis=1).mean() < 1e-5


def test_the_shape_is_the_median_and_its_stature_is_told(frames, anny):
    folder = frames()
    sequence = motions_of(folder)
    heights = [
        [person["shape"]["height"] for person in read_result(path)["people"]]
        for path in sorted(folder.glob("*/result.json"))
    ]
    first, second = sequence.motions
    own = np.array([[0, 1], [1, 0], [0, -1], [1, 0], [0, 1]])  # places of the two in each frame's list
    expected = [[row[index] for row, index in zip(heights, own[:, who], strict=True) if index >= 0] for who in (0, 1)]
    index = anny.shape_names.index("height")
    assert first.shape[index] == pytest.approx(np.median(expected[0]))
    assert second.shape[index] == pytest.approx(np.median(expected[1]))
    gltf = Gltf(animation_glb(sequence, first_recovery(folder)))
    for motion in sequence.motions:
        extras = gltf.nodes[gltf.index(f"person_{motion.id}")].extras
        with torch.no_grad():
            stature = float(anny.height(torch.from_numpy(motion.shape).float()[None])[0])
        assert extras["height_m"] == pytest.approx(stature, abs=1e-6)


def first_recovery(folder):
    from metrichmsr.export.read import read_recovery

    return read_recovery(min(path.parent for path in folder.glob("*/result.json")))


def test_who_is_away_is_hidden_till_the_next_key(frames):
    folder = frames()
    sequence = motions_of(folder)
    gltf = Gltf(animation_glb(sequence, first_recovery(folder)))
    extent = {
        time: [np.ptp(gltf.at(time).skinned(f"person_{who}"), axis=0).max() for who in (0, 1)]
        for time in (0, 1.9 / FPS, 2 / FPS, 3.9 / FPS, 4 / FPS, 1.0)
    }
    for time, (always, sometimes) in extent.items():
        assert always > 1
        assert (sometimes < 1e-5) == (2 / FPS <= time < 4 / FPS), time


def test_quaternions_take_the_short_way(anny, make_recovery):
    """A body that turns round and round: between neighbouring keys no quaternion changes sides."""
    turns = np.linspace(0, 6 * np.pi, 40)
    rotvecs = np.zeros((40, anny.num_bones, 3))
    rotvecs[:, 0, 1] = turns
    rotvecs[:, anny.bone_names.index("lowerarm01.L"), 0] = turns
    motion = Motion(0, np.arange(40), rotvecs, np.tile([0.0, 0, 4], (40, 1)), anny.default_shape().numpy(), 0.9)
    gltf = Gltf(animation_glb(MotionSequence(np.arange(40) / FPS, anny, (motion,)), make_recovery(people=())))
    clip = gltf.file.animations[0]
    moved = [channel for channel in clip.channels if channel.target.path == "rotation"]
    assert {gltf.nodes[channel.target.node].name for channel in moved} == {"root", "lowerarm01.L"}
    for channel in moved:
        values = gltf.values(clip.samplers[channel.sampler].output)
        assert (values[1:] * values[:-1]).sum(1).min() > 0.9
        np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)
    assert all(channel.target.path != "scale" for channel in clip.channels)


def test_bodies_that_bulge_with_their_pose_carry_it(tiny_smpl, make_recovery):
    body = tiny_smpl("smplh")
    rng = np.random.default_rng(0)
    sway = rng.normal(size=(3, body.num_bones, 3))
    times = np.arange(30) / FPS
    rotvecs = 0.3 * np.einsum("tk,kjc->tjc", np.sin(np.outer(times, [1.0, 3, 5])), sway)
    places = np.column_stack([times, 0 * times, 5 + times])
    motion = Motion(0, np.arange(30), rotvecs, places, rng.normal(size=len(body.shape_names)), 0.9)
    gltf = Gltf(animation_glb(MotionSequence(times, body, (motion,)), make_recovery(people=())))
    assert 0 < len(gltf.file.meshes[0].weights) < 30
    strongest = body.skin.T.sort(1, descending=True)
    assert (strongest.values[:, 8:].sum(1) > 0.01).any()  # more bones a vertex than the file carries: compared as kept
    kept = torch.zeros_like(body.skin.T).scatter(1, strongest.indices[:, :8], strongest.values[:, :8])
    body.skin = (kept / kept.sum(1, keepdim=True)).T.contiguous()
    for at, vertices in enumerate(bodies_of(motion, body)):
        shown = gltf.at(times[at]).skinned("person_0")
        assert np.linalg.norm(shown - vertices @ GLTF_FROM_CAMERA.T, axis=1).max() < 1e-3


def test_readers_without_skins_or_time_show_people_where_they_came_in(frames):
    folder = frames()
    sequence = motions_of(folder)
    data = animation_glb(sequence, first_recovery(folder))
    scene = trimesh.load(io.BytesIO(data), file_type="glb", process=False)
    assert {"surroundings", "person_0", "person_1"} <= set(scene.graph.nodes_geometry)
    matrix = world_of(read_result(folder / "walk_003" / "result.json"))
    for motion in sequence.motions:
        standing, geometry = scene.graph[f"person_{motion.id}"]
        vertices = trimesh.transform_points(scene.geometry[geometry].vertices, standing)
        stature = np.ptp(vertices, axis=0)[1]
        assert stature == pytest.approx(1.7, abs=0.3), "upright"
        away = vertices - (matrix[:3, :3] @ motion.places_m[0] + matrix[:3, 3])
        assert (away.min(axis=0) < 0).all(), "about the pelvis"
        assert (away.max(axis=0) > 0).all()
        assert np.abs(away).max() < 1.2


def test_the_frame_rate_of_a_video_is_its_own(frames, tmp_path, capsys):
    av = pytest.importorskip("av")
    folder = frames(numbers=(0, 2, 4, 6, 8))
    picture = np.asarray(Image.open(tmp_path / "photos" / "walk_000.png"))
    video = tmp_path / "walk.mp4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.height, stream.width = picture.shape[:2]
        for _ in range(9):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    for path in folder.glob("*/result.json"):
        document = json.loads(path.read_text())
        document["image"] |= {"path": str(video), "frame": int(path.parent.name.split("_")[1])}
        path.write_text(json.dumps(document))
    assert cli.main(["convert", str(folder), "--to", "glb", "--animation"]) == 0
    assert "5 frames, 0.40 s at 20 frames a second (as walk.mp4 has it)" in capsys.readouterr().out
    gltf = Gltf((folder / "animation.glb").read_bytes())
    assert max(accessor.max[0] for accessor in gltf.file.accessors if accessor.type == "SCALAR" and accessor.max) == (
        pytest.approx(0.4)
    )


def test_pictures_have_an_assumed_rate_and_say_so(frames, tmp_path, capsys):
    folder = frames()
    (tmp_path / "elsewhere").mkdir()
    args = ["convert", str(folder), "--to", "glb", "--animation", "--out", str(tmp_path / "elsewhere")]
    assert cli.main(args) == 0
    assert "at 30 frames a second (assumed; --fps says otherwise)" in capsys.readouterr().out
    assert (tmp_path / "elsewhere" / "animation.glb").is_file()
    assert not (folder / "animation.glb").exists()


@pytest.mark.parametrize(
    ("numbers", "times"),
    [
        ((0, 1, 2, 4), (0, 1, 2, 4)),
        ((10, 20, 50), (0, 1, 4)),
        ((1403636579, 1403636632, 1403636691), (0, 1, 2)),
        ((7, 10007, 10008), (0, 1, 2)),
    ],
)
def test_numbers_of_pictures_count_where_they_go_in_steps(numbers, times):
    np.testing.assert_allclose(frame_times(numbers, 1.0, of_video=False), times)


def test_frames_of_videos_count_as_they_are():
    np.testing.assert_allclose(frame_times((5, 10, 30), 10.0, of_video=True), (0, 0.5, 2.5))


@pytest.mark.parametrize(
    ("args", "cause"),
    [
        (["--animation"], "convert to what?"),
        (["--animation", "--to", "glb,bvh"], "--animation is of one format"),
        (["--animation", "--to", "glb", "--body", "smpl"], "keeps the bodies"),
        (["--animation", "--to", "glb", "--fps", "0"], "positive"),
        (["--to", "glb", "--fps", "30"], "--fps is for --animation"),
    ],
)
def test_options_that_do_not_go_together_are_told(tmp_path, capsys, args, cause):
    assert cli.main(["convert", str(tmp_path), *args]) == 2
    assert cause in capsys.readouterr().err


def test_what_is_no_sequence_is_told(frames, capsys):
    folder = frames()
    animate = ["--to", "glb", "--animation"]

    def told(path, cause):
        assert cli.main(["convert", str(path), *animate]) == 2
        assert cause in capsys.readouterr().err
        assert not list(folder.rglob("animation.glb"))

    told(folder / "walk_003", "is a single result")
    documents = {path: json.loads(path.read_text()) for path in sorted(folder.glob("*/result.json"))}

    def change(edit):
        for number, (path, document) in enumerate(documents.items()):
            path.write_text(json.dumps(edit(number, json.loads(json.dumps(document)))))

    def renamed(names):
        return lambda i, d: {**d, "image": {**d["image"], "path": names[i]}}

    change(renamed(["a.png", "b.png", "c.png", "d.png", "e.png"]))
    told(folder, "results are no sequence")
    change(renamed(["a_1.png", "a_2.png", "b_1.png", "b_2.png", "b_3.png"]))
    told(folder, "more than one sequence")
    change(renamed(["a_1.png", "a_01.png", "a_2.png", "a_3.png", "a_4.png"]))
    told(folder, "two results of one frame: walk_003 and walk_009")
    change(lambda i, d: {**d, "people": []})
    told(folder, "there is nobody in these 5 results")
    change(lambda i, d: {**d, "people": [{**p, "body_model": "smpl" if i == 3 else "anny"} for p in d["people"]]})
    told(folder, "of one model, not of anny in walk_003, smpl in walk_027")


def test_one_frame_is_no_motion(frames):
    folder = frames()
    with pytest.raises(InputError, match="two frames"):
        read_motions([(folder / "walk_003", read_result(folder / "walk_003" / "result.json"))], np.zeros(1))
