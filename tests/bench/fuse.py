"""What fusion saves in time:  python -m tests.bench.fuse [seconds a measurement, 1 by default]

Forward passes without a graph of models as they are, with BatchNorm and ReLU in the convolutions, and with
parallel convolutions merged and Concat written in place; the three take turns. Launches and megabytes of
activations of the batch, medians in milliseconds, and how many times as fast the last is as the first.
"""

import statistics
import sys
import time

import numpy as np

from minidl import no_grad
from minidl.compress.branches import merge_parallel_convs
from minidl.compress.flow import cost
from minidl.compress.fuse import fuse
from minidl.nn.models import inception_block, small_cnn, tiny_resnet

ROUNDS, TARGET = 5, 1.3
CASES = [  # name, model, batch, input shape
    ("small_cnn", lambda rng: small_cnn(rng=rng), 256, (1, 8, 8)),
    ("small_cnn", lambda rng: small_cnn(rng=rng), 64, (1, 28, 28)),
    ("tiny_resnet", lambda rng: tiny_resnet(10, 3, rng=rng), 64, (3, 16, 16)),
    ("inception", lambda rng: inception_block(16, rng=rng), 64, (16, 16, 16)),
    ("wide inception", lambda rng: inception_block(64, (64,) * 4, reduce=32, rng=rng), 16, (64, 28, 28)),
]


def times(model, images, seconds):
    found, end = [], time.perf_counter() + seconds
    with no_grad():
        while time.perf_counter() < end or len(found) < 3:
            start = time.perf_counter()
            model(images)
            found.append(time.perf_counter() - start)
    return found


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    names = ("as it is", "fused", "merged")
    print(f"{'milliseconds, median':28}" + "".join(f"{name:>12}" for name in names) + f"{'speed-up':>10}")
    for name, make, batch, shape in CASES:
        rng = np.random.default_rng(0)
        model = make(rng).eval()
        fused = fuse(model)
        stages = [model, fused, merge_parallel_convs(fused)]
        images = rng.random((batch, *shape), dtype=np.float32)
        found = [[] for _ in stages]
        for stage in stages:
            times(stage, images, 0)  # compile, and let caches and pools settle
        for _ in range(ROUNDS):
            for stage, taken in zip(stages, found, strict=True):
                taken += times(stage, images, seconds / ROUNDS)
        medians = [1000 * statistics.median(taken) for taken in found]
        ratio = medians[0] / medians[-1]
        row = "".join(f"{ms:12.3f}" for ms in medians)
        note = "" if ratio >= TARGET else f"   below {TARGET}"
        print(f"{name + f' {batch}x' + 'x'.join(map(str, shape)):28}{row}{ratio:10.2f}{note}", flush=True)
        costs = [cost(stage, shape) for stage in stages]
        print(f"{'  launches':28}" + "".join(f"{c.launches:12}" for c in costs))
        print(f"{'  megabytes moved':28}" + "".join(f"{batch * c.bytes / 2**20:12.2f}" for c in costs))


if __name__ == "__main__":
    main()
