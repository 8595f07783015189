"""Run the examples whose pictures the documentation shows, and put them into docs/images/.

    python scripts/make_docs_pictures.py

A picture that looks like the one that is there is left alone, so that building the site leaves the repository as it is.
"""

from __future__ import annotations

import importlib.util
import io
import tempfile
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import numpy as np
from PIL import Image

from metrichmsr.export.atomic import atomic_file
from metrichmsr.structures import Recovery

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
PHOTO = ROOT / "examples" / "photos" / "street.jpg"
SMALL_PX = 960
"""Long side at which the overlay's letters can still be read in a column of text."""
LARGEST_BYTES = 150_000
SAME = 2.0
"""Mean difference of grey levels below which two pictures look alike."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        small = Image.open(PHOTO)
        small.thumbnail((SMALL_PX, SMALL_PX))
        small.save(out / PHOTO.name, quality=95)
        result = example("01_photo").main([str(out / PHOTO.name), "--out", str(out / "small")])
        keep("first_photo.jpg", Image.open(result / "overlay.png"))
        keep("first_depth.jpg", Image.open(result / "depth_preview.png"))

        told = example("02_own_intrinsics").main(["--out", str(out)])
        lens, stature = example("05_measure").main(["--out", str(out)])
        keep(
            "what_is_known.jpg",
            distances({"nothing told": told["nothing told"], "lens": lens, "lens and\none stature": stature}),
        )


def example(name: str) -> ModuleType:
    """The module of an example; its name starts with a number, so that `import` does not take it."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def distances(recoveries: dict[str, Recovery]) -> Image.Image:
    """Distance of the two people of the photo with one sigma, by what was told."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.2, 2.6), dpi=160, layout="constrained")
    for person, (color, who) in enumerate(
        (("#d9a21b", "person 0, on the grass"), ("#3d9bd6", "person 1, on the block"))
    ):
        people = [recovery.people[person] for recovery in recoveries.values()]
        rows = np.arange(len(people)) + 0.16 * (2 * person - 1)
        values, sigmas = [p.distance_m for p in people], [p.distance_std_m for p in people]
        axes.errorbar(values, rows, xerr=sigmas, fmt="o", color=color, capsize=4, lw=2, label=who)
        for x, sigma, row in zip(values, sigmas, rows, strict=True):
            axes.annotate(
                f"{x:.1f} ± {sigma:.1f}", (x + sigma, row), xytext=(8, 0), textcoords="offset points", va="center"
            )
    axes.set_yticks(range(len(recoveries)), list(recoveries))
    axes.invert_yaxis()
    axes.set_xlim(0, 13)
    axes.set_xlabel("distance from the camera, metres, ± one sigma")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return Image.open(buffer)


def keep(name: str, picture: Image.Image) -> None:
    """Write a picture as JPEG of at most 150 kB, unless the one that is there looks the same."""
    path, picture = IMAGES / name, picture.convert("RGB")
    if path.exists():
        old = Image.open(path).convert("RGB")
        if old.size == picture.size:
            difference = np.abs(np.asarray(old, np.float32) - np.asarray(picture, np.float32)).mean()
            if difference < SAME:
                print(f"{name}: as it was")
                return
    for quality in range(88, 40, -4):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= LARGEST_BYTES:
            break
    with atomic_file(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    print(f"{name}: {buffer.tell() / 1000:.0f} kB, {picture.width}×{picture.height}")


if __name__ == "__main__":
    main()
