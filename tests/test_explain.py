"""Explaining a photo: the pictures show what the numbers say, every network gets what it has, errors name the cause."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metrichmsr import cli
from metrichmsr.cli_recover import _is_result
from metrichmsr.errors import InputError, UsageError
from metrichmsr.explain import Explainer, Explanation, explain
from metrichmsr.export import explain_panels as panels
from metrichmsr.export.explain_pictures import turn_deg
from metrichmsr.export.explain_sheet import Panel, Scale, frame, table
from metrichmsr.export.explain_write import write_explanation
from metrichmsr.hmr.checkpoint import save_network
from metrichmsr.hmr.config import SMALL, NetworkConfig
from metrichmsr.hmr.network import build
from metrichmsr.hmr.routing_maps import TokenLayout
from metrichmsr.recover import RecoverOptions

STREET = Path(__file__).parents[1] / "examples" / "photos" / "street.jpg"
TINY = replace(SMALL, width=24, heads=2, hidden=32, queries=3, slots=2)


@pytest.fixture
def checkpoint(tmp_path):
    """Factory of random networks on disk."""

    def make(config: NetworkConfig = TINY) -> Path:
        torch.manual_seed(0)
        path = tmp_path / "tiny.safetensors"
        save_network(path, build(config), config)
        return path

    return make


@pytest.fixture(scope="module")
def street(tmp_path_factory) -> Explanation:
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    torch.manual_seed(0)
    save_network(path, build(TINY), TINY)
    return explain(STREET, checkpoint=path, focal_px=1500.0)


def test_explanation_of_two_people(street: Explanation) -> None:
    assert len(street.recovery.people) == 2
    assert street.recovery.camera.focal_px == 1500
    assert [layer.name for layer in street.layers] == ["patch 1", "patch 2", "global 1", "global 2"]
    assert street.last_patch_layer is street.layers[1]
    assert street.last_global_layer is street.layers[3]
    crop_from_image = torch.from_numpy(street.landmarks.crop_from_image).double().numpy()
    assert np.allclose(street.K_crop, crop_from_image @ street.recovery.camera.K, rtol=1e-5)
    assert street.notes == ()


def test_files_and_their_json(street: Explanation, tmp_path: Path) -> None:
    (tmp_path / "street").mkdir()
    (tmp_path / "street" / "mine.txt").write_text("kept")
    (tmp_path / "street" / "explain_7_shared.png").write_text("of an older run")
    folder, document = write_explanation(street, tmp_path, "street")
    read = json.loads((folder / "explain.json").read_text(encoding="utf-8"))
    assert read == json.loads(json.dumps(document))
    wanted = {"sheet", "rays", "routed 1", "routed 2", "routed 3", "routed 4", "shared", "ray", "assignment"}
    for person in read["people"]:
        assert set(person["files"]) == wanted
        for name in person["files"].values():
            with Image.open(folder / name) as picture:
                assert min(picture.size) > 300
    assert all(_is_result(folder / name) for person in read["people"] for name in person["files"].values())
    assert not _is_result(tmp_path / "explain_me.png")  # somebody's photo
    on_disk = {path.name for path in folder.iterdir()}
    assert on_disk == {"explain.json", "mine.txt"} | {n for p in read["people"] for n in p["files"].values()}

    person = read["people"][1]
    layer = person["layers"][1]
    weights = np.array(layer["weights"])
    assert weights.shape == (len(person["tokens"]["names"]), 4) == (97, 4)
    assert np.allclose(weights.sum(1), 1, atol=1e-3)
    assert street.last_patch_layer is not None
    assert street.last_patch_layer.routing is not None
    assert np.allclose(weights, street.last_patch_layer.routing.combine[1], atol=1e-4)
    assert layer["assignment"] == [f"routed {k + 1}" for k in weights.argmax(1)]
    experts = {expert["name"]: expert for expert in layer["experts"]}
    assert list(experts) == ["routed 1", "routed 2", "routed 3", "routed 4", "shared", "ray"]
    assert experts["routed 2"]["weight"]["mean"] == pytest.approx(weights[:, 1].mean(), abs=1e-3)
    shares = [e["share_of_image_update"] for e in layer["experts"][:-1]]
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    assert experts["routed 2"]["most_read_by"][0] == person["tokens"]["names"][int(weights[:, 1].argmax())]
    assert "weight" not in experts["shared"]
    K = np.array(person["crop"]["K"])
    corner = np.linalg.inv(K) @ [0, 0, 1]
    low, high = person["crop"]["ray_x_deg"]
    assert low - 0.2 < math.degrees(math.atan2(corner[0], corner[2])) < high + 0.2
    assert read["checkpoint"]["file"] == "tiny.safetensors"


@pytest.mark.parametrize(
    ("change", "missing", "note"),
    [
        ({"moe": False}, {"routed 1", "shared", "ray", "assignment"}, "no mixture of experts"),
        ({"routed_experts": 0}, {"routed 1", "assignment"}, "no routed experts"),
        ({"patch_layers": 0}, {"routed 1", "shared", "ray", "assignment"}, "no Patch MoE"),
        ({"global_layers": 0}, set(), "no Global MoE"),
        ({"features": False}, set(), "landmarks alone"),
        ({"ray_map": False}, {"ray"}, ""),
    ],
)
def test_every_network_gets_the_pictures_it_has(checkpoint, tmp_path, capsys, change, missing, note) -> None:
    config = replace(TINY, **change)
    out = tmp_path / "out"
    arguments = [
        "explain",
        str(STREET),
        "--checkpoint",
        str(checkpoint(config)),
        "--out",
        str(out),
        "--max-people",
        "1",
    ]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    document = json.loads((out / "street" / "explain.json").read_text(encoding="utf-8"))
    assert any(note in line for line in document["notes"]) or not note
    assert note in printed
    files = set(document["people"][0]["files"])
    every = {"sheet", "rays", "routed 1", "routed 2", "routed 3", "routed 4", "shared", "ray", "assignment"}
    gone = missing | ({"routed 2", "routed 3", "routed 4"} if "routed 1" in missing else set())
    assert files == every - gone
    assert str(out / "street" / "explain_0.png") in printed


def test_nobody_in_the_picture(checkpoint, tmp_path, capsys) -> None:
    empty = tmp_path / "wall.png"
    Image.new("RGB", (200, 150), (120, 130, 140)).save(empty)
    out = tmp_path / "out"
    assert cli.main(["explain", str(empty), "--checkpoint", str(checkpoint()), "--out", str(out)]) == 2
    assert "wall.png: nobody was found" in capsys.readouterr().err
    assert not (out / "wall").exists()
    with pytest.raises(InputError, match="nothing to explain"):
        explain(np.full((150, 200, 3), 120, np.uint8), checkpoint=checkpoint())


def test_errors_name_the_cause(tmp_path, capsys) -> None:
    with pytest.raises(UsageError, match="--method fit has no experts"):
        Explainer(RecoverOptions(method="fit"))
    assert cli.main(["explain", str(tmp_path / "none.jpg")]) == 2
    assert "none.jpg: no such file" in capsys.readouterr().err
    missing = tmp_path / "none.safetensors"
    assert cli.main(["explain", str(STREET), "--checkpoint", str(missing), "--out", str(tmp_path / "out")]) == 2
    assert "none.safetensors: no such checkpoint" in capsys.readouterr().err


def test_crop_is_cut_where_the_matrix_says() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:30, 40:50] = (200, 100, 50)
    turned = np.array([[0, 2.0, -36], [-2.0, 0, 104], [0, 0, 1]])  # (u, v) → (2v − 36, 104 − 2u)
    crop = panels.cut_crop(image, turned, 32, 32)
    rows, columns = np.nonzero(crop[..., 0] > 100)
    assert (columns.min(), columns.max()) == (4, 23)  # v from 20 to 30
    assert (rows.min(), rows.max()) == (4, 23)  # u from 40 to 50
    assert tuple(panels.cut_crop(image, np.diag([1.0, 1, 1]), 100, 100)[90, 10]) == (118, 118, 118)  # outside
    assert turn_deg(turned) == pytest.approx(90)


def test_ray_angles_of_a_plain_and_of_a_turned_crop() -> None:
    K = np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]])
    x, y = panels.ray_angles_deg(K, 100, 50)
    assert x[0, 0] == pytest.approx(-math.degrees(math.atan(0.49)))
    assert x[7, -1] == pytest.approx(math.degrees(math.atan(0.49)))
    assert np.allclose(x, y.T)
    quarter = np.array([[0, -1.0, 100], [1, 0, 0], [0, 0, 1]])  # crop's right is the photo's up
    turned_x, turned_y = panels.ray_angles_deg(quarter @ K, 100, 50)
    assert np.allclose(turned_x, np.rot90(x, -1))
    assert np.allclose(turned_y, np.rot90(y, -1))


def test_heat_is_brightest_where_the_weight_is() -> None:
    layout = TokenLayout(33, 2, 2)
    places = np.array([[10.0 + 14 * (i % 6), 10.0 + 14 * (i // 6)] for i in range(33)])
    values = np.zeros(37)
    values[33 + 1] = 1.0  # the cell at the top right
    picture = panels.draw_heat(np.full((100, 100, 3), 60, np.uint8), values, layout, places, low=0.0, high=1.0)
    brightness = picture.astype(float).sum(-1)
    assert brightness[20, 75] > 2 * brightness[80, 75]
    values[:] = 0
    values[32] = 1.0  # the last dot, at (38, 80)
    picture = panels.draw_heat(np.full((100, 100, 3), 60, np.uint8), values, layout, places, low=0.0, high=1.0)
    assert picture[80, 38].sum() > 500
    assert picture[80, 24].sum() < 200


def test_assignment_has_the_colours_of_the_experts() -> None:
    layout = TokenLayout(0, 1, 2)
    picture = panels.draw_assignment(np.zeros((64, 64, 3), np.uint8), np.array([3, 0]), layout, np.zeros((0, 2)), 4)
    for column, expert in ((10, 3), (50, 0)):
        color = np.array(panels.expert_color(expert, 4), float)
        shown = picture[32, column].astype(float) - 10
        assert np.abs(shown / shown.max() - color / color.max()).max() < 0.1
    assert len({panels.expert_color(i, 32) for i in range(32)}) == 32


def test_frames_keep_the_picture_and_tables_leave_gaps() -> None:
    picture = np.full((340, 340, 3), 77, np.uint8)
    scale = Scale(0.1, 0.4, panels.heat_colors, "{:.1f}".format, mark=0.25, mark_text="even")
    framed = np.asarray(frame(Panel(picture, "a title", "a long subtitle " * 10, scale)))
    assert framed.shape[1] == 340
    assert (framed == 77).all(-1).sum() >= 340 * 340
    values = np.array([[1.0, np.nan]])
    shown = np.asarray(
        table(values, ["row"], ["a", "b"], width=200, height=80, title="t", write=str, low=0.0, high=1.0)
    )
    assert (shown[50, 190] == shown[75, 190]).all()
    assert (shown[50, 70] != shown[75, 70]).any()
