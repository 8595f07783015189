"""Every example runs as it stands, on small work; the notebook carries no output."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
STREET = EXAMPLES / "photos" / "street.jpg"


def load(name: str) -> ModuleType:
    """The module of an example; its name starts with a number, so that ``import`` does not take it."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def small_photo(tmp_path_factory) -> Path:
    """The street at half its size: quicker to write."""
    path = tmp_path_factory.mktemp("photos") / "street.jpg"
    image = Image.open(STREET)
    image.resize((image.width // 2, image.height // 2)).save(path, quality=95)
    return path


@pytest.fixture(scope="module")
def result_folder(small_photo, tmp_path_factory) -> Path:
    recovery, folder = load("01_photo").main([str(small_photo), "--out", str(tmp_path_factory.mktemp("out"))])
    assert len(recovery.people) == 2
    return folder


def test_all_examples_are_tested() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == [
        "01_photo",
        "02_own_intrinsics",
        "03_folder_to_parquet",
        "04_own_detector_boxes",
        "05_measure",
        "06_train_tiny",
        "07_blender",
    ]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_says_what_it_shows_and_where_to_write(path: Path, capsys) -> None:
    if path.stem == "06_train_tiny":
        pytest.importorskip("accelerate")
    example = load(path.stem)
    with pytest.raises(SystemExit) as stop:
        example.main(["--help"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    assert "--out" in told
    assert example.__doc__.split()[0] in told


def test_photo(result_folder: Path) -> None:
    result = json.loads((result_folder / "result.json").read_text())
    assert len(result["people"]) == 2
    assert {"overlay.png", "scene.glb", "depth.npz"} <= {path.name for path in result_folder.iterdir()}


@pytest.mark.slow
def test_own_intrinsics_change_distances_not_statures(small_photo: Path, tmp_path: Path) -> None:
    results = load("02_own_intrinsics").main([str(small_photo), "--out", str(tmp_path)])
    nothing, lens, file, exif = results.values()
    assert [recovery.camera.source for recovery in results.values()] == [
        "estimated:panorama",
        "given",
        "given",
        "exif",
    ], "and the intrinsics file is not taken for the copy's sidecar"
    assert exif.camera.focal_px == pytest.approx(lens.camera.focal_px), "one number, one meaning"
    assert exif.camera.focal_std_px > lens.camera.focal_std_px, "the tag has whole millimetres"
    ratio = lens.camera.focal_px / nothing.camera.focal_px
    for before, after, as_file in zip(nothing.people, lens.people, file.people, strict=True):
        assert after.distance_m / before.distance_m == pytest.approx(ratio, rel=0.1)
        assert after.height_m == pytest.approx(before.height_m, abs=0.1)
        assert as_file.distance_m == pytest.approx(after.distance_m, rel=1e-6)
        assert after.distance_std_m < before.distance_std_m


@pytest.mark.slow
def test_folder_to_table(small_photo: Path, tmp_path: Path, capsys) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (photos / name).write_bytes(small_photo.read_bytes())
    (photos / "broken.jpg").write_bytes(b"no picture")
    example = load("03_folder_to_parquet")
    report = example.main([str(photos), "--out", str(tmp_path / "out")])
    assert (report.done, len(report.failures), report.people) == (2, 1, 4)
    assert len(example.read_table(report.table)) == 4
    again = example.main([str(photos), "--out", str(tmp_path / "out")])
    assert (again.done, again.skipped) == (0, 2)


def test_table_is_read_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("folder,id,height_m\na,0,1.7\nb,1,1.6\n")
    rows = load("03_folder_to_parquet").read_table(path)
    assert [float(row["height_m"]) for row in rows] == [1.7, 1.6]


def test_own_detector(tmp_path: Path) -> None:
    example = load("04_own_detector_boxes")
    by_file, by_function = example.main(["--out", str(tmp_path)]).values()
    np.testing.assert_allclose([person.box_xyxy for person in by_file.people], example.BOXES)
    assert {tuple(person.box_xyxy) for person in by_function.people} == set(map(tuple, example.BOXES))
    heights = [sorted(person.height_m for person in recovery.people) for recovery in (by_file, by_function)]
    np.testing.assert_allclose(*heights, atol=0.02)


def test_measure(small_photo: Path, tmp_path: Path) -> None:
    example = load("05_measure")
    before, after = example.main([str(small_photo), "--height", "1.65", "--of", "0", "--out", str(tmp_path)])
    assert after.people[0].height_m == pytest.approx(1.65, abs=1e-3)
    assert after.people[0].distance_std_m < before.people[0].distance_std_m
    assert 1 < example.between_m(after, 0, 1) < 6
    with (tmp_path / "measurements.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stature = [row for row in rows if row["id"] == "0" and row["measurement"] == "stature"]
    assert float(stature[0]["value_m"]) == pytest.approx(1.65, abs=1e-3)


@pytest.mark.slow
def test_train_tiny(small_photo: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    arguments = [str(small_photo), "--samples", "32", "--steps", "10", "--out", str(tmp_path)]
    checkpoint, recovery = load("06_train_tiny").main(arguments)
    assert checkpoint.is_file()
    assert len(recovery.people) == 2
    assert recovery.versions["checkpoint"].startswith("best:")


@pytest.mark.parametrize(
    "K",
    [
        [[800.0, 0, 320], [0, 800, 240], [0, 0, 1]],
        [[800.0, 0, 250], [0, 800, 300], [0, 0, 1]],
        [[700.0, 0, 250], [0, 900, 300], [0, 0, 1]],
        [[900.0, 0, 400], [0, 700, 100], [0, 0, 1]],
    ],
)
def test_blender_camera_sees_what_ours_sees(K: list[list[float]]) -> None:
    """Against the view plane of Blender's source (BKE_camera_params_compute_viewplane), in camera coordinates."""
    width, height, example = 640, 480, load("07_blender")
    s = example.camera_settings(K, width, height)
    assert min(s["pixel_aspect_x"], s["pixel_aspect_y"]) == 1, "Blender takes none below 1"
    aspect = s["pixel_aspect_y"] / s["pixel_aspect_x"]
    pixel = example.SENSOR_MM / width  # of a sensor that is fitted to the width
    left = (-width / 2 + s["shift_x"] * width) * pixel
    top = (aspect * height / 2 + s["shift_y"] * width) * pixel
    points = np.random.default_rng(0).uniform((-1, -1, 2), (1, 1, 6), (20, 3))  # camera frame: y down, z forward
    on_sensor = s["lens"] * points[:, :2] * (1, -1) / points[:, 2:]  # y up
    seen = np.stack([(on_sensor[:, 0] - left) / pixel, (top - on_sensor[:, 1]) / (pixel * aspect)], axis=-1)
    projected = points @ np.array(K).T
    np.testing.assert_allclose(seen, projected[:, :2] / projected[:, 2:], atol=1e-9)


def test_blender_camera_stands_where_the_photo_was_taken() -> None:
    example = load("07_blender")
    level = example.camera_matrix(None)
    np.testing.assert_allclose(level[:3, :3] @ (0, 0, -1), (0, 1, 0), err_msg="looks along Blender's y")
    np.testing.assert_allclose(level[:3, :3] @ (0, 1, 0), (0, 0, 1), err_msg="up is Blender's z")
    turn = np.diag([1.0, -1, -1, 1])
    turn[1, 3] = 1.6  # 1.6 m above the ground, level
    raised = example.camera_matrix(turn)
    np.testing.assert_allclose(raised[:3, 3], (0, 0, 1.6))
    np.testing.assert_allclose(raised[:3, :3], level[:3, :3])


def test_blender_needs_a_result(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        load("07_blender").main([str(tmp_path / "nothing")])
    assert "01_photo.py" in capsys.readouterr().err


@pytest.mark.slow
def test_blender_renders_the_people_over_the_photo(result_folder: Path, tmp_path: Path) -> None:
    """In a process of its own: Blender as a module takes the whole interpreter for itself."""
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("needs bpy")
    command = [sys.executable, str(EXAMPLES / "07_blender.py"), str(result_folder), "--out", str(tmp_path)]
    subprocess.run([*command, "--samples", "1", "--percent", "25"], check=True, capture_output=True)
    alpha = np.asarray(Image.open(tmp_path / "people.png"))[..., 3]
    for person in json.loads((result_folder / "result.json").read_text())["people"]:
        x0, y0, x1, y1 = (round(value / 4) for value in person["box_xyxy"])
        assert (alpha[y0:y1, x0:x1] > 128).mean() > 0.15, "somebody in the box"
        alpha = alpha.copy()
        alpha[max(y0 - 6, 0) : y1 + 6, max(x0 - 12, 0) : x1 + 12] = 0
    assert (alpha > 128).mean() < 0.002, "and nobody elsewhere"


def test_notebook_is_stripped() -> None:
    notebook = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
def test_notebook_runs(tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 4
