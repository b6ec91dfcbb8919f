"""Workers that are forks of one process: they have the worker's imports at once, and not 0.3 s later.

Each check still has a worker of its own. ``Forked`` stands for ``Piped`` in check.py.
"""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile

from learner import REAL

START = "import sys; sys.path.insert(0, sys.argv[1]); from forked import serve; serve(int(sys.argv[2]))"


class Forked:
    """A fork of the process of ``serve``, with pipes for its standard input, output and errors."""

    returncode = None

    def __init__(self, command: list[str], cwd: str, env: dict[str, str]) -> None:
        assert command[-2:] == ["-m", "minidl.classroom.worker"]
        (input_end, stdin), (stdout, output_end), (stderr, errors_end) = os.pipe(), os.pipe(), os.pipe()
        self.told, tells = socket.socketpair()
        given = [input_end, output_end, errors_end, tells.detach()]
        socket.send_fds(server(), [json.dumps([str(cwd), env]).encode()], given)
        for end in given:
            os.close(end)
        self.stdin, self.stdout = os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb")
        self.stderr = os.fdopen(stderr, "rb")
        self.pid = json.loads(self.told.recv(100))

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.told.settimeout(timeout)
            try:
                self.returncode = json.loads(self.told.recv(100))
            except TimeoutError:
                raise subprocess.TimeoutExpired("worker", timeout) from None
            self.told.close()
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


@functools.cache
def server() -> socket.socket:
    """The socket of a process that runs ``serve`` until this process ends."""
    mine, theirs = socket.socketpair()
    env = {**os.environ, "PYTHONPATH": str(REAL.root), "MINIDL_DEBUG": "1"}
    command = [sys.executable, "-c", START, os.path.dirname(__file__), str(theirs.fileno())]
    subprocess.Popen(command, env=env, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()
    return mine


def serve(place: int) -> None:
    import minidl.classroom.worker  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process of this one stays as a zombie
    asks = socket.socket(fileno=place)
    while True:
        text, ends, _, _ = socket.recv_fds(asks, 100_000, 4)
        if not text:
            return
        if os.fork() == 0:
            asks.close()
            watch(*json.loads(text), ends)
        for end in ends:
            os.close(end)


def watch(cwd: str, env: dict[str, str], ends: list[int]) -> None:
    """Start the worker, tell its number, and at its end how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        work(cwd, env, ends)
    for end in ends[:3]:
        os.close(end)
    tells = socket.socket(fileno=ends[3])
    tells.send(json.dumps(pid).encode())
    tells.send(json.dumps(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os._exit(0)


def work(cwd: str, env: dict[str, str], ends: list[int]) -> None:
    for number, end in enumerate(ends):
        if number < 3:
            os.dup2(end, number)
        os.close(end)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # it is found anew in this environment

    from minidl.classroom import worker

    worker.main()
