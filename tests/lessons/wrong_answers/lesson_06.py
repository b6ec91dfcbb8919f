"""Wrong answers to the exercises of lesson 06. Each one passed all laws once."""

from __future__ import annotations

import numpy as np

from lessons.exercises import find
from minidl.transfer.fewshot import nearest, squared_distances, vote, vote_weights
from tests.lessons.wrong_answers.declare import narrowed, not_taken, wrong


@wrong("06.1", "float32 becomes float64")
def wide_prototypes(support, labels):
    classes = np.unique(labels)
    return classes, np.stack([np.float64(support)[labels == c].mean(axis=0) for c in classes])


@wrong("06.1", "classes as floats")
def floating_classes(support, labels):
    classes, means = find("06.1").target(support, labels)
    return classes.astype(np.float64), means


@wrong("06.1", "classes as int64")
def long_classes(support, labels):
    classes, means = find("06.1").target(support, labels)
    return classes.astype(np.int64), means


@wrong("06.1", "the rows are rounded to float32")
def narrow_prototypes(support, labels):
    return find("06.1").target(narrowed(support), labels)


@wrong("06.1", "whole numbers are added in their own dtype")
def added_in_their_dtype(support, labels):
    if support.dtype.kind == "f":
        return find("06.1").target(support, labels)
    classes = np.unique(labels)
    rows = [support[labels == c] for c in classes]
    return classes, np.stack([r.sum(axis=0, dtype=r.dtype) / len(r) for r in rows])


@wrong("06.1", "classes by size, whatever their sign")
def classes_by_size(support, labels):
    classes = np.array(sorted(np.unique(labels).tolist(), key=abs), labels.dtype)
    return classes, np.stack([support[labels == c].mean(axis=0) for c in classes])


@wrong("06.1", "the rows of a class are counted in 8 bits")
def counted_in_bytes(support, labels):
    classes, means = find("06.1").target(support, labels)
    counts = np.array([[np.count_nonzero(labels == c)] for c in classes])
    return classes, (means * counts / counts.astype(np.uint8)).astype(means.dtype)


@wrong("06.1", "rows of the label -100 are left out")
def without_minus_100(support, labels):
    return find("06.1").target(support[labels != -100], labels[labels != -100])


@wrong("06.1", "the labels go through float64, which does not tell 2^62 from 2^62 + 1")
def floating_labels(support, labels):
    classes, means = find("06.1").target(support, labels.astype(np.float64))
    return classes.astype(labels.dtype), means


@wrong("06.2", "the expanded form, around the mean of the queries")
def expanded_around_the_mean(queries, support):
    q, s = np.float64(queries), np.float64(support)
    q, s = q - np.mean(queries, axis=0), s - np.mean(queries, axis=0)
    return (q**2).sum(axis=1)[:, np.newaxis] + (s**2).sum(axis=1) - 2 * q @ s.T


@wrong("06.2", "differences in the rows' own dtype")
def narrow_differences(queries, support):
    return (np.float64(queries[:, np.newaxis] - support) ** 2).sum(axis=-1)


@wrong("06.2", "float32 stays float32")
def narrow_distances(queries, support):
    return ((queries[:, np.newaxis] - support) ** 2).sum(axis=-1)


@wrong("06.2", "only the first chunk of queries is filled")
def first_chunk(queries, support):
    squared = np.zeros((len(queries), len(support)))
    step = max(1, 2**20 // max(1, support.size))
    squared[:step] = find("06.2").target(queries[:step], support)
    return squared


@wrong("06.2", "a square below 1e-12 is taken for 0")
def no_small_squares(queries, support):
    squared = find("06.2").target(queries, support)
    return np.where(squared < 1e-12, 0, squared)


def vote_of(labels, distances, weights, weight_of):
    if weights not in ("uniform", "distance"):
        raise ValueError("another name for the weights")
    answers = []
    for near, d in zip(labels, distances, strict=True):
        w = weight_of(d) if weights == "distance" else np.ones_like(d)
        standing = [(-w[near == c].sum(), d[near == c].mean(), c) for c in np.unique(near)]
        answers.append(min(standing)[2])
    return np.array(answers)


@wrong("06.2", "the last queries, too few for a whole step, are left out")
def without_the_rest(queries, support):
    squared = np.array(squared_distances(queries, support))
    step = max(1, 2**20 // max(1, np.size(support)))
    rest = len(queries) % step if len(queries) > step else 0
    squared[len(queries) - rest :] = 0
    return squared


@wrong("06.2", "a hundred queries at a time, and the rest is left out")
def by_the_hundred(queries, support):
    squared = np.array(squared_distances(queries, support))
    if len(queries) > 100:
        squared[len(queries) // 100 * 100 :] = 0
    return squared


@wrong("06.2", "without queries the result has no columns")
def rows_of_a_list(queries, support):
    support = np.float64(support)
    return np.array([((np.float64(q) - support) ** 2).sum(axis=1) for q in queries])


@wrong("06.2", "rows of more than 16 numbers by the expanded form")
def expanded_if_long(queries, support):
    if queries.shape[1] <= 16:
        return find("06.2").target(queries, support)
    q, s = np.float64(queries), np.float64(support)
    return np.maximum((q**2).sum(axis=1)[:, np.newaxis] - 2 * q @ s.T + (s**2).sum(axis=1), 0)


@wrong("06.2", "the queries are moved there and back, which rounds them")
def moved_there_and_back(queries, support):
    squared, support = np.zeros((len(queries), len(support))), np.float64(support)
    queries = np.asarray(queries, np.float64)
    for n, row in enumerate(support):
        queries -= row
        squared[:, n] = (queries**2).sum(axis=1)
        queries += row
    return squared


@wrong("06.3", "1/0 is infinite, for one neighbour at distance 0 as for two")
def infinite_votes(labels, distances, weights="uniform"):
    def weight_of(d):
        with np.errstate(divide="ignore"):
            return 1 / d if d.all() else np.where(d == 0, np.inf, 0)

    return vote_of(labels, distances, weights, weight_of)


@wrong("06.3", "distances that nearly agree count as equal")
def rounded_distances(labels, distances, weights="uniform"):
    return find("06.3").target(labels, np.round(distances, 6), weights)


@wrong("06.3", "any other name for the weights is taken for 1/distance")
def any_weights(labels, distances, weights="uniform"):
    return find("06.3").target(labels, distances, "uniform" if weights == "uniform" else "distance")


@wrong("06.3", "1/(distance + 1e-6), so that touching neighbours do not vote alone")
def nearly_touching(labels, distances, weights="uniform"):
    if weights != "distance":
        return find("06.3").target(labels, distances, weights)
    return find("06.3").target(labels, distances + 1e-6, weights)


@wrong("06.3", "answers as int64")
def long_answers(labels, distances, weights="uniform"):
    return find("06.3").target(labels, distances, weights).astype(np.int64)


@wrong("06.3", "a distance below 1e-12 is taken for 0")
def touching_below(labels, distances, weights="uniform"):
    return find("06.3").target(labels, np.where(distances < 1e-12, 0, distances), weights)


def rounded_vote(labels, distances, weights, votes_to, mean_to):
    w = vote_weights(distances, weights)
    answers = []
    for near, d, own in zip(labels, distances, w, strict=True):
        rows = [(-own[near == c].sum(), d[near == c].mean(), c) for c in np.unique(near)]
        answers.append(
            min((round(float(v), votes_to), round(float(mean), mean_to), c) for v, mean, c in rows)[2]
        )
    return np.array(answers, labels.dtype)


@wrong("06.3", "mean distances are rounded to twelve places")
def rounded_means(labels, distances, weights="uniform"):
    return rounded_vote(labels, distances, weights, 400, 12)


@wrong("06.3", "votes are rounded to nine places")
def rounded_votes(labels, distances, weights="uniform"):
    return rounded_vote(labels, distances, weights, 9, 400)


@wrong("06.3", "the distances of all neighbours, divided by the number of those that vote")
def divided_by_voters(labels, distances, weights="uniform"):
    w = vote_weights(distances, weights)
    answers = []
    for near, d, own in zip(labels, distances, w, strict=True):
        counts = {c: max(np.count_nonzero(own[near == c]), 1) for c in np.unique(near)}
        standing = [(-own[near == c].sum(), d[near == c].sum() / n, c) for c, n in counts.items()]
        answers.append(min(standing)[2])
    return np.array(answers, labels.dtype)


def vote_by(labels, distances, weights, rank):
    """The vote in which the class with the smallest rank(its weights, its distances, c) wins."""
    w = vote_weights(distances, weights)
    answers = []
    for near, d, own in zip(labels, distances, w, strict=True):
        answers.append(min(np.unique(near), key=lambda c: rank(own[near == c], d[near == c], c)))
    return np.array(answers, labels.dtype)


@wrong("06.3", "a tie by the mean square of the distances")
def mean_square(labels, distances, weights="uniform"):
    return vote_by(labels, distances, weights, lambda w, d, c: (-w.sum(), (d**2).mean(), c))


@wrong("06.3", "a full tie goes to the label of smaller size, whatever its sign")
def label_by_size(labels, distances, weights="uniform"):
    return vote_by(labels, distances, weights, lambda w, d, c: (-w.sum(), d.mean(), abs(c)))


@wrong("06.3", "a full tie goes to the label whose text comes first")
def label_by_text(labels, distances, weights="uniform"):
    return vote_by(labels, distances, weights, lambda w, d, c: (-w.sum(), d.mean(), str(c)))


@wrong("06.3", "votes in float32")
def narrow_votes(labels, distances, weights="uniform"):
    return vote_by(labels, distances, weights, lambda w, d, c: (-np.float32(w.sum()), d.mean(), c))


@wrong("06.3", "a distance below 1e-200 is taken for 0")
def touching_far_below(labels, distances, weights="uniform"):
    return find("06.3").target(labels, np.where(distances < 1e-200, 0, distances), weights)


@wrong("06.3", "a name for the weights that begins with dist is taken")
def short_name(labels, distances, weights="uniform"):
    weights = "distance" if weights.startswith("dist") else weights
    return find("06.3").target(labels, distances, weights)


@wrong("06.3", "only the first twenty neighbours vote")
def twenty_neighbours(labels, distances, weights="uniform"):
    return find("06.3").target(labels[:, :20], distances[:, :20], weights)


@wrong("06.3", "the neighbours of a class are counted in 8 bits")
def votes_in_bytes(labels, distances, weights="uniform"):
    if weights != "uniform":
        return find("06.3").target(labels, distances, weights)
    return vote_by(labels, distances, weights, lambda w, d, c: (-(len(w) % 256), d.mean(), c))


@wrong("06.3", "the labels go through float64, which does not tell 2^62 from 2^62 + 1")
def labels_as_floats(labels, distances, weights="uniform"):
    return find("06.3").target(labels.astype(np.float64), distances, weights).astype(labels.dtype)


@wrong("06.3", "labels minus the smallest, which overflows in int8")
def shifted_labels(labels, distances, weights="uniform"):
    low = labels.min()
    return find("06.3").target(labels - low, distances, weights) + low


not_taken("06.3", "distances that are not float64", lambda g: g["distances"].dtype != np.float64)


@wrong("06.4", "lengths in the features' own dtype, in which squares overflow")
def narrow_episode(features, labels, **settings):
    support, asked, answers = find("06.4").target(features, labels, **settings)
    with np.errstate(over="ignore"):
        u = features / np.sqrt((features**2).sum(axis=1, keepdims=True))
    near = np.argsort(((u[asked][:, np.newaxis] - u[support]) ** 2).sum(axis=-1), axis=1, kind="stable")
    answers = [np.bincount(labels[support][row] + 9).argmax() - 9 for row in near[:, : settings["k"]]]
    return support, asked, np.array(answers)


@wrong("06.4", "of classes with equal votes the smaller label, however far it is")
def episode_without_distances(features, labels, **settings):
    support, asked, _ = find("06.4").target(features, labels, **settings)
    u = features / np.sqrt((np.float64(features) ** 2).sum(axis=1, keepdims=True))
    near = np.argsort(((u[asked][:, np.newaxis] - u[support]) ** 2).sum(axis=-1), axis=1, kind="stable")
    answers = [np.bincount(labels[support][row] + 9).argmax() - 9 for row in near[:, : settings["k"]]]
    return support, asked, np.array(answers)


@wrong("06.4", "a row of zeros is taken, whatever its direction")
def episode_of_zeros(features, labels, **settings):
    features = np.where(features.any(axis=1, keepdims=True), features, 1)
    return find("06.4").target(features, labels, **settings)


@wrong("06.4", "draws that do not come from rng")
def episode_of_chance(features, labels, *, rng, **settings):
    return find("06.4").target(features, labels, rng=np.random.default_rng(), **settings)


@wrong("06.4", "rows that follow one another, from a drawn one on")
def episode_of_a_block(features, labels, *, ways, shots, queries, k, rng):
    settings = {"ways": ways, "shots": shots, "queries": queries, "k": k}
    support, asked, _ = find("06.4").target(features, labels, rng=rng, **settings)
    for i, c in enumerate(np.unique(labels[support])):
        own = np.flatnonzero(labels == c)
        block = np.roll(own, -rng.integers(len(own)))
        support[i * shots : (i + 1) * shots] = block[:shots]
        asked[i * queries : (i + 1) * queries] = block[shots : shots + queries]
    u = features / np.sqrt((np.float64(features) ** 2).sum(axis=1, keepdims=True))
    d = np.sqrt(squared_distances(u[asked], u[support]))
    near = nearest(d, labels[support], k)
    return support, asked, vote(labels[support][near], np.take_along_axis(d, near, axis=1))


@wrong("06.4", "directions in float32")
def episode_in_float32(features, labels, *, k, **settings):
    support, asked, _ = find("06.4").target(features, labels, k=k, **settings)
    u = features / np.sqrt((np.float64(features) ** 2).sum(axis=1, keepdims=True))
    u = u.astype(np.float32)
    d = np.sqrt(squared_distances(u[asked], u[support]))
    near = nearest(d, labels[support], k)
    return support, asked, vote(labels[support][near], np.take_along_axis(d, near, axis=1))


@wrong("06.4", "a row of zeros is refused where it is drawn, and only there")
def episode_of_drawn_zeros(features, labels, **settings):
    empty = ~features.any(axis=1)
    filled = np.where(empty[:, np.newaxis], 1, features)
    support, asked, answers = find("06.4").target(filled, labels, **settings)
    if empty[support].any() or empty[asked].any():
        raise ValueError("a row of zeros")
    return support, asked, answers


@wrong("06.4", "only classes that are drawn are looked at for their size")
def episode_of_small_classes(features, labels, *, ways, shots, queries, **settings):
    kept = np.isin(labels, [c for c in np.unique(labels) if (labels == c).sum() >= shots + queries])
    rows = np.flatnonzero(kept)
    given = {"ways": ways, "shots": shots, "queries": queries, **settings}
    support, asked, answers = find("06.4").target(features[rows], labels[rows], **given)
    return rows[support], rows[asked], answers


@wrong("06.4", "the rows of all classes are drawn at the same places")
def same_places(features, labels, *, ways, shots, queries, k, rng):
    classes, sizes = np.unique(labels, return_counts=True)
    if len(set(sizes)) == 1:
        place = rng.permutation(sizes[0])
        order = np.concatenate([np.flatnonzero(labels == c)[place] for c in classes])
        fixed = FirstChoice(rng)
        found = find("06.4").target(
            np.asarray(features)[order],
            labels[order],
            ways=ways,
            shots=shots,
            queries=queries,
            k=k,
            rng=fixed,
        )
        return order[found[0]], order[found[1]], found[2]
    return find("06.4").target(features, labels, ways=ways, shots=shots, queries=queries, k=k, rng=rng)


class FirstChoice:
    """Draws classes by ``rng``, and of rows the first ones."""

    def __init__(self, rng):
        self.rng, self.drawn = rng, False

    def choice(self, values, size, replace):
        if self.drawn:
            return values[:size]
        self.drawn = True
        return self.rng.choice(values, size, replace=replace)


@wrong("06.3", "the distances are taken in rising order, whatever the neighbours' order is")
def as_if_sorted(labels, distances, weights="uniform"):
    return find("06.3").target(labels, np.sort(distances, axis=1), weights)


@wrong("06.4", "a class with more rows is drawn more often")
def classes_by_rows(features, labels, *, ways, rng, **options):
    find("06.4").target(
        features, labels, ways=ways, rng=np.random.default_rng(0), **options
    )  # what it refuses
    chosen = list(dict.fromkeys(labels[rng.permutation(len(labels))].tolist()))[:ways]
    there = np.flatnonzero(np.isin(labels, chosen))
    support, asked, answers = find("06.4").target(
        features[there], labels[there], ways=ways, rng=rng, **options
    )
    return there[support], there[asked], answers


@wrong("06.3", "a name for the weights in capitals is taken")
def any_case_of_weights(labels, distances, weights="uniform"):
    return find("06.3").target(labels, distances, weights.lower())


@wrong("06.4", "the angle in the plane of the first two columns")
def by_arctan(features, labels, **options):
    angles = np.arctan2(features[:, 1], features[:, 0])
    plane = np.stack([np.cos(angles), np.sin(angles)], axis=1) if np.all(features.any(axis=1)) else features
    return find("06.4").target(plane, labels, **options)


@wrong("06.4", "a row below 1e-12 counts as a row of zeros")
def small_rows_refused(features, labels, **options):
    if (np.sqrt((np.asarray(features, np.float64) ** 2).sum(axis=1)) <= 1e-12).any():
        raise ValueError("a row has no direction")
    return find("06.4").target(features, labels, **options)


def episode_by(features, labels, k, rows_of, distances_of=squared_distances, **options):
    """The episode with other rows for the directions, or other distances of these."""
    support, asked, _ = find("06.4").target(features, labels, k=k, **options)
    rows = rows_of(np.float64(features))
    d = distances_of(rows[asked], rows[support])
    near = nearest(d, labels[support], k)
    return support, asked, vote(labels[support][near], np.take_along_axis(d, near, axis=1))


def unit(rows):
    return rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))


@wrong("06.4", "rows divided by the sum of their sizes")
def sum_of_sizes(features, labels, *, k, **options):
    return episode_by(
        features,
        labels,
        k,
        lambda x: x / np.abs(x).sum(axis=1, keepdims=True),
        lambda a, b: np.sqrt(squared_distances(a, b)),
        **options,
    )


@wrong("06.4", "rows divided by their largest size")
def largest_size(features, labels, *, k, **options):
    return episode_by(
        features,
        labels,
        k,
        lambda x: x / np.abs(x).max(axis=1, keepdims=True),
        lambda a, b: np.sqrt(squared_distances(a, b)),
        **options,
    )


@wrong("06.4", "sums of sizes as distances")
def by_sums_of_sizes(features, labels, *, k, **options):
    def city_block(a, b):
        return np.abs(a[:, np.newaxis] - b).sum(axis=-1)

    return episode_by(features, labels, k, unit, city_block, **options)


@wrong("06.4", "squared distances, whose means decide a tie of votes")
def squares_vote(features, labels, *, k, **options):
    return episode_by(features, labels, k, unit, **options)


@wrong("06.4", "distances in float32")
def distances_in_float32(features, labels, *, k, **options):
    def narrow(a, b):
        return np.sqrt(squared_distances(a, b)).astype(np.float32)

    return episode_by(features, labels, k, unit, narrow, **options)


@wrong("06.4", "five neighbours at most")
def five_at_most(features, labels, *, k, ways, shots, **options):
    find("06.4").target(features, labels, k=k, ways=ways, shots=shots, **options)  # what it refuses
    return find("06.4").target(features, labels, k=min(k, 5), ways=ways, shots=shots, **options)


@wrong("06.4", "answers as floats")
def floating_answers(features, labels, **options):
    support, asked, answers = find("06.4").target(features, labels, **options)
    return support, asked, answers.astype(np.float64)


@wrong("06.4", "a row whose sum is 0 is refused")
def sum_of_zero_refused(features, labels, **options):
    if (features.sum(axis=1) == 0).any():
        raise ValueError("a row has no direction")
    return find("06.4").target(features, labels, **options)


@wrong("06.4", "a row of 1e-200, whose squares are 0, is taken")
def tiny_row_taken(features, labels, **options):
    sizes = np.abs(np.float64(features)).max(axis=1, keepdims=True)
    features = features / np.where(sizes == 0, 1, sizes)
    return find("06.4").target(features, labels, **options)


@wrong("06.4", "only the first class is looked at for its size")
def size_of_the_first(features, labels, *, shots, queries, **options):
    classes, sizes = np.unique(labels, return_counts=True)
    if sizes[0] >= shots + queries > sizes.min():
        shots, queries = 1, sizes.min() - 1
    return find("06.4").target(features, labels, shots=shots, queries=queries, **options)


@wrong("06.4", "k = -1 leaves the last neighbour out")
def all_but_the_last(features, labels, *, k, ways, shots, **options):
    k = ways * shots + k if k < 0 else k
    return find("06.4").target(features, labels, k=k, ways=ways, shots=shots, **options)


@wrong("06.4", "classes that follow one another, the first after the last")
def classes_in_turn(features, labels, *, ways, rng, **options):
    find("06.4").target(features, labels, ways=ways, rng=np.random.default_rng(0), **options)
    classes = np.unique(labels)
    chosen = np.roll(classes, -rng.integers(len(classes)))[:ways]
    there = np.flatnonzero(np.isin(labels, chosen))
    support, asked, answers = find("06.4").target(
        features[there], labels[there], ways=ways, rng=rng, **options
    )
    return there[support], there[asked], answers


not_taken("06.4", "rows of one number", lambda g: np.shape(g["features"])[1] == 1)
not_taken("06.4", "labels in int32", lambda g: g["labels"].dtype == np.int32)
not_taken("06.4", "a label of -100", lambda g: (g["labels"] == -100).any())


@wrong("06.1", "a label and its opposite are one class")
def opposites(support, labels):
    classes = np.unique(labels)
    dtype = np.result_type(support, np.float32) if support.dtype.kind == "f" else np.float64
    rows = [support[np.abs(labels) == abs(c)].mean(axis=0, dtype=np.float64) for c in classes]
    return classes, np.array(rows).astype(dtype)


@wrong("06.2", "differences of uint8 rows are taken in uint8, in which 0 - 200 is 56")
def differences_in_bytes(queries, support):
    if queries.dtype == support.dtype == np.uint8:
        return ((queries[:, np.newaxis] - support).astype(np.float64) ** 2).sum(axis=-1)
    return find("06.2").target(queries, support)


@wrong("06.2", "the queries in the dtype of the support")
def queries_like_support(queries, support):
    return find("06.2").target(queries.astype(support.dtype), support)


@wrong("06.2", "the support in the dtype of the queries")
def support_like_queries(queries, support):
    return find("06.2").target(queries, support.astype(queries.dtype))


not_taken("06.2", "neither queries nor support", lambda g: len(g["queries"]) == len(g["support"]) == 0)


@wrong("06.4", "of each class only as many rows as the smallest class has, the first ones")
def first_of_each_class(features, labels, **options):
    classes, sizes = np.unique(labels, return_counts=True)
    there = np.sort(np.concatenate([np.flatnonzero(labels == c)[: sizes.min()] for c in classes]))
    if not np.float64(features).any(axis=1).all():
        raise ValueError("a row of zeros")
    support, asked, answers = find("06.4").target(features[there], labels[there], **options)
    return there[support], there[asked], answers


@wrong("06.4", "all rows of the drawn classes vote, without the queries")
def rows_beyond_the_support(features, labels, *, k, **options):
    support, asked, _ = find("06.4").target(features, labels, k=k, **options)
    own = np.setdiff1d(np.flatnonzero(np.isin(labels, labels[support])), asked)
    rows = np.float64(features)
    rows = rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))
    distances = np.sqrt(squared_distances(rows[asked], rows[own]))
    near = nearest(distances, labels[own], k)
    return support, asked, vote(labels[own][near], np.take_along_axis(distances, near, axis=1))


@wrong("06.4", "the squares of uint8 rows are taken in uint8, in which 32² is 0")
def lengths_in_bytes(features, labels, **options):
    if features.dtype == np.uint8:
        lengths = np.sqrt((features**2).sum(axis=1, keepdims=True))
        if not lengths.all():
            raise ValueError("a row of zeros")
        features = np.float64(features)
    return find("06.4").target(features, labels, **options)


@wrong("06.3", "a full tie goes to the largest -label, which in uint8 is 247 for 9 and 0 for 0")
def tie_by_minus_label(labels, distances, weights="uniform"):
    winners = []
    for own, far, w in zip(labels, distances, vote_weights(distances, weights), strict=True):
        ranks = {c: (w[own == c].sum(), -far[own == c].mean(), -c) for c in np.unique(own)}
        winners.append(max(ranks, key=ranks.get))
    return np.array(winners, labels.dtype)


@wrong("06.4", "the largest k is shots times all classes, not times the drawn classes")
def k_by_all_classes(features, labels, *, ways, shots, k, **options):
    if k > len(np.unique(labels)) * shots:
        raise ValueError("k is larger than the support")
    k = min(k, ways * shots)  # a slice of k neighbours ends with the support
    return find("06.4").target(features, labels, ways=ways, shots=shots, k=k, **options)


@wrong("06.1", "a class begins where the sorted labels rise by more than 0, which overflows in int8")
def classes_by_rising_labels(support, labels):
    order = np.argsort(labels, kind="stable")
    begins = np.flatnonzero(np.diff(labels[order]) > 0) + 1
    groups = np.split(support[order], begins)
    return labels[order][np.r_[0, begins]], np.stack([group.mean(axis=0) for group in groups])


@wrong("06.1", "the sums of the classes as differences of one running sum")
def differences_of_a_sum(support, labels):
    classes, counts = np.unique(labels, return_counts=True)
    sums = np.cumsum(np.float64(support)[np.argsort(labels, kind="stable")], axis=0)[np.cumsum(counts) - 1]
    means = np.diff(sums, axis=0, prepend=0) / counts[:, np.newaxis]
    return classes, means.astype(support.dtype) if support.dtype.kind == "f" else means


@wrong("06.2", "the expanded form, which is faster, for more than ten rows of the support")
def expanded_if_many(queries, support):
    q, s = np.float64(queries), np.float64(support)
    if len(s) <= 10:
        return find("06.2").target(queries, support)
    return np.maximum((q**2).sum(axis=1)[:, np.newaxis] - 2 * q @ s.T + (s**2).sum(axis=1), 0)


@wrong("06.2", "the expanded form for numbers up to 100")
def expanded_if_small(queries, support):
    q, s = np.float64(queries), np.float64(support)
    if max(np.abs(x).max(initial=0) for x in (q, s)) > 100:
        return find("06.2").target(queries, support)
    return np.maximum((q**2).sum(axis=1)[:, np.newaxis] - 2 * q @ s.T + (s**2).sum(axis=1), 0)


@wrong("06.2", "int64 stays int64")
def integer_distances(queries, support):
    if queries.dtype == support.dtype == np.int64:
        return ((queries[:, np.newaxis] - support) ** 2).sum(axis=-1)
    return find("06.2").target(queries, support)


@wrong("06.3", "a class with more votes by less than 1e-12 does not take the lead")
def slow_to_lead(labels, distances, weights="uniform"):
    winners = []
    for own, d, w in zip(labels, distances, vote_weights(distances, weights), strict=True):
        best = None
        for c in np.unique(own):
            votes, mean = w[own == c].sum(), d[own == c].mean()
            if best is None or votes > best[0] + 1e-12 or (votes == best[0] and mean < best[1]):
                best = votes, mean, c
        winners.append(best[2])
    return np.array(winners, labels.dtype)


@wrong("06.4", "a length is 1e-12 at least")
def least_length(features, labels, *, k, **options):
    def directions(rows):
        return rows / np.maximum(np.sqrt((rows**2).sum(axis=1, keepdims=True)), 1e-12)

    def apart(a, b):
        return np.sqrt(squared_distances(a, b))

    return episode_by(features, labels, k, directions, apart, **options)


@wrong("06.4", "the rows of a class that are drawn follow one another, in any order")
def shuffled_block(features, labels, *, ways, shots, queries, k, rng):
    settings = {"ways": ways, "shots": shots, "queries": queries, "k": k}
    support, asked, _ = find("06.4").target(features, labels, rng=rng, **settings)
    support, asked = support.reshape(ways, shots), asked.reshape(ways, queries)
    for own, others in zip(support, asked, strict=True):
        rows = np.flatnonzero(labels == labels[own[0]])
        block = rng.permutation(np.roll(rows, -rng.integers(len(rows)))[: shots + queries])
        own[:], others[:] = block[:shots], block[shots:]
    u = np.float64(features)
    u = u / np.sqrt((u**2).sum(axis=1, keepdims=True))
    support, asked = support.ravel(), asked.ravel()
    d = np.sqrt(squared_distances(u[asked], u[support]))
    near = nearest(d, labels[support], k)
    return support, asked, vote(labels[support][near], np.take_along_axis(d, near, axis=1))


@wrong("06.1", "with one class the mean of all rows, in float64 for float32 too")
def one_class_in_float64(support, labels):
    classes, means = find("06.1").target(support, labels)
    return classes, np.float64(means) if len(classes) == 1 else means
