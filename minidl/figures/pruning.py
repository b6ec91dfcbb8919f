"""Pruning: the norms of filters with thresholds, and the loop with its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from minidl.figures.style import BLACK, BLUE, GREEN, SMALL, VERMILLION, new_figure, number_array, style

MAX_LAYERS = 6


def norm_histograms(
    norms: Mapping[str, np.ndarray], s: Sequence[float] = (), *, xlabel: str = "L1 norm of a filter"
) -> Figure:
    """A histogram of each layer's norms, with a line at mean + s · std for each of ``s``.

    norms: layer -> (O,), up to six layers.  s: up to three; the legend says how many filters lie at or below.
    """
    if not isinstance(norms, Mapping) or not 1 <= len(norms) <= MAX_LAYERS:
        raise ValueError(f"norms must be a dict of 1 to {MAX_LAYERS} layers: norms")
    if len(s) > 3:
        raise ValueError(f"at most three thresholds can be told apart, got {len(s)}")
    looks = ((VERMILLION, "--"), (GREEN, ":"), (BLACK, "-."))
    with style():
        figure = new_figure(3.1 * len(norms), 3.4, constrained=True)
        panels = figure.subplots(1, len(norms), squeeze=False)[0]
        for panel, (layer, values) in zip(panels, norms.items(), strict=True):
            values = number_array(values, f"norms of {layer}")
            if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
                raise ValueError(f"norms of {layer} must be finite and (O,), got shape {values.shape}")
            panel.hist(values, bins=min(12, len(values)), color=BLUE, edgecolor="white", linewidth=0.5)
            for factor, (colour, line) in zip(s, looks, strict=False):
                threshold = values.mean() + factor * values.std()
                label = f"mean {factor:+g} std: {np.sum(values <= threshold)} of {len(values)}"
                panel.axvline(threshold, color=colour, linestyle=line, label=label)
            panel.set(xlabel=xlabel, title=layer)
            panel.yaxis.get_major_locator().set_params(integer=True)
            if len(s):
                panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), fontsize=SMALL)
        panels[0].set_ylabel("filters")
    return figure


def pruning_loop(
    losses: Sequence[float],
    sparsities: Sequence[float],
    accuracies: Sequence[float],
    accepted: int,
    max_allowed_loss: float,
) -> Figure:
    """The pruning loop by its steps: loss with the budget, accuracy, sparsity; what was undone stands out.

    losses, sparsities, accuracies: (steps + 1,), the unpruned network first.  accepted: see ``PruneResult``.
    """
    rows = [
        number_array(values, "losses, sparsities and accuracies")
        for values in (losses, accuracies, sparsities)
    ]
    if len({row.shape for row in rows}) != 1 or rows[0].ndim != 1 or not 0 <= accepted < len(rows[0]):
        shapes = [row.shape for row in rows]
        raise ValueError(f"expected three rows of one length above accepted = {accepted}, got {shapes}")
    steps = np.arange(len(rows[0]))
    with style():
        figure = new_figure(7.0, 5.4, constrained=True)
        panels = figure.subplots(3, 1, sharex=True, height_ratios=[2, 1, 1])
        for panel, values, name in zip(panels, rows, ("loss", "accuracy", "zeros"), strict=True):
            kept = panel.plot(
                steps[: accepted + 1], values[: accepted + 1], "o-", color=BLUE, label="accepted"
            )
            if accepted + 1 < len(steps):
                panel.plot(steps[accepted:], values[accepted:], ":", color=VERMILLION, linewidth=1.2)
                back = panel.plot(
                    steps[accepted + 1 :],
                    values[accepted + 1 :],
                    "X",
                    color=VERMILLION,
                    markersize=9,
                    label="rolled back",
                )
            panel.set_ylabel(name)
            panel.margins(y=0.2)
            panel.grid(True)
        budget = panels[0].axhline(max_allowed_loss, color=BLACK, linestyle="--", label="budget")
        handles = [*kept, *(back if accepted + 1 < len(steps) else []), budget]
        figure.legend(handles=handles, loc="outside right upper")
        panels[-1].set(xlabel="step of pruning and finetuning", xticks=steps)
    return figure
