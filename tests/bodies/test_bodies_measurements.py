from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import roma
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.measurement_doubt import INDIVIDUAL, Measurer
from metrichmsr.bodies.measurements import GIRTHS, MEASUREMENTS, BodyRuler
from metrichmsr.bodies.protocol import RestBody
from metrichmsr.bodies.shape_prior import AGE, GENDER, HEIGHT, ShapePrior
from metrichmsr.bodies.smpl import SmplBody
from metrichmsr.bodies.smpl_files import SmplData
from metrichmsr.errors import ModelFileError


@pytest.fixture(scope="module")
def model() -> AnnyBody:
    return AnnyBody.load()


@pytest.fixture(scope="module")
def measurer(model: AnnyBody) -> Measurer:
    return Measurer(model)


@pytest.fixture(scope="module")
def ruler(measurer: Measurer) -> BodyRuler:
    return measurer.ruler


@pytest.fixture(scope="module")
def shapes() -> torch.Tensor:
    return ShapePrior.load().sample(80, torch.Generator().manual_seed(0))


def column(name: str) -> int:
    return MEASUREMENTS.index(name)


def named(row: np.ndarray) -> dict[str, float]:
    return dict(zip(MEASUREMENTS, row.tolist(), strict=True))


def grown(model: AnnyBody, gender: float, stature_m: float, age: float = 0.7) -> torch.Tensor:
    """A person of this stature, average otherwise."""
    ends = torch.stack([model.shape_from({"gender": gender, "age": age, "height": h}) for h in (0.0, 1.0)])
    low, high = model.height(ends)
    share = float((stature_m - low) / (high - low))
    return model.shape_from({"gender": gender, "age": age, "height": share})


# --- definitions ---


def test_stature_is_the_models(model: AnnyBody, ruler: BodyRuler, shapes: torch.Tensor):
    np.testing.assert_allclose(ruler(shapes)[:, 0], model.height(shapes).numpy(), rtol=0, atol=1e-5)


def test_all_are_found_on_bodies_of_every_kind(ruler: BodyRuler, shapes: torch.Tensor):
    rows = ruler(shapes)
    assert rows.shape == (len(shapes), len(MEASUREMENTS))
    assert np.isfinite(rows).all()
    assert (rows > 0.05).all()


def test_few_vertices_measure_what_all_do(model: AnnyBody, ruler: BodyRuler, shapes: torch.Tensor):
    few = shapes[:20]
    np.testing.assert_allclose(ruler(few), ruler.measure(model.rest(few)), rtol=0, atol=1e-6)


def test_measurements_scale_with_the_body(model: AnnyBody, ruler: BodyRuler, shapes: torch.Tensor):
    rest = model.rest(shapes[:5])
    double = RestBody(rest.vertices_m.double(), rest.joints_m.double())
    larger = RestBody(1.25 * double.vertices_m, 1.25 * double.joints_m)
    np.testing.assert_allclose(ruler.measure(larger), 1.25 * ruler.measure(double), rtol=1e-6)


def test_place_of_the_body_does_not_matter(model: AnnyBody, ruler: BodyRuler):
    rest = model.rest(model.default_shape()[None])
    moved = RestBody(rest.vertices_m + torch.tensor([0, 3.0, -2.0]), rest.joints_m + torch.tensor([0, 3.0, -2.0]))
    np.testing.assert_allclose(ruler.measure(moved), ruler.measure(rest), atol=1e-5)


def test_taller_people_are_larger_all_over(model: AnnyBody, ruler: BodyRuler):
    rows = ruler(torch.stack([grown(model, 0.5, stature) for stature in (1.5, 1.6, 1.7, 1.8, 1.9)]))
    assert (np.diff(rows, axis=0) > 0).all()


def test_weight_goes_to_the_waist(model: AnnyBody, ruler: BodyRuler):
    thin, heavy = ruler(torch.stack([model.shape_from({"weight": w}) for w in (0.3, 1.0)]))
    assert heavy[column("waist_girth")] > 1.15 * thin[column("waist_girth")]
    assert heavy[column("arm_length")] == pytest.approx(thin[column("arm_length")], rel=0.03)
    assert heavy[column("head_girth")] == pytest.approx(thin[column("head_girth")], rel=0.03)


def stretched_out(model: AnnyBody, shape: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices and joints of a body whose arms and middle fingers point straight to its left and right."""
    chain = ("upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist", "finger3-1", "finger3-2", "finger3-3")
    pose = model.identity_pose()
    for _ in range(3):  # a turn moves the joints that the next bone's direction is read from
        for side, sign in (("L", 1.0), ("R", -1.0)):
            bones = [model.bone_names.index(f"{name}.{side}") for name in chain]
            for bone, child in itertools.pairwise(bones):
                out = model(pose, shape[None])
                have = torch.nn.functional.normalize(out.joints_m[0, child] - out.joints_m[0, bone], dim=0)
                want = torch.tensor([sign, 0.0, 0.0])
                axis = torch.linalg.cross(have, want)
                angle = torch.atan2(axis.norm(), have @ want)
                turn = roma.rotvec_to_rotmat(torch.nn.functional.normalize(axis, dim=0) * angle)
                above = out.bone_rotations[0, model.parents[bone]]
                pose[0, bone] = above.T @ turn @ above @ pose[0, bone]
    out = model(pose, shape[None])
    return out.vertices_m[0], out.joints_m[0]


@pytest.mark.parametrize("kind", [{}, {"gender": 0.0, "age": 0.8}, {"age": 0.3}])
def test_arm_span_is_that_of_a_body_in_t_pose(model: AnnyBody, ruler: BodyRuler, kind: dict[str, float]):
    shape = model.shape_from(kind)
    vertices, joints = stretched_out(model, shape)
    span = float(vertices[:, 0].max() - vertices[:, 0].min())
    # Anny's reference pose turns collarbones; the rest body's shoulders are where the shape has them.
    right, left = (model.bone_names.index(f"upperarm01.{side}") for side in "RL")
    moved, rest = ((j[left] - j[right]).norm() for j in (joints, model.rest(shape[None]).joints_m[0]))
    assert ruler(shape[None])[0, column("arm_span")] == pytest.approx(span - float(moved - rest), rel=0.005)


def test_outlines_are_where_the_girths_are(model: AnnyBody, ruler: BodyRuler):
    shape = model.default_shape()
    outlines = ruler.outlines(shape)
    row = named(ruler(shape[None])[0])
    assert set(outlines) == {f"{part}_girth" for part in GIRTHS}
    for name, outline in outlines.items():
        around = np.linalg.norm(outline - np.roll(outline, 1, axis=0), axis=1).sum()
        assert around == pytest.approx(row[name], rel=1e-5), name
    height = {name: float(outline[:, 2].mean()) for name, outline in outlines.items()}
    order = ("head", "neck", "chest", "waist", "hip", "thigh", "calf")
    assert (np.diff([height[f"{part}_girth"] for part in order]) < 0).all()
    assert (outlines["calf_girth"][:, 0] < 0).all(), "the right leg"
    assert np.abs(outlines["chest_girth"][:, 0]).max() < 0.5 * row["shoulder_breadth"], "no arm in it"


# --- people ---

# ANSUR II, 4,082 men and 1,986 women: means (m). Ours stand for the same measurements on an average body of Anny.
ANSUR = {
    0.0: (1.756, {"arm_span": 1.814, "sitting_height": 0.918, "inseam": 0.846, "arm_length": 0.593,
                  "shoulder_breadth": 0.510, "head_girth": 0.574, "neck_girth": 0.398, "chest_girth": 1.059,
                  "waist_girth": 0.941, "hip_girth": 1.020, "thigh_girth": 0.625, "calf_girth": 0.392}),
    1.0: (1.628, {"arm_span": 1.660, "sitting_height": 0.857, "inseam": 0.782, "arm_length": 0.544,
                  "shoulder_breadth": 0.450, "head_girth": 0.561, "neck_girth": 0.330, "chest_girth": 0.947,
                  "waist_girth": 0.861, "hip_girth": 1.021, "thigh_girth": 0.616, "calf_girth": 0.373}),
}  # fmt: skip


@pytest.mark.parametrize("gender", [0.0, 1.0])
def test_average_adults_are_like_measured_people(model: AnnyBody, ruler: BodyRuler, gender: float):
    stature, published = ANSUR[gender]
    row = named(ruler(grown(model, gender, stature)[None])[0])
    for name, value in published.items():
        # Soldiers carry more muscle and weight than Anny's average: girths of theirs are larger.
        tolerance = 0.06 if name in ("arm_span", "sitting_height", "inseam", "arm_length", "head_girth") else 0.14
        assert row[name] == pytest.approx(value, rel=tolerance), name
    assert 0.44 < row["inseam"] / stature < 0.49
    assert 0.95 < row["arm_span"] / stature < 1.08


def test_children_have_large_heads_and_short_legs(model: AnnyBody, ruler: BodyRuler):
    adult, child, baby = map(named, ruler(torch.stack([model.shape_from({"age": a}) for a in (0.7, 0.3, 0.0)])))
    for a, b in ((adult, child), (child, baby)):
        assert a["head_girth"] / a["stature"] < b["head_girth"] / b["stature"]
        assert a["inseam"] / a["stature"] > b["inseam"] / b["stature"]
        assert a["chest_girth"] > b["chest_girth"]
    # WHO: the median head of girls and boys of half a year is 0.42–0.43 m around; MakeHuman's babies have smaller ones.
    assert 0.34 < baby["head_girth"] < 0.45


def test_the_anny_package_agrees(model: AnnyBody, ruler: BodyRuler):
    anthropometry = pytest.importorskip("anny.anthropometry")
    # Its model is large and slow to make; of it the measurements need these two, and ours has the same.
    reference = anthropometry.Anthropometry(
        SimpleNamespace(base_mesh_vertex_indices=model.base_vertex_ids, faces=model.faces)
    )
    shapes = torch.stack([grown(model, gender, 1.7) for gender in (0.0, 0.5, 1.0)])
    vertices = model.rest(shapes).vertices_m
    rows = ruler(shapes)
    np.testing.assert_allclose(rows[:, 0], reference.height(vertices).numpy(), atol=1e-3)
    # Its waist follows a line of vertices round the body, ours is a plane at the navel.
    np.testing.assert_allclose(
        rows[:, column("waist_girth")], reference.waist_circumference(vertices).numpy(), rtol=0.05
    )


# --- sigmas ---


def test_two_of_three_true_values_lie_within_the_sigmas(model: AnnyBody, measurer: Measurer):
    """Adults of the prior, of whom a recovery knows the stature within its sigma and nothing else."""
    people = ShapePrior.load().sample(300, torch.Generator().manual_seed(1))
    people = people[people[:, AGE] > 2 / 3][:110]
    rng = np.random.default_rng(0)
    sigma = 0.05
    truth = measurer.ruler(people)
    seen = truth[:, 0] + sigma * rng.normal(size=len(truth))
    truth = truth * (1 + np.array(list(INDIVIDUAL.values())) * rng.normal(size=truth.shape))
    guess = torch.stack([grown(model, 0.5, float(stature)) for stature in seen])
    found = measurer(guess, np.full(len(guess), sigma))
    value, std = (np.array([[getattr(p[n], key) for n in MEASUREMENTS] for p in found]) for key in ("value_m", "std_m"))
    within = np.abs(value - truth) < std
    assert 0.62 < within.mean() < 0.74
    assert (within.mean(axis=0) > 0.52).all()
    assert (within.mean(axis=0) < 0.84).all()


def test_sigma_of_the_stature_is_the_recoverys(model: AnnyBody, measurer: Measurer):
    shape = model.default_shape()[None].expand(3, -1)
    known, near, far = measurer(shape, np.array([0.0, 0.05, 0.1]))
    assert known["stature"].std_m == pytest.approx(0, abs=1e-6)
    assert near["stature"].std_m == pytest.approx(0.05, abs=1e-4)
    for name in MEASUREMENTS:
        assert known[name].value_m == near[name].value_m == far[name].value_m
        assert known[name].std_m < near[name].std_m < far[name].std_m, name
    # A known stature leaves a girth nearly as open as before.
    assert known["waist_girth"].std_m > 0.08 * known["waist_girth"].value_m
    assert known["inseam"].std_m < 0.05 * known["inseam"].value_m


def test_statures_beyond_the_height_parameter_are_scaled(model: AnnyBody, measurer: Measurer):
    tallest = model.shape_from({"height": 1.0})[None]
    (found,) = measurer(tallest, np.array([0.2]))
    assert found["stature"].std_m == pytest.approx(0.2, abs=1e-3)
    assert np.isfinite([m.std_m for m in found.values()]).all()


def test_an_unknown_sigma_stays_unknown(model: AnnyBody, measurer: Measurer):
    (found,) = measurer(model.default_shape()[None], np.array([np.nan]))
    assert np.isnan([m.std_m for m in found.values()]).all()
    assert np.isfinite([m.value_m for m in found.values()]).all()
    assert measurer(torch.zeros(0, 6), np.zeros(0)) == []


def test_builds_of_one_stature(model: AnnyBody, measurer: Measurer):
    shape = grown(model, 0.5, 1.7)[None]
    builds = measurer._spread.builds(shape)
    np.testing.assert_allclose(model.height(builds).numpy(), 1.7, atol=2e-3)
    low, high = model.shape_limits()
    assert (builds >= low - 1e-6).all()
    assert (builds <= high + 1e-6).all()
    spread = builds.std(0)
    assert spread[GENDER] > 0.1, "a man or a woman"
    assert spread[HEIGHT] > 0.005, "made up for by the height parameter"


# --- other models ---


def as_smpl(model: AnnyBody, *, betas: int = 4) -> SmplData:
    """Anny's average body under the names, axes and bones of SMPL; its shape components are random, but smooth."""
    twins = {
        0: "root", 1: "upperleg01.L", 2: "upperleg01.R", 3: "spine04", 4: "lowerleg01.L", 5: "lowerleg01.R",
        6: "spine03", 7: "foot.L", 8: "foot.R", 9: "spine01", 10: "toe2-1.L", 11: "toe2-1.R", 12: "neck01",
        13: "clavicle.L", 14: "clavicle.R", 15: "head", 16: "upperarm01.L", 17: "upperarm01.R", 18: "lowerarm01.L",
        19: "lowerarm01.R", 20: "wrist.L", 21: "wrist.R", 22: "finger3-1.L", 23: "finger3-1.R",
    }  # fmt: skip
    parents = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
    rest = model.rest(model.default_shape()[None])

    def turned(points: torch.Tensor) -> np.ndarray:
        x, y, z = points[0].double().numpy().T
        return np.stack([x, z, -y], axis=1)

    vertices, joints = turned(rest.vertices_m), turned(rest.joints_m)
    names = list(model.bone_names)
    bones = [names.index(twins[i]) for i in range(24)]
    weights = np.zeros((len(vertices), 24))
    for bone, row in enumerate(model.skin.numpy()):
        nearest = bone
        while nearest not in bones:
            nearest = max(model.parents[nearest], 0)
        weights[:, bones.index(nearest)] += row
    # Each joint as a sum of a few vertices around the whole body.
    some = np.linspace(0, len(vertices) - 1, 12).astype(int)
    system = np.vstack([vertices[some].T, np.ones(len(some))])
    regressor = np.zeros((24, len(vertices)))
    for i, bone in enumerate(bones):
        regressor[i, some] = np.linalg.lstsq(system, np.append(joints[bone], 1), rcond=None)[0]
    directions = np.random.default_rng(0).normal(size=(betas, 3, 3)) * 0.02
    shapedirs = np.einsum("vi,bij->vjb", vertices, directions + directions.transpose(0, 2, 1))
    return SmplData(
        kind="smpl", path=Path("made-up"), v_template=vertices.astype(np.float32),
        shapedirs=shapedirs.astype(np.float32), posedirs=np.zeros((len(vertices), 3, 207), np.float32),
        joint_regressor=regressor.astype(np.float32), weights=weights.astype(np.float32), parents=parents,
        faces=model.faces.numpy(), hands_mean=None,
    )  # fmt: skip


def test_the_same_body_in_another_rig_measures_the_same(model: AnnyBody, ruler: BodyRuler):
    twin = SmplBody(as_smpl(model))
    mine, theirs = named(ruler(model.default_shape()[None])[0]), named(BodyRuler(twin)(twin.default_shape()[None])[0])
    for name in MEASUREMENTS:
        # SMPL's hand is one bone, and this one has no eyes: its head is cut at another height.
        tolerance = {"arm_span": 0.02, "head_girth": 0.12}.get(name, 0.005)
        assert theirs[name] == pytest.approx(mine[name], rel=tolerance), name
    (found,) = Measurer(twin)(twin.default_shape()[None], np.array([0.05]))
    assert found["stature"].std_m == pytest.approx(0.05, abs=1e-6)
    for name in MEASUREMENTS[1:]:
        assert found[name].std_m > max(0.05 / 1.7, INDIVIDUAL[name]) * found[name].value_m


def test_models_that_cannot_be_measured_are_told(model: AnnyBody):
    with pytest.raises(ValueError, match="all of its vertices"):
        BodyRuler(model.restricted_to(torch.arange(100)))
    renamed = AnnyBody.load()
    renamed.bone_names = tuple(name.replace("upperleg01", "thigh") for name in renamed.bone_names)
    with pytest.raises(ModelFileError, match=r"anny: no bone for the hip; measuring needs one of upperleg01"):
        BodyRuler(renamed)
