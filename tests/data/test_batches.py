import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import batches, gaussian_noise


def numbered(n):
    """n images that hold their own number, and as many labels."""
    return np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1), np.arange(n)


@given(n=st.integers(1, 40), batch_size=st.integers(1, 45), seed=st.integers(0, 5), shuffle=st.booleans())
def test_an_epoch_holds_every_pair_once_in_batches_of_the_asked_size(n, batch_size, seed, shuffle):
    epoch = list(batches(*numbered(n), batch_size, rng=np.random.default_rng(seed), shuffle=shuffle))
    assert all(len(images) == batch_size for images, _ in epoch[:-1]) and 1 <= len(epoch[-1][0]) <= batch_size
    labels = np.concatenate([labels for _, labels in epoch])
    assert sorted(labels) == list(range(n))
    np.testing.assert_array_equal(np.concatenate([images for images, _ in epoch]).ravel(), labels)


@given(n=st.integers(1, 40), batch_size=st.integers(1, 40))
def test_drop_last_leaves_only_whole_batches_and_as_many_as_fit(n, batch_size):
    if batch_size > n:
        with pytest.raises(ValueError, match="drop_last leaves no batch"):
            batches(*numbered(n), batch_size, drop_last=True)
    else:
        sizes = [len(images) for images, _ in batches(*numbered(n), batch_size, drop_last=True)]
        assert sizes == [batch_size] * (n // batch_size)


def order(rng, size=7):
    return np.concatenate([labels for _, labels in batches(*numbered(30), size, rng=rng)]).tolist()


def test_the_same_seed_gives_the_same_order_and_the_next_epoch_another():
    rng = np.random.default_rng(3)
    first, second = order(rng), order(rng)
    assert first == order(np.random.default_rng(3))
    assert first != second and first != sorted(first)


def test_without_shuffling_the_order_is_kept_and_nothing_is_drawn():
    rng = np.random.default_rng(3)
    labels = np.concatenate([labels for _, labels in batches(*numbered(30), 7, rng=rng, shuffle=False)])
    assert labels.tolist() == list(range(30))
    assert rng.random() == np.random.default_rng(3).random()


def test_the_epoch_draws_one_permutation_at_iter_and_nothing_before_or_later():
    rng, by_hand = np.random.default_rng(3), np.random.default_rng(3)
    loader = batches(*numbered(30), 7, rng=rng)
    assert rng.bit_generator.state == by_hand.bit_generator.state
    epoch = iter(loader)
    expected = by_hand.permutation(30).tolist()
    assert rng.bit_generator.state == by_hand.bit_generator.state
    assert np.concatenate([labels for _, labels in epoch]).tolist() == expected
    assert rng.bit_generator.state == by_hand.bit_generator.state


def test_a_run_resumed_from_the_saved_generator_state_sees_the_same_batches():
    rng = np.random.default_rng(3)
    order(rng)
    saved = rng.bit_generator.state
    uninterrupted = order(rng)
    resumed = np.random.default_rng()
    resumed.bit_generator.state = saved
    assert order(resumed) == uninterrupted


def test_augment_gets_each_batch_and_the_generator():
    seen = []

    def negate(images, rng):
        seen.append((len(images), rng))
        return -images

    rng = np.random.default_rng(0)
    for images, labels in batches(*numbered(10), 4, rng=rng, augment=negate):
        np.testing.assert_array_equal(images.ravel(), -labels)
    assert [n for n, _ in seen] == [4, 4, 2] and all(used is rng for _, used in seen)


def test_changing_a_batch_does_not_change_the_data_set():
    images, labels = numbered(10)
    for batch, batch_labels in batches(images, labels, 4, shuffle=False):
        batch[:], batch_labels[:] = -1, -1
    np.testing.assert_array_equal(images.ravel(), np.arange(10))
    np.testing.assert_array_equal(labels, np.arange(10))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 1)), np.zeros(2), 1), r"the same length and not be empty, got \(3, 1\) and \(2,\)"),
        ((np.zeros((0, 1)), np.zeros(0), 1), "not be empty"),
        ((np.float32(1), np.zeros(1), 1), "the same length"),
        ((np.zeros((3, 1)), np.zeros(3), 0), "batch_size must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused_at_the_call_before_any_batch_is_asked_for(arguments, message):
    with pytest.raises(ValueError, match=message):
        batches(*arguments)


def test_a_loader_made_once_feeds_every_epoch_each_in_an_order_of_its_own():
    loader = batches(*numbered(30), 8, rng=np.random.default_rng(3))
    epochs = [list(loader) for _ in range(3)]
    assert [len(epoch) for epoch in epochs] == [4, 4, 4] and len(loader) == 4
    orders = [np.concatenate([labels for _, labels in epoch]).tolist() for epoch in epochs]
    assert all(sorted(order) == list(range(30)) for order in orders) and orders[0] != orders[1] != orders[2]
    by_hand = np.random.default_rng(3)  # the orders of new loaders for each epoch
    assert orders == [order(by_hand, size=8) for _ in range(3)]


@given(n=st.integers(1, 40), batch_size=st.integers(1, 40), drop_last=st.booleans())
def test_the_length_is_the_number_of_batches(n, batch_size, drop_last):
    batch_size = min(batch_size, n)
    loader = batches(*numbered(n), batch_size, drop_last=drop_last)
    assert len(loader) == len(list(loader)) and not hasattr(loader, "__next__")


def test_two_epochs_at_a_time_do_not_disturb_each_other():
    loader = batches(*numbered(6), 2, shuffle=False)
    assert [(a[1].tolist(), b[1].tolist()) for a, b in zip(loader, loader, strict=True)] == [
        ([i, i + 1], [i, i + 1]) for i in (0, 2, 4)
    ]


def test_flags_are_flags_and_ragged_lists_are_named():
    for flag in ("shuffle", "drop_last"):
        with pytest.raises(TypeError, match=f"{flag} must be True or False, got 'False'"):
            batches(*numbered(3), 1, **{flag: "False"})
    with pytest.raises(TypeError, match="batch_size must be an integer, got True"):
        batches(*numbered(3), True)
    with pytest.raises(TypeError, match="augment must be a function of images and rng, got 3"):
        batches(*numbered(3), 1, augment=3)
    with pytest.raises(ValueError, match="their rows are of different lengths"):
        batches([[1.0], [1.0, 2.0]], [0, 1], 1)


def test_a_seed_in_place_of_a_generator_is_refused():
    with pytest.raises(TypeError, match="rng must be a np.random.Generator"):
        batches(*numbered(3), 1, rng=0)


def test_an_augmentation_that_loses_images_is_named():
    with pytest.raises(ValueError, match=r"augment must return an array of 2 images, got .*\(1, 1, 1, 1\)"):
        next(iter(batches(*numbered(2), 2, augment=lambda images, rng: images[:1])))


def test_an_augmentation_that_was_not_made_by_its_call_is_refused_by_name():
    message = r"augment must be a function of images and rng, got gaussian_noise\(sigma, clip\): too many"
    with pytest.raises(TypeError, match=message):
        batches(np.zeros((4, 1, 2, 2)), np.zeros(4), 2, augment=gaussian_noise)
