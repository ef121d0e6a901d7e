#!/usr/bin/env bash
# Which lines and branches the tests reach, by folder and file. Builds in build-coverage.
#   coverage.sh            unit tests, simulation and cluster tests
#   coverage.sh --unit     only the unit tests and the simulation
# The details, line by line: build-coverage/coverage/index.html. What a daemon did before it was killed with
# SIGKILL does not count.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
  '') cluster=yes ;;
  --unit) cluster=no ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
bash deploy/install-packages.sh build run test coverage
build=build-coverage
mkdir -p $build/coverage
log=$build/coverage.log
targets=(rillfs unit_replication unit_fs unit_cmd unit_fuzz)
echo "building in $build (all output: $log)"
if ! { cmake -G Ninja -B $build -DRILLFS_TESTS=ON -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_CXX_FLAGS='--coverage -fprofile-update=atomic -O1' && ninja -C $build "${targets[@]}"; } > $log 2>&1; then
  grep -nE 'error|FAILED' $log | head -30 >&2 || tail -20 $log >&2
  exit 1
fi
find $build -name '*.gcda' -delete
# A test that fails has run as well; tests/run.sh is what says whether they pass.
failed=()
for part in "${targets[@]:1}"; do
  $build/"$part" --gtest_brief=1 >> $log 2>&1 || failed+=("$part")
done
ninja -C $build simulation >> $log 2>&1 && $build/simulation --seeds 50 >> $log 2>&1 || failed+=(simulation)
if [ $cluster = yes ]; then
  RILLFS=$PWD/$build/rillfs PYTHONDONTWRITEBYTECODE=1 python3 -m pytest tests/cluster -q -p no:cacheprovider >> $log 2>&1 ||
    failed+=(cluster)
fi
[ ${#failed[@]} = 0 ] || echo "with failures, which $log tells: ${failed[*]}" >&2
gcovr --root . --object-directory $build --filter 'replication/' --filter 'fs/' --filter 'cmd/' --gcov-ignore-parse-errors \
  --exclude-throw-branches --exclude-unreachable-branches --html-details $build/coverage/index.html \
  --json-summary $build/coverage/summary.json > $log.gcovr 2>&1 || { tail -20 $log.gcovr >&2; exit 1; }
python3 - $build/coverage/summary.json << 'END_PYTHON'
import collections, json, sys
folders = collections.defaultdict(lambda: [0, 0, 0, 0])
files = json.load(open(sys.argv[1]))["files"]
for file in files:
    parts = file["filename"].split("/")
    for name in {"/".join(parts[:-1]), parts[0] + " (all)", "everything"}:
        total = folders[name]
        total[0] += file["line_covered"]; total[1] += file["line_total"]
        total[2] += file["branch_covered"]; total[3] += file["branch_total"]
def percent(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else "-"
print(f"{'folder':<28}{'lines':>9}{'branches':>10}")
for name, total in sorted(folders.items()):
    print(f"{name:<28}{percent(*total[:2]):>9}{percent(*total[2:]):>10}")
print("\nleast reached files")
for file in sorted(files, key=lambda f: f["line_covered"] - f["line_total"])[:15]:
    print(f"{file['filename']:<44}{percent(file['line_covered'], file['line_total']):>9}"
          f"{file['line_total'] - file['line_covered']:>6} lines left")
END_PYTHON
