"""The laws of scale and zero point, under the conditions that they hold for."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minidl import Tensor, gradcheck
from minidl.compress.quantize import (
    QuantParams,
    affine_params,
    affine_scale,
    channel_absmax,
    dequantize,
    fake_quantize,
    integer_range,
    quantize,
    symmetric_params,
)

EPS = np.finfo(np.float32).eps
reals = st.floats(-1e4, 1e4, width=32)
all_bits = st.integers(2, 16)
rows = st.lists(reals, min_size=1, max_size=12).map(lambda values: np.array(values, np.float32))


@st.composite
def ranges(draw, widest=1e6):
    """rmin <= rmax, on one side of 0 or around it, wide or narrow."""
    exponent = draw(st.integers(-30, 0))
    ends = draw(st.tuples(*[st.floats(-widest, widest, width=32)] * 2))
    low, high = sorted(end * 2.0**exponent for end in ends)
    return low, high


@st.composite
def all_params(draw):
    """Symmetric or affine parameters of any number of bits, and the range that they were made for."""
    low, high = draw(ranges())
    bits = draw(all_bits)
    if draw(st.booleans()):
        absmax = max(-low, high)
        return symmetric_params(absmax, bits), -absmax, absmax
    params = affine_params(low, high, bits, draw(st.booleans()))
    return params, min(low, 0.0), max(high, 0.0)


# ---- worked by hand


def test_eight_symmetric_bits_have_step_one_over_127():
    params = symmetric_params(1.0)
    assert params.scale == np.float32(1 / 127) and params.zero_point == 0
    assert (params.qmin, params.qmax, params.bits, params.dtype) == (-127, 127, 8, np.int8)
    assert quantize([-1.0, -0.5, 0.0, 0.25, 1.0, 3.0], params).tolist() == [-127, -64, 0, 32, 127, 127]


def test_four_affine_bits_of_minus_one_to_two_have_step_a_fifth_and_zero_at_five():
    params = affine_params(-1.0, 2.0, bits=4, signed=False)
    assert params.scale == np.float32(0.2) and params.zero_point == 5
    assert (params.qmin, params.qmax, params.bits, params.dtype) == (0, 15, 4, np.uint8)
    q = quantize([-5.0, -1.0, -0.11, 0.0, 0.29, 2.0, 9.0], params)
    assert q.tolist() == [0, 0, 4, 5, 6, 15, 15]
    np.testing.assert_allclose(dequantize(q, params), [-1, -1, -0.2, 0, 0.2, 2, 2], rtol=1e-6)


def test_signed_integers_of_the_same_range_are_lower_by_half_of_all():
    params = affine_params(-1.0, 2.0, bits=4)
    assert (params.scale, params.zero_point, params.qmin, params.qmax) == (np.float32(0.2), -3, -8, 7)


@pytest.mark.parametrize(("low", "high", "zero_point"), [(1.0, 3.0, 0), (-3.0, -1.0, 3), (0.0, 3.0, 0)])
def test_a_range_beside_zero_is_widened_to_it(low, high, zero_point):
    params = affine_params(low, high, bits=2, signed=False)
    assert params.scale == 1.0 and params.zero_point == zero_point


def test_halves_are_rounded_to_even_before_the_zero_point_is_added():
    params = QuantParams(np.float32(1), 3, -128, 127)
    assert quantize([0.5, 1.5, 2.5, -0.5, -1.5], params).tolist() == [3, 5, 5, 3, 1]


def test_it_is_divided_by_the_scale_not_multiplied_by_its_inverse():
    # In float32, 5.5 S / S is exactly 5.5, a tie that rounds to 6. 5.5 S times 1/S can be 5.5000005 or
    # 5.4999995.
    S = np.float32(1) / np.float32([3, 5, 7, 11, 13, 19, 23, 29])
    r = np.float32([n + 0.5 for n in range(1, 100, 2)])
    differ = 0
    for s in S:
        divided = quantize(r * s, QuantParams(s, 0, -127, 127)).astype(int)
        assert divided.tolist() == np.clip(np.rint((r * s) / s), -127, 127).astype(int).tolist()
        differ += int((divided != np.clip(np.rint((r * s) * (np.float32(1) / s)), -127, 127)).sum())
    assert differ > 0, "the example shows no difference"


@pytest.mark.parametrize("value", [0.0, 1e-45, 1e-38 / 127])
def test_a_scale_below_the_smallest_normal_number_is_one(value):
    assert symmetric_params(value).scale == 1.0
    assert affine_params(-value, value).scale == 1.0


def test_infinities_saturate():
    params = symmetric_params(2.0, bits=4)
    assert quantize([np.inf, -np.inf, 3e38, -3e38], params).tolist() == [7, -7, 7, -7]


def test_the_integer_type_is_the_smallest_that_fits():
    types = {
        (bits, signed): affine_params(-1, 1, bits, signed).dtype
        for bits in (2, 8, 9, 16)
        for signed in (False, True)
    }
    assert types == {
        **dict.fromkeys([(2, 1), (8, 1)], np.int8),
        **dict.fromkeys([(2, 0), (8, 0)], np.uint8),
        **dict.fromkeys([(9, 1), (16, 1)], np.int16),
        **dict.fromkeys([(9, 0), (16, 0)], np.uint16),
    }


@given(bits=all_bits)
def test_bits_are_those_that_were_asked_for(bits):
    assert symmetric_params(1.0, bits).bits == bits
    assert affine_params(-1.0, 1.0, bits).bits == affine_params(0.0, 1.0, bits, signed=False).bits == bits
    low, high = integer_range(bits)
    assert high - low + 1 == 2**bits and integer_range(bits, restricted=True) == (-high, high)


# ---- laws


@given(case=all_params(), share=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_inside_the_range_the_error_is_at_most_half_a_step(case, share):
    params, low, high = case
    r = np.clip(np.float32(low) + np.float32(share) * np.float32(high - low), low, high).astype(np.float32)
    r = np.concatenate([r, np.float32([low, high])])
    error = np.abs(r.astype(np.float64) - dequantize(quantize(r, params), params))
    assert (error <= params.scale / 2 + 4 * EPS * max(-low, high)).all()


@given(case=all_params(), r=rows)
def test_it_is_monotone(case, r):
    params, _, high = case
    q = quantize(np.sort(r) * np.float32(max(high, 1e-3) / 5e3), params).astype(int)
    assert (np.diff(q) >= 0).all()


@given(case=all_params())
def test_zero_comes_back_as_zero(case):
    params, _, _ = case
    assert quantize(0.0, params) == params.zero_point
    assert fake_quantize(np.zeros(3, np.float32), params).tolist() == [0, 0, 0]


@given(case=all_params(), steps=st.integers(-3, 3))
def test_so_many_steps_from_zero_are_so_many_times_the_scale_exactly(case, steps):
    params, _, _ = case
    assume(params.qmin <= params.zero_point + steps <= params.qmax)
    q = np.array(params.zero_point + steps, params.dtype)
    assert dequantize(q, params) == np.float32(steps) * params.scale


@given(case=all_params(), beyond=st.floats(1.01, 1e3))
def test_outside_the_range_it_saturates(case, beyond):
    params, _, _ = case
    lowest = float(params.scale) * (params.qmin - params.zero_point)
    highest = float(params.scale) * (params.qmax - params.zero_point)
    if lowest < 0:
        assert quantize(lowest * beyond, params) == params.qmin
    if highest > 0:
        assert quantize(highest * beyond, params) == params.qmax


@given(case=all_params(), r=rows)
def test_fake_quantize_is_idempotent(case, r):
    params, _, high = case
    once = fake_quantize(r * np.float32(max(high, 1e-3) / 5e3), params)
    assert fake_quantize(once, params).tobytes() == once.tobytes()


@given(absmax=st.floats(2.0**-20, 1e6), bits=all_bits, r=rows)
def test_symmetric_quantization_is_odd(absmax, bits, r):
    params = symmetric_params(absmax, bits)
    assert (quantize(-r, params) == -quantize(r, params)).all()


@given(case=all_params(), r=st.lists(reals, min_size=40, max_size=60))
def test_there_are_at_most_two_to_the_bits_levels(case, r):
    params, low, high = case
    r = np.float32(r) * np.float32(max(high, -low) / 1e4)
    levels = np.unique(fake_quantize(r, params))
    assert len(levels) <= 2**params.bits
    q = quantize(r, params)
    assert q.dtype == params.dtype and (q >= params.qmin).all() and (q <= params.qmax).all()


@given(case=all_params(), r=rows, power=st.integers(-20, 20))
def test_reals_and_scale_times_a_power_of_two_give_the_same_integers(case, r, power):
    params, _, _ = case
    factor = np.float32(2.0**power)
    scaled = params.scale * factor
    assume(scaled >= np.finfo(np.float32).tiny * 2**20 and params.scale >= np.finfo(np.float32).tiny * 2**20)
    other = QuantParams(scaled, params.zero_point, params.qmin, params.qmax)
    assume(all(x == 0 or abs(x) > 2.0**-100 for x in r))  # no subnormals, because they have fewer bits
    assert (quantize(r * factor, other) == quantize(r, params)).all()


@given(limits=ranges(), bits=st.integers(2, 15), signed=st.booleans())
def test_one_more_bit_halves_the_bound_on_the_error(limits, bits, signed):
    low, high = limits
    assume(high - low > 2.0**-20)
    few, more = (affine_params(low, high, b, signed).scale for b in (bits, bits + 1))
    # (2^b - 1) / (2^(b+1) - 1) lies between 3/7 and 1/2
    assert more <= few * 0.5 and more >= few * 0.42
    few, more = (symmetric_params(max(-low, high), b).scale for b in (bits, bits + 1))
    assert more <= few * 0.5


@given(limits=ranges(), bits=all_bits, signed=st.booleans())
def test_the_zero_point_is_an_integer_of_the_range(limits, bits, signed):
    params = affine_params(*limits, bits, signed)
    assert isinstance(params.zero_point, int)
    assert params.qmin <= params.zero_point <= params.qmax


@given(seed=st.integers(0, 2**20), bits=all_bits, axis=st.integers(0, 3), affine=st.booleans())
def test_per_channel_is_each_channel_by_itself(seed, bits, axis, affine):
    r = np.random.default_rng(seed).normal(size=(3, 2, 4, 2)).astype(np.float32)
    channels = np.moveaxis(r, axis, 0).reshape(r.shape[axis], -1)
    if affine:
        params = affine_params(channels.min(axis=1), channels.max(axis=1), bits, axis=axis)
        alone = [affine_params(c.min(), c.max(), bits) for c in channels]
    else:
        params = symmetric_params(channel_absmax(r, axis), bits, axis)
        alone = [symmetric_params(np.abs(c).max(), bits) for c in channels]
    q, back = quantize(r, params), fake_quantize(r, params)
    for i, single in enumerate(alone):
        channel = np.take(r, i, axis)
        assert (np.take(q, i, axis) == quantize(channel, single)).all()
        assert (np.take(back, i, axis) == fake_quantize(channel, single)).all()


# ---- the straight-through gradient


@given(case=all_params(), r=rows, double=st.booleans())
def test_a_tensor_is_fake_quantized_to_the_same_numbers_as_an_array(case, r, double):
    params, _, high = case
    r = r * np.float32(max(high, 1e-3) / 5e3)
    x = Tensor(r.astype(np.float64 if double else np.float32))
    y = fake_quantize(x, params)
    assert y.dtype == x.dtype and (y.data == fake_quantize(r, params)).all()


@given(case=all_params(), r=rows)
def test_the_gradient_passes_where_the_integer_was_not_clipped_and_nowhere_else(case, r):
    params, _, high = case
    x = Tensor(r * np.float32(max(high, 1e-3) / 5e3), requires_grad=True)
    upstream = np.arange(1, len(r) + 1, dtype=np.float32)
    fake_quantize(x, params).backward(upstream)
    steps = np.rint(x.data / params.scale).astype(np.float64) + params.zero_point
    inside = (params.qmin <= steps) & (steps <= params.qmax)
    assert x.grad.tolist() == (upstream * inside).tolist()


def test_what_rounds_into_the_range_counts_as_inside():
    params = symmetric_params(7.0, bits=4)  # S = 1
    x = Tensor(np.float32([7.5, 7.49, 7.51, -7.4, -8.0]), requires_grad=True)  # 7.5 goes to even: 8
    fake_quantize(x, params).sum().backward()
    assert x.grad.tolist() == [0, 1, 0, 1, 0]


def test_an_infinite_gradient_does_not_pass_where_the_integer_was_clipped():
    x = Tensor(np.float32([0.4, 9.0, -9.0]), requires_grad=True)
    fake_quantize(x, symmetric_params(7.0, bits=4)).backward(np.float32([np.inf, np.inf, np.nan]))
    assert x.grad.tolist() == [np.inf, 0, 0] and x.grad.dtype == np.float32


def test_the_gradient_of_what_comes_before_and_after_is_untouched():
    params = symmetric_params(4.0, bits=3, axis=None)
    x = Tensor(np.array([0.4, -1.2, 2.6]), requires_grad=True)
    (fake_quantize(3 * x, params) * np.array([1.0, 2.0, 5.0])).sum().backward()
    assert x.grad.tolist() == [3, 6, 0]  # 7.8 / (4/3) = 5.85 is above 3
    assert gradcheck(lambda t: (3 * t).sum(), x)


# ---- bad input

P = symmetric_params(1.0)
PER_CHANNEL = symmetric_params([1.0, 2.0], axis=0)
RAGGED = [[1], [1, 2]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: symmetric_params(-1.0), ValueError, "absmax must be at least 0"),
        (lambda: symmetric_params(float("nan")), ValueError, "absmax must be finite"),
        (lambda: symmetric_params(np.inf), ValueError, "absmax must be finite"),
        (lambda: symmetric_params("1"), TypeError, "absmax must be real numbers"),
        (lambda: symmetric_params([1.0, 2.0]), ValueError, r"absmax must be a number, got shape \(2,\)"),
        (lambda: symmetric_params(1.0, axis=0), ValueError, r"an array \(channels,\) for axis 0"),
        (lambda: symmetric_params([[1.0]], axis=0), ValueError, r"got shape \(1, 1\)"),
        (lambda: symmetric_params(1.0, bits=1), ValueError, r"bits must be within \[2, 16\], got 1"),
        (lambda: symmetric_params(1.0, bits=17), ValueError, r"bits must be within \[2, 16\], got 17"),
        (lambda: symmetric_params(1.0, bits=8.0), TypeError, "bits must be an integer"),
        (lambda: symmetric_params([1.0], axis=-1), ValueError, "axis must be at least 0, got -1"),
        (lambda: affine_params(1.0, -1.0), ValueError, "rmin must be at most rmax"),
        (lambda: affine_params([0.0], [1.0, 2.0], axis=0), ValueError, "rmin must be .* of its shape"),
        (lambda: affine_params(-3e38, 3e38), ValueError, "too wide for float32"),
        (lambda: affine_params(0.0, np.inf), ValueError, "rmax must be finite"),
        (lambda: quantize([np.nan, 1.0], P), ValueError, "no NaN: it has 1 among 2"),
        (lambda: quantize(["a"], P), TypeError, "r must be real numbers"),
        (lambda: quantize([True], P), TypeError, "r must be real numbers"),
        (lambda: quantize([1.0], 0.1), TypeError, "params must be a QuantParams, got 0.1"),
        (
            lambda: quantize(np.ones((3, 2)), PER_CHANNEL),
            ValueError,
            r"2 channels along axis 0, got \(3, 2\)",
        ),
        (lambda: quantize(1.0, PER_CHANNEL), ValueError, r"along axis 0, got \(\)"),
        (lambda: dequantize([1.0], P), TypeError, "q must be integers, got .* of float64"),
        (lambda: dequantize(np.ones((3, 2), int), PER_CHANNEL), ValueError, "2 channels"),
        (lambda: fake_quantize(Tensor([1.0]), None), TypeError, "params must be a QuantParams, got None"),
        (lambda: fake_quantize(Tensor(np.ones((3, 2))), PER_CHANNEL), ValueError, "2 channels"),
        (lambda: channel_absmax(np.ones((2, 2)), 2), ValueError, r"axis must be within \[0, 1\], got 2"),
        (lambda: channel_absmax(np.ones((0, 2))), ValueError, "r must not be empty"),
        (lambda: QuantParams(0.0, 0, -1, 1), ValueError, "scale must be finite and above 0"),
        (lambda: QuantParams("a", 0, -1, 1), TypeError, "scale must be real numbers, got 'a'"),
        (lambda: QuantParams(RAGGED, 0, -1, 1), ValueError, "scale .* rows are of different lengths"),
        (lambda: QuantParams(1.0, RAGGED, -1, 1), ValueError, "zero_point .* rows are of different lengths"),
        (
            lambda: quantize(RAGGED, P),
            ValueError,
            "r must be an array, but its rows are of different lengths",
        ),
        (lambda: dequantize(RAGGED, P), ValueError, "q must be an array, but its rows"),
        (lambda: symmetric_params(RAGGED, axis=0), ValueError, "absmax must be an array, but its rows"),
        (lambda: fake_quantize(Tensor([np.nan]), P), ValueError, "no NaN: it has 1 among 1"),
        (lambda: QuantParams(1.0, 0.5, -1, 1), TypeError, "zero_point must be integers, got 0.5"),
        (lambda: QuantParams(1.0, 2, -1, 1), ValueError, r"zero_point must be within \[-1, 1\]"),
        (lambda: QuantParams(1.0, 0, 1, 1), ValueError, r"qmax must be within \[2, 65535\], got 1"),
        (lambda: QuantParams(1.0, 0, -1, 40_000), ValueError, r"qmax must be within \[0, 32767\], got 40000"),
        (
            lambda: QuantParams([1.0, 2.0], 0, -1, 1),
            ValueError,
            r"got \(2,\) and \(\) for axis None",
        ),
        (lambda: QuantParams(1.0, 0, -1, 1, axis=0), ValueError, r"scale must be \(channels,\)"),
        (
            lambda: QuantParams([1.0, 2.0], [0], -1, 1, axis=0),
            ValueError,
            r"int or \(channels,\): got \(2,\) and \(1,\)",
        ),
    ],
)
def test_bad_input_is_refused_saying_what_was_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()


@settings(max_examples=20)
@given(limits=ranges(), bits=all_bits)
def test_the_exercise_function_is_what_affine_params_uses(limits, bits):
    S, Z = affine_scale(*limits, 0, 2**bits - 1)
    params = affine_params(*limits, bits, signed=False)
    assert params.scale == S and params.zero_point == Z
