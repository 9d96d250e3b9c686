rule verify:
    input:
        network=f"{CHECKPOINT}.safetensors",
        data=DATA,
        examples=examples_for,
    output:
        multiext(f"{CHECKPOINT}/verifiers/{{verifier}}", output=".csv", cost=".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{checkpoint}}/verifiers/{{verifier}}.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=720,
        gpu=1,
    params:
        stage="sparrow.stages.verify:verify",
        spec=lambda wildcards: job_specs.verify_spec(STUDY, parent_of(wildcards), wildcards.verifier).model_dump(),
        script=SCRIPT,
    message:
        "Verify {wildcards.objective} {wildcards.model} {wildcards.checkpoint} by {wildcards.verifier}"
    script:
        "../scripts/job.py"
