"""Claims: printed always, raised only when asked to be strict."""

import numpy as np
import pytest

from minidl.classroom.claims import ClaimError, claim
from minidl.train.intervals import t_interval


def test_a_claim_that_holds_is_printed_with_its_numbers(capsys):
    claim("more is better", True, "3 > 2")
    assert capsys.readouterr().out == "HOLDS                more is better   3 > 2\n"


def test_numbers_are_optional(capsys):
    claim("it works", np.True_)
    assert capsys.readouterr().out == "HOLDS                it works\n"


@pytest.mark.parametrize("value", ["", "0"])
def test_a_claim_that_fails_is_said_and_the_lesson_goes_on(capsys, monkeypatch, value):
    monkeypatch.setenv("MINIDL_STRICT", value)
    claim("more is better", np.bool_(2 > 3), {"accuracy": 0.123456, "n": 8})
    assert capsys.readouterr().out == "DOES NOT HOLD HERE   more is better   accuracy = 0.1235, n = 8\n"


def test_a_claim_that_fails_raises_when_strict_and_is_printed_first(capsys, monkeypatch):
    monkeypatch.setenv("MINIDL_STRICT", "1")
    with pytest.raises(ClaimError, match="DOES NOT HOLD HERE   more is better   2 < 3"):
        claim("more is better", False, "2 < 3")
    assert "DOES NOT HOLD HERE" in capsys.readouterr().out


@pytest.mark.parametrize("condition", [1, 0.5, None, "yes", np.array(True), np.ones(2) > 0])
def test_a_condition_that_is_no_bool_is_refused(condition):
    with pytest.raises(TypeError, match="condition must be True or False, got"):
        claim("sure", condition)


def test_numbers_of_every_kind_are_legible(capsys):
    gain = t_interval([0.05, 0.07, 0.09])
    numbers = {"gain": gain, "x": np.float32(1) / 3, "y": np.array([0.25, 1.0]), "z": (1, 0.5), "name": "T"}
    claim("all", True, numbers)
    assert capsys.readouterr().out.split("   ")[-1] == (
        "gain = 0.070 ± 0.050 (n = 3), x = 0.3333, y = [0.25, 1. ], z = (1, 0.5), name = T\n"
    )


def test_numbers_are_text_or_a_dict():
    with pytest.raises(TypeError, match="numbers must be a str or dict, got 0.5"):
        claim("sure", True, 0.5)


def test_a_claim_is_text():
    with pytest.raises(TypeError, match="text must be a str, got None"):
        claim(None, True)
