"""The result of a check in a form that services read: ``python -m lessons check FILE ... --json``.

    {"version": 1,                    the version of this format
     "minidl": "0.2.0",
     "seed": null,                    the seed of the laws' cases; null for the usual cases
     "submissions": [{
        "file": "smith.py",           the name in the command
        "lesson": "09",
        "points": 2, "max_points": 10,
        "flags": [...],               hints for the teacher, in words; flags cost no points
        "exercises": [{
            "number": "09.1", "name": "stable_softmax",
            "points": 2, "max_points": 2,
            "status": "passed",   or "failed", "missing" (not written yet), "crashed", "timeout", "library"
            "laws": 7, "held": 7,     the number of laws, and how many of them hold
            "tried": [["each row sums to 1", true], ...],    each law that was tried, and whether it holds
            "law": "", "message": "", "case": [["z", "[[0.]]"], ...], "call": "", "answer": "",  the failure
            "line": 12,               the line of the file where the function begins; 0 if unknown
            "looks_like": [...],      the recognised mistakes
            "note": "", "picture": "", "seconds": 0.61}]}]}

An exercise gets all of its points or none. With ``partial`` it gets points for the share of laws that hold.
A function that calls the library's own gets no points. If a file cannot be imported, the status of all its
exercises is "crashed" or "timeout", and the message says why.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import minidl
from minidl.classroom.check import Options, Outcome, check_lesson
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise
from minidl.classroom.further import points_of
from minidl.classroom.on_terminal import outcome_text, paint
from minidl.classroom.work_file import MARK
from minidl.engine.checks import require

HEAD = re.compile(r'^"""Exercises of lesson (\d\d)\b', re.MULTILINE)
DEFINED = re.compile(r"^(?:def|class) (\w+)", re.MULTILINE)
TOLD = (
    *("tried", "law", "message", "case", "call", "answer", "line"),
    *("looks_like", "note", "picture", "seconds"),
)


def check_files(course: Course, asked: argparse.Namespace) -> int:
    """``check`` for given files or with --json: print the results. Returns 1 if something fails, else 0."""
    numbers = [one for one in asked.numbers if isinstance(one, str)]
    files = [one for one in asked.numbers if isinstance(one, Path)]
    everything = asked.json or asked.partial
    options = Options(seed=asked.seed, laws=full_path(asked.laws), all_laws=everything)
    found = []
    for path, lesson in chosen_files(course, files, numbers, asked.lesson):
        todo = chosen_exercises(course, lesson, numbers)
        this = replace(options, file=full_path(path), pictures=picture_prefix(path) if files else "")
        points, outcomes = points_of(course.exercises(lesson), asked.laws), []
        if not asked.json and len(files) > 1:
            print(paint(f"{path}", "bold"))
        for outcome in check_lesson(course, lesson, [one.number for one in todo], asked.limit, this):
            outcomes.append(outcome)
            if not asked.json:
                print(outcome_text(outcome, str(path), asked.traceback, course.command), flush=True)
        found.append(submission(str(path), lesson, todo, points, outcomes, asked.partial))
        if asked.partial and not asked.json:
            print(f"{found[-1]['points']:g} of {found[-1]['max_points']:g} points")
    if asked.json:
        print(json.dumps(document(found, asked.seed), indent=1))
    return int(any(row["status"] != "passed" for one in found for row in one["exercises"]))


def chosen_files(
    course: Course, files: list[Path], numbers: list[str], lesson: str | None
) -> list[tuple[Path, str]]:
    """Each file with its lesson. If ``files`` is empty, the files in work/ for the lessons in ``numbers``."""
    if files:
        return [(path, course.lesson(lesson or lesson_of(course, path)).number) for path in files]
    lessons = [lesson] if lesson else [number[:2] for number in numbers]
    lessons = list(dict.fromkeys(lessons)) or [one.number for one in course.started()]
    return [(Path(course.shown(course.started_file(number))), number) for number in lessons]


def chosen_exercises(course: Course, lesson: str, numbers: list[str]) -> list[Exercise]:
    """The lesson's exercises in ``numbers`` (NN or NN.k), or all if no number belongs to this lesson."""
    of_it = [course.exercise(number).number for number in numbers if number.startswith(f"{lesson}.")]
    if lesson in numbers or not of_it:
        return course.exercises(lesson)
    return [one for one in course.exercises(lesson) if one.number in of_it]


def full_path(path: Path | None) -> str:
    """The full path, for a process in another folder. Raises OSError for a file that cannot be read."""
    if path is None:
        return ""
    with path.open("rb"):
        return str(path.resolve())


def picture_prefix(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem)[:60] + "_"


def lesson_of(course: Course, path: Path) -> str:
    """The lesson that a file belongs to (see ``lesson_in``).

    Raises ValueError if the lesson is not known, OSError for a file that cannot be read.
    """
    found = lesson_in(course, path.read_text(encoding="utf-8", errors="replace"), path.stem)
    require(bool(found), f"{path}: the text and the name do not show the lesson: choose it with --lesson NN")
    return found


def lesson_in(course: Course, text: str, name: str) -> str:
    """The lesson of a file, or "" if it is not known.

    Four things can show the lesson: the marks of the stubs, the docstring, the names of the functions, and
    the file's name NN_topic, as ``start`` writes it. The first of them that shows a lesson decides.
    """
    known = [one.number for one in course.lessons()]
    for said in ([number[:2] for number, *_ in MARK.findall(text)], HEAD.findall(text)):
        if numbers := Counter(number for number in said if number in known):
            return numbers.most_common(1)[0][0]
    return lesson_of_functions(course, text) or lesson_of_name(course, name)


def lesson_of_functions(course: Course, text: str) -> str:
    """The lesson with the most exercises in the text; "" if there are none, or if two lessons tie."""
    own = set(DEFINED.findall(text))
    count = Counter(one.number[:2] for one in course.exercises() if one.name in own) if own else Counter()
    most = [number for number, found in count.items() if found == max(count.values())]
    return most[0] if len(most) == 1 else ""


def lesson_of_name(course: Course, name: str) -> str:
    """The lesson with its NN_topic in the file's name."""
    named = [one for one in course.lessons() if one.path.stem.lower() in name.lower()]
    return named[0].number if len(named) == 1 else ""


def submission(
    file: str, lesson: str, exercises: list[Exercise], points: dict[str, float], outcomes: Iterable[Outcome],
    partial: bool = False,
) -> dict:  # fmt: skip
    """One entry of "submissions" (see above). ``exercises``: the exercises that the check should cover."""
    found = {outcome.number: outcome for outcome in outcomes}
    flags: list[str] = []
    for outcome in found.values():
        flags += [flag for flag in outcome.flags if flag not in flags]
    rows = [exercise_row(one, found.get(one.number) or of_the_file(one, found), points[one.number], partial)
            for one in exercises]  # fmt: skip
    total, most = (round(sum(row[key] for row in rows), 2) for key in ("points", "max_points"))
    head = {"file": file, "lesson": lesson, "points": total, "max_points": most, "flags": flags}
    return {**head, "exercises": rows}


def of_the_file(exercise: Exercise, found: dict[str, Outcome]) -> Outcome:
    """The Outcome of an exercise if its file could not be checked."""
    file = found.get("")
    message, ended = (file.message, file.ended) if file else ("it was not checked", "crashed")
    return Outcome(exercise.number, exercise.name, message=message, ended=ended, laws=len(exercise.laws))


def exercise_row(exercise: Exercise, outcome: Outcome, points: float, partial: bool) -> dict:
    laws = outcome.laws or len(exercise.laws)
    share = float(outcome.passed)
    if partial and outcome.status != "library":
        share = min(outcome.held, laws - (not outcome.passed)) / max(laws, 1)
    row: dict[str, Any] = {"number": exercise.number, "name": exercise.name}
    got = points if share == 1 else round(points * share, 2) or 0
    row |= {"points": got, "max_points": points}
    row |= {"status": outcome.status, "laws": laws, "held": outcome.held}
    return row | {name: getattr(outcome, name) for name in TOLD}


def document(submissions: list[dict], seed: int | None = None) -> dict:
    return {"version": 1, "minidl": minidl.__version__, "seed": seed, "submissions": submissions}
