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
