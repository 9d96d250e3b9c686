rule compact:
    input:
        network=f"{CHECKPOINT}.safetensors",
        data=DATA,
    output:
        multiext(f"{CHECKPOINT}/compact", ".safetensors", ".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{checkpoint}}/compact.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        spec=lambda wildcards: job_specs.compact_spec(STUDY, wildcards.model).model_dump(),
        script=script_digest("compact"),
    message:
        "Cut the pruned filters out of {wildcards.objective} {wildcards.model} {wildcards.checkpoint}"
    script:
        "../scripts/compact.py"
