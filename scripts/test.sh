#!/bin/bash
# Runs the tests; `make test` calls it. Arguments go to `go test`; without any it
# is all packages, and those of the phone in the browser as WebAssembly as well.
# With QUICK set it is without the race detector, without WebAssembly, and without what
# is the same for each user.
# The last line is the count, by itself: "N passed, N failed".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# Servers are often not on an ordinary user's PATH.
export PATH=$PATH:/usr/sbin:/sbin

counts=$(mktemp) times=$(mktemp -d)
trap 'rm -rf "$counts" "$times"' EXIT
# gotestsum hands its counts to this command, in the environment.
export COUNTS=$counts
# shellcheck disable=SC2016 # expanded by the command's own shell
hook='echo "$TESTS_TOTAL $TESTS_FAILED $TESTS_SKIPPED $TESTS_ERRORS" >>"$COUNTS"'

counted() {
	CGO_ENABLED=1 "$TOOLS/gotestsum" --format pkgname --format-hide-empty-pkg \
		--jsonfile-timing-events "$(mktemp "$times/XXXXXX")" --post-run-command "bash -c '$hook'" "$@" || status=1
}

# What only root can show: other accounts, and a service manager where none gives an
# ordinary user a control group. .ci/run runs it as root; a named test is run in any case.
needs_root=(TestSetupInFreshAccounts TestSetupLeadsToTheFirstLogin TestNewUserAtATerminal TestNewUserWithThePackage TestHubOfThePackage) elsewhere=()
if ! systemd-run --user --scope --quiet true 2>/dev/null; then
	needs_root+=(TestSystemdService TestSetupUnderSystemd TestSetupWinsOverOtherSockets TestFailedServiceIsStartedAgain TestPhoneAsAService)
fi
# An sshd that is not root's cannot give a terminal to the group tty, if /dev/pts does not.
if ! grep -q ' /dev/pts devpts .*gid=' /proc/mounts; then
	needs_root+=(TestServerTrustAsksForSudo)
fi
if [ $# = 0 ] && [ "$(id -u)" != 0 ]; then
	elsewhere=(-skip "^($(IFS='|' && echo "${needs_root[*]}"))\$")
fi

race=(-race)
if [ -n "${QUICK:-}" ]; then
	race=()
fi

# -count=1: results that depend on sshd and the like must not be remembered.
# -p, -parallel: many tests wait for other programs, or for a person's pace.
# -timeout: two browsers' tests at once took 20 minutes of a machine that others keep busy.
flags=(-count=1 -p 3 -parallel 4 -timeout 30m ${elsewhere[@]+"${elsewhere[@]}"})

# Without the race detector: these drive browsers and programs as they are
# released, which it does not look into, or have no goroutine, but derive keys and
# compress for minutes under it.
plain=(./test ./test/web ./test/webui ./test/... ./internal/keyfile)
# So do these, and whoever runs them makes no difference.
anyones=(./bench ./internal/signer/transfer ./web/phone/build)
# What takes longest begins first, and the others run beside it.
slowest=(./internal/signer ./internal/serveraccess ./internal/browserphone ./internal/nativephone ./internal/cli)

status=0 runs=0
if [ $# != 0 ]; then
	runs=1
	counted -- ${race[@]+"${race[@]}"} "${flags[@]}" "$@"
else
	# What cannot be listed would not be run, and nobody would miss it.
	all=$("$GO" list ./...) && alone=$("$GO" list "${plain[@]}" "${anyones[@]}") || exit
	mapfile -t others < <(grep -vxF "$alone" <<<"$all")
	runs=2
	counted -- ${race[@]+"${race[@]}"} "${flags[@]}" "${slowest[@]}" "${others[@]}"
	if [ -n "${QUICK:-}" ]; then
		counted -- "${flags[@]}" "${plain[@]}"
	else
		counted -- "${flags[@]}" "${plain[@]}" "${anyones[@]}"
		echo "test: the same as WebAssembly"
		runs=3
		counted --raw-command -- scripts/test-wasm.sh -json
	fi
fi

total=0 failed=0 skipped=0 errors=0
while read -r t f s e; do
	((total += t, failed += f, skipped += s, errors += e, runs--))
done <"$counts"
if [ "$runs" != 0 ]; then
	echo "test: tests did not run" >&2
	((errors += runs))
	status=1
fi
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
if [ "$status" != 0 ] && [ "$bad" = 0 ]; then
	bad=1 # whatever broke off before it could count
fi
if [ ${#elsewhere[@]} != 0 ]; then
	echo "test: ${#needs_root[@]} not run, since it takes root here (run it as root: make test TESTFLAGS='-run NAME ./test'): ${needs_root[*]}"
fi
echo "test: the slowest ten:"
cat "$times"/* | "$TOOLS/gotestsum" tool slowest --threshold 1s --num 10
passed=$((total - failed - skipped))
echo "$((passed > 0 ? passed : 0)) passed, $bad failed"
if [ "$bad" != 0 ]; then
	status=1
fi
exit "$status"
