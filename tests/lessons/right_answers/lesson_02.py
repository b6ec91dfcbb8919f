"""Right answers to the exercises of lesson 02, written from the stubs alone."""

from __future__ import annotations

import numpy as np

from minidl.engine.op import Op
from tests.lessons.right_answers.declare import right


@right("02.1")
def conv_output_size(size, kernel, stride=1, padding=0, dilation=1):
    covered = dilation * (kernel - 1) + 1
    if covered > size + 2 * padding:
        raise ValueError("the kernel is larger than the padded image")
    return (size + 2 * padding - covered) // stride + 1


@right("02.2")
def im2col(image, kernel_size, stride, dilation, columns):
    channels, height, width = image.shape
    kh, kw = kernel_size
    oh = conv_output_size(height, kh, stride[0], 0, dilation[0])
    ow = conv_output_size(width, kw, stride[1], 0, dilation[1])
    row = 0
    for c in range(channels):
        for i in range(kh):
            for j in range(kw):
                top, left = i * dilation[0], j * dilation[1]
                pixels = image[c, top :: stride[0], left :: stride[1]][:oh, :ow]
                columns[row] = pixels.reshape(-1)
                row += 1


@right("02.3")
def col2im(columns, kernel_size, stride, dilation, image):
    channels, height, width = image.shape
    kh, kw = kernel_size
    oh = conv_output_size(height, kh, stride[0], 0, dilation[0])
    ow = conv_output_size(width, kw, stride[1], 0, dilation[1])
    image[:] = 0
    row = 0
    for c in range(channels):
        for i in range(kh):
            for j in range(kw):
                for r in range(oh):
                    for s in range(ow):
                        y, x = r * stride[0] + i * dilation[0], s * stride[1] + j * dilation[1]
                        image[c, y, x] += columns[row, r * ow + s]
                row += 1


@right("02.4")
class ColumnConv2d(Op):
    def __init__(self, stride=(1, 1)):
        self.stride = stride

    def forward(self, x, weight):
        if x.shape[1] != weight.shape[1]:
            raise ValueError("x and weight have different numbers of channels")
        self.x, self.weight = x, weight
        n, c, height, width = x.shape
        filters, _, kh, kw = weight.shape
        oh = conv_output_size(height, kh, self.stride[0])
        ow = conv_output_size(width, kw, self.stride[1])
        self.columns = np.empty((n, c * kh * kw, oh * ow), x.dtype)
        for i in range(n):
            im2col(x[i], (kh, kw), self.stride, (1, 1), self.columns[i])
        y = weight.reshape(filters, -1) @ self.columns
        return y.reshape(n, filters, oh, ow)

    def backward(self, grad):
        n, filters = grad.shape[:2]
        grad = grad.reshape(n, filters, -1)
        matrix = self.weight.reshape(filters, -1)
        dx = np.empty(self.x.shape, self.x.dtype)
        dweight = np.zeros_like(matrix)
        for i in range(n):
            dweight += grad[i] @ self.columns[i].T
            col2im(matrix.T @ grad[i], self.weight.shape[2:], self.stride, (1, 1), dx[i])
        return dx, dweight.reshape(self.weight.shape)
