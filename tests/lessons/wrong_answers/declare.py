"""Collects the wrong answers, and what several lessons' wrong answers are made of."""

from __future__ import annotations

import inspect

import numpy as np

from lessons.exercises import find
from minidl.engine.tensor import Tensor
from minidl.nn.layers import BatchNorm, Dropout
from minidl.nn.module import Parameter

WRONG: list[tuple[str, str, object]] = []  # number, name of the mistake, the answer


ALIKE = {  # answers that do the same as a named mistake
    "a quotient truncated towards 0 instead of floored, so 0 places instead of an error": [
        "returns zero or less instead of an error"
    ],
    "the logit in place of the probability where no class is given": [
        "took the logit where the probability was asked for"
    ],
    "no random start without an rng": ["began at the images themselves, not at random"],
    "the step in the mode that the model has": ["the step uses the batch's statistics, in training mode"],
}


def wrong(number: str, text: str):
    def declare(answer):
        answer.__name__ = find(number).name
        WRONG.append((number, text, answer))
        return answer

    return declare


def narrowed(x):
    """The array with the digits of float32, in its own dtype."""
    return x.astype(np.float32).astype(x.dtype) if x.dtype == np.float64 else x


def with_modes(number, networks, *arguments, by_own_flag=(), **options):
    """The reference, which sees the networks in ``by_own_flag`` in the mode that their own flag says."""
    kept = {network: {part: part.training for part in network.modules()} for network in networks}
    for network in networks:
        if network in by_own_flag:
            network.train, network.eval = (lambda network=network: network), (lambda network=network: network)
    try:
        return find(number).target(*networks, *arguments, **options)
    finally:
        for network in networks:
            if network in by_own_flag:
                del network.train, network.eval
                for part, training in kept[network].items():
                    part.training = training


def checked(probabilities, axis):
    p = np.asarray(probabilities)
    if p.min() < 0 or not np.allclose(p.sum(axis=axis), 1, atol=1e-4):
        raise ValueError("not probabilities")
    return p


def scaled(rmin, rmax, qmin, qmax, smallest, rounded=np.rint):
    low, high = np.minimum(np.float64(rmin), 0.0), np.maximum(np.float64(rmax), 0.0)
    S = smallest(np.asarray((high - low) / (qmax - qmin), np.float32))
    return S, rounded(qmin - low / S).astype(np.int32)


def one_mode(number):
    """The library's function, which gives all parts of its model the mode of the whole."""

    def answer(model, *arguments, **params):
        found = find(number).target(model, *arguments, **params)
        model.train(model.training)
        return found

    return answer


def not_taken(number, what, condition):
    """A wrong answer: the library's function, which refuses arguments for which ``condition`` is True."""
    target = find(number).target

    def answer(*arguments, **params):
        bound = inspect.signature(target).bind(*arguments, **params)
        bound.apply_defaults()
        if condition(bound.arguments):
            raise ValueError("refused")
        return target(*arguments, **params)

    wrong(number, f"not taken: {what}")(answer)


def is_unit(axes):
    return lambda given: isinstance(given["target"], tuple) and len(given["target"]) == 1 + axes


def data_of(logits):
    return logits.data if isinstance(logits, Tensor) else np.asarray(logits)


def moves_otherwise(number, text, factors):
    """The library's step; the change of each parameter in ``factors(model)`` is multiplied by a factor."""

    def answer(model, *arguments, **options):
        changes = [(p, p.data.copy(), factor) for p, factor in factors(model)]
        found = find(number).target(model, *arguments, **options)
        for p, before, factor in changes:
            p.data = before + factor * (p.data - before)
        return found

    wrong(number, text)(answer)


def parts_of_a_model(number):
    """Wrong steps of a training that forget how the parts of a model work."""

    def norms(model):
        parts = [part for part in model.modules() if isinstance(part, BatchNorm)]
        return [(p, 0) for part in parts for p in part.parameters()]

    def deep(model):
        return [(p, 0) for path, p in model.named_parameters() if path.count(".") > 1]

    def shared(model):
        paths = [id(getattr(part, name)) for _, part, name in model._state()]
        return [(p, paths.count(id(p))) for p in model.parameters()]

    moves_otherwise(number, "BatchNorm's scale and shift stay as they are", norms)
    moves_otherwise(number, "only layers of the outermost level change", deep)
    moves_otherwise(number, "a layer that is used twice changes twice", shared)

    @wrong(number, "Dropout drops nothing")
    def keeps_all(model, *arguments, **options):
        dropouts = [part for part in model.modules() if isinstance(part, Dropout)]
        for part in dropouts:
            part.p = 0.0
        return find(number).target(model, *arguments, **options)

    @wrong(number, "a BatchNorm with frozen parameters uses its running statistics")
    def running_statistics(model, *arguments, **options):
        for part in model.modules():
            if isinstance(part, BatchNorm):
                part.frozen = not any(p.requires_grad for p in part.parameters())
        return find(number).target(model, *arguments, **options)


def all_learn_afterwards(number, of):
    """The library's function; afterwards all parameters of its model require grad."""

    def answer(*arguments, **options):
        found = find(number).target(*arguments, **options)
        arguments[of].requires_grad_(True)
        return found

    wrong(number, "frozen parameters require grad afterwards")(answer)


def unused_by_old_gradient(number):
    """The library's steps; a parameter that the loss does not depend on moves by the gradient it had."""

    def answer(model, *arguments, lr, **options):
        old = [(p, p.grad) for p in model.parameters() if p.requires_grad]
        found = find(number).target(model, *arguments, lr=lr, **options)
        for p, grad in old:
            if p.grad is None and grad is not None:
                p.data = p.data - lr * grad
        return found

    wrong(number, "an unused parameter moves by the gradient that it had before")(answer)


def layers_as_a_whole(number):
    """The library's steps; a layer of which one parameter is frozen is frozen as a whole."""

    def answer(model, *arguments, **options):
        held = []
        for part in model.modules():
            own = [value for value in vars(part).values() if isinstance(value, Parameter)]
            if not all(p.requires_grad for p in own):
                held += [p for p in own if p.requires_grad]
        for p in held:
            p.requires_grad = False
        found = find(number).target(model, *arguments, **options)
        for p in held:
            p.requires_grad = True
        return found

    wrong(number, "a layer with one frozen parameter is frozen as a whole")(answer)


def without_ties(number):
    """The library's steps; each Parameter is replaced by a new one, so layers no longer share a weight."""

    def answer(model, *arguments, **options):
        for part in model.modules():
            for name, p in list(vars(part).items()):
                if isinstance(p, Parameter):
                    setattr(part, name, Parameter(p.data, p.requires_grad))
        return find(number).target(model, *arguments, **options)

    wrong(number, "a weight that two layers share becomes two weights")(answer)


def unused_are_frozen(number):
    """The library's steps; a parameter without a gradient does not require grad afterwards."""

    def answer(model, *arguments, **options):
        found = find(number).target(model, *arguments, **options)
        for p in model.parameters():
            p.requires_grad = p.requires_grad and p.grad is not None
        return found

    wrong(number, "an unused parameter is frozen afterwards")(answer)


def one_loss_without_a_rate(number):
    """The library's steps; at lr = 0 there is only one step, and its loss counts for all of them."""

    def answer(*arguments, steps, lr, **options):
        done = min(steps, 1) if lr == 0 else steps
        losses = find(number).target(*arguments, steps=done, lr=lr, **options)
        return np.resize(losses, steps)

    wrong(number, "at lr = 0 one step, of which the loss is repeated")(answer)
