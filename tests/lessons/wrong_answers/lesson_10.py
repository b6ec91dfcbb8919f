"""Wrong answers to the exercises of lesson 10. Each one passed all laws once."""

from __future__ import annotations

import numpy as np

from lessons.exercises import find
from minidl.engine.op import Op
from tests.lessons.wrong_answers.declare import not_taken, scaled, wrong


@wrong("10.1", "a float64 r is divided in float64")
def wide_reals(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(r) / S)
    return np.clip(steps.astype(np.float32) + np.float32(Z), qmin, qmax)


@wrong("10.1", "a float64 S is divided by in float64")
def wide_steps(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(r, np.float32) / np.asarray(S, np.float64)).astype(np.float32)
    return np.clip(steps + np.float32(Z), qmin, qmax)


@wrong("10.1", "S is at least 1e-8")
def least_step(r, S, Z, qmin, qmax):
    return find("10.1").target(r, np.maximum(S, 1e-8), Z, qmin, qmax)


@wrong("10.2", "one channel without a range, and S is 1 for all")
def all_ones(rmin, rmax, qmin, qmax):
    tiny = np.finfo(np.float32).tiny
    return scaled(rmin, rmax, qmin, qmax, lambda S: np.ones_like(S) if np.any(tiny > S) else S)


@wrong("10.2", "one channel without a range, and all have one S")
def one_for_all_channels(rmin, rmax, qmin, qmax):
    tiny = np.finfo(np.float32).tiny
    return scaled(rmin, rmax, qmin, qmax, lambda S: np.float32(1) if np.any(tiny > S) else S)


@wrong("10.2", "S is 1 only where all channels are without a range")
def ones_for_all_or_none(rmin, rmax, qmin, qmax):
    tiny = np.finfo(np.float32).tiny
    with np.errstate(all="ignore"):
        return scaled(rmin, rmax, qmin, qmax, lambda S: np.ones_like(S) if np.all(tiny > S) else S)


@wrong("10.2", "halves of Z go up")
def halves_up(rmin, rmax, qmin, qmax):
    tiny = np.finfo(np.float32).tiny
    return scaled(
        rmin, rmax, qmin, qmax, lambda S: np.where(tiny > S, np.float32(1), S), lambda Z: np.floor(Z + 0.5)
    )


@wrong("10.3", "halves go up")
class HalvesUp(find("10.3").target):
    def forward(self, x):
        with np.errstate(over="ignore"):
            steps = np.floor(x.astype(np.float32) / self.S + np.float32(0.5)) + self.Z
        self.inside = (steps >= self.qmin) & (steps <= self.qmax)
        return (self.S * (np.clip(steps, self.qmin, self.qmax) - self.Z)).astype(x.dtype)


@wrong("10.2", "S as a float64")
def wide_scale(rmin, rmax, qmin, qmax):
    low = np.minimum(np.asarray(rmin, np.float64), 0.0)
    high = np.maximum(np.asarray(rmax, np.float64), 0.0)
    S = (high - low) / (qmax - qmin)
    S = np.where(np.finfo(np.float32).tiny > S, 1.0, S)
    return S, np.rint(qmin - low / S).astype(np.int32)


@wrong("10.1", "multiplied by 1/S, which rounds twice")
def by_the_reciprocal(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(r, np.float32) * (np.float32(1) / np.asarray(S, np.float32)))
    return np.clip(steps + np.float32(Z), qmin, qmax)


@wrong("10.1", "the first row's Z for all rows")
def first_zero_point(r, S, Z, qmin, qmax):
    return find("10.1").target(r, S, np.ravel(Z)[0], qmin, qmax)


@wrong("10.2", "the range in float32, which does not hold the widest")
def narrow_range(rmin, rmax, qmin, qmax):
    low, high = np.minimum(np.float32(rmin), 0), np.maximum(np.float32(rmax), 0)
    with np.errstate(over="ignore"):
        S = np.float32((high - low) / np.float32(qmax - qmin))
    S = np.where(np.finfo(np.float32).tiny > S, np.float32(1), S)
    return S, np.rint(qmin - low / S).astype(np.int32)


@wrong("10.1", "whole numbers in float64")
def wide_integers(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(r, np.float32) / np.asarray(S, np.float32))
    return np.clip(steps + np.float32(Z), qmin, qmax).astype(np.float64)


@wrong("10.3", "float32 becomes float64")
class WidenedFakeQuantize(Op):
    def __init__(self, S, Z, qmin, qmax):
        self.inner = find("10.3").target(S, Z, qmin, qmax)

    def forward(self, x):
        return self.inner.forward(x).astype(np.float64)

    def backward(self, grad):
        return (self.inner.backward(grad),)


@wrong("10.3", "the mask leaves out Z")
class MaskWithoutZ(find("10.3").target):
    def forward(self, x):
        y = super().forward(x)
        steps = np.rint(x / self.S)
        self.inside = (steps >= self.qmin) & (steps <= self.qmax)
        return y


@wrong("10.3", "0 times an infinite gradient, which is NaN")
class MaskTimesGradient(find("10.3").target):
    def backward(self, grad):
        return grad * self.inside


@wrong("10.3", "the steps as int32, where large ones wrap around")
class WrappedSteps(find("10.3").target):
    def forward(self, x):
        super().forward(x)
        with np.errstate(all="ignore"):
            steps = np.rint(x / self.S).astype(np.int32) + np.int32(self.Z)
        self.inside = (steps >= self.qmin) & (steps <= self.qmax)
        return (self.S * (np.clip(steps, self.qmin, self.qmax) - self.Z)).astype(x.dtype)


@wrong("10.4", "one scale for all outputs: the mean of theirs")
def mean_scale(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    return find("10.4").target(qx, S_x, Z_x, qw, np.mean(S_w), qbias, S_y, Z_y, qmin, qmax)


@wrong("10.4", "computed in float64 to the end, where the definition has float32")
def wide_products(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    sums = (qx.astype(np.float64) - Z_x) @ qw.astype(np.float64).T + qbias
    if np.any(sums >= 2**31) or np.any(sums < -(2**31)):
        raise ValueError("32 bits")
    q = np.rint(sums * S_x * np.asarray(S_w, np.float64) / S_y) + Z_y
    return np.clip(q, qmin, qmax).astype(np.uint8 if qmin >= 0 else np.int8)


def rescaled(qx, Z_x, qw, qbias, M, Z_y, qmin, qmax, kind):
    sums = (qx.astype(np.int64) - Z_x) @ qw.astype(np.int64).T + qbias
    if (sums >= 2**31).any() or (sums < -(2**31)).any():
        raise ValueError("a sum does not fit in 32 bits")
    with np.errstate(all="ignore"):
        q = np.rint(sums.astype(np.float32) * M).astype(kind)
    return np.clip(q + Z_y, qmin, qmax).astype(np.uint8 if qmin >= 0 else np.int8)


@wrong("10.4", "the rounded product becomes an int32 before it is clipped")
def clipped_too_late(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    M = np.float32(S_x) * np.float32(S_w) / np.float32(S_y)
    return rescaled(qx, Z_x, qw, qbias, M, Z_y, qmin, qmax, np.int32)


@wrong("10.4", "M stays in float64")
def wide_multiplier(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    M = S_x * np.asarray(S_w, np.float64) / S_y
    return rescaled(qx, Z_x, qw, qbias, M, Z_y, qmin, qmax, np.float64)


@wrong("10.4", "weights of 200 are taken for int8")
def signed_weights(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    return find("10.4").target(qx, S_x, Z_x, qw.astype(np.int8), S_w, qbias, S_y, Z_y, qmin, qmax)


@wrong("10.4", "int32 sums, which wrap around without a word")
def wrapping_sums(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    with np.errstate(over="ignore"):
        sums = (qx.astype(np.int32) - np.int32(Z_x)) @ qw.astype(np.int32).T + qbias
    q = np.rint(sums.astype(np.float32) * (np.float32(S_x) * np.float32(S_w) / np.float32(S_y))) + Z_y
    return np.clip(q, qmin, qmax).astype(np.uint8 if qmin >= 0 else np.int8)


@wrong("10.4", "clipped to what 8 bits hold, whatever the range is")
def range_of_8_bits(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    qmin, qmax = (0, 255) if qmin >= 0 else (-128, 127)
    return find("10.4").target(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax)


@wrong("10.4", "only qmax is looked at")
def only_qmax(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    qmin = 0 if qmin >= 0 else -128
    return find("10.4").target(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax)


@wrong("10.4", "only qmin is looked at")
def only_qmin(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    qmax = 255 if qmin >= 0 else 127
    return find("10.4").target(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax)


@wrong("10.4", "products summed in float32, which does not hold each whole number")
def narrow_sums(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    sums = (qx.astype(np.float32) - Z_x) @ qw.astype(np.float32).T + qbias
    if np.any(sums >= 2**31) or np.any(sums < -(2**31)):
        raise ValueError("32 bits")
    M = np.float32(S_x) * np.asarray(S_w, np.float32) / np.float32(S_y)
    q = np.clip(np.rint(sums.astype(np.float32) * M) + Z_y, qmin, qmax)
    return q.astype(np.uint8 if qmin >= 0 else np.int8)


@wrong("10.4", "products wrap around in int32, the bias does not")
def products_wrap(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    products = (qx.astype(np.int64) - Z_x).astype(np.int32) @ qw.T.astype(np.int32)
    sums = products.astype(np.int64) + qbias
    if (sums < -(2**31)).any() or (sums >= 2**31).any():
        raise ValueError("a sum does not fit in 32 bits")
    M = np.float32(S_x) * np.asarray(S_w, np.float32) / np.float32(S_y)
    q = np.clip(np.rint(sums.astype(np.float32) * M) + Z_y, qmin, qmax)
    return q.astype(np.uint8 if qmin >= 0 else np.int8)


@wrong("10.1", "an integer r is not made float32")
def integers_stay(r, S, Z, qmin, qmax):
    found = find("10.1").target(r, S, Z, qmin, qmax)
    return found.astype(np.float64) if r.dtype.kind == "i" else found


@wrong("10.1", "infinity becomes qmax before a negative Z is added")
def qmax_before_Z(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(r, np.float32) / np.asarray(S, np.float32))
    return np.clip(np.nan_to_num(steps, posinf=qmax) + np.float32(Z), qmin, qmax)


def first_of(x, there):
    """The first number of an array, or the array itself where the other argument is an array too."""
    return x if np.ndim(there) else np.ravel(x)[0]


@wrong("10.1", "of several zero points beside one scale the first is taken")
def first_of_zero_points(r, S, Z, qmin, qmax):
    return find("10.1").target(r, S, first_of(Z, S), qmin, qmax)


@wrong("10.1", "of several scales beside one zero point the first is taken")
def first_scale(r, S, Z, qmin, qmax):
    return find("10.1").target(r, first_of(S, Z), Z, qmin, qmax)


@wrong("10.1", "scales (O,) stretch along the first axis")
def scales_of_rows(r, S, Z, qmin, qmax):
    S = np.reshape(S, (-1, *[1] * (r.ndim - 1))) if np.ndim(S) == 1 else S
    return find("10.1").target(r, S, Z, qmin, qmax)


@wrong("10.2", "the shape of the arrays is lost")
def raveled_scales(rmin, rmax, qmin, qmax):
    S, Z = find("10.2").target(rmin, rmax, qmin, qmax)
    return (S.ravel(), Z.ravel()) if S.ndim > 1 else (S, Z)


@wrong("10.2", "qmin is added after rounding, so halves go the other way where it is odd")
def qmin_after_rounding(rmin, rmax, qmin, qmax):
    S, Z = find("10.2").target(rmin, rmax, qmin, qmax)
    return S, (qmin - np.rint(np.minimum(rmin, 0.0) / S)).astype(np.int32)


@wrong("10.2", "a zero point above 32,767 wraps around")
def int16_zero_point(rmin, rmax, qmin, qmax):
    S, Z = find("10.2").target(rmin, rmax, qmin, qmax)
    return S, Z.astype(np.int16).astype(np.int32)


@wrong("10.3", "of several zero points beside one scale the first is taken")
class FirstZeroPoint(find("10.3").target):
    def __init__(self, S, Z, qmin, qmax):
        super().__init__(S, first_of(Z, S), qmin, qmax)


@wrong("10.3", "of several scales beside one zero point the first is taken")
class FirstScale(find("10.3").target):
    def __init__(self, S, Z, qmin, qmax):
        super().__init__(first_of(S, Z), Z, qmin, qmax)


@wrong("10.3", "Z is added before rounding")
class ZeroPointFirst(find("10.3").target):
    def forward(self, x):
        y = super().forward(x)
        q = np.clip(np.rint(x / self.S + self.Z), self.qmin, self.qmax)
        return np.where(np.isfinite(x) & (abs(x) < 1e30), (self.S * (q - self.Z)).astype(x.dtype), y)


@wrong("10.1", "float64 numbers that float32 does not hold become infinite with a warning")
def loud_narrowing(r, S, Z, qmin, qmax):
    return find("10.1").target(np.asarray(r, np.float32), S, Z, qmin, qmax)


not_taken("10.2", "arrays of whole numbers", lambda g: np.asarray(g["rmin"]).dtype.kind == "i")
not_taken("10.2", "arrays of three axes", lambda g: np.ndim(g["rmin"]) > 2)
not_taken("10.2", "more than three channels", lambda g: np.size(g["rmin"]) > 3)
not_taken(
    "10.4", "weights of uint8, of several outputs", lambda g: g["qw"].dtype == np.uint8 and len(g["qw"]) > 1
)
not_taken("10.4", "a Z_y below 0", lambda g: g["Z_y"] < 0)


@wrong("10.4", "refused only if no sum fits")
def refused_if_no_sum_fits(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    sums = (qx.astype(np.int64) - Z_x) @ qw.T.astype(np.int64) + qbias
    if not np.any((sums >= -(2**31)) & (sums < 2**31)):
        raise ValueError("the sums do not fit")
    y = np.rint(sums.astype(np.float32) * (np.float32(S_x) * np.asarray(S_w, np.float32) / np.float32(S_y)))
    return np.clip(y + Z_y, qmin, qmax).astype(np.uint8 if qmin >= 0 else np.int8)


@wrong("10.1", "clipped to integers of 8 bits, whatever the range is")
def eight_bits_always(r, S, Z, qmin, qmax):
    Q = find("10.1").target(r, S, Z, qmin, qmax)
    return Q.astype(np.int64).astype(np.uint8 if qmin >= 0 else np.int8).astype(np.float32)


@wrong("10.3", "x times 1 / S in place of one division")
class TimesTheReciprocal(find("10.3").target):
    def forward(self, x):
        if x.dtype != np.float32 or not np.isfinite(x).all() or np.abs(x).max() > 1e30:
            return super().forward(x)
        steps = np.rint(x * (1 / self.S)) + self.Z
        self.inside = (steps >= self.qmin) & (steps <= self.qmax)
        return (self.S * (np.clip(steps, self.qmin, self.qmax) - self.Z)).astype(x.dtype)


@wrong("10.1", "divided in float64, and the quotient made float32")
def narrowed_quotient(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint((np.asarray(r, np.float64) / np.asarray(S, np.float64)).astype(np.float32))
    return np.clip(steps + np.float32(Z), qmin, qmax)


@wrong("10.1", "integers above 32,767 wrap around")
def signed_16_bits(r, S, Z, qmin, qmax):
    Q = find("10.1").target(r, S, Z, qmin, qmax)
    return Q.astype(np.int64).astype(np.int16).astype(np.float32)


@wrong("10.1", "the quotient is clipped to 16 bits before Z is added")
def clipped_quotient(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(r, np.float32) / np.asarray(S, np.float32))
    return np.clip(np.clip(steps, -(2**15), 2**15 - 1) + np.float32(Z), qmin, qmax)


@wrong("10.1", "a zero point of -32,768 wraps around")
def zero_point_of_8_bits(r, S, Z, qmin, qmax):
    return find("10.1").target(r, S, np.asarray(Z).astype(np.int8), qmin, qmax)


@wrong("10.1", "S is at least 1e-30")
def least_step_of_all(r, S, Z, qmin, qmax):
    return find("10.1").target(r, np.maximum(S, 1e-30), Z, qmin, qmax)


@wrong("10.2", "Z by the S of float64")
def zero_point_by_wide_scale(rmin, rmax, qmin, qmax):
    S, Z = wide_scale(rmin, rmax, qmin, qmax)
    return S.astype(np.float32), Z


@wrong("10.2", "Z by the S that is too small, before S becomes 1")
def zero_point_by_tiny_scale(rmin, rmax, qmin, qmax):
    low, high = np.minimum(np.float64(rmin), 0.0), np.maximum(np.float64(rmax), 0.0)
    S = np.asarray((high - low) / (qmax - qmin), np.float32)
    with np.errstate(all="ignore"):
        Z = np.rint(qmin - np.nan_to_num(low / S)).astype(np.int32)
    return np.where(np.finfo(np.float32).tiny > S, np.float32(1), S), Z


class Variant(find("10.3").target):
    """The library's op, of which a part is another: the base class of wrong answers."""

    def quotient(self, x):
        return x.astype(np.float32) / self.S

    def rounded(self, quotient):
        return np.rint(quotient)

    def forward(self, x):
        with np.errstate(over="ignore"):
            steps = self.rounded(self.quotient(x)) + self.Z
        self.x, self.inside = x, (steps >= self.qmin) & (steps <= self.qmax)
        self.y = (self.S * (np.clip(steps, self.qmin, self.qmax) - self.Z)).astype(x.dtype)
        return self.y


@wrong("10.3", "a float64 x is divided in float64")
class WideQuotient(Variant):
    def quotient(self, x):
        return x / self.S


@wrong("10.3", "S is at least 1e-12")
class LeastStep(Variant):
    def quotient(self, x):
        return x.astype(np.float32) / np.maximum(self.S, np.float32(1e-12))


@wrong("10.3", "scales (O,) stretch along the first axis")
class ScalesOfRows(Variant):
    def quotient(self, x):
        if self.S.ndim == 1 and len(self.S) == len(x):
            self.S = self.S.reshape(-1, *[1] * (x.ndim - 1))
        return super().quotient(x)


@wrong("10.3", "the quotient is clipped to 1,000 before Z is added")
class ClippedQuotient(Variant):
    def rounded(self, quotient):
        return np.clip(np.rint(quotient), -1000, 1000)


@wrong("10.3", "a zero point of 200 wraps around")
class ZeroPointOf8Bits(Variant):
    def __init__(self, S, Z, qmin, qmax):
        super().__init__(S, np.asarray(Z).astype(np.int8), qmin, qmax)


@wrong("10.3", "the gradient passes where y is within half a step of x, also at 7.5, which is clipped")
class WithinHalfAStep(Variant):
    def backward(self, grad):
        near = np.abs(np.where(np.isfinite(self.x), self.x, 1e30) - self.y) <= self.S / 2
        return np.where(near, grad, 0)


@wrong("10.3", "the gradient is 0 half a step beyond the last level, also at 8.5, which rounds to 8")
class OpenRange(Variant):
    def backward(self, grad):
        low, high = (self.S * (q - self.Z) for q in (self.qmin, self.qmax))
        return np.where((self.x > low - self.S / 2) & (self.x < high + self.S / 2), grad, 0)


@wrong("10.3", "the gradient is 0 where |x| is above 1e6")
class NotSoFar(Variant):
    def backward(self, grad):
        return np.where(self.inside & (np.abs(self.x) < 1e6), grad, 0)


@wrong("10.3", "an infinite gradient becomes 0 where x was not clipped, too")
class FiniteGradients(Variant):
    def backward(self, grad):
        return np.where(self.inside & np.isfinite(grad), grad, 0)


@wrong("10.4", "only the first row's sums are checked")
def first_row_is_checked(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    find("10.4").target(qx[:1], S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax)
    sums = (qx.astype(np.int64) - Z_x) @ qw.T.astype(np.int64) + qbias
    y = np.rint(sums.astype(np.float32) * (np.float32(S_x) * np.asarray(S_w, np.float32) / np.float32(S_y)))
    return np.clip(y + Z_y, qmin, qmax).astype(np.uint8 if qmin >= 0 else np.int8)


not_taken("10.4", "a float32 for all outputs", lambda g: isinstance(g["S_w"], np.float32))
not_taken("10.4", "a whole number for all outputs", lambda g: isinstance(g["S_w"], int))


@wrong("10.1", "an infinite r becomes the largest float32")
def largest_in_place_of_infinity(r, S, Z, qmin, qmax):
    return find("10.1").target(np.nan_to_num(np.float32(r)) if r.dtype == np.float32 else r, S, Z, qmin, qmax)


@wrong("10.4", "only the last output's sums are checked")
def last_output_is_checked(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    last = np.ravel(S_w)[-1:]
    find("10.4").target(qx, S_x, Z_x, qw[-1:], last, qbias[-1:], S_y, Z_y, qmin, qmax)
    sums = (qx.astype(np.int64) - Z_x) @ qw.T.astype(np.int64) + qbias
    y = np.rint(sums.astype(np.float32) * (np.float32(S_x) * np.asarray(S_w, np.float32) / np.float32(S_y)))
    return np.clip(y + Z_y, qmin, qmax).astype(np.uint8 if qmin >= 0 else np.int8)


@wrong("10.4", "in float64 where one number S_w is a float")
def wide_for_one_number(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    if not isinstance(S_w, float):
        return find("10.4").target(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax)
    return rescaled(qx, Z_x, qw, qbias, np.float64(S_x * S_w / S_y), Z_y, qmin, qmax, np.float64)


@wrong("10.4", "a Z_y of 200 wraps around")
def signed_Z_y(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    Z_y = int(np.asarray(Z_y).astype(np.int8))
    return find("10.4").target(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax)


@wrong("10.4", "one factor after the other in place of M")
def factor_by_factor(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    find("10.4").target(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax)  # refuses what it should
    sums = (qx.astype(np.int64) - Z_x) @ qw.T.astype(np.int64) + qbias
    y = sums.astype(np.float32) * np.float32(S_x) * np.asarray(S_w, np.float32) / np.float32(S_y)
    return np.clip(np.rint(y) + Z_y, qmin, qmax).astype(np.uint8 if qmin >= 0 else np.int8)


@wrong("10.3", "a float64 that is too large for float32 gives a warning")
class NarrowedOutside(find("10.3").target):
    def forward(self, x):
        x.astype(np.float32)
        return super().forward(x)


@wrong("10.1", "floor(x + 0.5), where ties are rounded to even: 0.49999997 becomes 1")
def floor_of_a_half_more(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        x = np.asarray(r, np.float32) / np.asarray(S, np.float32)
        steps = np.where(abs(x - np.trunc(x)) == 0.5, np.rint(x), np.floor(x + np.float32(0.5)))
    return np.clip(steps + np.float32(Z), qmin, qmax)


@wrong("10.1", "zero points in int32 beside a float32 r give float64")
def widened_by_zero_points(r, S, Z, qmin, qmax):
    q = find("10.1").target(r, S, Z, qmin, qmax)
    return q + np.zeros_like(Z) if np.ndim(Z) else q


@wrong("10.1", "an integer r is divided in float64")
def wide_integer_quotient(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        r = np.asarray(r, np.float64 if r.dtype.kind == "i" else np.float32)
        steps = np.rint(r / np.asarray(S, np.float32)).astype(np.float32)
    return np.clip(steps + np.float32(Z), qmin, qmax)


@wrong("10.2", "only a float is one number, all else is an array")
def one_float(rmin, rmax, qmin, qmax):
    if isinstance(rmin, float):
        return find("10.2").target(rmin, rmax, qmin, qmax)
    S, Z = np.ones(rmin.shape, np.float32), np.zeros(rmin.shape, np.int32)
    for i in np.ndindex(rmin.shape):
        S[i], Z[i] = find("10.2").target(float(rmin[i]), float(rmax[i]), qmin, qmax)
    return S, Z


@wrong("10.3", "zero points in int32 beside a float32 x give float64")
class WidenedByZeroPoints(find("10.3").target):
    def forward(self, x):
        y = super().forward(x)
        return y + np.zeros_like(self.Z, np.float64) if np.ndim(self.Z) else y


@wrong("10.1", "the quotient becomes a float32, but not the float64 S before it")
def step_in_float64(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint((np.asarray(r, np.float32) / S).astype(np.float32))
    return np.clip(steps + np.float32(Z), qmin, qmax)


@wrong("10.2", "rmin / S in float32")
def narrow_zero_point(rmin, rmax, qmin, qmax):
    S, _ = find("10.2").target(rmin, rmax, qmin, qmax)
    with np.errstate(over="ignore"):
        low = np.minimum(np.float32(rmin), np.float32(0))
    return S, np.rint(qmin - low / S).astype(np.int32)


@wrong("10.2", "rmin and rmax become float32")
def narrow_ends(rmin, rmax, qmin, qmax):
    return find("10.2").target(np.float64(np.float32(rmin)), np.float64(np.float32(rmax)), qmin, qmax)


@wrong("10.3", "the quotient is right, but y has the S of float64")
class StepOfFloat64(find("10.3").target):
    def __init__(self, S, Z, qmin, qmax):
        super().__init__(S, Z, qmin, qmax)
        self.given = S

    def forward(self, x):
        y = super().forward(x)
        return (self.given * (y / self.S)).astype(x.dtype)


@wrong("10.4", "M has the dtype of a float64 S_w")
def multiplier_as_given(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    M = np.float32(S_x) * S_w / np.float32(S_y)
    return rescaled(qx, Z_x, qw, qbias, M, Z_y, qmin, qmax, np.float64)


@wrong("10.2", "S as the difference of two float32 quotients")
def two_quotients(rmin, rmax, qmin, qmax):
    S, _ = find("10.2").target(rmin, rmax, qmin, qmax)
    low, high = np.minimum(np.asarray(rmin, float), 0), np.maximum(np.asarray(rmax, float), 0)
    wide = np.float32(qmax - qmin)
    with np.errstate(all="ignore"):
        T = high.astype(np.float32) / wide - low.astype(np.float32) / wide
    T = np.where(np.isfinite(T) & (T > 0) & (np.abs(T - S) < 1e-6 * S), T, S)
    return T, np.rint(qmin - low / T.astype(float)).astype(np.int32)


@wrong("10.1", "zero points (O,) stretch along the first axis")
def zero_points_of_rows(r, S, Z, qmin, qmax):
    Z = np.reshape(Z, (-1, *[1] * (r.ndim - 1))) if np.ndim(Z) == 1 else Z
    return find("10.1").target(r, S, Z, qmin, qmax)


@wrong("10.1", "several scales are divided by in float64")
def wide_rows(r, S, Z, qmin, qmax):
    if np.size(S) == 1:
        return find("10.1").target(r, S, Z, qmin, qmax)
    return np.clip(np.rint(r / np.asarray(S, np.float64)) + Z, qmin, qmax).astype(np.float32)


@wrong("10.1", "a float16 r is divided in float16")
def narrow_reals(r, S, Z, qmin, qmax):
    if r.dtype != np.float16:
        return find("10.1").target(r, S, Z, qmin, qmax)
    return np.clip(np.rint(r / np.asarray(S, np.float16)) + np.float32(Z), qmin, qmax).astype(np.float32)


@wrong("10.2", "Z by an S of at least 1e-12")
def zero_point_by_a_large_scale(rmin, rmax, qmin, qmax):
    S, _ = find("10.2").target(rmin, rmax, qmin, qmax)
    low = np.minimum(np.asarray(rmin, np.float64), 0.0)
    return S, np.rint(qmin - low / np.maximum(S, 1e-12)).astype(np.int32)


@wrong("10.2", "the range of two float32 is taken in float32, unless it is infinite there")
def narrow_difference(rmin, rmax, qmin, qmax):
    S, Z = find("10.2").target(rmin, rmax, qmin, qmax)
    if np.asarray(rmin).dtype != np.float32:
        return S, Z
    with np.errstate(over="ignore"):
        wide = np.maximum(rmax, np.float32(0)) - np.minimum(rmin, np.float32(0))
    return np.where(np.isfinite(wide) & (S != 1), wide / np.float32(qmax - qmin), S), Z


@wrong("10.2", "the range of two int8 wraps around")
def wrapped_range(rmin, rmax, qmin, qmax):
    low, high = np.minimum(rmin, 0), np.maximum(rmax, 0)
    if np.asarray(low).dtype != np.int8:
        return find("10.2").target(rmin, rmax, qmin, qmax)
    S = np.float32((high - low) / (qmax - qmin))
    return S, np.rint(qmin - low / S).astype(np.int32)


@wrong("10.3", "a float16 x gives a float32 y")
class WidenedHalves(find("10.3").target):
    def forward(self, x):
        y = super().forward(x)
        return y.astype(np.float32) if x.dtype == np.float16 else y


@wrong("10.3", "a gradient of NaN becomes 0, where x was not clipped, too")
class WithoutNaN(find("10.3").target):
    def backward(self, grad):
        with np.errstate(invalid="ignore"):
            grad = grad * self.inside
        return np.where(np.isnan(grad), 0, grad)


@wrong("10.3", "in a range from 0, no gradient passes at the lowest level")
class ShutAtZero(find("10.3").target):
    def forward(self, x):
        y = super().forward(x)
        if self.qmin == 0:
            self.inside = self.inside & (y > -self.S * self.Z)
        return y


@wrong("10.4", "in float64 where S_x is a float64 of NumPy")
def multiplier_of_numpy(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    M = S_x * np.asarray(S_w, np.float32) / S_y  # a number of Python does not widen it
    return rescaled(qx, Z_x, qw, qbias, M, Z_y, qmin, qmax, np.float64)


@wrong("10.4", "the sum is not rounded to float32 before it is multiplied")
def rounded_once(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    sums = (qx.astype(np.int64) - Z_x) @ qw.astype(np.int64).T + qbias
    if (sums >= 2**31).any() or (sums < -(2**31)).any():
        raise ValueError("a sum does not fit in 32 bits")
    M = np.float32(S_x) * np.asarray(S_w, np.float32) / np.float32(S_y)
    q = np.clip(np.rint((sums * M.astype(np.float64)).astype(np.float32)) + Z_y, qmin, qmax)
    return q.astype(np.uint8 if qmin >= 0 else np.int8)


@wrong("10.4", "uint8 only for a range from 0 or beyond 127")
def uint8_where_needed(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    q = find("10.4").target(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax)
    return q.astype(np.uint8 if qmin == 0 or qmax > 127 else np.int8)


@wrong("10.3", "S Q - S Z, which loses digits where Z is large")
class DifferenceOfProducts(find("10.3").target):
    def forward(self, x):
        super().forward(x)
        S, Z = np.asarray(self.S, np.float32), np.asarray(self.Z, np.float32)
        q = np.clip(np.rint(x.astype(np.float32) / S) + Z, self.qmin, self.qmax)
        return (S * q - S * Z).astype(x.dtype)
