"""The report: everything in one file, escaped, with the numbers of result.json, and sections for what is there."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import json
import os
import re
import stat
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import metrichmsr
from metrichmsr import cli
from metrichmsr.errors import InputError, UsageError
from metrichmsr.export import report_words as words
from metrichmsr.export.atomic import OutputError
from metrichmsr.export.report import date_words
from metrichmsr.export.report_folder import report_on_folder
from metrichmsr.export.report_pdf import find_browser, print_pdf
from metrichmsr.export.report_pictures import depth_pictures, jpeg_picture
from metrichmsr.export.result_folder import read_back
from metrichmsr.export.result_json import read_result
from metrichmsr.export.write import write_recovery
from metrichmsr.scene.anchors import render_anchors
from metrichmsr.structures import AnchorResiduals, Scene

VOID = {"meta", "img", "source", "br", "stop", "rect"}


class Page(HTMLParser):
    """A page taken apart: tags with attributes, headings, text; and whether every tag is closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("h1", "h2"):
            self.headings.append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("style", "title"):
            return
        self.words.append(data)
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings[-1] += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def pictures(self) -> list[str]:
        return [attrs["src"] or "" for tag, attrs in self.tags if tag == "img"] + [
            attrs["srcset"] or "" for tag, attrs in self.tags if tag == "source"
        ]


def parse(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def whole(make_camera, make_person, make_recovery):
    """Factory of a recovery with a scene, two people in it."""

    def make(path="photos/pair.jpg", people=2, **fields):
        camera = fields.pop("camera", None) or make_camera()
        crowd = tuple(make_person(i, (0.2 - 0.9 * i, 0.1, 4.0 + i), camera) for i in range(people))
        anchor = render_anchors(crowd, camera).depth_m if people else np.full((120, 160), np.nan, np.float32)
        depth = np.fmin(anchor, np.float32(6.0))
        residuals = AnchorResiduals(0.213, 0.0456, 0.0321, 0.9, 0.1, 900, {0: 0.02}) if people else None
        scene = Scene(
            depth_m=depth,
            source="embedded",
            refined=bool(people),
            initial_depth_m=1.2 * depth if people else depth,
            anchor_m=anchor,
            refinement="network" if people else "none",
            residuals=residuals,
            ground_normal=np.array([0.0, -1.0, 0.0]),
            ground_offset_m=1.234,
            ground_std_m=0.3,
            world_from_camera=np.eye(4),
            up_source="ground",
            foot_clearance_m={0: 0.4} if people else {},
        )
        return make_recovery(path, crowd, camera=camera, **{"scene": scene, **fields})

    return make


def report_of(recovery, folder: Path, formats=("report",)) -> tuple[Page, dict, Path]:
    folder = write_recovery(recovery, folder, "a", formats=formats)
    return parse(folder / "report.html"), read_result(folder / "result.json"), folder  # pyright: ignore


def test_the_page_needs_nothing_but_itself(whole, tmp_path):
    page, _, folder = report_of(whole(), tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "result.json"]
    assert len(page.pictures) == 6, "photo twice, two views, depth twice"
    for uri in page.pictures:
        kind, data = uri.split(",", 1)
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as picture:
            picture.load()
            assert max(picture.size) <= 1600
    text = re.sub(r"data:image/jpeg;base64,[\w+/=]+", "", (folder / "report.html").read_text(encoding="utf-8"))
    assert "://" not in text
    assert "@import" not in text
    assert "url(" not in text.replace("url(#depth)", "")
    assert {"script", "link", "iframe", "object", "a"}.isdisjoint(tag for tag, _ in page.tags)


def test_pictures_are_told_to_those_who_do_not_see_them(whole, tmp_path):
    page, _, _ = report_of(whole(), tmp_path)
    for tag, attrs in page.tags:
        if tag == "img":
            assert len(attrs["alt"] or "") > 20
            assert int(attrs["width"] or 0) > 0
            assert int(attrs["height"] or 0) > 0
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert ("html", {"lang": "en"}) in page.tags


def test_sections_in_order(whole, tmp_path):
    page, _, _ = report_of(whole(), tmp_path)
    assert page.headings == [
        "pair.jpg",
        "People",
        "Side and top view",
        "Depth",
        "Camera",
        "Ground and camera height",
        "Warnings",
        "Timings",
        "Settings and versions",
    ]


def test_numbers_are_those_of_the_result(whole, tmp_path):
    recovery = whole(settings={"height": "1.82", "focal_35mm": "26.0"}, warnings=("nobody else was seen",))
    page, document, _ = report_of(recovery, tmp_path)
    header, *rows = page.rows[:3]
    assert header[:3] == ["Person", "Stature", "Distance"]
    for row, person in zip(rows, document["people"], strict=True):
        assert row[0] == str(person["id"])
        assert row[1] == f"{person['height_m']:.2f} ± {person['height_std_m']:.2f} m"
        assert row[2] == f"{person['distance_m']:.2f} ± {person['distance_std_m']:.2f} m"
        assert row[3] == f"{100 * person['score']:.0f} %"
        assert row[4] == "teenager", "0.6 by Anny's parameter"
        x0, y0, x1, y1 = person["box_xyxy"]
        assert row[5] == f"x {x0:.0f} to {x1:.0f}, y {y0:.0f} to {y1:.0f}"
    assert "lowest point 0.40 m above the ground" in rows[0][6]
    K = document["camera"]["K"]
    assert f"{K[0][0]:.1f}" in page.text
    focal = (K[0][0] + K[1][1]) / 2
    assert f"{focal:.0f} ± {document['camera']['focal_std_px']:.0f} px" in page.text
    assert f"{document['camera']['fov_x_deg']:.1f}° across" in page.text
    assert "1.23 ± 0.30 m above the ground" in page.text
    for share in ("21.3 %", "4.6 %", "3.2 %"):
        assert share in page.text
    assert "Nobody else was seen." in page.text
    assert "--height 1.82" in page.text
    assert "--focal-35mm 26.0" in page.text
    assert "0.90 s" in page.text, "the fit took 900 ms"
    assert "EXIF" in page.text


@pytest.mark.parametrize(
    "name", ["<b>&.jpg", '"><img src=x onerror=alert(1)>.jpg', "mit Leerzeichen ünd 人.jpg", "{{ 7*7 }}.jpg"]
)
def test_names_are_text_and_nothing_else(whole, tmp_path, name):
    recovery = whole(
        f"photos/{name}",
        warnings=(f"{name} <i>was</i> & is",),
        settings={"intrinsics": name},
        versions={"<u>": name},
    )
    page, _, _ = report_of(recovery, tmp_path)
    assert page.headings[0] == name
    assert page.text.count(name) >= 4
    assert {"b", "i", "u"}.isdisjoint(tag for tag, _ in page.tags)
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert all(uri.startswith("data:") for uri in page.pictures)
    assert any(name in (attrs.get("alt") or "") for tag, attrs in page.tags if tag == "img")


def test_no_scene_no_depth(whole, tmp_path):
    page, _, _ = report_of(whole(scene=None), tmp_path)
    assert "Depth" not in page.headings
    assert "Ground and camera height" not in page.headings
    assert len(page.pictures) == 4


def test_nobody_there(whole, tmp_path):
    page, _, _ = report_of(whole(people=0, warnings=("nobody was found in this picture",)), tmp_path)
    assert "Nobody was found in this photo." in page.text
    assert "Side and top view" not in page.headings
    assert len(page.pictures) == 3, "photo twice, and the depth as it came"
    assert "Small, dark or turned-away people are missed at times." in page.text


def test_what_is_unknown(whole, make_person, tmp_path):
    unsure = make_person(0, height_std_m=np.nan, distance_std_m=np.nan, score=np.nan, shape={})
    recovery = dataclasses.replace(whole(), people=(unsure,), timings_ms={}, versions={})
    scene = dataclasses.replace(recovery.scene, ground_normal=None, ground_offset_m=None, world_from_camera=None)
    camera = recovery.camera.replace(focal_std_px=None, source="given")
    page, document, _ = report_of(dataclasses.replace(recovery, scene=scene, camera=camera), tmp_path)
    row = page.rows[1]
    assert row[1:5] == ["1.70 m", f"{document['people'][0]['distance_m']:.2f} m", "unknown", "not told"]
    assert "No ground was found" in page.text
    assert "in all, without" not in page.text
    assert "nan" not in page.text.lower().split()


def test_depth_of_a_source_without_metres(whole):
    scene = whole().scene
    relative = dataclasses.replace(
        scene,
        initial_depth_m=500 * scene.depth_m,
        residuals=dataclasses.replace(scene.residuals, initial=float("nan")),
    )
    before, after = depth_pictures(relative, "a").pictures
    assert "no metres" in before.caption
    assert "6.0 m" in after.caption
    alone = depth_pictures(dataclasses.replace(relative, initial_depth_m=None), "a")
    assert depth_pictures(relative, "a").ticks == alone.ticks, "the scale is that of the metres"


def test_one_scale_for_before_and_after(whole):
    """The same depth has the same colour in both."""
    scene = whole().scene
    ramp = np.tile(np.linspace(2, 8, 160, dtype=np.float32), (120, 1))
    drawn = depth_pictures(
        dataclasses.replace(scene, depth_m=ramp, initial_depth_m=ramp[:, ::-1].copy(), anchor_m=None), "a"
    )
    assert drawn is not None
    before, after = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))).convert("RGB")).astype(int)
        for picture in drawn.pictures
    )
    assert np.abs(before[:, ::-1] - after).max() < 40
    assert len(drawn.ticks) >= 3
    for tick in drawn.ticks:
        assert float(tick.text.removesuffix(" m")) == pytest.approx(2 * 4**tick.share, rel=0.05)


def test_pictures_stay_small():
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
    assert len(jpeg_picture(noise, alt="noise").uri) < 1.5e6


def test_a_folder_is_reported_as_its_recovery_was(whole, tmp_path, make_camera):
    photo = tmp_path / "pair.png"
    image = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    Image.fromarray(image).save(photo)
    recovery = whole(photo, image=image)
    page, document, folder = report_of(recovery, tmp_path, ("report", "ply", "depth", "overlay"))
    read, drawn_over = read_back(folder, document)
    assert drawn_over is None
    np.testing.assert_array_equal(read.image, image)
    np.testing.assert_allclose(read.people[1].vertices_m, recovery.people[1].vertices_m, atol=1e-5)
    np.testing.assert_array_equal(read.scene.depth_m, recovery.scene.depth_m)
    assert (folder / "report.html").unlink() is None
    again = parse(report_on_folder(folder))
    assert again.headings == page.headings
    assert again.rows == page.rows
    assert len(again.pictures) == len(page.pictures)
    assert [attrs.get("alt") for _, attrs in again.tags] == [attrs.get("alt") for _, attrs in page.tags]

    # Another photo under that name is not taken for it.
    Image.fromarray(255 - image).save(photo)
    read, drawn_over = read_back(folder, document)
    assert drawn_over is not None
    other = parse(report_on_folder(folder))
    assert len(other.pictures) == len(page.pictures) - 1, "no narrow one: labels cannot be drawn anew"


def test_the_photo_is_known_again_under_people_who_fill_it(whole, make_person, make_camera, tmp_path):
    photo = tmp_path / "near.png"
    image = np.random.default_rng(2).integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    Image.fromarray(image).save(photo)
    near = make_person(0, (0.0, 0.0, 0.8), make_camera())
    recovery = dataclasses.replace(whole(photo, image=image, scene=None), people=(near,))
    _, document, folder = report_of(recovery, tmp_path, ("report", "ply", "overlay"))
    assert read_back(folder, document).drawn_over is None


def test_a_folder_with_less_in_it(whole, tmp_path):
    _, _, folder = report_of(whole(), tmp_path, ("ply", "overlay", "depth", "report"))
    (folder / "person_1.ply").unlink()
    assert len(parse(report_on_folder(folder)).pictures) == 3, "the overlay, and depth"
    (folder / "overlay.png").unlink()
    (folder / "depth.npz").unlink()
    page = parse(report_on_folder(folder))
    assert page.pictures == []
    assert "saved without its pictures" in page.text
    assert "not saved with this result" in page.text
    assert page.rows[1][1] == "1.70 ± 0.06 m"


def test_results_of_older_versions(whole, tmp_path):
    _, _, folder = report_of(whole(), tmp_path, ("report", "ply"))
    path = folder / "result.json"
    document = json.loads(path.read_text())
    del document["settings"], document["image"]["frame"], document["camera"]["distortion"]
    for key in ("refinement", "residuals", "world_from_camera", "up_source", "foot_clearance_m"):
        del document["scene"][key]
    for person in document["people"]:
        del person["joints_3d_m"], person["reprojection_px"]
    path.write_text(json.dumps(document))
    assert "not recorded" in parse(report_on_folder(folder)).text


@pytest.mark.parametrize("name", ["person_0.ply", "depth.npz", "overlay.png", "result.json"])
def test_damaged_files_are_named(whole, tmp_path, name):
    _, _, folder = report_of(whole(), tmp_path, ("ply", "overlay", "depth", "report"))
    before = (folder / "report.html").read_bytes()
    (folder / name).write_bytes(b"damaged")
    with pytest.raises(InputError, match=name):
        report_on_folder(folder)
    assert (folder / "report.html").read_bytes() == before


def test_the_verb(whole, tmp_path, capsys, monkeypatch):
    for name in ("b", "a"):
        write_recovery(whole(), tmp_path, name, formats=())
    (tmp_path / ".a.12345678.partial").mkdir()
    assert cli.main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a' / 'report.html'}\n{tmp_path / 'b' / 'report.html'}\n"
    (tmp_path / "a" / "result.json").write_text("{")
    assert cli.main(["report", str(tmp_path), str(tmp_path / "none")]) == 1
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'b' / 'report.html'}\n"
    assert str(tmp_path / "a" / "result.json") in err
    assert f"{tmp_path / 'none'}: no such file or folder" in err
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("metrichmsr.export.report_pdf._PLACES", {})
    assert cli.main(["report", str(tmp_path / "b"), "--pdf"]) == 2
    assert "--pdf needs Chromium" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for the browser")
def test_printing(tmp_path):
    """What the browser is asked, and what becomes of one that fails."""
    page = tmp_path / "a b&.html"
    page.write_text("<p>")
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\nfor a; do case "$a" in --print-to-pdf=*) echo "$@" > "${a#*=}";; esac; done\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    print_pdf(page, tmp_path / "report.pdf", find_browser(browser))
    asked = (tmp_path / "report.pdf").read_text()
    assert asked.rstrip().endswith("/a%20b%26.html")
    assert "--headless" in asked
    browser.write_text("#!/bin/sh\necho no display >&2\nexit 3\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(OutputError, match="no display"):
        print_pdf(page, tmp_path / "other.pdf", browser)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    with pytest.raises(UsageError, match="no such program"):
        find_browser(tmp_path / "nothing")


def test_notes_on_people(whole, tmp_path):
    document = report_of(whole(scene=None), tmp_path)[1]
    person = document["people"][0]
    for name, point in person["keypoints_2d_px"].items():
        point[2] = 0.1 if name.endswith(("knee", "ankle")) else 0.9
    person["box_xyxy"] = [20.0, 10.0, 60.0, 119.8]
    assert words.notes(person, document) == ["hidden below the hips", "reaches the picture's lower edge"]
    for point in person["keypoints_2d_px"].values():
        point[2] = 0.9
    person["box_xyxy"] = [20.0, 10.0, 60.0, 100.0]
    assert words.notes(person, document) == []
    document["settings"] = {"height": "1.82"}
    assert words.notes(person, document) == []
    person["height_std_m"] = 0.0
    assert words.notes(person, document) == ["stature as it was stated"]
    assert words.quantity(1.82, 0.0, "m") == "1.82 m"


@pytest.mark.parametrize(
    ("age", "group"),
    [(-1 / 3, "baby"), (0.1, "toddler"), (1 / 3, "child"), (0.5, "teenager"), (0.75, "adult"), (1.0, "elder")],
)
def test_ages(whole, tmp_path, age, group):
    person = report_of(whole(scene=None, people=1), tmp_path)[1]["people"][0]
    person["shape"]["age"] = age
    assert words.age_group(person) == group
    assert words.age_group({**person, "body_model": "smpl"}) is None


def test_every_explained_warning_exists() -> None:
    """A warning that was reworded would lose its explanation without a sound."""
    sources = Path(metrichmsr.__file__).parent.rglob("*.py")
    text = " ".join(path.read_text(encoding="utf-8") for path in sources if path.name != "report_words.py")
    joined = re.sub(r'"\s*\n\s*f?"', "", text)
    assert [part for part, _ in words.MEANINGS if part not in joined] == []


@pytest.mark.parametrize(
    "source", ["given", "sidecar", "exif", "estimated:panorama", "estimated:moge", "assumed", "odd"]
)
def test_every_source_of_the_camera_is_explained(whole, make_camera, tmp_path, source):
    page, _, _ = report_of(whole(camera=make_camera(source=source), scene=None, people=1), tmp_path)
    assert words.origin(source).how in page.text


def test_dates_in_words():
    assert date_words(datetime(2026, 3, 1, 9, 5)) == "1 March 2026, 09:05"
