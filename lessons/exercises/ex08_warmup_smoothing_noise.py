"""Exercises of lesson 08: a warmup before any schedule, smoothed labels, the gradient of cross-entropy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, logits_and_labels, quarters, temperatures
from minidl.engine import loss, reduce
from minidl.train import schedules

# ---- 08.1 warmed_up

warmup = Exercise(
    "08.1",
    schedules.warmed_up,
    title="warmup before a schedule",
    points=2,
    level=1,
    minutes=10,
    hints=(
        "There are two parts. For t < W the rate rises evenly to schedule(0). From t = W on, the schedule "
        "starts from its beginning.",
        "The first step has the rate schedule(0) / W, not 0. So the last step of the rise, t = W - 1, has "
        "schedule(0).",
        "schedule(0) * (step + 1) / warmup_steps is the first part. Which argument does the schedule get "
        "from step W on?",
    ),
)

steps_of_warmup = st.integers(1, 6)
listed = st.lists(quarters(0.25, 2), min_size=1, max_size=4)  # a schedule's first values; the last one stays


def schedule_of(values):
    return lambda step: values[min(step, len(values) - 1)]


@warmup.law("the schedule 8, 4, 2 with four steps of warmup becomes 2, 4, 6, 8, 8, 4, 2")
def worked_warmup(warmup):
    rates = [warmup(lambda t: [8.0, 4.0, 2.0][t], 4, step) for step in range(7)]
    for rate in rates:
        assert isinstance(rate, float), f"the rate must be a float, not {type(rate).__name__}"
    assert_close(rates, [2.0, 4.0, 6.0, 8.0, 8.0, 4.0, 2.0])
    assert_close(warmup(lambda t: 3, 4, 0), 0.75)  # a rate that is a whole number


@warmup.law("without warmup the rates are those of the schedule")
@given(values=listed, step=st.integers(0, 5))
def none_is_the_schedule(warmup, values, step):
    schedule = schedule_of(values)
    assert_close(warmup(schedule, 0, step), schedule(step))


@warmup.law("no jump: the last step of the rise and the next step both have the rate schedule(0)")
@given(values=listed, W=steps_of_warmup)
def joins(warmup, values, W):
    schedule = schedule_of(values)
    assert_close(warmup(schedule, W, W - 1), values[0])
    assert_close(warmup(schedule, W, W), values[0])


@warmup.law("during the rise, each step adds the same amount, schedule(0) / W")
@given(values=listed, W=steps_of_warmup)
def rises_evenly(warmup, values, W):
    schedule = schedule_of(values)
    way = np.array([warmup(schedule, W, step) for step in range(W)])
    assert_close(np.diff(way, prepend=0.0), np.full(W, values[0] / W))


@warmup.law("no step of the schedule is left out")
@given(values=listed, W=steps_of_warmup)
def keeps_the_schedule(warmup, values, W):
    schedule = schedule_of(values)
    assert_close([warmup(schedule, W, W + step) for step in range(len(values))], values)


@warmup.law("a thousand steps of warmup to a rate of 1e-5: 1e-8 at step 0, 5e-6 at step 499")
def long_warmup(warmup):
    schedule = schedule_of([1e-5, 1e-6])
    rates = [warmup(schedule, 1000, step) for step in (0, 499, 999, 1001)]
    assert_close(rates, [1e-8, 5e-6, 1e-5, 1e-6], rtol=1e-12, atol=0)
    rates = [warmup(lambda t: 1e-15 / (t + 1), 1000, step) for step in (0, 499, 1009, 5999)]
    assert_close(rates, [1e-18, 5e-16, 1e-16, 2e-19], rtol=1e-12, atol=0)


@warmup.mistake("starts from 0, so the first step is wasted", breaks=warmup.laws[0].text)
def from_zero(schedule, warmup_steps, step):
    t, W = step, warmup_steps
    return schedule(0) * t / W if t < W else schedule(t - W)


@warmup.mistake("the schedule already runs during the warmup", breaks="no step of the schedule is left out")
def skips_the_start(schedule, warmup_steps, step):
    t, W = step, warmup_steps
    return schedule(0) * (t + 1) / W if t < W else schedule(t)


@warmup.mistake(
    "the rise uses schedule(t) instead of schedule(0)",
    breaks="during the rise, each step adds the same amount, schedule(0) / W",
)
def rises_to_a_moving_end(schedule, warmup_steps, step):
    t, W = step, warmup_steps
    return schedule(t) * (t + 1) / W if t < W else schedule(t - W)


@warmup.mistake("divides by W even if W = 0", breaks="without warmup the rates are those of the schedule")
def divides_by_zero(schedule, warmup_steps, step):
    factor = min(1.0, (step + 1) / warmup_steps)
    return factor * schedule(max(0, step - warmup_steps))


# ---- 08.2 smooth_labels

smooth = Exercise(
    "08.2",
    loss.smooth_labels,
    title="smoothed labels",
    points=1,
    level=1,
    minutes=10,
    hints=(
        "A part eps of each row is taken away and divided equally among all K classes, including the "
        "right one.",
        "Each number becomes (1 - eps) times itself, plus eps / K.",
        "The classes are along the last axis, so K is the length of the last axis.",
    ),
)

shares = st.sampled_from([0.0, 0.25, 0.5, 1.0, 0.1])


@st.composite
def targets(draw):
    """Rows (N, K) of probabilities."""
    rows = draw(arrays(st.tuples(st.integers(1, 3), st.integers(1, 4)), 0, 2))
    rows[:, 0] += rows.sum(axis=1) == 0
    return rows / rows.sum(axis=1, keepdims=True)


@smooth.law(
    "the second of four classes with eps = 0.2 gives 0.05, 0.85, 0.05, 0.05, also for a single row (K,)"
)
def worked_smoothing(smooth):
    assert_close(smooth(np.array([[0.0, 1.0, 0.0, 0.0]]), 0.2), [[0.05, 0.85, 0.05, 0.05]])
    assert_close(smooth(np.array([0.0, 1.0, 0.0, 0.0]), 0.2), [0.05, 0.85, 0.05, 0.05])
    assert_close(smooth(np.array([[0.1, 0.9]]), 0.0), [[0.1, 0.9]], rtol=1e-12)
    assert_close(smooth(np.array([[0.0, 1.0]]), 1e-15), [[5e-16, 1 - 5e-16]], rtol=1e-9, atol=0)
    assert_close(smooth(np.eye(300), 0.3), 0.7 * np.eye(300) + 0.001, rtol=1e-12)


@smooth.law("each row still sums to 1")
@given(target=targets(), eps=shares)
def still_sums_to_one(smooth, target, eps):
    assert_close(smooth(target, eps).sum(axis=-1), 1.0)


@smooth.law("eps = 0 changes nothing, and with eps = 1 all classes have 1 / K")
@given(target=targets())
def both_ends(smooth, target):
    assert_close(smooth(target, 0.0), target)
    assert_close(smooth(target, 1.0), np.full(target.shape, 1 / target.shape[1]))


@smooth.law("differences between classes are multiplied by 1 - eps")
@given(target=targets(), eps=shares)
def shrinks_differences(smooth, target, eps):
    rows = smooth(target, eps)
    assert_close(rows - rows[:, :1], (1 - eps) * (target - target[:, :1]))


@smooth.law("float32 stays float32, and labels of whole numbers become float64")
def smooth_keeps_float32(smooth):
    kept = ((np.float32, np.float32), (np.float64, np.float64))
    whole = ((dtype, np.float64) for dtype in (np.int64, np.int32, np.int8, np.uint8))
    for dtype, wanted in (*kept, *whole):
        rows = smooth(np.eye(3, dtype=dtype)[[0, 2, 2, 1, 0]], 0.25)
        assert_dtype(rows, wanted)
        assert_close(rows[1], [1 / 12, 1 / 12, 10 / 12], rtol=1e-6)
    for dtype, wanted in ((np.float16, np.float16), (np.float32, np.float32), (np.int64, np.float64)):
        for eps in (0.0, 1.0, 0, 1):
            assert_dtype(smooth(np.eye(2, dtype=dtype), eps), wanted)
    rows = np.array([[0.75, 0.25], [0.25, 0.75], [0.25, 0.75]])
    for axes in ((1, 3, 2), (1, 1, 3, 2)):  # two classes, in the last axis
        assert_close(smooth(np.eye(2)[[0, 1, 1]].reshape(axes), 0.5), rows.reshape(axes))


@smooth.law("ValueError for an eps below 0 or above 1")
def smooth_refuses(smooth):
    for eps in (-0.25, 1.25, -1e-15, 1 + 1e-15):
        assert_refuses(f"label_smoothing = {eps}", smooth, np.array([[0.0, 1.0]]), eps)


@smooth.mistake("divides eps among the K - 1 other classes only", breaks=smooth.laws[0].text)
def over_the_others(target, label_smoothing):
    others = max(target.shape[-1] - 1, 1)
    return (1 - label_smoothing) * target + label_smoothing * (1 - target) / others


@smooth.mistake("takes eps away, but gives it to no class", breaks="each row still sums to 1")
def lost(target, label_smoothing):
    return (1 - label_smoothing) * target


@smooth.mistake("adds eps to every class instead of eps/K", breaks="each row still sums to 1")
def too_much(target, label_smoothing):
    return (1 - label_smoothing) * target + label_smoothing


@smooth.mistake("divides by the number of rows instead of K", breaks=smooth.laws[0].text)
def by_rows(target, label_smoothing):
    return (1 - label_smoothing) * target + label_smoothing / len(target)


# ---- 08.3 cross_entropy_gradient

gradient = Exercise(
    "08.3",
    loss.cross_entropy_gradient,
    title="the gradient of cross-entropy",
    points=3,
    level=2,
    minutes=20,
    hints=(
        "log p_c = z_c/T - log sum e^(z_k/T). Differentiate -sum t_c log p_c with respect to z_k.",
        "d(log p_c)/dz_k = ([c = k] - p_k)/T. Summed with weights -t_c: (p_k sum t_c - t_k)/T.",
        "target.sum(axis=1, keepdims=True) is a column (N, 1) that p can be multiplied with.",
    ),
)


@gradient.law("p = (1/4, 3/4) and label 0 give (-3/4, 3/4) at T = 1, and half of this at T = 2")
def worked_gradient(gradient):
    p, target = np.array([[0.25, 0.75]]), np.array([[1.0, 0.0]])
    assert_close(gradient(p, target), [[-0.75, 0.75]])
    assert_close(gradient(p, target, temperature=2.0), [[-0.375, 0.375]])
    assert_close(gradient(p, target, temperature=1e-15), [[-7.5e14, 7.5e14]])
    sure = np.array([[0.0, 1.0]])  # p = 0 where the label is, as from logits far apart
    assert_close(gradient(sure, target), [[-1.0, 1.0]])
    assert_close(gradient(np.array([[1e-20, 1.0]]), sure), [[1e-20, 0.0]], rtol=1e-9, atol=0)
    assert_close(gradient(p, target, temperature=2.5), [[-0.3, 0.3]], rtol=1e-12)


@gradient.law("each row sums to 0, because adding the same number to all logits does not change the loss")
@given(case=logits_and_labels(), eps=shares, temperature=temperatures())
def sums_to_zero(gradient, case, eps, temperature):
    z, labels = case
    target = loss.smooth_labels(loss.one_hot(labels, z.shape[1], z.dtype), eps)
    rows = gradient(reduce.stable_softmax(z, temperature=temperature), target, temperature=temperature)
    assert_close(rows.sum(axis=1), np.zeros(len(z)))


@gradient.law("if the prediction equals the target, the gradient is 0")
@given(target=targets())
def stands_still(gradient, target):
    assert_close(gradient(target, target), np.zeros(target.shape))


@gradient.law("the gradient agrees with finite differences of the loss, also for targets whose sum is not 1")
@given(z=arrays((2, 3)), target=arrays((2, 3), 0, 2), temperature=temperatures())
def is_the_slope(gradient, z, target, temperature):
    def value(z):
        return -(target * reduce.stable_log_softmax(z, temperature=temperature)).sum()

    slopes, h = np.zeros_like(z), 1e-5
    for index in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[index] = h
        slopes[index] = (value(z + step) - value(z - step)) / (2 * h)
    p = reduce.stable_softmax(z, temperature=temperature)
    assert_close(gradient(p, target, temperature=temperature), slopes, rtol=1e-5, atol=1e-6)


@gradient.law(
    "70 rows and classes: with p = 1/70 a target s for class i gives s/70, and s/70 - s for class i"
)
def many_rows(gradient):
    sums = np.arange(70.0)[:, np.newaxis]
    assert_close(gradient(np.full((70, 70), 1 / 70), sums * np.eye(70)), sums / 70 - sums * np.eye(70))
    p, target = np.array([[0.25, 0.75]]), np.array([[1.0 + 1e-9, 0.0]])  # the sum is nearly 1
    assert_close(gradient(p, target), 0.75 * (target[:, ::-1] - target), rtol=1e-12, atol=0)


@gradient.law("float32 stays float32, and float16 stays float16")
def gradient_keeps_float32(gradient):
    for dtype, temperature in ((np.float32, 2.0), (np.float32, 2), (np.float16, 2.0)):
        rows = gradient(np.full((1, 4), 0.25, dtype), np.array([[0, 0, 1, 0]], dtype), temperature)
        assert_dtype(rows, dtype)
        assert_close(rows, [[0.125, 0.125, -0.375, 0.125]])


@gradient.mistake("the wrong sign: t - p", breaks=gradient.laws[0].text)
def turned(p, target, temperature=1.0):
    return -loss.cross_entropy_gradient(p, target, temperature)


@gradient.mistake("the temperature is forgotten", breaks=gradient.laws[0].text)
def without_temperature(p, target, temperature=1.0):
    return p - target


@gradient.mistake(
    "assumes that every target has the sum 1",
    breaks="the gradient agrees with finite differences of the loss, also for targets whose sum is not 1",
)
def without_total(p, target, temperature=1.0):
    return (p - target) / temperature


@gradient.mistake(
    "only the label's class gets a gradient",
    breaks="each row sums to 0, because adding the same number to all logits does not change the loss",
)
def only_the_label(p, target, temperature=1.0):
    return np.where(target > 0, p - target, 0) / temperature
