"""Exercises of lesson 05, continued: a student's training step."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.by_hand import (
    LEARNING,
    NEAR,
    assert_engine_step,
    assert_learns,
    assert_mode,
    assert_state,
    built_once,
    cross_entropies,
    log_softmax,
    mlp_after,
    mlp_logits,
    one_hot,
    wide,
)
from minidl.classroom.builders import Built, contents
from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, temperatures
from minidl.classroom.strategies import labels as label_arrays
from minidl.engine.checks import check_labels, check_number
from minidl.engine.recording import no_grad
from minidl.engine.reduce import stable_softmax
from minidl.nn import functional as F
from minidl.nn.module import Module, eval_mode
from minidl.transfer import distill_loss

# ---- 05.5 distill_step


def distill_step(
    teacher: Module,
    student: Module,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    alpha: float,
    temperature: float,
    lr: float,
) -> float:
    """One step of plain gradient descent of the student; returns the loss before the step.

        L = alpha H(y, p at T = 1) + (1 - alpha) tau² H(q, p at tau)

    H is the cross-entropy, the mean over the rows. p is the softmax of the student's logits; q is the softmax
    of the teacher's logits at temperature tau. The student and the teacher give logits (N, K) for images
    (N, ...).  labels y: classes (N,).  temperature: tau > 0.  lr: the learning rate.

    The teacher runs in evaluation mode and without a graph: ``eval_mode(teacher)`` and ``no_grad()`` are
    context managers for this. The teacher does not change. The student runs in training mode and stays in it.
    Its parameters that require grad (at least one does) change by -lr times the gradient of this loss, in
    their own dtype, and go on to require grad; the others do not. Each stays the same Parameter, with its
    mask. A parameter without a gradient, because the loss does not depend on it, does not change.
    Gradients that the parameters already have, from an earlier step, have no effect.
    ValueError for an alpha outside of 0 ... 1, a temperature that is not above 0, and a label that is not a
    class. The label -100, which ``F.cross_entropy`` leaves out, is refused too.
    """
    check_number("alpha", alpha, 0, 1)
    with eval_mode(teacher), no_grad():
        q = stable_softmax(teacher(images).data, temperature=temperature)
    student.train()
    z_s = student(images)
    hard = F.cross_entropy(z_s, check_labels("labels", labels, len(images), z_s.shape[1]))
    soft = F.cross_entropy(z_s, q, temperature=temperature)
    loss = alpha * hard + (1 - alpha) * temperature**2 * soft
    student.zero_grad()
    loss.backward()
    for parameter in student.parameters():
        if parameter.requires_grad and parameter.grad is not None:
            parameter.data = parameter.data - lr * parameter.grad
    return loss.item()


step = Exercise(
    "05.5",
    distill_step,
    title="a student's training step",
    points=4,
    level=3,
    minutes=40,
    kind="model",
    writes=("student",),
    hints=(
        "First get the teacher's logits, in evaluation mode and without a graph. Then make an ordinary "
        "training step of the student. Its loss has two targets.",
        "Use eval_mode(teacher) and no_grad(), then student.train(). Compute the loss from one forward "
        "pass of the student. Clear the old gradients, call backward, and move each parameter against "
        "its gradient.",
        "parameter.data = parameter.data - ...; the soft term's weight is (1 - alpha) * temperature**2",
    ),
)


@st.composite
def lessons_given(draw):
    """A teacher and a student that are mlps, images, labels and settings."""
    n, k = draw(st.integers(1, 4)), draw(st.integers(2, 3))
    seeds, mlp = [draw(st.integers(0, 9)) for _ in range(2)], {"in_features": 4, "num_classes": k}
    settings = {"alpha": draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])), "temperature": draw(temperatures())}
    settings["lr"] = draw(st.sampled_from([0.25, 1.0, 0.5]))
    images, y = draw(arrays((n, 1, 2, 2))).astype(np.float32), draw(label_arrays(n, k))
    y = y.astype(draw(st.sampled_from([np.int64, np.int32])))
    teacher = Built("mlp", seeds[0], **mlp, hidden=4)
    learns = draw(LEARNING | st.just(("fc1.weight", "head.bias")))
    student = Built("mlp", seeds[1], **mlp, hidden=3, requires_grad=learns)
    return (teacher, student, images, y), settings


def whole_loss(z_s, z_t, y, alpha, temperature):
    hard = cross_entropies(one_hot(y, z_s.shape[1]), log_softmax(z_s))
    softly = cross_entropies(np.exp(log_softmax(z_t, temperature)), log_softmax(z_s, temperature))
    return alpha * hard + (1 - alpha) * temperature**2 * softly


SMALL = {"num_classes": 3, "widths": (2,), "pool_after": ()}
CNN = [Built("small_cnn", seed, **SMALL) for seed in (1, 2)]
NESTED = Built("nested_rows", 1, in_features=16, num_classes=3)
PHOTOS = (np.arange(4 * 16).reshape(4, 1, 4, 4) % 7 / 4).astype(np.float32)


@step.law(
    "a student with its teacher's logits, alpha = 0: the loss is tau² times the entropy, and nothing changes"
)
def worked_step(step):
    model = Built("mlp", 0, in_features=1, hidden=2, num_classes=2)
    images, y = np.array([[-1], [0], [1], [2]], np.float32), np.array([0, 0, 0, 1])
    value, after = step(model, model, images, y, alpha=0.0, temperature=2.0, lr=0.5)
    state = model.build().state_dict()
    log_q = log_softmax(mlp_logits(wide(state), images), 2.0)
    assert_close(value, 4 * cross_entropies(np.exp(log_q), log_q), **NEAR)
    assert_state(after["state"], state)


@step.law("the value is the loss before the step")
@given(case=lessons_given())
def value_before(step, case):
    (teacher, student, images, y), settings = case
    value, _ = step(teacher, student, images, y, **settings)
    z_t, z_s = (mlp_logits(wide(built_once(model).state_dict()), images) for model in (teacher, student))
    assert_close(value, whole_loss(z_s, z_t, y, settings["alpha"], settings["temperature"]), **NEAR)


@step.law("each of the student's parameters changes by -lr times its gradient")
@given(case=lessons_given())
def goes_down(step, case):
    (teacher, student, images, y), settings = case
    alpha, tau, lr = settings.values()
    _, after = step(teacher, student, images, y, **settings)
    before = built_once(student).state_dict()
    z_t, z_s = mlp_logits(wide(built_once(teacher).state_dict()), images), mlp_logits(wide(before), images)
    of_logits = alpha * (np.exp(log_softmax(z_s)) - one_hot(y, z_s.shape[1]))
    of_logits += (1 - alpha) * tau * (np.exp(log_softmax(z_s, tau)) - np.exp(log_softmax(z_t, tau)))
    assert_state(after["state"], mlp_after(student, before, images, of_logits / len(y), lr))
    assert_learns(student, after)


@step.law(
    "the student stays in training mode: BatchNorm uses the batch and learns from it, and Dropout drops"
)
def student_trains(step):
    y = np.array([0, 1, 2, 0])
    z_t = CNN[0].build()(PHOTOS).data
    for student in (NESTED, CNN[1]):
        value, after = step(CNN[0], student, PHOTOS, y, alpha=0.5, temperature=2.0, lr=0.1)
        model = student.build().train()
        z_s = model(PHOTOS)
        assert_close(value, whole_loss(z_s.data.astype(float), z_t.astype(float), y, 0.5, 2.0), **NEAR)
        weights = {"alpha": 0.5, "beta": 0.5, "temperature": 2.0, "scale_by_tau_squared": True}
        assert_engine_step(model, distill_loss.distillation_loss(z_s, z_t, y, **weights), 0.1, after)
        assert_mode(after, True)
    own_flag_only = Built("small_cnn", 2, **SMALL, training=("",), requires_grad=("head",))
    again, after_again = step(CNN[0], own_flag_only, PHOTOS, y, alpha=0.5, temperature=2.0, lr=0.1)
    assert_close(again, value)
    assert_mode(after_again, True)
    moved = after["state"]["block1.bn.running_mean"]
    assert_close(after_again["state"]["block1.bn.running_mean"], moved, **NEAR)


@step.law("a teacher in training mode runs in evaluation mode too, and does not change")
def teacher_of_training(step):
    y, options = np.array([0, 1, 2, 0]), {"alpha": 0.25, "temperature": 2.0, "lr": 0.5}
    value, after = step(*CNN, PHOTOS, y, **options)
    for training, learns in ((True, True), (True, False), (("block1",), True)):
        teacher = Built("small_cnn", 1, **SMALL, training=training, requires_grad=learns, graph=False)
        again, after_again = step(teacher, CNN[1], PHOTOS, y, **options)
        assert_close(again, value)
        assert_state(after_again["state"], after["state"])
    own = Built("shared_relu", 1, in_features=16, num_classes=3)  # with a Dropout and a forward of its own
    value, after = step(own, CNN[1], PHOTOS, y, **options)
    for training in (True, ("dropout",)):
        teacher = Built("shared_relu", 1, in_features=16, num_classes=3, training=training)
        again, after_again = step(teacher, CNN[1], PHOTOS, y, **options)
        assert_close(again, value)
        assert_state(after_again["state"], after["state"])


@step.law(
    "parameters stay float32 or float64 and keep their masks, a small step has all digits; a weight of two "
    "layers moves once"
)
def parameters_keep_float32(step):
    pruned = Built("small_cnn", 2, **SMALL, masked=True)
    _, after = step(CNN[0], pruned, PHOTOS, np.array([0, 1, 2, 0]), alpha=0.5, temperature=2.0, lr=0.1)
    assert_equal(sorted(after["masks"]), sorted(contents(pruned.build())["masks"]))
    for name, value in after["state"].items():
        if name.endswith(("weight", "bias")):
            assert_dtype(value, np.float32)
    weight, images = np.array([[0.1, 0.2], [0.3, -0.1]]), np.array([[0.7, 2.0]])
    layer = Built("linear", weight=weight, dtype="float64")
    p = np.exp(images @ weight.T)
    for lr, rtol in ((1e-9, 1e-5), (0.1, 1e-12)):
        _, after = step(layer, layer, images, np.array([0]), alpha=0.5, temperature=2.0, lr=lr)
        moved = lr * 0.5 * (p / p.sum() - np.eye(2)[:1]).T @ images  # the teacher has the same answer
        assert_dtype(after["state"]["weight"], np.float64)
        assert_close(weight - after["state"]["weight"], moved, rtol=rtol, atol=0)
    shared = Built("shared_rows", 4, in_features=2)  # fc, relu and again, of one weight; spare is not used
    _, after = step(layer, shared, images, np.array([0]), alpha=1.0, temperature=1.0, lr=0.5)
    before = wide(shared.build().state_dict())
    weight, x = before["fc.weight"], images.T
    hidden = np.maximum(weight @ x, 0)
    of_logits = np.exp(log_softmax((weight @ hidden).T)).T - [[1], [0]]
    slope = of_logits @ hidden.T + (weight.T @ of_logits * (hidden > 0)) @ x.T
    moved = dict.fromkeys(("fc.weight", "again.weight"), weight - 0.5 * slope)
    assert_state(after["state"], {**before, **moved})


@step.law(
    "images of ±1000 and 300 classes have finite losses and gradients; alpha, the temperature and lr may be "
    "whole numbers"
)
def large_images(step):
    teacher, student = (Built("mlp", seed, in_features=2, hidden=3, num_classes=300) for seed in (3, 4))
    images, y = np.array([[1000, 0], [-1000, 500], [0, -1000]], np.float32), np.array([0, 1, 299])
    before = wide(student.build().state_dict())
    z_t, z_s = mlp_logits(wide(teacher.build().state_dict()), images), mlp_logits(before, images)
    for alpha, tau in ((1, 2), (0, 1), (0, 0.0625)):
        value, after = step(teacher, student, images, y, alpha=alpha, temperature=tau, lr=1)
        assert_close(value, whole_loss(z_s, z_t, y, alpha, tau), **NEAR)
        of_logits = alpha * (np.exp(log_softmax(z_s)) - one_hot(y, 300))
        of_logits += (1 - alpha) * tau * (np.exp(log_softmax(z_s, tau)) - np.exp(log_softmax(z_t, tau)))
        assert_state(after["state"], mlp_after(student, before, images, of_logits / 3, 1))


@step.law("ValueError for an alpha outside of 0 ... 1, a temperature of 0, and a label that is not a class")
def step_refuses(step):
    bad = [(alpha, 2.0, 0) for alpha in (-0.25, 1.25, -1e-300, np.nextafter(1, 2))]
    bad += [(alpha, tau, 0) for alpha in (0.5, 1.0) for tau in (0.0, -2.0)]
    bad += [(alpha, 2.0, label) for label in (3, -1, -2, -100) for alpha in (0.5, 0.0)]
    teacher = Built("small_cnn", 1, **SMALL, training=("block1",))
    for alpha, tau, label in bad:
        which = f"alpha = {alpha}, temperature = {tau}, a label {label} of three classes,"
        y = np.array([0, 1, label, 0])
        assert_refuses(which, step, teacher, CNN[1], PHOTOS, y, alpha=alpha, temperature=tau, lr=0.1)
    colours, y = np.ones((4, 3, 4, 4), np.float32), np.array([0, 1, 2, 0])
    options = {"alpha": 0.5, "temperature": 2.0, "lr": 0.1}
    assert_refuses(
        "images of three channels for a teacher of one", step, teacher, CNN[1], colours, y, **options
    )


def step_with(teacher, student, images, labels, alpha, temperature, lr, *, weight, train=True, p_at=None):
    """The step with another weight of the soft term, in evaluation mode, or with p at another temperature."""
    check_number("alpha", alpha, 0, 1)
    with no_grad():
        q = stable_softmax(teacher(images).data, temperature=temperature)
    z_s = student.train(train)(images)
    loss = weight * F.cross_entropy(z_s, q, temperature=p_at or temperature)
    loss = alpha * F.cross_entropy(z_s, check_labels("labels", labels, len(z_s), z_s.shape[1])) + loss
    student.zero_grad()
    loss.backward()
    for parameter in student.parameters():
        parameter.data = parameter.data - lr * parameter.grad
    return loss.item()


@step.mistake("tau² forgotten", breaks=step.laws[0].text)
def without_tau_squared(teacher, student, images, labels, *, alpha, temperature, lr):
    return step_with(teacher, student, images, labels, alpha, temperature, lr, weight=1 - alpha)


@step.mistake("the student's soft answer at T = 1", breaks=step.laws[0].text)
def student_not_softened(teacher, student, images, labels, *, alpha, temperature, lr):
    weight = (1 - alpha) * temperature**2
    return step_with(teacher, student, images, labels, alpha, temperature, lr, weight=weight, p_at=1.0)


@step.mistake("the student runs in evaluation mode", breaks=step.laws[1].text)
def student_in_evaluation(teacher, student, images, labels, *, alpha, temperature, lr):
    weight = (1 - alpha) * temperature**2
    return step_with(teacher, student, images, labels, alpha, temperature, lr, weight=weight, train=False)


@step.mistake("goes uphill", breaks="each of the student's parameters changes by -lr times its gradient")
def uphill(teacher, student, images, labels, *, alpha, temperature, lr):
    return distill_step(teacher, student, images, labels, alpha=alpha, temperature=temperature, lr=-lr)
