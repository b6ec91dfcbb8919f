"""The loops of convolution and of large arrays: plain functions, which ``jit.py`` compiles.

The functions may use only loops, NumPy arrays and other functions of this file, because Numba compiles them.
Compiled code checks no index, so callers (conv.py) must refuse bad shapes first. Kernels for a batch take
``first, last``, the range of their work, and write into arrays of the caller.
"""

from __future__ import annotations

import numpy as np


def conv2d_loops(x, weight, stride, dilation, groups):
    """The definition of convolution, as seven loops; ``x`` (N, C, H, W) is already padded.

    y[n, o, r, s] = sum over c, i, j of
                    weight[o, c, i, j] x[n, c, r stride + i dilation, s stride + j dilation]
    """
    samples, channels, height, width = x.shape
    out_channels, group_channels, kernel_h, kernel_w = weight.shape
    out_h = (height - dilation[0] * (kernel_h - 1) - 1) // stride[0] + 1
    out_w = (width - dilation[1] * (kernel_w - 1) - 1) // stride[1] + 1
    y = np.zeros((samples, out_channels, out_h, out_w), x.dtype)
    for n in range(samples):
        for o in range(out_channels):
            first_channel = o // (out_channels // groups) * group_channels
            for r in range(out_h):
                for s in range(out_w):
                    for c in range(group_channels):
                        for i in range(kernel_h):
                            for j in range(kernel_w):
                                row, column = r * stride[0] + i * dilation[0], s * stride[1] + j * dilation[1]
                                y[n, o, r, s] += x[n, first_channel + c, row, column] * weight[o, c, i, j]
    return y


def pad(image, padding, padded):
    """Copy ``image`` (C, H, W) into ``padded``, behind ``padding`` (rows, columns); other rows become 0.

    A negative padding skips the image's first rows, and ``padded`` may have too few rows for the whole image.
    The margins to the left and right of the image do not change.
    """
    channels, height, width = image.shape
    top, left = padding
    for c in range(channels):
        for row in range(padded.shape[1]):
            y = row - top
            if 0 <= y < height:
                for x in range(width):
                    padded[c, row, left + x] = image[c, y, x]
            else:
                for x in range(padded.shape[2]):
                    padded[c, row, x] = 0


def crop(padded, padding, image):
    """The adjoint of ``pad``: copy the middle of ``padded`` into ``image``."""
    channels, height, width = image.shape
    top, left = padding
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                image[c, y, x] = padded[c, top + y, left + x]


def im2col(image, kernel_size, stride, dilation, columns):
    """Copy each patch of an ``image`` (C, H, W), already padded, into a column of ``columns``, in place.

    columns: (C kh kw, OH OW), contiguous; ``image`` need not be. Each column holds one patch in the order
    (C, kh, kw). The columns are in the order of the positions, row by row. Old values are overwritten, and
    nothing is returned.
    kernel_size (kh, kw), stride and dilation are pairs (height, width).
    """
    channels, height, width = image.shape
    kernel_h, kernel_w = kernel_size
    out_h = (height - dilation[0] * (kernel_h - 1) - 1) // stride[0] + 1
    out_w = (width - dilation[1] * (kernel_w - 1) - 1) // stride[1] + 1
    patches = columns.reshape(channels, kernel_h, kernel_w, out_h, out_w)
    dense = stride[0] == stride[1] == 1
    for c in range(channels):
        for i in range(kernel_h):
            for j in range(kernel_w):
                for y in range(out_h):
                    if dense:  # the same loop, but the compiler turns it into copies of rows
                        row = image[c, y + i * dilation[0], j * dilation[1] :]
                        for x in range(out_w):
                            patches[c, i, j, y, x] = row[x]
                    else:
                        for x in range(out_w):
                            top, left = y * stride[0] + i * dilation[0], x * stride[1] + j * dilation[1]
                            patches[c, i, j, y, x] = image[c, top, left]


def col2im(columns, kernel_size, stride, dilation, image):
    """The adjoint of ``im2col``: each pixel of ``image`` becomes the sum of its copies in ``columns``.

    The shapes are those of ``im2col``. Both arrays are contiguous. ``image`` is changed in place, and its old
    values are overwritten.
    kernel_size, stride and dilation are pairs (height, width).
    """
    channels, height, width = image.shape
    kernel_h, kernel_w = kernel_size
    out_h = (height - dilation[0] * (kernel_h - 1) - 1) // stride[0] + 1
    out_w = (width - dilation[1] * (kernel_w - 1) - 1) // stride[1] + 1
    patches = columns.reshape(channels, kernel_h, kernel_w, out_h, out_w)
    dense = stride[0] == stride[1] == dilation[0] == dilation[1] == 1
    image[:] = 0
    for c in range(channels):
        for i in range(kernel_h):
            for j in range(kernel_w):
                for y in range(out_h):
                    if dense:
                        for x in range(out_w):
                            image[c, y + i, x + j] += patches[c, i, j, y, x]
                    else:
                        for x in range(out_w):
                            row, column = y * stride[0] + i * dilation[0], x * stride[1] + j * dilation[1]
                            image[c, row, column] += patches[c, i, j, y, x]


def conv2d(first, last, geometry, shape, x, weight, y):
    """y[n, g] = weight[g] @ columns of x[n] in group g, for the bands from first to last.

    x (N, C, H, W); weight (groups, O/groups, C/groups kh kw); y (N, groups, O/groups, OH OW). A bias is one
    more column of weight, which is multiplied with a row of ones. A band is some rows of a sample's output,
    of ``shape`` (rows, OW), so that its columns stay in the processor's cache.
    """
    kernel_size, stride, padding, dilation = geometry
    groups, group_out, height = weight.shape
    (rows, width), share = shape, x.shape[1] // groups
    padded, size = band_of(x, geometry, groups, rows), rows * width
    bands = -(-y.shape[3] // size)
    columns, part = np.ones((height, size), x.dtype), np.empty((group_out, size), x.dtype)
    patch = share * kernel_size[0] * kernel_size[1]
    for unit in range(first, last):
        n, band = unit // bands, unit % bands
        for g in range(groups):
            first_row = band * rows * stride[0] - padding[0]
            pad(x[n, g * share : (g + 1) * share], (-first_row, padding[1]), padded)
            im2col(padded, kernel_size, stride, dilation, columns[:patch])
            product = y[n, g] if bands == 1 else part
            np.dot(weight[g], columns, product)
            if bands > 1:
                for o in range(group_out):
                    target = y[n, g, o, band * size :]
                    for p in range(min(size, len(target))):
                        target[p] = product[o, p]


def band_of(x, geometry, groups, rows):
    """Zeros in the shape of the input of ``rows`` output rows: one group of a padded image of x."""
    (kernel_h, _), stride, padding, dilation = geometry
    height = (rows - 1) * stride[0] + dilation[0] * (kernel_h - 1) + 1
    return np.zeros((x.shape[1] // groups, height, x.shape[3] + 2 * padding[1]), x.dtype)


def conv2d_grad_x(first, last, geometry, grad, weight, grad_x):
    """grad_x[n] = col2im(weight.T @ grad[n]) in each group, for the samples n from first to last.

    grad (N, groups, O/groups, OH OW); weight (groups, O/groups, C/groups kh kw); grad_x (N, C, H, W).
    """
    kernel_size, stride, padding, dilation = geometry
    _, channels, height, width = grad_x.shape
    groups, _, patch = weight.shape
    share = channels // groups
    padded = np.empty((channels, height + 2 * padding[0], width + 2 * padding[1]), grad.dtype)
    columns = np.empty((patch, grad.shape[3]), grad.dtype)
    for n in range(first, last):
        for g in range(groups):
            np.dot(weight[g].T, grad[n, g], columns)
            col2im(columns, kernel_size, stride, dilation, padded[g * share : (g + 1) * share])
        crop(padded, padding, grad_x[n])


def conv2d_grad_weight(first, last, geometry, shape, x, grad, grad_weight):
    """grad_weight[part, g] = sum of columns @ grad[n, g].T over a part's bands, for parts from first to last.

    grad_weight (parts, groups, C/groups kh kw, O/groups), with one more row for a bias. The other arrays are
    as in ``conv2d``. Neither the parts nor the rounding of the sum depend on the number of threads.
    """
    kernel_size, stride, padding, dilation = geometry
    parts, groups, height, group_out = grad_weight.shape
    (rows, width), share = shape, x.shape[1] // groups
    padded, size = band_of(x, geometry, groups, rows), rows * width
    bands = -(-grad.shape[3] // size)
    columns, part_of_grad = np.ones((height, size), x.dtype), np.empty((group_out, size), x.dtype)
    patch, product = share * kernel_size[0] * kernel_size[1], np.empty((height, group_out), x.dtype)
    for part in range(first, last):
        grad_weight[part] = 0
        for i in range(part * len(x) * bands // parts, (part + 1) * len(x) * bands // parts):
            n, band = i // bands, i % bands
            for g in range(groups):
                pad(
                    x[n, g * share : (g + 1) * share],
                    (padding[0] - band * rows * stride[0], padding[1]),
                    padded,
                )
                im2col(padded, kernel_size, stride, dilation, columns[:patch])
                if bands > 1:
                    take_band(grad[n, g], band * size, part_of_grad)
                np.dot(columns, (grad[n, g] if bands == 1 else part_of_grad).T, product)
                for row in range(height):
                    for o in range(group_out):
                        grad_weight[part, g, row, o] += product[row, o]


def take_band(y, start, band):
    """Copy the columns of ``y`` from ``start`` on into ``band``, and fill the rest with zeros."""
    band[:] = 0
    for o in range(len(y)):
        source = y[o, start:]
        for p in range(min(band.shape[1], len(source))):
            band[o, p] = source[p]


def pointwise(first, last, x, weight, bias, y):
    """y[n, cut] = weight[cut] @ x[n] + bias[cut], a kernel of 1 x 1: x is its own columns.

    x (N, C, H W); weight (cuts, O/cuts, C); bias (cuts, O/cuts); y (N, cuts, O/cuts, H W); n cuts + cut
    runs from first to last.
    """
    cuts, rows, _ = weight.shape
    for unit in range(first, last):
        n, cut = unit // cuts, unit % cuts
        np.dot(weight[cut], x[n], y[n, cut])
        for o in range(rows):
            if bias[cut, o] != 0:
                for p in range(y.shape[3]):
                    y[n, cut, o, p] += bias[cut, o]


def relu(first, last, x, y):
    """y = max(x, 0); both flat."""
    x, y = x[first:last], y[first:last]  # a loop that starts at 0 compiles to vector instructions
    for i in range(len(x)):
        y[i] = np.maximum(x[i], 0)


def relu_backward(first, last, grad, x, grad_x):
    """grad_x = grad where x > 0, otherwise 0; all three flat."""
    zero = grad.dtype.type(0)
    grad, x, grad_x = grad[first:last], x[first:last], grad_x[first:last]
    for i in range(len(x)):
        grad_x[i] = grad[i] if x[i] > 0 else zero


def clip(first, last, x, y, low, high):
    """y = x kept within [low, high]; both flat."""
    x, y = x[first:last], y[first:last]
    for i in range(len(x)):
        y[i] = np.minimum(np.maximum(x[i], low), high)


def clip_backward(first, last, grad, x, grad_x, low, high):
    """grad_x = grad where low <= x <= high, otherwise 0; all three flat."""
    zero = grad.dtype.type(0)
    grad, x, grad_x = grad[first:last], x[first:last], grad_x[first:last]
    for i in range(len(x)):
        grad_x[i] = grad[i] if (x[i] >= low) & (x[i] <= high) else zero


def normalize(first, last, x, mean, scale, beta, y):
    """y = (x - mean) scale + beta for each channel: x and y (N C, numbers), mean, scale and beta (C,)."""
    for plane in range(first, last):
        c = plane % len(mean)
        for i in range(x.shape[1]):
            y[plane, i] = (x[plane, i] - mean[c]) * scale[c] + beta[c]
