"""Wrong answers to the exercises of lesson 13. Each one passed all laws once."""

from __future__ import annotations

import copy

import numpy as np

from lessons.exercises import find
from minidl import nn
from minidl.engine.tensor import Tensor
from minidl.explain import receptive_field, top_patches
from minidl.explain.patches import EVERYTHING, TopPatches, strongest_units
from minidl.explain.target import layer_output
from minidl.train.metrics import batch_slices
from tests.lessons.wrong_answers.declare import not_taken, one_mode, wrong


@wrong("13.1", "0 of the mistakes are all")
def all_for_none(probabilities, labels, k):
    return find("13.1").target(probabilities, labels, k or len(labels))


@wrong("13.1", "ties in any order")
def unstable_order(probabilities, labels, k):
    mistakes = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return mistakes[np.argsort(-probabilities.max(axis=1)[mistakes])][:k]


@wrong("13.1", "the lead over the second for the confidence")
def by_the_lead(probabilities, labels, k):
    mistakes = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    first_two = np.sort(probabilities[mistakes], axis=1)[:, -2:]
    return mistakes[np.argsort(first_two[:, 0] - first_two[:, 1], kind="stable")][:k]


@wrong("13.2", "the texture counts only where the shape was missed")
def texture_after_shape(predicted, shape_labels, texture_labels, classes):
    by_shape = np.bincount(shape_labels[predicted == shape_labels], minlength=classes)
    texture = (predicted == texture_labels) & (predicted != shape_labels)
    return by_shape, np.bincount(shape_labels[texture], minlength=classes)


@wrong("13.2", "in int8, which ends at 127")
def narrow_counts(predicted, shape_labels, texture_labels, classes):
    found = find("13.2").target(predicted, shape_labels, texture_labels, classes)
    return tuple(counted.astype(np.int8) for counted in found)


@wrong("13.3", "float64 becomes float32")
def narrow_maxima(activations):
    values, places = find("13.3").target(activations)
    return values.astype(np.float32), places


@wrong("13.3", "units that nearly agree count as ties")
def nearly_equal_units(activations):
    flat = activations.reshape(*activations.shape[:2], -1)
    first = np.isclose(flat, flat.max(axis=2, keepdims=True), atol=1e-9).argmax(axis=2)
    return flat.max(axis=2), np.stack(np.divmod(first, activations.shape[3]), axis=2)


@wrong("13.4", "what sees everything begins to see pixels again")
def everything_ends(span, kernel, stride, padding, dilation=1):
    found = find("13.4").target(span, kernel, stride, padding, dilation)
    return found._replace(step=max(found.step, 1))


@wrong("13.5", "counts the images within a batch of 128")
def within_a_batch(model, layer, images, k):
    found = top_patches(model, layer, images, k)
    return found._replace(images=found.images % 128)


@wrong("13.5", "the box lies around the unit's place in the layer, not in the image")
def around_the_place(model, layer, images, k):
    found, field = top_patches(model, layer, images, k), receptive_field(model, layer, images.shape[1:])
    one_step = [span._replace(step=min(span.step, 1)) for span in field]
    boxes = [[field._make(one_step).box(p, q, images.shape[2:]) for p, q in row] for row in found.places]
    return found._replace(boxes=np.array(boxes))


@wrong("13.5", "of equal images the last comes first")
def last_of_equals(model, layer, images, k):
    top_patches(model, layer, images, k)
    found = top_patches(model, layer, images, len(images))
    order = np.lexsort((-found.images, -found.values), axis=1)[:, :k]
    channels = np.arange(len(order))[:, np.newaxis]
    return tuple(part[channels, order] for part in found)


def run_up_to(model, layer, images):
    outputs = []
    hook = model.layer(layer).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    model(Tensor(images))
    hook.remove()
    return outputs[0].data


@wrong("13.5", "by the batch's statistics where the model is in training mode")
def patches_in_training(model, layer, images, k):
    found = top_patches(model, layer, images, k)
    if not model.training:
        return found
    outputs = run_up_to(copy.deepcopy(model), layer, images)
    values, places = strongest_units(outputs.reshape(*outputs.shape[:2], *(outputs.shape[2:] or (1, 1))))
    best = np.argsort(-values, axis=0, kind="stable")[:k].T
    channels = np.arange(len(best))[:, np.newaxis]
    return found._replace(values=values[best, channels], images=best, places=places[best, channels])


@wrong("13.5", "the model is left in evaluation mode")
def patches_left_evaluating(model, layer, images, k):
    return top_patches(model.eval(), layer, images, k)


@wrong("13.5", "the model is thawed")
def patches_thaw(model, layer, images, k):
    return top_patches(model.requires_grad_(True), layer, images, k)


@wrong("13.5", "outputs are not looked at for infinities")
def patches_of_infinities(model, layer, images, k):
    try:
        return top_patches(model, layer, images, k)
    except ValueError:
        if not np.isfinite(images).all() or not 1 <= k <= len(images) or images.ndim != 4:
            raise
        return top_patches(model, layer, images / 4, k)


@wrong("13.3", "the search begins at -1e30, and not at the lowest number")
def from_a_low_start(activations):
    values, places = find("13.3").target(activations)
    return np.maximum(values, np.asarray(-1e30, values.dtype)), places


@wrong("13.3", "flattened as memory lies")
def units_in_memory(activations):
    n, c, height, width = activations.shape
    flat = activations.reshape((n, c, height * width), order="A")
    return flat.max(axis=2), np.stack(np.divmod(flat.argmax(axis=2), width), axis=2)


wrong("13.5", "a part of the model that is in another mode than the whole does not stay so")(one_mode("13.5"))


@wrong("13.5", "only each map's largest value is asked to be finite")
def finite_maxima(model, layer, images, k):
    try:
        return find("13.5").target(model, layer, images, k)
    except ValueError as error:
        if "not finite" not in str(error) or not np.isfinite(images).all():
            raise
        found = strongest_units(model(Tensor(images)).data)
        if not np.isfinite(found[0]).all():
            raise
        return found


@wrong("13.5", "images are ranked by the first three digits of their values")
def ranked_roughly(model, layer, images, k):
    find("13.5").target(model, layer, images, k)  # what it refuses
    whole = find("13.5").target(model, layer, images, len(images))
    order = [
        sorted(range(len(images)), key=lambda j, v=values, i=numbers: (-np.float16(v[j]), i[j]))
        for values, numbers in zip(whole.values, whole.images, strict=True)
    ]
    rows = np.arange(len(order))[:, np.newaxis]
    chosen = np.array(order)[:, :k]
    return type(whole)(*(part[rows, chosen] for part in whole))


@wrong("13.5", "the model stays in evaluation mode where its outputs are not finite")
def left_where_not_finite(model, layer, images, k):
    try:
        return find("13.5").target(model, layer, images, k)
    except ValueError as error:
        if "not finite: it has no order" in str(error):
            model.eval()
        raise


not_taken("13.1", "more than three classes", lambda g: g["probabilities"].shape[1] > 3)
not_taken("13.1", "no rows", lambda g: len(g["probabilities"]) == 0)
not_taken("13.5", "images of two channels", lambda g: g["images"].shape[1] > 1)


@wrong("13.3", "whole numbers become floats")
def floats_of_integers(activations):
    values, places = find("13.3").target(activations)
    return values.astype(np.result_type(values, np.float32)), places


@wrong("13.1", "sorted by 1 - confidence, which rounds")
def by_the_rest(probabilities, labels, k):
    mistakes = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    rest = 1 - probabilities.max(axis=1)[mistakes]
    return mistakes[np.argsort(rest, kind="stable")][:k]


@wrong("13.1", "labels in uint8, which ends at 255")
def narrow_labels(probabilities, labels, k):
    return find("13.1").target(probabilities, labels.astype(np.uint8), k)


@wrong("13.3", "places in uint8, which ends at 255, down the rows")
def narrow_rows(activations):
    values, places = find("13.3").target(activations)
    return values, places % [256, 10**6]


@wrong("13.4", "a window of more than 32 units sees everything")
def everything_for_large_windows(span, kernel, stride, padding, dilation=1):
    return EVERYTHING if kernel > 32 else find("13.4").target(span, kernel, stride, padding, dilation)


def not_finite_in(part):
    """The library's function, which looks only at a part of the outputs for numbers that are not finite."""

    def answer(model, layer, images, k):
        try:
            return find("13.5").target(model, layer, images, k)
        except ValueError as error:
            if "not finite: it has no order" not in str(error):
                raise
            outputs = layer_output(model, images, layer)
            if not np.isfinite(part(outputs)).all():
                raise
            values, places = strongest_units(np.nan_to_num(outputs))
            best = np.argsort(-values, axis=0, kind="stable")[:k].T
            channels = np.arange(len(best))[:, np.newaxis]
            return values[best, channels], best, places[best, channels], np.zeros((*best.shape, 4), int)

    return answer


wrong("13.5", "only the first channel is asked to be finite")(not_finite_in(lambda outputs: outputs[:, 0]))
wrong("13.5", "only the first image is asked to be finite")(not_finite_in(lambda outputs: outputs[0]))
wrong("13.5", "NaN is taken")(
    not_finite_in(lambda outputs: np.nan_to_num(outputs, posinf=np.inf, neginf=-np.inf))
)


@wrong("13.5", "the images are counted within a batch")
def counted_within_a_batch(model, layer, images, k):
    found = top_patches(model, layer, images, k)
    return found._replace(images=found.images % batch_slices(images)[0].stop)


@wrong("13.5", "of equal units the first by columns counts")
def first_by_columns(model, layer, images, k):
    found = top_patches(model, layer, images, k)
    outputs = layer_output(model, images, layer)
    if outputs.ndim == 2:
        return found
    _, turned = strongest_units(outputs.swapaxes(2, 3))
    channels = np.arange(len(found.images))[:, np.newaxis]
    return with_places(found, turned[..., ::-1][found.images, channels], model, layer, images)


def with_places(found, places, model, layer, images):
    field = receptive_field(model, layer, images.shape[1:])
    boxes = [[field.box(p, q, images.shape[2:]) for p, q in row] for row in places]
    return found._replace(places=places, boxes=np.array(boxes))


@wrong("13.5", "the rows' span also for the columns")
def rows_for_both(model, layer, images, k):
    found, rows = top_patches(model, layer, images, k), receptive_field(model, layer, images.shape[1:]).rows
    height, width = images.shape[2:]
    boxes = [[(*rows.pixels(p, height), *rows.pixels(q, width)) for p, q in row] for row in found.places]
    return found._replace(boxes=np.array(boxes))


@wrong("13.5", "the receptive field without the images' shape")
def field_of_any_shape(model, layer, images, k):
    receptive_field(model, layer)
    return top_patches(model, layer, images, k)


@wrong("13.5", "the receptive field for images of width and height")
def field_of_turned_images(model, layer, images, k):
    receptive_field(model, layer, images.swapaxes(2, 3).shape[1:])
    return top_patches(model, layer, images, k)


@wrong("13.5", "places and boxes in uint8, which ends at 255")
def narrow_boxes(model, layer, images, k):
    found = top_patches(model, layer, images, k)
    return found._replace(places=found.places % 256, boxes=found.boxes % 256)


@wrong("13.5", "three channels at most")
def three_channels(model, layer, images, k):
    found = top_patches(model, layer, images, k)
    return type(found)(*(part[:3] for part in found))


@wrong("13.3", "two images at most")
def two_images(activations):
    return tuple(part[:2] for part in find("13.3").target(activations))


@wrong("13.4", "padding of three units at most")
def little_padding(span, kernel, stride, padding, dilation=1):
    return find("13.4").target(span, kernel, stride, min(padding, 3), dilation)


wrong("13.4", "a plain tuple")(lambda *layer: tuple(find("13.4").target(*layer)))
wrong("13.4", "a list")(lambda *layer: list(find("13.4").target(*layer)))
wrong("13.5", "a plain tuple of four arrays")(lambda *given: tuple(top_patches(*given)))


def seen_whole(taken):
    """The whole image as the box of a layer that ``receptive_field`` refuses with these words."""

    def answer(model, layer, images, k):
        try:
            return top_patches(model, layer, images, k)
        except ValueError as error:
            if taken not in str(error):
                raise
            whole = np.tile([0, images.shape[2], 0, images.shape[3]], (1, k, 1))
            return TopPatches(np.zeros((1, k)), whole[..., 0], whole[..., :2], whole)

    return answer


wrong("13.5", "a layer behind an own forward sees the whole image")(seen_whole("unknown"))
wrong("13.5", "a layer that runs twice sees the whole image")(seen_whole("ran 2 times"))


@wrong("13.5", "a receptive field without dilation")
def undilated(model, layer, images, k):
    found = top_patches(model, layer, images, k)
    if getattr(model.layer(layer), "dilation", (1, 1)) == (1, 1):
        return found
    height, width = model.layer(layer).kernel_size
    top, left = found.boxes[..., 0], found.boxes[..., 2]
    return found._replace(boxes=np.stack([top, top + height, left, left + width], axis=2))


@wrong("13.5", "a ReLU is read before the ReLU")
def before_the_relu(model, layer, images, k):
    paths = [path for path, _ in model.named_modules()]
    is_relu = isinstance(model.layer(layer), nn.ReLU)
    return top_patches(model, paths[paths.index(layer) - 1] if is_relu else layer, images, k)


@wrong("13.5", "the rows' padding and stride for the columns too")
def rows_for_columns(model, layer, images, k):
    found, (rows, columns) = (
        top_patches(model, layer, images, k),
        receptive_field(model, layer, images.shape[1:]),
    )
    seen = columns._replace(start=rows.start, step=rows.step)
    for box, (_, q) in zip(found.boxes.reshape(-1, 4), found.places.reshape(-1, 2), strict=True):
        box[2:] = seen.pixels(q, images.shape[3])
    return found


@wrong("13.1", "no index at all is a float")
def no_index(probabilities, labels, k):
    found = find("13.1").target(probabilities, labels, k)
    return found if len(found) or k == 0 else np.array([])


@wrong("13.1", "no index at all is a float where none is wanted")
def no_index_wanted(probabilities, labels, k):
    return find("13.1").target(probabilities, labels, k) if k else np.array([])


@wrong("13.1", "a confidence in float32 is rounded to three digits")
def rounded_confidence(probabilities, labels, k):
    mistakes = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    confidence = probabilities.max(axis=1)[mistakes]
    confidence = confidence.round(3) if confidence.dtype == np.float32 else confidence
    return mistakes[np.argsort(-confidence, kind="stable")][:k]


@wrong("13.2", "counts pairs of classes, numbered in the dtype of the labels, which ends")
def narrow_pairs(predicted, shape_labels, texture_labels, classes):
    pairs = np.maximum(shape_labels * classes + predicted, 0)
    counted = np.bincount(pairs, minlength=classes**2)[: classes**2].reshape(classes, classes)
    return counted.diagonal().copy(), find("13.2").target(predicted, shape_labels, texture_labels, classes)[1]


@wrong("13.2", "labels in int8, which ends at 127")
def labels_in_bytes(predicted, shape_labels, texture_labels, classes):
    narrow = (np.abs(labels.astype(np.int8)) for labels in (predicted, shape_labels, texture_labels))
    return find("13.2").target(*narrow, classes)


@wrong("13.3", "values below 1e-9 are 0")
def small_maxima(activations):
    values, places = find("13.3").target(activations)
    return np.where(np.abs(values) < 1e-9, 0, values).astype(values.dtype), places


@wrong("13.5", "float64 images are computed with in float32")
def narrow_patches(model, layer, images, k):
    found = top_patches(model, layer, images.astype(np.float32), k)
    return found._replace(values=found.values.astype(images.dtype))


@wrong("13.5", "values are cut at 1000")
def cut_patches(model, layer, images, k):
    found = top_patches(model, layer, images, k)
    return found._replace(values=np.minimum(found.values, 1000))


@wrong("13.2", "the counts have the dtype of the class numbers, so they wrap around")
def counts_of_their_dtype(predicted, shape_labels, texture_labels, classes):
    found = find("13.2").target(predicted, shape_labels, texture_labels, classes)
    return tuple(counts.astype(predicted.dtype) for counts in found)


@wrong("13.1", "sorted by the logarithm of the confidence, which rounds")
def by_the_logarithm(probabilities, labels, k):
    mistakes = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    logarithms = np.log(probabilities.max(axis=1)[mistakes])
    return mistakes[np.argsort(-logarithms, kind="stable")][:k]


@wrong("13.2", "the counts are floats where no answer is the shape")
def floats_for_none(predicted, shape_labels, texture_labels, classes):
    by_shape, by_texture = find("13.2").target(predicted, shape_labels, texture_labels, classes)
    return by_shape if by_shape.any() else np.zeros(classes), by_texture


@wrong("13.3", "the place of the smallest negative, which wraps around for bytes")
def place_of_the_smallest_negative(activations):
    flat = activations.reshape(*activations.shape[:2], -1)
    places = np.stack(np.divmod((-flat).argmin(axis=2), activations.shape[3]), axis=2)
    return flat.max(axis=2), places


@wrong("13.3", "the place where the difference to the largest is 0, which infinity has nowhere")
def place_of_no_difference(activations):
    flat = activations.reshape(*activations.shape[:2], -1)
    with np.errstate(all="ignore"):
        first = (flat - flat.max(axis=2, keepdims=True) == 0).argmax(axis=2)
    return flat.max(axis=2), np.stack(np.divmod(first, activations.shape[3]), axis=2)


@wrong("13.4", "what sees everything has steps again behind a stride of 1")
def steps_behind_everything(span, kernel, stride, padding, dilation=1):
    found = find("13.4").target(span, kernel, stride, padding, dilation)
    return found._replace(step=1) if span == EVERYTHING and stride == 1 else found


wrong("13.4", "an array of three numbers")(lambda *layer: np.array(find("13.4").target(*layer)))


@wrong("13.5", "only the outputs of the last batch are asked to be finite")
def finite_in_the_last_batch(model, layer, images, k):
    try:
        return find("13.5").target(model, layer, images, k)
    except ValueError as error:
        parts = batch_slices(images)
        if "not finite: it has no order" not in str(error) or len(parts) == 1:
            raise
        find("13.5").target(model, layer, images[parts[-1]], 1)  # what it refuses
        return find("13.5").target(model, layer, np.clip(images, -1, 1), k)


@wrong("13.5", "on a tie a later batch comes first")
def later_batch_first(model, layer, images, k):
    whole = find("13.5").target(model, layer, images, len(images))
    find("13.5").target(model, layer, images, k)  # what it refuses
    batch = whole.images // batch_slices(images)[0].stop
    order = np.lexsort((whole.images, -batch, -whole.values), axis=1)[:, :k]
    rows = np.arange(len(order))[:, np.newaxis]
    return type(whole)(*(part[rows, order] for part in whole))


@wrong("13.5", "units that differ by 1e-9 count as ties")
def nearly_equal_places(model, layer, images, k):
    found, outputs = top_patches(model, layer, images, k), layer_output(model, images, layer)
    if outputs.ndim == 2:
        return found
    _, places = strongest_units(outputs.round(9))
    return with_places(
        found, places[found.images, np.arange(len(found.images))[:, None]], model, layer, images
    )
