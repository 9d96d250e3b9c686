# With --keep-incomplete, what a failed submission of several jobs had finished is kept. But Snakemake then records all of its
# jobs as finished, also those that had not begun: an earlier run's file would count as made under the present config.
UNFINISHED = {}


def remember_what_is_to_be_made():
    """The jobs of this run whose files are there already, and of when these are."""
    for job in workflow.dag.needrun_jobs():
        there = {file: os.stat(file).st_mtime_ns for file in job.output if os.path.exists(file)}
        if there:
            UNFINISHED[job] = there


def mark_what_was_not_made():
    """The next run takes such a job for interrupted, and so makes its files."""
    for job, before in UNFINISHED.items():
        if any(os.path.exists(file) and os.stat(file).st_mtime_ns == time for file, time in before.items()):
            workflow.persistence.started(job)
