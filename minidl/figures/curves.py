"""Numbers with their uncertainty: curves over seeds, and bars with intervals."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from minidl.engine.checks import check_flag, check_instance, check_sequence, require
from minidl.figures.style import (
    BLACK,
    BLUE,
    MAX_CURVES,
    SKY_BLUE,
    SMALL,
    Look,
    by_title,
    float_array,
    new_figure,
    style,
    text_list,
    text_width,
)
from minidl.train.intervals import Interval

MARKERS = "os^DvPX"


def curves_with_bands(
    x: np.ndarray,
    curves: Mapping[str, np.ndarray],
    *,
    xlabel: str = "step",
    ylabel: str = "",
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
) -> Figure:
    """The mean of each curve over seeds, with a band: Student's 95% interval of the mean.

        mean ± t · s / sqrt(seeds)   for each step separately (train.intervals.t_interval)

    x: (steps,), increasing.  curves: label -> (seeds, steps). A single seed, (1, steps) or (steps,), has no
    band. If a seed's value is not finite, the curve has a gap there, and the figure says so.
    log_x, log_y: logarithmic axes, for positive values. A band that reaches zero leaves the picture.
    With up to 8 values of x, a logarithmic axis has its ticks at these values. A single run
    that is constant is drawn as a dashed line without points.
    Raises ValueError for shapes that do not match and for more than 14 curves.

    >>> from minidl import figures
    >>> losses = [[0.9, 0.5, 0.3], [1.0, 0.6, 0.2]]  # of two seeds
    >>> figure = figures.curves_with_bands([1, 2, 3], {"Adam": losses}, ylabel="loss")
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['Adam (n = 2)']
    """
    x, log_x, log_y = float_array("x", x, "steps"), check_flag("log_x", log_x), check_flag("log_y", log_y)
    require((np.diff(x) > 0).all(), "x must be increasing")
    require(x[0] > 0 or not log_x, f"a logarithmic x axis needs x > 0, got {x[0]:g}")
    runs = {}
    for label, values in by_title("curves", curves, MAX_CURVES).items():
        runs[label] = _runs_of(f"curve {label!r}", values, len(x), log_y)
    with style():
        figure = new_figure(7.5, 4.0, constrained=True)
        axes = figure.add_subplot()
        has_bands = any(len(values) > 1 for values in runs.values())
        gaps = []
        for (label, values), marker in zip(runs.items(), itertools.cycle(MARKERS)):
            label = f"{label} (n = {len(values)})" if has_bands else label
            gaps.append(_draw_curve(axes, x, label, values, marker))
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axes.set(xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
        if log_x and len(x) <= 8:  # there are few values: ticks at the values, not at powers of ten
            axes.set_xticks(x, [f"{value:g}" for value in x])
            axes.set_xticks([], minor=True)
        elif not log_x and (x == np.round(x)).all():  # such as epochs: ticks are whole numbers
            axes.locator_params("x", integer=True)
        if log_y:  # powers of ten alone are too coarse
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(True)
        what = "mean over n seeds,\n95% t-interval" if has_bands else None
        figure.legend(loc="outside right upper", title=what, alignment="left")
        if any(gaps):
            figure.supxlabel("\n".join(gap for gap in gaps if gap), fontsize=SMALL)
    return figure


def _draw_curve(axes: Axes, x: np.ndarray, label: str, values: np.ndarray, marker: str) -> str:
    """Draw one curve. Returns the note on its gaps, or ""."""
    finite = np.isfinite(values).all(axis=0)
    mean, low, high = (np.full(len(x), np.nan) for _ in range(3))
    mean[finite] = values[:, finite].mean(axis=0)
    # Each curve has its own marker, to tell curves apart without colours. With few points, each point gets a
    # marker, so that a point between two gaps is visible. With many points, about ten points get a marker.
    every = 1 if finite.sum() <= 20 else len(x) // 10
    look: Look = {"marker": marker, "markersize": 4, "markevery": every}
    if len(values) == 1 and finite.all() and len(x) > 1 and np.ptp(mean) == 0:
        look = {"linestyle": "--"}
    (line,) = axes.plot(x, mean, label=label, **look)
    if len(values) > 1:
        low[finite], high[finite] = _band(values[:, finite])
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    return "" if finite.all() else f"gap: {label} is not finite at {(~finite).sum()} of {len(x)} points"


def _band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from minidl.train.intervals import t_interval

    intervals = [t_interval(values[:, step]) for step in range(values.shape[1])]
    return np.array([one.low for one in intervals]), np.array([one.high for one in intervals])


def _runs_of(name: str, values: np.ndarray, steps: int, log_y: bool) -> np.ndarray:
    """The runs of a curve, (seeds, steps)."""
    runs = np.atleast_2d(float_array(name, values, finite=False))
    fits = runs.ndim == 2 and runs.shape[1] == steps
    require(fits, f"{name} must have shape (seeds, {steps}) to fit x, got {runs.shape}")
    lowest = np.nanmin(runs, initial=np.inf)
    require(lowest > 0 or not log_y, f"a logarithmic y axis needs values > 0, but {name} has {lowest:g}")
    return runs


def bars_with_intervals(
    labels: Sequence[str],
    intervals: Interval | Sequence[Interval],
    *,
    xlabel: str = "",
    title: str = "",
    zoom: bool = False,
    share: bool = False,
) -> Figure:
    """A horizontal bar for each label, with its interval as a line, and with the mean as a number.

    labels: K labels.  intervals: K intervals, or one interval of arrays (K,), with low <= mean <= high.
    A NaN mean (a class without examples) has no bar, only its interval.
    zoom: fit the axis to the intervals, to compare accuracies near 1. Then points replace the bars, because
    the length of a bar would mislead.
    share: the values are fractions. Intervals are cut off at 0 and 1; without zoom the axis runs from 0 to 1.

    >>> from minidl import figures
    >>> from minidl.train.intervals import wilson_interval
    >>> figure = figures.bars_with_intervals(["5 labels", "20 labels"], wilson_interval([8, 9], 10))
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0.800', '0.900']
    """
    means, lows, highs = _means_and_ends(intervals)
    labels = text_list("labels", labels, len(means), "means")
    zoom, share = check_flag("zoom", zoom), check_flag("share", share)
    if share:
        require(not ((means < 0) | (means > 1)).any(), "the mean of a fraction must lie between 0 and 1")
        lows, highs = np.clip(lows, 0, 1), np.clip(highs, 0, 1)
    rows = np.arange(len(means))
    with style():
        width = max(text_width(label) for label in labels)
        figure = new_figure(5.5 + width, 1.0 + 0.3 * len(means), constrained=True)
        axes = figure.add_subplot()
        if not zoom:
            axes.barh(rows, means, height=0.65, color=SKY_BLUE)
            axes.axvline(0, color="0.2", linewidth=0.8)
        axes.hlines(rows, lows, highs, color=BLACK, linewidth=1.6)
        axes.plot(means, rows, "o", color=BLUE, markersize=5, clip_on=False)
        for row, text in enumerate(_figures(means)):
            axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL)
        axes.set(xlabel=xlabel, title=title, ylim=(len(rows) - 0.5, -0.5))
        if share and not zoom:
            axes.set_xlim(0, 1)
        axes.set_yticks(rows, labels)
        axes.grid(True, axis="x")
        axes.tick_params(axis="y", length=0)
    return figure


def points_with_intervals(
    x: np.ndarray,
    labels: Sequence[str],
    intervals: Interval | Sequence[Interval],
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    log_x: bool = False,
) -> Figure:
    """Points (x, mean), each with its label, and with its interval as a vertical line.

    x: (K,), the position of each point, such as a model's number of weights.  labels, intervals: as in
    ``bars_with_intervals``. A point with mean NaN is not drawn.
    log_x: a logarithmic axis, for positive x.

    >>> from minidl import figures
    >>> from minidl.train.intervals import wilson_interval
    >>> figure = figures.points_with_intervals([1e4, 1e6], ["small", "large"], wilson_interval([8, 9], 10))
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['small', 'large']
    """
    means, lows, highs = _means_and_ends(intervals)
    x, log_x = float_array("x", x, len(means)), check_flag("log_x", log_x)
    require(x.min() > 0 or not log_x, f"a logarithmic x axis needs x > 0, got {x.min():g}")
    labels = text_list("labels", labels, len(means), "means")
    known = np.isfinite(means)
    require(known.any(), "means must not all be NaN")
    with style():
        figure = new_figure(7.5, 4.0, constrained=True)
        axes = figure.add_subplot()
        axes.vlines(x[known], lows[known], highs[known], color=BLACK, linewidth=1.6)
        axes.plot(x[known], means[known], "o", color=BLUE, markersize=7)
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title, xscale="log" if log_x else "linear")
        axes.margins(0.15)
        places = np.log(x) if log_x else x
        far = places.min() + 0.7 * np.ptp(places)
        # A label is at the lower right of its point. Near the right end it is at the upper left.
        for i in np.flatnonzero(known):
            offset, ha, va = ((6, -3), "left", "top") if places[i] <= far else ((-6, 3), "right", "bottom")
            place: Look = {"xytext": offset, "textcoords": "offset points", "ha": ha, "va": va}
            axes.annotate(labels[i], (x[i], means[i]), fontsize=SMALL, **place)
        axes.grid(True)
    return figure


def _means_and_ends(intervals: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (may be NaN), low ends and high ends, each (K,), of K intervals or of one interval of arrays."""
    one = isinstance(intervals, Interval)
    for interval in () if one else check_sequence("intervals", intervals):
        check_instance("an entry of intervals", interval, Interval)
    means, lows, highs = intervals[:3] if one else ([part[i] for part in intervals] for i in range(3))
    means = float_array("means", means, "K", finite=False)
    lows, highs = float_array("lows", lows, len(means)), float_array("highs", highs, len(means))
    require(not np.isinf(means).any(), "means must be finite or NaN")
    # Comparisons with NaN are False, so a mean of NaN does not count as outside.
    outside = (lows > highs) | (means < lows) | (means > highs)
    i = int(outside.argmax())
    order = f"low <= mean <= high does not hold at {i}: {lows[i]:g}, {means[i]:g}, {highs[i]:g}"
    require(not outside.any(), order)
    return means, lows, highs


def _figures(means: np.ndarray) -> list[str]:
    """The means with the same number of decimals: three significant digits for the largest."""
    largest = np.nanmax(np.abs(means)) if not np.isnan(means).all() else 0
    decimals = int(np.clip(3 - np.ceil(np.log10(largest)), 0, 9)) if largest > 0 else 0
    return ["no data" if np.isnan(mean) else f"{mean:.{decimals}f}" for mean in means]
