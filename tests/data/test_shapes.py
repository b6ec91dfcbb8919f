import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import MARKS, SHAPES, TEXTURES, add_marks, make_cue_conflict, make_shapes, mark_masks
from minidl.data.outlines import OUTLINES


def rng(seed=0):
    return np.random.default_rng(seed)


@given(
    n=st.integers(1, 30),
    size=st.sampled_from([16, 32]),
    domain=st.sampled_from(["clean", "noisy", "inverted", "rotated"]),
    spurious=st.sampled_from([0.0, 0.5, 1.0]),
    label=st.sampled_from(["shape", "texture"]),
)
def test_made_images_have_the_promised_shapes_dtypes_and_ranges(n, size, domain, spurious, label):
    images, labels, masks = make_shapes(
        n, size=size, domain=domain, spurious=spurious, label=label, rng=rng()
    )
    assert images.shape == (n, 3, size, size) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1
    assert labels.shape == (n,) and labels.dtype == np.int64
    assert masks.shape == (n, size, size) and masks.dtype == bool
    assert np.all((masks.mean(axis=(1, 2)) > 0.06) & (masks.mean(axis=(1, 2)) < 0.6))


@given(n=st.integers(1, 100), shapes=st.integers(1, 12), textures=st.integers(1, 8), label=st.booleans())
def test_every_class_is_as_frequent_as_another_to_within_one(n, shapes, textures, label):
    classes = shapes if label else textures
    _, labels, _ = make_shapes(
        n,
        shapes=SHAPES[:shapes],
        textures=TEXTURES[:textures],
        label="shape" if label else "texture",
        rng=rng(n),
    )
    counts = np.bincount(labels, minlength=classes)
    assert len(counts) == classes and counts.max() - counts.min() <= 1


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    for first, second in zip(make_shapes(600, rng=rng(5)), make_shapes(600, rng=rng(5)), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(make_shapes(8, rng=rng(5))[0], make_shapes(8, rng=rng(6))[0])


def test_sixteen_pixels_are_the_averages_of_thirty_two_and_a_mask_needs_half_of_them():
    large, labels, large_masks = make_shapes(20, rng=rng())
    small, small_labels, small_masks = make_shapes(20, size=16, rng=rng())
    np.testing.assert_array_equal(labels, small_labels)
    corners = [(slice(i, None, 2), slice(j, None, 2)) for i in (0, 1) for j in (0, 1)]
    np.testing.assert_allclose(small, sum(large[:, :, y, x] for y, x in corners) / 4, atol=1e-6)
    covered = sum(large_masks[:, y, x].astype(int) for y, x in corners)
    np.testing.assert_array_equal(small_masks, covered >= 2)
    assert np.any(covered == 2) and np.any(covered == 1)


def test_one_seed_gives_the_same_scene_in_every_domain():
    clean, labels, masks = make_shapes(30, rng=rng())
    inverted, _, inverted_masks = make_shapes(30, domain="inverted", rng=rng())
    noisy, noisy_labels, noisy_masks = make_shapes(30, domain="noisy", rng=rng())
    rotated, rotated_labels, rotated_masks = make_shapes(30, domain="rotated", rng=rng())
    np.testing.assert_array_equal(inverted, 1 - clean)
    for other in (inverted_masks, noisy_masks):
        np.testing.assert_array_equal(other, masks)
    for other in (noisy_labels, rotated_labels):
        np.testing.assert_array_equal(other, labels)
    both = (masks & rotated_masks)[:, None]
    outside = ~(masks | rotated_masks)[:, None]
    for agree in (both, outside):  # the texture does not turn with the outline
        np.testing.assert_array_equal(np.where(agree, clean, 0), np.where(agree, rotated, 0))
    assert not np.array_equal(masks, rotated_masks)


def test_the_mask_is_exactly_where_the_objects_texture_shows():
    solid, _, masks = make_shapes(40, textures=("solid",), rng=rng())
    striped, _, other_masks = make_shapes(40, textures=("checks",), rng=rng())
    np.testing.assert_array_equal(masks, other_masks)
    changed = np.any(solid != striped, axis=1)
    assert not np.any(changed & ~masks)
    assert 0.4 < changed[masks].mean() < 0.6  # half of a checkerboard


def test_a_fixed_circle_has_the_area_and_the_middle_of_a_circle():
    _, _, masks = make_shapes(3, shapes=("circle",), fixed_place=True, rng=rng())
    np.testing.assert_array_equal(masks[0], masks[1])
    assert abs(masks[0].sum() - np.pi * (0.85 * 12) ** 2) < 12
    np.testing.assert_array_equal(masks[0], masks[0][::-1, ::-1])


def test_place_and_size_vary_unless_they_are_fixed():
    def centres_and_areas(fixed_place):
        _, _, masks = make_shapes(50, shapes=("square",), fixed_place=fixed_place, rng=rng())
        y, x = np.mgrid[:32, :32]
        areas = masks.sum(axis=(1, 2))
        return (masks * y).sum(axis=(1, 2)) / areas, (masks * x).sum(axis=(1, 2)) / areas, areas

    assert all(np.ptp(values) == 0 for values in centres_and_areas(True))
    y, x, areas = centres_and_areas(False)
    assert np.ptp(y) > 5 and np.ptp(x) > 5 and np.ptp(areas) > 100


@pytest.mark.parametrize("size", [16, 32])
def test_no_object_reaches_the_edge_or_a_mark(size):
    _, _, masks = make_shapes(3000, size=size, domain="rotated", rng=rng())
    assert not np.any(masks & np.any(mark_masks(np.arange(4), size), axis=0))
    if size == 32:
        assert not np.any([masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]])


@pytest.mark.parametrize("name", SHAPES)
def test_an_outline_fills_a_good_part_of_the_unit_circle_and_stays_in_it(name):
    v, u = np.mgrid[-1.5:1.5:301j, -1.5:1.5:301j]
    inside = OUTLINES[name](u, v)
    assert np.hypot(u, v)[inside].max() <= 1
    assert inside.sum() > 0.35 * (np.hypot(u, v) <= 1).sum()


def test_no_two_outlines_can_be_turned_into_each_other():
    v, u = np.mgrid[1:-1:61j, -1:1:61j]
    angles = np.deg2rad(np.arange(0, 360, 10))
    upright = {name: outline(u, v) for name, outline in OUTLINES.items()}
    for name, outline in OUTLINES.items():
        for angle in angles:
            turned = outline(np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u)
            for other, mask in upright.items():
                if other != name:
                    assert (turned & mask).sum() / (turned | mask).sum() < 0.85, (name, other, angle)


def has_stripes(images, masks):
    """Whether the colour varies within the object by more than noise of 0.08 does."""
    inside = np.where(masks[:, None], images, np.nan)
    return np.nanstd(inside, axis=(2, 3)).max(axis=1) > 0.12


@pytest.mark.parametrize(
    ("tied", "striped_share"),
    [(0.0, (0.5, 0.5)), (1.0, (0, 1)), ((1.0, 0.0), (0, 0.5)), ((0.0, 1.0), (0.5, 1))],
)
def test_tied_says_how_often_each_class_has_its_own_texture(tied, striped_share):
    images, labels, masks = make_shapes(
        800, shapes=("circle", "square"), textures=("solid", "horizontal"), tied=tied, rng=rng()
    )
    striped = has_stripes(images, masks)
    for k, expected in enumerate(striped_share):
        tolerance = 5 * np.sqrt(expected * (1 - expected) / 400)
        assert abs(striped[labels == k].mean() - expected) <= tolerance


def is_hollow(masks):
    """Whether the middle pixel of the object's bounding box is not of the object: a ring's is not."""
    middles = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        middles.append(mask[(rows[0] + rows[-1]) // 2, (columns[0] + columns[-1]) // 2])
    return ~np.array(middles)


def test_labels_count_the_texture_when_asked_to_and_the_shape_is_then_the_cue_that_may_be_tied():
    arguments = {"shapes": ("circle", "ring"), "textures": ("solid", "vertical"), "label": "texture"}
    images, labels, masks = make_shapes(400, rng=rng(), **arguments)
    np.testing.assert_array_equal(has_stripes(images, masks), labels == 1)
    for k in (0, 1):
        assert abs(is_hollow(masks)[labels == k].mean() - 0.5) < 5 * np.sqrt(0.25 / 200)
    images, labels, masks = make_shapes(400, tied=1.0, rng=rng(), **arguments)
    np.testing.assert_array_equal(has_stripes(images, masks), labels == 1)
    np.testing.assert_array_equal(is_hollow(masks), labels == 1)


@given(n=st.integers(1, 200), classes=st.integers(2, 8), seed=st.integers(0, 100))
def test_in_a_cue_conflict_the_cues_never_agree_and_all_other_pairs_are_equally_frequent(n, classes, seed):
    _, shape_labels, texture_labels = make_cue_conflict(
        n, size=16, shapes=SHAPES[:classes], textures=TEXTURES[:classes], rng=rng(seed)
    )
    assert shape_labels.dtype == texture_labels.dtype == np.int64
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (shape_labels, texture_labels), 1)
    assert np.all(np.diag(counts) == 0)
    off_diagonal = counts[~np.eye(classes, dtype=bool)]
    assert off_diagonal.max() - off_diagonal.min() <= 1


def test_a_cue_conflict_shows_the_shape_of_one_label_and_the_texture_of_the_other():
    images, shape_labels, texture_labels = make_cue_conflict(
        50, shapes=("bar", "circle"), textures=("horizontal", "solid"), fixed_place=True, rng=rng()
    )
    shared = np.zeros((50, 32, 32), dtype=bool)
    shared[:, 12:20, 8:24] = True  # inside the bar (24 × 9 pixels) and inside the circle (radius 10)
    np.testing.assert_array_equal(has_stripes(images, shared), texture_labels == 0)
    # only the circle makes these pixels bright
    above = images[:, :, 7:10, 14:18].max(axis=1).mean(axis=(1, 2))
    np.testing.assert_array_equal(above > 0.45, shape_labels == 1)


@given(size=st.sampled_from([8, 16, 32]), seed=st.integers(0, 100))
def test_a_mark_is_painted_exactly_in_its_mask_and_nowhere_else(size, seed):
    images = 0.25 * rng(seed).random((MARKS, 3, size, size)).astype(np.float32)
    classes = rng(seed).permutation(MARKS)
    marked, where = add_marks(images, classes), mark_masks(classes, size)
    assert marked.dtype == np.float32 and where.sum() == MARKS * (size // 8) ** 2
    np.testing.assert_array_equal(np.any(marked != images, axis=1), where)


def test_all_twelve_marks_differ_and_stand_in_the_corner_of_their_class():
    marked = add_marks(np.full((MARKS, 3, 32, 32), 0.5, dtype=np.float32), np.arange(MARKS))
    assert len({image.tobytes() for image in marked}) == MARKS
    corners = marked[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]  # (class, channel, corner)
    is_marked = np.any(corners != 0.5, axis=1)
    np.testing.assert_array_equal(is_marked, np.tile(np.eye(4, dtype=bool), (3, 1)))
    assert corners[0, :, 0].tolist() == [1, 0, 1] and corners[11, :, 3].tolist() == [0, 1, 1]


def test_spurious_is_the_share_of_images_with_the_mark_of_their_class_and_changes_nothing_else():
    plain, labels, masks = make_shapes(400, rng=rng())
    every, _, masks_with_marks = make_shapes(400, spurious=1.0, rng=rng())
    some, _, _ = make_shapes(400, spurious=0.3, rng=rng())
    np.testing.assert_array_equal(every, add_marks(plain, labels))
    np.testing.assert_array_equal(masks_with_marks, masks)
    carries = np.any(some != plain, axis=(1, 2, 3))
    np.testing.assert_array_equal(some[carries], every[carries])
    assert abs(carries.mean() - 0.3) < 5 * np.sqrt(0.21 / 400)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, r"n must be within \[1, 10000000\], got 0"),
        ({"size": 28}, "size must be one of 16, 32, got 28"),
        ({"domain": "dark"}, "domain must be one of .*'rotated'.*, got 'dark'"),
        ({"spurious": 1.1}, r"spurious must be finite and within \[0, 1\], got 1.1"),
        ({"spurious": np.nan}, "spurious must be"),
        ({"label": "colour"}, "label must be one of 'shape', 'texture', got 'colour'"),
        ({"shapes": ()}, "shapes must be different names from"),
        ({"shapes": "circle"}, "shapes must be different names"),
        ({"shapes": ("circle", "circle")}, "shapes must be different names"),
        ({"textures": ("velvet",)}, "textures must be different names from .*'zigzag'.*, got .*velvet"),
        ({"tied": -0.1}, r"tied must be within \[0, 1\], got -0.1"),
        ({"tied": (0.5, 0.5)}, "one for each of 12 classes"),
        ({"tied": 1.0}, "12 classes, 8 of the other cue"),
        ({"tied": [0.5, [0.5]]}, "tied must be an array, but its rows are of different lengths"),
        ({"tied": np.nan}, "tied must be finite"),
        ({"shapes": 3}, "shapes must be different names"),
        ({"shapes": ["circle", ["square"]]}, "shapes must be different names"),
        ({"domain": ["clean"]}, "domain must be one of"),
        ({"n": 10**30}, "n must be within"),
    ],
)
def test_bad_arguments_of_make_shapes_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_shapes(**{"n": 4, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": True}, "n must be an integer, got True"),
        ({"size": np.array([16, 32])}, "size must be an integer"),
        ({"size": 16.0}, "size must be an integer"),
        ({"fixed_place": "False"}, "fixed_place must be True or False, got 'False'"),
        ({"tied": "0.5"}, "tied must be real numbers"),
        ({"tied": True}, "tied must be real numbers"),
        ({"spurious": True}, "spurious must be a number"),
    ],
)
def test_what_is_of_another_kind_is_refused_by_make_shapes(arguments, message):
    with pytest.raises(TypeError, match=message):
        make_shapes(**{"n": 4, **arguments})


def test_a_size_from_an_array_will_do():
    assert make_shapes(2, size=np.int64(16))[0].shape == (2, 3, 16, 16)


def test_bad_arguments_of_the_conflict_and_of_marks_are_refused():
    with pytest.raises(ValueError, match="equally many, .* got 3 shapes and 8 textures"):
        make_cue_conflict(4, shapes=SHAPES[:3])
    with pytest.raises(ValueError, match="at least 2: got 1 shapes and 1 textures"):
        make_cue_conflict(4, shapes=SHAPES[:1], textures=TEXTURES[:1])
    with pytest.raises(TypeError, match="rng must be"):
        make_shapes(4, rng=0)
    images = np.zeros((2, 3, 16, 16), dtype=np.float32)
    with pytest.raises(ValueError, match="classes must be in 0 ... 11, got 12"):
        add_marks(images, np.array([0, 12]))
    with pytest.raises(TypeError, match=r"classes must be integers, got an array \(2,\) of float64"):
        add_marks(images, np.zeros(2))
    with pytest.raises(ValueError, match=r"must have shape \(3, 3, size, size\), got \(2, 3, 16, 16\)"):
        add_marks(images, np.zeros(3, dtype=int))
    with pytest.raises(TypeError, match="images must be floats, got .* of uint8"):
        add_marks(images.astype(np.uint8), np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match=r"size must be within \[8, 10000\], got 4"):
        mark_masks(np.zeros(2, dtype=int), 4)
