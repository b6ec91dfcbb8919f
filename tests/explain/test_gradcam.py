"""Grad-CAM: its laws, examples by hand, and a model that is the same before and after."""

import numpy as np
import pytest
from explained import classes, images_of, network, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import zoom
from untouched import Trips, disturbed, left_untouched

import minidl.nn as nn
from minidl import Tensor, grad, no_grad
from minidl.explain import gradcam, guided_backprop, guided_gradcam
from minidl.explain.cam import class_activation, upsample_maps, upsampling_weights
from minidl.nn import Sequential
from minidl.nn.models import tiny_resnet
from minidl.train import predict

few = settings(max_examples=25)
sides = st.integers(1, 9)
LAYERS = ["conv", "act", "pool", "conv2", "act2"]


def pooled_network(seed):
    """Two convolutions, then the mean of each channel and a linear head."""
    rng = np.random.default_rng(seed)
    model = Sequential(
        {
            "conv": nn.Conv2d(2, 4, 3, padding=1, rng=rng),
            "act": nn.ReLU(),
            "conv2": nn.Conv2d(4, 5, 3, padding=1, rng=rng),
            "act2": nn.ReLU(),
            "gap": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "head": nn.Linear(5, 3, rng=rng),
        }
    )
    model.head.bias.data = rng.standard_normal(3)
    return model


def by_layer(model, images, target, layer):
    """A and dy/dA, of the logit of a class."""
    outputs, x = [], Tensor(images, requires_grad=True)
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    y = model(x)[:, target].sum()
    hook.remove()
    return outputs[0].data, grad(y, outputs[0])


# ---- laws


@few
@given(seed=seeds, target=classes, height=st.integers(3, 8), width=st.integers(3, 8))
def test_under_pooling_hw_alpha_is_the_heads_weights_and_the_unrectified_map_sums_to_the_logit_less_bias(
    seed, target, height, width
):
    model, images = pooled_network(seed), np.random.default_rng(seed).random((2, 2, height, width))
    activations, gradients = by_layer(model, images, target, "act2")
    alpha = gradients.mean(axis=(2, 3))
    weights = model.head.weight.data[target].astype(np.float64)
    np.testing.assert_allclose(height * width * alpha, [weights, weights], rtol=1e-9)
    total = height * width * class_activation(activations, gradients).mean(axis=(1, 2))
    logit_less_bias = predict(model, images)[:, target] - model.head.bias.data[target]
    np.testing.assert_allclose(total, logit_less_bias, rtol=1e-6, atol=1e-7)


@few
@given(seed=seeds, target=classes, layer=st.sampled_from(LAYERS), sign=st.sampled_from([-1, 1]))
def test_it_is_never_negative_and_is_the_positive_part_of_the_weighted_sum(seed, target, layer, sign):
    model, images = network(seed), images_of(seed)
    model.head.weight.data = sign * model.head.weight.data
    cams = gradcam(model, images, target, layer, upsample=False)
    activations, gradients = by_layer(model, images, target, layer)
    alpha = gradients.reshape(*gradients.shape[:2], -1).mean(axis=2)
    signed = np.einsum("nk,nkhw->nhw", alpha, activations)
    assert cams.min() >= 0 and gradcam(model, images, target, layer).min() >= 0
    np.testing.assert_allclose(cams, np.where(signed > 0, signed, 0), rtol=1e-9, atol=1e-12)


@few
@given(seed=seeds, target=classes, layer=st.sampled_from(LAYERS))
def test_a_zero_gradient_gives_a_zero_map_and_no_nan(seed, target, layer):
    model, images = network(seed), images_of(seed)
    model.head.weight.data = np.zeros(model.head.weight.shape)
    for maps in (gradcam(model, images, target, layer), guided_gradcam(model, images, target, layer)):
        np.testing.assert_array_equal(maps, np.zeros_like(maps))


@few
@given(seed=seeds, target=classes, layer=st.sampled_from(LAYERS), constant=st.floats(-5, 5))
def test_a_constant_added_to_all_logits_changes_nothing_and_doubled_logits_double_the_map(
    seed, target, layer, constant
):
    model, images = network(seed), images_of(seed)
    before = gradcam(model, images, target, layer)
    model.head.bias.data = model.head.bias.data + np.float32(constant)
    np.testing.assert_array_equal(gradcam(model, images, target, layer), before)
    model.head.weight.data = 2 * model.head.weight.data
    np.testing.assert_allclose(gradcam(model, images, target, layer), 2 * before, rtol=1e-9)


@few
@given(seed=seeds, layer=st.sampled_from(["conv", "act", "conv2", "act2"]))
def test_the_gradient_at_a_layer_is_that_of_finite_differences(seed, layer):
    model, images = network(seed, nn.Tanh, pool=False), images_of(seed, n=1)
    activations, gradients = by_layer(model, images, 1, layer)
    rest = model[["conv", "act", "conv2", "act2"].index(layer) + 1 :]
    rng, h = np.random.default_rng(seed), 1e-5
    direction = rng.standard_normal(activations.shape)
    up, down = (rest(Tensor(activations + step * direction)).data[0, 1] for step in (h, -h))
    np.testing.assert_allclose((gradients * direction).sum(), (up - down) / (2 * h), rtol=1e-4, atol=1e-7)


@few
@given(seed=seeds, target=classes, layer=st.sampled_from(LAYERS))
def test_guided_gradcam_is_the_product_with_guided_backprop(seed, target, layer):
    model, images = network(seed), images_of(seed)
    cams = gradcam(model, images, target, layer)
    expected = guided_backprop(model, images, target) * cams[:, np.newaxis]
    maps = guided_gradcam(model, images, target, layer)
    assert maps.shape == images.shape
    np.testing.assert_allclose(maps, expected, rtol=1e-9, atol=1e-15)


def test_by_hand_two_channels_of_two_pixels():
    # A = [1 3] and [2 0]; y = head . flattened: dy/dA = [1 -3] and [4 2], so alpha = -1 and 3.
    model = Sequential({"maps": nn.Identity(), "flatten": nn.Flatten(), "head": nn.Linear(4, 1)})
    model.head.weight.data = np.array([[1.0, -3.0, 4.0, 2.0]])
    images = np.array([[[[1.0, 3.0]], [[2.0, 0.0]]]])  # (1, 2, 1, 2)
    activations, gradients = by_layer(model, images, 0, "maps")
    np.testing.assert_array_equal(gradients, [[[[1, -3]], [[4, 2]]]])
    np.testing.assert_array_equal(class_activation(activations, gradients), [[[5, -3]]])
    np.testing.assert_array_equal(gradcam(model, images, 0, "maps"), [[[5, 0]]])


# ---- enlarging


def test_half_pixel_centres_by_hand():
    # The new centres are 0.25, 0.75, 1.25, 1.75; the two old centres are 0.5 and 1.5.
    np.testing.assert_allclose(upsampling_weights(2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_allclose(upsampling_weights(3, 1), [[0, 1, 0]])
    np.testing.assert_allclose(upsample_maps(np.array([[[0.0, 4.0]]]), (2, 4)), [[[0, 1, 3, 4]] * 2])


@given(old=sides, new=sides)
def test_the_weights_are_shares_of_at_most_two_neighbours_and_symmetric(old, new):
    weights = upsampling_weights(old, new)
    assert weights.shape == (new, old) and weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
    assert (weights > 1e-9).sum(axis=1).max() <= 2
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(upsampling_weights(old, old), np.eye(old), atol=1e-12)


@few
@given(seed=seeds, h=sides, w=sides, times=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_enlarging_is_scipys_zoom_of_a_grid_of_pixels(seed, h, w, times):
    maps = np.random.default_rng(seed).standard_normal((2, h, w))
    size = (h * times[0], w * times[1])
    expected = [zoom(m, times, order=1, grid_mode=True, mode="nearest") for m in maps]
    np.testing.assert_allclose(upsample_maps(maps, size), expected, atol=1e-12)


@few
@given(seed=seeds, target=classes)
def test_without_upsampling_the_map_is_the_layers_and_with_it_the_images(seed, target):
    model, images = network(seed), images_of(seed)
    small = gradcam(model, images, target, "conv2", upsample=False)
    large = gradcam(model, images, target, "conv2")
    assert small.shape == (2, 3, 3) and large.shape == (2, 6, 6)
    np.testing.assert_allclose(large, upsample_maps(small, (6, 6)))
    assert small.max() >= large.max() - 1e-12


# ---- targets, layers, batches


def test_every_image_is_explained_by_itself():
    model, images = network(3), np.concatenate([images_of(k, n=50) for k in range(3)])  # two batches
    targets = np.arange(150) % 3
    for method in (gradcam, guided_gradcam):
        together = method(model, images, targets, "act2")
        for n in (0, 1, 127, 128, 149):
            alone = method(model, images[n : n + 1], int(targets[n]), "act2")
            np.testing.assert_allclose(together[n : n + 1], alone, rtol=1e-5, atol=1e-12)


def test_no_target_is_the_class_that_the_model_predicts_and_a_unit_can_be_asked():
    model, images = network(4), images_of(4, n=5)
    predicted = predict(model, images).argmax(axis=1)
    for method in (gradcam, guided_gradcam):
        np.testing.assert_array_equal(
            method(model, images, None, "act2"), method(model, images, predicted, "act2")
        )
    unit = gradcam(model, images, ("conv2", 1, 2, 0), "conv2", upsample=False)
    activations, _ = by_layer(model, images, 0, "conv2")
    np.testing.assert_allclose(unit, np.maximum(activations[:, 1], 0) / 9)  # dy/dA is 1 at one of 9 pixels


def test_layers_of_a_residual_network_by_their_paths():
    model, images = tiny_resnet(3, 2, (4, 6), rng=np.random.default_rng(0)), images_of(0, size=8)
    for layer, side in [("stem", 8), ("stage1.block1.residual.body.relu1", 8), ("stage2", 4)]:
        assert gradcam(model, images, 1, layer, upsample=False).shape == (2, side, side)
        assert gradcam(model, images, 1, layer).shape == (2, 8, 8)


@few
@given(seed=seeds)
def test_float32_images_give_float32_maps(seed):
    model, images = network(seed), images_of(seed).astype(np.float32)
    assert gradcam(model, images, 0, "conv2").dtype == np.float32
    assert guided_gradcam(model, images, 0, "conv2").dtype == np.float32


# ---- the model does not change


@pytest.mark.parametrize("method", [gradcam, guided_gradcam])
@pytest.mark.parametrize("target", [None, 1, ("conv2", 0, 1, 1)], ids=str)
def test_the_model_is_the_same_before_and_after(method, target):
    model = disturbed(network(6))
    with left_untouched(model):
        method(model, images_of(6), target, "pool")


@pytest.mark.parametrize("method", [gradcam, guided_gradcam])
@pytest.mark.parametrize("at", [1, 2])
def test_the_model_is_the_same_after_an_exception_too(method, at):
    model = disturbed(Sequential({**dict(network(7).named_children()), "trips": Trips(at)}))
    with left_untouched(model), pytest.raises(RuntimeError, match="tripped"):
        method(model, images_of(7), 1, "act2")


def test_a_model_whose_weights_are_all_frozen_is_explained_alike():
    model, images = network(8), images_of(8)
    before = gradcam(model, images, 1, "act2")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    np.testing.assert_array_equal(gradcam(model, images, 1, "act2"), before)


# ---- bad input


@pytest.mark.parametrize("method", [gradcam, guided_gradcam])
@pytest.mark.parametrize(
    "target, layer, error, message",
    [
        (3, "act2", ValueError, r"target class must be within \[0, 2\], got 3"),
        (0, "act3", ValueError, "no layer 'act3' in this Sequential; nearest: act"),
        (0, 4, TypeError, "a layer is named by its dotted path, such as 'block1.conv', got 4"),
        (0, "head", ValueError, r"layer 'head' has no maps \(N, K, h, w\): its output is \(N, 3"),
        (0, "", ValueError, r"layer '' has no maps"),
        (("conv", 0, 1, 1), "conv2", ValueError, "the target does not depend on layer 'conv2'"),
    ],
    ids=str,
)
def test_targets_and_layers_that_do_not_fit_are_refused(method, target, layer, error, message):
    model = network(0)
    with left_untouched(model), pytest.raises(error, match=message):
        method(model, images_of(0), target, layer)


@pytest.mark.parametrize("method", [gradcam, guided_gradcam])
def test_images_and_models_that_are_none_are_refused(method):
    with pytest.raises(ValueError, match=r"images must be \(N, C, H, W\), got \(2, 5\)"):
        method(network(0), np.zeros((2, 5)), 0, "conv")
    with pytest.raises(ValueError, match="images must be finite"):
        method(network(0), np.full((1, 2, 6, 6), np.nan), 0, "conv")
    with pytest.raises(TypeError, match="model must be a Module, got <function"):
        method(lambda x: x, images_of(0), 0, "conv")


@pytest.mark.parametrize("method", [gradcam, guided_gradcam])
def test_a_map_that_is_not_finite_is_refused_and_no_grad_is_named(method):
    model = pooled_network(0)
    with (
        no_grad(),
        pytest.raises(ValueError, match=r"no gradient .* inside no_grad\(\) there are no gradients"),
    ):
        method(model, images_of(0), 1, "conv")
    head = nn.Linear(1, 1)
    head.weight.data, head.bias.data = np.full((1, 1), 6.0), np.zeros(1)
    steep = Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)  # y = 6 mean of x
    cancel = np.array([[[[1e308, -1e308]]]])  # y = 0, alpha = 3
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="the map is not finite: layer '0'"):
        method(steep, cancel, 0, "0")


def test_a_layer_that_runs_twice_has_no_one_map():
    act = nn.Tanh()
    model = Sequential({"one": act, "two": act, "flatten": nn.Flatten(), "head": nn.Linear(72, 3)})
    with left_untouched(model), pytest.raises(ValueError, match="layer 'one' ran 2 times in a pass"):
        gradcam(model, images_of(0), 1, "one")


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: upsample_maps(np.zeros((2, 3)), (4, 4)),
            ValueError,
            r"maps must have shape \(N, h, w\), got \(2, 3\)",
        ),
        (
            lambda: upsample_maps(np.zeros((0, 2, 3)), (4, 4)),
            ValueError,
            r"maps must not be empty, got shape \(0, 2, 3\)",
        ),
        (lambda: upsample_maps(np.zeros((1, 2, 3), int), (4, 4)), TypeError, "maps must be floats.*int64"),
        (
            lambda: upsample_maps(np.zeros((1, 2, 3)), (4, 4, 4)),
            TypeError,
            r"size must be a pair \(height, width\)",
        ),
        (
            lambda: upsample_maps(np.zeros((1, 2, 3)), 5),
            TypeError,
            r"size must be a pair \(height, width\), got 5",
        ),
        (lambda: upsampling_weights(2, 0), ValueError, "new must be at least 1, got 0"),
        (lambda: upsampling_weights(2.0, 3), TypeError, "old must be an integer, got 2.0"),
    ],
)
def test_sizes_that_mean_nothing_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
