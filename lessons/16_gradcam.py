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
from minidl.figures import (
    bars_with_intervals,
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
    title="One photograph, and the same network is asked for two classes",
)
save(
    figure,
    "16_gradcam/two_animals",
    alt="A cat beside a dog; guided backprop, Grad-CAM and their product for each",
)

# %% [markdown]
# Selvaraju et al. (2017) show this figure for a dog and a cat, and the lecture repeats
# it. Ours is made of two photographs side by side. Each column asks the same network,
# EfficientNet-Lite0, for one class.
#
# - (b) Guided backprop (lesson 15) draws fine edges. Edges of both animals show in
#   both columns.
# - (c) Grad-CAM is coarse, but most of it lies on the asked animal.
# - (d) The product has the edges of (b) at the places of (c).
#
# The network accepts a photograph of double width, because its head reads the mean over
# all places. Two letters of the paper are missing here. Its (e) is the map by occlusion
# of lesson 14. Its (f) is Grad-CAM of a ResNet. Nine of the sixteen blocks of our
# network have the skip connection of a ResNet, so (c) is already of that kind.
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
# stores the output of the last convolution.

# %%
outputs = []
hook = network.layer(LAST).register_forward_hook(
    lambda module, inputs, output: outputs.append(output)
)
y = network(Tensor(both, requires_grad=True))  # (1, 1000)
hook.remove()
A = outputs[0]  # (1, 1280, 7, 14)
Z = A.shape[2] * A.shape[3]

sums = {}
for c in (cat, dog):
    dy_dA = grad(y[0, c], A)  # (1, 1280, 7, 14)
    alpha = dy_dA.sum(axis=(2, 3), keepdims=True) / Z  # (1, 1280, 1, 1)
    sums[c] = (alpha * A.data).sum(axis=1)  # (1, 7, 14)
    L = np.maximum(sums[c], 0)
    assert np.allclose(sums[c], class_activation(A.data, dy_dA), atol=1e-6)
    assert np.allclose(L, gradcam(network, both, c, LAST, upsample=False), atol=1e-5)

# %% [markdown]
# ## What the ReLU takes away
# Before the ReLU the sum has a sign. Red places speak for the class, blue places speak
# against it. Grad-CAM asks what speaks for the class, so the ReLU keeps the red places.

# %%
figure = signed_map(
    np.concatenate([sums[cat], sums[dog]]),
    [f"{names[cat]}?", f"{names[dog]}?"],
    columns=2,
    title="The 7×14 places before the ReLU: red for the class, blue against it",
)
save(
    figure,
    "16_gradcam/signed",
    alt="Maps of 7 by 14 places, red for the asked class and blue against it",
)

# %% [markdown]
# Most blue places lie in the half of the other animal.
#
# The grid is coarse: one place stands for 32×32 pixels. For a picture Grad-CAM enlarges
# the 7×14 numbers to 224×448 pixels. Each pixel takes a mean of the nearest places
# (bilinear interpolation). The map becomes smooth, but not more exact.
#
# ## Where the formula is exact
# After the last convolution comes only the mean over the places and a linear head with
# weights $w^c$ and bias $b^c$:
#
# $$y^c = b^c + \sum_k w_k^c \, \frac{1}{Z} \sum_i \sum_j A_{ij}^k$$
#
# Then the derivative is the same at every place, $w_k^c / Z$, and so is its mean
# $\alpha_k^c$. Before the ReLU the map shares out the logit, without the bias, among
# the places. For such a head Zhou et al. (2016) had given the map before, as CAM: class
# activation mapping. Grad-CAM extends it to every layer and every head.

# %%
w, b = network.layer("_fc").weight.data[dog], network.layer("_fc").bias.data[dog]
total, logit = sums[dog].sum(), y.data[0, dog] - b
print(f"sum of the map: {total:.3f}, logit without its bias: {logit:.3f}")
assert np.allclose(Z * alpha[0, :, 0, 0], w, rtol=1e-3, atol=1e-5)
assert np.isclose(total, logit, rtol=1e-3)
enlarged = upsample_maps(L, (224, 448))
assert np.allclose(enlarged, gradcam(network, both, dog, LAST), atol=1e-5)
product = guided_gradcam(network, both, dog, LAST)[0]
assert np.allclose(product, products[1], atol=1e-5)

# %% [markdown]
# ## Does a map find the asked animal?
# One photograph can deceive. The study lays mammals side by side in 32 pairs and asks
# for each of the two. It measures which share of a map lies in the half of the asked
# mammal. A map that knows nothing gets 0.5.

# %%
methods = ["gradient", "guided backprop", "Grad-CAM", "guided Grad-CAM"]
found = [study("16_gradcam", f"asked half: {method}") for method in methods]
save(
    bars_with_intervals(
        methods,
        found,
        xlabel="share of the map in the asked half; chance is 0.5",
        title="Two mammals side by side, 8 draws, 95% t-interval",
    ),
    "16_gradcam/asked_half",
    alt="The share of four kinds of maps in the half of the asked mammal",
)

# %% [markdown]
# Grad-CAM puts nearly nine tenths of the map into the asked half. The gradient and
# guided backprop put about six tenths there: they depend little on the asked class. The
# product, guided Grad-CAM, is as good as Grad-CAM and keeps the edges.
#
# ## Which layer?
# Grad-CAM can ask any layer with maps. Early layers have more places: block 4 has
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
        xlabel="share of the map in the asked half; chance is 0.5",
        title="Grad-CAM by layer, 8 draws, 95% t-interval",
    ),
    "16_gradcam/asked_half_by_layer",
    alt="The share of Grad-CAM in the asked half for four layers",
)

# %% [markdown]
# Blocks 4 and 10 do not separate the classes: their share is near one half. In this
# photograph block 14 is highest on the dog's head for both classes. Only the last
# convolution is right for both. An early layer has many places, but its features belong
# to no class yet. The last layer separates the classes, but has few places. For the
# question "which class?" take the last layer with maps.
#
# ## Scores against the truth
# Our cut-outs come with a mask $M$: the pixels where the animal is. Two scores compare
# a map $L \ge 0$ with it. *Pointing* (Zhang et al. 2018) is 1 if the highest pixel of
# the map lies in $M$, else 0. *Mass* is the share of the map inside:
#
# $$\text{mass} = \frac{\sum_{p \in M} L_p}{\sum_p L_p}$$
#
# Chance is the animal's share of the area in both. We put a small zebra into a corner,
# before a background of smooth colours. A *control* is a map that asks no network. Ours
# is the contrast: how far a pixel's colour is from the mean colour of the picture.

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
for name, L in maps.items():
    pointing, mass = L[mask].max() == L.max(), L[mask].sum() / L.sum()
    print(f"{name:9} pointing {pointing:d}, mass {mass:.2f}")
    assert np.isclose(mass, mass_inside(L[np.newaxis], M)[0], rtol=1e-4)
    assert pointing == pointing_game(L[np.newaxis], M)[0]
print(f"chance: {mask.mean():.2f}")

# %%
figure = overlay(
    picture,
    np.stack(list(maps.values()))[np.newaxis],
    list(maps),
    scale_each=True,
    title="A zebra off the centre, Grad-CAM and a control",
)
save(
    figure,
    "16_gradcam/off_centre",
    alt="A small zebra in a corner, Grad-CAM and the contrast",
)

# %% [markdown]
# Both maps have their highest pixel on the zebra. But the contrast knows nothing of
# zebras: it marks everything whose colour is unusual in the picture. Mass separates the
# two. Only 0.13 of the contrast lies on the zebra, and 0.29 of Grad-CAM. The rest of
# Grad-CAM lies around the zebra: one place of the 7×7 grid is 32 pixels wide, and it
# reads a larger part of the photograph.
#
# ## Controls decide what a score is worth
# Is pointing hard? The study takes mammals in the middle of the picture, where
# photographers put them, and the same mammals in a corner. Only mammals count that the
# network names right in both places. One control always points at the middle.

# %%
for place in ("centred", "off centre"):
    for name in ("the middle", "Grad-CAM"):
        study("16_gradcam", f"{place}, pointing: {name}")

# %% [markdown]
# On centred pictures the control that points at the middle is as good as Grad-CAM:
# both are right nine times in ten. Such a test cannot tell a good map from no map. Off
# the centre the control fails, and Grad-CAM is right in six of ten cases.

# %%
methods = [
    "gradient",
    "integrated gradients",
    "guided backprop",
    "Grad-CAM",
    "Grad-CAM, block 14",
    "guided Grad-CAM",
    "the contrast",
    "random numbers",
]
labels = [*methods[:6], "control: contrast", "control: random"]
found = [study("16_gradcam", f"off centre, pointing: {name}") for name in methods]
save(
    bars_with_intervals(
        labels,
        [i._replace(low=max(i.low, 0), high=min(i.high, 1)) for i in found],
        xlabel="share of mammals whose map is highest on the mammal",
        title="Pointing, off centre, 8 draws, 95% t-interval",
    ),
    "16_gradcam/pointing",
    alt="Pointing off centre: six maps of the network and two controls",
)

# %%
found = [study("16_gradcam", f"off centre, mass: {name}") for name in methods]
save(
    bars_with_intervals(
        labels,
        found,
        xlabel="share of the map on the mammal",
        title="Mass, off centre, 8 draws, 95% t-interval",
    ),
    "16_gradcam/mass",
    alt="Mass off centre: six maps of the network and two controls",
)

# %% [markdown]
# In pointing the best bar is a control: the contrast is right every time. In mass it
# falls back to 0.14, little above chance, which is 0.09. So a method that wins in
# pointing has not yet shown that it knows the network.
#
# Guided Grad-CAM has 0.62 of its mass on the mammal, and Grad-CAM only 0.33. The coarse
# grid is not the only reason: block 14 has the same grid and reaches 0.59. But block 14
# was worse for two animals. It finds an animal well, and says less about which one it
# is. So no map is the best for every question.
#
# Two more scores need no masks (Petsiuk et al. 2018). `deletion_curve` takes away the
# pixels that a map calls important and watches the probability fall.
# `insertion_curve` gives these pixels first and watches it rise. And lesson 15
# shuffles the weights of the network. A map that does not change then has shown the
# photograph, not the network.

# %% [markdown]
# ## What to remember
# Grad-CAM weights the maps of a layer by the mean gradient of the asked logit, adds
# them, and keeps the positive part. If only a mean and a linear head follow the layer,
# the map before the ReLU shares out the logit exactly. Grad-CAM of the last convolution
# finds the asked animal, but only on a coarse grid. Guided backprop is fine and hardly
# depends on the class, and the product is both fine and about the asked class. A score
# of a map means nothing without a control that does not use the network.
#
# ## Try it
# - Ask for a class that is not in the photograph, such as `names.index("zebra")`. Where
#   does the map lie, and how large is it? Its colours do not tell you.
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
