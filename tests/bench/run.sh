#!/bin/bash
# Measures rillfs against the native file system and a bare pass-through FUSE file system: builds what that needs,
# then run.py. `run.sh --help` says what can be chosen.
#
#   bash tests/bench/run.sh [--quick] [--only ROW[,ROW]] [--work DIR] [--out DIR] [--build DIR]
#                           [--litefs PATH] [--litestream PATH]
set -euo pipefail
here=$(dirname "$(realpath "$0")")
build=$here/../../build
for ((i = 1; i < $#; i++)); do
  if [ "${!i}" = --build ]; then next=$((i + 1)); build=${!next}; fi
done
case " $* " in *" --help "*|*" -h "*) exec /usr/bin/python3 "$here/run.py" --help ;; esac
[ -f "$build/build.ninja" ] || cmake -G Ninja -B "$build" -S "$here/../.." >/dev/null
ninja -C "$build" bench >/dev/null || { echo "run.sh: the build failed: ninja -C $build bench" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 "$here/run.py" "$@"
