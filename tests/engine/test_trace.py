"""The graph of a tensor, as a list that other code can walk."""

import numpy as np
import pytest

from minidl import Tensor, no_grad
from minidl.engine import trace
from minidl.nn import Linear, Parameter, Sequential
from minidl.train.optim import SGD

# ---- graph


def test_the_graph_lists_each_tensor_once_after_its_inputs():
    x, w = Tensor([1.0], requires_grad=True), Tensor([2.0], requires_grad=True)
    product = x * w
    y = (product + x).tanh()
    nodes = trace.graph(y)
    assert [node.op for node in nodes][-2:] == ["Add", "Tanh"]
    assert nodes[-1].tensor is y
    numbers = {node.tensor: i for i, node in enumerate(nodes)}
    assert len(numbers) == len(nodes) == 5
    assert nodes[numbers[product]].inputs == (numbers[x], numbers[w])
    assert nodes[numbers[product]].op == "Mul"
    assert nodes[-2].inputs == (numbers[product], numbers[x])
    assert (nodes[numbers[x]].op, nodes[numbers[x]].inputs) == ("", ())
    assert all(max(node.inputs, default=-1) < i for i, node in enumerate(nodes))


def test_constants_are_in_the_graph_too_and_a_tensor_without_graph_stands_alone():
    x = Tensor([1.0], requires_grad=True)
    nodes = trace.graph(x * 3)
    assert sorted(node.tensor.item() for node in nodes) == [1, 3, 3]
    with no_grad():
        assert [node.op for node in trace.graph(x * 3)] == [""]


# ---- versions of parameters


def loss_of(weight):
    return (weight * weight).sum()


def test_backward_after_an_optimizers_step_on_the_same_graph_is_refused():
    weight = Parameter([1.0, 2.0])
    loss = loss_of(weight)
    loss.backward()
    loss.backward()
    SGD([weight], lr=0.1).step()
    with pytest.raises(ValueError, match="input 0 of Mul was changed after the forward pass"):
        loss.backward()
    loss_of(weight).backward()


def test_backward_after_load_state_dict_is_refused():
    model = Sequential({"fc": Linear(2, 1)})
    loss = model(np.ones((1, 2), np.float32)).sum()
    model.load_state_dict(model.state_dict())
    with pytest.raises(ValueError, match=r"of Linear was changed after the forward pass.*'fc.weight'"):
        loss.backward()
    assert model.layer("fc").weight.grad is None
