"""Numbers with one sigma: the same text wherever they stand."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest

from metrichmsr.app.answer import people_table
from metrichmsr.cli_recover import tell_one
from metrichmsr.export import overlay
from metrichmsr.export.quantities import quantity
from metrichmsr.export.result_json import result_document


@pytest.mark.parametrize(
    ("value", "sigma", "text"),
    [
        (1.674, 0.062, "1.67 ± 0.06 m"),
        (6.204, 2.99, "6.20 ± 2.99 m"),
        (1.5, None, "1.50 m"),
        (1.5, math.nan, "1.50 m"),
        (1.82, 0.0, "1.82 m"),
        (None, 1.0, "? m"),
        (math.nan, 1.0, "? m"),
    ],
)
def test_two_decimals_and_the_sigma_where_there_is_one(value, sigma, text):
    assert quantity(value, sigma) == text


def test_other_units_and_decimals():
    assert quantity(1200.4, 36.2, "px", decimals=0) == "1200 ± 36 px"


def test_a_label_has_the_numbers_of_the_table(make_recovery, make_person, monkeypatch):
    person = make_person(height_m=1.674, height_std_m=0.17, distance_std_m=1.234)
    recovery = make_recovery(people=(person,))
    labels: list[str] = []
    monkeypatch.setattr(overlay.Labels, "add", lambda self, thing, color, texts: labels.extend(texts[0]))
    overlay.label_people(np.zeros((96, 128, 3), np.uint8), recovery)
    stature, distance = "1.67 ± 0.17 m", f"{person.distance_m:.2f} ± 1.23 m"
    assert labels == [f"{person.id}  {stature} tall", f"{distance} away"]
    document, table = result_document(recovery), io.StringIO()
    tell_one(Path(), document, table)
    assert f"{stature}   {distance}" in table.getvalue()
    assert stature in people_table(document)
    assert distance in people_table(document)
