from sparrow.jobs.run import run

run(
    "sparrow.results.timings:write_timings",
    snakemake.log[0],
    snakemake.threads,
    summary=snakemake.input.summary,
    tables=list(snakemake.input.tables),
    output=snakemake.output[0],
    told=snakemake.params.told,
    specs=snakemake.params.specs,
)
