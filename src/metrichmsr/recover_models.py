"""The models of a recovery, each loaded when it is first used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from metrichmsr.errors import UsageError
from metrichmsr.recover_options import RecoverOptions

if TYPE_CHECKING:
    from metrichmsr.bodies.protocol import BodyModel
    from metrichmsr.scene.recover_scene import SceneRecoverer

# Models, and the options that decide which they are.
_SHARED = {
    "_anny": (),
    "_detector": (),
    "_landmarker": (),
    "_face_reader": (),
    "fitter": (),
    "regressor": ("method", "checkpoint"),
    "_other_body": ("body_model", "body_model_dir"),
    "_measurer": ("body_model", "body_model_dir"),
    "_scene": ("depth", "depth_unit", "refine_depth", "download"),
}


class RecoverModels:
    """What the options need, on one device.

    Args:
        options: how people are recovered.
        device: torch device of the networks that see pictures; bodies are small, and stay on the CPU.

    Raises:
        UsageError: there is no such device.
    """

    def __init__(self, options: RecoverOptions, device: str) -> None:
        self.options = options
        self.device = device
        if device != "cpu":
            check_device(device)

    def _share(self, other: RecoverModels) -> None:
        """Give another what is loaded here and is the same there."""
        for name, decided_by in _SHARED.items():
            if name in self.__dict__ and all(
                getattr(other.options, by) == getattr(self.options, by) for by in decided_by
            ):
                other.__dict__[name] = self.__dict__[name]

    @cached_property
    def fitter(self) -> Any:
        """The fitter with its body and priors."""
        from metrichmsr.hmr.fitting.fit import Fitter

        return Fitter.load(self._anny)

    @cached_property
    def _scene(self) -> SceneRecoverer | None:
        """The depth stage; None where the options leave it out."""
        options = self.options
        if options.depth == "none":
            return None
        from metrichmsr.scene.depth.registry import load_depth_source
        from metrichmsr.scene.recover_scene import SceneRecoverer
        from metrichmsr.scene.refine import DepthRefiner

        source = load_depth_source(
            options.depth, download=options.download, device=self.device, unit=options.depth_unit
        )
        refiner = None
        if options.refine_depth == "network":
            refiner = DepthRefiner.load(device=self.device)
        elif options.refine_depth == "closed-form":
            refiner = DepthRefiner(None)
        return SceneRecoverer(source, refiner)

    @cached_property
    def regressor(self) -> Any:
        """The network with its body."""
        from metrichmsr.hmr.regress import WEIGHTS, Regressor

        return Regressor.load(self._anny, self.options.checkpoint or WEIGHTS)

    @cached_property
    def _anny(self) -> Any:
        from metrichmsr.bodies.anny import AnnyBody

        return AnnyBody.load()

    @cached_property
    def _other_body(self) -> BodyModel | None:
        """The user's body model, where the result is to be in another one than the fit's."""
        from metrichmsr.bodies import load_body_model

        if self.options.body_model == "anny":
            return None
        return load_body_model(self.options.body_model, body_model_dir=self.options.body_model_dir)

    @cached_property
    def _measurer(self) -> Any:
        """What measures the bodies of the result."""
        from metrichmsr.bodies.measurement_doubt import Measurer

        return Measurer(self._other_body or self._anny)

    @cached_property
    def _versions(self) -> Mapping[str, str]:
        from metrichmsr import __version__
        from metrichmsr.weights import file_hash, short_hash

        parts = ["blazepose_heavy", "movenet_multipose", "anny", "pose_prior", "seen_landmarks", "view_small"]
        if self._scene is not None:
            parts += ["depth_small"] if self._scene.source.name == "embedded" else []
            parts += ["refine_small"] if self.options.refine_depth == "network" else []
        named = []
        if self.options.method == "network":
            given = self.options.checkpoint
            parts += ["face_small"] if self.options.faces else []
            named = [f"{given.stem}:{file_hash(given)[:8]}" if given else f"hmr_small:{short_hash('hmr_small')}"]
        return {
            "metrichmsr": __version__,
            "checkpoint": " ".join([*named, *(f"{part}:{short_hash(part)}" for part in parts)]),
        }

    @cached_property
    def _boxes(self) -> Mapping[str, np.ndarray]:
        from metrichmsr.people.boxes import read_boxes

        return read_boxes(self.options.boxes) if self.options.boxes is not None else {}

    @cached_property
    def _detector(self) -> Any:
        from metrichmsr.people import MoveNetDetector

        detector = MoveNetDetector()
        detector.network.to(self.device)
        return detector

    @cached_property
    def _landmarker(self) -> Any:
        from metrichmsr.people import Landmarker

        landmarker = Landmarker()
        landmarker.network.to(self.device)
        return landmarker

    @cached_property
    def _face_reader(self) -> Any:
        from metrichmsr.people.faces import FaceReader

        return FaceReader()


def check_device(device: str) -> None:
    """Raises UsageError where torch has no such device here."""
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).splitlines()[0]
        raise UsageError(f"--device {device}: there is no such device here ({why}); see metrichmsr doctor") from error
