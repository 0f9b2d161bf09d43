"""State, pure steps, schedules, compilation, checkpoints and the loop that joins them.

Private: what is public of it is in `symskip_jax.__all__`.
"""
