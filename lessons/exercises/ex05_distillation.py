"""Exercises of lesson 05: the soft term, its gradient, matched logits, the similarity of classes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import minidl.nn.functional as F
from minidl.classroom.compare import assert_close, assert_dtype, assert_gradients
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, temperatures
from minidl.engine.reduce import stable_softmax
from minidl.engine.tensor import Tensor
from minidl.train import metrics
from minidl.transfer import distill_loss

pairs = st.tuples(st.integers(1, 3), st.integers(1, 4)).flatmap(
    lambda shape: st.tuples(arrays(shape), arrays(shape))
)  # logits of a student and of a teacher

# ---- 05.1 soft_cross_entropy

soft = Exercise(
    "05.1",
    distill_loss.soft_cross_entropy,
    points=3,
    kind="tensor",
    hints=(
        "The teacher's distribution q at its temperature is the target, the student's p at tau the answer.",
        "soft_targets(z_t, tau_t) is q, an array, so no gradient flows; F.cross_entropy takes such rows.",
        "F.cross_entropy(z_s, q, temperature=temperature); for 'kl' take off the same of z_t itself: H(q).",
    ),
)


@soft.law("a student that knows nothing pays log 2 for q = (1/4, 3/4), and KL is what is above H(q)")
def worked_soft(soft):
    student, teacher = np.zeros((1, 2)), np.log(np.array([[1.0, 9.0]]))
    y, _ = soft(student, teacher, temperature=2.0)
    assert_close(y, np.array(np.log(2)))
    y, _ = soft(student, teacher, temperature=2.0, soft="kl")
    assert_close(y, np.array(0.25 * np.log(0.5) + 0.75 * np.log(1.5)))
    y, _ = soft(np.log(np.array([[1.0, 3.0]])), teacher, temperature=1.0, teacher_temperature=2.0, soft="kl")
    assert_close(y, np.array(0.0))


@soft.law("the gradient of the student's logits is (p - q) / (tau N), that of the teacher's 0")
@given(case=pairs, tau=temperatures())
def gradient_of_soft(soft, case, tau):
    student, teacher = case
    _, (of_student, of_teacher) = soft(student, teacher, grad=np.array(1.0), temperature=tau)
    p, q = (stable_softmax(z, temperature=tau) for z in case)
    assert_close(of_student, (p - q) / (tau * len(p)))
    assert_close(of_teacher, 0.0)


@soft.law("it is at least the teacher's entropy, and that where the student agrees")
@given(case=pairs, tau=temperatures())
def at_least_the_entropy(soft, case, tau):
    student, teacher = case
    entropy = np.array(metrics.entropy(stable_softmax(teacher, temperature=tau)).mean())
    assert_close(soft(teacher, teacher, temperature=tau)[0], entropy)
    y, _ = soft(student, teacher, temperature=tau)
    assert np.all(y >= entropy - 1e-9), f"{y} is below the entropy {entropy}"


@soft.law("rows given twice change nothing")
@given(case=pairs, tau=temperatures())
def mean_over_rows(soft, case, tau):
    once, _ = soft(*case, temperature=tau)
    twice, _ = soft(*(np.concatenate([z, z]) for z in case), temperature=tau)
    assert_close(twice, once)


@soft.law("a teacher temperature near 0 makes a label of the teacher's largest logit")
@given(student=arrays((2, 3)))
def cold_teacher(soft, student):
    teacher = np.array([[0.0, 1.0, 2.0], [3.0, 1.0, 0.0]])
    log_p = student - np.log(np.exp(student).sum(axis=1, keepdims=True))
    for kind in ("ce", "kl"):  # a label has the entropy 0
        y, _ = soft(student, teacher, temperature=1.0, teacher_temperature=1e-3, soft=kind)
        assert_close(y, np.array(-(log_p[0, 2] + log_p[1, 0]) / 2))


@soft.mistake("the teacher's distribution at temperature 1", breaks=soft.laws[0].text)
def teacher_at_one(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    options = {"temperature": temperature, "teacher_temperature": teacher_temperature or 1.0, "soft": soft}
    return distill_loss.soft_cross_entropy(student_logits, teacher_logits, **options)


@soft.mistake("the student learns from its answer at temperature 1", breaks=soft.laws[1].text)
def student_at_one(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    tau_t = teacher_temperature or temperature
    options = {"temperature": 1.0, "teacher_temperature": tau_t, "soft": soft}
    return distill_loss.soft_cross_entropy(student_logits, teacher_logits, **options)


@soft.mistake("the gradient flows into the teacher", breaks=soft.laws[1].text)
def teaches_the_teacher(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    log_q = F.log_softmax(teacher_logits, temperature=teacher_temperature or temperature)
    q = log_q.exp()
    loss = -(q * F.log_softmax(student_logits, temperature=temperature)).sum(axis=1).mean()
    return loss if soft == "ce" else loss + (q * log_q).sum(axis=1).mean()


@soft.mistake("q log q as it stands, which is no number where q is 0", breaks=soft.laws[4].text)
def logarithm_of_zero(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    q = distill_loss.soft_targets(teacher_logits, teacher_temperature or temperature)
    loss = F.cross_entropy(student_logits, q, temperature=temperature)
    with np.errstate(divide="ignore", invalid="ignore"):
        return loss if soft == "ce" else loss + float((q * np.log(q)).sum(axis=1).mean())


@soft.mistake("the mean over the classes as well", breaks=soft.laws[0].text)
def mean_over_classes(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    options = {"temperature": temperature, "teacher_temperature": teacher_temperature, "soft": soft}
    classes = student_logits.shape[1]
    return distill_loss.soft_cross_entropy(student_logits, teacher_logits, **options) / classes


# ---- 05.2 soft_gradient

gradient = Exercise(
    "05.2",
    distill_loss.soft_gradient,
    points=2,
    hints=(
        "Cross-entropy after softmax has the gradient p - q for each row; what do tau and the mean do to it?",
        "p depends on z / tau, so the chain rule gives 1 / tau; the mean over N rows gives 1 / N.",
        "(soft_targets(student_logits, tau) - soft_targets(teacher_logits, tau)) / (tau N)",
    ),
)


@gradient.law("p = (1/2, 1/2) and q = (1/4, 3/4) at tau = 2, one row: (1/8, -1/8)")
def worked_gradient(gradient):
    student, teacher = np.zeros((1, 2)), np.log(np.array([[1.0, 9.0]]))
    assert_close(gradient(student, teacher, 2.0), [[1 / 8, -1 / 8]])


@gradient.law("it is the slope of the soft term")
@given(case=pairs, tau=temperatures())
def is_the_slope(gradient, case, tau):
    student, teacher = case

    def loss(z, grad=None):
        y = distill_loss.soft_cross_entropy(Tensor(z), teacher, temperature=tau).item()
        return np.array(y), () if grad is None else (grad * gradient(z, teacher, tau),)

    assert_gradients(loss, student)


@gradient.law("each row sums to 0")
@given(case=pairs, tau=temperatures())
def rows_sum_to_zero(gradient, case, tau):
    assert_close(gradient(*case, tau).sum(axis=1), 0.0)


@gradient.law("times tau² N it tends to the difference of the centred logits over K")
@given(case=pairs)
def matches_logits_when_hot(gradient, case):
    student, teacher = case
    n, k = student.shape
    difference = student - teacher
    limit = (difference - difference.mean(axis=1, keepdims=True)) / k
    assert_close(1e8 * n * gradient(student, teacher, 1e4), limit, rtol=0.0, atol=1e-3)


@gradient.law("logits of ±1000 give numbers")
def gradient_of_large_logits(gradient):
    student, teacher = np.array([[1000.0, -1000.0]]), np.array([[-1000.0, 1000.0]])
    assert_close(gradient(student, teacher, 1.0), [[1, -1]])


@gradient.law("float32 stays float32")
def gradient_keeps_float32(gradient):
    z = np.array([[1, 2]], np.float32)
    assert_dtype(gradient(z, -z, 2.0), np.float32)


@gradient.mistake("1 / tau forgotten", breaks=gradient.laws[0].text)
def without_tau(student_logits, teacher_logits, temperature):
    return temperature * distill_loss.soft_gradient(student_logits, teacher_logits, temperature)


@gradient.mistake("the mean over the rows forgotten", breaks="it is the slope of the soft term")
def without_the_mean(student_logits, teacher_logits, temperature):
    return len(student_logits) * distill_loss.soft_gradient(student_logits, teacher_logits, temperature)


@gradient.mistake("downhill instead of uphill", breaks=gradient.laws[0].text)
def downhill(student_logits, teacher_logits, temperature):
    return -distill_loss.soft_gradient(student_logits, teacher_logits, temperature)


# ---- 05.3 logit_distance

distance = Exercise(
    "05.3",
    distill_loss.logit_distance,
    points=1,
    kind="tensor",
    hints=(
        "For each row the squared length of the difference; then the mean of the rows.",
        "checked_pair_of_logits gives the teacher's logits as an array, which gets no gradient.",
        "(difference * difference).sum(axis=1).mean()",
    ),
)


@distance.law("rows (1, 0) and (0, 0) against (0, 2) and (0, 3): (5 + 9) / 2")
def worked_distance(distance):
    y, _ = distance(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 2.0], [0.0, 3.0]]))
    assert_close(y, np.array(7.0))


@distance.law("the gradient is 2 (z_s - z_t) / N for the student and 0 for the teacher")
@given(case=pairs)
def gradient_of_distance(distance, case):
    student, teacher = case
    _, (of_student, of_teacher) = distance(student, teacher, grad=np.array(1.0))
    assert_close(of_student, 2 * (student - teacher) / len(student))
    assert_close(of_teacher, 0.0)


@distance.law("a constant c in each row, which no probability feels, costs K c²")
@given(case=pairs, c=st.sampled_from([1.0, -2.0, 0.5]))
def feels_a_shift(distance, case, c):
    teacher = case[1]
    y, _ = distance(teacher + c, teacher)
    assert_close(y, np.array(teacher.shape[1] * c**2))


@distance.law("rows given twice change nothing")
@given(case=pairs)
def distance_is_a_mean_over_rows(distance, case):
    once, _ = distance(*case)
    twice, _ = distance(*(np.concatenate([z, z]) for z in case))
    assert_close(twice, once)


@distance.mistake("the mean over the classes too, K times too small", breaks=distance.laws[0].text)
def mean_of_all(student_logits, teacher_logits):
    return F.mse_loss(student_logits, np.asarray(teacher_logits))


@distance.mistake("the sum over the rows", breaks="rows given twice change nothing")
def sum_of_all(student_logits, teacher_logits):
    return F.mse_loss(student_logits, np.asarray(teacher_logits), reduction="sum")


@distance.mistake("the gradient flows into the teacher", breaks=distance.laws[1].text)
def distance_teaches_the_teacher(student_logits, teacher_logits):
    difference = student_logits - teacher_logits
    return (difference * difference).sum(axis=1).mean()


# ---- 05.4 class_means

means = Exercise(
    "05.4",
    distill_loss.class_means,
    points=2,
    hints=(
        "Row c of the answer is the mean of all rows whose label is c.",
        "Add each row to its class's sum, count the rows of each class, divide.",
        "np.add.at(sums, labels, rows) adds rows of one class one after the other; sums[labels] += does not.",
    ),
)


@st.composite
def rows_and_labels(draw):
    """Rows (N, K), each of the K classes among the labels."""
    k = draw(st.integers(1, 3))
    extra = draw(st.lists(st.integers(0, k - 1), max_size=4))
    labels = np.array(draw(st.permutations([*range(k), *extra])), np.int64)
    return draw(arrays((len(labels), k))), labels


@means.law("two rows of class 1 and one of class 0")
def worked_means(means):
    rows = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    assert_close(means(rows, np.array([1, 0, 1])), [[1.0, 0.0], [0.25, 0.75]])


@means.law("row c is the mean of the rows of class c")
@given(case=rows_and_labels())
def mean_of_each(means, case):
    rows, labels = case
    assert_close(
        means(rows, labels), np.array([rows[labels == c].mean(axis=0) for c in range(rows.shape[1])])
    )


@means.law("the order of the images does not matter")
@given(case=rows_and_labels())
def in_any_order(means, case):
    rows, labels = case
    assert_close(means(rows[::-1], labels[::-1]), means(rows, labels))


@means.law("means of distributions are distributions")
@given(case=rows_and_labels(), tau=temperatures())
def stay_distributions(means, case, tau):
    rows, labels = case
    assert_close(means(stable_softmax(rows, temperature=tau), labels).sum(axis=1), 1.0)


@means.law("a class without a row has no mean and is refused with a ValueError")
@given(rows=arrays((2, 3)), labels=st.sampled_from([(0, 1), (2, 0), (1, 1)]))
def refuses_empty_classes(means, rows, labels):
    try:
        answer = means(rows, np.array(labels))
    except ValueError:
        return
    raise AssertionError(f"labels {labels} of classes 0 ... 2 gave {answer}, no ValueError")


@means.mistake("of several rows of a class only the last is added", breaks=means.laws[0].text)
def adds_one(rows, labels):
    sums = np.zeros((rows.shape[1], rows.shape[1]))
    sums[labels] += rows
    return sums / np.bincount(labels, minlength=rows.shape[1])[:, np.newaxis]


@means.mistake(
    "divided by all rows instead of the class's", breaks="means of distributions are distributions"
)
def over_all_rows(rows, labels):
    sums = np.zeros((rows.shape[1], rows.shape[1]))
    np.add.at(sums, labels, rows)
    return sums / len(rows)


@means.mistake("transposed: columns are the true classes", breaks=means.laws[0].text)
def transposed(rows, labels):
    return distill_loss.class_means(rows, labels).T
