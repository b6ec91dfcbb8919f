"""The backward pass over graphs: what is accumulated where, what is refused, and what costs nothing."""

import gc

import numpy as np
import pytest
from drawn import seeds, spread
from hypothesis import given
from hypothesis import strategies as st

from minidl import Op, Tensor, apply, grad, no_grad
from minidl.engine import linalg, normalize
from minidl.engine.backward import topological_order


def leaf(values, dtype=np.float32):
    return Tensor(np.array(values, dtype), requires_grad=True)


class Counted(Op):
    """y = x, counting how often its gradient was asked for and what for."""

    def __init__(self):
        self.backward_needs = []

    def forward(self, *arrays):
        return arrays[0] + 0

    def backward(self, grad):
        self.backward_needs.append(self.needs)
        return tuple(grad if need else None for need in self.needs)


# ---- the pass as a linear map


def several_uses(a, b):
    c = (a * b).tanh()
    return (c @ b.T + a.sum(axis=0, keepdims=True).exp().mean()) * c.max() + (a[0] - b[::-1]).var(axis=1)


@given(seed=seeds, factors=st.tuples(st.floats(-3, 3), st.floats(-3, 3)))
def test_backward_is_linear_in_the_upstream_gradient(seed, factors):
    a, b = leaf(spread((3, 3), seed), np.float64), leaf(spread((3, 3), seed + 1), np.float64)
    output = several_uses(a, b)
    u, v = np.random.default_rng(seed).normal(size=(2, *output.shape))
    combined = grad(output, [a, b], factors[0] * u + factors[1] * v)
    for whole, from_u, from_v in zip(combined, grad(output, [a, b], u), grad(output, [a, b], v), strict=True):
        np.testing.assert_allclose(whole, factors[0] * from_u + factors[1] * from_v, rtol=1e-9, atol=1e-9)


def test_the_first_gradient_of_a_number_is_1_and_another_may_be_given():
    x = leaf([3.0])
    (x * x).backward()
    assert x.grad.tolist() == [6]
    x.zero_grad()
    (x * x).backward([10])
    assert x.grad.tolist() == [60]
    assert grad(x * x, x, Tensor([10.0])).tolist() == [60]


# ---- graphs


def test_backward_takes_pytorchs_names_and_a_second_pass_needs_no_permission():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    y.backward(gradient=[1.0, 3.0], retain_graph=False)
    y.backward([1.0, 0.0])
    assert x.grad.tolist() == [4, 12]  # 2 x times 2 and 3
    with pytest.raises(TypeError, match="retain_graph must be True or False, got 1"):
        y.backward([1.0, 0.0], retain_graph=1)


def test_a_tensor_used_many_times_collects_the_gradients_of_all_uses():
    x = leaf([2.0])
    y = x * x  # 2 x
    (y + y * x + y + 1).backward()  # 2 x^2 + x^3 + 1
    assert x.grad.tolist() == [4 * 2 + 3 * 4]


def test_a_shared_node_is_passed_once_after_all_its_uses():
    x = leaf([1.0])
    op = Counted()
    shared = apply(op, x)
    deep = shared
    for _ in range(3):
        deep = deep * 2
    (shared + deep).backward()
    assert x.grad.tolist() == [9]
    assert len(op.backward_needs) == 1


def test_the_array_that_add_returns_twice_is_not_written_into():
    a, b = leaf([1.0]), leaf([2.0])
    total = (a + b).retain_grad()
    # a gets its second gradient while b still holds the array that Add gave to both
    (total + a * 5).backward()
    assert (a.grad.tolist(), b.grad.tolist(), total.grad.tolist()) == ([6], [1], [1])
    assert not np.shares_memory(a.grad, b.grad)
    assert not np.shares_memory(b.grad, total.grad)


def test_the_upstream_gradient_given_to_backward_is_copied():
    x = leaf([1.0, 2.0])
    given_gradient = np.ones(2, np.float32)
    (x + 0).backward(given_gradient)
    (x + 0).backward(given_gradient)
    assert given_gradient.tolist() == [1, 1]
    assert x.grad.tolist() == [2, 2]


def test_a_chain_of_100_000_ops_is_walked_and_freed():
    x = y = leaf(1.0)
    for _ in range(100_000):
        y = y + 1
    y.backward()
    assert y.item() == 100_001
    assert x.grad == 1
    del y
    gc.collect()


@given(parents=st.lists(st.sets(st.integers(0, 30), max_size=4), min_size=1, max_size=12))
def test_in_topological_order_every_node_stands_before_its_parents_and_only_once(parents):
    graph = {i: [p % i for p in some] if i else [] for i, some in enumerate(parents)}
    order = topological_order(len(parents) - 1, graph.get)
    place = {node: i for i, node in enumerate(order)}
    assert len(place) == len(order)
    assert order[0] == len(parents) - 1
    for node in order:
        assert all(place[node] < place[parent] for parent in graph[node])


def test_a_leaf_is_its_own_gradient():
    x = leaf([[2.0]])
    x.backward()
    assert x.grad.tolist() == [[1]]


# ---- accumulation


@given(seed=seeds)
def test_two_backwards_give_exactly_twice_the_gradient(seed):
    a, b = leaf(spread((3, 3), seed)), leaf(spread((3, 3), seed + 1))
    output = several_uses(a, b).sum()
    output.backward()
    once = a.grad.copy(), b.grad.copy()
    output.backward()
    assert np.array_equal(a.grad, 2 * once[0])
    assert np.array_equal(b.grad, 2 * once[1])


def test_the_gradient_of_a_leaf_is_its_own_array():
    x = leaf([1.0, 2.0])
    x.sum().backward()  # Sum returns a broadcast view, which is read-only
    x.grad += 1
    assert x.grad.tolist() == [2, 2]


def test_computed_tensors_keep_no_gradient_unless_asked():
    x = leaf([3.0])
    kept = (x * 2).retain_grad()
    lost = kept * 5
    lost.backward()
    lost.backward()
    assert kept.grad.tolist() == [10]  # of both passes, like a leaf
    assert lost.grad is None


# ---- versions


def test_a_leaf_changed_after_the_forward_pass_is_refused():
    x = leaf([1.0])
    y = x * x
    x.data -= 0.5
    with pytest.raises(ValueError, match=r"input 0 of Mul was changed after the forward pass.*run it again"):
        y.backward()
    (x * x).backward()
    assert x.grad.tolist() == [1]


def test_an_input_that_needs_no_gradient_may_not_change_either():
    x, scale = leaf([1.0]), Tensor([2.0])
    y = x * scale
    scale.data += 1
    with pytest.raises(ValueError, match="input 1 of Mul was changed"):
        y.backward()


def test_a_computed_result_that_was_overwritten_is_refused():
    x = leaf([1.0])
    y = x.exp()  # Exp keeps its result for backward
    z = y * 1
    y.data *= 2
    for output in (y, z, y * 1):
        with pytest.raises(ValueError, match="(the result of Exp|input 0 of Mul) was changed"):
            output.backward()


def test_a_change_before_the_forward_pass_or_of_another_tensor_does_no_harm():
    x, other = leaf([1.0]), leaf([1.0])
    x.data += 1
    y = x * x
    other.data += 1
    y.backward()
    y.backward()
    assert x.grad.tolist() == [8]


# ---- what records no graph


def test_no_grad_records_nothing_and_ends_with_its_block_or_function():
    x = leaf([2.0])
    with no_grad():
        inside = x * x
        with no_grad():
            pass
        still_inside = x * x
    assert (inside.op, inside.requires_grad, still_inside.op) == (None, False, None)

    @no_grad()
    def predict(x):
        return x * x

    assert predict(x).op is None
    with pytest.raises(RuntimeError), no_grad():
        raise RuntimeError
    assert (x * x).requires_grad


def test_detach_shares_the_array_and_stops_the_gradient():
    x = leaf([2.0])
    y = (x * 3).detach()
    assert y.op is None
    assert not y.requires_grad
    assert np.shares_memory(x.data, x.detach().data)
    (x * y).backward()
    assert x.grad.tolist() == [6]


def test_a_graph_that_nobody_needs_is_not_kept():
    a = Tensor([1.0])
    b = (a * 2).exp() @ a
    assert (b.op, b.parents, b.requires_grad) == (None, (), False)


def test_frozen_inputs_cost_nothing():
    frozen, x = Tensor([2.0]), leaf([3.0])
    below, above = Counted(), Counted()
    features = apply(below, frozen)
    y = apply(above, x, features)
    y.backward()
    assert below.backward_needs == []
    assert above.backward_needs == [(True, False)]
    assert features.grad is None
    assert frozen.grad is None


def test_a_frozen_weight_or_image_gets_no_product():
    def needed_of(op, *inputs):
        y = apply(op, *inputs)
        y.backward(np.ones(y.shape))
        return [g is not None for g in op.backward(np.ones(y.shape, np.float32))]

    image, weight, bias = np.ones((4, 3)), np.ones((2, 3)), np.ones(2)
    assert needed_of(linalg.Linear(), image, leaf(weight), bias) == [False, True, False]
    assert needed_of(linalg.Linear(), leaf(image), weight, bias) == [True, False, False]
    assert needed_of(linalg.MatMul(), image, leaf(weight.T)) == [False, True]
    mean, var = np.zeros(2), np.ones(2)
    assert needed_of(normalize.BatchNorm(mean, var), leaf(image[:, :2]), bias, bias) == [True, False, False]
    assert needed_of(normalize.BatchNorm(mean, var), image[:, :2], leaf(bias), bias) == [False, True, False]
    assert needed_of(normalize.BatchNorm(), image[:, :2], bias, leaf(bias)) == [False, False, True]


def test_freezing_a_leaf_after_the_forward_pass_leaves_it_without_gradient():
    x, w = leaf([2.0]), leaf([3.0])
    y = x * w
    w.requires_grad_(False)
    y.backward()
    assert x.grad.tolist() == [3]
    assert w.grad is None


# ---- grad()


def test_grad_touches_no_dot_grad_and_returns_arrays_of_its_own():
    x, w = leaf([2.0]), leaf([3.0])
    y = (x + w).retain_grad()
    z = y * x
    of_x, of_w, of_y = grad(z, (x, w, y))
    assert (of_x.tolist(), of_w.tolist(), of_y.tolist()) == ([7], [2], [2])
    assert x.grad is w.grad is y.grad is None
    assert isinstance(grad(z, x), np.ndarray)
    assert isinstance(grad(z, [x]), tuple)
    of_w += 1  # Add handed w and y one array
    assert of_y.tolist() == [2]


def test_grad_of_an_intermediate_and_of_what_it_came_from_together():
    x = leaf([2.0])
    y = x * x
    z = y * y
    assert [g.tolist() for g in grad(z, [y, x, z])] == [[8], [32], [1]]


def test_grad_computes_only_what_lies_between():
    x, w = leaf([2.0]), leaf([3.0])
    below, beside, between = Counted(), Counted(), Counted()
    middle = apply(below, x)
    output = apply(between, middle) * apply(beside, w)
    assert grad(output, middle).tolist() == [3]
    assert (len(between.backward_needs), below.backward_needs, beside.backward_needs) == (1, [], [])
    join = Counted()
    assert grad(apply(join, middle, w), middle).tolist() == [1]
    assert join.backward_needs == [(True, False)]
    output.backward()  # and the whole pass still works afterwards
    assert (x.grad.tolist(), w.grad.tolist()) == ([3], [2])


def test_grad_refuses_what_the_output_does_not_depend_on():
    x, stranger, frozen = leaf([1.0]), leaf([1.0]), Tensor([1.0])
    for other in (stranger, frozen):
        with pytest.raises(ValueError, match=r"no gradient flows from the output to inputs\[1\]"):
            grad(x * frozen, [x, other])


# ---- errors on the way


class Broken(Op):
    """y = x1 + x2 + ..., whose backward returns what it was told to."""

    def __init__(self, answer):
        self.answer = answer

    def forward(self, *arrays):
        return sum(arrays)

    def backward(self, grad):
        return self.answer(grad)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda grad: grad[:1], r"shape \(1,\) and dtype float32, expected \(2,\) and float32"),
        (
            lambda grad: grad.astype(np.float64),
            r"shape \(2,\) and dtype float64, expected \(2,\) and float32",
        ),
        (lambda grad: None, r"gave None, expected \(2,\)"),
        (lambda grad: [1.0, 1.0], "gave 2 gradients for 1 inputs"),
        (lambda grad: (2.0,), "gave 2.0, expected"),
        (lambda grad: (), "gave 0 gradients for 1 inputs"),
    ],
    ids=["shape", "dtype", "none", "list", "number", "too few"],
)
def test_a_gradient_of_the_wrong_shape_or_dtype_names_the_op_and_the_parent(answer, message):
    x = Tensor([1.0, 2.0], requires_grad=True, name="scales")
    with pytest.raises(ValueError, match=f"Broken.backward.*{message}") as caught:
        apply(Broken(answer), x).sum().backward()
    assert "gradients for" in str(caught.value) or "'scales'" in str(caught.value)


def test_an_op_may_return_a_numpy_number_where_the_input_has_no_axes():
    x = leaf(3.0)
    apply(Broken(lambda grad: np.float64(2)), x).backward()
    assert isinstance(x.grad, np.ndarray)
    assert x.grad.dtype == np.float32
    assert x.grad == 2


def test_backward_gets_arrays_where_numpy_makes_numbers():
    seen = []

    class Watching(Op):
        def forward(self, x):
            return x + 0

        def backward(self, grad):
            seen.append(type(grad))
            return grad

    x = leaf(3.0)
    watched = apply(Watching(), x)
    (abs(watched) + abs(watched)).backward()  # two gradients of shape () are added
    apply(Watching(), abs(x)).backward()
    assert seen == [np.ndarray, np.ndarray]


def test_an_error_in_the_middle_of_backward_leaves_every_grad_as_it_was():
    def fail(grad):
        raise ZeroDivisionError

    near, far, fresh = leaf([1.0, 1.0]), leaf([1.0, 1.0]), leaf([1.0, 1.0])
    (near * far).sum().backward()
    before = near.grad, near.grad.copy(), far.grad.copy()
    output = (apply(Broken(fail), far * 2) * near * fresh).sum()
    with pytest.raises(ZeroDivisionError):
        output.backward()
    assert near.grad is before[0]
    assert np.array_equal(near.grad, before[1])
    assert np.array_equal(far.grad, before[2])
    assert fresh.grad is None


def test_an_op_serves_once():
    op = Counted()
    apply(op, leaf([1.0]))
    with pytest.raises(TypeError, match="an Op is its own context: apply needs an unused instance"):
        apply(op, leaf([2.0]))


def test_integers_get_no_gradient_also_if_requires_grad_was_assigned():
    x, w = Tensor(np.array([1, 2])), leaf([1.0, 1.0])
    x.requires_grad = True
    for attempt in ((x * w).sum().backward, lambda: grad((x * w).sum(), x), Tensor.backward):
        with pytest.raises(TypeError, match="only floating tensors can require a gradient, not int64"):
            attempt(x[0]) if attempt is Tensor.backward else attempt()
    assert x.grad is None and w.grad is None
