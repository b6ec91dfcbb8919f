"""03 Finetuning: a trained network learns a new task from few examples, or is wrecked by large steps.

Question: how much of a trained network should move, how fast, and when does starting afresh do as well?
Measured: accuracy on four shapes never seen in training, by number of labels, learning rate, layers and
domain; 5 seeds each, a seed being its own pretraining, images and weights.
Exercises: 03.1 layer_rates, 03.2 changed_arrays, 03.3 descend_quadratic, 03.4 largest_stable_lr.
"""

# %% [markdown]
# ## A network that knows eight shapes
# It was trained on 2,000 made images of eight shapes, 16×16 pixels, where colour, texture and place tell
# nothing. Our task are four other shapes that it has never seen, with few labels.

# %%
import time

import numpy as np

import minidl.nn as nn
import minidl.nn.functional as F
from minidl.classroom.claims import claim
from minidl.data import SHAPES, cached_runs, make_shapes
from minidl.figures import bars_with_intervals, curves_with_bands, heat_map, image_grid, save
from minidl.train import Adam, evaluate, fit
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.schedules import cosine
from minidl.transfer.backbone import SOURCE_SHAPES, TARGET_SHAPES, pretrained_shapes, shapes_cnn
from minidl.transfer.finetune import (
    changed_arrays,
    descend_quadratic,
    extract_features,
    freeze,
    frozen_report,
    gradual_unfreeze,
    largest_stable_lr,
    linear_probe,
    lr_sweep,
    param_groups,
    replace_head,
    unfreeze,
)

SEEDS = range(5)

rng = np.random.default_rng(0)
pictures, shape_index, _ = make_shapes(240, size=16, rng=rng)
shown = np.concatenate([np.flatnonzero(shape_index == k)[:2] for k in range(len(SHAPES))])
names = [SHAPES[k] for k in shape_index[shown]]
save(image_grid(pictures[shown], titles=names, columns=8), "03_finetuning/shapes")

model = pretrained_shapes(seed=0)
source = make_shapes(800, size=16, shapes=SOURCE_SHAPES, rng=rng)[:2]
print("known: ", ", ".join(SOURCE_SHAPES), "\nunseen:", ", ".join(TARGET_SHAPES))
print(nn.summary(model, (3, 16, 16)))
print(f"accuracy on new images of the known shapes: {evaluate(model, *source).accuracy:.1%}")

# %% [markdown]
# ## A new head
# The last layer says which of *eight* shapes it sees; ours needs four answers. Everything before it, the
# backbone, computes 64 features of an image, whoever asks: they do not change when the head does.

# %%
train = make_shapes(80, size=16, shapes=TARGET_SHAPES, rng=rng)[:2]  # 20 labels a class
test = make_shapes(400, size=16, shapes=TARGET_SHAPES, rng=rng)[:2]

features = extract_features(model, test[0], "flatten")  # (400, 64)
old_head = model.head
new_head = replace_head(model, num_classes=4, rng=rng)
print(old_head, "->", new_head, f"  accuracy before training: {evaluate(model, *test).accuracy:.1%}")
assert np.array_equal(extract_features(model, test[0], "flatten"), features)

# %% [markdown]
# ## What frozen means
# No gradient, so no step; but also no weight decay and no momentum, and the running statistics of BatchNorm
# stay, although the model is in training mode. After thirty steps of an optimizer that would like to move
# everything, every bit of the backbone is where it was.

# %%
backbone = freeze(model[:-1])  # the same layers, not copies
optimizer = Adam(model.parameters(), lr=3e-3, weight_decay=0.1)
fit(model, train, epochs=15, optimizer=optimizer, rng=rng, progress=False)

report = frozen_report(model)
print(f"{len(report)} frozen arrays, {sum(report.values())} of them changed")
print(f"accuracy with a trained head: {evaluate(model, *test).accuracy:.1%}")
assert len(report) == len(backbone.state_dict()) and not any(report.values())

# %% [markdown]
# To take the gradients away is not enough: one forward pass in training mode, and BatchNorm has moved.

# %%
half_frozen = pretrained_shapes(seed=0).train()
for parameter in half_frozen.parameters():
    parameter.requires_grad_(False)
before = half_frozen.state_dict()
half_frozen(train[0])
moved = changed_arrays(before, half_frozen.state_dict())
print(f"{len(moved)} arrays changed, such as {', '.join(moved[:3])}")
assert len(moved) == 3 * 4  # mean, variance and count of four BatchNorm layers

# %% [markdown]
# ## Frozen layers need not be computed again
# A frozen backbone gives the same features in every epoch. Computed once, they are a data set of 64 numbers
# an image, and training on them gives the same head, up to rounding, in a fraction of the time.

# %%
cached_features = extract_features(model, train[0], "flatten")
alone = nn.Sequential({"head": new_head})
heads, seconds = [], []
for layers, inputs in ((model, train[0]), (alone, cached_features)):
    new_head.load_state_dict({"weight": np.zeros((4, 64)), "bias": np.zeros(4)})
    optimizer, same_batches = Adam(new_head.parameters(), lr=3e-3), np.random.default_rng(7)
    start = time.perf_counter()
    fit(layers, (inputs, train[1]), epochs=10, optimizer=optimizer, rng=same_batches, progress=False)
    seconds.append(time.perf_counter() - start)
    heads.append(new_head.weight.data.copy())
print(f"10 epochs through the backbone {seconds[0]:.2f} s, on cached features {seconds[1]:.3f} s")
print(f"largest difference of the two heads: {np.abs(heads[0] - heads[1]).max():.1e}")
assert np.allclose(heads[0], heads[1], rtol=1e-3, atol=1e-5)

# %% [markdown]
# ## Four ways to learn four shapes
# - **scratch**: the same network from random weights, lr 0.03.
# - **frozen features**: the backbone stays; the head is the best one that the features allow (`linear_probe`,
#   lesson 04).
# - **finetune**: from that head on all layers learn, slowly: lr 0.0003. BatchNorm keeps its running
#   statistics, since those of a few images are noise.
# - **wrecked**: the same with the lr that suits the fresh network, 0.03.
#
# The three that train have 120 steps of Adam whose rate falls along a cosine; all have the same images. The
# rates were chosen on other seeds (100 ... 103) than those measured here.


# %%
def learn_target(seed, labels_per_class, way):
    """Test accuracy after 0, 30, 60, 90 and 120 steps."""
    rng = np.random.default_rng(1000 + seed)
    images, labels, _ = make_shapes(4 * labels_per_class, size=16, shapes=TARGET_SHAPES, rng=rng)
    test = make_shapes(400, size=16, shapes=TARGET_SHAPES, rng=rng)[:2]
    if way == "scratch":
        model, lr = shapes_cnn(4, rng), 3e-2
    else:
        model, lr = pretrained_shapes(seed), {"frozen features": 0.0, "finetune": 3e-4, "wrecked": 3e-2}[way]
        features = extract_features(model, images, "flatten")
        model.head = linear_probe(features, labels, l2=1e-3)
        unfreeze(model, statistics=False)

    accuracies = [evaluate(model, *test).accuracy]
    if way == "frozen features":
        return {"accuracy": np.array(accuracies * 5)}
    optimizer, rate = Adam(model.parameters(), lr=lr), cosine(lr, 0.0, steps=120)
    model.train()
    for step in range(120):
        rows = rng.choice(len(labels), min(32, len(labels)), replace=False)
        loss = F.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.lr = rate(step)
        optimizer.step()
        if step % 30 == 29:
            accuracies.append(evaluate(model, *test).accuracy)
    return {"accuracy": np.array(accuracies)}


label_counts, ways = (1, 5, 20, 100), ("scratch", "frozen features", "finetune", "wrecked")
recipes = [
    {"seed": seed, "labels_per_class": count, "way": way}
    for way in ways
    for count in label_counts
    for seed in SEEDS
]
runs = np.array([run["accuracy"] for run in cached_runs("03_four_ways", recipes, learn_target)])
curves = dict(zip(ways, runs.reshape(len(ways), len(label_counts), len(SEEDS), 5), strict=True))
final = {way: curves[way][:, :, -1] for way in ways}  # (label counts, seeds)

for way in ways:
    print(
        f"{way:16}",
        "   ".join(
            f"{count}: {t_interval(row)}" for count, row in zip(label_counts, final[way], strict=True)
        ),
    )
figure = curves_with_bands(
    label_counts,
    {way: final[way].T for way in ways},
    xlabel="labels per class",
    ylabel="test accuracy, 4 unseen shapes",
    log_x=True,
)
save(figure, "03_finetuning/labels")

# %% [markdown]
# ## What the labels buy
# With one or five labels a class the pretrained network is far ahead; with a hundred the fresh one has caught
# up. Letting all layers learn adds a little to frozen features, if slowly enough.

# %%
for row, count in enumerate(label_counts):
    gain = paired_difference(final["finetune"][row], final["scratch"][row])
    print(f"{count:3} labels a class: finetune over scratch {gain}")
    if count <= 5:
        claim(f"finetuning beats scratch at {count} a class", gain.low > 0, {"gain": gain})
gain = paired_difference(final["finetune"][-1], final["scratch"][-1])
claim("at 100 labels a class nothing much is left of that", abs(gain.mean) < 0.03, {"gain": gain})
gain = paired_difference(final["finetune"].mean(axis=0), final["frozen features"].mean(axis=0))
claim("all layers beat frozen features, on average over the label counts", gain.low > 0, {"gain": gain})
loss = paired_difference(final["wrecked"].mean(axis=0), final["scratch"].mean(axis=0))
claim("wrecked is worse than never pretrained, on the same average", loss.high < 0, {"difference": loss})

# %% [markdown]
# The same runs over time, at 20 labels a class. The pretrained network starts where the fresh one ends; the
# large rate throws that away in the first thirty steps, and what comes after does not bring it back.

# %%
figure = curves_with_bands(
    np.arange(0, 121, 30),
    {way: curves[way][2] for way in ways},
    ylabel="test accuracy",
    title="20 labels a class",
)
save(figure, "03_finetuning/learning_curves")

# %% [markdown]
# ## Why a large rate wrecks
# Near a minimum a loss is a bowl, x·Hx / 2, and H says how steep it is in each direction. A step of gradient
# descent multiplies the component along an eigenvector of eigenvalue λ by 1 − lr·λ: it shrinks if lr < 2/λ,
# and grows above that. The steepest direction decides for all of them.

# %%
bowl = np.array([[4.0, 1.0], [1.0, 1.0]])
limit = largest_stable_lr(bowl)
walks = {}
for factor in (0.5, 0.95, 1.05):
    path = descend_quadratic(bowl, start=np.array([1.0, 1.0]), lr=factor * limit, steps=30)
    distance = np.linalg.norm(path, axis=1)
    walks[f"lr = {factor} · 2/λmax"] = distance
    print(f"lr = {factor * limit:.3f}: {distance[0]:.2f} from the minimum, after 30 steps {distance[-1]:.3g}")
figure = curves_with_bands(
    np.arange(31), walks, ylabel="distance from the minimum", log_y=True, title=f"2/λmax = {limit:.3f}"
)
save(figure, "03_finetuning/bowl")
ends = [walk[-1] for walk in walks.values()]
assert ends[0] < ends[1] < np.sqrt(2) < ends[2]

# %% [markdown]
# ## A sweep of learning rates
# A network is no bowl and Adam no plain descent, but here too there is a rate from which on it goes wrong.
# Each rate starts from the same weights and sees the same batches: 5 labels a class, 40 steps at a constant
# rate.


# %%
def sweep(seed, start, lrs):
    """Test accuracy at each learning rate."""
    rng = np.random.default_rng(2000 + seed)
    train = make_shapes(20, size=16, shapes=TARGET_SHAPES, rng=rng)[:2]
    test = make_shapes(400, size=16, shapes=TARGET_SHAPES, rng=rng)[:2]
    if start == "fresh":
        model = shapes_cnn(4, rng)
    else:
        model = pretrained_shapes(seed)
        model.head = linear_probe(extract_features(model, train[0], "flatten"), train[1], l2=1e-3)
        unfreeze(model, statistics=start == "pretrained, statistics adapt")
    swept = lr_sweep(model, train, test, lrs, epochs=40, rng=rng)
    return {"accuracy": np.array([result.accuracy for result in swept])}


lrs = [1e-4, 1e-3, 1e-2, 3e-2, 1e-1]
starts = ("pretrained, statistics kept", "pretrained, statistics adapt", "fresh")
recipes = [{"seed": seed, "start": start, "lrs": lrs} for start in starts for seed in SEEDS]
swept = np.array([run["accuracy"] for run in cached_runs("03_sweep", recipes, sweep)])
kept, adapting, fresh = swept.reshape(3, len(SEEDS), len(lrs))
figure = curves_with_bands(
    np.array(lrs),
    dict(zip(starts, (kept, adapting, fresh), strict=True)),
    xlabel="learning rate",
    ylabel="test accuracy after 40 steps",
    log_x=True,
)
save(figure, "03_finetuning/rates")

# %% [markdown]
# From 0.01 on the advantage melts. Where BatchNorm keeps the statistics, which belong to weights that are no
# more, all of it goes, down to chance. Where the statistics follow the weights, a part is left.

# %%
small, large = lrs.index(1e-3), lrs.index(3e-2)
for name, accuracy in (("kept", kept), ("adapting", adapting)):
    change = paired_difference(accuracy[:, large], accuracy[:, small])
    claim(f"0.03 instead of 0.001 costs accuracy, statistics {name}", change.high < 0, {"change": change})
for name, accuracy in (("kept", kept), ("adapting", adapting)):
    for lr in (small, large, -1):
        advantage = paired_difference(accuracy[:, lr], fresh.max(axis=1))
        print(f"statistics {name:8} lr {lrs[lr]:5}: over a fresh network at its best rate {advantage}")
advantage = paired_difference(kept[:, small], fresh.max(axis=1))
claim(
    "at 0.001 it is far above a fresh network at its best rate", advantage.low > 0.1, {"advantage": advantage}
)
advantage = paired_difference(kept[:, -1], fresh.max(axis=1))
claim("at 0.1, statistics kept, it is below that", advantage.high < 0, {"advantage": advantage})

# %% [markdown]
# ## How many layers, and how far the domain
# The same eight shapes under other conditions, and another task: which of eight textures? How far a domain is
# from what the network knows, its accuracy there says, before any retraining. Then, with 50 labels a class:
# the head alone, the last two or three layers, all of them, all with BatchNorm taking its statistics from the
# new images too, and a fresh network (lr 0.01); 65 steps each.


# %%
def retrain(seed, domain, layers):
    """Test accuracy on ``domain`` of the pretrained network with so many of its last layers retrained."""
    rng = np.random.default_rng(3000 + seed)
    task = {"label": "texture"} if domain == "texture" else {"domain": domain}
    train = make_shapes(400, size=16, shapes=SOURCE_SHAPES, rng=rng, **task)[:2]
    test = make_shapes(400, size=16, shapes=SOURCE_SHAPES, rng=rng, **task)[:2]
    model, lr = pretrained_shapes(seed), 1e-3
    untouched = evaluate(model, *test).accuracy
    if layers == "fresh":
        model, lr = shapes_cnn(8, rng), 1e-2
    else:
        model.head = linear_probe(extract_features(model, train[0], "flatten"), train[1], l2=1e-3)
        count = {"head": 1, "last 2": 2, "last 3": 3}.get(layers, 5)
        gradual_unfreeze(model, count, statistics=layers == "all, statistics")
    if layers != "head":
        optimizer, schedule = Adam(model.parameters(), lr=lr), cosine(lr, 0.0, steps=65)
        options = {"batch_size": 32, "optimizer": optimizer, "schedule": schedule, "rng": rng}
        fit(model, train, epochs=5, progress=False, **options)
    return {"accuracy": np.array(evaluate(model, *test).accuracy), "untouched": np.array(untouched)}


domains = ("noisy", "rotated", "inverted", "texture")
columns = ("head", "last 2", "last 3", "all", "all, statistics", "fresh")
recipes = [
    {"seed": seed, "domain": domain, "layers": layers}
    for domain in domains
    for layers in columns
    for seed in SEEDS
]
results = cached_runs("03_domains", recipes, retrain)
accuracy = np.array([run["accuracy"] for run in results]).reshape(len(domains), len(columns), len(SEEDS))
untouched = np.array([run["untouched"] for run in results]).reshape(accuracy.shape)[:, 0]
names = [f"{name} (untouched {before.mean():.2f})" for name, before in zip(domains, untouched, strict=True)]
names[-1] = "texture (another task)"
for name, row in zip(names, accuracy.mean(axis=2), strict=True):
    print(f"{name:26}", "   ".join(f"{column} {mean:.2f}" for column, mean in zip(columns, row, strict=True)))

figure = heat_map(
    accuracy.mean(axis=2),
    names,
    columns,
    xlabel="what is retrained",
    ylabel="near → far",
    label="test accuracy",
)
save(figure, "03_finetuning/domains")

# %% [markdown]
# Where the network knows nearly everything, the head is enough. Inverted images, on which it was lost, gain
# from the layers below, and most from the statistics of BatchNorm. But texture was noise to a network that
# learned shapes: features that ignore it are a worse start than none.

# %%
head, everything = columns.index("head"), columns.index("all, statistics")
gain = dict(zip(domains, accuracy[:, everything] - accuracy[:, head], strict=True))
for domain in domains:
    print(f"{domain:9} gains {t_interval(gain[domain])} from all layers and statistics over the head alone")
for near in ("noisy", "rotated"):
    more = paired_difference(gain["inverted"], gain[near])
    claim(f"inverted gains more from all layers than {near}", more.low > 0, {"more by": more})
best_reuse = accuracy[domains.index("texture"), : columns.index("fresh")].max(axis=0)
fresh = paired_difference(accuracy[domains.index("texture"), -1], best_reuse)
claim("on texture a fresh network beats every reuse", fresh.low > 0, {"difference": fresh})

# %% [markdown]
# ## Slower below, or later
# Lower layers compute more general things, so let them move more slowly: the rate of each block is a fifth of
# the one above it, that of the last block the head's. Or later: first the head alone, then one more layer at
# a time. At one label a class and a rate that is too large for all layers at once, 0.003; 60 steps (the head
# alone is the probe, without steps), the mean of three draws of images a seed:

# %%
groups = param_groups(pretrained_shapes(0), backbone_lr=3e-3, head_lr=3e-3, decay=0.2)
print("rates from block1 to the head:", ", ".join(f"{group['lr']:.1e}" for group in groups))


def learn_from_four(seed, way):
    """Test accuracy on the unseen shapes after 60 steps on one image of each, for three draws of these."""
    rng, accuracies = np.random.default_rng(4000 + seed), []
    test = make_shapes(400, size=16, shapes=TARGET_SHAPES, rng=rng)[:2]
    for _draw in range(3):
        train = make_shapes(4, size=16, shapes=TARGET_SHAPES, rng=rng)[:2]
        model = pretrained_shapes(seed)
        model.head = linear_probe(extract_features(model, train[0], "flatten"), train[1], l2=1e-3)
        unfreeze(model, statistics=False)
        decay = 0.2 if way == "slower below" else 1.0
        optimizer = Adam(param_groups(model, backbone_lr=3e-3, head_lr=3e-3, decay=decay))
        for stage in range(5 if way != "head alone" else 0):
            if way == "later below":
                gradual_unfreeze(model, stage + 1, statistics=False)
            order = np.random.default_rng(stage)  # not rng, so that each way gets the same images
            fit(model, train, epochs=12, optimizer=optimizer, rng=order, progress=False)
        accuracies.append(evaluate(model, *test).accuracy)
    return {"accuracy": np.array(accuracies)}


manners = ("head alone", "all alike", "slower below", "later below")
recipes = [{"seed": seed, "way": way} for way in manners for seed in SEEDS]
results = [run["accuracy"].mean() for run in cached_runs("03_manners", recipes, learn_from_four)]
by_manner = dict(zip(manners, np.reshape(results, (len(manners), len(SEEDS))), strict=True))
means = [t_interval(by_manner[way]) for way in manners]
figure = bars_with_intervals(
    manners,
    [interval.mean for interval in means],
    [interval.low for interval in means],
    [interval.high for interval in means],
    xlabel="test accuracy, 1 label a class\nmean over 5 seeds, 95% t-interval",
)
save(figure, "03_finetuning/manners")

loss = paired_difference(by_manner["all alike"], by_manner["head alone"])
claim("at that rate all layers alike lose against the head alone", loss.high < 0, {"difference": loss})
rescue = paired_difference(by_manner["slower below"], by_manner["all alike"])
claim("slower lower layers keep what that rate destroys", rescue.low > 0, {"gain": rescue})
later = paired_difference(by_manner["later below"], by_manner["all alike"])
print("one layer after the other, against all alike:", later)
