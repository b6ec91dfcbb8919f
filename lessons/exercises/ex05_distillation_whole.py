"""Exercises of lesson 05, continued: the whole loss of distillation."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.by_hand import (
    cross_entropies,
    log_softmax,
    one_hot,
)
from lessons.exercises.ex05_distillation import TEN, labelled_pairs, pairs
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import temperatures
from minidl.nn import functional as F
from minidl.transfer import distill_loss

weights = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])
two_weights = st.tuples(weights, weights).filter(any)

# ---- 05.4 distillation_loss

whole = Exercise(
    "05.4",
    distill_loss.distillation_loss,
    title="the whole loss of distillation",
    points=4,
    level=3,
    minutes=30,
    kind="tensor",
    hints=(
        "The student has two teachers: the labels and the network. There is one cross-entropy for each "
        "of them, with its own weight. The temperature is used only in the cross-entropy with the "
        "network.",
        "soft_cross_entropy gives the second term. tau² belongs to its weight. Leave out a term of "
        "weight 0: its labels may be missing, and an infinite loss times 0 is NaN.",
        "beta * temperature**2 where scale_by_tau_squared; the hard term is F.cross_entropy(...) at T = 1",
    ),
)
SOFT_ONLY = {"alpha": 0.0, "beta": 1.0}


@whole.law(
    "z_s = 0, z_t = log (1, 9), label 0, tau = 2: both terms are log 2, and tau² makes the soft one 4 log 2"
)
def worked_loss(loss):
    student, teacher, y = np.zeros((1, 2)), np.log(np.array([[1.0, 9.0]])), np.array([0])
    options = {"alpha": 0.25, "beta": 3.0, "temperature": 2.0}
    assert_close(loss(student, teacher, y, **options)[0], np.array(3.25 * np.log(2)))
    scaled, _ = loss(student, teacher, y, **options, scale_by_tau_squared=True)
    assert_close(scaled, np.array(12.25 * np.log(2)))
    kl = 0.25 * np.log(0.5) + 0.75 * np.log(1.5)
    value, _ = loss(student, teacher, y, **options, soft="kl")
    assert_close(value, np.array(0.25 * np.log(2) + 3 * kl), rtol=1e-12)
    value, _ = loss(student, teacher, y, **options, soft="kl", teacher_temperature=1.0)  # q = (0.1, 0.9)
    kl = 0.1 * np.log(0.2) + 0.9 * np.log(1.8)
    assert_close(value, np.array(0.25 * np.log(2) + 3 * kl), rtol=1e-12)
    whole = np.array([[0, 0]]), np.array([[1, 1]])  # logits may be whole numbers
    assert_close(loss(*whole, y, alpha=1, beta=3, temperature=2)[0], np.array(4 * np.log(2)))


@whole.law(
    "alpha multiplies the cross-entropy with the labels at T = 1, beta the one with the teacher at tau"
)
@given(
    case=labelled_pairs,
    weights=two_weights,
    tau=temperatures(),
    tau_t=st.none() | temperatures(),
    kind=st.sampled_from(["ce", "kl"]),
    scaled=st.booleans(),
)
def both_terms(loss, case, weights, tau, tau_t, kind, scaled):
    (student, teacher, y), (alpha, beta) = case, weights
    log_q = log_softmax(teacher, tau_t or tau)
    hard = cross_entropies(one_hot(y, student.shape[1]), log_softmax(student))
    softly = cross_entropies(np.exp(log_q), log_softmax(student, tau) - (kind == "kl") * log_q)
    options = {"temperature": tau, "teacher_temperature": tau_t, "soft": kind, "scale_by_tau_squared": scaled}
    value, _ = loss(student, teacher, y, alpha=alpha, beta=beta, **options)
    assert_close(value, np.array(alpha * hard + beta * (tau**2 if scaled else 1) * softly))


@whole.law(
    "with tau² the student's gradient is alpha (p_1 - y) / N + beta tau (p - q) / N, the teacher's is 0"
)
@given(
    case=labelled_pairs,
    weights=two_weights,
    tau=temperatures(),
    tau_t=st.sampled_from([None, 1.0, 4.0]),
    kind=st.sampled_from(["ce", "kl"]),
    scaled=st.booleans(),
)
def gradient_of_loss(loss, case, weights, tau, tau_t, kind, scaled):
    (student, teacher, y), (alpha, beta) = case, weights
    options = {"temperature": tau, "teacher_temperature": tau_t, "soft": kind, "scale_by_tau_squared": scaled}
    _, grads = loss(student, teacher, y, grad=np.array(1.0), alpha=alpha, beta=beta, **options)
    of_hard = np.exp(log_softmax(student)) - one_hot(y, student.shape[1])
    of_soft = np.exp(log_softmax(student, tau)) - np.exp(log_softmax(teacher, tau_t or tau))
    of_soft *= tau if scaled else 1 / tau
    assert_close(grads[0], (alpha * of_hard + beta * of_soft) / len(student))
    assert_close(grads[1], 0.0)


@whole.law(
    "with tau² and a large tau, the soft gradient is nearly the difference of the centred logits / (K N)"
)
@given(case=pairs)
def keeps_its_size(loss, case):
    student, teacher = case
    options = {**SOFT_ONLY, "temperature": 1e4, "scale_by_tau_squared": True}
    _, grads = loss(student, teacher, None, grad=np.array(1.0), **options)
    difference = student - teacher
    limit = (difference - difference.mean(axis=1, keepdims=True)) / difference.size
    assert_close(grads[0], limit, rtol=0.0, atol=1e-3)


@whole.law(
    "a term of weight 0 is left out: alpha = 0 needs no labels, beta = 0 ignores an infinite soft term"
)
def leaves_out(loss):
    student, teacher = np.array([[0.0, -np.inf]]), np.zeros((1, 2))
    y, _ = loss(student, teacher, np.array([0]), alpha=2.0, beta=0.0, temperature=2.0)
    assert_close(y, np.array(0.0))
    for y in (None, np.array([7]), np.array([-100]), np.array([[0.5, 0.5]])):
        value, _ = loss(np.zeros((1, 2)), teacher, y, **{**SOFT_ONLY, "beta": 2.0}, temperature=5.0)
        assert_close(value, np.array(2 * np.log(2)))
    value, _ = loss(student, teacher, np.array([1]), **SOFT_ONLY, temperature=1.0)  # both terms are infinite
    assert_close(value, np.array(np.inf))


@whole.law("float32 stays float32, and tau² need not be a whole number")
def loss_in_float32(loss):
    options = {"alpha": 0.5, "beta": 0.5, "temperature": 1.5, "scale_by_tau_squared": True}
    y, grads = loss(TEN, np.zeros((1, 2)), np.array([[0.5, 0.5]]), grad=np.array(1, np.float32), **options)
    assert_dtype(y, np.float32)
    assert_dtype(grads[0], np.float32)
    hard, softly = (cross_entropies([[0.5, 0.5]], log_softmax(TEN.astype(float), tau)) for tau in (1, 1.5))
    assert_close(y, np.array(0.5 * hard + 0.5 * 2.25 * softly), rtol=1e-5)
    for alpha, beta, kind in ((1.0, 0.0, "ce"), (0.0, 1.0, "ce"), (0.0, 1.0, "kl"), (0.5, 1.0, "kl")):
        options = {"alpha": alpha, "beta": beta, "temperature": 1.5, "soft": kind}
        y, _ = loss(TEN, np.zeros((1, 2)), np.array([0]), **options)
        assert_dtype(y, np.float32)
    near = np.array([[10.0 + 2**-7, 0.0]])  # the KL is about 1e-7
    log_p, log_q = (log_softmax(z, 4.0) for z in (TEN.astype(float), near))
    y, _ = loss(TEN, near, None, alpha=0.0, beta=1.0, temperature=4.0, soft="kl")
    assert_close(y, np.array(cross_entropies(np.exp(log_q), log_p - log_q)), rtol=1e-2, atol=0)


@whole.law("labels may be rows of probabilities; a label of -100 leaves its row out of the labels' term only")
def other_labels(loss):
    z = np.array([[1.0, 0.0, 2.0], [0.5, 0.0, 0.0], [0.0, 3.0, 1.0], [1.0, 1.0, -1.0]])
    log_p, log_p2, log_q = log_softmax(z), log_softmax(z, 2.0), log_softmax(z[::-1] / 2, 2.0)
    rows = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]])
    for beta, kind in ((2.0, "ce"), (2.0, "kl"), (0.0, "ce")):
        options = {"alpha": 0.5, "beta": beta, "temperature": 2.0, "soft": kind}
        softly = beta * cross_entropies(np.exp(log_q), log_p2 - (kind == "kl") * log_q)
        of_soft = beta / 2 * (np.exp(log_p2) - np.exp(log_q))
        for y in (rows, rows.astype(np.float32), np.int64(one_hot([0, 2, 1, 2], 3))):
            value, grads = loss(z, z[::-1] / 2, y, grad=np.array(1.0), **options)
            assert_close(value, np.array(0.5 * cross_entropies(np.float64(y), log_p) + softly))
            assert_close(grads[0], ((np.exp(log_p) - y) / 2 + of_soft) / 4)
        value, _ = loss(z, z[::-1] / 2, np.array([0, -100, 1, 2], np.int32), **options)
        assert_close(value, np.array(-0.5 * (log_p[0, 0] + log_p[2, 1] + log_p[3, 2]) / 3 + softly))


@whole.law(
    "ValueError for a weight below 0, two weights of 0, missing labels, a label that is not a class, tau = 0"
)
def loss_refuses(loss):
    z, y = np.zeros((2, 2)), np.array([0, 1])
    bad = [
        (0.0, 0.0),
        (-0.5, -0.5),
        *((w, 1.0) for w in (-0.25, -1e-300)),
        *((1.0, w) for w in (-0.25, -1e-300)),
    ]
    for alpha, beta in bad:
        which = f"alpha = {alpha} with beta = {beta}"
        assert_refuses(which, loss, z, z, y, alpha=alpha, beta=beta, temperature=2.0)
    for options in (
        {"alpha": 1.0, "beta": 0.0},
        {"alpha": 0.25, "beta": 1.0},
        {"alpha": 1e-300, "beta": 1.0},
    ):
        options["temperature"] = 2.0
        assert_refuses(f"alpha = {options['alpha']} and None as labels", loss, z, z, None, **options)
        for label in (-1, 2, -2, -99, 100):
            assert_refuses(f"a label {label} of two classes", loss, z, z, np.array([0, label]), **options)
    for shape in ((2, 3), (2, 1), (1, 2), (4, 1)):
        for pair in ((z, np.zeros(shape)), (np.zeros(shape), z)):
            assert_refuses(f"logits (2, 2) and {shape}", loss, *pair, None, **SOFT_ONLY, temperature=2.0)
    for tau in (0.0, -2.0):
        for alpha in (0.0, 0.5):
            which = f"temperature {tau} with alpha = {alpha}"
            assert_refuses(which, loss, z, z, y, alpha=alpha, beta=1.0, temperature=tau)
        options = {"alpha": 1.0, "beta": 1e-300, "temperature": 2.0, "teacher_temperature": tau}
        assert_refuses(f"teacher_temperature {tau}", loss, z, z, y, **options)
    for name in ("mse", "KL", "kld", ""):
        assert_refuses(f"soft = {name!r}", loss, z, z, y, **SOFT_ONLY, temperature=2.0, soft=name)


def loss_of(weights):
    """The loss with other weights of the two terms, or with another temperature for the labels."""

    def wrong(z_s, z_t, labels, *, alpha, beta, temperature, scale_by_tau_squared=False, **options):
        given = {"temperature": temperature, **options}
        distill_loss.distillation_loss(z_s, z_t, labels, alpha=alpha, beta=beta, **given)  # refuses bad input
        a, b, hard_at = weights(alpha, beta, temperature if scale_by_tau_squared else 1.0, temperature)
        softly = b * distill_loss.soft_cross_entropy(z_s, z_t, **given)
        return softly if a == 0 else a * F.cross_entropy(z_s, labels, temperature=hard_at) + softly

    return wrong


def wrong_loss(text, breaks, weights):
    whole.mistake(text, breaks=breaks)(loss_of(weights))


wrong_loss(
    "tau² multiplies the labels' term too", whole.laws[0].text, lambda a, b, s, t: (a * s**2, b * s**2, 1)
)
wrong_loss("tau instead of tau²", whole.laws[0].text, lambda a, b, s, t: (a, b * s, 1))
wrong_loss("1 - alpha instead of beta", whole.laws[0].text, lambda a, b, s, t: (a, (1 - a) * s**2, 1))
wrong_loss(
    "uses tau² even if scale_by_tau_squared is False", whole.laws[0].text, lambda a, b, s, t: (a, b * t**2, 1)
)
wrong_loss(
    "the labels' term at temperature tau too",
    "alpha multiplies the cross-entropy with the labels at T = 1, beta the one with the teacher at tau",
    lambda a, b, s, t: (a, b * s**2, t),
)
wrong_loss(
    "a term of weight 0 is still computed, and 0 times infinity is NaN",
    "a term of weight 0 is left out: alpha = 0 needs no labels, beta = 0 ignores an infinite soft term",
    lambda a, b, s, t: (a, b * s**2, 1),
)
