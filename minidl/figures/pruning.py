"""Pruning: the norms of filters with thresholds, and the loop with its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from minidl.engine.checks import check_int, check_number, require
from minidl.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    SMALL,
    VERMILLION,
    by_title,
    float_array,
    new_figure,
    style,
)

MAX_LAYERS = 6


def norm_histograms(
    norms: Mapping[str, np.ndarray],
    s: Sequence[float] | np.ndarray = (),
    *,
    xlabel: str = "L1 norm of a filter",
) -> Figure:
    """A histogram of each layer's norms, with a line at mean + s · std for each of ``s``.

    norms: layer -> (O,), up to six layers.  s: up to three numbers. The legend says how many filters are at
    or below each line.
    """
    norms, s = by_title("norms", norms, MAX_LAYERS), float_array("s", s, "k", empty=True)
    looks = ((VERMILLION, "--"), (GREEN, ":"), (BLACK, "-."))
    require(len(s) <= len(looks), f"s must be at most three numbers, got {len(s)}")
    norms = {layer: float_array(f"norms of {layer}", values, "O") for layer, values in norms.items()}
    with style():
        figure = new_figure(3.1 * len(norms), 3.4, constrained=True)
        panels = figure.subplots(1, len(norms), squeeze=False)[0]
        for panel, (layer, values) in zip(panels, norms.items(), strict=True):
            panel.hist(values, bins=min(12, len(values)), color=BLUE, edgecolor="white", linewidth=0.5)
            for factor, (colour, line) in zip(s, looks, strict=False):
                threshold = values.mean() + factor * values.std()
                label = f"mean {factor:+g} std: {np.sum(values <= threshold)} of {len(values)}"
                panel.axvline(threshold, color=colour, linestyle=line, label=label)
            panel.set(xlabel=xlabel, title=layer)
            panel.locator_params("y", integer=True)
            if len(s):
                panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), fontsize=SMALL)
        panels[0].set_ylabel("filters")
    return figure


def pruning_loop(
    losses: Sequence[float] | np.ndarray,
    sparsities: Sequence[float] | np.ndarray,
    accuracies: Sequence[float] | np.ndarray,
    accepted: int,
    max_allowed_loss: float,
) -> Figure:
    """The steps of the pruning loop: the loss with its budget, the accuracy, and the sparsity.

    A step that was undone is marked.

    losses, sparsities, accuracies: (steps + 1,); entry 0 is the unpruned network.  accepted: see
    ``PruneResult``.
    """
    losses = float_array("losses", losses, "steps + 1", finite=False)
    accuracies = float_array("accuracies", accuracies, len(losses), finite=False)
    sparsities = float_array("sparsities", sparsities, len(losses), finite=False)
    accepted = check_int("accepted", accepted, 0, len(losses) - 1)
    max_allowed_loss = check_number("max_allowed_loss", max_allowed_loss)
    rows, steps = (losses, accuracies, sparsities), np.arange(len(losses))
    with style():
        figure = new_figure(7.0, 5.4, constrained=True)
        panels = figure.subplots(3, 1, sharex=True, height_ratios=[2, 1, 1])
        for panel, values, name in zip(panels, rows, ("loss", "accuracy", "share of zeros"), strict=True):
            upto = slice(accepted + 1)
            kept = panel.plot(steps[upto], values[upto], "o-", color=BLUE, label="accepted")
            if accepted + 1 < len(steps):
                panel.plot(steps[accepted:], values[accepted:], ":", color=VERMILLION, linewidth=1.2)
                look = {"color": VERMILLION, "markersize": 9, "label": "undone"}
                back = panel.plot(steps[accepted + 1 :], values[accepted + 1 :], "X", **look)
            panel.set_ylabel(name)
            panel.margins(y=0.2)
            panel.grid(True)
        budget = panels[0].axhline(max_allowed_loss, color=BLACK, linestyle="--", label="budget")
        handles = [*kept, *(back if accepted + 1 < len(steps) else []), budget]
        figure.legend(handles=handles, loc="outside right upper")
        panels[-1].set(xlabel="step of pruning and finetuning", xticks=steps)
    return figure
