"""A fence that a process puts up around itself (Linux): no file is written outside of one folder, no other
process is signalled or looked into, and there is no TCP. Nothing undoes it. Reading stays free.

Landlock (landlock(7)) does all that; before Linux 6.12 it lets signals through, and a filter of system calls
(seccomp(2)) stands in.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from contextlib import suppress

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same for all machines
WRITE_FILE, TRUNCATE = 1 << 1, 1 << 14
WRITING = sum(1 << bit for bit in (1, *range(4, 13)))  # to write, to make and to remove files of all kinds
SINCE = {1: WRITING, 2: 1 << 13, 3: TRUNCATE, 5: 1 << 15}  # version: to link elsewhere; devices' ioctl
TCP, SCOPED = 0b11, 0b11  # bind and connect; sockets without a file, and signals
NET_SINCE, SCOPED_SINCE = 4, 6  # versions
BENEATH = 1  # the kind of rule: what is beneath a folder

SECCOMP, FILTER = 22, 2  # of prctl
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # of classic BPF: a word of the call, a jump, the end
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # EPERM
CALL, MACHINE, FIRST = 0, 4, 16  # where in seccomp_data the number, the machine and the first argument stand
SIGNALS = {  # kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal
    "x86_64": (0xC000003E, (62, 200, 234, 129, 297), 424),
    "aarch64": (0xC00000B7, (129, 130, 131, 138, 240), 424),
}


def fence(folder: str) -> None:
    """Up it goes, as far as the system has it; the process must have given up new rights before."""
    if sys.platform != "linux":
        return
    version = 0
    with suppress(OSError):
        version = landlock(folder)
    if version < SCOPED_SINCE:
        with suppress(OSError):
            refuse_signals()


def landlock(folder: str) -> int:
    """The version of Landlock that is in force now."""
    version = system_call(CREATE_RULESET, None, 0, 1)
    files = sum(access for since, access in SINCE.items() if since <= version)
    attributes = struct.pack("QQQ", files, TCP, SCOPED)
    size = 24 if version >= SCOPED_SINCE else 16 if version >= NET_SINCE else 8
    rules = system_call(CREATE_RULESET, attributes, size, 0)
    for path, access in ((folder, files), (os.devnull, files & (WRITE_FILE | TRUNCATE))):
        place = os.open(path, os.O_PATH)
        system_call(ADD_RULE, rules, BENEATH, struct.pack("=Qi", access, place), 0)
        os.close(place)
    system_call(RESTRICT_SELF, rules, 0)
    os.close(rules)
    return version


def system_call(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    found = library.syscall(ctypes.c_long(number), *map(as_long, arguments))
    if found < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return found


def as_long(argument: object) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def refuse_signals() -> None:
    """EPERM for each signal that is not for this very process, or its group."""
    if platform.machine() not in SIGNALS:
        return
    machine, sending, by_file = SIGNALS[platform.machine()]
    first = 5 + len(sending)  # where the argument is looked at
    refuse, allow = first + 3, first + 4
    program = [
        (LOAD, MACHINE, 0, 0),
        (EQUAL, machine, 2, refuse),
        (LOAD, CALL, 0, 0),
        *((EQUAL, number, first, 3 + i + 1) for i, number in enumerate(sending)),
        (EQUAL, by_file, refuse, first - 1),
        (RETURN, ALLOW, 0, 0),
        (LOAD, FIRST, 0, 0),
        (EQUAL, os.getpid(), allow, first + 2),
        (EQUAL, 0, allow, refuse),
        (RETURN, REFUSE, 0, 0),
        (RETURN, ALLOW, 0, 0),
    ]
    words = b""
    for place, (code, value, yes, no) in enumerate(program):
        jumps = (yes - place - 1, no - place - 1) if code == EQUAL else (0, 0)
        words += struct.pack("HBBI", code, *jumps, value)
    text = ctypes.create_string_buffer(words)
    filters = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(text)))
    if ctypes.CDLL(None, use_errno=True).prctl(SECCOMP, FILTER, filters, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")
