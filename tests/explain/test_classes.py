"""Easy and hard classes, hard images, confident mistakes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from untouched import disturbed, left_untouched

import minidl.nn as nn
from minidl.explain import easy_and_hard, hardest_examples, most_confident_mistakes
from minidl.explain.classes import confident_mistakes, highest_losses
from minidl.nn import Sequential
from minidl.train.intervals import wilson_interval

# The "images" are also the logits, so every answer is known.
MODEL = Sequential(nn.Identity())
P = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.05, 0.05, 0.9], [0.1, 0.3, 0.6]])
LABELS = np.array([0, 0, 1, 1, 2])  # right, wrong 0.8, wrong 0.5, wrong 0.9, right
LOGITS = np.log(P)


@st.composite
def answers(draw):
    """log p (N, 3) with ties among them, and labels (N,)."""
    n = draw(st.integers(1, 12))
    rows = draw(
        st.lists(st.sampled_from([(6, 3, 1), (1, 6, 3), (3, 1, 6), (8, 1, 1)]), min_size=n, max_size=n)
    )
    labels = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return np.log(np.array(rows) / 10), np.array(labels)


def test_five_answers_by_hand():
    found = easy_and_hard(MODEL, LOGITS, LABELS)
    assert found.order.tolist() == [2, 0, 1]  # 1 of 1, 1 of 2, 0 of 2
    np.testing.assert_array_equal(found.accuracy.mean, [0.5, 0, 1])
    np.testing.assert_array_equal(found.accuracy.n, [2, 2, 1])
    np.testing.assert_array_equal(found.confusion, [[1, 1, 0], [1, 0, 1], [0, 0, 1]])
    one_of_two = wilson_interval(1, 2)
    assert (found.accuracy.low[0], found.accuracy.high[0]) == pytest.approx((one_of_two.low, one_of_two.high))


def test_the_hardest_and_the_surest_mistakes_by_hand():
    hardest = hardest_examples(MODEL, LOGITS, LABELS, 3)  # p of the label: 0.7 0.1 0.3 0.05 0.6
    assert hardest.index.tolist() == [3, 1, 2]
    np.testing.assert_allclose(hardest.loss, -np.log([0.05, 0.1, 0.3]), rtol=1e-6)
    surest = most_confident_mistakes(MODEL, LOGITS, LABELS)
    assert surest.index.tolist() == [3, 1, 2] and surest.predicted.tolist() == [2, 1, 0]
    np.testing.assert_allclose(surest.confidence, [0.9, 0.8, 0.5], rtol=1e-6)
    assert most_confident_mistakes(MODEL, LOGITS, LABELS, 1).index.tolist() == [3]


def test_a_class_without_images_is_not_in_the_order():
    found = easy_and_hard(MODEL, LOGITS[:2], LABELS[:2])
    assert found.order.tolist() == [0]
    assert np.isnan(found.accuracy.mean[1:]).all() and found.accuracy.n.tolist() == [2, 0, 0]


def test_a_model_without_mistakes_has_none():
    found = most_confident_mistakes(MODEL, LOGITS, P.argmax(axis=1))
    assert all(part.shape == (0,) for part in found)


def test_a_loss_that_overflows_a_probability_is_still_ranked():
    logits = np.array([[0.0, 3000.0], [0.0, 2000.0], [0.0, 4000.0]])
    found = hardest_examples(MODEL, logits, np.zeros(3, int))
    assert found.index.tolist() == [2, 0, 1]
    np.testing.assert_allclose(found.loss, [4000, 3000, 2000])


@given(case=answers(), k=st.integers(1, 12))
def test_the_worst_k_are_the_first_of_the_worst_k_plus_1(case, k):
    log_p, labels = case
    for found in (
        lambda k: highest_losses(log_p, labels, k),
        lambda k: confident_mistakes(np.exp(log_p), labels, k),
    ):
        assert found(k).tolist() == found(k + 1)[:k].tolist()


@given(case=answers(), k=st.integers(1, 12))
def test_no_image_left_out_is_worse_than_one_chosen(case, k):
    log_p, labels = case
    losses = -log_p[np.arange(len(labels)), labels]
    chosen = highest_losses(log_p, labels, k)
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    assert len(chosen) == min(k, len(labels)) == len(set(chosen.tolist()))
    assert not len(rest) or losses[rest].max() <= losses[chosen].min()
    assert (np.diff(losses[chosen]) <= 0).all()


@given(case=answers())
def test_all_mistakes_and_nothing_but_mistakes_are_found(case):
    log_p, labels = case
    found = confident_mistakes(np.exp(log_p), labels, len(labels))
    assert sorted(found.tolist()) == np.flatnonzero(log_p.argmax(axis=1) != labels).tolist()
    assert (np.diff(log_p[found].max(axis=1)) <= 0).all()


@given(case=answers())
def test_the_order_falls_and_the_confusion_counts_every_image(case):
    logits, labels = case
    found = easy_and_hard(MODEL, logits, labels)
    assert (np.diff(found.accuracy.mean[found.order]) <= 0).all()
    assert sorted(found.order.tolist()) == sorted(set(labels.tolist()))
    assert found.confusion.sum() == len(labels)
    np.testing.assert_array_equal(found.confusion.sum(axis=1), found.accuracy.n)


@pytest.mark.parametrize("function", [easy_and_hard, hardest_examples, most_confident_mistakes])
def test_the_model_is_left_alone_and_evaluated(function):
    rng = np.random.default_rng(0)
    model = disturbed(Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)))
    rows, labels = rng.random((9, 4)).astype(np.float32), rng.integers(0, 3, 9)
    with left_untouched(model):
        first, second = (function(model, rows, labels) for _ in "ab")
    np.testing.assert_equal(first, second)  # no dropout


@pytest.mark.parametrize("function", [easy_and_hard, hardest_examples, most_confident_mistakes])
@pytest.mark.parametrize(
    "images, labels, error, message",
    [
        (LOGITS, LABELS[:3], ValueError, r"labels must have shape \(5,\), got \(3,\)"),
        (LOGITS, LABELS + 1, ValueError, "labels must be in 0 ... 2, got 3"),
        (LOGITS, LABELS / 2, TypeError, "must be integers"),
        (LOGITS, LABELS[:, np.newaxis], ValueError, r"labels must have shape \(5,\), got \(5, 1\)"),
        (LOGITS[:0], LABELS[:0], ValueError, "images must not be empty"),
        (np.full((5, 3), np.nan), LABELS, ValueError, "NaN|finite"),
    ],
)
def test_bad_input_is_refused(function, images, labels, error, message):
    with pytest.raises(error, match=message):
        function(MODEL, images, labels)


@pytest.mark.parametrize("function", [hardest_examples, most_confident_mistakes])
def test_k_must_be_a_positive_integer(function):
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        function(MODEL, LOGITS, LABELS, 0)
    with pytest.raises(TypeError, match="k must be an integer"):
        function(MODEL, LOGITS, LABELS, 1.5)


def test_a_model_that_is_no_module_is_refused():
    with pytest.raises(TypeError, match="model must be a Module"):
        easy_and_hard(np.sum, LOGITS, LABELS)
