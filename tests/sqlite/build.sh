#!/usr/bin/env bash
# Builds SQLite's own test programs from the source package of the installed libsqlite3, in build/sqlite.
#   build.sh            testfixture, mptester, threadtest3, speedtest1, kvtest
# Costs about 5 minutes once; afterwards nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD work=$PWD/build/sqlite
programs=(testfixture testfixture-sync mptester threadtest3 speedtest1 kvtest)

complete() {
  for program in "${programs[@]}"; do [ -x "$work/build/$program" ] || return 1; done
}
! complete || exit 0
bash deploy/install-packages.sh sqlite-suite
mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/build"

# The package lists of this machine, asked for sources too, in a place of our own.
fetch_source() {
  cp -r /etc/apt/. "$work/apt/etc"
  find "$work/apt/etc" -name '*.sources' -exec sed -i 's/^Types:.*/Types: deb-src/' {} +
  find "$work/apt/etc" -name '*.list' -exec sed -i 's/^deb /deb-src /' {} +
  local options=(-o "Dir::Etc=$work/apt/etc" -o "Dir::State::Lists=$work/apt/lists" -o "Dir::Cache=$work/apt"
    -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update || true  # some list may have no sources; ours is asked for next
  cd "$work" && apt-get "${options[@]}" source --download-only sqlite3
}
log=$work/build.log
echo "building SQLite's test programs (all output: $log)"
{
  [ -n "$(find "$work" -maxdepth 1 -name '*.dsc')" ] || (fetch_source)
  rm -rf "$work/source"
  dpkg-source --no-check -x "$work"/*.dsc "$work/source"
  cd "$work/build"
  ../source/configure --with-tcl="$(dirname "$(find /usr/lib -name tclConfig.sh | grep 8.6 | head -1)")" \
    --enable-fts4 --enable-fts5 --enable-session --enable-rtree --enable-json
  # The fixture is made not to sync; SQLite's suite says nothing about syncs unless a second one does.
  make testfixture TEMP_STORE="-DSQLITE_TEMP_STORE=1 -USQLITE_NO_SYNC"
  mv testfixture testfixture-sync
  make testfixture mptester threadtest3 speedtest1 kvtest
} > "$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }
cd "$root"
complete
