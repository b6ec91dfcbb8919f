"""What is pruned stays exactly zero while a network trains, and the loop keeps to its budget and ends."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import compress, nn
from minidl.compress import prune
from minidl.compress.masks import EmptyLayerError, apply_masks, global_magnitude_masks, sparsity, zero_masks
from minidl.compress.prune import accepted_steps, iterative_prune, sensitivity
from minidl.compress.scores import filter_masks
from minidl.nn import functional as F
from minidl.nn.models import small_cnn
from minidl.train import evaluate, fit
from minidl.train.adam import Adam, AdamW
from minidl.train.checkpoint import load
from minidl.train.optim import SGD

OPTIMIZERS = {
    "SGD": lambda p: SGD(p, lr=0.05),
    "SGD, momentum and decay": lambda p: SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "SGD, Nesterov": lambda p: SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "Adam with decay": lambda p: Adam(p, lr=0.01, weight_decay=0.01),
    "AdamW": lambda p: AdamW(p, lr=0.01, weight_decay=0.1),
}
every_optimizer = pytest.mark.parametrize("name", list(OPTIMIZERS))


def data(seed=0, n=48):
    """Three classes, told by which third of the image is bright."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    images = rng.random((n, 1, 6, 6), dtype=np.float32) * 0.5
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 0.5
    return images, labels


def network(seed=0):
    return small_cnn(3, 1, (4, 5), pool_after=(), rng=np.random.default_rng(seed))


def trained(seed=0, epochs=6):
    model = network(seed)
    fit(model, data(), epochs=epochs, batch_size=16, progress=False, rng=np.random.default_rng(seed))
    return model


def masked_places(model):
    return {path: ~p.mask for path, p in model.named_parameters() if p.mask is not None}


def assert_zero(model, places):
    parameters = dict(model.named_parameters())
    assert places
    for path, pruned in places.items():
        assert pruned.any() and not parameters[path].data[pruned].any()


def steps(model, optimizer, count=4):
    images, labels = data()
    model.train()
    for i in range(count):
        batch = slice(8 * i, 8 * i + 8)
        optimizer.zero_grad()
        F.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()


@every_optimizer
@pytest.mark.parametrize("kind", ["filters", "weights"])
def test_what_is_pruned_stays_zero_and_the_rest_learns(name, kind):
    model = network()
    masks = filter_masks(model, 0.5) if kind == "filters" else global_magnitude_masks(model, 0.6)
    apply_masks(model, masks)
    places, before = masked_places(model), model.state_dict()
    steps(model, OPTIMIZERS[name](model.parameters()))
    assert_zero(model, places)
    weight = model.layer("block2.conv").weight
    kept = weight.mask
    assert np.any(weight.data[kept] != before["block2.conv.weight"][kept])


@every_optimizer
def test_momentum_from_before_the_pruning_does_not_bring_a_weight_back(name):
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    steps(model, optimizer)
    apply_masks(model, global_magnitude_masks(model, 0.5))
    places = masked_places(model)
    for _ in range(3):
        steps(model, optimizer, count=1)
        assert_zero(model, places)


def test_momentum_forgets_what_is_pruned():
    model = apply_masks(network(), global_magnitude_masks(network(), 0.5))
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    steps(model, optimizer)
    weight = model.layer("block2.conv").weight
    buffer = optimizer.state[weight]["momentum_buffer"]
    assert not buffer[~weight.mask].any() and buffer[weight.mask].any()


def test_unmasked_training_is_not_touched():
    plain, masked = network(), network()
    apply_masks(masked, {"block1.conv": np.ones(4, bool), "head.weight": np.ones((3, 5), bool)})
    for model in (plain, masked):
        steps(model, SGD(model.parameters(), lr=0.05, momentum=0.9))
    state = masked.state_dict()
    assert all(np.array_equal(array, state[key]) for key, array in plain.state_dict().items())


@every_optimizer
def test_a_training_resumed_from_a_checkpoint_is_the_one_that_never_stopped(name, tmp_path):
    def start():
        model = apply_masks(network(), global_magnitude_masks(network(), 0.5))
        return model, OPTIMIZERS[name](model.parameters()), np.random.default_rng(5)

    whole, optimizer, rng = start()
    options = {"batch_size": 16, "progress": False}
    fit(whole, data(), epochs=4, optimizer=optimizer, rng=rng, **options)

    path = tmp_path / "training.npz"
    first, optimizer, rng = start()
    fit(first, data(), epochs=2, optimizer=optimizer, rng=rng, checkpoint=path, **options)

    # Another process: a new network. Its masks come from the zeros of the file.
    resumed = network(seed=1)
    load(path, resumed)
    apply_masks(resumed, zero_masks(resumed))
    optimizer, rng = OPTIMIZERS[name](resumed.parameters()), np.random.default_rng(6)
    fit(resumed, data(), epochs=4, optimizer=optimizer, rng=rng, checkpoint=path, **options)
    state = resumed.state_dict()
    assert all(np.array_equal(array, state[key]) for key, array in whole.state_dict().items())
    assert_zero(resumed, masked_places(whole))


def test_a_state_loaded_over_masks_is_pruned_by_the_next_step():
    model, dense = network(), network(seed=3)
    apply_masks(model, global_magnitude_masks(model, 0.5))
    places = masked_places(model)
    model.load_state_dict(dense.state_dict())
    steps(model, SGD(model.parameters(), lr=0.01), count=1)
    assert_zero(model, places)


# ---- the loop


def test_by_hand_the_accepted_steps():
    assert accepted_steps([0.1, 0.2, 0.3, 0.9], 0.5) == 2
    assert accepted_steps([0.1, 0.9, 0.2], 0.5) == 0  # later steps do not count
    assert accepted_steps([0.1, 0.5], 0.5) == 0  # the budget itself is not below it
    assert accepted_steps([0.1, float("nan")], 0.5) == 0
    assert accepted_steps([0.1], 0.5) == 0


@given(
    losses=st.lists(st.floats(0, 2) | st.just(float("nan")), min_size=1, max_size=6), budget=st.floats(0, 2)
)
def test_all_accepted_losses_are_within_the_budget_and_the_next_is_not(losses, budget):
    if not losses[0] < budget:
        with pytest.raises(ValueError, match="unpruned network"):
            accepted_steps(losses, budget)
        return
    accepted = accepted_steps(losses, budget)
    assert all(loss < budget for loss in losses[: accepted + 1])
    assert accepted == len(losses) - 1 or not losses[accepted + 1] < budget


@pytest.mark.parametrize("criterion", [global_magnitude_masks, filter_masks])
@pytest.mark.parametrize("finetune_epochs", [0, 1])
def test_the_loop_returns_the_last_network_within_the_budget(criterion, finetune_epochs):
    model = trained()
    before = model.state_dict()
    budget = evaluate(model, *data(1)).loss + 0.15
    result = iterative_prune(
        model,
        data(),
        data(1),
        max_allowed_loss=budget,
        step=0.2,
        finetune_epochs=finetune_epochs,
        criterion=criterion,
        rng=np.random.default_rng(0),
    )
    assert all(np.array_equal(before[key], array) for key, array in model.state_dict().items())
    row = result.history[result.accepted]
    loss = evaluate(result.model, *data(1)).loss
    assert loss == row.loss < budget
    assert sparsity(result.model) == row.sparsity
    assert len(result.history) - result.accepted in (1, 2)
    assert all(step.loss < budget for step in result.history[: result.accepted + 1])
    assert [step.amount for step in result.history] == pytest.approx(
        [0.2 * k for k in range(len(result.history))]
    )
    sparsities = [step.sparsity for step in result.history]
    assert sparsities == sorted(sparsities)


def test_a_first_step_that_breaks_the_budget_leaves_the_network_as_it_was():
    model = trained()
    loss = evaluate(model, *data(1)).loss
    result = iterative_prune(
        model, data(), data(1), max_allowed_loss=loss + 1e-6, step=0.9, finetune_epochs=0
    )
    assert result.accepted == 0 and len(result.history) == 2
    assert result.history[1].loss > loss + 1e-6
    state = result.model.state_dict()
    assert all(np.array_equal(array, state[key]) for key, array in model.state_dict().items())
    assert result.model is not model


@pytest.mark.parametrize("step", [0.7, 0.3, 0.25, 0.1])
def test_the_loop_ends_whatever_the_budget(step):
    result = iterative_prune(network(), data(), data(1), max_allowed_loss=1e9, step=step, finetune_epochs=0)
    assert result.accepted == len(result.history) - 1 <= 1 / step
    if step < 0.3:  # larger amounts would empty a layer, so the loop ends earlier
        assert 0.3 < sparsity(result.model) < 1


def test_the_loop_takes_any_rule_and_ends_when_it_finds_nothing_more():
    def first_filters(model, amount):
        if amount > 0.5:
            raise EmptyLayerError("enough")
        return {"block1.conv": np.arange(4) >= round(4 * amount)}

    result = iterative_prune(
        network(),
        data(),
        data(1),
        max_allowed_loss=1e9,
        step=0.25,
        finetune_epochs=0,
        criterion=first_filters,
    )
    assert result.accepted == 2
    assert not result.model.layer("block1.conv").weight.data[:2].any()


@pytest.mark.parametrize("function", ["fit", "evaluate"])
def test_a_round_that_diverges_is_rolled_back_and_the_last(function, monkeypatch):
    calls, original = [], getattr(prune, function)

    def diverges_in_round_2(*args, **kwargs):
        calls.append(args)
        if len(calls) == (2 if function == "fit" else 3):  # the unpruned network is evaluated first
            raise FloatingPointError("the loss is nan")
        return original(*args, **kwargs)

    monkeypatch.setattr(prune, function, diverges_in_round_2)
    result = iterative_prune(network(), data(), data(1), max_allowed_loss=1e9, step=0.1, finetune_epochs=1)
    assert result.accepted == 1 and len(result.history) == 3
    assert np.isnan(result.history[2].loss) and np.isnan(result.history[2].accuracy)
    assert evaluate(result.model, *data(1)).loss == result.history[1].loss


def test_the_loop_prunes_filters_of_a_model_of_images_of_one_size():
    model = nn.Sequential(nn.Conv2d(1, 4, 3, rng=np.random.default_rng(0)), nn.Flatten(), nn.Linear(64, 3))
    criterion = functools.partial(filter_masks, x=data()[0][:1])
    options = {**GOOD, "step": 0.25, "criterion": criterion}
    result = iterative_prune(model, data(), data(1), **options)
    assert result.accepted == 3
    assert np.any(result.model.layer("0").weight.data, axis=(1, 2, 3)).sum() == 1


def test_sensitivity_masks_one_layer_alone():
    model = trained()
    images, labels = data(1)
    before = model.state_dict()
    results = sensitivity(model, "block1.conv", [0, 0.5, 3], images, labels)
    assert results[0] == evaluate(model, images, labels)
    assert all(np.array_equal(before[key], array) for key, array in model.state_dict().items())
    norms = np.abs(before["block1.conv.weight"]).sum(axis=(1, 2, 3))
    lowest = np.argsort(norms)
    for result, gone in zip(results[1:], (lowest[:2], lowest[:3]), strict=True):
        by_hand = network()
        by_hand.load_state_dict(before)
        for name in ("conv.weight", "bn.weight", "bn.bias"):
            layer, attribute = name.split(".")
            getattr(by_hand.layer(f"block1.{layer}"), attribute).data[gone] = 0
        assert result == evaluate(by_hand, images, labels)


# ---- refused

GOOD = {"max_allowed_loss": 1e9, "step": 0.5, "finetune_epochs": 0}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"max_allowed_loss": 0.0}, ValueError, "is not below max_allowed_loss 0.0"),
        ({"max_allowed_loss": float("nan")}, ValueError, "max_allowed_loss must be"),
        ({"step": 0.0}, ValueError, "step must be at least 1e-6 and below 1"),
        ({"step": 1e-320}, ValueError, "step must be at least 1e-6 and below 1"),
        ({"step": 1.0}, ValueError, "step must be at least 1e-6 and below 1, .* got 1.0"),
        ({"lr": -1}, ValueError, "lr must be"),
        ({"rng": 3}, TypeError, "rng must be"),
        ({"step": 1.5}, ValueError, r"step must be .*\[0, 1\]"),
        ({"finetune_epochs": -1}, ValueError, "finetune_epochs must be"),
        ({"finetune_epochs": 0.5}, TypeError, "finetune_epochs must be"),
        ({"criterion": "l1"}, TypeError, "criterion must be a function"),
    ],
)
def test_settings_of_the_loop_are_checked(changed, error, message):
    with pytest.raises(error, match=message):
        iterative_prune(network(), data(), data(1), **{**GOOD, **changed})


def test_data_and_criterion_of_the_loop_are_checked():
    with pytest.raises(TypeError, match=r"train must be a pair"):
        iterative_prune(network(), data()[0], data(1), **GOOD)
    with pytest.raises(TypeError, match="masks must be a Mapping"):
        iterative_prune(network(), data(), data(1), **GOOD, criterion=lambda model, amount: None)
    with pytest.raises(ValueError, match="criterion found nothing to prune: it gave no masks at amount 0.5"):
        iterative_prune(network(), data(), data(1), **GOOD, criterion=lambda model, amount: {})
    with pytest.raises(ValueError, match="'block1.bn' is not a Conv2d, or a Linear on rows"):
        sensitivity(network(), "block1.bn", [0.5], *data())
    with pytest.raises(ValueError, match=r"amounts must have shape \(N,\), got \(\)"):
        sensitivity(network(), "block1.conv", 0.5, *data())
    with pytest.raises(ValueError, match="no layer 'nowhere'"):
        sensitivity(network(), "nowhere", [0.5], *data())
    with pytest.raises(EmptyLayerError):
        sensitivity(network(), "block1.conv", [1.0], *data())


def test_every_name_of_the_package_is_there():
    assert all(hasattr(compress, name) for name in compress.__all__)
