"""Functions of one element in a network of integers: a table of what each integer becomes."""

import math

import numpy as np
import pytest

from minidl import nn
from minidl.compress.integer import compare_layers, convert, model_bytes, quantize_model
from minidl.compress.integer.layers import QuantizedLookup
from minidl.compress.qat import prepare_qat
from minidl.compress.quantize import QuantParams, affine_params


def test_a_table_of_two_bits_by_hand():
    x_params = QuantParams(np.float32(0.5), -1, -2, 1)  # -0.5, 0, 0.5, 1
    y_params = QuantParams(np.float32(0.25), 3, 0, 7)
    layer = QuantizedLookup.from_float(nn.LeakyReLU(0.5), x_params, y_params)  # -0.25, 0, 0.5, 1
    np.testing.assert_array_equal(layer.table, [[2, 3, 5, 7]])
    q = layer(np.array([[[[1, -2], [-1, 0]]]], np.int8))
    assert q.dtype == np.uint8
    np.testing.assert_array_equal(q, [[[[7, 2], [3, 5]]]])
    np.testing.assert_array_equal(layer(np.array([[0, -2, -1]], np.int8)), [[5, 2, 3]])


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.LeakyReLU(0.125), lambda x: x if x > 0 else x / 8),
        (nn.GELU(), lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
        (nn.Sigmoid(), lambda x: 1 / (1 + math.exp(-x))),
        (nn.Tanh(), math.tanh),
        (nn.ELU(0.5), lambda x: x if x > 0 else math.expm1(x) / 2),
        (nn.SiLU(), lambda x: x / (1 + math.exp(-x))),
        (nn.Softplus(), lambda x: math.log1p(math.exp(x))),
        (nn.Hardsigmoid(), lambda x: min(max(x + 3, 0), 6) / 6),
        (nn.Hardswish(), lambda x: x * min(max(x + 3, 0), 6) / 6),
    ],
)
def test_each_of_the_256_integers_is_the_one_next_to_the_functions_value(module, function):
    x_params, y_params = affine_params(-4, 3.5), affine_params(-1, 3.5)
    layer = QuantizedLookup.from_float(module, x_params, y_params)
    q = np.arange(-128, 128).astype(np.int8).reshape(1, -1)
    reals = float(x_params.scale) * (q[0].astype(float) - x_params.zero_point)
    steps = [function(x) / float(y_params.scale) + y_params.zero_point for x in reals]
    assert np.abs(np.clip(steps, -128, 127) - layer(q)[0]).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("axes", [2, 4])
def test_a_batchnorm_has_a_row_for_each_channel(axes):
    norm = (nn.BatchNorm1d if axes == 2 else nn.BatchNorm2d)(2, eps=0).eval()
    norm.running_mean[:], norm.running_var[:] = [1, 0], [4, 1]
    norm.weight.data, norm.bias.data = np.float32([2, -1]), np.float32([0.5, 0])
    params = QuantParams(np.float32(0.5), 0, -128, 127)
    layer = QuantizedLookup.from_float(norm, params, params)
    q = np.array([[4, 4], [-7, 100]], np.int8).reshape(2, 2, *[1] * (axes - 2))
    # channel 0: x - 1 + 0.5, so 2 -> 1.5 and -3.5 -> -4;   channel 1: -x
    np.testing.assert_array_equal(layer(q).reshape(2, 2), [[3, -4], [-8, -100]])


def test_quantize_model_takes_every_one_of_them():
    rng = np.random.default_rng(0)
    images = rng.random((64, 3, 6, 6), np.float32)
    for activation in (nn.ELU(), nn.SiLU(), nn.Softplus(), nn.Hardsigmoid(), nn.Hardswish()):
        layers = nn.Conv2d(3, 8, 3, rng=rng), activation, nn.Flatten(), nn.Linear(128, 4, rng=rng)
        model = nn.Sequential(*layers).eval()
        wanted, found = model(images).data, quantize_model(model, images)(images).data
        assert np.abs(wanted - found).max() < 0.05 * np.abs(wanted).max()


def leading(seed=0):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        *(nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3, rng=rng), nn.BatchNorm2d(6), nn.LeakyReLU(0.1)),
        *(nn.Conv2d(6, 6, 3, groups=3, rng=rng), nn.GELU(), nn.AdaptiveAvgPool2d(), nn.Flatten()),
        *(nn.Linear(6, 8, rng=rng), nn.ReLU6(), nn.BatchNorm1d(8), nn.Linear(8, 4, rng=rng), nn.Sigmoid()),
    )
    x = rng.uniform(0, 1, (32, 3, 8, 8)).astype(np.float32)
    model.train()(x)
    return model.eval(), x


def test_a_network_of_such_layers_computes_with_integers_and_stays_close():
    model, x = leading()
    integer = quantize_model(model, x)
    assert np.abs(integer(x).data - model(x).data).max() < 0.02
    kinds = [row.kind for row in integer.rows]
    assert kinds.count("QuantizedLookup") == 5  # the first BatchNorm, LeakyReLU, GELU, BatchNorm1d, Sigmoid
    assert all(row.sqnr > 20 for row in integer.rows)
    rounded = prepare_qat(model, x)
    rows = compare_layers(rounded, convert(rounded), x)
    assert [row.largest for row, kind in zip(rows, kinds[1:], strict=True) if kind == "QuantizedLookup"] == [
        0
    ] * 5


def test_a_table_takes_a_byte_for_each_integer_and_channel():
    norm, x = nn.BatchNorm2d(3).eval(), np.random.default_rng(0).random((4, 3, 2, 2), dtype=np.float32)
    norm.bias.data = np.ones(3, np.float32)
    # eight bytes for each of two grids, and 2^b for each channel
    assert model_bytes(quantize_model(nn.Sequential(norm).eval(), x)) == 16 + 3 * 256
    assert model_bytes(quantize_model(nn.Sequential(norm).eval(), x, activation_bits=4)) == 16 + 3 * 16
    assert model_bytes(quantize_model(nn.Sequential(nn.GELU()).eval(), x)) == 16 + 256
