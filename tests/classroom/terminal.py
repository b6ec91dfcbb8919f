"""A program in a pseudo-terminal: wait for what it shows."""

import os
import select
import subprocess
import time

DEADLINE = 300.0  # seconds, on a busy machine


class Terminal:
    """``with Terminal(command) as terminal:`` terminal.until("text") waits for it behind what was seen."""

    def __init__(self, command, **environment):
        import pty
        import termios

        self.ours, theirs = pty.openpty()
        self.theirs = theirs
        self.before = termios.tcgetattr(theirs)
        env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env={**env, "TERM": "xterm", **environment}
        )
        self.shown, self.place = "", 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        os.close(self.theirs)
        os.close(self.ours)

    def until(self, text):
        """What is shown up to and including the text."""
        end = time.monotonic() + DEADLINE
        while text not in self.shown[self.place :]:
            assert time.monotonic() < end, f"{text!r} does not come:\n{self.shown[self.place :]}"
            self.read(0.1)
        start, self.place = self.place, self.shown.index(text, self.place) + len(text)
        return self.shown[start : self.place]

    def read(self, seconds):
        if select.select([self.ours], [], [], seconds)[0]:
            self.shown += os.read(self.ours, 65536).decode(errors="replace").replace("\r\n", "\n")

    def end(self):
        """The exit code, once it has ended by itself."""
        end = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end:\n{self.shown[self.place :]}"
            self.read(0.1)
        self.read(0)
        return self.process.returncode

    def settings(self):
        import termios

        return termios.tcgetattr(self.theirs)
