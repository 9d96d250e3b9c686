#!/usr/bin/env bash
# A Slurm cluster of one node and two stand-in GPUs, for as long as a command runs:
#
#   tests/slurm/cluster.sh COMMAND...
#
# All of it lives in a temporary folder, on ports and with a munge daemon of its own. The command finds the cluster
# through SLURM_CONF, and the folder through SPARROW_SLURM.
set -euo pipefail

refuse() {
    echo "slurm-test: $*" >&2
    exit 1
}

[ $# -gt 0 ] || refuse "say what to run: tests/slurm/cluster.sh COMMAND..."
[ -z "${SLURM_CONF:-}" ] || refuse "SLURM_CONF is set ($SLURM_CONF): this machine belongs to a cluster, and is left alone"
! timeout 10 sinfo >/dev/null 2>&1 || refuse "sinfo answers: this machine belongs to a cluster, and is left alone"
for file in /etc/slurm/slurm.conf /etc/slurm-llnl/slurm.conf; do
    [ ! -e "$file" ] || refuse "$file exists: this machine belongs to a cluster, and is left alone"
done
running() {
    ps -C "$1" -o stat= | grep -qv '^Z'
}
for daemon in slurmctld slurmd; do
    ! running "$daemon" || refuse "$daemon is running already: this machine belongs to a cluster, and is left alone"
done

export PATH="$PATH:/usr/sbin:/sbin"
if ! command -v slurmctld slurmd munged sbatch >/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || refuse "needs Slurm and munge (Debian: apt-get install slurm-wlm munge)"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends slurm-wlm munge >/dev/null
fi

folder=$(mktemp -d -t sparrow-slurm-XXXXXX)
# From here on, no command of Slurm may find another cluster than this one.
export SLURM_CONF="$folder/slurm.conf" SPARROW_SLURM="$folder"
chmod 755 "$folder"
mkdir -m 755 "$folder/munge" "$folder/state" "$folder/spool" "$folder/bin"

stop() {
    trap '' INT TERM
    scancel --quiet --partition=main 2>/dev/null || true
    for daemon in slurmd slurmctld munged; do
        [ -s "$folder/$daemon.pid" ] || continue
        read -r pid <"$folder/$daemon.pid"
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 50); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.2
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
    # A Snakemake that was told to end at a bad moment waits for ever.
    for process in /proc/[0-9]*; do
        if [ "${process#/proc/}" != $$ ] && grep -qsz "^SPARROW_SLURM=$folder\$" "$process/environ"; then
            kill -KILL "${process#/proc/}" 2>/dev/null || true
        fi
    done
    rm -rf "$folder"
}
trap stop EXIT

user=$(id -un)
host=$(hostname -s)
cores=$(nproc)
memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
# Any two numbered character devices do: nobody opens them.
devices='/dev/tty[0-1]'
if ! [ -c /dev/tty0 ] || ! [ -c /dev/tty1 ]; then
    devices="$folder/gpu[0-1]"
    mknod "$folder/gpu0" c 1 3 && mknod "$folder/gpu1" c 1 3 || refuse "no device files to stand in for GPUs"
fi
cat >"$folder/slurm.conf" <<CONF
ClusterName=sparrow
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
# What is requeued waits until its old credential has expired.
AuthInfo=socket=$folder/munge/socket,cred_expire=5
CredType=cred/munge
SlurmctldPort=26817
SlurmdPort=26818
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=5
PriorityType=priority/basic
ReturnToService=2
GresTypes=gpu
# A job over its limit ends at once, and one that ignores SIGTERM ten seconds later.
OverTimeLimit=0
KillWait=10
InactiveLimit=0
MinJobAge=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
echo "Name=gpu File=$devices" >"$folder/gres.conf"
echo "CgroupPlugin=cgroup/v1" >"$folder/cgroup.conf"
# Snakemake's plugin takes SLURM_CONF away from the `srun` inside a job, where a cluster has /etc/slurm instead.
cat >"$folder/bin/srun" <<SRUN
#!/bin/sh
SLURM_CONF=$folder/slurm.conf exec $(command -v srun) "\$@"
SRUN
chmod +x "$folder/bin/srun"
export PATH="$folder/bin:$PATH"

# Whoever reads the output of this script waits for its end, not for that of the daemons.
(umask 077 && head -c 1024 /dev/urandom >"$folder/munge/key")
munged --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" </dev/null >/dev/null 2>"$folder/munged.err" \
    || refuse "munged does not start: $(cat "$folder/munged.err")"
for daemon in slurmctld slurmd; do
    "$daemon" </dev/null >"$folder/$daemon.out" 2>&1 || refuse "$daemon does not start: $(tail -3 "$folder/$daemon.out" "$folder/$daemon.log")"
done
for _ in $(seq 30); do
    case $(sinfo --noheader --format=%T 2>/dev/null) in idle) ready=yes; break ;; esac
    sleep 1
done
[ -n "${ready:-}" ] || refuse "the node does not come up: $(tail -3 "$folder/slurmctld.log" "$folder/slurmd.log")"

# In a process group of its own (-m), the command can be interrupted as a whole, and may put its house in order.
set -m
"$@" &
child=$!
set +m
trap 'kill -INT -- "-$child" 2>/dev/null || true' INT TERM
while :; do
    wait "$child" && status=0 || status=$?
    kill -0 "$child" 2>/dev/null || break
done
exit "$status"
