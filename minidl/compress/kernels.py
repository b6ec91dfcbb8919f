"""The loops of inference with 8-bit integers.

They are plain functions, which ``engine.jit`` compiles like those of engine/kernels.py. Integer sums are
exact in any order, so the results depend neither on the blocks of a batch nor on the number of threads.
"""

from __future__ import annotations

import numpy as np


def int_conv2d(first, last, block, geometry, x, center, margin, weight, bias, output, y):
    """Convolution of 8-bit integers with sums of 32 bits, for the blocks of samples from first to last.

    sums = bias[o] + sum over k of weight[o, k] x_k      y = clip(rint(float32(sums) M[o]) + zero, low, high)

    geometry: kernel_size, stride, padding, dilation, (groups, groups).  x (N, C, H, W), padded with margin;
    minus ``center``, both lie within -128 ... 127.  weight (O, K) int16, within -127 ... 127; its C/groups kh
    kw columns are filled up with zeros to a multiple of 4.  bias (O,) int32; it includes the contribution of
    center and zero point of x.  output: M (O,) float32, zero, low, high; an empty M returns the sums.  y (N,
    O, OH, OW).

    In memory the samples of a block lie side by side for each pixel. So a row of outputs is one long loop,
    even for small images. With a stride along the row, only the samples of one pixel are neighbours.
    """
    kernel_size, stride, padding, dilation, (groups, _) = geometry
    M, zero, low, high = output
    samples, channels, height, width = x.shape
    _, out_channels, out_h, out_w = y.shape
    share, run = channels // groups, out_w if stride[1] == 1 else 1
    padded_h, padded_w = height + 2 * padding[0], width + 2 * padding[1]
    padded = np.full((channels, padded_h, padded_w, block), margin - center, np.int16)
    flat = padded.ravel()
    places = patch_places(padded.shape, share, kernel_size, dilation, weight.shape[1])
    sums = np.empty((2, run * block), np.int32)
    for n in range(first * block, min(last * block, samples), block):
        count = min(block, samples - n)
        pad_block(x[n : n + count], center, padding, padded)
        for r in range(out_h):
            for s in range(0, out_w, run):
                for g in range(groups):
                    corner = ((g * share * padded_h + r * stride[0]) * padded_w + s * stride[1]) * block
                    end = (g + 1) * out_channels // groups
                    for o in range(g * out_channels // groups, end, 2):
                        both = o, min(o + 1, end - 1)  # if the number is odd, compute the last one twice
                        for i in range(2):
                            sums[i, :] = bias[both[i]]
                        int_dot(weight[both[0]], weight[both[1]], flat[corner:], places, sums[0], sums[1])
                        for i in range(2):
                            if M.size:
                                requantize(sums[i], M[both[i]], zero, low, high)
                            unblock(sums[i], y[n : n + count, both[i], r, s : s + run])


def pad_block(x, center, padding, padded):
    """Copy x (n, C, H, W) - center into the middle of ``padded`` (C, H', W', block). The margin stays."""
    samples, channels, height, width = x.shape
    top, left = padding
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                for n in range(samples):
                    padded[c, top + i, left + j, n] = np.int16(x[n, c, i, j]) - center


def patch_places(shape, share, kernel_size, dilation, count):
    """The offsets of a patch's numbers from its first number, in a block of ``shape`` (C, H', W', block).

    The order is that of the weights, (share, kh, kw). Zeros fill it up to ``count``; their weights are 0.
    """
    _, height, width, block = shape
    places = np.zeros(count, np.int64)
    for k in range(share * kernel_size[0] * kernel_size[1]):
        c, i, j = (
            k // (kernel_size[0] * kernel_size[1]),
            k // kernel_size[1] % kernel_size[0],
            k % kernel_size[1],
        )
        places[k] = ((c * height + i * dilation[0]) * width + j * dilation[1]) * block
    return places


def int_dot(w, v, x, places, sums, others):
    """sums += sum over k of w[k] x[places[k] : places[k] + len(sums)], in int32.

    ``others`` uses v instead of w.

    Two products of 8-bit integers fit in 16 bits, because 2 127 128 < 2^15. Processors multiply twice as many
    16-bit numbers at once, so products are added in pairs before they become 32 bits. A loop handles four k
    and two outputs, because each loop reads sums and x again.
    """
    for k in range(0, len(w), 4):
        w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
        v0, v1, v2, v3 = v[k], v[k + 1], v[k + 2], v[k + 3]
        x0, x1, x2, x3 = x[places[k] :], x[places[k + 1] :], x[places[k + 2] :], x[places[k + 3] :]
        for p in range(len(sums)):
            one, two = np.int16(w0 * x0[p] + w1 * x1[p]), np.int16(w2 * x2[p] + w3 * x3[p])
            sums[p] += np.int32(one) + np.int32(two)
            one, two = np.int16(v0 * x0[p] + v1 * x1[p]), np.int16(v2 * x2[p] + v3 * x3[p])
            others[p] += np.int32(one) + np.int32(two)


def requantize(sums, M, zero, low, high):
    """sums = clip(rint(float32(sums) M) + zero, low, high), in place."""
    lowest, highest = np.float32(low - zero), np.float32(high - zero)
    for p in range(len(sums)):
        rounded = np.rint(np.float32(sums[p]) * M)
        sums[p] = np.int32(min(max(rounded, lowest), highest)) + zero


def unblock(sums, y):
    """y[n, i] = sums[i block + n], for all i and the samples of y (n, run) that the block holds."""
    samples, run = y.shape
    by_pixel = sums.reshape(run, len(sums) // run)
    for n in range(samples):
        for i in range(run):
            y[n, i] = by_pixel[i, n]
