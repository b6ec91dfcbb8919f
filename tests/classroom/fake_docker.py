"""Stands for ``docker`` in a test: it runs here what the container would run, and notes how it was called."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


def main(arguments):
    home = Path(os.environ["FAKE_DOCKER"])
    with open(home / "calls.jsonl", "a", encoding="utf-8") as calls:
        calls.write(json.dumps(arguments) + "\n")
    if arguments[0] == "build":
        shutil.copytree(arguments[-1], home / "grader", dirs_exist_ok=True)
        return 0
    command = arguments[arguments.index("minidl-grader") + 1 :]
    for volume in [arguments[i + 1] for i, one in enumerate(arguments) if one == "--volume"]:
        outside, inside, *_ = volume.split(":")
        place = home / inside.removeprefix("/")
        if not place.is_symlink():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(outside)
    command = [str(home) + one if one.startswith("/grader") else one for one in command]
    command[0] = {"python": sys.executable}.get(command[0], command[0])
    return subprocess.run(command, cwd=home / "grader").returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
