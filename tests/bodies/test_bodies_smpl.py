from __future__ import annotations

import copyreg
import io
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import roma
import scipy.sparse
import torch

from metrichmsr.bodies import load_body_model
from metrichmsr.bodies.smpl import SmplBody
from metrichmsr.bodies.smpl_files import read_smpl_file
from metrichmsr.errors import ModelFileError

SMPL_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
HAND = (0, 1, 2) * 5


def parents_of(kind: str) -> tuple[int, ...]:
    if kind == "smpl":
        return SMPL_PARENTS
    parents = list(SMPL_PARENTS[:22]) + ([15, 15, 15] if kind == "smplx" else [])
    for wrist in (20, 21):
        for step in HAND:
            parents.append(wrist if step == 0 else len(parents) - 1)
    return tuple(parents)


def tiny_model(kind: str, *, vertices: int = 40, seed: int = 0) -> dict[str, object]:
    """A made-up model with the keys, types and shapes of the real files, but few vertices."""
    rng = np.random.default_rng(seed)
    parents = parents_of(kind)
    bones = len(parents)
    kintree = np.array([parents, range(bones)], dtype=np.int64).astype(np.uint32)  # −1 becomes 4294967295
    model = {
        "v_template": rng.normal(size=(vertices, 3)),
        "shapedirs": 0.1 * rng.normal(size=(vertices, 3, 20 if kind == "smplx" else 10)),
        "posedirs": 0.01 * rng.normal(size=(vertices, 3, 9 * (bones - 1))),
        "J_regressor": scipy.sparse.csc_matrix(rng.dirichlet(np.full(vertices, 0.2), bones)),
        "weights": rng.dirichlet(np.full(bones, 0.2), vertices),
        "kintree_table": kintree,
        "f": rng.permuted(np.tile(np.arange(vertices, dtype=np.uint32), (30, 1)), axis=1)[:, :3],
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    if kind != "smpl":
        for side in "lr":
            model[f"hands_mean{side}"] = 0.2 * rng.normal(size=45)
            model[f"hands_components{side}"] = rng.normal(size=(45, 45))
    return model


def as_npz(model: dict[str, object], path: Path) -> Path:
    arrays = {k: v.toarray() if scipy.sparse.issparse(v) else v for k, v in model.items()}
    # As the official SMPL-X files have it: a pickled dictionary beside the arrays.
    np.savez(path, **arrays, joint2num=np.array({"Pelvis": 0}, dtype=object))
    return path


def naive(model: dict[str, object], pose: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints, bone by bone and vertex by vertex, with the pelvis at the origin."""
    template, weights = np.asarray(model["v_template"]), np.asarray(model["weights"])
    shapedirs, posedirs = np.asarray(model["shapedirs"]), np.asarray(model["posedirs"])
    regressor = model["J_regressor"]
    regressor = regressor.toarray() if scipy.sparse.issparse(regressor) else np.asarray(regressor)
    shaped = template + sum(betas[i] * shapedirs[:, :, i] for i in range(len(betas)))
    rest_joints = regressor @ shaped
    parents = [int(np.int32(p)) for p in np.asarray(model["kintree_table"])[0].astype(np.uint32).astype(np.int32)]
    transforms = []
    for j, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = pose[j]
        local[:3, 3] = rest_joints[j] - (rest_joints[parent] if parent >= 0 else 0)
        transforms.append(local if parent < 0 else transforms[parent] @ local)
    feature = np.concatenate([(pose[j] - np.eye(3)).ravel() for j in range(1, len(parents))])
    posed = shaped + posedirs @ feature
    out = np.zeros_like(posed)
    for v in range(len(posed)):
        for j, transform in enumerate(transforms):
            moved = transform[:3, :3] @ (posed[v] - rest_joints[j]) + transform[:3, 3]
            out[v] += weights[v, j] * moved
    joints = np.stack([t[:3, 3] for t in transforms])
    return out - joints[0], joints - joints[0]


@pytest.fixture(params=["smpl", "smplh", "smplx"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_vertices_and_joints_equal_the_naive_loop(kind: str, tmp_path: Path):
    model = tiny_model(kind)
    as_npz(model, tmp_path / f"{kind.upper()}_NEUTRAL.npz")
    body = load_body_model(kind, body_model_dir=tmp_path).double()
    assert body.name == kind
    assert body.num_bones == len(parents_of(kind))
    assert len(set(body.bone_names)) == body.num_bones
    rng = np.random.default_rng(1)
    rotvecs = torch.from_numpy(0.5 * rng.normal(size=(2, body.num_bones, 3)))
    pose, betas = roma.rotvec_to_rotmat(rotvecs), torch.from_numpy(rng.normal(size=(2, 10)))
    translation = torch.tensor([[0.1, 0.2, 3.0], [0.0, 0.0, 5.0]], dtype=torch.float64)
    out = body(pose, betas, translation)
    for i in range(2):
        vertices, joints = naive(model, pose[i].numpy(), betas[i].numpy())
        np.testing.assert_allclose(out.vertices_m[i].numpy(), vertices + translation[i].numpy(), atol=2e-6)
        np.testing.assert_allclose(out.joints_m[i].numpy(), joints + translation[i].numpy(), atol=2e-6)
    assert torch.equal(out.joints_m[:, 0], translation)
    rest = body.rest(betas).vertices_m
    torch.testing.assert_close(out.height_m, rest[..., 1].amax(1) - rest[..., 1].amin(1))
    torch.testing.assert_close(body.height(betas), out.height_m)


def test_identity_pose_is_the_rest_body(kind: str, tmp_path: Path):
    body = SmplBody(read_smpl_file(as_npz(tiny_model(kind), tmp_path / "any.npz"))).double()
    shape = torch.ones(1, 10, dtype=torch.float64)
    out, rest = body(body.identity_pose(), shape), body.rest(shape)
    torch.testing.assert_close(out.vertices_m, rest.vertices_m - rest.joints_m[:, :1], atol=1e-6, rtol=0)


def test_restricted_model_agrees_and_derivatives_are_right(kind: str, tmp_path: Path):
    body = SmplBody(read_smpl_file(as_npz(tiny_model(kind), tmp_path / "any.npz"))).double()
    ids = torch.tensor([7, 3, 30])
    light = body.restricted_to(ids)
    pose = roma.random_rotmat((2, body.num_bones), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shape = torch.randn(2, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    full, few = body(pose, shape), light(pose, shape)
    torch.testing.assert_close(few.vertices_m, full.vertices_m[:, ids])
    for name in ("joints_m", "coco17_m", "landmarks33_m", "height_m"):
        torch.testing.assert_close(getattr(few, name), getattr(full, name), msg=name)
    rotvecs = (0.3 * torch.randn(1, body.num_bones, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda r, s: light(roma.rotvec_to_rotmat(r), s).vertices_m,
        (rotvecs, shape[:1].clone().requires_grad_()),
        fast_mode=True,
    )


def test_mirrored_bones_are_an_involution(kind: str, tmp_path: Path):
    body = SmplBody(read_smpl_file(as_npz(tiny_model(kind), tmp_path / "any.npz")))
    swap = body.mirrored_bones()
    assert [swap[i] for i in swap] == list(range(body.num_bones))
    for i, parent in enumerate(body.parents):
        assert parent < 0 or swap[parent] == body.parents[swap[i]]
    pose = roma.random_rotmat((1, body.num_bones))
    torch.testing.assert_close(body.mirror_pose(body.mirror_pose(pose)), pose)


def test_keypoints_of_official_meshes_are_skin_points(tmp_path: Path):
    body = SmplBody(read_smpl_file(as_npz(tiny_model("smpl", vertices=6890), tmp_path / "any.npz")))
    out = body(body.identity_pose(), body.default_shape()[None])
    for row, vertex in enumerate((332, 2800, 6260, 583, 4071)):
        torch.testing.assert_close(out.coco17_m[:, row], out.vertices_m[:, vertex])
    for row, joint in ((5, "left_shoulder"), (10, "right_wrist"), (11, "left_hip"), (16, "right_ankle")):
        torch.testing.assert_close(out.coco17_m[:, row], out.joints_m[:, body.bone_names.index(joint)])


def test_keypoints_of_other_meshes_are_the_nearest_joints(tmp_path: Path):
    body = SmplBody(read_smpl_file(as_npz(tiny_model("smplx"), tmp_path / "any.npz")))
    out = body(body.identity_pose(), body.default_shape()[None])
    torch.testing.assert_close(out.coco17_m[:, 0], out.joints_m[:, body.bone_names.index("head")])
    torch.testing.assert_close(out.coco17_m[:, 1], out.joints_m[:, body.bone_names.index("left_eye")])
    torch.testing.assert_close(out.landmarks33_m[:, 21], out.joints_m[:, body.bone_names.index("left_thumb2")])


def test_relaxed_hands_come_on_request(tmp_path: Path):
    model = tiny_model("smplh")
    body = SmplBody(read_smpl_file(as_npz(model, tmp_path / "any.npz")))
    relaxed = body.with_relaxed_hands(body.identity_pose())
    torch.testing.assert_close(relaxed[:, :22], body.identity_pose()[:, :22])
    mean = np.concatenate([model["hands_meanl"], model["hands_meanr"]]).reshape(30, 3).astype(np.float32)
    torch.testing.assert_close(relaxed[0, 22:], roma.rotvec_to_rotmat(torch.from_numpy(mean)))
    plain = SmplBody(read_smpl_file(as_npz(tiny_model("smpl"), tmp_path / "smpl.npz")))
    assert torch.equal(plain.with_relaxed_hands(plain.identity_pose()), plain.identity_pose())


# --- files ---


@pytest.mark.parametrize(
    ("kind_", "gender", "name"),
    [
        ("smpl", "neutral", "SMPL_NEUTRAL.npz"),
        ("smpl", "neutral", "smpl/basicModel_neutral_lbs_10_207_0_v1.0.0.pkl"),
        ("smpl", "male", "smpl/models/../basicmodel_m_lbs_10_207_0_v1.1.0.pkl"),
        ("smpl", "female", "models/smpl/SMPL_FEMALE.pkl"),
        ("smplh", "male", "smplh/SMPLH_male.pkl"),
        ("smplh", "female", "smplh/female/model.npz"),
        ("smplx", "neutral", "smplx/SMPLX_NEUTRAL.npz"),
        ("smplx", "neutral", "renamed by somebody.pkl"),
        ("smpl", "female", "my_female_smpl.pkl"),
    ],
)
def test_files_are_found(tmp_path: Path, kind_: str, gender: str, name: str):
    path = Path(os.path.normpath(tmp_path / name))
    path.parent.mkdir(parents=True, exist_ok=True)
    model = tiny_model(kind_)
    if path.suffix == ".npz":
        as_npz(model, path)
    else:
        path.write_bytes(pickle.dumps(model, protocol=2))
    body = load_body_model(kind_, body_model_dir=tmp_path, gender=gender)
    assert isinstance(body, SmplBody)
    assert body.path == path
    assert load_body_model(kind_, body_model_dir=path).name == kind_
    for other in {"smpl", "smplh", "smplx"} - {kind_}:
        with pytest.raises(ModelFileError, match="no neutral"):
            load_body_model(other, body_model_dir=tmp_path)


def test_the_other_gender_is_not_taken(tmp_path: Path):
    as_npz(tiny_model("smpl"), tmp_path / "SMPL_MALE.npz")
    (tmp_path / "basicmodel_f_lbs_10_207_0_v1.1.0.pkl").write_bytes(pickle.dumps(tiny_model("smpl"), protocol=2))
    with pytest.raises(ModelFileError, match="no neutral SMPL model"):
        load_body_model("smpl", body_model_dir=tmp_path)


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    as_npz(tiny_model("smpl"), tmp_path / "models" / "SMPL_NEUTRAL.npz")
    assert load_body_model("smpl", body_model_dir="~/models").name == "smpl"


@pytest.mark.parametrize(
    ("kind_", "page", "archive"),
    [
        ("smpl", "https://smpl.is.tue.mpg.de", "SMPL_python_v.1.1.0.zip"),
        ("smplh", "https://mano.is.tue.mpg.de", "smplh.tar.xz"),
        ("smplx", "https://smpl-x.is.tue.mpg.de", "models_smplx_v1_1.zip"),
    ],
)
def test_not_found_says_what_to_get_and_where_to_put_it(tmp_path: Path, kind_: str, page: str, archive: str):
    with pytest.raises(ModelFileError) as caught:
        load_body_model(kind_, body_model_dir=tmp_path, gender="male")
    message = str(caught.value)
    assert page in message
    assert archive in message
    assert str(tmp_path / kind_) in message
    assert "MALE" in message
    assert "\n" not in message
    with pytest.raises(ModelFileError, match="--body-model-dir"):
        load_body_model(kind_)
    with pytest.raises(ModelFileError, match="no neutral"):
        load_body_model(kind_, body_model_dir=tmp_path / "nowhere")


def test_pickles_of_every_age_give_the_same_model(tmp_path: Path):
    model = tiny_model("smpl")
    expected = read_smpl_file(as_npz(model, tmp_path / "a.npz"))
    files = {f"protocol{p}": pickle.dumps(model, protocol=p) for p in range(pickle.HIGHEST_PROTOCOL + 1)}
    for layout in ("csr", "coo"):
        sparse = {**model, "J_regressor": model["J_regressor"].asformat(layout)}
        files[layout] = pickle.dumps(sparse, protocol=2)
    files["fortran"] = pickle.dumps({**model, "weights": np.asfortranarray(model["weights"])}, protocol=2)
    files["big endian"] = pickle.dumps({**model, "weights": model["weights"].astype(">f8")}, protocol=2)
    files["python 2"] = python2_pickle(model)
    for name, data in files.items():
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(data)
        read = read_smpl_file(path)
        for field in ("v_template", "shapedirs", "posedirs", "joint_regressor", "weights", "faces"):
            np.testing.assert_array_equal(getattr(read, field), getattr(expected, field), err_msg=f"{name}: {field}")
        assert read.parents == SMPL_PARENTS


class Opcodes:
    """Writes the pickle that Python 2 wrote: byte strings, names of old modules, chumpy objects."""

    def __init__(self) -> None:
        self.out = io.BytesIO()
        self.out.write(b"\x80\x02")

    def name(self, module: str, name: str) -> None:
        self.out.write(f"c{module}\n{name}\n".encode())

    def string(self, data: bytes) -> None:
        self.out.write(b"T" + len(data).to_bytes(4, "little") + data)  # BINSTRING, Python 2's str

    def integer(self, value: int) -> None:
        self.out.write(b"J" + value.to_bytes(4, "little", signed=True))

    def array(self, array: np.ndarray) -> None:
        self.name("numpy.core.multiarray", "_reconstruct")
        self.name("numpy", "ndarray")
        self.integer(0)
        self.out.write(b"\x85")
        self.string(b"b")
        self.out.write(b"\x87R(")
        self.integer(1)
        self.shape(array.shape)
        self.name("numpy", "dtype")
        self.string(array.dtype.str[1:].encode())
        self.integer(0)
        self.integer(1)
        self.out.write(b"\x87R(")
        self.integer(3)
        self.string(b"<")
        self.out.write(b"NNN")
        for value in (-1, -1, 0):
            self.integer(value)
        self.out.write(b"tb\x89")
        self.string(np.ascontiguousarray(array).tobytes())
        self.out.write(b"tb")

    def shape(self, shape: tuple[int, ...]) -> None:
        self.out.write(b"(")
        for n in shape:
            self.integer(n)
        self.out.write(b"t")

    def chumpy(self, name: str, **state: object) -> None:
        self.name(*name.rsplit(".", 1))
        self.out.write(b")\x81}(")  # NEWOBJ, then a dictionary of the state
        for key, value in state.items():
            self.string(key.encode())
            self.value(value)
        self.string(b"_dirty_vars")
        self.name("__builtin__", "set")
        self.out.write(b"]\x85R")
        self.out.write(b"ub")

    def value(self, value: object) -> None:
        if isinstance(value, np.ndarray):
            self.array(value)
        elif isinstance(value, tuple):
            self.shape(value)
        elif isinstance(value, str):
            self.string(value.encode())
        elif callable(value):
            value()
        else:
            raise TypeError(type(value))


def python2_pickle(model: dict[str, object]) -> bytes:
    code = Opcodes()
    regressor = model["J_regressor"].tocsc()

    def sparse() -> None:
        code.name("copy_reg", "_reconstructor")
        code.name("scipy.sparse.csc", "csc_matrix")
        code.name("__builtin__", "object")
        code.out.write(b"N\x87R}(")
        for key in ("data", "indices", "indptr"):
            code.string(key.encode())
            code.array(getattr(regressor, key))
        code.string(b"_shape")
        code.shape(regressor.shape)
        code.out.write(b"ub")

    shapedirs, weights, template = (np.asarray(model[k]) for k in ("shapedirs", "weights", "v_template"))
    backwards = np.arange(weights.size)[::-1].copy()
    values = {
        **model,
        "J_regressor": sparse,
        "shapedirs": lambda: code.chumpy("chumpy.ch.Ch", x=shapedirs),
        # Re-orderings as old files nest them: a selection of a plain array, and a reshaped one.
        "weights": lambda: code.chumpy(
            "chumpy.reordering.Select",
            a=lambda: code.chumpy("chumpy.ch.Ch", x=weights.ravel()[::-1].copy()),
            idxs=backwards,
            preferred_shape=weights.shape,
        ),
        "v_template": lambda: code.chumpy(
            "chumpy.reordering.Reshape",
            a=lambda: code.chumpy("chumpy.ch.Ch", x=template.ravel()),
            newshape=template.shape,
        ),
    }
    code.out.write(b"}(")
    for key, value in values.items():
        code.string(key.encode())
        code.value(value)
    code.out.write(b"u.")
    return code.out.getvalue()


# --- what must not run, and what is no model ---


class Evil:
    """Pickles into a call of its choice."""

    def __init__(self, function: object, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def stack_global(module: str, name: str, argument: str) -> bytes:
    def text(value: str) -> bytes:
        return b"\x8c" + bytes([len(value)]) + value.encode()

    return b"\x80\x04" + text(module) + text(name) + b"\x93" + text(argument) + b"\x85R."


def attacks(marker: Path) -> dict[str, bytes]:
    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    dumps = {
        "os.system": Evil(os.system, command),
        "eval": Evil(eval, code),
        "exec": Evil(exec, code),
        "open": Evil(open, str(marker), "w"),
        "getattr": Evil(getattr, "x", "upper"),
        "import": Evil(__import__, "this"),
        "reconstructor": Evil(copyreg._reconstructor, io.BytesIO, object, None),
        "bytes": Evil(bytes, 10**12),
        "bytearray": Evil(bytearray, 10**12),
    }
    attacks = {name: pickle.dumps(value, protocol=2) for name, value in dumps.items()}
    attacks |= {f"{name} inside": pickle.dumps({"v_template": value}, protocol=4) for name, value in dumps.items()}
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n"
    attacks["numpy reconstruct of a class"] = reconstruct + b"(cposix\nsystem\n(I0\ntS'b'\ntR."
    # An object array whose items were to be made by a call.
    inner = b"cos\nsystem\n(S'" + command.encode() + b"'\ntR"
    attacks["object array"] = (
        reconstruct + b"(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\ntRI00\n(l" + (inner + b"atb.")
    )
    for module in ("numpy.testing", "numpy.lib.npyio", "numpy", "scipy.sparse", "chumpy", "chumpy.ch.os", "builtins"):
        for name in ("load", "os.system", "f2py.os.system", "__import__", "csc_matrix.__init__.__globals__"):
            attacks[f"{module} {name}"] = stack_global(module, name, command)
    attacks["dtype as a door"] = stack_global("numpy.core.multiarray", "dtype.__class__.__call__", command)
    attacks["new object"] = b"\x80\x02cio\nStringIO\n)\x81."
    attacks["instance opcode"] = b"(S'" + command.encode() + b"'\nios\nsystem\n."
    attacks["object opcode"] = b"(cos\nsystem\nS'" + command.encode() + b"'\no."
    attacks["extension"] = b"\x80\x02\x82\x01)R."
    attacks["persistent id"] = b"Pevil\n."
    # Setting attributes of what the reader hands out must reach nothing but that one reading.
    attacks["state on a name"] = b"c_codecs\nencode\n}S'__code__'\nS'x'\nsb."
    attacks["slots of a class"] = b"\x80\x02cchumpy.ch\nCh\nN}U\x0c__setstate__c_codecs\nencode\ns\x86b."
    return attacks


def test_nothing_in_a_malicious_pickle_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    marker = tmp_path / "it ran"
    files = attacks(marker)
    for name in ("system", "popen"):
        monkeypatch.setattr(os, name, lambda *_: marker.touch())
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    for name, data in files.items():
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match=r"SMPL_NEUTRAL\.pkl: ") as caught:
            load_body_model("smpl", body_model_dir=tmp_path)
        assert "\n" not in str(caught.value), name
        assert not marker.exists(), name
    # The reader is as it was: a good file still reads.
    path.write_bytes(pickle.dumps(tiny_model("smpl"), protocol=2))
    assert load_body_model("smpl", body_model_dir=tmp_path).num_vertices == 40


def test_attacks_do_harm_to_the_ordinary_reader(tmp_path: Path):
    marker = tmp_path / "it ran"
    pickle.loads(attacks(marker)["open"]).close()
    assert marker.exists()


def test_the_refused_name_is_told(tmp_path: Path):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps(Evil(os.system, "true"), protocol=2))
    with pytest.raises(ModelFileError, match=r"refused: it asks for (posix|nt)\.system"):
        read_smpl_file(path)


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("SMPL_NEUTRAL.pkl", b"\xff\xd8\xff\xe0\x00\x10JFIF", "not a readable pickle or npz"),
        ("SMPL_NEUTRAL.npz", b"\x89PNG\r\n\x1a\n", "not a readable pickle or npz"),
        ("SMPL_NEUTRAL.pkl", b"", "the file is empty"),
        ("SMPL_NEUTRAL.pkl", pickle.dumps([1, 2, 3]), "it holds a list, not a dictionary"),
        ("SMPL_NEUTRAL.pkl", pickle.dumps({"a": 1}), "it lacks v_template, shapedirs"),
        ("SMPL_NEUTRAL.pkl", pickle.dumps(tiny_model("smpl"), protocol=2)[:5000], "not a readable pickle or npz"),
    ],
)
def test_other_files_are_told_apart(tmp_path: Path, name: str, content: bytes, cause: str):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=re.escape(name)) as caught:
        load_body_model("smpl", body_model_dir=tmp_path)
    assert cause in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_npz_is_told(tmp_path: Path):
    path = as_npz(tiny_model("smpl"), tmp_path / "SMPL_NEUTRAL.npz")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ModelFileError, match="damaged npz"):
        read_smpl_file(path)
    np.savez(path, v_template=np.array({"a": 1}, dtype=object))
    with pytest.raises(ModelFileError, match="Object arrays cannot be loaded"):
        read_smpl_file(path)


@pytest.mark.parametrize(
    ("key", "value", "cause"),
    [
        ("v_template", np.zeros((40, 2)), r"v_template has shape \(40, 2\)"),
        ("v_template", np.full((40, 3), np.nan), "v_template contains values that are not finite"),
        ("weights", np.zeros((40, 23)), r"weights has shape \(40, 23\)"),
        ("posedirs", np.zeros((40, 3, 9)), "posedirs has shape"),
        ("posedirs", np.full((40, 3, 207), "x"), "an array of type 'U1'"),
        ("f", np.array([[0, 1, 99]], dtype=np.uint32), "f names vertices that do not exist"),
        ("f", np.zeros((0, 3), dtype=np.uint32), "f has shape"),
        ("kintree_table", np.zeros((2, 16), dtype=np.uint32), "16 bones"),
        ("kintree_table", np.full((2, 24), 30, dtype=np.uint32), "not a tree"),
        ("J_regressor", scipy.sparse.csc_matrix((3, 3)), "J_regressor has shape"),
    ],
)
def test_models_that_do_not_fit_together_are_refused(tmp_path: Path, key: str, value: object, cause: str):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps({**tiny_model("smpl"), key: value}, protocol=2))
    with pytest.raises(ModelFileError, match=cause):
        load_body_model("smpl", body_model_dir=tmp_path)


def test_a_model_of_another_kind_under_an_official_name_is_told(tmp_path: Path):
    as_npz(tiny_model("smplh"), tmp_path / "SMPLX_NEUTRAL.npz")
    with pytest.raises(ModelFileError, match=r"SMPLX_NEUTRAL\.npz: this is a smplh model \(52 bones\), not smplx"):
        load_body_model("smplx", body_model_dir=tmp_path)
