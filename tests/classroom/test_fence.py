"""The fence around a process that answers: what it cannot do, tried by one, and what it still can."""

import json
import os
import subprocess
import sys

import pytest
from learner import REAL

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fence is Linux's")

TRY = """
import ctypes, json, os, signal, socket, sys, time
from minidl.classroom import confine, fence
folder, outside = sys.argv[1:3]
confine.control(confine.SET_NO_NEW_RIGHTS, 1)
other = os.fork()
if other == 0:
    time.sleep(60)
os.setpgid(other, other)
FENCE
found = {}

def attempt(name, do):
    try:
        do()
        found[name] = "done"
    except OSError as error:
        found[name] = type(error).__name__

def write(path):
    with open(path, "w") as file:
        file.write("x")

attempt("inside", lambda: write(folder + "/new"))
attempt("rename inside", lambda: os.rename(folder + "/new", folder + "/old"))
attempt("remove inside", lambda: os.remove(folder + "/old"))
attempt("nothing", lambda: write(os.devnull))
attempt("outside", lambda: write(outside + "/new"))
attempt("over", lambda: write(outside + "/there"))
attempt("read", lambda: open(outside + "/there").read())
attempt("remove outside", lambda: os.remove(outside + "/there"))
attempt("link", lambda: os.symlink("/", outside + "/link"))
attempt("memory", lambda: open(f"/proc/{other}/mem", "rb").read(0))
attempt("itself", lambda: os.kill(os.getpid(), 0))
attempt("signal", lambda: os.kill(other, 0))
attempt("its group", lambda: os.kill(-other, 0))
attempt("connect", lambda: socket.create_connection(("127.0.0.1", 9)))
found["other"] = other
print(json.dumps(found), flush=True)
os._exit(0)
"""


def tried(tmp_path, fence):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "there").write_text("kept")
    command = [sys.executable, "-c", TRY.replace("FENCE", fence), str(inside), str(outside)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REAL.root, text=True) as process:
        found = json.loads(process.stdout.readline())
    os.kill(found.pop("other"), 9)
    return found


def version_of_landlock():
    from minidl.classroom.fence import CREATE_RULESET, system_call

    try:
        return system_call(CREATE_RULESET, None, 0, 1)
    except OSError:
        return 0


def test_without_a_fence_all_can_be_done(tmp_path):
    found = tried(tmp_path, "pass")
    connect = found.pop("connect")
    assert set(found.values()) == {"done"} and connect == "ConnectionRefusedError"


@pytest.mark.skipif(version_of_landlock() < 6, reason="an older kernel")
def test_nothing_is_written_outside_and_nobody_else_is_reached(tmp_path):
    found = tried(tmp_path, "assert fence.landlock(folder) >= 6")
    allowed = ["inside", "rename inside", "remove inside", "nothing", "read", "itself"]
    assert [name for name, what in found.items() if what == "done"] == allowed
    assert {what for name, what in found.items() if name not in allowed} == {"PermissionError"}


def test_signals_are_refused_by_a_filter_where_landlock_lets_them_through(tmp_path):
    found = tried(tmp_path, "fence.refuse_signals()")
    assert found["signal"] == found["its group"] == "PermissionError"
    assert found["itself"] == found["outside"] == "done"
