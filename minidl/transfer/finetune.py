"""Finetuning: freezing, new heads and learning rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minidl.data.loader import Pair
from minidl.engine.checks import (
    array_pair,
    check_array,
    check_flag,
    check_function,
    check_instance,
    check_number,
    check_sequence,
    positive_int,
    positive_number,
    require,
)
from minidl.engine.random import default_rng_or
from minidl.nn.layers import BatchNorm, Linear
from minidl.nn.module import Module, Parameter, dotted
from minidl.train.adam import Adam
from minidl.train.evaluation import Evaluation, evaluate
from minidl.train.loop import fit
from minidl.train.optim import Optimizer

# ---- what moves


def freeze(module: Module) -> Module:
    """Keep training from changing ``module``. Layers before it still get their gradients.

    Its parameters require no gradient, so optimizers skip them, also with weight decay and momentum. Its
    BatchNorm layers keep their running statistics and use them in training mode, too. (Dropout has no state
    and still follows the mode.) A copy of each value is stored for ``frozen_report``. ``load_state_dict``
    still changes the module. Returns the module.

    >>> from minidl import nn, transfer
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> body = transfer.freeze(model[0])
    >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    ['2.weight', '2.bias']
    """
    for part in check_instance("module", module, Module).modules():
        for parameter in own_parameters(part):
            parameter.requires_grad_(False)
            parameter.zero_grad()
        if isinstance(part, BatchNorm):
            part.frozen = True
        part.frozen_state = {
            **own_state(part),
            **frozen_state(part),
        }  # if it was frozen before, keep the older copy
    return module


def unfreeze(module: Module, *, statistics: bool = True) -> Module:
    """Let the parameters of ``module`` learn again.

    statistics: whether BatchNorm uses the statistics of the batches again. With few images these are noisy.
    With False it keeps its running statistics, frozen like all buffers, while its weight and bias learn.

    >>> from minidl import nn, transfer
    >>> layer = transfer.freeze(nn.Linear(4, 2))
    >>> transfer.unfreeze(layer).weight.requires_grad
    True
    """
    statistics = check_flag("statistics", statistics)
    for part in check_instance("module", module, Module).modules():
        for parameter in own_parameters(part):
            parameter.requires_grad_(True)
        kept = {} if statistics else {name: np.array(getattr(part, name)) for name in part._buffer_names}
        if isinstance(part, BatchNorm):
            part.frozen = not statistics
        part.frozen_state = {name: frozen_state(part).get(name, now) for name, now in kept.items()}
    return module


def frozen_report(model: Module) -> dict[str, bool]:
    """The path of each frozen parameter and buffer, and whether any bit of it changed since it was frozen.

    ``any(frozen_report(model).values())`` is False if freezing worked.

    >>> from minidl import nn, transfer
    >>> layer = transfer.freeze(nn.Linear(4, 2))
    >>> transfer.frozen_report(layer)
    {'weight': False, 'bias': False}
    """
    report = {}
    for path, part in check_instance("model", model, Module).named_modules():
        before = frozen_state(part)
        changed = changed_arrays(before, {name: np.asarray(getattr(part, name)) for name in before})
        report.update({dotted(path, name): name in changed for name in before})
    return report


def changed_arrays(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> list[str]:
    """The sorted names of arrays that differ in any bit, shape or dtype, or exist on one side only.

    NaN equals itself, and 0 differs from -0, because the bits are compared.
    """
    changed = set(before) ^ set(after)
    for name in set(before) & set(after):
        old, new = np.asarray(before[name]), np.asarray(after[name])
        alike = old.shape == new.shape and old.dtype == new.dtype
        if not alike or old.tobytes() != new.tobytes():
            changed.add(name)
    return sorted(changed)


def gradual_unfreeze(
    model: Module, count: int, layers: Sequence[str] | None = None, *, statistics: bool = True
) -> list[str]:
    """Freeze the model except for its last ``count`` layers, and return the names of these.

        for epoch in range(epochs):
            gradual_unfreeze(model, epoch + 1)        # the head alone, then one more layer each epoch
            fit(model, train, epochs=1, optimizer=optimizer)

    layers: dotted paths from the input to the output; None for all children with parameters. A ``count``
    above their number means all layers.  statistics: see ``unfreeze``.
    Source: Howard and Ruder 2018, arXiv:1801.06146.

    >>> from minidl import nn, transfer
    >>> model = nn.models.mlp(4, (8, 8), 2)
    >>> transfer.gradual_unfreeze(model, 2)
    ['fc2', 'head']
    """
    names = trainable_children(model) if layers is None else list(check_sequence("layers", layers))
    require(bool(names), "layers must name at least one layer; freeze(model) freezes them all")
    parts = [check_instance("model", model, Module).layer(name) for name in names]
    first = max(len(parts) - positive_int("count", count), 0)
    freeze(model)
    for part in parts[first:]:
        unfreeze(part, statistics=statistics)
    return names[first:]


# ---- heads and learning rates


def replace_head(
    model: Module, num_classes: int, rng: np.random.Generator | None = None, head: str = "head"
) -> Linear:
    """Replace the head by a new Linear with ``num_classes`` outputs and random weights; return it.

    head: its dotted path. The layers before it do not change, so the features stay. An older optimizer still
    holds the old head. TypeError if the old head is no Linear.

    >>> from minidl import nn, transfer
    >>> model = nn.models.mlp(4, 8, 2)
    >>> transfer.replace_head(model, num_classes=5)
    Linear(8, 5)
    """
    old = check_instance(f"the head {head!r}", check_instance("model", model, Module).layer(head), Linear)
    parent, _, name = head.rpartition(".")
    new = Linear(old.in_features, num_classes, bias=old.bias is not None, rng=default_rng_or(rng))
    setattr(model.layer(parent), name, new.train(old.training))
    return new


def layer_rates(count: int, top_rate: float, decay: float) -> list[float]:
    """Learning rates of ``count`` layers from the input on: rate_l = top_rate decay^(count - 1 - l).

    Lower layers compute more general features, so they should change more slowly: 0 < decay <= 1.
    Howard and Ruder 2018 use decay = 1 / 2.6.
    """
    top_rate, decay = check_number("top_rate", top_rate, 0), positive_number("decay", decay, 1)
    return [top_rate * decay ** (count - 1 - layer) for layer in range(positive_int("count", count))]


def param_groups(
    model: Module, backbone_lr: float, head_lr: float, decay: float = 1.0, head: str = "head"
) -> list[dict]:
    """Groups for an optimizer: the layers before the head at ``layer_rates(n, backbone_lr, decay)``, then the
    head.

    A layer is a child of the model with parameters. Frozen parameters are included: the optimizer skips them
    until they are unfrozen.  head: the name of the last such child.

    >>> from minidl import nn, train, transfer
    >>> model = nn.models.mlp(4, (8, 8), 2)
    >>> optimizer = train.Adam(transfer.param_groups(model, backbone_lr=0.001, head_lr=0.003, decay=0.5))
    >>> [group["lr"] for group in optimizer.param_groups]
    [0.0005, 0.001, 0.003]
    """
    children = trainable_children(model)
    check_number("head_lr", head_lr, 0), check_instance("head", head, str)
    layers = [name for name in children if name != head]
    found = bool(layers) and head in children
    require(found, f"expected layers with parameters and then the head {head!r}, got {children}")
    rates = [*layer_rates(len(layers), backbone_lr, decay), head_lr]
    groups, seen = [], set()
    for name, rate in zip([*layers, head], rates, strict=True):
        parameters = [p for p in model.layer(name).parameters() if p not in seen]  # shared ones: the lowest's
        seen.update(parameters)
        groups.append({"params": parameters, "lr": rate})
    return groups


# ---- how fast is too fast


def lr_sweep(
    model: Module,
    train: Pair,
    test: Pair,
    lrs: Sequence[float],
    *,
    epochs: int,
    batch_size: int = 64,
    optimizer: Callable[..., Optimizer] = Adam,
    rng: np.random.Generator | None = None,
) -> list[Evaluation]:
    """The result of ``model`` on ``test`` after ``epochs`` at each learning rate, always from its present
    state.

    Each rate sees the same batches in the same order. Afterwards the model has its old state. ``optimizer``
    is a
    function: ``optimizer(parameters, lr=lr)``. A run that diverges gives accuracy NaN and loss inf. To choose
    a rate, use a validation set as ``test``.

    >>> from minidl import nn, train, transfer
    >>> pair = np.eye(2), np.array([0, 1])
    >>> results = transfer.lr_sweep(nn.Linear(2, 2), pair, pair, [0.1, 1.0], epochs=20, optimizer=train.SGD)
    >>> results[1].accuracy, results[1].loss < results[0].loss
    (1.0, True)
    """
    start, seed = check_instance("model", model, Module).state_dict(), default_rng_or(rng).integers(2**63)
    rates = check_array("lrs", lrs, "L", low=0).astype(np.float64).tolist()
    check_function("optimizer", optimizer, "parameters and lr=lr")
    for name, pair in (("train", train), ("test", test)):
        evaluate(model, *array_pair(name, pair))  # raises for wrong data before the first rate
    results = []
    try:
        for lr in rates:
            model.load_state_dict(start)
            chosen, same_batches = optimizer(model.parameters(), lr=lr), np.random.default_rng(seed)
            try:
                fit(
                    model,
                    train,
                    epochs=epochs,
                    batch_size=batch_size,
                    optimizer=chosen,
                    rng=same_batches,
                    progress=False,
                )
                results.append(evaluate(model, *test))
            except FloatingPointError:
                results.append(Evaluation(float("nan"), float("inf")))
    finally:
        model.load_state_dict(start)
        model.zero_grad()
    return results


def largest_stable_lr(hessian: np.ndarray) -> float:
    """2 / lambda_max: gradient descent on x.Hx / 2 diverges for larger rates and converges for smaller rates.

    hessian H: (n, n). lambda_max is its largest eigenvalue; any number above 0 is accepted, however small.
    ValueError if lambda_max is 0 or less, and if H is not symmetric. A difference between H_ij and H_ji
    counts as rounding, and is accepted, up to 1e-9 of the size of either or 1e-12 of the largest entry.

    >>> from minidl.transfer.finetune import largest_stable_lr
    >>> round(largest_stable_lr(np.array([[4.0, 0.0], [0.0, 1.0]])), 3)
    0.5
    """
    H = check_hessian(hessian)
    largest = np.linalg.eigvalsh(H)[-1]
    require(largest > 0, f"the largest eigenvalue must be positive, got {largest:g}: there is no bound")
    return float(2 / largest)


def descend_quadratic(hessian: np.ndarray, start: np.ndarray, lr: float, steps: int) -> np.ndarray:
    """The path of gradient descent on the function x.Hx / 2: its points, (steps + 1, n), computed in float64.

        x_0 = start        x_{t+1} = x_t - lr H x_t

    hessian H: (n, n), symmetric.  start: (n,).  lr: 0 or more.  steps: 1 or more. All points are finite.
    Along an eigenvector with the eigenvalue lambda, each step multiplies x by 1 - lr lambda.

    >>> from minidl.transfer.finetune import descend_quadratic
    >>> print(descend_quadratic(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([1.0, 4.0]), lr=0.5, steps=2))
    [[1. 4.]
     [0. 2.]
     [0. 1.]]
    """
    H, lr = check_hessian(hessian), check_number("lr", lr, 0)
    path = [check_array("start", start, len(H)).astype(np.float64)]
    for _ in range(positive_int("steps", steps)):
        gradient = H @ path[-1]
        path.append(path[-1] - lr * gradient)
    return np.array(path)


# ---- checks of arguments, and contents of modules


def own_parameters(module: Module) -> list[Parameter]:
    """The parameters of the module itself, without those of the modules within it."""
    return [value for value in vars(module).values() if isinstance(value, Parameter)]


def own_state(module: Module) -> dict[str, np.ndarray]:
    """Copies of the parameters and buffers of the module itself."""
    names = [name for name, value in vars(module).items() if isinstance(value, Parameter)]
    return {name: np.array(getattr(module, name)) for name in [*names, *module._buffer_names]}


def frozen_state(module: Module) -> dict[str, np.ndarray]:
    """The copies that ``freeze`` stored for the module itself; empty if it is not frozen."""
    return vars(module).get("frozen_state", {})


def trainable_children(model: Module) -> list[str]:
    """The names of the children that have parameters, from the input to the output."""
    children = check_instance("model", model, Module).named_children()
    outside = "the model holds parameters outside of its children: name the layers, or move these to a child"
    require(not own_parameters(model), outside)
    return [name for name, child in children if next(child.parameters(), None) is not None]


def check_hessian(hessian: np.ndarray) -> np.ndarray:
    H = check_array("hessian", hessian, "n", "n").astype(np.float64)
    require(np.allclose(H, H.T, rtol=1e-9, atol=1e-12 * np.abs(H).max()), "hessian must be symmetric")
    return H
