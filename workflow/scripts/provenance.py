import os

from sparrow.jobs.run import run

run(
    "sparrow.results.provenance:write_provenance",
    snakemake.log[0],
    snakemake.threads,
    networks=list(snakemake.input.networks),
    root=os.environ["SPARROW_HOME"],
    table=snakemake.output.table,
    table_html=snakemake.output.table_html,
    surroundings=snakemake.output.environment,
    surroundings_html=snakemake.output.environment_html,
)
