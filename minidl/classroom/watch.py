"""``watch``: check a file each time that it is saved, and say what comes next."""

from __future__ import annotations

import time
from pathlib import Path

from minidl.classroom.check import CheckError, check_lesson
from minidl.classroom.course import Course
from minidl.classroom.messages import next_thing, outcome_text, paint
from minidl.classroom.record import Record

TICK = 0.1  # seconds between two looks at the files
Stamp = tuple[int, int, int] | None  # what changes when a file does; None where there is none


def watch(course: Course, lesson: str, seconds: float) -> None:
    """Check this lesson's file, and then each file that is saved, until Ctrl-C. ``seconds``: for a law."""
    seen = dealt_with = look(course, {})
    check_file(course, course.work_file(lesson), seconds)
    while True:
        time.sleep(TICK)
        before, seen = seen, look(course, seen)
        for path, now in seen.items():
            # Editors write, or rename, in two steps: what counts has stayed the same for a moment.
            if now != before.get(path) or now == dealt_with.get(path):
                continue
            dealt_with = {**dealt_with, path: now}
            if now:
                check_file(course, path, seconds)
            else:
                print(f"\n{course.shown(path)} is gone: waiting for it to come back", flush=True)


def check_file(course: Course, path: Path, seconds: float) -> None:
    """Print what holds, until all is checked or the file is saved again."""
    place, lesson, begun = course.shown(path), path.name[:2], stamp(path)
    print("\n" + paint(f"checking {place} ...", "dim"), flush=True)
    try:
        for outcome in check_lesson(course, lesson, seconds=seconds):
            print(outcome_text(outcome, place, command=course.command), flush=True)
            Record(course).note(outcome)
            if stamp(path) != begun:
                return
    except (CheckError, OSError) as error:  # such as a file that is gone since the latest look
        print(error, flush=True)
        return
    print(f"next: {next_thing(course, Record(course), lesson)}", flush=True)


def look(course: Course, seen: dict[Path, Stamp]) -> dict[Path, Stamp]:
    """The stamps of all files that are started, and of those that were seen before."""
    there = {course.work_file(lesson.number) for lesson in course.started()}
    return {path: stamp(path) for path in there | seen.keys()}


def stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
