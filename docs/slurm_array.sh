#!/bin/bash
# NiDecomp on a SLURM cluster: one job per participant, then one job for the group.
#
# Set the variables below (or export them), then run on the login node:   bash slurm_array.sh
# If it is run again, jobs use the results in $work_dir and do not repeat finished work.
# See docs/clusters.md.

# ---- settings --------------------------------------------------------------------------------
bids_dir=${bids_dir:-/data/fmriprep}             # fMRIPrep's output folder
output_dir=${output_dir:-/data/networks}         # output folder
work_dir=${work_dir:-/scratch/$USER/nidecomp}    # visible to all nodes
image=${image-$HOME/nidecomp.sif}                # Apptainer image; with image=, $command is used
command=${command:-nidecomp}                     # without an image: path of nidecomp on all nodes
options=${options:---n-components 20}            # options of nidecomp, the same for all jobs
group_cores=${group_cores:-4}                    # cores of the group job
sbatch_options=${sbatch_options:-}               # for all jobs: --partition=… --account=…
participant_time=${participant_time:-02:00:00}
group_time=${group_time:-12:00:00}
jobs_at_once=${jobs_at_once:-100}                # limit of the job array
participants_per_job=${participants_per_job:-1}  # increase if the array exceeds MaxArraySize
# ----------------------------------------------------------------------------------------------

set -euo pipefail
for name in group_cores jobs_at_once participants_per_job; do
  if [[ ! ${!name} =~ ^[1-9][0-9]*$ ]]; then
    echo "$name=${!name}: it must be a whole number from 1 on." >&2
    exit 2
  fi
done
list=$work_dir/participants.txt
# Compiled loops are shared by all jobs; the image includes its own.
export NUMBA_CACHE_DIR=$work_dir/compiled

nidecomp() {
  local folders=("$bids_dir" "$output_dir")
  if [ -n "$image" ]; then
    # Content of annexed files is fetched to the dataset.
    local mode=ro
    [[ " $options " != *" --fetch "* ]] || mode=rw
    apptainer run --cleanenv --bind "$bids_dir:$bids_dir:$mode,$output_dir,$work_dir" "$image" \
      "${folders[@]}" "$@"
  else
    command "$command" "${folders[@]}" "$@"
  fi
}

# The variables contain several options: they have to be split into words.
# shellcheck disable=SC2086
case ${1:-submit} in
  submit)
    mkdir -p "$output_dir" "$work_dir/logs"
    # The participants and the memory needed are taken from the dry run.
    plan=$(nidecomp group $options --work-dir "$work_dir" --nprocs "$group_cores" --dry-run)
    sed -n 's/^sub-\([^_ ]*\)_[^ ]* *used .*/\1/p' <<<"$plan" | sort -u >"$list"
    megabytes() { sed -n "s/^$1: \([0-9,]*\) MB.*/\1/p" <<<"$plan" | tr -d ,; }
    run_mb=$(megabytes "Reduce step")
    peak_mb=$(megabytes "Peak memory")
    participants=$(wc -l <"$list")
    last=$(((participants - 1) / participants_per_job))
    # 20 % is added to the estimated memory.
    common=(--parsable $sbatch_options)
    one=("${common[@]}" --job-name=nidecomp "--output=$work_dir/logs/%x_%A_%a.txt"
      --cpus-per-task=1 --mem=$((run_mb * 6 / 5 + 100))M "--time=$participant_time")
    # The first job creates what all jobs share: the index, the group mask, the compiled loops.
    first=$(sbatch "${one[@]}" --array=0 "$0" participant)
    before=$first
    if [ "$last" -gt 0 ]; then
      before=$(sbatch "${one[@]}" --array="1-$last%$jobs_at_once" \
        --dependency="afterany:$first" "$0" participant)
    fi
    # afterany: the group job processes missing runs and reports runs that failed.
    group=$(sbatch "${common[@]}" --job-name=nidecomp-group "--output=$work_dir/logs/%x_%j.txt" \
      --cpus-per-task="$group_cores" --mem=$((peak_mb * 6 / 5 + 100))M --time="$group_time" \
      --dependency="afterany:$first:$before" "$0" group)
    echo "$participants participants: jobs $first and $before; group: job $group."
    echo "Memory: $run_mb MB per run, $peak_mb MB for the group job. Logs: $work_dir/logs."
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
