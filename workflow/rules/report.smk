rule aggregate:
    input:
        all_tables,
        networks=all_networks,
        compact=all_compact,
        analysed=all_analysed,
    output:
        report(
            f"{RESULTS}/outcomes.csv",
            caption="../../reports/captions/outcomes.rst",
            category="Tables",
            labels={"table": "outcomes (CSV)"},
        ),
        f"{RESULTS}/layers.csv",
        report(
            f"{RESULTS}/recall.csv",
            caption="../../reports/captions/recall.rst",
            category="Tables",
            labels={"table": "recall (CSV)"},
        ),
        report(
            f"{RESULTS}/intensification.csv",
            caption="../../reports/captions/intensification.rst",
            category="Tables",
            labels={"table": "intensification (CSV)"},
        ),
        report(
            f"{RESULTS}/ranking.csv",
            caption="../../reports/captions/ranking.rst",
            category="Tables",
            labels={"table": "ranking (CSV)"},
        ),
        report(
            f"{RESULTS}/security.csv",
            caption="../../reports/captions/security.rst",
            category="Tables",
            labels={"table": "security curves (CSV)"},
        ),
        report(
            f"{RESULTS}/decisions.csv",
            caption="../../reports/captions/decisions.rst",
            category="Tables",
            labels={"table": "decisions (CSV)"},
        ),
        summary=report(
            f"{RESULTS}/summary.csv",
            caption="../../reports/captions/summary.rst",
            category="Tables",
            labels={"table": "summary (CSV)"},
        ),
    log:
        f"{LOGS}/aggregate.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        stage="sparrow.results.consistency:aggregate_consistent",
        spec=lambda wildcards: job_specs.aggregate_spec(STUDY).model_dump(),
        script=SCRIPT,
        study=lambda wildcards: expected.expected(STUDY).model_dump(),
    message:
        "Aggregate all outcome tables"
    script:
        "../scripts/job.py"


rule costs:
    input:
        files=all_costs,
    output:
        output=report(
            f"{RESULTS}/costs.csv",
            caption="../../reports/captions/costs.rst",
            category="Tables",
            labels={"table": "costs (CSV)"},
        ),
    log:
        f"{LOGS}/costs.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        stage="sparrow.results.costs:collect_costs",
        code=lambda wildcards: code_digest("sparrow.results.costs"),
        script=SCRIPT,
    message:
        "Collect what every job cost"
    script:
        "../scripts/job.py"


rule tables:
    input:
        summary=f"{RESULTS}/summary.csv",
        costs=f"{RESULTS}/costs.csv",
        ranking=f"{RESULTS}/ranking.csv",
    output:
        ranking_html=report(
            f"{RESULTS}/tables/ranking.html",
            caption="../../reports/captions/ranking.rst",
            category="Tables",
            labels={"table": "ranking"},
        ),
        summary_html=report(
            f"{RESULTS}/tables/summary.html",
            caption="../../reports/captions/summary.rst",
            category="Tables",
            labels={"table": "summary"},
        ),
        costs_html=report(
            f"{RESULTS}/tables/costs.html",
            caption="../../reports/captions/costs.rst",
            category="Tables",
            labels={"table": "costs"},
        ),
    log:
        f"{LOGS}/tables.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        stage="sparrow.results.tables:write_tables",
        code=lambda wildcards: code_digest("sparrow.results.tables"),
        script=SCRIPT,
    message:
        "Lay out the tables"
    script:
        "../scripts/job.py"


# Where each row of the summary comes from, and what the report is made in.
rule provenance:
    input:
        f"{RESULTS}/summary.csv",
        networks=all_networks,
    output:
        table=report(
            f"{RESULTS}/provenance.csv",
            caption="../../reports/captions/provenance.rst",
            category="Appendix",
            labels={"table": "provenance (CSV)"},
        ),
        table_html=report(
            f"{RESULTS}/tables/provenance.html",
            caption="../../reports/captions/provenance.rst",
            category="Appendix",
            labels={"table": "provenance"},
        ),
        surroundings=f"{RESULTS}/environment.json",
        surroundings_html=report(
            f"{RESULTS}/tables/environment.html",
            caption="../../reports/captions/environment.rst",
            category="Appendix",
            labels={"table": "environment"},
        ),
    log:
        f"{LOGS}/provenance.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        stage="sparrow.results.provenance:write_provenance",
        code=lambda wildcards: code_digest("sparrow.results.provenance"),
        script=SCRIPT,
    message:
        "Lay out the appendix: provenance and environment"
    script:
        "../scripts/job.py"


# The study beside what others have published, if it is configured. Their figures come with the code, not with the results.
rule published:
    input:
        summary=f"{RESULTS}/summary.csv",
        figures=local(str(HERE / "reports/published.csv")),
    output:
        table=report(
            f"{RESULTS}/published.csv",
            caption="../../reports/captions/published.rst",
            category="Tables",
            labels={"table": "published against measured (CSV)"},
        ),
        table_html=report(
            f"{RESULTS}/tables/published.html",
            caption="../../reports/captions/published.rst",
            category="Tables",
            labels={"table": "published against measured"},
        ),
    log:
        f"{LOGS}/published.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        stage="sparrow.results.published:write_published",
        spec=lambda wildcards: comparison.published_spec(STUDY).model_dump(),
        script=SCRIPT,
    message:
        "Set the study beside published figures"
    script:
        "../scripts/job.py"


rule headline:
    input:
        summary=f"{RESULTS}/summary.csv",
        headlines=local(str(HERE / "reports/published-headlines.csv")),
    output:
        table=report(
            f"{RESULTS}/headline.csv",
            caption="../../reports/captions/headline.rst",
            category="Tables",
            labels={"table": "headline (CSV)"},
        ),
        table_html=report(
            f"{RESULTS}/tables/headline.html",
            caption="../../reports/captions/headline.rst",
            category="Tables",
            labels={"table": "headline"},
        ),
    log:
        f"{LOGS}/headline.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        stage="sparrow.results.headline:write_headline",
        spec=lambda wildcards: comparison.headline_spec(STUDY).model_dump(),
        script=SCRIPT,
    message:
        "Set the study beside a published average"
    script:
        "../scripts/job.py"


rule figure:
    input:
        source=lambda wildcards: figures.sources(*figure_of(wildcards)),
    output:
        svg=report(
            f"{RESULTS}/figures/{{dataset}}.{{model}}.{{figure}}.svg",
            caption="../../reports/captions/figure.rst",
            category="Figures",
            subcategory="{dataset}, {model}",
            labels={"figure": "{figure}"},
        ),
        png=f"{RESULTS}/figures/{{dataset}}.{{model}}.{{figure}}.png",
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{figure}}.log",
    wildcard_constraints:
        figure=one_of(figures.drawn(STUDY)),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        stage=lambda wildcards: figures.stage(STUDY, wildcards.figure),
        spec=lambda wildcards: figures.spec(*figure_of(wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Draw {wildcards.figure} of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/job.py"
