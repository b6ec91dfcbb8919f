"""The vocabulary of checks: what each word takes, what it gives back, and what it says."""

from pathlib import Path

import numpy as np
import pytest

from minidl import nn
from minidl.engine import checks


def of_two(parameters, *more, lr, decay=0.0):
    return parameters


RELU = nn.ReLU()


class WithoutText:
    def __repr__(self):
        raise RuntimeError("no text")


ACCEPTED = [
    (checks.check_flag, (True,), {}, True),
    (checks.check_choice, ("max", ("max", "mse")), {}, "max"),
    (checks.check_int, (3, 1, 5), {}, 3),
    (checks.check_pair, ([1, 2],), {}, (1, 2)),
    (checks.int_pair, (3, 1), {}, (3, 3)),
    (checks.int_pair, ([1, np.int64(2)], 0), {}, (1, 2)),
    (checks.check_ints, (3,), {}, (3,)),
    (checks.check_ints, (3, 0), {"count": 4}, (3, 3, 3, 3)),
    (checks.check_ints, (np.array([1, 2]), 1, 2), {"count": 2}, (1, 2)),
    (checks.check_ints, ([np.int64(0)], 0), {}, (0,)),
    (checks.check_ints, ((),), {"empty": True}, ()),
    (checks.positive_number, (1, 1), {}, 1.0),
    (checks.check_path, ("a/b",), {}, Path("a/b")),
    (checks.check_sequence, ([1, 2],), {}, [1, 2]),
    (checks.check_function, (max,), {}, max),
    (checks.check_function, (max, "x and y"), {}, max),  # Python knows no signature of max
    (checks.check_function, (RELU, "x"), {}, RELU),
    (checks.check_function, (None, "the step"), {"optional": True}, None),
    (checks.check_function, (of_two, "parameters and lr=lr"), {}, of_two),
    (checks.check_number, (-(10**400),), {"finite": False}, -float("inf")),
    (checks.check_bounds, ((0, float("inf")),), {}, (0.0, float("inf"))),
]

REFUSED = [
    (checks.check_flag, ("False",), {}, TypeError, "True or False"),
    (checks.check_flag, (1,), {}, TypeError, "True or False"),
    (checks.check_choice, ("kl", ("max", "mse")), {}, ValueError, "'max', 'mse'"),
    (checks.check_choice, (True, (1, 2)), {}, ValueError, "1, 2"),
    (checks.check_int, (6, 1, 5), {}, ValueError, r"within \[1, 5\]"),
    (checks.check_int, (True, 0), {}, TypeError, "an integer"),
    (checks.check_instance, (3, str), {}, TypeError, "a str, got 3"),
    (checks.check_instance, (3, (int.__class__, str)), {}, TypeError, "type or str"),
    (checks.check_function, (3, "the step"), {}, TypeError, "a function of the step"),
    (checks.check_function, (len, "(grad, x)"), {}, TypeError, r"of \(grad, x\), got len\(obj\): too many"),
    (checks.check_function, (lambda x: x, "x, y and rng"), {}, TypeError, r"x, y and rng, got <lambda>\(x\)"),
    (checks.check_function, (lambda x, y: x, "the step"), {}, TypeError, "missing a required argument: 'y'"),
    (checks.check_function, (lambda p, rate: p, "p and lr=lr"), {}, TypeError, "missing a required argument"),
    (
        checks.check_function,
        (nn.ReLU(), "x and y"),
        {},
        TypeError,
        r"of x and y, got ReLU\(\)\(x\): too many",
    ),
    (checks.check_path, ("a\0b",), {}, ValueError, r"a path, got 'a\\x00b'"),
    (checks.check_path, ("\ud800",), {}, ValueError, r"a path, got '\\ud800'"),
    (checks.check_int, (10**5000, 0, 9), {}, ValueError, r"within \[0, 9\], got a value of type int"),
    (checks.check_flag, (WithoutText(),), {}, TypeError, "True or False, got a value of type WithoutText"),
    (checks.check_array, ([[1], [1, 2]],), {}, ValueError, "different lengths"),
    (checks.check_array, (["a"],), {}, TypeError, "real numbers"),
    (checks.check_array, ([1.5],), {"kind": "integer"}, TypeError, "integers"),
    (checks.check_array, ([[1.0]], "N"), {}, ValueError, r"\(N,\), got \(1, 1\)"),
    (checks.check_array, ([[1.0, 2.0]], "N", "N"), {}, ValueError, r"\(N, N\)"),
    (checks.check_array, ([1.0], "...", "H", "W"), {}, ValueError, r"\(\.\.\., H, W\)"),
    (checks.check_array, ([],), {}, ValueError, "not be empty"),
    (checks.check_array, ([np.inf],), {}, ValueError, "finite, got inf"),
    (checks.check_array, ([np.inf, np.nan],), {"finite": False, "nan": False}, ValueError, "hold NaN"),
    (checks.check_array, ([0.0, 2.0],), {"low": 0, "high": 1}, ValueError, r"within \[0, 1\], got 2"),
    (checks.check_labels, ([0, 3], 2, 3), {}, ValueError, r"0 \.\.\. 2, got 3"),
    (checks.check_labels, ([0, -1],), {}, ValueError, "got -1"),
    (checks.check_labels, ([],), {}, ValueError, r"must not be empty, got shape \(0,\)"),
    (checks.check_labels, ([0, 1], 3, 2), {}, ValueError, r"\(3,\)"),
    (checks.check_labels, (np.array([2**63], np.uint64),), {}, ValueError, "got 9223372036854775808"),
    (checks.check_images, ([1.0],), {}, ValueError, r"\(N, C, H, W\)"),
    (checks.float_images, ([[1, 2]],), {}, TypeError, "divide pixels 0 ... 255 by 255"),
    (checks.float_images, (1.0,), {}, ValueError, "one number"),
    (checks.check_pair, ((1, 2, 3),), {}, TypeError, "a pair"),
    (checks.check_ints, (True,), {}, TypeError, "each of threshold must be an integer, got True"),
    (checks.check_ints, (1.5,), {}, TypeError, "a tuple or list, got 1.5"),
    (checks.check_ints, ((),), {}, ValueError, "threshold must not be empty"),
    (checks.check_ints, ((), 0), {"count": 2, "empty": True}, ValueError, "threshold must be 2 integers"),
    (checks.check_ints, ((1, 2, 3), 0), {"count": 2}, ValueError, r"2 integers, .* got \(1, 2, 3\)"),
    (checks.check_ints, ((1, 9), 1, 3), {}, ValueError, r"each of threshold must be within \[1, 3\], got 9"),
    (checks.check_ints, ((1, 2**31),), {}, ValueError, "each of threshold must be below 2"),
    (checks.positive_number, (0.0,), {}, ValueError, "above 0, got 0.0"),
    (checks.positive_number, (1.5, 1), {}, ValueError, "above 0 and at most 1, got 1.5"),
    (checks.positive_number, (np.inf,), {}, ValueError, "finite, got inf"),
    (checks.check_path, ("",), {}, ValueError, "a path, got ''"),
    (checks.check_path, ("a\0b",), {}, ValueError, "a path"),
    (checks.check_path, (3,), {}, TypeError, "a str or PathLike, got 3"),
    (checks.array_pair, (([1], [1, 2]),), {}, ValueError, r"same length and .* \(1,\) and \(2,\)"),
    (checks.array_pair, (([], []),), {}, ValueError, "not be empty"),
    (checks.array_pair, (([[1], [1, 2]], [1, 2]),), {}, ValueError, "different lengths"),
    (checks.array_pair, ((["a"], [1]),), {}, TypeError, "numbers, got <U1"),
    (checks.array_pair, (1,), {}, TypeError, r"a pair \(images, labels\), got 1"),
    (checks.int_pair, (True, 1), {}, TypeError, "an integer or a pair of integers, got True"),
    (checks.int_pair, ((1, 2, 3), 1), {}, TypeError, "a pair of integers"),
    (checks.int_pair, ((0, 1), 1), {}, ValueError, "at least 1"),
    (checks.check_sequence, (3,), {}, TypeError, "a tuple or list, got 3"),
    (checks.check_number, (10**400,), {}, ValueError, "must be finite"),
    (checks.check_number, (3, -np.inf, 2), {}, ValueError, "at most 2"),
    (checks.positive_int, (2**31,), {}, ValueError, "below"),
    (checks.check_bounds, ((1, 0),), {}, ValueError, "low < high"),
]


@pytest.mark.parametrize(("check", "arguments", "options", "value"), ACCEPTED)
def test_a_check_returns_the_value_it_took(check, arguments, options, value):
    assert check("x", *arguments, **options) == value


@pytest.mark.parametrize(("check", "arguments", "options", "error", "message"), REFUSED)
def test_a_check_names_the_argument_and_what_it_expected(check, arguments, options, error, message):
    with pytest.raises(error, match=message) as caught:
        check("threshold", *arguments, **options)
    assert "threshold" in str(caught.value)


def test_an_array_that_fits_comes_back_unchanged():
    array = np.ones((2, 3, 4))
    assert checks.check_array("x", array, "...", "H", 4) is array
    assert checks.check_array("x", array, "N", "C", None, low=0) is array
    assert checks.check_array("x", [np.inf, 1], finite=False, nan=False)[0] == np.inf


def test_lengths_that_differ_are_listed():
    assert checks.check_same_length(images=[1, 2], labels=[3, 4]) == 2
    with pytest.raises(ValueError, match="images 2, labels 1"):
        checks.check_same_length(images=[1, 2], labels=[3])


def test_a_condition_that_does_not_hold_raises_its_message():
    checks.require(True, "unused")
    with pytest.raises(KeyError, match="no layer"):
        checks.require(False, "no layer", KeyError)
