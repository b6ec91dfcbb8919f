"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl.data.batches import Augment, batches
from minidl.engine.checks import positive_int, positive_number
from minidl.engine.random import default_rng_or
from minidl.engine.tensor import Tensor, no_grad
from minidl.nn import functional as F
from minidl.nn.module import Module, same_mode_after
from minidl.train.checkpoint import load, save
from minidl.train.metrics import accuracy, predict
from minidl.train.optim import Adam, Optimizer, clip_grad_norm
from minidl.train.schedules import Schedule

Loss = Callable[[Tensor, np.ndarray], Tensor]
Pair = tuple[np.ndarray, np.ndarray]


class Evaluation(NamedTuple):
    """Of a model on some images: the share of right answers and the mean loss."""

    accuracy: float
    loss: float


@dataclass
class History:
    """One number per finished epoch; the test's lists stay empty without a test set.

    ``train_loss`` and ``train_accuracy`` are means over the epoch's batches, as they were before each step.
    ``lr`` is the last step's. ``steps`` counts the steps of all finished epochs.
    """

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    steps: int = 0

    def __len__(self) -> int:
        return len(self.lr)  # appended last, so an epoch counts when it is complete

    def add(self, trained: Evaluation, tested: Evaluation | None, lr: float, steps: int) -> None:
        """One more epoch of so many steps."""
        self.train_loss.append(trained.loss)
        self.train_accuracy.append(trained.accuracy)
        if tested is not None:
            self.test_loss.append(tested.loss)
            self.test_accuracy.append(tested.accuracy)
        self.steps += steps
        self.lr.append(lr)

    def drop_unfinished(self) -> None:
        """Forget what an epoch left that was interrupted while it was added."""
        for numbers in (self.train_loss, self.train_accuracy, self.test_loss, self.test_accuracy):
            del numbers[len(self) :]


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
    max_grad_norm: float | None = None,
    drop_last: bool = False,
    patience: int | None = None,
    keep_best: bool = False,
    checkpoint: str | Path | None = None,
    rng: np.random.Generator | None = None,
    progress: bool = True,
) -> History:
    """Train ``model`` on ``train``, a pair (images, labels), for so many epochs, and measure it on ``test``.

    optimizer: Adam(lr=3e-3) over all parameters if None.  schedule: the learning rate, a function of the step
    counted from 0 over all epochs.  augment: ``augment(images, rng)`` distorts each training batch.  loss:
    ``loss(logits, labels)``, the mean over a batch.  labels: classes (N,) or rows (N, K).
    max_grad_norm: see ``clip_grad_norm``.  drop_last: see ``data.batches``.
    patience: stop when the test accuracy (at equal accuracy, the test loss) is no better than so many epochs
    ago.  keep_best: leave the model as it was after its best epoch by that measure. Either makes the result
    on this test set optimistic: give a validation set here, and test afterwards.
    checkpoint: a file that is written after each epoch. If it exists, training continues from it, to the same
    bits as if it had never stopped; delete it to begin anew. ValueError if it was begun with another kind of
    optimizer or other settings; that data, schedule, augment and loss are the same is up to you.
    progress: show a bar on a terminal once the training has taken 2 seconds.

    A loss that is not finite raises FloatingPointError before its step is made. After that and after Ctrl-C,
    which passes through as KeyboardInterrupt, the error's ``history`` holds the finished epochs. In any case
    the model is back in its mode, and the best one if that was to be kept.
    """
    train, test = check_pair("train", train), None if test is None else check_pair("test", test)
    epochs, batch_size = positive_int("epochs", epochs), positive_int("batch_size", batch_size)
    check_settings(model, optimizer, schedule, augment, loss, test, max_grad_norm, patience, keep_best)
    optimizer = Adam(model.parameters(), lr=3e-3) if optimizer is None else optimizer
    check_trainable(model, optimizer)
    if test is not None:
        check_test(model, loss, *test)
    rng, history, best = default_rng_or(rng), History(), None
    settings = {
        "images": len(train[0]),
        "test images": 0 if test is None else len(test[0]),
        "batch_size": batch_size,
        "drop_last": bool(drop_last),
        "max_grad_norm": None if max_grad_norm is None else float(max_grad_norm),
    }
    if checkpoint is not None and Path(checkpoint).exists():
        history, best = resume(checkpoint, model, optimizer, rng, settings)
    elif checkpoint is not None and not Path(checkpoint).parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {Path(checkpoint).parent} for the checkpoint {checkpoint}"
        )

    steps = len(train[0]) // batch_size if drop_last else -(-len(train[0]) // batch_size)  # in an epoch
    with progress_bar(epochs * steps, history.steps, progress) as bar, same_mode_after(model):
        try:
            while len(history) < epochs and not out_of_patience(history, patience):
                model.train()
                pairs = batches(*train, batch_size, rng=rng, augment=augment, drop_last=drop_last)
                trained = train_epoch(
                    model, pairs, optimizer, loss, schedule, history.steps, max_grad_norm, bar
                )
                tested = None if test is None else evaluate(model, *test, loss=loss)
                history.add(trained, tested, optimizer.lr, steps)
                if test is not None and best_epoch(history) == len(history) - 1:
                    best = model.state_dict()  # into the checkpoint in any case: a later run may want it
                if checkpoint is not None:
                    state = {"optimizer": optimizer, "rng": rng, "history": history, "best": best}
                    save(checkpoint, model, step=history.steps, settings=settings, **state)
        except (KeyboardInterrupt, FloatingPointError) as error:
            history.drop_unfinished()
            error.history = history
            raise
        finally:
            if keep_best and best is not None:
                model.load_state_dict(best)
    return history


def resume(
    path: str | Path, model: Module, optimizer: Optimizer, rng: np.random.Generator, settings: dict[str, Any]
) -> tuple[History, dict[str, np.ndarray] | None]:
    """Load what ``fit`` saved at ``path``: the history and the best state come back.

    ValueError if it was begun with other settings: with them it would go on to other bits.
    """
    saved = load(path)
    try:
        history = History(**saved.history)
        before = {**saved.settings, **optimizer_settings(saved.optimizer)}
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path} is a checkpoint, but not one of fit: it holds no History") from error
    now = {**settings, **optimizer_settings(optimizer.state_dict())}
    differences = [
        f"{name}: {before.get(name)!r} before, {now.get(name)!r} now"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise ValueError(
            f"{path} was begun with other settings; delete it to begin anew:\n  " + "\n  ".join(differences)
        )
    return history, load(path, model, optimizer=optimizer, rng=rng).best


def optimizer_settings(state: dict[str, Any]) -> dict[str, Any]:
    """Of an optimizer's state, in JSON's terms, what it was made with: all but the lr of the moment."""
    given = {"optimizer": state["kind"]}
    for i, group in enumerate(state["param_groups"]):
        for name, value in group.items():
            if name not in ("lr", "params"):
                value = list(value) if isinstance(value, tuple) else value
                given[f"{name.removeprefix('initial_')} of group {i}"] = value
    return given


def train_epoch(
    model: Module,
    pairs: Iterator[Pair],
    optimizer: Optimizer,
    loss: Loss,
    schedule: Schedule | None,
    step: int,
    max_grad_norm: float | None,
    bar: Any,
) -> Evaluation:
    """One pass over the batches, the first at ``step``; what they gave before their steps, on average."""
    total_loss = right = seen = 0.0
    for images, labels in pairs:
        if schedule is not None:
            optimizer.lr = schedule(step)
        logits = model(images)
        value = loss(logits, labels)
        check_finite(value, step, optimizer.lr)
        optimizer.zero_grad()
        value.backward()
        if max_grad_norm is not None:
            clip_grad_norm(optimizer.parameters(), max_grad_norm)
        optimizer.step()

        step += 1
        seen += len(labels)
        total_loss += value.item() * len(labels)
        right += accuracy(logits.data, labels) * len(labels)
        bar.set_postfix_str(f"loss {total_loss / seen:.3f} accuracy {right / seen:.1%}", refresh=False)
        bar.update()
    return Evaluation(right / seen, total_loss / seen)


def evaluate(
    model: Module,
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int = 256,
    *,
    loss: Loss = F.cross_entropy,
) -> Evaluation:
    """(accuracy, loss) on all images in eval mode, without a graph; the model is back in its mode afterwards.

    FloatingPointError if the model's logits are not finite.
    """
    check_pair("images and labels", (images, labels))
    logits = predict(model, images, batch_size)
    if not np.isfinite(logits).all():
        raise FloatingPointError(
            "the model's logits are not finite: it has diverged, or its input is not finite"
        )
    with no_grad():
        return Evaluation(accuracy(logits, labels), loss(Tensor(logits), labels).item())


def best_epoch(history: History) -> int:
    """The first epoch (from 0) with the highest test accuracy and, among those, the lowest test loss."""
    scores = zip(history.test_accuracy, history.test_loss, strict=True)
    ranked = [(accuracy, -loss) for accuracy, loss in scores]
    return ranked.index(max(ranked))


def out_of_patience(history: History, patience: int | None) -> bool:
    """Has the test result not improved for ``patience`` epochs?"""
    if patience is None or len(history) == 0:
        return False
    return len(history) - 1 - best_epoch(history) >= patience


def progress_bar(total: int, done: int, progress: bool) -> Any:
    """A tqdm bar over all steps, which shows only on a terminal and after 2 seconds."""
    from tqdm import tqdm

    hidden = None if progress else True  # None: hidden unless it writes to a terminal
    return tqdm(total=total, initial=done, desc="fit", unit="step", delay=2, disable=hidden)


def check_finite(value: Tensor, step: int, lr: float) -> None:
    if not isinstance(value, Tensor) or value.size != 1:
        raise ValueError(f"loss must give a Tensor of one number for a batch, got {value!r}")
    if not np.isfinite(value.data):
        raise FloatingPointError(
            f"the loss is {value.item()} at step {step} with lr {lr:g}; this step was not made. "
            "Try a lower lr, warmup or max_grad_norm; minidl.detect_anomaly() names the operation."
        )


def check_pair(name: str, pair: Pair) -> Pair:
    """(images, labels) as arrays of one length that is not 0."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{name} must be a pair (images, labels), got {type(pair).__name__}")
    images, labels = np.asarray(pair[0]), np.asarray(pair[1])
    if images.ndim == 0 or labels.ndim == 0 or len(images) != len(labels) or len(images) == 0:
        raise ValueError(
            f"{name} must be as long as each other, not empty: got {images.shape}, {labels.shape}"
        )
    return images, labels


def check_trainable(model: Module, optimizer: Optimizer) -> None:
    trainable = {p for p in model.parameters() if p.requires_grad}
    if not trainable & set(optimizer.parameters()):
        raise ValueError(
            f"the optimizer holds none of the model's {len(trainable)} trainable parameters, so that nothing "
            "would be learned: make it of this model's parameters()"
        )


def check_test(model: Module, loss: Loss, images: np.ndarray, labels: np.ndarray) -> None:
    """Let what is wrong with the test set show now, not after an epoch: one image, and all labels."""
    logits = np.zeros((len(labels), *predict(model, images[:1]).shape[1:]), np.float32)
    with no_grad():
        accuracy(logits, labels), loss(Tensor(logits), labels)


def check_settings(
    model, optimizer, schedule, augment, loss, test, max_grad_norm, patience, keep_best
) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an Optimizer, got {type(optimizer).__name__}")
    if schedule is not None and not callable(schedule):
        raise TypeError(f"schedule must be a function of the step, got {schedule!r}")
    if augment is not None and not callable(augment):
        raise TypeError(f"augment must be a function of images and rng, got {augment!r}")
    if not callable(loss):
        raise TypeError(f"loss must be a function of logits and labels, got {loss!r}")
    if max_grad_norm is not None:
        positive_number("max_grad_norm", max_grad_norm)
    if patience is not None:
        positive_int("patience", patience)
    if test is None and (patience is not None or keep_best):
        raise ValueError("patience and keep_best go by the test accuracy: give a test set")
