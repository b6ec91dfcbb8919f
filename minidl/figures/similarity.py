"""A matrix of similarities, and the soft targets of a photograph at several temperatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minidl.engine.checks import check_array, check_instance, positive_int, positive_number, require
from minidl.figures.panels import empty_panel, frame, show_values
from minidl.figures.photographs import photograph
from minidl.figures.style import (
    BLUE,
    SIGNED_MAP,
    Look,
    by_title,
    float_array,
    new_figure,
    style,
    text_list,
    text_width,
    title_height,
)

TEXT = 11  # points
WIDTH = 5.0  # the width in inches of the figure with answers at several temperatures


def similarity_matrix(
    values: np.ndarray,
    groups: Mapping[str, int],
    names: Sequence[Any] | None = None,
    *,
    label: str = "cosine",
    title: str = "",
) -> Figure:
    """A table (N, N) of similarities as colours: blue below zero, white at zero, red above.

    groups: name of a group -> its number of rows, in the order of the rows. Black lines separate the groups.
    names: N names, beside the rows and below the columns. With None, only the groups have names.  label: what
    the numbers mean. The diagonal is grey and does not change the scale.

    >>> from minidl import figures
    >>> figure = figures.similarity_matrix(np.eye(3), {"animals": 2, "vehicles": 1})
    >>> [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    ['animals', 'vehicles']
    """
    table, title = float_array("values", values, "N", "N"), check_instance("title", title, str)
    count = len(table)
    require(count > 1, "values must have at least two rows")
    sizes = {}
    for name, size in by_title("groups", groups, count).items():
        sizes[name] = positive_int(f"the size of group {name!r}", size)
    total = sum(sizes.values())
    require(total == count, f"the sizes of groups must have the sum {count}, the number of rows, got {total}")
    names = None if names is None else text_list("names", names, count, "rows")
    away = np.abs(table[~np.eye(count, dtype=bool)]).max()
    norm = Normalize(-away if away > 0 else -1, away if away > 0 else 1)
    side = 4.2 if names is None else max(4.2, 0.24 * count)
    with style():
        widest = max(map(text_width, sizes if names is None else names))
        figure = new_figure(side + widest + 1.3, side + widest + 0.8, constrained=True)
        axes = figure.add_subplot()
        axes.set_facecolor("0.6")
        axes.imshow(np.ma.masked_where(np.eye(count, dtype=bool), table), norm=norm, cmap=SIGNED_MAP)
        ends = list(accumulate(sizes.values()))
        for end in ends[:-1]:
            axes.axhline(end - 0.5, color="black", linewidth=1)
            axes.axvline(end - 0.5, color="black", linewidth=1)
        middles = [end - size / 2 - 0.5 for end, size in zip(ends, sizes.values(), strict=True)]
        ticks, texts = (middles, list(sizes)) if names is None else (range(count), names)
        axes.set_xticks(ticks, texts, rotation=90, fontsize=TEXT - 1)
        axes.set_yticks(ticks, texts, fontsize=TEXT - 1)
        axes.tick_params(length=0)
        if names is not None:
            top = axes.secondary_xaxis("top")
            top.set_xticks(middles, list(sizes), fontsize=TEXT)
            top.tick_params(length=0)
        frame(axes, "black", 1)
        figure.colorbar(ScalarMappable(norm, SIGNED_MAP), ax=axes, label=label, shrink=0.6)
        figure.suptitle(title)
    return figure


def answers_by_temperature(
    image: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[Any],
    temperatures: Sequence[float],
    *,
    title: str = "",
) -> Figure:
    """The photograph, and below it its soft targets: a panel for each temperature, a bar for each name.

    image: (3, H, W), (1, H, W) or (H, W) in [0, 1].  probabilities: (T, K), a row for each of T <= 6
    temperatures.  names: K names, in the order of the bars.  temperatures: T numbers above 0.

    >>> from minidl import figures
    >>> p = [[0.9, 0.1], [0.7, 0.3]]
    >>> figure = figures.answers_by_temperature(np.zeros((8, 8)), p, ["cat", "dog"], [1, 2])
    >>> [axes.get_title() for axes in figure.axes]
    ['', 'T = 1', 'T = 2']
    """
    pixels = photograph("image", image)
    p = float_array("probabilities", probabilities, "T", "K", low=0, high=1 + 1e-6)
    require(len(p) <= 6, f"probabilities must have at most 6 rows, one for each temperature, got {len(p)}")
    warmth = check_array("temperatures", temperatures, len(p))
    for value in warmth.tolist():
        positive_number("each of temperatures", value)
    names = text_list("names", names, p.shape[1], "classes")
    left, row, photo = max(text_width(name, TEXT) for name in names) + 0.2, 0.26, 1.5
    wide = photo * pixels.shape[1] / pixels.shape[0]
    step, top = (WIDTH - left) / len(p), title_height(title, TEXT) + 0.12
    height = top + photo + 0.35 + row * len(names) + 0.1
    with style():
        figure = new_figure(WIDTH, height)
        figure.text(0.02, 1 - 0.05 / height, title, va="top", fontsize=TEXT)
        panel = empty_panel(figure, (left, height - top - photo, wide, photo), "")
        show_values(panel, pixels, Normalize(0, 1), "gray")
        for i, (values, T) in enumerate(zip(p, warmth.tolist(), strict=True)):
            place = (left + i * step, 0.1, step - 0.12, row * len(names))
            axes = empty_panel(figure, place, f"T = {T:g}", TEXT)
            frame(axes, "white", 0)
            axes.barh(range(len(names)), values, height=0.7, color=BLUE)
            for k, value in enumerate(values):
                inside = value > 0.55  # no room to the right of the bar
                look: Look = {"ha": "right", "color": "white"} if inside else {"ha": "left", "color": "black"}
                x = value - 0.04 if inside else value + 0.04
                axes.text(x, k, f"{value:.0%}", va="center", fontsize=TEXT - 1, **look)
            axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5))
            axes.axvline(0, color="0.2", linewidth=0.8)
            if i == 0:
                axes.set_yticks(range(len(names)), names, fontsize=TEXT)
                axes.tick_params(length=0)
    return figure
