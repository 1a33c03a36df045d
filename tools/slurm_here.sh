#!/usr/bin/env bash
# A real SLURM on this machine for checks: one controller, several nodes that are all this machine.
# usage: tools/slurm_here.sh start|stop FOLDER [NODES]     then: export SLURM_CONF=FOLDER/slurm.conf
# Needs root and Debian's packages slurm-wlm and munge, which it installs where it can.
set -euo pipefail
what=${1:?start or stop} folder=${2:?a folder} nodes=${3:-2}
export SLURM_CONF=$folder/slurm.conf

stop() {
  scancel --user="$(id -un)" 2>/dev/null || true
  # Only what was started here: its numbers are in the folder.
  for file in "$folder"/pid/*.pid; do
    [ ! -f "$file" ] || kill "$(cat "$file")" 2>/dev/null || true
  done
}

start_munge() {
  munge -n >/dev/null 2>&1 && return
  install -d -o munge -g munge -m 755 /run/munge
  if [ ! -f /etc/munge/munge.key ]; then
    (umask 077 && head -c 128 /dev/urandom >/etc/munge/munge.key)
    chown munge: /etc/munge/munge.key
  fi
  # It stays: other checks may use it, and it does nothing by itself.
  setpriv --reuid=munge --regid=munge --clear-groups /usr/sbin/munged
}

write_configuration() {
  local host memory_mb
  host=$(hostname -s)
  memory_mb=$(awk -v nodes="$nodes" '/MemTotal/ {print int($2 / 1024 * 0.9 / nodes)}' /proc/meminfo)
  mkdir -p "$folder"/{state,spool,log,pid}
  cat >"$SLURM_CONF" <<END
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/pid/slurmctld.pid
SlurmdPidFile=$folder/pid/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/log/jobs.txt
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=5
DefMemPerCPU=512
PropagateResourceLimits=NONE
END
  for number in $(seq "$nodes"); do
    echo "NodeName=n$number NodeAddr=127.0.0.1 NodeHostname=$host Port=$((17000 + number)) CPUs=$(nproc) RealMemory=$memory_mb"
  done >>"$SLURM_CONF"
  echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP" >>"$SLURM_CONF"
}

start() {
  command -v slurmctld >/dev/null ||
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null
  start_munge
  write_configuration
  slurmctld -c
  for number in $(seq "$nodes"); do
    mkdir -p "$folder/spool/n$number"
    slurmd -N "n$number"
  done
  for _ in $(seq 60); do
    [ "$(sinfo --noheader --Node --states=idle --format=%N | wc -l)" != "$nodes" ] || return 0
    sleep 0.5
  done
  sinfo
  echo "SLURM's nodes are not ready; see $folder/log"
  return 1
}

"$what"
