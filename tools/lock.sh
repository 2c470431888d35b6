#!/bin/sh
# Writes the lock files of the Python side from pyproject.toml; run by `make lock`.
set -eu
uv=${UV:-uv}
lock() { "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock" "$@"; }
lock pyproject.toml --output-file requirements/run.lock
lock pyproject.toml --extra demo --extra dev --extra postgresql --constraint requirements/run.lock --output-file requirements/dev.lock
lock agent/pyproject.toml --output-file requirements/agent.lock
lock --no-deps requirements/data.in --output-file requirements/data.lock
lock requirements/bench.in --constraint requirements/dev.lock --output-file requirements/bench.lock
