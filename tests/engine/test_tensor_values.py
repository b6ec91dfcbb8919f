"""A Tensor as a value: comparison, conversion, NumPy's functions, printing, copying."""

import copy
import tracemalloc

import numpy as np
import pytest

from minidl import Tensor
from minidl.engine import functions, value

X = np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)


# ---- NumPy beside a Tensor


def test_an_array_or_numpy_number_on_the_left_gives_a_tensor_in_the_graph():
    t = Tensor(X, requires_grad=True)
    for left in (X, np.float32(2), np.float64(2), np.array(2.0), X.astype(np.float64)):
        pairs = [(left + t, left + X), (left - t, left - X), (left * t, left * X), (left / t, left / X)]
        for y, expected in pairs:
            assert isinstance(y, Tensor)
            assert y.dtype == np.float32
            assert y.requires_grad
            np.testing.assert_allclose(y.data, expected, rtol=1e-6)
    np.testing.assert_array_equal((X @ t).data, X @ X)
    np.testing.assert_allclose((np.float32(2) ** t).data, 2**X)


def test_an_array_on_the_left_is_met_as_a_whole_not_element_by_element():
    y = np.ones((3, 1, 1)) * Tensor(X)
    assert isinstance(y, Tensor)
    assert y.shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("function", "advice"),
    [
        (lambda t: np.exp(t), r"np.exp would leave the graph: use t.exp\(...\), or give it t.data"),
        (lambda t: np.log(t), r"use t.log\(...\)"),
        (lambda t: np.maximum(t, 0), r"np.maximum would leave the graph: use minidl.maximum\(...\)"),
        (lambda t: np.add(t, 1), "np.add would leave the graph"),
        (lambda t: np.add.reduce(t), "np.add would leave the graph"),
        (lambda t: np.multiply(X, t, out=np.empty_like(X)), "np.multiply would leave the graph"),
        (lambda t: X.copy().__iadd__(t), "np.add would leave the graph"),
        (lambda t: np.equal(t, X), "np.equal would leave the graph"),
        (lambda t: np.sum(t), r"np.sum would leave the graph: use t.sum\(...\)"),
        (lambda t: np.where(t > 0, t, 0), r"use minidl.where\(...\)"),
        (lambda t: np.concatenate([t, t]), r"use minidl.concatenate\(...\)"),
        (lambda t: np.linalg.norm(t), r"use t.norm\(...\)"),
        (lambda t: np.linalg.det(t), "use what Tensor and minidl offer"),
    ],
)
def test_numpys_functions_refuse_a_tensor_with_advice(function, advice):
    with pytest.raises(TypeError, match=advice):
        function(Tensor(X))


def test_asarray_gives_the_data_and_array_a_copy():
    t = Tensor(X.copy())
    assert np.shares_memory(np.asarray(t), t.data)
    assert not np.shares_memory(np.array(t), t.data)
    assert np.asarray(t, np.float64).dtype == np.float64
    assert t.numpy() is t.data
    np.testing.assert_array_equal(np.array([Tensor(1.0), Tensor(2.0)]), [1, 2])


# ---- comparison and identity


def test_comparisons_give_bool_arrays_on_either_side():
    t = Tensor(X)
    for other in (1.0, X.T, Tensor(X.T), [[1, -1], [3, 5]], np.float64(1)):
        plain = np.asarray(other)
        np.testing.assert_array_equal(t < other, plain > X, strict=True)
        np.testing.assert_array_equal(t <= other, plain >= X, strict=True)
        np.testing.assert_array_equal(t > other, plain < X, strict=True)
        np.testing.assert_array_equal(t >= other, plain <= X, strict=True)
        np.testing.assert_array_equal(other < t, plain < X, strict=True)
        np.testing.assert_array_equal(other >= t, plain >= X, strict=True)
        assert type(t < other) is np.ndarray


def test_a_python_number_is_compared_in_the_tensors_dtype():
    assert (Tensor([0.1]) <= 0.1).all()
    assert (Tensor([0.1]) >= 0.1).all()


def test_equality_and_hash_are_those_of_the_object():
    a, b = Tensor(X), Tensor(X)
    assert a == a
    assert a != b
    array_first = X
    assert (a == X) is False
    assert (array_first == a) is False
    assert (array_first != a) is True
    assert (a == 1.0) is False
    assert len({a, b, a}) == 2
    assert [b, a].index(a) == 1


# ---- conversion


def test_a_tensor_of_one_element_is_a_number():
    for t in (Tensor(2.5), Tensor([[2.5]])):
        assert (t.item(), float(t), int(t), bool(t)) == (2.5, 2.5, 2, True)
        assert f"{t:.3f}" == "2.500"
    assert not Tensor([0.0])
    assert type(Tensor(2.5).item()) is float
    assert type(Tensor(np.array(3)).item()) is int
    assert type(Tensor(True).item()) is bool


def test_a_tensor_of_several_elements_is_none():
    for convert in (Tensor.item, float, int, bool, lambda t: f"{t:.3f}"):
        with pytest.raises(
            ValueError, match=r"only a tensor of one element is a number, this has shape \(2, 2\)"
        ):
            convert(Tensor(X))
    assert f"{Tensor(X)}" == repr(Tensor(X))


def test_len_and_iteration_go_over_the_first_axis_within_the_graph():
    t = Tensor(X, requires_grad=True)
    assert len(t) == 2
    first, second = t
    assert second.data.tolist() == [3, 4]
    (first * second).sum().backward()
    assert t.grad.tolist() == [[3, 4], [1, -2]]
    for refused in (len, iter, list):
        with pytest.raises(TypeError, match=r"without axes has no len"):
            refused(Tensor(1.0))


def test_writing_into_a_tensor_is_refused_with_what_to_write_instead():
    t = Tensor(X)
    with pytest.raises(TypeError, match=r"minidl.where\(mask, value, t\).*t.data\[index\] = value"):
        t[0] = 1.0
    assert t.data.tolist() == X.tolist()


def test_data_keeps_its_shape_and_dtype():
    t = Tensor(X.copy())
    t.data = np.ones((2, 2))
    assert (t.dtype, t.version) == (np.float32, 1)
    with pytest.raises(ValueError, match=r"data has shape \(2, 2\) and must keep it, got \(3,\)"):
        t.data = np.ones(3)


# ---- printing


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (Tensor([3.0, 1.0, 2.0]), "Tensor([3., 1., 2.], float32)"),
        (Tensor(X), "Tensor([[ 1., -2.], [ 3., 4.]], float32)"),
        (Tensor(X, requires_grad=True), "Tensor([[ 1., -2.], [ 3., 4.]], float32, grad)"),
        (Tensor(X, True, name="w") * 2, "Tensor([[ 2., -4.], [ 6., 8.]], float32, from Mul, grad)"),
        (Tensor(X, name="fc.weight"), "Tensor('fc.weight', [[ 1., -2.], [ 3., 4.]], float32)"),
        (Tensor(1 / 3), "Tensor(0.33333334, float32)"),
        (Tensor(np.zeros((0, 3))), "Tensor((0, 3), empty, float64)"),
        (Tensor(np.array([1, 7])), "Tensor([1, 7], int64)"),
        (Tensor(np.array([True, False])), "Tensor([ True, False], bool)"),
        (Tensor(True), "Tensor(True, bool)"),
        (Tensor([1.0, np.nan, np.inf, -np.inf]), "Tensor([ 1., nan, inf, -inf], float32)"),
        (Tensor(np.arange(21.0)), "Tensor((21,), 0 … 20, float64)"),
        (Tensor(np.full((5, 5), np.nan), True), "Tensor((5, 5), 25 NaN, 0 Inf, float64, grad)"),
    ],
)
def test_the_repr_shows_the_values_of_a_small_tensor_and_the_range_of_a_large_one(tensor, text):
    assert " ".join(repr(tensor).replace("[ ", "[").split()) == " ".join(text.replace("[ ", "[").split())


def test_values_that_do_not_fit_on_a_line_stand_as_numpy_writes_them():
    t = Tensor(np.arange(20).reshape(4, 5) / 7, name="w")
    first, *rest = repr(t).splitlines()
    assert first.startswith("Tensor('w', [[0.        , 0.14285714") and len(rest) == 3
    assert repr(t).endswith("2.71428571]], float64)")


def test_the_repr_of_a_hundred_million_elements_looks_at_a_sample_without_copying():
    tracemalloc.start()
    huge = Tensor(np.broadcast_to(np.float32(2.0), (10_000, 10_000)))
    text = repr(huge)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert text == "Tensor((10000, 10000), about 2 … 2, float32)"
    assert peak < 2**20


# ---- copying


def test_deepcopy_copies_a_leaf_without_its_gradient_and_refuses_a_computed_tensor():
    t = Tensor(X.copy(), requires_grad=True, name="w")
    (t * t).sum().backward()
    twin = copy.deepcopy(t)
    assert (twin.name, twin.requires_grad, twin.grad) == ("w", True, None)
    assert np.array_equal(twin.data, t.data)
    assert not np.shares_memory(twin.data, t.data)
    pair = copy.deepcopy([t, t])
    assert pair[0] is pair[1]
    with pytest.raises(ValueError, match=r"copy t.detach\(\)"):
        copy.deepcopy(t * 2)


def test_numpys_questions_about_an_array_are_answered():
    t = Tensor(np.ones((2, 3), np.float32))
    assert (np.shape(t), np.ndim(t), np.size(t)) == ((2, 3), 2, 6)
    assert np.allclose(t, 1) and np.array_equal(np.ones((2, 3)), t) and np.isclose(t, 1).all()


def test_the_advice_knows_the_functions_of_several_tensors():
    home = functions.__name__
    own = {name for name, f in vars(functions).items() if getattr(f, "__module__", "") == home}
    assert own == set(value._FUNCTIONS)
