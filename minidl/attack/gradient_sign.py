"""Attacks that change every pixel by at most ε, by the sign of the loss's gradient, and a model's robustness.

Images (N, C, H, W), or rows (N, D), lie in the box ``bounds`` and stay in it; infinite bounds mean no box. A
normalisation of the pixels belongs inside the model. Float64 images are computed in float64.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.engine.backward import grad
from minidl.engine.checks import (
    check_array,
    check_bounds,
    check_choice,
    check_flag,
    check_function,
    check_images,
    check_instance,
    check_int,
    check_labels,
    check_number,
    positive_number,
    require,
)
from minidl.engine.loss import one_hot
from minidl.engine.random import default_rng_or
from minidl.engine.recording import no_grad
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.module import Module, eval_mode
from minidl.train.metrics import batch_slices

MOST = 1_000_000  # steps
Bounds = tuple[float, float]
Attack = Callable[[Module, np.ndarray, np.ndarray, float], np.ndarray]  # (model, images, labels, eps)


def loss_gradient(
    model: Module, images: np.ndarray, labels: np.ndarray, loss: str = "cross_entropy"
) -> np.ndarray:
    """∇_x J, where J is the sum of the images' losses. So each image gets the gradient of its own loss.

    images: (N, C, H, W), or rows (N, D), of floats.  labels: (N,).  loss: "cross_entropy", or "margin", the
    largest other logit minus the label's. LOSSES[loss](logits, labels) gives J.
    Returns: an array of the images' shape and dtype. Everything is computed in this dtype and in evaluation
    mode. The model, its ``.grad`` and its mode do not change. Raises FloatingPointError if the gradient is
    not finite.
    """
    gradients = np.empty_like(images)
    with eval_mode(model):
        for part in batch_slices(images):
            x = Tensor(images[part], requires_grad=True)
            logits = model(x)  # (n, K)
            total = LOSSES[loss](logits, labels[part])  # a sum: each image gets the gradient of its own loss
            gradients[part] = gradient_at(x, total)
    is_finite = bool(np.isfinite(gradients).all())
    require(is_finite, "the loss's gradient is not finite: has the model diverged?", FloatingPointError)
    return gradients


def gradient_at(x: Tensor, value: Tensor) -> np.ndarray:
    """dvalue/dx; ValueError if the model passes no gradient to x."""
    integers = "an integer network has no gradients: attack the original float network"
    require(value.requires_grad, f"no gradient reaches the images; {integers}, and outside no_grad()")
    (slope,) = grad(value, [x])
    return slope


def cross_entropy(logits: Tensor, labels: np.ndarray) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="sum")


def margin(logits: Tensor, labels: np.ndarray) -> Tensor:
    """The sum over the rows of max over k ≠ y of z_k - z_y. It is positive for a misclassified row.

    Its gradient does not vanish for a very confident model, unlike that of the cross-entropy (Carlini and
    Wagner 2017, arXiv:1608.04644).  logits z: (N, K).  labels y: (N,).
    """
    hidden = np.where(one_hot(labels, logits.shape[1]), -np.inf, 0.0)
    own = logits[np.arange(len(labels)), labels]
    return ((logits + hidden).max(axis=1) - own).sum()


LOSSES = {"cross_entropy": cross_entropy, "margin": margin}


def fgsm_step(
    images: np.ndarray,
    gradient: np.ndarray,
    eps: float,
    *,
    targeted: bool = False,
    bounds: Bounds = (0, 1),
) -> np.ndarray:
    """A step of FGSM: clip(x + ε sign(g)), or with ``targeted`` clip(x - ε sign(g)), so that the loss falls.

    clip: to ``bounds``, (low, high).  A pixel with gradient 0 does not change, because sign(0) = 0.
    images x, which lie in the bounds, gradient g and the result have one shape and dtype. ε and the bounds
    are Python numbers.
    """
    direction = -np.sign(gradient) if targeted else np.sign(gradient)
    (low, high), eps = map(float, bounds), float(eps)  # a NumPy number would turn float32 into float64
    return np.clip(images + eps * direction, low, high)


def fgsm(
    model: Module,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float,
    *,
    targeted: bool = False,
    bounds: Bounds = (0, 1),
    loss: str = "cross_entropy",
) -> np.ndarray:
    """The fast gradient sign method, x' = clip(x + ε sign ∇_x J(θ, x, y))   (Goodfellow et al. 2015).

    Among all steps of at most ε per pixel, it raises the linearised loss most: by ε ‖∇_x J‖_1, or by less if
    the box stops a pixel.
    labels: (N,), the true classes; with ``targeted`` the wanted classes, and the opposite sign.
    loss J: "cross_entropy", or "margin", the largest other logit minus the label's. The cross-entropy has no
    gradient if the model is so confident that p rounds to 1: a warning counts such images.
    Raises TypeError or ValueError for other inputs, images outside of ``bounds``, eps < 0, and an eps above
    the width of ``bounds`` (often an eps in units of pixels 0 ... 255).

    >>> from minidl import attack, nn
    >>> model = nn.Identity()  # the logits are the image
    >>> print(attack.fgsm(model, np.array([[0.7, 0.5]]), [0], eps=0.1))
    [[0.6 0.6]]
    """
    images, labels, eps = checked_batch(model, images, labels, eps, bounds)
    targeted, loss = check_flag("targeted", targeted), check_choice("loss", loss, LOSSES)
    gradient = loss_gradient(model, images, labels, loss)
    warn_of_images_without_gradient(is_flat(gradient), loss)
    return fgsm_step(images, gradient, eps, targeted=targeted, bounds=bounds)


def project(images: np.ndarray, around: np.ndarray, eps: float, bounds: Bounds = (0, 1)) -> np.ndarray:
    """Move each value to the nearest value within ε of ``around`` and in the box.

        min(max(x, a - ε, low), a + ε, high)

    images, around: of one shape, ``around`` in the box.
    """
    (low, high), eps = map(float, bounds), float(eps)
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
    loss: str = "cross_entropy",
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Projected gradient descent: FGSM steps, each followed by a projection into the ε-ball (Madry et al.
    2018).

        x_0 = project(a + uniform in [-ε, ε]),    x_{t+1} = project(x_t + step_size sign ∇_x J(θ, x_t, y))

    project: limits each value to a - ε ... a + ε, the ball around a, and to ``bounds``, (low, high), the box.
    step_size: 2.5 ε / steps if None, so that steps in one direction can cross the whole ball of width 2 ε.
    images a: (N, C, H, W), or rows (N, D), in the box.  labels y: (N,), the true classes; with ``targeted``
    the wanted classes: then the steps lower J.  loss J: "cross_entropy" or "margin" (``loss_gradient``).
    random_start: ``rng`` draws x_0; without it each call draws another x_0. If False, x_0 = a; then one step
    of at least ε is FGSM.
    Returns: images within ε of a and in the box. Everything is computed in the dtype of a, and in evaluation
    mode; the model does not change. A warning gives the number of images whose gradient was 0 at all steps.
    Raises ValueError for images outside the box or not finite, labels that are no classes, ε below 0 or
    above the width of the box, and steps or a given step size not above 0. With ε = 0 the images stay, with
    the same warning.

    >>> from minidl import attack, nn
    >>> model = nn.Identity()  # the logits are the image
    >>> print(attack.pgd(model, np.array([[0.7, 0.5]]), [0], eps=0.1, random_start=False))
    [[0.6 0.6]]
    """
    images, labels, eps = checked_batch(model, images, labels, eps, bounds)
    steps, random_start = check_int("steps", steps, 1, MOST), check_flag("random_start", random_start)
    targeted, loss = check_flag("targeted", targeted), check_choice("loss", loss, LOSSES)
    step_size = 2.5 * eps / steps if step_size is None else positive_number("step_size", step_size)
    x, flat = images, np.ones(len(images), bool)
    if random_start:
        start = default_rng_or(rng).uniform(-eps, eps, images.shape).astype(images.dtype)
        x = project(images + start, images, eps, bounds)
    for _ in range(steps):
        gradient = loss_gradient(model, x, labels, loss)
        flat &= is_flat(gradient)
        x = fgsm_step(x, gradient, step_size, targeted=targeted, bounds=bounds)
        x = project(x, images, eps, bounds)
    warn_of_images_without_gradient(flat, loss)
    return x


def is_flat(gradient: np.ndarray) -> np.ndarray:
    """(N,) bool: the images whose gradient is 0 in every pixel."""
    return (gradient.reshape(len(gradient), -1) == 0).all(axis=1)


def warn_of_images_without_gradient(flat: np.ndarray, loss: str) -> None:
    if flat.any():
        advice = "" if loss == "margin" else '; for a too confident model, loss="margin" has a gradient'
        message = f"{flat.sum()} of {len(flat)} images had no gradient to follow{advice}"
        warnings.warn(message, stacklevel=3)  # show the line that called the attack


def random_signs(
    model: Module,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float,
    *,
    bounds: Bounds = (0, 1),
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """clip(x ± ε) with random signs: as large as a step of FGSM, but independent of the model.

    It is a control.

    >>> from minidl import attack, nn
    >>> changed = attack.random_signs(nn.Identity(), np.array([[0.7, 0.5]]), [0], eps=0.1)
    >>> print(np.abs(changed - [0.7, 0.5]).round(3))
    [[0.1 0.1]]
    """
    images, labels, eps = checked_batch(model, images, labels, eps, bounds)
    coins = default_rng_or(rng).integers(0, 2, images.shape).astype(images.dtype)
    return fgsm_step(images, 2 * coins - 1, eps, bounds=bounds)


class Robustness(NamedTuple):
    """The results of an attack on N images at E values of ε."""

    eps: np.ndarray  # (E,)
    accuracy: np.ndarray  # (E,): the fraction that is still classified correctly
    fooled: np.ndarray  # (E, N) bool: misclassified, also if it was before the attack
    linf: np.ndarray  # (E, N): max |x' - x|
    l2: np.ndarray  # (E, N): ‖x' - x‖_2

    @property
    def best_of(self) -> np.ndarray:
        """(E, N) bool: fooled at this ε or at a smaller ε. An attacker with ε may also use a smaller one."""
        return np.logical_or.accumulate(self.fooled, axis=0)


def robust_accuracy(
    model: Module,
    attack: Attack,
    images: np.ndarray,
    labels: np.ndarray,
    eps_list: Sequence[float] | np.ndarray,
) -> Robustness:
    """The accuracy after ``attack(model, images, labels, eps)``, for each ε.

    attack: ``fgsm``, or an attack with further arguments, such as ``lambda *args: pgd(*args, steps=20)``.
    labels: (N,), the true classes.  eps_list: rising, from 0. The true change is measured in ``linf`` and
    ``l2``, not checked. A model without useful gradients only seems robust (Athalye et al. 2018).
    Raises FloatingPointError if the attacked images or their logits are not finite.

    >>> from minidl import attack, nn
    >>> images, labels = np.array([[0.6, 0.4], [0.9, 0.1]]), [0, 0]
    >>> result = attack.robust_accuracy(nn.Identity(), attack.fgsm, images, labels, [0, 0.2])
    >>> print(result.accuracy)
    [1.  0.5]
    """
    images, labels, _ = checked_batch(model, images, labels, 0.0, (-math.inf, math.inf))
    check_function("attack", attack, "model, images, labels and eps")
    eps_list = check_array("eps_list", eps_list, "E", low=0).astype(np.float64)
    require(bool((np.diff(eps_list) > 0).all()), f"eps_list must be rising, got {eps_list}")
    fooled, linf, l2 = [], [], []
    for eps in eps_list.tolist():
        attacked = attack_batch(attack, model, images, labels, eps)
        change = np.abs(attacked - images).reshape(len(images), -1).astype(np.float64)
        fooled.append(finite_logits(model, attacked.astype(images.dtype)).argmax(axis=1) != labels)
        linf.append(change.max(axis=1))
        l2.append(np.sqrt((change**2).sum(axis=1)))
    return Robustness(eps_list, 1 - np.mean(fooled, axis=1), np.array(fooled), np.array(linf), np.array(l2))


def attack_batch(
    attack: Attack, model: Module, images: np.ndarray, labels: np.ndarray, eps: float
) -> np.ndarray:
    """The attacked images: as many, and finite. The attack gets copies, so it may work in place."""
    returned = attack(model, images.copy(), labels.copy(), eps)
    check_instance("the result of attack", returned, np.ndarray)
    attacked = check_array("the result of attack", returned, *images.shape, finite=False)
    return finite("the images that the attack returned are not finite", attacked)


def finite_logits(model: Module, images: np.ndarray) -> np.ndarray:
    """The model's logits for the images, in their dtype. NaN is refused, because argmax would accept it."""
    with eval_mode(model), no_grad():
        outputs = [model(Tensor(images[part])) for part in batch_slices(images)]
    rows = check_instance("the model's output", outputs[0], Tensor).shape
    require(len(rows) == 2, f"the model must give logits (N, K), got {rows} for images {images.shape}")
    logits = np.concatenate([output.data for output in outputs])
    return finite("the model's logits are not finite: has it diverged?", logits)


def finite(message: str, values: np.ndarray) -> np.ndarray:
    """The values. FloatingPointError with the message if one of them is not finite."""
    require(bool(np.isfinite(values).all()), message, FloatingPointError)
    return values


# ---- what arguments are


def checked_batch(model, images, labels, eps, bounds: Bounds) -> tuple[np.ndarray, np.ndarray, float]:
    """Images (N, C, H, W) or rows (N, D) as finite floats in the box, a class for each of them, and ε.

    ε lies between 0 and the width of the box. A larger ε would not limit anything.
    """
    images = checked_images(images, bounds)
    labels = check_labels("labels", labels, len(images), class_count(model, images))
    (low, high), eps = bounds, check_number("eps", eps, 0) + 0.0  # -0.0 becomes 0.0
    mend = "eps has the unit of the images, so divide an eps for 0 ... 255 by 255"
    require(eps <= high - low, f"eps must be at most {high - low:g}, the box's width, got {eps:g}: {mend}")
    return images, labels, eps


def class_count(model: Module, images: np.ndarray) -> int:
    return finite_logits(model, images[:1]).shape[1]


def checked_images(images: Any, bounds: Bounds) -> np.ndarray:
    """Finite floats in the box. Float64 stays; other dtypes become float32."""
    return check_images("images", images, *check_bounds("bounds", bounds))
