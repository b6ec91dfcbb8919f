"""Which kinds of values no law of an exercise tries:  python -m tests.untried [12 12.4 ...]

An answer that is wrong only for such values passes. The table says where to look: most kinds do not matter to
most exercises, and the docstring says which do. A kind counts as tried if the reference answered a call with
this kind of value. Calls that the reference refused do not count.
"""

from __future__ import annotations

import inspect
import itertools
import sys
import warnings
from collections.abc import Callable

import numpy as np

from lessons.exercises import all_exercises
from minidl.classroom.builders import Built
from minidl.classroom.exercise import Exercise
from minidl.classroom.exercise_kinds import Direct
from minidl.engine.checks import require
from minidl.nn.containers import Sequential
from minidl.nn.layers import BatchNorm, Conv2d, Dropout, Linear
from minidl.nn.module import Module

Kinds = dict[str, Callable[..., bool]]
ARRAYS: Kinds = {
    "float32": lambda a: a.dtype == np.float32,
    "float64": lambda a: a.dtype == np.float64,
    "integers": lambda a: a.dtype.kind in "iu",
    "integers of 8 bits": lambda a: a.dtype.kind in "iu" and a.itemsize == 1,
    "bool": lambda a: a.dtype == bool,
    "empty": lambda a: a.size == 0,
    "one element": lambda a: a.size == 1,
    "more than 100 elements": lambda a: a.size > 100,
    "one row": lambda a: a.ndim > 0 and len(a) == 1,
    "not square": lambda a: a.ndim > 1 and a.shape[-1] != a.shape[-2],
    "in Fortran's order": lambda a: not a.flags.c_contiguous,
    "negative": lambda a: bool((a < 0).any()),
    "zero": lambda a: bool((a == 0).any()),
    "all zero": lambda a: a.size > 1 and not a.any(),
    "all equal": lambda a: a.size > 1 and bool((a == a.flat[0]).all()),
    "NaN": lambda a: bool(np.isnan(a).any()),
    "infinite": lambda a: bool(np.isinf(a).any()),
    "above 1e6": lambda a: bool((np.abs(a[np.isfinite(a)].astype(float)) > 1e6).any()),
    "below 1e-6": lambda a: bool((np.abs(a[a != 0].astype(float)) < 1e-6).any()),
}
NUMBERS: Kinds = {
    "an int": lambda x: type(x) is int,
    "a float": lambda x: type(x) is float,
    "NumPy's number": lambda x: isinstance(x, np.generic),
    "0": lambda x: x == 0,
    "1": lambda x: x == 1,
    "below 0": lambda x: x < 0,
    "in (0, 1)": lambda x: 0 < x < 1,
    "above 1": lambda x: x > 1,
    "infinite": lambda x: np.isinf(x),
}
MODELS: Kinds = {
    "training mode": lambda m: m.training,
    "layers in another mode": lambda m: any(part.training != m.training for part in m.modules()),
    "some parameters frozen": lambda m: len({p.requires_grad for p in m.parameters()}) == 2,
    "all parameters frozen": lambda m: not any(p.requires_grad for p in m.parameters()),
    "float64": lambda m: any(p.dtype == np.float64 for p in m.parameters()),
    "masks": lambda m: any(p.mask is not None for p in m.parameters()),
    "a row of zero weights": lambda m: any(zero_rows(p.data) for p in m.parameters()),
    "a layer without bias": lambda m: any(part.bias is None for part in parts(m, (Linear, Conv2d))),
    "a convolution": lambda m: parts(m, Conv2d) != [],
    "BatchNorm": lambda m: parts(m, BatchNorm) != [],
    "frozen BatchNorm": lambda m: any(part.frozen for part in parts(m, BatchNorm)),
    "Dropout": lambda m: parts(m, Dropout) != [],
    "a forward of its own": lambda m: not isinstance(m, (Sequential, Linear, Conv2d, BatchNorm)),
    "a forward hook": lambda m: any(part._hooks for part in m.modules()),
}  # fmt: skip
GROUPS = ((Module, MODELS), (np.ndarray, ARRAYS), ((int, float, np.number), NUMBERS))


def parts(model: Module, kind: type | tuple[type, ...]) -> list:
    return [part for part in model.modules() if isinstance(part, kind)]


def zero_rows(weight: np.ndarray) -> bool:
    return weight.ndim > 1 and not weight.reshape(len(weight), -1).any(axis=1).all()


class Listening(Direct):
    """The reference, which notes what laws give to it."""

    def __init__(self, exercise: Exercise) -> None:
        super().__init__(exercise.target, exercise.kind, exercise.written, exercise.returns)
        self.open: dict[str, dict[str, bool]] = {}  # for each argument its kinds: has a law tried the kind?
        taken = {} if isinstance(self.raw, type) else inspect.signature(self.raw).parameters
        self.options = {p.name: p.default for p in taken.values() if p.default is not p.empty}
        self.pairs = dict.fromkeys(itertools.combinations(self.options, 2), False)

    def answer(self, arguments: tuple, params: dict) -> tuple[object, tuple, tuple]:
        found = super().answer(arguments, params)
        named = {**dict(zip(self.told.arguments, arguments, strict=False)), **params}
        for name, value in named.items():
            self.note(name, value.build() if isinstance(value, Built) else value)
        given = {
            name for name, default in self.options.items() if repr(named.get(name, default)) != repr(default)
        }
        self.pairs.update({pair: True for pair in self.pairs if given.issuperset(pair)})
        return found

    def note(self, name: str, value: object) -> None:
        """Note the kinds of a value. Of a list, tuple or dict, its elements are noted too."""
        known = self.open.setdefault(name, {})
        if isinstance(value, dict | list | tuple):
            known[f"a {type(value).__name__}"] = True
            for one in value.values() if isinstance(value, dict) else value:
                self.note(f"{name}[...]", one)
        if isinstance(value, np.ndarray):
            known.setdefault("a list", False)
        for group, kinds in GROUPS:
            if isinstance(value, group) and not isinstance(value, bool):
                now = {kind: known.get(kind, False) or bool(is_so(value)) for kind, is_so in kinds.items()}
                known.update(now)


def untried(exercise: Exercise) -> dict[str, list[str]]:
    """The kinds of each argument that no law tries. Under "together" are the pairs of options of which no
    call of a law gives both, each with another value than its default.
    """
    listening = Listening(exercise)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        *_, last = exercise.check(exercise.adapt(listening))
    require(last.passed, f"{exercise.number}: the reference itself breaks a law: {last}", AssertionError)
    found = {name: [kind for kind in kinds if not kinds[kind]] for name, kinds in listening.open.items()}
    found["together"] = [" with ".join(pair) for pair, is_tried in listening.pairs.items() if not is_tried]
    return {name: kinds for name, kinds in found.items() if kinds}


def main(wanted: list[str]) -> int:
    chosen = [e for e in all_exercises() if not wanted or e.number.startswith(tuple(wanted))]
    if not chosen:
        print(f"there is no exercise {', '.join(wanted)}", file=sys.stderr)
        return 2
    for exercise in chosen:
        print(f"{exercise.number} {exercise.name}")
        for name, kinds in untried(exercise).items():
            print(f"    {name:16} never: {', '.join(kinds)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
