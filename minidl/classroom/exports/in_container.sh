#!/usr/bin/env bash
# in_container.sh [--read PATH NAME]... [--write FOLDER NAME]... COMMAND...
# Builds the image of the folder that this file is in, and calls the command in it, without a network. The command
# finds each PATH under its NAME in /grader, where it starts. The learner's code runs as another user, who cannot enter it.
set -euo pipefail
grader=$(cd "$(dirname "$0")" && pwd)
reads=() writes=() written=()
while [[ ${1-} == --* ]]; do
    case $1 in
    --read) reads+=(--volume "$(realpath "$2"):/grader/$3:ro") ;;
    --write)
        mkdir -p "$2"
        writes+=(--volume "$(realpath "$2"):/grader/$3")
        written+=("/grader/$3")
        ;;
    *) echo "in_container.sh does not know $1" >&2 && exit 2 ;;
    esac
    shift 3
done

docker build --quiet --tag minidl-grader "$grader" >/dev/null
code=0
docker run --rm --init --network none --read-only --tmpfs /tmp:mode=1777,size=2g \
    --memory 4g --pids-limit 2048 --security-opt no-new-privileges \
    --cap-drop ALL --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add KILL --cap-add SETGID --cap-add SETUID \
    "${reads[@]}" "${writes[@]}" minidl-grader "$@" || code=$?
docker run --rm --network none "${writes[@]}" minidl-grader chown -R "$(id -u):$(id -g)" "${written[@]}"
exit "$code"
