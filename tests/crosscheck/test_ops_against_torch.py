"""The engine's operations give PyTorch's values and gradients, on drawn arrays, ties and kinks included."""

import numpy as np
import pytest
from against_torch import agree, torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl import Tensor, apply
from minidl.engine.elementwise import ReLU6

seeds = st.integers(0, 2**32 - 1)
shapes = hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)


def halves(shape, seed):
    """Multiples of a half in -3 ... 3: many ties, zeros and values at the edges of clip."""
    return np.random.default_rng(seed).integers(-6, 7, shape) / 2


def positive(shape, seed):
    return np.random.default_rng(seed).uniform(0.1, 3, shape)


UNARY = {
    "neg": (lambda x: -x, lambda x: -x, halves),
    "abs": (abs, torch.abs, halves),
    "exp": (Tensor.exp, torch.exp, halves),
    "log": (Tensor.log, torch.log, positive),
    "sqrt": (Tensor.sqrt, torch.sqrt, positive),
    "tanh": (Tensor.tanh, torch.tanh, halves),
    "sigmoid": (Tensor.sigmoid, torch.sigmoid, lambda shape, seed: 300 * halves(shape, seed)),
    "relu": (Tensor.relu, torch.relu, halves),
    "relu6": (
        lambda x: apply(ReLU6(), x),
        torch.nn.functional.relu6,
        lambda shape, seed: 6 * halves(shape, seed),
    ),
    "leaky_relu": (
        lambda x: x.leaky_relu(0.1),
        lambda x: torch.nn.functional.leaky_relu(x, 0.1),
        halves,
    ),
    "gelu": (Tensor.gelu, torch.nn.functional.gelu, halves),
    "clip": (lambda x: x.clip(-1, 1.5), lambda x: x.clamp(-1, 1.5), halves),
    "clip low": (lambda x: x.clip(low=0), lambda x: x.clamp(min=0), halves),
    "square": (lambda x: x**2, lambda x: x**2, halves),
    "cube": (lambda x: x**3, lambda x: x**3, halves),
    "to the 0": (lambda x: x**0, lambda x: x**0, halves),
    "reciprocal": (lambda x: 1 / x, lambda x: 1 / x, positive),
    "2 to the": (lambda x: 2**x, lambda x: 2**x, halves),
    "T": (lambda x: x.T, lambda x: x.permute(tuple(range(x.ndim)[::-1])), halves),
    "flatten": (lambda x: x.flatten(), lambda x: x.flatten(), halves),
}

BINARY = {
    "add": (lambda a, b: a + b, lambda a, b: a + b),
    "sub": (lambda a, b: a - b, lambda a, b: a - b),
    "mul": (lambda a, b: a * b, lambda a, b: a * b),
    "div": (lambda a, b: a / (b * b + 1), lambda a, b: a / (b * b + 1)),
    "pow": (lambda a, b: (a + 3) ** (b * b), lambda a, b: (a + 3) ** (b * b)),
    "maximum": (minidl.maximum, torch.maximum),
    "minimum": (minidl.minimum, torch.minimum),
}

REDUCTIONS = {
    "sum": (Tensor.sum, torch.sum),
    "mean": (Tensor.mean, torch.mean),
    "max": (Tensor.max, torch.amax),
    "min": (Tensor.min, torch.amin),
    "logsumexp": (Tensor.logsumexp, torch.logsumexp),
}


@pytest.mark.parametrize("name", UNARY)
@given(shape=shapes, seed=seeds)
def test_functions_of_each_element(name, shape, seed):
    ours, theirs, values = UNARY[name]
    agree(ours, theirs, values(shape, seed))


@pytest.mark.parametrize("name", BINARY)
@given(both=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4), seed=seeds)
def test_functions_of_two_under_broadcasting(name, both, seed):
    a_shape, b_shape = both.input_shapes
    agree(*BINARY[name], halves(a_shape, seed), halves(b_shape, seed + 1))


@given(three=hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=4), seed=seeds)
def test_where_under_broadcasting(three, seed):
    condition_shape, a_shape, b_shape = three.input_shapes
    condition = np.random.default_rng(seed).random(condition_shape) < 0.5
    agree(
        lambda a, b: minidl.where(condition, a, b),
        lambda a, b: torch.where(torch.tensor(condition), a, b),
        halves(a_shape, seed),
        halves(b_shape, seed + 1),
    )


@pytest.mark.parametrize("name", REDUCTIONS)
@given(data=st.data(), shape=shapes.filter(len), seed=seeds, keepdims=st.booleans())
def test_reductions_over_any_axes(name, data, shape, seed, keepdims):
    ours, theirs = REDUCTIONS[name]
    axes = data.draw(hnp.valid_tuple_axes(len(shape), min_size=1))
    agree(
        lambda x: ours(x, axis=axes, keepdims=keepdims),
        lambda x: theirs(x, dim=axes, keepdim=keepdims),
        halves(shape, seed),
    )
    if name != "logsumexp":
        agree(ours, lambda x: theirs(x, dim=tuple(range(len(shape)))), halves(shape, seed))


@given(data=st.data(), shape=hnp.array_shapes(max_dims=3, min_side=2, max_side=4), seed=seeds)
def test_var(data, shape, seed):
    axes = data.draw(hnp.valid_tuple_axes(len(shape), min_size=1))
    for ddof in (0, 1):
        agree(lambda x: x.var(axes, ddof), lambda x: x.var(axes, correction=ddof), halves(shape, seed))  # noqa: B023


@given(shape=shapes.filter(len), seed=seeds, data=st.data(), temperature=st.sampled_from([0.1, 1.0, 5.0]))
def test_softmax_and_log_softmax(shape, seed, data, temperature):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = 10 * halves(shape, seed)
    agree(lambda x: x.softmax(axis, temperature=temperature), lambda x: (x / temperature).softmax(axis), x)
    agree(
        lambda x: x.log_softmax(axis, temperature=temperature),
        lambda x: (x / temperature).log_softmax(axis),
        x,
    )


def test_logsumexp_of_nothing_but_minus_infinity():
    x = torch.tensor([[-np.inf, -np.inf], [0.0, -np.inf]], dtype=torch.float64, requires_grad=True)
    y = x.logsumexp(1)
    assert Tensor(x.detach().numpy()).logsumexp(1).data.tolist() == y.tolist()


@given(
    both=hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, max_side=4), seed=seeds
)
def test_matmul_of_vectors_matrices_and_batches(both, seed):
    a_shape, b_shape = both.input_shapes
    agree(lambda a, b: a @ b, lambda a, b: a @ b, halves(a_shape, seed), halves(b_shape, seed + 1))


INDICES = {
    "integer": 1,
    "slice": slice(0, 3, 2),
    "ellipsis": (..., 0),
    "newaxis": (None, slice(1, None), None, 2),
    "repeats": np.array([0, 2, 2, 0, 2]),
    "two arrays": (np.array([0, 1, 1]), np.array([3, 0, 0])),
    "array between slices": (slice(1, None), np.array([[0, 0], [3, 1]]), slice(None, 1)),
    "arrays apart": (np.array([1, 1]), slice(None), np.array([0, 0])),
    "mask": np.arange(60).reshape(3, 4, 5) % 7 < 3,
    "mask of one axis": np.array([True, False, True]),
}


@pytest.mark.parametrize("name", INDICES)
def test_indexing(name):
    index = INDICES[name]
    parts = index if isinstance(index, tuple) else (index,)
    theirs = tuple(torch.tensor(part) if isinstance(part, np.ndarray) else part for part in parts)
    agree(lambda x: x[index], lambda x: x[theirs], halves((3, 4, 5), 0))


@given(shape=hnp.array_shapes(min_dims=2, max_dims=3, max_side=4), seed=seeds, data=st.data())
def test_what_moves_elements_about(shape, seed, data):
    x, other = halves(shape, seed), halves(shape, seed + 1)
    order = data.draw(st.permutations(range(len(shape))))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    agree(lambda x: x.reshape(shape[::-1]), lambda x: x.reshape(shape[::-1]), x)
    agree(lambda x: x.permute(*order), lambda x: x.permute(*order), x)
    agree(lambda x: x.transpose(order), lambda x: x.permute(*order), x)
    agree(lambda x: x.flatten(1), lambda x: x.flatten(1), x)
    agree(lambda x: x.expand_dims(axis), lambda x: x.unsqueeze(axis), x)
    agree(lambda x: x.expand_dims(axis).squeeze(axis), lambda x: x.unsqueeze(axis).squeeze(axis), x)
    agree(lambda x: x.broadcast_to(2, *shape), lambda x: x.expand(2, *shape), x)
    agree(lambda a, b: minidl.concatenate([a, b, a], axis), lambda a, b: torch.cat([a, b, a], axis), x, other)
    agree(lambda a, b: minidl.stack([a, b, a], axis), lambda a, b: torch.stack([a, b, a], axis), x, other)
    pairs = [(data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in shape]
    flat = [n for pair in pairs[::-1] for n in pair]
    agree(
        lambda x: minidl.pad(x, pairs, value=2.5),
        lambda x: torch.nn.functional.pad(x, flat, value=2.5),
        x,
    )
