"""Comparisons for laws: strict about shapes and types, and readable when they fail."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import numpy as np

from minidl.engine.checks import check_number, require, shown

NUMERIC_KINDS = "biufc"  # bool, int, unsigned, float, complex
SHOWN = 24  # a message prints arrays up to this size, and only shape and range of larger arrays


def assert_close(actual, expected, rtol: float = 1e-6, atol: float = 1e-9) -> None:
    """Assert that |actual - expected| <= atol + rtol |expected| for every element, and the shapes are equal.

    Nothing is broadcast, except a plain Python number as ``expected``: it is compared with every element, as
    in ``assert_close(p.sum(axis=-1), 1.0)``. NaN equals NaN, and an infinity equals itself.
    Raises AssertionError for a wrong ``actual``, TypeError for an ``expected`` that is not made of numbers.
    """
    check_number("rtol", rtol, 0)
    check_number("atol", atol, 0)
    yours = _numbers(actual)
    wanted = _expected_numbers(expected, yours)
    wide_yours, wide_wanted = _widened(yours), _widened(wanted)
    with np.errstate(all="ignore"):
        wrong = ~np.isclose(wide_yours, wide_wanted, rtol=rtol, atol=atol, equal_nan=True)
        error = np.abs(wide_yours - wide_wanted)
    if wrong.any():
        _fail(yours, wanted, wrong, error)


def assert_equal(actual, expected) -> None:
    """Assert that numbers, texts, tuples or lists are exactly equal, and arrays also in their shapes."""
    if type(expected) in (tuple, list) and not _is_numeric(expected):
        if type(actual) not in (tuple, list) or len(actual) != len(expected):
            raise AssertionError(f"yours = {short(actual)}, expected = {short(expected)}")
        for index, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
            try:
                assert_equal(ours, theirs)
            except AssertionError as error:
                raise AssertionError(f"element {index}: {error}") from None
    elif _is_numeric(expected):
        yours = _numbers(actual)
        wanted = _expected_numbers(expected, yours)
        wrong = (yours != wanted) & ~((yours != yours) & (wanted != wanted))  # NaN equals NaN
        if wrong.any():
            _fail(yours, wanted, wrong, wrong.astype(float))
    elif type(actual) is not type(expected) or actual != expected:
        raise AssertionError(f"yours = {short(actual)}, expected = {short(expected)}")


def assert_dtype(actual, dtype) -> None:
    """Assert that the array (or NumPy scalar) has this dtype."""
    yours = _numbers(actual)
    try:
        wanted = np.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"dtype must be a dtype of NumPy, got {shown(dtype)}") from error
    require(yours.dtype == wanted, f"yours has dtype {yours.dtype}, expected {wanted}", AssertionError)


def assert_refuses(what: str, implementation: Callable, *arguments, **params) -> None:
    """Assert that ``implementation(*arguments, **params)`` raises ValueError; ``what`` names the bad input.

    An error of another class is not caught.
    """
    try:
        answer = implementation(*arguments, **params)
    except ValueError:
        return
    raise AssertionError(f"{what} gave {short(answer)}, but must raise ValueError")


def assert_gradients(
    implementation: Callable, *inputs: np.ndarray, rtol: float = 1e-5, atol: float = 1e-7, **params
) -> None:
    """Assert that the gradients of ``implementation`` are equal to central differences.

        dL/dx_i  ≈  (L(x + h e_i) - L(x - h e_i)) / 2h      with L = sum(g y) and a fixed upstream gradient g

    ``implementation(*inputs, grad=g, **params)`` returns y and one gradient per input, as exercises of the
    kinds op and tensor do. Inputs are float64. Inputs that are not floating arrays do not change.
    Choose no input at a kink: there the central difference is the mean of two slopes.
    """
    h = 1e-5
    y, _ = implementation(*inputs, **params)
    upstream = np.cos(np.arange(np.size(y)) + 1.0).reshape(np.shape(y))  # different numbers
    _, grads = implementation(*inputs, grad=upstream, **params)

    for number, x in enumerate(inputs):
        if not (isinstance(x, np.ndarray) and x.dtype.kind == "f"):
            continue
        slopes = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            values = []
            for step in (h, -h):
                moved = x.copy()
                moved[index] += step
                y, _ = implementation(*inputs[:number], moved, *inputs[number + 1 :], **params)
                values.append(np.sum(upstream * y))
            slopes[index] = (values[0] - values[1]) / (2 * h)
        try:
            assert_close(grads[number], slopes, rtol, atol)
        except AssertionError as error:
            raise AssertionError(f"the gradient of input {number}: {error}") from None


def readable(value) -> str:
    """The text of a value in a failing case: as in ``short``, but a small array also has shape and dtype."""
    if isinstance(value, np.ndarray) and value.size <= SHOWN:
        return f"{short(value)}   ({_shape_text(value.shape)} {value.dtype})"
    return short(value)


def short(value) -> str:
    """The value on one line: all numbers of a small array; shape, dtype and range of a larger array.

    A graph, in which each node has a list of other nodes, is written as "w → u, v; u → x; x".
    """
    if graph := _graph(value):
        lines = (f"{node} → {', '.join(map(str, others))}" if others else str(node) for node, others in graph)
        return "; ".join(lines)
    if isinstance(value, np.ndarray):
        return _short_array(value)
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, np.bool_ | np.integer | str | bytes):
        return repr(value.item() if isinstance(value, np.generic) else value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a NamedTuple
        inside = ", ".join(f"{name}={short(v)}" for name, v in zip(value._fields, value, strict=True))
        return f"{type(value).__name__}({inside})"
    if type(value) in (tuple, list):
        inside = ", ".join(short(v) for v in value[:SHOWN]) + (", ..." if len(value) > SHOWN else "")
        return f"[{inside}]" if type(value) is list else f"({inside}{',' * (len(value) == 1)})"
    if type(value) is dict and value.keys() >= {"state", "requires_grad", "training"}:  # builders.contents
        learns = ", ".join(value["requires_grad"]) or "nothing"
        mode = "training" if value["training"] else "evaluation"
        return f"a model of {len(value['state'])} arrays in {mode} mode; {learns} requires grad"
    if type(value) is dict:
        return "{" + ", ".join(f"{key!r}: {short(v)}" for key, v in value.items()) + "}"
    if inspect.isroutine(value):
        return "a function" if "<" in value.__name__ else f"the function {value.__name__}"
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    return text if len(text) <= 100 else text[:97] + "..."


def _graph(value) -> list[tuple[object, list]]:
    """Each node with the nodes in its list; [] if the value is not a graph.

    A graph is a dict from names to lists of names, or a list: its entry i is a list of numbers below i.
    The __getitem__ of such a dict or list is also a graph.
    """
    if getattr(value, "__name__", "") == "__getitem__":
        value = getattr(value, "__self__", None)
    if type(value) not in (dict, list) or len(value) < 2:
        return []
    nodes = list(value.items() if type(value) is dict else enumerate(value))
    if not all(isinstance(others, list | tuple) for _, others in nodes):
        return []
    for place, (_, others) in enumerate(nodes):
        known = [name for name, _ in (nodes if type(value) is dict else nodes[:place])]
        if not all(type(other) in (int, str) and other in known for other in others):
            return []
    return nodes if any(others for _, others in nodes) else []


def _short_array(x: np.ndarray) -> str:
    if x.size <= SHOWN or x.dtype.kind not in NUMERIC_KINDS:
        text = np.array2string(
            x, separator=", ", precision=6, threshold=SHOWN, edgeitems=2, suppress_small=True
        )
        return " ".join(text.split()).replace("[ ", "[")
    kind = f"{_shape_text(x.shape)} {x.dtype}"
    finite = x[np.isfinite(x)]
    if x.dtype.kind == "c" or finite.size == 0:
        return f"<{kind}>"
    flaw = "" if finite.size == x.size else f", {x.size - finite.size} NaN or infinite"
    return f"<{kind} in [{short(finite.min())}, {short(finite.max())}]{flaw}>"


def _shape_text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _is_numeric(value) -> bool:
    """True for a number, an array of numbers or a rectangular list of numbers; False for other objects."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in NUMERIC_KINDS
    if type(value) in (tuple, list):
        return len(value) > 0 and all(map(_is_numeric, value)) and len(set(map(np.shape, value))) == 1
    return type(value) in (bool, int, float, complex)


def _numbers(value) -> np.ndarray:
    """The learner's value as a plain array. Raises AssertionError if it is not made of numbers."""
    if not _is_numeric(value):
        kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise AssertionError(f"yours is {kind}, expected numbers: {short(value)}")
    return np.array(value)


def _expected_numbers(expected, yours: np.ndarray) -> np.ndarray:
    """``expected`` as an array of the same shape as ``yours``."""
    if not _is_numeric(expected):
        raise TypeError(f"expected must be numbers, got {type(expected).__name__} {short(expected)}")
    wanted = np.array(expected)
    if type(expected) in (bool, int, float, complex):
        return np.full(yours.shape, wanted)
    if wanted.shape != yours.shape:
        shapes = f"yours has shape {yours.shape}, expected {wanted.shape}"
        raise AssertionError(shapes + _both(yours, wanted))
    return wanted


def _widened(x: np.ndarray) -> np.ndarray:
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def _fail(yours: np.ndarray, wanted: np.ndarray, wrong: np.ndarray, error: np.ndarray) -> None:
    # argmax chooses a NaN as the largest error. This is right, because NaN is the worst error.
    worst = np.unravel_index(np.argmax(np.where(wrong, error, -1)), wrong.shape)
    place = f" at [{', '.join(map(str, worst))}]" if worst else ""
    many = f"{wrong.sum()} of {wrong.size} elements differ, most{place}"
    where = many if wrong.size > 1 else f"differs{place}"
    first = f"{where}: yours {_digits(yours[worst])}, expected {_digits(wanted[worst])}"
    raise AssertionError(first + _both(yours, wanted) * (wrong.size > 1))


def _both(yours: np.ndarray, wanted: np.ndarray) -> str:
    return f"\n  yours    = {short(yours)}\n  expected = {short(wanted)}"


def _digits(x) -> str:
    return f"{x:.9g}" if isinstance(x, float | np.floating) else str(x)
