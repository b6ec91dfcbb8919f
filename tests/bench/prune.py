"""What removing filters saves in time:  python -m tests.bench.prune [seconds a measurement, 1 by default]

small_cnn with its default widths on a batch of digits, whole and without half the filters of every hidden
layer; the two take turns. Medians of the time of a forward pass without a graph and of a training step, in
milliseconds, and how many times as fast the smaller network is. Zeros that stay where they are are measured
too: they save nothing.
"""

import statistics
import sys
import time

import numpy as np

from minidl import no_grad
from minidl.compress.masks import apply_masks
from minidl.compress.removal import remove_masked_filters
from minidl.compress.scores import filter_masks
from minidl.nn import functional as F
from minidl.nn.models import small_cnn
from minidl.train.optim import SGD

ROUNDS, TARGET = 5, 1.8


def forward(model, images, labels):
    model.eval()

    def run():
        with no_grad():
            model(images)

    return run


def training_step(model, images, labels):
    model.train()
    optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)

    def run():
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return run


def times(run, seconds):
    found, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 3:
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return found


def models():
    whole = small_cnn(rng=np.random.default_rng(0))
    masked = small_cnn(rng=np.random.default_rng(0))
    apply_masks(masked, filter_masks(masked, 0.5))
    return {"whole": whole, "half masked": masked, "half removed": remove_masked_filters(masked)}


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    rng = np.random.default_rng(0)
    print(f"{'milliseconds, median':28}" + "".join(f"{name:>14}" for name in models()) + f"{'speed-up':>10}")
    for make in (forward, training_step):
        for batch, size in ((64, 8), (256, 8), (64, 28)):
            images = rng.random((batch, 1, size, size), dtype=np.float32)
            labels = rng.integers(0, 10, batch)
            runs = [make(model, images, labels) for model in models().values()]
            found = [[] for _ in runs]
            for run in runs:
                times(run, 0)  # compile, and let caches and pools settle
            for _ in range(ROUNDS):
                for run, taken in zip(runs, found, strict=True):
                    taken += times(run, seconds / ROUNDS)
            medians = [1000 * statistics.median(taken) for taken in found]
            name = f"{make.__name__.replace('_', ' ')} {batch}x{size}x{size}"
            ratio = medians[0] / medians[-1]
            row = "".join(f"{ms:14.3f}" for ms in medians)
            print(
                f"{name:28}{row}{ratio:10.2f}" + ("" if ratio >= TARGET else f"   below {TARGET}"), flush=True
            )


if __name__ == "__main__":
    main()
