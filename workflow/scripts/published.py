from sparrow.jobs.run import run

run(
    "sparrow.results.published:write_published",
    snakemake.log[0],
    snakemake.threads,
    summary=snakemake.input.summary,
    figures=snakemake.input.figures,
    table=snakemake.output.table,
    table_html=snakemake.output.table_html,
    spec=snakemake.params.spec,
)
