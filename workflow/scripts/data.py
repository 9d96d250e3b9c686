from sparrow.jobs.run import run

run(
    "sparrow.stages.data:prepare_data",
    snakemake.log[0],
    snakemake.threads,
    output=snakemake.output[0],
    cost=snakemake.output[1],
    spec=snakemake.params.spec,
)
