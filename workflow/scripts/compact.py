from sparrow.jobs.run import run

run(
    "sparrow.stages.compact:compact",
    snakemake.log[0],
    snakemake.threads,
    network=snakemake.input.network,
    data=snakemake.input.data,
    output=snakemake.output[0],
    cost=snakemake.output[1],
    spec=snakemake.params.spec,
)
