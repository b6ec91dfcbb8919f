# %% [markdown]
# # 17 Shapley values
# Three friends share one bill. How much of it belongs to each of them? A network gives
# one answer to many features. How much of the answer belongs to each feature? Game
# theory has one answer to both questions, and SHAP brings it to networks.
#
# Exercises: 17.1 path_contributions, 17.2 shapley_values, 17.3 kernel_solve,
# 17.4 model_paths.

# %% [markdown]
# ## The table of the lecture
# Alice, Bob and Carol eat in a restaurant. The table says what each group would pay.
#
# | Who goes | Alice | Bob | Carol | A & B | A & C | B & C | A, B & C |
# |---|---|---|---|---|---|---|---|
# | Total price | 400 | 560 | 720 | 740 | 780 | 980 | 1000 |
#
# The price of three is not the sum of the three prices. So who pays how much of the
# 1000? Let the friends come one after the other. Each pays what he or she adds to the
# bill. This number depends on the order, so we take the mean over all six orders.

# %%
from itertools import combinations, permutations
from math import factorial

import numpy as np

import minidl.nn.functional as F
from lessons import PICTURES, study
from minidl import Tensor
from minidl.data import load_picture
from minidl.engine.reduce import stable_softmax
from minidl.explain import Explainer, patch_groups, shapley, shapley_values
from minidl.explain.explainer import mixed_rows
from minidl.figures import answers_picture, heat_map, overlay, save, waterfall
from minidl.figures.curves import bars_with_intervals
from minidl.figures.shapley import convergence, shap_summary
from minidl.nn.models import imagenet_names, imagenet_network, mlp
from minidl.train import Adam, predict

# %%
v = {"": 0, "A": 400, "B": 560, "C": 720}
v |= {"AB": 740, "AC": 780, "BC": 980, "ABC": 1000}

orders = ["".join(order) for order in permutations("ABC")]  # ABC, ACB, BAC, ...
pays = np.zeros((6, 3))
for row, order in enumerate(orders):
    before = ""
    for friend in order:
        together = "".join(sorted(before + friend))
        pays[row, "ABC".index(friend)] = v[together] - v[before]
        before = together
mean = pays.mean(axis=0)

table = np.vstack([pays, mean])
paths = [*[" then ".join(order) for order in orders], "mean of all"]
friends = ["Alice", "Bob", "Carol"]
title = "Six orders, and what each friend adds to the bill"
figure = heat_map(table, paths, friends, label="added", title=title, decimals=0)
alt = "A table of six orders and three friends; the means are 180, 360 and 460"
save(figure, "17_shapley/orders", alt=alt)

# %% [markdown]
# The mean is the *Shapley value* (Shapley 1953): Alice pays 180, Bob 360, Carol 460.
# Each row sums to 1000, so the means also sum to 1000. The lecture says this in two
# lines: "Shapley(X) = average increase in cost from adding X to a group. Note: average
# over all *paths*." A path is a row of the picture. The exercise `path_contributions`
# is our inner loop, for any number of orders at once.

# %% [markdown]
# ## The formula
# Several rows give Alice the same number. If she comes first, it does not matter in
# which order the others follow. So we can count the orders instead of listing them. Let
# $N$ be all $n$ players, $S$ a group without player $i$, and $v(S)$ what the group is
# *worth*. Exactly the players of $S$ come before $i$ in $|S|!\,(n - |S| - 1)!$ of the
# $n!$ orders:
#
# $$\phi_i = \sum_{S \subseteq N \setminus \{i\}} \frac{|S|!\,(n - |S| - 1)!}{n!}\,
#   \big(v(S \cup \{i\}) - v(S)\big)$$

# %%
N, n = "ABC", 3
phi = {"A": 0, "B": 0, "C": 0}
for i in N:
    others = N.replace(i, "")
    for size in range(n):
        for S in map("".join, combinations(others, size)):
            count = factorial(len(S)) * factorial(n - len(S) - 1)
            with_i = "".join(sorted(S + i))  # S ∪ {i}
            phi[i] += count / factorial(n) * (v[with_i] - v[S])
            if i == "A":
                print(f"{S or 'nobody'} before A: {count}/6 · ({v[with_i]} - {v[S]})")
print({i: round(phi[i]) for i in N})
assert np.allclose([*phi.values()], mean)

figure = waterfall([*phi.values()], 0, friends, xlabel="the bill")
alt = "Three bars end to end from 0 to 1000: Alice 180, Bob 360, Carol 460"
save(figure, "17_shapley/bill", alt=alt)

# %% [markdown]
# The second picture is a *waterfall*. Read it from below: it begins at 0, each bar adds
# one share in the direction of its arrow head, and it ends at the whole bill.
#
# ## A typing mistake on the slide
# The slide writes the sum for Alice as
#
# $$\tfrac{2}{6} \cdot 400 + \tfrac{1}{6} (740 - 560) + \tfrac{1}{6} (780 - 720) +
#   \tfrac{2}{6} (1000 - 990) = 180$$
#
# Compare it with the four printed lines. The last term must be $1000 - 980$, because
# Bob and Carol together pay 980. The result 180 is right, and 990 is the mistake.

# %%
printed = 2 / 6 * 400 + (740 - 560) / 6 + (780 - 720) / 6 + 2 / 6 * (1000 - 990)
print(f"as printed: {printed:.2f}, with the others {printed + mean[1:].sum():.2f}")
assert np.isclose(printed + 2 / 6 * 10, 180)

# %% [markdown]
# With 990 the sum is not 180. And if Alice paid only that, 3.33 of the 1000 would stay
# unpaid. The shares must sum to the whole: this is the first of four laws.
#
# ## What makes a share fair?
# - **Efficiency.** The shares sum to $v(N) - v(\emptyset)$.
# - **Symmetry.** Two players who add the same to every group get the same.
# - **Dummy.** A player who adds the same amount to every group gets this amount. A
#   player who never adds anything gets 0.
# - **Additivity.** The shares of two bills together are the sums of their shares.
#
# Shapley proved that only his formula keeps all four. Let us try each law, with a tip
# and with a fourth friend, Dan. The library takes the worths of the groups as an array,
# in the order nobody, A, B, AB, C, AC, BC, ABC. (Read the index as a binary number:
# friend $i$ is in the group if bit $i$ is 1.)

# %%
bill = np.array([0, 400, 560, 740, 720, 780, 980, 1000])
there = shapley.all_coalitions(3)  # (8, 3) bool: who is in each group
tip = 30 * (there.sum(axis=1) >= 2)  # whoever is not alone tips 30 together
taxi = np.concatenate([bill, bill + 50])  # Dan comes too, and takes a taxi for 50
print("efficiency:", shapley_values(bill, 3).sum().round(6), "=", bill[-1] - bill[0])
print("symmetry:  ", shapley_values(tip, 3).round(6), "for the tip")
print("dummy:     ", shapley_values(taxi, 4).round(6), "with Dan")
print("additivity:", shapley_values(bill + tip, 3).round(6), "for bill and tip")
print("together:  ", shapley_values(np.array([0, 0, 0, 12]), 2), "for 3 · 4")

# %% [markdown]
# All four laws hold. The last line is a warning. Two factors make the product
# $3 \cdot 4 = 12$ together, and neither makes anything alone. Each gets half, 6. So the
# shares do not tell what a player does alone and what players do together.

# %% [markdown]
# ## SHAP: features are players
# The lecture says: "SHAP = Shapley values for features + clever approximation"
# (Lundberg and Lee 2017). It calls SHAP the "state of the art in after-the-fact model
# explanation". A model $f$ predicts from a row $x$. The features are the players, and a
# group $S$ holds the features that are *known*. What is the prediction if only $S$ is
# known? A network needs all its inputs, so the other numbers come from the rows $b$ of
# a *background* $B$, which is a part of the data:
#
# $$v(S) = \frac{1}{|B|} \sum_{b \in B} f(x_S,\, b_{N \setminus S})$$
#
# If nothing is known, $v(\emptyset)$ is the mean prediction of the background, the
# *base value*. If all is known, $v(N) = f(x)$. So the shares $\phi_i$ explain how the
# prediction of this row differs from the mean. If features depend on each other, some
# mixed rows are unlike any real row. This is a weak point of the method.
#
# Our example is a table of flats and their rents, in euros a month. We make the rents
# by a formula, so that the truth is known. With a lift high floors are expensive,
# without a lift they are cheap. Noise above 60 decibels costs 200. The number of the
# door and the month do not matter.

# %%
NAMES = ["area", "distance", "floor", "lift", "noise", "age", "door", "month"]


def true_rent(x):
    area, distance, floor, lift, noise, age = x.T[:6]
    with_lift = 30 * floor * (2 * lift - 1)  # the lift is 1 or 0
    return 300 + 9 * area - 20 * distance + with_lift - 200 * (noise > 60) - age


def made_flats(count, rng):
    low, high = [20, 0, 0, 0, 40, 0, 1, 1], [120, 15, 8, 1, 80, 100, 99, 12]
    return np.round(rng.uniform(low, high, size=(count, 8)))


rng = np.random.default_rng(0)
flats = made_flats(4000, rng)
rents = true_rent(flats) + rng.normal(0, 30, 4000)
center, spread = flats.mean(axis=0), flats.std(axis=0)


# %%
def rent(rows):
    """What the network predicts: rows (m, 8) give (m,)."""
    z = ((rows - center) / spread).astype(np.float32)
    return 100 * predict(model, z, 4096)[:, 0]


z = ((flats - center) / spread).astype(np.float32)
hundreds = (rents[:, np.newaxis] / 100).astype(np.float32)
rng = np.random.default_rng(1)
model = mlp(8, (32, 32), 1, rng=rng)
optimizer = Adam(model.parameters(), lr=0.005)
for step in range(2000):
    batch = rng.integers(0, 4000, 100)
    optimizer.lr = 0.005 * (1 - step / 2000)
    optimizer.zero_grad()
    F.mse_loss(model(Tensor(z[batch])), hundreds[batch]).backward()
    optimizer.step()

# %% [markdown]
# We explain one flat. It is large and central, on the seventh floor without a lift.
# First we compute the worth $v(S)$ of one group by hand. Then `Explainer` computes the
# worths of all $2^8 = 256$ groups and gives the shares.

# %%
background = made_flats(20, np.random.default_rng(100))
rows = made_flats(60, np.random.default_rng(101))
high = np.argmax(rows[:, 2] * (1 - rows[:, 3]))  # the highest floor without a lift
x = rows[high]

S = np.array([[True, True, False, False, False, False, False, False]])
v_S = rent(mixed_rows(x, background, S)).mean()  # (20, 8) rows -> their mean rent
print(f"only area and distance known: {v_S:.0f}")

explainer = Explainer(rent, background)
assert np.isclose(explainer.game(x)(S)[0], v_S)  # game(x) is the function v
found = explainer.explain(rows)
phi, base = found.values[high], found.base_value
assert np.isclose(base + phi.sum(), rent(x[np.newaxis])[0], atol=0.01)
figure = waterfall(phi, base, NAMES, x, xlabel="rent", title="Why this rent? (euros)")
alt = "From the base value to the predicted rent of a flat, a bar for each feature"
save(figure, "17_shapley/one_flat", alt=alt)

# %% [markdown]
# Read the waterfall from below. It begins at the base value, 645 (the dotted line).
# Small shares come first. It ends above, at the rent of this flat, 972. The large area
# and the short distance raise the rent most. The missing lift, the noise and the high
# floor lower it. The next picture shows all 60 flats, with a point for each flat in
# each row:

# %%
words = {"xlabel": "share of the rent in euros", "title": "60 flats"}
figure = shap_summary(found.values, rows, NAMES, **words)
alt = "A row of points for each feature; the large areas stand on the right"
save(figure, "17_shapley/all_flats", alt=alt)

# %% [markdown]
# The colour of a point is the number in the table. A large area (bright) raises the
# rent, a large distance lowers it. For the floor there is no such rule: bright points
# are on both sides of 0, and dark points too. The reason is that a high floor is good
# only with a lift.
#
# ## Is the explanation true?
# The shares are right for the *model*. Whether they are right for the *world* depends
# on the model. Here we know the true formula and can explain it in the same way. We
# also compare with a linear model $w \cdot x + c$. It needs no groups, because its
# Shapley values are $w_i (x_i - \bar b_i)$, with $\bar b$ the mean of the background.

# %%
truth = Explainer(true_rent, background).explain(rows).values
with_ones = np.column_stack([flats, np.ones(4000)])
w = np.linalg.lstsq(with_ones, rents, rcond=None)[0]
linear = w[:-1] * (rows - background.mean(axis=0))
shares = np.stack([truth[high], phi, linear[high]], axis=1)  # (8, 3)
models = ["the formula", "the network", "a linear model"]
title = "The same flat, explained in three models"
figure = heat_map(shares, NAMES, models, label="euros", title=title, decimals=0)
alt = "Shares of eight features in the formula, the network and a linear model"
save(figure, "17_shapley/truth", alt=alt)
keys = ["network: distance to the truth", "linear model: distance to the truth"]
far = [study("17_shapley", key) for key in keys]

louder = np.tile(x, (5, 1))
louder[:, 4] = [50, 55, 60, 65, 70]  # only the noise changes
print("rent from 50 to 70 decibels:", rent(louder).round())
print("in the formula:             ", true_rent(louder))

# %% [markdown]
# In the formula, $30 \cdot floor \cdot (2 \cdot lift - 1)$ belongs to two features
# together. The network has learned this: the share of the floor is -37 in the network
# and -36 in the formula. The linear model has only one weight for the floor, with a
# lift and without, and gives -1. The network has a fault of its own: the share of the
# noise is -41 instead of -60. The printed rents show why. In the formula the rent falls
# by 200 between 60 and 65 decibels. In the network it falls little by little.
#
# In the study, over ten networks and 60 flats, the shares in the network miss the truth
# by 12 ± 2 euros (root mean square), the shares in the linear model by 28.
#
# ## Clever approximation
# $n$ features form $2^n$ groups. For 8 features these are 256 groups, which is cheap.
# For 16 features they are 65,536, and for 30 more than $10^9$. Two methods estimate the
# shares from fewer groups.
#
# *Random orders* (Castro et al. 2009). Take the mean over some orders instead of all.
# It helps to take the reverse of each order as well ("both ways"). `shapley_paths` does
# so.
#
# *KernelSHAP* (Lundberg and Lee 2017). The Shapley values are also the solution of a
# regression. Find shares whose sum over each group is as near as possible to the worth
# of this group. A group of $s$ players has the weight $w(s)$:
#
# $$\min_\phi \sum_{S} w(|S|) \Big(v(S) - v(\emptyset) - \sum_{i \in S} \phi_i\Big)^2,
#   \qquad w(s) = \frac{n - 1}{\binom{n}{s}\, s\, (n - s)}$$
#
# The shares must sum to $v(N) - v(\emptyset)$. Very small and very large groups weigh
# most: they show what a player adds alone and what is lost without the player. With all
# groups the solution is exact. With fewer groups it is an estimate.

# %%
inner = there[1:-1]  # all groups of friends but nobody and all
weights = shapley.kernel_weights(3)[inner.sum(axis=1)]
nearest = shapley.kernel_solve(inner, bill[1:-1], weights, bill[0], bill[-1])
print("the friends by regression:", nearest.round(6))
assert np.allclose(nearest, [180, 360, 460])

game = explainer.game(x)
by_orders = shapley.shapley_paths(game, 8, 8, np.random.default_rng(0))
by_kernel = shapley.kernel_estimate(game, 8, 56, np.random.default_rng(0))
for way, (values, errors) in (("orders", by_orders), ("kernel", by_kernel)):
    print(f"{way}: {values[:4].round(1)} ± {errors[:4].round(1)}")
print(f"exact:  {phi[:4].round(1)}  {NAMES[:4]}")

# %%
worths, errors, intervals = np.array([42, 84, 154]), {}, {}
for way in ("orders", "orders both ways", "kernel"):
    keys = [f"{way}: error from {count} worths" for count in worths]
    quoted = [study("17_shapley", key) for key in keys]
    errors[way] = np.array([one.mean for one in quoted])
    intervals[way] = np.array([(one.low, one.high) for one in quoted]).T
words = {"xlabel": "worths", "ylabel": "error in euros, root mean square"}
words["title"] = "Shares of the rent, estimated from some of the 256 worths"
figure = convergence(worths, errors, intervals=intervals, **words)
alt = "Errors fall with the number of worths; the kernel is below both kinds of orders"
save(figure, "17_shapley/estimates", alt=alt)

# %% [markdown]
# Eight orders need at most 56 worths, and the regression gets 56 too. The printed
# numbers after ± are *standard errors*, which the library computes from the same
# worths. Never show an estimate without them. Here both estimates are near the exact
# shares.
#
# In the study, from 42 worths, the error of orders is 5.5 ± 0.9, of orders both ways
# 1.13 ± 0.13, and of the regression ("kernel") 0.78 ± 0.09. The vertical lines in the
# figure are these 95% intervals over ten networks. Each dotted line falls like one over
# the square root of the number of worths. Both kinds of orders follow their lines. The
# regression falls faster. One reason may be that it asks for no group twice, and 154
# worths are more than half of all.
#
# Why do reverse orders help so much? Take a product of two features, such as $3 \cdot
# 4$ above. An order gives all of it to the feature that comes second. The reverse gives
# all of it to the other one. The mean is one half each, and this is exact.
#
# ## Regions of a photograph
# A photograph has 50,176 pixels, too many players. So we take 16 regions of 56×56
# pixels. A region that is not known becomes as grey as the background. The worth of a
# group of regions is the logit of "koala".

# %%
network, names = imagenet_network(), imagenet_names()
koala, _ = load_picture(PICTURES / "marsupials" / "koala.webp")  # (3, 224, 224)
KOALA = names.index("koala")
grey = np.empty_like(koala)
grey[:] = koala[:, :1, :1]  # the colour of the corner
regions = patch_groups(224, 224, 56)  # (224, 224): a number 0 ... 15 for each pixel


def logit(images):
    return predict(network, images)[:, KOALA]


explainer = Explainer(logit, grey[np.newaxis], groups=regions)
v_koala = explainer.game(koala)  # groups (m, 16) -> logits (m,)
phi, errors = shapley.kernel_estimate(v_koala, 16, 160, np.random.default_rng(0))
best = np.argsort(-phi)[:3]
shown = np.isin(regions, best)  # (224, 224) bool
only, without = np.where(shown, koala, grey), np.where(shown, grey, koala)
images = np.stack([koala, koala, only, without])

# %%
p = stable_softmax(predict(network, images))
answers = []
for row in p:
    top = np.argsort(-row)[:3]
    answers.append([(names[k], row[k]) for k in top])
answers[1] = []
titles = ["photograph", f"shares, yellow is {phi.max():.1f}"]
titles += ["the best three", "without the three"]
maps = [None, np.maximum(phi, 0)[regions], None, None]
figure = answers_picture(images, titles, answers, maps=maps, columns=2)
alt = "A koala, its regions by Shapley value, the best three alone, and the rest"
save(figure, "17_shapley/koala", alt=alt)
for row in np.stack([phi, errors], axis=1).reshape(4, 4, 2):  # share ± standard error
    print("   ".join(f"{share:4.1f} ± {error:.2f}" for share, error in row))

# %% [markdown]
# The three regions with the largest shares are the head and the chest. If only they are
# shown, the answer is still "koala", with 32%. Without them "koala" is not among the
# first three names.
#
# The shares are estimated from 160 of the 65,536 groups. Can we trust them? In the
# third row, the region on the right is only background. By the dummy law its share must
# be 0 exactly. The estimate is -0.1, about one standard error away.
#
# ## The first step, all steps, the last step
# The occlusion of [lesson 14](14_occlusion_gradients.py) also covers regions. It takes
# one region away from the whole photograph: $v(N) - v(N \setminus \{i\})$. That is the
# last step of a path. We can also show one region alone, $v(\{i\}) - v(\emptyset)$: the
# first step. Shapley takes the mean over all steps.

# %%
each = np.eye(16, dtype=bool)
none, everything = v_koala(np.array([[False] * 16, [True] * 16]))
first, last = v_koala(each) - none, everything - v_koala(~each)
maps = np.stack([first[regions], phi[regions], last[regions]])[np.newaxis]
titles = ["first step: alone", "Shapley: all steps", "last step: occlusion"]
title = "Red raises the logit of the koala, blue lowers it"
figure = overlay(koala[np.newaxis], maps, titles, signed=True, title=title)
alt = "Three maps of a koala's regions: alone, by Shapley value, and by occlusion"
save(figure, "17_shapley/steps", alt=alt)
print(f"logit: {none:.1f} for grey, {everything:.1f} for the photograph,")
print(f"the difference is {everything - none:.1f}")
for name, steps in (("first steps", first), ("Shapley", phi), ("last steps", last)):
    print(f"{name}: sum {steps.sum():.1f}, chest {steps[10]:.1f}")

# %% [markdown]
# Only the Shapley values sum to the whole difference of 9.7. The first steps sum to
# 7.8, the last steps to 5.5. Look at the chest, under the head. Alone the chest adds
# 2.1 to the logit. As the last step it adds only 0.3, because the head is already
# shown. Its Shapley value is in between, 1.1 ± 0.1. Occlusion alone would call the
# chest unimportant.
#
# ## Does it hold for other photographs?
# The study takes ten photographs that the network answers right. It shows only four or
# eight of their 16 regions and asks for the probability of the right class. It chooses
# the regions with the largest shares, or with the largest first steps, or with the
# largest last steps, or at random.

# %%
labels = ["whole photograph"]
kept = [study("17_shapley", "p, whole photograph")]
for count in (4, 8):
    for way in ("by Shapley", "by first step", "by last step", "at random"):
        labels.append(f"{count} regions {way}")
        kept.append(study("17_shapley", f"p, {count} regions {way}"))
title = "Only some regions are shown, 95% t-interval"
xlabel = "probability of the right class"
figure = bars_with_intervals(labels, kept, xlabel=xlabel, title=title)
alt = "Chosen regions keep far more of the probability than regions drawn at random"
save(figure, "17_shapley/regions_kept", alt=alt)
again = study("17_shapley", "correlation with a second draw")
noise = study("17_shapley", "correlation with noise")

# %% [markdown]
# The best eight regions by Shapley keep as much as the whole photograph: 0.80 and 0.75
# on average. Eight regions at random keep 0.34. So the shares do find what the network
# needs. But the last step, which is occlusion, is as good in this test: 0.76 with eight
# regions, and with four 0.46 against 0.45. (Ten photographs leave wide intervals.)
# Occlusion needs 17 runs of the network, and the shares of the study need 100. So to
# find the best regions, occlusion is enough here. Shapley values are for another
# purpose: shares that sum to the whole.
#
# Two draws of 100 groups give shares that correlate by 0.90. If the absent regions
# become noise and not grey, the shares correlate by 0.75 with those over grey. So what
# "absent" means is a choice, and it changes the shares. Say what you chose whenever you
# show shares.
#
# ## Your own table
# `Explainer` needs a function from rows to numbers and some rows of your data. The
# function may be a network, a model of another library, or a formula:
#
# ```python
# table = np.loadtxt("mine.csv", delimiter=",", skiprows=1)
# explainer = Explainer(my_prediction, background=table[:50])
# found = explainer.explain(table[50:51])  # exact: 2**n groups of n columns
# waterfall(found.values[0], found.base_value, my_names, table[50])
# ```
#
# With 12 columns and 50 rows of background the exact way predicts 4,096 · 50 = 204,800
# rows for one explanation, and it accepts 20 columns at most. So with more than about
# 12 columns write `explain(rows, "kernel", samples=500)`, and show
# `found.standard_errors` too. Columns that belong together, such as three columns of
# one category, can be one player: `groups=np.array([0, 1, 1, 1, 2])`.

# %% [markdown]
# ## What to remember
# The Shapley value of a player is the mean of what the player adds, over all orders in
# which the players can come. The values sum to the whole, and no other rule keeps all
# four laws. SHAP takes features as players: a feature that is not known comes from the
# background. All groups cost $2^n$ runs of the model, so we draw orders, or groups for
# a regression, and show the standard errors. The values explain the model and not the
# world, and they depend on the numbers that an absent feature gets. Only to find the
# most important regions, occlusion is cheaper and in our test as good.
#
# ## Try it
# - Write 990 in place of 980 into the table. Who gains, and why does each row of the
#   first picture still sum to 1000?
# - Explain the flat against a background of flats without a lift:
#   `background[background[:, 3] == 0]`. What becomes of the lift's share, and why?
# - Take `grey = np.zeros_like(koala)`, which is black. Which regions gain?
# - Ask for "indri" instead of "koala". Where is the map blue?
#
# ## Exercises
# `python -m lessons start 17` begins 17.1 `path_contributions`, 17.2 `shapley_values`,
# 17.3 `kernel_solve` and 17.4 `model_paths`.
#
# ## Papers
# - Shapley 1953, A value for n-person games.
# - Castro, Gómez and Tejada 2009, Polynomial calculation of the Shapley value based on
#   sampling.
# - Lundberg and Lee 2017, A unified approach to interpreting model predictions,
#   NeurIPS. It is the lecture's "SHAP original paper":
#   [tinyurl.com/shap-paper](https://tinyurl.com/shap-paper).
#
# The lecture also names two videos:
# - "SHAP explained by paper author": Scott Lundberg, Explainable machine learning with
#   Shapley values, H2O World 2019,
#   [youtu.be/ngOBhhINWb8](https://youtu.be/ngOBhhINWb8).
# - "Shapley values in game theory": Vincent Knight, Cooperative games and the Shapley
#   value, [youtu.be/w9O0fkfMkx0](https://youtu.be/w9O0fkfMkx0).
