#!/usr/bin/env bash
# Builds the fuzzers (clang, AddressSanitizer, UBSan) in build-fuzz and runs them, two at a time.
#   run.sh [SECONDS_PER_TARGET] [NAME...]   60 seconds, all targets
#   run.sh --keep [NAME...]                 brings what was learned into tests/fuzz/corpus, minimised
# RILLFS_FUZZ_SEED=N: libFuzzer's seed [another one each time].
# Prints executions and coverage of each; exit code 1, and the input's path, if one finds something.
# A finding is kept as tests/fuzz/corpus/NAME/WHAT once it is fixed: the unit tests replay all of that.
set -euo pipefail
cd "$(dirname "$0")/../.."

keep=no seconds=60
if [ "${1:-}" = --keep ]; then keep=yes; shift; fi
if [[ "${1:-}" =~ ^[0-9]+$ ]]; then seconds=$1; shift; fi
names=("$@")
if [ ${#names[@]} = 0 ]; then
  for source in tests/fuzz/*.cc; do names+=("$(basename "$source" .cc)"); done
fi
for name in "${names[@]}"; do
  [ -e "tests/fuzz/$name.cc" ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
done

bash deploy/install-packages.sh build fuzz
build=build-fuzz
mkdir -p $build
log=$build/fuzz-build.log
echo "building in $build (all output: $log)"
if ! { CC=clang-14 CXX=clang++-14 cmake -G Ninja -B $build -DRILLFS_FUZZ=ON && ninja -k 0 -C $build fuzz_seeds "${names[@]/#/fuzz_}"; } > $log 2>&1; then
  grep -nE 'error|FAILED' $log | head -30 >&2 || true
  exit 1
fi
export ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export ASAN_SYMBOLIZER_PATH=${ASAN_SYMBOLIZER_PATH:-$(command -v llvm-symbolizer-14 || true)}
# What a small input may cost, whatever it says: memory far above what any of them needs, and a second of
# processor time. libFuzzer counts wall clock, which on a busy machine means little: what it calls slow is run
# again, alone, by `slow_inputs`.
limits=(-seed="${RILLFS_FUZZ_SEED:-0}" -timeout=20 -report_slow_units=1 -malloc_limit_mb=128 -rss_limit_mb=1024 -max_len=16384)
rm -rf $build/seeds
$build/fuzz_seeds $build/seeds

# fuzz NAME: one target; its last lines are in the log.
fuzz() {
  local name=$1 corpus=$build/corpus/$1 findings=$build/findings/$1 code=0
  rm -rf "$findings"
  mkdir -p "$corpus" "$findings" "tests/fuzz/corpus/$name" "$build/seeds/$name"
  $build/fuzz_"$name" "${limits[@]}" -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$findings/" \
    "$corpus" "$build/seeds/$name" "tests/fuzz/corpus/$name" > "$build/fuzz-$name.log" 2>&1 || code=$?
  local executions coverage
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/fuzz-$name.log")
  coverage=$(grep -oE ' cov: [0-9]+ ft: [0-9]+' "$build/fuzz-$name.log" | tail -1)
  printf '%-18s %12s executions %s\n' "$name" "${executions:-?}" "${coverage:- cov: ?}"
  [ $code != 0 ] || { slow_inputs "$name"; return; }
  echo "$name: $(grep -m1 -E 'SUMMARY|runtime error|fuzz: property' "$build/fuzz-$name.log" || echo "exit code $code")"
  echo "  input: $(sed -n 's/.*Test unit written to //p' "$build/fuzz-$name.log" | tail -1)   all output: $build/fuzz-$name.log"
  return 1
}
# slow_inputs NAME: fails, and says which, if one takes more than a second of processor time.
slow_inputs() {
  local input code=0
  for input in "$build/findings/$1"/slow-unit-*; do
    [ -e "$input" ] || continue
    (ulimit -t 1 && exec "$build/fuzz_$1" "$input") > /dev/null 2>&1 || { code=1; echo "$1: slow: $input"; }
  done
  return $code
}
# keep_corpus NAME: the smallest set of inputs that covers as much.
keep_corpus() {
  local name=$1 new=$build/kept/$1
  rm -rf "$new"
  mkdir -p "$new" "$build/corpus/$name" "$build/seeds/$name" "tests/fuzz/corpus/$name"
  # Of equal coverage: counters are left out, or there would be hundreds.
  $build/fuzz_"$name" "${limits[@]}" -use_counters=0 -set_cover_merge=1 "$new" "tests/fuzz/corpus/$name" \
    "$build/seeds/$name" "$build/corpus/$name" > "$build/keep-$name.log" 2>&1
  # Findings have names of their own, and stay.
  find "tests/fuzz/corpus/$name" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
  find "$new" -type f -exec sh -c 'cp "$1" "$2/$(sha1sum "$1" | cut -d" " -f1)"' _ {} "tests/fuzz/corpus/$name" \;
  echo "$name: $(find "tests/fuzz/corpus/$name" -type f | wc -l) inputs, $(du -sb "tests/fuzz/corpus/$name" | cut -f1) bytes"
}

export -f fuzz slow_inputs keep_corpus
export build seconds
action=fuzz
[ $keep = no ] || action=keep_corpus
# bash exports no arrays.
export limits_text="${limits[*]}"
printf '%s\n' "${names[@]}" | xargs -P 2 -I{} bash -c "set -euo pipefail; read -ra limits <<< \"\$limits_text\"; $action {}" || exit 1
