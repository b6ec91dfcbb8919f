"""Convolution and pooling: against their definitions, by hand, by adjoints, in both modes of the kernels."""

from contextlib import nullcontext

import numpy as np
import pytest
from drawn import seeds
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate2d

import minidl
from minidl import Tensor, gradcheck
from minidl.engine import jit, kernels
from minidl.engine.conv import AvgPool2d, Conv2d, MaxPool2d, conv_output_size
from minidl.engine.tensor import apply

MODES = {"compiled": nullcontext, "plain": minidl.debug}
modes = pytest.mark.parametrize("mode", MODES)


def pairs(least, most):
    return st.tuples(st.integers(least, most), st.integers(least, most))


COMMON = [  # kernel, stride, padding, dilation
    ((1, 1), (1, 1), (0, 0), (1, 1)),
    ((3, 3), (1, 1), (1, 1), (1, 1)),
    ((3, 3), (2, 2), (1, 1), (1, 1)),
    ((5, 5), (1, 1), (2, 2), (1, 1)),
    ((5, 5), (2, 2), (2, 2), (1, 1)),
    ((5, 3), (3, 2), (0, 4), (2, 1)),
]


@st.composite
def convolutions(draw, dtype=np.float64):
    """An Op, arrays that fit it, and the generator that made them."""
    rng = np.random.default_rng(draw(seeds))
    kernel, stride, padding, dilation = (
        draw(pairs(1, 3)),
        draw(pairs(1, 3)),
        draw(pairs(0, 2)),
        draw(pairs(1, 2)),
    )
    if draw(st.booleans()):  # often enough to test every path
        kernel, stride, padding, dilation = draw(st.sampled_from(COMMON))
    groups, group_in, group_out = (draw(st.integers(1, 4)) for _ in range(3))
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation, strict=True)]
    size = [n + draw(st.integers(0, 3)) for n in least]
    x = rng.standard_normal((draw(st.integers(1, 3)), groups * group_in, *size)).astype(dtype)
    weight = rng.standard_normal((groups * group_out, group_in, *kernel)).astype(dtype)
    bias = rng.standard_normal(groups * group_out).astype(dtype)
    return Conv2d(stride, padding, dilation, groups), x, weight, bias, rng


@st.composite
def poolings(draw):
    rng = np.random.default_rng(draw(seeds))
    kernel = draw(pairs(1, 4))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    stride = draw(st.one_of(st.none(), pairs(1, 3)))
    size = [max(1, k - 2 * p) + draw(st.integers(0, 4)) for k, p in zip(kernel, padding, strict=True)]
    x = rng.integers(-3, 4, (2, 2, *size)).astype(np.float64)  # few values, so many ties
    return kernel, stride, padding, x, rng


def padded(x, padding, value=0.0):
    return np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)), constant_values=value)


def windows(x, kernel, stride, padding, margin):
    """(N, C, OH, OW, kh kw): NumPy's view of every window, as a second opinion on where they are."""
    stride = stride or kernel
    view = np.lib.stride_tricks.sliding_window_view(padded(x, padding, margin), kernel, axis=(2, 3))
    view = view[:, :, :: stride[0], :: stride[1]]
    return view.reshape(*view.shape[:4], -1)


# ---- convolution


@modes
@given(case=convolutions())
def test_conv2d_is_its_definition(mode, case):
    op, x, weight, bias, _ = case
    with MODES[mode]():
        y = op.forward(x, weight, bias)
    expected = kernels.conv2d_loops(padded(x, op.padding), weight, op.stride, op.dilation, op.groups)
    np.testing.assert_allclose(y, expected + bias[:, None, None], rtol=1e-12, atol=1e-12)


@given(seed=seeds, size=pairs(3, 6), kernel=pairs(1, 3))
def test_the_definition_is_what_scipy_computes(seed, size, kernel):
    rng = np.random.default_rng(seed)
    x, weight = rng.standard_normal((1, 2, *size)), rng.standard_normal((1, 2, *kernel))
    expected = sum(correlate2d(x[0, c], weight[0, c], mode="valid") for c in range(2))
    np.testing.assert_allclose(kernels.conv2d_loops(x, weight, (1, 1), (1, 1), 1)[0, 0], expected, atol=1e-12)


@modes
def test_conv2d_by_hand(mode):
    x = np.arange(9.0).reshape(1, 1, 3, 3)  # 0 1 2 / 3 4 5 / 6 7 8
    weight = np.array([[[[1.0, 0.0], [0.0, 10.0]]]])
    with MODES[mode]():
        assert Conv2d().forward(x, weight).tolist() == [[[[40, 51], [73, 84]]]]
        assert Conv2d().forward(x, weight, np.array([0.5])).tolist() == [[[[40.5, 51.5], [73.5, 84.5]]]]
        assert Conv2d(stride=2).forward(x, weight).tolist() == [[[[40]]]]
        assert Conv2d(dilation=2).forward(x, weight).tolist() == [[[[80]]]]
        assert Conv2d(padding=(1, 0)).forward(x, weight).tolist() == [
            [[[10, 20], [40, 51], [73, 84], [6, 7]]]
        ]


@modes
def test_the_outputs_of_a_group_see_its_own_channels_only(mode):
    x = np.array([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1, 1)
    weight = np.ones((4, 2, 1, 1))
    with MODES[mode]():
        assert Conv2d(groups=2).forward(x, weight).ravel().tolist() == [11, 11, 1100, 1100]


@modes
@given(case=convolutions())
def test_backward_is_the_adjoint_of_conv2d_in_the_image_and_in_the_weights(mode, case):
    """<conv(x'), g> = <x', grad_x> for any x', and the same for weight and bias: conv2d is linear in each."""
    op, x, weight, bias, rng = case
    with MODES[mode]():
        grad = rng.standard_normal(op.forward(x, weight, bias).shape)
        grad_x, grad_weight, grad_bias = op.backward(grad)
        other_x, other_weight = rng.standard_normal(x.shape), rng.standard_normal(weight.shape)
        other_bias = rng.standard_normal(bias.shape)
        settings = op.stride, op.padding, op.dilation, op.groups
        by_x = Conv2d(*settings).forward(other_x, weight)
        by_weight = Conv2d(*settings).forward(x, other_weight, other_bias)
    assert (by_x * grad).sum() == pytest.approx((other_x * grad_x).sum(), abs=1e-9)
    expected = (other_weight * grad_weight).sum() + (other_bias * grad_bias).sum()
    assert (by_weight * grad).sum() == pytest.approx(expected, abs=1e-9)


@modes
def test_finite_differences_agree_with_the_gradients_of_conv2d(mode):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 4, 5, 4)), rng.standard_normal((2, 2, 3, 2))
    with MODES[mode]():
        gradcheck(lambda *inputs: apply(Conv2d((2, 1), (1, 0), (1, 2), 2), *inputs), x, weight, np.ones(2))
        gradcheck(lambda *inputs: apply(Conv2d(padding=1), *inputs), x[:, :2], weight)


def test_the_weights_gradient_sums_over_a_batch_that_does_not_divide_into_the_parts():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((jit.PARTS + 3, 1, 4, 4)), rng.standard_normal((2, 1, 3, 3))
    op = Conv2d()
    grad = rng.standard_normal(op.forward(x, weight).shape)
    _, grad_weight = op.backward(grad)
    for o in range(2):
        expected = sum(correlate2d(x[n, 0], grad[n, o], mode="valid") for n in range(len(x)))
        np.testing.assert_allclose(grad_weight[o, 0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("needs", [(1, 1, 1), (0, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)])
def test_backward_does_no_work_for_gradients_that_nobody_needs(needs, monkeypatch):
    done = []
    run = jit.run
    monkeypatch.setattr(
        jit, "run", lambda ns, *calls: (done.extend(c[0].__name__ for c in calls), run(ns, *calls))
    )
    op = Conv2d()
    y = op.forward(np.ones((2, 1, 3, 3)), np.ones((1, 1, 2, 2)), np.ones(1))
    op.needs = tuple(map(bool, needs))
    done.clear()
    grads = op.backward(y)
    assert done == ["conv2d_grad_x"] * needs[0] + ["conv2d_grad_weight"] * needs[1]
    assert all(grad is not None for grad, need in zip(grads, needs, strict=True) if need)


# ---- im2col


@modes
def test_im2col_lays_patches_into_columns(mode):
    image = np.arange(12.0).reshape(1, 3, 4)  # 0 1 2 3 / 4 5 6 7 / 8 9 10 11
    columns = np.zeros((4, 6))
    sparse = np.zeros((4, 2))
    with MODES[mode]():
        jit.compiled(kernels.im2col)(image, (2, 2), (1, 1), (1, 1), columns)
        jit.compiled(kernels.im2col)(image, (2, 2), (1, 1), (2, 2), sparse)
    assert columns.T.tolist()[:4] == [[0, 1, 4, 5], [1, 2, 5, 6], [2, 3, 6, 7], [4, 5, 8, 9]]
    assert sparse.T.tolist() == [[0, 2, 8, 10], [1, 3, 9, 11]]


@modes
@given(case=convolutions())
def test_col2im_is_the_adjoint_of_im2col(mode, case):
    op, x, weight, _, rng = case
    image = padded(x, op.padding)[0]
    sizes = [
        conv_output_size(*axis)
        for axis in zip(image.shape[1:], weight.shape[2:], op.stride, (0, 0), op.dilation, strict=True)
    ]
    columns = np.zeros((len(image) * weight[0, 0].size, sizes[0] * sizes[1]))
    settings = weight.shape[2:], op.stride, op.dilation
    with MODES[mode]():
        jit.compiled(kernels.im2col)(image, *settings, columns)
        others, collected = rng.standard_normal(columns.shape), np.full(image.shape, np.nan)
        jit.compiled(kernels.col2im)(others, *settings, collected)
    assert (columns * others).sum() == pytest.approx((image * collected).sum(), abs=1e-9)


def test_conv_output_size_by_hand():
    assert conv_output_size(28, 5) == 24
    assert conv_output_size(28, 3, padding=1) == 28
    assert conv_output_size(7, 3, stride=2) == 3
    assert conv_output_size(8, 3, stride=2) == 3  # the last column is left over
    assert conv_output_size(7, 3, dilation=3) == 1
    with pytest.raises(ValueError, match=r"larger than the padded image: 7 pixels .* against 6"):
        conv_output_size(4, 3, padding=1, dilation=3)


# ---- pooling


@modes
@given(case=poolings())
def test_max_pool2d_finds_the_first_largest_value_of_each_window(mode, case):
    kernel, stride, padding, x, _ = case
    op = MaxPool2d(kernel, stride, padding)
    with MODES[mode]():
        y = op.forward(x)
    view = windows(x, kernel, stride, padding, -np.inf)
    assert np.array_equal(y, view.max(axis=-1))
    places = np.arange(x[0, 0].size, dtype=float).reshape(1, 1, *x.shape[2:])
    places = windows(places, kernel, stride, padding, np.nan)
    first = np.take_along_axis(np.broadcast_to(places, view.shape), view.argmax(axis=-1)[..., None], axis=-1)
    assert np.array_equal(op.switches, first[..., 0])


@modes
@given(case=poolings())
def test_the_gradient_of_max_pool2d_goes_to_the_switches(mode, case):
    kernel, stride, padding, x, rng = case
    op = MaxPool2d(kernel, stride, padding)
    with MODES[mode]():
        grad = rng.standard_normal(op.forward(x).shape)
        grad_x = op.backward(grad)
    expected = np.zeros((*x.shape[:2], x[0, 0].size))
    for n, c, r, s in np.ndindex(grad.shape):
        expected[n, c, op.switches[n, c, r, s]] += grad[n, c, r, s]
    np.testing.assert_allclose(grad_x, expected.reshape(x.shape), atol=1e-12)


@modes
def test_max_pool2d_by_hand(mode):
    x = np.array([[1.0, 5, 2, 2], [3, 5, 2, 2], [0, 0, 0, -1]]).reshape(1, 1, 3, 4)
    op = MaxPool2d(2)
    with MODES[mode]():
        assert op.forward(x).tolist() == [[[[5, 2]]]]
        assert op.switches.tolist() == [[[[1, 2]]]]  # of equals the first
        assert op.backward(np.array([[[[7.0, 8.0]]]])).tolist() == [[[[0, 7, 8, 0], [0] * 4, [0] * 4]]]


@modes
@pytest.mark.parametrize("kernel_size", [2, (2, 3)])
def test_nan_beats_everything_and_nothing_beats_minus_infinity_but_the_margin_never_wins(mode, kernel_size):
    x = np.zeros((1, 1, 2, 6))
    x[0, 0, 0, 1], x[0, 0, 1, 0], x[0, 0, 1, 1] = np.nan, np.nan, np.inf
    op = MaxPool2d(kernel_size)
    lowest = MaxPool2d(kernel_size, padding=1)
    with MODES[mode]():
        y, low = op.forward(x), lowest.forward(np.full((1, 1, 2, 4), -np.inf))
    assert np.isnan(y[0, 0, 0, 0]) and op.switches[0, 0, 0, 0] == 6  # the last NaN, row 1
    assert y[0, 0, 0, 1] == 0
    assert (low == -np.inf).all() and lowest.switches.min() >= 0 and lowest.switches[0, 0, 0, 0] == 0


@modes
@given(case=poolings())
def test_avg_pool2d_is_the_mean_with_a_margin_of_zeros(mode, case):
    kernel, stride, padding, x, _ = case
    with MODES[mode]():
        y = AvgPool2d(kernel, stride, padding).forward(x)
    np.testing.assert_allclose(y, windows(x, kernel, stride, padding, 0.0).mean(axis=-1), atol=1e-12)


@modes
@given(case=poolings())
def test_backward_is_the_adjoint_of_avg_pool2d(mode, case):
    kernel, stride, padding, x, rng = case
    op = AvgPool2d(kernel, stride, padding)
    with MODES[mode]():
        grad = rng.standard_normal(op.forward(x).shape)
        grad_x, other = op.backward(grad), rng.standard_normal(x.shape)
        y = AvgPool2d(kernel, stride, padding).forward(other)
    assert (y * grad).sum() == pytest.approx((other * grad_x).sum(), abs=1e-9)


@modes
def test_finite_differences_agree_with_the_gradients_of_pooling(mode):
    x = np.random.default_rng(0).permutation(60).reshape(1, 2, 5, 6) / 10.0  # no ties
    with MODES[mode]():
        for op in (lambda: MaxPool2d(2), lambda: MaxPool2d((3, 2), (1, 2), 1), lambda: AvgPool2d(3, 2, 1)):
            gradcheck(lambda x, op=op: apply(op(), x), x)


# ---- all of them

IMAGES = np.random.default_rng(0).standard_normal((3, 2, 6, 6))
OPS = {
    "Conv2d": lambda: (Conv2d(padding=1), np.ones((4, 2, 3, 3)), np.ones(4)),
    "Conv2d without bias": lambda: (Conv2d(stride=2, groups=2), np.ones((2, 1, 3, 3))),
    "MaxPool2d 2": lambda: (MaxPool2d(2),),
    "MaxPool2d 3": lambda: (MaxPool2d(3, 2, 1),),
    "AvgPool2d": lambda: (AvgPool2d(3, 2, 1),),
}


@modes
@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays_and_inputs_are_not_written_into(name, mode, dtype):
    op, *others = OPS[name]()
    inputs = [array.astype(dtype) for array in (IMAGES, *others)]
    before = [array.copy() for array in inputs]
    with MODES[mode]():
        y = op.forward(*inputs)
        grad = np.ones_like(y)
        grads = op.backward(grad)
    for array in (y, *(grads if isinstance(grads, tuple) else [grads])):
        assert array.dtype == dtype
    assert all(np.array_equal(*both) for both in zip(inputs, before, strict=True)) and (grad == 1).all()


@pytest.mark.parametrize("name", OPS)
def test_arrays_that_are_not_contiguous_or_not_writable_give_the_same(name):
    op, *others = OPS[name]()
    y = op.forward(IMAGES, *others)
    grad = np.random.default_rng(1).standard_normal(y.shape)
    expected = op.backward(grad)
    again, *_ = OPS[name]()
    strange = [np.repeat(array.T, 2, axis=0).T[..., ::2] for array in (IMAGES, *others)]
    strange[0].flags.writeable = False
    assert np.array_equal(again.forward(*strange), y)
    got = again.backward(np.asfortranarray(grad))
    for a, b in zip(got, expected, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", OPS)
def test_plain_and_compiled_kernels_give_almost_the_same_bits(name):
    results = []
    for mode in MODES.values():
        op, *others = OPS[name]()
        with mode():
            y = op.forward(IMAGES, *others)
            grads = op.backward(np.cos(y))
        results.append([y, *(grads if isinstance(grads, tuple) else [grads])])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)


def test_an_image_without_requires_grad_gets_no_gradient():
    x, weight = Tensor(IMAGES), Tensor(np.ones((1, 2, 3, 3)), requires_grad=True)
    y = apply(Conv2d(), x, weight)
    y.sum().backward()
    assert x.grad is None and weight.grad.shape == (1, 2, 3, 3)
    assert y.op.needs == (False, True)


# ---- bad inputs

W = np.ones((4, 2, 3, 3))
BAD = {
    "stride 0": (lambda: Conv2d(stride=0), ValueError, "stride must be at least 1, got 0"),
    "negative padding": (
        lambda: Conv2d(padding=(0, -1)),
        ValueError,
        r"padding must be at least 0, got \(0, -1\)",
    ),
    "dilation 0": (lambda: Conv2d(dilation=0), ValueError, "dilation must be at least 1"),
    "float stride": (lambda: Conv2d(stride=1.5), TypeError, "stride must be an integer or a pair"),
    "three strides": (lambda: Conv2d(stride=(1, 1, 1)), TypeError, "stride must be an integer or a pair"),
    "groups 0": (lambda: Conv2d(groups=0), ValueError, "groups must be at least 1"),
    "float groups": (lambda: Conv2d(groups=2.0), TypeError, "groups must be an integer, got 2.0"),
    "image without batch": (
        lambda: Conv2d().forward(IMAGES[0], W),
        ValueError,
        r"images \(N, C, H, W\).* got \(2, 6, 6\)",
    ),
    "empty batch": (lambda: Conv2d().forward(IMAGES[:0], W), ValueError, r"got \(0, 2, 6, 6\)"),
    "integer images": (
        lambda: Conv2d().forward(IMAGES.astype(int), W),
        TypeError,
        "float32 or float64, got int64",
    ),
    "weight of three axes": (
        lambda: Conv2d().forward(IMAGES, W[0]),
        ValueError,
        r"weight \(O, C/groups, kh, kw\)",
    ),
    "weight of no outputs": (lambda: Conv2d().forward(IMAGES, W[:0]), ValueError, r"got \(0, 2, 3, 3\)"),
    "weight of other dtype": (
        lambda: Conv2d().forward(IMAGES, W.astype(np.float32)),
        TypeError,
        "weight of x's dtype float64, got float32",
    ),
    "bias of other dtype": (
        lambda: Conv2d().forward(IMAGES, W, np.ones(4, np.float32)),
        TypeError,
        "bias of x's dtype float64, got float32",
    ),
    "other channels": (
        lambda: Conv2d().forward(IMAGES, np.ones((4, 3, 3, 3))),
        ValueError,
        r"expected weight \(O, 2, kh, kw\) for 2 channels in 1 groups, got \(4, 3, 3, 3\)",
    ),
    "groups that do not divide the channels in": (
        lambda: Conv2d(groups=4).forward(IMAGES, W[:, :1]),
        ValueError,
        "4 groups must divide 2 channels in and 4 out",
    ),
    "groups that do not divide the channels out": (
        lambda: Conv2d(groups=2).forward(IMAGES, W[:3, :1]),
        ValueError,
        "2 groups must divide 2 channels in and 3 out",
    ),
    "bias of other length": (lambda: Conv2d().forward(IMAGES, W, np.ones(3)), ValueError, r"bias \(4,\)"),
    "bias as a row": (lambda: Conv2d().forward(IMAGES, W, np.ones((1, 4))), ValueError, r"got \(1, 4\)"),
    "kernel larger than the image": (
        lambda: Conv2d(padding=1, dilation=4).forward(IMAGES, W),
        ValueError,
        "larger than the padded image: 9 pixels .size 3, dilation 4. against 8 .size 6, padding 1.",
    ),
    "kernel wider than the image": (
        lambda: Conv2d().forward(IMAGES, np.ones((4, 2, 1, 7))),
        ValueError,
        "larger than the padded image",
    ),
    "pool of size 0": (lambda: MaxPool2d(0), ValueError, "kernel_size must be at least 1"),
    "pool padded too much": (
        lambda: MaxPool2d(2, padding=(1, 2)),
        ValueError,
        "padding must be at most half",
    ),
    "mean padded too much": (
        lambda: AvgPool2d(3, padding=2),
        ValueError,
        r"padding must be at most half .* \(2, 2\)",
    ),
    "pool with stride 0": (lambda: AvgPool2d(2, stride=0), ValueError, "stride must be at least 1"),
    "pool of a vector": (lambda: MaxPool2d(2).forward(IMAGES[0, 0, 0]), ValueError, r"got \(6,\)"),
    "pool of nothing": (lambda: AvgPool2d(2).forward(IMAGES[:0]), ValueError, r"got \(0, 2, 6, 6\)"),
    "pool of integers": (lambda: MaxPool2d(2).forward(IMAGES.astype(int)), TypeError, "got int64"),
    "pool larger than the image": (
        lambda: AvgPool2d(7).forward(IMAGES),
        ValueError,
        "larger than the padded image",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_inputs_are_refused_before_a_kernel_sees_them(name, monkeypatch):
    call, error, message = BAD[name]
    monkeypatch.setattr(jit, "run", lambda *_: pytest.fail("a kernel was run"))
    with pytest.raises(error, match=message):
        call()


def test_the_error_through_a_tensor_names_the_operation_and_the_shapes():
    with pytest.raises(
        ValueError, match=r"Conv2d of inputs of shape \(3, 2, 6, 6\) and \(4, 3, 3, 3\): expected weight"
    ):
        apply(Conv2d(), Tensor(IMAGES), Tensor(np.ones((4, 3, 3, 3))))
