"""The confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from minidl.figures.panels import show_values
from minidl.figures.style import MAGNITUDE_MAP, SMALL, float_array, new_figure, style, text_list, text_width

MAX_CLASSES_WITH_NUMBERS = 30


def confusion_picture(matrix: np.ndarray, class_names: Sequence[Any], *, title: str = "") -> Figure:
    """Rows are true classes, columns are predicted classes; the colour is the fraction of the row.

    matrix: (K, K), finite and >= 0: counts of examples, or fractions. The cells show the numbers, but no
    zeros. With more than 30 classes, the cells show no numbers. The colours follow the square root of the
    fraction, so that an error of 1% is visible. The row of a class without examples is hatched.

    >>> from minidl import figures
    >>> figure = figures.confusion_picture([[8, 2], [1, 9]], ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['8', '2', '1', '9']
    """
    counts = float_array("matrix", matrix, "K", "K", low=0)
    names = text_list("class_names", class_names, len(counts), "classes")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, counts / np.where(totals > 0, totals, 1), np.nan)
    texts = _cell_texts(counts)
    cell = max(0.5, max(map(text_width, texts.flat)) + 0.12)
    label_width = max(map(text_width, names))
    with style():
        side = cell * len(names) + label_width
        figure = new_figure(side + 1.6, side + 0.9, constrained=True)
        axes = figure.add_subplot()
        norm = PowerNorm(0.5, 0, 1)
        show_values(axes, shares, norm, MAGNITUDE_MAP)
        axes.set_aspect("equal")
        axes.set(xlabel="predicted class", ylabel="true class", title=title)
        axes.set_xticks(range(len(names)), names, rotation=90 if label_width > 0.9 * cell else 0)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        figure.colorbar(
            ScalarMappable(norm, MAGNITUDE_MAP), ax=axes, label="share of the true class\n(square root scale)"
        )
        _write_cells(axes, texts, shares)
        if np.any(totals == 0):
            figure.supxlabel("hatched: a class without examples", fontsize=SMALL)
    return figure


def _cell_texts(counts: np.ndarray) -> np.ndarray:
    """The numbers as strings (K, K): whole numbers without decimals, others with two."""
    decimals = 0 if np.array_equal(counts, np.round(counts)) else 2
    shown = (counts > 0) & (len(counts) <= MAX_CLASSES_WITH_NUMBERS)
    texts = np.full(counts.shape, "", dtype=object)
    for cell in zip(*np.nonzero(shown), strict=True):
        texts[cell] = f"{counts[cell]:.{decimals}f}"
    return texts


def _write_cells(axes: Axes, texts: np.ndarray, shares: np.ndarray) -> None:
    for row, column in zip(*np.nonzero(texts), strict=True):
        colour = "white" if np.sqrt(shares[row, column]) < 0.435 else "black"  # the better contrast
        axes.text(column, row, texts[row, column], ha="center", va="center", fontsize=SMALL, color=colour)
