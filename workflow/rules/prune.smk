rule prune:
    input:
        parent=f"{PARENT}/dense.safetensors",
        data=DATA,
    output:
        multiext(f"{CELL}/pruned", *TRAINED),
    params:
        spec=lambda wildcards: plan.prune_slice(STUDY, cell_of(wildcards)),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{method}}-{{ratio}}/pruned.log",
    threads: 1
    resources:
        mem_mb=3000,
        runtime=720,
        gpu=1,
    conda:
        "../../envs/sparrow.yaml"
    message:
        "Prune {wildcards.objective} {wildcards.model} by {wildcards.method} at {wildcards.ratio}"
    script:
        "../scripts/prune.py"
