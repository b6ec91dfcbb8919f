"""Starts the process of answering.py, calls it, watches it, and ends it together with its children."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import minidl
from minidl.classroom import processes
from minidl.classroom.codec import Malformed, Uncodable, Values
from minidl.classroom.crossing import called_back, class_of, error_of, targets_of, told_by
from minidl.classroom.exercise import Exercise
from minidl.classroom.exercise_kinds import Answerer, Told
from minidl.classroom.frames import receive, send
from minidl.classroom.reading import FileProblem
from minidl.classroom.returned import WrongAnswer, check_kind
from minidl.engine.checks import require

ROOT = str(Path(minidl.__file__).resolve().parents[1])
START = "import sys; sys.path.insert(0, sys.argv[1]); from minidl.classroom.answering import main; main()"
GRACE = 1.0  # seconds from the interrupt to the kill
TICK = 0.05
WALL = 12  # on a busy machine, a law may take so many times its limit
KEPT = 2000  # the number of bytes that are kept of the learner's prints
MORE_TIME = "if it is only slow: check --limit 60"


class Ended(BaseException):
    """The law ends: no answer came in time, or the process is dead. The failing case is not shrunk."""

    ends_the_law = True
    traceback = ""

    def __init__(self, message: str, late: bool = False) -> None:
        super().__init__(message)
        self.ended = "timeout" if late else "crashed"  # see Outcome


class Process:
    """A process of answering.py, for one exercise of one file. It starts before it is needed."""

    running: ClassVar[set[int]] = set()

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="minidl-answer-")
        self.process = processes.Piped(
            [*(sys.executable, "-I", "-u", "-X", "utf8", "-c", START), ROOT],
            cwd=self.folder,
            env=clean_environment(self.folder),
            start_new_session=True,
        )
        Process.running.add(self.process.pid)
        self.number, self.waiting, self.late = 0, False, False
        self.limit, self.before, self.charged, self.asleep_at = float("inf"), 0.0, 0.0, -1
        self.printed, self.closed, self.killed = b"", False, False
        self.reader = threading.Thread(target=self.read_prints, daemon=True)
        self.reader.start()
        threading.Thread(target=self.watch, daemon=True).start()

    # ---- calls

    def begin(self) -> None:
        """Wait until the process has imported the library. No limit counts this time."""
        with self.nothing_else():
            self.receive(Values())

    def open(
        self, exercise: Exercise, others: list[Exercise], path: Path, source: bytes, withheld: str
    ) -> Told:
        """Let the process read the file; return what it found. Raises FileProblem or TypeError on failure."""
        asked = {
            **{"source": np.frombuffer(source, np.uint8), "path": str(path), "withheld": withheld},
            **{"name": exercise.name, "kind": exercise.kind, "written": list(exercise.written)},
            **{"returns": exercise.returns, **targets_of([exercise, *others], withheld)},
            "beside": [str(path.parent)] if path.is_absolute() else [],
        }
        self.too_long = "importing it takes more than {:g} s"
        reply = self.exchange(Values().write(asked), Values())
        with self.nothing_else():
            found = error_of(reply["problem"]) if "problem" in reply else told_by(reply["told"])
        if self.late or isinstance(found, KeyboardInterrupt):
            raise self.interrupted(found)
        if isinstance(found, FileProblem):
            found.at_import = bool(reply.get("at_import"))
        if isinstance(found, TypeError | FileProblem):
            raise found
        if isinstance(found, BaseException):
            raise Ended(f"it could not be started: {found}")
        self.too_long = "still running after {:g} s: a loop without end?"
        return found

    def exchange(self, message: tuple[bytes, bytes], values: Values) -> dict:
        """Send a message and return the reply. Meanwhile the process may call the functions of ``values``."""
        self.number += 1
        with self.nothing_else():
            self.send(message)
            while True:
                reply = self.receive(Values(generators=True))
                if "back" not in reply:
                    return reply
                self.send(called_back(values.functions, reply))

    @contextmanager
    def nothing_else(self) -> Iterator[None]:
        """The block reads a reply and checks its form. If this fails, the law ends with Ended."""
        try:
            yield
        except (EOFError, OSError):
            raise self.interrupted() if self.late else Ended(self.death()) from None
        except (Malformed, Uncodable, KeyError, TypeError, ValueError, AttributeError) as error:
            self.end()
            raise Ended(f"it wrote something to the checker that is no answer ({error})") from None

    def send(self, message: tuple[bytes, bytes]) -> None:
        self.waiting = True  # the process may read nothing
        try:
            send(self.process.stdin, self.number, message)
        finally:
            self.waiting = False

    def receive(self, values: Values) -> dict:
        self.waiting = True
        try:
            number, text, arrays = receive(self.process.stdout)
        finally:
            self.waiting = False
        require(number == self.number, "the number of another call", Malformed)
        return values.read(text, arrays)

    # ---- time

    @contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Inside the block, the process may take this many seconds. ``over`` says which time counts."""
        self.before, self.charged = processes.seconds_of(self.process.pid) or 0.0, 0.0
        self.begun, self.asleep_at, self.seconds, self.limit = time.monotonic(), -1, seconds, seconds
        try:
            yield
        finally:
            self.limit = float("inf")

    def watch(self) -> None:
        while not self.closed:
            time.sleep(TICK)
            if not self.waiting:
                continue
            number = self.number
            if processes.is_dead(self.process.pid):  # the children of a dead process may keep the pipe open
                time.sleep(TICK)
                if self.waiting and self.number == number:
                    self.end()
            elif self.limit != float("inf") and not self.late and self.over():
                self.late = True
                self.interrupt()

    def over(self) -> bool:
        """Whether the time is over. Only processor time counts, and the time that a call sleeps."""
        pid = self.process.pid
        used = processes.seconds_of(pid)
        asleep = used is not None and processes.asleep(pid) and not self.has_answered()
        if asleep and self.asleep_at == self.number:
            self.charged += TICK
        self.asleep_at = self.number if asleep else -1
        wall = time.monotonic() - self.begun
        taken = wall if used is None else used - self.before + self.charged
        return taken > self.limit or wall > WALL * self.limit

    def has_answered(self) -> bool:
        """Whether this process has not yet read an answer that has arrived, as on a busy machine."""
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def interrupt(self) -> None:
        """Send a Ctrl-C, so that a traceback shows the present line. If no answer comes, end the process."""
        number = self.number
        if sys.platform != "win32":
            with suppress(OSError):
                self.process.send_signal(signal.SIGINT)
            end = time.monotonic() + GRACE
            while time.monotonic() < end and self.waiting and self.number == number:
                time.sleep(TICK / 5)
        if self.waiting and self.number == number:
            self.end()

    def interrupted(self, error: object = None) -> Ended:
        """The reason for the stop, and the line that the process had reached, if this is known."""
        place = getattr(error, "place", "")
        why = f"{self.too_long.format(self.seconds)} ({MORE_TIME})"
        why = (why if self.late else "it raises KeyboardInterrupt") + (f"\nat {place}" if place else "")
        ended = Ended(why, self.late)
        ended.traceback = getattr(error, "traceback", "")
        self.end()
        return ended

    def death(self) -> str:
        """How the process ended, in words."""
        try:
            code = self.process.wait(GRACE)
        except subprocess.TimeoutExpired:  # the process closed the pipes but still runs
            self.end()
            return "it does not answer any more"
        if code >= 0:
            return f"it ended the whole process (exit code {code})"
        name = next((one.name for one in signal.Signals if one == -code), f"signal {-code}")
        return f"it crashed the whole process ({name})"

    # ---- the end

    def read_prints(self) -> None:
        """Read all that the process prints, and keep only the last part."""
        with suppress(OSError, ValueError):
            while part := self.process.stderr.read1(65536):
                self.printed = (self.printed + part)[-KEPT:]

    @property
    def gone(self) -> bool:
        return self.killed or self.process.poll() is not None

    def end(self) -> None:
        """End the process and all processes that it started."""
        self.killed = True
        processes.end_group(self.process)
        processes.end_strays(Process.running)

    def close(self) -> str:
        """End the process for good, and return what it printed."""
        self.closed = True
        self.end()
        self.process.wait()
        Process.running.discard(self.process.pid)
        self.reader.join(GRACE)
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return self.printed.decode(errors="replace").strip()


class ElsewhereFunction(Answerer):
    """Stands for the learner's raw function. Each call goes to the function in the other process."""

    def __init__(self, process: Process, exercise: Exercise, told: Told) -> None:
        self.process, self.exercise, self.told, self.name = process, exercise, told, told.name

    def answer(self, arguments: tuple, params: dict) -> tuple[object, tuple, tuple]:
        values = Values()
        try:
            message = values.write((arguments, params, np.geterr()))
        except Uncodable as error:
            raise Ended(f"the law itself fails, which is no fault of yours: it gives {error}") from None
        reply = self.process.exchange(message, values)
        with self.process.nothing_else():
            self.given = self.inputs(reply["same"], message)
            raised = error_of(reply["raised"]) if "raised" in reply else None
            noted = [(str(told["text"]), class_of(told["classes"], Warning)) for told in reply["warnings"]]
            wrong, answer = reply.get("wrong"), reply.get("answer")
        if self.process.late or isinstance(raised, KeyboardInterrupt):
            raise self.process.interrupted(raised)
        for text, kind in noted:
            warnings.warn(text, kind, stacklevel=5)
        if raised is not None:
            raise raised
        require(wrong is None, str(wrong), WrongAnswer)
        self.check_form(answer)
        return answer, *self.given

    def place_of(self, error: BaseException) -> str:
        return getattr(error, "place", "")  # ``error_of`` has set it

    def inputs(self, same: object, message: tuple[bytes, bytes]) -> tuple[tuple, tuple]:
        """The arguments before and after the call; both are empty if the call changed no argument."""
        if same:
            return ((), {}), ((), {})
        *before, _ = Values().read(*message)
        *after, _ = self.process.receive(Values())
        (arguments, params), (given, given_params) = before, after
        alike = len(arguments) == len(given) and params.keys() == given_params.keys()
        require(alike, "other arguments than it was given", Malformed)
        return (arguments, params), (given, given_params)

    def check_form(self, answer: Any) -> None:
        """Repeat the checks of exercise_kinds.py: over there, the learner's code could patch them."""
        require(answer is not None, f"{self.name} returned None: is a return missing?", WrongAnswer)
        if self.exercise.kind == "function":
            check_kind(answer, self.exercise.returns, self.name)
        elif self.exercise.kind == "model":
            models = len(self.exercise.written)
            fits = not models or (isinstance(answer, tuple) and len(answer) == 1 + models)
            require(fits, f"{self.name} returned no value with its models", WrongAnswer)
            check_kind(answer[0] if models else answer, self.exercise.returns, self.name)
        elif self.exercise.kind in ("op", "tensor"):
            pair = isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], tuple)
            fits = pair and not isinstance(answer[0], list | tuple | dict)
            require(fits, f"{self.name} returned no value with its gradients", WrongAnswer)


def clean_environment(folder: str) -> dict[str, str]:
    """An environment without the user's variables. HOME and other paths are ``folder``."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    places = dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "MINIDL_CACHE"), folder)
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {
        **kept,
        **places,
        **threads,
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "MINIDL_DEBUG": "1",  # no kernel is compiled
        "MPLBACKEND": "Agg",
    }
