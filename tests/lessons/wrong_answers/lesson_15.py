"""Wrong answers to the exercises of lesson 15. Each one passed all laws once."""

from __future__ import annotations

import types

import numpy as np

from lessons.exercises import find
from minidl import nn, relu_rule
from minidl.engine.backward import grad
from minidl.engine.checks import check_labels
from minidl.engine.tensor import Tensor
from minidl.explain import guided_backprop, input_gradient
from minidl.explain.gradients import guided_rule
from minidl.nn.module import eval_mode
from tests.lessons.wrong_answers.declare import not_taken, wrong


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
    if np.shape(classes)[:1] != (len(images),) or not set(np.ravel(classes)) <= {0, 1, 2}:
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


not_taken("15.4", "classes of int32", lambda g: g["classes"].dtype == np.int32)
not_taken("15.4", "more than two images", lambda g: len(g["images"]) > 2)
not_taken("15.4", "images of two channels", lambda g: g["images"].shape[1] > 1)


@wrong("15.4", "a ReLU that is named twice, by itself and by its block, is switched back")
def switched_twice(model, images, classes, layers):
    chosen: set = set()
    for path in layers:
        chosen ^= {part for part in model.layer(path).modules() if isinstance(part, nn.ReLU)}
    paths = tuple(path for path, part in model.named_modules() if part in chosen)
    return find("15.4").target(model, images, classes, paths)


def refuse_as_15_4(model, images, classes, layers):
    if np.shape(classes)[:1] != (len(images),) or not set(np.ravel(classes)) <= {0, 1, 2}:
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


@wrong("15.1", "an input of 1e-100 or less does not count as positive")
def above_1e_100(grad, x):
    return np.where(x > 1e-100, grad, 0)


@wrong("15.2", "the mean of the gradient and its absolute value: the sum of two large numbers is infinite")
def mean_with_the_absolute_value(grad, x):
    return np.where(np.isfinite(grad), (grad + np.abs(grad)) / 2, np.maximum(grad, 0))


def with_own_forwards(model, images, classes, layers):
    """Guided ReLUs by a forward of their own, which stays if there is an error."""
    relus = [m for path in layers for m in model.layer(path).modules() if isinstance(m, nn.ReLU)]
    for relu in relus:
        relu.forward = types.MethodType(type(relu).forward, relu)
    maps = find("15.4").target(model, images, classes, layers)
    for relu in relus:
        vars(relu).pop("forward", None)
    return maps


def with_another_class(model, images, classes, layers):
    """Guided ReLUs by another class, which stays if there is an error."""
    relus = [m for path in layers for m in model.layer(path).modules() if type(m) is nn.ReLU]
    for relu in relus:
        relu.__class__ = type("ReLU", (nn.ReLU,), {})
    maps = find("15.4").target(model, images, classes, layers)
    for relu in relus:
        relu.__class__ = nn.ReLU
    return maps


wrong("15.4", "after an error the ReLUs have a forward of their own")(with_own_forwards)
wrong("15.4", "after an error the ReLUs have another class")(with_another_class)


def by_paths(model, images, classes, layers, chosen, rule=guided_rule):
    """Guided ReLUs, found among all paths of the model: chosen(path of the ReLU, path of a layer)."""
    relus = [(path, part) for path, part in model.named_modules() if isinstance(part, nn.ReLU)]
    guided = [part for path, part in relus if any(chosen(path, layer) for layer in layers)]
    find("15.4").target(model, images, classes, layers)  # what it refuses

    def run(module, inputs, output):
        with relu_rule(rule):
            return module.forward(*inputs)

    x, hooks = Tensor(images, requires_grad=True), [part.register_forward_hook(run) for part in guided]
    with eval_mode(model):
        logits = model(x)
    for hook in hooks:
        hook.remove()
    return grad(logits[np.arange(len(images)), classes].sum(), x)


def is_inside(path, layer):
    return layer == "" or f"{path}.".startswith(f"{layer}.")


@wrong("15.4", "a ReLU with two paths has the first only")
def by_the_first_path(model, images, classes, layers):
    return by_paths(model, images, classes, layers, is_inside)


@wrong("15.4", "a ReLU is one whose name has relu in it")
def by_name(model, images, classes, layers):
    return by_paths(model, images, classes, layers, lambda p, layer: "relu" in p and is_inside(p, layer))


@wrong("15.4", "an input of 0 counts as active")
def active_at_0(model, images, classes, layers):
    def rule(grad, x):
        return np.where((x >= 0) & (grad > 0), grad, 0)

    relus = {layer: set(model.layer(layer).modules()) for layer in layers}
    return by_paths(
        model, images, classes, layers, lambda p, layer: model.layer(p) in relus.get(layer, ()), rule
    )


@wrong("15.4", "all hooks of the model are removed")
def without_hooks(model, images, classes, layers):
    maps = find("15.4").target(model, images, classes, layers)
    for part in model.modules():
        part._hooks = ()
    return maps


@wrong("15.4", "a model with its own forward is guided in all layers or in none")
def all_or_none(model, images, classes, layers):
    find("15.4").target(model, images, classes, layers)  # what it refuses
    layers = layers if isinstance(model, nn.Sequential) else ("",) * bool(layers)
    return find("15.4").target(model, images, classes, layers)


not_taken("15.4", "classes without a sign", lambda g: np.asarray(g["classes"]).dtype.kind == "u")


def first_for_all(number):
    """The rule, but the inputs of the first image count for all images of a batch."""
    return lambda grad, x: find(number).target(grad, x if x.ndim < 3 else np.broadcast_to(x[:1], x.shape))


def first_channel_for_all(number):
    """The rule, but the inputs of the first channel count for all channels of an image."""
    return lambda grad, x: find(number).target(grad, x if x.ndim < 3 else np.broadcast_to(x[:, :1], x.shape))


for rule in ("15.1", "15.3"):
    wrong(rule, "the first image's inputs count for all images")(first_for_all(rule))
    wrong(rule, "the first channel's inputs count for all channels")(first_channel_for_all(rule))


@wrong("15.4", "two layers at most")
def two_layers(model, images, classes, layers):
    return find("15.4").target(model, images, classes, layers[:2])


@wrong("15.4", "the whole model is guided only where no other layer is named")
def whole_alone(model, images, classes, layers):
    some = tuple(path for path in layers if path) or layers
    return find("15.4").target(model, images, classes, some)


def taken_as_one_for_each(shape):
    """The library's function, which takes classes of this shape as one class for each image."""

    def answer(model, images, classes, layers):
        if np.shape(classes) == shape(len(images)):
            classes = np.broadcast_to(classes.ravel(), len(images))
        return find("15.4").target(model, images, classes, layers)

    return answer


wrong("15.4", "one class without an axis is taken for all images")(taken_as_one_for_each(lambda n: ()))
wrong("15.4", "classes in a column are taken")(taken_as_one_for_each(lambda n: (n, 1)))


@wrong("15.4", "float64 images are computed with in float32")
def narrow_guided(model, images, classes, layers):
    return find("15.4").target(model, images.astype(np.float32), classes, layers).astype(images.dtype)


@wrong("15.4", "float32 images are computed with in float64")
def wide_guided(model, images, classes, layers):
    return find("15.4").target(model, images.astype(np.float64), classes, layers).astype(images.dtype)


@wrong("15.4", "classes are checked only if a layer is guided")
def unchecked_gradient(model, images, classes, layers):
    if layers:
        return find("15.4").target(model, images, classes, layers)
    x = Tensor(images, requires_grad=True)
    with eval_mode(model):
        logits = model(x)
    return grad(logits[np.arange(len(images)), classes].sum(), x)


def input_like_the_gradient(number):
    return lambda grad, x: find(number).target(grad, x.astype(grad.dtype))


def with_a_zero_of_float32(number):
    return lambda grad, x: find(number).target(grad, x) + np.zeros(1, np.float32)


def nothing_like_the_input(number):
    def answer(grad, x):
        passed = find(number).target(grad, x)
        return passed if passed.any() else np.zeros_like(x)

    return answer


for rule in ("15.1", "15.2", "15.3"):
    if rule != "15.2":
        wrong(rule, "the input is rounded to the gradient's dtype")(input_like_the_gradient(rule))
    wrong(rule, "a gradient of float16 becomes float32")(with_a_zero_of_float32(rule))
    wrong(rule, "where nothing passes, the zeros have the input's dtype")(nothing_like_the_input(rule))


def without_relus(model, images, classes, layers, instead):
    """The library's maps; layers without a ReLU are not taken as they are."""
    parts = [part for path in layers for part in model.layer(path).modules()]
    has_some = not layers or any(isinstance(part, nn.ReLU) for part in parts)
    return find("15.4").target(model, images, classes, layers if has_some else instead())


def refuse_layers():
    raise ValueError("no ReLU in the layers")


wrong("15.4", "layers without a ReLU are refused")(
    lambda *given: without_relus(*given, instead=refuse_layers)
)
wrong("15.4", "layers without a ReLU are the whole model")(
    lambda *given: without_relus(*given, instead=lambda: ("",))
)


@wrong("15.4", "ReLUs more than four levels deep are not found")
def four_levels(model, images, classes, layers):
    return by_paths(model, images, classes, layers, lambda p, layer: is_inside(p, layer) and p.count(".") < 4)


@wrong("15.4", "all that runs inside of a chosen layer is guided, not each ReLU wherever it runs")
def around_the_layer(model, images, classes, layers):
    chosen = {model.layer(path) for path in layers}
    labels = check_labels("classes", classes, len(images), 3)

    def guided(forward):
        def run(x):
            with relu_rule(guided_rule):
                return forward(x)

        return run

    x = Tensor(images, requires_grad=True)
    try:
        for layer in chosen:
            layer.forward = guided(layer.forward)
        with eval_mode(model):
            logits = model(x)
    finally:
        for layer in chosen:
            vars(layer).pop("forward", None)
    return grad(logits[np.arange(len(images)), labels].sum(), x)
