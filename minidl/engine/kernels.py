"""The loops behind convolution and pooling: plain functions, compiled by ``jit.run`` and ``jit.compiled``.

Every function here is compiled as it stands, so it may use loops, NumPy arrays and the other functions of
this file. Compiled code checks no index: callers (conv.py) refuse bad shapes first. Kernels that share out
a batch take ``first, last``, the range to work on, and write into arrays that the caller made.
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
    """Copy ``image`` (C, H, W) into the middle of ``padded``, whose margin stays as it is."""
    channels, height, width = image.shape
    top, left = padding
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                padded[c, top + y, left + x] = image[c, y, x]


def crop(padded, padding, image):
    """The adjoint of ``pad``: copy the middle of ``padded`` into ``image``."""
    channels, height, width = image.shape
    top, left = padding
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                image[c, y, x] = padded[c, top + y, left + x]


def im2col(image, kernel_size, stride, dilation, columns):
    """Lay each patch of a padded ``image`` (C, H, W) into a column of ``columns`` (C kh kw, OH OW)."""
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
                    if dense:  # the same loop, in a form that compiles to copies of whole rows
                        row = image[c, y + i * dilation[0], j * dilation[1] :]
                        for x in range(out_w):
                            patches[c, i, j, y, x] = row[x]
                    else:
                        for x in range(out_w):
                            top, left = y * stride[0] + i * dilation[0], x * stride[1] + j * dilation[1]
                            patches[c, i, j, y, x] = image[c, top, left]


def col2im(columns, kernel_size, stride, dilation, image):
    """The adjoint of ``im2col``: each pixel of ``image`` becomes the sum of its copies in ``columns``."""
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


def conv2d(first, last, kernel_size, stride, padding, dilation, x, weight, y):
    """y[n, g] = weight[g] @ columns, those of x[n] in group g, for the samples n from first to last.

    x (N, C, H, W); weight (groups, O/groups, C/groups kh kw + 1), whose last column is the bias and meets a
    row of ones; y (N, groups, O/groups, OH OW). The columns stay in the processor's cache for the product.
    """
    _, channels, height, width = x.shape
    groups, _, rows = weight.shape
    share = channels // groups
    padded = np.zeros((channels, height + 2 * padding[0], width + 2 * padding[1]), x.dtype)
    columns = np.ones((rows, y.shape[3]), x.dtype)
    for n in range(first, last):
        pad(x[n], padding, padded)
        for g in range(groups):
            im2col(padded[g * share : (g + 1) * share], kernel_size, stride, dilation, columns[:-1])
            np.dot(weight[g], columns, y[n, g])


def conv2d_grad_x(first, last, kernel_size, stride, padding, dilation, grad, weight, grad_x):
    """grad_x[n] = col2im(weight.T @ grad[n]) in each group, for the samples n from first to last.

    grad (N, groups, O/groups, OH OW); weight (groups, O/groups, C/groups kh kw); grad_x (N, C, H, W).
    """
    _, channels, height, width = grad_x.shape
    groups, _, rows = weight.shape
    share = channels // groups
    padded = np.empty((channels, height + 2 * padding[0], width + 2 * padding[1]), grad.dtype)
    columns = np.empty((rows, grad.shape[3]), grad.dtype)
    for n in range(first, last):
        for g in range(groups):
            np.dot(weight[g].T, grad[n, g], columns)
            col2im(columns, kernel_size, stride, dilation, padded[g * share : (g + 1) * share])
        crop(padded, padding, grad_x[n])


def conv2d_grad_weight(first, last, kernel_size, stride, padding, dilation, x, grad, grad_weight):
    """grad_weight[part, g] = sum of columns @ grad[n, g].T over a part's samples n, for parts first to last.

    grad_weight (parts, groups, C/groups kh kw + 1, O/groups), the last row being the bias's. How a batch
    falls into parts does not depend on the number of threads, so neither does the rounding of the sum.
    """
    samples, channels, height, width = x.shape
    parts, groups, rows, group_out = grad_weight.shape
    share = channels // groups
    padded = np.zeros((channels, height + 2 * padding[0], width + 2 * padding[1]), x.dtype)
    columns = np.ones((rows, grad.shape[3]), x.dtype)
    product = np.empty((rows, group_out), x.dtype)
    for part in range(first, last):
        grad_weight[part] = 0
        for n in range(part * samples // parts, (part + 1) * samples // parts):
            pad(x[n], padding, padded)
            for g in range(groups):
                im2col(padded[g * share : (g + 1) * share], kernel_size, stride, dilation, columns[:-1])
                np.dot(columns, grad[n, g].T, product)
                for row in range(rows):
                    for o in range(group_out):
                        grad_weight[part, g, row, o] += product[row, o]


def relu(first, last, x, y):
    """y = max(x, 0); both (N, numbers)."""
    for n in range(first, last):
        for i in range(x.shape[1]):
            y[n, i] = np.maximum(x[n, i], 0)


def relu_backward(first, last, grad, x, grad_x):
    """grad_x = grad where x > 0, otherwise 0; all three (N, numbers)."""
    zero = grad.dtype.type(0)
    for n in range(first, last):
        for i in range(x.shape[1]):
            grad_x[n, i] = grad[n, i] if x[n, i] > 0 else zero


def max_pool2d(first, last, kernel_size, stride, padding, x, y, switches):
    """y = the largest value in each window, switches = its place in the plane, row W + column.

    x (planes, H, W); y and switches (planes, OH, OW).
    """
    _, height, width = x.shape
    _, out_h, out_w = y.shape
    for plane in range(first, last):
        for r in range(out_h):
            top, bottom = r * stride[0] - padding[0], r * stride[0] - padding[0] + kernel_size[0]
            for s in range(out_w):
                left, right = s * stride[1] - padding[1], s * stride[1] - padding[1] + kernel_size[1]
                largest, winner = -np.inf, max(top, 0) * width + max(left, 0)
                for i in range(max(top, 0), min(bottom, height)):
                    for j in range(max(left, 0), min(right, width)):
                        largest, winner = larger(x[plane, i, j], i * width + j, largest, winner)
                y[plane, r, s] = largest
                switches[plane, r, s] = winner


def max_pool_2x2(first, last, x, y, switches):
    """max_pool2d for windows of 2 x 2 side by side: written out, it is four times as fast."""
    _, _, width = x.shape
    _, out_h, out_w = y.shape
    for plane in range(first, last):
        for r in range(out_h):
            for s in range(out_w):
                place = 2 * r * width + 2 * s
                largest, winner = x[plane, 2 * r, 2 * s], place
                largest, winner = larger(x[plane, 2 * r, 2 * s + 1], place + 1, largest, winner)
                largest, winner = larger(x[plane, 2 * r + 1, 2 * s], place + width, largest, winner)
                largest, winner = larger(x[plane, 2 * r + 1, 2 * s + 1], place + width + 1, largest, winner)
                y[plane, r, s] = largest
                switches[plane, r, s] = winner


def larger(value, place, largest, winner):
    """(value, place) or (largest, winner): the larger value; of equals the earlier, and NaN beats everything.

    ``|`` and not ``or``: a branch here is guessed wrong every second time, and costs more than all the rest.
    """
    wins = (value > largest) | (value != value)
    return (value, place) if wins else (largest, winner)


def max_pool2d_backward(first, last, grad, switches, grad_x):
    """Each value of grad (planes, OH OW) goes to the pixel of grad_x (planes, H W) that won its window."""
    for plane in range(first, last):
        grad_x[plane] = 0
        for p in range(grad.shape[1]):
            grad_x[plane, switches[plane, p]] += grad[plane, p]


def avg_pool2d(first, last, kernel_size, stride, padding, x, y):
    """y = the sum of each window / (kh kw), the margin counting as zeros."""
    _, height, width = x.shape
    _, out_h, out_w = y.shape
    for plane in range(first, last):
        for r in range(out_h):
            top = r * stride[0] - padding[0]
            for s in range(out_w):
                left = s * stride[1] - padding[1]
                total = 0.0
                for i in range(max(top, 0), min(top + kernel_size[0], height)):
                    for j in range(max(left, 0), min(left + kernel_size[1], width)):
                        total += x[plane, i, j]
                y[plane, r, s] = total / (kernel_size[0] * kernel_size[1])


def avg_pool2d_backward(first, last, kernel_size, stride, padding, grad, grad_x):
    """Each pixel of a window receives 1 / (kh kw) of the window's gradient."""
    _, height, width = grad_x.shape
    _, out_h, out_w = grad.shape
    for plane in range(first, last):
        grad_x[plane] = 0
        for r in range(out_h):
            top = r * stride[0] - padding[0]
            for s in range(out_w):
                left = s * stride[1] - padding[1]
                share = grad[plane, r, s] / (kernel_size[0] * kernel_size[1])
                for i in range(max(top, 0), min(top + kernel_size[0], height)):
                    for j in range(max(left, 0), min(left + kernel_size[1], width)):
                        grad_x[plane, i, j] += share
