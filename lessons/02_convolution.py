# %% [markdown]
# # 02 Convolution
# What does a network look for in a photograph, and how does a convolution find it? Does
# training make the filters, or were they there before?
#
# Exercises: 02.1 conv_output_size, 02.2 im2col, 02.3 col2im, 02.4 ColumnConv2d.
#
# ## What does the first layer of a real network look for?
# The network was trained on more than a million photographs. Its first layer has 32
# **filters**. A filter has 3 × 3 weights for each of the three colours: 27 numbers. The
# filter is laid on the photograph, on every second pixel, and gives one number each
# time. All numbers of one filter form a new image, the **feature map**. A map is
# brightest where the photograph fits the filter best.
#
# The picture shows five filters, each in the corner of its map. Filter 23 is orange:
# its map is bright on the orange breast. Filter 18 is green: its map is bright on the
# green wing, but grey on the orange breast and bright on the collar, too. Filter 7 has
# positive weights for blue and negative ones for green, which together look violet in
# the corner: its map is bright on the blue head. The last two filters find edges. In
# filter 21 positive weights lie above negative ones, so it finds edges that run from
# left to right. In filter 15 positive weights (light green above, light red in the
# middle) lie to the left of negative ones (violet, dark cyan), so it finds edges that
# run from top to bottom.

# %%
import time

import numpy as np
from tqdm import tqdm

import minidl.nn.functional as F
from lessons import PICTURES, study
from minidl import Tensor, nn
from minidl.classroom.claims import claim
from minidl.data import batches, load_mnist, load_picture
from minidl.engine import kernels
from minidl.engine.conv import conv_output_size
from minidl.figures import filters_and_maps, image_grid, overlay, save, signed_map
from minidl.nn.models import efficientnet_lite0, imagenet_network, lenet
from minidl.train import Adam, evaluate, predict
from minidl.train.schedules import cosine

network = imagenet_network()
bird = load_picture(PICTURES / "birds" / "rainbow_lorikeet.webp")[0]  # (3, 224, 224)

# %%
filters = network.layer("_conv_stem").weight.data  # (32, 3, 3, 3)
maps = predict(network[:5], bird[np.newaxis])[0]  # (32, 112, 112)
chosen = [23, 18, 7, 21, 15]
titles = ["23: orange", "18: green", "7: blue, not green", "21: edges", "15: edges"]
figure = filters_and_maps(filters[chosen], maps[chosen], titles, columns=3, image=bird)
save(figure, "02_convolution/five_filters", alt="A parrot and five maps of it")

# %% [markdown]
# ## All 32 filters
# The first layer has filters for colours, for brightness and for edges. Four filters
# are plain grey: all their weights are nearly 0. Each map has its own scale from black
# to white, so the empty background can be black, grey or white.

# %%
figure = filters_and_maps(filters, maps, range(32), columns=8)
save(figure, "02_convolution/filters", alt="32 filters in the corners of their maps")
largest_weight = np.abs(filters).max(axis=(1, 2, 3))  # (32,)
print("filters of weights near 0:", np.flatnonzero(largest_weight < 0.01))

# %% [markdown]
# ## What does a convolution compute?
# The input x has channels c, here the three colours. y[o, r, s] is the value of map o
# in row r, column s; i and j count the rows and columns inside the filter. The value is
# a sum of products: the filter's weights are multiplied with the pixels that lie under
# the filter. The **stride** S is 2 here: the filter moves by two pixels. Many layers
# add a number b[o], the **bias**; this layer has none.
#
# $$y[o, r, s] = b[o] + \sum_{c}\sum_{i}\sum_{j}
# w[o, c, i, j] \; x[c,\, Sr + i,\, Ss + j]$$
#
# A linear layer has a weight for each pair of an input and an output. A convolution
# differs in two ways: each output reads only a small patch, and all places share the
# same weights. So the number of weights does not depend on the size of the image: here
# it is 32 · 3 · 3 · 3 = 864, and with biases it would be 32 more.
#
# The next cell computes one number of map 23 by hand, on the orange breast. Before the
# convolution, `network[:2]` scales the pixels and adds a border of zeros, the
# **padding**. (The maps above come two layers later: batch normalisation has scaled and
# shifted each map, and ReLU6 has cut off what lies below 0 or above 6.)

# %%
x = predict(network[:2], bird[np.newaxis])[0]  # (3, 225, 225)
w = filters
o, r, s = 23, 56, 30
patch = x[:, 2 * r : 2 * r + 3, 2 * s : 2 * s + 3]  # (3, 3, 3): under the filter
y_by_hand = (w[o] * patch).sum()
y = predict(network[:3], bird[np.newaxis])[0]  # (32, 112, 112)

print(f"by hand {y_by_hand:.4f}   by the network {y[o, r, s]:.4f}")
print(f"{w.size} weights, no bias")
assert np.isclose(y_by_hand, y[o, r, s], rtol=1e-4)

# %% [markdown]
# ## How large is the output?
# The input has N pixels along one side, the filter K, and P zeros are added at both
# ends. The filter stands at 0, S, 2S, … as long as it fits. The number of places is
#
# $$R = \left\lfloor \frac{N + 2P - K}{S} \right\rfloor + 1$$
#
# The brackets round down. Our network adds one zero at one end only, so N + 2P is 225
# here. The second line is the first layer of another known network, ResNet.

# %%
print("EfficientNet:", conv_output_size(225, kernel=3, stride=2))
print("ResNet:      ", conv_output_size(224, kernel=7, stride=2, padding=3))

# %% [markdown]
# ## Is this the convolution of mathematics?
# Not quite. The convolution of mathematics flips the filter first, from right to left
# and from top to bottom. Libraries for networks leave the flip out; mathematics calls
# their sum a **cross-correlation**. For training the difference does not matter: the
# weights are learned, so the network can learn the flipped filter just as well. The
# filter below is positive where the signal rises, and 0 where the signal is constant.
# Flipped, it is positive where the signal falls.

# %%
signal, kernel = np.array([0, 0, 2, 5, 5, 5]), np.array([-1, 0, 1])
print("as in networks:   ", np.correlate(signal, kernel, mode="valid"))
print("as in mathematics:", np.convolve(signal, kernel, mode="valid"))

# %% [markdown]
# ## Were these filters there before training?
# A network starts with random weights, and a random filter also makes a map. So a
# picture of filters shows what was learned only if it differs from the start. Here are
# 32 filters of the same layer before training, with their maps. Maps 4, 8, 23, 25 and
# 29 are bright on the orange breast too. So a bright map does not show that its filter
# was learned. The weights of the filter show it. In a random filter each weight has a
# colour of its own. No random filter has one colour in all its weights.

# %%
untrained = efficientnet_lite0(rng=np.random.default_rng(0)).eval()
random_filters = untrained.layer("_conv_stem").weight.data
random_maps = predict(untrained[:5], bird[np.newaxis])[0]
figure = filters_and_maps(random_filters, random_maps, range(32), columns=8)
save(figure, "02_convolution/random_filters", alt="Random filters and their maps")

# %% [markdown]
# One number separates trained weights from random weights: the correlation between two
# colours of a filter. In the trained filter 21, red and green have the same pattern. In
# the trained filter 23, blue is most negative where red is most positive. In both cases
# the correlation is far from 0. The colours of a random filter are independent. Nine
# random numbers still correlate a little with nine others by chance, so the comparison
# takes 20 random starts.


# %%
def likeness_of_colours(filters):
    """The mean |correlation| between the red, green and blue weights of a filter."""
    found = []
    for colours in filters.reshape(-1, 3, 9):
        table = np.corrcoef(colours)  # (3, 3)
        found += [abs(table[0, 1]), abs(table[0, 2]), abs(table[1, 2])]
    return float(np.mean(found))


red, green, blue = filters[21].reshape(3, 9)
print(f"filter 21, red and green: {np.corrcoef(red, green)[0, 1]:.2f}")
red, green, blue = filters[23].reshape(3, 9)
print(f"filter 23, red and blue: {np.corrcoef(red, blue)[0, 1]:.2f}")
trained_likeness = likeness_of_colours(filters[largest_weight >= 0.01])
random_likeness = []
for seed in range(20):
    layer = nn.Conv2d(3, 32, 3, bias=False, rng=np.random.default_rng(seed))
    random_likeness.append(likeness_of_colours(layer.weight.data))
claim(
    "the colours of trained filters belong together",
    trained_likeness > 1.5 * max(random_likeness),
    {"trained": trained_likeness, "largest of 20 random": max(random_likeness)},
)

# %% [markdown]
# ## What do deeper layers see?
# Each layer convolves the maps of the layer before it. The part of the photograph that
# can change one number of a map is the **receptive field** of this number. After one
# 3 × 3 convolution it is 3 × 3 pixels. Each further one with stride 1 adds one pixel on
# every side: 5 × 5, then 7 × 7. A stride of 2 makes later layers add twice as much.
#
# Three 3 × 3 layers see as much as one 7 × 7 layer. With C channels everywhere they
# have 3 · 9C² = 27C² weights, and the 7 × 7 layer has 49C². Between the three layers
# there is also room for two more ReLUs. The next cell finds the receptive field by
# gradients: pixels outside it have gradient 0.

# %%
rng = np.random.default_rng(0)
pixels = Tensor(rng.normal(size=(1, 1, 11, 11)), requires_grad=True)
result = pixels
for _ in range(3):
    result = F.conv2d(result, rng.normal(size=(1, 1, 3, 3)), padding=1)
result[0, 0, 5, 5].backward()  # the number in the middle
rows, cols = np.nonzero(pixels.grad[0, 0])
print("pixels with a gradient:", np.ptp(rows) + 1, "×", np.ptp(cols) + 1)

# %% [markdown]
# Many layers have filters of **1 × 1**. Such a filter looks at one place only: it mixes
# the channels there, and has one weight for each channel. So a 1 × 1 convolution
# changes the number of maps cheaply. In block 1 it makes 96 maps out of 16.
#
# The picture lays two maps from each of four depths over the photograph: yellow is
# large, no colour is 0. The maps get smaller with depth, and there are more of them. In
# block 1 the maps show outlines and colours. In block 3 one map is large on head and
# wing, another at points of the outline. In block 9 one map follows the back and
# another the belly. In block 12 one map is large at the head and another at the tail.
# The eight maps were chosen by hand; many maps are harder to describe. Features like
# these help with other tasks: lessons [03](03_finetuning.py) and
# [04](04_feature_extractor.py) use them again. [Lesson 13](13_what_it_sees.py) finds
# out what a deep map looks for.

# %%
one_by_one = network.layer("_blocks.1._expand_conv").weight
print("1 × 1 weights in block 1:", one_by_one.shape)
depths = {1: (51, 26), 3: (77, 83), 9: (335, 661), 12: (955, 78)}  # block: two maps
maps_of = {}


def keep(module, inputs, output):
    maps_of[module] = output.data[0]  # the maps of one image: (C, H, W)


overlays, titles = [], []
for block, pair in depths.items():
    layer = network.layer(f"_blocks.{block}._relu1")
    hook = layer.register_forward_hook(keep)
    predict(network, bird[np.newaxis])
    hook.remove()
    chosen_maps = maps_of[layer][list(pair)]  # (2, H, W)
    factor = 112 // chosen_maps.shape[1]
    overlays.append(np.kron(chosen_maps, np.ones((1, factor, factor))))
    count, height, width = maps_of[layer].shape
    titles.append(f"block {block}\n{count} maps of {height} × {width}")
birds = np.stack(4 * [bird[:, ::2, ::2]])
figure = overlay(birds, np.stack(overlays), row_titles=titles, scale_each=True)
save(figure, "02_convolution/deeper", alt="Two maps from each of four depths")

# %% [markdown]
# ## How is a convolution made fast?
# The formula is a sum over many loops: images, output maps, rows, columns, channels and
# the two sides of the filter. `im2col` copies each patch of the image into one column
# of a matrix. Then one matrix product multiplies all filters with all patches. The cell
# compares plain loops in Python with `im2col` (loops in Python as well) and a matrix
# product. Many libraries work in this second way. This library does not: its engine
# sums the same products in compiled loops. The last line shows their time.

# %%
rng = np.random.default_rng(0)
image = rng.random((4, 10, 10), dtype=np.float32)  # (C, H, W), the padding is in it
w = rng.normal(size=(8, 4, 3, 3)).astype(np.float32)
side = conv_output_size(10, kernel=3)  # 8

begin = time.perf_counter()
by_loops = kernels.conv2d_loops(image[np.newaxis], w, (1, 1), (1, 1), 1)[0]
print(f"loops:  {1000 * (time.perf_counter() - begin):.1f} ms")

begin = time.perf_counter()
columns = np.empty((4 * 3 * 3, side * side), np.float32)
kernels.im2col(image, (3, 3), (1, 1), (1, 1), columns)  # plain Python: step into it
by_product = w.reshape(8, 4 * 3 * 3) @ columns  # (8, 64)
print(f"im2col: {1000 * (time.perf_counter() - begin):.1f} ms")

x = Tensor(image[np.newaxis])
F.conv2d(x, w)  # the first call may compile
begin = time.perf_counter()
F.conv2d(x, w)
print(f"engine: {1000 * (time.perf_counter() - begin):.2f} ms")
assert np.allclose(by_product.reshape(8, side, side), by_loops, atol=1e-5)

# %% [markdown]
# ## The gradients of a convolution
# Let Y = W · columns be this matrix product, and let G be the gradient that arrives at
# Y. [Lesson 01](01_autograd.py) gives the gradient of the weights: G · columnsᵀ. This
# product is a sum over all places, since the same weight is used in every place. In the
# letters of the formula above, with the images n of a batch:
#
# $$\frac{\partial L}{\partial w[o, c, i, j]} =
# \sum_{n}\sum_{r}\sum_{s} G[n, o, r, s] \; x[n, c,\, Sr + i,\, Ss + j]$$
#
# The gradient of the columns is Wᵀ · G. `im2col` copied each pixel into several
# columns: into up to nine of them for a 3 × 3 filter. A change of the pixel changes all
# its copies. So `col2im` adds the gradients of the copies up.
#
# Both functions are linear, and `col2im` is the **adjoint** of `im2col`: for every
# image x and every matrix g, ⟨im2col(x), g⟩ = ⟨x, col2im(g)⟩. The brackets stand for
# the sum of all products of two arrays of one shape. The backward function of every
# linear function has this property.

# %%
x = Tensor(image[np.newaxis], requires_grad=True)
weight = Tensor(w, requires_grad=True)
G = rng.normal(size=(8, side * side)).astype(np.float32)
F.conv2d(x, weight).backward(G.reshape(1, 8, side, side))

grad_w = (G @ columns.T).reshape(w.shape)
grad_columns = w.reshape(8, 4 * 3 * 3).T @ G
grad_image = np.empty_like(image)
kernels.col2im(grad_columns, (3, 3), (1, 1), (1, 1), grad_image)
assert np.allclose(grad_w, weight.grad, atol=1e-4)
assert np.allclose(grad_image, x.grad[0], atol=1e-4)
left, right = np.sum(columns * grad_columns), np.sum(image * grad_image)
assert np.isclose(left, right, rtol=1e-4)  # adjoint

copies = np.empty_like(image)
kernels.col2im(np.ones_like(columns), (3, 3), (1, 1), (1, 1), copies)
print("number of copies of each pixel in the upper left corner:")
print(copies[0, :4, :4].astype(int))

# %% [markdown]
# ## A network learns to read digits
# MNIST has digits that people wrote: 28 × 28 pixels, 0 is black paper and 1 is white
# ink. 5,000 digits are for training, 1,000 others for the test. LeNet (LeCun 1998) has
# two layers of 5 × 5 filters and three linear layers. The table shows them. `conv1` has
# 6 filters of 25 weights and a bias each: 156 numbers. After each convolution `pool`
# keeps the largest of 2 × 2 neighbouring numbers, which halves the sides of a map. The
# two layers of filters hold 4% of the numbers that are trained, and do 86% of the
# multiplications, since a filter is used in every place.

# %%
(train_images, train_labels), (test_images, test_labels) = load_mnist()
some = [np.flatnonzero(train_labels == digit)[0] for digit in range(10)]
figure = image_grid(train_images[some], range(10), columns=10)
save(figure, "02_convolution/digits", alt="A handwritten digit of each kind")

print(nn.summary(lenet(), (1, 28, 28)))

# %% [markdown]
# ## The training loop
# One pass over the training images is an **epoch**. The loop takes 64 images at a time,
# a **batch**, and does five things with each: compute the logits, compare them with the
# labels (the loss), set the old gradients to zero, compute the new gradients, and move
# all weights a little against their gradients. The learning rate falls along a cosine.

# %%
epochs, batch_size = 8, 64
rng = np.random.default_rng(0)
model = lenet(rng=rng)
start = model.layer("conv1").weight.data.copy()  # (6, 1, 5, 5), before training
steps = epochs * -(-len(train_images) // batch_size)  # -(-a // b) rounds a / b up
learning_rate = cosine(0.003, 0.0, steps)
optimizer = Adam(model.parameters(), lr=0.003)

step = 0
for epoch in tqdm(range(epochs), desc="training", disable=None):
    model.train()
    for images, labels in batches(train_images, train_labels, batch_size, rng=rng):
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.lr = learning_rate(step)
        optimizer.step()
        step += 1
    result = evaluate(model, test_images, test_labels)
    print(f"epoch {epoch + 1}: {result.accuracy:.1%} of the test digits are read right")
claim("the network reads 95% of the new digits", result.accuracy > 0.95)

# %% [markdown]
# One run depends on its random start, so a study trains the network from five starts.
# (It prints means of the five; ± is their 95% interval.) It also trains a network
# without convolution, with one hidden layer and as many weights. That network makes
# more than twice as many mistakes.
#
# Then the test digits move: two pixels to the right and two down. The network without
# convolution reads only 36% of them, and LeNet 68%. A convolution is **equivariant**:
# if the image moves, its maps move by the same amount (but for borders and strides). A
# hidden unit knows its pattern in one place only. But LeNet falls as well, from 97% to
# 68%, since its answer is not **invariant**: invariant means that the answer stays the
# same. The linear layers after the maps depend on the place. The mean over a whole map
# is nearly invariant, and the network of the parrot ends with such a mean.

# %%
lenet_accuracy = study("02_convolution", "accuracy, lenet")
plain_accuracy = study("02_convolution", "accuracy, no convolution")
lenet_moved = study("02_convolution", "accuracy on moved digits, lenet")
plain_moved = study("02_convolution", "accuracy on moved digits, no convolution")

# %% [markdown]
# ## What does the network get wrong?
# These are the twelve test digits for which the network gave the true answer the
# smallest probability.

# %%
probabilities = F.softmax(predict(model, test_images)).data  # (1000, 10)
answers = probabilities.argmax(axis=1)
p_true = probabilities[np.arange(len(test_labels)), test_labels]
hardest = np.argsort(p_true)[:12]
titles = [f"{test_labels[i]} read as {answers[i]}" for i in hardest]
figure = image_grid(test_images[hardest], titles, columns=6)
save(figure, "02_convolution/mistakes", alt="Twelve digits that are read wrong")
print(f"{np.sum(answers != test_labels)} of {len(test_labels)} digits are read wrong")

# %% [markdown]
# ## Did this network learn its first filters?
# The first row shows the six filters of the first layer before training, the second row
# after training, the third row the change. Red is positive, blue is negative. The
# second row looks irregular because the first row does: it is the random start. The
# third row shows smooth changes: neighbouring weights have nearly the same colour. In
# filter 2 training added an edge, red below and blue above, and the trained filter
# shows this edge. In the other filters it mostly added positive weights, and the
# trained filters still resemble their start. So the second row alone does not show what
# was learned.

# %%
learned = model.layer("conv1").weight.data  # (6, 1, 5, 5)
rows = np.stack([start[:, 0], learned[:, 0], learned[:, 0] - start[:, 0]])
figure = signed_map(rows, range(6), row_titles=["start", "trained", "change"])
save(figure, "02_convolution/start_and_trained", alt="Six filters, start and trained")

likeness = []
for before, after in zip(start, learned, strict=True):
    likeness.append(np.corrcoef(before.ravel(), after.ravel())[0, 1])
print(f"mean correlation of a filter with its start: {np.mean(likeness):.2f}")

# %% [markdown]
# Does the network need to learn this layer at all? The study trains the same network
# again, but its first layer keeps the random start. The accuracy falls by only 0.7
# points: the next layers learn to work with random first filters. On the moved digits
# it falls by 5.5 ± 3.6 points.

# %%
likeness_of_five = study("02_convolution", "likeness to the start, conv1")
for test in ("accuracy", "accuracy on moved digits"):
    fall = study(
        "02_convolution", f"{test}, lenet", minus=f"{test}, first layer random"
    )

# %% [markdown]
# ## What to remember
# A convolution lays a small filter on every place of the image and sums products. All
# places share the same weights, so the map moves with the image, and a weight's
# gradient is a sum over all places. The receptive field grows from layer to layer. The
# first layer of a network for photographs has learned filters for colours and edges.
# Before you say what a filter has learned, compare it with its random start: the first
# filters of a small network for digits are mostly their start.

# %% [markdown]
# ## Try it
# - Use another photograph, such as `PICTURES / "mammals" / "zebra.webp"`. Which maps
#   separate the stripes? Print `maps.max(axis=(1, 2))` for both animals: which filters
#   answer less to the zebra?
# - Set the learning rate of `Adam` and `cosine` to 0.01. Does the correlation with the
#   start fall, and does the accuracy?
# - Train with `epochs = 2`. How many of the final points of accuracy are there already?
#
# ## Exercises
# `python -m lessons start 02` begins the exercises 02.1 conv_output_size, 02.2 im2col,
# 02.3 col2im and 02.4 ColumnConv2d.
#
# ## Papers
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998): Gradient-based learning applied
#   to document recognition.
# - M. Zeiler, R. Fergus (2014): Visualizing and understanding convolutional networks.
# - M. Tan, Q. Le (2019): EfficientNet: rethinking model scaling for convolutional
#   neural networks.
