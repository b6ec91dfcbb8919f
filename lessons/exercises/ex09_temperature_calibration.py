"""Exercises of lesson 09: calibration, a fitted temperature."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, quarters
from minidl.engine import reduce
from minidl.train import calibration

# ---- 09.3 expected_calibration_error

ece = Exercise(
    "09.3",
    calibration.expected_calibration_error,
    title="the expected calibration error",
    helpers=(
        "bin_numbers",
        "confidences",
    ),
    points=3,
    level=2,
    minutes=25,
    hints=(
        "The confidence is the largest probability of a row. The answer is right if this probability "
        "belongs to the label.",
        "Put the answers into bins by confidence. Each bin's |accuracy - confidence| is weighted by its "
        "part of all answers.",
        "confidences(probabilities, labels) and bin_numbers(confidence, bins) do the first half of the work.",
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


@ece.law(
    "confidences 0.9, 0.9, 0.6, 1, the second answer is wrong: ECE is 0.1 with two bins, 0.3 with ten bins"
)
def worked_ece(ece):
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.0, 1.0]])
    labels = np.array([0, 1, 1, 1])
    assert_close(ece(p, labels, bins=2), 0.10)
    found = ece([[0.9, 0.1], [0.9, 0.1]], labels=[0, 1])
    assert isinstance(found, float), f"the result must be a float, not {type(found).__name__}"
    assert_close(found, 0.4)
    assert_close(ece(np.tile([0.75, 0.25], (300, 1)), np.arange(300) // 270), 0.15)  # 270 of 300 are right
    assert_close(ece(p, labels, bins=10), 0.25 * 0.4 + 0.75 * (2.8 / 3 - 2 / 3))
    five = np.array([[0.6, 0.1, 0.1, 0.1, 0.1], [0.0, 0.0, 0.0, 0.0, 1.0]], np.float32)
    assert_close(ece(five, np.array([0, 0]), bins=100), (0.4 + 1) / 2, rtol=1e-5)
    many = np.array([299 * [0.8 / 299] + [0.2]])  # a confidence of 0.2 lies in the first of four bins
    assert_close(ece(many, np.array([299]), bins=4), 0.8)
    first = np.array([0.6015, 0.6025, 0.8575])  # the first answer is right; each has its own one of 1000 bins
    thousand = ece(np.stack([first, 1 - first], axis=1), np.array([0, 1, 1]), bins=1000)
    assert_close(thousand, (0.3985 + 0.6025 + 0.8575) / 3)


@ece.law("if k of m answers with confidence k/m are right, for any k, ECE is 0")
@given(m=st.integers(2, 8), bins=st.integers(1, 15))
def zero_where_calibrated(ece, m, bins):
    p, labels = [], []
    for k in range((m + 1) // 2, m + 1):
        p += [[k / m, 1 - k / m]] * m
        labels += [0] * k + [1] * (m - k)
    assert_close(ece(np.array(p), np.array(labels), bins=bins), 0.0, atol=1e-9)


@ece.law("with a single bin, ECE is |mean confidence - accuracy|; each of several bins has its part of this")
@given(case=answers(), bins=st.sampled_from([1, 3, 7, 15]))
def single_bin(ece, case, bins):
    p, labels = case
    excess = p.max(axis=1) - (p.argmax(axis=1) == labels)
    assert_close(ece(p, labels, bins=1), abs(excess.mean()), rtol=1e-12, atol=1e-14)
    which = bins * p.max(axis=1)
    if (abs(which - np.rint(which)) > 1e-9).all():  # no rounding at the ends of bins
        gaps = [abs(excess[which // 1 == b].sum()) for b in range(bins)]
        assert_close(ece(p, labels, bins=bins), sum(gaps) / len(p), rtol=1e-12, atol=1e-14)


@ece.law("the order of the images does not matter")
@given(case=answers(), bins=st.integers(1, 15))
def order_does_not_matter(ece, case, bins):
    p, labels = case
    assert_close(ece(p[::-1], labels[::-1], bins=bins), ece(p, labels, bins=bins))


@ece.law("certain answers that are all wrong give 1")
def all_wrong(ece):
    assert_close(ece(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 0])), 1.0)


@ece.law(
    "by default there are 15 bins: 0.61 and 0.66 share a bin, so do 0.74 and 0.79, and 0.95 and 1; 0.65 and "
    "0.69 do not, nor do 0.9 and 0.95"
)
def fifteen_bins(ece):
    shared = ((0.61, 0.66, 0.135), (0.74, 0.79, 0.265), (0.95, 1.0, 0.475))
    for low, high, wanted in (*shared, (0.65, 0.69, (0.35 + 0.69) / 2), (0.9, 0.95, (0.1 + 0.95) / 2)):
        p = np.array([[low, 1 - low], [high, 1 - high]])  # the first answer is right, the second is wrong
        assert_close(ece(p, np.array([0, 1])), wanted)


@ece.law("with two bins, a confidence of exactly 1/2 is in the upper bin")
def lower_end_belongs_to_the_bin(ece):
    # one bin: accuracy 1/2, confidence 5/8. With confidence 1/2 in its own bin, the result would be 1/4 + 3/8
    probabilities, labels = np.array([[0.5, 0.5], [0.75, 0.25]]), np.array([1, 0])
    assert_close(ece(probabilities, labels, bins=2), 1 / 8)


@ece.law(
    "ValueError for rows that are not probabilities, a single class, a label that is not a class, no bins"
)
def ece_refuses(ece):
    p, labels = np.array([[0.5, 0.5], [0.25, 0.75], [0.0, 1.0]]), np.array([0, 1, 1])
    assert_refuses("rows of sum 2", ece, 2 * p, labels)
    for part in (0.02, 0.003):
        uneven = p + [[0.0, 0.0], [-part, 0.0], [part, 0.0]]
        assert_refuses(f"rows of sums 1, {1 - part}, {1 + part}", ece, uneven, labels)
    assert_refuses("a last row [-0.5, 1.5]", ece, p + [[0.0, 0.0], [0.0, 0.0], [-0.5, 0.5]], labels)
    assert_refuses("a label 2 of two classes", ece, p, labels + 1)
    assert_refuses("a label -1", ece, p, labels - 1)
    assert_refuses("a label -100", ece, p, np.array([0, 1, -100]))
    assert_refuses("a probability of NaN", ece, np.array([[0.5, 0.5], [np.nan, 1.0], [0.0, 1.0]]), labels)
    for bins in (0, -1):
        assert_refuses(f"bins = {bins}", ece, p, labels, bins=bins)
    assert_refuses("a single class", ece, np.ones((2, 1)), np.zeros(2, int))


@ece.mistake("every bin has the same weight, even if it has few answers", breaks=ece.laws[0].text)
def unweighted(probabilities, labels, bins=15):
    confidence, right = calibration.confidences(probabilities, labels)
    which = calibration.bin_numbers(confidence, bins)
    seen = [which == b for b in np.unique(which)]
    return float(np.mean([abs(right[s].mean() - confidence[s].mean()) for s in seen]))


@ece.mistake("no absolute value, so that bins cancel each other", breaks=ece.laws[0].text)
def cancels(probabilities, labels, bins=15):
    confidence, right = calibration.confidences(probabilities, labels)
    return float(confidence.mean() - right.mean())


@ece.mistake("the last bin leaves out confidence 1", breaks="certain answers that are all wrong give 1")
def without_one(probabilities, labels, bins=15):
    confidence, right = calibration.confidences(probabilities, labels)
    which = np.floor(confidence * bins).astype(int)
    error = 0.0
    for b in range(bins):
        if (which == b).any():
            inside = which == b
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


@ece.mistake("the middle of the bin instead of the mean confidence in it", breaks=ece.laws[1].text)
def bin_middle(probabilities, labels, bins=15):
    confidence, right = calibration.confidences(probabilities, labels)
    which = calibration.bin_numbers(confidence, bins)
    return float(
        sum((which == b).mean() * abs(right[which == b].mean() - (b + 0.5) / bins) for b in np.unique(which))
    )


# ---- 09.4 fit_temperature

fit = Exercise(
    "09.4",
    calibration.fit_temperature,
    title="a temperature fitted to labels",
    points=4,
    level=3,
    minutes=35,
    hints=(
        "There are two parts: the loss of the labels at one temperature, and a search for the T with the "
        "smallest loss.",
        "The loss is the mean over the rows of -log p of the label. Take log p from a log-softmax, which "
        "does not underflow. T is positive and only its ratios matter, so search over log T, within the "
        "bounds.",
        "scipy.optimize.minimize_scalar(..., bounds=(log low, log high), method='bounded') never tries "
        "the bounds themselves. So compare its result with T = 1 and with both bounds.",
    ),
)


def quietly(fit, z, labels, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the right answer may be a bound
        return fit(z, labels, **options)


def with_its_warning(fit, z, labels, bounds):
    """T, and whether there was a RuntimeWarning."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        T = fit(z, np.array(labels), bounds)
    return T, any(issubclass(w.category, RuntimeWarning) for w in said)


@st.composite
def right_and_wrong(draw):
    """Rows (±a, 0) of two classes. Some are right; among four or more, more than half are right."""
    n = draw(st.integers(4, 9))
    wrong = draw(st.integers(1, (n - 1) // 2))
    return draw(quarters(0.5, 8)), n, wrong


@fit.law("confidence 90%, but right in 3 of 4: T = log 9 / log 3 = 2, without a warning")
def worked_fit(fit):
    z = np.tile([np.log(9.0), 0.0], (4, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert_close(fit(z, np.array([0, 0, 1, 0])), 2.0, rtol=1e-3)
        for bounds in ((1, 4), (1.0, 2.004)):
            assert_close(fit(z, np.array([0, 0, 1, 0]), bounds), 2.0, rtol=1e-3)
        for bounds in ((0.25, 1.0), (0.499, 1.0)):
            assert_close(fit(z / 4, np.array([0, 0, 1, 0]), bounds), 0.5, rtol=1e-3)
        assert_close(fit(0.501 * z, np.array([0, 0, 1, 0])), 1.002, rtol=1e-3)
        assert_close(fit(z + 1e8, np.array([0, 0, 1, 0])), 2.0, rtol=1e-3)
        assert_close(fit([[3, 0], [3, 0], [3, 0]], labels=[0, 0, 1]), 3 / np.log(2), rtol=1e-3)
        # no answer is right, and yet the largest T is not the best: the slope is 0 at e^(8/T) = 7
        assert_close(fit([[3, 2, -5], [2, 3, -5]], labels=[1, 0]), 8 / np.log(7), rtol=1e-3)
        assert_close(fit(1e-9 * z, np.array([0, 0, 1, 0]), (1e-9, 2.0)), 2e-9, rtol=1e-3, atol=0)


@fit.law("200 labels lead by 2, one is 20 behind: T = 2 / log 19, although that label has p = e^-29 there")
def fits_far_labels(fit):
    z = np.array([[2.0, 0.0]] * 200 + [[0.0, 20.0]])
    # the slope is 0 at 200 · 2 / (1 + e^(2/T)) = 20 / (1 + e^(-20/T)), and both are about 20
    assert_close(fit(z, np.zeros(201, int)), 2 / np.log(19), rtol=1e-3)
    wrong = ([[1000, 0], [0, 1000]], [[1e150, 0, 0, 0], [0, 1e150, 0, 0]], np.float32([[3e38, -3e38]] * 2))
    for far in wrong:
        labels = 1 - np.argmax(far, axis=1)
        assert_close(quietly(fit, np.array(far), labels), 20.0)  # the largest T is best
    big = np.array([[2**25 + 1, 2**25]] * 3)  # one number in float32
    assert_close(fit(big, np.array([0, 0, 1])), 1 / np.log(2), rtol=1e-3)
    z = np.array([298 * [0.0] + [29000.0, 30000.0]] * 4)  # 3 of 4 are right: e^(1000/T) = 3
    assert_close(fit(z, np.array([299, 299, 298, 299]), (1e-3, 1e4)), 1000 / np.log(3), rtol=1e-3)


@fit.law("logits that are twice as large give a T that is twice as large, and float32 logits give the same T")
@given(z=arrays((6, 3)), answer=st.integers(0, 728))
def scales_with_logits(fit, z, answer):
    labels = np.array([answer // 3**i % 3 for i in range(6)])
    z = z + 2.0 * np.eye(3)[labels] * (np.arange(6) % 2)[:, np.newaxis]
    once, narrow = (quietly(fit, x, labels, bounds=(0.01, 100.0)) for x in (z, z.astype(np.float32)))
    assert type(once) is float, f"T is a {type(once).__name__}, must be a float"
    assert_close(narrow, once, rtol=1e-4)
    if 0.05 < once < 20 and once != 1:
        assert_close(quietly(fit, 2 * z, labels, bounds=(0.01, 100.0)), 2 * once, rtol=1e-2)


@fit.law("ValueError for a single class, infinite logits or NaN, other labels, and bounds that exclude 1")
def fit_refuses(fit):
    z, labels = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 3.0]]), np.array([0, 0, 1])
    for bad in (np.inf, -np.inf, np.nan):
        assert_refuses(f"a logit of {bad}", fit, np.where(z == 2, bad, z), labels)
    assert_refuses("a single class", fit, z[:, :1], np.zeros(3, int))
    assert_refuses("a label 2 of two classes", fit, z, labels + 1)
    assert_refuses("a label -1", fit, z, labels - 1)
    assert_refuses("a label -100", fit, z, np.array([0, 0, -100]))
    assert_refuses("a label 2 of two equal logits", fit, 0 * z, labels + 1)
    for bounds in (
        (0.0, 20.0),
        (-1.0, 20.0),
        (1 + 1e-9, 20.0),
        (0.05, 1 - 1e-9),
        (1.0, 1.0),
        (20.0, 0.05),
    ):
        assert_refuses(f"bounds {bounds}", fit, z, labels, bounds=bounds)


@fit.law("if all rows have the same confidence, this confidence at the new T is equal to the accuracy")
@given(case=right_and_wrong())
def meets_the_accuracy(fit, case):
    a, n, wrong = case
    z, labels = np.tile([a, 0.0], (n, 1)), np.array([1] * wrong + [0] * (n - wrong))
    T = quietly(fit, z, labels, bounds=(0.01, 100.0))
    assert_close(reduce.stable_softmax(z, temperature=float(T))[:, 0], 1 - wrong / n, rtol=1e-2)


@fit.law("the loss is not larger than at T = 1 or at any other T within the bounds")
@given(z=arrays((4, 3)), answer=st.integers(0, 80), other=st.sampled_from([0.05, 0.5, 1.0, 2.0, 20.0]))
def is_the_best(fit, z, answer, other):
    labels = np.array([answer // 3**i % 3 for i in range(4)])
    T = float(quietly(fit, z, labels))
    assert 0.05 <= T <= 20, f"T = {T} is out of bounds"
    mine, there = (calibration.mean_loss(z, labels, temperature) for temperature in (T, other))
    assert mine <= there + 1e-6, f"loss {mine:.6f} at T = {T:.4g}, {there:.6f} at {other}"


@fit.law("if all temperatures are equally good, T is 1, with a RuntimeWarning only if 1 is a bound")
def stays_one(fit):
    for labels in ([0, 1], [0, 0]):
        for bounds in ((0.05, 20.0), (1.0, 20.0), (0.05, 1.0)):
            T, warned = with_its_warning(fit, np.zeros((2, 2)), labels, bounds)
            assert_close(T, 1.0)
            assert warned == (1 in bounds), (
                f"bounds {bounds}: " + ("a" if warned else "no") + " RuntimeWarning"
            )


@fit.law("if the loss has no minimum, the bound is returned with a RuntimeWarning")
def warns_at_the_bound(fit):
    cases = (([0, 1], 0.5, "lower"), ([1, 0], 4.0, "upper"), ([0, 1], 1.0, "lower"), ([1, 0], 1.0, "upper"))
    for labels, bound, which in cases:
        bounds = (bound, 4.0) if which == "lower" else (0.5, bound)
        T, warned = with_its_warning(fit, np.array([[3.0, 0.0], [0.0, 3.0]]), labels, bounds)
        assert_close(T, bound)
        assert warned, f"T is the {which} bound, and no RuntimeWarning says so"
    assert_close(quietly(fit, np.array([[3.0, 0.0]]), np.array([1])), 20.0)  # one row


@fit.mistake("1/T instead of T", breaks=fit.laws[0].text)
def inverse(logits, labels, bounds=(0.05, 20.0)):
    return 1 / calibration.fit_temperature(logits, labels, bounds)


@fit.mistake(
    "never finds a T below 1",
    breaks="the loss is not larger than at T = 1 or at any other T within the bounds",
)
def only_above_one(logits, labels, bounds=(0.05, 20.0)):
    return calibration.fit_temperature(logits, labels, (1.0, bounds[1]))


@fit.mistake("the loss of the network's own answers instead of the labels", breaks=fit.laws[0].text)
def by_own_answers(logits, labels, bounds=(0.05, 20.0)):
    calibration.mean_loss(logits, labels, 1.0)  # refuses bad input
    return quietly(calibration.fit_temperature, logits, np.asarray(logits).argmax(axis=1), bounds=bounds)


@fit.mistake("searches only a coarse grid of temperatures", breaks=fit.laws[1].text)
def coarse(logits, labels, bounds=(0.05, 20.0)):
    grid = (0.05, 0.5, 1.0, 2.0, 5.0, 20.0)
    return min(grid, key=lambda T: calibration.mean_loss(logits, labels, T))
