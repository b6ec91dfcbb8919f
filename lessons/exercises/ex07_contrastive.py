"""Exercises of lesson 07: decide whether two views show the same image, and the area under the ROC curve."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import (
    assert_close,
    assert_dtype,
    assert_equal,
    assert_refuses,
)
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.train import metrics
from minidl.transfer import contrastive


@st.composite
def rows(draw, count=None, max_rows=3):
    """Rows (N, D) of quarters. No row is all zeros."""
    n, d = count or draw(st.integers(1, max_rows)), draw(st.integers(2, 3))
    z = draw(arrays((n, d)))
    z[:, 0] += z.any(axis=1) == 0
    return z


@st.composite
def views(draw, min_rows=1):
    """(z1, z2), two views of the same images as rows (N, D). No row is all zeros."""
    n = draw(st.integers(min_rows, 3))
    z = draw(rows(count=2 * n))
    return z[:n], z[n:]


# ---- 07.1 same_or_not

pairs = Exercise(
    "07.1",
    contrastive.same_or_not,
    title="how similar two views are",
    points=1,
    level=1,
    minutes=10,
    hints=(
        "Compare every row of one view with every row of the other. This gives N N cosines; N of them "
        "belong to one image.",
        "If all rows have length 1, one matrix product (N, D) @ (D, N) gives all cosines.",
        "UnitRows().forward makes rows of length 1; then scores are a @ b.T, and same is np.eye(N, "
        "dtype=bool). Use .ravel() on both.",
    ),
)


@pairs.law(
    "(2, 0), (0, 1) against (3, 3), (0, -1) have scores √½, 0, √½, -1; same is True for the first and last"
)
def worked_pairs(same_or_not):
    scores, same = same_or_not(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 3.0], [0.0, -1.0]]))
    assert_close(scores, [math.sqrt(0.5), 0.0, math.sqrt(0.5), -1.0])
    assert_equal(same, np.array([True, False, False, True]))
    scores, _ = same_or_not(np.array([[0.1, 0.2], [0.3, -3e-9]]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert_close(scores, [1 / math.sqrt(5), 2 / math.sqrt(5), 1.0, -1e-8], rtol=1e-12, atol=1e-15)
    assert_close(same_or_not(np.array([[2.0], [-1.0]]), np.ones((2, 1)))[0], [1.0, 1.0, -1.0, -1.0])


@pairs.law("twenty images at the angles a_i and b_j: scores cos(a_i - b_j), and same is True where i = j")
def many_pairs(same_or_not):
    a, b = np.arange(20.0), np.arange(20.0) ** 2 / 7
    views = (np.stack([np.cos(angles), np.sin(angles), np.zeros(20)], axis=1) for angles in (a, b))
    scores, same = same_or_not(*views)
    assert_close(scores, np.cos(a[:, np.newaxis] - b).ravel())
    assert_equal(same, np.eye(20, dtype=bool).ravel())


@pairs.law("for N images, N pairs show the same image and N N - N pairs do not")
@given(pair=views(min_rows=2))
def counts(same_or_not, pair):
    scores, same = same_or_not(*pair)
    n = len(pair[0])
    assert_equal(np.shape(scores), (n * n,))
    assert_equal([int(np.sum(same)), int(np.size(same))], [n, n * n])


@pairs.law("a view compared with itself has score 1 for each image")
@given(pair=views(min_rows=2))
def one_view(same_or_not, pair):
    scores, same = same_or_not(pair[0], 2 * pair[0])
    assert_close(np.asarray(scores)[np.asarray(same)], np.ones(len(pair[0])))


@pairs.law("swapping the two views transposes the table")
@given(pair=views(min_rows=2))
def transposed(same_or_not, pair):
    n = len(pair[0])
    scores, _ = same_or_not(*pair)
    swapped, _ = same_or_not(*pair[::-1])
    assert_close(np.reshape(swapped, (n, n)).T, np.reshape(scores, (n, n)))


@pairs.law("scores are float64, also for float32 rows, for rows of 1e-30 and for int8 rows of 100")
def wide_scores(same_or_not):
    rows = np.array([[3, 4], [4, -3]], np.float32)
    short = rows * np.float32(1e-30)
    for views in ((rows, rows), (short, rows), (rows, short)):
        scores, same = same_or_not(*views)
        assert_dtype(scores, np.float64)
        assert_dtype(same, bool)
        assert_close(scores, [1.0, 0.0, 0.0, 1.0])
    whole = np.array([[100, 0], [100, 100], [100, 0], [0, -100]], np.int8)
    scores, _ = same_or_not(whole[:2], whole[2:])
    assert_dtype(scores, np.float64)
    assert_close(scores, [1.0, 0.0, math.sqrt(0.5), -math.sqrt(0.5)])


@pairs.law("ValueError for one image alone, views of different shapes, and a row of zeros")
def refuses_one_image(same_or_not):
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    assert_refuses("one image", same_or_not, rows[:1], rows[:1])
    assert_refuses("no image", same_or_not, rows[:0], rows[:0])
    assert_refuses("two images against one", same_or_not, rows[:2], rows[:1])
    assert_refuses("a row of zeros", same_or_not, rows[1:], rows[:2])
    assert_refuses("a row of zeros in the other view", same_or_not, rows[:2], rows[:0:-1])
    for d in (1, 3):
        assert_refuses(f"rows of two numbers against {d}", same_or_not, rows[:2], np.ones((2, d)))
        assert_refuses(f"rows of {d} against two numbers", same_or_not, np.ones((2, d)), rows[:2])


@pairs.mistake("products instead of cosines", breaks=pairs.laws[0].text)
def dot_products(features_a, features_b):
    return (features_a @ features_b.T).ravel(), np.eye(len(features_a), dtype=bool).ravel()


@pairs.mistake(
    "compared only row i with row i",
    breaks="for N images, N pairs show the same image and N N - N pairs do not",
)
def partners_only(features_a, features_b):
    a, b = (contrastive.UnitRows().forward(x) for x in (features_a, features_b))
    return (a * b).sum(axis=1), np.ones(len(a), dtype=bool)


@pairs.mistake("compared a view with itself", breaks="swapping the two views transposes the table")
def with_itself(features_a, features_b):
    return contrastive.same_or_not(features_a, features_a)


# ---- 07.2 roc_auc

auc = Exercise(
    "07.2",
    metrics.roc_auc,
    title="the area under the ROC curve",
    points=2,
    level=2,
    minutes=15,
    hints=(
        "Take all pairs of a positive and a negative example. In what part of them does the positive one "
        "have the higher score?",
        "Sort the negatives; np.searchsorted then counts the lower ones for all positives at once.",
        'Take the mean of side="left" (lower) and side="right" (lower or equal). Then a tie counts 1/2.',
    ),
)


@st.composite
def scored(draw):
    """Scores (M,), often tied, and bools (M,). At least one bool is True and one is False."""
    m = draw(st.integers(2, 8))
    positive = np.arange(m) < draw(st.integers(1, m - 1))
    return draw(arrays((m,), -1, 1)), positive[draw(st.permutations(range(m)))]


@auc.law("positives 0.9, 0.4 and negatives 0.5, 0.4, 0.1: 4 of 6 pairs are won and one is a tie, so 0.75")
def worked_auc(roc_auc):
    scores, positive = np.array([0.9, 0.5, 0.4, 0.4, 0.1]), np.array([True, False, True, False, False])
    found = roc_auc(scores, positive)
    assert isinstance(found, float), f"the result must be a float, not {type(found).__name__}"
    assert_close(found, 0.75)


@auc.law("AUC is the fraction of pairs in which the positive score is higher, where a tie counts 1/2")
@given(case=scored())
def counts_pairs(roc_auc, case):
    scores, positive = case
    wins = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert_close(roc_auc(scores, positive), float(np.mean(wins)))


@auc.law("ValueError for NaN among the scores, and for examples of only one kind")
def refuses_scores(roc_auc):
    positive = np.array([True, False])
    assert_refuses("a score of NaN", roc_auc, np.array([np.nan, 0.0]), positive)
    assert_refuses("a negative's score of NaN", roc_auc, np.array([0.0, np.nan]), positive)
    four, last = np.array([0.0, 1.0, 2.0, np.nan]), np.array([True, False, False, True])
    assert_refuses("a fourth score of NaN", roc_auc, four, last)
    assert_refuses("NaN beside positives above all negatives", roc_auc, four, np.arange(4) > 1)
    for kind in (True, False):
        for n in (1, 2):
            assert_refuses(f"positive = {kind} for all {n}", roc_auc, np.arange(n), np.full(n, kind))


@auc.law("if all scores are equal, AUC is 1/2")
@given(case=scored())
def all_tied(roc_auc, case):
    scores, positive = case
    assert_close(roc_auc(np.zeros_like(scores), positive), 0.5)


@auc.law("an increasing function of the scores changes nothing")
@given(case=scored())
def order_alone(roc_auc, case):
    scores, positive = case
    assert_close(roc_auc(np.exp(scores), positive), roc_auc(scores, positive))


@auc.law("with positives and negatives swapped, or with negated scores, the result is 1 - AUC")
@given(case=scored())
def mirrored(roc_auc, case):
    scores, positive = case
    mine = roc_auc(scores, positive)
    assert_close(roc_auc(scores, ~positive), 1 - mine)
    assert_close(roc_auc(-scores, positive), 1 - mine)


@auc.law("scores that differ by 1e-12 or 1e-200 are not a tie, and the order holds in uint8 too")
def nearly_tied(roc_auc):
    positive = np.array([True, False, False])
    for scores in ([0.5, 0.5 + 1e-12, 0.5], [0.0, 1e-200, 0.0], [3, 4, 3], np.uint8([0, 4, 0])):
        assert_close(roc_auc(np.array(scores), positive), 0.25)
        assert_close(roc_auc(np.array(scores), ~positive), 0.75)
    many = np.arange(420)  # the negatives are every fourth, from 0; 3k positives are below the negative 4k
    wanted = sum(315 - 3 * k for k in range(105)) / (315 * 105)
    assert_close(roc_auc(many**3, many % 4 > 0), wanted, rtol=1e-12, atol=0)


@auc.law("infinite scores are above or below all others, and equal to each other")
def infinite_scores(roc_auc):
    scores, positive = np.array([np.inf, np.inf, -np.inf]), np.array([True, False, False])
    assert_close(roc_auc(scores, positive), 0.75)
    assert_close(roc_auc(-scores, positive), 0.25)
    scores = np.array([np.inf, np.finfo(float).max, -np.inf, -np.finfo(float).max])
    assert_close(roc_auc(scores, np.array([True, False, False, True])), 0.75)  # infinity is above the largest


@auc.mistake("a tie counts 0", breaks="if all scores are equal, AUC is 1/2")
def ties_lost(scores, positive):
    return float((scores[positive][:, np.newaxis] > scores[~positive]).mean())


@auc.mistake("computes the accuracy at the threshold 0", breaks=auc.laws[0].text)
def accuracy_at_zero(scores, positive):
    return float(((scores > 0) == positive).mean())


@auc.mistake(
    "uses the values of the scores, not only their order",
    breaks="an increasing function of the scores changes nothing",
)
def by_values(scores, positive):
    return float(scores[positive].mean() - scores[~positive].mean() + 1) / 2
