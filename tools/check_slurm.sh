#!/usr/bin/env bash
# Both ways of using a SLURM cluster, on a real SLURM whose nodes are all this machine: an array of
# participant jobs, and dask's workers as jobs, of which some are killed in the middle. All must
# give the bytes of a run on this machine, and leave nothing in the queue.
# usage: tools/check_slurm.sh [IMAGE.sif]     (with an image the array runs in Apptainer, too)
set -euo pipefail
cd "$(dirname "$0")/.."
image=${1:-}
bin=$PWD/.venv/bin
data=$PWD/bids_fixtures/rest
scratch=$(mktemp -d)
chmod 755 "$scratch"
export SLURM_CONF=$scratch/slurm/slurm.conf
words=(--n-components 20 --no-report)

tools/slurm_here.sh start "$scratch/slurm" 2
trap 'tools/slurm_here.sh stop "$scratch/slurm"; rm -rf "$scratch"' EXIT

fail() {
  echo "FAILED: $1"
  tail -n 40 "$scratch"/*.log
  exit 1
}

until_queue_is_empty() {
  for _ in $(seq "$1"); do
    [ -n "$(squeue --noheader)" ] || return 0
    sleep 1
  done
  squeue
  fail "jobs are left in the queue after $1 s"
}

same() { # NAME WHAT [REFERENCE]
  python3 tools/compare_trees.py "$scratch/${3:-here}" "$scratch/$1" || fail "$2: other bytes"
  echo "$2: the same, byte for byte."
}

clean_log() {
  ! grep -i -E "traceback|distributed\.|tornado" "$scratch/$1.log" || fail "$1: noise in what it said"
}

until_said() {
  for _ in $(seq 600); do
    ! grep -q "$2" "$scratch/$1.log" || return 0
    kill -0 "$process" 2>/dev/null || fail "$1 ended before it said: $2"
    sleep 0.1
  done
  fail "$1 did not say: $2"
}

# The processes of a job, or those alone that its nanny started to work.
processes() { # JOB all|worker
  local file
  grep -lzx "SLURM_JOB_ID=$1" /proc/[0-9]*/environ 2>/dev/null | while read -r file; do
    grep -qzx "SLURM_CONF=$SLURM_CONF" "$file" 2>/dev/null || continue
    [ "$2" = all ] || grep -q multiprocessing.spawn "${file%environ}cmdline" 2>/dev/null || continue
    echo "${file//[!0-9]/}"
  done
}

# A worker that has been given its first run imports what that needs, which takes it seconds.
is_at_work() {
  local number
  for number in $(processes "$1" worker); do
    ! grep -q "/scipy/" "/proc/$number/maps" 2>/dev/null || return 0
  done
  return 1
}

until_at_work() { # NAME HOW_MANY: leaves their jobs in $jobs
  local job
  for _ in $(seq 600); do
    jobs=()
    for job in $(worker_jobs); do
      ! is_at_work "$job" || jobs+=("$job")
    done
    [ "${#jobs[@]}" -lt "$2" ] || return 0
    sleep 0.1
  done
  fail "$2 workers of $1 did not come"
}

# End a worker's job as a node that fails would, or ("worker") the one process that works.
crash() { # JOB all|worker
  local found
  mapfile -t found < <(processes "$1" "$2")
  kill -KILL "${found[@]}"
}

worker_jobs() { squeue --noheader --name=dask-worker --states=running --format=%i; }

array() { # NAME IMAGE WHAT [REFERENCE]
  bids_dir=$data output_dir=$scratch/$1 work_dir=$scratch/$1/work options="${words[*]}" \
    group_cores=2 command=$bin/nidecomp image=$2 bash docs/slurm_array.sh >"$scratch/$1.log" 2>&1 ||
    fail "$1 could not be submitted"
  until_queue_is_empty 300
  same "$1" "$3" "${4:-here}"
}

with_jobs() { # NAME CONFIGURATION: in the background, as $process
  setsid "$bin/nidecomp" "$data" "$scratch/$1" group "${words[@]}" --nprocs 2 --executor dask \
    --dask-config "$2" --dask-patience 120 >"$scratch/$1.log" 2>&1 &
  process=$!
}

sed -e 's/memory: .*/memory: 1GB/' -e 's/# interface: .*/interface: lo/' -e 's/maximum: .*/maximum: 3/' \
  docs/dask_slurm.yaml >"$scratch/jobs.yaml"
sed 's/interface: lo/queue: nowhere/' "$scratch/jobs.yaml" >"$scratch/refused.yaml"

"$bin/nidecomp" "$data" "$scratch/here" group "${words[@]}" --nprocs 2 >"$scratch/here.log" 2>&1 ||
  fail "the run on this machine"

array array "" "An array of participant jobs"
if [ -n "$image" ]; then
  # Its libraries are of other versions, so that other last digits are right.
  apptainer run --cleanenv --bind "$data:$data:ro,$scratch" "$image" \
    "$data" "$scratch/image" group "${words[@]}" --nprocs 2 >"$scratch/image.log" 2>&1 ||
    fail "the image on this machine"
  array contained "$image" "An array of participant jobs in Apptainer" image
fi

with_jobs jobs "$scratch/jobs.yaml"
until_at_work jobs 2
crash "${jobs[0]}" worker
crash "${jobs[1]}" all
until_said jobs "Projecting runs: 1 of"
scancel "$(worker_jobs | sed -n 1p)"
wait "$process" || fail "dask's workers as jobs"
until_queue_is_empty 10
clean_log jobs
[ "$(grep -c "A worker died" "$scratch/jobs.log")" -ge 2 ] || fail "two workers died and were not both missed"
same jobs "dask's workers as jobs, one crashed, one job lost, one cancelled"

with_jobs stopped "$scratch/jobs.yaml"
until_said stopped "Reducing runs: 1 of"
kill -TERM "$process"
code=0
wait "$process" || code=$?
[ "$code" = 143 ] || fail "exit code $code after SIGTERM instead of 143"
until_queue_is_empty 10
clean_log stopped
with_jobs stopped "$scratch/jobs.yaml"
wait "$process" || fail "the second start after SIGTERM"
until_queue_is_empty 10
same stopped "The same, ended by SIGTERM and started again"

with_jobs refused "$scratch/refused.yaml"
! wait "$process" || fail "jobs for a partition that is not there"
grep -q "rejected the jobs" "$scratch/refused.log" || fail "a refusal was not told"
clean_log refused
echo "Jobs that the cluster refuses end in a sentence."
