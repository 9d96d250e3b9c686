#!/usr/bin/env bash
# Run by Snakemake inside the new conda environment; the Snakefile sets SPARROW_HOME.
set -euo pipefail
python -m pip install --no-deps --require-hashes -r "${SPARROW_HOME:?}/envs/requirements.txt"
