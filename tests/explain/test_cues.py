"""Which cue an answer follows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import make_cue_conflict
from minidl.explain import shape_bias
from minidl.explain.cues import cue_counts


@st.composite
def conflicts(draw):
    """predicted, shape_labels, texture_labels of 4 classes; at least one answer is decided."""
    pairs = [(s, t) for s in range(4) for t in range(4) if s != t]
    rows = draw(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(pairs)), min_size=1, max_size=30))
    shapes, textures = (np.array([pair[i] for _, pair in rows]) for i in (0, 1))
    predicted = np.array([answer for answer, _ in rows])
    predicted[0] = draw(st.sampled_from([shapes[0], textures[0]]))
    return predicted, shapes, textures


def test_six_images_by_hand():
    # class of shape   0     0        0        1        1      2
    # answer           0     texture  neither  texture  shape  neither
    shapes = np.array([0, 0, 0, 1, 1, 2])
    textures = np.array([1, 2, 1, 0, 3, 0])
    answers = np.array([0, 2, 3, 0, 1, 1])
    with np.errstate(all="raise"):
        bias = shape_bias(answers, shapes, textures)
    assert bias.mean == 2 / 4
    assert bias.decided == 4 / 6
    np.testing.assert_array_equal(bias.per_class, [0.5, 0.5, np.nan, np.nan])
    by_shape, by_texture = cue_counts(answers, shapes, textures, 4)
    assert by_shape.tolist() == [1, 1, 0, 0] and by_texture.tolist() == [1, 1, 0, 0]


@given(case=conflicts())
def test_only_shape_is_1_only_texture_is_0(case):
    _, shapes, textures = case
    assert shape_bias(shapes, shapes, textures)[::2] == (1.0, 1.0)
    assert shape_bias(textures, shapes, textures)[::2] == (0.0, 1.0)


@given(case=conflicts())
def test_what_shape_wins_texture_loses(case):
    predicted, shapes, textures = case
    bias, other = shape_bias(predicted, shapes, textures), shape_bias(predicted, textures, shapes)
    assert bias.mean + other.mean == pytest.approx(1)
    assert bias.decided == other.decided


@given(case=conflicts())
def test_the_mean_is_that_of_the_classes_weighted_by_their_decided_images(case):
    predicted, shapes, textures = case
    bias = shape_bias(predicted, shapes, textures)
    decided = (predicted == shapes) | (predicted == textures)
    weights = np.bincount(shapes[decided], minlength=len(bias.per_class))
    assert np.isnan(bias.per_class[weights == 0]).all()
    assert np.sum(weights * np.nan_to_num(bias.per_class)) / weights.sum() == pytest.approx(bias.mean)


@given(case=conflicts(), more=st.integers(1, 5))
def test_answers_that_are_neither_change_decided_alone(case, more):
    predicted, shapes, textures = case
    bias = shape_bias(predicted, shapes, textures)
    longer = shape_bias(
        np.append(predicted, [3] * more), np.append(shapes, [0] * more), np.append(textures, [1] * more)
    )
    assert longer.mean == bias.mean
    assert longer.decided == pytest.approx(bias.decided * len(shapes) / (len(shapes) + more))


@given(case=conflicts(), seed=st.integers(0, 99))
def test_logits_count_by_their_largest_and_the_order_of_images_does_not(case, seed):
    predicted, shapes, textures = case
    order = np.random.default_rng(seed).permutation(len(shapes))
    logits = np.eye(4)[predicted] * 3 - 1
    by_logits = shape_bias(logits[order], shapes[order], textures[order])
    by_class = shape_bias(predicted, shapes, textures)
    assert by_logits[::2] == by_class[::2]
    np.testing.assert_array_equal(by_logits.per_class[: len(by_class.per_class)], by_class.per_class)


def test_random_answers_have_a_bias_of_one_half():
    rng = np.random.default_rng(0)
    _, shapes, textures = make_cue_conflict(4000, size=16, rng=rng)
    bias = shape_bias(rng.integers(0, 8, 4000), shapes, textures)
    assert abs(bias.mean - 0.5) < 0.06  # 4 standard errors of about 1000 decided
    assert abs(bias.decided - 0.25) < 0.03
    assert bias.per_class.shape == (8,)


ONES, TWOS = np.ones(3, int), np.full(3, 2)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((ONES, ONES, ONES), ValueError, "in 3 images they agree"),
        ((0 * ONES, ONES, TWOS), ValueError, "none of 3 answers is the class of either cue"),
        ((ONES, ONES, TWOS[:2]), ValueError, r"texture_labels must have shape \(3,\), got \(2,\)"),
        ((ONES[:2], ONES, TWOS), ValueError, r"shape_labels must have shape \(2,\), got \(3,\)"),
        ((ONES[:0], ONES[:0], TWOS[:0]), ValueError, "predictions must not be empty"),
        ((ONES / 2, ONES, TWOS), TypeError, "predictions must be integers"),
        ((ONES, ONES / 2, TWOS), TypeError, "shape_labels must be integers"),
        ((ONES, ONES, -TWOS), ValueError, "texture_labels must be in 0 ... 999999, got -2"),
        ((np.eye(3)[:, :2], ONES, TWOS), ValueError, "texture_labels must be in 0 ... 1, got 2"),
        ((np.full((3, 3), np.nan), ONES, TWOS), ValueError, "predictions hold NaN"),
        (([0, 1, -3], ONES, TWOS), ValueError, "predictions must be in 0 ... 999999, got -3"),
        (([0, 0, 0], -ONES, -TWOS), ValueError, "shape_labels must be in 0 ... 999999, got -1"),
        ((ONES, ONES, TWOS * 10**12), ValueError, "texture_labels must be in 0 ... 999999, got 2000000000"),
    ],
)
def test_bad_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        shape_bias(*arguments)
