#!/usr/bin/env bash
# Gets one suite of a driver for each of Python, Go and Node into build/drivers, unchanged, and builds it:
# apsw (PyPI; its wheel has SQLite and the tests), go-sqlite3 (a Go module), node-sqlite3 (npm; its tests are in
# Debian's source package only). Costs five minutes once. Exit code 3, and what is missing, if one cannot be had.
#   drivers.sh && python3 tests/sqlite/drivers.py
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/build/drivers apt=$PWD/build/drivers/apt
. tests/sqlite/fetch_source.sh
mkdir -p "$work"

python() {
  [ ! -e "$work/python/apsw/tests/__main__.py" ] || return 0
  /usr/bin/python3 -m pip install -q --target "$work/python" --only-binary :all: apsw==3.54.1.0
}
go_module() {
  [ ! -x "$work/go/go-sqlite3.test" ] || return 0
  mkdir -p "$work/go" && cd "$work/go"
  printf 'module drivers\n\ngo 1.21\n' > go.mod
  go get github.com/mattn/go-sqlite3@v1.14.53
  go test -c -o go-sqlite3.test github.com/mattn/go-sqlite3
}
node_package() {
  [ ! -e "$work/node/package/complete" ] || return 0
  mkdir -p "$work/node" && cd "$work/node"
  [ -n "$(find . -name '*.orig.tar.*')" ] || fetch_source --tar-only node-sqlite3
  rm -rf source package && mkdir -p source package/test
  tar -xf ./*.orig.tar.* -C source --strip-components=1
  local version
  version=$(sed -n 's/.*"version": "\(.*\)".*/\1/p' source/package.json)
  [ -e package.json ] || npm init -y
  npm_config_build_from_source=true npm install "sqlite3@$version" mocha@10
  # What a test run needs and nothing else: it is copied to the place of the run.
  cp -r node_modules/sqlite3/{lib,package.json} package/
  cp -r source/test/. package/test/
  touch package/complete
}
missing=0
for suite in python go_module node_package; do
  # In a shell of its own with -e, which a command in a condition would not have.
  code=0
  set +e
  (set -e; $suite) > "$work/$suite.log" 2>&1
  code=$?
  set -e
  [ $code = 0 ] && continue
  tail -5 "$work/$suite.log" >&2
  echo "the driver for ${suite%%_*} cannot be had; all output: $work/$suite.log" >&2
  missing=3
done
exit $missing
