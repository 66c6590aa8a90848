"""A contestant's toolkit, one file a tool, and folders of contest problems with their samples."""
