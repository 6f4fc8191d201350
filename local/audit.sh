#!/usr/bin/env bash
# Ask for known vulnerabilities of every locked package, and write what is locked as an SBOM (CycloneDX) to
# test-output/sbom.json. Exits 0 only if every package was asked for and none has any. uv is on PATH; arguments go to
# `uv audit` (--service-url for a mirror of osv.dev, --ignore-until-fixed ID for what has no fix yet).
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
mkdir -p test-output
uv export --quiet --frozen --no-config --preview-features sbom-export --all-groups --format cyclonedx1.5 \
    --output-file test-output/sbom.json
if ! uv audit --frozen --no-config --preview-features audit-command "$@"; then
    echo "The audit found something, or could not be made: above it says which. Nothing is approved." >&2
    exit 1
fi
