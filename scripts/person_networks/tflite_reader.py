"""Read the constants and the operator list of a ``.tflite`` file with struct and NumPy alone.

A ``.tflite`` file is a FlatBuffer (schema: ``tensorflow/lite/schema/schema.fbs``). Only what the conversion of float
networks needs is read: tensors, their data, and which operator uses which.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

OPERATORS = {
    0: "ADD",
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    6: "DEQUANTIZE",
    14: "LOGISTIC",
    17: "MAX_POOL_2D",
    22: "RESHAPE",
    23: "RESIZE_BILINEAR",
    34: "PAD",
}
"""Names of the operators that occur here; others are reported by number."""
DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 9: np.int8}


@dataclass(frozen=True)
class Table:
    """A FlatBuffer table: fields are looked up by number through its vtable."""

    buffer: bytes
    position: int

    def field(self, number: int) -> int:
        """Position of a field, 0 where absent."""
        vtable = self.position - struct.unpack_from("<i", self.buffer, self.position)[0]
        if 4 + 2 * number >= struct.unpack_from("<H", self.buffer, vtable)[0]:
            return 0
        offset = struct.unpack_from("<H", self.buffer, vtable + 4 + 2 * number)[0]
        return self.position + offset if offset else 0

    def scalar(self, number: int, code: str, default: int = 0) -> int:
        """A number, in struct's code."""
        at = self.field(number)
        return struct.unpack_from("<" + code, self.buffer, at)[0] if at else default

    def vector(self, number: int) -> tuple[int, int]:
        """Start and length of a vector; (0, 0) where absent."""
        at = self.field(number)
        if not at:
            return 0, 0
        at += struct.unpack_from("<I", self.buffer, at)[0]
        return at + 4, struct.unpack_from("<I", self.buffer, at)[0]

    def integers(self, number: int) -> tuple[int, ...]:
        """A vector of int32."""
        start, length = self.vector(number)
        return struct.unpack_from(f"<{length}i", self.buffer, start)

    def tables(self, number: int) -> list[Table]:
        """A vector of tables."""
        start, length = self.vector(number)
        places = [start + 4 * i for i in range(length)]
        return [Table(self.buffer, p + struct.unpack_from("<I", self.buffer, p)[0]) for p in places]


@dataclass(frozen=True)
class Operator:
    """One operator: its name and the indices of its tensors."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class TFLiteGraph:
    """Constants by tensor index, and operators in execution order."""

    constants: dict[int, np.ndarray]
    operators: list[Operator]

    def convolutions(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """(operator, weight, bias) of every convolution in execution order, float32.

        Weights come as TFLite stores them: OHWI, and 1HWC for depthwise ones.
        """
        values = dict(self.constants)
        found = []
        for op in self.operators:
            if op.name == "DEQUANTIZE" and op.inputs[0] in values:
                values[op.outputs[0]] = values[op.inputs[0]].astype(np.float32)
            elif op.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                found.append((op.name, values[op.inputs[1]], values[op.inputs[2]]))
        return found


def read_tflite(path: Path) -> TFLiteGraph:
    """Read one file; only its first subgraph."""
    buffer = path.read_bytes()
    if buffer[4:8] != b"TFL3":
        raise ValueError(f"{path} is not a TFLite file")
    model = Table(buffer, struct.unpack_from("<I", buffer, 0)[0])
    codes = [max(code.scalar(0, "b"), code.scalar(3, "i")) for code in model.tables(1)]
    data = [table.vector(0) for table in model.tables(4)]
    graph = model.tables(2)[0]
    constants = {}
    for index, tensor in enumerate(graph.tables(0)):
        start, size = data[tensor.scalar(2, "I")]
        if size:
            dtype = np.dtype(DTYPES[tensor.scalar(1, "b")])
            flat = np.frombuffer(buffer, dtype, size // dtype.itemsize, start)
            constants[index] = flat.reshape(tensor.integers(0))
    operators = []
    for op in graph.tables(3):
        code = codes[op.scalar(0, "I")]
        operators.append(Operator(OPERATORS.get(code, f"OP{code}"), op.integers(1), op.integers(2)))
    return TFLiteGraph(constants, operators)
