#!/usr/bin/env bash
# Builds RillFS, runs a primary and a replica on this machine, and shows a row travel. Root, Debian 12.
#   quickstart.sh [--keep]     --keep leaves both nodes running and says how to stop them
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD/build/quickstart
rillfs=$PWD/build/rillfs
nodes=(primary replica)

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() {
  printf '\nquickstart: %s\n' "$*" >&2
  exit 1
}
show() { # TEXT COMMAND...: the command as one would type it, then what it prints
  printf '  $ %s\n' "$1"
  shift
  "$@" | sed 's/^/    /'
}

stop_nodes() { # replica first, so that it does not look for a primary that is gone
  local node pid
  for node in replica primary; do
    [ -e "$root/$node.pid" ] || continue
    pid=$(cat "$root/$node.pid")
    if [ "$(readlink "/proc/$pid/exe" 2> /dev/null)" = "$rillfs" ]; then
      kill "$pid"
      for _ in $(seq 100); do
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.1
      done
      if kill -9 "$pid" 2> /dev/null; then
        echo "quickstart: the $node did not stop within 10 seconds and was killed" >&2
      fi
    fi
    rm -f "$root/$node.pid"
  done
  for node in "${nodes[@]}"; do
    if mountpoint -q "$root/$node"; then umount -l "$root/$node" || true; fi
  done
}

keep=no
case ${1:-} in
  '') ;;
  --keep) keep=yes ;;
  --stop) stop_nodes; exit 0 ;;
  *) sed -n '2,3s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
[ "$(id -u)" = 0 ] || fail "run it as root: it installs packages and mounts two directories (sudo bash deploy/quickstart.sh)"
[ -e /dev/fuse ] || fail "there is no /dev/fuse. Try 'modprobe fuse'; in a container: --device /dev/fuse --cap-add SYS_ADMIN"

say "1. Build (the first time takes a few minutes)"
bash deploy/install-packages.sh build run
configure=(cmake -G Ninja -B build)
mkdir -p build
log=build/quickstart.log
[ -e build/CMakeCache.txt ] || configure+=(-DRILLFS_TESTS=OFF)
if ! grep -qs '^RILLFS_BUNDLED_FUSE:BOOL=OFF' build/CMakeCache.txt; then # OFF there: chosen so
  why="meson could not be installed"
  if bash deploy/install-packages.sh bundled-fuse > $log 2>&1 && why=$(bash deploy/bundled-fuse.sh build/libfuse 2>&1); then
    configure+=(-DRILLFS_BUNDLED_FUSE=ON)
  else
    configure+=(-DRILLFS_BUNDLED_FUSE=OFF)
    echo "  with the system's libfuse3, since a newer libfuse cannot be had: ${why##*$'\n'}"
  fi
fi
"${configure[@]}" > $log 2>&1 && ninja -C build rillfs >> $log 2>&1 || {
  tail -20 $log >&2
  fail "the build failed; all of it is in $log"
}
version=$("$rillfs" version)
echo "  ${version//$'\n'/; }; build/rillfs"

stop_nodes
rm -rf "$root"
mkdir -p "$root"/{primary,replica}{,.data}
trap stop_nodes EXIT
trap 'exit 130' INT TERM

free_port() { # prints the first port from $1 on that nobody answers at
  local port
  for port in $(seq "$1" $(($1 + 200))); do
    (: > "/dev/tcp/127.0.0.1/$port") 2> /dev/null || { echo "$port"; return; }
  done
}
start() { # NODE OPTIONS...
  local node=$1
  shift
  "$rillfs" mount --data "$root/$node.data" "$@" "$root/$node" < /dev/null > "$root/$node.log" 2>&1 &
  echo $! > "$root/$node.pid"
  for _ in $(seq 100); do
    "$rillfs" status --data "$root/$node.data" > /dev/null 2>&1 && return
    kill -0 "$(cat "$root/$node.pid")" 2> /dev/null || break
    sleep 0.1
  done
  cat "$root/$node.log" >&2
  fail "the $node did not start; its messages are above and in build/quickstart/$node.log"
}

say "2. A primary and a replica"
port=$(free_port 20202)
start primary --listen "127.0.0.1:$port"
start replica --listen "127.0.0.1:$(free_port $((port + 1)))" --primary "127.0.0.1:$port"
echo "  build/quickstart/primary and build/quickstart/replica are mounted"

sql() { timeout 30 sqlite3 "$@"; }
say "3. Write on the primary, with the ordinary sqlite3"
statements="PRAGMA journal_mode=WAL;
     CREATE TABLE orders(id INTEGER PRIMARY KEY, item TEXT);
     INSERT INTO orders(item) VALUES ('bread'), ('salt'), ('tea');"
show "sqlite3 build/quickstart/primary/shop.db \"$statements\"" sql "$root/primary/shop.db" "$statements"

say "4. Read on the replica"
rows() { sql -readonly "$root/replica/shop.db" 'SELECT count(*) FROM orders' 2> /dev/null || true; }
for _ in $(seq 100); do
  [ "$(rows)" = 3 ] && break
  sleep 0.1
done
show 'sqlite3 build/quickstart/replica/shop.db "SELECT * FROM orders"' sql "$root/replica/shop.db" "SELECT * FROM orders"
[ "$(rows)" = 3 ] || fail "the rows did not arrive; see build/quickstart/*.log"
if refusal=$(sql "$root/replica/shop.db" "INSERT INTO orders(item) VALUES ('oil')" 2>&1); then
  fail "the replica took a write that it should refuse"
fi
echo "  and a write there is refused: ${refusal##*, }"

say "5. How they are doing"
for _ in $(seq 30); do # the primary hears of the replica's position a moment later
  "$rillfs" status --data "$root/primary.data" | grep -q 'connected  *0 ms' && break
  sleep 0.1
done
show 'build/rillfs status --data build/quickstart/primary.data' "$rillfs" status --data "$root/primary.data"

say "It works. What next"
if [ $keep = yes ]; then
  trap - EXIT
  cat << END
  Both nodes go on. Write in build/quickstart/primary, read in build/quickstart/replica, for example:
    sqlite3 build/quickstart/primary/shop.db "INSERT INTO orders(item) VALUES ('oil')"
    build/rillfs status --watch --data build/quickstart/primary.data
  Stop them with
    bash deploy/quickstart.sh --stop
END
else
  cat << END
  Everything is stopped again.
    bash deploy/quickstart.sh --keep     leaves both nodes running, to play with
    README.md                            two machines, systemd, your application
    bash tests/run.sh                    all tests
END
fi
