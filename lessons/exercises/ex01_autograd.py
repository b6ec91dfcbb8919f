"""Exercises of lesson 01: an operation and its derivative, and broadcasting backwards."""

from itertools import product

import numpy as np
from hypothesis import given

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, broadcastable_pairs, shapes
from minidl.engine import elementwise, op
from minidl.engine.op import Op

# Shapes that broadcast together: up to five axes, of which several are added or stretched, in either array.
WIDE = [
    ((), ()), ((3, 3), (3, 3)), ((2, 1), (1, 3)), ((1, 2, 1), (2, 1, 2, 3)), ((3, 2), (2, 2, 3, 2)),
    ((2, 3, 2, 3), (1, 3, 1, 1)), ((2, 3, 2, 3), (2, 1, 2, 1)), ((), (2, 1, 2, 2, 2)),
    ((2, 1), (2, 2, 1, 2, 3)), ((2, 1, 3, 1, 2), (1, 4, 1, 2, 1)), ((2, 3), ()),
    ((3,), (2, 3)), ((2, 3), (3,)),
]  # fmt: skip


def wave(shape, factor=1.0):
    """Different numbers, with all the digits of float64. The first axis is contiguous, as in a transpose."""
    return (factor * np.cos(np.arange(np.prod(shape, dtype=int)) + 1.0)).reshape(shape, order="F")


def small_and_infinite(shape):
    """Two gradients of this shape: small numbers, and large ones of which the first is infinite."""
    large = wave(shape, 1e30)
    large.flat[0] = np.inf
    return wave(shape, 1e-14), large


def sums(grad, shape):
    """For each place of an array of shape ``shape``: the sum of ``grad`` where this place is broadcast to."""
    count = np.prod(shape, dtype=int)
    places = np.broadcast_to(np.arange(count).reshape(shape), grad.shape)
    return np.bincount(places.ravel(), grad.ravel(), count).reshape(shape)


# ---- 01.1 Mul

mul = Exercise(
    "01.1",
    elementwise.Mul,
    title="a product and its two gradients",
    level=1,
    minutes=10,
    kind="op",
    points=2,
    hints=(
        "If a changes by a small amount, a·b changes by b times this amount. The same holds with a and b "
        "swapped.",
        "backward needs both inputs, so store them in forward. NumPy may have broadcast them.",
        "for a: unbroadcast(grad * ..., self.a.shape)",
    ),
)


@mul.law("2 · 3 = 6, and a gradient of 10 becomes 30 and 20; for 3 · 3 it becomes 30 and 30")
def worked_product(mul):
    three, ten = np.array([3.0]), np.array([10.0])
    y, grads = mul(np.array([2.0]), three, grad=ten)
    assert_close(y, [6.0])
    assert_close(grads[0], [30.0])
    assert_close(grads[1], [20.0])
    y, grads = mul(three, three, grad=ten)  # one array twice
    assert_close(y, [9.0])
    assert_close(grads[0], [30.0])
    assert_close(grads[1], [30.0])
    _, grads = mul(np.array([[3.0]]), np.ones((2, 3)), grad=np.ones((2, 3)))  # two axes are stretched
    assert_close(grads[0], [[6.0]])
    assert_close(grads[1], np.full((2, 3), 3.0))
    nothing = np.zeros((2, 0), np.float32)
    grads = mul(np.ones((2, 1), np.float32), nothing, grad=nothing)[1]  # a 1 stretched to 0 gets a 0
    for gradient, expected in zip(grads, (np.zeros((2, 1)), nothing), strict=True):
        assert_equal(gradient, expected)
        assert_dtype(gradient, np.float32)


@mul.law("forward multiplies, and broadcasts as NumPy does")
@given(pair=broadcastable_pairs())
def multiplies(mul, pair):
    a, b = pair
    assert_close(mul(a, b)[0], np.multiply(a, b))


@mul.law("each gradient has the shape of its input")
@given(pair=broadcastable_pairs())
def keeps_shapes(mul, pair):
    a, b = pair
    _, (grad_a, grad_b) = mul(a, b, grad=np.ones(np.broadcast_shapes(a.shape, b.shape)))
    assert_equal(np.shape(grad_a), a.shape)
    assert_equal(np.shape(grad_b), b.shape)


@mul.law("up to five axes: each gradient sums over all axes along which its factor was stretched")
def sums_all_axes(mul):
    for pair in WIDE:
        a, b = wave(pair[0], 1e-9), wave(pair[1])
        for grad in small_and_infinite(np.broadcast_shapes(*pair)):
            y, (grad_a, grad_b) = mul(a, b, grad=grad)
            assert_close(y, np.multiply(a, b), rtol=1e-12, atol=0)
            assert_close(grad_a, sums(grad * b, a.shape), rtol=1e-9, atol=0)
            assert_close(grad_b, sums(grad * a, b.shape), rtol=1e-9, atol=0)
    grad_a, grad_b = mul(np.array([2.0, 3.0]), np.array(4.0), grad=np.array([np.inf, 1.0]))[1]
    assert_equal(grad_a, np.array([np.inf, 4.0]))
    assert_equal(grad_b, np.array(np.inf))
    a, grad = np.array([1e200, np.inf, 0.0]), np.array([1.0, 2.0, np.nan])
    y, (grad_a, grad_b) = mul(a, np.array(-4.0), grad=grad)
    assert_equal(y, np.array([-4e200, -np.inf, 0.0]))
    assert_equal(grad_a, np.array([-4.0, -8.0, np.nan]))
    assert_equal(grad_b, np.array(np.nan))


@mul.law("a factor of whole numbers needs no gradient; the other factor's gradient is as usual")
def worked_whole_numbers(mul):
    g = np.array([0.25])
    for (a, b), of, gradient in (([0.5], [3]), 0, 0.75), (([3], [0.5]), 1, 0.75):
        y, grads = mul(np.array(a), np.array(b), grad=g)
        assert_close(y, [1.5])
        assert_close(grads[of], [gradient])


@mul.law("sum(a · grad_a) = sum(b · grad_b) = sum(y · g), where g is the incoming gradient")
@given(pair=broadcastable_pairs())
def scales(mul, pair):
    """(1 + t) a gives (1 + t) y. So a change of a by t a must change y by t y."""
    a, b = pair
    g = np.cos(np.arange(np.broadcast(a, b).size)).reshape(np.broadcast(a, b).shape)
    y, (grad_a, grad_b) = mul(a, b, grad=g)
    assert_close((a * grad_a).sum(), (y * g).sum(), atol=1e-12)
    assert_close((b * grad_b).sum(), (y * g).sum(), atol=1e-12)


@mul.law("float32 stays float32, in the product and in both gradients")
@given(pair=broadcastable_pairs())
def product_keeps_float32(mul, pair):
    a, b = (np.array(1.1 * x, np.float32) for x in pair)
    y, grads = mul(a, b, grad=np.ones(np.broadcast_shapes(a.shape, b.shape), np.float32))
    assert_close(y, np.multiply(a, b))
    for value in (y, *grads):
        assert_dtype(value, np.float32)


@mul.mistake("each input got its own value instead of the other's", breaks=mul.laws[0].text)
class OwnValue(Op):
    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, grad):
        return op.unbroadcast(grad * self.a, self.a.shape), op.unbroadcast(grad * self.b, self.b.shape)


@mul.mistake("forgot to sum over the stretched axes", breaks="each gradient has the shape of its input")
class NotUnbroadcast(Op):
    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, grad):
        return grad * self.b, grad * self.a


@mul.mistake("forgot the incoming gradient", breaks=mul.laws[0].text)
class WithoutUpstream(OwnValue):
    def backward(self, grad):
        ones = np.ones_like(grad)
        return op.unbroadcast(ones * self.b, self.a.shape), op.unbroadcast(ones * self.a, self.b.shape)


# ---- 01.2 Sigmoid

sigmoid = Exercise(
    "01.2",
    elementwise.Sigmoid,
    title="a sigmoid that does not overflow, and its slope",
    level=1,
    minutes=15,
    kind="op",
    points=2,
    hints=(
        "e^-x overflows for x = -1000. Which of e^x and e^-x is always safe?",
        "With t = e^-|x|, which is in (0, 1]: y is 1/(1+t) for x >= 0 and t/(1+t) for x < 0.",
        "The slope is y times another number, which depends on y alone. The slope is 1/4 at y = 1/2, and "
        "0 at y = 0 and y = 1.",
    ),
)


@sigmoid.law("at x = 0 the value is 1/2 and the slope is 1/4")
def worked_sigmoid(sigmoid):
    y, (grad_x,) = sigmoid(np.array([0.0]), grad=np.array([1.0]))
    assert_close(y, [0.5])
    assert_close(grad_x, [0.25])


@sigmoid.law("y(x) + y(-x) = 1")
@given(x=arrays(low=-8, high=8))
def is_symmetric(sigmoid, x):
    assert_close(sigmoid(x)[0] + sigmoid(-x)[0], np.ones(x.shape))


@sigmoid.law("ln(y / (1 - y)) = x")
@given(x=arrays(low=-8, high=8))
def inverts_the_logit(sigmoid, x):
    y = sigmoid(x)[0]
    assert_close(np.log(y / (1 - y)), x, atol=1e-9)


@sigmoid.law("the slope is y (1 - y) times the incoming gradient")
@given(x=arrays((3,), -8, 8), g=arrays((3,)))
def has_its_slope(sigmoid, x, g):
    y, (grad_x,) = sigmoid(x, grad=g)
    assert_close(grad_x, g * y * (1 - y))


@sigmoid.law("small values keep all their digits: at x = -40 the value is e^-40")
def keeps_small_values(sigmoid):
    y, (grad_x,) = sigmoid(np.array([np.log(3.0)]), grad=np.array([0.1]))
    assert_close(y, [0.75], rtol=1e-12)
    assert_close(grad_x, [0.01875], rtol=1e-12, atol=0)
    y, (grad_x,) = sigmoid(np.array([-40.0, -5.0]), grad=np.ones(2))
    assert_close(y, [np.exp(-40), 1 / (1 + np.exp(5))], rtol=1e-9, atol=0)
    assert_close(grad_x, [np.exp(-40), np.exp(5) / (1 + np.exp(5)) ** 2], rtol=1e-9, atol=0)
    for x in np.array([-80.0, -700.0]), np.array([-40.0, -80.0, -86.0], np.float32):
        y, (grad_x,) = sigmoid(x, grad=np.ones_like(x))
        assert_close(y, np.exp(x), rtol=1e-5, atol=0)
        assert_close(grad_x, np.exp(x), rtol=1e-5, atol=0)
    _, (grad_x,) = sigmoid(np.array([25.0, 30.0]), grad=np.ones(2))  # 1 - y is small, but not 0
    assert_close(grad_x, np.exp([-25.0, -30.0]), rtol=1e-2, atol=0)


@sigmoid.law("at x = ±10,000 and at ±∞ the value is exactly 1 and 0, without overflow")
def is_stable(sigmoid):
    with np.errstate(over="raise", invalid="raise"):
        y, (grad_x,) = sigmoid(np.array([1e4, -1e4]), grad=np.ones(2))
    assert_close(y, [1.0, 0.0], atol=0)
    assert_close(grad_x, [0.0, 0.0], atol=0)
    for dtype in (np.float32, np.float64):
        with np.errstate(over="raise", invalid="raise"):
            x = np.array([np.inf, -np.inf, 1000.0, -1000.0], dtype)
            y, (grad_x,) = sigmoid(x, grad=np.ones(4, dtype))
        assert_equal(y, np.array([1.0, 0.0, 1.0, 0.0]))
        assert_equal(grad_x, np.zeros(4))
    y, (grad_x,) = sigmoid(np.array([np.nan, 0.0]), grad=np.array([1.0, 4e9]))  # NaN stays NaN
    assert_equal(y, np.array([np.nan, 0.5]))
    assert_equal(grad_x, np.array([np.nan, 1e9]))
    y = sigmoid(np.array([-720.0]))[0]
    assert_close(y, np.exp([-720.0]), rtol=1e-5, atol=0)  # a number above 0, although e^720 overflows


@sigmoid.law(
    "x may have any shape, () and (2, 0) too; float32 stays float32, in the value and in the gradient"
)
def sigmoid_keeps_float32(sigmoid):
    for x in (np.array([[-1.0, 0.5]]), np.array(-2.0), np.zeros((2, 0)), wave((2, 1, 3, 2))):
        for dtype in (np.float32, np.float64):
            grad = wave(x.shape)
            y, (grad_x,) = sigmoid(x.astype(dtype), grad=grad.astype(dtype))
            assert_close(y, 1 / (1 + np.exp(-x)))
            assert_close(grad_x, grad * np.exp(-x) / (1 + np.exp(-x)) ** 2)
            assert_dtype(y, dtype)
            assert_dtype(grad_x, dtype)


@sigmoid.mistake(
    "the formula as written, which overflows",
    breaks="at x = ±10,000 and at ±∞ the value is exactly 1 and 0, without overflow",
)
class Overflowing(Op):
    def forward(self, x):
        self.y = 1 / (1 + np.exp(-x))
        return self.y

    def backward(self, grad):
        return grad * self.y * (1 - self.y)


@sigmoid.mistake("the sign of the exponent is wrong", breaks=sigmoid.laws[1].text)
class Turned(elementwise.Sigmoid):
    def forward(self, x):
        return super().forward(-x)


@sigmoid.mistake("the slope is x (1 - x) instead of y (1 - y)", breaks=sigmoid.laws[0].text)
class SlopeAtX(elementwise.Sigmoid):
    def forward(self, x):
        self.x = x
        return super().forward(x)

    def backward(self, grad):
        return grad * self.x * (1 - self.x)


# ---- 01.3 unbroadcast

unbroadcast = Exercise(
    "01.3",
    op.unbroadcast,
    title="broadcasting, backwards",
    level=2,
    minutes=20,
    points=3,
    hints=(
        "A number used n times collects n gradients: sum over every axis along which it was stretched.",
        "There are two kinds of stretched axes: axes that shape lacks on the left, and axes of length 1 "
        "in shape.",
        "added = tuple(range(grad.ndim - len(shape))). Sum with keepdims=True; a reshape then drops the "
        "added axes.",
    ),
)


@unbroadcast.law("with shape (3,), a gradient (2, 3) becomes the sums of its columns")
def worked_unbroadcast(unbroadcast):
    grad = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    assert_close(unbroadcast(grad, (3,)), [11.0, 22.0, 33.0])
    assert_close(unbroadcast(grad, (2, 1)), [[6.0], [60.0]])
    assert_close(unbroadcast(grad, ()), 66.0)


@unbroadcast.law("several axes at once, up to five: added, stretched or both; a 1 stretched to 0 gives 0")
def worked_several_axes(unbroadcast):
    assert_close(unbroadcast(np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]), (1, 1)), [[66.0]])
    assert_close(unbroadcast(np.arange(12.0).reshape(2, 2, 3), (2, 1)), [[24.0], [42.0]])
    assert_close(unbroadcast(np.array([[0.1, 0.2]]), (1, 1)), [[0.3]], rtol=1e-12)  # in float64
    one_added = np.arange(15.0).reshape(1, 5, 3)
    assert_close(unbroadcast(np.arange(9.0).reshape(1, 3, 3), (1, 3)), [[9.0, 12.0, 15.0]])
    assert_close(unbroadcast(one_added, (1, 3)), [[30.0, 35.0, 40.0]])
    nothing = unbroadcast(np.zeros((2, 0), np.float32), (2, 1))
    assert_equal(nothing, np.zeros((2, 1)))
    assert_dtype(nothing, np.float32)
    assert_dtype(unbroadcast(np.zeros((2, 0, 3), np.float32), (0, 1)), np.float32)
    for pair in WIDE:
        for shape, grad in product(pair, small_and_infinite(np.broadcast_shapes(*pair))):
            assert_close(unbroadcast(grad, shape), sums(grad, shape), rtol=1e-9, atol=0)
    assert_equal(unbroadcast(np.zeros((2, 0)), ()), np.zeros(()))
    assert_equal(unbroadcast(np.array([2**53, 1]), ()), np.array(2**53 + 1))  # float64 has no such number
    lost = np.array([[1.0, np.nan], [np.inf, 1.0]])
    assert_equal(unbroadcast(lost, (2, 1)), np.array([[np.nan], [np.inf]]))
    assert_equal(unbroadcast(lost, (2, 2)), lost)


@unbroadcast.law("the result has the given shape")
@given(pair=broadcastable_pairs())
def has_the_shape(unbroadcast, pair):
    a, b = pair
    result = unbroadcast(a + b, a.shape)
    assert_equal(np.shape(result), a.shape)


@unbroadcast.law("nothing is lost: the total stays the same")
@given(pair=broadcastable_pairs())
def keeps_the_total(unbroadcast, pair):
    a, b = pair
    assert_close(np.sum(unbroadcast(a + b, a.shape)), np.sum(a + b))


@unbroadcast.law(
    "unbroadcast is the adjoint of broadcasting: sum(broadcast(a) · g) = sum(a · unbroadcast(g))"
)
@given(pair=broadcastable_pairs())
def is_the_adjoint(unbroadcast, pair):
    a, g = pair[0], pair[0] + pair[1]
    assert_close(np.sum(a * unbroadcast(g, a.shape)), np.sum(np.broadcast_to(a, g.shape) * g))


@unbroadcast.law("if no axis was stretched, the gradient does not change")
@given(grad=arrays(shapes(min_dims=0)))
def is_the_identity(unbroadcast, grad):
    assert_close(unbroadcast(grad, grad.shape), grad)


@unbroadcast.law("float32 stays float32, and whole numbers stay whole numbers")
def sum_keeps_float32(unbroadcast):
    grad = np.array([[1.0, 2.0, 4.0], [2**17, 2**18, 2**20]], np.float32)
    for shape in ((2, 3), (3,), (2, 1), ()):
        for dtype in (np.float32, np.int64):
            total = unbroadcast(grad.astype(dtype), shape)
            assert_dtype(total, dtype)
            assert_equal(total, sums(grad, shape))


@unbroadcast.mistake("took the mean instead of the sum", breaks=unbroadcast.laws[0].text)
def averages(grad, shape):
    total = op.unbroadcast(grad, shape)
    return total * (total.size / grad.size)


@unbroadcast.mistake("forgot axes of length 1", breaks=unbroadcast.laws[0].text)
def only_added_axes(grad, shape):
    return grad.sum(axis=tuple(range(grad.ndim - len(shape))))


@unbroadcast.mistake("dropped the axes of length 1", breaks=unbroadcast.laws[0].text)
def drops_axes(grad, shape):
    return np.squeeze(op.unbroadcast(grad, shape))
