"""Explanations by gradients: their laws under the conditions that they hold under, and examples by hand."""

import numpy as np
import pytest
from explained import FunctionalReLU, classes, images_of, linear_model, network, seeds
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from untouched import Trips, disturbed, left_untouched

import minidl.nn as nn
from minidl import Tensor, grad, no_grad, relu_rule
from minidl.compress.fuse import fuse
from minidl.compress.fused import ConvReLU2d
from minidl.compress.integer import quantize_model
from minidl.engine.elementwise import backprop_rule
from minidl.explain import (
    deconvnet,
    guided_backprop,
    input_gradient,
    input_x_gradient,
    integrated_gradients,
    saliency,
    smoothgrad,
)
from minidl.explain.gradients import deconvnet_rule, guided_rule, path_nodes, reduce_channels
from minidl.nn import Module, Sequential
from minidl.nn.models import mlp, small_cnn
from minidl.train import predict

few = settings(max_examples=25)


def noisy(model, images, target=None):
    return smoothgrad(model, images, target, samples=3, sigma=0.1, rng=np.random.default_rng(0))


def along_path(model, images, target=None):
    return integrated_gradients(model, images, target, steps=4)


def magnitudes(model, images, target=None):
    return saliency(model, images, target, reduce=None)


METHODS = [magnitudes, input_gradient, input_x_gradient, along_path, noisy, deconvnet, guided_backprop]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


def logit(model, images, target):
    """f by the model alone, in float64."""
    with no_grad():
        return model.eval()(Tensor(images)).data[:, target]


def by_differences(f, images, h=1e-6):
    """Central differences of sum f, of which each value of each image moves one term."""
    slopes = np.zeros_like(images)
    for place in np.ndindex(images.shape):
        up, down = images.copy(), images.copy()
        up[place] += h
        down[place] -= h
        slopes[place] = (f(up).sum() - f(down).sum()) / (2 * h)
    return slopes


# ---- the gradient


@settings(max_examples=10)
@given(seed=seeds, target=classes, activation=st.sampled_from([nn.ReLU, nn.Tanh]))
def test_the_gradient_is_that_of_finite_differences_off_kinks(seed, target, activation):
    model, images = network(seed, activation), images_of(seed, n=1, size=6)
    slopes = by_differences(lambda moved: logit(model, moved, target), images)
    halves = by_differences(lambda moved: logit(model, moved, target), images, h=5e-7)
    assume(np.allclose(slopes, halves, rtol=1e-4, atol=1e-8))  # no kink within the step
    np.testing.assert_allclose(input_gradient(model, images, target), slopes, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(magnitudes(model, images, target), abs(slopes), rtol=1e-5, atol=1e-7)


@settings(max_examples=10)
@given(seed=seeds, unit=st.tuples(*[st.integers(0, 2)] * 3))
def test_a_units_gradient_is_that_of_finite_differences(seed, unit):
    model, images = network(seed, nn.Tanh), images_of(seed, n=1)

    def f(moved):
        return model[:4](Tensor(moved)).data[(slice(None), *unit)]

    slopes = by_differences(f, images)
    np.testing.assert_allclose(input_gradient(model, images, ("conv2", *unit)), slopes, rtol=1e-5, atol=1e-7)


def test_channels_are_reduced_by_the_largest_magnitude_or_the_norm():
    gradients = np.array([[[[3.0, 0.0]], [[-4.0, -1.0]]]])  # (1, 2, 1, 2)
    np.testing.assert_array_equal(reduce_channels(gradients, "max"), [[[4.0, 1.0]]])
    np.testing.assert_array_equal(reduce_channels(gradients, "l2"), [[[5.0, 1.0]]])
    np.testing.assert_array_equal(reduce_channels(gradients, None), [[[[3.0, 0.0]], [[4.0, 1.0]]]])


@few
@given(seed=seeds, target=classes)
def test_the_saliency_of_a_linear_model_is_the_magnitude_of_its_weights(seed, target):
    weight = np.random.default_rng(seed).standard_normal((3, 2 * 4 * 4))
    model, images = linear_model(weight), images_of(seed, size=4)
    by_channel = weight[target].reshape(2, 4, 4)
    for maps, one in [
        (saliency(model, images, target, reduce="max"), abs(by_channel).max(axis=0)),
        (saliency(model, images, target, reduce="l2"), np.hypot(*by_channel)),
        (saliency(model, images, target, reduce=None), abs(by_channel)),
    ]:
        assert maps.shape == (2, *one.shape)
        np.testing.assert_allclose(maps, [one, one], rtol=1e-6)


# ---- sums of the maps


@few
@given(seed=seeds, target=classes, steps=st.integers(1, 5))
def test_without_biases_input_times_gradient_sums_to_f_and_is_ig_from_zero(seed, target, steps):
    model, images = network(seed, bias=False), images_of(seed)
    maps = input_x_gradient(model, images, target)
    np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), logit(model, images, target), rtol=1e-9, atol=1e-12)
    for nodes in ("gauss", "midpoint"):
        path = integrated_gradients(model, images, target, steps=steps, nodes=nodes)
        np.testing.assert_allclose(path, maps, rtol=1e-9, atol=1e-12)


@few
@given(seed=seeds, target=classes, nodes=st.sampled_from(["gauss", "midpoint"]), mean=st.booleans())
def test_integrated_gradients_are_complete_on_a_tanh_network(seed, target, nodes, mean):
    model, images = network(seed, nn.Tanh, pool=False), 4 * images_of(seed)
    baseline = "mean" if mean else np.random.default_rng(seed).random((2, 6, 6))
    maps = integrated_gradients(model, images, target, baseline=baseline, steps=64, nodes=nodes)
    start = images.mean(axis=(2, 3), keepdims=True) + 0 * images if mean else baseline[np.newaxis]
    change = logit(model, images, target) - logit(model, start, target)
    np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), change, atol=1e-3)


@few
@given(seed=seeds, target=classes)
def test_integrated_gradients_of_a_linear_model_are_weights_times_the_way(seed, target):
    rng = np.random.default_rng(seed)
    weight, b = rng.standard_normal((3, 32)), rng.random((2, 4, 4))
    images = images_of(seed, size=4)
    maps = integrated_gradients(linear_model(weight), images, target, baseline=b, steps=3)
    np.testing.assert_allclose(maps, weight[target].reshape(2, 4, 4) * (images - b), rtol=1e-6, atol=1e-9)


@given(steps=st.integers(1, 12), degree=st.integers(0, 23))
def test_gauss_nodes_integrate_polynomials_up_to_degree_2n_minus_1(steps, degree):
    assume(degree < 2 * steps)
    alphas, weights = path_nodes(steps)
    np.testing.assert_allclose(np.sum(weights * alphas**degree), 1 / (degree + 1), rtol=1e-12)


def test_midpoint_nodes_are_the_middles_of_equal_parts():
    alphas, weights = path_nodes(4, "midpoint")
    np.testing.assert_allclose(alphas, [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(weights, [0.25] * 4)


@few
@given(steps=st.integers(1, 200), nodes=st.sampled_from(["gauss", "midpoint"]))
def test_no_node_is_the_baseline_or_the_image_itself(steps, nodes):
    alphas, weights = path_nodes(steps, nodes)
    assert alphas.shape == weights.shape == (steps,)
    assert alphas.min() > 0 and alphas.max() < 1


# ---- smoothgrad


def test_smoothgrad_without_noise_is_the_gradient():
    model, images = network(0), images_of(0)
    maps = smoothgrad(model, images, 1, samples=2, sigma=0.0)
    np.testing.assert_array_equal(maps, input_gradient(model, images, 1))


@few
@given(seed=seeds, target=classes, sigma=st.floats(0, 2))
def test_smoothgrad_of_a_linear_model_is_its_gradient_whatever_the_noise(seed, target, sigma):
    model = linear_model(np.random.default_rng(seed).standard_normal((3, 32)))
    images, rng = images_of(seed, size=4), np.random.default_rng(seed)
    maps = smoothgrad(model, images, target, samples=3, sigma=sigma, rng=rng)
    np.testing.assert_allclose(maps, input_gradient(model, images, target), rtol=1e-6)


def test_smoothgrad_is_the_mean_gradient_at_noisy_copies():
    model, images = network(0), images_of(0)
    rng = np.random.default_rng(5)
    expected = np.mean(
        [input_gradient(model, images + 0.3 * rng.standard_normal(images.shape), 1) for _ in "abc"], axis=0
    )
    maps = smoothgrad(model, images, 1, samples=3, sigma=0.3, rng=np.random.default_rng(5))
    np.testing.assert_allclose(maps, expected, rtol=1e-9, atol=1e-12)


# ---- the rules for ReLU


@given(seed=seeds)
def test_at_one_relu_guided_is_backprop_where_r_is_positive_and_deconvnet_where_f_is(seed):
    R, f = np.random.default_rng(seed).integers(-2, 3, (2, 20)) / 2
    backprop, deconv, guided = (rule(R, f) for rule in (backprop_rule, deconvnet_rule, guided_rule))
    np.testing.assert_array_equal(guided[R > 0], backprop[R > 0])
    np.testing.assert_array_equal(guided[f > 0], deconv[f > 0])
    assert not guided[(R <= 0) | (f <= 0)].any() and not deconv[R <= 0].any()
    np.testing.assert_array_equal(deconv[R > 0], R[R > 0])


def test_the_three_rules_on_five_neurons_by_hand():
    # x = (1, 2, -1, 0.5, 3) goes through ReLU, then f = 2 y0 - y1 + 3 y2 + y3 - 2 y4.
    x = np.array([[1.0, 2.0, -1.0, 0.5, 3.0]])
    model = Sequential(nn.ReLU(), linear_model(np.array([[2.0, -1.0, 3.0, 1.0, -2.0]])))
    np.testing.assert_array_equal(input_gradient(model, x, 0), [[2, -1, 0, 1, -2]])
    np.testing.assert_array_equal(deconvnet(model, x, 0), [[2, 0, 3, 1, 0]])
    np.testing.assert_array_equal(guided_backprop(model, x, 0), [[2, 0, 0, 1, 0]])


@few
@given(seed=seeds, target=classes)
def test_through_two_layers_the_rules_are_products_of_matrices(seed, target):
    rng = np.random.default_rng(seed)
    W1, W2, W3 = rng.standard_normal((6, 4)), rng.standard_normal((5, 6)), rng.standard_normal((3, 5))
    layers = [linear_model(W1), nn.ReLU(), linear_model(W2), nn.ReLU(), linear_model(W3)]
    x = rng.standard_normal((1, 4))
    f1 = W1 @ x[0]
    f2 = W2 @ np.maximum(f1, 0)
    R2 = W3[target]
    for method, back in [
        (input_gradient, lambda R, f: R * (f > 0)),
        (deconvnet, lambda R, f: np.maximum(R, 0)),
        (guided_backprop, lambda R, f: np.maximum(R, 0) * (f > 0)),
    ]:
        expected = W1.T @ back(W2.T @ back(R2, f2), f1)
        np.testing.assert_allclose(method(Sequential(*layers), x, target)[0], expected, rtol=1e-5, atol=1e-6)


@few
@given(seed=seeds, target=classes)
def test_without_relus_deconvnet_and_guided_backprop_are_the_gradient(seed, target):
    model, images = network(seed, nn.Tanh), images_of(seed)
    expected = input_gradient(model, images, target)
    np.testing.assert_array_equal(deconvnet(model, images, target), expected)
    np.testing.assert_array_equal(guided_backprop(model, images, target), expected)


@few
@given(seed=seeds, target=classes)
def test_a_pool_free_deconvnet_does_not_depend_on_the_image(seed, target):
    model = network(seed, pool=False)
    first, other = deconvnet(model, images_of(seed), target), deconvnet(model, images_of(seed + 1), target)
    np.testing.assert_array_equal(first, other)
    np.testing.assert_array_equal(first[0], first[1])


@few
@given(seed=seeds, target=classes, method=st.sampled_from(METHODS))
def test_functional_and_module_relus_are_explained_alike(seed, target, method):
    modules, images = network(seed, pool=False), images_of(seed)
    np.testing.assert_array_equal(
        method(FunctionalReLU(modules), images, target), method(modules, images, target)
    )


@few
@given(seed=seeds, target=classes)
def test_a_fused_model_is_explained_by_every_rule_as_the_model_was(seed, target):
    model, images = network(seed, pool=False).eval(), images_of(seed)
    fused = fuse(model, images)
    assert any(isinstance(module, ConvReLU2d) for module in fused.modules())
    for method in (input_gradient, deconvnet, guided_backprop):
        np.testing.assert_allclose(method(fused, images, target), method(model, images, target), atol=1e-12)

    def off_alone(grad, x):  # a rule that needs the ReLU's input, not only its output
        return grad * (x < 0)

    with relu_rule(off_alone):
        outputs = [(x := Tensor(images, requires_grad=True), net(x).sum()) for net in (model, fused)]
    first, second = (grad(f, x) for x, f in outputs)
    assert first.any()
    np.testing.assert_allclose(second, first, atol=1e-12)


# ---- common properties of all methods


@few
@given(seed=seeds, target=classes, method=st.sampled_from(METHODS), constant=st.floats(-5, 5))
def test_a_constant_added_to_all_logits_changes_nothing(seed, target, method, constant):
    model, images = network(seed), images_of(seed)
    before = method(model, images, target)
    model.head.bias.data = model.head.bias.data + np.float32(constant)
    np.testing.assert_array_equal(method(model, images, target), before)


@few
@given(
    seed=seeds,
    method=st.sampled_from(METHODS),
    unit=st.tuples(st.integers(0, 3), st.integers(0, 8), st.integers(0, 8)),
)
def test_a_unit_is_explained_inside_its_receptive_field(seed, method, unit):
    model, images = network(seed, pool=False), images_of(seed, size=9)
    channel, p, q = unit
    maps = method(model[:4], images, ("conv2", channel, p, q))
    inside = np.zeros((9, 9), bool)
    inside[max(0, p - 2) : p + 3, max(0, q - 2) : q + 3] = True  # two 3x3 convolutions see 5x5
    assert not maps[..., ~inside].any()
    assert method is guided_backprop or method is deconvnet or maps[..., inside].any()


@every_method
def test_every_image_is_explained_by_itself(method):
    model, images = network(3), np.concatenate([images_of(k, n=50) for k in range(3)])  # two batches
    targets = np.arange(150) % 3
    together = method(model, images, targets)
    assert together.shape == images.shape and together.dtype == np.float64
    if method is not noisy:  # smoothgrad draws its noise for all images at once
        for n in (0, 1, 127, 128, 149):
            alone = method(model, images[n : n + 1], int(targets[n]))
            np.testing.assert_allclose(together[n : n + 1], alone, rtol=1e-5, atol=1e-12)


@every_method
def test_no_target_is_the_class_that_the_model_predicts(method):
    model, images = network(4), images_of(4, n=5)
    predicted = predict(model, images).argmax(axis=1)
    np.testing.assert_array_equal(method(model, images), method(model, images, predicted))


@every_method
def test_a_unit_may_be_at_another_place_in_each_image(method):
    model, images = network(5), images_of(5, n=2)
    both = method(model, images, ("conv", 1, np.array([0, 3]), [2, 5]))
    if method is noisy:
        images = np.concatenate([images, images])
        both = method(model, images, ("conv", 1, [0, 3, 0, 3], [2, 5, 2, 5]))
    np.testing.assert_array_equal(both[:1], method(model, images, ("conv", 1, 0, 2))[:1])
    np.testing.assert_array_equal(both[1:2], method(model, images, ("conv", 1, 3, 5))[1:2])


@every_method
def test_rows_of_a_table_are_explained_too(method):
    model, rows = mlp(5, (8,), 3, rng=np.random.default_rng(0)), np.random.default_rng(1).random((7, 5))
    assert method(model, rows, 2).shape == (7, 5)
    assert method(model, rows, ("fc1", 3)).shape == (7, 5)
    assert method(model, rows.astype(np.float32), 2).dtype == np.float32


@every_method
@pytest.mark.parametrize("target", [None, 1, ("conv2", 0, 1, 1)], ids=str)
def test_the_model_is_the_same_before_and_after(method, target):
    model = disturbed(network(6))
    with left_untouched(model):
        method(model, images_of(6), target)


@every_method
@pytest.mark.parametrize("at", [1, 2])
def test_the_model_is_the_same_after_an_exception_too(method, at):
    model = disturbed(Sequential({**dict(network(7).named_children()), "trips": Trips(at)}))
    with left_untouched(model), pytest.raises(RuntimeError, match="tripped"):
        method(model, images_of(7), 0)


def test_an_ordinary_gradient_after_a_rule_is_the_ordinary_one_again():
    model, images = network(8), images_of(8)
    before = input_gradient(model, images, 0)
    guided_backprop(model, images, 0)
    np.testing.assert_array_equal(input_gradient(model, images, 0), before)


# ---- bad input


BAD_TARGETS = [
    (3, ValueError, r"target class must be within \[0, 2\], got 3"),
    (-1, ValueError, r"target class must be within \[0, 2\], got -1"),
    ([0, 1, 2], ValueError, r"target class must be one integer or \(2,\) of them, got shape \(3,\)"),
    ([0, 5], ValueError, r"target class must be within \[0, 2\], got 5"),
    (1.0, TypeError, r"target class must be integers, got 1.0"),
    (True, TypeError, r"target class must be integers"),
    ("conv", TypeError, r"target class must be integers"),
    (("con2", 0, 0, 0), ValueError, r"no layer 'con2' in this Sequential; nearest: conv2"),
    (("conv2", 0, 0), ValueError, r"has 2 indices, but the output of conv2 is \(N, 4, 3, 3\)"),
    (("conv2", 4, 0, 0), ValueError, r"index 0 of the unit must be within \[0, 3\], got 4"),
    (("conv2", 0, 0, 3), ValueError, r"index 2 of the unit must be within \[0, 2\], got 3"),
    (("conv2", 0, 0.5, 0), TypeError, r"index 1 of the unit must be integers"),
]


@every_method
@pytest.mark.parametrize("target, error, message", BAD_TARGETS, ids=[str(row[0]) for row in BAD_TARGETS])
def test_a_target_that_the_model_does_not_have_is_refused(method, target, error, message):
    model = network(0)
    with left_untouched(model), pytest.raises(error, match=message):
        method(model, images_of(0), target)


@every_method
@pytest.mark.parametrize("target", [None, 0])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_model_whose_logits_are_nan_is_refused(method, target):
    model = network(0)
    model.head.bias.data = np.full(3, np.nan, np.float32)
    with pytest.raises(ValueError, match="must be finite"):
        method(model, images_of(0), target)


class Gives(Module):
    def __init__(self, answer):
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


@pytest.mark.parametrize(
    "answer, target, message",
    [
        (lambda x: x.sum(), None, r"the model must give a Tensor \(N, ...\).*2 images, got Tensor \(\)"),
        (lambda x: x.sum(), 0, r"a row for each of 1 images, got Tensor \(\)"),
        (
            lambda x: x.sum(axis=(1, 2, 3)),
            None,
            r"for a target of None, must have shape \(N, K\), got \(2,\)",
        ),
        (lambda x: x, None, r"for a target of None, must have shape \(N, K\), got \(2, 2, 6, 6\)"),
        (lambda x: (x, x), None, "must give a Tensor.*got tuple"),
        (lambda x: x.data, 0, "must give a Tensor.*got ndarray"),
        (lambda x: x[:1].flatten(1), 0, None),
        (lambda x: x.reshape(144), None, r"2 images, got Tensor \(144,\)"),
    ],
)
def test_a_model_that_gives_no_row_for_each_image_is_refused(answer, target, message):
    with pytest.raises(ValueError, match=message or r"2 images, got Tensor \(1, 72\)"):
        input_gradient(Gives(answer), images_of(0), target)


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
def test_a_way_that_leaves_float32_is_refused():
    model, images = network(0), images_of(0).astype(np.float32)
    with pytest.raises(ValueError, match=r"baseline must be within \[-3.40282e\+38, 3.40282e\+38\]"):
        integrated_gradients(model, images, 0, baseline=1e300)
    with pytest.raises(ValueError, match="the target is (nan|inf|-inf)"):
        smoothgrad(model, images, 0, sigma=1e40)


def test_a_slope_without_end_is_refused():
    model, images = Sequential(Gives(lambda x: x.flatten(1).sqrt())), np.zeros((1, 2))
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="the gradient is not finite"):
        input_gradient(model, images, 0)


BAD_IMAGES = [
    (np.zeros((0, 2, 6, 6)), ValueError, r"images must not be empty, got shape \(0, 2, 6, 6\)"),
    (np.zeros(6), ValueError, r"images must be images \(N, C, H, W\) or rows \(N, D\)"),
    (np.full((1, 2, 6, 6), np.nan), ValueError, "images must be finite"),
    (np.array([["a"]]), TypeError, "images must be real numbers"),
]


@every_method
@pytest.mark.parametrize("images, error, message", BAD_IMAGES, ids=[row[2] for row in BAD_IMAGES])
def test_images_that_are_none_are_refused(method, images, error, message):
    with pytest.raises(error, match=message):
        method(network(0), images, 0)


@every_method
def test_a_model_that_is_no_module_is_refused(method):
    with pytest.raises(TypeError, match="model must be a Module, got <function"):
        method(lambda x: x, images_of(0), 0)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda m, x: saliency(m, x, 0, reduce="mean"),
            ValueError,
            "reduce must be one of 'max', 'l2', None",
        ),
        (
            lambda m, x: integrated_gradients(m, x, 0, steps=0),
            ValueError,
            r"steps must be within \[1, 10000\], got 0",
        ),
        (
            lambda m, x: integrated_gradients(m, x, 0, nodes="left"),
            ValueError,
            "nodes must be one of 'gauss'",
        ),
        (
            lambda m, x: integrated_gradients(m, x, 0, baseline="zero"),
            ValueError,
            "baseline must be one of 'mean', 'noise', got 'zero'",
        ),
        (
            lambda m, x: integrated_gradients(m, x, 0, baseline=np.zeros((3, 6, 6))),
            ValueError,
            r"baseline \(3, 6, 6\) does not broadcast to the images \(2, 2, 6, 6\)",
        ),
        (lambda m, x: integrated_gradients(m, x, 0, baseline=np.inf), ValueError, "baseline must be finite"),
        (
            lambda m, x: integrated_gradients(m, x, 0, baseline=None),
            TypeError,
            "baseline must be real numbers, got None",
        ),
        (
            lambda m, x: smoothgrad(m, x, 0, samples=0),
            ValueError,
            r"samples must be within \[1, 10000000\], got 0",
        ),
        (lambda m, x: smoothgrad(m, x, 0, sigma=-1), ValueError, "sigma must be finite and at least 0"),
        (lambda m, x: smoothgrad(m, x, 0, sigma="a"), TypeError, "sigma must be a number"),
    ],
)
def test_settings_that_mean_nothing_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(network(0), images_of(0))


def test_rows_have_no_channels_to_reduce():
    with pytest.raises(ValueError, match=r"rows \(2, 5\) have no channels to reduce: give reduce=None"):
        saliency(mlp(5, (8,), 3), np.zeros((2, 5)), 0)


def test_a_layer_that_runs_twice_is_no_target():
    act = nn.Tanh()
    model = Sequential({"one": act, "flatten": nn.Flatten(), "two": act})
    with left_untouched(model), pytest.raises(ValueError, match="layer 'one' ran 2 times in a pass"):
        saliency(model, np.ones((1, 2)), ("one", 0), reduce=None)


@pytest.mark.parametrize("method", [saliency, input_gradient, integrated_gradients, guided_backprop])
def test_an_integer_network_has_no_gradient_and_says_so(method):
    images = np.random.default_rng(0).random((4, 1, 8, 8))
    integers = quantize_model(small_cnn(3, 1, (4, 4), rng=np.random.default_rng(0)).eval(), images)
    with pytest.raises(ValueError, match="integer network has no gradients, so explain the float network"):
        method(integers, images, 0)
