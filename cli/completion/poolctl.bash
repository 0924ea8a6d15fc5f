# SPDX-License-Identifier: BSD-2-Clause
# Bash completion of poolctl. Verbs, options and operands come from `poolctl help completion`, so nothing here has to
# follow when a verb changes. Pools and volumes are asked for, which searches disks: only when one is to be completed.

_poolctl_table() {
	[[ ${_poolctl_lines+set} ]] || mapfile -t _poolctl_lines < <("$1" help completion 2>/dev/null)
}

# Offers the words of the arguments that begin with the current word.
_poolctl_offer() {
	mapfile -t COMPREPLY < <(compgen -W "$*" -- "$current")
}

_poolctl_pools() {
	"${program[@]}" list -H -o name 2>/dev/null
}

_poolctl_volumes() {
	if [[ $current == */* ]]; then
		"${program[@]}" volume list "${current%%/*}" -H -o name 2>/dev/null
	else
		_poolctl_pools | sed 's,$,/,'
		compopt -o nospace
	fi
}

_poolctl_datasets() {
	_poolctl_volumes
	[[ $current != */* ]] || "${program[@]}" dataset list "${current%%/*}" -H -o name 2>/dev/null
}

# Behind the last comma.
_poolctl_mount_options() {
	local before=""
	[[ $current != *,* ]] || before=${current%,*},
	_poolctl_offer "$(printf "$before%s\n" ro rw nonempty nochildren remount allow_other noallow_other \
		suid nosuid dev nodev exec noexec sync async atime noatime diratime nodiratime)"
	compopt -o nospace
}

# What one word of the synopsis stands for.
_poolctl_operand() {
	case ${1//[\[\].]/} in
	POOL) _poolctl_offer "$(_poolctl_pools)" ;;
	POOL/VOLUME | POOL*VOLUME) _poolctl_offer "$(_poolctl_volumes)" ;;
	POOL/DATASET) _poolctl_offer "$(_poolctl_datasets)" ;;
	PROFILE) _poolctl_offer single raid1 raid1c3 raid1c4 raid5 raid6 raid7 ;;
	PROTOCOL) _poolctl_offer nfs smb ;;
	ROLE) _poolctl_offer log ;;
	JOB) _poolctl_offer scrub rebuild resync verify trim ;;
	VERB) _poolctl_offer "$(printf '%s\n' "${_poolctl_lines[@]%%[$'\t ']*}" | sort -u)" ;;
	OLD) _poolctl_offer "$("${program[@]}" status "$pool" -H -o disk 2>/dev/null)" ;;
	DISK) if [[ $verb == create || $verb == "device add" ]]; then compopt -o default; else _poolctl_operand OLD; fi ;;
	FOLDER) compopt -o dirnames ;;
	NEW | FILE | PATH) compopt -o default ;;
	PROPERTY) _poolctl_offer "$("${program[@]}" get "$pool" -H -o name 2>/dev/null)" ;;
	PROPERTY=VALUE)
		_poolctl_offer "$("${program[@]}" get "$pool" -H -o name 2>/dev/null | sed 's/$/=/')"
		compopt -o nospace
		;;
	esac
}

_poolctl() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local program=("${COMP_WORDS[0]}") verb="" pool="" line name operands options words=() synopsis=() index
	COMPREPLY=()
	_poolctl_table "${COMP_WORDS[0]}"

	if [[ $previous == -d || $previous == --folder ]]; then
		compopt -o dirnames
		return
	fi
	# The words before the current one, without options; folders are passed on.
	for ((index = 1; index < COMP_CWORD; index++)); do
		case ${COMP_WORDS[index]} in
		-d | --folder) program+=(-d "${COMP_WORDS[++index]}") ;;
		--no-devices) program+=(--no-devices) ;;
		-*) ;;
		*) words+=("${COMP_WORDS[index]}") ;;
		esac
	done
	if ((${#words[@]} == 0)); then
		if [[ $current == -* ]]; then _poolctl_offer -d --no-devices --json --help --version; else _poolctl_operand VERB; fi
		return
	fi
	# The verb: one word or two.
	for line in "${_poolctl_lines[@]}"; do
		IFS=$'\t' read -r name operands options <<<"$line"
		if [[ $name == "${words[0]}" || $name == "${words[0]} ${words[1]-}" ]]; then
			verb=$name
			break
		fi
	done
	if [[ -z $verb ]]; then
		_poolctl_offer "$(printf '%s\n' "${_poolctl_lines[@]%%$'\t'*}" | sed -n "s/^${words[0]} //p")"
		return
	fi
	if [[ $verb == mount && ($previous == -o || $previous == --options) ]]; then
		_poolctl_mount_options
		return
	fi
	if [[ $current == -* ]]; then
		_poolctl_offer "$(for name in $options; do printf '%s\n' "${name%%=*}"; done)"
		return
	fi
	# shellcheck disable=SC2206 # words of the name and of the synopsis
	words=("${words[@]:$(wc -w <<<"$verb")}") synopsis=($operands)
	pool=${words[0]-}
	index=${#words[@]}
	((index < ${#synopsis[@]})) || index=$((${#synopsis[@]} - 1))
	((index < 0)) || _poolctl_operand "${synopsis[index]}"
}

complete -F _poolctl poolctl
