"""Exercise of lesson 10: a linear layer in integers, with a scale for each output."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.compress.integer import arithmetic

# ---- 10.4 integer_linear

linear = Exercise(
    "10.4",
    arithmetic.integer_linear,
    title="a linear layer in integers",
    points=4,
    level=3,
    minutes=35,
    hints=(
        "Put the four formulas into y = w x + b. S_x and S_w[o] are factors of every term, so the sum "
        "itself has only integers. Dividing by S_y leaves one real number for each output.",
        "q_x - Z_x and the products do not fit in 8 bits: first convert to a wider type. Sum, add the "
        "bias, and check that the sum fits in 32 bits. Then, in this order: convert to float32, "
        "multiply by M, np.rint, add Z_y, clip, cast.",
        "M = np.float32(S_x) * np.asarray(S_w, np.float32) / ... Multiply the sums (N, O) by M, which "
        "is (O,).",
    ),
)


def grid(S, Z, signed):
    return (S, Z, -128, 127) if signed else (S, Z, 0, 255)


def by_loops(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    """Compute one number after the other, and the sums with Python's integers."""
    y = np.zeros((len(qx), len(qw)), np.uint8 if qmin >= 0 else np.int8)
    scales = np.broadcast_to(np.float32(S_w), len(qw))
    for n, row in enumerate(qx.tolist()):
        for o, weights in enumerate(qw.tolist()):
            total = int(qbias[o]) + sum((q - Z_x) * w for q, w in zip(row, weights, strict=True))
            M = np.float32(S_x) * scales[o] / np.float32(S_y)
            y[n, o] = min(max(round(float(np.float32(total) * M)) + Z_y, qmin), qmax)
    return y


sides = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
steps = st.sampled_from([0.25, 0.5, 0.1, 0.03])


@st.composite
def layers(draw):
    """Arguments of a layer (N, in), (O, in) with small integers."""
    samples, inputs, outputs = draw(sides)
    is_signed = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    low, high = (-128, 127) if is_signed else (0, 255)
    qx = rng.integers(low, high + 1, (samples, inputs)).astype(np.int8 if is_signed else np.uint8)
    qw = rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
    qw = np.abs(qw).astype(np.uint8) if draw(st.booleans()) else qw
    qbias = rng.integers(-2000, 2000, outputs).astype(np.int32)
    S_w = np.array([draw(steps) for _ in range(outputs)], np.float32)
    S_y, Z_y, qmin, qmax = grid(
        draw(st.sampled_from([0.5, 20.0, 100.0])), draw(st.integers(-9, 9)), is_signed
    )
    Z_x = draw(st.integers(-9, 9))
    return {
        "qx": qx,
        "S_x": draw(steps),
        "Z_x": Z_x,
        "qw": qw,
        "S_w": S_w,
        "qbias": qbias,
        "S_y": S_y,
        "Z_y": Z_y,
        "qmin": qmin,
        "qmax": qmax,
    }


@linear.law(
    "q_x - Z_x = (2, -2), weights (4, 1) and (1, 3), biases 2, -1: the sums are 8, -5 and q_y is 3, -1"
)
def worked_layer(integer_linear):
    qx, qw = np.array([[5, 1]], np.int8), np.array([[4, 1], [1, 3]], np.int8)  # Z_x = 3
    qbias, S_w = np.array([2, -1], np.int32), np.array([0.25, 0.5], np.float32)
    # M = 1/2 · (1/4, 1/2) / (1/2) = (1/4, 1/2): 8/4 = 2, and -5/2 = -2.5 rounds to even, -2; then add Z_y = 1
    assert_equal(integer_linear(qx, 0.5, 3, qw, S_w, qbias, 0.5, 1, -128, 127), [[3, -1]])


@linear.law("no integer wraps around: 3 · 255 · 127 is 97,155, and 2^30 times 2^40 is clipped")
def worked_widths(integer_linear):
    qx, qw = np.full((1, 3), 255, np.uint8), np.full((1, 3), 127, np.int8)
    answer = integer_linear(qx, 1.0, 0, qw, 1.0, np.array([0], np.int32), 1000.0, 0, 0, 255)
    assert_equal(answer, [[97]])
    lowest = integer_linear(
        np.zeros((1, 3), np.uint8), 1.0, 255, qw, 1.0, np.array([0], np.int32), 1e3, 98, 0, 255
    )
    assert_equal(lowest, [[1]])
    large = integer_linear(
        qx, 1.0, 0, np.full((1, 3), 200, np.uint8), 1.0, np.array([0], np.int32), 1e3, 0, 0, 255
    )
    assert_equal(large, [[153]])
    level = integer_linear(qx, 1.0, 255, qw, 1.0, np.array([3], np.int32), 1.0, 200, 0, 255)
    assert_equal(level, [[203]])
    for scale in (2.0**-5, 2.0**-40):
        bias, zero = np.array([2**30, -(2**30)], np.int32), np.zeros((2, 1), np.int8)
        answer = integer_linear(zero[:1], 1.0, 0, zero, 1.0, bias, scale, 1, -128, 127)
        assert_equal(answer, [[127, -128]])
        for qmin, qmax in ((-8, 7), (10, 200)):  # clipped to the range that is given, whatever 8 bits hold
            answer = integer_linear(zero[:1], 1.0, 0, zero, 1.0, bias, scale, 1, qmin, qmax)
            assert_equal(answer, [[qmax, qmin]])
    # 601 products make an odd number above 2^24, which float32 does not hold
    qx, qw = np.full((1, 601), 255, np.uint8), np.full((1, 601), 127, np.int8)
    bias = np.array([3 - 601 * 253 * 127], np.int32)
    assert_equal(integer_linear(qx, 1.0, 2, qw, 1.0, bias, 1.0, 0, 0, 255), [[3]])


@linear.law("the result is that of a loop over samples, outputs and inputs")
@given(layer=layers())
def as_by_loops(integer_linear, layer):
    assert_equal(integer_linear(**layer), by_loops(**layer))


@linear.law("S_y (q_y - Z_y) differs from w x + b by at most S_y / 2, unless q_y is clipped")
@given(layer=layers())
def stands_for_the_reals(integer_linear, layer):
    q = integer_linear(**layer).astype(np.float64)
    S_w, S_y = layer["S_w"].astype(np.float64), layer["S_y"]
    x = layer["S_x"] * (layer["qx"].astype(np.float64) - layer["Z_x"])
    w, b = S_w[:, np.newaxis] * layer["qw"], layer["S_x"] * S_w * layer["qbias"]
    y, ends = x @ w.T + b, S_y * (np.array([layer["qmin"], layer["qmax"]]) - layer["Z_y"])
    error = np.abs(S_y * (q - layer["Z_y"]) - np.clip(y, *ends))
    too_much = np.maximum(error - 0.5001 * S_y, 0)
    assert_equal(too_much, np.zeros(q.shape))


@linear.law("one number S_w gives the same as an array with this number for each output")
@given(layer=layers())
def one_scale(integer_linear, layer):
    for number in (0.25, np.float32(0.25), 1):
        one = {**layer, "S_w": number}
        each = {**layer, "S_w": np.full(len(layer["qw"]), number, np.float32)}
        assert_equal(integer_linear(**one), integer_linear(**each))


@linear.law(
    "the sum, M and the product are float32: 64.5 · 2^18 + 1 becomes 64.5 · 2^18, and 5 · 0.7 gives 4"
)
def sum_in_float32(integer_linear):
    qx, qw = np.array([[1]], np.int8), np.array([[1]], np.int8)
    qbias = np.array([129 * 2**17], np.int32)
    answer = integer_linear(qx, 1.0, 0, qw, 2.0**-18, qbias, 1.0, 0, -128, 127)
    assert_equal(answer, [[64]])
    qx = np.array([[5]], np.int8)
    # in float64, 5 times the float32 number 0.7 is below 3.5
    for S in (np.array([0.7], np.float32), np.array([0.7]), 0.7):
        answer = integer_linear(qx, 0.1, 0, qw, S, np.array([0], np.int32), 0.1, 0, -128, 127)
        assert_equal(answer, [[4]])
        for one in (1.0, np.float64(1)):
            answer = integer_linear(9 * qx, one, 0, qw, S, np.array([0], np.int32), one, 0, -128, 127)
            assert_equal(answer, [[32]])  # 45 M = 31.5; in float64, 45 · 0.7 is less
    # 70 M = 73.5 with M = 0.7 · 0.9 / 0.6; ((70 · 0.7) · 0.9) / 0.6 and 70 / (1 / M) are less
    answer = integer_linear(14 * qx, 0.7, 0, qw, 0.9, np.array([0], np.int32), 0.6, 0, -128, 127)
    assert_equal(answer, [[74]])
    # M is 2, however small the scales are
    answer = integer_linear(qx, 2.0**-50, 0, qw, 1.0, np.array([0], np.int32), 2.0**-51, 0, -128, 127)
    assert_equal(answer, [[10]])
    # float32 rounds the sum up to 23592960, and the product to 31.5; rounded once, the product is less
    qbias = np.array([23592954], np.int32)
    answer = integer_linear(qx, 2.0**-19, 0, qw, 0.7, qbias, 1.0, 0, -128, 127)
    assert_equal(answer, [[32]])


KINDS_OF_8_BITS = (
    *((0, 255, np.uint8), (0, 15, np.uint8), (3, 100, np.uint8)),
    *((-128, 127, np.int8), (-1, 1, np.int8)),
)


@linear.law("the result is uint8 if qmin is at least 0, otherwise int8")
def kinds_of_integers(integer_linear):
    qx, qw, qbias = np.ones((2, 3), np.int8), np.ones((2, 3), np.int8), np.zeros(2, np.int32)
    for qmin, qmax, dtype in KINDS_OF_8_BITS:
        assert_dtype(integer_linear(qx, 1.0, 0, qw, 0.5, qbias, 1.0, 1, qmin, qmax), dtype)


@linear.law("a sum that does not fit in 32 bits is refused with a ValueError")
def refuses_a_large_sum(integer_linear):
    qx = np.array([[-100], [1]], np.int8)  # the first row fits, the second does not
    for bias, weight in ((2**31 - 1, 1), (-(2**31), -1)):
        qw, qbias = np.array([[weight]], np.int8), np.array([bias], np.int32)
        what = f"a sum of {bias:,} and {weight}"
        assert_refuses(what, integer_linear, qx, 1.0, 0, qw, 1.0, qbias, 1.0, 0, -128, 127)
    qx, qw, zero = np.full((1, 66400), 127, np.int8), np.full((1, 66400), 127, np.int8), np.zeros(1, np.int32)
    what, sums = "66,400 products of 255 and 127", 66400 * 255 * 127  # above 2^31
    assert_refuses(what, integer_linear, qx, 1.0, -128, qw, 1.0, zero, 1.0, 0, -128, 127)
    qbias = np.array([2**31 - 200 - sums], np.int32)
    within = integer_linear(qx, 1.0, -128, qw, 1.0, qbias, 2.0**31, 0, -128, 127)
    assert_equal(within, [[1]])  # 2^31 - 200: the products alone would not fit
    qx, qw = np.array([[1]], np.int8), np.array([[1], [1]], np.int8)
    for biases in ([0, 2**31 - 1], [2**31 - 1, 0]):
        qbias = np.array(biases, np.int32)
        assert_refuses("2^31 beside a 1", integer_linear, qx, 1.0, 0, qw, 1.0, qbias, 1.0, 0, -128, 127)
    for bias, q in ((2**31 - 1, 1), (-(2**31), -1)):  # the limits of int32
        qbias, zero = np.array([bias], np.int32), np.array([[0]], np.int8)
        assert_equal(integer_linear(zero, 1.0, 0, zero, 1.0, qbias, 2.0**31, 0, -128, 127), [[q]])


def sums_of(qx, Z_x, qw, qbias):
    sums = (qx.astype(np.int64) - Z_x) @ qw.astype(np.int64).T + qbias
    if (sums >= 2**31).any() or (sums < -(2**31)).any():
        raise ValueError("a sum does not fit in 32 bits")
    return sums


def eight_bits(q, qmin, qmax):
    return np.clip(q, qmin, qmax).astype(np.uint8 if qmin >= 0 else np.int8)


def multipliers_of(S_x, S_w, S_y):
    return np.float32(S_x) * np.float32(S_w) / np.float32(S_y)


@linear.mistake("forgot the zero point of x", breaks=linear.laws[0].text)
def no_zero_point(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    return arithmetic.integer_linear(qx, S_x, 0, qw, S_w, qbias, S_y, Z_y, qmin, qmax)


@linear.mistake("multiplied and summed in 8 bits, which wrap around", breaks=linear.laws[1].text)
def wraps(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    sums_of(qx, Z_x, qw, qbias)
    steps = (qx.astype(np.int64) - Z_x).astype(np.int8)
    sums = (steps @ qw.T).astype(np.int64) + qbias
    return eight_bits(np.rint(sums.astype(np.float32) * multipliers_of(S_x, S_w, S_y)) + Z_y, qmin, qmax)


@linear.mistake("used the first output's scale for all outputs", breaks=linear.laws[0].text)
def first_scale(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    one = np.ravel(S_w)[0]
    return arithmetic.integer_linear(qx, S_x, Z_x, qw, one, qbias, S_y, Z_y, qmin, qmax)


@linear.mistake("added the bias after the sum was scaled", breaks=linear.laws[0].text)
def bias_at_the_end(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    sums_of(qx, Z_x, qw, qbias)
    sums = sums_of(qx, Z_x, qw, 0).astype(np.float32)
    q = np.rint(sums * multipliers_of(S_x, S_w, S_y)) + qbias + Z_y
    return eight_bits(q, qmin, qmax)


@linear.mistake("truncated instead of rounding", breaks=linear.laws[0].text)
def cuts(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    sums = sums_of(qx, Z_x, qw, qbias).astype(np.float32)
    return eight_bits(np.floor(sums * multipliers_of(S_x, S_w, S_y)) + Z_y, qmin, qmax)


@linear.mistake("added Z_y before rounding, so some halves round the other way", breaks=linear.laws[0].text)
def zero_point_before_rounding(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    sums = sums_of(qx, Z_x, qw, qbias).astype(np.float32)
    return eight_bits(np.rint(sums * multipliers_of(S_x, S_w, S_y) + Z_y), qmin, qmax)


@linear.mistake(
    "clipped before adding Z_y, so the result wraps around",
    breaks="the result is that of a loop over samples, outputs and inputs",
)
def clips_first(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    sums = sums_of(qx, Z_x, qw, qbias).astype(np.float32)
    q = np.clip(np.rint(sums * multipliers_of(S_x, S_w, S_y)), qmin, qmax).astype(np.int64) + Z_y
    return q.astype(np.uint8 if qmin >= 0 else np.int8)
