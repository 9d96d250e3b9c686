from sparrow.jobs.run import run

run(
    "sparrow.stages.analyse:analyse",
    snakemake.log[0],
    snakemake.threads,
    networks=list(snakemake.input.networks),
    dense=list(snakemake.input.dense),
    compact=list(snakemake.input.compact),
    data=snakemake.input.data,
    output=snakemake.output[0],
    cost=snakemake.output[1],
    spec=snakemake.params.spec,
)
