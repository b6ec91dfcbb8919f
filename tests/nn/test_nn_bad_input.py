"""Every public name of nn refuses what makes no sense, at once and in words."""

import inspect

import numpy as np
import pytest

import minidl.nn as nn
import minidl.nn.functional as F
from minidl import Tensor
from minidl.nn import activations, init, losses, models, norms, resize

IMAGES = np.zeros((2, 3, 8, 8), np.float32)
ROWS = np.zeros((2, 3), np.float32)
WEIGHT = nn.Parameter(np.zeros((4, 3), np.float32))


def computed():
    return Tensor([[1.0]], requires_grad=True) * 2


# the call, the type of the error, and a part of its message
CASES = {
    "Linear: no features": (lambda: nn.Linear(0, 2), ValueError, "in_features must be at least 1, got 0"),
    "Linear: half a feature": (
        lambda: nn.Linear(2, 1.5),
        TypeError,
        "out_features must be an integer, got 1.5",
    ),
    "Linear: a seed for rng": (
        lambda: nn.Linear(2, 2, rng=3),
        TypeError,
        "rng must be a np.random.Generator",
    ),
    "Linear: bias": (
        lambda: nn.Linear(2, 2, bias=np.zeros(2)),
        TypeError,
        r"bias must be True or False, got an array \(2,\)",
    ),
    "Conv2d: bias": (lambda: nn.Conv2d(1, 2, 3, bias=3), TypeError, "bias must be True or False, got 3"),
    "Linear: wrong width": (lambda: nn.Linear(4, 2)(ROWS), ValueError, r"\(2, 3\) and \(2, 4\)"),
    "Conv2d: no channels": (lambda: nn.Conv2d(0, 2, 3), ValueError, "in_channels must be at least 1"),
    "Conv2d: kernel of 0": (lambda: nn.Conv2d(1, 2, 0), ValueError, "kernel_size must be at least 1, got 0"),
    "Conv2d: a triple": (
        lambda: nn.Conv2d(1, 2, (3, 3, 3)),
        TypeError,
        "kernel_size must be an integer or a pair",
    ),
    "Conv2d: stride 0": (lambda: nn.Conv2d(1, 2, 3, stride=0), ValueError, "stride must be at least 1"),
    "Conv2d: negative padding": (
        lambda: nn.Conv2d(1, 2, 3, padding=-1),
        ValueError,
        "padding must be at least 0",
    ),
    "Conv2d: padding by name": (
        lambda: nn.Conv2d(1, 2, 3, padding="full"),
        ValueError,
        "padding must be one of 'same', 'valid', got 'full'",
    ),
    "Conv2d: same with a stride": (
        lambda: nn.Conv2d(1, 2, 3, stride=2, padding="same"),
        ValueError,
        "padding 'same' needs stride 1, got 2",
    ),
    "Conv2d: same and even": (
        lambda: nn.Conv2d(1, 2, (3, 4), padding="same"),
        ValueError,
        r"padding 'same' is uneven for kernel_size \(3, 4\): put nn.ZeroPad2d\(\(1, 2, 1, 1\)\) before",
    ),
    "Conv2d: dilation 0": (lambda: nn.Conv2d(1, 2, 3, dilation=0), ValueError, "dilation must be at least 1"),
    "Conv2d: groups": (
        lambda: nn.Conv2d(4, 6, 3, groups=4),
        ValueError,
        "groups=4 must divide in_channels=4 and out",
    ),
    "Conv2d: channels": (lambda: nn.Conv2d(1, 2, 3)(IMAGES), ValueError, r"\(2, 3, 8, 8\)"),
    "Conv2d: too small": (
        lambda: nn.Conv2d(3, 2, 9)(IMAGES),
        ValueError,
        "kernel is larger than the padded image",
    ),
    "Conv2d: rows": (lambda: nn.Conv2d(3, 2, 3)(ROWS), ValueError, r"expected images \(N, C, H, W\)"),
    "BatchNorm1d: none": (lambda: nn.BatchNorm1d(0), ValueError, "num_features must be at least 1"),
    "BatchNorm1d: images": (
        lambda: nn.BatchNorm1d(3)(IMAGES),
        ValueError,
        r"expected \(N, C\) or \(N, C, L\) with C = 3",
    ),
    "BatchNorm1d: one row": (
        lambda: nn.BatchNorm1d(3)(ROWS[:1]),
        ValueError,
        "more than 1 value per channel",
    ),
    "BatchNorm2d: rows": (
        lambda: nn.BatchNorm2d(3)(ROWS),
        ValueError,
        r"expected \(N, C, H, W\) with C = 3, got \(2, 3\)",
    ),
    "BatchNorm2d: channels": (
        lambda: nn.BatchNorm2d(4)(IMAGES),
        ValueError,
        r"with C = 4, got \(2, 3, 8, 8\)",
    ),
    "BatchNorm2d: eps": (
        lambda: nn.BatchNorm2d(4, eps=-1e-5),
        ValueError,
        "eps must be finite and at least 0",
    ),
    "BatchNorm2d: momentum": (
        lambda: nn.BatchNorm2d(4, momentum=1.5),
        ValueError,
        r"momentum .* within \[0, 1\]",
    ),
    "BatchNorm2d: None": (
        lambda: nn.BatchNorm2d(4, momentum=None),
        TypeError,
        "momentum must be a number, got None",
    ),
    "Dropout: p": (lambda: nn.Dropout(1.5), ValueError, r"p must be finite and within \[0, 1\], got 1.5"),
    "Dropout: rng": (lambda: nn.Dropout(rng=0), TypeError, "rng must be a np.random.Generator"),
    "ReLU: text": (lambda: nn.ReLU()("text"), TypeError, "a Tensor holds"),
    "ReLU6: text": (lambda: nn.ReLU6()("text"), TypeError, "a Tensor holds"),
    "F.relu6": (lambda: F.relu6("text"), TypeError, "a Tensor holds"),
    "ZeroPad2d: padding": (lambda: nn.ZeroPad2d(-1), ValueError, "padding must be at least 0"),
    "ZeroPad2d: rows": (lambda: nn.ZeroPad2d(1)(ROWS), ValueError, r"expected images \(N, C, H, W\)"),
    "Skip: shapes": (
        lambda: nn.Skip(nn.MaxPool2d(2))(IMAGES),
        ValueError,
        r"the children give \(2, 3, 4, 4\) for \(2, 3, 8, 8\)",
    ),
    "GELU: text": (lambda: nn.GELU()(np.array(["a"])), TypeError, "a Tensor holds"),
    "Tanh: text": (lambda: nn.Tanh()("text"), TypeError, "a Tensor holds"),
    "Sigmoid: complex": (lambda: nn.Sigmoid()(np.array([1j])), TypeError, "a Tensor holds .*complex128"),
    "LeakyReLU: slope": (lambda: nn.LeakyReLU("steep"), TypeError, "negative_slope must be a number"),
    "LeakyReLU: nan": (lambda: nn.LeakyReLU(float("nan")), ValueError, "negative_slope must be finite"),
    "MaxPool2d: kernel": (lambda: nn.MaxPool2d(0), ValueError, "kernel_size must be at least 1"),
    "MaxPool2d: padding": (lambda: nn.MaxPool2d(2, padding=2), ValueError, "padding must be at most half"),
    "MaxPool2d: too small": (lambda: nn.MaxPool2d(9)(IMAGES), ValueError, "larger than the padded image"),
    "AvgPool2d: stride": (lambda: nn.AvgPool2d(2, stride=0), ValueError, "stride must be at least 1"),
    "AvgPool2d: rows": (lambda: nn.AvgPool2d(2)(ROWS), ValueError, r"expected images \(N, C, H, W\)"),
    "AdaptiveAvgPool2d: 0": (lambda: nn.AdaptiveAvgPool2d(0), ValueError, "output_size must be at least 1"),
    "AdaptiveAvgPool2d: array": (
        lambda: nn.AdaptiveAvgPool2d(np.array([1, 1])),
        TypeError,
        "output_size must be an integer or a pair of integers",
    ),
    "AdaptiveAvgPool2d: rows": (
        lambda: nn.AdaptiveAvgPool2d()(ROWS),
        ValueError,
        r"expected images \(N, C, H, W\)",
    ),
    "Flatten: a number": (lambda: nn.Flatten()(3.0), ValueError, r"start_dim must be within \[0, 0\], got 1"),
    "Identity: text": (lambda: nn.Identity()("text"), TypeError, "a Tensor holds"),
    "Sequential: a function": (lambda: nn.Sequential(F.relu), TypeError, "child '0' must be a Module"),
    "Sequential: a list": (lambda: nn.Sequential([nn.ReLU()]), TypeError, "child '0' must be a Module"),
    "Sequential: a dot": (
        lambda: nn.Sequential({"a.b": nn.ReLU()}),
        ValueError,
        "a text without dots, got 'a.b'",
    ),
    "Sequential: taken": (
        lambda: nn.Sequential({"train": nn.ReLU()}),
        ValueError,
        "the name 'train' is taken",
    ),
    "Sequential: a name": (
        lambda: nn.Sequential(nn.ReLU())["a"],
        TypeError,
        r"layer\(name\)\) must be an integer, got 'a'",
    ),
    "Sequential: half": (
        lambda: nn.Sequential(nn.ReLU())[1.5],
        TypeError,
        r"layer\(name\)\) must be an integer, got 1\.5",
    ),
    "Sequential: index": (lambda: nn.Sequential(nn.ReLU())[1], IndexError, "no child 1 in a Sequential of 1"),
    "Concat: sizes": (
        lambda: nn.Concat(nn.Identity(), nn.MaxPool2d(2))(IMAGES),
        ValueError,
        r"agree in all but the channels, got \(2, 3, 8, 8\), \(2, 3, 4, 4\)",
    ),
    "Concat: nothing": (lambda: nn.Concat()(IMAGES), ValueError, "needs branches .* got none"),
    "Residual: shapes": (
        lambda: nn.Residual(nn.MaxPool2d(2))(IMAGES),
        ValueError,
        r"body gives \(2, 3, 4, 4\) and shortcut \(2, 3, 8, 8\)",
    ),
    "Residual: body": (lambda: nn.Residual(F.relu), TypeError, "child 'body' must be a Module"),
    "Module: no forward": (lambda: nn.Module()(ROWS), NotImplementedError, "Module.forward"),
    "Module: hook": (
        lambda: nn.ReLU().register_forward_hook(3),
        TypeError,
        r"hook must be a function of \(module, inputs, output\), got 3",
    ),
    "Module: buffer": (
        lambda: nn.Module().register_buffer("b", [1]),
        TypeError,
        r"buffer b must be a ndarray, got \[1\]",
    ),
    "Module: buffer's name": (
        lambda: nn.Module().register_buffer("training", np.ones(1)),
        ValueError,
        "the name 'training' is taken",
    ),
    "Module: state": (
        lambda: nn.ReLU().load_state_dict([1]),
        TypeError,
        "a state is a dict from names to arrays, got list",
    ),
    "Module: layer": (
        lambda: nn.ReLU().layer(3),
        TypeError,
        r"a layer is named by its dotted path, such as 'block1\.conv', got 3",
    ),
    "Hook: unknown layer": (
        lambda: nn.ReLU().layer("x"),
        ValueError,
        "no layer 'x' in this ReLU; there are: none",
    ),
    "Parameter: integers": (lambda: nn.Parameter(np.array([1])), TypeError, "only floating tensors"),
    "Parameter: computed": (lambda: nn.Parameter(computed()), ValueError, "a Parameter is a leaf: .*t.data"),
    "summary: model": (lambda: nn.summary(F.relu, (1,)), TypeError, "model must be a Module"),
    "summary: a number": (
        lambda: nn.summary(nn.ReLU(), 8),
        TypeError,
        "input_shape must be a tuple .* got 8",
    ),
    "summary: shape": (
        lambda: nn.summary(nn.ReLU(), (0, 8)),
        ValueError,
        "each of input_shape must be at least 1",
    ),
    "summary: channels": (lambda: nn.summary(nn.Conv2d(2, 2, 3), (1, 8, 8)), ValueError, r"\(1, 1, 8, 8\)"),
    "Dropout2d: p": (lambda: nn.Dropout2d(2), ValueError, r"p must be finite and within \[0, 1\], got 2"),
    "Dropout2d: rows": (lambda: nn.Dropout2d()(ROWS), ValueError, r"expected images \(N, C, H, W\)"),
    "Dropout: inplace": (lambda: nn.Dropout(0.5, rng=None, inplace=1), TypeError, "inplace must be True or"),
    "ReLU: inplace": (lambda: nn.ReLU("yes"), TypeError, "inplace must be True or False, got 'yes'"),
    "GELU: approximate": (lambda: nn.GELU("erf"), ValueError, "approximate must be one of 'none', 'tanh'"),
    "SiLU: text": (lambda: nn.SiLU()("text"), TypeError, "a Tensor holds"),
    "SiLU: inplace": (lambda: nn.SiLU(None), TypeError, "inplace must be True or False"),
    "Hardsigmoid: inplace": (lambda: nn.Hardsigmoid(1), TypeError, "inplace must be True or False"),
    "Hardswish: inplace": (lambda: nn.Hardswish(1), TypeError, "inplace must be True or False"),
    "ELU: alpha": (lambda: nn.ELU(None), TypeError, "alpha must be a number, got None"),
    "Softplus: beta": (lambda: nn.Softplus(0), ValueError, "beta must be above 0"),
    "Softmax: dim": (lambda: nn.Softmax(1.5), TypeError, "dim must be an integer, got 1.5"),
    "Softmax: axis": (lambda: nn.Softmax(2)(ROWS), ValueError, r"within \[-2, 1\], got 2"),
    "LogSoftmax: dim": (lambda: nn.LogSoftmax(None), TypeError, "dim must be an integer, got None"),
    "ModuleList: a module": (lambda: nn.ModuleList(nn.ReLU()), TypeError, "modules must be a list, got ReLU"),
    "ModuleList: functions": (lambda: nn.ModuleList([F.relu]), TypeError, "child '0' must be a Module"),
    "ModuleList: called": (lambda: nn.ModuleList()(ROWS), NotImplementedError, "ModuleList.forward"),
    "MaxPool2d: ceil_mode": (
        lambda: nn.MaxPool2d(2, ceil_mode=1),
        TypeError,
        "ceil_mode must be True or False, got 1",
    ),
    "AvgPool2d: count_include_pad": (
        lambda: nn.AvgPool2d(2, count_include_pad=None),
        TypeError,
        "count_include_pad must be True or False",
    ),
    "Flatten: start_dim": (lambda: nn.Flatten("a"), TypeError, "start_dim must be an integer, got 'a'"),
    "LayerNorm: shape": (
        lambda: nn.LayerNorm(()),
        ValueError,
        "normalized_shape must not be empty",
    ),
    "LayerNorm: input": (
        lambda: nn.LayerNorm((4, 3))(ROWS),
        ValueError,
        r"expected x \(..., 4, 3\), got \(2, 3\)",
    ),
    "GroupNorm: groups": (lambda: nn.GroupNorm(2, 3), ValueError, "num_groups=2 must divide num_channels=3"),
    "Upsample: nothing": (lambda: nn.Upsample(), ValueError, "give size or scale_factor, and not both"),
    "Upsample: both": (lambda: nn.Upsample(4, 2), ValueError, "give size or scale_factor, and not both"),
    "Upsample: mode": (lambda: nn.Upsample(4, mode="cubic"), ValueError, "mode must be one of 'nearest'"),
    "Upsample: corners": (
        lambda: nn.Upsample(4, align_corners=True),
        ValueError,
        "align_corners is for mode 'bilinear'",
    ),
    "CrossEntropyLoss: weight": (
        lambda: nn.CrossEntropyLoss([-1.0]),
        ValueError,
        "weight must be at least 0, got -1",
    ),
    "CrossEntropyLoss: reduction": (
        lambda: nn.CrossEntropyLoss(reduction="total"),
        ValueError,
        "reduction must be one of",
    ),
    "NLLLoss: ignore_index": (
        lambda: nn.NLLLoss(ignore_index=None),
        TypeError,
        "ignore_index must be an int",
    ),
    "BCEWithLogitsLoss: pos_weight": (
        lambda: nn.BCEWithLogitsLoss(pos_weight=-1.0),
        ValueError,
        "pos_weight must be at least 0",
    ),
    "MSELoss: reduction": (lambda: nn.MSELoss(reduction=0), ValueError, "reduction must be one of"),
    "L1Loss: shapes": (lambda: nn.L1Loss()(ROWS, ROWS[0]), ValueError, r"\(2, 3\) and target \(3,\) differ"),
    "SmoothL1Loss: beta": (lambda: nn.SmoothL1Loss(beta=-1), ValueError, "beta must be .* at least 0"),
    # functional
    "F.relu: inplace": (lambda: F.relu(ROWS, 1), TypeError, "inplace must be True or False, got 1"),
    "F.silu": (lambda: F.silu("text"), TypeError, "a Tensor holds"),
    "F.hardsigmoid": (lambda: F.hardsigmoid("text"), TypeError, "a Tensor holds"),
    "F.hardswish": (lambda: F.hardswish("text"), TypeError, "a Tensor holds"),
    "F.elu": (lambda: F.elu(ROWS, "a"), TypeError, "alpha must be a number"),
    "F.softplus": (lambda: F.softplus(ROWS, -1), ValueError, "beta must be above 0"),
    "F.dropout2d": (lambda: F.dropout2d(ROWS), ValueError, r"expected images \(N, C, H, W\), got \(2, 3\)"),
    "F.layer_norm: weight": (
        lambda: F.layer_norm(ROWS, 3, np.ones(2)),
        ValueError,
        r"weight must have shape \(3,\), got \(2,\)",
    ),
    "F.layer_norm: eps": (
        lambda: F.layer_norm(ROWS, 3, eps=-1),
        ValueError,
        "eps must be finite and at least",
    ),
    "F.group_norm": (
        lambda: F.group_norm(IMAGES, 2),
        ValueError,
        r"expected x \(N, C, ...\) with C divisible by 2 groups, got \(2, 3, 8, 8\)",
    ),
    "F.group_norm: bias": (
        lambda: F.group_norm(IMAGES, 3, bias=np.ones(2)),
        ValueError,
        r"bias must have shape \(3,\), got \(2,\)",
    ),
    "F.interpolate": (lambda: F.interpolate(ROWS, 4), ValueError, r"expected images \(N, C, H, W\)"),
    "F.interpolate: nothing left": (
        lambda: F.interpolate(IMAGES, scale_factor=0.1),
        ValueError,
        r"scale_factor \(0.1, 0.1\) leaves no pixel of \(2, 3, 8, 8\)",
    ),
    "F.interpolate: triple": (
        lambda: F.interpolate(IMAGES, scale_factor=(1, 2, 3)),
        ValueError,
        "scale_factor must be a number or a pair",
    ),
    "F.nll_loss: range": (lambda: F.nll_loss(ROWS, [0, 3]), ValueError, "got 3 at index 1"),
    "F.nll_loss: length": (
        lambda: F.nll_loss(ROWS, [0]),
        ValueError,
        r"labels must have shape \(2,\), got \(1,\)",
    ),
    "F.nll_loss: nothing kept": (
        lambda: F.nll_loss(ROWS, [-100, -100]),
        ValueError,
        "ignore_index -100 is every label of the batch",
    ),
    "F.cross_entropy: nothing kept": (
        lambda: F.cross_entropy(ROWS, [1, 1], ignore_index=1),
        ValueError,
        "ignore_index 1 is every label of the batch",
    ),
    "F.nll_loss: no weight": (
        lambda: F.nll_loss(ROWS, [0, 0], [0.0, 1.0, 1.0]),
        ValueError,
        "weight is 0 for all labels of the batch",
    ),
    "F.mse_loss: None": (lambda: F.mse_loss(ROWS, None), TypeError, "a Tensor holds numbers, got None"),
    "F.l1_loss": (lambda: F.l1_loss(ROWS, ROWS[0]), ValueError, r"\(2, 3\) and target \(3,\) differ"),
    "F.smooth_l1_loss": (lambda: F.smooth_l1_loss(ROWS, ROWS, beta=None), TypeError, "beta must be a number"),
    "F.leaky_relu": (lambda: F.leaky_relu(ROWS, None), TypeError, "negative_slope must be a number"),
    "F.softmax: T": (
        lambda: F.softmax(ROWS, temperature=0.0),
        ValueError,
        r"temperature must be a finite number > 0, got 0\.0",
    ),
    "F.softmax: axis": (
        lambda: F.softmax(ROWS, dim=2),
        ValueError,
        r"axis of an array of 2 dimensions must be within \[-2, 1\], got 2",
    ),
    "F.log_softmax: T": (lambda: F.log_softmax(ROWS, temperature=-1), ValueError, "temperature must be"),
    "F.linear": (lambda: F.linear(ROWS, np.zeros((2, 4), np.float32)), ValueError, r"\(2, 3\) and \(2, 4\)"),
    "F.linear: bias": (
        lambda: F.linear(ROWS, np.zeros((2, 3), np.float32), np.zeros(3, np.float32)),
        ValueError,
        r"\(3,\): expected bias \(2,\)",
    ),
    "F.conv2d": (lambda: F.conv2d(IMAGES, np.zeros((2, 2, 3, 3), np.float32)), ValueError, "3 channels"),
    "F.max_pool2d": (lambda: F.max_pool2d(IMAGES, -1), ValueError, "kernel_size must be at least 1"),
    "F.avg_pool2d": (lambda: F.avg_pool2d(IMAGES, 2, padding=3), ValueError, "padding must be at most half"),
    "F.adaptive_avg_pool2d": (
        lambda: F.adaptive_avg_pool2d(IMAGES, (0, 3)),
        ValueError,
        "output_size must be at least 1",
    ),
    "F.batch_norm: none": (lambda: F.batch_norm(ROWS, None, None), ValueError, "running_mean is needed"),
    "F.batch_norm: shape": (
        lambda: F.batch_norm(ROWS, np.zeros(2), np.ones(3)),
        ValueError,
        r"running_mean must have shape \(3,\), got \(2,\)",
    ),
    "F.batch_norm: integers": (
        lambda: F.batch_norm(ROWS, np.zeros(3, int), np.ones(3), training=True),
        TypeError,
        r"running_mean must be floats, got an array \(3,\) of int64",
    ),
    "F.batch_norm: list": (
        lambda: F.batch_norm(ROWS, [0.0] * 3, [1.0] * 3, training=True),
        TypeError,
        "running_mean must be a ndarray",
    ),
    "F.batch_norm: vector": (
        lambda: F.batch_norm(ROWS[0], None, None, training=True),
        ValueError,
        r"\(N, C, ...\)",
    ),
    "F.batch_norm: momentum": (
        lambda: F.batch_norm(ROWS, None, None, training=True, momentum=2),
        ValueError,
        "momentum must be",
    ),
    "F.dropout": (lambda: F.dropout(ROWS, -0.1), ValueError, "p must be finite and within"),
    "F.pad: odd": (lambda: F.pad(ROWS, (1, 2, 3)), ValueError, "pad must be up to 2 pairs in a row"),
    "F.pad: many": (lambda: F.pad(ROWS, (1, 1) * 3), ValueError, r"for x \(2, 3\), got \(1, 1, 1, 1, 1, 1\)"),
    "F.pad: mode": (
        lambda: F.pad(ROWS, (1, 0), "reflect"),
        ValueError,
        "mode must be one of 'constant', got",
    ),
    "F.pad: negative": (
        lambda: F.pad(ROWS, (-1, 0)),
        ValueError,
        "each number of pad_width must be at least 0, got -1",
    ),
    "F.cross_entropy: range": (lambda: F.cross_entropy(ROWS, [0, 3]), ValueError, "got 3 at index 1"),
    "F.cross_entropy: negative": (lambda: F.cross_entropy(ROWS, [-1, 0]), ValueError, "got -1 at index 0"),
    "F.cross_entropy: floats": (
        lambda: F.cross_entropy(ROWS, [0.0, 1.0]),
        TypeError,
        "labels must be integers",
    ),
    "F.cross_entropy: length": (
        lambda: F.cross_entropy(ROWS, [0]),
        ValueError,
        r"labels must be \(2,\) classes or rows \(2, 3\), got shape \(1,\)",
    ),
    "F.cross_entropy: empty": (
        lambda: F.cross_entropy(ROWS[:0], []),
        ValueError,
        r"logits must not be empty, got shape \(0, 3\)",
    ),
    "F.cross_entropy: rows": (
        lambda: F.cross_entropy(ROWS, ROWS),
        ValueError,
        "labels must be rows of sum 1, or classes",
    ),
    "F.cross_entropy: smoothing": (
        lambda: F.cross_entropy(ROWS, [0, 1], label_smoothing=1.1),
        ValueError,
        r"label_smoothing must be finite and within \[0, 1\]",
    ),
    "F.cross_entropy: T": (
        lambda: F.cross_entropy(ROWS, [0, 1], temperature=0),
        ValueError,
        "temperature must be",
    ),
    "F.cross_entropy: reduction": (
        lambda: F.cross_entropy(ROWS, [0, 1], reduction="total"),
        ValueError,
        "reduction must be",
    ),
    "F.cross_entropy: weight": (
        lambda: F.cross_entropy(ROWS, [0, 1], [1.0]),
        ValueError,
        r"weight must have shape \(3,\), got \(1,\)",
    ),
    "F.binary_cross_entropy_with_logits: shapes": (
        lambda: F.binary_cross_entropy_with_logits(ROWS, ROWS[0]),
        ValueError,
        r"logits \(2, 3\) and target \(3,\) differ",
    ),
    "F.binary_cross_entropy_with_logits: target": (
        lambda: F.binary_cross_entropy_with_logits(ROWS, ROWS + 2),
        ValueError,
        r"target must be within \[0, 1\], got 2",
    ),
    "F.binary_cross_entropy_with_logits: pos_weight": (
        lambda: F.binary_cross_entropy_with_logits(ROWS, ROWS, pos_weight=[1.0, -1.0, 1.0]),
        ValueError,
        "pos_weight must be at least 0, got -1",
    ),
    "F.binary_cross_entropy_with_logits: weight": (
        lambda: F.binary_cross_entropy_with_logits(ROWS, ROWS, np.ones((2, 2, 3))),
        ValueError,
        "weight and pos_weight must fit the logits' shape",
    ),
    "F.mse_loss: shapes": (
        lambda: F.mse_loss(ROWS, ROWS[0]),
        ValueError,
        r"\(2, 3\) and target \(3,\) differ",
    ),
    "F.mse_loss: reduction": (lambda: F.mse_loss(ROWS, ROWS, reduction=""), ValueError, "reduction must be"),
    "F.one_hot: range": (
        lambda: F.one_hot([3], 3),
        ValueError,
        r"labels must be in 0 \.\.\. 2, got 3 at index 0",
    ),
    "F.one_hot: classes": (lambda: F.one_hot([0], 0), ValueError, "num_classes must be at least 1"),
    "F.relu": (lambda: F.relu("text"), TypeError, "a Tensor holds"),
    "F.gelu": (lambda: F.gelu("text"), TypeError, "a Tensor holds"),
    "F.tanh": (lambda: F.tanh(None), TypeError, "a Tensor holds"),
    "F.sigmoid": (lambda: F.sigmoid({}), TypeError, "a Tensor holds"),
    # init
    "init.kaiming_uniform_": (
        lambda: init.kaiming_uniform_(Tensor([1.0])),
        ValueError,
        r"weight \(out, in, ...\)",
    ),
    "init.kaiming_uniform_: empty": (
        lambda: init.kaiming_uniform_(nn.Parameter(np.zeros((2, 0)))),
        ValueError,
        r"not empty, got shape \(2, 0\)",
    ),
    "init.kaiming_normal_: large a": (
        lambda: init.kaiming_normal_(WEIGHT, 1e300),
        ValueError,
        r"a must be finite and within \[-1e\+150, 1e\+150\]",
    ),
    "init.kaiming_normal_: a": (lambda: init.kaiming_normal_(WEIGHT, "a"), TypeError, "a must be a number"),
    "init.xavier_uniform_: gain": (
        lambda: init.xavier_uniform_(WEIGHT, None),
        TypeError,
        "gain must be a num",
    ),
    "init.normal_": (lambda: init.normal_(WEIGHT, 0, -1), ValueError, "std must be .*at least 0, got -1"),
    "init.xavier_normal_": (lambda: init.xavier_normal_(WEIGHT, -1), ValueError, "gain must be .*at least 0"),
    "init.constant_": (lambda: init.constant_(WEIGHT, np.nan), ValueError, "val must be finite, got nan"),
    "init.ones_": (lambda: init.ones_(ROWS), TypeError, r"tensor must be a Tensor, got an array \(2, 3\)"),
    "init.uniform_: infinite": (lambda: init.uniform_(WEIGHT, 0, np.inf), ValueError, "b must be finite"),
    "init.kaiming_uniform_: mode": (
        lambda: init.kaiming_uniform_(WEIGHT, mode="in"),
        ValueError,
        "mode must be",
    ),
    "init.kaiming_normal_": (
        lambda: init.kaiming_normal_(WEIGHT, nonlinearity="swish"),
        ValueError,
        "nonlinearity must be one of .*relu.* got 'swish'",
    ),
    "init.xavier_uniform_": (
        lambda: init.xavier_uniform_(ROWS),
        TypeError,
        r"tensor must be a Tensor, got an array \(2, 3\)",
    ),
    "init.zeros_": (
        lambda: init.zeros_(computed()),
        ValueError,
        r"tensor must be a leaf of floats,.*float32, from Mul, grad\)",
    ),
    "init.uniform_": (
        lambda: init.uniform_(WEIGHT, 1, 0),
        ValueError,
        r"a must be finite and at most 0, got 1",
    ),
    # models
    "models.mlp": (lambda: models.mlp(4, (0,), 2), ValueError, "each of hidden must be at least 1"),
    "models.mlp: hidden": (
        lambda: models.mlp(4, 2.5, 2),
        TypeError,
        r"hidden must be a tuple or list, got 2\.5",
    ),
    "models.mlp: dropout": (lambda: models.mlp(4, 2, 2, dropout=2), ValueError, r"within \[0, 1\]"),
    "models.lenet": (
        lambda: models.lenet(image_size=8),
        ValueError,
        "12 x 12 pixels or more, got image_size 8",
    ),
    "models.small_cnn": (
        lambda: models.small_cnn(pool_after=(9,)),
        ValueError,
        r"each of pool_after must be within \[1, 3\], got 9",
    ),
    "models.small_cnn: half a block": (
        lambda: models.small_cnn(pool_after=(1.5,)),
        TypeError,
        "each of pool_after must be an integer",
    ),
    "models.small_cnn: widths": (lambda: models.small_cnn(widths=()), ValueError, "widths must not be empty"),
    "models.tiny_resnet": (lambda: models.tiny_resnet(widths=[]), ValueError, "widths must not be empty"),
    "models.tiny_resnet: blocks": (
        lambda: models.tiny_resnet(blocks=0),
        ValueError,
        "blocks must be at least 1",
    ),
    "models.inception_block": (
        lambda: models.inception_block(1, (2, 2)),
        ValueError,
        "widths must be 4 integers",
    ),
    "models.small_cnn: image": (
        lambda: models.small_cnn()(np.zeros((2, 1, 1, 9), np.float32)),
        ValueError,
        "larger than the padded image",
    ),
    "eval_mode: model": (lambda: nn.eval_mode(F.relu).__enter__(), TypeError, "model must be a Module"),
}


@pytest.mark.parametrize("attempt, error, message", CASES.values(), ids=CASES.keys())
def test_bad_input_is_refused_in_words(attempt, error, message):
    with pytest.raises(error, match=message) as raised:
        attempt()
    assert "broadcast" not in str(raised.value)


def public(module, prefix=""):
    own = [
        name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
    ]
    return {prefix + name for name in own if not name.startswith("_")}


INNER = {
    "F.difference_of",
    "F.reduced",
    "F.normalized",
    "F.scaled",
    "F.check_resize",
    "F.dropped",
    "F.padding_of",
    "F.without_none",
    "init.fans",
    "init.gain",
    "init.chosen_fan",
    "init.leaf",
}
INNER |= {"models.residual_block", "models.conv_bn_relu", "models.add_head"}


def test_every_public_name_has_a_case():
    names = set(nn.__all__) - {"functional", "init", "models"}
    for module in (F, activations, losses, norms, resize):
        names |= {f"F.{name}" for name in public(module) if inspect.isfunction(getattr(module, name))}
    names |= public(init, "init.") | public(models, "models.")
    assert names - INNER == {case.split(":")[0] for case in CASES}
