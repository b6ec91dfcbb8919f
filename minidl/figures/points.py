"""Numbers in a table of colours, and points of several classes in a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minidl.figures.panels import default_columns, show_values
from minidl.figures.style import (
    LINE_COLOURS,
    MAGNITUDE_MAP,
    SMALL,
    new_figure,
    number_array,
    style,
    text_list,
    text_width,
)

MARKERS = "o^sDvPX"  # with the colours: a class is told by both


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

    rows, columns: their R and C names.  label: what the numbers are, at the colour bar. NaN is hatched.
    """
    table = number_array(values, "values")
    if table.ndim != 2 or table.size == 0 or np.isinf(table).any() or np.isnan(table).all():
        raise ValueError(f"values must be a table (R, C) of finite numbers or NaN, got {table.shape}")
    rows = text_list(rows, table.shape[0], "rows", "rows")
    columns = text_list(columns, table.shape[1], "columns", "columns")
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
    """Clouds of points side by side, title -> (N, 2), with one colour and marker for each class.

    labels: (N,) classes 0 ... K-1, the same for each cloud.  class_names: K of them, at most 7.
    """
    classes = np.asarray(labels)
    if not isinstance(clouds, Mapping) or not clouds:
        raise TypeError(f"clouds must be a dict of title: points, not empty, got {type(clouds).__name__}")
    names = text_list(class_names, len(class_names), "class_names", "classes")
    if not 1 <= len(names) <= len(MARKERS):
        raise ValueError(f"between 1 and {len(MARKERS)} classes can be told apart, got {len(names)}")
    if classes.ndim != 1 or classes.dtype.kind not in "iu" or len(classes) == 0:
        raise ValueError(f"labels must be integers (N,), not empty, got {classes.dtype} {classes.shape}")
    if classes.min() < 0 or classes.max() >= len(names):
        raise ValueError(f"labels must be 0 ... {len(names) - 1}, got {classes.min()} ... {classes.max()}")
    points = {name: _checked_points(cloud, name, len(classes)) for name, cloud in clouds.items()}
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


def _checked_points(cloud: np.ndarray, name: str, count: int) -> np.ndarray:
    points = number_array(cloud, f"cloud {name!r}")
    if points.shape != (count, 2) or not np.isfinite(points).all():
        raise ValueError(f"cloud {name!r} must be finite points ({count}, 2), got {points.shape}")
    return points
