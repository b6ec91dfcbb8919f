"""16 Grad-CAM: where a layer's maps speak for a class, and how to score any explanation.

Question: where is what the network takes for a star, and which of all explanations is to be believed?
Measured: 5 networks, 200 images each: nine methods and two controls by five scores (pointing, mass inside,
deletion, insertion, a randomised network); how well each finds a mark that another 5 networks were misled by;
how well maps of two classes in one image are told apart; Grad-CAM by layer.
Exercises: 16.1 class_activation, 16.2 upsampling_weights, 16.3 mass_inside.
"""

# %% [markdown]
# ## A layer instead of pixels
# The last maps of a network are coarse, but they mean something: channel k says where a feature is. What the
# feature means for the class, the gradient says: alpha_k, its mean over the positions.
#     alpha_k = mean of dy/dA_k        L = ReLU(sum over k of alpha_k A_k)

# %%
import numpy as np

from minidl import Tensor, grad
from minidl.classroom.claims import claim
from minidl.data import cached_runs
from minidl.data.shapes import add_marks, mark_masks
from minidl.explain import gradcam, guided_gradcam, occlusion_map, randomisation_check, saliency, smoothgrad
from minidl.explain.cam import class_activation, upsample_maps
from minidl.explain.gradients import deconvnet, guided_backprop, input_x_gradient, integrated_gradients
from minidl.explain.score import area_under, deletion_curve, insertion_curve, mass_inside, pointing_game
from minidl.figures import heat_map, image_grid, overlay, save
from minidl.train import evaluate
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.networks import EXPLAINED_SHAPES, shapes_images, shapes_network

model = shapes_network(0)
images, labels, masks = shapes_images(200, rng=np.random.default_rng(100))
star = images[np.flatnonzero(labels == 2)[:1]]  # (1, 3, 16, 16)

x = Tensor(star, requires_grad=True)
A = model[:3](x)  # (1, 64, 8, 8): block1, block2 and block3
logits = model[3:](A)  # pool, flatten, head
dy_dA = grad(logits[0, 2], A)
alpha = dy_dA.mean(axis=(2, 3), keepdims=True)  # (1, 64, 1, 1)
signed = (alpha * A.data).sum(axis=1)  # (1, 8, 8)
L = np.maximum(signed, 0)
assert np.allclose(L, gradcam(model, star, 2, "block3", upsample=False), atol=1e-6)
print(f"64 maps of 8 x 8 became one, from {signed.min():.2f} to {signed.max():.2f} before the ReLU")

# %% [markdown]
# This head is linear and takes the mean of each map. Then alpha is no approximation: HW alpha are the head's
# weights, and before the ReLU the map shares out the logit without its bias among the places.

# %%
w, bias = model.head.weight.data[2], model.head.bias.data[2]
print(f"the map sums to {signed.sum():.4f}; logit - bias is {logits.data[0, 2] - bias:.4f}")
assert np.allclose(64 * alpha[0, :, 0, 0], w, rtol=1e-4, atol=1e-6)
assert np.isclose(signed.sum(), logits.data[0, 2] - bias, rtol=1e-4)
assert np.allclose(signed, class_activation(A.data, dy_dA))
large = upsample_maps(L, (16, 16))  # for pictures: bilinear between the middles of pixels, and no finer
assert np.allclose(large, gradcam(model, star, 2, "block3"), atol=1e-6)

# %% [markdown]
# ## Two classes in one image
# Two images side by side make one: the network takes any size, since it averages over all places. Asked for a
# shape that is there, Grad-CAM peaks in its half in 7 of 8 maps; beside a square it misses the circle.

# %%
first = [np.flatnonzero(labels == k)[0] for k in range(4)]
pairs = [(2, 3), (0, 1), (3, 0), (1, 2)]  # star and heart, ...
both = np.stack([np.concatenate([images[first[a]], images[first[b]]], axis=2) for a, b in pairs])
asked = np.array([[gradcam(model, one[np.newaxis], k, "block3")[0] for k in range(4)] for one in both])
names = [f"{EXPLAINED_SHAPES[a]}, {EXPLAINED_SHAPES[b]}" for a, b in pairs]
save(overlay(both, asked, EXPLAINED_SHAPES, row_titles=names), "16_gradcam/two_classes")

# %% [markdown]
# Guided backprop draws edges, whoever is asked for. Times the Grad-CAM map, it draws those of the asked one.

# %%
rows, titles = [], []
for one, (a, b) in zip(both[:2, np.newaxis], pairs, strict=False):
    for k in (a, b):
        name = EXPLAINED_SHAPES[k]
        rows += [one, guided_backprop(model, one, k), guided_gradcam(model, one, k, "block3")]
        titles += ["image", f"guided: {name}", f"guided Grad-CAM:\n{name}"]
save(image_grid(np.concatenate(rows), titles, 6, scale_each=True), "16_gradcam/guided")

# %% [markdown]
# Measured: the share of a map in the half where the asked shape is. Half is chance. And for single images, by
# layer, how often the peak lies on the object and what share of the map does.

# %%
LAYERS = ["block1", "block2.relu", "block2", "block3"]


def measure_gradcam(seed, count, layers):
    """Means: mass in the asked half of each method and layer, pointing and mass by layer; the area."""
    network = shapes_network(seed)
    x, y, masks = shapes_images(3 * count, rng=np.random.default_rng(500 + seed))
    partner = [count + np.flatnonzero(y[count:] != y[i])[i] for i in range(count)]  # of another class
    both, left = np.concatenate([x[:count], x[partner]], axis=3), np.zeros((count, 16, 32), bool)
    left[:, :, :16] = True
    ways = {
        "gradient": lambda k: saliency(network, both, k),
        "guided_backprop": lambda k: np.abs(guided_backprop(network, both, k)).max(axis=1),
        "guided_gradcam": lambda k: np.abs(guided_gradcam(network, both, k, "block3")).max(axis=1),
    }
    ways |= {layer: lambda k, layer=layer: gradcam(network, both, k, layer) for layer in layers}
    pairs = {name: (way(y[:count]), way(y[partner])) for name, way in ways.items()}
    means = {
        name: (mass_inside(a, left) + mass_inside(b, ~left)).mean() / 2 for name, (a, b) in pairs.items()
    }
    x, y, masks = x[:count], y[:count], masks[:count]
    cams = [gradcam(network, x, y, layer) for layer in layers]
    means["points"] = np.array([pointing_game(cam, masks).mean() for cam in cams])
    means["mass"] = np.array([mass_inside(cam, masks).mean() for cam in cams])
    return means | {"area": masks.mean()}


recipes = [{"seed": seed, "count": 200, "layers": LAYERS} for seed in range(5)]
runs = cached_runs("16_gradcam", recipes, measure_gradcam)
found = {key: np.array([run[key] for run in runs]) for key in runs[0]}
for name in ("gradient", "guided_backprop", "guided_gradcam", "block3"):
    print(f"{name.replace('block3', 'gradcam'):18}in the asked half {t_interval(found[name])}")
for name, key in (("Grad-CAM", "block3"), ("its product with guided backprop", "guided_gradcam")):
    more = paired_difference(found[key], found["guided_backprop"])
    claim(f"{name} tells two classes apart better than guided backprop", more.low > 0.1, {"more": more})
plain = t_interval(found["gradient"])
claim("the gradient hardly tells them apart", plain.low > 0.45 and plain.high < 0.6, {"gradient": plain})

# %% [markdown]
# ## Layers, early to late
# Any layer with maps can be asked, in a residual network too. Early maps are sharp and show what is bright or
# the border, late ones are coarse and know whose they are: of these columns only the last one rises.

# %%
residual = shapes_network(0, architecture="residual")
shown = images[first]
stages = ["stem", "stage1", "stage2.block1.residual", "stage2"]
for network, name, layers in ((model, "plain", LAYERS), (residual, "residual", stages)):
    cams = np.stack([gradcam(network, shown, np.arange(4), layer) for layer in layers], axis=1)
    titles = [layer.replace(".re", ".\nre") for layer in layers]
    figure = overlay(shown, cams, titles, row_titles=EXPLAINED_SHAPES, scale_each=True, title=name)
    save(figure, f"16_gradcam/layers_{name}")
for i, layer in enumerate(LAYERS):
    points, mass = t_interval(found["points"][:, i]), t_interval(found["mass"][:, i])
    print(f"{layer:11} points {points}   mass {mass}   in the asked half {t_interval(found[layer])}")
print(f"chance, the object's share of the area: {t_interval(found['area'])}; of the half: 0.5")
more = paired_difference(found["block3"], found["block1"])
claim("the last layer tells two classes apart better than the first", more.low > 0.1, {"more": more})

# %% [markdown]
# ## Five scores
# Two ask for the truth that only made images have: does the peak lie on the object, and what share of the
# map. Chance is the object's share of the area.
#
# Two ask the network: take pixels away, the map's highest first, and the probability should fall early (a
# low mean is good); put them onto an image of the mean colour, and it should rise early. Chance is a random
# order. The last compares with the map of a network whose weights were shuffled: chance is 0, and near 1 a
# map shows the image, whatever the network has learned.
#
# The same methods then face 5 networks that were trained with a mark in a corner, a class each, 1.6% of the
# area. Does a map betray them? The clean networks see the same marked images.


# %%
def score_methods(seed, count, spurious, methods):
    """(methods, count) of each score."""
    rng = np.random.default_rng(600 + seed)
    x, y, masks = shapes_images(count, rng=rng)
    clean, misled = shapes_network(seed), shapes_network(seed, spurious=spurious)
    marked, marks = add_marks(x, y), mark_masks(y, 16)
    wide = np.pad(marks, ((0, 0), (2, 2), (2, 2)))  # two pixels around the mark
    wide = np.any([wide[:, i : i + 16, j : j + 16] for i in range(5) for j in range(5)], axis=0)

    def positive(maps):
        return np.maximum(maps.sum(axis=1), 0)  # over the channels, what speaks for the class

    def strength(maps):
        return np.abs(maps).max(axis=1)

    ways = {
        "occlusion": lambda m, x: np.maximum(occlusion_map(m, x, y), 0),
        "gradient": lambda m, x: saliency(m, x, y),
        "input x gradient": lambda m, x: positive(input_x_gradient(m, x, y)),
        "integrated gradients": lambda m, x: positive(integrated_gradients(m, x, y, steps=8)),
        "smoothgrad": lambda m, x: strength(smoothgrad(m, x, y, samples=8, rng=rng)),
        "deconvnet": lambda m, x: strength(deconvnet(m, x, y)),
        "guided backprop": lambda m, x: strength(guided_backprop(m, x, y)),
        "Grad-CAM": lambda m, x: gradcam(m, x, y, "block3"),
        "guided Grad-CAM": lambda m, x: strength(guided_gradcam(m, x, y, "block3")),
        "the image itself": lambda m, x: x.sum(axis=1),
        "random numbers": lambda m, x: rng.random(masks.shape),
    }
    table = {"area": masks.mean(axis=(1, 2))[np.newaxis], "near_area": wide.mean(axis=(1, 2))[np.newaxis]}
    for name in methods:
        maps, by_misled = ways[name](clean, x), ways[name](misled, marked)
        scores = {
            "pointing": pointing_game(maps, masks),
            "mass": mass_inside(maps, masks),
            "deletion": area_under(deletion_curve(clean, x, y, maps, steps=8, rng=rng)),
            "insertion": area_under(insertion_curve(clean, x, y, maps, steps=8, rng=rng)),
            "randomised": randomisation_check(clean, ways[name], x, rng=np.random.default_rng(seed)),
            "mark": pointing_game(by_misled, marks),
            "near_mark": pointing_game(by_misled, wide),
            "mark_mass": mass_inside(by_misled, marks),
            "mark_mass_clean": mass_inside(ways[name](clean, marked), marks),
        }
        for key, values in scores.items():
            table.setdefault(key, []).append(values)
    return {key: np.array(values) for key, values in table.items()}


METHODS = ["occlusion", "gradient", "input x gradient", "integrated gradients", "smoothgrad", "deconvnet"]
METHODS += ["guided backprop", "Grad-CAM", "guided Grad-CAM", "the image itself", "random numbers"]
recipes = [{"seed": seed, "count": 200, "spurious": 1.0, "methods": METHODS} for seed in range(5)]
runs = cached_runs("16_scores", recipes, score_methods)
of = {key: np.array([run[key].mean(axis=1) for run in runs]) for key in runs[0]}  # (5, methods)
at = {name: i for i, name in enumerate(METHODS)}


def line(name, keys, digits=2):
    ends = [t_interval(of[key][:, at[name]]) for key in keys]
    print(f"{name:21}" + "".join(f"{e.mean:8.{digits}f} ±{e.high - e.mean:.{digits}f}" for e in ends))


SCORES = ["pointing", "mass", "deletion", "insertion", "randomised"]
print(f"{'5 networks':21}" + "".join(f"{key:>13}" for key in SCORES))
for name in METHODS:
    line(name, SCORES)
chance, random = of["area"][:, :1], {key: of[key][:, at["random numbers"]][:, np.newaxis] for key in SCORES}
print(f"chance for the first two: {chance.mean():.2f}")
gains = [of["pointing"] - chance, of["mass"] - chance, random["deletion"] - of["deletion"]]
gains = np.array([*gains, of["insertion"] - random["insertion"], -of["randomised"]])  # (5 scores, 5, methods)
gains = gains.mean(axis=1).round(2).T + 0.0
figure = heat_map(gains, METHODS, SCORES, label="better than chance, which is 0")
save(figure, "16_gradcam/scores")

# %% [markdown]
# ## What the table says
# Occlusion and Grad-CAM ask for regions, and know best what the answer rests on: without their first pixels
# it falls soonest. The order of the gradient is as good as a random one: it names single pixels here and
# there, and any such pixels disturb this network.

# %%
for name, control in (("occlusion", "random numbers"), ("Grad-CAM", "random numbers")):
    sooner = paired_difference(of["deletion"][:, at[control]], of["deletion"][:, at[name]])
    claim(f"deletion: by {name} the answer falls sooner than at random", sooner.low > 0.05, {"by": sooner})
gain = paired_difference(of["insertion"][:, at["gradient"]], of["insertion"][:, at["random numbers"]])
claim("insertion: by the gradient it rises no sooner than at random", abs(gain.mean) < 0.05, {"by": gain})

# %% [markdown]
# But look at the image itself, which asks no network. It points best, since objects are bright here, and what
# it inserts is the object, as Grad-CAM does. On mass one method is clearly better. What gives it away is the
# network of shuffled weights, where it stays the same. No score suffices alone, and none without a control.
# Guided backprop, known to look alike whatever the weights, does so more than the others, but far from 1.

# %%
explained, image = METHODS[:9], at["the image itself"]
points = t_interval(of["pointing"][:, image])
claim("the image itself points at the object nearly always", points.low > 0.95, {"pointing": points})
for key, name in (("mass", "integrated gradients"), ("deletion", "occlusion")):
    gain = paired_difference(of[key][:, at[name]], of[key][:, image])
    better = gain.low > 0 if key == "mass" else gain.high < 0
    claim(f"{key}: better by {name} than by the image", better, {"less the image": gain})
alike = {name: round(float(of["randomised"][:, at[name]].mean()), 2) for name in explained}
claim("no method's map stays when the weights are shuffled", max(alike.values()) < 0.6, alike)
assert np.allclose(of["randomised"][:, image], 1)

# %% [markdown]
# ## The mark
# Five networks, trained as the clean ones but for a mark of its class in the corner of each image. They know
# the shapes, less well, and trust the mark more: another's makes them wrong. Do the maps betray them?

# %%
accuracies = []
for seed in range(5):
    x, y, _ = shapes_images(200, rng=np.random.default_rng(700 + seed))
    versions = add_marks(x, y), x, add_marks(x, (y + 1) % 4)
    accuracies.append([evaluate(shapes_network(seed, spurious=1.0), v, y).accuracy for v in versions])
for what, values in zip(("their mark", "no mark", "another's mark"), np.array(accuracies).T, strict=True):
    print(f"{what:15} told right {t_interval(values)}")

misled, marked, y = shapes_network(0, spurious=1.0), add_marks(shown, np.arange(4)), np.arange(4)
by_gradient = np.maximum(input_x_gradient(misled, marked, y).sum(axis=1), 0)
maps = [np.maximum(occlusion_map(misled, marked, y), 0), by_gradient, gradcam(misled, marked, y, "block3")]
titles = ["occlusion", "input\nx gradient", "Grad-CAM"]
figure = overlay(marked, np.stack(maps, axis=1), titles, row_titles=EXPLAINED_SHAPES, scale_each=True)
save(figure, "16_gradcam/mark")

MARK = ["mark", "near_mark", "mark_mass", "mark_mass_clean"]
print(f"{'misled networks':21}" + "".join(f"{key:>15}" for key in ("on it", "near", "mass", "mass (clean)")))
for name in METHODS:
    line(name, MARK, 3)
print(f"chance: {4 / 256:.3f} for the mark, {of['near_area'].mean():.3f} with two pixels around it")

# %% [markdown]
# Most do, if the peak is looked at; of the mass most lies elsewhere by all of them. The image's peak lies on
# the mark too, as the mark is bright; so what tells is the difference between the two networks, and every
# method shows it. Grad-CAM's peak misses the mark itself and lies beside it: one cell of the 8 x 8 map, 2 x 2
# pixels, is as large as the mark, and its neighbours see it as well.

# %%
for name in ("occlusion", "input x gradient", "integrated gradients"):
    hits = of["mark"][:, at[name]]
    claim(f"{name}: the peak lies on the mark", hits.mean() > 0.8, {"share": t_interval(hits)})
on, near = (of[key][:, at["Grad-CAM"]] for key in ("mark", "near_mark"))
claim("Grad-CAM: it lies within two pixels, and not on it", near.min() > 0.8 and on.max() < 0.4)
most = of["mark_mass"].mean(axis=0).max()
claim("by no method most of the mass lies on the mark", most < 0.5, {"most": most})
more = of["mark_mass"] - of["mark_mass_clean"]  # (5, methods)
low = min(t_interval(more[:, at[name]]).low for name in explained)
claim("each of the nine puts more on it for the misled network", low > 0, {"lowest end": low})
