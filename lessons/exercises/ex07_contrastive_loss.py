"""Exercises of lesson 07: rows of length 1, and the loss of SimCLR."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises import by_hand
from lessons.exercises.ex07_contrastive import rows, views
from minidl.classroom.compare import (
    assert_close,
    assert_dtype,
    assert_gradients,
    assert_refuses,
)
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import temperatures
from minidl.engine.functions import concatenate, where
from minidl.engine.tensor import apply
from minidl.nn import functional as F
from minidl.transfer import contrastive

# ---- 07.3 UnitRows

unit = Exercise(
    "07.3",
    contrastive.UnitRows,
    title="rows of length 1, and their gradient",
    kind="op",
    points=3,
    level=2,
    minutes=20,
    hints=(
        "u = z / |z| for each row. A change of z along itself does not change u, so this part of g has no "
        "effect.",
        "dL/dz = (g - u (u . g)) / |z|: the part of g that remains is at a right angle to u.",
        "keepdims=True gives lengths (N, 1), which can divide the rows. First divide each row by its "
        "largest absolute value.",
    ),
)


@unit.law("(3, 4) gives (0.6, 0.8); a gradient (1, 0) becomes (0.128, -0.096), a gradient (3, 4) becomes 0")
def worked_unit(unit):
    z = np.array([[3.0, 4.0], [3.0, 4.0]])
    u, (grad_z,) = unit(z, grad=np.array([[1.0, 0.0], [3.0, 4.0]]))
    assert_close(u, [[0.6, 0.8], [0.6, 0.8]], rtol=1e-12)
    assert_close(grad_z, [[0.128, -0.096], [0.0, 0.0]], rtol=1e-12)
    u, (grad_z,) = unit(np.array([[-4.0], [0.5]]), grad=np.array([[1.0], [3.0]]))  # no other direction
    assert_close(u, [[-1.0], [1.0]])
    assert_close(grad_z, [[0.0], [0.0]])
    _, (grad_z,) = unit(np.array([[1.0, 2.0]]), grad=np.array([[0.1, 0.0]]))
    assert_close(grad_z, np.array([[0.08, -0.04]]) / math.sqrt(5), rtol=1e-12, atol=0)
    many = np.tile(np.arange(100.0), (20, 1))  # many columns; the part along u is the mean, 49.5
    u, (grad_z,) = unit(np.full((20, 100), -3.0), grad=many)
    assert_close(u, np.full((20, 100), -0.1))
    assert_close(grad_z, (many - 49.5) / 30)


@unit.law("each row has length 1 and keeps its direction")
@given(z=rows())
def length_one(unit, z):
    u, _ = unit(z)
    assert_close((np.array(u) ** 2).sum(axis=1), 1.0)
    assert_close(u * np.sqrt((z**2).sum(axis=1, keepdims=True)), z)


@unit.law("the gradient agrees with finite differences")
@given(z=rows())
def unit_gradient(unit, z):
    assert_gradients(unit, z)


@unit.law("a row that is three times as long has the same u and one third of the gradient")
@given(z=rows())
def longer_row(unit, z):
    g = np.cos(np.arange(z.size)).reshape(z.shape)
    u, (grad_z,) = unit(z, grad=g)
    longer, (grad_longer,) = unit(3 * z, grad=g)
    assert_close(longer, u)
    assert_close(3 * grad_longer, grad_z)


@unit.law("float16, float32 and float64 stay as they are")
def rows_keep_float32(unit):
    for dtype in (np.float32, np.float64, np.float16):
        z = np.array([[3, 4]], dtype)
        u, grads = unit(z, grad=np.ones_like(z))
        assert_dtype(u, dtype)
        assert_dtype(grads[0], dtype)


@unit.law("float32 rows of 1e30 and 1e-35 have a direction too, although float32 cannot hold their squares")
def far_rows(unit):
    both = np.array([[3e30, 4e30, 0], [0, 0, -5e-35]], np.float32)
    assert_close(unit(both)[0], [[0.6, 0.8, 0.0], [0.0, 0.0, -1.0]])
    for size in (1e30, 1e-22, 1e-35):  # the squares of 1e-22 have only few digits
        z = np.array([[3, 4, 0], [0, 0, -5]], np.float32) * np.float32(size)
        u, (grad_z,) = unit(z, grad=np.array([[1, 0, 0], [0, 1, 0]], np.float32))
        assert_close(u, [[0.6, 0.8, 0.0], [0.0, 0.0, -1.0]])
        assert_close(grad_z * np.float64(size), [[0.128, -0.096, 0.0], [0.0, 0.2, 0.0]], rtol=1e-5)


@unit.mistake("divided by the squared length", breaks=unit.laws[0].text)
class SquaredLength(contrastive.UnitRows):
    def forward(self, z):
        self.length = (z**2).sum(axis=1, keepdims=True)
        self.u = z / self.length
        return self.u


@unit.mistake("uses one length for all rows", breaks="each row has length 1 and keeps its direction")
class OneLength(contrastive.UnitRows):
    def forward(self, z):
        self.length = np.sqrt((z**2).sum())
        self.u = z / self.length
        return self.u


@unit.mistake(
    "treats the length as a constant in backward", breaks="the gradient agrees with finite differences"
)
class ConstantLength(contrastive.UnitRows):
    def backward(self, grad):
        return grad / self.length


@unit.mistake(
    "forgot to divide the gradient by the length",
    breaks="a row that is three times as long has the same u and one third of the gradient",
)
class UndividedGradient(contrastive.UnitRows):
    def backward(self, grad):
        return super().backward(grad) * self.length


# ---- 07.4 nt_xent

loss = Exercise(
    "07.4",
    contrastive.nt_xent,
    title="the loss of SimCLR",
    kind="tensor",
    points=3,
    level=2,
    minutes=25,
    hints=(
        "For each row, one of the 2N - 1 other rows is the partner. This is classification: use "
        "F.cross_entropy of the cosines.",
        "u = apply(UnitRows(), concatenate([z1, z2])), S = u @ u.T; drop each row's own column.",
        "S[~np.eye(2 * n, dtype=bool)].reshape(2 * n, -1) drops the diagonal. In which column is the "
        "partner of row i now?",
    ),
)


@loss.law("two images at a right angle, both views in the same direction: log((e^(1/T) + 2) / e^(1/T))")
def worked_loss(nt_xent):
    z1, z2 = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 0.0], [0.0, 0.5]])
    for T in (0.5, 1, 1e4):
        value, _ = nt_xent(z1, z2, temperature=T)
        assert_close(value, math.log((math.exp(1 / T) + 2) / math.exp(1 / T)))
    for T in (1e-3, 1e-15, 1e-30):
        cold, grads = nt_xent(z1, z2[::-1].copy(), grad=np.array(1.0), temperature=T)
        warm = math.log(1 + 2 * math.exp(-1 / T))
        assert_close(cold, 1 / T + warm, rtol=1e-12)  # e^1000 would overflow
        assert np.isfinite(grads).all(), f"the gradients at T = {T} are {grads}"
        opposite, _ = nt_xent(z1, -z2, temperature=T)  # all exponents are far below those of S[i, i] = 1
        assert_close(opposite, 1 / T + math.log(2))
        assert_close(nt_xent(z1[:1], -z2[:1], temperature=T)[0], 0.0)  # and here there is no other one
        narrow, _ = nt_xent(*np.float32([z1, z2[::-1]]), temperature=T)
        assert_close(narrow, cold, rtol=1e-5)
    whole = z1.astype(int)
    z2 = np.array([[3.0, 1.0], [0.25, 0.5]])  # beside an array of whole numbers, which is no Tensor
    both = nt_xent(z1, z2, grad=np.array(1.0), temperature=0.5)[1]
    assert_close(nt_xent(whole, z2, grad=np.array(1.0), temperature=0.5)[1][1], both[1])
    assert_close(nt_xent(z2, whole, grad=np.array(1.0), temperature=0.5)[1][0], both[1])
    assert_close(nt_xent(whole, whole, temperature=1.0)[0], math.log(1 + 2 / math.e))  # no Tensor
    one_tensor, two_tensors = nt_xent(z1, z2=0.3 * z2, temperature=1), nt_xent(z1, 0.3 * z2, temperature=1)
    assert_close(one_tensor[0], two_tensors[0], rtol=1e-12)  # an array beside float64 keeps its digits
    many = np.cos(np.arange(160.0)).reshape(2, 40, 2)  # 40 images
    value, grads = nt_xent(*many, grad=np.array(1.0), temperature=0.5)
    assert_close(value, by_hand.nt_xent(np.concatenate(many), 0.5))
    slopes = by_hand.slopes(lambda z: by_hand.nt_xent(z, 0.5), np.concatenate(many))
    assert_close(np.concatenate(grads), slopes, rtol=1e-5, atol=1e-7)


@loss.law(
    "the loss is the mean of -log p; p is the softmax probability of the partner among the 2N - 1 others"
)
@given(pair=views(), temperature=temperatures())
def shares(nt_xent, pair, temperature):
    value, _ = nt_xent(*pair, temperature=temperature)
    assert_close(value, by_hand.nt_xent(np.concatenate(pair), temperature))


@loss.law("float32 stays float32")
def loss_keeps_float32(nt_xent):
    z = np.array([[3, 4, 0], [0, 1, 0]], np.float32)
    value, grads = nt_xent(z, z[::-1], grad=np.array(1, np.float32), temperature=0.5)
    for answer in (value, *grads):
        assert_dtype(answer, np.float32)
    wide = z[::-1].astype(np.float64)  # by its name, so it stays an array beside the Tensor
    assert_dtype(nt_xent(z, z2=wide, temperature=0.5)[0], np.float32)
    assert_dtype(nt_xent(np.eye(2, 3, dtype=int), z, temperature=0.5)[0], np.float32)
    for short in (z * np.float32(1e-25), z * np.float32([[1e-25], [1]])):  # the squares become 0
        assert_close(nt_xent(short, z[::-1], temperature=0.5)[0], value, rtol=1e-5)


@loss.law("ValueError for a row of zeros, views of different shapes, and a temperature of 0")
def loss_refuses(nt_xent):
    z, zeros = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [0.0, 0.0]])
    for pair in ((z, zeros), (zeros[::-1], z), (np.zeros((1, 2)), z[:1])):
        assert_refuses("a row of zeros", nt_xent, *pair, temperature=1.0)
    assert_refuses("two rows and one", nt_xent, z, z[:1], temperature=1.0)
    for pair in ((z[:1], np.ones((3, 2))), (np.ones((3, 2)), z[:1])):
        assert_refuses("one row and three", nt_xent, *pair, temperature=1.0)
    for d in (1, 3):
        assert_refuses(f"rows of two numbers and of {d}", nt_xent, z, np.ones((2, d)), temperature=1.0)
    for T in (0.0, -1.0):
        assert_refuses(f"a temperature of {T}", nt_xent, z, z, temperature=T)


@loss.law("the gradient agrees with finite differences")
@given(pair=views(), temperature=st.sampled_from([0.5, 1.0, 2.0]))
def loss_gradient(nt_xent, pair, temperature):
    _, grads = nt_xent(*pair, grad=np.array(1.0), temperature=temperature)
    for i, z in enumerate(pair):  # both views in one direction each: far fewer calls than value by value
        move = np.cos(np.arange(z.size) + 1.0).reshape(z.shape)
        ends = ([*pair[:i], z + h * move, *pair[i + 1 :]] for h in (1e-5, -1e-5))
        up, down = (nt_xent(*views, temperature=temperature)[0] for views in ends)
        assert_close(np.sum(move * grads[i]), float(up - down) / 2e-5, rtol=1e-5, atol=1e-7)


@loss.law("if all embeddings are equal, the loss is log(2N - 1); for one image the loss is 0")
@given(n=st.sampled_from([1, 2, 3, 4, 20]), temperature=temperatures())
def all_equal(nt_xent, n, temperature):
    for numbers in ([1.0, -2.0], [3.0]):
        equal_rows(nt_xent, np.tile(numbers, (n, 1)), n, temperature)


def equal_rows(nt_xent, z, n, temperature):
    value, _ = nt_xent(z, z, temperature=temperature)
    assert_close(value, math.log(2 * n - 1))


@loss.law("swapping the views and reordering the images change nothing")
@given(pair=views(), temperature=temperatures())
def order_of_views(nt_xent, pair, temperature):
    z1, z2 = pair
    value, _ = nt_xent(z1, z2, temperature=temperature)
    for other in ((z2, z1), (z1[::-1], z2[::-1])):
        assert_close(nt_xent(*other, temperature=temperature)[0], value)


@loss.law("the length of an embedding does not matter, and its gradient is at a right angle to it")
@given(pair=views(), temperature=temperatures(), factor=st.sampled_from([0.25, 3.0, 1e4, 1e-8, 1e-20]))
def lengths_do_not_matter(nt_xent, pair, temperature, factor):
    value, grads = nt_xent(*pair, grad=np.array(1.0), temperature=temperature)
    longer, _ = nt_xent(pair[0] * factor, pair[1], temperature=temperature)
    assert_close(longer, value)
    for z, grad_z in zip(pair, grads, strict=True):
        assert_close((z * grad_z).sum(axis=1), 0.0)


def nt_xent_with(z1, z2, temperature, *, unit_rows=True, mask=True, forget=False):
    """nt_xent with something left out."""
    n = len(z1)
    z = concatenate([z1, z2])
    u = apply(contrastive.UnitRows(), z) if unit_rows else z
    S = u @ u.T
    S = where(np.eye(2 * n, dtype=bool), -np.inf, S) if mask else S
    partner = np.roll(np.arange(2 * n), n)
    return F.cross_entropy(
        S[:n] if forget else S, partner[:n] if forget else partner, temperature=temperature
    )


@loss.mistake("each row is also compared with itself", breaks=loss.laws[0].text)
def chooses_itself(z1, z2, temperature):
    return nt_xent_with(z1, z2, temperature, mask=False)


@loss.mistake(
    "products instead of cosines",
    breaks="the length of an embedding does not matter, and its gradient is at a right angle to it",
)
def products(z1, z2, temperature):
    return nt_xent_with(z1, z2, temperature, unit_rows=False)


@loss.mistake(
    "only the rows of the first view have a loss",
    breaks="swapping the views and reordering the images change nothing",
)
def first_view_only(z1, z2, temperature):
    return nt_xent_with(z1, z2, temperature, forget=True)


@loss.mistake("multiplied by the temperature", breaks=loss.laws[0].text)
def times_temperature(z1, z2, temperature):
    return nt_xent_with(z1, z2, 1 / temperature)
