#!/bin/sh
# Installs every program that the peer tests need, at pinned versions; quick
# where they are in place. Programs of the system are installed by apt where
# that is possible; otherwise this script says what is missing and fails.
set -eu
cd "$(dirname "$0")"

# package:what shows that it is there
system='
postgresql:/usr/lib/postgresql/*/bin/initdb
gcc:/usr/bin/gcc
openssl:/usr/bin/openssl
python3:/usr/bin/python3
curl:/usr/bin/curl
procps:/usr/bin/ps
npm:/usr/bin/npm
libolm-dev:/usr/include/olm/olm.h
prosody:/usr/bin/prosody
lua-sec:/usr/share/lua/*/ssl.lua
ejabberd:/usr/sbin/ejabberdctl
'

there() {
	for f in $1; do
		[ -e "$f" ] && return 0
	done
	command -v "$(basename "$1")" >/dev/null 2>&1
}

missing=
for line in $system; do
	there "${line#*:}" || missing="$missing ${line%%:*}"
done
if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -q
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
	else
		echo "install.sh: missing:$missing (as root on Debian and its like this script installs them)" >&2
		exit 1
	fi
fi

# npm peers: each folder with a package-lock.json. The copy of the lock that is
# put beside npm's says whether the folder is up to date.
for lock in */package-lock.json */*/package-lock.json; do
	[ -e "$lock" ] || continue
	dir=${lock%/*}
	if ! cmp -s "$lock" "$dir/node_modules/.quinta-lock"; then
		(cd "$dir" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
		cp "$lock" "$dir/node_modules/.quinta-lock"
	fi
done

# Go peers: each folder below with its own module.
for mod in */*/go.mod */*/*/go.mod; do
	[ -e "$mod" ] || continue
	(cd "${mod%/*}" && CGO_ENABLED=0 go build -tags goolm -o /dev/null .)
done
echo "install.sh: every peer is in place"
