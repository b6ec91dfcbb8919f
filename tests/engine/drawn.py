"""What the engine's property tests draw: arrays away from kinks, and axes."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

seeds = st.integers(0, 2**32 - 1)
shapes = hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)
broadcastable = hnp.mutually_broadcastable_shapes


def spread(shape, seed, offset=0.15):
    """Values of both signs within 0.02 of different multiples of 0.3, plus the offset: no ties, none at 0."""
    rng = np.random.default_rng(seed)
    count = int(np.prod(shape))
    steps = rng.permutation(count + 2)[:count] - (count + 2) // 2
    return (0.3 * steps + offset + rng.uniform(-0.02, 0.02, count)).reshape(shape)


def positive(shape, seed):
    """Values in 0.5 ... 2."""
    return np.random.default_rng(seed).uniform(0.5, 2, shape)


def axes(ndim):
    """Every way to name axes: None, one of them counted from either end, a tuple (empty too)."""
    one = [st.integers(-ndim, ndim - 1)] if ndim else []
    return st.one_of(st.none(), *one, hnp.valid_tuple_axes(ndim))
