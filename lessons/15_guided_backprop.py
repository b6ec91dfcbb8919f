# %% [markdown]
# # 15 Better grounding: backprop, deconvnet and guided backprop
# The gradient of an answer with respect to the photograph looks like noise
# ([lesson 14](14_occlusion_gradients.py)). Can a small change in the backward pass make
# the picture sharper? And does the sharper picture still explain the network?
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
# The real network says "Egyptian cat". Its logit for this class goes back to the
# photograph in three ways. Grey means 0, brighter than grey is positive, darker is
# negative, for each of the three colours by itself.

# %%
network, names = imagenet_network(), imagenet_names()
cat = load_picture(PICTURES / "photos" / "chelsea.webp")[0][np.newaxis]
CAT = names.index("Egyptian cat")


def grey_at_zero(maps):
    """0 becomes 0.5. All but the strongest 0.5% of the values fit into 0 to 1."""
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
# Guided backprop draws the eyes and the nose. The deconvnet draws a green grid. The
# rest of this page explains both.
#
# ## One ReLU, four matrices
# All three ways use the same backward pass. They differ only at the ReLU (Springenberg
# et al. 2015). $f_i^l$ is the input of the ReLU:
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
# Backprop asks whether the neuron was on. The deconvnet of Zeiler and Fergus (2014)
# asks whether the neuron speaks for the answer. It shows neurons that were off, such as
# the 3 in the top row. Guided backprop asks both questions. The 6 and the 3 in the last
# row of its matrix pass both.
#
# ## Only the rule changes
# Inside a `relu_rule` block each ReLU goes back by the given rule. The weights and the
# answer stay the same. The result is no derivative any more, so no small step of the
# photograph has the effect that the picture shows.

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
# The rule of the deconvnet never asks for $f$. So how does it know the photograph? In
# the network of Zeiler and Fergus it knows the photograph from max pooling. Each
# pooling window remembers which of its values was the largest, its *switch*, and
# sends the gradient back to that place.
#
# EfficientNet has no max pooling. It has ReLU6, a ReLU that ends at 6. Where $f$ is
# above 6, nothing goes back. That is all that its deconvnet knows about the photograph.
# The last row takes ReLU6 out and puts ReLU in its place.

# %%
lion = load_picture(PICTURES / "mammals" / "lion.webp")[0][np.newaxis]
zebra = load_picture(PICTURES / "mammals" / "zebra.webp")[0][np.newaxis]
animals = np.concatenate([cat, zebra, lion])  # (3, 3, 224, 224)

uncapped = copy.deepcopy(network)
for path, module in list(uncapped.named_modules()):
    if isinstance(module, nn.ReLU6):
        uncapped.set_submodule(path, nn.ReLU())

with_cap = deconvnet(network, animals, CAT)
without_cap = deconvnet(uncapped, animals, CAT)
panels = [animals, grey_at_zero(with_cap), grey_at_zero(without_cap)]
titles = ["photograph"] * 3 + ["deconvnet, ReLU6"] * 3 + ["deconvnet, ReLU"] * 3
title = "Without switches: one green grid for all"
figure = image_grid(np.concatenate(panels), titles, 3, title=title)
alt = "Three animals, and under each of them the same green grid"
save(figure, "15_guided_backprop/green_grid", alt=alt)
tolerance = 1e-4 * np.abs(without_cap).max()
assert np.allclose(without_cap, without_cap[:1], atol=tolerance)

# %% [markdown]
# Now a small network with max pooling, trained on coloured shapes. We give the same
# weights to a second network that has no pooling.

# %%
pooling = shapes_network(0)
no_pooling = small_cnn(4, 3, pool_after=()).eval()
no_pooling.load_state_dict(pooling.state_dict())

images, labels, _ = shapes_images(40, rng=np.random.default_rng(100))
first = [int(np.flatnonzero(labels == k)[0]) for k in range(4)]
shown = images[first]  # (4, 3, 16, 16)
switched = deconvnet(pooling, shown, 2)
blind = deconvnet(no_pooling, shown, 2)
panels = [shown, grey_at_zero(switched), grey_at_zero(blind)]
titles = [f"image: {name}" for name in EXPLAINED_SHAPES]
titles += ["with switches"] * 4 + ["no pooling"] * 4
title = "A deconvnet with and without switches"
figure = image_grid(np.concatenate(panels), titles, 4, title=title)
alt = "Four shapes, their deconvnets with switches, and one picture for all without"
save(figure, "15_guided_backprop/switches", alt=alt)
assert np.allclose(blind, blind[:1], atol=1e-6)
assert not np.allclose(switched[0], switched[1], atol=1e-2)

# %% [markdown]
# Without pooling the deconvnet is a picture of the network, not of the image. With
# switches it is noisy on these few pixels, but it differs from image to image. Guided
# backprop needs no switches, because $f_i^l > 0$ tells it where each neuron was on.
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
    print(f"{name}: on the zebra lie {left[0]:.2f} and {left[1]:.2f} of the maps")
    panels += [both, *[grey_at_zero(m) for m in pair]]
    titles += ["photograph", f"{name}: zebra", f"{name}: elephant"]
title = "Guided backprop draws both animals"
figure = image_grid(np.concatenate(panels), titles, 3, title=title)
save(figure, "15_guided_backprop/two_animals", alt="Guided maps of two classes alike")
claim("guided: the two maps are nearly one", found["guided"] > 0.8, found)

# %% [markdown]
# ## Where does the class get lost?
# $R$ starts at the logit of one class and goes down layer by layer. We start it at the
# zebra and at the elephant and correlate the two $R$ after each block. At 1 they are
# the same, up to a factor.

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
figure = curves_with_bands(
    np.arange(19),
    curves,
    xlabel="0 last convolution, 1 to 16 blocks, 17 stem, 18 photograph",
    ylabel="correlation, zebra with elephant",
    title="On its way down, R forgets the class",
)
save(figure, "15_guided_backprop/depth", alt="The class is lost in the last blocks")

# %% [markdown]
# At the last convolution the two classes are hardly alike: 0.15. Two blocks further
# down the correlation is 0.96 for the deconvnet and 0.79 for guided backprop. The
# gradient keeps the classes apart. Sixt et al. (2020) give a reason: the two rules
# throw away what is negative. Positive parts cannot cancel, so sums over many neurons
# come out much the same, whatever we start from. In the gradient positive and negative
# parts do cancel.
#
# The two guided maps above differ in one point. If we ask for the zebra, more of the
# map lies on the zebra's half than if we ask for the elephant. A photograph with one
# object does not even show that. The study compares the map of the likeliest class with
# the maps of the second likeliest class and of a random class, on 48 photographs.


# %%
def study_bars(labels, keys, xlabel, title):
    """One bar for each number of the study, with its 95% interval."""
    found = [study("15_guided_backprop", key) for key in keys]
    return bars_with_intervals(labels, found, xlabel=xlabel, title=title)


bars = [f"{name}: {which} class" for name in rules for which in ("second", "random")]
keys = [f"{bar}, signed" for bar in bars]
xlabel = "correlation with the map of the likeliest class, 8 draws"
figure = study_bars(bars, keys, xlabel, "Does the map know which class we ask for?")
save(figure, "15_guided_backprop/classes", alt="Guided maps do not know the class")

for_espresso = guided_backprop(network, cat, names.index("espresso"))
r = correlation(guided_map, for_espresso)
claim("the cat is drawn for espresso as well", r > 0.9, {"r": r})
strength = study("15_guided_backprop", "gradient: random class, strength")

# %% [markdown]
# Guided backprop gives the same map for any class, up to a factor. So the drawing of
# the cat is no answer to "why *Egyptian cat*?". It is the same drawing for "espresso".
# In the gradient it is the signs that tell classes apart. Its strength, the norm over
# the three colours, is similar for a random class too: the ranks correlate by 0.69.
#
# ## Does the map know what the network learned?
# Adebayo et al. (2018) destroy what the network learned and look whether the map
# changes. We shuffle the values within each weight tensor, first in the head and then
# in more and more layers below it. Then the signals no longer fit the later layers. So
# `match_statistics` gives each channel the mean and the deviation that it has in the
# trained network. What the map loses now, it loses because the weights have lost what
# they learned.


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
p = [stable_softmax(predict(m, zebra)[0])[ZEBRA] for m in models.values()]
print("probability of a zebra:", np.round(p, 3))

# %% [markdown]
# Without its head and last block the network no longer knows a zebra. Guided backprop
# draws the zebra all the same, even when half of the blocks are shuffled. The study
# compares the maps pixel by pixel: the rank correlation of their strength with the
# trained network's map. The floor is the map of another photograph.

# %%
stages = {
    "head": "head, matched",
    "+ last block": "and the last block, matched",
    "+ blocks 8 to 14": "and blocks 8 to 14, matched",
    "+ blocks 1 to 7": "and blocks 1 to 7, matched",
    "all layers": "all layers, matched",
    "floor": "another photograph",
}
keys, labels_of_bars = [], []
for name in ("gradient", "guided"):
    keys += [f"{name}: {key}" for key in stages.values()]
    labels_of_bars += [f"{name}: {stage}" for stage in stages]
xlabel = "rank correlation with the trained network's map, 8 draws"
title = "What is left of the map when weights are shuffled?"
figure = study_bars(labels_of_bars, keys, xlabel, title)
save(figure, "15_guided_backprop/weights", alt="Guided maps survive shuffled weights")
without = study("15_guided_backprop", "guided: and blocks 8 to 14, as shuffled")
edges = study("15_guided_backprop", "guided: edges")
gradient_edges = study("15_guided_backprop", "gradient: edges")

# %% [markdown]
# With head and last block shuffled the guided map stays at 0.99, with half of the
# blocks at 0.89. (Without `match_statistics` the latter is 0.74.) The gradient falls to
# 0.69 with the head alone, as it does for another class. With all layers shuffled, the
# guided map is still nearer to the trained one than the map of another photograph.
#
# What does guided backprop draw, then? Above all edges. The study correlates each map
# with the differences between neighbouring pixels of the photograph: 0.59 for guided
# backprop, 0.41 for the gradient. Nie et al. (2018) show for simple networks that
# guided backprop partly recovers the image.
#
# So a sharp picture is not yet a good explanation. Two uses remain. Guided backprop
# shows the pattern that excites a single unit ([lesson 13](13_what_it_sees.py)). And
# Grad-CAM knows the class but is coarse. The product of both is sharp and knows the
# class ([lesson 16](16_gradcam.py)).
#
# ## What to remember
# Backprop, deconvnet and guided backprop differ only in the rule at the ReLU. Backprop
# asks whether the neuron was on, the deconvnet whether it speaks for the answer, guided
# backprop asks both. A deconvnet knows the image from the switches of max pooling, and
# a network without switches gives the same picture for all images. Guided backprop
# draws sharply, but it draws nearly the same for every class, and for a network with
# half of its blocks shuffled. Before you trust an explanation, ask for another class
# and shuffle the weights.
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
