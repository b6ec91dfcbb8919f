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
    volumes = [arguments[i + 1].split(":") for i, one in enumerate(arguments) if one == "--volume"]
    for inside, outside in [("python", sys.executable), *((volume[1], volume[0]) for volume in volumes)]:
        command = [outside + one.removeprefix(inside) if one.startswith(inside) else one for one in command]
    return subprocess.run(command, cwd=home / "grader").returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
