"""No number, flag or seed is taken for another one: True is no 1, a text is no flag, digits are not lost."""

import warnings

import numpy as np
import pytest

import minidl
import minidl.nn as nn
import minidl.nn.functional as F
from minidl import Tensor

IMAGES = np.zeros((2, 3, 8, 8), np.float32)
WEIGHT = np.zeros((4, 3, 3, 3), np.float32)
ROWS = np.ones((2, 3), np.float32)

# ---- True as 1

TRUE_AS_1 = {
    "stride": lambda: F.conv2d(IMAGES, WEIGHT, stride=True),
    "padding": lambda: F.conv2d(IMAGES, WEIGHT, padding=(1, True)),
    "dilation": lambda: F.conv2d(IMAGES, WEIGHT, dilation=True),
    "kernel_size": lambda: F.max_pool2d(IMAGES, True),
    "stride of a layer": lambda: nn.Conv2d(3, 4, 3, stride=True),
    "padding of a layer": lambda: nn.AvgPool2d(2, padding=True),
    "axis": lambda: Tensor(ROWS).sum(axis=True),
    "axis of a stack": lambda: minidl.stack([ROWS, ROWS], axis=True),
    "axis of expand_dims": lambda: Tensor(ROWS).expand_dims(True),
    "pad_width": lambda: minidl.pad(ROWS, [(True, 0), (0, 0)]),
    "pad": lambda: F.pad(ROWS, (True, 0)),
    "shape": lambda: Tensor(ROWS).reshape(True, 6),
    "start_dim": lambda: Tensor(ROWS).flatten(True),
    "seed": lambda: minidl.manual_seed(True),
    "output_size": lambda: nn.AdaptiveAvgPool2d(True),
    "hidden": lambda: nn.models.mlp(3, True, 2),
}


@pytest.mark.parametrize("name", TRUE_AS_1)
def test_true_is_not_taken_for_1(name):
    with pytest.raises(TypeError, match=r"must be an integer.*got .*True|must be a tuple or list, got True"):
        TRUE_AS_1[name]()


# ---- texts and numbers as flags

NO_FLAGS = {
    "training": lambda flag: F.dropout(ROWS, training=flag),
    "training of batch_norm": lambda flag: F.batch_norm(ROWS, np.zeros(3), np.ones(3), training=flag),
    "keepdims": lambda flag: Tensor(ROWS).sum(axis=0, keepdims=flag),
    "keepdims of max": lambda flag: Tensor(ROWS).max(axis=0, keepdims=flag),
    "requires_grad": lambda flag: Tensor(ROWS, requires_grad=flag),
    "requires_grad_": lambda flag: Tensor(ROWS).requires_grad_(flag),
    "affine": lambda flag: nn.BatchNorm1d(3, affine=flag),
    "bias": lambda flag: nn.Linear(3, 2, bias=flag),
    "mode": lambda flag: nn.ReLU().train(flag),
    "strict": lambda flag: nn.ReLU().load_state_dict({}, strict=flag),
}


@pytest.mark.parametrize("flag", ["False", 1, None], ids=repr)
@pytest.mark.parametrize("name", NO_FLAGS)
def test_only_true_and_false_are_flags(name, flag):
    with pytest.raises(TypeError, match="must be True or False, got"):
        NO_FLAGS[name](flag)


# ---- seeds


@pytest.mark.parametrize("seed", [None, 1.0, "0", -1])
def test_a_seed_is_an_integer(seed):
    with pytest.raises((TypeError, ValueError), match="seed must be"):
        minidl.manual_seed(seed)


# ---- integers with more digits than a float

LOST = {
    "max of an array": lambda: Tensor(np.array([16777217])).max(),
    "a list": lambda: Tensor([16777217]),
    "a number": lambda: Tensor([1.0]) * 16777217,
    "an array beside a tensor": lambda: Tensor([1.0]) + np.array([-16777217]),
    "a functional": lambda: F.relu(np.array([2**30 + 1])),
    "a layer": lambda: nn.Identity()(np.array([16777217, 0])),
    "unsigned": lambda: Tensor(np.array([2**32 - 1], np.uint32)).sum(),
    "data": lambda: setattr(Tensor([1.0]), "data", np.array([16777217])),
    "an upstream gradient": lambda: Tensor([1.0], requires_grad=True).exp().backward(np.array([16777217])),
}


@pytest.mark.parametrize("name", LOST)
def test_an_integer_that_float32_cannot_hold_is_refused_with_the_mend(name):
    with pytest.raises(ValueError, match=r"float32 cannot hold the integer .*array\.astype\(np\.float64\)"):
        LOST[name]()


def test_an_integer_that_float64_cannot_hold_is_refused_too():
    wide = Tensor(np.array([1.0]))
    assert (wide + np.array([2**53])).item() == 2**53
    with pytest.raises(ValueError, match="float64 cannot hold the integer 9007199254740993"):
        wide + np.array([2**53 + 1])


def test_integers_that_fit_are_cast_as_before():
    assert Tensor(np.array([2**24, -(2**24)])).max().item() == 2**24
    assert (Tensor([1.0]) / 2**31).item() == 2.0**-31  # a power of two is exact
    assert (Tensor(np.array([200], np.uint8)) + np.array([200], np.uint8)).item() == 400
    integers = Tensor(np.array([16777217]))
    assert integers.reshape(1, 1).data.tolist() == [[16777217]]  # moved, not cast
    assert Tensor(np.array([16777217]).astype(np.float64)).max().item() == 16777217


def test_a_long_double_is_refused_and_a_half_is_widened():
    if np.finfo(np.longdouble).bits == 64:
        pytest.skip("a long double is a double here")
    with pytest.raises(TypeError, match="a Tensor holds float32/64"):
        Tensor(np.longdouble([1]))
    with pytest.raises(TypeError, match="a Tensor holds float32/64"):
        F.relu(np.longdouble([1]))
    with pytest.raises(TypeError, match="a Tensor holds float32/64"):
        Tensor([1.0]) * np.longdouble(2)
    assert Tensor(np.float16([0.5])).dtype == np.float32


# ---- errors that name the given value

RAGGED = [[1.0, 2.0], [3.0]]
RAW = {
    "Tensor": lambda: Tensor(RAGGED),
    "arithmetic": lambda: Tensor(ROWS) + RAGGED,
    "maximum": lambda: minidl.maximum(RAGGED, 0),
    "where": lambda: minidl.where([[True], [True, False]], ROWS, ROWS),
    "relu": lambda: F.relu(RAGGED),
    "linear": lambda: F.linear(RAGGED, ROWS),
    "batch_norm": lambda: F.batch_norm(RAGGED, np.zeros(2), np.ones(2)),
    "pad": lambda: F.pad(RAGGED, (1, 1)),
    "adaptive_avg_pool2d": lambda: F.adaptive_avg_pool2d(RAGGED),
    "cross_entropy: logits": lambda: F.cross_entropy(RAGGED, [0, 1]),
    "cross_entropy: labels": lambda: F.cross_entropy(ROWS, RAGGED),
    "mse_loss": lambda: F.mse_loss(RAGGED, RAGGED),
    "one_hot": lambda: F.one_hot([[0], [1, 2]], 3),
    "data": lambda: setattr(Tensor(ROWS), "data", RAGGED),
    "backward": lambda: Tensor(ROWS, requires_grad=True).backward(RAGGED),
    "layer": lambda: nn.BatchNorm1d(2)(RAGGED),
}


@pytest.mark.parametrize("name", RAW)
def test_ragged_rows_are_refused_in_our_words(name):
    with pytest.raises(ValueError, match="must be an array, (but )?its rows are of different lengths"):
        RAW[name]()


HUGE = {
    "reshape": lambda: Tensor(ROWS).reshape(2**70),
    "axis": lambda: Tensor(ROWS).sum(axis=2**70),
    "index": lambda: Tensor(ROWS)[2**70],
    "pad": lambda: minidl.pad(ROWS, [(2**70, 0), (0, 0)]),
    "number": lambda: Tensor(2**70),
    "broadcast_to": lambda: Tensor(ROWS).broadcast_to(2**70, 2, 3),
    "num_classes": lambda: F.one_hot([0], 2**70),
    "Linear": lambda: nn.Linear(2**70, 1),
    "negative_slope": lambda: Tensor(ROWS).leaky_relu(-(10**400)),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_integers_end_in_an_error_that_names_operation_or_argument(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            HUGE[name]()
        except (ValueError, TypeError, IndexError) as error:
            words = ("of inputs of shape", "must be", "a Tensor holds", "cannot hold")
            assert any(word in str(error) for word in words), error
        else:
            raise AssertionError("no error")
