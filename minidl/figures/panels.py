"""A grid of panels of the same size. All sizes are in inches, so that no text overlaps another panel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minidl.engine.checks import require
from minidl.figures.style import SMALL, new_figure, text_height, text_width, title_height

MAX_PANELS = 200
_GAP = 0.12  # inches between panels
_BAR = 0.95  # inches for a colour bar and its numbers


def default_columns(count: int) -> int:
    """The number of columns: at most 8, so that the rows have nearly the same number of panels."""
    return math.ceil(count / math.ceil(count / 8))


def panels(
    columns: int,
    shape: tuple[int, int],
    *,
    titles: Sequence[str],
    row_titles: Sequence[str] = (),
    title: str = "",
    note: str = "",
    bar: bool = False,
) -> tuple[Figure, list[Axes], Axes | None]:
    """A figure with an empty panel under each title, row by row, for images of ``shape`` (H, W).

    row_titles: one for each row, at its left.  note: a text below all panels.  bar: whether to make room for
    a colour bar.
    Returns the figure, its panels, and the axes for ``colour_bar`` to draw in.
    """
    count, top = len(titles), title_height(title, 11) + 0.1
    too_many = f"a figure has at most {MAX_PANELS} panels, got {count}: choose some"
    require(count <= MAX_PANELS, too_many)
    panel_width, panel_height = _panel_size(shape, columns)
    cell_width = max(panel_width, *map(text_width, titles)) + _GAP
    left = max(map(text_width, row_titles), default=0) + 0.1
    width = left + columns * cell_width + _BAR * bar
    width = max(width, text_width(title, 11) + 0.2, text_width(note) + 0.2)
    rows = [titles[i : i + columns] for i in range(0, count, columns)]
    row_heights = [max(map(text_height, row)) + 0.06 + panel_height + _GAP for row in rows]
    bottoms = list(accumulate(row_heights, initial=top))[1:]
    height = bottoms[-1] + text_height(note) + 0.05

    figure = new_figure(width, height)
    axes = []
    for i, text in enumerate(titles):
        x = left + (i % columns) * cell_width + (cell_width - panel_width) / 2
        y = height - bottoms[i // columns] + _GAP
        axes.append(empty_panel(figure, (x, y, panel_width, panel_height), text))
    for panel, text in zip(axes[::columns], row_titles, strict=False):
        panel.set_ylabel(text, fontsize=SMALL, rotation=0, ha="right", va="center", labelpad=5)
    figure.text(0.05 / width, 1 - 0.04 / height, title, va="top", fontsize=11)
    figure.text(0.05 / width, 0.02 / height, note, va="bottom", fontsize=SMALL)
    if not bar:
        return figure, axes, None
    x, y = left + columns * cell_width + 0.03, height - bottoms[-1] + _GAP
    bar_height = bottoms[-1] - bottoms[0] + panel_height
    place = figure.add_axes((x / width, y / height, 0.13 / width, bar_height / height))
    return figure, axes, place


def empty_panel(
    figure: Figure, place: tuple[float, float, float, float], caption: str, size: float = SMALL
) -> Axes:
    """Axes for an image at ``place``: left, bottom, width and height in inches; the caption is above it."""
    x, y, width, height = place
    total_width, total_height = figure.get_size_inches()
    place = (x / total_width, y / total_height, width / total_width, height / total_height)
    panel = figure.add_axes(place)
    panel.set(xticks=[], yticks=[])
    frame(panel, "0.6", 0.6)
    panel.set_title(caption, fontsize=size, pad=3)
    return panel


def _panel_size(shape: tuple[int, int], columns: int) -> tuple[float, float]:
    """Width and height of a panel in inches.

    Fewer columns give larger panels. A very narrow panel is made wider.
    """
    side = min(2.4, max(0.6, 9 / columns))
    height, width = shape
    return max(0.3, side * width / max(shape)), max(0.3, side * height / max(shape))


def frame(panel: Axes, colour: str, width: float) -> None:
    for spine in panel.spines.values():
        spine.set(visible=True, color=colour, linewidth=width)


def colour_bar(place: Axes, norm: Normalize, cmap: str, extend: str = "neither") -> None:
    """Draw the common scale of all panels. A short bar has numbers only at its ends."""
    height = place.bbox.height / place.figure.dpi  # inches
    ends = [norm.vmin, norm.vmax] if height < 0.8 else None
    place.figure.colorbar(ScalarMappable(norm, cmap), cax=place, extend=extend, ticks=ends)


def show_values(
    panel: Axes, values: np.ndarray, norm: Normalize, cmap: str, alpha: np.ndarray | None = None
) -> None:
    """Draw values (H, W) with a colour map, or colours (H, W, 3). Values that are not finite are hatched."""
    finite = np.isfinite(values)
    if not finite.all():
        panel.patch.set(facecolor="white", edgecolor="0.3", hatch="//////", linewidth=0)
    if values.ndim == 3:
        opaque = finite.all(axis=-1, keepdims=True)
        scaled = np.clip(norm(np.where(opaque, values, 0)), 0, 1)
        panel.imshow(np.concatenate([scaled, opaque], axis=-1), aspect="auto")
    else:
        panel.imshow(np.ma.masked_where(~finite, values), norm=norm, cmap=cmap, alpha=alpha, aspect="auto")


def not_finite_note(values: np.ndarray) -> str:
    count = int((~np.isfinite(values)).sum())
    return f"hatched: {count} of {values.size} values are NaN or Inf" if count else ""
