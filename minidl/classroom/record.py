"""A learner's progress, saved in work/progress.json as text. A check adds missing entries."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minidl.classroom.check import Outcome, check_lesson
from minidl.classroom.course import Course
from minidl.classroom.files import digest, put_aside, write_text
from minidl.engine.checks import require

KEY = re.compile(r"\d\d\.\d [A-Za-z_]\w*")  # number and name: a later minidl may change the number
EMPTY = {"held": 0, "laws": 0, "passed": False, "hints": 0, "file": ""}  # the entry of a new exercise
PATIENCE = 5.0  # seconds; an older lock is from a process that was killed


class Record:
    """For each exercise: the result of its last check, the checked file's digest, the number of shown hints.

    Several commands may write at the same time. Each reads the file again and changes only its own entries.
    """

    def __init__(self, course: Course) -> None:
        self.course = course
        self.path: Path = course.work / "progress.json"
        self.entries: dict[str, dict] = {}
        try:
            self.entries = read_entries(self.path)
        except (ValueError, OSError):
            with self.changing():
                pass

    def key(self, number: str) -> str:
        return f"{number} {self.course.exercise(number).name}"

    def of(self, number: str) -> dict:
        return {**EMPTY, **self.entries.get(self.key(number), {})}

    def passes(self, number: str) -> bool:
        """Whether the exercise passed, and the learner's file and the library have not changed since then."""
        entry, now = self.of(number), digest(self.course.work_file(number[:2]))
        return entry["passed"] and entry["file"] == now != ""

    def note(self, outcome: Outcome) -> None:
        """Save the result of an exercise's check. An outcome without an exercise is not saved."""
        if outcome.number:
            found = {name: getattr(outcome, name) for name in EMPTY if name != "hints"}
            try:
                with self.changing():
                    self.entries[self.key(outcome.number)] = {**self.of(outcome.number), **found}
            except OSError as error:  # the verdict does not change
                print(f"the progress could not be saved: {error}", file=sys.stderr)

    def begin(self, lesson: str) -> None:
        """Reset all results of this lesson. The numbers of shown hints stay."""
        with self.changing():
            for exercise in self.course.exercises(lesson):
                number = exercise.number
                self.entries[self.key(number)] = {**EMPTY, "hints": self.of(number)["hints"]}

    def one_more_hint(self, number: str, there_are: int) -> int:
        """How many hints to show now: one more than last time, at most ``there_are``."""
        with self.changing():
            entry = self.of(number)
            entry["hints"] = min(entry["hints"] + 1, there_are)
            self.entries[self.key(number)] = entry
        return entry["hints"]

    def complete(self) -> None:
        """Check the started lessons that have no entry. The progress file may be damaged or lost."""
        for lesson in self.course.started():
            numbers = [exercise.number for exercise in self.course.exercises(lesson.number)]
            if all(self.key(number) in self.entries for number in numbers):
                continue
            shown = self.course.shown(self.course.work_file(lesson.number))
            print(f"{shown} has no results yet: checking it ...", file=sys.stderr, flush=True)
            for outcome in check_lesson(self.course, lesson.number):
                self.note(outcome)
            with self.changing():  # also if the file was unreadable and gave no Outcome
                self.entries.update({self.key(number): self.of(number) for number in numbers})

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Read the file's entries again. The block may change the entries. They are saved at its end.

        A file that is damaged, or was written by an older minidl, is moved to backup/.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with alone(self.path.with_suffix(".lock")):
            try:
                self.entries = read_entries(self.path)
            except (ValueError, OSError) as error:
                self.entries = {}
                kept = self.course.shown(put_aside(self.path))
                why = str(error) if isinstance(error, OlderNumbers) else f"is damaged ({error})"
                print(f"{self.course.shown(self.path)} {why}: kept as {kept}", file=sys.stderr)
            yield
            write_text(self.path, json.dumps(self.entries, indent=1, sort_keys=True) + "\n")


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Only one process at a time runs the block."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            lock.touch(exist_ok=False)
            break
        except FileExistsError:
            time.sleep(0.005)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


class OlderNumbers(ValueError):
    """An older minidl wrote the entries. Their keys are numbers without names."""


def read_entries(path: Path) -> dict[str, dict]:
    """The entries that ``Record`` has written; {} without a file. Raises ValueError for other content."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    require(isinstance(read, dict), "the file must hold a JSON object of exercises")
    wanted = {name: type(value) for name, value in EMPTY.items()}
    for number, entry in read.items():
        fits = isinstance(entry, dict) and {name: type(value) for name, value in entry.items()} == wanted
        require(fits, f"entry {number} must hold {', '.join(EMPTY)}")
    is_new = all(map(KEY.fullmatch, read))
    require(is_new, "is from an older minidl with other numbers of exercises", OlderNumbers)
    return read
