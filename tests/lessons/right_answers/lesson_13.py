"""Right answers to the exercises of lesson 13, written from the stubs alone."""

from __future__ import annotations

import math

import numpy as np

from minidl.explain.patches import Span, TopPatches, receptive_field
from minidl.explain.target import float_images, layer_output
from minidl.train.metrics import batch_slices
from tests.lessons.right_answers.declare import right


@right("13.1")
def confident_mistakes(probabilities, labels, k):
    wrong = [i for i in range(len(labels)) if probabilities[i].argmax() != labels[i]]
    return np.array(sorted(wrong, key=lambda i: -probabilities[i].max())[:k], dtype=int)


@right("13.2")
def cue_counts(predicted, shape_labels, texture_labels, classes):
    by_shape = np.zeros(classes, dtype=int)
    by_texture = np.zeros(classes, dtype=int)
    for answer, shape, texture in zip(predicted, shape_labels, texture_labels, strict=True):
        if answer == shape:
            by_shape[shape] += 1
        if answer == texture:
            by_texture[shape] += 1
    return by_shape, by_texture


@right("13.3")
def strongest_units(activations):
    n, c, h, w = activations.shape
    flat = activations.reshape(n, c, h * w)
    best = flat.argmax(axis=2)
    return flat.max(axis=2), np.stack([best // w, best % w], axis=2)


@right("13.4")
def through_window(span, kernel, stride, padding, dilation=1):
    if span.size == math.inf:
        return span
    size = span.size + (kernel - 1) * dilation * span.step
    return Span(size, stride * span.step, span.start - padding * span.step)


@right("13.5")
def top_patches(model, layer, images, k):
    images = float_images(images, maps=True)
    if not 1 <= k <= len(images):
        raise ValueError("k must be between 1 and the number of images")
    field = receptive_field(model, layer, images.shape[1:])
    values, places = [], []
    for part in batch_slices(images):
        output = layer_output(model, images[part], layer)
        if not np.isfinite(output).all():
            raise ValueError("the outputs are not all finite")
        if output.ndim == 2:
            output = output[:, :, np.newaxis, np.newaxis]
        value, place = strongest_units(output)
        values.append(value)
        places.append(place)
    values, places = np.concatenate(values), np.concatenate(places)
    order = np.argsort(-values, axis=0, kind="stable")[:k].T
    channels = np.arange(len(order))[:, np.newaxis]
    values, places = values[order, channels], places[order, channels]
    boxes = np.array([[field.box(p, q, images.shape[2:]) for p, q in row] for row in places])
    return TopPatches(values, order, places, boxes)
