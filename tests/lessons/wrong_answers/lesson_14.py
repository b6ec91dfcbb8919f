"""Wrong answers to the exercises of lesson 14. Each one passed all laws once."""

from __future__ import annotations

import numpy as np

from lessons.exercises import find
from minidl import nn
from minidl.engine.tensor import Tensor
from minidl.explain import integrated_gradients, occlusion_map
from minidl.explain.baseline import baseline_images
from minidl.explain.gradients import gradient_by_rule, path_nodes
from minidl.explain.occlusion import average_over_windows, scores, window_starts
from minidl.explain.target import images_and_target, layer_output
from tests.lessons.wrong_answers.declare import is_unit, not_taken, one_mode, wrong


@wrong("14.1", "always the last axis but two, which is the channels' for images alone")
def channels_from_behind(gradients, reduce):
    if reduce == "max":
        return np.abs(gradients).max(axis=-3 if gradients.ndim > 3 else -1)
    if reduce == "l2":
        return np.sqrt((gradients**2).sum(axis=-3 if gradients.ndim > 3 else -1))
    return np.abs(gradients)


@wrong("14.2", "windows counted in int8, which ends at 127")
def narrow_count_of_windows(drops, size, window, stride):
    total, count = np.zeros((len(drops), *size), drops.dtype), np.zeros(size, np.int8)
    for i, j in np.ndindex(drops.shape[1:]):
        top, left = i * stride[0], j * stride[1]
        total[:, top : top + window[0], left : left + window[1]] += drops[:, i, j, None, None]
        with np.errstate(over="ignore"):
            count[top : top + window[0], left : left + window[1]] += 1
    return (total / count).astype(drops.dtype)


@wrong("14.3", "64 nodes at most")
def few_nodes(steps, nodes="gauss"):
    return find("14.3").target(min(steps, 64), nodes)


@wrong("14.3", "in float32 on the way")
def narrow_nodes(steps, nodes="gauss"):
    return tuple(np.float64(np.float32(part)) for part in find("14.3").target(steps, nodes))


@wrong("14.4", "all images are asked for the class of the first")
def first_class_for_all(model, images, target=None, **options):
    target = int(np.ravel(target)[0]) if isinstance(target, np.ndarray) else target
    return occlusion_map(model, images, target, **options)


@wrong("14.4", "a map above 0 only")
def only_losses(model, images, target=None, **options):
    return np.maximum(occlusion_map(model, images, target, **options), 0)


@wrong("14.4", "float32 becomes float64")
def wide_map(model, images, target=None, **options):
    return occlusion_map(model, images, target, **options).astype(np.float64)


@wrong("14.4", "the model is left in evaluation mode")
def occlusion_left_evaluating(model, images, target=None, **options):
    return occlusion_map(model.eval(), images, target, **options)


@wrong("14.4", "the model is thawed")
def occlusion_thaws(model, images, target=None, **options):
    return occlusion_map(model.requires_grad_(True), images, target, **options)


@wrong("14.4", "float64 images are computed with in float32")
def narrow_occlusion(model, images, target=None, **options):
    return occlusion_map(model, np.float32(images), target, **options).astype(images.dtype)


@wrong("14.5", "always middles of equal parts")
def always_middles(model, images, target=None, *, nodes="gauss", **options):
    integrated_gradients(model, images, target, nodes=nodes, **options)
    return integrated_gradients(model, images, target, nodes="midpoint", **options)


@wrong("14.5", "magnitudes")
def no_sign(model, images, target=None, **options):
    return np.abs(integrated_gradients(model, images, target, **options))


@wrong("14.5", "the baseline of noise is drawn anew")
def drawn_again(model, images, target=None, *, rng=None, **options):
    if rng is not None:
        rng.random(images.shape)
    return integrated_gradients(model, images, target, rng=rng, **options)


@wrong("14.5", "64 nodes at most")
def path_of_few_nodes(model, images, target=None, *, steps=64, **options):
    return integrated_gradients(model, images, target, steps=min(steps, 64), **options)


@wrong("14.5", "the model is left in evaluation mode")
def path_left_evaluating(model, images, target=None, **options):
    return integrated_gradients(model.eval(), images, target, **options)


@wrong("14.5", "the model is thawed")
def path_thaws(model, images, target=None, **options):
    return integrated_gradients(model.requires_grad_(True), images, target, **options)


@wrong("14.5", "the gradients of the parameters grow")
def path_by_backward(model, images, target=None, **options):
    x = Tensor(images, requires_grad=True)
    model(x).sum().backward()
    return integrated_gradients(model, images, target, **options)


@wrong("14.5", "float64 images are computed with in float32")
def narrow_path(model, images, target=None, **options):
    return integrated_gradients(model, np.float32(images), target, **options).astype(images.dtype)


@wrong("14.1", "the channels are the third axis from the end, where there are so many axes")
def channels_from_the_end(gradients, reduce):
    if gradients.ndim < 5 or reduce is None:
        return find("14.1").target(gradients, reduce)
    return find("14.1").target(np.moveaxis(gradients, -3, 1), reduce)


@wrong("14.1", "all channels come back in float32")
def narrow_channels(gradients, reduce):
    found = find("14.1").target(gradients, reduce)
    return found.astype(np.float32) if reduce is None else found


for several in ("14.4", "14.5"):
    wrong(several, "a part of the model that is in another mode than the whole does not stay so")(
        one_mode(several)
    )


@wrong("14.4", "the logit in place of the probability where no class is given")
def logit_of_the_answer(model, images, target=None, *, probability=False, **options):
    return find("14.4").target(
        model, images, target, probability=probability and target is not None, **options
    )


def stride_within(axis):
    """The library's function, with a stride along this axis of at most the window."""

    def answer(model, images, target=None, *, window=4, stride=2, **options):
        windows, strides = (list(np.broadcast_to(sizes, 2).tolist()) for sizes in (window, stride))
        strides[axis] = min(strides[axis], windows[axis])
        return find("14.4").target(
            model, images, target, window=tuple(windows), stride=tuple(strides), **options
        )

    return answer


wrong("14.4", "a stride that is larger than the window in height alone is taken")(stride_within(0))
wrong("14.4", "a stride that is larger than the window in width alone is taken")(stride_within(1))


@wrong("14.3", "words in capitals, None and all that begins alike are taken")
def any_such_word(steps, nodes="gauss"):
    word = str(nodes or "gauss").lower()
    return find("14.3").target(steps, "gauss" if word.startswith("gauss") else word)


@wrong("14.5", "a baseline of float64 is rounded to float32")
def narrow_baseline(model, images, target=None, *, baseline=0.0, **options):
    if isinstance(baseline, float):
        baseline = float(np.float32(baseline))
    return find("14.5").target(model, images, target, baseline=baseline, **options)


def noise_without_rng(given):
    return given["baseline"] is not None and str(given["baseline"]) == "noise" and given["rng"] is None


not_taken("14.4", "the unit of a layer without maps", is_unit(1))
not_taken("14.4", "noise without an rng", noise_without_rng)
not_taken("14.4", "classes with probability", lambda g: g["probability"] and np.ndim(g["target"]) == 1)
not_taken("14.5", "a unit of maps", is_unit(3))
not_taken("14.5", "noise without an rng", noise_without_rng)
not_taken("14.5", "more than 128 steps", lambda g: g["steps"] > 128)
not_taken("14.5", "a mean of rows", lambda g: str(g["baseline"]) == "mean" and g["images"].ndim == 2)
not_taken("14.5", "a class for each row", lambda g: np.ndim(g["target"]) == 1 and g["images"].ndim == 2)
not_taken("14.5", "rows without a class", lambda g: g["target"] is None and g["images"].ndim == 2)


@wrong("14.2", "the last row of windows is moved inside, not cut")
def windows_moved_inside(drops, size, window, stride):
    total, count = np.zeros((len(drops), *size), drops.dtype), np.zeros(size, drops.dtype)
    for i in range(drops.shape[1]):
        for j in range(drops.shape[2]):
            top, left = min(i * stride[0], size[0] - window[0]), j * stride[1]
            rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
            total[:, rows, columns] += drops[:, i, j, np.newaxis, np.newaxis]
            count[rows, columns] += 1
    return total / count


@wrong("14.1", "three channels at most")
def three_channels(gradients, reduce):
    return find("14.1").target(gradients if reduce is None else gradients[:, :3], reduce)


@wrong("14.1", "a magnitude as the root of a square, which overflows")
def root_of_square(gradients, reduce):
    if reduce == "l2":
        return find("14.1").target(gradients, reduce)
    with np.errstate(over="ignore"):
        magnitudes = np.sqrt(gradients**2)
    return magnitudes if reduce is None else magnitudes.max(axis=1)


@wrong("14.1", "the largest in float32")
def narrow_largest(gradients, reduce):
    if reduce != "max":
        return find("14.1").target(gradients, reduce)
    return find("14.1").target(gradients.astype(np.float32), reduce).astype(gradients.dtype)


@wrong("14.1", "1e-20 under the root")
def root_of_a_little_more(gradients, reduce):
    if reduce != "l2":
        return find("14.1").target(gradients, reduce)
    return np.sqrt((gradients**2).sum(axis=1) + gradients.dtype.type(1e-20))


@wrong("14.2", "windows counted in uint8, which ends at 255")
def count_of_windows_in_bytes(drops, size, window, stride):
    total, count = np.zeros((len(drops), *size), drops.dtype), np.zeros(size, np.uint8)
    for i, j in np.ndindex(drops.shape[1:]):
        top, left = i * stride[0], j * stride[1]
        total[:, top : top + window[0], left : left + window[1]] += drops[:, i, j, None, None]
        count[top : top + window[0], left : left + window[1]] += 1
    with np.errstate(divide="ignore", invalid="ignore"):
        return (total / count).astype(drops.dtype)


@wrong("14.2", "1e-8 windows more")
def a_little_more_windows(drops, size, window, stride):
    one = find("14.2").target(np.ones_like(drops), size, window, stride)
    return find("14.2").target(drops, size, window, stride) / (one + drops.dtype.type(1e-8))


@wrong("14.3", "100 nodes at most")
def a_hundred_nodes(steps, nodes="gauss"):
    if steps > 100 and nodes == "gauss":
        raise ValueError("too many")
    return find("14.3").target(steps, nodes)


@wrong("14.3", "an even number of Gauss's nodes as two halves of the line")
def two_halves(steps, nodes="gauss"):
    if nodes != "gauss" or steps < 10 or steps % 2:
        return find("14.3").target(steps, nodes)
    alphas, weights = find("14.3").target(steps // 2)
    return np.concatenate([alphas, alphas + 1]) / 2, np.concatenate([weights, weights]) / 2


@wrong("14.3", "rounded to ten digits")
def ten_digits(steps, nodes="gauss"):
    return tuple(part.round(10) for part in find("14.3").target(steps, nodes))


@wrong("14.3", "the parts of both words are taken")
def parts_of_words(steps, nodes="gauss"):
    word = "midpoint" if nodes in ("mid", "point") else nodes
    return find("14.3").target(steps, word)


@wrong("14.3", "midpoints counted in uint8, which ends at 255")
def narrow_midpoints(steps, nodes="gauss"):
    if nodes != "midpoint":
        return find("14.3").target(steps, nodes)
    _, weights = find("14.3").target(steps, nodes)
    return (np.arange(steps).astype(np.uint8) + 0.5) / steps, weights


def of_a_set(number, what, as_target):
    """The library's function, which takes a set of classes as ``as_target`` of it."""

    def answer(model, images, target=None, **options):
        if isinstance(target, set | frozenset):
            target = as_target(target)
        return find(number).target(model, images, target, **options)

    wrong(number, f"a set of classes: {what}")(answer)


for several in ("14.4", "14.5"):
    of_a_set(several, "its largest class", max)
    of_a_set(several, "its first class", lambda classes: sorted(classes)[0])


def mean_over_a_set(model, images, target=None, **options):
    if not isinstance(target, set | frozenset):
        return occlusion_map(model, images, target, **options)
    maps = [occlusion_map(model, images, one, **options) for one in sorted(target)]
    return np.mean(maps, axis=0).astype(images.dtype)


wrong("14.4", "a set of classes: the mean of their maps")(mean_over_a_set)


@wrong("14.4", "a set of classes: the logit where the probability was asked for")
def logit_of_a_set(model, images, target=None, *, probability=False, **options):
    asks = probability and not isinstance(target, set | frozenset)
    return occlusion_map(model, images, target, probability=asks, **options)


@wrong("14.4", "the class predicted for the first image, for all")
def first_answer_for_all(model, images, target=None, **options):
    occlusion_map(model, images, target, **options)
    if target is None:
        target = int(layer_output(model, images[:1], "").argmax())
    return occlusion_map(model, images, target, **options)


@wrong("14.4", "the probability of a unit without maps is its output")
def probability_of_rows(model, images, target=None, *, probability=False, **options):
    asks = probability and not is_unit(1)({"target": target})
    return occlusion_map(model, images, target, probability=asks, **options)


@wrong("14.4", "a window covers the first three channels")
def three_channels_covered(model, images, target=None, *, baseline="mean", rng=None, **options):
    cover = np.array(baseline_images(images, baseline, rng))
    if images.ndim == 4:
        cover[:, 3:] = images[:, 3:]
    return occlusion_map(model, images, target, baseline=cover, **options)


@wrong("14.4", "a stride above the window is taken where one window covers everything")
def one_window(model, images, target=None, *, window=4, stride=2, **options):
    if images.ndim == 4 and np.array_equal(np.broadcast_to(window, 2), images.shape[2:]):
        stride = 1
    return occlusion_map(model, images, target, window=window, stride=stride, **options)


@wrong("14.4", "256 images, and the first again for the others")
def occlusion_of_one_batch(model, images, target=None, **options):
    maps = occlusion_map(model, images, target, **options)
    maps[256:] = maps[0]
    return maps


not_taken("14.4", "a class of NumPy", lambda g: isinstance(g["target"], np.integer))
not_taken("14.4", "classes in a list", lambda g: isinstance(g["target"], list))


def target_within(number):
    """The library's function, with a class or a unit below 0 moved to 0."""

    def answer(model, images, target=None, **options):
        if isinstance(target, int):
            target = max(target, 0)
        elif isinstance(target, tuple):
            target = (target[0], *(max(index, 0) for index in target[1:]))
        return find(number).target(model, images, target, **options)

    return answer


for several in ("14.4", "14.5"):
    wrong(several, "a class or a unit below 0 is taken as 0")(target_within(several))


@wrong("14.5", "one baseline for all images")
def first_baseline_for_all(model, images, target=None, *, baseline=0.0, rng=None, **options):
    b = baseline_images(images, baseline, rng)[:1]
    return integrated_gradients(model, images, target, baseline=b, **options)


@wrong("14.5", "a number below 0 as baseline is 0")
def no_negative_baseline(model, images, target=None, *, baseline=0.0, **options):
    if isinstance(baseline, int | float):
        baseline = max(baseline, 0)
    return integrated_gradients(model, images, target, baseline=baseline, **options)


@wrong("14.5", "four baselines for one image give four maps")
def map_for_each_baseline(model, images, target=None, *, baseline=0.0, **options):
    if len(images) == 1 and np.ndim(baseline) == images.ndim:
        images = images.repeat(len(baseline), axis=0)
    return integrated_gradients(model, images, target, baseline=baseline, **options)


@wrong("14.5", "a baseline of float64 makes the map float64")
def widened_by_the_baseline(model, images, target=None, *, baseline=0.0, **options):
    maps = integrated_gradients(model, images, target, baseline=baseline, **options)
    return maps.astype(baseline.dtype) if isinstance(baseline, np.ndarray) else maps


@wrong("14.5", "256 images, and zeros for the others")
def path_of_one_batch(model, images, target=None, **options):
    maps = integrated_gradients(model, images, target, **options)
    maps[256:] = 0
    return maps


not_taken("14.5", "classes in a list", lambda g: isinstance(g["target"], list))


@wrong("14.1", "gradients cut at 1e6")
def cut_gradients(gradients, reduce):
    return find("14.1").target(np.clip(gradients, -1e6, 1e6) if reduce == "l2" else gradients, reduce)


@wrong("14.2", "two images at most")
def two_maps(drops, size, window, stride):
    return find("14.2").target(drops[:2], size, window, stride)


def a_tuple_of_classes(given):
    return isinstance(given["target"], tuple) and not isinstance(given["target"][0], str)


not_taken("14.4", "classes in a tuple", a_tuple_of_classes)
not_taken("14.5", "classes in a tuple", a_tuple_of_classes)


@wrong("14.5", "a baseline of NaN is taken as 0")
def nan_as_0(model, images, target=None, *, baseline=0.0, **options):
    baseline = np.nan_to_num(baseline) if isinstance(baseline, np.ndarray) else baseline
    return integrated_gradients(model, images, target, baseline=baseline, **options)


def filled_up(number):
    """The library's function, but indices that a unit lacks are 0."""

    def answer(model, images, target=None, **options):
        if isinstance(target, tuple) and target[1:2] == (0,):
            target = (*target, 0, 0)[: layer_output(model, images, target[0]).ndim]
        return find(number).target(model, images, target, **options)

    return answer


for filled in ("14.4", "14.5"):
    wrong(filled, "indices that a unit lacks are 0")(filled_up(filled))
    not_taken(filled, "a model with its own forward", lambda g: not isinstance(g["model"], nn.Sequential))
not_taken("14.4", "three classes as one", lambda g: isinstance(g["target"], set) and len(g["target"]) == 3)


@wrong("14.4", "the unit of a ReLU is read before the ReLU")
def before_the_relu(model, images, target=None, **options):
    paths = [path for path, _ in model.named_modules()]
    if isinstance(target, tuple) and target[0] in paths and isinstance(model.layer(target[0]), nn.ReLU):
        target = (paths[paths.index(target[0]) - 1], *target[1:])
    return occlusion_map(model, images, target, **options)


@wrong("14.3", "any word is taken for one node")
def one_node(steps, nodes="gauss"):
    return find("14.3").target(steps, nodes if steps != 1 else "gauss")


@wrong("14.2", "always a float32 map")
def always_narrow(drops, size, window, stride):
    return find("14.2").target(drops, size, window, stride).astype(np.float32)


@wrong("14.2", "float64 drops are averaged in float32")
def narrow_drops(drops, size, window, stride):
    return find("14.2").target(drops.astype(np.float32), size, window, stride).astype(drops.dtype)


@wrong("14.2", "drops below 1e-9 are 0")
def small_drops(drops, size, window, stride):
    return find("14.2").target(drops * (np.abs(drops) >= 1e-9), size, window, stride)


@wrong("14.3", "three and more of Gauss's nodes fall")
def falling_nodes(steps, nodes="gauss"):
    alphas, weights = find("14.3").target(steps, nodes)
    return (alphas[::-1], weights[::-1]) if steps > 2 and nodes == "gauss" else (alphas, weights)


@wrong("14.5", "Gauss's nodes where the baseline is noise")
def gauss_under_noise(model, images, target=None, *, baseline=0.0, nodes="gauss", **options):
    nodes = "gauss" if isinstance(baseline, str) and baseline == "noise" else nodes
    return integrated_gradients(model, images, target, baseline=baseline, nodes=nodes, **options)


@wrong("14.1", "the norm of gradients that are rounded to float32")
def norm_of_narrow(gradients, reduce):
    narrow = gradients.astype(np.float32).astype(gradients.dtype)
    return find("14.1").target(narrow if reduce == "l2" else gradients, reduce)


def several(target):
    return isinstance(target, np.ndarray | list)


def changed_target(number, text, condition, change):
    """The library's function, which changes such targets."""

    def answer(model, images, target=None, **options):
        if condition(target):
            target = change(target, layer_output(model, images[:1], target[0] if is_tuple(target) else ""))
        return find(number).target(model, images, target, **options)

    wrong(number, text)(answer)


def is_tuple(target):
    return isinstance(target, tuple) and isinstance(target[0], str)


for number in ("14.4", "14.5"):
    changed_target(
        number,
        "one of several classes is taken where the model has no such class",
        several,
        lambda target, logits: np.clip(target, 0, logits.shape[1] - 1),
    )
    changed_target(
        number, "a unit's last index too many is left out", is_tuple, lambda unit, maps: unit[: maps.ndim]
    )


@wrong("14.1", "the norm of gradients divided by the largest of all, so weak pixels become 0")
def norm_beside_the_largest(gradients, reduce):
    largest = np.abs(gradients).max()
    if reduce != "l2" or largest == 0:
        return find("14.1").target(gradients, reduce)
    return largest * find("14.1").target(gradients / largest, reduce)


@wrong("14.2", "running sums in the drops' dtype, in which a large drop leaves a rest")
def running_sums(drops, size, window, stride):
    ends = np.zeros((len(drops) + 1, size[0] + 1, size[1] + 1), drops.dtype)  # the last counts the windows
    for i, j in np.ndindex(drops.shape[1:]):
        top, left = i * stride[0], j * stride[1]
        bottom, right = min(top + window[0], size[0]), min(left + window[1], size[1])
        added = np.append(drops[:, i, j], 1).astype(drops.dtype)
        for y, x, sign in ((top, left, 1), (bottom, left, -1), (top, right, -1), (bottom, right, 1)):
            ends[:, y, x] += sign * added
    total = ends.cumsum(axis=1).cumsum(axis=2)[:, :-1, :-1]
    return total[:-1] / total[-1]


@wrong("14.3", "midpoints by arange from 0 to 1, which gives one too many for some numbers of steps")
def midpoints_by_arange(steps, nodes="gauss"):
    if nodes != "midpoint" or steps < 1:
        return find("14.3").target(steps, nodes)
    alphas = np.arange(0, 1, 1 / steps) + 0.5 / steps
    return alphas, np.full(len(alphas), 1 / steps)


@wrong("14.3", "spaces around a word are taken off")
def stripped_word(steps, nodes="gauss"):
    return find("14.3").target(steps, nodes.strip() if isinstance(nodes, str) else nodes)


@wrong("14.4", "a softmax without the largest logit taken off, which is NaN where e^z is infinite")
def plain_softmax(model, images, target=None, *, probability=False, **options):
    maps = find("14.4").target(model, images, target, probability=probability, **options)
    large = probability and layer_output(model, images, "").max() > 709
    return np.full_like(maps, np.nan) if large else maps


def wide_inside(number):
    """The library's function for images of float64, and the maps in the images' dtype."""

    def answer(model, images, target=None, **options):
        maps = find(number).target(model, images.astype(np.float64), target, **options)
        return maps.astype(images.dtype)

    return answer


for number in ("14.4", "14.5"):
    wrong(number, "float32 images are computed with in float64")(wide_inside(number))


@wrong("14.5", "the class that is not given is predicted in float32")
def class_in_float32(model, images, target=None, **options):
    if target is None:
        find("14.5").target(model, images, **options)  # what it refuses
        target = layer_output(model, images.astype(np.float32), "").argmax(axis=1)
    return find("14.5").target(model, images, target, **options)


@wrong("14.4", "nothing is checked where the images are the baseline")
def nothing_to_cover(model, images, target=None, *, baseline="mean", rng=None, **options):
    if np.array_equal(images, baseline_images(images, baseline, rng)):
        return np.zeros((len(images), *images.shape[2:]), images.dtype)
    return find("14.4").target(model, images, target, baseline=baseline, rng=rng, **options)


@wrong("14.5", "the points on the line are rounded to float32")
def narrow_points(model, images, target=None, *, baseline=0.0, steps=64, nodes="gauss", rng=None):
    find("14.5").target(model, images, target, baseline=baseline, steps=steps, nodes=nodes)  # what it refuses
    images, goal = images_and_target(model, images, target)
    b, average = baseline_images(images, baseline, rng), np.zeros_like(images)
    for alpha, weight in zip(*map(np.ndarray.tolist, path_nodes(steps, nodes)), strict=True):
        point = (b + alpha * (images - b)).astype(np.float32).astype(images.dtype)
        average += weight * gradient_by_rule(model, point, goal)
    return (images - b) * average


@wrong("14.2", "windows beyond those of window_starts are left out")
def needed_windows(drops, size, window, stride):
    rows, columns = (len(window_starts(*line)) for line in zip(size, window, stride, strict=True))
    return find("14.2").target(drops[:, :rows, :columns], size, window, stride)


@wrong("14.2", "a pixel without a window is 0")
def zero_without_a_window(drops, size, window, stride):
    total, count = np.zeros((len(drops), *size), drops.dtype), np.zeros(size, drops.dtype)
    for i, j in np.ndindex(drops.shape[1:]):
        top, left = i * stride[0], j * stride[1]
        total[:, top : top + window[0], left : left + window[1]] += drops[:, i, j, None, None]
        count[top : top + window[0], left : left + window[1]] += 1
    return total / np.maximum(count, 1)


@wrong("14.4", "a window starts at each multiple of the stride, up to the end of the image")
def starts_up_to_the_end(
    model, images, target=None, *, window=4, stride=2, baseline="mean", probability=False, rng=None
):
    images, target = images_and_target(model, images, target, maps=True, probability=probability)
    window, stride = (side if isinstance(side, tuple) else (side, side) for side in (window, stride))
    size = images.shape[2:]
    for line in zip(size, window, stride, strict=True):
        window_starts(*line)  # refuses
    starts = [range(0, pixels, step) for pixels, step in zip(size, stride, strict=True)]
    cover, whole = baseline_images(images, baseline, rng), scores(model, images, target, probability)
    drops = np.empty((len(images), *map(len, starts)), images.dtype)
    for i, j in np.ndindex(drops.shape[1:]):
        place = np.s_[..., starts[0][i] : starts[0][i] + window[0], starts[1][j] : starts[1][j] + window[1]]
        covered = images.copy()
        covered[place] = cover[place]
        drops[:, i, j] = whole - scores(model, covered, target, probability)
    return average_over_windows(drops, size, window, stride)
