"""Training: optimizers, schedules, the loop, metrics and what the numbers say."""
