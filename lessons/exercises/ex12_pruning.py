"""Exercises of lesson 12: norms of filters, masks by amount or threshold.

Other modules have all layers at once, and the exercises with a model: ablation, and the loop of pruning and
learning.
"""

import math
import statistics

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses, short
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.compress import masks, scores

weights = arrays(st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)))
orders = st.sampled_from([1, 2])
shares = st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.7])

# ---- 12.1 filter_norms

norms = Exercise(
    "12.1",
    scores.filter_norms,
    title="the norm of each filter",
    kind="model",
    points=1,
    level=1,
    minutes=10,
    hints=(
        "The norm is one number for each filter. It depends on all weights of the filter, but not on "
        "their signs.",
        "Make each filter a row with reshape(O, -1), in float64, take absolute values, sum along the row.",
        "rows = np.abs(weight.reshape(len(weight), -1).astype(np.float64)); the rest differs by order",
    ),
)


@norms.law(
    "filters (3, -4), (0, -1) have L1 norms 7, 1 and L2 norms 5, 1; the rows of a matrix count as filters"
)
def worked_norms(filter_norms):
    weight = np.array([[[[3.0, -4.0]]], [[[0.0, -1.0]]]])  # (2, 1, 1, 2)
    assert_close(filter_norms(weight), [7.0, 1.0])
    assert_close(filter_norms(weight, order=2), [5.0, 1.0])
    assert_close(filter_norms(weight.reshape(2, 2)), [7.0, 1.0])
    assert_close(filter_norms(np.array([[3.0, -4.0, 2.0], [0.0, -1.0, 1.0]])), [9.0, 2.0])
    assert_close(filter_norms(weight.reshape(2, 1, 2), 2), [5.0, 1.0])
    assert_close(filter_norms(weight.reshape(2, 1, 1, 1, 2)), [7.0, 1.0])
    assert_close(filter_norms(np.asfortranarray(weight.reshape(2, 2))), [7.0, 1.0])  # column by column


@norms.law("the norms of a layer are those of its weight; its bias does not matter")
def norms_of_layers(filter_norms):
    rows = ((3.0, -4.0), (0.0, -1.0))
    for builder, weight in (("linear", rows), ("conv2d", tuple(((row,),) for row in rows))):
        layer = Built(builder, weight=weight, bias=(10.0, 20.0))
        assert_close(filter_norms(layer), [7.0, 1.0])
        assert_close(filter_norms(layer, order=2), [5.0, 1.0])


@norms.law("there is one norm for each filter, and it is that of all weights of the filter, in one row")
@given(weight=st.one_of(weights, weights.map(lambda w: w[..., 0])), order=orders)
def one_for_each(filter_norms, weight, order):
    rows = weight.reshape(len(weight), -1).tolist()
    expected = [sum(map(abs, row)) if order == 1 else math.hypot(*row) for row in rows]
    assert_close(filter_norms(weight, order=order), expected)


@norms.law("twice the weights, with any signs, have twice the norm")
@given(weight=weights, order=orders)
def scales(filter_norms, weight, order):
    assert_close(filter_norms(-2 * weight, order=order), 2 * filter_norms(weight, order=order))


@norms.law("the norm of a sum is at most the sum of the norms")
@given(weight=weights, order=orders, seed=st.integers(0, 9))
def triangle(filter_norms, weight, order, seed):
    other = np.random.default_rng(seed).integers(-4, 5, weight.shape) / 4
    both = filter_norms(weight + other, order=order)
    excess = both - filter_norms(weight, order=order) - filter_norms(other, order=order)
    assert_close(np.maximum(excess, 0), np.zeros(len(weight)))


@norms.law(
    "a float32 filter is summed in float64: 2^24 + 1 is 16777217, and the root of 2^24 + 1 is above 4096"
)
def summed_in_float64(norms):
    for order, large in ((1, 2.0**24), (2, 2.0**12)):
        found = norms(np.array([[large, 1.0]], np.float32), order)
        assert_dtype(found, np.float64)
        assert_close(found, [(2.0**24 + 1) ** (1 / order)], rtol=1e-12)
        layer = Built("linear", weight=((large, 1.0),))  # in float32, too
        assert_close(norms(layer, order), [(2.0**24 + 1) ** (1 / order)], rtol=1e-12)
    for tiny, dtype in ((1e30, np.float32), (1e-30, np.float32), (100, np.float16)):
        for order, norm in ((1, 7), (2, 5)):
            found = norms(np.array([[3, 4]], dtype) * dtype(tiny), order)
            assert_close(found, [norm * tiny], rtol=1e-6, atol=0)
    whole = np.array([[-128, 1]], np.int8)  # in int8, |-128| is -128, and its square is 0
    assert_close(norms(whole), [129.0])
    assert_close(norms(whole, 2), [16385**0.5])
    for exact in (np.array([[2**24 + 1, 0]]), np.array([[2.0**24 + 1, 0]])):  # in float32, 2^24
        assert_close(norms(exact), [2.0**24 + 1], rtol=1e-12)


@norms.law("an order that is neither 1 nor 2 is refused with a ValueError")
def refuses_another_order(filter_norms):
    for order in (0, 3, -1, 1.5, math.inf, None):
        assert_refuses(f"order {order}", filter_norms, np.ones((2, 3)), order=order)
        layer = Built("linear", weight=((1.0, 1.0, 1.0),) * 2)
        assert_refuses(f"order {order} of a layer", filter_norms, layer, order=order)


@norms.mistake("forgot the absolute value", breaks=norms.laws[0].text)
def signed(conv, order=1):
    scores.filter_norms(conv, order)  # refuses bad input
    weight = conv if isinstance(conv, np.ndarray) else conv.weight.data
    rows = weight.reshape(len(weight), -1)
    return rows.sum(axis=1) if order == 1 else np.sqrt((rows**2).sum(axis=1))


@norms.mistake("summed over the filters instead of within each", breaks=norms.laws[0].text)
def by_input(conv, order=1):
    return scores.filter_norms(conv.swapaxes(0, 1), order)


@norms.mistake("forgot the square root", breaks=norms.laws[0].text)
def squared(conv, order=1):
    return scores.filter_norms(conv, order) ** order


# ---- 12.2 filter_mask

mask = Exercise(
    "12.2",
    masks.filter_mask,
    title="which filters stay",
    helpers=("pruned_count",),
    points=2,
    level=1,
    minutes=15,
    hints=(
        "The mask is True for the filters that stay. With amount, the lowest scores go: how many? With "
        "s, only scores above a threshold stay.",
        "np.argsort(scores, kind='stable') gives the indices, lowest score first. pruned_count(amount, "
        "O) gives the number of filters to prune.",
        "keep = np.ones(len(scores), bool); keep[np.argsort(...)[: ...]] = False",
    ),
)

score_rows = arrays(st.integers(2, 9).map(lambda n: (n,)), low=0, high=3)


@mask.law("of scores 6, 2, 4, 8, amount 0.5 prunes 2 and 4; with s = 1 only 8 stays, above mean + std")
def worked_masks(filter_mask):
    scores = np.array([6.0, 2.0, 4.0, 8.0])  # mean 5, std sqrt(5) = 2.236
    assert_equal(filter_mask(scores, 0.5), np.array([True, False, False, True]))
    assert_equal(filter_mask(scores.tolist(), amount=0.5), np.array([True, False, False, True]))
    assert_equal(filter_mask(scores, s=1.0), np.array([False, False, False, True]))
    assert_equal(filter_mask([6, 2, 4, 8], s=1), np.array([False, False, False, True]))
    assert_equal(filter_mask(scores, s=-1.0), np.array([True, False, True, True]))
    assert_equal(filter_mask(1e-20 * scores, s=1.0), np.array([False, False, False, True]))
    assert_equal(filter_mask(scores, amount=1), np.array([True, False, True, True]))  # one filter
    assert_equal(filter_mask(np.array([1.0, 3.0]), s=-1.0), np.array([False, True]))  # 1 is not above 1
    assert_equal(filter_mask(scores, amount=2), np.array([True, False, False, True]))
    below_zero, near = np.array([-3.0, 1.0, 2.0]), np.array([1 + 1e-12, 1.0, 2.0])
    assert_equal(filter_mask(below_zero, amount=1), np.array([False, True, True]))
    assert_equal(filter_mask(below_zero, s=0.0), np.array([False, True, True]))
    assert_equal(filter_mask(np.array([-1.0, 0.0, 1.0]), amount=1), np.array([False, True, True]))
    assert_equal(filter_mask(near, amount=1), np.array([True, False, True]))  # a tie in float32
    assert_equal(filter_mask(near[:2], s=0.0), np.array([True, False]))
    assert_equal(filter_mask(np.array([3.0, 2.0, 1.0]), s=0.0), np.array([True, False, False]))
    whole = np.array([2**53 + 1, 2**53, 2**53 + 4])  # the first two are equal in float64
    assert_equal(filter_mask(whole, amount=1), np.array([False, True, True]))
    assert_equal(filter_mask(np.array([2, 0, 1], np.uint8), amount=1), np.array([True, False, True]))
    narrow = np.array([1 + 2**-23, 1 + 2**-22], np.float32)  # in float32 their mean is the second
    assert_equal(filter_mask(narrow, s=0.0), np.array([False, True]))
    assert_dtype(filter_mask(scores, amount=0.5), bool)
    assert_dtype(filter_mask(scores, s=1.0), bool)
    assert_equal(filter_mask(np.array([2.0]), amount=0), np.array([True]))


@mask.law("round(amount · O) filters are pruned, and no pruned filter has a higher score than a kept one")
@given(scores=score_rows, amount=shares)
def prunes_the_lowest(filter_mask, scores, amount):
    assume(round(amount * len(scores)) < len(scores))
    keep = filter_mask(scores, amount=amount)
    assert_equal(int(np.sum(~keep)), round(amount * len(scores)))
    highest_pruned = scores[~keep].max(initial=-1.0)
    assert_equal(bool(np.all(scores[keep] >= highest_pruned)), True)


@mask.law("with s, a filter stays if its score is above mean + s · std, the std of all scores (ddof = 0)")
@given(scores=score_rows, s=st.sampled_from([-1.5, -0.5, 0.0, 0.5]))
def above_the_threshold(filter_mask, scores, s):
    numbers = scores.tolist()
    threshold = statistics.fmean(numbers) + s * statistics.pstdev(numbers)
    assume(max(numbers) > threshold and min(abs(score - threshold) for score in numbers) > 1e-9)
    assert_equal(filter_mask(scores, s=s), np.array([score > threshold for score in numbers]))


@mask.law("a call with neither amount nor s, or with both, is refused with a ValueError")
def refuses_none_and_both(filter_mask):
    assert_refuses("neither amount nor s", filter_mask, np.array([1.0, 2.0]))
    for amount, s in ((0.5, 1.0), (0.5, 0.0), (0, 1.0), (0.0, 0.0)):
        assert_refuses("both amount and s", filter_mask, np.array([1.0, 2.0]), amount=amount, s=s)


@mask.law("among equal scores, the first filters are pruned")
@given(count=st.integers(2, 70), amount=shares)
def ties(filter_mask, count, amount):
    pruned = round(amount * count)
    assume(pruned < count)
    assert_equal(filter_mask(np.full(count, 0.5), amount=amount), np.arange(count) >= pruned)
    if 2 * pruned <= count:  # every second score is 0; an unstable sort would mix them
        expected = np.ones(count, bool)
        expected[: 2 * pruned : 2] = False
        assert_equal(filter_mask(np.arange(count) % 2 / 2, amount=amount), expected)


@mask.law("a filter pruned at one amount is also pruned at any larger amount")
@given(scores=score_rows, amounts=st.tuples(shares, shares))
def nested(filter_mask, scores, amounts):
    less, more = sorted(amounts)
    assume(round(more * len(scores)) < len(scores))
    back = filter_mask(scores, amount=more) & ~filter_mask(scores, amount=less)
    assert_equal(back, np.zeros(len(scores), bool))


@mask.law("a mask that would keep nothing is refused with an EmptyLayerError")
@given(scores=score_rows, way=st.sampled_from(["share", "rounded share", "number", "s", "equal scores"]))
def refuses_to_empty(filter_mask, scores, way):
    if way == "equal scores":  # none is above the mean
        scores = np.full(len(scores) - 1, 0.75)  # of one filter, too
    asked = {"share": {"amount": 1.0}, "number": {"amount": len(scores)}, "s": {"s": 10.0}}
    asked |= {"rounded share": {"amount": 1 - 0.4 / len(scores)}, "equal scores": {"s": -1.0}}
    asked = asked[way]
    refuses_all(f"{len(scores)} filters, {asked},", filter_mask, scores, **asked)


def refuses_all(what, prune, *arguments, **options):
    """Check for EmptyLayerError. This error tells the pruning loop that a layer would be empty."""
    try:
        found = prune(*arguments, **options)
    except masks.EmptyLayerError:
        return
    except ValueError as error:
        raise AssertionError(f"{what} raised {type(error).__name__}, not an EmptyLayerError") from error
    raise AssertionError(f"{what} gave {short(found)}, no EmptyLayerError")


@mask.mistake("kept the lowest and pruned the highest", breaks=mask.laws[0].text)
def upside_down(scores, amount=None, s=None):
    return masks.filter_mask(-np.asarray(scores), amount, s)


@mask.mistake(
    "rounded down",
    breaks="round(amount · O) filters are pruned, and no pruned filter has a higher score than a kept one",
)
def rounds_down(scores, amount=None, s=None):
    if s is not None or amount is None or isinstance(amount, int):
        return masks.filter_mask(scores, amount, s)
    return masks.filter_mask(scores, amount=int(amount * len(scores)))


@mask.mistake(
    "compared with a quantile, and pruned all scores equal to it",
    breaks="among equal scores, the first filters are pruned",
)
def by_quantile(scores, amount=None, s=None):
    if s is not None:
        return masks.filter_mask(scores, amount, s)
    keep = masks.filter_mask(scores, amount=amount)
    return scores > scores[~keep].max(initial=-1.0)


@mask.mistake(
    "used the standard deviation of a sample, with ddof = 1",
    breaks="with s, a filter stays if its score is above mean + s · std, the std of all scores (ddof = 0)",
)
def of_a_sample(scores, amount=None, s=None):
    n = len(scores)
    return masks.filter_mask(scores, amount, None if s is None else s * (n / (n - 1)) ** 0.5)


@mask.mistake(
    "returned a mask that keeps nothing",
    breaks="a mask that would keep nothing is refused with an EmptyLayerError",
)
def empties(scores, amount=None, s=None):
    if (amount is None) == (s is None):
        raise ValueError("give either amount or s")
    if s is None:
        count = amount if isinstance(amount, int) else round(amount * len(scores))
        keep = np.ones(len(scores), bool)
        keep[np.argsort(scores, kind="stable")[:count]] = False
        return keep
    return scores > scores.mean() + s * scores.std()
