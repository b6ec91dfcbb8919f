"""The evidence for each of several classes in one photograph, as in the figures of the Grad-CAM paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minidl.engine.checks import require
from minidl.figures.maps import channels_last, image_limits, images_and_maps, lay_over
from minidl.figures.panels import empty_panel, show_values
from minidl.figures.photographs import photograph
from minidl.figures.style import (
    HEAT_MAP,
    float_array,
    new_figure,
    style,
    text_height,
    text_list,
    title_height,
)

_WIDTH, _TEXT, _GAP = 6.0, 10, 0.12  # inches, points, inches
_WITHIN = 99.5  # this percentage of a pattern's values is not clipped


def evidence_by_class(
    image: np.ndarray,
    guided: np.ndarray,
    maps: np.ndarray,
    products: np.ndarray,
    names: Sequence[Any],
    *,
    title: str = "",
) -> Figure:
    """(a) the photograph; below it for each class: (b) guided backprop, (c) Grad-CAM, (d) their product.

    image: (3, H, W), (1, H, W) or (H, W) in [0, 1].  guided: (K, C, H, W) from ``guided_backprop``.
    maps: (K, H, W) from ``gradcam``.  products: (K, C, H, W) from ``guided_gradcam``.  names: the names
    of the K classes, with K = 1 or 2.  A pattern is grey at 0. Each panel has its own scale.

    >>> from minidl import figures
    >>> image, pattern, cam = np.ones((8, 8)), np.ones((1, 1, 8, 8)), np.ones((1, 8, 8))
    >>> figure = figures.evidence_by_class(image, pattern, cam, pattern, ["cat"])
    >>> len(figure.axes)  # the photograph, and three panels for each class
    4
    """
    pixels = photograph("image", image)
    maps = float_array("maps", maps, "K", "H", "W", finite=False)
    require(len(maps) <= 2, f"maps must have 1 or 2 rows, one for each class, got {len(maps)}")
    greyed, heats = images_and_maps(np.stack([np.asarray(image)] * len(maps)), maps, signed=False)
    names = text_list("names", names, len(maps), "classes")
    patterns = pattern_colours("guided", guided, maps), pattern_colours("products", products, maps)
    limits = image_limits(heats[:, 0], None, True, signed=False)

    wide = (_WIDTH - 3 * _GAP) / 2
    tall, head = wide * maps.shape[1] / maps.shape[2], text_height("(b)", _TEXT) + 0.06
    top, row_height = title_height(title, _TEXT) + 0.06, head + tall + _GAP
    height = top + 4 * row_height
    with style():
        figure = new_figure(_WIDTH, height)
        figure.text(_GAP / _WIDTH, 1 - 0.04 / height, title, va="top", fontsize=_TEXT)

        def panel(row: int, column: float, caption: str) -> Axes:
            x, y = _GAP + column * (wide + _GAP), height - top - row * row_height - head - tall
            return empty_panel(figure, (x, y, wide, tall), caption, _TEXT)

        show_values(panel(0, 0.5, "(a) photograph"), pixels, Normalize(0, 1), "gray")
        for k, name in enumerate(names):
            show_values(panel(1, k, f"(b) guided backprop: {name}"), patterns[0][k], Normalize(0, 1), "gray")
            lay_over(panel(2, k, f"(c) Grad-CAM: {name}"), greyed[k], heats[k, 0], limits[k], HEAT_MAP)
            show_values(panel(3, k, f"(d) guided Grad-CAM: {name}"), patterns[1][k], Normalize(0, 1), "gray")
    return figure


def pattern_colours(name: str, patterns: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Signed patterns (K, C, H, W) as images in [0, 1]: 0 becomes 1/2. Each pattern has its own scale."""
    values = channels_last(name, patterns)
    fits = values.shape[:3] == maps.shape
    require(fits, f"{name} {np.shape(patterns)} and maps {maps.shape} must agree in number, height and width")
    sizes = np.abs(np.where(np.isfinite(values), values, 0.0)).reshape(len(values), -1)
    limits = np.percentile(sizes, _WITHIN, axis=1)
    limits = np.where(limits > 0, limits, 1).reshape(-1, *[1] * (values.ndim - 1))
    return np.clip(0.5 + 0.5 * values / limits, 0, 1)
