"""Attacks within ε of every pixel, by the sign of the loss's gradient, and how often a model withstands them.

Images (N, C, H, W), or rows (N, D), lie in the box ``bounds`` and stay in it; infinite bounds are no box. A
normalisation of the pixels belongs inside the model. Float64 images are computed with in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.engine.backward import grad
from minidl.engine.checks import check_number, positive_int, positive_number
from minidl.engine.loss import check_labels
from minidl.engine.random import default_rng_or
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.module import Module, eval_mode
from minidl.train.metrics import predict

BATCH = 256  # images that go through a model at a time
Bounds = tuple[float, float]
Attack = Callable[[Module, np.ndarray, np.ndarray, float], np.ndarray]  # (model, images, labels, eps)


def loss_gradient(model: Module, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """∇_x J with J the sum of the images' cross-entropies, so that each image has the gradient of its own.

    In eval mode; the model, its ``.grad`` and its mode stay as they are. Raises FloatingPointError where the
    gradient is not finite.
    """
    gradients = np.empty_like(images)
    with eval_mode(model):
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            x = Tensor(images[part], requires_grad=True)
            J = F.cross_entropy(model(x), labels[part], reduction="sum")
            gradients[part] = grad(J, x)
    if not np.isfinite(gradients).all():
        raise FloatingPointError("the loss's gradient is not finite: has the model diverged?")
    return gradients


def fgsm_step(
    images: np.ndarray,
    gradient: np.ndarray,
    eps: float,
    *,
    targeted: bool = False,
    bounds: Bounds = (0, 1),
) -> np.ndarray:
    """clip(x + ε sign(g)), or with a target's gradient clip(x - ε sign(g)): down its loss instead of up.

    sign(0) = 0: a pixel that the loss does not depend on stays. images, gradient: of one shape.
    """
    direction = -np.sign(gradient) if targeted else np.sign(gradient)
    return np.clip(images + eps * direction, *bounds)


def fgsm(
    model: Module,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float,
    *,
    targeted: bool = False,
    bounds: Bounds = (0, 1),
) -> np.ndarray:
    """The fast gradient sign method, x' = clip(x + ε sign ∇_x J(θ, x, y))   (Goodfellow et al. 2015).

    Of all steps of at most ε a pixel it raises the linearised loss most: by ε ‖∇_x J‖_1 where the box stops
    no pixel, else by less.
    labels: (N,), the true classes; with ``targeted`` the classes wanted instead, and the sign is turned.
    Raises TypeError and ValueError for what is no such batch, images outside of ``bounds`` and eps < 0.
    """
    images, labels = checked_batch(model, images, labels, bounds)
    eps = check_number("eps", eps, 0)
    return fgsm_step(images, loss_gradient(model, images, labels), eps, targeted=targeted, bounds=bounds)


def project(images: np.ndarray, around: np.ndarray, eps: float, bounds: Bounds = (0, 1)) -> np.ndarray:
    """The nearest images, value by value, that lie within ε of those ``around`` and in the box.

        min(max(x, a - ε, low), a + ε, high)

    images, around: of one shape, ``around`` in the box.
    """
    low, high = bounds
    return np.clip(images, np.maximum(around - eps, low), np.minimum(around + eps, high))


def pgd(
    model: Module,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float,
    *,
    steps: int = 10,
    step_size: float | None = None,
    random_start: bool = True,
    targeted: bool = False,
    bounds: Bounds = (0, 1),
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Projected gradient descent: steps of FGSM, after each back into the ball (Madry et al. 2018).

        x_0 = a + uniform in [-ε, ε],    x_{t+1} = project(x_t + step_size sign ∇_x J(θ, x_t, y))

    step_size: 2.5 ε / steps if None, so that steps which agree cross the ball, 2 ε wide, from any start.
    random_start: without it x_0 = a, and one step of at least ε is FGSM.  The rest is as in ``fgsm``.
    """
    images, labels = checked_batch(model, images, labels, bounds)
    eps, steps = check_number("eps", eps, 0), positive_int("steps", steps)
    step_size = 2.5 * eps / steps if step_size is None else positive_number("step_size", step_size)
    x = images
    if random_start:
        start = default_rng_or(rng).uniform(-eps, eps, images.shape).astype(images.dtype)
        x = project(images + start, images, eps, bounds)
    for _ in range(steps):
        x = fgsm_step(x, loss_gradient(model, x, labels), step_size, targeted=targeted, bounds=bounds)
        x = project(x, images, eps, bounds)
    return x


def random_signs(
    model: Module,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float,
    *,
    bounds: Bounds = (0, 1),
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """clip(x ± ε), each sign by a coin: as large as FGSM's step, blind to the model. An attack's control."""
    images, labels = checked_batch(model, images, labels, bounds)
    coins = default_rng_or(rng).integers(0, 2, images.shape).astype(images.dtype)
    return fgsm_step(images, 2 * coins - 1, check_number("eps", eps, 0), bounds=bounds)


class Robustness(NamedTuple):
    """What became of N images under an attack at E values of ε."""

    eps: np.ndarray  # (E,)
    accuracy: np.ndarray  # (E,): the share that is still read right
    fooled: np.ndarray  # (E, N) bool: read wrong, whether or not it was before
    linf: np.ndarray  # (E, N): max |x' - x|
    l2: np.ndarray  # (E, N): ‖x' - x‖_2

    @property
    def best_of(self) -> np.ndarray:
        """(E, N) bool: fooled at this ε or at a smaller one, which an attacker allowed ε may use as well."""
        return np.logical_or.accumulate(self.fooled, axis=0)


def robust_accuracy(
    model: Module, attack: Attack, images: np.ndarray, labels: np.ndarray, eps_list: Sequence[float]
) -> Robustness:
    """How many images are read right after ``attack(model, images, labels, eps)``, for each ε.

    attack: ``fgsm``, or one with further arguments, such as ``lambda *args: pgd(*args, steps=20)``.
    labels: (N,), the true classes.  eps_list: rising, from 0. The attack's own ε is not checked but measured:
    see ``linf`` and ``l2``. Without gradients to follow a model only seems robust (Athalye et al. 2018).
    Raises FloatingPointError where what the attack returns, or what the model says of it, is not finite.
    """
    images, labels = checked_batch(model, images, labels, (-math.inf, math.inf))
    if not callable(attack):
        raise TypeError(f"attack must be a function of model, images, labels and eps, got {attack!r}")
    if np.ndim(eps_list) != 1:
        raise TypeError(f"eps_list must be a sequence of numbers, got {eps_list!r}")
    eps_list = [check_number("each of eps_list", eps, 0) for eps in eps_list]
    if not eps_list or any(a >= b for a, b in zip(eps_list, eps_list[1:], strict=False)):
        raise ValueError(f"eps_list must be rising and not empty, got {eps_list}")
    fooled, linf, l2 = [], [], []
    for eps in eps_list:
        attacked = attack_batch(attack, model, images, labels, eps)
        change = np.abs(attacked - images).reshape(len(images), -1).astype(np.float64)
        fooled.append(finite_logits(model, attacked).argmax(axis=1) != labels)
        linf.append(change.max(axis=1))
        l2.append(np.sqrt((change**2).sum(axis=1)))
    accuracy = 1 - np.mean(fooled, axis=1)
    return Robustness(np.array(eps_list), accuracy, np.array(fooled), np.array(linf), np.array(l2))


def attack_batch(
    attack: Attack, model: Module, images: np.ndarray, labels: np.ndarray, eps: float
) -> np.ndarray:
    """What the attack returns, as many finite images. It is handed copies, and may work in place."""
    attacked = attack(model, images.copy(), labels.copy(), eps)
    if not isinstance(attacked, np.ndarray) or attacked.dtype.kind not in "fiub":
        kind = attacked.dtype if isinstance(attacked, np.ndarray) else type(attacked).__name__
        raise TypeError(f"attack must return an array of numbers {images.shape}, got {kind}")
    if attacked.shape != images.shape:
        raise ValueError(f"attack must return images {images.shape}, got {attacked.shape}")
    if not np.isfinite(attacked).all():
        raise FloatingPointError("the images that the attack returned are not finite")
    return attacked


def finite_logits(model: Module, images: np.ndarray) -> np.ndarray:
    """What the model says of the images; NaN is no answer, though argmax would find one."""
    logits = predict(model, images)
    if not np.isfinite(logits).all():
        raise FloatingPointError("the model's logits are not finite: has it diverged?")
    return logits


# ---- what arguments are


def checked_batch(model: Module, images: Any, labels: Any, bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, C, H, W) or rows (N, D) as finite floats in the box, and a class for each of them."""
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    images, labels = checked_images(images, bounds), np.asarray(labels)
    if labels.shape != images.shape[:1]:
        raise ValueError(f"images {images.shape} need labels {images.shape[:1]}, got {labels.shape}")
    return images, check_labels(labels, class_count(model, images))


def class_count(model: Module, images: np.ndarray) -> int:
    logits = finite_logits(model, images[:1])
    if logits.ndim != 2:
        raise ValueError(f"the model must give logits (N, K), got {logits.shape} for one image")
    return logits.shape[1]


def checked_images(images: Any, bounds: Bounds) -> np.ndarray:
    """Float64 stays, everything else is float32."""
    low, high = checked_bounds(bounds)
    array = np.asarray(images)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"images must be an array of numbers, got {array.dtype} {array.shape}")
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"expected images (N, C, H, W) or rows (N, D), not empty, got {array.shape}")
    array = array.astype(np.float64 if array.dtype == np.float64 else np.float32, copy=False)
    if not np.isfinite(array).all():
        raise ValueError("images must be finite")
    if array.min() < low or array.max() > high:
        raise ValueError(
            f"images must be within bounds [{low:g}, {high:g}], got {array.min():g} ... {array.max():g}"
        )
    return array


def checked_bounds(bounds: Bounds) -> Bounds:
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise TypeError(f"bounds must be a pair (low, high), got {bounds!r}")
    low, high = (check_number("each of bounds", value, finite=False) for value in bounds)
    if not low < high:
        raise ValueError(f"bounds must be (low, high) with low < high, got {bounds!r}")
    return low, high
