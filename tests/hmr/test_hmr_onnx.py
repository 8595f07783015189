"""The exported network answers as ours does, for any number of people; its JSON says what goes in and out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_hmr_network import TINY, crops, evidence

from metrichmsr import cli
from metrichmsr.errors import UsageError
from metrichmsr.export import onnx as onnx_export
from metrichmsr.export.onnx import PortableNetwork, export_onnx, file_hash, inputs, outputs, random_inputs
from metrichmsr.hmr.body_parameters import SIZES, BodyParameters
from metrichmsr.hmr.checkpoint import save_network
from metrichmsr.hmr.config import NetworkConfig
from metrichmsr.hmr.network import MetricHMR, build


def lively(config: NetworkConfig) -> MetricHMR:
    """A random network whose answers depend on what it sees."""
    torch.manual_seed(0)
    network = build(config).eval()
    with torch.no_grad():
        for head in (network.heads.pose, network.heads.shape, network.heads.position):
            head.out.weight.normal_(std=0.05)
    return network


def test_portable_network_is_the_network_without_the_body() -> None:
    from metrichmsr.bodies.anny import AnnyBody

    network, K_crop = lively(TINY), crops(2)
    crop = evidence(2, TINY)
    parameters = BodyParameters(AnnyBody.load().restricted_to(torch.arange(1)), SIZES["anny"])
    bodies = network.infer(crop, K_crop, parameters)
    assert crop.landmarks is not None
    with torch.no_grad():
        made = PortableNetwork(network, TINY)(crop.rays, crop.landmarks, K_crop, crop.features, crop.mask)
    named = dict(zip([port.name for port in outputs(network)], made, strict=True))
    assert torch.equal(parameters.expand(named["rotations"]), bodies.pose)
    assert torch.equal(named["shape"], bodies.shape)
    assert torch.equal(named["translation_m"], bodies.translation_m)
    assert torch.equal(named["distance_sigma"], bodies.distance_sigma)
    assert torch.equal(named["height_sigma_m"], bodies.height_sigma_m)
    assert torch.equal(named["joint_sigma_m"], bodies.joint_sigma_m)


@pytest.mark.parametrize(("features", "tuned"), [(True, False), (True, True), (False, True)])
def test_onnx_answers_as_torch_does(tmp_path: Path, features: bool, tuned: bool) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    config = replace(TINY, features=features, tuned=tuned)
    network = lively(config)
    path = tmp_path / "network.onnx"
    document = export_onnx(network, config, path)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [port.name for port in session.get_inputs()] == [port["name"] for port in document["inputs"]]
    asked = {port["name"] for port in document["inputs"]}
    assert ("features" in asked) == features
    assert ("grid32" in asked) == (features and tuned)
    portable = PortableNetwork(network, config)
    for batch in (1, 3):
        given = random_inputs(config, batch, seed=batch)
        with torch.no_grad():
            wanted = portable(**given)
        made = session.run(None, {name: value.numpy() for name, value in given.items()})
        for port, ours, theirs in zip(document["outputs"], wanted, made, strict=True):
            assert list(theirs.shape) == [batch, *port["shape"][1:]], port["name"]
            assert torch.allclose(ours, torch.from_numpy(theirs), atol=1e-4), port["name"]
    assert json.loads(path.with_suffix(".json").read_text()) == document
    assert document["sha256"] == file_hash(path)


def test_different_inputs_have_different_answers() -> None:
    network = lively(TINY)
    portable = PortableNetwork(network, TINY)
    with torch.no_grad():
        one, other = (portable(**random_inputs(TINY, 1, seed=seed)) for seed in (1, 2))
    assert not any(torch.allclose(a, b) for a, b in zip(one, other, strict=True))


def test_only_landmark_networks_are_exported() -> None:
    with pytest.raises(UsageError, match="reads vitpose"):
        PortableNetwork(lively(TINY), replace(TINY, image_encoder="vitpose"))


def test_inputs_name_their_shapes() -> None:
    shapes = {port.name: port.shape for port in inputs(TINY)}
    assert {name: tuple(value.shape[1:]) for name, value in random_inputs(TINY, 2).items()} == shapes


def test_export_verb(tmp_path: Path, capsys) -> None:
    pytest.importorskip("onnxscript")
    checkpoint, target = tmp_path / "tiny.safetensors", tmp_path / "made" / "tiny.onnx"
    save_network(checkpoint, lively(TINY), TINY)
    assert cli.main(["export", "onnx", "--checkpoint", str(checkpoint), "--out", str(target)]) == 0
    document = json.loads(target.with_suffix(".json").read_text())
    assert document["checkpoint"] == {"file": "tiny.safetensors", "sha256": file_hash(checkpoint)}
    assert len(document["bones"]) == SIZES["anny"].bones
    assert len(document["shape_names"]) == SIZES["anny"].shapes
    assert "batch × 36 × 3 × 3" in capsys.readouterr().out


def test_export_verb_names_what_is_wrong(tmp_path: Path, capsys, monkeypatch) -> None:
    assert cli.main(["export", "tflite"]) == 2
    assert "there is onnx" in capsys.readouterr().err.lower()
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None)
    assert cli.main(["export", "onnx"]) == 2
    assert "pip install 'metrichmsr[onnx]'" in capsys.readouterr().err
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: object())
    assert cli.main(["export", "onnx", "--checkpoint", str(tmp_path / "none.safetensors")]) == 2
    assert "no such checkpoint" in capsys.readouterr().err
    checkpoint = tmp_path / "tiny.safetensors"
    save_network(checkpoint, lively(TINY), TINY)
    assert cli.main(["export", "onnx", "--checkpoint", str(checkpoint), "--out", str(tmp_path / "a.bin")]) == 2
    assert "must end in .onnx" in capsys.readouterr().err
