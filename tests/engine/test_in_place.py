"""The operators += -= *= /= **=: a new tensor where a graph is recorded, otherwise the same array changed."""

import operator

import numpy as np
import pytest

import minidl.nn as nn
import minidl.nn.functional as F
from minidl import Tensor, no_grad

OPERATORS = {
    "+=": (operator.iadd, operator.add),
    "-=": (operator.isub, operator.sub),
    "*=": (operator.imul, operator.mul),
    "/=": (operator.itruediv, operator.truediv),
    "**=": (operator.ipow, operator.pow),
}
each = pytest.mark.parametrize("name", OPERATORS)


@each
def test_a_leaf_that_requires_grad_is_not_changed_while_a_graph_is_recorded(name):
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"leaf that requires a gradient.*with no_grad\(\)"):
        OPERATORS[name][0](x, 2.0)
    assert x.data.tolist() == [1, 2] and x.version == 0


@each
def test_outside_of_a_graph_the_same_array_changes_and_the_version_with_it(name):
    in_place, plain = OPERATORS[name]
    x = Tensor([1.0, 2.0], requires_grad=True)
    array, expected = x.data, plain(np.float32([1, 2]), np.float32(3))
    with no_grad():
        y = in_place(x, 3.0)
    assert y is x and x.data is array and x.version == 1 and x.requires_grad
    np.testing.assert_array_equal(array, expected)


@each
def test_where_either_side_requires_grad_a_new_tensor_joins_the_graph(name):
    in_place, plain = OPERATORS[name]
    x, w = Tensor([2.0, 3.0]), Tensor([2.0, 1.5], requires_grad=True)
    y = in_place(x, w)
    assert y is not x and x.data.tolist() == [2, 3] and x.version == 0
    z = in_place(w * 1, 2.0)
    assert z.requires_grad
    (y.sum() + z.sum()).backward()
    reference = Tensor([2.0, 1.5], requires_grad=True)
    (plain(Tensor([2.0, 3.0]), reference).sum() + plain(reference * 1, 2.0).sum()).backward()
    np.testing.assert_array_equal(w.grad, reference.grad)


def test_a_loop_over_parameters_trains_as_in_pytorch():
    model = nn.Linear(2, 1, rng=np.random.default_rng(0))
    x, y = np.float32([[1, 2], [3, -1], [0, 1], [2, 2]]), np.float32([[5], [1], [2], [6]])
    losses = []
    for _ in range(200):
        loss = F.mse_loss(model(x), y)
        model.zero_grad()
        loss.backward()
        with no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
        losses.append(loss.item())
    assert losses[-1] < 1e-4 < losses[0]


def test_a_running_loss_and_a_shortcut_stay_in_the_graph():
    x = Tensor([1.0, -2.0], requires_grad=True)
    total = 0.0
    for factor in (1.0, 2.0, 3.0):
        total += (x * factor).sum()
    out = x * 2
    identity = x
    out += identity
    (total + out.sum()).backward()
    assert x.grad.tolist() == [9, 9]


def test_a_step_in_place_leaves_masked_weights_at_0():
    weight = nn.Parameter(np.float32([1, 0, 3]))
    weight.mask = np.array([True, False, True])
    with no_grad():
        weight += 1
        weight -= np.float32([0, 5, 0])
    assert weight.data.tolist() == [2, 0, 4]


def test_the_callers_array_changes_too_and_a_read_only_one_is_replaced():
    array = np.float32([1, 2])
    t = Tensor(array)
    t += 1
    assert array.tolist() == [2, 3]
    fixed = Tensor(np.broadcast_to(np.float32(1), (2,)))
    fixed *= 5
    assert fixed.data.tolist() == [5, 5] and fixed.version == 1


def test_backward_through_a_value_changed_after_it_was_used_is_refused():
    x = Tensor([2.0], requires_grad=True)
    y = x * x
    with no_grad():
        x += 1
    with pytest.raises(ValueError, match="was changed after the forward pass"):
        y.backward()
    e = Tensor([0.0], requires_grad=True).exp()
    with no_grad():
        e *= 3  # Exp keeps its result for backward
    with pytest.raises(ValueError, match="the result of Exp was changed"):
        e.backward()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Tensor([1.0]), np.ones((3, 1))),
        (Tensor(np.array([1, 2])), 1.5),
        (Tensor(np.array([True])), 1),
    ],
)
def test_what_does_not_fit_in_place_is_refused_with_what_to_write(left, right):
    before = left.data.copy()
    with pytest.raises(ValueError, match=r"does not fit into .* in place: write x = x \+ y"):
        left += right
    assert np.array_equal(left.data, before)


def test_a_float64_value_is_rounded_into_a_float32_tensor():
    t = Tensor([1.0, 2.0])
    t += Tensor(np.array([0.5, 0.5]))
    assert t.dtype == np.float32 and t.data.tolist() == [1.5, 2.5]


def test_a_failed_step_changes_nothing():
    t = Tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="Add of inputs of shape"):
        t += np.ones(3)
    assert t.data.tolist() == [1, 2] and t.version == 0


SHARED = {  # tensors that share the array of x
    "detach": lambda x: x.detach(),
    "index": lambda x: x[0],
    "slice": lambda x: x[:, 1:],
    "reshape": lambda x: x.reshape(-1),
    "transpose": lambda x: x.T,
    "squeeze": lambda x: x.expand_dims(0).squeeze(0),
    "chunk": lambda x: x.chunk(2, 1)[1],
    "several": lambda x: x.detach().reshape(-1)[1:].detach(),
}


@pytest.mark.parametrize("share", SHARED.values(), ids=SHARED)
@pytest.mark.parametrize("changed", ["the other", "the original"])
def test_a_change_through_another_tensor_of_the_same_array_is_noticed(share, changed):
    x, w = Tensor([[2.0, 3.0]], requires_grad=True), Tensor(1.0, requires_grad=True)
    with no_grad():
        other = share(x)
    y = (x * x).sum() if changed == "the other" else (other * w).sum()
    with no_grad():
        if changed == "the other":
            other += 1
        else:
            x += 1
    with pytest.raises(ValueError, match="input 0 of Mul was changed after the forward pass"):
        y.backward()


def test_a_change_of_a_results_array_through_detach_is_noticed():
    y = Tensor([0.0], requires_grad=True).exp()
    seen = y.detach()
    seen *= 3
    with pytest.raises(ValueError, match="the result of Exp was changed"):
        y.backward()


def test_what_has_an_array_of_its_own_is_not_affected():
    x = Tensor([2.0, 3.0], requires_grad=True)
    y = (x * x).sum()
    with no_grad():
        for other in (x + 0, x.relu(), x.detach() * 1, Tensor(x.data.copy()), x[[0, 1]]):
            other += 1
    before = x.detach()
    y.backward()
    assert x.grad.tolist() == [4, 6]
    x.data = np.float32([5, 6])  # another array: ``before`` keeps the old one
    z = (before * Tensor([1.0, 1.0], requires_grad=True)).sum()
    x.data = np.float32([7, 8])
    z.backward()
    assert before.data.tolist() == [2, 3]


def test_a_graph_of_a_changed_tensor_is_right_after_the_change():
    x = Tensor([2.0], requires_grad=True)
    with no_grad():
        x.detach().__iadd__(1)
    x.detach().reshape(1, 1)
    (x.reshape(1, 1) * x).sum().backward()
    assert x.grad.tolist() == [6]
