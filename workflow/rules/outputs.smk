# Logits on test images: made where an analysis reads them, or the study has a section `outputs`.
rule outputs:
    input:
        network=f"{CHECKPOINT}{paths.NETWORK}",
        data=DATA,
    output:
        multiext(f"{RESULTS}/{paths.OUTPUTS_PATTERN}", output=paths.NETWORK, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.OUTPUTS_PATTERN)}",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        stage="sparrow.stages.outputs:write_outputs",
        spec=lambda wildcards: job_specs.outputs_spec(STUDY, wildcards.model).model_dump(),
        script=SCRIPT,
    message:
        "Write down the logits of {wildcards.objective} {wildcards.model} {wildcards.checkpoint}"
    script:
        "../scripts/job.py"
