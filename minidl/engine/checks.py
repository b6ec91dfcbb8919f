"""What an argument has to be, said in one way everywhere: TypeError for its kind, ValueError for its size.

True and False are not taken for numbers: an argument in the wrong place is usually the cause.
"""

from __future__ import annotations

import math

import numpy as np


def check_number(
    name: str, value: float, low: float = -math.inf, high: float = math.inf, *, finite: bool = True
) -> float:
    """The value as a float if it is a number within [low, high], and finite unless told otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    if not low <= value <= high or (finite and not math.isfinite(value)):
        limits = ["finite"] if finite else []
        if high < math.inf:
            limits.append(f"within [{low:g}, {high:g}]")
        elif low > -math.inf:
            limits.append(f"at least {low:g}")
        raise ValueError(f"{name} must be {' and '.join(limits) or 'a number'}, got {value!r}")
    return float(value)


def positive_number(name: str, value: float) -> float:
    """The value as a float if it is a finite number above 0."""
    if check_number(name, value) <= 0:
        raise ValueError(f"{name} must be above 0, got {value!r}")
    return float(value)


def check_int(name: str, value: int, low: int) -> int:
    """The value as an int if it is an integer of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")
    return int(value)


def positive_int(name: str, value: int) -> int:
    """The value as an int if it is an integer of at least 1."""
    return check_int(name, value, 1)


def number_array(name: str, value: object) -> np.ndarray:
    """The value as an array of numbers: TypeError for other kinds, ValueError for rows of unequal lengths."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array, its rows are of different lengths") from error
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, got {shown(value)} of {array.dtype}")
    return array


def shown(value: object) -> str:
    """The value as an error may print it: of an array the shape."""
    return f"an array {value.shape}" if isinstance(value, np.ndarray) else repr(value)
