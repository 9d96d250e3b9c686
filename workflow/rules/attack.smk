rule attack:
    input:
        network=f"{CHECKPOINT}.safetensors",
        data=DATA,
        proofs=proofs_for,
    output:
        multiext(f"{CHECKPOINT}/attacks/{{attack}}", output=".csv", cost=".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{checkpoint}}/attacks/{{attack}}.log",
    wildcard_constraints:
        attack=one_of(set(ATTACKS) - WITH_EXAMPLES),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=720,
        gpu=1,
    params:
        stage="sparrow.stages.attack:attack",
        spec=lambda wildcards: job_specs.attack_spec(STUDY, parent_of(wildcards), wildcards.attack).model_dump(),
        script=SCRIPT,
    message:
        "Attack {wildcards.objective} {wildcards.model} {wildcards.checkpoint} by {wildcards.attack}"
    script:
        "../scripts/job.py"


# The same, for attacks whose adversarial examples are kept.
use rule attack as attack_and_keep with:
    output:
        multiext(f"{CHECKPOINT}/attacks/{{attack}}", output=".csv", cost=".cost.json", examples=".examples.safetensors"),
    wildcard_constraints:
        attack=one_of(WITH_EXAMPLES),
