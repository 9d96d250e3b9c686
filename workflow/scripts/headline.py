from sparrow.jobs.run import run

run(
    "sparrow.results.headline:write_headline",
    snakemake.log[0],
    snakemake.threads,
    summary=snakemake.input.summary,
    headlines=snakemake.input.headlines,
    table=snakemake.output.table,
    table_html=snakemake.output.table_html,
    spec=snakemake.params.spec,
)
