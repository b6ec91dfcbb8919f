"""Recognizing an implementation: the named mistake that does the same, or the library's own function."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import CodeType, FrameType
from typing import Any
from unittest import mock

import numpy as np

from minidl.classroom.exercise import Exercise, Law, Mistake
from minidl.classroom.implementation import Call, Implementation, same
from minidl.classroom.stubs import plain_function


def mistakes_like(
    exercise: Exercise, law: Law, implementation: Implementation, case: dict[str, object]
) -> list[Mistake]:
    """The named mistakes that answer as ``implementation`` did, at most two.

    A mistake must give the same values in the failing case and in the law's first cases. A worked example has
    no further cases; there the first calls of the other laws take their place. Nothing is named where the
    library's own function gives these values and dtypes too: the difference is then a rounding.
    """
    early = list(implementation.first_calls)
    failing = calls_of(law, exercise.adapt(implementation.raw), case)
    likely = [m for m in exercise.mistakes if does_all(m.implementation, exercise, failing + early)]
    if likely and does_all(exercise.target, exercise, failing):  # then only a dtype can be recognised
        target_too = same_dtypes(exercise.target, exercise, failing)
        likely = [m for m in likely if not target_too and same_dtypes(m.implementation, exercise, failing)]
    for other_law in exercise.laws if len(likely) > 1 or (law.is_example and likely) else ():
        probe = exercise.adapt(implementation.raw)
        exercise.try_law(other_law.text, probe)
        left = [m for m in likely if does_all(m.implementation, exercise, probe.first_calls)]
        likely = left if law.is_example and not other_law.is_example else left or likely
    return likely[:2]


def does_all(one: Callable | type, exercise: Exercise, calls: list[Call]) -> bool:
    other = exercise.adapt(one)
    with warnings.catch_warnings():  # those of a mistake are not the learner's
        warnings.simplefilter("ignore")
        return all(does_the_same(call, other) for call in calls)


def same_dtypes(one: Callable | type, exercise: Exercise, calls: list[Call]) -> bool:
    other = exercise.adapt(one)
    answers = [(call.answer, call.again(other)) for call in calls if call.raised is None]
    return all(same(answer, again, same_dtype) for answer, again in answers)


def same_dtype(one: object, other: object) -> bool:
    return getattr(one, "dtype", None) == getattr(other, "dtype", None)


def calls_of(law: Law, implementation: Implementation, case: dict[str, object]) -> list[Call]:
    with suppress(Exception):  # it is expected to fail
        law.run(implementation, case)
    return list(implementation.first_calls)


def does_the_same(call: Call, other: Implementation) -> bool:
    """Whether ``other`` does with the arguments of a call what was done with them."""
    try:
        answer = call.again(other)
    except Exception as error:
        return type(error) is type(call.raised)
    return call.raised is None and alike(answer, call.answer)


def alike(one: object, other: object) -> bool:
    """Equal within rounding, in structure and shapes; NaN equals NaN."""
    return same(one, other, close)


def close(one: Any, other: Any) -> bool:
    if isinstance(one, str | None) or isinstance(other, str | None):
        return type(one) is type(other) and one == other
    with np.errstate(all="ignore"):
        return np.shape(one) == np.shape(other) and bool(
            np.allclose(one, other, rtol=1e-6, atol=1e-9, equal_nan=True)
        )


def library_calls(exercise: Exercise, raw: Callable | type) -> int:
    """How often the implementation itself calls the library's function, in the worked examples."""
    codes = {id(code) for code in code_of(plain_function(exercise.target))}
    implementation, count = exercise.adapt(raw), 0
    answer_to = implementation.answer_to

    def watch(frame: FrameType, event: str, _) -> None:
        nonlocal count
        count += event == "call" and id(frame.f_code) in codes

    def watched(arguments: tuple, params: dict):
        sys.setprofile(watch)
        try:
            return answer_to(arguments, params)
        finally:
            sys.setprofile(None)

    with mock.patch.object(implementation, "answer_to", watched):
        for law in exercise.laws:
            if law.is_example:
                law.run(implementation, {})
    return count


def code_of(target: Callable | type) -> list[CodeType]:
    members = vars(target).values() if isinstance(target, type) else [target]
    return [member.__code__ for member in members if hasattr(member, "__code__")]
