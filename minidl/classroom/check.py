"""Checks a learner's file. One process tries the laws; other processes run the file and only answer calls."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from minidl.classroom.course import Course
from minidl.classroom.processes import Piped
from minidl.classroom.running import environment

SECONDS = 5.0  # the time limit of a law; laws usually take a hundredth of this time
STARTING = 60.0  # the time limit for the worker's import of the library, on a slow machine
SLOWEST = 15.0  # the worker counts as stuck after this many times the limit of a law
GRACE = 5.0  # seconds that the worker gets to end the processes that it started
PREFIX = "minidl-check-"  # the first part of the name of a folder of temporary files
TICK = 0.1  # a wait takes so many seconds: Windows notices Ctrl-C only between two waits
KEPT = 20_000  # the number of bytes that are kept of the worker's prints (its own failures)


@dataclass
class Outcome:
    """The result of checking one exercise. If ``number`` is "", the message says why nothing was checked."""

    number: str
    name: str  # the name of the function or of the file
    passed: bool = False  # every law holds, and the library's function was not called
    written: bool = True  # the function is no longer the stub
    file: str = ""  # the digest of the file that was checked
    line: int = 0  # the line of the file where the function begins
    laws: int = 0
    held: int = 0
    calls: int = 0
    law: str = ""  # the law that failed
    message: str = ""
    case: list[list[str]] = field(default_factory=list)  # [name, value] pairs of the shrunk case
    call: str = ""  # the law's last call
    answer: str = ""  # the answer to that call
    looks_like: list[str] = field(default_factory=list)
    picture: str = ""
    replay: str = ""
    library_calls: int = 0  # how often the learner called the library's function
    note: str = ""
    printed: str = ""  # the last part of what the learner's file printed
    traceback: str = ""
    ended: str = ""  # why no more laws were tried: "timeout", "crashed", "missing" or "library"
    tried: list[list] = field(default_factory=list)  # [law, True or False] for each law that was tried
    flags: list[str] = field(default_factory=list)  # what a teacher might look at in the file, see flags.py
    seconds: float = 0.0  # the time that the exercise took

    @property
    def status(self) -> str:
        """The result in one word: passed, missing, library, timeout, crashed or failed."""
        if self.passed:
            return "passed"
        if not self.written:
            return "missing"
        return self.ended or ("library" if self.library_calls else "failed")


@dataclass(frozen=True)
class Options:
    """The options of a check. The defaults give the usual check of a file in work/."""

    file: str = ""  # check this file instead; no replay is written for it
    seed: int | None = None  # draw the cases from this seed
    laws: str = ""  # a Python file that adds laws to exercises
    all_laws: bool = False  # also try the laws after the first failing law
    pictures: str = ""  # the first part of the names of pictures in out/check/


USUAL = Options()


class CheckError(Exception):
    """The checker itself failed. The message contains the text that the checker printed."""


def check_exercise(course: Course, number: str, seconds: float = SECONDS) -> Outcome:
    """Check one exercise "NN.k" of the learner's file. Raises ValueError if no exercise has this number."""
    (outcome,) = check_lesson(course, number[:2], [number], seconds)
    return outcome


def check_lesson(
    course: Course,
    lesson: str,
    numbers: list[str] | None = None,
    seconds: float = SECONDS,
    options: Options = USUAL,
) -> Iterator[Outcome]:
    """Yield an Outcome for each exercise of the learner's file, as soon as it is known.

    numbers: check only these exercises.
    A file that cannot be imported gives a single Outcome without a number. Each call reads the file again.
    Closing the iterator ends the check, whatever the learner's file is doing.
    Raises ValueError for an unknown lesson or number, FileNotFoundError if ``start`` has not been called.
    """
    if not options.file:
        course.started_file(lesson)
    done: set[str] = set()
    todo = numbers
    while todo is None or todo:
        with Worker(course, lesson, todo or [], seconds, options) as worker:
            names = worker.exercises()
            todo = list(names) if todo is None else todo
            unknown = sorted(set(todo) - names.keys())
            if unknown:
                course.exercise(unknown[0])  # raises ValueError with the known numbers
            for outcome in worker.outcomes(names):
                yield outcome
                if not outcome.number:
                    return
                done.add(outcome.number)
        todo = [number for number in todo if number not in done]  # not done if the worker died


class Worker:
    """The process of worker.py, and threads that read its lines and its prints."""

    def __init__(
        self, course: Course, lesson: str, numbers: list[str], seconds: float, options: Options = USUAL
    ) -> None:
        self.seconds, self.path = seconds, Path(options.file or course.work_file(lesson))
        self.folder = tempfile.mkdtemp(prefix=PREFIX)
        os.chmod(self.folder, 0o711)  # for root: answering processes are other users
        self.process = Piped(  # if this process ends, the worker's input ends, and the worker ends, too
            [sys.executable, "-u", "-m", "minidl.classroom.worker"],
            cwd=course.root,
            env=worker_environment(course, self.folder),
        )
        self.lines: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
        self.prints = b""
        where = {"folder": str(course.folder.resolve()), "package": course.package, "command": course.command}
        request = {"course": where, "lesson": lesson, "numbers": numbers, "seconds": seconds}
        with suppress(BrokenPipeError):  # other users could see arguments of the command
            self.process.stdin.write(json.dumps({**request, "options": asdict(options)}).encode() + b"\n")
            self.process.stdin.flush()
        threading.Thread(target=self.read_lines, args=[self.process.stdout], daemon=True).start()
        self.reader = threading.Thread(target=self.read_prints, args=[self.process.stderr], daemon=True)
        self.reader.start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def read_lines(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def read_prints(self, pipe: BufferedReader) -> None:
        while part := pipe.read1(65536):
            self.prints = (self.prints + part)[-KEPT:]

    def printed(self) -> str:
        """The last part of what the worker printed."""
        self.reader.join(GRACE)
        return self.prints.decode(errors="replace").strip()

    def exercises(self) -> dict[str, str]:
        """Maps the number of each of the lesson's exercises to its name."""
        first = self.next_line(STARTING)
        if not isinstance(first, dict):
            self.__exit__()
            raise CheckError(f"the checker did not start:\n{self.printed()}")
        return dict(first["exercises"])

    def next_line(self, seconds: float) -> dict | str | None:
        """The next line. None means that there are no more lines. "late" means that no line came in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(queue.Empty):
                return self.lines.get(timeout=TICK)
        return "late"

    def outcomes(self, names: dict[str, str]) -> Iterator[Outcome]:
        """Yield the worker's Outcomes. If the worker stops early, the last Outcome says why."""
        at: dict[str, Any] = {"begin": "", "law": ""}
        begun = time.monotonic()
        while isinstance(line := self.next_line(self.seconds * SLOWEST + GRACE), dict):
            if "begin" in line:
                at = line
                continue
            at = {"begin": None}
            now = time.monotonic()
            took, begun = now - begun, now
            yield Outcome(**{**line["outcome"], "seconds": round(took, 2)})
        if at["begin"] is not None:
            message = self.death() if line is None else "the checker does not answer any more"
            self.__exit__()
            name = names.get(at["begin"], self.path.name)
            outcome = Outcome(at["begin"], name, law=at["law"], message=message, traceback=self.printed())
            outcome.laws, outcome.tried = at.get("laws", 0), at.get("tried", [])
            outcome.held = sum(held for _, held in outcome.tried)
            outcome.ended = "crashed" if line is None else "timeout"
            outcome.seconds = round(time.monotonic() - begun, 2)
            yield outcome

    def death(self) -> str:
        """How the worker ended, in words."""
        code = self.process.wait()
        name = next((one.name for one in signal.Signals if one == -code), f"exit code {code}")
        return f"the checker itself was ended ({name})"


def worker_environment(course: Course, folder: str) -> dict[str, str]:
    """The user's environment without settings that switch off asserts. Temporary files go to ``folder``."""
    env = {**environment(course.root), "MINIDL_DEBUG": "1", "MPLBACKEND": "Agg"}  # no compiling
    env.pop("PYTHONOPTIMIZE", None)
    places = dict.fromkeys(("HYPOTHESIS_STORAGE_DIRECTORY", "TMPDIR", "TEMP", "TMP"), folder)
    return {**env, **places}
