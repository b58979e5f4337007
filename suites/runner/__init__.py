"""The process runner: one fresh worker process a subject, asked for timed blocks in turn through pipes."""
