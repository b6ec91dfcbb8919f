"""Recognises an implementation that does the same as a named mistake or as the library's own function."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from minidl.classroom.exercise import Exercise, Law, Mistake
from minidl.classroom.exercise_kinds import same
from minidl.classroom.implementation import Call, Implementation, Remembered


def mistakes_like(
    exercise: Exercise, law: Law, implementation: Implementation, case: dict[str, object]
) -> list[Mistake]:
    """The named mistakes that give the same answers as ``implementation``; at most two.

    A mistake must give the same values in the failing case and in the law's first cases. A worked example has
    only one case, so the first calls of the other laws are compared, too. If the library's own function also
    gives the same values and dtypes, no mistake is named, because the answers differ only by rounding.
    """
    early = list(implementation.first_calls)
    failing = early if law.is_example else calls_of(exercise, law, implementation, case)
    calls = failing[::-1] + ([] if law.is_example else early)  # at the last call most mistakes differ
    likely = [m for m in exercise.mistakes if does_all(m.implementation, exercise, calls)]
    if likely and does_all(exercise.target, exercise, failing):  # the values are right, so compare dtypes
        target_too = same_dtypes(exercise.target, exercise, failing)
        likely = [m for m in likely if not target_too and same_dtypes(m.implementation, exercise, failing)]
    for other_law in exercise.laws if len(likely) > 1 or (law.is_example and likely) else ():
        may_be_none = law.is_example and not other_law.is_example
        if len(likely) <= (0 if may_be_none else 1):
            continue  # this law's calls would change nothing
        calls = calls_of(exercise, other_law, implementation)
        left = [m for m in likely if does_all(m.implementation, exercise, calls)]
        likely = left if may_be_none else left or likely
    return likely[:2]


def does_all(one: Callable | type, exercise: Exercise, calls: list[Call]) -> bool:
    other = exercise.adapt(one)
    with warnings.catch_warnings():  # the learner must not see a mistake's warnings
        warnings.simplefilter("ignore")
        return all(does_the_same(call, other) for call in calls)


def same_dtypes(one: Callable | type, exercise: Exercise, calls: list[Call]) -> bool:
    other = exercise.adapt(one)
    answers = [(call.answer, call.again(other)) for call in calls if call.raised is None]
    return all(same(answer, again, same_dtype) for answer, again in answers)


def same_dtype(one: object, other: object) -> bool:
    return getattr(one, "dtype", None) == getattr(other, "dtype", None)


def calls_of(
    exercise: Exercise, law: Law, implementation: Implementation, case: dict[str, object] | None = None
) -> list[Call]:
    """The first calls of the law, or of one case of it. No case fails, so none is shrunk."""
    probe = exercise.adapt(implementation.answerer)
    probe.goes_on = False
    with suppress(Exception, Remembered):
        exercise.try_law(law.text, probe, case)
    return probe.first_calls


def does_the_same(call: Call, other: Implementation) -> bool:
    """Whether ``other`` gives the same answer or the same error for the call's arguments."""
    try:
        answer = call.again(other)
    except Exception as error:
        return kind_of(error) == kind_of(call.raised)
    return call.raised is None and alike(answer, call.answer)


def kind_of(error: BaseException | None) -> tuple[str, str]:
    """The name of the error's class. Each received error has a new class, but the class has the same name."""
    return type(error).__module__, type(error).__qualname__


def alike(one: object, other: object) -> bool:
    """Whether two values have the same structure, shapes and numbers, up to rounding. NaN equals NaN."""
    return same(one, other, close)


def close(one: Any, other: Any) -> bool:
    if isinstance(one, str | None) or isinstance(other, str | None):
        return type(one) is type(other) and one == other
    with np.errstate(all="ignore"):
        return np.shape(one) == np.shape(other) and bool(
            np.allclose(one, other, rtol=1e-6, atol=1e-9, equal_nan=True)
        )
