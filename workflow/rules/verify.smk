rule verify:
    input:
        network=f"{CHECKPOINT}{paths.NETWORK}",
        data=DATA,
        examples=examples_for,
    output:
        multiext(f"{RESULTS}/{paths.VERIFIER_PATTERN}", output=paths.TABLE, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.VERIFIER_PATTERN)}",
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
