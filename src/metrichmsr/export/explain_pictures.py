"""The pictures of one explained person: the paper's Figures 4 and 5, the ray map, and the sheet that joins them."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from metrichmsr.explain import Explanation
from metrichmsr.export import explain_panels as panels
from metrichmsr.export.explain_sheet import Panel, Scale, frame, join_rows, stack, table
from metrichmsr.export.overlay_meshes import blend_meshes, join_people
from metrichmsr.export.palette import clay_color, person_color
from metrichmsr.export.quantities import quantity
from metrichmsr.geometry import crop_intrinsics
from metrichmsr.hmr.routing_maps import LayerTrace, assignment

SHEET_PANEL_PX = 340
"""Side of a picture on the sheet."""
_COLUMNS = 4
_MOST_EXPERTS = 8
"""Routed experts on a sheet; the pictures one by one and explain.json have all."""
_MOST_ROWS = 10


class PersonPictures:
    """Draws everything about one person.

    Args:
        explanation: of the photo.
        person: which one.
        size: side of each picture, pixels.
    """

    def __init__(self, explanation: Explanation, person: int, *, size: int = SHEET_PANEL_PX) -> None:
        self.explanation = explanation
        self.person = person
        self.size = size
        landmarks = explanation.landmarks
        crop_from_image = landmarks.crop_from_image[person]
        self.crop = panels.cut_crop(explanation.recovery.image, crop_from_image, explanation.crop_size, self.size)
        in_crop = landmarks.xy[person] @ crop_from_image[:2, :2].T + crop_from_image[:2, 2]
        self.places = in_crop * (self.size / explanation.crop_size)
        mask = cv2.resize(landmarks.mask_logits[person].astype(np.float32), (self.size, self.size))
        self.mask = mask > 0

    def expert_panels(self) -> dict[str, Panel]:
        """Figure 4: where each named expert works, in the last Patch MoE layer; empty without one."""
        layer = self.explanation.last_patch_layer
        if layer is None:
            return {}
        made = self._routed_panels(layer)
        shares, places = layer.shares(), self.places
        if "shared" in shares:
            share = shares["shared"][self.person].numpy()
            low, high = _scale(share)
            picture = panels.draw_heat(self.crop, share, self.explanation.layout, places, low=low, high=high)
            made["shared"] = Panel(
                picture,
                "shared expert",
                "its part of what is added to each image token",
                Scale(low, high, panels.heat_colors, _percent),
            )
        side = self.explanation.config.ray_size // self.explanation.config.ray_patch
        strength = layer.added["ray"][self.person].numpy()
        if self.explanation.config.ray_map:  # the first is the summary of the map; behind the map gravity may stand
            cells = strength[1 : 1 + side * side].reshape(side, side)
            low, high = math.floor(10 * cells.min()) / 10, math.ceil(10 * cells.max()) / 10
            picture = panels.draw_grid_heat(self.crop, cells, low=low, high=high)
            made["ray"] = Panel(
                picture,
                "ray expert",
                "length of what it adds to each patch of the ray map",
                Scale(low, high, panels.heat_colors, "{:.1f}".format),
            )
        return made

    def _routed_panels(self, layer: LayerTrace) -> dict[str, Panel]:
        if layer.routing is None:
            return {}
        weights = layer.routing.combine[self.person].numpy()
        experts = weights.shape[1]
        low, high = _scale(weights)
        scale = Scale(
            low, high, panels.heat_colors, _percent, mark=1 / experts, mark_text=f"even: {_percent(1 / experts)}"
        )
        return {
            f"routed {i + 1}": Panel(
                panels.draw_heat(self.crop, weights[:, i], self.explanation.layout, self.places, low=low, high=high),
                f"routed expert {i + 1}",
                f"routing weight g{i + 1} of each token, mean {_percent(weights[:, i].mean())}",
                scale,
                color=panels.expert_color(i, experts),
            )
            for i in range(experts)
        }

    def assignment_panel(self) -> Panel | None:
        """Figure 5: the routed expert that each token reads most of; None without routed experts over the crop."""
        layer = self.explanation.last_patch_layer
        if layer is None or layer.routing is None:
            return None
        assigned = assignment(layer.routing)[self.person].numpy()
        experts = layer.routing.combine.shape[-1]
        share = np.bincount(assigned, minlength=experts) / len(assigned)
        return Panel(
            panels.draw_assignment(self.crop, assigned, self.explanation.layout, self.places, experts),
            "expert assignment",
            "the routed expert with the largest weight; share of tokens",
            legend=tuple(
                (panels.expert_color(i, experts), f"{_short(i, experts)}: {_percent(share[i])}")
                for i in _foremost(share)
            ),
        )

    def ray_panels(self) -> tuple[Panel, Panel]:
        """The bounding ray map as angles in x and in y."""
        angles = panels.ray_angles_deg(self.explanation.K_crop[self.person], self.explanation.crop_size, self.size)
        made = []
        for angle, title, subtitle in zip(
            angles,
            ("bounding ray map, x", "bounding ray map, y"),
            ("angle to the right of the optical axis, atan(x/z)", "angle below the optical axis, atan(y/z)"),
            strict=True,
        ):
            scale = Scale(float(angle.min()), float(angle.max()), panels.angle_colors, "{:.1f}°".format)
            made.append(Panel(panels.draw_ray_angle(angle, self.mask), title, subtitle, scale))
        return made[0], made[1]

    def landmark_panel(self) -> Panel:
        """The crop with the landmarks that the network reads."""
        confidence = self.explanation.landmarks.confidence[self.person]
        turn = turn_deg(self.explanation.landmarks.crop_from_image[self.person])
        return Panel(
            panels.draw_landmarks(self.crop, self.places, confidence),
            "crop with landmarks",
            f"turned {_either(turn, '', 'clockwise', 'counter-clockwise', 0)}; hollow dots: doubtful",
            legend=((panels.LEFT_COLOR, "person's left"), (panels.RIGHT_COLOR, "person's right")),
        )

    def overlay_panel(self) -> Panel:
        """The body over the photo, with the crop's outline."""
        recovery = self.explanation.recovery
        person = recovery.people[self.person]
        corners = self._crop_corners()
        middle, reach = corners.mean(0), 1.06 * np.abs(corners - corners.mean(0)).max()
        box = np.concatenate([middle - reach, middle + reach])
        scale = self.size / (2 * reach)
        region = np.array([[scale, 0, -scale * box[0]], [0, scale, -scale * box[1]], [0, 0, 1.0]])
        picture = panels.cut_crop(recovery.image, region, self.size, self.size).copy()
        K = crop_intrinsics(
            torch.tensor(recovery.camera.K), torch.tensor(box), crop_height=self.size, crop_width=self.size
        )
        if np.isfinite(person.vertices_m).all():
            blend_meshes(picture, join_people([person]), clay_color(person.id)[None], K, opacity=0.85)
        outline = np.rint(16 * (corners * scale + region[:2, 2])).astype(np.int32)
        for color, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.polylines(picture, [outline], True, color, width, cv2.LINE_AA, 4)
        height = f"{quantity(person.height_m, person.height_std_m)} tall"
        distance = f"{quantity(person.distance_m, person.distance_std_m)} away"
        return Panel(
            picture,
            "body over the photo",
            "white: outline of the crop",
            legend=((person_color(person.id), height), (None, distance)),
        )

    def sheet(self) -> Image.Image:
        """Everything on one page."""
        explanation = self.explanation
        layer, experts, assigned = explanation.last_patch_layer, self.expert_panels(), self.assignment_panel()
        given = [self.landmark_panel(), *self.ray_panels(), self.overlay_panel()]
        rows: list[tuple[str, list[Image.Image]]] = [
            ("What the network was given, and its answer", [frame(p) for p in given])
        ]
        routed = []
        if layer is not None and layer.routing is not None:
            used = layer.routing.combine[self.person].mean(0).numpy()
            routed = [frame(experts[f"routed {i + 1}"]) for i in _foremost(used)]
        others = [frame(panel) for name, panel in experts.items() if not name.startswith("routed")]
        if assigned is not None:
            others.insert(0, frame(assigned))
        if explanation.effects:
            others.append(self._tables())
        name = "" if layer is None else f"Patch MoE, layer {layer.name.split()[1]} (the last)"
        for start in range(0, len(routed), _COLUMNS):
            rows.append((f"{name}: routing weights over the crop", routed[start : start + _COLUMNS]))
        if others:
            heading = f"{name}: assignment, shared expert, ray expert; effects" if name else "Effects of experts"
            rows.append((heading, others))
        return join_rows(rows, title=self._title(), lines=[*self._lines(), *explanation.notes])

    def _tables(self) -> Image.Image:
        explanation, half = self.explanation, (self.size + 90) // 2
        layers = list(dict.fromkeys(effect.layer for effect in explanation.effects))
        experts = list(dict.fromkeys(effect.expert for effect in explanation.effects))
        moved = np.full((len(experts), len(layers)), np.nan)
        for effect in explanation.effects:
            moved[experts.index(effect.expert), layers.index(effect.layer)] = effect.joints_mm[self.person]
        keep = np.sort(np.argsort(-np.nanmax(moved, axis=1))[:_MOST_ROWS])
        made = [
            table(
                moved[keep],
                [experts[i] for i in keep],
                layers,
                width=self.size,
                height=half,
                title="Without this expert joints move by (mm)",
                write=lambda v: f"{v:.1f}" if v < 99.95 else f"{v:.0f}",
                low=0.0,
                high=float(np.nanmax(moved)),
            )
        ]
        layer = explanation.last_global_layer
        if layer is not None and layer.routing is not None:
            weights = layer.routing.combine[self.person].numpy()[:_MOST_ROWS]
            columns = _foremost(weights.mean(0))
            low, high = _scale(weights)
            made.append(
                table(
                    weights[:, columns],
                    [f"query {i + 1}" for i in range(len(weights))],
                    [_short(i, layer.routing.combine.shape[-1]) for i in columns],
                    width=self.size,
                    height=half,
                    title=f"Global MoE, layer {layer.name.split()[1]}: routing weight of each query",
                    write=_percent,
                    low=low,
                    high=high,
                )
            )
        return stack(made)

    def _title(self) -> str:
        return f"{self.explanation.recovery.image_path.name}, person {self.person}: what each expert worked on"

    def _lines(self) -> list[str]:
        explanation = self.explanation
        camera, K = explanation.recovery.camera, explanation.K_crop[self.person]
        focal = math.sqrt(abs(K[0, 0] * K[1, 1] - K[0, 1] * K[1, 0]))
        config = explanation.config
        size = explanation.crop_size
        middle = np.linalg.inv(K) @ [size / 2, size / 2, 1]
        x_deg, y_deg = (math.degrees(math.atan2(value, middle[2])) for value in middle[:2])
        layout, cells = explanation.layout, ""
        if layout.rows:
            cells = f" and {layout.rows} x {layout.columns} cells"
        experts = (
            f"{config.routed_experts} routed, 1 shared, 1 ray expert in each of " if config.moe else "no experts in "
        )
        return [
            f"camera: f = {camera.focal_px:.0f} px ({camera.source}), {camera.fov_x_deg:.0f}° across  |  crop K': "
            f"f' = {focal:.0f} px of {size}, its middle looks {_either(x_deg, 'to the ', 'right', 'left')} and "
            f"{_either(y_deg, '', 'down', 'up')}",
            f"network: {explanation.checkpoint.name}, {experts}{config.patch_layers} patch and {config.global_layers} "
            f"global layers  |  image tokens: {layout.landmarks} landmarks (dots){cells}",
        ]

    def _crop_corners(self) -> Float[np.ndarray, "4 2"]:
        size = self.explanation.crop_size
        corners = np.array([[0, 0, 1], [size, 0, 1], [size, size, 1], [0, size, 1]], dtype=np.float64)
        mapped = corners @ np.linalg.inv(self.explanation.landmarks.crop_from_image[self.person]).T
        return mapped[:, :2] / mapped[:, 2:]


def rays_picture(person: PersonPictures) -> Image.Image:
    """Both angles of the ray map side by side."""
    heading = f"{person.explanation.recovery.image_path.name}, person {person.person} (white: outline)"
    return join_rows([(heading, [frame(panel) for panel in person.ray_panels()])], title="Bounding ray map", lines=[])


def turn_deg(crop_from_image: Float[np.ndarray, "3 3"]) -> float:
    """How far the crop's outline is turned in the photo, degrees clockwise."""
    return math.degrees(math.atan2(-crop_from_image[1, 0], crop_from_image[0, 0]))


def _either(angle_deg: float, before: str, positive: str, negative: str, decimals: int = 1) -> str:
    return f"{abs(angle_deg):.{decimals}f}° {before}{positive if angle_deg >= 0 else negative}"


def _short(expert: int, count: int) -> str:
    """Name of a routed expert; the number alone where there are many."""
    return f"routed {expert + 1}" if count <= 4 else str(expert + 1)


def _foremost(values: np.ndarray) -> list[int]:
    """The largest of many, in their own order."""
    return np.sort(np.argsort(-values, kind="stable")[:_MOST_EXPERTS]).tolist()


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.0995 or value == 0 else f"{100 * value:.1f} %"


def _scale(values: np.ndarray) -> tuple[float, float]:
    """Ends of a scale in whole per cent around all values, at least two apart."""
    low, high = math.floor(100 * float(values.min())), math.ceil(100 * float(values.max()))
    if high - low < 2:
        low, high = max(low - 1, 0), high + 1
    return low / 100, high / 100
