import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.compress.calibrate import (
    Histogram,
    bins_holding,
    coarser,
    divergence,
    entropy_threshold,
    kl_curve,
    max_threshold,
    mse_curve,
    mse_threshold,
    percentile_threshold,
)

THRESHOLDS = {
    "max": lambda h, bits: max_threshold(h),
    "percentile": lambda h, bits: percentile_threshold(h, 90.0),
    "mse": mse_threshold,
    "entropy": entropy_threshold,
}
every_threshold = pytest.mark.parametrize("threshold", THRESHOLDS.values(), ids=THRESHOLDS)
numbers = hnp.arrays(
    np.float32, st.integers(1, 60), elements=st.floats(-8, 8, width=32, allow_subnormal=False)
)
bits = st.sampled_from([2, 3, 4, 8])


def histogram(values, bins=64):
    return Histogram(bins).add(values)


def state(histogram):
    return histogram.counts.tolist(), histogram.exponent, histogram.max, histogram.zeros


# ---- the histogram


def test_the_bins_are_a_power_of_two_wide_and_count_magnitudes():
    h = histogram([0.0, -0.4, 0.5, 1.9, -3.0], bins=8)  # up to 4, so bins of 1/2
    assert h.width == 0.5 and h.max == 3.0 and h.used == 6
    assert h.counts.tolist() == [3, 0, 0, 1, 0, 1, 0, 0]
    assert h.zeros == 1 and h.total() == 5


def test_a_range_that_grows_makes_two_bins_one():
    h = histogram([0.1, 0.3, 0.9], bins=4).add([1.5])  # bins of 1/4, then of 1/2
    assert h.counts.tolist() == [2, 1, 1, 0] and h.width == 0.5


def test_an_edge_belongs_to_the_bin_below_it():
    assert histogram([0.5, 1.0], bins=4).counts.tolist() == [0, 1, 0, 1]


@given(first=numbers, second=numbers)
def test_batches_signs_and_merging_make_no_difference(first, second):
    whole = state(histogram(np.concatenate([first, second])))
    assert state(histogram(second).add(-first)) == whole
    assert state(histogram(first).merge(histogram(second))) == whole
    assert state(histogram(second).merge(histogram(first))) == whole
    assert state(Histogram(64).merge(histogram(first)).add(second)) == whole


@given(values=numbers, power=st.integers(-20, 20))
def test_a_power_of_two_on_the_values_changes_no_count(values, power):
    scaled, plain = histogram(values.astype(float) * 2.0**power), histogram(values)
    assert np.array_equal(scaled.counts, plain.counts) and scaled.max == plain.max * 2.0**power


def test_a_histogram_of_zeros_alone_takes_any_range_later():
    h = histogram(np.zeros(3), bins=4).add([3.0])
    assert h.counts.tolist() == [3, 0, 1, 0] and h.zeros == 3
    assert histogram(np.zeros(3)).used == 1


def test_coarser_adds_pairs_and_leaves_room_above():
    counts = np.array([1, 2, 3, 4])
    assert coarser(counts, 0).tolist() == [1, 2, 3, 4]
    assert coarser(counts, 1).tolist() == [3, 7, 0, 0]
    assert coarser(counts, 50).tolist() == [10, 0, 0, 0]


# ---- laws of all thresholds


@every_threshold
@given(values=numbers, bits=bits)
def test_a_threshold_lies_within_0_and_the_largest_magnitude(threshold, values, bits):
    T = threshold(histogram(values), bits)
    assert isinstance(T, float) and 0 <= T <= np.abs(values).max()
    assert T > 0 or not values.any()


@every_threshold
@given(values=numbers, bits=bits, power=st.integers(-10, 10))
def test_a_threshold_scales_with_a_power_of_two(threshold, values, bits, power):
    scaled = threshold(histogram(values.astype(float) * 2.0**power), bits)
    assert scaled == threshold(histogram(values), bits) * 2.0**power


@every_threshold
@given(values=numbers, bits=bits)
def test_the_same_data_twice_changes_no_threshold(threshold, values, bits):
    assert threshold(histogram(values).add(-values), bits) == threshold(histogram(values), bits)


# ---- each by itself


def test_the_largest_magnitude_is_the_threshold_without_saturation():
    assert max_threshold(histogram([0.5, -7.3])) == 7.3


def test_percentiles_count_from_below():
    h = histogram([0.1, 0.6, 0.6, 3.0], bins=8)  # bins of 1/2: 1, 2, 0, 0, 0, 1
    assert percentile_threshold(h, 25.0) == 0.5
    assert percentile_threshold(h, 26.0) == percentile_threshold(h, 75.0) == 1.0
    assert percentile_threshold(h, 76.0) == percentile_threshold(h, 100.0) == 3.0
    assert bins_holding(np.array([1, 2, 0, 1]), 75) == 2 and bins_holding(np.array([0, 4]), 0) == 1


def test_a_percentage_that_no_float_holds_means_the_decimal_number():
    assert bins_holding(np.ones(1000, int), 16.1) == 161
    reals = np.r_[np.ones(40959), np.full(41, 100.0)]  # 40959 are exactly 99.9%
    assert percentile_threshold(Histogram().add(reals), 99.9) == 1.0


@example(counts=[1] * 1000, tenths=161)
@given(counts=st.lists(st.integers(0, 999), min_size=1, max_size=9).filter(any), tenths=st.integers(0, 1000))
def test_so_many_bins_hold_a_decimal_percentage_and_one_less_does_not(counts, tenths):
    n = bins_holding(np.array(counts), tenths / 10)
    assert 1000 * sum(counts[:n]) >= tenths * sum(counts)
    assert n == 1 or 1000 * sum(counts[: n - 1]) < tenths * sum(counts)


@given(values=numbers, percentiles=st.tuples(st.floats(0, 100), st.floats(0, 100)))
def test_a_higher_percentile_never_has_a_lower_threshold(values, percentiles):
    h = histogram(values)
    low, high = sorted(percentiles)
    assert percentile_threshold(h, low) <= percentile_threshold(h, high)
    assert percentile_threshold(h, 100) == max_threshold(h)
    assert np.mean(np.abs(values) <= percentile_threshold(h, high)) >= high / 100 - 1e-12


def test_the_error_of_a_threshold_by_hand():
    """Bins of 1/2 with middles 0.25 and 1.75; with 2 bits the only level is T itself."""
    thresholds, errors = mse_curve(histogram([0.1, 1.6], bins=4), bits=2)
    assert thresholds.tolist() == pytest.approx([0.5, 1.0, 1.5, 1.6])
    # T = 0.5: 0.25 is a tie and goes to 0, 1.75 to 0.5
    assert errors[0] == pytest.approx((0.25**2 + 1.25**2) / 2)
    assert errors[3] == pytest.approx((0.25**2 + 0.15**2) / 2)


@given(values=numbers, bits=bits)
def test_no_candidate_beats_the_chosen_ones(values, bits):
    h = histogram(values)
    for curve, chosen in ((mse_curve, mse_threshold), (kl_curve, entropy_threshold)):
        thresholds, losses = curve(h, bits)
        at = np.flatnonzero(thresholds == chosen(h, bits))[0]
        assert losses[at] == losses.min() and (losses[:at] > losses[at]).all()
        assert thresholds[-1] == h.max and losses[at] <= losses[-1]
        assert (np.diff(thresholds) > 0).all() and (losses >= -1e-12).all()


def test_a_divergence_by_hand():
    """Four bins on two levels: Q spreads 2 + 4 as 3, 3 and 6 + 0 as 6 on its only occupied bin."""
    P, Q = np.array([2, 4, 6]) / 12, np.array([3, 3, 6]) / 12
    assert divergence(np.array([2, 4, 6, 0]), 0, 2) == pytest.approx(np.sum(P * np.log(P / Q)))


def test_the_tail_is_added_to_the_last_bin_of_P_alone():
    P, Q = np.array([1, 7]) / 8, np.array([1, 3]) / 8
    assert divergence(np.array([1, 3]), 4, 2) == pytest.approx(np.sum(P * np.log(P / Q)))
    assert divergence(np.array([1, 0]), 4, 2) == math.inf
    assert divergence(np.array([0, 0]), 0, 2) == 0


@given(
    counts=hnp.arrays(np.int64, st.integers(1, 20), elements=st.integers(0, 50)), levels=st.integers(2, 20)
)
def test_nothing_is_lost_where_each_bin_is_a_level(counts, levels):
    kl = divergence(counts, 0, levels)
    assert kl >= 0
    if len(counts) <= levels:
        assert kl == 0


def test_candidates_begin_with_as_many_bins_as_there_are_levels():
    thresholds, divergences = kl_curve(histogram(np.linspace(0.1, 3.9, 50), bins=64), bits=4)
    assert thresholds[0] == 8 * 4 / 64 and len(thresholds) == len(divergences) == 63 - 8 + 1
    assert kl_curve(histogram([1.0, 2.0], bins=4), bits=8)[0].tolist() == [2.0]


def test_numbers_that_are_exactly_0_do_not_move_the_entropy_threshold():
    values = np.random.default_rng(0).standard_normal(2000)
    h = Histogram().add(values)
    before = entropy_threshold(h, 4)
    assert entropy_threshold(h.add(np.zeros(10_000)), 4) == before


def test_of_discrete_values_not_only_the_smallest_is_kept():
    """0, 1/16, ... 1: where Q is divided by its own sum, T = 1/16 loses nothing."""
    pixels = np.repeat(np.arange(17) / 16, 10)
    for bits in (3, 4, 7, 9):
        assert entropy_threshold(Histogram().add(pixels), bits) > 0.9


def test_a_heavy_tail_is_cut_at_few_bits_and_not_at_many():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(50_000) * np.where(rng.random(50_000) < 0.004, 8, 1)
    h = Histogram().add(values)
    for threshold in (mse_threshold, entropy_threshold):
        assert threshold(h, 4) < 0.3 * h.max
        assert threshold(h, 4) < threshold(h, 8)


# ---- what is refused


def test_bad_input_is_refused():
    h = histogram([1.0])
    for bad in (np.nan, np.inf, 1e39):
        with pytest.raises(ValueError, match=r"values must be (finite|within .*e\+38\]), got"):
            h.add([1.0, bad])
    with pytest.raises(TypeError, match="real numbers"):
        h.add(["1"])
    with pytest.raises(ValueError, match="power of two"):
        Histogram(100)
    with pytest.raises(TypeError, match="bins must be an integer"):
        Histogram(8.0)
    with pytest.raises(ValueError, match="other must have as many bins, 64, got 32"):
        h.merge(Histogram(32))
    with pytest.raises(TypeError, match=r"must be a Histogram, got \[1.0\]"):
        h.merge([1.0])
    for threshold in THRESHOLDS.values():
        with pytest.raises(ValueError, match="empty"):
            threshold(Histogram(), 8)
        with pytest.raises(TypeError, match="must be a Histogram, got an array"):
            threshold(np.ones(3), 8)
    for wrong in (1, 18):
        for curve in (kl_curve, mse_curve):
            with pytest.raises(ValueError, match="bits must be"):
                curve(h, wrong)
    with pytest.raises(ValueError, match=r"within \[0, 100\]"):
        percentile_threshold(h, 101)
    assert h.counts.sum() == 1  # none of it was counted
