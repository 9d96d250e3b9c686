"""The specs of the stages: one type a stage, built by `study.job_specs` and opened at the stage's door. Imports no torch.

One file for the stages that share their code, since a stage's code digest follows what its file imports.
"""
