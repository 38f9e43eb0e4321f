#!/bin/bash
# Fetches a current OpenSSH (10.3 or newer) beside the machine's own and prints
# the folder it is in. Passkey signatures need a client of that age, and the
# tests run every login with the old and the new programs both.
#
# Nothing is installed: Debian's packages are downloaded by apt, which checks
# the archive's signatures, unpacked into a cache folder of the user's, and
# their programs are told to load the libraries that came with them. No root
# rights are needed.
#
# The folder's name carries the hash of this file, and package sshdtest looks
# for exactly that name: a changed script is fetched anew, and two checkouts
# with different scripts do not disturb each other.
#
# VMUX_TEST_CACHE     the cache folder (default: $XDG_CACHE_HOME/vmux-test, ~/.cache/vmux-test)
# VMUX_DEBIAN_MIRROR  a Debian mirror's URI (default: the one this machine's apt uses)
set -euo pipefail

readonly MINIMUM=10.3

# Each pair is the suite for the libraries and the suite for OpenSSH; the first
# that offers MINIMUM is taken. trixie-backports stands first because it changes
# least.
readonly SUITES="trixie:trixie-backports forky:forky sid:sid"

die() {
	echo "fetch-openssh: $*" >&2
	exit 1
}

hash_of() {
	if command -v sha256sum >/dev/null; then
		sha256sum <"$1" | cut -c1-12
	else
		shasum -a 256 <"$1" | cut -c1-12
	fi
}

# at_least A B: version A is B or newer.
at_least() {
	[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# mirrors prints the URIs to try: what this machine's apt knows to be Debian's
# main archive. Before the first `apt-get update` apt cannot tell whose archive
# is whose; then every source with this release's name is tried, and the
# signature check throws out those that are not Debian's.
mirrors() {
	if [ -n "${VMUX_DEBIAN_MIRROR:-}" ]; then
		echo "$VMUX_DEBIAN_MIRROR"
		return
	fi
	local known codename
	# shellcheck disable=SC2016 # apt's format, not the shell's
	known=$(apt-get indextargets --format '$(REPO_URI)' \
		'Identifier: Packages' 'Origin: Debian' 'Label: Debian')
	if [ -z "$known" ]; then
		# shellcheck disable=SC1091
		codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
		# shellcheck disable=SC2016
		known=$(apt-get indextargets --no-release-info --format '$(REPO_URI)' \
			'Identifier: Packages' "Release: $codename")
	fi
	echo "$known" | grep -E '^(http|https|mirror)' | sort -u
}

# configure_apt MIRROR SUITES: an apt of its own in $work/apt. The machine's
# sources, package state and cache are neither used nor touched; its proxies
# and other settings for fetching are taken over. The empty status file makes
# apt fetch every library, since the machine's are too old.
configure_apt() {
	local apt=$work/apt suite
	rm -rf "$apt"
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	for suite in $(echo "$2" | tr : '\n' | sort -u); do
		echo "deb [signed-by=$keyring] $1 $suite main"
	done >"$apt/sources.list"
	{
		env -u APT_CONFIG apt-config dump Acquire | grep -v '^Acquire::IndexTargets'
		cat <<-CONF
			Dir::Etc::sourcelist "$apt/sources.list";
			Dir::Etc::sourceparts "/dev/null";
			Dir::Etc::main "/dev/null";
			Dir::Etc::parts "/dev/null";
			Dir::Etc::preferences "/dev/null";
			Dir::Etc::preferencesparts "/dev/null";
			Dir::State "$apt";
			Dir::State::status "$apt/status";
			Dir::State::lists "$apt/lists";
			Dir::Cache "$apt/cache";
			Dir::Log "$apt";
			Acquire::Languages "none";
			APT::Install-Recommends "false";
		CONF
	} >"$apt/apt.conf"
	export APT_CONFIG=$apt/apt.conf
}

# download SUITE: puts OpenSSH of that suite and all it depends on into apt's cache.
download() {
	apt-get update -q -o APT::Update::Error-Mode=any || return 1
	local version
	version=$(apt-cache madison openssh-client |
		awk -F'|' -v suite=" $1/main " 'index($3, suite) {gsub(/ /, "", $2); print $2; exit}')
	at_least "${version#*:}" "$MINIMUM" || return 1
	apt-get install -q -y --download-only \
		"openssh-client/$1" "openssh-server/$1" "openssh-sftp-server/$1"
}

# unpack DIR: the OpenSSH packages and the libraries; the rest of what apt
# fetched (perl, systemd, ...) only serves the packages' install scripts.
unpack() {
	local deb
	for deb in "$work"/apt/cache/archives/{openssh-,lib,zlib}*.deb; do
		dpkg-deb -x "$deb" "$1" || return 1
	done
	rm -rf "${1:?}/etc" "${1:?}/var" "${1:?}/usr/share"
	# ssh-keysign and unix_chkpwd: no set-user-ID program belongs in a cache.
	find "$1" -type f -perm /6000 -delete
}

# relocate DIR: each program gets the loader and the library folder of DIR.
# (Starting them through the loader instead would not do: sshd starts itself
# again by its own name, and the agent tells who asks by the name of the program.)
relocate() {
	local libs loader program
	libs=$(dirname "$(find "$1/usr/lib" -name 'libcrypto.so.3')")
	loader=$(find "$libs" -name 'ld-linux*.so.*')
	for program in "$1"/usr/bin/* "$1"/usr/sbin/* "$1"/usr/lib/openssh/*; do
		patchelf --print-interpreter "$program" >/dev/null 2>&1 || continue
		patchelf --set-interpreter "$loader" "$program" || return 1
		# DT_RPATH, not DT_RUNPATH, so that it holds for the libraries' libraries.
		patchelf --force-rpath --set-rpath "$libs" "$program" || return 1
		if "$loader" --list "$program" | grep -e 'not found' -e ' => /' | grep -v -F " => $1/"; then
			echo "$program would load a library of this machine's" >&2
			return 1
		fi
	done
}

from_debian() {
	local pair mirror program
	for program in apt-get dpkg-deb patchelf; do
		command -v "$program" >/dev/null || die "$program is missing: run make setup"
	done
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$keyring" ] || die "$keyring is missing: install the package debian-archive-keyring"
	local found
	found=$(mirrors) || die "this machine's apt has no Debian source: set VMUX_DEBIAN_MIRROR to a mirror's URI"
	for mirror in $found; do
		for pair in $SUITES; do
			configure_apt "$mirror" "$pair"
			if download "${pair#*:}" >>"$work/log" 2>&1; then
				unpack "$dir" && relocate "$dir" && return
			fi
			rm -rf "$dir"
		done
	done >>"$work/log" 2>&1
	cat "$work/log" >&2
	die "no suite of $SUITES could be fetched; what apt said is above"
}

# from_homebrew DIR: macOS needs no unpacking; links give the same layout.
from_homebrew() {
	local prefix
	prefix=$(brew --prefix openssh 2>/dev/null) || prefix=
	[ -x "$prefix/bin/ssh" ] || die "OpenSSH $MINIMUM or newer is missing: run brew install openssh"
	mkdir -p "$1/usr/lib"
	ln -s "$prefix/bin" "$1/usr/bin"
	ln -s "$prefix/sbin" "$1/usr/sbin"
	ln -s "$prefix/libexec" "$1/usr/lib/openssh"
}

cache=${VMUX_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vmux-test}
dir=$cache/openssh-$(hash_of "${BASH_SOURCE[0]}")
if [ -e "$dir/complete" ]; then
	echo "$dir"
	exit 0
fi

mkdir -p "$cache"
if command -v flock >/dev/null; then
	# One at a time; who waited finds the work done.
	exec 9>"$cache/lock"
	flock -w 600 9 || die "another fetch holds $cache/lock"
	if [ -e "$dir/complete" ]; then
		echo "$dir"
		exit 0
	fi
fi

echo "fetching OpenSSH $MINIMUM or newer into $dir" >&2
# Not below the cache: apt drops root's rights for its downloads, and root's
# home is closed to the user it becomes.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

rm -rf "$dir"
if [ "$(uname -s)" = Darwin ]; then
	from_homebrew "$dir"
else
	from_debian
fi
version=$("$dir/usr/bin/ssh" -V 2>&1) || die "the fetched ssh does not run: $version"
number=${version#OpenSSH_}
at_least "${number%%[ ,]*}" "$MINIMUM" || die "fetched $version, but $MINIMUM or newer is needed"
echo "$version" >"$dir/complete"
echo "fetched $version" >&2
echo "$dir"
