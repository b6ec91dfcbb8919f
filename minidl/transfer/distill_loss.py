"""The losses of knowledge distillation, and the similarity of classes for a teacher."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minidl.engine.checks import (
    check_array,
    check_choice,
    check_flag,
    check_labels,
    check_number,
    require,
)
from minidl.engine.reduce import stable_log_softmax, stable_softmax
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.train.metrics import predict

Terms = dict[str, Tensor]


def soft_targets(logits: Any, temperature: float) -> np.ndarray:
    """q = softmax(z / tau) of each row of logits (N, K), as an array without a graph.

    >>> from minidl import transfer
    >>> print(transfer.soft_targets([[4, 2, 0]], temperature=1).round(3))
    [[0.867 0.117 0.016]]
    >>> print(transfer.soft_targets([[4, 2, 0]], temperature=4).round(3))
    [[0.506 0.307 0.186]]
    """
    return stable_softmax(check_array("logits", logits, "N", "K"), temperature=temperature)


def soft_cross_entropy(
    student_logits: Any,
    teacher_logits: Any,
    *,
    temperature: float,
    teacher_temperature: float | None = None,
    soft: str = "ce",
) -> Tensor:
    """H(q, p) = -(1/N) sum_n sum_c q_nc log p_nc,  q = softmax(z_t / tau_t),  p = softmax(z_s / tau).

    student_logits z_s, teacher_logits z_t: (N, K). The teacher is a constant: no gradient reaches z_t.
    ``checked_pair_of_logits(student_logits, teacher_logits)`` gives z_s as a Tensor and z_t as an array;
    ``soft_targets(z_t, tau_t)`` gives q.  temperature: tau.  teacher_temperature: tau_t, None for tau.
    soft: "ce" for H(q, p), or "kl" for KL(q || p) = H(q, p) - H(q). KL has the same gradient and is 0 for
    q = p. Near q = p this difference is inaccurate in float32. So the value of KL is computed as the mean of
    sum_c q_nc (log q_nc - log p_nc), in float64. A student's logit of -inf gives p = 0: if q is not 0 there,
    both losses are infinite. A class with q = 0 adds 0, also if p = 0. The loss has the dtype of z_s.
    ValueError for temperatures that are not above 0, for an unknown name for ``soft``, and for logits of
    different shapes.

    >>> from minidl.transfer.distill_loss import soft_cross_entropy
    >>> round(soft_cross_entropy([[0, 0]], [[5, 0]], temperature=2).item(), 3)  # log 2
    0.693
    """
    z_s, z_t = checked_pair_of_logits(student_logits, teacher_logits)
    tau_t = temperature if teacher_temperature is None else teacher_temperature
    loss = F.cross_entropy(z_s, soft_targets(z_t, tau_t), temperature=temperature)
    is_kl = check_choice("soft", soft, ("ce", "kl")) == "kl"
    if not is_kl or loss.item() == np.inf:  # then the KL is infinite, too
        return loss
    log_q = stable_log_softmax(z_t.astype(np.float64), temperature=tau_t)
    log_p = stable_log_softmax(z_s.data.astype(np.float64), temperature=temperature)
    q = np.exp(log_q)
    kl = np.multiply(q, log_q - log_p, where=q > 0, out=np.zeros_like(q)).sum(axis=1).mean()
    return (loss - loss.item()) + max(kl, 0.0)  # the gradient of loss, the value of kl


def soft_gradient(student_logits: np.ndarray, teacher_logits: np.ndarray, temperature: float) -> np.ndarray:
    """The gradient of ``soft_cross_entropy``, both at tau, with respect to the student's logits (N, K):

        dH/dz_s = (p - q) / (tau N)

    For large tau, tau² N times this tends to (z_s - z_t) / K with each row centred. So then soft targets act
    like logit matching (Hinton et al. 2015, section 2.1).
    """
    p, q = soft_targets(student_logits, temperature), soft_targets(teacher_logits, temperature)
    check_array("teacher_logits", q, *p.shape)
    return (p - q) / (temperature * len(p))


def logit_distance(student_logits: Any, teacher_logits: Any) -> Tensor:
    """(1/N) sum_n ||z_t - z_s||²: the sum of squares over the K classes, and the mean over the N rows.

    A constant added to a row's logits changes no probability, but it changes this distance (Ba and Caruana
    2014).
    """
    return logit_matching_loss(student_logits, teacher_logits, None, alpha=0.0)


def logit_matching_loss(
    student_logits: Any, teacher_logits: Any, labels: np.ndarray | None, *, alpha: float
) -> Tensor:
    """L = alpha CE(y, z_s) + (1 - alpha) ||z_t - z_s||², sum of squares over classes, mean over rows.

    student_logits z_s, teacher_logits z_t: (N, K), Tensors or arrays. No gradient reaches the teacher.
    ``checked_pair_of_logits(student_logits, teacher_logits)`` gives z_s as a Tensor and z_t as an array.
    labels y: classes (N,), or rows of probabilities (N, K), or None if alpha is 0. CE is
    ``F.cross_entropy``: a label of -100 leaves its row out of this term.  A term of weight 0 is left out.
    ValueError for an alpha outside of 0 ... 1, and for logits of different shapes. If alpha is above 0, also
    for labels of None, and for a label that is not a class, such as -1 or K.

    >>> from minidl import transfer
    >>> transfer.logit_matching_loss([[1, 0]], teacher_logits=[[4, 0]], labels=None, alpha=0).item()
    9.0
    """
    check_number("alpha", alpha, 0, 1)
    z_s, z_t = checked_pair_of_logits(student_logits, teacher_logits)
    terms = []
    if alpha > 0:
        require(labels is not None, "labels are needed where alpha is above 0")
        terms.append(alpha * F.cross_entropy(z_s, labels))
    if alpha < 1:
        difference = z_s - z_t
        terms.append((1 - alpha) * (difference * difference).sum(axis=1).mean())
    return sum(terms[1:], terms[0])


def distillation_loss(
    student_logits: Any,
    teacher_logits: Any,
    labels: np.ndarray | None,
    *,
    alpha: float,
    beta: float,
    temperature: float,
    teacher_temperature: float | None = None,
    scale_by_tau_squared: bool = False,
    soft: str = "ce",
) -> Tensor:
    """L = alpha H(y, softmax(z_s)) + beta H(softmax(z_t / tau), softmax(z_s / tau)), the mean over the rows.

    student_logits z_s, teacher_logits z_t: (N, K), Tensors or arrays. No gradient reaches the teacher.
    labels y: classes (N,), or rows of probabilities (N, K), or None if alpha is 0. The labels' term is
    ``F.cross_entropy``: a label of -100 leaves its row out of this term.
    alpha, beta >= 0, not both 0; a term of weight 0 is left out.  temperature: tau.
    teacher_temperature, soft: as in ``soft_cross_entropy``, which gives the second term.
    scale_by_tau_squared: if True, beta is multiplied by tau². Then the soft gradient keeps its size when tau
    changes, for any alpha (Hinton et al. 2015, arXiv:1503.02531).
    ValueError for weights below 0 or both 0. If alpha is above 0, also for labels of None, and for a
    label that is not a class, such as -1 or K. If beta is above 0, also for what ``soft_cross_entropy``
    refuses; with a beta of 0 this need not be refused.

    >>> from minidl import transfer
    >>> student, teacher = [[1, 0]], [[4, 0]]
    >>> loss = transfer.distillation_loss(student, teacher, np.array([0]), alpha=0.5, beta=0.5, temperature=2)
    >>> round(loss.item(), 3)
    0.423
    """
    alpha, beta = checked_weights(alpha, beta)
    soft_loss = soft_cross_entropy(  # whose checks any weight needs
        student_logits,
        teacher_logits,
        temperature=temperature,
        teacher_temperature=teacher_temperature,
        soft=soft,
    )
    terms = []
    if alpha > 0:
        require(labels is not None, "labels are needed where alpha is above 0")
        terms.append(alpha * F.cross_entropy(student_logits, labels))
    if beta > 0:
        scaled = check_flag("scale_by_tau_squared", scale_by_tau_squared)
        terms.append((beta * temperature**2 if scaled else beta) * soft_loss)
    return sum(terms[1:], terms[0])


# ---- the same losses, term by term, for the history of a training


def logit_matching_terms(
    student_logits: Any, teacher_logits: Any, labels: np.ndarray | None, *, alpha: float
) -> Terms:
    """{"hard": alpha CE, "soft": (1 - alpha) ||z_t - z_s||²}, with the sum ``logit_matching_loss``.

    A term of weight 0 is not computed.
    """
    check_number("alpha", alpha, 0, 1)
    terms = {}
    if alpha > 0:
        terms["hard"] = alpha * logit_matching_loss(student_logits, teacher_logits, labels, alpha=1.0)
    if alpha < 1:
        terms["soft"] = (1 - alpha) * logit_distance(student_logits, teacher_logits)
    return terms


def distillation_terms(
    student_logits: Any,
    teacher_logits: Any,
    labels: np.ndarray | None,
    *,
    alpha: float,
    beta: float,
    temperature: float,
    teacher_temperature: float | None = None,
    scale_by_tau_squared: bool = False,
    soft: str = "ce",
) -> Terms:
    """{"hard": alpha H(y, p at T = 1), "soft": beta H(q, p at tau)}, with the sum ``distillation_loss``.

    A term of weight 0 is not computed.
    """
    alpha, beta = checked_weights(alpha, beta)
    loss = functools.partial(
        distillation_loss,
        student_logits,
        teacher_logits,
        labels,
        temperature=temperature,
        teacher_temperature=teacher_temperature,
        scale_by_tau_squared=scale_by_tau_squared,
        soft=soft,
    )
    terms = {}
    if alpha > 0:
        terms["hard"] = loss(alpha=alpha, beta=0.0)
    if beta > 0:
        terms["soft"] = loss(alpha=0.0, beta=beta)
    return terms


# ---- the similarity of classes for the teacher


def class_means(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean row of each class: rows (N, K) and labels (N,) give (K, K). Row c is for class c.

    Everything is computed in float64. The labels are integers, the classes 0 ... K-1. ValueError for a class
    without a row, and for a label that is not a class.

    >>> from minidl.transfer.distill_loss import class_means
    >>> print(class_means(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]), np.array([0, 1, 1])))
    [[1.   0.  ]
     [0.25 0.75]]
    """
    rows = check_array("rows", rows, "N", "K")
    labels = check_labels("labels", labels, *rows.shape)
    counts = np.bincount(labels, minlength=rows.shape[1])
    require(counts.min() > 0, f"class {counts.argmin()} has no row: each class needs a row for its mean")
    sums = np.zeros((rows.shape[1], rows.shape[1]))
    np.add.at(sums, labels, rows)
    return sums / counts[:, np.newaxis]


def class_similarity(
    teacher: Module, images: np.ndarray, labels: np.ndarray, temperature: float
) -> np.ndarray:
    """S[i, j]: the teacher's mean probability of class j at ``temperature``, over the images of class i.

    float64 (K, K), rows of sum 1, not symmetric. ValueError for a class without images.

    >>> from minidl import nn, transfer
    >>> logits = np.array([[2.0, 1.0], [0.0, 3.0]])  # nn.Identity gives them as they are
    >>> print(transfer.class_similarity(nn.Identity(), logits, [0, 1], temperature=1.0).round(3))
    [[0.731 0.269]
     [0.047 0.953]]
    """
    return class_means(soft_targets(predict(teacher, images), temperature), labels)


# ---- what arguments are


def total(terms: Terms) -> Tensor:
    first, *others = terms.values()
    return sum(others, first)


def checked_weights(alpha: float, beta: float) -> tuple[float, float]:
    alpha, beta = check_number("alpha", alpha, 0), check_number("beta", beta, 0)
    require(alpha > 0 or beta > 0, "alpha and beta are both 0: there is nothing to learn")
    return alpha, beta


def checked_pair_of_logits(student_logits: Any, teacher_logits: Any) -> tuple[Tensor, np.ndarray]:
    """The student's logits as a Tensor, the teacher's as an array of the same dtype, outside of any graph."""
    check_array("student_logits", student_logits, "N", "K", finite=False)
    z_s = F.floating(student_logits)
    z_t = check_array("teacher_logits", teacher_logits, *z_s.shape)
    with np.errstate(over="ignore"):  # values too large for float32 are refused below
        return z_s, check_array(f"teacher_logits in {z_s.dtype}", z_t.astype(z_s.dtype))
