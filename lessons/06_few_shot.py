# %% [markdown]
# # 06 Few-shot learning
# What can be done if there are only one to five labelled examples of each new class?
#
# Exercises: 06.1 squared_distances, 06.2 nearest, 06.3 vote, 06.4 prototypes.
#
# The lecture's answer: nearest neighbours on the features of a trained network. The
# picture shows a query in each row, and its three nearest photographs: first by the
# features of a real network, then by the pixels. A thin blue frame means "from the same
# group as the query", a thick orange one "from another group".

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
queries = ["tiger", "rooster", "violin", "firetruck", "pepper", "clownfish"]
rows = [names.index(name) for name in queries]
others = np.setdiff1d(np.arange(len(names)), rows)
near, same = {}, {}
for space, x in (("features", features), ("pixels", pixels)):
    _, index = nearest_neighbours(x[others], labels[others], x[rows], 3, "cosine")
    near[space] = index
    same[space] = labels[others][index] == labels[rows][:, np.newaxis]
titles = ["tiger", "rooster", "violin", "fire engine", "pepper", "clownfish"]
figure = neighbours_picture(images[rows], images[others], near, same, row_titles=titles)
alt = "Six photographs with their three nearest ones. By features a tiger is near "
alt += "another tiger, a violin near a cello; by pixels a rooster is near a doe."
save(figure, "06_few_shot/neighbours", alt=alt)

# %% [markdown]
# By features a tiger is near another tiger, a violin near a cello, a fire engine near a
# dustcart. By pixels a rooster is near a doe, because both fill the same places with
# brown. Features make mistakes too: the green pepper is near a green apple, and the
# clownfish is near a rose.
#
# The features are the 1,280 numbers that the network's last layer reads ([lesson
# 04](04_feature_extractor.py)). The network learned them from more than a million
# photographs. So there is reason to believe that it places different things far apart.
#
# ## A task with one example a group
# An *N-way K-shot* task has N classes and K labelled examples of each. The examples are
# called the **support**, the pictures to be told are the **queries**. Here is a 10-way
# 1-shot task: ten groups of photographs, one example of each. Another draw gives
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
# There is nothing to train. The examples are the classifier.
#
# **1. How far** is query $q$ from example $s$? Divide each row of features by its
# length first. Then the squared distance depends on the angle between the rows alone:
#
# $$\lVert q - s \rVert^2 = 2 - 2\cos(q, s)$$
#
# **2. Which $k$ examples** are nearest?
#
# **3. Which class** do most of the $k$ neighbours have? (A tie goes to the class that
# is nearer on average.)


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

# %% [markdown]
# One draw proves little. The study draws 1,000 such tasks. (The intervals speak of
# further draws from these photographs, not of other photographs.)

# %%
ways = {}
for space in ("features", "pixels"):
    for shots in (1, 2, 5):
        examples = "1 example" if shots == 1 else f"{shots} examples"
        ways[f"{space}, {examples}"] = f"{space}, {shots} a group"
results = [study("06_few_shot", number) for number in ways.values()]
means, lows, highs, _ = np.array(results).T
xlabel = "share right, ten groups (chance: 0.1); 5 seeds, 95% intervals"
figure = bars_with_intervals(list(ways), means, lows, highs, xlabel=xlabel)
alt = "Share right with 1, 2 and 5 examples a group: about half to two thirds on "
alt += "features, about a fifth to three tenths on pixels."
save(figure, "06_few_shot/shots", alt=alt)

# %% [markdown]
# One example on features is worth more than five on pixels.
#
# ## Five examples: one nearest, three votes, or a mean?
# A **prototype** is the mean of a class's examples (Snell et al. 2017). The query gets
# the class of the nearest prototype:
#
# $$c_k = \frac{1}{K}\sum_{i=1}^{K} f_i, \qquad
#   \text{answer} = \arg\min_k \lVert q - c_k \rVert$$
#
# In the study prototypes are a little better than the nearest example. Three votes are
# not: with five examples a group, the second and third neighbour often come from
# another group.

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
for rule in ("", ", prototypes", ", three votes"):
    study("06_few_shot", f"features, 5 a group{rule}")

# %% [markdown]
# ## Why it works
# The matrix compares each photograph with each other one by the cosine of their
# features (after the mean is taken off). Red blocks on the diagonal are groups that lie
# together. Fruit, flowers and vegetables are near each other too. Nobody told the
# network these groups: they are the names of the folders.

# %%
order = large[np.argsort(labels[large], kind="stable")]
u = unit_rows(features[order] - features[order].mean(axis=0))
sizes = {groups[g]: int(np.sum(labels[order] == g)) for g in np.unique(labels[order])}
figure = similarity_matrix(u @ u.T, sizes)
alt = "Cosines between photographs, sorted by group: red blocks on the diagonal for "
alt += "birds, mammals, flowers, fruit, tools and music."
save(figure, "06_few_shot/all_photographs", alt=alt)

# %% [markdown]
# ## Which group is taken for which?
# Each photograph is told by its nearest neighbour among all others. Rows are the true
# groups. Most mistakes are reasonable: five vegetables are taken for fruit.

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
print(f"{counts.trace() / counts.sum():.0%} have a neighbour of their own group")

# %% [markdown]
# ## Control: is it the training?
# Perhaps any network would do. The study compares the trained network with the same
# network with random weights, block by block (one example a group, photographs of 128
# pixels). At block 0 there is no difference. From there the trained network gets better
# with depth, and the random one gets worse, down to little more than chance. What makes
# features good is the training.

# %%
ways = {}
for network in ("trained", "random"):
    for layer in ("block 0", "block 6", "block 12", "last"):
        ways[f"{network}, {layer}"] = f"{network}, {layer}"
results = [study("06_few_shot", number) for number in ways.values()]
means, lows, highs, _ = np.array(results).T
figure = bars_with_intervals(list(ways), means, lows, highs, xlabel=xlabel)
alt = "Share right by depth: rising from 0.2 to 0.5 in the trained network, falling "
alt += "from 0.2 to chance in the random one."
save(figure, "06_few_shot/depth", alt=alt)

# %% [markdown]
# ## Roles exchanged: another question
# Are features better than pixels at everything? Put four examples on four backgrounds,
# and ask about a fifth photograph. It shows another bird, on the background of the
# guitar. By features it is nearest to the bird, by pixels to the guitar.

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
# The study asks both questions in 1,000 such tasks. The features know the group and
# have forgotten the background. The pixels know the background and hardly the group. So
# features are not better as such. They keep what the network was trained to tell apart,
# and lose the rest.

# %%
for question in ("which group?", "which background?"):
    for space in ("features", "pixels"):
        study("06_few_shot", f"{question} by {space}")

# %% [markdown]
# For the same reason features can fail on a new task that looks similar. A network that
# learned the digits 0 to 4 tells 5 to 9 worse than pixels do: it had no reason to keep
# what tells the other five apart, and digits are centred and of one size, so that
# pixels are good already.

# %%
study("06_few_shot", "unseen digits, features")
study("06_few_shot", "unseen digits, pixels")
print()

# %% [markdown]
# ## What to remember
# - With one to five examples a class, nearest neighbours on the features of a trained
#   network give a useful answer without any training.
# - Compare directions (cosine). With several examples a class, their mean is a good
#   representative.
# - The training makes the features good, not the architecture.
# - Features keep what the network was trained to tell apart. Try a few labelled
#   examples to see whether that is what your task needs.
#
# ## Try it
# - Put other names into the first picture's list, such as "zebra", "orange", "saw" or
#   "kiwi". Which neighbours surprise you?
# - Replace the cosine in "three steps" by the plain distance: leave out `unit_rows`. Do
#   features still win?
# - Put the owl on the hammer's background. Which of the two answers changes?
#
# Exercises: 06.1 squared_distances, 06.2 nearest, 06.3 vote, 06.4 prototypes.
#
# ## Papers
# - Thomas Cover and Peter Hart (1967), Nearest neighbor pattern classification.
# - Oriol Vinyals et al. (2016), Matching networks for one shot learning.
# - Jake Snell, Kevin Swersky and Richard Zemel (2017), Prototypical networks for
#   few-shot learning.
