"""Integer arithmetic against ONNX's definition, in int64 with NumPy alone, and against numbers by hand."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.compress.integer.arithmetic import (
    accumulator_bound,
    fixed_point_multiplier,
    fixed_point_multiply,
    integer_avg_pool2d,
    integer_max_pool2d,
    quantized_add,
    quantized_conv2d,
    quantized_linear,
    requantize,
)
from minidl.compress.quantize import (
    LARGEST_BIAS,
    QuantParams,
    affine_params,
    dequantize,
    quantize_layer,
    symmetric_params,
)
from minidl.engine import jit


def sums_by_definition(qx, x_params, qw, qbias, stride, padding, dilation, groups):
    """qbias[o] + sum of qw[o, c, i, j] (q_x - Z_x), in int64, from windows of an array padded with Z_x."""
    (top, left), Z = padding, x_params.zero_point
    x = np.pad(qx.astype(np.int64), ((0, 0), (0, 0), (top, top), (left, left)), constant_values=Z) - Z
    out_channels, share, kernel_h, kernel_w = qw.shape
    reach = (kernel_h - 1) * dilation[0] + 1, (kernel_w - 1) * dilation[1] + 1
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    per_group = out_channels // groups
    parts = [
        np.einsum(
            "ncrsij,ocij->nors",
            windows[:, g * share : (g + 1) * share],
            qw[g * per_group : (g + 1) * per_group].astype(np.int64),
        )
        for g in range(groups)
    ]
    return np.concatenate(parts, axis=1) + qbias.astype(np.int64)[:, np.newaxis, np.newaxis]


def requantized_by_definition(sums, x_params, w_params, y_params):
    """clip(rint(float32(sum) M) + Z_y), M = S_x S_w / S_y: every float a float32."""
    M = np.float32(x_params.scale) * np.asarray(w_params.scale, np.float32) / np.float32(y_params.scale)
    M = M.reshape(-1, 1, 1) if M.ndim else M
    y = np.rint(sums.astype(np.float32) * M).astype(np.float64) + y_params.zero_point
    return np.clip(y, y_params.qmin, y_params.qmax).astype(np.int64)


def grid(rng, signed=None, scale=None):
    """Parameters of 8 bits with any zero point."""
    signed = bool(rng.integers(2)) if signed is None else signed
    qmin, qmax = (-128, 127) if signed else (0, 255)
    return QuantParams(scale or rng.uniform(0.001, 0.1), int(rng.integers(qmin, qmax + 1)), qmin, qmax)


def integers(rng, params, shape):
    return rng.integers(params.qmin, params.qmax, shape, endpoint=True).astype(params.dtype)


def case(seed, samples=None):
    """A drawn convolution: (qx, x_params, qw, w_params, qbias, y_params), geometry."""
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 4))
    share, per_group = rng.integers(1, 4, 2)
    kernel, stride, dilation = rng.integers(1, 4, 2), rng.integers(1, 4, 2), rng.integers(1, 3, 2)
    padding = rng.integers(0, 3, 2)
    sizes = np.maximum((kernel - 1) * dilation + 1 - 2 * padding, 1) + rng.integers(0, 7, 2)
    samples = samples or int(rng.integers(1, 20))
    x_params = grid(rng)
    qw = rng.integers(-127, 128, (groups * per_group, share, *kernel)).astype(np.int8)
    per_channel = bool(rng.integers(2))
    scales = rng.uniform(0.001, 0.02, len(qw) if per_channel else None)
    w_params = QuantParams(scales, 0, -127, 127, 0 if per_channel else None)
    qbias = rng.integers(-20000, 20000, len(qw)).astype(np.int32)
    width = 127 * 40 * np.sqrt(qw[0].size) * x_params.scale * float(np.mean(scales))  # of typical sums
    y_params = grid(rng, scale=width * rng.uniform(0.3, 3) / 128)
    qx = integers(rng, x_params, (samples, groups * share, *sizes))
    geometry = [tuple(map(int, two)) for two in (stride, padding, dilation)]
    return (qx, x_params, qw, w_params, qbias, y_params), (*geometry, groups)


def expected_of(operands, geometry):
    qx, x_params, qw, w_params, qbias, y_params = operands
    sums = sums_by_definition(qx, x_params, qw, qbias, *geometry)
    return requantized_by_definition(sums, x_params, w_params, y_params)


# ---- against the definition


def test_over_a_hundred_thousand_outputs_no_convolution_differs_from_the_definition():
    outputs = saturated = 0
    seen = {"uint8": 0, "int8": 0, "groups": 0, "padded": 0, "per channel": 0, "per tensor": 0, "strided": 0}
    for seed in itertools.count():
        operands, geometry = case(seed)
        got, expected = quantized_conv2d(*operands, *geometry), expected_of(operands, geometry)
        np.testing.assert_array_equal(got, expected, err_msg=f"seed {seed}")
        y_params = operands[-1]
        assert got.dtype == y_params.dtype
        outputs += got.size
        saturated += int(np.sum((expected == y_params.qmin) | (expected == y_params.qmax)))
        stride, padding, dilation, groups = geometry
        seen[str(operands[0].dtype)] += 1
        seen["per tensor" if operands[3].axis is None else "per channel"] += 1
        seen["groups"] += groups > 1
        seen["padded"] += padding != (0, 0)
        seen["strided"] += stride[1] > 1 and dilation[1] > 1
        if outputs >= 100_000:
            break
    assert min(seen.values()) > 10
    assert 0.02 < saturated / outputs < 0.9


def test_no_linear_layer_differs_from_the_definition():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        samples, inputs, outputs = rng.integers(1, 70, 3)
        x_params, qw = grid(rng), rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
        w_params = QuantParams(rng.uniform(0.001, 0.02, outputs), 0, -127, 127, 0)
        y_params, qbias = grid(rng, scale=0.5), rng.integers(-2000, 2000, outputs).astype(np.int32)
        qx = integers(rng, x_params, (samples, inputs))
        sums = (qx.astype(np.int64) - x_params.zero_point) @ qw.T.astype(np.int64) + qbias
        expected = requantized_by_definition(sums[..., None, None], x_params, w_params, y_params)[..., 0, 0]
        got = quantized_linear(qx, x_params, qw, w_params, qbias, y_params)
        np.testing.assert_array_equal(got, expected)
        got = quantized_linear(qx, x_params, qw, w_params, qbias, None)
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, sums)


def test_ties_go_to_the_even_integer_before_the_zero_point_is_added():
    x_params = QuantParams(0.5, 3, -128, 127)
    w_params, y_params = QuantParams(0.5, 0, -127, 127), QuantParams(0.5, 7, -128, 127)
    steps = np.array([[-5, -3, -1, 1, 3, 5, 127 - 3, -128 - 3]], np.int64)  # q_x - Z_x;  M = 1/2, weight 1
    qx = (steps + 3).astype(np.int8).T
    got = quantized_linear(qx, x_params, np.ones((1, 1), np.int8), w_params, None, y_params)
    # -2.5 -1.5 -0.5 0.5 1.5 2.5 62 -65.5 -> -2 -2 0 0 2 2 62 -66, and 7 more
    assert got.ravel().tolist() == [5, 5, 7, 7, 9, 9, 69, -59]


def test_a_convolution_worked_by_hand():
    # With S_x = 1/2 and Z_x = 1, the image (3, 1; 1, -1) has q = (7, 3; 3, -1), with real 0 outside.
    # With S_w = 1/4, w = (1, -1/2) has q = (4, -2). b = 1/4 is 2 S_x S_w.
    # Each row is padded with one 0 at both sides: w0 left + w1 right + b.
    x_params, w_params = QuantParams(0.5, 1, -128, 127), QuantParams([0.25], 0, -127, 127, 0)
    qx, qw = np.array([[[[7, 3], [3, -1]]]], np.int8), np.array([[[[4, -2]]]], np.int8)
    sums = quantized_conv2d(qx, x_params, qw, w_params, np.array([2], np.int32), None, padding=(0, 1))
    assert (sums / 8).tolist() == [[[[-1.25, 2.75, 1.25], [-0.25, 1.75, -0.75]]]]
    q = quantized_conv2d(
        qx, x_params, qw, w_params, np.array([2], np.int32), QuantParams(0.5, -10, -128, 127), padding=(0, 1)
    )
    assert q.tolist() == [[[[-12, -4, -8], [-10, -6, -12]]]]  # -2.5 5.5 2.5 -0.5 3.5 -1.5 rounded, minus 10


def test_the_largest_products_do_not_overflow_on_their_way():
    """All operands at their ends, where a pair of products comes closest to 16 bits."""
    for x, w, dtype, Z in itertools.product((0, 255), (-127, 127), (np.int8, np.uint8), (0, 255)):
        shift = 128 if dtype == np.int8 else 0
        x_params = QuantParams(1.0, Z - shift, -shift, 255 - shift)
        qx, qw = np.full((1, 600), x - shift, dtype), np.full((1, 600), w, np.int8)
        got = quantized_linear(qx, x_params, qw, QuantParams(1.0, 0, -127, 127), None, None)
        assert got[0, 0] == 600 * (x - Z) * w


@pytest.mark.parametrize("seed", range(6))
def test_plain_python_gives_what_compiled_code_gives(seed):
    operands, geometry = case(seed, samples=2)
    compiled = quantized_conv2d(*operands, *geometry)
    with minidl.debug():
        plain = quantized_conv2d(*operands, *geometry)
    np.testing.assert_array_equal(plain, compiled)


# ---- laws


@given(seed=st.integers(0, 2**32 - 1))
def test_sums_equal_the_float64_convolution_of_the_same_integers(seed):
    from minidl.nn import functional as F

    (qx, x_params, qw, w_params, qbias, _), (stride, padding, dilation, groups) = case(seed)
    arrays = qx.astype(np.float64) - x_params.zero_point, qw.astype(np.float64), qbias.astype(np.float64)
    expected = F.conv2d(*map(minidl.Tensor, arrays), stride, padding, dilation, groups).data
    got = quantized_conv2d(qx, x_params, qw, w_params, qbias, None, stride, padding, dilation, groups)
    np.testing.assert_array_equal(got, expected)


@given(seed=st.integers(0, 2**32 - 1))
def test_permuting_output_channels_permutes_the_result(seed):
    (qx, x_params, qw, w_params, qbias, y_params), (stride, padding, dilation, _) = case(seed)
    qx = qx[:, : qw.shape[1]]  # one group
    order = np.random.default_rng(seed).permutation(len(qw))
    permuted = w_params
    if w_params.axis == 0:
        permuted = QuantParams(w_params.scale[order], 0, -127, 127, 0)
    straight = quantized_conv2d(qx, x_params, qw, w_params, qbias, y_params, stride, padding, dilation)
    got = quantized_conv2d(
        qx, x_params, qw[order], permuted, qbias[order], y_params, stride, padding, dilation
    )
    np.testing.assert_array_equal(got, straight[:, order])


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 19), threads=st.integers(1, 4))
def test_neither_the_batch_nor_the_threads_change_a_sample(seed, cut, threads):
    operands, geometry = case(seed, samples=20)
    whole = quantized_conv2d(*operands, *geometry)
    before = jit.num_threads()
    jit.set_num_threads(threads)
    try:
        parts = [quantized_conv2d(part, *operands[1:], *geometry) for part in np.split(operands[0], [cut])]
    finally:
        jit.set_num_threads(before)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@given(seed=st.integers(0, 2**32 - 1))
def test_reals_are_within_rounding_of_the_float_convolution(seed):
    """S_y (q_y - Z_y) against the convolution of the reals: half a step, where nothing is clipped."""
    operands, geometry = case(seed)
    qx, x_params, qw, w_params, qbias, y_params = operands
    scale = np.float64(x_params.scale) * np.asarray(w_params.scale, np.float64).reshape(-1, 1, 1)
    reals = sums_by_definition(qx, x_params, qw, qbias, *geometry) * scale
    q = quantized_conv2d(*operands, *geometry)
    inside = (q > y_params.qmin) & (q < y_params.qmax)
    error = np.abs(dequantize(q, y_params) - reals)[inside]
    assert (error <= 0.5 * y_params.scale * (1 + 1e-4)).all()


@given(seed=st.integers(0, 2**32 - 1))
def test_a_relu_is_the_clamp_at_a_zero_point_of_qmin(seed):
    operands, geometry = case(seed)
    y_params = operands[-1]
    free = QuantParams(y_params.scale, 0, -(2**7), 2**7 - 1)
    clamped = QuantParams(y_params.scale, -128, -128, 127)
    steps = quantized_conv2d(*operands[:-1], free, *geometry).astype(int)
    got = quantized_conv2d(*operands[:-1], clamped, *geometry).astype(int) + 128
    np.testing.assert_array_equal(np.minimum(got, 127), np.maximum(steps, 0))


# ---- pooling and adding


@given(seed=st.integers(0, 2**32 - 1))
def test_pooling_equals_its_definition(seed):
    rng = np.random.default_rng(seed)
    params, y_params = grid(rng), grid(rng, scale=0.02)
    kernel, stride = rng.integers(1, 4, 2), rng.integers(1, 4, 2)
    padding = rng.integers(0, kernel // 2 + 1)
    size = kernel + rng.integers(0, 5, 2)
    x = integers(rng, params, (*rng.integers(1, 4, 2), *size))
    (top, left), wide = padding, x.astype(np.int64)
    edges = ((0, 0), (0, 0), (top, top), (left, left))

    def windows(fill):
        padded = np.pad(wide, edges, constant_values=fill)
        view = np.lib.stride_tricks.sliding_window_view(padded, tuple(kernel), axis=(2, 3))
        return view[:, :, :: stride[0], :: stride[1]]

    geometry = [tuple(map(int, two)) for two in (kernel, stride, padding)]
    largest = integer_max_pool2d(x, *geometry)
    assert largest.dtype == x.dtype
    np.testing.assert_array_equal(largest, windows(-1000).max(axis=(4, 5)))
    sums = (windows(params.zero_point) - params.zero_point).sum(axis=(4, 5))
    M = np.float32(params.scale) / (np.float32(kernel.prod()) * np.float32(y_params.scale))
    expected = np.clip(
        np.rint(sums.astype(np.float32) * M) + y_params.zero_point, y_params.qmin, y_params.qmax
    )
    np.testing.assert_array_equal(integer_avg_pool2d(x, params, y_params, *geometry), expected)


def test_adding_puts_both_on_one_grid():
    a_params, b_params = QuantParams(0.5, 1, -128, 127), QuantParams(0.25, -2, -128, 127)
    y_params = QuantParams(1.0, 10, -128, 127)
    a, b = np.array([3, 4, 127], np.int8), np.array([0, -1, 127], np.int8)
    # reals 1 + 0.5 = 1.5, 1.5 + 0.25 = 1.75, 63 + 32.25 = 95.25
    assert quantized_add(a, a_params, b, b_params, y_params).tolist() == [12, 12, 105]


# ---- the multiplier


@given(M=st.floats(1e-6, 4), sums=st.lists(st.integers(-(2**24), 2**24), min_size=1, max_size=50))
def test_the_fixed_point_multiplier_is_within_one_of_the_exact_product(M, sums):
    m, shift = fixed_point_multiplier(M)
    assert 2**30 <= m < 2**31
    assert m * 2.0 ** (shift - 31) == pytest.approx(M, rel=2**-31)
    exact = np.array(sums) * M
    assert (np.abs(fixed_point_multiply(sums, m, shift) - exact) <= 0.75 + np.abs(exact) * 2**-30).all()


def test_the_fixed_point_product_sends_a_half_up_first_and_away_from_zero_then():
    """Worked by hand from gemmlowp's SaturatingRoundingDoublingHighMul and RoundingDivideByPOT."""
    assert fixed_point_multiplier(0.5) == (2**30, 0)  # only the first rounding: -1/2 -> 0, -3/2 -> -1
    assert fixed_point_multiply([-1, -3], 2**30, 0).tolist() == [0, -1]
    assert fixed_point_multiply([1, -1, 3, -3, 5, -5], 2**30, 0).tolist() == [1, 0, 2, -1, 3, -2]
    assert fixed_point_multiply([7, -7], *fixed_point_multiplier(3.0)).tolist() == [21, -21]
    # M = 1/4: 2 / 2 = 1, 1 / 2 -> 1;  -2 / 2 = -1, -1 / 2 -> -1;  -1 / 2 -> 0;  -3 / 2 -> -1, -1 / 2 -> -1
    assert fixed_point_multiplier(0.25) == (2**30, -1)
    assert fixed_point_multiply([2, -2, -1, -3, 6, -6], 2**30, -1).tolist() == [1, -1, 0, -1, 2, -2]
    # M = 1/16, ties only in the second rounding: 24 / 2 = 12, 12 / 8 = 1.5 -> 2, and -1.5 -> -2
    assert fixed_point_multiply([24, -24, 8, -8], 2**30, -3).tolist() == [2, -2, 1, -1]
    # 3/4 with shift 2 is M = 3: there is no fraction, so no rounding; with shift 0, -2 3/4 = -1.5 -> -1
    assert fixed_point_multiply([-2, 2], 3 * 2**29, 2).tolist() == [-6, 6]
    assert fixed_point_multiply([-2, 2], 3 * 2**29, 0).tolist() == [-1, 2]


def gemmlowp(a: int, b: int, exponent: int) -> int:
    """RoundingDivideByPOT(SaturatingRoundingDoublingHighMul(a, b), exponent), line by line."""
    product = a * b
    nudge = 2**30 if product >= 0 else 1 - 2**30
    quotient = abs(product + nudge) // 2**31  # C divides towards zero
    high = quotient if product + nudge >= 0 else -quotient
    mask = 2**exponent - 1
    threshold = (mask >> 1) + (high < 0)
    return (high >> exponent) + ((high & mask) > threshold)


@given(
    m=st.integers(2**30, 2**31 - 1) | st.sampled_from([2**30, 3 * 2**29]),
    shift=st.integers(-12, 0),
    sums=st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(-99, 99), min_size=1, max_size=9),
)
def test_the_fixed_point_product_is_gemmlowps(m, shift, sums):
    expected = [gemmlowp(s, m, -shift) for s in sums]
    assert fixed_point_multiply(sums, m, shift).tolist() == expected


@given(
    m=st.integers(2**30, 2**31 - 1),
    shift=st.integers(-80, 31),
    sums=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=9),
)
def test_the_fixed_point_product_is_the_exact_one_rounded_whatever_the_shift(m, shift, sums):
    """Once where shift is not negative; else to 2^-shift steps first, which are rounded then."""

    def half_away_from_zero(x):
        return (1 if x > 0 else -1) * math.floor(abs(x) + Fraction(1, 2))

    high = [math.floor(Fraction(s * m, 2 ** (31 - max(shift, 0))) + Fraction(1, 2)) for s in sums]  # half up
    expected = [half_away_from_zero(Fraction(step, 2 ** max(-shift, 0))) for step in high]
    assert fixed_point_multiply(sums, m, shift).tolist() == expected


def test_large_and_tiny_multipliers_by_hand():
    largest = 2**31 - 1
    assert fixed_point_multiply([largest, -largest], *fixed_point_multiplier(3.0)).tolist() == [
        3 * largest,
        -3 * largest,
    ]
    assert fixed_point_multiply([largest], *fixed_point_multiplier(1e-20)).tolist() == [0]


def test_the_fixed_point_multiplier_seldom_differs_from_the_float():
    rng = np.random.default_rng(0)
    y_params = QuantParams(1.0, 0, -128, 127)
    differing = outputs = 0
    for M in rng.uniform(1e-4, 2e-3, 50):
        sums = rng.integers(-60_000, 60_000, 20_000)
        fixed = np.clip(fixed_point_multiply(sums, *fixed_point_multiplier(float(M))), -128, 127)
        difference = np.abs(fixed - requantize(sums, np.float32(M), y_params))
        assert difference.max() <= 1
        differing, outputs = differing + int((difference > 0).sum()), outputs + sums.size
    assert 0 < differing / outputs < 1e-3


# ---- weights


@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 8), per_channel=st.booleans())
def test_weights_and_bias_are_within_half_a_step(seed, bits, per_channel):
    rng = np.random.default_rng(seed)
    weight, bias = rng.standard_normal((5, 3, 2, 2)).astype(np.float32), rng.standard_normal(5)
    x_params = affine_params(-1.0, 2.0)
    qw, w_params, qbias = quantize_layer(weight, bias, x_params, bits, per_channel)
    assert np.abs(dequantize(qw, w_params) - weight).max() <= np.max(w_params.scale) * (0.5 + 1e-5)
    S = np.float64(x_params.scale) * np.asarray(w_params.scale, np.float64)
    assert (np.abs(qbias * S - bias) <= S * (0.5 + 1e-6)).all()
    assert qw.dtype == np.int8 and qbias.dtype == np.int32
    assert len(np.unique(qw)) <= 2**bits - 1


def test_a_bias_that_32_bits_cannot_hold_raises_the_scale_of_its_weights_only():
    weight = np.full((2, 1, 1, 1), 1e-6, np.float32)
    x_params = symmetric_params(1e-3)
    qw, w_params, qbias = quantize_layer(weight, np.array([0.0, 100.0]), x_params)
    assert qbias[1] == pytest.approx(LARGEST_BIAS, rel=1e-6) and qbias[1] <= LARGEST_BIAS
    assert qbias[1] * float(x_params.scale) * w_params.scale[1] == pytest.approx(100, rel=1e-6)
    assert w_params.scale[0] == np.float32(1e-6 / 127)
    assert qw.ravel().tolist() == [127, 0]


# ---- bad input

X, W = symmetric_params(1.0), symmetric_params(1.0)
QX, QW = np.ones((2, 4, 5, 5), np.int8), np.ones((6, 4, 3, 3), np.int8)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"qx": QX.astype(np.float32)}, TypeError, "array of int8"),
        ({"qx": QX.astype(np.uint8)}, TypeError, "array of int8"),
        ({"qx": QX.tolist()}, TypeError, "got list"),
        ({"qx": QX[0]}, ValueError, "4 axes"),
        ({"qx": QX[:0]}, ValueError, "each at least 1 long"),
        ({"qx": QX[:, :3]}, ValueError, "does not fit"),
        ({"groups": 3}, ValueError, "does not fit"),
        ({"groups": 0}, ValueError, "at least 1"),
        ({"stride": 0}, ValueError, "stride"),
        ({"padding": -1}, ValueError, "padding"),
        ({"dilation": 3}, ValueError, "larger than the padded image"),
        ({"qw": np.full_like(QW, -128)}, ValueError, "-127 … 127"),
        ({"w_params": affine_params(-0.5, 1.0)}, ValueError, "zero point 0"),
        ({"w_params": symmetric_params(np.ones(5), axis=0)}, ValueError, "6 along axis 0"),
        ({"w_params": symmetric_params(np.ones(6), axis=1)}, ValueError, "6 along axis 0"),
        ({"x_params": symmetric_params(np.ones(4), axis=1)}, ValueError, "one scale for all"),
        ({"x_params": 0.5}, TypeError, "QuantParams"),
        ({"y_params": symmetric_params(1.0, bits=9)}, ValueError, "at most 8 bits"),
        ({"qbias": np.zeros(6)}, ValueError, "int32"),
        ({"qbias": np.zeros(5, np.int32)}, ValueError, r"\(6,\)"),
        ({"y_params": symmetric_params(1e-35), "x_params": symmetric_params(1e35)}, ValueError, "too large"),
    ],
)
def test_operands_that_do_not_fit_are_refused(change, error, message):
    operands = {"qx": QX, "x_params": X, "qw": QW, "w_params": W, "qbias": None, "y_params": X}
    assert quantized_conv2d(**operands).shape == (2, 6, 3, 3)
    with pytest.raises(error, match=message):
        quantized_conv2d(**{**operands, **change})


def test_sums_that_might_leave_32_bits_are_refused():
    x_params = QuantParams(1.0, -128, -128, 127)
    products = (2**31 - 1) // (255 * 127)
    assert accumulator_bound(x_params, W, products) < 2**31 <= accumulator_bound(x_params, W, products + 1)
    ends = {"qx": np.full((1, products), 127, np.int8), "qw": np.full((1, products), 127, np.int8)}
    sums = quantized_linear(ends["qx"], x_params, ends["qw"], W, None, None)
    assert sums[0, 0] == products * 255 * 127
    with pytest.raises(ValueError, match="32 bits"):
        one_more = np.ones((1, products + 1), np.int8)
        quantized_linear(one_more, x_params, one_more, W, None, None)
    with pytest.raises(ValueError, match="32 bits"):
        quantized_linear(ends["qx"], x_params, ends["qw"], W, np.array([2**30], np.int32), None)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: quantized_linear(QX, X, QW, W, None, X), ValueError, "2 axes"),
        (lambda: quantized_linear(QX[:, 0, 0], X, QW[:, :, 0, 0], W, None, X), ValueError, "does not fit"),
        (lambda: integer_max_pool2d(QX.astype(np.int32), 2), TypeError, "int8 or uint8"),
        (lambda: integer_max_pool2d(QX, 6), ValueError, "larger than the padded image"),
        (lambda: integer_avg_pool2d(QX[0], X, X, 2), ValueError, "qx must have 4 axes"),
        (lambda: quantized_add(QX, X, QX[:1], X, X), ValueError, "one shape"),
        (lambda: fixed_point_multiplier(0.0), ValueError, "above 0"),
        (lambda: fixed_point_multiplier("1"), TypeError, "number"),
        (
            lambda: fixed_point_multiply([2**33], 2**30, 0),
            ValueError,
            "sums .* got 8589934592",
        ),
        (lambda: fixed_point_multiply([0.5], 2**30, 0), TypeError, "sums must be integers"),
        (lambda: fixed_point_multiply([1], 2**31, 0), ValueError, r"m must be within \[0, 2147483647\]"),
        (
            lambda: fixed_point_multiply([1], 2**30, 32),
            ValueError,
            "shift must be .* 31., got 32",
        ),
        (
            lambda: quantize_layer(np.ones((2, 2), np.float32), None, X, bits=9),
            ValueError,
            r"bits must be within \[2, 8\], got 9",
        ),
    ],
)
def test_other_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


Y = symmetric_params(1.0)
WIDE = symmetric_params(1.0, bits=16)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: requantize([1, 2], np.nan, Y), ValueError, "M must be finite"),
        (lambda: requantize([1, 2], None, Y), TypeError, "M must be real numbers, got None"),
        (lambda: requantize([1, 2], -0.5, Y), ValueError, "M must be above 0"),
        (lambda: requantize([1, 2], [0.5, 0.0], Y), ValueError, "M must be above 0"),
        (lambda: requantize([1, 2], 1e39, Y), ValueError, "M must be above 0 and finite as a float32"),
        (lambda: requantize([1, 2], True, Y), TypeError, "M must be real numbers"),
        (
            lambda: requantize([1, 2], [0.5] * 3, Y),
            ValueError,
            r"M must broadcast to sums \(2,\), got \(3,\)",
        ),
        (lambda: requantize([1, 2], [[0.5], [0.5]], Y), ValueError, r"M must broadcast to sums \(2,\)"),
        (lambda: requantize(["a"], 0.5, Y), TypeError, "sums must be real numbers"),
        (lambda: requantize([[1], [1, 2]], 0.5, Y), ValueError, "sums must be an array, but its rows"),
        (lambda: requantize([1.0, np.nan], 0.5, Y), ValueError, "sums must be finite"),
        (lambda: requantize([1, 2], 0.5, None), TypeError, "y_params must be a QuantParams, got None"),
        (lambda: requantize([1, 2], 0.5, WIDE), ValueError, "y_params must have at most 8 bits, got 16"),
        (lambda: quantized_add(QX, X, QX, None, X), TypeError, "b_params must be a QuantParams"),
        (lambda: quantized_add(QX.tolist(), X, QX, X, X), TypeError, "qa must be an array of int8"),
        (lambda: integer_avg_pool2d(QX, None, X, 2), TypeError, "x_params must be a QuantParams"),
        (lambda: integer_avg_pool2d(QX, X, 0.5, 2), TypeError, "y_params must be a QuantParams, got 0.5"),
        (lambda: integer_max_pool2d([[1]], 2), TypeError, "int8 or uint8, got list"),
        (lambda: fixed_point_multiplier(True), TypeError, "M must be a number, got True"),
        (lambda: fixed_point_multiplier(np.nan), ValueError, "M must be finite"),
        (lambda: fixed_point_multiply([1], True, 0), TypeError, "m must be an integer, got True"),
        (
            lambda: fixed_point_multiply([[1], [1, 2]], 1, 0),
            ValueError,
            "sums must be an array, but its rows",
        ),
        (lambda: fixed_point_multiply(None, 1, 0), TypeError, "sums must be integers"),
        (lambda: quantize_layer(QW / 2, None, X, per_channel="no"), TypeError, "per_channel must be True or"),
        (lambda: quantize_layer(QW / 2, None, None), TypeError, "x_params must be a QuantParams"),
        (lambda: affine_params(-1.0, 1.0, signed="False"), TypeError, "signed must be True or False"),
    ],
)
def test_what_means_something_else_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()
