"""The smallest change of one image, in the Euclidean norm, that changes a model's answer.

The model computes in the image's dtype, float32 or float64. Success and norms are measured on the result in
this dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from minidl.attack.gradient_sign import (
    MOST,
    Bounds,
    checked_images,
    class_count,
    finite_logits,
    gradient_at,
    pgd,
)
from minidl.engine import jit
from minidl.engine.checks import check_array, check_int, check_labels, positive_number, require
from minidl.engine.functions import concatenate
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.module import Module, eval_mode

LOWEST_POWER, HIGHEST_POWER = -6, 10  # limits of the search for λ: powers of ten
LAM_RATIO = 1.02  # bisection of λ ends at this ratio
SHARE = 1e-4  # precision of the fraction of r that is kept
LOWEST_EPS, STARTS = -8, 8  # PGD's first ε, as a power of two, and its number of random starts


class Perturbation(NamedTuple):
    """A changed image, image = x + r."""

    image: np.ndarray  # (C, H, W), in the box
    r: np.ndarray  # (C, H, W)
    norm: float  # ‖r‖_2
    success: bool  # whether the model gives the wanted answer
    lam: float | None  # the weight λ of ‖r‖²; inf if no change was needed, None for attacks without λ


def penalised_loss(logits: Tensor, r: Tensor, target: int, lam: float) -> Tensor:
    """-Φ + λ ‖r‖², where Φ = log softmax(logits)[target] and ‖r‖² is the sum of the squares of r.

    The norm is squared, because ‖r‖ has no gradient at r = 0, the start of the search. Φ is finite, even
    where the softmax is rounded to 0.
    logits: (K,), of the changed image x + r.  r: the change, of any shape.  lam: λ. Returns a scalar Tensor.
    """
    return lam * (r * r).sum() - F.log_softmax(logits)[target]


def minimal_perturbation(
    model: Module,
    image: np.ndarray,
    target: int | Sequence[int] | set[int] | frozenset[int],
    *,
    lam: float | None = None,
    max_steps: int = 200,
    bounds: Bounds = (0, 1),
) -> Perturbation:
    """A small r for which the model answers ``target`` (Szegedy et al. 2014): for a given λ > 0

        max over r of  log p(target | x + r) - λ ‖r‖²    with x + r in the box, by L-BFGS-B from r = 0

    target: a class, or several classes (a list or a set) that all count as success, such as all cats: then p
    is the sum of theirs.
    lam: a large λ keeps r small, but may miss the target. None searches the largest λ that reaches the
    target: by factors of ten from 1, then by bisection. Then the smallest r is shortened as far as it still
    reaches the target. If no λ reaches it, because L-BFGS-B can stop at a kink, the search starts again from
    a result of PGD. The norm is an upper bound of the smallest norm: for an affine model of two classes at
    most 0.1% larger without a box, 1% with a box. With more classes Φ demands distance from all classes, not
    only from the nearest, and on a network the searches are local.
    image: (C, H, W), or a row (D,), in the box.  If no λ down to 1e-6 reaches the target, success is False.
    λ has the unit 1 / pixel². So in a box of finite width w, the search uses λ w² instead.
    max_steps: the steps of L-BFGS-B for one λ; a search tries about 20 values of λ, or twice as many. Each
    step costs a forward and a backward pass: on a large network a search takes minutes, a given λ less.
    Raises FloatingPointError if the model's logits are not finite.

    >>> from minidl import attack, nn
    >>> found = attack.minimal_perturbation(nn.Identity(), np.array([0.6, 0.4]), target=1)
    >>> print(found.success, round(found.norm, 2))  # 0.2 / sqrt(2)
    True 0.14
    """
    x = checked_image(image, bounds)
    group = [target] if isinstance(target, int | np.integer) else target
    group = list(group) if isinstance(group, set | frozenset) else group
    classes = np.unique(check_labels("target", group, num_classes=class_count(model, x[np.newaxis])))
    max_steps = check_int("max_steps", max_steps, 1, MOST)

    def search(lam: float, start: np.ndarray) -> Perturbation:
        return attempt(model, x, classes, lam, bounds, start, max_steps)

    nothing = np.zeros(x.shape)
    if lam is not None:
        return search(positive_number("lam", lam), nothing)
    found = perturbed(model, x, nothing, bounds, math.inf, classes)
    if found.success:
        return found
    found = smallest(search, nothing, 1 / width(bounds) ** 2)
    if not found.success:
        start = reached_by_pgd(model, x, classes, bounds)
        again = smallest(lambda lam, _: search(lam, start.r), start.r, 1 / width(bounds) ** 2)
        found = shortest(found, again, start)
    return shortened(model, x, found, bounds, classes) if found.success else found


def attempt(
    model: Module,
    x: np.ndarray,
    target: np.ndarray,
    lam: float,
    bounds: Bounds,
    start: np.ndarray,
    max_steps: int,
) -> Perturbation:
    """The r that minimises ``perturbation_loss`` for this λ, with the start ``start``.

    L-BFGS-B works on r / w, which does not depend on the unit of the pixels.
    """
    from scipy.optimize import minimize

    def loss_and_gradient(values):
        bar.update()
        loss, slope = perturbation_loss(model, x, (w * values).reshape(x.shape), target, lam)
        return loss, w * slope.ravel().astype(np.float64)

    bar = tqdm(desc=f"λ = {lam:.3g}", unit="step", delay=2, leave=False, disable=None)
    w, (low, high) = width(bounds), bounds
    box = np.stack([low - x.ravel(), high - x.ravel()], axis=1).astype(np.float64) / w
    options = {"ftol": 1e-7, "gtol": 1e-5, "maxiter": max_steps}
    # Without this, the threads of two BLAS libraries slow each other down on small products.
    with jit.numpy_blas, jit.scipy_blas, bar:
        found = minimize(
            loss_and_gradient, start.ravel() / w, method="L-BFGS-B", jac=True, bounds=box, options=options
        )
    return perturbed(model, x, w * found.x.reshape(x.shape), bounds, lam, target)


def perturbation_loss(
    model: Module, image: np.ndarray, r: np.ndarray, target: np.ndarray, lam: float
) -> tuple[float, np.ndarray]:
    """The loss for L-BFGS-B, λ ‖r‖² - log p(target | x + r), and its gradient with respect to r.

    With several target classes, p is the sum of their probabilities, as if they were one class. log p is
    finite, even where p is rounded to 0.
    image x: (C, H, W), or a row (D,), of floats.  r: an array of the same shape.  target: (T,), different
    classes.  Returns: the loss, a float, and the gradient, an array of the image's shape and dtype.
    Everything is computed in this dtype and in evaluation mode. The model, its ``.grad`` and its mode do not
    change.
    """
    change = Tensor(r.astype(image.dtype), requires_grad=True)
    with eval_mode(model):
        logits = model((change + image).reshape(1, *image.shape))[0]  # (K,)
    classes = np.arange(len(logits.data))
    others = logits[np.setdiff1d(classes, target)]
    wanted = logits[target].logsumexp(keepdims=True)  # (1,), log Σ e^z: one logit for all target classes
    joint = concatenate([wanted, others])
    loss = penalised_loss(joint, change, 0, lam)
    slope = gradient_at(change, loss)
    return loss.item(), slope


def reached_by_pgd(model: Module, x: np.ndarray, target: np.ndarray, bounds: Bounds) -> Perturbation:
    """The result of PGD from random starts, with the smallest ε (a power of two) that reaches ``target``.

    PGD aims at the likeliest class of the target. Without success, it is the result of the largest ε.
    """
    likeliest = target[finite_logits(model, x[np.newaxis])[0, target].argmax()]
    copies, labels = np.repeat(x[np.newaxis], STARTS, axis=0), np.full(STARTS, likeliest)
    highest = 0 if math.isfinite(bounds[1] - bounds[0]) else HIGHEST_POWER  # 2^0 w crosses the box
    rng = np.random.default_rng(0)
    for power in range(LOWEST_EPS, highest + 1):
        eps = width(bounds) * 2.0**power
        ends = pgd(model, copies, labels, eps, steps=20, targeted=True, bounds=bounds, loss="margin", rng=rng)
        found = shortest(*(perturbed(model, x, end - x, bounds, None, target) for end in ends))
        if found.success:
            break
    return found


def shortest(*found: Perturbation) -> Perturbation:
    """The successful one with the smallest norm; without a success, the first of all."""
    return min(found, key=lambda one: one.norm if one.success else math.inf)


def width(bounds: Bounds) -> float:
    """The width of the box; 1 if it is infinite."""
    low, high = bounds
    return high - low if math.isfinite(high - low) else 1.0


def smallest(
    attempt_with: Callable[[float, np.ndarray], Perturbation], nothing: np.ndarray, unit: float
) -> Perturbation:
    """The smallest r of a bisection between a λ that reaches the target and a λ that does not.

    Each attempt starts from the result of a neighbour.
    """
    low, best, high, failed = bracket(attempt_with, nothing, unit)
    while best.success and not failed.success and high / low > LAM_RATIO:
        lam = math.sqrt(low * high)
        middle = attempt_with(lam, best.r)
        if middle.success:
            low, best = lam, min(best, middle, key=lambda found: found.norm)
        else:
            high = lam
    return best


def bracket(
    attempt_with: Callable[[float, np.ndarray], Perturbation], nothing: np.ndarray, unit: float
) -> tuple[float, Perturbation, float, Perturbation]:
    """By tens from λ = unit: a λ that reaches the target and its r, the next λ, which does not, and its r."""
    low = high = unit
    reached = failed = attempt_with(unit, nothing)
    power = 0
    while failed.success and power < HIGHEST_POWER:
        power += 1
        low, high = high, unit * 10.0**power
        reached, failed = failed, attempt_with(high, failed.r)
    while not reached.success and power > LOWEST_POWER:
        power -= 1
        low, high = unit * 10.0**power, low
        failed, reached = reached, attempt_with(low, reached.r)
    return low, reached, high, failed


def shortened(
    model: Module, x: np.ndarray, found: Perturbation, bounds: Bounds, target: np.ndarray
) -> Perturbation:
    """The smallest fraction of r, by bisection, for which the model still answers ``target``."""
    r, low, high = found.r.astype(np.float64), 0.0, 1.0
    while high - low > SHARE:
        share = (low + high) / 2
        shorter = perturbed(model, x, share * r, bounds, found.lam, target)
        if shorter.success:
            high, found = share, shorter
        else:
            low = share
    return found


def perturbed(
    model: Module,
    x: np.ndarray,
    r: np.ndarray,
    bounds: Bounds,
    lam: float | None = None,
    target: np.ndarray | None = None,
) -> Perturbation:
    """The result for x + r, in x's dtype and in the box. All numbers are measured on this image."""
    low, high = map(float, bounds)  # a NumPy number would turn float32 into float64
    image = np.clip((x + r).astype(x.dtype), low, high)
    r = image - x
    success = target is not None and bool(np.isin(finite_logits(model, image[np.newaxis]).argmax(), target))
    return Perturbation(image, r, float(np.linalg.norm(r.astype(np.float64))), success, lam)


# ---- what arguments are


def checked_image(image: Any, bounds: Bounds) -> np.ndarray:
    image = check_array("image", image)
    require(image.ndim in (1, 3), f"image must be one image (C, H, W) or row (D,), got {image.shape}")
    return checked_images(image[np.newaxis], bounds)[0]
