"""Pictures of transfer: the layers that learn, and a map of photographs by a network's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch

from minidl.engine.checks import check_array, check_sequence, positive_number, require, shown
from minidl.figures.maps import unit_images
from minidl.figures.panels import MAX_PANELS, empty_panel, show_values
from minidl.figures.photographs import photograph
from minidl.figures.style import (
    BLACK,
    ORANGE,
    SKY_BLUE,
    Look,
    by_title,
    float_array,
    new_figure,
    style,
    text_list,
    text_width,
    title_height,
)

TEXT = 12  # points
MAX_LAYERS, MAX_ROWS = 12, 8
FROZEN: Look = {"facecolor": SKY_BLUE, "hatch": "//"}
TRAINED: Look = {"facecolor": ORANGE}
_BOX, _GAP, _HEAD, _PICTURE = 0.62, 0.26, 0.3, 1.1  # inches: box height, space, row name, picture


def layers_diagram(
    layers: Sequence[Any],
    rows: Mapping[str, Sequence[Any]],
    *,
    image: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """One row for each way to reuse a network. The layers are boxes from left to right, frozen or trained.

    layers: the names of 1 to 12 layers, from the input on.  rows: name -> the trained layers. All other
    layers are frozen (blue, hatched).  image: (3, H, W), (1, H, W) or (H, W) in [0, 1]; the input of each
    row.

    >>> from minidl import figures
    >>> rows = {"head alone": ["head"], "all but the stem": ["blocks", "head"]}
    >>> figure = figures.layers_diagram(["stem", "blocks", "head"], rows)
    >>> len(figure.axes[0].patches)  # in each row 3 boxes and 2 arrows
    10
    """
    names, trained = _names_and_trained(layers, rows)
    pixels, top = None if image is None else photograph("image", image), title_height(title, TEXT) + 0.1
    widths = [text_width(name, TEXT) + 0.25 for name in names]
    left = 0.1 if pixels is None else 0.1 + _PICTURE + _GAP
    tall = max(_BOX, _PICTURE if pixels is not None else 0)
    written = max(text_width(title, TEXT), *(1.15 * text_width(row, TEXT) for row in trained))  # bold
    width = max(left + sum(widths) + _GAP * (len(names) - 1) + 0.1, written + 0.2)
    height = top + len(trained) * (_HEAD + tall + 0.12) + 0.4
    with style():
        figure = new_figure(width, height)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        axes.text(0.1, 0.06, title, va="top", fontsize=TEXT)
        for r, (row, learning) in enumerate(trained.items()):
            y = top + r * (_HEAD + tall + 0.12)
            axes.text(0.1, y + _HEAD / 2, row, va="center", fontsize=TEXT, weight="bold")
            middle = y + _HEAD + tall / 2
            if pixels is not None:
                place = (0.1, height - middle - tall / 2, _PICTURE, tall)
                show_values(empty_panel(figure, place, ""), pixels, Normalize(0, 1), "gray")
                _arrow(axes, 0.1 + _PICTURE, left, middle)
            _draw_row(axes, names, widths, learning, left, middle)
        handles = [Patch(edgecolor=BLACK, **FROZEN), Patch(edgecolor=BLACK, **TRAINED)]
        axes.legend(handles, ["frozen", "trained"], loc="lower left", ncols=2, fontsize=TEXT, borderpad=0.2)
    return figure


def _names_and_trained(
    layers: Sequence[Any], rows: Mapping[str, Sequence[Any]]
) -> tuple[list[str], dict[str, list[str]]]:
    names = text_list("layers", check_sequence("layers", layers), None, "layers")
    require(1 <= len(names) <= MAX_LAYERS, f"layers must be 1 to {MAX_LAYERS}, got {len(names)}")
    require(len(set(names)) == len(names), f"layers must have different names, got {names}")
    trained = {}
    for row, chosen in by_title("rows", rows, MAX_ROWS).items():
        trained[row] = text_list(f"the trained layers of {row!r}", chosen, None, "layers")
        for name in trained[row]:
            require(name in names, f"{row!r} must name layers among {names}, got {shown(name)}")
    return names, trained


def _draw_row(
    axes: Axes, names: list[str], widths: list[float], learning: list[str], x: float, middle: float
) -> None:
    """Draw the boxes of one row and the arrows between them. The first box begins at x."""
    for i, (name, wide) in enumerate(zip(names, widths, strict=True)):
        look = TRAINED if name in learning else FROZEN
        corner = (x, middle - _BOX / 2)
        axes.add_patch(FancyBboxPatch(corner, wide, _BOX, "square,pad=0", edgecolor=BLACK, **look))
        back = {"facecolor": look["facecolor"], "edgecolor": "none", "pad": 1.5}  # no hatching behind letters
        axes.text(x + wide / 2, middle, name, ha="center", va="center", fontsize=TEXT, bbox=back)
        if i + 1 < len(names):
            _arrow(axes, x + wide, x + wide + _GAP, middle)
        x += wide + _GAP


def _arrow(axes: Axes, start: float, end: float, y: float) -> None:
    arrow = FancyArrowPatch((start, y), (end, y), arrowstyle="-|>", mutation_scale=12, shrinkA=1, shrinkB=1)
    arrow.set(color=BLACK, linewidth=1.2)
    axes.add_patch(arrow)


def photograph_map(
    images: np.ndarray,
    clouds: Mapping[str, np.ndarray],
    masks: np.ndarray | None = None,
    *,
    side: float = 0.5,
    title: str = "",
) -> Figure:
    """Draw photographs at the positions of their points, one panel for each cloud.

    images: (N, 3, H, W), (N, 1, H, W) or (N, H, W) in [0, 1], at most 200.  clouds: 1 to 3 titles -> points
    (N, 2), such as the first two directions of ``pca_projection``. A panel shows its whole cloud.
    masks: (N, H, W) bool, True where the object is. The rest of the photograph is not drawn, so that it
    hides no other photograph.  side: the side of a photograph, in inches.

    >>> from minidl import figures
    >>> figure = figures.photograph_map(np.zeros((2, 8, 8)), {"features": [[0, 0], [3, 1]]})
    >>> figure.axes[0].get_title(loc="left")
    'features'
    """
    pixels = unit_images("images", images, MAX_PANELS)
    side, points = positive_number("side", side), {}
    for name, cloud in by_title("clouds", clouds, 3).items():
        points[name] = float_array(f"cloud {name!r}", cloud, len(pixels), 2)
    colours = (
        np.broadcast_to(pixels, (*pixels.shape[:3], 3)) if pixels.ndim == 4 else np.stack([pixels] * 3, -1)
    )
    opaque = np.ones(colours.shape[:3], bool)
    if masks is not None:
        opaque = check_array("masks", masks, *opaque.shape, kind="bool")
    pictures = np.concatenate([colours, opaque[..., np.newaxis]], axis=3)  # (N, H, W, 4)
    wide, tall = 7.0, 4.4
    top, head = title_height(title, TEXT) + 0.1, 0.3
    height = top + len(points) * (head + tall + 0.1)
    with style():
        figure = new_figure(wide, height)
        figure.text(0.1 / wide, 1 - 0.05 / height, title, va="top", fontsize=TEXT)
        for r, (name, cloud) in enumerate(points.items()):
            bottom = height - top - (r + 1) * (head + tall + 0.1) + 0.1
            axes = figure.add_axes((0.02, bottom / height, 0.96, tall / height))
            axes.set_title(name, fontsize=TEXT, loc="left")
            axes.set(xlim=(0, 0.96 * wide), ylim=(0, tall), xticks=[], yticks=[])
            room = np.array([0.96 * wide - side, tall - side])
            spread = np.ptp(cloud, axis=0)
            corners = (cloud - cloud.min(axis=0)) / np.where(spread > 0, spread, 1) * room
            for picture, (x, y) in zip(pictures, corners, strict=True):
                axes.imshow(
                    picture, extent=(x, x + side, y, y + side), aspect="auto", interpolation="bilinear"
                )
            # imshow has set the limits to the last picture
            axes.set(xlim=(0, 0.96 * wide), ylim=(0, tall))
    return figure
