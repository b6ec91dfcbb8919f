"""The common style of all figures, with checks and measurements for drawing."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import matplotlib.style
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from minidl.engine.checks import check_array, check_instance, require, shown

# The colours of Okabe & Ito (2008), which all readers can distinguish. Their yellow is too pale for a line.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY_BLUE, ORANGE, BLACK = "#56B4E9", "#E69F00", "#000000"
LINE_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, SKY_BLUE, ORANGE, BLACK)

MAGNITUDE_MAP = "viridis"  # perceptually uniform: equal steps of the value look equally large
HEAT_MAP = "plasma"  # also uniform; it has no grey, because the image below is grey
SIGNED_MAP = "RdBu_r"  # blue below zero, white at zero, red above
RIGHT_OR_WRONG = {True: (BLUE, 1.5), False: (VERMILLION, 3.5)}  # colour and width of a frame, in points
SMALL = 9  # points: the smallest text in any figure
Look = dict[str, Any]  # keyword arguments of Matplotlib: colours, widths, alignment

_SETTINGS = {
    "font.size": 10,
    "axes.titlesize": 11,
    "figure.titlesize": 11,
    "axes.labelsize": 10,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "lines.linewidth": 1.8,
    "image.interpolation": "nearest",
    "hatch.linewidth": 0.8,
    "savefig.dpi": 150,
    "savefig.bbox": "tight",
    # The first curves are solid lines. Further curves have the same colours and are dashed.
    "axes.prop_cycle": cycler(linestyle=["-", "--"]) * cycler(color=LINE_COLOURS),
}
MAX_CURVES = 2 * len(LINE_COLOURS)


@contextmanager
def style() -> Iterator[None]:
    """In this block, Matplotlib draws in this style. After the block, the user's settings are back."""
    with matplotlib.style.context(["default", _SETTINGS]):
        yield


class Picture(Figure):
    """A Figure that a notebook shows even if pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        return png_bytes(self)


def new_figure(width: float, height: float, *, constrained: bool = False) -> Figure:
    """An empty figure of width x height inches. Pyplot knows the figure only if a window must show it."""
    size = (width, height)
    layout: Literal["constrained"] | None = "constrained" if constrained else None
    if matplotlib.is_interactive() and not in_notebook():
        import matplotlib.pyplot as plt

        return plt.figure(figsize=size, layout=layout, FigureClass=Picture)
    return Picture(figsize=size, layout=layout)


def png_bytes(figure: Figure, description: str = "") -> bytes:
    """The figure as the bytes of a PNG file, with the description in a standard text field."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", metadata={"Description": description} if description else None)
    return buffer.getvalue()


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code. Such a kernel shows pictures itself, with any backend."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def text_width(text: str, size: float = SMALL) -> float:
    """The width in inches of the longest line of ``text`` at ``size`` points."""
    font = FontProperties(family="DejaVu Sans")
    lines = [line for line in text.split("\n") if line.strip()]
    return (
        max((TextPath((0, 0), line, size=size, prop=font).get_extents().x1 for line in lines), default=0) / 72
    )


def text_height(text: str, size: float = SMALL) -> float:
    """The height in inches of the lines of ``text``, with Matplotlib's spacing of lines."""
    return 1.2 * size / 72 * (text.count("\n") + 1) if text else 0.0


def title_height(title: str, size: float) -> float:
    """The height in inches of a figure's title, which must be a text."""
    return text_height(check_instance("title", title, str), size)


def float_array(name: str, values: Any, *shape: int | str | None, **limits: Any) -> np.ndarray:
    """Check the values with ``check_array`` and return them as float64. Bools become 0 and 1."""
    is_bool = isinstance(values, np.ndarray) and values.dtype == bool
    values = values.astype(np.float64) if is_bool else values
    return check_array(name, values, *shape, **limits).astype(np.float64)


def text_list(name: str, texts: Any, count: int | None, things: str) -> list[str]:
    """Check that ``texts`` has ``count`` entries, and return them as strings. None gives empty strings."""
    if texts is None and count is not None:
        return [""] * count
    is_list = np.iterable(texts) and hasattr(texts, "__len__") and not isinstance(texts, str)
    wanted = f"a list of texts, one for each of the {things}"
    require(is_list, f"{name} must be {wanted}, got {shown(texts)}", TypeError)
    fits = count in (None, len(texts))
    require(fits, f"{name} must have one entry for each of the {count} {things}, got {len(texts)}")
    return [str(text) for text in texts]


def by_title(name: str, values: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Check a dict from titles to values with 1 to ``most`` entries. The titles become strings."""
    is_dict = isinstance(values, Mapping)
    require(is_dict, f"{name} must be a dict from titles to values, got {shown(values)}", TypeError)
    require(1 <= len(values) <= most, f"{name} must have 1 to {most} entries, got {len(values)}")
    return {str(title): value for title, value in values.items()}
