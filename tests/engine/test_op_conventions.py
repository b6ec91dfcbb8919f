"""What the Ops promise where definitions of the derivative differ, and a few values by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import Tensor, grad


def slopes(function, *values):
    """d sum(function) / d value for each array of values, as lists."""
    tensors = [Tensor(np.array(v, np.float64), requires_grad=True) for v in values]
    found = grad(function(*tensors).sum(), tensors)
    return [g.tolist() for g in found] if len(found) > 1 else found[0].tolist()


# ---- kinks


def test_abs_has_slope_0_at_0():
    assert slopes(abs, [-2, 0, 3]) == [-1, 0, 1]


def test_relu_has_slope_0_at_0():
    assert slopes(Tensor.relu, [-2, 0, 3]) == [0, 0, 1]


def test_leaky_relu_has_the_negative_slope_at_0():
    assert slopes(lambda x: x.leaky_relu(0.25), [-2, 0, 3]) == [0.25, 0.25, 1]


def test_clip_passes_1_inside_and_at_its_edges_and_0_outside():
    assert slopes(lambda x: x.clip(-1, 2), [-1.5, -1, 0, 2, 2.5]) == [0, 1, 1, 1, 0]


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.7), (np.float64(0.1), np.float64(0.7))])
def test_clips_edges_are_those_of_float32_for_a_float32_tensor(low, high):
    x = Tensor([0.1, 0.7], requires_grad=True)
    assert grad(x.clip(low, high).sum(), x).tolist() == [1, 1]


def test_clip_with_one_bound_leaves_the_other_side_open():
    assert slopes(lambda x: x.clip(low=0), [-1, 1e300]) == [0, 1]
    assert slopes(lambda x: x.clip(high=0), [-1e300, 1]) == [1, 0]


@pytest.mark.parametrize("function", [minidl.maximum, minidl.minimum])
def test_equal_sides_of_maximum_and_minimum_share_the_gradient(function):
    assert slopes(function, [1, 5], [1, 5]) == [[0.5, 0.5], [0.5, 0.5]]


def test_the_larger_and_the_smaller_side_get_the_gradient():
    assert slopes(minidl.maximum, [1, 5], [2, 4]) == [[0, 1], [1, 0]]
    assert slopes(minidl.minimum, [1, 5], [2, 4]) == [[1, 0], [0, 1]]


def test_elements_that_tie_for_max_or_min_share_the_gradient():
    x = [[3, 1, 3], [0, 0, 0]]
    third = 1 / 3
    assert slopes(lambda x: x.max(axis=1), x) == [[0.5, 0, 0.5], [third, third, third]]
    assert slopes(lambda x: x.min(axis=1), x) == [[0, 1, 0], [third, third, third]]
    assert slopes(Tensor.max, x) == [[0.5, 0, 0.5], [0, 0, 0]]


@given(values=st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_the_shares_of_a_tie_sum_to_the_whole_gradient(values):
    assert sum(slopes(Tensor.max, values)) == pytest.approx(1, abs=1e-15)


def test_powers_at_0():
    assert slopes(lambda a: a**1, [0]) == [1]
    assert slopes(lambda a: a**2, [0]) == [0]
    assert slopes(lambda a: a**0, [0, 3]) == [0, 0]
    assert slopes(lambda b: Tensor([0.0]) ** b, [2]) == [0]  # 0^b stays 0
    assert slopes(lambda b: 2**b, [3]) == [8 * np.log(2)]


# ---- values by hand


def test_gelu_is_exact():
    x = Tensor(np.array([0.0, 1.0, -1.0]))
    assert x.gelu().data.tolist() == pytest.approx([0, 0.841344746068543, -0.158655253931457], abs=1e-15)


def test_var_divides_by_n_unless_told_otherwise():
    x = Tensor([[1.0, 3.0, 5.0]])
    assert x.var(axis=1).data.tolist() == [np.float32(8 / 3)]
    assert x.var(axis=1, ddof=1, keepdims=True).data.tolist() == [[4.0]]


def test_flatten_keeps_the_axes_before_start_dim():
    x = Tensor(np.zeros((2, 3, 4)))
    assert [x.flatten(i).shape for i in (0, 1, 2, -1, -2)] == [(24,), (2, 12), (2, 3, 4), (2, 3, 4), (2, 12)]
    assert Tensor(1.0).flatten().shape == (1,)
    assert Tensor(np.zeros((0, 3))).flatten(1).shape == (0, 3)


def test_transpose_takes_axes_in_numpys_order_and_reverses_without():
    x = Tensor(np.zeros((2, 3, 4)))
    assert (
        x.transpose(2, 0, 1).shape == x.transpose((2, 0, 1)).shape == x.transpose(-1, 0, 1).shape == (4, 2, 3)
    )
    assert x.transpose().shape == x.T.shape == (4, 3, 2)


def test_joining_and_padding_by_hand():
    a, b = Tensor([[1.0, 2.0]]), Tensor([[3.0, 4.0]])
    assert minidl.concatenate([a, b], axis=-1).data.tolist() == [[1, 2, 3, 4]]
    assert minidl.stack([a, b], axis=1).data.tolist() == [[[1, 2], [3, 4]]]
    assert minidl.pad(a, [(0, 1), (1, 0)], value=9).data.tolist() == [[9, 1, 2], [9, 9, 9]]
    assert minidl.where(np.array([[True, False]]), a, b).data.tolist() == [[1, 4]]


def test_a_softmax_at_temperature_t_is_the_softmax_of_the_logits_over_t():
    p = Tensor(np.log([[1.0, 4.0, 16.0]])).softmax(temperature=2.0)  # square roots of 1 : 4 : 16
    assert p.data[0].tolist() == pytest.approx([1 / 7, 2 / 7, 4 / 7], abs=1e-15)
