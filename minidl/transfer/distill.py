"""Knowledge distillation: a student learns from a teacher's logits, not only from labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.data.loader import Augment, Pair
from minidl.engine.checks import check_function, check_instance, check_labels, require
from minidl.engine.tensor import Tensor
from minidl.nn.module import Module
from minidl.train.evaluation import History, check_loss, float_pair
from minidl.train.loop import fit, optimizer_for
from minidl.train.metrics import predict
from minidl.train.optim import Optimizer
from minidl.train.schedules import Schedule
from minidl.transfer.distill_loss import Terms, total

DistillLoss = Callable[[Tensor, np.ndarray, np.ndarray | None], Tensor | Terms]


def distill(
    teacher: Module,
    student: Module,
    train: tuple[np.ndarray, np.ndarray | None],
    test: Pair | None = None,
    *,
    loss: DistillLoss,
    epochs: int,
    optimizer: Optimizer | None = None,
    batch_size: int = 64,
    schedule: Schedule | None = None,
    augment: Augment | None = None,
    drop_last: bool = False,
    rng: np.random.Generator | None = None,
    progress: bool = True,
) -> History:
    """Train ``student`` for ``epochs`` epochs on the logits of ``teacher`` for the images of ``train``.

        loss = functools.partial(distillation_terms, alpha=0.1, beta=0.9, temperature=4)
        history = distill(teacher, student, train, loss=loss, epochs=30)

    train: (images, labels), or (images, None) for a loss that needs no labels.  loss: ``loss(student_logits,
    teacher_logits, labels)`` gives a Tensor, or a dict of Tensors with the same names at each step; then the
    loss is their sum.  optimizer: for the student's parameters, Adam(lr=3e-3) if None.  The rest is as in
    ``fit`` with its own step. The teacher gets the augmented batches; without ``augment`` it runs once on all
    images, before the first step.

    The history's ``measured`` holds each term by its name, and "agreement": the fraction of images where
    student and teacher predict the same class. The test loss is the cross-entropy with the labels.
    The teacher runs in evaluation mode and without a graph, and does not change. ValueError if the student
    or its optimizer has parameters of the teacher.
    """
    for name, network in (("teacher", teacher), ("student", student)):
        check_instance(name, network, Module)
    optimizer = optimizer_for(student, optimizer)
    shared = len({*student.parameters(), *optimizer.parameters()} & {*teacher.parameters()})
    message = f"the student or its optimizer has {shared} parameters of the teacher, which must not move"
    require(shared == 0, message)
    check_function("loss", loss, "student_logits, teacher_logits and labels")
    images, labels = transfer_set(train)
    known = predict(teacher, images) if augment is None else None  # the teacher's logits of all images
    if labels is not None and labels.ndim == 1:
        check_labels("labels", labels, None, predict(student, images[:1]).shape[-1])

    def step(student: Module, images: np.ndarray, rows: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        teacher_logits = predict(teacher, images) if known is None else known[rows]
        student_logits = student(images)
        terms = terms_of(loss(student_logits, teacher_logits, None if labels is None else labels[rows]))
        numbers = {name: term.item() for name, term in terms.items() if name != "loss"}
        same = student_logits.data.argmax(axis=1) == teacher_logits.argmax(axis=1)
        return total(terms), {**numbers, "agreement": float(same.mean())}

    return fit(
        student,
        (images, np.arange(len(images))),
        test,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule,
        augment=augment,
        step=step,
        drop_last=drop_last,
        rng=rng,
        progress=progress,
    )


def transfer_set(train: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """(images, labels); labels may be None."""
    if isinstance(train, tuple | list) and len(train) == 2 and train[1] is None:
        return float_pair("train", (train[0], train[0]))[0], None
    return float_pair("train", train)


def terms_of(given: Tensor | Terms) -> Terms:
    """The result of a loss as terms by name: Tensors of one number."""
    terms = given if isinstance(given, dict) else {"loss": given}
    require(len(terms) > 0, "loss must give at least one term")
    return {name: check_loss(term, f" for {name!r}") for name, term in terms.items()}
