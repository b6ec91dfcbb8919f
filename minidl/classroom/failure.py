"""Explains a failed law to the learner: the case, the call, the recognised mistake, a picture, a replay."""

from __future__ import annotations

import io
import traceback
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis.errors import Flaky

from minidl.classroom import replay
from minidl.classroom.check import USUAL, Options, Outcome
from minidl.classroom.compare import SHOWN, readable, short
from minidl.classroom.course import Course
from minidl.classroom.elsewhere import Ended
from minidl.classroom.exercise import Exercise, Result, different_answers
from minidl.classroom.exercise_kinds import LibraryCall
from minidl.classroom.implementation import Call, Implementation
from minidl.classroom.reading import changed_signature
from minidl.classroom.recognize import alike, does_the_same, mistakes_like


@dataclass
class Failure:
    """A failed law. The methods write what they find into ``outcome``."""

    course: Course
    path: Path
    exercise: Exercise
    implementation: Implementation
    outcome: Outcome
    options: Options = USUAL

    def describe(self, result: Result) -> None:
        """Describe the failed law, or the law that a named mistake breaks if this mistake is recognised."""
        exercise, implementation, outcome = self.exercise, self.implementation, self.outcome
        own = result.error is implementation.raised
        outcome.written = not (isinstance(result.error, NotImplementedError) and own)
        self.tell(result)
        if not outcome.written or not result.error or isinstance(result.error, Ended | LibraryCall | Flaky):
            return
        self.add_note(changed_signature(implementation.told.parameters, exercise))
        if not does_the_same(implementation.last_call, exercise.adapt(implementation.answerer)):
            outcome.message = different_answers(implementation.name)
            return
        mistakes = mistakes_like(exercise, exercise.find_law(result.law), implementation, result.case)
        outcome.looks_like = [mistake.text for mistake in mistakes]
        if mistakes and mistakes[0].breaks != result.law:
            other = exercise.try_law(mistakes[0].breaks, implementation)
            outcome.calls += other.calls
            if not other.passed:
                self.tell(other)
        try:
            call = implementation.first_failure or implementation.last_call
            outcome.picture = picture(exercise, call, self.options.pictures)
        except OSError as error:
            self.add_note(f"the picture could not be kept: {error}")

    def tell(self, result: Result) -> None:
        """Write the law, why it fails, the case and the last call into ``outcome`` and a replay file."""
        outcome, call = self.outcome, self.implementation.last_call
        outcome.law, outcome.message, outcome.traceback = result.law, result.message, long_text(result.error)
        if not outcome.written or not result.error:
            return
        outcome.case = [[name, readable(value)] for name, value in result.case.items()]
        outcome.call = call_text(self.implementation.name, call)
        outcome.answer = short(call.answer) if call.raised is None else ""
        if self.options.file:
            return
        try:
            written = replay.write(self.course, self.path, self.exercise, self.implementation, result)
            outcome.replay = self.course.shown(written)
        except OSError as error:  # the verdict does not change
            self.add_note(f"the case could not be kept for debug: {error}")

    def add_note(self, text: str) -> None:
        if text not in self.outcome.note:
            self.outcome.note = "; ".join(filter(None, [self.outcome.note, text]))


def long_text(error: BaseException | None) -> str:
    if theirs := getattr(error, "traceback", ""):
        return theirs  # the traceback from the other process, which raised the error
    return "".join(traceback.format_exception(error))[-20_000:] if error else ""


def call_text(name: str, call: Call) -> str:
    given = [short(x) for x in call.arguments] + [f"{key}={short(x)}" for key, x in call.params.items()]
    return f"{name}({', '.join(given)})"


def picture(exercise: Exercise, call: Call, prefix: str = "") -> str:
    """Draw both answers and their difference if they are large. Returns the picture's path, or ""."""
    if call.raised is not None or not any(array.size > SHOWN for array in arrays_in(call.answer)):
        return ""
    try:
        expected = call.again(exercise.adapt(exercise.target))
    except Exception:  # the library refuses this call
        return ""
    for mine, theirs in zip(arrays_in(call.answer), arrays_in(expected), strict=False):
        if mine.size > SHOWN and mine.shape == theirs.shape and not alike(mine, theirs):
            return draw(exercise, as_image(mine), as_image(theirs), prefix)
    return ""


def draw(exercise: Exercise, mine: np.ndarray, theirs: np.ndarray, prefix: str) -> str:
    from minidl.figures import save, signed_map  # importing Matplotlib takes nearly a second

    maps = np.stack([mine, theirs, mine - theirs])
    title = f"{exercise.number} {exercise.name}"
    figure = signed_map(maps, ["yours", "the library's", "difference"], columns=3, title=title)
    name = f"check/{prefix}{exercise.number.replace('.', '_')}"
    with redirect_stdout(io.StringIO()):
        save(figure, name)
    return f"out/{name}.png"


def arrays_in(value: object) -> list[np.ndarray]:
    if isinstance(value, tuple | list):
        return [array for part in value for array in arrays_in(part)]
    return [value] if isinstance(value, np.ndarray) else []


def as_image(array: np.ndarray) -> np.ndarray:
    """The array as (H, W). The last axis is the width, and all other axes together are the height."""
    return array.astype(float).reshape(-1, array.shape[-1])
