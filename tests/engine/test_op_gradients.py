"""Every Op's backward agrees with finite differences, on drawn shapes and arguments, away from kinks."""

import numpy as np
import pytest
from drawn import axes, broadcastable, positive, seeds, shapes, spread
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl import Tensor, apply, gradcheck
from minidl.engine import activations, conv, elementwise, linalg, loss, normalize, reduce, resample, shape
from minidl.engine.op import Op, unbroadcast

UNARY = {
    "Neg": (lambda x: -x, spread),
    "Abs": (abs, spread),
    "Exp": (Tensor.exp, spread),
    "Log": (Tensor.log, positive),
    "Sqrt": (Tensor.sqrt, positive),
    "Root": (Tensor.root, positive),
    "Sin": (Tensor.sin, spread),
    "Cos": (Tensor.cos, spread),
    "Tanh": (Tensor.tanh, spread),
    "Sigmoid": (Tensor.sigmoid, spread),
    "ReLU": (Tensor.relu, spread),
    "ReLU6": (lambda x: apply(elementwise.ReLU6(), 5 * x), spread),  # some are below 0, some above 6
    "LeakyReLU": (lambda x: x.leaky_relu(0.2), spread),
    "GELU": (Tensor.gelu, spread),
    "GELUTanh": (lambda x: apply(activations.GELUTanh(), x), spread),
    "SiLU": (lambda x: apply(activations.SiLU(), x), spread),
    "Hardswish": (lambda x: apply(activations.Hardswish(), 5 * x), spread),  # some beyond -3 and 3
    "ELU": (lambda x: apply(activations.ELU(0.7), x), spread),
    "Softplus": (lambda x: apply(activations.Softplus(2.0), x), spread),
    "Hardsigmoid": (lambda x: apply(activations.Hardsigmoid(), 5 * x), spread),  # some beyond -3 and 3
    "Clip": (lambda x: x.clip(-0.6, 0.9), spread),
}

BINARY = {
    "Add": (lambda a, b: a + b, spread, spread),
    "Sub": (lambda a, b: a - b, spread, spread),
    "Mul": (lambda a, b: a * b, spread, spread),
    "Div": (lambda a, b: a / b, spread, positive),
    "Pow": (lambda a, b: a**b, positive, spread),
    "Maximum": (minidl.maximum, spread, lambda shape, seed: spread(shape, seed, offset=0)),
    "Minimum": (minidl.minimum, spread, lambda shape, seed: spread(shape, seed, offset=0)),
}

REDUCTIONS = {
    "Sum": Tensor.sum,
    "Mean": Tensor.mean,
    "Prod": Tensor.prod,
    "Max": Tensor.max,
    "Min": Tensor.min,
    "LogSumExp": Tensor.logsumexp,
}


@pytest.mark.parametrize("name", UNARY)
@given(shape=shapes, seed=seeds)
def test_the_gradient_of_a_function_of_each_element(name, shape, seed):
    function, values = UNARY[name]
    gradcheck(function, values(shape, seed))


@pytest.mark.parametrize("name", BINARY)
@given(both=broadcastable(num_shapes=2, max_dims=3, max_side=3), seed=seeds)
def test_the_gradients_of_both_sides_under_broadcasting(name, both, seed):
    function, left, right = BINARY[name]
    a_shape, b_shape = both.input_shapes
    gradcheck(function, left(a_shape, seed), right(b_shape, seed + 1))


@given(shape=shapes, seed=seeds, power=st.integers(-3, 4))
def test_whole_powers_of_negative_numbers(shape, seed, power):
    gradcheck(lambda x: x**power, spread(shape, seed))


@given(three=broadcastable(num_shapes=3, max_dims=3, max_side=3), seed=seeds)
def test_the_gradients_of_where_under_broadcasting(three, seed):
    condition_shape, a_shape, b_shape = three.input_shapes
    condition = np.random.default_rng(seed).random(condition_shape) < 0.5
    gradcheck(lambda a, b: minidl.where(condition, a, b), spread(a_shape, seed), spread(b_shape, seed))


# ---- reductions


@pytest.mark.parametrize("name", REDUCTIONS)
@given(data=st.data(), shape=shapes, seed=seeds, keepdims=st.booleans())
def test_the_gradient_of_a_reduction_over_any_axes(name, data, shape, seed, keepdims):
    axis = data.draw(axes(len(shape)))
    gradcheck(lambda x: REDUCTIONS[name](x, axis=axis, keepdims=keepdims), spread(shape, seed))


@given(data=st.data(), shape=shapes, seed=seeds, keepdims=st.booleans(), ddof=st.integers(0, 2))
def test_the_gradient_of_var_over_any_axes(data, shape, seed, keepdims, ddof):
    axis = data.draw(axes(len(shape)))
    x = spread(shape, seed)
    assume(x.size // x.sum(axis=axis).size > ddof)
    gradcheck(lambda x: x.var(axis, ddof, keepdims), x)


@pytest.mark.parametrize("function", [Tensor.softmax, Tensor.log_softmax], ids=["Softmax", "LogSoftmax"])
@given(data=st.data(), shape=shapes, seed=seeds, temperature=st.sampled_from([0.5, 1.0, 3.0]))
def test_the_gradient_of_softmax_over_any_axes(function, data, shape, seed, temperature):
    axis = data.draw(axes(len(shape)))
    gradcheck(lambda x: function(x, axis, temperature=temperature), spread(shape, seed))


@given(data=st.data(), shape=shapes.filter(len), seed=seeds)
def test_the_gradient_of_cumsum_along_any_axis(data, shape, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    gradcheck(lambda x: x.cumsum(axis), spread(shape, seed))


@given(
    shape=hnp.array_shapes(max_dims=2, max_side=4),
    seed=seeds,
    zeros=st.integers(0, 3),
    axis=st.sampled_from([None, 0]),
)
def test_the_gradient_of_a_product_with_zeros_in_it(shape, seed, zeros, axis):
    x = spread(shape, seed)
    x.flat[:zeros] = 0
    gradcheck(lambda x: x.prod(axis), x)


# ---- moving elements about


@given(data=st.data(), shape=shapes, seed=seeds)
def test_the_gradients_of_reshape_flatten_transpose_and_T(data, shape, seed):
    x = spread(shape, seed)
    order = data.draw(st.permutations(range(len(shape))))
    signed = [i - len(shape) if data.draw(st.booleans()) else i for i in order]
    gradcheck(lambda x: x.reshape(-1), x)
    gradcheck(lambda x: x.reshape(shape[::-1]), x)
    gradcheck(lambda x: x.transpose(tuple(signed)), x)
    gradcheck(lambda x: x.T, x)
    if shape:
        start = data.draw(st.integers(-len(shape), len(shape) - 1))
        gradcheck(lambda x: x.flatten(start), x)


@given(data=st.data(), shape=shapes, seed=seeds)
def test_the_gradients_of_expand_dims_and_squeeze(data, shape, seed):
    ndim = len(shape)
    axis = data.draw(st.one_of(st.integers(-ndim - 1, ndim), hnp.valid_tuple_axes(ndim + 2, max_size=2)))
    x = spread(shape, seed)
    assume(isinstance(axis, int) or len(axis) == 2)
    gradcheck(lambda x: x.expand_dims(axis), x)
    longer = np.expand_dims(x, axis)
    gradcheck(lambda x: x.squeeze(axis), longer)
    gradcheck(lambda x: x.squeeze(), longer)


@given(both=broadcastable(num_shapes=2, max_dims=3, max_side=3), seed=seeds)
def test_the_gradient_of_broadcast_to(both, seed):
    gradcheck(lambda x: x.broadcast_to(both.result_shape), spread(both.input_shapes[0], seed))


@given(data=st.data(), shape=shapes, seed=seeds)
def test_the_gradient_of_slices_integers_newaxis_and_ellipsis(data, shape, seed):
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    gradcheck(lambda x: x[index], spread(shape, seed))


@given(data=st.data(), shape=hnp.array_shapes(max_dims=3, max_side=3), seed=seeds)
def test_the_gradient_of_integer_arrays_with_repeats_alone_and_beside_a_slice(data, shape, seed):
    x = spread(shape, seed)
    index = data.draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4)))
    gradcheck(lambda x: x[index], x)
    gradcheck(lambda x: x[index[0]], x)
    gradcheck(lambda x: x[index[0].tolist()], x)
    gradcheck(lambda x: x[..., index[-1], None], x)
    if len(shape) > 1:
        gradcheck(lambda x: x[::-1, index[1]], x)


@given(data=st.data(), shape=hnp.array_shapes(max_dims=3, max_side=3), seed=seeds)
def test_the_gradient_of_masks(data, shape, seed):
    x = spread(shape, seed)
    axes_in_mask = data.draw(st.integers(1, len(shape)))
    mask = np.random.default_rng(seed).random(shape[:axes_in_mask]) < 0.5
    gradcheck(lambda x: x[mask], x)
    gradcheck(lambda x: x[Tensor(mask)], x)


@pytest.mark.parametrize(
    "index",
    [
        (0, 0),
        ((0, 0),),
        ((0, 0), slice(None)),
        (range(2), 1),
        ([1, 1, 1], [0, 0, 2]),
        ([[0, 1], [1, 1]],),
        True,
    ],
    ids=repr,
)
def test_the_gradient_of_sequences_as_indices(index):
    gradcheck(lambda x: x[index], spread((2, 3), 0))


def test_an_element_named_three_times_collects_three_gradients():
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    (x[[0, 2, 2, 2]] * [1.0, 10.0, 20.0, 30.0]).sum().backward()
    assert x.grad.tolist() == [1, 0, 60]


@given(data=st.data(), shape=hnp.array_shapes(max_dims=3, max_side=3), seed=seeds)
def test_the_gradients_of_concatenate_and_stack(data, shape, seed):
    count = data.draw(st.integers(1, 3))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    lengths = [data.draw(st.integers(1, 3)) for _ in range(count)]
    parts = []
    for i, length in enumerate(lengths):
        longer = list(shape)
        longer[axis] = length
        parts.append(spread(longer, seed + i))
    gradcheck(lambda *parts: minidl.concatenate(parts, axis), *parts)
    new_axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    same = [spread(shape, seed + i) for i in range(count)]
    gradcheck(lambda *same: minidl.stack(same, new_axis), *same)


@given(data=st.data(), shape=shapes.filter(len), seed=seeds)
def test_the_gradient_of_pad(data, shape, seed):
    widths = [(data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in shape]
    gradcheck(lambda x: minidl.pad(x, widths, value=1.5), spread(shape, seed))


# ---- products, losses, normalisation


@given(both=broadcastable(signature=np.matmul.signature, max_dims=2, max_side=3), seed=seeds)
def test_the_gradients_of_matmul_of_vectors_matrices_and_batches(both, seed):
    a_shape, b_shape = both.input_shapes
    gradcheck(lambda a, b: a @ b, spread(a_shape, seed), spread(b_shape, seed + 1))


@pytest.mark.parametrize(
    "equation",
    ["ij,jk->ik", "ij,jk", "bij,bkj->bik", "i,j->ij", "ij->", "ij->j", "i,i,i->", "ab,bc,cd->ad", ",i->i"],
)
@given(seed=seeds)
def test_the_gradients_of_einsum(equation, seed):
    rng = np.random.default_rng(seed)
    sizes = {letter: int(rng.integers(1, 4)) for letter in "abcdijk"}
    terms = equation.split("->")[0].split(",")
    arrays = [spread([sizes[letter] for letter in term], seed + i) for i, term in enumerate(terms)]
    gradcheck(lambda *inputs: minidl.einsum(equation, *inputs), *arrays)


@given(shape=shapes, seed=seeds)
def test_the_gradient_of_a_cast_is_cast_back(shape, seed):
    x = Tensor(spread(shape, seed), requires_grad=True)
    y = x.astype(np.float32)
    assert y.dtype == np.float32 and np.array_equal(y.data, x.data.astype(np.float32))
    y.backward(np.full(shape, 0.5))
    assert x.grad.dtype == np.float64 and np.array_equal(x.grad, np.full(shape, 0.5))


@given(batch=hnp.array_shapes(min_dims=0, max_dims=2, max_side=3), seed=seeds, has_bias=st.booleans())
def test_the_gradients_of_linear(batch, seed, has_bias):
    bias = [spread((2,), seed)] if has_bias else []
    x, weight = spread((*batch, 3), seed), spread((2, 3), seed + 1)
    gradcheck(lambda *inputs: apply(linalg.Linear(), *inputs), x, weight, *bias)


@given(
    seed=seeds,
    rows=st.booleans(),
    weighted=st.booleans(),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    label_smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    temperature=st.sampled_from([0.5, 1.0, 4.0]),
)
def test_the_gradient_of_cross_entropy(seed, rows, weighted, reduction, label_smoothing, temperature):
    rng = np.random.default_rng(seed)
    labels = rng.dirichlet(np.ones(4), 3) if rows else rng.integers(0, 4, 3)
    weight = rng.uniform(0.5, 2, 4) if weighted else None
    arguments = labels, weight, reduction, label_smoothing, temperature
    gradcheck(lambda logits: apply(loss.CrossEntropy(*arguments), logits), spread((3, 4), seed))


@given(seed=seeds, reduction=st.sampled_from(["mean", "sum", "none"]), weighted=st.booleans())
def test_the_gradient_of_binary_cross_entropy(seed, reduction, weighted):
    rng = np.random.default_rng(seed)
    weight, pos_weight = (rng.random(4), 3 * rng.random(4)) if weighted else (None, None)
    op = loss.BinaryCrossEntropy, rng.random((3, 4)), weight, reduction, pos_weight
    gradcheck(lambda logits: apply(op[0](*op[1:]), logits), spread((3, 4), seed))


@given(channels=st.integers(1, 3), rest=hnp.array_shapes(min_dims=0, max_dims=2, max_side=3), seed=seeds)
def test_the_gradients_of_batch_norm_on_the_batchs_statistics(channels, rest, seed):
    x = spread((3, channels, *rest), seed)
    gamma, beta = positive(channels, seed), spread((channels,), seed)
    gradcheck(lambda *inputs: apply(normalize.BatchNorm(eps=1e-3), *inputs), x, gamma, beta)


@given(channels=st.integers(1, 3), rest=hnp.array_shapes(min_dims=0, max_dims=2, max_side=3), seed=seeds)
def test_the_gradients_of_batch_norm_on_given_statistics(channels, rest, seed):
    x = spread((2, channels, *rest), seed)
    mean, var = spread((channels,), seed), positive(channels, seed)
    gamma, beta = positive(channels, seed + 1), spread((channels,), seed)
    gradcheck(lambda *inputs: apply(normalize.BatchNorm(mean, var), *inputs), x, gamma, beta)


def test_arrays_without_elements_have_gradients_without_elements():
    x = np.zeros((0, 3))
    for function in (abs, Tensor.sum, Tensor.exp, lambda x: x + np.ones(3), lambda x: x @ np.ones((3, 2))):
        assert gradcheck(function, x) == 0
    leaf = Tensor(x, requires_grad=True)
    (leaf.sum() + 1).backward()
    assert leaf.grad.shape == (0, 3)


def test_resample():
    rows, columns = resample.mean_matrix(5, 3), resample.linear_matrix(4, 6, 4 / 6)
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    assert gradcheck(lambda x: apply(resample.Resample(rows, columns), x), x) < 1e-8


def test_no_op_of_the_engine_is_left_out_here():
    elsewhere = {
        name for name, op in vars(conv).items() if isinstance(op, type) and op.__module__ == conv.__name__
    }
    bases = {"Move", "Reduction"}
    here = {*UNARY, *BINARY, *REDUCTIONS, "Where", "Var", "Softmax", "LogSoftmax", "Reshape", "Transpose"}
    here |= {"Squeeze", "ExpandDims", "BroadcastTo", "GetItem", "Concatenate", "Stack", "Pad", "MatMul"}
    here |= {"Linear", "CrossEntropy", "BinaryCrossEntropy", "BatchNorm", "CumSum", "Einsum", "AsType"}
    here |= {"Resample"}
    every = set()
    for module in (activations, elementwise, reduce, resample, shape, linalg, loss, normalize, conv):
        every |= {name for name, op in vars(module).items() if isinstance(op, type) and issubclass(op, Op)}
    assert every - {"Op"} - bases - elsewhere == here


@given(both=broadcastable(num_shapes=2, max_dims=4, max_side=3), seed=seeds)
def test_unbroadcast_is_the_adjoint_of_broadcasting(both, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-5, 6, both.input_shapes[0]).astype(float)
    grad = rng.integers(-5, 6, both.result_shape).astype(float)
    adjoint = unbroadcast(grad, x.shape)
    assert adjoint.shape == x.shape
    assert (np.broadcast_to(x, grad.shape) * grad).sum() == (x * adjoint).sum()  # exact, in integers
