#!/bin/bash
# Runs the tests; `make test` calls it. Arguments go to `go test`, the default
# is all packages. The last line is the count, by itself: "N passed, N failed".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
# gotestsum hands its counts to this command, in the environment.
export COUNTS=$counts
# shellcheck disable=SC2016 # expanded by the command's own shell
hook='echo "$TESTS_TOTAL $TESTS_FAILED $TESTS_SKIPPED $TESTS_ERRORS" >"$COUNTS"'

# -count=1: results that depend on sshd and the like must not be remembered.
CGO_ENABLED=1 "$TOOLS/gotestsum" --format pkgname --format-hide-empty-pkg \
	--post-run-command "bash -c '$hook'" \
	-- -race -count=1 -timeout 20m "${@:-./...}"
status=$?

read -r total failed skipped errors <"$counts" || {
	echo "test: the tests did not run" >&2
	exit 1
}
if [ "$skipped" != 0 ]; then
	# A test that lacks something must fail and say so.
	echo "test: $skipped tests were skipped, which counts as a failure here" >&2
	status=1
fi
if [ "$total" = 0 ]; then
	echo "test: there was no test to run" >&2
	status=1
fi
# Errors are packages that did not build or tests that broke off.
bad=$((failed + errors + skipped))
passed=$((total - failed - skipped))
echo "$((passed > 0 ? passed : 0)) passed, $bad failed"
if [ "$bad" != 0 ]; then
	status=1
fi
exit "$status"
