"""The verb ``export``: the network for other runtimes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExportOnnxArgs:
    """Write the network as ONNX, and beside it a JSON that names its inputs and outputs, their units and frames.

    Needs the extra: pip install 'metrichmsr[onnx]'.
    """

    checkpoint: Path | None = None
    """Network to use instead of the shipped one (a .safetensors file that metrichmsr train wrote)."""
    out: Path = Path("metrichmsr.onnx")
    """File to write; its JSON goes beside it, under the same name."""
    debug: bool = False
    """Show where in the program an error arose."""


def export_checkpoint(args: ExportOnnxArgs) -> int:
    """Do what the command line asks for; returns the exit status.

    Raises:
        MetricHMSRError: the checkpoint cannot be used, or the file cannot be written.
    """
    from metrichmsr.export.atomic import check_writable
    from metrichmsr.export.onnx import export_onnx, require_onnx
    from metrichmsr.hmr.checkpoint import load_network
    from metrichmsr.hmr.regress import WEIGHTS

    require_onnx()
    source = args.checkpoint or WEIGHTS
    network, config, _ = load_network(source)
    check_writable(args.out.parent)
    document = export_onnx(network, config, args.out, source=source)
    lines = [f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, opset {document['opset']}, any number of people"]
    for kind in ("inputs", "outputs"):
        lines += [f"  {kind[:-1]:<6} {port['name']:<16} {_shape(port['shape'])}" for port in document[kind]]
    lines.append(f"units, frames, names of bones: {args.out.with_suffix('.json')}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _shape(shape: list[str | int]) -> str:
    return " × ".join(str(size) for size in shape)
