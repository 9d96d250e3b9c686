from sparrow.jobs.run import run

name = snakemake.wildcards.figure
source = list(snakemake.input) if name in ("curves", "recall", "traces") else snakemake.input[0]
run(
    f"sparrow.results.figures.{name}:draw_{name}",
    snakemake.log[0],
    snakemake.threads,
    source=source,
    svg=snakemake.output[0],
    png=snakemake.output[1],
    spec=snakemake.params.spec,
)
