#!/usr/bin/env bash
# clang-tidy, with the checks of .clang-tidy. Exit code 1 if it finds anything.
#   tidy.sh            the .cc files that differ from main
#   tidy.sh --all      every .cc file
#   tidy.sh FILE...    these
set -euo pipefail
cd "$(dirname "$0")/.."
bash deploy/install-packages.sh build test lint
case ${1:-} in
  '') mapfile -t files < <(git diff --name-only --diff-filter=d main -- '*.cc') ;;
  --all) mapfile -t files < <(git ls-files '*.cc') ;;
  *) files=("$@") ;;
esac
[ ${#files[@]} -gt 0 ] || { echo "nothing to check"; exit 0; }
mkdir -p build
# The compile commands, and the headers that are generated.
{ cmake -G Ninja -B build -DRILLFS_TESTS=ON && ninja -C build rillfs_replication; } > build/tidy.log 2>&1 ||
  { tail -20 build/tidy.log >&2; exit 1; }
printf '%s\0' "${files[@]}" | nice xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet -p build 2> build/tidy.log ||
  { echo "clang-tidy has findings; they are above" >&2; exit 1; }
