# Third parties' networks (`imports`) in the place of those that pretrain, prune and finetune would make.
rule imported:
    input:
        lambda wildcards: imported_files(wildcards)[1:],
        file=lambda wildcards: imported_files(wildcards)[0],
        data=DATA,
    output:
        output=f"{CHECKPOINT}.safetensors",
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{checkpoint}}.log",
    wildcard_constraints:
        dataset=dataset_of_imported(STUDY),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        stage="sparrow.stages.imported:import_checkpoint",
        spec=lambda wildcards: job_specs.import_spec(STUDY, imported_path(wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Import {wildcards.objective} {wildcards.model} {wildcards.checkpoint}"
    script:
        "../scripts/job.py"
