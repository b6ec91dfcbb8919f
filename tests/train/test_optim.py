"""The optimizers: steps by hand, groups, frozen parameters, and states that continue to the same bits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl.nn as nn
from minidl import Tensor
from minidl.train import SGD, Adam, AdamW, RMSprop, clip_grad_norm

EVERY = {
    "SGD": lambda params: SGD(params, 0.1),
    "momentum": lambda params: SGD(params, 0.1, momentum=0.9, weight_decay=0.1),
    "Nesterov": lambda params: SGD(params, 0.1, momentum=0.9, nesterov=True),
    "Adam": lambda params: Adam(params, 0.1, weight_decay=0.1),
    "AdamW": lambda params: AdamW(params, 0.1),
    "RMSprop": lambda params: RMSprop(params, 0.1),
    "RMSprop centered": lambda params: RMSprop(params, 0.1, momentum=0.9, centered=True),
}
every_optimizer = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY.keys())


def parameter(*values, dtype=np.float64):
    return nn.Parameter(np.array(values, dtype))


def steps(optimizer, p, *grads):
    """Where p is after a step with each of these gradients."""
    for grad in grads:
        p.grad = np.array(grad, p.dtype)
        optimizer.step()
    return p.data


# ---- by hand


def test_sgd_by_hand():
    p = parameter(1.0, 2.0)
    assert np.allclose(steps(SGD([p], 0.1), p, [1.0, -2.0]), [0.9, 2.2])


def test_momentum_by_hand():
    p = parameter(1.0)
    # b = 1, then 0.5*1 + 3 = 3.5, then 0.5*3.5 - 1 = 0.75
    assert np.allclose(steps(SGD([p], 0.1, momentum=0.5), p, [1.0], [3.0], [-1.0]), 1 - 0.1 - 0.35 - 0.075)


def test_nesterov_by_hand():
    p = parameter(1.0)
    # g + 0.5 b with b = 1, then 3.5: 1.5, then 4.75
    assert np.allclose(steps(SGD([p], 0.1, momentum=0.5, nesterov=True), p, [1.0], [3.0]), 1 - 0.15 - 0.475)


def test_weight_decay_is_part_of_sgds_gradient():
    p = parameter(2.0)
    assert np.allclose(steps(SGD([p], 0.1, weight_decay=0.5), p, [1.0]), 2 - 0.1 * (1 + 0.5 * 2))


def test_adam_by_hand():
    p = parameter(1.0)
    adam = Adam([p], 0.1, betas=(0.9, 0.99), eps=0.5)
    # t = 1: m_hat = v_hat = 1; a step of 0.1/(1 + 0.5)
    assert np.allclose(steps(adam, p, [1.0]), 1 - 0.1 / 1.5)
    # t = 2: m = 0.9*0.1 - 0.1 = -0.01, m_hat = -0.01/0.19; v_hat = 1
    assert np.allclose(steps(adam, p, [-1.0]), 1 - 0.1 / 1.5 + 0.1 * (0.01 / 0.19) / 1.5)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop])
def test_settings_of_numpy_give_the_bits_of_pythons_numbers_and_a_state_of_the_parameters_dtype(kind):
    settings = {"lr": 0.1, "weight_decay": 0.01}
    settings |= {"betas": (0.8, 0.9)} if "Adam" in kind.__name__ else {"momentum": 0.9}
    ends = []
    for as_given in (float, np.float64, np.longdouble):
        p = nn.Parameter(np.ones(3, np.float32))
        given = {
            key: tuple(map(as_given, v)) if key == "betas" else as_given(v) for key, v in settings.items()
        }
        optimizer = kind([p], **given)
        for _ in range(3):
            p.grad = np.float32([0.5, -1, 2])
            optimizer.step()
        state = optimizer.state_dict()["state"][0]
        assert {v.dtype for v in state.values() if isinstance(v, np.ndarray)} == {np.dtype(np.float32)}
        ends.append(p.data.tolist())
    assert ends[0] == ends[1] == ends[2]


def test_rmsprop_by_hand():
    p = parameter(1.0)
    rmsprop = RMSprop([p], 0.1, alpha=0.75, eps=0.5)
    # v = 0.25 * 4; a step of 0.1 * 2 / (1 + 0.5)
    assert np.allclose(steps(rmsprop, p, [2.0]), 1 - 0.2 / 1.5)
    # v = 0.75 * 1 + 0.25 * 13 = 4
    assert np.allclose(steps(rmsprop, p, [-(13**0.5)]), 1 - 0.2 / 1.5 + 0.1 * 13**0.5 / 2.5)
    p = parameter(1.0)
    centered = RMSprop([p], 0.1, alpha=0.5, eps=0.5, momentum=0.5, centered=True)
    # v = 2, m = 1, v - m^2 = 1: b = 2 / 1.5; then v = 1, m = 1/2: b = b/2 + 0
    assert np.allclose(steps(centered, p, [2.0], [0.0]), 1 - 0.1 * (2 / 1.5) * 1.5)


def test_adams_weight_decay_is_part_of_the_gradient_and_adamws_is_not():
    p = parameter(2.0)
    # g = 1 + 0.5*2 = 2, but its size cancels: the step is lr
    assert np.allclose(steps(Adam([p], 0.1, eps=1e-30, weight_decay=0.5), p, [1.0]), 2 - 0.1)
    p = parameter(2.0)
    assert np.allclose(steps(AdamW([p], 0.1, eps=1e-30, weight_decay=0.5), p, [1.0]), 2 - 0.1 * 0.5 * 2 - 0.1)


def test_dampening_by_hand():
    p = parameter(1.0)
    # b = 1, then 0.5*1 + 0.8*3 = 2.9
    assert np.allclose(steps(SGD([p], 0.1, momentum=0.5, dampening=0.2), p, [1.0], [3.0]), 1 - 0.1 - 0.29)


@pytest.mark.parametrize("make", [SGD, Adam, AdamW])
def test_maximize_climbs_where_it_would_descend(make):
    p, q = parameter(1.0, -2.0), parameter(1.0, -2.0)
    up = steps(make([p], lr=0.1, weight_decay=0.1, maximize=True), p, [1.0, 2.0], [0.5, -1.0])
    down = steps(make([q], lr=0.1, weight_decay=0.1), q, [-1.0, -2.0], [-0.5, 1.0])
    assert np.array_equal(up, down)


# ---- laws


@given(
    scale=st.sampled_from([0.25, 2.0, 1024.0]),
    grads=st.lists(st.integers(-8, 8).filter(bool), min_size=1, max_size=4),
)
def test_adams_path_does_not_depend_on_the_scale_of_the_gradients(scale, grads):
    a, b = parameter(1.0), parameter(1.0)
    steps(Adam([a], 0.1, eps=1e-30), a, *[[float(g)] for g in grads])
    steps(Adam([b], 0.1, eps=1e-30), b, *[[scale * g] for g in grads])
    assert np.allclose(a.data, b.data, rtol=1e-12)


@given(
    lr=st.sampled_from([0.01, 0.5]),
    grads=st.lists(st.integers(-8, 8), min_size=1, max_size=4),
    mu=st.sampled_from([0, 0.9]),
)
def test_sgds_path_scales_with_the_learning_rate(lr, grads, mu):
    a, b = parameter(0.0), parameter(0.0)
    steps(SGD([a], lr, momentum=mu), a, *[[float(g)] for g in grads])
    steps(SGD([b], 3 * lr, momentum=mu), b, *[[float(g)] for g in grads])
    assert np.allclose(3 * a.data, b.data)


@given(
    grads=st.lists(st.lists(st.integers(-8, 8), min_size=1, max_size=3), min_size=1, max_size=3),
    max_norm=st.sampled_from([0.5, 4.0, 100.0]),
)
def test_clipping_shortens_the_common_gradient_without_turning_it(grads, max_norm):
    params = [parameter(*[0.0] * len(grad)) for grad in grads]
    for p, grad in zip(params, grads, strict=True):
        p.grad = np.array(grad, np.float64)
    norm = math.sqrt(sum(g * g for grad in grads for g in grad))
    assert np.isclose(clip_grad_norm(params, max_norm), norm)
    for p, grad in zip(params, grads, strict=True):
        assert np.allclose(p.grad, np.array(grad) * min(1, max_norm / max(norm, 1e-9)))


def test_clipping_does_not_count_the_gradients_of_pruned_weights():
    p = nn.Parameter(np.zeros(3))
    p.mask, p.grad = np.array([True, False, True]), np.array([3.0, 100.0, 4.0])
    assert clip_grad_norm([p], 2.5) == 5
    assert p.grad[[0, 2]].tolist() == [1.5, 2.0]


def test_clipping_leaves_short_gradients_and_missing_ones_alone():
    a, b = parameter(1.0), parameter(1.0)
    a.grad = np.array([0.1])
    assert clip_grad_norm(iter([a, b]), 1.0) == 0.1
    assert a.grad.tolist() == [0.1] and b.grad is None


def test_clipping_refuses_a_norm_that_is_not_finite_and_changes_nothing():
    a, b = parameter(1.0), parameter(1.0)
    a.grad, b.grad = np.array([100.0]), np.array([np.inf])
    with pytest.raises(FloatingPointError, match="the norm of the gradients is inf"):
        clip_grad_norm([a, b], 1.0)
    assert a.grad.tolist() == [100.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every_optimizer
def test_a_step_keeps_dtype_and_leaves_the_gradient_as_it_was(make, dtype):
    p = parameter(1.0, 2.0, dtype=dtype)
    p.grad = grad = np.array([0.5, -1.0], dtype)
    optimizer = make([p])
    optimizer.lr = np.float64(0.1)  # as a schedule may give it
    optimizer.step()
    optimizer.step()
    assert p.dtype == dtype and p.grad is grad and grad.tolist() == [0.5, -1.0]


@every_optimizer
def test_what_is_frozen_or_has_no_gradient_does_not_move(make):
    frozen, idle, moving = parameter(1.0), parameter(2.0), parameter(3.0)
    optimizer = make([frozen, idle, moving])
    for p in (frozen, moving):
        steps(optimizer, p, [1.0])  # builds up momentum
    at = frozen.data.copy()
    frozen.requires_grad_(False)
    optimizer.step()  # its old grad is still there
    assert np.array_equal(frozen.data, at) and idle.data == 2.0


@every_optimizer
def test_a_step_makes_graphs_of_the_old_parameters_stale(make):
    p = parameter(1.0)
    y = p * p
    steps(make([p]), p, [1.0])
    with pytest.raises(ValueError, match="run it again"):
        y.backward()


@every_optimizer
def test_every_optimizer_finds_the_bottom_of_a_bowl(make):
    p = parameter(3.0, -2.0)
    optimizer = make([p])
    for step in range(400):
        optimizer.lr = 0.05 * (1 - step / 400)
        optimizer.zero_grad()
        ((p - 1.0) * (p - 1.0)).sum().backward()
        optimizer.step()
    assert np.allclose(p.data, 1.0, atol=0.1)  # weight decay pulls a little towards 0


def test_zero_grad_clears_all_groups():
    a, b = parameter(1.0), parameter(1.0)
    a.grad = b.grad = np.array([1.0])
    SGD([{"params": [a]}, {"params": b}], 0.1).zero_grad()
    assert a.grad is None and b.grad is None


# ---- groups


def test_groups_have_their_own_settings_and_share_the_others():
    a, b = parameter(1.0), parameter(1.0)
    optimizer = SGD([{"params": [a], "lr": 0.1}, {"params": [b]}], lr=1.0, weight_decay=1.0)
    a.grad = b.grad = np.array([1.0])
    optimizer.step()
    assert np.allclose([a.data, b.data], [[0.8], [-1.0]])


def test_lr_is_the_highest_of_the_groups_and_assigning_it_keeps_their_proportions():
    optimizer = Adam([{"params": [parameter(1.0)], "lr": 1e-4}, {"params": [parameter(1.0)]}], lr=1e-3)
    assert optimizer.lr == 1e-3
    for lr in (0.5, 0.0, 0.3):  # a warmup may come from 0
        optimizer.lr = lr
        assert optimizer.lr == lr
        assert np.isclose(optimizer.param_groups[0]["lr"], lr / 10)


def test_lr_can_be_assigned_where_all_groups_began_with_0():
    optimizer = SGD([{"params": [parameter(1.0)]}, {"params": [parameter(1.0)]}], lr=0.0)
    optimizer.lr = 0.25
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


def test_a_group_can_be_added_later():
    a, b = parameter(1.0), parameter(1.0)
    optimizer = SGD([a], 0.1)
    optimizer.add_param_group({"params": [b], "lr": 0.2})
    a.grad = b.grad = np.array([1.0])
    optimizer.step()
    assert np.allclose([a.data, b.data], [[0.9], [0.8]])


# ---- state


@every_optimizer
def test_an_optimizer_with_a_loaded_state_goes_on_to_the_same_bits(make):
    grads = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    p, q = parameter(1.0, 2.0, 3.0, dtype=np.float32), parameter(0.0, 0.0, 0.0, dtype=np.float32)
    straight = make([p])
    steps(straight, p, *grads[:3])
    state = straight.state_dict()
    q.data = p.data.copy()
    resumed = make([q])
    resumed.load_state_dict(state)
    assert np.array_equal(steps(resumed, q, *grads[3:]), steps(straight, p, *grads[3:]))


@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {"centered": True}, {}])
@pytest.mark.parametrize("own", [{"momentum": 0.5, "centered": True}, {}])
def test_rmsprop_takes_over_the_settings_of_a_state_with_their_arrays(settings, own):
    p, q, frozen = parameter(1.0, 2.0), parameter(0.0, 0.0), parameter(1.0)
    straight = RMSprop([{"params": [p], **settings}, {"params": [frozen]}], 0.1)
    steps(straight, p, [1.0, -2.0], [3.0, 1.0])
    q.data = p.data.copy()
    resumed = RMSprop([{"params": [q], **own}, {"params": [frozen]}], 0.1)
    resumed.load_state_dict(straight.state_dict())
    assert np.array_equal(steps(resumed, q, [0.5, 0.5]), steps(straight, p, [0.5, 0.5]))


def test_rmsprop_keeps_the_state_that_a_later_group_or_setting_needs():
    p, q = parameter(1.0), parameter(1.0)
    optimizer = RMSprop([p], 0.1)
    optimizer.add_param_group({"params": [q], "momentum": 0.9, "centered": True})
    steps(optimizer, q, [2.0])
    assert set(optimizer.state[q]) == {"step", "square_avg", "momentum_buffer", "grad_avg"}


def test_the_state_is_laid_out_as_pytorchs_and_is_a_copy():
    a, b = parameter(1.0), parameter(1.0)
    optimizer = Adam([{"params": [a], "lr": 0.5}, {"params": [b]}])
    steps(optimizer, b, [2.0])
    state = optimizer.state_dict()
    assert list(state["state"]) == [1]
    assert state["state"][1]["step"] == 1 and np.allclose(state["state"][1]["exp_avg"], 0.2)
    assert [group["params"] for group in state["param_groups"]] == [[0], [1]]
    assert state["param_groups"][0]["lr"] == 0.5 and state["param_groups"][1]["betas"] == (0.9, 0.999)
    steps(optimizer, b, [2.0])
    assert np.allclose(state["state"][1]["exp_avg"], 0.2)


def test_loading_takes_over_learning_rates():
    optimizer, other = SGD([parameter(1.0)], 0.1, momentum=0.9), SGD([parameter(1.0)], 0.2, momentum=0.5)
    other.load_state_dict(optimizer.state_dict())
    assert other.lr == 0.1 and other.param_groups[0]["momentum"] == 0.9


def test_the_proportions_of_loaded_groups_survive_an_assignment_of_lr():
    groups = [[parameter(1.0)], [parameter(1.0)]]
    saved = SGD([{"params": groups[0], "lr": 0.01}, {"params": groups[1]}], 0.1)
    saved.lr = 0.0  # the end of a schedule
    other = SGD([{"params": params} for params in groups], 0.5)
    other.load_state_dict(saved.state_dict())
    other.lr = 1.0
    assert np.allclose([group["lr"] for group in other.param_groups], [0.1, 1.0])


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("state"), "expected the settings and state of Adam: KeyError"),
        (lambda s: s.update(param_groups=3), "expected the settings and state of Adam: TypeError"),
        (
            lambda s: s.update(param_groups=[np.zeros(2)]),
            "expected the settings and state of Adam: TypeError",
        ),
        (lambda s: s["state"].update({0: None}), "expected the settings and state of Adam: TypeError"),
        (lambda s: s["state"].update({0: []}), "expected the settings and state of Adam: TypeError"),
        (lambda s: s["param_groups"].clear(), r"must have \[1\] parameters, got \[\]"),
        (lambda s: s["param_groups"][0].update(lr="fast"), "lr must be a number"),
        (lambda s: s["param_groups"][0].update(initial_lr=-1.0), "initial_lr must be"),
        (lambda s: s["param_groups"][0].pop("betas"), "it was made without betas, not as Adam"),
        (lambda s: s["state"].update({7: {}}), "there is no parameter 7 of 1"),
        (lambda s: s["state"][0].pop("exp_avg"), "parameter 0: needs .*exp_avg.*got"),
        (
            lambda s: s["state"][0].update(exp_avg=np.zeros(3)),
            r"exp_avg must be finite \(2,\), got float64 \(3,\)",
        ),
        (lambda s: s["state"][0].update(step=-1), "step must be at least 0, got -1"),
        (lambda s: s["state"][0].update(exp_avg_sq=np.array([1.0, -1.0])), "exp_avg_sq must be at least 0"),
        (lambda s: s.update(kind="SGD"), "it is the state of SGD, not of Adam"),
        (lambda s: s.update(kind="AdamW"), "it is the state of AdamW, not of Adam"),
        (lambda s: s["param_groups"][0].update(amsgrad=True), "it was made with amsgrad=True, not as Adam"),
        (lambda s: s["state"].update({True: {}}), "there is no parameter True of 1"),
        (lambda s: s["state"][0].update(step=float("nan")), "step must be finite"),
        (lambda s: s["state"][0].update(exp_avg=np.array(["a", "b"])), "exp_avg must be finite"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_is_loaded(change, message):
    p = parameter(1.0, 2.0)
    optimizer = Adam([p])
    steps(optimizer, p, [1.0, 1.0])
    before, state = optimizer.state_dict(), optimizer.state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert before["param_groups"] == after["param_groups"]
    assert np.array_equal(before["state"][0]["exp_avg"], after["state"][0]["exp_avg"])


# ---- bad input


def given(p, grad):
    p.grad = grad
    return SGD([p], 0.1)


@pytest.mark.parametrize(
    "attempt, error, message",
    [
        (lambda p: SGD([], 0.1), ValueError, "no parameters to optimize"),
        (lambda p: SGD(p, 0.1), TypeError, "parameters must be .* such as model.parameters"),
        (lambda p: SGD(nn.Linear(1, 1), 0.1), TypeError, "parameters must be .* got Linear"),
        (
            lambda p: SGD([np.ones(1)], 0.1),
            TypeError,
            "each of parameters must be a Tensor, got an array",
        ),
        (lambda p: SGD([p, p], 0.1), ValueError, "is given twice"),
        (lambda p: SGD([{"params": [p]}, {"params": [p]}], 0.1), ValueError, "is given twice"),
        (lambda p: SGD([p * 2], 0.1), ValueError, "only floating leaves can be optimized"),
        (lambda p: SGD([Tensor(np.array([1]))], 0.1), ValueError, "only floating leaves can be optimized"),
        (
            lambda p: SGD([{"params": [p], "learning_rate": 1.0}], 0.1),
            ValueError,
            r"unknown settings \['learning_rate'\]",
        ),
        (lambda p: SGD([{"lr": 1.0}], 0.1), TypeError, "a dict with 'params'"),
        (lambda p: SGD([p], -0.1), ValueError, "lr must be finite and at least 0, got -0.1"),
        (lambda p: SGD([p], float("nan")), ValueError, "lr must be finite"),
        (lambda p: SGD([p], "fast"), TypeError, "lr must be a number, got 'fast'"),
        (lambda p: SGD([p], 0.1, momentum=-1), ValueError, "momentum must be finite and at least 0"),
        (lambda p: SGD([p], 0.1, nesterov=True), ValueError, "nesterov needs a momentum above 0"),
        (
            lambda p: SGD([p], 0.1, momentum=0.9, dampening=0.1, nesterov=True),
            ValueError,
            "nesterov needs .* no dampening",
        ),
        (lambda p: SGD([p], 0.1, maximize="False"), TypeError, "maximize must be True or False, got 'False'"),
        (lambda p: Adam([p], maximize=1), TypeError, "maximize must be True or False, got 1"),
        (lambda p: RMSprop([p], alpha=1.5), ValueError, r"alpha must be finite and within \[0, 1\], got 1.5"),
        (lambda p: RMSprop([p], eps=0), ValueError, "eps must be above 0, got 0"),
        (lambda p: RMSprop([p], momentum=-1), ValueError, "momentum must be finite and at least 0"),
        (lambda p: RMSprop([p], centered=1), TypeError, "centered must be True or False, got 1"),
        (lambda p: SGD([p], True), TypeError, "lr must be a number, got True"),
        (lambda p: SGD([p], 0.1, dampening=None), TypeError, "dampening must be a number, got None"),
        (lambda p: SGD([{"params": 3}], 0.1), TypeError, "parameters must be .* got 3"),
        (lambda p: SGD([p], 0.1, weight_decay=-1), ValueError, "weight_decay must be"),
        (lambda p: setattr(SGD([p], 0.1), "lr", None), TypeError, "lr must be a number"),
        (lambda p: Adam([p], betas=(0.9, 1.0)), ValueError, "each of betas must be below 1"),
        (lambda p: Adam([p], betas=0.9), TypeError, "betas must be a pair"),
        (lambda p: Adam([p], eps=-1e-8), ValueError, "eps must be above 0"),
        (lambda p: Adam([p], eps=0), ValueError, "eps must be above 0, got 0"),
        (lambda p: SGD([p], 0.1, momentum=0.9, nesterov="no"), TypeError, "nesterov must be True or False"),
        (lambda p: AdamW([p], weight_decay="some"), TypeError, "weight_decay must be a number"),
        (lambda p: steps(SGD([p], 0.1), p, [[1.0], [2.0]]), ValueError, r"must have its shape, got \(2, 1\)"),
        (lambda p: given(p, [1.0]).step(), TypeError, "grad of .* must be a NumPy array of floats, got"),
        (lambda p: given(p, Tensor([1.0])).step(), TypeError, "must be a NumPy array of floats, got Tensor"),
        (lambda p: given(p, np.array(1)).step(), TypeError, "must be a NumPy array of floats"),
        (lambda p: given(p, np.ones((2, 2))).step(), ValueError, r"must have its shape, got \(2, 2\)"),
        (lambda p: given(p, np.ones((2, 2))) and (p * p).sum().backward(), ValueError, "must have its shape"),
        (lambda p: given(p, [1.0]) and (p * p).sum().backward(), TypeError, "must be a NumPy array"),
        (lambda p: given(p, np.ones((2, 2))) and clip_grad_norm([p], 1), ValueError, "must have its shape"),
        (lambda p: given(p, [1.0]) and clip_grad_norm([p], 1), TypeError, "must be a NumPy array of floats"),
        (lambda p: clip_grad_norm([p], 0.0), ValueError, "max_norm must be above 0"),
        (lambda p: clip_grad_norm(nn.Linear(1, 1), 1), TypeError, "parameters must be .* got Linear"),
        (lambda p: clip_grad_norm(p, 1), TypeError, "parameters must be .* such as model.parameters"),
        (lambda p: clip_grad_norm([p], None), TypeError, "max_norm must be a number"),
        (lambda p: SGD([p], 0.1).load_state_dict(None), ValueError, "expected the settings and state of SGD"),
    ],
)
def test_bad_input_is_refused_in_words(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt(parameter(1.0))
