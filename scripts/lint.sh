#!/bin/bash
# Checks the code without running it; `make lint` calls it. All checks are made
# even when one fails, and what failed is named again at the end.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
GO=${GO:-go}

# The computer's programs, for these platforms, without a C compiler.
readonly PLATFORMS="linux/amd64 linux/arm64 darwin/arm64 windows/amd64"
# What the phone in the browser is made of. A name that is wrong here fails.
readonly BROWSER_PACKAGES="./internal/wire ./internal/confusable ./internal/device ./internal/link ./internal/link/relay ./internal/signer/... ./internal/sshctx ./internal/browserphone/... ./cmd/vmux-phone-wasm"

failed=()
check() {
	local name=$1
	shift
	echo "lint: $name"
	"$@" || failed+=("$name")
}

formatted() {
	local files
	files=$(gofmt -l .) && [ -z "$files" ] && return
	echo "not formatted by gofmt:" "$files" >&2
	return 1
}

# vulnerabilities tells a finding (3) from a database that cannot be had, which
# says nothing about the code.
vulnerabilities() {
	local out status
	out=$("$TOOLS/govulncheck" ./... 2>&1)
	status=$?
	if [ "$status" != 0 ] && [[ $out == *"fetching vulnerabilities"* ]]; then
		echo "lint: govulncheck could NOT check anything: its database cannot be reached from here"
		return 0
	fi
	[ "$status" = 0 ] || echo "$out" >&2
	return "$status"
}

# build GOOS/GOARCH: every program but the browser's.
build() {
	local out status
	out=$(mktemp -d)
	GOOS=${1%/*} GOARCH=${1#*/} CGO_ENABLED=0 "$GO" build -o "$out/" ./cmd/...
	status=$?
	rm -rf "$out"
	return "$status"
}

check gofmt formatted
check "go vet" "$GO" vet ./...
check "go vet for macOS" env GOOS=darwin CGO_ENABLED=0 "$GO" vet ./...
check staticcheck "$TOOLS/staticcheck" ./...
check shellcheck shellcheck .ci/run scripts/*.sh internal/sshdtest/*.sh internal/serveraccess/*.sh packaging/*.postinst packaging/*.prerm packaging/*.postrm
check govulncheck vulnerabilities
for platform in $PLATFORMS; do
	check "build for $platform" build "$platform"
done
# shellcheck disable=SC2086 # one word per package
check "build for the browser" env GOOS=js GOARCH=wasm "$GO" build $BROWSER_PACKAGES

if [ ${#failed[@]} != 0 ]; then
	printf 'lint: FAILED: %s\n' "${failed[@]}" >&2
	exit 1
fi
echo "lint: all is well"
