#!/usr/bin/env bash
# Benchmarks: ./benchmarks/run.sh [load | promote | workbook | many_files | build | api | soak | nhs_upload | dashboard]…;
# without a name all, one after another. `dashboard` needs what ./test.sh installs: Playwright, and a browser.
# BENCHMARK_SCALE=0.1 takes a tenth of the rows, BENCHMARK_RUNS=3 fewer runs, BENCHMARK_DATA says where files are made,
# BENCHMARK_PEERS names an environment with the peers; where uv is at hand it is made when `load` needs it.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.."
python=.venv/bin/python
[[ -x $python ]] || python=python3
export BENCHMARK_PEERS=${BENCHMARK_PEERS:-${BENCHMARK_DATA:-/tmp/medilink-benchmarks}/peers}
names=("$@")
(($#)) || names=(load promote workbook many_files build api soak nhs_upload dashboard)
for name in "${names[@]}"; do
    if [[ $name == load && ! -x $BENCHMARK_PEERS/bin/python ]] && command -v uv >/dev/null; then
        uv venv --quiet --python 3.11 "$BENCHMARK_PEERS"
        uv pip install --quiet --python "$BENCHMARK_PEERS" --requirements benchmarks/peers.txt
    fi
    "$python" -m "benchmarks.$name"
done
