rule compact:
    input:
        network=f"{CHECKPOINT}.safetensors",
        data=DATA,
    output:
        multiext(f"{CHECKPOINT}/compact", output=".safetensors", cost=".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{checkpoint}}/compact.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        stage="sparrow.stages.compact:compact",
        spec=lambda wildcards: job_specs.compact_spec(STUDY, wildcards.model).model_dump(),
        script=SCRIPT,
    message:
        "Cut the pruned filters out of {wildcards.objective} {wildcards.model} {wildcards.checkpoint}"
    script:
        "../scripts/job.py"
