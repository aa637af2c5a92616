#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes kjv.txt, the text that perplexity is measured on, and prints its path: the first 100,000 bytes of the King James Bible
# in Debian's packages bible-kjv and bible-kjv-text 4.38, one verse a line without its number. They are unpacked, not installed.
#   make_kjv.sh [FOLDER]           default: data/ in the cache
#   make_kjv.sh --whole [FOLDER]   all of it, kjv_whole.txt, with an empty line between chapters: what docs/TRAINING.md pre-trains on
set -eu
name=kjv.txt sum=0b67f56527e4f54d1f974b419f271664e8c874bb51229436c5efd45c9ec7645c
if [ "${1:-}" = --whole ]; then
  shift
  name=kjv_whole.txt sum=82a24e4e23c644fe579ed387b20e54eb529cc0a87a25e0810064edb2216780c2
fi
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/lmfast/data}
right() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = $sum ]; }
if ! right "$folder/$name"; then
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
  if [ $name = kjv.txt ]; then
    usr/bin/bible -f -d usr/lib/bible.data gen1:1-gen29:1 </dev/null 2>/dev/null | sed 's/^[A-Za-z0-9]*:[0-9]* //' | head -c 100000 >text
  else
    usr/bin/bible -f -d usr/lib/bible.data gen1:1-rev22:21 </dev/null 2>/dev/null |
      awk '{ c = $1; sub(/:.*/, "", c); if (c != last && NR > 1) print ""; last = c; sub(/^[A-Za-z0-9]*:[0-9]* /, ""); print }' >text
  fi
  right text || { echo "make_kjv: the text came out with another hash than $sum" >&2; exit 1; }
  cp text "$folder/$name.part"
  mv "$folder/$name.part" "$folder/$name"
fi
echo "$folder/$name"
