rule prune:
    input:
        parent=f"{PARENT}/dense.safetensors",
        data=DATA,
    output:
        multiext(f"{CELL}/pruned", output=".safetensors", curve=".curve.csv", trace=".trace.csv", cost=".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{method}}-{{ratio}}/pruned.log",
    wildcard_constraints:
        dataset=dataset_of_trained(STUDY),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (4000 + extra_memory(wildcards.dataset)),
        runtime=720,
        gpu=1,
    params:
        stage="sparrow.stages.prune:prune",
        spec=lambda wildcards: job_specs.prune_spec(STUDY, cell_of(wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Prune {wildcards.objective} {wildcards.model} by {wildcards.method} at {wildcards.ratio}"
    script:
        "../scripts/job.py"
