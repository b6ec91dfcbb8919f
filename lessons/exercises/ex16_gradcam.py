"""Exercises of lesson 16: score maps, weight the maps of a layer, and enlarge maps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.explain import score
from minidl.explain.cam import class_activation, upsampling_weights


@st.composite
def maps_and_gradients(draw):
    """A and dy/dA, both (N, K, h, w)."""
    shape = draw(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)))
    return draw(arrays(shape)), draw(arrays(shape))


# ---- 16.1 mass_inside

mass = Exercise(
    "16.1",
    score.mass_inside,
    points=1,
    minutes=10,
    title="the share of a map that lies on the object",
    helpers=("maps_and_masks",),
    hints=(
        "Which part of the sum of the map lies inside the mask? Compute it for each image separately.",
        "Divide the sum over the mask by the sum over all pixels, both over axes (1, 2). Where the sum "
        "over all pixels is 0, the map is constant.",
        "maps, masks = maps_and_masks(maps, masks) checks that they are finite and makes maps float64. "
        "np.divide(..., total, out=masks.mean(axis=(1, 2)), where=total > 0). Which maps must raise a "
        "ValueError before?",
    ),
)


@st.composite
def scored(draw):
    """maps (N, H, W) >= 0 and masks of their shape."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)))
    return draw(arrays(shape, 0, 2)), draw(arrays(shape, 0, 1)) > 0.5


@mass.law("mask: only the top left pixel; [4 1 / 1 2] gives 4/8, [1 4 / 4 1] gives 1/10, zeros give 1/4")
def worked_mass(mass_inside):
    maps = np.array([[[4.0, 1.0], [1.0, 2.0]], [[1.0, 4.0], [4.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    masks = np.array([[[True, False], [False, False]]] * 3)
    by_columns = np.asfortranarray(maps), np.asfortranarray(masks)  # in memory column by column
    for case in ((maps, masks), (by_columns[0], masks), (maps, by_columns[1])):
        assert_close(mass_inside(*case), np.array([0.5, 0.1, 0.25]))


@mass.law("the fraction inside the mask plus the fraction outside is 1")
@given(case=scored())
def shares_the_whole(mass_inside, case):
    maps, masks = case
    assert_close(mass_inside(maps, masks) + mass_inside(maps, ~masks), np.ones(len(maps)))


@mass.law("twice the map gives the same fraction")
@given(case=scored())
def scale_free(mass_inside, case):
    maps, masks = case
    assert_close(mass_inside(2 * maps, masks), mass_inside(maps, masks))


@mass.law("a constant map gives the mask's fraction of the area, which is chance")
@given(case=scored(), constant=st.sampled_from([0.0, 0.25, 1.0]))
def constant_is_chance(mass_inside, case, constant):
    maps, masks = case
    assert_close(mass_inside(np.full(maps.shape, constant), masks), masks.mean(axis=(1, 2)))


@mass.law("a negative map is refused with a ValueError")
@given(case=scored())
def refuses_negatives(mass_inside, case):
    maps, masks = case
    try:
        share = mass_inside(maps - 2.25, masks)
    except ValueError:
        return
    raise AssertionError(f"a map down to {maps.min() - 2.25} gave {share} and no ValueError")


def share_of(maps, masks, total):
    return (maps * masks).sum(axis=(1, 2)) / np.where(total > 0, total, 1)


@mass.law("one negative pixel is refused with a ValueError, even if the sum of the map is positive")
def one_negative_pixel(mass):
    maps = np.array([[[4.0, -0.25], [1.0, 2.0]]])
    for faint in (1.0, 1e-12):
        assert_refuses(f"maps {(faint * maps).tolist()}", mass, faint * maps, np.ones((1, 2, 2), bool))
    assert_refuses("a map of integers, one negative,", mass, (4 * maps).astype(int), np.ones((1, 2, 2), bool))
    second = np.concatenate([np.abs(maps), maps, np.abs(maps)])
    for several in (second[:2], second):
        assert_refuses(f"maps {several.tolist()}", mass, several, np.ones((len(several), 2, 2), bool))
    assert_refuses("a map [1 -1] of the sum 0", mass, np.array([[[1.0, -1.0]]]), np.ones((1, 1, 2), bool))
    assert_close(mass(np.array([[[-0.0, 2.0]]]), np.array([[[False, True]]])), [1.0])  # -0.0 is not negative


@mass.law("maps of size 1e-300 or 1e100 give the same fractions; a float32 map gives a float64 fraction")
def faint_maps(mass):
    maps, masks = np.array([[[3.0, 1.0]]]), np.array([[[True, False]]])
    for size in (1, 1e-12, 1e-300, 1e100):
        assert_close(mass(size * maps, masks), [0.75])
    nearly_constant = np.array([[[1.0, 1.00000001]]])
    assert_close(mass(nearly_constant, masks), [1 / 2.00000001], rtol=1e-12)
    assert_close(mass(np.array([[[1.0, 3e6]]]), masks), [1 / 3000001], atol=0)  # a small fraction
    narrow = np.array([[[2.0**24, 1.0], [1.0, 2.0**24]]], np.float32)
    shares = mass(narrow, np.array([[[True, True], [True, False]]]))
    assert_dtype(shares, np.float64)
    assert_close(shares, [(2**24 + 2) / (2**25 + 2)], rtol=1e-12)
    for integers in (
        np.uint8([[[200, 100]]]),
        np.int32([[[2 * 10**9, 10**9]]]),
    ):  # the type cannot hold the sum
        assert_close(mass(integers, masks), [2 / 3], rtol=1e-12)


@mass.law("a map that is not finite is refused with a ValueError")
def not_finite(mass):
    for value in (np.nan, np.inf, -np.inf):
        maps, masks = np.array([[[1.0, 2.0]], [[1.0, value]]]), np.array([[[True, False]]] * 2)
        assert_refuses(f"a pixel of {value}", mass, maps[1:], masks[1:])
        assert_refuses(f"a pixel of {value} in the second map", mass, maps, masks)
        assert_refuses(f"a map of {value} everywhere", mass, np.full((1, 1, 2), value), masks[:1])


@mass.mistake("returned 0 for a map of zeros", breaks=mass.laws[0].text)
def zero_scores_zero(maps, masks):
    score.mass_inside(maps, masks)
    return share_of(maps, masks, maps.sum(axis=(1, 2)))


@mass.mistake("divided by the total of all images", breaks=mass.laws[0].text)
def of_all_images(maps, masks):
    total = np.full(len(maps), maps.sum())
    return np.where(total > 0, share_of(maps, masks, total), score.mass_inside(maps, masks))


@mass.mistake(
    "allowed negative pixels, which cancel positive ones",
    breaks="a negative map is refused with a ValueError",
)
def cancels(maps, masks):
    total = maps.sum(axis=(1, 2))
    return np.where(total > 0, share_of(maps, masks, total), masks.mean(axis=(1, 2)))


@mass.mistake("divided by a sum of 0", breaks=mass.laws[0].text)
def by_zero(maps, masks):
    score.mass_inside(maps, masks)
    with np.errstate(invalid="ignore"):
        return (maps * masks).sum(axis=(1, 2)) / maps.sum(axis=(1, 2))


# ---- 16.2 class_activation

activation = Exercise(
    "16.2",
    class_activation,
    points=1,
    minutes=10,
    title="maps weighted by their mean gradients",
    hints=(
        "For each image, each channel gets one number: its weight for the class. Then add the weighted maps.",
        "The weight is the mean of the gradient over height and width. The sum goes over the channels, "
        "axis 1.",
        "alpha = gradients.mean(axis=(2, 3), keepdims=True) has the shape (N, K, 1, 1) and broadcasts to A",
    ),
)

A = np.array([[[[1.0, 3.0]], [[2.0, 0.0]]]])  # (1, 2, 1, 2)
G = np.array([[[[1.0, -3.0]], [[4.0, 2.0]]]])


@activation.law("maps [1 3], [2 0] with gradients [1 -3], [4 2], whose means are -1 and 3, give [5 -3]")
def worked_activation(class_activation):
    assert_close(class_activation(A, G), np.array([[[5.0, -3.0]]]))


@activation.law("if y = w · (the mean of each A_k over positions), the map sums to w · these means")
@given(case=maps_and_gradients())
def sums_to_the_logit(class_activation, case):
    activations, gradients = case
    w = gradients[:, :, :1, :1]
    same_everywhere = np.broadcast_to(w / activations[0, 0].size, activations.shape).copy()
    logit = (w[:, :, 0, 0] * activations.mean(axis=(2, 3))).sum(axis=1)
    assert_close(class_activation(activations, same_everywhere).sum(axis=(1, 2)), logit)


@activation.law("in a channel, only the mean of the gradient values matters, not the values themselves")
@given(case=maps_and_gradients())
def only_means_matter(class_activation, case):
    activations, gradients = case
    means = np.broadcast_to(gradients.mean(axis=(2, 3), keepdims=True), gradients.shape).copy()
    assert_close(class_activation(activations, gradients), class_activation(activations, means))


@activation.law("negative values stay: for -dy/dA the result is minus the map")
@given(case=maps_and_gradients())
def keeps_the_sign(class_activation, case):
    activations, gradients = case
    assert_close(class_activation(activations, -gradients), -class_activation(activations, gradients))


@activation.law("each image has its own weights alpha")
@given(case=maps_and_gradients())
def each_by_itself(class_activation, case):
    activations, gradients = case
    two = np.concatenate([activations, activations]), np.concatenate([gradients, 0 * gradients])
    alone = class_activation(activations, gradients)
    assert_close(class_activation(*two), np.concatenate([alone, 0 * alone]))
    by_columns = np.asfortranarray(two[0]), np.asfortranarray(two[1])  # in memory column by column
    assert_close(class_activation(*by_columns), np.concatenate([alone, 0 * alone]))


@activation.law("float32 stays float32, float64 is not rounded to float32, and infinity and NaN stay")
def keeps_float32(class_activation):
    third = class_activation(np.full((1, 2, 1, 3), 1 / 3), np.full((1, 2, 1, 3), 0.1))
    assert_dtype(third, np.float64)
    assert_close(third, np.full((1, 1, 3), 1 / 15), rtol=1e-12, atol=0)
    sizes = np.array([1.0, 1e-30]).reshape(1, 2, 1, 1)  # a faint gradient counts if the map is large
    uneven = class_activation(1 / sizes, sizes)
    assert_close(uneven, np.full((1, 1, 1), 2.0), rtol=1e-12, atol=0)
    faint = class_activation(np.ones((1, 1, 1, 2)), np.full((1, 1, 1, 2), 1e-30))
    assert_close(faint, np.full((1, 1, 2), 1e-30), rtol=1e-12, atol=0)
    ones = np.ones((6, 300, 3, 5), np.float32)
    maps = class_activation(ones / 8, ones * 2.0**18)
    assert_dtype(maps, np.float32)
    assert_close(maps, np.full((6, 3, 5), 300 * 2.0**15))
    ends = np.array([[[[1.0, np.inf]]], [[[1.0, np.nan]]]])  # are neither left out nor made finite
    assert_close(class_activation(ends, np.ones(ends.shape)), ends[:, 0])
    assert_close(class_activation(np.ones(ends.shape), ends), [[[np.inf] * 2], [[np.nan] * 2]])


@activation.mistake("multiplied gradient and maps position by position", breaks=activation.laws[0].text)
def place_by_place(activations, gradients):
    return (gradients * activations).sum(axis=1)


@activation.mistake(
    "used the sum of the gradient over positions, not the mean", breaks=activation.laws[0].text
)
def summed(activations, gradients):
    return (gradients.sum(axis=(2, 3), keepdims=True) * activations).sum(axis=1)


@activation.mistake("used the same weights for all images", breaks="each image has its own weights alpha")
def one_for_all(activations, gradients):
    return (gradients.mean(axis=(0, 2, 3))[:, np.newaxis, np.newaxis] * activations).sum(axis=1)


@activation.mistake("set the negative values of the sum to 0", breaks=activation.laws[0].text)
def rectified(activations, gradients):
    return np.maximum((gradients.mean(axis=(2, 3), keepdims=True) * activations).sum(axis=1), 0)


# ---- 16.3 upsampling_weights

enlarge = Exercise(
    "16.3",
    upsampling_weights,
    points=2,
    level=2,
    minutes=20,
    title="bilinear enlargement as a matrix",
    hints=(
        "Old and new pixels cover the same length. Where is the centre of new pixel i, in units of old "
        "pixels?",
        "s = (i + 1/2) old / new - 1/2, clipped to 0 ... old - 1. The weight of old pixel j is 1 - |s - "
        "j|, or 0 if this is negative.",
        "s = np.clip(..., 0, old - 1) has the shape (new,), and s[:, np.newaxis] - np.arange(old) has "
        "(new, old)",
    ),
)
sides = st.integers(1, 6)


@enlarge.law("from 2 pixels to 4 the rows are 1 0, 3/4 1/4, 1/4 3/4, 0 1; from 3 to 1 the row is 0 1 0")
def worked_weights(upsampling_weights):
    assert_close(upsampling_weights(2, 4), np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]))
    assert_close(upsampling_weights(3, 1), [[0, 1, 0]])  # the new middle lies on an old one
    assert_close(upsampling_weights(6, 2), [[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]])


@enlarge.law("each new pixel is a weighted mean: no weight is negative, and each row sums to 1")
@given(old=sides, new=sides)
def rows_are_means(upsampling_weights, old, new):
    weights = upsampling_weights(old, new)
    assert_close(weights, np.abs(weights))
    assert_close(weights.sum(axis=1), np.ones(new))


@enlarge.law("a linear ramp stays a linear ramp between the outermost centres")
@given(old=sides, new=sides)
def keeps_ramps(upsampling_weights, old, new):
    ramp = (np.arange(old) + 0.5) / old  # the centre of each pixel, on a length of 1
    middles = (np.arange(new) + 0.5) / new
    assert_close(upsampling_weights(old, new) @ ramp, np.clip(middles, ramp[0], ramp[-1]))


@enlarge.law("mirrored pixels give mirrored weights")
@given(old=sides, new=sides)
def is_symmetric(upsampling_weights, old, new):
    weights = upsampling_weights(old, new)
    assert_close(weights, weights[::-1, ::-1])


@enlarge.law("if old = new, the pixels do not change")
@given(old=sides)
def same_size(upsampling_weights, old):
    weights = upsampling_weights(old, old)
    assert_close(weights, np.eye(old))
    assert_dtype(weights, np.float64)


@enlarge.law("from 7 pixels to 224, in float64: new pixel 100 lies at 2.640625, between old pixels 2 and 3")
def many_pixels(upsampling_weights):
    weights = upsampling_weights(7, 224)
    assert_dtype(weights, np.float64)
    assert_close(weights[100], [0, 0, 0.359375, 0.640625, 0, 0, 0], rtol=1e-12)  # 100.5 · 7 / 224 - 1/2
    assert_close(weights.sum(axis=1), np.ones(224), rtol=1e-12)
    weights = upsampling_weights(5, 7)  # float32 has no sevenths
    assert_close(weights[1], [3 / 7, 4 / 7, 0, 0, 0], rtol=1e-12, atol=1e-15)
    assert_close(upsampling_weights(2000, 3)[0, 332:334], [1 / 6, 5 / 6])  # the centre lies at 332 5/6
    weights = upsampling_weights(2, 300)  # from pixel 225 on, the centres lie beyond the last old one
    assert_close(weights[225:], np.tile([0.0, 1.0], (75, 1)))
    assert_close(upsampling_weights(300, 2)[0, 73:77], [0, 0.5, 0.5, 0])  # the centre lies at 74.5


@enlarge.law("old or new below 1 is refused with a ValueError")
@given(side=sides)
def refuses_no_pixels(upsampling_weights, side):
    for wrong in (0, -1):
        assert_refuses(f"a new size of {wrong}", upsampling_weights, side, wrong)
        assert_refuses(f"an old size of {wrong}", upsampling_weights, wrong, side)
        assert_refuses(f"two sizes of {wrong}", upsampling_weights, wrong, wrong)


@enlarge.mistake("put the first centres at one point, and the last centres too", breaks=enlarge.laws[0].text)
def aligned_corners(old, new):
    s = np.linspace(0, old - 1, new)
    return np.maximum(0, 1 - np.abs(s[:, np.newaxis] - np.arange(old)))


@enlarge.mistake("forgot the halves: used s = i old / new", breaks=enlarge.laws[0].text)
def without_halves(old, new):
    s = np.clip(np.arange(new) * old / new, 0, old - 1)
    return np.maximum(0, 1 - np.abs(s[:, np.newaxis] - np.arange(old)))


@enlarge.mistake(
    "let the weights sum to less than 1 beyond the outermost centres", breaks=enlarge.laws[0].text
)
def fades(old, new):
    s = (np.arange(new) + 0.5) * old / new - 0.5
    return np.maximum(0, 1 - np.abs(s[:, np.newaxis] - np.arange(old)))


@enlarge.mistake("took only the nearest pixel", breaks=enlarge.laws[0].text)
def nearest(old, new):
    return np.eye(old)[((np.arange(new) + 0.5) * old / new).astype(int)]
