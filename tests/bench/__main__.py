"""How long minidl takes beside PyTorch:  python -m tests.bench [seconds per measurement, by default 1]

Each library runs in a process of its own, with its default threads, and the two take turns case by case, so
that whatever else the machine does falls on both.  Medians; a ratio below 1 means that minidl is faster.
"""

import importlib.util
import statistics
import subprocess
import sys

from tests.bench.side import CASES

ROUNDS = 3


class Side:
    """One library in its own process, which times a case each time it is asked."""

    def __init__(self, library):
        command = [sys.executable, "-m", "tests.bench.side", library]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.threads = self.process.stdout.readline().strip()

    def median(self, case, seconds):
        print(case, seconds, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("a measuring process ended; its error is above")
        return float(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    libraries = ["minidl", "torch"]
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed (pip install torch): only minidl is measured, there is no ratio.")
        libraries.remove("torch")
    sides = [Side(library) for library in libraries]
    print("threads: " + ", ".join(f"{name} {side.threads}" for name, side in zip(libraries, sides, strict=True)))
    print(f"{'milliseconds (medians)':44}" + "".join(f"{name:>10}" for name in libraries) + f"{'ratio':>8}")
    for case, name in enumerate(CASES):
        rounds = [[side.median(case, seconds / ROUNDS) for side in sides] for _ in range(ROUNDS)]
        medians = [statistics.median(times) for times in zip(*rounds, strict=True)]
        ratio = f"{medians[0] / medians[1]:8.2f}" if len(medians) == 2 else ""
        print(f"{name:44}" + "".join(f"{1000 * median:10.3f}" for median in medians) + ratio, flush=True)
    for side in sides:
        side.close()


if __name__ == "__main__":
    main()
