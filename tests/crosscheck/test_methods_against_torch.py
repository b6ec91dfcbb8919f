"""Methods under NumPy's and PyTorch's names give PyTorch's values and gradients, zeros and ties included."""

import numpy as np
import pytest
from against_torch import agree, torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_ops_against_torch import halves, positive, seeds

import minidl

shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)
wide = hnp.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=4)


@given(shape=shapes, seed=seeds)
def test_functions_of_each_element(shape, seed):
    x = halves(shape, seed)
    agree(lambda x: x.sin() * x.cos(), lambda x: x.sin() * x.cos(), x)
    agree(lambda x: +x + x.clamp(min=-1, max=1.5), lambda x: +x + x.clamp(min=-1, max=1.5), x)
    agree(lambda x: x.root(), lambda x: x.sqrt(), positive(shape, seed))


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "logsumexp"])
@given(shape=shapes, seed=seeds, keepdim=st.booleans(), data=st.data())
def test_reductions_by_pytorchs_names(name, shape, seed, keepdim, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    both = lambda x: getattr(x, name)(dim=dim, keepdim=keepdim)  # noqa: E731
    agree(both, both, halves(shape, seed))


@pytest.mark.parametrize("p", [1, 2, float("inf")])
@given(shape=shapes, seed=seeds, keepdim=st.booleans(), data=st.data())
def test_norms_with_slope_0_at_0(p, shape, seed, keepdim, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = halves(shape, seed)
    x[0] = 0
    both = lambda x: x.norm(p, dim=dim, keepdim=keepdim)  # noqa: E731
    agree(both, both, x)
    agree(lambda x: x.norm(p), lambda x: x.norm(p), x)


@given(shape=wide, seed=seeds, correction=st.integers(0, 1), data=st.data(), constant=st.booleans())
def test_deviations_with_slope_0_where_nothing_varies(shape, seed, correction, data, constant):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.ones(shape) if constant else halves(shape, seed)
    both = lambda x: x.std(dim=dim, correction=correction)  # noqa: E731
    agree(both, both, x)


@given(shape=shapes, seed=seeds, data=st.data(), keepdim=st.booleans())
def test_the_places_of_maxima(shape, seed, data, keepdim):
    dim, x = data.draw(st.integers(-len(shape), len(shape) - 1)), halves(shape, seed)
    distinct = x + np.arange(x.size).reshape(shape) / 1000  # PyTorch says nothing of ties
    ours = minidl.Tensor(distinct).argmax(dim=dim, keepdim=keepdim)
    np.testing.assert_array_equal(ours, torch.tensor(distinct).argmax(dim=dim, keepdim=keepdim))
    assert minidl.Tensor(distinct).argmax() == torch.tensor(distinct).argmax()


@given(shape=shapes, seed=seeds, data=st.data())
def test_what_moves_elements_about(shape, seed, data):
    i, j = (data.draw(st.integers(-len(shape), len(shape) - 1)) for _ in range(2))
    reps, count = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)), data.draw(st.integers(1, 5))
    x = halves(shape, seed)
    agree(lambda x: x.swapaxes(i, j), lambda x: x.transpose(i, j), x)
    agree(lambda x: x.flip(dims=[i]), lambda x: x.flip(dims=[i]), x)
    agree(lambda x: x.tile(*reps), lambda x: x.tile(*reps), x)
    agree(lambda x: x.cumsum(dim=i), lambda x: x.cumsum(dim=i), x)
    agree(lambda x: x.unsqueeze(i).view(-1), lambda x: x.unsqueeze(i).reshape(-1), x)
    pieces = minidl.Tensor(x).chunk(count, dim=i)
    assert [piece.shape for piece in pieces] == [tuple(p.shape) for p in torch.tensor(x).chunk(count, dim=i)]
    agree(lambda x: x.chunk(count, dim=i)[-1], lambda x: x.chunk(count, dim=i)[-1], x)
    if len(shape) > 1:
        agree(lambda x: x.flatten(0, 1), lambda x: x.flatten(0, 1), x)


@pytest.mark.parametrize(
    "equation",
    ["ij,jk->ik", "bij,bjk->bik", "i,j->ij", "ij->ji", "ij->", "ij,ij", "ij,jk,kb->ib", "i,i,i->i"],
)
@given(seed=seeds)
def test_einsum(equation, seed):
    sizes = dict(zip("bijk", np.random.default_rng(seed).integers(1, 5, 4).tolist(), strict=True))
    arrays = [
        halves([sizes[c] for c in term], seed + i)
        for i, term in enumerate(equation.split("->")[0].split(","))
    ]
    agree(lambda *x: minidl.einsum(equation, *x), lambda *x: torch.einsum(equation, *x), *arrays)
