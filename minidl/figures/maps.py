"""Arrays as pictures: images, filters and feature maps, signed maps, heat maps over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minidl.engine.checks import check_array, check_flag, check_number, positive_int, positive_number, require
from minidl.figures.panels import colour_bar, default_columns, frame, not_finite_note, panels, show_values
from minidl.figures.style import HEAT_MAP, RIGHT_OR_WRONG, SIGNED_MAP, float_array, style, text_list

_EACH_ITS_OWN = "each on a scale of its own"
_SHOWS_IMAGE = "colours fade to the grey image at 0"


def image_grid(
    images: np.ndarray,
    titles: Sequence[Any] | None = None,
    columns: int | None = None,
    *,
    right: Sequence[bool] | np.ndarray | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    scale_each: bool = False,
    title: str = "",
) -> Figure:
    """N images in rows of ``columns`` images. The value 0 is black, and 1 is white.

    images: (N, H, W) or (N, 1, H, W) grey, (N, 3, H, W) colour.  titles: N titles.
    right: N bools; True gives a thin blue frame, False a thick orange frame.
    For other scales, such as those of feature maps, give ``vmin``, ``vmax`` or both. The data's minimum or
    maximum replaces a missing value. A colour bar shows the scale. With ``scale_each``, each image has its
    own scale, from its minimum to its maximum.
    NaN and Inf are hatched, and counted below. Raises ValueError for values outside of [0, 1] without a
    scale.

    >>> from minidl import figures
    >>> figure = figures.image_grid(np.zeros((2, 8, 8)), ["cat", "dog"])
    >>> [axes.get_title() for axes in figure.axes]
    ['cat', 'dog']
    """
    pixels = channels_last("images", images)
    titles, columns = text_list("titles", titles, len(pixels), "images"), column_count(columns, len(pixels))
    if right is not None:
        right = check_array("right", right, len(pixels), kind="bool")
    limits = _grid_limits(pixels, vmin, vmax, scale_each)
    bar = not scale_each and (vmin is not None or vmax is not None)
    frames = "frame: thin blue = right, thick orange = wrong" if right is not None else ""
    note = _together(frames, _EACH_ITS_OWN * scale_each, not_finite_note(pixels))
    with style():
        figure, axes, place = panels(
            columns, pixels.shape[1:3], titles=titles, title=title, note=note, bar=bar
        )
        for panel, image, (low, high) in zip(axes, pixels, limits, strict=True):
            show_values(panel, image, Normalize(low, high), "gray")
        if place is not None:
            colour_bar(place, Normalize(*limits[0]), "gray", _extend(pixels, *limits[0]))
        for panel, is_right in zip(axes, [] if right is None else right, strict=False):
            frame(panel, *RIGHT_OR_WRONG[bool(is_right)])
    return figure


def channels_last(name: str, images: np.ndarray) -> np.ndarray:
    """The images as (N, H, W) if they are grey, or as (N, H, W, 3) if they have colours."""
    pixels = float_array(name, images, finite=False)
    channels = pixels.shape[1] if pixels.ndim == 4 else 1
    shapes = "(N, H, W), (N, 1, H, W) or (N, 3, H, W)"
    fits = pixels.ndim in (3, 4) and channels in (1, 3)
    require(fits, f"{name} must have shape {shapes}, got {pixels.shape}")
    if channels == 3:
        return pixels.transpose(0, 2, 3, 1)
    return pixels.reshape(len(pixels), *pixels.shape[-2:])


def unit_images(name: str, images: np.ndarray, most: int | None = None) -> np.ndarray:
    """``channels_last`` of at most ``most`` images in [0, 1]."""
    pixels = channels_last(name, images)
    check_unit_range(name, pixels)
    require(most is None or len(pixels) <= most, f"{name} must be at most {most}, got {len(pixels)}")
    return pixels


def column_count(columns: int | None, count: int) -> int:
    """The number of columns for ``count`` panels."""
    return default_columns(count) if columns is None else min(positive_int("columns", columns), count)


def _grid_limits(
    pixels: np.ndarray, vmin: float | None, vmax: float | None, scale_each: bool
) -> list[tuple[float, float]]:
    """For each image, the values for black and for white."""
    if check_flag("scale_each", scale_each):
        is_free = vmin is None and vmax is None
        require(is_free, "scale_each gives each image its own scale, so vmin and vmax have no meaning")
        return [_range(image) for image in pixels]
    low, high = _range(pixels)
    if vmin is None and vmax is None:
        advice = "give vmin and vmax, or scale_each=True, or draw signed values with signed_map"
        check_unit_range("images", pixels, advice)
        low, high = 0.0, 1.0
    low = low if vmin is None else check_number("vmin", vmin)
    high = high if vmax is None else check_number("vmax", vmax)
    require(low < high, f"vmin must be below vmax, got {low:g} and {high:g}")
    return [(low, high)] * len(pixels)


def _range(values: np.ndarray) -> tuple[float, float]:
    """The finite minimum and maximum.

    If both are equal, they are made different, so that they form a scale.
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return low, high if high > low else low + 1.0


def check_unit_range(name: str, pixels: np.ndarray, advice: str = "undo the normalisation first") -> None:
    finite = pixels[np.isfinite(pixels)]
    low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
    fits = low >= -1e-6 and high <= 1 + 1e-6
    require(fits, f"{name} must lie in [0, 1], but these lie in [{low:.4g}, {high:.4g}]: {advice}")


def _extend(values: np.ndarray, low: float, high: float) -> str:
    """The ends of a colour bar that get an arrow, because there are values beyond."""
    finite = values[np.isfinite(values)]
    below, above = np.any(finite < low), np.any(finite > high)
    if below and above:
        return "both"
    return "min" if below else "max" if above else "neither"


def signed_map(
    maps: np.ndarray,
    titles: Sequence[Any] | None = None,
    columns: int | None = None,
    *,
    row_titles: Sequence[Any] | None = None,
    vmax: float | None = None,
    scale_each: bool = False,
    title: str = "",
) -> Figure:
    """Signed values, such as weights or gradients: blue below zero, white at zero, red above.

    maps: one map (H, W); N maps (N, H, W) in rows of ``columns`` maps, with N titles; or a table of maps
    (rows, columns, H, W), such as the filters (O, I, kh, kw) of a layer. A table has a title for each column
    and ``row_titles`` for the rows.
    The scale runs from -vmax to vmax. The default of vmax is the largest magnitude of all maps. With
    ``scale_each`` each map has its own scale. NaN and Inf are hatched, and counted below.

    >>> from minidl import figures
    >>> figure = figures.signed_map([[1.0, -1.0], [0.5, 0.0]])
    >>> len(figure.axes)  # the map, and its colour bar
    2
    """
    values = float_array("maps", maps, finite=False)
    shapes = "(H, W), (N, H, W) or (rows, columns, H, W)"
    require(values.ndim in (2, 3, 4), f"maps must have shape {shapes}, got {values.shape}")
    if values.ndim == 4:
        rows, across = values.shape[:2]
        require(columns is None, f"maps of shape {values.shape} already have {across} columns")
        columns = across
        titles = text_list("titles", titles, columns, "columns") + [""] * (columns * (rows - 1))
        row_titles = text_list("row_titles", row_titles, rows, "rows")
    needs = f"row_titles need maps of shape (rows, columns, H, W), got {values.shape}"
    require(values.ndim == 4 or row_titles is None, needs)
    flat = values.reshape(-1, *values.shape[-2:])
    titles, columns = text_list("titles", titles, len(flat), "maps"), column_count(columns, len(flat))
    limits = image_limits(flat, vmax, scale_each, signed=True)
    with style():
        figure, axes, place = panels(
            columns,
            flat.shape[1:],
            titles=titles,
            row_titles=row_titles or (),
            title=title,
            note=_together(_EACH_ITS_OWN * scale_each, not_finite_note(flat)),
            bar=not scale_each,
        )
        for panel, one, (low, high) in zip(axes, flat, limits, strict=True):
            show_values(panel, one, Normalize(low, high), SIGNED_MAP)
        if place is not None:
            colour_bar(place, Normalize(*limits[0]), SIGNED_MAP, _extend(flat, *limits[0]))
    return figure


def image_limits(
    maps: np.ndarray, vmax: float | None, scale_each: bool, signed: bool
) -> list[tuple[float, float]]:
    """The ends of each map's scale: (-limit, limit) if ``signed``, otherwise (0, limit)."""
    is_free = not check_flag("scale_each", scale_each) or vmax is None
    require(is_free, "scale_each gives each map its own scale, so vmax has no meaning")
    largest = np.abs(np.where(np.isfinite(maps), maps, 0.0)).max(axis=(1, 2))
    if not scale_each:
        largest[:] = largest.max() if vmax is None else positive_number("vmax", vmax)
    largest[largest == 0] = 1.0  # a map of zeros would have no scale
    return [(-limit if signed else 0.0, limit) for limit in largest.tolist()]


def overlay(
    images: np.ndarray,
    maps: np.ndarray,
    titles: Sequence[Any] | None = None,
    *,
    row_titles: Sequence[Any] | None = None,
    signed: bool = False,
    scale_each: bool = False,
    title: str = "",
) -> Figure:
    """Heat maps over the grey image. Each row has the image, then the image under each of its maps.

    maps: (H, W) for one image, (N, H, W) for N images, (N, M, H, W) for M maps of each image, such as M
    methods of explanation.  images: (N, H, W), (N, 1, H, W) or (N, 3, H, W) in [0, 1]; for one map the same
    without N. Images and maps have the same height and width.  titles: M titles.  row_titles: N titles.
    Zero is transparent, so a map must be >= 0. With ``signed`` a map may have negative values, which are
    blue. All maps share one scale, which ends at the largest magnitude. With ``scale_each`` each map has its
    own scale, for maps in different units. NaN and Inf are hatched, and counted below.

    >>> from minidl import figures
    >>> figure = figures.overlay(np.zeros((8, 8)), np.eye(8), ["saliency"])
    >>> len(figure.axes)  # the image, the map over it, and the colour bar
    3
    """
    pixels, values = images_and_maps(images, maps, signed)
    count, methods = values.shape[:2]
    titles = text_list("titles", titles, methods, "maps of an image")
    titles = ["image" if any(titles) else "", *titles] + [""] * ((methods + 1) * (count - 1))
    row_titles = text_list("row_titles", row_titles, count, "images")
    limits = image_limits(values.reshape(-1, *values.shape[2:]), None, scale_each, signed)
    cmap = SIGNED_MAP if signed else HEAT_MAP
    with style():
        figure, axes, place = panels(
            methods + 1,
            values.shape[2:],
            titles=titles,
            row_titles=row_titles,
            title=title,
            note=_together(_EACH_ITS_OWN if scale_each else _SHOWS_IMAGE, not_finite_note(values)),
            bar=not scale_each,
        )
        for n in range(count):
            first, *others = axes[n * (methods + 1) : (n + 1) * (methods + 1)]
            show_values(first, pixels[n], Normalize(0, 1), "gray")
            for m, panel in enumerate(others):
                lay_over(panel, pixels[n], values[n, m], limits[n * methods + m], cmap)
        if place is not None:
            colour_bar(place, Normalize(*limits[0]), cmap)
    return figure


def images_and_maps(images: np.ndarray, maps: np.ndarray, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The images as (N, H, W) or (N, H, W, 3), and the maps as (N, M, H, W)."""
    values, pixels = float_array("maps", maps, finite=False), float_array("images", images, finite=False)
    shapes = "(H, W), (N, H, W) or (N, M, H, W)"
    require(values.ndim in (2, 3, 4), f"maps must have shape {shapes}, got {values.shape}")
    if values.ndim == 2:
        values, pixels = values[None], pixels[None]
    if values.ndim == 3:
        values = values[:, None]
    pixels = unit_images("images", pixels)
    alike = f"images {np.shape(images)} and maps {np.shape(maps)} must agree in number, height and width"
    fits = pixels.shape[:3] == (len(values), *values.shape[2:])
    require(fits, f"{alike}: enlarge a smaller map to the image's size first")
    lowest = values.min(where=np.isfinite(values), initial=0.0)
    mend = "give signed=True, or draw the positive part, np.maximum(maps, 0)"
    is_right = check_flag("signed", signed) or lowest >= 0
    require(is_right, f"the maps have negative values, down to {lowest:.4g}: {mend}")
    return pixels, values


def lay_over(
    panel: Axes, image: np.ndarray, values: np.ndarray, limits: tuple[float, float], cmap: str
) -> None:
    """Draw the map over its image. A larger magnitude is more opaque. limits: the ends of the map's scale.

    Small values of a signed map have pale colours, so they are more opaque than in a map >= 0.
    """
    grey = image @ np.array([0.299, 0.587, 0.114]) if image.ndim == 3 else image
    dimmed = np.where(np.isfinite(values), 0.15 + 0.6 * grey, np.nan)
    show_values(panel, dimmed, Normalize(0, 1), "gray")
    low, high = limits
    strength = np.abs(np.where(np.isfinite(values), values, 0.0)) / high
    opaque = np.sqrt(strength) if low < 0 else np.minimum(1, 1.5 * strength)
    show_values(panel, values, Normalize(low, high), cmap, alpha=0.7 * np.minimum(1, opaque))


def _together(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
