#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Bash completion: verbs, second words, options, profiles. usage: test_completion.sh POOLCTL COMPLETION
set -euo pipefail

# shellcheck source=/dev/null
source "$2"
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
ln -s "$(realpath "$1")" "$folder/poolctl"
compopt() { :; } # only allowed inside a real completion

expect() { # words that must be offered, the line
	local wanted=$1 word
	shift
	COMP_WORDS=("$folder/poolctl" "$@")
	COMP_CWORD=$#
	_poolctl
	for word in $wanted; do
		if [[ " ${COMPREPLY[*]} " != *" $word "* ]]; then
			echo "poolctl $*: '$word' is not offered: ${COMPREPLY[*]}" >&2
			exit 1
		fi
	done
}

expect "create status volume debug" ""
expect "scrub" "sc"
expect "create destroy list read resize write" volume ""
expect "create destroy list rename" dataset ""
expect "verify" debug ""
expect "raid1 raid1c3 raid5" create tank "raid"
expect "--create-size --dry-run --json" create --
expect "--wait --deep" scrub --
expect "scrub rebuild verify" wait tank ""
expect "ro nochildren nosuid" mount tank/a /mnt -o ""
expect "ro,noatime,nochildren" mount tank/a /mnt -o ro,noatime,noch
expect "--json --folder" volume list --
[[ " ${COMPREPLY[*]} " != *" --deep "* ]]
