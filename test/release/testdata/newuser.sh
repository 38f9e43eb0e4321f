#!/bin/sh
# Zoe, with an account, a server that she logs in to by a key file today, and a package in her
# folder; and the same person at a second machine, the phone. All that is typed is told, and
# awaited from what the terminal shows after what was typed there before.
set -e
terminal() { # NAME USER: a terminal of USER's
	rm -f /tmp/$1.keys && mkfifo /tmp/$1.keys
	: >/tmp/$1.screen
	echo 0 >/tmp/$1.before
	setsid script -qfec "su - $2" /tmp/$1.screen 0<>/tmp/$1.keys >/dev/null 2>&1 &
}
types() { wc -c </tmp/$1.screen >/tmp/$1.before; printf '%s\r' "$2" >/tmp/$1.keys; }
command() { echo "command at $1: $2"; types "$1" "$2"; }
answer() { shows "$1" "$2"; echo "answer at $1: $3"; types "$1" "$3"; }
shows() { n=0; until tail -c "+$(cat /tmp/$1.before)" /tmp/$1.screen | tr -d '\r' | grep -qF -- "$2"; do n=$((n+1)); [ $n -lt 300 ] || { echo "in vain: $1 shows $2"; cat /tmp/*.screen; exit 1; }; sleep 0.1; done; }

for user in zoe handy deploy; do useradd --create-home --shell /bin/bash $user; done
usermod --password '*' deploy
echo 'zoe ALL=NOPASSWD: ALL' >/etc/sudoers.d/zoe
systemctl start ssh
su - zoe -c 'mkdir -m 700 .ssh && ssh-keygen -q -t ed25519 -N "" -f .ssh/id_ed25519'
install -d -m 700 -o deploy -g deploy /home/deploy/.ssh
install -m 600 -o deploy -g deploy /home/zoe/.ssh/id_ed25519.pub /home/deploy/.ssh/authorized_keys
su - zoe -c 'ssh -o StrictHostKeyChecking=accept-new deploy@localhost echo today' 2>/dev/null
install -o zoe -g zoe /packages/vmux_*.deb /home/zoe

terminal desk zoe
command desk 'sudo apt-get install ./vmux_*.deb'
shows desk 'Setting up vmux'
terminal phone handy
command phone 'vmux phone identity create --label work'
answer phone 'New passphrase for work: ' 'a secret phrase'
answer phone 'The same again: ' 'a secret phrase'
shows phone ' work'
command phone 'vmux phone run'
command desk 'vmux setup'
answer desk 'A number (Enter: as it is):' 4
answer desk 'Make these changes? Type yes:' yes
shows desk 'it works once, until '
terminal phone2 handy
command phone2 'vmux phone pair -'
answer phone2 'paste the invitation, and press Enter' "$(grep -o "vmux://pair#[^[:space:]']*" /tmp/desk.screen | head -n 1)"
answer desk 'A server to log in to now, as user@host (Enter: none):' deploy@localhost
answer desk 'Put it there, by the way that you log in today? Type yes:' yes
approve() {
	answer phone '  57 s left' y # keys of the first moment count for nothing
	answer phone 'assphrase' 'a secret phrase'
}
approve # vmux server trust tries the key before it leaves it there
approve # and setup shows that one's own ssh logs in by it
shows desk "logged in to deploy@localhost by the phone's key work"
command desk 'ssh deploy@localhost'
approve
types desk 'echo st""arted as $USER'
shows desk 'started as deploy'
echo "logged in"

# The same phone as a service, by the unit of the package.
pkill -u handy -f '^vmux phone run'
tries() { n=0; until "$@" >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 300 ] || { echo "in vain: $*"; exit 1; }; sleep 0.1; done; }
terminal phone3 handy
types phone3 'systemctl --user enable --now vmux-phone && echo st""arted'
shows phone3 started
tries su - handy -c 'systemctl --user is-active vmux-phone'
tries su - zoe -c 'vmux status'
echo "the phone is a service"
