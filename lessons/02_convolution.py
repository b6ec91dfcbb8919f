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
# time. All numbers of one filter form a new image, the **feature map**. A map is bright
# where the photograph fits the filter.
#
# The picture shows five filters, each in the corner of its map. Filter 23 is orange:
# its map is bright on the orange breast. Filter 18 finds the green wing. Filter 7 is
# violet (blue and red without green) and finds the blue head. The last two filters have
# light weights beside dark ones. They find edges: filter 21 finds edges that run from
# left to right, filter 15 finds edges that run from top to bottom.

# %%
import time

import numpy as np
from tqdm import tqdm

import minidl.nn.functional as F
from lessons import PICTURES, study
from minidl import nn, no_grad
from minidl.classroom.claims import claim
from minidl.data import batches, load_mnist, load_picture
from minidl.engine import kernels
from minidl.engine.conv import conv_output_size
from minidl.figures import filters_and_maps, image_grid, save, signed_map
from minidl.nn.models import efficientnet_lite0, imagenet_network, lenet
from minidl.train import Adam, evaluate, predict
from minidl.train.schedules import cosine

network = imagenet_network()
bird = load_picture(PICTURES / "birds" / "rainbow_lorikeet.webp")[0]  # (3, 224, 224)

# %%
filters = network.layer("_conv_stem").weight.data  # (32, 3, 3, 3)
maps = predict(network[:5], bird[np.newaxis])[0]  # (32, 112, 112)
chosen = [23, 18, 7, 21, 15]
titles = ["23: orange", "18: green", "7: blue", "21: edges", "15: edges"]
figure = filters_and_maps(filters[chosen], maps[chosen], titles, columns=3, image=bird)
save(figure, "02_convolution/five_filters", alt="A parrot and five maps of it")

# %% [markdown]
# ## All 32 filters
# The first layer has filters for colours, for brightness and for edges. Four filters
# are plain grey: all their weights are nearly 0.

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
# the filter. The **stride** is 2: the filter moves by two pixels.
#
# $$y[o, r, s] = \sum_{c}\sum_{i}\sum_{j} w[o, c, i, j] \; x[c,\, 2r + i,\, 2s + j]$$
#
# The next cell computes one number of map 23 by hand, on the orange breast. Before the
# convolution, `network[:2]` scales the pixels and adds a border of zeros, the
# **padding**.
#
# The pictures above show the maps after the next two layers. Batch normalisation has
# scaled and shifted each map. ReLU6 has cut off what lies below 0 or above 6.

# %%
x = predict(network[:2], bird[np.newaxis])[0]  # (3, 225, 225)
w = filters
o, r, s = 23, 56, 30
patch = x[:, 2 * r : 2 * r + 3, 2 * s : 2 * s + 3]  # (3, 3, 3): under the filter
y_by_hand = (w[o] * patch).sum()
y = predict(network[:3], bird[np.newaxis])[0]  # (32, 112, 112)

print(f"by hand {y_by_hand:.4f}   by the network {y[o, r, s]:.4f}")
print("places along one side:", conv_output_size(225, kernel=3, stride=2))
assert np.isclose(y_by_hand, y[o, r, s], rtol=1e-4)

# %% [markdown]
# ## Were these filters there before training?
# A network starts with random weights, and a random filter also makes a map. So a
# picture of filters shows what was learned only if it differs from the start. Here are
# 32 filters of the same layer before training, with their maps. Maps 4, 23, 25 and 29
# are bright on the orange breast too. So a bright map does not show that its filter was
# learned. The weights show it: here each weight has a colour of its own. No filter
# stands for one colour, and no filter stands for an edge of all colours.

# %%
untrained = efficientnet_lite0(rng=np.random.default_rng(0)).eval()
random_filters = untrained.layer("_conv_stem").weight.data
random_maps = predict(untrained[:5], bird[np.newaxis])[0]
figure = filters_and_maps(random_filters, random_maps, range(32), columns=8)
save(figure, "02_convolution/random_filters", alt="Random filters and their maps")

# %% [markdown]
# One number tells trained weights from random weights. In a trained edge filter the
# three colours have one pattern. In a trained colour filter one colour has the opposite
# pattern of another. In both cases the correlation of two colours is far from 0. Random
# colours are independent. Nine random numbers still correlate a little with nine others
# by chance. That is why the comparison takes 20 random starts.


# %%
def likeness_of_colours(filters):
    """The mean |correlation| between the red, green and blue weights of a filter."""
    found = []
    for colours in filters.reshape(-1, 3, 9):
        table = np.corrcoef(colours)  # (3, 3)
        found += [abs(table[0, 1]), abs(table[0, 2]), abs(table[1, 2])]
    return float(np.mean(found))


alive = filters[largest_weight >= 0.01]
trained_likeness = likeness_of_colours(alive)
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
# Each layer convolves the maps of the layer before it. The maps get smaller, and there
# are more of them. One place of a deep map sees a larger part of the photograph. Here
# are two maps from each of four depths. In block 1 the maps show outlines and colours.
# In block 3 one map is bright on head and wing, another at points of the outline. In
# block 9 one map is bright along the back and another along the belly. In block 12
# one map is bright at the head and another at the tail. Features like these help with
# many tasks: lessons [03](03_finetuning.py) and [04](04_feature_extractor.py) use them
# again. [Lesson 13](13_what_it_sees.py) finds out what a deep map looks for.

# %%
depths = {
    1: (51, 26),
    3: (77, 83),
    9: (335, 661),
    12: (955, 78),
}  # block: two of its maps
maps_of = {}


def keep(module, inputs, output):
    maps_of[module] = output.data[0]  # the maps of one image: (C, H, W)


panels, titles = [], []
for block, pair in depths.items():
    layer = network.layer(f"_blocks.{block}._relu1")
    hook = layer.register_forward_hook(keep)
    predict(network, bird[np.newaxis])
    hook.remove()
    block_maps = maps_of[layer]
    channels, height, width = block_maps.shape
    print(f"block {block:2}: {channels:4} maps of {height} × {width}")
    for k in pair:
        panels.append(np.kron(block_maps[k], np.ones((56 // height, 56 // width))))
        titles.append(f"block {block}, map {k}")
figure = image_grid(np.stack(panels), titles, columns=4, scale_each=True)
save(figure, "02_convolution/deeper", alt="Two maps from each of four depths")

# %% [markdown]
# ## How is a convolution made fast?
# The formula is a sum over many loops: images, output maps, rows, columns, channels and
# the two sides of the filter. `im2col` copies each patch of the image into one column
# of a matrix. Then one matrix product multiplies all filters with all patches. The
# engine sums the same products in compiled loops.
#
# The next cells print three times. `by_loops` runs every loop in Python. `by_columns`
# copies the patches in Python, but the matrix product has no loop in Python.
# `by_engine` has no loop in Python at all. So the times show what loops in Python cost.
# They do not compare a matrix product with compiled loops.

# %%
rng = np.random.default_rng(0)
image = rng.random((4, 10, 10), dtype=np.float32)  # (C, H, W), the padding is in it
w = rng.normal(size=(8, 4, 3, 3)).astype(np.float32)
side = conv_output_size(10, kernel=3)  # 8


def by_loops():
    return kernels.conv2d_loops(image[np.newaxis], w, (1, 1), (1, 1), 1)[0]


def by_columns():
    columns = np.empty((4 * 3 * 3, side * side), np.float32)
    kernels.im2col(image, (3, 3), (1, 1), (1, 1), columns)  # plain Python: step into it
    return (w.reshape(8, 4 * 3 * 3) @ columns).reshape(8, side, side)


def by_engine():
    with no_grad():
        return F.conv2d(image[np.newaxis], w).data[0]


# %%
by_engine()  # the first call compiles
for way in (by_loops, by_columns, by_engine):
    begin = time.perf_counter()
    y = way()
    print(f"{way.__name__:12} {1000 * (time.perf_counter() - begin):8.3f} ms")
    assert np.allclose(y, by_loops(), atol=1e-5)

# %% [markdown]
# ## How does the gradient come back?
# `im2col` copies a pixel into several columns: into up to nine of them for a 3 × 3
# filter. Each copy has a gradient. The pixel's gradient is their sum, since a change of
# the pixel changes all its copies. `col2im` adds the gradients of the copies up.
#
# The two functions are **adjoint**. That means: for every image x and every matrix g
# the two sides below are equal. The brackets stand for the sum of all products of two
# arrays of one shape.
#
# $$\langle \text{im2col}(x),\, g \rangle = \langle x,\, \text{col2im}(g) \rangle$$

# %%
rng = np.random.default_rng(1)
x = rng.normal(size=(4, 10, 10))
columns = np.empty((4 * 9, 64))
kernels.im2col(x, (3, 3), (1, 1), (1, 1), columns)
g = rng.normal(size=columns.shape)
gathered = np.empty_like(x)
kernels.col2im(g, (3, 3), (1, 1), (1, 1), gathered)

left, right = np.sum(columns * g), np.sum(x * gathered)
print(f"<im2col(x), g> = {left:.10f}   <x, col2im(g)> = {right:.10f}")
assert np.isclose(left, right, rtol=1e-12)

kernels.col2im(np.ones_like(columns), (3, 3), (1, 1), (1, 1), gathered)
print("number of copies of each pixel in the upper left corner:")
print(gathered[0, :4, :4].astype(int))

# %% [markdown]
# ## A network learns to read digits
# MNIST has digits that people wrote: 28 × 28 pixels, 0 is black paper and 1 is white
# ink. 5,000 digits are for training, 1,000 others for the test. LeNet (LeCun 1998) has
# two layers of 5 × 5 filters and three linear layers. The table shows them. The two
# layers of filters hold 4% of the numbers that are trained, and do 86% of the
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
# One run can be lucky, so a study trains the network from five random starts. It also
# trains a network without convolution, with one hidden layer and as many weights. That
# network makes more than twice as many mistakes.
#
# Then the test digits move: two pixels to the right and two down. The network without
# convolution reads only 36% of them, and LeNet 68%. A filter finds its pattern in every
# place, and a hidden unit knows its pattern in one place only. But LeNet falls as well,
# from 97% to 68%: the map moves with the digit, and the linear layers after the maps
# still depend on the place.

# %%
lenet_accuracy = study("02_convolution", "accuracy, lenet")
plain_accuracy = study("02_convolution", "accuracy, no convolution")
lenet_moved = study("02_convolution", "accuracy on moved digits, lenet")
plain_moved = study("02_convolution", "accuracy on moved digits, no convolution")

# %% [markdown]
# ## What does the network get wrong?
# These are the twelve test digits for which the network gave the true answer the
# smallest probability. Some of them are hard for people too.

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
# after training, the third row the change. Red is positive, blue is negative. The noise
# of the second row comes from the first row: it is the random start. What training adds
# is smooth. Filter 2, for example, has learned an edge, red below and blue above. Here
# the trained filter shows the edge too. In filters 3 and 4 the random start hides what
# training added.

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
# points: the next layers learn to work with random first filters, for each of the five
# starts. On the moved digits the accuracy falls further, from 68% to 62% (5.5 ± 3.6
# points).
#
# The second layer looks less like its start than the first one. This does not show that
# the second layer has more to learn: its start weights are 2.4 times smaller, since
# each filter sums 150 products instead of 25. Adam's steps are about as large in both
# layers, so the same steps change small weights more.

# %%
first_likeness = study("02_convolution", "likeness to the start, conv1")
second_likeness = study("02_convolution", "likeness to the start, conv2")
random_first = study("02_convolution", "accuracy, first layer random")
random_moved = study("02_convolution", "accuracy on moved digits, first layer random")

# %% [markdown]
# ## What to remember
# A convolution lays a small filter on every place of the image and sums products. The
# result is a feature map, and it is bright where the image fits the filter. The first
# layer of a network for photographs has learned filters for colours and edges. Before
# you say what a filter has learned, compare it with its random start: the filters of a
# small network for digits are mostly their start. `im2col` turns a convolution into one
# matrix product, and `col2im` brings the gradient back.

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
