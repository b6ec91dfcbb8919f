"""Answers to exercises that look right and are wrong. Each one passed all laws once.

``@wrong("02.1", "...")`` stands on the answer; the text says what is wrong with it.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
from scipy.optimize import minimize_scalar

from lessons.exercises import find
from minidl.engine.op import Op, unbroadcast
from minidl.transfer.finetune import linear_probe

WRONG: list[tuple[str, str, object]] = []  # number, what is wrong, the answer

ALIKE = {  # those that do the same as a named mistake
    "a quotient truncated towards 0 instead of floored, so 0 places instead of an error": [
        "no error, but zero or less"
    ]
}


def wrong(number: str, text: str):
    def declare(answer):
        answer.__name__ = find(number).name
        WRONG.append((number, text, answer))
        return answer

    return declare


@wrong("01.1", "float32 becomes float64")
class WidenedMul(Op):
    def forward(self, a, b):
        self.a, self.b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return self.a * self.b

    def backward(self, grad):
        return unbroadcast(grad * self.b, self.a.shape), unbroadcast(grad * self.a, self.b.shape)


@wrong("01.3", "float32 becomes float64")
def widened_unbroadcast(grad, shape):
    added = tuple(range(grad.ndim - len(shape)))
    summed = grad.astype(np.float64).sum(axis=added)
    stretched = tuple(i for i, n in enumerate(shape) if n == 1)
    return summed.sum(axis=stretched, keepdims=True)


@wrong("01.5", "float32 becomes float64")
class WidenedMatMul(find("01.5").target):
    def forward(self, a, b):
        return super().forward(np.asarray(a, np.float64), np.asarray(b, np.float64))


@wrong("01.5", "a fixed factor of whole numbers is asked for its gradient's dtype")
class WholeGradients(find("01.5").target):
    def backward(self, grad):
        return tuple(g.astype(x.dtype) for g, x in zip(super().backward(grad), (self.b, self.a), strict=True))


@wrong("01.6", "the gradient of the input's sum, not of the input, where it was stretched")
def not_unbroadcast_tape(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    return y, [g.mean() + np.zeros(np.shape(x)) for g, x in zip(grads, inputs, strict=True)]


@wrong("01.6", "an input that nothing reads is left out")
def unread_left_out(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    read = {source for _, *sources in steps for source in sources}
    return y, [g for i, g in enumerate(grads) if i in read]


@wrong("01.6", "a negative number counts from behind")
def numbers_from_behind(inputs, steps):
    counted = [
        (name, *(i % (len(inputs) + k) if i < 0 else i for i in sources))
        for k, (name, *sources) in enumerate(steps)
    ]
    return find("01.6").target(inputs, counted)


@wrong("02.1", "a quotient truncated towards 0 instead of floored, so 0 places instead of an error")
def truncated_size(size, kernel, stride=1, padding=0, dilation=1):
    return int((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1


@wrong("02.1", "a float")
def float_size(size, kernel, stride=1, padding=0, dilation=1):
    if dilation * (kernel - 1) + 1 > size + 2 * padding:
        raise ValueError("the kernel is larger than the image")
    return float((size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)


@wrong("02.4", "the columns in float64")
class WideColumns(find("02.4").target):
    def forward(self, x, weight):
        y = super().forward(x, weight)
        self.columns = self.columns.astype(np.float64)
        return y


@wrong("02.4", "height and width of the stride exchanged")
class ExchangedStride(find("02.4").target):
    def __init__(self, stride=(1, 1)):
        super().__init__(stride[::-1])


@wrong("02.4", "filters of one channel are stretched over all channels")
class StretchedFilters(find("02.4").target):
    def forward(self, x, weight):
        filters = np.broadcast_to(weight, (len(weight), x.shape[1], *weight.shape[2:]))
        return super().forward(x, np.ascontiguousarray(filters))


@wrong("03.1", "float32 stays float32")
def narrow_descent(hessian, start, lr, steps):
    path = [start]
    for _ in range(steps):
        path.append(path[-1] - lr * (hessian @ path[-1]))
    return np.array(path, dtype=np.asarray(start).dtype)


@wrong("03.3", "the count of batches goes on, since only means and variances are kept")
def counted_batches(model, images, labels, num_classes, *, steps, **options):
    losses = find("03.3").target(model, images, labels, num_classes, steps=steps, **options)
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer += steps
    return losses


@wrong("03.3", "the new head is drawn as the old one was, without rng")
def drawn_without_rng(model, images, labels, num_classes, *, rng, **options):
    seed = np.random.default_rng(0)
    return find("03.3").target(model, images, labels, num_classes, rng=seed, **options)


@wrong("03.3", "the losses after the steps")
def losses_after(model, images, labels, num_classes, *, steps, **options):
    start = find("03.3").target(model, images, labels, num_classes, steps=steps, **options)
    logits = model(images).data
    last = -(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[
        np.arange(len(labels)), labels
    ].mean()
    return np.array([*start[1:], last], np.float64)


@wrong("03.4", "only layers with a rate get new statistics")
def statistics_of_trained_layers(model, images, labels, rates):
    before = {name: x.copy() for name, x in model.named_buffers()}
    loss = find("03.4").target(model, images, labels, rates)
    for name, buffer in model.named_buffers():
        if not any(name.startswith(f"{path}.") for path in rates):
            buffer[...] = before[name]
    return loss


@wrong("03.4", "the statistics by momentum, as training has them")
def statistics_by_momentum(model, images, labels, rates):
    before = {name: x.copy() for name, x in model.named_buffers()}
    loss = find("03.4").target(model, images, labels, rates)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer[...] = 0.9 * before[name] + 0.1 * buffer
    return loss


@wrong("03.4", "a rate below 0 is taken")
def any_rate(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, {path: abs(rate) for path, rate in rates.items()})
    return loss


@wrong("04.1", "a constant column whose deviation is rounded above 0")
def standardise_by_deviation(reference, features):
    reference, features = np.asarray(reference, np.float64), np.asarray(features, np.float64)
    mean, deviation = reference.mean(axis=0), reference.std(axis=0)
    safe = np.where(deviation > 0, deviation, 1)
    return np.where(deviation > 0, (features - mean) / safe, 0)


@wrong("04.2", "the sign by the column's sum")
def sign_by_sum(features, dims=2):
    X = np.asarray(features, np.float64)
    if max(dims, 2) > len(X) or dims > X.shape[1] or dims < 1:
        raise ValueError("too many dimensions")
    X = X - X.mean(axis=0)
    directions = np.linalg.svd(X, full_matrices=False)[2][:dims]
    signs = np.where(directions.sum(axis=1) < 0, -1, 1)
    return X @ (directions * signs[:, np.newaxis]).T


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


@wrong("04.4", "the deviation with n - 1")
def sample_deviation(model, images, labels, *, layer, l2):
    """Which is a smaller l2 on the features with n."""
    n = len(images)
    return find("04.4").target(model, images, labels, layer=layer, l2=l2 * n / (n - 1))


@wrong("04.4", "float32 stays float32")
def narrow_head(model, images, labels, *, layer, l2):
    weight, bias = find("04.4").target(model, images, labels, layer=layer, l2=l2)
    return weight.astype(np.float32), bias.astype(np.float32)


@wrong("05.2", "softmax without the maximum")
def unsafe_soft_gradient(student_logits, teacher_logits, temperature):
    p, q = np.exp(student_logits / temperature), np.exp(teacher_logits / temperature)
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    return (p - q) / (temperature * len(p))


@wrong("07.1", "float32 becomes float64")
class WidenedUnitRows(Op):
    def forward(self, z):
        z = z.astype(np.float64)
        largest = np.abs(z).max(axis=1, keepdims=True)
        self.length = largest * np.sqrt(((z / largest) ** 2).sum(axis=1, keepdims=True))
        self.u = z / self.length
        return self.u

    def backward(self, grad):
        along = (self.u * grad).sum(axis=1, keepdims=True)
        return ((grad - self.u * along) / self.length,)


@wrong("07.4", "scores that nearly agree count as ties")
def auc_by_isclose(scores, positive):
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive, bool)
    above, below = scores[positive][:, np.newaxis], scores[~positive]
    tied = np.isclose(above, below)
    return float((np.where(tied, 0.5, above > below)).mean())


@wrong("09.1", "divided by T before the maximum is subtracted")
def divided_first(z, axis=-1, temperature=1.0):
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError("T must be above 0")
    z = np.asarray(z) / temperature
    p = np.exp(z - z.max(axis=axis, keepdims=True))
    return p / p.sum(axis=axis, keepdims=True)


@wrong("09.1", "T of 0 or less is taken")
def any_temperature(z, axis=-1, temperature=1.0):
    p = np.exp((z - z.max(axis=axis, keepdims=True)) / temperature)
    return p / p.sum(axis=axis, keepdims=True)


@wrong("09.2", "rows that do not sum to 1 are taken")
def entropy_of_anything(probabilities, axis=-1):
    p = np.asarray(probabilities)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis) + 0.0


def checked(probabilities, axis):
    p = np.asarray(probabilities)
    if p.min() < 0 or not np.allclose(p.sum(axis=axis), 1, atol=1e-4):
        raise ValueError("not probabilities")
    return p


@wrong("09.2", "probabilities below 1e-6 are left out")
def entropy_without_small(probabilities, axis=-1):
    p = checked(probabilities, axis)
    return -(p * np.log(np.where(p > 1e-6, p, 1))).sum(axis=axis) + 0.0


@wrong("09.2", "1e-12 added inside the logarithm")
def entropy_with_a_little_more(probabilities, axis=-1):
    p = checked(probabilities, axis)
    return -(p * np.log(p + 1e-12)).sum(axis=axis)


@wrong("09.3", "a bin holds its upper end instead of its lower one")
def bins_open_below(probabilities, labels, bins=15):
    p, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
    edges, error = np.linspace(0, 1, bins + 1), 0.0
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(error)


@wrong("09.4", "no warning where the answer is a bound")
def silent_fit(logits, labels, bounds=(0.05, 20.0)):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find("09.4").target(logits, labels, bounds)


@wrong("10.1", "S as a float64")
def wide_scale(rmin, rmax, qmin, qmax):
    low = np.minimum(np.asarray(rmin, np.float64), 0.0)
    high = np.maximum(np.asarray(rmax, np.float64), 0.0)
    S = (high - low) / (qmax - qmin)
    S = np.where(np.finfo(np.float32).tiny > S, 1.0, S)
    return S, np.rint(qmin - low / S).astype(np.int32)


@wrong("10.2", "multiplied by 1/S, which rounds twice")
def by_the_reciprocal(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(r, np.float32) * (np.float32(1) / np.asarray(S, np.float32)))
    return np.clip(steps + np.float32(Z), qmin, qmax)


@wrong("10.2", "whole numbers in float64")
def wide_integers(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(r, np.float32) / np.asarray(S, np.float32))
    return np.clip(steps + np.float32(Z), qmin, qmax).astype(np.float64)


@wrong("10.3", "float32 becomes float64")
class WidenedFakeQuantize(Op):
    def __init__(self, S, Z, qmin, qmax):
        self.inner = find("10.3").target(S, Z, qmin, qmax)

    def forward(self, x):
        return self.inner.forward(x).astype(np.float64)

    def backward(self, grad):
        return (self.inner.backward(grad),)


@wrong("11.4", "the answer is in float64 for a float32 weight")
def wide_fold(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    factor = (1.0 if gamma is None else gamma) / np.sqrt(np.asarray(var, np.float64) + eps)
    shift = (0.0 if bias is None else bias) - np.asarray(mean, np.float64)
    new_weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return new_weight, factor * shift + (0.0 if beta is None else beta)


@wrong("12.1", "summed in float32")
def narrow_norms(conv, order=1):
    weight = np.asarray(getattr(conv, "weight", conv)).reshape(len(getattr(conv, "weight", conv)), -1)
    if order not in (1, 2):
        raise ValueError("order is 1 or 2")
    return np.linalg.norm(weight, ord=order, axis=1)


@wrong("13.1", "ties in any order")
def unstable_order(probabilities, labels, k):
    mistakes = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return mistakes[np.argsort(-probabilities.max(axis=1)[mistakes])][:k]


@wrong("13.2", "the texture counts only where the shape was missed")
def texture_after_shape(predicted, shape_labels, texture_labels, classes):
    by_shape = np.bincount(shape_labels[predicted == shape_labels], minlength=classes)
    texture = (predicted == texture_labels) & (predicted != shape_labels)
    return by_shape, np.bincount(shape_labels[texture], minlength=classes)


@wrong("14.3", "always the last axis but two, which is the channels' for images alone")
def channels_from_behind(gradients, reduce):
    if reduce == "max":
        return np.abs(gradients).max(axis=-3 if gradients.ndim > 3 else -1)
    if reduce == "l2":
        return np.sqrt((gradients**2).sum(axis=-3 if gradients.ndim > 3 else -1))
    return np.abs(gradients)


@wrong("15.1", "an input counts as positive from 1e-12 on")
def positive_from_a_little(grad, x):
    return np.where(x > 1e-12, grad, 0)


@wrong("15.3", "a gradient counts as positive from 1e-6 on")
def guided_from_a_little(grad, x):
    return np.where((x > 0) & (grad > 1e-6), grad, 0)


@wrong("16.3", "refuses a map only where its sum is negative")
def negative_sums_refused(maps, masks):
    maps = np.asarray(maps, np.float64)
    total = maps.sum(axis=(1, 2))
    if total.min() < 0:
        raise ValueError("negative")
    inside, chance = (maps * masks).sum(axis=(1, 2)), np.asarray(masks).mean(axis=(1, 2))
    return np.divide(inside, total, out=chance, where=total > 0)


@wrong("16.3", "1e-12 added to the sum")
def sum_and_a_little(maps, masks):
    maps, masks = np.asarray(maps, np.float64), np.asarray(masks)
    if maps.min() < 0:
        raise ValueError("negative")
    total = maps.sum(axis=(1, 2))
    share = (maps * masks).sum(axis=(1, 2)) / (total + 1e-12)
    return np.where(total == 0, masks.mean(axis=(1, 2)), share)


@wrong("17.1", "takes an array of worths only, no function")
def arrays_only(value, n):
    v = np.asarray(value, np.float64)
    phi = np.zeros(n)
    for i in range(n):
        for mask in range(2**n):
            if not mask >> i & 1:
                s = bin(mask).count("1")
                share = math.factorial(s) * math.factorial(n - s - 1) / math.factorial(n)
                phi[i] += share * (v[mask | 1 << i] - v[mask])
    return phi


@wrong("18.1", "the gradient divided by its size and a little more, which is no sign of a small gradient")
def nearly_sign(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    direction = gradient / (np.abs(gradient) + 1e-12)
    return np.clip(images + eps * (-direction if targeted else direction), *bounds)


@wrong("18.3", "the logarithm of a softmax, which is -inf where the softmax is 0")
def log_of_softmax(logits, r, target, lam):
    exponentials = (logits - logits.max()).exp()
    return lam * (r * r).sum() - (exponentials / exponentials.sum()).log()[target]


@wrong("09.4", "T by a search without its bounds among the candidates")
def inner_minimum(logits, labels, bounds=(0.05, 20.0)):
    z, labels = np.asarray(logits, np.float64), np.asarray(labels)

    def loss(log_T):
        scaled = z / np.exp(log_T)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        logs = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return -logs[np.arange(len(z)), labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=np.log(bounds), method="bounded").x))
