from sparrow.jobs.run import run

run(
    "sparrow.stages.analyse_tables:analyse_tables",
    snakemake.log[0],
    snakemake.threads,
    networks=list(snakemake.input.networks),
    tables=list(snakemake.input.tables),
    output=snakemake.output[0],
    cost=snakemake.output[1],
    spec=snakemake.params.spec,
)
