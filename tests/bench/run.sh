#!/bin/bash
# Measures rillfs against the native file system and against a bare pass-through FUSE file system, all in one
# run, in turns. Prints a Markdown table; DIR/results.json has every round.
#
#   bash tests/bench/run.sh [--quick] [--out DIR] [--build DIR] [--work DIR] [--port N] [--only a,b]
#
# --quick: fewer operations and a small database for the cold start. --work: where the databases go (the
# native file system of the comparison; default a directory under /tmp). --port: two ports from here on.
# --only: some of reads, writes, requests, visible, start.
set -euo pipefail
cd "$(dirname "$0")/../.."
quick=0 out= build=build work= port=22100 only=reads,writes,requests,visible,start
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=1 ;;
    --out) out=$2; shift ;;
    --build) build=$2; shift ;;
    --work) work=$2; shift ;;
    --port) port=$2; shift ;;
    --only) only=$2; shift ;;
    *) sed -n '2,9p' "$0" >&2; exit 2 ;;
  esac
  shift
done
build=$(realpath "$build")
[ -f "$build/build.ninja" ] || cmake -G Ninja -B "$build" >/dev/null
ninja -C "$build" bench >/dev/null || { echo "run.sh: the build failed: ninja -C $build bench" >&2; exit 1; }
load=$build/bench_load
rillfs=$build/rillfs
mkdir -p "${work:-/tmp}"
work=$(mktemp -d "${work:-/tmp}/rillfs-bench.XXXXXX")
raw=$work/raw
mkdir -p "$raw" "$work"/{native,through-back,through,p-data,p,r-data,r,c-data,c}
pids=()

# Ends what this script has started, and nothing else.
clean_up() {
  set +e
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
  for _ in $(seq 50); do
    local left=0
    for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null && left=1; done
    [ $left = 0 ] && break
    sleep 0.2
  done
  for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null; done
  for at in through p r c; do mountpoint -q "$work/$at" 2>/dev/null && umount -l "$work/$at"; done
  rm -rf "$work"
}
trap clean_up EXIT

wanted() { case ",$only," in *",$1,"*) return 0 ;; esac; return 1; }
say() { echo "bench: $*" >&2; }
pid_in() { sed 's/.*"pid":\([0-9]*\).*/\1/' "$1"; }
ended() { for _ in $(seq 300); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done; return 1; }
# compare NAME CASE ROUNDS OPS PLACES...
compare() {
  local name=$1; shift
  say "$name"
  timeout 900 "$load" compare "$@" >"$raw/$name.json"
}
wait_for() { # FILE SECONDS
  for _ in $(seq $(($2 * 10))); do timeout 5 test -s "$1" && return 0; sleep 0.1; done
  say "$1 did not appear; logs:"; tail -5 "$work"/*.log >&2; return 1
}

rounds=31 selects=4000 scans=2 normals=500 fulls=60 deletes=30 counted=100000 seconds=10 start_mb=1024
if [ $quick = 1 ]; then
  rounds=11 selects=2000 scans=1 normals=200 fulls=20 deletes=10 seconds=3 start_mb=64
fi
rows=100000

say "starting a primary, a replica and the pass-through in $work"
"$build/bench_passthrough" "$work/through-back" "$work/through" 2>"$work/through.log" & pids+=($!)
"$rillfs" mount --data "$work/p-data" --listen "127.0.0.1:$port" "$work/p" 2>"$work/p.log" & pids+=($!)
for at in through p; do
  for _ in $(seq 100); do mountpoint -q "$work/$at" && break; sleep 0.1; done
done
for at in native p; do
  timeout 300 "$load" fill "$work/$at/wal.db" WAL $rows
  timeout 300 "$load" fill "$work/$at/delete.db" DELETE $rows
done
# Before there is a replica: on one machine its work would be charged to the primary.
if wanted writes; then
  for name in wal-normal:$normals wal-full:$fulls delete-full:$deletes; do
    compare "insert-${name%:*}" "insert-${name%:*}" $rounds "${name#*:}" native="$work/native/insert-${name%:*}.db" \
      passthrough="$work/through/insert-${name%:*}.db" primary="$work/p/insert-${name%:*}.db"
  done
fi
"$rillfs" mount --data "$work/r-data" --listen "127.0.0.1:$((port + 1))" --primary "127.0.0.1:$port" "$work/r" \
  2>"$work/r.log" & pids+=($!)
wait_for "$work/r/wal.db" 60
wait_for "$work/r/delete.db" 60


if wanted reads; then
  places=(native="$work/native/wal.db" primary="$work/p/wal.db" replica="$work/r/wal.db")
  compare select-wal select $rounds $selects "${places[@]}"
  compare scan-wal scan $rounds $scans "${places[@]}"
  compare select-delete select $rounds $selects native="$work/native/delete.db" primary="$work/p/delete.db" \
    replica="$work/r/delete.db"
fi
if wanted requests; then
  for node in p r; do
    say "requests per read, $node"
    timeout 300 "$load" requests select "$work/$node/wal.db" $counted \
      "$rillfs" status --json --data "$work/$node-data" >"$raw/requests-select-$node.json"
  done
  say "requests per commit"
  for mode in WAL DELETE; do
    timeout 60 sqlite3 "$work/p/count-$mode.db" \
      "PRAGMA journal_mode=$mode; CREATE TABLE log(id INTEGER PRIMARY KEY, value TEXT)" >/dev/null
    timeout 300 "$load" requests insert "$work/p/count-$mode.db" 500 \
      "$rillfs" status --json --data "$work/p-data" >"$raw/requests-insert-$mode.json"
  done
fi
if wanted visible; then
  for hold in 0 1; do
    say "commit to visible, readers that hold a transaction: $hold"
    timeout 300 "$load" visible "$work/p/wal.db" "$work/r/wal.db" 500 $seconds $hold >"$raw/visible-$hold.json"
  done
fi
if wanted start; then
  say "cold start of a database of $start_mb MiB"
  command=("$rillfs" mount --data "$work/c-data" --listen "127.0.0.1:$((port + 2))" "$work/c")
  "${command[@]}" 2>"$work/c.log" & pid=$!; pids+=($pid)
  for _ in $(seq 100); do mountpoint -q "$work/c" && break; sleep 0.1; done
  # Rows of 4000 bytes: one a page.
  timeout 900 "$load" fill "$work/c/big.db" WAL $((start_mb * 250)) 3900
  size=$(stat -c %s "$work/c/big.db")
  kill "$pid"; ended "$pid"
  sync; echo 3 >/proc/sys/vm/drop_caches 2>/dev/null || say "not root: the page cache stays warm"
  timeout 200 "$load" start "$work/c/big.db" "$work/c.log" "${command[@]}" >"$raw/start-clean.json"
  pid=$(pid_in "$raw/start-clean.json"); pids+=("$pid")
  timeout 60 "$load" compare insert-wal-normal 1 500 mount="$work/c/big.db" >/dev/null
  kill -9 "$pid"; ended "$pid"
  sync; echo 3 >/proc/sys/vm/drop_caches 2>/dev/null || true
  umount -l "$work/c" 2>/dev/null || true
  timeout 200 "$load" start "$work/c/big.db" "$work/c.log" "${command[@]}" >"$raw/start-killed.json"
  pids+=("$(pid_in "$raw/start-killed.json")")
  echo "{\"bytes\":$size}" >"$raw/start-size.json"
fi
python3 tests/bench/report.py "$raw" ${out:+"$out"}
