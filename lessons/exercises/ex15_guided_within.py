"""Exercises of lesson 15: the guided rule in some layers of a model."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.by_hand import built_once
from minidl import Tensor, nn, relu_rule
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.engine.backward import grad
from minidl.engine.checks import check_labels
from minidl.explain.gradients import deconvnet_rule, guided_rule
from minidl.nn.containers import Residual, Sequential
from minidl.nn.module import Module, eval_mode

# ---- 15.4 guided_within


def guided_within(
    model: Module, images: np.ndarray, classes: np.ndarray, layers: tuple[str, ...]
) -> np.ndarray:
    """df/dx of a model where some layers use the guided rule in backward, and all others backprop.

    Two cases are known: if all layers are guided, the result is guided backprop; if no layer is guided, the
    result is the gradient. Cases between show in which layers guided backprop loses the class.

    model: a Module whose ReLUs are modules, ``nn.ReLU``, without hooks that replace their outputs. It runs in
    evaluation mode. Afterwards, also after an error, the model is as before: each module has its old mode,
    and no hook or layer was added.
    images: (N, C, H, W), floating.  classes: (N,), of an integer dtype; f is the logit of an image's class.
    layers: paths for ``model.layer(path)``. All ReLUs in these layers are guided; "" is the whole model. A
    ReLU with several paths is guided wherever it runs.
    Returns: maps of the images' shape and dtype, computed in this dtype.
    Raises ValueError for an unknown path, an unknown class, and classes of another shape than (N,).
    """
    parts = [part for path in layers for part in model.layer(path).modules()]
    hooks, x = [], Tensor(images, requires_grad=True)
    try:
        for relu in {part for part in parts if isinstance(part, nn.ReLU)}:
            hooks.append(relu.register_forward_hook(_run_guided))
        with eval_mode(model):
            logits = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    labels = check_labels("classes", classes, len(images), logits.shape[1])
    f = logits[np.arange(len(images)), labels]  # (N,); each logit depends only on its own image
    return grad(f.sum(), x)


def _run_guided(module: Module, inputs: tuple, output: Tensor) -> Tensor:
    """A forward hook that computes the output again under the guided rule."""
    with relu_rule(guided_rule):
        return module.forward(*inputs)


guided_in = Exercise(
    "15.4",
    guided_within,
    title="the guided rule in chosen layers",
    helpers=("relu_rule",),
    kind="model",
    points=4,
    level=3,
    minutes=45,
    hints=(
        "A ReLU that runs forward inside `with relu_rule(rule):` uses this rule backward. So only the "
        "chosen ReLUs may run inside such a block. The backward pass needs no block.",
        "A forward hook may replace a module's output: hook = relu.register_forward_hook(function). "
        "model.layer(path).modules() gives a layer and all modules inside it; choose those that are "
        "nn.ReLU. Call hook.remove() for each hook at the end, also after an error.",
        "The hook computes the output again: with relu_rule(guided_rule): return module.forward(...). "
        "Then take the gradient of the sum of the images' class logits with respect to x.",
    ),
)
NEAR = {"rtol": 1e-4, "atol": 1e-6}
WIDE, NARROW = {"rtol": 1e-9, "atol": 1e-12}, {"rtol": 1e-3, "atol": 1e-5}  # rounding in float64, in float32
CLASSES = 3


def two_hidden(seed, **how):
    """Two hidden layers of three units: relu1 and relu2."""
    return Built("mlp", seed=seed, in_features=4, hidden=(3, 3), num_classes=CLASSES, **how)


def back(module: Module, x: np.ndarray, R: np.ndarray, guided: set[Module]) -> np.ndarray:
    """Carry R from the module's output to its input x: ReLUs by hand, linear parts by backprop."""
    if isinstance(module, nn.ReLU):
        is_open = (x > 0) & (R > 0) if module in guided else x > 0
        return np.where(is_open, R, 0)
    if isinstance(module, Residual):
        body, *shortcut = module.children()
        beside = back(shortcut[0], x, R, guided) if shortcut else R
        return back(body, x, R, guided) + beside
    if not isinstance(module, Sequential):
        inputs = Tensor(x, requires_grad=True)
        return grad((module(inputs) * R).sum(), inputs)
    inputs = [x]
    for part in module.children():
        inputs.append(part(Tensor(inputs[-1])).data)
    for part, given_to_it in zip(module.children()[::-1], inputs[-2::-1], strict=True):
        R = back(part, given_to_it, R, guided)
    return R


def by_hand(model, images, classes, layers):
    net = built_once(model)
    chosen = {part for path in layers for part in net.layer(path).modules()}
    R = np.zeros((len(images), CLASSES))
    R[np.arange(len(images)), classes] = 1
    return back(net, images, R, chosen)


@st.composite
def asked(draw):
    """Two images (2, 1, 2, 2), a class for each, and layers of a network with two hidden layers."""
    layers = draw(
        st.sampled_from([(), ("relu1",), ("relu2",), ("relu2", "relu1"), ("",), ("fc1", "relu1"), ("fc1",)])
    )
    classes = np.array([draw(st.integers(0, CLASSES - 1)), draw(st.integers(0, CLASSES - 1))])
    return two_hidden(draw(st.integers(0, 9))), draw(arrays((2, 1, 2, 2))), classes, layers


@guided_in.law(
    "with one hidden layer: if it is guided, active units with a positive weight count, else all active units"
)
def worked_guided_within(guided_within):
    model = Built("mlp", seed=26, in_features=2, hidden=(4,), num_classes=CLASSES)
    net, x = model.build(), np.array([[[[1.0, -0.5]]]])
    W, v = net.fc1.weight.data.astype(np.float64), net.head.weight.data.astype(np.float64)
    on = W @ x.ravel() + net.fc1.bias.data > 0
    for k in range(CLASSES):
        plain = sum(v[k, j] * W[j] for j in range(4) if on[j])
        guided = sum((v[k, j] * W[j] for j in range(4) if on[j] and v[k, j] > 0), np.zeros(2))
        assert_close(guided_within(model, x, np.array([k]), ()), plain.reshape(x.shape), **NEAR)
        for layers in (("relu1",), ("",)):
            assert_close(guided_within(model, x, np.array([k]), layers), guided.reshape(x.shape), **NEAR)


@guided_in.law(
    "R, the gradient sent backward, follows each layer's rule and starts at each image's own class"
)
@given(case=asked())
def layer_by_layer(guided_within, case):
    model, images, classes, layers = case
    expected = by_hand(model, images, classes, layers)
    assert_close(guided_within(model, images, classes, layers), expected, **NEAR)


@guided_in.law(
    "a block means all ReLUs inside it, also in inner blocks, after pooling and in a residual block"
)
def blocks(guided_within):
    images = np.random.default_rng(0).integers(-4, 5, (2, 1, 4, 6)) / 4
    pooled = Built("small_cnn", seed=1, num_classes=CLASSES, widths=(3, 2), pool_after=(1,))
    residual = Built("tiny_resnet", seed=4, num_classes=CLASSES, widths=(2, 3))
    body = "stage1.block1.residual.body"
    for model, some in (
        (
            pooled,
            [
                (),
                ("block1",),
                ("block2.relu",),
                ("block1", "block2", "block1"),
                ("block1", "block1.relu"),
                ("",),
            ],
        ),
        (residual, [(), ("stem",), ("stage1",), (body,), (body, "stage2.block1.relu"), ("", "stem")]),
    ):
        for layers in some:
            expected = by_hand(model, images, [2, 0], layers)
            found = guided_within(model, images, np.array([2, 0]), layers)
            assert_close(found, expected, rtol=1e-4, atol=1e-5)
    colour = Built("small_cnn", seed=3, num_classes=CLASSES, in_channels=2, widths=(3,), pool_after=())
    three, classes = np.concatenate([images, -images, images[:1, :, ::-1]])[[0, 2, 4]], np.int32([2, 0, 1])
    three = np.concatenate([three, three[::-1]], axis=1)  # three images of two channels
    found = guided_within(colour, three, classes, ("block1",))
    assert_close(found, by_hand(colour, three, classes, ("block1",)), rtol=1e-4, atol=1e-5)
    deep = Built("mlp", seed=0, in_features=24, hidden=(6, *[4] * 9), num_classes=CLASSES)
    some = ("fc2", "relu3", "relu1")  # relu1 must not match relu10
    found = guided_within(deep, images, np.array([2, 0]), some)
    assert_close(found, by_hand(deep, images, [2, 0], some), rtol=1e-4, atol=1e-7)


@guided_in.law(
    "a ReLU with two paths is guided in both of its runs, by either path, and by a block around one of them"
)
def shared_relu(guided_within):
    model = Built("shared_relu", seed=4, in_features=4, num_classes=CLASSES, training=True)  # with a Dropout
    net, classes = model.build().eval(), np.uint8([2, 0])
    images = np.array([[1.0, -0.5, 2.0, 0.25], [0.0] * 4]).reshape(2, 1, 2, 2)
    chain = Sequential(nn.Flatten(), *net.children())  # as in its forward
    R = np.eye(CLASSES)[classes]
    for layers in ((), ("middle.again",), ("act", "last"), ("last",), ("middle",)):
        expected = back(chain, images, R, {part for path in layers for part in net.layer(path).modules()})
        assert_close(guided_within(model, images, classes, layers), expected, **NEAR)


@guided_in.law(
    "float64 images give float64 maps and float32 images float32 maps, also if the model is frozen"
)
def dtypes(guided_within):
    images, classes = np.array([[[[1.0, -0.5], [2.0, 0.25]]]]), np.array([1])
    expected = by_hand(two_hidden(1), images, classes, ["relu2"])
    for dtype, near in ((np.float64, WIDE), (np.float32, NARROW)):
        for model in (two_hidden(1), two_hidden(1, requires_grad=False)):
            maps = guided_within(model, images.astype(dtype), classes, ("relu2",))
            assert_close(maps, expected, **near)
            assert_dtype(maps, dtype)
    large = two_hidden(1, scale=1000)  # gradients above 1e6
    maps = guided_within(large, images, classes, ("relu2",))
    assert_close(maps, by_hand(large, images, classes, ["relu2"]), **WIDE)
    edge = Built("mlp", seed=0, in_features=1, hidden=(4,), num_classes=CLASSES)
    fc1 = edge.build().fc1  # at this pixel a ReLU's input is 0 in float32, and above 0 in float64
    pixel = (-fc1.bias.data[2] / fc1.weight.data[2]).reshape(1, 1, 1, 1)
    for layers in ((), ("relu1",)):
        maps = guided_within(edge, pixel, classes, layers)
        assert_close(maps, by_hand(edge, pixel, classes, layers), **NARROW)


@guided_in.law("a model in training mode runs in evaluation mode, and is in training mode again afterwards")
def while_training(guided_within):
    settings = {"seed": 3, "num_classes": CLASSES, "widths": (3,), "pool_after": ()}
    model, training = Built("small_cnn", **settings), Built("small_cnn", **settings, training=True)
    images = np.arange(24.0).reshape(2, 1, 3, 4) % 5 / 4
    mixed = Built("small_cnn", **settings, training=("block1",))
    for unlike in (training, mixed):
        maps = guided_within(unlike, images, np.array([0, 1]), ("block1",))
        assert_close(maps, by_hand(model, images, [0, 1], ["block1"]), **NEAR)


@guided_in.law(
    "ValueError for an unknown layer, an unknown class, a wrong number of classes, and images of another size"
)
def refuses(guided_within):
    model, images = two_hidden(0, training=True), np.ones((2, 1, 2, 2))
    for layers in (("relu1", "relu3"), ("relu3",), ("relu1.deeper",), ("", "relu3")):
        assert_refuses(f"the layer {layers[-1]!r}", guided_within, model, images, np.array([0, 1]), layers)
    six = np.ones((2, 1, 2, 3))
    assert_refuses("six pixels for four inputs", guided_within, model, six, np.array([0, 1]), ("relu1",))
    for classes in ([0, 3], [0, -1], [0], [0, 1, 2], 1, [[0], [1]]):
        which = f"classes {classes} for 2 images and 3 classes"
        for layers in (("relu1",), ()):
            assert_refuses(which, guided_within, model, images, np.array(classes), layers)


def changed(model, images, classes, layers, rule=guided_rule, inside=True, whole=False):
    """The same with another rule, only for the named layers, or for the sum of all logits."""
    labels = check_labels("classes", classes, len(images), CLASSES)

    def run(module, inputs, output):
        with relu_rule(rule):
            return module.forward(*inputs)

    named = [model.layer(path) for path in layers]
    parts = {part for layer in named for part in (layer.modules() if inside else [layer])}
    hooks = [part.register_forward_hook(run) for part in parts if isinstance(part, nn.ReLU)]
    x = Tensor(images, requires_grad=True)
    with eval_mode(model):
        logits = model(x)
    for hook in hooks:
        hook.remove()
    return grad((logits if whole else logits[np.arange(len(images)), labels]).sum(), x)


@guided_in.mistake("guided all ReLUs, not only those in the layers", breaks=guided_in.laws[0].text)
def guided_everywhere(model, images, classes, layers):
    return changed(model, images, classes, (*layers, ""))


@guided_in.mistake("used the rule of the deconvnet", breaks=guided_in.laws[0].text)
def deconvnet_within(model, images, classes, layers):
    return changed(model, images, classes, layers, rule=deconvnet_rule)


@guided_in.mistake(
    "guided only the module at the path, not the ReLUs inside it", breaks=guided_in.laws[0].text
)
def named_alone(model, images, classes, layers):
    return changed(model, images, classes, layers, inside=False)


@guided_in.mistake(
    "took the gradient of the sum of all logits, not of the class's logit", breaks=guided_in.laws[0].text
)
def of_all_logits(model, images, classes, layers):
    return changed(model, images, classes, layers, whole=True)


@guided_in.mistake("set the negative values of the finished map to 0", breaks=guided_in.laws[0].text)
def rectified_map(model, images, classes, layers):
    maps = changed(model, images, classes, ())
    return np.maximum(maps, 0) if layers else maps
