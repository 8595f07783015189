"""The page, drawn with Gradio: photo and options to the left, the answer to the right (below, on a phone)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import themes

from metrichmsr.app.form import Form
from metrichmsr.app.service import Outcome, RecoveryService
from metrichmsr.app.workspace import KEEP_S, Held, Upload, Workspace
from metrichmsr.errors import InputError

_TITLE = "MetricHMSR"
_INTRODUCTION = (
    "# MetricHMSR\nOne photo in: everybody's body, true height and distance, and the surroundings in metres. "
)
_LOCAL = "Nothing leaves this computer."
_REMOTE = "Photos are worked on by the computer that serves this page, and removed there after an hour at most."
_FOCAL = {  # kind → what its number is
    "pixels": ("Focal length in pixels", "of the picture at its full size"),
    "35mm": ("35 mm equivalent, in mm", "as phones and compact cameras state it"),
    "fov": ("Field of view, in degrees", "across the width of the picture"),
}
# Seen from behind the photo's camera and a little above: degrees about the upright axis and down from it.
_VIEW = (90, 75, None)

# Where the answer stands below the button (on a phone), go there when it is pressed.
_TO_THE_ANSWER = """(...fields) => {
  const answer = document.getElementById("mh-answer"), button = document.getElementById("mh-go");
  if (answer && button && answer.getBoundingClientRect().left < button.getBoundingClientRect().right)
    answer.scrollIntoView({behavior: "smooth", block: "start"});
  return fields;
}"""

# System fonts: the page loads nothing from elsewhere.
_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")

CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def hand_on_files(field: gr.Image, workspace: Workspace) -> None:
    """Have an image field give the file as it came, as an :class:`Upload`.

    Gradio would open it (and raise its own errors), turn it, and write it anew without EXIF. It would also fetch an
    address that a client names in place of a file. Methods are replaced one by one: of every subclass of a component
    Gradio writes a ``.pyi`` file into the package.
    """
    to_cache = field.async_move_resource_to_block_cache

    def preprocess(payload: Any) -> Upload | None:
        if payload is None or not payload.path or not workspace.owns(Path(payload.path)):
            return None
        return Upload(Path(payload.path), shown_name(payload.orig_name or Path(payload.path).name))

    async def files_only(url_or_file_path: str | Path | None) -> str | None:
        if re.match(r"\s*[a-z][a-z0-9+.-]+:", str(url_or_file_path or ""), re.IGNORECASE):
            raise InputError("photos come as files, not as addresses")
        return await to_cache(url_or_file_path)

    field.preprocess = preprocess  # pyright: ignore[reportAttributeAccessIssue]
    field.async_move_resource_to_block_cache = files_only


def shown_name(name: str) -> str:
    """A file name as it may be shown and written into a result: no folders, no control characters, not too long."""
    last = re.split(r"[/\\]", name)[-1]
    printable = "".join(letter for letter in last if letter.isprintable()).strip()
    return printable[-100:] if printable.strip(".") else "photo"


def theme() -> themes.Base:
    """Gradio's default look with the system's fonts."""
    return themes.Default(primary_hue="blue", neutral_hue="slate", font=_SANS, font_mono=_MONO).set(
        # Gradio's own greys are hard to read.
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
    )


def build_page(
    service: RecoveryService, *, examples: Sequence[Path] = (), max_waiting: int = 8, local: bool = True
) -> gr.Blocks:
    """The page over a service.

    Args:
        service: does the photos.
        examples: photos to try it with.
        max_waiting: more people than this waiting for their turn are asked to come back later.
        local: whether only this computer can open the page.
    """
    workspace = service.workspace

    def run(
        upload: Upload | None,
        people: str,
        statures: str,
        focal_kind: str,
        focal_value: float | None,
        depth: bool,
        faces: bool,
        before: Held | None,
    ) -> list[Any]:
        return _shown(service.run(upload, Form(people, statures, focal_kind, focal_value, depth, faces), before))

    with gr.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=(KEEP_S // 6, KEEP_S), fill_width=True) as page:
        gr.Markdown(_INTRODUCTION + (_LOCAL if local else _REMOTE), elem_id="mh-head")
        held = gr.State(None, time_to_live=KEEP_S, delete_callback=workspace.release)
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=300):
                photo = gr.Image(
                    label="Photo",
                    type="filepath",
                    sources=["upload", "clipboard"],
                    height=300,
                    buttons=[],
                    elem_id="mh-photo",
                )
                hand_on_files(photo, workspace)
                if examples:
                    gr.Examples([str(path) for path in examples], photo, label="A photo to try", cache_examples=False)
                go = gr.Button("Recover people", variant="primary", elem_id="mh-go")
                people = gr.Radio(
                    [("Anybody", "anybody"), ("Adults only", "adults"), ("Children only", "children")],
                    value="anybody",
                    label="Who is in the picture",
                )
                statures = gr.Textbox(
                    label="Known stature",
                    info="Fixes the scale. 1.82 for all, or by number: 0: 1.82, 1: 1.65",
                    placeholder="not known",
                    max_lines=1,
                    elem_id="mh-statures",
                )
                focal_kind = gr.Radio(
                    [
                        ("Not known", "unknown"),
                        ("Pixels", "pixels"),
                        ("35 mm equivalent", "35mm"),
                        ("Field of view", "fov"),
                    ],
                    value="unknown",
                    label="Focal length",
                    info="Where it is not known, the photo's EXIF data or an estimate tells it.",
                )
                focal_value = gr.Number(visible=False, value=None, elem_id="mh-focal")
                depth = gr.Checkbox(value=True, label="Surroundings too (depth of every pixel)")
                faces = gr.Checkbox(
                    value=True,
                    label="Faces as evidence of stature and build",
                    info="They help to tell children, women and men apart; nobody is recognised.",
                )
            with gr.Column(scale=5, min_width=300, elem_id="mh-answer"):
                message = gr.HTML(_WELCOME, elem_id="mh-message")
                overlay = gr.Image(
                    show_label=False,
                    alt_text="bodies over the photo, and from front, side and top",
                    type="filepath",
                    interactive=False,
                    visible=False,
                    buttons=["fullscreen"],
                    elem_id="mh-overlay",
                )
                table = gr.HTML(visible=False, elem_id="mh-people")
                notes = gr.HTML(visible=False, elem_id="mh-notes")
                model = gr.Model3D(
                    label="In 3D: drag to turn, wheel to come nearer",
                    camera_position=_VIEW,
                    clear_color=(0.93, 0.94, 0.96, 1.0),
                    height=480,
                    interactive=False,
                    visible="hidden",
                    elem_id="mh-model",
                )
                archive = gr.DownloadButton("Download everything (zip)", visible=False, elem_id="mh-download")
        focal_kind.change(
            _focal_field, focal_kind, focal_value, show_progress="hidden", api_visibility="private", queue=True
        )
        go.click(
            run,
            [photo, people, statures, focal_kind, focal_value, depth, faces, held],
            [message, overlay, table, notes, model, archive, held],
            concurrency_limit=1,
            concurrency_id="recover",
            trigger_mode="once",
            show_progress="full",
            show_progress_on=[message, overlay, table, model],
            js=_TO_THE_ANSWER,
            api_visibility="private",
        )
    page.queue(max_size=max_waiting, default_concurrency_limit=4)
    return page


_WELCOME = (
    '<div class="mh-welcome">Drop a photo into the field and press <em>Recover people</em>. '
    "It takes some seconds; the picture, a table and a 3D view appear here.</div>"
)


def _focal_field(kind: str) -> Any:
    if kind not in _FOCAL:
        return gr.Number(visible=False, value=None)
    label, info = _FOCAL[kind]
    return gr.Number(visible=True, label=label, info=info, value=None)


def _shown(outcome: Outcome) -> list[Any]:
    def file(kind: type, path: Path | None) -> Any:
        return kind(value=None if path is None else str(path), visible=path is not None)

    def html(text: str) -> Any:
        return gr.HTML(value=text, visible=bool(text))

    return [
        html(outcome.message),
        file(gr.Image, outcome.overlay),
        html(outcome.people),
        html(outcome.notes),
        file(gr.Model3D, outcome.model),
        file(gr.DownloadButton, outcome.archive),
        outcome.held,
    ]
