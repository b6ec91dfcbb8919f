"""12 Pruning: filters and weights that a network can do without.

Question: which filters can go, how many, and what is saved: bytes, time, or only zeros?
Measured: test accuracy against what is pruned by norm, ablation, Taylor or chance, before and after
finetuning, over 5 seeds; the sensitivity of each layer; the loop that prunes while the loss allows; size and
time of the smaller network.
Exercises: 12.1 filter_norms, 12.2 filter_mask, 12.3 joint_magnitude_masks, 12.4 accepted_steps.
"""

# %% [markdown]
# ## Five networks, and images to judge filters by
# The digits again. A fifth of the training images is held out: the rules that look at data judge filters by
# them, and so does the pruning loop. The test images are for the numbers at the end alone.

# %%
import copy
import time

import numpy as np

import minidl.nn as nn
from minidl import no_grad
from minidl.classroom.claims import claim
from minidl.compress.masks import (
    apply_masks,
    dense_bytes,
    filter_mask,
    global_magnitude_masks,
    magnitude_mask,
    sparse_bytes,
    sparsity,
)
from minidl.compress.prune import iterative_prune, sensitivity
from minidl.compress.quantize import channel_absmax, dequantize, quantize, symmetric_params
from minidl.compress.removal import remove_masked_filters
from minidl.compress.scores import (
    ablation_scores,
    filter_layers,
    filter_masks,
    filter_norms,
    random_scores,
    taylor_scores,
)
from minidl.data import cached_runs, random_rotation
from minidl.figures import curves_with_bands, image_grid, save, signed_map
from minidl.figures.pruning import norm_histograms, pruning_loop
from minidl.nn.models import small_cnn
from minidl.train import Adam, evaluate, fit
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.networks import digits_network, digits_split
from minidl.train.schedules import cosine

train, validation, test = digits_split()


def train_network(model, epochs, lr, rng):
    optimizer = Adam(model.parameters(), lr=lr)
    schedule = cosine(lr, 0.0, epochs * -(-len(train[0]) // 64))
    options = {"optimizer": optimizer, "schedule": schedule, "augment": random_rotation(10)}
    fit(model, train, epochs=epochs, rng=rng, progress=False, **options)
    return model


SEEDS = range(5)
networks = [digits_network(seed) for seed in SEEDS]  # 12 epochs each
dense_accuracy = np.array([evaluate(model, *test).accuracy for model in networks])
print(f"test accuracy of the dense networks {t_interval(dense_accuracy)}")

# %% [markdown]
# ## What a mask does
# A filter is pruned by setting to 0 its weights, its bias, and the γ and β of the BatchNorm that follows: its
# channel is then 0 for every image. Each parameter keeps its mask, and every step of an optimizer masks its
# gradient and its result, so the zeros stay through momentum and weight decay.

# %%
model = copy.deepcopy(networks[0])
norms = filter_norms(model.layer("block1.conv"))  # ||w_o||_1 = sum |w|, one for each of 16 filters
keep = filter_mask(norms, amount=0.25)  # the 4 lowest are pruned
apply_masks(model, {"block1.conv": keep})
print("norms ", np.round(norms, 2))
print("pruned", np.flatnonzero(~keep))
with no_grad():
    channels = model.layer("block1")(test[0][:50]).data  # (50, 16, 8, 8)
assert not channels[:, ~keep].any() and channels[:, keep].any(axis=(0, 2, 3)).sum() > 0

train_network(model, epochs=1, lr=1e-3, rng=np.random.default_rng(0))
assert not model.layer("block1.conv").weight.data[~keep].any()
assert not model.layer("block1.bn").bias.data[~keep].any()

# %% [markdown]
# ## By the norm
# The lowest share, or all filters that do not stand out: keep where norm > mean + s · std. The second lets
# each layer decide how many go; what it does depends on how the norms are spread. The comparison below takes
# the first, so that all rules prune equally many.

# %%
layers = filter_layers(networks[0])
norms = {layer: filter_norms(networks[0].layer(layer)) for layer in layers}
save(norm_histograms(norms, s=(-1, 0)), "12_pruning/norms")
for layer in layers:
    counts = [int((~filter_mask(norms[layer], s=s)).sum()) for s in (-2, -1, 0)]
    print(f"{layer:12} pruned at s = -2, -1, 0: {counts} of {len(norms[layer])}")
for s in (-2, -1, 0):
    masks = {layer: filter_mask(norms[layer], s=s) for layer in layers}
    masked = apply_masks(copy.deepcopy(networks[0]), masks)
    print(f"all layers at s = {s:2}: held-out accuracy {evaluate(masked, *validation).accuracy:.1%}")

# %% [markdown]
# ## Ablation: mask one, see what it costs
# Each filter in turn is masked, and the rise of the held-out loss is its score. These are the sixteen kernels
# of the first layer, ranked: what is missed least stands first. Below, what each makes of a seven.

# %%
layer = "block1.conv"
ablation = ablation_scores(networks[0], layer, *validation)
ranked = np.argsort(ablation)
titles = [f"{rise:+.3f}" for rise in ablation[ranked]]
kernels = networks[0].layer(layer).weight.data[ranked, 0]  # (16, 3, 3)
save(signed_map(kernels, titles, columns=8, title="rise of the loss"), "12_pruning/ranked_kernels")
seven = test[0][np.flatnonzero(test[1] == 7)[:1]]
with no_grad():
    responses = networks[0].layer("block1")(seven).data[0, ranked]  # (16, 8, 8)
save(
    image_grid(responses, titles, columns=8, vmin=0.0, vmax=float(responses.max())), "12_pruning/ranked_maps"
)

# %% [markdown]
# ## By a gradient, and by chance
# Ablation takes a forward pass over the data for every filter. To first order one backward pass is enough:
# |dL/dm| for a factor m = 1 on the channel, which is |sum gradient × weight|. And a random order is the rule
# that the others should beat.

# %%
taylor = taylor_scores(networks[0], layer, *validation)
rank = {name: np.argsort(np.argsort(s)) for name, s in (("a", ablation), ("t", taylor), ("n", norms[layer]))}
print(f"rank correlation of ablation with Taylor {np.corrcoef(rank['a'], rank['t'])[0, 1]:+.2f}")
print(f"rank correlation of ablation with the norm {np.corrcoef(rank['a'], rank['n'])[0, 1]:+.2f}")

# %% [markdown]
# ## Which rule is best? It depends on the layer
# One layer pruned at a time, nothing finetuned, five networks. (Layers and amounts to compare were chosen on
# other seeds and held-out images.)

# %%
RULES = ("norm", "ablation", "Taylor", "random")
AMOUNTS = (0.25, 0.5, 0.75)


def scores_by(rule, model, layer, rng):
    if rule == "norm":
        return filter_norms(model.layer(layer))
    if rule == "ablation":
        return ablation_scores(model, layer, *validation)
    if rule == "Taylor":
        return taylor_scores(model, layer, *validation)
    return random_scores(model.layer(layer), rng)


def rule_grid(seed, rules, amounts, finetune_epochs, lr):
    """Accuracies (rules, layers, amounts) of one layer pruned, and (rules, amounts, 2) of all pruned: before
    and after finetuning."""
    whole, rng, alone, together = digits_network(seed), np.random.default_rng(seed), [], []
    for rule in rules:
        scores = {layer: scores_by(rule, whole, layer, rng) for layer in layers}
        for amount in amounts:
            masks = {layer: filter_mask(scores[layer], amount=amount) for layer in layers}
            for layer in layers:
                masked = apply_masks(copy.deepcopy(whole), {layer: masks[layer]})
                alone.append(evaluate(masked, *test).accuracy)
            masked = apply_masks(copy.deepcopy(whole), masks)
            together.append(evaluate(masked, *test).accuracy)
            train_network(masked, finetune_epochs, lr, np.random.default_rng(seed))
            together.append(evaluate(masked, *test).accuracy)
    alone = np.array(alone).reshape(len(rules), len(amounts), len(layers))
    together = np.array(together).reshape(len(rules), len(amounts), 2)
    return {"alone": alone.transpose(0, 2, 1), "together": together}


recipe = {"rules": list(RULES), "amounts": list(AMOUNTS), "finetune_epochs": 3, "lr": 3e-3}
grids = cached_runs("12_rules", [{"seed": seed, **recipe} for seed in SEEDS], rule_grid)
alone = np.array([grid["alone"] for grid in grids])  # (seeds, rules, layers, amounts)
together = np.array([grid["together"] for grid in grids])  # (seeds, rules, amounts, before or after)


def from_dense(accuracies):
    """(seeds, amounts) with a column before them: nothing pruned."""
    return np.column_stack([dense_accuracy, accuracies])


for i, layer in enumerate(layers):
    curves = {rule: from_dense(alone[:, r, i]) for r, rule in enumerate(RULES)}
    figure = curves_with_bands(
        np.array([0.0, *AMOUNTS]),
        curves,
        xlabel="share of filters pruned",
        ylabel="test accuracy",
        title=layer,
    )
    save(figure, f"12_pruning/rules_{layer.split('.')[0]}")

first = {rule: alone[:, r, 0, 0] for r, rule in enumerate(RULES)}  # a quarter of the first layer
last = {rule: alone[:, r, 2].mean(axis=1) for r, rule in enumerate(RULES)}  # mean over the three amounts
for rule in RULES:
    print(f"{rule:10} first layer, a quarter gone {t_interval(first[rule])}   last {t_interval(last[rule])}")
gain = paired_difference(first["ablation"], first["norm"])
claim(
    "in the first layer masking one by one finds better filters than the norm", gain.low > 0, {"gain": gain}
)
gain = paired_difference(last["norm"], last["ablation"])
claim("in the last layer the norm finds better filters than masking one by one", gain.low > 0, {"gain": gain})
chance = paired_difference(last["random"], last["norm"])
print(f"random less norm in the last layer: {chance} (one random order for each network)")

# %% [markdown]
# No rule sees everything. BatchNorm takes the scale of a filter out again, so a small norm need not mean
# a small effect: in the first layer it hardly does. The last layer's 64 filters are redundant: each *alone*
# can be missed, so what masking one of them costs says little about losing half of them together, and a
# random choice is no worse than any other.
#
# ## All layers at once, and finetuning
# Without finetuning half the filters of every layer is far too much, whatever the rule. Three epochs later
# little is left of the difference between the rules: the network learns to do with what it has.

# %%
for after, name in enumerate(("before", "after")):
    curves = {rule: from_dense(together[:, r, :, after]) for r, rule in enumerate(RULES)}
    figure = curves_with_bands(
        np.array([0.0, *AMOUNTS]),
        curves,
        xlabel="share of filters pruned in all layers",
        ylabel="test accuracy",
        title=f"{name} finetuning",
    )
    save(figure, f"12_pruning/all_layers_{name}")

half = AMOUNTS.index(0.5)
for r, rule in enumerate(RULES):
    before, after = (t_interval(together[:, r, half, i]) for i in (0, 1))
    print(f"{rule:10} half of all filters: before {before}   finetuned {after}")
finetuned = together[:, :, half, 1]
claim(
    "half the filters gone and finetuned, every rule is back above 90%, from below 70%",
    bool(finetuned.mean(axis=0).min() > 0.9 and together[:, :, half, 0].mean(axis=0).max() < 0.7),
    f"lowest mean after {finetuned.mean(axis=0).min():.3f}",
)
difference = paired_difference(finetuned[:, 0], finetuned[:, 3])
print(f"norm less random after finetuning {difference}: no reason to compute anything")

# %% [markdown]
# ## Single weights
# Nobody says that a whole filter must go. The smallest weights of all layers together, or the same share of
# each layer, or a random share: far more can be zero before the network notices.

# %%
SHARES = (0.3, 0.5, 0.7, 0.8, 0.9)
WAYS = ("global", "per layer", "random")


def weight_masks(way, model, amount, rng):
    if way == "global":
        return global_magnitude_masks(model, amount)
    weights = {f"{path}.weight": model.layer(path).weight.data for path in [*layers, "head"]}
    if way == "random":
        weights = {path: rng.random(weight.shape) for path, weight in weights.items()}
    return {path: magnitude_mask(weight, amount) for path, weight in weights.items()}


def weight_grid(seed, ways, shares, finetune_epochs, lr):
    """Accuracies (ways, shares, 2): before and after finetuning."""
    rng, accuracies = np.random.default_rng(seed), []
    for way in ways:
        for share in shares:
            model = digits_network(seed)
            apply_masks(model, weight_masks(way, model, share, rng))
            accuracies.append(evaluate(model, *test).accuracy)
            train_network(model, finetune_epochs, lr, np.random.default_rng(seed))
            accuracies.append(evaluate(model, *test).accuracy)
    return {"accuracies": np.array(accuracies).reshape(len(ways), len(shares), 2)}


recipe = {"ways": list(WAYS), "shares": list(SHARES), "finetune_epochs": 3, "lr": 3e-3}
grids = cached_runs("12_weights", [{"seed": seed, **recipe} for seed in SEEDS], weight_grid)
by_weight = np.array([grid["accuracies"] for grid in grids])  # (seeds, ways, shares, 2)
curves = {
    f"{way}{', finetuned' * after}": by_weight[:, w, :, after]
    for after in (0, 1)
    for w, way in enumerate(WAYS)
}
figure = curves_with_bands(np.array(SHARES), curves, xlabel="share of zero weights", ylabel="test accuracy")
save(figure, "12_pruning/weights")
at = SHARES.index(0.7)
for w, way in enumerate(WAYS):
    before, after = (t_interval(by_weight[:, w, at, i]) for i in (0, 1))
    print(f"{way:10} 70% of all weights: before {before}   finetuned {after}")
gain = paired_difference(by_weight[:, 0, at, 0], by_weight[:, 1, at, 0])
claim(
    "one threshold for all layers beats the same share of each, before finetuning",
    gain.low > 0,
    {"gain": gain},
)

# %% [markdown]
# ## How much does each layer bear?
# Sensitivity: one layer's filters pruned by norm, the others whole. The layer closest to the pixels has the
# fewest filters to lose.

# %%
amounts = np.arange(0, 1, 0.125)
curves = {}
for layer in layers:
    runs = [[e.accuracy for e in sensitivity(model, layer, amounts, *validation)] for model in networks]
    curves[layer] = np.array(runs)
figure = curves_with_bands(amounts, curves, xlabel="share of filters pruned", ylabel="held-out accuracy")
save(figure, "12_pruning/sensitivity")
at_half = {layer: runs[:, 4] for layer, runs in curves.items()}
gain = paired_difference(at_half["block3.conv"], at_half["block1.conv"])
claim("the last layer bears the loss of half its filters better than the first", gain.low > 0, {"gain": gain})

# %% [markdown]
# ## The loop: prune while the loss allows
#     while loss < max_allowed_loss: prune a step; finetune
# and return the last network *within* the budget, not the one that broke it.

# %%
dense = networks[0]
start = evaluate(dense, *validation).loss
result = iterative_prune(
    dense,
    train,
    validation,
    max_allowed_loss=start + 0.1,
    step=0.125,
    finetune_epochs=2,
    criterion=filter_masks,
    lr=3e-3,
    rng=np.random.default_rng(0),
)
for k, row in enumerate(result.history):
    verdict = "accepted" if k <= result.accepted else "rolled back"
    print(f"step {k}  zeros {row.sparsity:.1%}  loss {row.loss:.3f}  accuracy {row.accuracy:.1%}  {verdict}")
losses, zeros, accuracies = ([row[i] for row in result.history] for i in (2, 1, 3))
figure = pruning_loop(losses, zeros, accuracies, result.accepted, start + 0.1)
save(figure, "12_pruning/loop")
assert evaluate(result.model, *validation).loss < start + 0.1

# %% [markdown]
# ## Zeros are not time; a smaller network is
# The kernels here multiply by a zero as long as by anything else. Only what is *removed* saves time: a
# filter, its feature in BatchNorm, and the slice of the next layer's weights that read its channel. The slim
# network computes what the masked one computes.

# %%
masked = apply_masks(copy.deepcopy(dense), filter_masks(dense, amount=0.5))
slim = remove_masked_filters(masked)
images = np.tile(test[0], (2, 1, 1, 1))[:512]
with no_grad():
    outputs = [model.eval()(images).data for model in (masked, slim)]
assert np.allclose(*outputs, atol=1e-4)
print(nn.summary(slim, (1, 8, 8)))


def milliseconds(models, repeats=15):
    """The median for each model; they take turns, so that whatever else the machine does falls on all."""
    times = {name: [] for name in models}
    with no_grad():
        for _ in range(repeats):
            for name, model in models.items():
                begin = time.perf_counter()
                model(images)
                times[name].append(1000 * (time.perf_counter() - begin))
    return {name: np.median(taken) for name, taken in times.items()}


sparse = apply_masks(copy.deepcopy(dense), global_magnitude_masks(dense, 0.9))
models = {"dense": dense, "90% of weights zero": sparse.eval(), "half the filters removed": slim}
took = milliseconds(models)
for name, model in models.items():
    print(
        f"{name:26} zeros {sparsity(model):5.1%}   {dense_bytes(model):8,} bytes dense, "
        f"{sparse_bytes(model):8,} as CSR   {took[name]:6.2f} ms for {len(images)} images"
    )
speed_up = took["dense"] / took["half the filters removed"]
print(f"half the filters removed: {speed_up:.2f} times as fast; a busy machine shows less")

# %% [markdown]
# ## Pruned and rounded, against the same small network from scratch
# Half the filters removed and six epochs of finetuning; then each filter's weights rounded to 8 bits, an int8
# and a common step S = max|w| / 127. The control: the same small network trained from random weights for as
# many epochs in all (12 + 6).

# %%


def round_filters(model):
    """Each Conv2d and Linear weight to integers and back (lesson 10), a scale per filter; the bytes saved."""
    saved = 0
    for parameter in model.parameters():
        if parameter.ndim > 1:
            params = symmetric_params(channel_absmax(parameter.data, axis=0), bits=8, axis=0)
            parameter.data = dequantize(quantize(parameter.data, params), params)
            saved += parameter.size * 3 - params.scale.nbytes  # a byte instead of four, and S
    return saved


def slim_and_round(seed, finetune_epochs, lr):
    model = digits_network(seed)
    rows = [(evaluate(model, *test).accuracy, dense_bytes(model))]
    slim = remove_masked_filters(apply_masks(model, filter_masks(model, amount=0.5)))
    train_network(slim, finetune_epochs, lr, np.random.default_rng(seed))
    rows.append((evaluate(slim, *test).accuracy, dense_bytes(slim)))
    saved = round_filters(slim)
    rows.append((evaluate(slim, *test).accuracy, dense_bytes(slim) - saved))
    rng = np.random.default_rng(100 + seed)
    scratch = small_cnn(in_channels=1, num_classes=10, widths=(8, 16, 32), rng=rng)
    train_network(scratch, 12 + finetune_epochs, lr, rng)
    rows.append((evaluate(scratch, *test).accuracy, dense_bytes(scratch)))
    return {"rows": np.array(rows)}


recipe = {"finetune_epochs": 6, "lr": 3e-3}
runs = cached_runs("12_slim", [{"seed": seed, **recipe} for seed in SEEDS], slim_and_round)
rows = np.array([run["rows"] for run in runs])  # (seeds, 4, accuracy and bytes)
for i, name in enumerate(("dense", "half the filters", "and 8 bits", "small from scratch")):
    print(f"{name:20} {rows[0, i, 1]:9,.0f} bytes   accuracy {t_interval(rows[:, i, 0])}")
rounding = paired_difference(rows[:, 2, 0], rows[:, 1, 0])
cost = paired_difference(rows[:, 0, 0], rows[:, 2, 0])
print(f"what rounding changes {rounding}; what all of it costs {cost}")
claim(
    "a twelfth of the bytes costs less than 4 points of accuracy",
    bool(cost.high < 0.04 and rows[0, 2, 1] < rows[0, 0, 1] / 12),
    {"cost": cost, "bytes": f"{rows[0, 0, 1] / rows[0, 2, 1]:.1f} times fewer"},
)
difference = paired_difference(rows[:, 1, 0], rows[:, 3, 0])
print(f"pruned less trained from scratch at the same size: {difference}")

# %% [markdown]
# The interval of the last line holds 0: that the large network had to be trained first, to find the small
# one, is not shown on these digits (Liu et al. 2019 found the same on larger ones, arXiv:1810.05270). What
# pruning gives is the small network; what it keeps of the large one is for each task to be measured.
