"""Bias correction: the means that rounding moved are moved back."""

import copy

import numpy as np
import pytest

from minidl import nn
from minidl.compress import apply_masks
from minidl.compress.correct import correct_biases
from minidl.compress.fuse import fuse
from minidl.compress.integer import convert, quantize_model
from minidl.compress.packed import pack_weights
from minidl.compress.qat import prepare_qat
from tests.lite import tiny_lite


def images(n=12, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (n, channels, 8, 8)).astype(np.float32)


def network(bias=True):
    rng = np.random.default_rng(3)
    model = nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1, bias=bias, rng=rng),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Residual(nn.Sequential(nn.Conv2d(5, 5, 3, padding=1, bias=bias, rng=rng), nn.ReLU())),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3, bias=bias, rng=rng),
    )
    model[1].running_mean[:] = rng.normal(0, 0.3, 5)
    model[1].running_var[:] = rng.uniform(0.5, 2, 5)
    return model.eval()


def coarse(model, step=0.25):
    """A copy whose weights are rounded to multiples of ``step``."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data = np.float32(step) * np.rint(module.weight.data / np.float32(step))
    return model


def means_before_relu(model, x):
    """The mean of each output channel of each layer, in the order of the layers, taken apart by hand."""
    found, hooks = [], []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):

            def note(layer, inputs, y):
                found.append(y.data.mean(axis=(0, 2, 3) if y.ndim == 4 else 0))

            hooks.append(module.register_forward_hook(note))
    model(x)
    for hook in hooks:
        hook.remove()
    return found


def test_one_layer_by_hand():
    float_model, rounded = nn.Linear(2, 2), nn.Linear(2, 2)
    float_model.weight.data = np.array([[0.4, 1.0], [2.3, -0.2]], np.float32)
    rounded.weight.data = np.array([[0.0, 1.0], [2.0, 0.0]], np.float32)
    float_model.bias.data = rounded.bias.data = np.array([0.5, -1.0], np.float32)
    x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)  # mean (2, 3)
    corrected = correct_biases(rounded, float_model, x)
    # by row: 0.4 · 2 = 0.8;  0.3 · 2 - 0.2 · 3 = 0
    np.testing.assert_allclose(corrected.bias.data, [1.3, -1.0], rtol=1e-6)
    np.testing.assert_array_equal(rounded.bias.data, np.float32([0.5, -1.0]))  # the model itself stays


@pytest.mark.parametrize("bias", [True, False])
def test_afterwards_each_channels_mean_is_the_float_networks(bias):
    x, model = images(), network(bias)
    rounded = coarse(model)
    expected, before = means_before_relu(model, x), means_before_relu(rounded, x)
    after = means_before_relu(correct_biases(rounded, model, x), x)
    assert max(np.abs(a - b).max() for a, b in zip(before, expected, strict=True)) > 0.05
    for a, b in zip(after, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_later_layer_is_measured_behind_the_corrected_ones():
    """y = v relu(w x + b) with w rounded to 0: corrected alone, the second layer needs no correction where
    the first one's outputs have no spread."""
    one, other = nn.Linear(1, 1), nn.Linear(1, 1)
    one.weight.data, one.bias.data = np.float32([[0.4]]), np.float32([0])
    other.weight.data, other.bias.data = np.float32([[3]]), np.float32([1])
    model = nn.Sequential(one, nn.ReLU(), other).eval()
    rounded = copy.deepcopy(model)
    rounded[0].weight.data = np.float32([[0]])
    corrected = correct_biases(rounded, model, np.float32([[2], [2]]))
    np.testing.assert_allclose(corrected[0].bias.data, [0.8], rtol=1e-6)
    np.testing.assert_allclose(corrected[2].bias.data, [1.0], rtol=1e-6)


@pytest.mark.parametrize("make", [network, tiny_lite])
def test_a_network_that_is_not_rounded_stays_as_it_is_and_twice_is_once(make):
    model = make().eval()
    x = images(channels=3 if make is tiny_lite else 2)
    same = correct_biases(model, model, x)
    for key, array in model.state_dict().items():
        if key in same.state_dict():
            np.testing.assert_allclose(same.state_dict()[key], array, atol=1e-7)
    once = correct_biases(coarse(model), model, x)
    twice = correct_biases(once, model, x)
    for key, array in once.state_dict().items():
        np.testing.assert_allclose(twice.state_dict()[key], array, atol=2e-6, err_msg=key)


@pytest.mark.parametrize("make", [network, tiny_lite])
def test_of_a_prepared_network_the_float_network_is_folded_likewise(make):
    model = make().eval()
    x = images(channels=3 if make is tiny_lite else 2)
    rounded = prepare_qat(model, x, weight_bits=3, activation_bits=8)
    corrected = correct_biases(rounded, model, x)
    floats = prepare_qat(model, x[:1], weight_bits=32, activation_bits=32)

    def mean_logits(network):
        return network(x).data.mean(axis=0)

    before = np.abs(mean_logits(rounded) - mean_logits(floats)).max()
    after = np.abs(mean_logits(corrected) - mean_logits(floats)).max()
    assert after < 1e-3 < before  # the rest is the rounding of the bias itself
    integer = convert(corrected)
    spoiled = quantize_model(model, x, weight_bits=3)
    assert np.abs(mean_logits(integer) - mean_logits(floats)).max() < before
    assert not np.array_equal(integer(x).data, spoiled(x).data)


def test_packed_weights_and_fused_relus_are_corrected_before_the_relu():
    x, model = images(), fuse(network())
    packed = pack_weights(model, bits=2)
    corrected = correct_biases(packed, model, x)
    layers = [part.module for part in corrected.modules() if type(part).__name__ == "PackedWeights"]
    assert len(layers) == 3
    first = layers[0]
    plain = nn.Conv2d(2, 5, 3, padding=1)
    plain.weight.data, plain.bias.data = corrected[0].weights()[0].data, first.bias.data
    wanted = nn.Conv2d(2, 5, 3, padding=1)
    wanted.weight.data, wanted.bias.data = model[0].weight.data, model[0].bias.data
    np.testing.assert_allclose(
        plain(x).data.mean(axis=(0, 2, 3)), wanted(x).data.mean(axis=(0, 2, 3)), atol=1e-6
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("make", [copy.deepcopy, pack_weights, lambda pruned: prepare_qat(pruned, images())])
def test_pruned_filters_stay_zero(make, bias):
    model = nn.Sequential(nn.Conv2d(2, 5, 3, bias=bias), nn.ReLU(), nn.Conv2d(5, 2, 3)).eval()
    keep = np.array([True, False, True, False, True])
    pruned = apply_masks(coarse(model), {"0": keep})
    corrected = correct_biases(make(pruned), model, images())
    bias = next(part.bias for part in corrected.modules() if isinstance(part, nn.Conv2d))
    np.testing.assert_array_equal(bias.data != 0, keep)
    np.testing.assert_array_equal(bias.mask, keep)  # also in later training


def test_bad_input_is_refused():
    model = network()
    shared = nn.Linear(8, 8)
    cases = [
        (nn.Sequential(nn.Flatten()), model, images(), ValueError, "0 and 3 layers"),
        (nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU()), images(), ValueError, "same network"),
        (model, network()[:4], images(), ValueError, "3 and 2 layers"),
        (nn.Linear(8, 3), nn.Linear(8, 2), images(), ValueError, "same network"),
        (
            nn.Sequential(shared, shared),
            nn.Sequential(shared, shared),
            images(),
            ValueError,
            "'0' runs .* two means",
        ),
        (quantize_model(model, images()), model, images(), ValueError, "0 and 3 layers"),
        (model, model, (images() * 255).astype(np.uint8), TypeError, "pixels"),
        (model, model, images() * np.nan, ValueError, "finite"),
    ]
    for rounded, floats, x, error, message in cases:
        with pytest.raises(error, match=message):
            correct_biases(rounded, floats, x)
    assert not any(module._hooks for module in model.modules())
