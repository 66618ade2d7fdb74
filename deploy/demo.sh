#!/usr/bin/env bash
# `npm run demo`: sets up what is missing, then trains a detector on two agents of this machine. `npm run demo -- --help` tells more.
set -eu
cd "$(dirname "$0")/.."
bash deploy/setup
exec node dist/deploy/demo/main.js "$@"
