"""Small matrices with their numbers, before and after a step, with an arrow for the direction of the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minidl.engine.checks import check_array, require
from minidl.figures.style import (
    SIGNED_MAP,
    float_array,
    new_figure,
    style,
    text_height,
    text_list,
    text_width,
    title_height,
)

_CELL, _ARROW, _GAP = 0.44, 0.9, 0.16  # inches
_TEXT = 12  # points
_PALE = 0.55  # opacity of the colour behind the numbers


def matrix_steps(
    names: Sequence[Any],
    left: np.ndarray,
    right: np.ndarray,
    forward: Sequence[bool] | np.ndarray,
    *,
    titles: Sequence[Any] = ("", ""),
    title: str = "",
) -> Figure:
    """One row for each step: its name, the matrix on the left, an arrow, and the matrix on the right.

    names: K names; "\\n" begins a new line.  left, right: (K, h, w), 1 <= h, w <= 8.  forward: K bools; True
    draws the arrow from left to right, False from right to left.  titles: texts above the two columns.
    Blue is below zero, white is zero, red is above; all matrices share one scale.

    >>> from minidl import figures
    >>> before = np.array([[[1, -2], [3, 4]]])
    >>> figure = figures.matrix_steps(["ReLU"], before, np.maximum(before, 0), [True])
    >>> [text.get_text() for text in figure.axes[1].texts]  # the numbers on the right
    ['1', '0', '3', '4']
    """
    first = float_array("left", left, "K", "h", "w")
    second = float_array("right", right, *first.shape)
    count, h, w = first.shape
    require(max(h, w) <= 8, f"matrices must have at most 8 rows and columns, got {h} and {w}")
    names, titles = text_list("names", names, count, "rows"), text_list("titles", titles, 2, "columns")
    forward = check_array("forward", forward, count, kind="bool")
    largest = max(np.abs(first).max(), np.abs(second).max())
    norm = Normalize(-largest if largest > 0 else -1, largest if largest > 0 else 1)

    label = max(text_width(name, _TEXT) for name in names) + 2 * _GAP
    size, row = (w * _CELL, h * _CELL), h * _CELL + 2 * _GAP
    top = title_height(title, _TEXT + 1) + text_height(titles[0] + titles[1], _TEXT) + 2 * _GAP
    width, height = label + 2 * size[0] + _ARROW + _GAP, top + count * row
    starts = (label, label + size[0] + _ARROW)
    with style():
        figure = new_figure(width, height)
        figure.text(0.5, 1 - 0.05 / height, title, ha="center", va="top", fontsize=_TEXT + 1)
        for k in range(count):
            bottom = height - top - (k + 1) * row + 2 * _GAP
            middle = (bottom + size[1] / 2) / height
            figure.text(_GAP / width, middle, names[k], va="center", fontsize=_TEXT, linespacing=1.6)
            for start, matrix, above in zip(starts, (first[k], second[k]), titles, strict=True):
                place = (start / width, bottom / height, size[0] / width, size[1] / height)
                _draw_matrix(figure.add_axes(place), matrix, norm, above if k == 0 else "")
            ends = [label + size[0] + 0.15, starts[1] - 0.15]
            tail, tip = ends if forward[k] else ends[::-1]
            _draw_arrow(figure, tail / width, tip / width, middle)
    return figure


def _draw_matrix(axes: Axes, matrix: np.ndarray, norm: Normalize, title: str) -> None:
    colours = matplotlib.colormaps[SIGNED_MAP](norm(matrix))[..., :3]
    axes.imshow(1 - _PALE * (1 - colours), aspect="auto")
    axes.set_title(title, fontsize=_TEXT, pad=5)
    axes.set(xticks=np.arange(matrix.shape[1] + 1) - 0.5, yticks=np.arange(matrix.shape[0] + 1) - 0.5)
    axes.tick_params(length=0, labelbottom=False, labelleft=False)
    axes.grid(True, color="0.4", linewidth=0.8)
    axes.spines[:].set(visible=True, color="0.2", linewidth=1.2)
    for (i, j), value in np.ndenumerate(matrix):
        text = f"{value + 0.0:.3g}".replace("-", "\N{MINUS SIGN}")
        axes.text(j, i, text, ha="center", va="center", fontsize=_TEXT)


def _draw_arrow(figure: Figure, tail: float, tip: float, y: float) -> None:
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    look = {"arrowstyle": "-|>", "mutation_scale": 18, "linewidth": 1.8, "color": "0.2"}
    axes.annotate("", xy=(tip, y), xytext=(tail, y), arrowprops=look)
