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
# The old network cannot be used unchanged: its outputs belong to the old task. Training
# a new network from scratch takes long and needs many images. **Finetuning** lies
# between the two: it starts from the trained weights. This helps because the lower
# layers compute general things, such as edges and colours
# ([lesson 02](02_convolution.py)), which the new task needs too. The last layers belong
# more to the old task, so one trains the last layers first. The very last one, the
# *head*, turns features into the old classes, so a new task gets a new head. A *frozen*
# layer stays as it is. A *trained* layer learns from the new images.

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
print(f"{seconds:.2f} s for one photograph, {years:.1f} years for 100 passes")

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
# A frozen parameter gets no gradient and no step. This saves computation, and with few
# labels it prevents overfitting. But a frozen layer cannot adapt to the new task. Does
# the whole network then stay as it is? The photographs pass once through the network in
# training mode, without any step. Then we compare all arrays with their copies.

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
# every forward pass. `freeze` keeps these *statistics*, too. The difference is
# important below: statistics are *kept*, or they *adapt*.
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
    ylabel="accuracy, or share of answers kept",
    title="Finetuning the last block of the real network",
    log_x=True,
)
save(figure, "03_finetuning/rates", alt="New accuracy, and old answers kept, by rate")
claim(
    "at a rate of 1 the network fails", new_task[-1] < 0.4, {"accuracy": new_task[-1]}
)

# %% [markdown]
# Only the four points are measured; the lines connect them. The study repeats this with
# five draws of photographs. Up to a rate of 0.1 no change of the new accuracy shows:
# with 64 photographs the head alone is as good. But old answers get lost: 5% of them at
# a rate of 0.01, and 15% at 0.1. At a rate of 1 both tasks are lost. All five networks
# then give one group for every photograph, so their accuracy is exactly 1/8.

# %%
alone = "real: head alone"
study("03_finetuning", alone)
for rate in ("0.01", "0.1"):
    gain = study("03_finetuning", f"real: last block, rate {rate}", minus=alone)
failed = study("03_finetuning", "real: last block, rate 1")
for rate in ("0.01", "0.1"):
    kept = study("03_finetuning", f"real: old answers kept, rate {rate}")

# %% [markdown]
# ## A picture: steps that are too large
# Why can a large rate destroy what was learned? Here is one possible reason. Near a
# minimum a loss is close to a bowl, $\frac{1}{2} x \cdot H x$. The matrix $H$, the
# Hessian, says how steep the bowl is in each direction. With the learning rate $\eta$,
# one step of gradient descent is
#
# $$x_{t+1} = x_t - \eta H x_t$$
#
# Along an eigenvector of $H$ with eigenvalue $\lambda$ the step multiplies $x$ by
# $1 - \eta \lambda$. So $x$ shrinks if $\eta < 2/\lambda$, and it grows above that. The
# steepest direction decides: the largest stable rate is $2/\lambda_{\max}$. Perhaps the
# rate of 1 that failed above lies beyond this limit. We did not test that: nobody
# measured $\lambda_{\max}$ of the real network.

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
# The result first: a large rate does most harm where BatchNorm keeps its old
# statistics. Where the statistics adapt and labels are many, it does no harm.
#
# The study shows this on a small network and artificial images. The network knows eight
# shapes. It learns four new shapes, and all its layers are trained. Five rates from
# 0.0003 to 0.03 were tried, on other seeds than those of the study. The best one was
# 0.001 for finetuning and 0.01 from scratch. The large rate is 0.03. Each number is the
# mean of five seeds; guessing gives 0.25. The first column is the best that we found
# for finetuning: with 5 labels the statistics are kept, with 100 labels they adapt. So
# in the row of 5 labels compare it with the second column, and in the row of 100 labels
# with the third: there only the rate differs. From scratch the statistics adapt.

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
        "best rate 0.001,\n5: kept,\n100: adapt",
        "large rate\n0.03,\nkept",
        "large rate\n0.03,\nadapt",
        "from scratch\n0.01",
    ],
    label="test accuracy",
    title="Four new shapes, all layers are trained",
)
save(figure, "03_finetuning/wrecked", alt="Accuracy by rate, statistics and labels")

# %% [markdown]
# With kept statistics and 100 labels a class the large rate leaves the accuracy of
# guessing. With 5 labels it leaves no more than training from scratch reaches. With
# statistics that adapt it does no harm with 100 labels, and with 5 labels the accuracy
# is 0.68 instead of 0.94.
#
# Kept statistics belong to the old numbers: BatchNorm subtracts the *old* mean and
# divides by the *old* deviation. After large steps, and also on images of another
# domain, the numbers no longer lie around the old mean. So a poor accuracy can be the
# fault of the statistics, while the weights are good. Before you draw a conclusion,
# estimate the statistics again on the new images, and show both numbers. We also need a
# control: we estimate the statistics again in a network that was not harmed, and see
# what this alone costs.

# %%
harmed, control = "large rate, statistics kept", "head alone"
for way in (harmed, control):
    study("03_finetuning", f"similar, many: {way}")
    again = study("03_finetuning", f"similar, many: {way}, re-estimated")
for way in (control, "statistics kept", "statistics adapt"):
    zeros = study("03_finetuning", f"similar, many: zeros after block 3, {way}")
few = study("03_finetuning", "similar, few: zeros after block 3, statistics kept")

# %% [markdown]
# New statistics do not repair the harmed network: 0.26 before and after. The control,
# the network whose head alone was trained, keeps most of its accuracy (0.97 before,
# 0.91 after): new statistics alone cost 0.06. So here the weights are harmed, not only
# the statistics.
#
# The last four lines show what happens to them. The study counts the zeros among the
# outputs of block 3. Half of the outputs are zero before finetuning, as usual for a
# ReLU. At the large rate with kept statistics 99% are zero. If a channel is zero for
# every image, its gradient is zero as well, so the channel stays zero. Statistics that
# adapt keep the numbers centred, and 58% are zero. But the zeros do not explain the
# accuracy of 0.26: with 5 labels 99% are zero as well, and the accuracy is 0.48. The
# zeros are a sign of harm. What exactly is lost was not measured.
#
# And the real network? There statistics come from batches of sixteen photographs. At a
# rate of 0.1 the draws differ so much that kept and adapting statistics cannot be told
# apart: the difference is 0.08 ± 0.13.

# %%
kept = "real: last block, rate 0.1"
study("03_finetuning", kept)
gap = study("03_finetuning", kept, minus=f"{kept}, statistics adapt")

# %% [markdown]
# ## How similar is the task, and how many images are there?
# "The more the domains differ, the more layers have to be trained", says the lecture.
# The study compares two tasks. Four new shapes are *similar* to the eight known ones.
# Four textures are *far*: the network was trained to tell shapes apart whatever their
# texture. Both come with few labels (5 a class) or many (100). The control is a network
# from scratch with the same labels, the same 120 steps and its own best rate of five.
# With few labels the accuracy depends on which images are drawn: from scratch even the
# mean of five draws is only known to ± 0.09. So one run is not enough.

# %%
cases = ["similar, few", "similar, many", "far, few", "far, many"]
ways = ["head alone", "all layers", "from scratch"]
table = np.zeros((4, 3))
for row, case in enumerate(cases):
    for column, way in enumerate(ways):
        table[row, column] = study("03_finetuning", f"{case}: {way}").mean
study("03_finetuning", f"{cases[0]}: all layers", minus=f"{cases[0]}: head alone")
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
# - *Similar task, few labels*: the trained network is far better. The head alone is
#   nearly as good as all layers.
# - *Similar task, many labels*: the network from scratch is as good.
# - *Far task*: the head alone reaches 0.25 with few labels (guessing) and 0.38 with
#   many, because the features ignore the texture. Training all layers gives 0.97 with
#   many labels, but only 0.37 with few. So on this far task more layers have to be
#   trained, as the lecture says.
# - But on this far task training from scratch is better still. Features that ignore the
#   texture are a worse start than random weights (**negative transfer**). We made this
#   task so that it is hard for the old features; other far tasks can be easier.
#
# When does finetuning all layers pay here? With many labels it is clearly better than
# the head alone, but training from scratch is as good or better. With few labels of a
# similar task it gives 0.94 and the head alone 0.91; seed by seed the difference is
# 0.026 ± 0.036, so a gain is not established. So no case on this page needs finetuning.
# It is meant for the cases between them: too few labels for training from scratch, and
# enough to improve the features. We did not measure such a case.
#
# ## Smaller rates for lower layers
# The lower layers compute general things that the new task needs as well. Three things
# protect them: the new head is trained first, as above; the rate begins small (warmup,
# [lesson 08](08_warmup_smoothing_noise.py)); and lower layers get a smaller rate. (No
# number on this page tests the last idea.) Each layer gets the rate of the layer above
# it times a decay $d$ (Howard and Ruder 2018). With $n$ layers, the top layer has the
# number $n - 1$ and the rate $\eta$:
#
# $$\eta_l = \eta \, d^{\,n - 1 - l}$$
#
# For your own network, three functions of `minidl.transfer` do more of this work:
# `param_groups` gives an optimizer these rates, `gradual_unfreeze` frees one more layer
# each epoch, and `lr_sweep` measures the accuracy at several rates.

# %%
eta, d, n = 0.01, 0.5, 5
rates_by_layer = layer_rates(n, eta, d)
print("from the input to the head:", ", ".join(f"{rate:g}" for rate in rates_by_layer))
assert np.allclose(rates_by_layer, [eta * d ** (n - 1 - layer) for layer in range(n)])

# %% [markdown]
# ## What to remember
# A new task gets a new head. The layers below are frozen or learn with a small rate.
# Freezing must include BatchNorm's statistics. A large rate can destroy what a network
# has learned; in the small network it did so with kept statistics even when there were
# many labels. Old answers get lost at rates that do not change the new accuracy. With
# few images of a similar task train the head alone. The more the tasks differ, the more
# layers have to learn. If the old task taught the network to ignore what the new task
# asks, training from scratch can be better.
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
