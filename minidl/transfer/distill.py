"""Knowledge distillation: a student learns from what a teacher answers, not from labels alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minidl.data.batches import Augment, batches
from minidl.engine.checks import positive_int
from minidl.engine.random import default_rng_or
from minidl.engine.tensor import Tensor
from minidl.nn.module import Module, same_mode_after
from minidl.train.loop import (
    Evaluation,
    Pair,
    check_finite,
    check_pair,
    check_trainable,
    evaluate,
    progress_bar,
)
from minidl.train.metrics import predict
from minidl.train.optim import Adam, Optimizer
from minidl.train.schedules import Schedule
from minidl.transfer.distill_loss import (
    Terms,
    class_means,
    class_similarity,
    distillation_loss,
    distillation_terms,
    logit_distance,
    logit_matching_loss,
    logit_matching_terms,
    soft_cross_entropy,
    soft_gradient,
    soft_targets,
    total,
)

__all__ = [
    "DistillHistory",
    "class_means",
    "class_similarity",
    "distill",
    "distillation_loss",
    "distillation_terms",
    "logit_distance",
    "logit_matching_loss",
    "logit_matching_terms",
    "soft_cross_entropy",
    "soft_gradient",
    "soft_targets",
]

DistillLoss = Callable[[Tensor, np.ndarray, np.ndarray | None], Tensor | Terms]


@dataclass
class DistillHistory:
    """One number per finished epoch; the test's lists stay empty without a test set.

    train_loss: the mean of the loss over the epoch's images, each before its step.  terms: the same of each
    term, by its name.  agreement: the share of images to which student and teacher gave the same class.
    test_loss: the cross-entropy with the labels.  lr: the last step's.
    """

    train_loss: list[float] = field(default_factory=list)
    terms: dict[str, list[float]] = field(default_factory=dict)
    agreement: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lr)


class Epoch(NamedTuple):
    terms: dict[str, float]
    agreement: float
    lr: float
    test: Evaluation | None


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
    rng: np.random.Generator | None = None,
    progress: bool = True,
) -> DistillHistory:
    """Train ``student`` for so many epochs on what ``teacher`` answers to the images of ``train``.

        loss = functools.partial(distillation_terms, alpha=0.1, beta=0.9, temperature=4)
        history = distill(teacher, student, train, loss=loss, epochs=30)

    train: (images, labels), or (images, None) for a loss that needs no labels.  loss: ``loss(student_logits,
    teacher_logits, labels)`` gives a Tensor, or a dict of Tensors, of the same names at each step, whose sum
    is the loss and each of which the history follows.  optimizer: of the student's parameters, Adam(lr=3e-3)
    if None.  schedule, augment, progress: as in ``fit``. The teacher sees each batch as augmented; without
    ``augment`` it is asked once.

    The teacher answers in evaluation mode and without a graph; nothing of it changes. ValueError if the
    student or its optimizer has parameters of the teacher. A loss that is not finite raises
    FloatingPointError before its step, one of other names ValueError. After these and after KeyboardInterrupt
    the error's ``history`` holds the finished epochs, and the student is back in its mode, as always.
    """
    images, labels = checked_transfer_set(train)
    epochs, batch_size = positive_int("epochs", epochs), positive_int("batch_size", batch_size)
    for name, function in (("loss", loss), ("schedule", schedule), ("augment", augment)):
        if not callable(function) and (function is not None or name == "loss"):
            raise TypeError(f"{name} must be a function, got {function!r}")
    optimizer = checked_networks(teacher, student, optimizer)
    if test is not None:
        test = check_pair("test", test)
        evaluate(student, *test)  # one that does not fit shows now, not after an epoch
    rng, done, steps = default_rng_or(rng), [], -(-len(images) // batch_size)
    answers = predict(teacher, images) if augment is None else None
    with progress_bar(epochs * steps, 0, progress) as bar, same_mode_after(student):
        try:
            for epoch in range(epochs):
                student.train()
                pairs = batches(images, np.arange(len(images)), batch_size, rng=rng, augment=augment)
                answered = with_answers(teacher, pairs, answers, labels)
                names = done[0].terms if done else None
                terms, agreement = distill_epoch(
                    student, answered, loss, optimizer, schedule, epoch * steps, names, bar
                )
                tested = None if test is None else evaluate(student, *test)
                done.append(Epoch(terms, agreement, optimizer.lr, tested))
        except (KeyboardInterrupt, FloatingPointError, ValueError) as error:
            error.history = history_of(done)
            raise
    return history_of(done)


def with_answers(
    teacher: Module,
    pairs: Iterator[Pair],
    answers: np.ndarray | None,
    labels: np.ndarray | None,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Of pairs (images, their rows in the data set) the images, the teacher's logits and the labels."""
    for images, rows in pairs:
        teacher_logits = predict(teacher, images) if answers is None else answers[rows]
        yield images, teacher_logits, None if labels is None else labels[rows]


def distill_epoch(
    student: Module,
    answered: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]],
    loss: DistillLoss,
    optimizer: Optimizer,
    schedule: Schedule | None,
    step: int,
    names: Iterable[str] | None,
    bar: Any,
) -> tuple[dict[str, float], float]:
    """One pass, the first batch at ``step``: the mean of each term, and how often the answers agreed.

    names: the terms of earlier epochs, None in the first.
    """
    sums, agreed, seen = {}, 0, 0
    for images, teacher_logits, labels in answered:
        if schedule is not None:
            optimizer.lr = schedule(step)
        student_logits = student(images)
        terms = checked_terms(loss(student_logits, teacher_logits, labels), sums or names)
        value = total(terms)
        check_finite(value, step, optimizer.lr)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

        step, seen = step + 1, seen + len(images)
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + term.item() * len(images)
        agreed += int((student_logits.data.argmax(axis=1) == teacher_logits.argmax(axis=1)).sum())
        bar.set_postfix_str(
            f"loss {sum(sums.values()) / seen:.3f} agreement {agreed / seen:.1%}", refresh=False
        )
        bar.update()
    return {name: value / seen for name, value in sums.items()}, agreed / seen


def history_of(epochs: list[Epoch]) -> DistillHistory:
    tested = [epoch.test for epoch in epochs if epoch.test is not None]
    names = epochs[0].terms if epochs else ()
    return DistillHistory(
        train_loss=[sum(epoch.terms.values()) for epoch in epochs],
        terms={name: [epoch.terms[name] for epoch in epochs] for name in names},
        agreement=[epoch.agreement for epoch in epochs],
        test_loss=[test.loss for test in tested],
        test_accuracy=[test.accuracy for test in tested],
        lr=[epoch.lr for epoch in epochs],
    )


# ---- what arguments are


def checked_terms(given: Tensor | Terms, names: Iterable[str] | None) -> Terms:
    """What a loss gave as terms by name: Tensors of one number, called as before if there was a before."""
    terms = given if isinstance(given, dict) else {"loss": given}
    if not terms:
        raise ValueError("loss must give at least one term")
    for name, term in terms.items():
        if not isinstance(term, Tensor) or term.size != 1:
            raise ValueError(f"loss must give a Tensor of one number for a batch, got {name!r}: {term!r}")
    if names is not None and set(terms) != set(names):
        raise ValueError(f"loss must give the same terms at each step, got {[*terms]} after {[*names]}")
    return terms


def checked_transfer_set(
    train: tuple[np.ndarray, np.ndarray | None],
) -> tuple[np.ndarray, np.ndarray | None]:
    """(images, labels); labels may be None."""
    if isinstance(train, tuple | list) and len(train) == 2 and train[1] is None:
        images = np.asarray(train[0])
        return check_pair("train", (images, images))[0], None
    return check_pair("train", train)


def checked_networks(teacher: Module, student: Module, optimizer: Optimizer | None) -> Optimizer:
    for name, model in (("teacher", teacher), ("student", student)):
        if not isinstance(model, Module):
            raise TypeError(f"{name} must be a Module, got {type(model).__name__}")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an Optimizer, got {type(optimizer).__name__}")
    optimizer = Adam(student.parameters(), lr=3e-3) if optimizer is None else optimizer
    check_trainable(student, optimizer)
    shared = set(teacher.parameters()) & {*student.parameters(), *optimizer.parameters()}
    if shared:
        raise ValueError(
            f"the student or its optimizer has {len(shared)} parameters of the teacher, which must not move"
        )
    return optimizer
