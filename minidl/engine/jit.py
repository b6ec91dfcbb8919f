"""The one switch between compiled kernels and plain Python, and the one place that decides on threads.

Kernels are plain functions (kernels.py). ``run`` shares a batch out among a few threads, each calling the
compiled kernel on its range; compiled code does not hold the interpreter's lock, and the threads sleep when
there is nothing to do. BLAS keeps to one thread per call meanwhile: its own would fight ours for the cores,
and they spin for tens of milliseconds after a product, which halves the speed of whatever runs next.

MINIDL_DEBUG=1 (or NUMBA_DISABLE_JIT=1), or ``with minidl.debug():`` for the calls inside it, leaves the
kernels plain Python in one thread: a breakpoint inside them works, and Numba is not imported.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from types import FunctionType
from typing import Any

import numpy as np

PARTS = 8  # a sum over a batch is split into this many parts on any number of threads, so its bits stay
WAKING = 50_000  # nanoseconds until a sleeping thread begins to work
WORTH_A_THREAD = 3 * WAKING  # nanoseconds of work, below which waking a thread costs more than it saves


# ---- compiled or plain


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() not in ("", "0", "false", "no", "off")


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


def pays_to_compile(array: np.ndarray) -> bool:
    """Whether a kernel is worth having where NumPy would do: for a large array, and not while debugging."""
    return array.size > 20_000 and not _debugging.get()


@cache
def _twins(module: str) -> dict[str, Callable]:
    """The module's functions, each compiled at its first call and calling the others' compiled twins."""
    import numba

    _keep_freed_memory()
    twins = dict(vars(sys.modules[module]))
    for name, function in vars(sys.modules[module]).items():
        if isinstance(function, FunctionType):
            twin = FunctionType(function.__code__, twins, name, function.__defaults__)
            twins[name] = numba.njit(nogil=True)(twin)
            with suppress(RuntimeError):  # nowhere to keep a cache: each process compiles for itself
                twins[name].enable_caching()
    return twins


def _keep_freed_memory() -> None:
    """Have glibc keep up to 512 MB of freed memory for the next arrays.

    Otherwise it goes back to the system at the end of each training step, and the next step pays one page
    fault per 4 KB for it: in a virtual machine, as long as the convolutions take.
    """
    trim_threshold, mmap_threshold = -1, -3  # mallopt's names for them
    with suppress(OSError, AttributeError, TypeError):  # another C library, with its own ways
        libc = ctypes.CDLL(None)
        libc.mallopt(trim_threshold, 512 * 2**20)
        libc.mallopt(mmap_threshold, 32 * 2**20)  # the largest it takes


# ---- work for all threads


def run(nanoseconds: float, *calls: tuple) -> None:
    """Do each call (kernel, count, *arguments): kernel(first, last, *arguments) over 0 ... count.

    Every thread takes one range of each call, so no call may need what another one computes. Kernels write
    into arrays among their arguments. ``nanoseconds``: how long one thread would take for all, roughly.
    """
    if _debugging.get():
        for kernel, count, *arguments in calls:
            kernel(0, count, *arguments)
        return
    compiled_calls = [(compiled(kernel), *rest) for kernel, *rest in calls]
    uses_blas = any("dot" in kernel.__code__.co_names for kernel, *_ in calls)
    with scipy_blas if uses_blas else nullcontext():
        _share(nanoseconds, compiled_calls)


def elementwise(kernel: FunctionType, *arrays: np.ndarray, numbers: tuple = ()) -> np.ndarray:
    """What ``kernel(first, last, *arrays, result, *numbers)`` makes of arrays of one shape, laid flat."""
    result = np.empty(arrays[0].shape, arrays[0].dtype)
    flat = [np.ascontiguousarray(array).reshape(-1) for array in (*arrays, result)]
    run(0.4 * result.size, (kernel, result.size, *flat, *numbers))
    return result


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b``, its rows shared out among our threads where BLAS would have used its own."""
    multiply_adds = a.size * b.shape[-1] if b.ndim > 1 else 0
    if multiply_adds < 2**18 or _debugging.get():  # OpenBLAS too takes one thread below this
        return a @ b
    with numpy_blas:
        if a.ndim != 2 or b.ndim != 2:
            return a @ b
        product = np.empty((a.shape[0], b.shape[1]), np.result_type(a, b))
        _share(multiply_adds / 40, [(_rows_of_product, len(a), a, b, product)])
        return product


def _rows_of_product(first: int, last: int, a: np.ndarray, b: np.ndarray, product: np.ndarray) -> None:
    np.matmul(a[first:last], b, out=product[first:last])


# ---- threads


def _default_threads() -> int:
    own, everybodys = os.environ.get("MINIDL_NUM_THREADS", ""), os.environ.get("OMP_NUM_THREADS", "")
    if own and not (own.isdecimal() and int(own) >= 1):
        raise ValueError(f"MINIDL_NUM_THREADS must be a number of threads, 1 or more, got {own!r}")
    if own or everybodys.isdecimal():
        return max(1, min(int(own or everybodys), PARTS))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, PARTS)


_threads = _default_threads()


def num_threads() -> int:
    """How many threads share a batch: MINIDL_NUM_THREADS, OMP_NUM_THREADS or one per core, at most 8."""
    return _threads


def set_num_threads(count: int) -> None:
    """Share a batch among ``count`` threads from now on, at most 8. Raises ValueError below 1."""
    global _threads
    if count < 1:
        raise ValueError(f"the number of threads must be at least 1, got {count}")
    _threads = min(count, PARTS)


def _share(nanoseconds: float, calls: list[tuple]) -> None:
    """Do a share of every call here, the larger one as it starts first, and the others on the workers."""
    threads = _threads if nanoseconds > WORTH_A_THREAD else 1
    if threads == 1:
        for function, count, *arguments in calls:
            function(0, count, *arguments)
        return
    here = 1 / threads + (1 - 1 / threads) * WAKING / nanoseconds
    cuts = [0.0, here, *[here + (1 - here) * i / (threads - 1) for i in range(1, threads)]]
    finished: SimpleQueue = SimpleQueue()
    for i in range(1, threads):
        _workers.submit(finished, cuts[i], cuts[i + 1], calls)
    _do(finished, cuts[0], cuts[1], calls)
    errors = [finished.get() for _ in range(threads)]
    for error in errors:
        if error is not None:
            raise error


def _do(finished: SimpleQueue, start: float, end: float, calls: list[tuple]) -> None:
    try:
        for function, count, *arguments in calls:
            function(round(count * start), round(count * end), *arguments)
    except BaseException as error:
        finished.put(error)
    else:  # outside of the try: a Ctrl-C that lands here is no second entry
        finished.put(None)


class _Workers:
    """Threads that wait on one queue, started when first needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queue: SimpleQueue = SimpleQueue()
        self.started = 0

    def submit(self, *task: object) -> None:
        with self.lock:
            while self.started < _threads - 1:
                threading.Thread(target=self.work, name="minidl", daemon=True).start()
                self.started += 1
        self.queue.put(task)

    def work(self) -> None:
        while True:
            _do(*self.queue.get())  # without a name, which would keep the last task's arrays alive


class OneBlasThread:
    """``with numpy_blas:`` keeps NumPy's BLAS to one thread per call, ``scipy_blas`` that of compiled code.

    Usually they are two copies; where they are not told apart, both are limited. Blocks may overlap in time
    across threads: the first to enter sets the limit and the last to leave lifts it.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.lock = threading.Lock()
        self.inside = 0

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.before = [(library, library.get_num_threads()) for library in _blas_of(self.owner)]
                for library, _ in self.before:
                    _set_blas_threads(library, 1)
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                for library, threads in self.before:
                    _set_blas_threads(library, threads)


@cache
def _blas_of(owner: str) -> list:
    from threadpoolctl import ThreadpoolController

    importlib.import_module(f"{owner}.linalg")  # which loads its BLAS, if it has not been loaded yet
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    folders = [Path(library.filepath).parts[-3:-1] for library in libraries]  # numpy.libs or numpy/.dylibs
    own = [library for library, parts in zip(libraries, folders, strict=True) if owner in " ".join(parts)]
    return own or libraries


def _set_blas_threads(library: Any, count: int) -> None:
    library.set_num_threads(count)
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread()  # or threadpoolctl would ignore every other thread from now on


_workers: _Workers
numpy_blas: OneBlasThread
scipy_blas: OneBlasThread


def _start_anew() -> None:
    """Also in a forked child, which has this module's objects but none of its threads."""
    global _workers, numpy_blas, scipy_blas
    _workers, numpy_blas, scipy_blas = _Workers(), OneBlasThread("numpy"), OneBlasThread("scipy")


_start_anew()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
