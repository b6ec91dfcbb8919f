import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from minidl.data import (
    brightness,
    color_jitter,
    compose,
    cutout,
    gaussian_noise,
    horizontal_flip,
    random_resized_crop,
    random_rotation,
    random_shift,
    salt_and_pepper,
)

ALL = {
    "gaussian_noise": gaussian_noise(0.3),
    "gaussian_noise clipped": gaussian_noise(0.3, clip=True),
    "salt_and_pepper": salt_and_pepper(0.2),
    "cutout": cutout(3),
    "random_shift": random_shift(2),
    "random_rotation": random_rotation(30),
    "random_resized_crop": random_resized_crop(0.4),
    "horizontal_flip": horizontal_flip(0.5),
    "brightness": brightness(0.5),
    "color_jitter": color_jitter(0.4, 0.4, 0.4, 0.1),
    "compose": compose(random_shift(1), gaussian_noise(0.1)),
}
IDENTITIES = {
    "gaussian_noise": gaussian_noise(0),
    "gaussian_noise clipped": gaussian_noise(0, clip=True),
    "salt_and_pepper": salt_and_pepper(0),
    "cutout": cutout(0),
    "random_shift": random_shift(0),
    "random_rotation": random_rotation(0),
    "random_resized_crop": random_resized_crop(1),
    "horizontal_flip": horizontal_flip(0),
    "brightness": brightness(0),
    "compose": compose(),
}
each = pytest.mark.parametrize("augment", ALL.values(), ids=ALL.keys())


def pictures(n=4, channels=3, height=6, width=8, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).random((n, channels, height, width)).astype(dtype)


def rng(seed=0):
    return np.random.default_rng(seed)


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_and_dtype_are_kept_the_input_is_untouched_and_the_result_is_another_array(augment, dtype):
    images = pictures(dtype=dtype)
    before = images.copy()
    result = augment(images, rng())
    assert result.shape == images.shape and result.dtype == dtype
    assert not np.shares_memory(result, images)
    np.testing.assert_array_equal(images, before)
    assert not np.array_equal(result, images)


@each
def test_the_same_seed_gives_the_same_result_and_another_seed_another(augment):
    images = pictures(n=16)
    np.testing.assert_array_equal(augment(images, rng(1)), augment(images, rng(1)))
    assert not np.array_equal(augment(images, rng(1)), augment(images, rng(2)))


@each
def test_integers_and_images_without_four_axes_are_refused(augment):
    with pytest.raises(TypeError, match=r"images must be floats, got an array \(1, 3, 8, 8\) of uint8"):
        augment(np.zeros((1, 3, 8, 8), dtype=np.uint8), rng())
    with pytest.raises(ValueError, match=r"images must have shape \(N, C, H, W\), got \(8, 8\)"):
        augment(np.zeros((8, 8), dtype=np.float32), rng())
    with pytest.raises(TypeError, match="rng must be"):
        augment(pictures(), 0)


@pytest.mark.parametrize("augment", IDENTITIES.values(), ids=IDENTITIES.keys())
def test_at_strength_zero_nothing_changes_to_the_last_bit(augment):
    for images in (pictures(), pictures(height=5, width=5)):
        np.testing.assert_array_equal(augment(images, rng()), images)


@given(sigma=st.floats(0.01, 2), value=st.floats(-1, 1), seed=st.integers(0, 1000))
def test_unclipped_gaussian_noise_has_mean_zero_and_variance_sigma_squared(sigma, value, seed):
    n = 40_000
    images = np.full((4, 1, 100, 100), value)
    noise = (gaussian_noise(sigma)(images, rng(seed)) - images) / sigma
    assert abs(noise.mean()) < 5 / np.sqrt(n)
    assert abs(noise.var() - 1) < 5 * np.sqrt(2 / n)


@given(sigma=st.floats(0.05, 1), seed=st.integers(0, 1000))
def test_noise_adds_sigma_squared_times_the_weights_norm_to_a_linear_models_squared_error(sigma, seed):
    w, x = rng(seed).normal(size=(2, 4))
    target, n = 0.3, 60_000
    noisy = gaussian_noise(sigma)(np.broadcast_to(x.reshape(1, 1, 2, 2), (n, 1, 2, 2)).copy(), rng(seed + 1))
    losses = (noisy.reshape(n, 4) @ w - target) ** 2
    expected = (x @ w - target) ** 2 + sigma**2 * (w @ w)
    assert abs(losses.mean() - expected) < 5 * losses.std() / np.sqrt(n)


def test_clipping_keeps_the_unit_range_and_biases_the_mean_of_black_by_sigma_over_root_two_pi():
    black = np.zeros((4, 1, 100, 100))
    clipped = gaussian_noise(0.2, clip=True)(black, rng())
    assert clipped.min() == 0 and clipped.max() <= 1
    # E max(0, sigma n) = sigma / sqrt(2 pi) = 0.0798; its standard deviation is below sigma
    assert abs(clipped.mean() - 0.2 / np.sqrt(2 * np.pi)) < 5 * 0.2 / np.sqrt(40_000)


@given(p=st.floats(0.0, 1.0), seed=st.integers(0, 1000))
def test_salt_and_pepper_each_take_half_of_the_share_p_in_all_channels_at_once(p, seed):
    images = np.full((4, 3, 100, 100), 0.5, dtype=np.float32)
    result = salt_and_pepper(p)(images, rng(seed))
    assert set(np.unique(result)) <= {0.0, 0.5, 1.0}
    np.testing.assert_array_equal(result, np.broadcast_to(result[:, :1], result.shape))
    for value in (0.0, 1.0):
        assert abs((result[:, 0] == value).mean() - p / 2) < 5 * np.sqrt(0.25 / 40_000)


@given(size=st.integers(0, 9), height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 1000))
def test_cutout_fills_one_rectangle_of_at_most_size_by_size_in_all_channels(size, height, width, seed):
    images = 1 + pictures(n=8, height=height, width=width)
    result = cutout(size, fill=-1.0)(images, rng(seed))
    for before, after in zip(images, result, strict=True):
        cut = after[0] == -1
        np.testing.assert_array_equal(after, np.where(cut, -1, before))
        rows, columns = np.flatnonzero(cut.any(axis=1)), np.flatnonzero(cut.any(axis=0))
        np.testing.assert_array_equal(cut, np.outer(cut.any(axis=1), cut.any(axis=0)))
        assert len(rows) <= size and len(columns) <= size
        if size >= 1:
            assert len(rows) >= 1 and len(columns) >= 1
            assert rows[-1] - rows[0] + 1 == len(rows) and columns[-1] - columns[0] + 1 == len(columns)


def test_cutout_away_from_the_edges_is_a_whole_square():
    result = cutout(3)(np.ones((200, 1, 30, 30)), rng())
    areas = (result == 0).sum(axis=(1, 2, 3))
    assert areas.max() == 9 and (areas == 9).mean() > 0.7


@given(pixels=st.integers(0, 4), seed=st.integers(0, 1000))
def test_a_shift_moves_each_image_by_whole_pixels_and_fills_what_comes_in(pixels, seed):
    images = 1 + pictures(n=6, height=5, width=7)
    result = random_shift(pixels, fill=-1.0)(images, rng(seed))
    moves = range(-pixels, pixels + 1)
    for before, after in zip(images, result, strict=True):
        candidates = [ndimage.shift(before, (0, dy, dx), order=0, cval=-1.0) for dy in moves for dx in moves]
        assert any(np.array_equal(after, moved) for moved in candidates)


def test_every_shift_within_reach_happens_about_equally_often():
    dot = np.zeros((2500, 1, 7, 7), dtype=np.float32)
    dot[:, 0, 3, 3] = 1
    counts = random_shift(2)(dot, rng()).sum(axis=(0, 1))
    assert counts.sum() == 2500 and counts[1:6, 1:6].sum() == 2500
    assert abs(counts[1:6, 1:6] - 100).max() < 5 * 10  # Poisson: standard deviation 10


@given(degrees=st.floats(0.5, 180), size=st.integers(3, 9), seed=st.integers(0, 1000))
def test_rotation_is_scipys_bilinear_rotation_by_an_angle_within_reach(degrees, size, seed):
    images = pictures(n=3, channels=2, height=size, width=size, dtype=np.float64)
    angles = rng(seed).uniform(-degrees, degrees, size=3)
    result = random_rotation(degrees, fill=0.25)(images, rng(seed))
    for image, after, angle in zip(images, result, angles, strict=True):
        expected = ndimage.rotate(
            image, angle, axes=(2, 1), reshape=False, order=1, mode="grid-constant", cval=0.25
        )
        np.testing.assert_allclose(after, expected, atol=1e-9)


def test_a_positive_angle_turns_counter_clockwise():
    class Quarter(np.random.Generator):
        def uniform(self, low, high, size):
            return np.full(size, high)

    images = pictures(n=2, height=4, width=4, dtype=np.float64)
    turned = random_rotation(90)(images, Quarter(np.random.PCG64(0)))
    np.testing.assert_allclose(turned, np.rot90(images, axes=(2, 3)), atol=1e-12)


@given(min_area=st.floats(0.05, 1), seed=st.integers(0, 1000))
def test_a_crop_of_a_plane_is_a_plane_of_lesser_slope_inside_it(min_area, seed):
    y, x = np.mgrid[:6, :8].astype(float)
    images = np.broadcast_to(np.stack([y, x]), (5, 2, 6, 8))
    result = random_resized_crop(min_area)(images, rng(seed))
    slopes = np.diff(result[:, 0], axis=1)
    np.testing.assert_allclose(slopes, np.broadcast_to(slopes[:, :1, :1], slopes.shape), atol=1e-9)
    np.testing.assert_allclose(np.diff(result[:, 1], axis=2)[:, 0, 0], slopes[:, 0, 0], atol=1e-9)
    assert np.all(slopes**2 >= min_area - 1e-9) and np.all(slopes <= 1 + 1e-9)
    assert result[:, 0].min() >= -1e-9 and result[:, 0].max() <= 5 + 1e-9
    assert result[:, 1].min() >= -1e-9 and result[:, 1].max() <= 7 + 1e-9


def test_a_flip_mirrors_left_and_right_for_a_share_p_of_the_images():
    images = pictures(n=1000, channels=1, height=2, width=3)
    result = horizontal_flip(0.3)(images, rng())
    flipped = np.array([np.array_equal(a, b[..., ::-1]) for a, b in zip(result, images, strict=True)])
    np.testing.assert_array_equal(result[~flipped], images[~flipped])
    assert abs(flipped.mean() - 0.3) < 5 * np.sqrt(0.21 / 1000)
    np.testing.assert_array_equal(horizontal_flip(1)(images, rng()), images[..., ::-1])


@given(amount=st.floats(0, 1), seed=st.integers(0, 1000))
def test_brightness_multiplies_each_image_by_one_factor_within_reach(amount, seed):
    images = 0.5 + pictures(n=5, dtype=np.float64)
    factors = brightness(amount)(images, rng(seed)) / images
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1, :1], factors.shape))
    assert np.all(abs(factors - 1) <= amount + 1e-9)


def test_jitter_of_the_hue_or_the_saturation_keeps_grey_grey_and_every_pixels_mean():
    images = pictures(dtype=np.float64)
    grey = np.broadcast_to(images[:, :1], images.shape)
    for jitter in (color_jitter(hue=0.5), color_jitter(saturation=1)):
        np.testing.assert_allclose(jitter(grey, rng()), grey, atol=1e-12)
        np.testing.assert_allclose(jitter(images, rng()).mean(axis=1), images.mean(axis=1), atol=1e-12)
        assert abs(jitter(images, rng()) - images).max() > 0.05


def test_a_hue_turned_by_a_third_makes_red_green():
    class Third(np.random.Generator):
        def uniform(self, low, high, size):
            return np.full(size, 2 / 3)

    red = np.array([1.0, 0, 0]).reshape(1, 3, 1, 1)
    green = color_jitter(hue=0.5)(red, Third(np.random.PCG64(0)))  # 360° · 0.5 · 2/3 = 120°
    np.testing.assert_allclose(green.ravel(), [0, 1, 0], atol=1e-12)


def test_jitter_of_the_contrast_keeps_each_images_mean_and_scales_the_rest():
    images = pictures(dtype=np.float64)
    result = color_jitter(contrast=0.8)(images, rng())
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(result.mean(axis=(1, 2, 3), keepdims=True), mean)
    factors = (result - mean) / (images - mean)
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1, :1], factors.shape), rtol=1e-6)
    assert np.all((factors > 0.2) & (factors < 1.8))


def test_jitter_can_be_clipped_and_needs_three_channels():
    result = color_jitter(1, 1, 1, 0.5, clip=True)(pictures(n=50), rng())
    assert result.min() == 0 and result.max() == 1
    with pytest.raises(ValueError, match=r"3 channels \(red, green, blue\), got \(4, 1, 6, 8\)"):
        color_jitter(hue=0.1)(pictures(channels=1), rng())


def test_compose_applies_the_first_one_first():
    def add_one(images, rng):
        return images + 1

    def double(images, rng):
        return images * 2

    images = pictures()
    np.testing.assert_array_equal(compose(add_one, double)(images, rng()), (images + 1) * 2)
    assert not np.shares_memory(compose()(images, rng()), images)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gaussian_noise(-0.1), r"sigma must be finite and within \[0, 1e\+30\], got -0.1"),
        (lambda: gaussian_noise(np.nan), "sigma must be"),
        (lambda: gaussian_noise(np.inf), "sigma must be"),
        (lambda: salt_and_pepper(1.5), r"p must be finite and within \[0, 1\], got 1.5"),
        (lambda: cutout(-1), r"size must be within \[0, 10000\], got -1"),
        (lambda: random_shift(-1), r"pixels must be within \[0, 10000\]"),
        (lambda: random_rotation(181), r"degrees must be finite and within \[0, 180\]"),
        (lambda: random_resized_crop(0), "min_area must be above 0"),
        (lambda: horizontal_flip(2), "p must be"),
        (lambda: brightness(-1), "amount must be"),
        (lambda: color_jitter(contrast=2), "contrast must be"),
        (lambda: random_rotation(5, fill=np.nan), "fill must be finite"),
        (lambda: random_shift(1, fill=np.inf), "fill must be finite"),
        (lambda: cutout(1, fill=1e300), "fill must be finite and within"),
        (lambda: gaussian_noise(1e300), "sigma must be finite and within"),
        (lambda: cutout(10**30), "size must be within"),
        (lambda: color_jitter(hue=0.6), r"hue must be finite and within \[0, 0.5\]"),
    ],
)
def test_strengths_out_of_range_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gaussian_noise("0.1"), "sigma must be a number, got '0.1'"),
        (lambda: cutout(2.5), "size must be an integer, got 2.5"),
        (lambda: random_shift(True), "pixels must be an integer, got True"),
        (lambda: horizontal_flip(True), "p must be a number, got True"),
        (lambda: random_rotation(5, fill=True), "fill must be a number, got True"),
        (lambda: random_rotation(5, fill="0"), "fill must be a number"),
        (lambda: random_rotation(5, fill=None), "fill must be a number"),
        (lambda: gaussian_noise(0.1, clip="False"), "clip must be True or False, got 'False'"),
        (lambda: brightness(0.1, clip=1), "clip must be True or False, got 1"),
        (lambda: color_jitter(0.1, clip=None), "clip must be True or False"),
        (lambda: horizontal_flip(np.zeros((3, 3))), r"p must be a number, got an array \(3, 3\)$"),
        (lambda: compose("ab"), "each of augments must be a function of images and rng, got 'ab'"),
    ],
)
def test_what_is_no_strength_at_all_is_refused_by_name(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize("shape", [(2, 0, 8, 8), (2, 3, 0, 0), (0, 3, 8, 0)])
@pytest.mark.parametrize("augment", [cutout(2), random_rotation(5), random_resized_crop(0.5)])
def test_images_without_channels_or_pixels_are_refused(augment, shape):
    with pytest.raises(ValueError, match=r"images must have channels and pixels, got \("):
        augment(np.zeros(shape, np.float32))
