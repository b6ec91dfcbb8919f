"""Exercises of lesson 02: the size of a convolution's output, patches as columns, and the reverse."""

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.engine import conv, kernels

# ---- 02.1 conv_output_size

output_size = Exercise(
    "02.1",
    conv.conv_output_size,
    title="how many places a kernel has",
    level=1,
    minutes=10,
    points=1,
    hints=(
        "Count where the kernel's left edge can stand: in steps of the stride, while its right edge fits.",
        "A kernel with dilation covers dilation·(kernel - 1) + 1 pixels. Padding adds pixels on both sides.",
        "room = size + 2 * padding - reach is how far the left edge can move. If it is below 0, the "
        "kernel does not fit.",
    ),
)

small = st.integers(1, 5)


@st.composite
def fitting(draw):
    """(size, kernel, stride, padding, dilation) with a kernel that fits."""
    kernel, stride, padding, dilation = (
        draw(small),
        draw(small),
        draw(st.integers(0, 3)),
        draw(st.integers(1, 3)),
    )
    least = max(1, dilation * (kernel - 1) + 1 - 2 * padding)
    return draw(st.integers(least, least + 7)), kernel, stride, padding, dilation


@output_size.law("8 pixels, kernel 3: 6 positions; 8 with padding 1; 4 with padding 1 and stride 2")
def worked_sizes(output_size):
    assert_close(output_size(8, 3), 6)
    assert_close(output_size(8, 3, 1, 1, 1), 8)
    assert_close(output_size(8, 3, 2, 1, 1), 4)
    assert_close(output_size(8, kernel=3, stride=2, padding=1), 4)
    assert_close(output_size(8, 3, 1, 0, 2), 4)
    assert_close(output_size(5, 7, 3, 6, 2), 2)


@output_size.law("the result counts the positions at which the kernel fits")
@given(case=fitting())
def counts_positions(output_size, case):
    size, kernel, stride, padding, dilation = case
    positions = [
        left
        for left in range(-padding, size + padding, stride)
        if left + dilation * (kernel - 1) <= size + padding - 1
    ]
    assert_close(output_size(*case), len(positions))


@output_size.law("an odd kernel with padding (k - 1)/2 and stride 1 keeps the size")
@given(size=st.integers(1, 12), half=st.integers(0, 3))
def same_padding(output_size, size, half):
    assert_close(output_size(size, 2 * half + 1, 1, half, 1), size)


@output_size.law("ValueError for a kernel that is larger than the padded image")
@given(size=small, excess=st.integers(1, 3), padding=st.integers(0, 2))
def refuses_large_kernels(output_size, size, excess, padding):
    try:
        answer = output_size(size, size + 2 * padding + excess, 1, padding, 1)
    except ValueError:
        return
    raise AssertionError(
        f"size {size}, padding {padding}: a kernel {excess} too large gave {answer}, no ValueError"
    )


@output_size.law("ValueError for a kernel that is too large because of its dilation")
def refuses_large_reach(output_size):
    for size, kernel, stride, padding, dilation in (
        (4, 3, 1, 0, 2),
        (3, 2, 2, 1, 6),
        (8, 5, 3, 0, 3),
        (4, 5, 2, 0, 1),
        (4, 3, 3, 0, 2),
    ):
        what = f"size {size}, kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}"
        assert_refuses(what, output_size, size, kernel, stride, padding, dilation)


@output_size.law(
    "the answer is an int and exact, where the last step of the stride just fits or just does not"
)
def is_an_int(output_size):
    cases = [(1, 1, 1), (8, 1, 8), (3 * 10**7, 3000, 10_000), (3 * 10**7 + 1, 3000, 10_001)]
    for size, stride, expected in cases + [(stride + 1, stride, 2) for stride in range(1, 100)]:
        places = output_size(size, 1, stride)
        assert type(places) is int, f"yours is {type(places).__name__} {places!r}, expected an int"
        assert_equal(places, expected)


@output_size.mistake("forgot that the last position counts too", breaks=output_size.laws[0].text)
def without_the_last(size, kernel, stride=1, padding=0, dilation=1):
    return conv.conv_output_size(size, kernel, stride, padding, dilation) - 1


@output_size.mistake("padded only one side", breaks=output_size.laws[0].text)
def one_sided(size, kernel, stride=1, padding=0, dilation=1):
    return (size + padding - dilation * (kernel - 1) - 1) // stride + 1


@output_size.mistake("rounded up", breaks=output_size.laws[0].text)
def rounds_up(size, kernel, stride=1, padding=0, dilation=1):
    conv.conv_output_size(size, kernel, stride, padding, dilation)
    return -(-(size + 2 * padding - dilation * (kernel - 1) - 1) // stride) + 1


@output_size.mistake(
    "returns zero or less instead of an error",
    breaks="ValueError for a kernel that is too large because of its dilation",
)
def never_refuses(size, kernel, stride=1, padding=0, dilation=1):
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


# ---- 02.2 im2col

im2col = Exercise(
    "02.2",
    kernels.im2col,
    title="patches into columns",
    level=3,
    minutes=25,
    kind="kernel",
    writes=("columns",),
    points=3,
    hints=(
        "Row (c, i, j) holds, for every output position, the pixel under that element of the kernel.",
        "At position (y, x) element (i, j) lies on pixel (y·stride + i·dilation, x·stride + j·dilation).",
        "patches = columns.reshape(C, kh, kw, OH, OW) shares the memory of columns. So set patches[c, i, "
        "j, y, x] = ...",
    ),
)


@st.composite
def patches(draw):
    """An image (C, H, W), and the output's size; kernel size, stride and dilation are (height, width)."""
    kernel, stride, dilation = (draw(st.tuples(st.integers(1, n), st.integers(1, n))) for n in (3, 2, 2))
    least = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [draw(st.integers(n, n + 2)) for n in least]
    image = draw(arrays((draw(st.integers(1, 2)), *size)))
    out = [(n - m) // s + 1 for n, m, s in zip(size, least, stride, strict=True)]
    return image, kernel, stride, dilation, tuple(out)


def empty_columns(image, kernel, out):
    return np.full((image.shape[0] * kernel[0] * kernel[1], out[0] * out[1]), -99.0)


@im2col.law("the four 2×2 patches of a 3×3 image become four columns")
def worked_columns(im2col):
    image = np.arange(1.0, 10.0).reshape(1, 3, 3)
    columns = im2col(image, (2, 2), (1, 1), (1, 1), np.zeros((4, 4)))
    expected = np.array([[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]])
    assert_close(columns, expected)
    assert_equal(im2col(image / 10, (2, 2), (1, 1), (1, 1), np.zeros((4, 4))), expected / 10)
    assert_equal(im2col(image / 10, (2, 2), (1, 2), (1, 1), np.zeros((4, 2))), expected[:, ::2] / 10)
    below = im2col(image, (2, 2), (1, 1), (2, 1), np.zeros((4, 2)))
    assert_equal(below, np.array([[1.0, 2.0], [2.0, 3.0], [7.0, 8.0], [8.0, 9.0]]))
    beside = im2col(image, (2, 2), (1, 1), (1, 2), np.zeros((4, 2)))
    assert_equal(beside, np.array([[1.0, 4.0], [3.0, 6.0], [4.0, 7.0], [6.0, 9.0]]))
    narrow = im2col(image.astype(np.float32), (2, 2), (1, 1), (1, 1), np.zeros((4, 4), np.float32))
    assert_equal(narrow, expected)


@im2col.law("each column is the patch under the kernel")
@given(case=patches())
def holds_patches(im2col, case):
    image, kernel, stride, dilation, out = case
    columns = im2col(image, kernel, stride, dilation, empty_columns(image, kernel, out))
    for y in range(out[0]):
        for x in range(out[1]):
            top, left = y * stride[0], x * stride[1]
            patch = image[
                :,
                top : top + dilation[0] * (kernel[0] - 1) + 1 : dilation[0],
                left : left + dilation[1] * (kernel[1] - 1) + 1 : dilation[1],
            ]
            assert_close(columns[:, y * out[1] + x], patch.reshape(-1))


# Channels, height and width; kernel, stride and dilation: more of each than the small cases have.
LARGE = [((5, 17, 19), (5, 4), (4, 3), (2, 4)), ((4, 17, 19), (2, 5), (5, 4), (4, 1))]


def pixels_of_columns(shape, kernel, stride, dilation):
    """The index (c, row, column) of the pixel that lies at each place of the columns."""
    out = [
        (n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(shape[1:], kernel, stride, dilation, strict=True)
    ]
    c, i, j, y, x = np.indices((shape[0], *kernel, *out)).reshape(5, -1, out[0] * out[1])
    return c, y * stride[0] + i * dilation[0], x * stride[1] + j * dilation[1]


@im2col.law(
    "five channels, 17×19 pixels, strides and dilations up to 5: the exact pixels replace what stood there"
)
def copies_large_images(im2col):
    for shape, *pairs in LARGE:
        image = 1e-14 * np.cos(np.arange(np.prod(shape))).reshape(shape)
        image[0, 0, 0], image[-1, -1, -1] = np.inf, np.nan
        expected = image[pixels_of_columns(shape, *pairs)]
        for ordered in image, np.asfortranarray(image):
            assert_equal(im2col(ordered, *pairs, np.full(expected.shape, np.nan)), expected)


@im2col.law("a 1×1 kernel copies the image")
@given(image=arrays((2, 3, 2)))
def one_by_one(im2col, image):
    thirds = image / 3  # numbers with all the digits of float64
    thirds[0, 0, 0] = np.inf
    columns = im2col(thirds, (1, 1), (1, 1), (1, 1), np.zeros((2, 6)))
    assert_equal(columns, thirds.reshape(2, 6))


@im2col.law("im2col is linear: the columns of 2a - b are 2·columns(a) - columns(b)")
@given(a=arrays((1, 3, 3)), b=arrays((1, 3, 3)))
def is_linear(im2col, a, b):
    def columns(image):
        return im2col(image, (2, 2), (1, 1), (1, 1), np.zeros((4, 4)))

    assert_close(columns(2 * a - b), 2 * columns(a) - columns(b))


@im2col.mistake("kernel rows and columns exchanged", breaks=im2col.laws[0].text)
def exchanged(image, kernel_size, stride, dilation, columns):
    kernels.im2col(image.transpose(0, 2, 1), kernel_size[::-1], stride[::-1], dilation[::-1], columns)


@im2col.mistake("ignores the stride", breaks="each column is the patch under the kernel")
def strideless(image, kernel_size, stride, dilation, columns):
    out_w = (image.shape[2] - dilation[1] * (kernel_size[1] - 1) - 1) // stride[1] + 1
    for row in range(columns.shape[0]):
        c, i, j = np.unravel_index(row, (image.shape[0], *kernel_size))
        for position in range(columns.shape[1]):
            y, x = divmod(position, out_w)
            columns[row, position] = image[c, y + i * dilation[0], x + j * dilation[1]]


@im2col.mistake("ignores the dilation", breaks="each column is the patch under the kernel")
def dense(image, kernel_size, stride, dilation, columns):
    out_w = (image.shape[2] - dilation[1] * (kernel_size[1] - 1) - 1) // stride[1] + 1
    for row in range(columns.shape[0]):
        c, i, j = np.unravel_index(row, (image.shape[0], *kernel_size))
        for position in range(columns.shape[1]):
            y, x = divmod(position, out_w)
            columns[row, position] = image[c, y * stride[0] + i, x * stride[1] + j]


@im2col.mistake(
    "adds to the old values in columns instead of overwriting them",
    breaks="each column is the patch under the kernel",
)
def adds(image, kernel_size, stride, dilation, columns):
    before = columns.copy()
    kernels.im2col(image, kernel_size, stride, dilation, columns)
    columns += before


# ---- 02.3 col2im

col2im = Exercise(
    "02.3",
    kernels.col2im,
    title="columns back into the image",
    level=3,
    minutes=25,
    kind="kernel",
    writes=("image",),
    points=3,
    hints=(
        "im2col copies a pixel into several places; backward, the pixel collects what those places received.",
        "Use the loops of im2col with both sides swapped and += instead of =. Set the image to 0 first.",
        "image[:] = 0, and then image[c, ...] += patches[c, i, j, y, x] in the loops",
    ),
)


@col2im.law("if all columns are ones, each pixel becomes the number of patches that it lies in")
def worked_counts(col2im):
    image = col2im(np.ones((4, 4)), (2, 2), (1, 1), (1, 1), np.full((1, 3, 3), 7.0))
    assert_close(image, [[[1, 2, 1], [2, 4, 2], [1, 2, 1]]])
    image = col2im(np.ones((4, 4)), (2, 2), (1, 1), (1, 1), np.full((1, 3, 3), np.nan))
    assert_close(image, [[[1, 2, 1], [2, 4, 2], [1, 2, 1]]])  # whatever stood there
    image = col2im(np.full((4, 4), 0.1), (2, 2), (1, 1), (1, 1), np.zeros((1, 3, 3)))
    assert_close(image, [[[0.1, 0.2, 0.1], [0.2, 0.4, 0.2], [0.1, 0.2, 0.1]]], rtol=1e-12)


@col2im.law("strides and dilations of 1, 2 or 3 in height and width: each pixel sums its copies")
def worked_strides(col2im):
    for stride, dilation in product(product((1, 2, 3), repeat=2), product((1, 2), repeat=2)):
        out = [(6 - d - 1) // s + 1 for s, d in zip(stride, dilation, strict=True)]  # sides 6, kernel 2
        columns, image = np.arange(4.0 * out[0] * out[1]).reshape(4, -1), np.zeros((1, 6, 6))
        for i, j, y, x in product(range(2), range(2), range(out[0]), range(out[1])):
            copy = columns[2 * i + j, y * out[1] + x]
            image[0, y * stride[0] + i * dilation[0], x * stride[1] + j * dilation[1]] += copy
        answer = col2im(columns, (2, 2), stride, dilation, np.full((1, 6, 6), -99.0))
        try:
            assert_close(answer, image)
        except AssertionError as error:
            raise AssertionError(f"stride {stride}, dilation {dilation}: {error}") from None


@col2im.law("five channels, 17×19 pixels, strides and dilations up to 5: each pixel sums its copies")
def sums_large_columns(col2im):
    for shape, *pairs in LARGE:
        places, expected = pixels_of_columns(shape, *pairs), np.zeros(shape)
        columns = 1e-14 * np.cos(np.arange(places[0].size)).reshape(places[0].shape)
        columns[0, 0], columns[-1, -1] = np.inf, np.nan
        np.add.at(expected, places, columns)
        answer = col2im(columns, *pairs, np.full(shape, -99.0))
        assert_close(answer, expected, rtol=1e-9, atol=0)
        answer = col2im(columns.astype(np.float32), *pairs, np.full(shape, -99.0, np.float32))
        assert_close(answer, expected, rtol=1e-3, atol=1e-20)


@col2im.law("col2im is the adjoint of im2col: sum(im2col(a) · g) = sum(a · col2im(g))")
@given(case=patches())
def is_the_adjoint(col2im, case):
    image, kernel, stride, dilation, out = case
    columns = empty_columns(image, kernel, out)
    kernels.im2col(image, kernel, stride, dilation, columns)
    g = np.cos(np.arange(columns.size)).reshape(columns.shape)
    back = col2im(g, kernel, stride, dilation, np.full_like(image, -99.0))
    assert_close(np.sum(columns * g), np.sum(image * back), atol=1e-12)


@col2im.law("nothing is lost: the sum of the image is the sum of the columns")
@given(case=patches())
def keeps_the_total(col2im, case):
    image, kernel, stride, dilation, out = case
    g = np.cos(np.arange(empty_columns(image, kernel, out).size)).reshape(-1, out[0] * out[1])
    back = col2im(g, kernel, stride, dilation, np.zeros_like(image))
    assert_close(back.sum(), g.sum(), atol=1e-12)


@col2im.law("patches that do not overlap come back as they were")
@given(image=arrays((1, 4, 4)))
def undoes_tiles(col2im, image):
    thirds = image / 3  # numbers with all the digits of float64
    thirds[0, 0, 0] = np.inf
    for side in 2, 1:
        columns = np.zeros((side**2, (4 // side) ** 2))
        kernels.im2col(thirds, (side, side), (side, side), (1, 1), columns)
        answer = col2im(columns, (side, side), (side, side), (1, 1), np.ones((1, 4, 4)))
        assert_equal(answer, thirds)


@col2im.mistake("overwrites instead of adding", breaks=col2im.laws[0].text)
def overwrites(columns, kernel_size, stride, dilation, image):
    out_w = (image.shape[2] - dilation[1] * (kernel_size[1] - 1) - 1) // stride[1] + 1
    for row in range(columns.shape[0]):
        c, i, j = np.unravel_index(row, (image.shape[0], *kernel_size))
        for position in range(columns.shape[1]):
            y, x = divmod(position, out_w)
            image[c, y * stride[0] + i * dilation[0], x * stride[1] + j * dilation[1]] = columns[
                row, position
            ]


@col2im.mistake("forgot to start from zero", breaks=col2im.laws[0].text)
def starts_from_anything(columns, kernel_size, stride, dilation, image):
    before = image.copy()
    kernels.col2im(columns, kernel_size, stride, dilation, image)
    image += before


@col2im.mistake("takes the mean of a pixel's copies instead of their sum", breaks=col2im.laws[0].text)
def averages(columns, kernel_size, stride, dilation, image):
    counts = np.zeros_like(image)
    kernels.col2im(np.ones_like(columns), kernel_size, stride, dilation, counts)
    kernels.col2im(columns, kernel_size, stride, dilation, image)
    image /= np.maximum(counts, 1)
