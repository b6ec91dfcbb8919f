"""The loops behind convolution and large arrays: plain functions, compiled by ``jit.run``, ``jit.compiled``.

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
    """Copy ``image`` (C, H, W) into the middle of ``padded``, whose margin stays as it is.

    A ``padding`` below 0 leaves out the image's first rows; last ones that find no room are left out too.
    """
    channels, height, width = image.shape
    top, left = padding
    for c in range(channels):
        for y in range(max(0, -top), min(height, padded.shape[1] - top)):
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


def as_patches(columns, image, kernel_size, stride, dilation):
    """``columns`` (C kh kw, OH OW) of a padded ``image`` (C, H, W), seen as (C, kh, kw, OH, OW)."""
    channels, height, width = image.shape
    kernel_h, kernel_w = kernel_size
    out_h = (height - dilation[0] * (kernel_h - 1) - 1) // stride[0] + 1
    out_w = (width - dilation[1] * (kernel_w - 1) - 1) // stride[1] + 1
    return columns.reshape(channels, kernel_h, kernel_w, out_h, out_w)


def im2col(image, kernel_size, stride, dilation, columns):
    """Lay each patch of a padded ``image`` (C, H, W) into a column of ``columns`` (C kh kw, OH OW)."""
    patches = as_patches(columns, image, kernel_size, stride, dilation)
    channels, kernel_h, kernel_w, out_h, out_w = patches.shape
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
    patches = as_patches(columns, image, kernel_size, stride, dilation)
    channels, kernel_h, kernel_w, out_h, out_w = patches.shape
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


def conv2d(first, last, geometry, block, x, weight, bias, y):
    """y[n] = weight[g] @ columns + bias, those of x[n] in group g, for the blocks of y from first to last.

    x (N, C, H, W); weight (groups, O/groups, C/groups kh kw); bias (O,); y (N, O, OH, OW). A block is
    ``samples`` samples, ``rows`` of their rows and one of ``cuts`` shares of each group's outputs: its
    columns stay in the processor's cache for the product, and so does the product for the bias.
    """
    kernel_size, stride, padding, dilation = geometry
    samples, rows, cuts = block
    groups, group_out, patch = weight.shape
    share, bands = x.shape[1] // groups, -(-y.shape[2] // rows)
    padded = band_of(x, share, geometry, rows)
    columns = np.zeros((patch, rows * y.shape[3]), x.dtype)
    beside = columns if samples == 1 else np.zeros((patch, samples * rows * y.shape[3]), x.dtype)
    for unit in range(first, last):
        batch, band, cut = unit // cuts // bands * samples, unit // cuts % bands * rows, unit % cuts
        start, end = group_out * cut // cuts, group_out * (cut + 1) // cuts
        product = np.empty((end - start, beside.shape[1]), x.dtype)
        for g in range(groups):
            for n in range(batch, min(batch + samples, len(x))):
                load_band(x[n][g * share : (g + 1) * share], band * stride[0], padding, padded)
                im2col(padded, kernel_size, stride, dilation, columns)
                if samples > 1:
                    lay_beside(columns, n - batch, beside)
            np.dot(weight[g][start:end], beside, product)
            for o in range(start, end):
                out = g * group_out + o
                for n in range(batch, min(batch + samples, len(x))):
                    for r in range(min(rows, y.shape[2] - band)):
                        source = product[o - start][((n - batch) * rows + r) * y.shape[3] :]
                        target = y[n, out, band + r]
                        for s in range(y.shape[3]):
                            target[s] = source[s] + bias[out]


def band_of(x, channels, geometry, rows):
    """Zeros with room for what ``rows`` rows of an output see of a padded image of x."""
    (kernel_h, _), stride, padding, dilation = geometry
    height = (rows - 1) * stride[0] + dilation[0] * (kernel_h - 1) + 1
    return np.zeros((channels, height, x.shape[3] + 2 * padding[1]), x.dtype)


def load_band(image, first_row, padding, padded):
    """What ``padded`` has room for of a padded ``image`` (C, H, W), from its row ``first_row`` on."""
    if len(padded[0]) < image.shape[1] + 2 * padding[0]:
        padded[:] = 0
    pad(image, (padding[0] - first_row, padding[1]), padded)


def lay_beside(columns, i, beside):
    """The columns of the i-th of several samples, which one product takes together."""
    for k in range(len(columns)):
        target = beside[k][i * columns.shape[1] :]
        for p in range(columns.shape[1]):
            target[p] = columns[k, p]


def conv2d_grad_x(first, last, geometry, block, grad, weight, grad_x):
    """grad_x[n] = col2im(weight.T @ grad[n]) in each group, for the blocks of grad_x from first to last.

    grad (N, O, OH, OW); weight (groups, O/groups, C/groups kh kw); grad_x (N, C, H, W). A block is
    ``samples`` samples and one of ``cuts`` shares of the channels of a group.
    """
    kernel_size, stride, padding, dilation = geometry
    samples, _, cuts = block
    _, channels, height, width = grad_x.shape
    groups, group_out, patch = weight.shape
    share, area, size = channels // groups, patch // (channels // groups), grad.shape[2] * grad.shape[3]
    grads = np.zeros((group_out, samples * size), grad.dtype)
    batches, part, weights = -(-len(grad) // samples), -1, weight[0]
    for unit in range(first, last):
        batch, g, cut = unit % batches * samples, unit // batches // cuts, unit // batches % cuts
        start, end = share * cut // cuts, share * (cut + 1) // cuts
        if part != unit // batches:
            part, weights = unit // batches, weight[g][:, start * area : end * area].copy()
        padded = np.empty((end - start, height + 2 * padding[0], width + 2 * padding[1]), grad.dtype)
        columns = np.empty((weights.shape[1], size), grad.dtype)
        product = columns if samples == 1 else np.empty((len(columns), samples * size), grad.dtype)
        load_grads(grad, batch, 0, g * group_out, grad.shape[2], grads)
        np.dot(weights.T, grads, product)
        for n in range(batch, min(batch + samples, len(grad))):
            if samples > 1:
                take_out(product, n - batch, columns)
            col2im(columns, kernel_size, stride, dilation, padded)
            crop(padded, padding, grad_x[n][g * share + start : g * share + end])


def take_out(beside, i, columns):
    """The adjoint of ``lay_beside``: the columns of the i-th sample."""
    for k in range(len(columns)):
        source = beside[k][i * columns.shape[1] :]
        for p in range(columns.shape[1]):
            columns[k, p] = source[p]


def load_grads(grad, batch, band, out, rows, grads):
    """``rows`` rows from ``band`` on of outputs ``out`` on, of samples from ``batch`` on, beside each other.

    grad (N, O, OH, OW); grads (outputs, samples rows OW), 0 where grad has no more samples or rows.
    """
    width = grad.shape[3]
    samples = grads.shape[1] // (rows * width)
    for o in range(len(grads)):
        for i in range(samples):
            for r in range(rows):
                target = grads[o][(i * rows + r) * width :]
                if batch + i < len(grad) and band + r < grad.shape[2]:
                    source = grad[batch + i, out + o, band + r]
                    for s in range(width):
                        target[s] = source[s]
                else:
                    target[:width] = 0


def conv2d_grad_weight(first, last, geometry, block, x, grad, grad_weight):
    """grad_weight[part, g] = sum of columns @ grad[n].T over the blocks of a part, as in ``conv2d``.

    grad_weight (parts, groups, C/groups kh kw, O/groups); from first to last, (part, group, share of the
    group's channels). How the batch falls into parts does not depend on the number of threads, so neither
    does the rounding of the sum.
    """
    kernel_size, stride, padding, dilation = geometry
    samples, rows, cuts = block
    parts, groups, patch, group_out = grad_weight.shape
    share, area, bands = x.shape[1] // groups, kernel_size[0] * kernel_size[1], -(-grad.shape[2] // rows)
    blocks = -(-len(x) // samples) * bands
    size = rows * grad.shape[3]
    grads = np.zeros((group_out, samples * size), x.dtype)
    for unit in range(first, last):
        part, g, cut = unit // cuts // groups, unit // cuts % groups, unit % cuts
        start, end = share * cut // cuts, share * (cut + 1) // cuts
        padded = band_of(x, end - start, geometry, rows)
        columns = np.zeros(((end - start) * area, size), x.dtype)
        beside = columns if samples == 1 else np.zeros((len(columns), samples * size), x.dtype)
        total = grad_weight[part, g, start * area : end * area]
        product = np.empty(total.shape, x.dtype)
        total[:] = 0
        for i in range(part * blocks // parts, (part + 1) * blocks // parts):
            batch, band = i // bands * samples, i % bands * rows
            for n in range(batch, min(batch + samples, len(x))):
                load_band(x[n][g * share + start : g * share + end], band * stride[0], padding, padded)
                im2col(padded, kernel_size, stride, dilation, columns)
                if samples > 1:
                    lay_beside(columns, n - batch, beside)
            load_grads(grad, batch, band, g * group_out, rows, grads)
            np.dot(beside, grads.T, product)
            for row in range(len(total)):
                for o in range(group_out):
                    total[row, o] += product[row, o]


def pointwise(first, last, x, weight, bias, y):
    """y[n, cut] = weight[cut] @ x[n] + bias[cut], a kernel of 1 x 1: x is its own columns.

    x (N, C, H W); weight (cuts, O/cuts, C); bias (cuts, O/cuts); y (N, cuts, O/cuts, H W); n cuts + cut goes
    from first to last.
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
    for i in range(first, last):
        y[i] = np.maximum(x[i], 0)


def relu_backward(first, last, grad, x, grad_x):
    """grad_x = grad where x > 0, otherwise 0; all three flat."""
    zero = grad.dtype.type(0)
    for i in range(first, last):
        grad_x[i] = grad[i] if x[i] > 0 else zero


def clip(first, last, x, y, low, high):
    """y = x kept within [low, high]; both flat."""
    for i in range(first, last):
        y[i] = np.minimum(np.maximum(x[i], low), high)


def clip_backward(first, last, grad, x, grad_x, low, high):
    """grad_x = grad where low <= x <= high, otherwise 0; all three flat."""
    zero = grad.dtype.type(0)
    for i in range(first, last):
        grad_x[i] = grad[i] if (x[i] >= low) & (x[i] <= high) else zero


def normalize(first, last, x, mean, scale, beta, y):
    """y = (x - mean) scale + beta, of each plane the channel's own: x and y (N C, numbers), the rest (C,)."""
    for plane in range(first, last):
        c = plane % len(mean)
        for i in range(x.shape[1]):
            y[plane, i] = (x[plane, i] - mean[c]) * scale[c] + beta[c]
