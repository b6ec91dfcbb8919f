"""Right answers to the exercises of lesson 12, written from the stubs alone."""

from __future__ import annotations

import copy

import numpy as np

from minidl.compress.masks import EmptyLayerError, apply_masks, global_magnitude_masks, sparsity
from minidl.compress.prune import PruneResult, PruneStep, finetune, masked_copy
from minidl.engine.random import default_rng_or
from minidl.nn.module import Module
from minidl.train.evaluation import evaluate
from tests.lessons.right_answers.declare import right


@right("12.1")
def filter_norms(conv, order=1):
    weight = conv.weight.data if isinstance(conv, Module) else conv
    w = weight.astype(np.float64).reshape(len(weight), -1)
    if order == 1:
        return np.abs(w).sum(axis=1)
    if order == 2:
        return np.sqrt((w**2).sum(axis=1))
    raise ValueError("order must be 1 or 2")


@right("12.2")
def filter_mask(scores, amount=None, s=None):
    scores = np.asarray(scores, dtype=np.float64)
    if (amount is None) == (s is None):
        raise ValueError("give either amount or s")
    if s is not None:
        keep = scores > scores.mean() + s * scores.std()
    else:
        n = amount if isinstance(amount, int) else round(amount * len(scores))
        keep = np.ones(len(scores), dtype=bool)
        keep[np.argsort(scores, kind="stable")[:n]] = False
    if not keep.any():
        raise EmptyLayerError("no filter would be kept")
    return keep


@right("12.3")
def joint_magnitude_masks(weights, amount):
    if not weights:
        raise ValueError("there are no arrays")
    sizes = {name: np.abs(np.asarray(w, dtype=np.float64)) for name, w in weights.items()}
    together = np.concatenate([size.ravel() for size in sizes.values()])
    n = amount if isinstance(amount, int) else round(amount * len(together))
    keep = np.ones(len(together), dtype=bool)
    keep[np.argsort(together, kind="stable")[:n]] = False
    masks, start = {}, 0
    for name, size in sizes.items():
        masks[name] = keep[start : start + size.size].reshape(size.shape)
        start += size.size
        if not masks[name].any():
            raise EmptyLayerError(f"{name} would lose all its weights")
    return masks


@right("12.4")
def ablation_scores(model, layer, images, labels):
    before = evaluate(model, images, labels).loss
    scores = np.zeros(len(model.layer(layer).weight.data))
    for o in range(len(scores)):
        masked = copy.deepcopy(model)
        keep = np.arange(len(scores)) != o
        apply_masks(masked, {layer: keep}, images[:1])
        scores[o] = evaluate(masked, images, labels).loss - before
    return scores


@right("12.5")
def iterative_prune(
    model,
    train,
    validation,
    *,
    max_allowed_loss,
    step,
    finetune_epochs,
    criterion=global_magnitude_masks,
    lr=1e-3,
    rng=None,
):
    rng = default_rng_or(rng)
    start = evaluate(model, *validation)
    if start.loss >= max_allowed_loss:
        raise ValueError("the model itself is not below the limit")
    best = copy.deepcopy(model)
    history, accepted = [PruneStep(0.0, sparsity(model), start.loss, start.accuracy)], 0
    while (accepted + 1) * step < 1:
        amount = (accepted + 1) * step
        try:
            candidate = masked_copy(best, criterion, amount, train[0][:1])
        except EmptyLayerError:
            break
        found = finetune(candidate, train, validation, finetune_epochs, lr, rng)
        history.append(PruneStep(amount, sparsity(candidate), found.loss, found.accuracy))
        if not found.loss < max_allowed_loss:
            break
        best, accepted = candidate, accepted + 1
    return PruneResult(best, history, accepted)
