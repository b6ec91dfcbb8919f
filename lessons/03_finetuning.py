# %% [markdown]
# # 03 Finetuning
# We have a network that is trained for one task. The new task is different but similar.
# What do we keep, what do we train, and how fast?
#
# Exercises: 03.1 layer_rates, 03.2 changed_arrays, 03.3 descend_quadratic,
# 03.4 largest_stable_lr.

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
# has 1.28 million photographs, and a training passes over all of them some hundred
# times.

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
# Graphics cards are far faster, and still need days. And a small task has too few
# images to train a network from scratch: in lesson 04 such a network is right on 45 of
# 100 photographs, a new head on 82.
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
# A frozen parameter gets no gradient and no step. Is that enough? The photographs pass
# once through the network in training mode, without any step. Then we compare all
# arrays with their copies.

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
# Block 15, the last convolution and the head shall learn. All layers below are frozen,
# so we compute their output once for each photograph, at 128×128 pixels. We take eight
# photographs of each group to learn from, and the others are the test.

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
    ylabel="share of 130 photographs",
    title="Finetuning the last block of the real network",
    log_x=True,
)
save(figure, "03_finetuning/rates", alt="Accuracy against the learning rate")
claim("a rate of 1 wrecks the network", new_task[-1] < 0.4, {"accuracy": new_task[-1]})

# %% [markdown]
# Up to a rate of 0.1 the new task does not suffer. It does not gain either: with 64
# photographs the head alone is as good. But the old answers get lost long before. At a
# rate of 1 everything is gone. The study repeats this with five draws of photographs.

# %%
alone = study("03_finetuning", "real: head alone")
careful = study("03_finetuning", "real: last block, rate 0.01")
wrecked = study("03_finetuning", "real: last block, rate 1")
kept = study("03_finetuning", "real: old answers kept, rate 0.1")

# %% [markdown]
# ## Why a large rate wrecks
# Near a minimum a loss looks like a bowl, $\frac{1}{2} x \cdot H x$. The matrix $H$,
# the Hessian, says how steep the bowl is. One step of gradient descent is
#
# $$x_{t+1} = x_t - \eta H x_t$$
#
# Along an eigenvector of $H$ with eigenvalue $\lambda$ the step multiplies $x$ by
# $1 - \eta \lambda$. So $x$ shrinks if $\eta < 2/\lambda$, and it grows above that. The
# steepest direction decides: the largest stable rate is $2/\lambda_{\max}$.

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
save(figure, "03_finetuning/bowl", alt="Descent in a bowl at three rates")
assert np.isclose(limit, 2 / np.linalg.eigvalsh(H).max())

# %% [markdown]
# ## What a large rate wrecks, and what it does not
# The study looks closer on a small network and made images. The network knows eight
# shapes. It learns four new shapes, all its layers are trained. The small rate is the
# best of five. With the large rate, 0.03, a network from scratch learns well. Each
# number is the mean of five seeds; guessing gives 0.25.

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
        "small rate",
        "large rate,\nstatistics\nkept",
        "large rate,\nstatistics\nadapt",
        "scratch",
    ],
    label="test accuracy",
    title="Four new shapes, all layers are trained",
)
save(figure, "03_finetuning/wrecked", alt="Accuracy at a small and a large rate")

# %% [markdown]
# Where the statistics are kept, the large rate wrecks the network: with 100 labels a
# class it is left at chance, far below scratch. Where they adapt, the large rate does
# no harm with 100 labels. With 5 labels it still costs much of what the network knew.
#
# Why? With kept statistics BatchNorm subtracts the *old* mean and divides by the *old*
# deviation. Large steps change the numbers that come into BatchNorm, and they no longer
# lie around the old mean. A unit whose numbers fall far below gives 0 after the ReLU
# for every image. Its gradient is 0, too, so the unit never comes back. Statistics that
# adapt keep the numbers centred and the units alive. The study counts the zeros:

# %%
before = study("03_finetuning", "similar, many: zeros after block 3, head alone")
dead = study("03_finetuning", "similar, many: zeros after block 3, statistics kept")
alive = study("03_finetuning", "similar, many: zeros after block 3, statistics adapt")

# %% [markdown]
# Half of the outputs of block 3 are zero before finetuning, as usual for a ReLU. With
# kept statistics nearly all are: the network is dead. To re-estimate the statistics
# afterwards does not bring it back.
#
# On the real network it is safer to keep the statistics. Those of sixteen photographs
# are noise: at the same rate of 0.1 the accuracy is lower in four of five draws.
#
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
# - *Similar task, few labels*: reuse wins by far, and the head alone is nearly as good
#   as all layers.
# - *Similar task, many labels*: the network from scratch has caught up.
# - *Far task*: the head alone is close to guessing, for the features ignore what the
#   task asks. All layers repair that if there are many labels. So it is true that a
#   farther task needs more layers.
# - But on this far task scratch is better still. Features that were trained to ignore
#   the texture are a worse start than random weights.
#
# ## Slower below
# Lower layers compute more general things, so they should move less. Each layer gets
# the rate of the layer above it times a decay $d$ (Howard and Ruder 2018). With $n$
# layers, the top one has the number $n - 1$ and the rate $\eta$:
#
# $$\eta_l = \eta \, d^{\,n - 1 - l}$$

# %%
eta, d, n = 0.01, 0.5, 5
rates_by_layer = layer_rates(n, eta, d)
print("from the input to the head:", ", ".join(f"{rate:g}" for rate in rates_by_layer))
assert np.allclose(rates_by_layer, [eta * d ** (n - 1 - layer) for layer in range(n)])

# %% [markdown]
# `param_groups` gives these rates to an optimizer.
#
# ## What to remember
# A new task gets a new head; the layers below are frozen or learn with a small rate.
# Freezing must include BatchNorm's statistics. A rate that suits a fresh network can
# wreck a trained one, above all where statistics are kept, and old answers get lost at
# rates that the new task does not mind. With few images train the head alone. The
# farther the new task and the more images there are, the more layers may learn, and on
# a task that the old one ignored, scratch can win.
#
# ## Try it
# - Finetune with `statistics=True` at a rate of 0.1. What do statistics of sixteen
#   photographs do to the accuracy?
# - Print `old_task` after one epoch instead of six. At which rate do the old answers go
#   first?
# - Change the bowl to `H = [[40, 1], [1, 1]]`. What happens to the largest stable rate,
#   and how long does the flat direction take now?
#
# ## Exercises
# `python -m lessons start 03` begins 03.1 `layer_rates`, 03.2 `changed_arrays`, 03.3
# `descend_quadratic` and 03.4 `largest_stable_lr`.
#
# ## Papers
# - Yosinski et al. 2014, How transferable are features in deep neural networks?
# - Ioffe and Szegedy 2015, Batch normalization: Accelerating deep network training by
#   reducing internal covariate shift.
# - Howard and Ruder 2018, Universal language model fine-tuning for text classification.
# - Tan and Le 2019, EfficientNet: Rethinking model scaling for convolutional neural
#   networks.
