"""Exercises of lesson 09: softmax with a temperature, entropy, calibration, a fitted temperature."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, logits, quarters, temperatures
from minidl.engine import reduce
from minidl.train import metrics

# ---- 09.1 stable_softmax

softmax = Exercise(
    "09.1",
    reduce.stable_softmax,
    points=2,
    level=1,
    minutes=15,
    hints=(
        "Each row is a probability distribution: e^(z/T), divided by its own sum along the axis.",
        "e^1000 overflows. A common shift changes nothing: subtract the row's maximum, then divide by T.",
        "z - z.max(axis=axis, keepdims=True) is at most 0; keepdims in the sum as well.",
    ),
)


@softmax.law("logits log 1, log 2, log 5 give 1/8, 2/8, 5/8, at T = 1/2 1/30, 4/30, 25/30")
def worked_softmax(softmax):
    z = np.log(np.array([[1.0, 2.0, 5.0]]))
    assert_close(softmax(z), [[1 / 8, 2 / 8, 5 / 8]])
    assert_close(softmax(z, temperature=0.5), [[1 / 30, 4 / 30, 25 / 30]])


@softmax.law("each row sums to 1")
@given(z=logits(), temperature=temperatures())
def rows_sum_to_one(softmax, z, temperature):
    assert_close(softmax(z, temperature=temperature).sum(axis=-1), 1.0)


@softmax.law("the ratio of two probabilities is e to the difference of the logits over T")
@given(z=logits(), temperature=temperatures())
def ratios(softmax, z, temperature):
    p = softmax(z, temperature=temperature)
    assert_close(p / p[:, :1], np.exp((z - z[:, :1]) / temperature))


@softmax.law("the axis is the one asked for")
@given(z=arrays((2, 3, 2)), axis=st.sampled_from([0, 1, 2, -2]))
def along_the_axis(softmax, z, axis):
    assert_close(softmax(z, axis=axis), np.moveaxis(softmax(np.moveaxis(z, axis, -1)), -1, axis))
    assert_close(softmax(z, axis=axis).sum(axis=axis), 1.0)


@softmax.law("logits of ±10,000 at T = 1/1000 give exactly 1 and 0, ties share")
def is_stable(softmax):
    z = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -2e4]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        p = softmax(z, temperature=1e-3)
    assert_close(p, [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])


@softmax.law("a temperature of 0, below 0, infinite or NaN is refused with a ValueError")
def refuses_a_temperature(softmax):
    for temperature in (0.0, -1.0, np.inf, np.nan):
        assert_refuses(f"temperature {temperature}", softmax, np.array([[1.0, 2.0]]), temperature=temperature)


@softmax.law("logits of 1e36 in float32 do not overflow at T = 1/1000, and float32 stays float32")
def float32_does_not_overflow(softmax):
    with np.errstate(over="ignore"):
        p = softmax(np.array([[1e36, 0, 1e36]], np.float32), temperature=0.001)
    assert_equal(p, np.array([[0.5, 0, 0.5]]))
    assert_dtype(p, np.float32)


@softmax.mistake("summed over everything instead of the row", breaks="each row sums to 1")
def sums_over_everything(z, axis=-1, temperature=1.0):
    p = np.exp((z - z.max()) / temperature)
    return p / p.sum()


@softmax.mistake("divided the probabilities by T, not the logits", breaks=softmax.laws[0].text)
def divides_probabilities(z, axis=-1, temperature=1.0):
    return reduce.stable_softmax(z, axis) / temperature


@softmax.mistake("multiplied by T", breaks=softmax.laws[0].text)
def multiplies(z, axis=-1, temperature=1.0):
    return reduce.stable_softmax(z, axis, 1 / temperature)


@softmax.mistake("no maximum subtracted, which overflows", breaks=softmax.laws[1].text)
def overflows(z, axis=-1, temperature=1.0):
    p = np.exp(z / temperature)
    return p / p.sum(axis=axis, keepdims=True)


# ---- 09.2 entropy

entropy = Exercise(
    "09.2",
    metrics.entropy,
    points=1,
    level=1,
    minutes=10,
    hints=(
        "H = -sum p log p along the axis, with the natural logarithm.",
        "log 0 is -inf, and 0 · -inf is NaN; but p log p tends to 0 as p does.",
        "np.log(np.where(p > 0, p, 1)) is 0 where p is 0.",
    ),
)


@st.composite
def distributions(draw):
    """Rows (N, K) of probabilities, zeros among them."""
    counts = draw(arrays(st.tuples(st.integers(1, 3), st.integers(1, 4)), 0, 2))
    counts[:, 0] += counts.sum(axis=1) == 0
    return counts / counts.sum(axis=1, keepdims=True)


@entropy.law("a fair coin has log 2, a certain answer 0, and (1/2, 1/4, 1/4) 3/2 log 2")
def worked_entropy(entropy):
    p = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.5, 0.25, 0.25]])
    assert_close(entropy(p), np.log(2) * np.array([1.0, 0.0, 1.5]))
    assert_close(entropy(p[0]), np.float64(np.log(2)))


@entropy.law("it lies between 0 and log K")
@given(p=distributions())
def within_limits(entropy, p):
    H = entropy(p)
    assert np.shape(H) == p.shape[:1], f"{len(p)} rows need {len(p)} entropies, got shape {np.shape(H)}"
    assert np.all(np.asarray(H) >= -1e-12), "negative"
    assert np.all(np.asarray(H) <= np.log(p.shape[1]) + 1e-12), "above log K"


@entropy.law("of independent draws it is the sum")
@given(p=distributions(), q=distributions())
def adds_up(entropy, p, q):
    both = np.einsum("i,j->ij", p[0], q[0]).reshape(1, -1)
    assert_close(entropy(both), entropy(p[:1]) + entropy(q[:1]), atol=1e-9)


@entropy.law("the axis is the one asked for")
@given(p=distributions())
def entropy_along_the_axis(entropy, p):
    assert_close(entropy(p.T, axis=0), entropy(p))


@entropy.law("of a softmax it does not fall as T rises")
@given(z=logits(), temperature=temperatures())
def rises_with_temperature(entropy, z, temperature):
    cold, warm = (entropy(reduce.stable_softmax(z, temperature=T)) for T in (temperature, 2 * temperature))
    assert np.all(np.asarray(cold) <= np.asarray(warm) + 1e-12), f"{cold} at T, {warm} at 2T"


@entropy.law("numbers that are no probabilities are refused with a ValueError")
def refuses_what_is_no_distribution(entropy):
    for p in ([0.5, 0.6], [1.5, -0.5], [0.0, 0.0]):
        assert_refuses(f"{p}", entropy, np.array(p))


@entropy.law("a probability of 1e-9 counts: it brings 1e-9 · log 1e9 and a little, in float64")
def counts_small_probabilities(entropy):
    small = 1e-9
    wanted = -small * np.log(small) - (1 - small) * np.log1p(-small)
    assert_close(entropy(np.array([small, 1 - small])), wanted, rtol=1e-6, atol=0)
    assert_dtype(entropy(np.full((3, 2, 20), 0.05, np.float32)), np.float64)


@entropy.mistake("0 log 0 became NaN", breaks=entropy.laws[0].text)
def nan_at_zero(p, axis=-1):
    with np.errstate(divide="ignore", invalid="ignore"):
        return -(p * np.log(p)).sum(axis=axis)


@entropy.mistake("the sign is missing", breaks="it lies between 0 and log K")
def signless(p, axis=-1):
    return -metrics.entropy(p, axis)


@entropy.mistake("bits instead of nats", breaks=entropy.laws[0].text)
def in_bits(p, axis=-1):
    return metrics.entropy(p, axis) / np.log(2)


# ---- 09.3 expected_calibration_error

ece = Exercise(
    "09.3",
    metrics.expected_calibration_error,
    points=3,
    level=2,
    minutes=25,
    hints=(
        "Confidence is a row's largest probability; the answer is right where that stands at the label.",
        "Sort answers into bins by confidence; each bin's |accuracy - confidence| counts by its share.",
        "confidences(probabilities, labels) and bin_numbers(confidence, bins) do the first half.",
    ),
)


@st.composite
def answers(draw):
    """Probabilities (N, 3) and labels (N,)."""
    n = draw(st.integers(1, 24))
    p = draw(arrays((n, 3), 0.25, 2))
    return p / p.sum(axis=1, keepdims=True), np.array(
        draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    )


@ece.law("confidences 0.9, 0.9, 0.6, 1 with the second wrong: 0.1 in two bins, 0.3 in ten")
def worked_ece(ece):
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.0, 1.0]])
    labels = np.array([0, 1, 1, 1])
    assert_close(ece(p, labels, bins=2), 0.10)
    assert_close(ece(p, labels, bins=10), 0.25 * 0.4 + 0.75 * (2.8 / 3 - 2 / 3))


@ece.law("k of m right with confidence k/m is perfectly calibrated: 0")
@given(m=st.integers(2, 8), bins=st.integers(1, 15))
def zero_where_calibrated(ece, m, bins):
    p, labels = [], []
    for k in range((m + 1) // 2, m + 1):
        p += [[k / m, 1 - k / m]] * m
        labels += [0] * k + [1] * (m - k)
    assert_close(ece(np.array(p), np.array(labels), bins=bins), 0.0, atol=1e-9)


@ece.law("with a single bin it is |mean confidence - accuracy|")
@given(case=answers())
def single_bin(ece, case):
    p, labels = case
    right = p.argmax(axis=1) == labels
    assert_close(ece(p, labels, bins=1), abs(p.max(axis=1).mean() - right.mean()))


@ece.law("the order of the images does not matter")
@given(case=answers(), bins=st.integers(1, 15))
def order_does_not_matter(ece, case, bins):
    p, labels = case
    assert_close(ece(p[::-1], labels[::-1], bins=bins), ece(p, labels, bins=bins))


@ece.law("certain answers that are all wrong give 1")
def all_wrong(ece):
    assert_close(ece(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 0])), 1.0)


@ece.law("by default there are 15 bins: 0.61 and 0.66 are in one of them")
def fifteen_bins(ece):
    p = np.array([[0.61, 0.39], [0.66, 0.34]])  # the first right, the second wrong
    assert_close(ece(p, np.array([0, 1])), 0.635 - 0.5)


@ece.law("a confidence of exactly 1/2 is in the upper one of two bins")
def lower_end_belongs_to_the_bin(ece):
    # one bin: accuracy 1/2, confidence 5/8. With 1/2 in a bin of its own it would be 1/4 + 3/8
    probabilities, labels = np.array([[0.5, 0.5], [0.75, 0.25]]), np.array([1, 0])
    assert_close(ece(probabilities, labels, bins=2), 1 / 8)


@ece.law("rows that are no probabilities, a label that is no class, no bin: ValueError")
def ece_refuses(ece):
    p, labels = np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 1])
    assert_refuses("rows of sum 2", ece, 2 * p, labels)
    assert_refuses("a label 2 of two classes", ece, p, labels + 1)
    assert_refuses("bins = 0", ece, p, labels, bins=0)


@ece.mistake("every bin counts the same, however few answers it has", breaks=ece.laws[0].text)
def unweighted(probabilities, labels, bins=15):
    confidence, right = metrics.confidences(probabilities, labels)
    which = metrics.bin_numbers(confidence, bins)
    seen = [which == b for b in np.unique(which)]
    return float(np.mean([abs(right[s].mean() - confidence[s].mean()) for s in seen]))


@ece.mistake("without the absolute value, so that bins cancel", breaks=ece.laws[0].text)
def cancels(probabilities, labels, bins=15):
    confidence, right = metrics.confidences(probabilities, labels)
    return float(confidence.mean() - right.mean())


@ece.mistake("the last bin leaves out confidence 1", breaks="certain answers that are all wrong give 1")
def without_one(probabilities, labels, bins=15):
    confidence, right = metrics.confidences(probabilities, labels)
    which = np.floor(confidence * bins).astype(int)
    error = 0.0
    for b in range(bins):
        if (which == b).any():
            inside = which == b
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


@ece.mistake("the middle of the bin for the mean confidence in it", breaks=ece.laws[1].text)
def bin_middle(probabilities, labels, bins=15):
    confidence, right = metrics.confidences(probabilities, labels)
    which = metrics.bin_numbers(confidence, bins)
    return float(
        sum((which == b).mean() * abs(right[which == b].mean() - (b + 0.5) / bins) for b in np.unique(which))
    )


# ---- 09.4 fit_temperature

fit = Exercise(
    "09.4",
    metrics.fit_temperature,
    points=4,
    level=3,
    minutes=35,
    hints=(
        "Two parts: how surprised the network is by the labels at a temperature, and a search for the T at "
        "which it is least so.",
        "The first is the mean over the rows of -log of what the label has, from a log-softmax, which does "
        "not underflow. T is positive and its ratios matter: search over log T, within the bounds.",
        "scipy.optimize.minimize_scalar(..., bounds=(log low, log high), method='bounded') comes near an end "
        "but never tries it: compare what it finds with T = 1 and with both bounds.",
    ),
)


def quietly(fit, z, labels, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a bound may well be the answer
        return fit(z, labels, **options)


@st.composite
def right_and_wrong(draw):
    """Rows (±a, 0) of two classes of which some are right and, among four or more, more than half."""
    n = draw(st.integers(4, 9))
    wrong = draw(st.integers(1, (n - 1) // 2))
    return draw(quarters(0.5, 8)), n, wrong


@fit.law("90% sure and right in 3 of 4: T = log 9 / log 3 = 2, and nothing to warn of")
def worked_fit(fit):
    z = np.tile([np.log(9.0), 0.0], (4, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert_close(fit(z, np.array([0, 0, 1, 0])), 2.0, rtol=1e-3)


@fit.law("200 answers right by 2 and one wrong by 20: T = 2 / log 19, though its label has e^-29 there")
def fits_far_labels(fit):
    z = np.array([[2.0, 0.0]] * 200 + [[0.0, 20.0]])
    # the loss stands still where 200 · 2 / (1 + e^(2/T)) = 20 / (1 + e^(-20/T)), which is 20
    assert_close(fit(z, np.zeros(201, int)), 2 / np.log(19), rtol=1e-3)
    z = np.array([[30000.0, 29000.0, 0.0]] * 4)  # right in 3 of 4: e^(1000/T) = 3
    assert_close(fit(z, np.array([0, 0, 1, 0]), (1e-3, 1e4)), 1000 / np.log(3), rtol=1e-3)


@fit.law("a larger T is found for logits that are all twice as large, and float32 logits give the same T")
@given(z=arrays((6, 3)), answer=st.integers(0, 728))
def scales_with_logits(fit, z, answer):
    labels = np.array([answer // 3**i % 3 for i in range(6)])
    z = z + 2.0 * np.eye(3)[labels] * (np.arange(6) % 2)[:, np.newaxis]
    once, narrow = (quietly(fit, x, labels, bounds=(0.01, 100.0)) for x in (z, z.astype(np.float32)))
    assert type(once) is float, f"T is a {type(once).__name__}, must be a float"
    assert_close(narrow, once, rtol=1e-4)
    if 0.05 < once < 20 and once != 1:
        assert_close(quietly(fit, 2 * z, labels, bounds=(0.01, 100.0)), 2 * once, rtol=1e-2)


@fit.law("logits that are not finite, labels that are no classes, bounds without 1 in them: ValueError")
def fit_refuses(fit):
    z, labels = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 3.0]]), np.array([0, 0, 1])
    for bad in (np.inf, np.nan):
        assert_refuses(f"a logit of {bad}", fit, np.where(z == 2, bad, z), labels)
    assert_refuses("a label 2 of two classes", fit, z, labels + 1)
    for bounds in ((0.0, 20.0), (2.0, 20.0), (0.05, 0.5), (1.0, 1.0), (20.0, 0.05)):
        assert_refuses(f"bounds {bounds}", fit, z, labels, bounds=bounds)


@fit.law("afterwards confidence is accuracy, where all rows are as sure")
@given(case=right_and_wrong())
def meets_the_accuracy(fit, case):
    a, n, wrong = case
    z, labels = np.tile([a, 0.0], (n, 1)), np.array([1] * wrong + [0] * (n - wrong))
    T = quietly(fit, z, labels, bounds=(0.01, 100.0))
    assert_close(reduce.stable_softmax(z, temperature=float(T))[:, 0], 1 - wrong / n, rtol=1e-2)


@fit.law("the loss is no larger than at T = 1, nor at any other T within the bounds")
@given(z=arrays((4, 3)), answer=st.integers(0, 80), other=st.sampled_from([0.05, 0.5, 1.0, 2.0, 20.0]))
def is_the_best(fit, z, answer, other):
    labels = np.array([answer // 3**i % 3 for i in range(4)])
    T = float(quietly(fit, z, labels))
    assert 0.05 <= T <= 20, f"T = {T} is out of bounds"
    mine, there = (metrics.mean_loss(z, labels, temperature) for temperature in (T, other))
    assert mine <= there + 1e-6, f"loss {mine:.6f} at T = {T:.4g}, {there:.6f} at {other}"


@fit.law("where all temperatures are as good it stays 1")
def stays_one(fit):
    assert_close(quietly(fit, np.zeros((2, 2)), np.array([0, 1])), 1.0)


@fit.law("where the loss has no minimum the bound is the answer, with a RuntimeWarning")
def warns_at_the_bound(fit):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        T = fit(np.array([[3.0, 0.0], [0.0, 3.0]]), np.array([0, 1]), (0.5, 4.0))
    assert_close(T, 0.5)
    told = [w for w in said if issubclass(w.category, RuntimeWarning)]
    assert told, "T is the lower bound, and no RuntimeWarning says so"


@fit.mistake("1/T instead of T", breaks=fit.laws[0].text)
def inverse(logits, labels, bounds=(0.05, 20.0)):
    return 1 / metrics.fit_temperature(logits, labels, bounds)


@fit.mistake(
    "only ever makes the network less sure",
    breaks="the loss is no larger than at T = 1, nor at any other T within the bounds",
)
def only_above_one(logits, labels, bounds=(0.05, 20.0)):
    return metrics.fit_temperature(logits, labels, (1.0, bounds[1]))


@fit.mistake("the loss of the answers given, not of the labels", breaks=fit.laws[0].text)
def by_own_answers(logits, labels, bounds=(0.05, 20.0)):
    metrics.mean_loss(logits, labels, 1.0)  # what it refuses
    return quietly(metrics.fit_temperature, logits, np.asarray(logits).argmax(axis=1), bounds=bounds)


@fit.mistake("a coarse grid of temperatures", breaks=fit.laws[1].text)
def coarse(logits, labels, bounds=(0.05, 20.0)):
    grid = (0.05, 0.5, 1.0, 2.0, 5.0, 20.0)
    return min(grid, key=lambda T: metrics.mean_loss(logits, labels, T))
