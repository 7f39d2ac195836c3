#!/usr/bin/env bash
# All tests: installs what they need where it is missing, and runs them.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools.sh

cargo test --quiet --no-run
cargo test
cargo build
"$python" -m pytest --quiet -p no:cacheprovider tests/outside
