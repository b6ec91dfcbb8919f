"""Exercises of lesson 11: a coarser histogram, and the information that a threshold loses."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.compress import calibrate

numbers = st.integers(0, 9)


def counts_of(bins):
    return st.lists(numbers, min_size=bins, max_size=bins).map(lambda row: np.array(row, np.int64))


some_counts = st.sampled_from([2, 4, 8]).flatmap(counts_of)
any_counts = st.integers(1, 8).flatmap(counts_of)

# ---- 11.1 coarser

coarse = Exercise(
    "11.1",
    calibrate.coarser,
    title="a histogram with fewer bins",
    points=1,
    level=1,
    minutes=10,
    hints=(
        "One halving makes the bins twice as wide. The first two bins become the first, the next two "
        "the second. The upper half of the bins is new, so its counts are 0.",
        "reshape(-1, 2) puts the pairs into rows, and the sums of the rows fill the lower half. Repeat.",
        "counts = np.append(..., np.zeros(len(counts) // 2, np.int64))",
    ),
)


@coarse.law("1, 2, 3, 4 becomes 3, 7, 0, 0 after one halving, and 10, 0, 0, 0 after two")
def worked_pairs(coarser):
    counts = np.array([1, 2, 3, 4])
    assert_equal(coarser(counts, 1), np.array([3, 7, 0, 0]))
    assert_equal(coarser(counts, 2), np.array([10, 0, 0, 0]))
    assert_equal(coarser(np.arange(1, 9), 3), np.array([36, 0, 0, 0, 0, 0, 0, 0]))
    assert_equal(coarser(np.ones(2048, np.int64), 10)[:3], np.array([1024, 1024, 0]))


@coarse.law("the number of bins and the sum of the counts do not change")
@given(counts=some_counts, halvings=st.integers(0, 5))
def keeps_all(coarser, counts, halvings):
    wider = coarser(counts, halvings)
    assert_equal((len(wider), int(np.sum(wider))), (len(counts), int(counts.sum())))


@coarse.law("with halvings = 0 the counts do not change")
@given(counts=some_counts)
def nothing_to_do(coarser, counts):
    assert_equal(coarser(counts, 0), counts)


@coarse.law("two halvings at once give the same as one halving applied twice")
@given(counts=some_counts)
def one_by_one(coarser, counts):
    assert_equal(coarser(counts, 2), coarser(coarser(counts, 1), 1))


@coarse.law("the result is what counting the numbers again over the wider range gives")
@given(places=st.lists(st.integers(0, 7), min_size=1, max_size=9))
def as_if_counted_again(coarser, places):
    counts = np.bincount(places, minlength=8)
    again = np.bincount(np.array(places) // 2, minlength=8)
    assert_equal(coarser(counts, 1), again)


@coarse.law("counts are whole numbers: int64 stays int64, and 2^53 + 1 and 2 make 2^53 + 3")
def stays_whole(coarser):
    counts = np.array([1, 2, 3, 4], np.int64)
    for halvings in range(4):
        assert_dtype(coarser(counts, halvings), np.int64)
    assert_equal(coarser(np.array([2**53 + 1, 2]), 1), np.array([2**53 + 3, 0]))
    assert_equal(coarser(np.full(4, 2**30), 2), np.array([2**32, 0, 0, 0]))  # more than int32 holds


@coarse.law("halvings may be 2100: then all counts lie in the first bin; a single bin keeps its count")
def grows_far(coarser):
    for halvings in (0, 1, 2100):
        assert_equal(coarser(np.array([5]), halvings), np.array([5]))
    for halvings in (63, 64, 900, 2100):
        assert_equal(coarser(np.array([1, 2, 3, 4]), halvings), np.array([10, 0, 0, 0]))
    assert_equal(coarser(np.ones(2048, np.int64), 2100)[:2], np.array([2048, 0]))


@coarse.mistake("added the upper half of the bins to the lower half", breaks=coarse.laws[0].text)
def folded_over(counts, halvings):
    for _ in range(halvings):
        half = len(counts) // 2
        counts = np.append(counts[:half] + counts[half:], np.zeros(half, np.int64))
    return counts


@coarse.mistake("forgot the zeros of the upper half, so there are fewer bins", breaks=coarse.laws[0].text)
def shrinks(counts, halvings):
    for _ in range(halvings):
        counts = counts.reshape(-1, 2).sum(axis=1) if len(counts) > 1 else counts
    return counts


@coarse.mistake(
    "made the new bins floats",
    breaks="counts are whole numbers: int64 stays int64, and 2^53 + 1 and 2 make 2^53 + 3",
)
def floats_above(counts, halvings):
    for _ in range(halvings if len(counts) > 1 else 0):
        counts = np.append(counts.reshape(-1, 2).sum(axis=1), np.zeros(len(counts) // 2))
    return counts


@coarse.mistake("kept every second bin instead of summing pairs", breaks=coarse.laws[0].text)
def skips(counts, halvings):
    for _ in range(halvings):
        counts = np.append(counts[::2], np.zeros(len(counts) // 2, np.int64))
    return counts


# ---- 11.4 divergence

kl = Exercise(
    "11.4",
    calibrate.divergence,
    title="the divergence of the entropy calibrator",
    points=3,
    level=3,
    minutes=30,
    hints=(
        "P is the counts, with the tail added to the last bin. Q differs from P in two ways: it has no "
        "tail, and within a level all bins that are not empty are equal.",
        "np.bincount(level, counts) sums each level. np.bincount(level, counts > 0) gives the number of "
        "bins in each level that are not empty.",
        "sums[level] gives each bin the sum of its level. With occupied = counts > 0, Q = occupied * "
        "(sums / np.maximum(...))[level], before it is divided by the sum of P.",
    ),
)

levels_of = st.sampled_from([1, 2, 3, 4])
# bins, levels, and the first bin of a level, which a level computed by rounded numbers puts one too low
FIRSTS = (
    *((98, 2, 49), (94, 6, 47), (18, 14, 9), (44, 22, 30)),
    *((36, 28, 27), (98, 54, 49), (161, 147, 115), (600, 300, 302)),
)


@kl.law("counts 2, 4, 6, 0 with two levels: Q is 3, 3, 6, 0, divided by 12")
def worked_levels(divergence):
    expected = (2 * math.log(2 / 3) + 4 * math.log(4 / 3)) / 12
    assert_close(divergence(np.array([2, 4, 6, 0]), 0, 2), expected, rtol=1e-10)
    # first · levels / bins is a whole number
    for bins, levels, first in FIRSTS:
        counts = np.zeros(bins, np.int64)
        counts[first - 1], counts[first] = 5, 9  # in two levels, so nothing is lost
        assert_close(divergence(counts, 0, levels), 0.0)
    # 2 and 2 in place of 1 and 3, beside many numbers
    expected = (math.log(1 / 2) + 3 * math.log(3 / 2)) / (4 + 10**14)
    assert_close(divergence(np.array([1, 3, 10**14]), 0, 2), expected, rtol=1e-10, atol=0)


@kl.law(
    "counts 1, 3 with a tail of 4: P = 1/8, 7/8 and Q = 1/8, 3/8; 1, 0 with a tail above 0 gives infinity"
)
def worked_tail(divergence):
    assert_close(divergence(np.array([1, 3]), 4, 2), 7 / 8 * math.log(7 / 3), rtol=1e-10)
    assert_equal(divergence(np.array([1, 0]), 4, 2), math.inf)
    assert_equal(divergence(np.array([10**14, 0]), 1, 2), math.inf)  # however small the tail is


def by_loops(counts, tail, levels):
    """Compute one bin after the other."""
    bins, divergence = len(counts), 0.0
    level = [i * levels // bins if bins > levels else i for i in range(bins)]
    for i in range(bins):
        full = [counts[j] for j in range(bins) if level[j] == level[i] and counts[j] > 0]
        P = counts[i] + (tail if i == bins - 1 else 0)
        Q = sum(full) / len(full) if counts[i] > 0 else 0.0
        if P > 0:
            divergence += P * math.log(P / Q) if Q > 0 else math.inf
    return divergence / max(counts.sum() + tail, 1)


@kl.law("the result is that of a loop over the bins, also if bins / levels is not a whole number")
@given(counts=any_counts, levels=levels_of, tail=numbers)
def as_by_loops(divergence, counts, levels, tail):
    assert_close(divergence(counts, tail, levels), by_loops(counts, tail, levels))


@kl.law("the result is 0 if counts and tail are all 0, and infinite if only the tail is above 0")
def no_numbers(divergence):
    assert_equal(divergence(np.zeros(4, np.int64), 0, 2), 0.0)
    assert_equal(divergence(np.zeros(4, np.int64), 3, 2), math.inf)


@kl.law("the result is 0 if the tail is 0 and each bin is a level of its own")
@given(counts=any_counts)
def nothing_lost(divergence, counts):
    assert_close(divergence(counts, 0, 8), 0.0)


@kl.law("the result is never negative, and a longer tail does not make it smaller")
@given(counts=any_counts, levels=levels_of, tails=st.tuples(numbers, numbers))
def grows_with_the_tail(divergence, counts, levels, tails):
    low, high = (divergence(counts + 1, tail, levels) for tail in sorted(tails))
    assert_equal((bool(low >= -1e-12), bool(low <= high + 1e-12)), (True, True))


@kl.law("twice the counts and twice the tail give the same result")
@given(counts=any_counts, levels=levels_of, tail=numbers)
def doubled(divergence, counts, levels, tail):
    assert_close(divergence(2 * counts, 2 * tail, levels), divergence(counts, tail, levels))


@kl.mistake("left the tail out of P", breaks=kl.laws[1].text)
def no_tail(counts, tail, levels):
    return calibrate.divergence(counts, 0, levels)


@kl.mistake("spread each level over its empty bins too", breaks=kl.laws[0].text)
def over_empty_bins(counts, tail, levels):
    level = np.arange(len(counts)) * levels // len(counts) if len(counts) > levels else np.arange(len(counts))
    P = counts.astype(float)
    P[-1] += tail
    Q = (np.bincount(level, counts) / np.bincount(level))[level]
    if np.any((P > 0) & (Q == 0)):
        return math.inf
    there = P > 0
    return float(np.sum(P[there] * np.log(P[there] / Q[there])) / max(P.sum(), 1))


@kl.mistake("divided Q by its own sum", breaks=kl.laws[1].text)
def own_sum(counts, tail, levels):
    total, left = counts.sum() + tail, counts.sum()
    return calibrate.divergence(counts, tail, levels) + (math.log(left / total) if left else 0.0)


@kl.mistake("computed KL(Q || P) instead of KL(P || Q)", breaks=kl.laws[0].text)
def reversed_order(counts, tail, levels):
    level = np.arange(len(counts)) * levels // len(counts) if len(counts) > levels else np.arange(len(counts))
    P, there = counts.astype(float), counts > 0
    P[-1] += tail
    shares = np.maximum(np.bincount(level, there), 1)
    Q = there * (np.bincount(level, counts) / shares)[level]
    if np.any((P > 0) & (Q == 0)):
        return math.inf
    return float(np.sum(Q[there] * np.log(Q[there] / P[there])) / max(P.sum(), 1))
