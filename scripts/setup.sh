#!/bin/bash
# Installs what this machine lacks: `setup.sh demo` for the demonstration,
# `setup.sh test` for the tests and linters as well. Where nothing is missing it
# is done in a moment, so every make target may call it.
#
# It knows Debian and what descends from it; elsewhere it names what to install.
# Services that come with a newly installed package (an SSH server!) are
# neither started nor enabled: the tests start their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly DEMO_PACKAGES=(openssh-client openssh-server)
readonly TEST_PACKAGES=(
	"${DEMO_PACKAGES[@]}"
	gcc libc6-dev # for the race detector
	patchelf debian-archive-keyring # for fetch-openssh.sh
	shellcheck
	groff-base # sets the manual pages
	zsh fish # read what vmux setup writes for them
	busybox mksh tcsh # shells of servers
	avahi-daemon avahi-utils dbus # DNS-SD, seen by others than ourselves
	iproute2 util-linux uidmap nftables # network namespaces, as an ordinary user too
	git rsync # what people do over ssh
	curl putty-tools python3-paramiko # SSH clients other than OpenSSH
	openssl                           # makes a host key that only ssh can verify
	age # opens a backup without vmux
	gnupg gpg-agent softhsm2          # agents and tokens behind vmux
	autossh # a client that tries again by itself
	procps strace
	tmux # a terminal whose screen can be read
	systemd dunst xvfb # the service of docs/login-service.md, and its notifications
	xfce4-panel xclip # the tray of a desktop, and its clipboard
	chromium chromium-headless-shell fonts-inter # the web app, and how it looks in the screenshots
	sudo libpam-ssh-agent-auth # sudo by phone
	libnss3-tools # tells a browser to trust a hub's own CA
	firefox-esr webkit2gtk-driver # the web app in other engines
	pebble # an ACME server, for the hub's certificates
	nginx-light haproxy caddy apache2-bin # proxies before the hub
	mmdebstrap rpm lintian # a clean Debian for the packages, and what reads those for others
)
# What the tests take from npm, at the versions that test/npm pins.
readonly NPM_CACHE=.cache/npm
# A clean Debian in one file, into which the tests install vmux's packages.
# /systemd has what makes it one that boots.
readonly CLEAN_DEBIAN=.cache/debian-12.tar
# Units of the packages above that must not start on their own.
readonly SERVICES=(ssh.service ssh.socket avahi-daemon.service avahi-daemon.socket nginx.service haproxy.service caddy.service caddy-api.service)

die() {
	echo "setup: $*" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# programs_missing NAMES: those that are not installed. Servers are often not on
# an ordinary user's PATH.
programs_missing() {
	local name
	for name; do
		PATH=$PATH:/usr/sbin:/sbin command -v "$name" >/dev/null || echo "$name"
	done
}

packages_missing() {
	local installed
	# shellcheck disable=SC2016 # dpkg's format, not the shell's
	installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
		sed -n 's/^installed //p') || true
	printf '%s\n' "$@" | grep -vxF "${installed:-none}" || true
}

# apt_install PACKAGES: root has asked for it by calling make. Anybody else is
# shown the command first, since it is his password that sudo wants.
apt_install() {
	local apt=(apt-get install --no-install-recommends "$@")
	if [ "$(id -u)" != 0 ]; then
		agreed "${apt[@]}"
	fi
	echo "setup: installing $*" >&2
	local options=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)
	forbid_service_starts
	as_root "${options[@]}" update </dev/null >&2 ||
		echo "setup: apt-get update failed; trying with the package lists there are" >&2
	as_root "${options[@]}" install --no-install-recommends "$@" </dev/null >&2
	disable_services "$@"
}

# agreed COMMAND: returns when the person wants it run by sudo, and ends this
# script when not, or when there is nobody to ask.
agreed() {
	local answer=
	printf 'setup: these Debian packages are missing:\n%s\n' "$(printf '  %s\n' "${@:4}")" >&2
	printf 'setup: this installs them:\n  sudo %s\n' "$*" >&2
	command -v sudo >/dev/null || die "there is no sudo here: run that command as root, without sudo, then make again"
	[ -t 0 ] || die "nothing was installed, since there is no terminal to ask at: run that command, then make again"
	read -r -p 'setup: run it now? [y/N] ' answer || true
	case $answer in
	[yY] | [yY][eE][sS]) ;;
	*) die "nothing was installed" ;;
	esac
}

# forbid_service_starts uses Debian's own way to say so, until this script ends.
forbid_service_starts() {
	local policy=/usr/sbin/policy-rc.d
	[ ! -e "$policy" ] || return 0
	trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
	trap 'exit 1' INT TERM HUP
	printf '#!/bin/sh\n# Written by a set-up that was running; safe to remove.\nexit 101\n' |
		as_root tee "$policy" >/dev/null
	as_root chmod 755 "$policy"
}

# disable_services NEW_PACKAGES: keeps them off after the next boot too. A
# service that was here before is the owner's business.
disable_services() {
	command -v systemctl >/dev/null || return 0
	local unit package
	for unit in "${SERVICES[@]}"; do
		case $unit in
		ssh.*) package=openssh-server ;;
		nginx.*) package=nginx-light ;;
		caddy*) package=caddy ;;
		*) package=${unit%%.*} ;;
		esac
		if [[ " $* " = *" $package "* ]] && [ -e "/lib/systemd/system/$unit" ]; then
			as_root systemctl disable "$unit" >&2
		fi
	done
}

# setup_npm fetches the packages that test/npm/package-lock.json names, and
# nothing that is not the very thing (integrity). None of their scripts runs.
setup_npm() {
	local missing
	missing=$(programs_missing node npm)
	if [ -n "$missing" ]; then
		command -v apt-get >/dev/null || die "missing: ${missing//$'\n'/, }; install Node.js 18 or newer with npm"
		apt_install nodejs npm
	fi
	if cmp -s test/npm/package-lock.json "$NPM_CACHE/package-lock.json" && [ -d "$NPM_CACHE/node_modules" ]; then
		return 0
	fi
	echo "setup: fetching the npm packages of test/npm" >&2
	rm -rf "$NPM_CACHE" "$NPM_CACHE.new"
	mkdir -p "$NPM_CACHE.new"
	cp test/npm/package.json test/npm/package-lock.json "$NPM_CACHE.new/"
	npm ci --prefix "$NPM_CACHE.new" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
	mv "$NPM_CACHE.new" "$NPM_CACHE"
}

setup_clean_debian() {
	[ ! -e "$CLEAN_DEBIAN" ] || return 0
	echo "setup: fetching a clean Debian 12, some 50 MB" >&2
	mkdir -p .cache
	# Not kept, so it need not be safe on the disk at each step.
	# shellcheck disable=SC2016 # $1 is the hook's
	mmdebstrap --quiet --variant=apt --include=openssh-client,openssh-server --dpkgopt=force-unsafe-io \
		--customize-hook='chroot "$1" sh -euc "apt-get clean; apt-get -q -y --no-install-recommends --download-only install systemd systemd-sysv dbus libpam-systemd procps sudo >/dev/null; mkdir /systemd; mv /var/cache/apt/archives/*.deb /systemd"' \
		bookworm .cache/new.debian.tar ${VMUX_DEBIAN_MIRROR:+"$VMUX_DEBIAN_MIRROR"} >&2
	mv .cache/new.debian.tar "$CLEAN_DEBIAN"
}

check_go() {
	local version
	version=$(go env GOVERSION 2>/dev/null) || die "Go 1.26 or newer is needed (go.dev)"
	# Older ones cannot fetch the version that go.mod asks for.
	[ "$(printf '%s\ngo1.21\n' "$version" | sort -V | head -n 1)" = go1.21 ] ||
		die "$version is too old: Go 1.26 or newer is needed (go.dev)"
}

setup_demo() {
	local missing
	missing=$(programs_missing ssh ssh-add ssh-keygen sshd)
	[ -n "$missing" ] || return 0
	command -v apt-get >/dev/null ||
		die "missing: ${missing//$'\n'/, }; install OpenSSH's client and server"
	apt_install "${DEMO_PACKAGES[@]}"
}

setup_test() {
	local missing
	if command -v apt-get >/dev/null; then
		missing=$(packages_missing "${TEST_PACKAGES[@]}")
		# shellcheck disable=SC2086 # one word per package
		[ -z "$missing" ] || apt_install $missing
		setup_clean_debian
	elif [ "$(uname -s)" = Darwin ]; then
		missing=$(programs_missing brew cc git rsync shellcheck plink)
		[ -z "$missing" ] ||
			die "missing: ${missing//$'\n'/, }; run: xcode-select --install; brew install openssh rsync shellcheck putty"
		echo "setup: the tests with network namespaces and with Debian's SSH clients fail on macOS; they need Debian 12 or newer" >&2
	else
		die "the tests need Debian 12 or newer (or one of its kind with apt-get)"
	fi
	setup_npm
	internal/sshdtest/fetch-openssh.sh >/dev/null
}

check_go
case ${1:-} in
demo) setup_demo ;;
test) setup_test ;;
*) die "usage: setup.sh demo|test" ;;
esac
