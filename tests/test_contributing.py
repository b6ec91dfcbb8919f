"""The worked examples of CONTRIBUTING.md compute what they say and refuse what they must."""

import re
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minidl.compress.scores as scores
import minidl.engine.activations as ops
import minidl.figures.curves as curves
import minidl.figures.style as looks
import minidl.nn.activations as activations
from minidl import nn
from minidl.engine.gradcheck import gradcheck

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)]


def defined(start, *modules, **names):
    """What the one block that starts so defines, among the names of these modules."""
    (block,) = (block for block in BLOCKS if block.startswith(start))
    known = {name: value for module in modules for name, value in vars(module).items()} | names
    exec("from __future__ import annotations\n" + block, known)
    return known[re.search(r"(?:class|def) (\w+)", start)[1]]


def test_the_operation_its_function_and_its_layer():
    Tanhshrink = defined("class Tanhshrink(Op)", ops)
    own = SimpleNamespace(**vars(ops), Tanhshrink=Tanhshrink)
    tanhshrink = defined("def tanhshrink", activations, activations=own)
    assert gradcheck(tanhshrink, np.array([-2.0, -0.5, 0.0, 1.0, 3.0]))
    layer = defined("class Tanhshrink(Module)", activations, tanhshrink=tanhshrink)()
    assert layer([1.0, -np.inf]).data == pytest.approx([1 - 0.76159416, -np.inf])


def test_the_pruning_score():
    filter_peaks = defined("def filter_peaks", scores)
    weight = np.array([[[-128, 1]], [[5, -6]]], np.int8)
    assert filter_peaks(weight).tolist() == [128.0, 6.0] and filter_peaks(weight).dtype == np.float64
    assert filter_peaks(nn.Conv2d(2, 3, 1)).shape == (3,)
    for bad in (nn.ReLU(), "weight", np.float64(-1.0), np.ones(3), np.full((2, 2), np.nan)):
        with pytest.raises((TypeError, ValueError), match="conv must be"):
            filter_peaks(bad)


def test_the_figure():
    dots = defined("def dots", curves, looks)
    assert dots([1.0, 2.0], title="two").axes[0].lines[0].get_ydata().tolist() == [1, 2]
    for bad in ({"values": [np.nan]}, {"values": [[1.0]]}, {"values": [1.0], "title": 3}):
        with pytest.raises((TypeError, ValueError), match="must"):
            dots(**bad)
