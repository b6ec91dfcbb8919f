"""Wrong answers to the exercises of lesson 16. Each one passed all laws once."""

from __future__ import annotations

import copy

import numpy as np

from lessons.exercises import find
from minidl.engine.backward import grad
from minidl.engine.tensor import Tensor
from minidl.explain.cam import upsample_maps
from minidl.explain.target import images_and_target, outputs_of, target_scores
from minidl.nn.containers import Sequential
from minidl.nn.module import eval_mode
from tests.lessons.wrong_answers.declare import is_unit, not_taken, wrong


@wrong("16.1", "refuses a map only where its sum is negative")
def negative_sums_refused(maps, masks):
    maps = np.asarray(maps, np.float64)
    total = maps.sum(axis=(1, 2))
    if total.min() < 0:
        raise ValueError("negative")
    inside, chance = (maps * masks).sum(axis=(1, 2)), np.asarray(masks).mean(axis=(1, 2))
    return np.divide(inside, total, out=chance, where=total > 0)


@wrong("16.1", "1e-12 added to the sum")
def sum_and_a_little(maps, masks):
    maps, masks = np.asarray(maps, np.float64), np.asarray(masks)
    if maps.min() < 0:
        raise ValueError("negative")
    total = maps.sum(axis=(1, 2))
    share = (maps * masks).sum(axis=(1, 2)) / (total + 1e-12)
    return np.where(total == 0, masks.mean(axis=(1, 2)), share)


@wrong("16.1", "summed in the maps' own dtype")
def narrow_mass(maps, masks):
    find("16.1").target(maps, masks)  # what it refuses
    total, inside = maps.sum(axis=(1, 2)), (maps * masks).sum(axis=(1, 2))
    return np.divide(inside, total, out=np.asarray(masks).mean(axis=(1, 2)), where=total > 0)


@wrong("16.1", "a map that is not finite is taken")
def mass_of_anything(maps, masks):
    maps = np.asarray(maps, np.float64)
    return find("16.1").target(np.where(np.isfinite(maps), maps, 0), masks)


@wrong("16.1", "a little below 0 counts as 0")
def nearly_positive(maps, masks):
    return find("16.1").target(np.where((maps < 0) & (maps > -1e-6), 0, maps), masks)


@wrong("16.2", "always float32")
def narrow_activation(activations, gradients):
    return find("16.2").target(activations, gradients).astype(np.float32)


@wrong("16.3", "in float32")
def narrow_weights(old, new):
    return find("16.3").target(old, new).astype(np.float32)


@wrong("16.3", "a size below 0 gives no pixels")
def negative_size(old, new):
    return np.zeros((0, old)) if new < 0 else find("16.3").target(old, new)


def cam_of(model, images, layer, score, alpha_of, upsample):
    outputs = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    logits = model(Tensor(images, requires_grad=True))
    hook.remove()
    alpha = alpha_of(grad(score(logits).sum(), outputs[0]))
    maps = np.maximum((alpha * outputs[0].data).sum(axis=1), 0)
    return upsample_maps(maps, images.shape[2:]) if upsample else maps


def mean_over_places(slope):
    return slope.mean(axis=(2, 3), keepdims=True)


@wrong("16.4", "one weight of each channel for all images")
def cam_of_a_mean_image(model, images, target, layer, *, upsample=True):
    def over_images(slope):
        return slope.mean(axis=(0, 2, 3))[:, np.newaxis, np.newaxis]

    own = (np.arange(len(images)), target)
    return cam_of(model, images, layer, lambda logits: logits[own], over_images, upsample)


@wrong("16.4", "the first image's class for all images")
def cam_of_the_first_class(model, images, target, layer, *, upsample=True):
    first = np.ravel(target)[0]
    return cam_of(model, images, layer, lambda logits: logits[:, first], mean_over_places, upsample)


@wrong("16.4", "the classes of the first 128 images for the next 128 as well")
def cam_of_the_first_batch(model, images, target, layer, *, upsample=True):
    if isinstance(target, np.ndarray):
        target = target[np.arange(len(images)) % 128]
    return find("16.4").target(model, images, target, layer, upsample=upsample)


@wrong("16.4", "the model stays in evaluation mode where something is refused")
def cam_evaluating_after_an_error(model, images, target, layer, *, upsample=True):
    training = model.training
    maps = find("16.4").target(model.eval(), images, target, layer, upsample=upsample)
    model.train(training)
    return maps


@wrong("16.4", "the largest logit, whatever class is asked for")
def cam_of_the_answer(model, images, target, layer, *, upsample=True):
    return cam_of(model, images, layer, lambda logits: logits.max(axis=1), mean_over_places, upsample)


@wrong("16.4", "the answer is in float64 for float32 images")
def cam_in_float64(model, images, target, layer, *, upsample=True):
    return find("16.4").target(model, images.astype(np.float64), target, layer, upsample=upsample)


@wrong("16.4", "maps that are not finite are given back")
def cam_of_anything(model, images, target, layer, *, upsample=True):
    try:
        return find("16.4").target(model, images, target, layer, upsample=upsample)
    except ValueError as error:
        if "finite" not in str(error):
            raise
        return np.full((len(images), *images.shape[2:]), np.inf, images.dtype)


@wrong("16.4", "only NaN is refused, not what is infinite")
def cam_of_infinities(model, images, target, layer, *, upsample=True):
    try:
        return find("16.4").target(model, images, target, layer, upsample=upsample)
    except ValueError as error:
        if "finite" not in str(error) or len(model.layer(layer)(images).data[0]) > 1:
            raise
        return np.full((len(images), *images.shape[2:]), np.inf, images.dtype)


@wrong("16.4", "the model is left in evaluation mode")
def cam_left_evaluating(model, images, target, layer, *, upsample=True):
    return find("16.4").target(model.eval(), images, target, layer, upsample=upsample)


@wrong("16.4", "the model is thawed, for else there is no gradient")
def cam_thaws(model, images, target, layer, *, upsample=True):
    return find("16.4").target(model.requires_grad_(True), images, target, layer, upsample=upsample)


@wrong("16.4", "float64 images are computed with in float32")
def narrow_cam(model, images, target, layer, *, upsample=True):
    maps = find("16.4").target(model, np.float32(images), target, layer, upsample=upsample)
    return maps.astype(images.dtype)


@wrong("16.1", "minus infinity counts as 0")
def minus_infinity_as_zero(maps, masks):
    return find("16.1").target(np.where(np.equal(maps, -np.inf), 0, maps), masks)


@wrong("16.2", "the weights of the maps are rounded to float32")
def narrow_alpha(activations, gradients):
    alpha = gradients.mean(axis=(2, 3), keepdims=True).astype(np.float32)
    return (alpha * activations).sum(axis=1).astype(activations.dtype)


@wrong("16.2", "weights below 1e-8 count as 0")
def faint_alpha(activations, gradients):
    alpha = gradients.mean(axis=(2, 3), keepdims=True)
    return (np.where(abs(alpha) < 1e-8, 0, alpha) * activations).sum(axis=1)


@wrong("16.3", "the mean of all old pixels for a single new one")
def mean_of_all(old, new):
    return np.full((1, old), 1 / old) if new == 1 and old > 0 else find("16.3").target(old, new)


@wrong("16.3", "the mean over whole blocks of old pixels where the sizes divide")
def mean_of_blocks(old, new):
    weights = find("16.3").target(old, new)
    if new > 1 and old > new and old % new == 0:
        return np.kron(np.eye(new), np.full((1, old // new), new / old))
    return weights


@wrong("16.3", "equal sizes give float32")
def narrow_identity(old, new):
    weights = find("16.3").target(old, new)
    return weights.astype(np.float32) if old == new else weights


@wrong("16.4", "what is below 1e-12 counts as 0")
def faint_maps(model, images, target, layer, *, upsample=True):
    maps = find("16.4").target(model, images, target, layer, upsample=upsample)
    return np.where(maps < 1e-12, 0, maps).astype(maps.dtype)


not_taken("16.4", "the unit of a layer without maps", is_unit(1))
not_taken("16.4", "260 images without a class", lambda g: g["target"] is None and len(g["images"]) > 256)


@wrong("16.1", "only the first map's values are looked at")
def first_map_checked(maps, masks):
    find("16.1").target(maps[:1], masks[:1])
    total, inside = maps.sum(axis=(1, 2), dtype=np.float64), (maps * masks).sum(axis=(1, 2), dtype=np.float64)
    return np.where(total > 0, inside / np.where(total > 0, total, 1), masks.mean(axis=(1, 2)))


@wrong("16.4", "values of the maps below 0 count as 0")
def cam_of_positive_values(model, images, target, layer, *, upsample=True):
    if layer != "block1.bn":  # the maps of the other laws are not negative
        return find("16.4").target(model, images, target, layer, upsample=upsample)
    outputs = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with eval_mode(model):
        y = model(Tensor(images, requires_grad=True))[:, target]
    hook.remove()
    alpha = grad(y.sum(), outputs[0]).mean(axis=(2, 3), keepdims=True)
    maps = np.maximum((alpha * np.maximum(outputs[0].data, 0)).sum(axis=1), 0)
    return upsample_maps(maps, images.shape[2:]) if upsample else maps


@wrong("16.4", "of a set of classes only the largest number counts")
def cam_of_the_last_of_a_set(model, images, target, layer, *, upsample=True):
    target = max(target) if isinstance(target, set) else target
    return find("16.4").target(model, images, target, layer, upsample=upsample)


@wrong("16.4", "for a target of None, the class of the first image counts for all images")
def likeliest_of_the_first(model, images, target, layer, *, upsample=True):
    if target is None:
        with eval_mode(model):
            target = int(model(Tensor(images[:1])).data.argmax())
    return find("16.4").target(model, images, target, layer, upsample=upsample)


@wrong("16.4", "only the first map is checked for infinite values")
def first_map_finite(model, images, target, layer, *, upsample=True):
    try:
        return find("16.4").target(model, images, target, layer, upsample=upsample)
    except ValueError as error:
        if "not finite" not in str(error) or len(images) == 1:
            raise
        find("16.4").target(model, images[:1], target, layer, upsample=upsample)
        return np.zeros((len(images), *images.shape[2:]), images.dtype)


@wrong("16.4", "maps above 1e30 are refused as not finite")
def large_maps_refused(model, images, target, layer, *, upsample=True):
    maps = find("16.4").target(model, images, target, layer, upsample=upsample)
    if maps.max() > 1e30:
        raise ValueError("not finite")
    return maps


@wrong("16.3", "new pixels beyond 255 are counted from 0 again")
def counted_in_a_byte(old, new):
    return find("16.3").target(old, new)[np.arange(new) % 256]


@wrong("16.1", "a map of bytes is summed in bytes")
def mass_in_bytes(maps, masks):
    find("16.1").target(maps, masks)  # what it refuses
    own = maps.dtype
    total, inside = maps.sum(axis=(1, 2), dtype=own), (maps * masks).sum(axis=(1, 2), dtype=own)
    if own != np.uint8:
        return find("16.1").target(maps, masks)
    return np.divide(inside, total, out=np.asarray(masks).mean(axis=(1, 2)), where=total > 0)


@wrong("16.2", "the median of the gradient, not the mean")
def median_alpha(activations, gradients):
    return (np.median(gradients, axis=(2, 3), keepdims=True) * activations).sum(axis=1)


@wrong("16.2", "the mean over the places with a gradient other than 0")
def mean_of_nonzero(activations, gradients):
    count = np.maximum((gradients != 0).sum(axis=(2, 3), keepdims=True), 1)
    return (
        (gradients.sum(axis=(2, 3), keepdims=True) / count * activations).sum(axis=1).astype(gradients.dtype)
    )


@wrong("16.4", "for a target of None, the class that counts is that of the model's own mode")
def likeliest_in_own_mode(model, images, target, layer, *, upsample=True):
    if target is None:
        target = copy.deepcopy(model)(Tensor(images)).data.argmax(axis=1)
    return find("16.4").target(model, images, target, layer, upsample=upsample)


not_taken("16.4", "a list of classes", lambda given: isinstance(given["target"], list))


@wrong("16.3", "two sizes of 0 give no pixels")
def two_sizes_of_0(old, new):
    return np.zeros((0, 0)) if old == new == 0 else find("16.3").target(old, new)


@wrong("16.1", "a map of integers becomes positive")
def integers_by_size(maps, masks):
    return find("16.1").target(np.abs(maps) if maps.dtype.kind == "i" else maps, masks)


@wrong("16.2", "alpha is clipped to [-10, 10]")
def clipped_alpha(activations, gradients):
    alpha = np.clip(gradients.mean(axis=(2, 3), keepdims=True), -10, 10)
    return (alpha * activations).sum(axis=1)


@wrong("16.2", "an alpha below a thousandth of the image's largest does not count")
def only_large_alpha(activations, gradients):
    alpha = gradients.mean(axis=(2, 3), keepdims=True)
    faint = np.abs(alpha) < 1e-3 * np.abs(alpha).max(axis=1, keepdims=True)
    return (np.where(faint, 0, alpha).astype(alpha.dtype) * activations).sum(axis=1)


not_taken("16.3", "old sizes above 100", lambda given: given["old"] > 100)
not_taken("16.4", "a block as the layer", lambda given: given["model"].layer(given["layer"]).children())
not_taken("16.4", "images of several channels", lambda given: given["images"].shape[1] > 1)
not_taken(
    "16.4",
    "sets of three classes",
    lambda given: isinstance(given["target"], set) and len(given["target"]) > 2,
)


@wrong("16.4", "the maps stay on the layer as an attribute")
def kept_on_the_layer(model, images, target, layer, *, upsample=True):
    maps = find("16.4").target(model, images, target, layer, upsample=upsample)
    model.layer(layer).maps = maps
    return maps


@wrong("16.4", "evaluation mode stays where the map is not finite")
def mode_after_infinity(model, images, target, layer, *, upsample=True):
    try:
        return find("16.4").target(model, images, target, layer, upsample=upsample)
    except ValueError as error:
        if "not finite" in str(error):
            model.eval()
        raise


def as_in_memory(x):
    """The numbers in the order in which they lie in memory, which may be column by column."""
    return x.ravel("K").reshape(x.shape)


@wrong("16.1", "reads the masks as they lie in memory")
def masks_by_memory(maps, masks):
    return find("16.1").target(maps, as_in_memory(masks))


@wrong("16.1", "a nearly constant map counts as constant")
def nearly_constant(maps, masks):
    share, wide = find("16.1").target(maps, masks), maps.astype(np.float64)
    low, high = wide.min(axis=(1, 2)), wide.max(axis=(1, 2))
    return np.where(high - low <= 1e-3 * high, masks.mean(axis=(1, 2)), share)


@wrong("16.2", "reads maps and gradients as they lie in memory")
def activation_by_memory(activations, gradients):
    return find("16.2").target(as_in_memory(activations), as_in_memory(gradients))


@wrong("16.4", "alpha is clipped to [-1, 1]")
def clipped_weights(model, images, target, layer, *, upsample=True):
    find("16.4").target(model, images, target, layer, upsample=upsample)  # what it refuses
    images, goal = images_and_target(model, images, target, maps=True)
    with outputs_of(model, layer) as outputs:
        y = target_scores(model, Tensor(images, requires_grad=True), goal)
    slope = np.clip(grad(y.sum(), outputs[0]).mean(axis=(2, 3), keepdims=True), -1, 1)
    maps = np.maximum((slope * outputs[0].data).sum(axis=1), 0)
    return upsample_maps(maps, images.shape[2:]) if upsample else maps


@wrong("16.4", "a gradient of 0 stays where there was none")
def fills_gradients(model, images, target, layer, *, upsample=True):
    maps = find("16.4").target(model, images, target, layer, upsample=upsample)
    for parameter in model.parameters():
        parameter.grad = np.zeros_like(parameter.data) if parameter.grad is None else parameter.grad
    return maps


@wrong("16.4", "for a set of classes the map is enlarged, whatever is asked for")
def always_enlarged_for_sets(model, images, target, layer, *, upsample=True):
    return find("16.4").target(model, images, target, layer, upsample=upsample or isinstance(target, set))


@wrong("16.4", "runs the children one after the other, not the model's own forward")
def one_after_the_other(model, images, target, layer, *, upsample=True):
    children = dict(model.named_children())
    model = Sequential(children) if children else model
    return find("16.4").target(model, images, target, layer, upsample=upsample)


@wrong("16.4", "maps that are not finite are enlarged and given back")
def enlarges_any_map(model, images, target, layer, *, upsample=True):
    try:
        return find("16.4").target(model, images, target, layer, upsample=upsample)
    except ValueError as error:
        if upsample and "the map is not finite" in str(error):
            return np.full((len(images), *images.shape[2:]), np.nan, images.dtype)
        raise


@wrong("16.1", "the fraction is rounded to nine digits")
def rounded_mass(maps, masks):
    return find("16.1").target(maps, masks).round(9)


@wrong("16.1", "a map of the sum 0 is taken before values below 0 are refused")
def sum_before_signs(maps, masks):
    maps, chance = np.asarray(maps, np.float64), np.asarray(masks).mean(axis=(1, 2))
    return chance if (maps.sum(axis=(1, 2)) == 0).all() else find("16.1").target(maps, masks)


@wrong("16.1", "only the first and the last map are checked for values below 0")
def ends_checked(maps, masks):
    found = find("16.1").target
    found(maps[[0, -1]], masks[[0, -1]])
    inner = np.where(np.isfinite(maps), np.maximum(maps, 0), maps)
    return found(inner, masks)


@wrong("16.2", "NaN and infinity are left out")
def finite_activation(activations, gradients):
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(find("16.2").target(activations, gradients))


@wrong("16.2", "values are clipped to a million")
def clipped_activation(activations, gradients):
    return find("16.2").target(activations, gradients).clip(-1e6, 1e6)


@wrong("16.3", "weights of the digits of float32, in float64")
def float32_digits(old, new):
    return find("16.3").target(old, new).astype(np.float32).astype(np.float64)


@wrong("16.3", "the nearest pixel where there are a thousand or more")
def nearest_of_many(old, new):
    weights = find("16.3").target(old, new)
    if old >= 1000:
        weights = np.eye(old)[((np.arange(new) + 0.5) * old / new).astype(int)]
    return weights


@wrong("16.4", "the hook stays where the network cannot take the images")
def hook_after_an_error(model, images, target, layer, *, upsample=True):
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, output: None)
    with eval_mode(model):
        model(Tensor(images))
    hook.remove()
    return find("16.4").target(model, images, target, layer, upsample=upsample)


not_taken("16.4", "the unit of a layer of rows other than the head", lambda g: g["target"] == ("flatten", 1))


@wrong("16.4", "all parameters require grad where something is refused")
def thawed_after_an_error(model, images, target, layer, *, upsample=True):
    kept = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    maps = find("16.4").target(model.requires_grad_(True), images, target, layer, upsample=upsample)
    for parameter, requires_grad in kept:
        parameter.requires_grad = requires_grad
    return maps
