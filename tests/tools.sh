# What the tests need besides Rust and a C compiler; installed only where it is missing. Sourced, from the top of the repository.

need() { # need COMMAND PACKAGE...
    command -v "$1" >/dev/null && return
    shift
    as_root apt-get install --yes --no-install-recommends "$@" >/dev/null || {
        as_root apt-get update >/dev/null
        as_root apt-get install --yes --no-install-recommends "$@" >/dev/null
    }
}

as_root() { # as_root COMMAND...
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

need cc gcc libc6-dev
need python3 python3 python3-venv
need npm npm
# A browser that shows the report of a fleet.
need chromium chromium

tools=$PWD/target/test-tools
mkdir -p "$tools"

# The gRPC client that nobody here wrote (its npm package carries the binary).
buf=$tools/node_modules/.bin/buf
[ -x "$buf" ] || npm install --silent --no-fund --no-audit --prefix "$tools" @bufbuild/buf@1.75.0 >/dev/null 2>&1

# The outside client.
python=$tools/venv/bin/python
if [ ! -x "$python" ] || ! "$python" -m pytest --version >/dev/null 2>&1; then
    python3 -m venv "$tools/venv" 2>/dev/null || { need no-such-command python3-venv && python3 -m venv "$tools/venv"; }
    "$python" -m pip install --quiet --disable-pip-version-check --requirement tests/outside/requirements.txt
fi
