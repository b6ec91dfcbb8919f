"""Exercises of lesson 05: the soft term."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import minidl.nn.functional as F
from lessons.exercises.by_hand import cross_entropies, log_softmax
from lessons.exercises.ex05_distillation import pairs
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, temperatures
from minidl.transfer import distill_loss

# ---- 05.3 soft_cross_entropy

soft = Exercise(
    "05.3",
    distill_loss.soft_cross_entropy,
    title="cross-entropy with soft targets",
    helpers=("soft_targets",),
    points=3,
    level=2,
    minutes=25,
    kind="tensor",
    hints=(
        "The target is the teacher's distribution q at its temperature. The prediction is the student's p "
        "at tau.",
        "soft_targets(z_t, tau_t) is q, an array, so no gradient flows; F.cross_entropy takes such rows. For "
        "'kl' keep that gradient, and compute the value beside it, in float64, from two log-softmaxes.",
        "loss - loss.item() is 0 and has the gradient of the loss: add the other value to it.",
    ),
)


@soft.law("for p = (1/2, 1/2) and q = (1/4, 3/4) the cross-entropy is log 2, and KL is log 2 - H(q)")
def worked_soft(soft):
    student, teacher = np.zeros((1, 2)), np.log(np.array([[1.0, 9.0]]))
    y, _ = soft(student, teacher, temperature=2.0)
    assert_close(y, np.array(np.log(2)))
    y, _ = soft(student, teacher, temperature=2.0, soft="kl")
    assert_close(y, np.array(0.25 * np.log(0.5) + 0.75 * np.log(1.5)))
    for z_s in (student, np.array([[0, 0]])):
        y, _ = soft(z_s, np.array([[1000, 0]]), temperature=2)  # whole numbers
        assert_close(y, np.array(np.log(2)))
    y, _ = soft(np.log(np.array([[1.0, 3.0]])), teacher, temperature=1.0, teacher_temperature=2.0, soft="kl")
    assert_close(y, np.array(0.0))


OF_THE_LOGITS = (
    "the gradient of the student's logits is (p - q) / (tau N), and that of the teacher's logits is 0"
)


@soft.law(OF_THE_LOGITS)
@given(
    case=pairs,
    tau=temperatures(),
    tau_t=st.sampled_from([None, 1.0, 2.5]),
    kind=st.sampled_from(["ce", "kl"]),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def gradient_of_soft(soft, case, tau, tau_t, kind, dtype):
    options = {"temperature": tau, "teacher_temperature": tau_t, "soft": kind}
    narrow = (z.astype(dtype) for z in case)
    y, (of_student, of_teacher) = soft(*narrow, grad=np.array(1, dtype), **options)
    log_p, log_q = (log_softmax(z, t) for z, t in zip(case, (tau, tau_t or tau), strict=True))
    p, q = np.exp(log_p), np.exp(log_q)
    bounds = {"rtol": 1e-4, "atol": 1e-6} if dtype == np.float32 else {}
    assert_close(y, np.array(cross_entropies(q, log_p - (kind == "kl") * log_q)), **bounds)
    assert_close(of_student, (p - q) / (tau * len(p)), **bounds)
    assert_close(of_teacher, 0.0)


@soft.law("the loss is at least the teacher's entropy, and equal to it if the student has the same logits")
@given(case=pairs, tau=temperatures())
def at_least_the_entropy(soft, case, tau):
    student, teacher = case
    log_q = log_softmax(teacher, tau)
    entropy = np.array(cross_entropies(np.exp(log_q), log_q))
    assert_close(soft(teacher, teacher, temperature=tau)[0], entropy)
    y, _ = soft(student, teacher, temperature=tau)
    assert np.all(y >= entropy - 1e-9), f"{y} is below the entropy {entropy}"


@soft.law("giving each row twice changes nothing")
@given(case=pairs, tau=temperatures())
def mean_over_rows(soft, case, tau):
    once, _ = soft(*case, temperature=tau)
    twice, _ = soft(*(np.concatenate([z, z]) for z in case), temperature=tau)
    assert_close(twice, once)


@soft.law("with a teacher temperature near 0, the class of the teacher's largest logit is the label")
@given(student=arrays((2, 3)))
def cold_teacher(soft, student):
    teacher = np.array([[0.0, 1.0, 2.0], [3.0, 1.0, 0.0]])
    log_p = log_softmax(student, 1.5)
    for kind in ("ce", "kl"):  # the entropy of a label is 0
        y, _ = soft(student, teacher, temperature=1.5, teacher_temperature=1e-3, soft=kind)
        assert_close(y, np.array(-(log_p[0, 2] + log_p[1, 0]) / 2))
    for T in (1e-3, 1e-15, 1e6):  # as at 1: the teacher's logits shrink as much
        y, _ = soft(student, T * teacher, temperature=1.5, teacher_temperature=T)
        assert_close(y, soft(student, teacher, temperature=1.5, teacher_temperature=1.0)[0])
        y, _ = soft(T * student, teacher, temperature=T, teacher_temperature=1.5)
        assert_close(y, soft(student, teacher, temperature=1.0, teacher_temperature=1.5)[0])


@soft.law(
    "a student that is sure of the other class has the loss 2000 with logits of ±1000, infinite with -inf"
)
def soft_of_large_logits(soft):
    student, teacher = np.array([[1000.0, -1000.0]]), np.array([[-1000.0, 1000.0]])
    for kind in ("ce", "kl"):
        for dtype, other in ((np.float32, np.float64), (np.float64, np.float32)):
            z_s, grad = student.astype(dtype), np.array(1, dtype)
            y, grads = soft(z_s, teacher.astype(other), grad=grad, temperature=1.0, soft=kind)
            assert_dtype(y, dtype)
            assert_close(y, np.array(2000.0))
            assert_close(grads[0], [[1.0, -1.0]])
        y, _ = soft(np.array([[0.0, -np.inf]]), teacher, temperature=1.0, soft=kind)
        assert_close(y, np.array(np.inf))
        y, _ = soft(np.array([[0.0, -np.inf]]), -teacher, temperature=1.0, soft=kind)
        assert_close(y, np.array(0.0))  # q = 0 where p = 0
        for low, far in ((15, 1e6), (60, 1e30)):  # q is 3e-7 and 9e-27, and counts
            y, _ = soft(np.array([[0, -far]]), np.array([[0.0, -low]]), temperature=1.0, soft=kind)
            assert_close(y, np.array(far / (1 + math.exp(low))), rtol=1e-3)


@soft.law("float32 stays float32, and a KL of 1e-7, 1e-11 or 1e-13 is accurate to one hundredth in float32")
def small_kl(soft):
    teacher = np.array([[0.5, 1.25, -0.75]], np.float32)
    for moved, tau in ((1e-3, 1.0), (1e-5, 1.0), (1e-6, 1.0), (1e-6, 3.0), (1e-6, 0.3)):
        student = teacher + np.array([[moved, 0, 0]], np.float32)
        assert_dtype(soft(student, teacher, temperature=tau)[0], np.float32)
        y, grads = soft(student, teacher, grad=np.array(1, np.float32), temperature=tau, soft="kl")
        assert_dtype(y, np.float32)
        assert_dtype(grads[0], np.float32)
        log_p, log_q = (log_softmax(z.astype(np.float64), tau) for z in (student, teacher))
        assert_close(y, np.array((np.exp(log_q) * (log_q - log_p)).sum()), rtol=1e-2, atol=0)
    y, _ = soft(np.zeros((1, 2)), np.log(np.array([[1.0, 3.0]])), temperature=1.0, soft="kl")  # float64
    assert_close(y, np.array(0.25 * np.log(0.5) + 0.75 * np.log(1.5)), rtol=1e-12)


@soft.law(
    "ValueError for a temperature not above 0, for a name other than 'ce' and 'kl', and for different shapes"
)
def soft_refuses(soft):
    z = np.zeros((2, 2))
    for tau in (0.0, -1.0):
        for kind in ("ce", "kl"):
            options = {"temperature": 1.0, "teacher_temperature": tau, "soft": kind}
            assert_refuses(f"teacher_temperature {tau}", soft, z, z, **options)
            options = {"temperature": tau, "teacher_temperature": 1.0, "soft": kind}
            assert_refuses(f"temperature {tau}", soft, z, z, **options)
        assert_refuses(f"temperature {tau}", soft, z, z, temperature=tau)
    for name in ("mse", "KL", "", "kld", "ce "):
        assert_refuses(f"soft = {name!r}", soft, z, z, temperature=1.0, soft=name)
    for shape in ((2, 3), (2, 1), (1, 2), (4, 1)):
        what = f"logits (2, 2) and {shape}"
        assert_refuses(what, soft, z, np.zeros(shape), temperature=1.0)
        assert_refuses(what, soft, np.zeros(shape), z, temperature=1.0, soft="kl")


@soft.mistake("the teacher's distribution at temperature 1", breaks=soft.laws[0].text)
def teacher_at_one(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    options = {"temperature": temperature, "teacher_temperature": teacher_temperature or 1.0, "soft": soft}
    return distill_loss.soft_cross_entropy(student_logits, teacher_logits, **options)


@soft.mistake("the student's distribution at temperature 1", breaks=OF_THE_LOGITS)
def student_at_one(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    tau_t = teacher_temperature or temperature
    options = {"temperature": 1.0, "teacher_temperature": tau_t, "soft": soft}
    return distill_loss.soft_cross_entropy(student_logits, teacher_logits, **options)


@soft.mistake("the gradient flows into the teacher", breaks=OF_THE_LOGITS)
def teaches_the_teacher(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    log_q = F.log_softmax(teacher_logits, temperature=teacher_temperature or temperature)
    q = log_q.exp()
    loss = -(q * F.log_softmax(student_logits, temperature=temperature)).sum(axis=1).mean()
    return loss if soft == "ce" else loss + (q * log_q).sum(axis=1).mean()


@soft.mistake("computes q log q directly, which is NaN where q is 0", breaks=soft.laws[1].text)
def logarithm_of_zero(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    q = distill_loss.soft_targets(teacher_logits, teacher_temperature or temperature)
    loss = F.cross_entropy(student_logits, q, temperature=temperature)
    with np.errstate(divide="ignore", invalid="ignore"):
        return loss if soft == "ce" else loss + float((q * np.log(q)).sum(axis=1).mean())


@soft.mistake("the mean over the classes instead of the sum", breaks=soft.laws[0].text)
def mean_over_classes(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    options = {"temperature": temperature, "teacher_temperature": teacher_temperature, "soft": soft}
    classes = student_logits.shape[1]
    return distill_loss.soft_cross_entropy(student_logits, teacher_logits, **options) / classes


@soft.mistake(
    "KL as a difference in float32, which is inaccurate where p is close to q", breaks=soft.laws[2].text
)
def narrow_difference(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    options = {"temperature": temperature, "teacher_temperature": teacher_temperature}
    loss = distill_loss.soft_cross_entropy(student_logits, teacher_logits, **options)
    if soft != "kl":
        return loss
    q = distill_loss.soft_targets(teacher_logits, teacher_temperature or temperature)
    return loss - F.cross_entropy(np.log(np.maximum(q, 1e-300)), q).item()
