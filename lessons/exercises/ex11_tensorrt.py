"""Exercises of lesson 11: a histogram made coarser, a percentile of it, what a threshold loses, a fold."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.compress import calibrate, fuse

numbers = st.integers(0, 9)


def counts_of(bins):
    return st.lists(numbers, min_size=bins, max_size=bins).map(lambda row: np.array(row, np.int64))


some_counts = st.sampled_from([2, 4, 8]).flatmap(counts_of)
any_counts = st.integers(1, 8).flatmap(counts_of)

# ---- 11.1 coarser

coarse = Exercise(
    "11.1",
    calibrate.coarser,
    points=1,
    hints=(
        "Bins twice as wide: the first two become the first, the next two the second; the upper half is new.",
        "counts.reshape(-1, 2).sum(axis=1) adds the pairs; as many zeros again follow. Repeat.",
        "counts = np.append(counts.reshape(-1, 2).sum(axis=1), np.zeros(len(counts) // 2, np.int64))",
    ),
)


@coarse.law("1, 2, 3, 4 over twice the range is 3, 7, 0, 0, and over four times 10, 0, 0, 0")
def worked_pairs(coarser):
    counts = np.array([1, 2, 3, 4])
    assert_equal(coarser(counts, 1), np.array([3, 7, 0, 0]))
    assert_equal(coarser(counts, 2), np.array([10, 0, 0, 0]))


@coarse.law("the number of bins stays, and nothing gets lost")
@given(counts=some_counts, halvings=st.integers(0, 5))
def keeps_all(coarser, counts, halvings):
    wider = coarser(counts, halvings)
    assert_equal((len(wider), int(np.sum(wider))), (len(counts), int(counts.sum())))


@coarse.law("no halving changes nothing")
@given(counts=some_counts)
def nothing_to_do(coarser, counts):
    assert_equal(coarser(counts, 0), counts)


@coarse.law("two halvings are one and then another")
@given(counts=some_counts)
def one_by_one(coarser, counts):
    assert_equal(coarser(counts, 2), coarser(coarser(counts, 1), 1))


@coarse.law("the histogram of the numbers over the wider range is what comes out")
@given(places=st.lists(st.integers(0, 7), min_size=1, max_size=9))
def as_if_counted_again(coarser, places):
    counts = np.bincount(places, minlength=8)
    again = np.bincount(np.array(places) // 2, minlength=8)
    assert_equal(coarser(counts, 1), again)


@coarse.mistake("added each bin to the one half the range away", breaks=coarse.laws[0].text)
def folded_over(counts, halvings):
    for _ in range(halvings):
        half = len(counts) // 2
        counts = np.append(counts[:half] + counts[half:], np.zeros(half, np.int64))
    return counts


@coarse.mistake("forgot the room above", breaks=coarse.laws[1].text)
def shrinks(counts, halvings):
    for _ in range(halvings):
        counts = counts.reshape(-1, 2).sum(axis=1) if len(counts) > 1 else counts
    return counts


@coarse.mistake("took every second bin", breaks=coarse.laws[0].text)
def skips(counts, halvings):
    for _ in range(halvings):
        counts = np.append(counts[::2], np.zeros(len(counts) // 2, np.int64))
    return counts


# ---- 11.2 bins_holding

percentiles = Exercise(
    "11.2",
    calibrate.bins_holding,
    points=1,
    hints=(
        "Count from below until enough is reached; a histogram has no need to be sorted.",
        "np.cumsum(counts) says how many lie in the first 1, 2, 3, ... bins.",
        "np.searchsorted(cumulative, needed) + 1; needed = percentile * cumulative[-1] / 100 rounded up, but "
        "not the float: Fraction(str(percentile)) * int(cumulative[-1]) / 100 is exact.",
    ),
)

filled_counts = any_counts.map(lambda counts: counts + (np.arange(len(counts)) == 0))
percents = st.sampled_from([0, 12.5, 25, 50, 75, 90, 99, 100])


@percentiles.law("of 1, 2, 0, 1 one bin holds 25%, two 75%, and all four more; 100% of 999, 1 need both")
def worked_percentiles(bins_holding):
    counts = np.array([1, 2, 0, 1])
    for percentile, bins in ((25, 1), (26, 2), (75, 2), (76, 4), (100, 4)):
        assert_equal(int(bins_holding(counts, percentile)), bins)
    assert_equal(int(bins_holding(np.array([999, 1]), 100)), 2)


@percentiles.law("so many bins hold the percentage, and one less does not")
@given(counts=filled_counts, percentile=percents)
def enough_and_no_more(bins_holding, counts, percentile):
    n = int(bins_holding(counts, percentile))
    wanted = percentile * counts.sum() / 100
    assert_equal(1 <= n <= len(counts), True)
    assert_equal(
        (bool(counts[:n].sum() >= wanted), bool(n == 1 or counts[: n - 1].sum() < wanted)), (True, True)
    )


@percentiles.law("a higher percentile never needs fewer bins")
@given(counts=filled_counts, both=st.tuples(percents, percents))
def monotone(bins_holding, counts, both):
    low, high = sorted(both)
    assert_equal(bool(bins_holding(counts, low) <= bins_holding(counts, high)), True)


@percentiles.law("everything counted twice needs as many bins")
@given(counts=filled_counts, percentile=percents)
def twice(bins_holding, counts, percentile):
    assert_equal(int(bins_holding(2 * counts, percentile)), int(bins_holding(counts, percentile)))


@percentiles.law("of 1000 equal bins 161 hold 16.1%, though 16.1 * 1000 / 100 is more in floats")
def worked_decimals(bins_holding):
    for tenths in (161, 163, 999):
        assert_equal(int(bins_holding(np.ones(1000, np.int64), tenths / 10)), tenths)


@percentiles.mistake(
    "counted the percentage in floats",
    breaks="of 1000 equal bins 161 hold 16.1%, though 16.1 * 1000 / 100 is more in floats",
)
def in_floats(counts, percentile):
    cumulative = np.cumsum(counts)
    return np.searchsorted(cumulative, percentile * cumulative[-1] / 100) + 1


@percentiles.mistake(
    "went on to the next bin where the share was reached exactly", breaks=percentiles.laws[0].text
)
def beyond(counts, percentile):
    cumulative = np.cumsum(counts)
    return min(
        int(np.searchsorted(cumulative, percentile * cumulative[-1] / 100, side="right")) + 1, len(counts)
    )


@percentiles.mistake("took the percentage of the bins, not of the counts", breaks=percentiles.laws[0].text)
def of_the_bins(counts, percentile):
    return max(math.ceil(percentile * len(counts) / 100), 1)


@percentiles.mistake("the number of the last bin, not how many", breaks=percentiles.laws[0].text)
def from_zero(counts, percentile):
    return calibrate.bins_holding(counts, percentile) - 1


# ---- 11.3 divergence

kl = Exercise(
    "11.3",
    calibrate.divergence,
    points=3,
    hints=(
        "P is the counts with the tail in the last bin. Q has lost two things: the tail, and the differences "
        "within a level.",
        "np.bincount(level, counts) sums the levels, np.bincount(level, counts > 0) counts their full bins.",
        "Q = occupied * (sums / np.maximum(shares, 1))[level]; inf where P > 0 and Q == 0; else the sum of "
        "P log(P / Q) over the occupied bins, / P.sum()",
    ),
)

levels_of = st.sampled_from([2, 3, 4])


@kl.law("2, 4, 6, 0 on two levels becomes 3, 3, 6, 0")
def worked_levels(divergence):
    expected = (2 * math.log(2 / 3) + 4 * math.log(4 / 3)) / 12
    assert_close(divergence(np.array([2, 4, 6, 0]), 0, 2), expected)


@kl.law("1, 3 with a tail of 4 is P = 1/8, 7/8 against Q = 1/8, 3/8; 1, 0 with a tail is infinite")
def worked_tail(divergence):
    assert_close(divergence(np.array([1, 3]), 4, 2), 7 / 8 * math.log(7 / 3))
    assert_equal(divergence(np.array([1, 0]), 4, 2), math.inf)


@kl.law("nothing is lost without a tail where every bin is a level of its own")
@given(counts=any_counts)
def nothing_lost(divergence, counts):
    assert_close(divergence(counts, 0, 8), 0.0)


@kl.law("it is never negative, and the longer the tail the larger")
@given(counts=any_counts, levels=levels_of, tails=st.tuples(numbers, numbers))
def grows_with_the_tail(divergence, counts, levels, tails):
    low, high = (divergence(counts + 1, tail, levels) for tail in sorted(tails))
    assert_equal((bool(low >= -1e-12), bool(low <= high + 1e-12)), (True, True))


@kl.law("everything counted twice changes nothing")
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


@kl.mistake("KL(Q || P), the other way round", breaks=kl.laws[0].text)
def reversed_order(counts, tail, levels):
    level = np.arange(len(counts)) * levels // len(counts) if len(counts) > levels else np.arange(len(counts))
    P, there = counts.astype(float), counts > 0
    P[-1] += tail
    shares = np.maximum(np.bincount(level, there), 1)
    Q = there * (np.bincount(level, counts) / shares)[level]
    if np.any((P > 0) & (Q == 0)):
        return math.inf
    return float(np.sum(Q[there] * np.log(Q[there] / P[there])) / max(P.sum(), 1))


# ---- 11.4 folded

fold = Exercise(
    "11.4",
    fuse.folded,
    points=2,
    hints=(
        "BatchNorm in evaluation is a line for each channel, and a line of a line is a line.",
        "f = gamma / sqrt(var + eps) is one number for each output channel: it scales all its weights.",
        "weight * f.reshape(-1, 1, ...), f * (bias - mean) + beta",
    ),
)

layers = st.tuples(st.integers(1, 3), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(
        arrays(shape),
        *[arrays((shape[0],))] * 2,
        arrays((shape[0],), low=0.25, high=4),
        *[arrays((shape[0],))] * 2,
        arrays((2, shape[1])),
    )
)


def batchnorm(y, mean, var, gamma, beta, eps):
    return gamma * (y - mean) / np.sqrt(var + eps) + beta


@fold.law("2 x + 1 with mean 3, var 4, gamma 6, beta 5 is 6 x - 1")
def worked_fold(folded):
    weight, bias = folded(*(np.array(a) for a in ([[2.0]], [1.0], [3.0], [4.0], [6.0], [5.0])), 0.0)
    assert_close(weight, np.array([[6.0]]))
    assert_close(bias, np.array([-1.0]))


@fold.law("one layer does what the two did")
@given(layer=layers, eps=st.sampled_from([0.0, 0.25]))
def same_function(folded, layer, eps):
    weight, bias, mean, var, gamma, beta, x = layer
    new_weight, new_bias = folded(weight, bias, mean, var, gamma, beta, eps)
    assert_close(
        x @ new_weight.T + new_bias,
        batchnorm(x @ weight.T + bias, mean, var, gamma, beta, eps),
        rtol=1e-9,
        atol=1e-9,
    )


@fold.law("without bias, gamma and beta they are 0, 1 and 0")
@given(layer=layers)
def defaults(folded, layer):
    weight, _, mean, var, _, _, x = layer
    new_weight, new_bias = folded(weight, None, mean, var)
    expected = batchnorm(x @ weight.T, mean, var, 1.0, 0.0, 1e-5)
    assert_close(x @ new_weight.T + new_bias, expected, rtol=1e-9, atol=1e-9)


@fold.law("filters of any shape keep it")
@given(weight=arrays((2, 3, 2, 1)), mean=arrays((2,)))
def any_shape(folded, weight, mean):
    new_weight, new_bias = folded(weight, None, mean, np.array([1.0, 4.0]), eps=0.0)
    assert_equal((new_weight.shape, new_bias.shape), ((2, 3, 2, 1), (2,)))
    assert_close(new_weight, np.stack([weight[0], weight[1] / 2]))


@fold.law("both come back in the weight's dtype")
def folded_in_the_weights_dtype(fold):
    for dtype in (np.float32, np.float64):
        weight, ones = np.ones((2, 3), dtype), np.ones(2)
        for value in fold(weight, ones, ones, ones, ones, ones):
            assert_dtype(value, dtype)


@fold.mistake("took the variance for the deviation", breaks=fold.laws[0].text)
def no_root(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    return fuse.folded(weight, bias, mean, (var + eps) ** 2, gamma, beta, 0.0)


@fold.mistake("did not scale the bias", breaks=fold.laws[0].text)
def bias_as_it_was(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    new_weight, new_bias = fuse.folded(weight, None, mean, var, gamma, beta, eps)
    return new_weight, new_bias + (0.0 if bias is None else bias)


@fold.mistake("left eps out", breaks=fold.laws[2].text)
def no_eps(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    return fuse.folded(weight, bias, mean, var, gamma, beta, 0.0)


@fold.mistake("scaled the inputs' axis", breaks=fold.laws[4].text)
def wrong_axis(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    _, new_bias = fuse.folded(weight, bias, mean, var, gamma, beta, eps)
    factor = (1.0 if gamma is None else gamma) / np.sqrt(var + eps)
    return (weight * np.resize(factor, weight.shape[-1])).astype(weight.dtype), new_bias
