"""The network as an ONNX file, for runtimes without torch, with a JSON beside it that says what goes in and out.

The graph ends where body models begin: rotations, shape and position of each body. Meshes are made from them by the
body model, in whatever language has one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.errors import MissingPackageError, ModelFileError, UsageError
from metrichmsr.export.atomic import OutputError, atomic_file
from metrichmsr.hmr.config import NetworkConfig
from metrichmsr.hmr.crop_evidence import CROP_SIZE
from metrichmsr.hmr.heads import camera_from_crop, decode_position
from metrichmsr.hmr.image_encoders import CropEvidence
from metrichmsr.hmr.network import MetricHMR
from metrichmsr.hmr.stature_grid import BIN_M, STATURES_M

FORMAT = "metrichmsr-onnx/1"
OPSET = 20
"""The first with GELU as one operation."""

_OPTIONAL = ("features", "mask", "up", "grid32")


@dataclass(frozen=True)
class Port:
    """An input or output of the graph; the first axis is the batch of people."""

    name: str
    shape: tuple[int, ...]
    """Without the batch."""
    unit: str
    frame: str
    meaning: str


class PortableNetwork(nn.Module):
    """The network with plain tensors in and out: what is traced into the graph.

    Args:
        network: reads BlazePose's evidence.
        config: of the network.
    """

    def __init__(self, network: MetricHMR, config: NetworkConfig) -> None:
        super().__init__()
        if config.image_encoder != "blazepose":
            raise UsageError(f"only networks that read BlazePose are exported; this one reads {config.image_encoder}")
        self.network = network.eval()
        self.config = config
        self.crop_size = network.crop_size

    def forward(
        self,
        rays: Float[Tensor, "B 3 h w"],
        landmarks: Float[Tensor, "B 33 9"],
        K_crop: Float[Tensor, "B 3 3"],
        features: Float[Tensor, "B 192 16 16"] | None = None,
        mask: Float[Tensor, "B 1 16 16"] | None = None,
        up: Float[Tensor, "B 4"] | None = None,
        grid32: Float[Tensor, "B 56 32 32"] | None = None,
    ) -> tuple[Tensor, ...]:
        """In the order of :func:`outputs`; the same as :meth:`MetricHMR.place` without the body."""
        crops = CropEvidence(rays=rays, landmarks=landmarks, features=features, mask=mask, up=up, grid32=grid32)
        answers = self.network(crops).heads
        view = camera_from_crop(K_crop.float(), self.crop_size)
        root = view @ answers.rotations[:, 0]
        return (
            torch.cat([root[:, None], answers.rotations[:, 1:]], dim=1),
            answers.shape,
            decode_position(answers, K_crop, self.crop_size),
            answers.log_sigma_distance.exp(),
            answers.log_sigma_height.exp(),
            answers.log_sigma_joints.exp(),
            *(() if answers.stature_logits is None else (answers.stature_logits,)),
        )


def inputs(config: NetworkConfig) -> tuple[Port, ...]:
    """Inputs of the graph of a network, in order."""
    rays = config.ray_size
    ports = (
        Port(
            "rays",
            (3, rays, rays),
            "1",
            "camera, z = 1",
            "inverse(K_crop) times (u, v, 1) at the centres of equal cells",
        ),
        Port(
            "landmarks",
            (33, 9),
            "mixed",
            "crop",
            "BlazePose's landmarks: x, y in the crop from -1 to 1; confidence; a third of the log of sigma in half "
            "crops; visibility; presence; 3D place in metres, turned with the crop (hmr/crop_evidence.py: "
            "landmark_inputs)",
        ),
        Port(
            "K_crop", (3, 3), "px of the crop", "crop from camera", "(crop from image) times K; the crop may be turned"
        ),
        Port("features", (192, 16, 16), "1", "crop", "BlazePose heavy's r16 features"),
        Port("mask", (1, 16, 16), "probability", "crop", "share of each cell that shows the person"),
        Port(
            "up",
            (4,),
            "1",
            "crop (hmr/gravity.py: gravity_inputs)",
            "unit vector against gravity, and minus the log of its sigma in radians; zeros where it is not known",
        ),
        Port("grid32", (56, 32, 32), "1", "crop", "BlazePose heavy's grid32 features"),
    )
    absent = {
        *(() if config.features else ("features", "mask")),
        *(() if config.gravity else ("up",)),
        *(() if config.features and config.tuned else ("grid32",)),
    }
    return tuple(port for port in ports if port.name not in absent)


def outputs(network: MetricHMR) -> tuple[Port, ...]:
    """Outputs of the graph of a network, in order."""
    sizes = network.heads.sizes
    relative = "parent bone; the first, the root: body to camera frame"
    ports = (
        Port("rotations", (sizes.bones, 3, 3), "1", relative, "rotation matrices of the bones listed in 'bones'"),
        Port("shape", (sizes.shapes,), "1", "-", "shape parameters of the body model, listed in 'shape_names'"),
        Port("translation_m", (3,), "m", "camera", "position of the pelvis joint"),
        Port("distance_sigma", (), "fraction", "-", "one sigma of the log of the distance, intrinsics taken as exact"),
        Port("height_sigma_m", (), "m", "-", "one sigma of the stature"),
        Port("joint_sigma_m", (17,), "m", "relative to the pelvis", "one sigma per axis of the COCO-17 joints"),
    )
    if network.heads.stature is None:
        return ports
    bins = f"log odds of statures from {STATURES_M[0]} to {STATURES_M[-1]} m, {BIN_M} m apart"
    return (*ports, Port("stature_logits", (len(STATURES_M),), "1", "-", bins))


def random_inputs(config: NetworkConfig, batch: int, *, seed: int = 0) -> dict[str, Tensor]:
    """Inputs that are no people but have the right shapes and a camera that exists."""
    generator = torch.Generator().manual_seed(seed)
    values = {port.name: torch.rand(batch, *port.shape, generator=generator) for port in inputs(config)}
    focal = 200 + 400 * torch.rand(batch, generator=generator)
    K_crop = torch.eye(3).repeat(batch, 1, 1)
    K_crop[:, 0, 0] = K_crop[:, 1, 1] = focal
    K_crop[:, :2, 2] = CROP_SIZE * torch.rand(batch, 2, generator=generator)
    values["K_crop"] = K_crop
    return values


def export_onnx(network: MetricHMR, config: NetworkConfig, path: Path, *, source: Path | None = None) -> dict[str, Any]:
    """Write ``path`` and the JSON beside it (same name, ``.json``); returns what the JSON says.

    Args:
        network: the weights.
        config: what the network was built from.
        path: ends in ``.onnx``; its folder must exist.
        source: checkpoint of the network, whose hash the JSON names.

    Raises:
        MissingPackageError: onnx or onnxscript is not installed.
        UsageError: the network cannot be exported.
        OutputError: the file cannot be written.
    """
    require_onnx()
    if path.suffix != ".onnx":
        raise UsageError(f"{path}: the file's name must end in .onnx")
    portable = PortableNetwork(network, config)
    # Two, for a batch of one would be taken for a constant.
    example = random_inputs(config, 2)
    names, answers = list(example), outputs(network)
    batch = torch.export.Dim("batch", min=1)
    shapes: dict[str, Any] = {name: {0: batch} for name in names}
    shapes |= {name: None for name in _OPTIONAL if name not in names}
    # The exporter talks about parts of its own that this network does not need.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            portable,
            kwargs=example,
            input_names=names,
            output_names=[port.name for port in answers],
            dynamic_shapes={name: shapes[name] for name in names},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    document = _document(network, config, path, answers, source)
    try:
        with atomic_file(path) as temporary:
            program.save(str(temporary), external_data=False)
            document["sha256"] = file_hash(temporary)
        with atomic_file(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return document


def require_onnx() -> None:
    """Raises:
    MissingPackageError: what exporting needs is not installed.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise MissingPackageError(f"exporting needs {' and '.join(missing)}: pip install 'metrichmsr[onnx]'")


def file_hash(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        ModelFileError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error


def _document(
    network: MetricHMR, config: NetworkConfig, path: Path, answers: tuple[Port, ...], source: Path | None
) -> dict[str, Any]:
    from metrichmsr import __version__

    def describe(port: Port) -> dict[str, Any]:
        return {**asdict(port), "shape": ["batch", *port.shape], "dtype": "float32"}

    bones, shapes = _names(config, network)
    return {
        "format": FORMAT,
        "file": path.name,
        "sha256": "",
        "opset": OPSET,
        "metrichmsr": __version__,
        "checkpoint": None if source is None else {"file": source.name, "sha256": file_hash(source)},
        "config": asdict(config),
        "crop_size_px": network.crop_size,
        "camera_frame": "OpenCV: x right, y down, z forward; metres",
        "body_model": config.body,
        "bones": bones,
        "other_bones": "identity; the toes of a foot all turn as its second toe"
        if config.body == "anny"
        else "identity",
        "shape_names": shapes,
        "inputs": [describe(port) for port in inputs(config)],
        "outputs": [describe(port) for port in answers],
    }


def _names(config: NetworkConfig, network: MetricHMR) -> tuple[list[str] | None, list[str]]:
    """Names of bones and shape parameters; those of SMPL's bones are in its user's files."""
    if config.body != "anny":
        return None, [f"beta_{i}" for i in range(network.heads.sizes.shapes)]
    from metrichmsr.bodies.anny import AnnyBody

    body = AnnyBody.load()
    return list(body.driven_bones), list(body.shape_names)
