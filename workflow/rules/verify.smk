rule verify:
    input:
        network=f"{CHECKPOINT}.safetensors",
        data=DATA,
        examples=examples_for,
    output:
        multiext(f"{CHECKPOINT}/verifiers/{{verifier}}", ".csv", ".cost.json"),
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
        spec=lambda wildcards: job_specs.verify_spec(STUDY, parent_of(wildcards), wildcards.verifier).model_dump(),
        script=script_digest("verify"),
    message:
        "Verify {wildcards.objective} {wildcards.model} {wildcards.checkpoint} by {wildcards.verifier}"
    script:
        "../scripts/verify.py"
