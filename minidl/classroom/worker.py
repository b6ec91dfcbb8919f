"""The worker process: it tries the laws and writes each result as a line of JSON.

The first line of its input says what to check (``Worker`` in check.py). This process has the laws and the
expected values, and decides whether a law holds. The learner's code runs in other processes, one for each
exercise (answering.py). They only answer calls. If the parent (check.py) ends, standard input ends. Then this
process ends the other processes and itself.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from minidl.classroom import confine, failure, processes, work_file
from minidl.classroom.check import PREFIX, USUAL, Options, Outcome
from minidl.classroom.course import Course
from minidl.classroom.elsewhere import ElsewhereFunction, Ended, Process
from minidl.classroom.exercise import Exercise, Result, Unshrunk
from minidl.classroom.exercise_kinds import LibraryCall
from minidl.classroom.files import digest
from minidl.classroom.flags import flags_of
from minidl.classroom.further import further_laws
from minidl.classroom.implementation import Implementation
from minidl.classroom.reading import FileProblem, changed_signature


def main() -> None:
    asked = json.loads(sys.stdin.buffer.readline())
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # so the prints of a law go to standard error, and ``lines`` gets only results
    processes.adopt()
    confine.limit("AS", 2 * confine.MEMORY)  # twice the limit, because this process keeps large answers
    answers = Answers()
    threading.Thread(target=end_with_parent, args=[answers], daemon=True).start()
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda *_: end_all(answers))
    course = Course(**{**asked["course"], "folder": Path(asked["course"]["folder"])})
    options = Options(**asked["options"])
    try:
        FileCheck(course, asked["lesson"], asked["seconds"], lines, answers, options).run(asked["numbers"])
    except BaseException:
        with suppress(OSError):  # the parent reads no more
            traceback.print_exc()
        end_all(answers)
    end_all(answers, 0)


def end_with_parent(answers: Answers) -> None:
    while os.read(0, 100):
        pass
    end_all(answers)


def end_all(answers: Answers, code: int = 1) -> None:
    answers.close()
    folder = Path(tempfile.gettempdir())
    if folder.name.startswith(PREFIX):  # check.py may have ended without deleting its folder
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(code)


class Answers:
    """Starts a process for each exercise. While an exercise is checked, the next one's process starts."""

    def __init__(self) -> None:
        self.ready = [Process()]
        self.used: list[Process] = []

    @contextmanager
    def of(self, check: FileCheck, exercise: Exercise) -> Iterator[tuple[Implementation, Process]]:
        """The learner's function and its process. Raises Ended, FileProblem or TypeError."""
        self.used = [process := self.ready.pop()]
        if check.left > 0:
            self.ready = [Process()]
        try:
            process.begin()
            with process.patience(check.seconds):
                others = [other for other in check.exercises if other is not exercise]
                package = check.course.package.split(".")[0]
                told = process.open(exercise, others, check.shown, check.source, package)
            yield exercise.adapt(ElsewhereFunction(process, exercise, told)), process
        finally:
            check.printed = process.close()

    def close(self) -> None:
        for process in [*self.used, *self.ready]:
            process.close()


class FileCheck:
    """The check of one lesson's file. It writes the results to ``lines``."""

    def __init__(
        self,
        course: Course,
        lesson: str,
        seconds: float,
        lines: TextIO,
        answers: Answers,
        options: Options = USUAL,
    ) -> None:
        self.course, self.seconds, self.lines, self.answers = course, seconds, lines, answers
        self.path, self.options = Path(options.file or course.work_file(lesson)), options
        self.exercises = course.exercises(lesson)
        further_laws(course, self.exercises, options)
        self.digest = digest(self.path)  # before the file is read, so that a later save has another digest
        self.shown = Path(self.path.name) if options.file else self.path  # its folder is private
        self.source, self.printed = b"", ""
        self.left = 0  # how many exercises come after this one

    def run(self, numbers: list[str]) -> None:
        """Check these exercises, or all exercises."""
        self.emit(exercises=[(exercise.number, exercise.name) for exercise in self.exercises])
        self.emit(begin="", law="")
        try:
            self.source = self.path.read_bytes()
        except OSError as error:
            message = f"it cannot be read: {error.strerror}"
            self.emit_outcome(Outcome("", self.path.name, message=message, ended="crashed"))
            return
        flags = flags_of(self.source.decode("utf-8", "replace"), self.exercises)
        chosen = [exercise for exercise in self.exercises if exercise.number in numbers or not numbers]
        for place, exercise in enumerate(chosen, 1):
            self.left = len(chosen) - place
            self.emit(begin=exercise.number, law="")
            outcome = self.outcome_of(exercise)
            outcome.printed, outcome.flags = self.printed, flags
            self.emit_outcome(outcome)
            if not outcome.number:
                return

    def outcome_of(self, exercise: Exercise) -> Outcome:
        outcome = Outcome(exercise.number, exercise.name, file=self.digest, laws=len(exercise.laws))
        text = self.source.decode("utf-8", "replace")
        outcome.note = work_file.stale(text, exercise, self.exercises)
        entered = False
        try:
            with self.answers.of(self, exercise) as (implementation, process):
                entered, outcome.line = True, implementation.told.line
                self.try_laws(exercise, implementation, process, outcome)
        except (FileProblem, TypeError, Ended) as error:
            if entered:
                raise
            outcome.message, outcome.traceback = str(error), failure.long_text(error)
            outcome.ended = getattr(error, "ended", "")
            if getattr(error, "at_import", isinstance(error, Ended)):
                outcome.ended = outcome.ended or "crashed"
                outcome.number, outcome.name, outcome.note = "", self.path.name, ""
        return outcome

    def try_laws(
        self, exercise: Exercise, implementation: Implementation, process: Process, outcome: Outcome
    ) -> None:
        """Try the laws until one fails. With ``all_laws``, try all laws until an answer does not come."""
        for law in exercise.laws:
            self.begin(outcome, law.text)
            result = self.try_law(exercise, law.text, implementation, process)
            outcome.calls += result.calls
            outcome.held += result.passed
            outcome.tried.append([law.text, result.passed])
            if not result.passed and not outcome.law:
                outcome.law, outcome.message = result.law, result.message
                outcome.library_calls = int(isinstance(result.error, LibraryCall))
                self.begin(outcome, law.text)  # explaining the failure gets its own time limit
                told = failure.Failure(
                    self.course, self.path, exercise, implementation, outcome, self.options
                )
                with suppress(Ended), process.patience(self.seconds):
                    told.describe(result)
            if not result.passed:
                implementation.shrinks = False  # later failures are not explained
                outcome.ended = result.error.ended if isinstance(result.error, Ended) else ""
                goes_on = self.options.all_laws and outcome.written and not outcome.library_calls
                if outcome.ended or process.gone or not goes_on:
                    return
        if outcome.law:
            return
        other = changed_signature(implementation.told.parameters, exercise)
        if other:
            outcome.message = f"all laws hold, but {other}: the library passes them by name"
        outcome.passed = not other

    def try_law(
        self, exercise: Exercise, text: str, implementation: Implementation, process: Process
    ) -> Result:
        """Try a law. If the law itself raises an error, the Result holds this error."""
        try:
            with process.patience(self.seconds):
                return exercise.try_law(text, implementation)
        except Unshrunk:
            return Result(text, False, implementation.calls)
        except Ended as error:
            return Result(text, False, implementation.calls, str(error), implementation.case, error)
        except Exception as error:
            message = f"the law itself fails, which is no fault of yours: {type(error).__name__}: {error}"
            return Result(text, False, 0, message, implementation.case, error)

    def begin(self, outcome: Outcome, law: str) -> None:
        self.emit(begin=outcome.number, law=law, laws=outcome.laws, tried=outcome.tried)

    def emit(self, **fields: object) -> None:
        self.lines.write(json.dumps(fields) + "\n")
        self.lines.flush()

    def emit_outcome(self, outcome: Outcome) -> None:
        self.emit(outcome=asdict(outcome))


if __name__ == "__main__":
    main()
