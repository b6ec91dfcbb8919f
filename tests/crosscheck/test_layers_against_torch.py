"""Layers and losses with PyTorch's arguments, on drawn shapes, give its values and gradients."""

import numpy as np
import pytest
from against_torch import agree, close, torch
from hypothesis import assume, given
from hypothesis import strategies as st
from test_functional_against_torch import normal, pairs, seeds
from test_ops_against_torch import halves

import minidl.nn as nn
import minidl.nn.functional as F
from minidl import Tensor

TF, tnn = torch.nn.functional, torch.nn
ACTIVATIONS = {
    "SiLU": {},
    "Hardswish": {},
    "Hardsigmoid": {},
    "ELU": {"alpha": 0.7},
    "Softplus": {"beta": 2.0, "threshold": 4.0},
    "GELU": {"approximate": "tanh"},
    "LeakyReLU": {"negative_slope": 0.2},
    "ReLU": {},
    "ReLU6": {},
    "Softmax": {"dim": 1},
    "LogSoftmax": {"dim": 0},
}
INPLACE = {"SiLU", "Hardswish", "Hardsigmoid", "ELU", "LeakyReLU", "ReLU", "ReLU6"}


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(shape=st.tuples(st.integers(1, 4), st.integers(1, 4)), seed=seeds)
def test_activations_as_modules_and_functions_kinks_included(name, shape, seed):
    settings = ACTIVATIONS[name]
    ours, theirs = getattr(nn, name), getattr(tnn, name)
    function = getattr(F, {"LeakyReLU": "leaky_relu", "LogSoftmax": "log_softmax"}.get(name, name.lower()))
    x = 2 * halves(shape, seed)
    tolerance = 1e-7 if name == "Hardsigmoid" else 1e-10  # PyTorch's slope there is 1/6 in float32
    for inplace in [{}, {"inplace": True}] if name in INPLACE else [{}]:  # without effect on numbers
        agree(ours(**settings, **inplace), theirs(**settings), x, tolerance=tolerance)
        agree(lambda x: function(x, **settings, **inplace), theirs(**settings), x, tolerance=tolerance)  # noqa: B023


@given(
    seed=seeds,
    lead=st.sampled_from([(), (3,), (2, 3)]),
    last=st.sampled_from([(4,), (2, 3)]),
    affine=st.booleans(),
)
def test_layer_norm(seed, lead, last, affine):
    parameters = [normal(last, seed + 1), normal(last, seed + 2)] if affine else []
    x = 3 + 2 * normal((*lead, *last), seed)
    agree(
        lambda x, *wb: F.layer_norm(x, last, *wb, eps=1e-3),
        lambda x, *wb: TF.layer_norm(x, last, *wb, eps=1e-3),
        x,
        *parameters,
    )


@given(
    seed=seeds,
    groups=st.integers(1, 3),
    per_group=st.integers(1, 2),
    rest=st.sampled_from([(), (3,), (2, 3)]),
)
def test_group_norm(seed, groups, per_group, rest):
    channels = groups * per_group
    assume(per_group * int(np.prod(rest)) > 1)
    agree(
        lambda x, w, b: F.group_norm(x, groups, w, b, 1e-3),
        lambda x, w, b: TF.group_norm(x, groups, w, b, 1e-3),
        3 + 2 * normal((2, channels, *rest), seed),
        normal(channels, seed + 1),
        normal(channels, seed + 2),
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (nn.LayerNorm((3, 2)), tnn.LayerNorm((3, 2))),
        (nn.LayerNorm(2, bias=False), tnn.LayerNorm(2, bias=False)),
        (nn.LayerNorm([2], elementwise_affine=False), tnn.LayerNorm([2], elementwise_affine=False)),
        (nn.GroupNorm(2, 4), tnn.GroupNorm(2, 4)),
        (nn.GroupNorm(2, 4, affine=False), tnn.GroupNorm(2, 4, affine=False)),
    ],
    ids=repr,
)
def test_a_norms_state_has_pytorchs_keys_and_goes_there_and_back(ours, theirs):
    state = {key: torch.tensor(normal(value.shape, 1)) for key, value in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    ours.load_state_dict(theirs.state_dict())
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x = normal((2, 4, 3, 2), 0).astype(np.float32)
    close(ours(x).data, theirs(torch.tensor(x)), 1e-5)


@given(seed=seeds, size=pairs(1, 7), out=pairs(1, 7))
def test_adaptive_avg_pool2d_of_any_size(seed, size, out):
    x = normal((2, 3, *size), seed)
    agree(nn.AdaptiveAvgPool2d(out), lambda x: TF.adaptive_avg_pool2d(x, out), x)


@given(seed=seeds, size=pairs(1, 6), out=pairs(1, 9), align_corners=st.sampled_from([None, False, True]))
def test_interpolation_to_a_size(seed, size, out, align_corners):
    x = normal((2, 3, *size), seed)
    agree(lambda x: F.interpolate(x, out), lambda x: TF.interpolate(x, out), x)
    settings = {"mode": "bilinear", "align_corners": align_corners}
    agree(lambda x: F.interpolate(x, out, **settings), lambda x: TF.interpolate(x, out, **settings), x)


@given(
    seed=seeds,
    size=pairs(2, 6),
    factor=st.sampled_from([2, 3.0, 1.5, 0.5, 0.7, 1.3]),
    align_corners=st.booleans(),
)
def test_interpolation_by_a_factor(seed, size, factor, align_corners):
    x = normal((2, 3, *size), seed)
    agree(nn.Upsample(scale_factor=factor), tnn.Upsample(scale_factor=factor), x)
    settings = {"scale_factor": (factor, 2.0), "mode": "bilinear", "align_corners": align_corners}
    agree(nn.Upsample(**settings), tnn.Upsample(**settings), x)


@given(
    seed=seeds,
    size=pairs(3, 9),
    kernel=pairs(1, 3),
    stride=st.none() | pairs(1, 4),
    half=st.booleans(),
    ceil_mode=st.booleans(),
    count_include_pad=st.booleans(),
)
def test_pooling_with_ceil_mode_and_without_counting_the_padding(
    seed, size, kernel, stride, half, ceil_mode, count_include_pad
):
    padding = (kernel[0] // 2, kernel[1] // 2) if half else (0, 0)
    window, x = (kernel, stride, padding), normal((2, 2, *size), seed)
    agree(nn.MaxPool2d(*window, ceil_mode=ceil_mode), tnn.MaxPool2d(*window, ceil_mode=ceil_mode), x)
    both = (*window, ceil_mode, count_include_pad)
    agree(nn.AvgPool2d(*both), tnn.AvgPool2d(*both), x)


@given(
    seed=seeds, size=pairs(3, 7), kernel=st.tuples(*[st.sampled_from([1, 3, 5])] * 2), dilation=pairs(1, 2)
)
def test_padding_by_name(seed, size, kernel, dilation):
    x, weight = normal((2, 2, *size), seed), normal((3, 2, *kernel), seed + 1)
    settings = {"padding": "same", "dilation": dilation}
    agree(lambda x, w: F.conv2d(x, w, **settings), lambda x, w: TF.conv2d(x, w, **settings), x, weight)
    assert nn.Conv2d(2, 3, kernel, **settings)(x).shape == (2, 3, *size)
    agree(
        lambda x, w: F.conv2d(x, w[:, :, :1, :1], padding="valid"),
        lambda x, w: TF.conv2d(x, w[:, :, :1, :1]),
        x,
        weight,
    )


@pytest.mark.parametrize("dims", [(1, -1), (0, -1), (2, 3), (1, 2), (-2, -1)])
def test_flatten_from_one_axis_to_another(dims):
    agree(nn.Flatten(*dims), tnn.Flatten(*dims), normal((2, 3, 4, 5), 0))


def test_dropout2d_drops_whole_channels_and_keeps_the_mean():
    x = np.ones((40, 50, 3, 3), np.float32)
    y = nn.Dropout2d(0.25, rng=np.random.default_rng(0))(x).data
    assert all(np.ptp(channel) == 0 for image in y for channel in image)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    assert np.array_equal(nn.Dropout2d(0.25).eval()(x).data, x)


# ---- losses


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@given(
    seed=seeds, weighted=st.booleans(), ignored=st.integers(0, 4), label_smoothing=st.sampled_from([0.0, 0.2])
)
def test_losses_of_labels_of_which_some_are_ignored(reduction, seed, weighted, ignored, label_smoothing):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 5)
    labels[:ignored] = -100
    weight = rng.uniform(0.1, 3, 4) if weighted else None
    twin, x = None if weight is None else torch.tensor(weight), 3 * normal((5, 4), seed)
    settings = {"reduction": reduction, "label_smoothing": label_smoothing}
    ours, theirs = nn.CrossEntropyLoss(weight, **settings), tnn.CrossEntropyLoss(twin, **settings)
    agree(lambda z: ours(z, labels), lambda z: theirs(z, torch.tensor(labels)), x)
    ours, theirs = nn.NLLLoss(weight, reduction=reduction), tnn.NLLLoss(twin, reduction=reduction)
    agree(lambda z: ours(z, labels), lambda z: theirs(z, torch.tensor(labels)), x)
    agree(
        lambda z: F.nll_loss(F.log_softmax(z, dim=1), labels % 4, ignore_index=2, reduction="sum"),
        lambda z: TF.nll_loss(
            TF.log_softmax(z, dim=1), torch.tensor(labels % 4), ignore_index=2, reduction="sum"
        ),
        x,
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@given(seed=seeds, beta=st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_losses_of_numbers_kinks_included(reduction, seed, beta):
    a, b = halves((3, 4), seed), halves((3, 4), seed + 1)
    for name, settings in [("MSELoss", {}), ("L1Loss", {}), ("SmoothL1Loss", {"beta": beta})]:
        settings = {**settings, "reduction": reduction}
        agree(getattr(nn, name)(**settings), getattr(tnn, name)(**settings), a, b)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_module_of_binary_cross_entropy(reduction):
    target, weight, pos_weight = (np.random.default_rng(i).random((4, 3)) for i in range(3))
    ours = nn.BCEWithLogitsLoss(weight, reduction=reduction, pos_weight=pos_weight)
    theirs = tnn.BCEWithLogitsLoss(
        torch.tensor(weight), reduction=reduction, pos_weight=torch.tensor(pos_weight)
    )
    agree(lambda z: ours(z, target), lambda z: theirs(z, torch.tensor(target)), 3 * normal((4, 3), 3))


def test_an_ignored_row_costs_nothing_even_where_its_logits_are_not_finite():
    z = Tensor([[np.nan, np.inf], [0.0, 0.0]], requires_grad=True)
    loss = F.cross_entropy(z, [7, 0], ignore_index=7)
    assert loss.item() == pytest.approx(np.log(2))
