"""Examples and the nearest of what they are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minidl.figures.maps import _channels_last, _check_unit_range
from minidl.figures.panels import frame, panels, show_values
from minidl.figures.style import BLUE, VERMILLION, style, text_list


def neighbours_picture(
    queries: np.ndarray,
    support: np.ndarray,
    neighbours: Mapping[str, np.ndarray],
    same_class: Mapping[str, np.ndarray],
    *,
    row_titles: Sequence[Any] | None = None,
    title: str = "",
) -> Figure:
    """One row a query: the image, then its nearest images of the support in each space, nearest first.

    queries, support: images (M, ...) and (N, ...) in [0, 1], as ``image_grid`` takes them.
    neighbours: name of a space -> row numbers (M, k) of the support.  same_class: the same names -> bools
    (M, k); a thin blue frame around a neighbour of the query's class, a thick orange one around another.
    """
    shown, pool = _channels_last(queries), _channels_last(support)
    for pixels in (shown, pool):
        _check_unit_range(pixels, "undo the normalisation first")
    index, same = _checked_spaces(neighbours, same_class, len(shown), len(pool))
    row_titles = text_list(row_titles, len(shown), "row_titles", "queries")
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
                frame(panel, *((BLUE, 1.5) if is_same else (VERMILLION, 3.5)))
    return figure


def _ordinal(rank: int) -> str:
    return "nearest" if rank == 1 else {2: "2nd", 3: "3rd"}.get(rank, f"{rank}th")


def _checked_spaces(neighbours, same_class, count: int, pool: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers and bools, both (spaces, M, k)."""
    if not neighbours or list(neighbours) != list(same_class):
        raise ValueError(
            f"neighbours and same_class must name the same spaces, "
            f"got {list(neighbours)} and {list(same_class)}"
        )
    arrays = [np.asarray(a) for a in (*neighbours.values(), *same_class.values())]
    shape = arrays[0].shape
    if len(shape) != 2 or shape[0] != count or any(a.shape != shape for a in arrays):
        raise ValueError(f"expected ({count}, k) for every space, got {[a.shape for a in arrays]}")
    index, same = np.stack(arrays[: len(neighbours)]), np.stack(arrays[len(neighbours) :])
    if index.dtype.kind not in "iu" or same.dtype != np.bool_:
        raise TypeError(f"neighbours must be integers and same_class bools, got {index.dtype}, {same.dtype}")
    if index.min(initial=0) < 0 or index.max(initial=0) >= pool:
        raise ValueError(f"neighbours must be rows of a support of {pool} images")
    return index, same
