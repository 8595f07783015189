"""Parametric bodies: one protocol; Anny carried along, SMPL, SMPL-H and SMPL-X from the user's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from metrichmsr.bodies.protocol import BodyModel, BodyOutput, RestBody
from metrichmsr.errors import ModelFileError

__all__ = ["BodyModel", "BodyOutput", "RestBody", "load_body_model"]

BodyModelName = Literal["anny", "smpl", "smplh", "smplx"]


def load_body_model(
    name: str = "anny",
    *,
    body_model_dir: Path | str | None = None,
    gender: Literal["neutral", "male", "female"] = "neutral",
) -> BodyModel:
    """A body model by name.

    Args:
        name: ``anny`` (carried by the package), ``smpl``, ``smplh`` or ``smplx``.
        body_model_dir: folder with the user's SMPL-family files; Anny needs none.
        gender: which of the SMPL-family's three models; Anny's gender is a shape parameter.

    Raises:
        ModelFileError: the model's file is missing (the message says where to get it and where to put it), or is
            something else.
    """
    if name == "anny":
        from metrichmsr.bodies.anny import AnnyBody

        return AnnyBody.load()
    if name in ("smpl", "smplh", "smplx"):
        from metrichmsr.bodies.smpl import SmplBody

        return SmplBody.find(name, body_model_dir, gender=gender)
    raise ModelFileError(f"{name!r} is not a body model; there are anny, smpl, smplh and smplx")
