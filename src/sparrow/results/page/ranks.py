"""The ranking of methods: who is best at each ratio, and who cannot be told apart from it."""

from __future__ import annotations

from sparrow.files.paths import CELL_COLUMNS
from sparrow.results.page.grid import Column, Grid, grid, intervals, numbers, texts
from sparrow.results.page.study_data import StudyData
from sparrow.results.tables import facts_in_words

SPENT = {"chain_gradient_evaluations": "gradient evaluations", "prune_seconds": "seconds of pruning"}


def ranks(data: StudyData) -> Grid:
    """The grid of ranking.csv, beside what each network cost."""
    table = data.all_ranks
    facts = data.summary[CELL_COLUMNS].join(facts_in_words(data.summary)).drop_duplicates(CELL_COLUMNS)
    own = table[CELL_COLUMNS].merge(facts, how="left", on=CELL_COLUMNS)
    budgets = data.table("budgets")
    spent = table[[*CELL_COLUMNS, "stage"]].merge(budgets, how="left") if len(budgets) else budgets.reindex(table.index)
    columns = [
        Column("data set", "text", texts(table["dataset"]), table["dataset"].nunique() > 1, chosen_by=True),
        Column("model", "text", texts(table["model"]), table["model"].nunique() > 1, chosen_by=True),
        Column("objective", "text", texts(table["objective"]), chosen_by=True),
        Column("ratio", "number", numbers(table["ratio"]), chosen_by=True),
        Column("pruned", "text", texts(table["granularity"]), table["granularity"].nunique() > 1, chosen_by=True),
        Column("stage", "text", texts(table["stage"]), table["stage"].nunique() > 1, chosen_by=True),
        Column("by", "text", texts(table["metric"]), chosen_by=True, says="What is compared: era or vra"),
        Column("rank", "number", numbers(table["rank"])),
        Column("method", "text", texts(table["method"]), chosen_by=True),
        Column("accuracy", "interval", intervals(table, "mean", "low", "high"), says="%, mean over seeds, 95 % interval below"),
        Column("behind the best", "interval", intervals(table, "behind"), says="Points, 95 % interval below"),
        Column("verdict", "text", texts(table["verdict"]), chosen_by=True),
    ]
    columns += [Column(title, "number", numbers(spent[name])) for name, title in SPENT.items() if name in spent]
    columns += [
        Column(name, "text", texts(own[name]), shown=False, chosen_by=True) for name in map(str, facts_in_words(data.summary))
    ]
    return grid("ranks", columns)
