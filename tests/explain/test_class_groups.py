"""A set of classes as target: the classes count as one, whose probability is the sum of theirs."""

import numpy as np
import pytest

from minidl.attack import minimal_perturbation
from minidl.explain import deletion_curve, gradcam, guided_gradcam, input_gradient, occlusion_map
from minidl.explain.gradients import (
    deconvnet,
    guided_backprop,
    input_x_gradient,
    integrated_gradients,
    saliency,
    smoothgrad,
)
from minidl.nn import Identity
from tests.explain.explained import images_of, linear_model, network

LOGITS = np.log([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])  # of two images: p is 0.5 and 0.9 for the classes 0 and 2
ORDER = np.arange(72.0).reshape(2, 6, 6)
METHODS = {
    "gradient": input_gradient,
    "input x gradient": input_x_gradient,
    "saliency": saliency,
    "integrated": lambda *of: integrated_gradients(*of, baseline=0.0, steps=3),
    "smoothgrad": lambda *of: smoothgrad(*of, sigma=0.1, samples=2, rng=np.random.default_rng(0)),
    "deconvnet": deconvnet,
    "guided": guided_backprop,
    "gradcam": lambda *of: gradcam(*of, "act2"),
    "guided gradcam": lambda *of: guided_gradcam(*of, "act2"),
    "occlusion": lambda *of: occlusion_map(*of, window=3, stride=3),
    "probability": lambda *of: occlusion_map(*of, window=3, stride=3, probability=True),
    "deletion": lambda *of: deletion_curve(*of, ORDER, steps=3),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def test_the_gradient_is_the_mean_of_the_classes_gradients_weighted_by_their_share():
    found = input_gradient(Identity(), LOGITS, {0, 2})
    np.testing.assert_allclose(found, [[0.4, 0, 0.6], [1 / 9, 0, 8 / 9]], atol=1e-12)


def test_of_a_network_too():
    model, images = network(1), images_of(2)
    z = model(images).data[:, [1, 2]]  # float32
    shares = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)  # (2 images, 2 classes)
    wanted = sum(shares[:, k, None, None, None] * input_gradient(model, images, k + 1) for k in (0, 1))
    np.testing.assert_allclose(input_gradient(model, images, frozenset([2, 1])), wanted, atol=1e-7)


def test_covering_costs_what_the_sum_of_the_probabilities_loses():
    weight = np.zeros((3, 4))
    weight[0, 0], weight[2, 3] = np.log(2), np.log(3)
    model, image = linear_model(weight), np.ones((1, 1, 2, 2))
    found = occlusion_map(model, image, {0, 2}, window=1, stride=1, baseline=0.0, probability=True)
    whole, without_first, without_last = (2 + 3) / 6, (1 + 3) / 5, (2 + 1) / 4
    np.testing.assert_allclose(found[0], [[whole - without_first, 0], [0, whole - without_last]], atol=1e-12)
    logit = occlusion_map(model, image, {0, 2}, window=1, stride=1, baseline=0.0)
    np.testing.assert_allclose(logit[0], [[np.log(5 / 4), 0], [0, np.log(5 / 3)]], atol=1e-12)


@every_method
def test_a_group_of_one_is_its_class(method):
    model, images = network(3), images_of(4)
    np.testing.assert_allclose(method(model, images, {2}), method(model, images, 2), atol=1e-12)


@every_method
def test_a_group_differs_from_its_classes_and_the_order_in_it_does_not_matter(method):
    model, images = network(5), images_of(6)
    found = method(model, images, {0, 1})
    assert np.isfinite(found).all()
    assert not np.allclose(found, method(model, images, 0), atol=1e-9)
    assert not np.allclose(found, method(model, images, [0, 1]), atol=1e-9)  # one class for each image
    np.testing.assert_array_equal(found, method(model, images, frozenset([1, 0])))


def test_the_group_of_all_classes_has_probability_1_whatever_is_covered():
    model, images = network(7), images_of(8)
    found = occlusion_map(model, images, {0, 1, 2}, window=2, probability=True)
    np.testing.assert_allclose(found, 0, atol=1e-12)


def test_a_minimal_perturbation_reaches_any_class_of_the_set():
    image = np.array([0.6, 0.4, 0.5])
    found = minimal_perturbation(Identity(), image, {1, 2})
    assert found.success and found.image.argmax() in (1, 2)
    np.testing.assert_array_equal(found.image, minimal_perturbation(Identity(), image, [1, 2]).image)


@pytest.mark.parametrize(
    "target, error",
    [
        (set(), (ValueError, TypeError)),
        ({3}, ValueError),
        ({-1, 0}, ValueError),
        ({True}, TypeError),
        ({0.5}, TypeError),
        ({"a"}, TypeError),
        ({(0, 1)}, ValueError),
        ({(0, 1), 2}, (ValueError, TypeError)),
    ],
)
def test_a_set_of_what_is_no_class_is_refused_by_name(target, error):
    with pytest.raises(error, match="target"):
        input_gradient(network(0), images_of(0), target)
    with pytest.raises(error, match="target"):
        minimal_perturbation(Identity(), np.array([0.6, 0.4, 0.5]), target)
