"""What figures refuse at their doors: flags that are none, True for 1, titles that are no text."""

import numpy as np
import pytest

from minidl.figures import (
    bars_with_intervals,
    confidence_histogram,
    curves_with_bands,
    distributions,
    heat_map,
    image_grid,
    overlay,
    signed_map,
    waterfall,
)
from minidl.train.intervals import Interval

IMAGES = np.full((2, 4, 4), 0.5)
SEEDS = {"a": np.ones((2, 2))}


@pytest.mark.parametrize("flag", ["False", 1, None, "no"])
@pytest.mark.parametrize(
    "name, call",
    [
        ("scale_each", lambda flag: image_grid(IMAGES, scale_each=flag)),
        ("scale_each", lambda flag: signed_map(IMAGES, scale_each=flag)),
        ("signed", lambda flag: overlay(IMAGES, IMAGES, signed=flag)),
        ("log_x", lambda flag: curves_with_bands([1, 2], SEEDS, log_x=flag)),
        ("log_y", lambda flag: curves_with_bands([1, 2], SEEDS, log_y=flag)),
        ("zoom", lambda flag: bars_with_intervals(["a"], Interval([0.5], [0.4], [0.6], 8), zoom=flag)),
        ("share", lambda flag: bars_with_intervals(["a"], Interval([0.5], [0.4], [0.6], 8), share=flag)),
    ],
)
def test_what_is_neither_true_nor_false_is_no_flag(name, call, flag):
    with pytest.raises(TypeError, match=f"{name} must be True or False"):
        call(flag)


@pytest.mark.parametrize(
    "call",
    [
        lambda: image_grid(IMAGES, columns=True),
        lambda: image_grid(IMAGES, vmax=True),
        lambda: signed_map(IMAGES, vmax=True),
        lambda: confidence_histogram({"a": [0.5]}, bins=True),
        lambda: heat_map([[1.0]], ["a"], ["b"], decimals=True),
        lambda: waterfall([1.0], True, ["a"]),
    ],
)
def test_true_is_not_taken_for_1(call):
    with pytest.raises(TypeError, match="must be (an integer|a number), got True"):
        call()


@pytest.mark.parametrize("text", [None, 3, ["a"], b"a", np.zeros(2)])
@pytest.mark.parametrize(
    "draw",
    [
        lambda title: image_grid(IMAGES, title=title),
        lambda title: overlay(IMAGES, IMAGES, title=title),
        lambda title: heat_map([[1.0]], ["a"], ["b"], title=title),
        lambda title: distributions([[1.0]], ["a"], title=title),
    ],
)
def test_a_title_is_a_text(draw, text):
    with pytest.raises(TypeError, match="title must be a str"):
        draw(text)


@pytest.mark.parametrize("names", [3, np.array(3.0), "ab", {}.keys])
def test_names_that_are_no_list_are_refused(names):
    with pytest.raises(TypeError, match="class_names must be a list of texts"):
        distributions([[0.5, 0.5]], names)
