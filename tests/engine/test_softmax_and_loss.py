"""Softmax, log-sum-exp, variance and cross-entropy: their laws, and what they give for extreme numbers."""

import warnings

import numpy as np
import pytest
from drawn import seeds
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl import Tensor, apply, grad
from minidl.engine.loss import (
    BinaryCrossEntropy,
    CrossEntropy,
    cross_entropy_gradient,
    one_hot,
    smooth_labels,
)
from minidl.engine.reduce import stable_log_softmax, stable_softmax

# Dyadic logits and shifts have exact sums and differences, so laws about shifts hold exactly.
dyadic = st.integers(-1000, 1000).map(lambda i: i / 64)
logits = hnp.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(2, 5)), elements=dyadic)
extreme = hnp.arrays(np.float32, (3, 4), elements=st.sampled_from([-1e4, -9999.5, -3.0, 0.0, 0.5, 1e4]))
temperatures = st.sampled_from([1e-3, 0.25, 1.0, 3.0, 100.0])


@pytest.fixture(autouse=True)
def no_warnings():
    """An overflow or an invalid value on the way is an error, even if the result happens to be right."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def cross_entropy(z, labels, **options):
    return apply(CrossEntropy(labels, **options), z)


def value_and_grad(z, labels, **options):
    z = Tensor(z, requires_grad=True)
    loss = cross_entropy(z, labels, **options)
    return loss.data, grad(loss, z, np.ones(loss.shape))


def entropy(p):
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1)


# ---- softmax


@given(z=extreme, temperature=st.sampled_from([1e-3, 1.0, 1e3]))
def test_softmax_of_logits_of_ten_thousand_is_finite_forward_and_backward(z, temperature):
    z = Tensor(z, requires_grad=True)
    p, log_p = z.softmax(temperature=temperature), z.log_softmax(temperature=temperature)
    assert np.isfinite(p.data).all()
    assert np.isfinite(log_p.data).all()
    np.testing.assert_allclose(p.data.sum(axis=1), 1, rtol=1e-6)
    upstream = np.arange(12.0).reshape(3, 4)
    for y in (p, log_p):
        slope = grad(y, z, upstream)
        assert np.isfinite(slope).all()
        # each row's gradient sums to 0, because a common shift changes nothing
        np.testing.assert_allclose(slope.sum(axis=1), 0, atol=1e-5 * (1 + abs(slope).max()))


def test_softmax_and_its_logarithm_by_hand():
    z = np.log(np.array([[1.0, 2.0, 5.0]]))
    np.testing.assert_allclose(stable_softmax(z), [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-15)
    np.testing.assert_allclose(stable_log_softmax(z), np.log([[1 / 8, 2 / 8, 5 / 8]]), rtol=1e-15)


def test_log_softmax_is_exact_where_the_probability_underflows():
    z = np.array([[0.0, -1e4]], np.float32)
    assert stable_log_softmax(z).tolist() == [[0, -1e4]]
    assert stable_log_softmax(z, temperature=1e-3).tolist() == [[0, -1e7]]


@given(z=logits, temperature=temperatures)
def test_rows_sum_to_1_and_the_largest_logit_has_the_largest_probability(z, temperature):
    p = stable_softmax(z, temperature=temperature)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    assert (p.max(axis=1) == p[np.arange(len(z)), z.argmax(axis=1)]).all()


@given(z=logits, shift=dyadic, temperature=temperatures)
def test_a_common_shift_of_the_logits_changes_no_bit(z, shift, temperature):
    for function in (stable_softmax, stable_log_softmax):
        assert np.array_equal(
            function(z + shift, temperature=temperature), function(z, temperature=temperature)
        )


@given(z=logits, temperature=temperatures, c=st.sampled_from([0.25, 2.0, 16.0]))
def test_scaling_logits_and_temperature_together_changes_nothing(z, temperature, c):
    np.testing.assert_allclose(
        stable_softmax(c * z, temperature=c * temperature),
        stable_softmax(z, temperature=temperature),
        rtol=1e-12,
    )


@given(z=logits, low=st.floats(0.05, 5), high=st.floats(0.05, 5))
def test_the_entropy_does_not_fall_as_the_temperature_rises(z, low, high):
    low, high = sorted((low, high))
    cold, warm = stable_softmax(z, temperature=low), stable_softmax(z, temperature=high)
    assert (entropy(cold) <= entropy(warm) + 1e-12).all()


@given(z=logits, temperature=st.floats(0.5, 5))
def test_the_entropys_slope_in_t_is_the_variance_of_the_logits_over_t_cubed(z, temperature):
    h = 1e-5 * temperature
    p = stable_softmax(z, temperature=temperature)
    variance = (p * (z - (p * z).sum(axis=1, keepdims=True)) ** 2).sum(axis=1)
    up, down = (entropy(stable_softmax(z, temperature=temperature + s * h)) for s in (1, -1))
    np.testing.assert_allclose((up - down) / (2 * h), variance / temperature**3, rtol=1e-4, atol=1e-7)


def test_softmax_tends_to_uniform_for_a_high_temperature_and_to_the_winners_for_a_low_one():
    z = np.array([[1.0, 3.0, 3.0, -2.0]])
    np.testing.assert_allclose(stable_softmax(z, temperature=1e9), [[0.25] * 4], atol=1e-8)
    np.testing.assert_allclose(stable_softmax(z, temperature=1e-3), [[0, 0.5, 0.5, 0]], atol=1e-15)


# ---- log-sum-exp, sigmoid, variance


@given(z=extreme, keepdims=st.booleans())
def test_logsumexp_of_ten_thousand_lies_between_the_maximum_and_log_n_above(z, keepdims):
    x = Tensor(z, requires_grad=True)
    y = x.logsumexp(axis=1, keepdims=keepdims)
    largest = z.max(axis=1, keepdims=keepdims)
    assert (y.data >= largest).all()
    assert (y.data <= largest + np.log(4) + 1e-3).all()
    # 1e4 has three decimals in float32
    np.testing.assert_allclose(grad(y.sum(), x).sum(axis=1), 1, rtol=2e-3)


def test_logsumexp_of_nothing_but_minus_infinity_is_minus_infinity_with_gradient_0():
    x = Tensor([[-np.inf, -np.inf], [-np.inf, 0.0]], requires_grad=True)
    y = x.logsumexp(axis=1)
    assert y.data.tolist() == [-np.inf, 0]
    assert grad(y, x, [1.0, 1.0]).tolist() == [[0, 0], [0, 1]]


def test_sigmoid_and_tanh_at_ten_thousand():
    x = Tensor([-1e4, 0.0, 1e4], requires_grad=True)
    assert x.sigmoid().data.tolist() == [0, 0.5, 1]
    assert grad(x.sigmoid().sum(), x).tolist() == [0, 0.25, 0]
    assert x.tanh().data.tolist() == [-1, 0, 1]
    assert grad(x.tanh().sum(), x).tolist() == [0, 1, 0]


@given(
    value=st.sampled_from([0.0, 0.1, -3.3, 1e4, 1e-4]),
    count=st.integers(1, 1000),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_the_variance_of_a_constant_is_0_to_the_last_bits(value, count, dtype):
    x = Tensor(np.full(count, value, dtype), requires_grad=True)
    y = x.var()
    rounding = np.finfo(dtype).eps * abs(value)
    assert 0 <= y.item() <= (4 * rounding) ** 2
    assert abs(grad(y, x)).max() <= 8 * rounding


def test_a_large_mean_does_not_drown_the_variance():
    x = np.array([1e4, 1e4 + 1, 1e4 + 2], np.float32)
    assert Tensor(x).var(ddof=1).item() == pytest.approx(1, rel=1e-6)


# ---- cross-entropy


@given(z=extreme, smoothing=st.sampled_from([0.0, 0.1]), temperature=st.sampled_from([1e-3, 1.0]))
def test_cross_entropy_of_logits_of_ten_thousand_is_finite(z, smoothing, temperature):
    options = {"label_smoothing": smoothing, "temperature": temperature}
    loss, slope = value_and_grad(z, np.array([0, 3, 1]), **options)
    assert np.isfinite(loss)
    assert loss >= 0
    assert np.isfinite(slope).all()


def test_cross_entropy_by_hand():
    z = np.log(np.array([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]]))  # probabilities in eighths
    labels = np.array([2, 0])
    each = [np.log(8 / 5), np.log(8 / 3)]
    np.testing.assert_allclose(value_and_grad(z, labels, reduction="none")[0], each, rtol=1e-14)
    np.testing.assert_allclose(value_and_grad(z, labels, reduction="sum")[0], sum(each), rtol=1e-14)
    loss, slope = value_and_grad(z, labels)
    np.testing.assert_allclose(loss, sum(each) / 2, rtol=1e-14)
    np.testing.assert_allclose(slope, np.array([[1, 2, -3], [-5, 3, 2]]) / 16, rtol=1e-13)


def test_class_weights_multiply_the_losses_and_the_mean_divides_by_the_labels_weights():
    z = np.log(np.array([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]]))
    loss, _ = value_and_grad(z, np.array([2, 0]), weight=np.array([1.0, 10.0, 3.0]))
    np.testing.assert_allclose(loss, (3 * np.log(8 / 5) + 1 * np.log(8 / 3)) / 4, rtol=1e-14)


def test_rows_of_probabilities_count_one_each_in_the_mean_whatever_the_class_weights():
    z = np.log(np.array([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]]))
    rows, weight = np.array([[0.0, 0.5, 0.5], [1, 0, 0]]), np.array([1.0, 10.0, 3.0])
    loss, _ = value_and_grad(z, rows, weight=weight)
    expected = (10 / 2 * np.log(8 / 2) + 3 / 2 * np.log(8 / 5) + 1 * np.log(8 / 3)) / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-14)


def test_the_gradient_of_a_weighted_target_by_hand():
    p, target = np.array([[0.25, 0.75]]), np.array([[3.0, 1.0]])  # -3 log p_0 - log p_1, a target of sum 4
    assert cross_entropy_gradient(p, target).tolist() == [[-2, 2]]
    assert cross_entropy_gradient(p, target, temperature=4.0).tolist() == [[-0.5, 0.5]]


@given(z=logits, seed=seeds)
def test_the_gradient_of_the_summed_loss_is_p_minus_the_target_and_each_row_sums_to_0(z, seed):
    labels = np.random.default_rng(seed).integers(0, z.shape[1], len(z))
    eps, K = 0.2, z.shape[1]
    target = np.full(z.shape, eps / K)
    target[np.arange(len(z)), labels] += 1 - eps
    _, slope = value_and_grad(z, labels, reduction="sum", label_smoothing=eps)
    np.testing.assert_allclose(slope, stable_softmax(z) - target, atol=1e-14)
    np.testing.assert_allclose(slope.sum(axis=1), 0, atol=1e-14)


@given(z=logits, seed=seeds, eps=st.floats(0, 1), temperature=temperatures)
def test_smoothing_mixes_the_loss_with_that_of_the_uniform_target(z, seed, eps, temperature):
    labels = np.random.default_rng(seed).integers(0, z.shape[1], len(z))
    uniform = np.full(z.shape, 1 / z.shape[1])
    options = {"reduction": "sum", "temperature": temperature}
    smoothed, _ = value_and_grad(z, labels, label_smoothing=eps, **options)
    plain, _ = value_and_grad(z, labels, **options)
    spread_out, _ = value_and_grad(z, uniform, **options)
    np.testing.assert_allclose(smoothed, (1 - eps) * plain + eps * spread_out, rtol=1e-9, atol=1e-12)


@given(z=logits, seed=seeds)
def test_full_smoothing_ignores_the_labels(z, seed):
    rng = np.random.default_rng(seed)
    losses = [
        value_and_grad(z, rng.integers(0, z.shape[1], len(z)), label_smoothing=1.0)[0] for _ in range(3)
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-12)


@given(z=logits, seed=seeds, eps=st.floats(0.05, 0.9))
def test_the_smoothed_loss_has_its_minimum_the_targets_entropy_at_finite_logits(z, seed, eps):
    K = z.shape[1]
    labels = np.random.default_rng(seed).integers(0, K, len(z))
    target = (1 - eps) * one_hot(labels, K, np.float64) + eps / K
    at_minimum, slope = value_and_grad(np.log(target), labels, label_smoothing=eps, reduction="none")
    np.testing.assert_allclose(at_minimum, entropy(target), rtol=1e-12)
    np.testing.assert_allclose(slope, 0, atol=1e-14)
    assert (value_and_grad(z, labels, label_smoothing=eps, reduction="none")[0] >= at_minimum - 1e-12).all()


@given(z=logits, seed=seeds, eps=st.sampled_from([0.0, 0.1]), temperature=temperatures)
def test_labels_and_their_one_hot_rows_give_the_same_loss(z, seed, eps, temperature):
    labels = np.random.default_rng(seed).integers(0, z.shape[1], len(z))
    options = {"label_smoothing": eps, "temperature": temperature}
    by_label = value_and_grad(z, labels, **options)
    by_row = value_and_grad(z, one_hot(labels, z.shape[1]), **options)
    for a, b in zip(by_label, by_row, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


@given(z=logits, seed=seeds, temperature=temperatures)
def test_a_temperature_divides_the_logits(z, seed, temperature):
    labels = np.random.default_rng(seed).integers(0, z.shape[1], len(z))
    with_t = value_and_grad(z, labels, temperature=temperature)
    divided = value_and_grad(z / temperature, labels)
    np.testing.assert_allclose(with_t[0], divided[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(with_t[1], divided[1] / temperature, rtol=1e-9, atol=1e-9)


def test_a_class_ruled_out_by_a_logit_of_minus_infinity_leaves_the_loss_finite():
    z = np.array([[0.0, 0.0, -np.inf]])
    loss, slope = value_and_grad(z, np.array([1]))
    assert loss == pytest.approx(np.log(2), rel=1e-15)
    assert slope.tolist() == [[0.5, -0.5, 0]]


def test_one_hot_rows():
    assert one_hot(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot(np.array([], np.int64), 3).shape == (0, 3)


def test_the_pure_functions_take_integers_and_refuse_impossible_settings():
    p = stable_softmax(np.array([[4, 2, 1, -1]]), temperature=2.5)
    assert np.allclose(p, stable_softmax(np.array([[4.0, 2.0, 1.0, -1.0]]), temperature=2.5), rtol=1e-12)
    assert np.allclose(np.exp(stable_log_softmax([[0, 0]], temperature=0.5)), 0.5)
    assert np.allclose(smooth_labels(np.array([[0, 1]]), 0.1), [[0.05, 0.95]])
    for temperature in (0, -1.0, np.nan):
        with pytest.raises(ValueError, match="temperature must be a"):
            stable_softmax(np.zeros((1, 2)), temperature=temperature)
    with pytest.raises(ValueError, match=r"label_smoothing must be finite and within \[0, 1\]"):
        smooth_labels(np.array([[0, 1.0]]), 2)


# ---- cross-entropy of one logit


def binary(z, target, **options):
    z = Tensor(np.asarray(z, np.float64), requires_grad=True)
    loss = apply(BinaryCrossEntropy(target, **options), z)
    return loss.data, grad(loss, z, np.ones(loss.shape))


@given(z=hnp.arrays(np.float64, (4, 1), elements=dyadic), seed=seeds)
def test_one_logit_is_two_classes_of_which_one_has_the_logit_0(z, seed):
    labels = np.random.default_rng(seed).integers(0, 2, 4)
    loss, slope = binary(z, labels[:, np.newaxis])
    both, slopes = value_and_grad(np.hstack([np.zeros_like(z), z]), labels)
    assert loss == pytest.approx(both, rel=1e-12)
    np.testing.assert_allclose(slope, slopes[:, 1:], rtol=1e-9, atol=1e-15)


def test_the_loss_of_one_logit_by_hand():
    loss, slope = binary([3.0, -3.0, 0.0], [1.0, 0.0, 0.5], reduction="none")
    np.testing.assert_allclose(loss, [np.log1p(np.exp(-3)), np.log1p(np.exp(-3)), np.log(2)], rtol=1e-14)
    np.testing.assert_allclose(
        slope, [1 / (1 + np.exp(-3)) - 1, 1 / (1 + np.exp(3)), 0], rtol=1e-12, atol=1e-16
    )


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_an_extreme_logit_costs_itself_or_nothing_and_warns_of_nothing(target):
    loss, slope = binary([1e4, -1e4], [target, target], reduction="none")
    assert loss.tolist() == ([0, 1e4] if target else [1e4, 0])
    assert slope.tolist() == ([0, -1] if target else [1, 0])
    tiny, _ = binary([-40.0], [0.0])  # p is much smaller than the last digit of 1
    assert tiny == pytest.approx(np.exp(-40), rel=1e-12)


def test_pos_weight_multiplies_the_positive_examples_and_weight_each_of_them():
    plain, _ = binary([0.5, -1.0], [1.0, 0.0], reduction="none")
    weighed, _ = binary([0.5, -1.0], [1.0, 0.0], reduction="none", pos_weight=3.0, weight=[2.0, 5.0])
    np.testing.assert_allclose(weighed, plain * [6, 5], rtol=1e-14)


def test_the_mean_divides_by_the_number_of_elements_and_the_dtype_stays():
    z, target = np.float32([[1, 2], [3, 4]]), np.ones((2, 2))
    total, mean = (apply(BinaryCrossEntropy(target, reduction=r), z) for r in ("sum", "mean"))
    assert total.item() == pytest.approx(4 * mean.item(), rel=1e-6)
    assert mean.dtype == np.float32
