"""Pictures of probabilities: distributions over classes, confidence, and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minidl.engine.checks import check_instance, check_int, require
from minidl.figures.style import (
    BLACK,
    BLUE,
    SKY_BLUE,
    SMALL,
    VERMILLION,
    by_title,
    float_array,
    new_figure,
    style,
    text_list,
    text_width,
)
from minidl.train.calibration import Reliability

MAX_PANELS = 6


def distributions(
    probabilities: np.ndarray,
    class_names: Sequence[Any],
    titles: Sequence[Any] | None = None,
    *,
    xlabel: str = "class",
    title: str = "",
) -> Figure:
    """Distributions over K classes side by side, each as bars on the same scale from 0 to 1.

    probabilities: (N, K) within [0, 1], N <= 6.  class_names: K names.  titles: N titles.

    >>> from minidl import figures
    >>> figure = figures.distributions([[0.9, 0.1], [0.7, 0.3]], ["cat", "dog"], ["T = 1", "T = 2"])
    >>> [axes.get_title() for axes in figure.axes]
    ['T = 1', 'T = 2']
    """
    title = check_instance("title", title, str)
    p = float_array("probabilities", probabilities, "N", "K", low=0, high=1 + 1e-6)
    require(len(p) <= MAX_PANELS, f"probabilities must have at most {MAX_PANELS} rows, got {len(p)}")
    names = text_list("class_names", class_names, p.shape[1], "classes")
    titles = text_list("titles", titles, len(p), "distributions")
    width = max(1.6, p.shape[1] * (0.08 + max(map(text_width, names))), *map(text_width, titles))
    with style():
        figure = new_figure(0.7 + (width + 0.2) * len(p), 2.6, constrained=True)
        panels = figure.subplots(1, len(p), sharey=True, squeeze=False)[0]
        for axes, row, text in zip(panels, p, titles, strict=True):
            axes.bar(names, row, color=BLUE, width=0.8)
            axes.set(title=text, ylim=(0, 1), xlim=(-0.6, len(names) - 0.4), xlabel=xlabel)
            axes.grid(True, axis="y")
            axes.tick_params(axis="x", length=0)
        panels[0].set_ylabel("probability")
        figure.suptitle(title)
    return figure


def confidence_histogram(confidences: Mapping[str, np.ndarray], bins: int = 20, *, title: str = "") -> Figure:
    """The confidence of several networks: the fraction of answers at each confidence, and the mean.

    confidences: up to three labels -> (N,), the largest probability of each answer.

    >>> from minidl import figures
    >>> figure = figures.confidence_histogram({"before": [0.6, 0.9], "after": [0.8, 0.9]})
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['before', 'after']
    """
    looks = ((BLUE, "-"), (VERMILLION, "--"), (BLACK, ":"))
    confidences, bins = by_title("confidences", confidences, len(looks)), check_int("bins", bins, 1, 10_000)
    for label, values in confidences.items():
        name = f"confidences of {label!r}"
        confidences[label] = float_array(name, values, "N", low=0, high=1 + 1e-6)
    with style():
        figure = new_figure(7.5, 3.4, constrained=True)
        axes = figure.add_subplot()
        for (label, values), (colour, line) in zip(confidences.items(), looks, strict=False):
            counts, edges = np.histogram(np.minimum(values, 1), bins, range=(0, 1))
            axes.stairs(counts / len(values), edges, label=label, linestyle=line, linewidth=1.8, color=colour)
            axes.axvline(values.mean(), color=colour, linestyle=line, linewidth=0.9)
        axes.set(xlabel="confidence: the answer's probability", ylabel="share of answers", title=title)
        axes.set(xlim=(0, 1), ylim=(0, None))
        axes.grid(True)
        figure.legend(loc="outside right upper", title="thin: the mean", alignment="left")
    return figure


def reliability_diagram(tables: Mapping[str, Reliability], *, title: str = "") -> Figure:
    """Accuracy against confidence for each table, and below it the number of answers at each confidence.

    A dot shows the mean confidence and the accuracy of a bin. On the dashed diagonal the two are equal;
    below the diagonal answers are overconfident. The black lines are Wilson's 95% intervals of the accuracy.
    Bins without answers have no dot and no line.

    >>> from minidl import figures
    >>> from minidl.train import reliability
    >>> table = reliability([[0.9, 0.1], [0.4, 0.6]], [0, 0])
    >>> len(figures.reliability_diagram({"network": table}).axes)  # accuracy, and the number of answers
    2
    """
    title = check_instance("title", title, str)
    for label, table in by_title("tables", tables, MAX_PANELS).items():
        check_instance(f"table {label!r}", table, Reliability)
    with style():
        width = max(2.9, *map(text_width, tables))
        figure = new_figure(0.8 + (width + 0.2) * len(tables), 4.2, constrained=True)
        panels = figure.subplots(
            2, len(tables), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1)
        )
        for upper, lower, (label, table) in zip(*panels, tables.items(), strict=True):
            _draw_accuracy(upper, table)
            lower.stairs(table.accuracy.n / table.accuracy.n.sum(), table.edges, fill=True, color=BLUE)
            upper.set(title=label, xlim=(0, 1), ylim=(0, 1))
            lower.set_xlabel("confidence")
        figure.set_layout_engine("constrained", wspace=0.06)  # else 1.0 touches the next panel's 0.0
        panels[1, 0].set_ylim(bottom=0)
        panels[0, 0].set_ylabel("accuracy")
        panels[1, 0].set_ylabel("share of\nanswers")
        figure.suptitle(title)
        note = "dot: mean confidence and accuracy of a bin, with its 95% interval (few answers: a long one)\n"
        note += "dashed: accuracy = confidence"
        figure.supxlabel(note, fontsize=SMALL)
    return figure


def _draw_accuracy(axes: Axes, table: Reliability) -> None:
    seen = table.accuracy.n > 0
    mean, low, high = (np.compress(seen, values) for values in table.accuracy[:3])
    left, width = table.edges[:-1][seen], np.diff(table.edges)[seen]
    axes.bar(left, mean, width, align="edge", color=SKY_BLUE, edgecolor="white", linewidth=0.8)
    axes.vlines(table.confidence[seen], low, high, color=BLACK, linewidth=1.4)
    axes.plot([0, 1], [0, 1], color=VERMILLION, linestyle="--", linewidth=1.4)
    axes.plot(table.confidence[seen], mean, "o", color=BLACK, markersize=5)
    axes.grid(True)
