"""Arguments of the wrong kind or range: each is refused by its name."""

from pathlib import Path

import numpy as np
import pytest

from minidl.classroom import compare, strategies, stubs
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise
from minidl.engine.reduce import stable_softmax

BAD = [None, "text", b"x", -1, float("nan"), [], [[1], [1, 2]], {}, np.zeros((2, 2)), len, 1j, object()]
SOFTMAX = {"number": "98.1", "target": stable_softmax, "points": 1, "hints": ("a",)}


def exercise():
    made = Exercise(**SOFTMAX)

    @made.law("a worked example")
    def worked(softmax):
        compare.assert_close(softmax(np.zeros(2)), 0.5)

    return made


def draw(strategy):
    strategy.validate()
    return strategy


CALLS = {
    "rtol": lambda bad: compare.assert_close(1.0, 1.0, rtol=bad),
    "atol": lambda bad: compare.assert_close(1.0, 1.0, atol=bad),
    "min_dims": lambda bad: draw(strategies.shapes(min_dims=bad)),
    "max_side": lambda bad: draw(strategies.shapes(max_side=bad)),
    "max_rows": lambda bad: draw(strategies.logits(max_rows=bad)),
    "classes": lambda bad: draw(strategies.labels(2, bad)),
    "points": lambda bad: Exercise(**{**SOFTMAX, "points": bad}),
    "level": lambda bad: Exercise(**{**SOFTMAX, "level": bad}),
    "title": lambda bad: Exercise(**{**SOFTMAX, "title": "\n\n" if isinstance(bad, str) else bad}),
    "minutes": lambda bad: Exercise(**{**SOFTMAX, "minutes": bad}),
    "hints": lambda bad: Exercise(**{**SOFTMAX, "hints": bad}),
    "kind": lambda bad: Exercise(**SOFTMAX, kind=bad),
}
KINDS_ONLY = {
    "folder": Course,
    "package": lambda bad: Course(Path(), bad),
    "number": lambda bad: Exercise(**{**SOFTMAX, "number": bad}),
}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: type(bad).__name__ + repr(bad)[:6])
@pytest.mark.parametrize("name", CALLS)
def test_a_bad_value_is_refused_by_the_arguments_name(name, bad):
    with pytest.raises((TypeError, ValueError), match=name):
        CALLS[name](bad)


@pytest.mark.parametrize("bad", [None, "text", b"x", float("nan"), float("inf"), [], 1j], ids=repr)
def test_a_bound_must_be_a_finite_number(bad):
    with pytest.raises((TypeError, ValueError), match="low"):
        draw(strategies.quarters(low=bad))


@pytest.mark.parametrize("bad", [None, -1, [], np.zeros(2), len], ids=repr)
@pytest.mark.parametrize("name", KINDS_ONLY)
def test_text_and_paths_are_nothing_else(name, bad):
    with pytest.raises(TypeError, match=name):
        KINDS_ONLY[name](bad)


@pytest.mark.parametrize("bad", [None, 3, "stable_softmax", np.zeros(2), int, len], ids=repr)
@pytest.mark.parametrize("function", [stubs.source, stubs.stub, stubs.imports])
def test_what_has_no_source_is_refused(function, bad):
    with pytest.raises((TypeError, ValueError), match="target"):
        function(bad)


@pytest.mark.parametrize("bad", [None, 3, b"x", np.zeros((2, 2))], ids=repr)
def test_a_law_is_named_by_text(bad):
    for call in (exercise().law, exercise().find_law, lambda text: exercise().try_law(text, stable_softmax)):
        with pytest.raises(TypeError, match="text must be a str"):
            call(bad)


def test_what_numpy_does_not_know_as_a_dtype_is_refused():
    for bad in (True, "text", -1, object(), len):
        with pytest.raises(TypeError, match="dtype must be a dtype of NumPy"):
            compare.assert_dtype(np.zeros(2), bad)
