#!/usr/bin/env bash
# Everything that CI runs, from a clean checkout: ./test.sh [unit|integration|e2e|faults|lint|all] [pytest's own arguments]
# Needs what start.sh needs; for the page that is looked at in a browser also Chromium, which it installs where it is
# root on Debian (elsewhere that one test is skipped, loudly). Stops nothing at the first failure; pytest's summary
# is the last thing printed, and the exit code tells of the lint steps too.
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage: ./test.sh [unit | integration | e2e | faults | lint | all] [pytest arguments]
       ./test.sh audit [arguments of uv audit]

  unit           no service needed; under a minute
  integration    against the embedded PostgreSQL and S3 endpoint, Terraform, and what else is fetched
  e2e            start.sh itself, in a fresh clone
  faults         all cases of the fault harness, with 200 random kills (the others run its fast part only); half an hour
  lint           ruff, mypy, sqlfluff, dbt parse, shellcheck, freshness of the lock and of requirements.txt
  all            lint, then every test (default)
  audit          known vulnerabilities of the locked packages, and an SBOM; fails if it could not ask

  ./test.sh unit -k sample_data      anything after the first word goes to pytest
USAGE
}

repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
what=${1:-all}
shift || true
case $what in
    unit | integration | e2e | faults | lint | all | audit) ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
esac

MEDILINK_HOME=${MEDILINK_HOME:-$repository/.medilink}
[[ $MEDILINK_HOME == /* ]] || MEDILINK_HOME=$PWD/$MEDILINK_HOME
cd -- "$repository"
# shellcheck source=local/bootstrap.sh
. "$repository/local/bootstrap.sh"
sync_environment
uv=$(find_uv "$repository/.venv/bin/python")
PATH=$repository/.venv/bin:$(dirname -- "$uv"):$PATH
if [[ -z ${HOME:-} ]]; then
    # Tools that look for their settings in ~ would look in the working folder instead.
    export HOME=$MEDILINK_HOME/home
    mkdir -p "$HOME"
fi
# The tools that tests fetch for themselves come the way the environment came: with the machine's own certificates.
export UV_SYSTEM_CERTS=true
# Tests choose a home of their own: the data of a checkout that is in use is none of theirs.
unset MEDILINK_HOME

ensure_browser() {
    if command -v chromium google-chrome >/dev/null || ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        return
    fi
    echo "Installing Debian's Chromium for the browser test (once) ..."
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium >/dev/null
}

ensure_faketime() {
    if compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        return
    fi
    echo "Installing Debian's faketime for the tests of wrong clocks (once) ..."
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends faketime >/dev/null
}

failed=()

step() {
    local name=$1
    shift
    printf '== %s\n' "$name"
    "$@" || failed+=("$name")
}

lint() {
    step "ruff check" ruff check --quiet --output-format concise
    step "ruff format" ruff format --check --output-format concise
    step "mypy" mypy
    step "sqlfluff" sqlfluff lint dbt
    # Every warning is an error, deprecations too.
    step "dbt parse" dbt --quiet --warn-error parse --no-partial-parse --show-all-deprecations \
        --project-dir dbt --profiles-dir dbt
    step "shellcheck" shellcheck --external-sources start.sh test.sh deploy-ec2.sh .ci/run benchmarks/run.sh local/*.sh \
        deployment/init.sh deployment/medilink deployment/with-secrets
    step "lock" pytest --quiet tests/unit/test_lock.py
}

report_lint() {
    if ((${#failed[@]})); then
        printf '== lint failed:'
        printf ' [%s]' "${failed[@]}"
        printf '\n'
    else
        printf '== lint passed\n'
    fi
}

# Each worker has a PostgreSQL and an S3 endpoint of its own; a file's tests share what they build.
parallel=(--numprocesses 2 --dist loadfile)
tests=0
case $what in
    lint)
        lint
        report_lint
        ;;
    audit) exec local/audit.sh "$@" ;;
    unit) pytest -m "not integration and not e2e" "$@" || tests=$? ;;
    integration)
        step "faketime" ensure_faketime
        pytest -m "integration and not faults" "${parallel[@]}" "$@" || tests=$?
        ;;
    faults)
        step "faketime" ensure_faketime
        pytest -m "" --numprocesses 2 --dist load tests/faults "$@" || tests=$?
        ;;
    e2e)
        step "browser" ensure_browser
        pytest -m e2e "$@" || tests=$?
        ;;
    all)
        lint
        report_lint
        step "browser" ensure_browser
        step "faketime" ensure_faketime
        pytest "${parallel[@]}" "$@" || tests=$?
        ;;
esac
((tests == 0 && ${#failed[@]} == 0))
