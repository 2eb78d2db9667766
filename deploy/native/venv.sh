#!/usr/bin/env bash
# Makes .venv what the hashed requirements say. uv installs (ten times faster than pip); it is itself installed
# by pip from the same hashes, and pip does the whole where uv can't reach what pip's own configuration names.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/native/python.sh

venv_python=$PWD/.venv/bin/python
if ! "$venv_python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  "$python" -m venv --clear .venv
fi

pip_setting() { "$venv_python" -m pip config list | sed -n "s/^[^=]*\.$1='\(.*\)'$/\1/p" | tail -n 1; }
export_from_pip() { # the variable uv reads, the setting of pip
  local value
  value=$(pip_setting "$2")
  [ -z "$value" ] || export "$1=$value"
}

if [ ! -x .venv/bin/uv ]; then
  sed -n '/^uv==/,/[^\\]$/p' requirements-dev.txt >.venv/uv.txt
  "$venv_python" -m pip install -q --require-hashes --no-deps -r .venv/uv.txt
fi
export_from_pip UV_DEFAULT_INDEX index-url
export_from_pip SSL_CERT_FILE cert
export_from_pip HTTPS_PROXY proxy

locked=(--require-hashes -r requirements.txt -r requirements-dev.txt)
# compiled here: uv would not, and where PYTHONDONTWRITEBYTECODE is set every process would compile all anew
.venv/bin/uv pip install -q --compile-bytecode --python "$venv_python" "${locked[@]}" ||
  "$venv_python" -m pip install -q "${locked[@]}"
"$venv_python" -m pip install -q --no-deps --no-build-isolation -e .
# once, and not by each process that is first to need them
"$venv_python" -c 'from cift_core.strategies import warm_up; warm_up()'
