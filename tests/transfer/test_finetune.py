"""Finetuning: what is frozen stays, to the bit; what is not learns as if nothing were frozen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl.nn as nn
import minidl.nn.functional as F
from minidl.engine.random import default_rng_or
from minidl.nn.models import small_cnn, tiny_resnet
from minidl.train import SGD, Adam, AdamW, fit, predict
from minidl.transfer.features import extract_features, linear_probe
from minidl.transfer.finetune import (
    changed_arrays,
    descend_quadratic,
    freeze,
    frozen_report,
    gradual_unfreeze,
    largest_stable_lr,
    layer_rates,
    lr_sweep,
    param_groups,
    replace_head,
    unfreeze,
)

LAYERS = ["block1", "block2", "head"]
seeds = st.integers(0, 1000)
few = settings(max_examples=25)


def network(seed=0, num_classes=3):
    model = small_cnn(num_classes, 1, widths=(3, 4), pool_after=(1,), rng=np.random.default_rng(seed))
    images, _ = examples(seed + 1)
    for _ in range(3):
        model(images)  # so that the running statistics come from images and are not 0 and 1
    return model


def examples(seed=0, n=12, classes=3):
    rng = np.random.default_rng(seed)
    return rng.random((n, 1, 4, 4), dtype=np.float32), np.arange(n) % classes


def train_steps(model, optimizer, steps=3, seed=0):
    images, labels = examples(seed)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()


def changed(model, before):
    return {name.rpartition(".")[0].split(".")[0] for name in changed_arrays(before, model.state_dict())}


optimizers = st.sampled_from(
    [
        lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
        lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: Adam(p, lr=0.01, weight_decay=0.1),
        lambda p: AdamW(p, lr=0.01, weight_decay=0.1),
    ]
)

# ---- freezing


@few
@given(seed=seeds, frozen=st.sampled_from(["block1", "block2", "head", "block1.bn"]), make=optimizers)
def test_frozen_parameters_and_buffers_are_bit_identical_after_training_and_the_rest_moves(
    seed, frozen, make
):
    model = network(seed)
    part = freeze(model.layer(frozen))
    before = model.state_dict()
    train_steps(model, make(model.parameters()), seed=seed)
    assert frozen not in {name.rpartition(".")[0] for name in changed_arrays(before, model.state_dict())}
    assert changed(model, before) == set(LAYERS) - {frozen}
    assert not any(frozen_report(model).values())
    assert len(frozen_report(model)) == len(part.state_dict())


@few
@given(seed=seeds, make=optimizers)
def test_momentum_and_weight_decay_gathered_before_freezing_move_nothing_after_it(seed, make):
    model = network(seed)
    optimizer = make(model.parameters())
    train_steps(model, optimizer)
    freeze(model.block1)
    before = model.block1.state_dict()
    train_steps(model, optimizer)
    assert changed_arrays(before, model.block1.state_dict()) == []


@few
@given(seed=seeds)
def test_a_frozen_batch_norm_computes_after_train_what_it_computes_in_evaluation(seed):
    model = freeze(network(seed))
    images, _ = examples(seed)
    in_training = model.train()(images).data
    assert np.array_equal(in_training, model.eval()(images).data)
    assert not np.allclose(unfreeze(model).train()(images).data, in_training, atol=1e-3)


@few
@given(seed=seeds, frozen=st.sampled_from(LAYERS))
def test_freezing_leaves_the_other_gradients_unchanged_where_the_part_is_in_evaluation_already(seed, frozen):
    images, labels = examples(seed)
    grads = []
    for freezes in (False, True):
        model = network(seed)
        model.layer(frozen).eval()
        if freezes:
            freeze(model.layer(frozen))
        F.cross_entropy(model(images), labels).backward()
        grads.append({name: p.grad for name, p in model.named_parameters()})
    for name, grad in grads[0].items():
        if name.split(".")[0] == frozen:
            assert grads[1][name] is None
        else:
            assert np.array_equal(grad, grads[1][name])


def test_freezing_drops_the_gradient_that_is_there():
    model = network()
    images, labels = examples()
    F.cross_entropy(model(images), labels).backward()
    assert model.block1.layer("conv").weight.grad is not None
    freeze(model.block1)
    assert model.block1.layer("conv").weight.grad is None and model.head.weight.grad is not None


@few
@given(seed=seeds)
def test_unfreezing_undoes_freezing(seed):
    one, other = network(seed), unfreeze(freeze(network(seed)))
    for model in (one, other):
        train_steps(model, Adam(model.parameters(), lr=0.01), seed=seed)
    assert frozen_report(other) == {}
    assert changed_arrays(one.state_dict(), other.state_dict()) == []


def test_unfreezing_without_statistics_moves_parameters_and_no_buffer():
    model = unfreeze(network(), statistics=False)
    before = model.state_dict()
    train_steps(model, Adam(model.parameters(), lr=0.01))
    moved = changed_arrays(before, model.state_dict())
    assert sorted(name for name, _ in model.named_parameters()) == moved
    assert sorted(frozen_report(model)) == sorted(name for name, _ in model.named_buffers())
    assert not any(frozen_report(model).values())


@pytest.mark.parametrize(
    "path", ["block1.conv.weight", "block2.bn.running_mean", "block2.bn.num_batches_tracked"]
)
def test_the_report_names_what_somebody_wrote_since_freezing(path):
    model = freeze(network())
    layer, _, name = path.rpartition(".")
    if name == "weight":
        model.layer(layer).weight.data = model.layer(layer).weight.data * np.float32(1.0001)
    else:
        getattr(model.layer(layer), name)[...] += 1
    freeze(model)  # a second time: the report still compares with the first time
    assert [known for known, moved in frozen_report(model).items() if moved] == [path]


def test_changed_arrays_sees_every_kind_of_change():
    before = {
        "a": np.array([0.0, np.nan]),
        "b": np.zeros(2),
        "c": np.zeros(2),
        "d": np.zeros(4),
        "gone": np.zeros(1),
    }
    after = {
        "a": np.array([0.0, np.nan]),
        "b": np.array([0.0, -0.0]),
        "c": np.zeros(2, np.int64),
        "d": np.zeros((2, 2)),
        "new": np.zeros(1),
    }
    assert changed_arrays(before, after) == ["b", "c", "d", "gone", "new"]


# ---- gradual unfreezing


@few
@given(count=st.integers(1, 5), statistics=st.booleans())
def test_the_last_layers_learn_and_all_below_is_frozen(count, statistics):
    model = network()
    assert gradual_unfreeze(model, count, statistics=statistics) == LAYERS[-count:]
    before = model.state_dict()
    train_steps(model, SGD(model.parameters(), lr=0.1))
    assert changed(model, before) == set(LAYERS[-count:])
    learns_statistics = any("running" in name for name in changed_arrays(before, model.state_dict()))
    assert learns_statistics == (statistics and count > 1)


def test_layers_to_unfreeze_can_be_named_and_one_optimizer_serves_all_stages():
    model = tiny_resnet(3, 1, widths=(3, 4), rng=np.random.default_rng(0))
    optimizer, moved = SGD(model.parameters(), lr=0.1), []
    for count in (1, 2):
        names = gradual_unfreeze(model, count, ["stage1", "stage2.block1", "head"])
        before = model.state_dict()
        train_steps(model, optimizer)
        moved.append(changed(model, before))
    assert names == ["stage2.block1", "head"]
    assert moved == [{"head"}, {"stage2", "head"}]


# ---- heads and rates


@few
@given(seed=seeds, num_classes=st.integers(1, 6))
def test_a_new_head_leaves_the_features_unchanged_and_has_the_width_asked_for(seed, num_classes):
    model, (images, _) = network(seed), examples(seed)
    before, features = model.state_dict(), extract_features(model, images, "flatten")
    head = replace_head(model, num_classes, np.random.default_rng(seed))
    assert model.head is head and predict(model, images).shape == (len(images), num_classes)
    assert np.array_equal(features, extract_features(model, images, "flatten"))
    assert changed(model, before) == {"head"}


def test_a_new_head_is_drawn_from_rng_keeps_place_name_bias_and_mode_and_learns():
    model = nn.Sequential({"body": nn.Flatten(), "top": nn.Sequential(nn.Linear(4, 3, bias=False))})
    freeze(model).eval()
    head = replace_head(model, 2, np.random.default_rng(5), head="top.0")
    assert model.layer("top.0") is head and head.bias is None and not head.training
    assert head.weight.requires_grad
    assert np.array_equal(
        head.weight.data, nn.Linear(4, 2, bias=False, rng=np.random.default_rng(5)).weight.data
    )


def test_layer_rates_by_hand():
    assert layer_rates(3, 0.8, 0.5) == [0.2, 0.4, 0.8]
    assert layer_rates(1, 0.8, 0.5) == [0.8]


@given(count=st.integers(1, 8), rate=st.floats(0, 1), decay=st.floats(0.01, 1))
def test_each_layer_moves_decay_times_as_fast_as_the_one_above(count, rate, decay):
    rates = layer_rates(count, rate, decay)
    assert rates[-1] == rate and len(rates) == count
    np.testing.assert_allclose(rates[:-1], decay * np.array(rates[1:]), rtol=1e-12, atol=0)


def test_param_groups_hold_each_parameter_once_lower_layers_slower():
    model = network()
    groups = param_groups(model, backbone_lr=0.4, head_lr=3.0, decay=0.5)
    assert [group["lr"] for group in groups] == [0.2, 0.4, 3.0]
    assert [p for group in groups for p in group["params"]] == list(model.parameters())


@few
@given(seed=seeds)
def test_one_step_of_plain_descent_moves_each_layer_by_its_rate_times_its_gradient(seed):
    model = network(seed)
    optimizer = SGD(param_groups(model, backbone_lr=0.25, head_lr=0.5, decay=0.5), lr=0.0)
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    train_steps(model, optimizer, steps=1)
    for name, p in model.named_parameters():
        rate = {"block1": 0.125, "block2": 0.25, "head": 0.5}[name.split(".")[0]]
        np.testing.assert_allclose(p.data, before[name] - rate * p.grad, rtol=1e-6, atol=1e-7)


def test_a_parameter_that_two_layers_share_is_in_one_group():
    shared = nn.Linear(3, 3)
    model = nn.Sequential({"a": nn.Sequential(shared), "b": nn.Sequential(shared), "head": nn.Linear(3, 2)})
    groups = param_groups(model, 0.1, 0.2)
    assert [len(group["params"]) for group in groups] == [2, 0, 2]
    Adam(groups)


# ---- learning rates


@few
@given(seed=seeds)
def test_a_learning_rate_of_0_moves_no_parameter(seed):
    model = network(seed)
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    for make in (SGD, Adam, AdamW):
        train_steps(model, make(model.parameters(), lr=0.0))
    assert changed_arrays(before, {name: p.data for name, p in model.named_parameters()}) == []


def test_a_sweep_gives_what_training_at_each_rate_gives_and_leaves_the_model_as_it_was():
    model, train, test = network(), examples(1), examples(2)
    before = model.state_dict()
    swept = lr_sweep(
        model, train, test, [0.01, 0.1, 0.01], epochs=2, batch_size=5, rng=np.random.default_rng(3)
    )
    assert changed_arrays(before, model.state_dict()) == []
    assert swept[0] == swept[2] != swept[1]
    seed = np.random.default_rng(3).integers(2**63)
    history = fit(
        model,
        train,
        test,
        epochs=2,
        batch_size=5,
        optimizer=Adam(model.parameters(), lr=0.1),
        rng=np.random.default_rng(seed),
        progress=False,
    )
    assert swept[1] == (history.test_accuracy[-1], history.test_loss[-1])


def test_a_diverging_rate_is_reported_and_the_sweep_goes_on():
    # The logits overflow in the second step. There is no ReLU, because a dead ReLU could hide this.
    model, train = (
        nn.Sequential({"flatten": nn.Flatten(), "head": nn.Linear(16, 3, rng=np.random.default_rng(0))}),
        examples(),
    )
    train = 100 * train[0], train[1]
    with np.errstate(all="ignore"):
        swept = lr_sweep(model, train, train, [1e38, 0.1], epochs=8, batch_size=4, optimizer=SGD)
    assert np.isnan(swept[0].accuracy) and swept[0].loss == np.inf
    assert np.isfinite(swept[1]).all()


@st.composite
def hessians(draw):
    """Symmetric with a positive eigenvalue: Q diag(eigenvalues) Q^T; the eigenvalues, Q."""
    n = draw(st.integers(1, 4))
    eigenvalues = np.sort(draw(st.lists(st.floats(0.1, 10), min_size=n, max_size=n)))
    Q, _ = np.linalg.qr(np.random.default_rng(draw(seeds)).normal(size=(n, n)))
    return Q @ np.diag(eigenvalues) @ Q.T, eigenvalues, Q


@given(case=hessians(), factor=st.floats(0.05, 0.98), above=st.floats(1.02, 3))
def test_descent_on_a_quadratic_diverges_exactly_above_2_over_the_largest_eigenvalue(case, factor, above):
    hessian, eigenvalues, Q = case
    hessian = (hessian + hessian.T) / 2
    start = Q @ np.ones(len(Q))  # the start has a component along every eigenvector, also the largest
    limit = largest_stable_lr(hessian)
    np.testing.assert_allclose(limit, 2 / eigenvalues[-1], rtol=1e-9)
    slowest = max(abs(1 - factor * limit * eigenvalues))
    # the slowest component needs so many steps to shrink to 0.001
    steps = int(np.ceil(np.log(1e-3) / np.log(slowest))) + 1
    below = descend_quadratic(hessian, start, factor * limit, steps)
    beyond = np.abs(Q[:, -1] @ descend_quadratic(hessian, start, above * limit, 200).T)
    assert np.linalg.norm(below[-1]) < 1e-3 * np.linalg.norm(start) * 1.001
    assert beyond[-1] > 25 and (np.diff(beyond) > 0).all()


@given(case=hessians(), lr=st.floats(0, 0.3))
def test_each_step_multiplies_an_eigenvectors_component_by_1_minus_lr_lambda(case, lr):
    hessian, eigenvalues, Q = case
    hessian = (hessian + hessian.T) / 2
    path = descend_quadratic(hessian, Q @ np.ones(len(Q)), lr, 3)
    np.testing.assert_allclose(
        path @ Q, (1 - lr * eigenvalues) ** np.arange(4)[:, None], rtol=1e-7, atol=1e-9
    )


def test_descent_by_hand():
    path = descend_quadratic([[2.0, 0.0], [0.0, 1.0]], [1.0, 4.0], lr=0.5, steps=2)
    assert path.tolist() == [[1, 4], [0, 2], [0, 1]]
    assert largest_stable_lr([[2.0, 0.0], [0.0, 1.0]]) == 1.0


# ---- the network as a function


@few
@given(seed=seeds, batch_size=st.integers(1, 13), layer=st.sampled_from(["block1.bn", "block2", "flatten"]))
def test_features_are_the_layers_output_in_evaluation_whatever_the_batches(seed, batch_size, layer):
    model, (images, _) = network(seed), examples(seed)
    before, modes = model.state_dict(), [module.training for module in model.modules()]
    features = extract_features(model, images, layer, batch_size)
    assert [module.training for module in model.modules()] == modes and not model.layer(layer)._hooks
    assert changed_arrays(before, model.state_dict()) == []
    prefixes = {  # the layers up to and including the requested layer
        "block1.bn": [model.block1.layer("conv"), model.block1.layer("bn")],
        "block2": [model.block1, model.block2],
        "flatten": [model.block1, model.block2, model.pool, model.flatten],
    }
    y = images
    for part in prefixes[layer]:
        y = part.eval()(y)
    np.testing.assert_allclose(features, y.data, rtol=1e-5, atol=1e-6)


@few
@given(seed=seeds)
def test_the_head_on_features_is_the_model(seed):
    model, (images, _) = network(seed), examples(seed)
    head = nn.Sequential({"head": model.head})
    assert np.array_equal(predict(head, extract_features(model, images, "flatten")), predict(model, images))


@few
@given(seed=seeds, make=optimizers)
def test_training_on_cached_features_is_training_with_a_frozen_backbone(seed, make):
    """Without augmentation and dropout; the same batches, the head from the same start."""
    images, labels = examples(seed)
    whole, alone = network(seed), network(seed)
    freeze(whole[:-1])
    head = nn.Sequential({"head": alone.head})
    features = extract_features(alone, images, "flatten")
    for model, inputs in ((whole, images), (head, features)):
        optimizer, rng = make(model.parameters()), np.random.default_rng(seed)
        fit(model, (inputs, labels), epochs=2, batch_size=5, optimizer=optimizer, rng=rng, progress=False)
    assert not np.allclose(whole.head.weight.data, network(seed).head.weight.data, atol=1e-3)
    np.testing.assert_allclose(whole.head.weight.data, alone.head.weight.data, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole.head.bias.data, alone.head.bias.data, rtol=1e-4, atol=1e-5)


def test_a_layer_that_runs_twice_or_not_at_all_has_no_features():
    class Twice(nn.Module):
        def __init__(self):
            self.fc, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.fc(self.fc(x))

    model = Twice()
    for layer, times in (("fc", "2 times"), ("idle", "0 times")):
        with pytest.raises(ValueError, match=times):
            extract_features(model, np.zeros((3, 2), np.float32), layer)
        assert not model.layer(layer)._hooks


# ---- the probe


def rows(seed, n=15, dims=3, classes=3):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return rng.normal(size=(n, dims)) + labels[:, None], labels


@few
@given(seed=seeds, l2=st.sampled_from([1e-3, 0.1, 1.0]))
def test_the_probe_is_where_the_regularised_loss_has_no_slope(seed, l2):
    features, labels = rows(seed)
    probe = linear_probe(features, labels, l2)
    logits = probe(features.astype(np.float32))
    loss = F.cross_entropy(logits, labels) + l2 / 2 * (probe.weight * probe.weight).sum()
    loss.backward()
    assert np.abs(probe.weight.grad).max() < 2e-5 and np.abs(probe.bias.grad).max() < 2e-5


@few
@given(seed=seeds)
def test_permuting_the_examples_or_naming_classes_otherwise_changes_the_probe_alike(seed):
    features, labels = rows(seed)
    order, names = np.random.default_rng(seed).permutation(len(labels)), np.array([2, 0, 1])
    probe = linear_probe(features, labels, 0.1)
    renamed = linear_probe(features[order], names[labels[order]], 0.1)
    np.testing.assert_allclose(renamed.weight.data[names], probe.weight.data, atol=1e-4)
    np.testing.assert_allclose(renamed.bias.data[names], probe.bias.data, atol=1e-4)


def test_a_probe_of_two_mirrored_points_by_hand():
    """w = weight[1] = -weight[0] at x = ±1: the slope -(1 - s(2w)) + l2 w vanishes; l2 = (1 - s(1)) / 0.5."""
    l2 = (1 - 1 / (1 + np.exp(-1))) / 0.5
    probe = linear_probe(np.array([[-1.0], [1.0]]), np.array([0, 1]), l2)
    np.testing.assert_allclose(probe.weight.data, [[-0.5], [0.5]], atol=1e-5)
    np.testing.assert_allclose(probe.bias.data, [0, 0], atol=1e-6)


@few
@given(seed=seeds)
def test_more_regularisation_gives_smaller_weights(seed):
    features, labels = rows(seed)
    norms = [np.linalg.norm(linear_probe(features, labels, l2).weight.data) for l2 in (0.01, 0.1, 1.0)]
    assert norms[0] > norms[1] > norms[2] > 0


def test_a_probe_draws_nothing_and_takes_features_of_any_place_and_scale():
    features, labels = rows(0)
    state = default_rng_or(None).bit_generator.state
    probe = linear_probe(features, labels, 1e-3)
    moved = linear_probe(1000 + features, labels, 1e-3)
    assert default_rng_or(None).bit_generator.state == state
    np.testing.assert_allclose(moved.weight.data, probe.weight.data, atol=1e-4)
    stretched = linear_probe(1e4 * features, labels, 1e-3 * 1e8)  # the same problem in other units
    np.testing.assert_allclose(1e4 * stretched.weight.data, probe.weight.data, atol=1e-3)


# ---- bad input

MODEL = network()
IMAGES, LABELS = PAIR = examples()
FEATURES, CLASSES = rows(0)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: freeze("block1"), TypeError, "(model|module) must be a Module, got 'block1'"),
        (lambda: unfreeze(None), TypeError, "(model|module) must be a Module, got None"),
        (lambda: frozen_report({}), TypeError, "(model|module) must be a Module, got {}"),
        (lambda: gradual_unfreeze(MODEL, 0), ValueError, "count must be at least 1, got 0"),
        (lambda: gradual_unfreeze(MODEL, 1, []), ValueError, "layers must name at least one layer"),
        (lambda: gradual_unfreeze(MODEL, 1, ["blok1"]), ValueError, "no layer 'blok1'.*nearest: block1"),
        (lambda: replace_head(MODEL, 0), ValueError, "out_features must be at least 1"),
        (lambda: replace_head(MODEL, 3, head="block1"), TypeError, "'block1' must be a Linear"),
        (lambda: replace_head(MODEL, 3, head="haed"), ValueError, "no layer 'haed'.*nearest: head"),
        (lambda: replace_head(MODEL, 3, rng=7), TypeError, "rng must be a np.random.Generator"),
        (lambda: layer_rates(0, 0.1, 0.5), ValueError, "count must be at least 1"),
        (lambda: layer_rates(2, 0.1, 0), ValueError, "decay must be above 0"),
        (lambda: layer_rates(2, -0.1, 0.5), ValueError, "top_rate must be finite and at least 0"),
        (lambda: param_groups(MODEL, -1, 0.1), ValueError, "top_rate must be finite and at least 0"),
        (lambda: param_groups(MODEL, 0.1, -1), ValueError, "head_lr must be finite and at least 0"),
        (
            lambda: param_groups(MODEL, 0.1, 0.1, decay=1.5),
            ValueError,
            r"decay must be above 0 and at most 1, got 1.5",
        ),
        (lambda: param_groups(MODEL, 0.1, 0.1, head="pool"), ValueError, "head 'pool'"),
        (lambda: param_groups(nn.Sequential({"head": nn.Linear(1, 1)}), 1, 1), ValueError, "layers with"),
        (lambda: lr_sweep(MODEL, PAIR, PAIR, [-1], epochs=1), ValueError, "lrs must be at least 0, got -1"),
        (lambda: lr_sweep(MODEL, IMAGES, PAIR, [1], epochs=1), TypeError, "train must be a pair"),
        (lambda: largest_stable_lr(np.ones((2, 3))), ValueError, r"shape \(n, n\), got \(2, 3\)"),
        (lambda: largest_stable_lr([[1.0, 2.0], [0.0, 1.0]]), ValueError, "hessian must be symmetric"),
        (lambda: largest_stable_lr([[-1.0]]), ValueError, "largest eigenvalue must be positive, got -1"),
        (lambda: descend_quadratic(np.eye(2), [1.0], 0.1, 1), ValueError, r"start must have shape \(2,\)"),
        (lambda: descend_quadratic(np.eye(1), [1.0], -0.1, 1), ValueError, "lr must be finite"),
        (lambda: descend_quadratic(np.eye(1), [1.0], 0.1, 0), ValueError, "steps must be at least 1"),
        (lambda: extract_features(MODEL, IMAGES, "flaten"), ValueError, "nearest: flatten"),
        (
            lambda: extract_features(MODEL, IMAGES[:0], "flatten"),
            ValueError,
            "no images|images must not be empty",
        ),
        (lambda: extract_features(MODEL, IMAGES, "flatten", 0), ValueError, "batch_size must be at least 1"),
        (lambda: linear_probe(FEATURES, CLASSES, 0), ValueError, "l2 must be above 0"),
        (
            lambda: linear_probe(FEATURES[0], CLASSES, 1),
            ValueError,
            r"features must have shape \(N, D\), got \(3,\)",
        ),
        (lambda: linear_probe(FEATURES * np.nan, CLASSES, 1), ValueError, "features must be finite"),
        (
            lambda: linear_probe(FEATURES, CLASSES[1:], 1),
            ValueError,
            r"labels must have shape \(15,\), got \(14,\)",
        ),
        (
            lambda: linear_probe(FEATURES, CLASSES / 2, 1),
            TypeError,
            "labels must be integers, got .* of float64",
        ),
        (lambda: linear_probe(FEATURES, CLASSES * 2, 1), ValueError, r"got \[0, 2, 4\]"),
        (
            lambda: linear_probe([[1.0], [1.0, 2.0]], CLASSES, 1),
            ValueError,
            "features must be an array, but its rows",
        ),
        (lambda: linear_probe(FEATURES, CLASSES, True), TypeError, "l2 must be a number"),
        (
            lambda: linear_probe(FEATURES, CLASSES, 1, max_steps=True),
            TypeError,
            "max_steps must be an integer",
        ),
        (lambda: gradual_unfreeze(None, 1, ["head"]), TypeError, "(model|module) must be a Module, got None"),
        (
            lambda: param_groups(MODEL, 0.1, 0.1, head=np.zeros(2)),
            TypeError,
            "head must be a str, got an array",
        ),
        (lambda: unfreeze(MODEL, statistics="False"), TypeError, "statistics must be True or False"),
        (lambda: gradual_unfreeze(MODEL, 1, 3), TypeError, "layers must be a tuple or list, got 3"),
        (lambda: gradual_unfreeze(MODEL, 1, "head"), TypeError, "layers must be a tuple or list, got 'head'"),
        (lambda: lr_sweep(MODEL, PAIR, PAIR, 0.1, epochs=1), ValueError, r"lrs must have shape \(L,\)"),
        (lambda: lr_sweep(MODEL, PAIR, PAIR, None, epochs=1), TypeError, "lrs must be real numbers"),
        (
            lambda: lr_sweep(MODEL, PAIR, PAIR, [1], epochs=1, optimizer=3),
            TypeError,
            "optimizer must be a func",
        ),
        (
            lambda: largest_stable_lr([[1.0], [1.0, 2.0]]),
            ValueError,
            "hessian must be an array, but its rows",
        ),
        (lambda: largest_stable_lr([["a"]]), TypeError, "hessian must be real numbers"),
        (lambda: descend_quadratic(np.eye(1), ["a"], 0.1, 1), TypeError, "start must be real numbers"),
        (lambda: linear_probe(FEATURES, CLASSES * 0, 1), ValueError, r"K >= 2, got \[0\]"),
        (lambda: linear_probe(FEATURES, CLASSES, 1e-9, max_steps=1), RuntimeError, "within 1 steps"),
    ],
)
def test_bad_input_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_refused_argument_leaves_no_hook_behind():
    model = small_cnn(in_channels=3, num_classes=3)
    with pytest.raises(ValueError, match="batch_size"):
        extract_features(model, np.zeros((2, 3, 8, 8), np.float32), "flatten", batch_size=0)
    assert not model.layer("flatten")._hooks


def test_the_head_of_param_groups_is_a_child():
    with pytest.raises(ValueError, match="expected layers with parameters and then the head 'block1.conv'"):
        param_groups(small_cnn(), 1e-4, 1e-1, head="block1.conv")


def test_parameters_outside_the_layers_are_not_lost():
    class Scaled(nn.Module):
        def __init__(self):
            self.scale = nn.Parameter(np.ones(1, np.float32))
            self.head = nn.Linear(2, 2)

    for function in (lambda model: param_groups(model, 0.1, 0.1), lambda model: gradual_unfreeze(model, 9)):
        with pytest.raises(ValueError, match="parameters outside of its children"):
            function(Scaled())


def test_a_sweep_refuses_data_that_no_rate_could_learn_from():
    images, labels = np.full((4, 2), np.nan, np.float32), np.array([0, 1, 0, 1])
    with pytest.raises(FloatingPointError):
        lr_sweep(nn.Linear(2, 2), (images, labels), (images, labels), [0.1], epochs=1)
