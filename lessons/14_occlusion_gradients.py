"""14 Occlusion and gradients: which pixels does an answer rest on?

Question: what in an image makes a network answer as it does, and how would we notice a wrong explanation?
Measured: how often the peak of a map lies on the object, and how much of the map does, for occlusion with
three baselines and four methods by gradients: 5 networks, 200 made images each, whose masks are known; beside
two maps that ask no network. What 5 networks take from the six features of a made table.
Exercises: 14.1 window_starts, 14.2 average_over_windows, 14.3 reduce_channels, 14.4 path_nodes.
"""

# %% [markdown]
# ## A network, and images whose truth is known
# Circles, squares, stars and hearts of any texture and colour on a dark background. They are made, so we know
# which pixels are the object: an explanation can be right or wrong.

# %%
import numpy as np

from minidl import Tensor, grad
from minidl.classroom.claims import claim
from minidl.data import cached_runs
from minidl.explain import (
    input_gradient,
    input_x_gradient,
    integrated_gradients,
    occlusion_map,
    saliency,
    smoothgrad,
)
from minidl.figures import bars_with_intervals, overlay, save
from minidl.nn.models import mlp
from minidl.train import Adam, evaluate, fit, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.networks import EXPLAINED_SHAPES, shapes_images, shapes_network

model = shapes_network(0)
images, labels, masks = shapes_images(200, rng=np.random.default_rng(100))
logits = predict(model, images)
print(f"{np.mean(logits.argmax(axis=1) == labels):.1%} of {len(labels)} new images told right")
shown = np.array([np.flatnonzero(labels == k)[0] for k in range(4)])
names = [EXPLAINED_SHAPES[k] for k in labels[shown]]

# %% [markdown]
# ## Cover a part, and see what is lost
# Four by four pixels are painted over, here with the image's mean colour. What the logit of the right class
# loses is what these pixels had said for it. `occlusion_map` does so everywhere, here in steps of two pixels,
# and gives each pixel the mean over the windows that cover it.

# %%
square = images[shown[1]][np.newaxis]  # (1, 3, 16, 16)
top, left = 8, 4
covered = square.copy()
covered[:, :, top : top + 4, left : left + 4] = square.mean(axis=(2, 3), keepdims=True)

before, after = predict(model, square)[0, 1], predict(model, covered)[0, 1]
print(f"logit of 'square' {before:.3f}, with one window covered {after:.3f}: lost {before - after:.3f}")
square_map = occlusion_map(model, square, 1, window=4, stride=2, baseline="mean")  # (1, 16, 16)
print(f"the map runs from {square_map.min():.3f} (covering helps) to {square_map.max():.3f}")
one_window = occlusion_map(model, square, 1, window=16, stride=16, baseline=covered)
assert np.allclose(one_window, before - after, rtol=1e-4, atol=1e-5)

# %% [markdown]
# ## Covered with what?
# "Nothing" has no colour. Black is what the background looks like; the mean is a dull colour; noise is a
# pattern of its own; white is a square, and there is a class of that name. Each asks another question. (And
# blue is an answer too: without its middle this star is more of a star. Its points make it one.)

# %%
rng = np.random.default_rng(0)
four, right = images[shown], labels[shown]
baselines = {"black": 0.0, "mean": "mean", "noise": "noise", "white": 1.0}
maps = np.stack([occlusion_map(model, four, right, baseline=b, rng=rng) for b in baselines.values()], axis=1)
title = "what the logit loses: red speaks for the class"
figure = overlay(four, maps, list(baselines), row_titles=names, signed=True, title=title)
save(figure, "14_occlusion_gradients/baselines")

# %% [markdown]
# ## The gradient: all pixels at once
# df/dx says what the logit f would do if a value changed a little (not if something were taken away), and it
# takes one backward pass instead of 49 forward passes. Saliency is its magnitude.

# %%
x = Tensor(square.astype(np.float64), requires_grad=True)
f = model(x)[0, 1]
df_dx = grad(f, x)  # (1, 3, 16, 16)

step = np.zeros_like(df_dx)
step[0, 1, 12, 8] = 1e-5  # a little more green in one pixel
slope = (model(Tensor(square + step)).data[0, 1] - model(Tensor(square - step)).data[0, 1]) / 2e-5
print(f"df/dx of that pixel {df_dx[0, 1, 12, 8]:+.5f}   by a difference {slope:+.5f}")
assert np.allclose(input_gradient(model, square, 1), df_dx, atol=1e-5)
assert np.allclose(saliency(model, square, 1), np.abs(df_dx).max(axis=1), atol=1e-5)

# %% [markdown]
# ## From slopes to shares
# If f were linear, x · df/dx would be what each value contributes. It is not: along the way from a baseline b
# to x the slope changes. Integrated gradients take its mean over that way, and then the shares do sum up:
#     IG = (x - b) · mean over α of df/dx at b + α (x - b),        sum of IG = f(x) - f(b)
# The network has ReLUs, so the slope jumps and 64 nodes are not exact: the gap is printed.

# %%
some = images[:50]
change = predict(model, some)[:, 2] - predict(model, 0 * some[:1])[0, 2]  # f(x) - f(0); f: 'star'
print(f"|f(x) - f(0)| is {np.median(np.abs(change)):.2f} in the median image")
for name, maps in {
    "input x gradient": input_x_gradient(model, some, 2),
    "IG,  8 nodes": integrated_gradients(model, some, 2, steps=8),
    "IG, 64 nodes": integrated_gradients(model, some, 2, steps=64),
}.items():
    gap = np.abs(maps.sum(axis=(1, 2, 3)) - change)
    print(f"{name:17}misses it by {np.median(gap):.3f} (median), {gap.max():.3f} (worst)")

# %% [markdown]
# SmoothGrad is the mean of df/dx at noisy copies of the image. All of them, for four images:


# %%
def towards(maps):
    """What speaks for the class in each pixel: contributions summed over the channels, where positive."""
    return np.maximum(maps.sum(axis=1) if maps.ndim == 4 else maps, 0)


maps = {
    "occlusion,\nmean": towards(occlusion_map(model, four, right, baseline="mean")),
    "gradient": saliency(model, four, right),
    "smoothgrad": np.abs(smoothgrad(model, four, right, rng=rng)).max(axis=1),
    "input\nx gradient": towards(input_x_gradient(model, four, right)),
    "IG\nfrom black": towards(integrated_gradients(model, four, right)),
}
stacked = np.stack(list(maps.values()), axis=1)  # (4 images, 5 methods, 16, 16)
figure = overlay(four, stacked, list(maps), row_titles=names, scale_each=True)
save(figure, "14_occlusion_gradients/methods")

# %% [markdown]
# ## Do they point at the object?
# Two questions to each map: does its highest pixel lie on the object (pointing), and what share of it does
# (mass inside)? Five networks, 200 images for each. Two of the maps are a control: the image itself, and the
# image times random numbers. They explain nothing.


# %%
def mass_inside(maps, masks):
    return (maps * masks).sum(axis=(1, 2)) / np.maximum(maps.sum(axis=(1, 2)), 1e-12)


def points_inside(maps, masks):
    peaks = maps.reshape(len(maps), -1).argmax(axis=1)
    return masks.reshape(len(masks), -1)[np.arange(len(maps)), peaks]


def with_neighbours(masks):
    """The masks, one pixel wider on every side."""
    wide = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    return np.any([wide[:, i : i + 16, j : j + 16] for i in range(3) for j in range(3)], axis=0)


def score_methods(seed, count, methods):
    """Per image and method mass inside and hits (methods, count), and the shares of the area (count,)."""
    rng = np.random.default_rng(200 + seed)
    x, y, masks = shapes_images(count, rng=rng)
    network, near = shapes_network(seed), with_neighbours(masks)
    maps = {
        "occlusion, black": towards(occlusion_map(network, x, y, baseline=0.0)),
        "occlusion, mean": towards(occlusion_map(network, x, y, baseline="mean")),
        "occlusion, noise": towards(occlusion_map(network, x, y, baseline="noise", rng=rng)),
        "gradient": saliency(network, x, y),
        "smoothgrad": np.abs(smoothgrad(network, x, y, rng=rng)).max(axis=1),
        "input x gradient": towards(input_x_gradient(network, x, y)),
        "IG from black": towards(integrated_gradients(network, x, y, steps=32)),
        "the image itself": x.sum(axis=1),
        "image x random": towards(x * rng.standard_normal(x.shape)),
    }
    scores = {
        "mass": [mass_inside(maps[name], masks) for name in methods],
        "hits": [points_inside(maps[name], masks) for name in methods],
        "near": [points_inside(maps[name], near) for name in methods],
        "area": masks.mean(axis=(1, 2)),
        "near_area": near.mean(axis=(1, 2)),
    }
    return {key: np.array(values) for key, values in scores.items()}


def bars(names, rows, xlabel, figure_name):
    mean, low, high = (np.array(ends) for ends in list(zip(*rows, strict=True))[:3])
    save(bars_with_intervals(names, mean, low, high, xlabel=xlabel), f"14_occlusion_gradients/{figure_name}")


METHODS = ["occlusion, black", "occlusion, mean", "occlusion, noise", "gradient", "smoothgrad"]
METHODS += ["input x gradient", "IG from black", "the image itself", "image x random"]
recipes = [{"seed": seed, "count": 200, "methods": METHODS} for seed in range(5)]
runs = cached_runs("14_scores", recipes, score_methods)
means = {key: np.array([run[key].mean(axis=-1) for run in runs]) for key in runs[0]}  # (5,) or (5, methods)
hits, near, mass = (dict(zip(METHODS, means[key].T, strict=True)) for key in ("hits", "near", "mass"))
chance = t_interval(means["area"])
print(f"chance: the object covers {chance} of the area")
for name in METHODS:
    print(f"{name:18}points {t_interval(hits[name])}   mass {t_interval(mass[name])}")
label = f"pointing, 5 networks (chance {chance.mean:.2f})"
bars(METHODS, [t_interval(hits[name]) for name in METHODS], label, "pointing")

# %% [markdown]
# ## What the numbers say, and what they do not
# Occlusion finds the object if what covers it looks like background. With noise it is worse than chance: the
# window itself is the most remarkable thing in the image.

# %%
good = paired_difference(hits["occlusion, mean"], means["area"])
claim("occlusion by the mean colour points at the object, far above chance", good.low > 0.3, {"above": good})
bad = paired_difference(means["area"], hits["occlusion, noise"])
claim("occlusion by noise points at it less often than a random pixel", bad.low > 0, {"below chance": bad})

# %% [markdown]
# The gradient's peak mostly misses the object, by a pixel: there a little light would change the outline.

# %%
peaks = t_interval(hits["gradient"])
claim("the gradient's peak misses the object in most images", peaks.high < 0.5, {"hits": peaks})
caught, grown = near["gradient"] - hits["gradient"], means["near_area"] - means["area"]
extra = paired_difference(caught, grown)
print(f"masks one pixel wider catch {t_interval(caught)} more, and cover {t_interval(grown)} more")
claim("the gradient's peaks crowd at the outline", extra.low > 0, {"beyond the area's growth": extra})

# %% [markdown]
# Multiplied by the image nearly every peak is on the object. But so is that of the image alone, which asks no
# network, and that of the image times random numbers: bright objects on a dark background win by
# themselves. Here pointing cannot tell an explanation from a photograph; the mass can, for one method.

# %%
photograph = paired_difference(hits["the image itself"], hits["input x gradient"])
claim("the image itself points better than input x gradient", photograph.low > 0, {"gain": photograph})
gain = paired_difference(mass["IG from black"], mass["the image itself"])
claim("integrated gradients put more mass inside than the image does", gain.low > 0, {"gain": gain})
print(f"input x gradient: {paired_difference(mass['input x gradient'], mass['the image itself'])}")

# %% [markdown]
# ## Gradients on a table of features
# Not only pixels have gradients. In a made table of machines each feature has mean 0 and deviation 1, and a
# machine fails if wear + load · heat > 0. Rust comes with wear (correlation 0.8) but causes nothing; age and
# colour are idle. For one machine the shares say what moved the answer away from the mean machine's.

# %%
FEATURES = ("wear", "load", "heat", "rust", "age", "colour")


def machines(n, rng):
    rows = rng.standard_normal((n, 6)).astype(np.float32)
    rows[:, 3] = 0.8 * rows[:, 0] + 0.6 * rows[:, 3]
    return rows, (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0).astype(np.int64)


networks = []
for seed in range(5):
    rng = np.random.default_rng(seed)
    network = mlp(6, (32, 32), 2, rng=rng)
    optimizer = Adam(network.parameters(), lr=3e-3)
    fit(network, machines(2000, rng), epochs=15, optimizer=optimizer, rng=rng, progress=False)
    networks.append(network)
rows, fails = machines(500, np.random.default_rng(9))
print(f"accuracy {t_interval([evaluate(network, rows, fails).accuracy for network in networks])}")
shares = integrated_gradients(networks[0], rows, 1, baseline=0.0)  # (500, 6), from the mean machine
for name, value, share in zip(FEATURES, rows[0], shares[0], strict=True):
    print(f"  {name:8}{value:+6.2f}   moves the logit of 'fails' by {share:+6.2f}")
here, mean = predict(networks[0], np.stack([rows[0], 0 * rows[0]]))[:, 1]
print(f"  together {shares[0].sum():+.2f}; f(x) - f(0) = {here - mean:+.2f}")
opposite = np.mean(shares[:, 1] * shares[:, 2] < 0)
print(f"true shares of load and heat are equal; here, and on {opposite:.0%} of machines, their signs differ")

# %% [markdown]
# Over all machines: which features move the answer at all? And the slope of load ought to be the heat, since
# that is what the load is multiplied with: a slope is right for one machine, not for the feature.

# %%
magnitudes = [np.abs(integrated_gradients(network, rows, 1)).mean(axis=0) for network in networks]
parts = np.array([m / m.sum() for m in magnitudes])  # (networks, features)
slopes = np.array([input_gradient(network, rows, 1)[:, 1] for network in networks])
follows = t_interval([np.corrcoef(slope, rows[:, 2])[0, 1] for slope in slopes])
per_feature = [t_interval(column) for column in parts.T]
bars(FEATURES, per_feature, "share of the mean |IG|, 5 networks", "features")
used = t_interval(parts[:, :3].sum(axis=1))
claim("the three features that matter take most of it", used.low > 0.8, {"share": used})
claim("rust, which comes with wear, takes hardly any", per_feature[3].high < 0.1, {"share": per_feature[3]})
claim("the slope of load follows the heat", follows.low > 0.7, {"correlation": follows})
