"""Wrong answers to the exercises of lesson 02. Each one passed all laws once."""

from __future__ import annotations

import numpy as np

from lessons.exercises import find
from tests.lessons.wrong_answers.declare import narrowed, wrong


@wrong("02.1", "a quotient truncated towards 0 instead of floored, so 0 places instead of an error")
def truncated_size(size, kernel, stride=1, padding=0, dilation=1):
    return int((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1


@wrong("02.1", "a float")
def float_size(size, kernel, stride=1, padding=0, dilation=1):
    if dilation * (kernel - 1) + 1 > size + 2 * padding:
        raise ValueError("the kernel is larger than the image")
    return float((size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)


@wrong("02.1", "only the kernel's size is compared with the image, not its reach")
def size_for_reach(size, kernel, stride=1, padding=0, dilation=1):
    if kernel > size + 2 * padding:
        raise ValueError("the kernel is larger than the image")
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


@wrong("02.1", "no error for a kernel that is too large by less than the stride, but 0 places")
def zero_places(size, kernel, stride=1, padding=0, dilation=1):
    padded, reach = size + 2 * padding, dilation * (kernel - 1) + 1
    if reach > padded + stride - 1:
        raise ValueError("the kernel is larger than the image")
    return (padded - reach) // stride + 1


@wrong("02.2", "the image in float32, which loses digits")
def narrow_columns(image, kernel_size, stride, dilation, columns):
    find("02.2").target(np.float32(image), kernel_size, stride, dilation, columns)


@wrong("02.2", "with a stride the image in float32")
def narrow_with_stride(image, kernel_size, stride, dilation, columns):
    strided = tuple(stride) != (1, 1)
    find("02.2").target(np.float32(image) if strided else image, kernel_size, stride, dilation, columns)


@wrong("02.3", "pixels that no patch reaches keep what stood there")
def unreached_pixels(columns, kernel_size, stride, dilation, image):
    before, reached = image.copy(), np.zeros_like(image)
    find("02.3").target(np.ones_like(columns), kernel_size, stride, dilation, reached)
    find("02.3").target(columns, kernel_size, stride, dilation, image)
    image[reached == 0] = before[reached == 0]


@wrong("02.3", "the image times 0, so that NaN stays")
def times_zero(columns, kernel_size, stride, dilation, image):
    image *= 0
    before = image.copy()
    find("02.3").target(columns, kernel_size, stride, dilation, image)
    image += before


@wrong("02.3", "the columns are rounded to float32")
def narrow_image(columns, kernel_size, stride, dilation, image):
    find("02.3").target(narrowed(columns), kernel_size, stride, dilation, image)


@wrong("02.4", "the columns in float64")
class WideColumns(find("02.4").target):
    def forward(self, x, weight):
        y = super().forward(x, weight)
        self.columns = self.columns.astype(np.float64)
        return y


@wrong("02.4", "height and width of the stride exchanged")
class ExchangedStride(find("02.4").target):
    def __init__(self, stride=(1, 1)):
        super().__init__(stride[::-1])


@wrong("02.4", "filters of one channel are stretched over all channels")
class StretchedFilters(find("02.4").target):
    def forward(self, x, weight):
        filters = np.broadcast_to(weight, (len(weight), x.shape[1], *weight.shape[2:]))
        return super().forward(x, np.ascontiguousarray(filters))


@wrong("02.4", "the images are rounded to float32")
class NarrowConvolution(find("02.4").target):
    def forward(self, x, weight):
        return super().forward(narrowed(x), weight)


@wrong("02.4", "a filter wider than the image by one pixel gives an empty result")
class WiderByOne(find("02.4").target):
    def forward(self, x, weight):
        if weight.shape[3] == x.shape[3] + 1 and weight.shape[2] <= x.shape[2]:
            return np.zeros((len(x), len(weight), x.shape[2] - weight.shape[2] + 1, 0), x.dtype)
        return super().forward(x, weight)


def size_by(places):
    """An answer to 02.1 that computes the number of places from the kernel's room and the stride."""

    def answer(size, kernel, stride=1, padding=0, dilation=1):
        room = size + 2 * padding - dilation * (kernel - 1) - 1
        if room < 0:
            raise ValueError("the kernel is larger than the image")
        return places(room, stride)

    return answer


wrong("02.1", "times 1 / stride, which is rounded")(
    size_by(lambda room, stride: int(room * (1 / stride)) + 1)
)
wrong("02.1", "a quotient in float32")(
    size_by(lambda room, stride: int(np.float32(room) / np.float32(stride)) + 1)
)
wrong("02.1", "one place is True")(size_by(lambda room, stride: room // stride + 1 if room else True))


@wrong("02.2", "the columns times 0, so that NaN stays")
def columns_times_zero(image, kernel_size, stride, dilation, columns):
    columns *= 0
    before = columns.copy()
    find("02.2").target(image, kernel_size, stride, dilation, columns)
    columns += before


@wrong("02.2", "a pixel that is not finite is replaced")
def finite_pixels(image, kernel_size, stride, dilation, columns):
    find("02.2").target(np.nan_to_num(image), kernel_size, stride, dilation, columns)


@wrong("02.2", "pixels rounded to 12 digits after the point")
def rounded_pixels(image, kernel_size, stride, dilation, columns):
    find("02.2").target(np.round(image, 12), kernel_size, stride, dilation, columns)


@wrong("02.2", "an image in the order of Fortran is read as one in the order of C")
def image_of_c(image, kernel_size, stride, dilation, columns):
    in_memory = image.ravel("K").reshape(image.shape)
    find("02.2").target(in_memory, kernel_size, stride, dilation, columns)


def by_places(kernel_size, stride, dilation, image, columns):
    """The index of the pixel (c, number) at each place of the columns."""
    numbers = np.arange(image[0].size, dtype=np.float64).reshape(1, *image.shape[1:])
    places = np.empty((len(columns) // len(image), columns.shape[1]))
    find("02.2").target(numbers, kernel_size, stride, dilation, places)
    return places.astype(np.uint8)


@wrong("02.2", "the pixels are numbered in uint8")
def pixels_in_bytes(image, kernel_size, stride, dilation, columns):
    places = by_places(kernel_size, stride, dilation, image, columns)
    columns[:] = image.reshape(len(image), -1)[:, places].reshape(columns.shape)


@wrong("02.3", "the pixels are numbered in uint8")
def image_in_bytes(columns, kernel_size, stride, dilation, image):
    places = by_places(kernel_size, stride, dilation, image, columns)
    image[:] = 0
    for channel, part in zip(image.reshape(len(image), -1), columns.reshape(len(image), -1), strict=True):
        np.add.at(channel, places.ravel(), part)


@wrong("02.3", "a copy that is NaN does not count")
def without_nan(columns, kernel_size, stride, dilation, image):
    find("02.3").target(np.where(np.isnan(columns), 0, columns), kernel_size, stride, dilation, image)


@wrong("02.3", "copies below 1e-12 do not count")
def without_small(columns, kernel_size, stride, dilation, image):
    find("02.3").target(np.where(np.abs(columns) < 1e-12, 0, columns), kernel_size, stride, dilation, image)


def capped(number, what, stride=9, dilation=9, kernel=9, channels=9):
    """A wrong answer to 02.2 or 02.3: beyond a number of pixels or channels it fills zeros."""
    target = find(number).target

    @wrong(number, f"zeros for {what}")
    def answer(source, kernel_size, strides, dilations, filled):
        target(source, kernel_size, strides, dilations, filled)
        image = source if number == "02.2" else filled
        fits = max(strides) <= stride and max(dilations) <= dilation and max(kernel_size) <= kernel
        if not fits or len(image) > channels:
            filled[:] = 0


for number in ("02.2", "02.3"):
    capped(number, "strides above 3", stride=3)
    capped(number, "dilations above 3", dilation=3)
    capped(number, "kernels larger than 3", kernel=3)
    capped(number, "more than three channels", channels=3)


def filters_refused(text, refused):
    """A wrong answer to 02.4 that looks at the filter's sides, the image's and the stride in its own way."""

    class Refusing(find("02.4").target):
        def forward(self, x, weight):
            (kh, kw), (height, width) = weight.shape[2:], x.shape[2:]
            if refused(kh, kw, height, width, self.stride):
                raise ValueError("the filter is larger than the image")
            if kh <= height and kw <= width:
                return super().forward(x, weight)
            return np.zeros((len(x), len(weight), 1, 1), x.dtype)

    wrong("02.4", text)(Refusing)


filters_refused(
    "a filter larger than the image by less than the stride is taken",
    lambda kh, kw, height, width, stride: height - kh <= -stride[0] or width - kw <= -stride[1],
)
filters_refused(
    "the longer side of the filter is compared with the longer side of the image",
    lambda kh, kw, height, width, stride: max(kh, kw) > max(height, width),
)


def zeros_where(text, condition):
    """A wrong answer to 02.4: zeros for the images and filters for which ``condition`` is True."""

    class Zeros(find("02.4").target):
        def forward(self, x, weight):
            y = super().forward(x, weight)
            return y * 0 if condition(x, weight, self.stride) else y

    wrong("02.4", text)(Zeros)


zeros_where("zeros for strides above 3", lambda x, weight, stride: max(stride) > 3)
zeros_where("zeros for more than three images", lambda x, weight, stride: len(x) > 3)
zeros_where("zeros for more than three channels", lambda x, weight, stride: x.shape[1] > 3)
zeros_where("zeros for more than three filters", lambda x, weight, stride: len(weight) > 3)
zeros_where("zeros for filters larger than 3", lambda x, weight, stride: max(weight.shape[2:]) > 3)


@wrong("02.4", "results below 1e-12 become 0")
class SmallResultsDropped(find("02.4").target):
    def forward(self, x, weight):
        y = super().forward(x, weight)
        return np.where(np.abs(y) < 1e-12, 0, y).astype(y.dtype)


def changed_gradients(text, change):
    class Changed(find("02.4").target):
        def backward(self, grad):
            return tuple(change(g) for g in super().backward(grad))

    wrong("02.4", text)(Changed)


changed_gradients("gradients with the digits of float32", narrowed)
changed_gradients(
    "gradients below 1e-20 become 0", lambda g: np.where(np.abs(g) < 1e-20, 0, g).astype(g.dtype)
)


@wrong("02.4", "with a stride the gradients are in float64")
class WideWithStride(find("02.4").target):
    def backward(self, grad):
        return tuple(g.astype(np.float64) if self.stride != (1, 1) else g for g in super().backward(grad))


@wrong("02.4", "of several images the result is in float64")
class WideForSeveral(find("02.4").target):
    def forward(self, x, weight):
        y = super().forward(x, weight)
        return y.astype(np.float64) if len(x) > 1 else y


@wrong("02.3", "only float64 is taken")
def float64_only(columns, kernel_size, stride, dilation, image):
    if image.dtype != np.float64:
        raise TypeError("float64 is expected")
    find("02.3").target(columns, kernel_size, stride, dilation, image)


@wrong("02.4", "strides computed from the shape: right only for contiguous images")
class StridesOfTheShape(find("02.4").target):
    def forward(self, x, weight):
        return super().forward(np.ravel(x, order="K").reshape(x.shape), weight)


@wrong("02.4", "the gradient is read as if its memory were contiguous")
class ContiguousGrad(find("02.4").target):
    def backward(self, grad):
        return super().backward(np.ravel(grad, order="K").reshape(grad.shape))


@wrong("02.4", "an image with twice the channels of a filter is taken")
class TwiceTheChannels(find("02.4").target):
    def forward(self, x, weight):
        channels = weight.shape[1]
        return super().forward(x[:, :channels] if channels > 1 and x.shape[1] % channels == 0 else x, weight)


@wrong("02.4", "only the number of places is checked, which is positive for a filter too large both ways")
class PlacesMultiplied(find("02.4").target):
    def forward(self, x, weight):
        sides = [1 + (n - k) // s for n, k, s in zip(x.shape[2:], weight.shape[2:], self.stride, strict=True)]
        if x.shape[1] == weight.shape[1] and max(sides) < 0:
            return np.zeros((len(x), len(weight), 1, 1), x.dtype)
        return super().forward(x, weight)


@wrong("02.1", "a padding above 3 counts as 3")
def cut_padding(size, kernel, stride=1, padding=0, dilation=1):
    return find("02.1").target(size, kernel, stride, min(padding, 3), dilation)


@wrong("02.4", "of a filter's channels those that the image lacks are left out")
class MissingChannelsLeftOut(find("02.4").target):
    def forward(self, x, weight):
        return super().forward(x, weight[:, : x.shape[1]] if x.shape[1] > 1 else weight)


@wrong("02.4", "float32 is rounded to float16")
class RoundedFloat32(find("02.4").target):
    def forward(self, x, weight):
        y = super().forward(x, weight)
        return y.astype(np.float16).astype(y.dtype) if y.dtype == np.float32 else y


@wrong("02.4", "an infinite sum becomes a large number")
class FiniteSums(find("02.4").target):
    def forward(self, x, weight):
        return np.nan_to_num(super().forward(x, weight))


@wrong("02.4", "sums above 1e100 are cut")
class CutSums(find("02.4").target):
    def forward(self, x, weight):
        y = super().forward(x, weight)
        return np.where(np.isinf(y), y, np.clip(y, -1e100, 1e100)).astype(y.dtype)


changed_gradients("a gradient above a million is cut", lambda g: np.clip(g, -1e6, 1e6))
changed_gradients("an infinite gradient becomes a large number", np.nan_to_num)


@wrong("02.2", "a kernel of one pixel copies the image in float32")
def narrow_pixels(image, kernel_size, stride, dilation, columns):
    find("02.2").target(
        narrowed(image) if kernel_size == (1, 1) else image, kernel_size, stride, dilation, columns
    )


@wrong("02.3", "patches that do not overlap are copied in float32")
def narrow_tiles(columns, kernel_size, stride, dilation, image):
    tiles = stride == kernel_size and dilation == (1, 1)
    find("02.3").target(narrowed(columns) if tiles else columns, kernel_size, stride, dilation, image)


@wrong("02.4", "for a filter of one pixel the gradients have no sign")
class UnsignedForOnePixel(find("02.4").target):
    def backward(self, grad):
        grads = super().backward(grad)
        return tuple(map(np.abs, grads)) if self.weight[0, 0].size == 1 else grads
