from sparrow.jobs.run import run

run(
    "sparrow.results.latency:write_latencies",
    snakemake.log[0],
    snakemake.threads,
    summary=snakemake.input.summary,
    tables=list(snakemake.input.tables),
    output=snakemake.output[0],
    specs=snakemake.params.specs,
)
