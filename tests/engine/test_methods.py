"""Methods that are made of others, and PyTorch's names: values by hand or NumPy's, and what is refused."""

import copy
import pickle
import re

import numpy as np
import pytest
from drawn import seeds, shapes, spread
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl import Tensor, grad, gradcheck
from minidl.engine import instead
from minidl.engine.methods import takes_dim

X = np.arange(6, dtype=np.float32).reshape(2, 3)
T = Tensor(X)


# ---- numbers


@pytest.mark.parametrize(("p", "norm"), [(2, 5.0), (1, 7.0), (np.inf, 4.0)])
def test_norms_of_3_and_4_by_hand(p, norm):
    assert Tensor([3.0, -4.0]).norm(p).item() == norm
    assert Tensor([[3.0, -4.0]]).norm(p, axis=1, keepdims=True).data.tolist() == [[norm]]


@pytest.mark.parametrize("p", [1, 2, np.inf])
def test_a_norm_has_slope_0_at_0(p):
    x = Tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    slopes = grad(x.norm(p, axis=1).sum(), x)
    assert slopes[0].tolist() == [0, 0]
    assert slopes[1].tolist() == {1: [1, 1], 2: [np.float32(0.6), np.float32(0.8)], np.inf: [0, 1]}[p]


@given(
    shape=hnp.array_shapes(max_dims=3, max_side=3),
    seed=seeds,
    p=st.sampled_from([1, 2, np.inf]),
    data=st.data(),
)
def test_the_gradient_of_a_norm(shape, seed, p, data):
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    gradcheck(lambda x: x.norm(p, axis), spread(shape, seed))


def test_std_by_hand_and_its_slope_0_where_nothing_varies():
    assert Tensor([1.0, 3.0]).std().item() == 1
    assert Tensor([1.0, 3.0]).std(ddof=1).item() == np.sqrt(2, dtype=np.float32)
    x = Tensor([[2.0, 2.0], [1.0, 3.0]], requires_grad=True)
    assert grad(x.std(axis=1).sum(), x).tolist() == [[0, 0], [-0.5, 0.5]]


@given(shape=hnp.array_shapes(min_side=2, max_dims=2, max_side=4), seed=seeds, ddof=st.integers(0, 1))
def test_the_gradient_of_std(shape, seed, ddof):
    gradcheck(lambda x: x.std(-1, ddof), spread(shape, seed))


def test_argmax_is_an_array_of_integers_with_the_first_of_equals():
    found = Tensor([[1.0, 5.0, 5.0], [7.0, 0.0, 7.0]]).argmax(axis=1)
    assert isinstance(found, np.ndarray) and found.dtype == np.int64 and found.tolist() == [1, 0]
    assert T.argmax() == 5 and T.argmax(axis=0, keepdims=True).tolist() == [[1, 1, 1]]


def test_a_cumulative_sum_and_a_product_by_hand():
    assert T.cumsum(1).data.tolist() == [[0, 1, 3], [3, 7, 12]]
    assert T.prod(axis=1).data.tolist() == [0, 60]
    x = Tensor([2.0, 0.0, 5.0], requires_grad=True)
    assert grad(x.prod(), x).tolist() == [0, 10, 0]


# ---- shape


@given(shape=shapes.filter(len), seed=seeds, data=st.data())
def test_swapaxes_flip_and_tile_are_numpys_and_chunk_joins_up_again(shape, seed, data):
    x = spread(shape, seed)
    i, j = (data.draw(st.integers(-len(shape), len(shape) - 1)) for _ in range(2))
    reps = data.draw(st.lists(st.integers(0, 3), max_size=4))
    count = data.draw(st.integers(1, 4))
    assert np.array_equal(Tensor(x).swapaxes(i, j).data, np.swapaxes(x, i, j))
    assert np.array_equal(Tensor(x).flip(i).data, np.flip(x, i))
    assert np.array_equal(Tensor(x).flip().data, np.flip(x))
    assert np.array_equal(Tensor(x).tile(*reps).data, np.tile(x, reps))
    pieces = Tensor(x).chunk(count, i)
    assert len({piece.shape for piece in pieces[:-1]}) <= 1 and len(pieces) <= count
    assert np.array_equal(minidl.concatenate(pieces, i).data, x)
    gradcheck(lambda x: x.swapaxes(i, j).flip(i), x)
    gradcheck(lambda x: x.tile(2, *reps), x)
    gradcheck(lambda x: x.chunk(count, i)[0], x)


def test_five_in_two_chunks_are_three_and_two_as_in_pytorch():
    assert [len(piece) for piece in Tensor(np.arange(5.0)).chunk(2)] == [3, 2]
    assert [len(piece) for piece in Tensor(np.arange(6.0)).chunk(4)] == [2, 2, 2]


def test_a_cast_to_integers_leaves_the_graph_and_keeps_what_fits():
    x = Tensor([1.5, -2.5], requires_grad=True)
    y = x.astype(np.int64)
    assert y.data.tolist() == [1, -2] and not y.requires_grad
    assert Tensor(np.arange(3)).astype(np.float32).dtype == np.float32


# ---- PyTorch's names


def test_the_aliases_are_the_methods_that_they_stand_for():
    assert np.array_equal(T.view(3, -1).data, X.reshape(3, 2))
    assert T.unsqueeze(1).shape == T.unsqueeze(dim=1).shape == (2, 1, 3)
    assert T.permute(1, 0).shape == T.permute((1, 0)).shape == (3, 2)
    assert T.permute(0, 1).shape == (2, 3)
    assert T.clamp(min=1).data.tolist() == [[1, 1, 2], [3, 4, 5]]
    assert T.clamp(1, max=2).data.tolist() == [[1, 1, 2], [2, 2, 2]]
    assert np.array_equal(T.matmul(T.T).data, X @ X.T)
    assert +T is T


REDUCED = ("sum", "mean", "var", "std", "prod", "logsumexp", "norm", "argmax")


@pytest.mark.parametrize("name", REDUCED)
def test_dim_and_keepdim_stand_for_axis_and_keepdims(name):
    method = getattr(T, name)
    assert np.array_equal(np.asarray(method(dim=1, keepdim=True)), np.asarray(method(axis=1, keepdims=True)))
    assert np.shape(method(dim=1, keepdim=True)) == (2, 1)


def test_the_other_functions_take_dim_as_well():
    assert np.array_equal(T.softmax(dim=0).data, T.softmax(axis=0).data)
    assert np.array_equal(T.log_softmax(dim=0).data, T.log_softmax(axis=0).data)
    assert np.array_equal(T.cumsum(dim=0).data, T.cumsum(0).data)
    assert np.array_equal(T.flip(dims=[0]).data, T.flip(0).data)
    assert [piece.shape for piece in T.chunk(3, dim=1)] == [(2, 1)] * 3
    assert T.expand_dims(dim=0).squeeze(dim=0).shape == (2, 3)
    assert minidl.concatenate([T, T], dim=1).shape == (2, 6) and minidl.stack([T, T], dim=1).shape == (
        2,
        2,
        3,
    )
    assert T.var(dim=0, correction=1).data.tolist() == [4.5] * 3
    assert T.var(dim=0, unbiased=True).data.tolist() == [4.5] * 3  # divided by 2 - 1
    assert T.std(dim=0, unbiased=False).data.tolist() == [1.5] * 3  # divided by 2
    assert minidl.var(T, 0, unbiased=True).data.tolist() == [4.5] * 3


def test_size_is_numpys_number_and_its_call_is_pytorchs():
    assert T.size == 6 and isinstance(T.size, int) and repr(T.size) == "6"
    assert T.size() == (2, 3) and T.size(0) == 2 and T.size(-1) == T.size(dim=1) == 3
    assert Tensor(1.0).size() == () and copy.deepcopy(T.size)(0) == 2
    assert pickle.loads(pickle.dumps(T.size)) == 6 and X.reshape(-1, T.size).shape == (1, 6)


def test_a_method_is_a_function_of_minidl_as_well():
    assert minidl.flatten(T, 1).shape == (2, 3) and minidl.sum(T, dim=0).data.tolist() == [3, 5, 7]
    assert minidl.exp(X).data.tolist() == T.exp().data.tolist()


def test_the_name_of_an_argument_is_found_in_its_own_signature():
    @takes_dim
    def function(axis=None):
        return axis

    assert function(dim=3) == function(axis=3) == function(3) == 3


def test_copying_and_pickling_ask_for_no_attribute_that_is_not_there():
    assert np.array_equal(copy.deepcopy(T).data, X) and np.array_equal(pickle.loads(pickle.dumps(T)).data, X)


def test_the_mends_of_normalize_and_cosine_similarity_give_0_for_a_row_of_zeros_as_in_pytorch():
    a, b = Tensor([[0.0, 0.0], [3.0, 4.0]]), Tensor([[1.0, 2.0], [4.0, 3.0]])
    values = {"minidl": minidl, "x": a, "a": a, "b": b}
    unit = eval(instead.FUNCTIONAL["normalize"], values)
    cosine = eval(instead.FUNCTIONAL["cosine_similarity"], values)
    np.testing.assert_allclose(unit.data, [[0, 0], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(cosine.data, [0, 0.96], rtol=1e-6)


def test_the_names_in_the_mends_are_there():
    homes = {"minidl": minidl, "nn": minidl.nn, "F": minidl.nn.functional, "np": np, "t": T}
    homes |= {"rng": np.random.default_rng(), "module": minidl.nn.ReLU()}
    tables = {
        name: table for name, table in vars(instead).items() if isinstance(table, dict) and name.isupper()
    }
    assert set(tables) == {"TENSOR", "MINIDL", "MODULE", "FUNCTIONAL", "NN", "TRAIN", "SCHEDULES"}
    found = 0
    for mend in " ".join(text for table in tables.values() for text in table.values()).split():
        for home, path in re.findall(r"\b(minidl|nn|F|np|t|rng|module)\.([A-Za-z_][\w.]*\w)", mend):
            value = homes[home]
            for name in path.split("."):
                value = None if (home, name) == ("module", "name") else getattr(value, name)
            found += 1
    assert found > 50
    assert all(
        hasattr(minidl.train.schedules, re.match(r"\w+", text.split("with ")[1])[0])
        for text in [mend for name, mend in instead.SCHEDULES.items() if name != "LambdaLR"]
    )


NONE = np.zeros((0, 3), np.float32)
REFUSED = [
    (
        lambda: T.transpose(0, 1),
        ValueError,
        r"transpose\(0, 1\) leaves a matrix unchanged here, but swaps in PyTorch",
    ),
    (lambda: T.transpose(-2, -1), ValueError, r"write swapaxes\(0, 1\), or transpose\(\(0, 1\)\)"),
    (lambda: T.expand_dims(0).transpose(0, 1), ValueError, "needs all 3 axes, .* swapaxes takes two"),
    (lambda: T.max(dim=1), TypeError, r"max\(dim\) gives values and places in PyTorch: write t.max\(axis"),
    (lambda: T.max(0), TypeError, r"values and places in PyTorch: write t.max\(axis=...\) for the values"),
    (lambda: T.min(1), TypeError, r"write t.min\(axis=...\) for the values, and np.argmin\(t.data"),
    (lambda: T.sum(axis=0, dim=1), TypeError, "sum got one argument under two names: axis, dim"),
    (lambda: T.std(unbiased=1), TypeError, "unbiased must be True or False, got 1"),
    (lambda: T.sum(unbiased=True), TypeError, "unexpected keyword argument 'ddof'"),
    (lambda: T.std(unbiased=True, ddof=1), TypeError, "one argument under two names: unbiased, ddof"),
    (lambda: T.size(2), ValueError, r"axis of an array of 2 dimensions must be within \[-2, 1\], got 2"),
    (lambda: T.size("a"), TypeError, "axis of an array of 2 dimensions must be an integer, got 'a'"),
    (lambda: Tensor(1.0).size(0), ValueError, r"array of 0 dimensions must be within \[0, -1\], got 0"),
    (lambda: T.copy_(X), AttributeError, "write t.data = array"),
    (lambda: minidl.mm(T, T), AttributeError, "module 'minidl' has no attribute 'mm': write t @ other"),
    (lambda: minidl.long, AttributeError, "write np.int64"),
    (lambda: minidl.rand, AttributeError, r"write minidl.Tensor\(rng.random\(\.\.\.\)\)"),
    (lambda: minidl.rand_like, AttributeError, r"write minidl.Tensor\(rng.random\(\.\.\.\)\)"),
    (lambda: minidl.randn, AttributeError, r"write minidl.Tensor\(rng.normal\(size=\.\.\.\)\)"),
    (lambda: minidl.utils, AttributeError, r"write minidl.data.batches\(images, labels, 32\)"),
    (lambda: minidl.nn.LSTM, AttributeError, "module 'minidl.nn' has no attribute 'LSTM'$"),
    (lambda: minidl.nn.utils, AttributeError, "write minidl.train.clip_grad_norm"),
    (lambda: minidl.nn.functional.kl_div, AttributeError, r"write \(p \* \(log_p - log_q\)\)"),
    (lambda: minidl.train.lr_scheduler, AttributeError, "write minidl.train.schedules"),
    (lambda: minidl.train.schedules.LambdaLR, AttributeError, "with lr times your function"),
    (lambda: T.std(0, True), TypeError, "ddof must be an integer, got True: .* write unbiased=True"),
    (lambda: T.var(0, False), TypeError, "ddof must be an integer, got False: .* write unbiased=False"),
    (lambda: T.std(ddof=6), ValueError, "ddof must be below the number of values 6"),
    (lambda: T.norm(3), ValueError, r"p must be one of 1.0, 2.0, inf, got 3"),
    (lambda: T.norm("fro"), TypeError, "p must be a number, got 'fro'"),
    (lambda: T.norm(axis=2), ValueError, r"must be within \[-2, 1\], got 2"),
    (lambda: T.argmax(axis=(0, 1)), TypeError, "axis of an array of 2 dimensions must be an integer"),
    (lambda: Tensor(NONE).argmax(), ValueError, r"argmax needs elements: the shape is \(0, 3\)"),
    (lambda: T.argmax(keepdims=1), TypeError, "keepdims must be True or False"),
    (lambda: T.cumsum(None), TypeError, "axis of an array .* must be an integer, got None"),
    (lambda: T.cumsum(2), ValueError, r"within \[-2, 1\], got 2"),
    (lambda: T.prod(axis=2), ValueError, r"within \[-2, 1\], got 2"),
    (lambda: T.swapaxes(0, 2), ValueError, r"within \[-2, 1\], got 2"),
    (lambda: T.flip((0, 0)), ValueError, "names an axis twice"),
    (lambda: T.chunk(0), ValueError, "chunks must be at least 1, got 0"),
    (lambda: T.chunk(2, axis=2), ValueError, r"within \[-2, 1\], got 2"),
    (lambda: T.tile(-1), ValueError, "each of reps must be .*, got -1"),
    (lambda: T.tile("a"), TypeError, "each of reps must be an integer"),
    (lambda: T.astype("complex64"), TypeError, "a Tensor holds float32/64, integers or bools"),
    (lambda: Tensor([-1.0]).astype(np.uint8), ValueError, "uint8 holds 0 ... 255"),
    (lambda: T.clamp(2, 1), ValueError, "clip needs low <= high"),
    (lambda: T.unsqueeze(None), TypeError, "axis must be an integer"),
    (lambda: T.permute(0), ValueError, "transpose needs all 2 axes"),
    (lambda: T.flatten(1, 0), ValueError, "end_dim must not lie before start_dim, got 1 and 0"),
    (lambda: T.flatten(0, 2), ValueError, r"end_dim must be within \[-2, 1\], got 2"),
    (lambda: minidl.einsum("ij,jk", T, T), ValueError, r"Einsum of .* the shapes do not fit .* ij,jk->ik"),
    (lambda: minidl.einsum("ij", T, T), ValueError, "do not fit the equation"),
    (lambda: minidl.einsum("ii", T), ValueError, "'ii' of 'ii' names an axis twice"),
    (lambda: minidl.einsum("ij->k", T), ValueError, r"the output of 'ij->k' names \['k'\]"),
    (lambda: minidl.einsum("...j->j", T), ValueError, "equation must be letters, commas and one ->"),
    (lambda: minidl.einsum(T, T), TypeError, "equation must be a str"),
    (
        lambda: T.float(),
        AttributeError,
        r"'Tensor' object has no attribute 'float': write t.astype\(np.float32\)",
    ),
    (lambda: T.numel(), AttributeError, "write t.size"),
    (lambda: T.nothing, AttributeError, "'Tensor' object has no attribute 'nothing'$"),
    (lambda: minidl.zeros(3), AttributeError, r"write minidl.Tensor\(np.zeros\(...\)\)"),
    (lambda: minidl.max(T, 1), AttributeError, r"write t.max\(axis=...\), and t.argmax"),
    (lambda: minidl.cat([T, T]), AttributeError, "write minidl.concatenate"),
    (lambda: minidl._apply, AttributeError, "module 'minidl' has no attribute '_apply'$"),
]


@pytest.mark.parametrize("attempt, error, message", REFUSED, ids=[message for *_, message in REFUSED])
def test_what_pytorch_would_do_otherwise_or_makes_no_sense_is_refused_in_words(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()
