"""The whole way of a real photo, and what the user may ask for on it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metrichmsr.errors import InputError, UsageError
from metrichmsr.export.result_json import result_document
from metrichmsr.images import read_image
from metrichmsr.recover import Recoverer, RecoverOptions, parse_heights, recover
from metrichmsr.structures import COCO17, Camera

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "street.jpg"


@pytest.fixture(scope="module", params=["network", "network, refined", "fit"])
def recoverer(request) -> Recoverer:
    method, _, refined = request.param.partition(", ")
    return Recoverer(RecoverOptions(method=method, refine=bool(refined), depth="none"))


def with_options(recoverer: Recoverer, **options) -> Recoverer:
    """Another recoverer of the same method, with the models that are loaded already."""
    other = Recoverer(replace(recoverer.options, **options))
    models = ("_anny", "fitter", "regressor", "_detector", "_landmarker")
    other.__dict__.update({name: recoverer.__dict__[name] for name in models if name in recoverer.__dict__})
    return other


@pytest.fixture(scope="module")
def street(recoverer):
    return recoverer(PHOTO)


def test_both_people_of_the_demo_photo_are_found(street):
    """The woman walks on the grass, the man stands on the block: boxes drawn by hand."""
    by_hand = np.array([[897, 520, 1105, 935], [612, 75, 725, 450]])
    assert len(street.people) == 2
    for box in by_hand:
        center = (box[:2] + box[2:]) / 2
        inside = [p for p in street.people if (p.box_xyxy[:2] < center).all() and (center < p.box_xyxy[2:]).all()]
        assert len(inside) == 1


def test_bodies_lie_on_the_detected_people(street):
    for person in street.people:
        size = np.ptp(person.box_xyxy[[1, 3]])
        projected = person.keypoints_3d_m @ street.camera.K.T
        projected = projected[:, :2] / projected[:, 2:]
        off = np.linalg.norm(projected - person.keypoints_2d_px[:, :2], axis=1)[person.keypoints_2d_px[:, 2] > 0.6]
        assert np.median(off) < 0.05 * size
        assert person.reprojection_px == pytest.approx(np.median(off), rel=0.5)


def test_people_are_of_human_size_and_in_front(street):
    for person in street.people:
        assert 1.4 < person.height_m < 2.0
        assert 0.02 < person.height_std_m < 0.2
        assert 4 < person.distance_m < 14
        assert person.vertices_m[:, 2].min() > 1
        np.testing.assert_allclose(person.joints_m[0], person.translation_m, atol=1e-5)
        assert person.distance_m == pytest.approx(np.linalg.norm(person.translation_m))


def test_everybody_is_measured(street):
    for person in street.people:
        value_m, std_m = person.measurements["stature"]
        assert value_m == pytest.approx(person.height_m, abs=1e-3)
        assert std_m == pytest.approx(person.height_std_m, rel=0.02)
        assert 0.4 < person.measurements["inseam"].value_m / value_m < 0.5
        waist = person.measurements["waist_girth"]
        assert 0.05 < waist.std_m / waist.value_m < 0.3, "hardly known"


def test_nobody_is_measured_before_somebody_asks(recoverer, monkeypatch):
    calls = []
    real = type(recoverer._measurer).people
    monkeypatch.setattr(type(recoverer._measurer), "people", lambda self, them: calls.append(1) or real(self, them))
    recovery = recoverer(PHOTO)
    assert calls == []
    document = result_document(recovery)
    assert len(calls) == len(recovery.people) == 2
    for person, entry in zip(recovery.people, document["people"], strict=True):
        assert entry["measurements_m"]["inseam"]["value"] == pytest.approx(
            person.measurements["inseam"].value_m, abs=1e-6
        )
    assert len(calls) == 2, "once each"


def test_estimated_camera_says_so_and_its_doubt_is_in_the_distance(street):
    assert street.camera.source == "estimated:panorama"
    relative = street.camera.focal_std_px / street.camera.focal_px
    for person in street.people:
        assert person.distance_std_m / person.distance_m > relative


def test_mask_is_on_the_person(street):
    for person in street.people:
        rows, columns = np.nonzero(person.mask)
        x0, y0, x1, y1 = person.box_xyxy
        inside = (columns > x0 - 40) & (columns < x1 + 40) & (rows > y0 - 40) & (rows < y1 + 40)
        assert inside.mean() > 0.95


def test_pose_names_and_shape_names_are_the_body_s(street):
    person = street.people[0]
    assert next(iter(person.pose)) == "root"
    assert len(person.pose) == len(person.joints_m)
    assert set(person.shape) == {"gender", "age", "muscle", "weight", "height", "proportions"}


def test_a_known_height_is_taken_and_closes_the_doubt(recoverer, street):
    result = with_options(recoverer, height="1.65")(PHOTO)
    assert [p.height_m for p in result.people] == pytest.approx([1.65, 1.65], abs=0.005)
    assert all(p.height_std_m < 0.01 for p in result.people)
    assert any("--height" in warning for warning in result.warnings)  # one height, two people


def test_statures_by_id_may_be_a_dict(recoverer):
    result = with_options(recoverer, height={0: 1.6, 1: 1.8})(PHOTO)
    assert [p.height_m for p in result.people] == pytest.approx([1.6, 1.8], abs=0.005)
    assert parse_heights(RecoverOptions(height={0: np.float32(1.5)}).height) == {0: 1.5}  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="--height"):
        Recoverer(RecoverOptions(height={"a": 1.6}))  # pyright: ignore[reportArgumentType]


def test_statures_that_the_body_does_not_reach_are_told(recoverer):
    result = with_options(recoverer, height={0: 2.6, 1: 1.8})(PHOTO)
    told = [warning for warning in result.warnings if "the body model ends there" in warning]
    assert len(told) == 1
    assert told[0].startswith(f"person 0 is {result.people[0].height_m:.2f} m tall, not 2.6 m")


def test_who_is_in_the_picture_is_evidence_for_statures(recoverer):
    if recoverer.options.method == "fit":
        with pytest.raises(UsageError, match="--people goes with --method network"):
            with_options(recoverer, people="adults")
        return
    adults, children = (with_options(recoverer, people=who)(PHOTO).people for who in ("adults", "children"))
    assert all(person.height_m > 1.45 - 0.02 for person in adults)
    assert all(person.height_m < 1.45 + 0.02 for person in children)
    for adult, child in zip(adults, children, strict=True):
        # Half as tall at half the distance: the picture stays as it is.
        assert child.distance_m / adult.distance_m == pytest.approx(child.height_m / adult.height_m, rel=0.02)
        assert child.shape["age"] < adult.shape["age"]


def test_a_given_camera_is_used(recoverer):
    photo = read_image(PHOTO)
    K = np.array([[3000.0, 0, 884], [0, 3000.0, 497], [0, 0, 1]])
    far = recoverer(photo, camera=Camera(K=K, width=1768, height=994, source="given", focal_std_px=0.0))
    assert far.camera.source == "given"
    assert all(p.distance_m > 10 for p in far.people)


def test_a_camera_of_another_size_is_refused(recoverer):
    K = np.array([[1000.0, 0, 320], [0, 1000.0, 240], [0, 0, 1]])
    with pytest.raises(InputError, match=r"640×480.*1768×994"):
        recoverer(PHOTO, camera=Camera(K=K, width=640, height=480, source="given"))


def test_nobody_is_an_answer(recoverer):
    empty = recoverer(np.full((240, 320, 3), 127, np.uint8))
    assert empty.people == ()
    assert any("nobody" in warning for warning in empty.warnings)


def test_arrays_and_photos_are_the_same_as_files(recoverer, street):
    from_array = recoverer(read_image(PHOTO).rgb)
    for a, b in zip(from_array.people, street.people, strict=True):
        np.testing.assert_allclose(a.translation_m, b.translation_m, rtol=1e-3)


def test_a_known_length_fixes_the_distance_of_the_nearest_person(recoverer):
    """The woman is 1.65 m: her box, 420 pixels high, taken as that length puts her at focal · 1.65 / 420."""
    result = with_options(recoverer, length=(1000.0, 515.0, 1000.0, 935.0, 1.65))(PHOTO)
    expected = result.camera.focal_px * 1.65 / 420
    nearest = min(result.people, key=lambda p: abs(p.translation_m[2] - expected))
    assert nearest.translation_m[2] == pytest.approx(expected, rel=0.01)
    assert any("known length" in warning for warning in result.warnings)
    assert not any("implausible" in warning for warning in result.warnings)
    # The stature follows from the distance, and is as doubtful.
    assert nearest.height_std_m > 0.01 * nearest.height_m


def test_a_length_outside_the_picture_is_not_used(recoverer, street):
    result = with_options(recoverer, length=(5000.0, 515.0, 5000.0, 935.0, 1.65))(PHOTO)
    assert any("--length is not used: an end lies outside this picture" in told for told in result.warnings)
    assert result.people[0].height_m == pytest.approx(street.people[0].height_m, rel=0.01)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.82", 1.82), ('{"0": 1.82, "3": 1.1}', {0: 1.82, 3: 1.1}), (None, None)],
)
def test_heights_are_read(text, expected):
    assert parse_heights(text) == expected


def test_heights_are_read_from_a_file(tmp_path):
    file = tmp_path / "heights.json"
    file.write_text('{"1": 1.7}')
    assert parse_heights(str(file)) == {1: 1.7}


@pytest.mark.parametrize("text", ["182", "-1", "nan", "tall", '{"0": "x"}', "[1.8]", '{"-1": 1.8}', "missing.json"])
def test_heights_that_make_no_sense_are_refused(text):
    with pytest.raises(UsageError, match="--height"):
        parse_heights(text)


@pytest.mark.parametrize(
    ("people", "height"), [("adults", "0.9"), ("children", "1.9"), ("adults", '{"0": 1.8, "1": 1.1}')]
)
def test_statures_that_those_in_the_picture_do_not_have_are_refused(people, height):
    with pytest.raises(UsageError, match=f"--people {people} contradicts --height"):
        Recoverer(RecoverOptions(people=people, height=height))


def test_statures_of_those_in_the_picture_are_taken():
    for people, height in (("adults", "1.8"), ("children", '{"0": 1.2}'), ("anybody", '{"0": 1.2, "1": 1.8}')):
        Recoverer(RecoverOptions(people=people, height=height))


def test_a_length_at_somebody_of_known_stature_is_told(recoverer):
    result = with_options(recoverer, length=(1000.0, 515.0, 1000.0, 935.0, 1.65), height="1.8")(PHOTO)
    assert any("--length is not used: it lies at person" in told for told in result.warnings)
    assert not any("the known length fixes" in told for told in result.warnings)
    assert [person.height_m for person in result.people] == pytest.approx([1.8, 1.8], abs=0.005)


def test_what_is_told_of_the_file_is_told_of_the_result(recoverer, tmp_path):
    path = tmp_path / "empty.gif"
    grey = Image.new("L", (64, 48), 127)
    grey.save(path, save_all=True, append_images=[Image.new("L", (64, 48), 90)])
    assert any("only the first of the pictures in this file" in told for told in recoverer(path).warnings)


def test_lengths_and_distances_that_make_no_sense_are_told(recoverer):
    far = with_options(recoverer, length=(1000.0, 515.0, 1000.0, 516.0, 400.0))(PHOTO)
    assert sum("implausible --length: it makes what is seen of person" in told for told in far.warnings) == 1
    assert sum("implausible distance: person" in told for told in far.warnings) == 1
    tele = with_options(recoverer, focal_px=1e6)(PHOTO)
    assert sum("implausible field of view" in told for told in tele.warnings) == 1
    assert sum("implausible distance" in told for told in tele.warnings) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"max_people": 0},
        {"length": (0.0, 0, 0, 9, -1.0)},
        {"length": (0.0, 0, 0, 9, np.nan)},
        {"people": "Adults"},
        {"method": "netwrk"},
        {"refine_depth": "foo"},
        {"depth": "none", "depth_unit": "metres"},
        {"min_score": 5},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(UsageError):
        RecoverOptions(**options)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"K": np.eye(3)}, r"K=…: no such option; intrinsics go in as camera=metrichmsr\.Camera\("),
        ({"hight": "1.8"}, "hight=…: no such option; did you mean height?"),
        ({"device": "cpu"}, r"keep a metrichmsr\.Recoverer"),
        ({"height": [1.8]}, "--height must be text, not list; as in"),
        ({"focal_px": "1500"}, "--focal-px must be a number, not '1500'"),
        ({"intrinsics": np.eye(3)}, "--intrinsics must be the path of a file or folder, not ndarray; a K goes in as"),
        ({"boxes": [[1, 2, 30, 40]]}, "--boxes must be the path"),
        ({"max_people": "2"}, "--max-people must be a whole number"),
        ({"length": (1.0, 2.0, 3.0, 4.0)}, "--length wants X0 Y0 X1 Y1 METRES"),
        ({"refine": "no"}, "--refine must be True or False, not 'no'"),
        ({"depth": None}, "--depth must be text, not None; 'none' leaves it out"),
    ],
)
def test_what_is_no_option_in_python_is_told(options, cause):
    with pytest.raises(UsageError, match=cause):
        recover(PHOTO, **options)


def test_options_in_python_may_be_paths_as_text_and_numbers_of_numpy():
    options = RecoverOptions(checkpoint="c.safetensors", height=1.82, focal_px=np.float32(900), max_people=np.int64(3))
    assert (options.checkpoint, options.height, options.max_people) == (Path("c.safetensors"), "1.82", 3)
    assert options.changed()["checkpoint"] == "c.safetensors"


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ([PHOTO, PHOTO], "not of type list; give several one by one"),
        (None, "not of type NoneType"),
        (Image.new("RGB", (64, 48)), r"not of type Image; numpy\.asarray of it"),
        (np.full((48, 64, 3), 200.0), r"must lie in \[0, 1\], found 200 to 200; numbers from 0 to 255 go in as uint8"),
    ],
)
def test_what_is_no_picture_is_told(source, cause):
    with pytest.raises(InputError, match=cause):
        Recoverer(RecoverOptions(depth="none"))(source)


def test_floats_from_0_to_1_are_a_picture():
    empty = Recoverer(RecoverOptions(depth="none"))(np.full((240, 320, 3), 0.5, np.float32))
    assert empty.people == ()
    assert (empty.image == 128).all()


def test_what_is_no_camera_is_told():
    for K in ([[900, 0, 160], [0, 900, 120], [0, 0, 1]], np.eye(4)):
        with pytest.raises(UsageError, match=r"camera is a metrichmsr\.Camera\(.*not of type (list|ndarray)"):
            Recoverer(RecoverOptions(depth="none"))(PHOTO, camera=K)
    for K, cause in ((np.eye(4), "of shape 4×4"), ("K", "matrix of numbers"), ([[1, 2], [3]], "matrix of numbers")):
        with pytest.raises(ValueError, match=cause):
            Camera(K=K, width=64, height=48, source="given")


def test_options_that_are_none_are_told():
    for options in ({"depth": "none"}, PHOTO):
        with pytest.raises(UsageError, match="options are a RecoverOptions"):
            Recoverer(options)


@pytest.mark.parametrize("device", ["foo", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(UsageError, match=f"--device {device}"):
        Recoverer(RecoverOptions(), device=device)


def test_boxes_of_other_pictures_are_told(recoverer, tmp_path):
    boxes = tmp_path / "boxes.json"
    boxes.write_text('{"other.jpg": [[900, 600, 1000, 900]]}')
    recovery = with_options(recoverer, boxes=boxes)(PHOTO)
    assert not recovery.people
    assert "no boxes for street.jpg (it has other.jpg)" in recovery.warnings[0]


def test_a_box_of_five_pixels_gives_an_unsure_answer_and_no_crash(recoverer, tmp_path):
    boxes = tmp_path / "boxes.json"
    boxes.write_text("[[900, 600, 905, 605]]")
    recovery = with_options(recoverer, boxes=boxes)(PHOTO)
    (person,) = recovery.people
    assert np.isfinite([person.height_m, person.distance_m, *person.translation_m]).all()
    assert person.distance_std_m > 0.1 * person.distance_m


def test_a_picture_that_stands_on_its_head(recoverer):
    turned = np.ascontiguousarray(read_image(PHOTO).rgb[::-1, ::-1])
    people = recoverer(turned).people
    assert people
    for person in people:
        assert 1.2 < person.height_m < 2.1
        head, feet = person.keypoints_3d_m[0, 1], person.keypoints_3d_m[15:, 1].mean()
        assert head > feet, "y runs down: the head is the lower end"


def test_other_options_share_the_models_that_are_the_same():
    base = Recoverer(RecoverOptions(depth="none"))
    base.load()
    same = base.with_options(RecoverOptions(depth="none", people="adults", height="1.8"))
    assert same.options.people == "adults"
    for name in ("regressor", "fitter", "_detector", "_landmarker", "_scene", "_measurer"):
        assert same.__dict__[name] is base.__dict__[name], name
    other = base.with_options(RecoverOptions(depth="embedded", checkpoint=Path("other.safetensors")))
    assert "_scene" not in other.__dict__
    assert "regressor" not in other.__dict__
    assert other.__dict__["fitter"] is base.__dict__["fitter"]


def test_a_second_look_tells_the_legs_of_the_man_apart(street):
    """At first the landmark network sees both at one place between them."""
    man = street.people[1]
    for joint, apart_px in (("knee", 25), ("ankle", 30)):
        left, right = (man.keypoints_2d_px[COCO17.index(f"{side}_{joint}"), :2] for side in ("left", "right"))
        assert abs(left[0] - right[0]) > apart_px
    ankles = [COCO17.index("left_ankle"), COCO17.index("right_ankle")]
    projected = man.keypoints_3d_m[ankles] @ street.camera.K.T
    off = projected[:, :2] / projected[:, 2:] - man.keypoints_2d_px[ankles, :2]
    assert np.linalg.norm(off, axis=1).max() < 0.06 * (man.box_xyxy[3] - man.box_xyxy[1])
