"""The exercises. Each lesson has a module ``exNN_topic.py``, or several."""

from __future__ import annotations

import importlib
import pkgutil
import re

from minidl.classroom.exercise import Exercise


def all_exercises(lesson: str = r"\d\d") -> list[Exercise]:
    """Every Exercise in the modules ``exNN_topic`` of this package, by number; only of one lesson if given.

    Raises ValueError for two exercises with one number, and for an exercise in another lesson's module.
    """
    found: dict[str, Exercise] = {}
    for module in pkgutil.iter_modules(__path__):
        if not re.match(rf"ex{lesson}_", module.name):
            continue
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if not isinstance(value, Exercise):
                continue
            if value.number[:2] != module.name[2:4]:
                raise ValueError(f"exercise {value.number} stands in {module.name}")
            if found.setdefault(value.number, value) is not value:
                raise ValueError(f"two exercises have the number {value.number}, in {module.name}")
    return [found[number] for number in sorted(found)]


def find(number: str) -> Exercise:
    """The exercise "NN.k". An unknown number raises ValueError with the known numbers."""
    exercises = all_exercises()
    for exercise in exercises:
        if exercise.number == number:
            return exercise
    known = ", ".join(exercise.number for exercise in exercises) or "none yet"
    raise ValueError(f"there is no exercise {number!r}; known are {known}")
