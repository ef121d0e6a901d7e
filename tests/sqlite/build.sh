#!/usr/bin/env bash
# Builds SQLite's own test programs from the source package of the installed libsqlite3, in build/sqlite.
#   build.sh            testfixture
#   build.sh --all      and testfixture-sync, mptester, threadtest3, speedtest1, kvtest
# Costs two minutes once (--all: six); afterwards nothing. Exit code 3 if the sources cannot be had.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD work=$PWD/build/sqlite
programs=(testfixture)
[ "${1:-}" != --all ] || programs+=(testfixture-sync mptester threadtest3 speedtest1 kvtest)

complete() {
  for program in "${programs[@]}"; do [ -x "$work/build/$program" ] || return 1; done
}
! complete || exit 0
bash deploy/install-packages.sh sqlite-suite
mkdir -p "$work/build"
apt=$work/apt
. tests/sqlite/fetch_source.sh
log=$work/build.log
echo "building SQLite's test programs (all output: $log)"
if [ -z "$(find "$work" -maxdepth 1 -name '*.dsc')" ] && ! (cd "$work" && fetch_source sqlite3) > "$log" 2>&1; then
  tail -5 "$log" >&2
  echo "the source package sqlite3 could not be fetched" >&2
  exit 3
fi
{
  [ -d "$work/source" ] || dpkg-source --no-check -x "$work"/*.dsc "$work/source"
  cd "$work/build"
  tcl=$(dirname "$(find /usr/lib -name tclConfig.sh | grep 8.6 | head -1)")
  features=(--enable-fts4 --enable-fts5 --enable-session --enable-rtree --enable-json)
  ../source/configure --with-tcl="$tcl" "${features[@]}"
  for program in "${programs[@]}"; do
    [ ! -x "$program" ] || continue
    if [ "$program" = testfixture-sync ]; then
      # The fixture is made not to sync; SQLite's suite says nothing about syncs unless a second one does.
      mkdir -p ../build-sync
      (cd ../build-sync && ../source/configure --with-tcl="$tcl" "${features[@]}" &&
        make testfixture TEMP_STORE="-DSQLITE_TEMP_STORE=1 -USQLITE_NO_SYNC" && mv testfixture ../build/testfixture-sync)
    else
      make "$program"
    fi
  done
} > "$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }
cd "$root"
complete
