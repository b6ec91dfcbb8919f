"""A whole network of integers: built, reported, counted; every layer on what the one before gave."""

import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lite import tiny_lite

from minidl import nn, no_grad
from minidl.compress.fuse import fuse
from minidl.compress.integer import (
    IntegerModel,
    compare_layers,
    convert,
    model_bytes,
    quantize_model,
)
from minidl.compress.layer_kinds import in_order
from minidl.compress.qat import prepare_qat
from minidl.compress.quantize import dequantize, quantize
from minidl.nn.efficientnet import Preprocess, SamePad2d
from minidl.nn.models import imagenet_network, inception_block, lenet, mlp, small_cnn, tiny_resnet
from minidl.train import accuracy, checkpoint, predict
from minidl.train.networks import digits_network, digits_split


def warmed(model, images):
    """In eval mode, with BatchNorm statistics that are not those of a new network."""
    with no_grad():
        model.train()(images)
    return model.eval()


def images_of(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def network(name):
    rng = np.random.default_rng(1)
    if name == "mlp":
        return mlp(64, (20, 10), 4, dropout=0.5, rng=rng), images_of(40, 1, 8, 8)
    if name == "lenet":
        return lenet(4, image_size=12, rng=rng), images_of(40, 1, 12, 12)
    if name == "inception":
        block = inception_block(3, (4, 5, 6, 7), rng=rng)
        layers = (
            block,
            nn.AvgPool2d(3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(22 * 16, 4, rng=rng),
        )
        return nn.Sequential(*layers), images_of(40, 3, 8, 8)
    if name == "lite":
        return tiny_lite(4, rng), images_of(40, 3, 17, 16)
    make = {"small_cnn": small_cnn, "tiny_resnet": tiny_resnet}[name]
    return make(4, 3, rng=rng), images_of(40, 3, 8, 8)


@pytest.fixture(scope="module")
def resnet():
    model, images = network("tiny_resnet")
    return quantize_model(model.eval(), images, calibration="max")


NETWORKS = ["mlp", "lenet", "small_cnn", "tiny_resnet", "inception", "lite"]


@pytest.mark.parametrize("name", NETWORKS)
def test_eight_bits_are_close_to_the_float_network(name):
    model, images = network(name)
    model = warmed(model, images)
    with no_grad():
        logits = model(images).data
    for calibration in ("max", "entropy"):
        integer = quantize_model(model, images, calibration=calibration)
        error = integer(images).data - logits
        assert 10 * np.log10(np.var(logits) / np.mean(error**2)) > 20, calibration
    assert not np.array_equal(integer(images).data, logits)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_but_integers_passes_between_layers(name):
    model, images = network(name)
    integer = quantize_model(model.eval(), images)
    seen = []
    for module in integer.body.modules():
        module.register_forward_hook(lambda module, inputs, output: seen.extend([*inputs, output]))
    integer.body(quantize(images, integer.x_params))
    assert len(seen) > 6
    assert {array.dtype for array in seen} == {np.dtype(np.int8), np.dtype(np.int32)}
    assert seen[-1].dtype == np.int32  # the head's sums alone
    assert sum(array.dtype == np.int32 for array in seen) <= 2


@pytest.mark.parametrize("make", [prepare_qat, quantize_model])
def test_a_network_that_rounds_photographs_still_refuses_pixels_up_to_255(make):
    images = np.random.default_rng(0).random((2, 3, 6, 6), np.float32)
    rounded = make(nn.Sequential(Preprocess(), nn.Conv2d(3, 2, 3)).eval(), images)
    assert np.isfinite(rounded(images).data).all()
    with pytest.raises(ValueError, match="divide by 255"):
        rounded(255 * images)
    with pytest.raises(ValueError, match="expected colour images"):
        rounded(images[:, :1])


def test_the_levels_of_a_pixel_pass_through_preprocess_as_they_are():
    """q = 255 x - 128 stands for x at 1/255 and Z = -128, and for (255 x - 127) / 128 at 1/128 and Z = -1."""
    pixels = np.arange(256, dtype=np.uint8)
    model = nn.Sequential(Preprocess(), SamePad2d(3, 2), nn.Conv2d(3, 2, 3, 2)).eval()
    integer = quantize_model(model, images_of(4, 3, 8, 8) / 3 + 0.2)
    preprocess, pad = integer.body[0], integer.body[1]
    x_params, y_params = preprocess.x_params, preprocess.y_params
    assert (x_params.scale, x_params.zero_point) == (np.float32(1 / 255), -128)
    assert (y_params.scale, y_params.zero_point) == (1 / 128, -1)
    images = np.broadcast_to(pixels.reshape(16, 16), (1, 3, 16, 16)) / np.float32(255)
    q = quantize(images, x_params)
    np.testing.assert_array_equal(q[0, 0].ravel(), pixels.astype(int) - 128)
    np.testing.assert_array_equal(preprocess(q), q)
    padded = pad(q)
    assert padded.shape == (1, 3, 17, 17) and (padded[:, :, -1] == -1).all() and (padded[..., -1] == -1).all()
    np.testing.assert_array_equal(padded[..., :-1, :-1], q)


def test_padding_of_its_own_and_relu6_where_no_layer_can_do_them():
    """ReLU6 behind a pooling, a sum and a Linear, and at the beginning; padding with four sides."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.ReLU6(), nn.ZeroPad2d((1, 0, 2, 0)), nn.MaxPool2d(2), nn.ReLU6())
    for layer in (nn.Skip(nn.Conv2d(2, 2, 1, rng=rng)), nn.ReLU6(), nn.Flatten(), nn.Linear(24, 9, rng=rng)):
        model.append(layer)
    model.append(nn.ReLU6()).append(nn.Linear(9, 2, rng=rng))
    images = 5 * rng.normal(size=(50, 2, 6, 5)).astype(np.float32)
    floats, integer = model.eval()(images).data, quantize_model(model, images, calibration="max")
    assert 10 * np.log10(np.var(floats) / np.mean((integer(images).data - floats) ** 2)) > 25
    kinds = [type(layer).__name__ for _, layer in in_order(integer.body)]
    assert kinds[:4] == ["QuantizedRescale", "IntegerZeroPad2d", "IntegerMaxPool2d", "QuantizedRescale"]
    assert kinds[4:] == ["QuantizedResidual", "IntegerFlatten", "QuantizedLinear", "QuantizedLinear"]


@pytest.mark.parametrize("second", [nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("first", [nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("kind", ["linear", "convolution", "residual", "nothing"])
def test_one_relu_after_another(kind, first, second):
    rng, images = np.random.default_rng(0), 20 * images_of(40, 3, 4, 4) - 10
    before = {
        "linear": [nn.Flatten(), nn.Linear(48, 5, rng=rng)],
        "convolution": [nn.Conv2d(3, 5, 3, rng=rng), nn.BatchNorm2d(5)],
        "residual": [nn.Residual(nn.Conv2d(3, 3, 1, rng=rng))],
        "nothing": [],
    }[kind]
    for after in ([], [nn.Flatten()], [first(), nn.Identity(), second()]):
        model = nn.Sequential(*before, first(), second(), *after).eval()
        integer = quantize_model(model, images, calibration="max")
        y = model(images).data
        assert np.abs(integer(images).data - y).max() < 0.03 * y.max() and integer(images).data.min() == 0
        rounded = prepare_qat(model, images, calibration="max")
        np.testing.assert_array_equal(convert(rounded)(images).data, integer(images).data)


def test_a_part_of_a_network_in_evaluation_mode_is_quantized_as_it_is():
    model, x = mlp(8, (16, 6), 3, rng=np.random.default_rng(0)).eval(), images_of(40, 8) - np.float32(0.5)
    for part in (model[:-1], model[:1], model[1:-1]):
        given = x if part[0] is model[0] else model[0](x).data
        assert np.abs(quantize_model(part, given)(given).data - part(given).data).max() < 0.02


def test_the_network_for_photographs_computes_with_integers():
    model, images = imagenet_network(), images_of(2, 3, 96, 96)
    rounded = prepare_qat(model, images, calibration="max")
    integer = convert(rounded)
    differences = compare_layers(rounded, integer, images[:1])
    assert max(row.largest for row in differences[:-1]) <= 1
    assert sum(row.differ for row in differences) < 0.001 * sum(row.outputs for row in differences)
    with no_grad():
        floats = model(images).data
    assert 10 * np.log10(np.var(floats) / np.mean((integer(images).data - floats) ** 2)) > 5
    assert model_bytes(integer) < 4_800_000


def test_each_layer_reads_what_the_one_before_it_gives():
    model, images = network("small_cnn")
    integer = quantize_model(model.eval(), images)
    params = integer.x_params
    for _, layer in integer.body.named_modules():
        if hasattr(layer, "x_params"):
            assert layer.x_params is params
        params = getattr(layer, "y_params", params)


def test_digits_lose_less_than_half_a_point_at_eight_bits_under_every_calibration():
    train, _, (images, labels) = digits_split()
    model = digits_network()
    floats = accuracy(predict(model, images), labels)
    for calibration in ("max", "percentile", "mse", "entropy"):
        integer = quantize_model(model, train[0][:128], calibration=calibration)
        assert accuracy(predict(integer, images), labels) >= floats - 0.005, calibration


@given(seed=st.integers(0, 1000), cut=st.integers(1, 29))
def test_an_image_has_the_same_logits_in_any_batch(resnet, seed, cut):
    images = images_of(30, 3, 8, 8, seed=seed)
    parts = [resnet(part).data for part in np.split(images, [cut])]
    np.testing.assert_array_equal(np.concatenate(parts), resnet(images).data)


def test_quantizing_leaves_the_model_as_it_was():
    model, images = network("small_cnn")
    model.eval()
    before = {key: value.copy() for key, value in model.state_dict().items()}
    quantize_model(model, images)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_fewer_bits_use_fewer_levels():
    model, images = network("small_cnn")
    integer = quantize_model(model.eval(), images, weight_bits=3, activation_bits=2, per_channel=False)
    layers = [layer for layer in integer.body.modules() if hasattr(layer, "w_params")]
    assert all(np.unique(layer.weight).tolist() == [-3, -2, -1, 0, 1, 2, 3] for layer in layers[:-1])
    assert all(layer.w_params.axis is None for layer in layers)
    outputs = []
    layers[1].register_forward_hook(lambda module, inputs, output: outputs.append((*inputs, output)))
    integer(images)
    assert all(set(np.unique(q)) <= {-2, -1, 0, 1} for q in outputs[0])


# ---- report and bytes


def test_the_report_says_what_each_layer_does_and_stores():
    model, images = network("small_cnn")
    model = warmed(model, images)
    integer = quantize_model(model, images)
    rows = {row.path: row for row in integer.rows}
    paths = ["block1.conv", "block2.conv", "block2.pool", "block3.conv", "pool", "flatten", "head"]
    assert list(rows) == ["input", *paths]
    assert sum(row.bytes for row in integer.rows) == model_bytes(integer)
    conv = integer.body.layer("block2.conv")
    assert rows["block2.conv"].weight_scale == conv.w_params.scale.max()
    assert (rows["block2.conv"].scale, rows["block2.conv"].zero_point) == (conv.y_params.scale, -128)
    assert rows["head"].scale is None and rows["block2.pool"].bytes == 0
    text = integer.report()
    assert all(path in text for path in paths) and f"{model_bytes(integer):,}" in text

    with no_grad():
        reals = model.block1(images).data
    q = integer.body.block1(quantize(images, integer.x_params))
    noise = reals - dequantize(q, integer.body.block1.conv.y_params)
    expected = 10 * np.log10(np.sum(reals.astype(float) ** 2) / np.sum(noise.astype(float) ** 2))
    assert rows["block1.conv"].sqnr == pytest.approx(expected, abs=0.01)
    assert 20 < expected < 60


@pytest.mark.parametrize("name", NETWORKS)
def test_stored_are_a_byte_a_weight_and_eight_a_channel_and_less_than_a_kilobyte(name):
    model, images = network(name)
    fused = fuse(model.eval(), images[:1])
    weights = [p for p in fused.parameters() if p.ndim > 1]
    wanted = sum(p.size for p in weights) + 8 * sum(len(p) for p in weights)
    integer = quantize_model(model, images)
    assert wanted <= model_bytes(integer) <= wanted + 1024
    assert sum(row.bytes for row in integer.rows) == model_bytes(integer)


def test_a_float_network_stores_four_bytes_a_number():
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    assert model_bytes(model) == 4 * (15 + 5) + 4 * 4 * 5 + 8  # and an int64 counter
    model.append(model[0])
    assert model_bytes(model) == 4 * (15 + 5) + 4 * 4 * 5 + 8  # shared


def test_a_branch_that_is_one_module_has_the_path_of_the_branch():
    branches = nn.Concat(nn.Conv2d(1, 2, 1), nn.Residual(nn.Conv2d(1, 1, 1)))
    integer = quantize_model(nn.Sequential(branches).eval(), images_of(4, 1, 5, 5))
    assert [row.path for row in integer.rows] == ["input", "0.0", "0.1.body", "0.1", "0"]
    alone = quantize_model(nn.Linear(3, 2).eval(), images_of(4, 3))
    assert [row.path for row in alone.rows] == ["input", "model"]


# ---- bad input


class Own(nn.Module):
    def forward(self, x):
        return x * 2


MODEL, IMAGES = network("mlp")
MODEL.eval()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: quantize_model(MODEL, IMAGES, weight_bits=9),
            ValueError,
            r"weight_bits must be within \[2, 8\]",
        ),
        (lambda: quantize_model(MODEL, IMAGES, activation_bits=16), ValueError, "activation_bits"),
        (lambda: quantize_model(MODEL, IMAGES, activation_bits=1), ValueError, "bits"),
        (lambda: quantize_model(MODEL, IMAGES, calibration="kl"), ValueError, "'entropy', got 'kl'"),
        (lambda: quantize_model(MODEL, IMAGES[:0]), ValueError, "calibration_images must not be empty"),
        (
            lambda: quantize_model(nn.Sequential(Own()).eval(), IMAGES),
            ValueError,
            "0: Own has no counterpart",
        ),
        (lambda: quantize_model(mlp(64, 5, 2).train(), IMAGES), ValueError, "eval"),
        (lambda: quantize_model(None, IMAGES), TypeError, "model must be a Module, got None"),
        (
            lambda: quantize_model(
                nn.Sequential(nn.Concat(nn.Sequential({"rescale": nn.Conv2d(1, 2, 1)}))).eval(), IMAGES
            ),
            ValueError,
            "can be named 'rescale', as in branch '0'",
        ),
        (lambda: quantize_model(MODEL, IMAGES)(IMAGES[:, :, :7]), ValueError, "does not fit"),
        (lambda: quantize_model(MODEL, IMAGES)(IMAGES * np.nan), ValueError, "NaN"),
        (lambda: IntegerModel(None, {}), ValueError, "at least one layer"),
        (lambda: model_bytes(3), TypeError, "Module"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "layer, setting",
    [
        (nn.AdaptiveAvgPool2d(2), "output_size=(2, 2)"),
        (nn.MaxPool2d(2, ceil_mode=True), "ceil_mode=True"),
        (nn.AvgPool2d(2, padding=1, count_include_pad=False), "count_include_pad=False"),
        (nn.Flatten(2), "start_dim=2"),
    ],
)
def test_a_setting_that_integers_do_not_have_is_refused_by_name(layer, setting):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), layer).eval()
    images = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
    with pytest.raises(ValueError, match=re.escape(setting)):
        quantize_model(model, images)


def test_dropout_of_values_or_of_channels_is_nothing_in_a_network_of_integers():
    images = images_of(20, 2, 5, 5)
    rng = np.random.default_rng(0)
    conv, last = nn.Conv2d(2, 3, 3, rng=rng), nn.Conv2d(3, 2, 2, rng=rng)
    plain = quantize_model(nn.Sequential(conv, last).eval(), images)(images).data
    for dropout in (nn.Dropout(), nn.Dropout2d()):
        with_dropout = nn.Sequential(conv, dropout, last, nn.Identity()).eval()
        assert np.array_equal(quantize_model(with_dropout, images)(images).data, plain)


# ---- saving


def test_a_network_of_integers_has_no_state_but_can_be_pickled(tmp_path):
    model, images = network("mlp")
    integer = quantize_model(model.eval(), images)
    uses = [
        integer.state_dict,
        nn.Sequential(integer).state_dict,
        lambda: integer.load_state_dict({}),
        lambda: checkpoint.save(tmp_path / "integer.npz", integer),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="no state dict.* with pickle, or .* prepare_qat"):
            use()
    assert not list(tmp_path.iterdir())
    again = pickle.loads(pickle.dumps(integer))
    np.testing.assert_array_equal(again(images).data, integer(images).data)
