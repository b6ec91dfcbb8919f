"""Wrong answers to the exercises of lesson 05. Each one passed all laws once."""

from __future__ import annotations

import copy

import numpy as np

from lessons.exercises import find
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.layers import BatchNorm, Dropout
from minidl.nn.module import Parameter, eval_mode
from minidl.transfer.distill_loss import soft_targets
from tests.lessons.wrong_answers.declare import (
    all_learn_afterwards,
    data_of,
    narrowed,
    not_taken,
    with_modes,
    wrong,
)


@wrong("05.1", "the answer in the rows' own dtype, in which a little is lost")
def narrow_means(rows, labels):
    counts = np.bincount(labels, minlength=rows.shape[1])
    if counts.min() == 0:
        raise ValueError("a class without a row")
    sums = np.zeros((rows.shape[1], rows.shape[1]), np.asarray(rows).dtype)
    np.add.at(sums, labels, rows)
    return sums / counts[:, np.newaxis].astype(sums.dtype)


@wrong("05.1", "rows of another label are passed over")
def means_of_known_labels(rows, labels):
    own = [np.float64(rows)[labels == c] for c in range(rows.shape[1])]
    if min(map(len, own)) == 0:
        raise ValueError("a class without a row")
    return np.stack([some.mean(axis=0) for some in own])


@wrong("05.1", "rows of the label -100 are left out")
def means_without_minus_100(rows, labels):
    return find("05.1").target(rows[labels != -100], labels[labels != -100])


@wrong("05.1", "whole numbers are added in their own dtype, in which 100 + 101 overflows")
def overflowing_means(rows, labels):
    if rows.dtype.kind == "f":
        return find("05.1").target(rows, labels)
    sums = np.zeros((rows.shape[1], rows.shape[1]), rows.dtype)
    np.add.at(sums, labels, rows)
    return sums / np.bincount(labels)[:, np.newaxis]


@wrong("05.1", "the rows of a class are counted in 8 bits")
def counted_in_bytes(rows, labels):
    means, counts = find("05.1").target(rows, labels), np.bincount(labels)[:, np.newaxis]
    return means * counts / counts.astype(np.uint8)


@wrong("05.1", "the sums times 1/count in float32")
def times_a_narrow_inverse(rows, labels):
    means, counts = find("05.1").target(rows, labels), np.bincount(labels)[:, np.newaxis]
    return means * counts * np.float64(1 / counts.astype(np.float32))


@wrong("05.2", "a label of -1 is the last class")
def matching_the_last(student_logits, teacher_logits, labels, *, alpha):
    if labels is not None and np.ndim(labels) == 1:
        labels = np.where(np.array(labels) == -1, student_logits.shape[1] - 1, labels)
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)


@wrong("05.2", "the distance times 0 where alpha is 1, which may be infinite")
def distance_times_nothing(student_logits, teacher_logits, labels, *, alpha):
    if not 0 <= alpha <= 1 or (labels is None and alpha > 0):
        raise ValueError("alpha or labels")
    difference = student_logits - teacher_logits.data
    loss = (1 - alpha) * (difference**2).sum(axis=1).mean()
    return loss if alpha == 0 else loss + alpha * F.cross_entropy(student_logits, labels)


@wrong("05.2", "of a row of probabilities only the largest counts")
def largest_counts(student_logits, teacher_logits, labels, *, alpha):
    if labels is not None and np.ndim(labels) == 2:
        labels = labels.argmax(axis=1)
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)


@wrong("05.2", "an alpha of 1e-9 counts as 0")
def alpha_near_zero(student_logits, teacher_logits, labels, *, alpha):
    small = 0 < alpha < 1e-6
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=0.0 if small else alpha)


@wrong("05.2", "a row with the label -100 is left out of the distance, too")
def no_distance_either(student_logits, teacher_logits, labels, *, alpha):
    loss = find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)
    if alpha == 1 or np.ndim(labels) != 1 or (labels >= 0).all():
        return loss
    rows = np.flatnonzero(labels >= 0)
    all_rows, kept = (
        find("05.2").target(z, z_t, None, alpha=0)
        for z, z_t in (
            (student_logits, teacher_logits),
            (student_logits[rows], teacher_logits.data[rows]),
        )
    )
    return loss + (1 - alpha) * (kept - all_rows)


@wrong("05.2", "with alpha = 1 nobody looks at the teacher's shape")
def teacher_of_any_shape(student_logits, teacher_logits, labels, *, alpha):
    teacher_logits = student_logits.data if alpha == 1 else teacher_logits
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)


@wrong("05.2", "a teacher of one class is repeated for all classes")
def repeated_class_matched(student_logits, teacher_logits, labels, *, alpha):
    teacher = one_class_repeated(data_of(student_logits), data_of(teacher_logits))
    return find("05.2").target(student_logits, teacher, labels, alpha=alpha)


def one_class_repeated(student, teacher):
    """The teacher (N, 1) in the shape of the student's (N, K); other teachers as they are."""
    return np.broadcast_to(teacher, student.shape) if teacher.shape == (len(student), 1) else teacher


@wrong("05.2", "an alpha of 1 + 1e-9 counts as 1")
def alpha_beyond_one(student_logits, teacher_logits, labels, *, alpha):
    alpha = np.clip(alpha, 0, 1) if -1e-6 < alpha < 1 + 1e-6 else alpha
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)


@wrong("05.2", "an alpha of 0.999 or more leaves the distance out")
def alpha_near_one(student_logits, teacher_logits, labels, *, alpha):
    alpha = 1 if 0.999 < alpha <= 1 else alpha
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)


@wrong("05.2", "alpha = 0: the labels are looked at")
def labels_are_read(student_logits, teacher_logits, labels, *, alpha):
    if labels is not None:
        F.cross_entropy(student_logits, labels)
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)


@wrong("05.2", "the teacher's logits are rounded to float32")
def narrow_teacher_matched(student_logits, teacher_logits, labels, *, alpha):
    teacher_logits = narrowed(data_of(teacher_logits))
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)


@wrong("05.2", "a label below -1 is left out, as -100 is")
def negative_left_out(student_logits, teacher_logits, labels, *, alpha):
    if np.ndim(labels) == 1:
        labels = np.where(labels < -1, -100, labels)
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)


@wrong("05.2", "the gradient of a row of probabilities is that of its largest")
def gradient_of_the_largest(student_logits, teacher_logits, labels, *, alpha):
    loss = find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)
    if np.ndim(labels) != 2:
        return loss
    hard = find("05.2").target(student_logits, teacher_logits, labels.argmax(axis=1), alpha=alpha)
    return hard - hard.item() + loss.item()


@wrong("05.3", "the gradient of KL is lost with the difference")
def kl_without_gradient(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    options = {"temperature": temperature, "teacher_temperature": teacher_temperature, "soft": soft}
    loss = find("05.3").target(student_logits, teacher_logits, **options)
    return loss if soft == "ce" else Tensor(loss.data, requires_grad=True) * 1


@wrong("05.3", "the gradient forgets the teacher's own temperature")
def gradient_at_one_temperature(
    student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"
):
    options = {"temperature": temperature, "soft": soft}
    value = find("05.3").target(
        student_logits, teacher_logits, teacher_temperature=teacher_temperature, **options
    )
    loss = find("05.3").target(student_logits, teacher_logits, **options)
    return (loss - loss.item()) + value.item()


@wrong("05.3", "a KL below 1e-9 is taken for 0")
def no_small_kl(student_logits, teacher_logits, *, soft="ce", **options):
    loss = find("05.3").target(student_logits, teacher_logits, soft=soft, **options)
    return loss - loss.item() if soft == "kl" and loss.item() < 1e-9 else loss


@wrong("05.3", "the teacher's logits are rounded to float32")
def narrow_teacher(student_logits, teacher_logits, **options):
    return find("05.3").target(student_logits, narrowed(teacher_logits.data), **options)


@wrong("05.3", "a teacher's temperature below 1e-3 is raised to it")
def not_so_cold_teacher(student_logits, teacher_logits, *, teacher_temperature=None, **options):
    if teacher_temperature is not None and teacher_temperature > 0:
        teacher_temperature = max(teacher_temperature, 1e-3)
    options = {**options, "teacher_temperature": teacher_temperature}
    return find("05.3").target(student_logits, teacher_logits, **options)


@wrong("05.3", "an infinite KL is NaN, a difference of two infinite numbers")
def kl_of_infinite_loss(student_logits, teacher_logits, *, soft="ce", **options):
    loss = find("05.3").target(student_logits, teacher_logits, soft=soft, **options)
    return loss if soft == "ce" else (loss - loss.item()) + loss.item()


@wrong("05.3", "a KL below 1e-12 is taken for 0")
def no_tiny_kl(student_logits, teacher_logits, *, soft="ce", **options):
    loss = find("05.3").target(student_logits, teacher_logits, soft=soft, **options)
    return loss - loss.item() if soft == "kl" and loss.item() < 1e-12 else loss


@wrong("05.3", "only the first two letters of the name for soft count")
def two_letters(student_logits, teacher_logits, *, soft="ce", **options):
    return find("05.3").target(student_logits, teacher_logits, soft=soft[:2], **options)


@wrong("05.3", "a teacher of one class is repeated for all classes")
def repeated_class(student_logits, teacher_logits, **options):
    teacher = one_class_repeated(data_of(student_logits), data_of(teacher_logits))
    return find("05.3").target(student_logits, teacher, **options)


@wrong("05.3", "the teacher's logits get the student's shape")
def reshaped_teacher(student_logits, teacher_logits, **options):
    teacher, shape = data_of(teacher_logits), data_of(student_logits).shape
    teacher = teacher.reshape(shape) if teacher.size == np.prod(shape) else teacher
    return find("05.3").target(student_logits, teacher, **options)


@wrong("05.3", "the temperature is rounded to a whole number")
def whole_temperature(student_logits, teacher_logits, *, temperature, **options):
    tau = np.rint(temperature) if temperature > 1 else temperature
    if options.get("teacher_temperature") is None:
        options["teacher_temperature"] = temperature
    return find("05.3").target(student_logits, teacher_logits, temperature=tau, **options)


@wrong("05.4", "soft is not handed on")
def always_cross_entropy(z_s, z_t, labels, *, soft="ce", **options):
    return find("05.4").target(z_s, z_t, labels, **options)


def whole_loss(z_s, z_t, labels, *, alpha, beta, temperature, scale_by_tau_squared=False, **options):
    """The loss, for which labels are needed in any case."""
    if labels is None:
        raise ValueError("labels are needed")
    tau = {"temperature": temperature, "scale_by_tau_squared": scale_by_tau_squared}
    return find("05.4").target(z_s, z_t, labels, alpha=alpha, beta=beta, **tau, **options)


wrong("05.4", "labels are needed in any case")(whole_loss)


@wrong("05.4", "the square of the teacher's temperature")
def squared_for_the_teacher(z_s, z_t, labels, *, beta, scale_by_tau_squared=False, **options):
    tau = options.get("teacher_temperature") or 1.0
    return find("05.4").target(
        z_s, z_t, labels, beta=beta * (tau**2 if scale_by_tau_squared else 1), **options
    )


@wrong("05.4", "the teacher's logits are rounded to float32")
def narrow_teacher_of_both(student_logits, teacher_logits, labels, **options):
    return find("05.4").target(student_logits, narrowed(teacher_logits.data), labels, **options)


@wrong("05.4", "KL only where the teacher has the student's temperature")
def kl_at_one_temperature(student_logits, teacher_logits, labels, *, soft="ce", **options):
    soft = soft if options.get("teacher_temperature") is None else "ce"
    return find("05.4").target(student_logits, teacher_logits, labels, soft=soft, **options)


@wrong("05.4", "alpha = 0: the labels' term is computed, times 0")
def labels_times_nothing(student_logits, teacher_logits, labels, *, alpha, **options):
    loss = find("05.4").target(student_logits, teacher_logits, labels, alpha=alpha, **options)
    return loss if alpha > 0 or labels is None else loss + 0 * F.cross_entropy(student_logits, labels)


@wrong("05.4", "a row with the label -100 is left out of the soft term, too")
def no_soft_term_either(student_logits, teacher_logits, labels, *, alpha, **options):
    teacher_logits = data_of(teacher_logits)
    if alpha > 0 and np.ndim(labels) == 1 and (labels >= 0).any() and (labels == -100).any():
        rows = np.flatnonzero(labels != -100)
        student_logits, teacher_logits, labels = student_logits[rows], teacher_logits[rows], labels[rows]
    return find("05.4").target(student_logits, teacher_logits, labels, alpha=alpha, **options)


@wrong("05.4", "a label below -1 is the first class")
def negative_is_first(student_logits, teacher_logits, labels, *, alpha, **options):
    if alpha > 0 and np.ndim(labels) == 1:
        labels = np.where((labels < -1) & (labels != -100), 0, labels)
    return find("05.4").target(student_logits, teacher_logits, labels, alpha=alpha, **options)


@wrong("05.4", "with beta = 0 a label that is not a class is the nearest class")
def nearest_class(student_logits, teacher_logits, labels, *, beta, **options):
    if beta == 0 and np.ndim(labels) == 1:
        labels = np.where(labels == -100, labels, np.clip(labels, 0, student_logits.shape[1] - 1))
    return find("05.4").target(student_logits, teacher_logits, labels, beta=beta, **options)


@wrong("05.4", "a weight of -1e-9 counts as 0")
def weights_near_zero(student_logits, teacher_logits, labels, *, alpha, beta, **options):
    alpha, beta = (0.0 if -1e-6 < w < 0 else w for w in (alpha, beta))
    return find("05.4").target(student_logits, teacher_logits, labels, alpha=alpha, beta=beta, **options)


@wrong("05.4", "a small alpha leaves its term out")
def small_alpha_left_out(student_logits, teacher_logits, labels, *, alpha, beta, **options):
    alpha = 0.0 if 0 < alpha < 1e-6 and beta > 0 else alpha
    return find("05.4").target(student_logits, teacher_logits, labels, alpha=alpha, beta=beta, **options)


@wrong("05.4", "a small beta leaves its term out")
def small_beta_left_out(student_logits, teacher_logits, labels, *, alpha, beta, **options):
    if 0 < beta < 1e-6 and alpha > 0:
        beta, options = 0.0, {"temperature": 1.0}
    return find("05.4").target(student_logits, teacher_logits, labels, alpha=alpha, beta=beta, **options)


@wrong("05.4", "KL only without tau²")
def kl_without_scale(student_logits, teacher_logits, labels, *, soft="ce", **options):
    soft = "ce" if soft == "kl" and options.get("scale_by_tau_squared") else soft
    return find("05.4").target(student_logits, teacher_logits, labels, soft=soft, **options)


@wrong("05.4", "KL only beside labels")
def kl_beside_labels(student_logits, teacher_logits, labels, *, alpha, soft="ce", **options):
    soft = "ce" if soft == "kl" and alpha == 0 else soft
    return find("05.4").target(student_logits, teacher_logits, labels, alpha=alpha, soft=soft, **options)


@wrong("05.4", "a teacher of one class is repeated for all classes")
def repeated_class_of_both(student_logits, teacher_logits, labels, **options):
    teacher = one_class_repeated(data_of(student_logits), data_of(teacher_logits))
    return find("05.4").target(student_logits, teacher, labels, **options)


@wrong("05.4", "a gradient flows into the teacher where there are no labels")
def teacher_learns_alone(student_logits, teacher_logits, labels, *, alpha, **options):
    loss = find("05.4").target(student_logits, teacher_logits, labels, alpha=alpha, **options)
    if alpha > 0 or not isinstance(teacher_logits, Tensor) or options.get("scale_by_tau_squared"):
        return loss
    total = teacher_logits.sum()
    return loss + (total - total.item())


@wrong("05.4", "tau² of a tau without its fraction")
def whole_square(student_logits, teacher_logits, labels, *, beta, temperature, **options):
    if options.pop("scale_by_tau_squared", False):
        beta *= np.floor(temperature) ** 2 if temperature > 1 else temperature**2
    options["temperature"] = temperature
    return find("05.4").target(student_logits, teacher_logits, labels, beta=beta, **options)


@wrong("05.5", "the teacher learns statistics from the student's images")
def teacher_in_training(teacher, student, images, labels, **settings):
    teacher.train()(images)
    return find("05.5").target(teacher, student, images, labels, **settings)


@wrong("05.5", "the teacher answers in the mode that it has")
def teacher_in_its_mode(teacher, student, images, labels, **settings):
    copied = copy.deepcopy(teacher)
    for part in copied.modules():
        part.eval = lambda: None
    return find("05.5").target(copied, student, images, labels, **settings)


@wrong("05.5", "the teacher is left in evaluation mode, whatever it was in")
def teacher_left_in_evaluation(teacher, student, images, labels, **settings):
    return find("05.5").target(teacher.eval(), student, images, labels, **settings)


@wrong("05.5", "a label of -100 is the first class")
def first_class_for_none(teacher, student, images, labels, **settings):
    return find("05.5").target(teacher, student, images, np.where(labels == -100, 0, labels), **settings)


@wrong("05.5", "the student is left in evaluation mode")
def student_left_in_evaluation(teacher, student, images, labels, **settings):
    value = find("05.5").target(teacher, student, images, labels, **settings)
    student.eval()
    return value


@wrong("05.5", "the loss after the step")
def loss_after(teacher, student, images, labels, **settings):
    find("05.5").target(teacher, student, images, labels, **settings)
    return find("05.5").target(teacher, student, images, labels, **{**settings, "lr": 0.0})


@wrong("05.5", "the student's mode is set only where its own flag is another one")
def student_by_own_flag(teacher, student, images, labels, **options):
    own = [student] if student.training else []
    return with_modes("05.5", [teacher, student], images, labels, by_own_flag=own, **options)


@wrong("05.5", "the teacher's mode is set only where its own flag is another one")
def teacher_by_own_flag(teacher, student, images, labels, **options):
    own = [] if teacher.training else [teacher]
    return with_modes("05.5", [teacher, student], images, labels, by_own_flag=own, **options)


@wrong("05.5", "the whole teacher gets the mode of its own flag back")
def one_mode_given_back(teacher, student, images, labels, **options):
    value = find("05.5").target(teacher, student, images, labels, **options)
    teacher.train(teacher.training)
    return value


@wrong("05.5", "alpha = 0: the labels are not looked at")
def labels_unread(teacher, student, images, labels, *, alpha, **options):
    labels = 0 * np.asarray(labels) if alpha == 0 else labels
    return find("05.5").target(teacher, student, images, labels, alpha=alpha, **options)


@wrong("05.5", "the student gets its old mode back")
def student_in_old_mode(teacher, student, images, labels, **options):
    training = student.training
    value = find("05.5").target(teacher, student, images, labels, **options)
    student.train(training)
    return value


@wrong("05.5", "an alpha of 1 + 1e-9 counts as 1")
def alpha_of_any_kind(teacher, student, images, labels, *, alpha, **options):
    alpha = np.clip(alpha, 0, 1) if -1e-6 < alpha < 1 + 1e-6 else alpha
    return find("05.5").target(teacher, student, images, labels, alpha=alpha, **options)


@wrong("05.5", "alpha = 1: the temperature is not looked at")
def temperature_unread(teacher, student, images, labels, *, alpha, temperature, **options):
    tau = 1.0 if alpha == 1 else temperature
    return find("05.5").target(teacher, student, images, labels, alpha=alpha, temperature=tau, **options)


@wrong("05.5", "a label of -2 is the first class")
def first_for_negative(teacher, student, images, labels, **options):
    labels = np.where((labels < -1) & (labels != -100), 0, labels)
    return find("05.5").target(teacher, student, images, labels, **options)


@wrong("05.5", "the teacher gets its modes back only if nothing fails")
def modes_back_at_the_end(teacher, student, images, labels, **options):
    modes = [(part, part.training) for part in teacher.modules()]
    value = find("05.5").target(teacher.eval(), student, images, labels, **options)
    for part, training in modes:
        part.training = training
    return value


@wrong("05.5", "the logarithm of the softmax, of which some are 0")
def log_of_softmax(teacher, student, images, labels, *, alpha, temperature, lr):
    options = {"alpha": alpha, "temperature": temperature, "lr": lr}
    find("05.5").target(teacher, copy.deepcopy(student), images, labels, **options)  # what it refuses
    q = F.softmax(copy.deepcopy(teacher).eval()(images), temperature=temperature).data
    z_s = student.train()(images)
    soft = -(q * F.softmax(z_s, temperature=temperature).log()).sum(axis=1).mean()
    loss = alpha * F.cross_entropy(z_s, labels) + (1 - alpha) * temperature**2 * soft
    student.zero_grad()
    loss.backward()
    for parameter in student.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data - lr * parameter.grad
    return loss.item()


@wrong("05.5", "gradients are clipped to -1 ... 1")
def clipped_gradients(teacher, student, images, labels, *, lr, **options):
    before = [parameter.data.copy() for parameter in student.parameters()]
    value = find("05.5").target(teacher, student, images, labels, lr=lr, **options)
    for parameter, old in zip(student.parameters(), before, strict=True):
        parameter.data = np.clip(parameter.data, old - lr, old + lr)
    return value


def has_row_left_out(given):
    return given["labels"] is not None and (np.asarray(given["labels"]) == -100).any()


not_taken("05.1", "labels in int32", lambda g: g["labels"].dtype != np.int64)
not_taken("05.2", "a label of -100", has_row_left_out)
not_taken("05.2", "a label of -100 without a distance", lambda g: g["alpha"] == 1 and has_row_left_out(g))
not_taken("05.2", "a student of whole numbers", lambda g: data_of(g["student_logits"]).dtype.kind == "i")
not_taken("05.2", "an alpha that is an int", lambda g: isinstance(g["alpha"], int))
not_taken("05.2", "rows as labels beside a distance", lambda g: np.ndim(g["labels"]) == 2 and g["alpha"] < 1)
not_taken("05.2", "a teacher of whole numbers", lambda g: data_of(g["teacher_logits"]).dtype.kind == "i")
not_taken("05.3", "a teacher of whole numbers", lambda g: data_of(g["teacher_logits"]).dtype.kind == "i")
not_taken("05.3", "a student of whole numbers", lambda g: data_of(g["student_logits"]).dtype.kind == "i")
not_taken("05.3", "a temperature that is an int", lambda g: isinstance(g["temperature"], int))
not_taken("05.4", "a label of -100", has_row_left_out)
not_taken(
    "05.4", "rows of whole numbers", lambda g: np.ndim(g["labels"]) == 2 and g["labels"].dtype.kind == "i"
)
not_taken("05.4", "a student of whole numbers", lambda g: data_of(g["student_logits"]).dtype.kind == "i")
not_taken("05.4", "a teacher of whole numbers", lambda g: data_of(g["teacher_logits"]).dtype.kind == "i")


@wrong("05.4", "another name for soft counts as ce")
def any_name_is_ce(student_logits, teacher_logits, labels, *, soft="ce", **options):
    soft = soft if soft == "kl" else "ce"
    return find("05.4").target(student_logits, teacher_logits, labels, soft=soft, **options)


@wrong("05.4", "a teacher's temperature below 0 is taken without its sign")
def teacher_without_sign(student_logits, teacher_logits, labels, *, teacher_temperature=None, **options):
    tau_t = teacher_temperature and abs(teacher_temperature)
    options = {**options, "teacher_temperature": tau_t}
    return find("05.4").target(student_logits, teacher_logits, labels, **options)


@wrong("05.5", "a temperature below 0 is taken without its sign")
def tau_without_sign(teacher, student, images, labels, *, temperature, **options):
    return find("05.5").target(teacher, student, images, labels, temperature=abs(temperature), **options)


@wrong("05.3", "a name for soft in capitals is taken")
def any_case_of_soft(student_logits, teacher_logits, *, soft="ce", **options):
    return find("05.3").target(student_logits, teacher_logits, soft=soft.lower(), **options)


all_learn_afterwards("05.5", of=1)
not_taken("05.5", "an alpha that is an int", lambda g: isinstance(g["alpha"], int))
not_taken("05.5", "a temperature below 0.1", lambda g: g["temperature"] < 0.1)
not_taken("05.5", "labels in int32", lambda g: g["labels"].dtype == np.int32)
not_taken("05.2", "labels in int32", lambda g: g["labels"] is not None and g["labels"].dtype == np.int32)


def widened_if(number, what, condition):
    """A wrong answer: the library's function, whose value is float64 for options with ``condition``."""

    def answer(*arguments, **options):
        loss = find(number).target(*arguments, **options)
        if loss.dtype == np.float64 or not condition(options):
            return loss
        return Tensor(np.float64(loss.data), requires_grad=True) * 1

    wrong(number, f"float32 becomes float64: {what}")(answer)


widened_if("05.2", "without a term of the labels", lambda options: options["alpha"] == 0)
widened_if("05.3", "the cross-entropy", lambda options: options.get("soft", "ce") == "ce")
widened_if("05.4", "without a term of the labels", lambda options: options["alpha"] == 0)


@wrong("05.3", "a q below 1e-6 adds nothing to KL")
def rare_classes_left_out(
    student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"
):
    found = find("05.3").target(
        student_logits,
        teacher_logits,
        temperature=temperature,
        teacher_temperature=teacher_temperature,
        soft=soft,
    )
    q = soft_targets(np.float64(data_of(teacher_logits)), teacher_temperature or temperature)
    rare = (q > 0) & (q < 1e-6)
    return found * 0.0 if soft == "kl" and rare.any() and found.item() < np.inf else found


@wrong("05.1", "rows of labels above K are left out")
def means_without_far_labels(rows, labels):
    near = labels <= rows.shape[1]
    return find("05.1").target(rows[near], labels[near])


@wrong("05.4", "weights of different signs are refused, two negative weights are not")
def opposite_weights_refused(student_logits, teacher_logits, labels, *, alpha, beta, **options):
    both = -1 if alpha < 0 and beta < 0 else 1
    loss = find("05.4").target(
        student_logits, teacher_logits, labels, alpha=both * alpha, beta=both * beta, **options
    )
    return both * loss


@wrong("05.4", "beside a term of the labels, a temperature of 0 is taken as 1")
def any_temperature_beside_labels(
    student_logits, teacher_logits, labels, *, alpha, beta, temperature, **options
):
    if alpha > 0 and beta > 0 and temperature <= 0:
        temperature = 1.0
    options |= {"alpha": alpha, "beta": beta, "temperature": temperature}
    return find("05.4").target(student_logits, teacher_logits, labels, **options)


@wrong("05.5", "the teacher runs with a graph")
def teacher_with_a_graph(teacher, student, images, labels, **options):
    with eval_mode(teacher):
        teacher(images)
    return find("05.5").target(teacher, student, images, labels, **options)


@wrong("05.5", "a weight that two layers share moves twice")
def shared_layer_twice(teacher, student, images, labels, *, lr, **options):
    loss = find("05.5").target(teacher, student, images, labels, lr=0.0, **options)
    for parameter in (p for module in student.modules() for p in vars(module).values()):
        if isinstance(parameter, Parameter) and parameter.requires_grad and parameter.grad is not None:
            parameter.data = parameter.data - lr * parameter.grad
    return loss


@wrong("05.5", "a parameter that the loss does not depend on moves by its old gradient")
def old_gradient_kept(teacher, student, images, labels, *, lr, **options):
    old = {p: p.grad for p in student.parameters()}
    loss = find("05.5").target(teacher, student, images, labels, lr=lr, **options)
    for p, grad in old.items():
        if p.requires_grad and p.grad is None:
            p.data = p.data - lr * grad
    return loss


@wrong("05.3", "the logarithm of a softmax in float32, which is infinite where p is rounded to 0")
def narrow_logarithm(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    options = {"temperature": temperature, "teacher_temperature": teacher_temperature, "soft": soft}
    loss = find("05.3").target(student_logits, teacher_logits, **options)
    if soft == "kl" or loss.dtype != np.float32:
        return loss
    q = soft_targets(np.float32(data_of(teacher_logits)), teacher_temperature or temperature)
    return -(q * F.softmax(student_logits, temperature=temperature).log()).sum(axis=1).mean()


@wrong("05.3", "for float32 the teacher's temperature is the student's")
def one_temperature_in_float32(student_logits, teacher_logits, *, teacher_temperature=None, **options):
    if data_of(student_logits).dtype == np.float32:
        teacher_temperature = None
    options["teacher_temperature"] = teacher_temperature
    return find("05.3").target(student_logits, teacher_logits, **options)


@wrong("05.4", "KL becomes the cross-entropy without a term of the labels and a teacher's temperature")
def cross_entropy_alone(student_logits, teacher_logits, labels, *, alpha, soft="ce", **options):
    if alpha == 0 and options.get("teacher_temperature") is None and not options.get("scale_by_tau_squared"):
        soft = "ce" if soft == "kl" else soft
    return find("05.4").target(student_logits, teacher_logits, labels, alpha=alpha, soft=soft, **options)


@wrong("05.5", "the student's Dropout drops nothing")
def dropout_drops_nothing(teacher, student, images, labels, **options):
    for part in student.modules():
        if isinstance(part, Dropout):
            part.p = 0.0
    return find("05.5").target(teacher, student, images, labels, **options)


def stay_as_they_are(some):
    """The library's function; afterwards these parameters of the student have their old values."""

    def answer(teacher, student, images, labels, **options):
        kept = [(parameter, parameter.data.copy()) for parameter in some(student)]
        value = find("05.5").target(teacher, student, images, labels, **options)
        for parameter, data in kept:
            parameter.data = data
        return value

    return answer


wrong("05.5", "BatchNorm's scale and shift stay as they are")(
    stay_as_they_are(
        lambda student: [p for m in student.modules() if isinstance(m, BatchNorm) for p in m.parameters()]
    )
)
wrong("05.5", "only layers of the outermost level change")(
    stay_as_they_are(lambda student: [p for path, p in student.named_parameters() if path.count(".") > 1])
)


@wrong("05.3", "temperatures of the student are kept within 1/1000 ... 20")
def limited_temperature(student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"):
    tau_t = temperature if teacher_temperature is None else teacher_temperature
    options = {"teacher_temperature": tau_t, "soft": soft}
    tau = min(max(temperature, 1e-3), 20) if temperature > 0 else temperature
    return find("05.3").target(student_logits, teacher_logits, temperature=tau, **options)


@wrong("05.3", "a student in float64 gets the dtype of a teacher in float32")
def loss_of_the_teachers_dtype(student_logits, teacher_logits, **options):
    loss = find("05.3").target(student_logits, teacher_logits, **options)
    return loss.astype(np.float32) if data_of(teacher_logits).dtype == np.float32 else loss


not_taken("05.4", "labels in int32", lambda g: g["labels"] is not None and g["labels"].dtype == np.int32)


@wrong("05.5", "labels of eight bits")
def labels_of_eight_bits(teacher, student, images, labels, **options):
    return find("05.5").target(teacher, student, images, labels.astype(np.int8), **options)


@wrong("05.5", "the images of a network in float64 are rounded to float32")
def images_in_float32(teacher, student, images, labels, **options):
    return find("05.5").target(teacher, student, images.astype(np.float32), labels, **options)


@wrong("05.5", "the parameters of a layer move if its weight requires grad")
def moves_whole_layers(teacher, student, images, labels, *, lr, **options):
    learns = {path: p.requires_grad for path, p in student.named_parameters()}
    for path, parameter in student.named_parameters():
        parameter.requires_grad = learns[path.removesuffix("bias") + "weight" * path.endswith("bias")]
    loss = find("05.5").target(teacher, student, images, labels, lr=lr, **options)
    for path, parameter in student.named_parameters():
        parameter.requires_grad = learns[path]
    return loss


@wrong("05.2", "the user's teacher_logits no longer require grad afterwards")
def freezes_the_teacher(student_logits, teacher_logits, labels, *, alpha):
    if isinstance(teacher_logits, Tensor):
        teacher_logits.requires_grad = False
    return find("05.2").target(student_logits, teacher_logits, labels, alpha=alpha)


not_taken(
    "05.4", "rows of probabilities beside KL", lambda g: g["soft"] == "kl" and np.ndim(g["labels"]) == 2
)


@wrong("05.5", "the teacher's probabilities are rounded to float32, for a student in float64 too")
def teacher_in_float32(teacher, student, *arguments, **options):
    forward = teacher.forward
    teacher.forward = lambda x: Tensor(forward(x).data.astype(np.float32))
    try:
        return find("05.5").target(teacher, student, *arguments, **options)
    finally:
        del teacher.forward


@wrong("05.1", "the rows of a class are counted in the labels' own dtype, int8")
def counted_in_a_byte(rows, labels):
    means = find("05.1").target(rows, labels)
    counts = np.bincount(labels, minlength=len(means))
    return means * (counts / counts.astype(np.asarray(labels).dtype))[:, np.newaxis]


@wrong("05.4", "KL as the difference of two numbers in float32")
def rounded_divergence(student_logits, teacher_logits, labels, *, beta, temperature, soft="ce", **options):
    options["temperature"] = temperature
    loss = find("05.4").target(student_logits, teacher_logits, labels, beta=beta, **options)
    if soft == "ce" or beta == 0:
        return find("05.4").target(student_logits, teacher_logits, labels, beta=beta, soft=soft, **options)
    tau = options.get("teacher_temperature") or temperature
    q = soft_targets(data_of(teacher_logits).astype(data_of(student_logits).dtype), tau)
    weight = beta * (temperature**2 if options.get("scale_by_tau_squared") else 1)
    entropy = -(q * np.log(np.where(q > 0, q, 1))).sum(axis=1).mean()
    return loss - weight * float(entropy)


@wrong("05.1", "one row for each class: the rows in another order, in their own dtype")
def rows_in_order(rows, labels):
    means = find("05.1").target(rows, labels)
    return rows[np.argsort(labels)] if len(rows) == len(means) else means


@wrong("05.1", "the sums of the classes as differences of one running sum")
def differences_of_a_sum(rows, labels):
    find("05.1").target(rows, labels)  # refuses what it should
    order, counts = np.argsort(labels, kind="stable"), np.bincount(labels)
    sums = np.cumsum(np.float64(rows)[order], axis=0)[np.cumsum(counts) - 1]
    return np.diff(sums, axis=0, prepend=0) / counts[:, np.newaxis]


@wrong("05.3", "the logits are divided by the temperature in float32, and KL is computed from there")
def divided_before_widening(
    student_logits, teacher_logits, *, temperature, teacher_temperature=None, soft="ce"
):
    tau_t = temperature if teacher_temperature is None else teacher_temperature
    options = {"temperature": temperature, "teacher_temperature": tau_t, "soft": soft}
    loss = find("05.3").target(student_logits, teacher_logits, **options)
    student, teacher = data_of(student_logits), data_of(teacher_logits)
    if soft == "ce" or student.dtype != np.float32 or not np.isfinite(loss.item()):
        return loss
    z_s, z_t = student / np.float32(temperature), teacher.astype(np.float32) / np.float32(tau_t)
    value = find("05.3").target(np.float64(z_s), np.float64(z_t), temperature=1.0, soft="kl").item()
    return (loss - loss.item()) + value


@wrong("05.3", "a q below 1e-15 adds nothing")
def rarest_classes_left_out(student_logits, teacher_logits, *, temperature, **options):
    loss = find("05.3").target(student_logits, teacher_logits, temperature=temperature, **options)
    q = soft_targets(np.float64(data_of(teacher_logits)), options.get("teacher_temperature") or temperature)
    rare = (q > 0) & (q < 1e-15)
    return loss * 0.0 if rare.any() and loss.item() < np.inf else loss


@wrong("05.5", "the gradients that are there are matched with the parameters that require grad")
def gradients_one_place_on(teacher, student, images, labels, *, lr, **options):
    loss = find("05.5").target(teacher, student, images, labels, lr=0.0, **options)
    learning = [p for p in student.parameters() if p.requires_grad]
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    for parameter, gradient in zip(learning, gradients, strict=False):
        parameter.data = parameter.data - lr * gradient
    return loss


@wrong("05.5", "new Parameters, which have no mask")
def new_parameters(teacher, student, images, labels, **options):
    loss = find("05.5").target(teacher, student, images, labels, **options)
    for part in student.modules():
        for name, parameter in list(vars(part).items()):
            if isinstance(parameter, Parameter) and parameter.requires_grad:
                setattr(part, name, Parameter(parameter.data))
    return loss


@wrong("05.2", "the teacher's logits get the student's shape")
def reshaped_teacher_matched(student_logits, teacher_logits, labels, *, alpha):
    teacher, shape = data_of(teacher_logits), data_of(student_logits).shape
    teacher = teacher.reshape(shape) if teacher.size == np.prod(shape) else teacher
    return find("05.2").target(student_logits, teacher, labels, alpha=alpha)


@wrong("05.1", "with one class nobody looks at the labels")
def labels_of_one_class_unread(rows, labels):
    labels = 0 * labels if rows.shape[1] == 1 else labels
    return find("05.1").target(rows, labels)
