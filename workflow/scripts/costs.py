from pathlib import Path

from sparrow.jobs.run import run

run(
    "sparrow.results.costs:collect_costs",
    snakemake.log[0],
    snakemake.threads,
    files=list(snakemake.input),
    output=snakemake.output[0],
    root=str(Path(snakemake.output[0]).parent),
)
