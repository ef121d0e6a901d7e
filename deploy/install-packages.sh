#!/usr/bin/env bash
# Installs the Debian packages that are missing. The one list of them.
#   install-packages.sh GROUP...     build: compile `rillfs`; run: use a mount; test: run tests;
#                                    sqlite-suite: tests/sqlite; fuzz: tests/fuzz, threads.sh;
#                                    bundled-fuse: deploy/bundled-fuse.sh; lint: format.sh, tidy.sh; coverage: tests/coverage.sh
#   install-packages.sh --list GROUP...     only prints them
set -euo pipefail

packages_of() {
  case $1 in
    build) echo g++ cmake ninja-build pkg-config protobuf-compiler libprotobuf-dev libboost1.81-dev libspdlog-dev \
      libcli11-dev libyaml-cpp-dev nlohmann-json3-dev liblz4-dev libxxhash-dev libisal-dev libsqlite3-dev libfuse3-dev ;;
    run) echo fuse3 sqlite3 ;;
    test) echo libgtest-dev libgmock-dev python3 python3-pytest fuse3 sqlite3 procps ;;
    sqlite-suite) echo dpkg-dev gcc make tcl8.6-dev zlib1g-dev ;;
    fuzz) echo clang-14 llvm-14 libclang-rt-14-dev ;;
    lint) echo clang-format clang-tidy ;;
    bundled-fuse) echo meson ;;
    coverage) echo gcovr ;;
    *) echo "install-packages.sh: no group '$1'; there are build, run, test, sqlite-suite, fuzz, bundled-fuse, lint and coverage" >&2; return 2 ;;
  esac
}

only_list=no
if [ "${1:-}" = --list ]; then only_list=yes; shift; fi
if [ $# = 0 ]; then sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2; fi
wanted=()
for group in "$@"; do
  list=$(packages_of "$group")
  read -ra names <<< "$list"
  wanted+=("${names[@]}")
done
if [ $only_list = yes ]; then printf '%s\n' "${wanted[@]}" | sort -u; exit 0; fi

if ! command -v apt-get > /dev/null; then
  echo "This is no Debian: install what 'bash deploy/install-packages.sh --list $*' prints, under the names it has here." >&2
  exit 0
fi
missing=()
while read -r name; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2> /dev/null)" = installed ] || missing+=("$name")
done < <(printf '%s\n' "${wanted[@]}" | sort -u)
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "Packages are missing. Install them as root, then try again:" >&2
  echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "Installing ${#missing[@]} packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { apt-get install -y --no-install-recommends "${missing[@]}" > "$log" 2>&1; }
# Package lists may be absent or old; only then they are fetched.
if ! install && ! { apt-get update > "$log" 2>&1 && install; }; then
  tail -20 "$log" >&2
  echo "apt-get could not install them (its last lines are above). RillFS is built on Debian 12." >&2
  exit 1
fi
