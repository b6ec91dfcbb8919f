"""The loops of pooling; ``jit.py`` compiles them like those of kernels.py."""

from __future__ import annotations

import numpy as np


def max_pool2d(first, last, kernel_size, stride, padding, x, y, switches):
    """y = the largest value in each window; switches = the position of this value in the plane, row W +
    column.

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
    """max_pool2d for windows of 2 x 2 side by side: without the inner loops it is four times as fast."""
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
    """The pair with the larger value: (value, place) or (largest, winner).

    On a tie the first one wins; NaN always wins.

    The code uses ``|``, not ``or``. ``or`` is a branch, which the processor mispredicts half of the time.
    That would cost more than all other work here.
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
    """y = the sum of each window / (kh kw), the margin counts as zeros."""
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
