#!/bin/bash
# Runs the tests of the packages that the phone's web app is made of as
# WebAssembly under Node; `make test-wasm` calls it. Arguments go to `go test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
GO=${GO:-go}
command -v node >/dev/null || {
	echo "test-wasm: node is missing: run make setup (Debian: apt install nodejs)" >&2
	exit 1
}
# What the phone in the browser is made of.
readonly PACKAGES="./internal/wire ./internal/confusable ./internal/device ./internal/sshctx ./internal/webauthn ./internal/link ./internal/link/hubwire ./internal/link/relay ./internal/signer/... ./internal/browserphone/... ./cmd/vmux-phone-wasm"
# These run ssh-keygen, which a page cannot.
readonly OUTSIDE='^(TestCertificateIsWhatTheDesignSays|TestClientDataAsOpenSSHReadsThem|TestCreatedKeyFiles|TestImport|TestKRL)$'
# A large environment does not fit into a wasm program's argument page: only
# what go and node need is passed on.
# shellcheck disable=SC2086 # one word per package
exec env -i PATH="$PATH" HOME="$HOME" GOFLAGS="${GOFLAGS:-}" GOPROXY="$("$GO" env GOPROXY)" \
	GOCACHE="$("$GO" env GOCACHE)" GOMODCACHE="$("$GO" env GOMODCACHE)" \
	GOOS=js GOARCH=wasm "$GO" test -count=1 -timeout 5m -skip "$OUTSIDE" \
	-exec "$("$GO" env GOROOT)/lib/wasm/go_js_wasm_exec" \
	"$@" $PACKAGES
