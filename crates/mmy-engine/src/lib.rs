//! Runner, loops, hooks, optimisers, schedules, checkpoints.
