"""Examples and their nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minidl.engine.checks import check_array, require
from minidl.figures.maps import unit_images
from minidl.figures.panels import frame, panels, show_values
from minidl.figures.style import RIGHT_OR_WRONG, by_title, style, text_list


def neighbours_picture(
    queries: np.ndarray,
    support: np.ndarray,
    neighbours: Mapping[str, np.ndarray],
    same_class: Mapping[str, np.ndarray],
    *,
    row_titles: Sequence[Any] | None = None,
    title: str = "",
) -> Figure:
    """One row for each query: the query, then its nearest support images in each space, the nearest first.

    queries, support: images (M, ...) and (N, ...) in [0, 1], as for ``image_grid``.
    neighbours: name of a space -> row numbers (M, k) of the support.  same_class: the same names -> bools
    (M, k). True means that the neighbour has the query's class: its frame is thin and blue. The frame of
    another neighbour is thick and orange.

    >>> from minidl import figures
    >>> images, nearest, same = np.zeros((3, 8, 8)), {"pixels": [[2, 0]]}, {"pixels": [[True, False]]}
    >>> figure = figures.neighbours_picture(images[:1], images, nearest, same)
    >>> len(figure.axes)  # the query, and two neighbours
    3
    """
    shown, pool = unit_images("queries", queries), unit_images("support", support)
    index, same = numbers_and_classes(neighbours, same_class, len(shown), len(pool))
    row_titles = text_list("row_titles", row_titles, len(shown), "queries")
    k = index.shape[-1]
    header = [f"{name}\n{_ordinal(rank)}" for name in neighbours for rank in range(1, k + 1)]
    columns = 1 + len(header)
    titles = ["query", *header] + [""] * (columns * (len(shown) - 1))
    with style():
        figure, axes, _ = panels(
            columns,
            shown.shape[1:3],
            titles=titles,
            row_titles=row_titles,
            title=title,
            note="frame: thin blue = the query's class, thick orange = another",
        )
        for m, query in enumerate(shown):
            first, *others = axes[m * columns : (m + 1) * columns]
            show_values(first, query, Normalize(0, 1), "gray")
            for panel, i, is_same in zip(others, index[:, m].ravel(), same[:, m].ravel(), strict=True):
                show_values(panel, pool[i], Normalize(0, 1), "gray")
                frame(panel, *RIGHT_OR_WRONG[bool(is_same)])
    return figure


def _ordinal(rank: int) -> str:
    return "nearest" if rank == 1 else {2: "2nd", 3: "3rd"}.get(rank, f"{rank}th")


def numbers_and_classes(
    neighbours: Mapping[str, np.ndarray], same_class: Mapping[str, np.ndarray], count: int, pool: int
) -> tuple[np.ndarray, np.ndarray]:
    """Check ``neighbours`` (numbers below ``pool``) and ``same_class``. Both become arrays (spaces, M, k)."""
    neighbours, same_class = by_title("neighbours", neighbours, 9), by_title("same_class", same_class, 9)
    named_alike = list(neighbours) == list(same_class)
    require(named_alike, f"same_class must name the spaces {list(neighbours)}, got {list(same_class)}")
    shape = (count, "k")
    index, same = [], []
    for name, rows in neighbours.items():
        title = f"neighbours by {name!r}"
        index.append(check_array(title, rows, *shape, kind="integer", low=0, high=pool - 1))
        shape = index[0].shape  # the arrays of all spaces must have the same shape
        same.append(check_array(f"same_class by {name!r}", same_class[name], *shape, kind="bool"))
    return np.stack(index), np.stack(same)
