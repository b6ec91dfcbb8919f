"""Each operation of the engine, method and function of F beside PyTorch's, as functions of special values."""

import numpy as np
from against_torch import torch

import minidl
import minidl.nn.functional as F
from minidl import Tensor

TF = torch.nn.functional

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
LABELS, TARGET = [0, 1, 2, 0, 1, 2, 0, 1], np.tile([0, 1, 0.5], (8, 1)).astype(np.float32)
ONES, ZEROS, W = np.ones(3, np.float32), np.zeros(3, np.float32), np.float32([[1], [0], [-1]])
KERNEL = np.float32([[[[1, 0], [2, -1]]]])


def images(name, shape, *arguments, **settings):
    """F.name of images (1, *shape), in both libraries."""

    def function(library):
        return lambda x: getattr(library, name)(x.reshape(1, *shape), *arguments, **settings)

    return function(F), function(TF)


def kernels(x_shape, weight_shape, padding=0, groups=1):
    """A convolution of the first numbers of a; each filter repeats one number of b."""
    filters, taps = weight_shape[0], int(np.prod(weight_shape[1:]))

    def function(library):
        def conv(a, b):
            x, weight = a[: int(np.prod(x_shape))], b.reshape(11, 11)[:filters, :taps]
            weight = weight.reshape(weight_shape)
            return library.conv2d(x.reshape(x_shape), weight, None, 1, padding, 1, groups)

        return conv

    return function(F), function(TF)


def both(name, **settings):
    """F.name of two tensors, in both libraries."""
    return lambda a, b: getattr(F, name)(a, b, **settings), lambda a, b: getattr(TF, name)(a, b, **settings)


def square(x):
    """a has the special values in each row, b one of them in each row."""
    return x.reshape(11, 11)


def loss(name, target, *, dtype=torch.float32, **settings):
    """F.name of rows and the target, a loss for each row."""
    twins = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    return (
        lambda x: getattr(F, name)(x, target, reduction="none", **settings),
        lambda x: getattr(TF, name)(x, torch.tensor(target, dtype=dtype), reduction="none", **twins),
    )


UNARY = {
    "-x": (lambda x: -x, lambda x: -x),
    "abs": (Tensor.abs, torch.abs),
    "exp": (Tensor.exp, torch.exp),
    "log": (Tensor.log, torch.log),
    "sqrt": (Tensor.sqrt, torch.sqrt),
    "root": (Tensor.root, torch.sqrt),
    "sin": (Tensor.sin, torch.sin),
    "cos": (Tensor.cos, torch.cos),
    "tanh": (Tensor.tanh, torch.tanh),
    "F.tanh": (F.tanh, TF.tanh),
    "sigmoid": (Tensor.sigmoid, torch.sigmoid),
    "F.sigmoid": (F.sigmoid, TF.sigmoid),
    "relu": (Tensor.relu, torch.relu),
    "F.relu": (F.relu, TF.relu),
    "relu6": (F.relu6, TF.relu6),
    "leaky_relu": (lambda x: x.leaky_relu(0.1), lambda x: TF.leaky_relu(x, 0.1)),
    "leaky_relu 0": (lambda x: x.leaky_relu(0.0), lambda x: TF.leaky_relu(x, 0.0)),
    "F.leaky_relu": (F.leaky_relu, TF.leaky_relu),
    "gelu": (Tensor.gelu, TF.gelu),
    "F.gelu": (F.gelu, TF.gelu),
    "gelu tanh": (lambda x: F.gelu(x, "tanh"), lambda x: TF.gelu(x, approximate="tanh")),
    "silu": (F.silu, TF.silu),
    "hardsigmoid": (F.hardsigmoid, TF.hardsigmoid),
    "hardswish": (F.hardswish, TF.hardswish),
    "elu": (F.elu, TF.elu),
    "elu 0": (lambda x: F.elu(x, 0), lambda x: TF.elu(x, 0)),
    "softplus": (F.softplus, TF.softplus),
    "softplus 2": (lambda x: F.softplus(x, 2, 1), lambda x: TF.softplus(x, 2, 1)),
    "dropout": (lambda x: F.dropout(x, 0.5, False), lambda x: TF.dropout(x, 0.5, False)),
    "dropout 1": (lambda x: F.dropout(x, 1.0), lambda x: TF.dropout(x, 1.0)),
    "dropout2d": images("dropout2d", (11, 1, 1), 0.5, False),
    "clip": (lambda x: x.clip(-1, 3), lambda x: torch.clip(x, -1, 3)),
    "clip low": (lambda x: x.clip(low=0), lambda x: x.clip(0)),
    "astype": (lambda x: x.astype(np.float64), lambda x: x.double()),
    "x ** 3": (lambda x: x**3, lambda x: x**3),
    "x ** 2": (lambda x: x**2, lambda x: x**2),
    "x ** 1.5": (lambda x: x**1.5, lambda x: x**1.5),
    "x ** .5": (lambda x: x**0.5, lambda x: x**0.5),
    "x ** 0": (lambda x: x**0, lambda x: x**0),
    "x ** -.5": (lambda x: x**-0.5, lambda x: x**-0.5),
    "x ** -1": (lambda x: x**-1, lambda x: x**-1),
    "1 / x": (lambda x: 1 / x, lambda x: 1 / x),
    "2 ** x": (lambda x: 2**x, lambda x: 2**x),
    "0 ** x": (lambda x: 0**x, lambda x: 0**x),
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
    "stack": (lambda a, b: minidl.stack([a, b]), lambda a, b: torch.stack([a, b])),
    "matmul": (lambda a, b: square(a).T @ square(b).T, lambda a, b: square(a).T @ square(b).T),
    "einsum": (
        lambda a, b: minidl.einsum("ji,kj->ik", square(a), square(b)),
        lambda a, b: torch.einsum("ji,kj->ik", square(a), square(b)),
    ),
    "linear": (
        lambda a, b: F.linear(square(a).T, square(b), b[::11]),
        lambda a, b: TF.linear(square(a).T, square(b), b[::11]),
    ),
    "conv2d": kernels((1, 1, 11, 11), (11, 1, 2, 2)),
    "conv2d padded": kernels((1, 1, 11, 11), (11, 1, 2, 2), padding=1),
    "conv2d of 1 x 1": kernels((1, 11, 11, 1), (11, 11, 1, 1)),
    "conv2d of few pixels": kernels((1, 11, 2, 2), (11, 11, 1, 1), padding=1),
    "conv2d of groups": kernels((1, 10, 11, 1), (10, 5, 2, 1), groups=2),
    "conv2d of one channel": kernels((1, 11, 11, 1), (11, 1, 3, 1), groups=11),
    "batch_norm": (
        lambda a, b: F.batch_norm(a.reshape(1, -1), np.zeros(121), np.ones(121), b, b),
        lambda a, b: TF.batch_norm(a.reshape(1, -1), torch.zeros(121), torch.ones(121), b, b),
    ),
    "mse": both("mse_loss", reduction="none"),
    "l1": both("l1_loss", reduction="none"),
    "smooth_l1": both("smooth_l1_loss", reduction="none"),
    "smooth_l1 .5": both("smooth_l1_loss", reduction="none", beta=0.5),
    "smooth_l1 0": both("smooth_l1_loss", reduction="none", beta=0.0),
}
OF_ROWS = {
    "sum": (lambda x: x.sum(1), lambda x: x.sum(1)),
    "mean": (lambda x: x.mean(1), lambda x: x.mean(1)),
    "prod": (lambda x: x.prod(1), lambda x: x.prod(1)),
    "cumsum": (lambda x: x.cumsum(1), lambda x: x.cumsum(1)),
    "var": (lambda x: x.var(1), lambda x: x.var(1, correction=0)),
    "std": (lambda x: x.std(1, keepdims=True), lambda x: x.std(1, correction=0, keepdim=True)),
    "norm 1": (lambda x: x.norm(1, 1), lambda x: x.norm(1, 1)),
    "norm 2": (lambda x: x.norm(2, 1), lambda x: x.norm(2, 1)),
    "norm inf": (lambda x: x.norm(np.inf, 1), lambda x: x.norm(np.inf, 1)),
    "max": (lambda x: x.max(axis=1), lambda x: x.amax(1)),
    "min": (lambda x: x.min(axis=1), lambda x: x.amin(1)),
    "logsumexp": (lambda x: x.logsumexp(1), lambda x: x.logsumexp(1)),
    "softmax": (lambda x: x.softmax(1), lambda x: x.softmax(1)),
    "F.softmax": (lambda x: F.softmax(x, 0), lambda x: TF.softmax(x, 0)),
    "log_softmax": (lambda x: x.log_softmax(1), lambda x: x.log_softmax(1)),
    "F.log_softmax": (lambda x: F.log_softmax(x, 0), lambda x: TF.log_softmax(x, 0)),
    "cross_entropy": loss("cross_entropy", LABELS, dtype=torch.int64),
    "cross_entropy weight": loss(
        "cross_entropy", LABELS, dtype=torch.int64, weight=np.float32([1, 2, 0]), label_smoothing=0.1
    ),
    "cross_entropy rows": loss("cross_entropy", np.tile(np.float32([0, 0.5, 0.5]), (8, 1))),
    "nll_loss": loss("nll_loss", LABELS, dtype=torch.int64),
    "binary_cross_entropy": loss("binary_cross_entropy_with_logits", TARGET),
    "pos_weight": loss("binary_cross_entropy_with_logits", TARGET, pos_weight=np.float32([3])),
    "index": (lambda x: x[:, [0, 0, 2]], lambda x: x[:, [0, 0, 2]]),
    "transpose": (lambda x: x.T, lambda x: x.T),
    "reshape": (lambda x: x.reshape(3, 8), lambda x: x.reshape(3, 8)),
    "squeeze": (lambda x: x.expand_dims(1).squeeze(1), lambda x: x.unsqueeze(1).squeeze(1)),
    "broadcast_to": (lambda x: x.broadcast_to(2, 8, 3), lambda x: x.expand(2, 8, 3)),
    "concatenate": (lambda x: minidl.concatenate([x, x]), lambda x: torch.cat([x, x])),
    "pad": (lambda x: F.pad(x, (1, 1)), lambda x: TF.pad(x, (1, 1))),
    "matmul of 0": (lambda x: x @ W, lambda x: x @ torch.tensor(W)),
    "linear of 0": (lambda x: F.linear(x, W.T), lambda x: TF.linear(x, torch.tensor(W.T))),
    "batch_norm of 1": (
        lambda x: F.batch_norm(x, ZEROS, ONES),
        lambda x: TF.batch_norm(x, torch.tensor(ZEROS), torch.tensor(ONES)),
    ),
    "batch_norm training": (
        lambda x: F.batch_norm(x.T, None, None, training=True).T,
        lambda x: TF.batch_norm(x.T, None, None, training=True).T,
    ),
    "layer_norm": (lambda x: F.layer_norm(x, 3), lambda x: TF.layer_norm(x, (3,))),
    "group_norm": (
        lambda x: F.group_norm(x[..., None], 1).reshape(8, 3),
        lambda x: TF.group_norm(x[..., None], 1).reshape(8, 3),
    ),
    "max_pool2d": images("max_pool2d", (1, 4, 6), 2),
    "max_pool2d padded": images("max_pool2d", (1, 4, 6), 3, 1, 1),
    "avg_pool2d": images("avg_pool2d", (1, 4, 6), 2),
    "avg_pool2d padded": images("avg_pool2d", (1, 4, 6), 2, None, 1, False, False),
    "adaptive_avg_pool2d": images("adaptive_avg_pool2d", (2, 4, 3), 1),
    "adaptive_avg_pool2d 2 x 3": images("adaptive_avg_pool2d", (1, 4, 6), (2, 3)),
    "nearest": images("interpolate", (1, 4, 6), scale_factor=2),
    "bilinear": images("interpolate", (1, 4, 6), (2, 3), mode="bilinear"),
    "conv2d of 0": (
        lambda x: F.conv2d(x.reshape(1, 1, 4, 6), KERNEL),
        lambda x: TF.conv2d(x.reshape(1, 1, 4, 6), torch.tensor(KERNEL)),
    ),
}


# ---- where both differ on purpose


def nowhere(*inputs):
    return np.bool_(False)


def any_nan(*inputs):
    return np.logical_or.reduce([np.isnan(x) for x in inputs])


def of_nan(*inputs_and_upstream):
    return any_nan(*inputs_and_upstream[:-1])


def difference_is_nan(a, b, u):
    return np.isnan(a - b)


def huge_rows(x, *upstream):
    """The rows whose squares overflow float32."""
    return (np.abs(x) == np.float32(1e30)).any(1, keepdims=True)


# name -> (reason, where values may differ, where gradients may differ for an upstream gradient u)
OVERFLOW = ("1e30 squared overflows float32; PyTorch adds in float64, or gives NaN", huge_rows, huge_rows)
EXPECTED = {
    "abs": ("NaN has no sign", nowhere, of_nan),
    "relu": ("the gradient passes where x > 0, and NaN is not", nowhere, of_nan),
    "hardswish": (
        "its limit at -infinity is 0; the gradient passes where x > -3, and NaN is not",
        lambda x: np.isinf(x),
        of_nan,
    ),
    "elu": ("NaN has no slope", nowhere, of_nan),
    "leaky_relu 0": (
        "a slope of 0 selects, as ReLU does: 0 times infinity does not become NaN",
        lambda x: np.isneginf(x),
        lambda x, u: ~(x > 0) & (not np.isfinite(u)),
    ),
    "gelu": ("at infinities it has its limits, x and 0", lambda x: np.isinf(x), lambda x, u: np.isinf(x)),
    "silu": ("at infinities it has its limits, x and 0", lambda x: np.isinf(x), lambda x, u: np.isinf(x)),
    "gelu tanh": (
        "beyond 10 it is x or 0, so no cube overflows",
        lambda x: np.isinf(x),
        lambda x, u: np.abs(x) > 10,
    ),
    "dropout 1": (
        "what is dropped is selected away, not multiplied by 0",
        lambda x: ~np.isfinite(x),
        lambda x, u: not np.isfinite(u),
    ),
    "root": ("its slope at 0 is 0", nowhere, lambda x, u: x == 0),
    "x ** .5": (
        "PyTorch takes the square root's slope, here it is b a^(b - 1)",
        nowhere,
        lambda x, u: ((x == 0) & np.signbit(x)) | np.isneginf(x),
    ),
    "x ** -.5": (
        "PyTorch takes 1 / sqrt(x), here it is C's pow",
        lambda x: ((x == 0) & np.signbit(x)) | np.isneginf(x),
        nowhere,
    ),
    "0 ** x": (
        "the slope of 0 ** x is selected, not multiplied",
        nowhere,
        lambda x, u: np.isnan(x) | (not np.isfinite(u)),
    ),
    "a ** b": (
        "the slope of 0 ** b is selected, not multiplied",
        nowhere,
        lambda a, b, u: (a == 0) & ((not np.isfinite(u)) | np.isnan(b)),
    ),
    "maximum": ("NaN takes the whole gradient", nowhere, of_nan),
    "conv2d of one channel": (
        "the kernel pads with 0, and an infinite weight times 0 is NaN",
        nowhere,
        lambda a, b, u: np.isinf(b),
    ),
    "batch_norm": (
        "it is (x - mean) weight; PyTorch also takes 0 times the weight",
        lambda a, b: np.isinf(b)[None],
        nowhere,
    ),
    "l1": ("NaN has no sign", nowhere, difference_is_nan),
    "std": OVERFLOW,
    "layer_norm": OVERFLOW,
    "batch_norm training": OVERFLOW,
    "norm 2": (
        "its slope at 0 is selected, not multiplied",
        nowhere,
        lambda x, u: (x == 0).all(1, keepdims=True),
    ),
    "max": (
        "the losers are selected away, not multiplied by 0, and NaN is the winner",
        nowhere,
        lambda x, u: any_nan(x).any(1, keepdims=True) | (not np.isfinite(u)),
    ),
    "logsumexp": (
        "a row of -inf has slope 0",
        nowhere,
        lambda x, u: np.isneginf(x).all(1, keepdims=True),
    ),
    "cross_entropy": (
        "an infinite upstream gradient is added up differently",
        nowhere,
        lambda x, u: np.isinf(u),
    ),
    "cross_entropy rows": (
        "0 log 0 is 0",
        lambda x: np.isneginf(x).any(1),
        lambda x, u: np.isinf(u) | np.isneginf(x).any(1, keepdims=True),
    ),
}
LIKE = {
    **dict.fromkeys(["F.relu", "relu6"], "relu"),
    **dict.fromkeys(["norm 1"], "abs"),
    **dict.fromkeys(["norm inf", "min"], "max"),
    **{"elu 0": "elu", "F.gelu": "gelu", "minimum": "maximum", "smooth_l1 0": "l1"},
    **{"cross_entropy weight": "cross_entropy", "group_norm": "layer_norm"},
}
EXPECTED |= {name: EXPECTED[like] for name, like in LIKE.items()}
