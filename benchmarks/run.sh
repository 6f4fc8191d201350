#!/usr/bin/env bash
# Benchmarks: ./benchmarks/run.sh [load | promote | many_files]; without a name all of them, one after another.
# BENCHMARK_SCALE=0.1 takes a tenth of the rows, BENCHMARK_RUNS=3 fewer runs, BENCHMARK_DATA says where files are made.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.."
python=.venv/bin/python
[[ -x $python ]] || python=python3
for name in "${@:-load promote many_files}"; do
    for benchmark in $name; do
        "$python" -m "benchmarks.$benchmark"
    done
done
