"""fit and evaluate: the loop itself, and what it does when it is stopped."""

import functools
import io
import math
import sys

import numpy as np
import pytest

import minidl
import minidl.nn as nn
import minidl.nn.functional as F
from minidl.data import batches
from minidl.nn import models
from minidl.train import SGD, Adam, History, checkpoint, evaluate, fit
from minidl.train.evaluation import best_epoch, out_of_patience
from minidl.train.loop import progress_bar
from minidl.train.schedules import cosine


def blobs(n=60, seed=0):
    """Three well separated clouds in the plane."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.array([[0, 4], [4, -4], [-4, -4]])
    return (centres[labels] + rng.normal(size=(n, 2))).astype(np.float32), labels


def network(seed=0):
    return models.mlp(2, 8, 3, rng=np.random.default_rng(seed))


def with_all_kinds_of_state(seed=0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Linear(2, 8, rng=rng), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 3, rng=rng)
    )


def jitter(images, rng):
    return images + rng.normal(size=images.shape).astype(np.float32)


def bits(model):
    return {key: value.tobytes() for key, value in model.state_dict().items()}


def test_fit_learns_what_can_be_learned():
    model = network()
    history = fit(
        model, blobs(), blobs(seed=1), epochs=20, batch_size=16, optimizer=Adam(model.parameters(), 0.03)
    )
    assert history.test_accuracy[-1] == 1.0 and history.train_accuracy[-1] == 1.0
    assert history.train_loss[-1] < 0.1 < history.train_loss[0]


def test_fit_is_the_loop_that_one_would_write():
    train, schedule = blobs(), cosine(0.1, 0.0, 12)
    by_hand, rng, step = network(), np.random.default_rng(5), 0
    optimizer = SGD(by_hand.parameters(), 0.1, momentum=0.9)
    for _ in range(3):
        for images, labels in batches(*train, 16, rng=rng, augment=jitter):
            optimizer.lr = schedule(step)
            optimizer.zero_grad()
            F.cross_entropy(by_hand(images), labels).backward()
            optimizer.step()
            step += 1

    model = network()
    history = fit(
        model,
        train,
        epochs=3,
        batch_size=16,
        optimizer=SGD(model.parameters(), 0.1, momentum=0.9),
        schedule=schedule,
        augment=jitter,
        rng=np.random.default_rng(5),
    )
    assert bits(model) == bits(by_hand)
    assert history.steps == step == 12 and history.lr == [schedule(3), schedule(7), schedule(11)]
    assert len(history) == 3 and history.test_accuracy == history.test_loss == []


def test_the_default_optimizer_is_adam_at_3e_3():
    a, b = network(), network()
    fit(a, blobs(), epochs=2, rng=np.random.default_rng(0))
    fit(b, blobs(), epochs=2, rng=np.random.default_rng(0), optimizer=Adam(b.parameters(), lr=3e-3))
    assert bits(a) == bits(b)


def test_the_numbers_of_an_epoch_are_means_over_its_images():
    model = nn.Linear(2, 3)
    model.load_state_dict({"weight": np.zeros((3, 2)), "bias": np.zeros(3)})
    optimizer = SGD(model.parameters(), 0.0)  # stands still
    history = fit(model, blobs(50), blobs(9), epochs=1, batch_size=16, optimizer=optimizer)
    assert np.isclose(history.train_loss[0], math.log(3)) and np.isclose(history.test_loss[0], math.log(3))
    assert np.isclose(history.train_accuracy[0], 17 / 50)  # class 0 wins all ties
    assert history.test_accuracy[0] == 3 / 9


def test_another_loss_and_rows_of_probabilities_can_be_trained_on():
    images, labels = blobs()
    model = network()
    smoothed = functools.partial(F.cross_entropy, label_smoothing=0.1)
    optimizer = Adam(model.parameters(), 0.03)
    history = fit(
        model, (images, F.one_hot(labels, 3)), blobs(), epochs=20, optimizer=optimizer, loss=smoothed
    )
    assert history.test_accuracy[-1] == 1.0
    assert history.train_loss[-1] > 0.3  # the entropy of the smoothed target is a lower bound


def test_a_gradient_longer_than_max_grad_norm_is_clipped():
    model = network()
    before = np.concatenate([p.data.ravel() for p in model.parameters()])
    optimizer = SGD(model.parameters(), 1.0)
    fit(model, blobs(), epochs=1, batch_size=60, optimizer=optimizer, max_grad_norm=0.01)
    after = np.concatenate([p.data.ravel() for p in model.parameters()])
    assert np.isclose(np.linalg.norm(after - before), 0.01, rtol=1e-3)


def test_drop_last_leaves_out_the_small_batch():
    model = network()
    assert fit(model, blobs(50), epochs=1, batch_size=16).steps == 4
    assert fit(model, blobs(50), epochs=1, batch_size=16, drop_last=True).steps == 3


def test_frozen_parameters_stay_as_they_were():
    model = network()
    for parameter in model.layer("fc1").parameters():
        parameter.requires_grad_(False)
    before = bits(model)
    fit(model, blobs(), epochs=2, optimizer=SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.1))
    changed = {key for key, value in bits(model).items() if value != before[key]}
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.parametrize("test", [None, blobs(9)])
def test_every_module_is_back_in_its_mode(test):
    model = with_all_kinds_of_state().eval()
    model.layer("2").train()
    fit(model, blobs(), test, epochs=1)
    assert [name for name, module in model.named_modules() if module.training] == ["2"]


def test_training_is_in_training_mode_and_measuring_in_evaluation_mode():
    seen = []
    model = nn.Sequential(nn.Identity(), nn.Linear(2, 3))
    model[0].register_forward_hook(lambda module, inputs, output: seen.append((module.training, len(output))))
    fit(model.eval(), blobs(60), blobs(9), epochs=2, batch_size=60)
    # first the rehearsal with one image of each set
    assert seen == [(False, 1)] * 2 + [(True, 60), (False, 9)] * 2


# ---- best epoch and patience


def history_of(*losses, metrics=()):
    return History(test_loss=list(losses), test_metric=list(metrics), lr=[0.1] * len(losses))


def test_the_best_epoch_is_the_first_of_lowest_test_loss_or_of_highest_metric():
    assert best_epoch(history_of(1.0, 0.4, 0.3, 0.3, 0.5)) == 2
    assert best_epoch(history_of(1.0, 0.4, 0.3, 0.3, 0.5, metrics=[0.1, 0.9, 0.2, 0.9, 0.3])) == 1


def test_a_loss_or_metric_that_is_nan_is_the_worst():
    assert best_epoch(history_of(math.nan, 0.4, math.nan)) == 1
    assert best_epoch(history_of(1.0, 1.0, 1.0, metrics=[math.nan, -5.0, math.nan])) == 1


def test_patience_counts_epochs_since_the_best():
    results = [1.0, 0.3, 0.4, 0.5]
    assert not out_of_patience(history_of(*results), None)
    assert not out_of_patience(history_of(*results), 3)
    assert out_of_patience(history_of(*results), 2)
    assert not out_of_patience(History(), 1)


def test_fit_stops_when_nothing_improves():
    model = network()
    history = fit(model, blobs(), blobs(9), epochs=50, patience=3, optimizer=SGD(model.parameters(), 0.0))
    assert len(history) == 4


def test_keep_best_leaves_the_model_of_the_best_epoch():
    model, test, calls = network(), blobs(300, seed=3), []

    def learn_then_unlearn(images, rng):
        calls.append(1)
        return images if len(calls) <= 12 else -images

    settings = {"optimizer": Adam(model.parameters(), 0.03), "augment": learn_then_unlearn, "keep_best": True}
    history = fit(model, blobs(), test, epochs=8, batch_size=16, **settings)
    best = best_epoch(history)
    assert best == 2 and history.test_accuracy[best] > history.test_accuracy[-1] + 0.1
    assert evaluate(model, *test) == (history.test_accuracy[best], history.test_loss[best])


# ---- stopping and going on


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_resumed_training_ends_in_the_same_bits(tmp_path, stop_after):
    def run(model, epochs, rng, **settings):
        return fit(
            model,
            blobs(),
            blobs(30, seed=2),
            epochs=epochs,
            batch_size=16,
            optimizer=Adam(model.parameters(), 0.1),
            schedule=cosine(0.1, 0.0, 24),
            augment=jitter,
            keep_best=True,
            rng=rng,
            **settings,
        )

    minidl.manual_seed(0)  # Dropout draws from the default generator
    straight = with_all_kinds_of_state()
    expected = run(straight, 6, np.random.default_rng(1))

    minidl.manual_seed(0)
    run(with_all_kinds_of_state(), stop_after, np.random.default_rng(1), checkpoint=tmp_path / "c.npz")
    minidl.manual_seed(77)
    resumed = with_all_kinds_of_state(seed=9)
    history = run(resumed, 6, np.random.default_rng(8), checkpoint=tmp_path / "c.npz")
    assert history == expected and bits(resumed) == bits(straight)

    again = with_all_kinds_of_state(seed=4)  # nothing left to do
    assert run(again, 6, np.random.default_rng(3), checkpoint=tmp_path / "c.npz") == expected
    assert bits(again) == bits(straight)

    untouched, before = with_all_kinds_of_state(seed=4), bits(with_all_kinds_of_state(seed=4))
    with pytest.raises(ValueError, match="c.npz holds 6 epochs, but epochs is 2: give at least as many"):
        run(untouched, 2, np.random.default_rng(3), checkpoint=tmp_path / "c.npz")
    assert bits(untouched) == before


def test_an_early_stop_is_not_undone_by_the_checkpoint(tmp_path):
    for _ in range(2):
        model = network()
        optimizer = SGD(model.parameters(), 0.0)
        settings = {"patience": 2, "optimizer": optimizer, "checkpoint": tmp_path / "c.npz"}
        assert len(fit(model, blobs(), blobs(9), epochs=9, **settings)) == 3


def stopping(error, at_call):
    calls = []

    def augment(images, rng):
        calls.append(1)
        if len(calls) == at_call:
            raise error
        return images

    return augment


@pytest.mark.parametrize("at_call, epochs_done", [(2, 0), (7, 1), (12, 2)])
def test_ctrl_c_passes_through_with_the_finished_epochs_and_leaves_a_model_that_goes_on(
    tmp_path, at_call, epochs_done
):
    path = tmp_path / "c.npz"
    model = with_all_kinds_of_state().eval()
    augment = stopping(KeyboardInterrupt(), at_call)
    with pytest.raises(KeyboardInterrupt) as error:
        fit(model, blobs(), blobs(9), epochs=5, batch_size=16, augment=augment, checkpoint=path)
    history = error.value.history
    assert len(history) == epochs_done
    lists = (history.train_loss, history.train_accuracy, history.test_loss, history.test_accuracy)
    assert [len(numbers) for numbers in lists] == [epochs_done] * 4
    assert not any(module.training for module in model.modules())
    assert path.exists() == (epochs_done > 0)
    history = fit(model, blobs(), blobs(9), epochs=5, batch_size=16, checkpoint=path)
    assert len(history) == 5


def test_ctrl_c_while_measuring_drops_the_epoch():
    calls = []

    def loss(logits, labels):
        calls.append(1)
        if len(calls) == 6:  # two rehearsals, two epochs of one batch and one evaluation each
            raise KeyboardInterrupt
        return F.cross_entropy(logits, labels)

    with pytest.raises(KeyboardInterrupt) as error:
        fit(network(), blobs(), blobs(9), epochs=5, batch_size=60, loss=loss)
    assert len(error.value.history) == len(error.value.history.train_loss) == 1


def test_ctrl_c_while_an_epoch_is_written_down_drops_it(monkeypatch):
    def add(self, trained, tested, lr, steps):
        self.train_loss.append(trained["loss"])
        raise KeyboardInterrupt

    monkeypatch.setattr(History, "add", add)
    with pytest.raises(KeyboardInterrupt) as error:
        fit(network(), blobs(), epochs=2)
    assert error.value.history == History()


def test_ctrl_c_keeps_the_best_where_that_was_asked_for():
    model, test = network(), blobs(90, seed=3)
    augment = stopping(KeyboardInterrupt(), 10)
    with pytest.raises(KeyboardInterrupt) as error:
        fit(model, blobs(), test, epochs=5, batch_size=16, augment=augment, keep_best=True)
    history = error.value.history
    assert evaluate(model, *test).loss == history.test_loss[best_epoch(history)]


def test_any_other_error_comes_through_and_the_mode_is_restored():
    model = network().eval()
    with pytest.raises(RuntimeError, match="broken"):
        fit(model, blobs(), epochs=2, augment=stopping(RuntimeError("broken"), 2))
    assert not any(module.training for module in model.modules())


def test_a_loss_that_is_not_finite_is_an_error_before_the_step():
    images, labels = blobs()
    model = network().eval()
    before = []

    def augment(batch, rng):
        before.append(bits(model))
        return batch

    def loss(logits, labels):
        return F.cross_entropy(logits, labels) * (np.nan if len(before) == 6 else 1)

    with pytest.raises(
        FloatingPointError, match=r"the loss is nan at step 5 with lr 0\.003.*lower lr"
    ) as error:
        fit(model, (images, labels), epochs=5, batch_size=16, augment=augment, loss=loss)
    assert bits(model) == before[-1]
    assert len(error.value.history) == len(error.value.history.train_loss) == 1
    assert not any(module.training for module in model.modules())


def test_images_that_are_not_finite_are_named_as_the_cause_of_the_loss():
    images, labels = blobs()
    images[3, 0] = np.nan
    with pytest.raises(FloatingPointError, match="at step 0 .* not made. The images of .* NaN or infinity"):
        fit(network(), (images, labels), epochs=1, batch_size=len(images))


def test_a_diverging_model_is_an_error_when_it_is_measured():
    model = nn.Linear(2, 3)
    model.weight.data = np.full((3, 2), np.nan, np.float32)
    with pytest.raises(FloatingPointError, match="logits are not finite"):
        evaluate(model, *blobs())


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_shown_only_on_a_terminal_and_only_if_wanted(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress_bar(3, 0, progress=True).disable
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert progress_bar(3, 0, progress=False).disable
    with progress_bar(3, 1, progress=True) as bar:
        assert not bar.disable and bar.total == 3 and bar.n == 1


def test_a_short_training_writes_nothing_even_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    fit(network(), blobs(), epochs=1)
    assert terminal.getvalue() == ""


# ---- evaluate


def test_evaluate_by_hand():
    logits = np.log(np.array([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]], np.float32))
    result = evaluate(nn.Identity(), logits, np.array([0, 1, 1]), batch_size=2)
    assert np.isclose(result.accuracy, 2 / 3)
    assert np.isclose(result.loss, -(math.log(0.5) + math.log(0.75) + math.log(0.1)) / 3)
    assert isinstance(result.loss, float)


def test_evaluate_does_not_depend_on_the_batch_size_and_builds_no_graph():
    model = with_all_kinds_of_state()
    results = [evaluate(model, *blobs(50), batch_size=n) for n in (7, 50, 256)]
    assert np.allclose(results, results[0])
    assert all(p.grad is None for p in model.parameters()) and model.training


# ---- bad input


def run(**settings):
    return fit(**{"model": network(), "train": blobs(), "epochs": 1, **settings})


@pytest.mark.parametrize(
    "attempt, error, message",
    [
        (lambda path: run(model=np.tanh), TypeError, "model must be a Module, got <ufunc 'tanh'>"),
        (
            lambda path: run(train=blobs()[0]),
            TypeError,
            r"train must be a pair \(images, labels\), got an array",
        ),
        (
            lambda path: run(train=(blobs()[0], [1, 2])),
            ValueError,
            r"train must have the same length .* got \(60, 2\) and \(2,\)",
        ),
        (lambda path: run(train=(blobs()[0][:0], [])), ValueError, "train must have .* not be empty"),
        (lambda path: run(test=(1, 2)), ValueError, "test must have"),
        (lambda path: run(train=(blobs()[0], blobs()[1] + 1)), ValueError, "labels must be in 0 ... 2"),
        (lambda path: run(epochs=0), ValueError, "epochs must be at least 1"),
        (lambda path: run(epochs=1.5), TypeError, "epochs must be an integer"),
        (lambda path: run(batch_size=0), ValueError, "batch_size must be at least 1"),
        (
            lambda path: run(batch_size=64, drop_last=True),
            ValueError,
            "drop_last leaves no batch of 64 from 60",
        ),
        (lambda path: run(optimizer="adam"), TypeError, "optimizer must be an Optimizer, got 'adam'"),
        (lambda path: run(schedule=0.1), TypeError, "schedule must be a function of the step, got 0.1"),
        (lambda path: run(schedule=lambda step: -1.0), ValueError, "lr must be finite and at least 0"),
        (
            lambda path: run(loss=lambda logits, labels: logits),
            ValueError,
            r"a Tensor of one number for a batch, got Tensor\(\(60, 3\)",
        ),
        (lambda path: run(loss=lambda logits, labels: 0.5), ValueError, "a Tensor of one number .* got 0.5"),
        (lambda path: run(loss=None), TypeError, "loss must be a function of logits and labels, got None"),
        (lambda path: run(augment=5), TypeError, "augment must be a function of images and rng, got 5"),
        (
            lambda path: run(optimizer=Adam(network().parameters())),
            ValueError,
            "holds none of the model's 4 trainable parameters",
        ),
        (
            lambda path: fit(network().requires_grad_(False), blobs(), epochs=1),
            ValueError,
            "all parameters of the model are frozen",
        ),
        (lambda path: run(max_grad_norm=0), ValueError, "max_grad_norm must be above 0"),
        (lambda path: run(patience=2), ValueError, "need a test set: give a test"),
        (lambda path: run(keep_best=True), ValueError, "need a test set: give a test"),
        (lambda path: run(patience=0, test=blobs()), ValueError, "patience must be at least 1"),
        (lambda path: run(rng=0), TypeError, "rng must be a np.random.Generator"),
        (
            lambda path: evaluate(network(), blobs()[0], blobs()[1][:5]),
            ValueError,
            "images and labels must have the same length",
        ),
        (
            lambda path: evaluate(network(), *blobs(), batch_size=0),
            ValueError,
            "batch_size must be at least 1",
        ),
        (lambda path: evaluate(np.tanh, *blobs()), TypeError, "model must be a Module"),
    ],
)
def test_bad_input_is_refused_in_words(tmp_path, attempt, error, message):
    with pytest.raises(error, match=message):
        attempt(tmp_path)


@pytest.mark.parametrize(
    "settings, error, message",
    [
        (lambda path: {"checkpoint": path / "none" / "c.npz"}, FileNotFoundError, "no folder .*none for the"),
        (lambda path: {"test": (np.zeros((9, 5)), blobs(9)[1])}, ValueError, r"\(1, 5\)"),
        (lambda path: {"test": (blobs(9)[0], blobs(9)[1] + 1)}, ValueError, "labels must be in 0 ... 2"),
        (lambda path: {"test": (blobs(9)[0], np.zeros(9))}, TypeError, "labels must be integers"),
    ],
)
def test_what_is_wrong_with_the_test_set_or_the_folder_shows_before_any_training(
    tmp_path, settings, error, message
):
    model = network()
    before = bits(model)
    with pytest.raises(error, match=message):
        run(model=model, **settings(tmp_path))
    assert bits(model) == before


@pytest.mark.parametrize(
    "change, message",
    [
        ({"batch_size": 20}, "batch_size: 30 before, 20 now"),
        ({"train": blobs(50)}, "images: 60 before, 50 now"),
        ({"test": None}, "test images: 9 before, 0 now"),
        ({"max_grad_norm": 1.0}, "max_grad_norm: None before, 1.0 now"),
        ({"make": functools.partial(Adam, lr=0.01)}, "lr of group 0: 0.1 before, 0.01 now"),
        ({"make": functools.partial(SGD, lr=0.1)}, "optimizer: 'Adam' before, 'SGD' now"),
    ],
)
def test_a_training_does_not_go_on_with_other_settings(tmp_path, change, message):
    adam = functools.partial(Adam, lr=0.1)

    def attempt(make=adam, **settings):
        model = network()
        defaults = {"batch_size": 30, "test": blobs(9), "epochs": 2, "checkpoint": tmp_path / "c.npz"}
        schedule = cosine(0.1, 0.0, 8)  # the present lr is no setting
        optimizer = make(model.parameters())
        return run(**{**defaults, "model": model, "optimizer": optimizer, "schedule": schedule, **settings})

    attempt()
    assert len(attempt(epochs=3)) == 3
    with pytest.raises(ValueError, match=message):
        attempt(**change)


def test_keep_best_knows_the_best_of_a_run_that_did_not_ask_for_it(tmp_path):
    test, calls = blobs(300, seed=3), []

    def learn_then_unlearn(images, rng):
        calls.append(1)
        return images if len(calls) <= 12 else -images

    def attempt(epochs, keep_best):
        model = network()
        optimizer = Adam(model.parameters(), 0.03)
        settings = {"optimizer": optimizer, "augment": learn_then_unlearn, "checkpoint": tmp_path / "c.npz"}
        history = fit(model, blobs(), test, epochs=epochs, batch_size=16, keep_best=keep_best, **settings)
        return model, history

    attempt(5, keep_best=False)
    model, history = attempt(7, keep_best=True)
    best = best_epoch(history)
    assert best == 2 and evaluate(model, *test).accuracy == history.test_accuracy[best]


def test_a_checkpoint_that_fit_did_not_write_is_refused_and_changes_nothing(tmp_path):
    model, other = network(), network(seed=1)
    checkpoint.save(
        tmp_path / "c.npz", model, optimizer=Adam(model.parameters()), rng=np.random.default_rng(0)
    )
    before = bits(other)
    with pytest.raises(ValueError, match="not one of fit"):
        run(model=other, checkpoint=tmp_path / "c.npz")
    assert bits(other) == before


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    run(checkpoint=tmp_path / "c.npz")
    with pytest.raises(ValueError, match="wrong shape: fc1.weight"):
        run(model=models.mlp(2, 9, 3), checkpoint=tmp_path / "c.npz")
