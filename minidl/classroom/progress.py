"""What a learner has done: work/progress.json, plain, made anew by checking when it is damaged or lost."""

from __future__ import annotations

import json
from pathlib import Path

from minidl.classroom.check import check_lesson
from minidl.classroom.course import Course
from minidl.classroom.outcome import Outcome

EMPTY = {"held": 0, "laws": 0, "passed": False, "hints": 0, "file": ""}  # of one exercise


class Progress:
    """How many laws held when an exercise was last checked, of which text, and how many hints were shown.

    ``damaged`` says what was wrong with the file, if anything was; it is kept beside the new one.
    """

    def __init__(self, course: Course) -> None:
        self.path: Path = course.work / "progress.json"
        self.damaged = ""
        self.entries: dict[str, dict] = {}
        try:
            self.entries = checked_entries(json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            self.damaged = f"{course.shown(self.path)} is missing" if course.started() else ""
        except (ValueError, OSError) as error:
            self.damaged = f"{course.shown(self.path)} is damaged ({error})"

    def of(self, number: str) -> dict:
        return {**EMPTY, **self.entries.get(number, {})}

    def note(self, outcome: Outcome) -> None:
        """Keep what a check found about an exercise; a file that cannot be read says nothing about one."""
        if outcome.number:
            found = {name: getattr(outcome, name) for name in EMPTY if name != "hints"}
            self.entries[outcome.number] = {**self.of(outcome.number), **found}
            self.save()

    def one_more_hint(self, number: str, there_are: int) -> int:
        """How many hints to show now: one more than last time, until there are no more."""
        entry = self.of(number)
        entry["hints"] = min(entry["hints"] + 1, there_are)
        self.entries[number] = entry
        self.save()
        return entry["hints"]

    def save(self) -> None:
        from minidl.classroom.answers import write_text

        write_text(self.path, json.dumps(self.entries, indent=1, sort_keys=True) + "\n")

    def rebuild(self, course: Course) -> None:
        """Check everything that was started. A file that cannot be read stays as progress.json.old."""
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".json.old"))
        self.entries, self.damaged = {}, ""
        for lesson in course.started():
            for outcome in check_lesson(course, lesson.number):
                self.note(outcome)
        self.save()


def checked_entries(read: object) -> dict[str, dict]:
    """What was read, if it is what ``save`` writes. Raises ValueError."""
    if not isinstance(read, dict):
        raise ValueError("it must be a table of exercises")
    for number, entry in read.items():
        wanted = {name: type(value) for name, value in EMPTY.items()}
        if not isinstance(entry, dict) or {name: type(value) for name, value in entry.items()} != wanted:
            raise ValueError(f"its entry {number} must hold {', '.join(EMPTY)}")
    return read
