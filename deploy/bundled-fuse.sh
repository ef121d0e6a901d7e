#!/usr/bin/env bash
# Makes the libfuse that RILLFS_BUNDLED_FUSE=ON links: a static library from Debian's source package fuse3.
#   bundled-fuse.sh DIRECTORY [TARBALL]     libfuse3.a and its headers, in DIRECTORY/usr; nothing if they are there
# TARBALL is the package's orig tarball; without, it is fetched. It has to be the one whose checksum is below.
# Needs the packages of 'install-packages.sh bundled-fuse'. If it fails, its one line on standard error says why.
set -euo pipefail
version=3.18.3
tarball=fuse3_$version.orig.tar.gz
url=http://deb.debian.org/debian/pool/main/f/fuse3/$tarball
sha256=bcd19582c5e30f7fe45dd86a5540e998590aa01903afc7ebcbeea6c8ac5421ee # of fuse3_3.18.3-1.dsc

[ $# -ge 1 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2; }
made_by=$(sha256sum < "$0")
given=${2:+$(realpath -m "$2")}
mkdir -p "$1"
cd "$1"
log=$PWD/bundled-fuse.log
fail() {
  echo "$*" >&2
  exit 1
}
sha256_of() { sha256sum "$1" | cut -d' ' -f1; }

[ "$(cat complete 2> /dev/null)" != "$made_by" ] || exit 0
rm -rf complete source build usr
for tool in meson ninja; do
  command -v $tool > /dev/null || fail "$tool is missing (bash deploy/install-packages.sh build bundled-fuse)"
done

fetch() { # with apt's own downloader and its settings where there is apt
  if [ -x /usr/lib/apt/apt-helper ]; then
    /usr/lib/apt/apt-helper -o APT::Sandbox::User= -o Acquire::Retries=1 -o Acquire::http::Timeout=30 \
      download-file "$url" "$1"
  else
    curl --fail --location --silent --show-error --connect-timeout 30 --max-time 300 --output "$1" "$url"
  fi
}
if [ -n "$given" ]; then
  [ -f "$given" ] || fail "there is no $given"
  tarball=$given
elif [ ! -e $tarball ] || [ "$(sha256_of $tarball)" != $sha256 ]; then
  rm -f $tarball
  fetch $tarball > "$log" 2>&1 || {
    rm -f $tarball
    fail "$url could not be fetched: $(sed "s|^E: Failed to fetch [^ ]* *||; /^E: Download Failed/d" "$log" | tail -1)"
  }
fi
[ "$(sha256_of "$tarball")" = $sha256 ] ||
  fail "$(realpath "$tarball") is not the tarball of libfuse $version: its SHA-256 is $(sha256_of "$tarball"), not $sha256"

# The prefix is where fusermount3 is looked for first ($prefix/bin), then along PATH.
{
  mkdir source
  tar -xzf "$tarball" -C source --strip-components=1
  meson setup build source --prefix=/usr --libdir=lib -Ddefault_library=static -Dutils=false -Dexamples=false \
    -Dtests=false -Denable-io-uring=false -Ddisable-libc-symbol-version=true
  ninja -C build
  DESTDIR=$PWD meson install -C build --no-rebuild
} > "$log" 2>&1 || fail "libfuse $version could not be built; all output is in $log"
rm -rf source build
echo "$made_by" > complete
