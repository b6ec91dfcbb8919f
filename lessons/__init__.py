"""The lessons: scripts to read, their exercises and studies (``python -m lessons``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minidl.train.intervals import Interval

_FOLDER = Path(__file__).resolve().parent
PICTURES = _FOLDER / "pictures"


def study(topic: str, name: str, minus: str | None = None) -> Interval:
    """Mean and 95% interval over seeds of a study's number; prints its source.

        study("05_distillation", "soft targets, 5 labels")
        study("05_distillation", "soft targets, 5 labels", minus="alone, 5 labels")

    With ``minus`` it is the difference of two numbers, taken seed by seed.
    Raises ValueError with the nearest names when the study has no such number.
    """
    from minidl.classroom.studies import quoted

    return quoted(_FOLDER / "studies", topic, name, minus)
