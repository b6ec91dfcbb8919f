"""Exercises of lesson 11, continued: fold a BatchNorm module into the layer before it."""

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


UNEQUAL = {"stride": (2, 1), "padding": (0, 1), "dilation": (3, 1)}  # height and width


@layered.law("stride, padding, dilation, groups, mode and dtype are those of the given layer")
@given(pair=pairs_of_layers(), groups=st.sampled_from([1, 2]))
def same_settings(fold_batchnorm, pair, groups):
    layer, norm = pair
    one = Built("batch_norm", mean=(3.0,), var=(4.0,))
    if groups == 2:
        layer = Built("conv2d", weight=np.ones((2, 1, 2, 2)).tolist(), groups=2, **UNEQUAL)
        norm = Built("batch_norm", mean=(1.0, 2.0), var=(1.0, 1.0))
    found, twin = fold_batchnorm(layer, norm), layer.build()
    assert_equal(found["layers"], repr(twin).replace(", bias=False", ""))
    assert_equal((found["training"], found["requires_grad"]), (False, ["weight", "bias"]))
    for name in ("weight", "bias"):
        assert_dtype(found["state"][name], np.float32)
    for builder, weight in ONE_NUMBER.items():
        wide = fold_batchnorm(Built(builder, weight=weight, dtype="float64"), one)["state"]
        for name, number in (("weight", 2), ("bias", -3)):
            assert_dtype(wide[name], np.float64)
            assert_close(wide[name].ravel(), [number / (4 + 1e-5) ** 0.5], rtol=1e-12)


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
        for (builder, weight), bias in itertools.product(ONE_NUMBER.items(), ((1.0,), None)):
            learns = (path,) if bias else path == "weight"
            layer = Built(builder, weight=weight, bias=bias, requires_grad=learns)
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
            found = fold_batchnorm(layer, frozen)
            assert_close(found["state"]["bias"], [-1.0], **NEAR)
            assert_equal((found["training"], found["requires_grad"]), (training, ["weight", "bias"]))


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
