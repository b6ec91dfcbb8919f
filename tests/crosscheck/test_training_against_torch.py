"""Optimizers step like PyTorch's, schedules are its schedules, and weights go there and back."""

import copy

import numpy as np
import pytest
from against_torch import close, torch

import minidl.nn as nn
import minidl.nn.functional as F
from minidl import Tensor, no_grad
from minidl.nn.models import small_cnn, tiny_resnet
from minidl.train import RMSprop, schedules
from minidl.train.adam import Adam, AdamW
from minidl.train.optim import SGD

SGD_PAIR, ADAM_PAIR, ADAMW_PAIR = (SGD, torch.optim.SGD), (Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)
RMSPROP_PAIR = RMSprop, torch.optim.RMSprop
OPTIMIZERS = {
    "SGD": (SGD_PAIR, {"lr": 0.1}),
    "SGD with decay": (SGD_PAIR, {"lr": 0.1, "weight_decay": 0.05}),
    "SGD with momentum": (SGD_PAIR, {"lr": 0.1, "momentum": 0.9}),
    "SGD, Nesterov and decay": (
        SGD_PAIR,
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    "SGD with dampening": (SGD_PAIR, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    "SGD that climbs": (SGD_PAIR, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "maximize": True}),
    "Adam that climbs": (ADAM_PAIR, {"lr": 0.03, "weight_decay": 0.1, "maximize": True}),
    "AdamW that climbs": (ADAMW_PAIR, {"lr": 0.03, "maximize": True}),
    "Adam": (ADAM_PAIR, {"lr": 0.03}),
    "Adam with decay": (ADAM_PAIR, {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    "AdamW": (ADAMW_PAIR, {"lr": 0.03}),
    "RMSprop": (RMSPROP_PAIR, {"lr": 0.01}),
    "RMSprop with momentum": (RMSPROP_PAIR, {"lr": 0.01, "alpha": 0.9, "momentum": 0.9, "weight_decay": 0.1}),
    "RMSprop, centered": (RMSPROP_PAIR, {"lr": 0.01, "centered": True, "eps": 1e-3}),
    "RMSprop with everything, climbing": (
        RMSPROP_PAIR,
        {"lr": 0.01, "centered": True, "momentum": 0.5, "weight_decay": 0.1, "maximize": True},
    ),
    "AdamW with decay": (ADAMW_PAIR, {"lr": 0.03, "betas": (0.7, 0.9), "weight_decay": 0.3}),
}


class Both:
    """The same float64 parameters in both libraries, in two groups, moved by the same gradients."""

    def __init__(self, name, seed=0):
        (ours, theirs), settings = OPTIMIZERS[name]
        self.rng = np.random.default_rng(seed)
        arrays = [self.rng.normal(size=shape) for shape in [(3, 2), (3,), (4,)]]
        self.ours = [Tensor(a.copy(), requires_grad=True) for a in arrays]
        self.theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
        self.optimizer = ours(self.groups(self.ours), **settings)
        self.twin = theirs(self.groups(self.theirs), **settings)

    @staticmethod
    def groups(parameters):
        return [{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.01, "weight_decay": 0.2}]

    def assert_the_next_step_agrees(self, skip=None):
        for i, (p, twin) in enumerate(zip(self.ours, self.theirs, strict=True)):
            g = self.rng.normal(size=p.shape)
            p.grad, twin.grad = (None, None) if i == skip else (g, torch.tensor(g))
        self.optimizer.step()
        self.twin.step()
        for p, twin in zip(self.ours, self.theirs, strict=True):
            close(p.data, twin, 1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_with_groups_agrees_step_by_step(name):
    both = Both(name)
    for step in range(20):
        # a parameter without gradient keeps its own count
        both.assert_the_next_step_agrees(skip=1 if step in (0, 7) else None)
    for group, twin in zip(both.optimizer.param_groups, both.twin.param_groups, strict=True):
        group["lr"] = twin["lr"] = group["lr"] / 3
    for _ in range(5):
        both.assert_the_next_step_agrees()


def twin_state(make, **settings):
    p = torch.tensor([1.0, 2.0], requires_grad=True)
    twin = make([p], **settings)
    p.grad = torch.tensor([1.0, -1.0])
    twin.step()
    return twin.state_dict()


@pytest.mark.parametrize(
    "make, twin, settings, message",
    [
        (Adam, torch.optim.Adam, {"amsgrad": True}, "it was made with amsgrad=True, not as Adam"),
        (AdamW, torch.optim.AdamW, {"amsgrad": True}, "it was made with amsgrad=True, not as AdamW"),
        (Adam, torch.optim.AdamW, {}, "it was made with decoupled_weight_decay=True, not as Adam"),
        (AdamW, torch.optim.Adam, {}, "it was made with decoupled_weight_decay=False, not as AdamW"),
        (Adam, torch.optim.NAdam, {"decoupled_weight_decay": True}, "momentum_decay|decoupled_weight_decay"),
    ],
)
def test_a_state_from_pytorch_that_would_make_other_steps_is_refused_by_name(make, twin, settings, message):
    with pytest.raises(ValueError, match=message):
        make([Tensor(np.ones(2), requires_grad=True)]).load_state_dict(twin_state(twin, **settings))


@pytest.mark.parametrize("make", [SGD, Adam, AdamW, RMSprop])
def test_the_state_of_every_other_optimizer_of_pytorch_is_refused(make):
    names = [
        "SGD",
        "Adam",
        "AdamW",
        "RMSprop",
        "RAdam",
        "NAdam",
        "Adamax",
        "Adadelta",
        "Adagrad",
        "ASGD",
        "Rprop",
    ]
    for name in set(names) - {make.__name__}:
        fresh = getattr(torch.optim, name)([torch.zeros(2, requires_grad=True)], lr=0.1)
        for state in (fresh.state_dict(), twin_state(getattr(torch.optim, name), lr=0.1)):
            with pytest.raises(ValueError, match=f"it was made with.* not as {make.__name__}"):
                make([Tensor(np.ones(2), requires_grad=True)], lr=0.1).load_state_dict(state)


def test_the_proportions_of_the_groups_of_pytorch_survive_an_assignment_of_lr():
    p, q = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    twin = torch.optim.SGD([{"params": [p], "lr": 0.01}, {"params": [q], "lr": 0.1}])
    ours = SGD([{"params": [Tensor(np.zeros(1), requires_grad=True)]} for _ in range(2)], lr=0.5)
    ours.load_state_dict(twin.state_dict())
    ours.lr = 1.0
    assert np.allclose([group["lr"] for group in ours.param_groups], [0.1, 1.0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizers_state_from_pytorch_is_taken_over(name):
    both, fresh = Both(name), Both(name)
    for _ in range(5):
        both.assert_the_next_step_agrees()
    for p, q in zip(both.ours, fresh.ours, strict=True):
        q.data = p.data.copy()
    fresh.optimizer.load_state_dict(both.twin.state_dict())
    fresh.theirs, fresh.twin, fresh.rng = both.theirs, both.twin, both.rng
    for _ in range(5):
        fresh.assert_the_next_step_agrees()


@pytest.mark.parametrize(
    ("schedule", "twin"),
    [
        (
            schedules.cosine(0.3, 0.01, steps=20),
            lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.01),
        ),
        (
            schedules.linear(0.3, 0.03, steps=20),
            lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=20),
        ),
        (
            schedules.exponential(0.3, 0.03, steps=20),
            lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1 ** (1 / 20)),
        ),
        (
            schedules.step_decay(0.3, factor=0.5, every=6),
            lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, step_size=6, gamma=0.5),
        ),
        (
            schedules.multi_step(0.3, factor=0.5, milestones=[7, 2, 2, 19]),
            lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [7, 2, 2, 19], gamma=0.5),
        ),
    ],
    ids=["cosine", "linear", "exponential", "step", "multi-step"],
)
def test_schedules_run_as_pytorchs(schedule, twin):
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    scheduler = twin(optimizer)
    for step in range(21):
        assert schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(("steps", "pct_start"), [(21, 0.3), (10, 0.25), (7, 0.5), (3, 0.9), (5, 0.0)])
def test_one_cycle_runs_as_pytorchs(steps, pct_start):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    settings = {"pct_start": pct_start, "div_factor": 10.0, "final_div_factor": 100.0}
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=steps, **settings)
    schedule = schedules.one_cycle(0.5, steps, **settings)
    for step in range(steps):
        assert schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        if step < steps - 1:
            optimizer.step()
            scheduler.step()
    assert schedule(steps + 5) == schedule(steps - 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_plateau_is_left_as_in_pytorch(seed):
    rng = np.random.default_rng(seed)
    losses = np.abs(1 / np.arange(1, 41) + rng.normal(0, 0.1, 40))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, threshold=0.01)
    schedule = schedules.plateau(0.5, factor=0.5, patience=2, threshold=0.01)
    for epoch, loss in enumerate(losses):
        scheduler.step(loss)
        assert schedule(losses[: epoch + 1]) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert schedule(losses) < 0.5


# ---- weights there and back


class TheirResidual(torch.nn.Module):
    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


def twin_of(module):
    """The same network of PyTorch's own modules, under the same names, with weights of its own."""
    if isinstance(module, nn.Residual):
        return TheirResidual(twin_of(module.body), twin_of(module.shortcut))
    if isinstance(module, nn.Sequential):
        twin = torch.nn.Sequential()
        for name, child in module.named_children():
            twin.add_module(name, twin_of(child))
        return twin
    if isinstance(module, nn.Conv2d):
        out_channels, in_channels, *kernel_size = module.weight.shape
        options = {"stride": module.stride, "padding": module.padding, "bias": module.bias is not None}
        return torch.nn.Conv2d(in_channels, out_channels, tuple(kernel_size), **options)
    if isinstance(module, nn.Linear):
        return torch.nn.Linear(*module.weight.shape[::-1])
    if isinstance(module, nn.BatchNorm2d):
        return torch.nn.BatchNorm2d(len(module.weight))
    if isinstance(module, nn.MaxPool2d):
        return torch.nn.MaxPool2d(module.kernel_size, module.stride)
    return {
        nn.ReLU: torch.nn.ReLU,
        nn.Flatten: torch.nn.Flatten,
        nn.Identity: torch.nn.Identity,
        nn.AdaptiveAvgPool2d: lambda: torch.nn.AdaptiveAvgPool2d(1),
    }[type(module)]()


def make(name):
    rng = np.random.default_rng(0)
    if name == "small_cnn":
        return small_cnn(5, in_channels=2, widths=(4, 8), rng=rng)
    return tiny_resnet(5, in_channels=2, widths=(4, 8), blocks=2, rng=rng)


def data(seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((16, 2, 8, 8), np.float32), rng.integers(0, 5, 16)


def train(model, steps=5):
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    for seed in range(steps):
        images, labels = data(seed)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()


def train_twin(twin, steps=5):
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    for seed in range(steps):
        images, labels = (torch.tensor(a) for a in data(seed))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(twin(images), labels).backward()
        optimizer.step()


def same_logits(model, twin):
    images, _ = data(99)
    model.eval()
    twin.eval()
    with no_grad(), torch.no_grad():
        close(model(images).data, twin(torch.tensor(images)), 2e-5)


def as_torch(state):
    return {key: torch.tensor(value) for key, value in state.items()}


@pytest.mark.parametrize("name", ["small_cnn", "tiny_resnet"])
def test_a_trained_models_weights_load_into_pytorch_with_equal_logits(name):
    model = make(name)
    twin = twin_of(model)
    train(model)
    twin.load_state_dict(as_torch(model.state_dict()))  # strict: the same keys, shapes and no others
    same_logits(model, twin)


@pytest.mark.parametrize("name", ["small_cnn", "tiny_resnet"])
def test_weights_that_pytorch_trained_load_back_with_equal_logits(name):
    model = make(name)
    twin = twin_of(model)
    train_twin(twin)
    model.load_state_dict(twin.state_dict())
    same_logits(model, twin)
    returned = twin_of(model)
    returned.load_state_dict(as_torch(model.state_dict()))
    for key, value in twin.state_dict().items():
        assert torch.equal(returned.state_dict()[key], value), key


@pytest.mark.parametrize("name", ["small_cnn", "tiny_resnet"])
def test_training_in_both_from_the_same_weights_stays_together(name):
    model = make(name)
    twin = twin_of(model)
    twin.load_state_dict(as_torch(model.state_dict()))
    before = copy.deepcopy(model.state_dict())
    train(model, steps=3)
    train_twin(twin, steps=3)
    for key, value in twin.state_dict().items():
        close(model.state_dict()[key], value, 1e-4)
        assert not np.array_equal(model.state_dict()[key], before[key]), key
