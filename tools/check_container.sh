#!/usr/bin/env bash
# Build the image and run the demo in it: as a user would, then in the hardest form that a cluster has.
# usage: tools/check_container.sh [podman|docker]     (the base image must be there or reachable)
set -euo pipefail
cd "$(dirname "$0")/.."
engine=${1:-podman}
image=nidecomp:check
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ "$engine" = podman ]; then
  podman build --pull=never --format docker -t "$image" .
else
  docker build -t "$image" .
fi
mkdir -p "$scratch/plain/out" "$scratch/hard/out"
chmod 755 "$scratch" "$scratch"/*
chown 12345:12345 "$scratch/hard/out"

"$engine" run --rm --network none -v "$PWD/bids_fixtures/rest:/in:ro" \
  -v "$scratch/plain/out:/out" "$image" /in /out group --n-components 20
# Read-only root, a uid that is in no passwd, a HOME that is not there, no capabilities, 4 GB.
"$engine" run --rm --network none --read-only --tmpfs /tmp:rw,size=1g,mode=1777 \
  --user 12345:12345 --cap-drop all --security-opt no-new-privileges --env HOME=/nonexistent \
  --memory 4g -v "$PWD/bids_fixtures/rest:/in:ro" -v "$scratch/hard/out:/out" "$image" \
  /in /out group --n-components 20 --mem-mb 3500

python3 tools/compare_trees.py "$scratch/plain/out" "$scratch/hard/out"

# Exit codes pass through.
set +e
"$engine" run --rm --network none -v "$PWD/bids_fixtures/rest:/in:ro" "$image" /in /tmp/o group --space X
code=$?
set -e
[ "$code" -eq 70 ] || { echo "exit code $code instead of 70"; exit 1; }
echo "Exit codes are passed on."
