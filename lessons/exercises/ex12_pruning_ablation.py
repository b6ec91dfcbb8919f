"""An exercise of lesson 12 on a model: ablation, one filter at a time."""

import copy

import numpy as np

from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.compress import masks, scores
from minidl.train.evaluation import evaluate

NEAR = {"rtol": 1e-3, "atol": 2e-6}


def pictures(count, seed, shape=(1, 4, 4), classes=3):
    """Images of random numbers with random labels."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, *shape)).astype(np.float32), rng.integers(0, classes, count)


def mean_loss(logits, labels):
    """The mean cross-entropy, row by row in float64."""
    total = 0.0
    for z, label in zip(np.asarray(logits, np.float64), labels.tolist(), strict=True):
        total += np.log(np.exp(z - z.max()).sum()) + z.max() - z[label]
    return total / len(labels)


# ---- 12.4 ablation_scores

ablation = Exercise(
    "12.4",
    scores.ablation_scores,
    title="how much the loss rises without a filter",
    helpers=("makers",),
    kind="model",
    points=3,
    level=3,
    minutes=25,
    hints=(
        "For each filter, mask only this filter in a copy of the whole network, and evaluate the copy. "
        "The score is its loss less the loss of the whole network.",
        "makers(model, layer, images).makes[layer] has an entry for each filter; makers raises the "
        "ValueError. Make a deepcopy for each filter. The mask of filter o is np.arange(O) != o. "
        "parameter_masks turns it into masks of all parameters that belong to the filter, also of a "
        "BatchNorm.",
        "parameters = dict(masked.named_parameters()), of the copy. For each path, mask in "
        "parameter_masks(model, {layer: ...}, images[:1]).items(): parameters[path].data = "
        "np.where(mask, ...)",
    ),
)

TWO_BLOCKS = {"seed": 3, "num_classes": 3, "widths": (3, 2), "pool_after": ()}


def by_hand(built, layers, images, labels):
    """Ablate each filter in a new network: the filter's weights and biases in all ``layers`` become 0."""
    rises = np.zeros(len(built.build().layer(layers[0]).weight.data))
    whole = mean_loss(built.build().eval()(images).data, labels)
    for o in range(len(rises)):
        model = built.build().eval()
        for path in layers:
            for parameter in (model.layer(path).weight, model.layer(path).bias):
                if parameter is not None:
                    parameter.data[o] = 0
        rises[o] = mean_loss(model(images).data, labels) - whole
    return rises


@ablation.law(
    "for three filters, each score is the loss without the filter less the loss of the whole network"
)
def worked_ablation(ablation_scores):
    built, (images, labels) = Built("small_cnn", **TWO_BLOCKS), pictures(6, seed=0)
    expected = by_hand(built, ["block1.conv", "block1.bn"], images, labels)
    assert_close(ablation_scores(built, "block1.conv", images, labels), expected, **NEAR)


@ablation.law("losses are measured in evaluation mode; the network, its mode and its gradients do not change")
def while_training(ablation_scores):
    images, labels = pictures(6, seed=0)
    frozen = {"training": True, "requires_grad": False}
    for how in ({"training": True, "masked": True}, frozen, {"training": ("block1",)}, {"training": ("",)}):
        built = Built("small_cnn", **TWO_BLOCKS, **how)
        found = ablation_scores(built, "block1.conv", images, labels)
        assert_close(found, by_hand(built, ["block1.conv", "block1.bn"], images, labels), **NEAR)


@ablation.law("the scores are right for other layers, networks and numbers of images, also for 307")
def other_networks(ablation_scores):
    for block, widths, count in ((1, (2, 4), 1), (2, (5, 2), 20), (1, (20, 2), 3), (1, (2, 4), 307)):
        built = Built("small_cnn", seed=4, num_classes=3, widths=widths, pool_after=())
        images, labels = pictures(count, seed=count)
        found = ablation_scores(built, f"block{block}.conv", images, labels)
        layers = [f"block{block}.conv", f"block{block}.bn"]
        assert_close(found, by_hand(built, layers, images, labels), **NEAR)
    built, (images, labels) = Built("lenet", num_classes=3, image_size=12), pictures(4, 0, (1, 12, 12))
    expected = by_hand(built, ["conv1"], images, labels)  # this network takes images of one size
    for x, y in ((images, labels), (images.astype(np.float64), labels.astype(np.uint8))):
        assert_close(ablation_scores(built, "conv1", x, y), expected, **NEAR)
    dead = Built("small_cnn", **TWO_BLOCKS, zeros=("block1.conv.weight",))  # the BatchNorm adds its shift
    expected = by_hand(dead, ["block1.conv", "block1.bn"], *pictures(6, seed=0))
    assert_close(ablation_scores(dead, "block1.conv", *pictures(6, seed=0)), expected, **NEAR)


@ablation.law("the units of a Linear are masked with their bias")
def units_of_a_linear(ablation_scores):
    for hidden in ([4], [4] * 10):  # in the second, fc1 is the first layer, and fc10 another
        built = Built("mlp", seed=3, in_features=16, hidden=hidden, num_classes=3)
        images, labels = pictures(9, seed=1)
        found = ablation_scores(built, "fc1", images, labels)
        assert_close(found, by_hand(built, ["fc1"], images, labels), **NEAR)


@ablation.law("in a residual network a channel is a sum of several filters, which are masked together")
def residual_partners(ablation_scores):
    built = Built("tiny_resnet", seed=2, num_classes=3, widths=(3,))
    images, labels = pictures(6, seed=2)
    found = ablation_scores(built, "stem.conv", images, labels)
    layers = ["stem.conv", "stem.bn", *(f"stage1.block1.residual.body.{name}2" for name in ("conv", "bn"))]
    assert_close(found, by_hand(built, layers, images, labels), **NEAR)


@ablation.law("a layer whose filters cannot be masked is refused with a ValueError")
def refuses_layers(ablation_scores):
    built = Built("small_cnn", **TWO_BLOCKS, training=True)  # which it stays
    for layer in ("head", "block7.conv", "block1.bn"):
        assert_refuses(f"the layer {layer!r}", ablation_scores, built, layer, *pictures(2, seed=0))
    single = Built("linear", weight=np.ones((3, 2)).tolist())  # the first layer is the last
    assert_refuses("a network of one layer", ablation_scores, single, "", *pictures(2, seed=0, shape=(2,)))


@ablation.law("the result is float64, with one number for each filter")
def wide_scores(ablation_scores):
    found = ablation_scores(Built("small_cnn", **TWO_BLOCKS), "block2.conv", *pictures(2, seed=0))
    assert isinstance(found, np.ndarray), f"the scores must be an array, not a {type(found).__name__}"
    assert_equal(np.shape(found), (2,))
    assert_dtype(found, np.float64)


def rises(model, layer, images, labels, mask, *, kept=False, measure=lambda found: found.loss):
    """The base of the mistakes: ``mask(copy, o)`` masks filter o; with ``kept`` the masks accumulate."""
    count = len(scores.makers(model, layer, images).makes[layer])
    before = measure(evaluate(model, images, labels))
    found, masked = np.zeros(count), copy.deepcopy(model)
    for o in range(count):
        masked = masked if kept else copy.deepcopy(model)
        mask(masked, o)
        found[o] = measure(evaluate(masked, images, labels)) - before
    return found


def zero(model, layer, mask):
    """Set the filters outside of ``mask`` to 0, as the library does."""
    parameters = dict(model.named_parameters())
    for path, keep in masks.parameter_masks(model, {layer: mask}).items():
        parameters[path].data = np.where(keep, parameters[path].data, 0)


@ablation.mistake(
    "masked only the weights of the filter: the BatchNorm still adds its shift", breaks=ablation.laws[0].text
)
def weights_alone(model, layer, images, labels):
    def mask(masked, o):
        masked.layer(layer).weight.data[o] = 0

    return rises(model, layer, images, labels, mask)


@ablation.mistake(
    "did not unmask the earlier filters: each score is that of all filters so far",
    breaks=ablation.laws[0].text,
)
def one_after_the_other(model, layer, images, labels):
    def mask(masked, o):
        for path in (layer, layer.replace("conv", "bn")):
            for parameter in (masked.layer(path).weight, masked.layer(path).bias):
                if parameter is not None:
                    parameter.data[o] = 0

    return rises(model, layer, images, labels, mask, kept=True)


@ablation.mistake("computed the score with the wrong sign", breaks=ablation.laws[0].text)
def turned(model, layer, images, labels):
    return -scores.ablation_scores(model, layer, images, labels)


@ablation.mistake("used the accuracy instead of the loss", breaks=ablation.laws[0].text)
def by_accuracy(model, layer, images, labels):
    def mask(masked, o):
        zero(masked, layer, np.arange(len(model.layer(layer).weight.data)) != o)

    return rises(model, layer, images, labels, mask, measure=lambda found: -found.accuracy)


@ablation.mistake(
    "returned the loss without the filter, and did not subtract the loss of the whole network",
    breaks=ablation.laws[0].text,
)
def not_the_rise(model, layer, images, labels):
    return scores.ablation_scores(model, layer, images, labels) + evaluate(model, images, labels).loss


@ablation.mistake("kept one filter and masked all others", breaks=ablation.laws[0].text)
def the_others(model, layer, images, labels):
    def mask(masked, o):
        zero(masked, layer, np.arange(len(model.layer(layer).weight.data)) == o)

    return rises(model, layer, images, labels, mask)
