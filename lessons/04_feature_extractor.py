# %% [markdown]
# # 04 Feature extractor
# The lecture calls it transfer learning: we use a trained network as a fixed function
# and train only a new head. How good is that, and how does it compare with training a
# network from scratch?
#
# Exercises: 04.1 standardise, 04.2 pca_projection, 04.3 probe_loss,
# 04.4 head_on_features.
#
# ## The network stays, a new head learns
# EfficientNet-Lite0 was trained on more than a million photographs of 1,000 classes. We
# take its last layer off, the *head*. What remains is *frozen*: nobody changes its
# weights. We put a new head in the old one's place and train only this head.

# %%
import time

import numpy as np

from lessons import PICTURES, study
from minidl.classroom.claims import claim
from minidl.data import load_picture
from minidl.figures import (
    bars_with_intervals,
    curves_with_bands,
    layers_diagram,
    photograph_map,
    photograph_strip,
    save,
)
from minidl.nn.models import imagenet_network, small_cnn
from minidl.train import Adam, fit, per_class_accuracy, predict
from minidl.train.schedules import cosine
from minidl.transfer import (
    linear_probe,
    pca_projection,
    photograph_features,
    standardise,
)
from minidl.transfer.features import probe_loss

# %%
zebra, _ = load_picture(PICTURES / "mammals" / "zebra.webp")  # (3, 224, 224)
layers = ["first\nlayer", "16 blocks", "last\nconvolution", "new\nhead"]
figure = layers_diagram(
    layers,
    {"feature extractor": ["new\nhead"]},
    image=zebra,
    title="A frozen network computes features, a new head learns from them",
)
save(
    figure,
    "04_feature_extractor/diagram",
    alt="Frozen layers, and a new head that learns",
)

# %% [markdown]
# ## 1,280 numbers for a photograph
# The last convolution gives 1,280 maps of 7×7 places. The mean of each map is one
# number, a *feature*. The head reads the 1,280 features $f$ and nothing else:
#
# $$z = W f + b$$
#
# In the old head $W$ has 1,000 rows, one for each class of ImageNet. A new head for
# eight groups has eight rows: 10,248 numbers with the biases. The features stay the
# same.

# %%
network = imagenet_network()
image = zebra[np.newaxis]  # (1, 3, 224, 224)
f = network.features(image).data  # (1, 1280)
old_head = network.layer("_fc")
W, b = old_head.weight.data, old_head.bias.data
z = f @ W.T + b  # (1, 1000)
print("photograph", image.shape, "-> features", f.shape, "-> logits", z.shape)
assert np.allclose(z, predict(network, image), atol=1e-3)

# %% [markdown]
# ## All photographs, once
# The network is frozen, so the features of a photograph never change. We compute them
# once for all photographs and keep them.
#
# Our task is new to the network: it knows "zebra" and "tiger", but it was never trained
# to answer "mammals" or "tools". We take the eight groups that have at least ten
# photographs. Eight photographs of each group are for training, the other 130 are for
# the test.

# %%
photographs = photograph_features()
sizes = np.bincount(photographs.labels)
chosen = [k for k in range(len(sizes)) if sizes[k] >= 10]
groups = [photographs.groups[k] for k in chosen]
rows = np.flatnonzero(np.isin(photographs.labels, chosen))
labels = np.searchsorted(chosen, photographs.labels[rows])  # 0 ... 7
features = photographs.features[rows]  # (194, 1280)
files = [photographs.files[row] for row in rows]

rng = np.random.default_rng(0)
train = np.concatenate(
    [rng.permutation(np.flatnonzero(labels == k))[:8] for k in range(8)]
)
test = np.setdiff1d(np.arange(len(labels)), train)
print("groups:", ", ".join(groups))
print(len(train), "photographs to learn from,", len(test), "for the test")

# %% [markdown]
# ## A picture of 1,280 dimensions
# First we bring all features to one scale. From each feature we subtract its mean $m$
# over the training photographs, and we divide by its standard deviation $s$:
#
# $$x = (f - m) / s$$
#
# The test photographs use the same $m$ and $s$. With their own mean, knowledge of the
# test would reach the head.
#
# Then we look for the two directions in which the points spread most (principal
# component analysis, Pearson 1901). They are the first two rows of $V^T$ in the
# singular value decomposition $X = U S V^T$. No label is used. We draw each photograph
# at its two coordinates.

# %%
X = standardise(
    features[train], features[train]
)  # (64, 1280), the mean of each column is 0
U, S, Vt = np.linalg.svd(X, full_matrices=False)
coordinates = X @ Vt[:2].T  # (64, 2)
in_library = pca_projection(X)
assert np.allclose(np.abs(coordinates), np.abs(in_library), atol=1e-6)  # signs are free

small = [load_picture(files[row], 64) for row in train]
images = np.stack([picture for picture, mask in small])
masks = np.stack([mask for picture, mask in small])
figure = photograph_map(
    images,
    {
        "by the network's features": in_library,
        "by the pixels": pca_projection(images.reshape(len(images), -1)),
    },
    masks,
    title="The training photographs along their two widest directions",
)
save(figure, "04_feature_extractor/map", alt="Photographs by features and by pixels")

# %% [markdown]
# By the features, animals lie together, and so do hand tools, instruments, and plants.
# By the pixels, large objects lie apart from small ones, and dark ones from bright
# ones. By the features too, groups overlap in two dimensions: two boats lie near the
# mammals. The head reads all 1,280 features.

# %% [markdown]
# ## The best head
# On fixed features a linear head is softmax regression. With the training features as
# rows of $F$, the right groups $y$, and a small weight decay $l_2$, we minimise
#
# $$P = \mathrm{softmax}(F W^T + b), \qquad
#   L = -\frac{1}{N} \sum_i \log P_{i, y_i} + \frac{l_2}{2} \|W\|^2$$
#
# With $W = 0$ each group gets 1/8 and the loss is $\log 8 = 2.08$. The loss is convex:
# there is no second, higher valley. Gradient descent walks down to the minimum.
# `linear_probe` finds the minimum by Newton's method.

# %%
W, b, l2 = np.zeros((8, 1280)), np.zeros(8), 0.1
losses = []
for _step in range(100):
    loss, grad_W, grad_b = probe_loss(W, b, X, labels[train], l2)
    W, b = W - 0.02 * grad_W, b - 0.02 * grad_b
    losses.append(loss)

start = time.perf_counter()
head = linear_probe(X, labels[train], l2)
seconds = time.perf_counter() - start
lowest, _, _ = probe_loss(head.weight.data, head.bias.data, X, labels[train], l2)
print(f"descent: {losses[0]:.2f} -> {losses[-1]:.3f}, Newton: {lowest:.3f}")
print(f"Newton's method took {seconds:.2f} s")
figure = curves_with_bands(
    np.arange(100),
    {"gradient descent": np.array(losses), "the minimum": np.full(100, lowest)},
    ylabel="loss",
    title="The head learns: one minimum, no layer below moves",
    log_y=True,
)
save(figure, "04_feature_extractor/descent", alt="The loss of the head falls")
assert np.isclose(losses[0], np.log(8)) and lowest < losses[-1]

# %% [markdown]
# The test photographs pass through the same scaling and the head. The groups differ in
# size: 48 test photographs are mammals, 3 are instruments. So we take the accuracy of
# each group, and then the mean of the eight, the *mean accuracy*. Guessing gives 1/8.

# %%
scaled = standardise(features[train], features[test]).astype(np.float32)
logits = predict(head, scaled)  # (130, 8)
of_groups = per_class_accuracy(logits, labels[test]).mean  # (8,)
accuracy_of_head = of_groups.mean()
answers = logits.argmax(axis=1)
wrong = np.flatnonzero(answers != labels[test])
print(f"{len(wrong)} of {len(test)} wrong, mean accuracy {accuracy_of_head:.2f}")
print(f"hardest group: {groups[of_groups.argmin()]}, {of_groups.min():.2f}")

shown = test[wrong[:8]]
pictures = [load_picture(files[row], 96)[0] for row in shown]
figure = photograph_strip(
    np.stack(pictures),
    [groups[answer] for answer in answers[wrong[:8]]],
    columns=4,
    title="Eight photographs and the head's wrong answers",
)
save(figure, "04_feature_extractor/wrong", alt="Photographs answered wrong")

# %% [markdown]
# Nine of ten photographs are right. The mean accuracy is lower, above all because of
# the vegetables: only four of ten are right, and five are taken for fruit.
#
# ## The same photographs from scratch
# Can a network learn this from the 64 photographs alone? We train a small network of
# three convolutions on them for 30 epochs, at 64×64 pixels. Its learning rate is the
# best of four.

# %%
pixels = np.stack([load_picture(path, 64)[0] for path in files])  # (194, 3, 64, 64)
lr, epochs = 3e-3, 30
rng = np.random.default_rng(1)
scratch = small_cnn(8, 3, (16, 32, 64), pool_after=(1, 2, 3), rng=rng)
start = time.perf_counter()
fit(
    scratch,
    (pixels[train], labels[train]),
    epochs=epochs,
    batch_size=16,
    optimizer=Adam(scratch.parameters(), lr=lr),
    schedule=cosine(lr, 0.0, epochs * len(train) // 16),
    rng=rng,
    progress=False,
)
seconds_of_scratch = time.perf_counter() - start
by_scratch = predict(scratch, pixels[test])
accuracy_of_scratch = per_class_accuracy(by_scratch, labels[test]).mean.mean()
print(f"from scratch: {accuracy_of_scratch:.2f} after {seconds_of_scratch:.1f} s")
print(f"new head:     {accuracy_of_head:.2f} after {seconds:.2f} s")
claim(
    "the head is better by 0.2",
    accuracy_of_head - accuracy_of_scratch > 0.2,
    {"head": accuracy_of_head, "scratch": accuracy_of_scratch},
)

# %% [markdown]
# One draw of photographs is not enough for a conclusion. The study repeats the
# comparison with five draws. It also trains the small network twice as long, with
# random flips and shifts, and it trains the same kind of head on the pixels (32×32),
# and on the features of a network with random weights. That network sees 112×112
# pixels.

# %%
keys = [
    "head on the features",
    "from scratch",
    "from scratch, twice as long with flips and shifts",
    "head on pixels",
    "head on an untrained network",
]
found = [study("04_feature_extractor", key) for key in keys]
labels_of_bars = [*keys[:2], "from scratch, longer", *keys[3:]]
save(
    bars_with_intervals(
        labels_of_bars,
        found,
        xlabel="mean accuracy of eight groups, 5 draws, 95% t-interval",
        title="Eight training photographs a group",
    ),
    "04_feature_extractor/compared",
    alt="Accuracy of the head on features against four other ways",
)

# %% [markdown]
# The mean accuracy of the new head is 0.82. That of both networks from scratch is 0.45.
# With the features of random weights it is 0.18, which cannot be told apart from
# guessing (0.125). So the training on other photographs makes the features good; the
# layers alone do not.
#
# The comparison is not quite fair. Others have paid for the training of the big
# network. You pay for the features, once for each photograph. And the small network
# sees fewer pixels, 64×64 instead of 224×224.
#
# ## How deep to look
# Each of the sixteen blocks gives maps as well. The study trains a head on the mean of
# each map, after six of the blocks. The last three bars are a control: three blocks of
# the network with random weights.

# %%
depths = [f"block {number}" for number in (0, 3, 6, 9, 12, 15)]
depths += [f"block {number}, untrained" for number in (0, 3, 15)]
found = [study("04_feature_extractor", f"head on {depth}") for depth in depths]
save(
    bars_with_intervals(
        depths,
        found,
        xlabel="mean accuracy of eight groups, 5 draws, 95% t-interval",
        title="A head after one of the blocks",
    ),
    "04_feature_extractor/depth",
    alt="Accuracy of a head by block, trained and untrained",
)

# %% [markdown]
# After the first block the head is no better than on the pixels (0.38). From there on
# the accuracy rises with depth; between blocks 12 and 15 no difference shows. With
# random weights the first blocks help a little too, 0.43 after block 3. But deeper the
# accuracy falls, and after block 15 it is near guessing.
#
# ## What to remember
# A trained network without its head is a fixed function from photographs to features.
# Because the network is frozen, you compute the features once. To train a linear head
# on them is a convex problem, which Newton's method solves in about a second or less.
# With eight photographs a group, the head is far better than a small network from
# scratch. Scale the features by the training photographs, never by the test.
#
# ## Try it
# - Draw two photographs a group instead of eight. How much do the new head
#   and the network from scratch lose?
# - Leave out `standardise` for training and test. Which `l2` does the head need now?
# - Sort the wrong answers by the largest probability. In which mistakes is the
#   head most sure?
#
# ## Exercises
# `python -m lessons start 04` begins 04.1 `standardise`, 04.2 `pca_projection`, 04.3
# `probe_loss` and 04.4 `head_on_features`.
#
# ## Papers
# - Pearson 1901, On lines and planes of closest fit to systems of points in space.
# - Donahue et al. 2013, DeCAF: A deep convolutional activation feature for generic
#   visual recognition.
# - Sharif Razavian et al. 2014, CNN features off-the-shelf: an astounding baseline for
#   recognition.
# - Tan and Le 2019, EfficientNet: Rethinking model scaling for convolutional neural
#   networks.
