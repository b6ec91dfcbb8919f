"""The two checks of numbers that the functions of this package share."""

from __future__ import annotations

import numpy as np


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError unless ``value`` is a finite number in [low, high]."""
    if not isinstance(value, (int, float, np.number)) or not low <= value <= high or np.isinf(value):
        raise ValueError(f"{name} must be a number between {low} and {high}, got {value!r}")


def check_whole(name: str, value: int, low: int) -> None:
    """Raise ValueError unless ``value`` is an integer of at least ``low``."""
    if not isinstance(value, (int, np.integer)) or value < low:
        raise ValueError(f"{name} must be an integer >= {low}, got {value!r}")
