#!/bin/sh
# Keeps a cpu busy for so many rounds.
round=0
while [ "$round" -lt "$1" ]; do
    round=$((round + 1))
done
