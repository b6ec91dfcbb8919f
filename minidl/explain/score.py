"""Is an explanation right? Scores against the truth of made images, and against the model itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from minidl.engine.checks import number_array, positive_int, shown
from minidl.engine.random import default_rng_or
from minidl.explain.baseline import BaselineLike, baseline_images
from minidl.explain.occlusion import scores
from minidl.explain.target import Target, TargetLike, checked_images, checked_target
from minidl.nn.module import Module

Method = Callable[[Module, np.ndarray], np.ndarray]


# ---- against masks


def pointing_game(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """1 for each image whose highest pixel lies inside, else 0; of tied ones the share inside (N,) float64.

    maps, masks: (N, H, W).  Chance is the masks' share of the area: what a random map scores on average, and
    a constant one exactly. Source: Zhang et al. 2018, arXiv:1608.00507, without their tolerance of 15 pixels.
    """
    maps, masks = checked_maps(maps, masks)
    peaks = maps == maps.max(axis=(1, 2), keepdims=True)
    return (peaks & masks).sum(axis=(1, 2)) / peaks.sum(axis=(1, 2))


def mass_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The share of each map that lies inside: sum over the mask / sum over all (N,) float64.

    maps: (N, H, W) >= 0.  masks: (N, H, W) bool.  Chance is the masks' share of the area, which is also what
    a map of zeros gets, as any constant map. Raises ValueError for a negative map: say which part counts.
    """
    maps, masks = checked_maps(maps, masks)
    if maps.min() < 0:
        raise ValueError(
            f"maps must be >= 0, got {maps.min():.4g}: choose np.maximum(maps, 0) or np.abs(maps)"
        )
    total = maps.sum(axis=(1, 2))
    inside, chance = (maps * masks).sum(axis=(1, 2)), masks.mean(axis=(1, 2))
    return np.divide(inside, total, out=chance, where=total > 0)


def checked_maps(maps: Any, masks: Any) -> tuple[np.ndarray, np.ndarray]:
    """maps as float64 (N, H, W), masks as bool of that shape."""
    maps, masks = np.asarray(maps), np.asarray(masks)
    if maps.dtype.kind not in "fiub":
        raise TypeError(f"maps must be an array of numbers, got {maps.dtype}")
    if masks.dtype != bool:
        raise TypeError(f"masks must be bool, got {masks.dtype}")
    if maps.ndim != 3 or maps.size == 0 or maps.shape != masks.shape:
        raise ValueError(f"maps and masks must both be (N, H, W), not empty, got {maps.shape}, {masks.shape}")
    maps = maps.astype(np.float64)
    with np.errstate(over="ignore"):
        total = np.abs(maps).sum()
    if not np.isfinite(total):
        raise ValueError("maps must be finite, and so must their sum")
    return maps, masks


# ---- against the model's answer


def deletion_curve(
    model: Module,
    images: np.ndarray,
    target: TargetLike,
    maps: np.ndarray,
    *,
    steps: int = 16,
    baseline: BaselineLike = "mean",
    probability: bool = True,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """f when the pixels that a map holds for the most important are gone first (N, steps + 1).

    Column k: the first k/steps of the pixels are the baseline's, in all channels; column 0 is the image, the
    last one the baseline. A map that knows what f rests on makes f fall early. Chance is the curve of maps of
    random numbers.
    maps: (N, H, W); ties are broken at random by ``rng``, which also draws a baseline of noise.
    target: see ``checked_target``.  baseline: see ``baseline_images``: f on images that no training has seen
    depends on it.  probability: f is the softmax of the class and not its logit.
    Source: Petsiuk et al. 2018, arXiv:1806.07421.
    """
    images, order, rng = checked_order(images, maps, rng)
    goal, cover = checked_target(model, images, target), baseline_images(images, baseline, rng)
    return curve(model, images, cover, order, goal, steps, probability)


def insertion_curve(
    model: Module,
    images: np.ndarray,
    target: TargetLike,
    maps: np.ndarray,
    *,
    steps: int = 16,
    baseline: BaselineLike = "mean",
    probability: bool = True,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """f when the pixels that a map holds for the most important come first onto a baseline (N, steps + 1).

    As ``deletion_curve``, the other way: column 0 is the baseline, the last one the image, and a good map
    makes f rise early.
    """
    images, order, rng = checked_order(images, maps, rng)
    goal, cover = checked_target(model, images, target), baseline_images(images, baseline, rng)
    return curve(model, cover, images, order, goal, steps, probability)


def curve(
    model: Module,
    start: np.ndarray,
    end: np.ndarray,
    order: np.ndarray,
    goal: Target,
    steps: int,
    probability: bool,
) -> np.ndarray:
    """f on the way from images ``start`` to ``end``, pixel by pixel in ``order`` (N, H, W)."""
    steps = positive_int("steps", steps)
    if probability and goal.layer:
        raise ValueError(f"a unit has no probability: target {goal.layer!r} takes probability=False")
    values = np.empty((len(start), steps + 1))
    for k in tqdm(range(steps + 1), desc="pixels", unit="step", delay=2, leave=False):
        changed = order < round(k / steps * order[0].size)  # (N, H, W)
        values[:, k] = scores(model, np.where(changed[:, np.newaxis], end, start), goal, probability)
    return values


def importance_order(maps: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """Each pixel's place among those of its map: 0 for the highest, then 1, 2, ...; ties in random order.

    maps: (N, H, W).  Returns: (N, H, W) int64.
    """
    flat = maps.reshape(len(maps), -1)
    chance = default_rng_or(rng).random(flat.shape)
    best_first = np.lexsort((chance, -flat), axis=1)  # (N, H·W): which pixel comes k-th
    places = np.empty_like(best_first)
    np.put_along_axis(places, best_first, np.arange(flat.shape[1])[np.newaxis], axis=1)
    return places.reshape(maps.shape)


def area_under(curves: np.ndarray) -> np.ndarray:
    """Of curves (N, steps + 1) over 0 ... 1 the area under each, by trapezoids (N,): the mean height."""
    curves = number_array("curves", curves).astype(np.float64)
    if curves.ndim != 2 or curves.shape[1] < 2:
        raise ValueError(f"expected curves (N, steps + 1) with at least one step, got {curves.shape}")
    if not np.isfinite(curves).all():
        raise ValueError("curves must be finite")
    return (curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2


def checked_order(
    images: np.ndarray, maps: np.ndarray, rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    images, maps, rng = checked_images(images), np.asarray(maps), default_rng_or(rng)
    if images.ndim != 4:
        raise ValueError(f"images must be (N, C, H, W), got {images.shape}")
    if maps.dtype.kind not in "fiub":
        raise TypeError(f"maps must be an array of numbers, got {maps.dtype}")
    if maps.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"maps must be (N, H, W) of the images {images.shape}, got {maps.shape}: one number a pixel"
        )
    if not np.isfinite(maps).all():
        raise ValueError("maps must be finite")
    return images, importance_order(maps.astype(np.float64), rng), rng  # unsigned ones have no negative


# ---- against a model that has learned nothing


def randomisation_check(
    model: Module, method: Method, images: np.ndarray, *, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Spearman's correlation of each image's maps, by the model and by a ``randomised`` one (N,).

    method: (model, images) to maps (N, ...).  A method that explains the model comes near 0, which is chance;
    one near 1 shows the image, whatever the model has learned. A constant map has no order: it counts as 0.
    Source: Adebayo et al. 2018, arXiv:1810.03292.
    """
    images = checked_images(images)
    other = randomised(model, rng)
    if not callable(method):
        raise TypeError(f"method must be a function of a model and images, got {shown(method)}")
    first, second = (np.asarray(method(m, images)) for m in (model, other))
    for maps in (first, second):
        if maps.dtype.kind not in "fiub" or maps.ndim < 2 or maps.shape != first.shape:
            raise ValueError(f"method must give maps (N, ...) of one shape, got {maps.dtype} {maps.shape}")
        if len(maps) != len(images) or not np.isfinite(maps).all():
            raise ValueError(f"method must give {len(images)} finite maps, got {maps.shape}")
    return rank_correlation(first, second)


def randomised(model: Module, rng: np.random.Generator | None = None) -> Module:
    """A copy of the model in which the numbers of each parameter are shuffled, and of each buffer."""
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    model, rng = copy.deepcopy(model), default_rng_or(rng)
    state = {
        key: rng.permutation(array.ravel()).reshape(array.shape) for key, array in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's: the correlation of ranks, ties sharing their mean rank. (N, ...), (N, ...) give (N,).

    Where a or b is constant it is 0.
    """
    from scipy.stats import rankdata

    x, y = (rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (a, b))
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (x, y))
    norm = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return (x * y).sum(axis=1) / np.where(norm > 0, norm, 1)
