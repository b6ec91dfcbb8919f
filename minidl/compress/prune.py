"""Pruning: score filters or weights, mask the lowest, finetune until the loss is too high, and remove them.

scores   filter_norms, ablation_scores, taylor_scores, random_scores           (scores.py)
masks    filter_mask, magnitude_mask, global_magnitude_masks, apply_masks ...  (masks.py)
removal  remove_filters, remove_masked_filters                                 (removal.py)
loop     iterative_prune, sensitivity                                          (here)
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from minidl.compress.masks import EmptyLayerError, Masks, apply_masks, global_magnitude_masks, sparsity
from minidl.compress.scores import makers, mask_by_norm
from minidl.data.loader import Pair
from minidl.engine.checks import array_pair, check_array, check_function, check_int, check_number, require
from minidl.engine.random import default_rng_or
from minidl.nn.module import Module
from minidl.train.adam import Adam
from minidl.train.evaluation import Evaluation, evaluate
from minidl.train.loop import fit


class PruneStep(NamedTuple):
    """One round of the loop: the amount to prune, and the numbers of the network after finetuning."""

    amount: float
    sparsity: float
    loss: float
    accuracy: float | None


class PruneResult(NamedTuple):
    """The last network with a loss below the limit, all steps, and the number of accepted steps.

    ``history[accepted]`` is the row of ``model``. If there is one more row, that step was undone.
    """

    model: Module
    history: list[PruneStep]
    accepted: int


def iterative_prune(
    model: Module,
    train: Pair,
    validation: Pair,
    *,
    max_allowed_loss: float,
    step: float,
    finetune_epochs: int,
    criterion: Callable[[Module, float], Masks] = global_magnitude_masks,
    lr: float = 1e-3,
    rng: np.random.Generator | None = None,
) -> PruneResult:
    """While loss < max_allowed_loss: prune a step; finetune.  Returns the last network below the limit.

    train, validation: pairs (images, labels).  The loss is measured on ``validation``, after finetuning.
    step: each round prunes this share more of all weights or filters. Round k calls
    ``criterion(model, k · step)`` with the network of the round before, and gets masks.
    criterion: ``global_magnitude_masks`` prunes single weights, ``filter_masks`` prunes filters. Any function
    with these arguments is allowed. If a model accepts only one image size, pass
    ``functools.partial(filter_masks, x=train[0][:1])``.
    finetune_epochs: the epochs in each round, by Adam at ``lr``; 0 for none. ``rng`` draws the batches of all
    rounds, one after the other.

    The loop ends after at most 1 / step rounds, for one of four reasons: the loss is not below the limit; the
    finetuning diverges, so loss and accuracy are NaN; the criterion raises EmptyLayerError; the next
    amount would be 1 or more.
    Returns ``PruneResult(model, history, accepted)``: the network with its masks, each layer in the mode that
    it has in ``model``; a list of ``PruneStep(amount, sparsity, loss, accuracy)``; and the number of accepted
    rounds. The history has a row for the unpruned network and for each round, also for a round above the
    limit.
    Losses are measured in evaluation mode. Copies are pruned; ``model``, its mode and its ``.grad`` do not
    change. The network of the result is a copy, also if no round is accepted. The masks of the earlier rounds
    stay.  Raises ValueError if ``model`` itself is not below the limit, or if the criterion gives no masks.
    Other errors of the criterion are raised again.

    >>> from minidl import compress, nn
    >>> model, pair = nn.Linear(4, 2), (np.ones((2, 4)), [0, 1])
    >>> result = compress.iterative_prune(model, pair, pair, max_allowed_loss=9, step=0.25, finetune_epochs=0)
    >>> [row.sparsity for row in result.history]
    [0.0, 0.25, 0.5, 0.75]
    """
    train, validation = array_pair("train", train), array_pair("validation", validation)
    check_settings(max_allowed_loss, step, finetune_epochs, lr, criterion)
    rng = default_rng_or(rng)
    found, candidate = evaluate(model, *validation), copy.deepcopy(model)
    history = [PruneStep(0.0, sparsity(model), found.loss, found.accuracy)]
    within = found.loss < max_allowed_loss
    require(within, f"the model's loss {found.loss:.4g} is not below max_allowed_loss {max_allowed_loss}")
    while found.loss < max_allowed_loss:
        model, accepted, k = candidate, len(history) - 1, len(history)
        if k == math.ceil(1 / step):  # all would go
            break
        try:
            candidate = masked_copy(model, criterion, k * step, train[0][:1])
        except EmptyLayerError:
            break
        found = finetune(candidate, train, validation, finetune_epochs, lr, rng)
        history.append(PruneStep(k * step, sparsity(candidate), found.loss, found.accuracy))
    return PruneResult(model, history, accepted)


def check_settings(max_allowed_loss: float, step: float, epochs: int, lr: float, criterion: Callable) -> None:
    check_number("max_allowed_loss", max_allowed_loss)
    is_step = 1e-6 <= check_number("step", step, 0, 1) < 1
    require(is_step, f"step must be at least 1e-6 and below 1, or no round prunes anything, got {step}")
    check_int("finetune_epochs", epochs, 0)
    check_number("lr", lr, 0)
    check_function("criterion", criterion, "(model, amount)")


def masked_copy(
    model: Module, criterion: Callable[[Module, float], Masks], amount: float, x: np.ndarray
) -> Module:
    """A copy of the model with the masks of the criterion for the amount."""
    candidate = copy.deepcopy(model)
    masks = criterion(candidate, amount)
    found = masks != {}
    require(found, f"criterion found nothing to prune: it gave no masks at amount {amount:.4g}")
    return apply_masks(candidate, masks, x)


def finetune(
    model: Module, train: Pair, validation: Pair, epochs: int, lr: float, rng: np.random.Generator
) -> Evaluation:
    """Train a pruned model in place and evaluate it.

    If it diverges, the results are NaN: above every limit.
    """
    try:
        if epochs:
            optimizer = Adam(model.parameters(), lr=lr)
            fit(model, train, epochs=epochs, optimizer=optimizer, rng=rng, progress=False)
        return evaluate(model, *validation)
    except FloatingPointError:
        return Evaluation(accuracy=math.nan, loss=math.nan)


def accepted_steps(losses: Iterable[float], max_allowed_loss: float) -> int:
    """The number of pruning steps that the loop accepts: all steps before the loss first reaches the limit.

    losses: the loss of the unpruned network, then the loss after each step. Steps after the first bad one do
    not count, even if their loss is low. NaN counts as bad.  ValueError if the first loss is bad.
    """
    accepted = -1
    for loss in losses:
        if not loss < max_allowed_loss:
            break
        accepted += 1
    require(accepted >= 0, f"the unpruned network must have a loss below {max_allowed_loss}")
    return accepted


def sensitivity(
    model: Module, layer: str, amounts: Sequence[float | int], images: np.ndarray, labels: np.ndarray
) -> list[Evaluation]:
    """Accuracy and loss after masking ``amounts`` of one layer's filters by L1 norm, without finetuning.

    The other layers are not pruned, so the curve shows how much this layer tolerates. The model stays
    unchanged.

    >>> from minidl import compress, nn, train
    >>> model, images, labels = nn.models.small_cnn(10, 1), np.ones((2, 1, 8, 8)), np.array([3, 7])
    >>> results = compress.sensitivity(model, "block1.conv", [0.0, 0.25, 0.5], images, labels)
    >>> len(results), results[0] == train.evaluate(model, images, labels)
    (3, True)
    """
    images, labels = array_pair("images and labels", (images, labels))
    check_array("amounts", amounts, "N")
    channels = makers(model, layer, images)  # raises the reason if filters of this layer cannot be masked
    results = []
    for amount in amounts:
        masks = {layer: mask_by_norm(channels, [layer], amount)}
        masked = apply_masks(copy.deepcopy(model), masks, images[:1])
        results.append(evaluate(masked, images, labels))
    return results
