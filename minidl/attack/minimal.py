"""The smallest change, in the Euclidean norm, that makes a model answer otherwise. One image at a time.

The model computes in the image's dtype, float32 or float64, and success is judged in it. What is returned has
that dtype too, and norms are measured on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.attack.gradient_sign import (
    MOST,
    Bounds,
    checked_images,
    class_count,
    finite,
    finite_logits,
    gradient_at,
    parts,
    pgd,
)
from minidl.engine import jit
from minidl.engine.checks import (
    check_array,
    check_int,
    check_labels,
    check_number,
    positive_number,
    require,
)
from minidl.engine.functions import concatenate
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.module import Module, eval_mode

LOWEST_POWER, HIGHEST_POWER = -6, 10  # of ten in λ, where the search for a bracket ends
LAM_RATIO = 1.02  # how closely bisection encloses λ
SHARE = 1e-4  # and how closely the share of r that is kept
LOWEST_EPS, STARTS = -8, 8  # of two in ε, where PGD begins to search, and from how many points


class Perturbation(NamedTuple):
    """A changed image, image = x + r."""

    image: np.ndarray  # (C, H, W), in the box
    r: np.ndarray  # (C, H, W)
    norm: float  # ‖r‖_2
    success: bool  # whether the model gives the answer that was wanted
    lam: float | None  # the weight λ of ‖r‖²; inf if nothing had to change, None where there is no λ


def penalised_loss(logits: Tensor, r: Tensor, target: int, lam: float) -> Tensor:
    """-Φ + λ ‖r‖², with Φ = log softmax(logits)[target] of the image x + r.

    The norm is squared: ‖r‖ itself has no gradient at r = 0, where the search begins.
    logits: (K,).  r: of any shape.
    """
    return lam * (r * r).sum() - F.log_softmax(logits)[target]


def minimal_perturbation(
    model: Module,
    image: np.ndarray,
    target: int | Sequence[int],
    *,
    lam: float | None = None,
    max_steps: int = 200,
    bounds: Bounds = (0, 1),
) -> Perturbation:
    """A small r for which the model answers ``target`` (Szegedy et al. 2014): for a given λ > 0

        max over r of  log p(target | x + r) - λ ‖r‖²    with x + r in the box, by L-BFGS-B from r = 0

    target: a class, or several, such as all cats, of which any will do: then p is the sum of theirs.
    lam: a large λ keeps r small, and the target out of reach. None seeks the largest λ that reaches the
    target: by tens from 1, then by bisection; the smallest r that reached it is shortened until it just does.
    Where none reaches it, since L-BFGS-B can stick at a kink, the search starts again where PGD arrives.
    The norm is an upper bound of the smallest: for an affine model of two classes within 0.1% of it without a
    box and 1% in one; with more classes Φ asks for distance from all, not only from the nearest, and on a
    network the searches are local.
    image: (C, H, W), or a row (D,), in the box.  If no λ down to 1e-6 reaches the target, success is False.
    λ has the unit 1 / pixel²: in a box of width w, where it is finite, the search goes by λ w² instead.
    max_steps: of L-BFGS-B for one λ; a search tries some 20, or twice as many.
    Raises FloatingPointError where the model's logits are not finite.
    """
    x = checked_image(model, image, bounds)
    target, max_steps = checked_target(model, x, target), check_int("max_steps", max_steps, 1, MOST)

    def search(lam: float, start: np.ndarray) -> Perturbation:
        return attempt(model, x, target, lam, bounds, start, max_steps)

    nothing = np.zeros(x.shape)
    if lam is not None:
        return search(positive_number("lam", lam), nothing)
    found = perturbed(model, x, nothing, bounds, math.inf, target)
    if found.success:
        return found
    found = smallest(search, nothing, 1 / width(bounds) ** 2)
    if not found.success:
        start = reached_by_pgd(model, x, target, bounds)
        again = smallest(lambda lam, _: search(lam, start.r), start.r, 1 / width(bounds) ** 2)
        found = shortest(found, again, start)
    return shortened(model, x, found, bounds, target) if found.success else found


def attempt(
    model: Module,
    x: np.ndarray,
    target: np.ndarray,
    lam: float,
    bounds: Bounds,
    start: np.ndarray,
    max_steps: int,
) -> Perturbation:
    """The r, sought from ``start``, that minimises ``perturbation_loss`` for this λ.

    L-BFGS-B is given r / w, whose size does not depend on the pixel's unit.
    """
    from scipy.optimize import minimize

    def loss_and_gradient(values):
        loss, slope = perturbation_loss(model, x, (w * values).reshape(x.shape), target, lam)
        return loss, w * slope.ravel().astype(np.float64)

    w, (low, high) = width(bounds), bounds
    box = np.stack([low - x.ravel(), high - x.ravel()], axis=1).astype(np.float64) / w
    options = {"ftol": 1e-7, "gtol": 1e-5, "maxiter": max_steps}
    # Two pools of threads that take turns at small products would slow each other down.
    with jit.numpy_blas, jit.scipy_blas:
        found = minimize(
            loss_and_gradient, start.ravel() / w, method="L-BFGS-B", jac=True, bounds=box, options=options
        )
    return perturbed(model, x, w * found.x.reshape(x.shape), bounds, lam, target)


def perturbation_loss(
    model: Module, image: np.ndarray, r: np.ndarray, target: np.ndarray, lam: float
) -> tuple[float, np.ndarray]:
    """What L-BFGS-B minimises, λ ‖r‖² - log p(target | x + r), and its gradient by r.

    Of several target classes any will do: then p is the sum of theirs, as if they were one class.
    image x: (C, H, W), or a row (D,), of floats.  r: of its shape.  target: (T,) different classes.
    Returns: a float, and an array of the image's shape and dtype, in which all is computed.
    In eval mode; the model, its ``.grad`` and its mode stay as they are.
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
    """Where PGD arrives from random starts, with the smallest ε, by powers of two, that reaches ``target``.

    It is pulled towards the likeliest class of the target. Without success it is what came of the largest ε.
    """
    likeliest = target[finite_logits(model, x[np.newaxis])[0, target].argmax()]
    copies, labels = np.repeat(x[np.newaxis], STARTS, axis=0), np.full(STARTS, likeliest)
    options = {"targeted": True, "bounds": bounds, "loss": "margin", "rng": np.random.default_rng(0)}
    highest = 0 if math.isfinite(bounds[1] - bounds[0]) else HIGHEST_POWER  # 2^0 w crosses the box
    for power in range(LOWEST_EPS, highest + 1):
        ends = pgd(model, copies, labels, width(bounds) * 2.0**power, steps=20, **options)
        found = shortest(*(perturbed(model, x, end - x, bounds, None, target) for end in ends))
        if found.success:
            break
    return found


def shortest(*found: Perturbation) -> Perturbation:
    """Of those that succeeded the one of the smallest norm; the first of all where none did."""
    return min(found, key=lambda one: one.norm if one.success else math.inf)


def width(bounds: Bounds) -> float:
    """Of the box; 1 where it has none."""
    low, high = bounds
    return high - low if math.isfinite(high - low) else 1.0


def smallest(
    attempt_with: Callable[[float, np.ndarray], Perturbation], nothing: np.ndarray, unit: float
) -> Perturbation:
    """Bisection between a λ that reaches the target and one that does not: the smallest r on the way.

    Each attempt starts where a neighbour ended.
    """
    best, failed = bracket(attempt_with, nothing, unit)
    low, high = best.lam, failed.lam
    while best.success and not failed.success and high / low > LAM_RATIO:
        middle = attempt_with(math.sqrt(low * high), best.r)
        if middle.success:
            low, best = middle.lam, min(best, middle, key=lambda found: found.norm)
        else:
            high = middle.lam
    return best


def bracket(
    attempt_with: Callable[[float, np.ndarray], Perturbation], nothing: np.ndarray, unit: float
) -> tuple[Perturbation, Perturbation]:
    """By factors of ten from λ = unit: the one that reaches the target, and its neighbour that does not."""
    reached = failed = attempt_with(unit, nothing)
    power = 0
    while failed.success and power < HIGHEST_POWER:
        power += 1
        reached, failed = failed, attempt_with(unit * 10.0**power, failed.r)
    while not reached.success and power > LOWEST_POWER:
        power -= 1
        failed, reached = reached, attempt_with(unit * 10.0**power, reached.r)
    return reached, failed


def shortened(model: Module, x: np.ndarray, found: Perturbation, bounds: Bounds, target: int) -> Perturbation:
    """The first share of r, by bisection, for which the model still answers ``target``."""
    r, low, high = found.r.astype(np.float64), 0.0, 1.0
    while high - low > SHARE:
        share = (low + high) / 2
        shorter = perturbed(model, x, share * r, bounds, found.lam, target)
        if shorter.success:
            high, found = share, shorter
        else:
            low = share
    return found


def deepfool(
    model: Module,
    image: np.ndarray,
    *,
    steps: int = 50,
    overshoot: float = 0.02,
    num_candidates: int = 10,
    bounds: Bounds = (0, 1),
) -> Perturbation:
    """Step to the nearest boundary of the linearised model until the answer is another one.

        x_{t+1} = clip(x_t + (1 + overshoot) step_t)      (Moosavi-Dezfooli et al. 2016)

    Untargeted: success is any other answer than the one for ``image`` itself. The paper has no box; here a
    pixel on its face is not counted on to go further, and what the box cut off a step is not kept.
    num_candidates: only boundaries with the classes that are likeliest at first count, the answer among them;
    each costs a gradient in each step.
    Raises FloatingPointError where the logits or their gradients are not finite.
    """
    x = checked_image(model, image, bounds)
    steps, overshoot = check_int("steps", steps, 1, MOST), check_number("overshoot", overshoot, 0)
    at_first = finite_logits(model, x[np.newaxis])[0]
    likeliest = np.argsort(-at_first, kind="stable")[: check_int("num_candidates", num_candidates, 2)]
    classes, answer = np.sort(likeliest), int(likeliest[0])
    moved, (low, high) = x.astype(np.float64), bounds
    for _ in range(steps):
        logits, gradients = logits_and_gradients(model, moved.astype(x.dtype), classes)
        if logits.argmax() != answer:
            break
        gradients = gradients - gradients[classes == answer]
        gradients[(moved <= low) & (gradients < 0) | (moved >= high) & (gradients > 0)] = 0  # no way out
        step = boundary_step(logits[classes], gradients, int(np.flatnonzero(classes == answer)[0]))
        moved = np.clip(moved + (1 + overshoot) * step, low, high)
    found = perturbed(model, x, moved - x, bounds)
    return found._replace(success=bool(finite_logits(model, found.image[np.newaxis]).argmax() != answer))


def boundary_step(logits: np.ndarray, gradients: np.ndarray, answer: int) -> np.ndarray:
    """The shortest step onto the nearest of the planes on which another class k ties with the answer.

        f_k = z_k - z_answer,  w_k = ∇z_k - ∇z_answer,    r = |f_k| / ‖w_k‖² w_k,  with |f_k| / ‖w_k‖ smallest

    logits z: (K,).  gradients: (K, ...), those of the logits; r has the shape of one. A class with w_k = 0
    has no plane, one with a small w_k has; if there is none, r = 0.
    """
    f = logits - logits[answer]
    w = (gradients - gradients[answer]).reshape(len(logits), -1)
    norms = np.sqrt((w**2).sum(axis=1))  # (K,), 0 for the answer itself
    distances = np.full(len(logits), np.inf)
    np.divide(np.abs(f), norms, out=distances, where=norms > 0)
    k = distances.argmin()
    scale = distances[k] / norms[k] if norms[k] > 0 else 0.0
    return (scale * w[k]).reshape(gradients.shape[1:])


def logits_and_gradients(model: Module, x: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of one image all logits (K,), and the gradients (C, ...) of those of ``classes``, in float64.

    The model is given a copy of the image for each class, and each copy's logit of its class is derived.
    """
    copies = np.broadcast_to(x, (len(classes), *x.shape))
    gradients = np.empty(copies.shape)
    with eval_mode(model):
        for part in parts(copies):
            some = Tensor(copies[part].copy(), requires_grad=True)
            logits = model(some)  # (C, K)
            gradients[part] = gradient_at(some, logits[np.arange(len(some.data)), classes[part]].sum())
    finite("the gradients of the logits are not finite: has the model diverged?", gradients)
    return logits.data[0].astype(np.float64), gradients


def perturbed(
    model: Module,
    x: np.ndarray,
    r: np.ndarray,
    bounds: Bounds,
    lam: float | None = None,
    target: np.ndarray | int | None = None,
) -> Perturbation:
    """x + r in x's dtype and in the box, and all that is said of it measured on just that."""
    image = np.clip((x + r).astype(x.dtype), *bounds)
    r = image - x
    success = target is not None and bool(np.isin(finite_logits(model, image[np.newaxis]).argmax(), target))
    return Perturbation(image, r, float(np.linalg.norm(r.astype(np.float64))), success, lam)


# ---- what arguments are


def checked_image(model: Module, image: Any, bounds: Bounds) -> np.ndarray:
    image = check_array("image", image)
    require(image.ndim in (1, 3), f"image must be one image (C, H, W) or row (D,), got {image.shape}")
    return checked_images(image[np.newaxis], bounds)[0]


def checked_target(model: Module, x: np.ndarray, target: Any) -> np.ndarray:
    """The classes (T,), ascending, each once."""
    group = [target] if isinstance(target, int | np.integer) else target
    return np.unique(check_labels("target", group, num_classes=class_count(model, x[np.newaxis])))
