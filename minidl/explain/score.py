"""Scores for explanations: against the known truth of generated images, and against the model itself."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np

from minidl.engine.checks import check_array, check_function, check_instance, check_int, require
from minidl.engine.random import default_rng_or
from minidl.explain.baseline import BaselineLike, baseline_images
from minidl.explain.occlusion import scores
from minidl.explain.target import TargetLike, as_numbers, float_images, images_and_target, with_bar
from minidl.nn.module import Module

Method = Callable[[Module, np.ndarray], np.ndarray]


# ---- against masks


def pointing_game(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """For each image, 1 if its highest pixel lies inside the mask, otherwise 0: (N,) float64.

    maps, masks: (N, H, W). Tied highest pixels give the fraction of them that lies inside. A random map
    scores on average the masks' fraction of the area, and a constant map exactly this. Source: Zhang et al.
    2018, arXiv:1608.00507, without their tolerance of 15 pixels.

    >>> from minidl import explain
    >>> print(explain.pointing_game([[[1, 3], [0, 0]]], [[[False, True], [False, True]]]))
    [1.]
    """
    maps, masks = maps_and_masks(maps, masks)
    peaks = maps == maps.max(axis=(1, 2), keepdims=True)
    return (peaks & masks).sum(axis=(1, 2)) / peaks.sum(axis=(1, 2))


def mass_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The fraction of each map inside its mask: sum over the mask / sum over all pixels (N,), in float64.

    maps: (N, H, W) >= 0.  masks: (N, H, W) bool.  A constant map, also a map of zeros, gives the mask's
    fraction of the area: this is chance. Raises ValueError for values that are negative or not finite.

    >>> from minidl import explain
    >>> maps, masks = np.array([[[1, 3], [0, 0]]]), np.array([[[True, False], [True, False]]])
    >>> print(explain.mass_inside(maps, masks))
    [0.25]
    """
    maps, masks = maps_and_masks(maps, masks)
    if maps.min() < 0:
        raise ValueError(f"maps must be >= 0, got {maps.min():.4g}: take np.maximum(maps, 0) or np.abs(maps)")
    total = maps.sum(axis=(1, 2))
    inside, chance = (maps * masks).sum(axis=(1, 2)), masks.mean(axis=(1, 2))
    return np.divide(inside, total, out=chance, where=total > 0)


def maps_and_masks(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """maps as float64 (N, H, W), masks as bool of that shape."""
    masks = check_array("masks", masks, "N", "H", "W", kind="bool")
    maps = check_array("maps", as_numbers(maps), *masks.shape).astype(np.float64)
    with np.errstate(over="ignore"):
        total = np.abs(maps).sum()
    require(np.isfinite(total), "maps must be finite, and so must their sum")
    return maps, masks


# ---- against the model's output


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
    """f when the most important pixels of a map are removed first (N, steps + 1).

    In column k, a fraction k/steps of the pixels has the values of the baseline, in all channels. Column 0 is
    the image, the last column the baseline. With a good map f falls early. Random maps give the curve of
    chance.
    maps: (N, H, W); ties are broken at random by ``rng``, which also draws a baseline of noise.
    target: see ``target_of``.  baseline: see ``baseline_images``. These images are unlike the training
    images, so f depends on the baseline.  probability: f is the softmax of the class instead of its logit.
    Source: Petsiuk et al. 2018, arXiv:1806.07421.

    >>> from minidl import explain, nn
    >>> model, images = nn.models.small_cnn(10, 1), np.ones((2, 1, 8, 8))
    >>> explain.deletion_curve(model, images, 3, explain.saliency(model, images, 3), steps=4).shape
    (2, 5)
    """
    return pixel_curve(model, images, target, maps, steps, baseline, probability, rng, insert=False)


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
    """f when the most important pixels of a map are added first to a baseline (N, steps + 1).

    The reverse of ``deletion_curve``: column 0 is the baseline, and the last column is the image. With a good
    map f rises early.

    >>> from minidl import explain, nn
    >>> model, images = nn.models.small_cnn(10, 1), np.ones((2, 1, 8, 8))
    >>> explain.insertion_curve(model, images, 3, explain.saliency(model, images, 3), steps=4).shape
    (2, 5)
    """
    return pixel_curve(model, images, target, maps, steps, baseline, probability, rng, insert=True)


def pixel_curve(
    model: Module,
    images: np.ndarray,
    target: TargetLike,
    maps: np.ndarray,
    steps: int,
    baseline: BaselineLike,
    probability: bool,
    rng: np.random.Generator | None,
    insert: bool,
) -> np.ndarray:
    """f while the baseline replaces the best pixels first, or the reverse with ``insert``."""
    images, goal = images_and_target(model, images, target, maps=True, probability=probability)
    maps = check_array("maps", as_numbers(maps), len(images), *images.shape[2:])
    steps, rng = check_int("steps", steps, 1, 10**6), default_rng_or(rng)
    order = importance_order(maps.astype(np.float64), rng)  # unsigned integers cannot be negated
    cover = baseline_images(images, baseline, rng)
    start, end = (cover, images) if insert else (images, cover)
    values = np.empty((len(start), steps + 1))
    for k in with_bar(range(steps + 1), "pixels", "step"):
        changed = order < round(k / steps * order[0].size)  # (N, H, W)
        values[:, k] = scores(model, np.where(changed[:, np.newaxis], end, start), goal, probability)
    return values


def importance_order(maps: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """The rank of each pixel in its map: 0 for the highest, then 1, 2, ...; ties in random order.

    maps: (N, H, W).  Returns: (N, H, W) int64.
    """
    flat = maps.reshape(len(maps), -1)
    chance = default_rng_or(rng).random(flat.shape)
    best_first = np.lexsort((chance, -flat), axis=1)  # (N, H·W): the index of the k-th pixel
    places = np.empty_like(best_first)
    np.put_along_axis(places, best_first, np.arange(flat.shape[1])[np.newaxis], axis=1)
    return places.reshape(maps.shape)


def area_under(curves: np.ndarray) -> np.ndarray:
    """The area under each curve (N, steps + 1) over 0 ... 1, by trapezoids (N,): its mean height.

    >>> from minidl import explain
    >>> print(explain.area_under([[1, 0.5, 0]]))
    [0.5]
    """
    curves = check_array("curves", curves, "N", "steps + 1").astype(np.float64)
    require(curves.shape[1] > 1, f"curves must be (N, steps + 1) with at least one step, got {curves.shape}")
    return (curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2


# ---- against a model with random parameters


def randomisation_check(
    model: Module, method: Method, images: np.ndarray, *, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Spearman's correlation between the maps of the model and of a ``randomised`` model, per image (N,).

    method: (model, images) to maps (N, ...).  A method that explains the model scores near 0, which is
    chance. A score near 1 means that the maps show the image and not the model. Constant maps count as 0.
    Source: Adebayo et al. 2018, arXiv:1810.03292.

    >>> from minidl import explain, nn
    >>> model, images = nn.models.small_cnn(10, 1), np.ones((2, 1, 8, 8))
    >>> explain.randomisation_check(model, explain.saliency, images).shape
    (2,)
    """
    check_instance("model", model, Module)
    check_function("method", method, "a model and images")
    images, other = float_images(images), randomised(model, rng)
    found = (as_numbers(method(m, images)) for m in (model, other))
    first, second = (check_array("the result of method", maps) for maps in found)
    fits = first.ndim > 1 and len(first) == len(images) and first.shape == second.shape
    shapes = f"{first.shape} and {second.shape}"
    require(fits, f"method must return maps (N, ...) of {len(images)} images, got {shapes}")
    return rank_correlation(first, second)


def randomised(model: Module, rng: np.random.Generator | None = None) -> Module:
    """A copy of the model with shuffled numbers in each parameter and buffer."""
    model, rng = copy.deepcopy(model), default_rng_or(rng)
    state = {
        key: rng.permutation(array.ravel()).reshape(array.shape) for key, array in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation: that of the ranks. Ties get their mean rank. (N, ...), (N, ...) give (N,).

    It is 0 if a or b is constant.
    """
    from scipy.stats import rankdata

    x, y = (rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (a, b))
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (x, y))
    norm = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return (x * y).sum(axis=1) / np.where(norm > 0, norm, 1)
