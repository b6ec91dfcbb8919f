# %% [markdown]
# # 12 Pruning
# A trained network has more filters and more weights than it needs. Which ones can be
# removed, how many, and how do we find them? And what is saved: bytes or work?
#
# Exercises: 12.1 filter_norms, 12.2 filter_mask, 12.3 joint_magnitude_masks,
# 12.4 ablation_scores, 12.5 iterative_prune.

# %%
import copy

import numpy as np

from lessons import PICTURES, study
from minidl import figures
from minidl.classroom.claims import claim
from minidl.compress import masks, scores
from minidl.compress.flow import cost
from minidl.compress.masks import apply_masks, filter_mask
from minidl.compress.prune import accepted_steps
from minidl.compress.removal import remove_masked_filters
from minidl.data import load_picture
from minidl.engine.reduce import stable_softmax
from minidl.figures import save
from minidl.figures.pruning import norm_histograms, pruning_loop
from minidl.nn.models import imagenet_names, imagenet_network
from minidl.train import Adam, evaluate, fit, predict
from minidl.train.networks import digits_network, digits_split
from minidl.train.statistics import match_statistics, reestimate_statistics

# %% [markdown]
# ## The filters, ranked
# The first layer of the real network, EfficientNet-Lite0, has 32 filters. The simplest
# rule is called *low magnitude pruning*: a filter with small weights contributes little
# to the answer. The measure is the L1 norm (Li et al. 2017), the sum of the absolute
# weights of filter $o$:
#
# $$\|w_o\|_1 = \sum_i |w_{o,i}|$$
#
# Here are the 32 filters, the smallest norm first, each with the map that the filter
# makes of a koala. (The koala is mirrored, so that its head is not under the filter.)

# %%
network, names = imagenet_network(), imagenet_names()
koala = load_picture(PICTURES / "marsupials" / "koala.webp")[0][np.newaxis]
w = network.layer("_conv_stem").weight.data  # (32, 3, 3, 3)
norm = np.abs(w).sum(axis=(1, 2, 3))  # (32,)
assert np.allclose(norm, scores.filter_norms(w))

ranked = np.argsort(norm)
maps = predict(network[:5], koala[:, :, :, ::-1])[0]  # (32, 112, 112), mirrored
titles = [f"{norm[o]:.1f}" for o in ranked]
figure = figures.filters_and_maps(w[ranked], maps[ranked], titles, 8, title="L1 norms")
save(figure, "12_pruning/ranked", alt="32 filters with their maps, four are empty")

# %% [markdown]
# The first four filters are dead: their norm is almost 0, and their maps are empty.
# What does the network say without the 8 filters of the first row? Half of them are
# dead, so we also ask without the 8 lowest of those that are *alive*. And what does the
# network say without the 8 of the last row?

# %%
without_first, without_live, without_last = (copy.deepcopy(network) for _ in range(3))
live = np.where(norm < 1, 100, norm)  # a high number: the dead filters stay
apply_masks(without_first, {"_conv_stem": filter_mask(norm, amount=8)}, koala)
apply_masks(without_live, {"_conv_stem": filter_mask(live, amount=8)}, koala)
apply_masks(without_last, {"_conv_stem": filter_mask(-norm, amount=8)}, koala)


def likeliest(model):
    p = stable_softmax(predict(model, koala))[0]
    return [(names[i], float(p[i])) for i in np.argsort(-p)[:3]]


models = (network, without_first, without_live, without_last)
answers = [likeliest(model) for model in models]
titles = ["all 32", "without 8 lowest", "without 8 lowest alive", "without 8 highest"]
figure = figures.answers_picture(np.repeat(koala, 4, 0), titles, answers, columns=2)
save(figure, "12_pruning/koala", alt="A koala and the answers of four networks")

# %% [markdown]
# Without the 8 filters of the lowest norms the answer does not change. But four of them
# were dead. Without 8 living filters the answer is wrong, whether their norms are the
# lowest or the highest. Is a small norm a good reason at all? And can the last network
# really not recognise a koala? This page answers both questions.

# %% [markdown]
# ## What a mask does
# `filter_mask` returns True for each filter that stays. `apply_masks` sets the others
# to 0 and keeps them at 0 when the network is trained further. A filter is more than
# its weights. Its output $y$ goes through a BatchNorm:
#
# $$z = \gamma\, \frac{y - \mu}{\sigma} + \beta$$
#
# If only the weights become 0, then $z = \beta - \gamma \mu / \sigma$, and that is not
# 0. So the weights and the bias of the filter become 0, and also $\gamma$ and $\beta$.
# We do this by hand to a small network that reads digits of 8×8 pixels.

# %%
training, held_out, test = digits_split()
digits = digits_network(0)  # three convolutions of 16, 32 and 64 filters
keep = filter_mask(scores.filter_norms(digits.layer("block1.conv")), amount=0.25)

quarter = copy.deepcopy(digits)
quarter.layer("block1.conv").weight.data[~keep] = 0  # w, 4 filters of 16; no bias here
quarter.layer("block1.bn").weight.data[~keep] = 0  # gamma
quarter.layer("block1.bn").bias.data[~keep] = 0  # beta
by_library = apply_masks(copy.deepcopy(digits), {"block1.conv": keep})
assert np.array_equal(predict(by_library, test[0]), predict(quarter, test[0]))
accuracy = [evaluate(model, *test).accuracy for model in (digits, quarter)]
print(f"whole {accuracy[0]:.2f}, without a quarter of block 1 {accuracy[1]:.2f}")

# %% [markdown]
# ## First repair the statistics
# Four filters of 16 seem to cost 60 points of accuracy. But most of this cost says
# nothing about the four filters. $\mu$ and $\sigma$ of each BatchNorm are *running
# statistics*: they were measured during training, behind all 16 filters. Now block 2
# reads other numbers, so its $\mu$ and $\sigma$ no longer fit. We measure them anew on
# the training images. That needs no labels, and no weight changes.

# %%
repaired, control = copy.deepcopy(quarter), copy.deepcopy(digits)
for model in (repaired, control):
    reestimate_statistics(model, training[0])
old, new = digits.layer("block2.bn"), repaired.layer("block2.bn")
moved = np.abs(new.running_mean - old.running_mean) / np.sqrt(old.running_var)
print(f"means in block 2 moved by up to {moved.max():.2f} of their sigma")
print(f"masked: {evaluate(quarter, *test).accuracy:.2f} right")
print(f"masked and re-estimated: {evaluate(repaired, *test).accuracy:.2f}")
print(f"control, whole and re-estimated: {evaluate(control, *test).accuracy:.2f}")

# %% [markdown]
# After the repair the four filters cost 4 points and not 60. The control shows that the
# repair costs the whole network nothing. So the comparisons on this page show two
# numbers: *as masked* (no repair) and *re-estimated*. A study measures them on six
# networks.

# %% [markdown]
# ## Four rules
# **1. The norm.** Mask the filters with the lowest norms, the same share of each layer.
#
# **2. Mean and deviation.** The distribution of the norms in a layer decides how many
# filters are masked. A filter stays if its norm is high enough:
#
# $$\|w_o\|_1 > \mathrm{mean} + s \cdot \mathrm{std}$$

# %%
layers = scores.filter_layers(digits)  # block1.conv, block2.conv, block3.conv
norms = {layer: scores.filter_norms(digits.layer(layer)) for layer in layers}
figure = norm_histograms(norms, s=(-0.5,))
save(figure, "12_pruning/norms", alt="Norms of three layers, with a threshold each")

norm_1 = norms["block1.conv"]
stays = norm_1 > norm_1.mean() - 0.5 * norm_1.std()
assert np.array_equal(stays, filter_mask(norm_1, s=-0.5))

# %% [markdown]
# **3. Masking, or *ablation* (to take away a part).** Mask one filter, measure how much
# the loss $L$ on held-out images rises, and put the filter back. Then mask the filters
# for which the loss rises least:
#
# $$\mathrm{score}_o = L(\text{filter } o \text{ masked}) - L$$
#
# This asks the question directly. But each filter costs one pass over the held-out
# images, here 16 passes for one layer, and one more for $L$.
#
# **4. Others.** The rule of Taylor (Molchanov et al. 2017) multiplies each channel by a
# number $m_o = 1$ and asks the gradient what a smaller $m_o$ would do. Where a
# BatchNorm makes the channel, the slope follows from the gradients of $\gamma$ and
# $\beta$:
#
# $$\mathrm{score}_o = \left| \frac{\partial L}{\partial m_o} \right| = \left| \gamma_o
#   \frac{\partial L}{\partial \gamma_o} + \beta_o \frac{\partial L}{\partial \beta_o}
#   \right|$$
#
# One pass forward and back scores all filters of a layer. *Random* choice is the
# control: a rule should beat it.

# %%
L = evaluate(digits, *held_out).loss
score = np.zeros(16)
for o in range(16):
    masked = copy.deepcopy(digits)
    apply_masks(masked, {"block1.conv": np.arange(16) != o})
    score[o] = evaluate(masked, *held_out).loss - L
assert np.allclose(score, scores.ablation_scores(digits, "block1.conv", *held_out))
slope = scores.taylor_scores(digits, "block1.conv", *held_out)  # |dL/dm|
print(f"ablation: the loss rises by {score.min():.2f} to {score.max():.2f}")
print(f"Taylor: the slopes are {slope.min():.4f} to {slope.max():.4f}")

# %% [markdown]
# ## Which rule is best in the first layer?
# Each rule masks a quarter of the filters of block 1, in six networks. Each is tested
# as masked and re-estimated.

# %%
rules, repairs = ("norm", "ablation", "Taylor", "random"), ("as masked", "re-estimated")


def bars(what, cases, title):
    # the study's numbers with these names, as bars
    found = [study("12_pruning", f"{what}{case}") for case in cases]
    words = {"xlabel": "mean and 95% interval, n = 6", "title": title}
    return figures.bars_with_intervals(cases, found, **words, share=True)


four = [f"{rule}, {repair}" for rule in rules for repair in repairs]
title = "Test accuracy, a quarter of block 1 masked"
figure = bars("digits: a quarter of block 1, ", four, title)
save(figure, "12_pruning/block1", alt="Far apart as masked, alike when re-estimated")
quarter_of = "digits: a quarter of block 1, "
for way in repairs:
    a, b = f"{quarter_of}ablation, {way}", f"{quarter_of}norm, {way}"
    study("12_pruning", a, minus=b)  # the difference, network by network
half = [study("12_pruning", f"digits: half of block 1, norm, {way}") for way in repairs]
rank = study("12_pruning", "digits: rank correlation of ablation and norm, block 1")

# %% [markdown]
# As masked, ablation is better than the norm: 0.72 against 0.47. Both rules prune the
# same six networks, so we look at the difference in each network. It is 0.25 ± 0.17.
# Re-estimated, it is only 0.020 ± 0.015. Most of the difference came from statistics
# that no longer fit. The norm has 0.95 and does not beat random choice, which has 0.96.
#
# Why does the norm not help? A BatchNorm divides by $\sigma$. If all weights of a
# filter are halved, $y$, $\mu$ and $\sigma$ are halved too, and $z$ stays as it is.
# Behind a BatchNorm the size of a filter says little. What counts there are $\gamma$
# and $\beta$. Over six networks the ranks by norm and by ablation do not go together:
# their correlation is −0.06 ± 0.36.
#
# The repair matters more than the rule. Without half of block 1, by norm, the accuracy
# is 0.16 as masked and 0.86 re-estimated.
#
# ## Which rule is best in the last layer?

# %%
title = "Test accuracy, half of block 3 masked"
figure = bars("digits: half of block 3, ", four, title)
save(figure, "12_pruning/block3", alt="Random choice and the norm beat ablation")

# %% [markdown]
# In the last layer random choice (0.97) beats ablation and Taylor (both 0.87). The
# repair changes little here, because no other BatchNorm reads this layer. So what does
# the network lose? We count the right answers of each digit.

# %%
ablation = scores.ablation_scores(digits, "block3.conv", *held_out)
taylor = scores.taylor_scores(digits, "block3.conv", *held_out)
chance = scores.random_scores(digits.layer("block3.conv"), np.random.default_rng(0))
print("share right of each digit:", *(f"{digit:4}" for digit in range(10)))
for rule, values in (("ablation", ablation), ("Taylor", taylor), ("random", chance)):
    masked = copy.deepcopy(digits)
    apply_masks(masked, {"block3.conv": filter_mask(values, amount=0.5)})
    reestimate_statistics(masked, training[0])
    right = predict(masked, test[0]).argmax(axis=1) == test[1]
    shares = [right[test[1] == digit].mean() for digit in range(10)]
    print(f"{rule:26}", *(f"{share:.2f}" for share in shares))

# %% [markdown]
# After ablation this network reads hardly any 3, and after Taylor none. Random choice
# loses some of the 9s, but no digit as a whole. Why do the rules lose the 3? We look at
# the filters that ablation masks, one by one and together.

# %%
lost = ~filter_mask(ablation, amount=0.5)
features = predict(digits[:-1], held_out[0][held_out[1] == 3]).mean(axis=0)  # (64,)
for_3 = np.maximum(digits.layer("head").weight.data[3] * features, 0)
print(f"the loss rises by at most {ablation[lost].max():.3f} if one of them is masked")
print(f"together they carry {for_3[lost].sum() / for_3.sum():.0%} of the logit of a 3")
what, by_steps = "digits: half of block 3, ", "ablation in 4 steps, "
for case in ("ablation, the 3s", by_steps + "the 3s", by_steps + "re-estimated"):
    study("12_pruning", what + case)
gain = study("12_pruning", what + case, minus=f"{what}random, re-estimated")

# %% [markdown]
# Many filters raise the logit of the 3. The network works without any single one of
# them, so each has a low score. But then they are all masked together, and with them
# 92% of what raises the logit of a 3. A score of a single filter does not see this. The
# study's six networks lose the 3 as well: they read 0.10 ± 0.17 of the 3s.
#
# The remedy is to prune in steps: mask a quarter of these filters, and score the others
# again. In four steps ablation keeps 98% of the 3s and an accuracy of 0.98. That is
# 0.011 ± 0.010 more than random choice. The lecture's loop, below, goes in steps too.
#
# ## Does each layer's own threshold help?
# The rule of mean and deviation, with $s = -1/2$, masks about a third of the filters.

# %%
for rule in ("mean - std/2", "same share", "same numbers, random"):
    study("12_pruning", f"digits: {rule}, re-estimated")

# %% [markdown]
# "Same share" masks the same number of filters by norm, but the same share of each
# layer. The two rules are alike here, 0.71 and 0.70: the distributions have similar
# shapes, so each layer loses about the same share. Random choice of as many filters has
# 0.79 ± 0.05, inside the interval of 0.71 ± 0.15. So the rule gains nothing here. It is
# made for layers in which some norms are far below the others. These layers have none.
# EfficientNet's first layer has four: see "Try it".
#
# ## Which layers can lose most?
# We prune one layer at a time by norm, more and more, and re-estimate the statistics.

# %%
shares, curves = np.arange(8) / 8, {}
for layer in layers:
    accuracies = []
    for share in shares.tolist():
        masked = copy.deepcopy(digits)
        apply_masks(masked, {layer: filter_mask(norms[layer], amount=share)})
        reestimate_statistics(masked, training[0])
        accuracies.append(evaluate(masked, *test).accuracy)
    curves[f"{layer}, {len(norms[layer])} filters"] = np.array(accuracies)
    print(f"{layer}: {accuracies[6]:.2f} with three quarters masked")
words = {"xlabel": "share masked", "ylabel": "accuracy", "title": "A layer at a time"}
figure = figures.curves_with_bands(shares, curves, **words)
save(figure, "12_pruning/sensitivity", alt="Block 1 falls first, block 3 last")

# %% [markdown]
# In the first layer the accuracy falls first. The last layer can lose most: without
# three quarters of its filters this network still reads 91%. So one share for all
# layers is not the best choice. The curves do not tell the reason: the first layer
# comes first, and it also has the fewest filters.
#
# ## The real network
# Back to EfficientNet. Re-estimated statistics need many images: in the study's control
# the *whole* network keeps only a fifth of its answers if its statistics are measured
# on 16 photographs. So here we use a second repair, `match_statistics`. It gives each
# channel the mean $m$ and the deviation $d$ that it has in the whole network:
#
# $$y \leftarrow (y - m_{masked}) \, \frac{d_{whole}}{d_{masked}} + m_{whole}$$
#
# It needs twelve photographs of other mammals and no labels. We repair two networks.
# One has lost 10% of the filters of each layer that allows it, by norm. The other is
# the one of the first section, without the 8 filters of the highest norms.

# %%
files = sorted((PICTURES / "mammals").glob("*.webp"))[::5]
photographs = np.stack([load_picture(file)[0] for file in files])  # (12, 3, 224, 224)
masked = copy.deepcopy(network)
apply_masks(masked, scores.filter_masks(network, 0.1, x=koala), koala)
matched, matched_last = copy.deepcopy(masked), copy.deepcopy(without_last)
control = study("12_pruning", "real: whole, re-estimated")
match_statistics(matched, network, photographs)
match_statistics(matched_last, network, photographs)

models = (masked, matched, without_last, matched_last)
answers = [likeliest(model) for model in models]
titles = ["10% of all masked", "then matched", "without the 8 highest", "then matched"]
figure = figures.answers_picture(np.repeat(koala, 4, 0), titles, answers, columns=2)
save(figure, "12_pruning/matched", alt="Two masked networks see a koala when matched")
first = {answers[1][0][0], answers[3][0][0]}
claim("both matched networks see a koala", first == {"koala"})

# %% [markdown]
# Both networks answer "koala" again, although the repair only scales and shifts each
# channel and sees no koala. So the filters for a koala were still there, but they read
# numbers of another mean and deviation. The study counts over six draws of other
# animals how many answers stay.

# %%
kinds = ("30% of block 1, norm", "30% of block 1, random", "30% of block 7, norm")
kinds += ("30% of block 14, norm", "10% of all layers, norm")
cases = [f"{kind}, {repair}" for kind in kinds for repair in ("as masked", "matched")]
figure = bars("real: ", cases, "The real network: share of answers kept")
save(figure, "12_pruning/real", alt="Early blocks lose most, matching repairs most")
one = "real: 30% of block 1, "
for repair in ("as masked", "matched"):
    study("12_pruning", f"{one}norm, {repair}", minus=f"{one}random, {repair}")

# %% [markdown]
# (These are EfficientNet's blocks, not those of the digits.) As masked, block 7 in the
# middle keeps 92% of the answers, and block 1 only 26%. Matching takes block 1 to 77%,
# and 10% of all layers from 6% to 47 ± 22%. In blocks 7 and 14 it changes little. So on
# photographs too, most of the damage in the early layer came from means and deviations
# that no longer fit. But when all layers are pruned, about half of the answers stay
# lost. Then the network has to learn again.
#
# In block 1 of this network the norm is better than random choice as masked, by
# 0.20 ± 0.13. Matched, the difference of 0.11 ± 0.11 is not certain.
#
# ## Pruning and learning, in turn
# The lecture's loop does not prune all at once. After each step the network learns
# again, and the loop ends when the loss is above a limit, the *budget*.

# %%
last = "last network\nbelow the budget"
boxes = {"trained network": (0, 0, "data"), "pruning": (1, 0, "data")}
boxes |= {"learning": (2, 0, "trained"), "loss": (1.5, 1, "loss")}
boxes[last] = (3, 1, "data")
arrows = [("trained network", "pruning"), ("pruning", "learning"), ("learning", "loss")]
arrows += [("loss", "pruning", "low"), ("loss", last, "high")]
figure = figures.block_diagram(boxes, arrows, title="while (loss < max_allowed_loss)")
save(figure, "12_pruning/diagram", alt="A circle of pruning, learning and the loss")

# %%
model, amount, rng = copy.deepcopy(digits), 0.0, np.random.default_rng(0)
found = evaluate(model, *held_out)
loss, max_allowed_loss = found.loss, found.loss + 0.1
steps = [(loss, 0.0, found.accuracy)]

while loss < max_allowed_loss:
    within = copy.deepcopy(model)  # the last network below the budget
    amount += 1 / 8
    apply_masks(model, scores.filter_masks(model, amount))  # pruning
    optimizer = Adam(model.parameters(), lr=3e-3)
    fit(model, training, epochs=2, optimizer=optimizer, rng=rng, progress=False)
    found = evaluate(model, *held_out)
    loss = found.loss
    steps.append((loss, masks.sparsity(model), found.accuracy))

losses, zeros, accuracies = zip(*steps, strict=True)
accepted = accepted_steps(losses, max_allowed_loss)
print(f"{accepted} steps accepted, {zeros[accepted]:.0%} of the weights are 0")
print(f"held-out accuracy {accuracies[0]:.2f} before, {accuracies[accepted]:.2f} after")
figure = pruning_loop(losses, zeros, accuracies, accepted, max_allowed_loss)
save(figure, "12_pruning/loop", alt="Loss, accuracy and zeros; the last step fails")

# %% [markdown]
# Four steps of an eighth are accepted: half of the filters are masked, and the accuracy
# has fallen from 0.99 to 0.98. After the fifth step the loss is above the budget, so
# the loop's result is `within`, the network before it. Three details: a masked filter
# has norm 0, so it is among the lowest of the next step too. In training each BatchNorm
# also updates its running statistics, so they need no repair. And the loss is that of
# held-out images, because the loss of the training images can fall by overfitting.
# `accepted_steps` counts the steps below the budget, and `iterative_prune` in the
# library is this loop.
#
# ## After learning, does the rule still matter?

# %%
cases = ["norm, as masked", "norm, re-estimated", "norm, finetuned"]
cases += ["ablation, finetuned", "random, finetuned", "from scratch"]
figure = bars("digits: half of all, ", cases, "Test accuracy, half of all masked")
save(figure, "12_pruning/finetuned", alt="Finetuned, all rules are near 0.96")
half_of = "digits: half of all, "
gain = study("12_pruning", f"{half_of}from scratch", minus=f"{half_of}norm, finetuned")

# %% [markdown]
# As masked, the network only guesses. Re-estimated it has 0.37. After three more epochs
# it has 0.95, and ablation and random choice have 0.96. After learning the rule hardly
# matters on these digits.
#
# The last bar is a control. A network with half of the filters, trained from random
# weights for 15 epochs (the 12 of the large network and 3 more), reaches 0.97. That is
# 0.014 ± 0.010 better. So the large network was not needed to find the small one. Liu
# et al. (2019) found the same on larger networks.
#
# ## Single weights
# We can also mask single weights, those of the smallest $|w|$: with *one threshold* for
# all layers together, or the *same share* of each layer.

# %%
cases = ["one threshold, as masked", "one threshold, re-estimated"]
for case in [*cases, "same share, re-estimated", "random, re-estimated"]:
    study("12_pruning", f"digits: 70% of weights, {case}")

# %% [markdown]
# With one threshold and 70% of the weights masked the accuracy is 0.97, without any
# learning. As masked it looks much worse, 0.80. The same share of each layer keeps only
# 0.58, and random weights, the control, keep 0.14. The norms above show why: a filter
# of block 1 has 9 weights and a norm near 1.6, a filter of block 3 has 288 weights and
# a norm near 11.5. So the weights of block 1 are about four times larger, and one
# threshold masks few of them.
#
# ## What is saved?
# A dense matrix product multiplies a 0 like any other number. So zeros alone do not
# reduce the multiplications. They save bytes only if they are not stored. The format
# CSR, compressed sparse rows, stores a value and its column for each weight that is not
# 0. Whole filters can be *removed*: then their layer becomes smaller, and the next
# layer loses the weights that read them.

# %%
sparse = copy.deepcopy(digits)
apply_masks(sparse, masks.global_magnitude_masks(digits, 0.7))
slim = remove_masked_filters(within.eval())
assert np.allclose(predict(slim, test[0]), predict(within, test[0]), atol=1e-4)

cases = {"whole": digits, "70% of weights zero": sparse, "filters removed": slim}
for name, model in cases.items():
    dense, csr = masks.dense_bytes(model), masks.sparse_bytes(model)
    multiplied = cost(model, (1, 8, 8)).multiply_adds  # for one image
    print(f"{name}: {multiplied:,} multiply-adds, {dense:,} bytes, {csr:,} as CSR")
print(f"the loop's network: test accuracy {evaluate(slim, *test).accuracy:.2f}")

# %% [markdown]
# The zeros make the network smaller only as CSR. CSR needs two numbers for each weight
# that is kept, so it is smaller only if more than half of the weights are 0. The
# multiply-adds stay the same, unless a kernel or a chip is made to leave out zeros.
# Removing half of the filters leaves about a quarter of the bytes and of the
# multiply-adds: a weight is removed if its filter is removed, or the channel that it
# reads. How much time this saves depends on the machine, so we count and do not time.
#
# ## What to remember
# Pruning masks or removes what a network can do without: whole filters, or single
# weights. Before two pruned networks are compared, their statistics must be repaired,
# or the comparison is about statistics that no longer fit. Behind a BatchNorm a small
# norm is a weak reason. Scores of single filters do not see what filters do together,
# so prune in steps and learn in between, while the loss is below the budget. In both
# networks the early layers could lose least. Zeros save bytes, and removed filters save
# bytes and work.
#
# ## Try it
# - In the first layer of EfficientNet use `filter_mask(norm, s=-1.5)`. How many filters
#   go, and which? What does the koala become at `s=-0.5`? (At −1.5 the four dead ones
#   go. At −0.5 eleven filters go, and the answer is "grey fox" with 21%.)
# - Prune single weights in the loop: `masks.global_magnitude_masks` instead of
#   `scores.filter_masks`. How far does the loss stay low, and why does it end in an
#   error? (It stays below the budget with seven eighths of the weights masked. The next
#   step would mask all of them.)
# - Match the statistics on three photographs instead of twelve. Is the koala seen? (By
#   the network without the 8 highest, yes. The one that lost 10% of all sees an eagle.)
#
# ## Exercises
# `python -m lessons start 12` begins 12.1 `filter_norms`, 12.2 `filter_mask`, 12.3
# `joint_magnitude_masks`, 12.4 `ablation_scores` and 12.5 `iterative_prune`.
#
# ## Papers
# - Li et al. 2017, Pruning filters for efficient convnets.
# - Molchanov et al. 2017, Pruning convolutional neural networks for resource efficient
#   inference.
# - Liu et al. 2019, Rethinking the value of network pruning.
