# %% [markdown]
# # 16 Grad-CAM
# A cat and a dog stand in one photograph. Which places make the network say "cat", and
# which make it say "dog"? And how do we find out whether a map of such places is right?
#
# Exercises: 16.1 mass_inside, 16.2 class_activation, 16.3 upsampling_weights,
# 16.4 gradcam.

# %%
import numpy as np

from lessons import PICTURES, study
from minidl import Tensor, grad
from minidl.data import load_picture
from minidl.explain import gradcam, guided_gradcam, mass_inside, pointing_game
from minidl.explain.cam import class_activation, upsample_maps
from minidl.explain.gradients import guided_backprop
from minidl.explain.score import deletion_curve
from minidl.figures import (
    bars_with_intervals,
    curves_with_bands,
    evidence_by_class,
    overlay,
    save,
    signed_map,
)
from minidl.nn.models import imagenet_names, imagenet_network
from minidl.train import predict

network, names = imagenet_network(), imagenet_names()
cat, dog = names.index("Egyptian cat"), names.index("Eskimo dog")
left, _ = load_picture(PICTURES / "photos" / "chelsea.webp")  # (3, 224, 224)
right, _ = load_picture(PICTURES / "mammals" / "dog.webp")
both = np.concatenate([left, right], axis=2)[np.newaxis]  # (1, 3, 224, 448)

# %%
LAST = "_relu1"  # the last convolution, after its ReLU
guided = [guided_backprop(network, both, k)[0] for k in (cat, dog)]
cams = [gradcam(network, both, k, LAST)[0] for k in (cat, dog)]
products = [pattern * cam for pattern, cam in zip(guided, cams, strict=True)]
figure = evidence_by_class(
    both[0],
    np.stack(guided),
    np.stack(cams),
    np.stack(products),
    [names[cat], names[dog]],
    title="One photograph, and explanations for two classes",
)
save(
    figure,
    "16_gradcam/two_animals",
    alt="A cat beside a dog; guided backprop, Grad-CAM and their product for each",
)

# %% [markdown]
# Selvaraju et al. (2017) show this figure for a dog and a cat, for two networks, and
# the lecture repeats it. Ours shows two photographs side by side and one network,
# EfficientNet-Lite0. The left column explains the class "Egyptian cat", the right
# column the class "Eskimo dog".
#
# - (b) Guided backprop ([lesson 15](15_guided_backprop.py)) shows fine edges. Edges of
#   both animals appear in both columns.
# - (c) Grad-CAM is coarse, but most of it lies on the animal of the class. (A small
#   part of the map for the cat lies on the dog's belly.) Yellow is high, grey is 0.
# - (d) The product has the edges of (b) at the places of (c).
#
# The network accepts a photograph of double width, because its head reads only the mean
# over all places.
#
# ## The formula
# The last convolution gives 1,280 maps $A^k$ of 7×14 places. A map says *where* a
# feature is. The gradient of the logit $y^c$ says what the feature means for the class
# $c$. The mean of this gradient over the $Z$ places is one weight for each map:
#
# $$\alpha_k^c = \frac{1}{Z} \sum_i \sum_j \frac{\partial y^c}{\partial A_{ij}^k},
#   \qquad L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big)$$
#
# A *hook* is a function that a layer calls after each forward pass. Here the hook
# stores the output of the last convolution. Grad-CAM needs this output and the gradient
# of the logit with respect to it. So Grad-CAM needs access to the inside of the model,
# but it does not change or train the model. It costs one forward pass and one backward
# pass, which can end at that layer.

# %%
outputs = []
hook = network.layer(LAST).register_forward_hook(
    lambda module, inputs, output: outputs.append(output)
)
y = network(Tensor(both, requires_grad=True))  # (1, 1000)
hook.remove()
A = outputs[0]  # (1, 1280, 7, 14)
Z = A.shape[2] * A.shape[3]

alpha, sums = {}, {}
for c in (cat, dog):
    dy_dA = grad(y[0, c], A)  # (1, 1280, 7, 14)
    alpha[c] = dy_dA.sum(axis=(2, 3), keepdims=True) / Z  # (1, 1280, 1, 1)
    sums[c] = (alpha[c] * A.data).sum(axis=1)  # (1, 7, 14)
    L = np.maximum(sums[c], 0)
    assert np.allclose(sums[c], class_activation(A.data, dy_dA), atol=1e-6)
    assert np.allclose(L, gradcam(network, both, c, LAST, upsample=False), atol=1e-5)

# %% [markdown]
# ## What the ReLU takes away
# Before the ReLU the sum has a sign. Red places speak for the class, blue places speak
# against it. We want to know what speaks for the class, so the ReLU keeps the red
# places.

# %%
figure = signed_map(
    np.concatenate([sums[cat], sums[dog]]),
    [f"{names[k]}? (cat left, dog right)" for k in (cat, dog)],
    columns=2,
    title="The 7×14 places before the ReLU: red for the class, blue against it",
)
save(
    figure,
    "16_gradcam/signed",
    alt="Maps of 7 by 14 places, red for the class and blue against it",
)
for c, other in ((cat, slice(7, 14)), (dog, slice(0, 7))):
    blue = np.maximum(-sums[c], 0)
    share = blue[:, :, other].sum() / blue.sum()
    print(f"{names[c]}: {share:.2f} of the blue lies on the other animal's half")
absent = gradcam(network, both, names.index("zebra"), LAST, upsample=False)
print(f"largest value: cat {sums[cat].max():.2f}, zebra {absent.max():.2f}")

# %% [markdown]
# All of the blue lies in the half of the other animal.
#
# A class that is not in the photograph gets a map too. The largest value of the map for
# "zebra" is 0.02, that for the cat 0.19. If each map is drawn with a scale of its own,
# both look equally bright. So print the largest value beside the map.
#
# The grid is coarse: one place stands for 32×32 pixels. For a picture Grad-CAM enlarges
# the 7×14 numbers to 224×448 pixels. Each pixel takes a mean of the nearest places
# (bilinear interpolation, exercise 16.3). The map becomes smooth, but not more exact.
#
# ## Where the formula is exact
# After the last convolution comes only the mean over the places and a linear head with
# weights $w^c$ and bias $b^c$:
#
# $$y^c = b^c + \sum_k w_k^c \, \frac{1}{Z} \sum_i \sum_j A_{ij}^k$$
#
# Then the derivative is the same at every place, $w_k^c / Z$, and so is its mean
# $\alpha_k^c$. Before the ReLU the map divides the logit, without the bias, among the
# places. For such a head Zhou et al. (2016) had given the map before, as CAM: class
# activation mapping. Grad-CAM extends it to every layer and every head.

# %%
w, b = network.layer("_fc").weight.data[dog], network.layer("_fc").bias.data[dog]
total, logit = sums[dog].sum(), y.data[0, dog] - b
print(f"sum of the map: {total:.3f}, logit without its bias: {logit:.3f}")
assert np.allclose(Z * alpha[dog][0, :, 0, 0], w, rtol=1e-3, atol=1e-5)
assert np.isclose(total, logit, rtol=1e-3)
enlarged = upsample_maps(L, (224, 448))
assert np.allclose(enlarged, gradcam(network, both, dog, LAST), atol=1e-5)
product = guided_gradcam(network, both, dog, LAST)[0]
assert np.allclose(product, products[1], atol=1e-5)

# %% [markdown]
# ## Does a map find the right animal?
# One photograph is not a measurement. The study puts mammals side by side in 32 pairs
# and makes maps for each of the two. It measures which share of a map lies in the half
# of the mammal of that class ("asked half"). Chance is 0.5. The study needs one number
# $\ge 0$ for each pixel. For the gradient, guided backprop and guided Grad-CAM it takes
# the norm over the three colours.

# %%
methods = ["gradient", "guided backprop", "Grad-CAM", "guided Grad-CAM"]
found = [study("16_gradcam", f"asked half: {method}") for method in methods]
save(
    bars_with_intervals(
        methods,
        found,
        xlabel="share of the map in the mammal's own half; chance is 0.5",
        title="Two mammals side by side, 8 draws, 95% t-interval",
        share=True,
    ),
    "16_gradcam/asked_half",
    alt="The share of four kinds of maps in the mammal's own half",
)

# %% [markdown]
# Grad-CAM puts 0.88 of the map into the half of the asked mammal. The gradient and
# guided backprop put about 0.6 there: the places that they mark depend little on the
# class. (The gradients of two classes do differ, but in their signs, see [lesson
# 15](15_guided_backprop.py). The norm drops the signs.) The product, guided Grad-CAM,
# keeps the edges and is a little better than Grad-CAM: 0.91. The two intervals overlap,
# but the study compares both on the same pairs, and the difference is above 0.
#
# ## Which layer?
# Grad-CAM works for any layer with maps. Early layers have more places: block 4 has
# 28×56, block 10 has 14×28, block 14 and the last convolution have 7×14. Each map has a
# scale of its own, because the gradients of the layers differ in size.

# %%
layers = ["_blocks.4", "_blocks.10", "_blocks.14", LAST]
titles = ["block 4", "block 10", "block 14", "last\nconvolution"]
rows = []
for layer in layers:
    rows.append([gradcam(network, both, k, layer)[0] for k in (cat, dog)])
figure = overlay(
    np.repeat(both, 4, axis=0),
    np.array(rows),
    [names[cat], names[dog]],
    row_titles=titles,
    scale_each=True,
    title="Grad-CAM of four layers",
)
save(
    figure,
    "16_gradcam/layers",
    alt="Grad-CAM of four layers for the cat and for the dog",
)

# %%
keys = [f"asked half: Grad-CAM, {title}" for title in titles[:3]]
found = [study("16_gradcam", key) for key in [*keys, "asked half: Grad-CAM"]]
save(
    bars_with_intervals(
        [*titles[:3], "last convolution"],
        found,
        xlabel="share of the map in the mammal's own half; chance is 0.5",
        title="Grad-CAM by layer, 8 draws, 95% t-interval",
        share=True,
    ),
    "16_gradcam/asked_half_by_layer",
    alt="The share of Grad-CAM in the mammal's own half for four layers",
)

# %% [markdown]
# Blocks 4 and 10 do not separate the classes: their share is near one half. In this
# photograph block 14 is highest on the dog's head for both classes. Only the last
# convolution is right for both. The study does not show why. Two things change with the
# layer: the features of an early layer may belong to no class yet, and the mean of the
# gradient over all places fits a layer less, the more steps follow it. At the last
# convolution this mean is exact, as we saw. So to tell two classes apart, take the last
# layer with maps, although it has few places.
#
# ## Scores against the truth
# Our cut-outs come with a mask $M$: the pixels where the animal is. Two scores compare
# a map $L \ge 0$ with it. *Pointing* (Zhang et al. 2018) is 1 if the highest pixel of
# the map lies in $M$, else 0. *Mass* is the share of the map inside:
#
# $$\text{mass} = \frac{\sum_{p \in M} L_p}{\sum_p L_p}$$
#
# On average a random map gets, in both scores, the share of the area that the animal
# covers. This is chance. We put a small zebra into a corner, before a background of
# smooth colours. A *control* is a map that does not use the network. Our control is the
# contrast: how far a pixel's colour is from the mean colour of the picture.

# %%
zebra, rng = names.index("zebra"), np.random.default_rng(0)
image = upsample_maps(rng.random((3, 2, 2)), (224, 224)).astype(np.float32)
corner = (..., slice(0, 128), slice(96, 224))
mask = np.zeros((224, 224), bool)
file = PICTURES / "mammals" / "zebra.webp"
image[corner], mask[corner] = load_picture(file, 128, background=image[corner])
M, picture = mask[np.newaxis], image[np.newaxis]
print("the network says:", names[predict(network, picture).argmax()])

difference = image - image.mean(axis=(1, 2), keepdims=True)
maps = {
    "Grad-CAM": gradcam(network, picture, zebra, LAST)[0],
    "contrast": np.sqrt((difference**2).sum(axis=0)),
}
titles = []
for name, L in maps.items():
    pointing, mass = L[mask].max() == L.max(), L[mask].sum() / L.sum()
    titles.append(f"{name}: pointing {pointing:d}, mass {mass:.2f}")
    assert np.isclose(mass, mass_inside(L[np.newaxis], M)[0], rtol=1e-4)
    assert pointing == pointing_game(L[np.newaxis], M)[0]
print(f"chance: {mask.mean():.2f}")

# %%
figure = overlay(
    picture,
    np.stack(list(maps.values()))[np.newaxis],
    titles,
    scale_each=True,
    title="A zebra off the centre, Grad-CAM and a control",
)
save(
    figure,
    "16_gradcam/off_centre",
    alt="A small zebra in a corner, Grad-CAM and the contrast",
)

# %% [markdown]
# Both maps have their highest pixel on the zebra. But the contrast does not depend on
# the class: it marks everything whose colour is unusual in the picture. Mass separates
# the two maps: 0.29 of Grad-CAM lies on the zebra, but only 0.13 of the contrast, where
# chance is 0.08. The rest of Grad-CAM lies around the zebra: one place of the 7×7 grid
# is 32 pixels wide.
#
# ## Is the test hard enough?
# The study puts each mammal once into the middle of the picture and once into a corner.
# It counts only the mammals that the network names right in both places. One control
# always points at the middle.

# %%
for place in ("centred", "off centre"):
    for name in ("the middle", "Grad-CAM"):
        study("16_gradcam", f"{place}, pointing: {name}")

# %% [markdown]
# On centred pictures the control that points at the middle is as good as Grad-CAM: both
# are right nine times in ten. Such a test does not tell whether a map is good. Off the
# centre the control is right in 3% of the cases, and Grad-CAM in 63%.
#
# The next two figures compare six maps and two controls off the centre. (For integrated
# gradients, from [lesson 14](14_occlusion_gradients.py), the study adds the three
# colours and takes the positive part.)

# %%
methods = ["gradient", "integrated gradients", "guided backprop", "Grad-CAM"]
methods += ["Grad-CAM, block 14", "guided Grad-CAM", "the contrast", "random numbers"]
labels = [*methods[:6], "control: contrast", "control: random"]
found = [study("16_gradcam", f"off centre, pointing: {name}") for name in methods]
xlabel = "share of mammals whose map is highest on the mammal"
title = "Pointing, off centre, 8 draws, 95% t-interval"
figure = bars_with_intervals(labels, found, xlabel=xlabel, title=title, share=True)
alt = "Pointing off centre: six maps of the network and two controls"
save(figure, "16_gradcam/pointing", alt=alt)

# %%
found = [study("16_gradcam", f"off centre, mass: {name}") for name in methods]
xlabel = "share of the map on the mammal"
title = "Mass, off centre, 8 draws, 95% t-interval"
figure = bars_with_intervals(labels, found, xlabel=xlabel, title=title, share=True)
alt = "Mass off centre: six maps of the network and two controls"
save(figure, "16_gradcam/mass", alt=alt)

# %% [markdown]
# In pointing the best bar is a control: the contrast is right every time. The mammal
# has unusual colours before our smooth background, so pointing is too easy here. In
# mass the contrast has 0.14, little more than the random map with 0.09. So a high score
# in pointing does not show that a map depends on the network.
#
# Guided Grad-CAM has 0.62 of its mass on the mammal, Grad-CAM only 0.33. The coarse
# grid alone does not explain this: block 14 has the same grid and reaches 0.59. (The
# study does not show what else plays a part.) But block 14 is worse for two animals:
# 0.68 against 0.88 in the figure above. It finds an animal well, but says less about
# which animal it is. So no map is the best for every question.
#
# ## A score without a mask
# Petsiuk et al. (2018) take away pixels, those with the largest values of the map
# first, and measure how fast the probability falls. A pixel that is taken away gets the
# mean colour of the picture. (`insertion_curve` goes the other way, from an empty
# picture to the whole.)

# %%
maps["random numbers"] = np.random.default_rng(1).random((224, 224))
curves = {}
for name, L in maps.items():
    words = {"steps": 8, "rng": np.random.default_rng(0)}
    curves[name] = deletion_curve(network, picture, zebra, L[np.newaxis], **words)[0]
    print(f"{name}: {curves[name][1]:.2f} without the first eighth of the pixels")
figure = curves_with_bands(
    np.arange(9) / 8,
    curves,
    xlabel="share of the pixels that are gone",
    ylabel="probability of the zebra",
    title="Take away the most important pixels first",
)
save(figure, "16_gradcam/deletion", alt="The probability falls fastest for Grad-CAM")

# %% [markdown]
# Here Grad-CAM beats both controls. We take away one eighth of the pixels. In the order
# of Grad-CAM the probability of the zebra falls to 0.01, in the order of the contrast
# to 0.34, and in random order it stays at 0.91. But this is one photograph, and
# pictures with holes are unlike those in training ([lesson
# 14](14_occlusion_gradients.py)).

# %% [markdown]
# ## What to remember
# Grad-CAM weights the maps of a layer by the mean gradient of the logit of a class,
# adds them, and keeps the positive part. If only a mean and a linear head follow the
# layer, the map before the ReLU divides the logit exactly. Grad-CAM of the last
# convolution finds which of two animals belongs to the class, but most of it lies
# beside a small animal. The ReLU hides what speaks against the class, and the colours
# do not tell how large a map is. Guided backprop shows details but hardly the class;
# the product shows both. A score of a map means nothing without a control that does not
# use the network.
#
# ## Try it
# - Draw `gradcam` of "espresso" for the photograph of cat and dog. Where does the map
#   lie, and how large is it?
# - Leave out the mean: take `(dy_dA * A.data).sum(axis=1)`. Why does nothing change at
#   the last convolution, and what changes at block 10?
# - Draw other background colours with `default_rng(1)`. Does the network still say
#   zebra, and is the highest pixel of each map still on the zebra?
#
# ## Exercises
# `python -m lessons start 16` begins 16.1 `mass_inside`, 16.2 `class_activation`, 16.3
# `upsampling_weights` and 16.4 `gradcam`.
#
# ## Papers
# - Selvaraju et al. 2017, Grad-CAM: Visual explanations from deep networks via
#   gradient-based localization.
# - Zhou et al. 2016, Learning deep features for discriminative localization.
# - Springenberg et al. 2015, Striving for simplicity: The all convolutional net.
# - Zhang et al. 2018, Top-down neural attention by excitation backprop.
# - Petsiuk et al. 2018, RISE: Randomized input sampling for explanation of black-box
#   models.
