# A report that is written of a study that has changed, or grown, since it was run shows it as it was, and says so.
class Outdated:
    """A sentence on the jobs that would run now, for the report's first page; empty if there are none. Known once it is written."""

    def __str__(self):
        jobs = [job.rule.name for job in workflow.dag.needrun_jobs() if job.output]
        if not jobs:
            return ""
        line = f"{len(jobs)} jobs of this study have not run as it is now: tables and figures show it as it was before"
        print(f"warning: {line}", file=sys.stderr)
        return line


if any(argument.split("=")[0] == "--report" for argument in sys.argv):
    config["outdated"] = Outdated()
    config["captions"] = figures.captions(STUDY)
