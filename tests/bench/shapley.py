"""What exact Shapley values cost in time:  python -m tests.bench.shapley

Twenty players from a table of worths (target: 2 s), and a network of 12 features explained exactly, 100 rows
over 20 background rows, which is 8 million predictions (target: 5 s). Seconds, the best of three.
"""

import time

import numpy as np

from minidl.explain import Explainer, shapley_values
from minidl.nn.models import mlp
from minidl.train import predict


def best_of(run, times=3):
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


def main():
    rng = np.random.default_rng(0)
    table = rng.normal(size=2**20)
    print(f"20 players from a table        {best_of(lambda: shapley_values(table, 20)):6.2f} s, target 2")

    network = mlp(12, 32, 1, rng=rng).eval()
    rows = rng.normal(size=(120, 12)).astype(np.float32)
    explainer = Explainer(lambda x: predict(network, x, 2**16)[:, 0], rows[:20])
    seconds = best_of(lambda: explainer.explain(rows[20:]))
    print(f"12 features, 100 rows over 20  {seconds:6.2f} s, target 5")


if __name__ == "__main__":
    main()
