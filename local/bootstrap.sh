# shellcheck shell=bash
# Sourced by start.sh and test.sh: makes .venv from the lock file with whatever Python >= 3.11 the machine has.
# Expects `repository` and MEDILINK_HOME, both absolute.
: "${repository:?}" "${MEDILINK_HOME:?}"

# A caller's Python settings would change what the locked environment imports.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV UV_PROJECT_ENVIRONMENT

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

# Prints the path of the pinned uv, fetched unless it is there.
find_uv() {
    (umask 077 && mkdir -p "$MEDILINK_HOME")
    "$1" "$repository/local/fetch_uv.py" "$MEDILINK_HOME/bootstrap"
}

sync_environment() {
    local python state uv
    state="$repository $(cksum <"$repository/uv.lock") $(cksum <"$repository/pyproject.toml")"
    if [[ -x $repository/.venv/bin/python && $(cat "$repository/.venv/medilink-state" 2>/dev/null) == "$state" ]]; then
        return
    fi
    python=$(find_python) || return
    echo "Installing the locked packages into .venv (once; about a minute, 250 packages) ..."
    uv=$(find_uv "$python") || return
    if [[ -z ${UV_CACHE_DIR:-} && ! -w ${HOME:-/nonexistent} ]]; then
        export UV_CACHE_DIR=$MEDILINK_HOME/cache/uv
    fi
    # The machine's own certificates, as for the Python that fetched uv: a proxy of the house may be among them.
    UV_PYTHON_DOWNLOADS=never "$uv" sync --quiet --frozen --no-config --system-certs --compile-bytecode \
        --project "$repository" --python "$python" || return
    printf '%s\n' "$state" >"$repository/.venv/medilink-state"
}
