"""The loop behind a fused convolution; compiled as it stands by ``engine.jit``, like those of kernels.py."""

from __future__ import annotations

import numpy as np

from minidl.engine.kernels import im2col, pad


def conv2d_clamped(
    first, last, kernel_size, stride, padding, dilation, x, source, weight, bias, least, rows, y, rest
):
    """max(weight[g] @ columns + bias, least) for the samples from first to last, laid where it is wanted.

    x (N, C, H, W), read from channel ``source`` on; weight (groups, O/groups, C/groups kh kw); bias (O,).
    Output channel o becomes channel rows[o] of y (N, channels, OH OW) or, where rows[o] is negative, channel
    -1 - rows[o] of rest (N, channels, OH OW). ``product`` stays in the processor's cache, so that the bias,
    the clamp and the place cost no traffic of their own; a 1 x 1 kernel reads x as its columns, uncopied.
    """
    _, _, height, width = x.shape
    groups, group_out, columns_rows = weight.shape
    share = columns_rows // (kernel_size[0] * kernel_size[1])
    pointwise = (
        kernel_size[0] == kernel_size[1] == stride[0] == stride[1] == 1 and padding[0] == padding[1] == 0
    )
    margin = (0, 0) if pointwise else padding
    padded = np.zeros((groups * share, height + 2 * margin[0], width + 2 * margin[1]), x.dtype)
    patches = np.empty((columns_rows, y.shape[2]), x.dtype)
    product = np.empty((group_out, y.shape[2]), x.dtype)
    for n in range(first, last):
        channels = x[n][source : source + groups * share]
        if not pointwise:
            pad(channels, padding, padded)
        for g in range(groups):
            columns = patches
            if pointwise:
                columns = channels[g * share : (g + 1) * share].reshape(share, height * width)
            else:
                im2col(padded[g * share : (g + 1) * share], kernel_size, stride, dilation, patches)
            np.dot(weight[g], columns, product)
            for o in range(group_out):
                row = rows[g * group_out + o]
                target = y[n, row] if row >= 0 else rest[n, -1 - row]
                for p in range(y.shape[2]):
                    target[p] = np.maximum(product[o, p] + bias[g * group_out + o], least)
