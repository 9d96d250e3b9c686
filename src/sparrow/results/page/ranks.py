"""The ranking of methods: who is best at each ratio, and who cannot be told apart from it."""

from __future__ import annotations

from sparrow.files.paths import CELL_COLUMNS
from sparrow.results.comparable import DOUBTED
from sparrow.results.page.facts import STAGE, fact_columns
from sparrow.results.page.grid import Column, Grid, grid, intervals, numbers, texts
from sparrow.results.page.study_data import StudyData
from sparrow.results.tables import facts_in_words

SPENT = {
    "chain_gradient_evaluations": (
        "gradients",
        "Backward passes of one image, of the whole chain of trainings",
    ),
    "prune_seconds": ("pruning (s)", "Seconds that pruning took"),
}


def ranks(data: StudyData) -> Grid:
    """The grid of ranking.csv, beside what each network cost."""
    table = data.all_ranks
    facts = data.summary[CELL_COLUMNS].join(facts_in_words(data.summary)).drop_duplicates(CELL_COLUMNS)
    own = table[CELL_COLUMNS].merge(facts, how="left", on=CELL_COLUMNS)
    budgets = data.table("budgets")
    spent = table[[*CELL_COLUMNS, "stage"]].merge(budgets, how="left") if len(budgets) else budgets.reindex(table.index)
    several = table["granularity"].nunique() > 1
    notes = [f"{DOUBTED} may be lower" if doubted else "" for doubted in data.doubted(table)]
    columns = [
        Column("data set", "text", texts(table["dataset"]), table["dataset"].nunique() > 1, chosen_by=True),
        Column("model", "text", texts(table["model"]), table["model"].nunique() > 1, chosen_by=True),
        Column("objective", "text", texts(table["objective"]), table["objective"].nunique() > 1, chosen_by=True),
        Column("ratio", "number", numbers(table["ratio"]), chosen_by=True),
        Column("pruned", "text", texts(table["granularity"]), several, chosen_by=True, says="What the ratio is a share of"),
        Column("stage", "text", texts(table["stage"]), table["stage"].nunique() > 1, chosen_by=True, says=STAGE),
        Column("by", "text", texts(table["metric"]), chosen_by=True, says="What is compared: era or vra"),
        Column("rank", "number", numbers(table["rank"])),
        Column("method", "text", texts(table["method"]), chosen_by=True),
        Column(
            "accuracy",
            "interval",
            intervals(table, "mean", "low", "high", notes),
            says="%, mean over seeds, 95 % interval below",
        ),
        Column("behind", "interval", intervals(table, "behind"), says="Points behind the best, 95 % interval below"),
        Column("verdict", "text", texts(table["verdict"]), chosen_by=True, says="Explained above the table"),
    ]
    columns += [
        Column(title, "number", numbers(spent[name]), says=says) for name, (title, says) in SPENT.items() if name in spent
    ]
    return grid("ranks", [*columns, *fact_columns(own[list(facts_in_words(data.summary))])])
