"""The one training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.loader import Augment, Pair, batches
from minidl.engine.checks import (
    check_flag,
    check_function,
    check_instance,
    check_number,
    check_path,
    positive_int,
    positive_number,
    require,
)
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.layers import BatchNorm
from minidl.nn.module import Module, same_mode_after
from minidl.train.adam import Adam
from minidl.train.checkpoint import load, save
from minidl.train.evaluation import (
    History,
    Loss,
    Metric,
    best_epoch,
    check_loss,
    float_pair,
    loss_value,
    measure,
    names_classes,
    out_of_patience,
)
from minidl.train.metrics import accuracy, predict
from minidl.train.optim import Optimizer, clip_grad_norm, optimizer_settings
from minidl.train.schedules import Schedule

Step = Callable[[Module, np.ndarray, np.ndarray], "Tensor | tuple[Tensor, dict[str, float]]"]


def fit(
    model: Module,
    train: Pair,
    test: Pair | None = None,
    *,
    epochs: int,
    batch_size: int = 64,
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    augment: Augment | None = None,
    loss: Loss = F.cross_entropy,
    step: Step | None = None,
    metric: Metric | None = None,
    max_grad_norm: float | None = None,
    drop_last: bool = False,
    patience: int | None = None,
    keep_best: bool = False,
    checkpoint: str | Path | None = None,
    rng: np.random.Generator | None = None,
    progress: bool = True,
) -> History:
    """Train ``model`` on ``train``, a pair (images, labels), and measure it on ``test`` after each epoch.

    optimizer: Adam(lr=3e-3) over all parameters if None.  schedule: the learning rate, a function of the step
    counted from 0 over all epochs.  augment: ``augment(images, rng)`` distorts each training batch.  loss:
    ``loss(logits, labels)``, the mean over a batch.  labels: classes (N,), rows (N, K), or other labels for
    the loss. max_grad_norm: see ``clip_grad_norm``.  drop_last: see ``data.batches``.
    step: ``step(model, images, labels)`` gives a batch's loss, or a pair of the loss and a dict of numbers;
    the history keeps their means. ``supervised(loss)`` if None.
    metric: ``metric(logits, labels)`` of the test set; a larger number is better.
    patience: stop when the test loss (or the metric, if given) has not improved for so many epochs.
    keep_best: give the model the state of its best epoch by the same measure. Both options make the result on
    this test set optimistic: use a validation set here, and test afterwards.
    checkpoint: a file that is written after each epoch. If it exists, training continues from it with exactly
    the same result as without a stop; delete it to start again. ValueError for another kind of optimizer,
    other settings or a checkpoint of more epochs. Data, schedule, augment and loss must be the same, too;
    this is not checked.
    progress: show a bar on a terminal once the training has taken 2 seconds.

    A loss that is not finite raises FloatingPointError before its step. An error that ends a training, also
    Ctrl-C, holds the finished epochs as its ``history``. In every case the model gets its old mode back, and
    with ``keep_best`` its best state.

    >>> from minidl import nn, train
    >>> model, images, labels = nn.Linear(2, 2), np.eye(2), np.array([0, 1])
    >>> history = train.fit(model, (images, labels), epochs=20, optimizer=train.SGD(model.parameters(), lr=1))
    >>> history.train_accuracy[-1]
    1.0
    """
    positive_int("epochs", epochs), check_flag("keep_best", keep_best), check_flag("progress", progress)
    checkpoint = None if checkpoint is None else check_path("checkpoint", checkpoint)
    patience = None if patience is None else positive_int("patience", patience)
    needs_test = patience is not None or keep_best or metric is not None
    require(test is not None or not needs_test, "patience, keep_best and metric need a test set: give a test")
    train, test = float_pair("train", train), None if test is None else float_pair("test", test)
    optimizer = optimizer_for(model, optimizer)
    loader = batches(*train, batch_size, rng=rng, augment=augment, drop_last=drop_last)
    training = Training(model, loader, test, optimizer, schedule, loss, step, metric, max_grad_norm)
    if checkpoint is not None:
        training.resume(checkpoint, epochs)
    history = training.history
    with progress_bar(epochs * len(loader), history.steps, progress) as bar, training.ends_well(keep_best):
        while len(history) < epochs and not out_of_patience(history, patience):
            training.epoch(bar)
            if checkpoint is not None:
                training.save(checkpoint)
    return history


def supervised(loss: Loss = F.cross_entropy, *, counts_accuracy: bool = True) -> Step:
    """The usual step of ``fit``: the loss of the model's logits and, if wanted, the accuracy.

    If the loss is not finite, only the loss is returned, because there is no accuracy.

    >>> from minidl import nn, train
    >>> step = train.supervised()
    >>> loss, numbers = step(nn.Identity(), np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
    >>> numbers
    {'accuracy': 0.5}
    """
    check_function("loss", loss, "logits and labels")
    check_flag("counts_accuracy", counts_accuracy)

    def step(model: Module, images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        logits = model(images)
        value = loss(logits, labels)
        counts = counts_accuracy and np.isfinite(value.data).all()
        return value, {"accuracy": accuracy(logits.data, labels)} if counts else {}

    return step


@dataclass
class Training:
    """The state of one call of ``fit``: the objects that it trains and measures, and its progress.

    best: the model's state after the best epoch so far, None without a test set.  step: the given one, if
    any; batch_step: that one, or else ``supervised(loss)``.
    """

    model: Module
    loader: batches
    test: Pair | None
    optimizer: Optimizer
    schedule: Schedule | None
    loss: Loss
    step: Step | None
    metric: Metric | None
    max_grad_norm: float | None
    history: History = field(default_factory=History)
    best: dict[str, np.ndarray] | None = None
    batch_step: Step = field(init=False)

    def __post_init__(self) -> None:
        check_function("schedule", self.schedule, "the step", optional=True)
        check_function("loss", self.loss, "logits and labels")
        check_function("step", self.step, "model, images and labels", optional=True)
        check_function("metric", self.metric, "logits and labels", optional=True)
        if self.max_grad_norm is not None:
            self.max_grad_norm = positive_number("max_grad_norm", self.max_grad_norm)
        self.rehearse()

    def rehearse(self) -> None:
        """Try one image and all labels, so that an error shows before the first step."""
        rest = self.loader.used % self.loader.batch_size or self.loader.batch_size
        with refused_batch_of_one(self.model) if rest == 1 else nullcontext():
            logits = predict(self.model, self.loader.images[:1])
        counts_accuracy = self.step is None and rehearse(logits, self.loader.labels, self.loss)
        usual = supervised(self.loss, counts_accuracy=counts_accuracy)
        self.batch_step = usual if self.step is None else self.step
        if self.test is not None:
            rehearse(predict(self.model, self.test[0][:1]), self.test[1], self.loss)

    def epoch(self, bar: Any) -> None:
        """Train on each batch once, measure on the test set, and write both into the history."""
        self.model.train()
        sums: dict[str, float] = {}
        seen, first = 0, self.history.steps
        for step, (images, labels) in enumerate(self.loader, first):
            if self.schedule is not None:
                self.optimizer.lr = self.schedule(step)
            value, numbers = self.loss_and_numbers(images, labels, sums, step)
            self.optimizer.zero_grad()
            value.backward()
            if self.max_grad_norm is not None:
                clip_grad_norm(self.optimizer.parameters(), self.max_grad_norm)
            self.optimizer.step()

            seen += len(images)
            for name, number in {**numbers, "loss": value.item()}.items():
                sums[name] = sums.get(name, 0.0) + number * len(images)
            bar.set_postfix_str(" ".join(f"{name} {sums[name] / seen:.3f}" for name in sums), refresh=False)
            bar.update()
        trained = {name: total / seen for name, total in sums.items()}
        tested = {} if self.test is None else measure(self.model, *self.test, self.loss, self.metric)
        self.history.add(trained, tested, self.optimizer.lr, step + 1 - first)
        if self.test is not None and best_epoch(self.history) == len(self.history) - 1:
            self.best = self.model.state_dict()  # also without keep_best: a later run may need it

    def loss_and_numbers(self, images: Any, labels: Any, sums: dict, step: int) -> tuple[Tensor, dict]:
        """The loss and the numbers of a step. The loss must be finite, and the names must stay the same."""
        given: Any = self.batch_step(self.model, images, labels)
        value, numbers = given if isinstance(given, tuple) and len(given) == 2 else (given, {})
        check_loss(value)
        check_instance("a step's numbers", numbers, dict)
        for name, number in numbers.items():
            check_number(f"the step's number {name!r}", number, finite=False)
        where = f"at step {step} with lr {self.optimizer.lr:g}; this step was not made"
        mend = "Try a lower lr, warmup or max_grad_norm; minidl.detect_anomaly() names the operation."
        is_finite = bool(np.isfinite(value.data))
        if not is_finite and not np.isfinite(images).all():
            mend = "The images of this batch hold NaN or infinity: leave these images out, or mend augment."
        require(is_finite, f"the loss is {value.item()} {where}. {mend}", FloatingPointError)
        before = [name for name in sums if name != "loss"] if sums else self.history.names()
        same = before is None or set(numbers) == set(before)
        require(same, f"a step must give the same numbers each time, got {[*numbers]} after {before}")
        return value, numbers

    @contextmanager
    def ends_well(self, keep_best: bool) -> Iterator[None]:
        """After the block, the model has its old mode again, and an error holds the finished epochs."""
        with same_mode_after(self.model):
            try:
                yield
            except BaseException as error:
                self.history.drop_unfinished()
                vars(error)["history"] = self.history
                raise
            finally:
                if keep_best and self.best is not None:
                    self.model.load_state_dict(self.best)

    # ---- the checkpoint

    def settings(self) -> dict[str, Any]:
        """The settings that must be equal to continue a training exactly, as JSON values."""
        masks = [p.mask for p in self.model.parameters()]
        return {
            "images": len(self.loader.images),
            "test images": 0 if self.test is None else len(self.test[0]),
            "batch_size": self.loader.batch_size,
            "drop_last": self.loader.drop_last,
            "max_grad_norm": self.max_grad_norm,
            "metric": None if self.metric is None else getattr(self.metric, "__name__", "given"),
            "pruned weights": sum(int((~mask).sum()) for mask in masks if mask is not None) or None,
        }

    def save(self, path: Path) -> None:
        """Write the state after an epoch."""
        save(
            path,
            self.model,
            optimizer=self.optimizer,
            rng=self.loader.rng,
            history=self.history,
            step=self.history.steps,
            best=self.best,
            settings=self.settings(),
        )

    def resume(self, path: Path, epochs: int) -> None:
        """Continue from the checkpoint at ``path``, if it exists.

        ValueError for other settings or more than ``epochs`` epochs, because the result would differ.
        """
        if not path.exists():
            there_is_none = f"there is no folder {path.parent} for the checkpoint {path}"
            return require(path.parent.is_dir(), there_is_none, FileNotFoundError)
        saved = vars(load(path))
        try:
            history = History(**saved["history"])
            before = {**saved["settings"], **optimizer_settings(saved["optimizer"])}
        except (TypeError, KeyError) as error:  # one of the three is None, or has other keys
            foreign = f"{path} is a checkpoint, but not one of fit: it holds no History"
            raise ValueError(foreign) from error
        now = {**self.settings(), **optimizer_settings(self.optimizer.state_dict())}
        differences = [
            f"{name}: {before.get(name)!r} before, {now.get(name)!r} now"
            for name in {**before, **now}
            if before.get(name) != now.get(name)
        ]
        message = f"{path} was started with other settings; delete it to start again:"
        require(not differences, "\n  ".join([message, *differences]))
        longer = f"{path} holds {len(history)} epochs, but epochs is {epochs}: give at least as many"
        require(len(history) <= epochs, f"{longer}, or delete it to start again")
        self.best = load(path, self.model, optimizer=self.optimizer, rng=self.loader.rng).best
        self.history = history


def progress_bar(total: int, done: int, progress: bool) -> Any:
    """A tqdm bar over all steps. It appears only on a terminal and after 2 seconds."""
    from tqdm import tqdm

    hidden = None if progress else True  # None: hidden unless it writes to a terminal
    return tqdm(total=total, initial=done, desc="fit", unit="step", delay=2, disable=hidden)


# ---- what arguments are


def rehearse(logits: np.ndarray, labels: np.ndarray, loss: Loss) -> bool:
    """Raise an error for wrong labels, given one image's logits. Returns whether there is an accuracy."""
    zeros = np.zeros((len(labels), *logits.shape[1:]), np.float32)
    counts_accuracy = names_classes(loss, zeros, labels)
    finite = np.isfinite(loss_value(loss, zeros, labels)) or np.isfinite(labels).all()
    require(finite, "the labels are not finite, and so is their loss: leave their images out")
    if counts_accuracy:
        accuracy(zeros, labels)
    return counts_accuracy


@contextmanager
def refused_batch_of_one(model: Module) -> Iterator[None]:
    """In this block, refuse a batch of one image if a BatchNorm gets one value per channel."""

    why = "the last batch of an epoch is 1 image, but BatchNorm needs more for a deviation"

    def refuse(module: Any, inputs: tuple, output: Tensor) -> None:
        several = module.frozen or np.size(inputs[0]) != module.num_features
        require(several, f"{why}: give drop_last=True or another batch_size")

    layers = [module for module in model.modules() if isinstance(module, BatchNorm)]
    hooks = [layer.register_forward_hook(refuse) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def optimizer_for(model: Module, optimizer: Optimizer | None) -> Optimizer:
    """The optimizer, Adam(lr=3e-3) if None. ValueError if it holds no trainable parameter of the model."""
    check_instance("model", model, Module)
    check_instance("optimizer", optimizer, Optimizer, optional=True)
    optimizer = Adam(model.parameters(), lr=3e-3) if optimizer is None else optimizer
    trainable = {p for p in model.parameters() if p.requires_grad}
    require(bool(trainable), "all parameters of the model are frozen, so that nothing would be learned")
    none = f"the optimizer holds none of the model's {len(trainable)} trainable parameters, so that nothing "
    mend = "would be learned: make it of this model's parameters()"
    require(bool(trainable & set(optimizer.parameters())), none + mend)
    return optimizer
