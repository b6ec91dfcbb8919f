"""Right answers to the exercises of lesson 05, written from the stubs alone."""

from __future__ import annotations

import numpy as np

from minidl import where
from minidl.engine.recording import no_grad
from minidl.engine.reduce import stable_log_softmax, stable_softmax
from minidl.nn import functional as F
from minidl.nn.module import eval_mode
from minidl.transfer.distill_loss import checked_pair_of_logits, soft_targets
from tests.lessons.right_answers.declare import right


@right("05.1")
def class_means(rows, labels):
    K = rows.shape[1]
    if np.any((labels < 0) | (labels >= K)):
        raise ValueError("a label is not a class")
    means = np.zeros((K, K))
    for c in range(K):
        if not np.any(labels == c):
            raise ValueError(f"class {c} has no row")
        means[c] = rows[labels == c].mean(axis=0, dtype=np.float64)
    return means


@right("05.2")
def logit_matching_loss(student_logits, teacher_logits, labels, *, alpha):
    if alpha < 0 or alpha > 1:
        raise ValueError("alpha must be within 0 ... 1")
    z_s, z_t = checked_pair_of_logits(student_logits, teacher_logits)
    loss = 0
    if alpha > 0:
        if labels is None:
            raise ValueError("labels are needed for an alpha above 0")
        loss = loss + alpha * F.cross_entropy(z_s, labels)
    if alpha < 1:
        loss = loss + (1 - alpha) * ((z_s - z_t) ** 2).sum(axis=1).mean()
    return loss


@right("05.3")
def soft_cross_entropy(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    if teacher_temperature is None:
        teacher_temperature = temperature
    if temperature <= 0 or teacher_temperature <= 0:
        raise ValueError("temperatures must be above 0")
    z_s, z_t = checked_pair_of_logits(student_logits, teacher_logits)
    if soft == "ce":
        q = soft_targets(z_t, teacher_temperature)
        log_p = z_s.log_softmax(axis=1, temperature=temperature)
        return -(q * where(q > 0, log_p, 0)).sum(axis=1).mean()
    if soft == "kl":
        z_t = z_t.astype(np.float64)
        q = stable_softmax(z_t, temperature=teacher_temperature)
        log_q = stable_log_softmax(z_t, temperature=teacher_temperature)
        log_p = z_s.astype(np.float64).log_softmax(axis=1, temperature=temperature)
        kl = (q * where(q > 0, log_q - log_p, 0)).sum(axis=1).mean()
        return kl.astype(z_s.dtype)
    raise ValueError(f"unknown soft: {soft}")


@right("05.4")
def distillation_loss(
    student_logits,
    teacher_logits,
    labels,
    *,
    alpha,
    beta,
    temperature,
    teacher_temperature=None,
    scale_by_tau_squared=False,
    soft="ce",
):
    if alpha < 0 or beta < 0 or alpha == beta == 0:
        raise ValueError("alpha and beta must be 0 or more, and not both 0")
    z_s, z_t = checked_pair_of_logits(student_logits, teacher_logits)
    terms = []
    if alpha > 0:
        if labels is None:
            raise ValueError("labels are needed for an alpha above 0")
        terms.append(alpha * F.cross_entropy(z_s, labels))
    if beta > 0:
        if scale_by_tau_squared:
            beta = beta * temperature**2
        soft_loss = soft_cross_entropy(
            z_s, z_t, temperature=temperature, teacher_temperature=teacher_temperature, soft=soft
        )
        terms.append(beta * soft_loss)
    return sum(terms)


@right("05.5")
def distill_step(teacher, student, images, labels, *, alpha, temperature, lr):
    if alpha < 0 or alpha > 1:
        raise ValueError("alpha must be within 0 ... 1")
    if temperature <= 0:
        raise ValueError("temperature must be above 0")
    with eval_mode(teacher), no_grad():
        z_t = teacher(images)
    if labels.min() < 0 or labels.max() >= z_t.shape[1]:
        raise ValueError("a label is not a class")
    student.train()
    student.zero_grad()
    z_s = student(images)
    hard = F.cross_entropy(z_s, labels)
    soft = soft_cross_entropy(z_s, z_t, temperature=temperature)
    loss = alpha * hard + (1 - alpha) * temperature**2 * soft
    loss.backward()
    for parameter in student.parameters():
        if parameter.requires_grad and parameter.grad is not None:
            parameter.data = parameter.data - lr * parameter.grad
    return loss.item()
