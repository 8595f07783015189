"""Run the examples whose pictures the documentation shows, and put them into docs/images/.

    python scripts/make_docs_pictures.py

A picture that looks like the one that is there is left alone, so that building the site leaves the repository as it is.
"""

from __future__ import annotations

import importlib.util
import io
import tempfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import numpy as np
from PIL import Image

from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.overlay import draw_overlay
from metrichmsr.structures import Recovery

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
LARGEST_BYTES = 150_000
SAME = 2.0
"""Mean difference of grey levels below which two pictures look alike."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        recovery, result = example("01_photo").main(["--out", str(out)])
        keep("first_photo.jpg", Image.fromarray(draw_overlay(halved(recovery))))
        depth = Image.open(result / "depth_preview.png")
        depth.thumbnail((960, 960))
        keep("first_depth.jpg", depth)

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


def halved(recovery: Recovery) -> Recovery:
    """The same at half the resolution: the overlay's letters can then be read in a column of text."""
    image, camera, scene = recovery.image, recovery.camera, recovery.scene
    height, width = (side // 2 for side in image.shape[:2])
    small = np.asarray(Image.fromarray(image[: 2 * height, : 2 * width]).resize((width, height), Image.Resampling.BOX))
    people = [
        replace(
            person,
            box_xyxy=person.box_xyxy / 2,
            keypoints_2d_px=person.keypoints_2d_px * (0.5, 0.5, 1),
            mask=None if person.mask is None else person.mask[: 2 * height : 2, : 2 * width : 2],
        )
        for person in recovery.people
    ]
    if scene is not None:
        names = ("depth_m", "initial_depth_m", "anchor_m", "confidence")
        maps = {name: getattr(scene, name) for name in names}
        fewer = {name: None if one is None else one[: 2 * height : 2, : 2 * width : 2] for name, one in maps.items()}
        scene = replace(scene, **fewer)
    return replace(
        recovery,
        image_path=Path(f"{recovery.image_path.name} at half its size"),  # the caption states its focal length
        image=small,
        camera=camera.replace(
            K=np.diag([0.5, 0.5, 1]) @ camera.K, width=width, height=height, focal_std_px=_half(camera.focal_std_px)
        ),
        people=tuple(people),
        scene=scene,
    )


def _half(value: float | None) -> float | None:
    return None if value is None else value / 2


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
    axes.set_ylim(len(recoveries) - 0.5, -0.5)
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
    quality, data = 88, _jpeg(picture, 88)
    while len(data) > LARGEST_BYTES and quality > 40:
        quality -= 4
        data = _jpeg(picture, quality)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)
    print(f"{name}: {len(data) / 1000:.0f} kB, {picture.width}×{picture.height}")


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
