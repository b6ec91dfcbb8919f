"""A table of coloured numbers, and points of several classes in a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minidl.engine.checks import check_instance, check_int, check_labels, require
from minidl.figures.panels import MAX_PANELS, default_columns, show_values
from minidl.figures.style import (
    LINE_COLOURS,
    MAGNITUDE_MAP,
    SMALL,
    by_title,
    float_array,
    new_figure,
    style,
    text_list,
    text_width,
)

MARKERS = "o^sDvPX"  # each class has its own colour and marker


def heat_map(
    values: np.ndarray,
    rows: Sequence[Any],
    columns: Sequence[Any],
    *,
    xlabel: str = "",
    ylabel: str = "",
    label: str = "",
    title: str = "",
    decimals: int = 2,
) -> Figure:
    """A table (R, C) with its numbers in coloured cells, from the smallest number to the largest.

    rows, columns: R and C names.  label: what the numbers mean, a text at the colour bar. NaN is hatched.

    >>> from minidl import figures
    >>> figure = figures.heat_map([[0.5, 0.25]], ["accuracy"], ["8 bits", "2 bits"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0.50', '0.25']
    """
    table = float_array("values", values, "R", "C", finite=False)
    decimals, title = check_int("decimals", decimals, 0, 20), check_instance("title", title, str)
    has_numbers = not np.isinf(table).any() and not np.isnan(table).all()
    require(has_numbers, "values must be finite numbers or NaN, and not all NaN")
    rows = text_list("rows", rows, table.shape[0], "rows")
    columns = text_list("columns", columns, table.shape[1], "columns")
    texts = [["" if np.isnan(x) else f"{x:.{decimals}f}" for x in row] for row in table]
    cell = max(0.5, *(text_width(text) + 0.25 for text in [*columns, *np.ravel(texts)]))
    low, high = float(np.nanmin(table)), float(np.nanmax(table))
    norm = Normalize(low, high if high > low else low + 1)
    with style():
        width = cell * len(columns) + max(map(text_width, rows)) + 1.8
        figure = new_figure(max(width, text_width(title, 11) + 0.3), 0.42 * len(rows) + 1.2, constrained=True)
        axes = figure.add_subplot()
        show_values(axes, table, norm, MAGNITUDE_MAP)
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0)
        figure.colorbar(ScalarMappable(norm, MAGNITUDE_MAP), ax=axes, label=label)
        for (i, j), x in np.ndenumerate(table):
            colour = "white" if norm(x) < 0.6 else "black"
            axes.text(j, i, texts[i][j], ha="center", va="center", fontsize=SMALL, color=colour)
    return figure


def scatter_by_class(
    clouds: Mapping[str, np.ndarray],
    labels: np.ndarray,
    class_names: Sequence[Any],
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> Figure:
    """Clouds of points side by side, with one colour and one marker for each class.

    clouds: title -> (N, 2).  labels: (N,) classes 0 ... K-1, the same for each cloud.  class_names: K names,
    at most 7.

    >>> from minidl import figures
    >>> features = {"before": [[0, 1], [2, 3]], "after": [[0, 0], [1, 1]]}
    >>> figure = figures.scatter_by_class(features, [0, 1], ["cat", "dog"])
    >>> [axes.get_title() for axes in figure.axes]
    ['before', 'after']
    """
    names = text_list("class_names", class_names, None, "classes")
    is_few = 1 <= len(names) <= len(MARKERS)
    require(is_few, f"class_names must be 1 to {len(MARKERS)} names, got {len(names)}")
    classes, points = check_labels("labels", labels, None, len(names)), {}
    for name, cloud in by_title("clouds", clouds, MAX_PANELS).items():
        points[name] = float_array(f"cloud {name!r}", cloud, len(classes), 2)
    columns = min(default_columns(len(points)), 3)
    rows = -(-len(points) // columns)
    with style():
        figure = new_figure(3.1 * columns + 1.2, 3.2 * rows + 0.2, constrained=True)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid[len(points) :]:
            axes.set_visible(False)
        for axes, (name, cloud) in zip(grid, points.items(), strict=False):
            for k, (marker, colour) in enumerate(zip(MARKERS, LINE_COLOURS, strict=True)):
                x, y = cloud[classes == k].T
                axes.scatter(x, y, s=14, marker=marker, color=colour, alpha=0.7, linewidths=0)
            axes.set(title=name, xlabel=xlabel, ylabel=ylabel, xticks=[], yticks=[])
        handles = grid[0].collections[: len(names)]
        figure.legend(handles, names, loc="outside right upper")
        figure.suptitle(title)
    return figure
