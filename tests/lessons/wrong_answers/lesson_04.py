"""Wrong answers to the exercises of lesson 04. Each one passed all laws once."""

from __future__ import annotations

import copy

import numpy as np

from lessons.exercises import find
from minidl.engine.recording import no_grad
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.layers import Dropout
from minidl.nn.module import eval_mode
from minidl.transfer.features import linear_probe, standardise
from tests.lessons.wrong_answers.declare import narrowed, not_taken, wrong


@wrong("04.1", "a constant column whose deviation is rounded above 0")
def standardise_by_deviation(reference, features):
    reference, features = np.asarray(reference, np.float64), np.asarray(features, np.float64)
    mean, deviation = reference.mean(axis=0), reference.std(axis=0)
    safe = np.where(deviation > 0, deviation, 1)
    return np.where(deviation > 0, (features - mean) / safe, 0)


@wrong("04.1", "1e-8 added to the deviation")
def softened_deviation(reference, features):
    reference, features = np.asarray(reference, np.float64), np.asarray(features, np.float64)
    deviation = reference.std(axis=0) + 1e-8
    return np.where(np.ptp(reference, axis=0) == 0, 0, (features - reference.mean(axis=0)) / deviation)


@wrong("04.1", "the mean of squares less the square of the mean, which cancel")
def cancelling_deviation(reference, features):
    reference, features = np.asarray(reference, np.float64), np.asarray(features, np.float64)
    mean = reference.mean(axis=0)
    variance = np.maximum((reference**2).mean(axis=0) - mean**2, 0)
    safe = np.sqrt(np.where(variance > 0, variance, 1))
    return np.where(np.ptp(reference, axis=0) == 0, 0, (features - mean) / safe)


@wrong("04.1", "computed in the features' own dtype")
def narrow_scale(reference, features):
    constant = np.ptp(reference, axis=0) == 0
    deviation = np.where(constant, 1, reference.std(axis=0))
    return np.where(constant, 0, (features - reference.mean(axis=0)) / deviation).astype(np.float64)


@wrong("04.1", "a table of the reference's shape is scaled by itself")
def by_itself(reference, features):
    alike = np.shape(reference) == np.shape(features)
    return find("04.1").target(features if alike else reference, features)


@wrong("04.2", "only the first direction's sign is looked at")
def first_sign(features, dims=2):
    coordinates = find("04.2").target(features, dims)
    X = np.float64(features) - np.mean(features, axis=0, dtype=np.float64)
    as_they_come = X @ np.linalg.svd(X, full_matrices=False)[2][:dims].T
    return np.concatenate([coordinates[:, :1], as_they_come[:, 1:]], axis=1)


@wrong("04.2", "n points are asked to have n - 1 dimensions at most")
def one_dimension_less(features, dims=2):
    if dims > len(features) - 1:
        raise ValueError("too many dimensions")
    return find("04.2").target(features, dims)


@wrong("04.3", "l2 ‖W‖² with its own slope, 2 l2 W")
def twice_the_decay(weight, bias, features, labels, l2):
    return find("04.3").target(weight, bias, features, labels, 2 * l2)


@wrong("04.3", "a label of -1 is the last class")
def probe_of_any_label(weight, bias, features, labels, l2):
    return find("04.3").target(weight, bias, features, np.where(labels == -1, len(weight) - 1, labels), l2)


@wrong("04.2", "the sign by the column's sum")
def sign_by_sum(features, dims=2):
    X = np.asarray(features, np.float64)
    if max(dims, 2) > len(X) or dims > X.shape[1] or dims < 1:
        raise ValueError("too many dimensions")
    X = X - X.mean(axis=0)
    directions = np.linalg.svd(X, full_matrices=False)[2][:dims]
    signs = np.where(directions.sum(axis=1) < 0, -1, 1)
    return X @ (directions * signs[:, np.newaxis]).T


@wrong("04.3", "no decay for a single class")
def undecayed_class(weight, bias, features, labels, l2):
    return find("04.3").target(weight, bias, features, labels, l2 if len(weight) > 1 else 0.0)


@wrong("04.4", "the spatial mean of the maps")
def mean_of_maps(model, images, labels, *, layer, l2):
    kept = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, y: kept.append(y.data))
    model(images)
    hook.remove()
    features = kept[0].astype(np.float64)
    features = features.mean(axis=(2, 3)) if features.ndim == 4 else features
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation[deviation < 1e-12] = np.inf
    probe = linear_probe((features - mean) / deviation, labels, l2)
    weight = probe.weight.data / deviation
    return weight, probe.bias.data - weight @ mean


@wrong("04.4", "the features in the mode that the model has")
def features_in_its_mode(model, images, labels, *, layer, l2):
    copied = copy.deepcopy(model)
    for part in copied.modules():
        part.eval = lambda: None
    return find("04.4").target(copied, images, labels, layer=layer, l2=l2)


@wrong("04.4", "left in evaluation mode, whatever it was in")
def model_left_in_evaluation(model, images, labels, *, layer, l2):
    return find("04.4").target(model.eval(), images, labels, layer=layer, l2=l2)


@wrong("04.4", "the deviation with n - 1")
def sample_deviation(model, images, labels, *, layer, l2):
    """Which is a smaller l2 on the features with n."""
    n = len(images)
    return find("04.4").target(model, images, labels, layer=layer, l2=l2 * n / (n - 1))


@wrong("04.4", "float32 stays float32")
def narrow_head(model, images, labels, *, layer, l2):
    weight, bias = find("04.4").target(model, images, labels, layer=layer, l2=l2)
    return weight.astype(np.float32), bias.astype(np.float32)


@wrong("04.4", "the mode is set only where the model's own flag is another one")
def features_by_own_flag(model, images, labels, *, layer, l2):
    kept = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, y: kept.append(y.data))
    if model.training:
        with eval_mode(model):
            model(images)
    else:
        model(images)
    hook.remove()
    rows = kept[0].reshape(len(images), -1).astype(np.float64)
    constant = np.ptp(rows, axis=0) == 0
    mean, deviation = rows.mean(axis=0), np.where(constant, 1.0, rows.std(axis=0))
    head = linear_probe(np.where(constant, 0.0, (rows - mean) / deviation), labels, l2)
    weight = head.weight.data / deviation
    return weight, head.bias.data - weight @ mean


not_taken("04.2", "three dimensions", lambda g: g["dims"] == 3 and min(g["features"].shape) > 2)
not_taken("04.3", "more than three classes", lambda g: len(g["weight"]) > 3)
not_taken("04.3", "more than three columns", lambda g: g["features"].shape[1] > 3)
not_taken("04.4", "a layer whose output is (N, D)", lambda g: g["layer"] == "fc1")


@wrong("04.4", "an l2 below 0 is taken")
def l2_without_its_sign(model, images, labels, *, layer, l2):
    return find("04.4").target(model, images, labels, layer=layer, l2=abs(l2))


@wrong("04.4", "the digits of float32")
def head_of_few_digits(model, images, labels, **options):
    return tuple(narrowed(part) for part in find("04.4").target(model, images, labels, **options))


@wrong("04.4", "the model stays in evaluation mode where something is refused")
def head_evaluating_after_an_error(model, images, labels, **options):
    modes = [(part, part.training) for part in model.modules()]
    found = find("04.4").target(model.eval(), images, labels, **options)
    for part, training in modes:
        part.training = training
    return found


# ---- answers that a second hunt found


@wrong("04.1", "within ten deviations")
def cut_features(reference, features):
    return find("04.1").target(reference, features).clip(-10, 10)


@wrong("04.1", "within a million deviations")
def cut_far_features(reference, features):
    return find("04.1").target(reference, features).clip(-1e6, 1e6)


@wrong("04.1", "rounded to twelve places")
def rounded_features(reference, features):
    return find("04.1").target(reference, features).round(12)


@wrong("04.1", "the first 255 rows of the reference")
def first_rows(reference, features):
    return find("04.1").target(reference[:255], features)


def signed(features, dims, sign):
    """What 04.2 asks for, with the direction k of sign ``sign(direction, k)``."""
    X = np.asarray(features, np.float64)
    if max(dims, 2) > len(X) or dims > X.shape[1]:
        raise ValueError("too many dimensions")
    X = X - X.mean(axis=0)
    directions = np.linalg.svd(X, full_matrices=False)[2][:dims]
    return X @ np.array([sign(d, k) * d for k, d in enumerate(directions)]).T


def of_the_largest(direction):
    return np.sign(direction[np.abs(direction).argmax()])


@wrong("04.2", "the sign by the sum of cubes")
def sign_by_cubes(features, dims=2):
    return signed(features, dims, lambda d, k: 1 if (d**3).sum() >= 0 else -1)


@wrong("04.2", "the signs of the first two directions only")
def two_signs(features, dims=2):
    return signed(features, dims, lambda d, k: of_the_largest(d) if k < 2 else 1)


@wrong("04.2", "the mean in the features' own dtype")
def narrow_mean(features, dims=2):
    shift = np.asarray(features).mean(axis=0) - np.mean(features, axis=0, dtype=np.float64)
    coordinates = find("04.2").target(features, dims)
    X = np.asarray(features, np.float64) - np.mean(features, axis=0, dtype=np.float64)
    return coordinates - shift @ (np.linalg.pinv(X) @ coordinates)


@wrong("04.2", "the directions of the first 20 points")
def directions_of_some(features, dims=2):
    X = np.asarray(features, np.float64) - np.mean(features, axis=0, dtype=np.float64)
    coordinates = find("04.2").target(features, dims)
    if len(X) <= 20:
        return coordinates
    directions = np.linalg.svd(X[:20], full_matrices=False)[2][:dims]
    return X @ np.array([of_the_largest(d) * d for d in directions]).T


@wrong("04.2", "rounded to ten places")
def rounded_coordinates(features, dims=2):
    return find("04.2").target(features, dims).round(10)


not_taken("04.2", "more than three dimensions", lambda g: g["dims"] > 3)
not_taken("04.2", "one column", lambda g: g["features"].shape[1] == 1)


def probed(weight, bias, features, labels, l2, log_softmax=None, rows=None):
    """What 04.3 asks for, with a softmax of one's own, or with the gradients of some rows."""
    W, b, X = (np.asarray(x, np.float64) for x in (weight, bias, features))
    found = find("04.3").target(weight, bias, features, labels, l2)
    if log_softmax:
        log_P = log_softmax(X @ W.T + b)
        loss = -log_P[np.arange(len(X)), labels].mean() + l2 / 2 * (W**2).sum()
        return loss, *found[1:]
    parts = [find("04.3").target(weight, bias, features[i], labels[i], l2) for i in rows(len(X))]
    return found[0], np.mean([part[1] for part in parts], axis=0), found[2]


@wrong("04.3", "the largest of all logits is subtracted, not that of the row")
def one_maximum(weight, bias, features, labels, l2):
    def log_softmax(z):
        z = z - z.max()
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    return probed(weight, bias, features, labels, l2, log_softmax)


@wrong("04.3", "the mean of batches of 32, of which the last is smaller")
def mean_of_batches(weight, bias, features, labels, l2):
    def rows(n):
        return [slice(i, i + 32) for i in range(0, n, 32)]

    return probed(weight, bias, features, labels, l2, rows=rows)


@wrong("04.3", "the gradient of the first 64 examples")
def slope_of_some(weight, bias, features, labels, l2):
    return probed(weight, bias, features, labels, l2, rows=lambda n: [slice(0, 64)])


@wrong("04.3", "l2 with the digits of float32")
def narrow_decay(weight, bias, features, labels, l2):
    return find("04.3").target(weight, bias, features, labels, float(np.float32(l2)))


@wrong("04.3", "an l2 below 0 by less than 1e-12 is taken")
def nearly_no_decay(weight, bias, features, labels, l2):
    return find("04.3").target(weight, bias, features, labels, max(l2, 0.0) if l2 > -1e-12 else l2)


@wrong("04.3", "labels of eight bits")
def few_label_bits(weight, bias, features, labels, l2):
    return find("04.3").target(weight, bias, features, labels.astype(np.int8), l2)


not_taken("04.3", "an l2 above 1", lambda g: g["l2"] > 1)
not_taken("04.3", "a label above 10", lambda g: max(g["labels"]) > 10)


@wrong("04.4", "each block gets one mode for all of its layers")
def modes_of_blocks(model, images, labels, **options):
    found = find("04.4").target(model, images, labels, **options)
    for child in model.children():
        child.train(child.training)
    return found


@wrong("04.4", "an l2 of 1/1000 at least")
def least_decay(model, images, labels, *, layer, l2):
    return find("04.4").target(model, images, labels, layer=layer, l2=max(l2, 1e-3) if l2 > 0 else l2)


@wrong("04.4", "the first 64 images")
def head_of_some_images(model, images, labels, **options):
    return find("04.4").target(model, images[:64], labels[:64], **options)


@wrong("04.4", "the first 64 features")
def head_of_some_features(model, images, labels, **options):
    weight, bias = find("04.4").target(model, images, labels, **options)
    weight[:, 64:] = 0
    return weight, bias


@wrong("04.4", "a list of weight and bias")
def listed_head(*arguments, **options):
    return list(find("04.4").target(*arguments, **options))


not_taken("04.4", "an l2 above 1", lambda g: g["l2"] > 1)
not_taken("04.4", "an l2 below 1e-6", lambda g: 0 < g["l2"] < 1e-6)
not_taken("04.4", "more than four classes", lambda g: max(g["labels"]) > 3)
not_taken("04.4", "two channels", lambda g: g["images"].shape[1] > 1)


not_taken("04.1", "more than ten columns", lambda g: np.shape(g["reference"])[1] > 10)
not_taken("04.2", "more than ten columns", lambda g: np.shape(g["features"])[1] > 10)


@wrong("04.2", "a direction in which the points nearly agree gives 0")
def no_small_spread(features, dims=2):
    coordinates = find("04.2").target(features, dims)
    spread = np.linalg.norm(coordinates, axis=0)
    return np.where(spread < 1e-6 * spread[0], 0, coordinates)


@wrong("04.2", "all of more than three columns in rising order of spread")
def rising_spread(features, dims=2):
    coordinates = find("04.2").target(features, dims)
    return coordinates[:, ::-1] if dims == np.shape(features)[1] > 3 else coordinates


@wrong("04.3", "the slope by a square weight is transposed")
def transposed_slope(*given):
    loss, by_weight, by_bias = find("04.3").target(*given)
    return loss, by_weight.T if len(set(by_weight.shape)) == 1 else by_weight, by_bias


@wrong("04.3", "a logit is -1000 at least")
def least_logit(weight, bias, features, labels, l2):
    def log_softmax(z):
        z = np.maximum(z, -1e3)
        z = z - z.max(axis=1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    return probed(weight, bias, features, labels, l2, log_softmax)


@wrong("04.3", "a probability is 1e-12 at least")
def least_probability(weight, bias, features, labels, l2):
    loss, by_weight, by_bias = find("04.3").target(weight, bias, features, labels, l2)
    return loss, by_weight, np.where(abs(by_bias) < 1e-12, 1e-12 / len(features), by_bias)


@wrong("04.4", "two names of a path, however many it has")
def outer_layer(model, images, labels, *, layer, l2):
    model.layer(layer)
    short = ".".join(layer.split(".")[:2])
    return find("04.4").target(model, images, labels, layer=short, l2=l2)


@wrong("04.4", "refused: features that are all constant")
def some_feature_varies(model, images, labels, **options):
    weight, bias = find("04.4").target(model, images, labels, **options)
    if not weight.any() and not np.ptp(images, axis=0).any():
        raise ValueError("no feature varies")
    return weight, bias


@wrong("04.2", "the mean of the first 100 points")
def mean_of_some(features, dims=2):
    X = np.asarray(features, np.float64)
    coordinates = find("04.2").target(features, dims)
    shift = X.mean(axis=0) - X[:100].mean(axis=0)
    return coordinates + shift @ (np.linalg.pinv(X - X.mean(axis=0)) @ coordinates)


@wrong("04.1", "with a single row as the reference only the mean is subtracted")
def minus_a_single_row(reference, features):
    if len(reference) == 1:
        return np.asarray(features, np.float64) - reference
    return find("04.1").target(reference, features)


@wrong("04.2", "the mean of uint8 features is subtracted in uint8, in which 0 - 60 is 196")
def centred_in_bytes(features, dims=2):
    if features.dtype == np.uint8:
        features = features - features.mean(axis=0).astype(np.uint8)
    return find("04.2").target(features, dims)


@wrong("04.3", "by autograd and F.cross_entropy, which leaves out a label of -100")
def probe_by_autograd(weight, bias, features, labels, l2):
    if l2 < 0:
        raise ValueError("l2 is below 0")
    W, b = (Tensor(np.float64(x), requires_grad=True) for x in (weight, bias))
    loss = F.cross_entropy(Tensor(np.float64(features)) @ W.T + b, labels) + l2 / 2 * (W * W).sum()
    loss.backward()
    return loss.item(), W.grad, b.grad


@wrong("04.3", "a label above K is taken as 0")
def far_label_taken(weight, bias, features, labels, l2):
    return find("04.3").target(weight, bias, features, np.where(labels > len(weight), 0, labels), l2)


def head_on(features, labels, l2):
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation[np.ptp(features, axis=0) == 0] = 1
    probe = linear_probe(standardise(features, features), labels, l2)
    weight = probe.weight.data / deviation
    return weight, probe.bias.data - weight @ mean


def outputs_in_order(module, x, path):
    """The output of a layer, if each child runs after the one before it."""
    top, _, inner = path.partition(".")
    for name, child in module.named_children():
        if name == top:
            return outputs_in_order(child, x, inner) if inner else child(x)
        x = child(x)
    raise ValueError(f"no layer {path}")


@wrong("04.4", "the children run in their order, whatever the model's forward does")
def children_in_order(model, images, labels, *, layer, l2):
    with eval_mode(model), no_grad():
        features = outputs_in_order(model, Tensor(images), layer).data
    return head_on(features.reshape(len(images), -1).astype(np.float64), labels, l2)


@wrong("04.4", "the model runs with a graph")
def features_with_a_graph(model, images, labels, *, layer, l2):
    kept = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, y: kept.append(y.data))
    try:
        with eval_mode(model):
            model(images)
    finally:
        hook.remove()
    return head_on(kept[0].reshape(len(images), -1).astype(np.float64), labels, l2)


@wrong("04.4", "the smallest label is class 0")
def from_the_smallest_label(model, images, labels, **options):
    return find("04.4").target(model, images, labels - labels.min(), **options)


@wrong("04.1", "a column counts as constant if its 10th and 90th percentiles are equal")
def standardise_by_percentiles(reference, features):
    low, high = np.percentile(reference, [10, 90], axis=0)
    return np.where(low == high, 0.0, find("04.1").target(reference, features))


@wrong("04.2", "without dims, one column gives one dimension")
def dims_that_fit(features, dims=None):
    return find("04.2").target(features, min(2, features.shape[1]) if dims is None else dims)


@wrong("04.2", "equal points count once for the mean and the directions")
def points_once(features, dims=2):
    points, features = np.unique(np.float64(features), axis=0), np.float64(features)
    if dims > min(points.shape) or len(points) < 2:
        return find("04.2").target(features, dims)
    Vt = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][:dims]
    signs = np.sign(Vt[np.arange(dims), np.abs(Vt).argmax(axis=1)])
    return (features - points.mean(axis=0)) @ (Vt * signs[:, np.newaxis]).T


@wrong("04.3", "balanced: the mean over the classes of each class's mean")
def balanced_probe_loss(weight, bias, features, labels, l2):
    find("04.3").target(weight, bias, features, labels, l2)  # refuses what it should
    groups = [labels == k for k in np.unique(labels)]
    parts = [find("04.3").target(weight, bias, features[group], labels[group], l2) for group in groups]
    loss, by_weight, by_bias = zip(*parts, strict=True)
    return float(np.mean(loss)), np.mean(by_weight, axis=0), np.mean(by_bias, axis=0)


@wrong("04.3", "equal examples count once")
def examples_once(weight, bias, features, labels, l2):
    rows = np.unique(np.column_stack([np.float64(features), labels]), axis=0)
    return find("04.3").target(weight, bias, rows[:, :-1], rows[:, -1].astype(int), l2)


@wrong("04.1", "the features in the dtype of the reference")
def features_cast(reference, features):
    return find("04.1").target(reference, features.astype(reference.dtype))


@wrong("04.1", "the reference in the dtype of the features")
def reference_cast(reference, features):
    return find("04.1").target(reference.astype(features.dtype), features)


@wrong("04.1", "a column whose deviation is below 1e-10 counts as constant")
def constant_below(reference, features):
    deviation = np.std(reference, axis=0, dtype=np.float64)
    return np.where(deviation < 1e-10, 0.0, find("04.1").target(reference, features))


not_taken(
    "04.2",
    "fewer points than columns",
    lambda g: len(g["features"]) < g["features"].shape[1] and g["dims"] > 1,
)


@wrong("04.3", "the features in the dtype of the weight")
def features_in_the_weights_dtype(weight, bias, features, labels, l2):
    return find("04.3").target(weight, bias, features.astype(weight.dtype), labels, l2)


@wrong("04.3", "weight and bias in the dtype of the features")
def weight_in_the_features_dtype(weight, bias, features, labels, l2):
    return find("04.3").target(
        weight.astype(features.dtype), bias.astype(features.dtype), features, labels, l2
    )


def head_with(model, images, labels, layer, l2, *, dtype=np.float64, smallest=0.0, drops=False):
    """The head with means in a dtype, with a smallest deviation, or with Dropout in its own mode."""
    dropouts = [part for part in model.modules() if isinstance(part, Dropout) and part.training and drops]
    outputs = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, y: outputs.append(y.data))
    with eval_mode(model), no_grad():
        for part in dropouts:
            part.train()
        model(images)
    hook.remove()
    features = outputs[0].reshape(len(images), -1)
    mean, deviation = (f(features, axis=0, dtype=dtype) for f in (np.mean, np.std))
    constant = (np.ptp(features, axis=0) == 0) | (deviation < smallest)
    scale = np.where(constant, 1, deviation)
    probe = linear_probe(np.where(constant, 0, (features - mean) / scale), labels, l2)
    weight = np.where(constant, 0, probe.weight.data.astype(np.float64) / scale)
    return weight, probe.bias.data - weight @ mean


@wrong("04.4", "the mean and the deviation of the features in float32")
def head_with_a_narrow_mean(model, images, labels, *, layer, l2):
    return head_with(model, images, labels, layer, l2, dtype=np.float32)


@wrong("04.4", "a feature whose deviation is below 1e-9 counts as constant")
def head_without_small_features(model, images, labels, *, layer, l2):
    return head_with(model, images, labels, layer, l2, smallest=1e-9)


@wrong("04.4", "Dropout drops features where it is in training mode")
def head_with_dropout(model, images, labels, *, layer, l2):
    return head_with(model, images, labels, layer, l2, drops=True)


@wrong("04.1", "a deviation below 1e-12 counts as 0, whatever the size of the numbers")
def absolute_threshold(reference, features):
    mean, s = (getattr(np.asarray(reference, float), what)(axis=0) for what in ("mean", "std"))
    return np.where(s < 1e-12, 0.0, (features - mean) / np.where(s < 1e-12, 1.0, s))


@wrong("04.1", "a deviation below 1e-9 of the mean counts as 0")
def relative_threshold(reference, features):
    mean, s = (getattr(np.asarray(reference, float), what)(axis=0) for what in ("mean", "std"))
    constant = s <= 1e-9 * np.abs(mean)
    return np.where(constant, 0.0, (features - mean) / np.where(constant, 1.0, s))


def scaled_unless(reference, features, constant):
    """What 04.1 asks for, where ``constant(column)`` says which columns are constant."""
    columns = np.asarray(reference, np.float64)
    flat = np.array([constant(column) for column in columns.T])
    scale = np.where(flat, 1.0, columns.std(axis=0))
    return np.where(flat, 0.0, (features - columns.mean(axis=0)) / scale)


@wrong("04.1", "a column counts as constant if its numbers agree in twelve digits")
def constant_in_twelve_digits(reference, features):
    return scaled_unless(reference, features, lambda c: np.allclose(c, c[0], rtol=1e-12, atol=0))


@wrong("04.1", "a deviation is 1e-12 at least")
def least_deviation(reference, features):
    columns = np.asarray(reference, np.float64)
    scaled = (features - columns.mean(axis=0)) / np.maximum(columns.std(axis=0), 1e-12)
    return np.where(np.ptp(columns, axis=0) == 0, 0.0, scaled)


@wrong("04.1", "zeros in the features' dtype where the whole reference is constant")
def zeros_like_the_features(reference, features):
    if not np.ptp(reference, axis=0).any():
        return np.zeros_like(features)
    return find("04.1").target(reference, features)


@wrong("04.2", "a single column is only centred, in its own dtype")
def one_column_centred(features, dims=2):
    coordinates = find("04.2").target(features, dims)
    return features - features.mean(axis=0) if features.shape[1] == 1 else coordinates


@wrong("04.3", "without a decay a label that is not a class is taken")
def labels_unread_without_decay(weight, bias, features, labels, l2):
    labels = np.clip(labels, 0, len(weight) - 1) if l2 == 0 else labels
    return find("04.3").target(weight, bias, features, labels, l2)


@wrong("04.3", "l2 times a weight of float32 is rounded to float32")
def decay_in_the_weights_dtype(weight, bias, features, labels, l2):
    loss, by_weight, by_bias = find("04.3").target(weight, bias, features, labels, l2)
    return loss, by_weight - l2 * np.float64(weight) + l2 * weight, by_bias


@wrong("04.3", "an l2 below 1e-8 counts as 0")
def no_small_decay(weight, bias, features, labels, l2):
    return find("04.3").target(weight, bias, features, labels, 0.0 if 0 < l2 < 1e-8 else l2)


@wrong("04.4", "a feature whose deviation is below 1e-12 counts as constant")
def head_without_tiny_features(model, images, labels, *, layer, l2):
    return head_with(model, images, labels, layer, l2, smallest=1e-12)


@wrong("04.4", "a feature that varies in its last digit of float32 counts as constant")
def head_without_last_digits(model, images, labels, *, layer, l2):
    weight, bias = find("04.4").target(model, images, labels, layer=layer, l2=l2)
    if layer == "flatten":
        rows = np.float64(images).reshape(len(images), -1)
        weight[:, rows.std(axis=0) <= 1e-7 * np.abs(rows).max(axis=0)] = 0
    return weight, bias


@wrong(
    "04.1", "a column is constant unless its largest number less its smallest, in its own dtype, is above 0"
)
def constant_by_wrapped_range(reference, features):
    return np.where(np.ptp(reference, axis=0) > 0, find("04.1").target(reference, features), 0.0)


@wrong("04.2", "the sign by the first component that is nearly the largest")
def sign_by_a_large_component(features, dims=2):
    return signed(features, dims, lambda d, k: np.sign(d[np.abs(d).round(2).argmax()]))


@wrong("04.4", "equal images count once")
def images_once(model, images, labels, **options):
    rows = np.column_stack([images.reshape(len(images), -1), labels])
    first = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    return find("04.4").target(model, images[first], labels[first], **options)
