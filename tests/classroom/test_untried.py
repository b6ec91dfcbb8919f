"""That the table of untried values names what the laws leave out. All exercises:  python -m tests.untried"""

import numpy as np
import pytest

from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_refuses
from minidl.classroom.exercise import Exercise
from tests.untried import untried


def scaled(x, factor=1.0, shift=0.0):
    """x · factor + shift"""
    if factor < 0:
        raise ValueError("factor must be at least 0")
    return np.asarray(x) * factor + shift


def sum_of_weights(model):
    """The sum of all weights of the model."""
    return float(sum(p.data.sum() for p in model.parameters()))


def exercise_of(target, kind="function"):
    return Exercise("99.1", target, points=1, hints=("a",), kind=kind)


def test_kinds_of_arrays_and_numbers_and_pairs_of_options_that_no_law_gives_are_named():
    exercise = exercise_of(scaled)

    @exercise.law("twice")
    def twice(scaled):
        assert_close(scaled(np.array([[1.0, -2.0, 0.0]]), factor=2), [[2.0, -4.0, 0.0]])
        assert_close(scaled([1.0], shift=0.5), [1.5])
        assert_refuses("a factor of -1", scaled, np.ones(2, np.float32), factor=-1.0)

    found = untried(exercise)
    assert "float32" in found["x"]  # only in the refused call
    assert not {"float64", "one row", "not square", "negative", "zero", "a list"} & set(found["x"])
    assert {"a float", "below 0", "1"} <= set(found["factor"]) and "an int" not in found["factor"]
    assert found["together"] == ["factor with shift"]

    @exercise.law("both")
    def both(scaled):
        assert_close(scaled(np.ones(2, np.float32), 2.0, 1.0), [3.0, 3.0])

    found = untried(exercise)
    assert "float32" not in found["x"] and "a float" not in found["factor"] and "together" not in found


def test_kinds_of_models_that_no_law_gives_are_named():
    exercise = exercise_of(sum_of_weights, "model")

    @exercise.law("one layer")
    def one_layer(sum_of_weights):
        assert_close(sum_of_weights(Built("linear", weight=((1.0, 2.0), (0.0, 0.0)), training=True)), 3.0)

    (kinds,) = untried(exercise).values()
    assert {"BatchNorm", "Dropout", "float64", "masks", "some parameters frozen"} <= set(kinds)
    assert not {"training mode", "a layer without bias", "a row of zero weights"} & set(kinds)


def test_a_reference_that_breaks_its_own_law_is_told():
    exercise = exercise_of(scaled)

    @exercise.law("always 1")
    def always(scaled):
        assert_close(scaled([2.0]), [1.0])

    with pytest.raises(AssertionError, match="99.1"):
        untried(exercise)
