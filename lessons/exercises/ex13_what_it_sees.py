"""Exercises of lesson 13: confident mistakes, shape or texture, and the strongest unit of a map."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.explain import classes as by_class
from minidl.explain import cues, patches

# ---- 13.1 confident_mistakes

mistakes = Exercise(
    "13.1",
    by_class.confident_mistakes,
    title="sure and wrong",
    points=1,
    minutes=10,
    hints=(
        "First find the rows with a wrong answer. Then sort only these rows by confidence.",
        "The answer is the row's argmax, and the confidence is the row's max. Sort the indices of the "
        "wrong rows.",
        'np.argsort(-confidence[wrong], kind="stable") gives positions in wrong, so wrong[...] gives '
        "the rows",
    ),
)

ROWS = np.array([[0.75, 0.25, 0.0], [0.0, 0.25, 0.75], [0.25, 0.5, 0.25], [0.0, 1.0, 0.0], [0.5, 0.25, 0.25]])


@st.composite
def answered(draw):
    """probabilities (N, 3), often with ties, labels (N,) and k."""
    numbers = draw(st.lists(st.integers(0, 4), min_size=1, max_size=8))
    given_labels = draw(st.lists(st.integers(0, 2), min_size=len(numbers), max_size=len(numbers)))
    return ROWS[numbers], np.array(given_labels), draw(st.integers(1, 8))


@mistakes.law(
    "rows 1, 2, 3 of five are wrong, with confidence 0.75, 0.5, 1.0: the two surest are rows 3 and 1"
)
def worked_mistakes(confident_mistakes):
    labels = np.array([0, 0, 2, 0, 0])
    assert_equal(confident_mistakes(ROWS, labels, 2), np.array([3, 1]))
    assert_equal(confident_mistakes(ROWS, labels, 9), np.array([3, 1, 2]))
    assert_equal(len(confident_mistakes(ROWS, labels, 0)), 0)
    close = np.array([[0.4, 0.3, 0.3], [0.5, 0.5, 0.0]])  # the second-largest probability does not matter
    assert_equal(confident_mistakes(close, np.array([1, 1]), 2), np.array([1, 0]))


@mistakes.law("only wrong rows are returned: k of them, or all if there are fewer")
@given(case=answered())
def only_mistakes(confident_mistakes, case):
    p, labels, k = case
    found = np.array(confident_mistakes(p, labels, k), dtype=int)
    right = p.argmax(axis=1) == labels
    assert_equal(right[found], np.zeros(len(found), bool))
    assert_equal(len(found), int(min(k, (~right).sum())))


@mistakes.law("the rows are in order of falling confidence, and no row left out has a higher confidence")
@given(case=answered())
def the_surest(confident_mistakes, case):
    p, labels, k = case
    found = np.array(confident_mistakes(p, labels, k), dtype=int)
    wrong = p.argmax(axis=1) != labels
    assert_equal(p.max(axis=1)[found], np.sort(p.max(axis=1)[wrong])[::-1][:k])


@mistakes.law("on a tie the first row comes first, so the result for k is the start of the result for k + 1")
@given(case=answered())
def nested(confident_mistakes, case):
    p, labels, k = case
    same = np.tile(p[:1], (len(p), 1))  # all with equal confidence
    all_wrong = np.flatnonzero(same.argmax(axis=1) != labels)
    assert_equal(confident_mistakes(same, labels, k), all_wrong[:k])
    assert_equal(confident_mistakes(p, labels, k), confident_mistakes(p, labels, k + 1)[:k])


@mistakes.law(
    "of many mistakes with three different confidences, rows with equal confidence stay in order; 300 classes"
)
def many_ties(mistakes):
    confidence = np.array([0.5, 0.75, 0.625, 0.75, 0.625] * 8)
    found = mistakes(np.stack([confidence, 1 - confidence], axis=1), np.ones(40, int), 39)
    numbers = range(40)
    assert_equal(found, sorted(numbers, key=lambda i: (-confidence[i], i))[:39])
    sure = np.eye(300)  # row i is sure of class i
    labels = np.arange(300)
    assert_equal(len(mistakes(sure, labels, 9)), 0)
    labels[[3, 290, 299]] = 259, 34, 43  # numbers that end alike in eight bits
    assert_equal(mistakes(sure, labels, 9), np.array([3, 290, 299]))


@mistakes.law(
    "the smallest difference makes an answer surer; if two probabilities are equal, the first class is it"
)
def nearly_equal(confident_mistakes):
    rows = np.array([[0.5 - 1e-9, 0.5 + 1e-9], [0.5, 0.5], [0.5, 0.5], [0.5 + 1e-9, 0.5 - 1e-9]])
    found = confident_mistakes(rows, np.array([0, 0, 1, 1]), 4)
    assert_equal(found, np.array([0, 3, 2]))
    none = confident_mistakes(rows, np.array([1, 0, 0, 0]), 4)
    for numbers in (found, none, confident_mistakes(rows, np.array([0, 0, 1, 1]), 0)):
        assert numbers.dtype.kind == "i", f"numbers of rows are integers, not {numbers.dtype}"
    assert_equal(len(none), 0)
    for dtype, low in ((np.float64, np.float64(0.31)), (np.float32, np.float32(0.35))):
        barely = np.nextafter(low, dtype(1))  # the next float above
        rows = np.array([[low, 0.25, 0.25, 0.2], [barely, 0.25, 0.25, 0.2]], dtype)
        assert_equal(confident_mistakes(rows, np.array([1, 1]), 1), np.array([1]))
    five = np.eye(5, dtype=np.float32)[[4, 4, 0]]
    assert_equal(confident_mistakes(five, np.array([0, 4, 1]), 3), np.array([0, 2]))
    assert_equal(len(confident_mistakes(np.zeros((0, 3)), np.zeros(0, int), 2)), 0)


@mistakes.mistake("sorted by the probability of the label, lowest first", breaks=mistakes.laws[0].text)
def highest_loss(probabilities, labels, k):
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    own = probabilities[wrong, labels[wrong]]
    return wrong[np.argsort(-own, kind="stable")][:k]


@mistakes.mistake(
    "took the k surest rows of all, and then dropped the right ones",
    breaks="only wrong rows are returned: k of them, or all if there are fewer",
)
def drops_after(probabilities, labels, k):
    surest = np.argsort(-probabilities.max(axis=1), kind="stable")[:k]
    return surest[probabilities.argmax(axis=1)[surest] != labels[surest]]


@mistakes.mistake(
    "reversed a rising sort, which also reverses the ties",
    breaks="on a tie the first row comes first, so the result for k is the start of the result for k + 1",
)
def reversed_ties(probabilities, labels, k):
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(probabilities.max(axis=1)[wrong], kind="stable")][::-1][:k]


# ---- 13.2 cue_counts

counts = Exercise(
    "13.2",
    cues.cue_counts,
    title="texture or shape",
    points=1,
    minutes=10,
    hints=(
        "An answer agrees with the shape, with the texture, or with neither. Count the first two cases.",
        "Entry c of both counts is for the images whose shape has class c.",
        "np.bincount(shape_labels[...], minlength=classes) counts images for each shape. Which images "
        "do you select for each count?",
    ),
)

CLASSES = 4
PAIRS = [(s, t) for s in range(CLASSES) for t in range(CLASSES) if s != t]


@st.composite
def conflicts(draw):
    """predicted, shape_labels, texture_labels, classes."""
    rows = draw(st.lists(st.tuples(st.sampled_from(PAIRS), st.integers(0, CLASSES - 1)), max_size=10))
    columns = [[pair[0] for pair, _ in rows], [pair[1] for pair, _ in rows], [answer for _, answer in rows]]
    shapes, textures, predicted = (np.array(column, dtype=np.int64) for column in columns)
    return predicted, shapes, textures, CLASSES


@counts.law(
    "of three images with shape 0, one answer is the shape, one the texture, one neither: counts 1 and 1"
)
def worked_counts(cue_counts):
    shapes, textures, predicted = np.array([0, 0, 0]), np.array([1, 2, 1]), np.array([0, 2, 3])
    by_shape, by_texture = cue_counts(predicted, shapes, textures, 4)
    assert_equal(by_shape, np.array([1, 0, 0, 0]))
    assert_equal(by_texture, np.array([1, 0, 0, 0]))


@counts.law(
    "if all answers are the shape, by_texture is 0, and by_shape is the number of images of each shape"
)
@given(case=conflicts())
def all_by_shape(cue_counts, case):
    _, shapes, textures, classes = case
    by_shape, by_texture = cue_counts(shapes, shapes, textures, classes)
    assert_equal(by_shape, np.array([(shapes == k).sum() for k in range(classes)]))
    assert_equal(by_texture, np.zeros(classes, int))
    assert_equal((by_shape.dtype.kind, by_texture.dtype.kind), ("i", "i"))


@counts.law("if all answers are the texture, by_texture counts the images of each shape, and by_shape is 0")
@given(case=conflicts())
def all_by_texture(cue_counts, case):
    _, shapes, textures, classes = case
    by_shape, by_texture = cue_counts(textures, shapes, textures, classes)
    assert_equal(by_shape, np.zeros(classes, int))
    assert_equal(by_texture, np.array([(shapes == k).sum() for k in range(classes)]))
    assert_equal((by_shape.dtype.kind, by_texture.dtype.kind), ("i", "i"))


@counts.law("if shape and texture differ, an image answered by either counts once in by_shape + by_texture")
@given(case=conflicts())
def each_once(cue_counts, case):
    predicted, shapes, textures, classes = case
    by_shape, by_texture = cue_counts(*case)
    either = (predicted == shapes) | (predicted == textures)
    assert_equal(by_shape + by_texture, np.array([(shapes[either] == k).sum() for k in range(classes)]))


@counts.law(
    "an image whose shape and texture have the same class counts in both, if this class is the answer"
)
def cues_that_agree(counts):
    by_shape, by_texture = counts(np.array([1]), np.array([1]), np.array([1]), 2)
    assert_equal(by_shape, np.array([0, 1]))
    assert_equal(by_texture, np.array([0, 1]))


@counts.law("5,000 images of 300 classes give integer counts, also for classes that never occur")
def many_conflicts(cue_counts):
    # 3 and 259 end alike in eight bits. The counts are near 300, which no byte holds
    for some in (np.int16([0, 3, 34, 259]), np.int8([0, 3, 34, 126]), np.uint8([0, 3, 34, 250])):
        shapes, textures, predicted = np.random.default_rng(0).choice(some, (3, 5000))
        found = cue_counts(predicted, shapes, textures, 300)
        for counted, labels in zip(found, (shapes, textures), strict=True):
            one_by_one = [0] * 300
            for answer, shape, label in zip(predicted, shapes, labels, strict=True):
                one_by_one[shape] += int(answer == label)
            assert_equal(counted, np.array(one_by_one))
            assert counted.dtype.kind == "i", f"counts are integers, not {counted.dtype}"


@counts.mistake(
    "counted the texture answers by the class of the texture",
    breaks="if all answers are the texture, by_texture counts the images of each shape, and by_shape is 0",
)
def by_own_class(predicted, shape_labels, texture_labels, classes):
    by_shape, _ = cues.cue_counts(predicted, shape_labels, texture_labels, classes)
    return by_shape, np.bincount(texture_labels[predicted == texture_labels], minlength=classes)


@counts.mistake("counted every answer that is not the shape as texture", breaks=counts.laws[0].text)
def all_others(predicted, shape_labels, texture_labels, classes):
    by_shape, _ = cues.cue_counts(predicted, shape_labels, texture_labels, classes)
    return by_shape, np.bincount(shape_labels[predicted != shape_labels], minlength=classes)


@counts.mistake("left out the classes whose count is 0", breaks=counts.laws[0].text)
def too_short(predicted, shape_labels, texture_labels, classes):
    by_shape, by_texture = cues.cue_counts(predicted, shape_labels, texture_labels, classes)
    return by_shape[by_shape > 0], by_texture[by_texture > 0]


# ---- 13.3 strongest_units

strongest = Exercise(
    "13.3",
    patches.strongest_units,
    title="the strongest unit of each channel",
    points=2,
    level=2,
    minutes=15,
    hints=(
        "For each image and channel there is one map. Where is it largest?",
        "argmax over a flattened map gives one number. Divide it by the width: the quotient is the row, "
        "the remainder is the column.",
        "flat = activations.reshape(n, c, -1), and np.divmod(flat.argmax(axis=2), ...) are rows and columns",
    ),
)

maps = arrays(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4)))


@strongest.law(
    "[[1, 5, 2], [0, 4, 3]] is largest at (0, 1); a map of negative numbers has a largest value too"
)
def worked_strongest(strongest_units):
    activations = np.array([[[[1.0, 5.0, 2.0], [0.0, 4.0, 3.0]], [[-3.0, -2.0, -9.0], [-1.0, -4.0, -5.0]]]])
    values, places = strongest_units(activations)
    assert_close(values, [[5.0, -1.0]])
    assert_equal(places, np.array([[[0, 1], [1, 0]]]))
    values, places = strongest_units(np.asfortranarray(activations))  # memory goes down the columns
    assert_close(values, [[5.0, -1.0]])
    assert_equal(places, np.array([[[0, 1], [1, 0]]]))


@strongest.law("the value stands at the place, and no value in the map is larger")
@given(activations=maps)
def is_the_largest(strongest_units, activations):
    values, places = strongest_units(activations)
    for n, t in np.ndindex(activations.shape[:2]):
        p, q = places[n][t]
        assert_equal(float(activations[n, t, p, q]), float(activations[n, t].max()))
        assert_equal(float(values[n][t]), float(activations[n, t].max()))


@strongest.law("on a tie the first place in reading order is returned")
@given(activations=maps)
def first_of_equals(strongest_units, activations):
    _, places = strongest_units(np.round(activations / 2))
    for n, t in np.ndindex(activations.shape[:2]):
        one = np.round(activations[n, t] / 2)
        assert_equal(tuple(map(int, places[n][t])), tuple(map(int, np.argwhere(one == one.max())[0])))


@strongest.law("each image and channel has a value and a place: the shapes are (N, C) and (N, C, 2)")
@given(activations=maps)
def one_for_each(strongest_units, activations):
    values, places = strongest_units(activations)
    assert_equal(np.shape(values), activations.shape[:2])
    assert_equal(np.shape(places), (*activations.shape[:2], 2))


@strongest.law("values keep their dtype, places are integers, and 1e-30 counts as larger than 0")
def dtypes_of_maxima(strongest_units):
    activations = np.array([[[[-1e4, 0.0, 1e-30], [-1.0, 0.0, -1e-30]]]], np.float32)
    values, places = strongest_units(activations)
    assert_equal(values, np.array([[1e-30]], np.float32))
    assert_dtype(values, np.float32)
    assert_equal(places, np.array([[[0, 2]]]))
    assert places.dtype.kind == "i", f"places are {places.dtype}, not integers"
    long = np.array([1.0, 1.0 + 1e-12] + 300 * [0.0] + [1.0 + 2e-12])
    for shape, place in (((1, 1, 1, 303), [0, 302]), ((1, 1, 303, 1), [302, 0])):
        values, places = strongest_units(long.reshape(shape))
        assert_dtype(values, np.float64)
        assert_equal((values.item(), places.tolist()), (1.0 + 2e-12, [[place]]))
    for lowest in (-np.inf, -1e300):
        values, places = strongest_units(np.full((1, 1, 2, 2), lowest))
        assert_equal((values.item(), places.tolist()), (lowest, [[[0, 0]]]))
    values, places = strongest_units(np.array([[[[1.0, -np.inf], [np.inf, 2.0]]]]))
    assert_equal((values.item(), places.tolist()), (np.inf, [[[1, 0]]]))
    for whole in (np.int64([-3, -1, -2, -4]), np.int8([-128, 127, 0, 1]), np.uint8([0, 255, 1, 2])):
        values, places = strongest_units(whole.reshape(1, 1, 2, 2))
        assert_dtype(values, whole.dtype)
        assert_equal((values.item(), places.tolist()), (int(whole[1]), [[[0, 1]]]))


@strongest.mistake("divided by the height, not by the width", breaks=strongest.laws[0].text)
def by_height(activations):
    n, c, height, width = activations.shape
    flat = activations.reshape(n, c, height * width)
    return flat.max(axis=2), np.stack(np.divmod(flat.argmax(axis=2), height), axis=2)


@strongest.mistake("put the column before the row", breaks=strongest.laws[0].text)
def column_first(activations):
    values, places = patches.strongest_units(activations)
    return values, places[:, :, ::-1]


@strongest.mistake("took the largest magnitude, not the largest value", breaks=strongest.laws[0].text)
def by_magnitude(activations):
    values, places = patches.strongest_units(np.abs(activations))
    return values, places
