"""Strategies: small readable cases that shrink to zeros."""

import numpy as np
import pytest
from hypothesis import find, given, settings

from minidl.classroom import strategies
from minidl.classroom.exercise import EXAMPLES


def is_quarters(x, low=-2.0, high=2.0):
    return np.all(x * 4 == np.round(x * 4)) and np.all(x >= low) and np.all(x <= high)


def simplest(strategy, condition=lambda value: True):
    return find(strategy, condition, settings=settings(max_examples=200))


@given(x=strategies.quarters(), y=strategies.quarters(0.5, 1))
def test_quarters_are_multiples_of_a_quarter_within_their_range(x, y):
    assert is_quarters(x)
    assert is_quarters(y, 0.5, 1)


def test_numbers_shrink_to_zero_or_the_end_nearest_to_it():
    assert simplest(strategies.quarters()) == 0
    assert simplest(strategies.quarters(0.5, 1)) == 0.5
    assert simplest(strategies.quarters(), lambda x: x < 0) == -0.25
    assert simplest(strategies.temperatures()) == 1


@given(x=strategies.arrays())
def test_arrays_are_small_float64_and_not_empty(x):
    assert x.dtype == np.float64 and 1 <= x.ndim <= 3 and 1 <= x.size <= 64
    assert is_quarters(x)


@given(x=strategies.arrays((2, 3), 1, 2))
def test_arrays_have_the_shape_and_elements_asked_for(x):
    assert x.shape == (2, 3)
    assert is_quarters(x, 1, 2)


@pytest.mark.parametrize(
    "strategy, shape",
    [
        (strategies.arrays(), (1,)),
        (strategies.logits(), (1, 1)),
    ],
)
def test_arrays_shrink_to_one_zero(strategy, shape):
    x = simplest(strategy)
    assert x.shape == shape and not x.any()


def test_an_element_that_matters_survives_among_zeros():
    assert simplest(strategies.logits(), lambda z: z.shape == (2, 2) and z[1, 0] > 1).tolist() == [
        [0, 0],
        [1.25, 0],
    ]


@given(z=strategies.logits(3, 4), case=strategies.logits_and_labels(3, 4))
def test_logits_have_a_few_rows_and_classes_and_a_label_for_each_row(z, case):
    assert 1 <= z.shape[0] <= 3 and 1 <= z.shape[1] <= 4
    z, labels = case
    assert labels.dtype == np.int64 and labels.shape == (len(z),)
    assert np.all((labels >= 0) & (labels < z.shape[1]))


def test_pairs_broadcast_in_every_way_within_the_cases_of_a_law():
    shapes = []

    @settings(derandomize=True, max_examples=EXAMPLES, database=None)
    @given(pair=strategies.broadcastable_pairs())
    def collect(pair):
        a, b = pair
        np.broadcast_shapes(a.shape, b.shape)
        shapes.append((a.shape, b.shape))

    collect()
    assert len(set(shapes)) >= 9
    assert any(len(a) < len(b) for a, b in shapes) and any(len(a) > len(b) for a, b in shapes)
    assert any(a == b != () for a, b in shapes)
    assert any(len(a) == len(b) and np.broadcast_shapes(a, b) not in (a, b) for a, b in shapes)
    assert any(() in pair for pair in shapes)
