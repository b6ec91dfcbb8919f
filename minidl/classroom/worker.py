"""The process that runs a learner's file: it tries the laws and writes what it finds, a line of JSON each.

The first line of its input says what to check (``Worker`` in check.py). The parent (check.py) reads the
lines and survives whatever happens here: a loop without end, an exit, a crash.
"""

from __future__ import annotations

import _thread
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TextIO

from minidl.classroom import failure, work_file
from minidl.classroom.check import END, USUAL, Options, Outcome
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise, Result
from minidl.classroom.files import digest
from minidl.classroom.further import further_laws
from minidl.classroom.implementation import Implementation
from minidl.classroom.recognize import code_of, library_calls

MORE_TIME = "if it is only slow: check --limit 60"
MEMORY = 4 * 2**30  # bytes that a learner's file may take, where the system can be asked to see to it


def main() -> None:
    asked = json.loads(sys.stdin.buffer.readline())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the learner's file prints goes another way than what is found
    course = Course(**{**asked["course"], "folder": Path(asked["course"]["folder"])})
    options = Options(**asked["options"])
    if not options.file:
        sys.path.append(str(course.work))  # for files that the learner's imports
    limit_memory()
    FileCheck(course, asked["lesson"], asked["seconds"], lines, options).run(asked["numbers"])
    os._exit(0)  # threads that the learner's file started, and its atexit functions, have no say


class FileCheck:
    """The check of one lesson's file; what it finds goes to ``lines``."""

    def __init__(
        self, course: Course, lesson: str, seconds: float, lines: TextIO, options: Options = USUAL
    ) -> None:
        self.course, self.seconds, self.lines, self.options = course, seconds, lines, options
        self.path = Path(options.file or course.work_file(lesson))
        self.exercises = course.exercises(lesson)
        further_laws(course, self.exercises, options)
        self.digest = digest(self.path)  # before it is read: what is saved meanwhile is another

    def run(self, numbers: list[str]) -> None:
        """Check these exercises, or all."""
        self.emit(exercises=[(exercise.number, exercise.name) for exercise in self.exercises])
        self.emit(begin="", law="")
        ran_out: list[bool] = []
        try:
            with patience(self.seconds, ran_out):
                module = work_file.load(self.path)
        except (work_file.FileProblem, KeyboardInterrupt) as error:
            message = str(error)
            if isinstance(error, KeyboardInterrupt):
                too_long = f"importing it takes more than {self.seconds:g} s ({MORE_TIME})"
                message = self.stopped(error, ran_out, too_long)
            trace = failure.long_text(error)
            ended = "timeout" if ran_out else "crashed"
            self.emit_outcome(Outcome("", self.path.name, message=message, traceback=trace, ended=ended))
            return
        for exercise in self.exercises:
            if exercise.number in numbers or not numbers:
                self.emit(begin=exercise.number, law="")
                self.emit_outcome(self.outcome_of(module, exercise))

    def outcome_of(self, module: ModuleType, exercise: Exercise) -> Outcome:
        outcome = Outcome(exercise.number, exercise.name, file=self.digest, laws=len(exercise.laws))
        text = self.path.read_text(encoding="utf-8", errors="replace")
        outcome.note = work_file.stale(text, exercise, self.exercises)
        try:
            implementation = exercise.adapt(work_file.function_of(module, exercise))
        except (work_file.FileProblem, TypeError) as error:
            outcome.message, outcome.ended = str(error), getattr(error, "ended", "")
            return outcome
        outcome.line = min((code.co_firstlineno for code in code_of(implementation.raw)), default=0)
        with work_file.standing_in(module, exercise, self.exercises):
            self.try_laws(exercise, implementation, outcome)
        return outcome

    def try_laws(self, exercise: Exercise, implementation: Implementation, outcome: Outcome) -> None:
        """Up to the first that fails, unless all are asked for; see whose function it is if all hold."""
        for law in exercise.laws:
            if outcome.law and (outcome.ended or not outcome.written or not self.options.all_laws):
                return
            self.begin(outcome, law.text)
            result = self.try_law(exercise, law.text, implementation)
            outcome.calls += result.calls
            outcome.held += result.passed
            outcome.tried.append([law.text, result.passed])
            if not result.passed and not outcome.law:
                outcome.law, outcome.message = result.law, result.message
                self.begin(outcome, law.text)  # telling what it is takes time of its own
                told = failure.Failure(
                    self.course, self.path, exercise, implementation, outcome, self.options
                )
                with suppress(KeyboardInterrupt), patience(self.seconds, []):
                    told.describe(result)
            outcome.ended = "timeout" if result.out_of_time else ""
        if outcome.law:
            return
        outcome.library_calls = library_calls(exercise, implementation.raw)
        other = work_file.changed_signature(implementation.raw, exercise)
        if other:
            outcome.message = f"all laws hold, but {other}: the library passes them by name"
        outcome.passed = not outcome.library_calls and not other

    def try_law(self, exercise: Exercise, text: str, implementation: Implementation) -> Result:
        """The law's Result, also where it has none of its own."""
        ran_out: list[bool] = []
        try:
            with patience(self.seconds, ran_out):
                return exercise.try_law(text, implementation)
        except KeyboardInterrupt as error:
            too_long = f"still running after {self.seconds:g} s: a loop without end? ({MORE_TIME})"
            message = self.stopped(error, ran_out, too_long)
            case = implementation.case
            return Result(text, False, implementation.calls, message, case, error, bool(ran_out))
        except Exception as error:
            message = f"the law itself fails, which is no fault of yours: {type(error).__name__}: {error}"
            return Result(text, False, 0, message, implementation.case, error)

    def stopped(self, error: KeyboardInterrupt, ran_out: list[bool], too_long: str) -> str:
        where = work_file.place(error, self.path)
        return (too_long if ran_out else "it raises KeyboardInterrupt") + (f"\nat {where}" if where else "")

    def begin(self, outcome: Outcome, law: str) -> None:
        self.emit(begin=outcome.number, law=law, laws=outcome.laws, tried=outcome.tried)

    def emit(self, **fields: object) -> None:
        self.lines.write(json.dumps(fields) + "\n")
        self.lines.flush()

    def emit_outcome(self, outcome: Outcome) -> None:
        with suppress(Exception):  # the learner's file may have closed it, or put another in its place
            sys.stdout.flush()
        with suppress(OSError):
            os.write(1, END)
        self.emit(outcome=asdict(outcome))


@contextmanager
def patience(seconds: float, ran_out: list[bool]) -> Iterator[None]:
    """A Ctrl-C for the block, or the way into it, after so many seconds; the list has an element then."""

    def interrupt() -> None:
        ran_out.append(True)
        _thread.interrupt_main()

    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # by a shell that runs this in the background
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # Windows has no resource, and others may refuse
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    main()
