"""How often the nearest example is right: on features, on pixels, by depth.

The photographs are those of the ten groups with at least seven (209 of them). A task
has all ten groups and 1, 2 or 5 examples of each; two further photographs of each group
are to be told. A seed draws 200 tasks, the same ones for every description. So an
interval speaks of further draws from these photographs, not of other photographs.

Descriptions: the real network's 1,280 features at 224 pixels, and the pixels (32 x 32).
Distances are cosines unless a name says otherwise. For the comparison by depth each
block's output is averaged over its places, at 128 pixels. The control is the same
network with random weights, drawn by the seed; its BatchNorm statistics are estimated
on 32 photographs.

Roles exchanged: 40 photographs on four backgrounds (red, green, blue, grey). The same
descriptions, at 128 pixels, answer two questions from one example a class: which group
is it, and which background? Queries show other objects than the examples do.

Digits: a small network learns 0 to 4 (8 x 8 pixels); 5 to 9 are the new classes.
"""

from functools import cache, partial

import numpy as np

from minidl.classroom.claims import claim
from minidl.data import load_digits, load_picture
from minidl.nn.models import efficientnet_lite0, imagenet_network, small_cnn
from minidl.train import Adam, fit, predict, reestimate_statistics
from minidl.train.intervals import paired_difference
from minidl.train.schedules import cosine
from minidl.transfer import photograph_features
from minidl.transfer.fewshot import (
    Episode,
    episodes,
    evaluate_episodes,
    knn_predict,
    prototype_predict,
)

SEEDS = 5
SETTINGS = {
    "tasks": 200,
    "shots": [1, 2, 5],
    "blocks": [0, 3, 6, 9, 12, 15],
    "backgrounds": {
        "red": [0.8, 0.3, 0.3],
        "green": [0.3, 0.7, 0.3],
        "blue": [0.3, 0.4, 0.8],
        "grey": [0.8, 0.8, 0.8],
    },
}
BY_ANGLE = partial(knn_predict, metric="cosine")


@cache
def photographs():
    """Rows of the groups with at least seven photographs, their labels, and all."""
    found = photograph_features()
    rows = np.flatnonzero(np.bincount(found.labels)[found.labels] >= 7)
    return rows, found.labels[rows], found


@cache
def pictures(size):
    rows, _, found = photographs()
    return np.stack([load_picture(found.files[row], size)[0] for row in rows])


def described(network, images):
    """name of a layer -> its outputs' means over places, (N, channels)."""
    outputs = {f"block {i}": [] for i in SETTINGS["blocks"]} | {"last": []}
    hooks = []
    for name, kept in outputs.items():
        path = "_relu1" if name == "last" else f"_blocks.{name.split()[1]}"

        def keep(module, inputs, output, kept=kept):
            kept.append(output.data.mean(axis=(2, 3)))

        hooks.append(network.layer(path).register_forward_hook(keep))
    predict(network, images, batch_size=8)
    for hook in hooks:
        hook.remove()
    return {name: np.concatenate(kept) for name, kept in outputs.items()}


@cache
def trained_by_depth():
    return described(imagenet_network(), pictures(128))


def by_shots(rng):
    """Shares right on features and on pixels; other rules at five shots."""
    rows, labels, found = photographs()
    spaces = {"features": found.features[rows], "pixels": pictures(32)}
    results = {}
    for shots in SETTINGS["shots"]:
        count = SETTINGS["tasks"]
        tasks = episodes(labels, ways=10, shots=shots, queries=2, count=count, rng=rng)
        rules = {"": BY_ANGLE}
        if shots == 5:
            rules[", prototypes"] = partial(prototype_predict, metric="cosine")
            rules[", three votes"] = partial(BY_ANGLE, k=3)
            rules[", five votes"] = partial(BY_ANGLE, k=5)
        if shots == 1:
            rules[", euclidean"] = knn_predict
        for space, values in spaces.items():
            for rule, answer in rules.items():
                share = evaluate_episodes(values, labels, tasks, answer).interval.mean
                results[f"{space}, {shots} a group{rule}"] = share
    return results


def by_depth(seed, rng):
    """Shares right from one example a group: each block, trained and random."""
    _, labels, _ = photographs()
    images, results = pictures(128), {}
    random = efficientnet_lite0(rng=np.random.default_rng(seed))
    some = images[rng.permutation(len(images))[:32]]
    reestimate_statistics(random, some)
    count = SETTINGS["tasks"]
    tasks = episodes(labels, ways=10, shots=1, queries=2, count=count, rng=rng)
    networks = {"trained": trained_by_depth(), "random": described(random, images)}
    for name, layers in networks.items():
        for layer, values in layers.items():
            share = evaluate_episodes(values, labels, tasks, BY_ANGLE).interval.mean
            results[f"{name}, {layer}"] = share
    return results


@cache
def on_backgrounds():
    """Features (160, 1280), pixels (160, 3072), groups and backgrounds (160,)."""
    rows, labels, found = photographs()
    groups = [found.groups.index(name) for name in ("birds", "fruit", "music", "tools")]
    chosen = np.concatenate([rows[labels == group][:10] for group in groups])
    colours = SETTINGS["backgrounds"].values()
    images, small = [], []
    for colour in colours:
        for row in chosen:
            images.append(load_picture(found.files[row], 128, background=colour)[0])
            small.append(load_picture(found.files[row], 32, background=colour)[0])
    features = described(imagenet_network(), np.stack(images))["last"]
    pixels = np.stack(small).reshape(len(small), -1)
    of_group = np.tile(np.repeat(range(4), 10), 4)
    return features, pixels, of_group, np.repeat(range(4), 40)


def exchanged(rng):
    """Shares right on two questions about the same photographs."""
    features, pixels, groups, backgrounds = on_backgrounds()
    objects = np.tile(np.arange(40), 4)
    tasks = {"group": [], "background": []}
    for _ in range(SETTINGS["tasks"]):
        # four examples: one of each group, each on another background
        example_of = [10 * g + rng.integers(10) for g in range(4)]
        support = 40 * rng.permutation(4) + np.array(example_of)
        others = np.flatnonzero(~np.isin(objects, example_of))
        queries = rng.choice(others, 20, replace=False)
        for question in tasks:
            tasks[question].append(Episode(np.arange(4), support, queries))
    results = {}
    for question, labels in (("group", groups), ("background", backgrounds)):
        for space, values in (("features", features), ("pixels", pixels)):
            scores = evaluate_episodes(values, labels, tasks[question], BY_ANGLE)
            results[f"which {question}? by {space}"] = scores.interval.mean
    return results


def digits(seed, rng):
    """Shares right on the digits 5 to 9, by pixels and by features of 0 to 4."""
    (images, labels), _ = load_digits()
    seen, model = labels < 5, small_cnn(5, 1, rng=np.random.default_rng(seed))
    steps = 10 * -(-int(seen.sum()) // 64)
    options = {"optimizer": Adam(model.parameters(), lr=3e-3), "progress": False}
    options |= {"schedule": cosine(3e-3, 0.0, steps), "rng": rng}
    fit(model, (images[seen], labels[seen]), epochs=10, **options)
    new, answers, results = images[~seen], labels[~seen], {}
    tasks = episodes(answers, ways=5, shots=1, queries=10, count=60, rng=rng)
    spaces = {"pixels": new, "features": predict(model[:-1].eval(), new)}
    for space, values in spaces.items():
        share = evaluate_episodes(values, answers, tasks, BY_ANGLE).interval.mean
        results[f"unseen digits, {space}"] = share
    return results


def measure(seed):
    rng = np.random.default_rng(seed)
    results = by_shots(rng) | by_depth(seed, rng)
    return results | exchanged(rng) | digits(seed, rng)


def claims(results):
    def more(one, other):
        return paired_difference(results[one], results[other])

    for shots in (1, 5):
        gain = more(f"features, {shots} a group", f"pixels, {shots} a group")
        text = f"with {shots} a group features tell more than pixels"
        claim(text, gain.low > 0.2, {"gain": gain})
    gain = more("features, 1 a group", "features, 1 a group, euclidean")
    claim("angles tell more than distances", gain.low > 0.04, {"gain": gain})
    gain = more("features, 5 a group, prototypes", "features, 5 a group")
    claim("prototypes tell more than the nearest example", gain.low > 0, {"gain": gain})
    gain = more("features, 5 a group, three votes", "features, 5 a group")
    claim("three votes gain nothing over one", gain.high < 0.01, {"gain": gain})

    gain = more("trained, last", "trained, block 0")
    claim("a trained network tells more the deeper", gain.low > 0.2, {"gain": gain})
    loss = more("random, last", "random, block 0")
    claim("a random network tells less the deeper", loss.high < 0, {"loss": loss})

    gain = more("which group? by features", "which group? by pixels")
    claim("features know the group", gain.low > 0.3, {"lead": gain})
    gain = more("which background? by pixels", "which background? by features")
    claim("pixels know the background", gain.low > 0.4, {"lead": gain})
    loss = more("unseen digits, features", "unseen digits, pixels")
    claim("features of 0 to 4 tell 5 to 9 worse", loss.high < -0.15, {"loss": loss})
