"""Which convolution of the original files becomes which weight of our modules.

BlazePose's file has no names worth keeping; its convolutions are matched by their order of execution. MoveNet's and the
face network's are matched by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metrichmsr.people.blazepose import STAGES, TOWER, BlazePoseHeavy
from metrichmsr.people.face_network import FaceNetwork
from metrichmsr.people.movenet import BACKBONE, MoveNetMultiPose
from person_networks.tfjs_reader import read_tfjs_weights
from person_networks.tflite_reader import read_tflite


def separable(name: str) -> list[str]:
    """The two convolutions of a separable one."""
    return [f"{name}.depthwise", f"{name}.pointwise"]


def blazepose_order() -> Iterator[str]:
    """Our names of BlazePose's convolutions, in the order in which the original graph runs them."""
    laterals = {  # what reads the map *before* this stage; the graph runs it right behind the stage's first 1×1
        "grid64": ["mask_head.from_stem"],
        "grid32": ["pyramid.lateral64"],
        "grid16a": ["pyramid.lateral32", "tower.lateral32"],
        "grid8": ["pyramid.lateral16", "tower.lateral16"],
    }
    yield from (f"backbone.stem.{part}" for part in ("conv", "depthwise", "project"))
    for name, stage in STAGES.items():
        for i in range(stage.blocks):
            yield f"backbone.{name}.{i}.expand"
            for lateral in laterals.get(name, []) if i == 0 else []:
                yield from separable(lateral)
            yield f"backbone.{name}.{i}.depthwise"
            yield f"backbone.{name}.{i}.project"
    yield from ("backbone.top.0", "backbone.top.1")
    yield from separable("pyramid.lateral8")
    yield from separable("tower.r32.0.conv")
    yield from separable("mask_head.from_pyramid")
    for block in ("refine128.0", "refine128.1", "refine256.0", "refine256.1"):
        yield from separable(f"mask_head.{block}.conv")
    yield "mask_head.logits"
    for name, (_, blocks) in TOWER.items():
        for i in range(blocks + 1):
            if (name, i) != ("r32", 0):
                yield from separable(f"tower.{name}.{i}.conv")
        if name == "r8":
            yield "heatmap_head"
            yield from separable("tower.lateral8")
    yield from ("landmark_head", "world_head", "flag_head")


def blazepose_state(path: Path) -> dict[str, Tensor]:
    """Full-precision state dict of :class:`BlazePoseHeavy` from ``pose_landmark_heavy.tflite``."""
    convolutions = read_tflite(path).convolutions()
    state = {}
    for name, (operator, weight, bias) in zip(blazepose_order(), convolutions, strict=True):
        axes = (0, 3, 1, 2) if operator == "CONV_2D" else (3, 0, 1, 2)
        state[f"{name}.weight"] = torch.from_numpy(np.ascontiguousarray(weight.transpose(axes)))
        state[f"{name}.bias"] = torch.from_numpy(bias.copy())
    BlazePoseHeavy().load_state_dict(state)  # every name and shape fits
    return state


def movenet_names() -> Iterator[tuple[str, str, str | None]]:
    """(our name, original weight, original bias or None) of every convolution of MoveNet."""
    root = "center_net_mobile_net_v2fpn_feature_extractor/model_1"

    def folded(ours: str, theirs: str, kind: str = "Conv2D") -> tuple[str, str, str]:
        return ours, f"{root}/model/{theirs}/{kind}_weights", f"{root}/model/{theirs}/{kind}_bn_offset"

    yield folded("backbone.stem", "Conv1")
    yield folded("backbone.stem_depthwise", "expanded_conv_depthwise", "depthwise")
    yield folded("backbone.stem_project", "expanded_conv_project")
    for i in range(sum(blocks for _, blocks, _ in BACKBONE)):
        yield folded(f"backbone.blocks.{i}.expand", f"block_{i + 1}_expand")
        yield folded(f"backbone.blocks.{i}.depthwise", f"block_{i + 1}_depthwise", "depthwise")
        yield folded(f"backbone.blocks.{i}.project", f"block_{i + 1}_project")
    yield folded("backbone.top", "Conv_1")

    def plain(ours: str, theirs: str) -> tuple[str, str, str]:
        return ours, f"{theirs}/Conv2D/ReadVariableOp", f"{theirs}/BiasAdd/ReadVariableOp"

    for ours, theirs in (("32", ""), ("16", "_1"), ("8", "_2"), ("4", "_3")):
        yield plain(f"pyramid.lateral{ours}", f"{root}/conv2d{theirs}")
    for ours, theirs in (("16", ""), ("8", "_1"), ("4", "_2")):
        inner = f"{root}/separable_conv2d{theirs}/separable_conv2d"
        yield f"pyramid.merge{ours}.depthwise", f"{inner}/ReadVariableOp", None
        yield f"pyramid.merge{ours}.pointwise", f"{inner}_weights", f"{inner}_bn_offset"
    heads = {
        "center": "center_0",
        "box_scale": "box_scale_0",
        "box_offset": "box_offset_0",
        "keypoint_heatmap": "kpt_heatmap_0",
        "keypoint_regression": "kpt_regress_0",
        "keypoint_offset": "kpt_offset_0",
    }
    for number, (ours, theirs) in enumerate(heads.items(), start=3):
        inner = f"{theirs}/separable_conv2d_{number}"
        yield f"heads.{ours}.merge.depthwise", f"{inner}/separable_conv2d/ReadVariableOp", None
        bias = f"{inner}/BiasAdd/ReadVariableOp"
        yield f"heads.{ours}.merge.pointwise", f"{inner}/separable_conv2d/ReadVariableOp_1", bias
        yield plain(f"heads.{ours}.out", f"{theirs}/conv2d_{number + 1}")


def movenet_state(path: Path) -> dict[str, Tensor]:
    """Full-precision state dict of :class:`MoveNetMultiPose` from ``movenet-multipose.json``."""
    original = read_tfjs_weights(path)
    state = {}
    for ours, weight_name, bias_name in movenet_names():
        weight = original[f"StatefulPartitionedCall/{weight_name}"]
        depthwise = weight.shape[3] == 1 and "depthwise" in ours
        axes = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)  # HWIO; depthwise: HWC1
        state[f"{ours}.weight"] = torch.from_numpy(np.ascontiguousarray(weight.transpose(axes)))
        if bias_name is not None:
            state[f"{ours}.bias"] = torch.from_numpy(original[f"StatefulPartitionedCall/{bias_name}"].copy())
    MoveNetMultiPose().load_state_dict(state)
    return state


def face_names() -> Iterator[tuple[str, str]]:
    """Our names of the face network's parts and the original's."""
    yield "stem", "entry_flow/conv_in"
    reductions = {
        "entry.0": "entry_flow/reduction_block_0",
        "entry.1": "entry_flow/reduction_block_1",
        "exit.0": "exit_flow/reduction_block",
    }
    for ours, theirs in reductions.items():
        yield from ((f"{ours}.separable.{i}", f"{theirs}/separable_conv{i}") for i in range(2))
        yield f"{ours}.shortcut", f"{theirs}/expansion_conv"
    for block in range(2):
        parts = range(3)
        yield from (
            (f"middle.{block}.separable.{i}", f"middle_flow/main_block_{block}/separable_conv{i}") for i in parts
        )
    yield "exit.1", "exit_flow/separable_conv"
    yield "age", "fc/age"
    yield "sex", "fc/gender"


def face_state(path: Path) -> dict[str, Tensor]:
    """State dict of :class:`FaceNetwork` from ``age_gender_model-weights_manifest.json``."""
    original = {name: torch.from_numpy(weight.copy()) for name, weight in read_tfjs_weights(path).items()}
    state = {}
    for ours, theirs in face_names():
        if f"{theirs}/depthwise_filter" in original:
            state[f"{ours}.depthwise.weight"] = original[f"{theirs}/depthwise_filter"].permute(2, 3, 0, 1).contiguous()
            pointwise = original[f"{theirs}/pointwise_filter"]
            state[f"{ours}.pointwise.weight"] = pointwise.permute(3, 2, 0, 1).contiguous()
            state[f"{ours}.pointwise.bias"] = original[f"{theirs}/bias"]
        elif f"{theirs}/filters" in original:
            state[f"{ours}.weight"] = original[f"{theirs}/filters"].permute(3, 2, 0, 1).contiguous()
            state[f"{ours}.bias"] = original[f"{theirs}/bias"]
        else:
            state[f"{ours}.weight"] = original[f"{theirs}/weights"].T.contiguous()
            state[f"{ours}.bias"] = original[f"{theirs}/bias"]
    FaceNetwork().load_state_dict(state)
    return state
