"""Exercises of lesson 09: softmax with a temperature, entropy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, logits, temperatures
from minidl.engine import reduce
from minidl.train import calibration

# ---- 09.1 stable_softmax

softmax = Exercise(
    "09.1",
    reduce.stable_softmax,
    title="softmax with a temperature",
    points=2,
    level=1,
    minutes=15,
    hints=(
        "Each row is a probability distribution: e^(z/T), divided by its own sum along the axis.",
        "e^1000 overflows. Subtracting the same number from a row does not change its softmax: subtract "
        "the maximum, then divide by T.",
        "z - z.max(axis=axis, keepdims=True) is at most 0. Use keepdims=True in the sum too.",
    ),
)


@softmax.law("logits log 1, log 2, log 5 give 1/8, 2/8, 5/8 at T = 1, and 1/30, 4/30, 25/30 at T = 1/2")
def worked_softmax(softmax):
    z = np.log(np.array([[1.0, 2.0, 5.0]]))
    assert_close(softmax(z), [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-12)
    assert_close(softmax(z, temperature=0.5), [[1 / 30, 4 / 30, 25 / 30]])
    for T in (1e-30, 0.1, 2, 1e30):
        assert_close(softmax(T * z, temperature=T), [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-12)
    wanted = np.array([1.0, np.exp(2)]) / (1 + np.exp(2))
    for z in (np.array([0, 3]), np.array([2**31 - 1, 2**31 + 2])):  # whole numbers
        assert_close(softmax(z, temperature=1.5), wanted, rtol=1e-12)
    small = np.exp(-50.0)
    assert_close(softmax(np.array([[0.0, -50.0]])), [[1.0, small]], rtol=1e-9, atol=0)


@softmax.law("each row sums to 1")
@given(z=logits(), temperature=temperatures())
def rows_sum_to_one(softmax, z, temperature):
    assert_close(softmax(z, temperature=temperature).sum(axis=-1), 1.0)


@softmax.law("the ratio of two probabilities is e^(difference of their logits / T)")
@given(z=logits(), temperature=temperatures())
def ratios(softmax, z, temperature):
    p = softmax(z, temperature=temperature)
    assert_close(p / p[:, :1], np.exp((z - z[:, :1]) / temperature))


@softmax.law("the given axis is used")
@given(z=arrays((2, 3, 2)), axis=st.sampled_from([0, 1, 2, -2]))
def along_the_axis(softmax, z, axis):
    for several in ((0, 2), (-1, 0), (-2, -1), (0, 1, 2)):
        assert_close(softmax(z, axis=several).sum(axis=several), 1.0)
        assert_close(softmax(z, several, 0.5), softmax(2 * z, axis=several))
    assert_close(softmax(z, axis=axis), np.moveaxis(softmax(np.moveaxis(z, axis, -1)), -1, axis))
    assert_close(softmax(z, axis=axis).sum(axis=axis), 1.0)
    assert_close(softmax(z, axis, 0.5), softmax(2 * z, axis=axis))


@softmax.law("logits of ±10,000 at T = 1/1000 give exactly 1 and 0; equal largest logits share the 1")
def is_stable(softmax):
    z = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -2e4]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        p = softmax(z, temperature=1e-3)
        turned = softmax(z.T, axis=0, temperature=1e-3)
        several = softmax(np.stack([z, z]), axis=(0, 2), temperature=1e-3)  # each row shares with its copy
    assert_close(p, [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert_equal(np.asarray(p) == 0, p < 0.25)  # exactly 0
    assert_close(turned, np.transpose(p))
    assert_close(several, np.stack([p, p]) / 2)
    whole = softmax(np.array([1000, 1000]))  # one row
    assert_close(whole, [0.5, 0.5], rtol=1e-14, atol=0)
    assert_dtype(whole, np.float64)
    assert_close(softmax(np.zeros((1, 2, 1, 4))), np.full((1, 2, 1, 4), 0.25))
    assert_close(softmax(np.zeros((1, 2, 1, 4)), axis=(3, 1)), np.full((1, 2, 1, 4), 0.125))


@softmax.law("ValueError for a temperature that is 0, below 0, infinite or NaN")
def refuses_a_temperature(softmax):
    for temperature in (0.0, -1.0, np.inf, np.nan):
        assert_refuses(f"temperature {temperature}", softmax, np.array([[1.0, 2.0]]), temperature=temperature)


@softmax.law("logits of 1e36 in float32 do not overflow at T = 1/1000, and float32 stays float32")
def float32_does_not_overflow(softmax):
    with np.errstate(over="ignore"):
        for smaller in (0, 5e35):
            p = softmax(np.array([[1e36, smaller, 1e36]], np.float32), temperature=0.001)
            assert_equal(p, np.array([[0.5, 0, 0.5]]))
            assert_dtype(p, np.float32)


@softmax.mistake("sums over all numbers instead of each row", breaks="each row sums to 1")
def sums_over_everything(z, axis=-1, temperature=1.0):
    p = np.exp((z - z.max()) / temperature)
    return p / p.sum()


@softmax.mistake("divided the probabilities by T, not the logits", breaks=softmax.laws[0].text)
def divides_probabilities(z, axis=-1, temperature=1.0):
    return reduce.stable_softmax(z, axis) / temperature


@softmax.mistake("multiplied by T", breaks=softmax.laws[0].text)
def multiplies(z, axis=-1, temperature=1.0):
    return reduce.stable_softmax(z, axis, 1 / temperature)


@softmax.mistake("does not subtract the maximum, which overflows", breaks=softmax.laws[1].text)
def overflows(z, axis=-1, temperature=1.0):
    p = np.exp(z / temperature)
    return p / p.sum(axis=axis, keepdims=True)


# ---- 09.2 entropy

entropy = Exercise(
    "09.2",
    calibration.entropy,
    title="how undecided an answer is",
    points=1,
    level=1,
    minutes=10,
    hints=(
        "H = -sum p log p along the axis, with the natural logarithm.",
        "log 0 is -inf, and 0 · -inf is NaN. But p log p tends to 0 when p tends to 0.",
        "np.log(np.where(p > 0, p, 1)) is 0 where p is 0.",
    ),
)


@st.composite
def distributions(draw):
    """Rows (N, K) of probabilities, some of them 0."""
    counts = draw(arrays(st.tuples(st.integers(1, 3), st.integers(1, 4)), 0, 2))
    counts[:, 0] += counts.sum(axis=1) == 0
    return counts / counts.sum(axis=1, keepdims=True)


@entropy.law("(1/2, 1/2) has the entropy log 2, (1, 0) has 0, and (1/2, 1/4, 1/4) has 3/2 log 2")
def worked_entropy(entropy):
    p = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.5, 0.25, 0.25]])
    assert_close(entropy(p), np.log(2) * np.array([1.0, 0.0, 1.5]))
    assert_close(entropy(p[0]), np.float64(np.log(2)))
    assert_close(entropy(np.eye(3, dtype=int)), np.zeros(3))
    assert_close(entropy([[1, 0], [0.5, 0.5]]), [0.0, np.log(2)])


@entropy.law("the entropy is between 0 and log K")
@given(p=distributions())
def within_limits(entropy, p):
    H = entropy(p)
    assert np.shape(H) == p.shape[:1], f"{len(p)} rows need {len(p)} entropies, got shape {np.shape(H)}"
    assert np.all(np.asarray(H) >= -1e-12), "negative"
    assert np.all(np.asarray(H) <= np.log(p.shape[1]) + 1e-12), "above log K"


@entropy.law("for two independent draws the entropy is the sum of both entropies")
@given(p=distributions(), q=distributions())
def adds_up(entropy, p, q):
    both = np.einsum("i,j->ij", p[0], q[0]).reshape(1, -1)
    assert_close(entropy(both), entropy(p[:1]) + entropy(q[:1]), atol=1e-9)


@entropy.law("the given axis is used")
@given(p=distributions())
def entropy_along_the_axis(entropy, p):
    assert_close(entropy(p.T, axis=0), entropy(p))


@entropy.law("the entropy of a softmax does not decrease when T increases")
@given(z=logits(), temperature=temperatures())
def rises_with_temperature(entropy, z, temperature):
    cold, warm = (entropy(reduce.stable_softmax(z, temperature=T)) for T in (temperature, 2 * temperature))
    assert np.all(np.asarray(cold) <= np.asarray(warm) + 1e-12), f"{cold} at T, {warm} at 2T"


@entropy.law("ValueError for numbers that are not probabilities")
def refuses_what_is_no_distribution(entropy):
    for p in ([0.5, 0.6], [1.5, -0.5], [0.0, 0.0], [0.5, 0.502], [0.5, 0.498], [np.nan, 1.0], [1.0, -1e-13]):
        assert_refuses(f"{p}", entropy, np.array(p))
    for row in ([0.6, 0.6, -0.2], [0.3, 0.3, 0.3]):
        assert_refuses(f"{row} below [1, 0, 0]", entropy, np.array([[1.0, 0.0, 0.0], row]))
    assert_refuses("a sum of 0.99", entropy, np.full(3, 0.33))
    assert_refuses("[1.0001, -0.0001]", entropy, np.array([1.0001, -0.0001]))
    assert_refuses("rows of sums 0.9 and 1.1", entropy, np.array([[0.4, 0.5], [0.6, 0.5]]))
    assert_refuses("sums of 0.9 along the axis", entropy, np.full((2, 3, 2), [[[0.3, 0.7]]]), axis=1)


@entropy.law("a probability of 1e-9 counts: it adds 1e-9 · log 1e9 and a little more, in float64")
def counts_small_probabilities(entropy):
    small = 1e-9
    wanted = -small * np.log(small) - (1 - small) * np.log1p(-small)
    assert_close(entropy(np.array([small, 1 - small])), wanted, rtol=1e-6, atol=0)
    assert_close(entropy(np.array([1e-30, 1.0])), 30e-30 * np.log(10), rtol=1e-6, atol=0)
    counts = np.arange(1, 16)  # row k is uniform over k of 20 classes
    rows = (np.tri(15, 20) / counts[:, np.newaxis]).astype(np.float32)
    H = entropy(np.stack([rows, rows]))
    assert_dtype(H, np.float64)
    assert_close(H, np.log([counts, counts]))
    assert_close(entropy(np.float32([0.25, 0.75])), np.log(4) - 0.75 * np.log(3), rtol=1e-12)
    assert_close(entropy(np.float32([1 + 2**-23, 0])), np.float64(0), atol=1e-6)  # a sum that is rounded
    p = np.array([[[0.25, 1.0], [0.75, 0.0]]])  # (1, 2, 2): the middle axis sums to 1, the last does not
    for turned, axis in ((p, 1), (p, -2), (p.transpose(1, 0, 2), 0), (p.transpose(0, 2, 1), 2)):
        assert_close(entropy(turned, axis=axis), [[np.log(4) - 0.75 * np.log(3), 0.0]], atol=1e-15)


@entropy.mistake("0 log 0 became NaN", breaks=entropy.laws[0].text)
def nan_at_zero(p, axis=-1):
    with np.errstate(divide="ignore", invalid="ignore"):
        return -(p * np.log(p)).sum(axis=axis)


@entropy.mistake("the sign is missing", breaks="the entropy is between 0 and log K")
def signless(p, axis=-1):
    return -calibration.entropy(p, axis)


@entropy.mistake("bits instead of nats", breaks=entropy.laws[0].text)
def in_bits(p, axis=-1):
    return calibration.entropy(p, axis) / np.log(2)
