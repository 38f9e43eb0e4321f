#!/bin/bash
# Runs every fuzz target for FUZZTIME (default 10s); `make fuzz` calls it. What
# breaks a target is written below its package's testdata/fuzz, and from then on
# every `go test` tries it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
GO=${GO:-go}

# `go test -list` prints a package's targets and then its "ok" line.
targets=$("$GO" test -list '^Fuzz' ./... | awk '
	/^Fuzz/ { name[n++] = $1 }
	/^ok/   { for (i = 0; i < n; i++) print $2, name[i]; n = 0 }')
[ -n "$targets" ] || {
	echo "fuzz: there is no target" >&2
	exit 1
}

failed=0
while read -r package target; do
	echo "fuzz: $package $target"
	"$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "$package" </dev/null || failed=1
done <<<"$targets"
exit "$failed"
