"""The texts that a learner sees: outcomes and the list of lessons. On a terminal they have colours."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from unicodedata import category

from minidl.classroom.check import Outcome
from minidl.classroom.course import COMMAND, Course
from minidl.classroom.record import Record

if TYPE_CHECKING:
    from minidl.classroom.exercise import Exercise

COLOURS = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}
WIDTH = 100
UNSEEN = ("Cc", "Cf", "Cs")  # Unicode categories: control characters, format characters, surrogates


def paint(text: str, colour: str) -> str:
    return f"\033[{COLOURS[colour]}m{text}\033[0m" if text and colours_wanted() else text


def colours_wanted() -> bool:
    """True on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def outcome_text(outcome: Outcome, place: str, with_traceback: bool = False, command: str = COMMAND) -> str:
    """The result of a check in words. It is one line if the exercise passes."""
    outcome = replace(outcome, **{name: visible(value) for name, value in vars(outcome).items()})
    note = ("note", paint(outcome.note, "yellow"))
    if outcome.passed or not outcome.written:
        return "\n".join([headline(outcome, place), *rows(note)])
    lines = [headline(outcome, place), *findings(outcome)]
    lines += rows(note, ("printed", "\n".join(outcome.printed.splitlines()[-5:])))
    if with_traceback and outcome.traceback:
        lines += ["", outcome.traceback.rstrip(), ""]
    lines += rows(("step into it", outcome.replay and f"{command} debug {outcome.number}"))
    return "\n".join(lines)


def visible(value):
    """The text with control characters as visible escapes. Such characters could change a terminal."""
    if isinstance(value, list):
        return [visible(v) for v in value]
    if not isinstance(value, str) or (value.isascii() and value.isprintable()):
        return value
    return "".join(c if c in "\n\t" or category(c) not in UNSEEN else ascii(c)[1:-1] for c in value)


def headline(outcome: Outcome, place: str) -> str:
    name = paint(f"{outcome.number} {outcome.name}".strip(), "bold")
    if outcome.passed:
        laws = paint(f"all {counted(outcome.laws, 'law')} hold", "green")
        return f"{name}   {laws}   {counted(outcome.calls, 'call')}"
    if not outcome.written:
        return f"{name}   {paint('not written yet', 'yellow')}: it raises NotImplementedError"
    if outcome.library_calls:
        return f"{name}   {paint('is the library’s', 'red')}"
    law = f'law "{outcome.law}"   ' if outcome.law else ""
    where = f"{place}:{outcome.line}" if outcome.line else place
    calls = f", {counted(outcome.calls, 'call')}" if outcome.calls else ""
    between = "   " if len(name) + len(law) + len(where) < WIDTH - 20 else "\n  "
    return f"{name}   {law}{paint('FAILS', 'red')}{between}{paint(where + calls, 'dim')}"


def findings(outcome: Outcome) -> list[str]:
    """The case, the call and its answer, why the answer is wrong, and the recognised mistake."""
    if outcome.library_calls:
        return rows(("", outcome.message))
    return rows(
        *outcome.case,
        ("call", outcome.call),
        ("yours", outcome.answer if outcome.answer not in outcome.message else ""),
        ("", outcome.message),
        ("looks like", paint(", or ".join(outcome.looks_like), "yellow")),
        ("picture", outcome.picture and f"yours, the library's and the difference in {outcome.picture}"),
    )


def counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def rows(*pairs: Sequence[str]) -> list[str]:
    """Lines of names and texts. The later lines of a text are indented. A name without a text is left out."""
    texts = [(f"  {name:<12} = " if name else "  ") + text for name, text in pairs if text]
    return [text.replace("\n", "\n    ") for text in texts]


def hints_text(exercise: Exercise, record: Record) -> str:
    """The hints that were shown before, and the next hint."""
    count = len(exercise.hints)
    shown = record.one_more_hint(exercise.number, count)
    lines = [f"{i} of {count}  {text}" for i, text in enumerate(exercise.hints[:shown], 1)]
    lines = [*(paint(line, "dim") for line in lines[:-1]), paint(lines[-1], "bold")]
    if shown == count:
        lines.append(
            f"That is all. The smallest case that fails: {record.course.command} debug {exercise.number}"
        )
    return "\n".join(lines)


def lessons_text(course: Course, record: Record) -> str:
    """Every lesson with its exercises and its progress as a bar, and then the next step."""
    lines = []
    for lesson in course.lessons():
        exercises = course.exercises(lesson.number)
        done = sum(record.of(exercise.number)["passed"] for exercise in exercises)
        count = len(lesson.figures())
        figures = f"   [{counted(count, 'figure')}]" if count else ""
        title = paint(f"{lesson.number}  {lesson.title}", "bold")
        lines.append(f"{bar(done, len(exercises))} {title}{figures}")
        for exercise in exercises:
            known = state(record, exercise.number)
            lines.append(f"            {exercise.heading}   {paint(exercise.effort, 'dim')}{known}")
    return "\n".join([*lines, "", f"next: {next_thing(course, record)}"])


def bar(done: int, count: int) -> str:
    """A bar such as [##--], with spaces up to eight characters. Without exercises, there are only spaces."""
    text = f"[{'#' * done}{'-' * (count - done)}]" if count else ""
    return paint(f"{text:<8}", "green" if done == count else "dim")


def state(record: Record, number: str) -> str:
    """The state of an exercise, in a few words."""
    entry = record.of(number)
    if entry["passed"]:
        return "   " + (paint("done", "green") if record.passes(number) else "done, changed since")
    return f"   {entry['held']} of {entry['laws']} laws" if entry["laws"] else ""


def next_thing(course: Course, record: Record, first: str = "") -> str:
    """The next started exercise that does not pass, or the next lesson. Lesson ``first`` is tried first."""
    started = {lesson.number for lesson in course.started()}
    for number in sorted(started, key=lambda number: (number != first, number)):
        for exercise in course.exercises(number):
            if not record.of(exercise.number)["passed"]:
                path = course.shown(course.work_file(number))
                return (
                    f"write {exercise.name} in {path}, then  {course.command} check {exercise.number}  "
                    f"(stuck? hint {exercise.number})"
                )
    waiting = [lesson.number for lesson in course.lessons() if lesson.number not in started]
    for number in filter(course.exercises, waiting):
        return f"{course.command} run {number}  to read the lesson, then  {course.command} start {number}"
    return "everything is done"
