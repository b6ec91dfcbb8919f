"""The exercise of lesson 03 on finetuning: a rate for each layer, and new BatchNorm statistics."""

from __future__ import annotations

import functools

import numpy as np

from lessons.exercises.by_hand import assert_mode, log_softmax
from lessons.exercises.ex03_finetuning_steps import (
    CNN,
    COLOURS,
    DEEP,
    LABELS,
    MANY,
    NEAR,
    PHOTOS,
    RESIDUAL,
    ROWS,
    assert_no_new_attributes,
    features_of,
    others,
    softmax_rows,
)
from minidl.classroom.builders import Built, contents
from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.engine.checks import check_labels, check_number
from minidl.nn import functional as F
from minidl.nn.layers import BatchNorm, BatchNorm2d
from minidl.nn.module import Module, Parameter

# ---- 03.4 finetune_step


def finetune_step(model: Module, images: np.ndarray, labels: np.ndarray, rates: dict[str, float]) -> float:
    """One step of finetuning with a rate for each layer; then BatchNorm's statistics are estimated again.

    The step is plain gradient descent on the mean cross-entropy of all images (N, C, H, W) and their labels
    (N,). It runs in evaluation mode, so BatchNorm uses its old running statistics. ``rates`` gives the rate,
    0 or more, for each layer to train, by its dotted path: {"block2": 0.1}. Parameters outside of these
    layers do not change. You may rely on this: all parameters require grad, the loss depends on all of those
    in these layers, no layer in ``rates`` is part of another one, and each BatchNorm runs once. A layer may
    have several paths, and any path may be given. Gradients that the parameters already have, from an earlier
    step, have no effect.

    Then each BatchNorm2d, frozen or not, gets new running statistics: the mean and variance (divided by n) of
    each channel of its input, over all images and pixels. BatchNorms are updated one after the other in the
    order of ``model.modules()``, the order in which they run, each once. So earlier BatchNorms already use
    their new statistics. The count of batches does not change. A BatchNorm1d keeps its statistics.

    The model is left in evaluation mode and in float32. Its layers are otherwise as before, and all its
    parameters require grad. Returns the loss before the step.
    ValueError for a rate below 0, a path that leads to no layer, and a label that is not a class. The label
    -100, which ``F.cross_entropy`` leaves out, is refused too.
    """
    rates = {model.layer(path): check_number("a rate", rate, 0) for path, rate in rates.items()}
    model.eval().zero_grad()
    logits = model(images)
    loss = F.cross_entropy(logits, check_labels("labels", labels, len(images), logits.shape[1]))
    loss.backward()
    for layer, rate in rates.items():
        for parameter in layer.parameters():
            parameter.data = parameter.data - rate * parameter.grad
    for norm in model.modules():
        if isinstance(norm, BatchNorm2d):
            seen = []
            hook = norm.register_forward_hook(
                lambda _, inputs, output, seen=seen: seen.append(inputs[0].data)
            )
            model(images)
            hook.remove()
            norm.running_mean[:] = seen[0].mean(axis=(0, 2, 3))
            norm.running_var[:] = seen[0].var(axis=(0, 2, 3))
    return loss.item()


step = Exercise(
    "03.4",
    finetune_step,
    title="a step of finetuning, and statistics estimated again",
    kind="model",
    writes=("model",),
    points=5,
    level=3,
    minutes=45,
    hints=(
        "There are two parts. The step needs one backward pass and different rates. The statistics need "
        "the inputs of each BatchNorm after the weights have changed.",
        "Compute all gradients first, then change all parameters. For the statistics, a forward hook on "
        "one BatchNorm shows its inputs while the model runs. Set its statistics before you look at the "
        "next BatchNorm.",
        "hook = norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].data))",
    ),
)

OWN = Built("shared_relu", 2, in_features=12, num_classes=3)  # no Sequential
TWICE = Built("nested_rows", 1, in_features=12, num_classes=3)  # one layer with two paths
TWO = Built("own_cnn", 6, channels=2, num_classes=3, head="classes")  # a convolution that runs twice
ALL = {"block1": 0.5, "block2": 0.25, "head": 1}


def parameters_of(state):
    return {name: x for name, x in state.items() if "running" not in name and "num_batches" not in name}


def assert_statistics(model, state, images):
    """Check that every running mean and variance in ``state`` is that of the BatchNorm's input."""
    net = model.build()
    net.load_state_dict(state)
    x = images
    for name, block in net.named_children():
        if not name.startswith("block"):
            continue
        came = block.conv(x).data.astype(np.float64)
        rows = came.transpose(1, 0, 2, 3).reshape(came.shape[1], -1)  # (C, N h w)
        assert_close(state[f"{name}.bn.running_mean"], rows.sum(axis=1) / rows.shape[1], **NEAR)
        centred = rows - rows.mean(axis=1, keepdims=True)
        assert_close(state[f"{name}.bn.running_var"], (centred**2).sum(axis=1) / rows.shape[1], **NEAR)
        x = block(x)


def assert_settled(model, state, images):
    """The statistics of each BatchNorm, also in inner layers, are those of its inputs in this state."""
    net, inputs_of = model.build(), {}
    net.load_state_dict(state)
    for path, part in net.named_modules():
        if isinstance(part, BatchNorm):
            keep = functools.partial(inputs_of.__setitem__, path)
            part.register_forward_hook(lambda _, inputs, output, keep=keep: keep(inputs[0].data))
    net(images)
    for path, came in inputs_of.items():
        for name, numbers in (("mean", came.mean(axis=(0, 2, 3))), ("var", came.var(axis=(0, 2, 3)))):
            assert_close(state[f"{path}.running_{name}"], numbers, **NEAR)


def loss_at(model, images, labels, move=None, h=0.0):
    """The loss in float64 of the built model, with its parameters changed by h times ``move``."""
    net = model.build()
    for path, part in net.named_modules():
        for name in ("weight", "bias"):
            if isinstance(getattr(part, name, None), Parameter):  # old parameters keep their dtype
                wide = getattr(part, name).data.astype(np.float64)
                setattr(part, name, Parameter(wide + (h * move[f"{path}.{name}"] if move else 0.0)))
    log_p = log_softmax(net(images.astype(np.float64)).data)
    return -log_p[np.arange(len(log_p)), labels].mean()


def assert_fixed(before, state, layers):
    """Check that no parameter outside of these layers moves: block1 must not match block10."""
    for name, x in before.items():
        learns = any(name.startswith(f"{layer}.") for layer in layers)
        assert learns or state[name].tobytes() == x.tobytes(), f"{name} moved, at a rate of 0 or none"


def assert_steps(finetune_step, model, images, labels, rates):
    """Check that the gradient (change / rate) along a direction is the slope of the loss.

    No parameter outside of the layers moves. Returns the state.
    """
    loss, after = finetune_step(model, images, labels, rates)
    assert_close(loss, loss_at(model, images, labels), **NEAR)
    before = parameters_of(model.build().state_dict())
    assert_fixed(before, after["state"], rates)
    for layer, rate in rates.items():
        move = {name: np.zeros(x.shape) for name, x in before.items()}
        expected = 0.0
        for name, x in before.items():
            if name.startswith(f"{layer}."):
                move[name] = np.cos(np.arange(x.size) + 1.0).reshape(x.shape)
                expected += np.sum(move[name] * (x.astype(np.float64) - after["state"][name])) / rate
        h = 1e-6
        slope = (loss_at(model, images, labels, move, h) - loss_at(model, images, labels, move, -h)) / (2 * h)
        said = f"{layer}: the move, divided by the rate {rate}, says a slope of {expected:.5g}"
        assert np.isclose(expected, slope, rtol=1e-3, atol=1e-4), f"{said}; the loss has {slope:.5g}"
    return after["state"]


def assert_moved(finetune_step, model, images, labels, rates):
    """Each parameter of the layers moves once, by rate times the engine's gradient. No other one moves."""
    _, after = finetune_step(model, images, labels, rates)
    net = model.build()
    net.eval().zero_grad()
    F.cross_entropy(net(images), labels).backward()
    for path, rate in rates.items():
        for parameter in net.layer(path).parameters():
            parameter.data = parameter.data - rate * parameter.grad
    for name, x in parameters_of(net.state_dict()).items():
        assert_close(after["state"][name], x, **NEAR)
    assert_settled(model, after["state"], images)


@step.law("with no layer in rates no parameter changes, and the statistics are those of the images")
def worked_statistics(finetune_step):
    loss, after = finetune_step(CNN, PHOTOS, LABELS, {})
    assert_close(loss, loss_at(CNN, PHOTOS, LABELS), rtol=1e-5)
    before = CNN.build().state_dict()
    for name, x in parameters_of(before).items():
        assert_equal(after["state"][name], x)
    assert_equal(after["state"]["block1.bn.num_batches_tracked"], before["block1.bn.num_batches_tracked"])
    assert_statistics(CNN, after["state"], PHOTOS)
    frozen = Built("small_cnn", 1, num_classes=3, widths=(3,), pool_after=(), frozen=True)
    _, after = finetune_step(frozen, PHOTOS, LABELS, {})
    assert_statistics(CNN, after["state"], PHOTOS)
    assert_equal(after["layers"], repr(frozen.build()))
    _, after = finetune_step(CNN, 0 * PHOTOS, LABELS, {})
    assert_equal(after["state"]["block1.bn.running_var"], np.zeros(3, np.float32))  # 0, not a little more
    _, after = finetune_step(RESIDUAL, COLOURS, LABELS, {})
    assert_settled(RESIDUAL, after["state"], COLOURS)
    # One pixel each, so that the mean lies far above the deviation; and logits of some million.
    for images in 1000 + PHOTOS.reshape(64, 1, 1, 1), np.float32(4e7) * PHOTOS:
        classes = np.arange(len(images)) % 3
        loss, after = finetune_step(CNN, images, classes, {})
        assert_close(loss, loss_at(CNN, images, classes), **NEAR)
        assert_statistics(CNN, after["state"], images)


@step.law("only the head, rate 0.5: it changes by the gradient of softmax regression on the old features")
def worked_head_alone(finetune_step):
    before = CNN.build().state_dict()
    for images, near in (4000 * PHOTOS, NEAR), (PHOTOS, {"rtol": 1e-5, "atol": 1e-6}):
        features = features_of(CNN, images)
        p = softmax_rows(features @ before["head.weight"].T + before["head.bias"])
        error = (p - np.eye(3)[LABELS]) / 4
        _, after = finetune_step(CNN, images, LABELS, {"head": 0.5})
        weight = before["head.weight"] - 0.5 * error.T @ features
        assert_close(after["state"]["head.weight"], weight, **near)
        assert_close(after["state"]["head.bias"], before["head.bias"] - 0.5 * error.sum(axis=0), **near)
    for name, x in parameters_of(before).items():
        if not name.startswith("head"):
            assert_equal(after["state"][name], x)


@step.law("three layers with three rates: each changes by minus its own rate times the gradient of the loss")
def three_rates(finetune_step):
    assert_steps(finetune_step, DEEP, PHOTOS, LABELS, ALL)
    assert_steps(finetune_step, RESIDUAL, COLOURS, LABELS, {"stage2.block1.residual.body.conv1": 0.5})
    assert_steps(finetune_step, OWN, MANY[:4].astype(np.float64), LABELS, {"third": 0.5, "first": 0.25})
    many = Built("small_cnn", 3, num_classes=300, widths=(2,), pool_after=())  # 70 images of 300 classes
    classes = (np.arange(70) * 37 % 300).astype(np.uint16)
    assert_moved(finetune_step, TWO, COLOURS, LABELS + 1, {"block": 0.5, "classes": 0.25})
    state = assert_steps(finetune_step, many, 4 * MANY, classes, {"block1.conv": 0.5, "head": 3.0})
    assert_statistics(many, state, 4 * MANY)


@step.law("the inputs of the second BatchNorm come from a pass with the first one's new statistics")
def one_after_the_other(finetune_step):
    _, after = finetune_step(DEEP, PHOTOS, LABELS, ALL)
    assert_statistics(DEEP, after["state"], PHOTOS)


@step.law(
    "twelve other tasks: the loss before the step, the change of one layer, and the statistics after it"
)
def other_tasks(finetune_step):
    for seed in range(12):
        model = Built("small_cnn", seed, num_classes=3, widths=(2,), pool_after=())
        rng, layer = np.random.default_rng(seed), ("head", "block1", "block1.conv")[seed % 3]
        images = rng.integers(-8, 9, (1 + seed % 4, 1, 3, 4)).astype(np.float32) / 4
        classes = rng.integers(0, 3, len(images))
        state = assert_steps(finetune_step, model, images, classes, {layer: (0.5, 0.25)[seed % 2]})
        assert_statistics(model, state, images)


@step.law("a model in training mode makes the same step in evaluation mode, and is left in evaluation mode")
def step_in_evaluation(finetune_step):
    for training in (True, ("block1",)):  # all of it, or one layer
        model = Built("small_cnn", 1, num_classes=3, widths=(3,), pool_after=(), training=training)
        loss, after = finetune_step(model, PHOTOS, LABELS, {"head": 0.5})
        assert_close(loss, loss_at(CNN, PHOTOS, LABELS), **NEAR)
        assert_mode(after, False)
        assert_statistics(CNN, after["state"], PHOTOS)


@step.law(
    "the model is left in evaluation mode and float32; its layers are as before; all parameters require grad"
)
def step_keeps(finetune_step):
    _, after = finetune_step(DEEP, PHOTOS, LABELS, {"head": 0.5, "block1": 0.0, "block2.relu": 1.0})
    net = DEEP.build()
    assert_equal(after["training"], False)
    assert_equal(after["layers"].splitlines(), repr(net).splitlines())
    assert_no_new_attributes(net, after)
    assert_equal(after["requires_grad"], [name for name, _ in net.named_parameters()])
    assert_fixed(parameters_of(net.state_dict()), after["state"], ["head"])
    for name, x in net.state_dict().items():
        assert_dtype(after["state"][name], x.dtype)
    masked = Built(DEEP.builder, 3, **DEEP.settings, masked=True)
    _, after = finetune_step(masked, PHOTOS, LABELS, {"head": 0.5})
    assert_equal(sorted(after["masks"]), sorted(contents(masked.build())["masks"]))
    by_first, by_second = (
        finetune_step(TWICE, MANY[:4], LABELS, {path: 0.5})[1]["state"] for path in ("block.fc", "again")
    )
    for name, x in by_first.items():  # the two paths lead to one layer
        assert_equal(by_second[name], x)
    _, after = finetune_step(ROWS, MANY[:4], LABELS, {"head": 0.5})
    for name, x in others(ROWS.build().state_dict()).items():  # a BatchNorm1d
        assert_equal(after["state"][name], x)
    ten = Built("small_cnn", 0, num_classes=3, widths=(3,) + (2,) * 9, pool_after=())
    _, after = finetune_step(ten, PHOTOS, LABELS, {"block1": 0.5})
    assert_fixed(parameters_of(ten.build().state_dict()), after["state"], ["block1"])
    assert_statistics(ten, after["state"], PHOTOS)


@step.law("ValueError for a rate below 0, a path that leads to no layer, and a label that is not a class")
def step_refuses(finetune_step):
    for rates in (
        {"head": -0.25}, {"head": -1e-15}, {"head": 0.5, "block1": -0.25}, {"head": -0.25, "block1": 0.5},
        {"block7": 0.5}, {"block7": 0.0}, {"head": 0.5, "block": 0.25}, {"head.weight": 0.5},
        {"block1.relu": -0.25}, {"head": 0.5, "flatten": -0.25},
    ):  # fmt: skip
        assert_refuses(f"rates = {rates}", finetune_step, CNN, PHOTOS, LABELS, rates)
    for what, labels in (
        ("a label 3 of three classes", LABELS + 2),
        ("a label of -1", LABELS - 1),
        ("a label of -100", np.array([0, 1, -100, 0])),
    ):
        assert_refuses(what, finetune_step, CNN, PHOTOS, labels, {"head": 0.5})


def stepped(model, images, labels, rates, training=False, one_rate=None, early=False, at_once=False, ddof=0):
    """The reference with another mode, another rate, or statistics at another time."""
    layers = {model.layer(path): check_number("a rate", rate, 0) for path, rate in rates.items()}
    norms = [part for part in model.modules() if isinstance(part, BatchNorm)]
    state = model.state_dict()

    def settle():
        for group in [norms] if at_once else [[norm] for norm in norms]:
            seen = []
            hooks = [
                n.register_forward_hook(lambda m, x, y, seen=seen: seen.append((m, x[0].data))) for n in group
            ]
            model.eval()(images)
            for hook in hooks:
                hook.remove()
            for norm, x in seen:
                norm.running_mean[:] = x.mean(axis=(0, 2, 3))
                norm.running_var[:] = x.var(axis=(0, 2, 3), ddof=ddof)

    if early:
        settle()
        kept = [(n.running_mean.copy(), n.running_var.copy()) for n in norms]
        model.load_state_dict(state)
    model.train(training).zero_grad()
    logits = model(images)
    loss = F.cross_entropy(logits, check_labels("labels", labels, len(images), logits.shape[1]))
    loss.backward()
    for layer, rate in layers.items():
        for parameter in layer.parameters():
            parameter.data = parameter.data - (one_rate(rates) if one_rate else rate) * parameter.grad
    if early:
        for norm, (mean, var) in zip(norms, kept, strict=True):
            norm.running_mean[:], norm.running_var[:] = mean, var
    else:
        settle()
    model.eval()
    return loss.item()


@step.mistake("the step uses the batch's statistics, in training mode", breaks=step.laws[0].text)
def in_training(model, images, labels, rates):
    return stepped(model, images, labels, rates, training=True)


@step.mistake("all layers use the rate of the last one", breaks=step.laws[2].text)
def at_one_rate(model, images, labels, rates):
    return stepped(model, images, labels, rates, one_rate=lambda rates: list(rates.values())[-1])


@step.mistake("statistics computed with the weights before the step", breaks=step.laws[3].text)
def before_the_step(model, images, labels, rates):
    return stepped(model, images, labels, rates, early=True)


@step.mistake(
    "all statistics from one pass, in which the first BatchNorm still uses its old statistics",
    breaks=step.laws[3].text,
)
def in_one_pass(model, images, labels, rates):
    return stepped(model, images, labels, rates, at_once=True)


@step.mistake("the variance divided by n - 1", breaks=step.laws[0].text)
def by_one_less(model, images, labels, rates):
    return stepped(model, images, labels, rates, ddof=1)
