import os

from sparrow.jobs.run import run

run(
    "sparrow.results.consistency:aggregate_consistent",
    snakemake.log[0],
    snakemake.threads,
    networks=list(snakemake.input.networks),
    compact=list(snakemake.input.compact),
    analysed=list(snakemake.input.analysed),
    folder=os.path.dirname(snakemake.output.summary),
    spec=snakemake.params.spec,
    study=snakemake.params.study,
)
