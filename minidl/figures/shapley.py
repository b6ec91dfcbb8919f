"""Shapley values: a waterfall for one prediction, a summary of many predictions, the error of estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from minidl.engine.checks import check_int, check_number, require
from minidl.figures.style import (
    BLACK,
    BLUE,
    LINE_COLOURS,
    MAGNITUDE_MAP,
    SMALL,
    VERMILLION,
    by_title,
    float_array,
    new_figure,
    style,
    text_list,
    text_width,
)


def waterfall(
    values: np.ndarray,
    base_value: float,
    names: Sequence[Any],
    data: np.ndarray | None = None,
    *,
    max_shown: int = 10,
    xlabel: str = "prediction",
    title: str = "",
) -> Figure:
    """Bars from the base value to one prediction. Each bar is a feature.

    A vermillion bar raises the prediction, a blue bar lowers it. The arrow head in a bar shows its direction.

    values: (F,) Shapley values of one row.  base_value: where the bars start, at the bottom.  names: F names.
    data: (F,) the row's numbers, which are beside the names. The largest bar and the prediction are at the
    top. If there are more than ``max_shown`` features, one bar shows the sum of the smallest values.

    >>> from minidl import figures
    >>> figure = figures.waterfall([0.5, -0.2], 0.1, ["age", "height"], data=[30, 1.8])
    >>> [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    ['height = 1.8', 'age = 30']
    """
    values = float_array("values", values, "F")
    names = text_list("names", names, len(values), "features")
    base_value, max_shown = check_number("base_value", base_value), check_int("max_shown", max_shown, 2)
    if data is not None:
        data = float_array("data", data, len(values))
        names = [f"{name} = {number:.4g}" for name, number in zip(names, data, strict=True)]
    order = np.argsort(np.abs(values), kind="stable")  # smallest first, from the bottom
    shown, labels = values[order], [names[i] for i in order]
    if len(values) > max_shown:
        rest = len(values) - max_shown + 1
        shown = np.concatenate([[shown[:rest].sum()], shown[rest:]])
        labels = [f"{rest} others", *labels[rest:]]
    with style():
        width = max(text_width(label) for label in labels)
        figure = new_figure(6.0 + width, 1.4 + 0.36 * len(shown), constrained=True)
        axes = figure.add_subplot()
        _draw_steps(axes, base_value, shown, xlabel)
        axes.set(xlabel=xlabel, title=title, ylim=(-0.6, len(shown) - 0.4))
        axes.set_yticks(range(len(shown)), labels)
        axes.tick_params(axis="y", length=0)
        axes.grid(True, axis="x")
    return figure


def _draw_steps(axes: Axes, base_value: float, shown: np.ndarray, whole: str) -> None:
    """Draw the bars one after the other from the base value, with arrow heads and numbers. Mark both ends."""
    ends = base_value + np.concatenate([[0.0], np.cumsum(shown)])
    rows = np.arange(len(shown))
    axes.barh(rows, shown, left=ends[:-1], height=0.7, color=np.where(shown >= 0, VERMILLION, BLUE).tolist())
    axes.vlines(ends[1:-1], rows[:-1], rows[1:], color="0.4", linewidth=0.8)  # the step to the next bar
    low, high = ends.min(), ends.max()
    room = 0.015 * max(high - low, 1e-12)
    behind = {
        "facecolor": "white",
        "edgecolor": "none",
        "pad": 0.5,
    }  # a white box, so that no line crosses a number
    for row, value in enumerate(shown):
        right = max(ends[row], ends[row + 1])
        axes.text(right + room, row, f"{value:+.3g}", va="center", fontsize=SMALL, bbox=behind)
        if abs(value) > 4 * room:  # a white arrow head at the end of the bar, inside it
            head, sign = (">", 1) if value > 0 else ("<", -1)
            axes.plot(ends[row + 1] - sign * 1.2 * room, row, head, color="white", markersize=7)
    axes.axvline(base_value, color="0.4", linestyle=":", label=f"base value {base_value:.4g}")
    axes.axvline(ends[-1], color=BLACK, linestyle="--", linewidth=1.2, label=f"{whole} {ends[-1]:.4g}")
    axes.set_xlim(low - 6 * room, high + 10 * room)
    axes.figure.legend(loc="outside lower center", ncols=2)


def shap_summary(
    values: np.ndarray,
    data: np.ndarray,
    names: Sequence[Any],
    *,
    max_shown: int = 10,
    xlabel: str = "Shapley value",
    title: str = "",
) -> Figure:
    """A row of points for each feature. Each point is a prediction; its colour is the feature's number.

    values, data: (rows, F).  names: F names. The ``max_shown`` features with the largest mean |value| are
    shown, the largest at the top. The mean is beside the name. The colours of a feature run from its lowest
    number in ``data`` to its highest. So the order of the colours shows whether the effect rises or falls.

    >>> from minidl import figures
    >>> values, data = [[0.5, -0.1], [-0.5, 0.1]], [[30, 1.8], [60, 1.7]]
    >>> figure = figures.shap_summary(values, data, ["age", "height"])
    >>> len(figure.axes)  # the points, and the colour bar
    2
    """
    values = float_array("values", values, "rows", "F")
    names, data = (
        text_list("names", names, values.shape[1], "features"),
        float_array("data", data, *values.shape),
    )
    size = np.abs(values).mean(axis=0)
    order = np.argsort(-size, kind="stable")[: check_int("max_shown", max_shown, 1)]
    reach = np.abs(values).max() or 1.0
    with style():
        width = max(text_width(names[f]) for f in order)
        figure = new_figure(6.5 + width, 1.6 + 0.48 * len(order), constrained=True)
        axes = figure.add_subplot()
        axes.axvline(0, color="0.4", linewidth=0.8)
        for row, f in enumerate(order):
            span = np.ptp(data[:, f])
            colour = (data[:, f] - data[:, f].min()) / span if span > 0 else np.full(len(data), 0.5)
            height = row + 0.36 * _spread(values[:, f], reach)
            points = axes.scatter(values[:, f], height, c=colour, cmap=MAGNITUDE_MAP, vmin=0, vmax=1, s=14)
        axes.set(xlabel=xlabel, title=title, ylim=(len(order) - 0.4, -0.6))
        axes.set_yticks(range(len(order)), [f"{names[f]}\nmean |value| {size[f]:.3g}" for f in order])
        axes.tick_params(axis="y", length=0)
        axes.grid(True, axis="x")
        bar = figure.colorbar(points, ax=axes, ticks=[0, 1], pad=0.02, aspect=30)
        bar.ax.set_yticklabels(["lowest", "highest"])
        bar.set_label("the feature's number", labelpad=-20)
        bar.outline.set_visible(False)
    return figure


def _spread(values: np.ndarray, reach: float) -> np.ndarray:
    """Heights in [-1, 1]: they move points with nearly equal values apart, above and below the line."""
    bins = np.round(values / reach * 40).astype(np.int64)
    heights = np.zeros(len(values))
    largest = np.bincount(bins - bins.min()).max()
    for b in np.unique(bins):
        inside = np.flatnonzero(bins == b)
        step = np.arange(1, len(inside) + 1) // 2
        heights[inside] = np.where(np.arange(len(inside)) % 2, step, -step)
    return heights / max(largest // 2, 4)


def convergence(
    samples: np.ndarray,
    errors: Mapping[str, np.ndarray],
    *,
    intervals: Mapping[str, np.ndarray] | None = None,
    xlabel: str = "samples",
    ylabel: str = "root of the mean squared error",
    title: str = "",
) -> Figure:
    """The error of estimates against the number of samples, on logarithmic axes.

    samples: (K,) increasing.  errors: method -> (runs, K) or (K,), the error of each run. A point is the root
    mean square over the runs. A line shows the best fit C / sqrt(samples), with slope -1/2.
    intervals: method -> (2, K), the low and the high end of each point's interval. The ends are positive.
    xlabel: the unit of samples. The legend says C / sqrt(xlabel).

    >>> from minidl import figures
    >>> figure = figures.convergence([10, 100, 1000], {"random orders": [0.3, 0.1, 0.03]})
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['random orders', 'C / sqrt(samples)']
    """
    samples = float_array("samples", samples, "K")
    increase = len(samples) > 1 and (np.diff(samples, prepend=0.0) > 0).all()
    require(increase, f"samples must be two or more positive numbers that increase, got {samples}")
    errors = by_title("errors", errors, len(LINE_COLOURS))
    errors = {way: _root_mean_square(f"errors of {way}", runs, len(samples)) for way, runs in errors.items()}
    ends = {} if intervals is None else by_title("intervals", intervals, len(LINE_COLOURS))
    require(ends.keys() <= errors.keys(), f"intervals must name methods of {list(errors)}, got {list(ends)}")
    ends = {way: float_array(f"intervals of {way}", both, 2, len(samples)) for way, both in ends.items()}
    require(all((both > 0).all() for both in ends.values()), "intervals must be positive, for a log axis")
    with style():
        figure = new_figure(7.0, 4.2, constrained=True)
        axes = figure.add_subplot()
        for (method, error), colour, marker in zip(errors.items(), LINE_COLOURS, "os^Dv<>", strict=False):
            C = np.exp(np.mean(np.log(error * np.sqrt(samples))))
            axes.plot(samples, error, marker, color=colour, markersize=6, label=method)
            axes.plot(samples, C / np.sqrt(samples), ":", color=colour, linewidth=1.4)
            if method in ends:
                axes.vlines(samples, *ends[method], color=colour, linewidth=1.6)
        axes.plot([], [], ":", color="0.3", linewidth=1.4, label=f"C / sqrt({xlabel})")
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title, xscale="log", yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # 0.5 and not 5 · 10^-1
        axes.yaxis.set_minor_formatter(NullFormatter())
        if samples[-1] < 4 * samples[0]:  # the labels of minor ticks would overlap
            shown = samples if len(samples) <= 3 else samples[[0, -1]]
            axes.set_xticks(shown, [f"{s:g}" for s in shown])
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(True)
        figure.legend(loc="outside right upper")
    return figure


def _root_mean_square(name: str, runs: np.ndarray, count: int) -> np.ndarray:
    runs = np.atleast_2d(float_array(name, runs))
    fits = runs.ndim == 2 and runs.shape[1] == count
    require(fits, f"{name} must have shape (runs, {count}), got {runs.shape}")
    error = np.sqrt(np.mean(runs**2, axis=0))
    require((error > 0).all(), f"{name} must not all be 0, because the axis is logarithmic")
    return error
