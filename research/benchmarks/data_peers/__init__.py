"""What `launch.bench data` measures beside: the same work by others, and what is measured from outside a process."""
