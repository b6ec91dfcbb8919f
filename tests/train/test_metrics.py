"""Metrics by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl.nn as nn
from minidl.train import accuracy, confusion_matrix, evaluate, per_class_accuracy, predict, roc_auc
from minidl.train.intervals import wilson_interval

LOGITS = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 1.0, 5.0], [9.0, 0.0, 0.0]])  # classes 0, 1, 2, 0
LABELS = np.array([0, 1, 1, 0])


def test_accuracy_by_hand():
    assert accuracy(LOGITS, LABELS) == 0.75
    assert accuracy([0, 1, 2, 0], LABELS) == 0.75
    assert accuracy(LOGITS, np.eye(3)[LABELS]) == 0.75
    assert isinstance(accuracy(LOGITS, LABELS), float)


def test_the_confusion_matrix_has_the_true_class_as_its_row():
    expected = [[2, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert confusion_matrix(LOGITS, LABELS).tolist() == expected
    assert confusion_matrix([0, 1, 2, 0], LABELS).tolist() == expected
    assert confusion_matrix([0, 1], [0, 1], num_classes=3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_per_class_accuracy_is_recall_with_wilsons_interval():
    result = per_class_accuracy(LOGITS, LABELS)
    assert result.n.tolist() == [2, 2, 0]
    assert result.mean[:2].tolist() == [1.0, 0.5] and np.isnan(result.mean[2])
    for i, right in enumerate([2, 1]):
        one = wilson_interval(right, 2)
        assert (result.low[i], result.high[i]) == (one.low, one.high)
    assert (result.low[2], result.high[2]) == (0, 1)


pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(pairs)
def test_the_mean_of_the_recalls_weighted_by_count_is_the_accuracy(pairs):
    predicted, labels = np.array(pairs).T
    recalls = per_class_accuracy(predicted, labels, num_classes=4)
    seen = recalls.n > 0
    assert np.isclose(
        (recalls.mean[seen] * recalls.n[seen]).sum() / recalls.n.sum(), accuracy(predicted, labels)
    )


@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    a, b = (confusion_matrix(*np.array(p).T, num_classes=4) for p in (pairs, shuffled))
    assert np.array_equal(a, b) and a.sum() == len(pairs)


def test_predict_gives_all_logits_whatever_the_batch_size_and_leaves_the_mode():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2, rng=np.random.default_rng(0)))
    model.layer("1").eval()
    modes, state = [module.training for module in model.modules()], model.state_dict()
    images = np.random.default_rng(1).random((7, 3), np.float32)
    logits = predict(model, images)
    assert isinstance(logits, np.ndarray) and logits.shape == (7, 2)
    for batch_size in (1, 3, 7):
        assert np.allclose(predict(model, images, batch_size), logits, atol=1e-6)
    assert [module.training for module in model.modules()] == modes
    assert all(np.array_equal(state[key], value) for key, value in model.state_dict().items())


def test_predict_restores_the_mode_when_the_model_raises():
    model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2))
    with pytest.raises(ValueError, match="Linear"):
        predict(model, np.zeros((2, 3), np.float32))
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    "attempt, error, message",
    [
        (lambda: accuracy(LOGITS, LABELS[:3]), ValueError, r"got \(4, 3\) and \(3,\)"),
        (lambda: accuracy([], []), ValueError, "predictions and labels must have .* not be empty"),
        (lambda: accuracy(LOGITS, [0, 1, 3, 0]), ValueError, "0 ... 2, got 3 at index 2"),
        (lambda: accuracy(LOGITS, [0, 1, -1, 0]), ValueError, "got -1 at index 2"),
        (
            lambda: accuracy(LOGITS, [0.0, 1.0, 1.0, 0.0]),
            TypeError,
            r"labels \(N,\) must be integers, got float64",
        ),
        (lambda: accuracy(LOGITS * np.nan, LABELS), ValueError, "predictions hold NaN"),
        (lambda: accuracy(LOGITS[None], LABELS[None]), ValueError, r"predictions must have shape \(N, K\)"),
        (lambda: accuracy(1, 1), ValueError, r"\(\)"),
        (lambda: accuracy([[2.0, 1.0, 0.0]], [[0, 1, 1]]), ValueError, "rows .* >= 0 with sum 1"),
        (lambda: accuracy([[2.0, 1.0, 0.0]], [[0, 0, 0]]), ValueError, "rows .* >= 0 with sum 1"),
        (lambda: confusion_matrix([[2.0, 1.0]], [[2.0, -1.0]]), ValueError, "rows .* >= 0 with sum 1"),
        (lambda: accuracy(LOGITS, [[0], [1, 2], [1], [0]]), ValueError, "rows are of different lengths"),
        (lambda: accuracy(["a"], [0]), TypeError, "predictions and labels must be numbers"),
        (lambda: confusion_matrix(LOGITS, LABELS, num_classes=4), ValueError, r"not clear: \[3, 4\]"),
        (lambda: confusion_matrix([2], [0], num_classes=2), ValueError, "got 2 at index 0"),
        (lambda: confusion_matrix([0], [0], num_classes=0), ValueError, "num_classes must be at least 1"),
        (lambda: per_class_accuracy(LOGITS, LABELS, confidence=95), ValueError, "confidence must be"),
        (
            lambda: predict(nn.Identity(), np.zeros((0, 2))),
            ValueError,
            r"images must not be empty, got shape \(0, 2\)",
        ),
        (
            lambda: predict(nn.Identity(), np.float32(3)),
            ValueError,
            r"images must be an array \(N, ...\), got one number",
        ),
        (lambda: predict(nn.Identity(), None), TypeError, "images must be real numbers, got None"),
        (lambda: predict(nn.Identity(), np.zeros((2, 2)), 0), ValueError, "batch_size must be at least 1"),
        (lambda: predict(np.tanh, np.zeros((2, 2))), TypeError, "model must be a Module"),
    ],
)
def test_bad_input_is_refused_in_words(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()


# ---- the area under the ROC curve


def test_auc_by_hand():
    # positives 0.9 and 0.4, negatives 0.5, 0.4, 0.1: in 4 of 6 pairs the positive is higher, and 1 is a tie
    scores, positive = [0.9, 0.5, 0.4, 0.4, 0.1], np.array([True, False, True, False, False])
    assert roc_auc(scores, positive) == 4.5 / 6
    assert isinstance(roc_auc(scores, positive), float)


scored = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=12).filter(
    lambda pairs: len({positive for _, positive in pairs}) == 2
)


@given(scored)
def test_auc_is_the_share_of_pairs_in_which_the_positive_is_higher(pairs):
    wins = [1.0 if s > t else 0.5 if s == t else 0.0 for s, p in pairs for t, q in pairs if p and not q]
    scores, positive = map(np.array, zip(*pairs, strict=True))
    assert roc_auc(scores, positive) == pytest.approx(sum(wins) / len(wins), rel=1e-12)


@given(scored)
def test_auc_goes_by_the_order_alone_and_mirrors(pairs):
    scores, positive = map(np.array, zip(*pairs, strict=True))
    auc = roc_auc(scores, positive)
    assert roc_auc(np.exp(scores / 2), positive) == auc
    assert roc_auc(-scores, positive) == pytest.approx(1 - auc, abs=1e-12)
    assert roc_auc(scores, ~positive) == pytest.approx(1 - auc, abs=1e-12)


def test_auc_of_infinite_scores_is_that_of_their_order():
    assert roc_auc([np.inf, 0.0, -np.inf], np.array([True, False, False])) == 1


def test_auc_tells_large_integers_apart_that_no_float_does():
    assert roc_auc([2**62 + 1, 2**62], [True, False]) == 1
    assert roc_auc([2**62, 2**62 + 1], [True, False]) == 0


@pytest.mark.parametrize(
    "scores, positive, error, message",
    [
        ([0.1, 0.2], [True], ValueError, r"positive must have shape \(2,\), got \(1,\)"),
        ([], [], ValueError, r"scores must not be empty, got shape \(0,\)"),
        ([[0.1, 0.2]], [[True, False]], ValueError, r"scores must have shape \(M,\), got \(1, 2\)"),
        ([0.1, 0.2], [1, 0], TypeError, "positive must be bools, got .* of int64"),
        (["a", "b"], [True, False], TypeError, "scores must be real numbers"),
        ([0.1, 0.2], [True, True], ValueError, "both True and False, got 2 of 2"),
        ([0.1, 0.2], [False, False], ValueError, "both True and False, got 0 of 2"),
        ([np.nan, 0.2], [True, False], ValueError, "scores hold NaN"),
    ],
)
def test_scores_that_part_nothing_are_refused(scores, positive, error, message):
    with pytest.raises(error, match=message):
        roc_auc(scores, positive)


def test_a_model_that_changes_its_input_in_place_leaves_the_images_alone():
    class Moves(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(2, 2)

        def forward(self, x):
            x -= 0.5
            return self.fc(x)

    model, images = Moves(), np.zeros((3, 2), np.float32)
    first = predict(model, images)
    np.testing.assert_array_equal(predict(model, images), first)
    assert not images.any()
    assert evaluate(model, images, [0, 1, 0]) == evaluate(model, images, [0, 1, 0])
