"""Exercises of lesson 10: rounding to integers, scale and zero point."""

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, quarters
from minidl.compress import quantize

# ---- 10.1 round_to_integers

rounding = Exercise(
    "10.1",
    quantize.round_to_integers,
    title="real numbers to integers",
    points=2,
    level=1,
    minutes=10,
    hints=(
        "How many steps of size S lie between 0 and r? Round that to a whole number, add Z, and clip.",
        "np.rint rounds halves to even. Add Z after rounding, and clip last. A quotient that overflows "
        "is infinite, so it is clipped; np.errstate(over='ignore') suppresses NumPy's warning.",
        "with np.errstate(over='ignore'): steps = np.rint(np.asarray(r, np.float32) / ...)",
    ),
)

steps_of = st.sampled_from([0.25, 0.5, 1.0, 2.0])
zeros = st.integers(-7, 7)


@rounding.law(
    "with S = 0.5, Z = 3 and the range 0 ... 15, the reals -2, 0, 0.9, 1.5, 20 become 0, 3, 5, 6, 15"
)
def worked_rounding(round_to_integers):
    r = np.array([-2.0, 0.0, 0.9, 1.5, 20.0])
    assert_close(round_to_integers(r, 0.5, 3, 0, 15), [0, 3, 5, 6, 15])


@rounding.law("r / S is rounded half to even, before Z is added")
def worked_ties(round_to_integers):
    r = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997])  # the last + 0.5 is rounded to 1 in float32
    assert_close(round_to_integers(r, 1.0, 0, -8, 7), [0, 2, 2, 0, -2, 0])
    assert_close(round_to_integers(r, 1.0, 1, -8, 7), [1, 3, 3, 1, -1, 1])


@rounding.law("S (Q - Z) differs from r by at most S / 2, unless Q was clipped")
@given(r=arrays(low=-8, high=8), S=steps_of, Z=zeros)
def half_a_step(round_to_integers, r, S, Z):
    back = S * (round_to_integers(r, S, Z, -128, 127) - Z)
    assert_close(np.maximum(np.abs(back - r) - S / 2, 0), np.zeros(r.shape))


@rounding.law("each Q lies in [qmin, qmax]; a number beyond the range becomes qmin or qmax")
@given(r=arrays(low=-8, high=8), S=steps_of, Z=zeros)
def saturates(round_to_integers, r, S, Z):
    q = round_to_integers(100 * r, S, Z, -8, 7)
    beyond = np.abs(100 * r / S) > 20
    assert_close(q[beyond], np.where(r[beyond] > 0, 7.0, -8.0))


@rounding.law("with a scale and a zero point for each row, each row gives the same result as alone")
@given(r=arrays((2, 3)), first=st.tuples(steps_of, zeros), second=st.tuples(steps_of, zeros))
def each_row_alone(round_to_integers, r, first, second):
    S, Z = np.array([first, second]).T[..., np.newaxis]
    q = round_to_integers(r, S, Z, -8, 7)
    same_Z, same_S = round_to_integers(r, S, 1, -8, 7), round_to_integers(r, 0.5, Z, -8, 7)
    for row, alone in enumerate((first, second)):
        assert_close(q[row], np.array(round_to_integers(r[row], *alone, -8, 7)))
        assert_close(same_Z[row], np.array(round_to_integers(r[row], alone[0], 1, -8, 7)))
        assert_close(same_S[row], np.array(round_to_integers(r[row], 0.5, alone[1], -8, 7)))
    two, Z = np.array([0.25, 1.0]), np.array([1, 2])  # along the last axis; (2, 1, 1): the second of four
    assert_close(round_to_integers(np.ones((2, 2)), two, Z, -8, 7), [[5, 3], [5, 3]])
    two, Z = two.reshape(2, 1, 1), Z.reshape(2, 1, 1)
    assert_close(round_to_integers(np.ones((1, 2, 1, 1)), two, Z, -8, 7).ravel(), [5, 3])


@rounding.law("an infinite r, or an r / S too large for float32, becomes qmin or qmax, without a warning")
def far_beyond(rounding):
    r = np.array([np.inf, -np.inf, 1e38, -1e38], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for Z in (2, -2):
            assert_equal(rounding(r, np.float32(1e-3), Z, -8, 7), [7.0, -8.0, 7.0, -8.0])
        assert_equal(rounding(np.array([1e300, -1e300]), 1.0, 0, -8, 7), [7.0, -8.0])  # infinite in float32
        assert_equal(rounding(r[:2], 1e37, 0, -128, 127), [127.0, -128.0])  # not as the largest float32


@rounding.law("r / S is one division: in float32, 0.375 / 0.03 is 12.5, but 0.375 · (1 / 0.03) is more")
def divides(rounding):
    assert_equal(rounding(np.array([0.375], np.float32), np.float32(0.03), 0, -128, 127), [12.0])
    assert_equal(rounding(np.array([3e-36, -2e-36]), 1e-36, 0, -128, 127), [3.0, -2.0])  # however small S is
    # 0.35 / 0.1 is 3.5 in float32 and less in float64; with S alone in float64, 0.05 / 0.1 is more than 0.5
    assert_equal(rounding(np.array([0.35]), 0.1, 0, -128, 127), [4.0])
    assert_equal(rounding(np.array([0.05]), np.array([0.1]), 0, -128, 127), [0.0])
    for S in (0.02, np.float64(0.02), np.array([0.02])):  # in float32, the quotient is more than 4.5
        for dtype in (np.float32, np.float64):
            assert_equal(rounding(np.array([0.09], dtype), S, 0, -128, 127), [5.0])
    r, S = np.array([[0.375], [0.09], [0.05]]), np.array([[0.03], [0.02], [0.1]])  # a scale for each row
    assert_equal(rounding(r, S, 0, -128, 127), [[12.0], [5.0], [0.0]])
    assert_equal(rounding(np.array([100], np.float16), 0.03, 0, 0, 65535), [3333.0])  # in float16, 3334
    assert_equal(rounding(np.array([3]), np.float32(0.4), 0, -128, 127), [8.0])  # in float64, less than 7.5


@rounding.law("the result is in float32, also for a float64 r, for an integer r, and for integers of 16 bits")
def whole_numbers_in_float32(rounding):
    wide = rounding(np.array([300.0, -300.0, 7e4, -7e4]), 1.0, 0, -(2**15), 2**15 - 1)  # 16 bits
    assert_equal(wide, [300.0, -300.0, 32767.0, -32768.0])
    assert_equal(rounding(np.array([4e4]), 1.0, -(2**15), -(2**15), 2**15 - 1), [7232.0])
    assert_equal(rounding(np.array([1.0, -39999.0, 9e4]), 1.0, 40000, 0, 65535), [40001.0, 1.0, 65535.0])
    for r in (np.array([0.3]), np.array([3]), np.array([0.3], np.float16)):
        assert_dtype(rounding(r, np.float32(0.1), 0, -8, 7), np.float32)
    assert_dtype(rounding(np.array([0.3], np.float32), np.float32(0.1), np.int32(1), -8, 7), np.float32)
    r, S, Z = np.ones((2, 3), np.float32), np.ones((2, 1), np.float32), np.ones((2, 1), np.int32)
    assert_dtype(rounding(r, S, Z, -8, 7), np.float32)


@rounding.mistake("truncated instead of rounding", breaks=rounding.laws[0].text)
def cuts(r, S, Z, qmin, qmax):
    return np.clip(np.trunc(r / S) + Z, qmin, qmax)


@rounding.mistake("added Z before rounding", breaks=rounding.laws[1].text)
def adds_first(r, S, Z, qmin, qmax):
    return np.clip(np.rint(r / S + Z), qmin, qmax)


@rounding.mistake("rounded halves away from 0", breaks=rounding.laws[1].text)
def away_from_zero(r, S, Z, qmin, qmax):
    return np.clip(np.sign(r) * np.floor(np.abs(r) / S + 0.5) + Z, qmin, qmax)


@rounding.mistake(
    "let integers wrap around instead of clipping",
    breaks="each Q lies in [qmin, qmax]; a number beyond the range becomes qmin or qmax",
)
def wraps(r, S, Z, qmin, qmax):
    return (np.rint(r / S) + Z - qmin) % (qmax - qmin + 1) + qmin


# ---- 10.2 affine_scale

scale = Exercise(
    "10.2",
    quantize.affine_scale,
    title="scale and zero-point",
    points=2,
    level=2,
    minutes=15,
    hints=(
        "First widen the range so that it contains 0. Then rmin goes to qmin, and rmax goes to qmax.",
        "S is the width of the range divided by the number of steps, as a float32, or 1 where that is "
        "too small. Z is the integer of the real number 0. np.minimum, np.maximum and np.where work for "
        "numbers and for arrays.",
        "low = np.minimum(np.asarray(rmin, np.float64), 0.0); high = ...; S = np.where(S < TINY, ...)",
    ),
)

integers = st.sampled_from([(0, 3), (0, 15), (-8, 7), (0, 255), (-128, 127)])
ranges = st.tuples(quarters(-8, 8), quarters(-8, 8)).map(sorted).map(tuple).filter(lambda ends: any(ends))


@scale.law("[-1, 2] onto 0 ... 15 has S = 3/15 and Z = 5; onto -8 ... 7, it has S = 3/15 and Z = -3")
def worked_scale(affine_scale):
    S, Z = affine_scale(-1.0, 2.0, 0, 15)
    assert_close(S, np.float32(0.2))
    assert_close(Z, 5)
    for one in (float, int, np.float32):
        S, Z = affine_scale(one(-1), one(2), -8, 7)
        assert_close(S, np.float32(0.2))
        assert_close(Z, -3)
    for low, high, qmin, even in ((-0.5, 2.5, 0, 0), (-1.5, 1.5, 0, 2), (-0.5, 2.5, 1, 2)):
        for top in (high, high + 1e-8):  # the float32 S is 1, and 0 goes to 1/2 or 3/2
            assert_equal(affine_scale(low, top, qmin, qmin + 3)[1], even)
    assert_equal(affine_scale(-3.0, 0.0, 0, 65535)[1], 65535)
    # 0 goes to a little more than 76.5 and 8.5. With rmin / S in float32, Z would be 76 and 8
    assert_equal(affine_scale(-0.03, 0.07, 0, 255)[1], 77)
    assert_equal(affine_scale(np.float32(-0.01), np.float32(0.29), 0, 255)[1], 9)
    assert_equal(affine_scale(-0.3, 0.7, 0, 255)[1], 76)  # with S as a difference of two float32, 77
    for low, high in ((-0.2, 0.9), (-1.3, 2.1)):  # the range, or two quotients, in float32 give another S
        for one in (float, np.float32, np.array, lambda end: np.array([end], np.float32)):
            S = affine_scale(one(low), one(high), 0, 15)[0]
            assert_equal(S, np.float32((np.float64(one(high)) - np.float64(one(low))) / 15))


@scale.law(
    "S may be the smallest normal float32; a smaller S becomes 1; the widest range in float32 has an S too"
)
def worked_smallest(affine_scale):
    tiny = 2.0**-126
    assert_close(affine_scale(0.0, 15 * tiny, 0, 15)[0], np.float32(tiny), atol=0)
    assert_close(affine_scale(0.0, 14 * tiny, 0, 15)[0], 1.0)
    low, high = np.array([0.0, -1.0, 0.0, -7 * tiny]), np.array([0.0, 2.0, 14 * tiny, 7 * tiny])
    S, Z = affine_scale(low, high, 0, 15)
    assert_close(S, np.array([1.0, 0.2, 1.0, 1.0], np.float32))  # the others keep theirs
    assert_equal(Z, [0, 5, 0, 0])
    for low, high, zero in ((-5, 10, 5), (5, 15, 0), (-15, -5, 15)):  # Z is by this S, however small
        S, Z = affine_scale(low * tiny, high * tiny, 0, 15)
        assert_close(S, np.float32(tiny), atol=0)
        assert_equal(Z, zero)
    largest = np.finfo(np.float32).max
    S, Z = affine_scale(np.array([-largest]), np.array([largest]), -128, 127)  # the range: twice the largest
    assert_close(S, np.array([2 * float(largest) / 255]))
    assert_equal(abs(Z + 0.5), [0.5])  # -1/2, rounded to either side


@scale.law("a range that does not contain 0 is widened until it does")
@given(ends=ranges, limits=integers)
def contains_zero(affine_scale, ends, limits):
    low, high = ends
    S, Z = affine_scale(low, high, *limits)
    widened = affine_scale(min(low, 0.0), max(high, 0.0), *limits)
    assert_close(S, np.asarray(widened[0]))
    assert_close(Z, np.asarray(widened[1]))
    assert_equal(limits[0] <= float(Z) <= limits[1], True)


@scale.law("the ends of the range lie within half a step of the outermost levels")
@given(ends=ranges, limits=integers, size=st.sampled_from([1.0, 1e-6, 1e4]))
def spans_the_range(affine_scale, ends, limits, size):
    ends = ends[0] * size, ends[1] * size
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    S, Z = (float(value) for value in affine_scale(*ends, *limits))
    outermost = S * (limits[0] - Z), S * (limits[1] - Z)
    assert_close(S * (limits[1] - limits[0]), high - low, rtol=1e-6)
    assert_equal(abs(outermost[0] - low) <= 0.5001 * S and abs(outermost[1] - high) <= 0.5001 * S, True)


@scale.law("with arrays, each channel gets the same S and Z as alone")
@given(first=ranges, second=ranges, limits=integers)
def each_channel_alone(affine_scale, first, second, limits):
    low, high = np.array([first[0], second[0]]), np.array([first[1], second[1]])
    S, Z = affine_scale(low, high, *limits)
    for i, ends in enumerate((first, second)):
        alone = affine_scale(*ends, *limits)
        assert_close(S[i], np.asarray(alone[0]))
        assert_close(Z[i], np.asarray(alone[1]))


@scale.law("for the range [0, 0], S is 1 and not 0")
@given(limits=integers)
def never_zero(affine_scale, limits):
    S, Z = affine_scale(0.0, 0.0, *limits)
    assert_close(S, 1.0)
    assert_close(Z, limits[0])


@scale.law("S is in float32, Z is in int32, and both have the shape of rmin and rmax")
def kinds_of_numbers(scale):
    low, high = np.array([-1.0, 0.0]), np.array([2.0, 3.0])
    deep = low.reshape(2, 1, 1), high.reshape(2, 1, 1)
    for ends in ((-1.0, 2.0), (low, high), (low.reshape(2, 1), high.reshape(2, 1)), deep):
        S, Z = scale(*ends, 0, 255)
        assert_equal((np.shape(S), np.shape(Z)), (np.shape(ends[0]), np.shape(ends[0])))
        assert_dtype(S, np.float32)
        assert_dtype(Z, np.int32)
    for dtype in (np.int64, np.int8):  # whole numbers; 150 is more than int8 holds
        S, Z = scale(np.array([[-1, 0], [-100, -1]], dtype), np.array([[2, 3], [50, 2]], dtype), 0, 15)
        assert_close(S, np.float32([[0.2, 0.2], [10, 0.2]]))
        assert_equal(Z, [[5, 0], [10, 5]])


@scale.mistake("divided by the number of levels instead of the steps between them", breaks=scale.laws[0].text)
def counts_levels(rmin, rmax, qmin, qmax):
    return quantize.affine_scale(rmin, rmax, qmin, qmax + 1)


@scale.mistake(
    "did not widen the range to 0", breaks="a range that does not contain 0 is widened until it does"
)
def not_widened(rmin, rmax, qmin, qmax):
    S = np.float32((rmax - rmin) / (qmax - qmin)) if np.any(rmax > rmin) else np.float32(1)
    return S, np.rint(qmin - rmin / S).astype(np.int32)


@scale.mistake("moved Z to the wrong side of qmin", breaks=scale.laws[0].text)
def turned(rmin, rmax, qmin, qmax):
    S, Z = quantize.affine_scale(rmin, rmax, qmin, qmax)
    return S, qmin + qmin - Z


@scale.mistake("returned a scale of 0", breaks="for the range [0, 0], S is 1 and not 0")
def zero_scale(rmin, rmax, qmin, qmax):
    S, Z = quantize.affine_scale(rmin, rmax, qmin, qmax)
    return np.where(np.equal(rmin, rmax) & np.equal(rmin, 0), np.float32(0), S), Z
