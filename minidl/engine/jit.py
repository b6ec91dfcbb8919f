"""This module runs the kernels: compiled or as plain Python, and on one or several threads.

Kernels are plain functions (kernels.py). ``run`` divides a batch among a few threads. Each thread calls the
compiled kernel on its range. Compiled code does not hold the interpreter's lock, and idle threads sleep.
Meanwhile BLAS uses one thread per call. With more threads, BLAS and ``run`` would compete for the cores, and
BLAS threads stay busy for tens of milliseconds after a product, which halves the speed of the next step.

With MINIDL_DEBUG=1 (or NUMBA_DISABLE_JIT=1) the kernels stay plain Python in one thread: breakpoints inside
them work, and Numba is not imported. ``with minidl.debug():`` does the same for the calls inside the block.
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

from minidl.engine.checks import check_int, require

# sums over a batch always have this many parts, so the result does not depend on the number of threads
PARTS = 8
WAKING = 50_000  # nanoseconds until a sleeping thread begins to work
WORTH_A_THREAD = 3 * WAKING  # nanoseconds of work; with less work, waking a thread costs more than it saves


# ---- compiled or plain


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() not in ("", "0", "false", "no", "off")


_debugging = ContextVar("debugging", default=_is_set("MINIDL_DEBUG") or _is_set("NUMBA_DISABLE_JIT"))


@contextmanager
def debug() -> Iterator[None]:
    """Run the kernels called inside the block as plain Python, so that a debugger can step into them.

    >>> from minidl import debug, nn
    >>> with debug():  # set a breakpoint in minidl/engine/kernels.py
    ...     print(nn.MaxPool2d(2)([[[[1, 2], [3, 4]]]]))
    Tensor([[[[4.]]]], float32)
    """
    token = _debugging.set(True)
    try:
        yield
    finally:
        _debugging.reset(token)


def compiled(kernel: FunctionType) -> Callable:
    """The compiled copy of a function of kernels.py; in debug mode the function itself."""
    return kernel if _debugging.get() else _twins(kernel.__module__)[kernel.__name__]


def pays_to_compile(array: np.ndarray) -> bool:
    """Whether a compiled kernel beats NumPy: for large arrays, and not in debug mode."""
    return array.size > 20_000 and not _debugging.get()


@cache
def _twins(module: str) -> dict[str, Callable]:
    """Compiled copies of the module's functions, which call each other. Each compiles at its first call."""
    import numba

    _keep_freed_memory()
    twins = dict(vars(sys.modules[module]))
    for name, function in vars(sys.modules[module]).items():
        if isinstance(function, FunctionType):
            twin = FunctionType(function.__code__, twins, name, function.__defaults__)
            twins[name] = numba.njit(nogil=True)(twin)
            with suppress(RuntimeError):  # no place for a cache: each process compiles again
                twins[name].enable_caching()
    return twins


def _keep_freed_memory() -> None:
    """Tell glibc to keep up to 512 MB of freed memory for the next arrays.

    Otherwise glibc returns the memory to the system after each training step. Then the next step has one page
    fault per 4 KB. In a virtual machine this takes as long as the convolutions.
    """
    trim_threshold, mmap_threshold = -1, -3  # mallopt's names for them
    with suppress(OSError, AttributeError, TypeError):  # another C library has no mallopt
        libc = ctypes.CDLL(None)
        libc.mallopt(trim_threshold, 512 * 2**20)
        libc.mallopt(mmap_threshold, 32 * 2**20)  # the largest it takes


# ---- work for all threads


def run(nanoseconds: float, *calls: tuple) -> None:
    """Run each call (kernel, count, *arguments) as kernel(first, last, *arguments) over 0 ... count.

    Every thread takes one range of each call, so no call may need the result of another call. Kernels write
    into arrays among their arguments. ``nanoseconds``: a rough time of all calls on one thread.
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
    """The result of ``kernel(first, last, *arrays, result, *numbers)``.

    The arrays have one shape and are flattened.
    """
    result = np.empty(arrays[0].shape, arrays[0].dtype)
    flat = [np.ascontiguousarray(array).reshape(-1) for array in (*arrays, result)]
    run(0.4 * result.size, (kernel, result.size, *flat, *numbers))
    return result


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b``.

    For large products the rows are divided among the threads of this module, not those of BLAS.
    """
    multiply_adds = a.size * b.shape[-1] if b.ndim > 1 else 0
    if multiply_adds < 2**18 or _debugging.get():  # below this, OpenBLAS uses one thread, too
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
    fits = not own or (own.isdecimal() and int(own) >= 1)
    require(fits, f"MINIDL_NUM_THREADS must be a number of threads, 1 or more, got {own!r}")
    if own or everybodys.isdecimal():
        return max(1, min(int(own or everybodys), PARTS))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, PARTS)


_threads = _default_threads()


def num_threads() -> int:
    """The number of threads for a batch: MINIDL_NUM_THREADS, OMP_NUM_THREADS or one per core, at most 8."""
    return _threads


def set_num_threads(count: int) -> None:
    """Divide each batch among ``count`` threads from now on, at most 8. Raises ValueError below 1."""
    global _threads
    _threads = min(check_int("the number of threads", count, 1), PARTS)


def _share(nanoseconds: float, calls: list[tuple]) -> None:
    """Divide every call among this thread and the workers.

    This thread starts first, so its part is larger.
    """
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
    for error in filter(None, errors):
        raise error


def _do(finished: SimpleQueue, start: float, end: float, calls: list[tuple]) -> None:
    try:
        for function, count, *arguments in calls:
            function(round(count * start), round(count * end), *arguments)
    except BaseException as error:
        finished.put(error)
    else:  # not in the try block: a Ctrl-C here must not put a second entry
        finished.put(None)


class _Workers:
    """Threads that wait on one queue. They start when the first task comes."""

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
            _do(*self.queue.get())  # no variable for the task: it would keep the task's arrays alive


class OneBlasThread:
    """``with numpy_blas:`` limits NumPy's BLAS to one thread per call; ``with scipy_blas:`` limits SciPy's
    BLAS.

    Compiled code calls SciPy's BLAS. If the two copies of BLAS cannot be told apart, both are limited. Blocks
    of several threads may overlap in time: the first block sets the limit, and the last block removes it.
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

    importlib.import_module(f"{owner}.linalg")  # this import loads the BLAS of the owner
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    folders = [Path(library.filepath).parts[-3:-1] for library in libraries]  # numpy.libs or numpy/.dylibs
    own = [library for library, parts in zip(libraries, folders, strict=True) if owner in " ".join(parts)]
    return own or libraries


def _set_blas_threads(library: Any, count: int) -> None:
    library.set_num_threads(count)
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread()  # otherwise threadpoolctl ignores all other threads from now on


_workers: _Workers
numpy_blas: OneBlasThread
scipy_blas: OneBlasThread


def _start_anew() -> None:
    """Create the workers. A forked child also needs this: it inherits the objects but not the threads."""
    global _workers, numpy_blas, scipy_blas
    _workers, numpy_blas, scipy_blas = _Workers(), OneBlasThread("numpy"), OneBlasThread("scipy")


_start_anew()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
