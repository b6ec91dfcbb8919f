"""Quantization: real numbers as integers of few bits, r ≈ S (Q - Z), with a scale S and a zero point Z.

The conventions are ONNX's (QuantizeLinear): divide by S in float32, round half to even, then add Z, then clip
to [qmin, qmax], and only then cast. PyTorch's ``quantize_per_tensor`` multiplies by 1/S and rounds after
adding Z, so ties can differ by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.engine.checks import (
    check_array,
    check_flag,
    check_instance,
    check_int,
    number_array,
    require,
    shown,
)
from minidl.engine.op import Op
from minidl.engine.tensor import Tensor, apply

TINY = np.finfo(np.float32).tiny
LARGEST_BIAS = 2**30  # half of the range of 32 bits; the other half is for the products


@dataclass(frozen=True, eq=False)
class QuantParams:
    """The map from reals to integers in [qmin, qmax] and back:  Q = clip(round(r / S) + Z),  r ≈ S (Q - Z).

    scale: S > 0, a float32; per channel float32 (channels,).  zero_point: Z, an int; per channel an int or
    int32 (channels,).  axis: the channel axis of the arrays to quantize; None for a single
    scale.
    """

    scale: np.ndarray | np.float32
    zero_point: np.ndarray | int
    qmin: int
    qmax: int
    axis: int | None = None

    def __post_init__(self) -> None:
        check_int("qmin", self.qmin, -(2**15), 2**16 - 2)
        check_int("qmax", self.qmax, self.qmin + 1, 2**15 - 1 if self.qmin < 0 else 2**16 - 1)
        Z = check_array("zero_point", self.zero_point, kind="integer", low=self.qmin, high=self.qmax)
        S = number_array("scale", self.scale).astype(np.float32)
        positive = S.size and np.isfinite(S).all() and (S > 0).all()
        require(positive, f"scale must be finite and above 0, got {shown(self.scale)}")
        if self.axis is not None:
            check_int("axis", self.axis, 0)
        fits = S.ndim == (self.axis is not None) and Z.shape in ((), S.shape)
        with np.errstate(over="ignore"):  # a range too wide for float32 overflows to infinity
            spans = np.isfinite(np.float32(self.qmax - self.qmin) * S).all()
        require(spans, "the range is too wide for float32")
        wanted = (
            "one number each; with an axis, scale must be (channels,), and zero_point an int or (channels,)"
        )
        got = f"{S.shape} and {Z.shape} for axis {self.axis}"
        require(fits, f"scale and zero_point must be {wanted}: got {got}")
        object.__setattr__(self, "scale", S[()])  # [()] makes a number of an array of shape ()
        object.__setattr__(self, "zero_point", Z.astype(np.int32) if Z.ndim else int(Z))

    @property
    def bits(self) -> int:
        """The number of bits of an integer in [qmin, qmax]."""
        return int(self.qmax - self.qmin).bit_length()

    @property
    def dtype(self) -> np.dtype:
        """The smallest integer type that holds [qmin, qmax]: unsigned if qmin is not negative."""
        if self.qmin < 0:
            return np.dtype(np.int8 if self.qmin >= -128 and self.qmax <= 127 else np.int16)
        return np.dtype(np.uint8 if self.qmax <= 255 else np.uint16)

    def aligned(self, shape: tuple[int, ...]) -> tuple[Any, Any]:
        """Scale and zero point in a shape that broadcasts against an array of ``shape``."""
        if self.axis is None:
            return self.scale, self.zero_point
        expected = f"arrays of {np.size(self.scale)} channels along axis {self.axis}"
        fits = shape[self.axis : self.axis + 1] == self.scale.shape
        require(fits, f"the parameters are for {expected}, got {shape}")
        along = [-1 if i == self.axis else 1 for i in range(len(shape))]
        Z = self.zero_point if isinstance(self.zero_point, int) else self.zero_point.reshape(along)
        return self.scale.reshape(along), Z


# ---- choosing S and Z


def integer_range(bits: int, signed: bool = True, *, restricted: bool = False) -> tuple[int, int]:
    """(qmin, qmax) of integers of 2 to 16 bits; restricted omits the lowest, so that qmin = -qmax."""
    bits = check_int("bits", bits, 2, 16)
    if not signed:
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)) + int(restricted), 2 ** (bits - 1) - 1


def affine_scale(rmin: Any, rmax: Any, qmin: int, qmax: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point that map [rmin, rmax], widened to contain 0, onto the integers qmin … qmax.

        S = (rmax - rmin) / (qmax - qmin)        Z = round(qmin - rmin / S)

    round takes halves to even. S is a float32, also in the formula of Z; all else is in float64. Where S
    would be below the smallest normal float32, ``TINY``, it is 1. rmax - rmin may be too large for float32.
    rmin and rmax are numbers, or arrays, which give an S and a Z for each pair. Z is an int32. Returns S, Z.
    """
    low = np.minimum(np.asarray(rmin, np.float64), 0.0)
    high = np.maximum(np.asarray(rmax, np.float64), 0.0)
    S = np.asarray((high - low) / (qmax - qmin), np.float32)
    S = np.where(S < TINY, np.float32(1), S)
    Z = np.rint(qmin - low / S).astype(np.int32)
    return S, Z


def symmetric_params(absmax: Any, bits: int = 8, axis: int | None = None) -> QuantParams:
    """Parameters with Z = 0 for reals in [-absmax, absmax].

        S = absmax / qmax        Q in -qmax … qmax,  qmax = 2^(bits-1) - 1

    The lowest integer, -qmax - 1, is not used, so that the range is the same on both sides of 0.

    absmax: at least 0 and finite; with ``axis`` an array (channels,).  bits: 2 … 16.
    """
    qmin, qmax = integer_range(bits, restricted=True)
    absmax = check_ends("absmax", absmax, axis, low=0)
    S = np.asarray(absmax / qmax, np.float32)
    return QuantParams(np.where(S < TINY, np.float32(1), S), 0, qmin, qmax, axis)


def affine_params(
    rmin: Any, rmax: Any, bits: int = 8, signed: bool = True, axis: int | None = None
) -> QuantParams:
    """Parameters that map the real range [rmin, rmax] onto all 2^bits integers.

        S = (rmax - rmin) / (qmax - qmin)        Z = round(qmin - rmin / S)

    The range is first widened to contain 0, so that 0.0 is exactly representable (Jacob et al. 2018,
    section 2.1). Rounding Z moves the range by up to S / 2.

    rmin, rmax: finite, rmin <= rmax; with ``axis`` arrays (channels,).  bits: 2 … 16.
    signed: integers from -2^(bits-1), otherwise from 0.
    """
    qmin, qmax = integer_range(bits, check_flag("signed", signed))
    rmin, rmax = check_ends("rmin", rmin, axis), check_ends("rmax", rmax, axis)
    fits = rmin.shape == rmax.shape and (rmin <= rmax).all()
    got = f"{shown(rmin.tolist())} and {shown(rmax.tolist())}"
    require(fits, f"rmin must be at most rmax, and of its shape, got {got}")
    return QuantParams(*affine_scale(rmin, rmax, qmin, qmax), qmin, qmax, axis)


def channel_absmax(r: Any, axis: int | None = None) -> np.ndarray:
    """max |r| over all of r, or with ``axis`` over each channel: (channels,)."""
    r = check_reals("r", check_array("r", r, finite=False))
    if axis is None:
        return np.abs(r).max()
    check_int("axis", axis, 0, r.ndim - 1)
    return np.abs(r).max(axis=tuple(i for i in range(r.ndim) if i != axis))


# ---- there and back


def round_to_integers(r: np.ndarray, S: Any, Z: Any, qmin: int, qmax: int) -> np.ndarray:
    """Q = clip(round(r / S) + Z, qmin, qmax), as whole numbers in float32. round takes halves to even.

    S and Z are numbers, or arrays that broadcast to r's shape. r and S are converted to float32, and r / S is
    computed in float32. An r or a quotient that is infinite there is clipped without a warning.
    """
    with np.errstate(over="ignore"):  # a value that overflows is out of range anyway
        steps = np.rint(np.asarray(r, np.float32) / np.asarray(S, np.float32))
    return np.clip(steps + np.float32(Z), qmin, qmax)


def quantize(r: Any, params: QuantParams) -> np.ndarray:
    """Q = clip(round(r / S) + Z, qmin, qmax), as ``params.dtype`` in the shape of ``r``.

    Infinities saturate.  ValueError for a NaN, or if the channels of r do not fit ``params``.
    """
    r = check_reals("r", r)
    S, Z = check_instance("params", params, QuantParams).aligned(r.shape)
    return round_to_integers(r, S, Z, params.qmin, params.qmax).astype(params.dtype)


def dequantize(q: Any, params: QuantParams) -> np.ndarray:
    """r = S (Q - Z), as float32 in the shape of ``q``."""
    q = check_array("q", q, kind="integer", empty=True)
    S, Z = check_instance("params", params, QuantParams).aligned(q.shape)
    return S * (q.astype(np.int32) - Z).astype(np.float32)


def quantize_layer(
    weight: np.ndarray,
    bias: np.ndarray | None,
    x_params: QuantParams,
    bits: int = 8,
    per_channel: bool = True,
) -> tuple[np.ndarray, QuantParams, np.ndarray]:
    """q_w, its parameters and q_bias of a layer whose input has x_params.

        S_w = max |w| / qmax, of each output channel or of all        q_bias = round(bias / (S_x S_w))

    bits: 2 … 8. If |q_bias| would exceed 2^30, S_w is increased to |bias| / (2^30 S_x).
    """
    check_instance("x_params", x_params, QuantParams)
    check_int("bits", bits, 2, 8)
    w_params = weight_params(weight, bias, x_params, bits, check_flag("per_channel", per_channel))
    qbias = np.zeros(len(weight), np.int32)
    if bias is not None:
        steps = np.asarray(bias, np.float64) / (np.float64(x_params.scale) * w_params.scale)
        qbias = np.clip(np.rint(steps), -LARGEST_BIAS, LARGEST_BIAS).astype(np.int32)
    return quantize(weight, w_params), w_params, qbias


def weight_params(
    weight: np.ndarray, bias: np.ndarray | None, x_params: QuantParams | None, bits: int, per_channel: bool
) -> QuantParams:
    """S_w of ``quantize_layer``. Without x_params the bias stays a float and does not change S_w."""
    axis = 0 if per_channel else None
    absmax = channel_absmax(weight, axis).astype(np.float64)
    if bias is not None and x_params is not None:
        least = (
            integer_range(bits)[1]
            * np.abs(np.asarray(bias, np.float64))
            / (LARGEST_BIAS * float(x_params.scale))
        )
        absmax = np.maximum(absmax, least if per_channel else least.max())
    return symmetric_params(absmax, bits, axis)


class FakeQuantize(Op):
    """y = S (Q - Z),  Q = clip(round(x / S) + Z, qmin, qmax): floats with few different values.

    The true dy/dx is 0 almost everywhere, so nothing could be learned. The straight-through estimator
    replaces rounding by the identity: dy/dx = 1 where round(x / S) + Z lies within [qmin, qmax], 0 where it
    was clipped (Bengio et al. 2013, arXiv:1308.3432). The rounded integer is compared with the range, not x.
    round takes halves to even. S and Z are numbers, or arrays that broadcast to x's shape. x and S are
    converted to float32, and x / S is computed in float32; y has the dtype of x. An x or a quotient that is
    infinite in float32 is clipped without a warning. Where x was clipped, the gradient is 0, even if the
    incoming gradient is infinite.
    """

    def __init__(self, S: Any, Z: Any, qmin: int, qmax: int) -> None:
        self.S, self.Z, self.qmin, self.qmax = np.asarray(S, np.float32)[()], np.float32(Z), qmin, qmax

    def forward(self, x):
        with np.errstate(over="ignore"):
            steps = np.rint(x.astype(np.float32, copy=False) / self.S) + self.Z
        self.inside = (steps >= self.qmin) & (steps <= self.qmax)
        return (self.S * (np.clip(steps, self.qmin, self.qmax) - self.Z)).astype(x.dtype)

    def backward(self, grad):
        return np.where(self.inside, grad, 0)  # not a product: 0 * infinity would be NaN


def fake_quantize(x: Any, params: QuantParams) -> Any:
    """dequantize(quantize(x)) in floats. For a Tensor it has a gradient: see ``FakeQuantize``.

    A Tensor gives a Tensor of its dtype, an array a float32 array. ValueError for NaN.
    """
    if not isinstance(x, Tensor):
        return dequantize(quantize(x, params), params)
    check_reals("x", x.data)
    S, Z = check_instance("params", params, QuantParams).aligned(x.shape)
    return apply(FakeQuantize(S, Z, params.qmin, params.qmax), x)


# ---- checks


def check_reals(name: str, r: Any) -> np.ndarray:
    """The numbers as an array of float32 without NaN."""
    r = number_array(name, r)
    with np.errstate(over="ignore"):
        r = r.astype(np.float32, copy=False)
    missing = np.isnan(r)
    require(not missing.any(), f"{name} must hold no NaN: it has {missing.sum()} among {r.size}")
    return r


def check_ends(name: str, value: Any, axis: int | None, low: float = -math.inf) -> np.ndarray:
    """The ends of one range, shape (), or with an axis the ends for each channel (channels,), as float64."""
    value = check_array(name, value, low=low)
    expected = "a number" if axis is None else f"an array (channels,) for axis {axis}"
    require(value.ndim == (axis is not None), f"{name} must be {expected}, got shape {value.shape}")
    return value.astype(np.float64)
