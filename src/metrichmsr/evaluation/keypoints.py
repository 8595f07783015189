"""2D keypoints against human labels: PCK on LSP-extended, OKS on the sample of many sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float

from metrichmsr.datasets import KeypointFrame, KeypointPerson
from metrichmsr.evaluation import metrics
from metrichmsr.evaluation.baselines import figure_in_box
from metrichmsr.evaluation.matching import match_people, person_at
from metrichmsr.evaluation.pictures import case_picture
from metrichmsr.evaluation.report import Case, Row, SetResult, Table, Value
from metrichmsr.evaluation.session import Session
from metrichmsr.geometry import project
from metrichmsr.structures import COCO17, Camera, Person, Recovery

PCK_THRESHOLD = 0.2
LSPET_MIN_IOU = 0.1
"""LSP's box spans joints and a person's box the body: of someone crouching they overlap little."""
MMPOSE_MIN_IOU = 0.3

DETECTED, PROJECTED, FIGURE = "detected 2D landmarks", "projected body", "standing figure in the true box"
METHODS = (DETECTED, PROJECTED, FIGURE)

PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


def projected_keypoints(person: Person, camera: Camera) -> Float[np.ndarray, "17 2"]:
    """The body's COCO-17 in the picture, pixels; NaN for what lies behind the camera."""
    points = torch.as_tensor(person.keypoints_3d_m, dtype=torch.float64)
    pixels = project(points, torch.as_tensor(camera.K, dtype=torch.float64)).numpy()
    return np.where(person.keypoints_3d_m[:, 2:] > 0, pixels, np.nan)


@dataclass
class _Scored:
    """Keypoints of one labelled person, by method; NaN for all where nobody was found there."""

    label: str
    truth: KeypointPerson
    found: bool
    by_method: dict[str, Float[np.ndarray, "17 2"]]


def _score(label: str, truth: KeypointPerson, person: Person | None, recovery: Recovery | None) -> _Scored:
    by_method = {method: np.full((len(COCO17), 2), np.nan) for method in (DETECTED, PROJECTED)}
    if person is not None and recovery is not None:
        by_method = {DETECTED: person.keypoints_2d_px[:, :2], PROJECTED: projected_keypoints(person, recovery.camera)}
    by_method[FIGURE] = figure_in_box(truth.box_xyxy)
    return _Scored(label, truth, person is not None, by_method)


def _stack(scored: Sequence[_Scored], method: str | None) -> torch.Tensor:
    arrays = [s.truth.keypoints_px if method is None else s.by_method[method] for s in scored]
    return torch.as_tensor(np.array(arrays).reshape(-1, len(COCO17), 2))


# ── LSP-extended ────────────────────────────────────────────────────────────────────────────────────────────────────


def evaluate_lspet(frames: Sequence[KeypointFrame], session: Session) -> SetResult:
    """PCK@0.2 of the torso on pictures of one labelled person each."""
    scored: list[_Scored] = []
    skipped = 0
    for frame in session.frames(frames):
        truth = frame.people[0] if frame.people else None
        if truth is None or math.isnan(metrics.torso_px(torch.as_tensor(truth.keypoints_px)).item()):
            skipped += 1
            continue
        label, image = frame.photo.path.name, frame.photo.read()
        recovery = session.recover(image, frame.photo.camera, label)
        person = person_at(truth.box_xyxy, recovery, min_iou=LSPET_MIN_IOU)
        scored.append(_score(label, truth, person, recovery))
        hits, labelled, _ = _pck(scored[-1:], PROJECTED)
        draw = partial(
            case_picture,
            image,
            (label, f"body PCK {_share(hits, labelled):.0f} %"),
            camera=recovery.camera if recovery is not None else None,
            person=person,
            truth_box=truth.box_xyxy,
            truth_px=truth.keypoints_px,
        )
        session.gallery.offer(session.name, -_share(hits, labelled), draw)
    found = [s for s in scored if s.found]
    return SetResult(
        name=session.name,
        protocol=(
            "PCK@0.2: share of labelled limb joints (12 with COCO names; neck and head top have no counterpart) within "
            "0.2 of the labelled torso, left shoulder to right hip (the other diagonal where one lacks a label). "
            "The person is the one whose box overlaps the labelled joints' box most (IoU at least "
            f"{LSPET_MIN_IOU}); a missed person counts as wrong. 'Sides exchanged' lets left and right of each pair "
            "swap where that is better: labels from the crowd mix sides. The interval is a bootstrap over pictures. "
            "No K is known."
        ),
        counts={"images": len(scored), "found": len(found), "without a labelled torso, skipped": skipped},
        tables=(
            Table("All people, missed counted as wrong", tuple(_pck_row(scored, method) for method in METHODS)),
            Table("Found people only", tuple(_pck_row(found, method) for method in METHODS)),
        ),
        cases=tuple(_pck_case(s) for s in scored),
        failures=tuple(session.failures),
        seconds_per_image=session.seconds_per_image,
    )


def _pck(scored: Sequence[_Scored], method: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(correct, labelled, correct with sides exchanged), each (N, 17)."""
    truth, predicted = _stack(scored, None), _stack(scored, method)
    torso = metrics.torso_px(truth)
    labelled = truth.isfinite().all(dim=-1)
    labelled[:, : COCO17.index("left_shoulder")] = False
    hits = metrics.correct_keypoints(predicted, truth, torso, PCK_THRESHOLD) & labelled
    tolerant = metrics.correct_keypoints_swap_tolerant(predicted, truth, torso, PCK_THRESHOLD) & labelled
    return hits, labelled, tolerant


def _pck_row(scored: Sequence[_Scored], method: str) -> Row:
    hits, labelled, tolerant = _pck(scored, method)
    low, high = metrics.bootstrap_interval(hits.sum(dim=1).double(), labelled.sum(dim=1).double())
    values: dict[str, Value] = {
        "images": len(scored),
        "n": int(labelled.sum()),
        "pck_percent": _share(hits, labelled),
        "interval": "–" if math.isnan(low) else f"{100 * low:.1f}–{100 * high:.1f}",
        "swap_percent": _share(tolerant, labelled),
    }
    for part in PARTS:
        sides = [COCO17.index(f"left_{part}"), COCO17.index(f"right_{part}")]
        values[f"{part}_percent"] = _share(hits[:, sides], labelled[:, sides])
    return Row(method, values)


def _share(hits: torch.Tensor, of: torch.Tensor) -> float:
    return 100.0 * float(hits.sum()) / float(of.sum()) if of.any() else math.nan


def _pck_case(scored: _Scored) -> Case:
    values: dict[str, Value] = {"found": int(scored.found)}
    for method in (DETECTED, PROJECTED):
        hits, labelled, tolerant = _pck([scored], method)
        prefix = "landmarks" if method == DETECTED else "body"
        values[f"{prefix}_pck_percent"] = _share(hits, labelled)
        values[f"{prefix}_swap_percent"] = _share(tolerant, labelled)
    return Case(scored.label, values)


# ── sample of many sets ─────────────────────────────────────────────────────────────────────────────────────────────


def evaluate_mmpose_mini(frames: Sequence[KeypointFrame], session: Session) -> SetResult:
    """OKS and the share of people found, on pictures with one to eleven labelled people."""
    scored: list[_Scored] = []
    sources: list[str] = []
    images = 0
    for frame in session.frames(frames):
        images += 1
        label, image = _label(frame), frame.photo.read()
        recovery = session.recover(image, frame.photo.camera, label)
        matched, _ = match_people(frame.people, recovery, min_iou=MMPOSE_MIN_IOU)
        for i, (truth, person) in enumerate(zip(frame.people, matched, strict=True)):
            item = _score(f"{label}#{i}", truth, person, recovery)
            scored.append(item)
            sources.append(frame.source)
            value = float(_oks([item], PROJECTED)[0])
            draw = partial(
                case_picture,
                image,
                (item.label, f"body OKS {value:.2f}"),
                camera=recovery.camera if recovery is not None else None,
                person=person,
                truth_box=truth.box_xyxy,
                truth_px=truth.keypoints_px,
            )
            session.gallery.offer(session.name, -value, draw)
    tables = [Table("All sets", tuple(_oks_row(scored, method, method) for method in METHODS))]
    by_source = {source: [s for s, of in zip(scored, sources, strict=True) if of == source] for source in sources}
    for method in (DETECTED, PROJECTED):
        rows = tuple(_oks_row(of_source, method, source) for source, of_source in by_source.items())
        tables.append(Table(f"{method}, by set", rows))
    return SetResult(
        name=session.name,
        protocol=(
            "OKS with COCO's sigmas over the labelled keypoints that have a COCO-17 name; area as segmented, else 0.53 "
            f"of the box. People are matched one to one by box (IoU at least {MMPOSE_MIN_IOU}); some pictures show "
            "people without labels, so precision is not measured. No K is known."
        ),
        counts={
            "images": images,
            "labelled people": len(scored),
            "found": sum(s.found for s in scored),
        },
        tables=tuple(tables),
        cases=tuple(
            Case(
                s.label, {"found": int(s.found), **{f"oks {m}": float(_oks([s], m)[0]) for m in (DETECTED, PROJECTED)}}
            )
            for s in scored
        ),
        failures=tuple(session.failures),
        seconds_per_image=session.seconds_per_image,
    )


def _label(frame: KeypointFrame) -> str:
    """Set and file; the folder too where it is not the set's own: some sets call every first frame the same."""
    folder, name = frame.photo.path.parts[-2:]
    return f"{frame.source}/{name}" if folder == frame.source else f"{frame.source}/{folder}/{name}"


def _oks(scored: Sequence[_Scored], method: str) -> torch.Tensor:
    truth, predicted = _stack(scored, None), _stack(scored, method)
    area = torch.tensor([s.truth.area_px for s in scored], dtype=torch.float64)
    # A keypoint that the method does not place (the figure has no face) is as wrong as one that is far off.
    similarity = torch.where(predicted.isnan(), torch.full_like(predicted, math.inf), predicted)
    return metrics.oks(similarity, truth, area, truth.isfinite().all(dim=-1))


def _oks_row(scored: Sequence[_Scored], method: str, name: str) -> Row:
    found = [s for s in scored if s.found]
    return Row(
        name,
        {
            "n": len(scored),
            "found": len(found),
            "oks": float(_oks(found, method).nanmean()) if found else math.nan,
            "oks_all": float(_oks(scored, method).nanmean()) if scored else math.nan,
        },
    )
