rule finetune:
    input:
        parent=f"{CELL}/pruned.safetensors",
        data=DATA,
    output:
        multiext(f"{CELL}/finetuned", **TRAINED),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{method}}-{{ratio}}/finetuned.log",
    wildcard_constraints:
        dataset=dataset_of_trained(STUDY),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (4000 + extra_memory(wildcards.dataset)),
        runtime=1440,
        gpu=1,
    params:
        stage="sparrow.stages.finetune:finetune",
        spec=lambda wildcards: job_specs.finetune_spec(STUDY, cell_of(wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Fine-tune {wildcards.objective} {wildcards.model} pruned by {wildcards.method} at {wildcards.ratio}"
    script:
        "../scripts/job.py"
