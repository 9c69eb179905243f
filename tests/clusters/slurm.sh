#!/bin/bash
# A Slurm cluster of two nodes on this machine, to try sweeps on by hand; as root, on Debian, after
#     apt-get install slurm-wlm munge
#
#     tests/clusters/slurm.sh start FOLDER     start it; its files and logs are in FOLDER
#     eval "$(tests/clusters/slurm.sh env FOLDER)"     have sbatch, squeue and the like find it
#     tests/clusters/slurm.sh node FOLDER one  start a node (one or two) that was killed
#     tests/clusters/slurm.sh controller FOLDER     start the controller again
#     tests/clusters/slurm.sh stop FOLDER      stop all of it
#
# No test of the suite needs it.
set -euo pipefail

does=${1:?start, env, node, controller or stop}
folder=$(realpath -m "${2:?a folder}")
export SLURM_CONF=$folder/slurm.conf
socket=$folder/munge.socket

configure() {
    mkdir -p "$folder"/{state,spool_one,spool_two,munge}
    chmod 700 "$folder/munge"
    [ -f "$folder/munge/key" ] || (umask 077 && head -c 1024 /dev/urandom >"$folder/munge/key")
    # Each node claims half of a machine's cores, and at least one; tasks are bound to none.
    cat >"$SLURM_CONF" <<CONF
ClusterName=here
SlurmctldHost=$(hostname)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$socket
CryptoType=crypto/munge
SlurmctldPort=17817
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdPidFile=$folder/slurmd_%n.pid
SlurmdLogFile=$folder/slurmd_%n.log
SlurmdSpoolDir=$folder/spool_%n
StateSaveLocation=$folder/state
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=1,sched_interval=2
SchedulerType=sched/backfill
JobRequeue=1
ReturnToService=2
SlurmdTimeout=10
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=one NodeHostname=$(hostname) Port=17818 CPUs=1 RealMemory=1000
NodeName=two NodeHostname=$(hostname) Port=17819 CPUs=1 RealMemory=1000
PartitionName=main Nodes=one,two Default=YES MaxTime=60 State=UP PriorityTier=1
PartitionName=urgent Nodes=one,two MaxTime=60 State=UP PriorityTier=9
CONF
}

node() {
    slurmd -N "$1"
}

stop() {
    local file
    for file in "$folder"/slurmd_{one,two}.pid "$folder"/{slurmctld,munged}.pid; do
        [ -f "$file" ] && kill "$(cat "$file")" 2>/dev/null && rm -f "$file" || true
    done
}

case $does in
start)
    configure
    munged --key-file="$folder/munge/key" --socket="$socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" --force 2>/dev/null
    slurmctld
    node one
    node two
    for _ in $(seq 30); do
        [ "$(sinfo -h -t idle -o %D)" = 2 ] && exec sinfo
        sleep 1
    done
    sinfo
    exit 1
    ;;
env) echo "export SLURM_CONF='$SLURM_CONF'" ;;
node) node "${3:?one or two}" ;;
controller) slurmctld ;;
stop) stop ;;
*) echo "$does: start, env, node, controller or stop" >&2; exit 2 ;;
esac
