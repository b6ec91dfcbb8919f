"""One side of the comparison, in its own process: measure what is asked for on the standard input.

"time KIND CASE SECONDS" answers with the median duration in seconds, "memory KIND CASE" with the peak in
megabytes; KIND is layer or network.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np

CONVOLUTIONS = [  # N, C, H = W, O, k; padding k // 2
    (64, 1, 8, 16, 3),
    (64, 16, 8, 32, 3),
    (64, 1, 28, 16, 3),
    (64, 16, 28, 32, 3),
    (64, 32, 14, 64, 3),
    (32, 64, 32, 64, 3),
    (32, 64, 32, 128, 1),
]
STEPS = [(16, 32, 8), (8, 16, 28), (32, 64, 28)]  # channels of both convolutions, H = W; batch 64
CASES = [f"conv forward + backward {shape}" for shape in CONVOLUTIONS]
CASES += [f"training step {c1}-{c2} channels, {size}x{size}" for c1, c2, size in STEPS]


def minidl_convolution(x, weight, bias, grad):
    import minidl
    from minidl.nn import functional as F

    inputs = [minidl.Tensor(array, requires_grad=True) for array in (x, weight, bias)]

    def run():
        minidl.grad(F.conv2d(*inputs, padding=weight.shape[2] // 2), inputs, grad)

    return run


def torch_convolution(x, weight, bias, grad):
    import torch
    from torch.nn import functional as F

    inputs = [torch.tensor(array, requires_grad=True) for array in (x, weight, bias)]
    grad = torch.tensor(grad)

    def run():
        torch.autograd.grad(F.conv2d(*inputs, padding=weight.shape[2] // 2), inputs, grad)

    return run


def layers(nn, c1, c2, size):
    """conv-relu-pool-conv-relu-pool-linear, in either library."""
    return nn.Sequential(
        nn.Conv2d(1, c1, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(c1, c2, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(c2 * (size // 4) ** 2, 10),
    )


def minidl_step(c1, c2, size, images, labels):
    from minidl import nn
    from minidl.nn import functional as F
    from minidl.train.optim import SGD

    model = layers(nn, c1, c2, size)
    optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)

    def run():
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return run


def torch_step(c1, c2, size, images, labels):
    import torch
    from torch import nn
    from torch.nn import functional as F

    model = layers(nn, c1, c2, size)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images, labels = torch.tensor(images), torch.tensor(labels)

    def run():
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return run


def prepare(library, kind, case):
    if kind == "network":
        from tests.bench.networks import network_case

        return network_case(library, case)
    rng = np.random.default_rng(0)
    if case < len(CONVOLUTIONS):
        samples, channels, size, out, kernel = CONVOLUTIONS[case]
        shapes = (samples, channels, size, size), (out, channels, kernel, kernel), (out,)
        arrays = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
        grad = rng.standard_normal((samples, out, size, size), dtype=np.float32)
        return {"minidl": minidl_convolution, "torch": torch_convolution}[library](*arrays, grad)
    c1, c2, size = STEPS[case - len(CONVOLUTIONS)]
    images, labels = rng.random((64, 1, size, size), dtype=np.float32), rng.integers(0, 10, 64)
    return {"minidl": minidl_step, "torch": torch_step}[library](c1, c2, size, images, labels)


def median_time(run, seconds):
    for _ in range(3):  # compile, and let caches and pools settle
        run()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def small(library, kind, case):
    """The same work on small images, for which everything is compiled and loaded."""
    if kind == "network":
        from tests.bench.networks import network_case

        return network_case(library, case, (2, 3, 32, 32))
    c1, c2, size = STEPS[case - len(CONVOLUTIONS)]
    images, labels = np.zeros((2, 1, size, size), np.float32), np.zeros(2, np.int64)
    return {"minidl": minidl_step, "torch": torch_step}[library](c1, c2, size, images, labels)


def peak_memory(library, kind, case):
    """Megabytes that four steps need on top of the libraries and their compiled code (Linux only)."""
    small(library, kind, case)()
    before = megabytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # reset VmHWM to VmRSS
    run = prepare(library, kind, case)
    for _ in range(4):
        run()
    return megabytes("VmHWM") - before


def megabytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def threads(library):
    if library == "torch":
        import torch

        return torch.get_num_threads()
    from minidl.engine import jit

    return jit.num_threads()


def main():
    library = sys.argv[1]
    print(threads(library), flush=True)
    prepared = {}
    for line in sys.stdin:
        what, kind, case, *seconds = line.split()
        if what == "memory":
            print(peak_memory(library, kind, int(case)), flush=True)
            continue
        if (kind, case) not in prepared:
            prepared = {(kind, case): prepare(library, kind, int(case))}  # one at a time
        print(median_time(prepared[kind, case], float(*seconds)), flush=True)


if __name__ == "__main__":
    main()
