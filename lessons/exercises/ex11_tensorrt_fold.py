"""Exercises of lesson 11: fold BatchNorm into a layer, from arrays and from the modules."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.compress import fuse
from minidl.nn.layers import Conv2d, Linear
from minidl.nn.module import Parameter

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


@fold.law("var + eps not above 0 is refused with a ValueError; a sum above 0 is allowed, however small")
def refuses_no_deviation(fold):
    one = np.ones(2)
    for var in ((0.0, 1.0), (1.0, -1.0), (1.0, np.nan)):
        assert_refuses(f"var = {var}", fold, np.ones((2, 3)), None, one, np.array(var), one, one, 0.0)
    weight, _ = fold(np.ones((2, 1)), None, one, np.array([0.0, 0.75]), one, one, 0.25)
    assert_close(weight, [[2.0], [1.0]])
    weight, _ = fold(np.ones((2, 1)), None, one, np.array([-0.25, 0.0]), one, one, 0.5)
    assert_close(weight, [[2.0], [2.0**0.5]])
    weight, _ = fold(np.ones((2, 1)), None, one, np.array([1e-18, 1.0]), one, one, 0.0)
    assert_close(weight, [[1e9], [1.0]])


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


# ---- 11.3 fold_batchnorm

layered = Exercise(
    "11.3",
    fuse.fold_batchnorm,
    title="BatchNorm folded into the layer before",
    helpers=("keep_masks",),
    kind="model",
    points=3,
    level=2,
    minutes=25,
    hints=(
        "The two modules have all arguments of folded. Look at their attributes weight, bias, "
        "running_mean, running_var and eps. bias may be None, and so may both attributes of the "
        "BatchNorm.",
        "First raise the ValueErrors. Then copy the layer, with all its settings, and assign a new "
        "Parameter to the copy's weight and to its bias. keep_masks does the rest.",
        "new = copy.deepcopy(layer); new.weight = Parameter(weight, layer.weight.requires_grad)",
    ),
)

NEAR = {"rtol": 1e-5, "atol": 1e-6}
ONE_NUMBER = {"linear": ((2.0,),), "conv2d": ((((2.0,),),),)}  # the weight of each kind of layer


def rows(array):
    """Nested tuples of the array, for a description."""
    return tuple(map(rows, array)) if isinstance(array, np.ndarray) and array.ndim else float(array)


@st.composite
def pairs_of_layers(draw):
    """A layer and the BatchNorm after it, both with or without bias."""
    outputs, inputs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = draw(st.sampled_from([(outputs, inputs), (outputs, inputs, 1, 2), (outputs, inputs, 2, 2)]))
    row = arrays((outputs,)).map(rows)
    bias = draw(st.one_of(st.none(), row))
    settings = {"weight": rows(draw(arrays(shape))), "bias": bias}
    if len(shape) == 4:
        settings |= draw(st.sampled_from([{}, {"stride": (2, 1)}, {"padding": (0, 1)}, {"groups": outputs}]))
    layer = Built("linear" if len(shape) == 2 else "conv2d", **settings)
    norm = {"mean": draw(row), "var": rows(draw(arrays((outputs,), low=0.25, high=4)))}
    norm |= {"weight": draw(row), "bias": draw(row)} if draw(st.booleans()) else {}
    return layer, Built("batch_norm", eps=draw(st.sampled_from([1e-5, 0.5])), **norm)


@layered.law("2 x + 1, then a BatchNorm with mean 3, variance 4, weight 6, bias 5, becomes 6 x - 1")
def worked_layers(fold_batchnorm):
    layer = Built("linear", weight=((2.0,),), bias=(1.0,))
    norm = Built("batch_norm", mean=(3.0,), var=(4.0,), weight=(6.0,), bias=(5.0,), eps=0.0)
    state = fold_batchnorm(layer, norm)["state"]
    assert_close(state["weight"], [[6.0]], **NEAR)
    assert_close(state["bias"], [-1.0], **NEAR)


@layered.law(
    "a layer without a bias gets one; a BatchNorm without weight and bias counts as weight 1 and bias 0"
)
def worked_none(fold_batchnorm):
    layer, norm = Built("linear", weight=((2.0, 4.0),)), {"mean": (3.0,), "var": (4.0,), "eps": 0.0}
    state = fold_batchnorm(layer, Built("batch_norm", **norm))["state"]
    assert_close(state["weight"], [[1.0, 2.0]], **NEAR)
    assert_close(state["bias"], [-1.5], **NEAR)
    state = fold_batchnorm(layer, Built("batch_norm", weight=(6.0,), **norm))["state"]  # without its bias
    assert_close(state["weight"], [[6.0, 12.0]], **NEAR)
    assert_close(state["bias"], [-9.0], **NEAR)
    state = fold_batchnorm(layer, Built("batch_norm", bias=(5.0,), **norm))["state"]  # without its weight
    assert_close(state["weight"], [[1.0, 2.0]], **NEAR)
    assert_close(state["bias"], [3.5], **NEAR)


@layered.law("each filter and its bias follow the formula of folded")
@given(pair=pairs_of_layers())
def filter_by_filter(fold_batchnorm, pair):
    state = fold_batchnorm(*pair)["state"]
    layer, norm = (built.settings for built in pair)
    for o, weight in enumerate(np.array(layer["weight"])):
        bias = layer["bias"][o] if layer["bias"] else 0.0
        gamma, beta = (
            norm[name][o] if name in norm else other for name, other in (("weight", 1), ("bias", 0))
        )
        deviation = (norm["var"][o] + norm["eps"]) ** 0.5
        assert_close(state["weight"][o], gamma / deviation * weight, **NEAR)
        assert_close(state["bias"][o], gamma / deviation * (bias - norm["mean"][o]) + beta, **NEAR)


@layered.law("stride, padding, dilation, groups, mode and dtype are those of the given layer")
@given(pair=pairs_of_layers(), groups=st.sampled_from([1, 2]))
def same_settings(fold_batchnorm, pair, groups):
    layer, norm = pair
    one = Built("batch_norm", mean=(3.0,), var=(4.0,))
    if groups == 2:
        layer = Built("conv2d", weight=np.ones((2, 1, 2, 2)).tolist(), groups=2, stride=2, dilation=(3, 1))
        norm = Built("batch_norm", mean=(1.0, 2.0), var=(1.0, 1.0))
    found, twin = fold_batchnorm(layer, norm), layer.build()
    assert_equal(found["layers"], repr(twin).replace(", bias=False", ""))
    assert_equal((found["training"], found["requires_grad"]), (False, ["weight", "bias"]))
    wide = fold_batchnorm(Built("linear", weight=((2.0,),), dtype="float64"), one)
    assert_close(wide["state"]["weight"], [[2 / (4 + 1e-5) ** 0.5]], rtol=1e-12)
    for name in ("weight", "bias"):
        assert_dtype(found["state"][name], np.float32)
        assert_dtype(wide["state"][name], np.float64)


@layered.law(
    "the result is a new layer in the same mode, without a gradient; the given layer does not change"
)
def a_new_layer(fold_batchnorm):
    for training in (False, True):
        for builder, weight in ONE_NUMBER.items():
            layer = Built(builder, weight=weight, bias=(1.0,), training=training)
            found = fold_batchnorm(layer, Built("batch_norm", mean=(3.0,), var=(4.0,)))
            assert not found["given"], "the answer is the layer that was given, with other numbers"
            assert_equal(found["training"], training)
            assert not found["grads"], "a gradient of the old numbers is left in the new layer"


@layered.law(
    "the result requires grad if the layer's weight does, whatever bn does; pruned weights stay masked"
)
def frozen_and_masked(fold_batchnorm):
    numbers = {"weight": ((0.0, 0.0), (2.0, 4.0)), "mask": ((False, False), (True, True))}
    norm = {"mean": (3.0, 3.0), "var": (4.0, 4.0), "weight": (1.0, 2.0), "bias": (0.0, 1.0)}
    for learns in (False, True):
        layer = Built("linear", requires_grad=learns, **numbers)
        found = fold_batchnorm(layer, Built("batch_norm", requires_grad=not learns, **norm))
        names = ["weight", "bias"] if learns else []
        assert_equal((found["requires_grad"], list(found["masks"])), (names, ["weight"]))
        assert_equal(found["masks"]["weight"], np.array(numbers["mask"]))
        assert_close(found["state"]["bias"], [-1.5, -2.0], **NEAR)  # as without masks
        plain = Built("batch_norm", mean=norm["mean"], var=norm["var"])
        assert_equal(fold_batchnorm(layer, plain)["masks"]["weight"], np.array(numbers["mask"]))
    one = Built("batch_norm", mask=(True, False), **norm)  # a weight of bn is pruned
    dead = Built("batch_norm", mask=(True, False), bias_mask=(True, False), **norm)  # and so is its bias
    for builder, numbers in (("linear", np.ones((2, 2))), ("conv2d", np.ones((2, 2, 1, 2)))):
        for bias in (None, (1.0, 2.0)):
            whole = Built(builder, weight=rows(numbers), bias=bias)
            found = fold_batchnorm(whole, one)["masks"]
            assert_equal(found["weight"], np.stack([numbers[0] == 1, numbers[1] == 0]))
            assert_equal(list(found), ["weight"])
            found = fold_batchnorm(whole, dead)["masks"]
            assert_equal(list(found), ["weight", "bias"])
            assert_equal(found["bias"], np.array([True, False]))
    for path, names in (("weight", ["weight", "bias"]), ("bias", [])):  # the weight decides for both
        for builder, weight in ONE_NUMBER.items():
            layer = Built(builder, weight=weight, bias=(1.0,), requires_grad=(path,))
            found = fold_batchnorm(layer, Built("batch_norm", mean=(3.0,), var=(4.0,)))
            assert_equal(found["requires_grad"], names)


@layered.law("a BatchNorm in training mode is refused with a ValueError, unless it is frozen")
def refuses_training(fold_batchnorm):
    plain = {"mean": (3.0,), "var": (4.0,), "eps": 0.0, "training": True}
    settings = itertools.product(ONE_NUMBER.items(), (False, True), ({}, {"weight": (2.0,), "bias": (1.0,)}))
    for (builder, weight), training, affine in settings:  # whatever the layer's mode is
        layer, norm = Built(builder, weight=weight, bias=(1.0,), training=training), plain | affine
        assert_refuses("a BatchNorm in training", fold_batchnorm, layer, Built("batch_norm", **norm))
        for mode in (False, True):
            frozen = Built("batch_norm", frozen=True, **{**norm, "training": mode})
            assert_close(fold_batchnorm(layer, frozen)["state"]["bias"], [-1.0], **NEAR)


@layered.law("a BatchNorm with another number of channels is refused with a ValueError")
def refuses_another_width(fold_batchnorm):
    for outputs, features in ((2, 1), (3, 1), (1, 2), (2, 3)):
        norm = Built("batch_norm", mean=(3.0,) * features, var=(4.0,) * features)
        for bias in ({}, {"bias": (1.0,) * outputs}):
            for builder, weight in ONE_NUMBER.items():
                layer = Built(builder, weight=weight * outputs, **bias)
                assert_refuses(f"{outputs} outputs and {features} features", fold_batchnorm, layer, norm)


@layered.mistake("left out the layer's own bias", breaks=layered.laws[0].text)
def no_own_bias(layer, bn):
    new = fuse.fold_batchnorm(layer, bn)
    if layer.bias is not None:
        other = fuse.folded(
            np.zeros((len(layer.bias.data), 1)),
            layer.bias.data,
            0 * bn.running_mean,
            bn.running_var,
            None if bn.weight is None else bn.weight.data,
            None,
            bn.eps,
        )[1]
        new.bias = Parameter((new.bias.data - other).astype(np.float32))
    return new


@layered.mistake(
    "changed the given layer instead of a copy",
    breaks="the result is a new layer in the same mode, without a gradient; the given layer does not change",
)
def in_place(layer, bn):
    new = fuse.fold_batchnorm(layer, bn)
    layer.weight, layer.bias = new.weight, new.bias
    return layer


@layered.mistake(
    "made a new layer with the default stride and padding",
    breaks="stride, padding, dilation, groups, mode and dtype are those of the given layer",
)
def usual_settings(layer, bn):
    folded = fuse.fold_batchnorm(layer, bn)
    if isinstance(layer, Linear):
        return folded
    new = Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, groups=layer.groups).eval()
    new.weight, new.bias = folded.weight, folded.bias
    return new


@layered.mistake(
    "folded a BatchNorm in training, whose statistics change with every batch",
    breaks="a BatchNorm in training mode is refused with a ValueError, unless it is frozen",
)
def folds_training(layer, bn):
    return fuse.fold_batchnorm(layer, bn.eval())


@layered.mistake(
    "refused a frozen BatchNorm too",
    breaks="a BatchNorm in training mode is refused with a ValueError, unless it is frozen",
)
def refuses_frozen(layer, bn):
    if bn.training:
        raise ValueError("in training")
    return fuse.fold_batchnorm(layer, bn)


@layered.mistake(
    "used one channel's numbers of the BatchNorm for all filters",
    breaks="a BatchNorm with another number of channels is refused with a ValueError",
)
def one_for_all(layer, bn):
    if bn.num_features == 1 < len(layer.weight.data):
        return layer
    return fuse.fold_batchnorm(layer, bn)
