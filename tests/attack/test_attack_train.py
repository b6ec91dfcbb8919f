"""Adversarial and noise training: what the model is shown, in which mode, and what stays when it fails."""

from functools import partial

import numpy as np
import pytest
from attacked import affine, batch_of, network
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.attack import adversarial_training, fgsm, noise_training, pgd, robust_accuracy
from minidl.nn.models import mlp
from minidl.train import SGD, Adam, accuracy, fit, predict

TRAIN = batch_of(0, n=20)


def generator():
    return np.random.default_rng(7)


def trained_by(train, **options):
    model = network(1)
    history = train(model, TRAIN, epochs=2, batch_size=8, rng=generator(), **options)
    return model.state_dict(), history


def nothing(model, images, labels, eps):
    return images


def test_with_an_attack_that_does_nothing_it_is_fit_to_the_same_bits():
    ours, theirs = trained_by(adversarial_training, eps=0.1, attack=nothing), trained_by(fit)
    np.testing.assert_equal(ours[0], theirs[0])
    assert ours[1] == theirs[1] and len(ours[1]) == 2 and ours[1].steps == 6


def test_with_eps_0_it_is_fit_to_the_same_bits():
    np.testing.assert_equal(trained_by(adversarial_training, eps=0.0)[0], trained_by(fit)[0])


def test_with_sigma_0_noise_training_gives_what_fit_gives():
    def drawn(images, rng):  # the same draws as noise of size 0
        rng.standard_normal(images.shape, dtype=np.float32)
        return images

    np.testing.assert_equal(trained_by(noise_training, sigma=0.0)[0], trained_by(fit, augment=drawn)[0])


def test_each_batch_is_attacked_by_the_model_of_the_moment_after_its_augmentation():
    model, seen = network(1), []

    def spy(attacked, images, labels, eps):
        seen.append((attacked is model, images.max(), eps, model.state_dict()["head.bias"]))
        return fgsm(attacked, images, labels, eps)

    options = {"augment": lambda images, rng: images / 2, "batch_size": 8, "rng": generator()}
    adversarial_training(model, TRAIN, eps=0.1, attack=spy, epochs=1, **options)
    assert [(same, eps) for same, _, eps, _ in seen] == [(True, 0.1)] * 3
    assert all(largest <= 0.5 for _, largest, *_ in seen)
    first, second, third = (bias for *_, bias in seen)
    assert (first != second).any() and (second != third).any()


def test_the_schedule_counts_the_steps_of_all_epochs():
    for train in (partial(adversarial_training, eps=0.1), partial(noise_training, sigma=0.1)):
        asked = []

        def schedule(step, asked=asked):
            asked.append(step)
            return 0.001 * (step + 1)

        model = network(1)
        optimizer = SGD(model.parameters(), lr=1.0)
        options = {"epochs": 2, "batch_size": 8, "schedule": schedule, "rng": generator()}
        history = train(model, TRAIN, optimizer=optimizer, **options)
        assert asked == [0, 1, 2, 3, 4, 5]
        np.testing.assert_allclose(history.lr, [0.003, 0.006])


def test_a_loss_that_is_not_finite_is_raised_with_the_history_of_the_finished_epochs():
    model, calls = network(1), []

    def then_breaks(model, images, labels, eps):
        calls.append(eps)
        if len(calls) == 5:
            model.head.bias.data[0] = np.nan
        return images

    options = {"epochs": 3, "batch_size": 8, "rng": generator(), "attack": then_breaks}
    with pytest.raises(FloatingPointError, match="loss is nan at step 4") as caught:
        adversarial_training(model.eval(), TRAIN, eps=0.1, **options)
    assert len(caught.value.history) == 1 and caught.value.history.steps == 3
    assert not any(module.training for module in model.modules())


def test_steps_are_made_in_training_mode_whatever_mode_an_attack_leaves():
    model, modes = network(1), []
    model.dropout.register_forward_hook(lambda module, inputs, output: modes.append(module.training))

    def leaves_eval(model, images, labels, eps):
        model.eval()
        return images

    options = {"epochs": 1, "batch_size": 8, "rng": generator(), "attack": leaves_eval}
    adversarial_training(model, TRAIN, eps=0.1, **options)
    assert modes == [False, False, True, True, True]  # the first calls are rehearsals with one image


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda x: None, TypeError, "the result of attack must be a ndarray, got None"),
        (lambda x: (x, x), TypeError, "must be a ndarray"),
        (lambda x: x.astype(str), TypeError, "must be real numbers, .* of <U"),
        (lambda x: x[:1], ValueError, r"must have shape \(20, 2, 4, 4\), got \(1, 2, 4, 4\)"),
        (lambda x: x * np.nan, FloatingPointError, "attack returned are not finite"),
    ],
)
def test_what_is_no_batch_of_attacked_images_is_refused(returned, error, message):
    attack = lambda model, images, labels, eps: returned(images)  # noqa: E731 - one line
    with pytest.raises(error, match=message):
        adversarial_training(network(1), TRAIN, eps=0.1, attack=attack, epochs=1)


def test_noise_comes_after_the_augmentation():
    black, seen = np.zeros((50, 2, 4, 4), np.float32), []
    model = affine(np.ones((3, 32)), np.zeros(3))
    model.register_forward_hook(lambda module, inputs, output: seen.append(np.array(inputs[0])))
    half = lambda images, rng: np.full_like(images, 0.5)  # noqa: E731 - wipes out what came before it
    options = {"epochs": 1, "batch_size": 50, "augment": half, "rng": generator()}
    noise_training(model, (black, np.zeros(50, int)), sigma=0.1, **options)
    assert abs(seen[1].mean() - 0.5) < 0.02 and abs(seen[1].std() - 0.1) < 0.02  # after the rehearsal's


@pytest.mark.parametrize("images", [255 * TRAIN[0], TRAIN[0] - 0.5])
def test_noise_training_refuses_images_that_its_box_would_cut(images):
    with pytest.raises(ValueError, match=r"images must be within \[0, 1\]"):
        noise_training(network(1), (images, TRAIN[1]), sigma=0.1, epochs=1)


def test_the_model_learns_from_what_the_attack_returns():
    # All images become black: only the biases can learn anything, and the weights get no gradient.
    model = affine(np.ones((3, 32)), np.zeros(3))

    def black(model, images, labels, eps):
        return np.zeros_like(images)

    adversarial_training(
        model, TRAIN, eps=0.1, attack=black, epochs=1, optimizer=SGD(model.parameters(), lr=0.1)
    )
    np.testing.assert_array_equal(model.head.weight.data, np.ones((3, 32)))
    assert (model.head.bias.data != 0).any()


@given(sigma=st.sampled_from([0.1, 0.5]))
@settings(max_examples=4)
def test_noise_training_shows_noise_of_sigma_clipped_to_the_box(sigma):
    grey, seen = np.full((100, 2, 4, 4), 0.5, np.float32), []
    model = affine(np.ones((3, 32)), np.zeros(3))
    model.register_forward_hook(lambda module, inputs, output: seen.append(np.array(inputs[0])))
    noise_training(model, (grey, np.zeros(100, int)), sigma=sigma, epochs=1, batch_size=100, rng=generator())
    images = seen[1]  # the first is the rehearsal's
    assert images.min() >= 0 and images.max() <= 1
    inside = (np.abs(images - 0.5) < sigma).mean()
    expected = 0.683 if sigma < 0.5 else (np.abs(images - 0.5) < 0.5).mean()
    assert abs(inside - expected) < 0.03
    clipped = ((images == 0) | (images == 1)).mean()
    assert abs(clipped - (0.317 if sigma == 0.5 else 0.0)) < 0.03


def test_adversarial_training_withstands_more_than_fit_where_a_weak_pixel_tempts():
    # One pixel differs by 0.8 between the classes, 200 others by 0.1 each: FGSM of 0.2 reverses the 200.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    side = 2.0 * labels[:, None] - 1
    images = 0.5 + side * np.concatenate([np.full((400, 1), 0.4), np.full((400, 200), 0.05)], axis=1)
    images = np.clip(images + rng.normal(0, 0.05, images.shape), 0, 1).astype(np.float32)
    plain, hardened = (mlp(201, (), 2, rng=generator()) for _ in range(2))
    for model, train in ((plain, fit), (hardened, partial(adversarial_training, eps=0.2))):
        optimizer = Adam(model.parameters(), lr=0.03)
        train(model, (images, labels), epochs=30, optimizer=optimizer, rng=generator())

    def under(model):
        return robust_accuracy(model, fgsm, images, labels, [0.2]).accuracy[0]

    assert accuracy(predict(plain, images), labels) > 0.99 and under(plain) < 0.5
    assert under(hardened) > 0.9


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_back_in_its_mode_also_after_an_interruption(training):
    calls = []

    def interrupted(model, images, labels, eps):
        calls.append(model.training)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return images

    model = network(1).train(training)
    with pytest.raises(KeyboardInterrupt) as caught:
        adversarial_training(
            model, TRAIN, eps=0.1, attack=interrupted, epochs=3, batch_size=8, rng=generator()
        )
    assert all(module.training == training for module in model.modules())
    assert calls == [True] * 5 and len(caught.value.history) == 1


def test_pgd_draws_its_starts_from_the_rng_it_is_given():
    def run():
        rng, model = generator(), network(1)
        attack = lambda *a: pgd(*a, steps=2, rng=rng)  # noqa: E731 - as the docstring recommends
        adversarial_training(model, TRAIN, eps=0.1, attack=attack, epochs=1, rng=rng)
        return model.state_dict()

    np.testing.assert_equal(run(), run())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"eps": -1}, ValueError, "eps must be finite and at least 0"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"attack": 3}, TypeError, "attack must be a function"),
        ({"augment": 3}, TypeError, "augment must be a function"),
        ({"train": (TRAIN[0], TRAIN[1][:3])}, ValueError, "the same length"),
        ({"train": TRAIN[0]}, TypeError, "train must be a pair"),
        ({"model": 1}, TypeError, "model must be a Module"),
        ({"optimizer": Adam(network(5).parameters())}, ValueError, "none of the model's"),
        ({"rng": 1}, TypeError, "rng must be"),
    ],
)
def test_a_bad_argument_of_adversarial_training_is_named(options, error, message):
    arguments = {"model": network(1), "train": TRAIN, "eps": 0.1, "epochs": 1} | options
    with pytest.raises(error, match=message):
        adversarial_training(arguments.pop("model"), arguments.pop("train"), **arguments)


def test_a_bad_sigma_is_named():
    with pytest.raises(ValueError, match="sigma must be finite and within"):
        noise_training(network(1), TRAIN, sigma=-0.1, epochs=1)


@pytest.mark.parametrize(
    "train", [partial(adversarial_training, eps=0.1), partial(noise_training, sigma=0.1)]
)
def test_a_small_last_batch_can_be_dropped_and_integer_images_are_refused(train):
    assert train(network(1), TRAIN, epochs=1, batch_size=8, drop_last=True).steps == 2
    assert train(network(1), TRAIN, epochs=1, batch_size=8).steps == 3
    with pytest.raises(TypeError, match="must be floats, got uint8: divide pixels"):
        train(network(1), (np.zeros((20, 2, 4, 4), np.uint8), TRAIN[1]), epochs=1)


@pytest.mark.parametrize(
    ("classes", "label", "message"), [(3, 3, "labels must be in 0"), (1, 0, "one logit")]
)
def test_a_wrong_label_is_refused_before_the_first_step(classes, label, message):
    rng = np.random.default_rng(0)
    model, images, labels = mlp(4, 5, classes, rng=rng), rng.random((9, 4)), np.zeros(9, int)
    labels[-1] = label
    before = model.state_dict()
    with pytest.raises(ValueError, match=message):
        adversarial_training(model, (images, labels), eps=0.1, epochs=1, batch_size=2, rng=rng)
    assert all(np.array_equal(value, before[key]) for key, value in model.state_dict().items())
