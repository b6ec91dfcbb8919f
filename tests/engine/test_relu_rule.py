"""relu_rule swaps how ReLU runs backward: for every ReLU, for nothing else, and only inside its block."""

import numpy as np
import pytest

import minidl.nn.functional as F
from minidl import Tensor, apply, grad, relu_rule
from minidl.engine.elementwise import ReLU
from minidl.nn import ReLU as ReLULayer

X = [-1.0, 0.0, 2.0]


def tripled(grad, x):
    return 3 * grad


def slope(function, values=X):
    x = Tensor(values, requires_grad=True)
    return grad(function(x).sum(), x).tolist()


@pytest.mark.parametrize("relu", [Tensor.relu, F.relu, ReLULayer(), lambda x: apply(ReLU(), x)])
def test_the_rule_covers_method_function_module_and_op_alike(relu):
    with relu_rule(tripled):
        assert slope(relu) == [3, 3, 3]
    assert slope(relu) == [0, 0, 1]


def test_the_rule_gets_the_incoming_gradient_and_the_relus_input():
    seen = []

    def rule(grad, x):
        seen.append((grad.tolist(), x.tolist()))
        return grad

    with relu_rule(rule):
        slope(lambda x: x.relu() * [5.0, 6.0, 7.0])
    assert seen == [([5, 6, 7], X)]


def test_nothing_else_is_touched():
    with relu_rule(tripled):
        assert slope(lambda x: x.leaky_relu(0.5)) == [0.5, 0.5, 1]
        assert slope(lambda x: x.clip(0, None)) == [0, 1, 1]
        assert slope(abs) == [-1, 0, 1]
        assert slope(lambda x: F.gelu(x) * 0) == [0, 0, 0]
        assert Tensor(X).relu().data.tolist() == [0, 0, 2]  # nor the forward pass


def test_the_rule_is_bound_when_forward_runs():
    x = Tensor(X, requires_grad=True)
    before = x.relu().sum()
    with relu_rule(tripled):
        inside = x.relu().sum()
        assert grad(before, x).tolist() == [0, 0, 1]
    assert grad(inside, x).tolist() == [3, 3, 3]


def test_rules_nest_and_end_with_an_exception():
    with relu_rule(tripled):
        with relu_rule(lambda grad, x: grad * 10):
            assert slope(Tensor.relu) == [10, 10, 10]
        assert slope(Tensor.relu) == [3, 3, 3]
        with pytest.raises(RuntimeError), relu_rule(lambda grad, x: grad * 10):
            raise RuntimeError
        assert slope(Tensor.relu) == [3, 3, 3]
    assert slope(Tensor.relu) == [0, 0, 1]


def test_a_rule_of_the_wrong_shape_or_kind_is_refused():
    with (
        pytest.raises(TypeError, match=r"rule must be a function of \(grad, x\), got 'guided'"),
        relu_rule("guided"),
    ):
        pass
    with (
        pytest.raises(ValueError, match=r"relu_rule's <lambda>\(grad, x\) gave a gradient of shape \(1,\)"),
        relu_rule(lambda grad, x: grad[:1]),
    ):
        slope(Tensor.relu)
    gave = {
        "a gradient of shape .* dtype float64": np.ones(3),
        "None, expected": None,
        "True": True,
        "3 gradients for 1": X,
    }
    for what, value in gave.items():
        message = rf"relu_rule's <lambda>\(grad, x\) gave {what}"
        with pytest.raises(ValueError, match=message), relu_rule(lambda grad, x, value=value: value):
            slope(Tensor.relu)


@pytest.mark.parametrize("argument", [0, 1])
def test_a_rule_cannot_write_into_what_it_is_given(argument):
    def writes(*given):
        given[argument][...] = 1
        return given[0]

    array = np.float32([-1, 2])
    x = Tensor(array, requires_grad=True)
    with pytest.raises(ValueError, match="read-only"), relu_rule(writes):
        grad((x.relu() * 3).sum(), x)
    assert array.tolist() == [-1, 2]


def test_a_block_around_backward_alone_is_refused():
    x = Tensor(X, requires_grad=True)
    y = (x.relu() * 2).sum()
    with (
        pytest.raises(ValueError, match="no ReLU ran forward inside this relu_rule block"),
        relu_rule(tripled),
    ):
        y.backward()
    assert x.grad is None
    y.backward()
    assert x.grad.tolist() == [0, 0, 2]


def test_grad_and_a_graph_of_another_block_are_refused_as_well():
    x = Tensor(X, requires_grad=True)
    with relu_rule(tripled):
        y = ReLULayer()(x).sum()
        assert grad(y, x).tolist() == [3, 3, 3]
    with pytest.raises(ValueError, match="run the forward pass inside the block"), relu_rule(np.add):
        grad(y, x)
    with relu_rule(tripled):  # here the same rule is used
        assert grad(y, x).tolist() == [3, 3, 3]


def test_a_large_relu_is_refused_as_a_small_one():
    x = Tensor(np.ones((64, 8192), np.float32), requires_grad=True)
    y = x.relu().sum()
    with pytest.raises(ValueError, match="no ReLU ran forward"), relu_rule(tripled):
        y.backward()


def test_a_block_without_any_relu_gives_the_ordinary_gradient():
    with relu_rule(tripled):
        assert slope(lambda x: x * 2) == [2, 2, 2]
