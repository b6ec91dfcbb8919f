"""Grad-CAM: where a layer's maps speak for a class, and guided Grad-CAM, which draws it at every pixel."""

from __future__ import annotations

import numpy as np

from minidl.engine.backward import grad
from minidl.engine.checks import check_array, check_flag, check_pair, positive_int, require
from minidl.engine.tensor import Tensor
from minidl.explain.gradients import gradient_by_rule, guided_rule
from minidl.explain.target import (
    Target,
    TargetLike,
    batches,
    images_and_target,
    layer_output,
    outputs_of,
    target_scores,
    with_bar,
)
from minidl.nn.module import Module


def gradcam(
    model: Module, images: np.ndarray, target: TargetLike, layer: str, *, upsample: bool = True
) -> np.ndarray:
    """Where the maps A of ``layer`` speak for the target y, >= 0 (Selvaraju et al. 2017).

        alpha_k = mean over positions of dy/dA_k,    L = ReLU(sum_k alpha_k A_k)

    images: (N, C, H, W).  target: see ``target_of``; a unit must lie at the layer or behind it.
    layer: the path of one with maps (N, K, h, w), usually the last of them.
    Returns: (N, H, W), enlarged by ``upsample_maps``; with ``upsample=False`` (N, h, w). In units of y, not
    scaled for display; where nothing speaks for y, zeros.
    """
    images, goal = images_and_target(model, images, target, maps=True)
    upsample = check_flag("upsample", upsample)
    maps = rectified_cams(model, images, goal, layer)
    return upsample_maps(maps, images.shape[2:]) if upsample else maps


def guided_gradcam(model: Module, images: np.ndarray, target: TargetLike, layer: str) -> np.ndarray:
    """``guided_backprop`` times ``gradcam`` (N, 1, H, W), signed, of the images' shape.

    The first draws edges of whatever class, the second says roughly where the asked one is.
    """
    images, goal = images_and_target(model, images, target, maps=True)
    cams = upsample_maps(rectified_cams(model, images, goal, layer), images.shape[2:])
    return gradient_by_rule(model, images, goal, guided_rule) * cams[:, np.newaxis]


def rectified_cams(model: Module, images: np.ndarray, goal: Target, layer: str) -> np.ndarray:
    cams = class_activation(*maps_and_gradients(model, images, goal, layer))
    is_finite = bool(np.isfinite(cams).all())
    require(is_finite, f"the map is not finite: layer {layer!r} or the target's slope is too large there")
    return np.maximum(cams, 0)


def maps_and_gradients(
    model: Module, images: np.ndarray, goal: Target, layer: str
) -> tuple[np.ndarray, np.ndarray]:
    """A and dy/dA of ``layer``, both (N, K, h, w), of checked images and target."""
    shape = layer_output(model, images[:1], layer).shape
    output = f"(N, {str(shape[1:])[1:]}"
    require(len(shape) == 4, f"layer {layer!r} has no maps (N, K, h, w): its output is {output}")
    maps = np.empty((len(images), *shape[1:]), images.dtype)
    gradients = np.empty_like(maps)
    for part in with_bar(batches(images), "Grad-CAM"):
        x = Tensor(images[part], requires_grad=True)  # so that there is a graph where all weights are frozen
        with outputs_of(model, layer) as outputs:
            y = target_scores(model, x, goal.part(part))  # (n,), each of its own image alone
        maps[part] = outputs[0].data
        try:
            gradients[part] = grad(y.sum(), outputs[0])
        except ValueError as error:
            raise ValueError(f"the target does not depend on layer {layer!r}: {error}") from error
    return maps, gradients


def class_activation(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """sum_k alpha_k A_k with alpha_k = mean over positions of dy/dA_k: signed maps (N, h, w).

    activations A, gradients dy/dA: (N, K, h, w).
    """
    alpha = gradients.mean(axis=(2, 3), keepdims=True)  # (N, K, 1, 1)
    return (alpha * activations).sum(axis=1)


def upsample_maps(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (N, h, w) as (N, H, W), bilinear between the pixels' middles, size = (H, W).

        W_rows @ map @ W_columns.T    with W of ``upsampling_weights``

    It is PyTorch's ``interpolate(mode="bilinear", align_corners=False)``, also where it makes smaller.
    """
    maps = check_array("maps", maps, "N", "h", "w", kind="float", finite=False)
    size = check_pair("size", size, "(height, width)")
    rows, columns = (
        upsampling_weights(old, new).astype(maps.dtype) for old, new in zip(maps.shape[1:], size, strict=True)
    )
    return rows @ maps @ columns.T


def upsampling_weights(old: int, new: int) -> np.ndarray:
    """W (new, old): what each of ``old`` pixels gives to each of ``new`` over the same length.

    The middle of new pixel i lies at s = (i + 1/2) old / new - 1/2, counted in old pixels, and takes from the
    two whose middles are nearest, in proportion to their nearness; beyond the outermost middles, from the
    outermost alone. Each row sums to 1.
    """
    old, new = positive_int("old", old), positive_int("new", new)
    s = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(0, 1 - np.abs(s[:, np.newaxis] - np.arange(old)))
