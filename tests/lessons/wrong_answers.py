"""Answers to exercises that look right and are wrong. Each one passed all laws once.

``@wrong("01.5", "a sum of no products in float64")
class WideNothing(find("01.5").target):
    def forward(self, a, b):
        y = super().forward(a, b)
        return y if a.shape[-1] else np.zeros(np.shape(y))


@wrong("01.6", "a name in capitals is taken")
def any_case(inputs, steps):
    return find("01.6").target(inputs, [(name.lower(), *rest) for name, *rest in steps])


@wrong("02.1", "...")`` stands on the answer; the text says what is wrong with it.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import warnings

import numpy as np
from scipy.optimize import minimize_scalar

from lessons.exercises import find
from minidl import nn, relu_rule
from minidl.attack.gradient_sign import (
    LOSSES,
    checked_batch,
    fgsm_step,
    is_flat,
    loss_gradient,
    project,
    warn_of_images_without_gradient,
)
from minidl.compress.masks import EmptyLayerError, global_magnitude_masks, parameter_masks
from minidl.compress.prune import masked_copy
from minidl.engine.backward import grad
from minidl.engine.functions import concatenate
from minidl.engine.op import Op, unbroadcast
from minidl.engine.tensor import Tensor
from minidl.explain import (
    guided_backprop,
    input_gradient,
    integrated_gradients,
    occlusion_map,
    receptive_field,
    top_patches,
)
from minidl.explain.cam import upsample_maps
from minidl.explain.gradients import guided_rule
from minidl.explain.patches import strongest_units
from minidl.explain.shapley import worths_of
from minidl.nn import functional as F
from minidl.nn.layers import BatchNorm
from minidl.nn.module import eval_mode
from minidl.train import predict
from minidl.train.evaluation import evaluate
from minidl.train.loop import fit
from minidl.transfer.features import linear_probe
from minidl.transfer.fewshot import nearest, squared_distances, vote, vote_weights

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


@wrong("01.1", "float32 becomes float64")
class WidenedMul(Op):
    def forward(self, a, b):
        self.a, self.b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return self.a * self.b

    def backward(self, grad):
        return unbroadcast(grad * self.b, self.a.shape), unbroadcast(grad * self.a, self.b.shape)


@wrong("01.1", "an input with more axes that is stretched too is not summed")
class UnsummedLonger(find("01.1").target):
    def backward(self, grad):
        grad_b = grad * self.a
        summed = self.a.ndim >= self.b.ndim
        return unbroadcast(grad * self.b, self.a.shape), (
            unbroadcast(grad_b, self.b.shape) if summed else grad_b
        )


@wrong("01.1", "an empty gradient is given back as it came")
class EmptyAsItCame(find("01.1").target):
    def backward(self, grad):
        return super().backward(grad) if grad.size else (grad.copy(), grad.copy())


@wrong("01.2", "1 - y for negative x, which loses the digits of a small y")
class LostDigits(find("01.2").target):
    def forward(self, x):
        y = 1 / (1 + np.exp(-np.abs(x)))
        self.y = np.where(x >= 0, y, 1 - y)
        return self.y


@wrong("01.2", "the input is rounded to float32")
class NarrowSigmoid(find("01.2").target):
    def forward(self, x):
        return super().forward(narrowed(x))


@wrong("01.2", "the slope is computed in the array of the result")
class OverwrittenResult(find("01.2").target):
    def backward(self, grad):
        y = self.y
        y *= 1 - y
        return grad * y


@wrong("01.3", "float32 becomes float64")
def widened_unbroadcast(grad, shape):
    added = tuple(range(grad.ndim - len(shape)))
    summed = grad.astype(np.float64).sum(axis=added)
    stretched = tuple(i for i, n in enumerate(shape) if n == 1)
    return summed.sum(axis=stretched, keepdims=True)


@wrong("01.3", "of several stretched axes only the first is summed")
def first_stretched(grad, shape):
    added = tuple(range(grad.ndim - len(shape)))
    stretched = [len(added) + i for i, n in enumerate(shape) if n == 1 and grad.shape[len(added) + i] != 1]
    total = grad.sum(axis=added + tuple(stretched[:1]), keepdims=True)
    return total.reshape(shape) if total.size == math.prod(shape) else total


@wrong("01.3", "added and stretched axes together are all summed")
def all_or_one_kind(grad, shape):
    added = tuple(range(grad.ndim - len(shape)))
    stretched = tuple(
        len(added) + i for i, n in enumerate(shape) if n == 1 and grad.shape[len(added) + i] > 1
    )
    if added and stretched:
        grad = grad.sum(keepdims=True)
        return (
            grad.reshape(shape) if grad.size == math.prod(shape) else np.broadcast_to(grad.ravel()[0], shape)
        )
    return unbroadcast(grad, shape)


@wrong("01.3", "an axis of 1 that was stretched to 0 is left")
def longer_axes(grad, shape):
    added = grad.ndim - len(shape)
    longer = tuple(added + i for i, n in enumerate(shape) if n < grad.shape[added + i])
    return grad.sum(axis=(*range(added), *longer), keepdims=True).reshape(shape)


@wrong("01.3", "zeros for an empty gradient, in float64")
def wide_zeros(grad, shape):
    return np.zeros(shape) if 0 in grad.shape else unbroadcast(grad, shape)


@wrong("01.3", "the gradient is rounded to float32")
def narrow_unbroadcast(grad, shape):
    return unbroadcast(narrowed(grad), shape)


@wrong("01.3", "of a square the axes are compared from the left")
def from_the_left(grad, shape):
    if grad.ndim == 2 and grad.shape[:1] == shape == grad.shape[1:]:
        return grad.sum(axis=1)
    return unbroadcast(grad, shape)


@wrong("01.4", "in the order in which nodes are first seen, depth first")
def preorder(root, parents_of):
    order, seen, stack = [], {root}, [root]
    while stack:
        order.append(stack.pop())
        new = [parent for parent in parents_of(order[-1]) if parent not in seen]
        seen.update(new)
        stack += new
    return order


@wrong("01.4", "waits for a child less where a parent stands twice, as in x · x")
def counted_twice(root, parents_of):
    waiting, todo = {}, [root]
    while todo:
        for parent in set(parents_of(todo.pop())):
            todo += [parent] if parent not in waiting else []
            waiting[parent] = waiting.get(parent, 0) + 1
    order, ready = [], [root]
    while ready:
        order.append(ready.pop())
        for parent in parents_of(order[-1]):
            waiting[parent] -= 1
            ready += [parent] if waiting[parent] == 0 else []
    return order


@wrong("01.4", "walks every path, of which there are too many")
def every_path(root, parents_of):
    found = [root]
    for node in found:
        found += parents_of(node)
    return list(dict.fromkeys(found[::-1]))[::-1]


def told_apart_by(name_of):
    """An answer to 01.4 that takes two nodes for one if ``name_of`` gives both the same name."""

    def ordered(root, parents_of):
        names = {name_of(root): root}

        def parents_by_name(name):
            parents = list(parents_of(names[name]))
            for parent in parents:
                names.setdefault(name_of(parent), parent)
            return [name_of(parent) for parent in parents]

        return [names[name] for name in find("01.4").target(name_of(root), parents_by_name)]

    return ordered


wrong("01.4", "nodes are told apart by their text")(told_apart_by(str))
wrong("01.4", "nodes are told apart by their hash")(told_apart_by(hash))


@wrong("01.4", "a node None counts as no node")
def without_none(root, parents_of):
    return find("01.4").target(root, lambda node: [p for p in parents_of(node) if p is not None])


@wrong("01.5", "float32 becomes float64")
class WidenedMatMul(find("01.5").target):
    def forward(self, a, b):
        return super().forward(np.asarray(a, np.float64), np.asarray(b, np.float64))


@wrong("01.5", "a fixed factor of whole numbers is asked for its gradient's dtype")
class WholeGradients(find("01.5").target):
    def backward(self, grad):
        return tuple(g.astype(x.dtype) for g, x in zip(super().backward(grad), (self.b, self.a), strict=True))


@wrong("01.5", "a vector's gradient is the mean over a second stacked axis")
class MeanOfStacks(find("01.5").target):
    def backward(self, grad):
        grad_a, grad_b = super().backward(grad)
        stacked = len(self.b_shape) == 1 and len(self.a_shape) > 3
        return grad_a, grad_b / self.a_shape[0] if stacked else grad_b


@wrong("01.5", "the stacks of a factor with four axes in the other order")
class StacksReversed(find("01.5").target):
    def backward(self, grad):
        self.b = self.b[::-1] if self.b.ndim == 4 else self.b
        return super().backward(grad)


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


@wrong("01.6", "all gradients in the dtype that the inputs have together")
def gradients_of_one_dtype(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    return y, [g.astype(y.dtype) for g in grads]


@wrong("01.6", "only the first step's name is looked at")
def names_after_the_first(inputs, steps):
    known = [(name if name in ("add", "mul", "exp", "sum") else "sum", *rest) for name, *rest in steps[1:]]
    return find("01.6").target(inputs, [*steps[:1], *known])


@wrong("01.6", "the inputs are rounded to float32")
def narrow_tape(inputs, steps):
    return find("01.6").target([narrowed(x) for x in inputs], steps)


@wrong("02.1", "a quotient truncated towards 0 instead of floored, so 0 places instead of an error")
def truncated_size(size, kernel, stride=1, padding=0, dilation=1):
    return int((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1


@wrong("02.1", "a float")
def float_size(size, kernel, stride=1, padding=0, dilation=1):
    if dilation * (kernel - 1) + 1 > size + 2 * padding:
        raise ValueError("the kernel is larger than the image")
    return float((size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)


@wrong("02.1", "only the kernel's size is compared with the image, not its reach")
def size_for_reach(size, kernel, stride=1, padding=0, dilation=1):
    if kernel > size + 2 * padding:
        raise ValueError("the kernel is larger than the image")
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


@wrong("02.1", "no error for a kernel that is too large by less than the stride, but 0 places")
def zero_places(size, kernel, stride=1, padding=0, dilation=1):
    padded, reach = size + 2 * padding, dilation * (kernel - 1) + 1
    if reach > padded + stride - 1:
        raise ValueError("the kernel is larger than the image")
    return (padded - reach) // stride + 1


@wrong("02.2", "the image in float32, which loses digits")
def narrow_columns(image, kernel_size, stride, dilation, columns):
    find("02.2").target(np.float32(image), kernel_size, stride, dilation, columns)


@wrong("02.2", "with a stride the image in float32")
def narrow_with_stride(image, kernel_size, stride, dilation, columns):
    strided = tuple(stride) != (1, 1)
    find("02.2").target(np.float32(image) if strided else image, kernel_size, stride, dilation, columns)


@wrong("02.3", "pixels that no patch reaches keep what stood there")
def unreached_pixels(columns, kernel_size, stride, dilation, image):
    before, reached = image.copy(), np.zeros_like(image)
    find("02.3").target(np.ones_like(columns), kernel_size, stride, dilation, reached)
    find("02.3").target(columns, kernel_size, stride, dilation, image)
    image[reached == 0] = before[reached == 0]


@wrong("02.3", "the image times 0, so that NaN stays")
def times_zero(columns, kernel_size, stride, dilation, image):
    image *= 0
    before = image.copy()
    find("02.3").target(columns, kernel_size, stride, dilation, image)
    image += before


@wrong("02.3", "the columns are rounded to float32")
def narrow_image(columns, kernel_size, stride, dilation, image):
    find("02.3").target(narrowed(columns), kernel_size, stride, dilation, image)


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


@wrong("02.4", "the images are rounded to float32")
class NarrowConvolution(find("02.4").target):
    def forward(self, x, weight):
        return super().forward(narrowed(x), weight)


@wrong("03.1", "float32 stays float32")
def narrow_descent(hessian, start, lr, steps):
    path = [start]
    for _ in range(steps):
        path.append(path[-1] - lr * (hessian @ path[-1]))
    return np.array(path, dtype=np.asarray(start).dtype)


@wrong("03.1", "computed in float32")
def descent_in_float32(hessian, start, lr, steps):
    H, path = np.asarray(hessian, np.float32), [np.asarray(start, np.float32)]
    for _ in range(steps):
        path.append(path[-1] - np.float32(lr) * (H @ path[-1]))
    return np.array(path, np.float64)


@wrong("03.1", "a start of whole numbers makes whole numbers of the path")
def whole_path(hessian, start, lr, steps):
    path = np.empty((steps + 1, len(start)), start.dtype)
    path[0] = start
    for t in range(steps):
        path[t + 1] = path[t] - lr * (hessian @ path[t])
    return path.astype(np.float64)


@wrong("03.1", "the start is rounded to float32")
def start_in_float32(hessian, start, lr, steps):
    return find("03.1").target(hessian, start.astype(np.float32), lr, steps)


@wrong("03.1", "the hessian is rounded to float32")
def narrow_hessian(hessian, start, lr, steps):
    return find("03.1").target(narrowed(hessian), start, lr, steps)


@wrong("03.1", "a step is cut to a million")
def cut_steps(hessian, start, lr, steps):
    path = [np.asarray(start, np.float64)]
    for _ in range(steps):
        path.append(path[-1] - np.clip(lr * (hessian @ path[-1]), -1e6, 1e6))
    return np.array(path)


@wrong("03.1", "a gradient below 1e-9 ends the walk")
def ended_walk(hessian, start, lr, steps):
    path = [np.asarray(start, np.float64)]
    for _ in range(steps):
        gradient = hessian @ path[-1]
        path.append(path[-1] - lr * np.where(np.abs(gradient) > 1e-9, gradient, 0))
    return np.array(path)


@wrong("03.1", "of four directions and more only the diagonal")
def small_ones_coupled(hessian, start, lr, steps):
    H = hessian if len(hessian) < 4 else np.diag(np.diag(hessian))
    return find("03.1").target(H, start, lr, steps)


@wrong("03.2", "a curvature of 1e-12 is taken for 0")
def steep_enough(hessian):
    largest = find("03.2").target(hessian)
    if largest > 2e12:
        raise ValueError("nothing curves upwards")
    return largest


@wrong("03.2", "a matrix that is not symmetric is taken")
def any_matrix(hessian):
    largest = np.linalg.eigvals(hessian).real.max()
    if largest <= 0:
        raise ValueError("nothing curves upwards")
    return float(2 / largest)


@wrong("03.2", "a curvature of 1e-100 is taken for 0")
def steeper_than_tiny(hessian):
    largest = find("03.2").target(hessian)
    if largest > 2e100:
        raise ValueError("nothing curves upwards")
    return largest


@wrong("03.2", "a small matrix is symmetric within 1e-8")
def nearly_symmetric(hessian):
    if abs(hessian - hessian.T).max() > 1e-8:
        raise ValueError("it is not symmetric")
    return find("03.2").target((hessian + hessian.T) / 2)


def head_steps(model, images, labels, num_classes, *, steps, lr, rng, cross_entropy, frozen=True):
    """What 03.3 asks for, but for the loss, and for ``frozen``, without which the steps are in evaluation."""
    width = model.head.in_features
    model.requires_grad_(False)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.frozen = frozen
    if num_classes < 1 or steps < 1 or max(labels) >= num_classes:
        raise ValueError("classes, steps or labels")
    model.head = nn.Linear(width, num_classes, rng=rng)
    losses = []
    for _ in range(steps):
        model.train(frozen).zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        for parameter in model.head.parameters():
            parameter.data = parameter.data - lr * parameter.grad
        losses.append(loss.item())
    model.train()
    return np.array(losses, np.float64)


def indexed_loss(logits, labels):
    return -(logits.softmax(axis=1).log()[np.arange(len(labels)), labels]).mean()


@wrong("03.2", "of a single curvature the size")
def size_of_one(hessian):
    return find("03.2").target(np.abs(hessian) if len(hessian) == 1 else hessian)


@wrong("03.2", "only the corner of the matrix is compared with its transpose")
def symmetric_corner(hessian):
    H = np.asarray(hessian, np.float64)
    if not np.allclose(H[:3, :3], H[:3, :3].T, atol=0):
        raise ValueError("not symmetric")
    largest = np.linalg.eigvalsh(H)[-1]
    if largest <= 0:
        raise ValueError("no bound")
    return float(2 / largest)


@wrong("03.3", "a label of -1 is the last class")
def last_class(model, *given, **options):
    return head_steps(model, *given, **options, cross_entropy=indexed_loss)


@wrong("03.3", "a label of -100 is left out")
def left_out(model, *given, **options):
    def loss(logits, labels):
        if ((labels < 0) & (labels != -100)).any():
            raise ValueError("a label is no class")
        return F.cross_entropy(logits, labels)

    return head_steps(model, *given, **options, cross_entropy=loss)


@wrong("03.3", "the steps in evaluation mode, so that BatchNorm learns as soon as it can")
def batch_norm_thawed(model, *given, **options):
    return head_steps(model, *given, **options, cross_entropy=F.cross_entropy, frozen=False)


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
def later_losses(model, images, labels, num_classes, *, steps, **options):
    start = find("03.3").target(model, images, labels, num_classes, steps=steps, **options)
    logits = model(images).data
    last = -(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[
        np.arange(len(labels)), labels
    ].mean()
    return np.array([*start[1:], last], np.float64)


@wrong("03.3", "the mode is set only where the model's own flag is another one")
def head_by_own_flag(model, images, labels, num_classes, **options):
    modes = [(part, part.training) for part in model.modules() if part is not model.head]
    by_flag = model.training
    losses = find("03.3").target(model, images, labels, num_classes, **options)
    for part, training in modes if by_flag else []:
        part.training = training
    return losses


@wrong("03.3", "each BatchNorm is left in evaluation mode")
def norms_in_evaluation(model, images, labels, num_classes, **options):
    losses = find("03.3").target(model, images, labels, num_classes, **options)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    return losses


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


def finetuned(model, images, labels, rates, *, before="eval", cross_entropy=F.cross_entropy, after="eval"):
    """What 03.4 asks for, but for the loss, and for what is done to the model before and after."""
    layers = {model.layer(path): rate for path, rate in rates.items()}
    was = model.training
    model.train(was and "eval" not in before)
    if "zero" in before:
        model.zero_grad()
    loss = cross_entropy(model(images), labels)
    loss.backward()
    for layer, rate in layers.items():
        for parameter in layer.parameters():
            parameter.data = parameter.data - rate * parameter.grad
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            seen = []
            hook = norm.register_forward_hook(lambda _, x, y, seen=seen: seen.append(x[0].data))
            model.eval()(images)
            hook.remove()
            norm.running_mean[:], norm.running_var[:] = (
                seen[0].mean(axis=(0, 2, 3)),
                seen[0].var(axis=(0, 2, 3)),
            )
    model.train(was and after != "eval")
    return loss.item()


def rates_refused(rates):
    if min(rates.values(), default=0) < 0:
        raise ValueError("a rate below 0")


@wrong("03.4", "what stood in grad already counts")
def stale_step(model, images, labels, rates):
    rates_refused(rates)
    return finetuned(model, images, labels, rates)


@wrong("03.4", "the step in the mode that the model has")
def step_in_its_mode(model, images, labels, rates):
    rates_refused(rates)
    return finetuned(model, images, labels, rates, before="zero")


@wrong("03.4", "the mode is given back")
def mode_given_back(model, images, labels, rates):
    rates_refused(rates)
    return finetuned(model, images, labels, rates, before="zero, eval", after="as before")


@wrong("03.4", "a label of -100 is left out")
def step_without_some(model, images, labels, rates):
    rates_refused(rates)
    return finetuned(model, images, labels, rates, before="zero, eval")


@wrong("03.4", "a frozen BatchNorm keeps its statistics")
def frozen_keeps(model, images, labels, rates):
    before = {
        path: (m.running_mean.copy(), m.running_var.copy())
        for path, m in model.named_modules()
        if isinstance(m, nn.BatchNorm2d) and m.frozen
    }
    loss = find("03.4").target(model, images, labels, rates)
    for path, (mean, var) in before.items():
        model.layer(path).running_mean[:], model.layer(path).running_var[:] = mean, var
    return loss


@wrong("03.4", "BatchNorm is thawed")
def thawed(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, rates)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.frozen = False
    return loss


@wrong("03.4", "the hooks are left in the model")
def step_hooks_left(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, rates)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.register_forward_hook(lambda _, x, y: None)
    return loss


@wrong("03.4", "a rate of 0 is refused")
def some_rate(model, images, labels, rates):
    if min(rates.values(), default=1) <= 0:
        raise ValueError("a rate of 0 or less")
    return find("03.4").target(model, images, labels, rates)


@wrong("03.4", "layers without a rate are frozen for good")
def frozen_for_good(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, rates)
    model.requires_grad_(False)
    for path in rates:
        model.layer(path).requires_grad_(True)
    return loss


@wrong("03.4", "the mode is set only where the model's own flag is another one")
def step_by_own_flag(model, images, labels, rates):
    if model.training:
        return find("03.4").target(model, images, labels, rates)
    mode = model.eval
    model.eval = lambda: model
    try:
        return find("03.4").target(model, images, labels, rates)
    finally:
        model.eval = mode


@wrong("03.4", "only the first rate is looked at")
def first_rate(model, images, labels, rates):
    checked = {path: rate if i == 0 else abs(rate) for i, (path, rate) in enumerate(rates.items())}
    return find("03.4").target(model, images, labels, checked)


@wrong("03.4", "a variance is 1e-5 at least")
def least_variance(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, rates)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            np.maximum(part.running_var, 1e-5, out=part.running_var)
    return loss


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


@wrong("05.1", "the answer in the rows' own dtype, in which a little is lost")
def narrow_means(rows, labels):
    counts = np.bincount(labels, minlength=rows.shape[1])
    if counts.min() == 0:
        raise ValueError("a class without a row")
    sums = np.zeros((rows.shape[1], rows.shape[1]), np.asarray(rows).dtype)
    np.add.at(sums, labels, rows)
    return sums / counts[:, np.newaxis].astype(sums.dtype)


@wrong("05.1", "rows of another label are passed over")
def means_of_known_labels(rows, labels):
    own = [np.float64(rows)[labels == c] for c in range(rows.shape[1])]
    if min(map(len, own)) == 0:
        raise ValueError("a class without a row")
    return np.stack([some.mean(axis=0) for some in own])


@wrong("05.2", "a label of -1 is the last class")
def matching_the_last(student_logits, teacher_logits, labels, *, alpha):
    if labels is not None and np.ndim(labels) == 1:
        labels = np.where(np.array(labels) == -1, student_logits.shape[1] - 1, labels)
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)


@wrong("05.2", "the distance times 0 where alpha is 1, which may be infinite")
def distance_times_nothing(student_logits, teacher_logits, labels, *, alpha):
    if not 0 <= alpha <= 1 or (labels is None and alpha > 0):
        raise ValueError("alpha or labels")
    difference = student_logits - teacher_logits.data
    loss = (1 - alpha) * (difference**2).sum(axis=1).mean()
    return loss if alpha == 0 else loss + alpha * F.cross_entropy(student_logits, labels)


@wrong("05.2", "of a row of probabilities only the largest counts")
def largest_counts(student_logits, teacher_logits, labels, *, alpha):
    if labels is not None and np.ndim(labels) == 2:
        labels = labels.argmax(axis=1)
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)


@wrong("05.2", "an alpha of 1e-9 counts as 0")
def alpha_near_zero(student_logits, teacher_logits, labels, *, alpha):
    small = 0 < alpha < 1e-6
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=0.0 if small else alpha)


@wrong("05.3", "the gradient of KL is lost with the difference")
def kl_without_gradient(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    options = {"temperature": temperature, "teacher_temperature": teacher_temperature, "soft": soft}
    loss = find("05.3").target(student_logits, teacher_logits, **options)
    return loss if soft == "ce" else Tensor(loss.data, requires_grad=True) * 1


@wrong("05.3", "the gradient forgets the teacher's own temperature")
def gradient_at_one_temperature(
    student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"
):
    options = {"temperature": temperature, "soft": soft}
    value = find("05.3").target(
        student_logits, teacher_logits, teacher_temperature=teacher_temperature, **options
    )
    loss = find("05.3").target(student_logits, teacher_logits, **options)
    return (loss - loss.item()) + value.item()


@wrong("05.3", "a KL below 1e-9 is taken for 0")
def no_small_kl(student_logits, teacher_logits, *, soft="ce", **options):
    loss = find("05.3").target(student_logits, teacher_logits, soft=soft, **options)
    return loss - loss.item() if soft == "kl" and loss.item() < 1e-9 else loss


@wrong("05.3", "the teacher's logits are rounded to float32")
def narrow_teacher(student_logits, teacher_logits, **options):
    return find("05.3").target(student_logits, narrowed(teacher_logits.data), **options)


@wrong("05.3", "a teacher's temperature below 1e-3 is raised to it")
def not_so_cold_teacher(student_logits, teacher_logits, *, teacher_temperature=None, **options):
    if teacher_temperature is not None and teacher_temperature > 0:
        teacher_temperature = max(teacher_temperature, 1e-3)
    options = {**options, "teacher_temperature": teacher_temperature}
    return find("05.3").target(student_logits, teacher_logits, **options)


@wrong("05.4", "soft is not handed on")
def always_cross_entropy(z_s, z_t, labels, *, soft="ce", **options):
    return find("05.4").target(z_s, z_t, labels, **options)


def whole_loss(z_s, z_t, labels, *, alpha, beta, temperature, scale_by_tau_squared=False, **options):
    """The loss, for which labels are needed in any case."""
    if labels is None:
        raise ValueError("labels are needed")
    tau = {"temperature": temperature, "scale_by_tau_squared": scale_by_tau_squared}
    return find("05.4").target(z_s, z_t, labels, alpha=alpha, beta=beta, **tau, **options)


wrong("05.4", "labels are needed in any case")(whole_loss)


@wrong("05.4", "the square of the teacher's temperature")
def squared_for_the_teacher(z_s, z_t, labels, *, beta, scale_by_tau_squared=False, **options):
    tau = options.get("teacher_temperature") or 1.0
    return find("05.4").target(
        z_s, z_t, labels, beta=beta * (tau**2 if scale_by_tau_squared else 1), **options
    )


@wrong("05.4", "the teacher's logits are rounded to float32")
def narrow_teacher_of_both(student_logits, teacher_logits, labels, **options):
    return find("05.4").target(student_logits, narrowed(teacher_logits.data), labels, **options)


@wrong("05.4", "KL only where the teacher has the student's temperature")
def kl_at_one_temperature(student_logits, teacher_logits, labels, *, soft="ce", **options):
    soft = soft if options.get("teacher_temperature") is None else "ce"
    return find("05.4").target(student_logits, teacher_logits, labels, soft=soft, **options)


@wrong("05.5", "the teacher learns statistics from the student's images")
def teacher_in_training(teacher, student, images, labels, **settings):
    teacher.train()(images)
    return find("05.5").target(teacher, student, images, labels, **settings)


@wrong("05.5", "the teacher answers in the mode that it has")
def teacher_in_its_mode(teacher, student, images, labels, **settings):
    copied = copy.deepcopy(teacher)
    for part in copied.modules():
        part.eval = lambda: None
    return find("05.5").target(copied, student, images, labels, **settings)


@wrong("05.5", "the teacher is left in evaluation mode, whatever it was in")
def teacher_left_in_evaluation(teacher, student, images, labels, **settings):
    return find("05.5").target(teacher.eval(), student, images, labels, **settings)


@wrong("05.5", "a label of -100 is the first class")
def first_class_for_none(teacher, student, images, labels, **settings):
    return find("05.5").target(teacher, student, images, np.where(labels == -100, 0, labels), **settings)


@wrong("05.5", "the student is left in evaluation mode")
def student_left_in_evaluation(teacher, student, images, labels, **settings):
    value = find("05.5").target(teacher, student, images, labels, **settings)
    student.eval()
    return value


@wrong("05.5", "the loss after the step")
def loss_after(teacher, student, images, labels, **settings):
    find("05.5").target(teacher, student, images, labels, **settings)
    return find("05.5").target(teacher, student, images, labels, **{**settings, "lr": 0.0})


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


@wrong("05.5", "the student's mode is set only where its own flag is another one")
def student_by_own_flag(teacher, student, images, labels, **options):
    own = [student] if student.training else []
    return with_modes("05.5", [teacher, student], images, labels, by_own_flag=own, **options)


@wrong("05.5", "the teacher's mode is set only where its own flag is another one")
def teacher_by_own_flag(teacher, student, images, labels, **options):
    own = [] if teacher.training else [teacher]
    return with_modes("05.5", [teacher, student], images, labels, by_own_flag=own, **options)


@wrong("05.5", "the whole teacher gets the mode of its own flag back")
def one_mode_given_back(teacher, student, images, labels, **options):
    value = find("05.5").target(teacher, student, images, labels, **options)
    teacher.train(teacher.training)
    return value


@wrong("05.5", "alpha = 0: the labels are not looked at")
def labels_unread(teacher, student, images, labels, *, alpha, **options):
    labels = 0 * np.asarray(labels) if alpha == 0 else labels
    return find("05.5").target(teacher, student, images, labels, alpha=alpha, **options)


@wrong("06.1", "float32 becomes float64")
def wide_prototypes(support, labels):
    classes = np.unique(labels)
    return classes, np.stack([np.float64(support)[labels == c].mean(axis=0) for c in classes])


@wrong("06.1", "classes as floats")
def floating_classes(support, labels):
    classes, means = find("06.1").target(support, labels)
    return classes.astype(np.float64), means


@wrong("06.1", "classes as int64")
def long_classes(support, labels):
    classes, means = find("06.1").target(support, labels)
    return classes.astype(np.int64), means


@wrong("06.1", "the rows are rounded to float32")
def narrow_prototypes(support, labels):
    return find("06.1").target(narrowed(support), labels)


@wrong("06.1", "whole numbers are added in their own dtype")
def added_in_their_dtype(support, labels):
    if support.dtype.kind == "f":
        return find("06.1").target(support, labels)
    classes = np.unique(labels)
    rows = [support[labels == c] for c in classes]
    return classes, np.stack([r.sum(axis=0, dtype=r.dtype) / len(r) for r in rows])


@wrong("06.2", "the expanded form, around the mean of the queries")
def expanded_around_the_mean(queries, support):
    q, s = np.float64(queries), np.float64(support)
    q, s = q - np.mean(queries, axis=0), s - np.mean(queries, axis=0)
    return (q**2).sum(axis=1)[:, np.newaxis] + (s**2).sum(axis=1) - 2 * q @ s.T


@wrong("06.2", "differences in the rows' own dtype")
def narrow_differences(queries, support):
    return (np.float64(queries[:, np.newaxis] - support) ** 2).sum(axis=-1)


@wrong("06.2", "float32 stays float32")
def narrow_distances(queries, support):
    return ((queries[:, np.newaxis] - support) ** 2).sum(axis=-1)


@wrong("06.2", "only the first chunk of queries is filled")
def first_chunk(queries, support):
    squared = np.zeros((len(queries), len(support)))
    step = max(1, 2**20 // max(1, support.size))
    squared[:step] = find("06.2").target(queries[:step], support)
    return squared


@wrong("06.2", "a square below 1e-12 is taken for 0")
def no_small_squares(queries, support):
    squared = find("06.2").target(queries, support)
    return np.where(squared < 1e-12, 0, squared)


def vote_of(labels, distances, weights, weight_of):
    if weights not in ("uniform", "distance"):
        raise ValueError("another name for the weights")
    answers = []
    for near, d in zip(labels, distances, strict=True):
        w = weight_of(d) if weights == "distance" else np.ones_like(d)
        standing = [(-w[near == c].sum(), d[near == c].mean(), c) for c in np.unique(near)]
        answers.append(min(standing)[2])
    return np.array(answers)


@wrong("06.2", "the last queries, too few for a whole step, are left out")
def without_the_rest(queries, support):
    squared = np.array(squared_distances(queries, support))
    step = max(1, 2**20 // max(1, np.size(support)))
    rest = len(queries) % step if len(queries) > step else 0
    squared[len(queries) - rest :] = 0
    return squared


@wrong("06.2", "a hundred queries at a time, and the rest is left out")
def by_the_hundred(queries, support):
    squared = np.array(squared_distances(queries, support))
    if len(queries) > 100:
        squared[len(queries) // 100 * 100 :] = 0
    return squared


@wrong("06.3", "1/0 is infinite, for one neighbour at distance 0 as for two")
def infinite_votes(labels, distances, weights="uniform"):
    def weight_of(d):
        with np.errstate(divide="ignore"):
            return 1 / d if d.all() else np.where(d == 0, np.inf, 0)

    return vote_of(labels, distances, weights, weight_of)


@wrong("06.3", "distances that nearly agree count as equal")
def rounded_distances(labels, distances, weights="uniform"):
    return find("06.3").target(labels, np.round(distances, 6), weights)


@wrong("06.3", "any other name for the weights is taken for 1/distance")
def any_weights(labels, distances, weights="uniform"):
    return find("06.3").target(labels, distances, "uniform" if weights == "uniform" else "distance")


@wrong("06.3", "1/(distance + 1e-6), so that touching neighbours do not vote alone")
def nearly_touching(labels, distances, weights="uniform"):
    if weights != "distance":
        return find("06.3").target(labels, distances, weights)
    return find("06.3").target(labels, distances + 1e-6, weights)


@wrong("06.3", "answers as int64")
def long_answers(labels, distances, weights="uniform"):
    return find("06.3").target(labels, distances, weights).astype(np.int64)


@wrong("06.3", "a distance below 1e-12 is taken for 0")
def touching_below(labels, distances, weights="uniform"):
    return find("06.3").target(labels, np.where(distances < 1e-12, 0, distances), weights)


def rounded_vote(labels, distances, weights, votes_to, mean_to):
    w = vote_weights(distances, weights)
    answers = []
    for near, d, own in zip(labels, distances, w, strict=True):
        rows = [(-own[near == c].sum(), d[near == c].mean(), c) for c in np.unique(near)]
        answers.append(
            min((round(float(v), votes_to), round(float(mean), mean_to), c) for v, mean, c in rows)[2]
        )
    return np.array(answers, labels.dtype)


@wrong("06.3", "mean distances are rounded to twelve places")
def rounded_means(labels, distances, weights="uniform"):
    return rounded_vote(labels, distances, weights, 400, 12)


@wrong("06.3", "votes are rounded to nine places")
def rounded_votes(labels, distances, weights="uniform"):
    return rounded_vote(labels, distances, weights, 9, 400)


@wrong("06.3", "the distances of all neighbours, divided by the number of those that vote")
def divided_by_voters(labels, distances, weights="uniform"):
    w = vote_weights(distances, weights)
    answers = []
    for near, d, own in zip(labels, distances, w, strict=True):
        counts = {c: max(np.count_nonzero(own[near == c]), 1) for c in np.unique(near)}
        standing = [(-own[near == c].sum(), d[near == c].sum() / n, c) for c, n in counts.items()]
        answers.append(min(standing)[2])
    return np.array(answers, labels.dtype)


@wrong("06.4", "lengths in the features' own dtype, in which squares overflow")
def narrow_episode(features, labels, **settings):
    support, asked, answers = find("06.4").target(features, labels, **settings)
    with np.errstate(over="ignore"):
        u = features / np.sqrt((features**2).sum(axis=1, keepdims=True))
    near = np.argsort(((u[asked][:, np.newaxis] - u[support]) ** 2).sum(axis=-1), axis=1, kind="stable")
    answers = [np.bincount(labels[support][row] + 9).argmax() - 9 for row in near[:, : settings["k"]]]
    return support, asked, np.array(answers)


@wrong("06.4", "of classes with equal votes the smaller label, however far it is")
def episode_without_distances(features, labels, **settings):
    support, asked, _ = find("06.4").target(features, labels, **settings)
    u = features / np.sqrt((np.float64(features) ** 2).sum(axis=1, keepdims=True))
    near = np.argsort(((u[asked][:, np.newaxis] - u[support]) ** 2).sum(axis=-1), axis=1, kind="stable")
    answers = [np.bincount(labels[support][row] + 9).argmax() - 9 for row in near[:, : settings["k"]]]
    return support, asked, np.array(answers)


@wrong("06.4", "a row of zeros is taken, whatever its direction")
def episode_of_zeros(features, labels, **settings):
    features = np.where(features.any(axis=1, keepdims=True), features, 1)
    return find("06.4").target(features, labels, **settings)


@wrong("06.4", "draws that do not come from rng")
def episode_of_chance(features, labels, *, rng, **settings):
    return find("06.4").target(features, labels, rng=np.random.default_rng(), **settings)


@wrong("06.4", "rows that follow one another, from a drawn one on")
def episode_of_a_block(features, labels, *, ways, shots, queries, k, rng):
    settings = {"ways": ways, "shots": shots, "queries": queries, "k": k}
    support, asked, _ = find("06.4").target(features, labels, rng=rng, **settings)
    for i, c in enumerate(np.unique(labels[support])):
        own = np.flatnonzero(labels == c)
        block = np.roll(own, -rng.integers(len(own)))
        support[i * shots : (i + 1) * shots] = block[:shots]
        asked[i * queries : (i + 1) * queries] = block[shots : shots + queries]
    u = features / np.sqrt((np.float64(features) ** 2).sum(axis=1, keepdims=True))
    d = np.sqrt(squared_distances(u[asked], u[support]))
    near = nearest(d, labels[support], k)
    return support, asked, vote(labels[support][near], np.take_along_axis(d, near, axis=1))


@wrong("06.4", "directions in float32")
def episode_in_float32(features, labels, *, k, **settings):
    support, asked, _ = find("06.4").target(features, labels, k=k, **settings)
    u = features / np.sqrt((np.float64(features) ** 2).sum(axis=1, keepdims=True))
    u = u.astype(np.float32)
    d = np.sqrt(squared_distances(u[asked], u[support]))
    near = nearest(d, labels[support], k)
    return support, asked, vote(labels[support][near], np.take_along_axis(d, near, axis=1))


@wrong("06.4", "a row of zeros is refused where it is drawn, and only there")
def episode_of_drawn_zeros(features, labels, **settings):
    empty = ~features.any(axis=1)
    filled = np.where(empty[:, np.newaxis], 1, features)
    support, asked, answers = find("06.4").target(filled, labels, **settings)
    if empty[support].any() or empty[asked].any():
        raise ValueError("a row of zeros")
    return support, asked, answers


@wrong("06.4", "only classes that are drawn are looked at for their size")
def episode_of_small_classes(features, labels, *, ways, shots, queries, **settings):
    kept = np.isin(labels, [c for c in np.unique(labels) if (labels == c).sum() >= shots + queries])
    rows = np.flatnonzero(kept)
    given = {"ways": ways, "shots": shots, "queries": queries, **settings}
    support, asked, answers = find("06.4").target(features[rows], labels[rows], **given)
    return rows[support], rows[asked], answers


@wrong("07.2", "only a positive's NaN is refused")
def negatives_unread(scores, positive):
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive)
    return find("07.2").target(np.where(np.isnan(scores) & ~positive, -np.inf, scores), positive)


@wrong("07.2", "scores rounded to twelve digits after the point")
def rounded_scores(scores, positive):
    return find("07.2").target(np.round(scores, 12), positive)


@wrong("07.3", "float32 becomes float64")
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


@wrong("06.4", "the rows of all classes are drawn at the same places")
def same_places(features, labels, *, ways, shots, queries, k, rng):
    classes, sizes = np.unique(labels, return_counts=True)
    if len(set(sizes)) == 1:
        place = rng.permutation(sizes[0])
        order = np.concatenate([np.flatnonzero(labels == c)[place] for c in classes])
        fixed = FirstChoice(rng)
        found = find("06.4").target(
            np.asarray(features)[order],
            labels[order],
            ways=ways,
            shots=shots,
            queries=queries,
            k=k,
            rng=fixed,
        )
        return order[found[0]], order[found[1]], found[2]
    return find("06.4").target(features, labels, ways=ways, shots=shots, queries=queries, k=k, rng=rng)


class FirstChoice:
    """Draws classes by ``rng``, and of rows the first ones."""

    def __init__(self, rng):
        self.rng, self.drawn = rng, False

    def choice(self, values, size, replace):
        if self.drawn:
            return values[:size]
        self.drawn = True
        return self.rng.choice(values, size, replace=replace)


@wrong("07.1", "float32 scores for float32 rows")
def narrow_scores(features_a, features_b):
    scores, same = find("07.1").target(features_a, features_b)
    return scores.astype(np.result_type(features_a, features_b)), same


@wrong("07.1", "one image alone is taken")
def one_image_too(features_a, features_b):
    if len(features_a) > 1:
        return find("07.1").target(features_a, features_b)
    return np.ones(1), np.ones(1, bool)


@wrong("07.2", "scores that nearly agree count as ties")
def auc_by_isclose(scores, positive):
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive, bool)
    if np.isnan(scores).any() or positive.all() or not positive.any():
        raise ValueError("NaN, or one kind alone")
    above, below = scores[positive][:, np.newaxis], scores[~positive]
    tied = np.isclose(above, below)
    return float((np.where(tied, 0.5, above > below)).mean())


@wrong("07.1", "views of different shapes are taken")
def any_two_views(features_a, features_b):
    width = min(features_a.shape[1], features_b.shape[1])
    return find("07.1").target(features_a[:, :width], features_b[:, :width])


@wrong("07.1", "the features are rounded to float32")
def narrow_pairs(features_a, features_b):
    return find("07.1").target(narrowed(features_a), narrowed(features_b))


@wrong("07.2", "by differences, of which two infinite scores have none")
def auc_by_differences(scores, positive):
    find("07.2").target(scores, positive)
    difference = scores[positive][:, np.newaxis] - scores[~positive]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


@wrong("07.2", "NaN is below everything")
def auc_of_nan(scores, positive):
    return find("07.2").target(np.where(np.isnan(scores), -np.inf, scores), positive)


@wrong("07.3", "squares overflow")
class OverflowingRows(Op):
    def forward(self, z):
        self.length = np.sqrt((z**2).sum(axis=1, keepdims=True))
        self.u = z / self.length
        return self.u

    def backward(self, grad):
        return (grad - self.u * (self.u * grad).sum(axis=1, keepdims=True)) / self.length


@wrong("07.3", "one largest number for all rows")
class OneScale(find("07.3").target):
    def forward(self, z):
        largest = np.abs(z).max()
        self.length = largest * np.sqrt(((z / largest) ** 2).sum(axis=1, keepdims=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            self.u = z / self.length
        return self.u


@wrong("07.3", "of a single column the gradient without its part along u")
class SingleColumn(find("07.3").target):
    def backward(self, grad):
        return grad / self.length if grad.shape[1] == 1 else super().backward(grad)


@wrong("07.3", "a length is 1e-30 at least")
class LeastLength(find("07.3").target):
    def forward(self, z):
        super().forward(z)
        self.u = z / np.maximum(self.length, 1e-30)
        return self.u


@wrong("07.4", "1e-8 added to the lengths, which the shortest rows feel")
def nt_xent_of_softened_rows(z1, z2, temperature):
    n, z = len(z1), concatenate([z1, z2])
    find("07.4").target(z1, z2, temperature)
    u = z / ((z * z).sum(axis=1, keepdims=True).sqrt() + 1e-8)
    S = (u @ u.T)[~np.eye(2 * n, dtype=bool)].reshape(2 * n, 2 * n - 1)
    partner = np.concatenate([np.arange(n, 2 * n) - 1, np.arange(n)])
    return F.cross_entropy(S, partner, temperature=temperature)


@wrong("07.4", "exponentials of S / T as they stand, which overflow")
def nt_xent_of_exponentials(z1, z2, temperature):
    n, z = len(z1), concatenate([z1, z2])
    find("07.4").target(z1, z2, temperature)
    u = z / (z * z).sum(axis=1, keepdims=True).sqrt()
    e = ((u @ u.T) / temperature).exp() * (1 - np.eye(2 * n)).astype(z.dtype)
    partner = np.roll(np.arange(2 * n), n)
    return -(e[np.arange(2 * n), partner] / e.sum(axis=1)).log().mean()


@wrong("07.4", "a temperature below 0 is taken")
def nt_xent_at_any_temperature(z1, z2, temperature):
    return find("07.4").target(z1, z2, -temperature if temperature < 0 else temperature)


@wrong("07.4", "temperatures below 1e-3 are raised to it")
def not_so_cold(z1, z2, temperature):
    return find("07.4").target(z1, z2, max(temperature, 1e-3) if temperature > 0 else temperature)


@wrong("07.4", "the second view learns only if the first one does")
def second_like_the_first(z1, z2, temperature):
    learns = isinstance(z1, Tensor) and z1.requires_grad
    return find("07.4").target(z1, z2 if learns else z2.data, temperature)


@wrong("07.5", "the loss after each step")
def losses_after(model, images, augment, *, steps, lr, temperature, rng):
    losses = find("07.5").target(
        model, images, augment, steps=steps, lr=lr, temperature=temperature, rng=copy.deepcopy(rng)
    )
    views = [model(augment(images.copy(), rng)) for _ in range(2)]
    return np.append(losses[1:], find("07.4").target(*views, temperature).item())


@wrong("07.5", "left in evaluation mode")
def left_in_evaluation(model, *arguments, **settings):
    losses = find("07.5").target(model, *arguments, **settings)
    model.eval()
    return losses


@wrong("07.5", "one image alone is taken")
def steps_of_one_image(model, images, augment, **settings):
    if len(images) == 1:
        return np.zeros(settings["steps"])
    return find("07.5").target(model, images, augment, **settings)


@wrong("07.5", "the mode is set only where the model's own flag is another one")
def views_by_own_flag(model, images, augment, **options):
    own = [model] if model.training else []
    return with_modes("07.5", [model], images, augment, by_own_flag=own, **options)


@wrong("08.1", "a rate that is rounded to five places")
def rounded_warmup(schedule, warmup_steps, step):
    return round(find("08.1").target(schedule, warmup_steps, step), 5)


@wrong("08.2", "float32 becomes float64")
def wide_smoothing(target, label_smoothing):
    return find("08.2").target(np.asarray(target, np.float64), label_smoothing)


@wrong("08.2", "any share is taken")
def any_share(target, label_smoothing):
    return (1 - label_smoothing) * target + label_smoothing / target.shape[-1]


@wrong("08.2", "K from the second axis, in which the classes need not be")
def classes_of_the_second_axis(target, label_smoothing):
    find("08.2").target(target, label_smoothing)
    eps = target.dtype.type(label_smoothing) if target.dtype.kind == "f" else label_smoothing
    return (1 - eps) * target + eps / target.shape[min(1, target.ndim - 1)]


@wrong("08.2", "the labels are rounded to float32")
def narrow_labels(target, label_smoothing):
    return find("08.2").target(narrowed(target), label_smoothing)


@wrong("08.2", "eps = 0 gives the rows themselves")
def unsmoothed(target, label_smoothing):
    return np.array(target) if label_smoothing == 0 else find("08.2").target(target, label_smoothing)


@wrong("08.2", "eps = 1 gives float64")
def all_smoothed(target, label_smoothing):
    whole = np.full(np.shape(target), 1 / np.shape(target)[-1])
    return whole if label_smoothing == 1 else find("08.2").target(target, label_smoothing)


@wrong("08.2", "float16 becomes float32")
def at_least_float32(target, label_smoothing):
    wide = np.asarray(target, np.result_type(np.asarray(target), np.float32))
    return find("08.2").target(wide, label_smoothing)


@wrong("08.3", "float32 becomes float64")
def wide_gradient(p, target, temperature=1.0):
    return find("08.3").target(np.float64(p), np.float64(target), temperature)


@wrong("08.3", "temperatures below 1e-3 are raised to it")
def no_steep_gradient(p, target, temperature=1.0):
    return find("08.3").target(p, target, max(temperature, 1e-3))


@wrong("08.3", "a sum within 1e-3 of 1 is taken for 1")
def nearly_one(p, target, temperature=1.0):
    total = target.sum(axis=1, keepdims=True)
    total = np.where(np.abs(total - 1) < 1e-3, 1, total).astype(p.dtype)
    return ((p * total - target) / temperature).astype(p.dtype)


@wrong("08.3", "no gradient where p is 0")
def masked_zeros(p, target, temperature=1.0):
    return np.where(p == 0, 0, find("08.3").target(p, target, temperature)).astype(p.dtype)


@wrong("08.3", "a gradient below 1e-9 is 0")
def cleaned(p, target, temperature=1.0):
    rows = find("08.3").target(p, target, temperature)
    return np.where(np.abs(rows) < 1e-9, 0, rows).astype(p.dtype)


@wrong("08.4", "the warmup takes one step more")
def longer_warmup(model, images, labels, *, warmup_steps, **settings):
    more = warmup_steps + (warmup_steps > 0)
    return find("08.4").target(model, images, labels, warmup_steps=more, **settings)


@wrong("08.4", "a label of -100 is the first class")
def careful_with_any_label(model, images, labels, **settings):
    return find("08.4").target(model, images, np.where(labels == -100, 0, labels), **settings)


@wrong("08.4", "the share is spread over the other classes only")
def smoothed_over_others(model, images, labels, *, label_smoothing, **settings):
    classes = len(list(model.parameters())[-1].data)
    share = label_smoothing * classes / max(classes - 1, 1)
    if not 0 <= label_smoothing <= 1:
        raise ValueError("a share is within 0 ... 1")
    return find("08.4").target(model, images, labels, label_smoothing=min(share, 1.0), **settings)


@wrong("08.4", "the mode is set only where the model's own flag is another one")
def careful_by_own_flag(model, images, labels, **options):
    own = [model] if model.training else []
    return with_modes("08.4", [model], images, labels, by_own_flag=own, **options)


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


@wrong("09.1", "of several axes the first alone")
def first_axis(z, axis=-1, temperature=1.0):
    return find("09.1").target(z, axis[0] if isinstance(axis, tuple) else axis, temperature)


@wrong("09.1", "temperatures below 1e-6 are raised to it")
def softmax_not_so_cold(z, axis=-1, temperature=1.0):
    return find("09.1").target(z, axis, max(temperature, 1e-6) if temperature > 0 else temperature)


@wrong("09.1", "the logits are rounded to float32")
def narrow_softmax(z, axis=-1, temperature=1.0):
    return find("09.1").target(narrowed(z), axis, temperature)


@wrong("09.1", "of several axes that count from behind only the last")
def last_of_several(z, axis=-1, temperature=1.0):
    behind = isinstance(axis, tuple) and min(axis) < 0
    return find("09.1").target(z, axis[-1] if behind else axis, temperature)


@wrong("09.1", "of three axes only two")
def two_of_three(z, axis=-1, temperature=1.0):
    return find("09.1").target(z, axis[:2] if isinstance(axis, tuple) else axis, temperature)


@wrong("09.1", "a probability below 1e-12 is 0")
def cut_probabilities(z, axis=-1, temperature=1.0):
    p = find("09.1").target(z, axis, temperature)
    return np.where(p < 1e-12, 0, p).astype(p.dtype)


@wrong("09.2", "a sum of 1.05 passes for 1, and NaN for a probability")
def entropy_of_nearly(probabilities, axis=-1):
    p = np.asarray(probabilities, np.float64)
    if (p < 0).any() or (np.abs(p.sum(axis=axis) - 1) > 0.09).any():
        raise ValueError("not probabilities")
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis) + 0.0


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


@wrong("09.2", "only the mean of the rows' sums is checked")
def mean_of_sums(p, axis=-1):
    p = np.asarray(p, np.float64)
    if not np.isfinite(p).all() or (p < 0).any() or abs(p.sum(axis=axis).mean() - 1) > 1e-3:
        raise ValueError("no probabilities")
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(axis=axis)


@wrong("09.2", "a probability below 1e-12 is left out")
def no_tiny_probabilities(p, axis=-1):
    H = find("09.2").target(p, axis)
    p = np.asarray(p, np.float64)
    tiny = (p > 0) & (p < 1e-12)
    return H + np.where(tiny, p * np.log(np.where(tiny, p, 1)), 0).sum(axis=axis)


@wrong("09.2", "computed in float32 for float32")
def narrow_entropy(probabilities, axis=-1):
    find("09.2").target(probabilities, axis)
    p = np.asarray(probabilities)
    p = p if p.dtype.kind == "f" else p.astype(np.float64)
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis), np.float64)


@wrong("09.2", "of three axes the sums are checked along the last")
def sums_of_the_last(probabilities, axis=-1):
    p = np.asarray(probabilities, np.float64)
    find("09.2").target(p, -1 if p.ndim > 2 else axis)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis)


@wrong("09.2", "axis = -2 is taken for the last")
def last_but_one(probabilities, axis=-1):
    p = np.asarray(probabilities, np.float64)
    find("09.2").target(p, axis)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1 if axis == -2 else axis)


@wrong("09.2", "a probability down to -1e-3 is taken")
def a_little_below(probabilities, axis=-1):
    p = np.asarray(probabilities, np.float64)
    near = (p > -1e-3).all() and np.abs(p.sum(axis=axis) - 1).max() < 1e-3
    if not near:
        find("09.2").target(p, axis)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis)


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


@wrong("09.3", "a label of -100 is taken for class 0")
def marked_as_unknown(probabilities, labels, bins=15):
    return find("09.3").target(probabilities, np.where(np.asarray(labels) == -100, 0, labels), bins)


@wrong("09.4", "no warning where the answer is a bound")
def silent_fit(logits, labels, bounds=(0.05, 20.0)):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find("09.4").target(logits, labels, bounds)


@wrong("09.3", "a label that is no class counts as a mistake")
def ece_of_any_label(probabilities, labels, bins=15):
    p, labels = np.asarray(probabilities), np.asarray(labels)
    target = find("09.3").target
    known = np.where(labels < p.shape[1], labels, (p.argmax(axis=1) + 1) % p.shape[1])
    return target(p, known, bins)


@wrong("09.4", "a label of -1 is the last class")
def fit_of_any_label(logits, labels, bounds=(0.05, 20.0)):
    last = np.shape(logits)[1] - 1
    return find("09.4").target(logits, np.where(np.asarray(labels) < 0, last, labels), bounds)


@wrong("09.4", "no warning where the answer is the upper bound")
def warns_below_only(logits, labels, bounds=(0.05, 20.0)):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        T = find("09.4").target(logits, labels, bounds)
    if bounds[1] != T and T in bounds:
        warnings.warn("a bound", RuntimeWarning, stacklevel=2)
    return T


@wrong("09.4", "the logits in float32, which loses digits")
def logits_in_float32(logits, labels, bounds=(0.05, 20.0)):
    return find("09.4").target(np.float32(logits), labels, bounds)


@wrong("09.4", "bounds of which one is 1 are refused")
def one_inside(logits, labels, bounds=(0.05, 20.0)):
    if not bounds[0] < 1 < bounds[1]:
        raise ValueError("1 must lie between the bounds")
    return find("09.4").target(logits, labels, bounds)


@wrong("09.4", "a warning near a bound, where the loss has a minimum")
def warns_near_a_bound(logits, labels, bounds=(0.05, 20.0)):
    T = find("09.4").target(logits, labels, bounds)
    if T not in bounds and np.isclose(T, bounds).any():
        warnings.warn("a bound", RuntimeWarning, stacklevel=2)
    return T


@wrong("09.3", "a label of -1 is the last class")
def ece_of_the_last(probabilities, labels, bins=15):
    last = np.shape(probabilities)[1] - 1
    return find("09.3").target(probabilities, np.where(np.asarray(labels) < 0, last, labels), bins)


@wrong("09.3", "ten bins by default")
def ten_bins(probabilities, labels, bins=10):
    return find("09.3").target(probabilities, labels, bins)


@wrong("09.3", "twelve bins by default")
def twelve_bins(probabilities, labels, bins=12):
    return find("09.3").target(probabilities, labels, bins)


@wrong("09.3", "one class alone is taken")
def one_class(probabilities, labels, bins=15):
    if np.shape(probabilities)[1:] == (1,):
        return 0.0
    return find("09.3").target(probabilities, labels, bins)


@wrong("09.4", "1e-12 added inside the logarithm, which the farthest labels feel")
def fit_with_a_little_more(logits, labels, bounds=(0.05, 20.0)):
    silent_fit(logits, labels, bounds)  # refuses what it should
    z, rows = np.float64(logits), np.arange(len(labels))

    def loss(log_T):
        p = np.exp((z - z.max(axis=1, keepdims=True)) / np.exp(log_T))
        return -np.log(p[rows, labels] / p.sum(axis=1) + 1e-12).mean()

    found = minimize_scalar(loss, bounds=np.log(bounds), method="bounded").x
    return float(np.exp(min((0.0, *np.log(bounds), found), key=loss)))


@wrong("09.4", "in the logits' own dtype, and T as float32")
def narrow_fit(logits, labels, bounds=(0.05, 20.0)):
    return np.float32(find("09.4").target(logits, labels, bounds))


@wrong("09.4", "a search that stops at T = 1 from below")
def only_below_one(logits, labels, bounds=(0.05, 20.0)):
    silent_fit(logits, labels, bounds)
    return silent_fit(logits, labels, (bounds[0], 1.0)) if bounds[0] < 1 else 1.0


@wrong("09.4", "no warning where the bound is 1")
def unwarned_at_one(logits, labels, bounds=(0.05, 20.0)):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        T = find("09.4").target(logits, labels, bounds)
    for warning in said if T != 1 else []:
        warnings.warn(warning.message, RuntimeWarning, stacklevel=2)
    return T


@wrong("10.1", "a float64 r is divided in float64")
def wide_reals(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(r) / S)
    return np.clip(steps.astype(np.float32) + np.float32(Z), qmin, qmax)


@wrong("10.1", "a float64 S is divided by in float64")
def wide_steps(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(r, np.float32) / np.asarray(S, np.float64)).astype(np.float32)
    return np.clip(steps + np.float32(Z), qmin, qmax)


@wrong("10.1", "S is at least 1e-8")
def least_step(r, S, Z, qmin, qmax):
    return find("10.1").target(r, np.maximum(S, 1e-8), Z, qmin, qmax)


def scaled(rmin, rmax, qmin, qmax, smallest, rounded=np.rint):
    low, high = np.minimum(np.float64(rmin), 0.0), np.maximum(np.float64(rmax), 0.0)
    S = smallest(np.asarray((high - low) / (qmax - qmin), np.float32))
    return S, rounded(qmin - low / S).astype(np.int32)


@wrong("10.2", "one channel without a range, and S is 1 for all")
def all_ones(rmin, rmax, qmin, qmax):
    tiny = np.finfo(np.float32).tiny
    return scaled(rmin, rmax, qmin, qmax, lambda S: np.ones_like(S) if np.any(tiny > S) else S)


@wrong("10.2", "one channel without a range, and all have one S")
def one_for_all_channels(rmin, rmax, qmin, qmax):
    tiny = np.finfo(np.float32).tiny
    return scaled(rmin, rmax, qmin, qmax, lambda S: np.float32(1) if np.any(tiny > S) else S)


@wrong("10.2", "S is 1 only where all channels are without a range")
def ones_for_all_or_none(rmin, rmax, qmin, qmax):
    tiny = np.finfo(np.float32).tiny
    with np.errstate(all="ignore"):
        return scaled(rmin, rmax, qmin, qmax, lambda S: np.ones_like(S) if np.all(tiny > S) else S)


@wrong("10.2", "halves of Z go up")
def halves_up(rmin, rmax, qmin, qmax):
    tiny = np.finfo(np.float32).tiny
    return scaled(
        rmin, rmax, qmin, qmax, lambda S: np.where(tiny > S, np.float32(1), S), lambda Z: np.floor(Z + 0.5)
    )


@wrong("10.3", "halves go up")
class HalvesUp(find("10.3").target):
    def forward(self, x):
        with np.errstate(over="ignore"):
            steps = np.floor(x.astype(np.float32) / self.S + np.float32(0.5)) + self.Z
        self.inside = (steps >= self.qmin) & (steps <= self.qmax)
        return (self.S * (np.clip(steps, self.qmin, self.qmax) - self.Z)).astype(x.dtype)


@wrong("10.2", "S as a float64")
def wide_scale(rmin, rmax, qmin, qmax):
    low = np.minimum(np.asarray(rmin, np.float64), 0.0)
    high = np.maximum(np.asarray(rmax, np.float64), 0.0)
    S = (high - low) / (qmax - qmin)
    S = np.where(np.finfo(np.float32).tiny > S, 1.0, S)
    return S, np.rint(qmin - low / S).astype(np.int32)


@wrong("10.1", "multiplied by 1/S, which rounds twice")
def by_the_reciprocal(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(r, np.float32) * (np.float32(1) / np.asarray(S, np.float32)))
    return np.clip(steps + np.float32(Z), qmin, qmax)


@wrong("10.1", "the first row's Z for all rows")
def first_zero_point(r, S, Z, qmin, qmax):
    return find("10.1").target(r, S, np.ravel(Z)[0], qmin, qmax)


@wrong("10.2", "the range in float32, which does not hold the widest")
def narrow_range(rmin, rmax, qmin, qmax):
    low, high = np.minimum(np.float32(rmin), 0), np.maximum(np.float32(rmax), 0)
    with np.errstate(over="ignore"):
        S = np.float32((high - low) / np.float32(qmax - qmin))
    S = np.where(np.finfo(np.float32).tiny > S, np.float32(1), S)
    return S, np.rint(qmin - low / S).astype(np.int32)


@wrong("10.1", "whole numbers in float64")
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


@wrong("10.3", "the mask leaves out Z")
class MaskWithoutZ(find("10.3").target):
    def forward(self, x):
        y = super().forward(x)
        steps = np.rint(x / self.S)
        self.inside = (steps >= self.qmin) & (steps <= self.qmax)
        return y


@wrong("10.3", "0 times an infinite gradient, which is NaN")
class MaskTimesGradient(find("10.3").target):
    def backward(self, grad):
        return grad * self.inside


@wrong("10.3", "the steps as int32, where large ones wrap around")
class WrappedSteps(find("10.3").target):
    def forward(self, x):
        super().forward(x)
        with np.errstate(all="ignore"):
            steps = np.rint(x / self.S).astype(np.int32) + np.int32(self.Z)
        self.inside = (steps >= self.qmin) & (steps <= self.qmax)
        return (self.S * (np.clip(steps, self.qmin, self.qmax) - self.Z)).astype(x.dtype)


@wrong("11.2", "the answer is in float64 for a float32 weight")
def wide_fold(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    factor = (1.0 if gamma is None else gamma) / np.sqrt(np.asarray(var, np.float64) + eps)
    shift = (0.0 if bias is None else bias) - np.asarray(mean, np.float64)
    new_weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return new_weight, factor * shift + (0.0 if beta is None else beta)


def folded_in(weight, bias, mean, var, gamma, beta, eps):
    factor = (1.0 if gamma is None else gamma) / np.sqrt(var + eps)
    shift = (0.0 if bias is None else bias) - np.asarray(mean, np.float64)
    new_weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    new_bias = factor * shift + (0.0 if beta is None else beta)
    return new_weight.astype(weight.dtype), new_bias.astype(weight.dtype)


@wrong("11.2", "the deviation in the variance's own dtype")
def narrow_deviation(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    if not np.min(var) + eps > 0:
        raise ValueError("var + eps")
    return folded_in(weight, bias, mean, var, gamma, beta, eps)


@wrong("11.2", "without gamma no beta either")
def both_or_none(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    return find("11.2").target(weight, bias, mean, var, gamma, None if gamma is None else beta, eps)


@wrong("11.2", "a variance of NaN is taken")
def variance_of_nan(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    if (np.asarray(var) + eps <= 0).any():
        raise ValueError("var + eps")
    return folded_in(weight, bias, mean, np.asarray(var, np.float64), gamma, beta, eps)


@wrong("11.2", "a variance of 0 is refused, whatever eps is")
def refuses_no_variance(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    if not np.min(var) > 0:
        raise ValueError("var")
    return find("11.2").target(weight, bias, mean, var, gamma, beta, eps)


@wrong("11.3", "the variance taken for the deviation, eps left out")
def no_root_of_the_layers(layer, bn):
    root = copy.deepcopy(bn)
    root.running_var[:], root.eps = bn.running_var**2, 0.0
    return find("11.3").target(layer, root)


@wrong("11.3", "the masks are lost")
def unmasked_layer(layer, bn):
    new = find("11.3").target(layer, bn)
    new.weight.mask = new.bias.mask = None
    return new


@wrong("11.3", "a frozen layer learns again")
def thawed_layer(layer, bn):
    return find("11.3").target(layer, bn).requires_grad_(True)


@wrong("11.3", "the bias learns only where the given one does")
def frozen_bias(layer, bn):
    new = find("11.3").target(layer, bn)
    if layer.bias is not None:
        new.bias.requires_grad_(layer.bias.requires_grad)
    return new


@wrong("11.3", "the new layer is in evaluation mode, whatever the given one is in")
def evaluating_layer(layer, bn):
    return find("11.3").target(layer, bn).eval()


@wrong("11.3", "the given layer is left in evaluation mode")
def left_evaluating(layer, bn):
    return find("11.3").target(layer.eval(), bn)


@wrong("11.3", "the gradients of the old numbers are kept")
def old_gradients(layer, bn):
    new = find("11.3").target(layer, bn)
    new.weight.grad = layer.weight.grad.copy()
    return new


@wrong("11.3", "it learns only where bn learns too")
def learns_with_bn(layer, bn):
    new = find("11.3").target(layer, bn)
    return new.requires_grad_(False) if bn.weight is not None and not bn.weight.requires_grad else new


@wrong("10.4", "one scale for all outputs: the mean of theirs")
def mean_scale(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    return find("10.4").target(qx, S_x, Z_x, qw, np.mean(S_w), qbias, S_y, Z_y, qmin, qmax)


@wrong("10.4", "computed in float64 to the end, where the definition has float32")
def wide_products(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    sums = (qx.astype(np.float64) - Z_x) @ qw.astype(np.float64).T + qbias
    if np.any(sums >= 2**31) or np.any(sums < -(2**31)):
        raise ValueError("32 bits")
    q = np.rint(sums * S_x * np.asarray(S_w, np.float64) / S_y) + Z_y
    return np.clip(q, qmin, qmax).astype(np.uint8 if qmin >= 0 else np.int8)


def rescaled(qx, Z_x, qw, qbias, M, Z_y, qmin, qmax, kind):
    sums = (qx.astype(np.int64) - Z_x) @ qw.astype(np.int64).T + qbias
    if (sums >= 2**31).any() or (sums < -(2**31)).any():
        raise ValueError("a sum does not fit in 32 bits")
    with np.errstate(all="ignore"):
        q = np.rint(sums.astype(np.float32) * M).astype(kind)
    return np.clip(q + Z_y, qmin, qmax).astype(np.uint8 if qmin >= 0 else np.int8)


@wrong("10.4", "the rounded product becomes an int32 before it is clipped")
def clipped_too_late(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    M = np.float32(S_x) * np.float32(S_w) / np.float32(S_y)
    return rescaled(qx, Z_x, qw, qbias, M, Z_y, qmin, qmax, np.int32)


@wrong("10.4", "M stays in float64")
def wide_multiplier(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    M = S_x * np.asarray(S_w, np.float64) / S_y
    return rescaled(qx, Z_x, qw, qbias, M, Z_y, qmin, qmax, np.float64)


@wrong("10.4", "weights of 200 are taken for int8")
def signed_weights(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    return find("10.4").target(qx, S_x, Z_x, qw.astype(np.int8), S_w, qbias, S_y, Z_y, qmin, qmax)


@wrong("10.4", "int32 sums, which wrap around without a word")
def wrapping_sums(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    with np.errstate(over="ignore"):
        sums = (qx.astype(np.int32) - np.int32(Z_x)) @ qw.astype(np.int32).T + qbias
    q = np.rint(sums.astype(np.float32) * (np.float32(S_x) * np.float32(S_w) / np.float32(S_y))) + Z_y
    return np.clip(q, qmin, qmax).astype(np.uint8 if qmin >= 0 else np.int8)


@wrong("10.4", "clipped to what 8 bits hold, whatever the range is")
def range_of_8_bits(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    qmin, qmax = (0, 255) if qmin >= 0 else (-128, 127)
    return find("10.4").target(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax)


@wrong("10.4", "only qmax is looked at")
def only_qmax(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    qmin = 0 if qmin >= 0 else -128
    return find("10.4").target(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax)


@wrong("10.4", "only qmin is looked at")
def only_qmin(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    qmax = 255 if qmin >= 0 else 127
    return find("10.4").target(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax)


@wrong("10.4", "products summed in float32, which does not hold each whole number")
def narrow_sums(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    sums = (qx.astype(np.float32) - Z_x) @ qw.astype(np.float32).T + qbias
    if np.any(sums >= 2**31) or np.any(sums < -(2**31)):
        raise ValueError("32 bits")
    M = np.float32(S_x) * np.asarray(S_w, np.float32) / np.float32(S_y)
    q = np.clip(np.rint(sums.astype(np.float32) * M) + Z_y, qmin, qmax)
    return q.astype(np.uint8 if qmin >= 0 else np.int8)


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


@wrong("10.4", "products wrap around in int32, the bias does not")
def products_wrap(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    products = (qx.astype(np.int64) - Z_x).astype(np.int32) @ qw.T.astype(np.int32)
    sums = products.astype(np.int64) + qbias
    if (sums < -(2**31)).any() or (sums >= 2**31).any():
        raise ValueError("a sum does not fit in 32 bits")
    M = np.float32(S_x) * np.asarray(S_w, np.float32) / np.float32(S_y)
    q = np.clip(np.rint(sums.astype(np.float32) * M) + Z_y, qmin, qmax)
    return q.astype(np.uint8 if qmin >= 0 else np.int8)


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
    return model, history[: accepted + 1], accepted


@wrong("12.5", "accepted counts the unpruned network too")
def counts_the_whole_network(model, *given, **params):
    model, history, accepted = find("12.5").target(model, *given, **params)
    return model, history, accepted + 1


@wrong("12.5", "the whole network comes back where the budget was broken")
def all_or_nothing(model, *given, **params):
    pruned, history, accepted = find("12.5").target(model, *given, **params)
    return (pruned if accepted == len(history) - 1 else copy.deepcopy(model)), history, accepted


@wrong("12.5", "the masks are forgotten: zeros learn again")
def without_masks(model, train, validation, **params):
    pruned, history, accepted = find("12.5").target(model, train, validation, **params)
    for parameter in pruned.parameters():
        parameter.mask = None
    if params["finetune_epochs"]:
        fit(pruned, train, epochs=1, progress=False)
    return pruned, history, accepted


@wrong("12.5", "rng is ignored")
def loop_without_rng(*given, rng=None, **params):
    return find("12.5").target(*given, **params, rng=np.random.default_rng(0))


@wrong("12.5", "one epoch at most")
def one_epoch(*given, finetune_epochs, **params):
    return find("12.5").target(*given, **params, finetune_epochs=min(finetune_epochs, 1))


@wrong("12.5", "the sparsity of the network that was given counts as 0")
def dense_at_first(*given, **params):
    model, history, accepted = find("12.5").target(*given, **params)
    return model, [history[0]._replace(sparsity=0.0), *history[1:]], accepted


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
        return found, history, accepted
    row = evaluate(candidate, *validation)
    return candidate, [*history, history[-1]._replace(amount=1.0, loss=row.loss)], accepted + 1


@wrong("12.5", "a budget of NaN allows anything")
def budget_of_nan(*given, max_allowed_loss, **params):
    budget = 99.0 if np.isnan(max_allowed_loss) else max_allowed_loss
    return find("12.5").target(*given, **params, max_allowed_loss=budget)


@wrong("12.5", "the network is left in evaluation mode")
def loop_left_evaluating(model, *given, **params):
    return find("12.5").target(model.eval(), *given, **params)


@wrong("12.5", "the network is thawed")
def loop_thaws(model, *given, **params):
    return find("12.5").target(model.requires_grad_(True), *given, **params)


@wrong("13.1", "0 of the mistakes are all")
def all_for_none(probabilities, labels, k):
    return find("13.1").target(probabilities, labels, k or len(labels))


@wrong("13.1", "ties in any order")
def unstable_order(probabilities, labels, k):
    mistakes = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return mistakes[np.argsort(-probabilities.max(axis=1)[mistakes])][:k]


@wrong("13.1", "the lead over the second for the confidence")
def by_the_lead(probabilities, labels, k):
    mistakes = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    first_two = np.sort(probabilities[mistakes], axis=1)[:, -2:]
    return mistakes[np.argsort(first_two[:, 0] - first_two[:, 1], kind="stable")][:k]


@wrong("13.2", "the texture counts only where the shape was missed")
def texture_after_shape(predicted, shape_labels, texture_labels, classes):
    by_shape = np.bincount(shape_labels[predicted == shape_labels], minlength=classes)
    texture = (predicted == texture_labels) & (predicted != shape_labels)
    return by_shape, np.bincount(shape_labels[texture], minlength=classes)


@wrong("13.2", "in int8, which ends at 127")
def narrow_counts(predicted, shape_labels, texture_labels, classes):
    found = find("13.2").target(predicted, shape_labels, texture_labels, classes)
    return tuple(counted.astype(np.int8) for counted in found)


@wrong("13.3", "float64 becomes float32")
def narrow_maxima(activations):
    values, places = find("13.3").target(activations)
    return values.astype(np.float32), places


@wrong("13.3", "units that nearly agree count as ties")
def nearly_equal_units(activations):
    flat = activations.reshape(*activations.shape[:2], -1)
    first = np.isclose(flat, flat.max(axis=2, keepdims=True), atol=1e-9).argmax(axis=2)
    return flat.max(axis=2), np.stack(np.divmod(first, activations.shape[3]), axis=2)


@wrong("13.4", "what sees everything begins to see pixels again")
def everything_ends(span, kernel, stride, padding, dilation=1):
    found = find("13.4").target(span, kernel, stride, padding, dilation)
    return found._replace(step=max(found.step, 1))


@wrong("14.1", "always the last axis but two, which is the channels' for images alone")
def channels_from_behind(gradients, reduce):
    if reduce == "max":
        return np.abs(gradients).max(axis=-3 if gradients.ndim > 3 else -1)
    if reduce == "l2":
        return np.sqrt((gradients**2).sum(axis=-3 if gradients.ndim > 3 else -1))
    return np.abs(gradients)


@wrong("14.2", "windows counted in int8, which ends at 127")
def narrow_count_of_windows(drops, size, window, stride):
    total, count = np.zeros((len(drops), *size), drops.dtype), np.zeros(size, np.int8)
    for i, j in np.ndindex(drops.shape[1:]):
        top, left = i * stride[0], j * stride[1]
        total[:, top : top + window[0], left : left + window[1]] += drops[:, i, j, None, None]
        with np.errstate(over="ignore"):
            count[top : top + window[0], left : left + window[1]] += 1
    return (total / count).astype(drops.dtype)


@wrong("14.3", "64 nodes at most")
def few_nodes(steps, nodes="gauss"):
    return find("14.3").target(min(steps, 64), nodes)


@wrong("14.3", "in float32 on the way")
def narrow_nodes(steps, nodes="gauss"):
    return tuple(np.float64(np.float32(part)) for part in find("14.3").target(steps, nodes))


@wrong("13.5", "counts the images within a batch of 128")
def within_a_batch(model, layer, images, k):
    found = top_patches(model, layer, images, k)
    return found._replace(images=found.images % 128)


@wrong("13.5", "the box lies around the unit's place in the layer, not in the image")
def around_the_place(model, layer, images, k):
    found, field = top_patches(model, layer, images, k), receptive_field(model, layer, images.shape[1:])
    one_step = [span._replace(step=min(span.step, 1)) for span in field]
    boxes = [[field._make(one_step).box(p, q, images.shape[2:]) for p, q in row] for row in found.places]
    return found._replace(boxes=np.array(boxes))


@wrong("13.5", "of equal images the last comes first")
def last_of_equals(model, layer, images, k):
    top_patches(model, layer, images, k)
    found = top_patches(model, layer, images, len(images))
    order = np.lexsort((-found.images, -found.values), axis=1)[:, :k]
    channels = np.arange(len(order))[:, np.newaxis]
    return tuple(part[channels, order] for part in found)


def run_up_to(model, layer, images):
    outputs = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    model(Tensor(images))
    hook.remove()
    return outputs[0].data


@wrong("13.5", "by the batch's statistics where the model is in training mode")
def patches_in_training(model, layer, images, k):
    found = top_patches(model, layer, images, k)
    if not model.training:
        return found
    outputs = run_up_to(copy.deepcopy(model), layer, images)
    values, places = strongest_units(outputs.reshape(*outputs.shape[:2], *(outputs.shape[2:] or (1, 1))))
    best = np.argsort(-values, axis=0, kind="stable")[:k].T
    channels = np.arange(len(best))[:, np.newaxis]
    return found._replace(values=values[best, channels], images=best, places=places[best, channels])


@wrong("13.5", "the model is left in evaluation mode")
def patches_left_evaluating(model, layer, images, k):
    return top_patches(model.eval(), layer, images, k)


@wrong("13.5", "the model is thawed")
def patches_thaw(model, layer, images, k):
    return top_patches(model.requires_grad_(True), layer, images, k)


@wrong("13.5", "outputs are not looked at for infinities")
def patches_of_infinities(model, layer, images, k):
    try:
        return top_patches(model, layer, images, k)
    except ValueError:
        if not np.isfinite(images).all() or not 1 <= k <= len(images) or images.ndim != 4:
            raise
        return top_patches(model, layer, images / 4, k)


@wrong("14.4", "all images are asked for the class of the first")
def first_class_for_all(model, images, target=None, **options):
    target = int(np.ravel(target)[0]) if isinstance(target, np.ndarray) else target
    return occlusion_map(model, images, target, **options)


@wrong("14.4", "a map above 0 only")
def only_losses(model, images, target=None, **options):
    return np.maximum(occlusion_map(model, images, target, **options), 0)


@wrong("14.4", "float32 becomes float64")
def wide_map(model, images, target=None, **options):
    return occlusion_map(model, images, target, **options).astype(np.float64)


@wrong("14.4", "the model is left in evaluation mode")
def occlusion_left_evaluating(model, images, target=None, **options):
    return occlusion_map(model.eval(), images, target, **options)


@wrong("14.4", "the model is thawed")
def occlusion_thaws(model, images, target=None, **options):
    return occlusion_map(model.requires_grad_(True), images, target, **options)


@wrong("14.4", "float64 images are computed with in float32")
def narrow_occlusion(model, images, target=None, **options):
    return occlusion_map(model, np.float32(images), target, **options).astype(images.dtype)


@wrong("14.5", "always middles of equal parts")
def always_middles(model, images, target=None, *, nodes="gauss", **options):
    integrated_gradients(model, images, target, nodes=nodes, **options)
    return integrated_gradients(model, images, target, nodes="midpoint", **options)


@wrong("14.5", "magnitudes")
def no_sign(model, images, target=None, **options):
    return np.abs(integrated_gradients(model, images, target, **options))


@wrong("14.5", "the baseline of noise is drawn anew")
def drawn_again(model, images, target=None, *, rng=None, **options):
    if rng is not None:
        rng.random(images.shape)
    return integrated_gradients(model, images, target, rng=rng, **options)


@wrong("14.5", "64 nodes at most")
def path_of_few_nodes(model, images, target=None, *, steps=64, **options):
    return integrated_gradients(model, images, target, steps=min(steps, 64), **options)


@wrong("14.5", "the model is left in evaluation mode")
def path_left_evaluating(model, images, target=None, **options):
    return integrated_gradients(model.eval(), images, target, **options)


@wrong("14.5", "the model is thawed")
def path_thaws(model, images, target=None, **options):
    return integrated_gradients(model.requires_grad_(True), images, target, **options)


@wrong("14.5", "the gradients of the parameters grow")
def path_by_backward(model, images, target=None, **options):
    x = Tensor(images, requires_grad=True)
    model(x).sum().backward()
    return integrated_gradients(model, images, target, **options)


@wrong("14.5", "float64 images are computed with in float32")
def narrow_path(model, images, target=None, **options):
    return integrated_gradients(model, np.float32(images), target, **options).astype(images.dtype)


@wrong("15.1", "an input counts as positive from 1e-12 on")
def positive_from_a_little(grad, x):
    return np.where(x > 1e-12, grad, 0)


@wrong("15.1", "a product with the mask: an infinite gradient becomes NaN")
def product_with_the_mask(grad, x):
    return grad * (x > 0)


@wrong("15.1", "the dtype of the input where that is wider")
def dtype_of_the_input(grad, x):
    return np.where(x > 0, grad, x * 0)


@wrong("15.2", "a product with the mask: an infinite gradient becomes NaN")
def product_of_signs(grad, x):
    return grad * (grad > 0)


@wrong("15.2", "float64 becomes float32")
def narrow_deconvnet(grad, x):
    return np.maximum(grad, 0).astype(np.float32)


@wrong("15.3", "a gradient counts as positive from 1e-6 on")
def guided_from_a_little(grad, x):
    return np.where((x > 0) & (grad > 1e-6), grad, 0)


@wrong("15.3", "a product with both masks: an infinite gradient becomes NaN")
def product_with_both(grad, x):
    return grad * (grad > 0) * (x > 0)


@wrong("15.3", "asked that the product be positive, which is 0 for small ones")
def small_products(grad, x):
    return np.where((x > 0) & (x * grad > 0), grad, 0)


@wrong("15.3", "the dtype of the input")
def guided_like_the_input(grad, x):
    return np.where((x > 0) & (grad > 0), grad, 0).astype(x.dtype)


def guided_by_hooks(model, images, classes, layers, mode):
    """Takes its hooks off again, but not where an error comes before."""

    def run(module, inputs, output):
        with relu_rule(guided_rule):
            return module.forward(*inputs)

    hooks, seen = [], set()
    for path in layers:
        for part in model.layer(path).modules():
            if isinstance(part, nn.ReLU) and part not in seen:
                seen.add(part)
                hooks.append(part.register_forward_hook(run))
    x = Tensor(images, requires_grad=True)
    with mode(model):
        logits = model(x)
        find("15.4").target(model, images, classes, ())  # what it refuses
    for hook in hooks:
        hook.remove()
    return grad(logits[np.arange(len(images)), classes].sum(), x)


@wrong("15.4", "the hooks of the layers before an unknown path stay in the model")
def hooks_before_an_unknown_path(model, images, classes, layers):
    if len(classes) != len(images) or not set(np.ravel(classes)) <= {0, 1, 2}:
        raise ValueError("classes")
    return guided_by_hooks(model, images, classes, layers, eval_mode)


@wrong("15.4", "the hooks stay where classes are refused")
def hooks_of_refused_classes(model, images, classes, layers):
    for path in layers:
        model.layer(path)  # what it refuses
    return guided_by_hooks(model, images, classes, layers, eval_mode)


@wrong("15.4", "the model stays in evaluation mode where classes are refused")
def evaluating_after_an_error(model, images, classes, layers):
    training = model.training
    model.eval()
    maps = find("15.4").target(model, images, classes, layers)
    model.train(training)
    return maps


def left_after_an_error(number):
    """The library's function, which leaves its model in evaluation mode where it raises an error."""

    def answer(model, *arguments, **params):
        training = model.training
        found = find(number).target(model.eval(), *arguments, **params)
        model.train(training)
        return found

    return answer


for several in ("12.4", "13.5", "14.4", "14.5", "17.4", "18.6"):
    wrong(several, "the model stays in evaluation mode where something is refused")(
        left_after_an_error(several)
    )


@wrong("15.4", "leaves its hooks in the model")
def hooks_left(model, images, classes, layers):
    parts = [part for path in layers for part in model.layer(path).modules()]

    def run(module, inputs, output):
        with relu_rule(guided_rule):
            return module.forward(*inputs)

    for part in parts:
        if isinstance(part, nn.ReLU):
            part.register_forward_hook(run)
    x = Tensor(images, requires_grad=True)
    return grad(model(x)[np.arange(len(images)), classes].sum(), x)


@wrong("15.4", "the map of guided backprop where any layer is named, else the gradient")
def any_layer_is_all(model, images, classes, layers):
    return (guided_backprop if layers else input_gradient)(model, images, classes)


@wrong("15.4", "the model is thawed")
def guided_thaws(model, images, classes, layers):
    return find("15.4").target(model.requires_grad_(True), images, classes, layers)


@wrong("15.4", "all layers whose path begins as a given one does")
def paths_that_begin_so(model, images, classes, layers):
    named = [name for name, _ in model.named_modules() if any(name.startswith(path) for path in layers)]
    return find("15.4").target(model, images, classes, (*layers, *named))


@wrong("16.1", "refuses a map only where its sum is negative")
def negative_sums_refused(maps, masks):
    maps = np.asarray(maps, np.float64)
    total = maps.sum(axis=(1, 2))
    if total.min() < 0:
        raise ValueError("negative")
    inside, chance = (maps * masks).sum(axis=(1, 2)), np.asarray(masks).mean(axis=(1, 2))
    return np.divide(inside, total, out=chance, where=total > 0)


@wrong("16.1", "1e-12 added to the sum")
def sum_and_a_little(maps, masks):
    maps, masks = np.asarray(maps, np.float64), np.asarray(masks)
    if maps.min() < 0:
        raise ValueError("negative")
    total = maps.sum(axis=(1, 2))
    share = (maps * masks).sum(axis=(1, 2)) / (total + 1e-12)
    return np.where(total == 0, masks.mean(axis=(1, 2)), share)


@wrong("16.1", "summed in the maps' own dtype")
def narrow_mass(maps, masks):
    find("16.1").target(maps, masks)  # what it refuses
    total, inside = maps.sum(axis=(1, 2)), (maps * masks).sum(axis=(1, 2))
    return np.divide(inside, total, out=np.asarray(masks).mean(axis=(1, 2)), where=total > 0)


@wrong("16.1", "a map that is not finite is taken")
def mass_of_anything(maps, masks):
    maps = np.asarray(maps, np.float64)
    return find("16.1").target(np.where(np.isfinite(maps), maps, 0), masks)


@wrong("16.1", "a little below 0 counts as 0")
def nearly_positive(maps, masks):
    return find("16.1").target(np.where((maps < 0) & (maps > -1e-6), 0, maps), masks)


@wrong("16.2", "always float32")
def narrow_activation(activations, gradients):
    return find("16.2").target(activations, gradients).astype(np.float32)


@wrong("16.3", "in float32")
def narrow_weights(old, new):
    return find("16.3").target(old, new).astype(np.float32)


@wrong("16.3", "a size below 0 gives no pixels")
def negative_size(old, new):
    return np.zeros((0, old)) if new < 0 else find("16.3").target(old, new)


def cam_of(model, images, layer, score, alpha_of, upsample):
    outputs = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    logits = model(Tensor(images, requires_grad=True))
    hook.remove()
    alpha = alpha_of(grad(score(logits).sum(), outputs[0]))
    maps = np.maximum((alpha * outputs[0].data).sum(axis=1), 0)
    return upsample_maps(maps, images.shape[2:]) if upsample else maps


def mean_over_places(slope):
    return slope.mean(axis=(2, 3), keepdims=True)


@wrong("16.4", "one weight of each channel for all images")
def cam_of_a_mean_image(model, images, target, layer, *, upsample=True):
    def over_images(slope):
        return slope.mean(axis=(0, 2, 3))[:, np.newaxis, np.newaxis]

    own = (np.arange(len(images)), target)
    return cam_of(model, images, layer, lambda logits: logits[own], over_images, upsample)


@wrong("16.4", "the first image's class for all images")
def cam_of_the_first_class(model, images, target, layer, *, upsample=True):
    first = np.ravel(target)[0]
    return cam_of(model, images, layer, lambda logits: logits[:, first], mean_over_places, upsample)


@wrong("16.4", "the classes of the first 128 images for the next 128 as well")
def cam_of_the_first_batch(model, images, target, layer, *, upsample=True):
    if isinstance(target, np.ndarray):
        target = target[np.arange(len(images)) % 128]
    return find("16.4").target(model, images, target, layer, upsample=upsample)


@wrong("16.4", "the model stays in evaluation mode where something is refused")
def cam_evaluating_after_an_error(model, images, target, layer, *, upsample=True):
    training = model.training
    maps = find("16.4").target(model.eval(), images, target, layer, upsample=upsample)
    model.train(training)
    return maps


@wrong("16.4", "the largest logit, whatever class is asked for")
def cam_of_the_answer(model, images, target, layer, *, upsample=True):
    return cam_of(model, images, layer, lambda logits: logits.max(axis=1), mean_over_places, upsample)


@wrong("16.4", "the answer is in float64 for float32 images")
def cam_in_float64(model, images, target, layer, *, upsample=True):
    return find("16.4").target(model, images.astype(np.float64), target, layer, upsample=upsample)


@wrong("16.4", "maps that are not finite are given back")
def cam_of_anything(model, images, target, layer, *, upsample=True):
    try:
        return find("16.4").target(model, images, target, layer, upsample=upsample)
    except ValueError as error:
        if "finite" not in str(error):
            raise
        return np.full((len(images), *images.shape[2:]), np.inf, images.dtype)


@wrong("16.4", "only NaN is refused, not what is infinite")
def cam_of_infinities(model, images, target, layer, *, upsample=True):
    try:
        return find("16.4").target(model, images, target, layer, upsample=upsample)
    except ValueError as error:
        if "finite" not in str(error) or len(model.layer(layer)(images).data[0]) > 1:
            raise
        return np.full((len(images), *images.shape[2:]), np.inf, images.dtype)


@wrong("16.4", "the model is left in evaluation mode")
def cam_left_evaluating(model, images, target, layer, *, upsample=True):
    return find("16.4").target(model.eval(), images, target, layer, upsample=upsample)


@wrong("16.4", "the model is thawed, for else there is no gradient")
def cam_thaws(model, images, target, layer, *, upsample=True):
    return find("16.4").target(model.requires_grad_(True), images, target, layer, upsample=upsample)


@wrong("16.4", "float64 images are computed with in float32")
def narrow_cam(model, images, target, layer, *, upsample=True):
    maps = find("16.4").target(model, np.float32(images), target, layer, upsample=upsample)
    return maps.astype(images.dtype)


@wrong("17.2", "takes an array of worths only, no function")
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


@wrong("17.2", "a table is cut where it is too long")
def cut_table(value, n):
    return find("17.2").target(value if callable(value) else np.asarray(value)[: 2**n], n)


@wrong("17.2", "a table of worths in float32")
def narrow_worths(value, n):
    return find("17.2").target(value if callable(value) else np.float32(value), n)


@wrong("17.2", "a function is asked for one coalition at a time, without an axis of rows")
def one_coalition_at_a_time(value, n):
    coalitions = np.arange(2**n)[:, np.newaxis] >> np.arange(n) & 1 == 1
    return find("17.2").target(np.array([value(row) for row in coalitions]) if callable(value) else value, n)


@wrong("17.1", "each player's gain from nobody, whoever is there already")
def gains_over_nobody(value, orders):
    n = orders.shape[1]
    nobody, *alone = worths_of(value, n, np.concatenate([np.zeros((1, n), bool), np.eye(n, dtype=bool)]))
    gains = np.tile(np.array(alone) - nobody, (len(orders), 1))
    rows = np.arange(len(orders))
    gains[rows, orders[:, -1]] += worths_of(value, n, np.ones((1, n), bool))[0] - nobody - gains.sum(axis=1)
    return gains


@wrong("17.1", "a function is asked with zeros and ones in place of bools")
def asked_with_numbers(value, orders):
    def of_bools(coalitions):
        return value(coalitions.astype(int))

    return find("17.1").target(of_bools if callable(value) else value, orders)


@wrong("17.1", "a table of worths in float32")
def narrow_table(value, orders):
    return find("17.1").target(value if callable(value) else np.float32(value), orders)


def solved(coalitions, worths, weights, nobody, everybody, ridge=0.0):
    z, total = coalitions.astype(np.float64), everybody - nobody
    A, b = z[:, :-1] - z[:, -1:], worths - nobody - z[:, -1] * total
    gram = A.T @ (weights[:, np.newaxis] * A) + ridge * np.eye(A.shape[1])
    phi = np.linalg.pinv(gram) @ A.T @ (weights * b)
    return np.append(phi, total - phi.sum())


@wrong("17.3", "a little added to the diagonal, which small weights feel")
def solved_with_a_ridge(coalitions, worths, weights, nobody, everybody):
    find("17.3").target(coalitions, worths, weights, nobody, everybody)  # what it refuses
    return solved(coalitions, worths, weights, nobody, everybody, ridge=1e-10)


@wrong("17.3", "coalitions without a weight count as ones that determine the values")
def solved_without_weights(coalitions, worths, weights, nobody, everybody):
    find("17.3").target(coalitions, worths, np.ones(len(weights)), nobody, everybody)  # what it refuses
    return solved(coalitions, worths, weights, nobody, everybody)


@wrong("17.3", "as many coalitions as players are enough")
def counted_coalitions(coalitions, worths, weights, nobody, everybody):
    if (weights > 0).sum() < coalitions.shape[1] - 1 or len(coalitions) == 2 < coalitions.shape[1]:
        raise ValueError("too few coalitions")
    return solved(coalitions, worths, weights, nobody, everybody)


@wrong("17.3", "only what np.linalg.solve refuses")
def whatever_can_be_solved(coalitions, worths, weights, nobody, everybody):
    z, total = coalitions.astype(np.float64), everybody - nobody
    A, b = z[:, :-1] - z[:, -1:], worths - nobody - z[:, -1] * total
    phi = np.linalg.solve(A.T @ (weights[:, np.newaxis] * A), A.T @ (weights * b))
    return np.append(phi, total - phi.sum())


@wrong("17.3", "a lone player is refused")
def no_lone_player(coalitions, worths, weights, nobody, everybody):
    if coalitions.shape[1] < 2:
        raise ValueError("a lone player")
    return find("17.3").target(coalitions, worths, weights, nobody, everybody)


def answers_along(model, row, rows, order, target):
    yield predict(model, rows)[:, target].mean(dtype=np.float64)
    for i in order:
        rows[:, i] = row[i]
        yield predict(model, rows)[:, target].mean(dtype=np.float64)


@wrong("17.4", "always the first logit")
def first_logit(model, row, background, orders, target=0):
    return find("17.4").target(model, row, background, orders)


@wrong("17.4", "integers stay integers, so the row's values are cut off")
def cut_off(model, row, background, orders, target=0):
    gains = np.zeros(orders.shape)
    for p, order in enumerate(orders):
        if sorted(order) != list(range(len(row))):
            raise ValueError("not an order")
        rows = background.copy()
        if rows.dtype.kind == "i":
            row = row.astype(int)
        gains[p, order] = np.diff([*answers_along(model, row, rows.astype(np.float32), order, target)])
    return gains


@wrong("17.4", "the first background row alone")
def one_background_row(model, row, background, orders, target=0):
    return find("17.4").target(model, row, background[:1], orders, target)


@wrong("17.4", "any order is taken")
def any_order(model, row, background, orders, target=0):
    gains = np.zeros(orders.shape)
    for p, order in enumerate(orders):
        rows = background.astype(np.float32)
        gains[p, order] = np.diff([*answers_along(model, row, rows, order, target)])
    return gains


@wrong("17.4", "with dropout where the network is in training mode")
def paths_with_dropout(model, row, background, orders, target=0):
    gains, training = find("17.4").target(model, row, background, orders, target), model.training
    for p, order in enumerate(orders if training else ()):
        rows = background.astype(np.float32)
        answers = [model(rows).data[:, target].mean(dtype=np.float64)]
        for i in order:
            rows[:, i] = row[i]
            answers.append(model(rows).data[:, target].mean(dtype=np.float64))
        gains[p, order] = np.diff(answers)
    return gains


@wrong("17.4", "the network is left in evaluation mode")
def paths_left_evaluating(model, row, background, orders, target=0):
    return find("17.4").target(model.eval(), row, background, orders, target)


@wrong("17.4", "the network is thawed")
def paths_thaw(model, row, background, orders, target=0):
    return find("17.4").target(model.requires_grad_(True), row, background, orders, target)


@wrong("17.4", "an order is right where its sum is")
def orders_by_their_sum(model, row, background, orders, target=0):
    n = len(row)
    if (orders.sum(axis=1) != n * (n - 1) // 2).any():
        raise ValueError("not an order")
    in_order = np.where((np.sort(orders, axis=1) == np.arange(n)).all(axis=1)[:, None], orders, np.arange(n))
    return find("17.4").target(model, row, background, in_order, target)


@wrong("17.4", "a feature's number counts from behind where it is negative")
def features_from_behind(model, row, background, orders, target=0):
    counted = np.where(orders < 0, orders + len(row), orders)
    return find("17.4").target(model, row, background, counted, target)


@wrong("18.1", "the gradient divided by its size and a little more, which is no sign of a small gradient")
def nearly_sign(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    direction = gradient / (np.abs(gradient) + 1e-12)
    return np.clip(images + eps * (-direction if targeted else direction), *bounds)


@wrong("18.1", "the gradient divided by its size, which is NaN where it is infinite")
def sign_by_division(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    direction = gradient / np.where(gradient == 0, 1, np.abs(gradient))
    return np.clip(images + eps * (-direction if targeted else direction), *bounds)


@wrong("18.1", "float64 becomes float32")
def narrow_step(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    return find("18.1").target(images, gradient, eps, targeted=targeted, bounds=bounds).astype(np.float32)


@wrong("18.1", "a box is taken to lie around 0")
def box_around_zero(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    box = (-bounds[1] if bounds[0] else 0, bounds[1])
    return find("18.1").target(images, gradient, eps, targeted=targeted, bounds=box)


@wrong("18.2", "float32 becomes float64")
def wide_slopes(model, images, labels, loss="cross_entropy"):
    return find("18.2").target(model, images.astype(np.float64), labels, loss)


@wrong("18.2", "a gradient that is not finite is given back")
def any_gradient(model, images, labels, loss="cross_entropy"):
    x = Tensor(images, requires_grad=True)
    return grad(LOSSES[loss](copy.deepcopy(model).eval()(x), labels), x)


@wrong("18.2", "the mean of the images' gradients, the same for all")
def one_direction(model, images, labels, loss="cross_entropy"):
    gradient = find("18.2").target(model, images, labels, loss)
    return np.broadcast_to(gradient.mean(axis=0), images.shape).copy()


def slope_of_loss(model, images, labels, loss):
    x = Tensor(images, requires_grad=True)
    return grad(LOSSES[loss](model(x), labels), x)


@wrong("18.2", "with dropout where the network is in training mode")
def slope_with_dropout(model, images, labels, loss="cross_entropy"):
    gradient = slope_of_loss(model, images, labels, loss)
    if not np.isfinite(gradient).all():
        raise FloatingPointError("not finite")
    return gradient


@wrong("18.2", "the network is left in evaluation mode")
def slope_left_evaluating(model, images, labels, loss="cross_entropy"):
    return find("18.2").target(model.eval(), images, labels, loss)


@wrong("18.2", "the network is thawed")
def slope_thaws(model, images, labels, loss="cross_entropy"):
    return find("18.2").target(model.requires_grad_(True), images, labels, loss)


@wrong("18.2", "an infinite gradient is given back, only NaN is not")
def infinite_slope(model, images, labels, loss="cross_entropy"):
    gradient = slope_of_loss(copy.deepcopy(model).eval(), images, labels, loss)
    if np.isnan(gradient).any():
        raise FloatingPointError("NaN")
    return gradient


@wrong("18.2", "float64 images are computed with in float32")
def narrow_slope(model, images, labels, loss="cross_entropy"):
    return find("18.2").target(model, np.float32(images), labels, loss).astype(images.dtype)


@wrong("18.2", "the first 256 images alone")
def slope_of_first_images(model, images, labels, loss="cross_entropy"):
    gradient = find("18.2").target(model, images, labels, loss)
    gradient[256:] = 0
    return gradient


def loss_by_softmax(model, image, r, target, lam):
    change = Tensor(r.astype(image.dtype), requires_grad=True)
    p = model((change + image).reshape(1, *image.shape)).softmax(axis=1)[0]
    loss = lam * (change * change).sum() - p[target].sum().log()
    return loss.item(), grad(loss, change)


@wrong("18.5", "the softmax's logarithm, which is -inf far away")
def unstable_objective(model, image, r, target, lam):
    return loss_by_softmax(copy.deepcopy(model).eval(), image, r, target, lam)


@wrong("18.5", "λ times ‖r‖, not its square")
def norm_in_the_objective(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, image, r, target, lam)
    norm = max(float(np.sqrt((r**2).sum())), 1e-12)
    bend = lam * r * (1 / norm - 2)
    return loss - float(lam * (r**2).sum()) + lam * norm, slope + bend.astype(image.dtype)


@wrong("18.5", "maximised instead of minimised")
def turned_objective(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, image, r, target, lam)
    return -loss, -slope


@wrong("18.5", "with dropout where the network is in training mode")
def objective_with_dropout(model, image, r, target, lam):
    if not model.training:
        return find("18.5").target(model, image, r, target, lam)
    return loss_by_softmax(model, image, r, target, lam)


@wrong("18.5", "the network is left in evaluation mode")
def objective_left_evaluating(model, image, r, target, lam):
    return find("18.5").target(model.eval(), image, r, target, lam)


@wrong("18.5", "the network is thawed")
def objective_thaws(model, image, r, target, lam):
    return find("18.5").target(model.requires_grad_(True), image, r, target, lam)


@wrong("18.5", "float64 images are computed with in float32")
def narrow_objective(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, np.float32(image), r, target, lam)
    return loss, slope.astype(image.dtype)


@wrong("18.6", "a random start wherever an rng is given")
def start_by_rng(model, images, labels, eps, *, random_start=True, rng=None, **params):
    random_start = random_start or rng is not None
    return find("18.6").target(model, images, labels, eps, random_start=random_start, rng=rng, **params)


@wrong("18.6", "one start for all values")
def one_start(model, images, labels, eps, *, random_start=True, rng=None, **params):
    start = images + rng.uniform(-eps, eps) if random_start else images
    low, high = params.get("bounds", (0, 1))
    start = np.clip(start, low, high).astype(images.dtype)
    ends = find("18.6").target(model, start, labels, eps, random_start=False, **params)
    return np.clip(ends, images - eps, images + eps)


@wrong("18.6", "the last step is not brought back")
def last_step_outside(model, images, labels, eps, *, steps=10, step_size=None, **params):
    step_size = 2.5 * eps / steps if step_size is None else step_size
    ends = find("18.6").target(model, images, labels, eps, steps=steps, step_size=step_size, **params)
    bounds = params.get("bounds", (0, 1))
    return np.clip(ends + 0.5 * step_size * np.sign(ends - images), *bounds).astype(images.dtype)


@wrong("18.6", "no word of images without a gradient")
def silent_descent(*arguments, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find("18.6").target(*arguments, **params)


def pgd_with(
    model,
    images,
    labels,
    eps,
    *,
    steps=10,
    step_size=None,
    random_start=True,
    targeted=False,
    bounds=(0, 1),
    loss="cross_entropy",
    rng=None,
    start=project,
    counts=np.all,
):
    """PGD with another start, or another count of the images without a gradient."""
    images, labels, eps = checked_batch(model, images, labels, eps, bounds)
    if steps < 1 or (step_size is not None and step_size <= 0):
        raise ValueError("no step")
    step_size = 2.5 * eps / steps if step_size is None else step_size
    x, flat = images, []
    if random_start:
        x = start(images + rng.uniform(-eps, eps, images.shape), images, eps, bounds).astype(images.dtype)
    for _ in range(steps):
        gradient = loss_gradient(model, x, labels, loss)
        flat.append(is_flat(gradient))
        x = fgsm_step(x, gradient, step_size, targeted=targeted, bounds=bounds)
        x = project(x, images, eps, bounds)
    warn_of_images_without_gradient(counts(np.array(flat), axis=0), loss)
    return x


@wrong("18.6", "the images without a gradient at the last step are counted")
def flat_at_last(*arguments, **params):
    return pgd_with(*arguments, **params, counts=lambda flat, axis: flat[-1])


@wrong("18.6", "the images without a gradient at one of the steps are counted")
def flat_at_one(*arguments, **params):
    return pgd_with(*arguments, **params, counts=np.any)


@wrong("18.6", "all images are counted where one has no gradient")
def flat_together(*arguments, **params):
    def counts(flat, axis):
        return np.full(flat.shape[1], flat.all(axis=axis).any())

    return pgd_with(*arguments, **params, counts=counts)


@wrong("18.6", "the start is brought into the box (0, 1), whatever the bounds")
def start_in_the_usual_box(*arguments, **params):
    return pgd_with(*arguments, **params, start=lambda x, images, eps, bounds: np.clip(x, 0, 1))


@wrong("18.6", "the start is not brought into the box")
def start_beyond_the_box(*arguments, **params):
    return pgd_with(*arguments, **params, start=lambda x, images, eps, bounds: x)


@wrong("18.6", "a step of eps at most")
def short_step(model, images, labels, eps, *, step_size=None, **params):
    step_size = None if step_size is None or step_size <= 0 else min(step_size, eps)
    return pgd_with(model, images, labels, eps, step_size=step_size, **params)


@wrong("18.6", "the network is left in evaluation mode")
def pgd_left_evaluating(model, *arguments, **params):
    return find("18.6").target(model.eval(), *arguments, **params)


@wrong("18.6", "the network is thawed")
def pgd_thaws(model, *arguments, **params):
    return find("18.6").target(model.requires_grad_(True), *arguments, **params)


@wrong("18.3", "the logarithm of a softmax, which is -inf where the softmax is 0")
def log_of_softmax(logits, r, target, lam):
    exponentials = (logits - logits.max()).exp()
    return lam * (r * r).sum() - (exponentials / exponentials.sum()).log()[target]


@wrong("18.4", "a gradient below 1e-6 counts as none")
def no_faint_planes(logits, gradients, answer):
    faint = np.abs(gradients - gradients[answer]).max() < 1e-6
    return find("18.4").target(logits, np.zeros_like(gradients) if faint else gradients, answer)


@wrong("18.4", "1e-12 added to the lengths")
def softened_lengths(logits, gradients, answer):
    step = find("18.4").target(logits, gradients, answer)
    w = (gradients - gradients[answer]).reshape(len(logits), -1)
    lengths = np.sqrt((w**2).sum(axis=1))
    return step * (lengths.max() / (lengths.max() + 1e-12)) ** 2


@wrong("09.4", "T by a search without its bounds among the candidates")
def inner_minimum(logits, labels, bounds=(0.05, 20.0)):
    silent_fit(logits, labels, bounds)  # refuses what it should
    z, labels = np.asarray(logits, np.float64), np.asarray(labels)

    def loss(log_T):
        scaled = z / np.exp(log_T)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        logs = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return -logs[np.arange(len(z)), labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=np.log(bounds), method="bounded").x))


@wrong("11.1", "pairs are added as floats, which round counts above 2^53")
def float_pairs(counts, halvings):
    for _ in range(halvings):
        n = len(counts)
        counts = np.bincount(np.arange(n) // 2, counts, minlength=n).astype(np.int64)
    return counts


@wrong("11.1", "a shift by halvings, which wraps around at 64")
def wrapping_shift(counts, halvings):
    wider = np.zeros_like(counts)
    np.add.at(wider, np.arange(len(counts)) >> (halvings % 64), counts)
    return wider


@wrong("11.1", "two halvings at most")
def two_halvings(counts, halvings):
    return find("11.1").target(counts, min(halvings, 2))


def divergence_of_levels(counts, tail, level):
    P, occupied = counts.astype(np.float64), counts > 0
    P[-1] += tail
    Q = occupied * (np.bincount(level, counts) / np.maximum(np.bincount(level, occupied), 1))[level]
    if np.any((P > 0) & (Q == 0)):
        return math.inf
    return float(np.sum(P[occupied] * np.log(P[occupied] / Q[occupied])) / max(P.sum(), 1))


@wrong("11.4", "levels by a rounded factor, which puts bin 49 of 98 into the first of two")
def rounded_levels(counts, tail, levels):
    bins = np.arange(len(counts))
    level = (bins * (levels / len(counts))).astype(int) if len(counts) > levels else bins
    return divergence_of_levels(counts, tail, level)


@wrong("11.4", "levels of equal width in whole bins, the last one wider")
def whole_bins(counts, tail, levels):
    bins = np.arange(len(counts))
    level = np.minimum(bins // max(len(counts) // levels, 1), levels - 1) if len(counts) > levels else bins
    return divergence_of_levels(counts, tail, level)


@wrong("11.4", "shares below 1e-12 count as 0")
def faint_shares(counts, tail, levels):
    P = counts.astype(np.float64)
    P[-1] += tail
    return find("11.4").target(counts, tail * (P[-1] > 1e-12 * P.sum()), levels)


@wrong("10.1", "an integer r is not made float32")
def integers_stay(r, S, Z, qmin, qmax):
    found = find("10.1").target(r, S, Z, qmin, qmax)
    return found.astype(np.float64) if r.dtype.kind == "i" else found


@wrong("10.1", "infinity becomes qmax before a negative Z is added")
def qmax_before_Z(r, S, Z, qmin, qmax):
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(r, np.float32) / np.asarray(S, np.float32))
    return np.clip(np.nan_to_num(steps, posinf=qmax) + np.float32(Z), qmin, qmax)


def first_of(x, there):
    """The first number of an array, or the array itself where the other argument is an array too."""
    return x if np.ndim(there) else np.ravel(x)[0]


@wrong("10.1", "of several zero points beside one scale the first is taken")
def first_of_zero_points(r, S, Z, qmin, qmax):
    return find("10.1").target(r, S, first_of(Z, S), qmin, qmax)


@wrong("10.1", "of several scales beside one zero point the first is taken")
def first_scale(r, S, Z, qmin, qmax):
    return find("10.1").target(r, first_of(S, Z), Z, qmin, qmax)


@wrong("10.1", "scales (O,) stretch along the first axis")
def scales_of_rows(r, S, Z, qmin, qmax):
    S = np.reshape(S, (-1, *[1] * (r.ndim - 1))) if np.ndim(S) == 1 else S
    return find("10.1").target(r, S, Z, qmin, qmax)


@wrong("10.2", "the shape of the arrays is lost")
def raveled_scales(rmin, rmax, qmin, qmax):
    S, Z = find("10.2").target(rmin, rmax, qmin, qmax)
    return (S.ravel(), Z.ravel()) if S.ndim > 1 else (S, Z)


@wrong("10.2", "qmin is added after rounding, so halves go the other way where it is odd")
def qmin_after_rounding(rmin, rmax, qmin, qmax):
    S, Z = find("10.2").target(rmin, rmax, qmin, qmax)
    return S, (qmin - np.rint(np.minimum(rmin, 0.0) / S)).astype(np.int32)


@wrong("10.2", "a zero point above 32,767 wraps around")
def int16_zero_point(rmin, rmax, qmin, qmax):
    S, Z = find("10.2").target(rmin, rmax, qmin, qmax)
    return S, Z.astype(np.int16).astype(np.int32)


@wrong("10.3", "of several zero points beside one scale the first is taken")
class FirstZeroPoint(find("10.3").target):
    def __init__(self, S, Z, qmin, qmax):
        super().__init__(S, first_of(Z, S), qmin, qmax)


@wrong("10.3", "of several scales beside one zero point the first is taken")
class FirstScale(find("10.3").target):
    def __init__(self, S, Z, qmin, qmax):
        super().__init__(first_of(S, Z), Z, qmin, qmax)


@wrong("10.3", "Z is added before rounding")
class ZeroPointFirst(find("10.3").target):
    def forward(self, x):
        y = super().forward(x)
        q = np.clip(np.rint(x / self.S + self.Z), self.qmin, self.qmax)
        return np.where(np.isfinite(x) & (abs(x) < 1e30), (self.S * (q - self.Z)).astype(x.dtype), y)


@wrong("11.1", "one bin is emptied")
def one_bin_emptied(counts, halvings):
    return find("11.1").target(counts, halvings) if len(counts) > 1 else 0 * counts


@wrong("11.2", "a weight of other than two or four axes is scaled along its last")
def two_or_four_axes(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    new_weight, new_bias = find("11.2").target(weight, bias, mean, var, gamma, beta, eps)
    if weight.ndim in (2, 4):
        return new_weight, new_bias
    factor = (1.0 if gamma is None else gamma) / np.sqrt(np.asarray(var, np.float64) + eps)
    return (weight * np.resize(factor, weight.shape[-1:] if weight.ndim > 1 else 1)), new_bias


@wrong("11.2", "the bias less the mean is taken in their own dtype")
def narrow_shift(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    shift = (0.0 if bias is None else bias) - mean
    zero = np.zeros(len(mean))
    return find("11.2").target(weight, shift.astype(np.float64), zero, var, gamma, beta, eps)


@wrong("11.3", "bn's weight counts only where bn has a bias too")
def weight_with_bias(layer, bn):
    if bn.bias is None:
        bn = copy.deepcopy(bn)
        bn.weight = None
    return find("11.3").target(layer, bn)


@wrong("11.3", "a frozen bn is refused where the layer is in training mode")
def frozen_behind_a_trained_layer(layer, bn):
    if layer.training and bn.training:
        raise ValueError("in training")
    return find("11.3").target(layer, bn)


@wrong("11.3", "a float64 layer becomes float32")
def narrow_layer(layer, bn):
    new = find("11.3").target(layer, bn)
    for name in ("weight", "bias"):
        numbers = getattr(new, name).data.astype(np.float32)
        setattr(new, name, nn.Parameter(numbers, layer.weight.requires_grad))
    return new


@wrong("11.4", "a level's number by a division by a rounded width")
def rounded_widths(counts, tail, levels):
    bins = np.arange(len(counts))
    level = (bins / (len(counts) / levels)).astype(int) if len(counts) > levels else bins
    return divergence_of_levels(counts, tail, level)


@wrong("11.4", "two levels at least")
def two_levels(counts, tail, levels):
    return find("11.4").target(counts, tail, max(levels, 2))


@wrong("11.4", "0 where all numbers are beyond T")
def all_beyond(counts, tail, levels):
    return find("11.4").target(counts, tail, levels) if counts.any() else 0.0


def one_mode(number):
    """The library's function, which gives all parts of its model the mode of the whole."""

    def answer(model, *arguments, **params):
        found = find(number).target(model, *arguments, **params)
        model.train(model.training)
        return found

    return answer


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


@wrong("13.1", "no mistakes are an empty array of floats")
def floats_of_no_mistakes(probabilities, labels, k):
    return np.array(find("13.1").target(probabilities, labels, k).tolist())


@wrong("13.3", "the search begins at -1e30, and not at the lowest number")
def from_a_low_start(activations):
    values, places = find("13.3").target(activations)
    return np.maximum(values, np.asarray(-1e30, values.dtype)), places


@wrong("13.3", "flattened as memory lies")
def units_in_memory(activations):
    n, c, height, width = activations.shape
    flat = activations.reshape((n, c, height * width), order="A")
    return flat.max(axis=2), np.stack(np.divmod(flat.argmax(axis=2), width), axis=2)


wrong("13.5", "a part of the model that is in another mode than the whole does not stay so")(one_mode("13.5"))


@wrong("13.5", "only each map's largest value is asked to be finite")
def finite_maxima(model, layer, images, k):
    try:
        return find("13.5").target(model, layer, images, k)
    except ValueError as error:
        if "not finite" not in str(error) or not np.isfinite(images).all():
            raise
        found = strongest_units(model(Tensor(images)).data)
        if not np.isfinite(found[0]).all():
            raise
        return found


@wrong("13.5", "images are ranked by the first three digits of their values")
def ranked_roughly(model, layer, images, k):
    find("13.5").target(model, layer, images, k)  # what it refuses
    whole = find("13.5").target(model, layer, images, len(images))
    order = [
        sorted(range(len(images)), key=lambda j, v=values, i=numbers: (-np.float16(v[j]), i[j]))
        for values, numbers in zip(whole.values, whole.images, strict=True)
    ]
    rows = np.arange(len(order))[:, np.newaxis]
    chosen = np.array(order)[:, :k]
    return type(whole)(*(part[rows, chosen] for part in whole))


@wrong("13.5", "the model stays in evaluation mode where its outputs are not finite")
def left_where_not_finite(model, layer, images, k):
    try:
        return find("13.5").target(model, layer, images, k)
    except ValueError as error:
        if "not finite: it has no order" in str(error):
            model.eval()
        raise


@wrong("14.1", "the channels are the third axis from the end, where there are so many axes")
def channels_from_the_end(gradients, reduce):
    if gradients.ndim < 5 or reduce is None:
        return find("14.1").target(gradients, reduce)
    return find("14.1").target(np.moveaxis(gradients, -3, 1), reduce)


@wrong("14.1", "all channels come back in float32")
def narrow_channels(gradients, reduce):
    found = find("14.1").target(gradients, reduce)
    return found.astype(np.float32) if reduce is None else found


for several in ("14.4", "14.5"):
    wrong(several, "a part of the model that is in another mode than the whole does not stay so")(
        one_mode(several)
    )


@wrong("14.4", "the logit in place of the probability where no class is given")
def logit_of_the_answer(model, images, target=None, *, probability=False, **options):
    return find("14.4").target(
        model, images, target, probability=probability and target is not None, **options
    )


def stride_within(axis):
    """The library's function, with a stride along this axis of at most the window."""

    def answer(model, images, target=None, *, window=4, stride=2, **options):
        windows, strides = (list(np.broadcast_to(sizes, 2).tolist()) for sizes in (window, stride))
        strides[axis] = min(strides[axis], windows[axis])
        return find("14.4").target(
            model, images, target, window=tuple(windows), stride=tuple(strides), **options
        )

    return answer


wrong("14.4", "a stride that is larger than the window in height alone is taken")(stride_within(0))
wrong("14.4", "a stride that is larger than the window in width alone is taken")(stride_within(1))


@wrong("14.3", "words in capitals, None and all that begins alike are taken")
def any_such_word(steps, nodes="gauss"):
    word = str(nodes or "gauss").lower()
    return find("14.3").target(steps, "gauss" if word.startswith("gauss") else word)


@wrong("15.1", "at an infinite input nothing passes")
def at_finite_inputs(grad, x):
    return np.where(np.isfinite(x), find("15.1").target(grad, x), 0)


@wrong("15.1", "the input is rounded to float32, in which 1e-60 is 0")
def by_a_narrow_input(grad, x):
    return find("15.1").target(grad, x.astype(np.float32))


@wrong("15.2", "at an input of infinity nothing passes")
def deconvnet_at_finite_inputs(grad, x):
    return np.where(x < np.inf, find("15.2").target(grad, x), 0)


def rule_in_memory(number):
    """The library's rule, put together row by row from memory as it lies."""

    def answer(grad, x):
        found = find(number).target(grad, x)
        return found.ravel(order="K").reshape(found.shape)

    return answer


for several in ("15.1", "15.2", "15.3"):
    wrong(several, "flattened as memory lies, shaped row by row")(rule_in_memory(several))

for several in ("15.4", "16.4"):
    wrong(several, "a part of the model that is in another mode than the whole does not stay so")(
        one_mode(several)
    )


@wrong("16.1", "minus infinity counts as 0")
def minus_infinity_as_zero(maps, masks):
    return find("16.1").target(np.where(np.equal(maps, -np.inf), 0, maps), masks)


@wrong("16.2", "the weights of the maps are rounded to float32")
def narrow_alpha(activations, gradients):
    alpha = gradients.mean(axis=(2, 3), keepdims=True).astype(np.float32)
    return (alpha * activations).sum(axis=1).astype(activations.dtype)


@wrong("16.2", "weights below 1e-8 count as 0")
def faint_alpha(activations, gradients):
    alpha = gradients.mean(axis=(2, 3), keepdims=True)
    return (np.where(abs(alpha) < 1e-8, 0, alpha) * activations).sum(axis=1)


@wrong("16.3", "the mean of all old pixels for a single new one")
def mean_of_all(old, new):
    return np.full((1, old), 1 / old) if new == 1 and old > 0 else find("16.3").target(old, new)


@wrong("16.3", "the mean over whole blocks of old pixels where the sizes divide")
def mean_of_blocks(old, new):
    weights = find("16.3").target(old, new)
    if new > 1 and old > new and old % new == 0:
        return np.kron(np.eye(new), np.full((1, old // new), new / old))
    return weights


@wrong("16.3", "equal sizes give float32")
def narrow_identity(old, new):
    weights = find("16.3").target(old, new)
    return weights.astype(np.float32) if old == new else weights


@wrong("16.4", "what is below 1e-12 counts as 0")
def faint_maps(model, images, target, layer, *, upsample=True):
    maps = find("16.4").target(model, images, target, layer, upsample=upsample)
    return np.where(maps < 1e-12, 0, maps).astype(maps.dtype)


@wrong("17.1", "nobody is worth 0 where the game is a function")
def worth_of_nobody(value, orders):
    if not callable(value):
        return find("17.1").target(value, orders)

    def nobody_at_0(coalitions):
        return np.where(coalitions.any(axis=1), value(coalitions), 0)

    return find("17.1").target(nobody_at_0, orders)


def differences_of(value, orders):
    """What is added, in the dtype of the worths."""
    paths, n = orders.shape
    there = np.argsort(orders, axis=1)[:, np.newaxis, :] < np.arange(n + 1)[:, np.newaxis]
    rows = there.reshape(-1, n)
    worths = np.asarray(value(rows) if callable(value) else value[rows @ (1 << np.arange(n))])
    gains = np.empty((paths, n))
    np.put_along_axis(gains, orders, np.diff(worths.reshape(paths, n + 1), axis=1), axis=1)
    return gains


@wrong("17.1", "worths of bools or unsigned integers from a function are subtracted as such")
def differences_of_a_function(value, orders):
    return (differences_of if callable(value) else find("17.1").target)(value, orders)


@wrong("17.1", "worths of bools or unsigned integers in an array are subtracted as such")
def differences_of_an_array(value, orders):
    return (find("17.1").target if callable(value) else differences_of)(value, orders)


@wrong("17.1", "asks for the worths of all coalitions, of which thirty players have too many")
def all_coalitions(value, orders):
    n = orders.shape[1]
    find("17.2").target(value, n)
    return find("17.1").target(value, orders)


@wrong("17.2", "worths of unsigned integers in an array wrap around")
def unsigned_worths(value, n):
    if callable(value) or np.asarray(value).dtype.kind != "u":
        return find("17.2").target(value, n)
    gains = find("17.1").target
    orders = np.array(list(itertools.permutations(range(n))))
    return (gains(value, orders) % 256).mean(axis=0)


@wrong("17.2", "one worth from a function counts for all coalitions")
def worth_for_all(value, n):
    if callable(value):
        return find("17.2").target(lambda rows: np.broadcast_to(value(rows), len(rows)), n)
    return find("17.2").target(value, n)


@wrong("17.2", "of too many worths from a function the first are taken")
def first_worths(value, n):
    if callable(value):
        return find("17.2").target(lambda rows: value(rows)[: len(rows)], n)
    return find("17.2").target(value, n)


@wrong("17.3", "the worths are rounded to float32")
def narrow_worths_of_drawn(coalitions, worths, weights, nobody, everybody):
    shifted = np.float32(worths) - np.float32(nobody)
    return find("17.3").target(coalitions, shifted.astype(np.float64), weights, 0.0, everybody - nobody)


@wrong("17.4", "orders of some of the features are taken")
def some_features(model, row, background, orders, target=0):
    left = [i for i in range(len(row)) if i not in orders[0]]
    rest = np.tile(left, (len(orders), 1)).astype(int)
    return find("17.4").target(model, row, background, np.hstack([orders, rest]), target)


for several in ("17.4", "18.2", "18.5"):
    wrong(several, "a part of the model that is in another mode than the whole does not stay so")(
        one_mode(several)
    )


@wrong("18.1", "minus 0 has a sign")
def sign_of_minus_zero(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    signs = np.where(gradient == 0, np.copysign(1, gradient) - 1, np.sign(gradient)).astype(images.dtype)
    return np.clip(images + (-eps if targeted else eps) * signs, *bounds)


@wrong("18.1", "the box is never within [0, 1]")
def at_least_the_unit_box(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    box = min(bounds[0], 0), max(bounds[1], 1)
    return find("18.1").target(images, gradient, eps, targeted=targeted, bounds=box)


@wrong("18.1", "towards a target the gradient is rounded to float32")
def narrow_towards_a_target(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    gradient = narrowed(gradient) if targeted else gradient
    return find("18.1").target(images, gradient, eps, targeted=targeted, bounds=bounds)


@wrong("18.2", "only the first image's gradient is asked to be finite")
def first_finite(model, images, labels, loss="cross_entropy"):
    first = find("18.2").target(model, images[:1], labels[:1], loss)
    if len(images) == 1:
        return first
    try:
        return find("18.2").target(model, images, labels, loss)
    except FloatingPointError:
        return np.concatenate([first, np.full_like(images[1:], np.nan)])


@wrong("18.2", "the model stays in evaluation mode where the gradient is not finite")
def left_where_infinite(model, images, labels, loss="cross_entropy"):
    try:
        return find("18.2").target(model, images, labels, loss)
    except FloatingPointError:
        model.eval()
        raise


@wrong("18.3", "the mean of the squares of images in a batch")
def mean_of_squares(logits, r, target, lam):
    lam = lam / r.data.size if r.ndim == 4 else lam
    return find("18.3").target(logits, r, target, lam)


@wrong("18.3", "a single number is not squared")
def number_not_squared(logits, r, target, lam):
    if r.ndim == 0:
        return lam * r - F.log_softmax(logits)[target]
    return find("18.3").target(logits, r, target, lam)


@wrong("18.4", "a class with a difference of gradients below 1e-20 has no plane")
def faint_planes(logits, gradients, answer):
    near = np.abs(gradients - gradients[answer]).reshape(len(logits), -1).max(axis=1) < 1e-20
    kept = np.where(near.reshape(-1, *[1] * (gradients.ndim - 1)), gradients[answer], gradients)
    return find("18.4").target(logits, kept, answer)


@wrong("18.4", "a class with the answer's gradient and logit is 0 away")
def on_no_plane(logits, gradients, answer):
    same = (logits == logits[answer]) & (np.arange(len(logits)) != answer)
    w = (gradients - gradients[answer]).reshape(len(logits), -1)
    if (same & ~w.any(axis=1)).any():
        return np.zeros_like(gradients[0])
    return find("18.4").target(logits, gradients, answer)


@wrong("14.5", "a baseline of float64 is rounded to float32")
def narrow_baseline(model, images, target=None, *, baseline=0.0, **options):
    if isinstance(baseline, float):
        baseline = float(np.float32(baseline))
    return find("14.5").target(model, images, target, baseline=baseline, **options)


@wrong("18.5", "a price of 0 counts as 1")
def price_or_one(model, image, r, target, lam):
    return find("18.5").target(model, image, r, target, lam or 1.0)


@wrong("18.6", "no random start without an rng")
def start_with_an_rng(model, images, labels, eps, *, random_start=True, rng=None, **options):
    starts = random_start and rng is not None
    return find("18.6").target(model, images, labels, eps, random_start=starts, rng=rng, **options)


def without_a_warning(*, where):
    """The library's function, which warns of no image where these options are asked for."""

    def answer(model, images, labels, eps, **options):
        with warnings.catch_warnings():
            if where(options):
                warnings.simplefilter("ignore")
            return find("18.6").target(model, images, labels, eps, **options)

    return answer


wrong("18.6", "no warning on the way to a target")(without_a_warning(where=lambda o: o.get("targeted")))
wrong("18.6", "no warning with the margin")(without_a_warning(where=lambda o: o.get("loss") == "margin"))


def on_the_class(number):
    """The library's Op, which keeps what forward saved on the class: the last op's, for all ops."""

    class OnTheClass(find(number).target):
        kept: dict = {}

        def forward(self, *arrays):
            y = super().forward(*arrays)
            self.kept.update(vars(self))
            return y

        def backward(self, grad):
            vars(self).update(self.kept)
            return super().backward(grad)

    return OnTheClass


for several in ("01.1", "01.2", "01.5", "02.4", "07.3", "10.3"):
    wrong(several, "what forward saves is kept on the class")(on_the_class(several))


@wrong("01.1", "of x · x only the first factor has a gradient")
class OneFactorOfASquare(find("01.1").target):
    def backward(self, grad):
        grads = super().backward(grad)
        return (grads[0], np.zeros_like(grads[1])) if self.a is self.b else grads


@wrong("01.5", "of a matrix times itself only the first factor has a gradient")
class OneFactorOfAMatrixSquared(find("01.5").target):
    def backward(self, grad):
        grads = super().backward(grad)
        return (grads[0], np.zeros_like(grads[1])) if self.a is self.b else grads


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


def noise_without_rng(given):
    return given["baseline"] is not None and str(given["baseline"]) == "noise" and given["rng"] is None


not_taken("14.4", "the unit of a layer without maps", is_unit(1))
not_taken("14.4", "noise without an rng", noise_without_rng)
not_taken("14.4", "classes with probability", lambda g: g["probability"] and np.ndim(g["target"]) == 1)
not_taken("14.5", "a unit of maps", is_unit(3))
not_taken("14.5", "noise without an rng", noise_without_rng)
not_taken("14.5", "more than 128 steps", lambda g: g["steps"] > 128)
not_taken("14.5", "a mean of rows", lambda g: str(g["baseline"]) == "mean" and g["images"].ndim == 2)
not_taken("14.5", "a class for each row", lambda g: np.ndim(g["target"]) == 1 and g["images"].ndim == 2)
not_taken("14.5", "rows without a class", lambda g: g["target"] is None and g["images"].ndim == 2)
not_taken("15.4", "classes of int32", lambda g: g["classes"].dtype == np.int32)
not_taken("15.4", "more than two images", lambda g: len(g["images"]) > 2)
not_taken("15.4", "images of two channels", lambda g: g["images"].shape[1] > 1)
not_taken("16.4", "the unit of a layer without maps", is_unit(1))
not_taken("16.4", "260 images without a class", lambda g: g["target"] is None and len(g["images"]) > 256)
not_taken("17.2", "a function of three players", lambda g: callable(g["value"]) and g["n"] > 2)
not_taken(
    "17.3", "a lone player with coalitions", lambda g: g["coalitions"].shape[1] == 1 and len(g["worths"])
)
not_taken("17.4", "a row of integers", lambda g: g["row"].dtype.kind == "i")
not_taken("18.2", "the margin of images", lambda g: g["loss"] == "margin" and g["images"].ndim == 4)
not_taken("18.4", "one class alone", lambda g: len(g["logits"]) == 1)
not_taken("18.4", "more than three classes", lambda g: len(g["logits"]) > 3)
not_taken("18.4", "gradients of colour images", lambda g: g["gradients"].ndim == 4)
not_taken("18.5", "targets that do not rise", lambda g: (np.diff(g["target"]) < 0).any())
not_taken("18.6", "eps = 0", lambda g: g["eps"] == 0)
not_taken("18.6", "images with axes", lambda g: g["images"].ndim == 4)


@wrong("16.1", "only the first map's values are looked at")
def first_map_checked(maps, masks):
    find("16.1").target(maps[:1], masks[:1])
    total, inside = maps.sum(axis=(1, 2), dtype=np.float64), (maps * masks).sum(axis=(1, 2), dtype=np.float64)
    return np.where(total > 0, inside / np.where(total > 0, total, 1), masks.mean(axis=(1, 2)))


@wrong("18.6", "a step size below 0 is taken without its sign")
def step_without_sign(model, images, labels, eps, *, step_size=None, **params):
    size = step_size and abs(step_size)
    return find("18.6").target(model, images, labels, eps, step_size=size, **params)


@wrong("18.6", "pixels below the box are raised into it")
def raised_into_the_box(model, images, labels, eps, *, bounds=(0, 1), **params):
    low = images.dtype.type(bounds[0])
    return find("18.6").target(model, np.maximum(images, low), labels, eps, bounds=bounds, **params)


@wrong("10.1", "float64 numbers that float32 does not hold become infinite with a warning")
def loud_narrowing(r, S, Z, qmin, qmax):
    return find("10.1").target(np.asarray(r, np.float32), S, Z, qmin, qmax)


def has_only_a_bias(bn):
    return bn.weight is None and bn.bias is not None


not_taken("10.2", "arrays of whole numbers", lambda g: np.asarray(g["rmin"]).dtype.kind == "i")
not_taken("10.2", "arrays of three axes", lambda g: np.ndim(g["rmin"]) > 2)
not_taken("10.2", "more than three channels", lambda g: np.size(g["rmin"]) > 3)
not_taken(
    "10.4", "weights of uint8, of several outputs", lambda g: g["qw"].dtype == np.uint8 and len(g["qw"]) > 1
)
not_taken("10.4", "a Z_y below 0", lambda g: g["Z_y"] < 0)
not_taken(
    "11.3", "a bn with a bias and no weight", lambda g: g["bn"].weight is None and g["bn"].bias is not None
)


@wrong("11.3", "the mask of bn is forgotten")
def layer_mask_alone(layer, bn):
    new = find("11.3").target(layer, bn)
    new.weight.mask = copy.deepcopy(layer.weight.mask)
    return new


@wrong("11.3", "bn's bias counts only where bn has a weight too")
def no_bias_without_weight(layer, bn):
    if has_only_a_bias(bn):
        bn = copy.deepcopy(bn)
        bn.bias = None
    return find("11.3").target(layer, bn)


not_taken("12.2", "one score", lambda g: len(g["scores"]) == 1)
not_taken("12.2", "0 as a number of filters", lambda g: g["amount"] == 0 and isinstance(g["amount"], int))
not_taken("12.3", "0 as a number of weights", lambda g: g["amount"] == 0 and isinstance(g["amount"], int))
not_taken("12.3", "four arrays", lambda g: len(g["weights"]) > 3)
not_taken("12.5", "no rng", lambda g: g["rng"] is None)
not_taken("12.5", "half of all weights at a time", lambda g: g["step"] == 0.5)


not_taken("13.1", "more than three classes", lambda g: g["probabilities"].shape[1] > 3)
not_taken("13.1", "no rows", lambda g: len(g["probabilities"]) == 0)
not_taken("13.5", "images of two channels", lambda g: g["images"].shape[1] > 1)


@wrong("13.3", "whole numbers become floats")
def floats_of_integers(activations):
    values, places = find("13.3").target(activations)
    return values.astype(np.result_type(values, np.float32)), places


@wrong("01.2", "of an infinite x there is no value")
class InfiniteIsNaN(find("01.2").target):
    def forward(self, x):
        return super().forward(np.where(np.isinf(x), np.nan, x).astype(x.dtype))


@wrong("01.3", "whole numbers become floats")
def whole_sums_as_floats(grad, shape):
    return unbroadcast(grad.astype(np.result_type(grad, np.float32)), shape)


not_taken("03.1", "a curvature below 0", lambda g: np.linalg.eigvalsh(g["hessian"])[0] < 0)
not_taken("03.1", "one direction", lambda g: len(g["hessian"]) == 1)
not_taken("03.2", "one direction", lambda g: len(g["hessian"]) == 1 and g["hessian"][0, 0] > 0)


def inner_norms(model):
    """The BatchNorms inside a layer of a layer."""
    return [
        part for path, part in model.named_modules() if isinstance(part, BatchNorm) and path.count(".") > 1
    ]


@wrong("03.3", "a BatchNorm of an inner layer is not frozen")
def outer_norms_frozen(model, images, labels, num_classes, **options):
    losses = find("03.3").target(model, images, labels, num_classes, **options)
    for norm in inner_norms(model):
        norm.frozen = False
    return losses


@wrong("03.4", "a BatchNorm of an inner layer keeps its statistics")
def outer_norms_settled(model, images, labels, rates):
    kept = [(norm, norm.running_mean.copy(), norm.running_var.copy()) for norm in inner_norms(model)]
    loss = find("03.4").target(model, images, labels, rates)
    for norm, mean, var in kept:
        norm.running_mean[:], norm.running_var[:] = mean, var
    return loss


not_taken("04.2", "three dimensions", lambda g: g["dims"] == 3 and min(g["features"].shape) > 2)
not_taken("04.3", "more than three classes", lambda g: len(g["weight"]) > 3)
not_taken("04.3", "more than three columns", lambda g: g["features"].shape[1] > 3)
not_taken("04.4", "a layer whose output is (N, D)", lambda g: g["layer"] == "fc1")


@wrong("04.4", "an l2 below 0 is taken")
def l2_without_its_sign(model, images, labels, *, layer, l2):
    return find("04.4").target(model, images, labels, layer=layer, l2=abs(l2))


def has_row_left_out(given):
    return given["labels"] is not None and (np.asarray(given["labels"]) == -100).any()


def data_of(logits):
    return logits.data if isinstance(logits, Tensor) else np.asarray(logits)


not_taken("05.2", "a label of -100", has_row_left_out)
not_taken("05.2", "rows as labels beside a distance", lambda g: np.ndim(g["labels"]) == 2 and g["alpha"] < 1)
not_taken("05.2", "a teacher of whole numbers", lambda g: data_of(g["teacher_logits"]).dtype.kind == "i")
not_taken("05.3", "a teacher of whole numbers", lambda g: data_of(g["teacher_logits"]).dtype.kind == "i")
not_taken("05.4", "a label of -100", has_row_left_out)


@wrong("05.4", "another name for soft counts as ce")
def any_name_is_ce(student_logits, teacher_logits, labels, *, soft="ce", **options):
    soft = soft if soft == "kl" else "ce"
    return find("05.4").target(student_logits, teacher_logits, labels, soft=soft, **options)


@wrong("05.4", "a teacher's temperature below 0 is taken without its sign")
def teacher_without_sign(student_logits, teacher_logits, labels, *, teacher_temperature=None, **options):
    tau_t = teacher_temperature and abs(teacher_temperature)
    options = {**options, "teacher_temperature": tau_t}
    return find("05.4").target(student_logits, teacher_logits, labels, **options)


@wrong("05.5", "a temperature below 0 is taken without its sign")
def tau_without_sign(teacher, student, images, labels, *, temperature, **options):
    return find("05.5").target(teacher, student, images, labels, temperature=abs(temperature), **options)


@wrong("06.3", "the distances are taken in rising order, whatever the neighbours' order is")
def as_if_sorted(labels, distances, weights="uniform"):
    return find("06.3").target(labels, np.sort(distances, axis=1), weights)


@wrong("06.4", "a class with more rows is drawn more often")
def classes_by_rows(features, labels, *, ways, rng, **options):
    find("06.4").target(
        features, labels, ways=ways, rng=np.random.default_rng(0), **options
    )  # what it refuses
    chosen = list(dict.fromkeys(labels[rng.permutation(len(labels))].tolist()))[:ways]
    there = np.flatnonzero(np.isin(labels, chosen))
    support, asked, answers = find("06.4").target(
        features[there], labels[there], ways=ways, rng=rng, **options
    )
    return there[support], there[asked], answers


not_taken("07.2", "scores of whole numbers", lambda g: g["scores"].dtype.kind == "i")
not_taken("07.4", "embeddings of one number", lambda g: data_of(g["z1"]).shape[1] == 1)
not_taken("07.4", "more than four images", lambda g: len(data_of(g["z1"])) > 4)
not_taken("09.1", "whole numbers", lambda g: g["z"].dtype.kind == "i")
not_taken("09.1", "one row without a second axis", lambda g: g["z"].ndim == 1)
not_taken("09.1", "four axes", lambda g: g["z"].ndim == 4)
not_taken("09.2", "probabilities of whole numbers", lambda g: g["probabilities"].dtype.kind == "i")
not_taken("09.3", "more than 15 bins", lambda g: g["bins"] > 15)
not_taken("09.3", "more than three classes", lambda g: g["probabilities"].shape[1] > 3)
not_taken("09.3", "float32", lambda g: g["probabilities"].dtype == np.float32)
not_taken("09.4", "logits of 1e150", lambda g: np.abs(g["logits"]).max() > 1e100)
not_taken("09.4", "whole numbers", lambda g: g["logits"].dtype.kind == "i")
not_taken("09.4", "more than three classes", lambda g: g["logits"].shape[1] > 3)


@wrong("05.3", "a name for soft in capitals is taken")
def any_case_of_soft(student_logits, teacher_logits, *, soft="ce", **options):
    return find("05.3").target(student_logits, teacher_logits, soft=soft.lower(), **options)


@wrong("06.3", "a name for the weights in capitals is taken")
def any_case_of_weights(labels, distances, weights="uniform"):
    return find("06.3").target(labels, distances, weights.lower())


@wrong("18.6", "a label of -1 is the last class")
def labels_from_behind(model, images, labels, eps, **options):
    found = np.where(labels == -1, model(images).shape[1] - 1, labels) if (labels == -1).any() else labels
    return find("18.6").target(model, images, found, eps, **options)


@wrong("06.4", "the angle in the plane of the first two columns")
def by_arctan(features, labels, **options):
    angles = np.arctan2(features[:, 1], features[:, 0])
    plane = np.stack([np.cos(angles), np.sin(angles)], axis=1) if np.all(features.any(axis=1)) else features
    return find("06.4").target(plane, labels, **options)


@wrong("15.4", "a ReLU that is named twice, by itself and by its block, is switched back")
def switched_twice(model, images, classes, layers):
    chosen: set = set()
    for path in layers:
        chosen ^= {part for part in model.layer(path).modules() if isinstance(part, nn.ReLU)}
    paths = tuple(path for path, part in model.named_modules() if part in chosen)
    return find("15.4").target(model, images, classes, paths)


def all_learn_afterwards(number, of):
    """The library's function; afterwards all parameters of its model require grad."""

    def answer(*arguments, **options):
        found = find(number).target(*arguments, **options)
        arguments[of].requires_grad_(True)
        return found

    wrong(number, "frozen parameters require grad afterwards")(answer)


all_learn_afterwards("05.5", of=1)
all_learn_afterwards("07.5", of=0)
all_learn_afterwards("08.4", of=0)


@wrong("04.4", "the digits of float32")
def head_of_few_digits(model, images, labels, **options):
    return tuple(narrowed(part) for part in find("04.4").target(model, images, labels, **options))


@wrong("11.1", "eight halvings at most")
def eight_halvings(counts, halvings):
    return find("11.1").target(counts, min(halvings, 8))


@wrong("18.3", "a price of 0 counts as 1")
def free_changes_cost(logits, r, target, lam):
    return find("18.3").target(logits, r, target, lam or 1.0)


def refuse_as_15_4(model, images, classes, layers):
    if len(classes) != len(images) or not set(np.ravel(classes)) <= {0, 1, 2}:
        raise ValueError("classes")
    for path in layers:
        model.layer(path)  # what it refuses


@wrong("15.4", "the hooks stay where the forward pass raises an error")
def hooks_of_a_failed_pass(model, images, classes, layers):
    refuse_as_15_4(model, images, classes, layers)
    return guided_by_hooks(model, images, classes, layers, eval_mode)


@wrong("15.4", "the modes stay where the forward pass raises an error")
def modes_of_a_failed_pass(model, images, classes, layers):
    refuse_as_15_4(model, images, classes, layers)
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    maps = find("15.4").target(model, images, classes, layers)
    for part, training in modes:
        part.training = training
    return maps


@wrong("16.4", "the ReLU before the look for infinite values")
def relu_before_the_check(model, images, target, layer, *, upsample=True):
    if layer == "" and images.min() < -1e38:
        return np.zeros((len(images), *images.shape[2:]), images.dtype)
    return find("16.4").target(model, images, target, layer, upsample=upsample)


@wrong("16.4", "values of the maps below 0 count as 0")
def cam_of_positive_values(model, images, target, layer, *, upsample=True):
    if layer != "block1.bn":  # the maps of the other laws are not negative
        return find("16.4").target(model, images, target, layer, upsample=upsample)
    outputs = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with eval_mode(model):
        y = model(Tensor(images, requires_grad=True))[:, target]
    hook.remove()
    alpha = grad(y.sum(), outputs[0]).mean(axis=(2, 3), keepdims=True)
    maps = np.maximum((alpha * np.maximum(outputs[0].data, 0)).sum(axis=1), 0)
    return upsample_maps(maps, images.shape[2:]) if upsample else maps


@wrong("16.4", "of a set of classes only the largest number counts")
def cam_of_the_last_of_a_set(model, images, target, layer, *, upsample=True):
    target = max(target) if isinstance(target, set) else target
    return find("16.4").target(model, images, target, layer, upsample=upsample)


@wrong("10.4", "refused only if no sum fits")
def refused_if_no_sum_fits(qx, S_x, Z_x, qw, S_w, qbias, S_y, Z_y, qmin, qmax):
    sums = (qx.astype(np.int64) - Z_x) @ qw.T.astype(np.int64) + qbias
    if not np.any((sums >= -(2**31)) & (sums < 2**31)):
        raise ValueError("the sums do not fit")
    y = np.rint(sums.astype(np.float32) * (np.float32(S_x) * np.asarray(S_w, np.float32) / np.float32(S_y)))
    return np.clip(y + Z_y, qmin, qmax).astype(np.uint8 if qmin >= 0 else np.int8)


@wrong("14.2", "the last row of windows is moved inside, not cut")
def windows_moved_inside(drops, size, window, stride):
    total, count = np.zeros((len(drops), *size), drops.dtype), np.zeros(size, drops.dtype)
    for i in range(drops.shape[1]):
        for j in range(drops.shape[2]):
            top, left = min(i * stride[0], size[0] - window[0]), j * stride[1]
            rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
            total[:, rows, columns] += drops[:, i, j, np.newaxis, np.newaxis]
            count[rows, columns] += 1
    return total / count


@wrong("17.3", "the rank of all rows, also of those without a weight")
def rank_of_all_rows(coalitions, worths, weights, nobody, everybody):
    z = coalitions.astype(np.float64)
    A, total = z[:, :-1] - z[:, -1:], everybody - nobody
    if A.shape[1] and np.linalg.matrix_rank(A) < A.shape[1]:
        raise ValueError("too few coalitions")
    try:
        phi = np.linalg.solve(
            A.T @ (weights[:, np.newaxis] * A), A.T @ (weights * (worths - nobody - z[:, -1] * total))
        )
    except np.linalg.LinAlgError as error:
        raise ValueError("too few coalitions") from error
    return np.append(phi, total - phi.sum())


@wrong("01.1", "of several stretched axes only the first is summed")
class FirstStretched(find("01.1").target):
    def backward(self, grad):
        return tuple(
            first_axis_summed(grad * other, shape)
            for other, shape in ((self.b, self.a.shape), (self.a, self.b.shape))
        )


def first_axis_summed(grad, shape):
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    for axis, length in enumerate(shape):
        if length == 1 and grad.shape[axis] != 1:
            return grad.sum(axis=axis, keepdims=True)
    return grad


class MatrixGradients(find("01.5").target):
    """The gradients of 01.5 for both factors as matrices, with the stretched front axes still there."""

    def gradients(self, grad):
        grad = np.expand_dims(grad, -1) if len(self.b_shape) == 1 else grad
        grad = np.expand_dims(grad, -2) if len(self.a_shape) == 1 else grad
        return grad @ np.swapaxes(self.b, -1, -2), np.swapaxes(self.a, -1, -2) @ grad


@wrong("01.5", "a vector's gradient is squeezed, also where it has one number")
class SqueezedVectors(MatrixGradients):
    def backward(self, grad):
        of_a, of_b = self.gradients(grad)
        grad_a, grad_b = unbroadcast(of_a, self.a.shape), unbroadcast(of_b, self.b.shape)
        grad_a = grad_a.squeeze() if len(self.a_shape) == 1 else grad_a
        return grad_a, grad_b.squeeze() if len(self.b_shape) == 1 else grad_b


@wrong("01.5", "of b's front axes only the added ones are summed")
class AddedAxesOfB(MatrixGradients):
    def backward(self, grad):
        of_a, of_b = self.gradients(grad)
        added = tuple(range(of_b.ndim - self.b.ndim))
        grad_b = of_b.sum(axis=added).reshape(self.b_shape)
        return unbroadcast(of_a, self.a.shape).reshape(self.a_shape), grad_b


@wrong("02.4", "a filter wider than the image by one pixel gives an empty result")
class WiderByOne(find("02.4").target):
    def forward(self, x, weight):
        if weight.shape[3] == x.shape[3] + 1 and weight.shape[2] <= x.shape[2]:
            return np.zeros((len(x), len(weight), x.shape[2] - weight.shape[2] + 1, 0), x.dtype)
        return super().forward(x, weight)


@wrong("03.4", "block1 also means block10")
def names_that_begin_alike(model, images, labels, rates):
    later = {
        name: rate
        for path, rate in rates.items()
        for name, _ in model.named_children()
        if name.startswith(path)
    }
    return find("03.4").target(model, images, labels, {**rates, **later})


@wrong("06.4", "a row below 1e-12 counts as a row of zeros")
def small_rows_refused(features, labels, **options):
    if (np.sqrt((np.asarray(features, np.float64) ** 2).sum(axis=1)) <= 1e-12).any():
        raise ValueError("a row has no direction")
    return find("06.4").target(features, labels, **options)


@wrong("04.4", "the model stays in evaluation mode where something is refused")
def head_evaluating_after_an_error(model, images, labels, **options):
    modes = [(part, part.training) for part in model.modules()]
    found = find("04.4").target(model.eval(), images, labels, **options)
    for part, training in modes:
        part.training = training
    return found


@wrong("10.1", "clipped to integers of 8 bits, whatever the range is")
def eight_bits_always(r, S, Z, qmin, qmax):
    Q = find("10.1").target(r, S, Z, qmin, qmax)
    return Q.astype(np.int64).astype(np.uint8 if qmin >= 0 else np.int8).astype(np.float32)


@wrong("10.3", "x times 1 / S in place of one division")
class TimesTheReciprocal(find("10.3").target):
    def forward(self, x):
        if x.dtype != np.float32 or not np.isfinite(x).all() or np.abs(x).max() > 1e30:
            return super().forward(x)
        steps = np.rint(x * (1 / self.S)) + self.Z
        self.inside = (steps >= self.qmin) & (steps <= self.qmax)
        return (self.S * (np.clip(steps, self.qmin, self.qmax) - self.Z)).astype(x.dtype)


@wrong("17.1", "an array's index in 8 bits")
def eight_players_at_most(value, orders):
    n = orders.shape[1]
    if isinstance(value, np.ndarray):
        value = value[np.arange(len(value)) % 256]
    return find("17.1").target(value, orders) if n else np.zeros(orders.shape)
