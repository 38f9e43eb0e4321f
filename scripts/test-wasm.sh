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
# A large environment does not fit into a wasm program's argument page: only
# what go and node need is passed on.
exec env -i PATH="$PATH" HOME="$HOME" GOFLAGS="${GOFLAGS:-}" GOPROXY="$("$GO" env GOPROXY)" \
	GOOS=js GOARCH=wasm "$GO" test -count=1 -timeout 5m \
	-exec "$("$GO" env GOROOT)/lib/wasm/go_js_wasm_exec" \
	"$@" ./internal/wire ./internal/device ./internal/sshctx
