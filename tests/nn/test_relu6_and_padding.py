"""ReLU6, zeros around an image, and the sum around a row of layers."""

import numpy as np
import pytest

import minidl.nn as nn
import minidl.nn.functional as F
from minidl import Tensor, apply, grad, gradcheck, relu_rule
from minidl.engine.elementwise import ReLU6
from minidl.explain.gradients import deconvnet_rule, guided_rule

X = [-1.0, 0.0, 2.0, 6.0, 7.0]
every_form = pytest.mark.parametrize("relu6", [F.relu6, nn.ReLU6(), lambda x: apply(ReLU6(), x)])


def slope(function, upstream=1.0):
    x = Tensor(X, requires_grad=True)
    return grad((function(x) * upstream).sum(), x).tolist()


@every_form
def test_values_lie_between_0_and_6_and_the_slope_is_0_at_both(relu6):
    assert relu6(Tensor(X)).data.tolist() == [0, 0, 2, 6, 6]
    assert relu6(Tensor(X)).dtype == np.float32
    assert slope(relu6) == [0, 0, 1, 0, 0]


@every_form
def test_a_rule_is_obeyed_and_need_not_know_of_6(relu6):
    seen = []

    def rule(grad, x):
        seen.append(grad.tolist())
        return grad

    with relu_rule(rule):
        assert slope(relu6, 3.0) == [3, 3, 3, 0, 0]
    assert seen == [[3, 3, 3, 0, 0]]
    with relu_rule(guided_rule):
        assert slope(relu6, [1.0, 1, -1, 1, 1]) == [0, 0, 0, 0, 0]
    with relu_rule(deconvnet_rule):
        assert slope(relu6, [1.0, -1, 1, 1, 1]) == [1, 0, 1, 0, 0]


def test_an_infinite_gradient_does_not_pass_where_the_slope_is_0():
    x = Tensor([7.0, 4.0], requires_grad=True)
    assert grad(((6 - F.relu6(x)).sqrt()).sum(), x)[0] == 0  # the square root has an infinite slope at 0


def test_the_slope_is_the_difference_quotient():
    gradcheck(F.relu6, np.array([[-2.0, 0.5, 5.0, 8.0]]))


def test_zeros_stand_on_the_sides_that_pytorch_counts():
    x = np.ones((1, 1, 2, 3), np.float32)
    y = nn.ZeroPad2d((1, 2, 3, 0))(x).data[0, 0]
    assert y.shape == (5, 6)
    assert y[3:, 1:4].all() and y.sum() == 6
    assert nn.ZeroPad2d(2)(x).shape == (1, 1, 6, 7)
    assert repr(nn.ZeroPad2d(1)) == "ZeroPad2d((1, 1, 1, 1))"


@pytest.mark.parametrize(
    "padding, error", [(-1, ValueError), ((1, 2), ValueError), ("1", TypeError), ((1, 2, True, 0), TypeError)]
)
def test_a_wrong_padding_is_refused_by_name(padding, error):
    with pytest.raises(error, match="padding"):
        nn.ZeroPad2d(padding)


def test_only_images_get_a_margin():
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        nn.ZeroPad2d(1)(np.zeros((2, 3)))


def test_skip_adds_its_input_to_what_its_children_make_of_it():
    layer = nn.Conv2d(2, 2, 1, rng=np.random.default_rng(0))
    x = np.random.default_rng(1).random((1, 2, 3, 3), np.float32)
    skip = nn.Skip({"_conv": layer})
    np.testing.assert_array_equal(skip(x).data, layer(x).data + x)
    assert [key for key, _ in skip.named_parameters()] == ["_conv.weight", "_conv.bias"]
    assert isinstance(skip[:1], nn.Skip)


def test_skip_refuses_children_that_change_the_shape():
    with pytest.raises(ValueError, match="must be equal"):
        nn.Skip(nn.Conv2d(2, 3, 1))(np.zeros((1, 2, 3, 3)))
