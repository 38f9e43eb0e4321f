# shellcheck shell=sh
# What runs on a server, in POSIX sh (dash, busybox, bash, ksh). The lines before it set:
#
#   mark      a random word: each line of the answer begins with it, so that what a login
#             prints (a banner, an echo in ~/.bashrc) is no answer
#   act       look, put-key, take-key, put-ca, take-ca
#   line      the line that is put into a file or taken out; blob its base64 part
#   newline   yes: an end of line was put before the line, too; made: the file was made;
#   folder    the folder that was made: what an earlier put-key or put-ca answered
#   patience  seconds until a change is taken back that nobody has kept
#
# A change is made by the worker, as root if it must be, which then waits for the word
# that a new login worked. It takes everything back by itself when that word does not
# come: the session that started it sees the end of the connection, and where that dies
# with it, or a cable is cut so that nobody notices, patience ends.
# shellcheck disable=SC2154,SC2015 # set by the lines before; B may fail, too
set -u
set -f # nothing here is a pattern
umask 077
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s %s\n' "$mark" "$*"; }

# each NAME: the lines of standard input, as lines of the answer.
each() { sed "s/^/$mark $1 /" && echo; }

# find_daemon: sshd is the program, conf its configuration and opts further arguments, as
# the daemon has them that serves this connection: the nearest of our ancestors that is
# one. (It writes its arguments into its title.) listener is its process, if it is one
# that reads the configuration again when told to; one for each connection reads it anyway.
find_daemon() {
	sshd='' conf='' opts='' listener='' args='' inside=''
	p=$$
	while [ "${p:-0}" -gt 1 ]; do
		if [ -r "/proc/$p/status" ]; then
			words=$(tr '\000' ' ' <"/proc/$p/cmdline")
			up=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$p/status")
		else
			words=$(ps -o args= -p "$p" 2>/dev/null)
			up=$(ps -o ppid= -p "$p" 2>/dev/null | tr -d ' ')
		fi
		name=${words%% *}
		case ${name##*/}:$words in
		sshd:*'[listener]'*) words=${words#sshd: } args=${words%% \[listener\]*} ;;
		sshd:sshd:* | sshd::* | sshd-session*) inside=yes ;;
		sshd:*) args=$words ;;
		*) [ -z "$inside" ] || break ;; # something else starts it for each connection
		esac
		if [ -n "$args" ]; then
			listener=$p
			break
		fi
		p=$up
	done
	unit=$(sed -n 's|.*/\([^/]*\.service\)$|\1|p' "/proc/$listener/cgroup" 2>/dev/null | sed 1q)
	# shellcheck disable=SC2086 # words
	set -- $args
	[ $# = 0 ] || sshd=$1
	while [ $# -gt 1 ]; do
		shift
		case $1 in
		-f) conf=${2-} ;;
		-f?*) conf=${1#-f} ;;
		-[och]) opts="$opts $1 ${2-}" ;;
		-[och]?*) opts="$opts $1" ;;
		esac
	done
	[ -x "$sshd" ] || sshd=$(command -v sshd) || sshd=''
	for c in /etc/ssh/sshd_config /usr/local/etc/ssh/sshd_config /usr/etc/ssh/sshd_config; do
		[ -n "$conf" ] || [ ! -e "$c" ] || conf=$c
	done
}

# run_sshd ARGS: sshd reads the configuration. It wants a host key, of which only root
# can read the server's own.
run_sshd() {
	# shellcheck disable=SC2086 # words
	$as_root "$sshd" "$@" -f "$conf" $opts ${hostkey:+-h "$hostkey"}
}

# effective: the settings for this login, with all that Match says.
effective() {
	# shellcheck disable=SC2086 # client port server port
	set -- $connection
	run_sshd -T -C "user=$account,host=${1-},addr=${1-},laddr=${3-},lport=${4-}"
}

setting() { sed -n "s/^$1 //p" "$w/settings"; }

# key_files [home|own]: where sshd looks for the account's keys (sshd_config(5), TOKENS), in
# that order; of these the ones below its home folder, or those elsewhere that are its alone.
key_files() {
	names=$(setting authorizedkeysfile)
	for pattern in ${names:-.ssh/authorized_keys}; do
		name=$(printf '%s\n' "$pattern" | sed "s|%h|$home|g; s|%u|$account|g; s|%U|$uid|g; s|%%|%|g")
		case $name in
		/* | none) ;;
		*) name=$home/$name ;;
		esac
		case ${1-}:$name:$pattern in
		:* | home:none:* | home:"$home"/* | own:*%[uU]*) printf '%s\n' "$name" ;;
		esac
	done
}

# in_use: the first of them where a new line belongs. In a file of all accounts it would let
# its key in to each of them.
in_use() { { key_files home && key_files own; } | sed 1q; }

# has_line FILE: the line is in it. has_key FILE: the key is, in a line that is no comment.
has_line() { [ -f "$1" ] && grep -qxF -e "$line" "$1"; }
has_key() { [ -f "$1" ] && grep -vE '^[[:space:]]*#' "$1" | grep -qF -e "$blob"; }

# holding TEST: the first of the account's files for which the test holds.
holding() {
	key_files | while IFS= read -r f; do
		if "$1" "$f"; then
			printf '%s\n' "$f"
			break
		fi
	done
}

# private GROUP: nobody but the account is in it, so that Debian's sshd lets it write.
private() {
	members=$(getent group "$1" 2>/dev/null) || return 1
	case ${members##*:} in '' | "$account") ;; *) return 1 ;; esac
	[ "$(getent passwd | awk -F: -v g="$1" '$4 == g { print $1 }')" = "$account" ]
}

# loose FILE: what sshd does not trust on the way to it (misc.c, safe_path), if it looks: it
# follows symbolic links first, whose own mode says nothing.
loose() {
	p=$(readlink -f "$1" 2>/dev/null) || p=$1
	top=$(cd "$home" 2>/dev/null && pwd -P) || top=$home
	while :; do
		# shellcheck disable=SC2046 # mode links owner group
		set -- $(ls -ldn "$p" 2>/dev/null)
		case ${1-} in
		????????w*) say loose "$p" ;;
		?????w*) if private "$4"; then say grouped "$p"; else say loose "$p"; fi ;;
		*) [ $# -lt 3 ] || [ "$3" = "$uid" ] || [ "$3" = 0 ] || say loose "$p" ;;
		esac
		[ "$p" != "$top" ] && [ "$p" != / ] && [ "$p" != . ] || return 0
		p=$(dirname "$p")
	done
}

look() {
	say system "$(uname -s)"
	say account "$account"
	say uid "$uid"
	hostkey=''
	seen=root
	find_daemon
	if [ "$uid" != 0 ]; then
		hostkey=$w/hostkey seen=account
		ssh-keygen -q -t ed25519 -N '' -f "$hostkey" </dev/null >/dev/null 2>&1 || hostkey=''
	fi
	say config "$conf"
	if [ -z "$sshd" ] || [ -z "$conf" ]; then
		echo 'there is no sshd of OpenSSH' >"$w/error"
	elif effective >"$w/settings" 2>"$w/error"; then
		say seen "$seen"
	elif [ "$uid" != 0 ] && sudo -n sh -c : 2>/dev/null; then
		as_root='sudo -n' hostkey=''
		! effective >"$w/settings" 2>"$w/error" || say seen root
	fi
	each sshd <"$w/settings"
	each error <"$w/error"
	f=$(in_use)
	[ -n "$f" ] || f=$(key_files | sed 1q)
	say keysfile "$f"
	if [ "$f" != none ]; then
		loose "$f"
		key_files | while IFS= read -r f; do
			[ ! -f "$f" ] || dd if="$f" bs=1024 count=256 2>/dev/null | each key
		done
	fi
	f=$(setting trustedusercakeys)
	case ${f:-none} in
	none) ;;
	*) [ ! -f "$f" ] || dd if="$f" bs=1024 count=256 2>/dev/null | each ca ;;
	esac
}

# refuse WHY: everything is as it was.
refuse() {
	take_back
	say refused "$*"
	exit 0
}

# place FILE MODE: standard input takes the place of the file as a whole, with its owner
# and permissions, or a new one's. A symbolic link stays. Where nobody may add files to
# the folder, or the file is somebody else's, as it is to stay, it is written over, which is
# finished or taken back.
place() {
	t=$1
	[ ! -h "$t" ] || t=$(readlink -f "$t") || return 1
	cat >"$w/text" || return 1
	if [ -e "$t" ]; then
		# Even root, who may, does not write where writing is not wanted.
		[ -f "$t" ] && [ -n "$(find "$t" -prune -perm -200)" ] || return 1
	fi
	n=$(dirname "$t")/.vmux.$$
	if keeps_owner "$t" && (set -C && : >"$n") 2>/dev/null; then
		if [ -e "$t" ]; then cp -p "$t" "$n"; else chmod "$2" "$n"; fi &&
			cat "$w/text" >"$n" && cmp -s "$w/text" "$n" && mv -f "$n" "$t"
		done=$?
		rm -f "$n"
	else
		cp "$t" "$w/before" 2>/dev/null && cat "$w/text" >"$t" && cmp -s "$w/text" "$t"
		done=$?
		[ $done = 0 ] || [ ! -e "$w/before" ] || cat "$w/before" >"$t"
	fi 2>/dev/null
	[ ! -e "$t" ] || ! command -v restorecon >/dev/null || restorecon "$t" 2>/dev/null
	return $done
}

# keeps_owner FILE: another file in its place would be the same user's.
keeps_owner() {
	me=$(id -u)
	[ "$me" = 0 ] || [ ! -e "$1" ] || [ -n "$(find "$1" -prune -user "$me")" ]
}

# change FILE MODE: place, so that it can be taken back.
change() {
	changes=$((changes + 1))
	printf '%s\n' "$1" >"$w/$changes.path"
	cat >"$w/$changes.new"
	if [ -e "$1" ]; then cp -p "$1" "$w/$changes.old" || return 1; fi
	place "$1" "$2" <"$w/$changes.new"
}

# drop FILE: removes it, so that this can be taken back.
drop() {
	changes=$((changes + 1))
	printf '%s\n' "$1" >"$w/$changes.path"
	cp -p "$1" "$w/$changes.old" && rm -f "$1"
}

# back_one N: takes back one change, unless somebody else has changed the file since.
back_one() {
	f=$(cat "$w/$1.path")
	if [ -e "$w/$1.new" ] && cmp -s "$w/$1.new" "$f"; then
		if [ -e "$w/$1.old" ]; then place "$f" 600 <"$w/$1.old"; else rm -f "$f"; fi
	elif [ ! -e "$w/$1.new" ] && [ ! -e "$f" ]; then
		cp -p "$w/$1.old" "$f"
		! command -v restorecon >/dev/null || restorecon "$f"
	elif [ -e "$w/$1.old" ]; then
		cmp -s "$w/$1.old" "$f"
	else
		[ ! -e "$f" ]
	fi 2>/dev/null
}

take_back() {
	left=''
	while [ $changes -gt 0 ]; do
		back_one $changes || left="$left $(cat "$w/$changes.path")"
		changes=$((changes - 1))
	done
	[ -z "$made_folder" ] || rmdir "$made_folder" 2>/dev/null
	[ -z "$reloaded" ] || reload || start
	reloaded='' made_folder=''
}

# reload: the daemon reads its configuration again. It ends if it cannot, so that
# nothing but a configuration that sshd -t has read is given to it.
reload() {
	[ -n "$listener" ] || return 0
	reloaded=yes
	run_sshd -t 2>/dev/null && kill -HUP "$listener" 2>/dev/null && sleep 1 && kill -0 "$listener" 2>/dev/null
}

# start: the daemon has ended all the same.
start() {
	kill -0 "$listener" && return
	[ -n "$unit" ] && systemctl start "$unit" || $args &
} </dev/null >/dev/null 2>&1

# add FILE MODE: puts the line at its end.
add() {
	newline=no made=no made_folder=''
	[ -e "$1" ] || made=yes
	parent=$(dirname "$1")
	if [ ! -d "$parent" ]; then
		mkdir "$parent" || return 1
		made_folder=$parent
		! command -v restorecon >/dev/null || restorecon "$parent" 2>/dev/null
	fi
	if [ -s "$1" ] && [ -n "$(tail -c 1 "$1")" ]; then newline=yes; fi
	{
		[ $made = yes ] || cat "$1"
		[ $newline = no ] || echo
		printf '%s\n' "$line"
	} >"$w/content" && change "$1" "$2" <"$w/content" || return 1
	say file "$1"
	say newline $newline
	say made $made
	say folder "$made_folder"
}

# without FILE LINE: the file but for its last line that is this one, and but for the
# end of line that was put before it.
without() {
	L=$2 awk 'NR == FNR { if ($0 == ENVIRON["L"]) at = FNR; next } FNR != at' "$1" "$1" >"$w/kept"
	size=$(wc -c <"$w/kept")
	last=$(tail -n 1 "$1")
	ended=yes
	[ -z "$(tail -c 1 "$1")" ] || [ "$last" = "$2" ] || ended=no
	[ "$newline" = no ] || [ "$last" != "$2" ] || ended=no
	case $ended:$((size)) in # awk ends each line
	yes:* | no:0) cat "$w/kept" ;;
	no:1) ;;
	*) dd if="$w/kept" bs="$((size - 1))" count=1 2>/dev/null ;;
	esac
}

# has FILE LINE
has() { [ -f "$1" ] && grep -qxF -e "$2" "$1"; }

# take FILE: takes the line out, and the file if it was made for it.
take() {
	say file "$1"
	if has_line "$1"; then
		without "$1" "$line" >"$w/rest"
		if [ -s "$w/rest" ] || [ "$made" != yes ]; then
			change "$1" 600 <"$w/rest" || return 1
		else
			drop "$1" || return 1
		fi
		say taken
	elif [ -f "$1" ] && grep -qF -e "$blob" "$1"; then
		say changed # since: it is not what was put in
	else
		say absent
	fi
}

readonly comment='# Put here by "vmux server trust --ca"; "vmux server untrust --ca" takes it out.'

# The folder that an Include names, if files there can set anything: tried, not guessed.
included() { sed -n 's|^[Ii]nclude[[:space:]=]*"\{0,1\}\(/[^*"]*\)/\*\.conf.*|\1|p' "$conf" | sed 1q; }

check_config() { run_sshd -t 2>"$w/error" || refuse broken "$(tr '\n' ' ' <"$w/error")"; }

settings() { effective >"$w/settings" 2>"$w/error" && setting trustedusercakeys; }

put_ca() {
	check_config
	file=$(settings) || refuse broken "$(tr '\n' ' ' <"$w/error")"
	own=$(dirname "$conf")/vmux_ca.pub
	case ${file:-none} in none) file=$own ;; esac
	if has_key "$file"; then
		say file "$file"
		say already
	else
		add "$file" 644 || refuse unwritable "$file"
	fi
	[ "$(setting trustedusercakeys)" != "$file" ] || return 0
	printf '%s\nTrustedUserCAKeys %s\n' "$comment" "$file" >"$w/directive"
	d_conf=$(included)/vmux_ca.conf
	if [ "$d_conf" != /vmux_ca.conf ] && [ ! -e "$d_conf" ] &&
		change "$d_conf" 644 <"$w/directive"; then
		if [ "$(settings)" = "$file" ]; then
			say directive "$d_conf"
		else
			back_one $changes && changes=$((changes - 1))
		fi
	fi
	if [ "$(settings)" != "$file" ]; then # at the top, which no Match has
		cat "$w/directive" "$conf" >"$w/content" && change "$conf" 644 <"$w/content" || refuse unwritable "$conf"
		say directive "$conf"
	fi
	run_sshd -t 2>"$w/error" || refuse broken-by-us "$(tr '\n' ' ' <"$w/error")"
	[ "$(settings)" = "$file" ] || refuse no-effect "$conf"
	reload || refuse not-reloaded "$conf"
}

take_ca() {
	check_config
	file=$(settings) || refuse broken "$(tr '\n' ' ' <"$w/error")"
	own=$(dirname "$conf")/vmux_ca.pub
	if [ "${file:-none}" = none ]; then
		say absent
		return
	fi
	directive="TrustedUserCAKeys $file"
	[ "$file" != "$own" ] || made=no # it goes with its directive
	take "$file" || refuse unwritable "$file"
	# Another CA's line needs the directive, too.
	if [ "$file" != "$own" ] || [ ! -f "$file" ] || [ -s "$file" ]; then return; fi
	d_conf=$(included)/vmux_ca.conf
	if [ -f "$d_conf" ] && printf '%s\n%s\n' "$comment" "$directive" | cmp -s - "$d_conf"; then
		drop "$d_conf" || refuse unwritable "$d_conf"
	elif has "$conf" "$comment" && has "$conf" "$directive"; then
		newline=no
		without "$conf" "$comment" >"$w/rest"
		cp "$w/rest" "$w/rest.1"
		without "$w/rest.1" "$directive" >"$w/rest"
		change "$conf" 644 <"$w/rest" || refuse unwritable "$conf"
	else
		say kept "$directive"
		return
	fi
	drop "$file" || refuse unwritable "$file"
	run_sshd -t 2>"$w/error" || refuse broken-by-us "$(tr '\n' ' ' <"$w/error")"
	reload || refuse not-reloaded "$conf"
}

put_key() {
	effective >"$w/settings" 2>/dev/null
	f=$(in_use)
	[ "$f" != none ] || refuse no-file
	there=$(holding has_key)
	if [ -n "$there" ]; then
		say file "$there"
		say already
		return
	fi
	[ -n "$f" ] || refuse everybody "$(key_files | sed 1q)"
	add "$f" 600 || refuse unwritable "$f"
}

take_key() {
	effective >"$w/settings" 2>/dev/null
	f=$(in_use)
	[ "$f" != none ] || refuse no-file
	made_folder=''
	there=$(holding has_line)
	f=${there:-$(holding has_key)}
	f=${f:-$(in_use)}
	take "$f" || refuse unwritable "$f"
	there=$(holding has_key)
	[ -z "$there" ] || say still "$there"
	if [ -n "$folder" ] && [ ! -e "$f" ]; then rmdir "$folder" 2>/dev/null && gone_folder=$folder; fi
}

# await: what the worker does when it has changed something.
await() {
	trap undo TERM
	i=0
	while [ $i -lt "$patience" ] && [ -d "$d" ] && [ ! -e "$d/back" ]; do
		[ ! -e "$d/keep" ] || finish kept
		sleep 1
		i=$((i + 1))
	done
	[ ! -e "$d/keep" ] || finish kept
	undo
}

undo() {
	trap '' TERM
	[ -z "$gone_folder" ] || mkdir "$gone_folder"
	take_back
	if [ -n "$left" ]; then finish left "$left"; else finish back; fi
}

# finish WORD: tells the session, which removes its folder once it has read that.
finish() {
	trap '' TERM
	printf '%s end %s\n' "$mark" "$*" >"$w/end.new"
	chmod 644 "$w/end.new" && mv "$w/end.new" "$w/end"
	i=0
	while [ $i -lt 10 ] && [ -d "$d" ]; do
		sleep 1
		i=$((i + 1))
	done
	rm -rf "$w" "$d"
	exit 0
}

work() {
	changes=0 made_folder='' reloaded='' left='' gone_folder=''
	# A terminal that closes is no end, here and in await. Any other is no half change.
	trap '' HUP INT PIPE
	trap 'exit 1' TERM
	trap 'take_back; rm -rf "$w"' EXIT
	chmod 711 "$w"
	hostkey=''
	find_daemon
	if [ "$(id -u)" != 0 ]; then
		hostkey=$w/hostkey
		ssh-keygen -q -t ed25519 -N '' -f "$hostkey" </dev/null >/dev/null 2>&1 || hostkey=''
	fi
	case $act in
	*-ca)
		if [ -z "$sshd" ] || [ -z "$conf" ]; then refuse no-sshd; fi
		;;
	esac
	case $act in
	put-key) put_key ;;
	take-key) take_key ;;
	put-ca) put_ca ;;
	take-ca) take_ca ;;
	esac
	say worker "$w"
	say applied
	# Nothing of this session's is held open: it would wait for that.
	(await) </dev/null >/dev/null 2>&1 &
	trap - EXIT
}

# session: has the worker work, and tells it how it ended.
session() {
	{
		for name in d connection account home uid; do
			eval "value=\$$name"
			printf "%s='%s'\n" "$name" "$(printf '%s' "$value" | sed "s/'/'\\\\''/g")"
		done
		echo stage=work
		printf '%s\n' "$code"
	} >"$d/script"
	case $uid:$act in
	0:* | *-key) sh "$d/script" >"$d/out" 2>"$d/error" ;;
	*)
		if sudo -n sh -c : 2>/dev/null; then
			# shellcheck disable=SC2024 # the file is the account's own
			sudo -n sh "$d/script" >"$d/out" 2>"$d/error"
		elif command -v sudo >/dev/null; then
			echo "sudo sh $d/script >$d/out" >"$d/as-root"
			say password "$d/as-root"
			read -r word || word=back
		else
			say refused no-sudo
		fi
		;;
	esac
	[ ! -e "$d/out" ] || cat "$d/out"
	[ ! -s "$d/error" ] || each error <"$d/error"
	worker=$(sed -n "s/^$mark worker //p" "$d/out" 2>/dev/null)
	if [ -z "$worker" ]; then
		say end none
		return
	fi
	say waiting
	word=''
	read -r word || word=back
	case $word in
	keep) : >"$d/keep" ;;
	*) : >"$d/back" ;;
	esac
	i=0
	while [ $i -lt 30 ] && [ ! -e "$worker/end" ]; do
		sleep 1
		i=$((i + 1))
	done
	cat "$worker/end" || say end unknown
}

: "${stage:=first}" "${account:=$(id -un)}" "${uid:=$(id -u)}" "${home:=$HOME}" "${connection:=${SSH_CONNECTION-}}"
w=$(mktemp -d) || exit 1
: >"$w/settings"
: >"$w/error"
as_root=''
if [ "$stage" = work ]; then
	work
elif [ "$act" = look ]; then
	trap 'rm -rf "$w"' EXIT
	say begin
	look
	say end look
else
	d=$w
	trap 'rm -rf "$d"' EXIT
	trap ': >"$d/back"; exit 1' HUP INT TERM
	say begin
	session
fi
