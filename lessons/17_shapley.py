"""17 Shapley: a prediction shared among those who made it.

Question: which part of a result belongs to each of those who brought it about together?
Measured: exact values against estimates by paths and by a regression, 40 runs; explanations of networks and
of linear models against the truth of a made table, 5 seeds; patches of 20 images against their masks; cost.
Exercises: 17.1 shapley_values, 17.2 path_contributions, 17.3 kernel_solve, 17.4 mixed_rows.
"""

# %% [markdown]
# ## Three friends
# A, B and C share a bill. What each subset of them would have to pay is known; who pays how much of the 1000?
# One way: they come one after the other, and each pays what the bill grows by. That depends on the order, so
# take all orders and average.

# %%
import itertools
import time
from math import factorial

import numpy as np

import minidl.nn.functional as F
from minidl import Tensor
from minidl.classroom.claims import claim
from minidl.explain import Explainer, kernel_shap, occlusion_map, patch_groups, shapley_paths, shapley_values
from minidl.explain.cam import gradcam
from minidl.explain.shapley import (
    all_coalitions,
    kernel_coalitions,
    kernel_solve,
    kernel_weights,
    path_coalitions,
    path_contributions,
    worths_of,
)
from minidl.figures import convergence, overlay, save, shap_summary, waterfall
from minidl.nn.models import mlp
from minidl.train import Adam, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.networks import EXPLAINED_SHAPES, shapes_images, shapes_network

friends = ("A", "B", "C")
v = np.array([0, 400, 560, 740, 720, 780, 980, 1000])  # nobody, A, B, AB, C, AC, BC, ABC: bit i is friend i

orders = np.array(list(itertools.permutations(range(3))))  # (6, 3)
coalitions = path_coalitions(orders)  # (6, 4, 3): who is there after 0, 1, 2, 3 have come
worths = v[coalitions @ [1, 2, 4]]  # (6, 4): a coalition's place in v is the sum of its friends' 1, 2, 4
gains = path_contributions(orders, worths)  # (6, 3), a column each for A, B, C
for order, row in zip(orders, gains, strict=True):
    print(" ".join(friends[i] for i in order), "    A, B, C pay", row.astype(int))
by_paths = gains.mean(axis=0)
print("on average", by_paths)
assert np.allclose(by_paths, [180, 360, 460], atol=1e-9)

# %% [markdown]
# ## The formula
# Six orders hold only four different terms for A: the same friends were there before, in whatever order. With
# |S| of n players before and n - |S| - 1 after:
#
#     phi_i = sum over S without i of  |S|! (n - |S| - 1)! / n! · (v(S + i) - v(S))
#
# A slide that this lesson follows has 1000 - 990 as the last term for A. v(BC) is 980, and one law gives the
# slip away: what all pay together must be the 1000.

# %%
shares = np.array([2, 1, 2]) / 6  # 0! 2! / 3!, 1! 1! / 3!, 2! 0! / 3!
terms = {"nobody": 400 - 0, "B": 740 - 560, "C": 780 - 720, "BC": 1000 - 980}
A = shares[0] * terms["nobody"] + shares[1] * (terms["B"] + terms["C"]) + shares[2] * terms["BC"]
slip = A + shares[2] * ((1000 - 990) - (1000 - 980))
phi = shapley_values(v, 3)
print(f"A pays {A:.2f}; with 1000 - 990 it would be {slip:.2f}, and all together {slip + phi[1:].sum():.2f}")
assert np.isclose(A, 180, atol=1e-9) and np.allclose(phi, by_paths, atol=1e-9)

# %% [markdown]
# ## Four laws, and no other rule keeps them all
# Shapley (1953) asked for what a fair share must satisfy. Only one formula does.

# %%
bit = all_coalitions(3).astype(float)  # (8, 3), in the order of v
tip = 30.0 * (bit.sum(axis=1) >= 2)  # whoever is not alone tips: A, B, C are alike here
with_taxi = np.concatenate([v, v + 50])  # D comes too, and pays 50 for a taxi wherever he is
print("efficiency: the sum is", phi.sum().round(9), "= v(all) - v(nobody)")
print("symmetry:   the tip is shared", shapley_values(tip, 3))
print("dummy:      D pays his 50 and changes nothing else", shapley_values(with_taxi, 4).round(9))
print("additivity: bill and tip together", shapley_values(v + tip, 3))
assert np.isclose(phi.sum(), v[-1] - v[0]) and np.allclose(shapley_values(tip, 3), 10)
assert np.allclose(shapley_values(with_taxi, 4), [*phi, 50])
assert np.allclose(shapley_values(v + tip, 3), phi + 10)

# %% [markdown]
# ## What two do together is split in half
# A product is worth something only when both factors are there. Neither made it alone, so each gets half; of
# three, a third. The price: both games below have the same values. What was done alone and what together
# cannot be told apart afterwards.

# %%
product, alone = np.array([0, 0, 0, 12.0]), np.array([0, 6.0, 6.0, 12.0])
print("4 · 3       ", shapley_values(product, 2))
print("6 + 6       ", shapley_values(alone, 2))
print("2 · 2 · 3   ", shapley_values(np.array([0] * 7 + [12.0]), 3))
assert np.allclose(shapley_values(product, 2), 6) and np.allclose(shapley_values(alone, 2), 6)

# %% [markdown]
# ## What it costs
# Each player more doubles the coalitions. The sum itself is quick, but every coalition's worth is at least
# one run of a network. 200 random orders ask for at most 200 (n - 1) worths and the two ends.

# %%
print("players   coalitions     orders   exact, from worths   worths for 200 orders")
for n in (3, 6, 10, 15, 20):
    game = np.random.default_rng(n).normal(size=2**n)
    start = time.perf_counter()
    shapley_values(game, n)
    seconds = time.perf_counter() - start
    print(f"{n:7} {2**n:12} {factorial(n):10.1e} {seconds:18.4f} s {min(2**n, 200 * (n - 1) + 2):23}")

# %% [markdown]
# ## Estimates: orders, orders both ways, a regression
# A parliament of twelve parties: a coalition is worth 1 if it has a majority. A party's value is the share of
# orders in which it is the one that brings the majority: its power.
#
# KernelSHAP asks which additive game is nearest to this one, where coalitions of s players weigh
# (n - 1) / (C(n, s) s (n - s)), infinitely at both ends. Over all coalitions the answer is the Shapley value;
# else so many are drawn by their weights. All three ways draw equally many worths here; one that is drawn
# again is not asked again, so that of 11264 only 2700 to 3300 are asked. `kernel_shap` with `samples` does
# better than draws alone: it first lists the smallest and the largest coalitions, which weigh most.

# %%
seats = np.array([208, 152, 120, 85, 64, 44, 20, 17, 9, 6, 3, 2])
parliament = (all_coalitions(12) @ seats > seats.sum() / 2).astype(float)  # (4096,)
power = shapley_values(parliament, 12)
print("seats %", (100 * seats / seats.sum()).round(1))
print("power %", (100 * power).round(1))
print("weights of 1 ... 11 parties", kernel_weights(12)[1:-1].round(5))
assert np.allclose(kernel_shap(parliament, 12), power, atol=1e-9)

ORDERS = np.array([16, 64, 256, 1024])


def errors_of(game, n, name, runs=40):
    """Root mean square error of each run: three ways -> (runs, ORDERS), n - 1 worths drawn for an order."""
    exact, rng = shapley_values(game, n), np.random.default_rng(17)
    found = {way: np.empty((runs, len(ORDERS))) for way in ("single orders", "orders both ways", "kernel")}
    for run, k in np.ndindex(runs, len(ORDERS)):
        m = int(ORDERS[k])
        single, both_ways = (shapley_paths(game, n, m, rng, antithetic=a).values for a in (False, True))
        drawn = kernel_coalitions(n, m * (n - 1), rng)
        kernel = kernel_solve(drawn, worths_of(game, n, drawn), np.ones(len(drawn)), game[0], game[-1])
        for way, estimate in zip(found, (single, both_ways, kernel), strict=True):
            found[way][run, k] = np.sqrt(np.mean((estimate - exact) ** 2))
    save(convergence(ORDERS * (n - 1), found, xlabel="worths drawn", title=name), f"17_shapley/{name}")
    return found


errors = errors_of(parliament, 12, "parliament")
slope = {w: np.polyfit(np.log(ORDERS), np.log((e**2).mean(axis=0)), 1)[0] / 2 for w, e in errors.items()}
claim("errors fall like 1/sqrt(samples)", all(-0.65 < s < -0.4 for s in slope.values()), slope)
single, both_ways, kernel = (np.log(runs[:, -1]) for runs in errors.values())
more, most = paired_difference(kernel, single), paired_difference(both_ways, kernel)
numbers = {"log of kernel / single": more, "log of both ways / kernel": most}
claim("orders both ways err most here, the kernel less", min(more.low, most.low) > 0, numbers)

# %% [markdown]
# A party that brings the majority in one order tends to bring it in the reverse one as well, so that the way
# back says little new.
#
# ## A table whose truth is known
# Rents of flats, made by a formula: area pays, distance costs, noise costs from 60 dB on, a high floor is
# good with a lift and bad without. The age matters little, two columns not at all. A network and a linear
# model learn it from 4000 flats.

# %%
NAMES = ["area", "distance", "floor", "lift", "noise", "age", "door's colour", "month"]


def true_rent(x):
    area, distance, floor, lift, noise, age = x.T[:6]
    return 300 + 9 * area - 20 * distance + 30 * floor * (2 * lift - 1) - 200 * (noise > 60) - age


def flats(n, rng):
    low, high = [20, 0, 0, 0, 40, 0, 0, 1], [120, 15, 8, 1, 80, 100, 9, 12]
    x = rng.uniform(low, high, size=(n, 8))
    x[:, [2, 3, 6, 7]] = np.round(x[:, [2, 3, 6, 7]])
    return x


def learned(seed):
    """A network and the weights of a linear model, from the same noisy rents."""
    rng = np.random.default_rng(seed)
    x = flats(4000, rng)
    rent = true_rent(x) + rng.normal(0, 30, size=4000)
    mean, std = x.mean(axis=0), x.std(axis=0)
    z, target = ((x - mean) / std).astype(np.float32), (rent[:, None] / 100).astype(np.float32)
    network = mlp(8, (32, 32), 1, rng=rng)
    optimizer = Adam(network.parameters(), lr=5e-3)
    for step in range(2000):
        batch = rng.integers(0, 4000, 100)
        optimizer.lr = 5e-3 * (1 - step / 2000)
        optimizer.zero_grad()
        F.mse_loss(network(Tensor(z[batch])), target[batch]).backward()
        optimizer.step()
    w = np.linalg.lstsq(np.column_stack([x, np.ones(4000)]), rent, rcond=None)[0]
    return lambda rows: 100 * predict(network, ((rows - mean) / std).astype(np.float32), 4096)[:, 0], w


models = [learned(seed) for seed in range(5)]
background, rows = flats(20, np.random.default_rng(100)), flats(60, np.random.default_rng(101))

# %% [markdown]
# ## A linear model needs no explaining
# Its Shapley values stand in its weights: w (x - mean of x). A network has no such line to read.

# %%
network, w = models[0]
of_network = Explainer(network, background).explain(rows)  # 2⁸ coalitions · 20 background rows, for each row
of_linear = Explainer(lambda x: x @ w[:-1] + w[-1], background).explain(rows)
assert np.allclose(of_linear.values, w[:-1] * (rows - background.mean(axis=0)))
assert np.allclose(of_network.values.sum(axis=1) + of_network.base_value, network(rows), atol=1e-2)
attic = int(np.argmax(rows[:, 2] * (1 - rows[:, 3])))  # the highest floor without a lift
for name, found in (("network", of_network), ("linear", of_linear)):
    figure = waterfall(found.values[attic], found.base_value, NAMES, rows[attic], xlabel="rent", title=name)
    save(figure, f"17_shapley/one_flat_{name}")
save(shap_summary(of_network.values, rows, NAMES, xlabel="part of the rent"), "17_shapley/all_flats")

# %% [markdown]
# ## Is the explanation true?
# That the values fit the network is mathematics. Whether they fit the world depends on the network: here the
# true formula can be explained in the same way and compared. Floor and lift share what they do together; the
# linear model, which knows no "together", cannot see it.

# %%
truth = Explainer(true_rent, background).explain(rows).values
print("one flat         truth   network   linear")
for name, *three in zip(NAMES, truth[attic], of_network.values[attic], of_linear.values[attic], strict=True):
    print(f"{name:13}" + "".join(f"{value:+9.0f}" for value in three))
distance = np.empty((5, 2))
for seed, (network, w) in enumerate(models):
    by_network = Explainer(network, background).explain(rows).values
    by_weights = w[:-1] * (rows - background.mean(axis=0))
    distance[seed] = [np.sqrt(np.mean((values - truth) ** 2)) for values in (by_network, by_weights)]
nearer = paired_difference(distance[:, 1], distance[:, 0])
numbers = {"network": t_interval(distance[:, 0]), "linear": t_interval(distance[:, 1]), "difference": nearer}
claim("the network's explanations are nearer to the truth than the linear model's", nearer.low > 0, numbers)

# %% [markdown]
# ## Walking back pays here
# A rent is made of features alone and in twos, mostly, and there an order and its reverse are exact together.
# KernelSHAP, whose coalitions come with their complements, errs still less. (All for show: 1024 orders ask
# for all 256 coalitions of 8 players.) The standard error over pairs says how far to trust an estimate.

# %%
rent_game = Explainer(models[0][0], background).game(rows[attic])(all_coalitions(8))  # (256,) worths
single, both_ways, kernel = (np.log(runs[:, -1]) for runs in errors_of(rent_game, 8, "rent").values())
less, least = paired_difference(single, both_ways), paired_difference(both_ways, kernel)
numbers = {"log of single / both ways": less, "log of both ways / kernel": least}
claim("walking each order back pays, and the kernel errs least", min(less.low, least.low) > 0, numbers)
estimate, exact = shapley_paths(rent_game, 8, 100, np.random.default_rng(0)), shapley_values(rent_game, 8)
for name, value, error, true in zip(NAMES, *estimate, exact, strict=True):
    print(f"{name:13} {value:+8.1f} ± {error:.1f}   exact {true:+8.1f}")

# %% [markdown]
# ## An image by patches
# Pixels are too many players: sixteen patches of 4x4 are players instead, and a patch that is not known comes
# from four other images, one of each class. Occlusion takes each patch from the whole image once: the last
# step of all paths, v(all) - v(all but i). Shapley asks also what a patch adds where others are missing, and
# only its parts sum to f - E f. Beside them Grad-CAM (lesson 16), which shows only what speaks for the class.

# %%
nets = [shapes_network(seed) for seed in range(5)]
images, labels, masks = shapes_images(100, rng=np.random.default_rng(9))
of_class = [np.flatnonzero(labels == c) for c in range(4)]
others = images[[rows_of[0] for rows_of in of_class]]
chosen = np.concatenate([rows_of[1:6] for rows_of in of_class])  # five of each class
images, labels, masks = images[chosen], labels[chosen], masks[chosen]
patches, rng = patch_groups(16, 16, 4), np.random.default_rng(0)  # (16, 16) numbers of patches
parts, last_step, gained = np.empty((20, 16)), np.empty((20, 16)), np.empty(20)
for i, label in enumerate(labels):
    explainer = Explainer(lambda x, label=label: predict(nets[0], x)[:, label], others, groups=patches)
    parts[i] = explainer.explain(images[i : i + 1], "paths", samples=20, rng=rng).values[0]
    v = explainer.game(images[i])
    last_step[i] = v(np.ones((1, 16), bool)) - v(~np.eye(16, dtype=bool))
    gained[i] = explainer.predict(images[i : i + 1])[0] - explainer.base_value
covers = (*others, "mean")  # four images, and grey: the mean of each channel
by = [[occlusion_map(net, images, labels, window=4, stride=4, baseline=b) for b in covers] for net in nets]
by_others, grey = np.mean([maps[:4] for maps in by], axis=1), np.array([maps[4] for maps in by])
maps = {"Shapley": parts[:, patches], "other images": by_others[0], "grey": grey[0]}
assert np.allclose(parts.sum(axis=1), gained, atol=1e-3)
assert np.allclose(last_step[:, patches], maps["other images"], atol=1e-3)
print("f - E f of one of a class".ljust(25), gained[::5].round(1))
for name, of_all in maps.items():
    print(f"sum of {name}".ljust(25), (of_all.sum(axis=(1, 2)) / 16).round(1)[::5])
maps["Grad-CAM"] = gradcam(nets[0], images, labels, "block3")  # in units of its own, so compare signs
layers = np.stack([of_all[::5] for of_all in maps.values()], axis=1)  # (images, maps, 16, 16)
titles = ["Shapley", "occlusion by\nother images", "occlusion by\ngrey", "Grad-CAM"]
figure = overlay(images[::5], layers, titles, row_titles=EXPLAINED_SHAPES, signed=True, scale_each=True)
save(figure, "17_shapley/patches")

# %% [markdown]
# Does the credit lie on the object? Compare the mean of a map inside the mask with that outside. What stands
# in for an unknown patch changes the answer, and neither choice is the better one: other images find more of
# stars than grey, which is in no image, and less of circles and hearts.

# %%
every = np.concatenate([list(maps.values()), by_others - grey])  # (4 kinds and 5 networks, 20, 16, 16)
inside, outside = ((every * m).sum(axis=(2, 3)) / m.sum(axis=(1, 2)) for m in (masks, ~masks))
gaps = inside - outside  # (9, 20)
credit = {name: t_interval(gap) for name, gap in zip(maps, gaps, strict=False)}
claim("Shapley: a pixel of the object counts more than one beside it", credit["Shapley"].low > 0, credit)
more = gaps[4:].reshape(5, 4, 5).mean(axis=2)  # (networks, classes), each the mean of five images
found = dict(zip((*EXPLAINED_SHAPES, "all"), map(t_interval, (*more.T, more.mean(axis=1))), strict=True))
apart = found["star"].low > 0 > max(found["circle"].high, found["heart"].high)
claim("other images find more of stars than grey does, and less of circles and hearts", apart, found)
