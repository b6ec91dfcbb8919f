"""A failed law told to the learner: the case, the call, what it looks like, a picture, a replay."""

from __future__ import annotations

import io
import traceback
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from hypothesis.errors import Flaky

from minidl.classroom import replay
from minidl.classroom.answers import changed_signature
from minidl.classroom.compare import SHOWN, short
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise, Result, different_answers
from minidl.classroom.implementation import Call, Implementation
from minidl.classroom.likeness import alike, answers_alike, mistakes_like
from minidl.classroom.outcome import Outcome


def describe(
    course: Course, path: Path, exercise: Exercise, answer: Implementation, result: Result, outcome: Outcome
) -> None:
    """Fill the outcome. Where a named mistake is recognised, the law that it is known to break is told."""
    outcome.written = not (isinstance(result.error, NotImplementedError) and result.error is answer.raised)
    tell(course, path, exercise, answer, result, outcome)
    if not outcome.written or not result.error or isinstance(result.error, KeyboardInterrupt | Flaky):
        return
    add_note(outcome, changed_signature(answer.raw, exercise))
    if not answers_alike(answer.last_call, exercise.adapt(answer.raw)):
        outcome.message = different_answers(answer.name)
        return
    mistakes = mistakes_like(exercise, exercise.find_law(result.law), answer, result.case)
    outcome.looks_like = [mistake.text for mistake in mistakes]
    if mistakes and mistakes[0].breaks != result.law:
        other = exercise.try_law(mistakes[0].breaks, answer)
        outcome.calls += other.calls
        if not other.passed:
            tell(course, path, exercise, answer, other, outcome)
    try:
        outcome.picture = picture(exercise, answer.first_failure or answer.last_call)
    except OSError as error:
        add_note(outcome, f"the picture could not be kept: {error}")


def tell(
    course: Course, path: Path, exercise: Exercise, answer: Implementation, result: Result, outcome: Outcome
) -> None:
    """The law, why it fails, the case, and the call that comes last; all of it once more as a replay."""
    outcome.law, outcome.message, outcome.traceback = result.law, result.message, long_text(result.error)
    if not outcome.written or not result.error:
        return
    call = answer.last_call
    outcome.case = [[name, short(value)] for name, value in result.case.items()]
    outcome.call = call_text(answer.name, call)
    outcome.answer = short(call.answer) if call.raised is None else ""
    try:
        outcome.replay = course.shown(replay.write(course, path, exercise, answer, result))
    except OSError as error:  # the verdict stands
        add_note(outcome, f"the case could not be kept for debug: {error}")


def add_note(outcome: Outcome, text: str) -> None:
    if text not in outcome.note:
        outcome.note = "; ".join(filter(None, [outcome.note, text]))


def long_text(error: BaseException | None) -> str:
    return "".join(traceback.format_exception(error))[-20_000:] if error else ""


def call_text(name: str, call: Call) -> str:
    given = [short(x) for x in call.arguments] + [f"{key}={short(x)}" for key, x in call.params.items()]
    return f"{name}({', '.join(given)})"


def picture(exercise: Exercise, call: Call) -> str:
    """Where the picture of yours, the library's and the difference is, if they are too large to be read."""
    if call.raised is not None or not any(array.size > SHOWN for array in arrays_in(call.answer)):
        return ""
    try:
        expected = call.again(exercise.adapt(exercise.target))
    except Exception:  # the call is one that the library refuses
        return ""
    for mine, theirs in zip(arrays_in(call.answer), arrays_in(expected), strict=False):
        if mine.size > SHOWN and mine.shape == theirs.shape and not alike(mine, theirs):
            return draw(exercise, as_image(mine), as_image(theirs))
    return ""


def draw(exercise: Exercise, mine: np.ndarray, theirs: np.ndarray) -> str:
    from minidl.figures import save, signed_map  # Matplotlib takes most of a second

    maps = np.stack([mine, theirs, mine - theirs])
    title = f"{exercise.number} {exercise.name}"
    figure = signed_map(maps, ["yours", "the library's", "difference"], columns=3, title=title)
    with redirect_stdout(io.StringIO()):
        return save(figure, f"check/{exercise.number.replace('.', '_')}").as_posix()


def arrays_in(value: object) -> list[np.ndarray]:
    if isinstance(value, tuple | list):
        return [array for part in value for array in arrays_in(part)]
    return [value] if isinstance(value, np.ndarray) else []


def as_image(array: np.ndarray) -> np.ndarray:
    """As (H, W): the last axis runs to the right, the others below each other."""
    return array.astype(float).reshape(-1, array.shape[-1])
