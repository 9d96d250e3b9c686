"""The script of every rule: calls the stage that the rule names, with the rule's files and params by their names.

Files without a name are no arguments: they are waited for, or the stage knows where they are to lie. Of the params, `stage`
(`MODULE:FUNCTION`) is what to call; `code` and `script` are digests, by which a rule runs again when that code changes.
"""

from sparrow.jobs.run import run

given = [*snakemake.input.items(), *snakemake.output.items()]
files = {name: file if isinstance(file, str) else list(file) for name, file in given}
values = {name: value for name, value in snakemake.params.items() if name not in ("stage", "code", "script")}
run(snakemake.params.stage, snakemake.log[0], snakemake.threads, **files, **values)
