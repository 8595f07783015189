"""Blender: import `scene.glb`, set the camera by `result.json`, and render the people over the photo.

    python examples/01_photo.py                                                        # makes out/street
    blender --background --python examples/07_blender.py -- out/street --out out/blender
    python examples/07_blender.py out/street --out out/blender                         # with `pip install bpy`

Needs nothing of this package, so that Blender's own Python will do. A glTF camera looks through the middle of the
picture; this one has focal length, principal point and pixel shape of K. Writes `people.png` (on nothing),
`overlay.png` (over the photo) and `scene.blend`, whose camera shows the photo behind the scene.

Convention: Blender's world is z up, glTF's is y up: (x, y, z) → (x, −z, y). Cameras of both look along their −z.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SENSOR_MM = 36.0
"""Width of the sensor that Blender is told; only its ratio to the focal length counts."""
BLENDER_FROM_GLTF = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
CAMERA_FROM_GLTF_CAMERA = np.diag([1.0, -1.0, -1.0, 1.0])
"""Our camera frame has y down and z forward."""


def main(argv: Sequence[str] | None = None) -> Path:
    if argv is None:  # Blender's own arguments come before "--"
        argv = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("result", nargs="?", type=Path, default=Path("out/street"), help="folder of a result")
    parser.add_argument("--photo", type=Path, help="the picture, where it is not where result.json says")
    parser.add_argument("--samples", type=int, default=16, help="of Cycles: more is less noise")
    parser.add_argument("--percent", type=int, default=100, help="size of the renderings, of the photo's")
    parser.add_argument("--out", type=Path, default=Path("out/blender"), help="folder for the pictures")
    args = parser.parse_args(argv)
    if not (args.result / "scene.glb").is_file():
        parser.error(f"{args.result} holds no scene.glb: python examples/01_photo.py makes out/street")
    result = json.loads((args.result / "result.json").read_text(encoding="utf-8"))
    photo = (args.photo or Path(result["image"]["path"])).resolve()
    args.out.mkdir(parents=True, exist_ok=True)

    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str((args.result / "scene.glb").resolve()))
    add_camera(bpy, result, photo)
    render(bpy, args)
    overlay = args.out / "overlay.png"
    blend_over_photo(bpy, args.out / "people.png", photo, overlay)
    bpy.ops.wm.save_as_mainfile(filepath=str((args.out / "scene.blend").resolve()))
    print(f"written to {args.out}: overlay.png, people.png, scene.blend")
    return overlay


def camera_settings(K: Any, width: int, height: int) -> dict[str, float]:
    """K as Blender's camera wants it, for a sensor that is fitted to the picture's width.

    Args:
        K: 3×3, pixels, origin at the outer corner of the top-left pixel.
        width: of the picture, pixels.
        height: of the picture, pixels.

    Returns:
        `lens` in millimetres, `shift_x`, `shift_y` in widths of the picture, `pixel_aspect_x`, `pixel_aspect_y`.
    """
    (fx, _, cx), (_, fy, cy) = np.asarray(K, dtype=np.float64)[:2]
    # A pixel is so many times higher than wide; Blender wants the larger side stated, the other one 1.
    aspect = fx / fy
    return {
        "lens": fx * SENSOR_MM / width,
        "shift_x": (width / 2 - cx) / width,
        "shift_y": (cy - height / 2) * aspect / width,
        "pixel_aspect_x": max(1.0, 1 / aspect),
        "pixel_aspect_y": max(1.0, aspect),
    }


def camera_matrix(world_from_camera: Any | None) -> np.ndarray:
    """4×4 pose of Blender's camera, for the world that its import of `scene.glb` makes.

    Args:
        world_from_camera: of `result.json`'s scene; None where nothing is known of gravity: the camera is level then.
    """
    gltf_from_camera = CAMERA_FROM_GLTF_CAMERA if world_from_camera is None else np.asarray(world_from_camera)
    return BLENDER_FROM_GLTF @ gltf_from_camera @ CAMERA_FROM_GLTF_CAMERA


def add_camera(bpy: Any, result: dict[str, Any], photo: Path) -> Any:
    """A camera where the photo was taken, with the photo behind the scene; the scene renders through it."""
    import mathutils

    image, scene = result["image"], bpy.context.scene
    settings = camera_settings(result["camera"]["K"], image["width"], image["height"])
    data = bpy.data.cameras.new("photo_camera")
    data.sensor_fit, data.sensor_width, data.clip_start = "HORIZONTAL", SENSOR_MM, 0.01
    data.lens, data.shift_x, data.shift_y = settings["lens"], settings["shift_x"], settings["shift_y"]
    behind = data.background_images.new()
    behind.image, behind.alpha = bpy.data.images.load(str(photo)), 1.0
    data.show_background_images = True
    camera = bpy.data.objects.new("photo_camera", data)
    camera.matrix_world = mathutils.Matrix(camera_matrix((result["scene"] or {}).get("world_from_camera")).tolist())
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y = image["width"], image["height"]
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = settings["pixel_aspect_x"], settings["pixel_aspect_y"]
    return camera


def render(bpy: Any, args: argparse.Namespace) -> None:
    """The people alone, on nothing, with Cycles on the CPU: the only engine that needs no screen."""
    scene = bpy.context.scene
    if "surroundings" in bpy.data.objects:
        bpy.data.objects["surroundings"].hide_render = True
    sky = bpy.data.worlds.new("sky")
    sky.use_nodes = True
    sky.node_tree.nodes["Background"].inputs["Color"].default_value = (0.35, 0.4, 0.45, 1.0)
    scene.world = sky
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", type="SUN"))
    sun.data.energy, sun.rotation_euler = 2.0, (0.8, 0.2, 0.5)
    scene.collection.objects.link(sun)
    scene.render.engine, scene.cycles.device, scene.cycles.samples = "CYCLES", "CPU", args.samples
    scene.cycles.use_denoising = False
    scene.render.film_transparent = True
    scene.render.resolution_percentage = args.percent
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.render.filepath = str((args.out / "people.png").resolve())
    bpy.ops.render.render(write_still=True)


def blend_over_photo(bpy: Any, people: Path, photo: Path, path: Path) -> None:
    """Lay the rendered people over the photo."""
    over, under = bpy.data.images.load(str(people.resolve())), bpy.data.images.load(str(photo))
    width, height = over.size
    under.scale(width, height)
    front, back = (np.array(image.pixels[:], dtype=np.float32).reshape(height, width, 4) for image in (over, under))
    share = 0.85 * front[..., 3:]
    picture = bpy.data.images.new("overlay", width, height)
    picture.pixels = np.concatenate(
        [share * front[..., :3] + (1 - share) * back[..., :3], np.ones_like(share)], axis=-1
    ).ravel()
    picture.filepath_raw, picture.file_format = str(path.resolve()), "PNG"
    picture.save()


if __name__ == "__main__":
    main()
