from sparrow.jobs.run import run

name = snakemake.wildcards.figure
several = name in ("curves", "recall", "traces") or len(snakemake.input) > 1
source = list(snakemake.input) if several else snakemake.input[0]
run(
    snakemake.params.function,
    snakemake.log[0],
    snakemake.threads,
    source=source,
    svg=snakemake.output[0],
    png=snakemake.output[1],
    spec=snakemake.params.spec,
)
