#!/usr/bin/env bash
# `make benchmark`: the programs in tests/benchmarks, one after the other. They measure this machine: run them on a
# quiet one. Name one (without .py), and its options, to run it alone: make benchmark ARGS="shard_throughput --shards 1"
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

run() {
    printf '\n==== %s\n' "$*"
    local name=$1
    shift
    .venv/bin/python "tests/benchmarks/$name.py" "$@"
}

if (($#)); then
    run "$@"
    exit $?
fi
failed=0
for path in tests/benchmarks/*.py; do
    name=$(basename "$path" .py)
    [[ $name == _* || $name == conftest ]] && continue
    run "$name" || { echo "$name ended with $?" >&2; failed=1; }
done
exit $failed
