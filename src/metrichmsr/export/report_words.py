"""What the report says in words: quantities, the camera's source, notes on people, warnings, stages.

Written for readers who know neither pinholes nor networks but want to know how far to trust a number.
"""

from __future__ import annotations

from typing import NamedTuple

from metrichmsr.export import quantities
from metrichmsr.export.schema import CameraEntry, Number, PersonEntry, ResultDocument, SceneEntry

UNKNOWN = "unknown"

# A keypoint is hidden where its confidence is below this: the limit by which assemble.py takes one for seen.
_SEEN = 0.5
# Nearer than this share of the picture's side to its edge a box is cut off by it.
_AT_EDGE = 0.006
# No stature that was not stated is as certain as this.
_STATED_STD_M = 0.005
# A foot this far from the ground is worth a note.
_CLEARANCE_M = 0.15


def quantity(value: Number, sigma: Number, unit: str, decimals: int = 2) -> str:
    """``1.67 ± 0.17 m``; a sigma too small for the decimals is left out."""
    return UNKNOWN if value is None else quantities.quantity(value, sigma, unit, decimals=decimals)


def focal_px(camera: CameraEntry) -> float:
    """Mean of fx and fy."""
    return 0.5 * (camera["K"][0][0] + camera["K"][1][1])


def count(number: int, one: str, many: str) -> str:
    """``1 person``, ``2 people``."""
    return f"{number} {one if number == 1 else many}"


class Origin(NamedTuple):
    """Where a camera's focal length comes from, in words."""

    name: str
    how: str
    trust: str


_ORIGINS = {
    "given": Origin(
        "given",
        "You stated it when the photo was processed.",
        "Distances are as right as what you stated.",
    ),
    "sidecar": Origin(
        "sidecar file",
        "It was read from an intrinsics file that lies beside the photo, usually the outcome of a calibration.",
        "The best there is, as long as the file belongs to this photo and this lens.",
    ),
    "exif": Origin(
        "EXIF",
        "It was read from what the camera wrote into the photo (its EXIF data).",
        "Usually right within a few per cent, unless the photo was cropped or edited afterwards.",
    ),
    "estimated:panorama": Origin(
        "estimated",
        "Neither you nor the photo stated it: the small network that comes along guessed it from the picture.",
        "A rough guess. Take distances as an order of magnitude; state the lens (--focal-35mm) to get better ones.",
    ),
    "assumed": Origin(
        "assumed",
        "Nothing tells it: a lens was assumed whose focal length is the picture's longer side.",
        "Do not trust distances. State the lens (--focal-35mm) to get ones that mean something.",
    ),
}


def origin(source: str) -> Origin:
    """Where K comes from, for a ``source`` of the result contract."""
    if source in _ORIGINS:
        return _ORIGINS[source]
    kind, _, method = source.partition(":")
    if kind == "estimated":
        return Origin(
            "estimated",
            f"Neither you nor the photo stated it: the network {method} estimated it from what the picture shows.",
            "Better than nothing; the sigma says how rough. State the lens (--focal-35mm) if you know it.",
        )
    return Origin(source, f"Its source is called {source}.", "")


def lens_share(document: ResultDocument) -> float | None:
    """Which share of the variance of distances comes from the focal length, the median over people."""
    sigma = document["camera"]["focal_std_px"]
    if sigma is None:
        return None
    relative = sigma / focal_px(document["camera"])
    shares = [
        min(1.0, (relative * person["distance_m"] / person["distance_std_m"]) ** 2)
        for person in document["people"]
        if person["distance_m"] and person["distance_std_m"]
    ]
    return sorted(shares)[len(shares) // 2] if shares else None


# Up to which value of Anny's age parameter (see bodies/shape_prior.py for its years) a body is called what.
_AGES = ((0.05, "baby"), (0.215, "toddler"), (0.415, "child"), (2 / 3, "teenager"), (0.8615, "adult"))


def age_group(person: PersonEntry) -> str | None:
    """What the body looks like by its own age parameter; None where its model has none."""
    age = person["shape"].get("age") if person["body_model"] == "anny" else None
    if age is None:
        return None
    return next((name for limit, name in _AGES if age < limit), "elder")


def notes(person: PersonEntry, document: ResultDocument) -> list[str]:
    """What is particular about a person, from what was seen and where the body ended up."""
    found = [note for note in (_stated(person, document), _hidden(person), _cut_off(person, document)) if note]
    scene = document["scene"]
    if scene is not None:
        clearance = (scene.get("foot_clearance_m") or {}).get(str(person["id"]))
        if clearance is not None and abs(clearance) > _CLEARANCE_M:
            where = "above" if clearance > 0 else "below"
            found.append(f"lowest point {abs(clearance):.2f} m {where} the ground that was found")
    return found


def _stated(person: PersonEntry, document: ResultDocument) -> str | None:
    sigma = person["height_std_m"]
    stated = "height" in (document.get("settings") or {}) and sigma is not None and sigma < _STATED_STD_M
    return "stature as it was stated" if stated else None


def _hidden(person: PersonEntry) -> str | None:
    points = person["keypoints_2d_px"]

    def unseen(*names: str) -> bool:
        sides = [f"{side}_{name}" for name in names for side in ("left", "right")]
        return all((points[name][2] or 0.0) < _SEEN for name in sides if name in points)

    parts = (
        (("shoulder", "hip", "knee", "ankle"), "hidden below the head"),
        (("hip", "knee", "ankle"), "hidden below the chest"),
        (("knee", "ankle"), "hidden below the hips"),
        (("ankle",), "hidden below the knees"),
    )
    low = next((words for names, words in parts if unseen(*names)), None)
    if low is not None:
        return low
    return "head hidden" if unseen("eye", "ear") and (points["nose"][2] or 0.0) < _SEEN else None


def _cut_off(person: PersonEntry, document: ResultDocument) -> str | None:
    box = person["box_xyxy"]
    if None in box:
        return None
    x0, y0, x1, y1 = (float(value or 0.0) for value in box)
    width, height = document["image"]["width"], document["image"]["height"]
    edges = [
        name
        for name, gap, side in (
            ("left", x0, width),
            ("upper", y0, height),
            ("right", width - x1, width),
            ("lower", height - y1, height),
        )
        if gap < _AT_EDGE * side
    ]
    return f"reaches the picture's {' and '.join(edges)} edge" if edges else None


MEANINGS = (
    ("nobody was found", "There is nothing to measure. Small, dark or turned-away people are missed at times."),
    ("implausible field of view", "Hardly any lens is like that: check the focal length before you use distances."),
    ("implausible distance", "Something that was given or estimated is wrong by far: use no number of these people."),
    ("implausible --length", "The distance that follows from it is wrong by far, and so is the stature."),
    ("unusual pixels", "Cameras have square pixels: the intrinsics may be those of a stretched or other picture."),
    ("principal point", "Positions to the side and height may be shifted."),
    ("but the photo's EXIF data tell", "One of the two is wrong, and distances with it."),
    ("EXIF contradicts itself", "The file states the lens twice and differently: its sigma was widened."),
    ("EXIF focal length not used", "What the camera wrote no longer fits this picture, so another source was asked."),
    ("was cropped after it was taken", "People away from the middle may be placed too far left, right, up or down."),
    ("fisheye", "Straight lines are bent in it: use an undistorted picture for measuring."),
    ("digital zoom", "Distances may be off by the same factor."),
    ("sidecar not used", "The file beside the photo was left alone, and another source was asked."),
    ("failed on this picture", "The next source of the focal length was asked instead."),
    ("disagree by", "Do not rely on this person's place, nor on the depth around."),
    ("disagreed by", "The people were believed, and depth was scaled to them."),
    ("depth was not refined", "Depth is shown as its source gave it."),
    ("is relative: without people", "Only people could have given this depth its metres."),
    ("depth of far things is doubtful", "Trust the depth near people, not the depth of the background."),
    ("scale of an assumed focal length", "If the lens is another one, all depth is off by the same factor."),
    ("is --depth-unit right", "The depth file may be in another unit than the one it was read in."),
    ("moved depth away from the people", "The simpler correction fitted better and was kept."),
    ("was taken for all", "If they are not all that tall, their distances are wrong by as much as their heights."),
    ("the known length fixes", "Its scale comes from the length you gave."),
    ("was fitted to the keypoints of the Anny body", "Size and place come from the first body; the mesh is the other."),
)
"""A part of a warning, and what it means to someone who wants to use the numbers."""


def warning_words(warning: str) -> tuple[str, str]:
    """A warning as a sentence, and what it means (or nothing)."""
    sentence = warning[:1].upper() + warning[1:]
    sentence += "" if sentence.endswith((".", "!", "?")) else "."
    return sentence, next((meaning for part, meaning in MEANINGS if part in warning), "")


# What measurements on real photos say of all results alike (RESULTS.md): no sigma holds it yet.
KNOWN_BIAS = "On real photos people tend to come out too near, by more than the ± says."

_STAGES = {
    "read": "reading the photo",
    "calibrate": "finding the camera",
    "undistort": "removing lens distortion",
    "find people": "finding people and their joints",
    "up": "finding which way is up",
    "network": "bodies by the network",
    "fit": "fitting bodies",
    "refine": "polishing the bodies",
    "assemble": "building the meshes",
    "anchors": "rendering people's depth",
    "depth": "depth of the scene",
    "refine depth": "fitting depth to the people",
    "ground": "finding the ground",
    "export": "writing files",
}


def stage(name: str) -> str:
    """A stage of the work in words."""
    return _STAGES.get(name, name)


def depth_source(scene: SceneEntry) -> str:
    """Which depth source, in words."""
    if scene["source"] == "embedded":
        return "the small depth network that comes along (rough: rooms and streets, no objects)"
    return scene["source"]


def refinement(scene: SceneEntry) -> str:
    """What people did to the depth, in words."""
    how = scene.get("refinement") or ("network" if scene["refined"] else "none")
    return {
        "network": "The people, whose size is known, corrected it: the refinement network found a smooth field of "
        "scales and shifts that brings it to their bodies.",
        "closed form": "The people, whose size is known, corrected it: one scale and one shift bring it to them.",
    }.get(how, "It was left as it came.")
