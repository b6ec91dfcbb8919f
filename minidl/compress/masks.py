"""Masks: which weights or filters stay (True) and which are 0 from now on (False)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl.compress.channels import Channels
from minidl.engine.checks import check_array, check_instance, check_int, check_number, number_array, require
from minidl.nn.layers import Conv2d, Linear
from minidl.nn.module import Module, Parameter, dotted

Masks = dict[str, np.ndarray]


class EmptyLayerError(ValueError):
    """A rule would prune a whole layer."""


# ---- of scores and weights


def filter_mask(scores: Any, amount: float | int | None = None, s: float | None = None) -> np.ndarray:
    """The filters to keep, by their scores (O,). The mask is True for a filter that is kept.

        amount:  the round(amount · O) lowest scores are pruned, on a tie the first. A Python int is
                 their number.
        s:       a filter is kept if score > mean + s · std,   std with ddof = 0

    Exactly one of the two is given. Scores may be below 0, and are compared as float64. The amount counts all
    filters, also those that are already pruned: these have the lowest scores, so the next mask includes them.
    round takes halves to even, as in Python. Returns bools (O,). Raises EmptyLayerError, a ValueError, if no
    filter would be kept.

    >>> from minidl import compress
    >>> print(compress.filter_mask([3, 1, 2, 4], amount=0.5))
    [ True False False  True]
    """
    scores = check_array("scores", scores, "O").astype(np.float64)
    require((amount is None) != (s is None), f"give either amount or s, got amount={amount!r} and s={s!r}")
    if s is None:
        keep = np.ones(len(scores), bool)
        keep[np.argsort(scores, kind="stable")[: pruned_count(amount, len(scores))]] = False
    else:
        keep = scores > scores.mean() + check_number("s", s) * scores.std()
    left = f"nothing of {len(scores)} would be kept at amount={amount}, s={s}"
    require(keep.any(), left, EmptyLayerError)
    return keep


def magnitude_mask(weight: Any, amount: float | int) -> np.ndarray:
    """The single weights to keep: ``filter_mask`` with scores |w|. Bools of the weight's shape.

    >>> from minidl import compress
    >>> print(compress.magnitude_mask([[1, -4], [3, 2]], amount=0.5))
    [[False  True]
     [ True False]]
    """
    return filter_mask(magnitudes(weight), amount=amount).reshape(np.shape(weight))


def threshold_mask(weight: Any, s: float) -> np.ndarray:
    """The single weights to keep: |w| > mean(|w|) + s · std(|w|). Bools of the weight's shape.

    >>> from minidl import compress
    >>> print(compress.threshold_mask([[1, -4], [3, 2]], s=0))  # the mean of |w| is 2.5
    [[False  True]
     [ True False]]
    """
    return filter_mask(magnitudes(weight), s=s).reshape(np.shape(weight))


def joint_magnitude_masks(weights: Mapping[str, Any], amount: float | int) -> Masks:
    """One mask for each array. The smallest |w| of all arrays together are pruned, on a tie the first.

    The weights of an array are in the order of ``ravel``, row by row.
    amount: a float is the share of all weights of all arrays, a Python int is the number of weights. |w|
    are compared as float64. Returns a dict with the same names, of bools in the arrays' shapes; False is
    pruned.
    Raises EmptyLayerError, a ValueError, if an array would lose all its weights; ValueError for no arrays.

    >>> joint_magnitude_masks({"a": np.array([2, -5]), "b": np.array([1, 3])}, amount=0.5)
    {'a': array([False,  True]), 'b': array([False,  True])}
    """
    check_instance("weights", weights, Mapping)
    require(len(weights) > 0, "weights must be a dict of at least one array, got an empty one")
    shapes = {name: np.shape(weight) for name, weight in weights.items()}
    keep = filter_mask(np.concatenate([magnitudes(weight) for weight in weights.values()]), amount=amount)
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
    parts = np.split(keep, ends)
    masks = {name: part.reshape(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
    for name, mask in masks.items():
        empty = f"amount={amount} of all weights would leave nothing of {name}"
        require(mask.any(), empty, EmptyLayerError)
    return masks


def global_magnitude_masks(model: Module, amount: float | int) -> Masks:
    """Masks that prune the smallest |w| of all Conv2d and Linear together: {"block1.conv.weight": bools, ...}

    See ``joint_magnitude_masks``.

    >>> from minidl import compress, nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> masks = compress.global_magnitude_masks(model, amount=0.25)
    >>> list(masks), sum(mask.sum() for mask in masks.values()).item()  # 36 of the 48 weights stay
    (['0.weight', '2.weight'], 36)
    """
    return joint_magnitude_masks({path: p.data for path, p in prunable_weights(model).items()}, amount)


# ---- of a model


def apply_masks(model: Module, masks: Mapping[str, Any], x: Any = None) -> Module:
    """Set the weights outside of ``masks`` to 0, and keep them at 0 in all later optimizer steps.

    masks: the path of a Conv2d or Linear -> bools (out,), True for filters to keep; or the path of a
    parameter -> bools of its shape. The channel of a masked filter becomes zero: its weight, its bias, and
    its weight and bias in later BatchNorms. In a residual sum, the same holds for the filters of its
    partners, and in a grouped convolution for the filters that must go together (see ``remove_filters``).

    Each Parameter holds its ``mask``. A step masks the gradient, so that momentum becomes 0, and the result.
    Earlier masks stay. State dicts and checkpoints hold the zeros but not the masks: after loading one into a
    new model, call ``apply_masks(model, zero_masks(model))``.
    x: see ``remove_filters``. Raises ValueError, and masks nothing, for unknown paths, shapes that do not
    fit, filters that cannot be masked, and masks that leave a layer empty. Returns the model.

    >>> from minidl import compress, nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> masked = compress.apply_masks(model, compress.global_magnitude_masks(model, amount=0.25))
    >>> compress.sparsity(masked)
    0.25
    """
    parameters, whole, filters = parameters_of(model), {}, {}
    for path, mask in check_instance("masks", masks, Mapping).items():
        if path in parameters:
            shape = parameters[path].shape
            whole[path] = check_array(f"the mask of {path}", mask, *shape, kind="bool", empty=True)
        else:
            filters[path] = mask
    for path, mask in (parameter_masks(model, filters, x) if filters else {}).items():
        whole[path] = whole.get(path, True) & mask
    for path, mask in whole.items():
        before = parameters[path].mask
        whole[path] = mask if before is None else mask & before
        is_left = mask.ndim <= 1 or whole[path].any()
        require(is_left, f"nothing of {path} would be kept", EmptyLayerError)
    for path, mask in whole.items():
        parameters[path].mask = np.array(mask)
        parameters[path].data = np.where(mask, parameters[path].data, 0)
    return model


def parameter_masks(model: Module, filters: Mapping[str, Any], x: Any = None) -> Masks:
    """The masks of parameters that follow from masks of filters, {layer: bools (out,)}."""
    channels = Channels(model, x)
    dead = np.zeros(0, np.int64)
    for layer, mask in filters.items():
        shape = channels.made(layer).shape
        keep = check_array(f"the mask of {layer}", mask, *shape, kind="bool", empty=True)
        dead = np.append(dead, channels.made_by(layer, ~keep))
    masks = {}
    for path, numbers in [*channels.makes.items(), *channels.norms.items()]:
        keep, module = ~np.isin(numbers, dead), model.layer(path)
        if keep.all():
            continue
        is_left = path not in channels.makes or keep.any()
        require(is_left, f"no filter of {path} would be kept", EmptyLayerError)
        for name in ("weight", "bias"):
            if (parameter := getattr(module, name)) is not None:
                rows = keep.reshape(-1, *[1] * (parameter.ndim - 1))
                masks[dotted(path, name)] = np.broadcast_to(rows, parameter.shape)
    return masks


def zero_masks(model: Module) -> Masks:
    """The masks of a pruned model, from its zeros: {path of a parameter: bools of its shape}.

    Every weight that is 0 is masked. A bias that is 0 is masked if all weights of its filter (or its
    BatchNorm feature) are 0. A layer with only zeros is not masked: no mask leaves a layer empty, so it was
    initialised to 0.
    """
    masks = {}
    for path, module in check_instance("model", model, Module).named_modules():
        weight, bias = (vars(module).get(name) for name in ("weight", "bias"))
        if not isinstance(weight, Parameter) or not weight.data.any():
            continue
        masks[dotted(path, "weight")] = weight.data != 0
        if isinstance(bias, Parameter):
            alive = weight.data.reshape(len(bias.data), -1).any(axis=1)
            masks[dotted(path, "bias")] = alive | (bias.data != 0)
    return {path: mask for path, mask in masks.items() if not mask.all()}


def sparsity(model: Module) -> float:
    """The fraction of zeros among the weights of all Conv2d and Linear; biases and BatchNorm do not count.

    >>> from minidl import compress, nn
    >>> layer = nn.Linear(4, 1)
    >>> layer.weight.data = np.float32([[0, 0, 5, 0]])
    >>> compress.sparsity(layer)
    0.75
    """
    weights = [p.data for p in prunable_weights(model).values()]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.size for w in weights)


def dense_bytes(model: Module) -> int:
    """Bytes of all parameters and buffers."""
    return sum(array.nbytes for array in check_instance("model", model, Module).state_dict().values())


def sparse_bytes(model: Module) -> int:
    """Bytes of the model if each Conv2d and Linear weight is a compressed sparse row matrix (out, rest).

    The rest counts as in ``dense_bytes``.

    Such a matrix holds its nonzero values, the column of each value (4 bytes), and the start of each row. So
    a weight takes twice its bytes, and a zero takes none. This saves memory if more than half are zeros. It
    saves no time: the kernels here are dense and also multiply zeros.

    >>> from minidl import compress, nn
    >>> layer = nn.Linear(4, 1)  # 5 numbers, 20 bytes
    >>> layer.weight.data = np.float32([[0, 0, 5, 0]])
    >>> compress.sparse_bytes(layer)  # 4 for the value, 4 for its column, 8 for the row, 4 for the bias
    20
    """
    from scipy.sparse import csr_array

    total = dense_bytes(model)
    for parameter in prunable_weights(model).values():
        csr = csr_array(parameter.data.reshape(len(parameter.data), -1))
        total += csr.data.nbytes + csr.indices.nbytes + csr.indptr.nbytes - parameter.data.nbytes
    return total


# ---- what arguments are


def pruned_count(amount: float | int | None, total: int) -> int:
    """An amount as a number: round(amount · total) for a float in [0, 1]; an int stays."""
    if isinstance(amount, int | np.integer) and not isinstance(amount, bool):
        return check_int("amount", amount, 0, total)
    return round(check_number("amount", amount, 0, 1) * total)


def magnitudes(weight: Any) -> np.ndarray:
    return np.abs(number_array("weight", weight).astype(np.float64)).ravel()


def parameters_of(model: Module) -> dict[str, Parameter]:
    return dict(check_instance("model", model, Module).named_parameters())


def prunable_weights(model: Module) -> dict[str, Parameter]:
    """The weights of all Conv2d and Linear by their paths. Shared weights come once."""
    parameters = parameters_of(model)
    owners = [dotted(p, "weight") for p, m in model.named_modules() if isinstance(m, Conv2d | Linear)]
    found = {path: parameters[path] for path in owners if path in parameters}
    require(len(found) > 0, "the model has no Conv2d and no Linear: there are no weights to prune")
    return found
