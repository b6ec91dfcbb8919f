"""Exercises of lesson 14: an occlusion map of a model and images."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.by_hand import built_once
from minidl import Tensor
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.engine.conv import pair
from minidl.explain.baseline import baseline_images
from minidl.explain.occlusion import average_over_windows, occlusion_map, scores, window_starts
from minidl.explain.target import images_and_target

# ---- 14.4 occlusion_map

occlusion = Exercise(
    "14.4",
    occlusion_map,
    title="an occlusion map of a network",
    helpers=(
        "scores",
        "window_starts",
    ),
    kind="model",
    points=3,
    level=3,
    minutes=40,
    hints=(
        "Loop over the rows and the columns of the windows. For each window, copy the images, put the "
        "baseline into this window, and store the drop of f. At the end each pixel gets the mean drop "
        "of its windows.",
        "images, goal = images_and_target(model, images, target, maps=True, probability=probability) "
        'checks both. scores(model, images, goal, probability) gives f (N,). pair("window", window, 1) '
        "gives (height, width). window_starts(size, window, stride) gives the starts along one axis. "
        "average_over_windows turns the drops (N, rows, columns) into maps.",
        "covered[:, :, down, across] = cover[:, :, down, across], with cover = baseline_images(images, "
        "baseline, rng). Then drops[:, i, j] = scores(...) - ...: in which order?",
    ),
)
NEAR = {"rtol": 1e-4, "atol": 1e-6}
WIDE = {"rtol": 1e-9, "atol": 1e-12}  # rounding in float64 is smaller; in float32 it is larger
NETWORK = {"num_classes": 3, "in_channels": 2, "widths": (3,), "pool_after": ()}
IMAGE = np.arange(40.0).reshape(1, 2, 4, 5) % 7 / 4 - 0.5  # an image of two channels and 4 x 5 pixels
IMAGE[:, 1] += 1.5  # the second channel is much brighter


def linear(seed, pixels, classes=2):
    """A model that is one linear layer."""
    return Built("mlp", seed=seed, in_features=pixels, hidden=(), num_classes=classes)


def network(seed, **how):
    """A convolution, a BatchNorm, a ReLU, a mean over the pixels and a linear layer, for two channels."""
    return Built("small_cnn", seed=seed, **NETWORK, **how)


def begins(size, window, stride):
    """The starts of the windows, in steps of the stride, until a window reaches the end."""
    found = [0]
    while found[-1] + window < size:
        found.append(found[-1] + stride)
    return found


def map_by_loops(f, images, cover, window, stride):
    """For each pixel, the mean drop of f over the windows that cover it."""
    n, _, height, width = images.shape
    total, count, whole = np.zeros((n, height, width)), np.zeros((height, width)), f(images)
    for top in begins(height, window[0], stride[0]):
        for left in begins(width, window[1], stride[1]):
            inside = np.zeros((height, width), bool)
            inside[top : top + window[0], left : left + window[1]] = True
            lost = whole - f(np.where(inside, cover, images))
            total += lost[:, np.newaxis, np.newaxis] * inside
            count += inside
    return total / count


def probabilities(z):
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@st.composite
def asked(draw):
    """Two images (2, C, H, W) for a linear model, a class for each, sizes of windows, and a baseline."""
    channels, height, width = draw(st.sampled_from([1, 4])), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    window = draw(st.integers(1, height)), draw(st.integers(1, width))
    stride = draw(st.integers(1, window[0])), draw(st.integers(1, window[1]))
    model = linear(draw(st.integers(0, 9)), channels * height * width)
    target = np.array([draw(st.integers(0, 1)), draw(st.integers(0, 1))])
    cover = draw(arrays((1, height, width)))
    return model, draw(arrays((2, channels, height, width))), target, window, stride, cover


@occlusion.law(
    "three pixels, a linear layer, windows of two pixels: the middle pixel has the mean of two drops"
)
def worked_map(occlusion_map):
    model, x = linear(0, 3), np.array([[[[1.1, -2.3, 3.7]]]])
    w = model.build().head.weight.data[1].astype(np.float64)
    maps = occlusion_map(model, x, 1, window=(1, 2), stride=(1, 1), baseline=0.1)
    left, right = 1.0 * w[0] - 2.4 * w[1], -2.4 * w[1] + 3.6 * w[2]  # w · (x - 0.1) of a window
    assert_close(maps, [[[left, (left + right) / 2, right]]], **WIDE)


@occlusion.law("for a linear layer, a window's drop is w · (x - cover), with the w of each image's class")
@given(case=asked())
def of_a_linear_model(occlusion_map, case):
    model, images, target, window, stride, cover = case
    w = built_once(model).head.weight.data.astype(np.float64)[target].reshape(images.shape)
    expected = map_by_loops(lambda x: (w * x).sum(axis=(1, 2, 3)), images, cover, window, stride)
    maps = occlusion_map(model, images, target, window=window, stride=stride, baseline=cover)
    assert_close(maps, expected, **NEAR)


@occlusion.law("f of a network is the logit, the probability, or a unit's output, all in evaluation mode")
def of_a_network(occlusion_map):
    net, images = network(3).build(), np.concatenate([IMAGE, -2 * IMAGE[:, :, ::-1]])
    own = Built("shared_relu", seed=3, in_features=40, num_classes=3, training=True)  # with a Dropout
    own_net = own.build().eval()

    def logit(x):
        return net(Tensor(x)).data[:, 2]

    def probability(x):
        return probabilities(net(Tensor(x)).data)[:, 2]

    def unit(x):
        return net.block1(Tensor(x)).data[:, 1, 0, 3]  # of a ReLU

    def own_logit(x):
        return own_net(Tensor(x)).data[:, 2]

    def any_class(x):
        return np.log(np.exp(net(Tensor(x)).data).sum(axis=1))

    def probability_of_either(x):
        return probabilities(net(Tensor(x)).data)[:, [0, 2]].sum(axis=1)

    def own_probability(x):
        return probabilities(net(Tensor(x)).data)[[0, 1], [2, 0]]

    frozen, mixed = network(3, training=True, requires_grad=False), network(3, training=("block1",))
    cases = [
        (frozen, logit, (2, 2), False),
        (mixed, logit, ("head", 2), False),
        (frozen, probability, 2, True),
        (mixed, own_probability, [2, 0], True),
        (frozen, any_class, {0, 1, 2}, False),
        (mixed, probability_of_either, {0, 2}, True),
        (frozen, unit, ("block1.relu", 1, 0, 3), False),
        (own, own_logit, 2, False),
    ]
    for model, f, target, asks in cases:
        expected = map_by_loops(f, images, 0.25, (3, 2), (3, 2))
        maps = occlusion_map(
            model, images, target, window=(3, 2), stride=(3, 2), baseline=0.25, probability=asks
        )
        assert_close(maps, expected, **NEAR)
    big, bright = linear(3, 40, 3), images * np.reshape([1e4, 3e3], (2, 1, 1, 1))
    big_net = big.build()  # its logits are so large that e^z is infinite
    for f, target, asks in (
        (lambda x: probabilities(big_net(Tensor(x)).data)[:, 2], 2, True),
        (lambda x: np.logaddexp(*big_net(Tensor(x)).data[:, [0, 2]].T), {0, 2}, False),
    ):
        expected = map_by_loops(f, bright, 0.25, (3, 2), (3, 2))
        sizes = {"window": (3, 2), "stride": (3, 2), "baseline": 0.25}
        assert_close(occlusion_map(big, bright, target, probability=asks, **sizes), expected, **NEAR)


@occlusion.law("if target is None, f is for the class of the uncovered image, even if a window changes it")
def class_of_the_whole(occlusion_map):
    model, images = linear(3, 4, 3), np.array([[[[2.0, 0.0], [0.0, -1.0]]], [[[-2.0, 0.5], [1.0, 0.0]]]])
    net = model.build()
    first = net(Tensor(images)).data.argmax(axis=1)  # 2 and 0
    w = net.head.weight.data.astype(np.float64)[first].reshape(images.shape)
    expected = map_by_loops(lambda x: (w * x).sum(axis=(1, 2, 3)), images, -1.0, (1, 2), (1, 1))
    options = {"window": (1, 2), "stride": 1, "baseline": -1.0}
    assert_close(occlusion_map(model, images, **options), expected, **NEAR)
    shares = map_by_loops(
        lambda x: probabilities(net(Tensor(x)).data)[np.arange(2), first], images, -1.0, (1, 2), (1, 1)
    )
    assert_close(occlusion_map(model, images, probability=True, **options), shares, **NEAR)
    model, head = linear(0, 1), linear(0, 1).build().head
    w, b = head.weight.data[:, 0].astype(np.float64), head.bias.data.astype(np.float64)
    x = (b[1] - b[0]) / (w[0] - w[1]) * np.array([1 - 1e-10, 1 + 1e-10]).reshape(2, 1, 1, 1)
    first = (x[:, 0, 0] * w + b).argmax(axis=1)  # two classes in float64, and one in float32
    maps = occlusion_map(model, x, window=1, stride=1, baseline=0)
    assert_close(maps, x[:, 0] * w[first].reshape(2, 1, 1), **NEAR)


@occlusion.law('the baseline is "mean" of each channel of each image, an array, or "noise", drawn once')
def covers(occlusion_map):
    model, images = network(5), np.concatenate([IMAGE, IMAGE[:, ::-1] ** 2]).astype(np.float32)
    means = np.array([[[[image[c].mean()]] for c in range(2)] for image in images])
    noise = np.random.default_rng(4).random(images.shape).astype(np.float32)
    net, means = model.build(), np.broadcast_to(means, images.shape)

    def probability(x):
        return probabilities(net(Tensor(x)).data)[:, 0]

    for word, same, f, options in (
        ("mean", means, lambda x: net(Tensor(x)).data[:, 0], {}),
        ("noise", noise, probability, {"stride": 1, "probability": True}),
    ):
        expected = map_by_loops(f, images, same, (3, 3), (1, 1) if options else (2, 2))
        rng = np.random.default_rng(4)
        maps = occlusion_map(model, images, 0, window=3, baseline=word, rng=rng, **options)
        assert_close(maps, expected, rtol=1e-3, atol=1e-5)
        maps = occlusion_map(model, images, 0, window=3, baseline=same, **options)
        assert_close(maps, expected, rtol=1e-3, atol=1e-5)
    maps = occlusion_map(model, images, 0, window=3, baseline="noise")  # rng is optional
    assert_equal((maps.shape, bool(maps.any())), ((2, 4, 5), True))


@occlusion.law(
    'by default window 4, stride 2, baseline "mean", and f the logit; all is computed in the images\' dtype'
)
def defaults(occlusion_map):
    model, images = network(2), np.concatenate([IMAGE, IMAGE, IMAGE[:, ::-1]], axis=2)  # (1, 2, 12, 5)
    maps = occlusion_map(model, images, np.int64(1))
    said = {"window": (4, 4), "stride": (2, 2), "baseline": "mean", "probability": False}
    assert_close(maps, occlusion_map(model, images, 1, **said), **NEAR)
    net, means = model.build(), images.mean(axis=(2, 3), keepdims=True)
    expected = map_by_loops(lambda x: net(Tensor(x)).data[:, 1], images, means, (4, 4), (2, 2))
    assert_close(maps, expected, **NEAR)
    assert_dtype(maps, np.float64)
    assert_dtype(occlusion_map(model, images.astype(np.float32), 1), np.float32)
    many, model = np.arange(600.0).reshape(300, 1, 1, 2) / 4, linear(0, 2)
    drops = many[:, 0] * model.build().head.weight.data.astype(np.float64)[1]
    assert_close(occlusion_map(model, many, 1, window=1, stride=1, baseline=0), drops, **NEAR)
    pixels = np.float32([[[[2**30, 1.0]]]])  # in float32, the second pixel is lost beside the first
    drops = [[[2.0**30 * model.build().head.weight.data[1, 0], 0.0]]]
    assert_close(occlusion_map(model, pixels, 1, window=1, stride=1, baseline=0), drops, atol=0)


@occlusion.law(
    "ValueError: window above the image size, stride above the window, rows, unknown class or baseline"
)
def refuses(occlusion_map):
    model, images = network(0, training=True), IMAGE  # 4 x 5 pixels
    too_large = [{"window": 5}, {"window": (4, 6)}, {"window": 2, "stride": 3}, {"window": 2, "stride": 0}]
    one_window = {"window": (4, 5), "stride": (5, 5)}
    for sizes in (*too_large, {"window": 2, "stride": (3, 2)}, {"window": 2, "stride": (2, 3)}, one_window):
        assert_refuses(f"{sizes} on 4 x 5 pixels", occlusion_map, model, images, 0, **sizes)
        assert_refuses(f"{sizes} on 4 x 5 equal pixels", occlusion_map, model, 0 * images, 0, **sizes)
    units = ("block2", 0, 0, 0), ("block1", 3, 0, 0), ("block1", 0), ("head", 3), ("head", -1), ("head", 0, 0)
    numbers = 3, -1, np.array([0, 1]), np.array([3]), [-1], {2, 3}  # of three classes, for one image
    for target in (*numbers, *units):
        assert_refuses(f"the target {target}", occlusion_map, model, images, target)
    assert_refuses("rows (2, 4)", occlusion_map, linear(0, 4), np.ones((2, 4)), 0, window=1, stride=1)
    for unit in (("block1", 0, 1, 1), ("head", 2)):
        which = f"the probability of unit {unit}"
        assert_refuses(which, occlusion_map, model, images, unit, probability=True)
    assert_refuses("the baseline 'median'", occlusion_map, model, images, 0, baseline="median")
    for shape in ((3, 3), (2, 2, 4, 5)):  # for one image (1, 2, 4, 5)
        assert_refuses(f"a baseline {shape}", occlusion_map, model, images, 0, baseline=np.zeros(shape))


def occluded(model, images, target, window, stride, cover, probability, *, each=False, pile=False):
    """The library's map.

    ``each``: f is the class of each covered image. ``pile``: old windows stay covered.
    """
    images, goal = images_and_target(model, images, target, maps=True, probability=probability)
    size, windows, strides = images.shape[2:], pair("window", window, 1), pair("stride", stride, 1)
    rows, columns = (window_starts(*sides) for sides in zip(size, windows, strides, strict=True))
    drops, covered = np.empty((len(images), len(rows), len(columns)), images.dtype), images.copy()
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            covered = covered if pile else images.copy()
            place = np.s_[:, :, top : top + windows[0], left : left + windows[1]]
            covered[place] = cover[place]
            one = images_and_target(model, covered, None)[1] if each and target is None else goal
            drops[:, i, j] = scores(model, images, goal, probability)
            drops[:, i, j] -= scores(model, covered, one, probability)
    return average_over_windows(drops, size, windows, strides)


OPTIONS = {"window": 4, "stride": 2, "baseline": "mean", "probability": False, "rng": None}


def changed(model, images, target, given_options, **changes):
    """``occluded`` with the options of a call."""
    one = {**OPTIONS, **given_options}
    cover = baseline_images(images, one["baseline"], one["rng"])
    sizes = one["window"], one["stride"]
    return occluded(model, images, target, *sizes, cover, one["probability"], **changes)


@occlusion.mistake(
    "subtracted f of the whole image from f of the covered image", breaks=occlusion.laws[0].text
)
def the_other_way(model, images, target=None, **options):
    return -occlusion_map(model, images, target, **options)


@occlusion.mistake("did not uncover the earlier windows", breaks=occlusion.laws[0].text)
def piled_up(model, images, target=None, **options):
    return changed(model, images, target, options, pile=True)


@occlusion.mistake(
    "used the class predicted for each covered image",
    breaks="if target is None, f is for the class of the uncovered image, even if a window changes it",
)
def own_classes(model, images, target=None, **options):
    return changed(model, images, target, options, each=True)


@occlusion.mistake(
    "took the logit where the probability was asked for",
    breaks="f of a network is the logit, the probability, or a unit's output, all in evaluation mode",
)
def always_logits(model, images, target=None, *, probability=False, **options):
    images_and_target(model, images, target, maps=True, probability=probability)
    return occlusion_map(model, images, target, **options)


@occlusion.mistake("swapped the width and the height of a window", breaks=occlusion.laws[0].text)
def sides_swapped(model, images, target=None, *, window=4, stride=2, **options):
    images_and_target(model, images, target, maps=True)
    window, stride = pair("window", window, 1), pair("stride", stride, 1)
    return occlusion_map(model, images, target, window=window[::-1], stride=stride[::-1], **options)


@occlusion.mistake(
    "covered all channels with the mean of the whole image",
    breaks='the baseline is "mean" of each channel of each image, an array, or "noise", drawn once',
)
def one_mean(model, images, target=None, *, baseline="mean", **options):
    if isinstance(baseline, str) and baseline == "mean":
        baseline = images.mean(axis=(1, 2, 3), keepdims=True)
    return occlusion_map(model, images, target, baseline=baseline, **options)
