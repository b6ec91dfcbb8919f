"""Why a state does not fit a model: the words for ``Module.state_problems``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minidl.engine.checks import require
from minidl.engine.holding import array_of


class LoadedKeys(NamedTuple):
    """The keys that ``load_state_dict`` skipped: missing in the state, or unknown to the model."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def problems_of(state: Any, expected: Mapping[str, Any], strict: bool) -> list[str]:
    """The reasons why ``state`` cannot replace the ``expected`` arrays, one line each; empty if it can."""
    fits = isinstance(state, Mapping)
    require(fits, f"a state is a dict from names to arrays, got {type(state).__name__}", TypeError)
    wrapped = wrapped_state(state, expected)
    if wrapped:
        return [wrapped]
    needed = [key for key in expected if strict and not key.endswith("num_batches_tracked")]
    problems = [f"missing: {key} {expected[key].shape}" for key in needed if key not in state]
    problems += [f"unexpected: {key}" for key in state if strict and key not in expected]
    found = [misfit(key, state[key], old) for key, old in expected.items() if key in state]
    return problems + [problem for problem in found if problem]


def wrapped_state(state: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Advice for a state whose keys have a prefix too many or too few, or that is inside a larger dict; ""
    for others."""
    inner = {key: value for key, value in state.items() if isinstance(value, Mapping) and key not in expected}
    if inner:
        key = max(inner, key=lambda key: sum(str(name).endswith(tuple(expected)) for name in inner[key]))
        return f"the values lie in state[{key!r}]: load_state_dict(state[{key!r}])"
    if any(key in expected for key in state):
        return ""
    keys, half = [str(key) for key in state], len(expected) / 2
    pairs = [(key, name) for key in keys for name in expected]
    for prefix in sorted({key.removesuffix(name) for key, name in pairs if key.endswith("." + name)}):
        if sum(key.removeprefix(prefix) in expected for key in keys) >= half:
            mend = f"{{key.removeprefix({prefix!r}): value for key, value in state.items()}}"
            return f"the keys have {prefix!r} in front: load_state_dict({mend})"
    for prefix in sorted({name.removesuffix(key) for key, name in pairs if name.endswith("." + key)}):
        if sum(prefix + key in expected for key in keys) >= half:
            mend = f"{{{prefix!r} + key: value for key, value in state.items()}}"
            return f"the keys lack {prefix!r} in front: load_state_dict({mend})"
    return ""


def misfit(key: str, value: Any, old: Any) -> str:
    """Why the value cannot replace the old array; "" if it can."""
    try:
        new = np.asarray(value)
    except Exception:  # for example a PyTorch tensor of a dtype that NumPy does not have
        new = np.asarray(None)
    if new.dtype.kind not in "fiub":
        kind = getattr(value, "dtype", type(value).__name__)
        mend = f"state[{key!r}] = state[{key!r}].detach().cpu().float()"
        return f"unreadable: {key} of {kind}; for a tensor of PyTorch: {mend}"
    if new.shape != old.shape:
        return f"wrong shape: {key} must be {old.shape}, got {new.shape}"
    if not np.can_cast(new.dtype, old.dtype, "same_kind"):
        return f"wrong dtype: {key} must be {old.dtype}, got {new.dtype}"
    if new.dtype.kind in "iu" and old.dtype in (np.float32, np.float64):
        try:
            array_of(new, old.dtype)
        except ValueError as error:  # an integer that the float cannot hold
            return f"wrong value: {key}: {error}"
    return ""
