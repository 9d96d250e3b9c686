rule data:
    output:
        DATA,
    params:
        spec=lambda wildcards: plan.data_slice(STUDY, wildcards.dataset),
    log:
        f"{LOGS}/{{dataset}}/data.log",
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    conda:
        "../../envs/sparrow.yaml"
    message:
        "Prepare {wildcards.dataset}: load, split, store"
    script:
        "../scripts/data.py"
