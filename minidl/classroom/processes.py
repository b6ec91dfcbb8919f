"""Other processes (on Linux): the time that they took, and functions that end a process's descendants."""

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

SUBREAPER = 36  # an option of prctl: if a parent dies, this process becomes the parent of its children
LONG_ENOUGH = 3.0  # the time limit for ending all processes that a process started
adopting = False


def adopt() -> None:
    """Make this process the parent of each process that its children leave behind, for ``end_strays``."""
    global adopting
    with suppress(OSError, AttributeError):
        confine.control(SUBREAPER, 1)
        adopting = True


class Piped(subprocess.Popen[bytes]):
    """A process with pipes for its standard input, output and errors."""

    stdin: BufferedWriter
    stdout: BufferedReader
    stderr: BufferedReader

    def __init__(self, command: list[str], **options: Any) -> None:
        pipe = subprocess.PIPE
        super().__init__(command, stdin=pipe, stdout=pipe, stderr=pipe, **options)


def end_group(process: subprocess.Popen) -> None:
    """Kill a process that leads a session, and every process that is still in its group."""
    if process.returncode is None and hasattr(os, "killpg"):  # else its number may be another's
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        end = time.monotonic() + LONG_ENOUGH
        while adopting and not is_dead(process.pid) and time.monotonic() < end:
            time.sleep(0.001)  # after that, the children belong to this process
    else:
        process.kill()


def end_strays(keep: set[int]) -> None:
    """Kill all descendants of this process, except those in ``keep``, until there are none."""
    end = time.monotonic() + LONG_ENOUGH
    while adopting and time.monotonic() < end:
        found = descendants(os.getpid(), keep)
        if not found:
            return
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:
            with suppress(OSError):  # the process is no child of this process, or not dead yet
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
    """The fields of /proc/PID/stat after the name, beginning with the state; [] if there is no such file."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return []


def seconds_of(pid: int) -> float | None:
    """The processor time of a process in seconds; None if the system does not tell it."""
    fields = stat_of(pid)
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") if fields else None


def is_dead(pid: int) -> bool:
    """True if the process is certainly dead and its entry is still in /proc."""
    return stat_of(pid)[:1] == ["Z"]


def asleep(pid: int) -> bool:
    """Whether the process waits for something other than the processor."""
    fields = stat_of(pid)
    return not fields or fields[0] not in "R"
