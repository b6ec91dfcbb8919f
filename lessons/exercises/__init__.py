"""The exercises. Each lesson has a module ``exNN_topic.py``, or several."""

from __future__ import annotations

import functools
import sys

from minidl.classroom.course import exercises_in
from minidl.classroom.exercise import Exercise


def all_exercises(lesson: str = r"\d\d") -> list[Exercise]:
    """Every Exercise of this package by number; of one lesson if given."""
    return exercises_in(sys.modules[__name__], lesson)


@functools.cache
def find(number: str) -> Exercise:
    """The exercise "NN.k". An unknown number raises ValueError with the known numbers."""
    exercises = all_exercises()
    for exercise in exercises:
        if exercise.number == number:
            return exercise
    known = ", ".join(exercise.number for exercise in exercises) or "none yet"
    raise ValueError(f"there is no exercise {number!r}; known are {known}")
