# %% [markdown]
# # 06 Few-shot learning
# What can be done if there are only one to five labelled examples of each new class?
#
# Exercises: 06.1 prototypes, 06.2 squared_distances, 06.3 vote, 06.4 knn_episode.
#
# Ordinary training is a problem here: a network has far more weights than examples, so
# it learns the examples by heart and fails on other images (**overfitting**). The
# lecture's answer: nearest neighbours on the features of a trained network. In the
# picture each row begins with a photograph, the *query*. The next three photographs are
# the nearest ones by the features of a real network, and the last three are the nearest
# ones by the pixels. A thin blue frame means "from the same group as the query". A
# thick orange frame means "from another group".

# %%
import numpy as np

from lessons import PICTURES, study
from minidl.data import load_picture
from minidl.figures import (
    bars_with_intervals,
    confusion_picture,
    neighbours_picture,
    photograph_strip,
    save,
    similarity_matrix,
)
from minidl.nn.models import imagenet_network
from minidl.train import confusion_matrix
from minidl.transfer import photograph_features
from minidl.transfer.fewshot import (
    episodes,
    knn_predict,
    nearest,
    nearest_neighbours,
    prototype_predict,
    squared_distances,
    vote,
)

found = photograph_features()  # of all photographs, computed once and kept
print("features:", found.features.shape)

# %%
features, labels, groups = found.features, found.labels, np.array(found.groups)
names = [file.stem for file in found.files]
pixels = np.stack([load_picture(file, 32)[0] for file in found.files])
images = np.stack([load_picture(file, 96)[0] for file in found.files])
queries = ["tiger", "rooster", "violin", "firetruck", "pepper", "lionfish"]
rows = [names.index(name) for name in queries]
others = np.setdiff1d(np.arange(len(names)), rows)
near, same = {}, {}
for space, x in (("features", features), ("pixels", pixels)):
    _, index = nearest_neighbours(x[others], labels[others], x[rows], 3, "cosine")
    near[space] = index
    same[space] = labels[others][index] == labels[rows][:, np.newaxis]
titles = ["tiger", "rooster", "violin", "fire engine", "pepper", "lionfish"]
figure = neighbours_picture(images[rows], images[others], near, same, row_titles=titles)
alt = "Six photographs with their three nearest ones. By features a tiger is near "
alt += "another tiger, a violin near a cello; by pixels a rooster is near a deer."
save(figure, "06_few_shot/neighbours", alt=alt)

# %% [markdown]
# By features a tiger is near another tiger, a violin near a cello, a fire engine near a
# dustcart. By pixels a rooster is near a deer, and a white rabbit is near both the fire
# engine and the lionfish. Features make mistakes too: the green pepper is near a green
# apple, and the lionfish, with its long fins, is near three flowers.
#
# The features are the 1,280 numbers that the network's last layer reads ([lesson
# 04](04_feature_extractor.py)). To tell 1,000 classes apart, the network had to learn
# features in which similar objects are near each other and different objects are far
# apart. We can hope that this holds for new classes too. (Here the ten groups are new.
# Many single objects, such as the zebra, belong to the 1,000 old classes. The digits at
# the end of this page are a task with classes that the network has never seen.)
#
# ## A task with one example a group
# An *N-way K-shot* task has N classes and K labelled examples of each. The examples are
# called the **support**, the pictures to be classified are the **queries**. Here is a
# 10-way 1-shot task: ten groups of photographs, one example of each. Another draw gives
# another task.

# %%
large = np.flatnonzero(np.bincount(labels)[labels] >= 7)  # the ten larger groups
rng = np.random.default_rng(3)
task = episodes(labels[large], ways=10, shots=1, queries=5, count=1, rng=rng)[0]
support, queries = large[task.support], large[task.queries]
figure = photograph_strip(images[support], groups[labels[support]], columns=4)
alt = "Ten photographs, one example of each group, from birds to vehicles."
save(figure, "06_few_shot/support", alt=alt)

# %% [markdown]
# ## The answer in three steps
# No parameter is trained. The classifier is the stored features of the examples. To add
# a new class, store the features of its examples.
#
# **1. How far** is query $q$ from example $s$? First divide each row of features by its
# length, so that the length has no influence. Then the squared distance depends only on
# the angle between the rows, and the smallest distance is the largest cosine:
#
# $$\lVert q - s \rVert^2 = 2 - 2\cos(q, s)$$
#
# **2. Which $k$ examples** are nearest?
#
# **3. Which class** do most of the $k$ neighbours have? (If two classes have equally
# many neighbours, the class that is nearer on average wins.)
#
# With one example a class $k = 1$ is enough. With $k = 3$ the three neighbours always
# come from three classes. Each vote is a tie, and the nearest one decides, as with
# $k = 1$.


# %%
def unit_rows(x):
    x = x.reshape(len(x), -1).astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


k = 1
q, s = unit_rows(features[queries]), unit_rows(features[support])
distances = np.sqrt(squared_distances(q, s))  # (50, 10)
neighbours = nearest(distances, labels[support], k)  # (50, 1)
d = np.take_along_axis(distances, neighbours, axis=1)
answers = vote(labels[support][neighbours], d)  # (50,)
assert np.allclose(distances**2, 2 - 2 * q @ s.T)

on_pixels = knn_predict(pixels[support], labels[support], pixels[queries], k, "cosine")
print(f"right by features: {np.mean(answers == labels[queries]):.0%}")
print(f"right by pixels:   {np.mean(on_pixels == labels[queries]):.0%}")
print("right by chance:   10%")

rng, shares = np.random.default_rng(0), []
for other in episodes(labels[large], 10, 1, 5, count=20, rng=rng):
    rows, new = large[other.support], large[other.queries]
    answers = knn_predict(features[rows], labels[rows], features[new], k, "cosine")
    shares.append(np.mean(answers == labels[new]))
print(f"20 other draws, by features: {min(shares):.0%} to {max(shares):.0%}")

# %% [markdown]
# The result depends on which examples are drawn, and one draw can be lucky. So the
# study draws 1,000 such tasks for each number of examples: 200 for each of five seeds.
# (The intervals say how much the mean would change with other draws from these
# photographs. They say nothing about other photographs.)

# %%
ways = {}
for space in ("features", "pixels"):
    for shots in (1, 2, 5):
        examples = "1 example" if shots == 1 else f"{shots} examples"
        ways[f"{space}, {examples}"] = f"{space}, {shots} a group"
results = [study("06_few_shot", number) for number in ways.values()]
xlabel = "share right, ten groups (chance: 0.1); 5 seeds, 95% intervals"
figure = bars_with_intervals(list(ways), results, xlabel=xlabel)
alt = "Share right with 1, 2 and 5 examples a group: about half to two thirds on "
alt += "features, about a fifth to three tenths on pixels."
save(figure, "06_few_shot/shots", alt=alt)

# %% [markdown]
# One example on features gives 0.52, and five examples on pixels give 0.29. With plain
# distances, without the division by the length, one example on features gives 0.46. (On
# pixels the division does not help: it costs 0.005 ± 0.003.)

# %%
plain = study("06_few_shot", "features, 1 a group, euclidean")
pixel_plain = "pixels, 1 a group, euclidean"
gain = study("06_few_shot", "pixels, 1 a group", minus=pixel_plain)

# %% [markdown]
# ## Five examples: one nearest, three votes, or a mean?
# A **prototype** is the mean of a class's examples (Snell et al. 2017). The query gets
# the class of the nearest prototype:
#
# $$c_j = \frac{1}{K}\sum_{i=1}^{K} f_i, \qquad
#   \text{answer} = \arg\min_j \lVert q - c_j \rVert$$
#
# Here $f_i$ are the $K$ examples of class $j$. Because we compare angles, each $f_i$,
# $q$ and $c_j$ is divided by its length. In the study prototypes are better than the
# nearest example by 0.025, and three votes are worse by 0.014.

# %%
rng = np.random.default_rng(4)
task = episodes(labels[large], ways=10, shots=5, queries=2, count=1, rng=rng)[0]
support, queries = large[task.support], large[task.queries]
s = unit_rows(features[support])
c = np.stack([s[labels[support] == group].mean(axis=0) for group in task.classes])
q = unit_rows(features[queries])
answers = task.classes[squared_distances(q, unit_rows(c)).argmin(axis=1)]
rows = features[support], labels[support], features[queries]
assert np.array_equal(answers, prototype_predict(*rows, metric="cosine"))
one = "features, 5 a group"
study("06_few_shot", one)
for rule in ("prototypes", "three votes"):
    gain = study("06_few_shot", f"{one}, {rule}", minus=one)

# %% [markdown]
# ## All photographs at once
# The matrix compares all pairs of photographs by the cosine of their features (after
# the mean of all features is subtracted). A red block on the diagonal is a group whose
# photographs lie near each other. Birds, flowers, tools and vehicles have clear blocks.
# In music only a part is clear, the strings, and the block of the mammals is paler.
# Fish and insects are few and have hardly any block. Vegetables are also near fruit and
# near flowers. The network was trained on 1,000 names, not on these groups.

# %%
order = large[np.argsort(labels[large], kind="stable")]
u = unit_rows(features[order] - features[order].mean(axis=0))
sizes = {groups[g]: int(np.sum(labels[order] == g)) for g in np.unique(labels[order])}
figure = similarity_matrix(u @ u.T, sizes)
alt = "Cosines between photographs, sorted by group: red blocks on the diagonal for "
alt += "birds, flowers, tools and vehicles."
save(figure, "06_few_shot/all_photographs", alt=alt)

# %% [markdown]
# ## Which groups are confused?
# Each photograph gets the group of its nearest neighbour among all others. Rows are the
# true groups, columns the answers. Of the 31 mistakes, eight are between fruit and
# vegetables. Others are harder to explain: two vegetables get the answer "fish". The
# mammals' block was pale in the matrix, yet all 56 mammals get the right answer. One
# near neighbour is enough, and a large group offers many. A pale block only says that
# most other mammals are not near.

# %%
x, y = features[order], labels[order]
_, index = nearest_neighbours(x, y, x, 2, "cosine")
others = y[index[:, 1]]  # the nearest one is the photograph itself
new = np.searchsorted(np.unique(y), [others, y])  # the groups as 0 ... 9
counts = confusion_matrix(*new, num_classes=10)
save(
    confusion_picture(counts, list(sizes)),
    "06_few_shot/confusion",
    alt="Groups against the group of the nearest photograph: mostly on the diagonal.",
)
print(f"{counts.sum() - counts.trace()} mistakes among {counts.sum()} photographs")

# %% [markdown]
# ## Control: is it the training?
# Perhaps any network would do. The study compares the trained network with the same
# network with random weights, block by block, with one example a group. (It uses
# photographs of 128 pixels, not 224 as above, so the trained network reaches 0.50 and
# not 0.52.) At block 0 the trained and the random network are equally good. Then the
# trained network gets better with depth, up to block 12. The random network gets worse,
# down to 0.13, little more than chance. So in this network the training makes the
# features good.

# %%
ways = {}
for network in ("trained", "random"):
    for layer in ("block 0", "block 6", "block 12", "last"):
        ways[f"{network}, {layer}"] = f"{network}, {layer}"
results = [study("06_few_shot", number) for number in ways.values()]
figure = bars_with_intervals(list(ways), results, xlabel=xlabel)
alt = "Share right by depth: rising from 0.2 to 0.5 in the trained network, falling "
alt += "from 0.2 to 0.13 in the random one."
save(figure, "06_few_shot/depth", alt=alt)

# %% [markdown]
# ## Another question: which background?
# Are features better than pixels at everything? Here four examples have four
# backgrounds. The fifth photograph, the query, shows another bird, on the same blue
# background as the guitar. By features it is nearest to the bird, by pixels to the
# guitar.

# %%
colours = [(0.8, 0.3, 0.3), (0.3, 0.7, 0.3), (0.3, 0.4, 0.8), (0.8, 0.8, 0.8)]
files = ["birds/rooster", "fruit/banana", "music/guitar2", "tools/hammer"]
files += ["birds/owl"]
behind = [*colours, colours[2]]
five = []
for file, colour in zip(files, behind, strict=True):
    five.append(load_picture(PICTURES / f"{file}.webp", 128, background=colour)[0])
five = np.stack(five)
kinds = ["bird", "fruit", "guitar", "tool"]
figure = photograph_strip(five, [*kinds, "query"], columns=5)
alt = "Four examples on red, green, blue and grey, and an owl on blue as the query."
save(figure, "06_few_shot/backgrounds", alt=alt)

by_features = imagenet_network().features(five).data
for space, x in (("features", by_features), ("pixels", five)):
    answer = knn_predict(x[:4], np.arange(4), x[4:], metric="cosine")
    print(f"by {space} the owl is nearest to the {kinds[answer[0]]}")

# %% [markdown]
# The study asks both questions in 1,000 such tasks (200 for each of five seeds), where
# guessing gives 0.25. By features the nearest example has the right group in 0.72 of
# the cases, and the right background in only 0.26. By pixels it has the right
# background in 0.85, and the right group in only 0.29. So features are not better at
# every question. Two photographs of similar *objects* have similar features. A likely
# reason is that the network was trained to name objects.

# %%
for question in ("which group?", "which background?"):
    for space in ("features", "pixels"):
        study("06_few_shot", f"{question} by {space}")

# %% [markdown]
# Features can also fail on new classes of the same kind of images. A small network
# learns the digits 0 to 4, and the new classes are 5 to 9, with one example each. On
# this network's features the nearest example is right in 0.47 of the cases, and on
# pixels in 0.72. Perhaps the network had no reason to keep what distinguishes the other
# five. (The study does not test this: it has no network with random weights here.) And
# digits are centred and of one size, so pixels are good already. Another danger is an
# untypical example: with one example a class, nothing corrects it.

# %%
for space in ("features", "pixels"):
    study("06_few_shot", f"unseen digits, {space}")

# %% [markdown]
# ## What to remember
# - With one to five examples a class, nearest neighbours on the features of a trained
#   network need no further training. Here the nearest example is right on 52% of the
#   queries (one example a group) to 70% (five), where guessing gives 10%.
# - Divide features by their length and compare angles (cosine). With five examples a
#   class, compare with their mean.
# - The training makes the features good. The last layer of the same network with random
#   weights is hardly better than guessing.
# - Features help with tasks that are similar to what the network was trained for. A few
#   labelled examples show whether your task is one of them.
# - One draw of examples says little: report the mean of many draws and an interval.
#
# ## Try it
# - Replace names in `queries` of the first picture, and their `titles`, by "zebra",
#   "orange", "saw" or "kiwi" (the fruit). Which neighbours surprise you?
# - In the task with one example, let `knn_predict` answer on the features with the
#   plain distance, `metric="euclidean"`. How many queries does it get right?
# - Put the owl on the hammer's background. Which of the two answers changes?
#
# ## Exercises
# `python -m lessons start 06` begins 06.1 `prototypes`, 06.2 `squared_distances`, 06.3
# `vote` and 06.4 `knn_episode`.
#
# ## Papers
# - Cover and Hart 1967, Nearest neighbor pattern classification.
# - Vinyals et al. 2016, Matching networks for one shot learning.
# - Snell, Swersky and Zemel 2017, Prototypical networks for few-shot learning.
