"""Scores of explanations: against masks, against the model's answer, against a model that knows nothing."""

import numpy as np
import pytest
from explained import images_of, linear_model, network, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from untouched import Trips, disturbed, left_untouched

from minidl.engine.reduce import stable_softmax
from minidl.explain import (
    area_under,
    deletion_curve,
    input_gradient,
    insertion_curve,
    mass_inside,
    pointing_game,
    randomisation_check,
)
from minidl.explain.score import importance_order, randomised, rank_correlation
from minidl.nn import Sequential
from minidl.train import predict

few = settings(max_examples=25)
CURVES = [deletion_curve, insertion_curve]
both_curves = pytest.mark.parametrize("curve", CURVES, ids=["deletion", "insertion"])


def maps_and_masks(seed, n=3, h=4, w=5):
    rng = np.random.default_rng(seed)
    return rng.random((n, h, w)), rng.random((n, h, w)) < 0.4


# ---- pointing and mass


def test_pointing_and_mass_by_hand():
    masks = np.array([[[True, False], [False, False]]] * 4)
    maps = np.array([[[4, 1], [1, 2]], [[1, 4], [4, 1]], [[3, 3], [3, 1]], [[0, 0], [0, 0]]], float)
    np.testing.assert_allclose(pointing_game(maps, masks), [1, 0, 1 / 3, 1 / 4])
    np.testing.assert_allclose(mass_inside(maps, masks), [0.5, 0.1, 0.3, 0.25])


@given(seed=seeds)
def test_inside_and_outside_share_one(seed):
    maps, masks = maps_and_masks(seed)
    for score in (pointing_game, mass_inside):
        inside, outside = score(maps, masks), score(maps, ~masks)
        np.testing.assert_allclose(inside + outside, 1)
        assert inside.shape == (3,) and inside.min() >= 0


@given(seed=seeds, factor=st.sampled_from([1e-30, 0.5, 3.0, 1e20]), constant=st.floats(0, 5))
def test_a_maps_scale_does_not_matter_and_a_constant_one_gets_the_masks_share_of_the_area(
    seed, factor, constant
):
    maps, masks = maps_and_masks(seed)
    for score in (pointing_game, mass_inside):
        np.testing.assert_allclose(score(factor * maps, masks), score(maps, masks))
        flat = np.full(maps.shape, constant)
        np.testing.assert_allclose(score(flat, masks), masks.mean(axis=(1, 2)))
        np.testing.assert_array_equal(score(maps, np.zeros_like(masks)), 0)
    np.testing.assert_allclose(mass_inside(masks + 0.0, masks), np.where(masks.any(axis=(1, 2)), 1, 0))


def test_random_maps_score_chance():
    rng = np.random.default_rng(0)
    maps = rng.random((4000, 5, 5))
    masks = np.broadcast_to(np.arange(25).reshape(5, 5) < 7, maps.shape)
    assert abs(pointing_game(maps, masks).mean() - 7 / 25) < 0.03  # 4 standard errors
    assert abs(mass_inside(maps, masks).mean() - 7 / 25) < 0.01


# ---- deletion and insertion


def test_the_order_counts_from_the_highest_pixel():
    places = importance_order(np.array([[[0.5, -1.0], [2.0, 0.0]]]), None)
    np.testing.assert_array_equal(places, [[[1, 3], [0, 2]]])


@given(seed=seeds)
def test_ties_are_broken_at_random_and_all_else_is_sorted(seed):
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 3, (3, 4, 4)).astype(float)
    places = importance_order(maps, rng)
    for one, place in zip(maps, places, strict=True):
        np.testing.assert_array_equal(np.sort(place.ravel()), np.arange(16))
        assert np.all(np.diff(one.ravel()[np.argsort(place.ravel())]) <= 0)
    flat = importance_order(np.zeros((200, 2, 2)), rng)
    assert abs(flat[:, 0, 0].mean() - 1.5) < 0.5  # 6 standard errors


@few
@given(seed=seeds, steps=st.integers(1, 8), target=st.integers(0, 2))
def test_a_linear_model_loses_the_contributions_of_the_pixels_that_are_gone(seed, steps, target):
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((3, 2 * 4 * 4))
    model, images, maps = linear_model(weight), images_of(seed, size=4), rng.standard_normal((2, 4, 4))
    baseline = rng.random((2, 4, 4))
    options = {"steps": steps, "baseline": baseline, "probability": False}
    deleted = deletion_curve(model, images, target, maps, **options)
    inserted = insertion_curve(model, images, target, maps, **options)
    by_pixel = (weight[target].reshape(2, 4, 4) * (images - baseline)).sum(axis=1).reshape(2, 16)
    best_first = np.take_along_axis(by_pixel, np.argsort(-maps.reshape(2, 16), axis=1), axis=1)
    counts = [round(16 * k / steps) for k in range(steps + 1)]
    gone = np.array([best_first[:, :count].sum(axis=1) for count in counts]).T
    whole = images.reshape(2, -1) @ weight[target]
    empty = np.broadcast_to(baseline.ravel() @ weight[target], 2)
    np.testing.assert_allclose(deleted, whole[:, None] - gone, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(inserted, empty[:, None] + gone, rtol=1e-5, atol=1e-6)


@few
@given(seed=seeds)
def test_no_order_beats_that_of_a_linear_models_own_contributions(seed):
    rng = np.random.default_rng(seed)
    weight, images = rng.standard_normal((3, 32)), images_of(seed, size=4)
    options = {"baseline": 0.0, "probability": False, "steps": 16}
    own = (weight[1].reshape(2, 4, 4) * images).sum(axis=1)
    other = rng.standard_normal((2, 4, 4))
    for curve, sign in ((deletion_curve, -1), (insertion_curve, 1)):
        best, any_order = (curve(linear_model(weight), images, 1, maps, **options) for maps in (own, other))
        assert np.all(sign * (best - any_order) >= -1e-5)


@few
@given(seed=seeds, baseline=st.sampled_from([0.0, "mean", 1.0]), steps=st.integers(1, 5))
def test_both_curves_run_between_image_and_baseline_in_opposite_directions(seed, baseline, steps):
    model, images, maps = network(seed), images_of(seed), maps_and_masks(seed, 2, 6, 6)[0]
    options = {"baseline": baseline, "steps": steps}
    deleted = deletion_curve(model, images, 1, maps, **options)
    inserted = insertion_curve(model, images, 1, maps, **options)
    cover = images.mean(axis=(2, 3), keepdims=True) + 0 * images if baseline == "mean" else baseline
    ends = [stable_softmax(predict(model, x + 0 * images))[:, 1] for x in (images, cover)]
    assert deleted.shape == inserted.shape == (2, steps + 1)
    np.testing.assert_allclose(deleted[:, [0, -1]], np.array(ends).T, rtol=1e-6)
    np.testing.assert_allclose(inserted[:, [-1, 0]], np.array(ends).T, rtol=1e-6)
    reverse = insertion_curve(model, images, 1, -maps, **options)
    np.testing.assert_allclose(deleted, reverse[:, ::-1], rtol=1e-6)  # steps cut at the same places


@both_curves
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.float16])
def test_maps_of_any_dtype_have_the_order_of_their_numbers(curve, dtype):
    model, images = network(5), images_of(5)
    maps = np.random.default_rng(5).integers(0, 3, (2, 6, 6)).astype(dtype)
    by_dtype, by_float = (
        curve(model, images, 1, one, rng=np.random.default_rng(0)) for one in (maps, maps.astype(np.float64))
    )
    np.testing.assert_array_equal(by_dtype, by_float)


@both_curves
def test_no_target_is_the_class_predicted_for_the_image_all_along_the_way(curve):
    model, images, maps = network(4), images_of(4, n=5), maps_and_masks(4, 5, 6, 6)[0]
    predicted = predict(model, images).argmax(axis=1)
    np.testing.assert_array_equal(
        curve(model, images, None, maps, steps=3), curve(model, images, predicted, maps, steps=3)
    )


def test_the_area_is_that_of_trapezoids():
    np.testing.assert_allclose(
        area_under(np.array([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])), [0.5, 1, 0.5]
    )
    np.testing.assert_allclose(area_under(np.array([[1.0, 0.0]])), [0.5])
    np.testing.assert_allclose(area_under(np.array([[200, 200]], np.uint8)), [200])


# ---- a model with random parameters


@given(seed=seeds)
def test_rank_correlation_is_spearmans(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 5, (2, 3, 4, 4)).astype(float)
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(rank_correlation(a, b), expected, atol=1e-12)
    np.testing.assert_allclose(rank_correlation(a, np.exp(a)), 1)
    np.testing.assert_allclose(rank_correlation(a, -a), -1)
    np.testing.assert_array_equal(rank_correlation(a, np.ones_like(a)), 0)


@few
@given(seed=seeds)
def test_a_randomised_model_has_the_same_numbers_in_another_order(seed):
    model = network(seed)
    other, before, after = randomised(model, np.random.default_rng(seed)), model.state_dict(), {}
    after = other.state_dict()
    for key, array in before.items():
        np.testing.assert_array_equal(np.sort(after[key], axis=None), np.sort(array, axis=None))
    assert not np.array_equal(after["conv.weight"], before["conv.weight"])


def test_a_method_that_asks_no_model_is_found_out_and_one_that_reads_the_weights_is_not():
    model, images = network(0), images_of(0, n=20)
    rng = np.random.default_rng(1)
    blind = randomisation_check(model, lambda model, images: images.sum(axis=1), images, rng=rng)
    np.testing.assert_allclose(blind, 1)
    constant = randomisation_check(model, lambda model, images: 0 * images, images, rng=rng)
    np.testing.assert_array_equal(constant, 0)
    weight = np.random.default_rng(2).standard_normal((3, 72))
    reads = randomisation_check(linear_model(weight), lambda m, x: input_gradient(m, x, 0), images, rng=rng)
    assert abs(reads).max() < 0.6  # 72 weights in another order: the standard deviation is 0.12


# ---- the model does not change


def by_curves(model, images):
    for curve in CURVES:
        curve(model, images, 1, images[:, 0], steps=2)


def by_randomisation(model, images):
    randomisation_check(model, lambda model, images: input_gradient(model, images, 1), images)


@pytest.mark.parametrize("score, runs", [(by_curves, 8), (by_randomisation, 2)])
def test_the_model_is_the_same_before_and_after_and_after_an_exception(score, runs):
    model = disturbed(network(6))
    with left_untouched(model):
        score(model, images_of(6))
    for at in range(1, runs + 1):
        model = disturbed(Sequential({**dict(network(7).named_children()), "trips": Trips(at)}))
        with left_untouched(model), pytest.raises(RuntimeError, match="tripped"):
            score(model, images_of(7))


# ---- bad input

MAPS, MASKS = np.ones((2, 6, 6)), np.ones((2, 6, 6), bool)


@pytest.mark.parametrize("score", [pointing_game, mass_inside])
@pytest.mark.parametrize(
    "maps, masks, error, message",
    [
        (MAPS, MASKS[:1], ValueError, r"maps must have shape \(1, 6, 6\), got \(2, 6, 6\)"),
        (MAPS[:0], MASKS[:0], ValueError, "masks must not be empty"),
        (MAPS[0], MASKS[0], ValueError, r"masks must have shape \(N, H, W\), got \(6, 6\)"),
        (MAPS, MASKS + 0.0, TypeError, "masks must be bools, got .* of float64"),
        (MAPS + 1j, MASKS, TypeError, "maps must be real numbers, got .* of complex128"),
        (MAPS * np.nan, MASKS, ValueError, "maps must be finite"),
        (MAPS * 1e308, MASKS, ValueError, "maps must be finite, and so must their sum"),
    ],
)
def test_maps_and_masks_that_do_not_fit_are_refused(score, maps, masks, error, message):
    with pytest.raises(error, match=message):
        score(maps, masks)


def test_a_negative_map_has_no_mass():
    with pytest.raises(ValueError, match=r"maps must be >= 0, got -1: take np.maximum\(maps, 0\) or"):
        mass_inside(-MAPS, MASKS)


@both_curves
@pytest.mark.parametrize(
    "changed, error, message",
    [
        ({"maps": MAPS[:, :5]}, ValueError, r"maps must have shape \(2, 6, 6\), got"),
        ({"maps": MAPS * np.inf}, ValueError, "maps must be finite"),
        ({"maps": MAPS.astype(str)}, TypeError, "maps must be real numbers"),
        ({"images": np.ones((2, 5))}, ValueError, r"images must be \(N, C, H, W\), got \(2, 5\)"),
        ({"steps": 0}, ValueError, r"steps must be within \[1, 1000000\], got 0"),
        ({"target": 3}, ValueError, r"target class must be within \[0, 2\], got 3"),
        ({"target": ("conv", 0, 1, 1)}, ValueError, "a unit has no probability"),
        ({"baseline": "dark"}, ValueError, "baseline must be one of 'mean', 'noise'"),
    ],
)
def test_curves_of_what_does_not_fit_are_refused(curve, changed, error, message):
    arguments = {"images": images_of(0), "target": 0, "maps": MAPS, **changed}
    with pytest.raises(error, match=message):
        curve(network(0), **arguments)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda m, x: area_under(np.ones((2, 1))),
            ValueError,
            r"curves must be \(N, steps \+ 1\) with at least one",
        ),
        (lambda m, x: area_under([["a", "b"]]), TypeError, "curves must be real numbers"),
        (lambda m, x: area_under([[True, False]]), TypeError, "curves must be real numbers"),
        (lambda m, x: area_under([[1.0], [1.0, 0.0]]), ValueError, "rows are of different lengths"),
        (lambda m, x: area_under([[1.0, np.nan]]), ValueError, "curves must be finite"),
        (lambda m, x: randomisation_check(m, None, x), TypeError, "method must be a function of a model"),
        (lambda m, x: randomisation_check(3, None, x), TypeError, "model must be a Module, got 3"),
        (lambda m, x: randomisation_check(m, lambda m, x: x[:1], x), ValueError, "maps .* of 2 images, got"),
        (
            lambda m, x: randomisation_check(m, lambda m, x: x * np.nan, x),
            ValueError,
            "the result of method must be finite",
        ),
        (
            lambda m, x: randomisation_check(m, lambda m, x: x.sum(), x),
            ValueError,
            r"method must return maps \(N, ...\)",
        ),
        (lambda m, x: randomisation_check(m, lambda m, x: x, x[:0]), ValueError, "images must not be empty"),
    ],
)
def test_checks_of_what_is_no_method_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(network(0), images_of(0))
