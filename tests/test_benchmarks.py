"""Every benchmark tells how it is called, also where none of the extras' packages are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
EXTRAS = ("viser", "fast_simplification", "gradio", "playwright", "av", "accelerate", "tensorboard", "transformers")
EXTRAS += ("onnx", "onnxscript", "onnxruntime", "pxr", "anny", "scipy", "matplotlib", "pytest", "OpenEXR")

WITHOUT = """
import runpy, sys
for name in sys.argv[2].split(","):
    sys.modules[name] = None
sys.argv = [sys.argv[1], "--help"]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in BENCHMARKS.glob("bench_*.py")))
def test_help_without_extras(name):
    command = [sys.executable, "-c", WITHOUT, (BENCHMARKS / name).as_posix(), ",".join(EXTRAS)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"usage: {name}")
