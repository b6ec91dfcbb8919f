"""``watch``: checks a file after each save, and prints the next step."""

from __future__ import annotations

import time
from pathlib import Path

from minidl.classroom.check import CheckError, check_lesson
from minidl.classroom.course import Course
from minidl.classroom.on_terminal import next_thing, outcome_text, paint
from minidl.classroom.record import Record

TICK = 0.1  # after so many seconds, the files are compared again
Stamp = tuple[int, int, int] | None  # another value if the file changes; None if there is no file


def watch(course: Course, lesson: str, seconds: float) -> None:
    """Check this lesson's file, and then each saved file, until Ctrl-C. ``seconds``: the limit of a law."""
    seen = dealt_with = look(course, {})
    check_file(course, course.work_file(lesson), seconds)
    while True:
        time.sleep(TICK)
        before, seen = seen, look(course, seen)
        for path, now in seen.items():
            # Editors save in two steps. So a file is checked only after it has not changed for a moment.
            if now != before.get(path) or now == dealt_with.get(path):
                continue
            dealt_with = {**dealt_with, path: now}
            if now:
                check_file(course, path, seconds)
            else:
                print(f"\n{course.shown(path)} is gone: waiting for it to come back", flush=True)


def check_file(course: Course, path: Path, seconds: float) -> None:
    """Print the results, until all exercises are checked or the file is saved again."""
    place, lesson, begun = course.shown(path), path.name[:2], stamp(path)
    print("\n" + paint(f"checking {place} ...", "dim"), flush=True)
    try:
        for outcome in check_lesson(course, lesson, seconds=seconds):
            print(outcome_text(outcome, place, command=course.command), flush=True)
            Record(course).note(outcome)
            if stamp(path) != begun:
                return
    except (CheckError, OSError) as error:  # for example, the file was deleted
        print(error, flush=True)
        return
    print(f"next: {next_thing(course, Record(course), lesson)}", flush=True)


def look(course: Course, seen: dict[Path, Stamp]) -> dict[Path, Stamp]:
    """The stamps of all started files, and of all files in ``seen``."""
    there = {course.work_file(lesson.number) for lesson in course.started()}
    return {path: stamp(path) for path in there | seen.keys()}


def stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
