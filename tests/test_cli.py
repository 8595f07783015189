"""The command line, with a made-up recoverer in place of the models; inputs and outputs are real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metrichmsr
from metrichmsr import cli, cli_recover
from metrichmsr.errors import InputError, ModelFileError, UsageError
from metrichmsr.export import read_result


@pytest.fixture
def fake(monkeypatch, make_recovery, make_camera):
    """Replaces the models; records the options they were made with."""

    class FakeRecoverer:
        made: list[tuple] = []  # noqa: RUF012
        asked = 0
        warnings: tuple[str, ...] = ()
        error: BaseException | None = None

        def __init__(self, options, *, device=None):
            self.made.append((options, device))

        def __call__(self, photo):
            type(self).asked += 1
            if self.error is not None:
                raise self.error
            sys.stdout.write("a library that talks\n")
            height, width = photo.rgb.shape[:2]
            return make_recovery(photo.path, 2, camera=make_camera(width, height), warnings=self.warnings)

    FakeRecoverer.made = []
    monkeypatch.setattr(cli_recover, "Recoverer", FakeRecoverer)
    return FakeRecoverer


@pytest.fixture
def photo(tmp_path):
    """Factory of small photos on disk."""

    def make(name: str, size=(64, 48)) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (90, 120, 60)).save(path)
        return path

    return make


@pytest.fixture
def recover(fake, tmp_path, capsys):
    """Runs ``metrichmsr recover … --out tmp/out --save ply,glb``; returns status, stdout, stderr."""

    def run(*args: object):
        status = cli.main(["recover", *map(str, args), "--out", str(tmp_path / "out"), "--save", "ply,glb"])
        return (status, *capsys.readouterr())

    return run


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_photo(recover, photo, fake, tmp_path):
    path = photo("pair.jpg")
    status, out, err = recover(path)
    assert status == 0
    assert visible(tmp_path / "out") == ["pair"]
    assert visible(tmp_path / "out" / "pair") == ["person_0.ply", "person_1.ply", "result.json", "scene.glb"]
    document = read_result(tmp_path / "out" / "pair" / "result.json")
    from_result = Path(os.path.relpath(path, tmp_path / "out" / "pair")).as_posix()
    size = {"width": 64, "height": 48}
    assert document["image"] == {"path": str(path), **size, "frame": None, "path_from_result": from_result}
    assert len(fake.made) == 1
    assert f"{path}: 2 people" in out
    assert "1.70 ± 0.06 m" in out
    assert f"written to {tmp_path / 'out' / 'pair'}: person_0.ply  person_1.ply  result.json  scene.glb" in out
    assert err == "a library that talks\n"


def test_json_has_stdout_to_itself(recover, photo, tmp_path):
    status, out, _ = recover(photo("a.jpg"), "--json")
    assert status == 0
    assert json.loads(out) == json.loads((tmp_path / "out" / "a" / "result.json").read_text())


def test_json_of_many_is_one_line_each(recover, photo):
    paths = [photo(name) for name in ("a.jpg", "b.png", "c.webp")]
    status, out, err = recover(*paths, "--json")
    assert status == 0
    assert [json.loads(line)["image"]["path"] for line in out.splitlines()] == [str(path) for path in paths]
    assert "3/3" in err


def test_a_folder(recover, photo, tmp_path):
    folder = photo("a.jpg").parent
    photo("b.jpg")
    (folder / "notes.txt").write_text("not a photo")
    status, out, _ = recover(folder)
    assert status == 0
    assert visible(tmp_path / "out") == ["a", "b", "people.csv"]
    assert "2 images done, 0 failed; 4 people" in out
    assert f"written to {tmp_path / 'out'}: a folder per image, and everybody in people.csv" in out


def test_repeating_names_get_numbers(recover, photo, tmp_path):
    status, *_ = recover(photo("x/a.jpg"), photo("y/a.jpg"), photo("z/a.png"))
    assert status == 0
    assert visible(tmp_path / "out") == ["a", "a_2", "a_3", "people.csv"]
    paths = [read_result(tmp_path / "out" / stem / "result.json")["image"]["path"] for stem in ("a", "a_2", "a_3")]
    assert [Path(path).parent.name for path in paths] == ["x", "y", "z"]


def test_bad_inputs_fail_alone(recover, photo, fake, tmp_path):
    bad = tmp_path / "in" / "bad.jpg"
    good = photo("good.jpg")
    bad.write_bytes(good.read_bytes()[:200])
    missing, empty = tmp_path / "none.jpg", tmp_path / "empty"
    empty.mkdir()
    status, out, err = recover(bad, missing, empty, good)
    assert status == 1
    assert visible(tmp_path / "out") == ["failures.json", "good", "people.csv"]
    failures = json.loads((tmp_path / "out" / "failures.json").read_text())
    assert [failure["path"] for failure in failures] == [str(bad), str(missing), str(empty)]
    lines = [line for line in err.splitlines() if "metrichmsr: error: " in line]
    assert len(lines) == 3
    for line, path in zip(lines, (bad, missing, empty), strict=True):
        assert str(path) in line
    assert "1 image done, 3 failed" in out
    assert str(tmp_path / "out" / "failures.json") in out


def test_one_bad_input(recover, fake, tmp_path):
    status, out, err = recover(tmp_path / "none.jpg")
    assert status == 1
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("metrichmsr: error: ")
    assert fake.asked == 0, "no models for nothing"
    assert visible(tmp_path / "out") == ["failures.json"]


def test_a_video_frame_by_frame(recover, tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 60 * shade, dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    status, out, _ = recover(path)
    assert status == 0
    assert visible(tmp_path / "out") == ["people.csv", "walk_000000", "walk_000001", "walk_000002"]
    image = read_result(tmp_path / "out" / "walk_000002" / "result.json")["image"]
    assert (image["path"], image["frame"]) == (str(path), 2)
    assert "3 images done" in out


def test_folders_searched_again_give_no_pictures_of_ours(recover, photo, tmp_path):
    folder = photo("a.jpg").parent
    photo("sub/b.jpg")
    photo("done/overlay.png")
    (folder / "done" / "result.json").write_text("{}")
    status, *_ = recover(folder, "--recursive")
    assert status == 0
    assert visible(tmp_path / "out") == ["a", "b", "people.csv"]


def test_reading_options(recover, photo):
    status, _, err = recover(photo("a.jpg", (300, 200)), "--max-megapixels", 0.05)
    assert status == 1
    assert "300×200" in err
    with pytest.raises(UsageError, match="--every"):
        cli_recover.InputOptions(every=0)


def test_warnings_are_told_and_no_failure(recover, photo, fake):
    fake.warnings = ("nobody was found in this picture",)
    path = photo("a.jpg")
    status, _, err = recover(path)
    assert status == 0
    assert f"metrichmsr: warning: {path}: nobody was found in this picture" in err


def test_options_arrive(recover, photo, fake):
    recover(photo("a.jpg"), "--focal-px", 900, "--height", 1.82, "--max-people", 3, "--device", "cpu")
    ((options, device),) = fake.made
    assert (options.focal_px, options.height, options.max_people, device) == (900.0, "1.82", 3, "cpu")


def test_resuming(recover, photo, fake):
    path = photo("a.jpg")
    recover(path)
    status, out, _ = recover(path, "--skip-existing")
    assert status == 0
    assert fake.asked == 1
    assert "2 people" in out


@pytest.mark.parametrize(
    ("args", "cause"),
    [
        (["recover"], "no input"),
        (["recover", "a.jpg", "--depth", "none", "--save", "ply,points"], "there is no depth for points"),
        (["recover", "a.jpg", "--save", "ply,fbx"], "'fbx' is none of ply, glb, overlay, depth, points, report, obj,"),
        (["recover", "a.jpg", "--formats", "amass"], "not anny: recover with --body-model smpl"),
        (["recover", "a.jpg", "--max-people", "0"], "--max-people"),
        (["recover", "a.jpg", "--every", "0"], "--every"),
        (["recver", "a.jpg"], "did you mean 'recover'?"),
        (["version", "x"], "takes no arguments"),
        (["dance"], "verbs are recover, "),
    ],
)
def test_bad_usage_is_one_line_and_status_2(fake, capsys, tmp_path, monkeypatch, args, cause):
    monkeypatch.chdir(tmp_path)
    assert cli.main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("metrichmsr: error: ")
    assert err.count("\n") == 1
    assert cause in err
    assert visible(tmp_path) == []


@pytest.mark.parametrize("args", [["recover", "a", "--fov", "wide"], ["recover", "a", "--nonsense"], ["doctor", "x"]])
def test_mistyped_options_are_status_2(capsys, args):
    with pytest.raises(SystemExit) as caught:
        cli.main(args)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert args[-1] in err


def test_a_photo_without_verb_gets_advice(photo, capsys):
    path = photo("a.jpg")
    assert cli.main([str(path)]) == 2
    assert f"metrichmsr recover {path}" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_is_told_before_any_model_is_loaded(photo, fake, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli.main(["recover", str(photo("a.jpg")), "--out", str(tmp_path / "file" / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"metrichmsr: error: {tmp_path / 'file' / 'out'}: cannot write here: Not a directory\n"
    assert fake.asked == 0


def test_a_missing_model_ends_the_run(recover, photo, fake, tmp_path):
    fake.error = ModelFileError("anny.npz: missing; reinstall metrichmsr")
    status, out, err = recover(photo("a.jpg"), photo("b.jpg"))
    assert status == 2
    assert out == ""
    assert "metrichmsr: error: anny.npz: missing; reinstall metrichmsr\n" in err


def test_debug_shows_tracebacks(recover, photo, fake):
    fake.error = InputError("K is for another size")
    path = photo("a.jpg")
    assert "Traceback" not in recover(path)[2]
    assert "Traceback" in recover(path, "--debug")[2]


def test_help(capsys):
    assert cli.main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for verb in ("recover", "doctor", "licenses", "version"):
        assert f"\n  {verb} " in out
    assert cli.main([]) == 2
    with pytest.raises(SystemExit) as caught:
        cli.main(["recover", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in ("--out", "--save", "--json", "--focal-px", "--height", "--boxes", "INPUT"):
        assert option in text


def test_version(capsys):
    for args in (["--version"], ["version"], ["-V"]):
        assert cli.main(args) == 0
        assert capsys.readouterr().out == f"metrichmsr {metrichmsr.__version__}\n"
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{metrichmsr.__version__}"' in project


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_nothing_heavy_is_imported_early():
    loaded = python(
        "import sys, metrichmsr, metrichmsr.cli as cli; cli.main(['--help']); cli.main(['--version']);"
        "metrichmsr.Camera, metrichmsr.COCO17; print('LOADED', *sys.modules)"
    ).split("LOADED")[1]
    assert not {"torch", "cv2", "trimesh", "scipy", "av", "PIL"} & set(loaded.split())
    # Help of the verb and its mistakes need the options, not the networks.
    loaded = python("import sys, metrichmsr.cli as cli; cli.main(['recover']); print('LOADED', *sys.modules)").split(
        "LOADED"
    )[1]
    assert "torch" not in loaded.split()
    # torch's compiler is a thousand modules: a fifth of the time to the first result, for nothing.
    loaded = python("import sys, metrichmsr.recover, metrichmsr.hmr.regress; print('LOADED', *sys.modules)")
    assert "torch._dynamo" not in loaded.split()


def test_public_names():
    assert python("import metrichmsr.recover, metrichmsr; print(callable(metrichmsr.recover))") == "True\n"
    assert python("from metrichmsr import recover, Camera; print(recover.__module__)") == "metrichmsr.recover\n"
    assert set(metrichmsr.__all__) <= set(dir(metrichmsr))
    for name in metrichmsr.__all__:
        assert getattr(metrichmsr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        metrichmsr.nonsense  # noqa: B018


def test_as_a_process(tmp_path):
    """The entry point of ``python -m``: a status, one line, no traceback; and a reader that goes away early."""
    run = subprocess.run(
        [sys.executable, "-m", "metrichmsr", "recover", "none.jpg"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith("metrichmsr: error: none.jpg")
    assert run.stderr.count("\n") == 1
    read_end, write_end = os.pipe()
    os.close(read_end)
    broken = subprocess.run([sys.executable, "-m", "metrichmsr", "--help"], stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert broken.stderr == b""
    assert broken.returncode == 141


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_threads_do_not_wait_awake_unless_told_to(monkeypatch, capsys, given, spins):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["version"]) == 0
    assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_threads_are_told_before_torch_is_loaded():
    """OpenMP reads its settings once, when torch loads it."""
    code = "import sys, metrichmsr.cli; metrichmsr.cli.own_process.settle(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("verb", ["recover", "measure"])
@pytest.mark.parametrize(
    ("option", "content"),
    [
        ("--boxes", '{"a": 3'),
        ("--intrinsics", '{"K": 3'),
        ("--intrinsics", '{"K": [[1, 2], [3, 4]]}'),
        ("--intrinsics", '{"K": [[0.9, 0, 0.5], [0, 1.2, 0.5], [0, 0, 1]]}'),
        ("--intrinsics", None),
    ],
)
def test_files_that_cannot_be_used_stop_the_run(tmp_path, photo, capsys, monkeypatch, verb, option, content):
    monkeypatch.chdir(tmp_path)
    file = Path("given.json")
    if content is not None:
        file.write_text(content)
    assert cli.main([verb, str(photo("a.jpg")), str(photo("b.jpg")), option, str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"metrichmsr: error: {file}: ")
    assert err.count("\n") == 1
    assert not Path("out").exists()


def test_a_focal_length_that_makes_no_sense_stops_the_run(photo, capsys):
    assert cli.main(["recover", str(photo("a.jpg")), "--focal-px", "nan"]) == 2
    assert "--focal-px must be a positive number" in capsys.readouterr().err
