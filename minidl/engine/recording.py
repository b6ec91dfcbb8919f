"""Whether operations record a graph: yes, except within ``no_grad``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

records_graph: ContextVar[bool] = ContextVar("records_graph", default=True)


@contextmanager
def no_grad() -> Iterator[None]:
    """Within the block (or the decorated function) no graph is recorded.

    >>> from minidl import Tensor, no_grad
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> with no_grad():
    ...     print(3 * x)
    Tensor([3., 6.], float32)
    """
    token = records_graph.set(False)
    try:
        yield
    finally:
        records_graph.reset(token)
