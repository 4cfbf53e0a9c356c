"""Which cores and GPUs of which nodes a job gets: what schedulers are made of, without I/O."""
