from sparrow.jobs import run

run(
    "sparrow.results.aggregate:aggregate",
    snakemake.log[0],
    snakemake.threads,
    networks=list(snakemake.input.networks),
    outcomes=snakemake.output.outcomes,
    summary=snakemake.output.summary,
    layers=snakemake.output.layers,
    spec=snakemake.params.spec,
)
