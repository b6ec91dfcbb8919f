"""The contrastive loss by hand and by its laws; views; the training loop; same or not."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
import minidl.nn as nn
from minidl import Tensor, grad
from minidl.data import compose, gaussian_noise, horizontal_flip
from minidl.engine.gradcheck import gradcheck
from minidl.engine.tensor import apply
from minidl.train import Adam, History, roc_auc
from minidl.transfer.contrastive import (
    ProjectionHead,
    UnitRows,
    nt_xent,
    partners_found,
    same_or_not,
    train_simclr,
    two_views,
)
from minidl.transfer.finetune import freeze

temperatures = st.sampled_from([0.1, 0.2, 0.5, 1.0, 5.0])


@st.composite
def views(draw, max_rows=4, max_dims=4):
    """Embeddings of two views: normal numbers (N, D) each, so no zero row."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, max_rows)), draw(st.integers(2, max_dims))
    return rng.normal(size=shape), rng.normal(size=shape)


def value_and_gradients(z1, z2, temperature):
    z1, z2 = Tensor(z1, requires_grad=True), Tensor(z2, requires_grad=True)
    loss = nt_xent(z1, z2, temperature)
    return loss.item(), *grad(loss, [z1, z2])


def by_definition(z1, z2, temperature):
    """nt_xent as its formula says it, in loops."""
    z = [row / math.hypot(*row) for row in [*z1, *z2]]
    n, losses = len(z1), []
    for i in range(2 * n):
        p = i + n if i < n else i - n
        weights = {k: math.exp(float(z[i] @ z[k]) / temperature) for k in range(2 * n) if k != i}
        losses.append(-math.log(weights[p] / sum(weights.values())))
    return sum(losses) / len(losses)


# ---- the loss by hand


def test_a_float64_view_keeps_the_other_view_in_float64():
    one, other = np.random.default_rng(0).normal(size=(2, 3, 4))
    both = nt_xent(Tensor(one), Tensor(other), temperature=0.5).item()
    assert nt_xent(Tensor(one), other, temperature=0.5).item() == both
    assert nt_xent(one, Tensor(other), temperature=0.5).item() == both


def test_two_images_at_a_right_angle_by_hand():
    z1, z2 = (
        [[1.0, 0.0], [0.0, 1.0]],
        [[3.0, 0.0], [0.0, 0.5]],
    )  # partners have one direction, the others are at 90 degrees
    for T in (0.5, 1.0):
        e = math.exp(1 / T)
        assert nt_xent(z1, z2, T).item() == pytest.approx(-math.log(e / (e + 2)), rel=1e-6)


def test_partners_at_a_right_angle_and_strangers_alike_by_hand():
    z1, z2 = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    loss = nt_xent(Tensor(z1), Tensor(z2), 1.0).item()
    assert loss == pytest.approx(math.log(math.e + 2), rel=1e-12)  # -log(1 / (e + 2))


@given(pair=views(), T=temperatures)
def test_the_loss_is_the_one_of_the_formula_and_not_negative(pair, T):
    loss, _, _ = value_and_gradients(*pair, T)
    assert loss == pytest.approx(by_definition(*pair, T), rel=1e-9, abs=1e-12)
    assert loss >= 0


@given(pair=views(3, 3), T=st.sampled_from([0.2, 1.0]))
def test_the_gradient_is_the_one_of_finite_differences(pair, T):
    assert gradcheck(lambda a, b: nt_xent(a, b, T), *pair) < 1e-4


# ---- the loss by its laws


@given(pair=views(), T=temperatures)
def test_swapping_the_views_changes_nothing(pair, T):
    loss, grad1, grad2 = value_and_gradients(*pair, T)
    swapped, swapped1, swapped2 = value_and_gradients(*pair[::-1], T)
    assert swapped == pytest.approx(loss, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(swapped1, grad2, atol=1e-12)
    np.testing.assert_allclose(swapped2, grad1, atol=1e-12)


@given(pair=views(), T=temperatures, seed=st.integers(0, 99))
def test_the_order_of_the_images_does_not_matter(pair, T, seed):
    order = np.random.default_rng(seed).permutation(len(pair[0]))
    loss, grad1, grad2 = value_and_gradients(*pair, T)
    permuted, permuted1, permuted2 = value_and_gradients(pair[0][order], pair[1][order], T)
    assert permuted == pytest.approx(loss, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(permuted1, grad1[order], atol=1e-12)
    np.testing.assert_allclose(permuted2, grad2[order], atol=1e-12)


@given(pair=views(), T=temperatures, seed=st.integers(0, 99))
def test_turning_all_embeddings_turns_the_gradient_and_leaves_the_loss(pair, T, seed):
    dims = pair[0].shape[1]
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dims, dims)))
    loss, grad1, grad2 = value_and_gradients(*pair, T)
    turned, turned1, turned2 = value_and_gradients(pair[0] @ turn, pair[1] @ turn, T)
    assert turned == pytest.approx(loss, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(turned1, grad1 @ turn, atol=1e-9)
    np.testing.assert_allclose(turned2, grad2 @ turn, atol=1e-9)


@given(pair=views(), T=temperatures, seed=st.integers(0, 99))
def test_the_length_of_an_embedding_does_not_matter_and_divides_its_gradient(pair, T, seed):
    lengths = 10 ** np.random.default_rng(seed).uniform(-2, 2, size=(len(pair[0]), 1))
    loss, grad1, grad2 = value_and_gradients(*pair, T)
    longer, longer1, longer2 = value_and_gradients(pair[0] * lengths, pair[1], T)
    assert longer == pytest.approx(loss, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(longer1 * lengths, grad1, atol=1e-9)
    np.testing.assert_allclose(longer2, grad2, atol=1e-9)


@given(pair=views(), T=temperatures)
def test_no_gradient_points_along_its_own_embedding(pair, T):
    _, grad1, grad2 = value_and_gradients(*pair, T)
    for z, g in zip(pair, (grad1, grad2), strict=True):
        np.testing.assert_allclose((z * g).sum(axis=1), 0, atol=1e-12)


@given(n=st.integers(1, 20), T=temperatures)
def test_equal_embeddings_cost_the_logarithm_of_the_number_of_others(n, T):
    z = np.tile([0.6, -0.8, 2.0], (n, 1))
    loss, grad1, grad2 = value_and_gradients(z, z, T)
    assert loss == pytest.approx(math.log(2 * n - 1), rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(grad1, 0, atol=1e-12)
    np.testing.assert_allclose(grad2, 0, atol=1e-12)


@given(pair=views(max_rows=1), T=temperatures)
def test_one_image_has_nobody_to_be_mistaken_for(pair, T):
    loss, grad1, grad2 = value_and_gradients(*pair, T)
    assert loss == 0
    assert not grad1.any() and not grad2.any()


def test_a_small_step_against_the_gradient_brings_partners_together():
    rng = np.random.default_rng(0)
    z1, z2 = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    before, grad1, grad2 = value_and_gradients(z1, z2, 0.5)
    after, _, _ = value_and_gradients(z1 - 0.1 * grad1, z2 - 0.1 * grad2, 0.5)
    assert after < before


def test_a_low_temperature_and_long_rows_stay_finite():
    z1, z2 = np.array([[1e30, 1e30], [1e-30, 0.0]], np.float32), np.array([[1, 0], [0, 1]], np.float32)
    loss, grad1, grad2 = value_and_gradients(z1, z2, 1e-4)
    assert math.isfinite(loss)
    assert np.isfinite(grad2).all() and np.isfinite(grad1[0]).all()


def test_a_partner_is_found_where_no_other_view_is_more_alike():
    z1 = np.array([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    z2 = np.array([[0.1, 4.0], [1.0, 3.0], [-3.0, 0.1]])
    # the nearest row of (2, 0) is (1, 3), of (0, 1) and (1, 3) it is (0.1, 4), of (0.1, 4) it is (0, 1)
    assert partners_found(z1, z2) == pytest.approx(2 / 6)
    assert partners_found(z1, z1) == 1


def test_the_loss_and_its_gradient_are_no_anomaly():
    with minidl.detect_anomaly():
        z = Tensor(np.eye(3), requires_grad=True)
        nt_xent(z, np.ones((3, 3)), 0.5).backward()
    assert np.isfinite(z.grad).all()


# ---- unit rows


@given(pair=views())
def test_unit_rows_have_length_one_and_the_gradient_of_finite_differences(pair):
    z, _ = pair
    u = UnitRows().forward(z)
    np.testing.assert_allclose((u**2).sum(axis=1), 1)
    np.testing.assert_allclose(u * np.linalg.norm(z, axis=1, keepdims=True), z)
    assert gradcheck(lambda x: apply(UnitRows(), x), z) < 1e-4


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_unit_rows_of_tiny_and_huge_float32_rows(size):
    z = np.array([[3.0, 4.0]], np.float32) * np.float32(size)
    np.testing.assert_allclose(UnitRows().forward(z), [[0.6, 0.8]], rtol=1e-6)


# ---- bad embeddings


@pytest.mark.parametrize(
    "z1, z2, message",
    [
        (np.ones(3), np.ones(3), r"the first view must have shape \(N, D\), got \(3,\)"),
        (np.ones((0, 3)), np.ones((0, 3)), r"must not be empty, got shape \(0, 3\)"),
        (np.ones((2, 3)), np.ones((2, 4)), r"the second view must have shape \(2, 3\), got \(2, 4\)"),
        (np.ones((2, 3)), np.ones((1, 3)), r"must have shape \(2, 3\), got \(1, 3\)"),
        (np.array([[1.0, 0], [0, 0]]), np.ones((2, 2)), "row 1 of the first view is all zeros"),
        (np.ones((2, 2)), np.array([[0, 0], [1.0, 0]]), "row 0 of the second view is all zeros"),
    ],
)
def test_embeddings_that_make_no_pairs_are_refused(z1, z2, message):
    with pytest.raises(ValueError, match=message):
        nt_xent(z1, z2, 0.5)


@pytest.mark.parametrize("temperature", [0, -1.0, math.inf, math.nan])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be a"):
        nt_xent(np.ones((2, 2)), np.ones((2, 2)), temperature)


# ---- two views


def test_views_are_two_draws_of_one_generator_and_leave_the_images_alone():
    images = np.random.default_rng(0).random((4, 1, 5, 5), dtype=np.float32)
    kept = images.copy()
    noise = gaussian_noise(0.1)
    first, second = two_views(images, noise, np.random.default_rng(7))
    rng = np.random.default_rng(7)
    assert np.array_equal(first, noise(images, rng)) and np.array_equal(second, noise(images, rng))
    assert not np.array_equal(first, second)
    assert np.array_equal(images, kept)


def test_row_i_of_both_views_is_image_i():
    images = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1) * np.ones((1, 1, 3, 3), np.float32)
    for view in two_views(images, gaussian_noise(0.01), np.random.default_rng(0)):
        assert view.mean(axis=(1, 2, 3)).round().tolist() == [0, 1, 2, 3]


def test_views_without_a_generator_come_from_the_default_one():
    images = np.zeros((2, 1, 4, 4), np.float32)
    minidl.manual_seed(3)
    first, _ = two_views(images, gaussian_noise(1.0))
    minidl.manual_seed(3)
    again, _ = two_views(images, gaussian_noise(1.0))
    assert np.array_equal(first, again)


def test_an_augmentation_that_works_in_place_changes_neither_the_images_nor_the_other_view():
    images = np.zeros((2, 1, 4, 4), np.float32)

    def darken(batch, rng):
        batch += rng.random()
        return batch

    first, second = two_views(images, darken, np.random.default_rng(0))
    assert not images.any()
    assert first.min() > 0 and second.min() > 0 and not np.array_equal(first, second)


def test_an_augmentation_that_is_no_function_or_changes_the_shape_is_refused():
    images = np.zeros((2, 1, 4, 4), np.float32)
    with pytest.raises(TypeError, match="augment must be a function of images and rng, got 0.1"):
        two_views(images, 0.1)
    with pytest.raises(
        ValueError, match=r"result of augment must have shape \(2, 1, 4, 4\), got \(2, 1, 2, 4\)"
    ):
        two_views(images, lambda x, rng: x[:, :, :2])
    with pytest.raises(TypeError, match="the result of augment must be a ndarray, got .*list"):
        two_views(images, lambda x, rng: x.tolist())
    with pytest.raises(TypeError, match="images must be floats, got uint8: divide pixels"):
        two_views(images.astype(np.uint8), gaussian_noise(0.1))
    with pytest.raises(TypeError, match="rng must be a np.random.Generator"):
        two_views(images, gaussian_noise(0.1), 3)


# ---- the projection head


def test_the_head_is_two_linear_layers_with_relu_between():
    head = ProjectionHead(2, 3, 1, rng=np.random.default_rng(0))
    head.fc1.weight.data = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    head.fc2.weight.data = np.array([[1, 10, 100]], np.float32)
    head.fc1.bias.data, head.fc2.bias.data = np.zeros(3), np.array([0.5])
    assert head(np.array([[2.0, 3.0], [-2.0, -3.0]], np.float32)).data.tolist() == [[32.5], [200.5]]
    assert sorted(head.state_dict()) == ["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]
    with pytest.raises(ValueError, match="in_features must be at least 1"):
        ProjectionHead(0, 3, 1)


# ---- the training


IMAGES = np.random.default_rng(0).random((24, 1, 6, 6), dtype=np.float32)


def networks(seed=0):
    rng = np.random.default_rng(seed)
    encoder = nn.Sequential(
        nn.Conv2d(1, 4, 3, rng=rng), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8, rng=rng)
    )
    return encoder, ProjectionHead(8, 8, 4, rng=rng)


AUGMENT = compose(horizontal_flip(), gaussian_noise(0.1))


def train(seed=0, **options):
    encoder, head = networks(seed)
    settings = {"head": head, "augment": AUGMENT, "epochs": 3, "batch_size": 12, **options}
    rng = np.random.default_rng(seed)
    return encoder, head, train_simclr(encoder, IMAGES, rng=rng, **settings)


def test_training_lowers_the_loss_below_that_of_a_guess_and_finds_partners():
    _, _, history = train(epochs=20, augment=gaussian_noise(0.1))
    guess = math.log(2 * 12 - 1)
    assert history.train_loss[-1] < 0.6 * guess < history.train_loss[0]
    assert history.train_accuracy[-1] > 0.5
    assert len(history) == 20 and history.steps == 40
    assert history.test_loss == []


def test_the_first_loss_is_that_of_the_untrained_network_and_both_parts_move():
    encoder, head = networks()
    before = {**encoder.state_dict(), **head.state_dict()}
    rng = np.random.default_rng(0)
    trained, trained_head, history = train(epochs=1, batch_size=24)
    order = rng.permutation(24)
    view1, view2 = two_views(IMAGES[order], AUGMENT, rng)
    encoder.train()
    expected = nt_xent(head(encoder(view1)), head(encoder(view2)), 0.2).item()
    assert history.train_loss == [pytest.approx(expected, rel=1e-5)]
    after = {**trained.state_dict(), **trained_head.state_dict()}
    for name in ("0.weight", "4.weight", "fc1.weight", "fc2.weight"):
        assert not np.array_equal(before[name], after[name]), name


def test_the_same_seed_gives_the_same_bits():
    first, _, history = train(seed=1)
    second, _, again = train(seed=1)
    assert history == again
    for name, value in first.state_dict().items():
        assert np.array_equal(value, second.state_dict()[name])


def test_an_epoch_leaves_out_a_smaller_batch_and_a_large_batch_is_all_images():
    sizes = []

    def augment(images, rng):
        sizes.append(len(images))
        return AUGMENT(images, rng)

    _, _, history = train(batch_size=10, epochs=2, augment=augment)
    assert history.steps == 2 * 2
    assert sizes == [10] * 8  # of both views
    _, _, history = train(batch_size=1000, epochs=2)
    assert history.steps == 2


def test_the_schedule_sets_the_rate_of_each_step():
    seen = []

    def schedule(step):
        seen.append(step)
        return 0.001 * (step + 1)

    _, _, history = train(schedule=schedule)
    assert seen == [0, 1, 2, 3, 4, 5]
    assert history.lr == pytest.approx([0.002, 0.004, 0.006])


def test_at_rate_zero_no_parameter_moves():
    encoder, head = networks()
    before = [p.data.copy() for p in [*encoder.parameters(), *head.parameters()]]
    optimizer = Adam([*encoder.parameters(), *head.parameters()], lr=0.0)
    encoder.eval()
    train_simclr(encoder, IMAGES, head=head, augment=AUGMENT, epochs=2, optimizer=optimizer)
    assert encoder.layer("1").num_batches_tracked == 4  # trained in training mode: each view is a batch
    assert not encoder.training
    after = [p.data for p in [*encoder.parameters(), *head.parameters()]]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def stopping(error, at_call):
    """An augmentation that raises at that call; two calls make a step."""
    calls = []

    def augment(images, rng):
        calls.append(len(images))
        if len(calls) == at_call:
            raise error
        return AUGMENT(images, rng)

    return augment


@pytest.mark.parametrize("at_call, epochs_done", [(1, 0), (6, 1), (10, 2)])
def test_ctrl_c_passes_through_with_the_finished_epochs_and_the_modes(at_call, epochs_done):
    encoder, head = networks()
    encoder.eval()
    head.train()
    augment = stopping(KeyboardInterrupt(), at_call)
    with pytest.raises(KeyboardInterrupt) as error:
        train_simclr(encoder, IMAGES, head=head, augment=augment, epochs=5, batch_size=12)
    assert len(error.value.history) == len(error.value.history.train_loss) == epochs_done
    assert not any(module.training for module in encoder.modules())
    assert all(module.training for module in head.modules())
    history = train_simclr(encoder, IMAGES, head=head, augment=AUGMENT, epochs=1)
    assert len(history) == 1


def test_ctrl_c_while_an_epoch_is_written_down_drops_it(monkeypatch):
    def add(self, trained, tested, lr, steps):
        self.train_loss.append(trained["loss"])
        raise KeyboardInterrupt

    monkeypatch.setattr(History, "add", add)
    with pytest.raises(KeyboardInterrupt) as error:
        train()
    assert error.value.history == History()


def test_a_loss_that_is_not_finite_stops_before_its_step():
    encoder, head = networks()
    head.fc2.weight.data = np.full((4, 8), np.nan)
    before = encoder.layer("0").weight.data.copy()
    with pytest.raises(FloatingPointError, match="the loss is nan at step 0") as error:
        train_simclr(encoder, IMAGES, head=head, augment=AUGMENT, epochs=1)
    assert len(error.value.history) == 0
    assert np.array_equal(encoder.layer("0").weight.data, before)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"batch_size": 1}, ValueError, "batch_size must be at least 2"),
        ({"temperature": 0.0}, ValueError, "temperature must be a finite number > 0"),
        ({"augment": None}, TypeError, "augment must be a function of images and rng, got None"),
        ({"head": 3}, TypeError, "head must be a Module, got 3"),
        ({"schedule": 0.1}, TypeError, "schedule must be a function of the step"),
        ({"optimizer": 0.1}, TypeError, "optimizer must be an Optimizer, got 0.1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        train(**options)


def test_a_temperature_is_refused_before_the_encoder_has_seen_an_image():
    encoder, head = networks()
    with pytest.raises(ValueError, match="temperature"):
        train_simclr(encoder, IMAGES, head=head, augment=AUGMENT, epochs=1, temperature=0.0)
    assert encoder.layer("1").num_batches_tracked == 0


def test_an_optimizer_without_the_heads_parameters_is_refused_unless_the_head_is_frozen():
    encoder, head = networks()
    settings = {"head": head, "augment": AUGMENT, "epochs": 1, "optimizer": Adam(encoder.parameters())}
    with pytest.raises(ValueError, match="none of the model's 4 trainable parameters"):
        train_simclr(encoder, IMAGES, **settings)
    freeze(head)
    assert len(train_simclr(encoder, IMAGES, **settings)) == 1


def test_an_embedding_of_zeros_stops_the_training_with_the_finished_epochs():
    encoder, head = networks()

    def dies_in_the_second_epoch(step):
        if step == 3:
            head.fc2.weight.data, head.fc2.bias.data = np.zeros((4, 8)), np.zeros(4)
        return 1e-3

    settings = {"head": head, "augment": AUGMENT, "schedule": dies_in_the_second_epoch, "batch_size": 12}
    with pytest.raises(ValueError, match="row 0 of the first view is all zeros") as error:
        train_simclr(encoder, IMAGES, epochs=3, **settings)
    assert len(error.value.history) == 1


def test_images_or_an_optimizer_that_do_not_fit_are_refused():
    encoder, head = networks()
    settings = {"head": head, "augment": AUGMENT, "epochs": 1}
    for images in (np.zeros((1, 1, 6, 6), np.float32), np.zeros(4, np.float32)):
        with pytest.raises(ValueError, match=r"images must be \(M, ...\), at least two, got"):
            train_simclr(encoder, images, **settings)
    with pytest.raises(ValueError, match=r"images must be an array \(N, ...\), got one number"):
        train_simclr(encoder, np.float32(3), **settings)
    with pytest.raises(TypeError, match="images must be floats, got int64: divide pixels .* by 255"):
        train_simclr(encoder, np.zeros((4, 1, 6, 6), int), **settings)
    other, _ = networks(1)
    with pytest.raises(ValueError, match="holds none of the model's"):
        train_simclr(encoder, IMAGES, optimizer=Adam(other.parameters()), **settings)


# ---- same or not


def test_all_pairs_of_two_images_by_hand():
    scores, same = same_or_not([[2.0, 0.0], [0.0, 1.0]], [[3.0, 3.0], [0.0, -1.0]])
    np.testing.assert_allclose(scores, [math.sqrt(0.5), 0, math.sqrt(0.5), -1], atol=1e-12)
    assert same.tolist() == [True, False, False, True]
    assert same.dtype == bool and scores.dtype == np.float64


@given(pair=views().filter(lambda pair: len(pair[0]) > 1), seed=st.integers(0, 99))
def test_scores_are_cosines_and_do_not_see_lengths(pair, seed):
    a, b = pair
    scores, same = same_or_not(a, b)
    assert np.abs(scores).max() <= 1 + 1e-12
    assert same.sum() == len(a)
    lengths = 10 ** np.random.default_rng(seed).uniform(-3, 3, size=(len(a), 1))
    np.testing.assert_allclose(same_or_not(a * lengths, b)[0], scores, atol=1e-9)
    np.testing.assert_allclose(same_or_not(b, a)[0].reshape(len(a), -1).T.ravel(), scores, atol=1e-12)


@given(pair=views().filter(lambda pair: len(pair[0]) > 1))
def test_two_equal_views_are_told_from_others_without_fault(pair):
    assert roc_auc(*same_or_not(pair[0], 3 * pair[0])) == 1


@pytest.mark.parametrize(
    "a, b, message",
    [
        (np.ones((2, 3)), np.ones((3, 3)), r"must have shape \(2, 3\), got \(3, 3\)"),
        (np.ones((1, 3)), np.ones((1, 3)), "at least two images"),
        (np.ones((2, 3)), np.zeros((2, 3)), "row 0 of the second view is all zeros"),
        (np.ones((2, 3, 3)), np.ones((2, 3, 3)), r"features_a must have shape \(N, D\)"),
        (np.ones((2, 2)), np.array([[1, np.nan], [1, 1]]), "features_b must be finite"),
    ],
)
def test_features_that_make_no_pairs_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        same_or_not(a, b)
