"""Damaged asset files are named and skipped, whatever is wrong with their bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metrichmsr.synthetic.assets import AssetFolder
from metrichmsr.synthetic.garments import proxy_from


@pytest.fixture
def folder(tmp_path: Path) -> AssetFolder:
    (tmp_path / "appearance" / "garments").mkdir(parents=True)
    found = AssetFolder.find(tmp_path)
    assert found is not None
    found.problems.clear()
    return found


def garment() -> dict[str, np.ndarray]:
    """A quad on the skin."""
    generator = np.random.default_rng(0)
    return {
        "ref": generator.integers(0, 13380, (4, 3)).astype(np.uint16),
        "w": np.full((4, 3), 1 / 3, dtype=np.float32),
        "off": generator.normal(size=(4, 3)).astype(np.float32),
        "faces": np.array([[0, 1, 2], [0, 2, 3]], dtype=np.uint16),
        "uv": generator.uniform(size=(4, 2)).astype(np.float32),
        "fuv": np.array([[0, 1, 2], [0, 2, 3]], dtype=np.uint16),
        "hide_bits": np.packbits(np.arange(19158) < 10),
        "ref_extent": np.ones(3, dtype=np.float32),
    }


def save(path: Path) -> None:
    np.savez_compressed(path, **garment())  # pyright: ignore[reportArgumentType]


def damaged(content: bytes, kind: str, generator: np.random.Generator) -> bytes:
    """The content cut short, with some bytes changed, or with a stretch of noise."""
    data = np.frombuffer(content, dtype=np.uint8).copy()
    if kind == "cut":
        return data[: generator.integers(len(data))].tobytes()
    if kind == "bytes":
        data[generator.integers(len(data), size=30)] = generator.integers(256, size=30)
        return data.tobytes()
    start = int(generator.integers(max(1, len(data) - 200)))
    data[start : start + 200] = generator.integers(256, size=len(data[start : start + 200]))
    return data.tobytes()


# NumPy warns of what it finds in damaged headers before it gives up.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["cut", "bytes", "noise"])
@pytest.mark.parametrize("suffix", [".npz", ".webp"])
def test_no_damage_stops_the_run(folder: AssetFolder, kind: str, suffix: str) -> None:
    path = folder.path / "appearance" / "garments" / f"thing{suffix}"
    if suffix == ".npz":
        save(path)
    else:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)).save(path)
    content, generator = path.read_bytes(), np.random.default_rng(1)
    lost = 0
    for _ in range(150):
        path.write_bytes(damaged(content, kind, generator))
        read = folder.read_npz(path) if suffix == ".npz" else folder.read_picture(path)
        lost += read is None
        assert len(folder.problems) == lost
    assert lost > 0
    assert all(str(path) in problem for problem in folder.problems)


def test_a_whole_garment_is_read(folder: AssetFolder) -> None:
    path = folder.path / "appearance" / "garments" / "thing.npz"
    save(path)
    arrays = folder.read_npz(path)
    assert arrays is not None
    proxy = proxy_from("thing", arrays)
    assert proxy.hides.sum() == 10
    np.testing.assert_array_equal(proxy.offset, garment()["off"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ref", np.full((4, 3), 19158)),
        ("ref", np.full((4, 3), -1)),
        ("ref", np.zeros((4, 2), dtype=int)),
        ("w", np.ones((3, 3))),
        ("w", np.full((4, 3), np.nan)),
        ("off", np.ones((4, 2))),
        ("off", np.full((4, 3), np.inf)),
        ("faces", np.array([[0, 1, 4]])),
        ("faces", np.array([[0, 1, -1]])),
        ("faces", np.zeros((0, 3), dtype=int)),
        ("fuv", np.array([[0, 1, 2], [0, 2, 4]])),
        ("uv", np.zeros((4, 3))),
        ("hide_bits", np.zeros(100, dtype=np.uint8)),
        ("ref_extent", np.zeros(3)),
        ("ref_extent", np.ones(2)),
    ],
)
def test_arrays_that_do_not_fit_are_no_garment(key: str, value: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"fit|finite|size"):
        proxy_from("thing", garment() | {key: value})


@pytest.mark.parametrize("index", [b"\xff\xfe\x00not text", b"colour\tweight\nred\t3\n", b""])
def test_an_index_that_says_nothing_costs_licences_only(tmp_path: Path, index: bytes) -> None:
    garments = tmp_path / "appearance" / "garments"
    garments.mkdir(parents=True)
    save(garments / "thing.npz")
    (tmp_path / "appearance" / "INDEX.tsv").write_bytes(index)
    folder = AssetFolder.find(tmp_path)
    assert folder is not None
    assert [item.name for item in folder.of_kind("garments")] == ["thing"]
    assert folder.attributions(["thing"]) == ["garments/thing: licence not stated"]
