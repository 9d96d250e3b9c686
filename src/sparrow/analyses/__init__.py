"""Analyses: one file per table that a study can have beside its accuracies, for what attacks and verifiers do not say.

Each file declares `Params` (from `sparrow.settings.Analysis`), whose `scope` says what one job is about, and defines
`analyse(subject, params)`, which gives the rows of its table. `Params` also has `tables`: the columns of each table, by the
table's name. Where there is one, `analyse` gives its rows, each with a value for each column; where there are several, a
dictionary of such rows by table. Numbers and short texts are values; None and NaN stand for what is not known. Tables are named
with lower-case letters, digits and hyphens, columns with lower-case letters, digits and `_`.

| `scope` | one job for each | `subject` (in `sparrow.inference.subjects`) |
|---|---|---|
| `dataset` | data set | `OneDataSet`: its images |
| `network` | evaluated network | `OneNetwork` |
| `pair` | evaluated pruned network | `Pair`: with the dense one that it comes from |
| `family` | dense network | `Family`: with all evaluated ones that were pruned from it |
| `seeds` | evaluated cell and stage | `Seeds`: the networks of all seeds, and their dense ones |
| `tables` | study | `Tables` (in `sparrow.results.study_tables`): all outcome tables, and no network |

The table of all jobs has who each row is about in front: what of data set, model, objective, method, ratio, seed and stage
its scope knows. An analysis of a family or of all tables names the others among its columns, with these names.

`reads` names kinds of other analyses whose tables one of scope `tables` is given, as far as the study has them:
`subject.analysed`. `needs` names what an analysis reads besides: the `threat`; the `corrupted` test images
(`subject.data.corrupted`); `outputs`, the logits of each network on test images, as they are and under noise, as the study's
section `outputs` says (`network.outputs`; of scope `tables` the `outputs` of each of `networks`, None where it failed);
adversarial images of each network (`examples`: `network.examples(part)`), which are then kept for all networks, of the attacks
that an option `attacks` of the analysis names or, without one, of all. A property `needs` may say what its options ask for. An
analysis may raise `sparrow.errors.NetworkError` for
a network that cannot be used: the study goes on, and says why. Seed, device, cost and failure are the stage's; a long analysis
hands each finished piece to `sparrow.jobs.journal.compute_once`, and an interrupted job goes on there.

What a study has to have for it is refused before any job where it is missing: `seeds_needed` is the fewest seeds, and
`requires` names networks evaluated beside their `dense` ones (scopes `pair` and `family` compare them in any case),
`distances` of an attack that seeks the nearest adversarial image, and verifiers of a `smoothed` classifier.

Optional: `summary(table)`, which gives columns LABEL_NAME of summary.csv (a dictionary of names and numbers) from the rows of
one network (scopes `network` and `pair`) in the first table, but none that every study has, and none of an analysis that
failed for all networks; `draw(source, svg, png, spec)`, the figure of one data set and model from the table of all jobs, or a
list of them where there are several (`@opened(FigureSpec)`, from `sparrow.files.specs` and `sparrow.results.specs.figures`,
types its `spec`; `sparrow.results.figures.style` has what figures share); `passes(params, classes)`, forward passes and input
gradients for each image of each network (of what needs `corrupted` images, for each of these), which may be
`passes(params, classes, networks, dense, attacks)`, where that depends on how many networks a job is given, how many of them as
dense ones, and of how many attacks it reads examples; or `members(params)`, verifiers whose bounds it computes, in batches of
the analysis's own `batch_size` if it has one. By these `sparrow cost` prices it. Files are read whenever a study is planned:
what takes long to import (torch: `sparrow.lazy_torch`) is imported inside of functions.

An analysis that measures time says `timed = True`: it is given a family, since times can be compared within one job alone, has
columns `method`, `ratio` and `stage`, and lies beside what each network preserves in a table of its own, never in summary.csv,
which is the same to the byte whenever it is made.
"""
