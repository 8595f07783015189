"""Poses: what kinds they are, mirrors, splits, hands, and motion capture brought in."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import roma
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.protocol import mirrored_name
from metrichmsr.errors import ModelFileError
from metrichmsr.synthetic.hands import STYLES, HandNoise, HandPoser
from metrichmsr.synthetic.pose_kinds import KINDS, PoseMix, PoseReader
from metrichmsr.synthetic.pose_origin import origins
from metrichmsr.synthetic.poses import POSES, PoseLibrary, PoseNoise, body_pose
from metrichmsr.synthetic.splits import Split

ROOT = Path(__file__).parents[2]
ASSETS = ROOT.parent / "shared" / "data"
SPLITS: tuple[Split, ...] = ("train", "val", "test")
with_assets = pytest.mark.skipif(not (ASSETS / POSES).is_file(), reason="no asset folder")


@pytest.fixture(scope="module")
def body() -> AnnyBody:
    return AnnyBody.load()


@pytest.fixture(scope="module")
def light(body: AnnyBody) -> AnnyBody:
    return body.restricted_to(torch.zeros(0, dtype=torch.long))


@pytest.fixture(scope="module")
def library(body: AnnyBody) -> PoseLibrary:
    return PoseLibrary.load(None, body=body, split="train")


@pytest.fixture(scope="module")
def scripts() -> ModuleType:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        spec = importlib.util.spec_from_file_location("import_poses", ROOT / "scripts" / "import_poses.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    return module


def driven(body: AnnyBody, **rotvecs: tuple[float, float, float]) -> torch.Tensor:
    """One pose; bones are named with _ for the dot."""
    pose = torch.zeros(1, len(body.driven_bones), 3)
    for name, rotvec in rotvecs.items():
        pose[0, body.driven_bones.index(name.replace("__", "."))] = torch.tensor(rotvec)
    return pose


def kind_of(body: AnnyBody, rotvec: torch.Tensor) -> str:
    return KINDS[int(PoseReader(body).traits(body_pose_driven(rotvec)).kind[0])]


def body_pose_driven(rotvec: torch.Tensor) -> torch.Tensor:
    return roma.rotvec_to_rotmat(rotvec)


def test_reader_agrees_with_the_body(body: AnnyBody, light: AnnyBody, library: PoseLibrary) -> None:
    drawn = library.draw(torch.ones(4, len(KINDS)), torch.Generator().manual_seed(0))
    joints = PoseReader(body).joints(body_pose_driven(drawn.rotvec))
    whole = light(body_pose(body, drawn.rotvec), body.default_shape().expand(4, -1)).joints_m
    rows = [body.bone_names.index(bone) for bone in body.driven_bones]
    torch.testing.assert_close(joints, whole[:, rows], atol=1e-4, rtol=0)


def test_kinds_of_simple_poses(body: AnnyBody) -> None:
    right = math.pi / 2
    arms_down = {"upperarm01__L": (0.0, 0.7, 0.0), "upperarm01__R": (0.0, -0.7, 0.0)}
    assert kind_of(body, driven(body, **arms_down)) == "standing"
    arms_up = {"upperarm01__L": (0.0, -1.5, 0.0), "upperarm01__R": (0.0, 1.5, 0.0)}
    assert kind_of(body, driven(body, **arms_up)) == "gesturing"
    hips = {f"upperleg01__{s}": (-right, 0.0, 0.0) for s in "LR"}
    knees = {f"lowerleg01__{s}": (right, 0.0, 0.0) for s in "LR"}
    assert kind_of(body, driven(body, **hips, **knees)) == "sitting"
    assert kind_of(body, driven(body, **hips)) == "ground"
    assert kind_of(body, driven(body, root=(-right, 0.0, 0.0))) == "lying"
    assert kind_of(body, driven(body, root=(math.pi, 0.0, 0.0))) == "acrobatic"
    kneeling = {f"lowerleg01__{s}": (right, 0.0, 0.0) for s in "LR"} | {f"foot__{s}": (0.6, 0.0, 0.0) for s in "LR"}
    assert kind_of(body, driven(body, **kneeling)) == "kneeling"
    assert kind_of(body, driven(body, upperleg01__L=(-1.2, 0.0, 0.0))) == "dynamic"


def test_mirrored_pose_mirrors_joints(body: AnnyBody, light: AnnyBody, library: PoseLibrary) -> None:
    drawn = library.draw(torch.ones(6, len(KINDS)), torch.Generator().manual_seed(1))
    shape = body.default_shape().expand(6, -1)
    joints = light(body_pose(body, drawn.rotvec), shape).joints_m
    mirrored = light(body_pose(body, library.mirrored(drawn.rotvec)), shape).joints_m
    # The rig itself is a few millimetres from symmetric.
    torch.testing.assert_close(
        mirrored, joints[:, list(body.mirrored_bones())] * torch.tensor([-1.0, 1, 1]), atol=4e-3, rtol=0
    )


def test_draws_follow_kind_and_seed(library: PoseLibrary) -> None:
    weights = torch.zeros(len(KINDS), len(KINDS))
    have = library.available()
    weights[torch.arange(len(KINDS)), torch.where(have, torch.arange(len(KINDS)), 0)] = 1.0
    first, again, other = (
        library.draw(weights, torch.Generator().manual_seed(seed), noise=PoseNoise()) for seed in (3, 3, 4)
    )
    assert torch.equal(first.rotvec, again.rotvec)
    assert first.source == again.source
    assert not torch.equal(first.rotvec, other.rotvec)
    assert torch.equal(first.kind, weights.argmax(1))
    assert bool(have[KINDS.index("standing")])
    assert len(PoseMix().weights()) == len(KINDS)


def test_poses_of_the_prior_are_upright_where_they_say_so(body: AnnyBody, library: PoseLibrary) -> None:
    standing = torch.zeros(32, len(KINDS))
    standing[:, KINDS.index("standing")] = 1
    rotvec = library.draw(standing, torch.Generator().manual_seed(0)).rotvec
    joints = PoseReader(body).joints(body_pose_driven(rotvec))
    names = body.driven_bones
    trunk = joints[:, names.index("neck01")] - joints[:, 0]
    assert float((trunk[:, 2] / trunk.norm(dim=-1)).min()) > math.cos(math.radians(30))
    assert bool((joints[:, names.index("head"), 2] > joints[:, names.index("foot.L"), 2] + 1).all())


@with_assets
def test_clips_belong_to_one_split(body: AnnyBody) -> None:
    libraries = {split: PoseLibrary.load(ASSETS, body=body, split=split, share_alike=False) for split in SPLITS}
    clips = {}
    for split, library in libraries.items():
        assert len(library) > 300
        assert bool(library.available()[: KINDS.index("acrobatic")].all())
        assert not any(source in ("hdm05", "deepmimic") for source in library.sources)
        made = [name for name in library.names if name.startswith("synthetic/")]
        assert len(made) > 100
        assert all(" of cmu" in name and "hdm05" not in name and "deepmimic" not in name for name in made)
        assert any("mocap.cs.cmu.edu" in credit for credit in library.credits())
        clips[split] = {name.split(":")[0] for name in library.names if not name.startswith("synthetic/")}
    assert clips["train"].isdisjoint(clips["test"])
    assert clips["train"].isdisjoint(clips["val"])
    assert clips["val"].isdisjoint(clips["test"])
    assert set(libraries["train"].names).isdisjoint(libraries["test"].names)


def test_made_poses_have_the_licence_of_whose_they_are(body: AnnyBody, tmp_path: Path) -> None:
    bones = list(body.driven_bones)
    upper = [i for i, bone in enumerate(bones) if bone.startswith(("neck", "head", "wrist"))]
    legs = [i for i, bone in enumerate(bones) if bone.startswith(("upperleg01", "lowerleg01", "foot"))]
    clips = 60
    rng = np.random.default_rng(0)
    captured = rng.normal(0, 0.02, (2 * clips, len(bones), 3)).astype(np.float16)
    made = np.zeros((4, len(bones), 3), np.float16)
    made[0, upper] = captured[0, upper]
    made[1, upper], made[1, legs] = captured[1, upper], captured[clips + 1, legs]
    made[2, upper] = captured[clips + 2, upper]
    made[3] = 0.01
    rotvec = np.concatenate([captured, made])
    is_made = np.arange(len(rotvec)) >= 2 * clips
    sources = ["cmu-bvh"] * clips + ["hdm05"] * clips + ["synthetic"] * 4
    found = origins(rotvec, bones, is_made, sources)
    assert found[: 2 * clips] == [frozenset([source]) for source in sources[: 2 * clips]]
    assert found[2 * clips :] == [{"cmu-bvh"}, {"cmu-bvh", "hdm05"}, {"hdm05"}, set()]

    (tmp_path / "poses").mkdir()
    # A clip for each captured pose, and one for each made one in a run of its own.
    clip_names = [f"a/{i}" for i in range(2 * clips)] + ["synthetic/mix"] * 4
    np.savez(
        tmp_path / POSES,
        rotvec=rotvec,
        bones=np.array(bones),
        clip=np.arange(len(rotvec)),
        frame=np.zeros(len(rotvec), int),
        kind=is_made.astype(np.uint8),
        selfpen=np.zeros(len(rotvec)),
        clip_names=np.array(clip_names),
        clip_source=np.array(sources),
    )

    def made_of(share_alike: bool) -> set[str]:
        names = [
            name
            for split in SPLITS
            for name in PoseLibrary.load(tmp_path, body=body, split=split, share_alike=share_alike).names
        ]
        assert any(name.startswith("a/") for name in names)
        return {name.partition(":")[2] for name in names if name.startswith("synthetic/")}

    assert made_of(share_alike=False) == {"0 of cmu-bvh"}
    assert made_of(share_alike=True) == {"0 of cmu-bvh", "0 of cmu-bvh and hdm05", "0 of hdm05", "0"}
    assert "hdm05" not in PoseLibrary.load(tmp_path, body=body, split="train").sources, "it has to be asked for"


def test_bad_libraries_are_named(body: AnnyBody, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"poses\.npz.*missing"):
        PoseLibrary.load(tmp_path, body=body, split="train")
    (tmp_path / "poses").mkdir()
    (tmp_path / POSES).write_bytes(b"not an archive")
    with pytest.raises(ModelFileError, match="not a file of poses"):
        PoseLibrary.load(tmp_path, body=body, split="train")
    np.savez(tmp_path / POSES, rotvec=np.zeros((2, 3)))
    with pytest.raises(ModelFileError, match="not a file of poses"):
        PoseLibrary.load(tmp_path, body=body, split="train")


# ── hands ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_fists_close_and_flat_hands_are_straight(body: AnnyBody, light: AnnyBody) -> None:
    poser = HandPoser(body)
    styles = torch.tensor([[STYLES.index("fist")] * 2, [STYLES.index("flat")] * 2, [STYLES.index("pointing")] * 2])
    pose = body.identity_pose(3)
    pose[:, poser.bones] = poser.rotations(styles)
    joints = light(pose, body.default_shape().expand(3, -1)).joints_m
    at = {name: joints[:, i] for i, name in enumerate(body.bone_names)}
    for side in "LR":
        for finger in (2, 3, 4, 5):
            tip, knuckle, wrist = at[f"finger{finger}-3.{side}"], at[f"finger{finger}-1.{side}"], at[f"wrist.{side}"]
            fist, flat, pointing = ((tip - wrist).norm(dim=-1) / (knuckle - wrist).norm(dim=-1)).tolist()
            assert fist < 1.1
            assert flat > 1.3
            assert (pointing > 1.3) == (finger == 2)


def test_hands_are_mirror_images(body: AnnyBody) -> None:
    poser = HandPoser(body)
    styles = torch.arange(len(STYLES))[:, None].expand(-1, 2)
    pose = body.identity_pose(len(STYLES))
    pose[:, poser.bones] = poser.rotations(styles)
    torch.testing.assert_close(body.mirror_pose(pose), pose, atol=0.02, rtol=0)


def test_hand_noise_needs_and_follows_a_generator(body: AnnyBody) -> None:
    poser = HandPoser(body)
    styles = poser.styles(torch.zeros(5, 2), torch.Generator().manual_seed(0))
    assert styles.shape == (5, 2)
    with pytest.raises(ValueError, match="generator"):
        poser.rotations(styles, noise=HandNoise())
    a, b = (poser.rotations(styles, torch.Generator().manual_seed(1), noise=HandNoise()) for _ in range(2))
    assert torch.equal(a, b)
    torch.testing.assert_close(a @ a.mT, torch.eye(3).expand_as(a), atol=1e-5, rtol=0)


# ── motion capture brought in ───────────────────────────────────────────────────────────────────────────────────────


def bvh_text(frames: list[dict[str, tuple[float, float, float]]]) -> str:
    """A T-posed skeleton; each frame gives some joints' (z, y, x) angles in degrees."""
    lines = ["HIERARCHY"]
    order: list[str] = []

    def joint(name: str, offset: tuple[float, float, float], children: list, *, root: bool = False) -> None:
        order.append(name)
        lines.extend([f"{'ROOT' if root else 'JOINT'} {name}", "{", "OFFSET {} {} {}".format(*offset)])
        place = "6 Xposition Yposition Zposition" if root else "3"
        lines.append(f"CHANNELS {place} Zrotation Yrotation Xrotation")
        for child in children:
            joint(*child)
        if not children:
            lines.extend(["End Site", "{", "OFFSET 0 1 0", "}"])
        lines.append("}")

    def arm(side: str, s: float) -> tuple:
        hand = (f"{side}Hand", (25 * s, 0, 0), [])
        fore = (f"{side}ForeArm", (27 * s, 0, 0), [hand])
        upper = (f"{side}Arm", (12 * s, 0, 0), [fore])
        return (f"{side}Shoulder", (5 * s, 35, 0), [upper])

    def leg(side: str, s: float) -> tuple:
        foot = (f"{side}Foot", (0, -40, 0), [(f"{side}ToeBase", (0, -5, 14), [])])
        return (f"{side}UpLeg", (9 * s, -4, 0), [(f"{side}Leg", (0, -42, 0), [foot])])

    head = ("Neck", (0, 40, 0), [("Head", (0, 8, 0), [])])
    spine = ("Spine", (0, 10, 0), [head, arm("Left", 1), arm("Right", -1)])
    joint("Hips", (0, 0, 0), [spine, leg("Left", 1), leg("Right", -1)], root=True)
    lines += ["MOTION", f"Frames: {len(frames)}", "Frame Time: 0.1"]
    for frame in frames:
        numbers = [0.0, 95.0, 0.0]
        for name in order:
            numbers.extend(frame.get(name, (0.0, 0.0, 0.0)))
        lines.append(" ".join(str(number) for number in numbers))
    return "\n".join(lines)


FRAMES: list[dict[str, tuple[float, float, float]]] = [
    {},
    {"LeftArm": (-80, 0, 0), "RightArm": (80, 0, 0), "LeftForeArm": (0, -60, 0)},
    {"LeftUpLeg": (0, 0, -90), "LeftLeg": (0, 0, 90), "RightArm": (0, 90, 0)},
    {"Hips": (0, 70, 0), "LeftArm": (-80, 0, 0)},
    {"Hips": (0, 0, 90)},
]


def test_bvh_limbs_point_where_they_did(scripts: ModuleType, body: AnnyBody, light: AnnyBody, tmp_path: Path) -> None:
    (tmp_path / "clip.bvh").write_text(bvh_text(FRAMES))
    motion = next(iter(scripts.read_folder(tmp_path)))
    rotvec = torch.from_numpy(scripts.Retargeter(body).rotvecs(motion)).float()
    joints = light(body_pose(body, rotvec), body.default_shape().expand(len(rotvec), -1)).joints_m

    def pointing(a: str, b: str) -> torch.Tensor:
        way = joints[:, body.bone_names.index(b)] - joints[:, body.bone_names.index(a)]
        return way / way.norm(dim=-1, keepdim=True)

    upper, fore = pointing("upperarm01.L", "lowerarm01.L"), pointing("lowerarm01.L", "wrist.L")
    down, left, ahead = (torch.tensor(v) for v in ([0.0, 0, -1], [1.0, 0, 0], [0.0, -1, 0]))
    assert float(upper[0] @ left) > 0.999
    assert float(fore[0] @ left) > 0.999
    lowered = math.cos(math.radians(80)) * left + math.sin(math.radians(80)) * down
    assert float(upper[1] @ lowered) > 0.995
    # The elbow bends forward by 60 degrees.
    assert float(fore[1] @ (math.cos(math.radians(60)) * lowered + math.sin(math.radians(60)) * ahead)) > 0.995
    assert float(pointing("upperarm01.R", "lowerarm01.R")[2] @ ahead) > 0.995
    assert float(pointing("upperleg01.L", "lowerleg01.L")[2] @ ahead) > 0.995
    assert float(pointing("lowerleg01.L", "foot.L")[2] @ down) > 0.99
    # Heading is taken away; other turns of the root are not.
    torch.testing.assert_close(upper[3], upper[1], atol=1e-3, rtol=0)
    assert float(pointing("root", "neck01")[4] @ ahead) > 0.98
    assert float(rotvec[:4, 0].abs().max()) < 1e-4


def test_amass_stands_lies_and_sits(scripts: ModuleType, body: AnnyBody, tmp_path: Path) -> None:
    poses = np.zeros((4, 156))
    # SMPL is y up, AMASS's world z up: a standing body has a quarter turn at its root.
    poses[:, 0] = np.pi / 2
    poses[1, [3, 6]] = -np.pi / 2
    poses[1, [12, 15]] = np.pi / 2
    poses[2, 0] = 0.0
    poses[3, [50, 53]] = [-1.3, 1.3]
    (tmp_path / "a").mkdir()
    np.savez(tmp_path / "a" / "clip.npz", poses=poses, mocap_framerate=120.0)
    motion = next(iter(scripts.read_folder(tmp_path)))
    assert motion.name == "a/clip"
    rotvec = torch.from_numpy(scripts.Retargeter(body).rotvecs(motion)).float()
    kinds = [KINDS[i] for i in PoseReader(body).traits(body_pose_driven(rotvec)).kind.tolist()]
    assert kinds == ["gesturing", "sitting", "lying", "standing"]


def test_script_writes_what_the_library_reads(
    scripts: ModuleType, body: AnnyBody, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for i in range(24):
        (clips / f"clip{i}.bvh").write_text(bvh_text([*FRAMES, {"LeftArm": (3.0 * i, 0, 0)}]))
    (clips / "broken.bvh").write_text("HIERARCHY\nROOT x\nMOTION\n")
    np.savez(clips / "other.npz", something=np.zeros(3))
    out = tmp_path / POSES
    arguments = [str(clips), "--source", "ours", "--licence", "CC0", "--out", str(out)]
    assert scripts.main(arguments) == 0
    heard = capsys.readouterr()
    assert "broken.bvh" in heard.err
    assert "other.npz" in heard.err
    library = PoseLibrary.load(tmp_path, body=body, split="train")
    assert library.sources == ("ours",)
    assert library.names[0].startswith("ours/clip")
    before = out.read_bytes()
    assert scripts.main(arguments) == 0
    with np.load(out) as raw:
        assert len(raw["clip_names"]) == 24
        assert mirrored_name(str(raw["bones"][-1])) in raw["bones"]
    assert len(before) > 0
    assert scripts.main([str(tmp_path / "nothing"), "--source", "x", "--licence", "x", "--out", str(out)]) == 1
