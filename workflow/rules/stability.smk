rule stability:
    input:
        network=f"{CHECKPOINT}.safetensors",
        data=DATA,
    output:
        multiext(f"{CHECKPOINT}/stability", output=".csv", cost=".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{checkpoint}}/stability.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        stage="sparrow.stages.stability:stability",
        spec=lambda wildcards: job_specs.stability_spec(STUDY, parent_of(wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Count stable ReLUs of {wildcards.objective} {wildcards.model} {wildcards.checkpoint}"
    script:
        "../scripts/job.py"
