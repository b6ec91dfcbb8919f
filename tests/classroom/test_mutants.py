"""That the search for mutants finds what the laws let pass. All exercises:  python -m tests.mutants"""

import numpy as np
import pytest

from lessons.exercises import find
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.engine import elementwise
from minidl.engine.recording import no_grad
from minidl.engine.tensor import Tensor
from tests.equivalent_mutants import EQUIVALENT
from tests.mutants import compiled, examine, mutants_of


def every_kind(a: int | str, b=0.5, *rest, keepdims: bool = True):
    """Not + this."""
    if a < 1 and b is not None:  # nor - this
        raise ValueError(f"a + b must not be {a + 1}")
    a += -len(rest)
    return [a // (b) * 2, keepdims]


def countdown(n):
    """How many steps of 1 lead from n to 0."""
    steps = 0
    while n > 0:
        n -= 1
        steps += 1
    return steps


def sum_below(n):
    """1 + 2 + ... + n"""
    return n + sum_below(n - 1) if n else 0


def exercise_of(target):
    return Exercise("99.1", target, points=1, hints=("a",))


def test_each_operator_comparison_number_and_truth_value_of_the_code_is_changed_and_nothing_else():
    found = [(mutant.number, mutant.line) for mutant in mutants_of(exercise_of(every_kind))]
    signature = "def every_kind(a: int | str, b={}, *rest, keepdims: bool = {}):"
    wanted = [(1, signature.format(*values)) for values in (("-0.5", "True"), ("0.0", "True"))]
    wanted += [(1, signature.format(*values)) for values in (("1.5", "True"), ("0.5", "False"))]
    wanted += [
        (3, f"if a {comparison} {number} {connective} b {identity} None:")
        for comparison, number, connective, identity in [
            ("<=", 1, "and", "is not"),
            (">=", 1, "and", "is not"),
            ("<", 0, "and", "is not"),
            ("<", 2, "and", "is not"),
            ("<", 1, "or", "is not"),
            ("<", 1, "and", "is"),
        ]
    ]
    wanted += [(5, "a -= -len(rest)"), (5, "a += len(rest)")]
    wanted += [(6, f"return [a {quotient} (b) * 2, keepdims]") for quotient in ("*", "/")]
    wanted += [(6, f"return [a // (b) {end}, keepdims]") for end in ("/ 2", "* 0", "* 1", "* 3")]
    assert sorted(found) == sorted(wanted)


def test_a_mutant_calls_itself_and_not_the_reference():
    exercise = exercise_of(sum_below)
    (mutant,) = (m for m in mutants_of(exercise) if m.line.startswith("return n - sum_below(n - 1)"))
    assert compiled(mutant.text, exercise)(3) == 3 - (2 - (1 - 0))
    assert sum_below(3) == 6


def test_a_law_that_asks_too_little_leaves_survivors_that_are_named():
    weak = exercise_of(elementwise.backprop_rule)

    @weak.law("at 1 all passes and at -1 nothing")
    def both_sides(backprop_rule):
        assert_close(backprop_rule(1.0, 1.0), 1.0)
        assert_close(backprop_rule(1.0, -1.0), 0.0)

    report = examine(weak, listed=[])
    survivors = ["return np.where(x >= 0, grad, 0)", "return np.where(x > -1, grad, 0)"]
    assert [m.line for m in report.missed] == survivors
    assert report.counted == 6
    assert "6 mutants    4 caught" in str(report)
    assert "not caught, line 7: return np.where(x >= 0, grad, 0)" in str(report)


def test_the_laws_of_15_1_catch_all_its_mutants():
    report = examine(find("15.1"), listed=[])
    assert (report.counted, report.survivors) == (6, [])


def test_what_need_not_be_caught_does_not_count():
    (lines,) = EQUIVALENT["15.2"].values()
    report = examine(find("15.2"), listed=lines)
    assert [mutant.line for mutant in report.survivors] == lines
    assert (report.counted, report.missed, report.wrongly_listed) == (5, [], [])


def test_a_listed_line_that_is_caught_or_no_mutant_is_an_error():
    listed = ["return np.where(x < 0, grad, 0)", "return grad + 1"]
    report = examine(find("15.1"), listed)
    assert report.wrongly_listed == listed
    assert "listed, but caught or no mutant: return grad + 1" in str(report)


def test_a_mutant_that_does_not_end_is_caught():
    exercise = exercise_of(countdown)

    @exercise.law("3, 2, 1 are three steps, and 0 none")
    def worked(countdown):
        assert_equal(countdown(3), 3)
        assert_equal(countdown(0), 0)

    report = examine(exercise, listed=[], seconds=0.2)
    assert "n += 1" in [mutant.line for mutant in report.mutants]
    assert [mutant.line for mutant in report.missed] == []


def test_a_reference_that_breaks_a_law_is_an_error():
    exercise = exercise_of(countdown)

    @exercise.law("there are no steps")
    def worked(countdown):
        assert_equal(countdown(1), 0)

    with pytest.raises(
        AssertionError, match="99.1: the reference itself breaks the law 'there are no steps'"
    ):
        examine(exercise, listed=[])


def test_an_error_of_the_law_itself_is_raised():
    exercise = exercise_of(countdown)

    @exercise.law("a law with a slip")
    def worked(countdown):
        raise KeyError("slip")

    with pytest.raises(KeyError, match="slip"):
        examine(exercise, listed=[])


def test_every_listed_line_is_a_mutant_of_its_exercise():
    for number, reasons in EQUIVALENT.items():
        lines = {line for listed in reasons.values() for line in listed}
        assert lines <= {mutant.line for mutant in mutants_of(find(number))}, number


def scaled_logits(model, images, factor=2):
    """factor times the model's logits, an array."""
    with no_grad():
        return factor * model(Tensor(images)).data


def test_mutants_of_an_exercise_on_a_model_are_tried_on_built_models():
    exercise = Exercise("99.1", scaled_logits, kind="model", points=1, hints=("a",))
    model = Built("small_cnn", seed=1, num_classes=3, widths=(4,), pool_after=())
    images = np.linspace(-1, 1, 64).reshape(1, 1, 8, 8)

    @exercise.law("a factor of 4 gives four times the logits")
    def four_times(scaled):
        assert_close(scaled(model, images, factor=4), 4 * model.build()(images).data)

    report = examine(exercise, [])
    assert [mutant.line for mutant in report.missed] == [
        f"def scaled_logits(model, images, factor={other}):" for other in (0, 1, 3)
    ]
    assert report.counted == 4  # the law catches / for *

    @exercise.law("the factor is 2 unless it is given")
    def default(scaled):
        assert_close(scaled(model, images), scaled(model, images, factor=2))

    assert examine(exercise, []).missed == []
