"""Photographs and a network's answers. Every text is legible in a figure 400 pixels wide."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minidl.engine.checks import (
    check_array,
    check_instance,
    check_number,
    check_pair,
    positive_int,
    positive_number,
    require,
)
from minidl.figures.maps import image_limits, images_and_maps, lay_over, unit_images
from minidl.figures.panels import MAX_PANELS, empty_panel, frame, not_finite_note, show_values
from minidl.figures.style import (
    BLUE,
    HEAT_MAP,
    RIGHT_OR_WRONG,
    SIGNED_MAP,
    float_array,
    new_figure,
    style,
    text_height,
    text_list,
    text_width,
    title_height,
)

WIDTH, TEXT = 4.5, 10  # inches and points: in a figure 400 pixels wide, a letter is 12 pixels high
_GAP = 0.12  # inches
_LETTER = 0.085  # inches, of the mean letter


def prediction_bars(
    image: np.ndarray, probabilities: np.ndarray, names: Sequence[Any], k: int = 5, *, title: str = ""
) -> Figure:
    """The photograph, and beside it the k most probable classes with their names and probabilities.

    image: (3, H, W), (1, H, W) or (H, W) in [0, 1].  probabilities: (K,).  names: K names.

    >>> from minidl import figures
    >>> figure = figures.prediction_bars(np.zeros((8, 8)), [0.7, 0.1, 0.2], ["cat", "dog", "fox"], k=2)
    >>> [text.get_text() for text in figure.axes[1].texts]
    ['cat', '70.0%', 'fox', '20.0%']
    """
    pixels = photograph("image", image)
    p = float_array("probabilities", probabilities, "K", low=0, high=1 + 1e-6)
    names, k = text_list("names", names, len(p), "classes"), min(positive_int("k", k), len(p))
    best = np.argsort(-p, kind="stable")[:k]
    photo = 2.0
    tall = photo * pixels.shape[0] / pixels.shape[1]
    top = title_height(title, TEXT) + _GAP
    with style():
        height = top + max(tall, 0.42 * k) + _GAP
        figure = _titled_figure(height, title)
        show_values(_panel(figure, _GAP, top, photo, tall), pixels, Normalize(0, 1), "gray")
        axes = _panel(figure, photo + 3 * _GAP, top, WIDTH - photo - 4 * _GAP, 0.42 * k)
        frame(axes, "white", 0)
        rows = np.arange(k)
        axes.barh(rows + 0.22, p[best], height=0.34, color=BLUE)
        for row, label in zip(rows, best, strict=True):
            axes.text(0, row - 0.2, _shortened(names[label], 20), fontsize=TEXT, va="center")
            axes.text(1, row - 0.2, f"{p[label]:.1%}", fontsize=TEXT, va="center", ha="right")
        axes.set(xlim=(0, 1), ylim=(k - 0.5, -0.5))
    return figure


def photograph_with_map(
    image: np.ndarray, heat: np.ndarray, *, signed: bool = False, title: str = "", caption: str = ""
) -> Figure:
    """The photograph, and beside it the grey photograph under a heat map, as in ``overlay``.

    image: (3, H, W), (1, H, W) or (H, W) in [0, 1].  heat: the map (H, W), >= 0 unless ``signed``. The
    largest magnitude has the strongest colour. NaN and Inf are hatched, and counted above the map.
    caption: a text above the map, such as method and class.

    >>> from minidl import figures
    >>> figure = figures.photograph_with_map(np.zeros((8, 8)), np.eye(8), caption="Grad-CAM: cat")
    >>> len(figure.axes)  # the photograph, and the map over it
    2
    """
    heat = float_array("heat", heat, "H", "W", finite=False)
    pixels, values = images_and_maps(image, heat, signed)
    side = (WIDTH - 3 * _GAP) / 2
    notes = check_instance("caption", caption, str), not_finite_note(values)
    caption = "\n".join(_wrapped(note, side) for note in notes if note)
    tall = side * heat.shape[0] / heat.shape[1]
    top = title_height(title, TEXT) + text_height(caption, TEXT) + 1.5 * _GAP
    with style():
        figure = _titled_figure(top + tall + _GAP, title)
        left = _panel(figure, _GAP, top, side, tall)
        right = _panel(figure, 2 * _GAP + side, top, side, tall, caption)
        show_values(left, pixels[0], Normalize(0, 1), "gray")
        (limits,) = image_limits(values[0], None, False, signed)
        lay_over(right, pixels[0], values[0, 0], limits, SIGNED_MAP if signed else HEAT_MAP)
    return figure


def perturbation_triple(
    image: np.ndarray,
    changed: np.ndarray,
    eps: float,
    before: tuple[str, float],
    after: tuple[str, float],
    *,
    title: str = "",
) -> Figure:
    """x + ε · d = x': the photograph, the change divided by ε, and the changed photograph.

    image, changed: two images of the same shape, as for ``prediction_bars``.  eps: no pixel changes by
    more.  before, after: the network's answer (name, probability) for the image and for the changed image.
    In the middle picture, grey means no change. A change of ε is brightest, a change of -ε is darkest.

    >>> from minidl import figures
    >>> image = np.full((8, 8), 0.5)
    >>> figure = figures.perturbation_triple(image, image + 0.01, 0.01, ("cat", 0.9), ("dog", 0.8))
    >>> len(figure.axes)
    3
    """
    x, x_new = photograph("image", image), photograph("changed", changed)
    require(x.shape == x_new.shape, f"changed must have the image's shape {x.shape}, got {x_new.shape}")
    eps, largest = positive_number("eps", eps, 1), float(np.abs(x_new - x).max())
    is_within = largest <= eps + 1e-6  # float32 rounds pixels
    require(is_within, f"eps must be at least the largest change of a pixel, {largest:.3g}, got {eps:g}")
    side, captions = (WIDTH - 2 * _GAP - 0.8) / 3, []
    for argument, value in (("before", before), ("after", after)):
        name, confidence = check_pair(argument, value, "(name, probability)")
        confidence = check_number(f"{argument}'s probability", confidence, 0, 1 + 1e-6)
        captions.append(f"{_wrapped(str(name), side)}\n{confidence:.1%}")
    direction = np.clip(0.5 + 0.5 * (x_new - x) / eps, 0, 1)
    captions.insert(1, f"the change, at most\n{_step(eps)} a pixel")
    tall = side * x.shape[0] / x.shape[1]
    below = max(text_height(caption, TEXT) for caption in captions)
    top = title_height(title, TEXT) + _GAP
    with style():
        figure = _titled_figure(top + tall + below + 2 * _GAP, title)
        for i, (pixels, caption) in enumerate(zip((x, direction, x_new), captions, strict=True)):
            left = _GAP + i * (side + 0.4)
            panel = _panel(figure, left, top, side, tall)
            show_values(panel, pixels, Normalize(0, 1), "gray")
            panel.set_xlabel(caption, fontsize=TEXT, labelpad=3)
            sign = ("", "+", "=")[i]
            y = 1 - (top + tall / 2) / figure.get_figheight()
            figure.text((left - 0.2) / WIDTH, y, sign, fontsize=16, ha="center", va="center")
    return figure


def photograph_strip(
    images: np.ndarray,
    names: Sequence[Any],
    right: Sequence[bool] | np.ndarray | None = None,
    columns: int = 4,
    *,
    title: str = "",
) -> Figure:
    """Photographs with a name under each photograph, at most 5 in a row.

    images: (N, 3, H, W), (N, 1, H, W) or (N, H, W) in [0, 1].  names: N names, such as the network's
    answers.  right: N bools; True gives a thin blue frame, False a thick orange frame.

    >>> from minidl import figures
    >>> figure = figures.photograph_strip(np.zeros((2, 8, 8)), ["cat", "dog"], right=[True, False])
    >>> len(figure.axes)
    2
    """
    pixels = unit_images("images", images, MAX_PANELS)
    names = text_list("names", names, len(pixels), "images")
    columns = min(positive_int("columns", columns), 5, len(pixels))
    looks = [("0.6", 0.6)] * len(pixels)
    if right is not None:
        right = check_array("right", right, len(pixels), kind="bool")
        looks = [RIGHT_OR_WRONG[bool(is_right)] for is_right in right]
    side = (WIDTH - (columns + 1) * _GAP) / columns
    tall = side * pixels.shape[1] / pixels.shape[2]
    texts = [_wrapped(name, side) for name in names]
    row_height = tall + max(text_height(text, TEXT) for text in texts) + 1.5 * _GAP
    rows, top = -(-len(pixels) // columns), title_height(title, TEXT) + _GAP
    with style():
        figure = _titled_figure(top + rows * row_height, title)
        for i, (image, text, look) in enumerate(zip(pixels, texts, looks, strict=True)):
            x, y = _GAP + i % columns * (side + _GAP), top + i // columns * row_height
            panel = _panel(figure, x, y, side, tall)
            show_values(panel, image, Normalize(0, 1), "gray")
            frame(panel, *look)
            panel.set_xlabel(text, fontsize=TEXT, labelpad=3)
    return figure


def patches_beside_patterns(
    patches: Sequence[Sequence[np.ndarray]],
    patterns: Sequence[Sequence[np.ndarray]],
    names: Sequence[Any] | None = None,
    *,
    title: str = "",
) -> Figure:
    """One row for each unit: the patches that excite the unit on the left, their patterns on the right.

    patches, patterns: R rows of 1 to 4 images (3, h, w), (1, h, w) or (h, w) in [0, 1]. A row has one pattern
    for each patch. Images may have different sizes, as at a border.  names: R names, each above its patches.

    >>> from minidl import figures
    >>> patches, patterns = [[np.zeros((8, 8))]], [[np.ones((8, 8))]]
    >>> figure = figures.patches_beside_patterns(patches, patterns, ["channel 3"])
    >>> len(figure.axes)
    2
    """
    left, right = images_by_row("patches", patches), images_by_row("patterns", patterns)
    rows = list(zip(left, right, strict=False))
    alike = list(map(len, left)) == list(map(len, right))
    require(alike, "patches and patterns must have the same number of rows and of images in each row")
    texts = text_list("names", names, len(rows), "units")
    k = max(map(len, left))
    side = (WIDTH - (2 * k + 2) * _GAP) / (2 * k)
    head = text_height("x", TEXT) + 0.05
    top, row_height = title_height(title, TEXT) + _GAP, head + side + _GAP
    with style():
        figure = _titled_figure(top + len(rows) * row_height, title)
        for r, (row, text) in enumerate(zip(rows, texts, strict=True)):
            y = top + r * row_height
            for x, words in ((_GAP, text), (_GAP + WIDTH / 2, "patterns")):
                figure.text(x / WIDTH, 1 - y / figure.get_figheight(), words, va="top", fontsize=TEXT)
            for half, images in enumerate(row):
                for i, image in enumerate(images):
                    x = _GAP + half * (WIDTH / 2) + i * (side + _GAP)
                    show_values(_panel(figure, x, y + head, side, side), image, Normalize(0, 1), "gray")
    return figure


def images_by_row(name: str, rows: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
    """Check all images of all rows with ``photograph``. A row has 1 to 4 images."""
    found = []
    for r, row in enumerate(check_instance(name, rows, (list, tuple))):
        images = check_instance(f"{name}[{r}]", row, (list, tuple, np.ndarray))
        require(1 <= len(images) <= 4, f"{name}[{r}] must be 1 to 4 images, got {len(images)}")
        found.append([photograph(f"{name}[{r}]", image) for image in images])
    require(found != [], f"{name} must have at least one row")
    return found


def photograph(name: str, image: np.ndarray) -> np.ndarray:
    """Check one image in [0, 1]. A grey image becomes (H, W), a colour image (H, W, 3)."""
    return unit_images(name, float_array(name, image, finite=False)[np.newaxis])[0]


def _titled_figure(height: float, title: str) -> Figure:
    figure = new_figure(WIDTH, height)
    figure.text(_GAP / WIDTH, 1 - 0.05 / height, title, va="top", fontsize=TEXT)
    return figure


def _panel(figure: Figure, x: float, y: float, width: float, height: float, caption: str = "") -> Axes:
    """An empty panel whose upper left corner is x inches from the left and y inches from the top."""
    bottom = figure.get_figheight() - y - height
    return empty_panel(figure, (x, bottom, width, height), caption, TEXT)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _wrapped(text: str, width: float) -> str:
    """The text in lines of about ``width`` inches, broken at spaces and hyphens.

    A line ends in "…" if it would reach the line beside it, as a long word may."""
    lines = textwrap.wrap(text, max(6, int(width / _LETTER)), break_long_words=False)
    for i, line in enumerate(lines):
        while text_width(lines[i], TEXT) > width + 0.8 * _GAP:
            line = line[:-1]
            lines[i] = line + "…"
    return "\n".join(lines)


def _step(eps: float) -> str:
    """The change as n/255 if n is a whole number."""
    steps = 255 * eps
    return f"{round(steps)}/255" if abs(steps - round(steps)) < 1e-6 * steps else f"{eps:.3g}"
