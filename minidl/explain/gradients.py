"""Explanations by gradients of one number f of each image: a logit, or what a unit of any layer answers.

The ``target`` of every function here is a class, N classes, None for the class that the model predicts, or a
unit such as ("block2.relu", channel, p, q); ``target_of`` says it in full. f is a logit and not a
probability: that of a class also rises when the others fall. Rows (N, D) of a table are explained as images
(N, C, H, W) are. Float64 images are computed with in float64.
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
    batches,
    images_and_target,
    target_scores,
    with_bar,
)
from minidl.nn.module import Module


def gradient_by_rule(
    model: Module, images: np.ndarray, target: Target, rule: ReluRule = backprop_rule
) -> np.ndarray:
    """df/dx of checked images and target, carried through every ReLU by ``rule``. The images' shape."""
    maps = np.empty_like(images)
    for part in with_bar(batches(images), "gradients"):
        x = Tensor(images[part], requires_grad=True)
        with relu_rule(rule):
            scores = target_scores(model, x, target.part(part))  # (N,), each of its own image alone
        maps[part] = grad(scores.sum(), x)
    is_finite = bool(np.isfinite(maps).all())
    require(is_finite, "the gradient is not finite: the target is too steep, or has no slope, somewhere")
    return maps


def input_gradient(model: Module, images: np.ndarray, target: TargetLike = None) -> np.ndarray:
    """df/dx, signed, of the images' shape: what f would do if a value changed a little.

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
    """|df/dx|: how much f would answer to a small change of each value (Simonyan et al. 2014).

    reduce: over the channels, "max" of |df/dx| or "l2", the norm of df/dx, give maps (N, H, W). None keeps
    the images' shape, and is the one for rows.

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
    """How strong gradients (N, C, ...) are: one number for all channels of a place (N, ...), of their dtype.

    reduce: "max" takes the largest magnitude, "l2" the Euclidean norm. None keeps all channels' magnitudes.
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
    """(x - b) times the mean gradient on the straight way from a baseline b to x (Sundararajan et al. 2017).

        IG = (x - b) ∫_0^1 df/dx (b + α (x - b)) dα,    sum of IG = f(x) - f(b)   (completeness)

    target: classes, or a pair of a layer and a unit; None is the class predicted for x, all along the way.
    baseline: see ``baseline_images``.
    nodes: "gauss" or "midpoint", ``steps`` of them (see ``path_nodes``). Where f has kinks, as with ReLUs,
    neither is exact: compare the sum with f(x) - f(b).
    Returns: maps of the images' shape and dtype. Raises ValueError for less than one step, other nodes, a
    target that the model does not have, a baseline that does not fit.

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
    """Points α (steps,) within (0, 1) and weights (steps,) of sum 1: sum w g(α) ≈ ∫_0^1 g(α) dα.

    "midpoint": the middles of ``steps`` equal parts, all weights equal; exact for linear g.
    "gauss": Gauss and Legendre's nodes, exact for polynomials up to degree 2 steps - 1.
    Raises ValueError for less than one step, and for other nodes.
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

    It estimates the gradient of f blurred by that noise.  sigma: in the images' units; 0 gives df/dx at x.
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


# ---- other rules for the way back through ReLU


def deconvnet_rule(grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Of the incoming gradient only what speaks for f goes back, whatever the ReLU's input x; the rest is 0.

    Zeiler and Fergus 2014. grad and x have one shape, and the dtype is that of grad.
    """
    return np.where(grad > 0, grad, 0)


def guided_rule(grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What speaks for f goes back, through ReLUs that were on; the rest is 0 (Springenberg et al. 2015).

    x is the ReLU's input, grad the incoming gradient, of one shape. The dtype is that of grad.
    """
    return np.where((x > 0) & (grad > 0), grad, 0)


def deconvnet(model: Module, images: np.ndarray, target: TargetLike = None) -> np.ndarray:
    """df/dx with ``deconvnet_rule`` in place of ReLU's derivative: a picture of what f looks for, signed.

    Max pooling sends back to its switches, and all else is the gradient. Without pooling the image plays no
    part but for a target of None.

    >>> from minidl import explain, nn
    >>> model = nn.Sequential(nn.ReLU(), nn.Linear(3, 1, bias=False))
    >>> model[1].weight.data = np.float32([[1, 2, -3]])
    >>> print(explain.deconvnet(model, np.float32([[1, -1, 1]]), target=0))
    [[1. 2. 0.]]
    """
    images, goal = images_and_target(model, images, target)
    return gradient_by_rule(model, images, goal, deconvnet_rule)


def guided_backprop(model: Module, images: np.ndarray, target: TargetLike = None) -> np.ndarray:
    """df/dx with ``guided_rule`` in place of ReLU's derivative, signed. Without ReLUs, the gradient.

    >>> from minidl import explain, nn
    >>> model = nn.Sequential(nn.ReLU(), nn.Linear(3, 1, bias=False))
    >>> model[1].weight.data = np.float32([[1, 2, -3]])
    >>> print(explain.guided_backprop(model, np.float32([[1, -1, 1]]), target=0))
    [[1. 0. 0.]]
    """
    images, goal = images_and_target(model, images, target)
    return gradient_by_rule(model, images, goal, guided_rule)
