"""Wrong answers to the exercises of lesson 04. Each one passed all laws once."""

from __future__ import annotations

import copy

import numpy as np

from lessons.exercises import find
from minidl.nn.module import eval_mode
from minidl.transfer.features import linear_probe
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


@wrong("04.1", "a column that varies by less than 1e-12 is taken for constant")
def nearly_constant(reference, features):
    constant = np.std(np.float64(reference), axis=0) < 1e-12
    constant |= np.ptp(reference, axis=0) == 0
    return np.where(constant, 0.0, find("04.1").target(reference, features))


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
