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


rng = np.random.default_rng(5)
IMAGES, ROWS, LABELS = rng.normal(size=(2, 4, 5, 6)), rng.normal(size=(5, 4)), np.array([1, 0, -100, 3, 2])
FAMILIES = {
    "silu": (F.silu, ROWS),
    "hardswish": (lambda x: F.hardswish(3 * x), ROWS),
    "hardsigmoid": (lambda x: F.hardsigmoid(3 * x), ROWS),
    "elu": (lambda x: F.elu(x, 0.5), ROWS),
    "softplus": (lambda x: F.softplus(x, 3.0, 2.0), np.where(np.abs(ROWS - 2 / 3) < 0.01, 1.0, ROWS)),
    "gelu by tanh": (lambda x: F.gelu(x, "tanh"), ROWS),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (5, 6), w, b), IMAGES, IMAGES[0, 0], IMAGES[0, 1]),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), IMAGES, ROWS[0], ROWS[1]),
    "nearest": (lambda x: F.interpolate(x, (7, 4)), IMAGES),
    "bilinear": (lambda x: F.interpolate(x, scale_factor=1.4, mode="bilinear"), IMAGES),
    "bilinear to the corners": (
        lambda x: F.interpolate(x, (3, 8), mode="bilinear", align_corners=True),
        IMAGES,
    ),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (2, 4)), IMAGES),
    "max_pool2d beyond the image": (lambda x: F.max_pool2d(x, 2, ceil_mode=True), IMAGES),
    "avg_pool2d without padding": (lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), IMAGES),
    "conv2d of the same size": (lambda x: F.conv2d(x, IMAGES[:, :, :3, :3], padding="same"), IMAGES),
    "dropout2d": (lambda x: F.dropout2d(x, 0.5, rng=np.random.default_rng(1)), IMAGES),
    "cross_entropy, one ignored": (lambda z: F.cross_entropy(z, LABELS, label_smoothing=0.1), ROWS),
    "nll_loss, one ignored": (lambda z: F.nll_loss(z, LABELS, [1.0, 2.0, 3.0, 4.0]), ROWS),
    "l1_loss": (F.l1_loss, ROWS, ROWS[::-1] + 0.3),
    "smooth_l1_loss": (
        lambda a, b: F.smooth_l1_loss(a, b, beta=0.7, reduction="sum"),
        ROWS,
        ROWS[::-1] + 0.3,
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_finite_differences_agree_with_the_gradients_of(name):
    function, *inputs = FAMILIES[name]
    gradcheck(function, *inputs)


def test_an_image_is_enlarged_by_hand():
    image = np.array([[[[0.0, 4.0]]]])
    assert F.interpolate(image, scale_factor=2).data.tolist() == [[[[0, 0, 4, 4], [0, 0, 4, 4]]]]
    assert F.interpolate(image, (1, 4), mode="bilinear").data.tolist() == [[[[0, 1, 3, 4]]]]
    corners = F.interpolate(image, (1, 5), mode="bilinear", align_corners=True)
    assert corners.data.tolist() == [[[[0, 1, 2, 3, 4]]]]
    assert F.adaptive_avg_pool2d(np.array([[[[1.0, 3.0, 8.0]]]]), (1, 2)).data.tolist() == [[[[2, 5.5]]]]


def test_the_edge_of_an_image_counts_as_the_settings_say():
    image = np.array([[[[1.0, 2.0, 9.0]]]])
    assert F.max_pool2d(image, (1, 2)).data.tolist() == [[[[2]]]]
    assert F.max_pool2d(image, (1, 2), ceil_mode=True).data.tolist() == [[[[2, 9]]]]
    assert F.avg_pool2d(image, (1, 2), ceil_mode=True).data.tolist() == [[[[1.5, 9]]]]
    assert F.avg_pool2d(image, (1, 2), 1, (0, 1)).data.tolist() == [[[[0.5, 1.5, 5.5, 4.5]]]]
    kept = F.avg_pool2d(image, (1, 2), 1, (0, 1), count_include_pad=False)
    assert kept.data.tolist() == [[[[1, 1.5, 5.5, 9]]]]


def test_a_layer_norm_and_a_group_norm_by_hand():
    assert F.layer_norm(np.array([[1.0, 3.0]]), 2, [2.0, 2.0], [1.0, 0.0], eps=0.0).data.tolist() == [[-1, 2]]
    x = np.array([[[1.0], [3.0], [5.0], [5.5]]])
    assert F.group_norm(x, 2, eps=0.0).data.ravel().tolist() == [-1, 1, -1, 1]
    assert F.layer_norm(np.array([[4.0]]), 1).data.tolist() == [[0]]


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss])
def test_an_array_beside_a_float64_tensor_is_not_rounded_to_float32(loss):
    wide, array = Tensor(np.array([0.1])), np.array([0.1 + 2e-9])  # float32 rounds 0.1 by 1.5e-9
    exact = {"mse_loss": 4e-18, "l1_loss": 2e-9, "smooth_l1_loss": 2e-18}[loss.__name__]
    for pair in ((wide, array), (array, wide)):
        assert math.isclose(loss(*pair).item(), exact, rel_tol=1e-6)
    assert loss(np.array([0.5]), np.array([2.0])).dtype == np.float32  # arrays alone are float32


@pytest.mark.parametrize("size", [1e13, 2e19, 3e38])
def test_gelu_by_tanh_is_x_or_0_far_out_with_slope_1_or_0(size):
    x = Tensor(np.float32([size, -size]), requires_grad=True)
    y = F.gelu(x, approximate="tanh")
    y.sum().backward()
    assert y.data.tolist() == [np.float32(size), 0] and x.grad.tolist() == [1, 0]


@pytest.mark.parametrize("beta", [0.0, 5e-324, 1e-46, 1e-30])
def test_a_smooth_l1_loss_of_a_tiny_beta_is_the_l1_loss(beta):
    x = Tensor([0.0, 1.0, -2.0], requires_grad=True)
    loss = F.smooth_l1_loss(x, np.zeros(3), reduction="sum", beta=beta)
    loss.backward()
    assert loss.item() == 3 and x.grad.tolist() == [0, 1, -1]
