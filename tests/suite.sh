#!/bin/bash
# Runs a target of make; appends its name and how many seconds it took to the file SUITE_TIMES, if that is set.
set -uo pipefail
began=$SECONDS
make --no-print-directory "$@"
code=$?
[ -z "${SUITE_TIMES:-}" ] || echo "$1 $((SECONDS - began))" >>"$SUITE_TIMES"
exit $code
