"""The lessons' command line: list them, run them."""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from minidl.classroom.exercise import Exercise


@dataclass(frozen=True)
class Lesson:
    """A script NN_topic.py; its figures are in out/NN_topic/ beside the lessons' folder."""

    path: Path

    @property
    def number(self) -> str:
        return self.path.stem[:2]

    @property
    def title(self) -> str:
        """The first line of the script's docstring, without the number."""
        try:
            text = ast.get_docstring(ast.parse(self.path.read_bytes()))
        except (SyntaxError, ValueError) as error:  # somebody is editing it
            return f"(does not parse: {error})"
        return (text or "(no title)").splitlines()[0].removeprefix(self.number).strip()

    @property
    def root(self) -> Path:
        return self.path.parent.parent

    def figures(self) -> dict[Path, int]:
        """The files in the lesson's figure folder, each with the time it was written."""
        folder = self.root / "out" / self.path.stem
        return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def main(arguments: list[str], folder: Path, find_exercises: Callable[[], list[Exercise]]) -> int:
    """Do what the arguments ask with the lessons in ``folder``; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console without "±" shows "?" instead of stopping
    asked = parser().parse_args(arguments)
    lessons = [Lesson(path) for path in sorted(folder.resolve().glob("[0-9][0-9]_*.py"))]
    if asked.verb == "run":
        try:
            return run_lessons(lessons, asked.numbers)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130
    return list_lessons(lessons, find_exercises())


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m lessons", description="Without a verb: the list of lessons and their exercises."
    )
    verbs = top.add_subparsers(dest="verb", metavar="VERB")
    run = verbs.add_parser("run", help="run lessons, each in a process of its own")
    run.add_argument("numbers", nargs="*", metavar="NN", help="lesson numbers; all lessons without one")
    return top


def list_lessons(lessons: list[Lesson], exercises: list[Exercise]) -> int:
    for lesson in lessons:
        count = len(lesson.figures())
        figures = f"   [{count} figure{'s' if count > 1 else ''}]" if count else ""
        print(f"{lesson.number}  {lesson.title}{figures}")
        for exercise in exercises:
            if exercise.number[:2] == lesson.number:
                print(f"      {exercise.number}  {exercise.name}")
    print("\nRun lessons with  python -m lessons run [NN ...]")
    return 0


def run_lessons(lessons: list[Lesson], numbers: list[str]) -> int:
    """Run the lessons of these numbers (all for none) in this order; 1 if any fails, 2 for an unknown one."""
    known = {lesson.number: lesson for lesson in lessons}
    wanted = [number.zfill(2) for number in numbers]
    unknown = [number for number in wanted if number not in known]
    if unknown:
        print(
            f"there is no lesson {', '.join(unknown)}; there are {', '.join(known) or 'none'}",
            file=sys.stderr,
        )
        return 2

    chosen = [known[number] for number in wanted] or lessons
    failed = []
    # disable=None: no bar where the output is not a terminal.
    with tqdm(total=len(chosen), unit="lesson", disable=None if len(chosen) > 1 else True) as bar:
        for lesson in chosen:
            bar.clear()  # the lesson writes to the terminal itself
            print(f"== {lesson.number}  {lesson.title}", flush=True)
            code = run_lesson(lesson)
            if code:
                failed.append(f"{lesson.path.name} (exit code {code})")
            bar.update()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run_lesson(lesson: Lesson) -> int:
    """Run one lesson, its output going straight through; print the time and where its figures are."""
    before, start = lesson.figures(), time.perf_counter()
    code = subprocess.run(
        [sys.executable, "-u", str(lesson.path)], cwd=lesson.root, env=environment(lesson.root)
    ).returncode
    written = [path for path, when in lesson.figures().items() if before.get(path) != when]
    figures = f", {len(written)} figures in {written[0].parent.relative_to(lesson.root)}" if written else ""
    print(f"== {lesson.number}  took {time.perf_counter() - start:.1f} s{figures}\n", flush=True)
    return code


def environment(root: Path) -> dict[str, str]:
    """The child's: the checkout's minidl is importable, and figures need no window unless somebody looks."""
    env = dict(os.environ)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), env.get("PYTHONPATH")]))
    env.setdefault("PYTHONIOENCODING", "utf-8")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        env.setdefault("MPLBACKEND", "Agg")
    return env
