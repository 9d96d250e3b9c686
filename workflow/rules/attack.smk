rule attack:
    input:
        network=f"{CHECKPOINT}.safetensors",
        data=DATA,
    output:
        multiext(f"{CHECKPOINT}/attacks/{{attack}}", ".csv", ".cost.json"),
    params:
        spec=lambda wildcards: plan.attack_slice(STUDY, wildcards.model, wildcards.attack, int(wildcards.seed)),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{checkpoint}}/attacks/{{attack}}.log",
    threads: 1
    resources:
        mem_mb=3000,
        runtime=720,
        gpu=1,
    conda:
        "../../envs/sparrow.yaml"
    message:
        "Attack {wildcards.objective} {wildcards.model} {wildcards.checkpoint} by {wildcards.attack}"
    script:
        "../scripts/attack.py"
