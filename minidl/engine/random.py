"""The default random generator, for functions that are called without ``rng``."""

from __future__ import annotations

import numpy as np

from minidl.engine.checks import check_int, require, shown

_default = np.random.default_rng(0)


def manual_seed(seed: int) -> np.random.Generator:
    """Restart the default generator from ``seed`` and return it; the same seed gives the same draws.

    The object stays the same, so its other users, such as a Dropout layer, also restart.

    >>> from minidl import manual_seed
    >>> manual_seed(7).random() == manual_seed(7).random()
    True
    """
    _default.bit_generator.state = np.random.default_rng(check_int("seed", seed, 0)).bit_generator.state
    return _default


def default_rng_or(rng: np.random.Generator | None) -> np.random.Generator:
    """``rng`` itself, or the default generator where it is None; anything else is refused."""
    if rng is None:
        return _default
    wanted = "rng must be a np.random.Generator, such as np.random.default_rng(0)"
    require(isinstance(rng, np.random.Generator), f"{wanted}, got {shown(rng)}", TypeError)
    return rng
