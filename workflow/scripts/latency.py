from sparrow.jobs.run import run

run(
    "sparrow.stages.latency:latency",
    snakemake.log[0],
    snakemake.threads,
    dense=snakemake.input.dense,
    pruned=list(snakemake.input.pruned),
    compact=list(snakemake.input.compact),
    data=snakemake.input.data,
    output=snakemake.output[0],
    cost=snakemake.output[1],
    spec=snakemake.params.spec,
)
