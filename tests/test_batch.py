"""The batch runner, with a made-up recoverer in place of the models."""

from __future__ import annotations

import csv
import json
import re
import time
from pathlib import Path
from urllib.parse import unquote

import pytest

from metrichmsr.batch import run_batch
from metrichmsr.errors import InputError, MissingPackageError, ModelFileError, UsageError
from metrichmsr.export import read_result, report_index
from metrichmsr.images import InputItem


class Recoverer:
    """Notes what it was asked; a "photo" is its path."""

    def __init__(self, make_recovery):
        self.make_recovery = make_recovery
        self.asked: list[str] = []
        self.answers = {}

    def __call__(self, photo: str):
        self.asked.append(photo)
        answer = self.answers.get(photo, 2)
        if isinstance(answer, BaseException):
            raise answer
        return self.make_recovery(photo, answer)


@pytest.fixture
def recoverer(make_recovery):
    return Recoverer(make_recovery)


@pytest.fixture
def run(recoverer, tmp_path):
    def run(items, formats=("ply",), **options):
        return run_batch(items, recoverer, tmp_path, formats=formats, **options)

    return run


def item(name: str, *, error: Exception | None = None, stem: str | None = None, frame: int | None = None) -> InputItem:
    def read():
        if error is not None:
            raise error
        return name

    return InputItem(path=Path(name), stem=stem or Path(name).stem, read=read, frame=frame)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_done(run, recoverer, tmp_path, capsys):
    results = []
    report = run([item("a.jpg"), item("b.jpg"), item("c.jpg")], on_result=lambda *result: results.append(result))
    assert (report.exit_status, report.done, report.people, report.failures) == (0, 3, 6, [])
    assert recoverer.asked == ["a.jpg", "b.jpg", "c.jpg"]
    assert visible(tmp_path) == ["a", "b", "c", "people.csv"]
    assert [folder.name for folder, _ in results] == ["a", "b", "c"]
    assert results[1][1] == read_result(tmp_path / "b" / "result.json")
    out, err = capsys.readouterr()
    assert out == ""
    assert "3/3" in err, "a progress bar on stderr"


def test_a_single_image_shows_no_bar_and_makes_no_table(run, tmp_path, capsys):
    report = run([item("a.jpg")], total=1)
    assert report.exit_status == 0
    assert report.table is None
    assert visible(tmp_path) == ["a"]
    assert capsys.readouterr() == ("", "")


def test_failures_are_named_and_the_rest_is_done(run, recoverer, tmp_path, capsys):
    recoverer.answers = {"d.jpg": ValueError("two\nlines"), "e.jpg": RuntimeError()}
    report = run(
        [
            item("none.jpg", error=InputError("none.jpg: no such file")),
            item("a.jpg"),
            item("b.jpg", error=InputError("b.jpg: truncated")),
            item("d.jpg"),
            item("e.jpg"),
            item("f.jpg"),
        ]
    )
    assert report.exit_status == 1
    assert (report.done, report.images) == (2, 6)
    assert visible(tmp_path) == ["a", "f", "failures.json", "people.csv"]
    assert json.loads((tmp_path / "failures.json").read_text()) == [
        {"path": "none.jpg", "error": "InputError", "message": "none.jpg: no such file"},
        {"path": "b.jpg", "error": "InputError", "message": "b.jpg: truncated"},
        {"path": "d.jpg", "error": "ValueError", "message": "two lines"},
        {"path": "e.jpg", "error": "RuntimeError", "message": "no message"},
    ]
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("metrichmsr: ")]
    assert lines == [
        "metrichmsr: error: none.jpg: no such file",
        "metrichmsr: error: b.jpg: truncated",
        "metrichmsr: error: d.jpg: ValueError: two lines",
        "metrichmsr: error: e.jpg: RuntimeError: no message",
    ]


def test_failures_of_an_earlier_run_are_forgotten(run, tmp_path):
    assert run([item("a.jpg", error=InputError("a.jpg: bad"))], total=1).exit_status == 1
    assert visible(tmp_path) == ["failures.json"]
    assert run([item("a.jpg")], total=1).exit_status == 0
    assert visible(tmp_path) == ["a"]


def test_nothing_is_asked_about_what_cannot_be_read(run, recoverer):
    run([item("a.jpg", error=InputError("a.jpg: bad")), item("b", error=InputError("b: bad"))])
    assert recoverer.asked == []


@pytest.mark.parametrize(
    "error",
    [ModelFileError("anny.npz: missing"), UsageError("--length: nonsense"), MissingPackageError("moge: not installed")],
)
def test_what_concerns_the_whole_run_ends_it(run, recoverer, tmp_path, error):
    recoverer.answers = {"b.jpg": error}
    with pytest.raises(type(error)):
        run([item("bad.jpg", error=InputError("bad.jpg: bad")), item("a.jpg"), item("b.jpg"), item("c.jpg")])
    assert recoverer.asked == ["a.jpg", "b.jpg"]
    assert visible(tmp_path) == ["a", "failures.json", "people.csv"]
    assert json.loads((tmp_path / "failures.json").read_text())[0]["path"] == "bad.jpg"


def test_interrupted(run, recoverer, tmp_path, capsys):
    recoverer.answers = {"c.jpg": KeyboardInterrupt()}
    report = run([item("a.jpg"), item("b.jpg"), item("c.jpg"), item("d.jpg")])
    assert report.exit_status == 130
    assert report.done == 2
    assert visible(tmp_path) == ["a", "b", "people.csv"]
    assert read_result(tmp_path / "b" / "result.json")["image"]["path"] == "b.jpg"
    assert "interrupted" in capsys.readouterr().err


def test_warnings_are_told(run, recoverer, make_recovery, capsys):
    recoverer.make_recovery = lambda path, people: make_recovery(path, 0, warnings=("nobody was found",))
    report = run([item("a.jpg")], total=1)
    assert report.exit_status == 0
    assert report.people == 0
    assert capsys.readouterr().err == "metrichmsr: warning: a.jpg: nobody was found\n"


def test_finished_results_are_kept(run, recoverer, tmp_path):
    run([item("x/a.jpg"), item("y/a.jpg", stem="a_2")])
    before = (tmp_path / "a" / "result.json").stat()
    (tmp_path / "a_2" / "result.json").write_text("{")
    recoverer.asked.clear()
    told = []
    # A third image has come between, and the numbering has shifted: only "a" is still what it says.
    report = run(
        [item("x/a.jpg"), item("w/a.jpg", stem="a_2"), item("y/a.jpg", stem="a_3")],
        skip_existing=True,
        on_result=lambda folder, document: told.append(folder.name),
    )
    assert recoverer.asked == ["w/a.jpg", "y/a.jpg"]
    assert (report.done, report.skipped, report.people) == (2, 1, 6)
    assert (tmp_path / "a" / "result.json").stat() == before
    assert told == ["a", "a_2", "a_3"]
    assert len((tmp_path / "people.csv").read_text().splitlines()) == 1 + 6


def test_a_result_of_another_image_is_not_replaced_without_a_word(run, tmp_path, capsys):
    run([item("x/a.jpg")])
    run([item("x/a.jpg")])
    assert "replaced" not in capsys.readouterr().err
    run([item("y/a.jpg")])
    assert f"{tmp_path / 'a'} held the result of x/a.jpg, which this one replaced" in capsys.readouterr().err


def test_an_input_that_became_unusable_fails_although_a_result_is_there(run):
    run([item("a.jpg")])
    gone = InputError("a.jpg: no such file")

    def read():
        raise gone

    report = run([InputItem(path=Path("a.jpg"), stem="a", read=read, error=gone)], skip_existing=True)
    assert (report.skipped, report.exit_status) == (0, 1)


def test_nobody_is_asked_when_everything_is_kept(run, recoverer):
    run([item("a.jpg"), item("b.jpg")])
    recoverer.asked.clear()
    report = run([item("a.jpg"), item("b.jpg")], skip_existing=True)
    assert recoverer.asked == []
    assert report.exit_status == 0


def test_frames_of_a_video(run, tmp_path, capsys):
    frames = [item("walk.mp4", stem=f"walk_{i:06d}", frame=i) for i in range(2)]
    frames.append(item("walk.mp4", stem="walk_000002", frame=2, error=InputError("broken packet")))
    report = run(frames)
    assert report.exit_status == 1
    assert read_result(tmp_path / "walk_000001" / "result.json")["image"] == {
        "path": "walk.mp4",
        "width": 160,
        "height": 120,
        "frame": 1,
        "path_from_result": None,
    }
    assert json.loads((tmp_path / "failures.json").read_text())[0]["frame"] == 2
    assert "walk.mp4, frame 2: broken packet" in capsys.readouterr().err
    assert run(frames[:2], skip_existing=True).skipped == 2


def test_table_of_people(run, recoverer, tmp_path):
    recoverer.answers = {"b.jpg": 0}
    run([item("a, or not.jpg"), item("b.jpg"), item("c.jpg", stem="c_2")])
    with (tmp_path / "people.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["folder"], row["id"]) for row in rows] == [
        *(("a, or not", "0"), ("a, or not", "1")),
        *(("c_2", "0"), ("c_2", "1")),
    ]
    for row in rows:
        document = read_result(tmp_path / row["folder"] / "result.json")
        person = document["people"][int(row["id"])]
        assert row["image"] == document["image"]["path"]
        assert row["frame"] == ""
        assert [float(row[key]) for key in ("x_m", "y_m", "z_m")] == person["translation_m"]
        assert [float(row[f"box_{key}"]) for key in ("x0", "y0", "x1", "y1")] == person["box_xyxy"]
        for key in ("height_m", "height_std_m", "distance_m", "distance_std_m", "score", "reprojection_px"):
            assert float(row[key]) == person[key]
        assert row["camera_source"] == "exif"
        K = document["camera"]["K"]
        assert float(row["focal_px"]) == pytest.approx((K[0][0] + K[1][1]) / 2, abs=1e-6)


def test_table_as_parquet(run, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    report = run([item("a.jpg"), item("b.jpg")], table="parquet")
    assert report.table == tmp_path / "people.parquet"
    rows = parquet.read_table(report.table).to_pylist()
    assert [row["folder"] for row in rows] == ["a", "a", "b", "b"]
    assert rows[3]["z_m"] == 5.0
    assert rows[0]["frame"] is None


def test_time_of_reading_is_counted(run, tmp_path):
    def read():
        time.sleep(0.05)
        return "a.jpg"

    run([InputItem(path=Path("a.jpg"), stem="a", read=read)], total=1)
    timings = read_result(tmp_path / "a" / "result.json")["timings_ms"]
    assert timings["read"] >= 50 + 1.234
    assert timings["total"] >= 50
    assert timings["fit"] == 900.0
    assert timings["export"] > 0


def test_tracebacks_on_request(run, recoverer, capsys):
    recoverer.answers = {"a.jpg": ValueError("inner")}
    run([item("a.jpg")], total=1)
    assert "Traceback" not in capsys.readouterr().err
    run([item("a.jpg")], total=1, show_traceback=True)
    assert "Traceback" in capsys.readouterr().err


def links(page: Path) -> list[str]:
    return re.findall(r'href="([^"]*)"', page.read_text(encoding="utf-8"))


def test_an_index_leads_to_the_reports(run, recoverer, tmp_path):
    recoverer.answers = {"b.jpg": 0, "x.jpg": ValueError("<script>")}
    items = [item("a: <b>&?.jpg"), item("b.jpg"), item("x.jpg"), item("bad.jpg", error=InputError("bad.jpg: gone"))]
    report = run(items, formats=("report", "overlay"))
    assert report.index == tmp_path / "index.html"
    text = report.index.read_text(encoding="utf-8")
    assert [(tmp_path / unquote(link)).is_file() for link in links(report.index)] == [True, True]
    assert all(link.startswith("./") for link in links(report.index))
    assert "a: &lt;b&gt;&amp;?.jpg" in text
    assert "1.70 ± 0.06 m, 1.70 ± 0.06 m" in text
    assert "nobody found" in text
    assert "2 images, 2 failed" in text
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "<code>bad.jpg</code>" in text
    assert text.count('src="data:image/jpeg;base64,') == 2
    # A run that goes on has all of them in it again.
    recoverer.answers = {}
    report = run(items[:3], formats=("report", "overlay"), skip_existing=True)
    assert (report.skipped, report.done) == (2, 1)
    assert len(links(tmp_path / "index.html")) == 3
    assert "failed" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_no_index_without_reports_nor_over_a_file_that_is_not_ours(run, tmp_path, capsys):
    assert run([item("a.jpg"), item("b.jpg")]).index is None
    assert not (tmp_path / "index.html").exists()
    (tmp_path / "index.html").write_text("my site")
    report = run([item("a.jpg"), item("b.jpg")], formats=("report",))
    assert (report.index, report.exit_status) == (None, 0)
    assert (tmp_path / "index.html").read_text() == "my site"
    assert "is not ours" in capsys.readouterr().err


def test_the_index_of_a_stopped_run(run, recoverer, tmp_path):
    recoverer.answers = {"c.jpg": KeyboardInterrupt()}
    run([item("a.jpg"), item("b.jpg"), item("c.jpg")], formats=("report",))
    assert len(links(tmp_path / "index.html")) == 2


def test_an_index_has_its_limits(run, tmp_path, monkeypatch):
    monkeypatch.setattr(report_index, "MOST_ROWS", 2)
    monkeypatch.setattr(report_index, "MOST_THUMBNAILS", 1)
    run([item(f"{name}.jpg") for name in "abcd"], formats=("report", "overlay"))
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert len(links(tmp_path / "index.html")) == 2
    assert text.count("<img") == 1
    assert "And 2 more" in text
