"""People with a skeleton: real Anny bodies in random poses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from export_people import posed_person

from metrichmsr.bodies import load_body_model
from metrichmsr.bodies.protocol import BodyModel
from metrichmsr.structures import Person


@pytest.fixture(scope="session")
def anny() -> BodyModel:
    return load_body_model("anny")


@pytest.fixture
def make_anny(anny) -> Callable[..., Person]:
    """Factory of a person with Anny's body and skeleton."""

    def make(id: int = 0, pelvis=(0.2, 0.1, 4.0), **fields) -> Person:
        return posed_person(anny, id, pelvis, **fields)

    return make
