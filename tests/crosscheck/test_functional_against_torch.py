"""minidl.nn.functional gives PyTorch's values and gradients: convolution, pooling, normalisation, losses."""

import numpy as np
import pytest
from against_torch import agree, close, torch
from hypothesis import assume, given
from hypothesis import strategies as st

import minidl.nn.functional as F

TF = torch.nn.functional
seeds = st.integers(0, 2**32 - 1)


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


def normal(shape, seed):
    return np.random.default_rng(seed).normal(size=shape)


@given(
    seed=seeds,
    batch=st.integers(1, 3),
    size=pairs(3, 8),
    kernel=pairs(1, 3),
    stride=pairs(1, 3),
    padding=pairs(0, 2),
    dilation=pairs(1, 2),
    groups=st.sampled_from([1, 2]),
    per_group=pairs(1, 2),
    has_bias=st.booleans(),
)
def test_conv2d(seed, batch, size, kernel, stride, padding, dilation, groups, per_group, has_bias):
    for length, k, pad, dilated in zip(size, kernel, padding, dilation, strict=True):
        assume(dilated * (k - 1) + 1 <= length + 2 * pad)
    x = normal((batch, groups * per_group[0], *size), seed)
    weight = normal((groups * per_group[1], per_group[0], *kernel), seed + 1)
    bias = [normal(len(weight), seed + 2)] if has_bias else []
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    agree(
        lambda *inputs: F.conv2d(*inputs, **options),
        lambda *inputs: TF.conv2d(*inputs, **options),
        x,
        weight,
        *bias,
    )


@given(seed=seeds, size=pairs(3, 8), kernel=pairs(1, 3), stride=st.none() | pairs(1, 3), ties=st.booleans())
def test_max_pool2d_and_avg_pool2d(seed, size, kernel, stride, ties):
    x = normal((2, 2, *size), seed)
    x = x.round() if ties else x
    for padding in [(0, 0), (kernel[0] // 2, kernel[1] // 2)]:
        arguments = kernel, stride, padding
        agree(lambda x: F.max_pool2d(x, *arguments), lambda x: TF.max_pool2d(x, *arguments), x)  # noqa: B023
        agree(lambda x: F.avg_pool2d(x, *arguments), lambda x: TF.avg_pool2d(x, *arguments), x)  # noqa: B023


def test_adaptive_avg_pool2d():
    agree(F.adaptive_avg_pool2d, lambda x: TF.adaptive_avg_pool2d(x, 1), normal((2, 3, 4, 5), 0))


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 6), (2, 3, 4, 5)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_and_its_running_statistics(shape, training, affine):
    ours = normal(3, 1), normal(3, 2) ** 2
    theirs = [torch.tensor(a) for a in ours]
    parameters = [normal(3, 3), normal(3, 4)] if affine else []
    rest = {"training": training, "momentum": 0.3, "eps": 1e-3}
    agree(
        lambda x, *wb: F.batch_norm(x, *ours, *wb, **rest),
        lambda x, *wb: TF.batch_norm(x, *theirs, *wb, **rest),
        2 + 3 * normal(shape, 0),
        *parameters,
    )
    for found, expected in zip(ours, theirs, strict=True):
        close(found, expected)


@given(seed=seeds, has_bias=st.booleans(), batch=st.sampled_from([(), (4,), (2, 3)]))
def test_linear(seed, has_bias, batch):
    bias = [normal(2, seed + 2)] if has_bias else []
    agree(F.linear, TF.linear, normal((*batch, 5), seed), normal((2, 5), seed + 1), *bias)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("rows", [False, True], ids=["labels", "probabilities"])
@given(
    seed=seeds,
    weighted=st.booleans(),
    label_smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    temperature=st.sampled_from([0.5, 1.0, 4.0]),
)
def test_cross_entropy(reduction, rows, seed, weighted, label_smoothing, temperature):
    rng = np.random.default_rng(seed)
    labels = rng.dirichlet(np.ones(4), 5) if rows else rng.integers(0, 4, 5)
    weight = rng.uniform(0.1, 3, 4) if weighted else None
    options = {"reduction": reduction, "label_smoothing": label_smoothing}

    def theirs(z):
        their_weight = None if weight is None else torch.tensor(weight)
        return TF.cross_entropy(z / temperature, torch.tensor(labels), their_weight, **options)

    agree(
        lambda z: F.cross_entropy(z, labels, weight, **options, temperature=temperature),
        theirs,
        3 * normal((5, 4), seed),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse_loss(reduction):
    a, b = normal((3, 4), 0), normal((3, 4), 1)
    agree(
        lambda a, b: F.mse_loss(a, b, reduction=reduction),
        lambda a, b: TF.mse_loss(a, b, reduction=reduction),
        a,
        b,
    )


def test_activations_and_pad():
    x = normal((2, 3, 4), 0)
    for ours, theirs in [
        (F.relu, TF.relu),
        (lambda x: F.relu6(6 * x), lambda x: TF.relu6(6 * x)),
        (F.leaky_relu, TF.leaky_relu),
        (F.gelu, TF.gelu),
        (F.tanh, torch.tanh),
        (F.sigmoid, torch.sigmoid),
        (lambda x: F.softmax(x, 1), lambda x: TF.softmax(x, 1)),
        (lambda x: F.log_softmax(x, 1), lambda x: TF.log_softmax(x, 1)),
        (lambda x: F.pad(x, (1, 2, 0, 3), value=1.5), lambda x: TF.pad(x, (1, 2, 0, 3), value=1.5)),
    ]:
        agree(ours, theirs, x)


def test_one_hot():
    labels = np.array([2, 0, 1, 2])
    np.testing.assert_array_equal(F.one_hot(labels, 4), TF.one_hot(torch.tensor(labels), 4))


@given(
    seed=seeds,
    reduction=st.sampled_from(["mean", "sum", "none"]),
    weighted=st.booleans(),
    soft=st.booleans(),
    scale=st.sampled_from([1, 30, 1000]),
)
def test_binary_cross_entropy_with_logits(seed, reduction, weighted, soft, scale):
    rng = np.random.default_rng(seed)
    target = rng.random((4, 3)) if soft else rng.integers(0, 2, (4, 3)).astype(np.float64)
    weight, pos_weight = (rng.random((4, 1)), 3 * rng.random(3)) if weighted else (None, None)
    twins = [None if a is None else torch.tensor(a) for a in (weight, pos_weight)]
    agree(
        lambda z: F.binary_cross_entropy_with_logits(
            z, target, weight, reduction=reduction, pos_weight=pos_weight
        ),
        lambda z: TF.binary_cross_entropy_with_logits(
            z, torch.tensor(target), twins[0], reduction=reduction, pos_weight=twins[1]
        ),
        scale * normal((4, 3), seed),
    )
