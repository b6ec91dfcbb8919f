#!/usr/bin/env bash
# in_container.sh SUBMISSIONS OUT COMMAND...
# Builds the image of the folder that this file is in, and calls the command in it without a network.
# The command sees SUBMISSIONS as /submissions, which it cannot change, and writes into OUT, as /out.
set -euo pipefail
grader=$(cd "$(dirname "$0")" && pwd)
submissions=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift 2

docker build --quiet --tag minidl-grader "$grader" >/dev/null
code=0
docker run --rm --init --network none --read-only --tmpfs /tmp:mode=1777,size=2g \
    --memory 4g --pids-limit 2048 --security-opt no-new-privileges \
    --cap-drop ALL --cap-add SETUID --cap-add SETGID --cap-add KILL --cap-add DAC_OVERRIDE \
    --volume "$submissions:/submissions:ro" --volume "$out:/out" \
    minidl-grader "$@" || code=$?
docker run --rm --network none --volume "$out:/out" minidl-grader chown -R "$(id -u):$(id -g)" /out
exit "$code"
