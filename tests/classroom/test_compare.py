"""Comparisons: what they refuse, and what they say."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import nn
from minidl.classroom.builders import contents
from minidl.classroom.compare import (
    assert_close,
    assert_dtype,
    assert_equal,
    assert_gradients,
    assert_refuses,
    readable,
    short,
)
from minidl.engine.tensor import Tensor


def message(compare, *arguments):
    with pytest.raises(AssertionError) as error:
        compare(*arguments)
    return str(error.value)


class Pair(NamedTuple):
    x: np.ndarray
    stride: int


class ClaimsToBeEqual:
    def __eq__(self, other):
        return True

    def __array__(self, dtype=None, copy=None):
        return np.zeros(2)


def test_the_worst_element_is_named_with_both_values():
    yours, expected = np.array([[1.0, 2.0], [3.0, 4.5]]), np.array([[1.0, 2.5], [3.0, 4.0]])
    yours[1, 1] = 5.5
    assert message(assert_close, yours, expected) == (
        "2 of 4 elements differ, most at [1, 1]: yours 5.5, expected 4\n"
        "  yours    = [[1. , 2. ], [3. , 5.5]]\n"
        "  expected = [[1. , 2.5], [3. , 4. ]]"
    )


def test_a_single_number_needs_no_index():
    assert message(assert_close, 2.0, 3.0).splitlines()[0] == "differs: yours 2, expected 3"


def test_digits_enough_to_see_a_small_difference_are_shown():
    assert "yours 1.00001, expected 1" in message(assert_close, np.array([1.00001, 1.0]), np.ones(2))


@pytest.mark.parametrize("shape", [(2, 1), (1, 2), (2, 2), (), (1,)])
def test_shapes_are_never_broadcast(shape):
    text = message(assert_close, np.ones(2), np.ones(shape))
    assert text.startswith(f"yours has shape (2,), expected {shape}")
    assert message(assert_close, np.ones(shape), np.ones(2)).startswith(
        f"yours has shape {shape}, expected (2,)"
    )


def test_a_numpy_scalar_is_a_value_of_shape_nothing():
    assert_close(np.float64(1.0), np.array(1.0))
    assert message(assert_close, np.ones(2), np.float64(1.0)).startswith("yours has shape (2,), expected ()")


def test_a_python_number_stands_for_every_element():
    assert_close(np.ones((2, 3)), 1.0)
    assert_close(np.ones((2, 3)), 1)
    assert "at [1, 2]" in message(assert_close, np.array([[1, 1, 1], [1, 1, 2.0]]), 1.0)


@given(
    x=st.floats(-1e6, 1e6),
    difference=st.floats(-1e-3, 1e-3),
    rtol=st.sampled_from([0.0, 1e-6, 1e-3]),
    atol=st.sampled_from([0.0, 1e-9, 1e-4]),
)
def test_elements_pass_exactly_within_the_tolerances(x, difference, rtol, atol):
    yours = np.array([x + difference])
    if abs(yours[0] - x) <= atol + rtol * abs(x):
        assert_close(yours, np.array([x]), rtol=rtol, atol=atol)
    else:
        assert "differs" in message(assert_close, yours, np.array([x]), rtol, atol)


def test_nan_and_infinity_equal_themselves_and_nothing_else():
    special = np.array([np.nan, np.inf, -np.inf])
    assert_close(special, special.copy())
    assert_equal(special, special.copy())
    assert "at [1]: yours nan, expected 2" in message(
        assert_close, np.array([1, np.nan]), np.array([1.0, 2.0])
    )
    assert "at [0]: yours 1, expected nan" in message(
        assert_close, np.array([1.0, 5.0]), np.array([np.nan, 2])
    )
    with_both = np.array([1.0, np.nan, np.inf]), np.array([0.0, 0.0, 0.0])
    assert "3 of 3 elements differ, most at [1]: yours nan" in message(assert_close, *with_both)
    right_but_infinite = np.array([np.inf, 1.0]), np.array([np.inf, 2.0])
    assert "most at [1]: yours 1, expected 2" in message(assert_close, *right_but_infinite)
    assert "yours inf, expected -inf" in message(assert_close, np.array([np.inf]), np.array([-np.inf]))


@pytest.mark.parametrize(
    "value, kind",
    [
        (None, "NoneType"),
        ("1.0", "str"),
        (ClaimsToBeEqual(), "ClaimsToBeEqual"),
        (Tensor([1.0, 1.0]), "Tensor"),
        (np.array([1, None]), "an array of object"),
        (np.array(["1", "1"]), "an array of <U1"),
        ([[1.0], [1.0, 2.0]], "list"),
        ([1.0, "1"], "list"),
        ((), "tuple"),
    ],
)
def test_what_is_not_made_of_numbers_is_refused(value, kind):
    assert message(assert_close, value, np.ones(2)).startswith(f"yours is {kind}, expected numbers")
    with pytest.raises(TypeError, match="expected must be numbers, got"):
        assert_close(np.ones(2), value)


def test_lists_and_tuples_of_numbers_are_arrays():
    assert_close([[1.0, 2.0]], ((1, 2),))
    assert_close((np.float64(1), 2.0), np.array([1.0, 2.0]))


def test_large_arrays_are_given_by_shape_and_range():
    text = message(assert_close, np.linspace(0, 1, 100), np.zeros(100))
    assert text.splitlines()[1] == "  yours    = <100 float64 in [0, 1]>"
    assert len(text) < 200


def test_bool_and_integer_arrays_are_compared_as_numbers():
    assert_close(np.array([True, False]), np.array([1, 0]))
    assert "yours True, expected 0" in message(assert_close, np.array([True]), np.array([0]))


def test_equal_is_exact_for_integers_beyond_a_floats_digits():
    assert_equal(2**53 + 1, 2**53 + 1)
    assert message(assert_equal, np.array([2**53 + 1]), np.array([2**53])).startswith("differs")


def test_equal_looks_into_tuples_and_lists():
    assert_equal(("a", [1, 2], np.ones(2)), ("a", [1, 2], np.ones(2)))
    assert message(assert_equal, ("a", 1), ("b", 1)) == "element 0: yours = 'a', expected = 'b'"
    assert message(assert_equal, ("a", np.ones(2)), ("a", np.zeros(2))).startswith(
        "element 1: 2 of 2 elements"
    )
    assert message(assert_equal, ["a"], ["a", "b"]) == "yours = ['a'], expected = ['a', 'b']"
    assert message(assert_equal, [2, 1], [1, 2]).splitlines()[1:] == [
        "  yours    = [2, 1]",
        "  expected = [1, 2]",
    ]


def test_equal_is_not_decided_by_the_learners_object():
    assert message(assert_equal, ClaimsToBeEqual(), "a").startswith("yours = <")
    assert message(assert_equal, ClaimsToBeEqual(), 1).startswith("yours is ClaimsToBeEqual")
    assert message(assert_equal, [ClaimsToBeEqual()], ["a"]).startswith("element 0: yours = <")


def test_dtype_is_named():
    assert_dtype(np.zeros(1, np.float32), np.float32)
    assert message(assert_dtype, np.zeros(1), "float32") == "yours has dtype float64, expected float32"


def cube(x, shift=0.0, grad=None):
    y = (x + shift) ** 3
    return (y, ()) if grad is None else (y, (3 * (x + shift) ** 2 * grad,))


def test_right_gradients_pass_and_a_wrong_one_names_its_input():
    x = np.array([[1.0, -2.0]])
    assert_gradients(cube, x, shift=1.0)

    def wrong(x, k, grad=None):
        y = k * x
        return (y, ()) if grad is None else (y, (k * grad, x * grad + 1))

    text = message(assert_gradients, wrong, x, x)
    assert text.startswith("the gradient of input 1: 2 of 2 elements differ")


def test_gradients_are_checked_against_an_uneven_upstream_gradient():
    def ignores_upstream(x, grad=None):
        return (x * 2, ()) if grad is None else (x * 2, (np.full_like(x, 2.0),))

    assert "the gradient of input 0" in message(assert_gradients, ignores_upstream, np.ones(3))


def test_integer_inputs_are_held_fixed():
    def take(x, index, grad=None):
        if grad is None:
            return x[index], ()
        grad_x = np.zeros_like(x)
        np.add.at(grad_x, index, grad)
        return x[index], (grad_x, None)

    assert_gradients(take, np.array([1.0, 2.0]), np.array([0, 0, 1]))


@pytest.mark.parametrize(
    "value, text",
    [
        (1 / 3, "0.333333"),
        (np.float32(0.25), "0.25"),
        (3, "3"),
        (np.int64(3), "3"),
        (np.bool_(True), "True"),
        ("a", "'a'"),
        (None, "None"),
        ((1, 2.0), "(1, 2)"),
        ((1,), "(1,)"),
        ([np.zeros(2)], "[[0., 0.]]"),
        ({"a": 0.5}, "{'a': 0.5}"),
        (Pair(np.zeros(2), 1), "Pair(x=[0., 0.], stride=1)"),
        (np.zeros((0, 2)), "[]"),
        (np.full((5, 5), np.nan), "<5×5 float64>"),
        (np.r_[np.nan, np.arange(30)], "<31 float64 in [0, 29], 1 NaN or infinite>"),
        (np.zeros((5, 5), np.int64), "<5×5 int64 in [0, 0]>"),
        (list(range(30)), "[" + ", ".join(map(str, range(24))) + ", ...]"),
    ],
)
def test_values_are_short(value, text):
    assert short(value) == text


def test_a_long_repr_is_cut():
    assert len(short(range(10**90, 10**91))) == 100


def test_what_has_no_text_of_its_own_is_shown_without_its_address():
    assert short(lambda: 0) == "a function" and short(assert_close) == "the function assert_close"
    assert short(np.random.default_rng(0)) == "Generator(PCG64)"
    assert short(object()) == "<object object>"


def test_refused_means_a_value_error_and_nothing_else():
    assert_refuses("'a'", int, "a")
    with pytest.raises(AssertionError, match="'11' in base 2 gave 3, but must raise ValueError"):
        assert_refuses("'11' in base 2", int, "11", base=2)
    with pytest.raises(TypeError):
        assert_refuses("None", int, None)


GRAPH = {"w": ["u", "v"], "v": ("u",), "u": []}


@pytest.mark.parametrize(
    "value, text",
    [
        (GRAPH, "w → u, v; v → u; u"),
        (GRAPH.__getitem__, "w → u, v; v → u; u"),
        ([[], [0], [0, 1]], "0; 1 → 0; 2 → 0, 1"),
        ({"w": ["u"], "v": []}, "{'w': ['u'], 'v': []}"),  # leads to what is no node
        ([[], [1]], "[[], [1]]"),
        ([[], []], "[[], []]"),
        ([[], np.zeros(1)], "[[], [0.]]"),
        ({"a": 1, "b": 2}, "{'a': 1, 'b': 2}"),
    ],
)
def test_a_graph_reads_as_arrows(value, text):
    assert short(value) == readable(value) == text


@pytest.mark.parametrize(
    "value, text",
    [
        (np.zeros((1, 2), np.float32), "[[0., 0.]]   (1×2 float32)"),
        (np.array(3), "3   (scalar int64)"),
        (np.zeros((5, 5)), "<5×5 float64 in [0, 0]>"),
        (2.0, "2"),
    ],
)
def test_an_array_of_a_case_has_shape_and_dtype(value, text):
    assert readable(value) == text


def test_a_models_contents_are_not_listed():
    model = nn.models.mlp(3, (), 2).eval()
    model.head.bias.requires_grad_(False)
    shown = contents(model)
    assert short(shown) == "a model of 2 arrays in evaluation mode; head.weight requires grad"
    frozen = shown | {"requires_grad": [], "training": True}
    assert short(frozen) == "a model of 2 arrays in training mode; nothing requires grad"
