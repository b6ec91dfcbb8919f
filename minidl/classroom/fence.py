"""``fence`` restricts the process that calls it (Linux). No code can remove the restriction later.

The process can write no file outside of one folder. It can send no signal to other processes, cannot inspect
other processes, and has no TCP. It may still read files. From Linux 6.12 on, Landlock (landlock(7)) does all
this. Older versions of Landlock do not stop signals. On these systems a filter of system calls (seccomp(2))
stops the signals.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from contextlib import suppress

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls: the numbers on all machines
WRITE_FILE, TRUNCATE = 1 << 1, 1 << 14
WRITING = sum(1 << bit for bit in (1, *range(4, 13)))  # write, make and remove all kinds of files
SINCE = {1: WRITING, 2: 1 << 13, 3: TRUNCATE, 5: 1 << 15}  # version: write; link elsewhere; truncate; ioctl
TCP, SCOPED = 0b11, 0b11  # bind and connect; sockets without a file, and signals
NET_SINCE, SCOPED_SINCE = 4, 6  # the first Landlock versions that can restrict TCP, and SCOPED
BENEATH = 1  # the kind of rule that covers all files in a folder

SECCOMP, FILTER = 22, 2  # an option of prctl and its value
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # classic BPF: load a word of the call, jump if equal, return
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # the filter's answers; REFUSE gives EPERM
CALL, MACHINE, FIRST = 0, 4, 16  # offsets in seccomp_data: call number, machine, first argument
SIGNALS = {  # kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal
    "x86_64": (0xC000003E, (62, 200, 234, 129, 297), 424),
    "aarch64": (0xC00000B7, (129, 130, 131, 138, 240), 424),
}


def fence(folder: str) -> None:
    """Restrict this process as far as the system can. The process must have set no_new_privs before."""
    if sys.platform != "linux":
        return
    version = 0
    with suppress(OSError):
        version = landlock(folder)
    if version < SCOPED_SINCE:
        with suppress(OSError):
            refuse_signals()


def landlock(folder: str) -> int:
    """Restrict this process with Landlock, and return the version of Landlock that is used."""
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
    result = library.syscall(ctypes.c_long(number), *map(as_long, arguments))
    return unless_failed(result, f"system call {number}")


def unless_failed(result: int, call: str) -> int:
    """The result of a call of the C library. Raises OSError with the reason if it is below 0."""
    if result < 0:
        raise OSError(ctypes.get_errno(), call)
    return result


def as_long(argument: object) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def refuse_signals() -> None:
    """Refuse (EPERM) every signal of this process to a process other than itself or its group."""
    if platform.machine() not in SIGNALS:
        return
    machine, sending, by_file = SIGNALS[platform.machine()]
    first = 5 + len(sending)  # the line of the filter that reads the argument
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
    unless_failed(ctypes.CDLL(None, use_errno=True).prctl(SECCOMP, FILTER, filters, 0, 0), "seccomp")
