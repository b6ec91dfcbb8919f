"""Wrong answers to the exercises of lesson 06. Each one passed all laws once."""

from __future__ import annotations

import numpy as np

from lessons.exercises import find
from minidl.transfer.fewshot import nearest, squared_distances, vote, vote_weights
from tests.lessons.wrong_answers.declare import narrowed, wrong


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
