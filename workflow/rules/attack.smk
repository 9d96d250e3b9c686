rule attack:
    input:
        network=f"{CHECKPOINT}{paths.NETWORK}",
        data=DATA,
        proofs=proofs_for,
        transferred=transferred_for,
        dense=dense_for,
    output:
        multiext(f"{RESULTS}/{paths.ATTACK_PATTERN}", output=paths.TABLE, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.ATTACK_PATTERN)}",
    wildcard_constraints:
        attack=one_of(ATTACKS),
        checkpoint=checkpoint_without_examples(STUDY),
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
        multiext(f"{RESULTS}/{paths.ATTACK_PATTERN}", output=paths.TABLE, cost=paths.COST, examples=paths.EXAMPLES),
    wildcard_constraints:
        attack=one_of(ATTACKS),
        checkpoint=checkpoint_with_examples(STUDY),
