"""An exercise of lesson 12 on a model: the loop of pruning and learning."""

import copy

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.ex12_pruning_ablation import NEAR, mean_loss, pictures
from minidl.classroom.builders import Built, contents
from minidl.classroom.compare import assert_close, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.compress import masks, prune, scores
from minidl.train.adam import Adam
from minidl.train.evaluation import evaluate
from minidl.train.loop import fit

# ---- 12.5 iterative_prune

loop = Exercise(
    "12.5",
    prune.iterative_prune,
    title="prune and learn while the loss allows",
    helpers=("masked_copy", "finetune"),
    kind="model",
    points=4,
    level=3,
    minutes=40,
    hints=(
        "While the loss is below max_allowed_loss: prune more, finetune, measure. When the loop ends "
        "this way, the last network is above the limit. So keep the network before it.",
        "At the start of a round, store the candidate as the accepted network, and the number of "
        "accepted rounds. masked_copy(network, criterion, amount, x) returns the next candidate, with "
        "amount = k · step. finetune(candidate, train, validation, epochs, lr, rng) trains it and "
        "returns .loss and .accuracy. Then add a row to the history. An EmptyLayerError ends the loop, "
        "and so does an amount of 1. A loss of NaN is not below max_allowed_loss.",
        "while found.loss < max_allowed_loss: model, accepted, k = candidate, len(history) - 1, ...",
    ),
)

KEEPS = "the first loss that is not below the limit ends the loop; the result is the network before it"
LEARNS = "each round trains on, with the weights of the round before; pruned weights stay 0"
SMALL = {"in_features": 4, "hidden": 5, "num_classes": 3}  # 20 and 15 weights


def data(count, seed):
    """Rows of four numbers. The label is the index of the largest of the first three."""
    x = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    return x, x[:, :3].argmax(axis=1)


TRAIN, VALIDATION = data(24, 0), data(16, 1)


def settings(seed=0, **given):
    """The arguments of the loop without the model; the keywords replace some of them."""
    usual = {"train": TRAIN, "validation": VALIDATION, "max_allowed_loss": 9.0, "step": 0.25}
    return {**usual, "finetune_epochs": 0, "lr": 0.01, "rng": np.random.default_rng(seed), **given}


def logits_of(state, x):
    """The logits of an ``mlp`` with one hidden layer, from its state."""
    hidden = np.maximum(np.float64(x) @ state["fc1.weight"].T + state["fc1.bias"], 0)
    return hidden @ state["head.weight"].T + state["head.bias"]


def rows_without_learning(built, step, validation=VALIDATION):
    """(loss, weights) of each round k, in float64: the smallest k · step of all weights become 0."""
    state = {name: np.float64(value) for name, value in built.build().state_dict().items()}
    order = np.sort(np.abs(np.concatenate([state["fc1.weight"].ravel(), state["head.weight"].ravel()])))
    rows, k = [], 0
    while k * step < 1:
        count = round(k * step * len(order))
        limit = order[count - 1] if count else -1.0
        pruned = {name: np.where(np.abs(w) > limit, w, 0) if w.ndim == 2 else w for name, w in state.items()}
        if not (pruned["fc1.weight"].any() and pruned["head.weight"].any()):
            break
        rows.append((mean_loss(logits_of(pruned, validation[0]), validation[1]), pruned))
        k += 1
    return rows


def is_right(found, rows, budget, step):
    """Check the loop without learning against the rows: its network, history and count."""
    model, history, accepted = found
    losses = [loss for loss, _ in rows]
    broken = [k for k, loss in enumerate(losses) if loss >= budget]
    expected = losses[: broken[0] + 1] if broken else losses
    assert_close([row[2] for row in history], expected, **NEAR)
    assert_close([row[0] for row in history], [k * step for k in range(len(expected))])
    right = [logits_of(state, VALIDATION[0]).argmax(axis=1) == VALIDATION[1] for _, state in rows]
    assert_close([row[3] for row in history], [row.mean() for row in right[: len(expected)]])
    assert_equal(accepted, broken[0] - 1 if broken else len(losses) - 1)
    for name in ("fc1.weight", "head.weight"):
        assert_close(model["state"][name], rows[accepted][1][name], **NEAR)


@loop.law("without finetuning and with a high limit, 1/4, 1/2 and 3/4 of 35 weights are pruned")
def worked_loop(iterative_prune):
    built = Built("mlp", seed=3, **SMALL)
    found = iterative_prune(built, **settings())
    assert isinstance(found[1], list), f"the history must be a list, not a {type(found[1]).__name__}"
    is_right(found, rows_without_learning(built, 0.25), 9.0, 0.25)
    # 7 · 0.1 is more than 0.7 in floats, so 25 of 35 weights go
    tenths = rows_without_learning(built, 0.1)
    is_right(iterative_prune(built, **settings(step=0.1)), tenths, 9.0, 0.1)
    assert_close([row[1] for row in found[1]], [0, 9 / 35, 18 / 35, 26 / 35])  # round(8.75), ...
    single = Built("linear", weight=((0.1, 0.0, 0.2, 0.3), (0.0, -0.4, 0.0, 0.5), (0.6, 0.7, 0.8, -0.9)))
    sparse = iterative_prune(single, **settings())[1]
    # three weights are 0 already
    assert_close([row[:2] for row in sparse[:2]], [(0, 3 / 12), (0.25, 3 / 12)])
    train, validation = ((x.astype(np.float64), labels.tolist()) for x, labels in (TRAIN, VALIDATION))
    same = settings(train=train, validation=validation, max_allowed_loss=9)
    assert_close([row[2] for row in iterative_prune(single, **same)[1]], [row[2] for row in sparse], **NEAR)


@loop.law(KEEPS)
@given(seed=st.sampled_from([0, 1, 2]), step=st.sampled_from([0.25, 0.125, 0.3]), allowed=st.integers(0, 2))
def keeps_the_budget(iterative_prune, seed, step, allowed):
    built = Built("mlp", seed=seed, **SMALL)
    rows = rows_without_learning(built, step)
    losses = [loss for loss, _ in rows]
    budget = max(losses[: allowed + 1]) + 1e-3
    is_right(iterative_prune(built, **settings(max_allowed_loss=budget, step=step)), rows, budget, step)


@loop.law("a loss equal to max_allowed_loss is not below it")
def equal_is_not_below(iterative_prune):
    built = Built("mlp", seed=3, **SMALL)
    losses = [row[2] for row in iterative_prune(built, **settings())[1]]
    first = next(k for k, loss in enumerate(losses) if loss > losses[0])
    found = iterative_prune(built, **settings(max_allowed_loss=max(losses[: first + 1])))
    assert_equal((found[2], len(found[1])), (first - 1, first + 1))
    for rounds in (0, first):  # a loss just below it is below it
        just_above = float(np.nextafter(max(losses[: rounds + 1]), 9))
        found = iterative_prune(built, **settings(max_allowed_loss=just_above))
        assert found[2] >= rounds, f"round {rounds} is below the limit, but {found[2]} rounds are accepted"


@loop.law(LEARNS)
def learns(iterative_prune):
    built, rates = Built("mlp", seed=3, **SMALL), {"step": 1 / 16, "lr": 0.02}
    still = iterative_prune(built, **settings(**rates))[1]
    model, history, accepted = iterative_prune(built, **settings(finetune_epochs=3, **rates))
    losses = [row[2] for row in history]
    assert losses[1] < still[1][2], f"the first round ends at {losses[1]}, without learning {still[1][2]}"
    assert_close([row[1] for row in history], [round(35 * k / 16) / 35 for k in range(len(history))])
    four = f"round 1 ends at {losses[1]}, round 6, which has learned six times as long, at {losses[6]}"
    assert losses[6] < losses[1] - 0.05, four
    others = TRAIN[0], (TRAIN[1] + 1) % 3
    misled = iterative_prune(built, **settings(finetune_epochs=3, train=others, **rates))[1]
    assert misled[3][2] > still[3][2], "other labels of the training images do not matter"
    state = model["state"]
    zeros = sum(int((state[name] == 0).sum()) for name in ("fc1.weight", "head.weight"))
    assert_close(zeros / 35, history[accepted][1])
    for name in ("fc1.weight", "head.weight"):
        assert name in model["masks"], f"{name} of the result has no mask, so its zeros would learn again"
        assert_equal(model["masks"][name], state[name] != 0)
    logits = logits_of(state, VALIDATION[0])
    assert_close(mean_loss(logits, VALIDATION[1]), losses[accepted], **NEAR)
    assert_close(history[accepted][3], np.mean(logits.argmax(axis=1) == VALIDATION[1]))


def losses_with_learning(built, train, step, epochs, lr, rng):
    """The loss after each round: the smallest weights get a mask, then come epochs of Adam by ``fit``."""
    model, losses = built.build(), []
    for k in range(1, 4):
        parts = [model.fc1.weight, model.head.weight]
        together = np.sort(np.abs(np.concatenate([p.data.ravel() for p in parts])).astype(np.float64))
        limit = together[round(k * step * len(together)) - 1]
        for p in parts:
            p.mask = np.abs(p.data) > limit
            p.data = np.where(p.mask, p.data, 0)
        if epochs:
            fit(
                model,
                train,
                epochs=epochs,
                optimizer=Adam(model.parameters(), lr=lr),
                rng=rng,
                progress=False,
            )
        losses.append(mean_loss(logits_of(model.state_dict(), VALIDATION[0]), VALIDATION[1]))
    return losses


@loop.law("finetuning is finetune_epochs epochs of Adam at lr, by default 1e-3; all rounds use the same rng")
def as_fit_learns(iterative_prune):
    built, train = Built("mlp", seed=3, **SMALL), data(80, 2)  # two batches of 64, so that rng matters
    frozen = Built("mlp", seed=3, requires_grad=("head",), **SMALL)
    for epochs, lr, seed in ((1, 0.05, 0), (3, 0.05, 1), (2, None, 0), (1, 0.05, 2)):
        built, rng = frozen if seed == 2 else built, np.random.default_rng(seed)
        expected = losses_with_learning(built, train, 0.125, epochs, lr or 1e-3, rng)
        given = settings(seed, train=train, step=0.125, finetune_epochs=epochs, lr=lr)
        if lr is None:
            del given["lr"]
        else:
            given["criterion"] = masks.global_magnitude_masks  # as the default
        found = [row[2] for row in iterative_prune(built, **given)[1]]
        assert_close(found[1:4], expected, rtol=1e-4, atol=1e-6)


@loop.law("if finetuning diverges, the row has a loss and an accuracy of NaN, and the loop ends")
def diverges(iterative_prune):
    built = Built("mlp", seed=3, **SMALL)
    with np.errstate(all="ignore"):
        model, history, accepted = iterative_prune(built, **settings(finetune_epochs=3, lr=1e30))
    assert_equal((accepted, len(history)), (0, 2))
    assert not model["given"], "no round is accepted, but the result is the given model, or has parts of it"
    assert_equal([bool(np.isnan(number)) for number in history[1]], [False, False, True, True])
    assert_close(model["state"]["head.weight"], built.build().head.weight.data)
    late = settings(finetune_epochs=1, lr=3.4e18, max_allowed_loss=1e39)  # a loss of 1e37, and then NaN
    with np.errstate(all="ignore"):
        model, history, accepted = iterative_prune(built, **late)
    assert_equal((accepted, len(history), bool(np.isnan(history[2][2]))), (1, 3, True))
    zeros = sum(int((model["state"][name] == 0).sum()) for name in ("fc1.weight", "head.weight"))
    assert_close(zeros / 35, history[1][1])


@loop.law("a criterion may prune 1, 2, 3 of 4 filters; an emptied layer or an amount of 1 ends the loop")
def by_filters(iterative_prune):
    settings_of_cnn = {"seed": 3, "num_classes": 3, "widths": (4,), "pool_after": ()}
    settings_of_cnn["zeros"] = ("head.weight",)  # these are in the sparsity, although no mask prunes them
    given = settings(train=pictures(4, 0), validation=pictures(5, 1), criterion=scores.filter_masks)
    frozen = {"training": True, "requires_grad": False}
    for how in ({}, frozen, {"training": ("block1",)}, {"training": ("",)}):
        built = Built("small_cnn", **settings_of_cnn, **how)
        model, history, accepted = iterative_prune(built, **given)
        weight = model["state"]["block1.conv.weight"]
        assert_equal((int(weight.any(axis=(1, 2, 3)).sum()), accepted, len(history)), (1, 3, 4))
        x, labels = given["validation"]
        whole, left = built.build().eval(), built.build().eval()
        left.load_state_dict(model["state"])
        losses = [mean_loss(network(x).data, labels) for network in (whole, left)]
        assert_close([history[0][2], history[3][2]], losses, **NEAR)
        zeros = [(array == 0).ravel() for name, array in model["state"].items() if name in TWO_WEIGHTS]
        assert_close(history[3][1], np.concatenate(zeros).mean())
        same_modes(model, built)
    for step, rounds in ((0.45, 1), (0.9, 0), (0.11, 7)):  # 2 of 4, then round(3.6) = 4; round(0.44) = 0
        model, history, accepted = iterative_prune(built, **{**given, "step": step})
        assert_equal((accepted, len(history), model["given"]), (rounds, rounds + 1, False))
    others = settings(criterion=one_unit)  # a round's masks do not repeat those of the rounds before
    found = iterative_prune(Built("mlp", seed=3, **SMALL), **others)[0]
    for array in (found["state"]["fc1.weight"], found["masks"]["fc1.weight"]):
        assert_equal(array.any(axis=1), np.arange(SMALL["hidden"]) > 2)
    learning = {**given, "finetune_epochs": 1, "step": 0.5, "rng": None}  # pruned filters stay 0
    built = Built("small_cnn", **settings_of_cnn, training=("block1",))
    model = iterative_prune(built, **learning)[0]
    same_modes(model, built)
    for name in ("block1.conv.weight", "block1.bn.weight", "block1.bn.bias"):
        left = model["state"][name].reshape(4, -1).any(axis=1)
        assert_equal(int(left.sum()), 2)
        assert name in model["masks"], f"{name} of the result has no mask, so its zeros would learn again"
        assert_equal(model["masks"][name].reshape(4, -1).any(axis=1), left)
    one_size = Built("lenet", num_classes=3, image_size=12)  # this network takes images of one size
    train, validation = pictures(2, 0, (1, 12, 12)), pictures(2, 1, (1, 12, 12))
    found = iterative_prune(
        one_size, **settings(train=train, validation=validation, criterion=first_filter, step=0.5)
    )
    assert_equal(found[2], 1)
    for step, rounds in ((0.25, 3), (0.3, 3), (0.5, 1), (0.6, 1), (1 / 3, 2), (0.1, 9), (0.02, 49)):
        unending = settings(step=step, criterion=first_unit)
        history = iterative_prune(Built("mlp", seed=3, **SMALL), **unending)[1]
        assert_close([row[0] for row in history], [k * step for k in range(rounds + 1)])


TWO_WEIGHTS = "block1.conv.weight", "head.weight"  # of a small_cnn with one block


def same_modes(model, built):
    """Check that each part of the result is in the mode of the given model, and learns if that does."""
    given = contents(built.build())
    for name in ("training", "other_mode", "requires_grad"):
        assert_equal(model[name], given[name])


def first_unit(network, share):
    """A criterion that never finds a layer empty: it prunes the first unit, whatever the share is."""
    return {"fc1": np.arange(SMALL["hidden"]) > 0}


def one_unit(network, share):
    """A criterion that prunes one unit in each round of 1/4, and not those of the rounds before."""
    return {"fc1": np.arange(SMALL["hidden"]) != round(4 * share) - 1}


def first_filter(network, share):
    """A criterion that prunes the first of a lenet's six filters. A law never sees the network."""
    return {"conv1": np.arange(6) > 0}


@loop.law(
    "a model that is not below the limit is refused with a ValueError, and so is a criterion that gives no "
    "masks or raises a ValueError"
)
def refuses(iterative_prune):
    built = Built("mlp", seed=3, training=True, **SMALL)  # which it stays
    loss = iterative_prune(built, **settings())[1][0][2]
    for budget in (loss, loss / 2):
        what = f"a network with the loss {loss} and the budget {budget}"
        assert_refuses(what, iterative_prune, built, **settings(max_allowed_loss=budget))
    for what, criterion in (
        ("gives no masks", no_masks),
        ("gives no masks in round 2", no_more_masks),
        ("raises a ValueError", cannot_choose),
    ):
        what = f"a criterion that {what}"
        assert_refuses(what, iterative_prune, built, **settings(criterion=criterion))
    try:
        iterative_prune(built, **settings(criterion=diverges_itself))
    except FloatingPointError:
        return
    raise AssertionError("a FloatingPointError of the criterion was not raised again")


def no_masks(network, share):
    return {}


def no_more_masks(network, share):
    return first_unit(network, share) if share == 0.25 else {}


def diverges_itself(network, share):
    raise FloatingPointError("the criterion's own gradient is not finite")


def cannot_choose(network, share):
    raise ValueError("this network has no such layer")


def rounds(
    model,
    train,
    validation,
    max_allowed_loss,
    step,
    finetune_epochs,
    criterion=masks.global_magnitude_masks,
    lr=1e-3,
    rng=None,
    *,
    prunes=lambda whole, last, k: (last, k),
    breaks=lambda loss, budget: not loss < budget,
    measured_on=None,
    keeps_masks=True,
):
    """The base of the mistakes. prunes: the network that a round masks, and the number of its steps.

    Returns the networks, the history, and the number of accepted rounds.
    """
    prune.iterative_prune(
        model,
        train,
        validation,
        max_allowed_loss=max_allowed_loss,
        step=0.9,
        finetune_epochs=0,
        criterion=criterion,
    )  # refuses bad input
    measured_on = measured_on or validation
    networks, found = [copy.deepcopy(model)], evaluate(model, *measured_on)
    history, accepted = [prune.PruneStep(0.0, masks.sparsity(model), *found[::-1])], 0
    for k in range(1, int(np.ceil(1 / step))):
        if breaks(history[-1][2], max_allowed_loss):
            break
        accepted = k - 1
        base, steps = prunes(model, networks[-1], k)
        try:
            networks.append(prune.masked_copy(base, criterion, steps * step, train[0][:1]))
        except masks.EmptyLayerError:
            break
        for parameter in () if keeps_masks else networks[-1].parameters():
            parameter.mask = None
        found = prune.finetune(networks[-1], train, measured_on, finetune_epochs, lr, rng)
        history.append(prune.PruneStep(k * step, masks.sparsity(networks[-1]), *found[::-1]))
    if not breaks(history[-1][2], max_allowed_loss):
        accepted = len(history) - 1
    return networks, history, accepted


@loop.mistake("returned the network that is above the limit", breaks=KEEPS)
def the_broken_one(*given, **params):
    networks, history, accepted = rounds(*given, **params)
    return prune.PruneResult(networks[len(history) - 1], history, accepted)


@loop.mistake(
    "masked the original network in each round: what the earlier rounds learned is lost", breaks=LEARNS
)
def always_from_the_whole(*given, **params):
    networks, history, accepted = rounds(*given, **params, prunes=lambda whole, last, k: (whole, k))
    return prune.PruneResult(networks[accepted], history, accepted)


@loop.mistake(
    "used the same amount in every round, which prunes the same weights again", breaks=loop.laws[0].text
)
def same_share(*given, **params):
    networks, history, accepted = rounds(*given, **params, prunes=lambda whole, last, k: (last, 1))
    return prune.PruneResult(networks[accepted], history, accepted)


@loop.mistake("measured the loss on the training images", breaks=loop.laws[0].text)
def on_training_images(model, train, validation, **params):
    networks, history, accepted = rounds(model, train, validation, **params, measured_on=train)
    return prune.PruneResult(networks[accepted], history, accepted)


@loop.mistake("set weights to 0 without a mask, so training changes them again", breaks=LEARNS)
def zeros_learn(*given, **params):
    networks, history, accepted = rounds(*given, **params, keeps_masks=False)
    return prune.PruneResult(networks[accepted], history, accepted)


@loop.mistake("never finetuned", breaks=LEARNS)
def never_learns(*given, **params):
    networks, history, accepted = rounds(*given, **{**params, "finetune_epochs": 0})
    return prune.PruneResult(networks[accepted], history, accepted)


@loop.mistake(
    "continued when the loss equals max_allowed_loss",
    breaks="a loss equal to max_allowed_loss is not below it",
)
def at_most(*given, **params):
    networks, history, accepted = rounds(*given, **params, breaks=lambda loss, budget: not loss <= budget)
    return prune.PruneResult(networks[accepted], history, accepted)


@loop.mistake(
    "stopped only if loss >= max_allowed_loss, which is false for NaN",
    breaks="if finetuning diverges, the row has a loss and an accuracy of NaN, and the loop ends",
)
def nan_goes_on(*given, **params):
    networks, history, accepted = rounds(*given, **params, breaks=lambda loss, budget: loss >= budget)
    return prune.PruneResult(networks[accepted], history, accepted)
