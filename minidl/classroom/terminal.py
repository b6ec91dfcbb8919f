"""Single keys, read without Enter while other things go on; the terminal is put back whatever happens."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from minidl.classroom.course import Course
from minidl.classroom.running import environment

QUIT = "q"
ESCAPES = r"\x1b(\[[\d;]*.?|O.)?"  # what arrows and the like send


class Keys:
    """``with Keys() as keys:`` and keys.wait(0.1) gives what is pressed within that time, "" for nothing.

    Where the input is no terminal there are no keys, and ``there`` is False. Ctrl-C stays KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.there = sys.stdin is not None and sys.stdin.isatty()
        self.before: list | None = None

    def __enter__(self) -> Keys:
        self.take()
        return self

    def __exit__(self, *error: object) -> None:
        self.give_back()

    def take(self) -> None:
        """Have keys come one by one, and not shown. Windows needs nothing of the kind."""
        if self.there and sys.platform != "win32":
            import termios
            import tty

            self.before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin, termios.TCSANOW)  # what was pressed already is not lost

    def give_back(self) -> None:
        if self.before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSANOW, self.before)
            self.before = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """The terminal as it was, for a program that is run in the block."""
        self.give_back()
        try:
            yield
        finally:
            self.take()

    def wait(self, seconds: float) -> str:
        """The keys pressed, in lower case; arrows and the like are none. A closed terminal says QUIT."""
        if not self.there:
            time.sleep(seconds)
            return ""
        if sys.platform == "win32":
            return wait_on_windows(seconds)
        if not select.select([sys.stdin], [], [], seconds)[0]:
            return ""
        try:
            pressed = os.read(sys.stdin.fileno(), 64).decode(errors="replace")
        except OSError:  # how Linux says that the other end is closed
            return QUIT
        if pressed in ("", "\4"):  # Ctrl-D
            return QUIT
        return re.sub(ESCAPES, "", pressed).lower()


def wait_on_windows(seconds: float) -> str:
    import msvcrt

    end = time.monotonic() + seconds
    while not msvcrt.kbhit():
        if time.monotonic() >= end:
            return ""
        time.sleep(0.02)
    key = msvcrt.getwch()
    if key in ("\0", "\xe0"):  # the first half of an arrow
        msvcrt.getwch()
        return ""
    if key == "\3":
        raise KeyboardInterrupt
    return key.lower()


def step_into(course: Course, replay: str) -> int:
    """Run a replay in pdb, which has the terminal to itself, its Ctrl-C too. Returns the exit code."""
    print(f"\n{replay} in pdb: s steps into the call, n goes on a line, p NAME prints, q quits", flush=True)
    before = signal.signal(signal.SIGINT, lambda *_: None)  # SIG_IGN would be inherited
    try:
        env = {**environment(course.root), "MINIDL_DEBUG": "1"}
        return subprocess.run([sys.executable, replay], cwd=course.root, env=env).returncode
    finally:
        signal.signal(signal.SIGINT, before)
