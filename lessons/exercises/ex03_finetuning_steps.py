"""Exercises of lesson 03 on a model: a new head on a frozen network, and a step of finetuning."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.by_hand import assert_mode, built_once, log_softmax
from minidl.classroom.builders import Built, contents
from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, labels
from minidl.engine.checks import check_labels, positive_int
from minidl.nn import functional as F
from minidl.nn.layers import BatchNorm, Linear
from minidl.nn.module import Module

# ---- 03.3 train_new_head


def train_new_head(
    model: Module,
    images: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    steps: int,
    lr: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Give the model a new head for a new task, freeze all other layers, and train the head.

    A new Linear with ``num_classes`` outputs replaces the Linear ``model.head``. ``Linear(..., rng=rng)``
    draws its weight and bias. Then ``steps`` steps of plain gradient descent train the new head with the
    learning rate lr. Each step uses all images (N, C, H, W) and their labels (N,).

    All other layers are frozen. Their parameters do not change at all. BatchNorm's running statistics do not
    change either, and the forward passes use them. Afterwards only the head's parameters require grad. The
    model is left in training mode. The attribute ``frozen`` of each BatchNorm is True, so later forward
    passes do not change its statistics. Otherwise the other layers are as before, but for their gradients.
    You may rely on this: the model has no Dropout, and the head runs last.
    Returns the mean cross-entropy before each step: (steps,) in float64.
    ValueError for fewer than one class or step, and for a label that is not a class of the new task. The
    label -100, which ``F.cross_entropy`` leaves out, is refused too.
    """
    labels = check_labels("labels", labels, len(images), positive_int("num_classes", num_classes))
    losses = np.empty(positive_int("steps", steps))
    old = model.head
    model.train().requires_grad_(False)
    for part in model.modules():
        if isinstance(part, BatchNorm):
            part.frozen = True
    model.head = Linear(old.in_features, num_classes, rng=rng)
    for t in range(steps):
        loss = F.cross_entropy(model(images), labels)
        model.zero_grad()
        loss.backward()
        for parameter in model.head.parameters():
            parameter.data = parameter.data - lr * parameter.grad
        losses[t] = loss.item()
    return losses


head = Exercise(
    "03.3",
    train_new_head,
    title="a new head on a frozen network, trained",
    kind="model",
    writes=("model",),
    points=4,
    level=3,
    minutes=35,
    hints=(
        "Which part of the network changes in training although no gradient reaches it? Freeze this part "
        "too.",
        "First set requires_grad to False for all parameters. Then add the new head: its parameters "
        "require grad from the start. A BatchNorm has an attribute that makes it use its running "
        "statistics in training mode too.",
        "for part in model.modules(): if isinstance(part, BatchNorm): part.frozen = ...",
    ),
)

CNN = Built("small_cnn", 1, num_classes=3, widths=(3,), pool_after=())
DEEP = Built("small_cnn", 3, num_classes=2, widths=(2, 3), pool_after=(1,))
PHOTOS = (np.arange(4 * 16) ** 2 % 23 / 4 - 3).reshape(4, 1, 4, 4).astype(np.float32)
LABELS = np.array([0, 1, 1, 0])
COLOURS = np.concatenate([PHOTOS, PHOTOS[::-1] / 2], axis=1)  # two channels
MANY = np.random.default_rng(0).integers(-16, 17, (70, 1, 3, 4)).astype(np.float32)
MANY += np.array([-16, 16], np.float32)[np.arange(70) % 2].reshape(
    70, 1, 1, 1
)  # every second image is brighter
RESIDUAL = Built("tiny_resnet", 2, num_classes=3, in_channels=2, widths=(2, 3))  # BatchNorms in inner layers
ROWS = Built("normed_rows", 4, in_features=12, num_classes=3)  # a BatchNorm1d, and a head without a bias
MLP = Built("mlp", 2, in_features=16, hidden=4, num_classes=3)  # another Linear before the head
OWN = Built("shared_relu", 2, in_features=12, num_classes=3, dropout=False, training=True)  # no Sequential
FIRST = Built("own_cnn", 6, channels=2, num_classes=3)  # its head runs last and is listed first
NEAR = {"rtol": 1e-4, "atol": 1e-5}


def features_of(model, images):
    """The input of the head: (N, D) in float64, from the network in evaluation mode."""
    net, seen = built_once(model), []
    hook = net.head.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].data))
    net(images)
    hook.remove()
    return seen[0].astype(np.float64)


def softmax_rows(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def head_by_hand(model, images, labels, num_classes, steps, lr, seed):
    """Softmax regression on the features: losses, weight and bias."""
    features = features_of(model, images)
    fresh = Linear(features.shape[1], num_classes, rng=np.random.default_rng(seed))
    W, b, losses = fresh.weight.data.astype(np.float64), fresh.bias.data.astype(np.float64), []
    for _ in range(steps):
        log_p = log_softmax(features @ W.T + b)
        losses.append(-log_p[np.arange(len(log_p)), labels].mean())
        error = (np.exp(log_p) - np.eye(num_classes)[labels]) / len(log_p)
        W, b = W - lr * error.T @ features, b - lr * error.sum(axis=0)
    return np.array(losses), W, b


def others(state):
    return {name: value for name, value in state.items() if not name.startswith("head.")}


def assert_trained(train_new_head, model, images, labels, num_classes, steps=2, lr=0.5, seed=5):
    losses, W, b = head_by_hand(model, images, labels, num_classes, steps, lr, seed)
    found, after = train_new_head(
        model, images, labels, num_classes, steps=steps, lr=lr, rng=np.random.default_rng(seed)
    )
    assert_close(found, losses, **NEAR)
    assert_close(after["state"]["head.weight"], W, **NEAR)
    assert_close(after["state"]["head.bias"], b, **NEAR)


@head.law("lr = 0: the new head (3 features, 5 classes) is as rng draws it, and the losses stay the same")
def worked_new_head(train_new_head):
    assert_trained(train_new_head, CNN, PHOTOS, LABELS + 3, 5, lr=0.0)


@head.law("two steps: losses and head are those of softmax regression on the fixed features")
def worked_head_steps(train_new_head):
    assert_trained(train_new_head, CNN, PHOTOS, LABELS, 2)
    assert_trained(train_new_head, CNN, PHOTOS, LABELS, 2, steps=3, lr=10.0)  # too far: the loss rises
    numbers = np.array([299, 0, 7, 299], np.uint16)
    assert_trained(train_new_head, CNN, PHOTOS, numbers, 300)
    assert_trained(train_new_head, OWN, MANY[:4].astype(np.float64), LABELS, 2)
    assert_trained(train_new_head, FIRST, COLOURS, LABELS, 2)
    for factor in 4e3, 4e7:  # logits of some thousand, or million
        assert_trained(train_new_head, CNN, np.float32(factor) * PHOTOS, LABELS, 2)


@head.law("forty steps with 70 images, until the loss is below 1/1000")
def worked_long_training(train_new_head):
    assert_trained(train_new_head, CNN, MANY, np.arange(70) % 2, 2, steps=40, lr=0.5)


@head.law("no frozen number changes: no parameter, no running mean or variance, no count of batches")
def frozen_stays(train_new_head):
    options = {"steps": 3, "lr": 0.5, "rng": np.random.default_rng(0)}
    cases = (CNN, PHOTOS), (DEEP, PHOTOS), (RESIDUAL, COLOURS), (ROWS, MANY[:4]), (MLP, PHOTOS)
    for model, images in (*cases, (OWN, MANY[:4]), (FIRST, COLOURS)):
        _, after = train_new_head(model, images, LABELS, 2, **options)
        before = others(model.build().state_dict())
        assert_equal(sorted(others(after["state"])), sorted(before))
        for name, value in before.items():
            same = after["state"][name].tobytes() == value.tobytes()
            assert same, f"{name} changed from {value} to {after['state'][name]}"


def assert_no_new_attributes(built, after, allowed=""):
    known = contents(built)["attributes"]
    new = [name for name in after["attributes"] if name not in known and name.split(".")[-1] != allowed]
    assert not new, f"the model has a new attribute, {new[0]}"


def norms_of(layers):
    return [line.strip() for line in layers.splitlines() if "BatchNorm" in line]


@head.law("only the head's parameters require grad; the model is left in training mode, BatchNorm frozen")
def only_the_head(train_new_head):
    settings = {"num_classes": 2, "widths": (2, 3), "pool_after": (1,), "training": ("",)}  # not its layers
    settings |= {"requires_grad": ("block1", "head"), "masked": True}
    frozen = Built("small_cnn", 1, num_classes=3, widths=(3,), pool_after=(), frozen=True)  # already
    half = Built("small_cnn", 3, **settings)
    cases = (half, PHOTOS), (RESIDUAL, COLOURS), (frozen, PHOTOS), (ROWS, MANY[:4]), (MLP, PHOTOS)
    for model, images in (*cases, (OWN, MANY[:4]), (FIRST, COLOURS)):
        built = model.build()
        _, after = train_new_head(model, images, LABELS, 2, steps=1, lr=0.5, rng=np.random.default_rng(0))
        assert_equal(sorted(after["requires_grad"]), ["head.bias", "head.weight"])
        assert_mode(after, True)
        assert_no_new_attributes(built, after, "frozen_state")  # transfer.freeze stores this one
        assert_equal(sorted(after["masks"]), sorted(others(contents(built)["masks"])))
        norms = norms_of(after["layers"])
        not_frozen = [line for line in norms if not line.endswith(", frozen)")]
        assert not not_frozen, (
            f"the next forward pass moves the statistics of {not_frozen[0]}, which is not frozen"
        )
        layers = repr(Built(model.builder, **{**model.settings, "frozen": True, "num_classes": 2}).build())
        layers = layers.replace(", 2, bias=False)", ", 2)")  # the new head has a bias
        assert_equal(after["layers"].splitlines(), layers.splitlines())


@st.composite
def new_tasks(draw):
    """A network, images (N, 1, 4, 4), labels and the number of classes."""
    n, k = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    model = Built("small_cnn", draw(st.integers(0, 9)), num_classes=3, widths=(2,), pool_after=())
    return model, draw(arrays((n, 1, 4, 4))).astype(np.float32), draw(labels(n, k)), k


@head.law("for any task: the losses before the steps, and the head after them")
@given(task=new_tasks(), lr=st.sampled_from([0.25, 0.5]), steps=st.integers(1, 3))
def any_task(train_new_head, task, lr, steps):
    assert_trained(train_new_head, *task, steps=steps, lr=lr)


@head.law("the head is in float32 and the losses in float64")
def head_dtypes(train_new_head):
    losses, after = train_new_head(CNN, PHOTOS, LABELS, 2, steps=1, lr=0.5, rng=np.random.default_rng(0))
    assert_dtype(losses, np.float64)
    for name in ("head.weight", "head.bias"):
        assert_dtype(after["state"][name], np.float32)


@head.law("ValueError for no classes, for no steps, and for a label that is not a class")
def head_refuses(train_new_head):
    given = {"steps": 1, "lr": 0.5}
    for what, labels_, classes, change in (
        ("no classes", LABELS, 0, {}),
        ("-1 classes", LABELS, -1, {}),
        ("no steps", LABELS, 2, {"steps": 0}),
        ("-1 steps", LABELS, 2, {"steps": -1}),
        ("a label 2 of two classes", LABELS + 1, 2, {}),
        ("a label of -1", LABELS - 1, 2, {}),
        ("a label of -100", np.array([0, 1, -100, 0]), 2, {}),
    ):
        options = {**given, **change, "rng": np.random.default_rng(0)}
        assert_refuses(what, train_new_head, CNN, PHOTOS, labels_, classes, **options)


def trained_with(model, images, labels, num_classes, *, steps, lr, rng, **how):
    """The reference, with one part removed or changed by ``how``."""
    old = model.head
    model.train()
    if how.get("freeze", True):
        model.requires_grad_(False)
    for part in model.modules():
        if isinstance(part, BatchNorm):
            part.frozen = how.get("statistics", True)
    if how.get("replace", True):
        model.head = Linear(old.in_features, num_classes, rng=rng)
    losses = np.empty(positive_int("steps", steps))
    for t in range(steps):
        loss = F.cross_entropy(model(images), labels)
        if how.get("forget", True):
            model.zero_grad()
        loss.backward()
        for parameter in model.parameters() if how.get("all") else model.head.parameters():
            parameter.data = parameter.data - lr * parameter.grad
        losses[t] = loss.item()
    return losses


@head.mistake(
    "BatchNorm uses the batch's statistics, and its running statistics change", breaks=head.laws[0].text
)
def statistics_move(model, *arguments, **options):
    return trained_with(model, *arguments, **options, statistics=False)


@head.mistake("all layers are trained", breaks=head.laws[1].text)
def all_learn(model, *arguments, **options):
    return trained_with(model, *arguments, **options, freeze=False, all=True)


@head.mistake("only the head is trained, but nothing is frozen", breaks=head.laws[4].text)
def nothing_frozen(model, *arguments, **options):
    return trained_with(model, *arguments, **options, freeze=False)


@head.mistake("the gradients of all steps add up", breaks=head.laws[1].text)
def head_piled_up(model, *arguments, **options):
    return trained_with(model, *arguments, **options, forget=False)


@head.mistake("runs in evaluation mode and leaves the model in it", breaks=head.laws[4].text)
def left_in_evaluation(model, images, labels, num_classes, **options):
    losses = trained_with(model, images, labels, num_classes, **options)
    model.eval()
    return losses
