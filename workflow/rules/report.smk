rule aggregate:
    input:
        all_tables,
        networks=all_networks,
        analysed=all_analysed,
    output:
        report(
            f"{RESULTS}/{paths.study_table('outcomes')}",
            caption="../../reports/captions/outcomes.rst",
            category="Tables",
            labels={"table": "outcomes (CSV)"},
        ),
        f"{RESULTS}/{paths.study_table('layers')}",
        report(
            f"{RESULTS}/{paths.study_table('recall')}",
            caption="../../reports/captions/recall.rst",
            category="Tables",
            labels={"table": "recall (CSV)"},
        ),
        report(
            f"{RESULTS}/{paths.study_table('intensification')}",
            caption="../../reports/captions/intensification.rst",
            category="Tables",
            labels={"table": "intensification (CSV)"},
        ),
        report(
            f"{RESULTS}/{paths.study_table('ranking')}",
            caption="../../reports/captions/ranking.rst",
            category="Tables",
            labels={"table": "ranking (CSV)"},
        ),
        report(
            f"{RESULTS}/{paths.study_table('security')}",
            caption="../../reports/captions/security.rst",
            category="Tables",
            labels={"table": "security curves (CSV)"},
        ),
        report(
            f"{RESULTS}/{paths.study_table('decisions')}",
            caption="../../reports/captions/decisions.rst",
            category="Tables",
            labels={"table": "decisions (CSV)"},
        ),
        summary=report(
            f"{RESULTS}/{paths.study_table('summary')}",
            caption="../../reports/captions/summary.rst",
            category="Tables",
            labels={"table": "summary (CSV)"},
        ),
    log:
        f"{RESULTS}/{paths.log_path('aggregate')}",
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
            f"{RESULTS}/{paths.study_table('costs')}",
            caption="../../reports/captions/costs.rst",
            category="Tables",
            labels={"table": "costs (CSV)"},
        ),
    log:
        f"{RESULTS}/{paths.log_path('costs')}",
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
        summary=f"{RESULTS}/{paths.study_table('summary')}",
        costs=f"{RESULTS}/{paths.study_table('costs')}",
        ranking=f"{RESULTS}/{paths.study_table('ranking')}",
    output:
        budget=report(
            f"{RESULTS}/{paths.study_table('budgets')}",
            caption="../../reports/captions/budgets.rst",
            category="Tables",
            labels={"table": "budgets (CSV)"},
        ),
        ranking_html=report(
            f"{RESULTS}/{paths.study_page('ranking')}",
            caption="../../reports/captions/ranking.rst",
            category="Tables",
            labels={"table": "ranking"},
        ),
        summary_html=report(
            f"{RESULTS}/{paths.study_page('summary')}",
            caption="../../reports/captions/summary.rst",
            category="Tables",
            labels={"table": "summary"},
        ),
        costs_html=report(
            f"{RESULTS}/{paths.study_page('costs')}",
            caption="../../reports/captions/costs.rst",
            category="Tables",
            labels={"table": "costs"},
        ),
    log:
        f"{RESULTS}/{paths.log_path('tables')}",
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
        f"{RESULTS}/{paths.study_table('summary')}",
        networks=all_networks,
    output:
        table=report(
            f"{RESULTS}/{paths.study_table('provenance')}",
            caption="../../reports/captions/provenance.rst",
            category="Appendix",
            labels={"table": "provenance (CSV)"},
        ),
        table_html=report(
            f"{RESULTS}/{paths.study_page('provenance')}",
            caption="../../reports/captions/provenance.rst",
            category="Appendix",
            labels={"table": "provenance"},
        ),
        surroundings=f"{RESULTS}/environment.json",
        surroundings_html=report(
            f"{RESULTS}/{paths.study_page('environment')}",
            caption="../../reports/captions/environment.rst",
            category="Appendix",
            labels={"table": "environment"},
        ),
    log:
        f"{RESULTS}/{paths.log_path('provenance')}",
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
        summary=f"{RESULTS}/{paths.study_table('summary')}",
        figures=local(str(HERE / "reports/published.csv")),
    output:
        table=report(
            f"{RESULTS}/{paths.study_table('published')}",
            caption="../../reports/captions/published.rst",
            category="Tables",
            labels={"table": "published against measured (CSV)"},
        ),
        table_html=report(
            f"{RESULTS}/{paths.study_page('published')}",
            caption="../../reports/captions/published.rst",
            category="Tables",
            labels={"table": "published against measured"},
        ),
    log:
        f"{RESULTS}/{paths.log_path('published')}",
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
        summary=f"{RESULTS}/{paths.study_table('summary')}",
        headlines=local(str(HERE / "reports/published-headlines.csv")),
    output:
        table=report(
            f"{RESULTS}/{paths.study_table('headline')}",
            caption="../../reports/captions/headline.rst",
            category="Tables",
            labels={"table": "headline (CSV)"},
        ),
        table_html=report(
            f"{RESULTS}/{paths.study_page('headline')}",
            caption="../../reports/captions/headline.rst",
            category="Tables",
            labels={"table": "headline"},
        ),
    log:
        f"{RESULTS}/{paths.log_path('headline')}",
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
        # Which methods stand out is told by it, in all figures alike.
        f"{RESULTS}/{paths.study_table('summary')}",
        source=lambda wildcards: figures.sources(*figure_of(wildcards)),
    output:
        f"{RESULTS}/{paths.FIGURE_PATTERN}.pdf",
        svg=report(
            f"{RESULTS}/{paths.FIGURE_PATTERN}.svg",
            caption="../../reports/captions/figure.rst",
            category="Figures",
            subcategory="{dataset}, {model}",
            labels={"figure": "{figure}"},
        ),
        png=f"{RESULTS}/{paths.FIGURE_PATTERN}.png",
    log:
        f"{RESULTS}/{paths.log_path(paths.FIGURE_JOB)}",
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


# All that was found on one page, which needs nothing beside it.
rule page:
    input:
        tables=page.tables(STUDY),
        drawn=figures.files(STUDY),
        surroundings=f"{RESULTS}/environment.json",
    output:
        page=report(
            f"{RESULTS}/{paths.study_page('report')}",
            caption="../../reports/captions/page.rst",
            category="The study",
            labels={"page": "everything that was found"},
        ),
    log:
        f"{RESULTS}/{paths.log_path('page')}",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        stage="sparrow.results.page.write:write_page",
        spec=lambda wildcards: page.spec(STUDY, Path(CONFIG_NAME.split(", ")[-1]).stem).model_dump(),
        script=SCRIPT,
    message:
        "Lay out the page of the study"
    script:
        "../scripts/job.py"
