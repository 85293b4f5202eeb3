#!/bin/bash
# Hands a program to Envicutor through Kafka and waits for the answer; needs kcat alone.
#   with_kcat.sh 127.0.0.1:9092 homework-17
set -eu
servers=$1 id=$2 prefix=${3:-}

# One line is one record.
kcat -P -b "$servers" -t "${prefix}submissions.requests" -k "$id" -H "x-course=algorithms" <<<'{"run": "echo hello"}'

# Key, headers and value of all events there are, until one of ours is the end.
until kcat -C -q -e -o beginning -X isolation.level=read_committed \
    -b "$servers" -t "${prefix}submissions.events" -f '%k %h %s\n' |
  grep --text "^$id .*ce_type=envicutor.submission.\(finished\|rejected\|cancelled\).v1"
do sleep 1; done
