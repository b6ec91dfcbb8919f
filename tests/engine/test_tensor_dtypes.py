"""float32 stays float32: what casts to what, forward and backward."""

import numpy as np
import pytest

import minidl
from minidl import Op, Tensor, apply, grad

OTHERS = {
    "Python float": 0.5,
    "Python int": 3,
    "Python bool": True,
    "list": [1.0, 2.0, 3.0],
    "float64 array": np.array([1.0, 2.0, 3.0]),
    "float16 array": np.array([1, 2, 3], np.float16),
    "int array": np.array([1, 2, 3]),
    "uint8 array": np.array([1, 2, 3], np.uint8),
    "bool array": np.array([True, True, True]),
    "float64 without axes": np.array(0.5),
    "int without axes": np.array(3),
    "NumPy float64": np.float64(0.5),
    "NumPy int64": np.int64(3),
    "NumPy bool": np.bool_(True),
    "int Tensor": Tensor(np.array([1, 2, 3])),
    "bool Tensor": Tensor(np.array([True, True, True])),
    "float32 Tensor": Tensor([1.0, 2.0, 3.0]),
    "float32 Tensor without axes": Tensor(0.5),
}

BINARY = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "maximum": minidl.maximum,
    "minimum": minidl.minimum,
    "where": lambda a, b: minidl.where(np.array([True, False, True]), a, b),
}

UNARY = {
    "neg": lambda x: -x,
    "abs": abs,
    "square": lambda x: x**2,
    "2 **": lambda x: 2**x,
    "1 /": lambda x: 1 / x,
    **{name: getattr(Tensor, name) for name in ("exp", "log", "sqrt", "tanh", "sigmoid", "relu", "gelu")},
    **{
        name: getattr(Tensor, name)
        for name in ("leaky_relu", "sum", "mean", "var", "max", "min", "logsumexp")
    },
    "clip": lambda x: x.clip(0, 1),
    "softmax": lambda x: x.softmax(axis=None),
    "log_softmax": lambda x: x.log_softmax(axis=None),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("operation", BINARY)
@pytest.mark.parametrize("shape", [(3,), ()], ids=["vector", "no axes"])
def test_float32_with_anything_but_a_float64_tensor_stays_float32(operation, other, shape):
    x, other = Tensor(np.full(shape, 2, np.float32), requires_grad=True), OTHERS[other]
    for y in (BINARY[operation](x, other), BINARY[operation](other, x)):
        assert y.dtype == np.float32
        y.backward(np.ones(y.shape))
        assert x.grad.dtype == np.float32
        assert x.grad.shape == shape


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3,), ()], ids=["vector", "no axes"])
@pytest.mark.parametrize("function", UNARY)
def test_a_function_of_one_tensor_keeps_its_dtype_forward_and_backward(function, dtype, shape):
    x = Tensor(np.full(shape, 0.5, dtype), requires_grad=True)
    y = UNARY[function](x)
    assert y.dtype == dtype
    assert grad(y, x, np.ones(y.shape)).dtype == dtype


@pytest.mark.parametrize("operation", BINARY)
def test_a_float64_tensor_promotes_and_each_leaf_gets_its_own_dtype_back(operation):
    a = Tensor(np.full(3, 2, np.float32), requires_grad=True)
    b = Tensor(np.full(3, 3, np.float64), requires_grad=True)
    for y in (BINARY[operation](a, b), BINARY[operation](b, a)):
        assert y.dtype == np.float64
        y.sum().backward()
        assert (a.grad.dtype, b.grad.dtype) == (np.float32, np.float64)


def test_a_chain_back_to_float32_is_cast_where_the_dtypes_meet():
    a = Tensor([1.0], requires_grad=True)
    middle = (a * 2).retain_grad()
    (middle * Tensor(np.array([1 / 3]))).backward()
    assert middle.grad.dtype == a.grad.dtype == np.float32
    assert a.grad.tolist() == [2 * np.float32(1 / 3)]


def test_python_values_become_float32_and_arrays_keep_their_dtype():
    assert [Tensor(x).dtype for x in (1, 2.5, [1, 2], [[1.5]], (1, 2))] == [np.float32] * 5
    for dtype in (np.float32, np.float64, np.int64, np.uint8, np.bool_):
        assert Tensor(np.zeros(2, dtype)).dtype == dtype
    assert Tensor([True, False]).dtype == np.bool_
    assert Tensor(np.zeros(2, np.float16)).dtype == np.float32
    assert Tensor([1, 2], dtype=np.int64).dtype == np.int64
    assert Tensor(np.zeros(2), dtype=np.float32).dtype == np.float32


INTEGERS = {dtype: np.array([1, 0, 1, 1], dtype) for dtype in ("bool", "uint8", "int8", "int64")}


@pytest.mark.parametrize("dtype", INTEGERS)
def test_arithmetic_on_integer_and_bool_tensors_is_done_in_float32(dtype):
    x = Tensor(INTEGERS[dtype])
    cases = {
        "exp": (x.exp(), np.exp([1.0, 0, 1, 1])),
        "mean": (x.mean(), 0.75),
        "sum": (x.sum(), 3),
        "negative": (-x, [-1, 0, -1, -1]),
        "temperature": (x.softmax(temperature=0.5), np.exp([2.0, 0, 2, 2]) / (3 * np.exp(2) + 1)),
        "log_softmax": (x.log_softmax(), np.array([1.0, 0, 1, 1]) - np.log(3 * np.e + 1)),
        "slope": ((x - 1).leaky_relu(0.25), [0, -0.25, 0, 0]),
        "clip": (x.clip(0.5), [1, 0.5, 1, 1]),
        "gelu": (x.gelu(), [0.841344746, 0, 0.841344746, 0.841344746]),
        "pad": (minidl.pad(x[:1], [(0, 1)], value=0.5), [1, 0.5]),
        "no overflow": ((x * 200 + x * 100), [300, 0, 300, 300]),
        "with a tensor of its kind": (x + x, [2, 0, 2, 2]),
    }
    for name, (y, expected) in cases.items():
        assert y.dtype == np.float32, name
        np.testing.assert_allclose(y.data, expected, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_what_only_moves_elements_keeps_integers_and_bools(dtype):
    x = Tensor(INTEGERS[dtype])
    moved = [
        x[1:],
        x.reshape(2, 2),
        x.flatten(),
        x.T,
        x.expand_dims(0),
        x.expand_dims(0).squeeze(),
        x.detach(),
    ]
    moved.append(x.broadcast_to(3, 4))
    assert {y.dtype for y in moved} == {np.dtype(dtype)}


def test_without_any_floating_tensor_arithmetic_is_float32():
    assert minidl.maximum(np.zeros(2), 1).dtype == np.float32
    assert minidl.maximum(0, 1).dtype == np.float32
    assert minidl.stack([[1, 2], [3, 4]]).dtype == np.float32


class TurnsToFloat64(Op):
    """y = 2 x, in the wrong dtype"""

    def forward(self, x):
        return x.astype(np.float64) * 2


def test_a_forward_that_leaves_float32_is_named():
    with pytest.raises(TypeError, match=r"TurnsToFloat64.forward turned float32 into float64"):
        apply(TurnsToFloat64(), Tensor([1.0]))
