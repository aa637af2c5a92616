#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes kjv.txt, the text that perplexity is measured on, and prints its path: the first 100,000 bytes of the King James Bible
# in Debian's packages bible-kjv and bible-kjv-text 4.38, one verse a line without its number. They are unpacked, not installed.
#   make_kjv.sh [FOLDER]     default: data/ in the cache
set -eu
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/lmfast/data}
sum=0b67f56527e4f54d1f974b419f271664e8c874bb51229436c5efd45c9ec7645c
right() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = $sum ]; }
if ! right "$folder/kjv.txt"; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd)
  cd "$work"
  if ! apt-get -q download bible-kjv=4.38 bible-kjv-text=4.38 >log 2>&1; then
    root=
    [ "$(id -u)" = 0 ] || root=sudo
    $root apt-get -q update >>log 2>&1 && apt-get -q download bible-kjv=4.38 bible-kjv-text=4.38 >>log 2>&1 || {
      tail -n 5 log >&2; echo "make_kjv: apt-get could not download bible-kjv 4.38" >&2; exit 1; }
  fi
  for package in *.deb; do dpkg-deb -x "$package" .; done
  usr/bin/bible -f -d usr/lib/bible.data gen1:1-gen29:1 </dev/null 2>/dev/null | sed 's/^[A-Za-z0-9]*:[0-9]* //' | head -c 100000 >text
  right text || { echo "make_kjv: the text came out with another hash than $sum" >&2; exit 1; }
  cp text "$folder/kjv.txt.part"
  mv "$folder/kjv.txt.part" "$folder/kjv.txt"
fi
echo "$folder/kjv.txt"
