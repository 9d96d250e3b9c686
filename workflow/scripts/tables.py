from sparrow.jobs.run import run

run(
    "sparrow.results.tables:write_tables",
    snakemake.log[0],
    snakemake.threads,
    summary=snakemake.input.summary,
    costs=snakemake.input.costs,
    ranking=snakemake.input.ranking,
    summary_html=snakemake.output.summary,
    costs_html=snakemake.output.costs,
    ranking_html=snakemake.output.ranking,
)
