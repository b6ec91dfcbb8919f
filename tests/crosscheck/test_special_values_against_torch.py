"""Every operation gives PyTorch's values and gradients for 0, -0, infinities, NaN, 1e30 and ties.

Where both differ on purpose, EXPECTED says where and why. There the test asks that nothing else differs.
"""

import numpy as np
import pytest
from against_torch import torch

import minidl
import minidl.nn.functional as F
from minidl import Tensor, grad

TF = torch.nn.functional
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SPECIAL = np.float32([0.0, -0.0, 1.0, -1.0, 0.5, 3.0, np.inf, -np.inf, np.nan, 1e30, -1e30])
PAIRS = [side.ravel() for side in np.meshgrid(SPECIAL, SPECIAL)]
ROWS = np.float32(
    [
        [1, 1, 0],
        [np.inf, 1, 2],
        [-np.inf, 1, 2],
        [-np.inf] * 3,
        [np.nan, 1, 2],
        [1e30, -1e30, 1e30],
        [0.0, -0.0, 0.0],
        [np.inf, np.inf, 1],
    ]
)
UPSTREAM = [1.0, 0.0, np.inf, np.nan]
LABELS, TARGET = [0, 1, 2, 0, 1, 2, 0, 1], np.tile([0, 1, 0.5], (8, 1)).astype(np.float32)
ONES, ZEROS, W = np.ones(3, np.float32), np.zeros(3, np.float32), np.float32([[1], [0], [-1]])
KERNEL = np.float32([[[[1, 0], [2, -1]]]])


def images(function, *shape):
    return lambda x: function(x.reshape(1, *shape))


UNARY = {
    "-x": (lambda x: -x, lambda x: -x),
    "abs": (Tensor.abs, torch.abs),
    "exp": (Tensor.exp, torch.exp),
    "log": (Tensor.log, torch.log),
    "sqrt": (Tensor.sqrt, torch.sqrt),
    "tanh": (Tensor.tanh, torch.tanh),
    "sigmoid": (Tensor.sigmoid, torch.sigmoid),
    "relu": (Tensor.relu, torch.relu),
    "leaky_relu": (lambda x: x.leaky_relu(0.1), lambda x: TF.leaky_relu(x, 0.1)),
    "leaky_relu 0": (lambda x: x.leaky_relu(0.0), lambda x: TF.leaky_relu(x, 0.0)),
    "gelu": (Tensor.gelu, TF.gelu),
    "clip": (lambda x: x.clip(-1, 3), lambda x: torch.clip(x, -1, 3)),
    "x ** 2": (lambda x: x**2, lambda x: x**2),
    "x ** 0": (lambda x: x**0, lambda x: x**0),
    "x ** -1": (lambda x: x**-1, lambda x: x**-1),
    "x ** .5": (lambda x: x**0.5, lambda x: x**0.5),
}
BINARY = {
    "a + b": (lambda a, b: a + b, lambda a, b: a + b),
    "a - b": (lambda a, b: a - b, lambda a, b: a - b),
    "a * b": (lambda a, b: a * b, lambda a, b: a * b),
    "a / b": (lambda a, b: a / b, lambda a, b: a / b),
    "a ** b": (lambda a, b: a**b, lambda a, b: a**b),
    "maximum": (minidl.maximum, torch.maximum),
    "minimum": (minidl.minimum, torch.minimum),
    "where": (lambda a, b: minidl.where(a > 0, a, b), lambda a, b: torch.where(a > 0, a, b)),
}
OF_ROWS = {
    "sum": (lambda x: x.sum(1), lambda x: x.sum(1)),
    "mean": (lambda x: x.mean(1), lambda x: x.mean(1)),
    "var": (lambda x: x.var(1), lambda x: x.var(1, correction=0)),
    "max": (lambda x: x.max(axis=1), lambda x: x.amax(1)),
    "min": (lambda x: x.min(axis=1), lambda x: x.amin(1)),
    "logsumexp": (lambda x: x.logsumexp(1), lambda x: x.logsumexp(1)),
    "softmax": (lambda x: x.softmax(1), lambda x: x.softmax(1)),
    "log_softmax": (lambda x: x.log_softmax(1), lambda x: x.log_softmax(1)),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, LABELS, reduction="none"),
        lambda x: TF.cross_entropy(x, torch.tensor(LABELS), reduction="none"),
    ),
    "binary_cross_entropy": (
        lambda x: F.binary_cross_entropy_with_logits(x, TARGET, reduction="none"),
        lambda x: TF.binary_cross_entropy_with_logits(x, torch.tensor(TARGET), reduction="none"),
    ),
    "index": (lambda x: x[:, [0, 0, 2]], lambda x: x[:, [0, 0, 2]]),
    "transpose": (lambda x: x.T, lambda x: x.T),
    "concatenate": (lambda x: minidl.concatenate([x, x]), lambda x: torch.cat([x, x])),
    "pad": (lambda x: F.pad(x, (1, 1)), lambda x: TF.pad(x, (1, 1))),
    "matmul": (lambda x: x @ W, lambda x: x @ torch.tensor(W)),
    "linear": (lambda x: F.linear(x, W.T), lambda x: TF.linear(x, torch.tensor(W.T))),
    "batch_norm": (
        lambda x: F.batch_norm(x, ZEROS, ONES),
        lambda x: TF.batch_norm(x, torch.tensor(ZEROS), torch.tensor(ONES)),
    ),
    "max_pool2d": (
        images(lambda x: F.max_pool2d(x, 2), 1, 4, 6),
        images(lambda x: TF.max_pool2d(x, 2), 1, 4, 6),
    ),
    "avg_pool2d": (
        images(lambda x: F.avg_pool2d(x, 2), 1, 4, 6),
        images(lambda x: TF.avg_pool2d(x, 2), 1, 4, 6),
    ),
    "adaptive_avg_pool2d": (
        images(F.adaptive_avg_pool2d, 2, 4, 3),
        images(lambda x: TF.adaptive_avg_pool2d(x, 1), 2, 4, 3),
    ),
    "conv2d": (
        images(lambda x: F.conv2d(x, KERNEL), 1, 4, 6),
        images(lambda x: TF.conv2d(x, torch.tensor(KERNEL)), 1, 4, 6),
    ),
}


def any_nan(*inputs):
    return np.logical_or.reduce([np.isnan(x) for x in inputs])


# name -> (reason, where values may differ, where gradients may differ for an upstream gradient u)
NOWHERE = np.bool_(False)
EXPECTED = {
    "abs": ("NaN has no sign", lambda x: NOWHERE, lambda x, u: np.isnan(x)),
    "relu": ("the gradient passes where x > 0, and NaN is not", lambda x: NOWHERE, lambda x, u: np.isnan(x)),
    "leaky_relu 0": (
        "a slope of 0 selects, as ReLU does: 0 times infinity does not become NaN",
        lambda x: np.isneginf(x),
        lambda x, u: ~(x > 0) & (not np.isfinite(u)),
    ),
    "gelu": ("its limit at infinity is infinity", lambda x: np.isposinf(x), lambda x, u: NOWHERE),
    "x ** .5": (
        "PyTorch takes the square root's slope, here it is b a^(b - 1)",
        lambda x: NOWHERE,
        lambda x, u: ((x == 0) & np.signbit(x)) | np.isneginf(x),
    ),
    "a / b": (
        "b * b overflows in PyTorch's slope -a / (b b), a / b / b does not",
        lambda a, b: NOWHERE,
        lambda a, b, u: (np.abs(b) == np.float32(1e30)) & np.isinf(u),
    ),
    "a ** b": (
        "the slope of 0 ** b is selected, not multiplied",
        lambda a, b: NOWHERE,
        lambda a, b, u: (a == 0) & ((not np.isfinite(u)) | np.isnan(b)),
    ),
    "maximum": ("NaN takes the whole gradient", lambda a, b: NOWHERE, lambda a, b, u: any_nan(a, b)),
    "minimum": ("NaN takes the whole gradient", lambda a, b: NOWHERE, lambda a, b, u: any_nan(a, b)),
    "max": (
        "the losers are selected away, not multiplied by 0, and NaN is the winner",
        lambda x: NOWHERE,
        lambda x, u: any_nan(x).any(1, keepdims=True) | (not np.isfinite(u)),
    ),
    "logsumexp": (
        "a row of -inf has slope 0",
        lambda x: NOWHERE,
        lambda x, u: np.isneginf(x).all(1, keepdims=True),
    ),
    "cross_entropy": (
        "an infinite upstream gradient is added up differently",
        lambda x: NOWHERE,
        lambda x, u: np.isinf(u),
    ),
}
EXPECTED["min"] = EXPECTED["max"]


def difference(found, expected):
    return ~np.isclose(found, np.asarray(expected.detach()), rtol=1e-5, atol=1e-6, equal_nan=True)


def assert_alike(name, ours, theirs, *inputs):
    _, value_may, gradient_may = EXPECTED.get(name, ("", lambda *x: NOWHERE, lambda *x: NOWHERE))
    for upstream in UPSTREAM:
        tensors = [Tensor(x.copy(), requires_grad=True) for x in inputs]
        twins = [torch.tensor(x, requires_grad=True) for x in inputs]
        y, twin = ours(*tensors), theirs(*twins)
        assert not (difference(y.data, twin) & ~value_may(*inputs)).any(), name
        twin.backward(torch.full_like(twin, upstream))
        gradients = grad(y, tensors, np.full(y.shape, upstream, np.float32))
        for found, other in zip(gradients, twins, strict=True):
            wrong = difference(found, other.grad) & ~gradient_may(*inputs, upstream)
            assert not wrong.any(), (
                name,
                upstream,
                [x[wrong] for x in inputs],
                found[wrong],
                other.grad[wrong],
            )


@pytest.mark.parametrize("name", UNARY)
def test_a_function_of_each_element(name):
    assert_alike(name, *UNARY[name], SPECIAL)


@pytest.mark.parametrize("name", BINARY)
def test_a_function_of_two_tensors(name):
    assert_alike(name, *BINARY[name], *PAIRS)


@pytest.mark.parametrize("name", OF_ROWS)
def test_a_function_of_rows_or_images(name):
    assert_alike(name, *OF_ROWS[name], ROWS)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_expected_difference_is_still_there(name, monkeypatch):
    inputs = [SPECIAL] if name in UNARY else PAIRS if name in BINARY else [ROWS]
    monkeypatch.delitem(EXPECTED, name)
    with pytest.raises(AssertionError):
        assert_alike(name, *{**UNARY, **BINARY, **OF_ROWS}[name], *inputs)
