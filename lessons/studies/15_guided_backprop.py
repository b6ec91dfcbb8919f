"""15 Guided backprop: does it know the class, the weights, the photograph?

EfficientNet-Lite0 on photographs of lessons/pictures that show one of its 1,000
classes. A seed takes six of them; no photograph is taken by two seeds.

Class: the maps for the likeliest class are compared with the maps for the second
likeliest class and for a class that is drawn at random. "signed" is the correlation
of the maps, "strength" the rank correlation of the strength at each pixel, which is
the norm over the three channels. The floor is the strength of the map of another of
the six photographs.

Photograph: the correlation of the maps of two photographs for one class, in the
network and in its copy with ReLU in the place of ReLU6. Edges: the rank correlation
of the strength with the differences between neighbours in the photograph.

Weights: within each tensor the values change places at random (Adebayo et al. 2018),
in more and more layers from the top. Then each channel gets the mean and the deviation
that it has in the trained network, on the six photographs (match_statistics). Each map
is compared by its strength with the map of the trained network for the same class.
"as shuffled" leaves out the matching.
"""

import copy

import numpy as np

from minidl import nn
from minidl.classroom.claims import claim
from minidl.data import lesson_pictures, load_picture, picture_classes
from minidl.explain import deconvnet, guided_backprop, input_gradient
from minidl.explain.score import rank_correlation
from minidl.nn.models import imagenet_network
from minidl.train import match_statistics, predict
from minidl.train.intervals import paired_difference, t_interval

SEEDS = 8
SETTINGS = {"photographs": 6}
RULES = {"gradient": input_gradient, "deconvnet": deconvnet, "guided": guided_backprop}
TOP = ("_fc", "_conv_head", "_bn1")
STAGES = {
    "head": ("_fc",),
    "and the last block": (*TOP, "_blocks.15."),
    "and blocks 8 to 14": (*TOP, *[f"_blocks.{i}." for i in range(8, 16)]),
    "and blocks 1 to 7": (*TOP, *[f"_blocks.{i}." for i in range(1, 16)]),
    "all layers": ("",),
}


def photographs(seed):
    """Six photographs (6, 3, 224, 224) of known classes."""
    table, count = picture_classes(lesson_pictures()), SETTINGS["photographs"]
    known = sorted(file for file, classes in table.items() if classes)
    order = np.random.default_rng(0).permutation(len(known))
    chosen = [known[i] for i in order[seed * count : (seed + 1) * count]]
    return np.stack([load_picture(lesson_pictures() / file)[0] for file in chosen])


def shuffled(network, starts, rng):
    """A copy in which the values of each tensor of these layers change places."""
    model = copy.deepcopy(network)
    for name, parameter in model.named_parameters():
        if name.startswith(starts):
            values = rng.permutation(parameter.data.ravel())
            parameter.data = values.reshape(parameter.shape)
    return model


def without_cap(network):
    """A copy with ReLU in the place of each ReLU6."""
    model = copy.deepcopy(network)
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.ReLU6):
            model.set_submodule(path, nn.ReLU())
    return model


def strength(maps):
    """The norm over the channels: (N, 3, H, W) give (N, H, W)."""
    return np.sqrt((maps**2).sum(axis=1))


def alike(first, second):
    """The mean correlation of N pairs of maps."""
    pairs = zip(first, second, strict=True)
    return np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs])


def alike_in_rank(first, second):
    """The mean rank correlation of N pairs of maps."""
    return rank_correlation(first, second).mean()


def edges(images):
    """|differences| to the left and the upper neighbour, summed over the channels."""
    across = np.abs(np.diff(images, axis=3, prepend=images[..., :1]))
    down = np.abs(np.diff(images, axis=2, prepend=images[:, :, :1]))
    return (across + down).sum(axis=1)


def measure(seed):
    network, images = imagenet_network(), photographs(seed)
    rng, numbers = np.random.default_rng(1000 + seed), {}
    order = predict(network, images).argsort(axis=1)
    likeliest, second = order[:, -1], order[:, -2]
    drawn = order[np.arange(len(images)), rng.integers(0, 998, len(images))]
    own = {}
    for name, rule in RULES.items():
        maps = rule(network, images, likeliest)
        own[name] = strength(maps)
        for which, classes in (("second class", second), ("random class", drawn)):
            other = rule(network, images, classes)
            numbers[f"{name}: {which}, signed"] = alike(maps, other)
            rank = alike_in_rank(own[name], strength(other))
            numbers[f"{name}: {which}, strength"] = rank
        rolled = np.roll(own[name], 1, axis=0)
        numbers[f"{name}: another photograph"] = alike_in_rank(own[name], rolled)
        numbers[f"{name}: edges"] = alike_in_rank(own[name], edges(images))

    for which, model in (("ReLU6", network), ("ReLU", without_cap(network))):
        maps = deconvnet(model, images, int(likeliest[0]))
        found = alike(maps, np.roll(maps, 1, axis=0))
        numbers[f"deconvnet of two photographs, {which}"] = found

    for stage, starts in STAGES.items():
        model = shuffled(network, starts, rng)
        for state in ("as shuffled", "matched"):
            if state == "matched":
                match_statistics(model, network, images)
            for name in ("gradient", "guided"):
                maps = RULES[name](model, images, likeliest)
                rank = alike_in_rank(own[name], strength(maps))
                numbers[f"{name}: {stage}, {state}"] = rank
    return {name: float(number) for name, number in numbers.items()}


def claims(results):
    guided = t_interval(results["guided: random class, signed"])
    claim("guided: a random class gives the same map", guided.low > 0.98, {"r": guided})
    gradient = t_interval(results["gradient: random class, signed"])
    claim("gradient: a random class does not", gradient.high < 0.3, {"r": gradient})
    one = t_interval(results["deconvnet of two photographs, ReLU"])
    claim("deconvnet with ReLU: one map for all", one.low > 0.9999, {"r": one})
    capped = t_interval(results["deconvnet of two photographs, ReLU6"])
    claim("the cap of ReLU6 lets a little through", capped.high < 0.95, {"r": capped})
    stage = "and the last block, matched"
    kept = t_interval(results[f"guided: {stage}"])
    claim(
        "guided survives the loss of head and last block", kept.low > 0.98, {"r": kept}
    )
    more = paired_difference(results[f"guided: {stage}"], results[f"gradient: {stage}"])
    claim("the gradient survives less", more.low > 0.2, {"more": more})
    floor = results["guided: another photograph"]
    more = paired_difference(results["guided: all layers, matched"], floor)
    claim(
        "guided with all layers shuffled is above its floor",
        more.low > 0,
        {"more": more},
    )
    more = paired_difference(results["guided: edges"], results["gradient: edges"])
    claim("guided maps are nearer to the edges", more.low > 0, {"more": more})
