"""DeepFool: the steps to the nearest boundary of the linearised model, until the answer changes."""

from __future__ import annotations

import numpy as np

from minidl.attack.gradient_sign import MOST, Bounds, finite, finite_logits, gradient_at
from minidl.attack.minimal import Perturbation, checked_image, perturbed
from minidl.engine.checks import check_int, check_number
from minidl.engine.tensor import Tensor
from minidl.nn.module import Module, eval_mode
from minidl.train.metrics import batch_slices


def deepfool(
    model: Module,
    image: np.ndarray,
    *,
    steps: int = 50,
    overshoot: float = 0.02,
    num_candidates: int = 10,
    bounds: Bounds = (0, 1),
) -> Perturbation:
    """Step to the nearest boundary of the linearised model until the answer changes.

        x_{t+1} = clip(x_t + (1 + overshoot) step_t)      (Moosavi-Dezfooli et al. 2016)

    It is untargeted: success is any answer different from the answer for ``image``. The paper has no box.
    Here a pixel at the limit of the box does not count for the step, and the part of a step outside of the
    box is lost.
    num_candidates: only boundaries with the likeliest classes of ``image`` count (the answer is one of them);
    each class costs a gradient in each step.
    Raises FloatingPointError if the logits or their gradients are not finite.

    >>> from minidl import attack, nn
    >>> found = attack.deepfool(nn.Identity(), np.array([0.6, 0.4]))  # 1.02 · 0.2 / sqrt(2)
    >>> print(found.success, round(found.norm, 3))
    True 0.144
    """
    x = checked_image(image, bounds)
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
    """The shortest step to the nearest plane where another class k has the same logit as the answer.

        f_k = z_k - z_answer,  w_k = ∇z_k - ∇z_answer,    r = |f_k| / ‖w_k‖² w_k,  with |f_k| / ‖w_k‖ smallest

    logits z: (K,). The answer must have the largest logit; for a class with a larger logit, r would point
    away from the plane.  gradients ∇z: (K, ...), one for each logit; r has the shape of one of them.
    A class with w_k = 0 has no plane. A class with a small w_k has one; only where ‖w_k‖² is 0 in the dtype
    of the gradients, it may have none. If no class has a plane, r = 0. All is computed in float64 if logits
    and gradients are float64.
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
    """All logits (K,) of one image, and the gradients (C, ...) of the logits of ``classes``, in float64.

    The model gets a copy of the image for each class, and each copy gives the gradient of one logit.
    """
    copies = np.broadcast_to(x, (len(classes), *x.shape))
    gradients = np.empty(copies.shape)
    with eval_mode(model):
        for part in batch_slices(copies):
            some = Tensor(copies[part].copy(), requires_grad=True)
            logits = model(some)  # (C, K)
            gradients[part] = gradient_at(some, logits[np.arange(len(some.data)), classes[part]].sum())
    finite("the gradients of the logits are not finite: has the model diverged?", gradients)
    return logits.data[0].astype(np.float64), gradients
