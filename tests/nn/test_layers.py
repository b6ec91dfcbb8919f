"""The layers and containers: values by hand, conventions, and what training and evaluation change."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
import minidl.nn as nn
from minidl import Tensor
from minidl.nn import init, models


def rng(seed=0):
    return np.random.default_rng(seed)


# ---- weights


@pytest.mark.parametrize(
    "layer, fan_in",
    [
        (nn.Linear(300, 200, rng=rng()), 300),
        (nn.Conv2d(16, 64, (3, 5), rng=rng()), 16 * 15),
        (nn.Conv2d(16, 64, 3, groups=4, rng=rng()), 4 * 9),
    ],
)
def test_weights_and_biases_start_uniform_within_one_over_the_root_of_fan_in(layer, fan_in):
    bound = 1 / math.sqrt(fan_in)
    assert layer.weight.dtype == layer.bias.dtype == np.float32
    assert np.abs(layer.weight.data).max() <= bound and np.abs(layer.bias.data).max() <= bound
    assert np.abs(layer.weight.data).max() > 0.99 * bound
    assert np.isclose(layer.weight.data.var(), bound**2 / 3, rtol=0.05)
    assert abs(layer.weight.data.mean()) < 0.05 * bound


def test_the_same_seed_gives_the_same_weights():
    for make in (lambda g: nn.Linear(3, 4, rng=g), lambda g: nn.Conv2d(2, 3, 3, rng=g)):
        a, b, other = make(rng(1)), make(rng(1)), make(rng(2))
        assert np.array_equal(a.weight.data, b.weight.data) and np.array_equal(a.bias.data, b.bias.data)
        assert not np.array_equal(a.weight.data, other.weight.data)


def test_without_a_generator_the_seed_set_by_manual_seed_decides():
    minidl.manual_seed(3)
    a = nn.Linear(3, 4)
    minidl.manual_seed(3)
    b = nn.Linear(3, 4)
    assert np.array_equal(a.weight.data, b.weight.data)
    assert not np.array_equal(b.weight.data, nn.Linear(3, 4).weight.data)


def test_dropout_starts_anew_with_the_seed_whoever_made_the_model():
    model = models.mlp(4, 50, 2, dropout=0.5)
    x, outputs = np.ones((3, 4), np.float32), []
    for seed in (1, 1, 2):
        minidl.manual_seed(seed)
        outputs.append(model(x).data)
    assert np.array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[1], outputs[2])


def filled(fill, shape=(200, 300), **settings):
    return fill(Tensor(np.empty(shape, np.float32)), rng=rng(), **settings).data


def test_initialisations_have_the_spread_of_their_formulas():
    kaiming = filled(init.kaiming_uniform_, nonlinearity="relu")
    assert np.isclose(np.abs(kaiming).max(), math.sqrt(6 / 300), rtol=0.01)
    assert np.isclose(filled(init.kaiming_uniform_, a=1.0).var(), 1 / 300, rtol=0.02)
    assert np.isclose(filled(init.kaiming_normal_, mode="fan_out").var(), 2 / 200, rtol=0.02)
    assert np.isclose(np.abs(filled(init.xavier_uniform_)).max(), math.sqrt(6 / 500), rtol=0.01)
    assert np.isclose(filled(init.kaiming_normal_, (64, 16, 3, 3)).var(), 2 / 144, rtol=0.05)
    assert np.isclose(filled(init.xavier_normal_, gain=3.0).var(), 9 * 2 / 500, rtol=0.02)
    normal = filled(init.normal_, mean=4.0, std=0.5)
    assert np.isclose(normal.mean(), 4, rtol=0.01) and np.isclose(normal.std(), 0.5, rtol=0.02)
    uniform = filled(init.uniform_)
    assert 0 <= uniform.min() < 0.01 and 0.99 < uniform.max() <= 1  # a and b are 0 and 1, as in PyTorch


def test_an_initialisation_changes_the_tensor_itself_and_makes_a_new_version():
    weight = nn.Parameter(np.ones((2, 2), np.float32))
    assert init.zeros_(weight) is weight
    assert weight.data.tolist() == [[0, 0], [0, 0]] and weight.version == 1
    assert init.constant_(weight, -0.5).data.tolist() == [[-0.5, -0.5], [-0.5, -0.5]]
    assert init.ones_(weight).data.tolist() == [[1, 1], [1, 1]] and weight.dtype == np.float32
    assert init.kaiming_uniform_(weight, rng=rng()) is weight and weight.dtype == np.float32


# ---- BatchNorm


def test_batch_norm_normalises_by_the_batch_and_tracks_the_unbiased_variance():
    layer = nn.BatchNorm1d(2, eps=0.0)
    y = layer(np.array([[1.0, 0.0], [3.0, 8.0]], np.float32))
    assert y.data.tolist() == [[-1, -1], [1, 1]]  # means 2 and 4, deviations 1 and 4
    # running = 0.9 old + 0.1 batch; the variances are 1 and 16 over n, 2 and 32 over n - 1
    assert np.allclose(layer.running_mean, [0.2, 0.4])
    assert np.allclose(layer.running_var, [0.9 + 0.2, 0.9 + 3.2])
    assert layer.num_batches_tracked == 1


def test_batch_norm_evaluates_by_the_running_statistics_and_leaves_them():
    layer = nn.BatchNorm1d(1, eps=0.0).eval()
    layer.load_state_dict(
        {
            "weight": [3.0],
            "bias": [1.0],
            "running_mean": [2.0],
            "running_var": [4.0],
            "num_batches_tracked": 7,
        }
    )
    assert layer(np.array([[4.0], [2.0]], np.float32)).data.tolist() == [[4.0], [1.0]]
    assert layer.running_mean == 2 and layer.running_var == 4 and layer.num_batches_tracked == 7


def test_a_frozen_batch_norm_keeps_to_its_statistics_in_training():
    layer = nn.BatchNorm2d(1)
    layer.frozen = True
    x = np.full((2, 1, 2, 2), 5.0, np.float32)
    assert np.allclose(layer(x).data, 5.0, atol=1e-4)
    assert layer.running_mean == 0 and layer.num_batches_tracked == 0
    assert "frozen" in repr(layer)


def test_batch_norm_over_images_pools_all_pixels_of_a_channel():
    x = rng().normal(3, 2, (4, 3, 5, 5)).astype(np.float32)
    y = nn.BatchNorm2d(3)(x).data
    assert np.allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-5) and np.allclose(
        y.std(axis=(0, 2, 3)), 1, atol=1e-3
    )
    sequence = nn.BatchNorm1d(3)(x[..., 0]).data
    assert np.allclose(sequence.mean(axis=(0, 2)), 0, atol=1e-5)


def test_batch_norm_refuses_to_train_on_one_value_per_channel_and_stays_as_it_was():
    layer = nn.BatchNorm1d(2)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(np.ones((1, 2), np.float32))
    assert layer.running_mean.tolist() == [0, 0] and layer.num_batches_tracked == 0
    layer.eval()(np.ones((1, 2), np.float32))


def test_batch_norm_without_affine_has_no_parameters():
    layer = nn.BatchNorm2d(3, affine=False)
    assert list(layer.parameters()) == []
    assert list(layer.state_dict()) == ["running_mean", "running_var", "num_batches_tracked"]
    layer(np.random.default_rng(0).random((2, 3, 2, 2), np.float32))


# ---- Dropout


def test_dropout_zeroes_a_share_and_scales_the_rest_so_that_the_mean_stays():
    layer = nn.Dropout(0.25, rng=rng())
    y = layer(np.ones((100, 100), np.float32)).data
    assert y.dtype == np.float32
    assert set(np.unique(y)) == {0, np.float32(1) / np.float32(0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02


def test_dropout_is_the_identity_in_evaluation_and_draws_nothing():
    generator = rng()
    layer = nn.Dropout(0.5, rng=generator).eval()
    x = Tensor([1.0, 2.0])
    assert layer(x) is x
    assert generator.bit_generator.state == rng().bit_generator.state


def test_dropout_of_everything_gives_zeros():
    assert nn.Dropout(1.0)(np.ones(4, np.float32)).data.tolist() == [0, 0, 0, 0]


def test_dropout_passes_the_gradient_where_it_passed_the_value():
    x = Tensor(np.ones(50), requires_grad=True)
    y = nn.Dropout(0.5, rng=rng())(x)
    y.sum().backward()
    assert np.array_equal(x.grad, y.data)


# ---- the others


def image():
    return np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)


@pytest.mark.parametrize(
    "layer, expected",
    [
        (nn.MaxPool2d(2), [[5, 7], [13, 15]]),
        (nn.MaxPool2d(3, stride=1), [[10, 11], [14, 15]]),
        (nn.AvgPool2d(2), [[2.5, 4.5], [10.5, 12.5]]),
        (nn.AvgPool2d(4, stride=4, padding=2), [[0.625, 1.125], [2.625, 3.125]]),
        (nn.AdaptiveAvgPool2d(1), [[7.5]]),
    ],
)
def test_pooling_by_hand(layer, expected):
    assert layer(image()).data[0, 0].tolist() == expected


@pytest.mark.parametrize(
    "layer, expected",
    [
        (nn.ReLU(), [0.0, 0.0, 2.0]),
        (nn.LeakyReLU(0.25), [-0.25, 0.0, 2.0]),
        (nn.GELU(), [-0.15865525, 0.0, 1.9544997]),
        (nn.Tanh(), [-0.7615942, 0.0, 0.9640276]),
        (nn.Sigmoid(), [0.26894142, 0.5, 0.880797]),
        (nn.Identity(), [-1.0, 0.0, 2.0]),
    ],
)
def test_activations_of_floats_and_of_integers(layer, expected):
    for dtype in (np.float32, np.int64):
        y = layer(np.array([-1, 0, 2], dtype))
        assert isinstance(y, Tensor) and np.allclose(y.data, expected, atol=1e-6)


def test_linear_and_conv_by_hand():
    linear = nn.Linear(2, 1)
    linear.load_state_dict({"weight": [[2, 3]], "bias": [1]})
    assert linear(np.array([[10.0, 100.0]], np.float32)).data.tolist() == [[321]]
    conv = nn.Conv2d(1, 1, 2, stride=2, bias=False)
    conv.load_state_dict({"weight": [[[[1, 0], [0, 10]]]]})
    assert conv(image()).data[0, 0].tolist() == [[50, 72], [138, 160]]  # 0 + 10*5, 2 + 10*7, 8 + 10*13, ...


def test_flatten_keeps_the_batch():
    assert nn.Flatten()(np.zeros((2, 3, 4, 5), np.float32)).shape == (2, 60)


@pytest.mark.parametrize(
    "layer", [nn.Linear(3, 2), nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.uint8, np.bool_])
def test_a_float32_layer_stays_float32_whatever_array_it_is_given(layer, dtype):
    assert layer(np.eye(3).astype(dtype)).dtype == np.float32


def test_a_sequential_is_a_list_of_modules():
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Linear(2, 2)
    model = nn.Sequential(a, b)
    assert model.append(c) is model
    assert len(model) == 3 and list(model) == [a, b, c] and model[0] is a and model[-1] is c
    assert [name for name, _ in model.named_children()] == ["0", "1", "2"]
    x = np.array([[-1.0, 2.0]], np.float32)
    assert np.array_equal(model(x).data, c(b(a(x))).data)


def test_a_slice_of_a_sequential_holds_the_same_modules_under_the_same_names():
    model = nn.Sequential({"a": nn.ReLU(), "b": nn.Linear(1, 1), "c": nn.Tanh()})
    part = model[1:]
    assert [name for name, _ in part.named_children()] == ["b", "c"] and part[0] is model[1]
    assert part.training and not model.eval()[1:].training  # and in the same mode


def test_concat_joins_its_branches_on_the_channels():
    model = nn.Concat({"same": nn.Identity(), "mean": nn.AvgPool2d(1)})
    x = rng().random((2, 3, 4, 4), np.float32)
    assert np.array_equal(model(x).data, np.concatenate([x, x], axis=1))


def test_a_residual_adds_its_shortcut():
    x = np.array([[1.0, -2.0]], np.float32)
    assert nn.Residual(nn.ReLU())(x).data.tolist() == [[2.0, -2.0]]
    assert nn.Residual(nn.ReLU(), nn.ReLU())(x).data.tolist() == [[2.0, 0.0]]


@given(p=st.sampled_from([0.0, 0.1, 0.5, 0.9]), seed=st.integers(0, 100))
def test_dropout_keeps_the_mean_over_many_values(p, seed):
    y = nn.Dropout(p, rng=rng(seed))(np.ones(20_000, np.float32)).data
    assert abs(y.mean() - 1) < 6 * math.sqrt(p / (1 - p) / 20_000) + 1e-6


# ---- arguments from PyTorch's code


def test_the_modules_in_a_list_are_found_under_their_numbers():
    layers = nn.ModuleList([nn.Linear(2, 3), nn.ReLU()])
    layers.append(nn.Linear(3, 1, bias=False))
    assert list(layers.state_dict()) == ["0.weight", "0.bias", "2.weight"]
    assert len(layers) == 3 and layers[-1] is list(layers)[2] and isinstance(layers[1:], nn.ModuleList)
    assert list(layers[1:].state_dict()) == ["2.weight"]
    assert len(nn.ModuleList(nn.Linear(2, 2) for _ in range(4))) == 4 and len(nn.ModuleList()) == 0


def test_an_inplace_activation_leaves_its_input_as_it_is():
    for kind in (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.Hardswish, nn.Hardsigmoid):
        x = Tensor([-1.0, 2.0])
        assert np.array_equal(kind(inplace=True)(x).data, kind()(x).data)
        assert x.data.tolist() == [-1, 2] and x.version == 0


def test_layers_say_their_settings():
    assert repr(nn.Conv2d(1, 2, 3, padding="same")) == "Conv2d(1, 2, kernel_size=3, padding=1)"
    assert repr(nn.MaxPool2d(3, 2, ceil_mode=True)) == "MaxPool2d(3, stride=2, ceil_mode=True)"
    assert repr(nn.AvgPool2d(2, count_include_pad=False)) == "AvgPool2d(2, stride=2, count_include_pad=False)"
    assert repr(nn.AdaptiveAvgPool2d((2, 3))) == "AdaptiveAvgPool2d((2, 3))"
    assert repr(nn.GroupNorm(2, 4)) == "GroupNorm(2, 4, eps=1e-05)"
    assert repr(nn.LayerNorm(4)) == "LayerNorm((4,), eps=1e-05)"
    assert repr(nn.GELU("tanh")) == "GELU(approximate='tanh')" and repr(nn.GELU()) == "GELU()"
    assert repr(nn.Softmax(1)) == "Softmax(dim=1)" and repr(nn.ELU()) == "ELU(alpha=1)"


@pytest.mark.parametrize(("start", "end", "shape"), [(1, -1, (2, 12)), (0, 1, (6, 4)), (-1, -1, (2, 3, 4))])
def test_flatten_joins_the_axes_that_it_is_told(start, end, shape):
    assert nn.Flatten(start, end)(np.zeros((2, 3, 4))).shape == shape


def test_the_loss_modules_keep_their_settings():
    z, labels = np.zeros((2, 2), np.float32), [0, 1]
    assert nn.CrossEntropyLoss(reduction="sum")(z, labels).item() == pytest.approx(2 * math.log(2))
    assert nn.CrossEntropyLoss([0.0, 3.0], ignore_index=0)(z, labels).item() == pytest.approx(math.log(2))
    assert nn.NLLLoss([1.0, 3.0])(np.array([[-1.0, 0], [0, -2.0]]), labels).item() == 7 / 4
    assert nn.BCEWithLogitsLoss(pos_weight=3.0)(np.zeros(1), [1.0]).item() == pytest.approx(3 * math.log(2))
    assert nn.SmoothL1Loss(beta=2.0)([0.0, 0.0], [1.0, 3.0]).item() == (0.25 + 2) / 2
    assert nn.L1Loss(reduction="none")([0.0], [3.0]).data.tolist() == [3]
    assert nn.MSELoss()([0.0], [3.0]).item() == 9


def test_a_gain_or_an_end_of_minus_0_is_0():
    zeros = np.zeros((2, 3), np.float32)
    for fill in (lambda t: init.xavier_uniform_(t, gain=-0.0), lambda t: init.uniform_(t, 0.0, -0.0)):
        np.testing.assert_array_equal(fill(nn.Parameter(zeros + 1)).data, zeros)
