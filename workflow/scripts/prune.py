from sparrow.jobs.run import run

run(
    "sparrow.stages.prune:prune",
    snakemake.log[0],
    snakemake.threads,
    parent=snakemake.input.parent,
    data=snakemake.input.data,
    output=snakemake.output[0],
    curve=snakemake.output[1],
    trace=snakemake.output[2],
    cost=snakemake.output[3],
    spec=snakemake.params.spec,
)
