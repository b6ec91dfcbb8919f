"""Pictures of quantization: reals and integers on lines, a histogram with levels, the rounding error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from minidl.engine.checks import check_same_length, positive_number, require, shown
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
)

MAX_LEVELS = 64  # more cannot be told apart
MAX_PANELS = 6


def number_lines(reals: Any, mappings: Mapping[str, tuple[Any, Any, Any]]) -> Figure:
    """For each mapping: a line of reals, below it a line of integers, and an arrow from each real.

    reals: (n,), at most 32.  mappings: title -> (levels, integers, chosen). Each of the integers (k,) stands
    for one of the levels (k,), which are real values. chosen (n,) holds an integer for each real.
    A clipped real (more than half a step beyond the outermost levels) has an arrow of another colour.
    """
    reals = float_array("reals", reals, "n")
    require(len(reals) <= 32, f"reals must be 1 to 32 finite numbers (n,), got {len(reals)}")
    rows = by_title("mappings", mappings, MAX_PANELS)
    rows = {title: _levels_of(title, mapping, len(reals)) for title, mapping in rows.items()}
    ends = np.concatenate([reals, *(levels for levels, _, _ in rows.values())])
    margin = 0.03 * max(np.ptp(ends), 1e-6)
    with style():
        figure = new_figure(9.6, 1.9 * len(rows) + 0.4, constrained=True)
        panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
        for panel, (title, (levels, integers, chosen)) in zip(panels, rows.items(), strict=True):
            _draw_lines(panel, reals, levels, integers, chosen)
            panel.set(title=title, xlim=(ends.min() - margin, ends.max() + margin), ylim=(-0.45, 1.25))
            panel.set_yticks([0, 1], ["integer Q", "real r"])
            panel.spines[["left", "bottom"]].set_visible(False)
            panel.tick_params(left=False, bottom=False, labelbottom=False)
        panels[-1].spines["bottom"].set_visible(True)
        panels[-1].tick_params(bottom=True, labelbottom=True)
        panels[-1].set_xlabel("real value")
        handles = [
            Line2D([], [], color=c, marker="o", label=t)
            for c, t in ((BLUE, "rounded"), (VERMILLION, "clipped"))
        ]
        figure.legend(handles=handles, loc="outside right upper")
    return figure


def _draw_lines(panel: Axes, reals: np.ndarray, levels: np.ndarray, integers: np.ndarray, chosen: np.ndarray):
    target = dict(zip(integers.tolist(), levels.tolist(), strict=True))
    panel.axhline(1, color="0.7", linewidth=1, zorder=1)
    panel.axhline(0, color="0.7", linewidth=1, zorder=1)
    panel.vlines(levels, -0.07, 0.07, color=BLACK, linewidth=1.2)
    shown = max(1, -(-len(levels) // 20))
    for level, integer in zip(levels[::shown], integers[::shown], strict=True):
        panel.text(level, -0.15, f"{integer:d}", ha="center", va="top", fontsize=SMALL)
    panel.plot([0, 0], [0, 1], color="0.7", linestyle=":", linewidth=1, zorder=1)
    ordered = np.sort(levels)
    lowest, highest = ordered[0] - np.diff(ordered)[0] / 2, ordered[-1] + np.diff(ordered)[-1] / 2
    for real, integer in zip(reals, chosen, strict=True):
        clipped = not lowest <= real <= highest
        colour = VERMILLION if clipped else BLUE
        panel.annotate(
            "", (target[int(integer)], 0.08), (real, 0.97), arrowprops={"arrowstyle": "->", "color": colour}
        )
        panel.plot(real, 1, "o", color=colour, markersize=5)


def levels_histogram(values: Any, levels: Mapping[str, Any], *, xlabel: str = "weight") -> Figure:
    """The same histogram in each panel, with the levels of a quantization as lines.

    values: an array of any shape.  levels: up to six titles -> (k,). More than 64 levels are drawn as a band.
    """
    values = float_array("values", values).ravel()
    levels = by_title("levels", levels, MAX_PANELS)
    levels = {title: float_array(f"levels of {title}", row).ravel() for title, row in levels.items()}
    with style():
        figure = new_figure(3.1 * len(levels), 2.9, constrained=True)
        panels = figure.subplots(1, len(levels), sharey=True, sharex=True, squeeze=False)[0]
        for panel, (title, row) in zip(panels, levels.items(), strict=True):
            panel.hist(values, bins=60, color=SKY_BLUE, linewidth=0, zorder=2)
            if len(row) > MAX_LEVELS:
                panel.axvspan(row.min(), row.max(), color=VERMILLION, alpha=0.15, linewidth=0)
            else:
                lines = {"transform": panel.get_xaxis_transform(), "color": VERMILLION, "linewidth": 0.9}
                panel.vlines(row, 0, 1, zorder=1, **lines)  # behind the bars
            panel.set(title=f"{title} ({len(row)} levels)", xlabel=xlabel)
        panels[0].set_ylabel("how many")
    return figure


def rounding_error(reals: Any, errors: Any, step: float, *, title: str = "") -> Figure:
    """A point for each real's error, with lines at -S/2 and S/2, and beside it a histogram of the errors.

    reals, errors: (n,), finite.  step: S > 0. The bars are S / 8 wide, or wider if there are too many bars.
    """
    reals, errors = float_array("reals", reals).ravel(), float_array("errors", errors).ravel()
    check_same_length(reals=reals, errors=errors)
    step = positive_number("step", step)
    with style():
        figure = new_figure(8.0, 3.2, constrained=True)
        saw, share = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
        saw.plot(reals, errors, ".", color=BLUE, markersize=3)
        for sign, label in ((1, "S/2"), (-1, "-S/2")):
            for panel in (saw, share):
                panel.axhline(sign * step / 2, color=VERMILLION, linestyle="--", linewidth=1.2)
            saw.text(1.0, sign * step / 2, f" {label}", transform=saw.get_yaxis_transform(), va="center")
        # an error that float32 rounds to S/2, or to a little more, counts as inside
        inner = errors - 1e-6 * step * np.sign(errors)
        share.hist(inner, bins=_bins(inner, step), orientation="horizontal", color=BLUE, linewidth=0)
        saw.set(xlabel="real r", ylabel="error r - S (Q - Z)", title=title)
        share.set(xlabel="count", title="how often")
    return figure


def _bins(errors: np.ndarray, step: float) -> np.ndarray:
    """Bin edges that cover all errors. They are on a grid that contains -S/2 and S/2."""
    width = step / 8
    while np.ptp(errors) > 200 * width:
        width *= 2
    low, high = np.floor((errors.min() + step / 2) / width), np.ceil((errors.max() + step / 2) / width)
    return -step / 2 + width * np.arange(low, max(high, low + 1) + 1)


def _levels_of(title: str, mapping: Any, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    is_triple = isinstance(mapping, tuple) and len(mapping) == 3
    triple = f"{title} must be a tuple (levels, integers, chosen), got {shown(mapping)}"
    require(is_triple, triple, TypeError)
    levels = float_array(f"{title}'s levels", mapping[0], "k")
    integers = float_array(f"{title}'s integers", mapping[1], len(levels))
    chosen = float_array(f"{title}'s chosen", mapping[2], count)
    is_few = 2 <= len(levels) <= MAX_LEVELS
    require(is_few, f"{title} must have 2 to {MAX_LEVELS} levels, got {len(levels)}")
    known = np.isin(chosen, integers).all()
    require(known, f"{title}'s chosen must hold one entry of {title}'s integers for each real")
    return levels, integers.astype(int), chosen.astype(int)
