"""The network in smaller numbers: time, size and deviation of bf16, ONNX and int8 against float32 on the CPU.

    python benchmarks/bench_network.py [--checkpoint FILE] [--threads 2]

The people are those of ``examples/photos``, under cameras of different focal lengths. Needs ``metrichmsr[onnx]`` for
the rows of ONNX. int8 is ONNX Runtime's dynamic quantisation: weights of matrix products are kept as int8, what goes
into them is quantised on the way. Deviations are of joints relative to the pelvis and of the distance, largest of all
people, from the same network in float32. Without a checkpoint the network is random: timings hold, deviations do not.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

from machine import describe_machine
from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.calibration import calibrate
from metrichmsr.calibration.options import CalibrationOptions
from metrichmsr.export.onnx import PortableNetwork, export_onnx, inputs
from metrichmsr.hmr.body_parameters import SIZES, BodyParameters
from metrichmsr.hmr.checkpoint import load_network, save_network
from metrichmsr.hmr.config import SMALL, NetworkConfig
from metrichmsr.hmr.crop_evidence import evidence_from_landmarks
from metrichmsr.hmr.network import MetricHMR, build
from metrichmsr.hmr.regress import WEIGHTS
from metrichmsr.images import read_image
from metrichmsr.people import Landmarker, MoveNetDetector, find_people

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
Inputs = dict[str, torch.Tensor]
Answer = tuple[torch.Tensor, ...]


def milliseconds(run: Callable[[], object], repeats: int = 30) -> float:
    """Fastest of some runs after three to warm up: what else the machine does can only add."""
    times = []
    for i in range(repeats + 3):
        start = time.perf_counter()
        run()
        if i >= 3:
            times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def real_inputs(config: NetworkConfig, count: int) -> Inputs:
    """Evidence of people of the example photos, each time under another focal length."""
    detector, landmarker = MoveNetDetector(), Landmarker()
    crowds = []
    for path in sorted(PHOTOS.glob("*.jpg")):
        photo = read_image(path)
        people = find_people(photo.rgb, detector=detector, landmarker=landmarker)
        crowds.append((people.landmarks, calibrate(photo, CalibrationOptions()).camera.K))
    parts: list[Inputs] = []
    factor = 0.7
    while sum(len(part["rays"]) for part in parts) < count:
        for landmarks, camera in crowds:
            K = camera.copy()
            K[0, 0] *= factor
            K[1, 1] *= factor
            evidence, K_crop = evidence_from_landmarks(landmarks, K, ray_size=config.ray_size)
            # Where up is not known, zeros stand for it.
            known = {**vars(evidence), "K_crop": K_crop, "up": torch.zeros(len(K_crop), 4)}
            parts.append({port.name: torch.as_tensor(known[port.name]) for port in inputs(config)})
        factor *= 1.3
    names = [port.name for port in inputs(config)]
    return {name: torch.cat([part[name] for part in parts])[:count].contiguous() for name in names}


class Variants:
    """Ways to run one network."""

    def __init__(self, network: MetricHMR, config: NetworkConfig, folder: Path, threads: int) -> None:
        self.network, self.config, self.folder, self.threads = network, config, folder, threads
        self.portable = PortableNetwork(network, config)

    def torch_float32(self) -> tuple[Callable[[Inputs], Answer], Path]:
        """As it is trained."""
        return lambda given: self.portable(**given), self._saved(torch.float32)

    def stored_as_float16(self) -> tuple[Callable[[Inputs], Answer], Path]:
        """What reading the shipped file gives."""
        path = self._saved(torch.float16)
        portable = PortableNetwork(load_network(path)[0], self.config)
        return lambda given: portable(**given), path

    def torch_bf16(self) -> tuple[Callable[[Inputs], Answer], Path]:
        """Matrix products in bf16."""

        def run(given: Inputs) -> Answer:
            with torch.autocast("cpu", torch.bfloat16):
                return tuple(answer.float() for answer in self.portable(**given))

        return run, self._saved(torch.bfloat16)

    def onnx_float32(self) -> tuple[Callable[[Inputs], Answer], Path]:
        """By ONNX Runtime."""
        path = self.folder / "float32.onnx"
        if not path.exists():
            export_onnx(self.network, self.config, path)
        return self._session(path), path

    def onnx_int8(self) -> tuple[Callable[[Inputs], Answer], Path]:
        """By ONNX Runtime with matrix products in int8."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        path = self.folder / "int8.onnx"
        source = self.onnx_float32()[1]
        logging.disable(logging.WARNING)  # it lists every tensor that stays as it is
        quantize_dynamic(
            source, path, per_channel=True, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8
        )
        logging.disable(logging.NOTSET)
        return self._session(path), path

    def _session(self, path: Path) -> Callable[[Inputs], Answer]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def run(given: Inputs) -> Answer:
            made = session.run(None, {name: value.numpy() for name, value in given.items()})
            return tuple(torch.from_numpy(answer) for answer in made)

        return run

    def _saved(self, dtype: torch.dtype) -> Path:
        path = self.folder / f"{str(dtype).split('.')[1]}.safetensors"
        save_network(path, self.network, self.config, dtype=dtype)
        return path


def joints(answer: Answer, parameters: BodyParameters) -> torch.Tensor:
    """COCO-17 joints relative to the pelvis, metres."""
    pose = parameters.expand(answer[0])
    return parameters.body(pose, answer[1], torch.zeros_like(answer[2])).coco17_m


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="network to use instead of the shipped one")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    path = args.checkpoint or WEIGHTS
    if args.checkpoint or path.is_file():
        network, config, _ = load_network(path)
        what = path.name
    else:
        torch.manual_seed(0)
        network, config, what = build(SMALL).eval(), SMALL, "a random network: deviations mean nothing"
    parameters = BodyParameters(AnnyBody.load().restricted_to(torch.arange(1)), SIZES["anny"])
    people = real_inputs(config, 10)
    print(f"{describe_machine()}; {what}, {sum(p.numel() for p in network.parameters()) / 1e6:.1f} M parameters\n")
    print("| | 1 person, ms | 10 people, ms | file, MB | joints, mm | distance, % |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        made = Variants(network, config, Path(folder), args.threads)
        rows = {
            "torch, float32": made.torch_float32,
            "torch, float32, stored as float16 (as shipped)": made.stored_as_float16,
            "torch, bf16 (autocast)": made.torch_bf16,
        }
        if find_spec("onnxruntime") and find_spec("onnxscript"):
            rows |= {"ONNX Runtime, float32": made.onnx_float32, "ONNX Runtime, int8 (dynamic)": made.onnx_int8}
        reference = made.portable(**people)
        exact = joints(reference, parameters)
        one = {name: value[:1] for name, value in people.items()}
        for name, prepare in rows.items():
            with torch.inference_mode(mode=False):  # exporting traces the network
                run, file = prepare()
            times = [milliseconds(lambda given=given, run=run: run(given)) for given in (one, people)]
            answer = run(people)
            moved = 1e3 * float((joints(answer, parameters) - exact).norm(dim=-1).max())
            distances = answer[2].norm(dim=-1) / reference[2].norm(dim=-1) - 1
            print(
                f"| {name} | {times[0]:.1f} | {times[1]:.1f} | {file.stat().st_size / 1e6:.1f} | {moved:.2f} | "
                f"{100 * float(distances.abs().max()):.2f} |"
            )


if __name__ == "__main__":
    main()
