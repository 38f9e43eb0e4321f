# The two that a newcomer needs: `make demo` and `make test`. `make help` lists all.

GO ?= go
# Where the tools for tests and lint are built; see tools/go.mod.
TOOLS := $(CURDIR)/.cache/bin
# Each program that is in cmd/, but for those that run in the browser.
PROGRAMS := $(filter-out %-wasm,$(notdir $(patsubst %/main.go,%,$(wildcard cmd/*/main.go))))

# macOS has a menu bar, which needs cgo and a bundle: `make app`.
ifeq ($(shell uname -s),Darwin)
PROGRAMS := $(filter-out vmux-tray,$(PROGRAMS))
endif

# What a plain `go build` makes, without its paths and tables for debuggers.
BUILD := CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o bin/

.PHONY: build app web help demo test test-fast test-wasm lint bench fuzz screenshots setup setup-demo tools man release clean

build: web ## build the programs into bin/
	@echo "building bin/ (minutes, the first time)"
	@$(BUILD) $(addprefix ./cmd/,$(PROGRAMS))

app: ## on macOS: build bin/vmux.app, the menu bar
	@GO=$(GO) scripts/macos-app.sh

# vmux-hub contains the web app, and with it the phone as WebAssembly. What has
# not changed is not compressed again, which takes most of a minute.
web:
	@echo "building web/phone/dist, the web app (a minute or more, if it has changed)"
	@$(GO) run ./web/phone/build

# It shows no web app, and so it builds none: `make build` does, for `vmux demo --web`.
demo: setup-demo ## show everything on this machine, in a scratch folder
	@echo "building bin/vmux (minutes, the first time)"
	@$(BUILD) ./cmd/vmux
	@if [ -t 0 ]; then exec bin/vmux demo; else exec bin/vmux demo --yes; fi

test: setup tools ## run all tests, packages with the race detector (TESTFLAGS='-run NAME ./test', QUICK=1 without it)
	@GO=$(GO) TOOLS=$(TOOLS) scripts/test.sh $(TESTFLAGS)

# What test-fast leaves out: packages that drive browsers, proxies, name services and
# whole programs, and tests that run OpenSSH's or PuTTY's programs.
FAST = $(filter-out %/cli %/demo %/sshd %/sshdtest %/hub %/push %/front %/webapp %/keyfile %/lan %/mdns %/build %/promises,\
	$(shell $(GO) list ./internal/... ./web/...))
NEEDS_PROGRAMS := OpenSSH|SSHAdd|SSHKeygen|LoginBinds|AsSSHDoes|LoginOfSSH|FollowsFlags

test-fast: ## run the unit tests, for the way between edits
	@$(GO) test -skip '$(NEEDS_PROGRAMS)' $(FAST)

test-wasm: setup ## run the tests of the phone's core as WebAssembly under Node
	@GO=$(GO) scripts/test-wasm.sh

lint: setup tools ## check the code, and build it for every platform
	@GO=$(GO) TOOLS=$(TOOLS) scripts/lint.sh

bench: setup build ## measure against OpenSSH, side by side, row by row
	$(GO) run ./bench $(BENCHFLAGS)

fuzz: ## search for bad input, FUZZTIME (10s) for each target
	@GO=$(GO) scripts/fuzz.sh

screenshots: setup ## draw the phone app's pictures in docs/ and its icons anew, and record the demonstration
	$(GO) test ./test -count=1 -run TestRecordingIsOfThisProgram -write
	$(GO) test ./test/webui -count=1 -run 'TestScreenshots|TestIcons' -write

setup: ## install what the tests need
	@scripts/setup.sh test

setup-demo:
	@scripts/setup.sh demo

tools:
	@GOBIN=$(TOOLS) $(GO) -C tools install tool

man: ## write the manual pages into man/, and what shells complete into completions/
	@GOWORK=off $(GO) -C tools run ./man "$(CURDIR)/man" "$(CURDIR)/completions"

release: ## make archives, packages and recipes in release/ (URL, KEY, MAINTAINER; see docs/releasing.md)
	@GOWORK=off $(GO) -C tools run ./release $(if $(URL),-url '$(URL)') $(if $(KEY),-key '$(KEY)') $(if $(MAINTAINER),-maintainer '$(MAINTAINER)') $(RELEASEFLAGS)

clean: ## remove what was built
	rm -rf bin man completions release .cache

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 10
