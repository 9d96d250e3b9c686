from sparrow.jobs.run import run

run(
    "sparrow.stages.pretrain:pretrain",
    snakemake.log[0],
    snakemake.threads,
    data=snakemake.input.data,
    output=snakemake.output[0],
    curve=snakemake.output[1],
    cost=snakemake.output[2],
    spec=snakemake.params.spec,
)
