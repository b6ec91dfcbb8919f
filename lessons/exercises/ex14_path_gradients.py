"""Exercises of lesson 14: integrated gradients of a model and images."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.by_hand import built_once
from minidl import Tensor
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.explain.baseline import baseline_images
from minidl.explain.gradients import gradient_by_rule, integrated_gradients, path_nodes
from minidl.explain.target import images_and_target

# ---- 14.5 integrated_gradients

path = Exercise(
    "14.5",
    integrated_gradients,
    title="integrated gradients of a network",
    helpers=("gradient_by_rule",),
    kind="model",
    points=3,
    level=3,
    minutes=40,
    hints=(
        "Go along the straight line from the baseline b to the image x. Take the gradient of f at some "
        "points of the line, and average it with the weights of the points. Multiply the average by x - "
        "b.",
        "images, goal = images_and_target(model, images, target) checks both, and goal says what f is. "
        "baseline_images(images, baseline, rng) gives b. path_nodes(steps, nodes) gives the points α "
        "and their weights. gradient_by_rule(model, points, goal) gives df/dx at the points.",
        "The point at α is b + α (x - b). average += weight * gradient_by_rule(model, ..., goal). What "
        "comes after the loop?",
    ),
)
NEAR = {"rtol": 1e-4, "atol": 1e-6}
WIDE = {"rtol": 1e-9, "atol": 1e-12}  # rounding in float64 is smaller; in float32 it is larger
CLASSES = 3
PHOTO = np.arange(32.0).reshape(1, 2, 4, 4) % 5 / 4 - 0.25  # an image of two channels and 4 x 4 pixels
PHOTO[:, 1] *= 2


def layers(seed, *hidden, pixels=4):
    """Linear layers with ReLUs between them."""
    return Built("mlp", seed=seed, in_features=pixels, hidden=hidden, num_classes=CLASSES)


def cnn(seed, **how):
    """A convolution, a BatchNorm, a ReLU, a mean over the pixels and a linear layer, for two channels."""
    settings = {"num_classes": CLASSES, "in_channels": 2, "widths": (3,), "pool_after": ()}
    return Built("small_cnn", seed=seed, **settings, **how)


def slope_by_hand(net, x, k):
    """df/dx of logit k for a network with one hidden layer: only active units pass the gradient."""
    first = net.fc1.weight.data.astype(np.float64), net.fc1.bias.data.astype(np.float64)
    slope = np.zeros(x.size)
    for j, (w, c) in enumerate(zip(*first, strict=True)):
        if w @ x.ravel() + c > 0:
            slope += float(net.head.weight.data[k, j]) * w
    return slope.reshape(x.shape)


def points_of(steps, nodes):
    """(α, weight) of each point: centres of equal parts, or Gauss's points between 0 and 1."""
    if nodes == "midpoint":
        return [((2 * k + 1) / (2 * steps), 1 / steps) for k in range(steps)]
    points, weights = np.polynomial.legendre.leggauss(steps)
    return [((1 + p) / 2, w / 2) for p, w in zip(points, weights, strict=True)]


def way_by_hand(net, images, classes, b, points):
    """Integrated gradients of a network with one hidden layer, point by point."""
    found = np.zeros(images.shape)
    for n, k in enumerate(classes):
        way = images[n] - b[n]
        for alpha, weight in points:
            found[n] += weight * slope_by_hand(net, b[n] + alpha * way, k) * way
    return found


def slope_along(f, images, b, steps):
    """The mean slope of f along the line from b to each image, at this number of Gauss nodes."""
    h, slope = 1e-5, 0.0
    for alpha, weight in points_of(steps, "gauss"):
        before, after = (b + (alpha + shift) * (images - b) for shift in (-h, h))
        slope = slope + weight * (f(Tensor(after)).data - f(Tensor(before)).data) / (2 * h)
    return slope


@st.composite
def asked(draw):
    """A network with one hidden layer, two images (2, 1, 2, 2), a class for each, a baseline, and nodes."""
    model = layers(draw(st.integers(0, 9)), draw(st.integers(1, 4)))
    target = np.array([draw(st.integers(0, CLASSES - 1)), draw(st.integers(0, CLASSES - 1))])
    images, baseline = draw(arrays((2, 1, 2, 2))), draw(arrays(st.sampled_from([(1, 2, 2), (2, 1, 2, 2)])))
    return (
        model,
        images,
        target,
        baseline,
        draw(st.integers(1, 6)),
        draw(st.sampled_from(["gauss", "midpoint"])),
    )


@path.law("for one linear layer the result is w · (x - b), pixel by pixel, with any number of nodes")
def of_one_layer(integrated_gradients):
    model, x, b = layers(0), np.array([[[[1.0, -2.0], [0.5, 3.0]]]]), np.array([[[0.5, 0.5], [0.5, -1.0]]])
    w = model.build().head.weight.data.astype(np.float64)
    for k in range(CLASSES):
        expected = w[k].reshape(1, 1, 2, 2) * (x - b)
        for options in ({"steps": 1}, {"steps": 4, "nodes": "midpoint"}, {"steps": 3}):
            assert_close(integrated_gradients(model, x, k, baseline=b, **options), expected, **WIDE)
        expected = w[k].reshape(1, 1, 2, 2) * (x - 0.1)  # 0.1 is another number in float32
        maps = integrated_gradients(model, x, k, baseline=0.1, steps=2)
        assert_close(maps, expected, rtol=1e-10, atol=0)
    many = np.arange(1200.0).reshape(300, 1, 2, 2) * 1e6
    maps = integrated_gradients(model, many, np.int64(2), steps=1)
    assert_close(maps, w[2].reshape(1, 1, 2, 2) * many, **WIDE)


@path.law("a hidden unit counts only at the points where it is active; each image has its own class")
@given(case=asked())
def point_by_point(integrated_gradients, case):
    model, images, target, baseline, steps, nodes = case
    b = np.broadcast_to(baseline, images.shape)
    expected = way_by_hand(built_once(model), images, target, b, points_of(steps, nodes))
    options = {"baseline": baseline, "steps": steps, "nodes": nodes}
    assert_close(integrated_gradients(model, images, target, **options), expected, **NEAR)


@path.law("by default there are 64 Gauss nodes; 130 work too; maps have the shape and dtype of the images")
def defaults(integrated_gradients):
    model, images = layers(5, 4), np.array([[[[2.0, -1.0], [0.25, 1.0]]]])
    expected = way_by_hand(model.build(), images, [1], 0 * images, points_of(64, "gauss"))
    maps = integrated_gradients(model, images, 1)
    assert_close(maps, expected, **WIDE)
    assert_dtype(maps, np.float64)
    zeros = np.zeros((1, 2, 2))  # in float64
    expected = way_by_hand(model.build(), images, [1], 0 * images, points_of(3, "gauss"))
    maps = integrated_gradients(model, images.astype(np.float32), 1, baseline=zeros, steps=3)
    assert_close(maps, expected, rtol=1e-3, atol=1e-5)
    assert_dtype(maps, np.float32)
    expected = way_by_hand(model.build(), images, [1], 0 * images, points_of(130, "gauss"))
    assert_close(integrated_gradients(model, images, 1, steps=130), expected, rtol=1e-6, atol=1e-8)
    edge = layers(0, 4, pixels=1)
    net = edge.build()  # at half of this image a unit's input is 0 in float32, and above 0 in float64
    image = (-2 * net.fc1.bias.data[2] / net.fc1.weight.data[2]).reshape(1, 1, 1, 1)
    active = net.fc1(Tensor(image.reshape(1, 1) / 2)).data[0] > 0
    expected = image * (net.head.weight.data[1] * active) @ net.fc1.weight.data
    assert_close(integrated_gradients(edge, image, 1, steps=1), expected, rtol=1e-3, atol=1e-5)


@path.law("if target is None, the class predicted for x is used at all points of the line")
def class_of_the_image(integrated_gradients):
    model, images = layers(2, 4), np.array([[[[2.0, -1.0], [0.25, 1.0]]], [[[-2.0, 1.0], [1.0, -2.0]]]])
    net = model.build()
    b = np.broadcast_to(np.array([[[-3.0, 2.0], [1.0, -2.0]]]), images.shape)
    expected = way_by_hand(net, images, net(Tensor(images)).data.argmax(axis=1), b, points_of(8, "gauss"))
    assert_close(integrated_gradients(model, images, baseline=b[0], steps=8), expected, **NEAR)
    maps = integrated_gradients(model, images.reshape(2, 4), baseline=b[0].ravel(), steps=8)  # as rows
    assert_close(maps, expected.reshape(2, 4), **NEAR)
    model, head = layers(0, pixels=1), layers(0, pixels=1).build().head
    w, c = head.weight.data[:2, 0].astype(np.float64), head.bias.data[:2].astype(np.float64)
    x = (c[1] - c[0]) / (w[0] - w[1]) * np.array([1 - 1e-10, 1 + 1e-10])
    first = (np.outer(x, w) + c).argmax(axis=1)  # two classes in float64, and one in float32
    maps = integrated_gradients(model, x.reshape(2, 1), steps=1)
    assert_close(maps, (x * w[first]).reshape(2, 1), **NEAR)


@path.law('b is 0 by default, or a number, an array, "mean" of each channel, or "noise", drawn once')
def baselines(integrated_gradients):
    model, images, shape = cnn(2), np.concatenate([PHOTO, PHOTO[:, ::-1] ** 2]), (2, 2, 4, 4)
    means = np.array([[np.full((4, 4), image[c].mean()) for c in range(2)] for image in images])
    noise = np.random.default_rng(4).random(shape)
    numbers = ({}, 0), ({"baseline": 0.25}, 0.25), ({"baseline": -1}, -1)
    for said, number in numbers:
        same = np.full(shape, float(number))
        expected = integrated_gradients(model, images, 1, baseline=same, steps=2)
        assert_close(integrated_gradients(model, images, 1, steps=2, **said), expected, **NEAR)
    for word, same in (("mean", means), ("noise", noise)):
        rng, options = np.random.default_rng(4), {"steps": 2, "nodes": "midpoint"}
        expected = integrated_gradients(model, images, 1, baseline=same, **options)
        maps = integrated_gradients(model, images, 1, baseline=word, rng=rng, **options)
        assert_close(maps, expected, **NEAR)
    maps = integrated_gradients(model, images, 1, steps=2, baseline="noise")  # rng is optional
    assert_equal((maps.shape, bool(maps.any())), (shape, True))
    rows, classes = np.array([[1.0, -2.0, 0.5, 3.5], [2.0, 1.0, -1.0, 4.0]]), (2, 0)
    model, means = layers(0, 3), rows.mean(axis=1, keepdims=True)
    expected = integrated_gradients(model, rows, list(classes), baseline=means, steps=2)
    assert_close(integrated_gradients(model, rows, classes, baseline="mean", steps=2), expected, **NEAR)


@path.law(
    "the pixels' sum is the mean slope of f on the line, so f(x) - f(b) for a smooth f; in evaluation mode"
)
def complete(integrated_gradients):
    net, images = cnn(1).build(), np.concatenate([PHOTO, -PHOTO[:, ::-1]])[:, :, :3]  # 3 x 4 pixels
    own = Built("shared_relu", seed=2, in_features=24, num_classes=CLASSES, training=True)  # with a Dropout
    own_net, slope = own.build().eval(), slope_along(net, images, 0.5, 3)[:, 2]
    for how in ({}, {"training": True, "requires_grad": False}, {"training": ("block1",)}):
        maps = integrated_gradients(cnn(1, **how), images, 2, baseline=0.5, steps=3)
        assert_close(maps.sum(axis=(1, 2, 3)), slope, **NEAR)
    slope = slope_along(net.block1, images, 0, 3)[:, 1, 0, 3]
    maps = integrated_gradients(cnn(1), images, ("block1", 1, 0, 3), steps=3)
    assert_close(maps.sum(axis=(1, 2, 3)), slope, **NEAR)
    maps = integrated_gradients(own, images, 2, steps=3)
    assert_close(maps.sum(axis=(1, 2, 3)), slope_along(own_net, images, 0, 3)[:, 2], **NEAR)
    rows, linear = np.array([[1.0, -2.0, 0.5, 3.0], [-4.0, 2.0, 1.0, 0.0]]), layers(4)
    head = linear.build().head
    w, c = (p.data[[0, 2]].astype(np.float64) for p in (head.weight, head.bias))
    for x, near in (
        (rows, {"rtol": 1e-11, "atol": 1e-11}),
        (1000 * rows, WIDE),
    ):  # also where e^z is infinite
        maps, expected = integrated_gradients(linear, x, {0, 2}, steps=8), 0.0  # f = log(e^z0 + e^z2)
        for alpha, weight in points_of(8, "gauss"):
            z = alpha * x @ w.T + c
            shares = np.exp(z - z.max(axis=1, keepdims=True))
            expected = expected + weight * x * (shares / shares.sum(axis=1, keepdims=True) @ w)
        assert_close(maps, expected, **near)
    model = layers(4, 3)
    slope = slope_along(model.build()[:3], rows, 0, 3)
    for j in range(3):
        maps = integrated_gradients(model, rows, ("relu1", j), steps=3)
        assert_close(maps.sum(axis=1), slope[:, j].copy(), **NEAR)


@path.law("ValueError for steps below 1, other nodes, an unknown class or baseline, and NaN")
def refuses(integrated_gradients):
    model, images = cnn(0, training=True), np.ones((2, 2, 2, 2))
    no_number = {"baseline": np.array([[0.0, np.nan]])}
    for options in ({"steps": 0}, {"steps": -1}, {"nodes": "simpson"}, {"baseline": "median"}, no_number):
        for more in ({}, {"steps": 1}, {"baseline": 1.0}):  # 1.0 is the images themselves
            assert_refuses(str(options), integrated_gradients, model, images, 0, **{**more, **options})
    units = ("block2", 0, 0, 0), ("block1", 3, 0, 0), ("block1", 0), ("head", CLASSES), ("head", -1)
    some = np.array([0, 1, 2]), np.array([0, CLASSES]), [0, -1]  # of three classes, for two images
    for target in (CLASSES, -1, *some, {1, CLASSES}, *units, ("head", 0, 0)):
        assert_refuses(f"the target {target}", integrated_gradients, model, images, target)
    for shape in ((3,), (4, 2, 2, 2)):
        which = f"a baseline {shape} for one image {images[:1].shape}"
        assert_refuses(which, integrated_gradients, model, images[:1], 0, baseline=np.zeros(shape))
    assert_refuses("an image of NaN", integrated_gradients, model, np.nan * images, 0)


def walked(model, images, target=None, *, baseline=0.0, steps=64, nodes="gauss", rng=None, **changes):
    """Integrated gradients with one thing changed: the points, the weights, the class, or the factor."""
    images, goal = images_and_target(model, images, target)
    b = baseline_images(images, baseline, rng)
    alphas, weights = path_nodes(steps, nodes)
    average = np.zeros_like(images)
    for alpha, weight in zip(alphas.tolist(), weights.tolist(), strict=True):
        point = b + alpha * (images - b) if "point" not in changes else changes["point"](images, b, alpha)
        one = images_and_target(model, point, target)[1] if changes.get("each") else goal
        average += changes.get("weight", weight) * gradient_by_rule(model, point, one)
    return changes["factor"](images, b) * average if "factor" in changes else (images - b) * average


@path.mistake("returned the mean gradient, without the factor x - b", breaks=path.laws[0].text)
def mean_gradient(model, images, target=None, **options):
    return walked(model, images, target, factor=lambda x, b: 1, **options)


@path.mistake("multiplied by x instead of x - b", breaks=path.laws[0].text)
def times_the_image(model, images, target=None, **options):
    return walked(model, images, target, factor=lambda x, b: x, **options)


@path.mistake(
    "took the gradient only at the image",
    breaks="by default there are 64 Gauss nodes; 130 work too; maps have the shape and dtype of the images",
)
def at_the_image(model, images, target=None, **options):
    return walked(model, images, target, point=lambda x, b, alpha: x, **options)


@path.mistake(
    "started the line at 0 instead of the baseline",
    breaks="if target is None, the class predicted for x is used at all points of the line",
)
def from_zero(model, images, target=None, **options):
    return walked(model, images, target, point=lambda x, b, alpha: alpha * x, **options)


@path.mistake(
    "used the class predicted for each point of the line",
    breaks="if target is None, the class predicted for x is used at all points of the line",
)
def own_classes(model, images, target=None, **options):
    return walked(model, images, target, each=True, **options)


@path.mistake("summed over the points without their weights", breaks=path.laws[0].text)
def no_weights(model, images, target=None, **options):
    return walked(model, images, target, weight=1.0, **options)


@path.mistake(
    "gave all points the same weight",
    breaks="by default there are 64 Gauss nodes; 130 work too; maps have the shape and dtype of the images",
)
def same_weights(model, images, target=None, *, steps=64, **options):
    return walked(model, images, target, steps=steps, weight=1 / steps, **options)
