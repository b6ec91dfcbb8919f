"""16 Grad-CAM: which half of a picture, and which of its pixels

EfficientNet-Lite0 and the mammals of lessons/pictures that are cut-outs with exactly
one right class in classes.csv. A seed draws four pairs of different classes and eight
single mammals. The question is always for the right class.

Pairs: two mammals of 224 x 224 pixels side by side on light grey. Asked half: which
share of a map lies in the half of the asked mammal. Both mammals are asked for,
whatever the network answers. Half is chance.

Off centre: a mammal of 128 x 128 pixels in a corner of a picture whose colours go
smoothly from corner to corner. Centred: the same mammal in the usual size in the middle
of light grey. Only mammals count for which both pictures are answered right. Pointing:
how often a map's highest pixel lies on the mammal. Mass: which share of the map lies on
the mammal. The true masks come with the cut-outs. Chance is the area: the mammal's
share of the pixels.

Maps: the gradient's norm over the channels; guided backprop and guided Grad-CAM
likewise; integrated gradients (8 steps, from the picture's mean colour), summed over
the channels, positive part. Controls that ask no network: random numbers; the nearness
to the middle; the contrast, which is the distance of a pixel's colour from the
picture's mean colour.
"""

from contextlib import ExitStack

import numpy as np

from minidl import Tensor, grad
from minidl.classroom.claims import claim
from minidl.data import lesson_pictures, load_picture, picture_classes
from minidl.explain import mass_inside, pointing_game
from minidl.explain.cam import class_activation, upsample_maps
from minidl.explain.gradients import guided_backprop, integrated_gradients
from minidl.explain.target import outputs_of
from minidl.nn.models import imagenet_names, imagenet_network
from minidl.train import predict
from minidl.train.intervals import paired_difference, t_interval

SEEDS = 8
SETTINGS = {"pairs": 4, "mammals": 8, "steps of integrated gradients": 8}
LAYERS = {
    "Grad-CAM, block 4": "_blocks.4",
    "Grad-CAM, block 10": "_blocks.10",
    "Grad-CAM, block 14": "_blocks.14",
    "Grad-CAM": "_relu1",
}


def mammals():
    """(file, class) of each mammal with exactly one right class."""
    root, names = lesson_pictures(), imagenet_names()
    found = []
    for file, classes in picture_classes(root).items():
        if file.startswith("mammals/") and len(classes) == 1:
            found.append((root / file, names.index(classes[0])))
    return found


def norm(values):
    """(1, 3, H, W) -> (H, W)"""
    return np.sqrt((values[0] ** 2).sum(axis=0))


def maps_of(network, image, k):
    """Name -> map (H, W) >= 0 of the image (1, 3, H, W), asked for the class k."""
    x = Tensor(image, requires_grad=True)
    with ExitStack() as stack:
        outputs = [
            stack.enter_context(outputs_of(network, path)) for path in LAYERS.values()
        ]
        logits = network(x)
    A = [output[0] for output in outputs]
    dy_dx, *dy_dA = grad(logits[0, k], [x, *A])
    maps = {}
    for name, layer, slope in zip(LAYERS, A, dy_dA, strict=True):
        L = np.maximum(class_activation(layer.data, slope), 0)
        maps[name] = upsample_maps(L, image.shape[2:])[0]
    guided = guided_backprop(network, image, k)
    maps["gradient"] = norm(dy_dx)
    maps["guided backprop"] = norm(guided)
    maps["guided Grad-CAM"] = norm(guided) * maps["Grad-CAM"]
    return maps


def controls(image, rng):
    """Maps that ask no network."""
    height, width = image.shape[2:]
    y, x = np.mgrid[:height, :width] + 0.5
    away = np.hypot(y - height / 2, x - width / 2)
    return {
        "random numbers": rng.random((height, width)),
        "the middle": away.max() - away,
        "the contrast": norm(image - image.mean(axis=(2, 3), keepdims=True)),
    }


def off_centre(path, rng):
    """A small mammal in a corner: image (3, 224, 224), mask (224, 224)."""
    image = upsample_maps(rng.random((3, 2, 2)), (224, 224)).astype(np.float32)
    y, x = 96 * rng.integers(2, size=2)
    corner = (..., slice(y, y + 128), slice(x, x + 128))
    mask = np.zeros((224, 224), bool)
    image[corner], mask[corner] = load_picture(path, 128, background=image[corner])
    return image, mask


def score_mammal(network, path, k, rng):
    """Name -> score of one mammal; nothing where an answer is wrong."""
    image, mask = off_centre(path, rng)
    centred, centred_mask = load_picture(path)
    if (predict(network, np.stack([image, centred])).argmax(axis=1) != k).any():
        return {}
    image, centred = image[np.newaxis], centred[np.newaxis]
    steps = SETTINGS["steps of integrated gradients"]
    slopes = integrated_gradients(network, image, k, steps=steps, baseline="mean")
    maps = maps_of(network, image, k) | controls(image, rng)
    maps["integrated gradients"] = np.maximum(slopes[0].sum(axis=0), 0)
    scores = {"off centre: area": mask.mean(), "centred: area": centred_mask.mean()}
    for name, values in maps.items():
        one = values[np.newaxis], mask[np.newaxis]
        scores[f"off centre, pointing: {name}"] = pointing_game(*one)[0]
        scores[f"off centre, mass: {name}"] = mass_inside(*one)[0]
    maps = maps_of(network, centred, k) | controls(centred, rng)
    for name, values in maps.items():
        one = values[np.newaxis], centred_mask[np.newaxis]
        scores[f"centred, pointing: {name}"] = pointing_game(*one)[0]
    return scores


def ask_pair(network, files, classes):
    """Name -> share of the map in the asked half, mean over both questions."""
    pictures = [load_picture(file)[0] for file in files]
    image, shares = np.concatenate(pictures, axis=2)[np.newaxis], {}
    left = np.zeros((1, 224, 448), bool)
    left[:, :, :224] = True
    for k, inside in zip(classes, (left, ~left), strict=True):
        for name, values in maps_of(network, image, k).items():
            share = mass_inside(values[np.newaxis], inside)[0]
            key = f"asked half: {name}"
            shares[key] = shares.get(key, 0) + share / 2
    return shares


def measure(seed):
    network, rng, chosen = imagenet_network(), np.random.default_rng(seed), mammals()
    pairs, scored = [], []
    while len(pairs) < SETTINGS["pairs"]:
        (left, a), (right, b) = (chosen[i] for i in rng.integers(len(chosen), size=2))
        if a != b:
            pairs.append(ask_pair(network, (left, right), (a, b)))
    for i in rng.permutation(len(chosen)):
        scores = score_mammal(network, *chosen[i], rng)
        if scores:
            scored.append(scores)
        if len(scored) == SETTINGS["mammals"]:
            break
    found = {}
    for rows in (pairs, scored):
        for name in rows[0]:
            found[name] = float(np.mean([row[name] for row in rows]))
    return found


def claims(results):
    def more(score, first, second):
        """How much higher the first map scores than the second."""
        return paired_difference(
            results[f"{score}: {first}"], results[f"{score}: {second}"]
        )

    for score, first, second, least in (
        ("asked half", "Grad-CAM", "guided backprop", 0.2),
        ("asked half", "guided Grad-CAM", "guided backprop", 0.2),
        ("asked half", "guided Grad-CAM", "Grad-CAM", 0),
        ("asked half", "Grad-CAM", "Grad-CAM, block 14", 0.1),
        ("off centre, mass", "guided Grad-CAM", "the contrast", 0.3),
        ("off centre, mass", "guided Grad-CAM", "guided backprop", 0),
        ("off centre, mass", "Grad-CAM, block 14", "Grad-CAM", 0.15),
        ("off centre, mass", "Grad-CAM", "random numbers", 0.15),
        ("off centre, pointing", "the contrast", "guided Grad-CAM", 0),
        ("off centre, pointing", "Grad-CAM", "the middle", 0.3),
    ):
        gain = more(score, first, second)
        text = f"{score}: {first} above {second} by more than {least}"
        claim(text, gain.low > least, {"by": gain})
    early = t_interval(results["asked half: Grad-CAM, block 4"])
    claim("asked half: block 4 is near chance", early.high < 0.55, {"share": early})
    gain = more("centred, pointing", "Grad-CAM", "the middle")
    claim(
        "centred, pointing: Grad-CAM is no better than the middle by 0.1",
        gain.high < 0.1,
        {"by": gain},
    )
