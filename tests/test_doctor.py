"""doctor, licenses and the shipped weights' cards."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path

import pytest

from metrichmsr import doctor, licenses
from metrichmsr.errors import ModelFileError
from metrichmsr.weights import list_weights


@pytest.fixture
def quick(monkeypatch):
    """Leaves out the one examination that takes seconds: loading all models."""
    monkeypatch.setattr(doctor, "_recovery", lambda: iter(()))


def by_name(findings, section=None):
    return {finding.name: finding for finding in findings if section in (None, finding.section)}


def test_every_shipped_file_is_what_its_card_says():
    shipped = list_weights()
    assert shipped
    assert {weights.name: weights.status for weights in shipped} == {weights.name: "ok" for weights in shipped}
    assert all(weights.licence for weights in shipped)


def write_weights(folder: Path, name: str, content: bytes, card: str | None) -> None:
    (folder / name).write_bytes(content)
    if card is not None:
        (folder / name).with_suffix(".md").write_text(card, encoding="utf-8")


def test_cards_are_compared(tmp_path):
    right, wrong = hashlib.sha256(b"weights").hexdigest(), hashlib.sha256(b"source").hexdigest()
    write_weights(
        tmp_path, "a.safetensors", b"weights", f"# A\n\n- licence: **MIT**\n- source: {wrong}\n- file: {right}\n"
    )
    write_weights(tmp_path, "b.npz", b"weights", f"| License | CC0-1.0 |\n|---|---|\n| SHA-256 | `{wrong}` |\n")
    write_weights(tmp_path, "c.safetensors", b"weights", None)
    write_weights(tmp_path, "d.safetensors", b"weights", "no numbers, and a word on licences in general\n")
    (tmp_path / "e.md").write_text(right)
    (tmp_path / "README.md").write_text("not a card")
    found = {weights.name: weights for weights in list_weights(tmp_path)}
    assert {name: weights.status for name, weights in found.items()} == {
        "a.safetensors": "ok",
        "b.npz": "changed",
        "c.safetensors": "no card",
        "d.safetensors": "no card",
        "e.safetensors": "missing",
    }
    assert found["a.safetensors"].licence == "MIT"
    assert found["b.npz"].licence == "CC0-1.0"
    assert found["d.safetensors"].licence is None
    assert found["a.safetensors"].size_bytes == 7


def test_this_installation_is_fit():
    findings = doctor.examine()
    broken = [finding for finding in findings if finding.state == "broken"]
    assert broken == []
    names = by_name(findings)
    assert names["python"].state == names["torch"].state == names["cpu"].state == names["anny"].state == "ok"
    assert {finding.section for finding in findings} >= {
        *("versions", "devices", "weights", "body models", "recovery", "optional parts", "folders")
    }
    text = doctor.as_text(findings)
    assert text.endswith("ready: metrichmsr recover photo.jpg")
    assert max(map(len, text.splitlines())) < 400
    document = json.loads(doctor.as_json(findings))
    assert document["fit"] is True
    assert len(document["findings"]) == len(findings)


def test_missing_body_models_say_what_to_do(quick, tmp_path):
    smpl = by_name(doctor.examine(tmp_path), "body models")["smpl"]
    assert smpl.state == "absent"
    assert "smpl.is.tue.mpg.de" in smpl.detail


def test_broken_parts_are_found(quick, monkeypatch, tmp_path):
    write_weights(tmp_path, "a.safetensors", b"weights", hashlib.sha256(b"other").hexdigest())
    monkeypatch.setattr("metrichmsr.weights.list_weights", lambda: list_weights(tmp_path))

    def no_roma(name, real=importlib.import_module):
        if name == "roma":
            raise ImportError("No module named 'roma'")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", no_roma)

    def fail(*args, **kwargs):
        raise ModelFileError("anny.npz: damaged")

    monkeypatch.setattr("metrichmsr.bodies.load_body_model", fail)
    findings = doctor.examine()
    names = by_name(findings)
    assert names["a.safetensors"].state == names["roma"].state == names["anny"].state == "broken"
    assert names["smpl"].state == "absent"
    assert names["anny"].detail == "anny.npz: damaged"
    assert not doctor.is_fit(findings)
    assert "broken: see the lines marked !!" in doctor.as_text(findings)


def test_an_examination_that_fails_is_a_finding(quick, monkeypatch):
    monkeypatch.setattr("metrichmsr.weights.list_weights", lambda: 1 / 0)
    finding = by_name(doctor.examine(), "weights")["examination"]
    assert finding.state == "broken"
    assert "ZeroDivisionError" in finding.detail


def test_licences_of_all_parts():
    parts = licenses.components()
    groups = {part.group for part in parts}
    assert groups >= {"package", "shipped", "dependency", "yours"}
    names = {part.name: part for part in parts}
    assert "Apache" in names["metrichmsr"].licence
    assert names["numpy"].group == "dependency"
    assert "BSD" in names["numpy"].licence
    assert {weights.name for weights in list_weights()} == {part.name for part in parts if part.group == "shipped"}
    assert "pytest" not in names, "what only developers need is not listed"
    text = licenses.as_text(parts)
    assert all(part.name in text and part.licence in text for part in parts)
    assert json.loads(licenses.as_json(parts))[0]["name"] == "metrichmsr"


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT AND Zlib"), ("License", "x")], "MIT AND Zlib"),
        ([("License", "Long text"), ("Classifier", "License :: OSI Approved :: MIT License")], "MIT License"),
        ([("License", "The MIT License\n\nPermission…")], "The MIT License"),
        ([], "see its own files"),
    ],
)
def test_licence_from_package_metadata(fields, licence):
    from email.message import Message

    about = Message()
    for key, value in fields:
        about[key] = value
    assert licenses._licence_of(about) == licence
