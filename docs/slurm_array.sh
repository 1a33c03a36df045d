#!/bin/bash
# NiDecomp on a SLURM cluster: a job for each participant, then one job for the group.
#
# Set the variables below (or export them), then, where jobs are submitted:   bash slurm_array.sh
# The same command again submits what is not done yet; jobs find what others did in $work_dir.
# docs/clusters.md explains it.

# ---- yours -----------------------------------------------------------------------------------
bids_dir=${bids_dir:-/data/fmriprep}             # fMRIPrep's output
output_dir=${output_dir:-/data/networks}         # where the results go
work_dir=${work_dir:-/scratch/$USER/nidecomp}    # seen by all nodes
image=${image-$HOME/nidecomp.sif}                # the Apptainer image; image= uses $command
command=${command:-nidecomp}                     # without an image: nidecomp, as all nodes see it
options=${options:---n-components 20}            # what you would give to nidecomp, the same for all
group_cores=${group_cores:-4}                    # cores of the group's job
sbatch_options=${sbatch_options:-}               # for all jobs: --partition=… --account=…
participant_time=${participant_time:-02:00:00}
group_time=${group_time:-12:00:00}
jobs_at_once=${jobs_at_once:-100}                # of the array
participants_per_job=${participants_per_job:-1}  # more where the cluster bounds arrays (MaxArraySize)
# ----------------------------------------------------------------------------------------------

set -euo pipefail
for name in group_cores jobs_at_once participants_per_job; do
  if [[ ! ${!name} =~ ^[1-9][0-9]*$ ]]; then
    echo "$name=${!name}: it must be a whole number from 1 on." >&2
    exit 2
  fi
done
list=$work_dir/participants.txt
# Compiled loops are kept for all jobs; the image brings its own.
export NUMBA_CACHE_DIR=$work_dir/compiled

nidecomp() {
  local folders=("$bids_dir" "$output_dir")
  if [ -n "$image" ]; then
    apptainer run --cleanenv --bind "$bids_dir:$bids_dir:ro,$output_dir,$work_dir" "$image" \
      "${folders[@]}" "$@"
  else
    command "$command" "${folders[@]}" "$@"
  fi
}

# Options of one word each: they are meant to be split.
# shellcheck disable=SC2086
case ${1:-submit} in
  submit)
    mkdir -p "$output_dir" "$work_dir/logs"
    # Who takes part and what it takes is what nidecomp itself says.
    plan=$(nidecomp group $options --work-dir "$work_dir" --nprocs "$group_cores" --dry-run)
    sed -n 's/^sub-\([^_ ]*\)_[^ ]* *used .*/\1/p' <<<"$plan" | sort -u >"$list"
    megabytes() { sed -n "s/^$1: \([0-9,]*\) MB.*/\1/p" <<<"$plan" | tr -d ,; }
    run_mb=$(megabytes "Reduce step")
    peak_mb=$(megabytes "Peak memory")
    participants=$(wc -l <"$list")
    last=$(((participants - 1) / participants_per_job))
    # A forecast is no promise: a fifth on top of it.
    common=(--parsable $sbatch_options)
    one=("${common[@]}" --job-name=nidecomp "--output=$work_dir/logs/%x_%A_%a.txt"
      --cpus-per-task=1 --mem=$((run_mb * 6 / 5 + 100))M "--time=$participant_time")
    # The first one makes what all have in common: the index, the group's mask, the compiled loops.
    first=$(sbatch "${one[@]}" --array=0 "$0" participant)
    before=$first
    if [ "$last" -gt 0 ]; then
      before=$(sbatch "${one[@]}" --array="1-$last%$jobs_at_once" \
        --dependency="afterany:$first" "$0" participant)
    fi
    # After any end: the group's job does what is missing, and says which runs failed.
    group=$(sbatch "${common[@]}" --job-name=nidecomp-group "--output=$work_dir/logs/%x_%j.txt" \
      --cpus-per-task="$group_cores" --mem=$((peak_mb * 6 / 5 + 100))M --time="$group_time" \
      --dependency="afterany:$first:$before" "$0" group)
    echo "$participants participants: jobs $first and $before, then job $group for the group."
    echo "A run takes $run_mb MB, the group $peak_mb MB. What they say is in $work_dir/logs."
    ;;
  participant)
    begin=$((SLURM_ARRAY_TASK_ID * participants_per_job + 1))
    mapfile -t labels < <(sed -n "$begin,$((begin + participants_per_job - 1))p" "$list")
    index=(--bids-database-dir "$work_dir/index")
    [ "$SLURM_ARRAY_TASK_ID" -ne 0 ] || index+=(--reset-database)
    nidecomp participant $options --work-dir "$work_dir" "${index[@]}" --nprocs 1 \
      --mem-mb "$SLURM_MEM_PER_NODE" --participant-label "${labels[@]}"
    ;;
  group)
    nidecomp group $options --work-dir "$work_dir" --nprocs "$SLURM_CPUS_PER_TASK" \
      --mem-mb "$SLURM_MEM_PER_NODE"
    ;;
esac
