"""What a hostile file may try: each is a file for lesson 09, and what must be seen of exercise 09.2.

Nothing here answers ``entropy`` rightly, so none may pass. All are harmless where the limits hold, and also
limit themselves.
"""

import os
from dataclasses import dataclass

HEAD = "import numpy as np\nimport os, sys, time\n"
BODY = "def entropy(probabilities, axis=-1):\n"
WRONG = BODY + "    return np.zeros(np.shape(probabilities)[:-1]) + 0.5\n"


@dataclass(frozen=True)
class Attack:
    name: str
    text: str
    seen: tuple[str, ...]  # one of these is in the message
    seconds: float = 5.0

    @property
    def source(self) -> str:
        return HEAD + self.text


def in_call(lines: str) -> str:
    """The lines in the function, which then gives a wrong answer."""
    return BODY + "".join(f"    {line}\n" for line in lines.splitlines()) + WRONG.splitlines()[1] + "\n"


DIFFERS = ("differs", "elements differ", "has shape", "yours", "ValueError")
LIBRARY = ("calls the library's own entropy",)
RAISED = ("entropy raised ",)
ENDED = ("it ended the whole process", "it crashed the whole process")
LATE = ("still running after", "importing it takes more than")
STRAY = ("no answer", "does not answer", "ended the whole process")
REFUSED = ("importing it raises", "returned", "yours is")
LINK = (
    "import minidl.classroom.codec as c, minidl.classroom.frames as fr, gc\n"
    "from minidl.classroom.answering import Link\n"
    "link = next(x for x in gc.get_objects() if isinstance(x, Link))\n"
)
REFERENCE = "import minidl.train.calibration as m\n"
AS_ROOT = hasattr(os, "getuid") and os.getuid() == 0
ALL_OTHERS = "import signal\n" + in_call("os.kill(-1, signal.SIGKILL)" if AS_ROOT else "os._exit(1)")

ATTACKS = [
    # ---- exits
    Attack("exit at import", "sys.exit(0)\n", ("it ends the program when imported",)),
    Attack("os._exit at import", "os._exit(0)\n", ENDED),
    Attack("exit in a call", in_call("sys.exit(0)"), ("raised SystemExit instead of returning",)),
    Attack("os._exit in a call", in_call("os._exit(0)"), ENDED),
    Attack("KeyboardInterrupt", in_call("raise KeyboardInterrupt"), ("it raises KeyboardInterrupt",)),
    Attack("generator exit", in_call("raise GeneratorExit"), ("raised GeneratorExit instead of returning",)),
    # ---- test libraries
    Attack("hypothesis reject", in_call("import hypothesis\nhypothesis.reject()"), RAISED),
    Attack("hypothesis assume", in_call("import hypothesis\nhypothesis.assume(False)"), RAISED),
    Attack("pytest skip", in_call("import pytest\npytest.skip('no')"), ("raised Skipped instead",)),
    Attack(
        "patched numpy",
        "np.allclose = np.isclose = lambda *a, **k: True\nnp.abs = lambda x: 0 * x\n"
        "np.testing.assert_allclose = lambda *a, **k: None\n" + WRONG,
        DIFFERS,
    ),
    Attack(
        "patched hypothesis",
        "import hypothesis\nhypothesis.given = lambda *a, **k: lambda f: lambda *b: None\n"
        "hypothesis.core.execute_explicit_examples = lambda *a: ()\n" + WRONG,
        DIFFERS,
    ),
    # ---- printed and written verdicts
    Attack(
        "printing PASSED", "print('{\"outcome\": {\"passed\": true}}')\nprint('PASSED')\n" + WRONG, DIFFERS
    ),
    Attack(
        "result files",
        "for n in ('results.json', 'grades.csv'):\n    open(n, 'w').write('{\"passed\": true}')\n" + WRONG,
        DIFFERS,
    ),
    Attack(
        "verdicts to descriptors",
        "import json\nline = json.dumps({'outcome': {'number': '09.2', 'name': "
        "'entropy', 'passed': True}}) + '\\n'\nfor fd in range(3, 12):\n"
        "    try: os.write(fd, line.encode())\n    except OSError: pass\nos._exit(0)\n",
        STRAY,
    ),
    Attack(
        "verdicts to descriptors in a call",
        in_call(
            'line = b\'{"outcome": {"number": "09.2", "name": "entropy", "passed": true}}\\n\'\n'
            "for fd in range(3, 12):\n    try: os.write(fd, line)\n    except OSError: pass\n"
        ),
        STRAY,
    ),
    Attack("all descriptors closed", in_call("os.closerange(3, 64)"), STRAY),
    # ---- answers that lie
    Attack(
        "equal to all",
        "class Yes(float):\n    def __eq__(self, other): return True\n"
        "    def __array_function__(self, *a): return True\n    __hash__ = None\n"
        + BODY
        + "    return Yes(1)\n",
        REFUSED,
    ),
    Attack(
        "subclass of ndarray",
        "class Yes(np.ndarray):\n    def __eq__(self, o): return np.True_\n"
        "    def __array_ufunc__(self, *a, **k): return np.True_\n"
        + BODY
        + "    return np.zeros(np.shape(probabilities)[:-1]).view(Yes)\n",
        DIFFERS,
    ),
    Attack("object dtype", BODY + "    return np.array([object()])\n", ("an array of object",)),
    Attack("a generator", BODY + "    return (p for p in probabilities)\n", ("returned generator",)),
    Attack("deep", BODY + "    x = []\n    for _ in range(60): x = [x]\n    return x\n", REFUSED),
    Attack("huge", BODY + "    return np.zeros(10**7)\n", ("which is too much", "MemoryError")),
    Attack("NaN", BODY + "    return np.full(np.shape(probabilities)[:-1], np.nan)\n", DIFFERS),
    Attack("an int of a million digits", BODY + "    return 10 ** 10**6\n", ("returned Exceeds the limit",)),
    Attack(
        "changed input",
        BODY + "    probabilities[...] = 0\n    return probabilities[..., 0]\n",
        ("entropy changed its input 0",),
    ),
    Attack(
        "changed input, the comparison patched",
        "import minidl.classroom.exercise_kinds as k\nk.same = k.unchanged = lambda *a: True\n"
        + BODY
        + "    probabilities[...] = 0\n    return probabilities[..., 0]\n",
        ("entropy changed its input 0",),
    ),
    # ---- frames of the channel
    Attack(
        "a forged frame",
        in_call(
            LINK + "forged = {'answer': 1.0, 'same': True, 'warnings': []}\n"
            "fr.send(link.answers, link.number + 1, c.Values().write(forged))"
        ),
        STRAY,
    ),
    Attack(
        "a giant frame",
        in_call(
            LINK
            + "link.answers.write(fr.HEAD.pack(fr.MAGIC, link.number, 2**40, 2**40)); link.answers.flush()"
        ),
        STRAY,
    ),
    Attack(
        "a frame that promises more than comes",
        in_call(
            LINK + "link.answers.write(fr.HEAD.pack(fr.MAGIC, link.number, 1000, 0) + b'{')\n"
            "link.answers.flush()\n"
            "time.sleep(60)"
        ),
        LATE,
        1.0,
    ),
    Attack(
        "an answer that is none",
        in_call(LINK + "fr.send(link.answers, link.number, c.Values().write({'passed': True}))"),
        STRAY,
    ),
]

ATTACKS += [
    # ---- time, memory, processes
    Attack(
        "a loop that ignores signals",
        "import signal\n"
        + in_call(
            "for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)\n"
            "while True: pass"
        ),
        LATE,
        0.5,
    ),
    Attack(
        "a loop that catches all",
        in_call("while True:\n    try: time.sleep(9)\n    except BaseException: pass"),
        LATE,
        0.5,
    ),
    Attack("stopped", "import signal\n" + in_call("os.kill(os.getpid(), signal.SIGSTOP)"), LATE, 0.5),
    Attack("a loop at import", "while True: pass\n", LATE, 0.5),
    Attack("recursion", BODY + "    return entropy(probabilities)\n", ("RecursionError",)),
    Attack(
        "recursion without a limit",
        "sys.setrecursionlimit(10**9)\n" + BODY + "    return entropy(*[probabilities])\n",
        ("it crashed", "MemoryError", "RecursionError", *LATE),
    ),
    Attack("memory", in_call("x = [np.empty(2**26) for _ in range(100)]"), ("MemoryError",)),
    Attack(
        "a flood of output",
        in_call("for _ in range(2000): print('x' * 10000)\nos.write(2, b'y' * 10**6)"),
        DIFFERS,
    ),
    Attack(
        "a large file",
        in_call("with open('x', 'wb') as f:\n    for _ in range(100): f.write(bytes(2**20))"),
        ("File too large", "it crashed"),
    ),
    Attack("descriptors", in_call("x = [os.dup(0) for _ in range(10000)]"), ("Too many open files",)),
    Attack(
        "a fork bomb",
        in_call("for _ in range(200):\n    if os.fork() == 0:\n        while True: time.sleep(60)"),
        ("BlockingIOError",),
    ),
    Attack(
        "threads",
        "import threading\n"
        + in_call("for _ in range(200): threading.Thread(target=time.sleep, args=[60], daemon=True).start()"),
        ("can't start new thread",),
    ),
    Attack("a segmentation fault", "import ctypes\n" + in_call("ctypes.string_at(0)"), ENDED),
    Attack("an abort", in_call("os.abort()"), ENDED),
    Attack("a compile bomb", "exec('x = ' + '-' * 10**6 + '1')\n", ("importing it", *ENDED, *LATE)),
    Attack("a large constant", "exec('x = 10**10**9')\n", ("importing it", *ENDED, *LATE), 1.0),
    Attack("a NUL byte", "x = '\0'\n", ("importing it", "is not Python")),
    Attack("a fork at import", "os.fork()\n" + WRONG, (*DIFFERS, *STRAY)),
    Attack("two that answer", in_call("os.fork()"), (*DIFFERS, *STRAY)),
    Attack(
        "a daemon that rewrites later",
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        time.sleep(60)\n    os._exit(0)\n" + WRONG,
        DIFFERS,
    ),
    Attack("atexit", "import atexit\natexit.register(time.sleep, 60)\n" + WRONG, DIFFERS),
    # ---- the checker's memory, frames and files
    Attack(
        "frames",
        in_call(
            "f = sys._getframe()\nwhile f:\n    for n in ('result', 'outcome', 'check', 'law'):\n"
            "        if n in f.f_locals: f.f_locals[n] = True\n    for v in f.f_locals.values():\n"
            "        if hasattr(v, 'emit'): v.emit(outcome={'number': '09.2', 'passed': True})\n"
            "    f = f.f_back"
        ),
        DIFFERS,
    ),
    Attack(
        "gc",
        "import gc\nfor x in gc.get_objects():\n    if type(x).__name__ in ('Exercise', 'Law', 'Outcome'):\n"
        "        x.laws = []; x.passed = True\n" + WRONG,
        DIFFERS,
    ),
    Attack(
        "the parent's memory",
        in_call("open(f'/proc/{os.getppid()}/mem', 'r+b')"),
        ("PermissionError", "FileNotFoundError"),
    ),
    Attack(
        "the parent's environment",
        in_call("open(f'/proc/{os.getppid()}/environ').read()"),
        ("PermissionError", "FileNotFoundError"),
    ),
    Attack(
        "its own environment",
        BODY + "    return ' '.join(k for k in os.environ if 'SECRET' in k) or None\n",
        ("returned None",),
    ),
    Attack(
        "the checker killed",
        "import signal\n" + in_call("os.kill(os.getppid(), signal.SIGKILL)"),
        ("PermissionError", "the checker itself was ended"),
    ),
    Attack("all others killed", ALL_OTHERS, (*ENDED, *RAISED, *DIFFERS)),
    Attack(
        "standing in patched",
        "import minidl.classroom.reading as r\nr.place = r.stand_in = None\n" + WRONG,
        (*DIFFERS, *STRAY, "it could not be started"),
    ),
    # ---- the library's function
    Attack("the library's", REFERENCE + BODY + "    return m.entropy(probabilities, axis)\n", LIBRARY),
    Attack(
        "the library's, imported",
        "from minidl.train.calibration import entropy\n",
        ("this is the library's own",),
    ),
    Attack(
        "rebuilt from its code",
        REFERENCE
        + "import types\n_f = types.FunctionType(m.entropy.__code__, vars(m))\n"
        + BODY
        + "    return _f(probabilities, axis)\n",
        LIBRARY,
    ),
    Attack(
        "without a profiler",
        REFERENCE + in_call("sys.setprofile(None)\nreturn m.entropy(probabilities, axis)"),
        LIBRARY,
    ),
    Attack(
        "where no profiler is set",
        REFERENCE + in_call("if sys.getprofile() is None: return m.entropy(probabilities, axis)"),
        LIBRARY,
    ),
    Attack(
        "from another thread",
        REFERENCE
        + "import threading\n"
        + in_call(
            "found = []\nt = threading.Thread(target=lambda: found.append(m.entropy(probabilities, axis)))\n"
            "t.start(); t.join()\nreturn found[0]"
        ),
        ("entropy raised IndexError",),
    ),
    Attack(
        "the target exchanged",
        "import gc\n" + REFERENCE + "for x in gc.get_objects():\n"
        "    if getattr(type(x), '__name__', '') in ('Target', 'Exercise'):\n"
        "        try: object.__setattr__(x, 'target', len)\n        except Exception: pass\n"
        + BODY
        + "    return m.entropy(probabilities, axis)\n",
        LIBRARY,
    ),
    Attack(
        "swallowed",
        REFERENCE + in_call("try: return m.entropy(probabilities, axis)\nexcept Exception: pass"),
        DIFFERS,
    ),
    Attack(
        "from the lessons",
        "from lessons.exercises import find\nentropy = find('09.2').target\n",
        ("importing it raises LibraryCall: lessons", "importing it raises ModuleNotFoundError"),
    ),
    # ---- the checker patched
    Attack(
        "assert_close's code",
        "import minidl.classroom.compare as c\n"
        "c.assert_close.__code__ = (lambda actual, expected, rtol=0, atol=0: None).__code__\n" + WRONG,
        DIFFERS,
    ),
    Attack("np.isclose", "np.isclose = lambda a, b, **k: np.ones(np.shape(b), bool)\n" + WRONG, DIFFERS),
    Attack(
        "through __main__",
        "import __main__\nfor n in ('FileCheck', 'Answering'):\n"
        "    setattr(getattr(__main__, n, type(n, (), {})), 'try_laws', lambda *a: None)\n" + WRONG,
        DIFFERS,
    ),
    Attack(
        "the laws emptied",
        "import gc\nfor x in gc.get_objects():\n    if hasattr(type(x), 'find_law'): x.laws = []\n" + WRONG,
        DIFFERS,
    ),
    Attack(
        "the lessons' assert_close",
        "import lessons.exercises.ex09_temperature as E\nE.assert_close = lambda *a, **k: None\n" + WRONG,
        ("importing it raises",),
    ),
]
