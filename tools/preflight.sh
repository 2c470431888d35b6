#!/bin/sh
# Says in one clear line what the machine lacks to build and run edgehub. Silent when nothing is missing.
set -u
missing=""
need() { # command, Debian package
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need cc build-essential
need make make
need openssl openssl
need pkg-config pkg-config
python=${PYTHON:-python3}
if ! command -v "$python" >/dev/null 2>&1; then
    missing="$missing python3 python3-dev python3-venv"
else
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
        echo "preflight: $("$python" --version) is too old; Python 3.11 or newer is needed (set PYTHON=...)" >&2
        exit 1
    }
    "$python" -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
    header=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h
    [ -f "$header" ] || missing="$missing python3-dev"
fi
if command -v pkg-config >/dev/null 2>&1; then
    pkg-config --exists libssl 2>/dev/null || missing="$missing libssl-dev"
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "preflight: cargo is missing; install stable Rust (rustup)" >&2
    exit 1
fi
for extra in "$@"; do
    case "$extra" in
    valgrind) command -v valgrind >/dev/null 2>&1 || missing="$missing valgrind" ;;
    rocksdb) [ -f /usr/include/rocksdb/c.h ] || missing="$missing librocksdb-dev" ;;
    sqlite) pkg-config --exists sqlite3 2>/dev/null || missing="$missing libsqlite3-dev" ;;
    mosquitto) command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || missing="$missing mosquitto" ;;
    docker)
        PATH=$PATH:/usr/sbin:/sbin
        command -v dockerd >/dev/null 2>&1 || missing="$missing docker.io"
        command -v docker-registry >/dev/null 2>&1 || missing="$missing docker-registry"
        command -v busybox >/dev/null 2>&1 || missing="$missing busybox-static"
        command -v curl >/dev/null 2>&1 || missing="$missing curl"
        ;;
    postgresql) command -v pg_ctl >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1 || missing="$missing postgresql" ;;
    esac
done
[ -z "$missing" ] && exit 0
echo "preflight: Debian packages are missing; run: apt-get install$missing" >&2
exit 1
