"""The exercise of lesson 04 on a model: a head that is trained on the features of a frozen network."""

from __future__ import annotations

import numpy as np

from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.engine.recording import no_grad
from minidl.nn.module import Module, eval_mode
from minidl.transfer.features import extract_features, linear_probe, standardise

# ---- 04.4 head_on_features


def head_on_features(
    model: Module, images: np.ndarray, labels: np.ndarray, *, layer: str, l2: float
) -> tuple[np.ndarray, np.ndarray]:
    """Train a head on the features of a fixed network. Returns its weight (K, D) and bias (K,), in float64.

    The features f of an image are the output of the layer with the dotted path ``layer``, in evaluation mode.
    You may rely on this: the layer runs once. ``reshape`` turns the features of an image into a row of D
    numbers. ``standardise(features, features)`` scales them, with means and deviations in float64. A feature
    that is equal for all images becomes 0.
    ``linear_probe(scaled, labels, l2)`` finds the best head on the scaled features, a Linear. The model runs
    without a graph, in ``no_grad()``. Its mode is the same afterwards.

    The result is a head on the original features: weight @ f + bias gives the same logits as the best head
    on the scaled f. A feature that is equal for all images has a weight of 0.

    images: (N, C, H, W).  labels: (N,), classes 0 ... K-1, each with an example.
    ValueError for an unknown layer, an l2 of 0 or less, and a class without an example.
    """
    kept = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, y: kept.append(y.data))
    with eval_mode(model), no_grad():
        model(images)
    hook.remove()
    features = kept[0].reshape(len(images), -1).astype(np.float64)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    # after scaling, such a feature is 0, so its weight becomes 0
    deviation[np.ptp(features, axis=0) == 0] = 1.0
    head = linear_probe(standardise(features, features), labels, l2)
    weight = head.weight.data / deviation
    return weight, head.bias.data - weight @ mean


head = Exercise(
    "04.4",
    head_on_features,
    title="a head trained on the features of a network",
    kind="model",
    points=4,
    level=3,
    minutes=40,
    hints=(
        "There are three parts. Get the features out of the network. Train on the scaled features. Then "
        "change the head so that it works on the original features.",
        "A forward hook on the layer keeps its output while the model runs; eval_mode(model) restores "
        "the mode afterwards. W (f - m) / s + b is a linear function of f. What are its weight and its "
        "bias?",
        "weight = head.weight.data / deviation, where the deviation is not 0",
    ),
)

MLP = Built("mlp", 4, in_features=4, hidden=5, num_classes=3)
CNN = Built("small_cnn", 3, num_classes=2, widths=(2, 3), pool_after=(1,))
PHOTOS = (np.arange(6 * 16) ** 2 % 23 / 4 - 3).reshape(6, 1, 4, 4).astype(np.float32)
LABELS = np.array([0, 1, 2, 1, 0, 2])


def features_of(model, images, layer):
    """The features in float64."""
    return extract_features(model.build(), images, layer).reshape(len(images), -1).astype(np.float64)


def assert_best(head_on_features, model, images, labels, layer, l2):
    """Check that on the scaled features both gradients of the loss are 0: this holds only at the minimum."""
    weight, bias = head_on_features(model, images, labels, layer=layer, l2=l2)
    features = features_of(model, images, layer)
    shape = (labels.max() + 1, features.shape[1])
    assert weight.shape == shape, f"layer {layer!r}: the weight has shape {weight.shape}, expected {shape}"
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    varies = np.ptp(features, axis=0) > 0
    assert_close(weight[:, ~varies], 0.0)
    X = (features - mean)[:, varies] / deviation[varies]
    W = weight[:, varies] * deviation[varies]
    e = np.exp(features @ weight.T + bias)
    error = (e / e.sum(axis=1, keepdims=True) - np.eye(len(bias))[labels]) / len(labels)
    at = f"layer {layer!r}, l2 = {l2}: here the loss still has a slope of"
    for by, slope in (("weight", error.T @ X + l2 * W), ("bias", error.sum(axis=0))):
        steepest = np.abs(slope).max()
        assert steepest < 1e-4, f"{at} {steepest:.3g} by the {by}"


@head.law(
    "pixels (2, 5, 4, 1) and (4, 5, 0, 1), l2 = 2 / (1 + e²): class 1 has weights (1/2, 0, -1/4, 0), bias -1"
)
def worked_head(head_on_features):
    """After scaling, the pixels that vary are 1 and -1; with weights of 1/2 the slopes are 0."""
    images = np.array([[2, 5, 4, 1], [4, 5, 0, 1]], np.float32).reshape(2, 1, 2, 2)
    l2 = 2 / (1 + np.exp(2.0))
    weight, bias = head_on_features(MLP, images, np.array([0, 1]), layer="flatten", l2=l2)
    assert_close(weight, [[-0.5, 0, 0.25, 0], [0.5, 0, -0.25, 0]], rtol=1e-4, atol=1e-5)
    assert_close(bias, [1.0, -1.0], rtol=1e-4, atol=1e-5)
    # weights of 2 with an l2 of 0.00017; no weights where each image is in both classes, with any l2
    _, bias = head_on_features(MLP, images, np.array([0, 1]), layer="flatten", l2=0.5 / (1 + np.exp(8.0)))
    assert_close(bias, [4.0, -4.0], rtol=1e-3)
    both = np.concatenate([images, images])
    weight, bias = head_on_features(MLP, both, np.array([0, 1, 1, 0]), layer="flatten", l2=1e-12)
    assert_close(weight, np.zeros((2, 4)))
    assert_close(bias, [0.0, 0.0])
    weight, bias = head_on_features(MLP, 0 * both, np.array([0, 1, 1, 1]), layer="flatten", l2=1.0)
    assert_close(weight, np.zeros((2, 4)))  # all features are constant: probabilities 1/4 and 3/4
    assert_close(bias, [-np.log(3) / 2, np.log(3) / 2], rtol=1e-4)
    # a pixel that varies by little, by much, or only in its last digit, is not constant
    for one, other in ((2.0**-59, 2.0**-58), (2.0**41, 2.0**42), (1.0, 1 + 2.0**-23)):
        images[:, 0, 0, 0] = one, other
        weight, bias = head_on_features(MLP, images, np.array([0, 1]), layer="flatten", l2=l2)
        assert_close(weight[:, 0] * (other - one), [-1, 1], rtol=1e-4)  # 1/2 for each deviation
        logits = images.reshape(2, 4).astype(np.float64) @ weight.T + bias
        assert_close(logits, [[1.0, -1.0], [-1.0, 1.0]], rtol=1e-4)


@head.law("the result is the best head on the scaled features: the gradients by weight and bias are 0")
def is_best(head_on_features):
    for layer in ("flatten", "block2.relu"):
        for l2 in (0.1, 10.0):
            assert_best(head_on_features, CNN, PHOTOS, LABELS, layer, l2)
    often = [0, 1, 2, 3, 4, 5, 0, 0, 1]  # an image counts as often as it is there
    assert_best(head_on_features, CNN, PHOTOS[often], LABELS[often], "flatten", 0.5)


@head.law("the output (N, C, h, w) of exactly this layer becomes rows in the order of reshape")
def takes_the_layer(head_on_features):
    for layer in ("block1", "block1.conv", "block2.bn"):
        assert_best(head_on_features, CNN, PHOTOS, LABELS, layer, 0.5)
    inner = Built("tiny_resnet", 2, num_classes=3, in_channels=1, widths=(2, 3))
    for layer in ("stage1.block1.residual.body.conv1", "stage2.block1.residual.shortcut"):
        assert_best(head_on_features, inner, PHOTOS, LABELS, layer, 0.5)
    rng = np.random.default_rng(0)
    many = rng.integers(-8, 9, (140, 1, 2, 2)).astype(np.float32)
    assert_best(head_on_features, MLP, many, np.arange(140) % 135, "fc1", 0.5)  # an output (N, D)
    two = Built("small_cnn", 3, num_classes=2, in_channels=2, widths=(3,), pool_after=())
    wide = rng.integers(-8, 9, (6, 2, 3, 8)).astype(np.float32)  # two channels; 72 features
    assert_best(head_on_features, two, wide, LABELS, "block1.conv", 0.5)


@head.law("six other tasks, with two to four classes: the result is the best head on the scaled features")
def other_tasks(head_on_features):
    for seed in range(6):
        model = Built("small_cnn", seed, num_classes=3, widths=(2,), pool_after=())
        rng, classes = np.random.default_rng(seed), 2 + seed % 3
        images = rng.integers(-8, 9, (9, 1, 3, 4)).astype(np.float32) / 4
        assert_best(head_on_features, model, images, np.arange(9) % classes, "block1", 0.25)
        far = images[..., :2, :2] + 2**20  # where a mean in float32 is inaccurate
        assert_best(head_on_features, MLP, far, np.arange(9) % classes, "flatten", 0.25)


@head.law(
    "a model in training mode: the features are those of evaluation mode, and the mode is then restored"
)
def head_of_training(head_on_features):
    for training, learns in ((True, True), (True, False), (("block1",), True), (("block1.bn",), True)):
        settings = {"training": training, "requires_grad": learns, "graph": False}
        model = Built("small_cnn", 3, num_classes=2, widths=(2, 3), pool_after=(1,), **settings)
        found = head_on_features(model, PHOTOS, LABELS, layer="block2.bn", l2=0.5)
        evaluated = head_on_features(CNN, PHOTOS, LABELS, layer="block2.bn", l2=0.5)
        for array, expected in zip(found, evaluated, strict=True):
            assert_close(array, expected, rtol=1e-4, atol=1e-5)
    own = Built("shared_relu", 1, in_features=16, num_classes=2, training=True)
    assert_best(head_on_features, own, PHOTOS, LABELS, "dropout", 0.5)


@head.law("weight and bias are float64")
def head_dtypes(head_on_features):
    for array in head_on_features(CNN, PHOTOS, LABELS, layer="flatten", l2=1.0):
        assert_dtype(array, np.float64)
        assert (array != array.astype(np.float32)).any(), "float64 numbers with the digits of float32"


@head.law("ValueError for an unknown layer, an l2 of 0, and a class without an example")
def head_refuses(head_on_features):
    for what, labels, layer, l2 in (
        ("the layer 'block7'", LABELS, "block7", 1.0),
        ("an l2 of 0", LABELS, "flatten", 0.0),
        ("an l2 of -1", LABELS, "flatten", -1.0),
        ("labels without a 0", LABELS + 1, "flatten", 1.0),
        ("labels without a 1", np.array([0, 2, 2, 0, 2, 2]), "flatten", 1.0),
    ):
        for model in (CNN, Built("small_cnn", 3, **CNN.settings, training=True)):  # the mode is restored
            assert_refuses(what, head_on_features, model, PHOTOS, labels, layer=layer, l2=l2)


def features_and_scale(model, images, layer, training=False):
    kept = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, y: kept.append(y.data))
    state = model.state_dict()
    with eval_mode(model), no_grad():
        model.train(training)(images)
        model.load_state_dict(state)
    hook.remove()
    features = kept[0].reshape(len(images), -1).astype(np.float64)
    varies = np.ptp(features, axis=0) > 0
    return features, features.mean(axis=0), np.where(varies, features.std(axis=0), 1.0), varies


def folded(features, mean, deviation, varies, labels, l2):
    probe = linear_probe((features - mean) / deviation, labels, l2)
    weight = varies * probe.weight.data / deviation
    return weight, probe.bias.data - weight @ mean


@head.mistake("the head is still a head on the scaled features", breaks=head.laws[0].text)
def on_scaled(model, images, labels, *, layer, l2):
    features, mean, deviation, varies = features_and_scale(model, images, layer)
    probe = linear_probe(varies * (features - mean) / deviation, labels, l2)
    return varies * probe.weight.data.astype(np.float64), probe.bias.data.astype(np.float64)


@head.mistake("the bias leaves out the mean", breaks=head.laws[0].text)
def bias_as_it_was(model, images, labels, *, layer, l2):
    scale = features_and_scale(model, images, layer)
    weight, bias = folded(*scale, labels, l2)
    return weight, bias + weight @ scale[1]


@head.mistake(
    "trained on the unscaled features, where l2 acts on each feature differently", breaks=head.laws[0].text
)
def unscaled(model, images, labels, *, layer, l2):
    features, *_ = features_and_scale(model, images, layer)
    probe = linear_probe(features, labels, l2)
    return probe.weight.data.astype(np.float64), probe.bias.data.astype(np.float64)


@head.mistake(
    "features from training mode, where BatchNorm uses the batch's statistics", breaks=head.laws[1].text
)
def from_training(model, images, labels, *, layer, l2):
    return folded(*features_and_scale(model, images, layer, training=True), labels, l2)
