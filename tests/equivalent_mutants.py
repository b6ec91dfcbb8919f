"""Mutants that need not be caught: exercise -> why no law tells them -> the line as it became.

``python -m tests.mutants`` fails on a line here that a law catches after all, or that is no mutant any more.
"""

from __future__ import annotations

# The exercise is the formula. The library's own tests cover these checks.
BAD_INPUT = "bad input, which no law gives"
RESHAPE = "NumPy takes any negative side for the one that fits"
LAST_OF_TWO = "the array has two axes"
ZERO = "at 0 both give 0"
SLOWER = "only slower"
ANY_BATCH = "any batch that the model runs on will do"
ELSEWHERE = "a function that is called refuses it as well"
WHEREVER = "where a warning points is no part of the exercise"

EQUIVALENT: dict[str, dict[str, list[str]]] = {
    "01.2": {
        "at 0 the decay is 1 as well": [
            "self.y = np.where(x > 0, 1, decay) / (1 + decay)",
        ],
    },
    "01.3": {
        "it is reshaped anyway": [
            "return grad.sum(axis=added + stretched, keepdims=False).reshape(shape)",
        ],
    },
    "01.6": {
        "both have the same length": [
            "for source, slope in zip(sources, slopes, strict=False):",
        ],
    },
    "02.2": {
        SLOWER: [
            "dense = stride[0] == stride[1] == 0",
        ],
    },
    "02.3": {
        SLOWER: [
            "dense = stride[0] == stride[1] == dilation[0] == dilation[1] == 0",
        ],
    },
    "02.4": {
        RESHAPE: [
            "y = weight.reshape(len(weight), -2) @ self.columns",
            "grad = grad.reshape(*grad.shape[:2], -2)",
            "grad_columns = self.weight.reshape(len(self.weight), -2).T @ grad",
        ],
        "all filters have the same size": [
            "self.columns = np.empty((len(x), weight[-1].size, out_h * out_w), x.dtype)",
        ],
    },
    "03.1": {
        BAD_INPUT: [
            'H, lr = check_hessian(hessian), check_number("lr", lr, -1)',
        ],
    },
    "03.4": {
        "the layer has one input, and runs once": [
            "lambda _, inputs, output, seen=seen: seen.append(inputs[-1].data)",
            "norm.running_mean[:] = seen[-1].mean(axis=(0, 2, 3))",
            "norm.running_var[:] = seen[-1].var(axis=(0, 2, 3))",
        ],
    },
    "04.1": {
        "whatever a constant column is divided by, it becomes 0": [
            "return np.where(constant, 0.0, (features - mean) / np.where(constant, 2.0, deviation))",
        ],
    },
    "04.2": {
        "the further rows of Vt are not taken": [
            "_, _, Vt = np.linalg.svd(X, full_matrices=True)",
        ],
        "a sign is its own inverse": [
            "return X @ (directions / signs[:, np.newaxis]).T",
        ],
    },
    "04.4": {
        "the layer runs once": [
            "features = kept[-1].reshape(len(images), -1).astype(np.float64)",
        ],
        RESHAPE: [
            "features = kept[0].reshape(len(images), -2).astype(np.float64)",
        ],
        "whatever the weight of 0 is divided by, it stays 0": [
            "deviation[np.ptp(features, axis=0) == 0] = 2.0",
        ],
    },
    "05.3": {
        "only rounding makes it negative, by less than a law can tell": [
            "return (loss - loss.item()) + max(kl, -1.0)",
        ],
    },
    "06.2": {
        "only more memory": [
            "step = max(2, CHUNK // max(1, support.size))",
            "step = max(1, CHUNK * max(1, support.size))",
            "step = max(1, CHUNK // max(2, support.size))",
        ],
    },
    "06.3": {
        "it halves the distance of lone neighbours, who are the nearest of an equal vote in any case": [
            "mean_distance = total / np.maximum(count, 2)",
        ],
        LAST_OF_TWO: [
            "best_first = np.lexsort((mean_distance, -votes), axis=1)",
        ],
    },
    "06.4": {
        "then no k is within 1 ... 0": [
            'check_int("ways", ways, 0, len(classes))',
        ],
    },
    "07.4": {
        "-1 is the side that fits": [
            "S = (u @ u.T)[others].reshape(2 * n, 0 * n - 1)",
        ],
    },
    "09.2": {
        "0 times any logarithm is 0": [
            "logs = np.log(np.where(p > 0, p, 2))",
        ],
        "-0 equals 0": [
            "return -(p * logs).sum(axis=axis) - 0.0",
        ],
    },
    "09.4": {
        BAD_INPUT: [
            "fits = -1 < low <= 1 <= high < np.inf",
            "fits = 0 <= low <= 1 <= high < np.inf",
            "fits = 0 < low <= 1 <= high <= np.inf",
        ],
        WHEREVER: [
            "warnings.warn(message, RuntimeWarning, stacklevel=0)",
            "warnings.warn(message, RuntimeWarning, stacklevel=1)",
            "warnings.warn(message, RuntimeWarning, stacklevel=3)",
        ],
    },
    "10.3": {
        "a copy is as good": [
            "steps = np.rint(x.astype(np.float32, copy=True) / self.S) + self.Z",
        ],
    },
    "11.1": {
        RESHAPE: [
            "counts = np.append(counts.reshape(-2, 2).sum(axis=1), np.zeros(len(counts) // 2, np.int64))",
        ],
    },
    "11.4": {
        "with as many bins as levels both are each bin its own": [
            "level = bins * levels // len(counts) if len(counts) >= levels else bins",
        ],
        "a single count is 0 or infinitely far from its own level": [
            "return float(np.sum(P[occupied] * np.log(P[occupied] / Q[occupied])) / max(P.sum(), 2))",
        ],
    },
    "11.2": {
        RESHAPE: [
            "new_weight = weight * factor.reshape(-2, *[1] * (weight.ndim - 1))",
        ],
    },
    "12.1": {
        BAD_INPUT: [
            'weight = check_array("conv", conv, finite=True)',
            "is_weight = weight.ndim >= 0",
            "is_weight = weight.ndim >= 1",
        ],
        RESHAPE: [
            "rows = np.abs(weight.reshape(len(weight), -2).astype(np.float64))",
        ],
    },
    "12.3": {
        "there are as many parts as shapes": [
            "masks = {name: part.reshape(shapes[name]) for name, part in zip(shapes, parts, strict=False)}",
        ],
        "NumPy refuses to concatenate nothing, with a ValueError too": [
            'require(len(weights) >= 0, "weights must be a dict of at least one array, got an empty one")',
            'require(len(weights) > -1, "weights must be a dict of at least one array, got an empty one")',
        ],
    },
    "12.4": {
        ANY_BATCH: [
            "for path, mask in parameter_masks(model, {layer: np.arange(count) != o}, images[:2]).items():",
        ],
    },
    "12.5": {
        ANY_BATCH: [
            "candidate = masked_copy(model, criterion, k * step, train[0][:2])",
        ],
    },
    "13.5": {
        "each batch gives a pair": [
            "values, places = (np.concatenate(some) for some in zip(*strongest, strict=False))",
        ],
    },
    "14.4": {
        ELSEWHERE: [
            "images, goal = images_and_target(model, images, target, maps=False, probability=probability)",
            'windows, strides = pair("window", window, 0), pair("stride", stride, 1)',
            'windows, strides = pair("window", window, 1), pair("stride", stride, 0)',
        ],
        "each of the three is of height and width": [
            "rows, columns = (window_starts(*sides) for sides in zip(size, windows, strides, strict=False))",
        ],
    },
    "14.5": {
        ELSEWHERE: [
            'steps = check_int("steps", steps, 0, 10**4)',
        ],
        "nobody waits for so many nodes": [
            'steps = check_int("steps", steps, 1, 11**4)',
            'steps = check_int("steps", steps, 1, 9**4)',
            'steps = check_int("steps", steps, 1, 10**3)',
            'steps = check_int("steps", steps, 1, 10**5)',
        ],
        "each node has its weight": [
            "pairs = list(zip(alphas.tolist(), weights.tolist(), strict=False))",
        ],
    },
    "15.2": {
        ZERO: [
            "return np.where(grad >= 0, grad, 0)",
        ],
    },
    "15.3": {
        ZERO: [
            "return np.where((x > 0) & (grad >= 0), grad, 0)",
        ],
    },
    "16.4": {
        "rows of a table have no layer of maps, and are refused for that": [
            "images, goal = images_and_target(model, images, target, maps=False)",
        ],
    },
    "17.1": {
        RESHAPE: [
            "worths = worths_of(value, n, there.reshape(-2, n)).reshape(paths, n + 1)",
        ],
    },
    "17.2": {
        RESHAPE: [
            "by_bit = v.reshape(-2, 2, 2**i)",
            "phi[i] = weights @ gains.reshape(-2)",
        ],
    },
    "17.3": {
        SLOWER: [
            "if len(gram) and np.linalg.matrix_rank(gram, hermitian=False) < len(gram):",
        ],
    },
    "18.4": {
        RESHAPE: [
            "w = (gradients - gradients[answer]).reshape(len(logits), -2)",
        ],
        "w[k] is 0 there, whatever multiplies it": [
            "scale = distances[k] / norms[k] if norms[k] > 0 else -1.0",
            "scale = distances[k] / norms[k] if norms[k] > 0 else 1.0",
        ],
    },
    "18.5": {
        "there is one image, the first and the last": [
            "logits = model((change + image).reshape(1, *image.shape))[-1]",
        ],
    },
    "18.6": {
        "a start is as likely as its opposite": [
            "x = project(images - start, images, eps, bounds)",
        ],
    },
}
