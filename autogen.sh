#!/bin/sh
# Makes configure from configure.ac. Needed in a checkout only; a release tarball has it.
set -e
cd "$(dirname "$0")"
mkdir -p build-aux
autoreconf --install --warnings=all,no-obsolete "$@"
