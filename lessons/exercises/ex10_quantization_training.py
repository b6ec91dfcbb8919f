"""Exercises of lesson 10, continued: a gradient through rounding."""

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.ex10_quantization import steps_of, zeros
from minidl.classroom.compare import assert_close, assert_dtype, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.compress import quantize
from minidl.engine.op import Op

# ---- 10.3 FakeQuantize

straight = Exercise(
    "10.3",
    quantize.FakeQuantize,
    title="rounding inside the training",
    kind="op",
    points=3,
    level=2,
    minutes=20,
    hints=(
        "forward rounds to integers and converts them back to floats. backward treats the rounding as y = x.",
        "In forward, store where round(x / S) + Z lies within [qmin, qmax]. The gradient passes only there.",
        "self.inside = (steps >= self.qmin) & ...; backward selects with np.where(self.inside, ...)",
    ),
)

limits_of = st.sampled_from([(-1, 1), (-7, 7), (-8, 7), (0, 15)])


def zero_in(limits):
    return min(max(0, limits[0]), limits[1])


@straight.law(
    "S = 1, Z = 0, range -7 ... 7: 0.4, -1.6, 9 give 0, -2, 7; the gradient passes at the first two"
)
def worked_straight(fake_quantize):
    y, (grad,) = fake_quantize(
        np.array([0.4, -1.6, 9.0]), grad=np.array([10.0, 20.0, 30.0]), S=1.0, Z=0, qmin=-7, qmax=7
    )
    assert_close(y, [0.0, -2.0, 7.0])
    assert_close(grad, [10.0, 20.0, 0.0])
    for Z in (0, 1):
        halves, _ = fake_quantize(np.array([0.5, 1.5, 2.5, -0.5, -1.5]), S=1.0, Z=Z, qmin=-7, qmax=7)
        assert_close(halves, [0.0, 2.0, 2.0, 0.0, -2.0])  # to even, before Z is added


@straight.law(
    "7.25 rounds to 7, which is in the range, so the gradient passes; the same holds for any S and Z"
)
def worked_edge(fake_quantize):
    x, g = np.array([7.25, 7.5, 7.75, -7.25, -7.5]), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    for S in (1.0, 2.0**40, 2.0**-60):
        y, (grad,) = fake_quantize(S * x, grad=g, S=S, Z=0, qmin=-7, qmax=7)
        assert_close(y / S, [7.0, 7.0, 7.0, -7.0, -7.0])
        assert_close(grad, [1.0, 0.0, 0.0, 4.0, 0.0])
    _, (grad,) = fake_quantize(
        np.array([2.25, 2.75, -12.25, -12.75]), grad=np.ones(4), S=1.0, Z=5, qmin=-7, qmax=7
    )
    assert_close(grad, [1.0, 0.0, 1.0, 0.0])
    _, (grad,) = fake_quantize(np.array([8.5, -8.5]), grad=np.ones(2), S=1.0, Z=0, qmin=-8, qmax=8)
    assert_close(grad, [1.0, 1.0])  # 8.5 rounds to 8, which is even
    for far, most in ((200, 255), (40000, 65535)):  # the ranges of 8 and 16 bits
        y, _ = fake_quantize(np.array([1.0, 1.0 - far, 9e4]), S=1.0, Z=far, qmin=0, qmax=most)
        assert_equal(y, [1.0, 1.0 - far, most - far])
        y, _ = fake_quantize(np.array([0.3, -0.5]), S=0.1, Z=far, qmin=0, qmax=most)
        assert_close(y, [0.3, -0.5])  # S Q - S Z is the difference of two large numbers


@straight.law(
    "an infinite x, or 1e38, is clipped without a warning; there even an infinite gradient becomes 0"
)
def worked_infinities(fake_quantize):
    x, g = np.array([np.inf, -np.inf, 1e38, -1e38], np.float32), np.full(4, np.inf, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        y, (grad,) = fake_quantize(x, grad=g, S=0.5, Z=3, qmin=0, qmax=15)
        fine, _ = fake_quantize(x, S=1e-3, Z=3, qmin=0, qmax=15)
        wide, _ = fake_quantize(np.array([1e300, -1e300]), S=1e-3, Z=3, qmin=0, qmax=15)  # float64
        assert_close(wide, [0.012, -0.003])
    assert_close(y, [6.0, -1.5, 6.0, -1.5])
    assert_close(fine, [0.012, -0.003, 0.012, -0.003])
    assert_close(grad, np.zeros(4))
    _, (grad,) = fake_quantize(np.zeros(2), grad=np.array([np.inf, np.nan]), S=0.5, Z=3, qmin=0, qmax=15)
    assert_equal(grad, [np.inf, np.nan])  # here x was not clipped


@straight.law("applying it twice gives the same as applying it once")
@given(x=arrays(low=-8, high=8), S=steps_of, limits=limits_of)
def idempotent(fake_quantize, x, S, limits):
    params = {"S": S, "Z": zero_in(limits), "qmin": limits[0], "qmax": limits[1]}
    once, _ = fake_quantize(x, **params)
    twice, _ = fake_quantize(once, **params)
    assert_close(twice, once)


@straight.law("the result is S times a whole number, and 0 stays 0 for every Z")
@given(x=arrays(low=-4, high=4), S=steps_of, Z=zeros)
def lies_on_the_grid(fake_quantize, x, S, Z):
    y, _ = fake_quantize(x, S=S, Z=Z, qmin=-8, qmax=7)
    assert_close(y / S, np.rint(y / S))
    zero, _ = fake_quantize(np.zeros(2), S=S, Z=Z, qmin=-8, qmax=7)
    assert_close(zero, [0.0, 0.0])


@straight.law("each gradient passes unchanged or becomes 0; where x is in the range, it passes")
@given(x=arrays(low=-8, high=8), S=steps_of, limits=st.sampled_from([(-8, 7), (0, 15)]))
def whole_or_nothing(fake_quantize, x, S, limits):
    g, (qmin, qmax) = np.cos(np.arange(x.size)).reshape(x.shape), limits
    _, (grad,) = fake_quantize(x, grad=g, S=S, Z=0, qmin=qmin, qmax=qmax)
    inside = (x >= qmin * S) & (x <= qmax * S)
    outside = (x < (qmin - 0.75) * S) | (x > (qmax + 0.75) * S)
    assert_equal(grad[inside], g[inside])
    assert_equal(grad[outside], np.zeros(int(outside.sum())))


@straight.law("with a scale and a zero point for each row, each row gives the same result as alone")
@given(x=arrays((2, 3), low=-8, high=8), first=st.tuples(steps_of, zeros), second=st.tuples(steps_of, zeros))
def row_by_row(fake_quantize, x, first, second):
    S, Z = np.array([first, second]).T[..., np.newaxis]
    for scales, zero_points in ((S, Z), (S, np.full_like(Z, 1)), (np.full_like(S, 0.5), Z)):
        one_S, one_Z = (a.flat[0] if a[0] == a[1] else a for a in (scales, zero_points))
        y, (grad,) = fake_quantize(x, grad=np.ones((2, 3)), S=one_S, Z=one_Z, qmin=-4, qmax=3)
        for row in range(2):
            own = {"S": scales[row, 0], "Z": zero_points[row, 0], "qmin": -4, "qmax": 3}
            alone, (grad_alone,) = fake_quantize(x[row], grad=np.ones(3), **own)
            assert_close(y[row], alone)
            assert_close(grad[row], grad_alone)


class Straight(Op):
    """The base class of the mistakes."""

    def __init__(self, S, Z, qmin, qmax):
        self.S, self.Z, self.qmin, self.qmax = S, Z, qmin, qmax

    def forward(self, x):
        self.x, self.steps = x, np.rint(x / self.S) + self.Z
        return self.S * (np.clip(self.steps, self.qmin, self.qmax) - self.Z)

    def backward(self, grad):
        return grad * ((self.steps >= self.qmin) & (self.steps <= self.qmax))


@straight.law(
    "the dtype of x stays; x / S is one division in float32, so 37.5 / 15 gives 2 · 15; S and Z broadcast"
)
def keeps_the_dtype(straight):
    for dtype in (np.float16, np.float32, np.float64):
        x = np.array([0.3, 9.0], dtype)
        y, grads = straight(x, grad=np.ones_like(x), S=1.0, Z=0, qmin=-7, qmax=7)
        assert_dtype(y, dtype)
        assert_dtype(grads[0], dtype)
        S, Z = np.ones(2, np.float32), np.zeros(2, np.int32)  # a scale and a zero point for each number
        assert_dtype(straight(x, S=S, Z=Z, qmin=-7, qmax=7)[0], dtype)
    y, _ = straight(np.array([37.5], np.float32), S=np.float32(15), Z=0, qmin=-8, qmax=7)
    assert_close(y, [30.0])  # in float32, 37.5 · (1 / 15) is more than 2.5
    x, S = np.array([[37.5], [0.6]], np.float32), np.array([[15.0], [0.1]], np.float32)  # one for each row
    y, _ = straight(x, S=S, Z=0, qmin=-8, qmax=7)
    assert_close(y, [[30.0], [0.6]])
    y, _ = straight(np.array([0.35, 0.05]), S=np.array([0.1]), Z=0, qmin=-8, qmax=7)
    assert_equal(y, [4 * float(np.float32(0.1)), 0.0])  # in float32, S is more, the quotients 3.5 and 0.5
    two = np.array([1.0, 4.0])  # stretches along the last axis, and (2, 1, 1) along the second of four
    x, g = np.full((2, 2), 9.0), np.full((2, 2), 3.0)
    y, (grad,) = straight(x, grad=g, S=two, Z=np.array([0, 2]), qmin=-8, qmax=7)
    assert_close(y, [[7.0, 8.0], [7.0, 8.0]])
    assert_close(grad, [[0.0, 3.0], [0.0, 3.0]])
    x, g = x[:1].reshape(1, 2, 1, 1), g[:1].reshape(1, 2, 1, 1)
    y, (grad,) = straight(x, grad=g, S=two.reshape(2, 1, 1), Z=0, qmin=-8, qmax=7)
    assert_close(y.ravel(), [7.0, 8.0])
    assert_close(grad.ravel(), [0.0, 3.0])


@straight.mistake("let the gradient through where it was clipped", breaks=straight.laws[0].text)
class NeverMasked(Straight):
    def backward(self, grad):
        return grad


@straight.mistake("used the true derivative of rounding, 0", breaks=straight.laws[0].text)
class TrueDerivative(Straight):
    def backward(self, grad):
        return 0 * grad


@straight.mistake("compared x, not the rounded integer, with the last level", breaks=straight.laws[1].text)
class MaskedByValue(Straight):
    def backward(self, grad):
        low, high = self.S * (self.qmin - self.Z), self.S * (self.qmax - self.Z)
        return grad * ((self.x >= low) & (self.x <= high))


@straight.mistake(
    "forgot to subtract Z when converting back to floats",
    breaks="the result is S times a whole number, and 0 stays 0 for every Z",
)
class KeepsZ(Straight):
    def forward(self, x):
        return super().forward(x) + self.S * self.Z
