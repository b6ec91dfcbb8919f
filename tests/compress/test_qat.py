"""Networks with rounded weights and activations: what they compute, learn, and become as integers."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import Tensor, nn
from minidl.compress.fuse import fuse
from minidl.compress.integer import compare_layers, convert, quantize_model
from minidl.compress.packed import pack_weights
from minidl.compress.qat import Rounding, activation_params, prepare_qat
from minidl.compress.quantize import fake_quantize, quantize, symmetric_params
from minidl.data import load_digits
from minidl.nn import functional as F
from minidl.nn.efficientnet import SamePad2d, block
from minidl.nn.models import inception_block, mlp, small_cnn, tiny_resnet
from minidl.train import Adam, evaluate, fit

KINDS = (
    "lite",
    *("cnn", "resnet", "mlp", "inception", "average", "relu within", "pool first"),
    *("logits with a place", "one relu twice", "bare branches", "activations"),
)


class Doubled(nn.Module):
    def forward(self, x):
        return x * 2


def with_one_relu(first, second, relu, pool):
    return nn.Sequential(first, relu, second, relu, pool)


def network(kind, seed=0):
    """An untrained network in evaluation mode whose BatchNorm statistics are not those of the start."""
    rng = np.random.default_rng(seed)
    model = {
        "cnn": lambda: small_cnn(3, 2, (4, 6), rng=rng),
        "resnet": lambda: tiny_resnet(3, 2, (4, 6), rng=rng),
        "mlp": lambda: mlp(2 * 64, (9, 7), 3, rng=rng),
        "inception": lambda: nn.Sequential(
            inception_block(2, (3, 2, 2, 1), reduce=2, rng=rng), nn.AdaptiveAvgPool2d(), nn.Flatten()
        ),
        "average": lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, rng=rng), nn.AvgPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 3, rng=rng)
        ),
        "relu within": lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1, rng=rng),
            nn.Residual(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1, rng=rng))),
            nn.AdaptiveAvgPool2d(),
        ),
        "lite": lambda: nn.Sequential(
            SamePad2d(3, 2),
            *(nn.Conv2d(2, 3, 3, 2, bias=False, rng=rng), nn.BatchNorm2d(3), nn.ReLU6()),
            *(block(3, 3, 3, 1, 2, rng), nn.ReLU6(), block(3, 4, 5, 2, 3, rng)),
            *(nn.AdaptiveAvgPool2d(), nn.Flatten(), nn.Linear(4, 3, rng=rng)),
        ),
        "pool first": lambda: nn.Sequential(
            nn.MaxPool2d(2), nn.Conv2d(2, 3, 3, rng=rng), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()
        ),
        "logits with a place": lambda: nn.Sequential(
            nn.Conv2d(2, 5, 3, padding=1, rng=rng), nn.ReLU(), nn.Conv2d(5, 4, 5, rng=rng)
        ),
        "one relu twice": lambda: with_one_relu(
            nn.Conv2d(2, 3, 3, rng=rng), nn.Conv2d(3, 4, 3, rng=rng), nn.ReLU(), nn.AdaptiveAvgPool2d()
        ),
        "bare branches": lambda: nn.Sequential(
            nn.Residual(nn.Conv2d(2, 2, 3, padding=1, rng=rng)),
            nn.Concat(nn.Conv2d(2, 3, 1, rng=rng), nn.MaxPool2d(1), nn.Identity()),
            nn.AdaptiveAvgPool2d(),
        ),
        "activations": lambda: nn.Sequential(
            *(nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3, rng=rng), nn.LeakyReLU(0.2), nn.BatchNorm2d(4)),
            *(nn.Residual(nn.Sequential(nn.Conv2d(4, 4, 1, rng=rng), nn.GELU())), nn.Sigmoid()),
            *(nn.AdaptiveAvgPool2d(), nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 3, rng=rng), nn.Tanh()),
        ),
    }[kind]()
    if kind == "logits with a place":
        model[2].weight.data *= np.float32([1, 10, 100, 1000]).reshape(4, 1, 1, 1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            count = module.num_features
            module.running_mean = rng.normal(size=count).astype(np.float32) / 4
            module.running_var = rng.uniform(0.5, 2, count).astype(np.float32)
            module.weight.data = rng.uniform(0.5, 2, count).astype(np.float32)
            module.bias.data = rng.normal(size=count).astype(np.float32) / 4
    return model.eval()


def images(n=16, seed=1):
    return np.random.default_rng(seed).random((n, 2, 8, 8), dtype=np.float32)


# ---- what it computes


@pytest.mark.parametrize("kind", KINDS)
def test_with_floats_throughout_it_is_the_fused_network(kind):
    model, x = network(kind), images()
    floats = prepare_qat(model, x, weight_bits=32, activation_bits=32)
    np.testing.assert_allclose(floats(x).data, model(x).data, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, Rounding) for module in floats.modules())


@pytest.mark.parametrize("kind", KINDS)
def test_more_bits_come_closer_to_the_float_network(kind):
    model, x = network(kind), images()
    errors = [
        np.abs(
            prepare_qat(model, x, weight_bits=b, activation_bits=b, calibration="max")(x).data - model(x).data
        ).max()
        for b in (4, 8, 16)
    ]
    assert errors[1] < errors[0] / 4 and errors[2] < errors[1] / 64


def test_the_weights_of_a_layer_are_rounded_for_each_output_or_for_all():
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = np.float32([[0.9, -7.0], [0.3, 1.0]])
    x = np.float32([[1.0, 0.0], [0.0, 1.0]])
    # 4 bits: S = 1 and 1/7, 0.3 / (1/7) = 2.1 -> 2/7; with one S = 1 for both, 0.3 -> 0
    each = prepare_qat(layer.eval(), x, weight_bits=4, activation_bits=32)
    np.testing.assert_allclose(each(x).data.T, [[1, -7], [2 / 7, 1]], rtol=1e-6)
    one = prepare_qat(layer, x, weight_bits=4, activation_bits=32, per_channel=False)
    np.testing.assert_allclose(one(x).data.T, [[1, -7], [0, 1]])


@pytest.mark.parametrize("kind", KINDS)
def test_what_passes_between_layers_lies_on_the_grids(kind):
    rounded = prepare_qat(network(kind), images(), activation_bits=3)
    seen = []
    for module in rounded.modules():
        if isinstance(module, Rounding):
            module.register_forward_hook(lambda m, inputs, output: seen.append((m.params, output.data)))
    rounded(images(5, seed=2))
    assert len(seen) >= 2
    for params, values in seen:
        assert len(np.unique(values)) <= 8
        assert (fake_quantize(values, params) == values).all()


def test_what_only_a_relu_reads_and_the_logits_are_not_rounded():
    roundings = [m for m in prepare_qat(network("mlp"), images()).modules() if isinstance(m, Rounding)]
    assert len(roundings) == 3, "the input and two hidden layers, after the ReLU"
    rounded = prepare_qat(network("mlp"), images(), activation_bits=2)
    assert len(np.unique(rounded(images()).data)) > 4


def test_the_model_itself_is_not_touched():
    model, x = network("resnet"), images()
    before, state = model(x).data, model.state_dict()
    rounded = prepare_qat(model, x, weight_bits=2, activation_bits=2)
    train_steps(rounded, x, np.arange(16) % 3, lr=0.1)
    assert all((state[key] == value).all() for key, value in model.state_dict().items())
    assert (model(x).data == before).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_holds_the_grids_too(kind):
    model, x = network(kind), images()
    one, other = prepare_qat(model, x), prepare_qat(network(kind, seed=5), 3 * images(seed=9) - 1)
    assert (other(x).data != one(x).data).any()
    other.load_state_dict(one.state_dict())
    assert (other(x).data == one(x).data).all()
    assert (convert(other)(x).data == convert(one)(x).data).all()


# ---- what it learns


def train_steps(model, x, labels, lr=3e-3, epochs=1):
    optimizer = Adam(model.parameters(), lr=lr)
    fit(model, (x, labels), epochs=epochs, optimizer=optimizer, rng=np.random.default_rng(0), progress=False)


def test_the_gradient_of_a_weight_is_that_at_the_rounded_weight():
    layer = nn.Linear(3, 1, bias=False)
    layer.weight.data = np.float32([[0.9, -7.0, 0.2]])
    rounded = prepare_qat(layer.eval(), np.ones((1, 3)), weight_bits=4, activation_bits=32)
    x = np.float32([[2.0, 3.0, 5.0]])
    (rounded(x) ** 2).sum().backward()
    y = 2 * 1 - 3 * 7 + 5 * 0
    (weight,) = rounded.parameters()
    assert weight.grad.tolist() == [[2 * y * 2, 2 * y * 3, 2 * y * 5]]


def test_batchnorm_keeps_its_statistics_while_training_goes_on():
    model = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(128, 3)).eval()
    model[1].running_mean = np.float32([0.5, 0.25])
    rounded = prepare_qat(model, images())  # there is no layer before it to fold it into
    train_steps(rounded, images(), np.arange(16) % 3)
    (norm,) = (module for module in rounded.modules() if isinstance(module, nn.BatchNorm2d))
    assert norm.running_mean.tolist() == [0.5, 0.25]
    folded = prepare_qat(network("cnn"), images())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())


def test_retraining_wins_back_what_two_bits_lost():
    (x, labels), test = load_digits()
    model = mlp(64, 32, 10, rng=np.random.default_rng(0))
    train_steps(model, x, labels, lr=1e-2, epochs=6)
    accuracy = evaluate(model, *test).accuracy
    rounded = prepare_qat(model.eval(), x[:256], weight_bits=2, activation_bits=2)
    before = evaluate(rounded, *test).accuracy
    train_steps(rounded, x, labels, lr=1e-2, epochs=6)
    after = evaluate(rounded, *test).accuracy
    assert accuracy > 0.9 and before < 0.8
    assert after > before + (accuracy - before) / 2


# ---- as integers


@settings(max_examples=30)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 1000),
    bits=st.tuples(st.integers(2, 8), st.integers(2, 8)),
    per_channel=st.booleans(),
    calibration=st.sampled_from(["max", "mse"]),
)
def test_given_equal_integers_a_layer_and_its_integer_layer_agree_within_one_step(
    kind, seed, bits, per_channel, calibration
):
    model, x = network(kind, seed), images(24, seed)
    options = {"weight_bits": bits[0], "activation_bits": bits[1], "per_channel": per_channel}
    rounded = prepare_qat(model, x[:8], calibration=calibration, **options)
    rows = compare_layers(rounded, convert(rounded), x)
    assert max(row.largest for row in rows) <= 1
    assert sum(row.differ for row in rows) <= 2 + 0.01 * sum(row.outputs for row in rows)


@pytest.mark.parametrize("kind", KINDS)
def test_without_training_it_becomes_what_quantize_model_gives(kind):
    model, x = network(kind), images()
    options = {"weight_bits": 5, "activation_bits": 6, "calibration": "mse"}
    converted = convert(prepare_qat(model, x, **options))
    directly = quantize_model(model, x, **options)
    q = quantize(images(9, seed=3), directly.x_params)
    assert (converted.body(q) == directly.body(q)).all()
    assert [row[:2] for row in converted.rows if row.path != "input"] == [
        row[:2] for row in directly.rows if row.path != "input"
    ]


CALIBRATIONS = ("max", "percentile", "mse", "entropy")


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_a_relu_that_ends_the_model_stays(calibration):
    linear = nn.Linear(2, 2)
    linear.weight.data, linear.bias.data = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    x = np.float32([[1, -1], [-1, 1]])
    integer = quantize_model(nn.Sequential(linear, nn.ReLU()).eval(), x, calibration=calibration)
    step = max(integer.x_params.scale, integer.body.layer("0").y_params.scale)
    assert np.abs(integer(x).data - np.eye(2)).max() <= step < 0.01
    with_one_more = quantize_model(
        nn.Sequential(linear, nn.ReLU(), nn.Identity()).eval(), x, calibration=calibration
    )
    np.testing.assert_array_equal(with_one_more(x).data, integer(x).data)


@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize("kind", ["mlp", "convolution", "residual", "concat"])
def test_no_network_that_ends_in_a_relu_gives_negative_numbers(kind, calibration):
    rng, x = np.random.default_rng(0), images(40) - np.float32(0.5)
    model = {
        "mlp": lambda: mlp(128, (20, 10), 4, rng=rng)[:-1],
        "convolution": lambda: nn.Sequential(nn.Conv2d(2, 4, 3, rng=rng), nn.ReLU()),
        "residual": lambda: nn.Sequential(nn.Residual(nn.Conv2d(2, 2, 1, rng=rng)), nn.ReLU()),
        "concat": lambda: nn.Sequential(nn.Concat(nn.Conv2d(2, 2, 1, rng=rng), nn.MaxPool2d(1)), nn.ReLU()),
    }[kind]()
    floats = model.eval()(x).data
    integer = quantize_model(model, x, calibration=calibration)(x).data
    assert integer.min() == 0 and floats.min() == 0
    if calibration in ("max", "mse"):  # the others clip large values
        assert np.abs(integer - floats).max() < 0.06 * floats.max()


def test_the_range_that_quantize_model_takes_unless_told_has_the_least_error():
    """GELU, LeakyReLU and lognormal activations: the range of least divergence costs many times as much."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(25_000, 8)).astype(np.float32)
    for r in (F.gelu(normal).data, F.leaky_relu(normal).data, np.exp(normal)):
        errors = {}
        for calibration in CALIBRATIONS:
            params = activation_params(r, 8, calibration)
            errors[calibration] = np.mean((fake_quantize(r, params) - r) ** 2)
        default = quantize_model(nn.Sequential(nn.Linear(8, 2)).eval(), r).x_params
        assert np.mean((fake_quantize(r, default) - r) ** 2) == errors["mse"]
        assert errors["mse"] == min(errors.values()) and errors["entropy"] > 5 * errors["mse"]


def test_after_training_the_integers_are_those_of_the_trained_weights():
    (x, labels), test = load_digits()
    model = mlp(64, 16, 10, rng=np.random.default_rng(0)).eval()
    rounded = prepare_qat(model, x[:256], weight_bits=4, activation_bits=4)
    train_steps(rounded, x, labels, lr=1e-2, epochs=2)
    integer = convert(rounded.eval())
    weight = rounded.network.layer("head").module.weight.data
    params = symmetric_params(np.abs(weight).max(axis=1), 4, axis=0)
    assert (integer.body.layer("head").weight == quantize(weight, params)).all()
    same = rounded(test[0]).data.argmax(axis=1) == integer(test[0]).data.argmax(axis=1)
    assert same.mean() > 0.99 and evaluate(integer, *test).accuracy > 0.7


def test_converting_leaves_the_float_model_trainable():
    x = images()
    rounded = prepare_qat(network("cnn"), x)
    before = copy.deepcopy(rounded)(x).data
    convert(rounded)
    assert (rounded(x).data == before).all()
    train_steps(rounded, x, np.arange(16) % 3)
    assert (rounded(x).data != before).any()


def test_the_largest_logit_of_a_place_is_the_float_networks():
    """Its channels are 1, 10, 100 and 1000 times as large: a scale for each must not fall on the columns."""
    model, x = network("logits with a place"), images()
    floats, rounded = model(x).data, prepare_qat(model, x)
    integer = convert(rounded)
    assert floats.shape == integer(x).shape == (16, 4, 4, 4)
    for logits in (integer(x).data, quantize_model(model, x)(x).data, rounded(x).data):
        error = np.abs(logits - floats).max(axis=(0, 2, 3))
        assert (error < 0.05 * np.abs(floats).max(axis=(0, 2, 3))).all()


def test_a_layer_that_stands_twice_is_trained_as_one():
    conv = nn.Conv2d(2, 2, 3, padding=1, rng=np.random.default_rng(0))
    model = nn.Sequential(conv, nn.ReLU(), conv, nn.AdaptiveAvgPool2d(), nn.Flatten()).eval()
    rounded = prepare_qat(model, images())
    train_steps(rounded, images(), np.arange(16) % 2, lr=0.1)
    first, second = rounded.network[0].module, rounded.network[2].module.module
    assert first.weight is second.weight and (first.weight.data != conv.weight.data).any()
    rows = compare_layers(rounded, convert(rounded), images())
    assert max(row.largest for row in rows) <= 1


# ---- bad input


def hooked(kind, path):
    model = network(kind)
    model.layer(path).register_forward_hook(lambda module, inputs, output: None)
    return model


class Twice(nn.Module):
    def __init__(self):
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x):
        return self.conv(self.conv(x))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weight_bits": 1}, ValueError, r"weight_bits must be within \[2, 16\], got 1"),
        ({"activation_bits": 17}, ValueError, r"bits must be within \[2, 16\], got 17"),
        ({"weight_bits": 8.0}, TypeError, "bits must be an integer"),
        ({"calibration": "best"}, ValueError, "one of 'max', 'percentile', 'mse', 'entropy', got 'best'"),
        (
            {"calibration_images": np.zeros((0, 2, 8, 8))},
            ValueError,
            r"empty, got shape \(0, 2, 8, 8\)",
        ),
        ({"model": network("cnn").train()}, ValueError, r"call model.eval\(\)"),
        ({"model": None}, TypeError, "model must be a Module, got None"),
        ({"model": hooked("cnn", "block1.bn")}, ValueError, "remove those of block1.bn"),
        ({"model": Twice().eval()}, ValueError, "runs twice in one forward .*: conv$"),
        ({"per_channel": "False"}, TypeError, "per_channel must be True or False, got 'False'"),
        ({"weight_bits": True}, TypeError, "weight_bits must be an integer, got True"),
        ({"calibration": ["mse"]}, ValueError, "calibration must be one of"),
        ({"calibration_images": None}, TypeError, "calibration_images must be real numbers, got None"),
        ({"calibration_images": [[1.0], [1.0, 2.0]]}, ValueError, "calibration_images must be an array"),
        ({"calibration_images": images() * np.nan}, ValueError, "calibration_images must be finite"),
    ],
)
def test_prepare_qat_refuses_bad_input(options, error, message):
    arguments = {"model": network("cnn"), "calibration_images": images(), **options}
    with pytest.raises(error, match=message):
        prepare_qat(**arguments)
    with pytest.raises(error, match=message.replace("16", "8")):
        quantize_model(**arguments)


def test_convert_refuses_what_is_no_integer_yet():
    x = images()
    with pytest.raises(ValueError, match="convert takes what prepare_qat made"):
        convert(fuse(network("cnn"), x[:1]))
    with pytest.raises(
        ValueError, match="convert takes what prepare_qat made, with activation_bits of at most 8"
    ):
        convert(prepare_qat(network("cnn"), x, activation_bits=32))
    with pytest.raises(ValueError, match="activation_bits of at most 8"):
        convert(prepare_qat(network("cnn"), x, activation_bits=16))
    wide = nn.Sequential(nn.Linear(70_000, 1)).eval()
    with pytest.raises(ValueError, match="sums of 70000 products might reach"):
        convert(prepare_qat(wide, np.ones((1, 70_000), np.float32)))
    with pytest.raises(ValueError, match=r"block1.conv has float weights"):
        convert(prepare_qat(network("cnn"), x, weight_bits=32))
    with pytest.raises(ValueError, match=r"bits must be within \[2, 8\], got 9"):
        convert(prepare_qat(network("cnn"), x, weight_bits=9))
    with pytest.raises(ValueError, match="2: Doubled has no counterpart that computes with integers"):
        convert(prepare_qat(nn.Sequential(nn.Flatten(), nn.Linear(128, 2), Doubled()).eval(), x))


@pytest.mark.parametrize("again", [prepare_qat, quantize_model, lambda model, x: pack_weights(model)])
@pytest.mark.parametrize("first", [prepare_qat, quantize_model, lambda model, x: pack_weights(model)])
def test_nothing_is_rounded_twice(first, again):
    rounded = first(nn.Sequential(nn.Linear(4, 2)).eval(), np.eye(4, dtype=np.float32))
    for model in (rounded, nn.Sequential(rounded, nn.Linear(2, 2)).eval()):
        with pytest.raises(ValueError, match="model is quantized already: give the original float network"):
            again(model, np.eye(4, dtype=np.float32))


def test_compare_layers_refuses_what_it_cannot_compare():
    x = images()
    model = network("cnn")
    rounded = prepare_qat(model, x)
    with pytest.raises(ValueError, match="what prepare_qat made"):
        compare_layers(model, convert(rounded), x)
    with pytest.raises(TypeError, match="integer must be an IntegerModel, got Sequential"):
        compare_layers(rounded, model, x)
    with pytest.raises(ValueError, match="not the same network"):
        compare_layers(rounded, convert(prepare_qat(network("mlp"), x)), x)


def test_a_tensor_is_taken_as_input_and_gives_a_tensor():
    rounded = prepare_qat(network("cnn"), images())
    assert (rounded(Tensor(images())).data == rounded(images()).data).all()


def test_pixels_of_0_to_255_and_networks_of_integers_are_refused():
    model, images = small_cnn(3, 1, (4, 4)).eval(), np.random.default_rng(0).random((6, 1, 8, 8), np.float32)
    pixels = (255 * images).astype(np.uint8)
    with pytest.raises(TypeError, match="calibration_images must be floats, got uint8: divide"):
        quantize_model(model, pixels)
    integer = quantize_model(model, images)
    with pytest.raises(TypeError, match="images must be floats, got uint8: divide"):
        integer(pixels)
    with pytest.raises(ValueError, match="model is quantized already"):
        quantize_model(integer, images)
