"""The expected cost of a study: its units of work, counted from the configuration, times the seconds of each.

`work` counts the units; `rates` has the seconds of a unit, from files; `measure` measures them on this machine.
"""
