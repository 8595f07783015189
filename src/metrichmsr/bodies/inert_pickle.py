"""Arrays out of a pickled dictionary, without running anything from the pickle.

A pickle is a program: it may name any function and call it. The reader here answers every name with an inert stand-in
of its own (a record that keeps what it is given), or refuses it. Nothing of NumPy, SciPy or chumpy is called while
the file is read; arrays are made afterwards from the bytes that the stand-ins kept, their types and sizes checked.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np


class RefusedError(Exception):
    """What is wrong with a file, in words that follow its name."""


def read_arrays(data: bytes, keys: tuple[str, ...]) -> dict[str, Any]:
    """The arrays (and plain values) under these keys of a pickled dictionary; keys that it lacks are left out.

    Raises:
        RefusedError: the bytes are no pickle, hold no dictionary, or ask for anything that a model file does not need.
    """
    try:
        loaded = _InertUnpickler(io.BytesIO(data)).load()
    except RefusedError:
        raise
    except Exception as error:  # a damaged pickle can raise anything; whatever it was, nothing of it has run
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise RefusedError(f"not a readable pickle or npz ({reason})") from error
    if not isinstance(loaded, dict):
        raise RefusedError(f"not a body model (it holds a {type(loaded).__name__}, not a dictionary)")
    return {key: _resolved(loaded[key]) for key in keys if key in loaded}


class _Inert:
    """Base of the stand-ins: keeps the arguments it is made with and the state it is given."""

    origin = ""
    args: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *args: Any) -> _Inert:
        made = super().__new__(cls)
        made.__dict__["args"] = args
        return made

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.__dict__["state"] = state


_NUMPY = re.compile(r"numpy\.(_?core\.)?(multiarray\.(_reconstruct|scalar)|numeric\._frombuffer|ndarray|dtype)")
_SPARSE = re.compile(r"scipy\.sparse\.(\w+\.)?(csc|csr|coo)_(matrix|array)")
_CHUMPY = re.compile(r"chumpy\.\w+\.\w+")
_RECONSTRUCT = ("copy_reg._reconstructor", "copyreg._reconstructor")
# Contents of chumpy objects that nobody reads.
_PLAIN = re.compile(r"(__builtin__|builtins)\.(object|set|frozenset|slice)")


class _InertUnpickler(pickle.Unpickler):
    """Answers the few names that model files use with stand-ins made for this one reading; refuses all others."""

    def __init__(self, file: io.BytesIO) -> None:
        # Model files come from Python 2: their byte strings are read as Latin-1, which keeps every byte.
        super().__init__(file, encoding="latin1")
        self._known: dict[str, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name."""
        full = f"{module}.{name}"
        if full not in self._known:
            self._known[full] = self._stand_in(full)
        return self._known[full]

    @staticmethod
    def _stand_in(full: str) -> Any:
        if full in ("collections.OrderedDict", "__builtin__.dict", "builtins.dict"):
            return dict
        if full in _RECONSTRUCT:
            return _local(_reconstructed)
        if full == "_codecs.encode":
            return _local(_latin1)
        if full in ("__builtin__.bytes", "builtins.bytes"):
            return lambda: b""  # how old protocols spell the data of an empty array
        if any(pattern.fullmatch(full) for pattern in (_NUMPY, _SPARSE, _CHUMPY, _PLAIN)):
            return type("_Inert", (_Inert,), {"origin": full})
        raise RefusedError(f"refused: it asks for {full}, which no body model needs; nothing of it has been run")


def _local(function: Callable[..., Any]) -> Any:
    # A pickle can set attributes on what it is given: give it an object of its own, not this module's function.
    return lambda *args: function(*args)


def _reconstructed(cls: Any, *_: Any) -> _Inert:
    if not (isinstance(cls, type) and issubclass(cls, _Inert)):
        raise RefusedError("refused: it reconstructs an object of a type that no body model holds")
    return cls()


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedError("refused: it encodes text in an unexpected way")
    return text.encode("latin1")


def _resolved(value: Any) -> Any:
    """An array (or plain value) from what the stand-ins kept."""
    if not isinstance(value, _Inert):
        return value
    origin = value.origin
    if _SPARSE.fullmatch(origin):
        return _dense(value.state, origin.rsplit(".", 1)[-1][:3])
    if _CHUMPY.fullmatch(origin):
        return _from_chumpy(value)
    if origin.endswith("._frombuffer"):
        buffer, dtype, shape, order = value.args
        return _array(buffer, dtype, shape, fortran=order == "F")
    if origin.endswith(".scalar"):
        dtype, buffer = value.args
        return _array(buffer, dtype, (), fortran=False)
    if _NUMPY.fullmatch(origin) and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, dtype, fortran, buffer = value.state
        return _array(buffer, dtype, shape, fortran=bool(fortran))
    raise RefusedError(f"a value of type {origin} where an array should be")


def _array(buffer: Any, dtype: Any, shape: Any, *, fortran: bool) -> np.ndarray:
    if isinstance(buffer, str):
        buffer = buffer.encode("latin1")
    code = dtype.args[0] if isinstance(dtype, _Inert) and dtype.args else ""
    if not isinstance(code, str) or not re.fullmatch(r"[<>=|]?[fiub][1248]", code):
        raise RefusedError(f"an array of type {code!r}, which no body model holds")
    order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "="
    kind = np.dtype(code).newbyteorder(order if order in ("<", ">") else "=")
    if not isinstance(buffer, (bytes, bytearray)) or not isinstance(shape, tuple):
        raise RefusedError("an array without data")
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise RefusedError(f"an array of shape {shape}")
    size = int(np.prod(shape, dtype=object)) if shape else 1
    if size * kind.itemsize != len(buffer):
        raise RefusedError(f"an array of shape {shape} with {len(buffer)} bytes")
    return np.frombuffer(buffer, dtype=kind).reshape(shape, order="F" if fortran else "C")


def _dense(state: Any, layout: str) -> np.ndarray:
    if not isinstance(state, dict):
        raise RefusedError("a sparse matrix without data")
    shape = state.get("_shape", state.get("shape"))
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise RefusedError("a sparse matrix without a shape")
    if not all(isinstance(n, int) and 0 < n < 1 << 20 for n in shape) or shape[0] * shape[1] > 1 << 26:
        raise RefusedError(f"a sparse matrix of shape {shape}")
    try:
        if layout == "coo":
            rows, columns = (_resolved(part) for part in state.get("coords", (state.get("row"), state.get("col"))))
        else:
            inner, starts = _resolved(state["indices"]), _resolved(state["indptr"])
            outer = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
            rows, columns = (inner, outer) if layout == "csc" else (outer, inner)
        dense = np.zeros((shape[0], shape[1]))
        np.add.at(dense, (rows, columns), _resolved(state["data"]))
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"a sparse matrix that does not fit together ({error})") from error
    return dense


def _from_chumpy(value: _Inert) -> np.ndarray:
    """The array behind a chumpy expression: plain arrays, and the re-orderings that old files contain."""
    state = value.state if isinstance(value.state, dict) else {}
    name = value.origin.rsplit(".", 1)[-1]
    if "x" in state:
        return np.asarray(_resolved(state["x"]))
    if "a" in state and name in ("Select", "Reshape", "transpose"):
        inner = np.asarray(_resolved(state["a"]))
        if name == "Select":
            picked = inner.ravel()[np.asarray(_resolved(state["idxs"]), dtype=np.int64)]
            return picked.reshape(state["preferred_shape"]) if "preferred_shape" in state else picked
        if name == "Reshape":
            return inner.reshape(state["newshape"])
        return inner.transpose(state.get("axes"))
    raise RefusedError(f"a chumpy expression of type {name}, which is not understood; use the .npz edition of the file")
