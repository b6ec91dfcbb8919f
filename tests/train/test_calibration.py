"""Entropy, ECE, the reliability diagram's numbers and the fitted temperature, by law and by hand."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.engine.reduce import stable_softmax
from minidl.train import accuracy, expected_calibration_error, fit_temperature, reliability
from minidl.train.calibration import entropy, mean_loss
from minidl.train.intervals import wilson_interval

seeds = st.integers(0, 2**32 - 1)
bins = st.integers(1, 20)

# Four answers with the confidences 0.9, 0.9, 0.6 and 1. The second answer is wrong.
P = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.0, 1.0]])
Y = np.array([0, 1, 1, 1])


def rows(seed, n=40, classes=4, sharpness=2.0):
    """Logits and labels that are drawn from their softmax: neither separable nor without any signal."""
    rng = np.random.default_rng(seed)
    z = sharpness * rng.normal(size=(n, classes))
    cumulative = stable_softmax(z).cumsum(axis=1)
    return z, np.minimum((rng.random((n, 1)) > cumulative).sum(axis=1), classes - 1)


def loss(z, labels, T):
    return -np.mean(np.log(stable_softmax(z, temperature=T))[np.arange(len(z)), labels])


# ---- entropy


def test_entropy_by_hand():
    p = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.25, 0.25, 0.5]])
    np.testing.assert_allclose(entropy(p), np.log(2) * np.array([1, 0, 1.5]), rtol=1e-15)
    assert str(entropy([0.0, 1.0])) == "0.0"
    np.testing.assert_array_equal(entropy(p.T, axis=0), entropy(p))


@given(seed=seeds, classes=st.integers(1, 6))
def test_entropy_is_between_0_and_that_of_a_uniform_row(seed, classes):
    p = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), size=5)
    assert (entropy(p) >= 0).all() and (entropy(p) <= np.log(classes) + 1e-12).all()
    assert np.isclose(entropy(np.full(classes, 1 / classes)), np.log(classes), rtol=1e-14, atol=1e-15)


@given(seed=seeds)
def test_the_entropy_of_independent_draws_is_the_sum_of_theirs(seed):
    p, q = np.random.default_rng(seed).dirichlet(np.ones(4), size=2)
    assert np.isclose(entropy(np.outer(p, q).ravel()), entropy(p) + entropy(q), rtol=1e-12)


# ---- expected calibration error and the reliability diagram


def test_ece_by_hand():
    # bins [0, 0.5) and [0.5, 1]: confidence 3.4/4, accuracy 3/4
    assert np.isclose(expected_calibration_error(P, Y, bins=2), 0.10, rtol=1e-12)
    # ten bins: one holds 0.6 (gap 0.4), one holds 0.9 twice and 1 (gap between 2.8/3 and 2/3)
    assert np.isclose(expected_calibration_error(P, Y, bins=10), 0.25 * 0.4 + 0.75 * 0.8 / 3, rtol=1e-12)


def test_reliability_by_hand():
    table = reliability(P, Y, bins=4)
    assert table.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert table.accuracy.n.tolist() == [0, 0, 1, 3]
    np.testing.assert_allclose(table.confidence, [np.nan, np.nan, 0.6, 2.8 / 3])
    np.testing.assert_allclose(table.accuracy.mean, [np.nan, np.nan, 1, 2 / 3])
    last = wilson_interval(2, 3)
    assert (table.accuracy.low[3], table.accuracy.high[3]) == (last.low, last.high)


def test_a_confidence_on_an_edge_belongs_to_the_bin_above_and_1_to_the_last():
    table = reliability([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25]], [0, 0, 0], bins=4)
    assert table.accuracy.n.tolist() == [0, 0, 1, 2]


@given(m=st.integers(2, 12), bins=bins)
def test_ece_is_0_where_of_m_answers_with_confidence_k_over_m_k_are_right(m, bins):
    p, labels = [], []
    for k in range((m + 1) // 2, m + 1):  # the first class has the larger count, or there is a tie
        p += [[k / m, 1 - k / m]] * m
        labels += [0] * k + [1] * (m - k)
    assert expected_calibration_error(p, labels, bins) < 1e-12


@given(seed=seeds, bins=bins)
def test_ece_is_the_weighted_gap_of_the_reliability_table(seed, bins):
    z, labels = rows(seed)
    p = stable_softmax(z)
    table = reliability(p, labels, bins)
    seen = table.accuracy.n > 0
    gaps = np.abs(table.accuracy.mean - table.confidence)[seen]
    ece = expected_calibration_error(p, labels, bins)
    assert np.isclose(ece, np.average(gaps, weights=table.accuracy.n[seen]), rtol=1e-9, atol=1e-12)
    assert np.isclose((table.accuracy.mean * table.accuracy.n)[seen].sum() / len(z), accuracy(p, labels))
    assert ((table.edges[:-1] <= table.confidence) & (table.confidence <= table.edges[1:]))[seen].all()


@given(seed=seeds, bins=bins)
def test_ece_does_not_depend_on_the_order_of_the_images_nor_on_the_names_of_the_classes(seed, bins):
    z, labels = rows(seed)
    rng = np.random.default_rng(seed)
    p, order, names = stable_softmax(z), rng.permutation(len(z)), rng.permutation(z.shape[1])
    shuffled = expected_calibration_error(p[order], labels[order], bins)
    renamed = expected_calibration_error(p[:, names], np.argsort(names)[labels], bins)
    np.testing.assert_allclose([shuffled, renamed], expected_calibration_error(p, labels, bins), atol=1e-12)


@given(seed=seeds, bins=bins)
def test_ece_lies_between_the_overall_gap_and_1(seed, bins):
    z, labels = rows(seed)
    p = stable_softmax(z)
    ece = expected_calibration_error(p, labels, bins)
    gap = abs(p.max(axis=1).mean() - accuracy(p, labels))
    assert gap - 1e-12 <= ece <= 1
    assert np.isclose(expected_calibration_error(p, labels, bins=1), gap, atol=1e-12)


# ---- the fitted temperature


def test_the_fitted_temperature_by_hand():
    # Each row has confidence 0.9, but only 3 of 4 rows are right: sigmoid(log 9 / T) = 3/4 at T = log 9 / log
    # 3 = 2
    z = np.tile([np.log(9.0), 0.0], (4, 1))
    assert fit_temperature(z, [0, 0, 1, 0]) == pytest.approx(2, rel=1e-4)


@given(seed=seeds, sharpness=st.sampled_from([0.5, 2.0, 6.0]))
def test_no_other_temperature_is_better_and_no_answer_changes(seed, sharpness):
    z, labels = rows(seed, sharpness=sharpness)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # for pure noise the upper bound may be best
        T = fit_temperature(z, labels)
    best = loss(z, labels, T)
    assert best <= loss(z, labels, 1.0)
    assert all(best <= loss(z, labels, other) + 1e-9 for other in np.geomspace(0.05, 20, 40))
    assert accuracy(stable_softmax(z, temperature=T), labels) == accuracy(z, labels)


@given(seed=seeds, c=st.sampled_from([0.5, 3.0]))
def test_scaled_logits_want_a_scaled_temperature(seed, c):
    z, labels = rows(seed, n=200)
    T = fit_temperature(z, labels)
    assume(0.2 < T < 5)  # far enough inside the bounds for both
    assert np.isclose(fit_temperature(c * z, labels), c * T, rtol=1e-3)


@given(
    z=hnp.arrays(np.float64, (4, 3), elements=st.floats(-20, 20)),
    labels=hnp.arrays(np.int64, 4, elements=st.integers(0, 2)),
    ends=st.tuples(st.floats(0.05, 20), st.floats(0.05, 20)),
)
def test_the_loss_is_convex_in_1_over_t(z, labels, ends):
    a, b = ends
    middle = loss_by_inverse(z, labels, (a + b) / 2)
    assert middle <= (loss_by_inverse(z, labels, a) + loss_by_inverse(z, labels, b)) / 2 + 1e-9


def loss_by_inverse(z, labels, beta):
    """-mean log softmax(beta z)[label], whose logarithm of a sum needs no probability that underflows."""
    scaled = beta * z
    return np.mean(np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(z)), labels])


def test_labels_drawn_from_the_softmax_itself_are_fitted_by_about_1():
    z, labels = rows(0, n=20_000)
    assert fit_temperature(z, labels) == pytest.approx(1, abs=0.03)
    assert expected_calibration_error(stable_softmax(z), labels) < 0.02  # chance alone gives 0.01
    assert expected_calibration_error(stable_softmax(3 * z), labels) > 0.1


def test_where_there_is_no_minimum_the_bound_is_returned_and_said():
    z = np.array([[1.0, 0.0], [0.0, 1.0]])
    with pytest.warns(RuntimeWarning, match=r"no minimum within 0.05 ... 20: T = 0.05 is the bound"):
        assert fit_temperature(z, [0, 1]) == 0.05
    with pytest.warns(RuntimeWarning, match="T = 20 is the bound"):
        assert fit_temperature(z, [1, 0]) == 20


def test_where_every_temperature_is_as_good_it_stays_1():
    assert fit_temperature(np.zeros((3, 2)), [0, 1, 1]) == 1


def test_huge_logits_are_fitted_without_overflow():
    z = np.tile([1e4, 0.0], (4, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit_temperature(z, [0, 0, 1, 0], bounds=(1.0, 1e6)) == pytest.approx(1e4 / np.log(3), rel=1e-3)


@pytest.mark.parametrize(
    "attempt, error, message",
    [
        (lambda: entropy([2.0, -1.0]), ValueError, r"in \[-1, 2\] .* logits go through softmax first"),
        (lambda: entropy([0.5, 0.2]), ValueError, r"sums in \[0.7, 0.7\]"),
        (lambda: entropy([np.nan, 1.0]), ValueError, "probabilities must be >= 0"),
        (lambda: entropy([]), ValueError, r"must not be empty, got shape \(0,\)"),
        (lambda: entropy(0.5), ValueError, r"probabilities must have shape \(..., K\), got \(\)"),
        (lambda: entropy([0.5, 0.5], axis=1), ValueError, r"axis must be within \[-1, 0\], got 1"),
        (lambda: entropy([0.5, 0.5], axis=True), TypeError, "axis must be an integer, got True"),
        (lambda: mean_loss(P, Y[:2], 1.0), ValueError, r"labels must have shape \(4,\), got \(2,\)"),
        (lambda: mean_loss(None, Y, 1.0), TypeError, "z must be real numbers, got None"),
        (lambda: entropy(["a"]), TypeError, "probabilities must be real numbers"),
        (lambda: expected_calibration_error(P[0], [0]), ValueError, r"must have shape \(N, K\), got \(2,\)"),
        (lambda: expected_calibration_error(P * 4, Y), ValueError, "logits go through softmax first"),
        (lambda: expected_calibration_error(P, Y[:3]), ValueError, r"got \(4, 2\) and \(3,\)"),
        (lambda: expected_calibration_error(P, [0, 1, 2, 1]), ValueError, "got 2 at index 2"),
        (lambda: expected_calibration_error(P, Y, bins=0), ValueError, "bins must be within .*, got 0"),
        (lambda: expected_calibration_error(P, Y, bins=2.0), TypeError, "bins must be an integer"),
        (lambda: reliability(P, Y, bins=-1), ValueError, "bins must be within .*, got -1"),
        (lambda: reliability(P[:0], Y[:0]), ValueError, r"got shape \(0, 2\)"),
        (lambda: fit_temperature(P[0], [0]), ValueError, r"logits must have shape \(N, K\), got \(2,\)"),
        (lambda: fit_temperature(P, Y[:2]), ValueError, r"got \(4, 2\) and \(2,\)"),
        (lambda: fit_temperature(P * np.nan, Y), ValueError, "logits must be finite, got nan"),
        (lambda: fit_temperature(np.array([[np.inf, 0]]), [0]), ValueError, "logits must be finite"),
        (lambda: fit_temperature([[0.5], [-1.0]], [1, 0]), ValueError, "two classes, got one column"),
        (lambda: fit_temperature(P, Y, bounds=(0, 20)), ValueError, "0 < low <= 1 <= high"),
        (lambda: fit_temperature(P, Y, bounds=(2, 20)), ValueError, "got 2 and 20"),
        (lambda: fit_temperature(P * 1e200, Y), ValueError, "logits must be within .*1e.150"),
        (lambda: fit_temperature(P, Y, bounds=5), TypeError, r"bounds must be a pair \(low, high\), got 5"),
    ],
)
def test_bad_input_is_refused_in_words(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()
