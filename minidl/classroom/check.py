"""Checking a learner's file: in a process of its own, so that nothing it does can keep the verdict away."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import IO, TypeVar

from minidl.classroom.course import Course
from minidl.classroom.outcome import END, Outcome
from minidl.classroom.running import environment

SECONDS = 5.0  # that a law may take, a hundred times what one does
STARTING = 60.0  # seconds until the worker, on a slow machine, has imported the library
GRACE = 3.0  # seconds beyond a law's, after which the worker is taken to be stuck in compiled code
TICK = 0.1  # seconds after which a check that has nothing to say yet gives way
KEPT = 2000  # bytes of what the learner's file printed


T = TypeVar("T")
Waiting = Generator[None, None, T]  # yields None while it waits for what it returns


class CheckError(Exception):
    """The checker itself failed; the message holds what it printed."""


def check_exercise(course: Course, number: str, seconds: float = SECONDS) -> Outcome:
    """Check one exercise "NN.k" of the learner's file. Raises ValueError for a number that is not set."""
    *_, outcome = check_lesson(course, number[:2], [number], seconds)
    return outcome


def check_lesson(
    course: Course, lesson: str, numbers: list[str] | None = None, seconds: float = SECONDS
) -> Iterator[Outcome]:
    """An Outcome for each exercise of the learner's file as soon as it is known; of these numbers if given.

    A file that cannot be imported has a single Outcome without a number. The file is read anew by each call.
    Raises ValueError for an unknown lesson or number, FileNotFoundError when ``start`` has not been called.
    """
    return (outcome for outcome in check_steps(course, lesson, numbers, seconds) if outcome)


def check_steps(
    course: Course, lesson: str, numbers: list[str] | None = None, seconds: float = SECONDS
) -> Generator[Outcome | None, None, None]:
    """``check_lesson`` for who has other things to do: None in between, after each tenth of a second.

    To close the generator ends the check, whatever the learner's file is doing.
    """
    if not course.answers(lesson).exists():
        raise FileNotFoundError(
            f"{course.shown(course.answers(lesson))} is not there yet: start {lesson} writes it"
        )
    done: set[str] = set()
    todo = numbers
    while todo is None or todo:
        with Worker(course, lesson, todo or [], seconds) as worker:
            exercises = yield from worker.exercises()
            if todo is None:
                todo = [number for number, _ in exercises]
            unknown = set(todo) - {number for number, _ in exercises}
            if unknown:
                known = ", ".join(f"{number} {name}" for number, name in exercises) or "none"
                raise ValueError(
                    f"there is no exercise {', '.join(sorted(unknown))}; lesson {lesson} has {known}"
                )
            for outcome in worker.outcomes(dict(exercises)):
                yield outcome
                if outcome is None:
                    continue
                if not outcome.number:
                    return
                done.add(outcome.number)
        todo = [number for number in todo if number not in done]  # a dead worker leaves some


class Worker:
    """The process of worker.py, and threads that read what it writes: its lines, and the file's prints."""

    def __init__(self, course: Course, lesson: str, numbers: list[str], seconds: float) -> None:
        self.seconds, self.path = seconds, course.answers(lesson)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-u", "-m", "minidl.classroom.worker"),
                *(str(course.folder.resolve()), course.package, lesson, str(seconds), *numbers),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=course.root,
            env={**environment(course.root), "MINIDL_DEBUG": "1", "MPLBACKEND": "Agg"},  # nothing to compile
        )
        self.lines: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
        self.printed = bytearray()
        self.ends: queue.SimpleQueue[None] = queue.SimpleQueue()  # of what was printed for one exercise
        threading.Thread(target=self.read_lines, args=[self.process.stdout], daemon=True).start()
        self.listener = threading.Thread(target=self.read_prints, args=[self.process.stderr], daemon=True)
        self.listener.start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    def read_lines(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def read_prints(self, pipe: IO[bytes]) -> None:
        """Keep the end, however much there is. The worker marks the end of an exercise by a zero byte."""
        while part := pipe.read1(65536):
            self.printed += part
            del self.printed[:-KEPT]
            for _ in range(part.count(END)):
                self.ends.put(None)

    def exercises(self) -> Waiting[list[tuple[str, str]]]:
        """(number, name) of the lesson's exercises."""
        first = yield from self.next_line(STARTING)
        if not isinstance(first, dict):
            self.__exit__()
            self.listener.join(1)
            raise CheckError(f"the checker did not start:\n{self.printed.decode(errors='replace')}")
        return [tuple(pair) for pair in first["exercises"]]

    def next_line(self, seconds: float) -> Waiting[dict | str | None]:
        """The next line; None after the last, "late" if it does not come in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                return self.lines.get(timeout=TICK)
            except queue.Empty:
                yield None
        return "late"

    def outcomes(self, names: dict[str, str]) -> Iterator[Outcome | None]:
        """What the worker finds, and last, if it does not come to its end, why."""
        at = {"begin": "", "law": ""}
        while True:
            line = yield from self.next_line(self.seconds + GRACE)
            if not isinstance(line, dict):
                break
            if "begin" in line:
                at = line
                continue
            outcome = Outcome(**line["outcome"])
            with suppress(queue.Empty):
                self.ends.get(timeout=1)
            outcome.printed = self.prints()
            self.printed.clear()
            at = {"begin": None}
            yield outcome
        message = (
            self.death()
            if line is None
            else f"no answer after {self.seconds + GRACE:g} s: a loop without end?"
        )
        if at["begin"] is not None:
            name = names.get(at["begin"], self.path.name)
            yield Outcome(at["begin"], name, law=at["law"], message=message, printed=self.prints())

    def prints(self) -> str:
        return self.printed.replace(END, b"").decode(errors="replace").strip()

    def death(self) -> str:
        """How the process ended, in words."""
        self.listener.join(1)
        code = self.process.wait()
        if code >= 0:
            return f"it ended the whole process (exit code {code})"
        try:
            return f"it crashed the whole process ({signal.Signals(-code).name})"
        except ValueError:
            return f"it crashed the whole process (signal {-code})"
