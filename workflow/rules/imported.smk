# Third parties' networks (`imports`) in the place of those that pretrain, prune and finetune would make.
rule imported:
    input:
        files=imported_files,
        data=DATA,
    output:
        f"{CHECKPOINT}.safetensors",
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{checkpoint}}.log",
    wildcard_constraints:
        dataset=f"(?={IMPORTED}){LABEL}",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        spec=lambda wildcards: job_specs.import_spec(STUDY, imported_path(wildcards)).model_dump(),
        script=script_digest("imported"),
    message:
        "Import {wildcards.objective} {wildcards.model} {wildcards.checkpoint}"
    script:
        "../scripts/imported.py"
