rule finetune:
    input:
        parent=f"{CELL}/pruned.safetensors",
        data=DATA,
    output:
        multiext(f"{CELL}/finetuned", *TRAINED),
    params:
        spec=lambda wildcards: plan.finetune_slice(STUDY, cell_of(wildcards)),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{method}}-{{ratio}}/finetuned.log",
    threads: 1
    resources:
        mem_mb=3000,
        runtime=1440,
        gpu=1,
    conda:
        "../../envs/sparrow.yaml"
    message:
        "Fine-tune {wildcards.objective} {wildcards.model} pruned by {wildcards.method} at {wildcards.ratio}"
    script:
        "../scripts/finetune.py"
