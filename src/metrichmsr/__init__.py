"""Metric human meshes from one photo.

    import metrichmsr
    recovery = metrichmsr.recover("photo.jpg")
    for person in recovery.people:
        print(person.height_m, person.distance_m)

The few public names are loaded when they are first used, so that ``import metrichmsr`` costs milliseconds and does not
import torch.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metrichmsr.bodies import load_body_model as load_body_model
    from metrichmsr.recover import Recoverer as Recoverer
    from metrichmsr.recover import recover as recover
    from metrichmsr.structures import COCO17 as COCO17
    from metrichmsr.structures import Camera as Camera
    from metrichmsr.structures import Person as Person
    from metrichmsr.structures import Recovery as Recovery
    from metrichmsr.structures import Scene as Scene

    __version__: str

_HOMES = {
    "COCO17": "metrichmsr.structures",
    "Camera": "metrichmsr.structures",
    "Person": "metrichmsr.structures",
    "Recoverer": "metrichmsr.recover",
    "Recovery": "metrichmsr.structures",
    "Scene": "metrichmsr.structures",
    "load_body_model": "metrichmsr.bodies",
    "recover": "metrichmsr.recover",
}

__all__ = ["COCO17", "Camera", "Person", "Recoverer", "Recovery", "Scene", "__version__", "load_body_model", "recover"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = _installed_version()
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _installed_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("metrichmsr")
    except PackageNotFoundError:  # a source tree on the path, not installed
        return "0+unknown"


class _Package(ModuleType):
    """Keeps ``metrichmsr.recover`` the function.

    The import system sets every imported submodule as an attribute of its package, so the first import of the module
    ``metrichmsr.recover`` would hide the function of the same name.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
