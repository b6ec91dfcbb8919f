"""Exercises of lesson 07: same or not, the area under the ROC curve, rows of length 1, SimCLR's loss."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises import by_hand
from minidl.classroom.compare import (
    assert_close,
    assert_dtype,
    assert_equal,
    assert_gradients,
    assert_refuses,
)
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, temperatures
from minidl.engine.functions import concatenate, where
from minidl.engine.tensor import apply
from minidl.nn import functional as F
from minidl.train import metrics
from minidl.transfer import contrastive


@st.composite
def rows(draw, count=None, max_rows=3):
    """Rows (N, D) of quarters, none of them all zeros."""
    n, d = count or draw(st.integers(1, max_rows)), draw(st.integers(2, 3))
    z = draw(arrays((n, d)))
    z[:, 0] += z.any(axis=1) == 0
    return z


@st.composite
def views(draw, min_rows=1):
    """(z1, z2), two views of the same images as rows (N, D), none of them all zeros."""
    n = draw(st.integers(min_rows, 3))
    z = draw(rows(count=2 * n))
    return z[:n], z[n:]


# ---- 07.1 same_or_not

pairs = Exercise(
    "07.1",
    contrastive.same_or_not,
    points=1,
    level=1,
    minutes=10,
    hints=(
        "Every row of the one against every row of the other: N N cosines, of which N are of one image.",
        "With rows of length 1 a matrix product is all cosines: (N, D) @ (D, N).",
        "a @ b.T for rows of length 1, which UnitRows().forward makes; np.eye(N, dtype=bool). Both .ravel().",
    ),
)


@pairs.law("(2, 0), (0, 1) against (3, 3), (0, -1): √½, 0, √½, -1, the first and last the same")
def worked_pairs(same_or_not):
    scores, same = same_or_not(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 3.0], [0.0, -1.0]]))
    assert_close(scores, [math.sqrt(0.5), 0.0, math.sqrt(0.5), -1.0])
    assert_equal(same, np.array([True, False, False, True]))


@pairs.law("of N images N pairs are the same and N N - N are not")
@given(pair=views(min_rows=2))
def counts(same_or_not, pair):
    scores, same = same_or_not(*pair)
    n = len(pair[0])
    assert_equal(np.shape(scores), (n * n,))
    assert_equal([int(np.sum(same)), int(np.size(same))], [n, n * n])


@pairs.law("a pair of one and the same view has score 1")
@given(pair=views(min_rows=2))
def one_view(same_or_not, pair):
    scores, same = same_or_not(pair[0], 2 * pair[0])
    assert_close(np.asarray(scores)[np.asarray(same)], np.ones(len(pair[0])))


@pairs.law("the other view first: the same table, transposed")
@given(pair=views(min_rows=2))
def transposed(same_or_not, pair):
    n = len(pair[0])
    scores, _ = same_or_not(*pair)
    swapped, _ = same_or_not(*pair[::-1])
    assert_close(np.reshape(swapped, (n, n)).T, np.reshape(scores, (n, n)))


@pairs.law("scores are float64, of float32 rows and of rows of 1e-30 too")
def wide_scores(same_or_not):
    rows = np.array([[3, 4], [4, -3]], np.float32)
    for factor in (1.0, 1e-30):
        scores, same = same_or_not(rows * np.float32(factor), rows)
        assert_dtype(scores, np.float64)
        assert_dtype(same, bool)
        assert_close(scores, [1.0, 0.0, 0.0, 1.0])


@pairs.law("one image alone, another number of images in the other view, a row of zeros: ValueError")
def refuses_one_image(same_or_not):
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    assert_refuses("one image", same_or_not, rows[:1], rows[:1])
    assert_refuses("two images against one", same_or_not, rows[:2], rows[:1])
    assert_refuses("a row of zeros", same_or_not, rows[1:], rows[:2])
    assert_refuses("a row of zeros in the other view", same_or_not, rows[:2], rows[1:])


@pairs.mistake("products instead of cosines", breaks=pairs.laws[0].text)
def dot_products(features_a, features_b):
    return (features_a @ features_b.T).ravel(), np.eye(len(features_a), dtype=bool).ravel()


@pairs.mistake("only row i with row i", breaks="of N images N pairs are the same and N N - N are not")
def partners_only(features_a, features_b):
    a, b = (contrastive.UnitRows().forward(x) for x in (features_a, features_b))
    return (a * b).sum(axis=1), np.ones(len(a), dtype=bool)


@pairs.mistake("compared a view with itself", breaks="the other view first: the same table, transposed")
def with_itself(features_a, features_b):
    return contrastive.same_or_not(features_a, features_a)


# ---- 07.2 roc_auc

auc = Exercise(
    "07.2",
    metrics.roc_auc,
    points=2,
    level=2,
    minutes=15,
    hints=(
        "Of all pairs of a positive and a negative, in how many has the positive the higher score?",
        "Sort the negatives; np.searchsorted then counts the lower ones for all positives at once.",
        'Mean of side="left" (lower) and side="right" (lower or equal): a tie then counts one half.',
    ),
)


@st.composite
def scored(draw):
    """Scores (M,), often tied, and bools (M,), both kinds among them."""
    m = draw(st.integers(2, 8))
    positive = np.arange(m) < draw(st.integers(1, m - 1))
    return draw(arrays((m,), -1, 1)), positive[draw(st.permutations(range(m)))]


@auc.law("positives 0.9 and 0.4 against 0.5, 0.4, 0.1: 4 pairs of 6 won and one tied, 0.75")
def worked_auc(roc_auc):
    scores, positive = np.array([0.9, 0.5, 0.4, 0.4, 0.1]), np.array([True, False, True, False, False])
    assert_close(roc_auc(scores, positive), 0.75)


@auc.law("it is the share of pairs that the positive one wins, a tie being half a win")
@given(case=scored())
def counts_pairs(roc_auc, case):
    scores, positive = case
    wins = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert_close(roc_auc(scores, positive), float(np.mean(wins)))


@auc.law("NaN among the scores, and one kind alone, are refused with a ValueError")
def refuses_scores(roc_auc):
    positive = np.array([True, False])
    assert_refuses("a score of NaN", roc_auc, np.array([np.nan, 0.0]), positive)
    for kind in (True, False):
        assert_refuses(f"positive = {kind} for all", roc_auc, np.array([0.5, 1.0]), np.full(2, kind))


@auc.law("equal scores say nothing: 1/2")
@given(case=scored())
def all_tied(roc_auc, case):
    scores, positive = case
    assert_close(roc_auc(np.zeros_like(scores), positive), 0.5)


@auc.law("a rising function of the scores changes nothing")
@given(case=scored())
def order_alone(roc_auc, case):
    scores, positive = case
    assert_close(roc_auc(np.exp(scores), positive), roc_auc(scores, positive))


@auc.law("negatives taken for positives, or the scores negated: 1 - AUC")
@given(case=scored())
def mirrored(roc_auc, case):
    scores, positive = case
    mine = roc_auc(scores, positive)
    assert_close(roc_auc(scores, ~positive), 1 - mine)
    assert_close(roc_auc(-scores, positive), 1 - mine)


@auc.law("scores that differ by 1e-12 are no tie")
def nearly_tied(roc_auc):
    scores, positive = np.array([0.5, 0.5 + 1e-12, 0.5]), np.array([True, False, False])
    assert_close(roc_auc(scores, positive), 0.25)


@auc.mistake("a tie counts as lost", breaks="equal scores say nothing: 1/2")
def ties_lost(scores, positive):
    return float((scores[positive][:, np.newaxis] > scores[~positive]).mean())


@auc.mistake("accuracy at the threshold 0", breaks=auc.laws[0].text)
def accuracy_at_zero(scores, positive):
    return float(((scores > 0) == positive).mean())


@auc.mistake(
    "went by the values, not by their order", breaks="a rising function of the scores changes nothing"
)
def by_values(scores, positive):
    return float(scores[positive].mean() - scores[~positive].mean() + 1) / 2


# ---- 07.3 UnitRows

unit = Exercise(
    "07.3",
    contrastive.UnitRows,
    kind="op",
    points=3,
    level=2,
    minutes=20,
    hints=(
        "u = z / |z| for each row. Moving z along itself does not move u, so that part of g is lost.",
        "dL/dz = (g - u (u . g)) / |z|: what is left of g is at a right angle to u.",
        "keepdims=True makes lengths (N, 1), which divide rows. Divide by the row's largest number first.",
    ),
)


@unit.law("(3, 4) becomes (0.6, 0.8); the gradient (1, 0) comes back as (0.128, -0.096), (3, 4) as nothing")
def worked_unit(unit):
    z = np.array([[3.0, 4.0], [3.0, 4.0]])
    u, (grad_z,) = unit(z, grad=np.array([[1.0, 0.0], [3.0, 4.0]]))
    assert_close(u, [[0.6, 0.8], [0.6, 0.8]])
    assert_close(grad_z, [[0.128, -0.096], [0.0, 0.0]])


@unit.law("each row has length 1 and the direction that it had")
@given(z=rows())
def length_one(unit, z):
    u, _ = unit(z)
    assert_close((np.array(u) ** 2).sum(axis=1), 1.0)
    assert_close(u * np.sqrt((z**2).sum(axis=1, keepdims=True)), z)


@unit.law("the gradient is the one of finite differences")
@given(z=rows())
def unit_gradient(unit, z):
    assert_gradients(unit, z)


@unit.law("a row three times as long has the same u and a third of the gradient")
@given(z=rows())
def longer_row(unit, z):
    g = np.cos(np.arange(z.size)).reshape(z.shape)
    u, (grad_z,) = unit(z, grad=g)
    longer, (grad_longer,) = unit(3 * z, grad=g)
    assert_close(longer, u)
    assert_close(3 * grad_longer, grad_z)


@unit.law("float32 stays float32")
def rows_keep_float32(unit):
    z = np.array([[3, 4]], np.float32)
    u, grads = unit(z, grad=np.ones_like(z))
    assert_dtype(u, np.float32)
    assert_dtype(grads[0], np.float32)


@unit.law("rows of 1e30 and 1e-30 in float32, whose squares it cannot hold, have a direction too")
def far_rows(unit):
    for size in (1e30, 1e-30):
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


@unit.mistake("one length for all rows", breaks="each row has length 1 and the direction that it had")
class OneLength(contrastive.UnitRows):
    def forward(self, z):
        self.length = np.sqrt((z**2).sum())
        self.u = z / self.length
        return self.u


@unit.mistake("took the length for a constant", breaks="the gradient is the one of finite differences")
class ConstantLength(contrastive.UnitRows):
    def backward(self, grad):
        return grad / self.length


@unit.mistake(
    "forgot to divide the gradient by the length",
    breaks="a row three times as long has the same u and a third of the gradient",
)
class UndividedGradient(contrastive.UnitRows):
    def backward(self, grad):
        return super().backward(grad) * self.length


# ---- 07.4 nt_xent

loss = Exercise(
    "07.4",
    contrastive.nt_xent,
    kind="tensor",
    points=3,
    level=2,
    minutes=25,
    hints=(
        "One of the 2N - 1 other rows is the partner: it is classification, so F.cross_entropy of cosines.",
        "u = apply(UnitRows(), concatenate([z1, z2])), S = u @ u.T; drop each row's own column.",
        "S[~np.eye(2 * n, dtype=bool)].reshape(2 * n, -1); where has row i its partner now?",
    ),
)


@loss.law("two images at right angles, partners alike: log((e^(1/T) + 2) / e^(1/T))")
def worked_loss(nt_xent):
    z1, z2 = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 0.0], [0.0, 0.5]])
    for T in (0.5, 1.0):
        value, _ = nt_xent(z1, z2, temperature=T)
        assert_close(value, math.log((math.exp(1 / T) + 2) / math.exp(1 / T)))


@loss.law("it is the mean of -log of the share that the partner has among the 2N - 1 others")
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


@loss.law("a row of zeros, views of another shape and a temperature of 0 are refused with a ValueError")
def loss_refuses(nt_xent):
    z, zeros = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [0.0, 0.0]])
    assert_refuses("a row of zeros", nt_xent, z, zeros, temperature=1.0)
    assert_refuses("two rows and one", nt_xent, z, z[:1], temperature=1.0)
    assert_refuses("a temperature of 0", nt_xent, z, z, temperature=0.0)


@loss.law("the gradient is the one of finite differences")
@given(pair=views(), temperature=st.sampled_from([0.5, 1.0, 2.0]))
def loss_gradient(nt_xent, pair, temperature):
    assert_gradients(nt_xent, *pair, temperature=temperature)


@loss.law("where all embeddings are equal it is log(2N - 1), for one image 0")
@given(n=st.integers(1, 4), temperature=temperatures())
def all_equal(nt_xent, n, temperature):
    z = np.tile([1.0, -2.0], (n, 1))
    value, _ = nt_xent(z, z, temperature=temperature)
    assert_close(value, math.log(2 * n - 1))


@loss.law("swapping the views and reordering the images change nothing")
@given(pair=views(), temperature=temperatures())
def order_of_views(nt_xent, pair, temperature):
    z1, z2 = pair
    value, _ = nt_xent(z1, z2, temperature=temperature)
    for other in ((z2, z1), (z1[::-1], z2[::-1])):
        assert_close(nt_xent(*other, temperature=temperature)[0], value)


@loss.law("the length of an embedding does not matter, and no gradient points along one")
@given(pair=views(), temperature=temperatures(), factor=st.sampled_from([0.25, 3.0, 1e4, 1e-8]))
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


@loss.mistake("each row is among its own alternatives", breaks=loss.laws[0].text)
def chooses_itself(z1, z2, temperature):
    return nt_xent_with(z1, z2, temperature, mask=False)


@loss.mistake(
    "products instead of cosines",
    breaks="the length of an embedding does not matter, and no gradient points along one",
)
def products(z1, z2, temperature):
    return nt_xent_with(z1, z2, temperature, unit_rows=False)


@loss.mistake(
    "only the first view chooses", breaks="swapping the views and reordering the images change nothing"
)
def first_view_only(z1, z2, temperature):
    return nt_xent_with(z1, z2, temperature, forget=True)


@loss.mistake("multiplied by the temperature", breaks=loss.laws[0].text)
def times_temperature(z1, z2, temperature):
    return nt_xent_with(z1, z2, 1 / temperature)
