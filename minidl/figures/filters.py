"""The filters of a layer, each with its feature map of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minidl.engine.checks import require
from minidl.figures.maps import channels_last, column_count
from minidl.figures.panels import frame, panels, show_values
from minidl.figures.photographs import photograph
from minidl.figures.style import float_array, style, text_list

_CORNER = (0.6, 0.6, 0.4, 0.4)  # left, bottom, width, height, as fractions of the map's panel
_FAINT = 0.01  # a filter below this fraction of the layer's largest weight is grey


def filters_and_maps(
    filters: np.ndarray,
    maps: np.ndarray,
    titles: Sequence[Any] | None = None,
    columns: int | None = None,
    *,
    image: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Each map in grey, with the filter that made the map in its upper right corner, in colour.
    filters: weights (N, 3, kh, kw) of a layer that reads colours, or (N, 1, kh, kw).  maps: (N, H, W).
    image: (3, h, w) or (1, h, w) in [0, 1]; the input of the maps, shown in the first panel.
    A weight of 0 is grey. A positive weight of the red channel is redder than grey, and a negative weight is
    less red. Green and blue work in the same way. Each filter is scaled by its largest weight. A filter is
    grey if all its weights are below 1% of the layer's largest weight. Each map has its own scale: its
    smallest value is black, its largest value is white.

    >>> from minidl import figures
    >>> figure = figures.filters_and_maps(np.ones((2, 3, 3, 3)), np.zeros((2, 8, 8)), ["edge", "spot"])
    >>> [axes.get_title() for axes in figure.axes]
    ['edge', 'spot']
    """
    weights, values = channels_last("filters", filters), float_array("maps", maps, "N", "H", "W")
    counts = f"{len(weights)} filters and {len(values)} maps"
    require(len(weights) == len(values), f"there must be one map for each filter, got {counts}")
    shown, columns = [], column_count(columns, len(values) + (image is not None))
    titles = text_list("titles", titles, len(values), "maps")
    if image is not None:
        shown, titles = [photograph("image", image)], ["image", *titles]
    sizes = np.abs(weights.reshape(len(weights), -1)).max(axis=1)
    sizes = np.maximum(sizes, max(_FAINT * sizes.max(), np.finfo(float).tiny))
    note = "corner: weights; grey = 0; red, green, blue = positive; cyan, violet, yellow = negative"
    with style():
        figure, axes, _ = panels(columns, values.shape[1:], titles=titles, title=title, note=note)
        for pixels in shown:
            show_values(axes[0], pixels, Normalize(0, 1), "gray")
        for panel, weight, size, value in zip(axes[len(shown) :], weights, sizes, values, strict=True):
            low, high = value.min(), value.max()
            show_values(panel, value, Normalize(low, high if high > low else low + 1), "gray")
            corner = panel.inset_axes(_CORNER)
            corner.set(xticks=[], yticks=[])
            frame(corner, "white", 1)
            show_values(corner, 0.5 + 0.5 * weight / size, Normalize(0, 1), "gray")
    return figure
