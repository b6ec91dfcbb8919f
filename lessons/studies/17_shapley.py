"""17 Shapley values: rents, estimates from few coalitions, and regions of photographs

Rents of flats: a formula makes 4,000 rents with noise. A network and a linear model
learn them, and both are explained on 60 flats. Background: 20 flats. The formula
itself is explained in the same way, so the truth is known. The distance is the root
mean square of the difference between the shares in the model and in the formula.

Estimates: for 20 of the 60 flats the shares in the network are estimated from 42, 84
and 154 worths and compared with the exact ones, by the root mean square. An order of
the 8 features asks for 7 worths. "both ways" walks each second order backwards.

Photographs: each seed has one of its own, which EfficientNet-Lite0 reads right. The
players are 16 regions. An absent region is as light grey as the background. The worth
is the logit of the right class, and the shares come from 100 coalitions. Then only the
four or eight regions with the largest shares are shown. The same with the regions that
raise the logit most when they stand alone (first step), those that lower it most when
they are covered (last step, occlusion), and regions drawn at random, five draws.
The correlations compare the 16 shares with those of a second draw of coalitions, and
with those where an absent region is noise.
"""

import numpy as np

import minidl.nn.functional as F
from minidl import Tensor
from minidl.classroom.claims import claim
from minidl.data import lesson_pictures, load_picture, picture_classes
from minidl.data.pictures import LIGHT_GREY
from minidl.engine.reduce import stable_softmax
from minidl.explain import (
    Explainer,
    kernel_shap,
    patch_groups,
    shapley_paths,
    shapley_values,
)
from minidl.explain.shapley import all_coalitions
from minidl.nn.models import imagenet_names, imagenet_network, mlp
from minidl.train import Adam, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.transfer import photograph_features

SEEDS = 10
SETTINGS = {
    "flats": 4000,
    "noise of a rent": 30,
    "training": {"steps": 2000, "batch": 100, "lr": 0.005},
    "background": 20,
    "rows": 60,
    "estimated rows": 20,
    "worths": [42, 84, 154],
    "regions": 16,
    "coalitions": 100,
    "regions shown": [4, 8],
}
WAYS = ("orders", "orders both ways", "kernel")


# ---- rents


def true_rent(x):
    area, distance, floor, lift, noise, age = x.T[:6]
    with_lift = 30 * floor * (2 * lift - 1)
    return 300 + 9 * area - 20 * distance + with_lift - 200 * (noise > 60) - age


def made_flats(count, rng):
    low, high = [20, 0, 0, 0, 40, 0, 1, 1], [120, 15, 8, 1, 80, 100, 99, 12]
    return np.round(rng.uniform(low, high, size=(count, 8)))


def learned(seed):
    """The network as a function of rows, and the weights of a linear model."""
    rng, how = np.random.default_rng(seed), SETTINGS["training"]
    x = made_flats(SETTINGS["flats"], rng)
    rents = true_rent(x) + rng.normal(0, SETTINGS["noise of a rent"], len(x))
    mean, std = x.mean(axis=0), x.std(axis=0)
    z = ((x - mean) / std).astype(np.float32)
    hundreds = (rents[:, np.newaxis] / 100).astype(np.float32)
    network = mlp(8, (32, 32), 1, rng=rng)
    optimizer = Adam(network.parameters(), lr=how["lr"])
    for step in range(how["steps"]):
        batch = rng.integers(0, len(x), how["batch"])
        optimizer.lr = how["lr"] * (1 - step / how["steps"])
        optimizer.zero_grad()
        F.mse_loss(network(Tensor(z[batch])), hundreds[batch]).backward()
        optimizer.step()
    w = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), rents, rcond=None)[0]

    def rent(rows):
        z = ((rows - mean) / std).astype(np.float32)
        return 100 * predict(network, z, 4096)[:, 0]

    return rent, w


def root_mean_square(errors):
    return float(np.sqrt(np.mean(np.square(errors))))


def on_rents(seed):
    rent, w = learned(seed)
    background = made_flats(SETTINGS["background"], np.random.default_rng(100))
    rows = made_flats(SETTINGS["rows"], np.random.default_rng(101))
    truth = Explainer(true_rent, background).explain(rows).values
    explainer = Explainer(rent, background)
    by_network = explainer.explain(rows).values
    linear = w[:-1] * (rows - background.mean(axis=0))
    distance = "distance to the truth"
    numbers = {
        f"network: {distance}": root_mean_square(by_network - truth),
        f"linear model: {distance}": root_mean_square(linear - truth),
    }
    rng = np.random.default_rng(seed)
    for worths in SETTINGS["worths"]:
        errors = {way: [] for way in WAYS}
        for row in rows[: SETTINGS["estimated rows"]]:
            game = explainer.game(row)(all_coalitions(8))  # (256,)
            exact, orders = shapley_values(game, 8), worths // 7
            single = shapley_paths(game, 8, orders, rng, antithetic=False).values
            both = shapley_paths(game, 8, orders, rng).values
            kernel = kernel_shap(game, 8, worths, rng)
            for way, found in zip(WAYS, (single, both, kernel), strict=True):
                errors[way].append(found - exact)
        for way in WAYS:
            numbers[f"{way}: error from {worths} worths"] = root_mean_square(
                errors[way]
            )
    return numbers


# ---- photographs


def own_photograph(seed):
    """An image that the network reads right, no other seed's, and its class."""
    photographs, names = photograph_features(), imagenet_names()
    table, found = picture_classes(lesson_pictures()), []
    for row, path in enumerate(photographs.files):
        best = photographs.logits[row].argmax()
        if names[best] in table[f"{path.parent.name}/{path.name}"]:
            found.append((path, int(best)))
    path, label = found[np.random.default_rng(0).permutation(len(found))[seed]]
    return load_picture(path)[0], label


def on_photograph(seed):
    network, rng = imagenet_network(), np.random.default_rng(seed)
    image, label = own_photograph(seed)
    count = SETTINGS["regions"]
    regions = patch_groups(224, 224, 56)
    grey = np.empty_like(image)
    grey[:] = np.float32(LIGHT_GREY)[:, np.newaxis, np.newaxis]

    def logit(images):
        return predict(network, images)[:, label]

    def game_over(cover):
        return Explainer(logit, cover[np.newaxis], groups=regions).game(image)

    noise = rng.random(image.shape).astype(np.float32)
    v, coalitions = game_over(grey), SETTINGS["coalitions"]
    shares = kernel_shap(v, count, coalitions, rng)
    again = kernel_shap(v, count, coalitions, rng)
    over_noise = kernel_shap(game_over(noise), count, coalitions, rng)
    numbers = {
        "correlation with a second draw": float(np.corrcoef(shares, again)[0, 1]),
        "correlation with noise": float(np.corrcoef(shares, over_noise)[0, 1]),
    }
    each = np.eye(count, dtype=bool)
    none, everything = v(np.array([[False] * count, [True] * count]))
    first, last = v(each) - none, everything - v(~each)
    whole = everything - none
    numbers["sum of first steps"] = float(first.sum() / whole)
    numbers["sum of last steps"] = float(last.sum() / whole)

    def probability(chosen):
        """Mean probability of the class where only these regions are shown."""
        known = chosen[:, regions][:, np.newaxis]  # (m, 1, 224, 224)
        p = stable_softmax(predict(network, np.where(known, image, grey)))
        return float(p[:, label].mean())

    numbers["p, whole photograph"] = probability(np.ones((1, count), bool))
    for shown in SETTINGS["regions shown"]:
        for name, by in (
            ("Shapley", shares),
            ("first step", first),
            ("last step", last),
        ):
            chosen = np.zeros((1, count), bool)
            chosen[0, np.argsort(-by)[:shown]] = True
            numbers[f"p, {shown} regions by {name}"] = probability(chosen)
        ranks = rng.permuted(np.tile(np.arange(count), (5, 1)), axis=1)
        numbers[f"p, {shown} regions at random"] = probability(ranks < shown)
    return numbers


def measure(seed):
    return {**on_rents(seed), **on_photograph(seed)}


def claims(results):
    def more(name, larger, smaller, than=0.0):
        gap = paired_difference(results[larger], results[smaller])
        claim(name, gap.low > than, {"by": gap})

    more(
        "the network's shares are nearer to the truth than the linear model's",
        "linear model: distance to the truth",
        "network: distance to the truth",
    )
    for worths in SETTINGS["worths"]:
        error = f"error from {worths} worths"
        more(
            f"walking back pays at {worths} worths",
            f"orders: {error}",
            f"orders both ways: {error}",
        )
        more(
            f"the kernel errs least at {worths} worths",
            f"orders both ways: {error}",
            f"kernel: {error}",
        )
    for shown in SETTINGS["regions shown"]:
        more(
            f"{shown} regions by Shapley tell more than {shown} at random",
            f"p, {shown} regions by Shapley",
            f"p, {shown} regions at random",
        )
    more(
        "8 regions by Shapley tell more than 8 by the first step",
        "p, 8 regions by Shapley",
        "p, 8 regions by first step",
    )
    more(
        "first steps sum to more than last steps",
        "sum of first steps",
        "sum of last steps",
        0.3,
    )
    again = t_interval(results["correlation with a second draw"])
    claim("two draws of coalitions agree", again.low > 0.7, {"correlation": again})
    last = t_interval(results["sum of last steps"])
    claim("the last steps do not sum to the whole", last.high < 1, {"sum": last})
