"""Pictures with a network's answers below each picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minidl.engine.checks import (
    check_array,
    check_number,
    check_pair,
    check_same_length,
    check_sequence,
    positive_int,
)
from minidl.figures.maps import lay_over
from minidl.figures.style import HEAT_MAP, SKY_BLUE, new_figure, text_list, text_width

SIZE = 13  # points: legible in a figure 400 pixels wide
Answers = Sequence[tuple[str, float]]
_SIDE, _GAP, _LINE, _TITLE = 2.3, 0.14, 0.27, 0.32  # inches


def answers_picture(
    images: Any, titles: Sequence[str], answers: Sequence[Answers], *, maps: Any = None, columns: int = 3
) -> Figure:
    """Each picture has its title above it. Below it are the network's answers, as bars with names.

    images: (N, 3, H, W) in [0, 1].  answers: for each picture, pairs (name, probability), the most probable
    first. The space below is the same for all pictures.  maps: for each picture None or a map (H, W), >= 0,
    which is drawn over the picture as a heat map.  columns: the number of pictures in each row.

    >>> from minidl import figures
    >>> answers = [[("cat", 0.9), ("dog", 0.1)]]
    >>> figure = figures.answers_picture(np.zeros((1, 3, 8, 8)), ["a photograph"], answers)
    >>> len(figure.axes)  # the picture, and its bars
    2
    """
    images = check_array("images", images, "N", 3, "H", "W", low=0, high=1)
    titles = text_list("titles", titles, len(images), "pictures")
    for pairs in check_sequence("answers", answers):
        for pair in check_sequence("each of answers", pairs):
            _, probability = check_pair("each answer", pair, "(name, probability)")
            check_number("each probability", probability, 0, 1 + 1e-6)
    if isinstance(maps, np.ndarray):
        maps = list(check_array("maps", maps, "N", *images.shape[2:], low=0))
    maps = [None] * len(images) if maps is None else check_sequence("maps", maps)
    check_same_length(images=images, titles=titles, answers=answers, maps=maps)
    columns = min(positive_int("columns", columns), len(images))
    rows, lines = -(-len(images) // columns), max(map(len, answers), default=0)
    cell = _SIDE + _GAP, _TITLE + _SIDE + lines * _LINE + _GAP
    width, height = columns * cell[0] + _GAP, rows * cell[1]
    figure = new_figure(width, height)
    for i, (image, title, pairs, heat) in enumerate(zip(images, titles, answers, maps, strict=True)):
        left = _GAP + i % columns * cell[0]
        top = height - i // columns * cell[1] - _TITLE
        place = left / width, (top - _SIDE) / height, _SIDE / width, _SIDE / height
        _draw_picture(figure.add_axes(place), image, title, heat)
        bottom = top - _SIDE - lines * _LINE
        place = left / width, bottom / height, _SIDE / width, lines * _LINE / height
        if lines:
            _draw_answers(figure.add_axes(place), pairs, lines)
    return figure


def _draw_picture(panel: Axes, image: np.ndarray, title: str, heat: Any) -> None:
    pixels = image.transpose(1, 2, 0)
    if heat is None:
        panel.imshow(pixels, aspect="auto")
    else:
        heat = check_array("maps", heat, *image.shape[1:], low=0)
        lay_over(panel, pixels, heat, (0, max(heat.max(), 1e-12)), HEAT_MAP)
    panel.set(xticks=[], yticks=[])
    panel.set_title(title, fontsize=SIZE, pad=4)
    for spine in panel.spines.values():
        spine.set_visible(False)


def _draw_answers(panel: Axes, pairs: Answers, lines: int) -> None:
    """One line for each answer: a bar, the name (in smaller letters if it is long), and the probability.

    A bar of probability 1 ends before the text of the probability.
    """
    longest = 0.98 - text_width("100%", SIZE) / _SIDE
    for i, (name, probability) in enumerate(pairs):
        panel.barh(i, longest * probability, height=0.84, color=SKY_BLUE, alpha=0.55)
        room = (_SIDE * 0.96 - text_width("100%", SIZE)) / max(text_width(name, SIZE), 1e-6)
        panel.text(0.02, i, name, va="center", fontsize=SIZE * min(1, room))
        panel.text(1, i, f"{probability:.0%}", va="center", ha="right", fontsize=SIZE)
    panel.set(xlim=(0, 1), ylim=(lines - 0.5, -0.5))
    panel.axis("off")
