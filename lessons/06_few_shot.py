"""06 Few-shot learning: new classes from one to five examples each, by nearest neighbours on features.

Question: can a network tell classes that it never saw, from a handful of examples and without any training?
Measured: accuracy of nearest neighbours on pixels, random and pretrained features, 1 to 20 shots, 5 seeds.
Exercises: 06.1 squared_distances, 06.2 nearest, 06.3 vote, 06.4 prototypes.
"""

# %% [markdown]
# ## Four shapes that the network never saw
# A network has learned to tell eight made shapes apart. These are four others.
# Their place, size, tilt, colours and texture are random and tell nothing of the shape.

# %%
from functools import partial

import numpy as np

from minidl.classroom.claims import claim
from minidl.data import cached_runs, load_digits, make_shapes
from minidl.figures import confusion_picture, curves_with_bands, image_grid, neighbours_picture, save
from minidl.nn.models import small_cnn
from minidl.train import Adam, confusion_matrix, evaluate, fit, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.schedules import cosine
from minidl.transfer.backbone import SOURCE_SHAPES, TARGET_SHAPES, pretrained_shapes, shapes_cnn
from minidl.transfer.fewshot import (
    episodes,
    evaluate_episodes,
    knn_predict,
    nearest,
    nearest_neighbours,
    prototype_predict,
    squared_distances,
    vote,
)

rng = np.random.default_rng(1)
images, labels, _ = make_shapes(400, size=16, shapes=TARGET_SHAPES, rng=rng)  # (400, 3, 16, 16)
print("seen:  ", ", ".join(SOURCE_SHAPES))
print("unseen:", ", ".join(TARGET_SHAPES))

by_class = np.argsort(labels, kind="stable").reshape(4, 100)
shown = by_class[:, :8].ravel()
save(image_grid(images[shown], titles=[TARGET_SHAPES[c] for c in labels[shown]]), "06_few_shot/unseen")

# %% [markdown]
# ## An episode
# A *4-way 3-shot* task: three labelled images of each of four classes, the support; and others, the queries,
# whose class is to be told. All are drawn at random, and many such episodes make an average.

# %%
episode = episodes(labels, ways=4, shots=3, queries=10, count=1, rng=rng)[0]
support, support_labels = images[episode.support], labels[episode.support]
queries, query_labels = images[episode.queries], labels[episode.queries]
print("support", support.shape, support_labels)
print("queries", queries.shape)

# %% [markdown]
# ## The answer of the nearest neighbours, in three steps
# 1. How far is the query from each example?  D² = sum over the pixels of (q − s)²
# 2. Which k examples are nearest? In order of (distance, label, number), so that nothing is left to chance.
# 3. Which class do most of them have? A tie goes to the class that is nearer on average.
#
# There is nothing to train: the examples are the classifier.

# %%
k = 3
query_rows, support_rows = queries.reshape(len(queries), -1), support.reshape(len(support), -1)
distances = np.sqrt(squared_distances(query_rows, support_rows))  # (40, 12)
neighbours = nearest(distances, support_labels, k)  # (40, 3), rows of the support
neighbour_labels = support_labels[neighbours]
answers = vote(neighbour_labels, np.take_along_axis(distances, neighbours, axis=1))

print("query 0, distances:", np.round(distances[0], 1))
print("its neighbours:", neighbours[0], " their classes:", neighbour_labels[0], " the vote:", answers[0])
print(f"right on pixels: {np.mean(answers == query_labels):.0%} of {len(answers)} queries, by chance 25%")
assert np.array_equal(answers, knn_predict(support, support_labels, queries, k))

# %% [markdown]
# ## Why the differences are squared
# ‖q − s‖² = ‖q‖² − 2 q·s + ‖s‖² is the same number and a fast matrix product. In float32 it subtracts
# numbers that are nearly equal: brighten all images alike, which changes no distance, and see what is left.

# %%
print("brightened by   worst error, expanded   by differences   same nearest neighbour")
for shift in (0, 10, 1000):
    q, s = query_rows + np.float32(shift), support_rows + np.float32(shift)  # rounds the pixels a little
    expanded = (q**2).sum(axis=1)[:, np.newaxis] - 2 * q @ s.T + (s**2).sum(axis=1)
    direct = squared_distances(q, s)
    expanded_error = np.abs(expanded - distances**2).max()
    direct_error = np.abs(direct - distances**2).max()
    same = np.mean(expanded.argmin(axis=1) == distances.argmin(axis=1))
    print(f"{shift:13}{expanded_error:24.4f}{direct_error:17.4f}{same:25.0%}")
assert expanded_error > 1000 * direct_error

# %% [markdown]
# ## The network as a measure of likeness
# Two images of one shape may have no pixel in common. A network that tells shapes apart has had to find what
# they share wherever it stands: cut off its head, and let its last 64 features stand for the image. (How
# many of these 40 queries are right is the luck of one draw; the averages come next.)

# %%
network = pretrained_shapes(seed=0)
seen_images, seen_labels, _ = make_shapes(400, size=16, shapes=SOURCE_SHAPES, rng=rng)
print(f"new images of the seen shapes: {evaluate(network, seen_images, seen_labels).accuracy:.1%} right")
body = network[:-1]  # all but the head
support_features, query_features = predict(body, support), predict(body, queries)  # (12, 64), (40, 64)

_, on_pixels = nearest_neighbours(support, support_labels, queries, k)
_, on_features = nearest_neighbours(support_features, support_labels, query_features, k)
found = {"pixels": on_pixels, "features": on_features}
same_class = {space: support_labels[index] == query_labels[:, np.newaxis] for space, index in found.items()}
for space, same in same_class.items():
    print(
        f"{space:8}: the nearest neighbour is of the query's class for {same[:, 0].mean():.0%} of the queries"
    )

two_of_each = [0, 1, 10, 11, 20, 21, 30, 31]
figure = neighbours_picture(
    queries[two_of_each],
    support,
    {space: index[two_of_each] for space, index in found.items()},
    {space: same[two_of_each] for space, same in same_class.items()},
    row_titles=[TARGET_SHAPES[c] for c in query_labels[two_of_each]],
)
save(figure, "06_few_shot/neighbours")

# %% [markdown]
# ## From one shot to twenty
# For each of 5 seeds another network is trained on the eight seen shapes and other images of the unseen ones
# are made: 60 episodes for each number of shots, the same ones for all three spaces. The control is the same
# network untrained: are the features good because they were learned, or because they are convolutions?


# %%
def measure(seed, shots):
    """Accuracy at each number of shots on pixels, random and pretrained features; other rules at 5 shots."""
    rng = np.random.default_rng(1000 + seed)
    images, labels, _ = make_shapes(400, size=16, shapes=TARGET_SHAPES, rng=rng)
    spaces = {
        "pixels": images,
        "random": predict(shapes_cnn(len(SOURCE_SHAPES), rng)[:-1], images),
        "pretrained": predict(pretrained_shapes(seed)[:-1], images),
    }
    drawn = {n: episodes(labels, ways=4, shots=n, queries=10, count=60, rng=rng) for n in shots}
    scores = {
        space: np.array([evaluate_episodes(x, labels, drawn[n]).interval.mean for n in shots])
        for space, x in spaces.items()
    }
    rules = {
        "knn3": partial(knn_predict, k=3),
        "knn5": partial(knn_predict, k=5),
        "knn5_by_distance": partial(knn_predict, k=5, weights="distance"),
        "knn1_cosine": partial(knn_predict, metric="cosine"),
        "prototypes": prototype_predict,
    }
    for space in ("pixels", "pretrained"):
        for rule, answer in rules.items():
            scores[f"{space}.{rule}"] = evaluate_episodes(
                spaces[space], labels, drawn[5], answer
            ).accuracies.mean()
    return scores


shots = [1, 2, 3, 4, 5, 20]
runs = cached_runs("06_few_shot", [{"seed": seed, "shots": shots} for seed in range(5)], measure)
accuracy = {space: np.stack([run[space] for run in runs]) for space in ("pixels", "random", "pretrained")}
for space, values in accuracy.items():
    print(f"{space:10}", "  ".join(f"{n}: {t_interval(values[:, i])}" for i, n in enumerate(shots)))

names = {
    "pretrained": "pretrained features",
    "pixels": "pixels",
    "random": "random features",
}
curves = {names[space]: accuracy[space] for space in names}
figure = curves_with_bands(
    shots, curves, xlabel="shots: labelled images a class", ylabel="accuracy, 4 unseen classes", log_x=True
)
figure.axes[0].set_xticks(shots, shots)
save(figure, "06_few_shot/shots")

for n in (1, 5):
    i = shots.index(n)
    gain = paired_difference(accuracy["pretrained"][:, i], accuracy["pixels"][:, i])
    claim(
        f"{n}-shot: pretrained features tell unseen classes better than pixels", gain.low > 0, {"gain": gain}
    )
    loss = paired_difference(accuracy["random"][:, i], accuracy["pixels"][:, i])
    claim(f"{n}-shot: an untrained network's features are worse than pixels", loss.high < 0, {"loss": loss})

one_shot, twenty_shots = accuracy["pretrained"][:, 0], accuracy["pixels"][:, shots.index(20)]
lead = paired_difference(one_shot, twenty_shots)
print(f"one example on features against twenty on pixels: {lead}")

# %% [markdown]
# An untrained network does worse than the pixels that it looks at: its features are means over the whole
# image, and nobody taught them to answer to shapes alone. What makes features good is training, although it
# was on other classes.
#
# ## More neighbours, other weights, or one mean
# With five shots there is a choice: let several neighbours vote, weigh them by 1/distance, compare angles
# (cosine) instead of places, or replace each class's examples by their mean, its *prototype*. Which of these
# matters depends on the space. On pixels more votes do not help, and the mean of several images does.

# %%
five = shots.index(5)
for space in ("pixels", "pretrained"):
    single = accuracy[space][:, five]
    print(f"{space}: one neighbour {t_interval(single)}; against it, paired:")
    for rule in ("knn3", "knn5", "knn5_by_distance", "knn1_cosine", "prototypes"):
        other = np.array([run[f"{space}.{rule}"] for run in runs])
        print(f"    {rule:18}{paired_difference(other, single)}")

gain = paired_difference(np.array([run["pixels.prototypes"] for run in runs]), accuracy["pixels"][:, five])
claim("5-shot on pixels: prototypes are better than one neighbour", gain.low > 0, {"gain": gain})

# %% [markdown]
# ## Which shapes are taken for which
# All queries of the first seed's network in 60 five-shot episodes, answered by prototypes.

# %%
drawn = episodes(labels, ways=4, shots=5, queries=10, count=60, rng=rng)
features = predict(body, images)
answers = np.concatenate(
    [prototype_predict(features[e.support], labels[e.support], features[e.queries]) for e in drawn]
)
truth = np.concatenate([labels[e.queries] for e in drawn])
counts = confusion_matrix(answers, truth, num_classes=4)
save(confusion_picture(counts, TARGET_SHAPES), "06_few_shot/confusion")
mistakes = counts - np.diag(counts.diagonal())
true, taken_for = np.unravel_index(mistakes.argmax(), mistakes.shape)
print(f"{np.mean(answers == truth):.1%} of {len(truth)} right")
most = f"{TARGET_SHAPES[true]} taken for {TARGET_SHAPES[taken_for]}, {mistakes[true, taken_for]} times"
print("the most frequent mistake:", most)

# %% [markdown]
# ## Where it does not help: digits
# The same experiment on real digits: a network learns 0 to 4, and 5 to 9 are the new classes. Digits are
# centred and of one size, so that pixels are a good measure already; and a network of five digits has no
# reason to keep what tells the other five apart.


# %%
def measure_digits(seed):
    """Accuracy of one neighbour at 1 and 5 shots on unseen digits: by pixels, and by learned features."""
    (train_images, train_labels), (test_images, test_labels) = load_digits()
    seen, unseen, unseen_test = train_labels < 5, train_labels >= 5, test_labels >= 5
    rng = np.random.default_rng(seed)
    model = small_cnn(num_classes=5, in_channels=1, rng=rng)
    source = train_images[seen], train_labels[seen]
    schedule = cosine(3e-3, 0.0, steps=10 * -(-len(source[0]) // 64))
    fit(
        model,
        source,
        epochs=10,
        optimizer=Adam(model.parameters(), lr=3e-3),
        schedule=schedule,
        rng=rng,
        progress=False,
    )
    images = np.concatenate([train_images[unseen], test_images[unseen_test]])
    labels = np.concatenate([train_labels[unseen], test_labels[unseen_test]])
    drawn = [episodes(labels, ways=5, shots=n, queries=10, count=60, rng=rng) for n in (1, 5)]
    spaces = {"pixels": images, "pretrained": predict(model[:-1], images)}
    return {
        space: np.array([evaluate_episodes(x, labels, e).interval.mean for e in drawn])
        for space, x in spaces.items()
    }


digit_runs = cached_runs("06_few_shot_digits", [{"seed": seed} for seed in range(5)], measure_digits)
for i, n in enumerate((1, 5)):
    on_pixels = np.array([run["pixels"][i] for run in digit_runs])
    on_features = np.array([run["pretrained"][i] for run in digit_runs])
    print(f"{n}-shot: pixels {t_interval(on_pixels)}, features {t_interval(on_features)}")
    loss = paired_difference(on_features, on_pixels)
    claim(f"{n}-shot on unseen digits: features are worse than pixels", loss.high < 0, {"loss": loss})

# %% [markdown]
# So "features beat pixels" is no law. Here it holds where the network had learned to ignore what does not
# matter for the new classes either (place, colour, texture), and where pixels cannot. The means to find out
# which case yours is are above: a few labelled images of each class make an episode.
