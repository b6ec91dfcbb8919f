"""What an argument has to be, said in one way everywhere."""

from __future__ import annotations

import math

import numpy as np


def check_number(name: str, value: float, low: float = -math.inf, high: float = math.inf) -> float:
    """The value as a float if it is a finite number within [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not low <= value <= high or not math.isfinite(value):
        limits = f"at least {low:g}" if high == math.inf else f"within [{low:g}, {high:g}]"
        raise ValueError(f"{name} must be finite{f' and {limits}' if low > -math.inf else ''}, got {value!r}")
    return float(value)


def positive_int(name: str, value: int) -> int:
    """The value as an int if it is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return int(value)
