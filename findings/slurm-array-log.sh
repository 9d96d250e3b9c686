#!/usr/bin/env bash
# The log that Snakemake names of a failed task of a Slurm array is never there: snakemake-executor-plugin-slurm 2.8.0 has Slurm write another.
#
# Versions:  snakemake 9.27.1, snakemake-executor-plugin-slurm 2.8.0 (the newest on PyPI), Python 3.11.
# Input:     a workflow of two jobs of one rule, submitted as an array (`--slurm-array-jobs one`). Stand-ins for Slurm's commands accept
#            it, write the log where `sbatch --output` says, and report that both tasks failed.
# Expected:  the error names the file that Slurm wrote, as it does for jobs that are no array.
# Seen:      Slurm writes rule_one/7_1.log, the error names rule_one/1/7_1.log ("check log file(s) for error details"): with a folder of
#            the job's wildcards, which the array's --output has not. The same was seen of a real Slurm 22.05. Logs of tasks that
#            succeed are not removed either, since they are looked for there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

{
    "${PYTHON:-python3.11}" -m venv venv &&
    "venv/bin/pip" install --quiet --disable-pip-version-check snakemake==9.27.1 snakemake-executor-plugin-slurm==2.8.0 \
        snakemake-executor-plugin-slurm-jobstep==0.6.1
} >&2 || exit 2

mkdir bin
cat > bin/sbatch <<'SH'
#!/bin/sh
# Slurm puts the array's number for %A and the task's for %a.
for task in 1 2; do
    file=$(echo "$*" | sed -n "s/.*--output '\{0,1\}\([^' ]*\).*/\1/p" | sed "s/%A/7/; s/%a/$task/")
    echo failed > "$file"
done
echo 7
SH
printf '#!/bin/sh\nprintf "7_1|FAILED\\n7_2|FAILED\\n"\n' > bin/squeue
printf '#!/bin/sh\necho "main*"\n' > bin/sinfo
printf '#!/bin/sh\necho "MaxArraySize = 1001"\necho "MinJobAge = 300 sec"\n' > bin/scontrol
chmod +x bin/*
cat > Snakefile <<'SMK'
rule all:
    input: "0.txt", "1.txt"
rule one:
    output: "{number}.txt"
    resources: mem_mb=100, runtime=1
    shell: "touch {output}"
SMK

PATH="$folder/bin:$PATH" HOME="$folder" venv/bin/snakemake --executor slurm --jobs 4 --slurm-array-jobs one --slurm-logdir logs \
    --slurm-status-command squeue --slurm-init-seconds-before-status-checks 1 --default-resources slurm_partition=main \
    > said.txt 2>&1 || true
grep -q "SLURM-job '7_1' failed" said.txt || { cat said.txt; exit 2; }
written=$(find logs -name '7_*.log' | sort)
named=$(grep -o 'logs/rule_one/[^ ]*7_[12]\.log' said.txt | sort -u)
echo "written:" $written
echo "named:  " $named
[ "$(wc -w <<<"$written")" -eq 2 ] && [ "$(wc -w <<<"$named")" -eq 2 ] && [ -z "$(ls $named 2>/dev/null)" ]
