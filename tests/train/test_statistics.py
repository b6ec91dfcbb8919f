"""Re-estimated and matched statistics: the laws that they keep, and what they repair."""

import copy

import numpy as np
import pytest

import minidl.nn as nn
from minidl import no_grad
from minidl.compress.fuse import fuse
from minidl.compress.integer import quantize_model
from minidl.compress.qat import prepare_qat
from minidl.nn.models import mlp, small_cnn, tiny_resnet
from minidl.train import match_statistics, predict, reestimate_statistics


def rng(seed=0):
    return np.random.default_rng(seed)


def images(count=24, seed=0):
    return rng(seed).normal(0.3, 2.0, (count, 1, 8, 8)).astype(np.float32)


def network(make=small_cnn, seed=0):
    return make(num_classes=4, rng=rng(seed)).eval()


def norms(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def outputs(model, layer, x):
    kept = []
    hook = layer.register_forward_hook(lambda module, inputs, output: kept.append((inputs[0], output)))
    with no_grad():
        model(x)
    hook.remove()
    return [np.asarray(part) for part in kept[0]]


def assert_same_state(one, other, **tolerance):
    first, second = one.state_dict(), other.state_dict()
    assert list(first) == list(second)
    for key in first:
        np.testing.assert_allclose(first[key], second[key], err_msg=key, **tolerance)


every_network = pytest.mark.parametrize("make", [small_cnn, tiny_resnet])


@every_network
def test_each_batchnorm_gets_the_statistics_of_what_it_reads(make):
    model, x = network(make), images()
    reestimate_statistics(model, x)
    for norm in norms(model):
        read, given = outputs(model, norm, x)
        np.testing.assert_allclose(norm.running_mean, read.mean(axis=(0, 2, 3)), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(norm.running_var, read.var(axis=(0, 2, 3)), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(given.mean(axis=(0, 2, 3)), 0, atol=1e-4)


@every_network
@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_several_batches_give_what_one_gives(make, batch_size):
    one, other = network(make), network(make)
    reestimate_statistics(one, images())
    reestimate_statistics(other, images(), batch_size=batch_size)
    assert_same_state(one, other, rtol=1e-4, atol=1e-6)


def test_the_order_of_the_images_is_irrelevant():
    one, other = network(), network()
    reestimate_statistics(one, images())
    reestimate_statistics(other, images()[::-1].copy(), batch_size=7)
    assert_same_state(one, other, rtol=1e-4, atol=1e-6)


def test_constant_data_have_their_value_as_mean_and_no_variance():
    model = nn.Sequential(nn.BatchNorm2d(2)).eval()
    x = np.full((5, 2, 3, 3), 0.1, np.float32)
    x[:, 1] = -7.3
    reestimate_statistics(model, x, batch_size=2)
    np.testing.assert_array_equal(model[0].running_mean, np.float32([0.1, -7.3]))
    np.testing.assert_array_equal(model[0].running_var, [0, 0])


def test_twice_is_once_and_nothing_but_the_statistics_changes():
    model = network()
    before = {key: value for key, value in model.state_dict().items() if "running" not in key}
    model.layer("block1").train()
    modes = [module.training for module in model.modules()]
    reestimate_statistics(model, images())
    once = copy.deepcopy(model)
    reestimate_statistics(model, images())
    assert_same_state(once, model, rtol=0, atol=0)
    assert [module.training for module in model.modules()] == modes
    assert all(norm.momentum == 0.1 for norm in norms(model))
    assert not any(module._hooks for module in model.modules())
    for key, value in before.items():
        np.testing.assert_array_equal(model.state_dict()[key], value)


def test_dropout_and_momentum_do_not_matter():
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(1, momentum=0.0)).train()
    reestimate_statistics(model, images())
    np.testing.assert_allclose(model[1].running_mean, images().mean(), rtol=1e-5)
    assert model[1].num_batches_tracked == 0


@every_network
def test_an_unchanged_network_is_matched_by_leaving_it_as_it_is(make):
    model = network(make)
    match_statistics(model, network(make), images())
    assert_same_state(model, network(make), rtol=1e-5, atol=1e-6)


@every_network
@pytest.mark.parametrize("batch_size", [None, 9])
def test_matched_channels_have_the_float_networks_mean_and_deviation(make, batch_size):
    reference, model, x = network(make), network(make), images()
    reestimate_statistics(reference, x)
    model.load_state_dict(reference.state_dict())
    for parameter in model.parameters():
        parameter.data = np.round(parameter.data * 16) / 16
    match_statistics(model, reference, x, batch_size=batch_size)
    for (path, norm), twin in zip(
        [(p, m) for p, m in model.named_modules() if isinstance(m, nn.BatchNorm2d | nn.Linear)],
        [m for m in reference.modules() if isinstance(m, nn.BatchNorm2d | nn.Linear)],
        strict=True,
    ):
        found, wanted = outputs(model, norm, x)[1], outputs(reference, twin, x)[1]
        axes = (0, 2, 3)[: found.ndim - 1]
        moves = found.std(axis=axes) > 1e-6
        assert moves.any(), path
        for measure in (np.mean, np.std):
            mine, theirs = measure(found, axis=axes), measure(wanted, axis=axes)
            np.testing.assert_allclose(mine[moves], theirs[moves], rtol=1e-3, atol=1e-4, err_msg=path)


def test_matching_brings_back_the_answers_of_a_network_whose_weights_were_scaled():
    reference, x = network(), images()
    reestimate_statistics(reference, x)
    broken = copy.deepcopy(reference)
    for module in broken.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data * 0.3
    assert not np.allclose(predict(broken, x), predict(reference, x), atol=0.1)
    match_statistics(broken, reference, x)
    np.testing.assert_allclose(predict(broken, x), predict(reference, x), rtol=1e-3, atol=1e-3)


def test_twice_matched_is_once_matched():
    reference, model = network(), network()
    model.layer("head").weight.data = model.layer("head").weight.data * 2 + 0.1
    match_statistics(model, reference, images())
    once = copy.deepcopy(model)
    match_statistics(model, reference, images())
    assert_same_state(once, model, rtol=1e-4, atol=1e-5)


def test_a_channel_that_is_constant_is_left_and_its_mask_kept():
    reference, model = network(), network()
    weight, norm = model.layer("block1.conv").weight, model.layer("block1.bn")
    weight.data = np.where(np.arange(16)[:, None, None, None] == 3, 0, weight.data)
    before = norm.weight.data[3], norm.bias.data[3]
    match_statistics(model, reference, images())
    assert (norm.weight.data[3], norm.bias.data[3]) == before
    assert not weight.data[3].any()
    assert np.isfinite(predict(model, images())).all()


def test_a_masked_bias_of_a_channel_that_varies_stays_zero():
    model, float_model = nn.Linear(1, 2), nn.Linear(1, 2)
    float_model.bias.data = np.float32([3, 4])
    model.bias.mask, model.bias.data = np.array([True, False]), np.float32([1, 0])
    match_statistics(model, float_model, np.float32([[1], [3]]))
    np.testing.assert_array_equal(model.bias.data != 0, [True, False])


def test_a_layer_without_bias_and_without_batchnorm_gets_a_bias():
    reference = nn.Sequential(nn.Linear(4, 3, bias=False, rng=rng())).eval()
    model = copy.deepcopy(reference)
    model[0].weight.data = model[0].weight.data * 2
    x = rng(1).random((50, 4), np.float32)
    match_statistics(model, reference, x)
    np.testing.assert_allclose(predict(model, x), predict(reference, x), atol=1e-5)


def test_a_batchnorm_that_runs_twice_has_no_statistics_of_its_own():
    norm = nn.BatchNorm2d(1)
    with pytest.raises(ValueError, match="layer '0' runs twice"):
        reestimate_statistics(nn.Sequential(norm, nn.Sequential(norm)), images())


def test_a_network_of_other_layers_is_refused():
    with pytest.raises(ValueError, match="float_model lacks the layers fc1, fc2"):
        match_statistics(mlp(64, (8, 8), 4), network(), images())


@pytest.mark.parametrize(
    "change, message",
    [
        (fuse, "do not run as a plain .*match before you fuse or round"),
        (
            lambda model: prepare_qat(model, images()),
            "do not run as a plain .*match before you fuse or round",
        ),
        (lambda model: quantize_model(model, images()), "match before you make integers"),
    ],
)
def test_a_network_that_cannot_be_matched_is_refused_before_anything_changes(change, message):
    model = change(network())
    before = predict(model, images())
    with pytest.raises(ValueError, match=message):
        match_statistics(model, network(), images())
    np.testing.assert_array_equal(predict(model, images()), before)


def test_a_layer_of_another_kind_or_width_and_one_that_runs_twice_are_refused_by_path():
    x, layer = images()[:, 0, 0], nn.Linear(8, 8)
    with pytest.raises(ValueError, match="layer '0' is a Linear of 8 channels in model, but a BatchNorm1d"):
        match_statistics(nn.Sequential(layer), nn.Sequential(nn.BatchNorm1d(8)), x)
    wider = nn.Sequential(layer, nn.Linear(8, 6)), nn.Sequential(layer, nn.Linear(8, 7))
    with pytest.raises(
        ValueError, match="'1' is a Linear of 6 channels in model, but a Linear of 7 channels in"
    ):
        match_statistics(*wider, x)
    with pytest.raises(ValueError, match="layer '0' runs twice"):
        match_statistics(nn.Sequential(layer, nn.ReLU(), layer), nn.Sequential(layer), x)


@pytest.mark.parametrize(
    "arguments, error, name",
    [
        (("model", images()), TypeError, "model"),
        ((network(), np.zeros((0, 1, 8, 8))), ValueError, "images"),
        ((network(), np.full((2, 1, 8, 8), np.nan)), ValueError, "images"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, error, name):
    with pytest.raises(error, match=name):
        reestimate_statistics(*arguments)


@pytest.mark.parametrize("function", [reestimate_statistics, lambda m, x: match_statistics(m, network(), x)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_has_diverged_is_refused_and_its_statistics_stay_finite(function, value):
    model = network()
    weight = model.layer("block2.conv").weight
    weight.data = np.where(weight.data == weight.data.max(), np.float32(value), weight.data)
    with (
        pytest.raises(FloatingPointError, match="the values at BatchNorm2d are not finite"),
        np.errstate(all="ignore"),
    ):
        function(model, images())
    assert all(
        np.isfinite(norm.running_mean).all() and np.isfinite(norm.running_var).all() for norm in norms(model)
    )


def test_a_float_model_that_is_none_is_refused_by_name():
    with pytest.raises(TypeError, match="float_model must be a Module"):
        match_statistics(network(), None, images())


@pytest.mark.parametrize("batch_size", [0, 2.5, True])
def test_a_wrong_batch_size_is_refused_by_name(batch_size):
    with pytest.raises((ValueError, TypeError), match="batch_size"):
        reestimate_statistics(network(), images(), batch_size=batch_size)
