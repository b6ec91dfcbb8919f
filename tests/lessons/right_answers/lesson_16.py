"""Right answers to the exercises of lesson 16, written from the stubs alone."""

from __future__ import annotations

import numpy as np

from minidl.engine.backward import grad
from minidl.engine.tensor import Tensor
from minidl.explain.cam import upsample_maps
from minidl.explain.score import maps_and_masks
from minidl.explain.target import images_and_target, only_output, outputs_of, target_scores
from minidl.train.metrics import batch_slices
from tests.lessons.right_answers.declare import right


@right("16.1")
def mass_inside(maps, masks):
    maps, masks = maps_and_masks(maps, masks)
    if (maps < 0).any():
        raise ValueError("maps must not be negative")
    found = []
    for one, mask in zip(maps, masks, strict=True):
        found.append(mask.mean() if one.min() == one.max() else one[mask].sum() / one.sum())
    return np.array(found)


@right("16.2")
def class_activation(activations, gradients):
    alpha = gradients.mean(axis=(2, 3), keepdims=True)
    return (alpha * activations).sum(axis=1)


@right("16.3")
def upsampling_weights(old, new):
    if old < 1 or new < 1:
        raise ValueError("sizes must be at least 1")
    W = np.zeros((new, old))
    for i in range(new):
        s = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
        j = int(s)
        W[i, j] = 1 - (s - j)
        if j + 1 < old:
            W[i, j + 1] = s - j
    return W


@right("16.4")
def gradcam(model, images, target, layer, *, upsample=True):
    images, target = images_and_target(model, images, target, maps=True)
    maps = []
    for part in batch_slices(images):
        x = Tensor(images[part], requires_grad=True)
        with outputs_of(model, layer) as outputs:
            y = target_scores(model, x, target.part(part))
        A = only_output(outputs, layer, len(x))
        if A.ndim != 4:
            raise ValueError("the layer has no maps")
        maps.append(np.maximum(class_activation(A.data, grad(y.sum(), A)), 0))
    maps = np.concatenate(maps)
    if not np.isfinite(maps).all():
        raise ValueError("the maps are not finite")
    return upsample_maps(maps, images.shape[2:]) if upsample else maps
