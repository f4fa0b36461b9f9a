#!/bin/bash
# makes the fixtures with quintad and quinta of the commit: make.sh sqlite|postgres OUT
set -eu
kind=$1; out=$2; B=/tmp/quinta-fixture
rm -rf $out; mkdir -p $out; cd $out
export PATH=$B:$PATH
port=18461; [ $kind = postgres ] && port=18462
if [ $kind = postgres ]; then
  export QUINTA_DATABASE="postgres:///fx?host=/tmp/quinta-fixture/pg&user=quinta&sslmode=disable"
  export QUINTA_MEDIA="file://$out/media" QUINTA_SECRETS="file://$out/secrets.key"
fi
quintad serve --data data --listen 127.0.0.1:$port --registration open --name hs1 >serve.out 2>serve.err &
pid=$!
trap "kill $pid" EXIT
for i in $(seq 100); do curl -sf http://127.0.0.1:$port/_matrix/client/versions >/dev/null && break; sleep 0.2; done
export QUINTA_PASSWORD=secret-of-alice QUINTA_HOME=$out/alice
U=http://127.0.0.1:$port
quintad user add dora --generate --data data > dora.txt || true
quinta register matrix $U alice
quinta register ca $U carol
quinta accounts
export QUINTA_HOME=$out/bob QUINTA_PASSWORD=secret-of-bob
quinta register matrix $U bob
quinta register ca $U dave

A="env QUINTA_HOME=$out/alice"; Bb="env QUINTA_HOME=$out/bob"
room=$($A quinta create --account @alice:hs1 --direct @bob:hs1)
conv=$($A quinta create --account carol@hs1 --direct dave@hs1)
group=$($A quinta create --account carol@hs1 --name garden dave@hs1)
$Bb quinta join --account @bob:hs1 $room
$A quinta send --account @alice:hs1 $room 'hello bob'
$Bb quinta read --account @bob:hs1 $room
$Bb quinta send --account @bob:hs1 $room 'hello alice'
$A quinta read --account @alice:hs1 $room
echo 'the words of a file' > secret.txt
$A quinta send --account @alice:hs1 $room --file secret.txt 'a file'
$A quinta send --account carol@hs1 $conv 'hello dave'
$Bb quinta read --account dave@hs1 $conv
$Bb quinta send --account dave@hs1 $conv 'hello carol'
$A quinta read --account carol@hs1 $conv
$A quinta send --account carol@hs1 $group 'in the garden'
# erin is in the garden for a while
export QUINTA_HOME=$out/erin QUINTA_PASSWORD=secret-of-erin
quinta register ca $U erin
$A quinta invite --account carol@hs1 $group erin@hs1
$A quinta send --account carol@hs1 $group 'erin is here'
quinta leave $group
rm -rf $out/erin
# what waits
$A quinta send --account @alice:hs1 $room 'bob has not read this'
$A quinta send --account carol@hs1 $conv 'dave has not read this'
if [ $kind = sqlite ]; then quintad backup server.backup --data data; fi
printf '%s\n' "url $U" "room $room" "conv $conv" "group $group" "made $(date +%s%3N)" "dora $(tail -1 dora.txt)" > facts.txt
kill $pid; wait $pid || true; trap - EXIT
if [ $kind = postgres ]; then pg_dump --inserts --rows-per-insert=200 --no-owner --no-privileges -h /tmp/quinta-fixture/pg -U quinta fx > server.sql; fi
