"""Explanations by gradients of one number f for each image: a logit, or the output of a unit of any layer.

The ``target`` of every function here is a class, N classes, a set of classes that count as one class, None
for the class that the model predicts, or a unit such as ("block2.relu", channel, p, q); see ``target_of``. f
is a logit and not a probability, because a probability also rises when other logits fall. Rows (N, D) of a
table work like images (N, C, H, W). Float64 images are computed in float64.
"""

from __future__ import annotations

import numpy as np

from minidl.engine.backward import grad
from minidl.engine.checks import check_choice, check_int, check_number, positive_int, require
from minidl.engine.elementwise import ReluRule, backprop_rule, relu_rule
from minidl.engine.random import default_rng_or
from minidl.engine.tensor import Tensor
from minidl.explain.baseline import BaselineLike, baseline_images
from minidl.explain.target import (
    Target,
    TargetLike,
    images_and_target,
    target_scores,
    with_bar,
)
from minidl.nn.module import Module
from minidl.train.metrics import batch_slices


def gradient_by_rule(
    model: Module, images: np.ndarray, target: Target, rule: ReluRule = backprop_rule
) -> np.ndarray:
    """df/dx for checked images and target, in the images' shape. Every ReLU goes backward by ``rule``."""
    maps = np.empty_like(images)
    for part in with_bar(batch_slices(images), "gradients"):
        x = Tensor(images[part], requires_grad=True)
        with relu_rule(rule):
            scores = target_scores(model, x, target.part(part))  # (N,), each depends only on its own image
        maps[part] = grad(scores.sum(), x)
    is_finite = bool(np.isfinite(maps).all())
    require(is_finite, "the gradient is not finite: the target is too steep, or has no slope, somewhere")
    return maps


def input_gradient(model: Module, images: np.ndarray, target: TargetLike = None) -> np.ndarray:
    """df/dx, signed, of the images' shape: the change of f for a small change of each value.

    >>> from minidl import explain, nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> model.weight.data = np.float32([[1, -2]])
    >>> print(explain.input_gradient(model, np.float32([[3, 1]]), target=0))
    [[ 1. -2.]]
    """
    images, goal = images_and_target(model, images, target)
    return gradient_by_rule(model, images, goal)


def saliency(
    model: Module, images: np.ndarray, target: TargetLike = None, *, reduce: str | None = "max"
) -> np.ndarray:
    """|df/dx|: how strongly f reacts to a small change of each value (Simonyan et al. 2014).

    reduce: over the channels, "max" of |df/dx| or "l2", the norm of df/dx, give maps (N, H, W). None keeps
    the images' shape; rows need it.

    >>> from minidl import explain, nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> model.weight.data = np.float32([[1, -2]])
    >>> print(explain.saliency(model, np.float32([[3, 1]]), target=0, reduce=None))
    [[1. 2.]]
    """
    reduce = check_choice("reduce", reduce, ("max", "l2", None))
    images, goal = images_and_target(model, images, target)
    has_channels = images.ndim > 2 or reduce is None
    require(has_channels, f"rows {images.shape} have no channels to reduce: give reduce=None")
    return reduce_channels(gradient_by_rule(model, images, goal), reduce)


def reduce_channels(gradients: np.ndarray, reduce: str | None) -> np.ndarray:
    """The strength of gradients (N, C, ...) at each pixel: (N, ...), one number for all channels of a pixel.

    reduce: "max" gives the largest magnitude, "l2" the Euclidean norm. None keeps the magnitude of each
    channel, (N, C, ...). The dtype is that of the gradients.

    >>> reduce_channels(np.array([[3.0, -4.0]]), "l2")  # one image, two channels
    array([5.])
    """
    if reduce == "max":
        return np.abs(gradients).max(axis=1)
    if reduce == "l2":
        return np.sqrt((gradients**2).sum(axis=1))
    return np.abs(gradients)


def input_x_gradient(model: Module, images: np.ndarray, target: TargetLike = None) -> np.ndarray:
    """x df/dx, signed: what each value contributes to f if f is linear (Shrikumar et al. 2016).

    In a network of ReLUs and max pooling without biases the values of an image sum to f exactly.

    >>> from minidl import explain, nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> model.weight.data = np.float32([[1, -2]])
    >>> print(explain.input_x_gradient(model, np.float32([[3, 1]]), target=0))
    [[ 3. -2.]]
    """
    images, goal = images_and_target(model, images, target)
    return images * gradient_by_rule(model, images, goal)


def integrated_gradients(
    model: Module,
    images: np.ndarray,
    target: TargetLike = None,
    *,
    baseline: BaselineLike = 0.0,
    steps: int = 64,
    nodes: str = "gauss",
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """(x - b) times the mean gradient on the line from a baseline b to x (Sundararajan et al. 2017).

        IG = (x - b) ∫_0^1 df/dx (b + α (x - b)) dα,    sum of IG = f(x) - f(b)   (completeness)

    images x: (N, C, H, W), or rows (N, D).
    target: what f is. One class, N classes or a set: the logit of the class. None: of the class predicted for
    x, along the whole line. A tuple (layer, channel, p, q) or (layer, unit): the output of that unit.
    baseline: b, a number, an array, "mean" or "noise", which ``rng`` draws (``baseline_images``).
    nodes: "gauss" or "midpoint", with ``steps`` points on the line (``path_nodes``). If f has kinks, as with
    ReLUs, both are only approximate: compare the sum with f(x) - f(b).
    Returns: maps of the images' shape and dtype. Everything is computed in this dtype and in evaluation mode.
    The model, its mode and its ``.grad`` do not change. Raises ValueError for fewer than one step, other
    nodes, a target that the model does not have, and a baseline that does not fit.

    >>> from minidl import explain, nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> model.weight.data = np.float32([[1, -2]])
    >>> print(explain.integrated_gradients(model, np.float32([[3, 1]]), target=0).round(3))
    [[ 3. -2.]]
    """
    images, goal = images_and_target(model, images, target)
    b = baseline_images(images, baseline, rng)
    steps = check_int("steps", steps, 1, 10**4)
    alphas, weights = path_nodes(steps, check_choice("nodes", nodes, ("gauss", "midpoint")))
    average = np.zeros_like(images)
    pairs = list(zip(alphas.tolist(), weights.tolist(), strict=True))
    for alpha, weight in with_bar(pairs, "integrated gradients", "node"):
        point = b + alpha * (images - b)
        average += weight * gradient_by_rule(model, point, goal)
    return (images - b) * average


def path_nodes(steps: int, nodes: str = "gauss") -> tuple[np.ndarray, np.ndarray]:
    """Points α and weights w for an integral from 0 to 1: sum w g(α) ≈ ∫_0^1 g(α) dα.

    Returns α (steps,), rising, between 0 and 1 exclusive, and w (steps,) with the sum 1.
    nodes = "midpoint": the centres of ``steps`` equal parts, all weights equal; exact for linear g.
    nodes = "gauss": the nodes of Gauss and Legendre, exact for polynomials up to degree 2 · steps - 1.
    Raises ValueError for fewer than one step, and for other nodes.

    >>> path_nodes(2, "midpoint")
    (array([0.25, 0.75]), array([0.5, 0.5]))
    """
    steps = positive_int("steps", steps)
    if nodes == "midpoint":
        return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)
    if nodes != "gauss":
        raise ValueError(f'nodes must be "gauss" or "midpoint", got {nodes!r}')
    points, weights = np.polynomial.legendre.leggauss(steps)  # for the integral from -1 to 1
    return (points + 1) / 2, weights / 2


def smoothgrad(
    model: Module,
    images: np.ndarray,
    target: TargetLike = None,
    *,
    samples: int = 32,
    sigma: float = 0.1,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """The mean of df/dx, signed, at ``samples`` points x + ε with ε ~ N(0, sigma²) (Smilkov et al. 2017).

    It estimates the gradient of f blurred by this noise.  sigma: in the units of the images; 0 gives df/dx at
    x.
    target: None is the class predicted for x itself. ``rng`` draws the noise.

    >>> from minidl import explain, nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> model.weight.data = np.float32([[1, -2]])
    >>> print(explain.smoothgrad(model, np.float32([[3, 1]]), target=0).round(3))
    [[ 1. -2.]]
    """
    images, goal = images_and_target(model, images, target)
    sigma, samples = check_number("sigma", sigma, 0), check_int("samples", samples, 1, 10**7)
    total, rng = np.zeros_like(images), default_rng_or(rng)
    for _ in with_bar(range(samples), "smoothgrad", "sample"):
        noise = rng.standard_normal(images.shape, dtype=images.dtype.type)
        total += gradient_by_rule(model, images + sigma * noise, goal)
    return total / samples


# ---- other rules for the backward pass through ReLU


def deconvnet_rule(grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    """max(grad, 0), for any input x of the ReLU: only positive gradients pass (Zeiler and Fergus 2014).

    grad is the incoming gradient. grad and x have one shape. The result has the dtype of grad. The rule also
    holds for infinite values of grad and x. No value is NaN.

    >>> deconvnet_rule(np.array([2.0, -1.0, 3.0]), np.array([1.0, 2.0, -1.0]))
    array([2., 0., 3.])
    """
    return np.where(grad > 0, grad, 0)


def guided_rule(grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    """max(grad, 0) where x > 0, otherwise 0: positive gradients pass active ReLUs (Springenberg et al.
    2015).

    x is the ReLU's input, grad is the incoming gradient. They have one shape. The result has the dtype of
    grad. The rule also holds for infinite values of grad and x. No value is NaN.

    >>> guided_rule(np.array([2.0, -1.0, 3.0]), np.array([1.0, 2.0, -1.0]))
    array([2., 0., 0.])
    """
    return np.where((x > 0) & (grad > 0), grad, 0)


def deconvnet(model: Module, images: np.ndarray, target: TargetLike = None) -> np.ndarray:
    """df/dx with ``deconvnet_rule`` in place of ReLU's derivative, signed: a picture of the pattern for f.

    Max pooling sends gradients back to its switches; all other layers use their gradient. Without pooling,
    the result does not depend on the image, except for a target of None.

    >>> from minidl import explain, nn
    >>> model = nn.Sequential(nn.ReLU(), nn.Linear(3, 1, bias=False))
    >>> model[1].weight.data = np.float32([[1, 2, -3]])
    >>> print(explain.deconvnet(model, np.float32([[1, -1, 1]]), target=0))
    [[1. 2. 0.]]
    """
    images, goal = images_and_target(model, images, target)
    return gradient_by_rule(model, images, goal, deconvnet_rule)


def guided_backprop(model: Module, images: np.ndarray, target: TargetLike = None) -> np.ndarray:
    """df/dx with ``guided_rule`` in place of ReLU's derivative, signed. Without ReLUs it is the gradient.

    >>> from minidl import explain, nn
    >>> model = nn.Sequential(nn.ReLU(), nn.Linear(3, 1, bias=False))
    >>> model[1].weight.data = np.float32([[1, 2, -3]])
    >>> print(explain.guided_backprop(model, np.float32([[1, -1, 1]]), target=0))
    [[1. 0. 0.]]
    """
    images, goal = images_and_target(model, images, target)
    return gradient_by_rule(model, images, goal, guided_rule)
