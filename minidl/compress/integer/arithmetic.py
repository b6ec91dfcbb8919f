"""Arithmetic of integer inference: products of 8-bit integers, summed in 32 bits, then reduced to 8 bits.

With r ≈ S (q - Z) for inputs x and outputs y, and weights without a zero point,

    S_y (q_y - Z_y) = S_x S_w (sum (q_x - Z_x) q_w + q_bias),      q_bias = round(bias / (S_x S_w))

so that q_y = clip(round(M sum) + Z_y) with M = S_x S_w / S_y. The only real operation is one multiplication
by M for each output. The conventions are those of ONNX (QLinearConv, QLinearMatMul): M in float32, rounding
half to even, padding with Z_x, which means 0. Source: Jacob et al. 2018, section 2.2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.compress import kernels
from minidl.compress.quantize import QuantParams
from minidl.engine import jit
from minidl.engine.checks import (
    check_array,
    check_instance,
    check_int,
    positive_int,
    positive_number,
    require,
)
from minidl.engine.conv import IntOrPair, MaxPool2d, Pool2d, conv_output_size, pair

LONG_ENOUGH = 1024  # with rows of this length, the start and the end of a loop cost little

# ---- layers


def quantized_conv2d(
    qx: np.ndarray,
    x_params: QuantParams,
    qw: np.ndarray,
    w_params: QuantParams,
    qbias: np.ndarray | None,
    y_params: QuantParams | None,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> np.ndarray:
    """ONNX's QLinearConv: a convolution of integers (N, C, H, W) with integers (O, C/groups, kh, kw).

        sums = qbias[o] + sum over c, i, j of qw[o, c, i, j] (q_x - Z_x),     padding holds Z_x
        q_y = clip(rint(float32(sums) M[o]) + Z_y),     M[o] = S_x S_w[o] / S_y in float32

    qx, qw: in the dtype of x_params and w_params, 2 to 8 bits. x_params has no axis; w_params has Z = 0 and
    axis 0 or None; qw lies within -127 … 127.  qbias: int32 (O,) or None.  y_params: without an axis, at most
    8 bits; with None, the result is the sums, int32 with the scale S_x S_w.
    Returns (N, O, OH, OW).  ValueError if sums can exceed 32 bits (``accumulator_bound``).
    """
    stride, padding = pair("stride", stride, 1), pair("padding", padding, 0)
    dilation, groups = pair("dilation", dilation, 1), positive_int("groups", groups)
    qbias = check_operands(qx, x_params, qw, w_params, qbias, axes=4, groups=groups)
    M = multipliers(x_params, w_params, y_params, len(qw))
    geometry = qw.shape[2:], stride, padding, dilation
    return convolved(qx, x_params, qw, M, qbias, y_params, geometry, groups)


def convolved(
    qx: np.ndarray,
    x_params: QuantParams,
    qw: np.ndarray,
    M: np.ndarray,
    qbias: np.ndarray,
    y_params: QuantParams | None,
    geometry: tuple,
    groups: int,
) -> np.ndarray:
    """The result of the kernel for checked operands. geometry: kernel_size, stride, padding, dilation."""
    samples, out_channels, stride = len(qx), len(qw), geometry[1]
    sizes = [conv_output_size(*axis) for axis in zip(qx.shape[2:], *geometry, strict=True)]
    center = 128 if qx.dtype == np.uint8 else 0  # 0 … 255 minus 128 gives signed 8-bit integers
    products = qw[0].size
    rows = np.zeros((out_channels, products + -products % 4), np.int16)
    rows[:, :products] = qw.reshape(out_channels, products)
    qbias = qbias - (x_params.zero_point - center) * rows.sum(axis=1, dtype=np.int64)
    y = np.empty((samples, out_channels, *sizes), np.int32 if y_params is None else y_params.dtype)
    block = samples_together(samples, sizes[1] if stride[1] == 1 else 1)
    into = (M, 0, 0, 0) if y_params is None else (M, y_params.zero_point, y_params.qmin, y_params.qmax)
    arrays = np.ascontiguousarray(qx), center, x_params.zero_point, rows, qbias.astype(np.int32), into, y
    nanoseconds = y.size * (products / 20 + 1)
    geometry = (*geometry, (groups, groups))
    jit.run(nanoseconds, (kernels.int_conv2d, -(-samples // block), block, geometry, *arrays))
    return y


def samples_together(samples: int, pixels: int) -> int:
    """The number of samples in a block: enough for long loops, but with work for all threads."""
    threads = jit.num_threads()
    blocks = threads * math.ceil(samples / (threads * max(1, LONG_ENOUGH // pixels)))
    return math.ceil(samples / blocks)


def quantized_linear(
    qx: np.ndarray,
    x_params: QuantParams,
    qw: np.ndarray,
    w_params: QuantParams,
    qbias: np.ndarray | None,
    y_params: QuantParams | None,
) -> np.ndarray:
    """ONNX's QLinearMatMul with a bias: q_y = clip(rint(float32(qbias + qw (q_x - Z_x)) M) + Z_y).

    qx (N, in), qw (out, in), qbias (out,) give (N, out); the rest is as in ``quantized_conv2d``
    on images of one pixel.
    """
    qbias = check_operands(qx, x_params, qw, w_params, qbias, axes=2, groups=1)
    if y_params is None:
        pixels, weights = np.expand_dims(qx, (2, 3)), np.expand_dims(qw, (2, 3))
        return quantized_conv2d(pixels, x_params, weights, w_params, qbias, None)[:, :, 0, 0]
    multipliers(x_params, w_params, y_params, len(qw))
    x = float(x_params.scale), int(x_params.zero_point)
    y = float(y_params.scale), int(y_params.zero_point)
    return integer_linear(qx, *x, qw, w_params.scale, qbias, *y, y_params.qmin, y_params.qmax)


def integer_linear(
    qx: np.ndarray,
    S_x: float,
    Z_x: int,
    qw: np.ndarray,
    S_w: Any,
    qbias: np.ndarray,
    S_y: float,
    Z_y: int,
    qmin: int,
    qmax: int,
) -> np.ndarray:
    """A linear layer in integers. Its input, weights and output stand for the real numbers

        x = S_x (q_x - Z_x)      w[o] = S_w[o] q_w[o]      b[o] = S_x S_w[o] q_b[o]      y = S_y (q_y - Z_y)

    and y is nearly w x + b. The sum of the products and the bias is an exact integer. It is converted to
    float32 and multiplied by one real number for each output, M[o] = S_x S_w[o] / S_y. M[o] and the product
    are float32. The product is rounded half to even. In float64 it might be rounded the other way.

    qx: (N, in), qw: (O, in), both int8 or uint8.  S_w: above 0, (O,) with one scale for each output, or one
    number for all.  qbias: int32 (O,).  Z_x, Z_y, qmin, qmax: integers. A value outside qmin ... qmax is
    clipped, however large it is. Returns q_y (N, O): uint8 if qmin is at least 0, otherwise int8.
    Raises ValueError if a sum, with its bias, does not fit in 32 bits.
    Source: Jacob et al. 2018, arXiv:1712.05877, section 2.2.
    """
    # float64 holds whole numbers up to 2^53 exactly, and NumPy multiplies floats faster than integers
    steps = qx.astype(np.float64) - Z_x
    sums = steps @ qw.astype(np.float64).T + qbias
    fits = np.all((sums >= -(2**31)) & (sums < 2**31))
    require(bool(fits), "a sum of products does not fit in 32 bits")
    S_w = np.asarray(S_w, np.float32)
    M = np.float32(S_x) * S_w / np.float32(S_y)
    rounded = np.rint(sums.astype(np.float32) * M)
    q = np.clip(rounded + Z_y, qmin, qmax)
    kind = np.uint8 if qmin >= 0 else np.int8
    return q.astype(kind)


def multipliers(
    x_params: QuantParams, w_params: QuantParams, y_params: QuantParams | None, outputs: int
) -> np.ndarray:
    """M = S_x S_w / S_y in float32 (O,); empty without y_params."""
    if y_params is None:
        return np.zeros(0, np.float32)
    check_params("y_params", y_params)
    with np.errstate(over="ignore"):
        M = np.full(outputs, x_params.scale * w_params.scale / y_params.scale, np.float32)
    require(np.isfinite(M).all(), "S_x S_w / S_y is too large for float32")
    return M


def integer_max_pool2d(
    qx: np.ndarray, kernel_size: IntOrPair, stride: IntOrPair | None = None, padding: IntOrPair = 0
) -> np.ndarray:
    """The largest integer of each window: also the largest real, because S > 0. Padding never wins."""
    kind = getattr(qx, "dtype", type(qx).__name__)
    require(kind in (np.int8, np.uint8), f"qx must be an array of int8 or uint8, got {kind}", TypeError)
    return MaxPool2d(kernel_size, stride, padding).forward(qx.astype(np.float32)).astype(kind)


def integer_avg_pool2d(
    qx: np.ndarray,
    x_params: QuantParams,
    y_params: QuantParams,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
) -> np.ndarray:
    """The mean of each window of n pixels: requantize(sum (q_x - Z_x), M), M = S_x / (n S_y) in float32.

    Padding holds Z_x, which means 0, and counts. The sums are a depthwise convolution with ones.
    """
    channels = check_integers("qx", qx, check_params("x_params", x_params), axes=4).shape[1]
    check_params("y_params", y_params)
    geometry = *Pool2d(kernel_size, stride, padding).geometry, (1, 1)
    ones, no_bias = np.ones((channels, 1, *geometry[0]), np.int8), np.zeros(channels, np.int32)
    M = np.full(channels, x_params.scale / (np.float32(ones[0].size) * y_params.scale), np.float32)
    return convolved(qx, x_params, ones, M, no_bias, y_params, geometry, channels)


def quantized_add(
    qa: np.ndarray, a_params: QuantParams, qb: np.ndarray, b_params: QuantParams, y_params: QuantParams
) -> np.ndarray:
    """q_y = clip(rint((q_a - Z_a) S_a / S_y + (q_b - Z_b) S_b / S_y) + Z_y), in float32.

    The two inputs have different grids, so each is multiplied by its own scale (Jacob et al. 2018, appendix
    A.2).
    """
    check_params("y_params", y_params)
    check_integers("qa", qa, check_params("a_params", a_params))
    check_integers("qb", qb, check_params("b_params", b_params))
    require(qa.shape == qb.shape, f"only integers of one shape can be added, got {qa.shape} and {qb.shape}")
    total = np.zeros(qa.shape, np.float32)
    for q, params in ((qa, a_params), (qb, b_params)):
        total += (q.astype(np.int32) - params.zero_point).astype(np.float32) * (params.scale / y_params.scale)
    return to_integers(total, np.float32(1), y_params)


# ---- from sums to integers of 8 bits


def requantize(sums: Any, M: Any, y_params: QuantParams) -> np.ndarray:
    """clip(rint(float32(sums) M) + Z_y, qmin, qmax) in the dtype of y_params; M float32, above 0, of a
    shape that broadcasts to that of sums."""
    sums, given = check_array("sums", sums, empty=True), check_array("M", M)
    with np.errstate(over="ignore"):
        M = given.astype(np.float32)
    require(((M > 0) & np.isfinite(M)).all(), "M must be above 0 and finite as a float32")
    fits = M.ndim <= sums.ndim and all(
        m in (1, n) for m, n in zip(M.shape[::-1], sums.shape[::-1], strict=False)
    )
    require(fits, f"M must broadcast to sums {sums.shape}, got {M.shape}")
    return to_integers(sums, M, check_params("y_params", y_params))


def to_integers(sums: np.ndarray, M: Any, y_params: QuantParams) -> np.ndarray:
    rounded = np.rint(sums.astype(np.float32) * M)
    low, high = y_params.qmin - y_params.zero_point, y_params.qmax - y_params.zero_point
    return (np.clip(rounded, low, high).astype(np.int32) + y_params.zero_point).astype(y_params.dtype)


def fixed_point_multiplier(M: float) -> tuple[int, int]:
    """(m, shift) with M ≈ m 2^(shift - 31) and 2^30 <= m < 2^31: the form of M for processors without floats.

    M: finite, above 0. Source: gemmlowp, QuantizeMultiplier of TensorFlow Lite.
    """
    fraction, shift = math.frexp(positive_number("M", M))
    m = round(fraction * 2**31)
    return (m, shift) if m < 2**31 else (m // 2, shift + 1)


def fixed_point_multiply(sums: Any, m: int, shift: int) -> np.ndarray:
    """round(sums m 2^(shift - 31)) with integers alone, as gemmlowp does it, for sums of 32 bits.

        high = round(sums m / 2^(31 - max(shift, 0)))        result = round(high / 2^max(-shift, 0))

    It rounds twice: first a half goes up, towards +infinity (SaturatingRoundingDoublingHighMul), then a half
    goes away from zero (RoundingDivideByPOT). ``requantize`` rounds once, half to even. For
    results that fit in 8 bits, fewer than 1 in 1000 differ at M = 1/1000, but 1 in 4 at M = 1/4.

    sums: integers within ±2^31.  m: 0 ... 2^31 - 1.  shift: at most 31.  Returns int64.
    """
    sums = check_array("sums", sums, kind="integer", empty=True, low=-(2**31), high=2**31).astype(np.int64)
    check_int("m", m, 0, 2**31 - 1)
    check_int("shift", shift, -(10**6), 31)
    exponent = 31 - max(shift, 0)
    high = (sums * m + ((1 << exponent) >> 1)) >> exponent  # the product lies within ±2^62
    exponent = min(max(-shift, 0), 62)  # |high| <= 2^31, so larger shifts also give 0
    return np.sign(high) * ((np.abs(high) + ((1 << exponent) >> 1)) >> exponent)


# ---- bounds


def accumulator_bound(
    x_params: QuantParams, w_params: QuantParams, products: int, largest_bias: int = 0
) -> int:
    """The bound of |sum| for this number of products: products max |q_x - Z_x| max |q_w| + |q_bias|.

    A sum has C/groups kh kw products. q_x may be any integer of its dtype.
    """
    lowest = 0 if x_params.dtype.kind == "u" else -128
    Z = int(x_params.zero_point)
    reach = max(lowest + 255 - Z, Z - lowest)
    return products * reach * max(w_params.qmax, -w_params.qmin) + largest_bias


# ---- checks


def check_operands(
    qx: Any, x_params: Any, qw: Any, w_params: Any, qbias: Any, axes: int, groups: int
) -> np.ndarray:
    """Check the operands. Returns qbias (O,), with zeros for None."""
    check_integers("qx", qx, check_params("x_params", x_params), axes)
    outputs = len(qw) if isinstance(qw, np.ndarray) and qw.ndim else 1
    check_integers("qw", qw, check_params("w_params", w_params, outputs), axes)
    fits = not qx.shape[1] % groups and not outputs % groups and qw.shape[1] == qx.shape[1] // groups
    require(fits, f"qw {qw.shape} does not fit qx {qx.shape} in {groups} groups")
    qbias = np.zeros(outputs, np.int32) if qbias is None else check_instance("qbias", qbias, np.ndarray)
    is_bias = qbias.dtype == np.int32 and qbias.shape == (outputs,)
    require(is_bias, f"qbias must be int32 ({outputs},), got {qbias.dtype} {qbias.shape}")
    within = qw.max() <= w_params.qmax and qw.min() >= max(w_params.qmin, -127)
    within = within and not np.any(w_params.zero_point)
    require(within, "weights must be within [qmin, qmax] of w_params and -127 … 127, with zero point 0")
    check_sums(x_params, w_params, qw[0].size, qbias)
    return qbias


def check_sums(x_params: QuantParams, w_params: QuantParams, products: int, qbias: np.ndarray) -> None:
    bound = accumulator_bound(x_params, w_params, products, int(np.abs(qbias.astype(np.int64)).max()))
    require(bound < 2**31, f"sums of {products} products might reach {bound}: 32 bits hold up to 2^31 - 1")


def check_params(name: str, params: Any, channels: int | None = None) -> QuantParams:
    """QuantParams of at most 8 bits with one scale; for weights also with one for each of ``channels``."""
    check_instance(name, params, QuantParams)
    require(params.dtype.itemsize == 1, f"{name} must have at most 8 bits, got {params.bits}")
    per_channel = channels and params.axis == 0 and len(params.scale) == channels
    wanted = f"one scale or {channels} along axis 0" if channels else "one scale for all"
    require(params.axis is None or per_channel, f"{name} must have {wanted}, got axis {params.axis}")
    return params


def check_integers(name: str, q: Any, params: QuantParams, axes: int = 0) -> np.ndarray:
    """The integers as an array. It must have the dtype of its parameters, and so many axes if not 0."""
    kind, wanted = str(getattr(q, "dtype", type(q).__name__)), str(params.dtype)
    is_array = isinstance(q, np.ndarray) and kind == wanted
    require(is_array, f"{name} must be an array of {wanted} for these parameters, got {kind}", TypeError)
    fits = axes == 0 or (q.ndim == axes and q.size > 0)
    require(fits, f"{name} must have {axes} axes, each at least 1 long, got {q.shape}")
    return q
