"""``report.html``: one result on one page that needs nothing but itself.

For readers who do not program but want to believe the numbers. Pictures are embedded, styles inline, and there is no
script; nothing is loaded from anywhere. The page is a template (``templates/report.html``) that escapes all it is
given: names of files come from anywhere.
"""

from __future__ import annotations

import math
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrichmsr.calibration.film import equivalent_of_focal
from metrichmsr.export import report_words as words
from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.palette import person_color
from metrichmsr.export.report_pictures import ReportPictures, photo_name
from metrichmsr.export.schema import Number, PersonEntry, ResultDocument

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT = "report.html"

_STAGES_LAST = ("total", "export")

_MONTHS = ("January", "February", "March", "April", "May", "June")
_MONTHS += ("July", "August", "September", "October", "November", "December")


def write_report(document: ResultDocument, pictures: ReportPictures, made: datetime, path: Path) -> None:
    """Write the page, atomically.

    Args:
        document: Content of ``result.json``: every number on the page is one of its.
        pictures: See :func:`~metrichmsr.export.report_pictures.report_pictures`.
        made: When the result was made.
        path: Final name.
    """
    text = render_report(document, pictures, made)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render_report(document: ResultDocument, pictures: ReportPictures, made: datetime) -> str:
    """The page as text; see :func:`write_report`."""
    frame = document["image"].get("frame")
    return (
        templates()
        .get_template("report.html")
        .render(
            name=photo_name(document["image"]["path"]) + ("" if frame is None else f", frame {frame}"),
            date=date_words(made),
            document=document,
            pictures=pictures,
            people=[_person(person, document) for person in document["people"]],
            summary=_summary(document),
            camera=_camera(document),
            scene=_scene(document, pictures),
            ground=_ground(document),
            warnings=[words.warning_words(warning) for warning in document["warnings"]],
            timings=_timings(document),
            settings=document.get("settings"),
            stated_height=(document.get("settings") or {}).get("height"),
            known_bias=words.KNOWN_BIAS,
            licences=_licences(document),
        )
    )


def date_words(made: datetime) -> str:
    """``27 November 2026, 20:57``, whatever the locale."""
    return f"{made.day} {_MONTHS[made.month - 1]} {made.year}, {made:%H:%M}"


@lru_cache
def templates() -> Environment:
    """The templates of this folder; whatever is put into them is escaped, and a name they do not know is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("metrichmsr.export"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["quantity"] = words.quantity
    return environment


def _person(person: PersonEntry, document: ResultDocument) -> dict[str, Any]:
    box = person["box_xyxy"]
    score = person["score"]
    return {
        "id": person["id"],
        "color": "#{:02x}{:02x}{:02x}".format(*person_color(person["id"])),
        "stature": words.quantity(person["height_m"], person["height_std_m"], "m"),
        "distance": words.quantity(person["distance_m"], person["distance_std_m"], "m"),
        "score": words.UNKNOWN if score is None else f"{100 * score:.0f} %",
        "age": words.age_group(person),
        "box": [words.UNKNOWN]
        if None in box
        else [f"x {box[0]:.0f} to {box[2]:.0f}", f"y {box[1]:.0f} to {box[3]:.0f}"],
        "notes": words.notes(person, document),
    }


def _summary(document: ResultDocument) -> str:
    people = document["people"]
    if not people:
        return "Nobody was found in this photo."
    statures = [words.quantity(person["height_m"], person["height_std_m"], "m") for person in people[:3]]
    text = f"{words.count(len(people), 'person was', 'people were')} found"
    if len(people) <= 3:
        text += f", {' and '.join([', '.join(statures[:-1])] * (len(people) > 1) + statures[-1:])} tall"
    return f"{text}. {_lens_sentence(document)}"


def _lens_sentence(document: ResultDocument) -> str:
    camera = document["camera"]
    sigma, source = camera["focal_std_px"], words.origin(camera["source"])
    if sigma is None:
        return f"The lens is known ({source.name})."
    share = 100 * sigma / words.focal_px(camera)
    known = "is known" if camera["source"] in ("given", "sidecar", "exif") else f"is {source.name}"
    if not document["people"]:
        return f"The lens {known}, to ± {share:.0f} %."
    return f"The lens {known}, to ± {share:.0f} %, and distances cannot be more certain than that."


def _camera(document: ResultDocument) -> dict[str, Any]:
    camera, image = document["camera"], document["image"]
    K = camera["K"]
    focal = words.focal_px(camera)
    sigma = camera["focal_std_px"]
    fy, cy = K[1][1], K[1][2]
    share = words.lens_share(document)
    return {
        "focal": words.quantity(focal, sigma, "px", 0),
        "percent": None if sigma is None else f"{100 * sigma / focal:.0f} %",
        "equivalent": f"{equivalent_of_focal(focal, image['width'], image['height']):.0f} mm",
        "fov_x": f"{camera['fov_x_deg']:.1f}°",
        "fov_y": f"{math.degrees(math.atan(cy / fy) + math.atan((image['height'] - cy) / fy)):.1f}°",
        "K": [[f"{value:.1f}" if value % 1 else f"{value:.0f}" for value in row] for row in K],
        "origin": words.origin(camera["source"]),
        "lens_share": None if share is None else f"{100 * share:.0f} %",
        "distorted": bool(camera.get("distortion") and any(camera["distortion"] or ())),
    }


def _scene(document: ResultDocument, pictures: ReportPictures) -> dict[str, Any] | None:
    scene = document["scene"]
    if scene is None:
        return None
    residuals = scene.get("residuals")
    facts = []
    if residuals is not None:
        if residuals["initial"] is not None:
            facts.append(("Depth and people disagreed before by", _percent(residuals["initial"])))
        else:
            facts.append(("The source states no metres", "these came from the people"))
        facts.append(("After one scale and one shift by", _percent(residuals["closed_form"])))
        facts.append(("In the result they disagree by", _percent(residuals["refined"])))
    return {
        "source": words.depth_source(scene),
        "refinement": words.refinement(scene),
        "facts": facts,
        "anchors": bool(residuals and residuals["pixels"]),
        "pictures": pictures.depth,
    }


def _ground(document: ResultDocument) -> dict[str, Any] | None:
    scene = document["scene"]
    plane = None if scene is None else scene["ground_plane"]
    if scene is None or plane is None:
        return None
    world = scene.get("world_from_camera")
    held = ""
    if world is not None:
        from metrichmsr.scene.world import camera_pitch_and_roll_deg

        pitch, roll = camera_pitch_and_roll_deg(world)  # pyright: ignore[reportArgumentType]
        tilt = f"tilted {abs(pitch):.0f}° {'upwards' if pitch > 0 else 'downwards'}" if abs(pitch) >= 0.5 else "level"
        turn = f" and turned {abs(roll):.0f}° {'' if roll > 0 else 'counter-'}clockwise" if abs(roll) >= 0.5 else ""
        held = f"It was held {tilt}{turn}."
    told = {
        "ground": "The depth map shows it. ",
        "people": "How the people stand tells it; the depth map shows none. ",
    }.get(scene.get("up_source") or "", "")
    return {
        "height": words.quantity(plane["offset_m"], plane.get("offset_std_m"), "m"),
        "held": held,
        "told": told,
    }


def _timings(document: ResultDocument) -> dict[str, Any]:
    timings = document["timings_ms"]
    names = [name for name in timings if name not in _STAGES_LAST] + ["export"] * ("export" in timings)
    times = [(words.stage(name), timings[name] or 0.0) for name in names]
    longest = max([milliseconds for _, milliseconds in times] + [1e-9])
    rows = [(name, _seconds(ms), round(100 * ms / longest, 2)) for name, ms in times]
    return {"rows": rows, "total": None if timings.get("total") is None else _seconds(timings["total"])}


def _seconds(milliseconds: Number) -> str:
    seconds = (milliseconds or 0.0) / 1000
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"


def _percent(share: Number) -> str:
    return words.UNKNOWN if share is None else f"{100 * share:.1f} %"


def _licences(document: ResultDocument) -> list[str]:
    lines = ["The program and what comes with it may be used commercially (Apache-2.0, body data CC0)."]
    models = sorted({person["body_model"] for person in document["people"]} - {"anny"})
    if models:
        names = ", ".join(name.upper() for name in models)
        lines.append(f"The body model {names} is under Max Planck's licence: non-commercial research unless bought.")
    scene = document["scene"]
    if scene is not None and scene["source"] not in ("embedded", "file"):
        lines.append(f"The depth source {scene['source']} has terms of its own.")
    if document["camera"]["source"].startswith("estimated:") and document["camera"]["source"] != "estimated:panorama":
        method = document["camera"]["source"].partition(":")[2]
        lines.append(f"So has {method}, which estimated the lens.")
    return lines
