#!/usr/bin/env bash
# Names everything that is missing on this machine, and the command that brings it.
set -euo pipefail
cd "$(dirname "$0")"
. ./python.sh

missing=()
packages=()
need() { # what is missing, the package that brings it
  missing+=("$1")
  packages+=("$2")
}

if [ -z "$python" ]; then
  need "Python 3.11 or newer" python3
  need "Python's venv module" python3-venv
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  need "the venv module of $(command -v "$python")" "python$version-venv"
fi

java_major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' || true)
if [ "${java_major:-0}" -lt 17 ]; then
  need "Java 17 or newer" openjdk-17-jre-headless
fi
command -v mvn >/dev/null || need "Maven (mvn)" maven
command -v setpriv >/dev/null || need "setpriv" util-linux

if [ "${#missing[@]}" -gt 0 ]; then
  printf 'Missing on this machine: %s\n' "${missing[@]}" >&2
  printf 'Bring it with:\n  ' >&2
  [ "$(id -u)" -eq 0 ] || printf 'sudo ' >&2
  printf 'apt-get install -y %s\n' "${packages[*]}" >&2
  exit 1
fi
