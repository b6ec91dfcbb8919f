"""The array of a Tensor: float32, float64, integers or bools. A number that does not fit is refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.engine.checks import shown


def array_of(data: Any, dtype: Any = None) -> np.ndarray:
    """The array that a Tensor of ``data`` holds.

    Python's numbers, lists and float16 arrays become float32. Other arrays keep their dtype and are shared,
    not copied. A number that the dtype cannot hold is refused, because NumPy would change its value.
    """
    if data is None:
        raise TypeError("a Tensor holds numbers, got None, which a function without a return gives")
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError("data must be an array, but its rows are of different lengths") from error
    if dtype is None:
        from_python = not isinstance(data, np.ndarray | np.generic) and array.dtype.kind != "b"
        dtype = np.float32 if from_python or array.dtype == np.float16 else array.dtype
    try:
        dtype = np.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"dtype must be a NumPy dtype, such as np.float32, got {shown(dtype)}") from error
    fits = dtype.kind in "iub" or dtype in (np.float32, np.float64)
    if not fits or array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise TypeError(f"a Tensor holds float32/64, integers or bools, not {array.dtype} as {dtype}")
    if array.dtype == dtype:
        return array
    if dtype.kind in "iu":
        _refuse_outside(array, dtype)
    elif dtype.kind == "f":
        _refuse_rounded(array, dtype)
    return array.astype(dtype)


def _refuse_rounded(array: np.ndarray, dtype: np.dtype) -> None:
    """Refuse integers that the floating dtype would round: float32 from 2^24 on, float64 from 2^53 on."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize <= 2:
        return
    exact = 2**24 if dtype == np.float32 else 2**53
    if array.size == 0 or (array.min() >= -exact and array.max() <= exact):
        return
    far = array[(array < -exact) | (array > exact)]
    rounded = (far.astype(dtype) != far) | (far < -(2**53)) | (far > 2**53)
    if rounded.any():
        mend = "give it as float64: array.astype(np.float64)" if exact == 2**24 else "keep it an integer"
        raise ValueError(f"{dtype} cannot hold the integer {far[rounded][0]}: {mend}")


def _refuse_outside(array: np.ndarray, dtype: np.dtype) -> None:
    info = np.iinfo(dtype)
    outside = ~((array >= info.min) & (array < float(info.max + 1)))  # NaN counts as outside
    if outside.any():
        raise ValueError(f"{dtype} holds {info.min} ... {info.max}, got {array[outside].flat[0]}")
