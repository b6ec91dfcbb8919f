"""Exercises of lesson 13: the receptive field of a unit, and the patches that excite a channel most."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.by_hand import built_once
from minidl import Tensor
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.explain import patches
from minidl.explain.patches import TopPatches, receptive_field, top_patches
from minidl.explain.target import layer_output

# ---- 13.4 through_window

seen = Exercise(
    "13.4",
    patches.through_window,
    title="what a unit sees through one more layer",
    points=2,
    level=2,
    minutes=20,
    hints=(
        "The last unit of a window lies dilation · (kernel - 1) units after its first unit. How many "
        "pixels is that?",
        "Units are span.step pixels apart, so one unit further is span.step pixels further. Padding "
        "moves the start to the left by padding units.",
        "The new size is size + dilation * (kernel - 1) * step. What are the new step and the new "
        "start, in pixels?",
    ),
)

spans = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(-6, 2))
kernels, strides, paddings = [1, 2, 3, 4, 40], [1, 2, 3, 16], [0, 1, 2, 20]
window_layers = st.tuples(*map(st.sampled_from, (kernels, strides, paddings, [1, 2, 3])))


@seen.law("3x3 padded by 1, pooling by 2, 3x3 padded by 1 give the spans (3, 1, -1), (4, 2, -1), (8, 2, -3)")
def worked_spans(through_window):
    first = through_window(patches.ONE_PIXEL, 3, 1, 1)
    assert isinstance(first, tuple), "a Span is a tuple"
    assert_equal(tuple(first), (3, 1, -1))
    pooled = through_window(patches.Span(3, 1, -1), 2, 2, 0)
    assert_equal(tuple(pooled), (4, 2, -1))
    assert_equal(tuple(through_window(patches.Span(4, 2, -1), 3, 1, 1)), (8, 2, -3))
    for layer in ((3, 2, 1), (1, 1, 0), (2, 1, 0), (3, 1, 1, 2)):
        assert_equal(tuple(through_window(patches.EVERYTHING, *layer)), (np.inf, 0, -np.inf))


@seen.law("window p begins at the pixel where its first unit begins: unit p · stride - padding")
@given(span=spans, layer=window_layers, p=st.integers(0, 4))
def begins_with_the_first(through_window, span, layer, p):
    _, stride, padding, _ = layer
    _, step, start = through_window(patches.Span(*span), *layer)
    assert_equal(start + p * step, span[2] + (p * stride - padding) * span[1])


@seen.law("window p ends at the pixel where its last unit ends")
@given(span=spans, layer=window_layers, p=st.integers(0, 4))
def ends_with_the_last(through_window, span, layer, p):
    kernel, stride, padding, dilation = layer
    size, step, start = through_window(patches.Span(*span), *layer)
    last = p * stride - padding + dilation * (kernel - 1)  # the last unit in the window
    assert_equal(start + p * step + size, span[2] + last * span[1] + span[0])


@seen.law("a window of one unit, with stride 1 and padding 0, has the span of the unit")
@given(span=spans, dilation=st.integers(1, 3))
def one_unit(through_window, span, dilation):
    assert_equal(tuple(through_window(patches.Span(*span), 1, 1, 0, dilation)), span)


@seen.law("two layers with kernel 3 give the span of one layer with kernel 5, and three that of kernel 7")
@given(span=spans)
def stacked(through_window, span):
    two = through_window(patches.Span(*through_window(patches.Span(*span), 3, 1, 1)), 3, 1, 1)
    assert_equal(tuple(two), tuple(through_window(patches.Span(*span), 5, 1, 2)))
    three = through_window(patches.Span(*two), 3, 1, 1)
    assert_equal(tuple(three), tuple(through_window(patches.Span(*span), 7, 1, 3)))


@seen.mistake("counted the window in pixels, not in steps between units", breaks=seen.laws[0].text)
def forgot_the_step(span, kernel, stride, padding, dilation=1):
    size, step, start = span
    return patches.Span(size + dilation * (kernel - 1), stride * step, start - padding * step)


@seen.mistake("multiplied size and start by the stride of this layer too", breaks=seen.laws[0].text)
def stride_too_early(span, kernel, stride, padding, dilation=1):
    size, step, start = span
    return patches.Span(
        size + dilation * (kernel - 1) * stride * step, stride * step, start - padding * stride * step
    )


@seen.mistake("forgot the dilation", breaks=seen.laws[2].text)
def forgot_dilation(span, kernel, stride, padding, dilation=1):
    return patches.through_window(span, kernel, stride, padding)


@seen.mistake("added kernel steps to the size, not kernel - 1", breaks=seen.laws[0].text)
def one_too_far(span, kernel, stride, padding, dilation=1):
    size, step, start = span
    return patches.Span(size + dilation * kernel * step, stride * step, start - padding * step)


# ---- 13.5 top_patches

top = Exercise(
    "13.5",
    top_patches,
    title="the patches that excite a layer most",
    helpers=("receptive_field",),
    kind="model",
    points=4,
    level=3,
    minutes=45,
    hints=(
        "In each channel, each image has one strongest unit. Collect its value and its place for all "
        "images. Then sort the images, for each channel separately. The pixels that the unit sees are "
        "the patch.",
        "layer_output(model, batch, layer) gives the layer's output, and strongest_units gives the "
        "maxima of its maps. A stable sort along the images gives the k best. receptive_field(model, "
        "layer, (C, H, W)).box(p, q, (H, W)) gives the box of unit (p, q). batch_slices(images) gives "
        "slices that fit in memory.",
        'best = np.argsort(-values, axis=0, kind="stable")[:k].T is (C, k); values[best, channels] needs '
        "channels of shape (C, 1), and so do the places",
    ),
)
NEAR = {"rtol": 1e-4, "atol": 1e-6}
ONE_BLOCK = {"num_classes": 2, "in_channels": 1, "widths": (2,), "pool_after": ()}
TWO_BLOCKS = {"num_classes": 2, "in_channels": 1, "widths": (2, 3), "pool_after": (1,)}
RESIDUAL = {"num_classes": 2, "in_channels": 1, "widths": (2, 3)}
CONV, POOL = (3, 1, 1), (2, 2, 0)  # kernel, stride, padding


def pixels_seen(p, length, windows):
    """The first and the last pixel (exclusive) that unit p sees through a sequence of windows."""
    first = last = p
    for kernel, stride, padding in reversed(windows):
        first, last = first * stride - padding, last * stride - padding + kernel - 1
    return max(first, 0), min(last + 1, length)


def box_of(p, q, size, windows):
    return [*pixels_seen(p, size[0], windows), *pixels_seen(q, size[1], windows)]


def maps_by_loops(images, weight):
    """A 3x3 convolution with zeros around the images (N, 1, H, W): maps (N, C, H, W)."""
    n, _, height, width = images.shape
    padded, maps = np.zeros((n, height + 2, width + 2)), np.zeros((n, len(weight), height, width))
    padded[:, 1:-1, 1:-1] = images[:, 0]
    for i, c, p, q in np.ndindex(maps.shape):
        maps[i, c, p, q] = (padded[i, p : p + 3, q : q + 3] * weight[c, 0]).sum()
    return maps


@st.composite
def searched(draw):
    """A network of one convolution block, images (N, 1, 3, 4), and k."""
    images = draw(arrays(st.tuples(st.integers(1, 4), st.just(1), st.just(3), st.just(4))))
    model = Built("small_cnn", seed=draw(st.integers(0, 9)), **ONE_BLOCK, training=draw(st.booleans()))
    return model, images, draw(st.integers(1, len(images)))


@top.law("for a 3x3 convolution and three images: the two strongest, their places, and the 3x3 boxes around")
def worked_patches(top_patches):
    model = Built("small_cnn", seed=1, **ONE_BLOCK, training=("block1",), requires_grad=False)
    images = np.array([3, 1, 2]).reshape(3, 1, 1, 1) * (np.arange(36.0).reshape(3, 1, 3, 4) % 7 - 3) / 4
    maps = maps_by_loops(images, model.build().block1.conv.weight.data.astype(np.float64))
    values, numbers, places, boxes = top_patches(model, "block1.conv", images, 2)
    for c in range(2):
        best = sorted(range(3), key=lambda i: -maps[i, c].max())[:2]
        units = [np.unravel_index(maps[i, c].argmax(), (3, 4)) for i in best]
        assert_equal(numbers[c], np.array(best))
        assert_close(values[c], np.array([maps[i, c].max() for i in best]), rtol=1e-10, atol=0)
        assert_equal(places[c], np.array(units))
        assert_equal(boxes[c], np.array([box_of(p, q, (3, 4), [CONV]) for p, q in units]))


@top.law(
    "each value is the largest of its image's map, and each image occurs once; no stronger image is left out"
)
@given(case=searched())
def the_strongest(top_patches, case):
    model, images, k = case
    maps = built_once(model).eval().block1(Tensor(images)).data
    values, numbers, places, _ = top_patches(model, "block1.relu", images, k)  # a dead unit has the value 0
    for c in range(2):
        at_places = [maps[i, c, p, q] for i, (p, q) in zip(numbers[c], places[c], strict=True)]
        assert_close(values[c], np.array(at_places), **NEAR)
        assert_close(values[c], np.sort(maps[:, c].max(axis=(1, 2)))[::-1][:k].copy(), **NEAR)
        assert_equal(len(set(numbers[c].tolist())), k)


@top.law(
    "the box has all pixels that the unit sees, cut at the image border; also after pooling and a shortcut"
)
def boxes_by_windows(top_patches):
    images = np.random.default_rng(0).integers(-4, 5, (3, 1, 8, 10)) / 4
    to_stage2 = [CONV, CONV, CONV, (3, 2, 1), CONV]
    for model, layer, windows in (
        (Built("small_cnn", seed=2, **TWO_BLOCKS), "block1", [CONV, POOL]),
        (Built("small_cnn", seed=2, **TWO_BLOCKS), "block2.bn", [CONV, POOL, CONV]),
        (Built("own_cnn", seed=2, channels=1, num_classes=2), "block.relu", [CONV]),
        (Built("tiny_resnet", seed=3, **RESIDUAL), "stage1", [CONV, CONV, CONV]),
        (Built("tiny_resnet", seed=3, **RESIDUAL), "stage2", to_stage2),
    ):
        _, _, places, boxes = top_patches(model, layer, images, 3)
        expected = [[box_of(p, q, (8, 10), windows) for p, q in row] for row in places]
        assert_equal(boxes, np.array(expected))
    model, colours = (
        Built("small_cnn", seed=2, **{**TWO_BLOCKS, "in_channels": 2}),
        images.reshape(3, 2, 4, 10),
    )
    maps = model.build().block1(Tensor(colours)).data.max(axis=(2, 3))
    values, _, places, boxes = top_patches(model, "block1", colours, 3)
    assert_close(values, np.sort(maps, axis=0)[::-1].T.copy(), **NEAR)
    assert_equal(boxes, np.array([[box_of(p, q, (4, 10), [CONV, POOL]) for p, q in row] for row in places]))
    # a window of one row and four columns, so it sees seven; the sizes of rows and of columns differ
    wide = Built("conv2d", weight=[[[[1.0] * 4]]], stride=(1, 3), padding=(0, 1), dilation=2)
    long = np.arange(600.0).reshape(1, 1, 2, 300) * [[1], [-1]]
    values, _, places, boxes = top_patches(wide, "", long, 1)
    found = values.tolist(), places.tolist(), boxes.tolist()
    assert_equal(found, ([[293.0 + 295 + 297 + 299]], [[[0, 98]]], [[[0, 1, 293, 300]]]))
    for padding, pixels, box in ((0, long, [0, 1, 299, 300]), (2, -1 - abs(long), [0, 0, 0, 0])):
        one = Built("conv2d", weight=[[[[1.0]]]], padding=padding)  # the unit sees one pixel, or only padding
        assert_equal(top_patches(one, "", pixels, 1)[3].tolist(), [[box]])


@top.law(
    "on a tie of images the first image comes first; on a tie of units the first in reading order counts"
)
def first_of_equals(top_patches):
    model = Built("small_cnn", seed=4, **ONE_BLOCK)
    _, numbers, places, _ = top_patches(model, "block1.bn", np.zeros((20, 1, 3, 4)), 18)
    assert_equal(numbers, np.array([np.arange(18)] * 2))
    assert_equal(places, np.zeros((2, 18, 2), int))
    twice = np.float32([[[[0, 0, 0, 5], [0, 5, 0, 0]]], [[[0, 0, 0, 0], [0, 5, 5, 0]]]])  # two maxima each
    same, many = Built("conv2d", weight=[[[[1.0]]]]), np.tile(twice, (151, 1, 1, 1))  # two batches
    _, numbers, places, _ = top_patches(same, "", many, 300)
    assert_equal((numbers.tolist(), places.tolist()), ([list(range(300))], [[[0, 3], [1, 1]] * 150]))
    near = np.concatenate([many[:1], many[:1], many[1:3] / 2]).astype(np.float64)  # the first two are equal
    near[:, 0, 1, 1] += 1e-12  # in float64, then this is the strongest unit
    _, numbers, places, _ = top_patches(same, "", near, 2)
    assert_equal((numbers.tolist(), places.tolist()), ([[0, 1]], [[[1, 1], [1, 1]]]))
    bright = np.array([1.0, 2.0, 1.0, 4.0, 2.0] * 8)  # one pixel of each image
    images = np.zeros((40, 1, 3, 4))
    for shift in (0.0, 1e-13):  # in float64, then no two are equal
        images[:, 0, 1, 1] = bright = bright + shift * np.arange(40)
        _, numbers, _, _ = top_patches(model, "block1.conv", images, 30)
        assert_equal(numbers, np.array([sorted(range(40), key=lambda i: (-bright[i], i))[:30]] * 2))


@top.law("in a layer with output (N, C), a unit has the place (0, 0) and sees the whole image")
def of_rows(top_patches):
    model, images = Built("small_cnn", seed=5, **TWO_BLOCKS), np.arange(72.0).reshape(3, 1, 4, 6) % 11 / 4
    logits = model.build()(Tensor(images)).data
    values, numbers, places, boxes = top_patches(model, "head", images, 2)
    assert_equal(numbers, np.argsort(-logits, axis=0)[:2].T.copy())
    assert_close(values, np.sort(logits, axis=0)[::-1][:2].T.copy(), rtol=1e-10, atol=0)
    assert_dtype(top_patches(model, "head", images.astype(np.float32), 2)[0], np.float32)
    assert_equal(places, np.zeros((2, 2, 2), int))
    assert_equal(boxes, np.array([[[0, 4, 0, 6]] * 2] * 2))
    settings = {"in_features": 24, "hidden": (3, 5), "num_classes": 2, "dropout": 0.5, "training": True}
    model = Built("mlp", seed=5, **settings)  # no convolution, and a Dropout before fc2
    outputs = model.build().eval()[:5](Tensor(images)).data  # up to fc2
    values, _, _, boxes = top_patches(model, "fc2", images, 2)
    assert_close(values, np.sort(outputs, axis=0)[::-1][:2].T.copy(), **NEAR)
    assert_equal(boxes, np.array([[[0, 4, 0, 6]] * 2] * 5))


@top.law("all of 301 images are searched; values have the images' dtype; images, places, boxes are integers")
def many_images(top_patches):
    model, rng = Built("small_cnn", seed=6, **TWO_BLOCKS), np.random.default_rng(1)
    images, net = rng.integers(-8, 9, (301, 1, 4, 4)) / 4, model.build()
    images[[3, 290, 300]] *= 8  # in the first batch and in the last
    largest = net.block2.bn(net.block2.conv(net.block1(Tensor(images)))).data.max(axis=(2, 3))
    for dtype in (np.float64, np.float32):
        values, numbers, places, boxes = top_patches(model, "block2.bn", images.astype(dtype), 4)
        assert_equal(numbers, np.argsort(-largest, axis=0)[:4].T.copy())
        assert_close(values, np.sort(largest, axis=0)[::-1][:4].T.copy(), rtol=1e-4, atol=1e-5)
        assert_dtype(values, dtype)
        for found, shape in ((numbers, (3, 4)), (places, (3, 4, 2)), (boxes, (3, 4, 4))):
            assert_equal(found.shape, shape)
            assert found.dtype.kind == "i", f"{found.dtype} in place of integers"


@top.law(
    "ValueError for k outside 1 ... N, a layer without a known field, images (N, H, W), NaN and an overflow"
)
def refuses(top_patches):
    model, images = Built("small_cnn", seed=0, **ONE_BLOCK, training=True), np.ones((3, 1, 3, 4))
    for k in (0, -1, 4):
        assert_refuses(f"k = {k} of 3 images", top_patches, model, "block1", images, k)
    assert_refuses("the layer 'block2'", top_patches, model, "block2", images, 1)
    own = Built("shared_relu", seed=0, in_features=12, num_classes=2)
    for layer, what in (("act", "which runs twice"), ("first", "behind a reshape in the model's forward")):
        assert_refuses(f"the layer {layer!r}, {what},", top_patches, own, layer, images, 1)
    assert_refuses("images (3, 3, 4)", top_patches, model, "block1", images[:, 0], 1)
    assert_refuses("images of NaN", top_patches, model, "block1", np.nan * images, 1)
    doubles = Built("conv2d", weight=[[[[1.0]]], [[[2.0]]]], training=True)  # in the second channel
    unknown = Built("conv2d", weight=[[[[1.0]]], [[[np.nan]]]], training=True)
    assert_refuses("a filter of NaN", top_patches, unknown, "", images, 1)
    same = Built("conv2d", weight=[[[[1.0]]]])
    large = np.float32([[[[3e38, 3e38, -3e38]]]])  # finite, but their sum and their range are not
    with np.errstate(all="ignore"):
        assert_equal(top_patches(same, "", large, 1)[0], large[0, 0, :, :1])
        for huge in (np.float32(3e38), np.float32(-3e38)):
            which = f"images of {huge:g} before a filter that doubles them"
            assert_refuses(which, top_patches, doubles, "", np.full((1, 1, 3, 4), huge), 1)
            for n in (1, 298):  # in the first batch, or in the last
                one_pixel = np.ones((300, 1, 3, 4), np.float32)
                one_pixel[n, 0, 1, 1] = huge
                assert_refuses(f"{which}, in one pixel of image {n},", top_patches, doubles, "", one_pixel, 1)


def with_boxes(model, layer, images, found, box):
    """The same patches, but another function makes the boxes from field, p and q."""
    field = receptive_field(model, layer, images.shape[1:])
    boxes = [[box(field, p, q) for p, q in row] for row in found.places]
    return found._replace(boxes=np.array(boxes))


@top.mistake(
    "took the strongest units of all images together, so an image may occur twice", breaks=top.laws[0].text
)
def units_of_all(model, layer, images, k):
    found = top_patches(model, layer, images, k)
    outputs = layer_output(model, images, layer)
    if outputs.ndim == 2:
        return found
    flat = outputs.transpose(1, 0, 2, 3).reshape(outputs.shape[1], -1)
    best = np.argsort(-flat, axis=1, kind="stable")[:, :k]
    numbers, p, q = np.unravel_index(best, (len(images), *outputs.shape[2:]))
    other = TopPatches(np.take_along_axis(flat, best, axis=1), numbers, np.stack([p, q], axis=2), found.boxes)
    return with_boxes(model, layer, images, other, lambda field, p, q: field.box(p, q, images.shape[2:]))


@top.mistake("put the column before the row", breaks=top.laws[0].text)
def column_first(model, layer, images, k):
    found = top_patches(model, layer, images, k)
    return found._replace(places=found.places[:, :, ::-1])


@top.mistake("forgot the padding: the first unit begins before pixel 0", breaks=top.laws[0].text)
def without_padding(model, layer, images, k):
    def box(field, p, q):
        rows, columns = field.rows._replace(start=0), field.columns._replace(start=0)
        return field._replace(rows=rows, columns=columns).box(p, q, images.shape[2:])

    found = top_patches(model, layer, images, k)
    return (
        found if found.boxes.max() == 0 or layer == "head" else with_boxes(model, layer, images, found, box)
    )


@top.mistake("did not cut the box at the image", breaks=top.laws[0].text)
def uncut(model, layer, images, k):
    def box(field, p, q):
        first = [span.start + place * span.step for span, place in zip(field, (p, q), strict=True)]
        return first[0], first[0] + field.rows.size, first[1], first[1] + field.columns.size

    found = top_patches(model, layer, images, k)
    return found if layer == "head" else with_boxes(model, layer, images, found, box)


@top.mistake("sorted the values from low to high", breaks=top.laws[0].text)
def weakest_first(model, layer, images, k):
    found = top_patches(model, layer, images, len(images))
    top_patches(model, layer, images, k)
    return TopPatches(*(part[:, ::-1][:, :k] for part in found))
