"""Exercises of lesson 18, continued: the gradient of the loss, from a network."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.by_hand import built_once
from minidl import Tensor, grad
from minidl.attack.gradient_sign import LOSSES, loss_gradient
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays

# ---- 18.2 loss_gradient

slope = Exercise(
    "18.2",
    loss_gradient,
    kind="model",
    points=2,
    level=2,
    minutes=20,
    title="the gradient of the loss by the image",
    helpers=("grad", "batch_slices"),
    hints=(
        "An attack needs the gradient of the loss with respect to the image. So the image must require "
        "a gradient, not the weights.",
        "x = Tensor(images, requires_grad=True), then the sum of the losses for model(x), then "
        "grad(loss, x). With the mean over the images, each gradient would be N times too small.",
        "with eval_mode(model): grad(LOSSES[loss](model(x), labels), x). LOSSES has sums over the "
        "images. batch_slices(images) gives slices that fit in memory. What must happen if the gradient is "
        "not finite?",
    ),
)
LINEAR = Built("mlp", seed=3, in_features=3, hidden=(), num_classes=3)
WIDE = {"rtol": 1e-9, "atol": 1e-12}  # rounding in float64 is smaller; in float32 it is larger


def linear(images):
    """W (3, 3), and the logits W x + b and probabilities of each image by ``LINEAR``."""
    head = built_once(LINEAR).head
    W = head.weight.data.astype(np.float64)
    z = images @ W.T + head.bias.data
    return W, z, np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)


def two_classes(*bias):
    return Built("linear", weight=[[1.0, 2.0], [4.0, 3.0]], bias=bias)


@st.composite
def attacked(draw, classes=3):
    """A network of 3 pixels, two images in [0, 1], their labels, and a loss."""
    model = Built("mlp", seed=draw(st.integers(0, 9)), in_features=3, hidden=(4,), num_classes=classes)
    labels = [draw(st.integers(0, classes - 1)) for _ in range(2)]
    return model, draw(arrays((2, 3), 0, 1)), np.array(labels), draw(st.sampled_from(tuple(LOSSES)))


def losses(net, images, labels, loss):
    """J of each image (N,), in float64."""
    z, own = net(Tensor(images)).data, (np.arange(len(labels)), labels)
    if loss == "margin":
        others = z.copy()
        others[own] = -np.inf
        return others.max(axis=1) - z[own]
    return np.log(np.exp(z).sum(axis=1)) - z[own]


def differences(net, images, labels, loss="cross_entropy"):
    """The gradient of each image's loss by central differences, value by value."""
    slopes, h = np.zeros(images.shape), 1e-6
    for i in range(images.shape[1]):
        step = h * (np.arange(images.shape[1]) == i)
        rise = losses(net, images + step, labels, loss) - losses(net, images - step, labels, loss)
        slopes[:, i] = rise / (2 * h)
    return slopes


@slope.law("for a linear network z = W x + b, the gradient of the cross-entropy is Wᵀ (p - 1 at the label)")
def worked_linear(loss_gradient):
    images, labels = np.array([[0.5, 0.75, 0.5], [0.25, 0.0, 1.0]]), np.array([0, 2])
    W, _, p = linear(images)
    expected = (p - np.eye(3)[labels]) @ W
    assert_close(loss_gradient(LINEAR, images, labels), expected, **WIDE)
    middle, up = np.full((1, 2), 0.5), np.array([[3.0, 1.0]])  # up is w_1 - w_0 of two_classes
    sure = loss_gradient(two_classes(0.0, -32.0), middle, np.array([0]))  # p_1 = e^-30
    assert_close(sure, np.exp(-30.0) * up, rtol=1e-2, atol=0)
    surer = loss_gradient(two_classes(0.0, -2000.0), middle, np.array([0]))  # p_1 = 0
    assert_close(surer, 0 * up)
    wrong = loss_gradient(two_classes(0.0, -2000.0), middle, np.array([1]))
    assert_close(wrong, -up, **WIDE)


@slope.law(
    'for this network, the gradient of "margin" is w_k - w_label, where k is the most likely other class'
)
def worked_margin(loss_gradient):
    images, labels = np.array([[0.5, 0.75, 0.5], [0.25, 0.0, 1.0]]), np.array([0, 2])
    W, z, _ = linear(images)
    z[[0, 1], labels] = -np.inf
    expected = W[z.argmax(axis=1)] - W[labels]
    assert_close(loss_gradient(LINEAR, images, labels, "margin"), expected, **WIDE)
    maps = loss_gradient(LINEAR, images.reshape(2, 3, 1, 1), labels, "margin")
    assert_close(maps, expected.reshape(2, 3, 1, 1), **WIDE)
    low = two_classes(-50.0, -1e12)  # with two classes, k is the other class, also if its logit is far below
    found = loss_gradient(low, np.full((2, 2), 0.5), np.array([0, 1]), "margin")
    assert_close(found, [[3, 1], [-3, -1]], **WIDE)
    steep = Built("linear", weight=[[1e8, 2e8], [4e8, 3e8]])
    found = loss_gradient(steep, np.full((2, 2), 0.5), np.array([0, 1]), "margin")
    assert_close(found, [[3e8, 1e8], [-3e8, -1e8]], **WIDE)


@slope.law("each image's gradient agrees with central differences of its own loss")
@given(case=attacked())
def by_slopes(loss_gradient, case):
    model, images, labels, loss = case
    expected = differences(built_once(model), images, labels, loss)
    assert_close(loss_gradient(model, images, labels, loss), expected, rtol=1e-4, atol=1e-6)


@slope.law("an image among 20 or 300 has the same gradient as alone, and float32 stays float32")
def each_image_alone(loss_gradient):
    model = Built("small_cnn", seed=1, num_classes=3, in_channels=2, widths=(3,), pool_after=(1,))
    images = np.random.default_rng(1).random((20, 2, 4, 6)).astype(np.float32)
    for loss in LOSSES:
        together = loss_gradient(model, images, np.arange(20) % 3, loss)
        assert_dtype(together, np.float32)
        for n in (0, 7, 19):
            alone = loss_gradient(model, images[n : n + 1], np.array([n % 3]), loss)
            assert_close(together[n : n + 1], alone, rtol=1e-3, atol=1e-6)
    assert_dtype(loss_gradient(model, images[:1].astype(np.float64), np.array([0])), np.float64)
    high, middle = two_classes(2.0**25, 2.0**25), np.full((1, 2), 0.5)  # in float32 a multiple of 4 is added
    for dtype, gap in ((np.float64, 2), (np.float32, 4)):
        p = 1 / (1 + np.exp(-gap))
        found = loss_gradient(high, middle.astype(dtype), np.array([0]))
        assert_close(found, p * np.array([[3.0, 1.0]]), rtol=1e-3)
    rows, labels = np.arange(900).reshape(300, 3) % 13 / 13, np.arange(300) % 3
    W, _, p = linear(rows)
    by_columns = np.asfortranarray(rows)  # in memory column by column
    assert_close(loss_gradient(LINEAR, by_columns, labels), (p - np.eye(3)[labels]) @ W, **WIDE)


@slope.law("a frozen network in training mode runs in evaluation mode, and is as before afterwards")
def while_training(loss_gradient):
    images, labels = np.array([[0.5, 0.75, 0.5], [0.25, 0.0, 1.0]]), np.array([0, 2])
    frozen = {"training": True, "requires_grad": False}
    for how in ({"training": True}, {"requires_grad": ("head",)}, frozen, {"training": ("dropout1",)}):
        model = Built("mlp", seed=2, in_features=3, hidden=(4,), num_classes=3, dropout=0.5, **how)
        for loss in LOSSES:
            expected = differences(model.build().eval(), images, labels, loss)
            assert_close(loss_gradient(model, images, labels, loss), expected, rtol=1e-4, atol=1e-6)
        assert_refuses("images of 2 pixels", loss_gradient, model, images[:, :2], labels)
    scales = Built("batch_norm", mean=[0.0] * 3, var=[1.0, 4.0, 16.0], eps=0.0, training=True)
    p = np.exp(images / [1, 2, 4])
    expected = (p / p.sum(axis=1, keepdims=True) - np.eye(3)[labels]) / [1, 2, 4]
    assert_close(loss_gradient(scales, images, labels), expected, **WIDE)


@slope.law("a gradient with a NaN or an infinite value raises FloatingPointError")
def not_finite(loss_gradient):
    infinite = np.full((1, 3), np.inf, np.float32)
    second = np.concatenate([0 * infinite.clip(0, 1), infinite])
    weight = np.array([[3e38, 1.0], [-3e38, 0.0], [-3e38, 0.0]])  # all logits of 0 are 0
    steep, down = (Built("linear", weight=(s * weight).tolist(), training=True) for s in (1, -1))
    zeros = np.zeros((1, 2), np.float32)
    for model, images, which, *loss in (
        (LINEAR, infinite, "an image of infinities"),
        (LINEAR, second, "an image of zeros and one of infinities"),
        (LINEAR, second[::-1], "an image of infinities and one of zeros"),
        (steep, zeros, "weights of 3e38 and -3e38"),
        (down, zeros, "weights of -3e38 and 3e38"),
        (steep, zeros, "the margin for weights of 3e38 and -3e38", "margin"),
    ):
        try:
            with np.errstate(all="ignore"):
                gradient = loss_gradient(model, images, np.zeros(len(images), int), *loss)
        except FloatingPointError:
            continue
        raise AssertionError(f"{which} gave {gradient.tolist()}, no FloatingPointError")
    large = Built("linear", weight=[[-3e38, -3e38], [0.0, 0.0]])  # the sum of the slopes is too large
    assert_close(loss_gradient(large, zeros, np.array([0]), "margin"), [[3e38, 3e38]])


def gradient_of_number(model, images, number):
    """The gradient of ``number(logits)``, with the checks of the exercise."""
    x = Tensor(images, requires_grad=True)
    gradient = grad(number(model(x)), x)
    if not np.isfinite(gradient).all():
        raise FloatingPointError("not finite")
    return gradient


@slope.mistake(
    "took the mean over the images, so each gradient is N times too small", breaks=slope.laws[0].text
)
def mean_loss(model, images, labels, loss="cross_entropy"):
    return loss_gradient(model, images, labels, loss) / len(images)


@slope.mistake("took the gradient of the label's logit, not of the loss", breaks=slope.laws[0].text)
def of_the_logit(model, images, labels, loss="cross_entropy"):
    own = (np.arange(len(labels)), labels)
    return gradient_of_number(model, images, lambda logits: -logits[own].sum())


@slope.mistake("returned the gradient with the opposite sign", breaks=slope.laws[0].text)
def downhill(model, images, labels, loss="cross_entropy"):
    return -loss_gradient(model, images, labels, loss)


@slope.mistake("used the cross-entropy for every loss", breaks=slope.laws[1].text)
def one_loss(model, images, labels, loss="cross_entropy"):
    return loss_gradient(model, images, labels)
