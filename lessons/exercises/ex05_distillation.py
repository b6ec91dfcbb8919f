"""Exercises of lesson 05: class means, matched logits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import minidl.nn.functional as F
from lessons.exercises.by_hand import cross_entropies, log_softmax, one_hot
from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, labels, temperatures
from minidl.transfer import distill_loss

pairs = st.tuples(st.integers(1, 3), st.integers(1, 4)).flatmap(
    lambda shape: st.tuples(arrays(shape), arrays(shape))
)  # logits of a student and of a teacher
labelled_pairs = st.tuples(st.integers(1, 3), st.integers(2, 4)).flatmap(
    lambda shape: st.tuples(arrays(shape), arrays(shape), labels(*shape))
)
TEN = np.array([[10.0, 0.0]], np.float32)

# ---- 05.1 class_means

means = Exercise(
    "05.1",
    distill_loss.class_means,
    title="the mean answer for each class",
    points=2,
    level=1,
    minutes=10,
    hints=(
        "Row c of the answer is the mean of all rows whose label is c.",
        "Add each row to its class's sum, count the rows of each class, divide. A count of 0 is refused.",
        "np.add.at(sums, ...) adds every row of a class; sums[labels] += ... adds only one of them.",
    ),
)


@st.composite
def rows_and_labels(draw):
    """Rows (N, K) and labels. Each of the K classes is among the labels."""
    k = draw(st.integers(1, 4))
    extra = draw(st.lists(st.integers(0, k - 1), max_size=4))
    kind = draw(st.sampled_from([np.int64, np.int32, np.uint8]))
    labels = np.array(draw(st.permutations([*range(k), *extra])), kind)
    return draw(arrays((len(labels), k))), labels


@means.law("two rows of class 1 and one of class 0")
def worked_means(means):
    rows = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    assert_close(means(rows, np.array([1, 0, 1])), [[1.0, 0.0], [0.25, 0.75]])


@means.law("row c is the mean of the rows of class c")
@given(case=rows_and_labels(), offset=st.sampled_from([0.0, 1e4, -1e-8]))
def mean_of_each(means, case, offset):
    rows, labels = case
    rows = rows + offset
    own = [[row for row, label in zip(rows, labels, strict=True) if label == c] for c in range(rows.shape[1])]
    assert_close(means(rows, labels), np.array([sum(some) / len(some) for some in own]))


@means.law("the order of the images does not matter")
@given(case=rows_and_labels())
def in_any_order(means, case):
    rows, labels = case
    assert_close(means(rows[::-1], labels[::-1]), means(rows, labels))


@means.law("if the rows are probabilities, the means are probabilities too")
@given(case=rows_and_labels(), tau=temperatures())
def stay_distributions(means, case, tau):
    rows, labels = case
    assert_close(means(np.exp(log_softmax(rows, tau)), labels).sum(axis=1), 1.0)


@means.law("ValueError for a class without a row, because it has no mean")
@given(rows=arrays((2, 3)), labels=st.sampled_from([(0, 1), (2, 0), (1, 1)]))
def refuses_empty_classes(means, rows, labels):
    assert_refuses(f"labels {labels} of classes 0 ... 2", means, rows, np.array(labels))


@means.law("ValueError for a label that is not a class, even if each class has a row")
def refuses_other_labels(means):
    for which in ([0, 1, 2, -1], [0, 1, 2, 3], [0, 1, 2, 9], [0, 1, 2, -100]):
        assert_refuses(f"labels {which} of classes 0 ... 2", means, np.ones((4, 3)), np.array(which))
    for label in (1, -1):
        assert_refuses(f"a label {label} of one class", means, np.ones((2, 1)), np.array([0, label]))
    assert_refuses("no rows", means, np.zeros((0, 2)), np.zeros(0, int))
    assert_refuses("labels 0, 1, 3 of classes 0 ... 2", means, np.ones((3, 3)), np.array([0, 1, 3]))


@means.law("means are float64, and nothing is lost: of small numbers, of int8, of 300 rows, with 300 classes")
def wide_means(means):
    answer = means(np.array([[1], [2.0**-30]], np.float32), np.array([0, 0]))
    assert_dtype(answer, np.float64)
    assert_equal(answer, [[(1 + 2.0**-30) / 2]])
    assert_equal(means(np.array([[1 + 2.0**-30]]), np.array([0])), [[1 + 2.0**-30]])
    assert_equal(means(np.array([[100], [101]], np.int8), np.array([0, 0])), [[100.5]])
    assert_close(means(np.arange(300.0)[:, np.newaxis], np.zeros(300, np.int8)), [[149.5]], rtol=1e-12)
    assert_equal(means(np.eye(300), np.arange(300)[::-1]), np.eye(300)[::-1])
    for dtype in (np.float32, np.int64):  # one row for each class
        assert_dtype(means(np.eye(3, dtype=dtype), np.array([2, 0, 1])), np.float64)
    far = np.array([[1e17, 1e17], [0.1, 0.2], [0.3, 0.4]])  # a sum of all rows would lose the others
    assert_close(means(far, np.array([0, 1, 1])), [[1e17, 1e17], [0.2, 0.3]], rtol=1e-12)


@means.mistake("only the last row of each class is added", breaks=means.laws[0].text)
def adds_one(rows, labels):
    sums = np.zeros((rows.shape[1], rows.shape[1]))
    sums[labels] += rows
    return sums / np.bincount(labels, minlength=rows.shape[1])[:, np.newaxis]


@means.mistake(
    "divided by the number of all rows instead of the rows of the class", breaks=means.laws[0].text
)
def over_all_rows(rows, labels):
    sums = np.zeros((rows.shape[1], rows.shape[1]))
    np.add.at(sums, labels, rows)
    return sums / len(rows)


@means.mistake("transposed: the columns are the true classes", breaks=means.laws[0].text)
def transposed(rows, labels):
    return distill_loss.class_means(rows, labels).T


@means.mistake(
    "a class without a row gets NaN",
    breaks="ValueError for a class without a row, because it has no mean",
)
def nan_for_nobody(rows, labels):
    own = [np.float64(rows)[labels == c] for c in range(rows.shape[1])]
    return np.stack([x.mean(axis=0) if len(x) else np.full(rows.shape[1], np.nan) for x in own])


# ---- 05.2 logit_matching_loss

matching = Exercise(
    "05.2",
    distill_loss.logit_matching_loss,
    title="matched logits beside the labels",
    helpers=("checked_pair_of_logits",),
    points=2,
    level=2,
    minutes=20,
    kind="tensor",
    hints=(
        "The loss is a weighted sum of two numbers: the usual loss with the labels, and the distance of "
        "the logits.",
        "For the distance, sum the squares over the classes of each row. Then take the mean over the "
        "rows. checked_pair_of_logits gives the teacher's logits as an array, which gets no gradient.",
        "(1 - alpha) * (... * ...).sum(axis=1).mean(), and alpha * F.cross_entropy(...) where alpha > 0",
    ),
)


@matching.law("rows (1, 0) and (0, 0) against (0, 2) and (0, 3): alpha = 0 gives (5 + 9) / 2, without labels")
def worked_distance(matching):
    y, _ = matching(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 2.0], [0.0, 3.0]]), None, alpha=0.0)
    assert_close(y, np.array(7.0))


@matching.law("alpha multiplies the labels' cross-entropy, and 1 - alpha multiplies the distance")
@given(case=labelled_pairs, alpha=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def weighs_both(matching, case, alpha):
    student, teacher, y = case
    hard = cross_entropies(one_hot(y, student.shape[1]), log_softmax(student))
    distance = sum((b - a) ** 2 for a, b in zip(student.ravel(), teacher.ravel(), strict=True)) / len(student)
    value, _ = matching(student, teacher, y, alpha=alpha)
    assert_close(value, np.array(alpha * hard + (1 - alpha) * distance))


@matching.law("the student gets the gradient of both terms, and the teacher gets 0")
@given(case=labelled_pairs, alpha=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def gradient_of_matching(matching, case, alpha):
    student, teacher, y = case
    _, grads = matching(student, teacher, y, grad=np.array(1.0), alpha=alpha)
    of_hard = np.exp(log_softmax(student)) - one_hot(y, student.shape[1])
    assert_close(grads[0], (alpha * of_hard + (1 - alpha) * 2 * (student - teacher)) / len(student))
    assert_close(grads[1], 0.0)


@matching.law("with alpha = 0, student logits that are all larger than the teacher's by c give the loss K c²")
@given(case=pairs, c=st.sampled_from([1.0, -2.0, 0.5, 1e-8, 1e4]))
def feels_a_shift(matching, case, c):
    teacher = case[1]
    for student, constant in ((teacher + c, teacher), (teacher, teacher - c)):
        y, _ = matching(student, constant, None, alpha=0.0)
        assert_close(y, np.array(teacher.shape[1] * c**2), rtol=1e-5, atol=0)


@matching.law("alpha = 1 leaves the distance out, even if it is infinite; alpha = 0 leaves the labels out")
def leaves_out(matching):
    teacher = np.zeros((1, 2))
    assert_close(matching(np.array([[1e200, 0.0]]), teacher, np.array([0]), alpha=1)[0], np.array(0.0))
    student = np.array([[2.0**20, 0.0]])
    nearly = matching(student, teacher, np.array([0]), alpha=1 - 2.0**-40)[0]
    assert_close(nearly, np.array(1.0))  # 2^-40 of a distance of 2^40
    for y in ([0], [-100], [7], [[0.5, 0.5]]):
        assert_close(matching(student, teacher, np.array(y), alpha=0)[0], np.array(2.0**40))


@matching.law(
    "labels may be rows of probabilities; a label of -100 leaves its row out of the labels' term only"
)
def other_labels(matching):
    z = np.log(np.array([[3.0, 1.0, 1.0], [1.0, 1.0, 2.0], [4.0, 1.0, 1.0], [1.0, 1.0, 2.0]]))
    teacher, distance = z + np.arange(4.0)[:, np.newaxis], 10.5  # the rows' distances are 0, 3, 12, 27
    rows = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]])
    for y in (rows, rows.astype(np.float32), np.int64(one_hot([0, 2, 1, 2], 3))):
        value, grads = matching(z, teacher, y, grad=np.array(1.0), alpha=0.5)
        hard = cross_entropies(np.float64(y), log_softmax(z))
        assert_close(value, np.array(hard / 2 + distance / 2))
        assert_close(grads[0], ((np.exp(log_softmax(z)) - y) / 2 + z - teacher) / 4)
    hard = cross_entropies(rows[:3], log_softmax(z[:3]))
    assert_close(matching(z[:3], z[:3], rows[:3], alpha=1.0)[0], np.array(hard))  # as many rows as classes
    hard = (np.log(5 / 3) + np.log(6) + np.log(2)) / 3  # three rows count
    for alpha in (0.5, 1.0):
        value, _ = matching(z, teacher, np.array([0, -100, 1, 2], np.int32), alpha=alpha)
        assert_close(value, np.array(alpha * hard + (1 - alpha) * distance))


@matching.law("float32 stays float32, even with a teacher in float64; whole numbers are logits, too")
def matching_keeps_float32(matching):
    teacher, y, grad = np.array([[9.0, 0.0]]), np.array([1]), np.array(1, np.float32)
    for alpha in (0.0, 0.5, 1.0):
        value, grads = matching(TEN, teacher, y, grad=grad, alpha=alpha)
        assert_dtype(value, np.float32)
        assert_dtype(grads[0], np.float32)
        assert_close(value, np.array(10 * alpha + 1 - alpha), rtol=1e-4)
    whole = np.array([[1, 0]])
    for student, teacher in ((whole, 300 * whole), (300.0 * whole, whole), (whole, 300.0 * whole)):
        assert_close(matching(student, teacher, None, alpha=0)[0], np.array(299.0**2))


@matching.law(
    "ValueError for alpha outside of 0 ... 1, for logits of different shapes, and with alpha above 0 for "
    "labels of None and for a label that is not a class"
)
def matching_refuses(matching):
    z, y = np.zeros((2, 2)), np.array([0, 1])
    for alpha in (-0.25, 1.25, -1e-300, np.nextafter(1, 2), np.inf):
        assert_refuses(f"alpha = {alpha}", matching, z, z, y, alpha=alpha)
    for alpha in (1.0, 0.25, 1e-300):
        assert_refuses(f"alpha = {alpha} and None as labels", matching, z, z, None, alpha=alpha)
        for label in (-1, 2, -2, -99, 100):
            what = f"alpha = {alpha} and a label {label} of two classes"
            assert_refuses(what, matching, z, z, np.array([0, label]), alpha=alpha)
    for alpha in (0.0, 0.25, 1.0):
        for shape in ((2, 3), (2, 1), (1, 2), (4, 1)):
            what = f"alpha = {alpha}, logits (2, 2) and {shape}"
            assert_refuses(what, matching, z, np.zeros(shape), y, alpha=alpha)
            assert_refuses(what, matching, np.zeros(shape), z, y[: shape[0]], alpha=alpha)


def matching_with(student, teacher, labels, alpha, distance, *, of_labels=None):
    """The loss with another distance or another weight of the labels."""
    of_labels = alpha if of_labels is None else of_labels
    distill_loss.logit_matching_loss(student, teacher, labels, alpha=alpha)  # refuses bad input
    loss = (1 - alpha) * distance
    return loss if of_labels == 0 else loss + of_labels * F.cross_entropy(student, labels)


@matching.mistake(
    "the mean over the classes instead of the sum, K times too small", breaks=matching.laws[0].text
)
def mean_of_all(student_logits, teacher_logits, labels, *, alpha):
    distance = F.mse_loss(student_logits, teacher_logits.data)
    return matching_with(student_logits, teacher_logits, labels, alpha, distance)


@matching.mistake("the sum over the rows instead of the mean", breaks=matching.laws[0].text)
def sum_of_all(student_logits, teacher_logits, labels, *, alpha):
    distance = F.mse_loss(student_logits, teacher_logits.data, reduction="sum")
    return matching_with(student_logits, teacher_logits, labels, alpha, distance)


@matching.mistake(
    "the gradient flows into the teacher",
    breaks=matching.find_law("the student gets the gradient of both terms, and the teacher gets 0").text,
)
def distance_teaches_the_teacher(student_logits, teacher_logits, labels, *, alpha):
    difference = student_logits - teacher_logits
    distance = (difference * difference).sum(axis=1).mean()
    return matching_with(student_logits, teacher_logits, labels, alpha, distance)


@matching.mistake(
    "alpha and 1 - alpha swapped",
    breaks="alpha multiplies the labels' cross-entropy, and 1 - alpha multiplies the distance",
)
def swapped_weights(student_logits, teacher_logits, labels, *, alpha):
    if labels is None:
        return distill_loss.logit_matching_loss(student_logits, teacher_logits, None, alpha=alpha)
    return distill_loss.logit_matching_loss(student_logits, teacher_logits, labels, alpha=1 - alpha)
