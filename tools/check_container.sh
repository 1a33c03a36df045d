#!/usr/bin/env bash
# Build the image and run the demo in it in every way that users do; all trees must be the same.
# usage: tools/check_container.sh [podman|docker]     (the base image must be there or reachable)
# With Apptainer on the PATH the image is run as SIF, too, by an ordinary user. With a Python of the
# image's version (NATIVE_PYTHON, by default python3.12) what is installed from the same lock without
# a container must give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
engine=${1:-podman}
image=nidecomp:check
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' src/nidecomp/version.py)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
say() { printf '\n== %s\n' "$*"; }

say "build"
if [ "$engine" = podman ]; then
  podman build --pull=never --format docker --build-arg "VERSION=$version" -t "$image" .
else
  docker build --build-arg "VERSION=$version" -t "$image" .
fi
size=$("$engine" image inspect --format '{{.Size}}' "$image")
echo "The image has $((size / 1000000)) MB."
[ "$size" -lt 1200000000 ] || { echo "that is too much"; exit 1; }
if "$engine" run --rm --entrypoint sh "$image" -c 'command -v cc gcc g++ clang make'; then
  echo "there are build tools in the image"; exit 1
fi

# Every way gets a folder of its own with the data beside the output: what is written names the input
# relative to the output.
mkdir -p "$scratch"/{plain,hard,sif,strict,native}/out
chmod 755 "$scratch" "$scratch"/*
for way in "$scratch"/*; do cp -r bids_fixtures/rest "$way/in"; done
run() { "$engine" run --rm --network none -v "$scratch/$1/in:/in:ro" -v "$scratch/$1/out:/out" "${@:2}"; }
same() {
  echo "plain and $1:"
  python3 tools/compare_trees.py "$scratch/plain/out" "$scratch/$1/out"
}

say "start"
start=$(date +%s%N)
run plain "$image" --version
ms=$((($(date +%s%N) - start) / 1000000))
echo "From the start of the container to its end: $ms ms."
[ "$ms" -lt 2000 ] || { echo "that is too slow"; exit 1; }

say "plain; nothing may be compiled: all machine code is there"
run plain --env NUMBA_DEBUG_CACHE=1 "$image" /in /out group --n-components 20 >"$scratch/said" 2>&1 ||
  { cat "$scratch/said"; exit 1; }
grep -v '^\[cache\]' "$scratch/said" || true
if grep '^\[cache\] data saved' "$scratch/said"; then
  echo "this had to be compiled"; exit 1
fi
grep -q '^\[cache\] data loaded' "$scratch/said" || { echo "nothing was loaded"; exit 1; }

say "hard: read-only root, a uid in no passwd, no HOME, no capabilities, no network, 4 GB"
chown 12345:12345 "$scratch/hard/out"
run hard --read-only --tmpfs /tmp:rw,size=1g,mode=1777 \
  --user 12345:12345 --cap-drop all --security-opt no-new-privileges --env HOME=/nonexistent \
  --memory 4g "$image" /in /out group --n-components 20 --mem-mb 3500
same hard

say "exit codes and signals are passed on"
code=0
run plain "$image" /in /tmp/o group --space X || code=$?
[ "$code" -eq 70 ] || { echo "exit code $code instead of 70"; exit 1; }
mkdir "$scratch/stopped"
cp -r bids_fixtures/rest "$scratch/stopped/in"
mkdir "$scratch/stopped/out"
name=nidecomp-check-$$
run stopped --name "$name" "$image" /in /out group --n-components 20 >"$scratch/said" 2>&1 &
for _ in $(seq 300); do
  grep -q 'Reducing runs: 2 of' "$scratch/said" && break
  sleep 0.2
done
"$engine" kill --signal TERM "$name" >/dev/null
code=0
wait $! || code=$?
tail -n 1 "$scratch/said"
[ "$code" -eq 143 ] || { echo "exit code $code instead of 143 after SIGTERM"; exit 1; }
kept=$(find "$scratch/stopped/out/work" -name '*.npy' | wc -l)
echo "$kept files of reduced runs were kept."
[ "$kept" -gt 0 ]
run stopped "$image" /in /out group --n-components 20 >/dev/null 2>&1
same stopped

if command -v apptainer >/dev/null && [ "$(id -u)" = 0 ] && [ "$engine" = podman ]; then
  say "Apptainer: the image as SIF, as an ordinary user, plain and with nothing of the host"
  podman save -q --format oci-archive -o "$scratch/image.tar" "$image"
  apptainer --quiet build --mksquashfs-args "-comp zstd -Xcompression-level 3" \
    "$scratch/nidecomp.sif" "oci-archive:$scratch/image.tar"
  rm "$scratch/image.tar"
  echo "The SIF has $(($(stat -c %s "$scratch/nidecomp.sif") / 1000000)) MB."
  user=nidecomp-check
  id "$user" >/dev/null 2>&1 || useradd --create-home "$user"
  chown "$user" "$scratch"/{sif,strict}/out
  # As on any cluster.
  [ ! -e /dev/fuse ] || chmod 666 /dev/fuse
  sif() {
    setpriv --reuid="$user" --regid="$user" --init-groups env -i HOME="/home/$user" \
      PATH=/usr/bin:/bin LANG=C.UTF-8 sh -c 'cd && exec apptainer run "$@"' - "${@:2}" \
      -B "$scratch/$1/in:/in:ro,$scratch/$1/out:/out" "$scratch/nidecomp.sif" \
      /in /out group --n-components 20
  }
  sif sif --cleanenv
  same sif
  sif strict --containall --no-home --net --network none
  same strict
else
  say "Apptainer: not tried (needs apptainer, podman and root)"
fi

native=${NATIVE_PYTHON:-python3.12}
wanted=$("$engine" run --rm --entrypoint python "$image" -c 'import platform; print(platform.python_version())')
if [ "$("$native" -c 'import platform; print(platform.python_version())' 2>/dev/null)" = "$wanted" ]; then
  say "without a container: Python $wanted, from the same lock"
  "$native" -m venv "$scratch/venv"
  "$scratch/venv/bin/pip" install --quiet --require-hashes -r requirements-build.lock
  "$scratch/venv/bin/pip" install --quiet --no-build-isolation --require-hashes -r requirements.lock
  "$scratch/venv/bin/pip" install --quiet --no-build-isolation --no-deps .
  # The description says which container it was. Variables of this machine's stay out: some choose
  # the kernels of linear algebra (OPENBLAS_CORETYPE), and with them the last digits.
  env -i PATH=/usr/bin:/bin HOME="$scratch" LANG=C.UTF-8 \
    NIDECOMP_CONTAINER_TYPE=docker NIDECOMP_CONTAINER_TAG="nidecomp:$version" \
    "$scratch/venv/bin/nidecomp" "$scratch/native/in" "$scratch/native/out" group --n-components 20
  same native
else
  say "without a container: not tried (needs Python $wanted; NATIVE_PYTHON names it)"
fi
say "all is well"
