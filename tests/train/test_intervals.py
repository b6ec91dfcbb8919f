"""Confidence intervals, against tables, another implementation and their own promise of coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minidl.train.intervals import Interval, paired_difference, t_interval, wilson_interval

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.sampled_from([0.5, 0.9, 0.95, 0.99])


def test_the_mean_of_1_2_3_lies_within_4_303_standard_errors():
    # t(0.975, 2 degrees of freedom) = 4.303 in every table, s = 1
    interval = t_interval([1, 2, 3])
    assert interval.mean == 2 and interval.n == 3
    np.testing.assert_allclose(
        [interval.low, interval.high], 2 + np.array([-1, 1]) * 4.30265 / 3**0.5, rtol=1e-5
    )


@given(values=st.lists(st.floats(-100, 100), min_size=2, max_size=12), confidence=confidences)
def test_t_agrees_with_scipy(values, confidence):
    interval = t_interval(values, confidence)
    assert interval.low <= interval.mean <= interval.high
    spread = stats.sem(values)
    if spread > 1e-9:  # for equal values scipy gives NaN
        low, high = stats.t.interval(confidence, len(values) - 1, np.mean(values), spread)
        np.testing.assert_allclose([interval.low, interval.high], [low, high], rtol=1e-9, atol=1e-9)


def test_equal_values_give_a_point():
    assert t_interval([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5, 3)


def test_t_covers_the_mean_as_often_as_it_promises():
    samples = np.random.default_rng(0).normal(3.0, 2.0, size=(4000, 4))
    intervals = [t_interval(sample, confidence=0.9) for sample in samples]
    covered = np.mean([interval.low <= 3.0 <= interval.high for interval in intervals])
    assert abs(covered - 0.9) < 3 * (0.9 * 0.1 / 4000) ** 0.5


def test_pairing_cancels_what_both_owe_to_the_seed():
    seed_effect = np.array([10.0, -20.0, 30.0, 0.0])
    difference = paired_difference(seed_effect + [1.0, 1.1, 0.9, 1.0], seed_effect)
    assert difference.low > 0.8 and difference.high < 1.2
    assert t_interval(seed_effect).low < -20  # each mean alone is very uncertain
    np.testing.assert_allclose(difference.mean, 1.0)


def test_wilson_gives_the_published_example():
    # 81 of 263: 0.2553 to 0.3662 (Newcombe 1998, Statistics in Medicine 17, table I, method 3)
    interval = wilson_interval(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)
    assert interval.mean == 81 / 263 and interval.n == 263


@given(case=counts, confidence=confidences)
def test_wilson_agrees_with_scipy_and_stays_within_0_and_1(case, confidence):
    k, n = case
    interval = wilson_interval(k, n, confidence)
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose([interval.low, interval.high], [expected.low, expected.high], atol=1e-12)
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1


def test_wilson_is_exact_at_the_ends():
    n = np.arange(1, 100)
    assert np.all(wilson_interval(0, n).low == 0) and np.all(wilson_interval(n, n).high == 1)
    assert wilson_interval(0, 10).high > 0 and wilson_interval(10, 10).low < 1


def test_nothing_is_known_of_no_trials():
    interval = wilson_interval(0, 0)
    assert np.isnan(interval.mean) and (interval.low, interval.high, interval.n) == (0, 1, 0)


def test_arrays_give_an_interval_per_element():
    successes, n = np.array([[3, 0], [5, 2]]), np.array([5, 2])
    intervals = wilson_interval(successes, n)
    assert intervals.low.shape == intervals.high.shape == intervals.n.shape == (2, 2)
    for index in np.ndindex(2, 2):
        alone = wilson_interval(successes[index], n[index[1]])
        assert (intervals.low[index], intervals.high[index]) == (alone.low, alone.high)


def test_more_confidence_and_fewer_values_give_a_wider_interval():
    assert t_interval([1, 2, 3], 0.99).high > t_interval([1, 2, 3], 0.9).high
    assert wilson_interval(5, 10).high > wilson_interval(50, 100).high


@pytest.mark.parametrize(
    "interval, text",
    [
        (Interval(0.0812, 0.0592, 0.1032, 8), "0.081 ± 0.022 (n = 8)"),
        (Interval(1234.5, 1178.5, 1290.5, 3), "1234 ± 56 (n = 3)"),
        (Interval(-2e-9, -3e-9, -1e-9, 5), "-2.0e-09 ± 1.0e-09 (n = 5)"),
        (Interval(0.5, 0.5, 0.5, 3), "0.5 ± 0 (n = 3)"),
        (Interval(0.9, 0.8, 0.95, 20), "0.900 [0.800, 0.950] (n = 20)"),
        (wilson_interval(0, 0), "nan [0.00, 1.00] (n = 0)"),
        (wilson_interval(np.array([5, 8]), 10), "0.50 ± 0.26 (n = 10), 0.80 [0.49, 0.94] (n = 10)"),
    ],
)
def test_an_interval_prints_the_digits_that_it_knows(interval, text):
    assert str(interval) == f"{interval}" == text


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: t_interval([1.0]),
            ValueError,
            "values needs at least two values to estimate their spread, got 1",
        ),
        (
            lambda: t_interval([]),
            ValueError,
            "values must not be empty",
        ),
        (lambda: t_interval([[1.0, 2.0]]), ValueError, r"values must have shape \(n,\), got \(1, 2\)"),
        (lambda: t_interval([1.0, np.nan]), ValueError, "values must be finite, got nan"),
        (lambda: t_interval(["a", "b"]), TypeError, "values must be real numbers, got .* of <U1"),
        (
            lambda: t_interval([1.0, 2.0], 95),
            ValueError,
            "confidence must be between 0 and 1, got 95",
        ),
        (
            lambda: t_interval([1.0, 2.0], 0.0),
            ValueError,
            "confidence must be between 0 and 1, got 0.0",
        ),
        (
            lambda: paired_difference([1, 2], [1, 2, 3]),
            ValueError,
            r"b must have shape \(2,\), got \(3,\)",
        ),
        (lambda: paired_difference([1, 2], 1), ValueError, r"b must have shape \(2,\), got \(\)"),
        (lambda: paired_difference([1], [1]), ValueError, "a needs at least two values"),
        (lambda: wilson_interval(0.5, 1), TypeError, "successes must be integers, got .* of float64"),
        (lambda: wilson_interval(1, 1.0), TypeError, "n must be integers, got .* of float64"),
        (
            lambda: wilson_interval(3, 2),
            ValueError,
            "must be 0 <= successes <= n, got successes = 3 and n = 2",
        ),
        (lambda: wilson_interval(-1, 2), ValueError, "must be 0 <= successes <= n"),
        (
            lambda: wilson_interval([1, 2], [1, 2, 3]),
            ValueError,
            r"successes \(2,\) and n \(3,\) must have matching",
        ),
    ],
)
def test_bad_input_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()
