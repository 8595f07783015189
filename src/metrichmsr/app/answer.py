"""A result in plain words, as HTML of the page. Whatever comes from outside is escaped."""

from __future__ import annotations

import re
from html import escape

from metrichmsr.export.palette import person_color
from metrichmsr.export.quantities import quantity
from metrichmsr.export.schema import CameraEntry, Number, PersonEntry, ResultDocument

_CAMERA = {
    "given": "what you gave",
    "sidecar": "an intrinsics file beside the photo",
    "exif": "what the camera wrote into the photo (EXIF)",
    "estimated:panorama": "an estimate from the picture itself, since the photo does not tell its lens",
    "assumed": "an assumption, since the photo does not tell its lens: as long as the picture's longer side",
}

_UNSURE = 0.1

# Messages of the recovery speak of options of the command line; the page calls them otherwise.
_PLAIN = (
    (re.compile(r"give a JSON by id to tell them apart"), "write 0: 1.82, 1: 1.65 … to tell them apart"),
    (re.compile(r"--height:? ([\d.]+) (is|was)"), r"the known stature of \1 m \2"),
    (re.compile(r"--height names"), "the known statures name"),
    (re.compile(r"--height"), "known stature"),
    (re.compile(r"--focal-px"), "the focal length in pixels"),
    (re.compile(r"--focal-35mm"), "the 35 mm equivalent"),
    (re.compile(r"--fov"), "the field of view"),
    (re.compile(r"--people"), "who is in the picture"),
    (re.compile(r"\bEXIF data tell\b"), "own data (EXIF) tell"),
)


def in_plain_words(message: str) -> str:
    """A message of the recovery in the page's words."""
    text = " ".join(message.split())
    for pattern, words in _PLAIN:
        text = pattern.sub(words, text)
    # The name of a file stays as it is.
    return text if "." in text.partition(" ")[0] else text[:1].upper() + text[1:]


def people_table(document: ResultDocument) -> str:
    """Everybody as a table: number and colour, stature, distance, score; a sentence where nobody was found."""
    people = document["people"]
    if not people:
        return (
            '<p class="mh-none">Nobody was found in this picture. People must be some 40 pixels tall at least, and not '
            "be hidden for the most part.</p>"
        )
    rows = "".join(_row(person) for person in people)
    return (
        '<table class="mh-people"><thead><tr><th scope="col">Person</th><th scope="col">Stature</th>'
        '<th scope="col">Distance</th><th scope="col">Score</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
        '<p class="mh-note">Stature: of the upright body, heel to crown. Distance: from the camera to the pelvis. '
        "± is one sigma. Score: how sure the detector is that this is a person.</p>"
    )


def camera_sentence(camera: CameraEntry) -> str:
    """Where the camera's K comes from, and what it is."""
    K, sigma = camera["K"], camera["focal_std_px"]
    focal = 0.5 * (K[0][0] + K[1][1])
    source = camera["source"]
    known = _CAMERA.get(source) or source.replace("estimated:", "an estimate by ")
    doubt = "" if sigma is None else f" ± {sigma:.0f}"
    # What the focal length is off, every distance is off as well.
    unsure = sigma is not None and sigma > _UNSURE * focal
    advice = " Distances are as unsure as it is: if you know the focal length, give it." if unsure else ""
    return (
        f'<p class="mh-camera"><strong>Camera.</strong> Focal length {focal:.0f}{doubt} px, '
        f"{camera['fov_x_deg']:.0f}° across the picture: {escape(known)}.{advice}</p>"
    )


def scene_sentence(document: ResultDocument) -> str:
    """What became of the surroundings; nothing where they were not asked for."""
    scene = document["scene"]
    if scene is None:
        return ""
    how = "drawn to the people's metres" if scene["refined"] else "as its source gave it"
    plane = scene["ground_plane"]
    ground = "" if plane is None else f" The camera is {_fixed(plane['offset_m'], 2)} m above the ground."
    return f'<p class="mh-camera"><strong>Surroundings.</strong> Depth of every pixel, {how}.{ground}</p>'


def warnings_list(document: ResultDocument) -> str:
    """What the user should know about this result; nothing where there is nothing."""
    # The table says that nobody was found.
    told = [text for text in document["warnings"] if not text.startswith("nobody was found")]
    if not told:
        return ""
    items = "".join(f"<li>{escape(in_plain_words(text))}</li>" for text in told)
    return f'<div class="mh-warnings" role="status"><strong>Please note</strong><ul>{items}</ul></div>'


def error_box(message: str) -> str:
    """Why there is no result."""
    return f'<div class="mh-error" role="alert"><strong>No result.</strong> {escape(in_plain_words(message))}</div>'


def _row(person: PersonEntry) -> str:
    color = "#{:02x}{:02x}{:02x}".format(*person_color(person["id"]))
    return (
        f'<tr><th scope="row"><span class="mh-chip" style="background:{color}"></span>{person["id"]}</th>'
        f"<td>{quantity(person['height_m'], person['height_std_m'])}</td>"
        f"<td>{quantity(person['distance_m'], person['distance_std_m'])}</td>"
        f"<td>{_fixed(person['score'], 2)}</td></tr>"
    )


def _fixed(value: Number, decimals: int) -> str:
    return "?" if value is None else f"{value:.{decimals}f}"
