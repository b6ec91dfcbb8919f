# %% [markdown]
# # 15 Better grounding: backprop, deconvnet and guided backprop
# *Grounding* means: to say which pixels an answer rests on. The gradient of an answer
# with respect to the photograph looks like noise ([lesson
# 14](14_occlusion_gradients.py)). Can a small change in the backward pass make the
# picture sharper? And does the sharper picture still explain the network?
#
# Exercises: 15.1 backprop_rule, 15.2 deconvnet_rule, 15.3 guided_rule,
# 15.4 guided_within.

# %%
import copy

import numpy as np

from lessons import PICTURES, study
from minidl import Tensor, grad, nn, relu_rule
from minidl.classroom.claims import claim
from minidl.data import load_picture
from minidl.engine.elementwise import backprop_rule
from minidl.engine.reduce import stable_softmax
from minidl.explain import deconvnet, guided_backprop, input_gradient
from minidl.explain.gradients import deconvnet_rule, guided_rule
from minidl.figures import (
    bars_with_intervals,
    curves_with_bands,
    image_grid,
    matrix_steps,
    save,
)
from minidl.nn.models import imagenet_names, imagenet_network, small_cnn
from minidl.train import match_statistics, predict
from minidl.train.networks import EXPLAINED_SHAPES, shapes_images, shapes_network

# %% [markdown]
# ## Three pictures of one cat
# The real network says "Egyptian cat". We start at the logit of this class and go back
# to the photograph in three ways. Each way gives each pixel three numbers, for red,
# green and blue. We draw 0 as middle grey, positive numbers brighter and negative ones
# darker.

# %%
network, names = imagenet_network(), imagenet_names()
cat = load_picture(PICTURES / "photos" / "chelsea.webp")[0][np.newaxis]
CAT = names.index("Egyptian cat")


def grey_at_zero(maps):
    """0 becomes 0.5. The strongest 0.5% of the values are cut off at 0 and 1."""
    largest = np.quantile(np.abs(maps), 0.995, axis=(1, 2, 3), keepdims=True)
    return np.clip(0.5 + maps / (2 * largest), 0, 1)


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


methods = [input_gradient, deconvnet, guided_backprop]
panels = [cat, *[grey_at_zero(method(network, cat, CAT)) for method in methods]]
titles = ["photograph", "gradient", "deconvnet", "guided backprop"]
title = 'What speaks for "Egyptian cat"?'
figure = image_grid(np.concatenate(panels), titles, 2, title=title)
alt = "A cat, the noisy gradient, a green grid, and a drawing of eyes and nose"
save(figure, "15_guided_backprop/cat", alt=alt)

# %% [markdown]
# The gradient looks like noise. The deconvnet gives a green grid. Guided backprop draws
# the eyes and the nose. The rest of this page explains why.
#
# ## One ReLU, four matrices
# All three ways use the same backward pass. They differ only at the ReLU (Springenberg
# et al. 2015). $f_i^l$ is the input of the ReLU, $f_{out}$ the logit from which we
# start:
#
# $$f_i^{l+1} = \max(f_i^l, 0), \qquad
#   R_i^{l+1} = \frac{\partial f_{out}}{\partial f_i^{l+1}}$$
#
# $R^{l+1}$ comes back from the layer above. What does the ReLU pass on?
#
# $$\text{backprop:} \quad R_i^l = (f_i^l > 0) \cdot R_i^{l+1}$$
# $$\text{deconvnet:} \quad R_i^l = (R_i^{l+1} > 0) \cdot R_i^{l+1}$$
# $$\text{guided:} \quad R_i^l = (f_i^l > 0) \cdot (R_i^{l+1} > 0) \cdot R_i^{l+1}$$

# %%
f = np.array([[1.0, -1.0, 5.0], [2.0, -5.0, -7.0], [-3.0, 2.0, 4.0]])
R = np.array([[-2.0, 3.0, -1.0], [6.0, -3.0, 1.0], [2.0, -1.0, 3.0]])

f_next = np.maximum(f, 0)
by_backprop = (f > 0) * R
by_deconvnet = (R > 0) * R
by_guided = (f > 0) * (R > 0) * R

before = np.stack([f, by_backprop, by_deconvnet, by_guided])
after = np.stack([f_next, R, R, R])
rows = ["forward\nmax(f, 0)", "backprop\n(f > 0) · R", "deconvnet\n(R > 0) · R"]
rows.append("guided\n(f > 0) · (R > 0) · R")
titles, title = ("layer l", "layer l + 1"), "One ReLU: forward, and three ways back"
is_forward = [True, False, False, False]
figure = matrix_steps(rows, before, after, is_forward, titles=titles, title=title)
save(figure, "15_guided_backprop/matrices", alt="The four matrices at one ReLU")
assert np.array_equal(by_backprop, backprop_rule(R, f))
assert np.array_equal(by_deconvnet, deconvnet_rule(R, f))
assert np.array_equal(by_guided, guided_rule(R, f))

# %% [markdown]
# Backprop keeps $R$ where the neuron was active, $f > 0$. The deconvnet of Zeiler and
# Fergus (2014) keeps what is positive in $R$, also for neurons that were not active,
# such as the 3 in the top row. Guided backprop needs both: 6 and 3 are left. So guided
# backprop keeps only paths through active neurons with positive signals. Negative
# signals become 0 at each ReLU, so they cannot cancel positive ones. This makes the
# picture cleaner, but what speaks against the class is lost.
#
# ## Only the rule changes
# Inside a `relu_rule` block each ReLU goes back by the given rule. The weights and the
# answer stay the same. But the result is no longer a derivative: it does not tell how
# the logit changes if a pixel changes a little.

# %%
with relu_rule(guided_rule):
    x = Tensor(cat, requires_grad=True)
    f_out = network(x)[0, CAT]
guided_map = grad(f_out, x)  # (1, 3, 224, 224)

assert np.isclose(f_out.item(), predict(network, cat)[0, CAT], atol=1e-4)
assert np.allclose(guided_map, guided_backprop(network, cat, CAT), atol=1e-5)
print(f"logit of the cat: {f_out.item():.2f}, the same as without the rule")

# %% [markdown]
# ## A deconvnet needs switches
# The rule of the deconvnet does not contain $f$. So how can its picture depend on the
# photograph? In the network of Zeiler and Fergus the reason is max pooling. Each
# pooling window stores which of its values was the largest, its *switch*, and sends the
# signal back to that place. Zeiler and Fergus looked for the patches of images that
# excite a channel most, and sent the largest value of the channel back to the pixels.
# Beside the patches they saw edges and colours in the first layers, then textures, and
# parts of objects in the last layers ([lesson 13](13_what_it_sees.py)).
#
# EfficientNet has no max pooling. It has ReLU6, a ReLU that ends at 6: where $f$ is
# above 6, nothing goes back. Only through this upper end does its deconvnet depend on
# the photograph. We also try a copy of the network with ReLU in the place of ReLU6. For
# all three photographs we ask for the cat, so that only the photograph differs.

# %%
lion = load_picture(PICTURES / "mammals" / "lion.webp")[0][np.newaxis]
zebra = load_picture(PICTURES / "mammals" / "zebra.webp")[0][np.newaxis]
animals = np.concatenate([cat, zebra, lion])  # (3, 3, 224, 224)

uncapped = copy.deepcopy(network)  # with ReLU, which does not end at 6
for path, module in list(uncapped.named_modules()):
    if isinstance(module, nn.ReLU6):
        uncapped.set_submodule(path, nn.ReLU())

with_relu6 = deconvnet(network, animals, CAT)
with_relu = deconvnet(uncapped, animals, CAT)
panels = [animals, grey_at_zero(with_relu6), grey_at_zero(with_relu)]
titles = ["photograph"] * 3 + ["deconvnet, ReLU6"] * 3 + ["deconvnet, ReLU"] * 3
title = "A deconvnet without switches: a green grid"
figure = image_grid(np.concatenate(panels), titles, 3, title=title)
alt = "Three animals; green grids with traces of them; the same green grid three times"
save(figure, "15_guided_backprop/green_grid", alt=alt)
tolerance = 1e-4 * np.abs(with_relu).max()
assert np.allclose(with_relu, with_relu[:1], atol=tolerance)  # three times the same

# %% [markdown]
# With ReLU6 we see traces of the animals, above all the stripes of the zebra. With ReLU
# all three pictures are the same.
#
# Next we take a small network with max pooling, trained on coloured shapes. We give the
# same weights to a second network that has no pooling. We ask both for the star, for
# each of four images.

# %%
pooling = shapes_network(0)
no_pooling = small_cnn(4, 3, pool_after=()).eval()
no_pooling.load_state_dict(pooling.state_dict())

images, labels, _ = shapes_images(40, rng=np.random.default_rng(100))
first = [int(np.flatnonzero(labels == k)[0]) for k in range(4)]
shown = images[first]  # (4, 3, 16, 16)
star = EXPLAINED_SHAPES.index("star")
switched = deconvnet(pooling, shown, star)
blind = deconvnet(no_pooling, shown, star)
panels = [shown, grey_at_zero(switched), grey_at_zero(blind)]
titles = [f"image: {name}" for name in EXPLAINED_SHAPES]
titles += ["with switches"] * 4 + ["no pooling"] * 4
title = "A deconvnet with and without switches"
figure = image_grid(np.concatenate(panels), titles, 4, title=title)
alt = "Four shapes, their deconvnets with switches, and one picture for all without"
save(figure, "15_guided_backprop/switches", alt=alt)
r = correlation(switched[0], switched[1])
print(f"with switches: the maps of circle and square correlate {r:.2f}")
assert np.allclose(blind, blind[:1], atol=1e-6)

# %% [markdown]
# Without pooling the deconvnet is a picture of the network, not of the image. With
# switches the maps differ: the maps of circle and square correlate only 0.34. But we
# cannot recognise the shapes in so few pixels. Guided backprop needs no switches,
# because its rule contains $f_i^l > 0$.
#
# ## Which animal?
# A zebra stands beside an elephant. An explanation of "zebra" should differ from an
# explanation of "African elephant".

# %%
elephant = load_picture(PICTURES / "mammals" / "elephant.webp")[0][np.newaxis]
both = np.concatenate([zebra, elephant], axis=3)  # (1, 3, 224, 448)
ZEBRA, ELEPHANT = names.index("zebra"), names.index("African elephant")

panels, titles, found = [], [], {}
for name, method in (("gradient", input_gradient), ("guided", guided_backprop)):
    pair = [method(network, both, k) for k in (ZEBRA, ELEPHANT)]
    found[name] = correlation(*pair)
    left = [np.abs(m[..., :224]).sum() / np.abs(m).sum() for m in pair]
    print(f"{name}: share of the map on the zebra's half, asked for")
    print(f"  the zebra {left[0]:.2f}, the elephant {left[1]:.2f}")
    panels += [both, *[grey_at_zero(m) for m in pair]]
    titles += ["photograph", f"{name}: zebra", f"{name}: elephant"]
title = "Guided backprop shows both animals for both classes"
figure = image_grid(np.concatenate(panels), titles, 3, title=title)
save(figure, "15_guided_backprop/two_animals", alt="Guided maps of two classes alike")
claim("guided: the two maps are nearly one", found["guided"] > 0.8, found)

# %% [markdown]
# The two guided maps are nearly the same: they correlate 0.93. The two gradients do not
# correlate (-0.03). If we ask for the zebra, 39% of the guided map lies on the zebra's
# half, and if we ask for the elephant 18%. So guided backprop sees a difference. But
# most of the map for the zebra lies on the elephant's half.

# %% [markdown]
# ## Where do the classes become alike?
# $R$ starts at the logit of one class and goes down layer by layer. We start it at the
# zebra and at the elephant and correlate the two $R$ after each step down. A
# correlation of 1 means that the two are the same up to a factor.

# %%
stem, blocks, last = network[:5], network.layer("_blocks"), network[6:9]
head = network[9:]


def gradients_by_layer(rule, k):
    """R at the last convolution, the 16 blocks, the stem and the photograph."""
    with relu_rule(rule):
        layers = [Tensor(both, requires_grad=True)]
        for part in [stem, *blocks, last]:
            layers.append(part(layers[-1]))
        logits = head(layers[-1])
    return grad(logits[0, k], layers[::-1])


rules = {"gradient": backprop_rule, "deconvnet": deconvnet_rule, "guided": guided_rule}
curves = {}
for name, rule in rules.items():
    for_zebra, for_elephant = (gradients_by_layer(rule, k) for k in (ZEBRA, ELEPHANT))
    pairs = zip(for_zebra, for_elephant, strict=True)
    curves[name] = [correlation(*pair) for pair in pairs]
    print(f"{name}: {curves[name][0]:.2f}, two steps down {curves[name][2]:.2f}")
figure = curves_with_bands(
    np.arange(19),
    curves,
    xlabel="steps down from the last convolution (18: the photograph)",
    ylabel="correlation, zebra with elephant",
    title="R for two classes: alike after two steps, except in the gradient",
)
save(figure, "15_guided_backprop/depth", alt="Correlation of R for two classes")

# %% [markdown]
# At the output of the last convolution the two $R$ are hardly alike: 0.15. Two steps
# further down, below the last convolution and the last block, the correlation is 0.96
# for the deconvnet and 0.79 for guided backprop. The gradient keeps the classes apart:
# at the photograph its correlation is near 0. Sixt et al. (2020) give a reason: the two
# rules throw away what is negative. Positive parts cannot cancel, so sums over many
# neurons come out nearly the same, whatever class we start from. In the gradient
# positive and negative parts do cancel. (In exercise 15.4, `guided_within`, you choose
# the layers that use the guided rule, and find where the class is lost.)
#
# Is this so for other photographs? The study takes 48. It correlates the map of the
# likeliest class with the map of a random class. Here we also ask for "espresso" on the
# photograph of the cat.

# %%
by_class = [study("15_guided_backprop", f"{n}: random class, signed") for n in rules]
for_espresso = guided_backprop(network, cat, names.index("espresso"))
r = correlation(guided_map, for_espresso)
claim("the map of the cat and that for espresso are alike", r > 0.9, {"r": r})
strength = study("15_guided_backprop", "gradient: random class, strength")

# %% [markdown]
# For guided backprop the correlation is 1.00: the map is nearly the same for any class,
# up to a factor. So the picture of the cat does not answer the question "why *Egyptian
# cat*?". The picture for "espresso" is nearly the same. The gradients of two classes
# hardly correlate (-0.07), but only their signs tell the classes apart. The strength of
# the gradient at a pixel, the norm over the three colours, is similar for a random
# class: its rank correlation is 0.69.
#
# ## Does the map depend on what the network learned?
# Adebayo et al. (2018) destroy what the network learned and ask whether the map
# changes. We shuffle the values within each weight tensor, first in the head and then
# in more and more layers below it. Shuffled weights also change the size of the
# signals. `match_statistics` restores the mean and the deviation of each channel, so
# only the pattern of the weights is destroyed.


# %%
def shuffled(starts):
    """A copy with shuffled weights in all layers whose names start like this."""
    model, rng = copy.deepcopy(network), np.random.default_rng(1)
    for name, parameter in model.named_parameters():
        if name.startswith(starts):
            values = rng.permutation(parameter.data.ravel())
            parameter.data = values.reshape(parameter.shape)
    match_statistics(model, network, np.concatenate([animals, elephant]))
    return model


top = ("_fc", "_conv_head", "_bn1", "_blocks.15.")
models = {
    "trained": network,
    "head, last block": shuffled(top),
    "+ blocks 8 to 14": shuffled((*top, *[f"_blocks.{i}." for i in range(8, 15)])),
    "all layers": shuffled(("",)),
}
panels = [input_gradient(model, zebra, ZEBRA) for model in models.values()]
panels += [guided_backprop(model, zebra, ZEBRA) for model in models.values()]
titles = [f"{name}: {stage}" for name in ("gradient", "guided") for stage in models]
title = "What is left of the zebra when weights are shuffled?"
figure = image_grid(grey_at_zero(np.concatenate(panels)), titles, 4, title=title)
alt = "A zebra by guided backprop, still there when half of the network is shuffled"
save(figure, "15_guided_backprop/shuffled", alt=alt)

# %%
for name, model in models.items():
    p = stable_softmax(predict(model, zebra)[0])[ZEBRA]
    print(f"{name}: probability of a zebra {p:.3f}")

# %% [markdown]
# With its head and last block shuffled the network gives "zebra" a probability of
# 0.000. But the guided map still shows a zebra, even when half of the blocks are
# shuffled. How alike are the maps? The study computes the rank correlation between the
# strength of the shuffled network's map and that of the trained network's map. For
# comparison it also takes two maps of the trained network, of two different
# photographs.

# %%
stages = {
    "head": "head, matched",
    "+ last block": "and the last block, matched",
    "+ blocks 8 to 14": "and blocks 8 to 14, matched",
    "+ blocks 1 to 7": "and blocks 1 to 7, matched",
    "all layers": "all layers, matched",
    "another photograph": "another photograph",
}
keys, labels_of_bars = [], []
for name in ("gradient", "guided"):
    keys += [f"{name}: {key}" for key in stages.values()]
    labels_of_bars += [f"{name}: {stage}" for stage in stages]
xlabel = "rank correlation with the trained network's map, 8 draws"
title = "What is left of the map when weights are shuffled?"
found = [study("15_guided_backprop", key) for key in keys]
figure = bars_with_intervals(labels_of_bars, found, xlabel=xlabel, title=title)
save(figure, "15_guided_backprop/weights", alt="Guided maps survive shuffled weights")

# %%
without = study("15_guided_backprop", "guided: and blocks 8 to 14, as shuffled")
edges = study("15_guided_backprop", "guided: edges")
gradient_edges = study("15_guided_backprop", "gradient: edges")

# %% [markdown]
# With head and last block shuffled the correlation of the guided map is still 0.99,
# with half of the blocks shuffled 0.89. (Without `match_statistics` the second number
# is 0.74.) The gradient falls to 0.69 with the head alone, as it does for another
# class.
#
# With all layers shuffled we see at most a faint outline in the guided map, but the
# rank correlation is still 0.56. The rank correlation counts all pixels, also those
# where both maps are weak. Guided maps of two different photographs have 0.37. With all
# layers shuffled the gradient falls to 0.15, below its number for different
# photographs, 0.29.
#
# What does guided backprop show, then? To a good part it shows edges. The study takes
# the rank correlation of each map with the differences between neighbouring pixels of
# the photograph: 0.59 for guided backprop, 0.41 for the gradient. Nie et al. (2018)
# show for simple networks that guided backprop partly recovers the image.
#
# So a sharp picture is not yet a good explanation. Two uses remain. Guided backprop
# shows the pattern that excites a single unit ([lesson 13](13_what_it_sees.py)). And it
# can be multiplied by Grad-CAM, another map, which depends on the class but is coarse.
# The product is sharp and depends on the class ([lesson 16](16_gradcam.py)).
#
# ## What to remember
# Backprop, deconvnet and guided backprop differ only in the rule at the ReLU. Backprop
# uses the sign of the forward input, the deconvnet the sign of the signal that comes
# back, guided backprop both. A deconvnet depends on the image through the switches of
# max pooling; with ReLU and without switches it gives the same picture for all images.
# Maps of guided backprop are sharp, but nearly the same for every class, and for a
# network with half of its blocks shuffled. Before you trust an explanation, ask for
# another class and shuffle the weights.
#
# ## Try it
# - Take `no_pooling` and ask `guided_backprop` instead of `deconvnet`. Are the four
#   pictures still the same?
# - Write a rule of your own, `np.where((x > 0) & (grad < 0), grad, 0)`, which keeps
#   what speaks against the cat. Draw its map and take its `correlation` with
#   `guided_map`. What do you learn from the sign?
# - Ask for a unit instead of a class: `("_blocks.9", 5, 7, 7)` is channel 5 in the
#   middle of block 9. How much of the photograph does its map cover?
#
# ## Exercises
# `python -m lessons start 15` begins 15.1 `backprop_rule`, 15.2 `deconvnet_rule`,
# 15.3 `guided_rule` and 15.4 `guided_within`.
#
# ## Papers
# - Zeiler and Fergus 2014, Visualizing and understanding convolutional networks.
# - Springenberg et al. 2015, Striving for simplicity: the all convolutional net.
# - Adebayo et al. 2018, Sanity checks for saliency maps.
# - Nie, Zhang and Patel 2018, A theoretical explanation for perplexing behaviors of
#   backpropagation-based visualizations.
# - Sixt, Granz and Landgraf 2020, When explanations lie: why many modified BP
#   attributions fail.
