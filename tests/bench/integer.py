"""What integers cost in time:  python -m tests.bench.integer [seconds a measurement, 1 by default]

small_cnn at batch 256 with BatchNorm and ReLU fused, in float32, against its 8-bit integer model; the two
take turns. Medians of the time of a forward pass without a graph, in milliseconds, and their ratio. Beside it
the bytes that both store, and how many integers differ where the multiplier is a fixed-point number.
"""

import statistics
import sys
import time

import numpy as np

from minidl import no_grad
from minidl.compress.fuse import fuse
from minidl.compress.integer import (
    fixed_point_multiplier,
    fixed_point_multiply,
    model_bytes,
    quantize_model,
)
from minidl.compress.quantize import quantize
from minidl.nn.models import small_cnn

ROUNDS, TARGET, BATCH = 9, 1.5, 256
CASES = [
    ("8x8 digits", 8, 2),
    ("28x28, pooled after block 2", 28, 2),
    ("28x28, pooled after both", 28, (1, 2)),
]


def times(model, images, seconds):
    found, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 3:
        start = time.perf_counter()
        with no_grad():
            model(images)
        found.append(time.perf_counter() - start)
    return found


def medians(models, images, seconds):
    found = [[] for _ in models]
    for model in models:
        times(model, images, 0)  # compile, and let caches and pools settle
    for _ in range(ROUNDS):
        for model, taken in zip(models, found, strict=True):
            taken += times(model, images, seconds / ROUNDS)
    return [1000 * statistics.median(taken) for taken in found]


def fixed_point_differences(integer, images):
    """Outputs of the first convolution, and how many a fixed-point multiplier makes one more or less."""
    conv = next(layer for layer in integer.body.modules() if hasattr(layer, "w_params"))
    qx, y_params = quantize(images, integer.x_params), conv.y_params
    q = conv(qx).astype(int)
    conv.y_params = None
    sums = conv(qx)
    conv.y_params = y_params
    M = conv.x_params.scale * conv.w_params.scale / y_params.scale
    fixed = [
        fixed_point_multiply(sums[:, o], *fixed_point_multiplier(float(M[o]))) for o in range(sums.shape[1])
    ]
    fixed = np.clip(np.stack(fixed, axis=1) + y_params.zero_point, y_params.qmin, y_params.qmax)
    return q.size, int(np.sum(fixed != q))


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print(f"{f'milliseconds, batch {BATCH}':30}{'float':>10}{'integer':>10}{'ratio':>8}{'bytes':>18}")
    for name, size, pool_after in CASES:
        images = np.random.default_rng(0).random((BATCH, 1, size, size), dtype=np.float32)
        model = small_cnn(pool_after=pool_after, rng=np.random.default_rng(0)).eval()
        fused, integer = fuse(model, images[:1]), quantize_model(model, images[:64])
        floats, integers = medians([fused, integer], images, seconds)
        ratio = integers / floats
        stored = f"{model_bytes(fused):,} {model_bytes(integer):,}"
        late = "" if ratio <= TARGET else f"   above {TARGET}"
        print(f"{name:30}{floats:10.3f}{integers:10.3f}{ratio:8.2f}{stored:>18}{late}", flush=True)
    outputs, differing = fixed_point_differences(integer, images)
    print(f"a fixed-point multiplier changes {differing} of {outputs} outputs of the first convolution")


if __name__ == "__main__":
    main()
