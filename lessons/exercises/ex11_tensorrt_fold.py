"""Exercises of lesson 11, continued: fold BatchNorm into a layer's arrays."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.compress import fuse

# ---- 11.2 folded

fold = Exercise(
    "11.2",
    fuse.folded,
    title="BatchNorm folded into a weight and a bias",
    points=2,
    level=1,
    minutes=15,
    hints=(
        "In evaluation mode, BatchNorm computes a x + c for each channel, with constants a and c. Put "
        "the layer's W x + b in place of x.",
        "f is one number for each output channel. It multiplies all weights of that channel, whatever "
        "the number of axes. Compute in float64 and cast at the end.",
        "factor.reshape(-1, *[1] * (weight.ndim - 1)) broadcasts along the first axis",
    ),
)

layers = st.tuples(st.integers(1, 3), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(
        arrays(shape),
        *[arrays((shape[0],))] * 2,
        arrays((shape[0],), low=0.25, high=4),
        *[arrays((shape[0],))] * 2,
        arrays((2, shape[1])),
    )
)


def batchnorm(y, mean, var, gamma, beta, eps):
    return gamma * (y - mean) / np.sqrt(var + eps) + beta


@fold.law("2 x + 1, then mean 3, var 4, gamma 6, beta 5, eps 0, becomes 6 x - 1")
def worked_fold(folded):
    weight, bias = folded(*(np.array(a) for a in ([[2.0]], [1.0], [3.0], [4.0], [6.0], [5.0])), 0.0)
    assert_close(weight, np.array([[6.0]]))
    assert_close(bias, np.array([-1.0]))


@fold.law("the new layer gives the same outputs as the layer followed by BatchNorm")
@given(layer=layers, eps=st.sampled_from([0.0, 0.25]))
def same_function(folded, layer, eps):
    weight, bias, mean, var, gamma, beta, x = layer
    new_weight, new_bias = folded(weight, bias, mean, var, gamma, beta, eps)
    assert_close(
        x @ new_weight.T + new_bias,
        batchnorm(x @ weight.T + bias, mean, var, gamma, beta, eps),
        rtol=1e-9,
        atol=1e-9,
    )


@fold.law("a missing bias counts as 0, a missing gamma as 1, and a missing beta as 0")
@given(layer=layers, has_gamma=st.booleans(), has_beta=st.booleans())
def defaults(folded, layer, has_gamma, has_beta):
    weight, _, mean, var, gamma, beta, x = layer
    given_rows = {**({"gamma": gamma} if has_gamma else {}), **({"beta": beta} if has_beta else {})}
    new_weight, new_bias = folded(weight, None, mean, var, **given_rows)
    gamma, beta = given_rows.get("gamma", 1.0), given_rows.get("beta", 0.0)
    expected = batchnorm(x @ weight.T, mean, var, gamma, beta, 1e-5)
    assert_close(x @ new_weight.T + new_bias, expected, rtol=1e-9, atol=1e-9)


@fold.law("the new weight has the shape of the old one, for filters of any shape")
@given(weight=arrays((2, 3, 2, 1)), mean=arrays((2,)))
def any_shape(folded, weight, mean):
    by_columns = np.asfortranarray(weight)  # in memory
    new_weight, new_bias = folded(by_columns, None, mean, np.array([1.0, 4.0]), eps=0.0)
    assert_equal((new_weight.shape, new_bias.shape), ((2, 3, 2, 1), (2,)))
    assert_close(new_weight, np.stack([weight[0], weight[1] / 2]))
    assert_close(new_bias, -mean / [1, 2])
    for shape in ((2,), (2, 2), (2, 2, 2), (2, 2, 2, 2, 2)):
        new_weight, _ = folded(np.ones(shape), None, mean, np.array([1.0, 4.0]), eps=0.0)
        assert_equal(new_weight, np.stack([np.ones(shape[1:]), np.full(shape[1:], 0.5)]))


@fold.law("the results have the weight's dtype, also if bias, gamma or beta are missing")
def folded_in_the_weights_dtype(fold):
    mean, var = np.ones(2), np.full(2, 4.0)
    for dtype, *values in itertools.product(
        (np.float16, np.float32, np.float64), (3, None), (6, None), (5, None)
    ):
        rows = [None if value is None else np.full(2, float(value)) for value in values]
        results = fold(np.ones((2, 3), dtype), rows[0], mean, var, rows[1], rows[2], 0.0)
        b, f, beta = values[0] or 0, (values[1] or 1) / 2, values[2] or 0
        for result, value in zip(results, (np.full((2, 3), f), np.full(2, f * (b - 1) + beta)), strict=True):
            assert_dtype(result, dtype)
            assert_equal(result, value)


@fold.law("all rows count in float64: 2^26 + 1 - 2^26 is 1, but in float32 it would be 0")
def differences_in_float64(fold):
    weight, large = np.ones((1, 1), np.float32), 2.0**26
    near = 1 + 1 / large  # in float32 this is 1
    for rows in (  # bias, mean, var, gamma, beta
        (large + 1, large, 1, 1, 0),
        (large, large - 1, 1, 1, 0),
        (large, 0, 1, near, -large),
        (large, 0, near**-2, 1, -large),
        (0, large, 1, 1, large + 1),
    ):
        _, bias = fold(weight, *(np.array([float(value)]) for value in rows), eps=0.0)
        assert_close(bias, [1.0])
    own, mean, var, gamma = (np.array([value], np.float32) for value in (1000.0, 1000.1, 0.7, 0.9))
    f = float(gamma[0]) / (float(var[0]) + 1e-5) ** 0.5
    for old, b in ((own, 1000.0), (None, 0.0)):
        beta = np.array([f * (float(mean[0]) - b)])  # the new bias is 0, but for the last digits
        _, bias = fold(weight, old, mean, var, gamma, beta)
        assert_close(bias, [0.0], atol=1e-10)


@fold.law("sqrt(var + eps) is computed in float64, also if var is given in float32")
def deviation_in_float64(fold):
    narrow = [np.array([value], np.float32) for value in (0.9, 300.3, 0.7, 1.3, 0.1)]
    own, mean, var, gamma, beta = narrow
    weight, bias = fold(np.array([[1.7]]), *narrow, eps=1e-3)
    factor = float(gamma[0]) / (float(var[0]) + 1e-3) ** 0.5
    assert_close(weight, [[1.7 * factor]], rtol=1e-12)
    assert_close(bias, [float(beta[0]) + factor * (float(own[0]) - float(mean[0]))], rtol=1e-12)
    ninths = np.arange(1, 40, dtype=np.float32).reshape(1, -1) / 9
    var = np.array([0.3], np.float32)
    weight, _ = fold(ninths, own, mean, var, gamma, beta, eps=1e-3)
    wide = float(gamma[0]) / (float(var[0]) + 1e-3) ** 0.5 * ninths.astype(np.float64)
    assert_equal(weight, wide.astype(np.float32))  # with a factor in float32, some would be rounded twice
    var = np.array([-0.9], np.float32)  # 2e-8 above -0.9
    weight, _ = fold(np.ones((1, 1)), None, mean, var, eps=0.9)
    assert_close(weight, [[1 / (float(var[0]) + 0.9) ** 0.5]])


@fold.law("ValueError: var + eps is not above 0 (a small sum is allowed), or mean or var has another length")
def refuses_no_deviation(fold):
    one = np.ones(2)
    for var in ((0.0, 1.0), (1.0, -1.0), (1.0, np.nan)):
        assert_refuses(f"var = {var}", fold, np.ones((2, 3)), None, one, np.array(var), one, one, 0.0)
    weight, _ = fold(np.ones((2, 1)), None, one, np.array([0.0, 0.75]), one, one, 0.25)
    assert_close(weight, [[2.0], [1.0]])
    weight, _ = fold(np.ones((2, 1)), None, one, np.array([-0.25, 0.0]), one, one, 0.5)
    assert_close(weight, [[2.0], [2.0**0.5]])
    weight, bias = fold(np.ones((2, 1)), None, one, np.array([1e-40, 1.0]), one, one, 0.0)
    assert_close(weight, [[1e20], [1.0]])
    assert_close(bias, [-1e20, 0.0])
    for outputs, length in ((2, 1), (2, 3), (1, 2)):
        W, one, other = np.ones((outputs, 3)), np.ones(outputs), np.ones(length)
        for mean, var in ((other, one), (one, other), (other, other)):
            which = f"{outputs} outputs, {len(mean)} means and {len(var)} variances"
            assert_refuses(which, fold, W, one, mean, var)


@fold.mistake("used the variance instead of the deviation, its root", breaks=fold.laws[0].text)
def no_root(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    return fuse.folded(weight, bias, mean, (var + eps) ** 2, gamma, beta, 0.0)


@fold.mistake("did not scale the bias", breaks=fold.laws[0].text)
def bias_as_it_was(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    new_weight, new_bias = fuse.folded(weight, None, mean, var, gamma, beta, eps)
    return new_weight, new_bias + (0.0 if bias is None else bias)


@fold.mistake(
    "left eps out", breaks="a missing bias counts as 0, a missing gamma as 1, and a missing beta as 0"
)
def no_eps(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    return fuse.folded(weight, bias, mean, var, gamma, beta, 0.0)


@fold.mistake(
    "scaled along the axis of the inputs, not of the outputs",
    breaks="the new layer gives the same outputs as the layer followed by BatchNorm",
)
def wrong_axis(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    _, new_bias = fuse.folded(weight, bias, mean, var, gamma, beta, eps)
    factor = (1.0 if gamma is None else gamma) / np.sqrt(np.asarray(var, np.float64) + eps)
    return (weight * np.resize(factor, weight.shape[-1])).astype(weight.dtype), new_bias
