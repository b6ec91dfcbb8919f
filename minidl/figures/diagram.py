"""A diagram of networks that work together: boxes in columns and rows, arrows between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch

from minidl.engine.checks import check_choice, check_instance, check_number, check_sequence, require, shown
from minidl.figures.panels import frame, show_values
from minidl.figures.photographs import photograph
from minidl.figures.style import (
    BLACK,
    ORANGE,
    SKY_BLUE,
    Look,
    new_figure,
    style,
    text_height,
    text_width,
    title_height,
)

TEXT = 12  # points: legible in a figure 400 pixels wide
MAX_BOXES, FARTHEST = 40, 20
LOOKS: dict[str, Look] = {
    "data": {"facecolor": "white"},
    "frozen": {"facecolor": SKY_BLUE, "hatch": "//"},
    "trained": {"facecolor": ORANGE},
    "loss": {"facecolor": "0.88"},
}
_PICTURE, _GAP, _ROW_GAP = 1.1, 0.55, 0.5  # inches


def block_diagram(
    boxes: Mapping[str, tuple[float, float, str]],
    arrows: Sequence[tuple[str, ...]],
    *,
    dashed: Sequence[tuple[str, ...]] = (),
    pictures: Mapping[str, Any] | None = None,
    title: str = "",
) -> Figure:
    """Draw boxes with text and the arrows between them.

    boxes: text -> (column, row, kind). Row 0 is at the top; half a column or row is allowed. The kinds are
    "data" (white), "frozen" (blue, hatched), "trained" (orange) and "loss" (grey); a legend names frozen and
    trained parts.
    arrows: (from, to) or (from, to, text), where from and to are texts of boxes.  dashed: more arrows, which
    are drawn dashed, such as the path of a gradient.  pictures: text of a box -> image (3, H, W), (1, H, W)
    or (H, W) in [0, 1]. The image replaces the box, and the text is below the image.

    >>> from minidl import figures
    >>> boxes = {"image": (0, 0, "data"), "network": (1, 0, "trained"), "loss": (2, 0, "loss")}
    >>> figure = figures.block_diagram(boxes, [("image", "network"), ("network", "loss", "logits")])
    >>> len(figure.axes[0].patches)  # 3 boxes and 2 arrows
    5
    """
    places = checked_boxes(boxes)
    solid = checked_arrows("arrows", arrows, places)
    broken = checked_arrows("dashed", dashed, places)
    images = {}
    for name, image in check_instance("pictures", {} if pictures is None else pictures, Mapping).items():
        require(name in places, f"a key of pictures must be a box's text, but there is no box {shown(name)}")
        images[name] = photograph(f"the picture of {name!r}", image)
    sizes = {name: _size(name, images.get(name)) for name in places}
    longest = max((text_width(text, TEXT - 1) for _, _, text in [*solid, *broken] if text), default=0)
    centres, width, height = _centres(places, sizes, max(_GAP, longest + 0.5))
    head = title_height(title, TEXT) + 0.15
    kinds = [kind for kind in ("frozen", "trained") if kind in {kind for _, _, kind in places.values()}]
    foot = 0.4 if kinds else 0.1
    width = max(width, text_width(title, TEXT) + 0.2)
    with style():
        figure = new_figure(width, head + height + foot)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height + foot, -head))
        axes.axis("off")
        axes.text(0.1, 0.05 - head, title, va="top", fontsize=TEXT)
        for (start, end, text), line in [(a, "-") for a in solid] + [(a, (0, (4, 2))) for a in broken]:
            _draw_arrow(axes, centres, sizes, (start, end), text, line)
        for name, (_, _, kind) in places.items():
            _draw_box(axes, centres[name], sizes[name], name, LOOKS[kind], images.get(name))
        patches = [Patch(edgecolor="0.2", label=kind, **LOOKS[kind]) for kind in kinds]
        if patches:
            axes.legend(handles=patches, loc="lower left", ncols=2, fontsize=TEXT - 1, borderaxespad=0.2)
    return figure


def _size(name: str, image: np.ndarray | None) -> tuple[float, float]:
    """Width and height in inches of a box, or of a picture with the text below it."""
    wide, tall = text_width(name, TEXT), text_height(name, TEXT)
    if image is None:
        return max(wide + 0.3, 0.8), tall + 0.25
    return max(wide, _PICTURE * image.shape[1] / image.shape[0]), _PICTURE + tall + 0.08


def _centres(places: dict, sizes: dict, gap: float) -> tuple[dict[str, tuple[float, float]], float, float]:
    """The centre of each box, and the width and height of all boxes, in inches.

    A column fits its widest box.
    """
    columns, rows = (sorted({place[axis] for place in places.values()}) for axis in (0, 1))
    lines = []
    for axis, values, between in ((0, columns, gap), (1, rows, _ROW_GAP)):
        extent = {v: max(sizes[n][axis] for n, place in places.items() if place[axis] == v) for v in values}
        position, line = 0.12 + extent[values[0]] / 2, {}
        for before, value in zip([None, *values], values, strict=False):
            if before is not None:
                step = min(value - before, 1)
                position += step * ((extent[before] + extent[value]) / 2 + between)
            line[value] = position
        lines.append((line, max(line[v] + extent[v] / 2 for v in values) + 0.12))
    (across, width), (down, height) = lines
    return {name: (across[x], down[y]) for name, (x, y, _) in places.items()}, width, height


def _draw_box(
    axes: Axes,
    centre: tuple[float, float],
    size: tuple[float, float],
    text: str,
    look: Look,
    image: np.ndarray | None,
) -> None:
    (x, y), (width, height) = centre, size
    if image is None:
        corner = x - width / 2, y - height / 2
        outline: Look = {"boxstyle": "round,pad=0,rounding_size=0.08", "edgecolor": "0.2", "zorder": 2}
        axes.add_patch(FancyBboxPatch(corner, width, height, **outline, **look))
        back = {"facecolor": look["facecolor"], "edgecolor": "none", "pad": 1.5}
        axes.text(x, y, text, ha="center", va="center", fontsize=TEXT, color=BLACK, zorder=3, bbox=back)
        return
    wide = _PICTURE * image.shape[1] / image.shape[0]
    place = axes.transData.transform(
        [(x - wide / 2, y - height / 2 + _PICTURE), (x + wide / 2, y - height / 2)]
    )
    (left, bottom), (right, top) = axes.figure.transFigure.inverted().transform(place)
    panel = axes.figure.add_axes((left, bottom, right - left, top - bottom))
    show_values(panel, image, Normalize(0, 1), "gray")
    panel.set(xticks=[], yticks=[])
    frame(panel, "0.3", 0.8)
    axes.text(x, y - height / 2 + _PICTURE + 0.04, text, ha="center", va="top", fontsize=TEXT, zorder=3)


def _draw_arrow(axes: Axes, centres: dict, sizes: dict, ends: tuple[str, str], text: str, line: Any) -> None:
    """Draw an arrow from border to border, on the line between the centres of the boxes."""
    points = []
    for here, there in (ends, ends[::-1]):
        centre, other = np.array(centres[here]), np.array(centres[there])
        direction = other - centre
        half = np.array(sizes[here]) / 2 + 0.04
        reach = min(half[i] / abs(direction[i]) for i in (0, 1) if direction[i] != 0)
        points.append(centre + min(reach, 0.5) * direction)
    look: Look = {"arrowstyle": "-|>", "mutation_scale": 14, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(*points, color="0.2", linestyle=line, zorder=1, **look))
    x, y = (points[0] + points[1]) / 2
    back = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    if text:
        axes.text(x, y, text, ha="center", va="center", fontsize=TEXT - 1, zorder=4, bbox=back)


# ---- what arguments are


def checked_boxes(boxes: Mapping[str, tuple[float, float, str]]) -> dict[str, tuple[float, float, str]]:
    check_instance("boxes", boxes, Mapping)
    require(1 <= len(boxes) <= MAX_BOXES, f"boxes must be 1 to {MAX_BOXES}, got {len(boxes)}")
    places: dict[str, tuple[float, float, str]] = {}
    for name, place in boxes.items():
        check_instance("the text of a box", name, str)
        is_place = isinstance(place, tuple | list) and len(place) == 3
        require(is_place, f"box {name!r} must be (column, row, kind), got {shown(place)}", TypeError)
        x = check_number(f"the column of {name!r}", place[0], 0, FARTHEST)
        y = check_number(f"the row of {name!r}", place[1], 0, FARTHEST)
        kind = check_choice(f"the kind of {name!r}", place[2], tuple(LOOKS))
        taken = [other for other, (u, v, _) in places.items() if (u, v) == (x, y)]
        require(not taken, f"box {name!r} has the same place as {taken}: column {x:g}, row {y:g}")
        places[name] = (x, y, kind)
    return places


def checked_arrows(name: str, arrows: Sequence[tuple[str, ...]], boxes: dict) -> list[tuple[str, ...]]:
    """(from, to, text) of each arrow between two boxes."""
    for arrow in check_sequence(name, arrows):
        are_texts = isinstance(arrow, tuple | list) and all(isinstance(part, str) for part in arrow)
        form = f"each of {name} must be texts (from, to) or (from, to, text), got {shown(arrow)}"
        require(are_texts and len(arrow) in (2, 3), form, TypeError)
        missing = [end for end in arrow[:2] if end not in boxes]
        require(not missing, f"{name} must lead from box to box, but there is no box {missing}")
        require(arrow[0] != arrow[1], f"{name} must lead to another box, got {arrow}")
    return [(*arrow, "")[:3] for arrow in arrows]
