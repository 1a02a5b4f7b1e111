"""What a plan needs of disk and time: the estimate, a table of the stages' needs, and trials that measure."""
