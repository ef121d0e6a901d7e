#!/usr/bin/env bash
# clang's thread safety analysis (replication/base/mutex.h) of all that is in replication, fs and cmd. Exit code 1
# if it finds anything. The files are only looked at, not compiled: nothing here can run. What has not changed since
# the last time is left out.
set -euo pipefail
cd "$(dirname "$0")/.."
bash deploy/install-packages.sh build fuzz
build=build-clang
log=$build/threads.log
flags=(-Wthread-safety -Wthread-safety-beta -Werror=thread-safety -Werror=thread-safety-beta)
mkdir -p $build

# Negative control: if this passes, the check checks nothing.
planted='#include "replication/base/mutex.h"
struct Planted {
  int read() const { return value_; }
  rillfs::Mutex mutex_;
  int value_ RILL_GUARDED_BY(mutex_) = 0;
};'
found=$(clang++-14 -std=c++20 -I. "${flags[@]}" -fsyntax-only -x c++ - <<< "$planted" 2>&1 || true)
if [[ $found != *"reading variable 'value_' requires holding mutex 'mutex_'"* ]]; then
  echo "threads.sh: the planted violation was not found: ${found:-no message}" >&2
  exit 1
fi

look='<CMAKE_CXX_COMPILER> <DEFINES> <INCLUDES> <FLAGS> -fsyntax-only <SOURCE> && touch <OBJECT>'
CC=clang-14 CXX=clang++-14 cmake -G Ninja -B $build -DRILLFS_TESTS=OFF -DCMAKE_CXX_FLAGS="${flags[*]}" \
  -DCMAKE_CXX_COMPILE_OBJECT="$look" > $log 2>&1 || { tail -20 $log >&2; exit 1; }
if ! nice ninja -C $build -k 0 rillfs_replication rillfs_fs rillfs_cmd cmd/CMakeFiles/rillfs.dir/main.cc.o > $log 2>&1; then
  grep -E -A 3 '(warning|error): ' $log >&2 || tail -20 $log >&2
  exit 1
fi
