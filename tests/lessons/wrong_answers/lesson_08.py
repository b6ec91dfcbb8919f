"""Wrong answers to the exercises of lesson 08. Each one passed all laws once."""

from __future__ import annotations

import numpy as np

from lessons.exercises import find
from tests.lessons.wrong_answers.declare import (
    all_learn_afterwards,
    layers_as_a_whole,
    narrowed,
    not_taken,
    one_loss_without_a_rate,
    parts_of_a_model,
    unused_are_frozen,
    unused_by_old_gradient,
    with_modes,
    without_ties,
    wrong,
)


@wrong("08.1", "a rate that is rounded to five places")
def rounded_warmup(schedule, warmup_steps, step):
    return round(find("08.1").target(schedule, warmup_steps, step), 5)


@wrong("08.1", "the schedule is also asked for the step during the warmup, where it may have ended")
def asks_beyond_the_end(schedule, warmup_steps, step):
    later = schedule(step)
    return later if warmup_steps == 0 else find("08.1").target(schedule, warmup_steps, step)


@wrong("08.1", "a rate that is rounded to twelve places")
def warmup_to_twelve_places(schedule, warmup_steps, step):
    return round(find("08.1").target(schedule, warmup_steps, step), 12)


@wrong("08.1", "after a hundred steps the schedule stands still")
def no_late_steps(schedule, warmup_steps, step):
    return find("08.1").target(schedule, warmup_steps, min(step, warmup_steps + 100))


@wrong("08.2", "float32 becomes float64")
def wide_smoothing(target, label_smoothing):
    return find("08.2").target(np.asarray(target, np.float64), label_smoothing)


@wrong("08.2", "any share is taken")
def any_share(target, label_smoothing):
    return (1 - label_smoothing) * target + label_smoothing / target.shape[-1]


@wrong("08.2", "K from the second axis, in which the classes need not be")
def classes_of_the_second_axis(target, label_smoothing):
    find("08.2").target(target, label_smoothing)
    eps = target.dtype.type(label_smoothing) if target.dtype.kind == "f" else label_smoothing
    return (1 - eps) * target + eps / target.shape[min(1, target.ndim - 1)]


@wrong("08.2", "the labels are rounded to float32")
def narrow_labels(target, label_smoothing):
    return find("08.2").target(narrowed(target), label_smoothing)


@wrong("08.2", "eps = 0 gives the rows themselves")
def unsmoothed(target, label_smoothing):
    return np.array(target) if label_smoothing == 0 else find("08.2").target(target, label_smoothing)


@wrong("08.2", "eps = 1 gives float64")
def all_smoothed(target, label_smoothing):
    whole = np.full(np.shape(target), 1 / np.shape(target)[-1])
    return whole if label_smoothing == 1 else find("08.2").target(target, label_smoothing)


@wrong("08.2", "float16 becomes float32")
def at_least_float32(target, label_smoothing):
    wide = np.asarray(target, np.result_type(np.asarray(target), np.float32))
    return find("08.2").target(wide, label_smoothing)


@wrong("08.2", "an eps of nearly 0 ... 1 is taken")
def nearly_a_share(target, label_smoothing):
    nearly = -1e-12 <= label_smoothing <= 1 + 1e-12
    return find("08.2").target(target, min(max(label_smoothing, 0), 1) if nearly else label_smoothing)


@wrong("08.2", "an eps below 1e-6 changes nothing")
def least_share(target, label_smoothing):
    return find("08.2").target(target, 0 if 0 < label_smoothing < 1e-6 else label_smoothing)


@wrong("08.2", "only int64 becomes float64, other whole numbers stay as they are")
def other_integers(target, label_smoothing):
    rows = find("08.2").target(target, label_smoothing)
    return rows if target.dtype == np.int64 else rows.astype(target.dtype)


@wrong("08.2", "K is kept in a byte")
def classes_in_a_byte(target, label_smoothing):
    rows = find("08.2").target(target, label_smoothing)
    K = target.shape[-1]
    return rows if K < 256 else rows + rows.dtype.type(label_smoothing / (K - 255) - label_smoothing / K)


not_taken("08.2", "rows with three axes before the classes", lambda g: g["target"].ndim > 3)
not_taken("08.2", "an eps that is an int", lambda g: isinstance(g["label_smoothing"], int))


@wrong("08.3", "float32 becomes float64")
def wide_gradient(p, target, temperature=1.0):
    return find("08.3").target(np.float64(p), np.float64(target), temperature)


@wrong("08.3", "temperatures below 1e-3 are raised to it")
def no_steep_gradient(p, target, temperature=1.0):
    return find("08.3").target(p, target, max(temperature, 1e-3))


@wrong("08.3", "a sum within 1e-3 of 1 is taken for 1")
def nearly_one(p, target, temperature=1.0):
    total = target.sum(axis=1, keepdims=True)
    total = np.where(np.abs(total - 1) < 1e-3, 1, total).astype(p.dtype)
    return ((p * total - target) / temperature).astype(p.dtype)


@wrong("08.3", "a sum within 1e-5 of 1 is taken for 1")
def very_nearly_one(p, target, temperature=1.0):
    total = target.sum(axis=1, keepdims=True)
    total = np.where(np.isclose(total, 1), 1, total).astype(p.dtype)
    return ((p * total - target) / temperature).astype(p.dtype)


@wrong("08.3", "the sums are a row where there are as many rows as classes")
def sums_in_a_row(p, target, temperature=1.0):
    total = target.sum(axis=1)
    total = total if len(total) == p.shape[1] else total[:, np.newaxis]
    return ((p * total - target) / temperature).astype(p.dtype)


@wrong("08.3", "a temperature above 1 is cut to a whole number")
def whole_temperature(p, target, temperature=1.0):
    return find("08.3").target(p, target, max(temperature % 1, temperature // 1))


@wrong("08.3", "the factor 1 / T is rounded to float32")
def narrow_factor(p, target, temperature=1.0):
    rows = find("08.3").target(p, target)
    return (rows * np.float32(1 / temperature)).astype(p.dtype)


not_taken("08.3", "more than 64 rows", lambda g: len(g["p"]) > 64)


@wrong("08.3", "no gradient where p is 0")
def masked_zeros(p, target, temperature=1.0):
    return np.where(p == 0, 0, find("08.3").target(p, target, temperature)).astype(p.dtype)


@wrong("08.3", "a gradient below 1e-9 is 0")
def cleaned(p, target, temperature=1.0):
    rows = find("08.3").target(p, target, temperature)
    return np.where(np.abs(rows) < 1e-9, 0, rows).astype(p.dtype)


@wrong("08.4", "the warmup takes one step more")
def longer_warmup(model, images, labels, *, warmup_steps, **settings):
    more = warmup_steps + (warmup_steps > 0)
    return find("08.4").target(model, images, labels, warmup_steps=more, **settings)


@wrong("08.4", "a label of -100 is the first class")
def careful_with_any_label(model, images, labels, **settings):
    return find("08.4").target(model, images, np.where(labels == -100, 0, labels), **settings)


@wrong("08.4", "the share is spread over the other classes only")
def smoothed_over_others(model, images, labels, *, label_smoothing, **settings):
    classes = len(list(model.parameters())[-1].data)
    share = label_smoothing * classes / max(classes - 1, 1)
    if not 0 <= label_smoothing <= 1:
        raise ValueError("a share is within 0 ... 1")
    return find("08.4").target(model, images, labels, label_smoothing=min(share, 1.0), **settings)


@wrong("08.4", "the old mode comes back at the end")
def mode_comes_back(model, *arguments, **settings):
    training = model.training
    losses = find("08.4").target(model, *arguments, **settings)
    model.train(training)
    return losses


@wrong("08.4", "a list of losses")
def listed_losses(model, *arguments, **settings):
    return find("08.4").target(model, *arguments, **settings).tolist()


@wrong("08.4", "the parameters are rounded to float32")
def narrow_parameters(model, *arguments, **settings):
    losses = find("08.4").target(model, *arguments, **settings)
    for parameter in model.parameters():
        parameter.data = narrowed(parameter.data)
    return losses


@wrong("08.4", "the first 32 images only")
def first_images(model, images, labels, *, rng, **settings):
    class First:
        def standard_normal(self, shape):
            return rng.standard_normal((len(images), *shape[1:]))[:32]

    return find("08.4").target(model, images[:32], labels[:32], rng=First(), **settings)


@wrong("08.4", "no warmup takes more than ten steps")
def short_warmup(model, images, labels, *, warmup_steps, **settings):
    return find("08.4").target(model, images, labels, warmup_steps=min(warmup_steps, 10), **settings)


@wrong("08.4", "only the first fifty steps change the parameters")
def fifty_steps(model, images, labels, *, steps, lr, **settings):
    start = find("08.4").target(model, images, labels, steps=min(steps, 50), lr=lr, **settings)
    if steps <= 50:
        return start
    rest = find("08.4").target(model, images, labels, steps=steps - 50, lr=0.0, **settings)
    return np.concatenate([start, rest])


@wrong("08.4", "a sigma and an eps that are nearly right are taken")
def nearly_right(model, images, labels, *, sigma, label_smoothing, **settings):
    sigma = max(sigma, 0.0) if sigma > -1e-6 else sigma
    eps = min(label_smoothing, 1.0) if label_smoothing < 1 + 1e-6 else label_smoothing
    return find("08.4").target(model, images, labels, sigma=sigma, label_smoothing=eps, **settings)


not_taken("08.4", "a sigma above 1", lambda g: g["sigma"] > 1)
not_taken("08.4", "labels that are not int64", lambda g: g["labels"].dtype != np.int64)


@wrong("08.4", "the mode is set only where the model's own flag is another one")
def careful_by_own_flag(model, images, labels, **options):
    own = [model] if model.training else []
    return with_modes("08.4", [model], images, labels, by_own_flag=own, **options)


all_learn_afterwards("08.4", of=0)
parts_of_a_model("08.4")


@wrong("08.1", "a rate of the warmup that is a whole number, if the schedule's rates are")
def whole_rates(schedule, warmup_steps, step):
    if step < warmup_steps and isinstance(schedule(0), int):
        return schedule(0) * (step + 1) // warmup_steps
    return find("08.1").target(schedule, warmup_steps, step)


@wrong("08.4", "the same noise in all channels")
def noise_of_one_channel(model, images, *arguments, rng, **settings):
    class OneChannel:
        def standard_normal(self, shape):
            return rng.standard_normal(shape if len(shape) < 3 else (shape[0], 1, *shape[2:]))

    return find("08.4").target(model, images, *arguments, rng=OneChannel(), **settings)


@wrong("08.2", "rows of int8 become float32")
def narrow_for_int8(target, label_smoothing):
    rows = find("08.2").target(target, label_smoothing)
    return rows.astype(np.float32) if np.asarray(target).dtype == np.int8 else rows


@wrong("08.1", "a rate that is an array without axes")
def rate_as_array(schedule, warmup_steps, step):
    return np.array(find("08.1").target(schedule, warmup_steps, step))


@wrong("08.4", "the classes are kept in a byte")
def labels_in_a_byte(model, images, labels, **settings):
    kept = np.where(labels < 0, labels, np.asarray(labels).astype(np.uint8))
    return find("08.4").target(model, images, kept, **settings)


unused_by_old_gradient("08.4")

layers_as_a_whole("08.4")

without_ties("08.4")
unused_are_frozen("08.4")
one_loss_without_a_rate("08.4")


@wrong("08.4", "lr / W is rounded to float32")
def narrow_rate(model, *arguments, lr, warmup_steps, **settings):
    W = max(warmup_steps, 1)
    narrow = W * float(np.float32(lr / W))
    return find("08.4").target(model, *arguments, lr=narrow, warmup_steps=warmup_steps, **settings)


@wrong("08.3", "float16 becomes float32")
def wide_half_gradient(p, target, temperature=1.0):
    wide = np.result_type(p, np.float32)
    return find("08.3").target(p.astype(wide), target.astype(wide), temperature)
