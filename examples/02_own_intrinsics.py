"""The camera: tell the focal length in each of the ways there are, and see what that changes.

    python examples/02_own_intrinsics.py

The lens that took `street.jpg` is not known; 26 mm, as the main cameras of many phones have, is an example and no more.
Stature hardly changes with the lens. Distance follows it, and its sigma shrinks as soon as the lens is known. EXIF and
`--focal-35mm` mean the same: the diagonal of the camera's 4:3 or 3:2 frame. A 16:9 picture like this one is a part of
one of the two, so some doubt is left; EXIF has a little more of it, as it states whole millimetres.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from metrichmsr.calibration import CalibrationOptions, calibrate
from metrichmsr.export.atomic import atomic_file
from metrichmsr.images import Photo, read_image
from metrichmsr.recover import Recoverer, RecoverOptions
from metrichmsr.structures import Recovery

PHOTO = Path(__file__).parent / "photos" / "street.jpg"
EXIF_IFD, FOCAL_LENGTH_IN_35MM_FILM = 0x8769, 0xA405


def main(argv: Sequence[str] | None = None) -> dict[str, Recovery]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--focal-35mm", type=int, default=26, help="focal length as 35 mm equivalent")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the files that are made on the way")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)

    photo = read_image(args.photo)
    lens = calibrate(photo, CalibrationOptions(focal_35mm=args.focal_35mm)).camera
    cameras = {
        "nothing told": calibrate(photo, CalibrationOptions()).camera,
        f"--focal-35mm {args.focal_35mm}": lens,
        "--intrinsics FILE": calibrate(
            photo, CalibrationOptions(intrinsics=write_intrinsics(args.out / "my_camera.json", lens.K.tolist(), photo))
        ).camera,
        "EXIF of the photo": calibrate(
            read_image(copy_with_exif(args.photo, args.out / "with_exif.jpg", args.focal_35mm)), CalibrationOptions()
        ).camera,
    }

    recover = Recoverer(RecoverOptions(depth="none"))  # people only; one recoverer loads its networks once
    results = {told: recover(photo, camera=camera) for told, camera in cameras.items()}
    for told, recovery in results.items():
        camera = recovery.camera
        sigma = "exact" if camera.focal_std_px is None else f"± {camera.focal_std_px:.0f}"
        print(f"{told}: source {camera.source!r}, focal length {camera.focal_px:.0f} px {sigma}")
        for person in recovery.people:
            print(
                f"    person {person.id}: {person.height_m:.2f} ± {person.height_std_m:.2f} m tall, "
                f"{person.distance_m:.2f} ± {person.distance_std_m:.2f} m away"
            )
    return results


def write_intrinsics(path: Path, K: list[list[float]], photo: Photo) -> Path:
    """K as a calibration gives it, 3×3, in pixels of the upright picture; `focal_std_px` says how well it is known."""
    entry = {"K": K, "width": photo.width, "height": photo.height, "focal_std_px": 3.0}
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(entry, indent=1))
    return path


def copy_with_exif(source: Path, path: Path, focal_35mm: int) -> Path:
    """A copy that carries the tag which phones and cameras write into their photos."""
    image = Image.open(source)
    exif = image.getexif()
    exif.get_ifd(EXIF_IFD)[FOCAL_LENGTH_IN_35MM_FILM] = focal_35mm
    with atomic_file(path) as temporary:
        image.save(temporary, exif=exif)
    return path


if __name__ == "__main__":
    main()
