"""Moving the files of jobs, by the node's own hand."""
