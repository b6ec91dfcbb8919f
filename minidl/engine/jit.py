"""The one switch between compiled kernels and plain Python, and the one place that decides on threads.

Kernels are plain functions (kernels.py).  ``run`` shares a batch out among a few threads, each calling the
compiled kernel on its range; compiled code does not hold the interpreter's lock, and the threads sleep when
there is nothing to do.  BLAS keeps to one thread per call meanwhile: its own would fight ours for the cores,
and they spin for tens of milliseconds after a product, which halves the speed of whatever runs next.

MINIDL_DEBUG=1 (or NUMBA_DISABLE_JIT=1), or ``with minidl.debug():`` for the calls inside it, leaves the
kernels plain Python in one thread: a breakpoint inside them works, and Numba is not imported.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from queue import SimpleQueue
from types import FunctionType

import numpy as np

PARTS = 8  # a sum over a batch is split into this many parts on any number of threads, so its bits stay
WORTH_A_THREAD = 100_000  # nanoseconds of work below which waking a second thread costs more than it saves


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")


_debugging = ContextVar("debugging", default=_is_set("MINIDL_DEBUG") or _is_set("NUMBA_DISABLE_JIT"))


@contextmanager
def debug() -> Iterator[None]:
    """Run the kernels called inside the block as plain Python, so that a debugger can step into them."""
    token = _debugging.set(True)
    try:
        yield
    finally:
        _debugging.reset(token)


def compiled(kernel: FunctionType) -> Callable:
    """The compiled twin of a function of kernels.py; the function itself while debugging."""
    return kernel if _debugging.get() else _twins(kernel.__module__)[kernel.__name__]


@cache
def _twins(module: str) -> dict[str, Callable]:
    """The module's functions, each compiled at its first call and calling the others' compiled twins."""
    import numba

    twins = dict(vars(sys.modules[module]))
    for name, function in vars(sys.modules[module]).items():
        if isinstance(function, FunctionType):
            twin = FunctionType(function.__code__, twins, name, function.__defaults__)
            twins[name] = numba.njit(nogil=True)(twin)
            with suppress(RuntimeError):  # nowhere to keep a cache: each process compiles for itself
                twins[name].enable_caching()
    return twins


def run(kernel: FunctionType, count: int, nanoseconds: float, *arguments: object) -> None:
    """Call ``kernel(first, last, *arguments)`` on ranges that cover 0 ... count, one range per thread.

    The kernel writes into arrays among its arguments.  ``nanoseconds``: how long one thread takes, roughly.
    """
    if _debugging.get():
        kernel(0, count, *arguments)
    else:
        with one_blas_thread:
            _share(compiled(kernel), count, nanoseconds, arguments)


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b``, its rows shared out among our threads where BLAS would have used its own."""
    multiply_adds = a.size * b.shape[-1]
    if multiply_adds < 2**18 or _debugging.get():  # OpenBLAS too takes one thread below this
        return a @ b
    with one_blas_thread:
        if a.ndim != 2 or b.ndim != 2:
            return a @ b
        product = np.empty((a.shape[0], b.shape[1]), np.result_type(a, b))
        _share(_rows_of_product, a.shape[0], multiply_adds / 50, (a, b, product))
        return product


def _rows_of_product(first: int, last: int, a: np.ndarray, b: np.ndarray, product: np.ndarray) -> None:
    np.matmul(a[first:last], b, out=product[first:last])


# Threads -------------------------------------------------------------------------------------------------


def num_threads() -> int:
    """How many threads share a batch: MINIDL_NUM_THREADS, OMP_NUM_THREADS or one per core, at most 8."""
    return _threads


def set_num_threads(count: int) -> None:
    """Use ``count`` threads from now on.  Raises ValueError below 1."""
    global _threads
    if count < 1:
        raise ValueError(f"the number of threads must be at least 1, got {count}")
    _threads = min(count, PARTS)


def _default_threads() -> int:
    for variable in ("MINIDL_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(variable, "").isdecimal():
            return max(1, min(int(os.environ[variable]), PARTS))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, PARTS)


_threads = _default_threads()


def _share(function: Callable, count: int, nanoseconds: float, arguments: tuple) -> None:
    """Call function(first, last, *arguments) on equal ranges: the first here, the others on the workers."""
    threads = min(_threads, count) if nanoseconds > WORTH_A_THREAD else 1
    cuts = [count * i // threads for i in range(threads + 1)]
    finished: SimpleQueue = SimpleQueue()
    for first, last in zip(cuts[1:-1], cuts[2:], strict=True):
        _workers.submit(finished, function, first, last, arguments)
    try:
        function(0, cuts[1], *arguments)
    finally:
        errors = [finished.get() for _ in range(threads - 1)]
    for error in errors:
        if error is not None:
            raise error


class _Workers:
    """Threads that wait on one queue; PARTS - 1 at most, started when first needed, anew after a fork."""

    def __init__(self):
        self.lock = threading.Lock()
        self.queue: SimpleQueue = SimpleQueue()
        self.started = 0

    def submit(self, *task: object) -> None:
        if self.started < _threads - 1:
            with self.lock:
                while self.started < _threads - 1:
                    threading.Thread(target=self.work, name="minidl", daemon=True).start()
                    self.started += 1
        self.queue.put(task)

    def work(self) -> None:
        while True:
            _do(*self.queue.get())  # no name here, which would keep the last task's arrays alive


def _do(finished: SimpleQueue, function: Callable, first: int, last: int, arguments: tuple) -> None:
    try:
        function(first, last, *arguments)
        finished.put(None)
    except BaseException as error:
        finished.put(error)


class _OneBlasThread:
    """``with one_blas_thread:`` keeps every BLAS in the process to one thread per call; it costs 5 us.

    NumPy's BLAS and SciPy's, which compiled code calls, are usually two copies.  Blocks may overlap in time
    across threads: the first to enter sets the limit and the last to leave lifts it.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.inside = 0

    def __enter__(self):
        with self.lock:
            if self.inside == 0:
                self.before = [(library, library.get_num_threads()) for library in _blas_libraries()]
                for library, _ in self.before:
                    library.set_num_threads(1)
            self.inside += 1

    def __exit__(self, *error):
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                for library, threads in self.before:
                    library.set_num_threads(threads)


@cache
def _blas_libraries() -> list:
    import scipy.linalg.cython_blas  # noqa: F401  so that the copy compiled code calls is loaded and found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas").lib_controllers


_workers, one_blas_thread = _Workers(), _OneBlasThread()


def _after_fork() -> None:
    """A forked child has this module's objects but not its threads."""
    global _workers, one_blas_thread
    _workers, one_blas_thread = _Workers(), _OneBlasThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
