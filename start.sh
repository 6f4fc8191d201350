#!/usr/bin/env bash
# Start Medilink: make the environment from the lock file, then hand over to `python -m local.start`.
# Needs Python 3.11 or newer and nothing else: no pip, no venv module, no root, no HOME.
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage: ./start.sh [--once | --detach] [--drops DIR]
       ./start.sh status [--json] | stop | logs [SERVICE] | reset [--yes]
       ./start.sh --docker [docker compose arguments]

  (nothing)      start everything, run the pipeline once, stay in the foreground until Ctrl-C
  --once         the same, then stop everything; exits 0 only if the run succeeded
  --detach       the same, then return and leave everything running; exits 0 only if the run succeeded
  --drops DIR    load the files of DIR instead of generated samples
  status         services, ports, health and the last batch; exits 0 when all are healthy
  stop           stop what runs, also what a killed start left behind
  logs           follow the log of SERVICE, or list the logs
  reset          delete all data; .env and the environment stay
  --docker       the same services through docker compose; what follows goes to it (default: up --build)

Settings are read from the environment, then from .env (made by the first start, see .env.example).
MEDILINK_HOME moves all state out of .medilink/; API_PORT, AIRFLOW_PORT, S3_PORT, POSTGRES_PORT and DASHBOARD_PORT
move the services.
USAGE
}

repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
env_file=${MEDILINK_ENV_FILE:-$repository/.env}
if [[ -z ${MEDILINK_HOME:-} && -r $env_file ]]; then
    MEDILINK_HOME=$(sed -n "s/^MEDILINK_HOME=['\"]\{0,1\}\([^'\"]*\).*/\1/p" "$env_file" | tail -n 1)
fi
MEDILINK_HOME=${MEDILINK_HOME:-$repository/.medilink}
[[ $MEDILINK_HOME == /* ]] || MEDILINK_HOME=$PWD/$MEDILINK_HOME
export MEDILINK_HOME

for argument in "$@"; do
    case $argument in
        -h | --help)
            usage
            exit 0
            ;;
    esac
done

# shellcheck source=local/bootstrap.sh
. "$repository/local/bootstrap.sh"
sync_environment
if [[ ${1:-} == --docker ]]; then
    exec "$repository/.venv/bin/python" -P -m local.docker "${@:2}"
fi
# -P: a folder named `local` or `airflow` where the caller stands must not be imported.
exec "$repository/.venv/bin/python" -P -m local.start "$@"
