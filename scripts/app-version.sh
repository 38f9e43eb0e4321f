#!/bin/bash
# Prints the files of the phone web app with their SHA-256, and the version that
# these make, which the app shows under Settings. It asks no program of vmux:
# whoever built the app from source compares with it what a hub serves.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../web/phone"

hash() {
	if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1
}

list() {
	local file
	(cd static && find . -type f ! -name '.*') | while read -r file; do
		echo "$(hash <"static/$file")  ${file#./}"
	done
	# Compressed files count as what they contain; NAME.br is the same as NAME.gz.
	(cd dist && find . -type f ! -name '.*' ! -name '*.br') | while read -r file; do
		case $file in
		*.gz) echo "$(gzip -dc "dist/$file" | hash)  $(basename "$file" .gz)" ;;
		*) echo "$(hash <"dist/$file")  ${file#./}" ;;
		esac
	done
}

files=$(list | LC_ALL=C sort -k 2)
echo "$files"
echo "version $(echo "$files" | hash)"
if [ ! -e dist/vmux.wasm.gz ]; then
	echo "app-version: the signer is not built; run: make build" >&2
fi
