"""Grad-CAM shows where a layer's maps support a class. Guided Grad-CAM shows this at every pixel."""

from __future__ import annotations

import numpy as np

from minidl.engine.backward import grad
from minidl.engine.checks import check_array, check_flag, check_pair, positive_int, require
from minidl.engine.tensor import Tensor
from minidl.explain.gradients import guided_backprop
from minidl.explain.target import (
    TargetLike,
    images_and_target,
    only_output,
    outputs_of,
    target_scores,
    with_bar,
)
from minidl.nn.module import Module
from minidl.train.metrics import batch_slices


def gradcam(
    model: Module, images: np.ndarray, target: TargetLike, layer: str, *, upsample: bool = True
) -> np.ndarray:
    """Where the maps A of ``layer`` support the target y, >= 0 (Selvaraju et al. 2017).

        alpha_k = mean over positions of dy/dA_k,    L = ReLU(sum_k alpha_k A_k)

    images: (N, C, H, W).
    target: what y is. One class or N classes: the logit of the class. A set of classes: they count as one
    class. None: the largest logit of each image. A tuple (layer, channel, p, q) or (layer, unit): the output
    of that unit, in ``layer`` or a later layer.
    layer: the path of a layer with maps (N, K, h, w), usually the last such layer.
    Returns: (N, H, W), enlarged by ``upsample_maps``; with ``upsample=False`` (N, h, w). The map has the unit
    of y; it is not scaled for display. It is 0 where nothing supports y. Everything is computed in the
    images' dtype. The model runs in evaluation mode; its weights may be frozen. The model, its mode and its
    ``.grad`` do not change.
    Raises ValueError for a layer without maps, a target that does not depend on the layer, and maps that are
    not finite.

    >>> from minidl import explain, nn
    >>> model, images = nn.models.small_cnn(10, 1), np.ones((2, 1, 8, 8))
    >>> explain.gradcam(model, images, 3, "block2.relu").shape
    (2, 8, 8)
    """
    images, goal = images_and_target(model, images, target, maps=True)
    upsample, parts = check_flag("upsample", upsample), []
    for part in with_bar(batch_slices(images), "Grad-CAM"):
        # so that there is a graph even if all weights are frozen
        x = Tensor(images[part], requires_grad=True)
        with outputs_of(model, layer) as outputs:
            y = target_scores(model, x, goal.part(part))  # (n,), each depends only on its own image
        A = only_output(outputs, layer, len(y))
        output = f"(N, {str(A.shape[1:])[1:]}"
        require(A.ndim == 4, f"layer {layer!r} has no maps (N, K, h, w): its output is {output}")
        try:
            (dy_dA,) = grad(y.sum(), [A])
        except ValueError as error:
            raise ValueError(f"the target does not depend on layer {layer!r}: {error}") from error
        parts.append(class_activation(A.data, dy_dA))
    signed = np.concatenate(parts)  # (N, h, w)
    is_finite = bool(np.isfinite(signed).all())
    require(is_finite, f"the map is not finite: layer {layer!r} or the target's slope is too large there")
    maps = np.maximum(signed, 0)
    return upsample_maps(maps, images.shape[2:]) if upsample else maps


def guided_gradcam(model: Module, images: np.ndarray, target: TargetLike, layer: str) -> np.ndarray:
    """``guided_backprop`` times ``gradcam`` (N, 1, H, W), signed, of the images' shape.

    The first shows edges of any class, the second shows roughly where the target class is.

    >>> from minidl import explain, nn
    >>> model, images = nn.models.small_cnn(10, 1), np.ones((2, 1, 8, 8))
    >>> explain.guided_gradcam(model, images, 3, "block2.relu").shape
    (2, 1, 8, 8)
    """
    cams = gradcam(model, images, target, layer)
    return guided_backprop(model, images, target) * cams[:, np.newaxis]


def class_activation(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """sum_k alpha_k A_k, where alpha_k is the mean of dy/dA_k over its positions: (N, h, w), with signs.

    activations A, gradients dy/dA: (N, K, h, w). Each image has its own alpha_k. The result has their dtype.

    >>> class_activation(np.array([[[[1.0, 3.0]]]]), np.array([[[[1.0, -3.0]]]]))  # alpha is -1
    array([[[-1., -3.]]])
    """
    alpha = gradients.mean(axis=(2, 3), keepdims=True)  # (N, K, 1, 1)
    return (alpha * activations).sum(axis=1)


def upsample_maps(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize maps (N, h, w) to (N, H, W), bilinear between the centres of pixels, size = (H, W).

        W_rows @ map @ W_columns.T    with W of ``upsampling_weights``

    It is PyTorch's ``interpolate(mode="bilinear", align_corners=False)``, also for smaller sizes.
    """
    maps = check_array("maps", maps, "N", "h", "w", kind="float", finite=False)
    size = check_pair("size", size, "(height, width)")
    rows, columns = (
        upsampling_weights(old, new).astype(maps.dtype) for old, new in zip(maps.shape[1:], size, strict=True)
    )
    return rows @ maps @ columns.T


def upsampling_weights(old: int, new: int) -> np.ndarray:
    """W (new, old): the weight of each of ``old`` pixels in each of ``new`` pixels over the same length.

    The centre of new pixel i lies at s = (i + 1/2) old / new - 1/2, if old pixel j has its centre at j. The
    new value interpolates linearly between the two old pixels around s. If s is below 0 or above old - 1, the
    new value is that of the first or the last old pixel. Each row of W sums to 1. Returns float64.
    Raises ValueError for a size below 1.

    >>> print(upsampling_weights(2, 4))
    [[1.   0.  ]
     [0.75 0.25]
     [0.25 0.75]
     [0.   1.  ]]
    """
    old, new = positive_int("old", old), positive_int("new", new)
    s = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(0, 1 - np.abs(s[:, np.newaxis] - np.arange(old)))
