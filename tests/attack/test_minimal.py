"""The smallest perturbations: their laws under the conditions that they hold under, and examples by hand."""

import io
import math

import numpy as np
import pytest
from attacked import FREE, affine, batch_of, binary_case, drawn_affine, network, seeds
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tqdm import tqdm
from untouched import Trips, disturbed, left_untouched

import minidl.nn as nn
from minidl import Tensor, grad
from minidl.attack import Perturbation, deepfool, minimal_perturbation, pgd
from minidl.attack.gradient_sign import finite_logits
from minidl.attack.minimal import (
    attempt,
    penalised_loss,
    perturbation_loss,
    perturbed,
    reached_by_pgd,
    shortest,
)
from minidl.nn import Module
from minidl.train import predict

few, fewer = settings(max_examples=20), settings(max_examples=10)


# ---- by optimisation


@given(seed=seeds)
@few
def test_on_an_affine_binary_model_without_a_box_the_norm_is_the_margin_over_the_norm_of_w(seed):
    model, x, other, w, margin = binary_case(seed)
    found = minimal_perturbation(model, x, other, bounds=FREE)
    assert found.success
    np.testing.assert_allclose(found.norm, margin / np.linalg.norm(w), rtol=1e-3)
    np.testing.assert_allclose(found.r, margin / (w @ w) * w, atol=2e-3 * found.norm)


@given(seed=seeds, classes=st.integers(2, 4))
@few
def test_on_an_affine_model_the_norm_does_not_rise_with_lambda(seed, classes):
    model, x = drawn_affine(seed, classes), np.random.default_rng([seed, 2]).random(6)
    norms = [minimal_perturbation(model, x, 0, lam=lam).norm for lam in (0.01, 0.1, 1.0, 10.0)]
    assert all(b <= a * (1 + 1e-3) + 1e-6 for a, b in zip(norms, norms[1:], strict=False)), norms


@given(seed=seeds, lam=st.sampled_from([0.05, 0.5, 5.0]))
@few
def test_for_a_given_lambda_no_random_neighbour_is_better_on_an_affine_model(seed, lam):
    model, rng = drawn_affine(seed, 3), np.random.default_rng([seed, 2])
    x = rng.random(6)
    found = minimal_perturbation(model, x, 1, lam=lam)

    def objective(r):
        z = predict(model, (x + r)[np.newaxis])[0]
        return np.log(np.exp(z - z.max()).sum()) + z.max() - z[1] + lam * (r**2).sum()

    best = objective(found.r)
    for size in (0.3, 0.03, 0.003):
        for _ in range(5):
            near = np.clip(x + found.r + size * rng.normal(size=6), 0, 1) - x
            assert best <= objective(near) + 1e-5


@given(seed=seeds, target=st.integers(0, 2))
@fewer
def test_what_is_said_of_it_holds_for_the_image_that_comes_back(seed, target):
    model, (images, _) = network(seed), batch_of(seed)
    found = minimal_perturbation(model, images[0], target)
    assert found.image.dtype == np.float32 and found.image.shape == found.r.shape == images[0].shape
    assert found.image.min() >= 0 and found.image.max() <= 1
    np.testing.assert_allclose(images[0] + found.r, found.image, atol=1e-7)
    np.testing.assert_allclose(found.norm, np.sqrt((np.float64(found.r) ** 2).sum()), rtol=1e-6)
    assert found.success == (predict(model, found.image[np.newaxis]).argmax() == target)


def test_two_pixels_by_hand():
    # z = (0, 3 x0 + 4 x1 - 2.5). From the origin the plane z1 = 0 is 0.5 away, at (0.3, 0.4).
    model = affine(np.array([[0.0, 0], [3, 4]]), np.array([0, -2.5]))
    found = minimal_perturbation(model, np.zeros(2), 1)
    np.testing.assert_allclose(found.image, [0.3, 0.4], atol=1e-3)
    np.testing.assert_allclose(found.norm, 0.5, rtol=1e-3)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_largest_lambda_that_reaches_the_plane_by_hand(scale):
    # On the plane p = 1/2. The gradients ‖w‖ / 2 (of log p) and 2 lam margin / ‖w‖ (of the penalty) are
    # equal, so
    # lam = ‖w‖² / (4 margin).
    model = affine(scale * np.array([[0.0, 0], [3, 4]]), scale * np.array([0, -2.5]))
    np.testing.assert_allclose(minimal_perturbation(model, np.zeros(2), 1).lam, 2.5 * scale, rtol=0.03)


def test_the_box_makes_the_way_longer_by_hand():
    # Within 0 <= x1 <= 0.25 the nearest point of 3 x0 + 4 x1 = 2.5 is (0.5, 0.25).
    model = affine(np.array([[0.0, 0], [3, 4]]), np.array([0, -2.5]))
    found = minimal_perturbation(model, np.array([0.25, 0.25]), 1, bounds=(-1, 0.25))
    assert not found.success  # also x0 must stay below 0.25: 3/4 + 1 < 2.5
    found = minimal_perturbation(model, np.array([0.0, 1.0]), 0, bounds=(0, 1))
    np.testing.assert_allclose(found.image, [0, 0.625], atol=1e-3)  # x0 < 0 would be shorter


def test_float32_stays_in_a_box_of_numpy_numbers():
    x, bounds = np.array([0.25, 0.75], np.float32), (np.float64(0), np.float64(1))
    model = affine(np.array([[0.0, 0], [3, 4]]), np.array([0, -2.5]))
    for found in (minimal_perturbation(model, x, 0, bounds=bounds), deepfool(model, x, bounds=bounds)):
        assert found.image.dtype == found.r.dtype == np.float32


def test_an_image_that_is_the_target_already_stays():
    model, x, other, *_ = binary_case(0)
    found = minimal_perturbation(model, x, 1 - other, bounds=FREE)
    assert found.success and found.norm == 0 and found.lam == math.inf
    np.testing.assert_array_equal(found.image, x)


def test_a_target_out_of_reach_is_no_success():
    model = affine(np.zeros((2, 3)), np.array([1.0, 0.0]))
    found = minimal_perturbation(model, np.full(3, 0.5), 1)
    assert not found.success and found.norm == 0 and found.lam <= 1e-6


def test_the_penalised_loss_and_its_gradients_by_hand():
    logits, r = Tensor([0.0, 0.0], requires_grad=True), Tensor([[3.0, 4.0]], requires_grad=True)
    loss = penalised_loss(logits, r, 1, 0.1)
    np.testing.assert_allclose(loss.item(), np.log(2) + 2.5, rtol=1e-6)
    by_logits, by_r = grad(loss, [logits, r])
    np.testing.assert_allclose(by_logits, [0.5, -0.5], rtol=1e-6)  # p - one-hot
    np.testing.assert_allclose(by_r, [[0.6, 0.8]], rtol=1e-6)  # 2 lam r


# ---- beside DeepFool and the nearest point


@given(seed=seeds)
@fewer
def test_on_an_affine_binary_model_deepfool_is_longer_than_optimisation_by_its_overshoot(seed):
    model, x, other, *_ = binary_case(seed)
    quick, best = deepfool(model, x, bounds=FREE), minimal_perturbation(model, x, other, bounds=FREE)
    np.testing.assert_allclose(quick.norm, 1.02 * best.norm, rtol=1e-3)


@given(seed=seeds, classes=st.integers(3, 5))
@fewer
def test_on_an_affine_model_of_more_classes_optimisation_comes_near_the_distance_to_the_target(seed, classes):
    from scipy.optimize import minimize  # an exact solver for the problem that the search approximates

    model, x = drawn_affine(seed, classes), np.random.default_rng([seed, 2]).normal(size=6)
    W, b = (np.float64(parameter.data) for parameter in (model.head.weight, model.head.bias))
    target = int((W @ x + b).argsort()[-2])
    planes = {"type": "ineq", "fun": lambda r: (W[target] - W) @ (x + r) + b[target] - b}
    nearest = minimize(lambda r: r @ r, np.zeros(6), constraints=planes, method="SLSQP")
    assume(nearest.success)
    norm = minimal_perturbation(model, x, target, bounds=FREE).norm
    assert np.sqrt(nearest.fun) * (1 - 1e-4) <= norm <= 1.3 * np.sqrt(nearest.fun)


@pytest.mark.parametrize("width", [255.0, 65535.0, 1e-6])
def test_the_smallest_change_does_not_depend_on_the_pixels_unit(width):
    W, b, x = np.array([[0.0, 0], [3, 4]]), np.array([0, -2.5]), np.array([0.0, 0.25])
    one = minimal_perturbation(affine(W, b), x, 1)
    other = minimal_perturbation(affine(W / width, b), width * x, 1, bounds=(0, width))
    assert one.success and other.success
    np.testing.assert_allclose(other.r / width, one.r, atol=1e-6)
    np.testing.assert_allclose(other.lam * width**2, one.lam, rtol=1e-6)


def test_the_search_for_lambda_ends_at_a_millionth():
    model = affine(np.zeros((2, 3)), np.array([1.0, 0.0]))
    assert minimal_perturbation(model, np.full(3, 0.5), 1).lam == pytest.approx(1e-6)
    found = minimal_perturbation(model, np.full(3, 5.0), 1, bounds=(0, 10))
    assert found.lam == pytest.approx(1e-8)


@given(seed=seeds)
@few
def test_in_a_box_the_norm_is_within_1_percent_of_the_smallest_on_an_affine_binary_model(seed):
    from scipy.optimize import minimize

    model, x = drawn_affine(seed, 2), np.random.default_rng([seed, 2]).random(6)
    W, b = (np.float64(parameter.data) for parameter in (model.head.weight, model.head.bias))
    other = int((W @ x + b).argmin())
    plane = {"type": "ineq", "fun": lambda r: (W[other] - W[1 - other]) @ (x + r) + b[other] - b[1 - other]}
    box = list(zip(-x, 1 - x, strict=True))
    nearest = minimize(lambda r: r @ r, np.zeros(6), bounds=box, constraints=plane, method="SLSQP")
    assume(nearest.success and nearest.fun > 1e-6)
    found = minimal_perturbation(model, x, other)
    assert found.success
    assert np.sqrt(nearest.fun) * (1 - 1e-4) <= found.norm <= 1.01 * np.sqrt(nearest.fun)


def test_a_change_that_leaves_the_box_is_brought_back_and_measured_there():
    model = affine(np.array([[0.0, 0], [3, 4]]), np.array([0, -2.5]))
    found = perturbed(model, np.array([0.5, 0.25]), np.array([0.75, -0.5]), (0, 1), 2.0, 1)
    np.testing.assert_array_equal(found.image, [1, 0])
    np.testing.assert_array_equal(found.r, [0.5, -0.25])
    assert found.norm == pytest.approx(np.sqrt(0.3125)) and found.success and found.lam == 2.0


# ---- kinks, dtypes, caps, groups of classes, candidates


def jagged(seed, sizes=(8, 32, 32, 3)):
    """A random network of ReLUs with large weights: many kinks between an image and the next class."""
    rng, layers = np.random.default_rng(seed), []
    for features, units in zip(sizes, sizes[1:], strict=False):
        layer = nn.Linear(features, units, rng=rng)
        layer.weight.data = 3 * rng.normal(size=(units, features)) / np.sqrt(features)
        layer.bias.data = 1.5 * rng.normal(size=units)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]), np.random.default_rng([seed, 1]).random(sizes[0])


@pytest.mark.parametrize("seed", range(14))
def test_what_pgd_reaches_is_never_called_out_of_reach_and_is_no_nearer(seed):
    model, x = jagged(seed)
    target = int(predict(model, x[np.newaxis])[0].argsort()[-2])
    found = minimal_perturbation(model, x, target)
    copies, targets, rng = np.repeat(x[np.newaxis], 30, axis=0), np.full(30, target), np.random.default_rng(5)
    for eps in (0.25, 0.5, 1.0):
        ends = pgd(model, copies, targets, eps, steps=40, targeted=True, rng=rng)
        norms = np.linalg.norm(ends - x, axis=1)[finite_logits(model, ends).argmax(axis=1) == target]
        assert norms.size == 0 or (found.success and found.norm <= norms.min())


def test_a_search_that_sticks_at_a_kink_starts_again_where_pgd_arrives():
    model, x = jagged(6)  # L-BFGS-B from r = 0 stops, and a smaller λ does not help
    target = np.array([predict(model, x[np.newaxis])[0].argsort()[-2]])
    stuck = attempt(model, x, target, 1e-6, (0, 1), np.zeros(8), 200)
    found = minimal_perturbation(model, x, int(target[0]))
    assert not stuck.success and found.success and found.norm < 0.6
    start = reached_by_pgd(model, x, target, (0, 1))
    assert start.success and start.norm > 0.8 and start.lam is None


def test_the_one_that_succeeded_is_preferred_to_a_shorter_one_that_did_not():
    near, far, farther = (Perturbation(None, None, norm, norm > 1, None) for norm in (1.0, 2.0, 3.0))
    assert shortest(near, farther, far) is far and shortest(near) is near


def test_in_float32_the_network_computes_in_float32_and_comes_as_near():
    seen = set()

    class Watches(Module):
        def forward(self, x):
            seen.add(x.dtype)
            return x

    model = nn.Sequential(Watches(), *network(4).children())
    image = batch_of(4)[0][0]
    answer = int(predict(model, image[np.newaxis])[0].argmax())
    seen.clear()
    narrow = minimal_perturbation(model, image, (answer + 1) % 3)
    quick = deepfool(model, image)
    assert seen == {np.dtype(np.float32)} and narrow.r.dtype == quick.r.dtype == np.float32
    wide = minimal_perturbation(model, image.astype(np.float64), (answer + 1) % 3)
    assert narrow.success and wide.success and abs(narrow.norm / wide.norm - 1) < 0.01


def test_a_cap_on_the_steps_is_kept():
    runs = []

    class Counts(Module):
        def forward(self, x):
            runs.append(x.requires_grad)
            return x

    model, x = jagged(0)
    target = int(predict(model, x[np.newaxis])[0].argsort()[-2])
    model = nn.Sequential(Counts(), *model.children())
    costs = {}
    for max_steps in (1, 5, 200):
        runs.clear()
        minimal_perturbation(model, x, target, lam=0.01, max_steps=max_steps)
        costs[max_steps] = sum(runs)  # forward passes with a graph
    assert costs[1] < costs[5] < costs[200] and costs[1] <= 21  # a line search takes at most 20


def test_a_bar_for_each_lambda_counts_the_gradients(monkeypatch):
    bars = []

    class Bar(tqdm):
        def __init__(self, **settings):
            bars.append(settings)
            super().__init__(**settings | {"disable": False, "file": io.StringIO()})

        def close(self):
            bars[-1]["steps"] = self.n
            super().close()

    monkeypatch.setattr("minidl.attack.minimal.tqdm", Bar)
    minimal_perturbation(nn.Identity(), np.array([0.6, 0.4]), 1, lam=0.5, max_steps=3)
    (bar,) = bars
    assert bar["desc"] == "λ = 0.5" and bar["delay"] == 2 and bar["disable"] is None and bar["steps"] > 1


def test_any_class_of_a_group_will_do_as_a_target():
    # From (0.5, 0.25), the boundaries of classes 1 and 2 are x0 = 0.9 and x1 = 0.75: 0.4 and 0.5 away.
    model = affine(5 * np.array([[0.0, 0], [1, 0], [0, 1]]), 5 * np.array([0, -0.9, -0.75]))
    x = np.array([0.5, 0.25])
    one, other = (minimal_perturbation(model, x, target) for target in (1, 2))
    either = minimal_perturbation(model, x, [1, 2])
    np.testing.assert_allclose([one.norm, other.norm, either.norm], [0.4, 0.5, 0.4], rtol=1e-2)
    assert minimal_perturbation(model, x, np.array([0, 2])).norm == 0  # it is class 0 already
    np.testing.assert_array_equal(minimal_perturbation(model, x, (2,)).image, other.image)


def test_the_logit_of_a_group_has_the_sum_of_its_probabilities_by_hand():
    # the logits are log 1 ... log 4 for every input: p = 1/10 ... 4/10
    model = affine(np.zeros((4, 2)), np.log([1.0, 2.0, 3.0, 4.0]))
    for target, p in ([1, 3], 0.6), ([0, 1, 2, 3], 1.0), ([2], 0.3):
        loss, slope = perturbation_loss(model, np.zeros(2), np.array([3.0, 4.0]), np.array(target), 0.5)
        np.testing.assert_allclose(loss, 12.5 - np.log(p), rtol=1e-6)
        np.testing.assert_allclose(slope, [3, 4])


def test_float64_images_are_judged_in_float64():
    x = np.array([0.5, 0.5 + 1e-12])  # equal in float32
    model = affine(np.eye(2), np.zeros(2))
    found = deepfool(model, x)
    assert found.success
    np.testing.assert_allclose(found.norm, 1.02 * np.diff(x)[0] / np.sqrt(2), rtol=1e-3)
    best = minimal_perturbation(model, x, 0)
    assert best.success and 0 < best.norm < 0.01
    assert minimal_perturbation(model, x, 1).norm == 0


@pytest.mark.parametrize("method", [deepfool, lambda *a: minimal_perturbation(*a, 1)])
def test_a_model_that_gives_no_row_of_logits_is_refused(method):
    with pytest.raises(ValueError, match=r"logits \(N, K\), got \(1, 1, 4, 4\)"):
        method(nn.ReLU(), np.full((1, 4, 4), 0.5))


@pytest.mark.parametrize("method", [deepfool, lambda *a: minimal_perturbation(*a, 1)])
def test_an_image_of_integers_is_refused_with_the_mend(method):
    with pytest.raises(TypeError, match=r"divide pixels 0 \.\.\. 255 by 255"):
        method(network(0), np.full((2, 4, 4), 200, np.uint8))


# ---- what stays, and bad input


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_model_that_has_diverged_is_refused_by_both(name, value):
    model = affine(np.ones((2, 3)), np.zeros(2))
    getattr(model.head, name).data[0] = value
    calls = [deepfool, lambda *a: minimal_perturbation(*a, 1), lambda *a: minimal_perturbation(*a, 1, lam=1)]
    for call in calls:
        with pytest.raises(FloatingPointError, match="not finite"):
            call(model, np.full(3, 0.5))


def toward_one(model, image):
    return minimal_perturbation(model, image, 1, lam=1.0)


@pytest.mark.parametrize("method", [toward_one, deepfool])
def test_the_model_and_the_image_stay_as_they_were(method):
    model, (images, _) = disturbed(network(2)), batch_of(2)
    with left_untouched(model, images):
        method(model, images[0])


@pytest.mark.parametrize("method", [toward_one, deepfool])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_they_do_when_the_model_raises_as_well(method, at):
    model, (images, _) = network(2), batch_of(2)
    model.add_module("trips", Trips(at))
    with left_untouched(disturbed(model), images), pytest.raises(RuntimeError, match="tripped"):
        method(model, images[0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"image": np.zeros((1, 2, 4, 4))},
            ValueError,
            r"one image \(C, H, W\) or row \(D,\), got \(1, 2, 4, 4\)",
        ),
        ({"image": np.full((2, 4, 4), 2.0)}, ValueError, r"must be within \[0, 1\]"),
        ({"target": 3}, ValueError, "target must be in 0 ... 2, got 3"),
        ({"target": -1}, ValueError, "target must be in 0 ... 2, got -1"),
        ({"target": 1.0}, TypeError, "target must be integers"),
        ({"target": True}, TypeError, "target must be integers"),
        ({"target": [0, 3]}, ValueError, "target must be in 0 ... 2, got 3"),
        ({"target": []}, ValueError, "target must not be empty"),
        ({"target": [[0], [1]]}, ValueError, "target must have shape"),
        ({"max_steps": 0}, ValueError, r"max_steps must be within \[1, 1000000\], got 0"),
        ({"lam": 0}, ValueError, "lam must be above 0"),
        ({"lam": math.inf}, ValueError, "lam must be finite"),
        ({"bounds": (0, 0)}, ValueError, "low < high"),
        ({"model": None}, TypeError, "model must be a Module"),
    ],
)
def test_a_bad_argument_of_minimal_perturbation_is_named(change, error, message):
    arguments = {"model": network(0), "image": batch_of(0)[0][0], "target": 1} | change
    with pytest.raises(error, match=message):
        minimal_perturbation(**arguments)
