# %% [markdown]
# # 14 Occlusion and gradients
# The network says "koala". Which part of the photograph makes it say so? We can cover a
# part and look at what happens to the answer. Or we can take the derivative of the
# answer with respect to each pixel. What does each of the two tell, and what does it
# cost?
#
# Exercises: 14.1 reduce_channels, 14.2 average_over_windows, 14.3 path_nodes,
# 14.4 occlusion_map, 14.5 integrated_gradients.

# %%
from time import perf_counter

import numpy as np

from lessons import PICTURES, study
from minidl import Tensor, grad
from minidl.data import load_picture
from minidl.engine.reduce import stable_softmax
from minidl.explain import (
    input_x_gradient,
    integrated_gradients,
    occlusion_map,
    saliency,
    smoothgrad,
)
from minidl.explain.gradients import path_nodes, reduce_channels
from minidl.explain.occlusion import average_over_windows, window_starts
from minidl.figures import answers_picture, image_grid, overlay, save
from minidl.figures.curves import bars_with_intervals
from minidl.nn.models import imagenet_names, imagenet_network
from minidl.train import predict
from minidl.train.networks import shapes_images, shapes_network

network, names = imagenet_network(), imagenet_names()
koala = load_picture(PICTURES / "marsupials" / "koala.webp")[0][np.newaxis]
KOALA = names.index("koala")


# %%
def answers(images, count=3):
    """For each image the likeliest names with their probabilities."""
    p = stable_softmax(predict(network, images))
    pairs = []
    for row in p:
        best = np.argsort(-row)[:count]
        pairs.append([(names[k], row[k]) for k in best])
    return pairs


starts = window_starts(224, 64, 40)  # [0, 40, 80, 120, 160]
places = [(top, left) for top in starts for left in starts]
covered = np.repeat(koala, len(places), axis=0)  # (25, 3, 224, 224)
for image, (top, left) in zip(covered, places, strict=True):
    image[:, top : top + 64, left : left + 64] = 0.5  # a grey square
p = stable_softmax(predict(network, covered))[:, KOALA]  # (25,)
p_x = stable_softmax(predict(network, koala))[0, KOALA]

drops = (p_x - p).reshape(1, 5, 5)
heat = np.maximum(average_over_windows(drops, (224, 224), (64, 64), (40, 40)), 0)
worst, best = p.argmin(), p.argmax()
shown = np.concatenate([koala, covered[[worst, best]], koala])
titles = ["photograph", "p is lowest", "p is highest", f"p falls by {heat.max():.2f}"]
pairs = [*answers(shown[:3]), []]
figure = answers_picture(shown, titles, pairs, maps=[None] * 3 + [heat[0]], columns=2)
alt = "A koala, a grey square on it at two places, and a heat map over its head"
save(figure, "14_occlusion_gradients/grey_square", alt=alt)

# %% [markdown]
# A grey square of 64×64 pixels moves over the photograph in steps of 40 pixels. At each
# place the network answers. A square over the face takes "koala" from 79% to 39%. A
# square over the leg even raises it to 85%. The last panel shows where the probability
# falls: yellow means most. The answer rests on the head.

# %% [markdown]
# ## The formula
# Zeiler and Fergus (2014) explain answers by occlusion. $\Phi[y_0]$ is the output of
# the network for the class $y_0$, here its probability. $x^{(i)}$ is the photograph $x$
# with window $i$ covered. The *drop* is what the answer loses:
#
# $$d_i = \Phi(x)[y_0] - \Phi(x^{(i)})[y_0]$$
#
# Most pixels lie in several windows. The map gives each pixel the mean drop of all
# windows that cover the pixel. So the background above the head is as yellow as the
# head: its windows cover the head too. Take one pixel of the face:

# %%
row, column = 50, 130
drop_sum, count = 0, 0
for i, (top, left) in enumerate(places):
    if top <= row < top + 64 and left <= column < left + 64:
        d = p_x - p[i]
        drop_sum, count = drop_sum + d, count + 1
        print(f"window at row {top}, column {left}: d = {d:.2f}")
print(f"mean of the {count} windows: {drop_sum / count:.2f}")
assert np.isclose(heat[0, row, column], drop_sum / count, atol=1e-5)

# %% [markdown]
# How many passes does a map need? A window of $k$ pixels and a stride of $s$ have
# $(224 - k)/s + 1$ places on a side, here $(224 - 64)/40 + 1 = 5$. So the map needs 25
# forward passes, and one more for the whole photograph. With $k = 32$ and $s = 16$ it
# needs $13^2 + 1 = 170$. A larger window hides whole parts: its drops are clearer and
# fewer places are enough, but the map is coarser. A small window gives a finer map, but
# may hide too little to change the answer.

# %% [markdown]
# ## Covered with what?
# The square must have some colour, and the network sees the square too. The lecture
# says: add noise to the inputs. `occlusion_map` does the work of our loop and covers
# with a number (`0.5` is grey), with the mean colour of the photograph, or with noise.
# At red places the probability falls. At blue places it rises: what was there spoke
# against the koala, or for another class. Blue is pale here, because the largest rise
# is 0.06 (grey) or 0.08 (noise) on a scale that goes to 0.4.

# %%
settings = {"window": 64, "stride": 40, "probability": True}
rng = np.random.default_rng(0)
by_noise = occlusion_map(network, koala, KOALA, baseline="noise", rng=rng, **settings)
by_grey = average_over_windows(drops, (224, 224), (64, 64), (40, 40))  # (1, 224, 224)
figure = overlay(
    koala,
    np.stack([by_grey, by_noise], axis=1),
    ["grey square", "square of noise"],
    signed=True,
    title="How much the probability of the koala falls",
)
alt = "Two occlusion maps of a koala: the head is red in both"
save(figure, "14_occlusion_gradients/fills", alt=alt)
for name, values in (("grey", by_grey), ("noise", by_noise)):
    print(f"{name}: from {values.min():+.2f} to {values.max():+.2f}")

# %% [markdown]
# Both maps mark the head, so here the main result does not depend on what covers it.
# The weak parts differ. The network never saw such squares in training, and there is no
# colour that it takes for "nothing". So try several before you trust a map.
#
# ## Two koalas hide each other
# We put the koala twice into one photograph. Each head could be covered alone.

# %%
face = (slice(None), slice(None), slice(40, 104), slice(120, 184))
blank = koala.copy()
blank[face] = 0.5
for name, left, right in (
    ("two koalas", koala, koala),
    ("one face covered", blank, koala),
    ("both faces covered", blank, blank),
):
    pair = np.concatenate([left, right], axis=3)  # (1, 3, 224, 448)
    print(f"{name}: p = {stable_softmax(predict(network, pair))[0, KOALA]:.2f}")

# %% [markdown]
# With one koala a covered face takes $p$ from 0.79 to 0.39. With two, covering one face
# takes it only from 0.36 to 0.34, because the other face is still there. Occlusion
# covers one place at a time, so both faces look unimportant. Only covering both shows
# that they matter. (Compare with 0.36 and not with 0.79. Two koalas are less surely a
# koala than one; we did not look for the reason.)
#
# ## Occlusion can surprise
# A rooster's head has a red comb. Surely the network needs the head?

# %%
rooster = load_picture(PICTURES / "birds" / "rooster.webp")[0][np.newaxis]
shown = np.repeat(rooster, 3, axis=0)
shown[1, :, :64, 144:208] = 0.5
shown[2, :, :64, 144:208] = np.random.default_rng(0).random((3, 64, 64))
titles = ["photograph", "head in grey", "head in noise"]
figure = answers_picture(shown, titles, answers(shown))
alt = "A rooster, and the same rooster with its head under grey and under noise"
save(figure, "14_occlusion_gradients/rooster", alt=alt)
logits = predict(network, shown)
for name in ("cock", "hen", "partridge"):
    before, grey, noise = logits[:, names.index(name)]
    print(f"logit of {name}: {before:.1f}, grey {grey:.1f}, noise {noise:.1f}")

# %% [markdown]
# Without its head the rooster is more surely a "cock": 77% under a grey square and 84%
# under noise, instead of 60%. Two things happen. The logits of hen and partridge fall.
# And the logit of the cock itself rises, from 8.7 to 9.2 and 9.5. All probabilities
# share 100%, so a probability can also rise only because other logits fall. A logit
# belongs to one class. We do not know why the covered head helps. The drop is a true
# number about the network, but it does not tell its reason.

# %% [markdown]
# ## Is the koala typical?
# We chose the koala because the square works well on it. The study draws six times six
# photographs that the network answers right and covers each of them at the same 25
# places. Does $p$ fall to less than half of its value at some place? Does it rise by
# more than 0.1 at some place?

# %%
keys = ["halved by grey", "halved by noise", "raised by grey"]
found = [study("14_occlusion_gradients", key) for key in keys]
figure = bars_with_intervals(
    ["p halved, grey", "p halved, noise", "p raised, grey"],
    found,
    xlabel="share of photographs, 6 draws of 6",
    title="What one square does at one of 25 places, 95% t-interval",
    share=True,
)
alt = "A square halves p on about two thirds of the photographs, raises it on half"
save(figure, "14_occlusion_gradients/photographs", alt=alt)
agreement = study("14_occlusion_gradients", "correlation of grey with noise")

# %% [markdown]
# One square halves $p$ on about two photographs of three (0.64 ± 0.20: with so few
# photographs the share is not exact). On the others no single square is so important.
# On about half of the photographs some square also raises $p$, so the rooster is no
# exception. The drops by grey and by noise correlate by 0.74: the two maps agree in
# most places, not in all.

# %% [markdown]
# ## The gradient: all pixels at once
# Occlusion needs one forward pass for each place. The derivative needs one forward pass
# and one backward pass for all pixels together. The lecture takes the logit of the last
# layer and the norm of its derivative:
#
# $$\left\| \frac{\partial \Phi_{\text{Last}}[y_0]}{\partial x} \right\|$$
#
# A pixel has three colours, and so its derivative has three numbers. The norm over the
# three makes one number: how strongly the logit answers to a small change of this
# pixel. (Simonyan et al. 2014 take the largest absolute value of the three instead.)
# `saliency(network, koala, KOALA, reduce="l2")` gives the same map.

# %%
x = Tensor(koala, requires_grad=True)
phi = network(x)[0, KOALA]
dphi_dx = grad(phi, x)  # (1, 3, 224, 224)
norm = np.sqrt((dphi_dx**2).sum(axis=1))  # (1, 224, 224)
assert np.allclose(norm, reduce_channels(dphi_dx, "l2"), rtol=1e-5)

for size in (0.0001, 0.001, 0.01):
    r = size * dphi_dx / np.abs(dphi_dx).max()  # no colour changes by more than size
    predicted = (dphi_dx * r).sum()
    measured = predict(network, koala + r)[0, KOALA] - phi.item()
    print(f"change {size}: predicted {predicted:+.3f}, measured {measured:+.3f}")

# %% [markdown]
# The loop tests the derivative $g$. It changes all pixels a little in the direction of
# $g$. For a small change $r$ the logit should rise by $\sum_i g_i r_i$. If no colour
# changes by more than 0.0001, this is right to 5%. At 0.01, less than three of 255 grey
# levels, the logit gains about half of what was predicted. So the gradient tells what a
# *small change* does, and not what happens if a part is missing. A function of one
# number shows how far apart the two can be: $f(x) = 1 - \mathrm{ReLU}(1 - x)$ at
# $x = 2$.

# %%
x = Tensor(2.0, requires_grad=True)
f = 1 - (1 - x).relu()
print(f"derivative {grad(f, x).item() + 0}, drop when x becomes 0: {f.item()}")

# %% [markdown]
# The derivative is 0, but without $x$ the value falls from 1 to 0. This problem is
# called *saturation*: $f$ no longer rises with $x$, although $x$ is the reason of its
# value.

# %% [markdown]
# ## Explanation by gradients
# For any model and any kind of input, a table as well, the lecture writes
#
# $$\nabla_{x_i}\, model(x) = \frac{\partial\, model(x)}{\partial x_i}$$
#
# A slope is not yet a share of the answer. Three methods start from the slope:
#
# - *SmoothGrad* (Smilkov et al. 2017) takes the mean gradient over several noisy copies
#   of the photograph. This is meant to cancel the noise in the gradient.
# - *Input × gradient* (Shrikumar et al. 2016) is $x_i \cdot \partial model / \partial
#   x_i$. For a linear model $w \cdot x$ the gradient is $w_i$ for every input, and
#   setting $x_i$ to 0 costs $w_i x_i$. There, input × gradient is what occlusion gives.
# - *Integrated gradients* (Sundararajan et al. 2017) go in a straight line from an
#   empty picture $b$, the *baseline*, to $x$, and take the mean gradient on the way:
#
# $$IG_i = (x_i - b_i) \int_0^1 \frac{\partial\, model}{\partial x_i}
#   \big(b + \alpha (x - b)\big)\, d\alpha$$
#
# $$\sum_i IG_i = model(x) - model(b)$$
#
# The second equation is called completeness: the shares sum up to the whole change. The
# way from $b$ to $x$ also passes the part where $f$ above still rises, so saturation
# does not hide $x$. On a computer the integral is a sum over a few *nodes* $\alpha_k$
# with weights $w_k$.

# %%
cat = load_picture(PICTURES / "photos" / "chelsea.webp")[0][np.newaxis]
both, classes = np.concatenate([cat, koala]), [names.index("Egyptian cat"), KOALA]
b = 0.5  # a grey picture

alphas, weights = path_nodes(8, "midpoint")  # 1/16, 3/16, ... and all weights 1/8
slopes = np.zeros_like(both)  # (2, 3, 224, 224)
for alpha, w in zip(alphas, weights, strict=True):
    x = Tensor((b + alpha * (both - b)).astype(np.float32), requires_grad=True)
    model = network(x)[np.arange(2), classes]
    slopes += w * grad(model.sum(), x)
ig = (both - b) * slopes

grey = predict(network, np.full_like(koala, b))[0]
photograph = predict(network, both)
for n, k in enumerate(classes):
    change = photograph[n, k] - grey[k]
    print(f"{names[k]}: change of the logit {change:.1f}, sum of IG {ig[n].sum():.1f}")


# %%
def bright(maps):
    """Grey pictures of maps (N, H, W) >= 0: the brightest 1% is white."""
    largest = np.quantile(maps, 0.99, axis=(1, 2), keepdims=True)
    return np.repeat(np.clip(maps / largest, 0, 1)[:, np.newaxis], 3, axis=1)


rng = np.random.default_rng(0)
gradient = saliency(network, both, classes, reduce="l2")  # (2, 224, 224)
smooth = smoothgrad(network, both, classes, samples=8, sigma=0.2, rng=rng)
product = input_x_gradient(network, both, classes)
shares = [np.abs(values.sum(axis=1)) for values in (product, ig)]
by_square = occlusion_map(network, cat, classes[0], baseline=0.5, **settings)
squares = np.maximum(np.concatenate([by_square, by_grey]), 0)

maps = [squares, gradient, reduce_channels(smooth, "l2"), *shares]
panels = np.stack([both, *[bright(values) for values in maps]], axis=1)
titles = []
for animal in ("cat", "koala"):
    titles += [f"{animal}: photograph", f"{animal}: occlusion"]
    titles += [f"{animal}: gradient norm", f"{animal}: SmoothGrad"]
    titles += [f"{animal}: input × gradient", f"{animal}: integrated gradients"]
title = "Two photographs, each with five explanations: bright pixels matter"
figure = image_grid(panels.reshape(12, 3, 224, 224), titles, 3, title=title)
alt = "A cat and a koala, each with five maps, from squares to noise to fine lines"
save(figure, "14_occlusion_gradients/gradients", alt=alt)
p_cat = stable_softmax(photograph)[0, classes[0]]
print(f"occlusion takes at most {by_square.max():.2f} from the cat's {p_cat:.2f}")

# %% [markdown]
# - **Occlusion** has large blocks. It finds the koala's head. For the cat no square
#   matters much: the white block is a drop of only 0.09. Each panel has its own scale.
# - **The gradient norm** is noise on the cat. On the koala it lies on the animal, and
#   not on its head in particular.
# - **SmoothGrad** shows where the koala is, without details.
# - **Input × gradient** is 0 where the photograph is black, for any network: look at
#   the rims of the cat's eyes.
# - **Integrated gradients** show eyes and nose of the cat. But they are 0 where the
#   photograph is as grey as $b$: look at the koala's leg. So the choice of $b$ is a
#   part of the result.
#
# The panels show the strength of the shares and not their sign. Five methods give five
# maps, and a clear map is not yet a right map. [Lesson 15](15_guided_backprop.py) shows
# a method with beautiful maps that do not depend on the class. [Lesson
# 16](16_gradcam.py) scores maps against the true place of an animal.

# %% [markdown]
# ## Is the integral exact?
# For both animals the sum of the shares is smaller than it should be: 6.4 instead of
# 8.8 for the koala. So do not trust these two maps in detail. Eight nodes are too few:
# with 64 midpoint nodes the sum for the koala is 8.8. (That run takes eight times as
# long, so it is left to "Try it".) A small network, which knows four shapes on images
# of 16×16 pixels, lets us try many nodes.

# %%
small = shapes_network(0)
images, labels, _ = shapes_images(20, rng=np.random.default_rng(100))
black = np.zeros_like(images[:1])
change = predict(small, images)[:, 2] - predict(small, black)[0, 2]  # class 2: star
for steps in (8, 64, 256):
    parts = integrated_gradients(small, images, 2, baseline=0.0, steps=steps)
    gap = np.abs(parts.sum(axis=(1, 2, 3)) - change)
    print(f"{steps:3} nodes: the sum misses by {np.median(gap):.4f} (median image)")
print(f"the change itself is {np.median(np.abs(change)):.1f}")

# %% [markdown]
# On the small network 64 nodes miss by 1% of the change. So always compare the sum with
# $model(x) - model(b)$, and take more nodes if the two differ.
#
# ## What does each method cost?

# %%
start = perf_counter()
predict(network, koala)
forward = perf_counter() - start
start = perf_counter()
saliency(network, koala, KOALA, reduce="l2")
backward = perf_counter() - start
print(f"measured: one pass forward {forward:.2f} s, forward and back {backward:.2f} s")
print(f"so occlusion with 25 windows takes about {25 * forward:.1f} s,")
print(f"SmoothGrad or integrated gradients with 8 passes {8 * backward:.1f} s")

# %% [markdown]
# The gradient is cheapest, and its cost does not grow with the number of pixels that it
# explains. Occlusion needs a pass for each window: with a stride of 20 instead of 40 it
# is 81 windows instead of 25. On the other hand, occlusion needs no derivative. It also
# works for a model on a server, whose answers you see and whose weights you do not.

# %% [markdown]
# ## What to remember
# Occlusion covers a part of the photograph and measures what the answer loses. What
# covers the part is a choice, a probability can also rise, and two equal parts hide
# each other. The norm of $\partial \Phi / \partial x$ tells how strongly a logit
# answers to a small change of each pixel. It costs one pass forward and back. It does
# not tell what happens if the pixel is missing. Integrated gradients divide the change
# from a baseline to the photograph among the pixels, and their sum tells whether the
# nodes were enough.
#
# ## Try it
# - Cover with white, `baseline=1.0`, or with `baseline="mean"`. Does the head of the
#   koala stay the most important part?
# - Take a window of 32 pixels with a stride of 32. Why do the drops become smaller?
# - Ask for "indri" instead of "koala" in `occlusion_map`. Where is the map blue?
# - Take `b = 0` in the integrated gradients. Which parts of the koala become dark now?
#   Then take 64 nodes with `b = 0.5`. How near do the two sums come?
#
# ## Exercises
# `python -m lessons start 14` begins 14.1 `reduce_channels`,
# 14.2 `average_over_windows`, 14.3 `path_nodes`, 14.4 `occlusion_map` and
# 14.5 `integrated_gradients`.
#
# ## Papers
# - Zeiler and Fergus 2014, Visualizing and understanding convolutional networks.
# - Simonyan, Vedaldi and Zisserman 2014, Deep inside convolutional networks:
#   visualising image classification models and saliency maps.
# - Shrikumar et al. 2016, Not just a black box: learning important features through
#   propagating activation differences.
# - Smilkov et al. 2017, SmoothGrad: removing noise by adding noise.
# - Sundararajan, Taly and Yan 2017, Axiomatic attribution for deep networks.
