"""Features as points: scale, projection, and the probe's loss."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl.nn.functional as F
from minidl import Tensor
from minidl.classroom.strategies import arrays, quarters
from minidl.data import lesson_pictures, load_picture
from minidl.nn.efficientnet import imagenet_names, imagenet_network
from minidl.train import predict
from minidl.transfer import features as features_module
from minidl.transfer.features import (
    pca_projection,
    photograph_features,
    probe_curvature,
    probe_loss,
    standardise,
)

few = settings(max_examples=25)
tables = arrays(st.tuples(st.integers(2, 6), st.integers(2, 4)))


@given(features=tables)
def test_what_is_standardised_by_itself_has_mean_0_and_deviation_1_or_is_0(features):
    result = standardise(features, features)
    np.testing.assert_allclose(result.mean(axis=0), 0, atol=1e-12)
    varies = np.ptp(features, axis=0) > 0
    np.testing.assert_allclose(result.std(axis=0), varies.astype(float), atol=1e-12)


@given(reference=tables, scale=quarters(0.25, 4), shift=quarters(-3, 3))
def test_units_do_not_matter_once_standardised(reference, scale, shift):
    other = reference[::-1] * 0.5 + 0.25
    moved = standardise(scale * reference + shift, scale * other + shift)
    np.testing.assert_allclose(moved, standardise(reference, other), rtol=1e-9, atol=1e-9)


def test_a_test_set_is_moved_by_the_training_sets_numbers():
    result = standardise(np.array([[0.0, 5.0], [4.0, 5.0]]), np.array([[6.0, 7.0]]))
    assert result.tolist() == [[2.0, 0.0]]  # (6 - 2) / 2; a column that is constant in training becomes 0


@few
@given(features=tables, dims=st.integers(1, 2))
def test_the_projection_is_centred_uncorrelated_and_as_wide_as_the_largest_eigenvalues(features, dims):
    points = pca_projection(features, dims)
    eigenvalues = np.linalg.eigvalsh(np.cov(features.T))[::-1]
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(points.T @ points / (len(points) - 1), np.diag(eigenvalues[:dims]), atol=1e-9)


@few
@given(features=tables, seed=st.integers(0, 1000))
def test_all_dimensions_keep_all_distances_and_fewer_lengthen_none(features, seed):
    dims = min(features.shape)

    def distances(points):
        return np.linalg.norm(points[:, None] - points[None], axis=-1)

    np.testing.assert_allclose(distances(pca_projection(features, dims)), distances(features), atol=1e-9)
    assert (distances(pca_projection(features, 1)) <= distances(features) + 1e-9).all()


def test_points_on_a_line_are_laid_along_it():
    """(0, 0), (3, 4), (6, 8) lie 5 apart in the direction (0.6, 0.8), whose larger component is positive."""
    np.testing.assert_allclose(
        pca_projection([[0, 0], [3, 4], [6, 8]]), [[-5, 0], [0, 0], [5, 0]], atol=1e-12
    )
    np.testing.assert_allclose(pca_projection([[6, -8], [3, -4], [0, 0]], 1), [[-5], [0], [5]], atol=1e-12)


@few
@given(seed=st.integers(0, 1000))
def test_the_largest_component_of_each_direction_is_positive(seed):
    features = np.random.default_rng(seed).normal(size=(6, 3))
    centred = features - features.mean(axis=0)
    directions = np.linalg.lstsq(centred, pca_projection(features, 3), rcond=None)[
        0
    ].T  # centred @ d = points
    for direction in directions:
        assert direction[np.abs(direction).argmax()] > 0


@few
@given(weight=arrays((3, 2)), bias=arrays((3,)), features=arrays((5, 2)), l2=quarters(0, 2))
def test_loss_and_gradients_are_what_the_engine_gives(weight, bias, features, l2):
    labels = np.array([0, 1, 2, 1, 0])
    W, b = Tensor(weight, requires_grad=True), Tensor(bias, requires_grad=True)
    loss = F.cross_entropy(Tensor(features) @ W.T + b, labels) + l2 / 2 * (W * W).sum()
    loss.backward()
    ours, grad_weight, grad_bias = probe_loss(weight, bias, features, labels, l2)
    np.testing.assert_allclose(ours, loss.item(), rtol=1e-9)
    np.testing.assert_allclose(grad_weight, W.grad, atol=1e-9)
    np.testing.assert_allclose(grad_bias, b.grad, atol=1e-9)


@few
@given(
    weight=arrays((3, 2)), bias=arrays((3,)), features=arrays((5, 2)), l2=quarters(0, 2), dw=arrays((3, 2))
)
def test_the_curvature_is_how_the_gradients_change(weight, bias, features, l2, dw):
    labels, db, h = np.array([0, 1, 2, 1, 0]), np.array([1.0, -0.5, 0.25]), 1e-5
    ends = [probe_loss(weight + t * dw, bias + t * db, features, labels, l2)[1:] for t in (h, -h)]
    by_weight, by_bias = probe_curvature(weight, bias, features, l2, dw, db)
    np.testing.assert_allclose(by_weight, (ends[0][0] - ends[1][0]) / (2 * h), atol=1e-7)
    np.testing.assert_allclose(by_bias, (ends[0][1] - ends[1][1]) / (2 * h), atol=1e-7)


def test_loss_by_hand_where_nothing_is_known_and_where_logits_are_huge():
    features, labels = np.array([[2.0], [4.0]]), np.array([0, 1])
    loss, grad_weight, grad_bias = probe_loss(np.zeros((2, 1)), np.zeros(2), features, labels, 1.0)
    assert loss == pytest.approx(np.log(2))
    np.testing.assert_allclose(grad_weight, [[0.5], [-0.5]])  # ((0.5-1) 2 + 0.5 4) / 2
    np.testing.assert_allclose(grad_bias, [0, 0])
    loss, *_ = probe_loss(np.array([[1e4], [0.0]]), np.zeros(2), np.array([[1.0]]), np.array([1]), 0.0)
    assert loss == pytest.approx(1e4)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: standardise(np.ones((2, 3)), np.ones((2, 2))),
            ValueError,
            r"features must have shape \(N, 3\), got \(2, 2\)",
        ),
        (
            lambda: standardise(np.ones(3), np.ones((2, 3))),
            ValueError,
            r"reference must have shape \(N, D\), got \(3,\)",
        ),
        (lambda: standardise(np.ones((2, 3)), np.array([["a"]])), TypeError, "features must be real numbers"),
        (lambda: pca_projection(np.ones((1, 3))), ValueError, r"2 dimensions .* got \(1, 3\)"),
        (lambda: pca_projection(np.ones((4, 3)), 4), ValueError, r"4 dimensions .* got \(4, 3\)"),
        (lambda: pca_projection(np.ones((4, 3)), 0), ValueError, "dims must be at least 1"),
        (lambda: pca_projection(np.full((4, 3), np.inf)), ValueError, "features must be finite"),
        (
            lambda: probe_loss(np.ones((2, 3)), np.ones(3), np.ones((4, 3)), [0] * 4, 0),
            ValueError,
            "bias must have shape",
        ),
        (lambda: probe_loss(np.ones((2, 3)), np.ones(2), np.ones((4, 3)), [2] * 4, 0), ValueError, "0 ... 1"),
        (
            lambda: probe_loss(np.ones((2, 3)), np.ones(2), np.ones((4, 3)), [0] * 4, -1),
            ValueError,
            "l2 must",
        ),
    ],
)
def test_bad_input_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_photographs_features_are_the_networks_and_are_computed_once(tmp_path, monkeypatch):
    for file in ("fruit/pineapple.webp", "mammals/zebra.webp", "photos/coffee.webp"):
        (tmp_path / file).parent.mkdir(parents=True)
        shutil.copy(lesson_pictures() / file, tmp_path / file)
    monkeypatch.setattr(features_module, "lesson_pictures", lambda: tmp_path)
    found = photograph_features()
    assert [path.name for path in found.files] == ["pineapple.webp", "zebra.webp", "coffee.webp"]
    assert [found.groups[label] for label in found.labels] == ["fruit", "mammals", "photos"]
    names = imagenet_names()
    assert [names[k] for k in found.logits.argmax(axis=1)] == ["pineapple", "zebra", "espresso"]

    network = imagenet_network()
    images = np.stack([load_picture(path)[0] for path in found.files])
    np.testing.assert_allclose(found.logits, predict(network, images), atol=1e-3)
    head = network.layer("_fc")
    by_hand = found.features @ head.weight.data.T + head.bias.data
    np.testing.assert_allclose(found.logits, by_hand, atol=1e-4)

    monkeypatch.setattr(features_module, "imagenet_network", None)  # a second computation would call it
    again = photograph_features()
    assert np.array_equal(again.features, found.features) and np.array_equal(again.logits, found.logits)
