"""Claims: the statements on which a lesson's text depends. They are tried when the lesson runs."""

from __future__ import annotations

import os

import numpy as np

from minidl.classroom.compare import short
from minidl.engine.checks import check_flag, check_instance, require


class ClaimError(AssertionError):
    """A claim does not hold. Only with MINIDL_STRICT=1 is this error raised."""


def claim(text: str, condition: bool, numbers: str | dict[str, object] = "") -> None:
    """Print whether a statement holds in this run, with the numbers that show it.

        claim("the student beats the one taught alone", gain.low > 0, {"gain": gain})
        HOLDS                the student beats the one taught alone   gain = 0.081 ± 0.022 (n = 8)

    A measured statement may fail on another machine or after a reader's change. The failure is then printed,
    and the lesson goes on. With MINIDL_STRICT=1 in the environment it raises ClaimError instead.
    Use assert for a statement that follows from mathematics.
    Raises TypeError if condition is not a bool: an array or a number would silently count as true.
    """
    check_instance("text", text, str)
    check_flag("condition", condition)
    check_instance("numbers", numbers, (str, dict))
    verdict = "HOLDS" if condition else "DOES NOT HOLD HERE"
    line = f"{verdict:<18}   {text}   {_listed(numbers)}".rstrip()
    print(line, flush=True)
    require(condition or os.environ.get("MINIDL_STRICT") != "1", line, ClaimError)


def _listed(numbers: str | dict[str, object]) -> str:
    if isinstance(numbers, str):
        return numbers
    return ", ".join(f"{name} = {_figure(value)}" for name, value in numbers.items())


def _figure(value: object) -> str:
    """The text of a number with four digits, or the object's own text if it is no number."""
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if isinstance(value, int | np.integer | np.ndarray) or type(value) in (tuple, list):
        return short(value)
    return str(value)
