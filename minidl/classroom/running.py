"""Runs lessons, each in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

import minidl
from minidl.classroom.course import Course, Lesson
from minidl.classroom.gallery import write_gallery

AFTER_THE_FIRST = """\
The first lesson is done: look at its pictures. The others train networks and keep them. They take some
six minutes on two cores the first time, and less after that. Ctrl-C stops, and what is done
stays; python -m lessons run 02 runs one of them.
"""


def run_lessons(chosen: list[Lesson], through: Sequence[str] = ()) -> int:
    """Run the lessons in this order. Returns 1 if any lesson fails, else 0.

    through: the interpreter's arguments before the script, such as ``-m MODULE``.
    After the runs, the page out/index.html shows all figures of all lessons.
    """
    failed = []
    # disable=None: no bar if the output is not a terminal.
    with tqdm(total=len(chosen), unit="lesson", disable=None if len(chosen) > 1 else True) as bar:
        for lesson in chosen:
            bar.clear()  # the lesson itself also writes to the terminal
            print(f"== {lesson.number}  {lesson.title}", flush=True)
            code = run_lesson(lesson, through)
            if lesson.number == "00" and len(chosen) > 1:
                print(AFTER_THE_FIRST, flush=True)
            if code:
                failed.append(f"{lesson.path.name} (exit code {code})")
            bar.update()
    page = write_gallery(Course(chosen[0].path.parent).lessons())
    if page:
        print(f"all figures: {page.relative_to(chosen[0].root).as_posix()}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run_lesson(lesson: Lesson, through: Sequence[str] = ()) -> int:
    """Run one lesson and print its output, its headings, its time and the folder of its figures."""
    before, start = lesson.figures(), time.perf_counter()
    code = subprocess.run(
        [sys.executable, "-u", *(through or ["-m", "minidl.classroom.script"]), str(lesson.path)],
        cwd=lesson.root,
        env=environment(lesson.root),
    ).returncode
    written = [path for path, when in lesson.figures().items() if before.get(path) != when]
    figures = f", {len(written)} figures in {written[0].parent.relative_to(lesson.root)}" if written else ""
    print(f"== {lesson.number}  took {time.perf_counter() - start:.1f} s{figures}\n", flush=True)
    return code


def environment(root: Path) -> dict[str, str]:
    """The environment for a lesson. It can import minidl, and figures open windows only on a terminal."""
    env = dict(os.environ)
    places = [str(root), env.get("PYTHONPATH"), str(Path(minidl.__file__).parents[1])]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    env.setdefault("PYTHONIOENCODING", "utf-8")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        env.setdefault("MPLBACKEND", "Agg")
    return env
