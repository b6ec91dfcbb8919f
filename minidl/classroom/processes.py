"""Processes seen from outside: the time they took, and an end for all that one started (on Linux)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any

from minidl.classroom import confine

SUBREAPER = 36  # of prctl: who is left without a parent becomes a child of this process
LONG_ENOUGH = 3.0  # seconds to end all that a process started
adopting = False


def adopt() -> None:
    """Make this process the parent of whatever its children leave behind, so that ``end_strays`` finds it."""
    global adopting
    with suppress(OSError, AttributeError):
        confine.control(SUBREAPER, 1)
        adopting = True


class Piped(subprocess.Popen[bytes]):
    """A process with pipes to its standard input and from its output and errors."""

    stdin: BufferedWriter
    stdout: BufferedReader
    stderr: BufferedReader

    def __init__(self, command: list[str], **options: Any) -> None:
        pipe = subprocess.PIPE
        super().__init__(command, stdin=pipe, stdout=pipe, stderr=pipe, **options)


def end_group(process: subprocess.Popen) -> None:
    """Kill a process that leads a session, and all that stayed in its group."""
    if process.returncode is None and hasattr(os, "killpg"):  # not waited for, so the number is still its own
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        end = time.monotonic() + LONG_ENOUGH
        while adopting and not is_dead(process.pid) and time.monotonic() < end:
            time.sleep(0.001)  # then its children are this process's
    else:
        process.kill()


def end_strays(keep: set[int]) -> None:
    """Kill all descendants of this process, until there are none, but for those in ``keep``."""
    end = time.monotonic() + LONG_ENOUGH
    while adopting and time.monotonic() < end:
        found = descendants(os.getpid(), keep)
        if not found:
            return
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:
            with suppress(OSError):  # not a child of this process, or not dead yet
                os.waitpid(pid, os.WNOHANG)


def descendants(parent: int, keep: set[int]) -> list[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        if fields := stat_of(int(path.name)):
            children.setdefault(int(fields[1]), []).append(int(path.name))
    found, todo = [], [parent]
    while todo:
        new = [pid for pid in children.get(todo.pop(), []) if pid not in keep]
        found += new
        todo += new
    return found


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name, from the state on; none where there are none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return []


def seconds_of(pid: int) -> float | None:
    """Of the processor, that a process has taken; None where the system does not say."""
    fields = stat_of(pid)
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") if fields else None


def is_dead(pid: int) -> bool:
    """Whether it is known to be: dead and not waited for yet."""
    return stat_of(pid)[:1] == ["Z"]


def asleep(pid: int) -> bool:
    """Whether it waits for something else than the processor."""
    fields = stat_of(pid)
    return not fields or fields[0] not in "R"
