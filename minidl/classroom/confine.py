"""Limits of a process that runs a learner's code: memory, time, files, processes, rights.

The process sets its limits itself, before it runs the code. It leaves out limits that the system does not
have. A root process becomes a new user. It then can send no signal to a process of another user, and other
users' processes do not count for its limit of processes.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from minidl.classroom.fence import fence, unless_failed

MEMORY = 2 * 2**30  # bytes
FILE = 64 * 2**20  # bytes of one file
FILES = 128  # files that are open at the same time
PROCESSES = 32  # processes and threads together
SECONDS = 1800  # the limit of processor time: it ends a process if its checker has died
USERS = 2**30  # no user has an id from this number on
NOBODY = 65534
SET_DEATH_SIGNAL, SET_KEEP_RIGHTS, SET_NO_NEW_RIGHTS = 1, 8, 38  # options of prctl
READ_ANY_FILE = 1 << 2  # CAP_DAC_READ_SEARCH
RIGHTS_VERSION = 0x20080522


def confine(folder: str) -> None:
    """Set all limits for this process. It may write only to ``folder``."""
    if sys.platform == "win32":
        return
    limit_all()
    if os.getuid() == 0:
        become_another_user(folder)
    with suppress(OSError, AttributeError):  # not Linux
        control(SET_NO_NEW_RIGHTS, 1)
    fence(folder)
    die_with_parent()


def limit_all() -> None:
    wanted = {"AS": MEMORY, "FSIZE": FILE, "NOFILE": FILES, "CPU": SECONDS, "CORE": 0}
    # The limit counts all processes of a user. This user may have some already; a new user has none.
    others = 0 if os.getuid() == 0 else processes_of(os.getuid())
    if others is not None:
        wanted["NPROC"] = others + PROCESSES
    for name, value in wanted.items():
        limit(name, value)


def limit(name: str, value: int) -> None:
    """Set one of the limits of getrlimit(2), if the system has it."""
    with suppress(ImportError, AttributeError, ValueError, OSError):  # Windows has no resource
        import resource

        which = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def processes_of(user: int) -> int | None:
    """The number of processes and threads of a user; None if the system does not tell it."""
    if not Path("/proc/self/task").is_dir():
        return None
    count = 0
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if path.stat().st_uid == user:
                count += len(os.listdir(path / "task"))
    return count


def become_another_user(folder: str) -> None:
    """Change from root to another user. Keep the right to read all files if the interpreter needs it."""
    with suppress(OSError, AttributeError):
        control(SET_KEEP_RIGHTS, 1)
    for user in (USERS + os.getpid(), NOBODY):  # a container may refuse the first user id
        try:
            os.chown(folder, user, user)
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            break
        except OSError:
            continue
    else:
        raise PermissionError("this is root, and cannot become another user")
    readable = all(os.access(path, os.R_OK) for path in (os.__file__, ctypes.__file__, __file__))
    with suppress(OSError, AttributeError):
        keep_rights(0 if readable else READ_ANY_FILE)


def keep_rights(rights: int) -> None:
    """Keep only these of root's rights (capset; see capabilities(7))."""
    head = (ctypes.c_uint32 * 2)(RIGHTS_VERSION, 0)
    data = (ctypes.c_uint32 * 6)(rights, rights, 0, 0, 0, 0)
    unless_failed(ctypes.CDLL(None, use_errno=True).capset(head, data), "capset")


def control(option: int, value: int) -> None:
    """Call prctl(2), which only Linux has."""
    unless_failed(ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0), "prctl")


def die_with_parent() -> None:
    """Let the system kill this process when its parent dies. Call it last: a new user would undo this."""
    with suppress(OSError, AttributeError):
        control(SET_DEATH_SIGNAL, signal.SIGKILL)
