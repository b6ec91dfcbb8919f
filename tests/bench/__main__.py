"""What minidl takes beside PyTorch:  python -m tests.bench [seconds for each measurement, 1 by default]

Each library runs in a process of its own with its default threads, and the two take turns, so that whatever
else the machine does falls on both. Medians of the time of a call, and the peak memory of a training step in
a fresh process; a ratio below 1 means that minidl takes less.
"""

import importlib.util
import statistics
import subprocess
import sys

from tests.bench.side import CASES, CONVOLUTIONS

ROUNDS = 3


class Side:
    """One library in a process of its own, which measures what it is asked for."""

    def __init__(self, library):
        command = [sys.executable, "-m", "tests.bench.side", library]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.threads = self.process.stdout.readline().strip()

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("a measuring process ended; its error is above")
        return float(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def show(name, values, digits):
    ratio = f"{values[0] / values[1]:8.2f}" if len(values) == 2 else ""
    print(f"{name:44}" + "".join(f"{value:10.{digits}f}" for value in values) + ratio, flush=True)


def times(libraries, names, seconds, kind):
    sides = [Side(library) for library in libraries]
    print(
        "threads: " + ", ".join(f"{name} {side.threads}" for name, side in zip(libraries, sides, strict=True))
    )
    print(
        f"{'milliseconds, median':44}"
        + "".join(f"{name:>10}" for name in libraries)
        + f"{'ratio':>8}" * (len(libraries) - 1)
    )
    for case, name in enumerate(names):
        rounds = [[side.ask("time", kind, case, seconds / ROUNDS) for side in sides] for _ in range(ROUNDS)]
        show(name, [1000 * statistics.median(column) for column in zip(*rounds, strict=True)], 3)
    for side in sides:
        side.close()


def memory(libraries, names, cases, kind):
    print("\nmegabytes, peak")
    for case in cases:
        peaks = []
        for library in libraries:
            side = Side(library)
            peaks.append(side.ask("memory", kind, case))
            side.close()
        show(names[case], peaks, 1)


def compare(names, seconds, kind, memory_of=None):
    """Print the table of times, and below it that of memory for all cases or for ``memory_of``."""
    libraries = ["minidl", "torch"]
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed (pip install torch): minidl alone is measured, there are no ratios.")
        libraries.remove("torch")
    times(libraries, names, seconds, kind)
    if sys.platform == "linux":
        memory(libraries, names, memory_of or range(len(names)), kind)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    compare(CASES, seconds, "layer", range(len(CONVOLUTIONS), len(CASES)))


if __name__ == "__main__":
    main()
