"""Initial depth and recovered people → one metric scene (paper §5).

    anchors ► closed form ► affine field of the network ► ẑ = s·z_in + b

The network's answer has to agree with the people at least as well as the closed form's; else the closed form is taken,
and that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from metrichmsr.people.weight_files import WEIGHTS_DIR
from metrichmsr.scene.closed_form import ClosedForm, align
from metrichmsr.scene.depth.protocol import DepthEstimate, SceneAnchors
from metrichmsr.scene.network_input import resize_map, scene_input
from metrichmsr.scene.refinement_network import RefinementNetwork, load_refinement_network
from metrichmsr.structures import AnchorResiduals, Camera, Person

WEIGHTS = WEIGHTS_DIR / "refine_small.safetensors"
"""The shipped checkpoint."""
_NEAREST_M = 0.05
_WORSE = 1.5
"""How much further from the people than the closed form the network's answer may be, and by how much in any case."""
_WORSE_BY = 0.03
_CONTRADICTION = 0.25
"""A person this far (relative) from where the rest of the picture puts them is told of."""
_DISPUTED = 0.4
"""The same of all people together, before anything is aligned, of a source that claims metres."""
_RESIDUAL_PIXELS = 200_000


@dataclass(frozen=True)
class RefinedDepth:
    """What became of the initial depth."""

    depth_m: Float[np.ndarray, "H W"]
    """ẑ, metres, NaN where unknown."""
    how: str
    """``network``, ``closed form`` or ``none``."""
    residuals: AnchorResiduals | None
    closed_form: ClosedForm
    warnings: tuple[str, ...]


class DepthRefiner:
    """Brings depth and people into one scale.

    Args:
        network: None does with the closed form.
    """

    def __init__(self, network: RefinementNetwork | None) -> None:
        self._network = network

    @classmethod
    def load(cls, weights: Path = WEIGHTS, *, device: torch.device | str = "cpu") -> DepthRefiner:
        """With the shipped network, or a file that ``metrichmsr train refine`` wrote.

        Raises:
            ModelFileError: the file is missing or damaged.
        """
        return cls(load_refinement_network(weights, device=device)[0])

    @torch.inference_mode()
    def __call__(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        camera: Camera,
        initial: DepthEstimate,
        people: Sequence[Person],
        anchors: SceneAnchors,
    ) -> RefinedDepth:
        """Refine the depth of one picture.

        Args:
            image: upright RGB.
            camera: its camera.
            initial: z_in.
            people: the recovered ones; rows of the anchors.
            anchors: z_hmr and M_a.
        """
        z = initial.depth_m
        form = align(
            torch.from_numpy(z),
            torch.from_numpy(anchors.depth_m),
            torch.from_numpy(anchors.mask),
            torch.from_numpy(anchors.person),
            torch.from_numpy(anchors.relative_std),
            metric=initial.metric,
        )
        if not form.found:
            why = "nobody was recovered" if not people else "no pixel shows both a person and depth"
            unit = "" if initial.metric else ", and its depth has no metres"
            return RefinedDepth(z, "none", None, form, (f"depth was not refined: {why}{unit}",))
        before = _residual(z, anchors) if initial.metric else float("nan")
        warnings = list(_contradictions(form, people))
        if before > _DISPUTED and not warnings:
            warnings.append(
                f"people and the metres of the depth source disagreed by {100 * before:.0f} % before they were brought "
                "together: a mirror, a poster, an unusual height or a wrong focal length looks like that"
            )
        closed = _positive(form.scale * z + form.shift_m)
        refined, how = closed, "closed form"
        residual = form.residual
        if self._network is not None:
            by_network = self._by_network(image, camera, z, anchors, form)
            told = _residual(by_network, anchors)
            if told <= max(_WORSE * form.residual, form.residual + _WORSE_BY):
                refined, how, residual = by_network, "network", told
            else:
                warnings.append(
                    f"the refinement network moved depth away from the people ({100 * told:.0f} % against "
                    f"{100 * form.residual:.0f} %): one scale and shift were taken instead"
                )
        residuals = AnchorResiduals(
            initial=before,
            closed_form=form.residual,
            refined=residual,
            scale=form.scale,
            shift_m=form.shift_m,
            pixels=form.pixels,
            by_person={people[row].id: value for row, value in form.by_person.items()},
        )
        return RefinedDepth(refined, how, residuals, form, tuple(warnings))

    def _by_network(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        camera: Camera,
        z: Float[np.ndarray, "H W"],
        anchors: SceneAnchors,
        form: ClosedForm,
    ) -> Float[np.ndarray, "H W"]:
        assert self._network is not None
        device = next(self._network.parameters()).device
        scene = scene_input(image, camera, anchors, device=device)
        rows, columns = scene.image.shape[-2:]
        small = torch.from_numpy(resize_map(z, rows, columns))[None].to(device)
        known = torch.isfinite(small)
        pair = torch.tensor([[form.scale, form.shift_m]], dtype=torch.float32, device=device)
        field = self._network(scene, torch.nan_to_num(small), known, pair)
        height, width = z.shape
        # The field is smooth, so it is enlarged and not the depth: that keeps every edge of the initial depth.
        scale, shift = (
            cv2.resize(values[0].float().cpu().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
            for values in (field.scale, field.shift_m)
        )
        return _positive(scale * z + shift)


def _positive(depth: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """NaN where it lies behind the camera or at its lens."""
    return np.where(depth > _NEAREST_M, depth, np.nan).astype(np.float32)


def _residual(depth: Float[np.ndarray, "H W"], anchors: SceneAnchors) -> float:
    chosen = anchors.mask & np.isfinite(depth)
    if not chosen.any():
        return float("inf")
    gap = np.abs(depth[chosen] - anchors.depth_m[chosen]) / anchors.depth_m[chosen]
    return float(np.median(gap[:: 1 + len(gap) // _RESIDUAL_PIXELS]))


def _contradictions(form: ClosedForm, people: Sequence[Person]) -> list[str]:
    lines = []
    for row, value in form.by_person.items():
        if value > _CONTRADICTION:
            lines.append(
                f"person {people[row].id} and the depth around disagree by {100 * value:.0f} %: in a mirror, on a "
                "poster, of an unusual height, or misplaced"
            )
    return lines
