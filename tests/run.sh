#!/usr/bin/env bash
# Builds with tests and runs them all. From a clean clone of Debian 12, as root, it needs nothing but this.
#   run.sh                     unit tests, simulation, cluster tests, a sample of SQLite's own suite with a replica
#   run.sh --unit (with the simulation) | --cluster | --sqlite   only these; --fuzz: each fuzzer for a minute (clang, about ten minutes)
#   run.sh --sanitize address|thread   the same with a sanitizer, in build-asan or build-tsan
#   run.sh --bundled-fuse ...   the same with the libfuse of deploy/bundled-fuse.sh, in build-fuse
#   run.sh --hold-too ...       what concerns capture once more with mount.capture: hold, where it was tail
#   run.sh -k TEXT             only cluster tests whose name has TEXT in it
# Ends with one line, `N passed, N failed`; exit code 1 if any failed or could not be run.
set -euo pipefail
cd "$(dirname "$0")/.."

unit=no cluster=no sqlite=no fuzz=no build=build filter=() options=() bundled_fuse=OFF hold_too=no
usage() {
  sed -n '2,10s/^# \{0,1\}//p' "$0"
  exit 2
}
while [ $# -gt 0 ]; do
  case $1 in
    --unit) unit=yes ;;
    --cluster) cluster=yes ;;
    --sqlite) sqlite=yes ;;
    --fuzz) fuzz=yes ;;
    --sanitize)
      shift
      case ${1:-} in
        address) build=build-asan options=('-DRILLFS_SANITIZE=address;undefined') ;;
        thread) build=build-tsan options=(-DRILLFS_SANITIZE=thread) ;;
        *) usage ;;
      esac
      ;;
    --bundled-fuse) bundled_fuse=ON ;;
    --hold-too) hold_too=yes ;;
    -k)
      [ $# -gt 1 ] || usage
      shift
      filter=(-k "$1")
      ;;
    *) usage ;;
  esac
  shift
done
[ $unit$cluster$sqlite$fuzz != nononono ] || unit=yes cluster=yes sqlite=yes

options+=(-DRILLFS_BUNDLED_FUSE=$bundled_fuse)
groups=(build run test)
[ $bundled_fuse = OFF ] || build+=-fuse groups+=(bundled-fuse)
bash deploy/install-packages.sh "${groups[@]}"
targets=(rillfs)
[ $unit = no ] || targets+=(unit_replication unit_fs unit_cmd unit_fuzz unit_bench simulation)
mkdir -p "$build"
log=$build/tests-build.log
echo "building in $build (all output: $log)"
if ! { cmake -G Ninja -B "$build" -DRILLFS_TESTS=ON "${options[@]}" && ninja -C "$build" "${targets[@]}"; } > "$log" 2>&1; then
  grep -nE 'error|Error|FAILED' "$log" | head -30 >&2 || true
  tail -20 "$log" >&2
  echo "0 passed, 1 failed"
  exit 1
fi

results=$build/test-results
rm -rf "$results"
mkdir -p "$results"
failed_runs=0
export ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=$PWD/tests/tsan.supp

# unit PART SHARD SHARDS: one that hangs or dies, perhaps after its last test, counts as a failure of its own.
unit() {
  local name=unit_$1-$2 code=0
  GTEST_SHARD_INDEX=$2 GTEST_TOTAL_SHARDS=$3 timeout -k 10 900 "$build/unit_$1" --gtest_brief=1 \
    --gtest_output="xml:$results/$name.xml" > "$results/$name.log" 2>&1 || code=$?
  [ $code = 0 ] || tail -60 "$results/$name.log" >&2
  [ $code -gt 1 ] || [ ! -e "$results/$name.xml" ] || return 0
  echo "$name ended with exit code $code; all output: $results/$name.log" >&2
  return 1
}
if [ $unit = yes ]; then
  for part in replication fs cmd fuzz bench; do
    echo "unit tests: $part"
    unit $part 0 2 &
    first=$!
    unit $part 1 2 || failed_runs=$((failed_runs + 1))
    wait $first || failed_runs=$((failed_runs + 1))
  done
fi
# Each seed is a cluster; each planted fault has to be found.
simulation() {
  local fault seeds=300
  case $build in build-asan* | build-tsan*) seeds=40 ;; esac
  timeout -k 10 900 "$build/simulation" --seeds $seeds || return 1
  timeout -k 10 900 "$build/simulation" --seeds $((seeds / 10)) --twice || return 1
  for fault in never-shrinks never-parks forgets-the-last lying-disk blind-snapshot; do
    if timeout -k 10 300 "$build/simulation" --seeds 100 --planted $fault > "$results/simulation-$fault.log" 2>&1; then
      echo "the simulation does not notice the planted fault $fault" >&2
      return 1
    fi
  done
  echo '<testsuite><testcase name="simulation"/><testcase name="planted faults"/></testsuite>' > "$results/simulation.xml"
}
if [ $unit = yes ]; then
  echo "simulation"
  simulation || failed_runs=$((failed_runs + 1))
fi
# cluster NAME ARGUMENTS...: the results go to NAME.xml.
cluster() {
  local name=$1 code=0
  shift
  RILLFS=$PWD/$build/rillfs PYTHONDONTWRITEBYTECODE=1 timeout -k 30 1200 python3 -m pytest -q -p no:cacheprovider \
    "${filter[@]}" --junitxml="$results/$name.xml" "$@" || code=$?
  [ $code -gt 1 ] || [ ! -e "$results/$name.xml" ] || return 0
  # 5: no test of that name
  [ $code != 5 ] || [ ${#filter[@]} = 0 ] || return 0
  echo "the cluster tests ($name) did not run to their end (exit code $code)" >&2
  return 1
}
# suite NAME: a sample of SQLite's suite.
suite() {
  RILLFS=$PWD/$build/rillfs PYTHONDONTWRITEBYTECODE=1 timeout -k 30 1200 python3 tests/sqlite/suite.py --replica \
    --junit "$results/$1.xml" || true
  [ -e "$results/$1.xml" ]
}
about_capture=(tests/cluster/test_{capture,kills,settings,copies,faults,failpoints,restart,integrity,model,sizes}.py)

if [ $cluster = yes ] && compgen -G 'tests/cluster/test_*.py' > /dev/null; then
  echo "cluster tests"
  if [ ! -e /dev/fuse ] || [ "$(id -u)" != 0 ]; then
    echo "the cluster tests need root and /dev/fuse; bash tests/run.sh --unit runs without" >&2
    failed_runs=$((failed_runs + 1))
  else
    cluster cluster tests/cluster || failed_runs=$((failed_runs + 1))
    if [ $hold_too = yes ]; then
      echo "cluster tests, mount.capture: hold"
      RILLFS_CAPTURE=hold cluster cluster-hold "${about_capture[@]}" || failed_runs=$((failed_runs + 1))
    fi
  fi
fi
if [ $sqlite = yes ] && [ ${#filter[@]} = 0 ]; then
  echo "a sample of SQLite's suite"
  code=0
  bash tests/sqlite/build.sh || code=$?
  if [ $code = 3 ]; then
    echo "left out: SQLite's suite" >&2
  elif [ $code = 0 ]; then
    suite sqlite || failed_runs=$((failed_runs + 1))
    [ $hold_too = no ] || RILLFS_CAPTURE=hold suite sqlite-hold || failed_runs=$((failed_runs + 1))
  else
    failed_runs=$((failed_runs + 1))
  fi
fi
if [ $fuzz = yes ]; then
  echo "fuzzers"
  bash tests/fuzz/run.sh || failed_runs=$((failed_runs + 1))
fi

shopt -s nullglob
python3 - "$failed_runs" "$results"/*.xml << 'END'
import sys, xml.etree.ElementTree as tree
failed = int(sys.argv[1]); passed = skipped = 0
for path in sys.argv[2:]:
    try:
        cases = tree.parse(path).getroot().iter("testcase")
    except (OSError, tree.ParseError):
        if "*" not in path: failed += 1
        continue
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None: failed += 1
        elif case.find("skipped") is not None or case.get("status") == "notrun": skipped += 1
        else: passed += 1
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(failed > 0 or passed == 0)
END
