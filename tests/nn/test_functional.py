"""nn.functional: values by hand and conventions; the operations themselves are tested with the engine."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl import Tensor, gradcheck

LOG2, LOG3, LOG4 = math.log(2), math.log(3), math.log(4)


def test_softmax_by_hand_and_with_temperature():
    assert np.allclose(F.softmax([0.0, LOG3]).data, [0.25, 0.75])
    assert np.allclose(F.softmax([0.0, 2 * LOG3], temperature=2.0).data, [0.25, 0.75])
    assert np.allclose(F.log_softmax([0.0, LOG3]).data, [-LOG4, LOG3 - LOG4])


def test_integers_mean_the_same_as_floats():
    z = np.array([[1, 0, 2]])
    for function in (
        lambda x: F.softmax(x, temperature=0.5),
        lambda x: F.log_softmax(x, temperature=3.0),
        lambda x: F.cross_entropy(x, [1], label_smoothing=0.3),
        lambda x: F.mse_loss(x, x / 2),
        lambda x: F.leaky_relu(-x, 0.3),
        F.gelu,
    ):
        got = function(z)
        assert got.dtype == np.float32
        assert np.allclose(got.data, function(z.astype(np.float32)).data)


def test_cross_entropy_by_hand():
    z = np.array([[0.0, 0.0], [0.0, LOG3]], np.float32)  # p = (1/2, 1/2) and (1/4, 3/4)
    labels = np.array([0, 0])
    assert np.allclose(F.cross_entropy(z, labels, reduction="none").data, [LOG2, LOG4])
    assert np.isclose(F.cross_entropy(z, labels).item(), 1.5 * LOG2)
    assert np.isclose(F.cross_entropy(z, labels, reduction="sum").item(), 3 * LOG2)


def test_label_smoothing_spreads_its_share_over_all_classes():
    z, labels = np.array([[0.0, LOG3]], np.float32), [1]
    # target (0.1, 0.9) for a smoothing of 0.2 over two classes
    assert np.isclose(
        F.cross_entropy(z, labels, label_smoothing=0.2).item(), 0.1 * LOG4 + 0.9 * (LOG4 - LOG3)
    )


def test_class_weights_divide_by_the_weights_of_the_labels():
    z, labels = np.zeros((3, 2), np.float32), np.array([0, 1, 1])
    z[0] = [0.0, LOG3]
    assert np.isclose(F.cross_entropy(z, labels, [3.0, 1.0]).item(), (3 * LOG4 + 2 * LOG2) / 5)


def test_rows_of_probabilities_are_targets():
    z = np.array([[0.0, LOG3]], np.float32)
    assert np.isclose(F.cross_entropy(z, [[0.5, 0.5]]).item(), LOG4 - LOG3 / 2)


def test_labels_may_be_a_tensor_a_list_or_an_array():
    z = np.array([[1.0, 2.0]], np.float32)
    losses = [F.cross_entropy(z, labels).item() for labels in ([1], np.array([1]), Tensor(np.array([1])))]
    assert losses[0] == losses[1] == losses[2]


def test_mse_by_hand():
    a, b = [[1.0, 2.0]], [[3.0, 5.0]]
    assert F.mse_loss(a, b).item() == 6.5
    assert F.mse_loss(a, b, reduction="sum").item() == 13
    assert F.mse_loss(a, b, reduction="none").data.tolist() == [[4, 9]]


def test_one_hot_by_hand():
    assert F.one_hot([2, 0], 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert F.one_hot([2, 0], 3).dtype == np.float32


def test_pad_counts_from_the_last_axis_as_pytorch_does():
    x = np.ones((1, 2), np.float32)
    assert F.pad(x, (1, 0)).data.tolist() == [[0, 1, 1]]
    assert F.pad(x, (0, 1, 1, 0), value=5.0).data.tolist() == [[5, 5, 5], [1, 1, 5]]
    assert np.array_equal(F.pad(x, (0, 1, 1, 0)).data, minidl.pad(x, [(1, 0), (0, 1)]).data)


def test_linear_takes_any_leading_axes():
    x, weight = np.ones((2, 3, 4), np.float32), np.ones((5, 4), np.float32)
    assert F.linear(x, weight).data.tolist() == np.full((2, 3, 5), 4.0).tolist()
    assert F.linear(x, weight, np.arange(5.0)).data[1, 2].tolist() == [4, 5, 6, 7, 8]


def test_batch_norm_moves_the_running_arrays_in_place():
    mean, var = np.zeros(1, np.float32), np.ones(1, np.float32)
    F.batch_norm(np.array([[1.0], [3.0]], np.float32), mean, var, training=True, momentum=0.5)
    assert mean.tolist() == [1.0] and var.tolist() == [1.5]  # 2/2, (1 + 2)/2
    y = F.batch_norm(np.array([[1.0]], np.float32), mean, var, eps=0.0)
    assert y.data.tolist() == [[0.0]] and mean.tolist() == [1.0]


def test_batch_norm_in_training_needs_no_running_arrays():
    y = F.batch_norm(np.array([[1.0], [3.0]], np.float32), None, None, training=True, eps=0.0)
    assert y.data.tolist() == [[-1.0], [1.0]]


@given(seed=st.integers(0, 5))
def test_what_is_composed_here_has_the_gradient_of_finite_differences(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    gradcheck(lambda x: F.dropout(x, 0.5, rng=np.random.default_rng(7)), x)
    gradcheck(F.mse_loss, x, y)
    gradcheck(lambda x: F.pad(x, (1, 0, 0, 2), value=3.0), x)
    gradcheck(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), x, y[0], y[1])
    gradcheck(lambda x, w, b: F.batch_norm(x, y[0], y[1] ** 2 + 0.1, w, b), x, y[0], y[1])
    gradcheck(lambda x: F.adaptive_avg_pool2d(x.reshape(1, 3, 2, 2)), x)


@pytest.mark.parametrize("temperature", [1e-3, 1.0, 1e3])
def test_softmax_of_huge_logits_is_finite_and_sums_to_one(temperature):
    z = np.array([[1e4, -1e4, 9999.0]], np.float32)
    p = F.softmax(z, temperature=temperature).data
    assert np.isfinite(p).all() and np.isclose(p.sum(), 1)
    assert np.isfinite(F.cross_entropy(z, [1], temperature=temperature).item())
