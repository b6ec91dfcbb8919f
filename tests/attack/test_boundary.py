"""DeepFool: its steps by hand, on affine models and in the box."""

import numpy as np
import pytest
from attacked import FREE, affine, batch_of, binary_case, drawn_affine, network, seeds
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minidl.attack import deepfool
from minidl.attack.boundary import boundary_step, logits_and_gradients
from minidl.nn import Module
from minidl.nn.functional import floating
from minidl.train import predict

few, fewer = settings(max_examples=20), settings(max_examples=10)


@given(seed=seeds, overshoot=st.sampled_from([0.02, 0.1]))
@few
def test_deepfool_on_an_affine_binary_model_goes_straight_over_the_plane(seed, overshoot):
    model, x, _, w, margin = binary_case(seed)
    found = deepfool(model, x, overshoot=overshoot, bounds=FREE)
    assert found.success
    np.testing.assert_allclose(found.r, (1 + overshoot) * margin / (w @ w) * w, rtol=1e-5, atol=1e-9)


@given(seed=seeds, classes=st.integers(3, 5))
@few
def test_deepfool_on_an_affine_model_goes_to_the_nearest_of_the_planes(seed, classes):
    model, x = drawn_affine(seed, classes), np.random.default_rng([seed, 2]).normal(size=6)
    z = predict(model, x[np.newaxis])[0]
    answer, weight = z.argmax(), np.float64(model.head.weight.data)
    others = [k for k in range(classes) if k != answer]
    distances = [(z[answer] - z[k]) / np.linalg.norm(weight[k] - weight[answer]) for k in others]
    assume(min(distances) > 1e-3)
    np.testing.assert_allclose(deepfool(model, x, bounds=FREE).norm, 1.02 * min(distances), rtol=1e-5)


@given(seed=seeds)
@fewer
def test_deepfool_succeeds_in_the_box_where_pixels_lie_on_its_faces(seed):
    model, (images, _) = network(seed), batch_of(seed)
    found = deepfool(model, images[0])
    assert found.image.min() >= 0 and found.image.max() <= 1 and found.lam is None
    changed = predict(model, found.image[np.newaxis]).argmax() != predict(model, images[:1]).argmax()
    assert found.success == changed
    everywhere = np.random.default_rng(0).integers(0, 2, (200, *images[0].shape)) * 1.0  # corners of the box
    if len(np.unique(predict(model, everywhere).argmax(axis=1))) > 1:
        assert found.success


class Bent(Module):
    """Of rows (N, 2) the logits (0, f) with f = 8 x0 - 4 x0² + 4 x1 - 3.5, which flattens towards x0 = 1."""

    def forward(self, x):
        x = floating(x)
        f = (8 * x[:, 0] - 4 * x[:, 0] ** 2 + 4 * x[:, 1] - 3.5).reshape(-1, 1)
        return f * np.array([0.0, 1.0])


def test_two_steps_of_deepfool_by_hand():
    # At the origin f = -3.5 with the slope (8, 4): a step of 3.5 / 80 (8, 4) = (0.35, 0.175). With 10% more
    # it is
    # (0.385, 0.1925). There f = -0.2429 with the slope (4.92, 4). Each step gets 10% more once.
    expected = np.array([0.385, 0.1925]) + 1.1 * 0.2429 / (4.92**2 + 16) * np.array([4.92, 4])
    found = deepfool(Bent(), np.zeros(2), overshoot=0.1)
    np.testing.assert_allclose(found.image, expected, rtol=1e-6)
    assert found.success


def test_deepfool_does_not_keep_what_the_box_cut_off_a_step():
    # z = (0, 4 x0 - 4.4, -0.6 x0 + 0.8 x1 - 0.4): from (0.5, 0) the planes are 0.6 and 0.7 away. The first
    # plane
    # lies outside of the box, so this step ends at (1, 0). From there the second plane is 1 away along (-0.6,
    # 0.8).
    model = affine(np.array([[0.0, 0], [4, 0], [-0.6, 0.8]]), np.array([0, -4.4, -0.4]))
    found = deepfool(model, np.array([0.5, 0.0]), steps=2, overshoot=0.02)
    np.testing.assert_allclose(found.image, [1 - 1.02 * 0.6, 1.02 * 0.8], rtol=1e-6)
    assert found.success


def test_a_boundary_step_by_hand():
    # f = (0, -5, -3) and w = (0, (3, 4), (0, 1)): the planes are 1 and 3 away.
    step = boundary_step(np.array([5.0, 0, 2]), np.array([[1.0, 1], [4, 5], [1, 2]]), 0)
    np.testing.assert_allclose(step, [0.6, 0.8])


def test_a_boundary_step_without_a_boundary_is_none():
    np.testing.assert_array_equal(
        boundary_step(np.array([5.0, 0]), np.ones((2, 1, 2, 2)), 0), np.zeros((1, 2, 2))
    )


def test_the_gradients_of_an_affine_models_logits_are_its_rows():
    model, x = drawn_affine(3, 4), np.ones(6)
    logits, gradients = logits_and_gradients(model, x, np.array([0, 1, 3]))
    np.testing.assert_allclose(gradients, model.head.weight.data[[0, 1, 3]], rtol=1e-6)
    np.testing.assert_allclose(logits, model.head.weight.data.sum(axis=1) + model.head.bias.data, rtol=1e-6)


def test_deepfool_looks_only_at_the_likeliest_classes():
    # z = 5, 4, 3, 2: the planes are 1 away along x0, 2 / 10 along x1, 3 / 100 along x2.
    model = affine(np.array([[0.0, 0, 0], [1, 0, 0], [0, 10, 0], [0, 0, 100]]), np.array([5.0, 4, 3, 2]))
    for num_candidates, step in ((2, [1, 0, 0]), (3, [0, 0.2, 0]), (4, [0, 0, 0.03]), (9, [0, 0, 0.03])):
        found = deepfool(model, np.zeros(3), num_candidates=num_candidates, bounds=FREE)
        assert found.success
        np.testing.assert_allclose(found.r, 1.02 * np.array(step), rtol=1e-5, atol=1e-9)


def test_gradients_that_are_not_finite_are_no_direction():
    class Root(Module):  # at 0, sqrt(x) has an infinite slope, but finite logits
        def forward(self, x):
            return floating(x).sqrt() * np.array([1.0, -1.0]) + np.array([0.5, 0.0])

    refused = pytest.raises(FloatingPointError, match="gradients of the logits are not finite")
    with np.errstate(all="ignore"), refused:
        deepfool(Root(), np.zeros(1))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ValueError, r"steps must be within \[1, 1000000\], got 0"),
        ({"overshoot": -0.1}, ValueError, "overshoot must be finite and at least 0"),
        ({"bounds": (0, 0.1)}, ValueError, r"must be within \[0, 0.1\]"),
        ({"num_candidates": 1}, ValueError, "num_candidates must be at least 2"),
    ],
)
def test_a_bad_argument_of_deepfool_is_named(options, error, message):
    with pytest.raises(error, match=message):
        deepfool(network(0), batch_of(0)[0][0], **options)
