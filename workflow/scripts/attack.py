from sparrow.jobs.run import run

run(
    "sparrow.stages.attack:attack",
    snakemake.log[0],
    snakemake.threads,
    network=snakemake.input.network,
    data=snakemake.input.data,
    output=snakemake.output[0],
    cost=snakemake.output[1],
    spec=snakemake.params.spec,
    proofs=list(snakemake.input.proofs),
    examples=snakemake.output[2] if len(snakemake.output) > 2 else None,
)
