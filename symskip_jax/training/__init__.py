"""State, pure steps, schedules, compilation, checkpoints and the loop that joins them."""
