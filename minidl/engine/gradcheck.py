"""The test for every gradient of minidl: finite differences against backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.engine.checks import check_function, check_instance, check_number, positive_number, require
from minidl.engine.holding import array_of
from minidl.engine.tensor import Tensor


class GradcheckError(AssertionError):
    """A function failed ``gradcheck``: a gradient or a dtype is wrong, or an input was changed."""


def gradcheck(
    function: Callable[..., Tensor],
    *inputs: Any,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-8,
) -> float:
    """Compare backward with central differences, (f(x + h) - f(x - h)) / 2h, for each element of the inputs.

    ``function`` takes Tensors and returns one. ``inputs`` are arrays or Tensors; floating inputs are
    checked in float64, the others are passed on unchanged. f is the output if the output is one number.
    Otherwise f is the sum of the output's elements, weighted by fixed random numbers. |expected - got| must
    be at most rtol max(|expected|, |got|) + atol max(1, |f|). Avoid kinks: there both slopes are right.

    Three more checks: the function returns the same values twice, it keeps float32, and neither the function
    nor the backward of its last Op changes its inputs in place.

    Returns the largest |expected - got| / max(|expected|, |got|, 1). Raises GradcheckError, which
    names the failed check.

    >>> from minidl import Tensor, gradcheck
    >>> gradcheck(Tensor.tanh, [0.5, -1.0]) < 1e-8
    True
    """
    check_function("function", function, ", ".join("x" for _ in inputs))
    name = getattr(function, "__name__", type(function).__name__)
    eps = positive_number("eps", eps)
    rtol, atol = check_number("rtol", rtol, 0), check_number("atol", atol, 0)
    plain, checked = _in_float64(inputs)
    leaves = [Tensor(x.copy(), requires_grad=i in checked) for i, x in enumerate(plain)]
    output = function(*leaves)
    check_instance(f"the result of {name}", output, Tensor)
    require(np.isfinite(output.data).all(), f"{name} is not finite at these inputs", GradcheckError)
    weights = np.random.default_rng(0).uniform(0.5, 1.5, output.shape)
    unit = weights.item() if output.size == 1 else 1.0  # so that the message shows slopes of f itself

    def weighted(arrays: list[np.ndarray]) -> float:
        return float((function(*[Tensor(x.copy()) for x in arrays]).data * weights).sum())

    value = float((output.data * weights).sum())
    same = weighted(plain) == value
    require(same, f"{name} gives another value on the same inputs: fix the seed in it", GradcheckError)
    _run_backward(name, output, weights)
    for i, leaf in enumerate(leaves):
        require(np.array_equal(leaf.data, plain[i]), f"{name} changed its input {i} in place", GradcheckError)

    worst = 0.0
    for i in checked:
        grad = leaves[i].grad
        for index in np.ndindex(plain[i].shape):
            expected = _central_difference(weighted, plain, i, index, eps) / unit
            got = 0.0 if grad is None else float(grad[index]) / unit
            where = f"{name}, input {i}, index {index}"
            worst = max(worst, _difference(where, expected, got, rtol, atol * max(1.0, abs(value) / unit)))
    _run_in_float32(name, function, plain, checked)
    return worst


def _in_float64(inputs: tuple) -> tuple[list[np.ndarray], list[int]]:
    """Copies of the inputs as arrays, the floating ones in float64, and the numbers of the floating ones."""
    plain = [array_of(x.data if isinstance(x, Tensor) else x).copy() for x in inputs]
    checked = [i for i, x in enumerate(plain) if x.dtype.kind == "f"]
    require(len(checked) > 0, "gradcheck needs at least one floating input")
    for i in checked:
        plain[i] = plain[i].astype(np.float64)
    return plain, checked


def _difference(where: str, expected: float, got: float, rtol: float, atol: float) -> float:
    """|expected - got| / max(|expected|, |got|, 1), or an error if the two are not close."""
    difference, size = abs(expected - got), max(abs(expected), abs(got))
    if not (difference <= rtol * size + atol and size < np.inf):
        relative = difference / size if size > 0 else difference
        slopes = f"expected {expected:.8g} by finite differences, got {got:.8g} from backward"
        raise GradcheckError(f"{where}: {slopes}: a relative error of {relative:.2g}")
    return difference / max(size, 1.0)


def _central_difference(weighted, plain, i, index, eps) -> float:
    x = plain[i][index]
    h = eps * max(1.0, abs(x))
    values = []
    for moved in (x + h, x - h):
        plain[i][index] = moved
        values.append(weighted(plain))
    plain[i][index] = x
    return float((values[0] - values[1]) / ((x + h) - (x - h)))


def _run_backward(name, output, weights) -> None:
    """Run backward if there is a graph, and check that the last Op does not change the gradient in place."""
    if output.requires_grad:
        output.backward(weights)
    if output.op is not None:
        given = weights.copy()
        output.op.backward(given)
        kind = type(output.op).__name__
        same = np.array_equal(given, weights)
        require(same, f"{name}: {kind}.backward changed the gradient given to it", GradcheckError)


def _run_in_float32(name, function, plain, checked) -> None:
    leaves = [
        Tensor(x.astype(np.float32) if i in checked else x, requires_grad=i in checked)
        for i, x in enumerate(plain)
    ]
    output = function(*leaves)
    stays = output.dtype == np.float32
    require(stays, f"{name} turned float32 inputs into {output.dtype}", GradcheckError)
    if output.requires_grad:
        output.backward(np.ones(output.shape))  # backward itself refuses another dtype
