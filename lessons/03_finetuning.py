# %% [markdown]
# # 03 Finetuning
# We have a network that is trained for one task. The new task is different but similar.
# What do we keep, what do we train, and how fast?
#
# Exercises: 03.1 descend_quadratic, 03.2 largest_stable_lr, 03.3 train_new_head,
# 03.4 finetune_step.

# %%
import copy
import time

import numpy as np

import minidl.nn.functional as F
from lessons import PICTURES, study
from minidl import nn
from minidl.classroom.claims import claim
from minidl.data import load_picture
from minidl.figures import curves_with_bands, heat_map, layers_diagram, save
from minidl.nn.models import imagenet_names, imagenet_network
from minidl.train import SGD, fit, per_class_accuracy, predict
from minidl.transfer import (
    freeze,
    linear_probe,
    photograph_features,
    replace_head,
    unfreeze,
)
from minidl.transfer.finetune import (
    changed_arrays,
    descend_quadratic,
    largest_stable_lr,
    layer_rates,
)

# %% [markdown]
# ## Four ways to a new task
# The lower layers of a network compute general things, such as edges and fur. The last
# layer, the *head*, turns such features into the classes of the old task. So a new task
# gets a new head. A *frozen* layer stays as it is. A *trained* layer learns from the
# new images.

# %%
layers = ["first layers", "block 15", "last\nconvolution", "new head"]
figure = layers_diagram(
    layers,
    {
        "From scratch: nothing is reused": layers,
        "Head alone: the network is a feature extractor (lesson 04)": layers[3:],
        "Finetuning the last block": layers[1:],
        "Finetuning all layers, from the trained weights": layers,
    },
    title="Which layers learn the new task?",
)
save(figure, "03_finetuning/ways", alt="Which layers are frozen and which learn")

# %% [markdown]
# ## From scratch is long
# "From scratch: possible, but long and costly", says the lecture. How long? We measure
# one gradient of the real network, EfficientNet-Lite0, for two photographs. ImageNet
# has 1.28 million photographs, and a training passes over all of them about 100 times.

# %%
network = unfreeze(imagenet_network(), statistics=False)
zebra, _ = load_picture(PICTURES / "mammals" / "zebra.webp")
tiger, _ = load_picture(PICTURES / "mammals" / "tiger.webp")
two = np.stack([zebra, tiger])  # (2, 3, 224, 224)
right = np.array([imagenet_names().index(name) for name in ("zebra", "tiger")])
for _repeat in range(2):  # the first call may compile
    start = time.perf_counter()
    F.cross_entropy(network(two), right).backward()
    seconds = (time.perf_counter() - start) / 2
years = seconds * 1.28e6 * 100 / (3600 * 24 * 365)
print(f"{seconds:.2f} s a photograph: {years:.1f} years for 100 passes")

# %% [markdown]
# Graphics cards are far faster. But a small task also has too few images to train a
# network from scratch. In lesson 04 a small network from scratch reaches an accuracy of
# 0.45, and a new head on this real network reaches 0.82. (Lesson 04 uses
# larger photographs and scales the features, so its numbers differ from those below.)
#
# ## A new head
# Our new task: eight groups of photographs, such as birds, tools, or vehicles. The old
# head gives 1,000 logits, the new one gives 8. The features below the head do not
# change.

# %%
network = imagenet_network()
features = network.features(two).data
old_head = network.layer("_fc")
new_head = replace_head(network, 8, np.random.default_rng(0), head="_fc")
print(old_head, "->", new_head)
assert np.array_equal(network.features(two).data, features)

# %% [markdown]
# ## What frozen means
# A frozen parameter gets no gradient and no step. Does the whole network then stay as
# it is? The photographs pass once through the network in training mode, without any
# step. Then we compare all arrays with their copies.

# %%
network = imagenet_network()  # each of its parameters has requires_grad = False
before = network.state_dict()
network.train()(two)
moved = changed_arrays(before, network.state_dict())
print(len(moved), "arrays changed, such as", moved[0])

network.load_state_dict(before)
freeze(network)
network.train()(two)
print(len(changed_arrays(before, network.state_dict())), "arrays changed after freeze")
assert len(moved) == 3 * 49  # mean, variance and count of 49 BatchNorm layers

# %% [markdown]
# BatchNorm is the reason. In training mode it updates its running mean and variance in
# every forward pass. `freeze` keeps these *statistics*, too. Remember the difference,
# we need it below: statistics are *kept*, or they *adapt*.
#
# ## Finetuning the last block
# Block 15, the last convolution and the head will be trained. All layers below are
# frozen, so we compute their output once for each photograph, at 128×128 pixels. We
# take eight photographs of each group to learn from, and the others are the test.

# %%
photographs = photograph_features()
sizes = np.bincount(photographs.labels)
chosen = [k for k in range(len(sizes)) if sizes[k] >= 10]  # eight groups
rows = np.flatnonzero(np.isin(photographs.labels, chosen))
labels = np.searchsorted(chosen, photographs.labels[rows])
images = np.stack([load_picture(photographs.files[row], 128)[0] for row in rows])

# %%
network = imagenet_network()
blocks = network.layer("_blocks").children()
bottom = [
    network.layer(n) for n in ("preprocess", "_pad", "_conv_stem", "_bn0", "_relu0")
]
top = [network.layer(name) for name in ("_conv_head", "_bn1", "_relu1")]
below = nn.Sequential(*bottom, *blocks[:15])
above = nn.Sequential(blocks[15], *top, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
maps = predict(below, images, batch_size=16)  # (194, 192, 4, 4)

rng = np.random.default_rng(0)
train = np.concatenate(
    [rng.permutation(np.flatnonzero(labels == k))[:8] for k in range(8)]
)
test = np.setdiff1d(np.arange(len(labels)), train)
features = predict(above, maps)  # (194, 1280)
head = linear_probe(features[train], labels[train], l2=0.01)
start_accuracy = per_class_accuracy(
    predict(head, features[test]), labels[test]
).mean.mean()
print(f"the head alone: {start_accuracy:.2f}, the mean accuracy of the groups")

# %% [markdown]
# From this head we finetune with four learning rates: six epochs of gradient descent
# with momentum, in batches of 16. BatchNorm keeps its statistics. After each run we
# measure two things. How well does the network tell the new groups apart? And if we put
# the *old* head back, does it still give the old answers?

# %%
rates = [0.001, 0.01, 0.1, 1.0]
old_answers = predict(old_head, features[test]).argmax(axis=1)  # of 1,000 names
new_task, old_task = [], []
for lr in rates:
    model = nn.Sequential({"above": copy.deepcopy(above), "head": copy.deepcopy(head)})
    unfreeze(model, statistics=False)
    fit(
        model,
        (maps[train], labels[train]),
        epochs=6,
        batch_size=16,
        optimizer=SGD(model.parameters(), lr=lr, momentum=0.9),
        rng=np.random.default_rng(0),
        progress=False,
    )
    moved = predict(model.layer("above"), maps[test])
    groups = per_class_accuracy(predict(model.layer("head"), moved), labels[test])
    new_task.append(groups.mean.mean())
    old_task.append(np.mean(predict(old_head, moved).argmax(axis=1) == old_answers))

# %%
figure = curves_with_bands(
    rates,
    {
        "new groups: accuracy": np.array(new_task),
        "old answers that are kept": np.array(old_task),
        "head alone: accuracy": np.full(4, start_accuracy),
    },
    xlabel="learning rate",
    ylabel="accuracy, or share kept",
    title="Finetuning the last block of the real network",
    log_x=True,
)
save(figure, "03_finetuning/rates", alt="New accuracy, and old answers kept, by rate")
claim("a rate of 1 wrecks the network", new_task[-1] < 0.4, {"accuracy": new_task[-1]})

# %% [markdown]
# Up to a rate of 0.1 the new task does not suffer. It does not gain either: with 64
# photographs the head alone is as good. But the old answers suffer: at 0.01 about 5% of
# them are lost, at 0.1 about 15%. At a rate of 1 both tasks are lost. The study repeats
# this with five draws of photographs.

# %%
alone = study("03_finetuning", "real: head alone")
careful = study("03_finetuning", "real: last block, rate 0.01")
wrecked = study("03_finetuning", "real: last block, rate 1")
for rate in ("0.01", "0.1"):
    kept = study("03_finetuning", f"real: old answers kept, rate {rate}")

# %% [markdown]
# ## A picture: steps that are too large
# Why can a large rate destroy what was learned? A simple picture shows one possible
# reason. Near a minimum a loss looks like a bowl, $\frac{1}{2} x \cdot H x$. The matrix
# $H$, the Hessian, says how steep the bowl is. One step of gradient descent is
#
# $$x_{t+1} = x_t - \eta H x_t$$
#
# Along an eigenvector of $H$ with eigenvalue $\lambda$ the step multiplies $x$ by
# $1 - \eta \lambda$. So $x$ shrinks if $\eta < 2/\lambda$, and it grows above that. The
# steepest direction decides: the largest stable rate is $2/\lambda_{\max}$.
#
# This is a picture, not a proof. We do not measure $\lambda_{\max}$ of the real
# network. And with the momentum of 0.9 that we used above, the limit is
# $2 \, (1 + 0.9) / \lambda_{\max}$.

# %%
H = np.array([[4.0, 1.0], [1.0, 1.0]])
limit = largest_stable_lr(H)
walks = {}
for factor in (0.5, 0.95, 1.05):
    x = descend_quadratic(H, start=np.array([1.0, 1.0]), lr=factor * limit, steps=30)
    walks[f"{factor} of 2/λmax"] = np.linalg.norm(x, axis=1)
figure = curves_with_bands(
    np.arange(31),
    walks,
    ylabel="distance from the minimum",
    title=f"Gradient descent in a bowl, 2/λmax = {limit:.2f}",
    log_y=True,
)
save(figure, "03_finetuning/bowl", alt="Distance shrinks at two rates, grows at one")
assert np.isclose(limit, 2 / np.linalg.eigvalsh(H).max())

# %% [markdown]
# ## What a large rate wrecks, and what it does not
# The study looks closer on a small network and artificial images. The network knows
# eight shapes. It learns four new shapes, and all its layers are trained. The study
# tries five rates, from 0.0003 to 0.03, for finetuning and for a network from scratch.
# On this task 0.001 is best for finetuning, and 0.01 from scratch. The large rate is
# 0.03. Each number is the mean of five seeds; guessing gives 0.25.

# %%
ways = ["all layers", "large rate, statistics kept", "large rate, statistics adapt"]
ways.append("from scratch")
table = np.zeros((2, 4))
for row, case in enumerate(("similar, few", "similar, many")):
    for column, way in enumerate(ways):
        table[row, column] = study("03_finetuning", f"{case}: {way}").mean
figure = heat_map(
    table,
    ["5 labels a class", "100 labels a class"],
    [
        "0.001, the\nbest rate",
        "0.03,\nstatistics\nkept",
        "0.03,\nstatistics\nadapt",
        "from scratch,\n0.01",
    ],
    label="test accuracy",
    title="Four new shapes, all layers are trained",
)
save(figure, "03_finetuning/wrecked", alt="Accuracy by rate, statistics and labels")

# %% [markdown]
# In the first column the statistics are those that were best for it: kept with 5 labels
# a class, and adapting with 100. In the last column they adapt.
#
# Where the statistics are kept, the large rate wrecks the network. With 100 labels a
# class its accuracy is that of guessing, far below scratch. With 5 labels it is no
# better than scratch. Where the statistics adapt, the large rate does no harm with 100
# labels. With 5 labels it costs accuracy: 0.68 instead of 0.94.
#
# A likely reason: with kept statistics BatchNorm subtracts the *old* mean and divides
# by the *old* deviation. Large steps change the numbers that come into BatchNorm, and
# they no longer lie around the old mean. Where all numbers of a channel fall far below
# it, the ReLU gives 0 for every image. Then the gradient of this channel is 0, too, and
# it cannot come back. Statistics that adapt keep the numbers centred. The study counts
# the zeros among all outputs of block 3, with 100 labels a class and with 5:

# %%
before = study("03_finetuning", "similar, many: zeros after block 3, head alone")
dead = study("03_finetuning", "similar, many: zeros after block 3, statistics kept")
alive = study("03_finetuning", "similar, many: zeros after block 3, statistics adapt")
few = study("03_finetuning", "similar, few: zeros after block 3, statistics kept")
large = "similar, many: large rate, statistics kept"
again = study("03_finetuning", f"{large}, re-estimated")
control = study("03_finetuning", "similar, many: head alone, re-estimated")

# %% [markdown]
# Half of the outputs are zero before finetuning, as usual for a ReLU. With kept
# statistics 99% are zero. But the count alone does not explain the accuracy. With 5
# labels a class 99% are zero, too, and the accuracy is 0.48, not 0.26. Can new
# statistics repair the network? The study estimates them again on the training images,
# after finetuning. The accuracy stays at guessing: 0.26. As a control, the same is done
# to the network whose head alone was trained. It keeps most of its accuracy: 0.91 of
# 0.97.
#
# And the real network? There statistics come from batches of sixteen photographs. At a
# rate of 0.1 the study finds a lower mean accuracy if they adapt, but the draws differ
# so much that the two ways cannot be told apart: the difference is 0.08 ± 0.13.

# %%
kept = study("03_finetuning", "real: last block, rate 0.1")
adapt = study("03_finetuning", "real: last block, rate 0.1, statistics adapt")

# %% [markdown]
# ## How similar is the task, and how many images are there?
# "The more the domains differ, the more layers have to be trained", says the lecture.
# The study compares two tasks. Four new shapes are *similar* to the eight known ones.
# Four textures are *far*: the network was trained to tell shapes apart whatever their
# texture. Both come with few labels (5 a class) or many (100). Finetuning and scratch
# have the same 120 steps, and each has the best rate of five.

# %%
cases = ["similar, few", "similar, many", "far, few", "far, many"]
ways = ["head alone", "all layers", "from scratch"]
table = np.zeros((4, 3))
for row, case in enumerate(cases):
    for column, way in enumerate(ways):
        table[row, column] = study("03_finetuning", f"{case}: {way}").mean
figure = heat_map(
    table,
    [
        "similar, few labels",
        "similar, many labels",
        "far, few labels",
        "far, many labels",
    ],
    ways,
    xlabel="what is trained",
    label="test accuracy",
    title="When is reuse worth it?",
)
save(figure, "03_finetuning/similar_or_far", alt="Which layers to train on which task")

# %% [markdown]
# - *Similar task, few labels*: reuse wins by far. The head alone is nearly as good as
#   all layers.
# - *Similar task, many labels*: the network from scratch has caught up.
# - *Far task*: the head alone is poor, 0.25 with few labels (guessing) and 0.38 with
#   many, for the features ignore what the task asks. Training all layers repairs that
#   with many labels, and hardly with few (0.37). So on this far task more layers have
#   to be trained, as the lecture says.
# - But on this far task scratch is better still. Features that were trained to ignore
#   the texture are a worse start than random weights. We made this task so that it is
#   hard for the old features; other far tasks can be kinder.
#
# ## Slower below
# The lower layers compute general things that the new task needs as well. So one idea
# is to let them move less. (The study does not test this idea.) Each layer gets the
# rate of the layer above it times a decay $d$ (Howard and Ruder 2018). With $n$ layers,
# the top layer has the number $n - 1$ and the rate $\eta$:
#
# $$\eta_l = \eta \, d^{\,n - 1 - l}$$

# %%
eta, d, n = 0.01, 0.5, 5
rates_by_layer = layer_rates(n, eta, d)
print("from the input to the head:", ", ".join(f"{rate:g}" for rate in rates_by_layer))
assert np.allclose(rates_by_layer, [eta * d ** (n - 1 - layer) for layer in range(n)])

# %% [markdown]
# ## What to remember
# A new task gets a new head. The layers below are frozen or learn with a small rate.
# Freezing must include BatchNorm's statistics. A large rate can wreck a trained
# network; in the small network it did so with kept statistics even when there were many
# labels. Old answers get lost at rates that the new task does not mind. With few images
# of a similar task train the head alone. With many images more layers may learn. On a
# task that the old one taught the network to ignore, scratch can win.
#
# ## Try it
# - Finetune with `statistics=True` at a rate of 0.1. What do statistics of sixteen
#   photographs do to the accuracy?
# - Finetune for one epoch instead of six. How many of the old answers are kept at each
#   rate?
# - Change the bowl to `H = [[40, 1], [1, 1]]`. What happens to the largest stable rate,
#   and how long does the flat direction take now?
#
# ## Exercises
# `python -m lessons start 03` begins 03.1 `descend_quadratic`, 03.2
# `largest_stable_lr`, 03.3 `train_new_head` and 03.4 `finetune_step`.
#
# ## Papers
# - Yosinski et al. 2014, How transferable are features in deep neural networks?
# - Ioffe and Szegedy 2015, Batch normalization: Accelerating deep network training by
#   reducing internal covariate shift.
# - Howard and Ruder 2018, Universal language model fine-tuning for text classification.
# - Tan and Le 2019, EfficientNet: Rethinking model scaling for convolutional neural
#   networks.
