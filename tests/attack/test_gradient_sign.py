"""FGSM and PGD: their laws under the conditions that they hold under, and examples by hand."""

import math
import warnings

import numpy as np
import pytest
from attacked import FREE, affine, batch_of, drawn_affine, eps_values, loss_of, network, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from untouched import Trips, disturbed, left_untouched

import minidl.nn as nn
from minidl.attack import deepfool, fgsm, minimal_perturbation, pgd, random_signs, robust_accuracy
from minidl.attack.gradient_sign import fgsm_step, finite_logits, loss_gradient, project
from minidl.compress.integer import quantize_model
from minidl.nn import Sequential
from minidl.nn.models import small_cnn

few = settings(max_examples=25)


def several_steps(model, images, labels, eps, **options):
    return pgd(model, images, labels, eps, steps=3, rng=np.random.default_rng(0), **options)


def coins(model, images, labels, eps, **options):
    return random_signs(model, images, labels, eps, rng=np.random.default_rng(0), **options)


ATTACKS = [fgsm, several_steps, coins]
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)


# ---- what every attack keeps


@every_attack
@given(seed=seeds, eps=eps_values, dtype=st.sampled_from([np.float32, np.float64]))
@few
def test_what_comes_back_lies_in_the_box_and_within_eps(attack, seed, eps, dtype):
    images, labels = batch_of(seed, dtype=dtype)
    changed = attack(network(seed), images, labels, eps)
    assert changed.dtype == dtype and changed.shape == images.shape
    assert changed.min() >= 0 and changed.max() <= 1
    assert np.abs(np.float64(changed) - images).max() <= eps + np.finfo(dtype).eps


@every_attack
@given(seed=seeds)
@few
def test_eps_0_changes_nothing(attack, seed):
    images, labels = batch_of(seed)
    for eps in (0, -0.0):
        np.testing.assert_array_equal(attack(network(seed), images, labels, eps), images)


@every_attack
def test_other_bounds_are_kept_as_well(attack):
    images, labels = batch_of(1)
    changed = attack(network(1), 10 * images - 5, labels, 2.0, bounds=(-5, 5))
    assert changed.min() == -5 and changed.max() == 5 and np.abs(changed - (10 * images - 5)).max() > 1.9
    numbers = np.float64(0), np.float64(1)  # float32 images stay in float32
    assert attack(network(1), images, labels, 0.1, bounds=numbers).dtype == images.dtype == np.float32


@every_attack
def test_the_model_and_the_images_stay_as_they_were(attack):
    model, (images, labels) = disturbed(network(2)), batch_of(2)
    with left_untouched(model, images, labels):
        attack(model, images, labels, 0.1)


@pytest.mark.parametrize("at", [1, 2])
def test_they_do_when_the_model_raises_as_well(at):
    model, (images, labels) = network(2), batch_of(2)
    model.add_module("trips", Trips(at))
    with left_untouched(disturbed(model), images), pytest.raises(RuntimeError, match="tripped"):
        fgsm(model, images, labels, 0.1)


def test_dropout_draws_nothing_and_the_mode_of_the_model_does_not_matter():
    model, (images, labels) = network(3), batch_of(3)
    in_training = fgsm(model.train(), images, labels, 0.1)
    np.testing.assert_array_equal(in_training, fgsm(model.eval(), images, labels, 0.1))


# ---- the gradient and its sign


@given(seed=seeds)
@few
def test_the_gradient_is_that_of_each_images_own_loss(seed):
    model, (images, labels) = network(seed), batch_of(seed, dtype=np.float64)
    gradient = loss_gradient(model, images, labels)
    rng, h = np.random.default_rng(seed), 1e-8  # so small that a ReLU rarely has its kink inside the step
    direction = rng.normal(size=images.shape)
    up, down = (loss_of(model, images + sign * h * direction, labels) for sign in (1, -1))
    expected = (gradient * direction).sum(axis=(1, 2, 3))
    np.testing.assert_allclose((up - down) / (2 * h), expected, rtol=1e-3, atol=1e-6)


def test_many_images_are_attacked_as_each_alone():
    model, (images, labels) = (
        network(4),
        batch_of(4, n=300, dtype=np.float64),
    )  # more images than in one part
    together = fgsm(model, images, labels, 0.1)
    for i in (0, 255, 256, 299):
        np.testing.assert_array_equal(together[i], fgsm(model, images[i : i + 1], labels[i : i + 1], 0.1)[0])


def test_three_pixels_by_hand():
    # z = (0, 2 x0 - x1 + 0 x2). For label 0 the loss grows with z1: signs (+, -, 0).
    model = affine(np.array([[0.0, 0, 0], [2, -1, 0]]), np.zeros(2))
    x = np.array([[0.5, 0.05, 0.5]])
    np.testing.assert_allclose(fgsm(model, x, [0], 0.25), [[0.75, 0.0, 0.5]], atol=1e-12)
    np.testing.assert_allclose(fgsm(model, x, [0], 0.25, targeted=True), [[0.25, 0.3, 0.5]], atol=1e-12)
    np.testing.assert_allclose(fgsm(model, x, [1], 0.25, targeted=True), [[0.75, 0.0, 0.5]], atol=1e-12)


@given(seed=seeds, classes=st.integers(2, 4), eps=st.sampled_from([0.01, 0.1, 1.0]))
@few
def test_on_an_affine_model_without_a_box_the_loss_rises_by_at_least_eps_times_the_1_norm(seed, classes, eps):
    model, rng = drawn_affine(seed, classes), np.random.default_rng([seed, 2])
    x, labels = rng.normal(size=(3, 6)), rng.integers(0, classes, 3)
    norms = np.abs(loss_gradient(model, x, labels)).sum(axis=1)
    rise = loss_of(model, fgsm(model, x, labels, eps, bounds=FREE), labels) - loss_of(model, x, labels)
    assert (rise >= eps * norms - 1e-9).all()
    tiny = loss_of(model, fgsm(model, x, labels, 1e-5, bounds=FREE), labels) - loss_of(model, x, labels)
    np.testing.assert_allclose(tiny, 1e-5 * norms, rtol=1e-2, atol=1e-9)


@given(seed=seeds, classes=st.integers(2, 4), eps=st.sampled_from([0.1, 1.0]))
@few
def test_the_loss_of_the_target_falls_on_an_affine_model_if_the_step_is_small(seed, classes, eps):
    model, rng = drawn_affine(seed, classes), np.random.default_rng([seed, 2])
    x, labels = rng.normal(size=(3, 6)), rng.integers(0, classes, 3)
    there = fgsm(model, x, labels, eps * 1e-3, targeted=True, bounds=FREE)
    assert (loss_of(model, there, labels) < loss_of(model, x, labels)).all()


@given(seed=seeds, attack=st.sampled_from([fgsm, lambda *a: pgd(*a, steps=3, random_start=False)]))
@few
def test_pixels_that_the_loss_does_not_depend_on_stay(seed, attack):
    rng = np.random.default_rng(seed)
    weight, unused = rng.normal(size=(3, 6)), rng.random(6) < 0.5
    weight[:, unused] = 0
    x = rng.random((2, 6))
    changed = attack(affine(weight, np.zeros(3)), x, rng.integers(0, 3, 2), 0.1)
    np.testing.assert_array_equal(changed[:, unused], x[:, unused])
    assert (changed[:, ~unused] != x[:, ~unused]).all()


# ---- projection and several steps


def test_a_projection_by_hand():
    around, x = np.array([0.5, 0.5, 0.5, 0.95, 0.1]), np.array([0.9, 0.2, 0.6, 1.5, -0.5])
    np.testing.assert_allclose(project(x, around, 0.25), [0.75, 0.25, 0.6, 1.0, 0.0], atol=1e-12)


@given(seed=seeds, eps=eps_values, factor=st.sampled_from([1.0, 1.5, 10.0]), targeted=st.booleans())
@few
def test_one_step_of_pgd_from_the_image_of_at_least_eps_is_fgsm(seed, eps, factor, targeted):
    model, (images, labels) = network(seed), batch_of(seed)
    step = max(factor * eps, 1e-3)
    once = pgd(model, images, labels, eps, steps=1, step_size=step, random_start=False, targeted=targeted)
    np.testing.assert_array_equal(once, fgsm(model, images, labels, eps, targeted=targeted))


def test_two_steps_of_pgd_by_hand():
    # z1 = x0, so label 0 increases x0: 0.5 -> 0.6 -> 0.7, clipped at 0.5 + 0.15.
    model = affine(np.array([[0.0], [1.0]]), np.zeros(2))
    found = pgd(model, np.array([[0.5]]), [0], 0.15, steps=2, step_size=0.1, random_start=False)
    np.testing.assert_allclose(found, [[0.65]], atol=1e-12)


def test_the_default_steps_of_pgd_can_cross_the_ball():
    # From the worst start, -eps, ten steps of eps / 4 reach +eps, and are clipped there.
    model = affine(np.array([[0.0] * 50, [1.0] * 50]), np.zeros(2))
    found = pgd(model, np.full((1, 50), 0.5), [0], 0.2, rng=np.random.default_rng(0))
    np.testing.assert_allclose(found, np.full((1, 50), 0.7), atol=1e-12)


def test_a_random_start_is_the_rngs_and_uniform_in_the_ball():
    flat = affine(np.zeros((2, 4000)), np.zeros(2))  # there is no gradient, so the result is the start
    x = np.full((1, 4000), 0.5)
    first, again, other = (
        pgd(flat, x, [0], 0.2, steps=1, rng=np.random.default_rng(s)) - x for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    quarters = np.histogram(first, bins=4, range=(-0.2, 0.2))[0]
    assert quarters.sum() == 4000 and (np.abs(quarters - 1000) < 140).all()  # 5 standard deviations


def test_random_signs_move_every_pixel_by_eps_and_half_of_them_up():
    x = np.full((1, 4000), 0.5)
    moved = random_signs(affine(np.zeros((2, 4000)), np.zeros(2)), x, [0], 0.25, rng=np.random.default_rng(0))
    assert set(np.unique(moved)) == {0.25, 0.75}
    assert abs((moved > x).sum() - 2000) < 160


# ---- accuracy under attack


def test_accuracy_under_attack_by_hand():
    # z = (0, x - 0.5): class 1 above 0.5. An image is fooled if eps is larger than its distance to 0.5.
    model = affine(np.array([[0.0], [1.0]]), np.array([0.0, -0.5]))
    x, labels = np.array([[0.6], [0.9], [0.4], [0.75]]), np.array([1, 1, 0, 0])
    found = robust_accuracy(model, fgsm, x, labels, [0, 0.15, 0.5])
    np.testing.assert_array_equal(found.eps, [0, 0.15, 0.5])
    np.testing.assert_allclose(found.accuracy, [0.75, 0.25, 0.0])
    np.testing.assert_array_equal(found.fooled, [[0, 0, 0, 1], [1, 0, 1, 1], [1, 1, 1, 1]])
    np.testing.assert_allclose(found.linf, [[0] * 4, [0.15] * 4, [0.5, 0.5, 0.5, 0.25]], atol=1e-12)
    np.testing.assert_allclose(found.l2, found.linf, atol=1e-12)


def test_norms_by_hand():
    model = affine(np.zeros((2, 4)), np.zeros(2))
    found = robust_accuracy(model, lambda m, x, y, eps: x + [0.3, 0, 0, -0.4], np.ones((1, 4)), [0], [0.1])
    np.testing.assert_allclose([found.linf[0, 0], found.l2[0, 0]], [0.4, 0.5])


@given(seed=seeds)
@few
def test_the_best_of_all_smaller_eps_never_falls(seed):
    fooled_at = np.random.default_rng(seed).random((4, 5)) < 0.3
    model = affine(np.array([[0.0], [1.0]]), np.array([0.0, -0.5]))

    def fickle(model, images, labels, eps):
        return np.where(fooled_at[round(eps)][:, None], 0.0, 1.0)

    found = robust_accuracy(model, fickle, np.ones((5, 1)), np.ones(5, int), [0, 1, 2, 3])
    np.testing.assert_array_equal(found.fooled, fooled_at)
    for e in range(4):
        np.testing.assert_array_equal(found.best_of[e], fooled_at[: e + 1].any(axis=0))


def test_an_attack_that_works_in_place_leaves_the_users_images_and_is_measured():
    model, (images, labels) = network(0), batch_of(0)

    def in_place(model, images, labels, eps):
        images[:] = 1 - images
        labels[:] = 0
        return images

    with left_untouched(model, images, labels):
        found = robust_accuracy(model, in_place, images, labels, [0.1, 0.2])
    expected = np.abs(1 - 2 * images).reshape(3, -1).max(axis=1)
    np.testing.assert_allclose(found.linf, [expected, expected], rtol=1e-6)


# ---- saturated logits, float64 and integer images, memory


def sure(seed):
    """An affine model of three classes whose logits are 150 apart or more, and 50 rows with its answers."""
    model, rng = drawn_affine(seed, 3), np.random.default_rng([seed, 3])
    x = rng.random((400, 6)).astype(np.float32)
    z = finite_logits(model, x)
    clear = np.flatnonzero(np.diff(np.sort(z, axis=1)[:, -2:]).ravel() > 0.5)[:50]
    model.head.weight.data, model.head.bias.data = 300 * model.head.weight.data, 300 * model.head.bias.data
    return model, x[clear], z[clear].argmax(axis=1)


@pytest.mark.parametrize("attack", [fgsm, several_steps], ids=lambda attack: attack.__name__)
def test_images_without_a_gradient_are_counted_and_the_margin_has_one(attack):
    model, x, labels = sure(0)
    assert len(x) == 50 and np.diff(np.sort(finite_logits(model, x), axis=1)[:, -2:]).min() > 140
    with pytest.warns(UserWarning, match=r'^50 of 50 images had no gradient.*loss="margin"'):
        attack(model, x, labels, 0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved = attack(model, x, labels, 0.4, loss="margin")
    assert (finite_logits(model, moved).argmax(axis=1) != labels).mean() > 0.8


def test_only_images_without_a_gradient_at_any_step_are_counted():
    model, x, labels = sure(0)
    wrong = labels.copy()
    wrong[:20] = (labels[:20] + 1) % 3  # wrong labels: here the cross-entropy has a gradient
    with pytest.warns(UserWarning, match="^30 of 50 images") as caught:
        pgd(model, x, wrong, 0.001, random_start=False, steps=4)
    assert len(caught) == 1 and caught[0].filename == __file__
    with pytest.warns(UserWarning, match="^20 of 50 images"):
        fgsm(model, x, np.where(np.arange(50) < 20, labels, wrong - 1) % 3, 0.0, targeted=True)


@given(seed=seeds)
@few
def test_the_gradient_of_the_margin_is_that_of_the_largest_other_logit_less_the_labels(seed):
    model, rng = drawn_affine(seed, 4), np.random.default_rng([seed, 2])
    x, labels = rng.normal(size=(3, 6)), rng.integers(0, 4, 3)
    z, weight = finite_logits(model, x), model.head.weight.data
    z[np.arange(3), labels] = -np.inf
    expected = weight[z.argmax(axis=1)] - weight[labels]
    np.testing.assert_allclose(loss_gradient(model, x, labels, "margin"), expected, rtol=1e-6)


def test_float64_images_are_judged_in_float64():
    model, x = affine(np.eye(2), np.zeros(2)), np.array([[0.5, 0.5 + 1e-12]])  # equal in float32
    np.testing.assert_array_equal(
        robust_accuracy(model, fgsm, x, [1], [0, 1e-14, 1e-12]).fooled.T, [[0, 0, 1]]
    )
    narrow = x.astype(np.float32)
    assert robust_accuracy(model, fgsm, narrow, [0], [0]).accuracy == 1
    assert not robust_accuracy(model, lambda m, x, y, eps: x - [[0, 2e-12]], x, [0], [0.1]).fooled.any()


@every_attack
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_integer_images_are_refused_with_the_mend(attack, dtype):
    images = (255 * batch_of(0)[0]).astype(dtype)
    for bounds in ((0, 1), (0, 255)):
        with pytest.raises(
            TypeError, match=r"images must be floats, got u?int.*: divide pixels 0 \.\.\. 255 by 255"
        ):
            attack(network(0), images, [0, 1, 2], 0.1, bounds=bounds)


class Counts(nn.Module):
    """Logits of images, and of each forward pass how many images came."""

    def __init__(self):
        self.batches = []

    def forward(self, x):
        self.batches.append(len(x.data))
        return x.flatten(1)[:, :2]


@pytest.mark.parametrize(("side", "most"), [(4, 256), (32, 170), (224, 3), (2000, 1)])
def test_few_large_images_go_through_a_network_at_a_time(side, most):
    model, many = Counts(), np.broadcast_to(np.float32(0.5), (most + 1, 3, side, side))
    loss_gradient(model, many[:, :, :, :], np.zeros(most + 1, int))
    finite_logits(model, many)
    assert model.batches == [most, 1] * 2


@pytest.mark.parametrize("flag", ["targeted", "random_start"])
@pytest.mark.parametrize("value", ["False", 0, None])
def test_a_flag_is_true_or_false_and_nothing_else(flag, value):
    with pytest.raises(TypeError, match=f"{flag} must be True or False"):
        pgd(network(0), *batch_of(0), 0.1, **{flag: value})


def test_a_model_that_gives_no_tensor_is_refused():
    class Plain(nn.Module):
        def forward(self, x):
            return np.zeros((len(x.data), 2))

    with pytest.raises(TypeError, match="the model's output must be a Tensor, got an array"):
        fgsm(Plain(), *batch_of(0), 0.1)


# ---- bad input

CALLS = [lambda *a, **k: fgsm(*a, **k), lambda *a, **k: pgd(*a, **k), lambda *a, **k: random_signs(*a, **k)]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"eps": -0.1}, ValueError, "eps must be finite and at least 0, got -0.1"),
        ({"eps": math.nan}, ValueError, "eps must be"),
        ({"eps": "0.1"}, TypeError, "eps must be a number"),
        ({"images": np.full((3, 2, 4, 4), 1.5)}, ValueError, r"images must be within \[0, 1\], got 1.5"),
        ({"images": np.full((3, 2, 4, 4), np.nan)}, ValueError, "finite"),
        (
            {"images": np.zeros((0, 2, 4, 4))},
            ValueError,
            r"images must not be empty, got shape \(0, 2, 4, 4\)",
        ),
        ({"images": np.array(["a"])}, TypeError, "images must be real numbers"),
        ({"labels": [0, 1]}, ValueError, r"labels must have shape \(3,\), got \(2,\)"),
        ({"labels": [0, 1, 3]}, ValueError, "labels must be in 0 ... 2"),
        ({"labels": [0.0, 1.0, 2.0]}, TypeError, "labels must be integers"),
        ({"bounds": (1, 0)}, ValueError, "low < high"),
        ({"bounds": 1}, TypeError, "pair"),
        ({"bounds": (0, True)}, TypeError, "bounds must be a number"),
        ({"eps": True}, TypeError, "eps must be a number"),
        ({"eps": np.ones(2)}, TypeError, "eps must be a number"),
        ({"images": [[[1.0], [1.0, 2.0]]]}, ValueError, "images must be an array, but its rows"),
        ({"labels": [[0], [1, 2]]}, ValueError, "labels must be an array, but its rows"),
        ({"labels": [True, False, True]}, TypeError, "labels must be integers"),
        ({"model": np.sum}, TypeError, "model must be a Module"),
    ],
)
def test_a_bad_argument_is_named(call, change, error, message):
    images, labels = batch_of(0)
    arguments = {"model": network(0), "images": images, "labels": labels, "eps": 0.1} | change
    with pytest.raises(error, match=message):
        call(arguments.pop("model"), **arguments)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ValueError, r"steps must be within \[1, 1000000\], got 0"),
        ({"step_size": 0}, ValueError, "step_size must be above 0"),
        ({"rng": 1}, TypeError, "rng must be"),
        ({"loss": "entropy"}, ValueError, "loss must be one of 'cross_entropy', 'margin', got 'entropy'"),
        ({"loss": ["margin"]}, ValueError, "loss must be one of"),
    ],
)
def test_a_bad_argument_of_pgd_is_named(options, error, message):
    with pytest.raises(error, match=message):
        pgd(network(0), *batch_of(0), 0.1, **options)


@pytest.mark.parametrize(
    ("attack", "eps_list", "error", "message"),
    [
        (fgsm, [], ValueError, "eps_list must not be empty"),
        (fgsm, [0.1, 0.1], ValueError, "rising"),
        (fgsm, [-0.1], ValueError, "at least 0"),
        ("fgsm", [0.1], TypeError, "attack must be a function"),
        (
            lambda m, x, y, eps: x[:1],
            [0.1],
            ValueError,
            r"the result of attack must have shape \(3, 2, 4, 4\), got \(1, 2, 4, 4\)",
        ),
        (fgsm, 0.1, ValueError, r"eps_list must have shape \(E,\), got \(\)"),
        (fgsm, None, TypeError, "eps_list must be real numbers, got None"),
        (lambda m, x, y, eps: None, [0.1], TypeError, "the result of attack must be a ndarray, got None"),
        (lambda m, x, y, eps: (x, y), [0.1], TypeError, r"the result of attack must be a ndarray, got \("),
        (
            lambda m, x, y, eps: x.astype(str),
            [0.1],
            TypeError,
            "the result of attack must be real numbers, .* of <U",
        ),
        (lambda m, x, y, eps: x + np.nan, [0.1], FloatingPointError, "attack returned are not finite"),
    ],
)
def test_a_bad_argument_of_robust_accuracy_is_named(attack, eps_list, error, message):
    with pytest.raises(error, match=message):
        robust_accuracy(network(0), attack, *batch_of(0), eps_list)


@every_attack
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_has_diverged_is_refused(attack, value):
    model = Sequential({"flatten": nn.Flatten(), "head": nn.Linear(32, 3)})
    model.head.bias.data[0] = value
    with pytest.raises(FloatingPointError, match="not finite"):
        attack(model, *batch_of(0), 0.1)
    with pytest.raises(FloatingPointError, match="not finite"):
        robust_accuracy(model, attack, *batch_of(0), [0.1])


def test_logits_that_are_not_finite_under_attack_are_no_answer():
    model = affine(np.full((2, 4), 1e30), np.zeros(2))
    far = np.ones((2, 4)) * [[1.0], [1e300]]
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="logits are not finite"):
        robust_accuracy(model, lambda m, x, y, eps: far, np.ones((2, 4)), [0, 1], [0.1])


def test_a_model_that_does_not_give_logits_is_refused():
    with pytest.raises(ValueError, match=r"logits \(N, K\), got \(1, 2, 4, 4\)"):
        fgsm(nn.ReLU(), *batch_of(0), 0.1)


def test_a_step_without_a_gradient_has_no_direction():
    assert fgsm_step(np.array([0.5]), np.array([0.0]), 0.1).tolist() == [0.5]


@every_attack
@pytest.mark.parametrize("bounds, eps", [((0, 1), 8), ((-1, 1), 2.5)])
def test_an_eps_in_pixels_is_refused_with_the_mend(attack, bounds, eps):
    images, labels = batch_of(0)
    with pytest.raises(ValueError, match=f"eps must be at most {bounds[1] - bounds[0]}, .* divide .* by 255"):
        attack(network(0), images, labels, eps, bounds=bounds)
    assert np.isfinite(attack(network(0), images, labels, eps, bounds=(-math.inf, math.inf))).all()


def test_an_integer_network_has_no_gradient_to_follow_and_says_so():
    images, labels = batch_of(0)
    integers = quantize_model(small_cnn(3, 2, (4, 4), rng=np.random.default_rng(0)).eval(), images)
    other = (finite_logits(integers, images[:1]).argmax() + 1) % 3  # than what it is taken for
    attacks = [
        lambda: fgsm(integers, images, labels, 0.1),
        lambda: pgd(integers, images, labels, 0.1),
        lambda: deepfool(integers, images[0]),
        lambda: minimal_perturbation(integers, images[0], other),
    ]
    for attack in attacks:
        with pytest.raises(
            ValueError, match="integer network has no gradients: attack the original float network"
        ):
            attack()


def test_an_eps_of_numpy_leaves_float32_images_float32():
    x, eps = np.full((1, 2), 0.5, np.float32), np.float64(0.1)
    assert fgsm_step(x, x, eps).dtype == np.float32
    assert project(x, x, eps).dtype == np.float32
