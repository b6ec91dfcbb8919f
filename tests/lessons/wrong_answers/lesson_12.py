"""Wrong answers to the exercises of lesson 12. Each one passed all laws once."""

from __future__ import annotations

import copy
import functools
import math

import numpy as np

from lessons.exercises import find
from minidl import nn
from minidl.compress.masks import (
    EmptyLayerError,
    apply_masks,
    global_magnitude_masks,
    parameter_masks,
    sparsity,
)
from minidl.compress.prune import PruneResult, PruneStep, finetune, masked_copy
from minidl.compress.scores import filter_masks
from minidl.engine.random import default_rng_or
from minidl.nn import functional as F
from minidl.train.evaluation import evaluate
from minidl.train.loop import fit
from tests.lessons.wrong_answers.declare import not_taken, one_mode, wrong


@wrong("12.1", "summed in float32")
def narrow_norms(conv, order=1):
    weight = np.asarray(getattr(conv, "weight", conv)).reshape(len(getattr(conv, "weight", conv)), -1)
    if order not in (1, 2):
        raise ValueError("order is 1 or 2")
    return np.linalg.norm(weight, ord=order, axis=1)


@wrong("12.1", "summed in float32 and widened afterwards")
def widened_sums(conv, order=1):
    if order not in (1, 2):
        raise ValueError("order is 1 or 2")
    rows = np.abs(conv.reshape(len(conv), -1))
    return (rows.sum(axis=1) if order == 1 else np.sqrt((rows**2).sum(axis=1))).astype(np.float64)


@wrong("12.1", "the axes of a convolution, whatever the shape")
def axes_of_a_convolution(conv, order=1):
    if order not in (1, 2):
        raise ValueError("order is 1 or 2")
    magnitudes, axes = np.abs(conv.astype(np.float64)), (1, 2, 3) if conv.ndim == 4 else -1
    return magnitudes.sum(axis=axes) if order == 1 else np.sqrt((magnitudes**2).sum(axis=axes))


@wrong("12.1", "the absolute value in int8, where that of -128 is -128")
def absolute_too_early(conv, order=1):
    find("12.1").target(conv, order)  # what it refuses
    rows = np.abs(conv).reshape(len(conv), -1).astype(np.float64)
    return rows.sum(axis=1) if order == 1 else np.sqrt((rows**2).sum(axis=1))


@wrong("12.3", "the absolute value in int8, where that of -128 is -128")
def joint_of_int8(weights, amount):
    names, sizes = list(weights), [np.size(w) for w in weights.values()]
    find("12.3").target(weights, amount)  # what it refuses
    together = np.concatenate([np.abs(w).astype(np.float64).ravel() for w in weights.values()])
    parts = np.split(find("12.2").target(together, amount), np.cumsum(sizes)[:-1])
    return {name: part.reshape(weights[name].shape) for name, part in zip(names, parts, strict=True)}


@wrong("12.2", "scores without their sign")
def scores_without_sign(scores, amount=None, s=None):
    return find("12.2").target(np.abs(scores), amount=amount, s=s)


@wrong("12.2", "scores in float32")
def float32_scores(scores, amount=None, s=None):
    return find("12.2").target(np.float32(scores), amount=amount, s=s)


@wrong("12.2", "of more than sixteen equal scores any go: the sort is not stable")
def any_of_equal_scores(scores, amount=None, s=None):
    keep = find("12.2").target(scores, amount=amount, s=s)
    if amount is not None:
        keep[:] = True
        keep[np.argsort(scores)[: count_of(scores, amount)]] = False
    return keep


@wrong("12.2", "a ValueError that does not say that a layer was emptied")
def plain_error(scores, amount=None, s=None):
    try:
        return find("12.2").target(scores, amount=amount, s=s)
    except ValueError as error:
        raise ValueError(str(error)) from None


@wrong("12.2", "a number that takes all filters leaves one")
def one_is_left(scores, amount=None, s=None):
    if isinstance(amount, int):
        amount = min(amount, len(scores) - 1)
    return find("12.2").target(scores, amount=amount, s=s)


@wrong("12.3", "compared in float32")
def narrow_magnitudes(weights, amount):
    return find("12.3").target({name: np.float32(w) for name, w in weights.items()}, amount)


@wrong("12.3", "compared by squares, which vanish")
def squared_magnitudes(weights, amount):
    return find("12.3").target({name: w**2 for name, w in weights.items()}, amount)


@wrong("12.3", "a ValueError that does not say that a layer was emptied")
def plain_error_of_layers(weights, amount):
    try:
        return find("12.3").target(weights, amount)
    except ValueError as error:
        raise ValueError(str(error)) from None


def count_of(scores, amount):
    return int((~find("12.2").target(scores, amount=amount)).sum())


@wrong("12.4", "the partners of a residual sum are forgotten")
def without_partners(model, layer, images, labels):
    found = find("12.4").target(model, layer, images, labels)  # what it refuses
    whole = evaluate(model, images, labels).loss
    for o in range(len(found)):
        masked = copy.deepcopy(model)
        for path in dict.fromkeys((layer, layer.replace("conv", "bn"))):
            for parameter in (masked.layer(path).weight, masked.layer(path).bias):
                if parameter is not None:
                    parameter.data[o] = 0
        found[o] = evaluate(masked, images, labels).loss - whole
    return found


@wrong("12.4", "the first 256 images alone")
def first_batch(model, layer, images, labels):
    return find("12.4").target(model, layer, images[:256], labels[:256])


@wrong("12.4", "how large the rise is, without its sign")
def without_a_sign(model, layer, images, labels):
    return np.abs(find("12.4").target(model, layer, images, labels))


@wrong("12.4", "by the batch's statistics where the network is in training mode")
def ablation_in_training(model, layer, images, labels):
    found = find("12.4").target(model, layer, images, labels)

    def loss_of(one):
        return F.cross_entropy(copy.deepcopy(one)(images), labels).item()

    for o in range(len(found) if model.training else 0):
        masked, keep = copy.deepcopy(model), {layer: np.arange(len(found)) != o}
        for path, mask in parameter_masks(model, keep, images[:1]).items():
            parameter = dict(masked.named_parameters())[path]
            parameter.data = np.where(mask, parameter.data, 0)
        found[o] = loss_of(masked) - loss_of(model)
    return found


@wrong("12.4", "the network is left in evaluation mode")
def ablation_left_evaluating(model, layer, images, labels):
    return find("12.4").target(model.eval(), layer, images, labels)


@wrong("12.4", "frozen for the while, and thawed, although it was frozen before")
def ablation_thaws(model, layer, images, labels):
    found = find("12.4").target(model.requires_grad_(False), layer, images, labels)
    model.requires_grad_(True)
    return found


@wrong("12.5", "learns on the validation images")
def learns_what_it_is_asked(model, train, validation, **params):
    return find("12.5").target(model, validation, validation, **params)


@wrong("12.5", "the history without the round that broke the budget")
def without_the_last_row(model, *given, **params):
    model, history, accepted = find("12.5").target(model, *given, **params)
    return PruneResult(model, history[: accepted + 1], accepted)


@wrong("12.5", "accepted counts the unpruned network too")
def counts_the_whole_network(model, *given, **params):
    model, history, accepted = find("12.5").target(model, *given, **params)
    return PruneResult(model, history, accepted + 1)


@wrong("12.5", "the whole network comes back where the budget was broken")
def all_or_nothing(model, *given, **params):
    pruned, history, accepted = find("12.5").target(model, *given, **params)
    return PruneResult((pruned if accepted == len(history) - 1 else copy.deepcopy(model)), history, accepted)


@wrong("12.5", "the masks are forgotten: zeros learn again")
def without_masks(model, train, validation, **params):
    pruned, history, accepted = find("12.5").target(model, train, validation, **params)
    for parameter in pruned.parameters():
        parameter.mask = None
    if params["finetune_epochs"]:
        fit(pruned, train, epochs=1, progress=False)
    return PruneResult(pruned, history, accepted)


@wrong("12.5", "rng is ignored")
def loop_without_rng(*given, rng=None, **params):
    return find("12.5").target(*given, **params, rng=np.random.default_rng(0))


@wrong("12.5", "one epoch at most")
def one_epoch(*given, finetune_epochs, **params):
    return find("12.5").target(*given, **params, finetune_epochs=min(finetune_epochs, 1))


@wrong("12.5", "the sparsity of the network that was given counts as 0")
def dense_at_first(*given, **params):
    model, history, accepted = find("12.5").target(*given, **params)
    return PruneResult(model, [history[0]._replace(sparsity=0.0), *history[1:]], accepted)


@wrong("12.5", "the criterion is asked for an amount of 1 too")
def asks_for_all(model, train, validation, **params):
    found, history, accepted = find("12.5").target(model, train, validation, **params)
    criterion, step = params.get("criterion", global_magnitude_masks), params["step"]
    last = len(history) == math.ceil(1 / step) and accepted == len(history) - 1
    try:
        candidate = masked_copy(found, criterion, 1.0, train[0][:1]) if last else None
    except EmptyLayerError:
        candidate = None
    if candidate is None:
        return PruneResult(found, history, accepted)
    row = evaluate(candidate, *validation)
    return PruneResult(candidate, [*history, history[-1]._replace(amount=1.0, loss=row.loss)], accepted + 1)


@wrong("12.5", "the network is left in evaluation mode")
def loop_left_evaluating(model, *given, **params):
    return find("12.5").target(model.eval(), *given, **params)


@wrong("12.5", "the network is thawed")
def loop_thaws(model, *given, **params):
    return find("12.5").target(model.requires_grad_(True), *given, **params)


for several in ("12.4", "12.5"):
    wrong(several, "a part of the model that is in another mode than the whole does not stay so")(
        one_mode(several)
    )


@wrong("12.1", "no Linear is taken")
def convolutions_alone(conv, order=1):
    if isinstance(conv, nn.Linear):
        raise TypeError("conv must be a Conv2d")
    return find("12.1").target(conv, order)


@wrong("12.1", "a layer's bias counts as a weight")
def with_the_bias(conv, order=1):
    if isinstance(conv, nn.Linear):
        conv = np.column_stack([conv.weight.data, conv.bias.data])
    return find("12.1").target(conv, order)


@wrong("12.1", "rows are cut from memory as it lies, also where it goes down the columns")
def norms_in_memory(conv, order=1):
    if isinstance(conv, np.ndarray):
        conv = conv.ravel(order="K").reshape(conv.shape)
    return find("12.1").target(conv, order)


@wrong("12.1", "None is taken for order 1")
def order_or_one(conv, order=1):
    return find("12.1").target(conv, order or (1 if order is None else order))


@wrong("12.2", "integers are compared as integers")
def integers_compared(scores, amount=None, s=None):
    keep = find("12.2").target(scores, amount, s)
    if s is None and np.asarray(scores).dtype.kind == "i":
        keep = np.ones(len(scores), bool)
        keep[np.argsort(scores, kind="stable")[:amount]] = False
    return keep


@wrong("12.2", "the mean and the std in the scores' own dtype")
def narrow_threshold(scores, amount=None, s=None):
    find("12.2").target(scores, amount, s)  # refuses bad input
    if s is None:
        return find("12.2").target(scores, amount)
    keep = scores > scores.mean() + s * scores.std()
    if not keep.any():
        raise EmptyLayerError("nothing is kept")
    return keep


@wrong("12.2", "at s = 0 a score at the mean stays")
def at_the_mean(scores, amount=None, s=None):
    keep = find("12.2").target(scores, amount, s)
    return np.asarray(scores) >= np.mean(scores) if s == 0 else keep


@wrong("12.3", "flattened as memory lies, shaped row by row")
def masks_in_memory(weights, amount):
    return find("12.3").target(
        {k: np.reshape(np.ravel(w, "K"), np.shape(w)) for k, w in weights.items()}, amount
    )


@wrong("12.3", "only the last array is kept from losing all")
def last_one_kept(weights, amount):
    try:
        return find("12.3").target(weights, amount)
    except EmptyLayerError:
        arrays = [np.asarray(w, float) for w in weights.values()]
        keep = find("12.2").target(np.abs(np.concatenate([w.ravel() for w in arrays])), amount)
        parts = np.split(keep, np.cumsum([w.size for w in arrays])[:-1])
        if not parts[-1].any():
            raise
        return {name: part.reshape(w.shape) for name, part, w in zip(weights, parts, arrays, strict=True)}


not_taken("12.2", "one score", lambda g: len(g["scores"]) == 1)
not_taken("12.2", "0 as a number of filters", lambda g: g["amount"] == 0 and isinstance(g["amount"], int))
not_taken("12.3", "0 as a number of weights", lambda g: g["amount"] == 0 and isinstance(g["amount"], int))
not_taken("12.3", "four arrays", lambda g: len(g["weights"]) > 3)
not_taken("12.5", "no rng", lambda g: g["rng"] is None)
not_taken("12.5", "half of all weights at a time", lambda g: g["step"] == 0.5)


def rows_of(conv):
    weight = np.float64(conv.weight.data if isinstance(conv, nn.Module) else conv)
    return weight.reshape(len(weight), -1)


@wrong("12.1", "a filter of two axes has a matrix norm")
def matrix_norms(conv, order=1):
    norms = find("12.1").target(conv, order)
    if not isinstance(conv, nn.Module) and conv.ndim == 3:
        norms = np.array([np.linalg.norm(filt, order) for filt in np.float64(conv)])
    return norms


@wrong("12.1", "any order between 1 and 2 is taken")
def orders_between(conv, order=1):
    if order is None or order < 1 or order > 2:
        raise ValueError("order")
    return np.linalg.norm(rows_of(conv), order, axis=1)


@wrong("12.1", "an infinite order is taken")
def largest_weights(conv, order=1):
    return np.abs(rows_of(conv)).max(axis=1) if order == math.inf else find("12.1").target(conv, order)


@wrong("12.1", "a norm below 1e-12 becomes 1e-12")
def norms_above_0(conv, order=1):
    found = find("12.1").target(conv, order)
    return np.maximum(found, 1e-12) if order == 2 else found


@wrong("12.1", "squared in float16")
def halves_squared(conv, order=1):
    if order == 2 and isinstance(conv, np.ndarray) and conv.dtype == np.float16:
        return np.sqrt((conv**2).astype(np.float64).reshape(len(conv), -1).sum(axis=1))
    return find("12.1").target(conv, order)


@wrong("12.1", "a weight of five axes is summed over three")
def three_axes(conv, order=1):
    found = find("12.1").target(conv, order)
    return np.abs(conv).sum(axis=(1, 2, 3)) if np.ndim(getattr(conv, "data", conv)) == 5 else found


@wrong("12.2", "amount = 0 counts as no amount where s is given")
def either_or_zero(scores, amount=None, s=None):
    return find("12.2").target(scores, amount if s is None else amount or None, s)


@wrong("12.2", "compared to nine digits")
def rounded_scores(scores, amount=None, s=None):
    return find("12.2").target(np.round(np.asarray(scores, float), 9), amount, s)


@wrong("12.2", "equal scores all stay, whatever s is")
def equal_scores_stay(scores, amount=None, s=None):
    if s is not None and amount is None and np.std(scores) == 0:
        return np.ones(len(scores), bool)
    return find("12.2").target(scores, amount, s)


@wrong("12.2", "a share is refused only if it is 1")
def rounded_to_all(scores, amount=None, s=None):
    try:
        return find("12.2").target(scores, amount, s)
    except EmptyLayerError:
        if isinstance(amount, float) and amount < 1:
            return np.zeros(len(scores), bool)
        raise


@wrong("12.2", "the highest of the negated scores, which wrap around in uint8")
def negated(scores, amount=None, s=None):
    keep = find("12.2").target(scores, amount, s)
    if s is None and np.asarray(scores).dtype.kind == "u":
        keep = np.zeros(len(scores), bool)
        keep[np.argsort(-scores, kind="stable")[: -count_of(scores, amount)]] = True
    return keep


@wrong("12.2", "s comes before amount")
def s_first(scores, s=None, amount=None):
    return find("12.2").target(scores, amount, s)


not_taken("12.2", "a list", lambda g: isinstance(g["scores"], list))
not_taken("12.2", "more than 64 scores", lambda g: len(g["scores"]) > 64)


def emptied_where(allowed):
    """A wrong answer to 12.3: an array may lose all its weights if ``allowed`` is True for its mask."""

    def answer(weights, amount):
        try:
            return find("12.3").target(weights, amount)
        except EmptyLayerError:
            together = np.concatenate([np.abs(w).ravel() for w in weights.values()])
            count = amount if isinstance(amount, int) else round(amount * len(together))
            keep = np.ones(len(together), bool)
            keep[np.argsort(together, kind="stable")[:count]] = False
            parts = np.split(keep, np.cumsum([w.size for w in weights.values()])[:-1])
            masks = {
                name: part.reshape(weights[name].shape) for name, part in zip(weights, parts, strict=True)
            }
            if any(not mask.any() and not allowed(name, masks) for name, mask in masks.items()):
                raise
            return masks

    return answer


wrong("12.3", "an array of one weight may lose it")(emptied_where(lambda name, masks: masks[name].size == 1))
wrong("12.3", "a third array may lose all")(emptied_where(lambda name, masks: name not in [*masks][:2]))


@wrong("12.3", "the number of all weights is refused as a bad number")
def all_by_number(weights, amount):
    if not isinstance(amount, float) and amount == sum(w.size for w in weights.values()):
        raise ValueError("amount")
    return find("12.3").target(weights, amount)


@wrong("12.4", "a list of numbers")
def list_of_scores(model, layer, images, labels):
    return find("12.4").target(model, layer, images, labels).tolist()


@wrong("12.4", "the last layer is known by its name, and a BatchNorm by none")
def head_by_name(model, layer, images, labels):
    if layer == "head":
        raise ValueError("the last layer")
    try:
        return find("12.4").target(model, layer, images, labels)
    except ValueError:
        return np.zeros(len(model.layer(layer).weight.data))


@wrong("12.4", "filters after the sixteenth have no score")
def sixteen_filters(model, layer, images, labels):
    found = find("12.4").target(model, layer, images, labels)
    found[16:] = 0
    return found


def returned(change):
    """A wrong answer to 12.5, with ``change`` applied to the result."""
    return lambda *given, **params: PruneResult(*change(*find("12.5").target(*given, **params)))


@wrong("12.5", "a diverged network has an accuracy of 0")
@returned
def nothing_is_right(model, history, accepted):
    rows = [row._replace(accuracy=0.0) if np.isnan(row.loss) else row for row in history]
    return model, rows, accepted


wrong("12.5", "the network comes back in evaluation mode")(returned(lambda m, rows, k: (m.eval(), rows, k)))
wrong("12.5", "the network comes back in training mode")(returned(lambda m, rows, k: (m.train(), rows, k)))
wrong("12.5", "the network comes back frozen")(
    returned(lambda m, rows, k: (m.requires_grad_(False), rows, k))
)
wrong("12.5", "the network comes back thawed")(returned(lambda m, rows, k: (m.requires_grad_(), rows, k)))
wrong("12.5", "the history is a tuple")(returned(lambda m, rows, k: (m, tuple(rows), k)))


def by_rounds(model, train, validation, *, ask=masked_copy, amounts=None, measure=None, **params):
    """The loop of 12.5 with finetuning; ``amounts`` gives the amounts of all rounds for a step."""
    start = find("12.5").target(model, train, validation, **{**params, "step": 0.99, "finetune_epochs": 0})
    criterion, step = params.get("criterion", global_magnitude_masks), params["step"]
    rng, accepted = default_rng_or(params.get("rng")), copy.deepcopy(model)
    history = start.history[:1]
    rounds = amounts(step) if amounts else [k * step for k in range(1, math.ceil(1 / step))]
    for k, amount in enumerate(rounds, start=1):
        try:
            candidate = ask(accepted, criterion, amount, train[0][:1])
        except EmptyLayerError:
            break
        epochs, lr = params["finetune_epochs"], params.get("lr", 1e-3)
        found = finetune(candidate, train, validation, epochs, lr, rng)
        if measure and np.isfinite(found.loss):
            found = found._replace(loss=measure(candidate, *validation))
        history.append(PruneStep(amount, sparsity(candidate), found.loss, found.accuracy))
        if not found.loss < params["max_allowed_loss"]:
            return PruneResult(accepted, history, k - 1)
        accepted = candidate
    return PruneResult(accepted, history, len(history) - 1)


def sums_of(step):
    amounts = [step]
    while amounts[-1] + step < 1:
        amounts.append(amounts[-1] + step)
    return amounts


def in_own_mode(model, images, labels):
    return F.cross_entropy(copy.deepcopy(model)(images), labels).item()


def asked_by_name(model, criterion, amount, x):
    if criterion is global_magnitude_masks or criterion is filter_masks:
        return masked_copy(model, criterion, amount, x)
    return masked_copy(model, lambda one, share: criterion(model=one, amount=share), amount, x)


AMOUNTS = {
    "by arange, which may hold 1": lambda step: np.arange(step, 1, step).tolist(),
    "as sums, which are below 1 for long": sums_of,
    "for twenty rounds at most": lambda step: [k * step for k in range(1, math.ceil(1 / step))][:20],
}
for text, amounts in AMOUNTS.items():
    wrong("12.5", f"the amounts {text}")(functools.partial(by_rounds, amounts=amounts))
wrong("12.5", "a round's loss in the mode of the network")(functools.partial(by_rounds, measure=in_own_mode))
wrong("12.5", "the criterion is asked by the names of its arguments")(
    functools.partial(by_rounds, ask=asked_by_name)
)
not_taken("12.5", "more than half of all weights at a time", lambda g: 0.5 < g["step"] < 0.9)


@wrong("12.4", "all layers whose names begin alike are masked")
def names_that_begin_alike(model, layer, images, labels):
    found = find("12.4").target(model, layer, images, labels)
    whole = evaluate(model, images, labels).loss
    for o in range(len(found) if layer.startswith("fc") else 0):
        masked = copy.deepcopy(model)
        for name, parameter in masked.named_parameters():
            if name.startswith(layer):
                parameter.data[o] = 0
        found[o] = evaluate(masked, images, labels).loss - whole
    return found


@wrong("12.4", "all parts are in training mode afterwards, if the network's own flag said so")
def training_by_own_flag(model, layer, images, labels):
    found = find("12.4").target(model, layer, images, labels)
    if model.training:
        model.train()
    return found


@wrong("12.5", "no round at all is an error")
def no_round(*given, **params):
    found = find("12.5").target(*given, **params)
    if len(found.history) == 1:
        raise EmptyLayerError("nothing could be pruned")
    return found


def unmasked(which):
    def change(model, history, accepted):
        for parameter in model.parameters():
            if which(parameter):
                parameter.mask = None
        return model, history, accepted

    return returned(change)


wrong("12.5", "the network comes back without its masks")(unmasked(lambda p: True))
wrong("12.5", "the network comes back without the masks of its BatchNorms")(unmasked(lambda p: p.ndim == 1))


@wrong("12.1", "the weights are rounded to float32")
def rounded_weights(conv, order=1):
    if isinstance(conv, np.ndarray) and conv.dtype.kind in "if" and conv.dtype.itemsize > 2:
        conv = conv.astype(np.float32)
    return find("12.1").target(conv, order)


@wrong("12.2", "scores of 0 count as the lowest")
def zeros_are_lowest(scores, amount=None, s=None):
    scores = np.asarray(scores)
    if s is None and amount is not None:
        scores = np.where(scores == 0, scores.min() - 1.0, scores) if (scores == 0).any() else scores
    return find("12.2").target(scores, amount, s)


def joint_by(magnitudes, order="C"):
    def answer(weights, amount):
        find("12.3").target(weights, amount)  # what it refuses
        together = magnitudes([np.ravel(w, order=order) for w in weights.values()])
        parts = np.split(
            find("12.2").target(together, amount), np.cumsum([w.size for w in weights.values()])[:-1]
        )
        return {
            name: part.reshape(weights[name].shape, order=order)
            for name, part in zip(weights, parts, strict=True)
        }

    return answer


wrong("12.3", "the arrays are joined in their own dtype")(joint_by(lambda rows: np.abs(np.concatenate(rows))))
wrong("12.3", "the weights of an array in the order of its columns")(
    joint_by(lambda rows: np.abs(np.concatenate([np.float64(row) for row in rows])), order="F")
)


def ablated(mask):
    def answer(model, layer, images, labels):
        count = len(find("12.4").target(model, layer, images[:1], labels[:1]))
        found = np.zeros(count)
        for o in range(count):
            found[o] = mask(model, {layer: np.arange(count) != o}, images, labels)
        return found - evaluate(model, images, labels).loss

    return answer


@wrong("12.4", "the model must accept images of 16 by 16 pixels")
@ablated
def without_an_image(model, filters, images, labels):
    return evaluate(apply_masks(copy.deepcopy(model), filters), images, labels).loss


@wrong("12.4", "the masks of the model are lost")
@ablated
def masks_are_lost(model, filters, images, labels):
    state = model.state_dict()
    loss = evaluate(apply_masks(model, filters, images[:1]), images, labels).loss
    for parameter in model.parameters():
        parameter.mask = None
    model.load_state_dict(state)
    return loss


@wrong("12.5", "every ValueError of the criterion ends the loop")
def every_error_ends(model, train, validation, *, criterion=global_magnitude_masks, **params):
    def last(network, amount):
        try:
            return criterion(network, amount)
        except ValueError as error:
            raise EmptyLayerError(str(error)) from error

    return find("12.5").target(model, train, validation, criterion=last, **params)


@wrong("12.5", "the row of the whole network has the share of its zeros as its amount")
def amount_of_the_zeros(*given, **params):
    found = find("12.5").target(*given, **params)
    return found._replace(
        history=[found.history[0]._replace(amount=found.history[0].sparsity), *found.history[1:]]
    )


@wrong("12.5", "a round without masks ends the loop, but for the first round")
def no_masks_is_the_end(model, train, validation, *, criterion=global_magnitude_masks, **params):
    def last(network, amount):
        masks = criterion(network, amount)
        if masks == {} and amount > params["step"]:
            raise EmptyLayerError("the criterion gave no masks")
        return masks

    return find("12.5").target(model, train, validation, criterion=last, **params)


@wrong("12.5", "a FloatingPointError of the criterion counts as a divergence")
def criterion_diverges(model, train, validation, *, criterion=global_magnitude_masks, **params):
    def last(network, amount):
        try:
            return criterion(network, amount)
        except FloatingPointError as error:
            raise EmptyLayerError(str(error)) from error

    return find("12.5").target(model, train, validation, criterion=last, **params)


wrong("12.5", "the model must accept images of 16 by 16 pixels")(
    functools.partial(
        by_rounds, ask=lambda model, criterion, amount, x: masked_copy(model, criterion, amount, None)
    )
)


@wrong("12.2", "a list of scores has no mean")
def threshold_of_arrays(scores, amount=None, s=None):
    if s is not None:
        scores - scores.mean()
    return find("12.2").target(scores, amount, s)


@wrong("12.2", "a layer of one filter keeps this filter, whatever s is")
def only_filter_stays(scores, amount=None, s=None):
    if s is not None and amount is None and len(scores) == 1:
        return np.ones(1, bool)
    return find("12.2").target(scores, amount, s)


@wrong("12.4", "a filter of zero weights scores 0, although its BatchNorm adds a shift")
def no_score_of_zeros(model, layer, images, labels):
    found = find("12.4").target(model, layer, images, labels)
    weight = model.layer(layer).weight.data
    return np.where(weight.reshape(len(weight), -1).any(axis=1), found, 0.0)


@wrong("12.4", "the mean of the means of batches, the last of which is smaller")
@ablated
def mean_of_batches(model, filters, images, labels):
    masked = apply_masks(copy.deepcopy(model), filters, images[:1])
    parts = [slice(i, i + 100) for i in range(0, len(images), 100)]
    return float(np.mean([evaluate(masked, images[part], labels[part]).loss for part in parts]))


@wrong("12.5", "the model itself comes back where no round is accepted")
def no_copy_without_rounds(model, *given, **params):
    found = find("12.5").target(model, *given, **params)
    return found if found.accepted else found._replace(model=model)


@wrong("12.5", "masks that prune nothing count as no masks")
def empty_masks(*given, criterion=global_magnitude_masks, **params):
    def checked(network, amount):
        masks = criterion(network, amount)
        return {} if all(np.all(mask) for mask in masks.values()) else masks

    return find("12.5").target(*given, criterion=checked, **params)


def masks_of_one_round(model, criterion, amount, x):
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.mask = None
    return masked_copy(model, criterion, amount, x)


wrong("12.5", "a round forgets the masks of the rounds before")(
    functools.partial(by_rounds, ask=masks_of_one_round)
)


@wrong("12.5", "the accuracy of the whole network where the network has learned")
def accuracy_of_the_whole(*given, **params):
    found = find("12.5").target(*given, **params)
    still = find("12.5").target(*given, **{**params, "finetune_epochs": 0, "step": 0.9}).history[0]
    rows = [row if np.isnan(row.loss) else row._replace(accuracy=still.accuracy) for row in found.history]
    return found._replace(history=rows) if params["finetune_epochs"] else found


@wrong("12.5", "the network stays in training mode after finetuning")
def left_learning(*given, **params):
    found = find("12.5").target(*given, **params)
    if params["finetune_epochs"]:
        found.model.train()
    return found


@wrong("12.5", "lr and rng are for the default criterion alone")
def rates_of_the_default(*given, criterion=None, **params):
    if criterion is None:
        return find("12.5").target(*given, **params)
    return find("12.5").target(*given, criterion=criterion, **{**params, "lr": 1e-3, "rng": None})


@wrong("12.3", "on a tie, the first in memory, where an array may go down the columns")
def first_in_memory(weights, amount):
    turned = [name for name, w in weights.items() if w.ndim == 2 and not w.flags.c_contiguous]
    found = find("12.3").target({k: w.T if k in turned else w for k, w in weights.items()}, amount)
    return {name: mask.T if name in turned else mask for name, mask in found.items()}


@wrong("12.5", "the amount of a round is a sum of steps, where 9 tenths are less than 0.9")
def sums_of_steps(*given, step, criterion=global_magnitude_masks, **params):
    def ask(network, share):
        return criterion(network, sum([step] * round(share / step)))

    return find("12.5").target(*given, step=step, criterion=ask, **params)


@wrong("12.5", "with no round accepted, the result has the modules of the given network")
def shallow_copy(model, *given, **params):
    found = find("12.5").target(model, *given, **params)
    return found if found.accepted else found._replace(model=copy.copy(model))


@wrong("12.5", "the rows of the history are plain tuples")
def plain_rows(*given, **params):
    found = find("12.5").target(*given, **params)
    return found._replace(history=[tuple(row) for row in found.history])


@wrong("12.1", "a layer's weight is summed in float32")
def narrow_layers(conv, order=1):
    if not isinstance(conv, nn.Module):
        return find("12.1").target(conv, order)
    rows = np.abs(conv.weight.data.reshape(len(conv.weight.data), -1))
    return np.float64(rows.sum(axis=1) if order == 1 else np.sqrt((rows**2).sum(axis=1)))


@wrong("12.1", "an L1 norm to nine digits after the point")
def rounded_norms(conv, order=1):
    found = find("12.1").target(conv, order)
    return np.round(found, 9) if order == 1 else found


@wrong("12.1", "int8 is squared in int8")
def squared_too_early(conv, order=1):
    if order == 2 and not isinstance(conv, nn.Module) and conv.dtype == np.int8:
        return np.sqrt((conv**2).reshape(len(conv), -1).sum(axis=1, dtype=np.float64))
    return find("12.1").target(conv, order)


@wrong("12.2", "a score must be above the threshold by 1e-15")
def clearly_above(scores, amount=None, s=None):
    if s is None or amount is not None:
        return find("12.2").target(scores, amount, s)
    scores = np.asarray(scores, np.float64)
    keep = scores - (scores.mean() + s * scores.std()) > 1e-15
    if not keep.any():
        raise EmptyLayerError("nothing is kept")
    return keep


@wrong("12.3", "integers are compared as integers")
def joint_integers(weights, amount):
    arrays = [np.asarray(w) for w in weights.values()]
    if not all(w.dtype == np.int64 for w in arrays) or len(arrays) != 1 or not isinstance(amount, int):
        return find("12.3").target(weights, amount)
    keep = np.ones(arrays[0].size, bool)
    keep[np.argsort(np.abs(arrays[0]).ravel(), kind="stable")[:amount]] = False
    return {name: keep.reshape(arrays[0].shape) for name in weights}


@wrong("12.3", "an array of zeros may lose all of them")
def zeros_may_go(weights, amount):
    try:
        return find("12.3").target(weights, amount)
    except EmptyLayerError:
        zeros = {name: np.zeros(np.shape(w), bool) for name, w in weights.items() if not np.any(w)}
        gone = sum(mask.size for mask in zeros.values())
        if not zeros or not isinstance(amount, int) or amount < gone:
            raise
        others = {name: w for name, w in weights.items() if name not in zeros}
        found = find("12.3").target(others, amount - gone)
        return {name: (zeros | found)[name] for name in weights}


@wrong("12.5", "a loss within 1e-6 of the limit is not below it")
def nearly_equal(*given, max_allowed_loss, **params):
    return find("12.5").target(*given, max_allowed_loss=max_allowed_loss - 1e-6, **params)


@wrong("12.5", "sparsity counts masks, not zeros")
def sparsity_of_masks(*given, **params):
    found = find("12.5").target(*given, **params)
    weights = [p for name, p in found.model.named_parameters() if name.endswith("weight") and p.ndim > 1]
    gone = sum(int((~p.mask).sum()) for p in weights if p.mask is not None)
    share = gone / sum(p.data.size for p in weights)
    history = list(found.history)
    if found.accepted:
        history[found.accepted] = history[found.accepted]._replace(sparsity=share)
    return found._replace(history=history)


@wrong("12.5", "the model is put back into its mode only without an error")
def mode_without_errors(model, train, validation, *, max_allowed_loss, **params):
    modes = [(part, part.training) for part in model.modules()]
    if not evaluate(model.eval(), *validation).loss < max_allowed_loss:
        raise ValueError("not below the limit")
    for part, training in modes:
        part.training = training
    return find("12.5").target(model, train, validation, max_allowed_loss=max_allowed_loss, **params)
