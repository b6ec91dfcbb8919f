"""The distillation losses by hand and by their laws, value and gradient; and what distill leaves alone."""

import copy
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl.nn as nn
import minidl.nn.functional as F
from minidl import Tensor, grad
from minidl.classroom.strategies import arrays, temperatures
from minidl.classroom.strategies import labels as label_arrays
from minidl.nn.models import mlp
from minidl.train import SGD, Adam, evaluate, fit, predict
from minidl.train.calibration import entropy
from minidl.transfer.distill import distill
from minidl.transfer.distill_loss import (
    class_means,
    class_similarity,
    distillation_loss,
    distillation_terms,
    logit_distance,
    logit_matching_loss,
    logit_matching_terms,
    soft_cross_entropy,
    soft_gradient,
    soft_targets,
)

SOFT_ONLY = {"alpha": 0.0, "beta": 1.0}


@st.composite
def answers(draw, max_rows=3, max_classes=4):
    """Logits of a student and a teacher (N, K), and labels (N,)."""
    n, k = draw(st.integers(1, max_rows)), draw(st.integers(1, max_classes))
    return draw(arrays((n, k))), draw(arrays((n, k))), draw(label_arrays(n, k))


def value_and_gradient(loss, student_logits, *others, **options):
    z_s = Tensor(student_logits, requires_grad=True)
    y = loss(z_s, *others, **options)
    return y.item(), grad(y, [z_s])[0]


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def centred(z):
    return z - z.mean(axis=1, keepdims=True)


close = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)

# ---- by hand


def test_soft_targets_of_log_1_and_log_16_are_1_and_4_fifths_at_temperature_2():
    close(soft_targets(np.log([[1.0, 16.0]]), 2.0), [[1 / 5, 4 / 5]])


def test_the_loss_of_one_row_by_hand():
    # At tau = 2: q = (1, 3) / 4 and p = (1, 1) / 2. At T = 1 the student also has (1, 1) / 2.
    teacher, student = np.log([[1.0, 9.0]]), Tensor(np.zeros((1, 2)))
    loss = distillation_loss(student, teacher, np.array([0]), alpha=0.25, beta=3.0, temperature=2.0)
    close(loss.item(), 0.25 * np.log(2) + 3 * np.log(2))
    options = {"alpha": 0.25, "beta": 3.0, "temperature": 2.0, "scale_by_tau_squared": True}
    close(distillation_loss(student, teacher, np.array([0]), **options).item(), 12.25 * np.log(2))
    kl = distillation_loss(student, teacher, None, **SOFT_ONLY, temperature=2.0, soft="kl").item()
    close(kl, 0.25 * np.log(0.5) + 0.75 * np.log(1.5))


def test_the_distance_sums_over_classes_and_averages_over_rows():
    student, teacher = Tensor(np.array([[1.0, 0.0], [0.0, 0.0]])), np.array([[0.0, 2.0], [0.0, 3.0]])
    close(logit_distance(student, teacher).item(), (1 + 4 + 9) / 2)
    loss = logit_matching_loss(Tensor(np.zeros((2, 2))), teacher, np.array([0, 1]), alpha=0.75)
    close(loss.item(), 0.75 * np.log(2) + 0.25 * (4 + 9) / 2)


def test_each_class_has_the_mean_of_its_rows():
    rows = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    close(class_means(rows, np.array([1, 0, 1])), [[1.0, 0.0], [0.25, 0.75]])


# ---- laws of the soft term


@given(case=answers(), tau=temperatures())
def test_equal_logits_have_kl_0_and_no_soft_gradient(case, tau):
    z, _, _ = case
    kl, g = value_and_gradient(distillation_loss, z, z, None, **SOFT_ONLY, temperature=tau, soft="kl")
    assert kl == 0
    close(g, np.zeros_like(z))


@given(case=answers(), tau=temperatures())
def test_the_soft_term_is_at_least_the_teachers_entropy_and_equals_it_only_at_its_distribution(case, tau):
    z_s, z_t, _ = case
    p, q = softmax(z_s / tau), softmax(z_t / tau)
    excess = soft_cross_entropy(Tensor(z_s), z_t, temperature=tau).item() - entropy(q).mean()
    gap = np.abs(p - q).sum(axis=1)
    assert excess >= (gap**2).mean() / 2 - 1e-12  # a consequence of Pinsker's inequality
    if gap.max() == 0:
        assert abs(excess) < 1e-12


@given(case=answers(), tau=temperatures())
def test_kl_is_cross_entropy_less_the_teachers_entropy_with_the_same_gradient(case, tau):
    z_s, z_t, _ = case
    ce, ce_gradient = value_and_gradient(soft_cross_entropy, z_s, z_t, temperature=tau)
    kl, kl_gradient = value_and_gradient(soft_cross_entropy, z_s, z_t, temperature=tau, soft="kl")
    close(ce - kl, entropy(softmax(z_t / tau)).mean())
    assert np.array_equal(ce_gradient, kl_gradient)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_kl_too_large_for_float32_is_infinite_and_not_nan():
    z_s = Tensor(np.float32([[0, 3e38]]), requires_grad=True)
    kl = soft_cross_entropy(z_s, [[1e38, 0]], temperature=0.1, soft="kl")
    kl.backward()
    assert kl.item() == np.inf and z_s.grad.tolist() == [[-10, 10]]


@pytest.mark.parametrize("soft", ["ce", "kl"])
def test_a_class_that_neither_teacher_nor_student_gives_any_probability_adds_nothing(soft):
    z_s = Tensor([[0.0, -np.inf, 0.0]], requires_grad=True)
    loss = soft_cross_entropy(z_s, [[0.0, -2000.0, 0.0]], temperature=1.0, soft=soft)
    loss.backward()
    assert loss.item() == pytest.approx({"ce": np.log(2), "kl": 0.0}[soft])
    assert z_s.grad.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("tau", [20.0, 100.0, 1000.0])
@pytest.mark.parametrize("distance", [0.3, 0.03, 0.0])
def test_kl_of_a_student_near_its_teacher_is_as_right_in_float32_as_in_float64(tau, distance):
    rng = np.random.default_rng(0)
    z_t = (3 * rng.normal(size=(64, 10))).astype(np.float32)
    z_s = (z_t + distance * rng.normal(size=z_t.shape)).astype(np.float32)
    q, p = softmax(z_t.astype(np.float64) / tau), softmax(z_s.astype(np.float64) / tau)
    expected = (q * (np.log(q) - np.log(p))).sum(axis=1).mean()
    options = {"temperature": tau, "soft": "kl"}
    kl = soft_cross_entropy(Tensor(z_s), z_t, **options)
    assert kl.dtype == np.float32 and kl.item() >= 0
    np.testing.assert_allclose(kl.item(), expected, rtol=1e-5, atol=1e-15)
    scaled = distillation_loss(z_s, z_t, None, alpha=0, beta=2, scale_by_tau_squared=True, **options)
    np.testing.assert_allclose(scaled.item(), 2 * tau**2 * expected, rtol=1e-5, atol=1e-9)
    other = softmax(z_t.astype(np.float64) / (tau / 2))
    apart = soft_cross_entropy(Tensor(z_s), z_t, teacher_temperature=tau / 2, **options)
    expected = (other * (np.log(other) - np.log(p))).sum(axis=1).mean()
    np.testing.assert_allclose(apart.item(), expected, rtol=1e-5)


@given(case=answers(), tau=temperatures(), of_student=st.integers(-4, 4), of_teacher=st.integers(-4, 4))
def test_a_constant_added_to_a_rows_logits_changes_nothing(case, tau, of_student, of_teacher):
    z_s, z_t, y = case
    options = {"alpha": 0.5, "beta": 2.0, "temperature": tau}
    shifts = np.arange(1, len(z_s) + 1)[:, np.newaxis]
    before = value_and_gradient(distillation_loss, z_s, z_t, y, **options)
    moved = z_s + of_student * shifts, z_t + of_teacher * shifts
    after = value_and_gradient(distillation_loss, *moved, y, **options)
    close(after[0], before[0])
    close(after[1], before[1])


@given(case=answers(), shift=st.integers(1, 4))
def test_but_it_changes_the_distance_of_logits(case, shift):
    z, _, _ = case
    value, g = value_and_gradient(logit_distance, z + shift, z)
    close(value, z.shape[1] * shift**2)
    close(g, np.full_like(z, 2 * shift / len(z)))


@given(case=answers(), tau=temperatures(), beta=st.sampled_from([0.25, 1.0, 3.0]))
def test_the_soft_gradient_is_beta_times_p_less_q_over_tau_n_and_its_rows_sum_to_0(case, tau, beta):
    z_s, z_t, _ = case
    _, g = value_and_gradient(distillation_loss, z_s, z_t, None, alpha=0, beta=beta, temperature=tau)
    p, q = softmax(z_s / tau), softmax(z_t / tau)
    close(g, beta * (p - q) / (tau * len(z_s)))
    close(g, beta * soft_gradient(z_s, z_t, tau))
    close(g.sum(axis=1), np.zeros(len(z_s)))


@given(case=answers(max_classes=6))
def test_at_a_high_temperature_soft_targets_are_matched_logits(case):
    z_s, z_t, _ = case
    n, k = z_s.shape
    limit = (centred(z_s) - centred(z_t)) / k
    for tau in (100.0, 10_000.0):
        _, g = value_and_gradient(soft_cross_entropy, z_s, z_t, temperature=tau)
        # Logits within ±2: the second-order terms of both softmaxes are below 4 z² / (2 tau K).
        assert np.abs(tau**2 * n * g - limit).max() <= 16 / (tau * k) + 1e-9
    _, of_distance = value_and_gradient(logit_distance, centred(z_s), centred(z_t))
    close(of_distance, 2 * k * limit / n)


@given(case=answers())
def test_a_cold_teacher_is_a_label(case):
    z_s, z_t, _ = case
    z_t = z_t + 1e-3 * np.arange(z_t.shape[1])  # no ties
    options = {"temperature": 1.0, "teacher_temperature": 1e-6}
    soft = value_and_gradient(distillation_loss, z_s, z_t, None, **SOFT_ONLY, **options)
    hard = value_and_gradient(F.cross_entropy, z_s, z_t.argmax(axis=1))
    close(soft[0], hard[0])
    close(soft[1], hard[1])


@given(case=answers(), tau=temperatures(), tau_t=temperatures())
def test_the_teachers_temperature_is_its_own_and_by_default_the_students(case, tau, tau_t):
    z_s, z_t, _ = case
    apart = value_and_gradient(soft_cross_entropy, z_s, z_t, temperature=tau, teacher_temperature=tau_t)
    rescaled = value_and_gradient(soft_cross_entropy, z_s, z_t * (tau / tau_t), temperature=tau)
    close(apart[0], rescaled[0])
    close(apart[1], rescaled[1])


@given(case=answers(), tau=temperatures())
def test_scaling_by_tau_squared_multiplies_the_soft_term_alone(case, tau):
    z_s, z_t, y = case
    for alpha in (0.0, 0.5):
        options = {"alpha": alpha, "beta": 2.0, "temperature": tau}
        plain = distillation_terms(Tensor(z_s), z_t, y, **options)
        scaled = distillation_terms(Tensor(z_s), z_t, y, **options, scale_by_tau_squared=True)
        close(scaled["soft"].item(), tau**2 * plain["soft"].item())
        assert plain.keys() == scaled.keys() == ({"hard", "soft"} if alpha else {"soft"})
        if alpha:
            assert scaled["hard"].item() == plain["hard"].item()


@given(case=answers(), tau=temperatures())
def test_alpha_1_and_beta_0_are_plain_training(case, tau):
    z_s, z_t, y = case
    plain = value_and_gradient(F.cross_entropy, z_s, y)
    for loss, options in (
        (distillation_loss, {"alpha": 1.0, "beta": 0.0, "temperature": tau}),
        (logit_matching_loss, {"alpha": 1.0}),
    ):
        value, g = value_and_gradient(loss, z_s, z_t, y, **options)
        assert value == plain[0] and np.array_equal(g, plain[1])


@given(case=answers(), tau=temperatures())
def test_the_loss_is_the_weighted_sum_of_its_terms(case, tau):
    z_s, z_t, y = case
    hard = value_and_gradient(F.cross_entropy, z_s, y)
    soft = value_and_gradient(soft_cross_entropy, z_s, z_t, temperature=tau)
    distance = value_and_gradient(logit_distance, z_s, z_t)
    both = value_and_gradient(distillation_loss, z_s, z_t, y, alpha=0.25, beta=3.0, temperature=tau)
    matched = value_and_gradient(logit_matching_loss, z_s, z_t, y, alpha=0.25)
    for i in (0, 1):
        close(both[i], 0.25 * hard[i] + 3.0 * soft[i])
        close(matched[i], 0.25 * hard[i] + 0.75 * distance[i])


@given(case=answers(), tau=temperatures())
def test_rows_given_twice_change_nothing(case, tau):
    z_s, z_t, y = case
    twice = [np.concatenate([x, x]) for x in (z_s, z_t, y)]
    options = {"alpha": 0.5, "beta": 1.0, "temperature": tau}
    once = distillation_loss(Tensor(z_s), z_t, y, **options).item()
    close(distillation_loss(Tensor(twice[0]), *twice[1:], **options).item(), once)
    distance = logit_distance(Tensor(z_s), z_t).item()
    close(logit_distance(Tensor(twice[0]), twice[1]).item(), distance)


@given(case=answers(), tau=temperatures())
def test_the_teacher_is_a_constant_whether_it_comes_as_an_array_or_a_tensor(case, tau):
    z_s, z_t, y = case
    as_tensor = Tensor(z_t, requires_grad=True)
    student = Tensor(z_s, requires_grad=True)
    for loss, options in (
        (distillation_loss, {"alpha": 0.5, "beta": 1.0, "temperature": tau, "soft": "kl"}),
        (logit_matching_loss, {"alpha": 0.5}),
    ):
        of_array, of_tensor = loss(student, z_t, y, **options), loss(student, as_tensor, y, **options)
        assert of_array.item() == of_tensor.item()
        of_tensor.backward()
    assert as_tensor.grad is None and student.grad is not None


@given(case=answers(), tau=temperatures())
def test_the_losses_stay_in_the_students_dtype(case, tau):
    z_s, z_t, y = case
    options = {"alpha": 0.5, "beta": 1.0, "temperature": tau, "soft": "kl"}
    for dtype in (np.float32, np.float64):
        assert distillation_loss(Tensor(z_s.astype(dtype)), z_t, y, **options).dtype == dtype
        assert logit_matching_loss(Tensor(z_s.astype(dtype)), z_t, y, alpha=0.5).dtype == dtype


# ---- bad input

GOOD = np.zeros((2, 3))
SETTINGS = {"alpha": 0.5, "beta": 0.5, "temperature": 2.0}
LABELS = np.array([0, 2])


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"alpha": -0.1}, ValueError, "alpha must be finite and at least 0"),
        ({"beta": float("nan")}, ValueError, "beta must be finite and at least 0"),
        ({"alpha": 0, "beta": 0}, ValueError, "both 0: there is nothing to learn"),
        ({"temperature": 0}, ValueError, "temperature must be a finite number > 0"),
        ({"temperature": 0, "beta": 0}, ValueError, "temperature must be a finite number > 0"),
        ({"temperature": "5"}, TypeError, "temperature must be a number"),
        ({"teacher_temperature": -1.0}, ValueError, "temperature must be a finite number > 0, got -1"),
        ({"scale_by_tau_squared": "False"}, TypeError, "scale_by_tau_squared must be True or False"),
        (
            {"teacher_logits": [[0.0], [1.0, 2.0]]},
            ValueError,
            "teacher_logits must be an array, but its rows",
        ),
        ({"soft": "mse"}, ValueError, "soft must be one of 'ce', 'kl', got 'mse'"),
        ({"labels": None}, ValueError, "labels are needed where alpha is above 0"),
        ({"labels": np.array([0, 3])}, ValueError, "labels must be in 0 ... 2"),
        (
            {"teacher_logits": np.zeros((2, 4))},
            ValueError,
            r"teacher_logits must have shape \(2, 3\), got \(2, 4\)",
        ),
        (
            {"teacher_logits": np.zeros((1, 3))},
            ValueError,
            r"teacher_logits must have shape \(2, 3\), got \(1, 3\)",
        ),
        ({"teacher_logits": np.full((2, 3), np.inf)}, ValueError, "teacher_logits must be finite"),
        ({"student_logits": np.zeros(3), "teacher_logits": np.zeros(3)}, ValueError, r"\(N, K\)"),
        (
            {"student_logits": np.zeros((0, 3)), "teacher_logits": np.zeros((0, 3))},
            ValueError,
            "must not be empty",
        ),
    ],
)
def test_distillation_loss_says_what_is_wrong(change, error, message):
    given_ = {"student_logits": GOOD, "teacher_logits": GOOD, "labels": LABELS, **SETTINGS, **change}
    with pytest.raises(error, match=message):
        distillation_loss(**given_)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: logit_matching_loss(GOOD, GOOD, LABELS, alpha=1.5), ValueError, r"within \[0, 1\]"),
        (lambda: logit_matching_loss(GOOD, GOOD, None, alpha=0.5), ValueError, "labels are needed"),
        (
            lambda: logit_matching_loss(GOOD, GOOD[:1], LABELS, alpha=0.5),
            ValueError,
            r"must have shape \(2, 3\)",
        ),
        (lambda: logit_distance(GOOD, GOOD[:, :2]), ValueError, r"must have shape \(2, 3\)"),
        (lambda: soft_targets(np.zeros(3), 1.0), ValueError, r"logits must have shape \(N, K\)"),
        (lambda: soft_targets(np.full((1, 2), np.nan), 1.0), ValueError, "logits must be finite"),
        (lambda: soft_targets(GOOD, 0.0), ValueError, "temperature must be a finite number > 0"),
        (lambda: soft_gradient(GOOD, GOOD[:1], 1.0), ValueError, r"must have shape \(2, 3\)"),
        (lambda: logit_distance(GOOD, GOOD + 1e300), ValueError, "teacher_logits in float32 must be finite"),
        (lambda: logit_distance(GOOD, GOOD.astype(str)), TypeError, "teacher_logits must be real numbers"),
        (lambda: soft_targets(GOOD.astype(str), 1.0), TypeError, "logits must be real numbers"),
        (lambda: class_means(GOOD.astype(str), LABELS), TypeError, "rows must be real numbers"),
        (lambda: class_means(GOOD * 1j, LABELS), TypeError, "rows must be real numbers"),
        (lambda: class_means(GOOD + np.nan, LABELS), ValueError, "rows must be finite"),
        (lambda: class_means(GOOD, LABELS), ValueError, "class 1 has no row"),
        (lambda: class_means(GOOD, np.array([0])), ValueError, r"labels must have shape \(2,\), got \(1,\)"),
        (lambda: class_means(GOOD, np.array([0.0, 1.0])), TypeError, "labels must be integers"),
    ],
)
def test_the_other_functions_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---- distill


def clouds(n=48, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.array([[0, 4], [4, -4], [-4, -4]])
    return (centres[labels] + rng.normal(size=(n, 2))).astype(np.float32), labels


def network(seed=0):
    return mlp(2, 8, 3, rng=np.random.default_rng(seed))


def teacher_with_state(seed=0):
    rng = np.random.default_rng(seed)
    layers = nn.Linear(2, 8, rng=rng), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3, rng=rng)
    model = nn.Sequential(*layers)
    fit(model, clouds(), epochs=20, optimizer=Adam(model.parameters(), 0.03), rng=rng)
    model[1].eval()  # modules of one model in different modes
    return model


def everything(model):
    modes = [module.training for module in model.modules()]
    grads = [None if p.grad is None else p.grad.tobytes() for p in model.parameters()]
    return {key: value.tobytes() for key, value in model.state_dict().items()}, modes, grads


def jitter(images, rng):
    return images + rng.normal(size=images.shape).astype(np.float32)


SOFT = partial(distillation_terms, alpha=0.25, beta=0.75, temperature=2.0)


@pytest.mark.parametrize("augment", [None, jitter])
def test_nothing_of_the_teacher_changes_and_the_student_is_back_in_its_mode(augment):
    teacher, student = teacher_with_state(), network(1).eval()
    before = everything(teacher)
    distill(teacher, student, clouds(), loss=SOFT, epochs=2, augment=augment, progress=False)
    assert everything(teacher) == before
    assert not any(module.training for module in student.modules())


@pytest.mark.parametrize("augment", [None, jitter])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_nothing_of_the_teacher_changes_when_an_exception_passes(augment, error):
    teacher, student, calls = teacher_with_state(), network(1).eval(), []
    before = everything(teacher)

    def stops_in_the_second_epoch(*logits_and_labels):
        calls.append(1)
        if len(calls) == 5:
            raise error
        return SOFT(*logits_and_labels)

    with pytest.raises(error) as caught:
        options = {"epochs": 9, "batch_size": 16, "augment": augment, "progress": False}
        distill(teacher, student, clouds(), loss=stops_in_the_second_epoch, **options)
    assert everything(teacher) == before
    assert not any(module.training for module in student.modules())
    if error is KeyboardInterrupt:
        assert len(caught.value.history) == 1


@pytest.mark.parametrize("augment", [None, jitter])
def test_the_teacher_answers_in_evaluation_mode_without_a_graph(augment):
    teacher, seen = teacher_with_state(), []
    teacher.train()
    teacher.register_forward_hook(lambda module, inputs, output: seen.append((module.training, output)))
    distill(teacher, network(1), clouds(), loss=SOFT, epochs=2, augment=augment, progress=False)
    assert seen
    for training, output in seen:
        assert not training and not output.requires_grad and output.op is None


def test_without_augmentation_the_teacher_is_asked_once_and_with_it_for_each_batch():
    for augment, times in ((None, 1), (jitter, 2 * 3)):
        teacher, seen = teacher_with_state(), []
        teacher.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(inputs))
        options = {"epochs": 2, "batch_size": 16, "augment": augment, "progress": False}
        distill(teacher, network(1), clouds(), loss=SOFT, **options)
        assert len(seen) == times


@pytest.mark.parametrize("augment", [None, jitter])
def test_the_loss_gets_the_teachers_answer_to_the_very_images_that_the_student_saw(augment):
    teacher, student, shown = teacher_with_state(), network(1), []
    images, labels = clouds()

    def show(module, inputs, output):
        if module.training:
            shown.append(np.asarray(inputs[0]))

    student.register_forward_hook(show)

    def check(student_logits, teacher_logits, y):
        x = shown[-1]
        np.testing.assert_allclose(teacher_logits, predict(teacher, x), rtol=1e-5, atol=1e-6)
        if augment is None:
            rows = [int(np.flatnonzero((images == image).all(axis=1))[0]) for image in x]
            assert np.array_equal(labels[rows], y)
        return SOFT(student_logits, teacher_logits, y)

    distill(teacher, student, (images, labels), loss=check, epochs=2, batch_size=16, augment=augment)
    assert len(shown) == 6


def test_it_is_the_loop_that_one_would_write_and_with_alpha_1_it_is_fit():
    teacher, schedule = teacher_with_state(), lambda step: 0.1 / (1 + step)
    by_fit, by_distill = network(1), network(1)
    options = {"epochs": 3, "batch_size": 16, "schedule": schedule, "augment": jitter, "progress": False}
    plain = fit(
        by_fit,
        clouds(),
        clouds(seed=1),
        optimizer=SGD(by_fit.parameters(), 0.1, momentum=0.9),
        rng=np.random.default_rng(5),
        **options,
    )
    history = distill(
        teacher,
        by_distill,
        clouds(),
        clouds(seed=1),
        loss=partial(logit_matching_terms, alpha=1.0),
        optimizer=SGD(by_distill.parameters(), 0.1, momentum=0.9),
        rng=np.random.default_rng(5),
        **options,
    )
    assert everything(by_fit) == everything(by_distill)
    assert history.measured["hard"] == history.train_loss == plain.train_loss
    assert set(history.measured) == {"hard", "agreement"}
    assert history.test_accuracy == plain.test_accuracy and history.test_loss == plain.test_loss
    assert history.lr == plain.lr and len(history) == 3


def test_the_history_follows_each_term_and_how_often_the_two_agree():
    teacher, student = teacher_with_state(), network(1)
    images, labels = clouds()
    z_s, z_t = Tensor(predict(student, images)), predict(teacher, images)
    expected = {name: term.item() for name, term in SOFT(z_s, z_t, labels).items()}
    stands_still = SGD(student.parameters(), 0.0)
    history = distill(
        teacher, student, (images, labels), loss=SOFT, epochs=2, batch_size=20, optimizer=stands_still
    )
    for name in ("hard", "soft"):
        np.testing.assert_allclose(history.measured[name], [expected[name]] * 2, rtol=1e-5)
    np.testing.assert_allclose(history.train_loss, [sum(expected.values())] * 2, rtol=1e-5)
    agreement = (z_s.data.argmax(axis=1) == z_t.argmax(axis=1)).mean()
    assert np.allclose(history.measured["agreement"], agreement) and 0 < agreement < 1
    assert history.test_accuracy == history.test_loss == []


def test_a_loss_of_one_tensor_makes_the_same_steps_as_its_terms():
    teacher, images = teacher_with_state(), clouds()[0]
    one, other = network(1), network(1)
    settings = {"alpha": 0.0, "beta": 1.0, "temperature": 2.0}
    for student, loss in ((one, distillation_terms), (other, distillation_loss)):
        rng = np.random.default_rng(3)
        history = distill(teacher, student, (images, None), loss=partial(loss, **settings), epochs=2, rng=rng)
    assert everything(one) == everything(other)
    assert list(history.measured) == ["agreement"] and len(history.train_loss) == 2


def test_a_student_learns_from_images_without_labels():
    teacher, student, test = teacher_with_state(), network(1), clouds(seed=1)
    soft = partial(distillation_terms, alpha=0.0, beta=1.0, temperature=2.0)
    optimizer = Adam(student.parameters(), 0.03)
    history = distill(teacher, student, (clouds()[0], None), test, loss=soft, epochs=20, optimizer=optimizer)
    assert evaluate(student, *test).accuracy == history.test_accuracy[-1] == 1.0
    assert history.measured["agreement"][-1] == 1.0
    assert history.measured["soft"][-1] < history.measured["soft"][0]


def test_a_loss_that_is_not_finite_stops_before_its_step_with_the_history():
    teacher, student, calls = teacher_with_state(), network(1), []

    def diverges(student_logits, teacher_logits, labels):
        calls.append(everything(student)[0])
        factor = np.nan if len(calls) == 3 else 1.0
        return distillation_loss(student_logits, teacher_logits, labels, **SETTINGS) * factor

    with pytest.raises(FloatingPointError, match="the loss is nan at step 2") as caught:
        distill(teacher, student, clouds(), loss=diverges, epochs=5, batch_size=24)
    assert len(caught.value.history) == 1
    assert everything(student)[0] == calls[-1]


@pytest.mark.parametrize(
    "others", [{"hard", "more"}, {"more"}, set()], ids=["one more", "one instead", "one less"]
)
def test_a_loss_whose_terms_change_stops_before_its_step_with_the_history(others):
    teacher, student, calls = teacher_with_state(), network(1), []

    def changes_in_the_second_epoch(student_logits, teacher_logits, labels):
        calls.append(everything(student)[0])
        terms = SOFT(student_logits, teacher_logits, labels)
        if len(calls) < 3:
            return terms
        return {"soft": terms["soft"], **dict.fromkeys(others, terms["hard"])}

    with pytest.raises(
        ValueError, match="the same numbers each time, got .* after \\['hard', 'soft', 'agreement'\\]"
    ) as caught:
        distill(teacher, student, clouds(), loss=changes_in_the_second_epoch, epochs=5, batch_size=24)
    assert len(caught.value.history) == 1
    assert everything(student)[0] == calls[-1]


def test_a_term_that_is_no_tensor_stops_before_the_step():
    student = network(1)
    before = everything(student)

    def with_a_number(student_logits, teacher_logits, labels):
        return {**SOFT(student_logits, teacher_logits, labels), "l2": 0.1}

    with pytest.raises(ValueError, match="a Tensor of one number for a batch, got 0.1 for 'l2'"):
        distill(teacher_with_state(), student, clouds(), loss=with_a_number, epochs=1)
    assert everything(student) == before


def test_an_optimizer_or_student_that_holds_the_teachers_parameters_is_refused():
    teacher, student = network(0), network(1)
    both = SGD([*student.parameters(), *teacher.parameters()], 0.1)
    with pytest.raises(ValueError, match="has 4 parameters of the teacher, which must not move"):
        distill(teacher, student, clouds(), loss=SOFT, epochs=1, optimizer=both)
    with pytest.raises(ValueError, match="parameters of the teacher"):
        distill(teacher, teacher, clouds(), loss=SOFT, epochs=1)
    distill(teacher, copy.deepcopy(teacher), clouds(), loss=SOFT, epochs=1)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"teacher": np.zeros((48, 3))}, TypeError, "teacher must be a Module, got an array"),
        ({"student": None}, TypeError, "student must be a Module, got None"),
        ({"optimizer": 0.1}, TypeError, "optimizer must be an Optimizer, got 0.1"),
        ({"optimizer": SGD(network(2).parameters(), 0.1)}, ValueError, "none of the model's"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer"),
        ({"train": clouds()[0]}, TypeError, "train must be a pair"),
        ({"train": (clouds()[0], clouds()[1][:-1])}, ValueError, "train must have the same length"),
        ({"train": (clouds()[0][:0], None)}, ValueError, "train must have the same length and not be empty"),
        ({"train": (clouds()[0], None)}, ValueError, "labels are needed where alpha is above 0"),
        ({"test": (clouds()[0], clouds()[1] + 1)}, ValueError, "labels must be in 0 ... 2"),
        ({"student": mlp(2, 8, 4)}, ValueError, r"teacher_logits must have shape \(48, 4\), got \(48, 3\)"),
        ({"loss": lambda *_: 1.0}, ValueError, "loss must give a Tensor of one number"),
        ({"loss": lambda *_: {}}, ValueError, "loss must give"),
        ({"loss": "soft"}, TypeError, "loss must be a function"),
        ({"schedule": 0.1}, TypeError, "schedule must be a function"),
        ({"augment": "jitter"}, TypeError, "augment must be a function"),
    ],
)
def test_distill_says_what_is_wrong(change, error, message):
    given_ = {"teacher": network(0), "student": network(1), "train": clouds(), "loss": SOFT, "epochs": 1}
    with pytest.raises(error, match=message):
        distill(**{**given_, **change})


@pytest.mark.parametrize("augment", [None, jitter])
def test_a_wrong_label_of_the_last_batch_shows_before_the_first_step(augment):
    student, labels = network(1), clouds()[1].copy()
    labels[-1] = 3
    before = everything(student)
    with pytest.raises(ValueError, match="labels must be in 0 ... 2"):
        options = {"epochs": 1, "batch_size": 8, "augment": augment}
        distill(network(0), student, (clouds()[0], labels), loss=SOFT, **options)
    assert everything(student) == before


def test_integer_images_and_a_left_over_batch_of_one_are_refused_with_their_mends():
    pixels = np.full((48, 2), 255, np.uint8)
    for train in ((pixels, clouds()[1]), (pixels, None)):
        with pytest.raises(TypeError, match="images of train must be floats, got uint8: divide pixels"):
            distill(network(0), network(1), train, loss=SOFT, epochs=1)
    options = {"loss": SOFT, "epochs": 1, "batch_size": 47}
    with pytest.raises(ValueError, match="drop_last=True"):
        distill(network(0), teacher_with_state(1), clouds(), **options)
    assert distill(network(0), teacher_with_state(1), clouds(), drop_last=True, **options).steps == 1


# ---- the similarity of classes for the teacher


@given(case=answers(), tau=temperatures())
def test_rows_of_the_similarity_are_distributions_and_its_images_order_does_not_matter(case, tau):
    z, _, _ = case
    k = z.shape[1]
    rows, labels = np.concatenate([z] * k), np.repeat(np.arange(k), len(z))
    means = class_means(soft_targets(rows, tau), labels)
    close(means, np.tile(softmax(z / tau).mean(axis=0), (k, 1)))
    order = np.random.default_rng(0).permutation(len(rows))
    close(class_means(soft_targets(rows[order], tau), labels[order]), means)


def test_class_similarity_is_the_mean_soft_target_of_each_class_and_leaves_the_teacher_alone():
    teacher = teacher_with_state()
    before = everything(teacher)
    images, labels = clouds()
    S = class_similarity(teacher, images, labels, 3.0)
    expected = [softmax(predict(teacher, images[labels == c]) / 3.0).mean(axis=0) for c in range(3)]
    np.testing.assert_allclose(S, expected, rtol=1e-5)
    assert everything(teacher) == before
    with pytest.raises(ValueError, match="class 2 has no row"):
        class_similarity(teacher, images[labels < 2], labels[labels < 2], 3.0)
