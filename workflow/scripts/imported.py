from sparrow.jobs.run import run

run(
    "sparrow.stages.imported:import_checkpoint",
    snakemake.log[0],
    snakemake.threads,
    file=snakemake.input.files[0],
    data=snakemake.input.data,
    output=snakemake.output[0],
    spec=snakemake.params.spec,
)
