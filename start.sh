#!/usr/bin/env bash
# Start Medilink: make the environment from the lock file, then hand over to `python -m local.start`.
# Needs Python 3.11 or newer and nothing else: no pip, no venv module, no root, no HOME.
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage: ./start.sh [--once | --detach] [--drops DIR]
       ./start.sh status [--json] | stop | logs [SERVICE] | reset [--yes]
       ./start.sh --docker

  (nothing)      start everything, run the pipeline once, stay in the foreground until Ctrl-C
  --once         the same, then stop everything; exits 0 only if the run succeeded
  --detach       the same, then return and leave everything running; exits 0 only if the run succeeded
  --drops DIR    load the files of DIR instead of generated samples
  status         services, ports, health and the last batch; exits 0 when all are healthy
  stop           stop what runs, also what a killed start left behind
  logs           follow the log of SERVICE, or list the logs
  reset          delete all data; .env and the environment stay
  --docker       the same services through docker compose

Settings are read from the environment, then from .env (made by the first start, see .env.example).
MEDILINK_HOME moves all state out of .medilink/; API_PORT, AIRFLOW_PORT, S3_PORT and POSTGRES_PORT move the services.
USAGE
}

repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
MEDILINK_HOME=${MEDILINK_HOME:-$repository/.medilink}
[[ $MEDILINK_HOME == /* ]] || MEDILINK_HOME=$PWD/$MEDILINK_HOME
export MEDILINK_HOME
# A caller's Python settings would change what the locked environment imports.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV UV_PROJECT_ENVIRONMENT

for argument in "$@"; do
    case $argument in
        -h | --help)
            usage
            exit 0
            ;;
        --docker)
            if [[ ! -f $repository/docker-compose.yaml ]]; then
                echo "docker-compose.yaml is not there yet. Run ./start.sh without --docker: it needs Python only." >&2
                exit 1
            fi
            cd -- "$repository"
            exec docker compose up --build
            ;;
    esac
done

find_python() {
    local name path
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        # Every one on PATH: the first may be too old, or a shim that needs a HOME.
        while read -r path; do
            "$path" -c 'import ssl, sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15)); ' 2>/dev/null || continue
            "$path" -c 'import sys; print(sys.executable)'
            return
        done < <(type -aP "$name")
    done
    echo "Medilink needs Python 3.11, 3.12, 3.13 or 3.14, and none is on PATH." >&2
    echo "Install one, e.g. 'apt-get install python3' or 'brew install python@3.12', and start again." >&2
    return 1
}

sync_environment() {
    local python state uv
    state="$repository $(cksum <"$repository/uv.lock") $(cksum <"$repository/pyproject.toml")"
    if [[ -x $repository/.venv/bin/python && $(cat "$repository/.venv/medilink-state" 2>/dev/null) == "$state" ]]; then
        return
    fi
    python=$(find_python)
    echo "Installing the locked packages into .venv (once, about a minute) ..."
    (umask 077 && mkdir -p "$MEDILINK_HOME")
    uv=$("$python" "$repository/local/fetch_uv.py" "$MEDILINK_HOME/bootstrap")
    if [[ -z ${UV_CACHE_DIR:-} && ! -w ${HOME:-/nonexistent} ]]; then
        export UV_CACHE_DIR=$MEDILINK_HOME/cache/uv
    fi
    UV_PYTHON_DOWNLOADS=never "$uv" sync --quiet --frozen --no-config --compile-bytecode --project "$repository" --python "$python"
    printf '%s\n' "$state" >"$repository/.venv/medilink-state"
}

sync_environment
# -P: a folder named `local` or `airflow` where the caller stands must not be imported.
exec "$repository/.venv/bin/python" -P -m local.start "$@"
