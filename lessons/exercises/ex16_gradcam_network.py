"""Exercises of lesson 16, continued: Grad-CAM from a network and a layer."""

import numpy as np

from minidl import Tensor, grad
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.explain.cam import gradcam, upsample_maps
from minidl.nn.module import eval_mode

# ---- 16.4 gradcam

cam = Exercise(
    "16.4",
    gradcam,
    kind="model",
    points=3,
    level=3,
    minutes=30,
    title="Grad-CAM from a network and a layer",
    helpers=("upsample_maps",),
    hints=(
        "The forward pass gives the layer's maps A and the target y. The backward pass gives dy/dA.",
        "images, goal = images_and_target(model, images, target, maps=True) checks both. Inside `with "
        "outputs_of(model, layer) as outputs:` the model is in evaluation mode, and each output of the "
        "layer is added to the list. target_scores(model, x, goal) gives y (N,). (dy_dA,) = "
        "grad(y.sum(), [A]); y may be summed, because each y depends only on its own image.",
        "with outputs_of(model, layer) as outputs: y = target_scores(model, x, goal). Then A = "
        "only_output(outputs, layer, N), class_activation(A.data, dy_dA), a ReLU, and "
        "upsample_maps(maps, (H, W)). x = Tensor(images, requires_grad=True) makes a graph even if all "
        "weights are frozen. batches(images) gives slices that fit in memory: goal.part(slice) is the "
        "target of a slice. with_bar shows progress.",
    ),
)

# Two blocks of a convolution and a ReLU, then the mean over the pixels and a linear head.
SMALL = {"num_classes": 3, "in_channels": 1, "pool_after": ()}
ONE_BLOCK, TWO_BLOCKS = {**SMALL, "widths": (2,)}, {**SMALL, "widths": (3, 2)}
NEAR = {"rtol": 1e-4, "atol": 1e-7}


def asked(seed, dtype=np.float64):
    """A network, two images (2, 1, 3, 4) and a class for each."""
    rng = np.random.default_rng(seed)
    images = rng.integers(-32, 33, (2, 1, 3, 4)) / 4
    return Built("small_cnn", seed=seed, **TWO_BLOCKS), images.astype(dtype), rng.integers(0, 3, 2)


def by_differences(model, images, target):
    """The maps of block1, and the mean of dy/dA_k over pixels, from a shift of the whole map A_k."""
    A = model.block1(Tensor(images)).data  # (N, K, h, w)
    alpha, step, own = np.zeros(A.shape[:2]), 1e-6, np.arange(len(images))
    for k in range(A.shape[1]):
        up, down = A.copy(), A.copy()
        up[:, k] += step
        down[:, k] -= step
        rise = model[1:](Tensor(up)).data[own, target] - model[1:](Tensor(down)).data[own, target]
        alpha[:, k] = rise / (2 * step) / A[0, 0].size
    return A, alpha


def positive(signed):
    return np.where(signed > 0, signed, 0)


@cam.law("if a mean and a linear head follow the layer, the map is ReLU(w · A) over the number of positions")
def as_class_activation_mapping(gradcam):
    images = np.arange(12.0).reshape(1, 1, 3, 4) - 4
    for scale, target in ((1, 0), (1, 1), (1, 2), (1e5, 1), (1e5, 2)):  # also with slopes far from 0
        model = Built("small_cnn", seed=6, **ONE_BLOCK, scale=scale)
        net = model.build()
        A, w = net.block1(Tensor(images)).data, net.head.weight.data[target].astype(np.float64)
        signed = (w[0] * A[:, 0] + w[1] * A[:, 1]) / 12
        maps = gradcam(model, images, target, "block1.relu")
        assert_close(maps, positive(signed), rtol=1e-9, atol=1e-12)
    model, images = Built("own_cnn", seed=2, channels=2, num_classes=3), np.repeat(images, 2, axis=1)
    net = model.build()  # its children are not in the order in which they run
    A, norm = net.block(Tensor(images)).data, net.norm
    w = net.head.weight.data @ net.mix.weight.data / np.sqrt(norm.running_var + norm.eps)
    for target in range(3):
        signed = np.einsum("k,nkhw->nhw", w[target], A) / 12
        assert_close(gradcam(model, images, target, "block"), positive(signed), **NEAR)


@cam.law("alpha_k · h · w is the slope of the logit, by central differences, when all of A_k grows")
def by_slopes(gradcam):
    for seed in range(4):
        model, images, target = asked(seed)
        A, alpha = by_differences(model.build(), images, target)
        signed = np.einsum("nk,nkhw->nhw", alpha, A)
        assert_close(gradcam(model, images, target, "block1.relu", upsample=False), positive(signed), **NEAR)
    model, images = Built("small_cnn", seed=6, **ONE_BLOCK), np.arange(12.0).reshape(1, 1, 3, 4) - 4
    net = model.build()
    A, w = net.block1[:2](Tensor(images)).data, net.head.weight.data.astype(np.float64)
    for target in range(3):  # A has values below 0, and a ReLU follows: only those above 0 count for alpha
        alpha = w[target] * (A > 0).mean(axis=(2, 3)) / 12
        signed = np.einsum("nk,nkhw->nhw", alpha, A)
        assert_close(gradcam(model, images, target, "block1.bn"), positive(signed), **NEAR)


@cam.law("a frozen network in training mode runs in evaluation mode, and is as before afterwards")
def while_training(gradcam):
    model, images, target = asked(1)
    A, alpha = by_differences(model.build(), images, target)
    signed = np.einsum("nk,nkhw->nhw", alpha, A)
    frozen = {"training": True, "requires_grad": False}
    for how in ({"training": True}, {"requires_grad": ("head",)}, frozen, {"training": ("block1",)}):
        other = Built("small_cnn", seed=1, **TWO_BLOCKS, **how)
        assert_close(gradcam(other, images, target, "block1.relu", upsample=False), positive(signed), **NEAR)
    model, images, _ = asked(11)  # in training mode another class would be the most likely
    expected = gradcam(model, images, model.build()(Tensor(images)).data.argmax(axis=1), "block2.relu")
    training = Built("small_cnn", seed=11, **TWO_BLOCKS, training=True)
    assert_close(gradcam(training, images, None, "block2.relu"), expected, **NEAR)


@cam.law("each image has its own class, and its map is the same as without the other images")
def each_image_alone(gradcam):
    for seed in range(4):
        model, images, target = asked(seed)
        by_columns = np.asfortranarray(images)  # in memory column by column
        both = gradcam(model, by_columns, target.tolist(), "block2.relu")
        alone = gradcam(model, images[1:], target[1:], "block2.relu")
        assert_close(both[1:], alone, **NEAR)
    many, target = images[np.arange(260) % 2], np.arange(260) % 3  # of 260 too
    found = gradcam(model, many, target, "block2.relu")
    assert_close(found[:6], found[-6:][[4, 5, 0, 1, 2, 3]], **NEAR)
    for i in (127, 128, 200, 259):
        alone = gradcam(model, many[i : i + 1], int(target[i]), "block2.relu")
        assert_close(found[i : i + 1], alone, **NEAR)
    model, images, _ = asked(5)
    signs = np.where(np.arange(260) < 130, 4, -4).reshape(-1, 1, 1, 1)  # the second half is negative
    many = signs * images[np.arange(260) % 2]
    likeliest = model.build()(Tensor(many)).data.argmax(axis=1)  # 0, 2, 0, 2, ..., then 2, 2, ...
    expected = gradcam(model, many, likeliest, "block2.relu")
    assert_close(gradcam(model, many, None, "block2.relu"), expected, **NEAR)


@cam.law(
    "target None means the largest logit; a set of classes is one class; a unit of a later layer is allowed"
)
def other_targets(gradcam):
    for seed in range(4):
        model, images, _ = asked(seed)
        images, net = images[: 2 - (seed == 2)], model.build()  # of seed 2 only one image
        A = net[:2](Tensor(images)).data  # (2, 2, 3, 4), the maps of block2
        w = net.head.weight.data[net(Tensor(images)).data.argmax(axis=1)]  # (2, 2)
        maps = gradcam(model, images, None, "block2.relu")
        assert_close(maps, positive(np.einsum("nk,nkhw->nhw", w, A) / 12), **NEAR)
        maps = gradcam(model, images, ("head", 1), "block2.relu")  # (layer, unit)
        assert_close(maps, gradcam(model, images, np.int64(1), "block2.relu"), **NEAR)
        maps = gradcam(model, images, ("flatten", 1), "block2.relu")  # the mean of the second map
        assert_close(maps, A[:, 1] / 12, **NEAR)
        # The unit sees the place and its neighbours. So alpha_k is the sum of the unit's weights / Z.
        norm, kernel = net.block2.bn, net.block2.conv.weight.data[1].astype(np.float64)  # (3, 3, 3)
        scale = norm.weight.data[1] / np.sqrt(norm.running_var[1] + norm.eps)
        alpha = scale * kernel.sum(axis=(1, 2)) / 12
        signed = np.einsum("k,nkhw->nhw", alpha, net.block1(Tensor(images)).data)
        maps = gradcam(model, images, ("block2.bn", 1, 1, 2), "block1.relu", upsample=False)
        assert_close(maps, positive(signed), **NEAR)
        images = images * 10.0 ** (6 * (seed == 3))  # the last logits are too large or too small for e^z
        A = net[:2](Tensor(images)).data
        for classes in ([0, 2], [0, 1, 2], [1]):  # the logit of a set is log sum e^z over its classes
            z = net(Tensor(images)).data[:, classes]
            powers = np.exp(z - z.max(axis=1, keepdims=True))
            w = powers / powers.sum(axis=1, keepdims=True) @ net.head.weight.data[classes]
            maps = gradcam(model, images, set(classes), "block2.relu")
            assert_close(maps, positive(np.einsum("nk,nkhw->nhw", w, A) / 12), **NEAR)


ENLARGED = "the map has the images' height and width, unless upsample=False, and the images' dtype"


@cam.law(ENLARGED)
def size_and_dtype(gradcam):
    targets = None, {0, 2}, 1, ("head", 1), asked(4)[2]
    for seed, target in enumerate(targets):
        dtype = (np.float64, np.float32)[seed % 2]
        _, images, _ = asked(seed, dtype)
        model = Built("small_cnn", seed=seed, **{**TWO_BLOCKS, "pool_after": (1,), "in_channels": 2})
        images = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)  # (2, 2, 6, 4)
        small = gradcam(model, images, target, "block2.relu", upsample=False)
        assert_close(np.array(small.shape), np.array([2, 3, 2]))
        large = gradcam(model, images, target, "block2")  # the block gives what its ReLU gives
        rows, columns = (linear_weights(old, 2 * old) for old in (3, 2))
        assert_close(large, rows @ small @ columns.T, rtol=1e-4, atol=1e-6)
        assert_dtype(small, dtype)
        assert_dtype(large, dtype)
    for weight in (1e-20, 1e35):
        one_pixel, ones = Built("conv2d", weight=((((weight,),),),)), np.ones((1, 1, 1, 2))
        maps = gradcam(one_pixel, ones, ("", 0, 0, 0), "", upsample=False)  # alpha is 1/2
        assert_close(maps, np.full((1, 1, 2), weight / 2), rtol=1e-6, atol=0)


def linear_weights(old, new):
    """The weight of each old pixel in each new pixel, from np.interp."""
    middles = (np.arange(new) + 0.5) * old / new - 0.5
    return np.stack([np.interp(middles, np.arange(old), row) for row in np.eye(old)], axis=1)


@cam.law("a layer without maps, and a target unit before the layer, are refused with a ValueError")
def refuses(gradcam):
    how = {"training": True, "requires_grad": ("head",)}  # which the network keeps
    model, images = Built("small_cnn", seed=0, **TWO_BLOCKS, **how), np.ones((1, 1, 3, 4))
    assert_refuses("the layer 'flatten', whose output is (N, K),", gradcam, model, images, 0, "flatten")
    assert_refuses("images of 2 channels", gradcam, model, images.repeat(2, axis=1), 0, "block2.relu")
    unit = ("block1.relu", 0, 1, 1)
    what = "a unit of block1 for the layer 'block2.relu'"
    assert_refuses(what, gradcam, model, images, unit, "block2.relu")


@cam.law("infinite or NaN values in the map are refused with a ValueError, even if the target is finite")
def refuses_infinite_maps(gradcam):
    images = np.array([[[[1.0, 3e38]]]], np.float32)  # float32 cannot hold twice 3e38
    with np.errstate(all="ignore"):
        for filters in (1, 2):  # with two filters the target uses one; for the other, 0 · ∞ is NaN
            doubles = Built("conv2d", weight=((((2.0,),),),) * filters, training=True)
            what = f"an infinite place beside the unit, of {filters} maps"
            middle = np.concatenate([np.ones_like(images), images, np.ones_like(images)])
            for given in (images, middle[:2], middle):  # alone, last of two, and second of three
                for upsample in (False, True):
                    assert_refuses(what, gradcam, doubles, given, ("", 0, 0, 0), "", upsample=upsample)


def weighted(model, images, target, layer, score=None, weights=None, signed=False, upsample=True):
    """Grad-CAM with another score, other weights, or without the ReLU."""
    outputs = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with eval_mode(model):
        logits = model(Tensor(images, requires_grad=True))
    hook.remove()
    target = logits.data.argmax(axis=1) if target is None else target
    own = (np.arange(len(images)), target)
    slope = grad((logits[own] if score is None else score(logits, own)).sum(), outputs[0])
    alpha = slope.mean(axis=(2, 3), keepdims=True) if weights is None else weights(slope)
    maps = (alpha * outputs[0].data).sum(axis=1)
    maps = maps if signed else np.maximum(maps, 0)
    return upsample_maps(maps, images.shape[2:]) if upsample else maps


@cam.mistake("left out the ReLU", breaks=cam.laws[0].text)
def without_relu(model, images, target, layer, *, upsample=True):
    return weighted(model, images, target, layer, signed=True, upsample=upsample)


@cam.mistake("took the gradient of the class's probability, not of its logit", breaks=cam.laws[0].text)
def of_probabilities(model, images, target, layer, *, upsample=True):
    def probability(logits, own):
        return logits.softmax(axis=1)[own]

    return weighted(model, images, target, layer, score=probability, upsample=upsample)


@cam.mistake("took the gradient of the sum of all logits, not of the class's logit", breaks=cam.laws[0].text)
def of_all_logits(model, images, target, layer, *, upsample=True):
    return weighted(model, images, target, layer, score=lambda logits, own: logits, upsample=upsample)


@cam.mistake("used the sum of the gradient over the positions, not the mean", breaks=cam.laws[0].text)
def summed_gradient(model, images, target, layer, *, upsample=True):
    def total(slope):
        return slope.sum(axis=(2, 3), keepdims=True)

    return weighted(model, images, target, layer, weights=total, upsample=upsample)


@cam.mistake("kept only the channels with a positive alpha_k", breaks=cam.laws[0].text)
def positive_channels(model, images, target, layer, *, upsample=True):
    def positive(slope):
        return np.maximum(slope.mean(axis=(2, 3), keepdims=True), 0)

    return weighted(model, images, target, layer, weights=positive, upsample=upsample)


@cam.mistake("scaled each map to a maximum of 1", breaks=cam.laws[0].text)
def scaled_to_one(model, images, target, layer, *, upsample=True):
    maps = weighted(model, images, target, layer, upsample=upsample)
    return maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)


@cam.mistake("enlarged by repeating each value", breaks=ENLARGED)
def repeated(model, images, target, layer, *, upsample=True):
    maps = weighted(model, images, target, layer, upsample=False)
    sides = [size // old for size, old in zip(images.shape[2:], maps.shape[1:], strict=True)]
    return maps.repeat(sides[0], axis=1).repeat(sides[1], axis=2) if upsample else maps
