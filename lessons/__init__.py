"""The lessons: scripts to read from top to bottom, and the exercises set on them (``python -m lessons``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minidl.train.intervals import Interval

_FOLDER = Path(__file__).resolve().parent
PICTURES = _FOLDER / "pictures"


def study(topic: str, name: str) -> Interval:
    """Mean and 95% interval over seeds of a number that a study measured; prints where it comes from.

        study("05_distillation", "soft targets, 5 labels")

    Raises ValueError with the nearest names when the study has no such number.
    """
    from minidl.classroom.studies import quoted

    return quoted(_FOLDER / "studies", topic, name)
