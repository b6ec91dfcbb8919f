"""A gradient that a mask cuts off is selected: an infinite or NaN gradient outside the mask becomes 0."""

import numpy as np
import pytest

import minidl
from minidl import Tensor
from minidl.compress.fused import ConvReLU2d, recast
from minidl.engine.elementwise import backprop_rule
from minidl.engine.gradcheck import GradcheckError, gradcheck
from minidl.explain.gradients import deconvnet_rule, guided_rule
from minidl.nn import Conv2d
from minidl.nn import functional as F

BRANCHES = {
    "relu": lambda x: x.relu(),
    "clip": lambda x: x.clip(0, 9),
    "maximum": lambda x: minidl.maximum(x, 0),
    "minimum": lambda x: -minidl.minimum(-x, 0),
    "where": lambda x: minidl.where(x > 0, x, 0),
}
STEEP = {  # each function with its slope at 4; its slope at 0 is infinite
    "sqrt": (lambda y: y.sqrt(), 0.25),
    "log": (lambda y: y.log(), 0.25),
    "power": (lambda y: y**0.5, 0.25),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("steep", STEEP)
@pytest.mark.parametrize("branch", BRANCHES)
def test_an_infinite_gradient_does_not_pass_a_closed_branch(branch, steep):
    x = Tensor([-1.0, 4.0], requires_grad=True)
    function, slope = STEEP[steep]
    function(BRANCHES[branch](x)).sum().backward()
    np.testing.assert_allclose(x.grad, [0.0, slope])


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_the_compiled_relu_selects_too():
    x = Tensor(np.tile(np.float32([-1.0, 4.0]), (64, 4096)), requires_grad=True)
    x.relu().sqrt().sum().backward()
    np.testing.assert_array_equal(x.grad, np.tile(np.float32([0.0, 0.25]), (64, 4096)))


@pytest.mark.parametrize("rule", [backprop_rule, deconvnet_rule, guided_rule])
def test_the_rules_for_relu_select(rule):
    grad, x = np.float32([np.inf, -np.inf, np.nan, 2.0, np.inf]), np.float32([-1.0, -1.0, -1.0, 3.0, 3.0])
    with np.errstate(invalid="raise"):
        passed = rule(grad, x)
    closed = [np.inf, 0, 0] if rule is deconvnet_rule else [0, 0, 0]
    np.testing.assert_array_equal(passed, [*closed, 2.0, np.inf])
    assert passed.dtype == np.float32


def test_a_leaky_relu_of_slope_0_is_a_relu():
    x = Tensor([-np.inf, -1.0, 4.0], requires_grad=True)
    y = x.leaky_relu(0.0)
    assert y.data.tolist() == [0, 0, 4]
    y.backward(np.float32([np.inf, np.nan, np.inf]))
    assert x.grad.tolist() == [0, 0, np.inf]


def test_a_power_without_slope_passes_no_infinite_gradient():
    x = Tensor([2.0, 0.0], requires_grad=True)
    (x**0).backward(np.float32([np.inf, np.nan]))
    assert x.grad.tolist() == [0, 0]
    exponent = Tensor([1.0, 2.0], requires_grad=True)
    (0**exponent).backward(np.float32([np.inf, np.nan]))
    assert exponent.grad.tolist() == [0, 0]


@pytest.mark.parametrize("function", [minidl.maximum, minidl.minimum])
def test_nan_gets_the_whole_gradient_of_an_extremum_of_two(function):
    a, b = (
        Tensor([np.nan, 1.0, np.nan], requires_grad=True),
        Tensor([1.0, np.nan, np.nan], requires_grad=True),
    )
    function(a, b).sum().backward()
    assert a.grad.tolist() == [1, 0, 0.5] and b.grad.tolist() == [0, 1, 0.5]


@pytest.mark.parametrize("extremum", ["max", "min"])
def test_only_the_winners_of_an_extremum_get_an_infinite_gradient(extremum):
    x = Tensor([[1.0, 2.0, 2.0], [5.0, 4.0, 3.0]], requires_grad=True)
    getattr(x, extremum)(axis=1).backward(np.float32([np.inf, 1.0]))
    winners = {"max": [[0, np.inf, np.inf], [1, 0, 0]], "min": [[np.inf, 0, 0], [0, 0, 1]]}
    np.testing.assert_array_equal(x.grad, winners[extremum])


def test_dropout_sends_nothing_to_what_it_dropped():
    x = Tensor(np.ones(1000), requires_grad=True)
    y = F.dropout(x, 0.5, rng=np.random.default_rng(0))
    y.backward(np.full(1000, np.inf, np.float64))
    np.testing.assert_array_equal(x.grad, np.where(y.data == 0, 0, np.inf))


def test_dropout_drops_infinities_and_keeps_the_scale_of_the_rest():
    y = F.dropout(Tensor(np.full(1000, np.inf, np.float32)), 0.25, rng=np.random.default_rng(0))
    assert set(y.data) == {0.0, np.inf}
    z = F.dropout(Tensor(np.full(1000, 3, np.float32)), 0.25, rng=np.random.default_rng(0))
    assert set(z.data) == {0.0, 4.0}


def test_max_pooling_sends_an_infinite_gradient_to_its_switch_alone():
    x = Tensor(np.float32([[[[1, 2], [3, 4]]]]), requires_grad=True)
    F.max_pool2d(x, 2).backward(np.full((1, 1, 1, 1), np.inf, np.float32))
    np.testing.assert_array_equal(x.grad, [[[[0, 0], [0, np.inf]]]])


def test_a_convolution_with_its_relu_selects():
    layer = Conv2d(1, 1, 1, bias=False)
    layer.weight.data = np.ones((1, 1, 1, 1), np.float32)
    x = Tensor(np.float32([[[[-1.0, 4.0]]]]), requires_grad=True)
    recast(layer, ConvReLU2d)(x).backward(np.float32([[[[np.inf, 1.0]]]]))
    np.testing.assert_array_equal(x.grad, [[[[0.0, 1.0]]]])


def test_a_power_of_zero_falls_infinitely_for_a_negative_exponent():
    x = Tensor([-2.0, -1.0, 0.0, 1.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        (0**x).sum().backward()
    np.testing.assert_array_equal(x.grad, [-np.inf, -np.inf, 0.0, 0.0])  # as PyTorch


def test_gradcheck_names_a_gradient_that_is_not_a_number():
    def nan_slope(x):
        return minidl.where(np.zeros(2, bool), x, 1.0) + (x - x.detach()) * Tensor([np.nan, 0.0]).detach()

    with pytest.raises(GradcheckError, match="not finite"):
        gradcheck(nan_slope, np.array([1.0, 2.0]))

    class NanBackward(minidl.engine.op.Op):
        def forward(self, x):
            return np.zeros_like(x)

        def backward(self, grad):
            return np.full_like(grad, np.nan)

    with pytest.raises(GradcheckError, match="got nan from backward"):
        gradcheck(lambda x: minidl.engine.tensor.apply(NanBackward(), x), np.array([1.0, 2.0]))


SHUT = {  # functions that are 0 at -4, or in a window, with the input and the right gradient of their sqrt
    "hardswish": (F.hardswish, [-4.0, 4.0], [0.0, 0.25]),
    "relu6": (F.relu6, [-4.0, 4.0], [0.0, 0.25]),
    "hardsigmoid": (lambda x: F.hardsigmoid(x) * 4, [-4.0, 4.0], [0.0, 0.0]),
    "pooling": (lambda x: F.adaptive_avg_pool2d(x.reshape(1, 1, 1, 3), (1, 2)), [0.0, 0.0, 4.0], None),
    "bilinear": (lambda x: F.interpolate(x.reshape(1, 1, 1, 4), (1, 2), mode="bilinear"), [0, 0, 1, 7], None),
}


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("name", SHUT)
def test_an_infinite_gradient_stays_in_its_branch_or_window(name):
    function, values, slopes = SHUT[name]
    x = Tensor(values, requires_grad=True)
    function(x).sqrt().sum().backward()
    if slopes is None:  # the last window: it has mean 2 or 4, of two pixels
        mean = {"pooling": 2, "bilinear": 4}[name]
        assert np.isinf(x.grad[0]) and x.grad[-1] == np.float32(1 / (2 * np.sqrt(mean)) / 2)
    else:
        np.testing.assert_allclose(x.grad, slopes)


def test_a_pixel_of_weight_0_is_not_read():
    x = np.float32([[[[1.0, np.inf, 3.0, np.nan]]]])
    y = F.interpolate(x, (1, 7), mode="bilinear", align_corners=True)  # every second place is a pixel
    assert y.data[0, 0, 0, [0, 4]].tolist() == [1, 3]


def test_a_loss_of_near_predictions_passes_an_infinite_gradient_with_its_sign():
    x = Tensor([0.5, -0.5], requires_grad=True)
    F.smooth_l1_loss(x, [0.0, 0.0], reduction="none").backward(np.float32([np.inf, np.inf]))
    assert x.grad.tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize("size", [1e10, 1e30, 3e38, np.inf])
@pytest.mark.parametrize("function", [F.silu, F.hardswish, F.gelu, lambda x: F.gelu(x, "tanh")])
def test_far_from_0_the_slope_is_1_or_0_without_nan(function, size):
    x = Tensor([size, -size], requires_grad=True)
    with np.errstate(over="ignore", invalid="raise"):
        y = function(x)
        y.sum().backward()
    assert y.data[0] == np.float32(size) and abs(y.data[1]) == 0 and x.grad.tolist() == [1, 0]


def test_the_slope_of_0_over_a_tiny_number_is_a_number():
    b = Tensor(np.float32([1e-40, 1e-30]), requires_grad=True)
    with np.errstate(invalid="raise"):
        (Tensor([0.0, 1e-30]) / b).sum().backward()
    assert b.grad.tolist() == [0, -np.float32(1) / np.float32(1e-30)]
