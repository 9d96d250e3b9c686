rule aggregate:
    input:
        networks=all_networks,
        tables=all_tables,
        compact=all_compact,
        analysed=all_analysed,
    output:
        outcomes=report(
            f"{RESULTS}/outcomes.csv",
            caption="../../reports/captions/outcomes.rst",
            category="Tables",
            labels={"table": "outcomes (CSV)"},
        ),
        summary=report(
            f"{RESULTS}/summary.csv",
            caption="../../reports/captions/summary.rst",
            category="Tables",
            labels={"table": "summary (CSV)"},
        ),
        layers=f"{RESULTS}/layers.csv",
        recall=report(
            f"{RESULTS}/recall.csv",
            caption="../../reports/captions/recall.rst",
            category="Tables",
            labels={"table": "recall (CSV)"},
        ),
        intensification=report(
            f"{RESULTS}/intensification.csv",
            caption="../../reports/captions/intensification.rst",
            category="Tables",
            labels={"table": "intensification (CSV)"},
        ),
        ranking=report(
            f"{RESULTS}/ranking.csv",
            caption="../../reports/captions/ranking.rst",
            category="Tables",
            labels={"table": "ranking (CSV)"},
        ),
        security=report(
            f"{RESULTS}/security.csv",
            caption="../../reports/captions/security.rst",
            category="Tables",
            labels={"table": "security curves (CSV)"},
        ),
        decisions=report(
            f"{RESULTS}/decisions.csv",
            caption="../../reports/captions/decisions.rst",
            category="Tables",
            labels={"table": "decisions (CSV)"},
        ),
        analyses=[
            report(
                f"{RESULTS}/{name}",
                caption="../../reports/captions/analysis.rst",
                category="Tables",
                labels={"table": f"{name.removesuffix('.csv')} (CSV)"},
            )
            for name in ANALYSED
        ],
    log:
        f"{LOGS}/aggregate.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        spec=lambda wildcards: job_specs.aggregate_spec(STUDY),
        script=script_digest("aggregate"),
        study=lambda wildcards: expected.expected(STUDY),
    message:
        "Aggregate all outcome tables"
    script:
        "../scripts/aggregate.py"


rule costs:
    input:
        all_costs,
    output:
        report(
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
        code=lambda wildcards: code_digest("sparrow.results.costs"),
        script=script_digest("costs"),
    message:
        "Collect what every job cost"
    script:
        "../scripts/costs.py"


rule tables:
    input:
        summary=f"{RESULTS}/summary.csv",
        costs=f"{RESULTS}/costs.csv",
        ranking=f"{RESULTS}/ranking.csv",
    output:
        ranking=report(
            f"{RESULTS}/tables/ranking.html",
            caption="../../reports/captions/ranking.rst",
            category="Tables",
            labels={"table": "ranking"},
        ),
        summary=report(
            f"{RESULTS}/tables/summary.html",
            caption="../../reports/captions/summary.rst",
            category="Tables",
            labels={"table": "summary"},
        ),
        costs=report(
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
        code=lambda wildcards: code_digest("sparrow.results.tables"),
        script=script_digest("tables"),
    message:
        "Lay out the tables"
    script:
        "../scripts/tables.py"


# Where each row of the summary comes from, and what the report is made in.
rule provenance:
    input:
        networks=all_networks,
        summary=f"{RESULTS}/summary.csv",
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
        environment=f"{RESULTS}/environment.json",
        environment_html=report(
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
        code=lambda wildcards: code_digest("sparrow.results.provenance"),
        script=script_digest("provenance"),
    message:
        "Lay out the appendix: provenance and environment"
    script:
        "../scripts/provenance.py"


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
        spec=lambda wildcards: comparison.published_spec(STUDY),
        script=script_digest("published"),
    message:
        "Set the study beside published figures"
    script:
        "../scripts/published.py"


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
        spec=lambda wildcards: comparison.headline_spec(STUDY),
        script=script_digest("headline"),
    message:
        "Set the study beside a published average"
    script:
        "../scripts/headline.py"


rule figure:
    input:
        figure_input,
    output:
        report(
            f"{RESULTS}/figures/{{dataset}}.{{model}}.{{figure}}.svg",
            caption="../../reports/captions/figure.rst",
            category="Figures",
            subcategory="{dataset}, {model}",
            labels={"figure": "{figure}"},
        ),
        f"{RESULTS}/figures/{{dataset}}.{{model}}.{{figure}}.png",
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{figure}}.log",
    wildcard_constraints:
        figure="|".join(FIGURE_INPUTS),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        spec=figure_spec,
        function=figure_function,
        script=script_digest("figure"),
    message:
        "Draw {wildcards.figure} of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/figure.py"
