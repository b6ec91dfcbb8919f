"""Convolution of each channel by itself, as direct loops: the sums are too short for matrix products.

``spread`` first removes the stride. It sorts the pixels of a padded plane into phases, one for each remainder
of row and column by the stride: pixel (y, x) goes to place (y // s0, x // s1) of phase (y % s0, x % s1).
Then each tap (one weight of the kernel) reads a shifted phase. A phase is stored as one long row, so the
shift is an offset, and the loop is fast. The numbers beyond the output's width are computed but not used.
"""

from __future__ import annotations

import numpy as np


def depthwise(first, last, geometry, x, weight, bias, y):
    """y[n, o] = bias[o] + sum over the taps t of weight[o, t] x[n, o // multiplier] shifted by t.

    x (N, C, H, W); weight (O, kh kw); bias (O,); y (N, O, OH, OW); n O + o runs from first to last.
    """
    _, out_channels, out_h, out_w = y.shape
    phases, places = phases_of(x, geometry), tap_places(x, geometry)
    width = phases.shape[3]
    row = np.empty(out_h * width, x.dtype)
    for plane in range(first, last):
        n, o = plane // out_channels, plane % out_channels
        spread(x[n, o * x.shape[1] // out_channels], geometry, phases)
        row[:] = bias[o]
        add_taps(weight[o], places, phases.ravel(), row[: (out_h - 1) * width + out_w])
        for r in range(out_h):
            for s in range(out_w):
                y[n, o, r, s] = row[r * width + s]


def depthwise_grad_x(first, last, geometry, grad, weight, grad_x):
    """Each pixel of a phase sums weight[o, t] grad[n, o] over the outputs whose tap t read it.

    grad (N, O, OH, OW); weight (O, kh kw); grad_x (N, C, H, W); n C + c runs from first to last.
    """
    channels, multiplier = grad_x.shape[1], grad.shape[1] // grad_x.shape[1]
    phases, places = phases_of(grad_x, geometry), tap_places(grad_x, geometry)
    numbers = phases[0, 0].size
    flat, phase_of, shifts = phases.reshape(-1, numbers), places // numbers, places % numbers
    margin = shifts.max()
    row = np.zeros(margin + numbers, grad.dtype)
    for plane in range(first, last):
        n, c = plane // channels, plane % channels
        phases[:] = 0
        for o in range(c * multiplier, (c + 1) * multiplier):
            in_phase(grad[n, o], phases.shape[3], row[margin:])
            for phase in range(len(flat)):
                taps = phase_of == phase
                add_taps(weight[o][taps], margin - shifts[taps], row, flat[phase])
        collect(phases, geometry, grad_x[n, c])


def depthwise_grad_weight(first, last, geometry, x, grad, grad_weight):
    """grad_weight[o, t] = sum over n of <grad[n, o], x[n, o // multiplier] shifted by t>, o first to last.

    x (N, C, H, W); grad (N, O, OH, OW); grad_weight (O, kh kw).
    """
    _, out_channels, out_h, out_w = grad.shape
    phases, places = phases_of(x, geometry), tap_places(x, geometry)
    width = phases.shape[3]
    row = np.zeros(out_h * width, grad.dtype)
    count = (out_h - 1) * width + out_w
    for o in range(first, last):
        grad_weight[o] = 0
        for n in range(len(x)):
            spread(x[n, o * x.shape[1] // out_channels], geometry, phases)
            in_phase(grad[n, o], width, row)
            for t in range(len(places)):
                grad_weight[o, t] += np.dot(row[:count], phases.ravel()[places[t] : places[t] + count])


def phases_of(x, geometry):
    """Zeros in the shape of the phases (s0, s1, rows, columns) of a padded plane of x."""
    _, stride, padding, _ = geometry
    rows = -(-(x.shape[2] + 2 * padding[0]) // stride[0])
    return np.zeros((stride[0], stride[1], rows, -(-(x.shape[3] + 2 * padding[1]) // stride[1])), x.dtype)


def tap_places(x, geometry):
    """The first index in the phases, flattened to one row, that each tap of the kernel (kh kw) reads."""
    (kernel_h, kernel_w), stride, _, dilation = geometry
    _, _, rows, columns = phases_of(x, geometry).shape
    places = np.empty(kernel_h * kernel_w, np.int64)
    for i in range(kernel_h):
        for j in range(kernel_w):
            y, x = i * dilation[0], j * dilation[1]
            phase = y % stride[0] * stride[1] + x % stride[1]
            places[i * kernel_w + j] = (phase * rows + y // stride[0]) * columns + x // stride[1]
    return places


def spread(plane, geometry, phases):
    """Copy a plane (H, W) into its ``phases``; the margin of the phases stays as it is."""
    for y in range(len(plane)):
        for b in range(phases.shape[1]):
            row, left, step = part_of_row(phases, y, b, geometry)
            if step == 1:  # the same loop, but the compiler turns it into a copy of the row
                for i in range(plane.shape[1]):
                    row[i] = plane[y, i]
            else:
                for i in range(-(-(plane.shape[1] - left) // step)):
                    row[i] = plane[y, left + i * step]


def collect(phases, geometry, plane):
    """The adjoint of ``spread``: copy the plane (H, W) back from its ``phases``."""
    for y in range(len(plane)):
        for b in range(phases.shape[1]):
            row, left, step = part_of_row(phases, y, b, geometry)
            if step == 1:
                for i in range(plane.shape[1]):
                    plane[y, i] = row[i]
            else:
                for i in range(-(-(plane.shape[1] - left) // step)):
                    plane[y, left + i * step] = row[i]


def part_of_row(phases, y, b, geometry):
    """(row, left, step): row[i] of phase b holds the pixel left + i step of row y of the plane."""
    _, stride, padding, _ = geometry
    _, _, rows, columns = phases.shape
    left = (b - padding[1]) % stride[1]
    phase = (y + padding[0]) % stride[0] * stride[1] + b
    start = (phase * rows + (y + padding[0]) // stride[0]) * columns + (left + padding[1]) // stride[1]
    return phases.reshape(-1)[start:], left, stride[1]


def in_phase(grad, width, row):
    """Copy ``grad`` (OH, OW) into ``row`` as rows of ``width`` numbers; the numbers in between stay."""
    for r in range(len(grad)):
        for s in range(grad.shape[1]):
            row[r * width + s] = grad[r, s]


def add_taps(taps, places, numbers, row):
    """row[p] += sum over k of taps[k] numbers[places[k] + p].

    Each loop adds five, three or one tap, because every loop reads and writes the whole row.
    """
    k, count = 0, len(taps)
    while k < count:
        a = numbers[places[k] :]
        if count - k >= 5:
            b, c = numbers[places[k + 1] :], numbers[places[k + 2] :]
            d, e = numbers[places[k + 3] :], numbers[places[k + 4] :]
            wa, wb, wc, wd, we = taps[k], taps[k + 1], taps[k + 2], taps[k + 3], taps[k + 4]
            for p in range(len(row)):
                row[p] += wa * a[p] + wb * b[p] + wc * c[p] + wd * d[p] + we * e[p]
            k += 5
        elif count - k >= 3:
            b, c = numbers[places[k + 1] :], numbers[places[k + 2] :]
            wa, wb, wc = taps[k], taps[k + 1], taps[k + 2]
            for p in range(len(row)):
                row[p] += wa * a[p] + wb * b[p] + wc * c[p]
            k += 3
        else:
            wa = taps[k]
            for p in range(len(row)):
                row[p] += wa * a[p]
            k += 1
