from sparrow.jobs.run import run

run(
    "sparrow.stages.finetune:finetune",
    snakemake.log[0],
    snakemake.threads,
    parent=snakemake.input.parent,
    data=snakemake.input.data,
    output=snakemake.output[0],
    curve=snakemake.output[1],
    cost=snakemake.output[2],
    spec=snakemake.params.spec,
)
