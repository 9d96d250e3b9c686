"""What a study will cost: its work, counted from the configuration, times what a unit of such work takes.

`work` counts units without torch; `rates` knows what a unit takes, from files; `measure` finds it out on this machine.
"""
