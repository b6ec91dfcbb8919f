"""Explainer: predictions shared among features, under the laws that have answers known beforehand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.strategies import arrays
from minidl.explain.explainer import Explainer, mixed_rows, model_paths, patch_groups
from minidl.explain.shapley import path_contributions
from minidl.nn.models import mlp
from minidl.train import predict

METHODS = [("exact", None), ("paths", 8), ("kernel", None)]
every_method = pytest.mark.parametrize("method, samples", METHODS)


def wavy(rows):
    """Something without additivity: three features and more act together."""
    flat = rows.reshape(len(rows), -1)
    return np.tanh(flat.sum(axis=1)) + flat[:, 0] * flat[:, 1] * flat[:, 2] + flat[:, -1] ** 2


def table(most=4, least=1):
    return arrays(st.tuples(st.integers(least, most), st.just(4)))


@every_method
@given(rows=table(), background=table(), seed=st.integers(0, 9))
def test_values_and_base_value_sum_to_the_prediction(method, samples, rows, background, seed):
    explainer = Explainer(wavy, background)
    found = explainer.explain(rows, method, samples=samples, rng=np.random.default_rng(seed))
    assert found.base_value == pytest.approx(wavy(background).mean())
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base_value, wavy(rows), atol=1e-9)


@every_method
@given(rows=table(), background=table(), w=arrays((4,)), b=st.integers(-2, 2))
def test_a_linear_model_gives_w_times_x_less_its_mean(method, samples, rows, background, w, b):
    explainer = Explainer(lambda x: x @ w + b, background)
    values = explainer.explain(rows, method, samples=samples, rng=np.random.default_rng(0)).values
    np.testing.assert_allclose(values, w * (rows - background.mean(axis=0)), atol=1e-9)


@every_method
@given(row=table(1))
def test_a_single_background_row_equal_to_the_row_gives_zeros(method, samples, row):
    values = Explainer(wavy, row).explain(row, method, samples=samples).values
    np.testing.assert_allclose(values, 0, atol=1e-9)


@every_method
@given(a=st.integers(-5, 5), b=st.integers(-5, 5))
def test_a_product_with_a_zero_baseline_splits_in_half(method, samples, a, b):
    explainer = Explainer(lambda x: x[:, 0] * x[:, 1], np.zeros((1, 2)))
    values = explainer.explain(np.array([[a, b]]), method, samples=samples).values
    np.testing.assert_allclose(values, [[a * b / 2, a * b / 2]], atol=1e-9)


@given(rows=table(2, 2), background=table())
def test_a_feature_that_predict_ignores_gets_nothing(rows, background):
    explainer = Explainer(lambda x: wavy(x[:, [0, 1, 2]]), background)
    np.testing.assert_allclose(explainer.explain(rows).values[:, 3], 0, atol=1e-12)


@given(rows=table(1), background=table())
def test_the_values_are_the_mean_over_orders_of_features_becoming_known(rows, background):
    expected = np.zeros(4)
    for order in itertools.permutations(range(4)):
        mixed = background.copy()
        for feature in order:
            before = wavy(mixed).mean()
            mixed[:, feature] = rows[0, feature]
            expected[feature] += (wavy(mixed).mean() - before) / 24
    np.testing.assert_allclose(Explainer(wavy, background).explain(rows).values, [expected], atol=1e-9)


@given(rows=table(2, 2), background=table(), order=st.permutations(range(4)))
def test_the_order_of_the_background_rows_and_the_company_of_rows_do_not_matter(rows, background, order):
    together = Explainer(wavy, background).explain(rows).values
    alone = Explainer(wavy, background[::-1]).explain(rows[1:]).values
    np.testing.assert_allclose(together[1:], alone, atol=1e-12)


@given(rows=table(2, 2), background=table())
def test_grouped_features_are_one_player(rows, background):
    groups = np.array([0, 1, 0, 1])
    found = Explainer(wavy, background, groups=groups).explain(rows)
    assert found.values.shape == (2, 2)

    def of_pairs(pairs):  # the same model, with two features of two numbers each
        return wavy(np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 1, 1]], axis=1))

    def as_pairs(x):
        return np.stack([x[:, [0, 2]], x[:, [1, 3]]], axis=1)

    other = Explainer(of_pairs, as_pairs(background), groups=[[0], [1]]).explain(as_pairs(rows))
    np.testing.assert_allclose(found.values, other.values, atol=1e-9)


def test_patches_of_images_share_the_prediction_and_all_channels_go_together():
    rng = np.random.default_rng(0)
    images = rng.random((2, 3, 5, 4)).astype(np.float32)
    patches = patch_groups(5, 4, 2)
    explainer = Explainer(lambda x: x.sum(axis=(1, 2, 3)), np.zeros((1, 3, 5, 4), np.float32), groups=patches)
    found = explainer.explain(images)
    assert np.array_equal(found.data, images) and found.standard_errors is None
    by_patch = [[image[:, patches == p].sum() for p in range(6)] for image in images]
    np.testing.assert_allclose(found.values, by_patch, rtol=1e-5)
    assert found.values[:, patches].shape == (2, 5, 4)


def test_patches_are_numbered_row_by_row_and_the_last_may_be_ragged():
    assert patch_groups(3, 5, 2).tolist() == [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]


def test_each_coalition_meets_every_background_row():
    background, known = np.array([[1, 2], [3, 4]]), np.array([[True, False], [False, False]])
    assert mixed_rows(np.array([8, 9]), background, known).tolist() == [[8, 2], [8, 4], [1, 2], [3, 4]]


def test_a_networks_paths_are_those_of_its_game():
    rng = np.random.default_rng(3)
    model = mlp(3, (8,), 2, rng=rng)
    row, background = rng.normal(size=3), rng.normal(size=(5, 3))
    orders = np.array(list(itertools.permutations(range(3))))
    paths = model_paths(model, row, background, orders, target=1)
    explainer = Explainer(lambda rows: predict(model, rows)[:, 1], background)
    expected = path_contributions(explainer.game(row), orders)
    np.testing.assert_allclose(paths, expected, atol=1e-6)
    exact = explainer.explain(row[np.newaxis]).values[0]
    np.testing.assert_allclose(paths.mean(axis=0), exact, atol=1e-6)


def test_an_order_that_lacks_a_feature_is_refused():
    with pytest.raises(ValueError, match=r"name each of 2 features once, got \[1, 1\]"):
        model_paths(mlp(2, (), 1), np.zeros(2), np.zeros((1, 2)), np.array([[0, 1], [1, 1]]))


def test_without_groups_every_position_of_an_image_is_a_player():
    images = np.arange(4.0).reshape(1, 1, 2, 2)
    found = Explainer(lambda x: x.sum(axis=(1, 2, 3)), 0 * images).explain(images)
    np.testing.assert_allclose(found.values, [[0, 1, 2, 3]], atol=1e-12)


def test_paths_and_drawn_coalitions_come_near_the_exact_values():
    rng = np.random.default_rng(0)
    rows, background = rng.normal(size=(5, 6)), rng.normal(size=(8, 6))
    explainer = Explainer(wavy, background)
    exact = explainer.explain(rows).values
    by_paths = explainer.explain(rows, "paths", samples=400, rng=rng)
    by_kernel = explainer.explain(rows, "kernel", samples=2000, rng=rng)
    assert by_paths.standard_errors.shape == by_kernel.standard_errors.shape == exact.shape
    # 30 values; each is within 4 standard errors except in 1 of 16,000 cases
    assert (np.abs(by_paths.values - exact) <= 4 * by_paths.standard_errors + 1e-9).all()
    assert np.abs(by_kernel.values - exact).max() < 0.1 * np.abs(exact).max()


def test_predictions_come_in_rows_of_the_given_dtype_a_few_at_a_time():
    seen = []

    def predict(rows):
        seen.append((rows.dtype, len(rows)))
        return rows[:, 0]

    background = np.zeros((100, 12), np.float32)
    Explainer(predict, background).explain(np.ones((1, 12), np.float32))
    assert {dtype for dtype, _ in seen} == {np.dtype(np.float32)}
    assert sum(length for _, length in seen[1:]) == 2**12 * 100
    assert max(length for _, length in seen) * 12 <= 2**19


def test_what_predict_and_the_caller_write_later_changes_no_answer():
    def predict(rows):
        answers = wavy(rows)
        rows[:] = 0
        return answers

    background, rows = np.arange(8.0).reshape(2, 4), np.ones((1, 4))
    expected = Explainer(wavy, background).explain(rows).values
    explainer = Explainer(predict, background)
    assert background.any()
    game = explainer.game(rows[0])
    found = explainer.explain(rows)
    background[:], rows[:] = 5, 7
    np.testing.assert_array_equal(found.values, expected)
    np.testing.assert_array_equal(found.data, np.ones((1, 4)))
    np.testing.assert_array_equal(explainer.explain(np.ones((1, 4))).values, expected)
    np.testing.assert_array_equal(game(np.ones((1, 4), bool)), wavy(np.ones((1, 4))))


def first(rows):
    return rows[:, 0]


DATA = np.zeros((3, 4))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: Explainer(3, DATA), TypeError, "predict must be a function"),
        (lambda: Explainer(first, DATA[:0]), ValueError, r"background must not be empty, got shape \(0, 4\)"),
        (lambda: Explainer(first, DATA[0]), ValueError, r"background must.*\(4,\)"),
        (lambda: Explainer(first, DATA + np.inf), ValueError, "background must be finite"),
        (lambda: Explainer(first, DATA.astype(str)), TypeError, "background must be real numbers"),
        (
            lambda: Explainer(lambda x: x, DATA),
            ValueError,
            r"one number for each row, must have shape \(3,\), got \(3, 4\)",
        ),
        (lambda: Explainer(lambda x: x[:, 0] > 0, DATA).explain([["a"] * 4]), TypeError, "rows must be"),
        (
            lambda: Explainer(lambda x: x[:, 0] + np.nan, DATA),
            ValueError,
            "the result of predict.* must be finite",
        ),
        (
            lambda: Explainer(lambda x: x[:, 0].astype(str), DATA),
            TypeError,
            "the result of predict.* must be real numbers",
        ),
        (lambda: Explainer(first, DATA, groups=[0, 1]), ValueError, r"groups \(2,\).*row's shape \(4,\)"),
        (lambda: Explainer(first, DATA, groups=[0, 1, 3, 3]), ValueError, r"without gaps, got \[0, 1, 3\]"),
        (lambda: Explainer(first, DATA, groups=[0.0, 1, 2, 3]), TypeError, "groups must be integers"),
        (
            lambda: Explainer(first, DATA).explain(DATA[:, :3]),
            ValueError,
            r"rows must have shape \(rows, 4\), got \(3, 3\)",
        ),
        (lambda: Explainer(first, DATA).game(DATA[0, :3]), ValueError, r"row must have.*\(4,\), got \(3,\)"),
        (lambda: Explainer(first, DATA).game(DATA), ValueError, r"row must have.*\(4,\), got \(3, 4\)"),
        (lambda: Explainer(first, DATA).game(DATA[0] / 0), ValueError, "row must be finite"),
        (
            lambda: Explainer(first, DATA).game(DATA[0])(np.ones((2, 3), bool)),
            ValueError,
            r"coalitions must have shape \(m, 4\), got \(2, 3\)",
        ),
        (
            lambda: Explainer(first, DATA).game(DATA[0])(np.ones((2, 4))),
            TypeError,
            r"must be bools, got an array \(2, 4\)",
        ),
        (lambda: Explainer(first, DATA).explain(DATA, "tree"), ValueError, "method must be one of.*'tree'"),
        (
            lambda: Explainer(first, DATA).explain(DATA, np.array(["exact"] * 2)),
            ValueError,
            "method must be one",
        ),
        (lambda: Explainer(first, DATA).explain(DATA, "paths"), ValueError, "needs samples"),
        (lambda: Explainer(first, DATA).explain(DATA, samples=9), ValueError, "draws no samples"),
        (lambda: Explainer(first, np.zeros((1, 30))).explain(np.ones((1, 30))), ValueError, "30 players"),
        (lambda: patch_groups(4, 4, 0), ValueError, "size must be at least 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_bad_input_of_an_explainer_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("target", [-1, 3])
def test_model_paths_refuse_a_logit_that_is_not_there(target):
    model, orders = mlp(2, (), 3), np.array([[0, 1]])
    with pytest.raises(ValueError, match=r"target must be within \[0, 2\]"):
        model_paths(model, np.zeros(2), np.zeros((1, 2)), orders, target=target)
